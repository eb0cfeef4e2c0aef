/* SPDX-License-Identifier: BSD-3-Clause */
/* tx -- the plan of a transaction: what its calls change, savepoints.  It begins in slot.c, its words
 * are listed in plan.c, it ends in commit.c. */
#include "tx.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "pool.h"
#include "table.h"
#include "vec.h"

#define CONFLICT_TRIES 256 /* of a call that is a transaction of its own */
/* and where it lacks frames: now that it owns no table, pages of its own can go out */
#define EVICT_TRIES 4
#define SPILL_WORDS 16384 /* a bulk transaction's batch */
#define UNTOUCHED_WORDS \
	8 /* for each entry so many words are looked through, rather than it searched for */

/* ---- marks and savepoints -------------------------------------------------------------------- */

static struct tx_mark mark_now(const struct pmpt_tx *tx)
{
	return (struct tx_mark){ tx->words.n, tx->deltas.n, tx->n_fresh, tx->n_reserved,
				 tx->n_notes, tx->n_ranges, tx->dropped };
}

int tx_note(struct pmpt_tx *tx, enum note_kind kind, size_t index, uint64_t old)
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
	case NOTE_STATE:
		tx->deltas.word[n->index].old = n->old;
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
	if (tx->n_reserved > mark->reserved && tx->unfenced) {
		/* order: what was streamed into these frames before what their next owner puts there */
		(void)pm_fence(&tx->pm);
		tx->unfenced = false;
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

/* Does the plan still fit in the log?  Measured only when it has words enough, and the changes since the
 * last measure could have made it too large. */
static int room_check(struct pmpt_tx *tx)
{
	size_t room = commit_room(tx);
	int rc;

	if (tx->measured_lines + 2 * (tx->changes - tx->measured_changes) <= room ||
	    (!tx->bulk && tx_lines_max(tx) <= room))
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
	if (!rc && tx->bulk &&
	    tx->words.n - tx->n_waiting + tx->n_fresh * FRAME_WORDS >= SPILL_WORDS) {
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
		if (tries >= CONFLICT_TRIES ||
		    (rc != PMPT_E_CONFLICT &&
		     !(rc == PMPT_E_NO_FRAMES && tries < EVICT_TRIES && swap_make_room(pool, 1))))
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

int tx_entered(struct pmpt_tx *tx, const struct pmpt_space *space)
{
	uint16_t forking =
		atomic_load_explicit(&((struct pmpt_space *)space)->forking, memory_order_acquire);

	if (__builtin_expect(!forking || forking == tx->id, 1))
		return 0;
	atomic_fetch_add_explicit(&tx->pool->conflicts, 1, memory_order_relaxed);
	return error_set(PMPT_E_CONFLICT, "space '%s' is being forked", space->name);
}

int tx_enter(struct pmpt_tx *tx, const struct pmpt_space *space)
{
	for (unsigned i = 0; i < TX_IN; i++) {
		const struct space_record *in =
			atomic_load_explicit(&tx->in[i], memory_order_relaxed);

		if (in == space->record)
			return i ? tx_entered(tx, space) : 0;
		if (in)
			continue;
		if (i == 0) {
			atomic_store_explicit(&tx->in[0], space->record, memory_order_release);
			return 0;
		}
		(void)atomic_exchange(&tx->in[i], space->record);
		return tx_entered(tx, space);
	}
	(void)atomic_exchange(&tx->in_any, true);
	return tx_entered(tx, space);
}

bool tx_is_in(const struct pmpt_tx *tx, const struct pmpt_space *space)
{
	bool in = atomic_load_explicit(&((struct pmpt_tx *)tx)->in_any, memory_order_acquire);

	for (unsigned i = 0; i < TX_IN; i++)
		in |= atomic_load_explicit(&((struct pmpt_tx *)tx)->in[i], memory_order_acquire) ==
		      space->record;
	return in && tx_is_open(tx);
}

int tx_hold(struct pmpt_tx *tx, struct pmpt_space *space)
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
	int rc = space->snapshot ? snapshot_met(space) : tx_hold(tx, space);

	if (rc)
		return rc;
	rc = tx_enter(tx, space);
	if (rc)
		return rc;
	rc = vec_reserve(&tx->pool->mem, &tx->own_space, &tx->room_own_spaces, tx->n_own_spaces + 1,
			 sizeof(*tx->own_space));

	if (rc || !rule_on(RULE_W7_OWNER))
		return rc;
	if (atomic_load_explicit(&space->owner, memory_order_relaxed) == tx->id)
		return tx_entered(tx, space);
	if (!atomic_compare_exchange_strong_explicit(&space->owner, &none, tx->id,
						     memory_order_acquire, memory_order_relaxed)) {
		atomic_fetch_add_explicit(&tx->pool->conflicts, 1, memory_order_relaxed);
		return error_set(PMPT_E_CONFLICT,
				 "another transaction changes the user words of space '%s'",
				 space->name);
	}
	tx->own_space[tx->n_own_spaces++] = space;
	return tx_entered(tx, space);
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
	uint64_t entry = w ? w->new : word_load(region_at(tx->pool->rg, WHERE_OFF(where)));

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
		rc = tx_note(tx, NOTE_WORD, (size_t)(w - tx->words.word), w->new);
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
			rc = tx_note(tx, NOTE_SHADOW, i * FRAME_WORDS + index, f->shadow[index]);
		if (!rc)
			f->shadow[index] = value;
		tx->changes += f->zeroed; /* it may go by the log */
		return rc;
	}
	home = word_load(region_at(tx->pool->rg, WHERE_OFF(where)));
	return set_word(tx, where, home & ENTRY_P ? home & ~ENTRY_AD : home, value);
}

/* None of these entries is in the write set: looked for once, and not one by one. */
static bool entries_untouched(const struct pmpt_tx *tx, uint64_t pfn, unsigned first, unsigned n)
{
	uint64_t where = entry_where(pfn, first);
	bool touched = false;

	if (!tx->words.n || where > tx->words.max)
		return true;
	if (tx->words.n > UNTOUCHED_WORDS * (size_t)n)
		return false;
	for (size_t i = 0; i < tx->words.n; i++)
		touched |= tx->words.word[i].where - where < 8 * (uint64_t)n;
	return !touched;
}

/* An entry as it is at home, without A and D. */
static inline uint64_t entry_home(const struct pmpt_tx *tx, uint64_t pfn, unsigned index)
{
	uint64_t entry =
		word_load((const pm_word *)region_at(tx->pool->rg, pfn << FRAME_SHIFT) + index);

	return entry & ENTRY_P ? entry & ~ENTRY_AD : entry;
}

void tx_entries(const struct pmpt_tx *tx, uint64_t pfn, unsigned first, unsigned n, uint64_t *entry)
{
	const struct fresh *f = tx_fresh(tx, pfn);

	if (f)
		memcpy(entry, f->shadow + first, n * sizeof(*entry));
	else if (entries_untouched(tx, pfn, first, n))
		for (unsigned i = 0; i < n; i++)
			entry[i] = entry_home(tx, pfn, first + i);
	else
		for (unsigned i = 0; i < n; i++)
			entry[i] = tx_entry(tx, pfn, first + i);
}

static int set_untouched(struct pmpt_tx *tx, uint64_t pfn, unsigned first, unsigned n,
			 const uint64_t *value)
{
	size_t before = tx->words.n;
	int rc = wset_reserve(&tx->words, n);

	for (unsigned i = 0; i < n && !rc; i++) {
		uint64_t old = entry_home(tx, pfn, first + i);

		if (old != value[i])
			wset_push(&tx->words, entry_where(pfn, first + i), old, value[i]);
	}
	tx->changes += tx->words.n - before;
	return rc;
}

int tx_set_entries(struct pmpt_tx *tx, uint64_t pfn, unsigned first, unsigned n,
		   const uint64_t *value)
{
	struct fresh *f = tx_fresh(tx, pfn);
	int rc = 0;

	if (f && (size_t)(f - tx->fresh) >= tx->mark.fresh) { /* of this call: nothing to note */
		memcpy(f->shadow + first, value, n * sizeof(*value));
		tx->changes += f->zeroed ? n : 0;
		return 0;
	}
	if (!f && entries_untouched(tx, pfn, first, n))
		return set_untouched(tx, pfn, first, n, value);
	for (unsigned i = 0; i < n && !rc; i++)
		rc = tx_set_entry(tx, pfn, first + i, value[i]);
	return rc;
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
		tx->range[tx->n_ranges++] = (struct bulk_range){ space, va, end, space->record };
	return rc;
}

int tx_copied(struct pmpt_tx *tx, uint64_t pfn)
{
	return !tx->bulk || wset_find(&tx->originals, pfn) ? 0
							   : wset_add(&tx->originals, pfn, 0, 0);
}

void tx_free(struct pmpt_tx *tx)
{
	struct mem *mem = &tx->pool->mem;

	wset_fini(&tx->words);
	wset_fini(&tx->deltas);
	wset_fini(&tx->fresh_index);
	wset_fini(&tx->originals);
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
	frames_wait_free(&tx->pool->frames, tx->wait);
	mem_free(mem, tx, sizeof(*tx));
}
