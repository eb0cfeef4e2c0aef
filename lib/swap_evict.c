/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_evict -- which pages go out: a clock over all spaces, by the A bit; water marks, kept by a
 * thread, and by whoever runs out of frames.
 *
 * The hand goes over the directory, and in each space over its tables of level 1.  A page whose A is
 * set has it cleared and is passed by; one whose A is clear goes.  A is a hint and never logged.
 */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "error.h"
#include "rcu.h"
#include "swap.h"
#include "table.h"

#define IDLE_NS 20000000     /* between two looks of the thread at the marks */
#define WAIT_NS 200000000ull /* for who turns the clock, and may be in an fdatasync */

/* Spaces that a batch has pages of; each is open until the batch is out. */
struct round {
	struct pmpt_pool *pool;
	bool wait; /* for pool.names; false: this thread may hold it */
	unsigned n_spaces, n;
	struct pmpt_space *space[SWAP_BATCH];
};

static uint32_t records(const struct pmpt_pool *pool) { return pool->sb->n_spaces; }

/* Clear A, unless the entry changes meanwhile. */
static void pass_by(struct swap *s, const pm_word *word, uint64_t entry)
{
	pm_clear_accessed(&s->pm, (pm_word *)word, entry);
}

/* Pages of one table, from the hand on. */
static void pick_table(struct round *r, struct pmpt_space *space, const pm_word *table,
		       unsigned most)
{
	struct swap *s = &r->pool->swap;

	for (unsigned i = level_index(s->hand_va, 1); i < FRAME_WORDS && r->n < most; i++) {
		uint64_t entry = word_load(&table[i]);

		if (swap_may_out(r->pool, entry)) {
			if (entry & ENTRY_A)
				pass_by(s, &table[i], entry);
			else
				s->room->out[r->n++] = (struct swap_page){ .space = space,
									   .va = s->hand_va,
									   .entry = entry };
		}
		s->hand_va += FRAME_BYTES;
	}
}

/* From the hand to the end of its space, or until there are enough. */
static void pick_space(struct round *r, struct pmpt_space *space, unsigned most)
{
	struct swap *s = &r->pool->swap;

	while (r->n < most && s->hand_va < VA_END) {
		const pm_word *table;

		reader_begin();
		table = swap_table(space, &s->hand_va, VA_END);
		if (table)
			pick_table(r, space, table, most);
		reader_end();
		if (!table)
			break;
	}
}

/* Go on with the clock until there are `most` pages, or it has been around once.
 * Returns 0; -ENOMEM; PMPT_E_BUSY: the directory is locked; PMPT_E_CORRUPT. */
static int pick(struct round *r, unsigned most)
{
	struct swap *s = &r->pool->swap;

	for (uint32_t i = 0; i <= records(r->pool) && r->n < most && r->n_spaces < SWAP_BATCH;
	     i++) {
		struct pmpt_space *space = NULL;
		unsigned before = r->n;
		int rc = space_open_at(r->pool, s->hand_record, r->wait, &space);

		if (!rc) {
			r->space[r->n_spaces++] = space;
			pick_space(r, space, most);
		}
		if (rc && rc != PMPT_E_NO_SPACE)
			return rc;
		if (r->n == most && s->hand_va < VA_END && r->n > before)
			break;
		s->hand_va = 0;
		s->hand_record = (s->hand_record + 1) % records(r->pool);
	}
	return 0;
}

static void close_spaces(struct round *r)
{
	while (r->n_spaces)
		pmpt_space_close(r->space[--r->n_spaces]);
}

/* clock is held.  Until n pages are out, or two rounds found none. */
static int evict(struct pmpt_pool *pool, uint64_t n, bool wait, uint64_t *done)
{
	int rc = swap_usable(pool), empty = 0;

	while (!rc && *done < n && empty < 2) {
		struct round r = { .pool = pool, .wait = wait };
		uint64_t left = n - *done, before = *done;

		rc = pick(&r, left < SWAP_BATCH ? (unsigned)left : SWAP_BATCH);
		if (!rc && r.n)
			rc = swap_out_pages(pool, r.n, done);
		close_spaces(&r);
		empty = *done == before ? empty + 1 : 0;
	}
	return rc;
}

