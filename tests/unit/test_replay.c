/* SPDX-License-Identifier: BSD-3-Clause */
/* test_replay -- recovery of a log that was made line by line: what counts as committed [W2], what is
 * dead, in which order, what is undone, what the report says; and done twice it is done once [W3].
 * (Every crash: tests/crash; random damage and crafted lines: test_fuzz.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "image.h"
#include "replay.h"

static struct image im;
static struct mem mem;
static struct pmpt_recovery report;
static uint64_t unused[4]; /* offsets of entries that nothing in the image's log names */

static int setup(void **state)
{
	(void)state;
	image_make(&im);
	memset(region_at(&im.rg, im.sb->lanes), 0, im.sb->bulk - im.sb->lanes); /* an empty log */
	memset(region_at(&im.rg, im.sb->bulk), 0, 16 * LINE_BYTES);
	for (unsigned i = 0; i < 4; i++)
		unused[i] = image_entry(im.a[1], 100 + 64 * i);
	return mem_init(&mem);
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(atomic_load(&mem.bytes), 0);
	mem_fini(&mem);
	image_free(&im);
	return 0;
}

/* EXT leaves: no counts to keep. */
static uint64_t leaf(uint64_t pfn) { return pfn << FRAME_SHIFT | ENTRY_P | ENTRY_EXT; }

static void log_one(uint64_t off, uint64_t lsn, unsigned flags, unsigned count, unsigned entry,
		    uint64_t old, uint64_t new)
{
	const struct line_word word[2] = { { unused[entry], old, new } };

	image_log(&im, off, lsn, flags, count, word);
}

static uint64_t now(unsigned entry) { return atomic_load(image_word(&im, unused[entry])); }

static int recover(void) { return replay(&im.rg, &mem, LSN_STEP, &report); }

static void recovered(uint64_t redone, uint64_t undone, uint64_t torn, uint64_t words)
{
	assert_int_equal(recover(), 0);
	assert_int_equal(report.redone, redone);
	assert_int_equal(report.undone, undone);
	assert_int_equal(report.torn, torn);
	assert_int_equal(report.words, words);
}

/* ---- redo ------------------------------------------------------------------------------------- */

static void test_nothing(void **state)
{
	uint64_t before = image_hash(&im);

	(void)state;
	recovered(0, 0, 0, 0);
	assert_int_equal(report.lines_scanned, 4); /* a look at each half */
	assert_int_equal(im.sb->checkpoint_lsn,
			 IMAGE_LIMIT - 1); /* every line ever written is dead */
	assert_int_equal(im.sb->lsn_limit, IMAGE_LIMIT + LSN_STEP); /* [W5] */
	assert_int_equal(im.sb->bulk_from, 0);
	atomic_store(&im.sb->checkpoint_lsn, IMAGE_CHECKPOINT);
	atomic_store(&im.sb->lsn_limit, IMAGE_LIMIT);
	assert_int_equal(image_hash(&im), before); /* and nothing else */
}

/* In the order of LSNs, across lanes; words of one page are one page. */
static void test_order(void **state)
{
	(void)state;
	log_one(image_line(&im, 0, 0), 11, LINE_LAST, 1, 0, 0, leaf(1));
	log_one(image_line(&im, 0, 1), 14, LINE_LAST, 1, 0, leaf(3), leaf(4));
	log_one(image_line(&im, 1, 0), 12, LINE_LAST, 1, 0, leaf(1), leaf(2));
	log_one(image_line(&im, 1, 1), 13, LINE_LAST, 1, 0, leaf(2), leaf(3));
	recovered(4, 0, 0, 4);
	assert_int_equal(report.pages, 1);
	assert_int_equal(now(0), leaf(4));
	recovered(0, 0, 0, 0); /* they are dead now */
	assert_int_equal(now(0), leaf(4));
}

/* Dead lines are stepped over; a line that does not validate, or whose LSN does not grow, ends the
 * half. */
static void test_dead_and_end(void **state)
{
	(void)state;
	log_one(image_line(&im, 0, 0), 5, LINE_LAST, 1, 0, 0, leaf(9));
	log_one(image_line(&im, 0, 1), IMAGE_CHECKPOINT, LINE_LAST, 1, 0, 0, leaf(8));
	log_one(image_line(&im, 0, 2), IMAGE_CHECKPOINT + 1, LINE_LAST, 1, 1, 0, leaf(7));
	log_one(image_line(&im, 0, 4), 20, LINE_LAST, 1, 2, 0, leaf(6)); /* behind a gap */
	log_one(image_line(&im, 1, 0), 30, LINE_LAST, 1, 3, 0, leaf(5));
	log_one(image_line(&im, 1, 1), 30, LINE_LAST, 1, 2, 0, leaf(4)); /* the same again */
	recovered(2, 0, 0, 2);
	assert_int_equal(now(0), 0);
	assert_int_equal(now(1), leaf(7));
	assert_int_equal(now(2), 0);
	assert_int_equal(now(3), leaf(5));
}

