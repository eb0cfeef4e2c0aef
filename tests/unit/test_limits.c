/* SPDX-License-Identifier: BSD-3-Clause */
/* test_limits -- what is larger than the log, than a group of frames, than a table: it goes in
 * steps, or costs nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
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
	core_make(&c, 3072, 64, 2048);
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

	return pmpt_query(c.space, va, &m) ? 0 : m.pfn + ((va - m.va) >> 12);
}

/* ---- large ----------------------------------------------------------------------------------- */

/* A space of many more words than a transaction may have goes in steps, and after a crash on the
 * way the next open takes it up. */
static void fill(pmpt_space *s)
{
	uint64_t pfn;
	pmpt_tx *tx;

	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_frame_alloc(tx, 200, 1, &pfn));
	ok(pmpt_map(tx, s, 0, 200, pfn, PMPT_R));
	ok(pmpt_commit(tx, NULL));
	for (uint64_t i = 0; i < 200; i++) { /* counts that are no sequence make no run */
		for (uint64_t k = 1; k <= i * i % 11; k++)
			ok(pmpt_map(NULL, s, k * P1G + i * P4K, 1, pfn + i, PMPT_R));
	}
}

static void test_delete_large(void **state)
{
	struct pmpt_stats before = core_stats(&c);
	pmpt_space *s;

	(void)state;
	ok(pmpt_space_create(c.pool, "t", &s));
	fill(s);
	pmpt_space_close(s);
	ok(pmpt_space_delete(c.pool, "t"));
	assert_int_equal(core_stats(&c).frames_table, before.frames_table);
	assert_int_equal(core_stats(&c).frames_data, 0);
	assert_int_equal(core_stats(&c).spaces, 1);
}

static void test_delete_interrupted(void **state)
{
	struct pmpt_stats before = core_stats(&c);
	pmpt_space *s;
	int rc = -ENOMEM;
	long n;

	(void)state;
	for (n = 0; rc; n += 3) { /* it ends here and there on its way */
		if (!pmpt_space_open(c.pool, "t", &s) || !pmpt_space_create(c.pool, "t", &s)) {
			if (!core_stats(&c).frames_data)
				fill(s);
			pmpt_space_close(s);
		}
		atomic_store(&mem_fail_after, n);
		rc = pmpt_space_delete(c.pool, "t");
		atomic_store(&mem_fail_after, -1);
		assert_true(rc == 0 || rc == -ENOMEM);
		core_reopen(&c, n % 2);
		if (n % 16 == 0)
			core_verify(&c);
	}
	assert_int_equal(core_stats(&c).frames_table, before.frames_table);
	assert_int_equal(core_stats(&c).frames_data, 0);
}

/* A bulk transaction spills by itself when its plan grows large. */
static void test_bulk_spills(void **state)
{
	pmpt_tx *tx;
	uint64_t e;

	(void)state;
	ok(pmpt_map(NULL, c.space, P1G, 1, 3, RE | PMPT_W));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	for (uint64_t i = 0; i < 80; i++)
		ok(pmpt_map(tx, c.space, P1G + i * P2M, 512, (i << 20) + 512, RE | PMPT_REPLACE));
	fails(pmpt_lookup(c.space, P1G, &e), PMPT_E_BUSY);
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(frame_at(P1G + 79 * P2M + 7 * P4K), (79 << 20) + 512 + 7);
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_unmap(tx, c.space, P1G, 80 * P2M));
	ok(pmpt_map(tx, c.space, P1G, 4, PMPT_PFN_ALLOC, PMPT_R));
	ok(bulk_spill(tx));
	ok(pmpt_abort(tx));
	assert_int_equal(frame_at(P1G + 79 * P2M + 7 * P4K), (79 << 20) + 512 + 7);
	assert_int_equal(core_stats(&c).frames_data, 0);
}

/* Runs of frames longer than a group. */
static void test_long_runs(void **state)
{
	uint64_t pfn, huge;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_frame_alloc(tx, 1300, 1, &pfn));
	ok(pmpt_frame_alloc(tx, 512, 512, &huge));
	assert_int_equal(huge % 512, 0);
	assert_true(huge >= pfn + 1300 || huge + 512 <= pfn);
	fails(pmpt_frame_alloc(tx, 1300, 1, &huge), PMPT_E_NO_FRAMES);
	ok(pmpt_map(tx, c.space, P2M, 1300, pfn, PMPT_R));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(core_stats(&c).frames_data, 1300); /* the rest is free again */
	assert_int_equal(frame_at(P2M + 1299 * P4K), pfn + 1299);
	ok(pmpt_unmap(NULL, c.space, P2M, 1300 * P4K));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_frame_alloc(tx, 1300, 1, &pfn)); /* what waited is free in time */
	ok(pmpt_abort(tx));
}

