/* SPDX-License-Identifier: BSD-3-Clause */
/* test_views -- read views beside writers: a view opened while a writer is stopped after each of its
 * steps shows all spaces before its transaction or after it, and goes on doing so; then a stress of
 * all together, meant for ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "core.h"
#include "rcu.h"
#include "view.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)
#define RER (RE | PMPT_REPLACE)

#define ok(x) assert_int_equal(x, 0)

static struct core c;
static pmpt_space *other;

/* ---- what a view shows, as one number -------------------------------------------------------- */

#define HIDDEN UINT64_MAX /* PMPT_E_BUSY */

static int mix(void *ctx, const struct pmpt_mapping *m)
{
	uint64_t *sum = ctx;

	*sum = (*sum ^ m->va ^ m->pfn << 1 ^ (uint64_t)m->flags << 50) * 0x9e3779b97f4a7c15ull;
	return 0;
}

static uint64_t shown(const pmpt_view *view)
{
	uint64_t sum = 1, word = 0;
	int rc = 0;

	for (unsigned i = 0; i < 2 && !rc; i++) {
		pmpt_space *space = i ? other : c.space;

		rc = pmpt_view_walk(view, space, 0, 0, mix, &sum);
		if (!rc)
			rc = pmpt_view_user_get(view, space, 1, &word);
		sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
	}
	if (rc == PMPT_E_BUSY)
		return HIDDEN;
	ok(rc);
	return sum;
}

static uint64_t shown_now(void)
{
	pmpt_view *view;
	uint64_t sum;

	ok(pmpt_view_open(c.pool, &view));
	sum = shown(view);
	pmpt_view_close(view);
	return sum;
}

/* ---- a writer stopped at its nth step -------------------------------------------------------- */

static pthread_t writer;
static _Atomic unsigned stop_at; /* steps left; 0: none */
static _Atomic bool ended;
static sem_t stopped, go_on, opened;

static void observe(void *ctx, const struct pm_event *e)
{
	(void)ctx, (void)e;
	if (!pthread_equal(pthread_self(), writer) || !atomic_load(&stop_at) ||
	    atomic_fetch_sub(&stop_at, 1) != 1)
		return;
	sem_post(&stopped);
	sem_wait(&go_on);
}

/* Each changes both spaces, and twice in turn brings all back. */
static unsigned turn;

static int change(pmpt_tx *tx)
{
	uint64_t pfn = 100 + 10 * (turn % 2);
	int rc = pmpt_map(tx, c.space, P2M, 1, pfn, RER);

	if (!rc)
		rc = pmpt_map(tx, other, 3 * P2M, 3, pfn, RER);
	if (!rc)
		rc = pmpt_user_set(tx, other, 1, pfn);
	return rc;
}

static int act_words(void)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (!rc)
		rc = change(tx);
	return rc ? rc : pmpt_commit(tx, NULL);
}

/* The straight path of one word. */
static int act_word(void) { return pmpt_map(NULL, c.space, P2M, 1, 100 + 10 * (turn % 2), RER); }

/* Tables and frames come and go. */
static int act_tables(void)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (!rc && turn % 2)
		rc = pmpt_unmap(tx, c.space, P1G, P1G);
	if (!rc && !(turn % 2))
		rc = pmpt_map(tx, c.space, P1G, 40, PMPT_PFN_ALLOC, PMPT_R);
	if (!rc)
		rc = change(tx);
	return rc ? rc : pmpt_commit(tx, NULL);
}

static int act_move(void)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (!rc && turn % 2)
		rc = pmpt_move(tx, c.space, 5 * P1G, other, 6 * P1G, P2M);
	if (!rc && !(turn % 2))
		rc = pmpt_move(tx, other, 6 * P1G, c.space, 5 * P1G, P2M);
	return rc ? rc : pmpt_commit(tx, NULL);
}

static int bulk(bool commit)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, PMPT_TX_BULK, &tx);

	if (!rc)
		rc = change(tx);
	if (!rc) /* a step before anything is told to readers */
		rc = pmpt_flush(tx, c.space->root, 8);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_map(tx, c.space, P2M, 1, 300 + turn % 2, RER);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_map(tx, other, 9 * P2M, 20, 5000 + turn % 2, RER);
	return rc ? rc : commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
