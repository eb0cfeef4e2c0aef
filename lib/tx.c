/* SPDX-License-Identifier: BSD-3-Clause */
/* tx -- the plan of a transaction: what its calls change, savepoints.  It begins in slot.c, its words
 * are listed in plan.c, it ends in commit.c. */
#include "tx.h"

#include <sched.h>

#include "error.h"
#include "pool.h"
#include "vec.h"

#define CONFLICT_TRIES 256   /* of a call that is a transaction of its own */
#define SPILL_WORDS    16384 /* a bulk transaction's batch */

/* ---- marks and savepoints -------------------------------------------------------------------- */

static struct tx_mark mark_now(const struct pmpt_tx *tx)
{
	return (struct tx_mark){ tx->words.n, tx->deltas.n, tx->n_fresh, tx->n_reserved,
				 tx->n_notes, tx->n_ranges, tx->dropped };
}

static int note(struct pmpt_tx *tx, enum note_kind kind, size_t index, uint64_t old)
{
	int rc = vec_reserve(&tx->pool->mem, &tx->note, &tx->room_notes, tx->n_notes + 1,
			     sizeof(*tx->note));

	if (!rc)
		tx->note[tx->n_notes++] = (struct note){ kind, index, old };
	return rc;
}

static void note_undo(struct pmpt_tx *tx, const struct note *n)
{
	switch (n->kind) {
	case NOTE_WORD:
		tx->words.word[n->index].new = n->old;
		break;
	case NOTE_DELTA:
		tx->deltas.word[n->index].new = n->old;
		break;
	case NOTE_SHADOW:
		tx->fresh[n->index / FRAME_WORDS].shadow[n->index % FRAME_WORDS] = n->old;
		break;
	case NOTE_DEAD:
		tx->fresh[n->index].dead = false;
		break;
	}
}

/* Roll back to a mark.  Tables owned since stay owned: that does no harm. */
static void rollback(struct pmpt_tx *tx, const struct tx_mark *mark)
{
	while (tx->n_notes > mark->notes)
		note_undo(tx, &tx->note[--tx->n_notes]);
	wset_truncate(&tx->words, mark->words);
	wset_truncate(&tx->deltas, mark->deltas);
	wset_truncate(&tx->fresh_index, mark->fresh);
	while (tx->n_fresh > mark->fresh) {
		tx->n_fresh--;
		frames_disown(&tx->pool->frames, tx->fresh[tx->n_fresh].pfn);
		mem_free(&tx->pool->mem, tx->fresh[tx->n_fresh].shadow, FRAME_BYTES);
	}
	while (tx->n_reserved > mark->reserved) {
		tx->n_reserved--;
		frames_give(&tx->pool->frames, tx->reserved[tx->n_reserved].pfn,
			    tx->reserved[tx->n_reserved].n);
	}
	tx->n_ranges = mark->ranges;
	tx->dropped = mark->dropped;
	tx->changes++;
}

int pmpt_savepoint(pmpt_tx *tx, uint64_t *savepoint)
{
	int rc = tx_check(tx);

	if (!rc && tx->bulk)
		rc = error_set(-EINVAL, "a bulk transaction has no savepoints");
	if (!rc)
		rc = vec_reserve(&tx->pool->mem, &tx->savepoint, &tx->room_savepoints,
				 tx->n_savepoints + 1, sizeof(*tx->savepoint));
	if (rc)
		return rc;
	*savepoint = ++tx->serial;
	tx->savepoint[tx->n_savepoints++] = (struct savepoint){ *savepoint, mark_now(tx) };
	return 0;
}

int pmpt_rollback_to(pmpt_tx *tx, uint64_t savepoint)
{
	int rc = tx_check(tx);

	if (rc)
		return rc;
	for (size_t i = tx->n_savepoints; i-- > 0;) {
		if (tx->savepoint[i].serial != savepoint)
			continue;
		tx->n_savepoints = i + 1; /* the savepoint itself lives on */
		rollback(tx, &tx->savepoint[i].mark);
		return 0;
	}
	return error_set(-EINVAL, "savepoint %lu is dead or of another transaction", savepoint);
}

/* ---- one call -------------------------------------------------------------------------------- */

