/* SPDX-License-Identifier: BSD-3-Clause */
/* tx_frames -- what a transaction does to frames: it counts references up and down, as deltas; it
 * reserves frames, makes tables in them and drops tables. */
#include <errno.h>
#include <sched.h>

#include "error.h"
#include "pool.h"
#include "table.h"
#include "vec.h"

/* ---- references ------------------------------------------------------------------------------ */

/* May a frame of the group of pfn have a delta?  True: from now on. */
static bool counted_before(struct pmpt_tx *tx, uint64_t pfn)
{
	uint64_t bit = pfn / GROUP_FRAMES * 0x9e3779b97f4a7c15u >> (64 - TX_COUNTED_BITS),
		 mask = (uint64_t)1 << bit % 64;
	bool known = tx->counted[bit / 64] & mask;

	tx->counted[bit / 64] |= mask;
	return known;
}

/* known: it may have a delta already. */
static int count_one(struct pmpt_tx *tx, struct group *g, unsigned at, uint64_t kind, int delta,
		     bool known)
{
	uint64_t freed = frames_freed(g, at); /* before the look at the count */
	uint64_t where = region_off(tx->pool->rg, &g->desc[at]) | WHERE_DESC,
		 home = word_load(&g->desc[at]);
	struct wal_word *w = known ? wset_find(&tx->deltas, where) : NULL;
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
				(kind & ~DELTA_KEPT) | freed << DELTA_FREED_SHIFT |
					(uint64_t)desc_state(home) << DELTA_OLD_SHIFT |
					(desc_count(home) ? DELTA_LIVE : 0) |
					(delta > 0 && !(kind & DELTA_KEPT) ? DELTA_GIVEN : 0),
				(uint64_t)sum);
	if ((size_t)(w - tx->deltas.word) < tx->mark.deltas)
		rc = tx_note(tx, NOTE_DELTA, (size_t)(w - tx->deltas.word), w->new);
	if (!rc && kind & ~w->old & DELTA_ALIASED &&
	    (size_t)(w - tx->deltas.word) < tx->mark.deltas)
		rc = tx_note(tx, NOTE_STATE, (size_t)(w - tx->deltas.word), w->old);
	if (!rc) {
		w->new = (uint64_t)sum;
		w->old |= kind & DELTA_ALIASED;
	}
	return rc;
}

/* The same for n frames from `at` on that have no delta yet. */
static int count_new(struct pmpt_tx *tx, struct group *g, unsigned at, unsigned n, uint64_t kind,
		     int delta)
{
	uint64_t where = region_off(tx->pool->rg, &g->desc[at]) | WHERE_DESC,
		 old = (kind & ~DELTA_KEPT) | (delta > 0 && !(kind & DELTA_KEPT) ? DELTA_GIVEN : 0);
	int rc = wset_reserve(&tx->deltas, n);

	for (unsigned i = 0; i < n && !rc; i++, where += sizeof(pm_word)) {
		uint64_t freed = frames_freed(g, at + i); /* before the look at the count */
		uint64_t home = word_load(&g->desc[at + i]), count = desc_count(home);

		if (count + (uint64_t)(int64_t)delta > UINT32_MAX)
			return count_one(tx, g, at + i, kind, delta,
					 false); /* says what is wrong */
		wset_push(&tx->deltas, where,
			  old | freed << DELTA_FREED_SHIFT |
				  (uint64_t)desc_state(home) << DELTA_OLD_SHIFT |
				  (count ? DELTA_LIVE : 0),
			  (uint64_t)(int64_t)delta);
	}
	tx->changes += n;
	return rc;
}

int tx_count(struct pmpt_tx *tx, uint64_t pfn, uint64_t n, uint64_t kind, int delta)
{
	int rc = 0;

	while (n && !rc) {
		struct group *g = frames_group(&tx->pool->frames, pfn);
		unsigned at = (unsigned)(pfn % GROUP_FRAMES), run = GROUP_FRAMES - at;
		bool known;

		run = run < n ? run : (unsigned)n;
		if (!g || at + run > g->n_frames)
			return frames_desc_none(&tx->pool->frames, pfn);
		known = counted_before(tx, pfn);
		if (!known)
			rc = count_new(tx, g, at, run, kind, delta);
		for (unsigned i = 0; known && i < run && !rc; i++)
			rc = count_one(tx, g, at + i, kind, delta, true);
		pfn += run;
		n -= run;
	}
	return rc;
}

