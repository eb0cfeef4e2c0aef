/* SPDX-License-Identifier: BSD-3-Clause */
/* model_ops -- see model.h: random calls, each beside what the oracle makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "model.h"
#include "table.h"

#define MOST_PAGES 2048
#define WRITE_MOST 20
#define PAGE_WORDS (P4K / sizeof(uint64_t))

/* Addresses near the seams of the tree: a table's end at each level, both halves of the space. */
uint64_t random_va(uint64_t align)
{
	static const uint64_t base[] = { 0,
					 P1G - 2 * P2M,
					 ((uint64_t)1 << 39) - P2M,
					 4 * P1G,
					 ((uint64_t)1 << 47) - 4 * P2M,
					 (uint64_t)1 << 47,
					 VA_END - 4 * P2M };
	uint64_t pick = rnd(sizeof(base) / sizeof(base[0]));
	uint64_t span = pick == 3 ? 2 * P1G : 4 * P2M;

	return (base[pick] + rnd(span / P4K) * P4K) & ~(align - 1);
}

static uint64_t random_len(uint64_t va)
{
	uint64_t half = va < VA_END / 2 ? VA_END / 2 : VA_END, len = P4K * (1 + rnd(8));

	if (rnd(4) == 0)
		len = P4K * (1 + rnd(1100));
	else if (rnd(6) == 0)
		len = P2M - va % P2M + P2M * rnd(3);
	else if (rnd(60) == 0)
		len = P1G - va % P1G;
	return len < half - va ? len : half - va;
}

static unsigned random_prot(void) { return PMPT_R | (unsigned)rnd(8) << 1; }

/* A member that may be changed. */
unsigned random_member(void)
{
	unsigned s;

	do
		s = (unsigned)rnd(MEMBERS);
	while (!model.space[s] || model.snapshot[s]);
	return s;
}

/* The plan of a member to try a call on; what it writes may be a segment's. */
static struct plane *try(unsigned s)
{
	plane_copy(&model.next.member[s], &model.plan.member[s]);
	for (unsigned i = 0; i < SEGMENTS; i++)
		plane_copy(&model.next.segment[i], &model.plan.segment[i]);
	return &model.next.member[s];
}

static void accept(unsigned s)
{
	plane_copy(&model.plan.member[s], &model.next.member[s]);
	for (unsigned i = 0; i < SEGMENTS; i++)
		plane_copy(&model.plan.segment[i], &model.next.segment[i]);
}

/* Two things forbid a call: either may be told. */
static bool either(int rc, int expected, bool pieces)
{
	return pieces && expected && rc && (rc == PMPT_E_SEGMENT || expected == PMPT_E_SEGMENT);
}

/* The library said rc, the oracle expected: refusals for want of room are allowed, and change
 * nothing.  pieces: of segments are in the way.  True: it was done. */
static bool done(int rc, int expected, bool pieces)
{
	model.calls++;
	if (rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE) {
		model.refused++;
		return false;
	}
	if (!either(rc, expected, pieces))
		assert_int_equal(rc, expected);
	return rc == 0;
}

static struct plane *plan_of(unsigned s) { return &model.plan.member[s]; }

static bool has_piece(unsigned s, uint64_t va, uint64_t len)
{
	return plane_has_piece(plan_of(s), va, len);
}

/* A leaf of the plan, NULL: there is none. */
static const struct leaf *random_leaf(unsigned s)
{
	const struct plane *p = plan_of(s);

	return p->n ? &p->leaf[rnd(p->n)] : NULL;
}

uint64_t random_page(const struct plane *p)
{
	const struct leaf *leaf = p->n ? &p->leaf[rnd(p->n)] : NULL;

	for (unsigned tries = (unsigned)rnd(40); leaf && !leaf->segment && tries > 20; tries--)
		leaf = &p->leaf[rnd(p->n)];
	if (!leaf)
		return random_va(P4K);
	/* of a segment the same ones again and again */
	return leaf->va + rnd(leaf->segment ? 8 : leaf_bytes(leaf->level) / P4K) * P4K;
}

/* Frames that the plan maps already: a leaf of a space, to share. */
static bool some_leaf(unsigned level, struct leaf *leaf)
{
	const struct plane *p = plan_of(random_member());

	for (unsigned tries = 0; p->n && tries < 8; tries++) {
		*leaf = p->leaf[rnd(p->n)];
		if (!(leaf->flags & (PMPT_EXT | PMPT_DEMAND)) && !leaf->segment &&
		    leaf->level >= level) {
			uint64_t pages = leaf_bytes(leaf->level - level + 1) >> 12;

			leaf->pfn += rnd(pages) * (leaf_bytes(level) >> 12);
			return true;
		}
	}
	return false;
}

