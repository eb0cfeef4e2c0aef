/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fuzz -- random damage to superblock, log lines, descriptors and table entries of a small
 * pool between two guard pages: recovery, the verifier, and then lookups through the public API end
 * with success or a named error, never a crash, a hang or an access out of range; recovery that
 * refuses has stored nothing; the verifier stores nothing at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "check.h"
#include "error.h"
#include "fuzz.h"
#include "image.h"
#include "pool.h"
#include "replay.h"

#define ROUNDS 10000

#define PAGES (IMAGE_BYTES / FRAME_BYTES)

static struct image im;
static struct region read_only; /* the same memory once more, between two guard pages, too */
static char *healthy;           /* a copy of it */
static struct mem mem;
static unsigned stores;
static uint32_t dirty[PAGES], n_dirty; /* pages that may differ from it */
static bool is_dirty[PAGES];

static void mark(uint64_t off, uint64_t len)
{
	for (uint64_t page = off / FRAME_BYTES; len && page <= (off + len - 1) / FRAME_BYTES;
	     page++) {
		if (!is_dirty[page])
			dirty[n_dirty++] = (uint32_t)page;
		is_dirty[page] = true;
	}
}

static void on_event(void *ctx, const struct pm_event *event)
{
	(void)ctx;
	if (event->kind != PM_EV_STORE && event->kind != PM_EV_STREAM)
		return;
	stores++;
	mark(region_off(&im.rg, event->addr), event->len);
}

/* The healthy image once more.  The library stores through pm alone, so these are all the pages. */
static void restore(void)
{
	for (; n_dirty; n_dirty--) {
		uint64_t off = dirty[n_dirty - 1] * FRAME_BYTES;

		memcpy(im.rg.base + off, healthy + off, FRAME_BYTES);
		is_dirty[dirty[n_dirty - 1]] = false;
	}
}

