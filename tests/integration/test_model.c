/* SPDX-License-Identifier: BSD-3-Clause */
/* test_model -- random operations over several spaces beside an oracle (model.h) that knows every
 * leaf: its size, frame and flags, and what pages that were written begin and end with.  Pages of all
 * three sizes, shared frames, demand-zero regions, faults, savepoints, bulk transactions; forks of
 * forks, snapshots, segments, views, differences; compared leaf by leaf, verified and reopened
 * between.  PMPT_SEED=n replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "model.h"
#include "table.h"

#define ROUNDS    80
#define TX_ROUND  60
#define VIEWS     3
#define LEAF_KIND (~(unsigned)(PMPT_2M | PMPT_1G | PMPT_COW))

static unsigned births;

static void reopen(void)
{
	for (unsigned s = 1; s < MEMBERS; s++)
		pmpt_space_close(model.space[s]);
	core_reopen(&model.core, rnd(2));
	model.left = false;
	model.space[0] = model.core.space;
	for (unsigned s = 1; s < MEMBERS; s++) {
		if (model.space[s])
			assert_int_equal(
				pmpt_space_open(model.core.pool, member_name[s], &model.space[s]),
				0);
	}
}

/* ---- spaces that have nothing in common ------------------------------------------------------ */

static void test_strangers(void **state)
{
	static op_fn *const op[] = { op_map,  op_map,      op_map,   op_unmap, op_move, op_protect,
				     op_user, op_collapse, op_write, op_write, op_fault };

	(void)state;
	model_make(5000, 3, 6000);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < TX_ROUND; i++)
			transaction(rnd(6) == 0, op, sizeof(op) / sizeof(op[0]));
		model_compare();
		core_verify(&model.core);
		if (rnd(8) == 0) { /* one of them is a new one */
			pmpt_space_close(model.space[2]);
			assert_int_equal(pmpt_space_delete(model.core.pool, "u"), 0);
			assert_int_equal(pmpt_space_create(model.core.pool, "u", &model.space[2]),
					 0);
			plane_free(&model.now.member[2]);
			memset(model.now.member[2].user, 0, sizeof(model.now.member[2].user));
		}
		reopen();
		model_compare();
	}
	assert_true(model.refused < model.calls / 4);
	model_end();
}

/* ---- forks, snapshots, segments -------------------------------------------------------------- */

static bool no_room(int rc) { return rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE; }

static unsigned random_live(void)
{
	unsigned s;

	do
		s = (unsigned)rnd(MEMBERS);
	while (!model.space[s]);
	return s;
}

/* Member s, which is not there, becomes a fork of another. */
static bool fork_into(unsigned s)
{
	unsigned from = random_live(), flags = rnd(3) ? 0 : PMPT_FORK_SNAPSHOT;
	pmpt_space *child = NULL;
	int rc;

	if (s == 0 || !model.forks) /* there is always one that can be changed */
		flags = 0;
	assert_int_equal(pmpt_space_fork(model.space[from], member_name[from], 0, NULL),
			 PMPT_E_EXISTS);
	rc = pmpt_space_fork(model.space[from], member_name[s], flags, &child);
	if (no_room(rc))
		return false;
	assert_int_equal(rc, 0);
	model.space[s] = child;
	model.snapshot[s] = flags;
	model.birth[s] = ++births;
	plane_copy(&model.now.member[s], &model.now.member[from]);
	return true;
}

static void member_delete(unsigned s)
{
	int rc;

	assert_int_equal(pmpt_space_delete(model.core.pool, member_name[s]), PMPT_E_BUSY);
	pmpt_space_close(model.space[s]);
	model.space[s] = NULL;
	rc = pmpt_space_delete(model.core.pool, member_name[s]);
	if (rc == PMPT_E_NO_FRAMES)
		model.left = true;
	else
		assert_int_equal(rc, 0);
	plane_free(&model.now.member[s]);
	memset(model.now.member[s].user, 0, sizeof(model.now.member[s].user));
	world_settle();
}

