/* SPDX-License-Identifier: BSD-3-Clause */
/* plan -- what a transaction has planned, as the list of words that its log lines will hold.
 *
 * ORDER	fresh tables, then words: they go home in this order, and a reader that follows a link
 *		which replaced another must not find the table empty.  Descriptors last, ascending.
 * INVARIANTS	W3 (deltas become absolute words), F8 (no word in a table that is dropped)
 */
#include "error.h"
#include "pool.h"
#include "sort.h"
#include "tx.h"
#include "vec.h"

/* A fresh table with more entries than these is streamed, not logged: a stream costs 64 lines and
 * a fence. */
#define FRESH_WORDS 24

/* ---- the plan as a list of words ------------------------------------------------------------- */

static int list_add(struct pmpt_tx *tx, uint64_t where, uint64_t old, uint64_t new)
{
	int rc = vec_reserve(&tx->pool->mem, &tx->list, &tx->room_list, tx->n_list + 1,
			     sizeof(*tx->list));

	if (!rc)
		tx->list[tx->n_list++] = (struct wal_word){ where, old, new };
	return rc;
}

static bool in_dropped_table(struct pmpt_tx *tx, uint64_t where)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, WHERE_OFF(where) >> FRAME_SHIFT);
	const struct wal_word *w =
		desc ? wset_find(&tx->deltas, region_off(tx->pool->rg, desc) | WHERE_DESC) : NULL;

	return w && delta_kind(w) == DESC_TABLE && (int64_t)w->new < 0;
}

static int list_words(struct pmpt_tx *tx)
{
	int rc = vec_reserve(&tx->pool->mem, &tx->list, &tx->room_list, tx->words.n,
			     sizeof(*tx->list));

	for (size_t i = 0; i < tx->words.n && !rc; i++) {
		const struct wal_word *w = &tx->words.word[i];

		if (w->old == w->new)
			continue;
		if (tx->dropped && WHERE_CLASS(w->where) == WHERE_ENTRY &&
		    in_dropped_table(tx, w->where))
			/* nobody will read it, and no line is to stand on a frame behind its
			 * free [F8] */
			continue;
		rc = list_add(tx, w->where, w->old, w->new);
	}
	return rc;
}

static unsigned fresh_entries(const struct fresh *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FRAME_WORDS; i++)
		n += f->shadow[i] != 0;
	return n;
}

/* Content of a fresh table goes by the log when its frame is zeroed and it is small; else it is
 * streamed. */
bool fresh_logged(const struct pmpt_tx *tx, const struct fresh *f)
{
	return f->zeroed && !tx->bulk && fresh_entries(f) <= FRESH_WORDS;
}

static int list_fresh(struct pmpt_tx *tx)
{
	int rc = 0;

	for (size_t i = 0; i < tx->n_fresh && !rc; i++) {
		const struct fresh *f = &tx->fresh[i];

		if (f->dead || !fresh_logged(tx, f))
			continue;
		for (unsigned k = 0; k < FRAME_WORDS && !rc; k++) {
			if (f->shadow[k])
				rc = list_add(
					tx, f->pfn << FRAME_SHIFT | (uint64_t)k << 3 | WHERE_ENTRY,
					0, f->shadow[k]);
		}
	}
	return rc;
}

/* The value of a descriptor after a delta. */
static uint64_t desc_after(uint64_t home, const struct wal_word *delta)
{
	uint64_t count = (uint64_t)((int64_t)desc_count(home) + (int64_t)delta->new);
	enum desc_kind kind = delta_kind(delta);

	/* free: a table keeps its kind, so that older lines on it are known to aim at a table */
	if (count == 0)
		return kind == DESC_TABLE ? desc_make(DESC_TABLE, 0) : 0;
	return desc_count(home) ? (home & ~DESC_COUNT) | count : desc_make(kind, count);
}

/* The frame is no more what it was when it was counted: freed by another transaction, and perhaps in
 * use again, as a table or as another's page. */
