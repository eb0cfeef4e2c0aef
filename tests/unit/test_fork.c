/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fork -- copy-on-write clones: what parent, child and snapshot see; which tables are copied and
 * which only taken back; what each costs; deletes in any order; the errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define HALF_LINES 64
#include "relatives.h"

static void reopen(const char *name)
{
	pmpt_space_close(child);
	core_reopen(&c, false);
	ok(pmpt_space_open(c.pool, name, &child));
}

static uint64_t tables(void) { return core_stats(&c).frames_table; }

/* ---- what each sees -------------------------------------------------------------------------- */

static void test_both_see_the_same(void **state)
{
	uint64_t word = 0;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 3, PMPT_PFN_ALLOC, RW | PMPT_TAG(3)));
	ok(pmpt_map(NULL, c.space, P1G, 1, 0x40000, RWE | PMPT_2M));
	ok(pmpt_user_set(NULL, c.space, 2, 77));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	assert_int_equal(frame_at(child, 2 * P4K), frame_at(c.space, 2 * P4K));
	assert_int_equal(frame_at(child, P1G + P4K), 0x40001);
	ok(pmpt_user_get(child, 2, &word));
	assert_int_equal(word, 77);
	/* the permission stays, the hardware's does not */
	assert_int_equal(flags_at(child, P4K), RW | PMPT_TAG(3) | PMPT_COW);
	assert_int_equal(flags_at(c.space, P4K), RW | PMPT_TAG(3) | PMPT_COW);
	fails(pmpt_access(c.space, P4K, PMPT_W), PMPT_E_DENIED_WRITE);
	ok(pmpt_access(c.space, P4K, PMPT_R));
	assert_non_null(strstr(pmpt_errormsg(), "copied on write"));
}

static void test_changes_stay_apart(void **state)
{
	uint64_t was;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 3, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	was = frame_at(c.space, P4K);
	ok(pmpt_map(NULL, child, P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_REPLACE));
	assert_int_equal(frame_at(c.space, P4K), was);
	assert_int_not_equal(frame_at(child, P4K), was);
	core_verify(&c);
	ok(pmpt_unmap(NULL, c.space, 2 * P4K, P4K));
	assert_int_equal(frame_at(c.space, 2 * P4K), 0);
	assert_int_not_equal(frame_at(child, 2 * P4K), 0);
	core_verify(&c);
	ok(pmpt_protect(NULL, child, 3 * P4K, P4K, PMPT_R | PMPT_X));
	assert_int_equal(flags_at(c.space, 3 * P4K) & (PMPT_X | PMPT_W), PMPT_W);
	assert_int_equal(flags_at(child, 3 * P4K) & (PMPT_X | PMPT_W), PMPT_X);
	ok(pmpt_map(NULL, child, P1G, 1, 5, RWE));
	assert_int_equal(frame_at(c.space, P1G), 0);
	ok(pmpt_user_set(NULL, child, 0, 5));
	reopen("child");
	assert_int_equal(frame_at(child, P1G), 5);
	assert_int_equal(frame_at(c.space, P4K), was);
}

/* What the parent's cache knew may not lead a writer into shared tables. */
static void test_caches_do_not_mislead(void **state)
{
	uint64_t entry;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 600, 1000, RWE));
	for (unsigned i = 0; i < 2; i++) /* of the next round the table is known again */
		for (uint64_t va = 0; va < 600 * P4K; va += P4K)
			ok(pmpt_lookup(c.space, va, &entry));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, P4K, 1, 5, RWE | PMPT_REPLACE));
	ok(pmpt_commit(tx, NULL));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	for (uint64_t va = 0; va < 600 * P4K; va += P4K)
		ok(pmpt_lookup(child, va, &entry));
	for (unsigned i = 0; i < 3; i++) {
		ok(pmpt_begin(c.pool, 0, &tx));
		ok(pmpt_map(tx, c.space, P4K, 1, 6 + i, RWE | PMPT_REPLACE));
		ok(pmpt_commit(tx, NULL));
		assert_int_equal(frame_at(child, P4K), 5);
		ok(pmpt_begin(c.pool, 0, &tx));
		ok(pmpt_map(tx, child, 512 * P4K, 1, 16 + i, RWE | PMPT_REPLACE));
		ok(pmpt_commit(tx, NULL));
		assert_int_equal(frame_at(c.space, 512 * P4K), 1512);
	}
	assert_int_equal(frame_at(c.space, P4K), 8);
	assert_int_equal(frame_at(child, 512 * P4K), 18);
}

