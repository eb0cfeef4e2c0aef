/* SPDX-License-Identifier: BSD-3-Clause */
/* test_redo -- redo lanes, checkpoint and LSNs under every crash: W1, W2, W4, W5, W6, and each of
 * their rules switched off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "words.h"

static unsigned turn_j, turn_k;

#define SETS(...) \
	(sizeof((struct set[]){ __VA_ARGS__ }) / sizeof(struct set)), (struct set[]) { __VA_ARGS__ }

/* ---- W1, W2: one and two transactions of one and two lines ----------------------------------- */

static void two_lines_run(struct region *rg)
{
	words_open(rg);
	redo1(0, 0, 1);
	redo(0, SETS({ 1, 2 }, { 2, 3 }, { 3, 4 }));
	words_close();
}
static const struct program two_lines = { .name = "two transactions, one of two lines",
					  .run = two_lines_run,
					  .check = check_words };

static void test_w1_w2(void **state)
{
	(void)state;
	holds(&two_lines);
	bites(RULE_W1_FENCE, &two_lines);
	bites(RULE_W2_LAST, &two_lines);
}

/* The model with all invalid slot contents as one finds the same. */
static void test_collapse(void **state)
{
	struct program p = two_lines;

	(void)state;
	p.collapse = true;
	holds(&p);
	bites(RULE_W1_FENCE, &p);
	bites(RULE_W2_LAST, &p);
}

/* A half restarted: a dead line in slot 0, and of a new transaction of two lines there only the
 * second lands. */
static void contiguous_run(struct region *rg)
{
	words_open(rg);
	redo1(0, 0, 1);
	redo1(0, 1, 1);
	redo1(0, 2, 1);
	/* the other half; word 0 is newer than in the line in slot 0 */
	redo(0, SETS({ 0, 2 }, { 3, 2 }, { 4, 2 }));
	checkpoint();
	redo(0, SETS({ 5, 3 }, { 6, 3 }, { 7, 3 }));
	redo(0, SETS({ 5, 4 }, { 6, 4 }, { 7, 4 })); /* slot 0 of the first half again */
	words_close();
}
static const struct program contiguous = { .name = "a half restarted, two lines over dead ones",
					   .n_lanes = 1,
					   .run = contiguous_run,
					   .check = check_words,
					   .collapse = true };

static void test_w2_contiguous(void **state)
{
	(void)state;
	holds(&contiguous);
	bites(RULE_W2_CONTIGUOUS, &contiguous);
}

/* ---- W4: the checkpoint ---------------------------------------------------------------------- */

static void checkpoint_run(struct region *rg)
{
	words_open(rg);
	redo1(0, 0, 1);
	redo(1, SETS({ 1, 2 }, { 2, 2 }));
	checkpoint();
	redo1(0, 0, 3);
	words_close();
}
static const struct program simple_checkpoint = { .name = "transactions and a checkpoint",
						  .run = checkpoint_run,
						  .check = check_words };

static void test_w4_homes(void **state)
{
	(void)state;
	holds(&simple_checkpoint);
	bites(RULE_W4_FLUSH, &simple_checkpoint);
	bites(RULE_W4_FENCE, &simple_checkpoint);
}

/* A checkpoint at every step of a commit: the LSN is drawn, the line not fenced, or fenced and
 * not stored. */
static void low_run(struct region *rg)
{
	words_open(rg);
	redo1(1, 0, 1);
	interleave(turn_k, checkpoint);
	redo(0, SETS({ 1, 2 }, { 2, 2 }));
	interleave(0, NULL);
	words_close();
}
static const struct program low = { .name = "a checkpoint inside a commit",
				    .run = low_run,
				    .check = check_words,
				    .collapse = true };

static void test_w4_low(void **state)
{
	bool found = false;

	(void)state;
	for (turn_k = 1; turn_k <= 6; turn_k++)
		holds(&low);
	rules_off = (uint64_t)1 << RULE_W4_LOW;
	for (turn_k = 1; turn_k <= 6; turn_k++)
		found |= enumerate(&low).violation[0] != 0;
	rules_off = 0;
	assert_true(found);
}

/* A checkpoint that stops after its first look at counter or lows, while a commit draws. */
static void counter_run(struct region *rg)
{
	words_open(rg);
	redo1(1, 0, 1);
	interleave_split(turn_j, turn_k, checkpoint);
	redo(0, SETS({ 1, 2 }, { 2, 2 }));
	words_close();
}
static const struct program counter = { .name = "a checkpoint split by a commit",
					.run = counter_run,
					.check = check_words,
					.collapse = true };

static void test_w4_counter_first(void **state)
{
	bool found = false;

	(void)state;
	for (turn_j = 1; turn_j <= 2; turn_j++) {
		for (turn_k = 1; turn_k <= 4; turn_k++)
			holds(&counter);
	}
	rules_off = (uint64_t)1 << RULE_W4_COUNTER_FIRST;
	turn_j = 1;
	for (turn_k = 1; turn_k <= 4; turn_k++)
		found |= enumerate(&counter).violation[0] != 0;
	rules_off = 0;
	assert_true(found);
}

/* Two checkpointers: one that has read its x stops; the other one and restarted halves go on; then
 * it stores its old x. */
