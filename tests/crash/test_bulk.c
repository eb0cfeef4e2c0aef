/* SPDX-License-Identifier: BSD-3-Clause */
/* test_bulk -- the bulk lane under every crash: W1, W8, RUN lines, and how it meets redo
 * transactions and the end of recovery. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "words.h"

#define SETS(...) \
	(sizeof((struct set[]){ __VA_ARGS__ }) / sizeof(struct set)), (struct set[]) { __VA_ARGS__ }

static unsigned turn;

/* ---- W1, W8: batches, commit, abort ---------------------------------------------------------- */

static void commit_run(struct region *rg)
{
	words_open(rg);
	bulk_start();
	bulk_set(SETS({ 0, 5 }));
	bulk_set(SETS({ 1, 5 }, { 2, 5 }));
	bulk_finish(SETS({ 3, 5 }));
	redo1(0, 0, 6);
	words_close();
}
static const struct program commit = { .name = "bulk commit in three batches",
				       .run = commit_run,
				       .check = check_words,
				       .collapse = true };

static void test_w1_bulk(void **state)
{
	(void)state;
	holds(&commit);
	bites(RULE_W1_BULK_FENCE, &commit);
	bites(RULE_W8_FROM_FIRST, &commit);
}

/* Every subset of the words of the lines, not only valid and invalid ones. */
static void small_run(struct region *rg)
{
	words_open(rg);
	bulk_start();
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_finish(0, NULL);
	words_close();
}
static const struct program small = { .name = "bulk commit, all torn lines",
				      .run = small_run,
				      .check = check_words };

static void test_torn(void **state)
{
	(void)state;
	holds(&small);
	bites(RULE_W1_BULK_FENCE, &small);
}

/* Abort, then a later commit of the same word, then a crash. */
static void abort_run(struct region *rg)
{
	words_open(rg);
	redo1(1, 1, 1);
	bulk_start();
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_undo();
	redo1(0, 0, 3);
	words_close();
}
static const struct program aborted = { .name = "abort, then a later commit",
					.run = abort_run,
					.check = check_words,
					.collapse = true };

static void test_w8_abort(void **state)
{
	(void)state;
	holds(&aborted);
	bites(RULE_W8_ABORT_END, &aborted);
}

/* An older, still live redo line of the same words. */
static void older_run(struct region *rg)
{
	words_open(rg);
	redo1(0, 0, 7);
	bulk_start();
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_finish(SETS({ 2, 5 }));
	words_close();
}
static const struct program older = { .name = "bulk commit over an older redo line",
				      .run = older_run,
				      .check = check_words,
				      .collapse = true };

static void test_w8_commit(void **state)
{
	(void)state;
	holds(&older);
	bites(RULE_W8_COMMIT_CHECKPOINT, &older);
	bites(RULE_W8_RECOVERY_ORDER, &older);
}

/* Lines of an aborted transaction, and a second one of which only bulk_from lands. */
static void stale_run(struct region *rg)
{
	words_open(rg);
	bulk_start();
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_undo();
	redo1(0, 0, 9);
	bulk_start();
	bulk_set(SETS({ 2, 8 }));
	bulk_undo();
	words_close();
}
static const struct program stale = {
	.name = "stale bulk lines", .run = stale_run, .check = check_words, .collapse = true
};

static void test_w8_from(void **state)
{
	(void)state;
	holds(&stale);
	bites(RULE_W8_FROM_CHECK, &stale);
}

/* ---- undo open while a redo commits; a checkpoint at every step ------------------------------ */

static void redo_other(void) { redo1(0, 4, 4); }
static void beside_run(struct region *rg)
{
	words_open(rg);
	redo1(1, 0, 1);
	bulk_start();
	interleave(turn, redo_other);
	bulk_set(SETS({ 0, 5 }));
	bulk_finish(SETS({ 1, 5 }));
	interleave(0, NULL);
	words_close();
}
static const struct program beside = { .name = "a redo inside a bulk transaction",
				       .run = beside_run,
				       .check = check_words,
				       .collapse = true };

static void beside_abort_run(struct region *rg)
{
	words_open(rg);
	bulk_start();
	interleave(turn, redo_other);
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_undo();
	interleave(0, NULL);
	words_close();
}
static const struct program beside_abort = { .name = "a redo inside a bulk abort",
					     .run = beside_abort_run,
					     .check = check_words,
					     .collapse = true };

static void checkpoint_inside_run(struct region *rg)
{
	words_open(rg);
	redo1(1, 0, 1);
	bulk_start();
	interleave(turn, checkpoint);
	bulk_set(SETS({ 0, 5 }, { 1, 5 }));
	bulk_undo();
	interleave(0, NULL);
	words_close();
}
static const struct program checkpoint_inside = { .name = "a checkpoint inside a bulk transaction",
						  .run = checkpoint_inside_run,
						  .check = check_words,
						  .collapse = true };

static void test_beside(void **state)
{
	(void)state;
	for (turn = 1; turn <= 14; turn++) {
		holds(&beside);
		holds(&beside_abort);
		holds(&checkpoint_inside);
	}
}

/* ---- RUN lines: a sequence of words that one line changes ------------------------------------ */

static void run_set(struct wal_word *w, unsigned n, uint64_t old, uint64_t new)
{
	/* the name words of record 5: contiguous, on one line and the next */
	pm_word *home = ((struct space_record *)region_at(words_wal->rg,
							  region_sb(words_wal->rg)->directory))[5]
				.name;

	for (unsigned i = 0; i < n; i++)
		w[i] = (struct wal_word){ region_off(words_wal->rg, home + i) | WHERE_DIR,
					  old ? old + i : 0, new ? new + i : 0 };
}

