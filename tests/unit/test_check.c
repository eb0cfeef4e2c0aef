/* SPDX-License-Identifier: BSD-3-Clause */
/* test_check -- a healthy image passes; for each invariant a breaker pokes words of it, and the verifier names exactly
 * that rule at that offset, and writes nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "check.h"
#include "image.h"

struct found {
	unsigned n;
	struct { char rule[16], message[256]; uint64_t off; } f[64];
	unsigned last_progress;
};

static void on_finding(void *ctx, const struct pmpt_finding *f)
{
	struct found *found = ctx;

	if (found->n < 64) {
		(void)snprintf(found->f[found->n].rule, 16, "%s", f->rule);
		(void)snprintf(found->f[found->n].message, 256, "%s", f->message);
		found->f[found->n].off = f->offset;
	}
	found->n++;
}

static void on_progress(void *ctx, unsigned permille)
{
	struct found *found = ctx;

	assert_true(permille > found->last_progress && permille <= 1000);
	found->last_progress = permille;
}

static int check(struct image *im, struct found *found, struct pmpt_check *sum)
{
	struct check_options o = { on_finding, on_progress, found };
	uint64_t before = image_hash(im);
	struct mem mem;
	int rc;

	*found = (struct found){ 0 };
	*sum = (struct pmpt_check){ 0 };
	assert_int_equal(mem_init(&mem), 0);
	rc = check_region(&im->rg, &mem, &o, sum);
	assert_int_equal(atomic_load(&mem.bytes), 0);
	mem_fini(&mem);
	assert_int_equal(sum->findings, found->n);
	assert_int_equal(image_hash(im), before);
	return rc;
}

static void test_healthy(void **state)
{
	struct pmpt_check sum;
	struct found found;
	struct image im;

	(void)state;
	image_make(&im);
	assert_int_equal(check(&im, &found, &sum), 0);
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

/* ---- breakers ----------------------------------------------------------------------------------- */

struct breaker {
	const char *what;
	struct { uint64_t off, value; } poke[4];
	const char *rule;	/* what must be found, once */
	uint64_t at;
	const char *also;	/* rules of what the breakage brings with it, e.g. "F3" for a subtree that nothing links any more */
};

static void judge(const struct breaker *b, int rc, const struct found *found)
{
	unsigned hits = 0, others = 0;

	for (unsigned i = 0; i < found->n && i < 64; i++) {
		bool hit = !strcmp(found->f[i].rule, b->rule) && found->f[i].off == b->at;

		hits += hit;
		others += !hit && (!b->also || !strstr(b->also, found->f[i].rule));
	}
	if (rc == 0 && hits == 1 && others == 0)
		return;
	print_error("breaker '%s': expected %s at %#lx, returned %d (%s), found %u:\n", b->what, b->rule, b->at, rc,
		    pmpt_errormsg(), found->n);
	for (unsigned i = 0; i < found->n && i < 64; i++)
		print_error("\t%s at %#lx: %s\n", found->f[i].rule, found->f[i].off, found->f[i].message);
	fail();
}

static void run_breakers(struct image *im, const struct breaker *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pmpt_check sum;
		struct found found;
		uint64_t old[4];

		for (unsigned k = 0; k < 4 && b[i].poke[k].off; k++) {
			old[k] = atomic_load(image_word(im, b[i].poke[k].off));
			image_poke(im, b[i].poke[k].off, b[i].poke[k].value);
		}
		judge(&b[i], check(im, &found, &sum), &found);
		for (unsigned k = 4; k-- > 0;) {
			if (b[i].poke[k].off)
				image_poke(im, b[i].poke[k].off, old[k]);
		}
	}
}
#define RUN(im, b) run_breakers(im, b, sizeof(b) / sizeof((b)[0]))

