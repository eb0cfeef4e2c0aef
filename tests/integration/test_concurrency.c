/* SPDX-License-Identifier: BSD-3-Clause */
/* test_concurrency -- one writer stopped after each of its steps, while another commits on a
 * disjoint subtree, a checkpoint runs and readers finish; then a stress of all together, meant for
 * ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define RE  (PMPT_R | PMPT_EXT)

static struct core c;

static uint64_t frame_at(uint64_t va)
{
	uint64_t e = 0;

	return pmpt_lookup(c.space, va, &e) ? 0 : entry_pfn(e);
}

/* ---- a writer stopped at its nth step -------------------------------------------------------- */

static pthread_t writer;
static _Atomic unsigned stop_at; /* steps left; 0: none */
static _Atomic bool ended;
static sem_t stopped, go_on;

static void observe(void *ctx, const struct pm_event *e)
{
	(void)ctx, (void)e;
	if (!pthread_equal(pthread_self(), writer) || !atomic_load(&stop_at) ||
	    atomic_fetch_sub(&stop_at, 1) != 1)
		return;
	sem_post(&stopped);
	sem_wait(&go_on);
}

/* What the writer does, in turn: va is a page that it changes. */
struct act {
	const char *name;
	void (*before)(void); /* in the main thread, before it starts; may be NULL */
	int (*run)(void);
	uint64_t va;
	bool checkpoints; /* it holds the checkpointer at some steps: B runs none */
	unsigned least;   /* steps that it has at least */
};

#define A_VA (8 * P2M)

static int act_redo(void)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	for (unsigned i = 0; i < 3 && !rc; i++)
		rc = pmpt_map(tx, c.space, i * 2 * P4K, 1, 100 + atomic_load(&stop_at),
			      RE | PMPT_REPLACE);
	if (!rc)
		rc = pmpt_map(tx, c.space, 5 * P4K, 2, PMPT_PFN_ALLOC, PMPT_R | PMPT_REPLACE);
	return rc ? rc : pmpt_commit(tx, NULL);
}

static void pages_there(void)
{
	assert_int_equal(pmpt_map(NULL, c.space, A_VA, 3, PMPT_PFN_ALLOC, PMPT_R | PMPT_REPLACE),
			 0);
}

static int act_unmap(void) /* the pages, their table, their frames */
{
	return pmpt_unmap(NULL, c.space, A_VA, P2M);
}

static int bulk(bool commit)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, PMPT_TX_BULK, &tx);

	if (!rc)
		rc = pmpt_protect(tx, c.space, A_VA, P4K, PMPT_R | PMPT_W);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_map(tx, c.space, A_VA, 1, 100 + atomic_load(&stop_at), RE | PMPT_REPLACE);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_map(tx, c.space, 9 * P2M, 600, 5000, RE | PMPT_REPLACE);
	return rc ? rc : commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
static int act_bulk(void) { return bulk(true); }
static int act_bulk_abort(void) { return bulk(false); }

static void something_dirty(void)
{
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(
			pmpt_map(NULL, c.space, i * P2M + P4K, 1, 7 + i, RE | PMPT_REPLACE), 0);
}
static int act_checkpoint(void) { return pmpt_checkpoint(c.pool); }

static int act_space(void)
{
	pmpt_space *s;
	int rc = pmpt_space_create(c.pool, "t", &s);

	if (rc)
		return rc;
	rc = pmpt_map(NULL, s, 0, 3, PMPT_PFN_ALLOC, PMPT_R);
	pmpt_space_close(s);
	return rc ? rc : pmpt_space_delete(c.pool, "t");
}

static void huge_there(void)
{
	assert_int_equal(pmpt_map(NULL, c.space, A_VA, 1, 1024, RE | PMPT_2M | PMPT_REPLACE), 0);
}
static int act_split(void) { return pmpt_protect(NULL, c.space, A_VA + P4K, P4K, PMPT_R | PMPT_W); }

