/* SPDX-License-Identifier: BSD-3-Clause */
/* test_all_stress -- all calls at once: threads that write, unmap, protect, move, map by number, demand,
 * collapse, roll back, swap and read in each other's spaces, alone and in transactions, and one that
 * forks, deletes and creates these spaces and their segment.  Then the process is killed or closes the
 * pool; meant for the sanitizers as well.
 *
 * INVARIANTS	a call succeeds, or with an error that its line of the table names
 *		the verifier finds nothing: while all pause, after the kill, after the close
 *		a snapshot reads the same for ever, and so does a view
 *		when all spaces are deleted, no frame and no slot is left
 * ENVIRONMENT	PMPT_STRESS_SECONDS	of each configuration, default 1
 *		PMPT_STRESS_SEED	what the threads draw from; the order in which they run is chance
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "calls.h"
#include "pool_file.h"

#define SPACES     5u
#define POOL_BYTES (96 * MIB)
#define SWAP_BYTES (16 * MIB)
#define WRITERS    3u
#define CHECK_MS   250
#define ENOUGH     200 /* of a call, for one of them to succeed */

struct configuration {
	bool swap, policy, kill;
};

/* A process of its own runs a configuration: what it has counted outlives it here. */
static struct tally {
	_Atomic unsigned long asked[CALLS], done[CALLS], commits, forks, deletes, unfreed, views,
		stale, checks;
} * tally;

static struct configuration how;
static uint64_t seed;
static pmpt_pool *pool;
static _Atomic bool ending;
/* Read-held over each turn of a thread; who has it alone finds no call and no transaction. */
static pthread_rwlock_t pause_lock;
static struct shared_space {
	pthread_rwlock_t lock; /* read-held while it is used, write-held while it comes and goes */
	pmpt_space *handle;    /* NULL: there is none */
	bool snapshot;
	uint64_t hash; /* snapshot: of its pages, when it was made */
} space[SPACES];

static void space_name(unsigned i, char name[8]) { (void)snprintf(name, 8, "s%u", i); }

/* An error that nothing explains: the process ends, and the parent says how to get here again. */
static void unexpected(const char *what, int rc)
{
	print_error("%s: %s: %s\n", what, pmpt_strerror(rc), rc < 0 ? pmpt_errormsg() : "");
	_exit(1);
}

static void must(int rc, const char *what)
{
	if (rc)
		unexpected(what, rc);
}

/* ---- writers --------------------------------------------------------------------------------- */

/* One that was planned by a frame's number, or by its state, learns of the other at the commit. */
#define COMMIT (MAY(CONFLICT) | MAY(TX_TOO_LARGE))

static void one_call(struct worker *w)
{
	const struct call *o = calls_any(w);
	int rc;

	w->either = calls_rnd(&w->seed, 2) ? w->from : w->to;
	rc = o->run(w);
	if (!expected(rc, o->may))
		unexpected(o->name, rc);
	atomic_fetch_add(&tally->asked[o - calls], 1);
	atomic_fetch_add(&tally->done[o - calls], !rc);
}

static void end(struct worker *w)
{
	int rc = calls_rnd(&w->seed, 5) ? pmpt_commit(w->tx, NULL) : PMPT_E_CONFLICT;

	if (!expected(rc, COMMIT))
		unexpected("commit", rc);
	if (rc)
		must(pmpt_abort(w->tx), "abort");
	else
		atomic_fetch_add(&tally->commits, 1);
	w->tx = NULL;
}

/* One call, or a transaction of a few. */
static void turn(struct worker *w)
{
	uint64_t n = 1;

	w->marked = w->bulk = false;
	if (!calls_rnd(&w->seed, 3)) {
		int rc;

		w->bulk = !calls_rnd(&w->seed, 10);
		rc = pmpt_begin(pool, w->bulk ? PMPT_TX_BULK : 0, &w->tx);
		if (!expected(rc, MAY(TX_LIMIT))) /* a second bulk transaction */
			unexpected("begin", rc);
		if (rc)
			return;
		n = 1 + calls_rnd(&w->seed, 4);
	}
	while (n--)
		one_call(w);
	if (w->tx)
		end(w);
}

