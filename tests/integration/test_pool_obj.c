/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pool_obj -- pools on files, on tmpfs and on an ordinary file system: made, opened, and what
 * a creation that fails leaves behind: nothing. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"
#include "pool_obj.h"

/* ---- made and opened ------------------------------------------------------------------------ */

static void test_default(void **state)
{
	struct pmpt_stats stats;
	struct pmpt_recovery report;
	pmpt_space *space;
	pmpt_pool *pool;
	struct stat st;
	uint64_t entry;

	(void)state;
	need_place();
	OK(pmpt_create(path, NULL, &pool));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.medium, medium);
	assert_int_equal(stats.pool_bytes, 64 * MIB);
	assert_int_equal(stats.lanes, PMPT_LANES_DEFAULT);
	assert_int_equal(stats.lane_lines, PMPT_LANE_DEFAULT_BYTES / 64);
	assert_int_equal(stats.bulk_lines, PMPT_BULK_DEFAULT_BYTES / 64);
	assert_int_equal(stats.extents, 1);
	assert_int_equal(stats.frames, stats.frames_free + stats.frames_reserved);
	assert_true(stats.frames_free > 48 * MIB / 4096);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 64 * MIB);
	OK(pmpt_space_create(pool, "s", &space));
	OK(pmpt_map(NULL, space, 0x1000, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_W));
	pmpt_space_close(space);
	OK(pmpt_close(pool));

	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_space_open(pool, "s", &space));
	OK(pmpt_lookup(space, 0x1000, &entry));
	OK(pmpt_recovery_report(pool, &report));
	assert_true(report.open_ns >= report.recovery_ns && report.recovery_ns > 0);
	pmpt_space_close(space);
	OK(pmpt_close(pool));
}

/* 16 MiB leave useful room, to the last frame; what was mapped is there again. */
static void test_smallest(void **state)
{
	struct pmpt_stats stats;
	pmpt_space *space;
	pmpt_pool *pool;
	uint64_t n = 0, entry;
	int rc;

	(void)state;
	need_place();
	OK(pmpt_create(path, &smallest, &pool));
	OK(pmpt_stats(pool, &stats));
	assert_true(stats.frames_free * 4096 > 7 * MIB);
	OK(pmpt_space_create(pool, "s", &space));
	for (uint64_t step = 64; step; step /= 2) {
		while (!(rc = pmpt_map(NULL, space, n << 12, step, PMPT_PFN_ALLOC, PMPT_R)))
			n += step;
		assert_int_equal(rc, PMPT_E_NO_FRAMES);
	}
	assert_true(n + 16 > stats.frames_free);
	assert_int_equal(pmpt_grow(pool, 1), PMPT_E_NO_FRAMES);
	pmpt_space_close(space);
	OK(pmpt_close(pool));

	OK(pmpt_open(path, PMPT_OPEN_NO_GROW, &pool));
	OK(pmpt_space_open(pool, "s", &space));
	for (uint64_t i = 0; i < n; i++)
		OK(pmpt_lookup(space, i << 12, &entry));
	assert_int_equal(pmpt_lookup(space, n << 12, &entry), PMPT_E_NOT_MAPPED);
	OK(pmpt_unmap(NULL, space, 0, n << 12));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.frames_data, 0);
	pmpt_space_close(space);
	OK(pmpt_close(pool));
}

static void test_configured(void **state)
{
	const struct pmpt_config config = { .pool_bytes = 32 * MIB,
					    .mode = 0640,
					    .lanes = 3,
					    .lane_bytes = 24576,
					    .bulk_bytes = 12288,
					    .spaces = 5 };
	struct pmpt_stats stats;
	pmpt_space *space;
	pmpt_pool *pool;
	struct stat st;
	char name[8];

	(void)state;
	need_place();
	(void)umask(022);
	OK(pmpt_create(path, &config, &pool));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.pool_bytes, 32 * MIB);
	assert_int_equal(stats.lanes, 3);
	assert_int_equal(stats.lane_lines, 24576 / 64);
	assert_int_equal(stats.bulk_lines, 12288 / 64);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	for (unsigned i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "%u", i);
		OK(pmpt_space_create(pool, name, &space));
		pmpt_space_close(space);
	}
	assert_int_equal(pmpt_space_create(pool, "6", &space), PMPT_E_SPACES_FULL);
	OK(pmpt_close(pool));
}

/* Two pools are two: uuid and salt; and both can be open. */
static void test_two(void **state)
{
	char other[PLACE_BYTES + 8];
	pmpt_pool *a, *b;

	(void)state;
	need_place();
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	OK(pmpt_create(path, &smallest, &a));
	OK(pmpt_create(other, &smallest, &b));
	assert_memory_not_equal(a->sb->uuid, b->sb->uuid, 16);
	assert_int_not_equal(a->sb->salt, b->sb->salt);
	assert_int_equal(a->rg->bytes, PMPT_POOL_MIN_BYTES);
	assert_int_equal(b->rg->bytes, PMPT_POOL_MIN_BYTES);
	OK(pmpt_close(a));
	OK(pmpt_close(b));
}