struct map {
	uint64_t va, n, pfn;
	unsigned flags, level;
	struct leaf shared; /* whose frames these are */
};

/* Frames for a map: allocated ones, one that is mapped already, or not the pool's. */
static void choose_frames(struct map *m)
{
	unsigned way = (unsigned)rnd(4);
	struct leaf leaf;

	if (way == 0 && m->level < 3) {
		m->pfn = PMPT_PFN_ALLOC;
		m->flags |= rnd(4) ? 0u : PMPT_ZERO;
		m->n = m->n > 60 ? 60 : m->n;
	} else if (way == 1 && some_leaf(m->level, &leaf)) {
		m->pfn = leaf.pfn;
		m->n = 1;
		m->shared = leaf;
	} else if (way == 2) {
		m->pfn = PMPT_PFN_ALLOC;
		m->flags |= PMPT_DEMAND;
	} else {
		m->pfn = rnd(1 << 12) << 18;
		m->pfn |= m->level < 3 ? rnd(512) << 9 : 0;
		m->pfn |= m->level == 1 && rnd(2) ? rnd(512) : 0;
		m->flags |= PMPT_EXT;
	}
}

static void put_leaves(pmpt_tx *tx, unsigned s, const struct map *m)
{
	static struct leaf leaf[MOST_PAGES];

	for (uint64_t i = 0; i < m->n; i++) {
		struct pmpt_mapping at;

		leaf[i] = (struct leaf){ m->va + i * leaf_bytes(m->level),
					 m->pfn + i * (leaf_bytes(m->level) >> 12),
					 m->flags & ~(unsigned)(PMPT_REPLACE | PMPT_ZERO),
					 m->level,
					 (m->flags & (PMPT_ZERO | PMPT_DEMAND)) || m->shared.known,
					 m->shared.head,
					 m->shared.tail,
					 0 };
		if (m->flags & PMPT_DEMAND) {
			leaf[i].pfn = 0;
		} else if (m->pfn == PMPT_PFN_ALLOC) {
			assert_int_equal(
				pmpt_tx_query(tx, model.space[s], va_sign(leaf[i].va), &at), 0);
			leaf[i].pfn = at.pfn;
		}
		if (m->flags & PMPT_ZERO)
			assert_int_equal(*(uint64_t *)pmpt_frame_ptr(model.core.pool, leaf[i].pfn),
					 0);
	}
	plane_put(plan_of(s), leaf, m->n);
}

void op_map(pmpt_tx *tx, unsigned s)
{
	static const unsigned size[4] = { 0, 0, PMPT_2M, PMPT_1G };
	struct map m = { .level = rnd(8) ? 1 : rnd(8) ? 2 : 3 };
	int rc;

	m.va = random_va(leaf_bytes(m.level));
	m.n = m.level > 1 ? 1 : random_len(m.va) / P4K;
	m.n = m.n < MOST_PAGES ? m.n : MOST_PAGES;
	m.flags = random_prot() | PMPT_TAG(rnd(4)) | PMPT_PKEY(rnd(2)) | (rnd(4) ? 0u : PMPT_G) |
		  (rnd(3) ? 0u : PMPT_REPLACE) | size[m.level];
	choose_frames(&m);
	rc = pmpt_map(tx, model.space[s], va_sign(m.va), m.n, m.pfn, m.flags);
	if (done(rc, plane_map(try(s), m.va, m.n * leaf_bytes(m.level), m.flags),
		 has_piece(s, m.va, m.n * leaf_bytes(m.level)))) {
		accept(s);
		put_leaves(tx, s, &m);
	}
}

void op_unmap(pmpt_tx *tx, unsigned s)
{
	uint64_t va = random_va(P4K), len = random_len(va);

	if (plan_of(s)->n > model.many) {
		va = 4 * P1G;
		len = 2 * P1G;
	}
	if (done(pmpt_unmap(tx, model.space[s], va_sign(va), len), plane_unmap(try(s), va, len),
		 has_piece(s, va, len)))
		accept(s);
}