/* ---- copies and what is taken back ----------------------------------------------------------- */

static void test_copies_once_then_takes_back(void **state)
{
	uint64_t before;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 4, PMPT_PFN_ALLOC, RW));
	before = tables();
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	assert_int_equal(tables(), before + 1); /* the PML4 alone */
	ok(pmpt_protect(NULL, child, 0, P4K, PMPT_R));
	assert_int_equal(tables(), before + 4);
	ok(pmpt_protect(NULL, child, P4K, P4K, PMPT_R));
	assert_int_equal(tables(), before + 4);
	/* nobody else has them now: no copy */
	ok(pmpt_protect(NULL, c.space, 0, P4K, PMPT_R));
	assert_int_equal(tables(), before + 4);
	/* but the frames are still another's */
	assert_true(flags_at(c.space, 2 * P4K) & PMPT_COW);
	pmpt_space_close(child);
	child = NULL;
	ok(pmpt_space_delete(c.pool, "child"));
	assert_int_equal(tables(), before);
	core_verify(&c);
	/* read-only became writable where it is alone, at once */
	ok(pmpt_protect(NULL, c.space, 0, P4K, RW));
	assert_int_equal(flags_at(c.space, 0), RW);
}

static void test_protect_shared_is_cow(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 2, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(NULL, c.space, P2M, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_2M));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	ok(pmpt_protect(NULL, child, 0, P4K, RW));
	ok(pmpt_protect(NULL, child, P2M, P2M, RW));
	assert_int_equal(flags_at(child, 0), RW | PMPT_COW);
	assert_int_equal(flags_at(child, P2M), RW | PMPT_COW | PMPT_2M);
	assert_int_equal(flags_at(c.space, 0) & RW, PMPT_R);
	fails(pmpt_access(child, 0, PMPT_W), PMPT_E_DENIED_WRITE);
}

/* A subtree that another has, too, goes by a count alone, wherever its first page is. */
static void test_unmap_shared(void **state)
{
	(void)state;
	for (uint64_t at = 0; at <= 5 * P2M; at += 5 * P2M) {
		uint64_t lines, free;

		for (unsigned i = 0; i < 4; i++)
			ok(pmpt_map(NULL, c.space, at + i * P2M, 512, 1024, RWE));
		ok(pmpt_space_fork(c.space, "child", 0, &child));
		free = core_free_frames(&c);
		lines = core_stats(&c).log_lines;
		ok(pmpt_unmap(NULL, child, 0, (uint64_t)1 << 47));
		assert_int_equal(core_free_frames(&c), free);
		assert_true(core_stats(&c).log_lines - lines <= 2);
		assert_int_equal(frame_at(c.space, at + 3 * P2M), 1024);
		assert_int_equal(frame_at(child, at + 3 * P2M), 0);
		ok(pmpt_space_fork(c.space, "third", 0, NULL));
		ok(pmpt_space_delete(c.pool, "third"));
		pmpt_space_close(child);
		child = NULL;
		ok(pmpt_space_delete(c.pool, "child"));
		ok(pmpt_unmap(NULL, c.space, 0, P1G));
	}
}

static void test_move_between_relatives(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 512, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	ok(pmpt_move(NULL, child, 0, c.space, P1G, P2M)); /* a shared table, relinked */
	assert_int_equal(frame_at(c.space, P1G + 5 * P4K), frame_at(c.space, 5 * P4K));
	assert_int_equal(frame_at(child, 0), 0);
	core_verify(&c);
	ok(pmpt_protect(NULL, c.space, P1G, P4K, PMPT_R));
	assert_true(flags_at(c.space, 0) & PMPT_W);
	core_verify(&c);
	ok(pmpt_unmap(NULL, c.space, 0, (uint64_t)1 << 47));
}

/* ---- trees of forks -------------------------------------------------------------------------- */

static void fill(pmpt_space *space, unsigned salt)
{
	for (unsigned i = 0; i < 6; i++)
		ok(pmpt_map(NULL, space, (i * 7 + salt) % 11 * P2M + salt * P4K, 3, PMPT_PFN_ALLOC,
			    RW | PMPT_REPLACE));
}