/* ---- create refuses, and leaves nothing ------------------------------------------------------ */

static void test_bad_config(void **state)
{
	static const struct pmpt_config bad[] = {
		{ .pool_bytes = PMPT_POOL_MIN_BYTES - 4096 },
		{ .pool_bytes = PMPT_POOL_MAX_BYTES + 4096 },
		{ .pool_bytes = 32 * MIB + 1 },
		{ .mode = 01000 },
		{ .lanes = PMPT_LANES_MAX + 1 },
		{ .lane_bytes = 4096 },
		{ .lane_bytes = 8193 },
		{ .lane_bytes = (4u << 20) + 8192 },
		{ .bulk_bytes = 64 },
		{ .bulk_bytes = (1u << 30) + 4096 },
		{ .spaces = PMPT_SPACES_MAX + 1 },
		{ .reserved = { 0, 0, 0, 0, 0, 1 } },
		/* more log than there is room */
		{ .pool_bytes = 16 * MIB, .bulk_bytes = 12u << 20 },
		{ .pool_bytes = 64 * MIB, .lanes = 64, .lane_bytes = 4u << 20 },
	};

	(void)state;
	need_place();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pmpt_pool *pool = (pmpt_pool *)(void *)path;
		int rc = pmpt_create(path, &bad[i], &pool);

		if (rc != -EINVAL)
			fail_msg("configuration %zu: %s: %s", i, pmpt_strerror(rc),
				 pmpt_errormsg());
		assert_ptr_equal(pool, path);
		assert_int_equal(files_in(dir), 0);
	}
}

static void test_exists(void **state)
{
	char text[6] = "";
	pmpt_pool *pool;
	int fd;

	(void)state;
	need_place();
	write_at(path, 0, "hello", 5);
	expect_refused(pmpt_create(path, NULL, &pool), -EEXIST, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
	OK(pmpt_create(path, NULL, &pool));
	expect_refused(pmpt_create(path, NULL, &pool), -EEXIST, path);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_close(pool));
}

static void test_nowhere(void **state)
{
	char deep[PLACE_BYTES + 32];
	pmpt_pool *pool;

	(void)state;
	need_place();
	(void)snprintf(deep, sizeof(deep), "%s/no/such", dir);
	expect_refused(pmpt_create(deep, NULL, &pool), -ENOENT, deep);
	expect_refused(pmpt_open(deep, 0, &pool), -ENOENT, deep);
	expect_refused(pmpt_open(path, 0, &pool), -ENOENT, path);
	expect_refused(pmpt_open(path, 2, &pool), -EINVAL, "0x2");
}

/* The nth allocation fails: no pool, no file, no memory; and then it is all there. */
static void test_no_memory(void **state)
{
	pmpt_pool *pool;
	long n;
	int rc = -ENOMEM;

	(void)state;
	need_place();
	for (n = 0; n < 1000 && rc; n++) {
		mem_fail_after = n;
		rc = pmpt_create(path, &smallest, &pool);
		mem_fail_after = -1;
		if (rc)
			assert_int_equal(rc, -ENOMEM);
		assert_int_equal(files_in(dir), rc ? 0 : 1);
	}
	assert_in_range(n, 5, 999);
	OK(pmpt_close(pool));
	rc = -ENOMEM;
	for (n = 0; n < 1000 && rc; n++) {
		mem_fail_after = n;
		rc = pmpt_open(path, 0, &pool);
		mem_fail_after = -1;
		if (rc)
			assert_int_equal(rc, -ENOMEM);
	}
	assert_in_range(n, 5, 999);
	OK(pmpt_close(pool));
}

/* A setting of libpmemobj that the embedder made is as it was. */
static void test_setting_kept(void **state)
{
	pmpt_pool *pool;

	(void)state;
	need_place();
	for (int value = 0; value < 2; value++) {
		int now = 7;

		assert_int_equal(pmemobj_ctl_set(NULL, "fallocate.at_create", &value), 0);
		OK(pmpt_create(path, &smallest, &pool));
		OK(pmpt_close(pool));
		assert_int_equal(pmemobj_ctl_get(NULL, "fallocate.at_create", &now), 0);
		assert_int_equal(now, value);
		assert_int_equal(unlink(path), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_default),  ON_BOTH(test_smallest),  ON_BOTH(test_configured),
		ON_TMPFS(test_two),     ON_BOTH(test_exists),    ON_TMPFS(test_bad_config),
		ON_TMPFS(test_nowhere), ON_BOTH(test_no_memory), ON_TMPFS(test_setting_kept),
	};

	return cmocka_run_group_tests_name("pool_obj", tests, NULL, NULL);
}
