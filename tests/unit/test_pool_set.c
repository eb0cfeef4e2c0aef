/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pool_set -- which files a pool set consists of, and which sets are refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpmpt.h"
#include "places.h"
#include "pool_set.h"

static char dir[PLACE_BYTES], path[PLACE_BYTES + 8];

static int setup(void **state)
{
	(void)state;
	if (!place_tmpfs(dir) && !place_file(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/set", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	place_remove(dir);
	return 0;
}

static void write_set(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int note(void *ctx, unsigned i, const char *part)
{
	char *list = ctx;

	(void)sprintf(list + strlen(list), "%u%s ", i, part);
	return strcmp(part, "/stop") ? 0 : 42;
}

static void expect(const char *text, int rc, const char *parts)
{
	char list[2000] = "";

	write_set(text);
	assert_int_equal(set_parts(path, note, list), rc);
	if (parts)
		assert_string_equal(list, parts);
}

static void test_is(void **state)
{
	(void)state;
	write_set("PMEMPOOLSET\n");
	assert_int_equal(set_is(path), 1);
	write_set("PMEMPOOLSE");
	assert_int_equal(set_is(path), 0);
	write_set("#PMEMPOOLSET");
	assert_int_equal(set_is(path), 0);
	write_set("");
	assert_int_equal(set_is(path), 0);
	assert_int_equal(set_is(dir), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(set_is(path), -ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(set_is(path), 0); /* and comes back */
}

static void test_parts(void **state)
{
	(void)state;
	expect("PMEMPOOLSET\n16M /a\n", 0, "0/a ");
	expect("PMEMPOOLSET\r\n# REPLICA\n\n  \t20G\t/some/where  \n16M /b # last", 0,
	       "0/some/where 1/b ");
	expect("PMEMPOOLSET\nOPTION SINGLEHDR\nAUTO /dev/dax0.0\n", 0, "0/dev/dax0.0 ");
	expect("PMEMPOOLSET\n16M /a\n16M /stop\n16M /b\n", 42, "0/a 1/stop ");
}

static void test_refused(void **state)
{
	char many[8000] = "PMEMPOOLSET\n";

	(void)state;
	expect("PMEMPOOLSET\n16M /a\n  REPLICA\n16M /b\n", PMPT_E_MEDIUM, NULL);
	assert_non_null(strstr(pmpt_errormsg(), ":3: pool sets with replicas"));
	expect("PMEMPOOLSET\n16M /a\nREPLICA host remote.set\n", PMPT_E_MEDIUM, NULL);
	expect("PMEMPOOLSET\n", PMPT_E_MEDIUM, "");
	expect("PMEMPOOLSET\n16M\n", PMPT_E_MEDIUM, "");
	expect("PMEMPOOLSET\n16M relative\n", PMPT_E_MEDIUM, "");
	assert_non_null(strstr(pmpt_errormsg(), ":2:"));
	for (unsigned i = 0; i <= SET_PARTS_MAX; i++)
		(void)sprintf(many + strlen(many), "16M /p%u\n", i);
	expect(many, PMPT_E_MEDIUM, NULL);
	*strrchr(many, '1') = 0; /* the last line */
	expect(many, 0, NULL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(set_parts(path, note, many), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_is), TEST(test_parts), TEST(test_refused) };

	return cmocka_run_group_tests_name("pool_set", tests, NULL, NULL);
}
