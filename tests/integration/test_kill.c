/* SPDX-License-Identifier: BSD-3-Clause */
/* test_kill -- 100 rounds of SIGKILL: a child storms a real pool on tmpfs from two threads and
 * acknowledges each commit over a pipe; after each kill every acknowledged transaction is there,
 * none half there, and the verifier finds nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpmpt.h"

#define ROUNDS  100
#define THREADS 2
#define PAGES   6u

static char path[64];

/* Thread t's transaction n: PAGES pages in two tables get frame n, its user word n; every 7th maps
 * and unmaps frames of the pool too. */
static uint64_t va_of(unsigned t, unsigned i)
{
	return ((uint64_t)(t + 1) << 30) + (i % 2 ? (uint64_t)2 << 20 : 0) + ((uint64_t)i << 12);
}

static int change(pmpt_pool *pool, pmpt_space *space, unsigned t, uint64_t n)
{
	uint64_t extra = ((uint64_t)(t + 1) << 30) + ((uint64_t)8 << 20);
	pmpt_tx *tx;
	int rc = pmpt_begin(pool, 0, &tx);

	for (unsigned i = 0; i < PAGES && !rc; i++)
		rc = pmpt_map(tx, space, va_of(t, i), 1, n, PMPT_R | PMPT_EXT | PMPT_REPLACE);
	if (!rc && n % 7 == 0)
		rc = pmpt_unmap(tx, space, extra, 64 << 12);
	if (!rc && n % 7 == 3)
		rc = pmpt_map(tx, space, extra, 64, PMPT_PFN_ALLOC, PMPT_R | PMPT_REPLACE);
	if (!rc)
		rc = pmpt_user_set(tx, space, 0, n);
	return rc ? rc : pmpt_commit(tx, NULL);
}

struct storm {
	pmpt_pool *pool;
	unsigned t;
	int fd;
};

/* The child's last words: without them the parent sees an end of file. */
static void child_ok(int rc, const char *what)
{
	if (!rc)
		return;
	print_error("child %d: %s: %s: %s\n", (int)getpid(), what, pmpt_strerror(rc),
		    rc < 0 ? pmpt_errormsg() : "");
	_exit(1);
}

static void *storm(void *arg)
{
	const struct storm *s = arg;
	pmpt_space *space;
	char name[2] = { (char)('a' + s->t), 0 };
	uint64_t n;

	child_ok(pmpt_space_open(s->pool, name, &space), "space_open");
	child_ok(pmpt_user_get(space, 0, &n), "user_get");
	for (;;) {
		uint64_t ack[2] = { s->t, ++n };

		child_ok(change(s->pool, space, s->t, n), "a transaction");
		if (write(s->fd, ack, sizeof(ack)) != sizeof(ack))
			child_ok(-errno, "write");
	}
	return NULL;
}

static void child(int fd)
{
	struct storm s[THREADS];
	pthread_t thread;
	pmpt_pool *pool;

	child_ok(pmpt_open(path, 0, &pool), "open");
	for (unsigned t = 0; t < THREADS; t++) {
		s[t] = (struct storm){ pool, t, fd };
		child_ok(-pthread_create(&thread, NULL, storm, &s[t]), "pthread_create");
	}
	for (;;)
		pause();
}

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

static void judge(const uint64_t acked[THREADS])
{
	struct pmpt_check summary;
	pmpt_pool *pool;

	assert_int_equal(pmpt_check(path, finding, NULL, NULL, &summary), 0);
	assert_int_equal(summary.findings, 0);
	assert_int_equal(pmpt_open(path, 0, &pool), 0);
	for (unsigned t = 0; t < THREADS; t++) {
		char name[2] = { (char)('a' + t), 0 };
		pmpt_space *space;
		uint64_t n;

		assert_int_equal(pmpt_space_open(pool, name, &space), 0);
		assert_int_equal(pmpt_user_get(space, 0, &n), 0);
		assert_true(n >= acked[t]);
		for (unsigned i = 0; i < PAGES && n; i++) {
			struct pmpt_mapping m;

			assert_int_equal(pmpt_query(space, va_of(t, i), &m), 0);
			assert_int_equal(m.pfn, n); /* none half there */
		}
		pmpt_space_close(space);
	}
	assert_int_equal(pmpt_close(pool), 0);
}

static void test_kill(void **state)
{
	uint64_t acked[THREADS] = { 0 }, total = 0;
	pmpt_pool *pool;

	(void)state;
	snprintf(path, sizeof(path), "/dev/shm/libpmpt-kill.%d", (int)getpid());
	assert_int_equal(
		pmpt_create(path,
			    &(struct pmpt_config){ .pool_bytes = 32 << 20, .lane_bytes = 64 << 10 },
			    &pool),
		0);
	for (unsigned t = 0; t < THREADS; t++) {
		char name[2] = { (char)('a' + t), 0 };
		pmpt_space *space;

		assert_int_equal(pmpt_space_create(pool, name, &space), 0);
		pmpt_space_close(space);
	}
	assert_int_equal(pmpt_close(pool), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t ack[2], wanted = 20 + (round * 7919) % 3000, got = 0;
		int fd[2], status;
		pid_t pid;

		assert_int_equal(pipe(fd), 0);
		pid = fork();
		if (pid == 0) {
			close(fd[0]);
			child(fd[1]);
			_exit(1);
		}
		close(fd[1]);
		/* to the end: what was acknowledged before the kill counts */
		while (read(fd[0], ack, sizeof(ack)) == sizeof(ack)) {
			acked[ack[0]] = ack[1] > acked[ack[0]] ? ack[1] : acked[ack[0]];
			if (++got == wanted)
				kill(pid, SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		close(fd[0]);
		if (got < wanted)
			fail_msg("round %u: child %d ended after %lu of %lu: status %#x", round,
				 (int)pid, got, wanted, status);
		total += got;
		judge(acked);
	}
	print_message("%u rounds, %lu acknowledged transactions\n", ROUNDS, total);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_kill) };

	return cmocka_run_group_tests_name("killed processes", tests, NULL, NULL);
}
