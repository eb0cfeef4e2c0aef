/* SPDX-License-Identifier: BSD-3-Clause */
/* test_plan -- plans that outlive what they were made from: a commit that fails and is tried again, a
 * frame that is another's by now, a table taken for a page; and what an open bulk transaction hides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 1536, 64, 128);
	return 0;
}

static int setup_bulk(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 12000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

static uint64_t frame_at(uint64_t va)
{
	struct pmpt_mapping m;

	return pmpt_query(c.space, va, &m) ? 0 : m.pfn;
}

/* A page of the pool at va is unmapped, and its frame handed to another page at `to`. */
static void reuse(uint64_t va, uint64_t to)
{
	uint64_t pfn = frame_at(va), got[600];
	unsigned n = 0;
	pmpt_tx *tx;

	ok(pmpt_unmap(NULL, c.space, va, P4K));
	ok(frames_reclaim(&c.pool->frames, true));
	ok(pmpt_begin(c.pool, 0, &tx));
	do
		ok(pmpt_frame_alloc(tx, 1, 1, &got[n]));
	while (got[n] != pfn && ++n < 600);
	assert_int_equal(got[n], pfn);
	ok(pmpt_map(tx, c.space, to, 1, pfn, PMPT_R));
	ok(pmpt_commit(tx, NULL));
}

/* The frame was freed and is another's page when the plan that shares it is committed. */
static void test_shared_frame_reused(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 2, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(NULL, c.space, P1G, 1, 9, RE));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, P1G + P4K, 1, frame_at(0), PMPT_R));
	reuse(0, 5 * P4K);
	fails(pmpt_commit(tx, NULL), PMPT_E_CONFLICT);
	ok(pmpt_abort(tx));
	assert_int_equal(frame_at(P1G + P4K), 0);
	/* shared and not freed meanwhile: fine, also while neighbours are freed */
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, P1G + P4K, 1, frame_at(5 * P4K), PMPT_R));
	ok(pmpt_unmap(NULL, c.space, P4K, P4K));
	ok(frames_reclaim(&c.pool->frames, true));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(frame_at(P1G + P4K), frame_at(5 * P4K));
}

/* At the fence behind the streamed tables, before the counts are looked at under their locks. */
static void unmap_at_fence(void *ctx, const struct pm_event *event)
{
	(void)ctx;
	if (event->kind != PM_EV_FENCE)
		return;
	pm_observer = NULL;
	ok(pmpt_unmap(NULL, c.space, P1G, P4K));
}

/* A table went to its frame whole, the commit failed, and by the next one it has so few entries that
 * they go by the log: what was streamed before must not stay. */
static void test_streamed_then_smaller(void **state)
{
	uint64_t savepoint;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, P1G, 2, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(NULL, c.space, P1G + 9 * P4K, 1, 9, RE));
	ok(pmpt_checkpoint(c.pool)); /* frames zeroed ahead */
	ok(pmpt_begin(c.pool, 0, &tx));
	for (uint64_t i = 0; i < 30; i++)
		ok(pmpt_map(tx, c.space, 2 * P1G + 3 * i * P4K, 1, 100 + 7 * i, RE));
	ok(pmpt_savepoint(tx, &savepoint));
	ok(pmpt_map(tx, c.space, P2M, 1, frame_at(P1G), PMPT_R));
	pm_observer = unmap_at_fence;
	fails(pmpt_commit(tx, NULL), PMPT_E_CONFLICT);
	assert_null(pm_observer);
	ok(pmpt_rollback_to(tx, savepoint));
	ok(pmpt_unmap(tx, c.space, 2 * P1G + 30 * P4K, P2M - 30 * P4K));
	ok(pmpt_commit(tx, NULL));
	for (uint64_t i = 0; i < 30; i++)
		assert_int_equal(frame_at(2 * P1G + 3 * i * P4K), i < 10 ? 100 + 7 * i : 0);
}

