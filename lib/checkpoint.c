/* SPDX-License-Identifier: BSD-3-Clause */
/* checkpoint -- one word truncates every lane: checkpoint_lsn; and lsn_limit, the other word that
 * bounds LSNs.
 *
 * ORDER	read the counter, then every lane's low (S1) -> flush the home lines noted before
 *		that (S2) -> F1 -> store x, flush (S3) -> F2 -> the lines up to x are free.
 *		S1 before S2: what is at or below x was applied and noted before its low went [W4].
 * LOCKS	wal->checkpointer, taken with table locks and a lane held, never with an announced
 *		low; nothing is waited for under it.
 */
#include <sched.h>

#include "error.h"
#include "sort.h"
#include "wal.h"

/* The greatest LSN that no transaction in progress has reached. */
static uint64_t checkpoint_target(struct wal *wal)
{
	uint64_t next = 0, x;

	if (rule_on(RULE_W4_COUNTER_FIRST)) {
		next = atomic_load_explicit(&wal->next, memory_order_acquire);
		pm_step(&wal->pm);
	}
	x = UINT64_MAX;
	for (uint32_t i = 0; i < wal->n_lanes; i++) {
		uint64_t low = atomic_load_explicit(&wal->lane[i].low, memory_order_acquire);

		if (low && low - 1 < x)
			/* low is a value of the counter: a boundary between transactions */
			x = low - 1;
	}
	if (!rule_on(RULE_W4_COUNTER_FIRST)) {
		pm_step(&wal->pm);
		next = atomic_load_explicit(&wal->next, memory_order_acquire);
	}
	return next - 1 < x ? next - 1 : x;
}

static bool sort_reserve(struct wal *wal, size_t n)
{
	uint64_t *grown;

	if (n <= wal->sort_max)
		return true;
	n += n / 2;
	grown = mem_resize(wal->mem, wal->sort, 2 * wal->sort_max * sizeof(*grown),
			   2 * n * sizeof(*grown));
	if (!grown)
		return false;
	wal->sort = grown;
	wal->sort_max = n;
	return true;
}

static void flush_noted(struct wal *wal, uint64_t entry)
{
	pm_flush(&wal->pm, region_at(wal->rg, (entry >> 8) * LINE_BYTES),
		 ((entry & 0xff) + 1) * LINE_BYTES);
}

/* Flush sorted entries, each line once. */
static void flush_sorted(struct wal *wal, const uint64_t *entry, size_t n)
{
	uint64_t end = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t first = entry[i] >> 8, stop = first + (entry[i] & 0xff) + 1;

		if (first < end)
			first = end;
		if (first >= stop)
			continue;
		pm_flush(&wal->pm, region_at(wal->rg, first * LINE_BYTES),
			 (stop - first) * LINE_BYTES);
		end = stop;
	}
}

/* Flush the home lines that lanes have noted, up to head[]; no memory to sort them: one by one. */
static void flush_homes(struct wal *wal, const uint64_t *head)
{
	size_t n = 0, total = 0;
	bool sorted;

	for (uint32_t i = 0; i < wal->n_lanes; i++)
		total += head[i] -
			 atomic_load_explicit(&wal->lane[i].dirty_tail, memory_order_relaxed);
	sorted = sort_reserve(wal, total);
	for (uint32_t i = 0; i < wal->n_lanes; i++) {
		struct wal_lane *lane = &wal->lane[i];

		for (uint64_t at = atomic_load_explicit(&lane->dirty_tail, memory_order_relaxed);
		     at != head[i]; at++) {
			if (sorted)
				wal->sort[n++] = lane->dirty[at & lane->dirty_mask];
			else
				flush_noted(wal, lane->dirty[at & lane->dirty_mask]);
		}
	}
	if (sorted && n) {
		sort_u64(wal->sort, wal->sort + wal->sort_max, n, 0);
		flush_sorted(wal, wal->sort, n);
	}
}

static int checkpoint_locked(struct wal *wal)
{
	uint64_t x = checkpoint_target(wal), head[PMPT_LANES_MAX] = { 0 };
	int rc;

	for (uint32_t i = 0; i < wal->n_lanes; i++)
		head[i] = atomic_load_explicit(&wal->lane[i].dirty_head, memory_order_acquire);
	pm_step(&wal->pm);
	if (rule_on(RULE_W4_MONOTONE) && x <= wal_checkpointed(wal))
		return atomic_load(&wal->rg->medium.failed) ? PMPT_E_IO : 0;
	if (rule_on(RULE_W4_FLUSH))
		flush_homes(wal, head);
	if (wal->prepare)
		wal->prepare(wal->prepare_ctx, &wal->pm);
	if (rule_on(RULE_W4_FENCE)) {
		/* F1 durability: home words before x says that their lines are dead [W4] */
		rc = pm_fence(&wal->pm);
		if (rc)
			return rc;
	}
	if (wal->prepared)
		wal->prepared(wal->prepare_ctx);
	pm_store(&wal->pm, &wal->sb->checkpoint_lsn, x);
	/* F2 durability: x before a slot is used again [W6] */
	rc = rule_on(RULE_W4_PERSIST)
		     ? pm_persist(&wal->pm, &wal->sb->checkpoint_lsn, sizeof(pm_word))
		     : 0;
	if (rc)
		return rc;
	for (uint32_t i = 0; i < wal->n_lanes; i++)
		atomic_store_explicit(&wal->lane[i].dirty_tail, head[i], memory_order_release);
	atomic_store_explicit(&wal->checkpoint, x, memory_order_release);
	atomic_fetch_add_explicit(&wal->checkpoints, 1, memory_order_relaxed);
	return 0;
}

int wal_checkpoint(struct wal *wal)
{
	int rc;

	if (rule_on(RULE_W4_MONOTONE))
		/* one at a time: a second would store a smaller x [W4] */
		pthread_mutex_lock(&wal->checkpointer);
	rc = checkpoint_locked(wal);
	if (rule_on(RULE_W4_MONOTONE))
		pthread_mutex_unlock(&wal->checkpointer);
	return rc;
}

int wal_checkpoint_to(struct wal *wal, uint64_t lsn)
{
	while (wal_checkpointed(wal) < lsn) {
		int rc = wal_checkpoint(wal);

		if (rc)
			return rc;
		if (wal_checkpointed(wal) < lsn)
			/* a committer that drew below lsn has all it needs and will finish */
			sched_yield();
	}
	return 0;
}

int wal_limit_ensure(struct wal *wal)
{
	int rc = 0;

	if (__builtin_expect(
		    atomic_load_explicit(&wal->limit, memory_order_acquire) -
				    atomic_load_explicit(&wal->next, memory_order_relaxed) >
			    wal->lsn_slack,
		    1))
		return 0;
	pthread_mutex_lock(&wal->checkpointer);
	uint64_t limit = atomic_load(&wal->limit);

	if (limit - atomic_load(&wal->next) <= wal->lsn_slack) {
		limit += wal->lsn_step;
		pm_store(&wal->pm, &wal->sb->lsn_limit, limit);
		/* durability: the limit before an LSN at or above the old one [W5] */
		if (rule_on(RULE_W5_LIMIT_DURABLE))
			rc = pm_persist(&wal->pm, &wal->sb->lsn_limit, sizeof(pm_word));
		if (!rc)
			atomic_store_explicit(&wal->limit, limit, memory_order_release);
	}
	pthread_mutex_unlock(&wal->checkpointer);
	return rc;
}