static void order_run(unsigned order)
{
	static const char *const name[4] = { "a", "b", "c", "d" };
	uint64_t free = core_free_frames(&c);
	unsigned left[4] = { 0, 1, 2, 3 };
	pmpt_space *s[4];

	ok(pmpt_space_create(c.pool, "a", &s[0]));
	fill(s[0], 0);
	ok(pmpt_space_fork(s[0], "b", 0, &s[1]));
	fill(s[1], 1);
	ok(pmpt_space_fork(s[1], "c", PMPT_FORK_SNAPSHOT, &s[2]));
	fill(s[0], 2);
	fill(s[1], 3);
	ok(pmpt_space_fork(s[2], "d", 0, &s[3]));
	fill(s[3], 4);
	core_verify(&c);
	for (unsigned i = 0; i < 4; i++)
		pmpt_space_close(s[i]);
	for (unsigned n = 4; n; n--) {
		unsigned k = order % n;

		order /= n;
		ok(pmpt_space_delete(c.pool, name[left[k]]));
		left[k] = left[n - 1];
		core_verify(&c);
	}
	ok(pmpt_checkpoint(c.pool));
	assert_int_equal(core_free_frames(&c), free);
}

static void test_deletes_in_any_order(void **state)
{
	(void)state;
	ok(pmpt_space_create(c.pool, "x", &child)); /* the first checkpoint takes zeroed frames */
	ok(pmpt_checkpoint(c.pool));
	for (unsigned order = 0; order < 24; order++)
		order_run(order);
}

/* ---- difference, and what is whose ----------------------------------------------------------- */

struct seen {
	unsigned n, stop;
	struct pmpt_change change[16];
};

static int see(void *ctx, const struct pmpt_change *change)
{
	struct seen *s = ctx;

	assert_true(s->n < 16);
	s->change[s->n++] = *change;
	return s->n == s->stop ? 55 : 0;
}

static void test_diff(void **state)
{
	struct seen s = { 0 };
	pmpt_view *view;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		ok(pmpt_map(NULL, c.space, i * P1G, 512, 1024, RWE));
	ok(pmpt_map(NULL, c.space, 9 * P1G, 1, 1024, RWE | PMPT_2M));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	ok(pmpt_diff(NULL, c.space, child, see, &s));
	assert_int_equal(s.n, 0);
	ok(pmpt_protect(NULL, child, P1G + P4K, P4K, PMPT_R | PMPT_X));
	ok(pmpt_unmap(NULL, child, 3 * P1G + 7 * P4K, 2 * P4K));
	ok(pmpt_map(NULL, child, 9 * P1G + 5 * P4K, 1, 7, RWE | PMPT_REPLACE));
	ok(pmpt_map(NULL, child, -P4K, 1, 8, RWE));
	ok(pmpt_diff(NULL, c.space, child, see, &s));
	assert_int_equal(s.n, 5);
	assert_int_equal(s.change[0].va, P1G + P4K);
	assert_int_equal(s.change[0].a.pfn, s.change[0].b.pfn);
	assert_int_equal(s.change[0].b.flags, PMPT_R | PMPT_X | PMPT_EXT);
	assert_int_equal(s.change[1].va, 3 * P1G + 7 * P4K);
	assert_int_equal(s.change[1].a.pfn, 1031);
	assert_int_equal(s.change[1].b.level, 0);
	assert_int_equal(s.change[3].va, 9 * P1G + 5 * P4K);
	assert_int_equal(s.change[3].page_bytes, P4K);
	assert_int_equal(s.change[3].a.pfn, 1029);
	assert_int_equal(s.change[3].b.pfn, 7);
	assert_int_equal(s.change[4].va, -P4K);
	assert_int_equal(s.change[4].a.level, 0);
	/* the other way round, and ended early */
	s = (struct seen){ .stop = 2 };
	fails(pmpt_diff(NULL, child, c.space, see, &s), 55);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.change[1].a.level, 0);
	/* in a view, as they were when it was opened */
	s = (struct seen){ 0 };
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_unmap(NULL, child, 5 * P1G, P1G));
	ok(pmpt_protect(NULL, c.space, P1G + P4K, P4K, PMPT_R | PMPT_X));
	ok(pmpt_diff(view, c.space, child, see, &s));
	assert_int_equal(s.n, 5);
	pmpt_view_close(view);
	/* what only a table's place tells apart is no difference */
	s = (struct seen){ 0 };
	ok(pmpt_diff(NULL, c.space, c.space, see, &s));
	assert_int_equal(s.n, 0);
}

