/* SPDX-License-Identifier: BSD-3-Clause */
/* test_storm -- the judgement of `pmpt storm`, which `make demo` shows, and that it can fail.
 *
 * The writer kills itself in the middle of applying a committed transaction: some of its home words
 * are stored, some are not, or none is.  With recovery the pool is as after whole transactions, at
 * each kill.  With recovery left out the same judgement finds the half, or the loss.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <cmocka.h>

#include "../../tools/storm.c"
#include "pool.h"

#define SEED  4711
#define KILLS 20

static char path[64];
static unsigned kill_at;                /* the transaction of which a part is stored */
static unsigned after_store;            /* so many of its words */
static _Atomic unsigned applied;        /* transactions that stored as many */
static _Thread_local unsigned n_stores; /* since this thread's last fence */

static void die_half_way(void *ctx, const struct pm_event *event)
{
	(void)ctx;
	if (event->kind == PM_EV_FENCE)
		n_stores = 0;
	if (event->kind == PM_EV_STORE && n_stores++ == after_store &&
	    atomic_fetch_add(&applied, 1) + 1 == kill_at)
		(void)kill(getpid(), SIGKILL);
}

static void arm(void) { pm_observer = die_half_way; }

static int setup(void **state)
{
	const struct pmpt_config config = { .pool_bytes = 64 << 20 };
	pmpt_pool *pool;

	(void)state;
	snprintf(path, sizeof(path), "%s/pmpt-storm-%d",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm", (int)getpid());
	(void)unlink(path);
	return pmpt_create(path, &config, &pool) || pmpt_close(pool);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

/* One storm that ends in the middle of a transaction. */
static void storm_half(unsigned threads, unsigned at, unsigned words, struct storm_round *round)
{
	const struct storm storm = {
		.path = path, .seed = SEED, .threads = threads, .in_writer = arm
	};
	int rc;

	kill_at = at;
	after_store = words;
	atomic_store(&applied, 0);
	memset(round->acknowledged, 0, sizeof(round->acknowledged));
	*round->why = '\0';
	rc = storm_kill(&storm, round);
	if (rc)
		fail_msg("storm: %d %s", rc, round->why);
}

static int verify(unsigned threads, bool recover, struct storm_round *round)
{
	const struct storm storm = { .path = path, .seed = SEED, .threads = threads };
	int rc;

	test_skip_recovery = !recover;
	rc = storm_verify(&storm, round);
	test_skip_recovery = false;
	return rc;
}

/* Both.  Returns the judgement. */
static int judge(unsigned threads, unsigned at, unsigned words, bool recover,
		 struct storm_round *round)
{
	storm_half(threads, at, words, round);
	return verify(threads, recover, round);
}

static void test_recovery_completes_each_half(void **state)
{
	struct storm_round round = { 0 };
	uint64_t redone = 0;

	(void)state;
	for (unsigned i = 0; i < KILLS; i++) {
		int rc = judge(1 + i % 3, 5 + 7 * i, 1 + i % 4, true, &round);

		if (rc)
			fail_msg("kill %u: %d %s", i, rc, round.why);
		redone += round.recovery.redone;
	}
	assert_true(redone >= KILLS); /* there was something to complete each time */
}

/* One thread: which words are stored is the same at each run. */
static void test_without_recovery_the_half_is_found(void **state)
{
	unsigned found = 0;

	for (unsigned i = 0; i < KILLS; i++) {
		struct storm_round round = { 0 };

		assert_int_equal(setup(state), 0);
		found += judge(1, 30 + i, 1, false, &round) == 1;
		assert_int_equal(setup(state), 0);
		assert_int_equal(judge(1, 30 + i, 1, true, &round), 0);
	}
	/* not all: a word may be stored that was the same before, or be a frame's descriptor */
	assert_in_range(found, KILLS / 2, KILLS);
}

/* Killed between the fence of a commit and its first store: nothing of the transaction is home, and
 * it would have been acknowledged.  It is there by recovery alone, every time. */
static void test_without_recovery_a_durable_transaction_is_lost(void **state)
{
	for (unsigned i = 0; i < KILLS; i++) {
		for (unsigned recover = 0; recover < 2; recover++) {
			struct storm_round round = { 0 };

			assert_int_equal(setup(state), 0);
			storm_half(1, 1 + 3 * i, 0, &round);
			assert_int_equal(round.acknowledged[0], 3 * i);
			round.acknowledged[0]++;
			assert_int_equal(verify(1, recover, &round), !recover);
			if (!recover)
				assert_non_null(strstr(round.why, "was acknowledged"));
			else /* once recovered, there is nothing to skip */
				assert_int_equal(verify(1, false, &round), 0);
		}
	}
}

/* The judgement of acknowledgements. */
static void test_a_lost_transaction_is_found(void **state)
{
	const struct storm storm = { .path = path, .seed = SEED, .threads = 1 };
	struct storm_round round = { 0 };
	uint64_t last;

	(void)state;
	assert_int_equal(judge(1, 50, 1, true, &round), 0);
	last = round.before[0];
	round.acknowledged[0] = last; /* true */
	assert_int_equal(storm_verify(&storm, &round), 0);
	round.acknowledged[0] = last - 1; /* and one that could not say so any more */
	assert_int_equal(storm_verify(&storm, &round), 0);
	round.acknowledged[0] = last + 1; /* one that was never committed */
	assert_int_equal(storm_verify(&storm, &round), 1);
	assert_non_null(strstr(round.why, "was acknowledged"));
	*round.why = '\0';
	round.acknowledged[0] = last - 2; /* two came after it: only one may have */
	assert_int_equal(storm_verify(&storm, &round), 1);
}

/* The judgement of pages: each kind of change by another hand. */
static void test_a_changed_page_is_found(void **state)
{
	const struct storm storm = { .path = path, .seed = SEED, .threads = 1 };
	struct storm_round round = { 0 };
	struct pmpt_mapping old = { 0 };
	pmpt_space *space;
	pmpt_pool *pool;

	(void)state;
	assert_int_equal(judge(1, 50, 1, true, &round), 0);
	for (unsigned change = 0; change < 4; change++) {
		uint64_t va = WINDOW(0);

		assert_int_equal(pmpt_open(path, 0, &pool), 0);
		assert_int_equal(pmpt_space_open(pool, "storm-0", &space), 0);
		while (pmpt_query(space, va, &old) || !(old.flags & PMPT_EXT))
			va += PMPT_PAGE_BYTES;
		if (change == 0)
			assert_int_equal(pmpt_unmap(NULL, space, va, PMPT_PAGE_BYTES), 0);
		if (change == 1)
			assert_int_equal(
				pmpt_map(NULL, space, va, 1, old.pfn + 1, old.flags | PMPT_REPLACE),
				0);
		if (change == 2)
			assert_int_equal(pmpt_map(NULL, space, va, 1, old.pfn,
						  (old.flags ^ PMPT_W) | PMPT_REPLACE),
					 0);
		if (change == 3)
			assert_int_equal(pmpt_map(NULL, space, WINDOW(1), 1, 1, PMPT_R | PMPT_EXT),
					 0);
		pmpt_space_close(space);
		assert_int_equal(pmpt_close(pool), 0);
		round.acknowledged[0] = round.before[0];
		*round.why = '\0';
		assert_int_equal(storm_verify(&storm, &round), 1);
		assert_int_equal(pmpt_open(path, 0, &pool), 0);
		assert_int_equal(pmpt_space_open(pool, "storm-0", &space), 0);
		assert_int_equal(pmpt_unmap(NULL, space, WINDOW(1), PMPT_PAGE_BYTES), 0);
		assert_int_equal(pmpt_map(NULL, space, va, 1, old.pfn, old.flags | PMPT_REPLACE),
				 0);
		pmpt_space_close(space);
		assert_int_equal(pmpt_close(pool), 0);
		*round.why = '\0';
		assert_int_equal(storm_verify(&storm, &round), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_recovery_completes_each_half, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_recovery_the_half_is_found, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_without_recovery_a_durable_transaction_is_lost,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_lost_transaction_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_changed_page_is_found, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
