/* SPDX-License-Identifier: BSD-3-Clause */
/* test_model -- random operations over several spaces beside an oracle (plane.h) that knows every
 * leaf: its size, frame and flags.  Pages of all three sizes, shared frames, savepoints, bulk
 * transactions; compared leaf by leaf, verified and reopened between.  PMPT_SEED=n replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "core.h"
#include "plane.h"
#include "table.h"

#define SPACES     3
#define ROUNDS     80
#define TX_ROUND   60
#define MOST_PAGES 2048
#define MANY       6000 /* leaves of a space that are enough */
#define HUGE       ((unsigned)(PMPT_2M | PMPT_1G))
#define P4K        ((uint64_t)4096)
#define P2M        ((uint64_t)2 << 20)
#define P1G        ((uint64_t)1 << 30)

static const char *const name[SPACES] = { "s", "t", "u" };
static struct core c;
static pmpt_space *space[SPACES];
static struct plane model[SPACES]; /* committed */
static struct plane plan[SPACES];  /* and as the open transaction sees it */
static struct plane next[SPACES];  /* and after the call in progress, if it succeeds */
static struct plane saved[SPACES]; /* at the savepoint */
static uint64_t seed;
static struct {
	unsigned long calls, refused, busy, commits, aborts;
} count;

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

/* Addresses near the seams of the tree: a table's end at each level, both halves of the space. */
static uint64_t random_va(uint64_t align)
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

static struct plane *try(unsigned s)
{
	plane_copy(&next[s], &plan[s]);
	return &next[s];
}

static void accept(unsigned s)
{
	struct plane was = plan[s];

	plan[s] = next[s];
	next[s] = was;
}

/* The library said rc, the oracle expected: refusals for want of room are allowed, and change
 * nothing.  True: it was done. */
static bool done(int rc, int expected)
{
	count.calls++;
	if (rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE) {
		count.refused++;
		return false;
	}
	assert_int_equal(rc, expected);
	return rc == 0;
}

/* Frames that the plan maps already: a leaf of a space, to share. */
static bool some_leaf(unsigned level, struct leaf *leaf)
{
	const struct plane *p = &plan[rnd(SPACES)];

	for (unsigned tries = 0; p->n && tries < 8; tries++) {
		*leaf = p->leaf[rnd(p->n)];
		if (!(leaf->flags & PMPT_EXT) && leaf->level >= level) {
			uint64_t pages = leaf_bytes(leaf->level - level + 1) >> 12;

			leaf->pfn += rnd(pages) * (leaf_bytes(level) >> 12);
			return true;
		}
	}
	return false;
}

/* ---- operations: the library's and the oracle's ---------------------------------------------- */

struct map {
	uint64_t va, n, pfn;
	unsigned flags, level;
};

/* Frames for a map: allocated ones, one that is mapped already, or not the pool's. */
static void choose_frames(struct map *m)
{
	unsigned way = (unsigned)rnd(3);
	struct leaf leaf;

	if (way == 0 && m->level < 3) {
		m->pfn = PMPT_PFN_ALLOC;
		m->flags |= rnd(4) ? 0u : PMPT_ZERO;
		m->n = m->n > 60 ? 60 : m->n;
	} else if (way == 1 && some_leaf(m->level, &leaf)) {
		m->pfn = leaf.pfn;
		m->n = 1;
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

		leaf[i] =
			(struct leaf){ m->va + i * leaf_bytes(m->level),
				       m->pfn + i * (leaf_bytes(m->level) >> 12),
				       m->flags & ~(unsigned)(PMPT_REPLACE | PMPT_ZERO), m->level };
		if (m->pfn == PMPT_PFN_ALLOC) {
			assert_int_equal(pmpt_tx_query(tx, space[s], va_sign(leaf[i].va), &at), 0);
			leaf[i].pfn = at.pfn;
		}
		if (m->flags & PMPT_ZERO)
			assert_int_equal(*(uint64_t *)pmpt_frame_ptr(c.pool, leaf[i].pfn), 0);
	}
	plane_put(&plan[s], leaf, m->n);
}

static void op_map(pmpt_tx *tx, unsigned s)
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
	rc = pmpt_map(tx, space[s], va_sign(m.va), m.n, m.pfn, m.flags);
	if (done(rc, plane_map(try(s), m.va, m.n * leaf_bytes(m.level), m.flags))) {
		accept(s);
		put_leaves(tx, s, &m);
	}
}

static void op_unmap(pmpt_tx *tx, unsigned s)
{
	uint64_t va = random_va(P4K), len = random_len(va);

	if (plan[s].n > MANY) {
		va = 4 * P1G;
		len = 2 * P1G;
	}
	if (done(pmpt_unmap(tx, space[s], va_sign(va), len), plane_unmap(try(s), va, len)))
		accept(s);
}