/* Does the plan still fit in the log?  Measured only when the changes since the last measure could
 * have made it too large. */
static int room_check(struct pmpt_tx *tx)
{
	size_t room = commit_room(tx);
	int rc;

	if (tx->measured_lines + 2 * (tx->changes - tx->measured_changes) <= room)
		return 0;
	rc = commit_plan(tx, true);
	if (rc)
		return rc;
	tx->measured_changes = tx->changes;
	tx->measured_lines = wal_lines(tx->list, tx->n_list);
	if (tx->measured_lines > room)
		return error_set(PMPT_E_TX_TOO_LARGE,
				 "the transaction needs %lu log lines, the log has room for %zu",
				 tx->measured_lines, room);
	return 0;
}

static int call(struct pmpt_tx *tx, tx_fn *fn, const void *args)
{
	int rc;

	if (tx->marked || tx->words.n || tx_planned(tx)) { /* else it is all zero */
		tx->mark = mark_now(tx);
		tx->marked = true;
	}
	rc = fn(tx, args);
	if (!rc)
		rc = room_check(tx);
	if (rc)
		rollback(tx, &tx->mark);
	if (!rc && tx->bulk && tx->words.n + tx->n_fresh * FRAME_WORDS >= SPILL_WORDS) {
		rc = bulk_spill(tx);
		if (rc)
			/* nothing went home: the batch is the last thing that can fail */
			rollback(tx, &tx->mark);
	}
	return rc;
}

int tx_run(struct pmpt_pool *pool, struct pmpt_tx *tx, tx_fn *fn, const void *args)
{
	int rc;

	if (tx) {
		rc = tx_check(tx);
		if (!rc && tx->pool != pool)
			rc = error_set(-EINVAL, "the space and the transaction are of two pools");
		return rc ? rc : call(tx, fn, args);
	}
	for (int tries = 0;; tries++) {
		rc = pmpt_begin(pool, 0, &tx);
		if (rc)
			return rc;
		rc = call(tx, fn, args);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		if (rc && tx_is_open(tx))
			(void)pmpt_abort(tx);
		if (rc != PMPT_E_CONFLICT || tries >= CONFLICT_TRIES)
			return rc;
		sched_yield();
	}
}

/* ---- what a call changes --------------------------------------------------------------------- */

int tx_own(struct pmpt_tx *tx, uint64_t pfn)
{
	bool taken;
	int rc = vec_reserve(&tx->pool->mem, &tx->own, &tx->room_own, tx->n_own + 1,
			     sizeof(*tx->own));

	if (!rule_on(RULE_W7_OWNER))
		return rc;
	if (!rc)
		rc = frames_own(&tx->pool->frames, pfn, tx->id, &taken);
	if (rc == PMPT_E_CONFLICT) {
		atomic_fetch_add_explicit(&tx->pool->conflicts, 1, memory_order_relaxed);
		return error_set(rc, "another transaction owns the table in frame %#lx", pfn);
	}
	if (rc == PMPT_E_FRAME)
		return error_set(PMPT_E_CORRUPT,
				 "frame %#lx is linked as a table and is not the pool's", pfn);
	if (!rc && taken)
		tx->own[tx->n_own++] = pfn;
	return rc;
}

/* The handle lives at least as long as the transaction, whatever its user closes. */
static int tx_hold(struct pmpt_tx *tx, struct pmpt_space *space)
{
	int rc;

	for (size_t i = 0; i < tx->n_held; i++) {
		if (tx->held[i] == space)
			return 0;
	}
	rc = vec_reserve(&tx->pool->mem, &tx->held, &tx->room_held, tx->n_held + 1,
			 sizeof(*tx->held));
	if (!rc) {
		space_hold(space);
		tx->held[tx->n_held++] = space;
	}
	return rc;
}

int tx_cut(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned level)
{
	int rc = tx->bulk ? 0 : tx_hold(tx, space);

	if (rc || tx->bulk) /* a bulk transaction stops the whole cache of its spaces */
		return rc;
	rc = vec_reserve(&tx->pool->mem, &tx->cut, &tx->room_cuts, tx->n_cuts + 1,
			 sizeof(*tx->cut));
	if (!rc)
		tx->cut[tx->n_cuts++] = (struct tx_cut){ space, va, level };
	return rc;
}