static void test_info(void **state)
{
	struct pmpt_space_info info;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 10, PMPT_PFN_ALLOC, RW));
	ok(pmpt_map(NULL, c.space, P1G, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	ok(pmpt_map(NULL, c.space, 2 * P1G, 3, 5, RWE));
	ok(pmpt_space_info(c.space, &info));
	assert_int_equal(info.own_bytes, 10 * P4K + P2M);
	assert_int_equal(info.shared_bytes, 0);
	assert_int_equal(info.ext_bytes, 3 * P4K);
	assert_int_equal(info.mapped_bytes, 13 * P4K + P2M);
	assert_int_equal(info.tables, 1 + 1 + 3 + 2);
	assert_int_equal(info.tables_shared, 0);
	assert_false(info.snapshot);
	ok(pmpt_space_fork(c.space, "child", PMPT_FORK_SNAPSHOT, &child));
	ok(pmpt_space_info(c.space, &info));
	assert_int_equal(info.own_bytes, 0);
	assert_int_equal(info.shared_bytes, 10 * P4K + P2M);
	assert_int_equal(info.tables_shared, 6);
	ok(pmpt_map(NULL, c.space, 0, 1, PMPT_PFN_ALLOC, RW | PMPT_REPLACE));
	ok(pmpt_space_info(c.space, &info));
	assert_int_equal(info.own_bytes, P4K);
	assert_int_equal(info.tables_shared, 3);
	ok(pmpt_space_info(child, &info));
	assert_int_equal(info.own_bytes, P4K); /* the one that the parent has replaced */
	assert_true(info.snapshot);
	assert_int_equal(info.mapped_bytes, 13 * P4K + P2M);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_names(void **state)
{
	char name[80];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	fails(pmpt_space_fork(c.space, "", 0, &child), PMPT_E_NAME);
	fails(pmpt_space_fork(c.space, name, 0, &child), PMPT_E_NAME);
	fails(pmpt_space_fork(c.space, "\xff", 0, &child), PMPT_E_NAME);
	fails(pmpt_space_fork(c.space, "s", 0, &child), PMPT_E_EXISTS);
	fails(pmpt_space_fork(c.space, "t", 2, &child), -EINVAL);
	assert_null(child);
	ok(pmpt_space_fork(c.space, "t", 0, NULL));
	ok(pmpt_space_delete(c.pool, "t"));
	fails(pmpt_space_delete(c.pool, "t"), PMPT_E_NO_SPACE);
}

/* A transaction is known by the space in which it plans, and not by the handle. */
static void test_open_transaction_of_another_handle(void **state)
{
	pmpt_space *s, *other;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_space_create(c.pool, "s2", &s));
	ok(pmpt_map(NULL, s, 0, 2, 1, RWE));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, s, 0, 1, 9, RWE | PMPT_REPLACE));
	pmpt_space_close(s);
	ok(pmpt_space_create(c.pool, "other", &other)); /* may be where that handle was */
	ok(pmpt_space_open(c.pool, "s2", &s));
	fails(pmpt_space_fork(s, "child", 0, &child), PMPT_E_CONFLICT);
	ok(pmpt_space_fork(other, "child", 0, &child));
	ok(pmpt_commit(tx, NULL));
	pmpt_space_close(s);
	pmpt_space_close(other);
}

