/* SPDX-License-Identifier: BSD-3-Clause */
/* test_region -- what region_format makes region_check accepts, and nothing else: each field broken
 * by itself is named with its offset.  (Random damage: test_fuzz.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "buffer_region.h"
#include "error.h"
#include "extent.h"

#define BYTES ((uint64_t)8 << 20)

static const struct region_shape small = { .n_lanes = 2,
					   .half_lines = 16,
					   .bulk_lines = 64,
					   .n_spaces = 20,
					   .uuid = { 9, 8, 7 },
					   .salt = 0x1122334455667788u };
static struct region rg;
static struct sb *sb;
static struct extent_head *head;

static int setup(void **state)
{
	(void)state;
	buffer_region_format(&rg, BYTES, &small);
	sb = region_sb(&rg);
	head = region_extent(&rg, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buffer_region_free(&rg);
	return 0;
}

static void seal(void)
{
	sb->crc = crc32c(~0u, sb, offsetof(struct sb, crc));
	head->crc = crc32c(~0u, head, offsetof(struct extent_head, crc));
}

/* ---- crc32c -------------------------------------------------------------------------------- */

/* The catalogue's check value, with the final inversion that it has; and pieces make the whole. */
static void test_crc32c(void **state)
{
	const char *text = "123456789";
	unsigned char data[100];

	(void)state;
	assert_int_equal(~crc32c(~0u, text, 9), 0xe3069283u);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 31);
	for (size_t cut = 0; cut <= sizeof(data); cut++)
		assert_int_equal(crc32c(crc32c(~0u, data, cut), data + cut, sizeof(data) - cut),
				 crc32c(~0u, data, sizeof(data)));
	assert_int_equal(crc32c(5, data, 0), 5);
	memset(data, 0, 32); /* RFC 3720, B.4 */
	assert_int_equal(~crc32c(~0u, data, 32), 0x8a9136aau);
}

/* ---- format -------------------------------------------------------------------------------- */

static void test_format(void **state)
{
	const pm_word *desc = region_at(&rg, (head->first + 1) << FRAME_SHIFT);
	const struct space_record *record = region_at(&rg, sb->directory);

	(void)state;
	assert_int_equal(region_check(&rg), 0);
	assert_int_equal(head->first, GROUP_FRAMES); /* the first 2 MiB boundary behind 32 KiB */
	assert_int_equal(head->frames, (BYTES - GROUP_BYTES) / FRAME_BYTES);
	/* header, 3 descriptor frames, 2 of directory, 1 of lanes (2 x 2 x 16 lines), 1 bulk */
	assert_int_equal(head->reserved_frames, 1 + 3 + 2 + 1 + 1);
	assert_int_equal(sb->directory, (head->first + 4) << FRAME_SHIFT);
	assert_int_equal(sb->lanes, sb->directory + 2 * FRAME_BYTES);
	assert_int_equal(sb->bulk, sb->lanes + FRAME_BYTES);
	assert_int_equal(sb->pool_bytes, BYTES);
	assert_int_equal(sb->salt, small.salt);
	assert_memory_equal(sb->uuid, small.uuid, 16);
	assert_int_equal(sb->checkpoint_lsn, 0);
	assert_int_equal(sb->lsn_limit, 1);
	assert_int_equal(sb->bulk_from, 0);
	assert_int_equal(sb->n_extents, 1);
	for (uint64_t i = 0; i < 3 * FRAME_WORDS; i++)
		assert_int_equal(desc[i],
				 i < head->reserved_frames ? desc_make(DESC_RESERVED, 1) : 0);
	for (unsigned i = 0; i < small.n_spaces; i++)
		assert_int_equal(record[i].state, SPACE_FREE);
}