static const struct act acts[] = {
	{ "a transaction of two tables", NULL, act_redo, 0, false, 8 },
	{ "an unmap that frees a table", pages_there, act_unmap, A_VA, false, 5 },
	{ "a bulk commit", pages_there, act_bulk, A_VA, true, 20 },
	{ "a bulk abort", pages_there, act_bulk_abort, A_VA, true, 12 },
	{ "a checkpoint", something_dirty, act_checkpoint, 0, true, 6 },
	{ "a space created and deleted", NULL, act_space, 0, false, 20 },
	{ "a split", huge_there, act_split, A_VA, false, 5 },
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

/* While A is stopped: B commits to another table, a reader finishes, a checkpoint runs.  Returns
 * what the reader saw of A's page, or UINT64_MAX when it was kept out. */
static uint64_t meanwhile(unsigned n)
{
	uint64_t entry = 0, va[2] = { P2M, 2 * P2M + P4K }, entries[2];
	pmpt_tx *tx;
	int rc;

	assert_int_equal(pmpt_map(NULL, c.space, P2M, 1, 200 + n, RE | PMPT_REPLACE), 0);
	assert_int_equal(pmpt_begin(c.pool, 0, &tx), 0);
	assert_int_equal(pmpt_map(tx, c.space, P2M + 5 * P4K, 1, n, RE | PMPT_REPLACE), 0);
	assert_int_equal(pmpt_abort(tx), 0);
	assert_int_equal(frame_at(P2M), 200 + n);
	assert_int_equal(pmpt_lookup_batch(c.space, va, 2, entries), 0);
	assert_int_equal(entry_pfn(entries[0]), 200 + n);
	rc = pmpt_lookup(c.space, act->va, &entry);
	assert_true(rc == 0 || rc == PMPT_E_NOT_MAPPED || rc == PMPT_E_BUSY);
	if (!act->checkpoints)
		assert_int_equal(pmpt_checkpoint(c.pool), 0);
	return rc == PMPT_E_BUSY ? UINT64_MAX : rc ? 0 : entry & ~ENTRY_AD;
}

static uint64_t a_entry(void)
{
	uint64_t entry = 0;

	return pmpt_lookup(c.space, act->va, &entry) ? 0 : entry & ~ENTRY_AD;
}

/* A stopped at its nth step, or at its end.  False: it has fewer steps. */
static bool stop_once(unsigned n)
{
	uint64_t before, seen;
	pthread_t thread;
	bool done;
	void *rc;

	if (act->before)
		act->before();
	before = a_entry();
	atomic_store(&ended, false);
	atomic_store(&stop_at, n);
	assert_int_equal(pthread_create(&thread, NULL, write_a, NULL), 0);
	sem_wait(&stopped);
	done = atomic_load(&ended);
	if (!done) {
		seen = meanwhile(n);
		sem_post(&go_on);
		sem_wait(&stopped); /* its end */
	}
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_int_equal((intptr_t)rc, 0);
	if (!done && seen != before && seen != a_entry() && seen != UINT64_MAX)
		fail_msg("%s, stopped at step %u: a reader sees %#lx, neither %#lx nor %#lx",
			 act->name, n, seen, before, a_entry());
	core_verify(&c);
	return !done;
}

static void test_stopped_writer(void **state)
{
	(void)state;
	assert_int_equal(sem_init(&stopped, 0, 0), 0);
	assert_int_equal(sem_init(&go_on, 0, 0), 0);
	for (act = acts; act < acts + sizeof(acts) / sizeof(acts[0]); act++) {
		unsigned n = 1;

		core_make(&c, 3072, 1024, 1024); /* no half is ever full */
		for (uint64_t i = 0; i < 3; i++)
			assert_int_equal(pmpt_map(NULL, c.space, i * P2M + P4K, 1, 7, RE), 0);
		pm_observer = observe;
		while (n < 300 && stop_once(n))
			n++;
		pm_observer = NULL;
		print_message("%s was stopped at each of its %u steps\n", act->name, n - 1);
		assert_true(n > act->least && n < 300);
		core_reopen(&c, false);
		assert_int_equal(frame_at(P2M), 200 + n - 1);
		core_verify(&c);
		core_free(&c);
	}
}

/* ---- all together ---------------------------------------------------------------------------- */

#define WRITERS 3
#define ROUNDS  1500
static _Atomic bool ending;
static _Atomic unsigned long conflicts, reads;

static void *write_own(void *arg)
{
	uint64_t base = ((uint64_t)(uintptr_t)arg + 1) << 30;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		pmpt_tx *tx;
		int rc = pmpt_begin(c.pool, 0, &tx);

		assert_int_equal(rc, 0);
		for (unsigned k = 0; k < 4 && !rc; k++)
			rc = pmpt_map(tx, c.space, base + k * P4K, 1, i, RE | PMPT_REPLACE);
		if (!rc && i % 3 == 0)
			rc = pmpt_map(tx, c.space, base + P2M, 2, PMPT_PFN_ALLOC,
				      PMPT_R | PMPT_REPLACE);
		if (!rc && i % 3 == 1)
			rc = pmpt_unmap(tx, c.space, base + P2M, P2M);
		if (!rc)
			/* all want this one */
			rc = pmpt_map(tx, c.space, 0, 1, i, RE | PMPT_REPLACE);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		if (rc) {
			assert_int_equal(rc, PMPT_E_CONFLICT);
			atomic_fetch_add(&conflicts, 1);
			assert_int_equal(pmpt_abort(tx), 0);
		}
	}
	return NULL;
}