int tx_count_fresh(struct pmpt_tx *tx, uint64_t pfn, uint64_t n)
{
	int rc = wset_reserve(&tx->deltas, n);

	while (n && !rc) {
		struct group *g = frames_group(&tx->pool->frames, pfn);
		unsigned at = (unsigned)(pfn % GROUP_FRAMES), run = GROUP_FRAMES - at;
		uint64_t where = region_off(tx->pool->rg, &g->desc[at]) | WHERE_DESC;

		run = run < n ? run : (unsigned)n;
		(void)counted_before(tx, pfn);
		for (unsigned i = 0; i < run; i += LINE_BYTES / sizeof(pm_word))
			__builtin_prefetch((const void *)&g->desc[at + i],
					   1); /* the commit loads it */
		for (unsigned i = 0; i < run; i++, where += sizeof(pm_word))
			wset_push(&tx->deltas, where,
				  DESC_DATA | frames_freed(g, at + i) << DELTA_FREED_SHIFT |
					  DELTA_GIVEN,
				  1);
		tx->changes += run;
		pfn += run;
		n -= run;
	}
	return rc;
}

int tx_state(struct pmpt_tx *tx, uint64_t pfn, enum desc_kind kind, uint64_t refs, unsigned state)
{
	struct group *g = frames_group(&tx->pool->frames, pfn);
	unsigned at = (unsigned)(pfn % GROUP_FRAMES);
	uint64_t where, home, set;
	struct wal_word *w;
	int rc = 0;

	if (!g || at >= g->n_frames)
		return frames_desc_none(&tx->pool->frames, pfn);
	where = region_off(tx->pool->rg, &g->desc[at]) | WHERE_DESC;
	home = word_load(&g->desc[at]);
	w = tx->deltas.n ? wset_find(&tx->deltas, where) : NULL;
	refs -= w ? w->new : 0; /* at home */
	if (refs > DELTA_COUNT_MAX)
		return error_set(PMPT_E_COUNT, "frame %#lx has count %lu, too many for a state",
				 pfn, desc_count(home));
	set = DELTA_STATE | refs << DELTA_COUNT_SHIFT | (uint64_t)state << DELTA_NEW_SHIFT;
	tx->changes++;
	(void)counted_before(tx, pfn);
	if (!w)
		return wset_add(&tx->deltas, where,
				set | kind | frames_freed(g, at) << DELTA_FREED_SHIFT |
					(desc_count(home) ? DELTA_LIVE : 0) |
					(uint64_t)desc_state(home) << DELTA_OLD_SHIFT,
				0);
	if ((size_t)(w - tx->deltas.word) < tx->mark.deltas)
		rc = tx_note(tx, NOTE_STATE, (size_t)(w - tx->deltas.word), w->old);
	if (rc)
		return rc;
	if (w->old & DELTA_STATE) /* by the count that it had then */
		w->old = (w->old & ~((uint64_t)WX_BOTH << DELTA_NEW_SHIFT)) |
			 (uint64_t)state << DELTA_NEW_SHIFT;
	else
		w->old |= set;
	return 0;
}

int tx_room(struct pmpt_tx *tx, uint64_t n_pages)
{
	int rc = wset_reserve(&tx->words, n_pages);

	return rc ? rc : wset_reserve(&tx->deltas, 2 * n_pages);
}

void tx_slot_generation(struct pmpt_tx *tx, uint64_t slot, uint32_t generation)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, slot);
	struct wal_word *w = wset_find(&tx->deltas, region_off(tx->pool->rg, desc) | WHERE_DESC);

	w->old |= (uint64_t)generation << DELTA_GEN_SHIFT;
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

