/* SPDX-License-Identifier: BSD-3-Clause */
/* commit -- from a plan to log lines, and the end of a transaction.
 *
 * ORDER (redo)	S1 fresh tables that are not worth log words, and the caller's flushes -> F1 [F1]
 *		-> lane with room [W9] -> descriptor locks, ascending -> deltas to absolute words
 *		[W3, F5] -> wal_commit (commit point) -> unlock descriptors -> freed frames wait
 *		[F2] -> unlock tables [W7]
 * ORDER (bulk)	spill: fresh tables -> F1 -> readers are told, grace period -> bulk_batch, but for what
 *		unshares tables (plan.c).
 *		commit: the same with LAST and the counts; unlock after bulk_commit [W8]
 * What can fail comes before the lane; behind the descriptor locks only the medium can fail.
 */

#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "rcu.h"
#include "tx.h"
#include "vec.h"
#include "view.h"

/* ---- fresh tables and the caller's frames ---------------------------------------------------- */

/* F1: what the lines are going to link is durable before they are streamed. */
static int fresh_stream(struct pmpt_tx *tx)
{
	for (size_t i = 0; i < tx->n_fresh; i++) {
		struct fresh *f = &tx->fresh[i];

		if (f->dead || fresh_logged(tx, f))
			continue;
		/* also where this commit fails, and the table is small by the next */
		f->zeroed = false;
		pm_stream(&tx->pm, region_at(tx->pool->rg, f->pfn << FRAME_SHIFT), f->shadow,
			  FRAME_BYTES / LINE_BYTES);
		tx->unfenced = true;
	}
	if (!tx->unfenced || !rule_on(RULE_F1_CONTENT))
		return 0;
	tx->unfenced = false;
	return pm_fence(&tx->pm); /* F1 durability: contents before the links to them [F1] */
}

/* ---- descriptor locks ------------------------------------------------------------------------ */

/* The group of the list's ith word, a descriptor.  next: out, the first word behind it of another one. */
static struct group *group_of_desc(struct pmpt_tx *tx, size_t i, size_t *next)
{
	struct frames *fr = &tx->pool->frames;
	/* in memory since the delta was counted */
	struct group *g = frames_group(fr, frames_pfn_of_desc(fr, tx->list[i].where));
	uint64_t end = region_off(tx->pool->rg, g->desc) + GROUP_FRAMES * sizeof(pm_word);

	if (WHERE_OFF(tx->list[tx->n_list - 1].where) < end)
		i = tx->n_list;
	while (i < tx->n_list && WHERE_OFF(tx->list[i].where) < end)
		i++;
	*next = i;
	return g;
}

static void descs_lock(struct pmpt_tx *tx)
{
	for (size_t i = tx->list_desc; i < tx->n_list;)
		group_lock(group_of_desc(tx, i, &i));
}

static void descs_unlock(struct pmpt_tx *tx)
{
	for (size_t i = tx->list_desc; i < tx->n_list;)
		group_unlock(group_of_desc(tx, i, &i));
}

/* Under the locks: what the deltas make of the counts as they are now [W3].  *moved: out, some are not as
 * the list had them. */
