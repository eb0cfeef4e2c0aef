/* SPDX-License-Identifier: BSD-3-Clause */
/* test_bulk -- bulk transactions in spaces that share tables with others: what goes home ahead of the
 * commit is seen by nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define HALF_LINES 64
#include "relatives.h"

static struct pmpt_mapping mapping_at(pmpt_space *s, uint64_t va)
{
	struct pmpt_mapping m;

	ok(pmpt_query(s, va, &m));
	return m;
}

struct entries { /* of a space, raw, by pmpt_walk */
	unsigned n, flags[32];
	uint64_t va[32], entry[32], pfn[32];
};

static int entry_seen(void *ctx, const struct pmpt_mapping *m)
{
	struct entries *e = ctx;

	assert_true(e->n < 32);
	e->va[e->n] = m->va;
	e->entry[e->n] = m->entry;
	e->pfn[e->n] = m->pfn;
	e->flags[e->n++] = m->flags;
	return 0;
}

static struct entries entries_of(const pmpt_view *view, const pmpt_space *s, uint64_t va)
{
	struct entries e = { 0 };

	ok(view ? pmpt_view_walk(view, s, va, 0, entry_seen, &e)
		: pmpt_walk(s, va, 0, entry_seen, &e));
	return e;
}

#define same_entries(now, was) assert_memory_equal(&(now), &(was), sizeof(was))

/* What a bulk transaction in a fork has sent home is seen by nobody: not by the parent, not in a view,
 * not beside its own ranges.  Whole tables are unshared, at all levels. */
static void bulk_is_unseen(bool commit)
{
	struct entries parent, beside, now;
	pmpt_view *before, *inside;
	uint64_t tables = core_stats(&c).frames_table;
	pmpt_tx *tx;

	ok(pmpt_map(NULL, c.space, 0, 6, PMPT_PFN_ALLOC, RW));
	ok(pmpt_map(NULL, c.space, 6 * P4K, 2, 7, RWE));
	ok(pmpt_map(NULL, c.space, 3 * P2M, 1, 1024, RWE | PMPT_2M));
	ok(pmpt_map(NULL, c.space, P1G, 2, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	parent = entries_of(NULL, c.space, 0);
	beside = entries_of(NULL, child, 2 * P4K);
	ok(pmpt_view_open(c.pool, &before));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_protect(tx, child, 0, P4K, PMPT_R));
	ok(bulk_spill(tx));
	ok(pmpt_map(tx, child, P4K, 1, 9, RWE | PMPT_REPLACE)); /* in a table that is a copy */
	ok(bulk_spill(tx));
	ok(pmpt_view_open(c.pool, &inside));
	now = entries_of(NULL, c.space, 0);
	same_entries(now, parent);
	now = entries_of(before, c.space, 0);
	same_entries(now, parent);
	now = entries_of(inside, c.space, 0);
	same_entries(now, parent);
	now = entries_of(NULL, child, 2 * P4K);
	same_entries(now, beside);
	ok(commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx));
	now = entries_of(before, c.space, 0);
	same_entries(now, parent);
	now = entries_of(inside, c.space, 0);
	same_entries(now, parent);
	pmpt_view_close(before);
	pmpt_view_close(inside);
	assert_int_equal(mapping_at(child, 0).flags, commit ? PMPT_R : RW | PMPT_COW);
	assert_int_equal(mapping_at(c.space, 0).flags, RW | PMPT_COW);
	fails(pmpt_access(c.space, P4K, PMPT_W), PMPT_E_DENIED_WRITE);
	core_verify(&c);
	pmpt_space_close(child);
	child = NULL;
	ok(pmpt_space_delete(c.pool, "child"));
	ok(pmpt_unmap(NULL, c.space, 0, 2 * P1G));
	assert_int_equal(core_stats(&c).frames_table, tables);
	assert_int_equal(core_stats(&c).frames_data, 0);
}

static void test_bulk_unseen_commit(void **state)
{
	(void)state;
	bulk_is_unseen(true);
}

static void test_bulk_unseen_abort(void **state)
{
	(void)state;
	bulk_is_unseen(false);
}

/* Both of two relatives in one: the second is left with the originals, and its changes wait as well. */
static void test_bulk_in_both(void **state)
{
	struct entries elder, now;
	pmpt_space *third;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 6, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	elder = entries_of(NULL, child, 2 * P4K);
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_protect(tx, child, 0, P4K, PMPT_R));
	ok(bulk_spill(tx));
	ok(pmpt_map(tx, c.space, 4 * P4K, 1, 9, RWE | PMPT_REPLACE));
	ok(bulk_spill(tx));
	now = entries_of(NULL, child, 2 * P4K);
	same_entries(now, elder);
	fails(pmpt_space_fork(child, "third", 0, &third), PMPT_E_CONFLICT);
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(mapping_at(c.space, 4 * P4K).pfn, 9);
	assert_int_equal(mapping_at(child, 4 * P4K).pfn, elder.pfn[2]);
	assert_int_equal(mapping_at(child, 0).flags, PMPT_R);
	assert_int_equal(mapping_at(c.space, 0).flags, RW | PMPT_COW);
	core_verify(&c);
}

#define T(f) cmocka_unit_test_setup_teardown(test_##f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bulk_unseen_commit),
		T(bulk_unseen_abort),
		T(bulk_in_both),
	};

	return cmocka_run_group_tests_name("bulk transactions and relatives", tests, NULL, NULL);
}
