/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pool_sets -- a pool over several files: made, opened, grown over all its parts; the sets
 * that are refused; and a creation that fails takes its parts away, but no others. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"

static char one[PLACE_BYTES + 8], two[PLACE_BYTES + 8];

/* A set of two parts with these sizes, and a line more. */
static void write_set(const char *first, const char *second, const char *line)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	(void)snprintf(one, sizeof(one), "%s/one", dir);
	(void)snprintf(two, sizeof(two), "%s/two", dir);
	(void)fprintf(f, "PMEMPOOLSET\n%s %s\n%s %s\n%s\n", first, one, second, two, line);
	assert_int_equal(fclose(f), 0);
}

static void test_two_parts(void **state)
{
	struct pmpt_stats stats;
	pmpt_space *space;
	pmpt_pool *pool;
	struct stat st;
	uint64_t entry;

	(void)state;
	need_place();
	write_set("20M", "24M", "");
	OK(pmpt_create(path, NULL, &pool));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.medium, medium);
	assert_in_range(stats.pool_bytes, 44 * MIB - 2 * 4096, 44 * MIB);
	assert_int_equal(stats.lanes, 5); /* as for a file of that size */
	assert_int_equal(stat(two, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= 24 * MIB); /* whole */
	OK(pmpt_space_create(pool, "s", &space));
	OK(pmpt_map(NULL, space, 0, 6000, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO)); /* into part two */
	pmpt_space_close(space);
	expect_open(PMPT_E_IN_USE, path);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_space_open(pool, "s", &space));
	for (uint64_t i = 0; i < 6000; i++)
		OK(pmpt_lookup(space, i << 12, &entry));
	pmpt_space_close(space);
	OK(pmpt_close(pool));
	assert_int_equal(files_in(dir), 3);
}

static void expect_create(int rc, const char *says, unsigned files)
{
	pmpt_pool *pool = (pmpt_pool *)(void *)path;

	expect_refused(pmpt_create(path, NULL, &pool), rc, says);
	assert_ptr_equal(pool, path);
	assert_int_equal(files_in(dir), files);
}

static void test_create_refused(void **state)
{
	static const struct pmpt_config much = { .bulk_bytes = 40u << 20 };
	pmpt_pool *pool;

	(void)state;
	need_place();
	write_set("20M", "20M", "REPLICA\n40M /dev/shm/three");
	expect_create(PMPT_E_MEDIUM, "replicas", 1);
	write_set("20M", "20M", "what is this");
	expect_create(PMPT_E_MEDIUM, "'what'", 1);
	write_set("20M", "1K", "");
	expect_create(PMPT_E_MEDIUM, "pmemobj_create", 1);
	write_set("5M", "5M", "");
	expect_create(PMPT_E_MEDIUM, "are expected", 1);
	write_set("20M", "20M", "");
	expect_refused(pmpt_create(path, &much, &pool), -EINVAL, path);
	assert_int_equal(files_in(dir), 1);
}

/* A part that was there before is not ours to remove, nor to overwrite. */
static void test_part_exists(void **state)
{
	char text[8] = "";
	int fd;

	(void)state;
	need_place();
	write_set("20M", "20M", "");
	write_at(two, 0, "mine", 4);
	assert_int_equal(truncate(two, 20 << 20), 0);
	expect_create(-EEXIST, "pmemobj_create", 2);
	fd = open(two, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, 4), 4);
	(void)close(fd);
	assert_string_equal(text, "mine");
}

static void test_open_refused(void **state)
{
	pmpt_pool *pool;

	(void)state;
	need_place();
	write_set("20M", "20M", "");
	expect_open(-ENOENT, one);
	OK(pmpt_create(path, NULL, &pool));
	OK(pmpt_close(pool));
	expect_create(-EEXIST, "pmemobj_create", 3); /* it is there: nothing happens */
	write_set("20M", "20M", "REPLICA\n40M /dev/shm/three");
	expect_open(PMPT_E_MEDIUM, "replicas");
	write_set("20M", "20M", "");
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_close(pool));
	assert_int_equal(truncate(two, 10 << 20), 0);
	expect_open(PMPT_E_CORRUPT, "pmemobj_open");
	assert_int_equal(unlink(two), 0);
	expect_open(-ENOENT, "pmemobj_open");
	write_at(one, 0, "something else", 14);
	expect_open(PMPT_E_NOT_POOL, one);
}

/* Parts on tmpfs and on an ordinary file system do not go together. */
static void test_mixed(void **state)
{
	char other[PLACE_BYTES];
	pmpt_pool *pool = NULL;
	FILE *f;

	(void)state;
	need_place();
	if (!place_file(other))
		skip();
	f = fopen(path, "w");
	assert_non_null(f);
	(void)fprintf(f, "PMEMPOOLSET\n20M %s/one\n20M %s/two\n", dir, other);
	assert_int_equal(fclose(f), 0);
	expect_create(PMPT_E_MEDIUM, "another kind of medium", 1);
	assert_int_equal(files_in(other), 0);
	assert_null(pool);
	place_remove(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_two_parts),    ON_TMPFS(test_create_refused),
		ON_TMPFS(test_part_exists), ON_TMPFS(test_open_refused),
		ON_TMPFS(test_mixed),
	};

	return cmocka_run_group_tests_name("pool_sets", tests, NULL, NULL);
}