/* Over garbage it leaves the same: nothing is taken for zero that was not made so. */
static void test_format_garbage(void **state)
{
	struct region other;

	(void)state;
	buffer_region_make(&other, BYTES, PM_CACHE_LINE);
	memset(other.base, 0xdb, BYTES);
	memset(region_sb(&other)->extent, 0, sizeof(sb->extent)); /* libpmemobj's, zero from it */
	atomic_store(&region_sb(&other)->extent[0].off, BUFFER_EXTENT_0);
	assert_int_equal(region_format(&other, &small, BYTES - BUFFER_EXTENT_0), 0);
	assert_int_equal(region_check(&other), 0);
	assert_memory_equal(other.base + BUFFER_SB_OFF, sb, sizeof(*sb));
	/* header, descriptors, directory */
	assert_memory_equal(region_at(&other, GROUP_BYTES), head, (sb->lanes - GROUP_BYTES));
	buffer_region_free(&other);
}

/* It is no pool before the last line is durable: events in order, the magic under the
 * last fence. */
static unsigned fences_with_magic, fences;

static void observe(void *ctx, const struct pm_event *event)
{
	(void)ctx;
	if (event->kind != PM_EV_FENCE)
		return;
	fences++;
	fences_with_magic += !memcmp(sb->magic, SB_MAGIC, sizeof(sb->magic));
}

static void test_format_order(void **state)
{
	(void)state;
	memset(rg.base, 0, BYTES);
	atomic_store(&sb->extent[0].off, BUFFER_EXTENT_0);
	fences = fences_with_magic = 0;
	pm_observer = observe;
	assert_int_equal(region_format(&rg, &small, BYTES - BUFFER_EXTENT_0), 0);
	pm_observer = NULL;
	assert_int_equal(fences_with_magic, 1);
	assert_true(fences >= 3);
}

static void test_format_too_small(void **state)
{
	struct region_shape big = small;
	uint64_t frames = 77;
	struct pm pm;

	(void)state;
	pm_init(&pm, &rg.medium);
	assert_int_equal(region_format_extent(&rg, &pm, &small, 1, BYTES - 4096, 4096, &frames),
			 PMPT_E_NO_FRAMES);
	assert_int_equal(region_format_extent(&rg, &pm, &small, 1, BYTES - 4096, 8192, &frames),
			 PMPT_E_NO_FRAMES);
	assert_int_equal(
		region_format_extent(&rg, &pm, &small, 1, ~(uint64_t)0 - 4096, 4096, &frames),
		PMPT_E_NO_FRAMES);
	assert_int_equal(region_format_extent(&rg, &pm, &small, 1, 4 << 20, 4096, &frames),
			 PMPT_E_NO_FRAMES);
	assert_int_equal(frames, 77);
	big.bulk_lines = 8u << 20 >> 6;
	assert_int_equal(region_format_extent(&rg, &pm, &big, 0, BUFFER_EXTENT_0,
					      BYTES - BUFFER_EXTENT_0, &frames),
			 PMPT_E_NO_FRAMES);
	assert_int_equal(region_check(&rg), 0); /* nothing was stored by any of them */
}

/* The smallest: header, descriptors, and one frame to use. */
static void test_extent_smallest(void **state)
{
	struct extent_head *found = NULL;
	uint64_t frames = 0;
	struct pm pm;

	(void)state;
	pm_init(&pm, &rg.medium);
	assert_int_equal(
		region_format_extent(&rg, &pm, &small, 1, 6 << 20, 3 * 4096 + 100, &frames), 0);
	assert_int_equal(frames, 3);
	atomic_store(&sb->extent[1].off, 6 << 20);
	assert_int_equal(region_check_extent(&rg, 1, &found), 0);
	assert_ptr_equal(found, region_at(&rg, 6 << 20));
	assert_int_equal(found->reserved_frames, 2);
	assert_int_equal(found->frames, 3);
}

/* ---- check --------------------------------------------------------------------------------- */

