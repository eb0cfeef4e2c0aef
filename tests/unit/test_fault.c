/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fault -- each state that a fault may meet, each access: what is done, and what is said where
 * nothing may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "table.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RW  (PMPT_R | PMPT_W)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;
static char back[P4K];

static int setup(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_free(&c);
	return 0;
}

/* Rubbish in the free frames: what is zero was zeroed. */
static void rubbish(unsigned frames)
{
	char page[P4K];

	memset(page, 0xdb, P4K);
	for (unsigned i = 0; i < frames; i++)
		ok(pmpt_write(NULL, c.space, 64 * P1G + i * P4K, page, P4K));
	ok(pmpt_unmap(NULL, c.space, 64 * P1G, frames * P4K));
	ok(frames_reclaim(&c.pool->frames, true));
}

/* Turn W of the leaf over va into COW, as a fork does: by a transaction of the test. */
struct cow {
	uint64_t va;
	unsigned level;
	int more; /* references that somebody else has */
};

static int make_cow(struct pmpt_tx *tx, const void *args)
{
	const struct cow *a = args;
	struct path p;
	uint64_t entry;

	ok(table_walk_own(tx, c.space, a->va, a->level, &p));
	entry = table_entry(tx, &p);
	assert_true(entry_is_leaf(entry, p.level));
	ok(table_set(tx, &p, (entry & ~ENTRY_W) | ENTRY_COW));
	for (int i = 0; i < a->more; i++)
		ok(leaf_count(tx, entry, p.level, 1));
	return 0;
}

static void cow(uint64_t va, unsigned level, int more)
{
	struct cow a = { va, level, more };

	ok(tx_run(c.pool, NULL, make_cow, &a));
}

static uint64_t count_of(uint64_t pfn)
{
	return desc_count(word_load(frames_desc(&c.pool->frames, pfn)));
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_present(void **state)
{
	struct pmpt_mapping m, again;
	uint64_t lsn = core_stats(&c).lsn;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_U | PMPT_ZERO));
	ok(pmpt_map(NULL, c.space, 2 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_X));
	ok(pmpt_map(NULL, c.space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	lsn = core_stats(&c).lsn;
	ok(pmpt_query(c.space, P4K, &m));
	ok(pmpt_fault(NULL, c.space, P4K + 5, PMPT_R | PMPT_W | PMPT_U, &again));
	assert_memory_equal(&m, &again, sizeof(m));
	ok(pmpt_fault(NULL, c.space, P2M + P4K, PMPT_W, &again));
	assert_int_equal(again.level, 2);
	ok(pmpt_fault(NULL, c.space, 2 * P4K, PMPT_R | PMPT_X, NULL));
	assert_int_equal(core_stats(&c).lsn, lsn); /* nothing was changed */
	core_verify(&c);
}

static void test_denied(void **state)
{
	struct pmpt_mapping m = { .va = 77 };

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(NULL, c.space, 2 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_DEMAND));
	for (uint64_t va = P4K; va <= 2 * P4K; va += P4K) {
		fails(pmpt_fault(NULL, c.space, va, PMPT_W | PMPT_X | PMPT_U, &m),
		      PMPT_E_DENIED_WRITE);
		assert_non_null(strstr(pmpt_errormsg(), "at level 1"));
		fails(pmpt_fault(NULL, c.space, va, PMPT_X | PMPT_U, &m), PMPT_E_DENIED_EXEC);
		fails(pmpt_fault(NULL, c.space, va, PMPT_U, &m), PMPT_E_DENIED_USER);
	}
	fails(pmpt_fault(NULL, c.space, 3 * P4K, PMPT_R, &m), PMPT_E_NOT_MAPPED);
	assert_non_null(strstr(pmpt_errormsg(), "at level 1"));
	fails(pmpt_fault(NULL, c.space, P1G, PMPT_R, &m), PMPT_E_NOT_MAPPED);
	assert_non_null(strstr(pmpt_errormsg(), "at level 3"));
	fails(pmpt_fault(NULL, c.space, (uint64_t)1 << 47, PMPT_R, &m), PMPT_E_ADDRESS);
	fails(pmpt_fault(NULL, c.space, P4K, 0, &m), -EINVAL);
	fails(pmpt_fault(NULL, c.space, P4K, 1u << 5, &m), -EINVAL);
	assert_int_equal(m.va, 77); /* untouched */
	core_verify(&c);
}