/* The image in a file that is mapped twice. */
static int map_twice(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	char *guarded = mmap(NULL, IMAGE_BYTES + 2 * FRAME_BYTES, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || guarded == MAP_FAILED ||
	    write(fd, im.rg.base, IMAGE_BYTES) != (ssize_t)IMAGE_BYTES ||
	    mmap(im.rg.base, IMAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    MAP_FAILED ||
	    mmap(guarded + FRAME_BYTES, IMAGE_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    MAP_FAILED)
		return -1;
	close(fd);
	read_only = im.rg;
	read_only.base = guarded + FRAME_BYTES;
	pm_medium_init(&read_only.medium, read_only.base, IMAGE_BYTES, PM_CACHE_LINE);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	image_make(&im);
	healthy = malloc(IMAGE_BYTES);
	if (!healthy || map_twice())
		return -1;
	memcpy(healthy, im.rg.base, IMAGE_BYTES);
	return mem_init(&mem);
}

static int teardown(void **state)
{
	(void)state;
	mem_fini(&mem);
	free(healthy);
	(void)munmap(read_only.base - FRAME_BYTES, IMAGE_BYTES + 2 * FRAME_BYTES);
	image_free(&im);
	return 0;
}

static void named(const struct fuzz *f, const char *what, int rc)
{
	if (rc > 0 || !strcmp(pmpt_strerror(rc), "unknown error"))
		fail_msg("%s returned %d: %s", what, rc, fuzz_again(f));
	if (rc && !*pmpt_errormsg())
		fail_msg("%s returned %s with no message: %s", what, pmpt_strerror(rc),
			 fuzz_again(f));
}

/* ---- what is done to a damaged image -------------------------------------------------------- */

/* Returns the findings, or the error. */
static int verify(const struct fuzz *f)
{
	struct check_options o = { 0 };
	struct pmpt_check sum = { 0 };
	int rc;

	rc = check_region(&read_only, &mem, &o, &sum); /* a store would be a fault */
	named(f, "check_region", rc);
	return rc ? rc : (int)sum.findings;
}

static int recover(const struct fuzz *f)
{
	struct pmpt_recovery report;
	int rc = region_check(&im.rg);

	named(f, "region_check", rc);
	if (rc)
		return rc;
	stores = 0;
	rc = replay(&im.rg, &mem, LSN_STEP, &report);
	named(f, "replay", rc);
	if (rc && stores)
		fail_msg("replay refused after %u stores: %s", stores, fuzz_again(f));
	return rc;
}

static int few(void *ctx, const struct pmpt_mapping *m)
{
	(void)m;
	return ++*(unsigned *)ctx < 2000 ? 0 : -ECANCELED;
}

static void look(const struct fuzz *f, pmpt_pool *pool, const char *name)
{
	static const uint64_t va[] = { 0,           0xa000,     0x14000,    0x200000,
				       0x400000,    0x40000000, 0x80000000, 0xfffffffffffff000,
				       0x8000000000 };
	uint64_t entry[sizeof(va) / sizeof(va[0])];
	struct pmpt_mapping m;
	pmpt_space *space;
	unsigned n = 0;
	int rc = pmpt_space_open(pool, name, &space);

	named(f, "pmpt_space_open", rc);
	if (rc)
		return;
	for (size_t i = 0; i < sizeof(va) / sizeof(va[0]); i++) {
		named(f, "pmpt_lookup", pmpt_lookup(space, va[i], entry));
		named(f, "pmpt_query", pmpt_query(space, va[i], &m));
		named(f, "pmpt_access", pmpt_access(space, va[i], PMPT_R | PMPT_W));
	}
	named(f, "pmpt_lookup_batch",
	      pmpt_lookup_batch(space, va, sizeof(va) / sizeof(va[0]), entry));
	rc = pmpt_walk(space, 0, 0, few, &n);
	if (rc != -ECANCELED)
		named(f, "pmpt_walk", rc);
	pmpt_space_close(space);
}

/* Open it, which ends an interrupted delete too, look around, close. */
static void use(const struct fuzz *f)
{
	pmpt_pool *pool;
	int rc = region_check(&im.rg);

	if (!rc)
		rc = core_open(&im.rg, 0, &pool);
	named(f, "core_open", rc);
	if (rc)
		return;
	look(f, pool, "alpha");
	look(f, pool, "b\xc3\xa9ta");
	rc = core_close(pool, true);
	named(f, "core_close", rc);
	assert_int_equal(rc, 0);
}

typedef void damage_fn(struct fuzz *f);

/* Each damage twice: recovered and verified, then used. */
static void campaign(const char *target, damage_fn *damage)
{
	struct fuzz f = { .target = target };
	unsigned refused = 0, found = 0, unseen = 0;

	pm_observer = on_event;
	while (fuzz_next(&f, ROUNDS)) {
		uint64_t state = f.state;
		int rc;

		restore();
		damage(&f);
		(void)verify(&f);
		rc = recover(&f);
		refused += rc != 0;
		rc = rc ? rc : verify(&f);
		found += rc > 0;
		unseen += rc == 0;

		restore();
		f.state = state;
		damage(&f);
		use(&f);
	}
	pm_observer = NULL;
	assert_int_equal(atomic_load(&mem.bytes), 0);
	restore();
	if (memcmp(im.rg.base, healthy, IMAGE_BYTES) != 0)
		fail_msg("something was stored past pm");
	print_message("%s: %u refused, %u found, %u harmless\n", target, refused, found, unseen);
}

/* ---- targets -------------------------------------------------------------------------------- */

static void hurt(struct fuzz *f, uint64_t off)
{
	mark(off, 1);
	image_poke(&im, off & ~(uint64_t)7,
		   fuzz_word(f, atomic_load(image_word(&im, off & ~(uint64_t)7))));
}

static void damage_superblock(struct fuzz *f)
{
	for (uint64_t n = 1 + fuzz_random(f, 3); n; n--) {
		static const uint64_t from[] = { 0, 3584, 4096 }, len[] = { 104, 512, 64 };
		uint64_t part = fuzz_random(f, 4);

		hurt(f, im.rg.sb_off + (part < 3 ? from[part] + fuzz_random(f, len[part])
						 : fuzz_random(f, sizeof(struct sb))));
	}
	mark(im.rg.sb_off, 1);
	if (fuzz_random(f, 4))
		image_seal(&im);
}

static void damage_log(struct fuzz *f)
{
	for (uint64_t n = 1 + fuzz_random(f, 2); n; n--) {
		uint64_t off = fuzz_random(f, 4) ? image_line(&im, (unsigned)fuzz_random(f, 2),
							      (unsigned)fuzz_random(f, 7))
						 : image_bulk(&im, (unsigned)fuzz_random(f, 3));
		struct line *line = region_at(&im.rg, off);

		mark(off, LINE_BYTES);
		if (fuzz_random(f, 2))
			line->kind = (uint8_t)(1 + fuzz_random(f, 2));
		hurt(f, off + 8 * fuzz_random(f, 8));
		if (fuzz_random(f, 4))
			line->crc = line_crc(wal_crc_seed(IMAGE_SALT), line, off);
	}
	mark(im.rg.sb_off + offsetof(struct sb, bulk_from), 8);
	if (fuzz_random(f, 2))
		atomic_store(&im.sb->bulk_from, fuzz_random(f, 8));
}

static void damage_descriptor(struct fuzz *f)
{
	for (uint64_t n = 1 + fuzz_random(f, 4); n; n--)
		hurt(f, image_desc(&im, 512 + fuzz_random(f, fuzz_random(f, 2) ? 48 : 1536)));
}

static void damage_entry(struct fuzz *f)
{
	const uint64_t table[] = { im.a[4], im.a[3], im.a[2], im.a[1], im.b[3], im.b[2],
				   im.b[1], im.c[4], im.c[3], im.c[2], im.c[1], im.deleted };

	for (uint64_t n = 1 + fuzz_random(f, 4); n; n--) {
		unsigned index = (unsigned)fuzz_random(f, fuzz_random(f, 2) ? 12 : 512);
		uint64_t pfn = table[fuzz_random(f, sizeof(table) / sizeof(table[0]))];

		hurt(f, image_entry(pfn, pfn >= im.b[3] && pfn <= im.b[1] && fuzz_random(f, 2)
						 ? 511
						 : index));
	}
}

static void test_superblock(void **state)
{
	(void)state;
	campaign("superblock", damage_superblock);
}

static void test_log(void **state)
{
	(void)state;
	campaign("log", damage_log);
}

static void test_descriptor(void **state)
{
	(void)state;
	campaign("descriptor", damage_descriptor);
}

static void test_entry(void **state)
{
	(void)state;
	campaign("entry", damage_entry);
}

/* ---- crafted lines -------------------------------------------------------------------------- */

/* A whole, sealed, committed line that aims where no line may: refused, nothing stored. */
static void crafted(uint64_t where, unsigned run)
{
	uint64_t off, before;
	struct line *line;
	struct fuzz f = { .target = "crafted" };

	restore();
	off = image_line(&im, 0, 6);
	mark(off, LINE_BYTES);
	image_log(&im, off, 20, LINE_LAST, 1, (const struct line_word[2]){ { where, 0, 0x1234 } });
	line = region_at(&im.rg, off);
	if (run) {
		line->kind = LINE_RUN;
		line->run = (struct line_run){ .where = RUN_WHERE(where, run),
					       .mask = ~(uint64_t)0,
					       .new = 1,
					       .new_stride = 8 };
		line->crc = line_crc(wal_crc_seed(IMAGE_SALT), line, off);
	}
	before = image_hash(&im);
	if (recover(&f) != PMPT_E_CORRUPT)
		fail_msg("a line at %#lx x %u was not refused", where, run);
	assert_int_equal(image_hash(&im), before);
	if (verify(&f) < 1)
		fail_msg("a line at %#lx x %u was not found", where, run);
}

static void test_crafted(void **state)
{
	uint64_t directory = im.sb->directory, reserved = (uint64_t)2 << 20,
		 desc = image_desc(&im, im.data);
	const struct {
		uint64_t where;
		unsigned run;
	} cases[] = {
		{ 8, 0 },
		{ IMAGE_BYTES, 0 },
		{ WHERE_OFF(~(uint64_t)0), 0 },
		{ ~(uint64_t)0 & ~(uint64_t)7, 0 },
		{ im.rg.sb_off, 0 },
		{ reserved, 0 },
		{ reserved + 8, 3 },
		{ image_entry(im.data, 0), 0 },
		{ image_entry(im.data, 0), 512 },
		{ image_entry(im.next, 0), 0 },
		{ image_entry(im.a[1], 1), 512 },
		{ image_entry(im.a[1], 0) | 4, 0 },
		{ image_entry(im.a[1], 0) | 7, 0 },
		{ image_entry(im.a[1], 0) | (uint64_t)1 << 62, 0 },
		{ image_desc(&im, 512) | WHERE_DESC, 0 },
		{ image_desc(&im, 518) | WHERE_DESC, 3 },
		{ image_entry(im.a[1], 0) | WHERE_DESC, 0 },
		{ (image_desc(&im, 1023) + 8) | WHERE_DESC, 513 },
		{ (desc & ~(uint64_t)0xfff) | WHERE_DESC, 512 },
		{ (image_desc(&im, 2048) + 1020 * 8) | WHERE_DESC, 0 },
		{ (directory - 8) | WHERE_DIR, 0 },
		{ (directory + 8 * 256) | WHERE_DIR, 0 },
		{ (directory + 8 * 256 - 16) | WHERE_DIR, 3 },
		{ (im.rg.sb_off + offsetof(struct sb, checkpoint_lsn)) | WHERE_SB, 0 },
		{ (im.rg.sb_off + offsetof(struct sb, n_extents)) | WHERE_SB, 2 },
		{ directory | WHERE_SB, 0 },
	};

	(void)state;
	pm_observer = on_event;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		crafted(cases[i].where, cases[i].run);
	pm_observer = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crafted), cmocka_unit_test(test_superblock),
		cmocka_unit_test(test_log),     cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_entry),
	};

	fuzz_begin(300); /* a hang, not slowness */
	return cmocka_run_group_tests(tests, setup, teardown);
}