static int act_bulk(void) { return bulk(true); }
static int act_bulk_abort(void) { return bulk(false); }

static const struct act {
	const char *name;
	int (*run)(void);
	unsigned least; /* steps that it has at least */
	bool hides;    /* a view that is opened in the middle gets PMPT_E_BUSY, and does not wait */
	bool straight; /* its first step is behind its draw */
} acts[] = {
	{ "words of two spaces", act_words, 6, false, false },
	{ "one word", act_word, 3, false, true },
	{ "tables that come and go", act_tables, 6, false, false },
	{ "a move between spaces", act_move, 6, false, false },
	{ "a bulk commit", act_bulk, 15, true, false },
	{ "a bulk abort", act_bulk_abort, 10, true, false },
};

static const struct act *act;

static void *write_a(void *arg)
{
	int rc;

	(void)arg;
	writer = pthread_self();
	rc = act->run();
	atomic_store(&ended, true);
	sem_post(&stopped);
	return (void *)(intptr_t)rc;
}

static void *open_view(void *arg)
{
	ok(pmpt_view_open(c.pool, arg));
	sem_post(&opened);
	return NULL;
}

/* Is the view there while the writer is stopped? */
static bool opens_beside(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 10000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return !sem_timedwait(&opened, &until);
}

struct counts {
	unsigned steps, before, after, hidden, waited, wrong;
};

/* The writer stopped at its nth step while a view is opened.  False: it has fewer steps. */
static bool stop_once(unsigned n, struct counts *k)
{
	uint64_t before, after, first = 0, last;
	pmpt_view *older, *view = NULL;
	pthread_t thread, opener;
	bool done, beside = false;
	void *rc;

	turn++;
	ok(pmpt_view_open(c.pool, &older));
	before = shown(older);
	atomic_store(&ended, false);
	atomic_store(&stop_at, n);
	ok(pthread_create(&thread, NULL, write_a, NULL));
	sem_wait(&stopped);
	done = atomic_load(&ended);
	if (!done) {
		ok(pthread_create(&opener, NULL, open_view, &view));
		beside = opens_beside();
		if (beside)
			first = shown(view);
		if (shown(older) != before)
			k->wrong++;
		sem_post(&go_on);
		sem_wait(&stopped); /* its end */
		ok(pthread_join(opener, NULL));
		if (!beside)
			sem_wait(&opened);
	}
	ok(pthread_join(thread, &rc));
	ok((intptr_t)rc);
	after = shown_now();
	if (!done) {
		last = shown(view);
		if ((last != before && last != after && last != HIDDEN) ||
		    (beside && first != last) || shown(older) != before)
			k->wrong++;
		k->before += last == before;
		k->after += last == after;
		k->hidden += last == HIDDEN;
		k->waited += !beside;
		k->steps++;
		turn++;
		ok(act->run()); /* all of it once more, and back: the view stays as it is */
		if (shown(view) != last || shown(older) != before)
			k->wrong++;
		pmpt_view_close(view);
	}
	pmpt_view_close(older);
	return !done;
}

