/* SPDX-License-Identifier: BSD-3-Clause */
/* test_check_pool -- pmpt_check() on pools that the library itself made: while they are open,
 * closed, left by a killed process, in a pool set of two parts, and under commits that go on. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpmpt.h"

static char dir[64], path[96];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/pmpt-check-XXXXXX",
		       access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/pool", dir);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

static void expect_clean(struct pmpt_check *sum)
{
	int rc = pmpt_check(path, finding, NULL, NULL, sum);

	if (rc)
		fail_msg("%s: %s", pmpt_strerror(rc), pmpt_errormsg());
	assert_int_equal(sum->findings, 0);
}

#define OK(call)                                                                              \
	do {                                                                                  \
		int ok_rc = (call);                                                           \
		if (ok_rc)                                                                    \
			fail_msg("%s: %s: %s", #call, pmpt_strerror(ok_rc), pmpt_errormsg()); \
	} while (0)

/* Spaces with pages of all sizes, shared frames, holes, and one that is gone again. */
static void fill(pmpt_pool *pool)
{
	pmpt_space *a, *b, *c;
	struct pmpt_mapping m;

	OK(pmpt_space_create(pool, "a", &a));
	OK(pmpt_space_create(pool, "b\xc3\xa9", &b));
	OK(pmpt_space_create(pool, "gone", &c));
	OK(pmpt_map(NULL, a, 0, 700, PMPT_PFN_ALLOC, PMPT_R | PMPT_W));
	OK(pmpt_map(NULL, a, 0x40000000, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_W | PMPT_2M));
	OK(pmpt_map(NULL, a, 0x80000000, 1, 0, PMPT_R | PMPT_EXT | PMPT_1G));
	OK(pmpt_map(NULL, a, 0xffff800000000000, 3, 77, PMPT_R | PMPT_EXT | PMPT_TAG(3)));
	OK(pmpt_query(a, 0x1000, &m));
	OK(pmpt_map(NULL, b, 0x7000, 20, m.pfn, PMPT_R));
	OK(pmpt_unmap(NULL, a, 0x40000000, 0x3000));
	OK(pmpt_protect(NULL, a, 0x4000, 0x8000, PMPT_R | PMPT_X));
	OK(pmpt_user_set(NULL, b, 2, 42));
	OK(pmpt_map(NULL, c, 0, 10, PMPT_PFN_ALLOC, PMPT_R));
	pmpt_space_close(c);
	OK(pmpt_space_delete(pool, "gone"));
	pmpt_space_close(a);
	pmpt_space_close(b);
}

static void test_open_and_closed(void **state)
{
	struct pmpt_config config = { .pool_bytes = 32u << 20 };
	struct pmpt_check sum;
	struct pmpt_stats stats;
	pmpt_pool *pool;

	(void)state;
	OK(pmpt_create(path, &config, &pool));
	expect_clean(&sum);
	assert_true(sum.live);
	assert_int_equal(sum.spaces, 0);
	fill(pool);
	expect_clean(&sum);
	assert_true(sum.live);
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(sum.tables, stats.frames_table);
	assert_int_equal(sum.data_frames, stats.frames_data);
	assert_int_equal(sum.free_frames, stats.frames_free + stats.frames_held);
	assert_int_equal(sum.spaces, 2);
	assert_int_equal(sum.leaves, 700 + 509 + 1 + 3 + 20);
	assert_true(sum.recovery.redone > 0);
	OK(pmpt_close(pool));
	expect_clean(&sum);
	assert_false(sum.live);
	OK(pmpt_open(path, 0, &pool)); /* the check has left no lock */
	OK(pmpt_close(pool));
}

static void test_killed(void **state)
{
	struct pmpt_check sum;
	pmpt_pool *pool;
	pid_t child;
	int status;

	(void)state;
	child = fork();
	if (child == 0) {
		OK(pmpt_create(path, NULL, &pool));
		fill(pool);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	expect_clean(&sum);
	assert_false(sum.live);
	assert_int_equal(sum.spaces, 2);
	assert_true(sum.recovery.redone > 5);
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_close(pool));
	expect_clean(&sum);
	assert_int_equal(sum.spaces, 2);
}

static void test_set(void **state)
{
	struct pmpt_check sum;
	pmpt_pool *pool;
	FILE *f;

	(void)state;
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fprintf(f, "PMEMPOOLSET\n20M %s/one\n21M %s/two\n", dir, dir);
	(void)fclose(f);
	OK(pmpt_create(path, NULL, &pool));
	fill(pool);
	expect_clean(&sum);
	assert_true(sum.live);
	OK(pmpt_close(pool));
	expect_clean(&sum);
	assert_false(sum.live);
	assert_int_equal(sum.spaces, 2);
	assert_int_equal(sum.leaves, 700 + 509 + 1 + 3 + 20);
}

/* ---- commits that go on --------------------------------------------------------------------- */

static _Atomic bool stop;

static void *committer(void *arg)
{
	pmpt_space *space = arg;

	for (unsigned i = 0; !stop; i++) {
		if (pmpt_map(NULL, space, (i % 64) << 12, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_REPLACE))
			return "map";
		if (i % 7 == 0 && pmpt_unmap(NULL, space, 0, 64 << 12))
			return "unmap";
	}
	return NULL;
}

/* Whatever the moment: no findings, or inconclusive. */
static void test_busy(void **state)
{
	struct pmpt_check sum;
	pmpt_space *space;
	pmpt_pool *pool;
	pthread_t thread;
	void *failed;
	unsigned busy = 0;

	(void)state;
	OK(pmpt_create(path, NULL, &pool));
	OK(pmpt_space_create(pool, "a", &space));
	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, committer, space), 0);
	for (int i = 0; i < 20; i++) {
		int rc = pmpt_check(path, finding, NULL, NULL, &sum);

		busy += rc == PMPT_E_BUSY_CHECK;
		if (rc != PMPT_E_BUSY_CHECK && (rc || sum.findings))
			fail_msg("%s: %s, %lu findings", pmpt_strerror(rc), pmpt_errormsg(),
				 sum.findings);
	}
	stop = true;
	pthread_join(thread, &failed);
	if (failed)
		fail_msg("%s failed", (const char *)failed);
	print_message("%u of 20 checks were inconclusive\n", busy);
	expect_clean(&sum);
	pmpt_space_close(space);
	OK(pmpt_close(pool));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_open_and_closed), TEST(test_killed),
					    TEST(test_set), TEST(test_busy) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