/* There are none by other means: what readers hold, in their views, is had by making those stale. */
static int take_from_views(struct pmpt_tx *tx, uint64_t n, uint64_t align, uint64_t *pfn)
{
	struct pmpt_pool *pool = tx->pool;
	int rc = PMPT_E_NO_FRAMES;

	while (rc == PMPT_E_NO_FRAMES && frames_views_expire(&pool->frames, n, align)) {
		rc = frames_reclaim(&pool->frames, true);
		if (!rc)
			rc = tx_frames_try(tx, n, align, pfn);
		if (rc == PMPT_E_NO_FRAMES && swap_make_room(pool, n)) /* it may be slots */
			rc = tx_frames_try(tx, n, align, pfn);
	}
	return rc;
}

/* No free frame even when nothing waits: grow; or take what others can do without. */
static int take_hard(struct pmpt_tx *tx, uint64_t n, uint64_t align, uint64_t *pfn)
{
	struct pmpt_pool *pool = tx->pool;
	bool grow = n <= extent_run_max() && !(pool->flags & PMPT_OPEN_NO_GROW);
	int rc = PMPT_E_NO_FRAMES, taken = PMPT_E_NO_FRAMES;

	if (!grow)
		(void)error_set(rc, "no %lu contiguous free frames", n);
	while (rc == PMPT_E_NO_FRAMES && grow) {
		rc = pool_grow(pool);
		if (rc)
			break;
		rc = tx_frames_try(tx, n, align, pfn);
	}
	if (rc != PMPT_E_NO_FRAMES && rc != -ENOSPC)
		return rc;
	if (swap_make_room(pool, n))
		taken = tx_frames_try(tx, n, align, pfn);
	if (taken == PMPT_E_NO_FRAMES)
		taken = take_from_views(tx, n, align, pfn);
	return taken == PMPT_E_NO_FRAMES ? rc : taken;
}

int tx_frames_take(struct pmpt_tx *tx, uint64_t n, uint64_t align, uint64_t *pfn)
{
	int rc = tx_frames_try(tx, n, align, pfn);

	if (rc == PMPT_E_NO_FRAMES) { /* frames may be waiting [F2] */
		rc = frames_reclaim(&tx->pool->frames, true);
		if (!rc)
			rc = tx_frames_try(tx, n, align, pfn);
	}
	return rc == PMPT_E_NO_FRAMES ? take_hard(tx, n, align, pfn) : rc;
}

int tx_frames_some(struct pmpt_tx *tx, uint64_t n, uint64_t *pfn, uint64_t *got)
{
	struct pmpt_pool *pool = tx->pool;
	int rc = vec_reserve(&pool->mem, &tx->reserved, &tx->room_reserved, tx->n_reserved + 1,
			     sizeof(*tx->reserved));

	if (!rc)
		rc = frames_take_some(&pool->frames, tx->id, n, pfn, got);
	if (!rc)
		tx->reserved[tx->n_reserved++] = (struct frame_run){ *pfn, *got };
	if (rc != PMPT_E_NO_FRAMES)
		return rc;
	*got = 1;
	return tx_frames_take(tx, 1, 1, pfn);
}

/* In the run with this index or a later one. */
static bool reserved_from(const struct pmpt_tx *tx, size_t from, uint64_t pfn)
{
	for (size_t i = tx->n_reserved; i-- > from;) {
		if (pfn - tx->reserved[i].pfn < tx->reserved[i].n)
			return true;
	}
	return false;
}

bool tx_reserved(const struct pmpt_tx *tx, uint64_t pfn) { return reserved_from(tx, 0, pfn); }

bool tx_private(const struct pmpt_tx *tx, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, pfn);
	const struct wal_word *delta;
	size_t since = 0;

	if (!tx->n_reserved || !desc || desc_count(word_load(desc)))
		return false;
	delta = wset_find(&tx->deltas, region_off(tx->pool->rg, desc) | WHERE_DESC);
	if (!delta || delta->new != 1 || delta_kind(delta) != DESC_DATA)
		return false;
	if (tx->n_savepoints)
		since = tx->savepoint[tx->n_savepoints - 1].mark.reserved;
	return reserved_from(tx, since, pfn);
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

/* Own a frame that is reserved.  Who owns it still is about to let go: he has freed it and not quite ended,
 * or he looked for the table that it was. */