void op_protect(pmpt_tx *tx, unsigned s)
{
	uint64_t va = random_va(P4K), len = random_len(va);
	unsigned prot = random_prot();
	const struct leaf *leaf = random_leaf(s);

	if (leaf && rnd(2)) { /* where something is */
		va = leaf->va + rnd(leaf_bytes(leaf->level) / P4K) * P4K;
		len = P4K * (1 + rnd(4));
	}
	if (va % (VA_END / 2) + len > VA_END / 2)
		return;
	if (done(pmpt_protect(tx, model.space[s], va_sign(va), len, prot),
		 plane_protect(try(s), va, len, prot), has_piece(s, va, len)))
		accept(s);
}

void op_move(pmpt_tx *tx, unsigned s)
{
	uint64_t align = rnd(2) ? P2M : P4K, from = random_va(align), to = random_va(align);
	uint64_t len = random_len(from), room = VA_END / 2 - to % (VA_END / 2);
	unsigned t = random_member();

	if (rnd(10) == 0)
		from = 4 * P1G, to = 5 * P1G, len = room = P1G;
	len = len < room ? len : room;
	struct plane *source = try(s), *target = s == t ? source : try(t);

	if (done(pmpt_move(tx, model.space[s], va_sign(from), model.space[t], va_sign(to), len),
		 plane_move(source, from, target, to, len),
		 has_piece(s, from, len) || has_piece(t, to, len))) {
		accept(s);
		if (s != t)
			accept(t);
	}
}

void op_collapse(pmpt_tx *tx, unsigned s)
{
	unsigned level = rnd(4) ? 2 : 3;
	uint64_t va = random_va(leaf_bytes(level));
	const struct leaf *leaf = random_leaf(s);
	int rc, expected;

	if (leaf)
		va = leaf->va & ~(leaf_bytes(level) - 1);
	rc = pmpt_collapse(tx, model.space[s], va_sign(va), level == 2 ? PMPT_2M : PMPT_1G);
	expected = plane_collapse(try(s), va, level);
	/* copy on write for some and not for others: the oracle does not know which */
	if (rc == PMPT_E_NOT_UNIFORM && !expected && model.forks)
		return;
	if (done(rc, expected, has_piece(s, va, leaf_bytes(level))))
		accept(s);
}

void op_user(pmpt_tx *tx, unsigned s)
{
	unsigned i = (unsigned)rnd(PMPT_USER_WORDS);
	uint64_t value = rnd(1000);

	if (done(pmpt_user_set(tx, model.space[s], i, value), 0, false))
		plan_of(s)->user[i] = value;
}

/* The plan has got a page of its own at va: where. */
static void learn_frame(pmpt_tx *tx, unsigned s, uint64_t va)
{
	struct pmpt_mapping at;

	assert_int_equal(pmpt_tx_query(tx, model.space[s], va_sign(va), &at), 0);
	plane_place(plan_of(s), va, at.level, at.pfn);
}

static uint64_t last_written[MEMBERS];

/* Where something is, or what was written last, or anywhere. */
static uint64_t write_va(unsigned s)
{
	uint64_t va = rnd(3) ? random_page(plan_of(s)) : random_va(P4K);

	if (rnd(2))
		va = last_written[s];
	last_written[s] = va;
	return va;
}

/* Pages of segments are not for bulk transactions. */
static bool bulk_refused(int rc, unsigned s, uint64_t va, uint64_t len)
{
	return model.bulk && rc == PMPT_E_SEGMENT && has_piece(s, va, len);
}

/* Whole pages, or a page's first word, or its last, or both where two pages meet. */
void op_write(pmpt_tx *tx, unsigned s)
{
	static uint64_t words[WRITE_MOST * PAGE_WORDS];
	uint64_t way = rnd(4), va = write_va(s), n = way == 0 ? 1 + rnd(WRITE_MOST) : 1 + way / 3;
	uint64_t from = 0, to = n * P4K, value = rnd(UINT32_MAX);
	int rc;

	if (va % (VA_END / 2) + n * P4K > VA_END / 2 || plan_of(s)->n > model.many)
		return;
	for (size_t i = 0; i < n * PAGE_WORDS; i++)
		words[i] = value + i;
	if (way) {
		from = way == 1 ? 0 : P4K - 8;
		to = way == 1 ? 8 : way == 2 ? P4K : P4K + 8;
	}
	rc = pmpt_write(tx, model.space[s], va_sign(va) + from, (char *)words + from, to - from);
	if (bulk_refused(rc, s, va, n * P4K) || !done(rc, plane_write(try(s), va, n), false))
		return;
	accept(s);
	for (uint64_t i = 0; i < n; i++) {
		struct leaf *leaf = plane_leaf(plan_of(s), va + i * P4K);
		bool head = from <= i * P4K, tail = to >= (i + 1) * P4K;

		learn_frame(tx, s, va + i * P4K);
		leaf->known |= head && tail && !way;
		leaf->head = head ? words[i * PAGE_WORDS] : leaf->head;
		leaf->tail = tail ? words[(i + 1) * PAGE_WORDS - 1] : leaf->tail;
	}
}

