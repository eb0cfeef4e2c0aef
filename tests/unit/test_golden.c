/* SPDX-License-Identifier: BSD-3-Clause */
/* test_golden -- what each public call that changes something costs, to the line and the fence: by
 * the counters of pmpt_stats(), by a trace of the events that the crash enumerator works on, and as
 * written down here.  And what only reads costs nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "error.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RW  (PMPT_R | PMPT_W)
#define RE  (PMPT_R | PMPT_EXT)

#define ok(x) assert_int_equal(x, 0)

static struct core c;

struct cost {
	uint64_t log;      /* log lines, streamed */
	uint64_t streamed; /* all streamed lines: these, fresh tables, zeroed frames */
	uint64_t flushed;
	uint64_t fences;
};

/* ---- two ways of counting --------------------------------------------------------------------- */

static struct cost trace;

static bool in_log(uint64_t off)
{
	const struct sb *sb = region_sb(&c.rg);

	return (off >= sb->lanes &&
		off < sb->lanes + 2ull * sb->n_lanes * sb->half_lines * LINE_BYTES) ||
	       (off >= sb->bulk && off < sb->bulk + (uint64_t)sb->bulk_lines * LINE_BYTES);
}

static void on_event(void *ctx, const struct pm_event *e)
{
	uint64_t n = e->len / LINE_BYTES;

	(void)ctx;
	if (e->kind == PM_EV_STREAM) {
		trace.streamed += n;
		trace.log += in_log(region_off(&c.rg, e->addr)) ? n : 0;
	}
	trace.flushed += e->kind == PM_EV_FLUSH ? n : 0;
	trace.fences += e->kind == PM_EV_FENCE;
}

static struct cost counters(void)
{
	struct pmpt_stats s = core_stats(&c);

	return (struct cost){ s.log_lines, s.lines_streamed, s.lines_flushed, s.fences };
}

static void costs(const char *name, int (*call)(void), struct cost expected)
{
	struct cost before = counters(), got;

	memset(&trace, 0, sizeof(trace));
	pm_observer = on_event;
	int rc = call();

	pm_observer = NULL;
	got = counters();
	got.log -= before.log;
	got.streamed -= before.streamed;
	got.flushed -= before.flushed;
	got.fences -= before.fences;
	if (rc)
		fail_msg("%s: %s: %s", name, pmpt_strerror(rc), pmpt_errormsg());
	if (memcmp(&got, &trace, sizeof(got)) != 0)
		fail_msg("%s: counted %lu %lu %lu %lu, traced %lu %lu %lu %lu", name, got.log,
			 got.streamed, got.flushed, got.fences, trace.log, trace.streamed,
			 trace.flushed, trace.fences);
	if (memcmp(&got, &expected, sizeof(got)) != 0)
		fail_msg("%s costs { %lu, %lu, %lu, %lu }, expected { %lu, %lu, %lu, %lu }", name,
			 got.log, got.streamed, got.flushed, got.fences, expected.log,
			 expected.streamed, expected.flushed, expected.fences);
}

#define COSTS(call, ...) costs(#call, call, (struct cost){ __VA_ARGS__ })
#define CALL(name, expr) \
	static int name(void) { return expr; }

/* ---- one-call forms --------------------------------------------------------------------------- */

