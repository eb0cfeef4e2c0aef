/* SPDX-License-Identifier: BSD-3-Clause */
/* test_check -- a healthy image passes; for each invariant a breaker pokes words of it, and the
 * verifier names exactly that rule at that offset, and writes nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "breaker.h"
#include "check.h"

static void test_healthy(void **state)
{
	struct pmpt_check sum;
	struct found found;
	struct image im;

	(void)state;
	image_make(&im);
	assert_int_equal(breaker_check(&im, &found, &sum), 0);
	for (unsigned i = 0; i < found.n && i < 64; i++)
		print_error("%s %#lx %s\n", found.f[i].rule, found.f[i].off, found.f[i].message);
	assert_int_equal(found.n, 0);
	assert_int_equal(found.last_progress, 1000);
	assert_int_equal(sum.spaces, 2);
	assert_int_equal(sum.tables, 12);
	assert_int_equal(sum.leaves, 17);
	assert_int_equal(sum.data_frames, 524);
	assert_int_equal(sum.log_lines, 10);
	image_free(&im);
}

/* ---- breakers ------------------------------------------------------------------------------- */

static void test_superblock(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t sb = im.rg.sb_off, crc = sb + offsetof(struct sb, crc),
		 n = sb + offsetof(struct sb, n_extents);
	uint64_t spare = sb + offsetof(struct sb, extent[5].off),
		 next = sb + offsetof(struct sb, extent[2].off);
	uint64_t head0 = region_extent(&im.rg, 0)->first << FRAME_SHIFT,
		 head1 = region_extent(&im.rg, 1)->first << FRAME_SHIFT;
	const struct breaker b[] = {
		{ "a bit of the uuid", { { sb + 24, 0xff } }, "superblock", crc, NULL },
		{ "a reserved byte behind the crc",
		  { { crc + 4, 0x100 } },
		  "superblock",
		  crc + 5,
		  NULL },
		{ "a reserved byte behind n_extents",
		  { { n + 128, 1 } },
		  "superblock",
		  n + 128,
		  NULL },
		{ "no extents", { { n, 0 } }, "superblock", n, NULL },
		{ "too many extents", { { n, 1025 } }, "superblock", n, NULL },
		{ "an extent behind the next", { { spare, 0x600000 } }, "superblock", spare, NULL },
		{ "the next extent outside", { { next, IMAGE_BYTES } }, "superblock", next, NULL },
		{ "an extent outside",
		  { { sb + offsetof(struct sb, extent[1].off), IMAGE_BYTES } },
		  "extent",
		  sb + offsetof(struct sb, extent[1].off),
		  NULL },
		{ "magic of an extent", { { head1, 0 } }, "extent", head1, NULL },
		{ "frames of an extent", { { head0 + 16, 99 } }, "extent", head0, NULL },
		{ "salt of an extent", { { head1 + 40, 99 } }, "extent", head1, NULL },
		{ "a zero byte of an extent header",
		  { { head1 + 4088, 1 } },
		  "extent",
		  head1,
		  NULL },
		{ "a crashed growth",
		  { { next, 0x700000 }, { spare, 0x600000 } },
		  "superblock",
		  spare,
		  NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

/* A superblock that is whole, and says what cannot be. */
static void test_superblock_sealed(void **state)
{
	static const struct {
		size_t field;
		uint32_t value;
		int rc;
		const char *rule;
	} cases[] = {
		{ offsetof(struct sb, magic), 1, PMPT_E_NOT_POOL, NULL },
		{ offsetof(struct sb, major), 2, PMPT_E_VERSION, NULL },
		{ offsetof(struct sb, incompat), 1, PMPT_E_VERSION, NULL },
		{ offsetof(struct sb, pool_bytes), 0xf0000000, PMPT_E_TRUNCATED, NULL },
		{ offsetof(struct sb, directory), 0x1000, 0, "superblock" },
		{ offsetof(struct sb, lanes), 0x1000, 0, "superblock" },
		{ offsetof(struct sb, bulk), 0x1000, 0, "superblock" },
		{ offsetof(struct sb, n_spaces), 0, 0, "superblock" },
		{ offsetof(struct sb, n_lanes), 65, 0, "superblock" },
		{ offsetof(struct sb, half_lines), 1u << 31, 0, "superblock" },
		{ offsetof(struct sb, reserved0) + 4, 1, 0, "superblock" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pmpt_check sum;
		struct found found;
		struct image im;

		image_make(&im);
		memcpy((char *)im.sb + cases[i].field, &cases[i].value, 4);
		image_seal(&im);
		assert_int_equal(breaker_check(&im, &found, &sum), cases[i].rc);
		assert_int_equal(found.n, cases[i].rule ? 1 : 0);
		if (cases[i].rule)
			assert_string_equal(found.f[0].rule, cases[i].rule);
		image_free(&im);
	}
}

static uint64_t word8(const char *text)
{
	uint64_t word = 0;

	memcpy(&word, text, strlen(text));
	return word;
}

static void test_space(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t r0 = region_off(&im.rg, &im.record[0]), r2 = r0 + 512, r3 = r0 + 768,
		 root = offsetof(struct space_record, root);
	const struct breaker b[] = {
		{ "reserved word", { { r0 + 248, 1 } }, "space", r0 + 248, NULL },
		{ "reserved word of a free record", { { r3 + 144, 1 } }, "space", r3 + 144, NULL },
		{ "state", { { r3, 3 } }, "space", r3, NULL },
		{ "flags of a record", { { r0, 0x10001 } }, "space", r0, NULL },
		{ "flags in a root",
		  { { r0 + root, im.a[4] << 12 | 7 } },
		  "space",
		  r0 + root,
		  NULL },
		{ "root outside", { { r2 + root, IMAGE_BYTES } }, "space", r2 + root, "F3" },
		{ "root in a reserved frame",
		  { { r2 + root, (uint64_t)2 << 20 } },
		  "space",
		  r2 + root,
		  "F3" },
		{ "root is a level 1 table",
		  { { r2 + root, im.a[1] << 12 } },
		  "space",
		  r2 + root,
		  "F3" },
		{ "root is data", { { r2 + root, im.data << 12 } }, "space", r2 + root, "F3" },
		{ "root of a free record",
		  { { r3 + root, im.a[4] << 12 } },
		  "space",
		  r3 + root,
		  NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

static void test_space_name(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t name = region_off(&im.rg, &im.record[0]) + offsetof(struct space_record, name);
	const struct breaker b[] = {
		{ "name of a free record", { { name + 768, 'x' } }, "space", name + 768, NULL },
		{ "name of a deleted space", { { name + 512, 'x' } }, "space", name + 512, NULL },
		{ "no name", { { name, 0 } }, "space", name, NULL },
		{ "name with a control character",
		  { { name, word8("al\tpha") } },
		  "space",
		  name,
		  NULL },
		{ "name cut in a character", { { name, word8("alph\xc3") } }, "space", name, NULL },
		{ "name with a surrogate",
		  { { name, word8("\xed\xa0\x80") } },
		  "space",
		  name,
		  NULL },
		{ "name in a longer form", { { name, word8("\xc0\xaf") } }, "space", name, NULL },
		{ "name twice", { { name + 256, word8("alpha") } }, "space", name + 256, NULL },
		{ "bytes behind the name", { { name + 56, 1 } }, "space", name, NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

static void test_entry(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t e4 = image_entry(im.a[4], 0), e3 = image_entry(im.a[3], 0),
		 e1 = image_entry(im.a[1], 3), f1 = image_entry(im.a[1], 99),
		 ext = image_entry(im.a[2], 2);
	uint64_t link3 = im.a[3] << 12 | ENTRY_LINK, link2 = im.a[2] << 12 | ENTRY_LINK;
	uint64_t leaf = atomic_load(image_word(&im, e1)), big = atomic_load(image_word(&im, ext));
	const struct breaker b[] = {
		{ "NX in a link", { { e4, link3 | ENTRY_NX } }, "entry", e4, NULL },
		{ "D in a link", { { e3, link2 | ENTRY_D } }, "entry", e3, NULL },
		{ "a link without W", { { e3, link2 & ~ENTRY_W } }, "entry", e3, NULL },
		{ "PS at level 4", { { e4, link3 | ENTRY_PS } }, "entry", e4, NULL },
		{ "PAT", { { e1, leaf | ENTRY_PS } }, "entry", e1, NULL },
		{ "COW", { { e1, leaf | ENTRY_COW } }, "entry", e1, NULL },
		{ "kind of a present entry",
		  { { e1, leaf | (uint64_t)1 << 56 } },
		  "entry",
		  e1,
		  NULL },
		{ "not present, not 0", { { f1, (uint64_t)1 << 57 } }, "entry", f1, "superblock" },
		{ "a huge page that is not aligned", { { ext, big + 4096 } }, "entry", ext, NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

static void test_entry_target(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t f4 = image_entry(im.a[4], 9), f3 = image_entry(im.a[3], 9),
		 f2 = image_entry(im.a[2], 9), f1 = image_entry(im.a[1], 99);
	uint64_t link2 = im.a[2] << 12 | ENTRY_LINK, free = im.next;
	const struct breaker b[] = {
		{ "a leaf into a reserved frame",
		  { { f1, (uint64_t)2 << 20 | ENTRY_P } },
		  "entry",
		  f1,
		  NULL },
		{ "a leaf outside", { { f1, IMAGE_BYTES | ENTRY_P } }, "entry", f1, NULL },
		{ "a leaf far outside", { { f1, ENTRY_PFN | ENTRY_P } }, "entry", f1, NULL },
		{ "a huge leaf over reserved frames",
		  { { f2, (uint64_t)2 << 20 | ENTRY_P | ENTRY_PS } },
		  "entry",
		  f2,
		  NULL },
		{ "a leaf into a table", { { f1, link2 } }, "entry", f1, NULL },
		{ "a link outside", { { f3, IMAGE_BYTES | ENTRY_LINK } }, "entry", f3, NULL },
		{ "a link far outside", { { f3, ENTRY_PFN | ENTRY_LINK } }, "entry", f3, NULL },
		{ "a link to a reserved frame",
		  { { f3, (uint64_t)2 << 20 | ENTRY_LINK } },
		  "entry",
		  f3,
		  NULL },
		{ "a link to data", { { f3, im.data << 12 | ENTRY_LINK } }, "entry", f3, NULL },
		{ "a loop to itself", { { f4, im.a[4] << 12 | ENTRY_LINK } }, "entry", f4, NULL },
		{ "a loop upwards", { { f2, im.a[4] << 12 | ENTRY_LINK } }, "entry", f2, NULL },
		{ "a table at two levels", { { f4, link2 } }, "entry", f4, NULL },
		{ "an empty table",
		  { { f3, free << 12 | ENTRY_LINK },
		    { image_desc(&im, free), desc_make(DESC_TABLE, 1) } },
		  "entry",
		  f3,
		  NULL },
		{ "a table emptied",
		  { { image_entry(im.b[1], 511), 0 } },
		  "entry",
		  image_entry(im.b[2], 511),
		  "F3" },
	};
	RUN(&im, b);
	image_free(&im);
}

/* At rest: what lines aim at is no matter. */
static void image_at_rest(struct image *im)
{
	image_make(im);
	atomic_store(&im->sb->checkpoint_lsn, IMAGE_LIMIT - 1);
}

static void test_descriptor(void **state)
{
	struct image im;

	(void)state;
	image_at_rest(&im);
	uint64_t data = image_desc(&im, im.data), table = image_desc(&im, im.a[1]),
		 free = image_desc(&im, im.next), first1 = region_extent(&im.rg, 1)->first,
		 behind = image_desc(&im, first1) + 8 * (1024 - 8);
	const struct breaker b[] = {
		{ "zero bits",
		  { { data, desc_make(DESC_DATA, 1) | (uint64_t)1 << 63 } },
		  "descriptor",
		  data,
		  NULL },
		{ "W/X state",
		  { { data, desc_make(DESC_DATA, 1) | (uint64_t)1 << 40 } },
		  "descriptor",
		  data,
		  NULL },
		{ "data without a kind", { { data, 1 } }, "descriptor", data, NULL },
		{ "data called reserved",
		  { { data, desc_make(DESC_RESERVED, 1) } },
		  "descriptor",
		  data,
		  NULL },
		{ "data called a table",
		  { { data, desc_make(DESC_TABLE, 1) } },
		  "descriptor",
		  data,
		  NULL },
		{ "a table called data",
		  { { table, desc_make(DESC_DATA, 1) } },
		  "descriptor",
		  table,
		  NULL },
		{ "a table without a kind", { { table, 1 } }, "descriptor", table, NULL },
		{ "a table of a kind that is none",
		  { { table, desc_make(5, 1) } },
		  "descriptor",
		  table,
		  NULL },
		{ "a free frame called data",
		  { { free, desc_make(DESC_DATA, 0) } },
		  "descriptor",
		  free,
		  NULL },
		{ "a reserved frame free",
		  { { image_desc(&im, first1), 0 } },
		  "descriptor",
		  image_desc(&im, first1),
		  NULL },
		{ "a frame that is none", { { behind, 1 } }, "descriptor", behind, NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

static void test_reachable(void **state)
{
	struct image im;

	(void)state;
	image_at_rest(&im);
	uint64_t data = image_desc(&im, im.data), table = image_desc(&im, im.a[1]),
		 free = image_desc(&im, im.next), freed = image_desc(&im, im.freed),
		 behind = image_desc(&im, region_extent(&im.rg, 1)->first) + 8 * (1024 - 8);
	const struct breaker b[] = {
		{ "a leaked data frame", { { free, desc_make(DESC_DATA, 1) } }, "F3", free, NULL },
		{ "a leaked table", { { freed, desc_make(DESC_TABLE, 1) } }, "F3", freed, NULL },
		{ "a leak in the second extent",
		  { { behind - 8, desc_make(DESC_DATA, 3) } },
		  "F3",
		  behind - 8,
		  NULL },
		{ "an unmapped page", { { image_entry(im.a[1], 0), 0 } }, "F3", data, NULL },
		{ "free data in use", { { data, 0 } }, "F3", data, NULL },
		{ "a free table in use",
		  { { table, desc_make(DESC_TABLE, 0) } },
		  "F3",
		  table,
		  NULL },
		{ "a mapped free frame",
		  { { image_entry(im.c[1], 7), im.next << 12 | ENTRY_P } },
		  "F3",
		  free,
		  NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

static void test_counts(void **state)
{
	struct image im;

	(void)state;
	image_at_rest(&im);
	uint64_t data = image_desc(&im, im.data), table = image_desc(&im, im.a[1]),
		 shared = image_desc(&im, im.shared), huge = image_desc(&im, im.huge + 77);
	uint64_t again = image_entry(im.a[2], 9), link1 = im.a[1] << 12 | ENTRY_LINK;
	const struct breaker b[] = {
		{ "a count too large", { { data, desc_make(DESC_DATA, 2) } }, "F4", data, "F6" },
		{ "a count too small",
		  { { shared, desc_make(DESC_DATA, 1) } },
		  "F4",
		  shared,
		  NULL },
		{ "a count in a huge page",
		  { { huge, desc_make(DESC_DATA, 2) } },
		  "F4",
		  huge,
		  "F6" },
		{ "a page mapped once more",
		  { { image_entry(im.c[1], 7), im.data << 12 | ENTRY_P } },
		  "F4",
		  data,
		  NULL },
		{ "a table with two parents", { { again, link1 } }, "F4", table, NULL },
		{ "a shared table below W",
		  { { again, (link1 & ~ENTRY_W) | ENTRY_COW },
		    { table, desc_make(DESC_TABLE, 2) } },
		  "F6",
		  image_entry(im.a[2], 0),
		  "superblock" },
	};
	RUN(&im, b);
	image_free(&im);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void test_memory(void **state)
{
	struct check_options o = { 0 };
	struct image im;
	int rc = -ENOMEM;
	long n;

	(void)state;
	image_make(&im);
	for (n = 0; rc == -ENOMEM; n++) {
		struct pmpt_check sum = { 0 };
		struct mem mem;

		assert_int_equal(mem_init(&mem), 0);
		atomic_store(&mem_fail_after, n);
		rc = check_region(&im.rg, &mem, &o, &sum);
		atomic_store(&mem_fail_after, -1);
		assert_int_equal(atomic_load(&mem.bytes), 0);
		mem_fini(&mem);
		assert_true(rc == 0 || rc == -ENOMEM);
		assert_int_equal(sum.findings, 0);
	}
	assert_int_equal(rc, 0);
	assert_true(n > 5);
	image_free(&im);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy),
		cmocka_unit_test(test_superblock),
		cmocka_unit_test(test_superblock_sealed),
		cmocka_unit_test(test_space),
		cmocka_unit_test(test_space_name),
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_entry_target),
		cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_reachable),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
