/* SPDX-License-Identifier: BSD-3-Clause */
/* test_version -- old values of words for read views: how many are kept, which views go when there is
 * no room for more, and that a view that lacks one is never wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "table.h"
#include "view.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;
static pmpt_view *view;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 1536, 64, 128);
	ok(pmpt_map(NULL, c.space, P2M, 4, 7, RE));
	ok(pmpt_map(NULL, c.space, P1G, 2, 9, RE));
	ok(pmpt_user_set(NULL, c.space, 3, 30));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

static struct versions *vs(void) { return &c.pool->wal.versions; }

/* The frame at va, or 0: not mapped. */
static uint64_t frame_in(const pmpt_view *v, pmpt_space *space, uint64_t va)
{
	struct pmpt_mapping m = { 0 };
	uint64_t entry = 0;
	int rc = pmpt_view_lookup(v, space, va, &entry), rc2 = pmpt_view_query(v, space, va, &m);

	assert_int_equal(rc, rc2);
	if (rc == PMPT_E_NOT_MAPPED)
		return 0;
	ok(rc);
	assert_int_equal(m.entry, entry);
	return m.pfn;
}

static void set(uint64_t va, uint64_t pfn)
{
	ok(pmpt_map(NULL, c.space, va, 1, pfn, RE | PMPT_REPLACE));
}

static void change_many(uint64_t n, uint64_t pfn)
{
	for (uint64_t i = 0; i < n; i++)
		ok(pmpt_map(NULL, c.space, 4 * P1G + i * P4K, 1, pfn, RE | PMPT_REPLACE));
}

/* One word, changed for ever under a view: one version. */
static void test_hot_word(void **state)
{
	pmpt_view *brief;

	(void)state;
	ok(pmpt_view_open(c.pool, &view));
	for (uint64_t i = 0; i < 20000; i++) {
		ok(pmpt_view_open(c.pool, &brief));
		set(P2M, 100 + i);
		if (i % 64 == 0)
			assert_int_equal(frame_in(brief, c.space, P2M), i ? 99 + i : 7);
		pmpt_view_close(brief);
	}
	assert_int_equal(frame_in(view, c.space, P2M), 7);
	assert_in_range(atomic_load(&vs()->bytes), 1, 64 << 10);
	pmpt_view_close(view);
	assert_int_equal(atomic_load(&vs()->bytes), 0);
}

/* Views that overlap for ever: there is always one, and what none needs goes. */
static void test_overlapping(void **state)
{
	pmpt_view *next;

	(void)state;
	change_many(2000, 1);
	ok(pmpt_view_limit(c.pool, 256 << 10));
	ok(pmpt_view_open(c.pool, &view));
	for (uint64_t round = 2; round < 40; round++) {
		change_many(2000, round);
		ok(pmpt_view_open(c.pool, &next));
		assert_int_equal(frame_in(view, c.space, 4 * P1G + 1999 * P4K), round - 1);
		pmpt_view_close(view);
		view = next;
		assert_in_range(atomic_load(&vs()->bytes), 0, 256 << 10);
	}
	pmpt_view_close(view);
}

static void test_stale(void **state)
{
	struct pmpt_mapping m = { .pfn = 1 };
	pmpt_view *young;
	uint64_t e = 1;

	(void)state;
	change_many(3000, 1);
	ok(pmpt_view_limit(c.pool, 64 << 10));
	ok(pmpt_view_open(c.pool, &view));
	change_many(400, 2);
	assert_int_equal(frame_in(view, c.space, 4 * P1G), 1);
	ok(pmpt_view_open(c.pool, &young));
	change_many(3000, 3);
	fails(pmpt_view_lookup(view, c.space, 4 * P1G, &e), PMPT_E_VIEW_STALE);
	fails(pmpt_view_query(view, c.space, 4 * P1G, &m), PMPT_E_VIEW_STALE);
	fails(pmpt_view_user_get(view, c.space, 3, &e), PMPT_E_VIEW_STALE);
	fails(pmpt_view_walk(view, c.space, 0, 0, NULL, NULL), PMPT_E_VIEW_STALE);
	assert_non_null(strstr(pmpt_errormsg(), "stale"));
	assert_int_equal(m.pfn + e, 2);
	fails(pmpt_view_lookup(young, c.space, 4 * P1G, &e), PMPT_E_VIEW_STALE);
	assert_in_range(atomic_load(&vs()->bytes), 0, 64 << 10);
	fails(core_close(c.pool, true), PMPT_E_BUSY); /* stale ones count as open */
	pmpt_view_close(view);
	ok(pmpt_view_open(c.pool, &view)); /* and a new one is well */
	change_many(100, 4);
	assert_int_equal(frame_in(view, c.space, 4 * P1G), 3);
	pmpt_view_close(view);
	pmpt_view_close(young);
	assert_int_equal(atomic_load(&vs()->bytes), 0);
}