CALL(checkpoint, pmpt_checkpoint(c.pool))
CALL(map_1, pmpt_map(NULL, c.space, P4K, 1, 2, RE))
CALL(replace_1, pmpt_map(NULL, c.space, 0, 1, 2, RE | PMPT_REPLACE))
CALL(protect_1, pmpt_protect(NULL, c.space, 0, P4K, RW))
CALL(unmap_1, pmpt_unmap(NULL, c.space, P4K, P4K))
CALL(user_set, pmpt_user_set(NULL, c.space, 0, 1))
CALL(map_alloc, pmpt_map(NULL, c.space, 3 * P4K, 1, PMPT_PFN_ALLOC, RW))
CALL(map_zero, pmpt_map(NULL, c.space, 4 * P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_ZERO))
CALL(unmap_alloc, pmpt_unmap(NULL, c.space, 3 * P4K, P4K))
CALL(move_1, pmpt_move(NULL, c.space, 0, c.space, 9 * P4K, P4K))
CALL(map_run, pmpt_map(NULL, c.space, P2M, 512, 1024, RE))
CALL(protect_run, pmpt_protect(NULL, c.space, P2M, P2M, RW))
CALL(protect_part, pmpt_protect(NULL, c.space, P2M, P2M / 2, PMPT_R))
CALL(unmap_run, pmpt_unmap(NULL, c.space, P2M, P2M))
CALL(map_run_alloc, pmpt_map(NULL, c.space, 2 * P2M, 512, PMPT_PFN_ALLOC, RW))
CALL(unmap_run_alloc, pmpt_unmap(NULL, c.space, 2 * P2M, P2M))
CALL(map_2m, pmpt_map(NULL, c.space, 3 * P2M, 1, 1024, RE | PMPT_2M))
CALL(split, pmpt_protect(NULL, c.space, 3 * P2M, P4K, RW))
CALL(mend, pmpt_protect(NULL, c.space, 3 * P2M, P4K, PMPT_R))
CALL(collapse, pmpt_collapse(NULL, c.space, 3 * P2M, PMPT_2M))
CALL(move_2m, pmpt_move(NULL, c.space, 3 * P2M, c.space, 5 * P2M, P2M))
CALL(nothing, pmpt_protect(NULL, c.space, P4K, P4K, PMPT_R))

static void test_calls(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
	ok(pmpt_map(NULL, c.space, 0, 1, 1, RE)); /* the tables above are there */
	/* 16 frames zeroed ahead; homes: record, name, two counts, link and PML4, then x */
	COSTS(checkpoint, 0, 16 * 64, 5, 2);
	COSTS(map_1, 1, 1, 0, 1); /* one line, one fence: so it is for one page */
	COSTS(nothing, 0, 0, 0, 0);
	COSTS(replace_1, 1, 1, 0, 1);
	COSTS(protect_1, 1, 1, 0, 1);
	COSTS(move_1, 1, 1, 0, 1); /* two words in a line */
	COSTS(unmap_1, 1, 1, 0, 1);
	COSTS(user_set, 1, 1, 0, 1);
	COSTS(map_alloc, 1, 1, 0, 1); /* entry and count */
	COSTS(map_zero, 1, 1 + 64, 0, 2);
	COSTS(unmap_alloc, 1, 1, 0, 1);
	COSTS(map_run, 1, 1 + 64, 0, 2); /* a fresh table, streamed; its link and its count */
	COSTS(protect_run, 1, 1, 0, 1);  /* a RUN */
	COSTS(protect_part, 1, 1, 0, 1);
	COSTS(unmap_run, 1, 1, 0, 1); /* the table goes: its link and its count */
	COSTS(map_run_alloc, 2, 2 + 64, 0, 2);
	COSTS(unmap_run_alloc, 2, 2, 0, 1);
	COSTS(map_2m, 1, 1, 0, 1);
	COSTS(split, 1, 1 + 64, 0, 2);
	COSTS(mend, 1, 1, 0, 1);
	COSTS(collapse, 1, 1, 0, 1);
	COSTS(move_2m, 1, 1, 0, 1);
	core_verify(&c);
	core_free(&c);
}

/* ---- what is in the pages ---------------------------------------------------------------------- */

static char pages[64 * 4096], back[2 * 4096];
CALL(write_new, pmpt_write(NULL, c.space, P4K, pages, P4K))
CALL(write_over, pmpt_write(NULL, c.space, P4K, pages, P4K))
CALL(write_part, pmpt_write(NULL, c.space, P4K + 77, pages, 5))
CALL(write_two, pmpt_write(NULL, c.space, 2 * P4K - 2, pages, 4))
CALL(write_64, pmpt_write(NULL, c.space, 64 * P4K, pages, 64 * P4K))
CALL(write_64_over, pmpt_write(NULL, c.space, 64 * P4K, pages, 64 * P4K))
CALL(write_none, pmpt_write(NULL, c.space, 64 * P4K, pages, 0))
CALL(read_pages, pmpt_read(NULL, c.space, P4K + 9, back, P4K))
CALL(demand_run, pmpt_map(NULL, c.space, P2M, 512, PMPT_PFN_ALLOC, RW | PMPT_DEMAND))
CALL(demand_1g, pmpt_map(NULL, c.space, P1G, 1, PMPT_PFN_ALLOC, RW | PMPT_DEMAND | PMPT_1G))
CALL(fault_in, pmpt_fault(NULL, c.space, P2M, PMPT_R, NULL))
CALL(fault_again, pmpt_fault(NULL, c.space, P2M, PMPT_W, NULL))
CALL(write_demand, pmpt_write(NULL, c.space, P2M + P4K, pages, 1))