static void *writer(void *arg)
{
	struct worker w = { .seed = seed * 131 + (uintptr_t)arg, .pool = pool, .swap = how.swap };

	while (!atomic_load(&ending)) {
		unsigned i = (unsigned)calls_rnd(&w.seed, SPACES),
			 j = (unsigned)calls_rnd(&w.seed, SPACES);
		unsigned low = i < j ? i : j, high = i < j ? j : i;

		pthread_rwlock_rdlock(&pause_lock);
		pthread_rwlock_rdlock(&space[low].lock);
		if (high != low)
			pthread_rwlock_rdlock(&space[high].lock);
		w.from = space[i].handle;
		w.to = space[j].handle;
		if (w.from && w.to)
			turn(&w);
		if (high != low)
			pthread_rwlock_unlock(&space[high].lock);
		pthread_rwlock_unlock(&space[low].lock);
		pthread_rwlock_unlock(&pause_lock);
	}
	return NULL;
}

/* ---- who reads in views ---------------------------------------------------------------------- */

static void view_twice(const pmpt_space *s)
{
	uint64_t first, again;
	pmpt_view *view;
	int rc = pmpt_view_open(pool, &view);

	must(rc, "view");
	rc = calls_hash(view, s, &first);
	if (!rc)
		rc = calls_hash(view, s, &again);
	if (!rc && first != again) {
		print_error("a view read %#lx, and then %#lx\n", first, again);
		_exit(1);
	}
	if (!expected(rc, MAY(BUSY) | MAY(VIEW_STALE)))
		unexpected("read in a view", rc);
	pmpt_view_close(view);
	atomic_fetch_add(rc ? &tally->stale : &tally->views, 1);
}

static void *reader(void *arg)
{
	uint64_t state = seed * 17;

	(void)arg;
	while (!atomic_load(&ending)) {
		struct shared_space *s = &space[calls_rnd(&state, SPACES)];

		pthread_rwlock_rdlock(&pause_lock);
		pthread_rwlock_rdlock(&s->lock);
		if (s->handle)
			view_twice(s->handle);
		pthread_rwlock_unlock(&s->lock);
		pthread_rwlock_unlock(&pause_lock);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return NULL;
}

/* ---- who makes spaces and lets them go ------------------------------------------------------- */

/* Another keeps a handle for a moment: a bulk transaction that ends, the clock of the eviction. */
static int delete_space(const char *name)
{
	int rc;

	while ((rc = pmpt_space_delete(pool, name)) == PMPT_E_BUSY)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	return rc;
}

static void snapshot_same(const struct shared_space *s)
{
	uint64_t hash;

	must(calls_hash(NULL, s->handle, &hash), "read of a snapshot");
	if (hash != s->hash) {
		print_error("a snapshot read %#lx, and then %#lx\n", s->hash, hash);
		_exit(1);
	}
}

static void drop(struct shared_space *s, const char *name)
{
	int rc;

	if (s->snapshot)
		snapshot_same(s);
	pmpt_space_close(s->handle);
	s->handle = NULL;
	s->snapshot = false;
	rc = delete_space(name);
	if (!expected(rc, MAY(CONFLICT) | MAY(NO_FRAMES)))
		unexpected("delete", rc);
	atomic_fetch_add(&tally->deletes, 1);
	atomic_fetch_add(&tally->unfreed, rc != 0);
}

static void fork_of(struct shared_space *s, const char *name, const struct shared_space *parent,
		    bool snapshot)
{
	int rc = pmpt_space_fork(parent->handle, name, snapshot ? PMPT_FORK_SNAPSHOT : 0,
				 &s->handle);

	if (!expected(rc, MAY(CONFLICT) | MAY(NO_FRAMES)))
		unexpected("fork", rc);
	if (rc)
		return;
	s->snapshot = snapshot;
	if (s->snapshot)
		must(calls_hash(NULL, s->handle, &s->hash), "read of a snapshot");
	atomic_fetch_add(&tally->forks, 1);
}

static void create(struct shared_space *s, const char *name, bool policy)
{
	int rc = pmpt_space_create(pool, name, &s->handle);

	if (!expected(rc, MAY(NO_FRAMES)))
		unexpected("create", rc);
	if (!rc && policy)
		must(pmpt_space_policy_set(s->handle, PMPT_POLICY_WX), "policy");
}

static void renew_segment(void)
{
	int rc = pmpt_segment_delete(pool, CALLS_SEG);

	if (!expected(rc, MAY(BUSY) | MAY(SEGMENT) | MAY(CONFLICT)))
		unexpected("segment delete", rc);
	rc = pmpt_segment_create(pool, CALLS_SEG, CALLS_SEG_BYTES);
	if (!expected(rc, MAY(EXISTS) | MAY(NO_FRAMES)))
		unexpected("segment create", rc);
}

static void *forker(void *arg)
{
	uint64_t state = seed * 5;

	(void)arg;
	while (!atomic_load(&ending)) {
		unsigned i = (unsigned)calls_rnd(&state, SPACES),
			 j = (unsigned)calls_rnd(&state, SPACES);
		struct shared_space *s = &space[j];
		char name[8];

		if (i == j)
			continue;
		space_name(j, name);
		pthread_rwlock_rdlock(&pause_lock);
		pthread_rwlock_wrlock(&s->lock);
		if (s->handle && calls_rnd(&state, 2))
			drop(s, name);
		if (!s->handle && !pthread_rwlock_tryrdlock(&space[i].lock)) {
			if (space[i].handle)
				fork_of(s, name, &space[i], !calls_rnd(&state, 6));
			pthread_rwlock_unlock(&space[i].lock);
		}
		if (!s->handle && !calls_rnd(&state, 3))
			create(s, name, how.policy && calls_rnd(&state, 2));
		if (!calls_rnd(&state, 20))
			renew_segment();
		pthread_rwlock_unlock(&s->lock);
		pthread_rwlock_unlock(&pause_lock);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
	}
	return NULL;
}

/* ---- the verifier ---------------------------------------------------------------------------- */

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

static int verify(void)
{
	struct pmpt_check summary = { 0 };
	int rc = pmpt_check(path, finding, NULL, NULL, &summary);

	return rc ? rc : (int)summary.findings;
}

static void *checker(void *arg)
{
	(void)arg;
	while (!atomic_load(&ending)) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = CHECK_MS * 1000000L }, NULL);
		pthread_rwlock_wrlock(&pause_lock);
		must(verify(), "the verifier, while all pause");
		atomic_fetch_add(&tally->checks, 1);
		pthread_rwlock_unlock(&pause_lock);
	}
	return NULL;
}

