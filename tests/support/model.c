/* SPDX-License-Identifier: BSD-3-Clause */
/* model -- see model.h. */
#include "model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "table.h"

#define HUGE   ((unsigned)(PMPT_2M | PMPT_1G))
#define COW    ((unsigned)PMPT_COW) /* which pages are to be copied the oracle does not know */
#define FRAMES (1 << 18)

const char *const member_name[MEMBERS] = { "s", "t", "u", "v", "w" };
const char *const segment_name[SEGMENTS] = { "a", "b", "c" };
struct model model;
uint64_t seed;

/* ---- worlds ---------------------------------------------------------------------------------- */

static void world_init(struct world *w)
{
	for (unsigned s = 0; s < MEMBERS; s++)
		w->member[s].segments = w->segment;
}

void world_copy(struct world *to, const struct world *from)
{
	world_init(to);
	for (unsigned s = 0; s < MEMBERS; s++)
		plane_copy(&to->member[s], &from->member[s]);
	for (unsigned g = 0; g < SEGMENTS; g++)
		plane_copy(&to->segment[g], &from->segment[g]);
}

void world_free(struct world *w)
{
	for (unsigned s = 0; s < MEMBERS; s++)
		plane_free(&w->member[s]);
	for (unsigned g = 0; g < SEGMENTS; g++)
		plane_free(&w->segment[g]);
}

static bool piece_mapped(unsigned segment, unsigned piece)
{
	for (unsigned s = 0; s < MEMBERS; s++) {
		const struct plane *p = &model.now.member[s];

		for (size_t i = 0; i < p->n; i++) {
			if (p->leaf[i].segment == segment && p->leaf[i].pfn == piece)
				return true;
		}
	}
	return false;
}

void world_settle(void)
{
	for (unsigned g = 0; g < SEGMENTS; g++) {
		bool mapped = false;

		for (unsigned i = 0; i < model.segment_pieces[g] && !model.segment_named[g]; i++) {
			bool here = piece_mapped(g + 1, i);

			mapped |= here;
			if (!here)
				(void)plane_unmap(&model.now.segment[g], i * P2M, P2M);
		}
		if (!model.segment_named[g] && !mapped)
			model.segment_pieces[g] = 0;
	}
}

void model_make(uint64_t frames, unsigned n, size_t many)
{
	const char *given = getenv("PMPT_SEED");
	struct timespec t;

	memset(&model, 0, sizeof(model));
	(void)clock_gettime(CLOCK_REALTIME, &t);
	seed = given ? strtoul(given, NULL, 0) : (uint64_t)t.tv_nsec;
	print_message("replay: PMPT_SEED=%lu\n", seed);
	model.many = many;
	core_make(&model.core, frames, 1024, 4096);
	world_init(&model.now);
	world_init(&model.next);
	model.space[0] = model.core.space;
	for (unsigned s = 1; s < n; s++)
		assert_int_equal(
			pmpt_space_create(model.core.pool, member_name[s], &model.space[s]), 0);
}

void model_end(void)
{
	print_message(
		"%lu calls, %lu refused for want of room; %lu commits, %lu aborts, %lu busy\n",
		model.calls, model.refused, model.commits, model.aborts, model.busy);
	for (unsigned s = 1; s < MEMBERS; s++)
		pmpt_space_close(model.space[s]);
	core_free(&model.core);
	world_free(&model.now);
	world_free(&model.plan);
	world_free(&model.next);
	world_free(&model.saved);
}

/* ---- what a member is ------------------------------------------------------------------------ */

/* A page of 4 KiB as it was read: rc, its first word and its last. */
static void same_words(const struct plane *p, uint64_t va, int rc, uint64_t head, uint64_t tail)
{
	struct leaf leaf = { 0 };
	bool there = plane_look(p, va, &leaf);

	assert_int_equal(rc, there && leaf.flags & PMPT_EXT ? PMPT_E_FRAME : 0);
	if (there && (!leaf.known || rc))
		return;
	assert_int_equal(head, there ? leaf.head : 0);
	assert_int_equal(tail, there ? leaf.tail : 0);
}

/* In a transaction, in a view, or, without both, as it is now. */
static int read_words(pmpt_tx *tx, const pmpt_view *view, unsigned s, uint64_t va, uint64_t *head,
		      uint64_t *tail)
{
	const pmpt_space *space = model.space[s];
	uint64_t at = va_sign(va), last = at + P4K - 8;
	int rc = tx ? pmpt_tx_read(tx, space, at, head, 8) : pmpt_read(view, space, at, head, 8);

	if (rc)
		return rc;
	return tx ? pmpt_tx_read(tx, space, last, tail, 8) : pmpt_read(view, space, last, tail, 8);
}

/* A walk: what it has seen is as the plane has it. */
struct cursor {
	const struct plane *p;
	uint64_t va; /* all below has been seen */
};

