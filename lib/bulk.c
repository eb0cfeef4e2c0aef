/* SPDX-License-Identifier: BSD-3-Clause */
/* bulk -- the bulk lane: one undo transaction at a time, whose words go home in batches before
 * it commits.
 *
 * VALID	while bulk_from is not 0: lines from slot 0 to the first that does not validate, has
 *		an LSN below bulk_from or not above the one before, or after LAST.  Committed iff
 *		LAST is reached; else the prefix is undone, newest first.
 * ORDER	batch: draw -> bulk_from (first batch), lines (S1) -> F1 -> home (S2).
 *		commit: last batch with LAST, F1 is the commit point -> home -> flush all home lines
 *		-> F2 -> checkpoint over LAST -> bulk_from = 0 -> F3.
 *		abort: old values home -> flush -> F2 -> bulk_from = 0 -> F3.
 * INVARIANTS	W1, W8; the lane sets no low: its lines are live by bulk_from, whatever
 *		checkpoint_lsn says.
 */
#include "error.h"
#include "wal.h"

int bulk_begin(struct wal *wal)
{
	uint32_t idle = 0;

	if (!atomic_compare_exchange_strong(&wal->bulk.busy, &idle, 1))
		return error_set(PMPT_E_TX_LIMIT, "another bulk transaction is open");
	wal->bulk.head = 0;
	wal->bulk.last = 0;
	wal->bulk.from_set = false;
	return 0;
}

void bulk_end(struct wal *wal) { atomic_store_explicit(&wal->bulk.busy, 0, memory_order_release); }

size_t bulk_room(const struct wal *wal) { return wal->bulk_lines - wal->bulk.head; }

static void bulk_stream(struct wal *wal, const struct wal_word *word, size_t n, size_t n_lines,
			uint64_t first, bool commit)
{
	struct wal_bulk *bulk = &wal->bulk;
	_Alignas(LINE_BYTES) struct line line;

	for (size_t i = 0, done = 0; i < n_lines; i++) {
		struct line *slot = bulk->line + bulk->head + i;

		done += wal_pack(&line, word + done, n - done);
		line_seal(wal, &line, slot, first + i,
			  LINE_UNDO | (commit && i == n_lines - 1 ? LINE_LAST : 0u), 0);
		pm_stream(&bulk->pm, slot, &line, 1);
	}
}

/* bulk_from = value; made durable by the next fence. */
static void bulk_from(struct wal *wal, uint64_t value)
{
	pm_store(&wal->bulk.pm, &wal->sb->bulk_from, value);
	pm_flush(&wal->bulk.pm, &wal->sb->bulk_from, sizeof(pm_word));
}

static int bulk_log(struct wal *wal, const struct wal_word *word, size_t n, bool commit)
{
	struct wal_bulk *bulk = &wal->bulk;
	size_t n_lines = wal_lines(word, n);
	int rc;

	if (commit && n_lines == 0)
		n_lines = 1; /* LAST needs a line, if an empty one */
	if (n_lines > bulk_room(wal))
		return error_set(PMPT_E_TX_TOO_LARGE, "bulk transaction of more than %u log lines",
				 wal->bulk_lines);
	rc = wal_limit_ensure(wal);
	if (rc)
		return rc;

	uint64_t first = atomic_fetch_add(&wal->next, n_lines);
	bool open = bulk->from_set;

	if (!open && rule_on(RULE_W8_FROM_FIRST))
		bulk_from(wal, first);
	bulk_stream(wal, word, n, n_lines, first, commit);
	if (rule_on(RULE_W1_BULK_FENCE)) {
		/* F1 durability: lines and bulk_from before any home word is stored [W1]; with LAST
		 * the commit point */
		rc = pm_fence(&bulk->pm);
		if (rc)
			return rc;
	}
	if (!open && !rule_on(RULE_W8_FROM_FIRST))
		bulk_from(wal, first);
	bulk->from_set = true;
	bulk->head += (uint32_t)n_lines;
	bulk->last = first + n_lines - 1;
	atomic_fetch_add_explicit(&bulk->log_lines, n_lines, memory_order_relaxed);
	wal_versions(wal, word, n, bulk->last);
	for (size_t i = 0; i < n;
	     i++) /* not flushed before the end: the lines are live until then */
		wal_apply(wal->rg, &bulk->pm, word[i].where, word[i].new);
	return 0;
}

int bulk_batch(struct wal *wal, const struct wal_word *word, size_t n)
{
	return n ? bulk_log(wal, word, n, false) : 0;
}

/* Flush every home line that the lane's lines name; neighbours in a line are flushed once. */
static void bulk_flush(struct wal *wal)
{
	uint64_t previous = UINT64_MAX;

	for (uint32_t i = 0; i < wal->bulk.head; i++) {
		const struct line *line = wal->bulk.line + i;

		for (unsigned k = 0; k < line_words(line); k++) {
			uint64_t where = line->kind == LINE_RUN
						 ? RUN_FIRST(line->run.where) + 8 * (uint64_t)k
						 : line->word[k].where;
			uint64_t line_no = WHERE_OFF(where) / LINE_BYTES;

			if (line_no != previous)
				pm_flush(&wal->bulk.pm, region_at(wal->rg, line_no * LINE_BYTES),
					 LINE_BYTES);
			previous = line_no;
		}
	}
}

/* Old values home, newest first. */
static void bulk_restore(struct wal *wal)
{
	struct wal_bulk *bulk = &wal->bulk;

	for (uint32_t i = bulk->head; i-- > 0;) {
		for (unsigned k = line_words(bulk->line + i); k-- > 0;) {
			struct wal_word w = line_word(wal->rg, bulk->line + i, k);

			wal_apply(wal->rg, &bulk->pm, w.where, w.old);
		}
	}
}

int bulk_commit(struct wal *wal, const struct wal_word *word, size_t n, uint64_t *last)
{
	struct wal_bulk *bulk = &wal->bulk;
	int rc = bulk_log(wal, word, n, true);

	if (rc == PMPT_E_IO) /* of unknown fate: readers are to see what was committed before */
		bulk_restore(wal);
	if (rc)
		return rc;
	*last = bulk->last;
	bulk_flush(wal);
	/* F2 durability: home words before bulk_from = 0 says that their lines are dead [W8] */
	rc = pm_fence(&bulk->pm);
	if (!rc && rule_on(RULE_W8_COMMIT_CHECKPOINT))
		/* else an older live redo line of the same words would be replayed over
		 * them [W8] */
		rc = wal_checkpoint_to(wal, bulk->last);
	if (rc)
		return rc;
	bulk_from(wal, 0);
	return pm_fence(&bulk->pm); /* F3 durability: the end, before the caller unlocks [W8] */
}

int bulk_abort(struct wal *wal)
{
	struct wal_bulk *bulk = &wal->bulk;
	int rc;

	if (!bulk->from_set)
		return 0;
	bulk_restore(wal);
	bulk_flush(wal);
	/* F2 durability: old values before bulk_from = 0 makes the undo impossible [W8] */
	rc = pm_fence(&bulk->pm);
	if (rc)
		return rc;
	if (rule_on(RULE_W8_ABORT_END))
		bulk_from(wal, 0);
	return pm_fence(&bulk->pm); /* F3 durability: the end, before the caller unlocks [W8] */
}