static void test_demand(void **state)
{
	static const char zero[P4K];
	unsigned flags = PMPT_R | PMPT_W | PMPT_U | PMPT_TAG(1);
	struct pmpt_mapping m;

	(void)state;
	rubbish(20);
	ok(pmpt_map(NULL, c.space, P4K, 4, PMPT_PFN_ALLOC, flags | PMPT_DEMAND));
	ok(pmpt_map(NULL, c.space, P1G, 1, PMPT_PFN_ALLOC, flags | PMPT_DEMAND | PMPT_1G));
	ok(pmpt_map(NULL, c.space, 2 * P1G, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_DEMAND));
	for (unsigned i = 1; i < 4; i++) { /* a read too */
		ok(pmpt_fault(NULL, c.space, i * P4K + 1, i == 1 ? PMPT_W : PMPT_R, &m));
		assert_int_equal(m.va, i * P4K);
		assert_int_equal(m.flags, flags);
		assert_memory_equal(pmpt_frame_ptr(c.pool, m.pfn), zero, P4K);
		assert_int_equal(count_of(m.pfn), 1);
	}
	ok(pmpt_fault(NULL, c.space, P1G + 3 * P2M + P4K, PMPT_W | PMPT_U, &m));
	assert_int_equal(m.level, 1);
	assert_memory_equal(pmpt_frame_ptr(c.pool, m.pfn), zero, P4K);
	ok(pmpt_fault(NULL, c.space, 2 * P1G, PMPT_R, &m)); /* stays read-only */
	assert_int_equal(m.flags, PMPT_R);
	fails(pmpt_fault(NULL, c.space, 2 * P1G, PMPT_W, &m), PMPT_E_DENIED_WRITE);
	fails(pmpt_query(c.space, 4 * P4K, &m), PMPT_E_NOT_MAPPED); /* its neighbour is not there */
	assert_int_equal(core_stats(&c).frames_data, 5);
	core_verify(&c);
	core_reopen(&c, false);
	ok(pmpt_read(NULL, c.space, P1G + 3 * P2M + P4K, back, P4K));
	assert_memory_equal(back, zero, P4K);
}

/* Count 1: W is taken back.  More: a copy. */
static void test_cow(void **state)
{
	struct pmpt_mapping before, m;

	(void)state;
	ok(pmpt_write(NULL, c.space, P4K, "content", 8));
	ok(pmpt_query(c.space, P4K, &before));
	cow(P4K, 1, 0);
	ok(pmpt_fault(NULL, c.space, P4K, PMPT_R, &m)); /* a read leaves it */
	assert_true(m.entry & ENTRY_COW);
	ok(pmpt_fault(NULL, c.space, P4K, PMPT_W, &m));
	assert_int_equal(m.pfn, before.pfn);
	assert_true((m.entry & (ENTRY_W | ENTRY_COW)) == ENTRY_W);
	core_verify(&c);

	cow(P4K, 1, 1);
	assert_int_equal(count_of(before.pfn), 2);
	ok(pmpt_fault(NULL, c.space, P4K, PMPT_W, &m));
	assert_int_not_equal(m.pfn, before.pfn);
	assert_true((m.entry & (ENTRY_W | ENTRY_COW)) == ENTRY_W);
	assert_int_equal(count_of(before.pfn), 1);
	assert_int_equal(count_of(m.pfn), 1);
	ok(pmpt_read(NULL, c.space, P4K, back, 8));
	assert_string_equal(back, "content");
	assert_string_equal(pmpt_frame_ptr(c.pool, before.pfn), "content");
	core_reopen(&c, false);
	ok(pmpt_read(NULL, c.space, P4K, back, 8));
	assert_string_equal(back, "content");
}

/* pmpt_write to a page that is copied on write: the frame that others have keeps its content. */
static void test_cow_write(void **state)
{
	struct pmpt_mapping before, m;

	(void)state;
	ok(pmpt_write(NULL, c.space, P4K, "content", 8));
	ok(pmpt_query(c.space, P4K, &before));
	cow(P4K, 1, 1);
	ok(pmpt_write(NULL, c.space, P4K + 1, "ONT", 3));
	ok(pmpt_query(c.space, P4K, &m));
	assert_true((m.entry & (ENTRY_W | ENTRY_COW)) == ENTRY_W);
	assert_int_equal(count_of(before.pfn), 1);
	ok(pmpt_read(NULL, c.space, P4K, back, 8));
	assert_string_equal(back, "cONTent");
	assert_string_equal(pmpt_frame_ptr(c.pool, before.pfn), "content");
}