static void *read_all(void *arg)
{
	(void)arg;
	while (!atomic_load(&ending)) {
		for (uint64_t w = 1; w <= WRITERS; w++) {
			uint64_t va[4], e[4];
			struct pmpt_mapping m;
			int rc;

			for (unsigned k = 0; k < 4; k++)
				va[k] = (w << 30) + k * P4K;
			rc = pmpt_lookup_batch(c.space, va, 4, e);
			assert_true(rc == 0 || rc == PMPT_E_BUSY);
			rc = pmpt_query(c.space, (w << 30) + P2M, &m);
			assert_true(rc == 0 || rc == PMPT_E_NOT_MAPPED || rc == PMPT_E_BUSY);
			atomic_fetch_add(&reads, 1);
		}
	}
	return NULL;
}

static void *checkpoints(void *arg)
{
	(void)arg;
	while (!atomic_load(&ending)) {
		struct pmpt_stats s;

		assert_int_equal(pmpt_checkpoint(c.pool), 0);
		assert_int_equal(pmpt_stats(c.pool, &s), 0);
	}
	return NULL;
}

static void *bulks_and_spaces(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 40; i++) {
		pmpt_space *s;
		pmpt_tx *tx;
		int rc = pmpt_begin(c.pool, PMPT_TX_BULK, &tx);

		if (!rc)
			rc = pmpt_map(tx, c.space, (uint64_t)9 << 30, 600, 5000, RE);
		if (!rc)
			rc = bulk_spill(tx);
		if (!rc)
			rc = i % 2 ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
		else
			assert_int_equal(pmpt_abort(tx), 0);
		assert_true(rc == 0 || rc == PMPT_E_CONFLICT);
		rc = pmpt_unmap(NULL, c.space, (uint64_t)9 << 30, 600 * P4K);
		assert_true(rc == 0 || rc == PMPT_E_CONFLICT);
		assert_int_equal(pmpt_space_create(c.pool, "t", &s), 0);
		assert_int_equal(pmpt_map(NULL, s, 0, 3, PMPT_PFN_ALLOC, PMPT_R), 0);
		pmpt_space_close(s);
		assert_int_equal(pmpt_space_delete(c.pool, "t"), 0);
	}
	return NULL;
}

static void test_stress(void **state)
{
	pthread_t w[WRITERS], r[2], k, b;

	(void)state;
	atomic_store(&ending, false);
	core_make(&c, 2048, 64, 256);
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&w[i], NULL, write_own, (void *)i), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&r[i], NULL, read_all, NULL), 0);
	assert_int_equal(pthread_create(&k, NULL, checkpoints, NULL), 0);
	assert_int_equal(pthread_create(&b, NULL, bulks_and_spaces, NULL), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(w[i], NULL), 0);
	assert_int_equal(pthread_join(b, NULL), 0);
	atomic_store(&ending, true);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(r[i], NULL), 0);
	assert_int_equal(pthread_join(k, NULL), 0);
	print_message("%lu reads, %lu conflicts\n", atomic_load(&reads), atomic_load(&conflicts));
	core_verify(&c);
	core_reopen(&c, false);
	core_verify(&c);
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_stopped_writer),
					    cmocka_unit_test(test_stress) };

	return cmocka_run_group_tests_name("concurrency", tests, NULL, NULL);
}