static void test_has(void **state)
{
	(void)state;
	assert_true(region_has(&rg, 0, BYTES));
	assert_true(region_has(&rg, BYTES, 0));
	assert_false(region_has(&rg, 1, BYTES));
	assert_false(region_has(&rg, BYTES + 1, 0));
	assert_false(region_has(&rg, ~(uint64_t)0, 2));
	assert_false(region_has(&rg, 8, ~(uint64_t)0 - 4));
}

struct bad {
	const char *what;
	void *at;
	unsigned bytes;
	uint64_t value;
	bool sealed; /* the CRC is made right again */
	int rc;
	const char *says;
};

static void expect_bad(const struct bad *b)
{
	const uint32_t crc[2] = { sb->crc, head->crc };
	uint64_t was = 0;
	int rc;

	memcpy(&was, b->at, b->bytes);
	memcpy(b->at, &b->value, b->bytes);
	if (b->sealed)
		seal();
	rc = region_check(&rg);
	if (rc != b->rc)
		fail_msg("%s: %s, expected %s: %s", b->what, pmpt_strerror(rc),
			 pmpt_strerror(b->rc), pmpt_errormsg());
	if (!strstr(pmpt_errormsg(), b->says))
		fail_msg("%s: '%s' lacks '%s'", b->what, pmpt_errormsg(), b->says);
	memcpy(b->at, &was, b->bytes);
	sb->crc = crc[0];
	head->crc = crc[1];
	assert_int_equal(region_check(&rg), 0);
}

