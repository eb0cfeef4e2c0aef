/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fork_huge -- huge pages that forks share: split by who writes a part, collapsed again; pages of
 * which relatives have copied many parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define HALF_LINES 512
#include "relatives.h"

static void test_huge(void **state)
{
	uint64_t pfn;

	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	pfn = frame_at(c.space, P2M);
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	ok(pmpt_map(NULL, child, P2M + P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_REPLACE)); /* splits */
	assert_int_equal(frame_at(c.space, P2M + P4K), pfn + 1);
	assert_int_equal(frame_at(child, P2M + 2 * P4K), pfn + 2);
	core_verify(&c);
	fails(pmpt_collapse(NULL, child, P2M, PMPT_2M), PMPT_E_NOT_UNIFORM);
	pmpt_space_close(child);
	ok(pmpt_space_fork(c.space, "next", 0, &child));
	ok(pmpt_protect(NULL, child, P2M + P4K, P4K, PMPT_R));
	fails(pmpt_collapse(NULL, child, P2M, PMPT_2M), PMPT_E_NOT_UNIFORM);
	ok(pmpt_protect(NULL, child, P2M + P4K, P4K, RW));
	assert_int_equal(flags_at(child, P2M + P4K), RW | PMPT_COW);
	core_verify(&c);
	ok(pmpt_collapse(NULL, child, P2M, PMPT_2M));
	assert_int_equal(flags_at(child, P2M), RW | PMPT_COW | PMPT_2M);
	ok(pmpt_space_fork(child, "third", 0, NULL));
	ok(pmpt_move(NULL, child, P2M, child, 7 * P2M, P2M));
	assert_int_equal(frame_at(child, 7 * P2M), pfn);
	core_verify(&c);
	ok(pmpt_space_delete(c.pool, "third"));
}

#define HUGE_PAGES 3

/* Relatives have copied every second part of some huge pages: their frames' counts alternate, and one more
 * for each would not fit in the log.  Who copies the table that maps them makes them tables, which are
 * shared; one of these is copied in its turn. */
static void test_uneven(void **state)
{
	pmpt_space *first, *next;
	uint64_t pfn, words;
	char byte = 0;

	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, HUGE_PAGES + 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	pfn = frame_at(c.space, P2M);
	ok(pmpt_space_fork(c.space, "first", 0, &first));
	for (unsigned i = 0; i < HUGE_PAGES * 512; i += 2)
		ok(pmpt_write(NULL, first, P2M + i * P4K, "1", 1));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	assert_int_equal(flags_at(c.space, P2M) & PMPT_2M, PMPT_2M);
	words = core_stats(&c).log_lines;
	ok(pmpt_write(NULL, child, P2M + P4K, "2", 1));
	assert_in_range(core_stats(&c).log_lines - words, 256, 300);
	core_verify(&c);
	for (unsigned i = 0; i < HUGE_PAGES * 512; i++) {
		assert_int_equal(frame_at(c.space, P2M + i * P4K), pfn + i);
		if (i != 1)
			assert_int_equal(frame_at(child, P2M + i * P4K), pfn + i);
	}
	assert_int_not_equal(frame_at(child, P2M + P4K), pfn + 1);
	/* the last one is still huge in both */
	assert_int_equal(flags_at(child, (HUGE_PAGES + 1) * P2M), RW | PMPT_COW | PMPT_2M);
	assert_int_equal(flags_at(c.space, (HUGE_PAGES + 1) * P2M), RW | PMPT_COW | PMPT_2M);
	/* and the parent can write as before */
	ok(pmpt_space_fork(c.space, "next", 0, &next));
	ok(pmpt_write(NULL, c.space, P2M + 5 * P4K, "3", 1));
	ok(pmpt_write(NULL, c.space, P2M + 6 * P4K, "4", 1));
	ok(pmpt_read(NULL, child, P2M + 5 * P4K, &byte, 1));
	assert_int_equal(byte, 0);
	ok(pmpt_read(NULL, first, P2M + 6 * P4K, &byte, 1));
	assert_int_equal(byte, '1');
	core_verify(&c);
	pmpt_space_close(child);
	pmpt_space_close(first);
	pmpt_space_close(next);
	child = NULL;
	ok(pmpt_space_delete(c.pool, "next"));
	ok(pmpt_space_delete(c.pool, "first"));
	ok(pmpt_space_delete(c.pool, "child"));
	core_verify(&c);
	assert_int_equal(core_stats(&c).frames_data, (HUGE_PAGES + 1) * 512);
	core_reopen(&c, false);
	ok(pmpt_read(NULL, c.space, P2M + 6 * P4K, &byte, 1));
	assert_int_equal(byte, '4');
}

#define FEW_LINES 64u /* of a half of the log */
#define FEW_PAGES 8u  /* huge ones, in one table */

static int setup_few_lines(void **state)
{
	(void)state;
	core_make(&c, (FEW_PAGES + 2) * 512, FEW_LINES, 4096);
	child = NULL;
	return 0;
}

/* Relatives have copied only a few parts of each huge page, but of so many that one more for all their
 * frames would not fit in the log: each of the family can write all the same. */
static void test_uneven_few(void **state)
{
	uint64_t pfn;

	(void)state;
	ok(pmpt_map(NULL, c.space, P1G, FEW_PAGES, PMPT_PFN_ALLOC, RW | PMPT_2M));
	pfn = frame_at(c.space, P1G);
	ok(pmpt_space_fork(c.space, "first", 0, NULL));
	ok(pmpt_space_open(c.pool, "first", &child));
	for (unsigned i = 0; i < FEW_PAGES; i++)
		for (unsigned k = 100; k <= 400; k += 100)
			ok(pmpt_write(NULL, child, P1G + i * P2M + k * P4K, "1", 1));
	pmpt_space_close(child);
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	core_verify(&c);
	ok(pmpt_write(NULL, child, P1G + P4K, "2", 1));
	ok(pmpt_write(NULL, c.space, P1G + 2 * P4K, "3", 1));
	core_verify(&c);
	assert_int_equal(frame_at(child, P1G + 100 * P4K), pfn + 100);
	assert_int_equal(frame_at(c.space, P1G + 7 * P2M + 400 * P4K), pfn + 7 * 512 + 400);
	pmpt_space_close(child);
	child = NULL;
	ok(pmpt_space_delete(c.pool, "first"));
	ok(pmpt_space_delete(c.pool, "child"));
	core_verify(&c);
	assert_int_equal(core_stats(&c).frames_data, FEW_PAGES * 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_huge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_uneven, setup, teardown),
		cmocka_unit_test_setup_teardown(test_uneven_few, setup_few_lines, teardown),
	};

	return cmocka_run_group_tests_name("fork_huge", tests, NULL, NULL);
}