static int own_reserved(struct pmpt_tx *tx, uint64_t pfn)
{
	bool taken;
	int rc;

	while ((rc = frames_own(&tx->pool->frames, pfn, tx->id, &taken)) == PMPT_E_CONFLICT)
		sched_yield();
	return rc;
}

int tx_fresh_table(struct pmpt_tx *tx, bool full, uint64_t *pfn)
{
	struct pmpt_pool *pool = tx->pool;
	struct fresh f = { 0 };
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
	rc = f.shadow ? own_reserved(tx, f.pfn) : error_set(-ENOMEM, "no memory for a fresh table");
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
	rc = tx_note(tx, NOTE_DEAD, (size_t)(f - tx->fresh), 0);
	if (!rc)
		f->dead = true;
	return rc;
}

/* ---- frames that a caller asks for ---------------------------------------------------------------------------------- */

struct frame_args {
	uint64_t n, align;
	uint64_t *pfn;
};

static int frame_call(struct pmpt_tx *tx, const void *args)
{
	const struct frame_args *a = args;

	return tx_frames_take(tx, a->n, a->align, a->pfn);
}

int pmpt_frame_alloc(pmpt_tx *tx, uint64_t n_frames, uint64_t align_frames, uint64_t *pfn)
{
	struct frame_args a = { n_frames, align_frames, pfn };

	if (!tx || n_frames == 0 || (align_frames != 1 && align_frames != GROUP_FRAMES))
		return error_set(
			-EINVAL,
			"an open transaction, at least one frame, alignment 1 or %u are expected",
			GROUP_FRAMES);
	if (n_frames > tx->pool->rg->bytes >> FRAME_SHIFT)
		return error_set(PMPT_E_NO_FRAMES, "%lu frames are more than the pool has",
				 n_frames);
	return tx_run(tx->pool, tx, frame_call, &a);
}

/* A frame of the pool that may hold data. */
static bool frame_usable(const pmpt_pool *pool, uint64_t pfn)
{
	const pm_word *desc = frames_desc((struct frames *)&pool->frames, pfn);

	return desc && desc_kind(word_load(desc)) != DESC_RESERVED;
}

int pmpt_frame_info(pmpt_pool *pool, uint64_t pfn, struct pmpt_frame_info *info)
{
	static const enum pmpt_frame_kind kind[DESC_KINDS] = {
		[DESC_TABLE] = PMPT_FRAME_TABLE,
		[DESC_DATA] = PMPT_FRAME_DATA,
		[DESC_RESERVED] = PMPT_FRAME_RESERVED,
	};
	const pm_word *desc;
	unsigned state;
	uint64_t d;
	int rc = pool_ours(pool);

	if (rc)
		return rc;
	desc = pfn < SLOT_FIRST ? frames_desc(&pool->frames, pfn) : NULL;
	if (!desc)
		return frames_desc_none(&pool->frames, pfn);
	d = word_load(desc);
	state = desc_count(d) ? desc_state(d) : 0;
	*info = (struct pmpt_frame_info){
		.kind = desc_count(d) ? kind[desc_kind(d)] : PMPT_FRAME_FREE,
		.count = (uint32_t)desc_count(d),
		.wx = (state & WX_W ? PMPT_W : 0u) | (state & WX_X ? PMPT_X : 0u),
		.aliased = desc_count(d) && d & DESC_ALIASED,
	};
	if (!frame_usable(pool, pfn)) /* descriptors of an extent's own frames are not kept */
		*info = (struct pmpt_frame_info){ .kind = PMPT_FRAME_RESERVED };
	return 0;
}

void *pmpt_frame_ptr(const pmpt_pool *pool, uint64_t pfn)
{
	if (forked(pool) || !frame_usable(pool, pfn))
		return NULL;
	return region_at(pool->rg, pfn << FRAME_SHIFT);
}

uint64_t pmpt_frame_of(const pmpt_pool *pool, const void *ptr)
{
	uint64_t pfn = region_off(pool->rg, ptr) >> FRAME_SHIFT;

	return !forked(pool) && frame_usable(pool, pfn) ? pfn : PMPT_PFN_ALLOC;
}
