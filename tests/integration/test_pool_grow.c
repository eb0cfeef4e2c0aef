/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pool_grow -- sparse pools: extents are taken as they are needed; libpmemobj and we store
 * only where blocks were made to exist before; and a full file system is -ENOSPC, never a fault. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "extent.h"
#include "pool_file.h"
#include "pool_obj.h"

/* ---- blocks that were made to exist ---------------------------------------------------------- */

struct pages {
	uint64_t first, end;
};
static struct pages made[1000];
static unsigned n_made;

/* The library's posix_fallocate() comes here. */
int posix_fallocate(int fd, off_t off, off_t len)
{
	if (n_made < sizeof(made) / sizeof(made[0]))
		made[n_made] = (struct pages){ (uint64_t)off >> FRAME_SHIFT,
					       ((uint64_t)(off + len) + 4095) >> FRAME_SHIFT };
	n_made++;
	return syscall(SYS_fallocate, fd, 0, off, len) ? errno : 0;
}

static int by_first(const void *a, const void *b)
{
	const struct pages *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Of the file, each page that has blocks was made: their numbers are the same.  tmpfs tells
 * them exactly. */
static void expect_only_made(void)
{
	uint64_t pages = 0, at = 0;
	struct stat st;

	assert_true(n_made <= sizeof(made) / sizeof(made[0]));
	qsort(made, n_made, sizeof(made[0]), by_first);
	for (unsigned i = 0; i < n_made; i++) {
		at = made[i].first > at ? made[i].first : at;
		pages += made[i].end > at ? made[i].end - at : 0;
		at = made[i].end > at ? made[i].end : at;
	}
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal((uint64_t)st.st_blocks / 8, pages);
}

/* ---- sparse ---------------------------------------------------------------------------------- */

static void expect_usable(pmpt_pool *pool, const char *name)
{
	pmpt_space *space;

	OK(pmpt_space_create(pool, name, &space));
	OK(pmpt_map(NULL, space, 0, 10, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO));
	OK(pmpt_unmap(NULL, space, 0, 10 << 12));
	pmpt_space_close(space);
	OK(pmpt_space_delete(pool, name));
}

static void skip_unless_free(uint64_t bytes)
{
	need_place();
	if (!place_has(dir, bytes))
		skip();
}

/* It takes the blocks of one extent and of what libpmemobj keeps. */
static pmpt_pool *create_sparse(uint64_t bytes)
{
	const struct pmpt_config config = { .pool_bytes = bytes };
	struct pmpt_stats stats;
	pmpt_pool *pool;
	struct stat st;

	n_made = 0;
	OK(pmpt_create(path, &config, &pool));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.pool_bytes, bytes);
	/* whole chunks of 256 KiB */
	assert_in_range(stats.frames, PMPT_EXTENT_BYTES / 4096, PMPT_EXTENT_BYTES / 4096 + 63);
	assert_int_equal(pool->rg->bytes, bytes);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, bytes);
	assert_true((uint64_t)st.st_blocks * 512 <
		    PMPT_EXTENT_BYTES + 4 * MIB + (bytes / (15ull << 30) + 1) * 8 * MIB);
	expect_usable(pool, "a");
	expect_only_made();
	return pool;
}

static void test_sparse(void **state)
{
	struct pmpt_stats stats;
	pmpt_pool *pool;

	(void)state;
	skip_unless_free(2200 * MIB);
	pool = create_sparse(64ull << 30);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_grow(pool, MIB));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.extents, 2);
	assert_true(stats.frames >= 2 * PMPT_EXTENT_BYTES / 4096);
	expect_usable(pool, "b");
	expect_only_made();
	OK(pmpt_close(pool));
}

static void test_largest(void **state)
{
	pmpt_pool *pool;

	(void)state;
	skip_unless_free(1700 * MIB);
	pool = create_sparse(PMPT_POOL_MAX_BYTES);
	OK(pmpt_close(pool));
}

/* To the last extent, which is smaller; then the file is full, and it says so at once. */
static void test_to_the_end(void **state)
{
	const struct pmpt_config config = { .pool_bytes = 1100 * MIB };
	struct pmpt_stats stats;
	pmpt_space *space;
	pmpt_pool *pool;

	(void)state;
	skip_unless_free(1300 * MIB);
	n_made = 0;
	OK(pmpt_create(path, &config, &pool));
	expect_refused(pmpt_grow(pool, 1024 * MIB), PMPT_E_NO_FRAMES, "no room");
	OK(pmpt_stats(pool, &stats)); /* what there was has been taken */
	assert_int_equal(stats.extents, 2);
	assert_true(stats.frames * 4096 > 1090 * MIB);
	expect_refused(pmpt_grow(pool, 1), PMPT_E_NO_FRAMES, "no room");
	expect_only_made();
	OK(pmpt_close(pool));

	/* Mapping takes extents by itself, unless it may not. */
	assert_int_equal(unlink(path), 0);
	OK(pmpt_create(path, &config, &pool));
	OK(pmpt_stats(pool, &stats));
	OK(pmpt_space_create(pool, "s", &space));
	OK(pmpt_map(NULL, space, 0, 500, PMPT_PFN_ALLOC, PMPT_R | PMPT_2M));
	pmpt_space_close(space);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, PMPT_OPEN_NO_GROW, &pool));
	OK(pmpt_space_open(pool, "s", &space));
	expect_refused(pmpt_map(NULL, space, 1 << 30, 15, PMPT_PFN_ALLOC, PMPT_R | PMPT_2M),
		       PMPT_E_NO_FRAMES, "");
	pmpt_space_close(space);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_space_open(pool, "s", &space));
	OK(pmpt_map(NULL, space, 1 << 30, 15, PMPT_PFN_ALLOC, PMPT_R | PMPT_2M));
	pmpt_space_close(space);
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.extents, 2);
	OK(pmpt_close(pool));
}