/* W2: LAST, n, and n - 1 lines before it, consecutive, none LAST. */
static void test_w2(void **state)
{
	static const struct {
		const char *what;
		struct {
			unsigned slot, lsn, flags, count;
		} line[3];
		bool whole;
	} c[] = {
		{ "whole", { { 0, 21, 0, 0 }, { 1, 22, 0, 0 }, { 2, 23, LINE_LAST, 3 } }, true },
		{ "no LAST", { { 0, 21, 0, 0 }, { 1, 22, 0, 0 }, { 2, 23, 0, 0 } }, false },
		{ "the first is missing", { { 1, 22, 0, 0 }, { 2, 23, LINE_LAST, 3 } }, false },
		{ "the second is missing", { { 0, 21, 0, 0 }, { 2, 23, LINE_LAST, 3 } }, false },
		{ "LSNs leave one out",
		  { { 0, 20, 0, 0 }, { 1, 22, 0, 0 }, { 2, 23, LINE_LAST, 3 } },
		  false },
		{ "too many",
		  { { 0, 21, 0, 0 }, { 1, 22, 0, 0 }, { 2, 23, LINE_LAST, 4 } },
		  false },
		{ "none", { { 0, 21, 0, 0 }, { 1, 22, 0, 0 }, { 2, 23, LINE_LAST, 0 } }, false },
		{ "one of them is dead",
		  { { 0, IMAGE_CHECKPOINT, 0, 0 },
		    { 1, IMAGE_CHECKPOINT + 1, 0, 0 },
		    { 2, IMAGE_CHECKPOINT + 2, LINE_LAST, 3 } },
		  false },
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		for (unsigned k = 0; k < 3; k++) {
			if (c[i].line[k].lsn)
				log_one(image_line(&im, 0, c[i].line[k].slot), c[i].line[k].lsn,
					c[i].line[k].flags, c[i].line[k].count, c[i].line[k].slot,
					0, leaf(c[i].line[k].slot + 1));
		}
		assert_int_equal(recover(), 0);
		for (unsigned k = 0; k < 3; k++) {
			if (now(k) != (c[i].whole ? leaf(k + 1) : 0))
				fail_msg("%s: entry %u is %#lx", c[i].what, k, now(k));
		}
		assert_int_equal(report.redone, c[i].whole);
		(void)teardown(state);
		(void)setup(state);
	}
}

/* A bulk line in a redo lane is none, and the other way round. */
static void test_wrong_lane(void **state)
{
	(void)state;
	log_one(image_line(&im, 0, 0), 21, LINE_LAST | LINE_UNDO, 1, 0, 0, leaf(1));
	log_one(image_bulk(&im, 0), 22, LINE_LAST, 1, 1, 0, leaf(1));
	atomic_store(&im.sb->bulk_from, 22);
	recovered(0, 0, 0, 0);
	assert_int_equal(now(0), 0);
	assert_int_equal(now(1), 0);
}

/* ---- bulk ------------------------------------------------------------------------------------- */

/* Undone newest first, whatever of it is home; lines below bulk_from, and behind the end, are not
 * its. */
static void test_undo(void **state)
{
	(void)state;
	log_one(image_bulk(&im, 0), 21, LINE_UNDO, 0, 0, leaf(1), leaf(2));
	log_one(image_bulk(&im, 1), 23, LINE_UNDO, 0, 0, leaf(2), leaf(3));
	log_one(image_bulk(&im, 2), 24, LINE_UNDO, 0, 1, 0, leaf(4));
	log_one(image_bulk(&im, 3), 20, LINE_UNDO, 0, 2, leaf(7), leaf(8)); /* of an older one */
	atomic_store(image_word(&im, unused[0]), leaf(3));
	atomic_store(image_word(&im, unused[1]), leaf(4));
	atomic_store(&im.sb->bulk_from, 21);
	recovered(0, 1, 0, 3);
	assert_int_equal(report.lines_scanned, 4 + 4);
	assert_int_equal(now(0), leaf(1));
	assert_int_equal(now(1), 0);
	assert_int_equal(now(2), 0);
	assert_int_equal(im.sb->bulk_from, 0);
	recovered(0, 0, 0, 0);
}

static void test_bulk_from_above(void **state)
{
	(void)state;
	log_one(image_bulk(&im, 0), 21, LINE_UNDO, 0, 0, leaf(1), leaf(2));
	atomic_store(&im.sb->bulk_from, 22); /* nothing of it has landed */
	recovered(0, 0, 0, 0);
	assert_int_equal(now(0), 0);
	assert_int_equal(im.sb->bulk_from, 0);
}

