/* SPDX-License-Identifier: BSD-3-Clause */
/* test_low_fds -- a program that was started with standard descriptors closed prints while it has a
 * pool open: none of it goes into the pool, and the descriptors are as closed as before.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "low_fds.h"
#include "pool_file.h"

/* ---- the program, in a child: each step has its exit code ------------------------------------ */

static bool are_closed(unsigned mask)
{
	for (int fd = 0; fd < 3; fd++) {
		/* not `(fcntl() < 0) != bit`: gcc 12.2 drops the comparison with 0 there */
		if (mask & 1u << fd ? fcntl(fd, F_GETFD) >= 0 : fcntl(fd, F_GETFD) < 0)
			return false;
	}
	return true;
}

/* Into each descriptor, from its start as far as that goes. */
static void print_all(void)
{
	static const char text[] = "what a program prints while a pool is open\n";

	for (int fd = 0; fd < 3; fd++) {
		(void)!pwrite(fd, text, sizeof(text), 0);
		(void)!write(fd, text, sizeof(text));
	}
	(void)printf("%s", text);
	(void)fflush(stdout);
}

static void on_progress(void *ctx, unsigned permille)
{
	(void)ctx, (void)permille;
	print_all();
}

static int program(unsigned mask, bool create)
{
	pmpt_space *space;
	pmpt_pool *pool;

	for (int fd = 0; fd < 3; fd++) {
		if (mask >> fd & 1)
			(void)close(fd);
	}
	if (create ? pmpt_create(path, &smallest, &pool) : pmpt_open(path, 0, &pool))
		return 1;
	if (!are_closed(mask))
		return 2;
	print_all();
	if (pmpt_space_open(pool, "s", &space) && pmpt_space_create(pool, "s", &space))
		return 3;
	if (pmpt_map(NULL, space, 0, 5, PMPT_PFN_ALLOC, PMPT_R | PMPT_REPLACE))
		return 4;
	print_all();
	pmpt_space_close(space);
	if (pmpt_close(pool))
		return 5;
	if (pmpt_check(path, NULL, on_progress, NULL, NULL))
		return 6;
	return are_closed(mask) ? 0 : 7;
}

static void run(unsigned mask, bool create)
{
	struct pmpt_check sum;
	int status;
	pid_t child = fork();

	if (child == 0) {
		/* what is open leads nowhere */
		for (int fd = 0, null = open("/dev/null", O_RDWR); fd < 3; fd++)
			(void)dup2(null, fd);
		(void)setvbuf(stdout, NULL, _IOFBF, 256);
		_exit(program(mask, create));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (status)
		fail_msg("closed %#x, %s: status %#x", mask, create ? "create" : "open", status);
	OK(pmpt_check(path, NULL, NULL, NULL, &sum));
	assert_int_equal(sum.findings, 0);
	assert_int_equal(sum.leaves, 5);
}

static void test_closed(void **state)
{
	pmpt_pool *pool;

	(void)state;
	need_place();
	for (unsigned mask = 0; mask < 8; mask++) {
		run(mask, true);
		run(mask, false);
		OK(pmpt_open(path, 0, &pool)); /* libpmemobj's header is whole, too */
		OK(pmpt_close(pool));
		assert_int_equal(unlink(path), 0);
	}
}

/* An open that fails leaves none of them behind. */
static void test_refused(void **state)
{
	int status;
	pid_t child;

	(void)state;
	need_place();
	write_at(path, 0, "no pool", 7);
	child = fork();
	if (child == 0) {
		pmpt_pool *pool;

		(void)close(0), (void)close(1), (void)close(2);
		if (pmpt_open(path, 0, &pool) != PMPT_E_NOT_POOL ||
		    pmpt_create(path, NULL, &pool) != -EEXIST ||
		    pmpt_check(path, NULL, NULL, NULL, NULL) != PMPT_E_NOT_POOL)
			_exit(1);
		_exit(are_closed(7) ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { ON_BOTH(test_closed), ON_TMPFS(test_refused) };

	return cmocka_run_group_tests_name("low_fds", tests, NULL, NULL);
}