/* ---- one configuration ----------------------------------------------------------------------- */

static void sleep_for(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	(void)nanosleep(&t, NULL);
}

/* Who waits for a lock alone is not kept out by those who come and go. */
static void lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

static void start(pthread_t *thread, void *(*run)(void *), uintptr_t arg)
{
	must(-pthread_create(thread, NULL, run, (void *)arg), "pthread_create");
}

/* Does not return; seconds: negative, until it is killed. */
static void child(double seconds)
{
	pthread_t thread[WRITERS + 3];
	unsigned n = 0;
	char name[8];

	must(pmpt_open(path, 0, &pool), "open");
	lock_init(&pause_lock);
	for (unsigned i = 0; i < SPACES; i++) {
		lock_init(&space[i].lock);
		space_name(i, name);
		create(&space[i], name, how.policy && i % 2);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		start(&thread[n++], writer, i);
	start(&thread[n++], forker, 0);
	start(&thread[n++], reader, 0);
	start(&thread[n++], checker, 0);
	if (how.kill)
		for (;;)
			pause();
	sleep_for(seconds);
	atomic_store(&ending, true);
	while (n)
		pthread_join(thread[--n], NULL);
	for (unsigned i = 0; i < SPACES; i++)
		pmpt_space_close(space[i].handle);
	must(pmpt_close(pool), "close");
	_exit(0);
}

static void run_child(double seconds)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		child(seconds);
	if (how.kill) {
		sleep_for(seconds);
		kill(pid, SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (how.kill ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL : status)
		fail_msg("the process ended by itself, status %#x; PMPT_STRESS_SEED=%lu draws the "
			 "same again",
			 status, seed);
}

/* Deleting all that there is leaves the pool as it was. */
static void all_freed(const struct pmpt_stats *before)
{
	struct pmpt_stats now;
	struct pmpt_swap_status swap;
	char name[8];

	for (unsigned i = 0; i < SPACES; i++) {
		space_name(i, name);
		assert_true(expected(pmpt_space_delete(pool, name), MAY(NO_SPACE)));
	}
	assert_true(expected(pmpt_segment_delete(pool, CALLS_SEG), MAY(SEGMENT)));
	OK(pmpt_stats(pool, &now));
	assert_int_equal(now.frames_data, before->frames_data);
	assert_int_equal(now.frames_table, before->frames_table);
	OK(pmpt_swap_status(pool, &swap));
	assert_int_equal(swap.used, 0);
}

static unsigned long ever_asked[CALLS], ever_done[CALLS]; /* in all configurations */

static void say(void)
{
	unsigned long asked = 0, done = 0;

	for (unsigned i = 0; i < CALLS; i++) {
		asked += tally->asked[i];
		done += tally->done[i];
		ever_asked[i] += tally->asked[i];
		ever_done[i] += tally->done[i];
	}
	if (asked > 10 * ENOUGH)
		assert_true(tally->commits && tally->forks && tally->deletes && tally->views);
	print_message("%s, %s, %s: %lu of %lu calls done, %lu commits, %lu forks, %lu deletes (%lu "
		      "left a rest), %lu views (%lu not read), %lu checks\n",
		      how.swap ? "swap" : "no swap", how.policy ? "W^X" : "no policy",
		      how.kill ? "killed" : "closed", done, asked, tally->commits, tally->forks,
		      tally->deletes, tally->unfreed, tally->views, tally->stale, tally->checks);
}

static void run(const struct configuration *c, double seconds)
{
	struct pmpt_config config = { .pool_bytes = POOL_BYTES };
	struct pmpt_stats before;
	char swap[PLACE_BYTES + 8];

	how = *c;
	memset(tally, 0, sizeof(*tally));
	(void)snprintf(swap, sizeof(swap), "%s/swap", dir);
	OK(pmpt_create(path, &config, &pool));
	OK(pmpt_stats(pool, &before));
	if (how.swap)
		OK(pmpt_swap_on(pool, swap, SWAP_BYTES));
	OK(pmpt_segment_create(pool, CALLS_SEG, CALLS_SEG_BYTES));
	OK(pmpt_close(pool));
	run_child(seconds);
	assert_int_equal(verify(), 0);
	OK(pmpt_open(path, 0, &pool));
	all_freed(&before);
	if (how.swap)
		OK(pmpt_swap_off(pool));
	OK(pmpt_close(pool));
	assert_int_equal(verify(), 0);
	(void)unlink(path);
	(void)unlink(swap);
	say();
}

static void test_all_stress(void **state)
{
	static const struct configuration list[] = {
		{ false, false, true }, { true, false, false },  { false, true, false },
		{ true, true, true },   { false, false, false }, { true, false, true },
		{ false, true, true },  { true, true, false },
	};
	const char *seconds = getenv("PMPT_STRESS_SECONDS"), *from = getenv("PMPT_STRESS_SEED");
	/* where nobody asks for more, each of swap and policy once, killed or closed */
	unsigned n = seconds ? 8 : 4;

	(void)state;
	need_place();
	seed = from ? strtoull(from, NULL, 0) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	print_message("PMPT_STRESS_SEED=%lu\n", seed);
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	assert_true(tally != MAP_FAILED);
	for (unsigned i = 0; i < n; i++)
		run(&list[i], seconds ? strtod(seconds, NULL) : 1);
	for (unsigned i = 0; i < CALLS; i++) {
		if (seconds)
			print_message("%s: %lu of %lu\n", calls[i].name, ever_done[i],
				      ever_asked[i]);
		if (!ever_done[i] && ever_asked[i] > ENOUGH)
			fail_msg("%s: none of %lu succeeded", calls[i].name, ever_asked[i]);
	}
	(void)munmap(tally, sizeof(*tally));
}

int main(void)
{
	const struct CMUnitTest tests[] = { ON_TMPFS(test_all_stress) };

	return cmocka_run_group_tests_name("all calls at once", tests, NULL, NULL);
}