/* A delete that is not through: nothing has a name to fork it by, or a handle; its name is free. */
static void test_being_deleted(void **state)
{
	pmpt_space *doomed, *fork;
	uint64_t free;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 4, PMPT_PFN_ALLOC, RW));
	ok(pmpt_checkpoint(c.pool));
	free = core_free_frames(&c);
	ok(pmpt_space_fork(c.space, "doomed", 0, &doomed));
	ok(pmpt_map(NULL, doomed, P1G, 4, PMPT_PFN_ALLOC, RW));
	fails(pmpt_space_delete(c.pool, "doomed"), PMPT_E_BUSY);
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, doomed, P1G + 4 * P4K, 1, 7, RWE));
	pmpt_space_close(doomed);
	fails(pmpt_space_delete(c.pool, "doomed"), PMPT_E_CONFLICT);
	fails(pmpt_space_open(c.pool, "doomed", &fork), PMPT_E_NO_SPACE);
	ok(pmpt_space_fork(c.space, "doomed", 0, &fork));
	assert_int_equal(frame_at(fork, P1G), 0);
	ok(pmpt_abort(tx));
	pmpt_space_close(fork);
	ok(pmpt_space_delete(c.pool, "doomed")); /* and the rest of the first one goes */
	ok(frames_reclaim(&c.pool->frames, true));
	assert_int_equal(core_free_frames(&c), free);
	core_reopen(&c, true);
	assert_int_equal(core_free_frames(&c), free);
}

/* What a transaction in a relative keeps back goes with the next call that makes a space. */
static void test_deleted_beside_a_relative(void **state)
{
	pmpt_space *doomed;
	uint64_t tables;
	pmpt_tx *tx;

	(void)state;
	tables = core_stats(&c).frames_table;
	ok(pmpt_space_create(c.pool, "doomed", &doomed));
	ok(pmpt_map(NULL, doomed, 0, 4, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_fork(doomed, "t", 0, &child));
	ok(pmpt_map(NULL, child, P1G, 4, PMPT_PFN_ALLOC, RW));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_unmap(tx, child, 0, P4K)); /* owns what they share */
	pmpt_space_close(doomed);
	fails(pmpt_space_delete(c.pool, "doomed"), PMPT_E_CONFLICT);
	ok(pmpt_space_create(c.pool, "doomed", &doomed)); /* in the way still */
	pmpt_space_close(doomed);
	assert_true(atomic_load(&c.pool->unfreed));
	ok(pmpt_commit(tx, NULL));
	fails(pmpt_space_create(c.pool, "doomed", &doomed), PMPT_E_EXISTS);
	assert_false(atomic_load(&c.pool->unfreed));
	ok(pmpt_space_delete(c.pool, "doomed"));
	core_verify(&c);
	pmpt_space_close(child);
	child = NULL;
	ok(pmpt_space_delete(c.pool, "t"));
	assert_int_equal(core_stats(&c).frames_table, tables);
	assert_int_equal(core_stats(&c).frames_data, 0);
}

static void test_snapshot_is_read_only(void **state)
{
	uint64_t word = 0;
	pmpt_space *fork;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 512, 1024, RWE));
	ok(pmpt_user_set(NULL, c.space, 1, 9));
	ok(pmpt_space_fork(c.space, "snap", PMPT_FORK_SNAPSHOT, &child));
	for (unsigned again = 0; again < 2; again++) {
		fails(pmpt_map(NULL, child, P1G, 1, 1, RWE), PMPT_E_SNAPSHOT);
		fails(pmpt_map(NULL, child, 0, 1, 1, RWE | PMPT_REPLACE), PMPT_E_SNAPSHOT);
		fails(pmpt_unmap(NULL, child, 0, P4K), PMPT_E_SNAPSHOT);
		fails(pmpt_protect(NULL, child, 0, P4K, PMPT_R), PMPT_E_SNAPSHOT);
		fails(pmpt_collapse(NULL, child, 0, PMPT_2M), PMPT_E_SNAPSHOT);
		fails(pmpt_move(NULL, child, 0, c.space, P1G, P4K), PMPT_E_SNAPSHOT);
		fails(pmpt_move(NULL, c.space, 0, child, P1G, P4K), PMPT_E_SNAPSHOT);
		fails(pmpt_user_set(NULL, child, 1, 8), PMPT_E_SNAPSHOT);
		reopen("snap");
	}
	assert_non_null(strstr(pmpt_errormsg(), "snap"));
	ok(pmpt_user_get(child, 1, &word));
	assert_int_equal(word, 9);
	ok(pmpt_space_fork(child, "work", 0, &fork));
	ok(pmpt_unmap(NULL, fork, 0, P4K));
	pmpt_space_close(fork);
	ok(pmpt_space_delete(c.pool, "work"));
}