void op_fault(pmpt_tx *tx, unsigned s)
{
	uint64_t va = rnd(4) ? random_page(plan_of(s)) + rnd(P4K) : random_va(1);
	unsigned access = (unsigned)rnd(PMPT_PROT_MASK) + 1;
	struct pmpt_mapping m;
	struct leaf found = { 0 };
	bool brought;
	int rc;

	access = rnd(2) ? PMPT_R : access;
	if (plan_of(s)->n > model.many)
		return;
	rc = pmpt_fault(tx, model.space[s], va_sign(va), access, &m);
	if (bulk_refused(rc, s, va, 1) ||
	    !done(rc, plane_fault(try(s), va, access, &brought), false))
		return;
	accept(s);
	if (brought || access & PMPT_W) /* a write may have made a copy */
		learn_frame(tx, s, va);
	assert_true(plane_look(plan_of(s), va, &found));
	assert_int_equal(m.pfn, found.pfn);
	assert_int_equal(m.flags & ~(unsigned)PMPT_COW, found.flags);
	assert_int_equal(m.va, va_sign(found.va));
}

/* ---- segments -------------------------------------------------------------------------------- */

static unsigned random_segment(void) { return (unsigned)rnd(SEGMENTS); }

/* Where pieces are apt to lie: with other pages in the tables above. */
static uint64_t segment_va(void) { return va_bits(random_va(P2M) + (rnd(2) ? 0 : P2M * rnd(8))); }

void op_segment_map(pmpt_tx *tx, unsigned s)
{
	unsigned g = random_segment(), n = model.segment_pieces[g], prot = random_prot();
	uint64_t va = segment_va();
	int rc, expected = PMPT_E_SEGMENT;

	if (va % (VA_END / 2) + n * P2M > VA_END / 2)
		return;
	rc = pmpt_segment_map(tx, model.space[s], va_sign(va), segment_name[g], prot);
	if (model.segment_named[g])
		expected = plane_segment_map(try(s), va, g + 1, n, prot);
	if (done(rc, expected, false))
		accept(s);
}

void op_segment_unmap(pmpt_tx *tx, unsigned s)
{
	const struct leaf *leaf = random_leaf(s);
	unsigned g = random_segment();
	uint64_t va = segment_va();
	int rc, expected = PMPT_E_SEGMENT;

	for (unsigned tries = 0; leaf && !leaf->segment && tries < 30; tries++)
		leaf = random_leaf(s);
	if (leaf && leaf->segment) {
		g = leaf->segment - 1;
		va = leaf->va - (leaf->pfn * P2M < leaf->va ? leaf->pfn * P2M : 0);
	}
	if (va % (VA_END / 2) + model.segment_pieces[g] * P2M > VA_END / 2)
		return;
	rc = pmpt_segment_unmap(tx, model.space[s], va_sign(va), segment_name[g]);
	if (model.segment_named[g])
		expected = plane_segment_unmap(try(s), va, g + 1, model.segment_pieces[g]);
	if (done(rc, expected, false))
		accept(s);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

/* Whatever would change one. */
void op_snapshot(pmpt_tx *tx, unsigned s)
{
	uint64_t word = 1, va = va_sign(random_va(P4K));
	int rc = PMPT_E_SNAPSHOT;

	for (s = 0; s < MEMBERS && !(model.space[s] && model.snapshot[s]); s++)
		;
	if (s == MEMBERS)
		return;
	switch (rnd(4)) {
	case 0:
		rc = pmpt_write(tx, model.space[s], va, &word, sizeof(word));
		break;
	case 1:
		rc = pmpt_user_set(tx, model.space[s], 1, 5);
		break;
	case 2:
		rc = pmpt_map(tx, model.space[s], va, 1, 7, PMPT_R | PMPT_EXT | PMPT_REPLACE);
		break;
	default:
		if (model.segment_named[0])
			rc = pmpt_segment_map(tx, model.space[s], va & ~(P2M - 1), segment_name[0],
					      PMPT_R);
		break;
	}
	if (rc != PMPT_E_NO_FRAMES && rc != PMPT_E_ADDRESS && rc != PMPT_E_TX_TOO_LARGE)
		assert_int_equal(rc, PMPT_E_SNAPSHOT);
}
