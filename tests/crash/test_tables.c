/* SPDX-License-Identifier: BSD-3-Clause */
/* test_tables -- the whole library under every crash: each operation atomic and durable, the
 * verifier content with every recovered image; W3, W7, F1, F2, F8 and their rules switched off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tables.h"

/* ---- single pages: map, replace, protect, unmap ---------------------------------------------- */

static void pages_run(struct region *rg)
{
	unrecorded(rg, core_start);
	probe[0][0] = P4K, probe[0][1] = 2 * P4K;
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_W | PMPT_EXT), 7);
	CALL(0, pmpt_map(NULL, space, 2 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R), 7, ANY_FRAME);
	CALL(0, pmpt_map(NULL, space, P4K, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE), 8, ANY_FRAME);
	CALL(0, pmpt_protect(NULL, space, P4K, 2 * P4K, PMPT_R | PMPT_X), 8, ANY_FRAME);
	CALL(0, pmpt_unmap(NULL, space, P4K, P4K), 0, ANY_FRAME);
	CALL(0, pmpt_unmap(NULL, space, 2 * P4K, P4K), 0, 0);
	core_end();
}
PROGRAM(pages, "map, replace, protect, unmap");

static void test_pages(void **unused)
{
	(void)unused;
	holds(&pages);
	bites(RULE_W1_FENCE, &pages);
}

/* Single maps into frames that a checkpoint zeroed ahead, which held something else before. */
static void zeroed_setup(struct region *rg)
{
	const struct extent_head *head = region_extent(rg, 0);
	uint64_t first = head->first + head->reserved_frames;

	memset(region_at(rg, first << FRAME_SHIFT), 0xdb,
	       (head->frames - head->reserved_frames) << FRAME_SHIFT);
	core_start_zeroed(rg);
	assert_int_equal(pool->frames.n_zeroed, 1);
}

static void zeroed_run(struct region *rg)
{
	unrecorded(rg, zeroed_setup);
	probe[0][0] = P4K, probe[0][1] = P2M;
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT), 7); /* takes it */
	CALL(0, pmpt_checkpoint(pool), 7);                               /* zeroes another */
	assert_int_equal(pool->frames.n_zeroed, 1);
	CALL(0, pmpt_map(NULL, space, P2M, 1, 9, PMPT_R | PMPT_EXT), 7, 9); /* takes that */
	assert_int_equal(pool->frames.n_zeroed, 0);
	CALL(0, pmpt_unmap(NULL, space, P4K, P4K), 0, 9);
	core_end();
}
static const struct program zeroed = { .name = "single maps over frames zeroed ahead",
				       .half_lines = 16,
				       .bulk_lines = 24,
				       .frames = 160,
				       .run = zeroed_run,
				       .check = check_tables,
				       .collapse = true };

/* Another thread maps at every step of the checkpoint that zeroes a frame: it gets the frame behind
 * the fence that makes the zeros durable, or none.  early: as if it got it before. */
static unsigned turn;
static bool early;
static void (*test_prepare)(void *ctx, struct pm *pm);

static void prepare_early(void *ctx, struct pm *pm)
{
	struct frames *fr = ctx;

	test_prepare(ctx, pm);
	fr->n_zeroed += fr->n_zeroing;
	fr->n_zeroing = 0;
}

static void map_b(void)
{
	if (pthread_mutex_trylock(&pool->frames.lock)) /* this very thread has it */
		return;
	pthread_mutex_unlock(&pool->frames.lock);
	CALL(1, pmpt_map(NULL, space, P2M, 1, 9, PMPT_R | PMPT_EXT), 9);
}

static void zeroing_run(struct region *rg)
{
	unrecorded(rg, zeroed_setup);
	test_prepare = pool->wal.prepare;
	pool->wal.prepare = early ? prepare_early : test_prepare;
	probe[0][0] = P4K, probe[1][0] = P2M;
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT), 7); /* takes the first */
	interleave(turn, map_b);
	CALL(0, pmpt_checkpoint(pool), 7);
	interleave(0, NULL);
	core_end();
}
static const struct program zeroing = { .name = "a map inside a checkpoint that zeroes frames",
					.half_lines = 16,
					.bulk_lines = 24,
					.frames = 160,
					.run = zeroing_run,
					.check = check_tables,
					.collapse = true };

static void test_f1_zeroed(void **unused)
{
	unsigned caught = 0;

	(void)unused;
	holds(&zeroed);
	for (turn = 1; turn <= 16; turn++)
		holds(&zeroing);
	early = true;
	for (turn = 1; turn <= 16; turn++)
		caught += enumerate(&zeroing).violation[0] != 0;
	early = false;
	print_message("    caught with zeros used early in %u of 16 interleavings\n", caught);
	assert_true(caught > 0);
}

/* F1 for tables that are streamed: one that links garbage is found. */
static void test_f1_streamed(void **unused)
{
	(void)unused;
	bites(RULE_F1_CONTENT, &pages);
}

/* ---- runs, transactions, savepoints, user words ---------------------------------------------- */