/* The older view goes, the younger one stays. */
static void test_oldest_first(void **state)
{
	pmpt_view *young;
	uint64_t e;

	(void)state;
	change_many(2000, 1);
	ok(pmpt_view_limit(c.pool, 64 << 10));
	ok(pmpt_view_open(c.pool, &view));
	change_many(900, 2);
	ok(pmpt_view_open(c.pool, &young));
	change_many(900, 3);
	fails(pmpt_view_lookup(view, c.space, 4 * P1G, &e), PMPT_E_VIEW_STALE);
	assert_int_equal(frame_in(young, c.space, 4 * P1G), 2);
	assert_int_equal(frame_in(young, c.space, 4 * P1G + 899 * P4K), 2);
	pmpt_view_close(young);
	pmpt_view_close(view);
}

/* A walk that is under way when its view becomes stale. */
static int see_and_expire(void *ctx, const struct pmpt_mapping *m)
{
	unsigned *n = ctx;

	(void)m;
	if (!(*n)++)
		change_many(3000, 9);
	return 0;
}

static void test_stale_walk(void **state)
{
	unsigned n = 0;

	(void)state;
	change_many(3000, 1);
	ok(pmpt_view_limit(c.pool, 32 << 10));
	ok(pmpt_view_open(c.pool, &view));
	fails(pmpt_view_walk(view, c.space, 0, 0, see_and_expire, &n), PMPT_E_VIEW_STALE);
	assert_in_range(n, 1, 512);
	pmpt_view_close(view);
}

/* No memory for a version: the commit goes on, the views are stale; none for a view: it says so. */
static void test_no_memory(void **state)
{
	pmpt_view *second;
	uint64_t e;

	(void)state;
	ok(pmpt_view_open(c.pool, &view));
	set(P2M, 50); /* all that a commit needs is there */
	pmpt_view_close(view);
	ok(pmpt_view_open(c.pool, &view));
	mem_fail_after = 0;
	set(P2M, 51);
	mem_fail_after = -1;
	fails(pmpt_view_lookup(view, c.space, P2M, &e), PMPT_E_VIEW_STALE);
	pmpt_view_close(view);
	mem_fail_after = 0;
	ok(pmpt_view_open(c.pool, &view)); /* in the memory of the one before */
	fails(pmpt_view_open(c.pool, &second), -ENOMEM);
	mem_fail_after = -1;
	pmpt_view_close(view);
	assert_int_equal(versions_views(vs()), 0);
}

/* One transaction changes more than the limit holds. */
static void test_large_transaction(void **state)
{
	uint64_t e;
	pmpt_tx *tx;

	(void)state;
	change_many(2048, 1);
	ok(pmpt_view_limit(c.pool, 32 << 10));
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, 4 * P1G, 2048, 5000, RE | PMPT_REPLACE));
	ok(pmpt_commit(tx, NULL));
	fails(pmpt_view_lookup(view, c.space, 4 * P1G, &e), PMPT_E_VIEW_STALE);
	assert_int_equal(atomic_load(&vs()->bytes), 0); /* at once, though it is open */
	pmpt_view_close(view);
	ok(pmpt_view_limit(c.pool, 1 << 20));
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, 4 * P1G, 2048, 9000, RE | PMPT_REPLACE));
	ok(pmpt_commit(tx, NULL));
	for (uint64_t i = 0; i < 2048; i++)
		assert_int_equal(frame_in(view, c.space, 4 * P1G + i * P4K), 5000 + i);
	pmpt_view_close(view);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_hot_word),          T(test_overlapping), T(test_stale),
		T(test_oldest_first),      T(test_stale_walk),  T(test_no_memory),
		T(test_large_transaction),
	};

	return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