static void spaces_make(void)
{
	core_make(&c, 3072, 1024, 1024); /* no half is ever full */
	ok(pmpt_space_create(c.pool, "t", &other));
	ok(pmpt_map(NULL, c.space, P2M, 1, 100, RE));
	ok(pmpt_map(NULL, c.space, P1G, 40, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(NULL, other, 3 * P2M, 3, 100, RE));
	ok(pmpt_map(NULL, c.space, 5 * P1G, 40, 9000, RE));
	turn = 0;
}

static void spaces_free(void)
{
	core_verify(&c);
	pmpt_space_close(other);
	core_free(&c);
}

static struct counts stop_all(void)
{
	struct counts k = { 0 };
	unsigned n = 1;

	spaces_make();
	pm_observer = observe;
	while (n < 300 && stop_once(n, &k))
		n++;
	pm_observer = NULL;
	spaces_free();
	return k;
}

static void test_stopped_writer(void **state)
{
	(void)state;
	for (act = acts; act < acts + sizeof(acts) / sizeof(acts[0]); act++) {
		struct counts k = stop_all();

		print_message(
			"%s, stopped at each of its %u steps: a view shows what was before %u "
			"times, what came after %u, hides it %u; its open waited %u times\n",
			act->name, k.steps, k.before, k.after, k.hidden, k.waited);
		assert_int_equal(k.wrong, 0);
		assert_in_range(k.steps, act->least, 299);
		assert_true((k.before || act->straight) && (k.after || act->hides));
		assert_true(act->hides ? k.hidden : k.waited);
	}
}

/* Without the rules a view is wrong at some step. */
static void test_rules_bite(void **state)
{
	struct counts k;

	(void)state;
	act = &acts[0];
	rules_off = (uint64_t)1 << RULE_VIEW_WAIT;
	k = stop_all();
	rules_off = 0;
	assert_true(k.wrong > 0);
	rules_off = (uint64_t)1 << RULE_VIEW_SAVE;
	k = stop_all();
	rules_off = 0;
	assert_true(k.wrong > 0);
}

/* ---- all together: the sum of all accounts is what it was ------------------------------------ */

#define WRITERS  3u
#define REGIONS  4u /* of 2 MiB, in each space: writers meet now and then */
#define ACCOUNTS 8u /* pages in each */
#define BALANCE  1000000u
#define TOTAL    (2ull * REGIONS * ACCOUNTS * BALANCE)
#define STAMP_VA (7 * P1G)

static _Atomic bool ending;
static _Atomic unsigned long commits, conflicts, sums, hidden, stale, no_frames;
static unsigned rounds;

static uint64_t account(unsigned i)
{
	return 2 * P1G + i / ACCOUNTS % REGIONS * P2M + i % ACCOUNTS * P4K;
}

static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

static int pay(pmpt_tx *tx, pmpt_space *space, unsigned i, int64_t by)
{
	struct pmpt_mapping m;
	int rc = pmpt_tx_query(tx, space, account(i), &m);

	/* it is this transaction's from here on, or was changed meanwhile: look again */
	if (!rc)
		rc = pmpt_protect(tx, space, account(i), P4K, PMPT_R);
	if (!rc)
		rc = pmpt_tx_query(tx, space, account(i), &m);
	return rc ? rc : pmpt_map(tx, space, account(i), 1, (uint64_t)((int64_t)m.pfn + by), RER);
}

/* A fresh page full of a number that a user word has too. */
static int stamp(pmpt_tx *tx, uint64_t number)
{
	uint64_t pfn = 0, *page;
	int rc = pmpt_frame_alloc(tx, 1, 1, &pfn);

	if (rc)
		return rc;
	page = pmpt_frame_ptr(c.pool, pfn);
	for (unsigned i = 0; i < 512; i++)
		page[i] = number;
	rc = pmpt_flush(tx, page, P4K);
	if (!rc)
		rc = pmpt_map(tx, other, STAMP_VA, 1, pfn, PMPT_R | PMPT_REPLACE);
	return rc ? rc : pmpt_user_set(tx, other, 2, number);
}

static void *write_some(void *arg)
{
	unsigned w = (unsigned)(uintptr_t)arg;
	uint64_t x = 77 + w;

	for (unsigned i = 1; i <= rounds; i++) {
		int64_t by = (int64_t)(random_next(&x) % 100);
		bool all = w == 0 && i % 32 == 0;
		pmpt_tx *tx;
		int rc = pmpt_begin(c.pool, all ? PMPT_TX_BULK : 0, &tx);

		ok(rc);
		rc = pay(tx, c.space, (unsigned)(random_next(&x) % 32), -by);
		if (!rc && all)
			rc = bulk_spill(tx);
		if (!rc)
			rc = pay(tx, other, (unsigned)(random_next(&x) % 32), by);
		if (!rc && w == 1)
			rc = stamp(tx, i);
		if (!rc && w == 2 && i % 16 == 0)
			rc = i % 32 ? pmpt_map(tx, c.space, 9 * P1G, 300, PMPT_PFN_ALLOC,
					       PMPT_R | PMPT_REPLACE)
				    : pmpt_unmap(tx, c.space, 9 * P1G, P2M);
		if (!rc)
			rc = all && i % 64 ? pmpt_abort(tx) : pmpt_commit(tx, NULL);
		if (!rc) {
			atomic_fetch_add(&commits, 1);
			continue;
		}
		assert_true(rc == PMPT_E_CONFLICT || rc == PMPT_E_NO_FRAMES || rc == PMPT_E_BUSY);
		atomic_fetch_add(rc == PMPT_E_NO_FRAMES ? &no_frames : &conflicts, 1);
		ok(pmpt_abort(tx));
		sched_yield();
	}
	return NULL;
}

static int add(void *ctx, const struct pmpt_mapping *m)
{
	*(uint64_t *)ctx += m->pfn;
	return 0;
}

/* The page is what the word says, if the view is still good behind that. */
static int stamp_check(const pmpt_view *view)
{
	struct pmpt_mapping m;
	uint64_t number = 0, again = 0;
	bool right = true;
	int rc = pmpt_view_user_get(view, other, 2, &number);

	if (!rc)
		rc = pmpt_view_query(view, other, STAMP_VA, &m);
	if (rc)
		return rc;
	if (!atomic_load(&view->stale)) {
		const uint64_t *page = pmpt_frame_ptr(c.pool, m.pfn);

		reader_begin();
		rc = view_stale(view);
		for (unsigned i = 0; i < 512 && !rc; i++)
			right = right && page[i] == number;
		reader_end();
	}
	if (!rc)
		rc = pmpt_view_user_get(view, other, 2, &again);
	if (!rc)
		assert_true(right && again == number);
	return rc;
}

static void *read_sums(void *arg)
{
	unsigned turns = (unsigned)(uintptr_t)arg;

	while (!atomic_load(&ending)) {
		pmpt_view *view;
		int rc = 0;

		ok(pmpt_view_open(c.pool, &view));
		for (unsigned i = 0; i < turns && !rc; i++) {
			uint64_t sum = 0;

			rc = pmpt_view_walk(view, c.space, 2 * P1G, P1G, add, &sum);
			if (!rc)
				rc = pmpt_view_walk(view, other, 2 * P1G, P1G, add, &sum);
			if (!rc)
				rc = stamp_check(view);
			if (!rc) {
				assert_int_equal(sum, TOTAL);
				atomic_fetch_add(&sums, 1);
			}
		}
		assert_true(rc == 0 || rc == PMPT_E_BUSY || rc == PMPT_E_VIEW_STALE);
		atomic_fetch_add(&hidden, rc == PMPT_E_BUSY);
		atomic_fetch_add(&stale, rc == PMPT_E_VIEW_STALE);
		pmpt_view_close(view);
	}
	return NULL;
}

static void *disturb(void *arg)
{
	(void)arg;
	for (unsigned i = 0; !atomic_load(&ending); i++) {
		pmpt_space *s;
		int rc = pmpt_space_create(c.pool, "u", &s);

		assert_true(rc == 0 || rc == PMPT_E_NO_FRAMES);
		ok(pmpt_checkpoint(c.pool));
		(void)frames_reclaim(&c.pool->frames, true);
		if (rc)
			continue;
		rc = pmpt_map(NULL, s, 0, 3, PMPT_PFN_ALLOC, PMPT_R);
		assert_true(rc == 0 || rc == PMPT_E_NO_FRAMES);
		pmpt_space_close(s);
		ok(pmpt_space_delete(c.pool, "u"));
		/* now plenty, now next to nothing */
		ok(pmpt_view_limit(c.pool, i % 2 ? 16 << 10 : 1 << 20));
	}
	return NULL;
}

static void test_stress(void **state)
{
	pthread_t w[WRITERS], r[3], d;
	pmpt_view *held;

	(void)state;
	rounds = 4000;
	core_make(&c, 1536, 64, 256);
	ok(pmpt_space_create(c.pool, "t", &other));
	for (unsigned i = 0; i < REGIONS * ACCOUNTS; i++) {
		ok(pmpt_map(NULL, c.space, account(i), 1, BALANCE, RE));
		ok(pmpt_map(NULL, other, account(i), 1, BALANCE, RE));
	}
	ok(pmpt_map(NULL, other, STAMP_VA, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO));
	ok(pmpt_view_open(c.pool, &held)); /* for ever: it gets stale */
	for (uintptr_t i = 0; i < 3; i++)
		ok(pthread_create(&r[i], NULL, read_sums, (void *)(1 + 20 * i)));
	for (uintptr_t i = 0; i < WRITERS; i++)
		ok(pthread_create(&w[i], NULL, write_some, (void *)i));
	ok(pthread_create(&d, NULL, disturb, NULL));
	for (unsigned i = 0; i < WRITERS; i++)
		ok(pthread_join(w[i], NULL));
	atomic_store(&ending, true);
	for (unsigned i = 0; i < 3; i++)
		ok(pthread_join(r[i], NULL));
	ok(pthread_join(d, NULL));
	pmpt_view_close(held);
	print_message(
		"%lu commits, %lu conflicts, %lu times no frames; %lu sums, %lu views hidden, "
		"%lu stale\n",
		commits, conflicts, no_frames, sums, hidden, stale);
	assert_true(commits > rounds && sums > 0);
	assert_int_equal(atomic_load(&c.pool->wal.versions.bytes), 0);
	core_verify(&c);
	pmpt_space_close(other);
	core_reopen(&c, false);
	core_verify(&c);
	core_free(&c);
}

/* ---- pages written and read together --------------------------------------------------------- */

#define TOGETHER 6u /* pages of a write */

static void *write_pages(void *arg)
{
	static unsigned char buf[TOGETHER * 4096];

	(void)arg;
	for (unsigned i = 0; i < rounds; i++) {
		int rc;

		memset(buf, (int)(i & 0xff), sizeof(buf));
		rc = pmpt_write(NULL, c.space, P2M - 2 * P4K, buf, sizeof(buf));
		assert_true(rc == 0 || rc == PMPT_E_NO_FRAMES);
	}
	atomic_store(&ending, true);
	return NULL;
}

static void *read_pages(void *arg)
{
	bool in_view = arg != NULL;

	while (!atomic_load(&ending)) {
		unsigned char buf[TOGETHER * 4096], again[TOGETHER * 4096];
		pmpt_view *view = NULL;

		if (in_view)
			ok(pmpt_view_open(c.pool, &view));
		ok(pmpt_read(view, c.space, P2M - 2 * P4K, buf, sizeof(buf)));
		for (unsigned i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], buf[0]);
		if (in_view) {
			sched_yield();
			ok(pmpt_read(view, c.space, P2M - 2 * P4K, again, sizeof(again)));
			assert_memory_equal(buf, again, sizeof(buf));
		}
		pmpt_view_close(view);
		atomic_fetch_add(&sums, 1);
	}
	return NULL;
}

static void test_pages_together(void **state)
{
	pthread_t w, r[2];

	(void)state;
	rounds = 3000;
	atomic_store(&ending, false);
	atomic_store(&sums, 0);
	core_make(&c, 1536, 64, 256);
	ok(pmpt_map(NULL, c.space, P2M - 2 * P4K, TOGETHER, PMPT_PFN_ALLOC,
		    PMPT_R | PMPT_W | PMPT_ZERO));
	for (uintptr_t i = 0; i < 2; i++)
		ok(pthread_create(&r[i], NULL, read_pages, (void *)i));
	ok(pthread_create(&w, NULL, write_pages, NULL));
	ok(pthread_join(w, NULL));
	for (unsigned i = 0; i < 2; i++)
		ok(pthread_join(r[i], NULL));
	print_message("%lu reads of %u pages\n", sums, TOGETHER);
	core_verify(&c);
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_stopped_writer),
					    cmocka_unit_test(test_rules_bite),
					    cmocka_unit_test(test_stress),
					    cmocka_unit_test(test_pages_together) };

	ok(sem_init(&stopped, 0, 0));
	ok(sem_init(&go_on, 0, 0));
	ok(sem_init(&opened, 0, 0));
	return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