/* Small fresh tables go by the log: the call that makes too many of them says so, not the commit. */
static void test_fresh_tables_take_room(void **state)
{
	pmpt_tx *tx;
	int rc = 0;

	(void)state;
	ok(pmpt_checkpoint(c.pool));
	ok(pmpt_begin(c.pool, 0, &tx));
	for (uint64_t t = 0; t < 12 && !rc; t++) {
		for (uint64_t i = 0; i < 24 && !rc; i++)
			rc = pmpt_map(tx, c.space, P1G + t * P2M + 3 * i * P4K, 1, 100 + 7 * i, RE);
	}
	fails(rc, PMPT_E_TX_TOO_LARGE);
	ok(pmpt_commit(tx, NULL)); /* as it was before that call */
}

/* After a batch has gone home the tables of a bulk transaction are still tables. */
static void test_own_table_as_page(void **state)
{
	unsigned refused = 0;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	for (uint64_t i = 0; i < 40; i++)
		ok(pmpt_map(tx, c.space, i * P2M, 512, 512 * i, RE));
	for (uint64_t pfn = 512; pfn < 512 + 1536; pfn++)
		refused +=
			pmpt_map(tx, c.space, 9 * P1G + pfn * P4K, 1, pfn, PMPT_R) == PMPT_E_FRAME;
	assert_int_equal(refused, 1536);
	ok(pmpt_commit(tx, NULL));
}

static int count(void *n, const struct pmpt_mapping *m)
{
	(void)m;
	++*(unsigned *)n;
	return 0;
}

/* Holes that an open bulk transaction has made are no more to be seen than its pages. */
static void test_walk_hidden(void **state)
{
	unsigned n = 0;
	pmpt_tx *tx;

	(void)state;
	for (uint64_t i = 0; i < 40; i++)
		ok(pmpt_map(NULL, c.space, i * P2M, 512, 512 * i, RE));
	ok(pmpt_map(NULL, c.space, 3 * P1G, 1, 9, RE));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	for (uint64_t i = 0; i < 40; i++)
		ok(pmpt_unmap(tx, c.space, i * P2M, P2M - 16 * P4K));
	fails(pmpt_walk(c.space, 0, 40 * P2M, count, &n), PMPT_E_BUSY);
	assert_int_equal(n, 0);
	fails(pmpt_walk(c.space, 0, P4K, count, &n), PMPT_E_BUSY);
	ok(pmpt_walk(c.space, 3 * P1G, P1G, count, &n)); /* beside it */
	assert_int_equal(n, 1);
	ok(pmpt_abort(tx));
	n = 0;
	ok(pmpt_walk(c.space, 0, 40 * P2M, count, &n));
	assert_int_equal(n, 40 * 512);
}

static uint64_t scattered(uint64_t i) { return 2 * P1G + i * 7919 % 17000 * 2 * P4K; }

/* Thousands of ranges are merged; each is found, and nothing beside them. */
static void test_many_ranges(void **state)
{
	uint64_t e;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, P1G, 512, 512, RE));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	for (uint64_t i = 0; i < 17000; i++) /* in a scattered order; every other page */
		ok(pmpt_map(tx, c.space, scattered(i), 1, i, RE));
	for (uint64_t i = 0; i < 15000; i += 13) { /* has gone home */
		fails(pmpt_lookup(c.space, scattered(i), &e), PMPT_E_BUSY);
		fails(pmpt_lookup(c.space, scattered(i) + P4K, &e), PMPT_E_NOT_MAPPED);
	}
	ok(pmpt_lookup(c.space, P1G + 5 * P4K, &e));
	ok(pmpt_abort(tx));
	fails(pmpt_lookup(c.space, 2 * P1G, &e), PMPT_E_NOT_MAPPED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_shared_frame_reused),
		T(test_streamed_then_smaller),
		T(test_fresh_tables_take_room),
		T(test_own_table_as_page),
		T(test_walk_hidden),
		cmocka_unit_test_setup_teardown(test_many_ranges, setup_bulk, teardown),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
