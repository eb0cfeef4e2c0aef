/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pool_refused -- opening what is not a pool, not whole, not ours, in use, or gone: a named
 * error each, and a healthy pool stays as it is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "error.h"
#include "pool_file.h"
#include "pool_obj.h"

static void make_pool(void)
{
	pmpt_pool *pool;

	OK(pmpt_create(path, &smallest, &pool));
	OK(pmpt_close(pool));
}

/* ---- not a pool ------------------------------------------------------------------------------ */

static void test_not_pool(void **state)
{
	char zeros[100] = { 0 };

	(void)state;
	need_place();
	write_at(path, 0, "", 0);
	expect_open(PMPT_E_NOT_POOL, path);
	write_at(path, 0, "PMEM", 4);
	expect_open(PMPT_E_NOT_POOL, path);
	write_at(path, 0, "a text file of some length, that is none", 40);
	expect_open(PMPT_E_NOT_POOL, "offset 0");
	write_at(path, 0, zeros, sizeof(zeros));
	assert_int_equal(truncate(path, 16 << 20), 0);
	expect_open(PMPT_E_NOT_POOL, "PMEMOBJ");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_open(PMPT_E_MEDIUM, "pool: no regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_open(PMPT_E_MEDIUM, "pool: no regular file");
	(void)snprintf(path, sizeof(path), "/dev/null");
	expect_open(PMPT_E_MEDIUM, "/dev/null: no regular file");
	(void)snprintf(path, sizeof(path), "/dev/zero");
	expect_open(PMPT_E_MEDIUM, "/dev/zero: no regular file");
}

/* Pools of libpmemobj, but of other programs, of another format, or never finished. */
static void test_other_layout(void **state)
{
	static const struct {
		const char *layout;
		int rc;
		const char *says;
	} c[] = {
		{ "kvstore", PMPT_E_NOT_POOL, "'kvstore'" },
		{ "", PMPT_E_NOT_POOL, "libpmpt-1" },
		{ "libpmpt", PMPT_E_NOT_POOL, "libpmpt-1" },
		{ "libpmpt-2", PMPT_E_VERSION, "'libpmpt-2'" },
		{ "libpmpt-11", PMPT_E_VERSION, "libpmpt-1" },
		{ SB_LAYOUT_NAME, PMPT_E_NOT_POOL, "not finished" },
	};
	PMEMobjpool *pop;

	(void)state;
	need_place();
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		pop = pmemobj_create(path, c[i].layout, 16 << 20, 0600);
		assert_non_null(pop);
		pmemobj_close(pop);
		expect_open(c[i].rc, c[i].says);
		assert_int_equal(unlink(path), 0);
	}
	pop = pmemobj_create(path, SB_LAYOUT_NAME, 16 << 20, 0600);
	assert_non_null(pop);
	assert_false(OID_IS_NULL(pmemobj_root(pop, sizeof(struct sb) + 64)));
	pmemobj_close(pop);
	expect_open(PMPT_E_NOT_POOL, "may be deleted");
}

/* Cut anywhere: named, no fault; and the rest of it there again, it is healthy. */
static void test_truncated(void **state)
{
	static const struct {
		uint64_t bytes;
		int rc;
	} c[] = {
		{ 0, PMPT_E_NOT_POOL },
		{ 7, PMPT_E_NOT_POOL },
		{ 8, PMPT_E_TRUNCATED },
		{ 4096, PMPT_E_TRUNCATED },
		{ 6144, PMPT_E_TRUNCATED },
		{ 6160, PMPT_E_TRUNCATED },
		{ 3 << 20, PMPT_E_TRUNCATED },
		{ 4 << 20, PMPT_E_TRUNCATED },
		{ 8 << 20, PMPT_E_TRUNCATED },
		{ (16 << 20) - 4096, PMPT_E_TRUNCATED },
		{ (16 << 20) - 1, PMPT_E_TRUNCATED },
	};
	char command[4 * PLACE_BYTES];
	pmpt_pool *pool;

	(void)state;
	need_place();
	make_pool();
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		(void)snprintf(command, sizeof(command), "cp %s %s.whole && truncate -s %lu %s",
			       path, path, c[i].bytes, path);
		assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
		expect_open(c[i].rc, path);
		(void)snprintf(command, sizeof(command), "mv %s.whole %s", path, path);
		assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	}
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_close(pool));
}

/* ---- a pool whose superblock is not right ---------------------------------------------------- */

static uint64_t sb_off(void)
{
	uint64_t root = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, &root, sizeof(root), 0x1800), sizeof(root));
	(void)close(fd);
	return (root + 63) & ~(uint64_t)63;
}