static void test_superblock(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t sb = im.rg.sb_off, crc = sb + offsetof(struct sb, crc), n = sb + offsetof(struct sb, n_extents);
	uint64_t spare = sb + offsetof(struct sb, extent[5].off), next = sb + offsetof(struct sb, extent[2].off);
	uint64_t head0 = region_extent(&im.rg, 0)->first << FRAME_SHIFT, head1 = region_extent(&im.rg, 1)->first << FRAME_SHIFT;
	const struct breaker b[] = {
		{ "a bit of the uuid", { { sb + 24, 0xff } }, "superblock", crc, NULL },
		{ "a reserved byte behind the crc", { { crc + 4, 0x100 } }, "superblock", crc + 5, NULL },
		{ "a reserved byte behind n_extents", { { n + 128, 1 } }, "superblock", n + 128, NULL },
		{ "no extents", { { n, 0 } }, "superblock", n, NULL },
		{ "too many extents", { { n, 1025 } }, "superblock", n, NULL },
		{ "an extent behind the next", { { spare, 0x600000 } }, "superblock", spare, NULL },
		{ "the next extent outside", { { next, IMAGE_BYTES } }, "superblock", next, NULL },
		{ "an extent outside", { { sb + offsetof(struct sb, extent[1].off), IMAGE_BYTES } }, "extent",
		  sb + offsetof(struct sb, extent[1].off), NULL },
		{ "magic of an extent", { { head1, 0 } }, "extent", head1, NULL },
		{ "frames of an extent", { { head0 + 16, 99 } }, "extent", head0, NULL },
		{ "salt of an extent", { { head1 + 40, 99 } }, "extent", head1, NULL },
		{ "a zero byte of an extent header", { { head1 + 4088, 1 } }, "extent", head1, NULL },
		{ "a crashed growth", { { next, 0x700000 }, { spare, 0x600000 } }, "superblock", spare, NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

/* A superblock that is whole, and says what cannot be. */
static void test_superblock_sealed(void **state)
{
	static const struct { size_t field; uint32_t value; int rc; const char *rule; } cases[] = {
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
		assert_int_equal(check(&im, &found, &sum), cases[i].rc);
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
	uint64_t r0 = region_off(&im.rg, &im.record[0]), r1 = r0 + 256, r2 = r0 + 512, r3 = r0 + 768;
	uint64_t root = offsetof(struct space_record, root), name = offsetof(struct space_record, name);
	const struct breaker b[] = {
		{ "reserved word", { { r0 + 248, 1 } }, "space", r0 + 248, NULL },
		{ "reserved word of a free record", { { r3 + 144, 1 } }, "space", r3 + 144, NULL },
		{ "state", { { r3, 3 } }, "space", r3, NULL },
		{ "policy bits", { { r0, 0x101 } }, "space", r0, NULL },
		{ "flags in a root", { { r0 + root, im.a[4] << 12 | 7 } }, "space", r0 + root, NULL },
		{ "root outside", { { r2 + root, IMAGE_BYTES } }, "space", r2 + root, "F3" },
		{ "root in a reserved frame", { { r2 + root, (uint64_t)2 << 20 } }, "space", r2 + root, "F3" },
		{ "root is a level 1 table", { { r2 + root, im.a[1] << 12 } }, "space", r2 + root, "F3" },
		{ "root is data", { { r2 + root, im.data << 12 } }, "space", r2 + root, "F3" },
		{ "root of a free record", { { r3 + root, im.a[4] << 12 } }, "space", r3 + root, NULL },
		{ "name of a free record", { { r3 + name, 'x' } }, "space", r3 + name, NULL },
		{ "name of a deleted space", { { r2 + name, 'x' } }, "space", r2 + name, NULL },
		{ "no name", { { r0 + name, 0 } }, "space", r0 + name, NULL },
		{ "name with a control character", { { r0 + name, word8("al\tpha") } }, "space", r0 + name, NULL },
		{ "name cut in a character", { { r0 + name, word8("alph\xc3") } }, "space", r0 + name, NULL },
		{ "name with a surrogate", { { r0 + name, word8("\xed\xa0\x80") } }, "space", r0 + name, NULL },
		{ "name in a longer form", { { r0 + name, word8("\xc0\xaf") } }, "space", r0 + name, NULL },
		{ "name twice", { { r1 + name, word8("alpha") } }, "space", r1 + name, NULL },
		{ "bytes behind the name", { { r0 + name + 56, 1 } }, "space", r0 + name, NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

static void test_entry(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t e4 = image_entry(im.a[4], 0), e3 = image_entry(im.a[3], 0), e1 = image_entry(im.a[1], 3), f4 = image_entry(im.a[4], 9),
		 f3 = image_entry(im.a[3], 9), f2 = image_entry(im.a[2], 9), f1 = image_entry(im.a[1], 99), ext = image_entry(im.a[2], 2);
	uint64_t link3 = im.a[3] << 12 | ENTRY_LINK, link2 = im.a[2] << 12 | ENTRY_LINK, free = im.next;
	uint64_t leaf = atomic_load(image_word(&im, e1)), big = atomic_load(image_word(&im, ext));
	const struct breaker b[] = {
		{ "NX in a link", { { e4, link3 | ENTRY_NX } }, "entry", e4, NULL },
		{ "D in a link", { { e3, link2 | ENTRY_D } }, "entry", e3, NULL },
		{ "a link without W", { { e3, link2 & ~ENTRY_W } }, "entry", e3, NULL },
		{ "PS at level 4", { { e4, link3 | ENTRY_PS } }, "entry", e4, NULL },
		{ "PAT", { { e1, leaf | ENTRY_PS } }, "entry", e1, NULL },
		{ "COW", { { e1, leaf | ENTRY_COW } }, "entry", e1, NULL },
		{ "kind of a present entry", { { e1, leaf | (uint64_t)1 << 56 } }, "entry", e1, NULL },
		{ "not present, not 0", { { f1, (uint64_t)1 << 57 } }, "entry", f1, NULL },
		{ "a huge page that is not aligned", { { ext, big + 4096 } }, "entry", ext, NULL },
		{ "a leaf into a reserved frame", { { f1, (uint64_t)2 << 20 | ENTRY_P } }, "entry", f1, NULL },
		{ "a leaf outside", { { f1, IMAGE_BYTES | ENTRY_P } }, "entry", f1, NULL },
		{ "a leaf far outside", { { f1, ENTRY_PFN | ENTRY_P } }, "entry", f1, NULL },
		{ "a huge leaf over reserved frames", { { f2, (uint64_t)2 << 20 | ENTRY_P | ENTRY_PS } }, "entry", f2, NULL },
		{ "a leaf into a table", { { f1, link2 } }, "entry", f1, NULL },
		{ "a link outside", { { f3, IMAGE_BYTES | ENTRY_LINK } }, "entry", f3, NULL },
		{ "a link far outside", { { f3, ENTRY_PFN | ENTRY_LINK } }, "entry", f3, NULL },
		{ "a link to a reserved frame", { { f3, (uint64_t)2 << 20 | ENTRY_LINK } }, "entry", f3, NULL },
		{ "a link to data", { { f3, im.data << 12 | ENTRY_LINK } }, "entry", f3, NULL },
		{ "a loop to itself", { { f4, im.a[4] << 12 | ENTRY_LINK } }, "entry", f4, NULL },
		{ "a loop upwards", { { f2, im.a[4] << 12 | ENTRY_LINK } }, "entry", f2, NULL },
		{ "a table at two levels", { { f4, link2 } }, "entry", f4, NULL },
		{ "an empty table", { { f3, free << 12 | ENTRY_LINK }, { image_desc(&im, free), desc_make(DESC_TABLE, 1) } }, "entry", f3, NULL },
		{ "a table emptied", { { image_entry(im.b[1], 511), 0 } }, "entry", image_entry(im.b[2], 511), "F3" },
	};
	RUN(&im, b);
	image_free(&im);
}

static void test_counts(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	atomic_store(&im.sb->checkpoint_lsn, IMAGE_LIMIT - 1); /* at rest: what lines aim at is no matter */
	uint64_t data = image_desc(&im, im.data), table = image_desc(&im, im.a[1]), free = image_desc(&im, im.next),
		 shared = image_desc(&im, im.shared), huge = image_desc(&im, im.huge + 77), freed = image_desc(&im, im.freed),
		 first1 = region_extent(&im.rg, 1)->first, behind = image_desc(&im, first1) + 8 * (1024 - 8);
	uint64_t again = image_entry(im.a[2], 9), link1 = im.a[1] << 12 | ENTRY_LINK;
	const struct breaker b[] = {
		{ "zero bits", { { data, desc_make(DESC_DATA, 1) | (uint64_t)1 << 63 } }, "descriptor", data, NULL },
		{ "W/X state", { { data, desc_make(DESC_DATA, 1) | (uint64_t)1 << 40 } }, "descriptor", data, NULL },
		{ "data without a kind", { { data, 1 } }, "descriptor", data, NULL },
		{ "data called reserved", { { data, desc_make(DESC_RESERVED, 1) } }, "descriptor", data, NULL },
		{ "data called a table", { { data, desc_make(DESC_TABLE, 1) } }, "descriptor", data, NULL },
		{ "a table called data", { { table, desc_make(DESC_DATA, 1) } }, "descriptor", table, NULL },
		{ "a table without a kind", { { table, 1 } }, "descriptor", table, NULL },
		{ "a table of a kind that is none", { { table, desc_make(5, 1) } }, "descriptor", table, NULL },
		{ "a free frame called data", { { free, desc_make(DESC_DATA, 0) } }, "descriptor", free, NULL },
		{ "a reserved frame free", { { image_desc(&im, first1), 0 } }, "descriptor", image_desc(&im, first1), NULL },
		{ "a frame that is none", { { behind, 1 } }, "descriptor", behind, NULL },
		{ "a leaked data frame", { { free, desc_make(DESC_DATA, 1) } }, "F3", free, NULL },
		{ "a leaked table", { { freed, desc_make(DESC_TABLE, 1) } }, "F3", freed, NULL },
		{ "a leak in the second extent", { { behind - 8, desc_make(DESC_DATA, 3) } }, "F3", behind - 8, NULL },
		{ "an unmapped page", { { image_entry(im.a[1], 0), 0 } }, "F3", data, NULL },
		{ "free data in use", { { data, 0 } }, "F3", data, NULL },
		{ "a free table in use", { { table, desc_make(DESC_TABLE, 0) } }, "F3", table, NULL },
		{ "a mapped free frame", { { image_entry(im.c[1], 7), im.next << 12 | ENTRY_P } }, "F3", free, NULL },
		{ "a count too large", { { data, desc_make(DESC_DATA, 2) } }, "F4", data, NULL },
		{ "a count too small", { { shared, desc_make(DESC_DATA, 1) } }, "F4", shared, NULL },
		{ "a count in a huge page", { { huge, desc_make(DESC_DATA, 2) } }, "F4", huge, NULL },
		{ "a page mapped once more", { { image_entry(im.c[1], 7), im.data << 12 | ENTRY_P } }, "F4", data, NULL },
		{ "a table with two parents", { { again, link1 } }, "F4", table, NULL },
		{ "a shared table below W", { { again, link1 }, { table, desc_make(DESC_TABLE, 2) } }, "F6", table, NULL },
	};
	RUN(&im, b);
	image_free(&im);
}

/* ---- the log ------------------------------------------------------------------------------------ */

static void test_log_words(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t checkpoint = region_off(&im.rg, &im.sb->checkpoint_lsn), limit = region_off(&im.rg, &im.sb->lsn_limit),
		 from = region_off(&im.rg, &im.sb->bulk_from);
	const struct breaker b[] = {
		{ "checkpoint_lsn at lsn_limit", { { checkpoint, IMAGE_LIMIT } }, "W4", checkpoint, NULL },
		{ "checkpoint_lsn in a transaction", { { checkpoint, 12 } }, "W4", checkpoint, NULL },
		{ "no lsn_limit", { { limit, 0 } }, "W5", limit, NULL },
		{ "an LSN at lsn_limit", { { limit, 15 } }, "W5", image_line(&im, 0, 5), NULL },
		{ "bulk_from at lsn_limit", { { from, IMAGE_LIMIT } }, "W8", from, NULL },
		{ "bulk_from is not the first line's LSN", { { from, 4 } }, "W8", image_bulk(&im, 0), NULL },
		{ "a line damaged in the middle", { { image_line(&im, 0, 3) + 24, 7 } }, "log", image_line(&im, 0, 3), NULL },
	};
	struct pmpt_check sum;
	struct found found;

	RUN(&im, b);
	image_poke(&im, from, 5); /* a bulk transaction that recovery would redo */
	assert_int_equal(check(&im, &found, &sum), 0);
	assert_int_equal(found.n, 0);
	image_free(&im);
}

struct new_line {
	const char *what;
	unsigned lane, slot; /* lane 2: the bulk lane, live from LSN 20 */
	uint64_t lsn;
	unsigned flags, count;
	uint64_t where; /* 0: an entry of a table */
	const char *rule;
	int at; /* slot of the finding; -1: the line's own */
};

static uint64_t slot_off(const struct image *im, unsigned lane, unsigned slot)
{
	return lane == 2 ? image_bulk(im, slot) : image_line(im, lane, slot);
}

static void one_line(const struct new_line *c)
{
	struct breaker b = { .what = c->what, .rule = c->rule };
	struct pmpt_check sum;
	struct found found;
	struct image im;

	image_make(&im);
	if (c->lane == 2)
		atomic_store(&im.sb->bulk_from, 20);
	const struct line_word word[2] = { { c->where ? c->where : image_entry(im.a[1], 200), 0, 0 } };

	image_log(&im, slot_off(&im, c->lane, c->slot), c->lsn, c->flags, c->count, word);
	b.at = slot_off(&im, c->lane, c->at < 0 ? c->slot : (unsigned)c->at);
	assert_int_equal(check(&im, &found, &sum), 0);
	if (c->rule)
		judge(&b, 0, &found);
	else if (found.n)
		fail_msg("%s: %s %s", c->what, found.f[0].rule, found.f[0].message);
	image_free(&im);
}

static void test_log_lines(void **state)
{
	const unsigned last = LINE_LAST, undo = LINE_UNDO;
	struct image im;

	(void)state;
	image_make(&im);
	const struct new_line cases[] = {
		{ "one more transaction", 0, 6, 20, last, 1, 0, NULL, -1 },
		{ "a transaction torn at its end", 0, 6, 20, 0, 0, 0, NULL, -1 },
		{ "a transaction torn at its start", 0, 8, 22, last, 3, 0, NULL, -1 },
		{ "a transaction torn over a dead line", 1, 2, 21, last, 2, 0, NULL, -1 },
		{ "a bulk transaction", 2, 0, 20, undo, 0, 0, NULL, -1 },
		{ "a bulk batch torn at its start", 2, 2, 22, undo, 0, 0, NULL, -1 },
		{ "LSN reused", 1, 1, 15, last, 1, 0, "W5", -1 },
		{ "LSN at the limit", 0, 6, IMAGE_LIMIT, last, 1, 0, "W5", -1 },
		{ "LAST without a count", 0, 6, 20, last, 0, 0, "W2", -1 },
		{ "LAST counts more slots than the half has", 0, 6, 20, last, 9, 0, "W2", -1 },
		{ "a count without LAST", 0, 6, 20, 0, 1, 0, "W2", -1 },
		{ "a count in the bulk lane", 2, 0, 20, undo, 1, 0, "W2", -1 },
		{ "a whole transaction behind the end", 0, 7, 20, last, 1, 0, "log", 6 },
		{ "an undo line in a redo lane", 0, 6, 20, undo, 0, 0, "log", -1 },
		{ "a redo line in the bulk lane", 2, 0, 20, 0, 0, 0, "log", -1 },
		{ "an aim at nothing", 0, 6, 20, last, 1, IMAGE_BYTES, "log", -1 },
		{ "an aim at data", 0, 6, 20, last, 1, image_entry(im.data, 0), "log", -1 },
		{ "an aim at a free frame", 0, 6, 20, last, 1, image_entry(im.next, 0), "log", -1 },
		{ "an undo aim at a free frame", 2, 0, 20, undo, 0, image_entry(im.next, 0), NULL, -1 },
		{ "an aim at a freed table", 0, 6, 20, last, 1, image_entry(im.freed, 0), NULL, -1 },
		{ "an aim at a reserved frame", 0, 6, 20, last, 1, 2 << 20, "log", -1 },
		{ "an aim at a reserved descriptor", 0, 6, 20, last, 1, image_desc(&im, 512) | WHERE_DESC, "log", -1 },
		{ "an aim at a descriptor of no frame", 0, 6, 20, last, 1, (image_desc(&im, 2048) + 8 * 1016) | WHERE_DESC, "log", -1 },
		{ "an aim behind the directory", 0, 6, 20, last, 1, (im.sb->directory + 8 * 256) | WHERE_DIR, "log", -1 },
		{ "an aim at the directory", 0, 6, 20, last, 1, (im.sb->directory + 8 * 256 - 8) | WHERE_DIR, NULL, -1 },
		{ "an aim at checkpoint_lsn", 0, 6, 20, last, 1, (im.rg.sb_off + 3584) | WHERE_SB, "log", -1 },
		{ "a class that is none", 0, 6, 20, last, 1, image_entry(im.a[1], 0) | 5, "log", -1 },
		{ "an aim with high bits", 0, 6, 20, last, 1, image_entry(im.a[1], 0) | (uint64_t)1 << 60, "log", -1 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		one_line(&cases[i]);
	image_free(&im);
}

/* A committed transaction that misses a line, with a committed one behind it. */
static void test_log_gap(void **state)
{
	struct breaker b = { .what = "a line missing in the middle", .rule = "W2" };
	struct pmpt_check sum;
	struct found found;
	struct image im;

	(void)state;
	image_make(&im);
	const struct line_word word[2] = { { image_entry(im.a[1], 200), 0, 0 } };

	image_log(&im, image_line(&im, 0, 6), 21, LINE_LAST, 2, word);
	image_log(&im, image_line(&im, 0, 7), 22, LINE_LAST, 1, word);
	b.at = image_line(&im, 0, 6);
	judge(&b, check(&im, &found, &sum), &found);
	image_free(&im);
}

/* ---- memory ------------------------------------------------------------------------------------- */

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
		cmocka_unit_test(test_healthy),	  cmocka_unit_test(test_superblock), cmocka_unit_test(test_superblock_sealed),
		cmocka_unit_test(test_space),	  cmocka_unit_test(test_entry),	     cmocka_unit_test(test_counts),
		cmocka_unit_test(test_log_words), cmocka_unit_test(test_log_lines),  cmocka_unit_test(test_log_gap),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