/* A crash after the object was allocated and before n_extents counts it: the next growth takes it,
 * and no other. */
static void test_crash_between(void **state)
{
	const struct pmpt_config config = { .pool_bytes = 1100 * MIB };
	uint64_t off = 0, bytes = 0;
	struct pmpt_stats stats;
	pmpt_pool *pool;

	(void)state;
	skip_unless_free(1300 * MIB);
	OK(pmpt_create(path, &config, &pool));
	OK(obj_extent_take(pool->ctx, 1, &off, &bytes));
	assert_true(off > PMPT_EXTENT_BYTES && bytes > 60 * MIB);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.extents, 1);
	OK(pmpt_grow(pool, 1));
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.extents, 2);
	assert_int_equal(atomic_load(&pool->sb->extent[1].off), off);
	assert_int_equal(pmpt_grow(pool, 1), PMPT_E_NO_FRAMES);
	OK(pmpt_close(pool));
}

/* ---- a file system that is full -------------------------------------------------------------- */

static int setup_full(void **state)
{
	(void)state;
	if (!place_small(dir, 1300 * MIB))
		dir[0] = 0;
	(void)snprintf(path, sizeof(path), "%s/pool", dir);
	return 0;
}

static void free_ballast(void)
{
	char ballast[PLACE_BYTES + 16];

	(void)snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
	assert_int_equal(unlink(ballast), 0);
}

static void test_full_create(void **state)
{
	static const uint64_t left[] = { 0,       4096,    64 << 10, 1 * MIB,  4 * MIB, 6 * MIB,
					 8 * MIB, 9 * MIB, 16 * MIB, 32 * MIB, 48 * MIB };
	const struct pmpt_config big = { .pool_bytes = 1024 * MIB };
	pmpt_pool *pool;

	(void)state;
	need_place();
	for (unsigned i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		place_fill(dir, left[i]);
		expect_refused(pmpt_create(path, NULL, &pool), -ENOSPC, path);
		expect_refused(pmpt_create(path, &big, &pool), -ENOSPC, path);
		assert_int_equal(files_in(dir), 1);
		free_ballast();
	}
	OK(pmpt_create(path, NULL, &pool));
	OK(pmpt_close(pool));
}

/* Full behind a growth, and before the next: it works on, closes, opens, and grows when it can. */
static void test_full_grow(void **state)
{
	const struct pmpt_config config = { .pool_bytes = 4096 * MIB };
	static const uint64_t left[] = { 0, 4096, 1 * MIB, 100 * MIB };
	struct pmpt_stats stats;
	pmpt_pool *pool;

	(void)state;
	need_place();
	OK(pmpt_create(path, &config, &pool));
	for (unsigned i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		place_fill(dir, left[i]);
		expect_refused(pmpt_grow(pool, 1), -ENOSPC, "blocks at offset");
		expect_refused(pmpt_grow(pool, 1), -ENOSPC, path);
		expect_usable(pool, "a");
		OK(pmpt_close(pool));
		OK(pmpt_open(path, 0, &pool));
		OK(pmpt_stats(pool, &stats));
		assert_int_equal(stats.extents, 1);
		expect_usable(pool, "b");
		free_ballast();
	}
	OK(pmpt_close(pool));
}

static void test_full_then_not(void **state)
{
	const struct pmpt_config config = { .pool_bytes = 1100 * MIB };
	struct pmpt_stats stats;
	pmpt_pool *pool;

	(void)state;
	need_place();
	OK(pmpt_create(path, &config, &pool));
	place_fill(dir, 0);
	expect_refused(pmpt_grow(pool, 1), -ENOSPC, "blocks at offset");
	free_ballast();
	OK(pmpt_grow(pool, 1));
	place_fill(dir, 0);
	expect_usable(pool, "a");
	OK(pmpt_stats(pool, &stats));
	assert_int_equal(stats.extents, 2);
	OK(pmpt_close(pool));
	OK(pmpt_open(path, 0, &pool));
	expect_usable(pool, "b");
	expect_refused(pmpt_grow(pool, 1), PMPT_E_NO_FRAMES, "no room");
	OK(pmpt_close(pool));
}

#define FULL(f)                                         \
	{                                               \
#f, f, setup_full, teardown_place, NULL \
	}
int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_TMPFS(test_sparse),        ON_TMPFS(test_largest), ON_TMPFS(test_to_the_end),
		ON_TMPFS(test_crash_between), FULL(test_full_create), FULL(test_full_grow),
		FULL(test_full_then_not),
	};

	return cmocka_run_group_tests_name("pool_grow", tests, NULL, NULL);
}