static void test_superblock(void **state)
{
	struct sb sb;
	int fd;

	(void)state;
	need_place();
	make_pool();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, &sb, sizeof(sb), (off_t)sb_off()), sizeof(sb));
	(void)close(fd);
	sb.incompat = 1;
	write_at(path, sb_off(), &sb, 4096);
	expect_open(PMPT_E_CORRUPT, "crc");
	sb.crc = crc32c(~0u, &sb, offsetof(struct sb, crc));
	write_at(path, sb_off(), &sb, 4096);
	expect_open(PMPT_E_VERSION, "0x1");
	sb.incompat = 0;
	sb.major = 2;
	sb.crc = crc32c(~0u, &sb, offsetof(struct sb, crc));
	write_at(path, sb_off(), &sb, 4096);
	expect_open(PMPT_E_VERSION, "format 2");
	sb.magic[0] = 0;
	write_at(path, sb_off(), &sb, 4096);
	expect_open(PMPT_E_NOT_POOL, "no superblock");
}

/* libpmemobj's own header is not right: it says so, we pass it on.  Its root object is looked at
 * before. */
static void test_header(void **state)
{
	uint64_t root;

	(void)state;
	need_place();
	make_pool();
	root = sb_off() + ((uint64_t)1 << 33);
	write_at(path, 0x1800, &root, sizeof(root));
	expect_open(PMPT_E_CORRUPT, "offset 0x1800");
	assert_int_equal(unlink(path), 0);
	make_pool();
	write_at(path, 100, "\xff\xff\xff", 3);
	expect_open(PMPT_E_CORRUPT, "pmemobj_open: ");
	assert_true(strlen(strstr(pmpt_errormsg(), "pmemobj_open: ")) > 20);
}

/* What the superblock says of an extent that is not in use is not believed. */
static void test_extent_not_in_use(void **state)
{
	uint64_t uuid_lo, bad[] = { 8, 0x382400, 12345, 1 << 20, 1ull << 40, ~(uint64_t)0, 0 };
	pmpt_pool *pool;

	(void)state;
	need_place();
	make_pool();
	OK(pmpt_open(path, 0, &pool));
	uuid_lo = pool->sb->extent[0].uuid_lo;
	bad[6] = atomic_load(&pool->sb->extent[0].off); /* another extent's */
	OK(pmpt_close(pool));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_at(path, sb_off() + offsetof(struct sb, extent[1].uuid_lo), &uuid_lo, 8);
		write_at(path, sb_off() + offsetof(struct sb, extent[1].off), &bad[i], 8);
		OK(pmpt_open(path, 0, &pool));
		expect_refused(pmpt_grow(pool, 1), PMPT_E_CORRUPT, "extent 1");
		OK(pmpt_close(pool));
	}
}

/* ---- in use, gone ---------------------------------------------------------------------------- */

static void test_in_use(void **state)
{
	int status;
	pmpt_pool *pool, *again = NULL;
	pid_t child;

	(void)state;
	need_place();
	OK(pmpt_create(path, &smallest, &pool));
	expect_open(PMPT_E_IN_USE, path);
	child = fork();
	if (child == 0)
		_exit(pmpt_open(path, 0, &again) == PMPT_E_IN_USE ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, 0, &pool));
	expect_open(PMPT_E_IN_USE, path);
	OK(pmpt_close(pool));
}

static char logged[512];

static void log_fn(void *ctx, enum pmpt_log_level level, const char *message)
{
	(void)ctx;
	if (level == PMPT_LOG_WARNING)
		(void)snprintf(logged, sizeof(logged), "%s", message);
}

static void test_removed(void **state)
{
	pmpt_space *space;
	pmpt_pool *pool;

	(void)state;
	need_place();
	OK(pmpt_create(path, &smallest, &pool));
	OK(pmpt_space_create(pool, "s", &space));
	assert_int_equal(unlink(path), 0);
	OK(pmpt_map(NULL, space, 0, 5, PMPT_PFN_ALLOC, PMPT_R));
	pmpt_space_close(space);
	logged[0] = 0;
	pmpt_log_to(log_fn, NULL);
	OK(pmpt_close(pool));
	assert_non_null(strstr(logged, "removed"));
	expect_open(-ENOENT, path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_TMPFS(test_not_pool), ON_TMPFS(test_other_layout),
		ON_BOTH(test_truncated), ON_TMPFS(test_superblock),
		ON_TMPFS(test_header),   ON_TMPFS(test_extent_not_in_use),
		ON_BOTH(test_in_use),    ON_BOTH(test_removed),
	};

	return cmocka_run_group_tests_name("pool_refused", tests, NULL, NULL);
}
