/* SPDX-License-Identifier: BSD-3-Clause */
/* test_sabotage -- a writer that dies between the fence of a commit and its stores: with recovery the
 * storm's judge finds nothing, with recovery skipped it finds the lost transaction, every time.
 *
 * The child runs the engine of `pmpt storm` on a pool on tmpfs and kills itself at a store of the
 * n-th transaction, before that store takes place; a byte in a pipe says that the fence is through.
 * So transaction n is durable in the log and not, or partly, at home.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool.h"

#include "../../tools/storm_engine.c"

static char path[64];

/* ---- the writer, in a child ------------------------------------------------------------------- */

enum place {
	FIRST_IN_TABLE, /* the first home store whose address lies in a table */
	SECOND_HOME,    /* the second home store: one word is home, others are not */
};
struct killer {
	struct pmpt_pool *pool;
	enum place place;
	int report;
	bool armed, fenced;
	unsigned stores;
};

static bool in_table(struct pmpt_pool *pool, const void *addr)
{
	const pm_word *desc = frames_desc(&pool->frames, region_off(pool->rg, addr) >> FRAME_SHIFT);

	return desc && desc_count(word_load(desc)) && desc_kind(word_load(desc)) == DESC_TABLE;
}

static void on_event(void *ctx, const struct pm_event *event)
{
	struct killer *k = ctx;

	if (!k->armed)
		return;
	if (event->kind == PM_EV_FENCE)
		k->fenced = true;
	if (event->kind != PM_EV_STORE || !k->fenced)
		return;
	k->stores++;
	if (k->place == SECOND_HOME ? k->stores < 2 : !in_table(k->pool, event->addr))
		return;
	if (write(k->report, "f", 1) == 1)
		(void)raise(SIGKILL);
	_exit(6);
}

_Noreturn static void child(uint64_t n, enum place place, int report)
{
	static struct engine engine;
	struct killer killer = { .place = place, .report = report };

	if (pmpt_open(path, 0, &killer.pool) || engine_open(&engine, killer.pool, 0, true))
		_exit(2);
	while (engine.sequence + 1 < n) {
		if (engine_next(&engine))
			_exit(3);
	}
	pm_observer_ctx = &killer;
	pm_observer = on_event;
	killer.armed = true;
	(void)engine_next(&engine);
	_exit(4); /* not reached */
}

/* A pool in which transaction n of thread 0 is durable and not applied. */
static void make_killed(uint64_t n, enum place place)
{
	const struct pmpt_config config = { .pool_bytes = 64 << 20 };
	pmpt_pool *pool;
	char byte = 0;
	int fd[2], status;
	pid_t pid;

	(void)unlink(path);
	assert_int_equal(pmpt_create(path, &config, &pool), 0);
	assert_int_equal(pmpt_close(pool), 0);
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fd[0]);
		child(n, place, fd[1]);
	}
	close(fd[1]);
	assert_int_equal(read(fd[0], &byte, 1), 1); /* the fence is through */
	assert_int_equal(byte, 'f');
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- the judgement ---------------------------------------------------------------------------- */

/* As `storm --verify` does.  Returns 0 or 1; why: out. */
static int judge(uint64_t acknowledged, bool skip_recovery, char why[200])
{
	static struct engine engine;
	pmpt_pool *pool;
	int rc;

	test_skip_recovery = skip_recovery;
	rc = pmpt_open(path, 0, &pool);
	test_skip_recovery = false;
	assert_int_equal(rc, 0);
	assert_int_equal(engine_open(&engine, pool, 0, false), 0);
	rc = engine_verify(&engine, acknowledged, why);
	engine_close(&engine);
	assert_int_equal(pmpt_close(pool), 0);
	return rc;
}

static const uint64_t numbers[] = { 1, 2, 4, 5, 16, 100, 1001, 20000 };
#define N_NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static void each(enum place place)
{
	char why[200];

	for (size_t i = 0; i < N_NUMBERS; i++) {
		make_killed(numbers[i], place);
		assert_int_equal(judge(numbers[i], false, why), 0);
		/* once recovered, there is nothing to skip */
		assert_int_equal(judge(numbers[i], true, why), 0);

		make_killed(numbers[i], place);
		assert_int_equal(judge(numbers[i], true, why), 1);
		print_message("transaction %lu, recovery skipped: %s\n", (unsigned long)numbers[i],
			      why);
	}
	(void)unlink(path);
}

static void test_before_the_first_store_in_a_table(void **state)
{
	(void)state;
	each(FIRST_IN_TABLE);
}

/* Nobody heard of transaction n here: what fails is that a part of it is there. */
static void test_between_two_stores(void **state)
{
	char why[200];

	(void)state;
	each(SECOND_HOME);
	for (size_t i = 0; i < N_NUMBERS; i++) {
		make_killed(numbers[i], SECOND_HOME);
		assert_int_equal(judge(0, true, why), 1);
		assert_non_null(strstr(why, "half there"));
		make_killed(numbers[i], SECOND_HOME);
		assert_int_equal(judge(0, false, why), 0);
	}
	(void)unlink(path);
}

/* The judge bites without any crash too: too few and too many transactions, a page too many, one
 * changed, one missing. */
static void test_judge(void **state)
{
	static struct engine engine;
	pmpt_space *space;
	pmpt_pool *pool;
	char why[200];

	(void)state;
	(void)unlink(path);
	assert_int_equal(pmpt_create(path, &(struct pmpt_config){ .pool_bytes = 32 << 20 }, &pool),
			 0);
	assert_int_equal(engine_open(&engine, pool, 0, true), 0);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(engine_next(&engine), 0);
	engine_close(&engine);
	assert_int_equal(pmpt_close(pool), 0);
	assert_int_equal(judge(50, false, why), 0);
	assert_int_equal(judge(49, false, why), 0);
	assert_int_equal(judge(48, false, why), 1);
	assert_int_equal(judge(51, false, why), 1);

	assert_int_equal(pmpt_open(path, 0, &pool), 0);
	assert_int_equal(pmpt_space_open(pool, "storm-0", &space), 0);
	assert_int_equal(pmpt_map(NULL, space, 4096, 1, 1, PMPT_R | PMPT_EXT), 0);
	pmpt_space_close(space);
	assert_int_equal(pmpt_close(pool), 0);
	assert_int_equal(judge(50, false, why), 1);
	assert_non_null(strstr(why, "no transaction does"));

	assert_int_equal(pmpt_open(path, 0, &pool), 0);
	assert_int_equal(pmpt_space_open(pool, "storm-0", &space), 0);
	assert_int_equal(pmpt_unmap(NULL, space, 4096, 4096), 0);
	for (unsigned i = 0; i < ENGINE_SLOTS; i++)
		assert_int_equal(pmpt_unmap(NULL, space, slot_va(i), 4096), 0);
	pmpt_space_close(space);
	assert_int_equal(pmpt_close(pool), 0);
	assert_int_equal(judge(50, false, why), 1);
	assert_non_null(strstr(why, "half there"));
	(void)unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_the_first_store_in_a_table),
		cmocka_unit_test(test_between_two_stores),
		cmocka_unit_test(test_judge),
	};

	snprintf(path, sizeof(path), "/dev/shm/libpmpt-sabotage.%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