static void op_protect(pmpt_tx *tx, unsigned s)
{
	uint64_t va = random_va(P4K), len = random_len(va);
	unsigned prot = random_prot();
	const struct leaf *leaf = plan[s].n ? &plan[s].leaf[rnd(plan[s].n)] : NULL;

	if (leaf && rnd(2)) { /* where something is */
		va = leaf->va + rnd(leaf_bytes(leaf->level) / P4K) * P4K;
		len = P4K * (1 + rnd(4));
	}
	if (va % (VA_END / 2) + len > VA_END / 2)
		return;
	if (done(pmpt_protect(tx, space[s], va_sign(va), len, prot),
		 plane_protect(try(s), va, len, prot)))
		accept(s);
}

static void op_move(pmpt_tx *tx, unsigned s)
{
	uint64_t align = rnd(2) ? P2M : P4K, from = random_va(align), to = random_va(align);
	uint64_t len = random_len(from), room = VA_END / 2 - to % (VA_END / 2);
	unsigned t = (unsigned)rnd(SPACES);

	if (rnd(10) == 0)
		from = 4 * P1G, to = 5 * P1G, len = room = P1G;
	len = len < room ? len : room;
	struct plane *source = try(s), *target = s == t ? source : try(t);

	if (done(pmpt_move(tx, space[s], va_sign(from), space[t], va_sign(to), len),
		 plane_move(source, from, target, to, len))) {
		accept(s);
		if (s != t)
			accept(t);
	}
}

static void op_collapse(pmpt_tx *tx, unsigned s)
{
	unsigned level = rnd(4) ? 2 : 3;
	uint64_t va = random_va(leaf_bytes(level));
	const struct leaf *leaf = plan[s].n ? &plan[s].leaf[rnd(plan[s].n)] : NULL;

	if (leaf)
		va = leaf->va & ~(leaf_bytes(level) - 1);
	if (done(pmpt_collapse(tx, space[s], va_sign(va), level == 2 ? PMPT_2M : PMPT_1G),
		 plane_collapse(try(s), va, level)))
		accept(s);
}

static void op_user(pmpt_tx *tx, unsigned s)
{
	unsigned i = (unsigned)rnd(PMPT_USER_WORDS);
	uint64_t value = rnd(1000);

	if (done(pmpt_user_set(tx, space[s], i, value), 0))
		plan[s].user[i] = value;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

struct cursor {
	const struct plane *p;
	size_t i;
};

static int same_leaf(void *ctx, const struct pmpt_mapping *m)
{
	struct cursor *at = ctx;
	const struct leaf *leaf = at->i < at->p->n ? &at->p->leaf[at->i++] : NULL;

	assert_non_null(leaf);
	assert_int_equal(m->va, va_sign(leaf->va));
	assert_int_equal(m->level, leaf->level);
	assert_int_equal(m->pfn, leaf->pfn);
	assert_int_equal(m->flags, leaf->flags);
	return 0;
}

static int compare_frames(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* As many data frames are in use as leaves name. */
static void compare_data_frames(void)
{
	static uint64_t frame[1 << 18];
	size_t n = 0, distinct = 0;

	for (unsigned s = 0; s < SPACES; s++) {
		for (size_t i = 0; i < model[s].n; i++) {
			const struct leaf *leaf = &model[s].leaf[i];
			uint64_t pages = leaf_bytes(leaf->level) / P4K;

			for (uint64_t k = 0; k < pages && !(leaf->flags & PMPT_EXT); k++) {
				assert_true(n < sizeof(frame) / sizeof(frame[0]));
				frame[n++] = leaf->pfn + k;
			}
		}
	}
	qsort(frame, n, sizeof(frame[0]), compare_frames);
	for (size_t i = 0; i < n; i++)
		distinct += i == 0 || frame[i] != frame[i - 1];
	assert_int_equal(core_stats(&c).frames_data, distinct);
}

static void compare(void)
{
	for (unsigned s = 0; s < SPACES; s++) {
		struct cursor at = { &model[s], 0 };

		assert_int_equal(pmpt_walk(space[s], 0, 0, same_leaf, &at), 0);
		assert_int_equal(at.i, model[s].n);
		for (unsigned i = 0; i < PMPT_USER_WORDS; i++) {
			uint64_t value;

			assert_int_equal(pmpt_user_get(space[s], i, &value), 0);
			assert_int_equal(value, model[s].user[i]);
		}
	}
	compare_data_frames();
}

/* split: an open bulk transaction may have made smaller pages of the same frames of it. */
static void same_mapping(const struct plane *p, uint64_t va, int rc, struct pmpt_mapping m,
			 bool split)
{
	const struct leaf *leaf = plane_find(p, va);

	assert_int_equal(rc, leaf ? 0 : PMPT_E_NOT_MAPPED);
	if (!leaf)
		return;
	if (split && m.level < leaf->level) {
		m.pfn -= (va_bits(m.va) - leaf->va) / P4K;
		m.va = va_sign(leaf->va);
		m.flags = (m.flags & ~HUGE) | (leaf->flags & HUGE);
	}
	assert_int_equal(m.va, va_sign(leaf->va));
	assert_int_equal(m.pfn, leaf->pfn);
	assert_int_equal(m.flags, leaf->flags);
}

/* The transaction sees its plan, everybody else what is committed, or BUSY. */
static void look(pmpt_tx *tx, unsigned s, bool bulk)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t va = random_va(P4K);
		struct pmpt_mapping m = { 0 };
		int rc = pmpt_query(space[s], va_sign(va), &m);

		if (bulk && rc == PMPT_E_BUSY)
			count.busy++;
		else
			same_mapping(&model[s], va, rc, m, bulk);
		rc = pmpt_tx_query(tx, space[s], va_sign(va), &m);
		same_mapping(&plan[s], va, rc, m, false);
	}
}