static void test_superblock(void **state)
{
	const struct bad bad[] = {
		{ "magic", sb->magic, 1, 'L', true, PMPT_E_NOT_POOL, "0x1000" },
		{ "crc", &sb->crc, 4, 1, false, PMPT_E_CORRUPT, "0x1df4" },
		{ "under the crc", &sb->salt, 8, 1, false, PMPT_E_CORRUPT, "crc" },
		{ "major", &sb->major, 4, 2, true, PMPT_E_VERSION, "format 2" },
		{ "incompat", &sb->incompat, 4, 0x80, true, PMPT_E_VERSION, "0x80" },
		{ "ro_compat", &sb->ro_compat, 4, 4, true, PMPT_E_VERSION, "0x4" },
		{ "size", &sb->pool_bytes, 8, BYTES + 1, true, PMPT_E_TRUNCATED, "0x800001" },
		{ "directory", &sb->directory, 8, 0, true, PMPT_E_CORRUPT, "directory" },
		{ "lanes", &sb->lanes, 8, ~(uint64_t)63, true, PMPT_E_CORRUPT, "lanes" },
		{ "bulk", &sb->bulk, 8, sb->bulk + 64, true, PMPT_E_CORRUPT, "bulk lane" },
		{ "no spaces", &sb->n_spaces, 4, 0, true, PMPT_E_CORRUPT, "0 spaces" },
		{ "spaces", &sb->n_spaces, 4, PMPT_SPACES_MAX + 1, true, PMPT_E_CORRUPT, "1025" },
		{ "no lanes", &sb->n_lanes, 4, 0, true, PMPT_E_CORRUPT, "0 lanes" },
		{ "lanes", &sb->n_lanes, 4, PMPT_LANES_MAX + 1, true, PMPT_E_CORRUPT, "65 lanes" },
		{ "other lanes", &sb->n_lanes, 4, 40, true, PMPT_E_CORRUPT, "bulk lane" },
		{ "half", &sb->half_lines, 4, 3, true, PMPT_E_CORRUPT, "2 x 3" },
		{ "half", &sb->half_lines, 4, ~0u, true, PMPT_E_CORRUPT, "4294967295" },
		{ "bulk lines", &sb->bulk_lines, 4, 3, true, PMPT_E_CORRUPT, "3 bulk" },
		{ "bulk lines", &sb->bulk_lines, 4, ~0u, true, PMPT_E_CORRUPT, "4294967295" },
		{ "more bulk", &sb->bulk_lines, 4, 640, true, PMPT_E_CORRUPT, "reserved" },
		{ "reserved0", &sb->reserved0[3000], 1, 1, true, PMPT_E_CORRUPT, "reserved" },
		{ "reserved1", &sb->reserved1[1], 4, 1, false, PMPT_E_CORRUPT, "reserved" },
		{ "reserved2", &sb->reserved2[191], 1, 1, false, PMPT_E_CORRUPT, "reserved" },
		{ "features", &sb->features, 8, 0x80, false, PMPT_E_VERSION, "0x80" },
		{ "no extents", &sb->n_extents, 8, 0, false, PMPT_E_CORRUPT, "extents" },
		{ "extents", &sb->n_extents, 8, 1025, false, PMPT_E_CORRUPT, "0x401" },
		{ "extents", &sb->n_extents, 8, ~(uint64_t)0, false, PMPT_E_CORRUPT, "extents" },
		{ "one extent more", &sb->n_extents, 8, 2, false, PMPT_E_CORRUPT, "extent 1" },
		{ "extent", &sb->extent[0].off, 8, 0, false, PMPT_E_CORRUPT, "extent 0 at 0" },
		{ "extent", &sb->extent[0].off, 8, BYTES, false, PMPT_E_CORRUPT, "extent 0" },
		{ "extent", &sb->extent[0].off, 8, ~(uint64_t)0, false, PMPT_E_CORRUPT,
		  "extent 0" },
		{ "extent", &sb->extent[0].off, 8, 3 << 20, false, PMPT_E_CORRUPT, "0x400000" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_bad(&bad[i]);
}

static void test_extent_header(void **state)
{
	const struct bad bad[] = {
		{ "magic", &head->magic, 8, 7, true, PMPT_E_CORRUPT, "0x200000" },
		{ "crc", &head->crc, 4, 7, false, PMPT_E_CORRUPT, "0x200000" },
		{ "salt", &head->salt, 8, 7, true, PMPT_E_CORRUPT, "salt" },
		{ "index", &head->index, 8, 1, true, PMPT_E_CORRUPT, "index 1" },
		{ "first", &head->first, 8, 1024, true, PMPT_E_CORRUPT, "0x400" },
		{ "reserved", &head->reserved, 4, 1, true, PMPT_E_CORRUPT, "zeros" },
		{ "zero", &head->zero[4000], 1, 1, true, PMPT_E_CORRUPT, "zeros" },
		{ "none", &head->frames, 8, 0, true, PMPT_E_CORRUPT, "0 frames" },
		{ "too many", &head->frames, 8, head->frames + 1, true, PMPT_E_CORRUPT, "1537" },
		{ "wrapping", &head->frames, 8, ~(uint64_t)0, true, PMPT_E_CORRUPT, "frames" },
		{ "all reserved", &head->reserved_frames, 8, head->frames, true, PMPT_E_CORRUPT,
		  "1536 reserved" },
		{ "few reserved", &head->reserved_frames, 8, 3, true, PMPT_E_CORRUPT,
		  "3 reserved" },
		{ "other", &head->reserved_frames, 8, 9, true, PMPT_E_CORRUPT, "expected 8" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_bad(&bad[i]);
}

static void test_no_room(void **state)
{
	struct region cut = rg;

	(void)state;
	cut.bytes = BUFFER_SB_OFF + sizeof(*sb) - 1;
	assert_int_equal(region_check(&cut), PMPT_E_NOT_POOL);
	cut = rg;
	cut.sb_off = ~(uint64_t)63;
	assert_int_equal(region_check(&cut), PMPT_E_NOT_POOL);
	cut = rg;
	cut.bytes = BYTES - 1;
	assert_int_equal(region_check(&cut), PMPT_E_TRUNCATED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c),
		TEST(test_format),
		TEST(test_format_garbage),
		TEST(test_format_order),
		TEST(test_format_too_small),
		TEST(test_extent_smallest),
		TEST(test_has),
		TEST(test_superblock),
		TEST(test_extent_header),
		TEST(test_no_room),
	};

	return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