static void test_cow_huge(void **state)
{
	struct pmpt_mapping before, m;

	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M | PMPT_ZERO));
	ok(pmpt_query(c.space, P2M, &before));
	memcpy(pmpt_frame_ptr(c.pool, before.pfn + 5), "five", 5);
	cow(P2M, 2, 1);
	ok(pmpt_fault(NULL, c.space, P2M + 5 * P4K, PMPT_W, &m));
	assert_int_equal(m.level, 1);
	assert_int_not_equal(m.pfn, before.pfn + 5);
	assert_string_equal(pmpt_frame_ptr(c.pool, m.pfn), "five");
	assert_int_equal(count_of(before.pfn + 5), 1);
	assert_int_equal(count_of(before.pfn + 6), 2);
	ok(pmpt_query(c.space, P2M + 6 * P4K, &m)); /* the others are as they were */
	assert_int_equal(m.pfn, before.pfn + 6);
	assert_true((m.entry & (ENTRY_W | ENTRY_COW)) == ENTRY_COW);
}

/* Faults of a transaction: seen by it, gone with an abort or a rollback. */
static void test_in_transaction(void **state)
{
	struct pmpt_mapping m;
	uint64_t savepoint;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 4, PMPT_PFN_ALLOC, RW | PMPT_DEMAND));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_fault(tx, c.space, P4K, PMPT_W, &m));
	ok(pmpt_tx_query(tx, c.space, P4K, &m));
	fails(pmpt_query(c.space, P4K, &m), PMPT_E_NOT_MAPPED);
	ok(pmpt_savepoint(tx, &savepoint));
	ok(pmpt_fault(tx, c.space, 2 * P4K, PMPT_R, &m));
	ok(pmpt_write(tx, c.space, 2 * P4K, "x", 1));
	ok(pmpt_rollback_to(tx, savepoint));
	fails(pmpt_tx_query(tx, c.space, 2 * P4K, &m), PMPT_E_NOT_MAPPED);
	ok(pmpt_commit(tx, NULL));
	ok(pmpt_query(c.space, P4K, &m));
	assert_int_equal(core_stats(&c).frames_data, 1);
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_fault(tx, c.space, 3 * P4K, PMPT_W, &m));
	ok(pmpt_abort(tx));
	fails(pmpt_query(c.space, 3 * P4K, &m), PMPT_E_NOT_MAPPED);
	fails(pmpt_fault(tx, c.space, 3 * P4K, PMPT_W, &m), PMPT_E_TX_STATE);
	core_verify(&c);
}

/* Out of frames: named, and nothing has changed. */
static void test_no_frames(void **state)
{
	struct pmpt_mapping m = { .va = 77 };
	uint64_t pfn, n;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_write(NULL, c.space, P4K, "content", 8));
	cow(P4K, 1, 1);
	ok(pmpt_map(NULL, c.space, 2 * P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_DEMAND));
	ok(pmpt_begin(c.pool, 0, &tx));
	for (n = 1024; n; n /= 2) {
		while (pmpt_frame_alloc(tx, n, 1, &pfn) == 0)
			;
	}
	fails(pmpt_fault(NULL, c.space, P4K, PMPT_W, &m), PMPT_E_NO_FRAMES);
	fails(pmpt_fault(tx, c.space, P4K, PMPT_W, &m), PMPT_E_NO_FRAMES);
	fails(pmpt_fault(tx, c.space, 2 * P4K, PMPT_R, &m), PMPT_E_NO_FRAMES);
	fails(pmpt_write(tx, c.space, P4K, "x", 1), PMPT_E_NO_FRAMES);
	assert_int_equal(m.va, 77);
	ok(pmpt_tx_query(tx, c.space, P4K, &m));
	assert_true(m.entry & ENTRY_COW);
	ok(pmpt_commit(tx, NULL));
	ok(pmpt_fault(NULL, c.space, P4K, PMPT_W, &m));
	ok(pmpt_read(NULL, c.space, P4K, back, 8));
	assert_string_equal(back, "content");
}

/* Two faults at the same page of two transactions: one waits for nobody, it is told. */
static void test_conflict(void **state)
{
	struct pmpt_mapping m;
	pmpt_tx *a, *b;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_DEMAND));
	ok(pmpt_begin(c.pool, 0, &a));
	ok(pmpt_begin(c.pool, 0, &b));
	ok(pmpt_fault(a, c.space, P4K, PMPT_W, &m));
	fails(pmpt_fault(b, c.space, P4K, PMPT_W, &m), PMPT_E_CONFLICT);
	fails(pmpt_write(b, c.space, P4K, "x", 1), PMPT_E_CONFLICT);
	ok(pmpt_commit(a, NULL));
	ok(pmpt_fault(b, c.space, P4K, PMPT_W, &m));
	ok(pmpt_commit(b, NULL));
	core_verify(&c);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(test_present),   test(test_denied),         test(test_demand),
		test(test_cow),       test(test_cow_write),      test(test_cow_huge),
		test(test_no_frames), test(test_in_transaction), test(test_conflict),
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