/* Holes cost nothing, wherever the pages between them lie. */
static void test_large_holes(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, c.space, 5 * P4K, 1, 7, RE));
	ok(pmpt_map(NULL, c.space, ((uint64_t)1 << 44) + 9 * P4K, 2, 8, RE));
	ok(pmpt_move(NULL, c.space, P4K, c.space, ((uint64_t)1 << 45) + 2 * P4K,
		     ((uint64_t)1 << 44) + 9 * P4K));
	assert_int_equal(frame_at(((uint64_t)1 << 45) + 6 * P4K), 7);
	assert_int_equal(frame_at(((uint64_t)3 << 44) + 10 * P4K), 8);
	assert_int_equal(frame_at(((uint64_t)1 << 44) + 10 * P4K), 9); /* one behind the range */
	/* a hole, onto something */
	fails(pmpt_move(NULL, c.space, (uint64_t)1 << 46, c.space, 0, (uint64_t)1 << 45),
	      PMPT_E_MAPPED);
	ok(pmpt_unmap(NULL, c.space, 0, (uint64_t)1 << 47));
	assert_int_equal(core_stats(&c).frames_table, 1);
}

/* 1 GiB pages, whole and in parts. */
static void test_gigabyte_pages(void **state)
{
	uint64_t tables = core_stats(&c).frames_table;
	struct pmpt_mapping m;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 512, (uint64_t)3 << 18, RE | PMPT_2M | PMPT_TAG(3)));
	assert_int_equal(core_stats(&c).frames_table, tables + 2);
	ok(pmpt_collapse(NULL, c.space, 0, PMPT_1G));
	assert_int_equal(core_stats(&c).frames_table, tables + 1);
	ok(pmpt_query(c.space, P1G - 1, &m));
	assert_int_equal(m.level, 3);
	assert_int_equal(m.flags, RE | PMPT_1G | PMPT_TAG(3));
	fails(pmpt_collapse(NULL, c.space, P2M, PMPT_2M), PMPT_E_NOT_MAPPED);
	ok(pmpt_protect(NULL, c.space, P2M, P2M, PMPT_R | PMPT_W)); /* one split */
	assert_int_equal(core_stats(&c).frames_table, tables + 2);
	fails(pmpt_collapse(NULL, c.space, 0, PMPT_1G), PMPT_E_NOT_UNIFORM);
	ok(pmpt_protect(NULL, c.space, P2M, P2M, PMPT_R));
	ok(pmpt_collapse(NULL, c.space, 0, PMPT_1G));
	ok(pmpt_unmap(NULL, c.space, P4K, P4K)); /* two */
	assert_int_equal(core_stats(&c).frames_table, tables + 3);
	assert_int_equal(frame_at(P4K), 0);
	assert_int_equal(frame_at(2 * P4K), ((uint64_t)3 << 18) + 2);
	fails(pmpt_collapse(NULL, c.space, 0, PMPT_1G), PMPT_E_NOT_UNIFORM);
	ok(pmpt_unmap(NULL, c.space, 0, P1G));
	assert_int_equal(core_stats(&c).frames_table, tables);
	/* frames that are not aligned as the huge page is */
	ok(pmpt_map(NULL, c.space, 0, 512, 100, RE));
	fails(pmpt_collapse(NULL, c.space, 0, PMPT_2M), PMPT_E_NOT_UNIFORM);
}

/* A and D, which a walker sets in home entries, stay while the frame does, and hinder nothing. */
static void test_walker_bits(void **state)
{
	uint64_t root = word_load(&c.space->record->root), e, ad = ENTRY_A | ENTRY_D;
	pm_word *table;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 512, 512, RE));
	for (unsigned level = 4; level > 1; level--)
		root = word_load((pm_word *)region_at(&c.rg, root)) & ENTRY_PFN;
	table = region_at(&c.rg, root);
	atomic_fetch_or(&table[5], ad);
	atomic_fetch_or(&table[6], ENTRY_A);
	ok(pmpt_protect(NULL, c.space, 0, P2M, PMPT_R | PMPT_W));
	ok(pmpt_lookup(c.space, 5 * P4K, &e));
	assert_int_equal(e & (ad | ENTRY_W), ad | ENTRY_W);
	ok(pmpt_protect(NULL, c.space, 5 * P4K, P4K, PMPT_R));
	ok(pmpt_lookup(c.space, 5 * P4K, &e));
	assert_int_equal(e & (ad | ENTRY_W), ad);
	ok(pmpt_map(NULL, c.space, 5 * P4K, 1, 7, RE | PMPT_REPLACE)); /* another frame */
	ok(pmpt_lookup(c.space, 5 * P4K, &e));
	assert_int_equal(e & ad, 0);
	ok(pmpt_unmap(NULL, c.space, 6 * P4K, P4K));
	fails(pmpt_lookup(c.space, 6 * P4K, &e), PMPT_E_NOT_MAPPED);
	assert_int_equal(word_load(&table[6]), 0);
	ok(pmpt_map(NULL, c.space, 5 * P4K, 2, 517, RE | PMPT_W | PMPT_REPLACE));
	atomic_fetch_or(&table[9], ad);
	ok(pmpt_collapse(NULL, c.space, 0, PMPT_2M));
	assert_int_equal(frame_at(9 * P4K), 521);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_delete_large), T(test_delete_interrupted), T(test_bulk_spills),
		T(test_long_runs),    T(test_large_holes),        T(test_gigabyte_pages),
		T(test_walker_bits),
	};

	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
