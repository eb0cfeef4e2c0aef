/* SPDX-License-Identifier: BSD-3-Clause */
/* test_frames -- two actors and the life of frames under every crash: W3, W7, W9, F2, F5, F8 and
 * their rules switched off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tables.h"

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
	assert_int_equal(pmpt_map(NULL, space, P2M + P4K, 1, 9, PMPT_R | PMPT_EXT),
			 0); /* the tables stay */
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
	state[0][0][0] =
		entry_pfn(entry); /* both have returned: what readers see now must survive */
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
	assert_int_equal(pmpt_map(NULL, space, PATTERN_VA + P4K, 1, 9, PMPT_R | PMPT_EXT),
			 0); /* its table is there */
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

/* ---- F2: what a bulk transaction gave back --------------------------------------------------- */

static void pattern_b(void) { other_rc = map_pattern(); }
static void bulk_reuse_run(struct region *rg)
{
	pmpt_tx *tx;

	unrecorded(rg, reuse_setup);
	assert_int_equal(pmpt_begin(pool, PMPT_TX_BULK, &tx), 0);
	assert_int_equal(pmpt_map(tx, space, 3 * P2M, 1, 20, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(bulk_spill(tx), 0);
	assert_int_equal(pmpt_map(tx, space, 3 * P2M + P4K, 1, 21, PMPT_R | PMPT_EXT),
			 0); /* a line on the fresh table */
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

static pthread_barrier_t together;

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

/* Two threads, one lane, one descriptor group: a committer that waits for room with descriptors
 * locked never gets it. */
static void storm_run(struct region *rg)
{
	pthread_t thread[2];

	pm_observer = NULL;
	core_start(rg);
	pthread_barrier_init(&together, NULL, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			pmpt_map(NULL, space, (i + 1) * P2M + P4K, 1, 9, PMPT_R | PMPT_EXT), 0);
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

/* In a child, which an alarm ends when it hangs.  True: it came to its end. */
static bool storm_ends(unsigned seconds)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(seconds);
		(void)enumerate(&storms);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		return false;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return true;
}

static void test_w9(void **unused)
{
	(void)unused;
	assert_true(storm_ends(120));
	rules_off = (uint64_t)1 << RULE_W9_ROOM;
	assert_false(storm_ends(4));
	rules_off = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_w3_f5),    cmocka_unit_test(test_w7),
		cmocka_unit_test(test_f2_table), cmocka_unit_test(test_f2_bulk),
		cmocka_unit_test(test_f8),       cmocka_unit_test(test_w9),
	};

	return cmocka_run_group_tests_name("two actors and the life of frames under every crash",
					   tests, NULL, NULL);
}