int tx_own_space(struct pmpt_tx *tx, struct pmpt_space *space)
{
	uint16_t none = 0;
	int rc = tx_hold(tx, space);

	if (rc)
		return rc;
	rc = vec_reserve(&tx->pool->mem, &tx->own_space, &tx->room_own_spaces, tx->n_own_spaces + 1,
			 sizeof(*tx->own_space));

	if (rc || !rule_on(RULE_W7_OWNER) ||
	    atomic_load_explicit(&space->owner, memory_order_relaxed) == tx->id)
		return rc;
	if (!atomic_compare_exchange_strong_explicit(&space->owner, &none, tx->id,
						     memory_order_acquire, memory_order_relaxed)) {
		atomic_fetch_add_explicit(&tx->pool->conflicts, 1, memory_order_relaxed);
		return error_set(PMPT_E_CONFLICT,
				 "another transaction changes the user words of space '%s'",
				 space->name);
	}
	tx->own_space[tx->n_own_spaces++] = space;
	return 0;
}

struct fresh *tx_fresh(const struct pmpt_tx *tx, uint64_t pfn)
{
	const struct wal_word *w = tx->n_fresh ? wset_find(&tx->fresh_index, pfn) : NULL;

	return w ? &tx->fresh[w->new] : NULL;
}

static uint64_t entry_where(uint64_t pfn, unsigned index)
{
	return pfn << FRAME_SHIFT | (uint64_t)index << 3 | WHERE_ENTRY;
}

uint64_t tx_entry(const struct pmpt_tx *tx, uint64_t pfn, unsigned index)
{
	const struct fresh *f = tx_fresh(tx, pfn);
	const struct wal_word *w;
	uint64_t where = entry_where(pfn, index);

	if (f)
		return f->shadow[index];
	w = tx->words.n ? wset_find(&tx->words, where) : NULL;
	if (w)
		return w->new;
	uint64_t entry = word_load(region_at(tx->pool->rg, WHERE_OFF(where)));

	return entry & ENTRY_P ? entry & ~ENTRY_AD : entry;
}

/* Set a word in the write set; `home` is what it holds now. */
static int set_word(struct pmpt_tx *tx, uint64_t where, uint64_t home, uint64_t value)
{
	struct wal_word *w = tx->words.n ? wset_find(&tx->words, where) : NULL;
	int rc = 0;

	tx->changes++;
	if (!w)
		return wset_add(&tx->words, where, home, value);
	if ((size_t)(w - tx->words.word) < tx->mark.words)
		rc = note(tx, NOTE_WORD, (size_t)(w - tx->words.word), w->new);
	if (!rc)
		w->new = value;
	return rc;
}

int tx_set_entry(struct pmpt_tx *tx, uint64_t pfn, unsigned index, uint64_t value)
{
	struct fresh *f = tx_fresh(tx, pfn);
	size_t i = f ? (size_t)(f - tx->fresh) : 0;
	uint64_t where = entry_where(pfn, index), home;
	int rc = 0;

	if (f) {
		if (i < tx->mark.fresh)
			rc = note(tx, NOTE_SHADOW, i * FRAME_WORDS + index, f->shadow[index]);
		if (!rc)
			f->shadow[index] = value;
		tx->changes += f->zeroed; /* it may go by the log */
		return rc;
	}
	home = word_load(region_at(tx->pool->rg, WHERE_OFF(where)));
	return set_word(tx, where, home & ENTRY_P ? home & ~ENTRY_AD : home, value);
}

uint64_t tx_word(const struct pmpt_tx *tx, uint64_t where)
{
	const struct wal_word *w = tx->words.n ? wset_find(&tx->words, where) : NULL;

	return w ? w->new : word_load(region_at(tx->pool->rg, WHERE_OFF(where)));
}

int tx_set_word(struct pmpt_tx *tx, uint64_t where, uint64_t value)
{
	return set_word(tx, where, word_load(region_at(tx->pool->rg, WHERE_OFF(where))), value);
}