static void runs_run(struct region *rg)
{
	unrecorded(rg, core_start);
	probe[0][0] = 0x200000, probe[0][1] = 0x3ff000, probe[0][2] = 0x201000;
	CALL(0, pmpt_map(NULL, space, P2M, 512, 1024, PMPT_R | PMPT_EXT), 1024, 1535, 1025);
	CALL(0, pmpt_protect(NULL, space, P2M, 8 * P4K, PMPT_R | PMPT_W), 1024, 1535, 1025);
	CALL(0, pmpt_protect(NULL, space, P2M, 8 * P4K, PMPT_R), 1024, 1535, 1025);
	CALL(0, pmpt_collapse(NULL, space, P2M, PMPT_2M), 1024, 1535, 1025);
	CALL(0, pmpt_unmap(NULL, space, P2M + P4K, P4K), 1024, 1535, 0);
	CALL(0, pmpt_unmap(NULL, space, P2M, P2M), 0, 0, 0);
	core_end();
}
PROGRAM(runs, "512 pages at once, collapse, split");

static int transaction(void)
{
	pmpt_tx *tx;
	uint64_t sp, pfn;

	assert_int_equal(pmpt_begin(pool, 0, &tx), 0);
	assert_int_equal(pmpt_map(tx, space, P4K, 2, 7, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(pmpt_savepoint(tx, &sp), 0);
	assert_int_equal(pmpt_map(tx, space, 4 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R), 0);
	assert_int_equal(pmpt_rollback_to(tx, sp), 0);
	assert_int_equal(pmpt_frame_alloc(tx, 1, 1, &pfn), 0);
	memset(pmpt_frame_ptr(pool, pfn), 0xab, 64);
	assert_int_equal(pmpt_flush(tx, pmpt_frame_ptr(pool, pfn), 64), 0);
	assert_int_equal(pmpt_map(tx, space, P2M, 1, pfn, PMPT_R), 0);
	assert_int_equal(pmpt_user_set(tx, space, 3, 42), 0);
	return pmpt_commit(tx, NULL);
}
static int abort_transaction(void)
{
	pmpt_tx *tx;

	assert_int_equal(pmpt_begin(pool, 0, &tx), 0);
	assert_int_equal(pmpt_unmap(tx, space, 0, 2 * P2M), 0);
	assert_int_equal(pmpt_map(tx, space, P2M, 1, PMPT_PFN_ALLOC, PMPT_R), 0);
	return pmpt_abort(tx);
}
static void transactions_run(struct region *rg)
{
	unrecorded(rg, core_start);
	probe[0][0] = P4K, probe[0][1] = 2 * P4K, probe[0][2] = P2M, probe[0][3] = 4 * P4K;
	CALL(0, transaction(), 7, 8, ANY_FRAME, 0);
	CALL(0, abort_transaction(), 7, 8, ANY_FRAME, 0);
	CALL(0, pmpt_move(NULL, space, P2M, space, 3 * P2M, P2M), 7, 8, 0, 0);
	core_end();
}
PROGRAM(transactions, "transactions, savepoint, frames, abort, move");

static void test_runs(void **unused)
{
	(void)unused;
	holds(&runs);
	bites(RULE_F1_CONTENT, &runs);
	holds(&transactions);
}

/* ---- spaces ---------------------------------------------------------------------------------- */

static void spaces_run(struct region *rg)
{
	struct pmpt_space *other;

	unrecorded(rg, core_start);
	probe[0][0] = P4K;
	CALL(0, pmpt_space_create(pool, "t", &other), 0);
	CALL(0, pmpt_map(NULL, other, P4K, 2, PMPT_PFN_ALLOC, PMPT_R), 0);
	pmpt_space_close(other);
	CALL(0, pmpt_space_rename(pool, "t", "u"), 0);
	CALL(0, pmpt_space_delete(pool, "u"), 0);
	core_end();
}
PROGRAM(spaces, "space create, rename, delete");

static void test_spaces(void **unused)
{
	(void)unused;
	holds(&spaces);
}

/* ---- bulk ------------------------------------------------------------------------------------ */

static int bulk(bool commit)
{
	pmpt_tx *tx;

	assert_int_equal(pmpt_begin(pool, PMPT_TX_BULK, &tx), 0);
	assert_int_equal(pmpt_map(tx, space, P2M, 2, 20, PMPT_R | PMPT_EXT), 0);
	assert_int_equal(bulk_spill(tx), 0); /* home ahead of the commit */
	assert_int_equal(pmpt_unmap(tx, space, P4K, P4K), 0);
	assert_int_equal(pmpt_map(tx, space, 2 * P2M, 1, PMPT_PFN_ALLOC, PMPT_R), 0);
	assert_int_equal(bulk_spill(tx), 0);
	assert_int_equal(pmpt_protect(tx, space, P2M, P4K, PMPT_R | PMPT_W), 0);
	return commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
static void bulk_tx_run(struct region *rg)
{
	unrecorded(rg, core_start);
	probe[0][0] = P4K, probe[0][1] = P2M, probe[0][2] = 2 * P2M;
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT), 7, 0, 0);
	CALL(0, bulk(false), 7, 0, 0);
	CALL(0, pmpt_map(NULL, space, P4K, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE), 8, 0, 0);
	CALL(0, bulk(true), 0, 20, ANY_FRAME);
	core_end();
}
PROGRAM(bulk_tx, "bulk transactions, aborted and committed");

static void test_bulk(void **unused)
{
	(void)unused;
	holds(&bulk_tx);
	bites(RULE_W1_BULK_FENCE, &bulk_tx);
	bites(RULE_W8_COMMIT_CHECKPOINT, &bulk_tx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages),       cmocka_unit_test(test_f1_zeroed),
		cmocka_unit_test(test_f1_streamed), cmocka_unit_test(test_runs),
		cmocka_unit_test(test_spaces),      cmocka_unit_test(test_bulk),
	};

	return cmocka_run_group_tests_name("tables under every crash", tests, NULL, NULL);
}