bool next_page(const struct plane *p, uint64_t va, struct leaf *leaf)
{
	while (va < VA_END) {
		const struct leaf *here = plane_next(p, va);
		uint64_t at, end;

		if (!here)
			return false;
		va = here->va > va ? here->va : va;
		if (!here->segment)
			*leaf = *here;
		if (!here->segment || plane_look(p, va, leaf))
			return true;
		/* in a piece, where nothing is */
		at = here->pfn * P2M + (va - here->va);
		end = here->va + P2M;
		here = plane_next(&p->segments[here->segment - 1], at);
		va = here && here->va - at < end - va ? va + (here->va - at) : end;
	}
	return false;
}

/* Of a huge leaf a relative may have made smaller pages, of the same frames and flags: its part of that
 * level over va. */
static void leaf_part(struct leaf *leaf, uint64_t va, unsigned level)
{
	if (level >= leaf->level || leaf->flags & (PMPT_EXT | PMPT_DEMAND))
		return;
	va = va > leaf->va ? va & ~(leaf_bytes(level) - 1) : leaf->va;
	leaf->pfn += (va - leaf->va) / P4K;
	leaf->flags = (leaf->flags & ~HUGE) | (level == 2 ? PMPT_2M : 0u);
	leaf->va = va;
	leaf->level = level;
}

static int same_leaf(void *ctx, const struct pmpt_mapping *m)
{
	struct cursor *at = ctx;
	struct leaf leaf = { 0 };

	assert_true(next_page(at->p, at->va, &leaf));
	leaf_part(&leaf, at->va, m->level);
	assert_int_equal(m->va, va_sign(leaf.va));
	assert_int_equal(m->level, leaf.level);
	assert_int_equal(m->pfn, leaf.pfn);
	assert_int_equal(m->flags & ~COW, leaf.flags);
	at->va = leaf.va + leaf_bytes(leaf.level);
	return 0;
}

void member_compare(const pmpt_view *view, unsigned s, const struct world *w)
{
	const struct plane *p = &w->member[s];
	const pmpt_space *space = model.space[s];
	struct cursor at = { p, 0 };
	struct leaf leaf = { 0 };

	if (view)
		assert_int_equal(pmpt_view_walk(view, space, 0, 0, same_leaf, &at), 0);
	else
		assert_int_equal(pmpt_walk(space, 0, 0, same_leaf, &at), 0);
	assert_false(next_page(p, at.va, &leaf));
	for (uint64_t from = 0; next_page(p, from, &leaf);
	     from = leaf.va + leaf_bytes(leaf.level)) {
		uint64_t va = leaf.va + rnd(leaf_bytes(leaf.level) / P4K) * P4K;
		uint64_t head = 0, tail = 0;
		int rc = read_words(NULL, view, s, va, &head, &tail);

		same_words(p, va, rc, head, tail);
	}
	for (unsigned i = 0; i < PMPT_USER_WORDS; i++) {
		uint64_t value;

		assert_int_equal(view ? pmpt_view_user_get(view, space, i, &value)
				      : pmpt_user_get(space, i, &value),
				 0);
		assert_int_equal(value, p->user[i]);
	}
}

/* ---- frames ---------------------------------------------------------------------------------- */

static unsigned short refs[FRAMES];

static void count_plane(const struct plane *p)
{
	struct leaf leaf = { 0 };

	for (uint64_t va = 0; next_page(p, va, &leaf); va = leaf.va + leaf_bytes(leaf.level)) {
		uint64_t pages = leaf_bytes(leaf.level) / P4K;

		for (uint64_t k = 0; k < pages && !(leaf.flags & (PMPT_EXT | PMPT_DEMAND)); k++) {
			assert_true(leaf.pfn + k < FRAMES);
			refs[leaf.pfn + k]++;
		}
	}
}

/* How often each frame is to be reached: by the name of a segment, too. */
static void count_refs(void)
{
	memset(refs, 0, sizeof(refs));
	for (unsigned s = 0; s < MEMBERS; s++)
		count_plane(&model.now.member[s]);
	for (unsigned g = 0; g < SEGMENTS; g++) {
		if (model.segment_named[g])
			count_plane(&model.now.segment[g]);
	}
}

/* As many data frames are in use as leaves name. */
static void compare_frames(void)
{
	size_t distinct = 0;

	for (size_t i = 0; i < FRAMES; i++)
		distinct += refs[i] != 0;
	if (!model.left)
		assert_int_equal(core_stats(&model.core).frames_data, distinct);
}

