/* SPDX-License-Identifier: BSD-3-Clause */
/* plan -- what a transaction has planned, as the list of words that its log lines will hold.
 *
 * ORDER	fresh tables, then words: they go home in this order, and a reader that follows a link
 *		which replaced another must not find the table empty.  Descriptors last, ascending.
 * INVARIANTS	W3 (deltas become absolute words), F8 (no word in a table that is dropped)
 */
#include <string.h>

#include "error.h"
#include "pool.h"
#include "sort.h"
#include "tx.h"
#include "vec.h"

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

	return w && delta_kind(w) == DESC_TABLE && (int64_t)w->new < 0 &&
	       desc_count(word_load(desc)) + w->new == 0;
}

/* Where a table is unshared, the original and the link that leads away from it stay as they are until the
 * commit: its relatives are not kept out of anything, and are to see nothing of the transaction. */
static bool word_waits(const struct pmpt_tx *tx, const struct wal_word *w)
{
	const pm_word *desc;

	if (WHERE_CLASS(w->where) != WHERE_ENTRY)
		return false;
	if (tx->originals.n && wset_find(&tx->originals, WHERE_OFF(w->where) >> FRAME_SHIFT))
		return true;
	if ((w->old & (ENTRY_P | ENTRY_COW | ENTRY_EXT)) != (ENTRY_P | ENTRY_COW))
		return false;
	desc = frames_desc(&tx->pool->frames, entry_pfn(w->old));
	return desc && desc_kind(word_load(desc)) == DESC_TABLE;
}

void plan_batched(struct pmpt_tx *tx)
{
	size_t n = 0;

	for (size_t i = 0; i < tx->words.n; i++) {
		if (word_waits(tx, &tx->words.word[i]))
			tx->words.word[n++] = tx->words.word[i];
	}
	wset_restart(&tx->words, n);
	tx->n_waiting = n;
}