/* The eldest goes like any other; another has its name then. */
static void first_delete(void)
{
	member_delete(0);
	model.core.space = NULL;
	for (unsigned s = 1; s < MEMBERS && !model.space[0]; s++) {
		if (!model.space[s] && !(model.core.space = NULL))
			continue;
		if (!fork_into(0)) /* for want of room: the others make some */
			member_delete(s);
	}
	if (!model.space[0]) {
		assert_int_equal(pmpt_space_create(model.core.pool, "s", &model.space[0]), 0);
		model.snapshot[0] = false;
		model.birth[0] = ++births;
	}
	model.core.space = model.space[0];
}

static bool others(void)
{
	for (unsigned s = 1; s < MEMBERS; s++) {
		if (model.space[s])
			return true;
	}
	return false;
}

static void relatives_change(void)
{
	unsigned s = 1 + (unsigned)rnd(MEMBERS - 1);

	if (!model.space[s])
		(void)fork_into(s);
	else if (rnd(2))
		member_delete(s);
	else if (rnd(8) == 0 && others())
		first_delete();
}

static void segments_change(void)
{
	unsigned g = (unsigned)rnd(SEGMENTS), n = 1 + (unsigned)rnd(3);
	int rc;

	if (model.segment_named[g]) {
		if (rnd(3) == 0)
			return;
		assert_int_equal(pmpt_segment_create(model.core.pool, segment_name[g], P2M),
				 PMPT_E_EXISTS);
		assert_int_equal(pmpt_segment_delete(model.core.pool, segment_name[g]), 0);
		model.segment_named[g] = false;
		world_settle();
		return;
	}
	assert_int_equal(pmpt_segment_delete(model.core.pool, segment_name[g]), PMPT_E_SEGMENT);
	if (model.segment_pieces[g]) /* its name is gone, and somebody maps it */
		return;
	rc = pmpt_segment_create(model.core.pool, segment_name[g], n * P2M - rnd(P2M));
	if (no_room(rc))
		return;
	assert_int_equal(rc, 0);
	model.segment_named[g] = true;
	model.segment_pieces[g] = n;
}

/* ---- differences ----------------------------------------------------------------------------- */

struct diff {
	const struct plane *a, *b;
	uint64_t va, bytes; /* all below va has been seen; so much of it differs */
};

/* The part of a page that begins at va, of that size. */
static void same_part(const struct pmpt_mapping *m, const struct plane *p, uint64_t va)
{
	struct leaf leaf = { 0 };
	bool there = plane_look(p, va, &leaf);

	assert_int_equal(m->level != 0, there);
	if (!there)
		return;
	assert_int_equal(m->flags & LEAF_KIND, leaf.flags & LEAF_KIND);
	assert_int_equal(m->pfn, leaf.flags & PMPT_DEMAND ? 0 : leaf.pfn + (va - leaf.va) / P4K);
}

static int see_change(void *ctx, const struct pmpt_change *change)
{
	struct diff *d = ctx;
	uint64_t va = va_bits(change->va);

	assert_true(va >= d->va);
	same_part(&change->a, d->a, va);
	same_part(&change->b, d->b, va);
	d->va = va + change->page_bytes;
	d->bytes += change->page_bytes;
	return 0;
}

/* Up to where a page at va, or a hole, goes. */
static uint64_t part_end(const struct plane *p, uint64_t va, bool there, const struct leaf *leaf)
{
	struct leaf next = { 0 };

	if (there)
		return leaf->va + leaf_bytes(leaf->level);
	return next_page(p, va, &next) ? next.va : VA_END;
}