static bool delta_stale(struct pmpt_tx *tx, const struct wal_word *delta, uint64_t home)
{
	struct frames *fr = &tx->pool->frames;
	uint64_t pfn;

	if (desc_count(home) ? desc_kind(home) != delta_kind(delta)
			     : (delta->old & DELTA_LIVE) != 0)
		return true;
	/* only a reference that was asked for by number has nothing of its own that kept the frame */
	if ((delta->old & (DELTA_LIVE | DELTA_GIVEN)) != (DELTA_LIVE | DELTA_GIVEN))
		return false;
	pfn = frames_pfn_of_desc(fr, delta->where);
	return delta->old >> DELTA_FREED_SHIFT !=
	       frames_freed(frames_group(fr, pfn), (unsigned)(pfn % GROUP_FRAMES));
}

/* A delta as an absolute word, by the count as it is now. */
int desc_word(struct pmpt_tx *tx, const struct wal_word *delta, struct wal_word *out)
{
	uint64_t home = word_load(region_at(tx->pool->rg, WHERE_OFF(delta->where)));

	if (delta_stale(tx, delta, home))
		return error_set(PMPT_E_CONFLICT, "frame %#lx was freed by another transaction",
				 frames_pfn_of_desc(&tx->pool->frames, delta->where));
	if ((int64_t)desc_count(home) + (int64_t)delta->new > UINT32_MAX)
		return error_set(PMPT_E_COUNT, "the count of frame %#lx would overflow",
				 frames_pfn_of_desc(&tx->pool->frames, delta->where));
	*out = (struct wal_word){ delta->where, home, desc_after(home, delta) };
	return 0;
}

/* The list's descriptors in ascending order. */
static int desc_sort(struct pmpt_tx *tx)
{
	size_t n = tx->n_list - tx->list_desc;
	uint64_t *key = mem_alloc(&tx->pool->mem, 2 * n * sizeof(*key));
	int rc = 0;

	if (!key)
		return error_set(-ENOMEM, "no memory to sort %zu descriptors", n);
	for (size_t i = 0; i < n; i++)
		key[i] = tx->list[tx->list_desc + i].where;
	sort_u64(key, key + n, n);
	for (size_t i = 0; i < n && !rc; i++)
		rc = desc_word(tx, wset_find(&tx->deltas, key[i]), &tx->list[tx->list_desc + i]);
	mem_free(&tx->pool->mem, key, 2 * n * sizeof(*key));
	return rc;
}

/* Deltas as absolute words, ascending: that is the order of the locks, and makes runs. */
static int list_deltas(struct pmpt_tx *tx)
{
	const struct wset *deltas = &tx->deltas;
	bool ascending = true;
	int rc;

	tx->list_desc = tx->n_list;
	rc = vec_reserve(&tx->pool->mem, &tx->list, &tx->room_list, tx->n_list + deltas->n,
			 sizeof(*tx->list));
	for (size_t i = 0; i < deltas->n && !rc; i++) {
		const struct wal_word *w = &deltas->word[i];

		if (!w->new && !(w->old & DELTA_GIVEN))
			continue;
		if (!w->new) { /* nothing to log, if it is still what was counted */
			struct wal_word same;

			rc = desc_word(tx, w, &same);
			continue;
		}
		ascending = ascending && (tx->n_list == tx->list_desc ||
					  tx->list[tx->n_list - 1].where < w->where);
		rc = desc_word(tx, w, &tx->list[tx->n_list++]);
	}
	return rc || ascending ? rc : desc_sort(tx);
}

int commit_plan(struct pmpt_tx *tx, bool deltas)
{
	int rc;

	tx->n_list = 0;
	rc = list_fresh(tx);
	if (!rc)
		rc = list_words(tx);
	tx->list_desc = tx->n_list;
	return rc || !deltas ? rc : list_deltas(tx);
}

size_t commit_room(const struct pmpt_tx *tx)
{
	const struct wal *wal = &tx->pool->wal;
	size_t bulk = tx->bulk ? bulk_room(wal) : 0;

	if (!tx->bulk)
		return wal->half_lines;
	return bulk ? bulk - 1 : 0; /* LAST may need a line of its own */
}
