/* SPDX-License-Identifier: BSD-3-Clause */
/* test_check_log -- what the verifier finds in a log, and what a crash may leave there that is
 * no finding. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "breaker.h"

static void test_log_words(void **state)
{
	struct image im;

	(void)state;
	image_make(&im);
	uint64_t checkpoint = region_off(&im.rg, &im.sb->checkpoint_lsn),
		 limit = region_off(&im.rg, &im.sb->lsn_limit),
		 from = region_off(&im.rg, &im.sb->bulk_from);
	const struct breaker b[] = {
		{ "checkpoint_lsn at lsn_limit",
		  { { checkpoint, IMAGE_LIMIT } },
		  "W4",
		  checkpoint,
		  NULL },
		{ "checkpoint_lsn in a transaction",
		  { { checkpoint, 12 } },
		  "W4",
		  checkpoint,
		  NULL },
		{ "no lsn_limit", { { limit, 0 } }, "W5", limit, NULL },
		{ "an LSN at lsn_limit", { { limit, 15 } }, "W5", image_line(&im, 0, 5), NULL },
		{ "bulk_from at lsn_limit", { { from, IMAGE_LIMIT } }, "W8", from, NULL },
		{ "bulk_from is not the first line's LSN",
		  { { from, 4 } },
		  "W8",
		  image_bulk(&im, 0),
		  NULL },
		{ "a line damaged in the middle",
		  { { image_line(&im, 0, 3) + 24, 7 } },
		  "log",
		  image_line(&im, 0, 3),
		  NULL },
	};
	struct pmpt_check sum;
	struct found found;

	RUN(&im, b);
	image_poke(&im, from, 5); /* a bulk transaction that recovery would redo */
	assert_int_equal(breaker_check(&im, &found, &sum), 0);
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
	const struct line_word word[2] = { { c->where ? c->where : image_entry(im.a[1], 200), 0,
					     0 } };

	image_log(&im, slot_off(&im, c->lane, c->slot), c->lsn, c->flags, c->count, word);
	b.at = slot_off(&im, c->lane, c->at < 0 ? c->slot : (unsigned)c->at);
	assert_int_equal(breaker_check(&im, &found, &sum), 0);
	if (c->rule)
		breaker_judge(&b, 0, &found);
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
		{ "an aim at data", 0, 6, 20, last, 1, image_entry(im.data, 0), "F7", -1 },
		{ "an aim at a free frame", 0, 6, 20, last, 1, image_entry(im.next, 0), "log", -1 },
		{ "an undo aim at a free frame", 2, 0, 20, undo, 0, image_entry(im.next, 0), NULL,
		  -1 },
		{ "an aim at a freed table", 0, 6, 20, last, 1, image_entry(im.freed, 0), NULL,
		  -1 },
		{ "an aim at a reserved frame", 0, 6, 20, last, 1, 2 << 20, "log", -1 },
		{ "an aim at a reserved descriptor", 0, 6, 20, last, 1,
		  image_desc(&im, 512) | WHERE_DESC, "log", -1 },
		{ "an aim at a descriptor of no frame", 0, 6, 20, last, 1,
		  (image_desc(&im, 2048) + 8 * 1016) | WHERE_DESC, "log", -1 },
		{ "an aim behind the directory", 0, 6, 20, last, 1,
		  (im.sb->directory + 8 * 256) | WHERE_DIR, "log", -1 },
		{ "an aim at the directory", 0, 6, 20, last, 1,
		  (im.sb->directory + 8 * 256 - 8) | WHERE_DIR, NULL, -1 },
		{ "an aim at checkpoint_lsn", 0, 6, 20, last, 1, (im.rg.sb_off + 3584) | WHERE_SB,
		  "log", -1 },
		{ "a class that is none", 0, 6, 20, last, 1, image_entry(im.a[1], 0) | 5, "log",
		  -1 },
		{ "an aim with high bits", 0, 6, 20, last, 1,
		  image_entry(im.a[1], 0) | (uint64_t)1 << 60, "log", -1 },
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
	breaker_judge(&b, breaker_check(&im, &found, &sum), &found);
	image_free(&im);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_words),
		cmocka_unit_test(test_log_lines),
		cmocka_unit_test(test_log_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