static const char *check_run(struct region *rg, const struct history *h)
{
	const pm_word *w = ((struct space_record *)region_at(rg, region_sb(rg)->directory))[5].name;
	uint64_t first = word_load(&w[0]), was = h->step[0] * 100, next = was + 100;

	for (unsigned i = 1; i < 8; i++) {
		if (word_load(&w[i]) != (first ? first + i : 0))
			return "a run is there in part";
	}
	if (first != was && !(h->open[0] && first == (h->step[0] == 3 ? 0 : next)))
		return "a run is not as it was committed";
	return NULL;
}

static void runs_run(struct region *rg)
{
	struct wal_word w[8];
	struct wal_lane *lane;
	uint64_t lsn;

	words_open(rg);
	for (unsigned i = 0; i < 3; i++) {
		run_set(w, 8, i * 100, i * 100 + 100);
		assert_int_equal(wal_lines(w, 8), 1);
		assert_int_equal(wal_lane_take(words_wal, i, 1, &lane), 0);
		history.open[0] = true;
		assert_int_equal(wal_commit(words_wal, lane, w, 8, 1, &lsn), 0);
		history.step[0]++;
		history.open[0] = false;
		wal_lane_give(lane);
		returned();
	}
	/* else the redo lines mend what an undo leaves */
	assert_int_equal(wal_checkpoint(words_wal), 0);
	/* undone: as it was */
	assert_int_equal(bulk_begin(words_wal), 0);
	run_set(w, 8, 300, 900);
	assert_int_equal(bulk_batch(words_wal, w, 8), 0);
	returned();
	assert_int_equal(bulk_abort(words_wal), 0);
	bulk_end(words_wal);
	returned();
	words_close();
}
static const struct program runs = {
	.name = "RUN lines, redo and undo", .run = runs_run, .check = check_run, .collapse = true
};

static void test_runs(void **state)
{
	(void)state;
	holds(&runs);
	bites(RULE_W1_FENCE, &runs);
	bites(RULE_W1_BULK_FENCE, &runs);
}

/* ---- golden counts: the enumerator's trace agrees with pm's counters ------------------------- */

static struct {
	uint64_t streamed, flushed, fences;
} trace;

static void trace_event(void *ctx, const struct pm_event *e)
{
	(void)ctx;
	trace.streamed += e->kind == PM_EV_STREAM ? e->len / LINE_BYTES : 0;
	trace.flushed += e->kind == PM_EV_FLUSH ? e->len / LINE_BYTES : 0;
	trace.fences += e->kind == PM_EV_FENCE;
}

static uint64_t counted(const _Atomic uint64_t *a) { return atomic_load(a); }

static void expect_trace(const struct pm *pm, uint64_t streamed, uint64_t flushed, uint64_t fences)
{
	assert_int_equal(trace.streamed, streamed);
	assert_int_equal(trace.flushed, flushed);
	assert_int_equal(trace.fences, fences);
	assert_int_equal(counted(&pm->count.lines_streamed), streamed);
	assert_int_equal(counted(&pm->count.lines_flushed), flushed);
	assert_int_equal(counted(&pm->count.fences), fences);
}

static void counts_run(struct region *rg)
{
	struct wal_word w[8];
	struct wal_lane *lane;
	void (*observer)(void *, const struct pm_event *) = pm_observer;
	uint64_t lsn;

	words_open(rg);
	pm_observer = trace_event;
	for (unsigned n = 1; n <= 3; n++) { /* scattered words: two a line; one fence */
		for (unsigned i = 0; i < n; i++)
			w[i] = (struct wal_word){
				region_off(rg, &((struct space_record *)region_at(
						       rg, region_sb(rg)->directory))[i]
							.user[6]) |
					WHERE_DIR,
				0, n
			};
		memset(&trace, 0, sizeof(trace));
		assert_int_equal(wal_lane_take(words_wal, n - 1, wal_lines(w, n), &lane), 0);
		pm_init(&lane->pm, &rg->medium);
		assert_int_equal(wal_commit(words_wal, lane, w, n, wal_lines(w, n), &lsn), 0);
		expect_trace(&lane->pm, (n + 1) / 2, 0, 1);
		wal_lane_give(lane);
	}
	/* a checkpoint: three home lines, its own word, two fences */
	memset(&trace, 0, sizeof(trace));
	pm_init(&words_wal->pm, &rg->medium);
	assert_int_equal(wal_checkpoint(words_wal), 0);
	expect_trace(&words_wal->pm, 0, 4, 2);
	run_set(w, 8, 0, 100);
	memset(&trace, 0, sizeof(trace)); /* a batch: one RUN line, bulk_from, one fence */
	assert_int_equal(bulk_begin(words_wal), 0);
	assert_int_equal(bulk_batch(words_wal, w, 8), 0);
	expect_trace(&words_wal->bulk.pm, 1, 1, 1);
	assert_int_equal(bulk_abort(words_wal), 0);
	bulk_end(words_wal);
	pm_observer = observer;
	words_close();
}

static const char *check_nothing(struct region *rg, const struct history *h)
{
	(void)rg, (void)h;
	return NULL;
}

static void test_golden_counts(void **state)
{
	struct program p = { .name = "golden counts", .run = counts_run, .check = check_nothing };

	(void)state;
	(void)enumerate(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_w1_bulk),  cmocka_unit_test(test_torn),
		cmocka_unit_test(test_w8_abort), cmocka_unit_test(test_w8_commit),
		cmocka_unit_test(test_w8_from),  cmocka_unit_test(test_beside),
		cmocka_unit_test(test_runs),     cmocka_unit_test(test_golden_counts),
	};

	return cmocka_run_group_tests_name("the bulk lane under every crash", tests, NULL, NULL);
}