static void test_open_transactions(void **state)
{
	pmpt_space *other;
	pmpt_tx *tx, *busy[4];

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 2, PMPT_PFN_ALLOC, RW));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_protect(tx, c.space, 0, P4K, PMPT_R));
	fails(pmpt_space_fork(c.space, "child", 0, &child), PMPT_E_CONFLICT);
	assert_non_null(strstr(pmpt_errormsg(), "'s'"));
	ok(pmpt_abort(tx));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_user_set(tx, c.space, 0, 1));
	fails(pmpt_space_fork(c.space, "child", 0, &child), PMPT_E_CONFLICT);
	ok(pmpt_commit(tx, NULL));
	/* of other spaces they are no matter, but where they are many */
	ok(pmpt_begin(c.pool, 0, &tx));
	for (unsigned i = 0; i < 4; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "o%u", i);
		ok(pmpt_space_create(c.pool, name, &other));
		ok(pmpt_map(tx, other, 0, 1, 1, RWE));
		pmpt_space_close(other);
		busy[i] = NULL;
		if (i == 0) {
			ok(pmpt_space_fork(c.space, "child", 0, &child));
			ok(pmpt_begin(c.pool, 0, &busy[i]));
			ok(pmpt_protect(busy[i], child, 0, P4K, PMPT_R));
			ok(pmpt_abort(busy[i]));
		}
	}
	fails(pmpt_space_fork(c.space, "more", 0, NULL), PMPT_E_CONFLICT);
	ok(pmpt_commit(tx, NULL));
	ok(pmpt_space_fork(c.space, "more", 0, NULL));
	ok(pmpt_space_delete(c.pool, "more"));
}

/* A transaction that a fork has turned away owns the table by then; it is turned away again. */
static void test_turned_away_twice(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 2, 7, RWE));
	ok(pmpt_space_create(c.pool, "other", &child));
	ok(pmpt_map(NULL, child, 0, 2, 7, RWE));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_protect(tx, child, 0, P4K, PMPT_R));
	atomic_store(&c.space->forking, 1000);
	for (unsigned i = 0; i < 3; i++) {
		fails(pmpt_protect(tx, c.space, 0, P4K, PMPT_R), PMPT_E_CONFLICT);
		fails(pmpt_map(tx, c.space, 0, 1, 8, RWE | PMPT_REPLACE), PMPT_E_CONFLICT);
		fails(pmpt_user_set(tx, c.space, 0, 8), PMPT_E_CONFLICT);
	}
	atomic_store(&c.space->forking, 0);
	ok(pmpt_protect(tx, c.space, 0, P4K, PMPT_R));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(flags_at(c.space, 0), PMPT_R | PMPT_EXT);
}

/* Out of frames in the middle of copies: the transaction is as before, both spaces are whole. */
static void test_no_frames(void **state)
{
	uint64_t pfn, was;
	pmpt_tx *tx, *hog, *little;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 4, PMPT_PFN_ALLOC, RW));
	was = frame_at(c.space, 0);
	for (unsigned spare = 0; spare < 3; spare++) { /* three tables are to be copied */
		ok(pmpt_space_fork(c.space, "child", 0, &child));
		ok(pmpt_begin(c.pool, 0, &hog));
		ok(pmpt_begin(c.pool, 0, &little));
		for (unsigned i = 0; i < spare; i++)
			ok(pmpt_frame_alloc(little, 1, 1, &pfn));
		while (!pmpt_frame_alloc(hog, 1, 1, &pfn))
			;
		ok(pmpt_abort(little));
		ok(pmpt_begin(c.pool, 0, &tx));
		fails(pmpt_protect(tx, child, 0, P4K, PMPT_R), PMPT_E_NO_FRAMES);
		ok(pmpt_user_set(tx, child, 0, 1 + spare));
		ok(pmpt_abort(hog));
		ok(pmpt_protect(tx, child, 0, P4K, PMPT_R));
		ok(pmpt_commit(tx, NULL));
		assert_int_equal(frame_at(c.space, 0), was);
		assert_int_equal(frame_at(child, 0), was);
		core_verify(&c);
		pmpt_space_close(child);
		child = NULL;
		ok(pmpt_space_delete(c.pool, "child"));
	}
}