static void monotone_run(struct region *rg)
{
	words_open(rg);
	redo1(0, 0, 1);
	interleave_split(rule_on(RULE_W4_MONOTONE) ? 0 : 1, 1000, checkpoint);
	redo1(1, 1, 1);
	redo1(0, 1, 2);
	checkpoint();
	for (unsigned i = 0; i < 8; i++)
		/* both halves of lane 0 anew: the line of word 1 = 2 is gone */
		redo1(0, 2 + i % 2, 10 + i);
	interleave_finish();
	redo1(1, 4, 1);
	words_close();
}
static const struct program monotone = { .name = "two checkpointers",
					 .run = monotone_run,
					 .check = check_words,
					 .collapse = true,
					 .depth = 1 };

static void test_w4_monotone(void **state)
{
	(void)state;
	holds(&monotone);
	bites(RULE_W4_MONOTONE, &monotone);
}

/* ---- W5: LSNs -------------------------------------------------------------------------------- */

/* Words of a lost transaction completed by a new one of the same LSN: A draws, B draws and streams,
 * crash; C, D; crash. */
static void lost_b(void) { redo(1, SETS({ 1, 2 }, { 2, 2 })); }
static void jump_run(struct region *rg)
{
	words_open(rg);
	interleave(1, lost_b); /* A has drawn */
	redo1(0, 0, 1);
	interleave(0, NULL);
	words_close();
}
static void jump_go_on(struct region *rg)
{
	settle(rg);
	words_open(rg);
	redo1(0, 3, 3);
	redo1(1, 4, 4);
	words_close();
}
static const struct program jump = { .name = "lost lines meet new ones",
				     .run = jump_run,
				     .go_on = jump_go_on,
				     .check = check_words };

static void test_w5_jump(void **state)
{
	(void)state;
	holds(&jump);
	bites(RULE_W5_JUMP, &jump);
}

/* lsn_limit is crossed while running; after a crash LSNs must not come again. */
static void limit_run(struct region *rg)
{
	words_open(rg);
	words_wal->lsn_step = 4;
	for (unsigned i = 0; i < 6; i++)
		redo1(i % 2, 0, 1 + i);
	words_close();
}
static void limit_go_on(struct region *rg)
{
	settle(rg);
	words_open(rg);
	redo1(0, 0, 100);
	words_close();
}
static const struct program limit = { .name = "lsn_limit crossed",
				      .half_lines = 8,
				      .lsn_step = 4,
				      .run = limit_run,
				      .go_on = limit_go_on,
				      .check = check_words,
				      .collapse = true };

static void test_w5_limit(void **state)
{
	(void)state;
	holds(&limit);
	bites(RULE_W5_LIMIT_DURABLE, &limit);
}

/* ---- W6: halves ------------------------------------------------------------------------------ */

static void halves_run(struct region *rg)
{
	words_open(rg);
	for (unsigned i = 0; i < 10; i++)
		redo1(0, i % 5, 1 + i);
	words_close();
}
static const struct program halves = { .name = "halves wrap",
				       .n_lanes = 1,
				       .run = halves_run,
				       .check = check_words,
				       .collapse = true };

static void test_w6(void **state)
{
	(void)state;
	holds(&halves);
	bites(RULE_W6_DURABLE, &halves);
}

/* Halves over two phases: work, crash, work, crash. */
static void phases_run(struct region *rg)
{
	words_open(rg);
	redo1(0, 0, 1);
	redo(0, SETS({ 1, 2 }, { 2, 2 }, { 3, 2 }));
	words_close();
}
static void phases_go_on(struct region *rg)
{
	settle(rg);
	words_open(rg);
	redo(0, SETS({ 0, 5 }, { 1, 5 }, { 2, 5 }));
	redo1(0, 3, 6);
	redo1(0, 3, 7);
	words_close();
}
static const struct program phases = { .name = "halves over two phases",
				       .n_lanes = 1,
				       .run = phases_run,
				       .go_on = phases_go_on,
				       .check = check_words,
				       .collapse = true };

static void test_two_phases(void **state)
{
	(void)state;
	holds(&phases);
}

/* ---- an older pool in the same blocks -------------------------------------------------------- */

static void salt_format(struct region *rg)
{
	struct region_shape shape = {
		.n_lanes = 2, .half_lines = 4, .bulk_lines = 8, .n_spaces = 16, .salt = 0x7654321
	};

	assert_int_equal(
		region_format(rg, &shape, ((uint64_t)2 << 20) - (64 << 10) + (96 << FRAME_SHIFT)),
		0);
}
static void salt_run(struct region *rg)
{
	words_open(rg);
	redo1(0, 0, 1);
	redo1(1, 1, 1);
	words_close();
	history = (struct history){ 0 };
	unrecorded(rg, salt_format); /* what a crash inside a format leaves is no pool */
}
static const struct program salt = { .name = "an older pool's lines",
				     .run = salt_run,
				     .check = check_words };

static void test_salt(void **state)
{
	(void)state;
	holds(&salt);
	bites(RULE_CRC_SALT, &salt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_w1_w2),         cmocka_unit_test(test_collapse),
		cmocka_unit_test(test_w2_contiguous), cmocka_unit_test(test_w4_homes),
		cmocka_unit_test(test_w4_low),        cmocka_unit_test(test_w4_counter_first),
		cmocka_unit_test(test_w4_monotone),   cmocka_unit_test(test_w5_jump),
		cmocka_unit_test(test_w5_limit),      cmocka_unit_test(test_w6),
		cmocka_unit_test(test_two_phases),    cmocka_unit_test(test_salt),
	};

	return cmocka_run_group_tests_name("redo lanes under every crash", tests, NULL, NULL);
}