static int list_words(struct pmpt_tx *tx, bool batch)
{
	int rc = vec_reserve(&tx->pool->mem, &tx->list, &tx->room_list, tx->n_list + tx->words.n,
			     sizeof(*tx->list));

	for (size_t i = 0; i < tx->words.n && !rc; i++) {
		const struct wal_word *w = &tx->words.word[i];

		if (w->old == w->new || (batch && word_waits(tx, w)))
			continue;
		if (tx->dropped && WHERE_CLASS(w->where) == WHERE_ENTRY &&
		    in_dropped_table(tx, w->where))
			/* nobody will read it, and no line is to stand on a frame behind its
			 * free [F8] */
			continue;
		tx->list[tx->n_list++] = *w;
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
	uint64_t state = delta->old & DELTA_STATE
				 ? (delta->old >> DELTA_NEW_SHIFT & WX_BOTH) << DESC_WX_SHIFT
			 : desc_count(home) ? home & DESC_WX
					    : 0;

	/* free: a table keeps its kind, so that older lines on it are known to aim at a table */
	if (count == 0 && kind == DESC_SLOT)
		return home & ~DESC_COUNT;
	if (count == 0)
		return kind == DESC_TABLE ? desc_make(DESC_TABLE, 0) : 0;
	if (kind == DESC_SLOT && !desc_count(home))
		return desc_make(kind, count) | delta->old >> DELTA_GEN_SHIFT << DESC_GEN_SHIFT;
	/* one that is the last has no alias */
	if (count > 1 && (delta->old & DELTA_ALIASED || (desc_count(home) && home & DESC_ALIASED)))
		state |= DESC_ALIASED;
	return (desc_count(home) ? (home & ~(DESC_COUNT | DESC_WX | DESC_ALIASED)) | count
				 : desc_make(kind, count)) |
	       state;
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
	return (delta->old >> DELTA_FREED_SHIFT & 0xffff) !=
	       frames_freed(frames_group(fr, pfn), (unsigned)(pfn % GROUP_FRAMES));
}

/* What the frame's state was planned by, or what was planned by its state, is not so any more.  A state is
 * chosen by who has the only mapping; who adds one by a number goes by the state that he found. */
static bool state_stale(const struct wal_word *delta, uint64_t home)
{
	bool state = desc_state(home) == (delta->old >> DELTA_OLD_SHIFT & WX_BOTH);

	if (!rule_on(RULE_WX_STATE))
		return false;
	if (delta->old & DELTA_STATE)
		return !state ||
		       desc_count(home) != (delta->old >> DELTA_COUNT_SHIFT & DELTA_COUNT_MAX);
	return (delta->old & (DELTA_LIVE | DELTA_GIVEN)) == (DELTA_LIVE | DELTA_GIVEN) && !state;
}

static inline int desc_word_now(struct pmpt_tx *tx, const struct wal_word *delta,
				struct wal_word *out)
{
	uint64_t home = word_load(region_at(tx->pool->rg, WHERE_OFF(delta->where)));

	if (delta_stale(tx, delta, home))
		return error_set(PMPT_E_CONFLICT, "frame %#lx was freed by another transaction",
				 frames_pfn_of_desc(&tx->pool->frames, delta->where));
	if (state_stale(delta, home))
		return error_set(PMPT_E_CONFLICT,
				 "another transaction changed how frame %#lx is mapped",
				 frames_pfn_of_desc(&tx->pool->frames, delta->where));
	if ((int64_t)desc_count(home) + (int64_t)delta->new > UINT32_MAX)
		return error_set(PMPT_E_COUNT, "the count of frame %#lx would overflow",
				 frames_pfn_of_desc(&tx->pool->frames, delta->where));
	*out = (struct wal_word){ delta->where, home, desc_after(home, delta) };
	return 0;
}

int desc_word(struct pmpt_tx *tx, const struct wal_word *delta, struct wal_word *out)
{
	return desc_word_now(tx, delta, out);
}

#define MERGE_RUNS 16 /* ascending runs that are merged, two and two; more are sorted */

/* Merge word[0..a) and word[a..n), each ascending, into `to`. */
static void merge(const struct wal_word *word, size_t a, size_t n, struct wal_word *to)
{
	size_t i = 0, k = a;

	if (k < n && word[n - 1].where < word[0].where) { /* all of the second come first */
		memcpy(to, word + a, (n - a) * sizeof(*to));
		memcpy(to + (n - a), word, a * sizeof(*to));
		return;
	}
	while (i < a && k < n)
		*to++ = word[i].where < word[k].where ? word[i++] : word[k++];
	memcpy(to, word + i, (a - i) * sizeof(*to));
	memcpy(to + (a - i), word + k, (n - k) * sizeof(*to));
}

/* The list's descriptors, which are a few ascending runs, in ascending order: frames that pages leave
 * and frames that they get.  end: of each run.  Behind the list there is room for them once more. */
static void desc_merge(struct pmpt_tx *tx, size_t *end, size_t n_runs)
{
	size_t n = tx->n_list - tx->list_desc;
	struct wal_word *from = tx->list + tx->list_desc, *buf = tx->list + tx->n_list, *to = buf;

	for (; n_runs > 1; n_runs = (n_runs + 1) / 2) {
		struct wal_word *was = from;

		for (size_t i = 0, at = 0; i < n_runs; i += 2) {
			size_t last = i + 1 < n_runs ? end[i + 1] : end[i];

			merge(from + at, end[i] - at, last - at, to + at);
			end[i / 2] = at = last;
		}
		from = to;
		to = was;
	}
	if (from == buf)
		memcpy(tx->list + tx->list_desc, buf, n * sizeof(*buf));
}

static inline void count_word(struct pmpt_tx *tx, const struct wal_word *w)
{
	tx->list_freed += desc_count(w->new) < desc_count(w->old);
	tx->list_used += !desc_count(w->old) && desc_count(w->new);
}

void list_count(struct pmpt_tx *tx)
{
	tx->list_freed = tx->list_used = 0;
	for (size_t i = tx->list_desc; i < tx->n_list; i++)
		count_word(tx, &tx->list[i]);
}

#define KEY_INDEX_BITS \
	26 /* of a sort key; above it the word of the file, which has a little more than 1 TiB */

/* The list's descriptors in ascending order.  Behind the list there is room for them once more. */
static int desc_sort(struct pmpt_tx *tx)
{
	size_t n = tx->n_list - tx->list_desc;
	struct wal_word *word = tx->list + tx->list_desc, *was = tx->list + tx->n_list;
	uint64_t *key;

	if (n >> KEY_INDEX_BITS)
		return error_set(PMPT_E_TX_TOO_LARGE, "the transaction counts %zu frames", n);
	key = mem_alloc(&tx->pool->mem, 2 * n * sizeof(*key));
	if (!key)
		return error_set(-ENOMEM, "no memory to sort %zu descriptors", n);
	for (size_t i = 0; i < n; i++)
		key[i] = WHERE_OFF(word[i].where) / sizeof(pm_word) << KEY_INDEX_BITS | i;
	sort_u64(key, key + n, n, KEY_INDEX_BITS);
	memcpy(was, word, n * sizeof(*was));
	for (size_t i = 0; i < n; i++)
		word[i] = was[key[i] & (((uint64_t)1 << KEY_INDEX_BITS) - 1)];
	mem_free(&tx->pool->mem, key, 2 * n * sizeof(*key));
	return 0;
}

/* A frame in use gets another state. */
static bool delta_flips(const struct wal_word *w)
{
	return (w->old & (DELTA_STATE | DELTA_LIVE)) == (DELTA_STATE | DELTA_LIVE) &&
	       ((w->old >> DELTA_OLD_SHIFT ^ w->old >> DELTA_NEW_SHIFT) & WX_BOTH);
}

/* The last descriptor word that was made, and of what: neighbours are mostly made of the same. */
struct desc_made {
	uint64_t home, old, delta, new;
};

/* What desc_word_now() looks at besides the home word; a GIVEN and LIVE one is a case of its own. */
static inline uint64_t made_of(const struct wal_word *delta)
{
	return delta->old & ~((uint64_t)0xffff << DELTA_FREED_SHIFT);
}

static inline int desc_word_next(struct pmpt_tx *tx, const struct wal_word *delta,
				 struct desc_made *last, struct wal_word *out)
{
	uint64_t home = word_load(region_at(tx->pool->rg, WHERE_OFF(delta->where)));
	int rc;

	if (home == last->home && delta->new == last->delta &&made_of(delta) == last->old) {
		*out = (struct wal_word){ delta->where, home, last->new };
		return 0;
	}
	rc = desc_word_now(tx, delta, out);
	if (!rc && (delta->old & (DELTA_LIVE | DELTA_GIVEN)) != (DELTA_LIVE | DELTA_GIVEN))
		*last = (struct desc_made){ out->old, made_of(delta), delta->new, out->new };
	return rc;
}

/* Deltas as absolute words, ascending: that is the order of the locks, and makes runs. */
static int list_deltas(struct pmpt_tx *tx)
{
	const struct wset *deltas = &tx->deltas;
	struct desc_made last = { 0 }; /* no delta of 0 comes to be a word without a state */
	size_t end[MERGE_RUNS + 1], n_runs = 0;
	int rc;

	tx->list_desc = tx->n_list;
	rc = vec_reserve(&tx->pool->mem, &tx->list, &tx->room_list, tx->n_list + 2 * deltas->n,
			 sizeof(*tx->list));
	for (size_t i = 0; i < deltas->n && !rc; i++) {
		const struct wal_word *w = &deltas->word[i];

		if (!w->new && !(w->old & (DELTA_GIVEN | DELTA_STATE)))
			continue;
		if (!w->new &&
		    !delta_flips(w)) { /* nothing to log, if it is still what was counted */
			struct wal_word same;

			rc = desc_word(tx, w, &same);
			continue;
		}
		if (n_runs <= MERGE_RUNS &&
		    (tx->n_list == tx->list_desc || tx->list[tx->n_list - 1].where > w->where))
			n_runs++; /* a run begins */
		rc = desc_word_next(tx, w, &last, &tx->list[tx->n_list]);
		count_word(tx, &tx->list[tx->n_list++]);
		end[n_runs - 1] = tx->n_list - tx->list_desc;
	}
	if (!rc && n_runs > MERGE_RUNS)
		return desc_sort(tx);
	if (!rc && n_runs > 1)
		desc_merge(tx, end, n_runs);
	return rc;
}

int commit_plan(struct pmpt_tx *tx, bool deltas)
{
	int rc;

	tx->n_list = 0;
	tx->list_freed = tx->list_used = 0;
	rc = list_fresh(tx);
	if (!rc)
		rc = list_words(tx, !deltas);
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