static void test_count_overflow(void **state)
{
	uint64_t pfn;
	pm_word *desc;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 1, PMPT_PFN_ALLOC, RW));
	pfn = c.space->root[0] >> 12 & 0xffffffff;
	desc = frames_desc(&c.pool->frames, pfn);
	atomic_store(desc, desc_make(DESC_TABLE, UINT32_MAX));
	fails(pmpt_space_fork(c.space, "child", 0, &child), PMPT_E_COUNT);
	assert_non_null(strstr(pmpt_errormsg(), "overflow"));
	atomic_store(desc, desc_make(DESC_TABLE, 1));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
}

/* ---- sharing by number ----------------------------------------------------------------------- */

static void test_aliases_write_in_place(void **state)
{
	uint64_t pfn;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 1, PMPT_PFN_ALLOC, RW));
	pfn = frame_at(c.space, 0);
	ok(pmpt_map(NULL, c.space, P4K, 1, pfn, RW));
	ok(pmpt_access(c.space, 0, PMPT_W));
	ok(pmpt_access(c.space, P4K, PMPT_W));
	core_verify(&c);
	ok(pmpt_map(NULL, c.space, 2 * P4K, 1, pfn, RW));
	ok(pmpt_access(c.space, 2 * P4K, PMPT_W));
	/* what a fork shares is not written in place by a third */
	ok(pmpt_map(NULL, c.space, 3 * P4K, 1, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	ok(pmpt_protect(NULL, child, 3 * P4K, P4K, RW));
	ok(pmpt_map(NULL, c.space, 4 * P4K, 1, frame_at(child, 3 * P4K), RW));
	fails(pmpt_access(c.space, 4 * P4K, PMPT_W), PMPT_E_DENIED_WRITE);
	ok(pmpt_map(NULL, child, 5 * P4K, 1, frame_at(child, 3 * P4K), RW));
	fails(pmpt_access(child, 5 * P4K, PMPT_W), PMPT_E_DENIED_WRITE);
}

/* In a fork the other mapping may be the fork's: who had no W gets none by a protect. */
static void test_alias_gone_after_a_fork(void **state)
{
	uint64_t word = 0;
	char *page;

	(void)state;
	ok(pmpt_write(NULL, c.space, 0, "snapshot", 8));
	ok(pmpt_map(NULL, c.space, P4K, 1, frame_at(c.space, 0), RW));
	ok(pmpt_space_fork(c.space, "snap", 0, &child));
	ok(pmpt_unmap(NULL, c.space, P4K, P4K));
	ok(pmpt_unmap(NULL, child, P4K, P4K));
	ok(pmpt_protect(NULL, c.space, 0, P4K, PMPT_R));
	ok(pmpt_protect(NULL, c.space, 0, P4K, RW));
	fails(pmpt_access(c.space, 0, PMPT_W), PMPT_E_DENIED_WRITE);
	/* one who maps a frame that a fork shares makes it no frame that all write in place */
	ok(pmpt_map(NULL, c.space, 2 * P4K, 1, frame_at(child, 0), RW));
	fails(pmpt_access(c.space, 0, PMPT_W), PMPT_E_DENIED_WRITE);
	ok(pmpt_protect(NULL, child, 0, P4K, PMPT_R));
	ok(pmpt_protect(NULL, child, 0, P4K, RW));
	fails(pmpt_access(child, 0, PMPT_W), PMPT_E_DENIED_WRITE);
	/* a fault gives it a frame of its own */
	ok(pmpt_fault(NULL, c.space, 0, PMPT_W, NULL));
	ok(pmpt_access(c.space, 0, PMPT_W));
	page = pmpt_frame_ptr(c.pool, frame_at(c.space, 0));
	memcpy(page, "in place", 8);
	ok(pmpt_read(NULL, child, 0, &word, sizeof(word)));
	assert_memory_equal(&word, "snapshot", 8);
}

/* ---- the rules ------------------------------------------------------------------------------- */

static void f6_found(void *ctx, const struct pmpt_finding *f)
{
	*(unsigned *)ctx += !strcmp(f->rule, "F6");
}

/* Without it a chain of W reaches what another has, too. */
static void test_rule_share(void **state)
{
	struct check_options o = { .finding = f6_found };
	struct pmpt_check sum;
	unsigned found = 0;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 4, PMPT_PFN_ALLOC, RW));
	rules_off = (uint64_t)1 << RULE_F6_SHARE;
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	rules_off = 0;
	o.ctx = &found;
	ok(pmpt_checkpoint(c.pool));
	ok(check_region(&c.rg, &c.pool->mem, &o, &sum));
	assert_int_equal(found, 2); /* once from either root */
}

