/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_file -- see pool_file.h. */
#include "pool_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

char dir[PLACE_BYTES], path[PLACE_BYTES + 8];
enum pmpt_medium medium;
const struct pmpt_config smallest = { .pool_bytes = PMPT_POOL_MIN_BYTES };

static int begin(bool there, enum pmpt_medium kind)
{
	medium = kind;
	if (!there)
		dir[0] = 0;
	(void)snprintf(path, sizeof(path), "%s/pool", dir);
	return 0;
}

int setup_tmpfs(void **state)
{
	(void)state;
	return begin(place_tmpfs(dir), PMPT_MEDIUM_EMULATED);
}

int setup_file(void **state)
{
	(void)state;
	return begin(place_file(dir), PMPT_MEDIUM_FILE);
}

int teardown_place(void **state)
{
	(void)state;
	mem_fail_after = -1;
	pmpt_log_to(NULL, NULL);
	if (dir[0])
		place_remove(dir);
	return 0;
}

void need_place(void)
{
	if (!dir[0])
		skip();
}

void pool_file_ok(int rc, const char *call)
{
	if (rc)
		fail_msg("%s: %s: %s", call, pmpt_strerror(rc), pmpt_errormsg());
}

void expect_refused(int rc, int expected, const char *says)
{
	if (rc != expected)
		fail_msg("%s, expected %s: %s", pmpt_strerror(rc), pmpt_strerror(expected),
			 pmpt_errormsg());
	if (!strstr(pmpt_errormsg(), says))
		fail_msg("'%s' lacks '%s'", pmpt_errormsg(), says);
}

void expect_open(int expected, const char *says)
{
	pmpt_pool *pool = (pmpt_pool *)(void *)path;

	expect_refused(pmpt_open(path, 0, &pool), expected, says);
	assert_ptr_equal(pool, path); /* untouched */
}

unsigned files_in(const char *where)
{
	char command[PLACE_BYTES + 32];
	unsigned n = 0;
	FILE *list;

	(void)snprintf(command, sizeof(command), "ls -A '%s'", where);
	list = popen(command, "r"); /* NOLINT(cert-env33-c): a directory of our own */
	assert_non_null(list);
	for (int c = fgetc(list); c != EOF; c = fgetc(list))
		n += c == '\n';
	assert_int_equal(pclose(list), 0);
	return n;
}

void write_at(const char *file, uint64_t off, const void *data, size_t len)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, (off_t)off), len);
	(void)close(fd);
}