static int count_one(struct pmpt_tx *tx, struct group *g, unsigned at, enum desc_kind kind,
		     int delta)
{
	uint64_t freed = frames_freed(g, at); /* before the look at the count */
	uint64_t where = region_off(tx->pool->rg, &g->desc[at]) | WHERE_DESC,
		 home = word_load(&g->desc[at]);
	struct wal_word *w = tx->deltas.n ? wset_find(&tx->deltas, where) : NULL;
	int64_t sum = delta + (w ? (int64_t)w->new : 0), count = (int64_t)desc_count(home) + sum;
	int rc = 0;

	if (count > UINT32_MAX)
		return error_set(
			PMPT_E_COUNT,
			"the count of the frame with the descriptor at offset %#lx would overflow",
			WHERE_OFF(where));
	if (count < 0)
		return error_set(PMPT_E_CORRUPT,
				 "descriptor at offset %#lx counts %lu, expected more",
				 WHERE_OFF(where), desc_count(home));
	tx->changes++;
	if (!w)
		return wset_add(&tx->deltas, where,
				(uint64_t)kind | freed << DELTA_FREED_SHIFT |
					(desc_count(home) ? DELTA_LIVE : 0) |
					(delta > 0 ? DELTA_GIVEN : 0),
				(uint64_t)sum);
	if ((size_t)(w - tx->deltas.word) < tx->mark.deltas)
		rc = note(tx, NOTE_DELTA, (size_t)(w - tx->deltas.word), w->new);
	if (!rc)
		w->new = (uint64_t)sum;
	return rc;
}

int tx_count(struct pmpt_tx *tx, uint64_t pfn, uint64_t n, enum desc_kind kind, int delta)
{
	struct group *g = NULL;
	int rc = 0;

	for (uint64_t end = pfn + n; pfn < end && !rc; pfn++) {
		unsigned at = (unsigned)(pfn % GROUP_FRAMES);

		if (!g || !at)
			g = frames_group(&tx->pool->frames, pfn);
		rc = g && at < g->n_frames ? count_one(tx, g, at, kind, delta)
					   : frames_desc_none(&tx->pool->frames, pfn);
	}
	return rc;
}

/* ---- frames ---------------------------------------------------------------------------------- */

int tx_frames_try(struct pmpt_tx *tx, uint64_t n, uint64_t align, uint64_t *pfn)
{
	struct pmpt_pool *pool = tx->pool;
	int rc = vec_reserve(&pool->mem, &tx->reserved, &tx->room_reserved, tx->n_reserved + 1,
			     sizeof(*tx->reserved));

	if (!rc)
		rc = frames_take(&pool->frames, tx->id, n, align, pfn);
	if (!rc)
		tx->reserved[tx->n_reserved++] = (struct frame_run){ *pfn, n };
	return rc;
}

int tx_frames_take(struct pmpt_tx *tx, uint64_t n, uint64_t align, uint64_t *pfn)
{
	struct pmpt_pool *pool = tx->pool;
	int rc = tx_frames_try(tx, n, align, pfn);

	if (rc == PMPT_E_NO_FRAMES) { /* frames may be waiting [F2] */
		rc = frames_reclaim(&pool->frames, true);
		if (!rc)
			rc = tx_frames_try(tx, n, align, pfn);
	}
	while (rc == PMPT_E_NO_FRAMES && n <= extent_run_max() &&
	       !(pool->flags & PMPT_OPEN_NO_GROW)) {
		rc = pool_grow(pool);
		if (rc)
			return rc;
		rc = tx_frames_try(tx, n, align, pfn);
	}
	return rc == PMPT_E_NO_FRAMES ? error_set(rc, "no %lu contiguous free frames", n) : rc;
}

bool tx_reserved(const struct pmpt_tx *tx, uint64_t pfn)
{
	for (size_t i = tx->n_reserved; i-- > 0;) {
		if (pfn - tx->reserved[i].pfn < tx->reserved[i].n)
			return true;
	}
	return false;
}

int pmpt_flush(pmpt_tx *tx, const void *ptr, size_t len_bytes)
{
	int rc = tx_check(tx);

	if (rc)
		return rc;
	if (!region_has(tx->pool->rg, region_off(tx->pool->rg, ptr), len_bytes))
		return error_set(PMPT_E_FRAME, "flush of memory outside the pool");
	if (len_bytes) {
		pm_flush(&tx->pm, ptr, len_bytes);
		tx->unfenced = true;
	}
	return 0;
}

