/* SPDX-License-Identifier: BSD-3-Clause */
/* test_process_fork -- fork() while a pool is open: the child keeps neither the pool nor its swap file in
 * use, reads on through pointers that it had, and changes nothing through them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpmpt.h"

#define VA    ((uint64_t)1 << 30)
#define ok(x) assert_int_equal(x, 0)

static char path[64], swap_path[72];
static int to_child[2], to_parent[2];

static void tell(int fd) { assert_int_equal(write(fd, "x", 1), 1); }

static void hear(int fd)
{
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
}

static pmpt_pool *pool_make(pmpt_space **space)
{
	struct pmpt_config config = { .pool_bytes = 16 << 20 };
	pmpt_pool *pool;

	snprintf(path, sizeof(path), "/dev/shm/libpmpt-process-fork.%d", (int)getpid());
	snprintf(swap_path, sizeof(swap_path), "%s.swap", path);
	(void)unlink(path);
	(void)unlink(swap_path);
	ok(pmpt_create(path, &config, &pool));
	ok(pmpt_swap_on(pool, swap_path, 4 << 20));
	ok(pmpt_space_create(pool, "s", space));
	ok(pmpt_write(NULL, *space, VA, "before", 7));
	ok(pipe(to_child));
	ok(pipe(to_parent));
	return pool;
}

/* What the child does; 0: all as it should be.  Each step has a number of its own. */
static int child(pmpt_pool *pool, pmpt_space *space, char *page)
{
	uint64_t entry;
	pmpt_pool *own;
	char byte = 'x';

	if (pmpt_lookup(space, VA, &entry) != PMPT_E_FORKED)
		return 1;
	if (strcmp(page, "before") != 0)
		return 2;
	memcpy(page, "child ", 7);
	if (pmpt_close(pool) != PMPT_E_FORKED)
		return 3;
	if (pmpt_open(path, 0, &own) != PMPT_E_IN_USE)
		return 4;
	if (write(to_parent[1], &byte, 1) != 1 || read(to_child[0], &byte, 1) != 1)
		return 5;
	/* the parent has opened it again, and written, and closed it */
	if (strcmp(page, "child ") != 0)
		return 6;
	if (pmpt_open(path, 0, &own) != PMPT_E_FORKED || !strstr(pmpt_errormsg(), "exec"))
		return 7;
	return 0;
}

static void test_child_lets_go(void **state)
{
	pmpt_space *space;
	pmpt_pool *pool = pool_make(&space);
	struct pmpt_mapping m;
	char word[8] = "";
	int status = 0;
	char *page;
	pid_t pid;

	(void)state;
	ok(pmpt_query(space, VA, &m));
	page = pmpt_frame_ptr(pool, m.pfn);
	assert_non_null(page);
	pid = fork();
	if (pid == 0)
		_exit(child(pool, space, page));
	hear(to_parent[0]);
	ok(pmpt_read(NULL, space, VA, word, 7));
	assert_string_equal(word, "before");
	pmpt_space_close(space);
	ok(pmpt_close(pool));
	ok(pmpt_open(path, 0, &pool)); /* while the child lives, with its swap file */
	ok(pmpt_space_open(pool, "s", &space));
	ok(pmpt_swap_out(space, VA, 4096, &(uint64_t){ 0 }));
	ok(pmpt_write(NULL, space, VA, "after", 6));
	pmpt_space_close(space);
	ok(pmpt_close(pool));
	tell(to_child[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)unlink(path);
	(void)unlink(swap_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_child_lets_go) };

	return cmocka_run_group_tests_name("process_fork", tests, NULL, NULL);
}
