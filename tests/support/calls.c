/* SPDX-License-Identifier: BSD-3-Clause */
/* calls -- see calls.h. */
#include "calls.h"

#include <string.h>

#include "tx.h"

#define P4K     ((uint64_t)4096)
#define P2M     ((uint64_t)2 << 20)
#define P1G     ((uint64_t)1 << 30)
#define P512G   ((uint64_t)512 << 30)
#define RW      (PMPT_R | PMPT_W)
#define PIECES  20u       /* pages at each of the bases: see va_any */
#define SEG_VA  (4 * P1G) /* the segment is mapped there, or P2M higher */
#define HUGE_VA (64 * P2M)

uint64_t calls_rnd(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % n;
}

bool expected(int rc, uint64_t may)
{
	return !rc || (rc <= -1000 && rc > -1064 && may >> (-1000 - rc) & 1);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static const uint64_t base[] = { 0, P2M, 2 * P2M, P1G, P512G };
#define BASES (sizeof(base) / sizeof(base[0]))

static uint64_t va_any(uint64_t *seed)
{
	uint64_t at = base[calls_rnd(seed, BASES)];

	return at + calls_rnd(seed, PIECES) * P4K;
}

static uint64_t huge_of(uint64_t va) { return va & ~(P2M - 1); }

/* What a space's own pages hold, where writers write; a segment's are not its own. */
int calls_hash(const pmpt_view *view, const pmpt_space *s, uint64_t *hash)
{
	uint64_t page[512];
	int rc = 0;

	*hash = 0;
	for (unsigned b = 0; b < BASES; b++) {
		for (unsigned i = 0; i < PIECES + 4 && !rc; i++) {
			rc = pmpt_read(view, s, base[b] + i * P4K, page, sizeof(page));
			for (unsigned k = 0; k < 512 && !rc; k++)
				*hash = (*hash ^ page[k]) * 0x9e3779b97f4a7c15u;
		}
	}
	return rc;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static unsigned any_prot(struct worker *w)
{
	static const unsigned prot[] = { PMPT_R, RW, PMPT_R | PMPT_X, RW | PMPT_X, RW, RW };

	return prot[calls_rnd(&w->seed, sizeof(prot) / sizeof(prot[0]))];
}

static uint64_t any_len(struct worker *w) { return (1 + calls_rnd(&w->seed, 8)) * P4K; }

static int do_write_at(struct worker *w, uint64_t va, uint64_t most)
{
	char buf[20000];
	size_t len = 1 + calls_rnd(&w->seed, most);

	memset(buf, (int)(1 + calls_rnd(&w->seed, 255)), len);
	return pmpt_write(w->tx, w->either, va, buf, len);
}

static int do_write(struct worker *w)
{
	uint64_t va = va_any(&w->seed);

	return do_write_at(w, va + calls_rnd(&w->seed, P4K), 20000);
}

static int do_write_huge(struct worker *w)
{
	return do_write_at(w, HUGE_VA + calls_rnd(&w->seed, 512) * P4K, 1);
}

static int do_write_segment(struct worker *w)
{
	return do_write_at(w, SEG_VA + calls_rnd(&w->seed, 25 * P4K), 9000);
}

static int do_read(struct worker *w)
{
	char buf[6000];
	uint64_t va = va_any(&w->seed);

	return w->tx ? pmpt_tx_read(w->tx, w->either, va, buf, sizeof(buf))
		     : pmpt_read(NULL, w->either, va, buf, sizeof(buf));
}

static int do_unmap(struct worker *w)
{
	uint64_t va = va_any(&w->seed);

	return pmpt_unmap(w->tx, w->either, va, any_len(w));
}

/* Whole tables, and what is mapped of the segment. */
static int do_unmap_much(struct worker *w)
{
	return pmpt_unmap(w->tx, w->either, va_any(&w->seed) & ~(P512G - 1), P512G);
}

static int do_protect(struct worker *w)
{
	uint64_t va = va_any(&w->seed), len = any_len(w);

	return pmpt_protect(w->tx, w->either, va, len, any_prot(w));
}

static int do_move(struct worker *w)
{
	uint64_t from = va_any(&w->seed), to = va_any(&w->seed);

	return pmpt_move(w->tx, w->from, from, w->to, to, any_len(w));
}

/* Tables are linked anew. */
static int do_move_table(struct worker *w)
{
	uint64_t from = huge_of(va_any(&w->seed)), to = huge_of(va_any(&w->seed)) + 8 * P2M;

	return calls_rnd(&w->seed, 2) ? pmpt_move(w->tx, w->from, from, w->to, to, P2M)
				      : pmpt_move(w->tx, w->from, to, w->to, from, P2M);
}

static int do_fault(struct worker *w)
{
	uint64_t va = va_any(&w->seed);

	return pmpt_fault(w->tx, w->either, va, 1u << calls_rnd(&w->seed, 3), NULL);
}

/* A frame that is mapped, by its number. */
static int do_alias(struct worker *w)
{
	struct pmpt_mapping m;
	uint64_t from = va_any(&w->seed), to = va_any(&w->seed);
	int rc = pmpt_query(w->from, from, &m);

	if (rc || m.flags & PMPT_DEMAND)
		return rc;
	return pmpt_map(w->tx, w->to, to, 1, m.pfn, any_prot(w) | PMPT_REPLACE);
}

static int do_map(struct worker *w)
{
	uint64_t va = va_any(&w->seed), n = 1 + calls_rnd(&w->seed, 5);
	unsigned flags = any_prot(w) | (calls_rnd(&w->seed, 2) ? PMPT_DEMAND : PMPT_ZERO);

	return pmpt_map(w->tx, w->either, va, n, PMPT_PFN_ALLOC,
			flags | (calls_rnd(&w->seed, 2) ? PMPT_REPLACE : 0));
}

static int do_map_huge(struct worker *w)
{
	return pmpt_map(w->tx, w->either, HUGE_VA, 1, PMPT_PFN_ALLOC, RW | PMPT_2M | PMPT_ZERO);
}

static int do_unmap_huge(struct worker *w) { return pmpt_unmap(w->tx, w->either, HUGE_VA, P2M); }

static int do_collapse(struct worker *w)
{
	return pmpt_collapse(w->tx, w->either,
			     calls_rnd(&w->seed, 2) ? HUGE_VA : huge_of(va_any(&w->seed)), PMPT_2M);
}

static int do_segment_map(struct worker *w)
{
	uint64_t va = SEG_VA + calls_rnd(&w->seed, 2) * P2M;

	return pmpt_segment_map(w->tx, w->either, va, CALLS_SEG, any_prot(w));
}

static int do_segment_unmap(struct worker *w)
{
	return pmpt_segment_unmap(w->tx, w->either, SEG_VA + calls_rnd(&w->seed, 2) * P2M,
				  CALLS_SEG);
}

static int do_user(struct worker *w)
{
	return pmpt_user_set(w->tx, w->either, (unsigned)calls_rnd(&w->seed, 3), w->seed);
}

static int do_savepoint(struct worker *w)
{
	if (!w->tx || w->bulk)
		return 0;
	if (w->marked && calls_rnd(&w->seed, 2))
		return pmpt_rollback_to(w->tx, w->savepoint);
	w->marked = true;
	return pmpt_savepoint(w->tx, &w->savepoint);
}

/* Home ahead of the commit, as after many more calls. */
static int do_batch(struct worker *w) { return w->bulk ? bulk_spill(w->tx) : 0; }

static int do_swap_out(struct worker *w)
{
	uint64_t va = va_any(&w->seed);

	return w->swap ? pmpt_swap_out(w->either, va, 4 * any_len(w), NULL) : 0;
}

static int do_swap_in(struct worker *w)
{
	uint64_t va = va_any(&w->seed);

	return w->swap ? pmpt_swap_in(w->either, va, 4 * any_len(w), NULL) : 0;
}

static int do_evict(struct worker *w) { return w->swap ? pmpt_evict(w->pool, 5, NULL) : 0; }

static int seen(void *ctx, const struct pmpt_mapping *m)
{
	unsigned *n = ctx;

	(void)m;
	return ++*n > 100000;
}

static int do_walk(struct worker *w)
{
	unsigned n = 0;

	return pmpt_walk(w->either, 0, 0, seen, &n);
}

static int changed(void *ctx, const struct pmpt_change *change)
{
	(void)ctx, (void)change;
	return 0;
}

static int do_diff(struct worker *w) { return pmpt_diff(NULL, w->from, w->to, changed, NULL); }

static int do_checkpoint(struct worker *w) { return pmpt_checkpoint(w->pool); }

#define READ MAY(BUSY)

const struct call calls[CALLS] = {
	{ "write", do_write, 8, MAY_CHANGE | MAY(DENIED_WRITE) },
	{ "write of a huge page", do_write_huge, 1, MAY_CHANGE | MAY(DENIED_WRITE) },
	{ "write of the segment", do_write_segment, 3,
	  MAY_CHANGE | MAY(DENIED_WRITE) | MAY(SEGMENT) },
	{ "read", do_read, 3, READ },
	{ "unmap", do_unmap, 4, MAY_CHANGE },
	{ "unmap of much", do_unmap_much, 1, MAY_CHANGE },
	{ "protect", do_protect, 4, MAY_CHANGE | MAY(NOT_MAPPED) | MAY(WX) },
	{ "move", do_move, 4, MAY_CHANGE | MAY(MAPPED) | MAY(ADDRESS) | MAY(WX) },
	{ "move of a table", do_move_table, 4, MAY_CHANGE | MAY(MAPPED) | MAY(WX) },
	{ "fault", do_fault, 4,
	  MAY_CHANGE | READ | MAY(NOT_MAPPED) | MAY(DENIED_WRITE) | MAY(DENIED_EXEC) },
	{ "map by number", do_alias, 4,
	  MAY_CHANGE | READ | MAY(NOT_MAPPED) | MAY(FRAME) | MAY(WX) },
	{ "map", do_map, 4, MAY_CHANGE | MAY(MAPPED) | MAY(WX) },
	{ "map of a huge page", do_map_huge, 2, MAY_CHANGE | MAY(MAPPED) },
	{ "unmap of a huge page", do_unmap_huge, 1, MAY_CHANGE },
	{ "collapse", do_collapse, 2, MAY_CHANGE | MAY(NOT_MAPPED) | MAY(NOT_UNIFORM) },
	{ "segment map", do_segment_map, 3, MAY_CHANGE | MAY(MAPPED) | MAY(SEGMENT) | MAY(WX) },
	{ "segment unmap", do_segment_unmap, 3, MAY_CHANGE | MAY(SEGMENT) },
	{ "user word", do_user, 1, MAY_CHANGE },
	{ "savepoint", do_savepoint, 4, 0 },
	{ "batch", do_batch, 8, MAY(TX_TOO_LARGE) },
	{ "swap out", do_swap_out, 2, MAY(CONFLICT) | MAY(SWAP) },
	{ "swap in", do_swap_in, 1, MAY(CONFLICT) | MAY(NO_FRAMES) },
	{ "evict", do_evict, 1, MAY(SWAP) },
	{ "walk", do_walk, 1, READ },
	{ "diff", do_diff, 1, READ },
	{ "checkpoint", do_checkpoint, 1, 0 },
};

const struct call *calls_any(struct worker *w)
{
	unsigned all = 0, at;

	for (unsigned i = 0; i < CALLS; i++)
		all += calls[i].weight;
	at = (unsigned)calls_rnd(&w->seed, all);
	for (unsigned i = 0;; i++) {
		if (at < calls[i].weight)
			return &calls[i];
		at -= calls[i].weight;
	}
}