int tx_fresh_table(struct pmpt_tx *tx, bool full, uint64_t *pfn)
{
	struct pmpt_pool *pool = tx->pool;
	struct fresh f = { 0 };
	bool taken;
	int rc = vec_reserve(&pool->mem, &tx->fresh, &tx->room_fresh, tx->n_fresh + 1,
			     sizeof(*tx->fresh));

	if (!rc)
		rc = vec_reserve(&pool->mem, &tx->reserved, &tx->room_reserved, tx->n_reserved + 1,
				 sizeof(*tx->reserved));
	if (rc)
		return rc;
	if (!full && !tx->bulk && frames_take_zeroed(&pool->frames, &f.pfn)) {
		f.zeroed = true;
		tx->reserved[tx->n_reserved++] = (struct frame_run){ f.pfn, 1 };
	} else {
		rc = tx_frames_take(tx, 1, 1, &f.pfn);
	}
	if (!rc)
		rc = tx_count(tx, f.pfn, 1, DESC_TABLE, 1);
	if (!rc)
		rc = wset_add(&tx->fresh_index, f.pfn, 0, tx->n_fresh);
	if (rc)
		return rc;
	f.shadow = mem_zalloc(&pool->mem, FRAME_BYTES);
	rc = f.shadow ? frames_own(&pool->frames, f.pfn, tx->id, &taken)
		      : error_set(-ENOMEM, "no memory for a fresh table");
	if (rc) {
		wset_truncate(&tx->fresh_index, tx->n_fresh);
		mem_free(&pool->mem, f.shadow, FRAME_BYTES);
		return rc;
	}
	tx->fresh[tx->n_fresh++] = f;
	*pfn = f.pfn;
	return 0;
}

int tx_drop_table(struct pmpt_tx *tx, uint64_t pfn)
{
	struct fresh *f = tx_fresh(tx, pfn);
	int rc = tx_count(tx, pfn, 1, DESC_TABLE, -1);

	if (rc)
		return rc;
	tx->dropped++;
	if (!f)
		return 0;
	rc = note(tx, NOTE_DEAD, (size_t)(f - tx->fresh), 0);
	if (!rc)
		f->dead = true;
	return rc;
}

int tx_range(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t end)
{
	struct bulk_range *last = tx->n_ranges ? &tx->range[tx->n_ranges - 1] : NULL;
	int rc;

	if (!tx->bulk)
		return 0;
	rc = tx_hold(tx, space);
	if (rc)
		return rc;
	if (last && tx->n_ranges > tx->mark.ranges && last->space == space && last->end == va) {
		last->end = end;
		return 0;
	}
	rc = vec_reserve(&tx->pool->mem, &tx->range, &tx->room_ranges, tx->n_ranges + 1,
			 sizeof(*tx->range));
	if (!rc)
		tx->range[tx->n_ranges++] = (struct bulk_range){ space, va, end };
	return rc;
}

void tx_free(struct pmpt_tx *tx)
{
	struct mem *mem = &tx->pool->mem;

	wset_fini(&tx->words);
	wset_fini(&tx->deltas);
	wset_fini(&tx->fresh_index);
	mem_free(mem, tx->fresh, tx->room_fresh * sizeof(*tx->fresh));
	mem_free(mem, tx->reserved, tx->room_reserved * sizeof(*tx->reserved));
	mem_free(mem, tx->note, tx->room_notes * sizeof(*tx->note));
	mem_free(mem, tx->savepoint, tx->room_savepoints * sizeof(*tx->savepoint));
	mem_free(mem, tx->own, tx->room_own * sizeof(*tx->own));
	mem_free(mem, tx->own_space, tx->room_own_spaces * sizeof(*tx->own_space));
	mem_free(mem, tx->cut, tx->room_cuts * sizeof(*tx->cut));
	mem_free(mem, tx->held, tx->room_held * sizeof(*tx->held));
	mem_free(mem, tx->range, tx->room_ranges * sizeof(*tx->range));
	mem_free(mem, tx->list, tx->room_list * sizeof(*tx->list));
	mem_free(mem, tx, sizeof(*tx));
}