/* What a rule that was off has left is not to be verified. */
static int teardown_broken(void **state)
{
	(void)state;
	pmpt_space_close(child);
	core_free(&c);
	return 0;
}

/* Without it a transaction that was open changes the child, too. */
static void test_rule_fork_waits(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 1, 7, RWE));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, 0, 1, 8, RWE | PMPT_REPLACE));
	fails(pmpt_space_fork(c.space, "child", 0, &child), PMPT_E_CONFLICT);
	rules_off = (uint64_t)1 << RULE_F6_FORK_WAITS;
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	rules_off = 0;
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(frame_at(child, 0), 8);
}

/* What had an alias once is like other pages: a snapshot does not change. */
static void test_alias_that_is_gone(void **state)
{
	uint64_t pfn, sp;
	pmpt_tx *tx;

	(void)state;
	for (unsigned rolled_back = 0; rolled_back < 2; rolled_back++) {
		uint64_t va = rolled_back * P4K;

		ok(pmpt_map(NULL, c.space, va, 1, PMPT_PFN_ALLOC, RW));
		pfn = frame_at(c.space, va);
		ok(pmpt_begin(c.pool, 0, &tx));
		ok(pmpt_savepoint(tx, &sp));
		ok(pmpt_map(tx, c.space, P2M, 1, pfn, RW));
		if (rolled_back)
			ok(pmpt_rollback_to(tx, sp));
		ok(pmpt_user_set(tx, c.space, 0, rolled_back));
		ok(pmpt_commit(tx, NULL));
		assert_int_equal(!(word_load(frames_desc(&c.pool->frames, pfn)) & DESC_ALIASED),
				 rolled_back);
		ok(pmpt_unmap(NULL, c.space, P2M, P4K));
		assert_false(word_load(frames_desc(&c.pool->frames, pfn)) & DESC_ALIASED);
	}
	ok(pmpt_space_fork(c.space, "snap", PMPT_FORK_SNAPSHOT, &child));
	ok(pmpt_protect(NULL, c.space, 0, 2 * P4K, PMPT_R));
	ok(pmpt_protect(NULL, c.space, 0, 2 * P4K, RW));
	fails(pmpt_access(c.space, 0, PMPT_W), PMPT_E_DENIED_WRITE);
	fails(pmpt_access(c.space, P4K, PMPT_W), PMPT_E_DENIED_WRITE);
}

/* ---- cost ------------------------------------------------------------------------------------ */

static void test_cost(void **state)
{
	struct pmpt_stats a, b;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		ok(pmpt_map(NULL, c.space, i * P1G, 512, 1024, RWE));
	ok(pmpt_space_fork(c.space, "first", 0, NULL));
	ok(pmpt_checkpoint(c.pool));
	a = core_stats(&c);
	ok(pmpt_space_fork(c.space, "child", 0, &child));
	b = core_stats(&c);
	assert_true(b.fences - a.fences <= 2);
	assert_true(b.log_lines - a.log_lines <= 8); /* record, name, root, user words, counts */
	/* the first change in a region: three tables, each streamed or logged; one commit */
	a = core_stats(&c);
	ok(pmpt_protect(NULL, child, 0, P4K, PMPT_R));
	b = core_stats(&c);
	assert_true(b.fences - a.fences <= 2);
	/* later ones as before any fork */
	a = core_stats(&c);
	ok(pmpt_protect(NULL, child, 5 * P4K, P4K, PMPT_R));
	b = core_stats(&c);
	assert_int_equal(b.fences - a.fences, 1);
	assert_int_equal(b.log_lines - a.log_lines, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_see_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes_stay_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_caches_do_not_mislead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copies_once_then_takes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_protect_shared_is_cow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmap_shared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move_between_relatives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deletes_in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_diff, setup, teardown),
		cmocka_unit_test_setup_teardown(test_info, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open_transaction_of_another_handle, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_being_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deleted_beside_a_relative, setup, teardown),
		cmocka_unit_test_setup_teardown(test_snapshot_is_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open_transactions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turned_away_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_count_overflow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aliases_write_in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alias_that_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alias_gone_after_a_fork, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rule_share, setup, teardown_broken),
		cmocka_unit_test_setup_teardown(test_rule_fork_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cost, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
