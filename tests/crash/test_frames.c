/* SPDX-License-Identifier: BSD-3-Clause */
/* test_frames -- two actors and the life of frames under every crash: W3, W7, W9, F1, F2, F5, F8 and
 * their rules switched off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tables.h"
#include "tx.h"

static unsigned turn;
static int other_rc;

/* Some program of a family violates with the rule off, and none with it on. */
static void family(enum rule rule, const struct program *p, unsigned turns)
{
	unsigned caught = 0;

	for (turn = 1; turn <= turns; turn++)
		holds(p);
	rules_off = (uint64_t)1 << rule;
	for (turn = 1; turn <= turns; turn++)
		caught += enumerate(p).violation[0] != 0;
	rules_off = 0;
	print_message("    caught with the rule off in %u of %u interleavings\n", caught, turns);
	assert_true(caught > 0);
}

/* ---- W3, F5: two transactions that share a descriptor group, and a descriptor ---------------- */

static void unmap_b(void) { CALL(1, pmpt_unmap(NULL, space, 3 * P2M, P4K), 0); }

static void share_setup(struct region *rg)
{
	uint64_t pfn;

	core_start(rg);
	assert_int_equal(pmpt_map(NULL, space, P2M, 1, PMPT_PFN_ALLOC, PMPT_R), 0);
	pfn = image_frame(rg, P2M);
	assert_int_equal(pmpt_map(NULL, space, 3 * P2M, 1, pfn, PMPT_R), 0);
	/* the tables stay */
	assert_int_equal(pmpt_map(NULL, space, P2M + P4K, 1, 9, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(pmpt_map(NULL, space, 3 * P2M + P4K, 1, 9, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(pmpt_checkpoint(pool), 0);
	probe[0][0] = P2M, probe[1][0] = 3 * P2M;
	state[0][0][0] = state[1][0][0] = pfn;
}
static void share_run(struct region *rg)
{
	unrecorded(rg, share_setup);
	interleave(turn, unmap_b);
	CALL(0, pmpt_unmap(NULL, space, P2M, P4K), 0);
	interleave(0, NULL);
	core_end();
}
PROGRAM(share, "two unmaps of one shared frame");

static void test_w3_f5(void **unused)
{
	(void)unused;
	family(RULE_W3_ABSOLUTE, &share, 1); /* later B would wait for the descriptor */
}

/* ---- W7: the same entry in two transactions -------------------------------------------------- */

static void replace_b(void)
{
	other_rc = pmpt_map(NULL, space, P2M, 1, 9, PMPT_R | PMPT_EXT | PMPT_REPLACE);
}
static void entry_setup(struct region *rg)
{
	core_start(rg);
	assert_int_equal(pmpt_map(NULL, space, P2M, 1, 7, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(pmpt_checkpoint(pool), 0);
	probe[0][0] = P2M;
	state[0][0][0] = 7;
}
static void entry_run(struct region *rg)
{
	uint64_t entry = 0;

	unrecorded(rg, entry_setup);
	interleave(turn, replace_b);
	assert_int_equal(pmpt_map(NULL, space, P2M, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE), 0);
	interleave(0, NULL);
	assert_int_equal(pmpt_lookup(space, P2M, &entry), 0);
	/* both have returned: what readers see now must survive */
	state[0][0][0] = entry_pfn(entry);
	returned();
	core_end();
}
static const char *check_entry(struct region *rg, const struct history *h)
{
	uint64_t pfn = image_frame(rg, P2M);

	if (state[0][0][0] == 7) /* under way */
		return pfn == 7 || pfn == 8 || pfn == 9 ? NULL : "neither the old nor a new frame";
	return check_tables(rg, h);
}
static const struct program entry = { .name = "two replacements of one page",
				      .half_lines = 16,
				      .bulk_lines = 24,
				      .run = entry_run,
				      .check = check_entry,
				      .collapse = true };

static void test_w7(void **unused)
{
	(void)unused;
	family(RULE_W7_LOCKS, &entry, 4);
}

/* ---- F2: a table's frame freed and reused as data -------------------------------------------- */

/* A frame filled in place, then mapped, in one transaction. */
static int map_pattern(void)
{
	pmpt_tx *tx;
	uint64_t pfn;
	pm_word *w;

	assert_int_equal(pmpt_begin(pool, 0, &tx), 0);
	assert_int_equal(pmpt_frame_alloc(tx, 1, 1, &pfn), 0);
	w = pmpt_frame_ptr(pool, pfn);
	for (unsigned i = 0; i < 8; i++)
		pm_store(&tx->pm, &w[i], 0xabcd);
	assert_int_equal(pmpt_flush(tx, w, 8 * 8), 0);
	pattern = 0xabcd;
	assert_int_equal(pmpt_map(tx, space, PATTERN_VA, 1, pfn, PMPT_R), 0);
	return pmpt_commit(tx, NULL);
}

static void reuse_setup(struct region *rg)
{
	core_start(rg);
	/* its table is there */
	assert_int_equal(pmpt_map(NULL, space, PATTERN_VA + P4K, 1, 9, PMPT_R | PMPT_EXT), 0);
	probe[0][0] = P2M;
}
static void reuse_run(struct region *rg)
{
	unrecorded(rg, reuse_setup);
	CALL(0, pmpt_map(NULL, space, P2M, 1, 7, PMPT_R | PMPT_EXT), 7);
	CALL(0, pmpt_protect(NULL, space, P2M, P4K, PMPT_R | PMPT_W), 7); /* a line on the table */
	CALL(0, pmpt_unmap(NULL, space, P2M, P4K), 0);
	pool->frames.n_waiting += 1 << 20; /* worth a grace period, without a checkpoint */
	assert_int_equal(frames_reclaim(&pool->frames, false), 0);
	CALL(0, map_pattern(), 0);
	core_end();
}
PROGRAM(reuse, "a table's frame freed and reused as data");

static void test_f2_table(void **unused)
{
	(void)unused;
	holds(&reuse);
	bites(RULE_F2_TABLE_WAIT, &reuse);
}

/* ---- F1: a frame that the caller filled --------------------------------------------------------- */

static void fill_run(struct region *rg)
{
	unrecorded(rg, reuse_setup);
	CALL(0, map_pattern(), 0);
	core_end();
}
PROGRAM(fill, "a frame filled in place, then mapped");

static void test_f1_filled(void **unused)
{
	(void)unused;
	holds(&fill);
	bites(RULE_F1_CONTENT, &fill);
}

/* ---- F2: what a bulk transaction gave back --------------------------------------------------- */

static void pattern_b(void) { other_rc = map_pattern(); }
static void bulk_reuse_run(struct region *rg)
{
	pmpt_tx *tx;

	unrecorded(rg, reuse_setup);
	assert_int_equal(pmpt_begin(pool, PMPT_TX_BULK, &tx), 0);
	assert_int_equal(pmpt_map(tx, space, 3 * P2M, 1, 20, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(bulk_spill(tx), 0);
	/* a line on the fresh table */
	assert_int_equal(pmpt_map(tx, space, 3 * P2M + P4K, 1, 21, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(bulk_spill(tx), 0);
	interleave(turn, pattern_b);
	CALL(0, pmpt_abort(tx), 0);
	interleave(0, NULL);
	returned();
	core_end();
}
PROGRAM(bulk_reuse, "frames of an aborted bulk transaction");

static void test_f2_bulk(void **unused)
{
	(void)unused;
	family(RULE_F2_BULK_WAIT, &bulk_reuse, 6);
}

/* ---- F8: a table freed under a writer -------------------------------------------------------- */

static void under_run(struct region *rg)
{
	pmpt_tx *writer;

	unrecorded(rg, reuse_setup);
	CALL(0, pmpt_map(NULL, space, P2M, 1, 7, PMPT_R | PMPT_EXT), 7);
	assert_int_equal(pmpt_begin(pool, 0, &writer), 0);
	assert_int_equal(pmpt_protect(writer, space, P2M, P4K, PMPT_R | PMPT_W), 0);
	if (rule_on(RULE_F8_EXCLUDE)) {
		assert_int_equal(pmpt_unmap(NULL, space, P2M, P2M), PMPT_E_CONFLICT);
	} else {
		CALL(0, pmpt_unmap(NULL, space, P2M, P2M), 0);
		assert_int_equal(frames_reclaim(&pool->frames, true), 0);
		CALL(0, map_pattern(), 0);
	}
	assert_int_equal(pmpt_commit(writer, NULL), 0);
	returned();
	core_end();
}
PROGRAM(under, "a table freed under a writer");

static void test_f8(void **unused)
{
	(void)unused;
	holds(&under);
	bites(RULE_F8_EXCLUDE, &under);
}

/* ---- W9: room before locks ------------------------------------------------------------------- */

/* Two threads, one lane, one descriptor group: a committer that waits for room with descriptors
 * locked never gets it.  Both meet once: the one that takes the lane first with the rule off, too,
 * stops in the checkpoint that makes room there, until the other has locked the descriptors; with
 * the rule on that one waits for the lane before, and this one goes on after MEET_MS.  Then, and
 * with the rule on to the end, they run as they like. */
#define MEET_MS 300

static pthread_barrier_t together;
static _Atomic bool in_checkpoint, met;
static int report;                          /* a pipe: a byte when both hold what the other wants */
static _Thread_local struct pmpt_tx *taker; /* this thread's, from its plan until it has a lane */

/* False: it did not come true in time. */
static bool wait_for(const _Atomic uint32_t *lock, const _Atomic bool *flag, unsigned ms)
{
	for (; ms; ms--) {
		if ((lock && atomic_load(lock)) || (flag && atomic_load(flag)))
			return true;
		(void)usleep(1000);
	}
	return false;
}

static void meet(void *ctx, const struct pm_event *event)
{
	struct group *group = ctx;
	const struct wal *wal = &pool->wal;

	if (event->kind == PM_EV_STEP && event->pm == &wal->lane[0].pm) {
		taker = NULL;
	} else if (event->kind == PM_EV_STEP && event->pm != &wal->pm) {
		taker = (struct pmpt_tx *)(void *)((char *)event->pm -
						   offsetof(struct pmpt_tx, pm));
		if (taker->id % 2 == 0 && !wait_for(NULL, &in_checkpoint, 60000))
			_exit(2);
	} else if (event->pm == &wal->pm && taker && taker->id % 2 &&
		   !atomic_exchange(&met, true)) {
		atomic_store(&in_checkpoint, true);
		if (wait_for(&group->desc_lock, NULL, rule_on(RULE_W9_ROOM) ? MEET_MS : 60000) &&
		    write(report, "m", 1) != 1)
			_exit(3);
	}
}

static void *storm(void *arg)
{
	uint64_t va = (uint64_t)(uintptr_t)arg;

	pthread_barrier_wait(&together);
	for (unsigned i = 0; i < 50000; i++) {
		assert_int_equal(pmpt_map(NULL, space, va, 1, PMPT_PFN_ALLOC, PMPT_R), 0);
		assert_int_equal(pmpt_unmap(NULL, space, va, P4K), 0);
	}
	return NULL;
}

static void storm_run(struct region *rg)
{
	pthread_t thread[2];

	pm_observer = NULL;
	core_start(rg);
	pthread_barrier_init(&together, NULL, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pmpt_map(NULL, space, (i + 1) * P2M + P4K, 1, 9, PMPT_R | PMPT_EXT), 0);
	pm_observer_ctx = frames_group(&pool->frames, region_off(rg, space->root) >> FRAME_SHIFT);
	pm_observer = meet;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, storm, (void *)(uintptr_t)((i + 1) * P2M)),
			0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	core_end();
}
static const char *check_nothing(struct region *rg, const struct history *h)
{
	(void)rg, (void)h;
	return NULL;
}
static const struct program storms = { .name = "two threads, one lane",
				       .n_lanes = 1,
				       .half_lines = 16,
				       .run = storm_run,
				       .check = check_nothing,
				       .depth = 1 };

/* The storm in a child.  An alarm ends one that hangs; one in which both hold what the other wants
 * is given 3 seconds to show that it goes on all the same.
 * Returns whether it came to its end; crossed: out, whether both did. */
static bool storm_ends(bool *crossed)
{
	struct pollfd end = { .events = POLLIN };
	int to[2], status = 0;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(to), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(to[0]);
		report = to[1];
		alarm(120);
		(void)enumerate(&storms);
		_exit(0);
	}
	(void)close(to[1]);
	end.fd = to[0];
	*crossed = read(to[0], &byte, 1) == 1;
	if (*crossed && poll(&end, 1, 3000) == 0)
		(void)kill(pid, SIGALRM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)close(to[0]);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		return false;
	if (status)
		fail_msg("the storm ended with status %#x", (unsigned)status);
	return true;
}

static void test_w9(void **unused)
{
	bool crossed;

	(void)unused;
	assert_true(storm_ends(&crossed));
	assert_false(crossed);
	rules_off = (uint64_t)1 << RULE_W9_ROOM;
	assert_false(storm_ends(&crossed));
	assert_true(crossed);
	rules_off = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_w3_f5),     cmocka_unit_test(test_w7),
		cmocka_unit_test(test_f1_filled), cmocka_unit_test(test_f2_table),
		cmocka_unit_test(test_f2_bulk),   cmocka_unit_test(test_f8),
		cmocka_unit_test(test_w9),
	};

	return cmocka_run_group_tests_name("two actors and the life of frames under every crash",
					   tests, NULL, NULL);
}