int pmpt_evict(pmpt_pool *pool, uint64_t n_pages, uint64_t *done)
{
	uint64_t out = 0;
	int rc = pool_writable(pool);

	if (rc)
		return rc;
	pthread_mutex_lock(&pool->swap.clock);
	rc = evict(pool, n_pages, true, &out);
	pthread_mutex_unlock(&pool->swap.clock);
	if (out)
		(void)frames_reclaim(&pool->frames, true);
	if (done)
		*done = out;
	return rc;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool swap_make_room(struct pmpt_pool *pool, uint64_t n)
{
	struct swap *s = &pool->swap;
	uint64_t high = atomic_load_explicit(&s->high, memory_order_relaxed), out = 0, since = 0;

	/* what a view holds is not had by moving more out */
	if (!high || frames_pending(&pool->frames) > 2 * high + n)
		return false;
	/* not for ever: it may be this thread's own, or wait for what this thread holds */
	while (pthread_mutex_trylock(&s->clock)) {
		since = since ? since : now_ns();
		if (now_ns() - since > WAIT_NS)
			return frames_free(&pool->frames) >= n;
		sched_yield();
	}
	n = n > high ? n : high;
	(void)evict(pool, n < SWAP_BATCH ? n : SWAP_BATCH, false, &out);
	pthread_mutex_unlock(&s->clock);
	return out && !frames_reclaim(&pool->frames, true);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Below the low mark: evict up to the high one.  Returns the error that ended it. */
static int keep_marks(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;
	uint64_t low = atomic_load(&s->low), high = atomic_load(&s->high);
	uint64_t free = frames_free(&pool->frames), out = 0;
	int rc;

	if (free >= low)
		return 0;
	(void)frames_reclaim(&pool->frames, true); /* they may be waiting only */
	/* what a view holds is not had by moving more out */
	free = frames_free(&pool->frames) + frames_pending(&pool->frames);
	if (free >= low)
		return 0;
	pthread_mutex_lock(&s->clock);
	rc = evict(pool, high - free, true, &out);
	pthread_mutex_unlock(&s->clock);
	if (out)
		(void)frames_reclaim(&pool->frames, true);
	return rc;
}

static void *run(void *arg)
{
	struct pmpt_pool *pool = arg;
	struct swap *s = &pool->swap;
	int told = 0;

	pthread_mutex_lock(&s->wake_lock);
	while (!s->stop) {
		struct timespec until;
		int rc;

		pthread_mutex_unlock(&s->wake_lock);
		rc = keep_marks(pool);
		if (rc && rc != told)
			log_message(PMPT_LOG_WARNING, "%s%spages cannot be moved out: %s",
				    pool->path ? pool->path : "", pool->path ? ": " : "",
				    pmpt_errormsg());
		told = rc;
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += IDLE_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&s->wake_lock);
		if (!s->stop)
			(void)pthread_cond_timedwait(&s->wake, &s->wake_lock, &until);
	}
	pthread_mutex_unlock(&s->wake_lock);
	return NULL;
}

static int thread_start(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;
	int rc;

	s->stop = false;
	rc = pthread_create(&s->thread, NULL, run, pool);
	s->running = !rc;
	return rc ? error_set(-rc, "no thread to move pages out: %s", strerror(rc)) : 0;
}

static void thread_stop(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;

	if (!s->running)
		return;
	pthread_mutex_lock(&s->wake_lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->wake_lock);
	(void)pthread_join(s->thread, NULL);
	s->running = false;
}

void swap_pause(struct pmpt_pool *pool) { thread_stop(pool); }

void swap_resume(struct pmpt_pool *pool)
{
	if (atomic_load(&pool->swap.high))
		(void)thread_start(pool);
}

int pmpt_swap_auto(pmpt_pool *pool, uint64_t low_frames, uint64_t high_frames)
{
	struct swap *s = &pool->swap;
	int rc = pool_writable(pool);

	if (!rc && (low_frames > high_frames || (!low_frames && high_frames)))
		rc = error_set(
			-EINVAL,
			"marks of %lu and %lu frames: 0 < low <= high, or both 0, are expected",
			low_frames, high_frames);
	if (rc)
		return rc;
	pthread_mutex_lock(&s->auto_lock);
	thread_stop(pool);
	atomic_store(&s->low, low_frames);
	atomic_store(&s->high, high_frames);
	rc = high_frames ? thread_start(pool) : 0;
	if (rc) {
		atomic_store(&s->low, 0);
		atomic_store(&s->high, 0);
	}
	pthread_mutex_unlock(&s->auto_lock);
	return rc;
}