static int descs_absolute(struct pmpt_tx *tx, bool *moved)
{
	int rc = 0;

	*moved = false;

	for (size_t i = tx->list_desc; i < tx->n_list && rule_on(RULE_W3_ABSOLUTE) && !rc; i++) {
		struct wal_word *w = &tx->list[i];

		if (word_load(region_at(tx->pool->rg, WHERE_OFF(w->where))) == w->old)
			continue;
		*moved = true;
		rc = desc_word(tx, wset_find(&tx->deltas, w->where), w);
	}
	if (*moved)
		list_count(tx);
	return rc;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void forget_fresh(struct pmpt_tx *tx)
{
	for (size_t i = 0; i < tx->n_fresh; i++)
		mem_free(&tx->pool->mem, tx->fresh[i].shadow, FRAME_BYTES);
	tx->n_fresh = 0;
	tx->n_notes = 0;
	wset_clear(&tx->fresh_index);
}

/* Who forks a space in which it planned need not wait for it any more. */
static void leave(struct pmpt_tx *tx)
{
	atomic_store_explicit(&tx->in[0], NULL, memory_order_release);
	if (!atomic_load_explicit(&tx->in[1], memory_order_relaxed))
		return;
	for (unsigned i = 1; i < TX_IN; i++)
		atomic_store_explicit(&tx->in[i], NULL, memory_order_release);
	atomic_store_explicit(&tx->in_any, false, memory_order_release);
}

static void unlock(struct pmpt_tx *tx)
{
	for (size_t i = 0; i < tx->n_fresh; i++)
		frames_disown(&tx->pool->frames, tx->fresh[i].pfn);
	for (size_t i = 0; i < tx->n_own; i++)
		frames_disown(&tx->pool->frames, tx->own[i]);
	for (size_t i = 0; i < tx->n_own_spaces; i++)
		atomic_store_explicit(&tx->own_space[i]->owner, 0, memory_order_release);
	tx->n_own = 0;
	tx->n_own_spaces = 0;
	if (atomic_load_explicit(&tx->in[0], memory_order_relaxed))
		leave(tx);
}

/* What most transactions do not have. */
static void end_rest(struct pmpt_tx *tx)
{
	forget_fresh(tx);
	wset_clear(&tx->words);
	wset_clear(&tx->deltas);
	wset_clear(&tx->originals);
	tx->n_waiting = 0;
	tx->n_reserved = 0;
	tx->n_savepoints = 0;
	tx->n_ranges = 0;
	tx->dropped = 0;
	memset(tx->counted, 0, sizeof(tx->counted));
	tx->measured_lines = 0;
	tx->unfenced = false;
	tx->upper = false;
	tx->n_cuts = 0;
	tx->mark = (struct tx_mark){ 0 };
	tx->marked = false;
	for (size_t i = 0; i < tx->n_held; i++)
		pmpt_space_close(tx->held[i]);
	tx->n_held = 0;
	atomic_store_explicit(&tx->counting, false, memory_order_release);
}

/* Stores are few here: those behind a commit's fence fill the store buffer until it is through. */
void tx_end(struct pmpt_tx *tx)
{
	bool rest = tx_planned(tx) || tx->words.n > WSET_LINEAR || tx->marked || tx->n_savepoints ||
		    tx->n_held || tx->measured_lines || tx->unfenced || tx->upper;

	unlock(tx);
	tx->words.n = 0;
	tx->measured_changes = tx->changes;
	if (rest)
		end_rest(tx);
	if (tx->bulk)
		bulk_end(&tx->pool->wal);
	atomic_store_explicit(&tx->open, false, memory_order_relaxed);
	if (!tx->bound)
		atomic_store_explicit(&tx->busy, 0, memory_order_release);
}

/* Reserved frames that nothing came to use are free again; readers may have seen those of a bulk
 * transaction. */
static void reserved_settle(struct pmpt_tx *tx, struct waiting *wait)
{
	size_t total = 0, used = tx->list_used;

	for (size_t i = 0; i < tx->n_reserved; i++)
		total += tx->reserved[i].n;
	for (size_t i = 0; i < tx->n_reserved && used < total; i++) {
		for (uint64_t k = 0, pfn = tx->reserved[i].pfn; k < tx->reserved[i].n; k++, pfn++) {
			if (desc_count(word_load(frames_desc(&tx->pool->frames, pfn))))
				continue;
			if (wait)
				frames_wait_add(wait, pfn, false);
			else
				frames_give(&tx->pool->frames, pfn, 1);
		}
	}
}

static size_t reserved_frames(const struct pmpt_tx *tx)
{
	size_t n = 0;

	for (size_t i = 0; i < tx->n_reserved; i++)
		n += tx->reserved[i].n;
	return n;
}

static void freed_wait(struct pmpt_tx *tx, struct waiting *wait, uint64_t lsn)
{
	struct frames *fr = &tx->pool->frames;
	uint64_t pfn = 0, where = 0;

	if (!wait)
		return;
	for (size_t i = tx->list_desc; i < tx->n_list; i++) {
		const struct wal_word *w = &tx->list[i];

		if (!desc_count(w->old) || desc_count(w->new) || wait->n == wait->room)
			continue;
		/* neighbours in a frame of descriptors are neighbours */
		pfn = w->where == where + sizeof(pm_word) && WHERE_OFF(w->where) % FRAME_BYTES
			      ? pfn + 1
			      : frames_pfn_of_desc(fr, w->where);
		where = w->where;
		/* a swap area is like a table: log lines aim there, too */
		frames_wait_add(wait, pfn,
				desc_kind(w->new) == DESC_TABLE ||
					desc_kind(w->old) == DESC_RESERVED);
	}
	if (wait->n && !frames_wait_join(fr, wait, lsn)) {
		frames_wait(fr, wait, lsn);
		tx->wait = NULL;
	}
}

#define WAIT_ROOM 256 /* so many frames at least: small commits that follow join them */

/* The transaction's own batch, empty, with room for n frames. */
static int wait_ready(struct pmpt_tx *tx, size_t n)
{
	struct frames *fr = &tx->pool->frames;

	if (tx->wait && tx->wait->room < n) {
		frames_wait_free(fr, tx->wait);
		tx->wait = NULL;
	}
	if (!tx->wait)
		tx->wait = frames_wait_alloc(fr, n < WAIT_ROOM ? WAIT_ROOM : n);
	if (!tx->wait)
		return error_set(-ENOMEM, "no memory for %zu freed frames", n);
	tx->wait->n = 0;
	return 0;
}

/* ---- redo ------------------------------------------------------------------------------------ */

/* Take a lane with room and the descriptor locks, and bring the list up to date under them. */
static int lane_and_locks(struct pmpt_tx *tx, struct wal_lane **lane, size_t *n_lines)
{
	size_t room = wal_lines(tx->list, tx->n_list);

	/* switched off: not for every committer */
	bool room_first = rule_on(RULE_W9_ROOM) || tx->id % 2;

	pm_step(&tx->pm);
	for (;;) {
		bool moved;
		int rc;

		if (!room_first)
			descs_lock(tx);
		rc = wal_lane_take(&tx->pool->wal, tx->id - 1u, room, lane);
		if (rc)
			return rc;
		if (tx->list_desc == tx->n_list) {
			*n_lines = room;
			return 0;
		}
		atomic_store(&tx->counting, true);
		if (room_first)
			descs_lock(tx);
		rc = descs_absolute(tx, &moved);
		*n_lines = moved ? wal_lines(tx->list, tx->n_list) : room;
		if (!rc && *n_lines <= room)
			return 0;
		descs_unlock(tx); /* counts moved since the plan was measured: fewer runs */
		wal_lane_give(*lane);
		if (rc)
			return rc;
		room = *n_lines;
	}
}

/* Readers forget tables that are about to be unlinked. */
static void cuts_stop(struct pmpt_tx *tx)
{
	for (size_t i = 0; i < tx->n_cuts; i++) {
		struct pwc *pwc = &tx->cut[i].space->pwc;
		uint64_t len = tx->cut[i].level ? level_bytes(tx->cut[i].level) : 0;

		pwc_stop(pwc, len ? tx->cut[i].va & ~(len - 1) : 0, len);
		if (!len)
			pwc_share(pwc);
	}
}

static void cuts_go(struct pmpt_tx *tx)
{
	for (size_t i = 0; i < tx->n_cuts; i++)
		pwc_go(&tx->cut[i].space->pwc);
}

/* Switched off: counts go home at once, and nothing logs them. */
static size_t counts_logged(struct pmpt_tx *tx, size_t *n_lines)
{
	if (rule_on(RULE_F4_LOGGED) || !tx->list_desc)
		return tx->n_list;
	for (size_t i = tx->list_desc; i < tx->n_list; i++) {
		pm_word *home = region_at(tx->pool->rg, WHERE_OFF(tx->list[i].where));

		pm_store(&tx->pm, home, tx->list[i].new);
	}
	*n_lines = wal_lines(tx->list, tx->list_desc);
	return tx->list_desc;
}

static int commit_redo(struct pmpt_tx *tx, struct waiting *wait, uint64_t *lsn)
{
	struct wal_lane *lane = NULL;
	size_t n_lines = 0, n_words;
	int rc = lane_and_locks(tx, &lane, &n_lines);

	if (rc)
		return rc;
	if (!rule_on(RULE_W7_LOCKS)) {
		descs_unlock(tx);
		unlock(tx);
	}
	cuts_stop(tx);
	n_words = counts_logged(tx, &n_lines);
	rc = wal_commit(&tx->pool->wal, lane, tx->list, n_words, n_lines, lsn);
	cuts_go(tx);
	if (rule_on(RULE_W7_LOCKS))
		descs_unlock(tx);
	wal_lane_give(lane);
	if (!rc) {
		reserved_settle(tx, NULL);
		freed_wait(tx, wait, *lsn);
	}
	return rc;
}

/* ---- bulk ------------------------------------------------------------------------------------ */

static int by_space_and_va(const void *a, const void *b)
{
	const struct bulk_range *x = a, *y = b;

	if (x->space != y->space)
		return (uintptr_t)x->space < (uintptr_t)y->space ? -1 : 1;
	return x->va < y->va ? -1 : x->va > y->va;
}

/* Ascending and apart, so that a reader finds one among many at once. */
static void ranges_merge(const struct pmpt_tx *tx, struct bulk_ranges *to)
{
	size_t n = 0;

	if (tx->n_ranges)
		memcpy(to->range, tx->range, tx->n_ranges * sizeof(to->range[0]));
	qsort(to->range, tx->n_ranges, sizeof(to->range[0]), by_space_and_va);
	for (size_t i = 0; i < tx->n_ranges; i++) {
		struct bulk_range *last = n ? &to->range[n - 1] : NULL;

		if (last && last->space == to->range[i].space && to->range[i].va <= last->end)
			last->end = last->end > to->range[i].end ? last->end : to->range[i].end;
		else
			to->range[n++] = to->range[i];
	}
	to->n = n;
}

/* Tell readers which ranges they may not see, and wait until all know. */
static int ranges_publish(struct pmpt_tx *tx)
{
	struct pmpt_pool *pool = tx->pool;
	struct bulk_ranges *old = atomic_load(&pool->bulk_ranges), *new;

	new = mem_alloc(&pool->mem, sizeof(*new) + tx->n_ranges * sizeof(new->range[0]));
	if (!new)
		return error_set(-ENOMEM, "no memory for %zu ranges", tx->n_ranges);
	new->room = tx->n_ranges;
	atomic_init(&new->users, 1);
	ranges_merge(tx, new);
	atomic_store_explicit(&pool->bulk_ranges, new, memory_order_release);
	if (!(atomic_load(&pool->bulk_serial) & 1))
		atomic_fetch_add(&pool->bulk_serial, 1);
	for (size_t i = 0; i < tx->n_held; i++) {
		if (atomic_exchange(&tx->held[i]->slow, true))
			continue; /* an earlier batch's */
		pwc_stop(&tx->held[i]->pwc, 0, VA_END);
	}
	readers_wait();
	bulk_ranges_drop(pool, old);
	return 0;
}

static void ranges_withdraw(struct pmpt_tx *tx)
{
	struct pmpt_pool *pool = tx->pool;
	struct bulk_ranges *old;

	if (atomic_load(&pool->bulk_serial) & 1)
		atomic_fetch_add(&pool->bulk_serial, 1);
	old = atomic_exchange(&pool->bulk_ranges, NULL);
	if (!old)
		return;
	for (size_t i = 0; i < tx->n_held; i++) {
		if (atomic_exchange(&tx->held[i]->slow, false))
			pwc_go(&tx->held[i]->pwc);
	}
	readers_wait();
	bulk_ranges_drop(pool, old);
}

int bulk_spill(struct pmpt_tx *tx)
{
	int rc = commit_plan(tx, false);

	if (!rc)
		rc = fresh_stream(tx);
	if (!rc)
		rc = vec_reserve(&tx->pool->mem, &tx->own, &tx->room_own, tx->n_own + tx->n_fresh,
				 sizeof(*tx->own));
	if (!rc)
		rc = ranges_publish(tx);
	if (!rc)
		rc = bulk_batch(&tx->pool->wal, tx->list, tx->n_list);
	if (rc)
		return rc;
	for (size_t i = 0; i < tx->n_fresh; i++) /* from now on tables like others, still its own */
		tx->own[tx->n_own++] = tx->fresh[i].pfn;
	tx->spilled = true;
	versions_reclaim(&tx->pool->wal.versions);
	plan_batched(tx);
	forget_fresh(tx);
	tx->changes++;
	/* to be measured anew: the room is less, the deltas are still there */
	tx->measured_lines = SIZE_MAX / 2;
	return 0;
}

static int commit_bulk(struct pmpt_tx *tx, struct waiting *wait, uint64_t *lsn)
{
	int rc = ranges_publish(tx);

	if (rc)
		return rc;
	atomic_store(&tx->counting, true);
	descs_lock(tx);
	bool moved;

	rc = descs_absolute(tx, &moved);
	if (!rc && !rule_on(RULE_W8_UNLOCK))
		unlock(tx);
	if (!rc)
		rc = bulk_commit(&tx->pool->wal, tx->list, tx->n_list, lsn);
	descs_unlock(tx);
	if (rc && rc != PMPT_E_IO)
		return rc; /* open and abortable, as it was; readers go on to be kept out */
	if (!rc) {
		reserved_settle(tx, wait);
		freed_wait(tx, wait, *lsn);
	}
	ranges_withdraw(tx);
	return rc;
}

/* ---- commit and abort ------------------------------------------------------------------------ */

static void committed(struct pmpt_tx *tx)
{
	atomic_store_explicit(&tx->commits,
			      atomic_load_explicit(&tx->commits, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* The straight path of a plan of one word: nothing to prepare, nothing to settle. */
static int commit_one(struct pmpt_tx *tx, uint64_t *lsn)
{
	struct wal_lane *lane = NULL;
	uint64_t last = 0;
	int rc = wal_lane_take(&tx->pool->wal, tx->id - 1u, 1, &lane);

	if (rc)
		return rc;
	if (!rule_on(RULE_W7_LOCKS))
		unlock(tx);
	rc = wal_commit(&tx->pool->wal, lane, tx->words.word, 1, 1, &last);
	wal_lane_give(lane);
	if (!rc)
		committed(tx);
	struct pmpt_pool *pool = tx->pool;

	tx_end(tx);
	if (!rc && lsn)
		*lsn = last;
	if (versions_retired(&pool->wal.versions))
		versions_reclaim(&pool->wal.versions);
	return rc;
}

int pmpt_commit(pmpt_tx *tx, uint64_t *lsn)
{
	struct waiting *wait = NULL;
	uint64_t last = 0;
	bool empty;
	int rc = tx_check(tx);

	if (!rc)
		rc = pool_writable(tx->pool);
	if (!rc && tx->words.n == 1 && !tx->bulk && !tx->unfenced && !tx_planned(tx) &&
	    tx->words.word[0].old != tx->words.word[0].new)
		return commit_one(tx, lsn);
	if (!rc)
		rc = commit_plan(tx, true);
	if (rc)
		return rc;
	empty = tx->n_list == 0 && !tx->spilled;
	size_t freed = tx->list_freed + (tx->bulk ? reserved_frames(tx) : 0);

	if (freed)
		rc = wait_ready(tx, freed);
	if (rc)
		return rc;
	wait = freed ? tx->wait : NULL;
	rc = fresh_stream(tx);
	if (!rc && empty)
		reserved_settle(tx, NULL);
	else if (!rc)
		rc = tx->bulk ? commit_bulk(tx, wait, &last) : commit_redo(tx, wait, &last);
	if (rc && rc != PMPT_E_IO)
		return rc;
	if (!rc)
		committed(tx);
	struct pmpt_pool *pool = tx->pool;

	tx_end(tx);
	if (!rc && lsn)
		*lsn = last;
	if (freed && !rc)
		(void)frames_reclaim(&pool->frames, false);
	versions_reclaim(&pool->wal.versions);
	return rc;
}

int pmpt_abort(pmpt_tx *tx)
{
	struct pmpt_pool *pool = tx->pool;
	struct waiting *wait = NULL;
	int rc = tx_check(tx);

	if (rc)
		return rc;
	if (tx->spilled) {
		if (!rule_on(RULE_W8_ABORT_END))
			unlock(tx);
		if (!rule_on(RULE_F2_BULK_WAIT)) {
			tx->list_desc = tx->n_list = tx->list_used = 0;
			reserved_settle(tx, NULL);
			tx->n_reserved = 0;
		}
		rc = bulk_abort(&pool->wal);
		wait = frames_wait_alloc(&pool->frames, reserved_frames(tx));
	}
	if (tx->bulk)
		ranges_withdraw(tx); /* a batch or a commit that failed leaves them, too */
	/* order: what was streamed into frames before what their next owner puts there */
	if (tx->unfenced && tx->n_reserved)
		(void)pm_fence(&tx->pm);
	/* no memory: those frames are lost until the next open */
	if (!rc && (wait || !tx->spilled)) {
		tx->list_desc = tx->n_list = tx->list_used = 0;
		reserved_settle(tx, wait);
	}
	if (wait)
		frames_wait(&pool->frames, wait, 0);
	tx_end(tx);
	atomic_fetch_add_explicit(&pool->aborts, 1, memory_order_relaxed);
	return rc;
}