static int write_in_place(void)
{
	pmpt_tx *t;
	int rc = pmpt_begin(c.pool, 0, &t);

	if (!rc)
		rc = pmpt_write(t, c.space, P4K, pages, P4K);
	if (!rc)
		rc = pmpt_write(t, c.space, P4K + 60, pages, 8);
	return rc ? rc : pmpt_commit(t, NULL);
}

static void test_data(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
	ok(pmpt_map(NULL, c.space, 0, 1, 1, RE)); /* the tables above are there */
	ok(pmpt_checkpoint(c.pool));
	COSTS(write_new, 1, 1 + 64, 0, 2);  /* entry and count */
	COSTS(write_over, 2, 2 + 64, 0, 2); /* and the old frame's */
	COSTS(write_part, 2, 2 + 64, 0, 2);
	COSTS(write_two, 3, 3 + 2 * 64, 0, 2);
	COSTS(write_in_place, 2, 2 + 64 + 2, 0, 2); /* two lines of the page once more */
	COSTS(write_64, 2, 2 + 64 * 64, 0, 2);      /* runs: entries, counts */
	COSTS(write_64_over, 3, 3 + 64 * 64, 0, 2);
	COSTS(write_none, 0, 0, 0, 0);
	COSTS(read_pages, 0, 0, 0, 0);
	/* the pool's first one: the superblock says so */
	ok(pmpt_map(NULL, c.space, 0, 1, PMPT_PFN_ALLOC, RW | PMPT_DEMAND | PMPT_REPLACE));
	COSTS(demand_run, 1, 1 + 64, 0, 2); /* a fresh table */
	COSTS(demand_1g, 1, 1, 0, 1);
	COSTS(fault_in, 1, 1 + 64, 0, 2);
	COSTS(fault_again, 0, 0, 0, 0);
	COSTS(write_demand, 1, 1 + 64, 0, 2);
	core_verify(&c);
	core_free(&c);
}

/* ---- spaces ----------------------------------------------------------------------------------- */

static pmpt_space *made;
CALL(create, pmpt_space_create(c.pool, "t", &made))
CALL(rename_it, pmpt_space_rename(c.pool, "t", "a longer name"))
CALL(delete_it, pmpt_space_delete(c.pool, "a longer name"))

static void test_spaces(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
	ok(pmpt_checkpoint(c.pool));
	/* state and root; the first word of the name, and the PML4's count */
	COSTS(create, 2, 2, 0, 1);
	ok(pmpt_map(NULL, made, 0, 1, PMPT_PFN_ALLOC, RW));
	pmpt_space_close(made);
	COSTS(rename_it, 1, 1, 0, 1);
	COSTS(delete_it, 7, 7, 0, 3); /* the name; what is mapped; PML4 and record */
	core_verify(&c);
	core_free(&c);
}

/* ---- transactions ----------------------------------------------------------------------------- */

static pmpt_tx *tx;

static int begin_and_change(unsigned flags)
{
	int rc = pmpt_begin(c.pool, flags, &tx);

	if (!rc)
		rc = pmpt_map(tx, c.space, 0, 1, 3, RE | PMPT_REPLACE);
	if (!rc)
		rc = pmpt_map(tx, c.space, 5 * P4K, 1, 9, RE | PMPT_REPLACE);
	if (!rc)
		rc = pmpt_user_set(tx, c.space, 1, 2);
	return rc;
}

static int tx_commit_3(void)
{
	int rc = begin_and_change(0);

	return rc ? rc : pmpt_commit(tx, NULL);
}

static int tx_abort_3(void)
{
	int rc = begin_and_change(0);

	return rc ? rc : pmpt_abort(tx);
}

static int tx_rolled_back(void)
{
	uint64_t sp;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (!rc)
		rc = pmpt_savepoint(tx, &sp);
	if (!rc)
		rc = pmpt_map(tx, c.space, 0, 1, 4, RE | PMPT_REPLACE);
	if (!rc)
		rc = pmpt_rollback_to(tx, sp);
	return rc ? rc : pmpt_commit(tx, NULL);
}