/* Committed: each line at its own LSN, redo transactions between them; even below checkpoint_lsn. */
static void test_bulk_committed(void **state)
{
	(void)state;
	log_one(image_bulk(&im, 0), 8, LINE_UNDO, 0, 0, 0,
		leaf(2)); /* at or below it: still live */
	log_one(image_bulk(&im, 1), 21, LINE_UNDO, 0, 1, 0, leaf(3));
	log_one(image_bulk(&im, 2), 25, LINE_UNDO | LINE_LAST, 0, 2, 0, leaf(4));
	log_one(image_bulk(&im, 3), 26, LINE_UNDO, 0, 3, 0, leaf(5));    /* behind LAST */
	log_one(image_line(&im, 0, 0), 12, LINE_LAST, 1, 0, 0, leaf(6)); /* between */
	log_one(image_line(&im, 0, 1), 22, LINE_LAST, 1, 2, 0, leaf(7));
	atomic_store(&im.sb->bulk_from, 8);
	recovered(3, 0, 0, 5);
	assert_int_equal(now(0), leaf(6));
	assert_int_equal(now(1), leaf(3));
	assert_int_equal(now(2), leaf(4));
	assert_int_equal(now(3), 0);
	assert_int_equal(im.sb->bulk_from, 0);
}

/* A RUN of 300 words, and one under a mask. */
static void test_runs(void **state)
{
	uint64_t off = image_line(&im, 0, 0);
	struct line *line = region_at(&im.rg, off);

	(void)state;
	image_log(&im, off, 21, LINE_LAST, 1, (const struct line_word[2]){ { 0, 0, 0 } });
	line->kind = LINE_RUN;
	line->run = (struct line_run){ .where = RUN_WHERE(image_entry(im.a[1], 100), 300),
				       .mask = ~(uint64_t)0,
				       .new = leaf(1),
				       .new_stride = 0x1000 };
	line->crc = line_crc(wal_crc_seed(IMAGE_SALT), line, off);
	recovered(1, 0, 0, 300);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(atomic_load(image_word(&im, image_entry(im.a[1], 100 + i))),
				 leaf(1 + i));
	assert_int_equal(atomic_load(image_word(&im, image_entry(im.a[1], 400))), 0);

	image_log(&im, off, im.sb->checkpoint_lsn + 5, LINE_LAST, 1,
		  (const struct line_word[2]){ { 0, 0, 0 } });
	line->kind = LINE_RUN;
	line->run = (struct line_run){ .where = RUN_WHERE(image_entry(im.a[1], 100), 300),
				       .mask = ENTRY_W,
				       .new = ENTRY_W };
	line->crc = line_crc(wal_crc_seed(IMAGE_SALT), line, off);
	atomic_fetch_or(image_word(&im, image_entry(im.a[1], 150)), ENTRY_A);
	recovered(1, 0, 0, 300);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(atomic_load(image_word(&im, image_entry(im.a[1], 100 + i))),
				 leaf(1 + i) | ENTRY_W | (i == 50 ? ENTRY_A : 0));
}

/* ---- refused ---------------------------------------------------------------------------------- */

static void test_lsn_words(void **state)
{
	static const struct {
		uint64_t checkpoint, limit, from;
	} bad[] = {
		{ 10, 0, 0 },      { 10, (uint64_t)1 << 63, 0 }, { 1000, 1000, 0 },
		{ 2000, 1000, 0 }, { 10, 1000, 1000 },           { 10, 1000, ~(uint64_t)0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t before;

		atomic_store(&im.sb->checkpoint_lsn, bad[i].checkpoint);
		atomic_store(&im.sb->lsn_limit, bad[i].limit);
		atomic_store(&im.sb->bulk_from, bad[i].from);
		before = image_hash(&im);
		assert_int_equal(recover(), PMPT_E_CORRUPT);
		assert_int_equal(image_hash(&im), before);
	}
}

/* The nth allocation fails: nothing has been stored. */
static void test_no_memory(void **state)
{
	uint64_t before;
	int rc = -ENOMEM;
	long n;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		log_one(image_line(&im, 0, i), 21 + i, LINE_LAST, 1, i, 0, leaf(1 + i));
	log_one(image_bulk(&im, 0), 30, LINE_UNDO, 0, 3, leaf(2), leaf(3));
	atomic_store(&im.sb->bulk_from, 30);
	before = image_hash(&im);
	for (n = 0; rc; n++) {
		assert_int_equal(image_hash(&im), before);
		atomic_store(&mem_fail_after, n);
		rc = recover();
		atomic_store(&mem_fail_after, -1);
		assert_true(rc == 0 || rc == -ENOMEM);
		assert_int_equal(atomic_load(&mem.bytes), 0);
	}
	assert_true(n > 3);
	assert_int_equal(report.redone, 3);
	assert_int_equal(now(3), leaf(2));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_nothing),
		T(test_order),
		T(test_dead_and_end),
		T(test_w2),
		T(test_wrong_lane),
		T(test_undo),
		T(test_bulk_from_above),
		T(test_bulk_committed),
		T(test_runs),
		T(test_lsn_words),
		T(test_no_memory),
	};

	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