static void compare_info(unsigned s)
{
	const struct plane *p = &model.now.member[s];
	struct pmpt_space_info info, expected = { 0 };
	struct leaf leaf = { 0 };

	for (uint64_t va = 0; next_page(p, va, &leaf); va = leaf.va + leaf_bytes(leaf.level)) {
		uint64_t bytes = leaf_bytes(leaf.level);

		if (leaf.flags & PMPT_DEMAND)
			continue;
		expected.mapped_bytes += bytes;
		expected.ext_bytes += leaf.flags & PMPT_EXT ? bytes : 0;
		for (uint64_t k = 0; k < bytes / P4K && !(leaf.flags & PMPT_EXT); k++) {
			if (refs[leaf.pfn + k] == 1)
				expected.own_bytes += P4K;
			else
				expected.shared_bytes += P4K;
		}
	}
	assert_int_equal(pmpt_space_info(model.space[s], &info), 0);
	assert_int_equal(info.snapshot, model.snapshot[s]);
	assert_int_equal(info.mapped_bytes, expected.mapped_bytes);
	assert_int_equal(info.ext_bytes, expected.ext_bytes);
	if (model.left)
		return;
	assert_int_equal(info.own_bytes, expected.own_bytes);
	assert_int_equal(info.shared_bytes, expected.shared_bytes);
}

void model_compare(void)
{
	count_refs();
	for (unsigned s = 0; s < MEMBERS; s++) {
		if (!model.space[s])
			continue;
		member_compare(NULL, s, &model.now);
		compare_info(s);
	}
	compare_frames();
}

/* ---- transactions ---------------------------------------------------------------------------- */

/* split: an open bulk transaction may have made smaller pages of the same frames of it. */
static void same_mapping(const struct plane *p, uint64_t va, int rc, struct pmpt_mapping m,
			 bool split)
{
	struct leaf leaf = { 0 };
	bool there = plane_look(p, va, &leaf) && !(leaf.flags & PMPT_DEMAND);

	assert_int_equal(rc, there ? 0 : PMPT_E_NOT_MAPPED);
	if (!there)
		return;
	leaf_part(&leaf, va, m.level);
	if (split && m.level < leaf.level) {
		m.pfn -= (va_bits(m.va) - leaf.va) / P4K;
		m.va = va_sign(leaf.va);
		m.flags = (m.flags & ~HUGE) | (leaf.flags & HUGE);
	}
	assert_int_equal(m.va, va_sign(leaf.va));
	assert_int_equal(m.pfn, leaf.pfn);
	assert_int_equal(m.flags & ~COW, leaf.flags);
}

/* The transaction sees its plan, everybody else what is committed, or BUSY. */
static void look(pmpt_tx *tx, unsigned s, bool bulk)
{
	for (unsigned i = 0; i < 4; i++) {
		const struct plane *now = &model.now.member[s], *plan = &model.plan.member[s];
		uint64_t va = rnd(2) ? random_page(plan) : random_va(P4K);
		struct pmpt_mapping m = { 0 };
		uint64_t head = 0, tail = 0;
		int rc = pmpt_query(model.space[s], va_sign(va), &m);

		if (bulk && rc == PMPT_E_BUSY)
			model.busy++;
		else
			same_mapping(now, va, rc, m, bulk);
		rc = pmpt_tx_query(tx, model.space[s], va_sign(va), &m);
		same_mapping(plan, va, rc, m, false);
		rc = read_words(tx, NULL, s, va, &head, &tail);
		same_words(plan, va, rc, head, tail);
		rc = read_words(NULL, NULL, s, va, &head, &tail);
		if (!bulk || rc != PMPT_E_BUSY)
			same_words(now, va, rc, head, tail);
	}
}

void transaction(bool bulk, op_fn *const *op, size_t n)
{
	uint64_t savepoint = 0;
	pmpt_tx *tx;

	assert_int_equal(pmpt_begin(model.core.pool, bulk ? PMPT_TX_BULK : 0, &tx), 0);
	model.bulk = bulk;
	world_copy(&model.plan, &model.now);
	for (uint64_t i = rnd(12); i > 0; i--) {
		unsigned s = random_member();

		op[rnd(n)](tx, s);
		if (bulk && rnd(3) == 0)
			assert_int_equal(bulk_spill(tx), 0);
		if (!bulk && !savepoint && rnd(4) == 0) {
			assert_int_equal(pmpt_savepoint(tx, &savepoint), 0);
			world_copy(&model.saved, &model.plan);
		} else if (savepoint && rnd(4) == 0) {
			assert_int_equal(pmpt_rollback_to(tx, savepoint), 0);
			world_copy(&model.plan, &model.saved);
		}
		do
			s = (unsigned)rnd(MEMBERS);
		while (!model.space[s]);
		look(tx, s, bulk);
	}
	if (rnd(5) == 0) {
		assert_int_equal(pmpt_abort(tx), 0);
		model.aborts++;
	} else {
		assert_int_equal(pmpt_commit(tx, NULL), 0);
		world_copy(&model.now, &model.plan);
		world_settle();
		model.commits++;
	}
}