/* ---- transactions ---------------------------------------------------------------------------- */

static void copy_all(struct plane *to, const struct plane *from)
{
	for (unsigned s = 0; s < SPACES; s++)
		plane_copy(&to[s], &from[s]);
}

static void transaction(bool bulk)
{
	static void (*const op[])(pmpt_tx *, unsigned) = { op_map,      op_map,  op_map,
							   op_unmap,    op_move, op_protect,
							   op_collapse, op_user };
	uint64_t savepoint = 0;
	pmpt_tx *tx;

	assert_int_equal(pmpt_begin(c.pool, bulk ? PMPT_TX_BULK : 0, &tx), 0);
	copy_all(plan, model);
	for (uint64_t i = rnd(10); i > 0; i--) {
		unsigned s = (unsigned)rnd(SPACES);

		op[rnd(sizeof(op) / sizeof(op[0]))](tx, s);
		if (bulk && rnd(3) == 0)
			assert_int_equal(bulk_spill(tx), 0);
		if (!bulk && !savepoint && rnd(4) == 0) {
			assert_int_equal(pmpt_savepoint(tx, &savepoint), 0);
			copy_all(saved, plan);
		} else if (savepoint && rnd(4) == 0) {
			assert_int_equal(pmpt_rollback_to(tx, savepoint), 0);
			copy_all(plan, saved);
		}
		look(tx, s, bulk);
	}
	if (rnd(5) == 0) {
		assert_int_equal(pmpt_abort(tx), 0);
		count.aborts++;
	} else {
		assert_int_equal(pmpt_commit(tx, NULL), 0);
		copy_all(model, plan);
		count.commits++;
	}
}

static void reopen(void)
{
	for (unsigned s = 1; s < SPACES; s++)
		pmpt_space_close(space[s]);
	if (rnd(8) == 0) { /* and one of them is a new one */
		assert_int_equal(pmpt_space_delete(c.pool, "u"), 0);
		assert_int_equal(pmpt_space_create(c.pool, "u", &space[2]), 0);
		pmpt_space_close(space[2]);
		plane_free(&model[2]);
	}
	core_reopen(&c, rnd(2));
	space[0] = c.space;
	for (unsigned s = 1; s < SPACES; s++)
		assert_int_equal(pmpt_space_open(c.pool, name[s], &space[s]), 0);
}

static void test_model(void **state)
{
	const char *given = getenv("PMPT_SEED");
	struct timespec t;

	(void)state;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	seed = given ? strtoul(given, NULL, 0) : (uint64_t)t.tv_nsec;
	print_message("replay: PMPT_SEED=%lu\n", seed);
	core_make(&c, 5000, 1024, 4096);
	space[0] = c.space;
	for (unsigned s = 1; s < SPACES; s++)
		assert_int_equal(pmpt_space_create(c.pool, name[s], &space[s]), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < TX_ROUND; i++)
			transaction(rnd(6) == 0);
		compare();
		core_verify(&c);
		reopen();
		compare();
	}
	print_message(
		"%lu calls, %lu refused for want of room; %lu commits, %lu aborts, %lu busy\n",
		count.calls, count.refused, count.commits, count.aborts, count.busy);
	assert_true(count.refused < count.calls / 4);
	for (unsigned s = 1; s < SPACES; s++)
		pmpt_space_close(space[s]);
	core_free(&c);
	for (unsigned s = 0; s < SPACES; s++) {
		plane_free(&model[s]);
		plane_free(&plan[s]);
		plane_free(&next[s]);
		plane_free(&saved[s]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