/* Frames filled in place: their lines, a fence for them, then the line that links them. */
static int tx_frame(void)
{
	uint64_t pfn;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (!rc)
		rc = pmpt_frame_alloc(tx, 1, 1, &pfn);
	if (!rc)
		rc = pmpt_flush(tx, pmpt_frame_ptr(c.pool, pfn), 10 * LINE_BYTES);
	if (!rc)
		rc = pmpt_map(tx, c.space, 7 * P4K, 1, pfn, RW);
	return rc ? rc : pmpt_commit(tx, NULL);
}

static int tx_bulk_commit(void)
{
	int rc = begin_and_change(PMPT_TX_BULK);

	return rc ? rc : pmpt_commit(tx, NULL);
}

static int tx_bulk_spilled(void)
{
	int rc = begin_and_change(PMPT_TX_BULK);

	if (!rc)
		rc = pmpt_protect(tx, c.space, 0, P4K, PMPT_R | PMPT_X);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_protect(tx, c.space, 0, P4K, PMPT_R | PMPT_W);
	return rc ? rc : pmpt_commit(tx, NULL);
}

static int tx_bulk_abort(void)
{
	int rc = begin_and_change(PMPT_TX_BULK);

	if (!rc)
		rc = pmpt_protect(tx, c.space, 0, P4K, PMPT_R | PMPT_X);
	if (!rc)
		rc = bulk_spill(tx);
	return rc ? rc : pmpt_abort(tx);
}

static void test_transactions(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
	ok(pmpt_map(NULL, c.space, 0, 1, 1, RE));
	ok(pmpt_map(NULL, c.space, 5 * P4K, 1, 1, RE));
	ok(pmpt_checkpoint(c.pool));
	COSTS(tx_commit_3, 2, 2, 0, 1); /* two words a line */
	COSTS(tx_abort_3, 0, 0, 0, 0);
	COSTS(tx_rolled_back, 0, 0, 0, 0);
	COSTS(tx_frame, 1, 1, 10, 2);
	ok(pmpt_user_set(NULL, c.space, 1, 0));
	ok(pmpt_unmap(NULL, c.space, 5 * P4K, P4K));
	ok(pmpt_checkpoint(c.pool));
	/* fences: lines and bulk_from; home; two of the checkpoint; bulk_from = 0.  Flushed: bulk_from
	 * twice, homes, checkpoint_lsn */
	COSTS(tx_bulk_commit, 1, 1, 5, 5);
	/* a batch, and its fence, more */
	COSTS(tx_bulk_spilled, 2, 2, 4, 6);
	/* a batch; old values home; bulk_from = 0 */
	COSTS(tx_bulk_abort, 1, 1, 3, 3);
	core_verify(&c);
	core_free(&c);
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int any_page(void *ctx, const struct pmpt_mapping *m)
{
	(void)ctx, (void)m;
	return 0;
}
static int any_name(void *ctx, const char *name)
{
	(void)ctx, (void)name;
	return 0;
}

static int reads(void)
{
	uint64_t va[2] = { 0, P1G }, e[2], word;
	struct pmpt_recovery report;
	struct pmpt_mapping m;
	pmpt_space *s;
	int rc = pmpt_lookup(c.space, 0, e);

	if (!rc)
		rc = pmpt_lookup_batch(c.space, va, 2, e);
	if (!rc)
		rc = pmpt_query(c.space, 0, &m);
	if (!rc)
		rc = pmpt_access(c.space, 0, PMPT_R);
	if (!rc)
		rc = pmpt_walk(c.space, 0, 0, any_page, NULL);
	if (!rc)
		rc = pmpt_user_get(c.space, 0, &word);
	if (!rc)
		rc = pmpt_space_list(c.pool, any_name, NULL);
	if (!rc)
		rc = pmpt_recovery_report(c.pool, &report);
	if (!rc)
		rc = pmpt_space_open(c.pool, "s", &s);
	if (!rc)
		pmpt_space_close(s);
	return rc;
}

static void test_reads(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
	ok(pmpt_map(NULL, c.space, 0, 1, 1, RE));
	COSTS(reads, 0, 0, 0, 0);
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_calls),
					    cmocka_unit_test(test_data),
					    cmocka_unit_test(test_spaces),
					    cmocka_unit_test(test_transactions),
					    cmocka_unit_test(test_reads) };

	return cmocka_run_group_tests_name("golden counts", tests, NULL, NULL);
}