/* Bytes in which two planes differ. */
static uint64_t plane_diff(const struct plane *a, const struct plane *b)
{
	uint64_t bytes = 0;

	for (uint64_t va = 0, end; va < VA_END; va = end) {
		struct leaf x = { 0 }, y = { 0 };
		bool in_a = plane_look(a, va, &x), in_b = plane_look(b, va, &y);
		uint64_t other = part_end(b, va, in_b, &y);

		end = part_end(a, va, in_a, &x);
		end = end < other ? end : other;
		if (in_a != in_b || (x.flags & LEAF_KIND) != (y.flags & LEAF_KIND) ||
		    (in_a && !(x.flags & PMPT_DEMAND) &&
		     x.pfn + (va - x.va) / P4K != y.pfn + (va - y.va) / P4K))
			bytes += end - va;
	}
	return bytes;
}

static void compare_diff(const pmpt_view *view, unsigned s, unsigned t, const struct world *w)
{
	struct diff d = { &w->member[s], &w->member[t], 0, 0 };

	assert_int_equal(pmpt_diff(view, model.space[s], model.space[t], see_change, &d), 0);
	assert_int_equal(d.bytes, plane_diff(d.a, d.b));
}

/* ---- views ----------------------------------------------------------------------------------- */

static struct seen {
	pmpt_view *view;
	struct world world;
	unsigned birth[MEMBERS];
	bool there[MEMBERS];
} seen[VIEWS];
static unsigned stale;

/* Of those that there were and still are, and of those that are younger. */
static void view_check(struct seen *v)
{
	unsigned old = MEMBERS;

	for (unsigned s = 0; s < MEMBERS; s++) {
		uint64_t value;

		if (!model.space[s])
			continue;
		if (v->there[s] && v->birth[s] == model.birth[s]) {
			member_compare(v->view, s, &v->world);
			if (old < MEMBERS)
				compare_diff(v->view, old, s, &v->world);
			old = s;
		} else {
			assert_int_equal(pmpt_view_user_get(v->view, model.space[s], 0, &value),
					 PMPT_E_NO_SPACE);
		}
	}
}

static void view_close(struct seen *v)
{
	if (!v->view)
		return;
	if (pmpt_view_check(v->view) == PMPT_E_VIEW_STALE)
		stale++; /* for the sake of a writer's frames */
	else
		view_check(v);
	pmpt_view_close(v->view);
	v->view = NULL;
	world_free(&v->world);
}

static void views_change(void)
{
	struct seen *v = &seen[rnd(VIEWS)];

	if (v->view) {
		view_close(v);
		return;
	}
	assert_int_equal(pmpt_view_open(model.core.pool, &v->view), 0);
	world_copy(&v->world, &model.now);
	for (unsigned s = 0; s < MEMBERS; s++) {
		v->birth[s] = model.birth[s];
		v->there[s] = model.space[s] != NULL;
	}
}

/* ---- and all of it together ------------------------------------------------------------------ */

static void test_relatives(void **state)
{
	static op_fn *const op[] = { op_map,          op_map,      op_map,         op_unmap,
				     op_move,         op_protect,  op_collapse,    op_user,
				     op_write,        op_write,    op_write,       op_fault,
				     op_fault,        op_snapshot, op_segment_map, op_segment_map,
				     op_segment_unmap };

	(void)state;
	model_make(5000, 2, 1500);
	model.forks = true;
	for (unsigned round = 0; round < ROUNDS / 2; round++) {
		for (unsigned i = 0; i < TX_ROUND; i++) {
			transaction(rnd(6) == 0, op, sizeof(op) / sizeof(op[0]));
			if (rnd(6) == 0)
				relatives_change();
			if (rnd(10) == 0)
				segments_change();
			if (rnd(10) == 0)
				views_change();
			if (rnd(10) == 0)
				compare_diff(NULL, random_live(), random_live(), &model.now);
		}
		model_compare();
		core_verify(&model.core);
		if (rnd(2))
			continue;
		for (unsigned i = 0; i < VIEWS; i++)
			view_close(&seen[i]);
		reopen();
		model_compare();
	}
	for (unsigned i = 0; i < VIEWS; i++)
		view_close(&seen[i]);
	print_message("%u views stale\n", stale);
	assert_true(model.refused < model.calls / 4);
	model_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_strangers),
					    cmocka_unit_test(test_relatives) };

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
