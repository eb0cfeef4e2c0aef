/* SPDX-License-Identifier: BSD-3-Clause */
/* pages -- workloads: map, unmap, protect and move, one page or a run; huge pages; transactions with
 * savepoints, frames and user words, committed and aborted; bulk transactions. */
#include "pm_bridge.h"

#include <string.h>

/* 2 lanes of 2 x 8 lines, 2 spaces, 31 frames for tables and data */
#define FRAMES 36

#define PAGES(ident, what, ...)                                                                    \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES), .run = ident##_run, \
			  .recover = bridge_recover, .check = bridge_check, __VA_ARGS__)

/* ---- one page ------------------------------------------------------------------------------------ */

static void map_one_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_W | PMPT_EXT));
	bridge_stop();
}
PAGES(map_one, "map one page, its tables with it", .setup = bridge_setup)

#define map_twice_run map_one_run
PAGES(map_twice, "the same, recovered and checked twice", .setup = bridge_setup, .twice = 1)

/* The tables are there: a line, a fence, a word. */
static void map_next_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}
static void map_next_run(void *pm)
{
	(void)pm;
	bridge_start();
	for (unsigned i = 2; i < 20; i++)
		CALL(0, pmpt_map(NULL, space, i * P4K, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_W));
	bridge_stop();
}
PAGES(map_next, "map a page, eighteen times: halves full and restarted", .setup = map_next_setup)

static void pages_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_W | PMPT_EXT));
	CALL(0, pmpt_map(NULL, space, 2 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	CALL(0, pmpt_map(NULL, space, P4K, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	CALL(0, pmpt_protect(NULL, space, P4K, 2 * P4K, PMPT_R | PMPT_X));
	CALL(0, pmpt_unmap(NULL, space, P4K, P4K));
	CALL(0, pmpt_unmap(NULL, space, 2 * P4K, P4K));
	bridge_stop();
}
PAGES(pages, "map, replace, protect, unmap", .setup = bridge_setup)

/* ---- runs and huge pages --------------------------------------------------------------------------- */

static void runs_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P2M, 512, 1024, PMPT_R | PMPT_EXT));
	CALL(0, pmpt_protect(NULL, space, P2M + 60 * P4K, 8 * P4K, PMPT_R | PMPT_W));
	CALL(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_unmap(NULL, space, P2M + 100 * P4K, 40 * P4K));
	CALL(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_move(NULL, space, P2M, space, 7 * P2M, 30 * P4K));
	bridge_stop();
}
PAGES(runs, "512 pages at once, parts protected, unmapped, moved", .setup = bridge_setup)

static void huge_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P2M, 512, 1024, PMPT_R | PMPT_EXT));
	CALL(0, pmpt_collapse(NULL, space, P2M, PMPT_2M));
	CALL(0, pmpt_protect(NULL, space, P2M + P4K, P4K, PMPT_R | PMPT_W));
	CALL(0, pmpt_protect(NULL, space, P2M + P4K, P4K, PMPT_R));
	CALL(0, pmpt_collapse(NULL, space, P2M, PMPT_2M));
	CALL(0, pmpt_unmap(NULL, space, P2M + 2 * P4K, P4K));
	CALL(0, pmpt_unmap(NULL, space, P2M, P2M));
	bridge_stop();
}
PAGES(huge, "huge pages: collapse, split by protect and by unmap", .setup = bridge_setup)

static void huge_1g_run(void *pm)
{
	uint64_t giga = (uint64_t)1 << 30;

	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, giga, 1, 1 << 20, PMPT_R | PMPT_EXT | PMPT_1G));
	CALL(0, pmpt_unmap(NULL, space, giga + 3 * P2M, P2M));
	CALL(0, pmpt_unmap(NULL, space, giga + 5 * P2M, P4K));
	bridge_stop();
}
PAGES(huge_1g, "a page of 1 GiB split into 2 MiB, one of these into 4 KiB", .setup = bridge_setup)

/* ---- transactions ---------------------------------------------------------------------------------- */

static int transaction(void)
{
	pmpt_tx *tx;
	uint64_t sp, pfn;
	pm_word *w;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_map(tx, space, P4K, 2, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_savepoint(tx, &sp));
	MUST(pmpt_map(tx, space, 4 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_user_set(tx, space, 2, 41));
	MUST(pmpt_rollback_to(tx, sp));
	MUST(pmpt_frame_alloc(tx, 1, 1, &pfn));
	w = pmpt_frame_ptr(pool, pfn);
	for (unsigned i = 0; i < 8; i++)
		atomic_store_explicit(&w[i], 0xabcd0000 + i, memory_order_relaxed);
	MUST(pmpt_flush(tx, w, 64));
	MUST(pmpt_map(tx, space, P2M, 1, pfn, PMPT_R | PMPT_TAG(1)));
	MUST(pmpt_user_set(tx, space, 3, 42));
	return pmpt_commit(tx, NULL);
}
static int abort_transaction(void)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_unmap(tx, space, 0, 2 * P2M));
	MUST(pmpt_map(tx, space, P2M, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_user_set(tx, space, 3, 43));
	return pmpt_abort(tx);
}
static void transactions_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, transaction());
	CALL(0, abort_transaction());
	CALL(0, pmpt_move(NULL, space, P2M, space, 3 * P2M, P2M));
	CALL(0, pmpt_map(NULL, space, P2M, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO | PMPT_TAG(1)));
	bridge_stop();
}
PAGES(transactions, "a transaction with savepoint, filled frame, user word; an abort; move",
      .setup = bridge_setup)

static void user_words_run(void *pm)
{
	pmpt_tx *tx;

	(void)pm;
	bridge_start();
	CALL(0, pmpt_user_set(NULL, space, 0, 1));
	MUST(pmpt_begin(pool, 0, &tx));
	for (unsigned i = 0; i < 4; i++)
		MUST(pmpt_user_set(tx, space, i, 10 + 3 * i * i));
	CALL(0, pmpt_commit(tx, NULL));
	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_user_set(tx, space, 1, 77));
	CALL(0, pmpt_abort(tx));
	bridge_stop();
}
PAGES(user_words, "user words: set, four together, aborted", .setup = bridge_setup, .twice = 1)

/* ---- a page walker --------------------------------------------------------------------------------- */

static void walked_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, P4K, 2, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}
static void walked_run(void *pm)
{
	(void)pm;
	bridge_start();
	bridge_walker(P4K, 1);
	CALL(0, pmpt_protect(NULL, space, P4K, P4K, PMPT_R | PMPT_W));
	CALL(0, pmpt_map(NULL, space, P4K, 1, 9, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	bridge_stop();
}
PAGES(walked, "protect and replace where a page walker may set A and D", .setup = walked_setup)

/* A run of n pages, the first in the middle of a line. */
static void walked_pages(void *pm, unsigned n)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, 4 * P4K, n, 1024, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}

/* Unmap all but the last, so that their table stays. */
static void unmap_walked(unsigned n)
{
	bridge_walker(4 * P4K, n);
	CALL(0, pmpt_unmap(NULL, space, 4 * P4K, (n - 1) * P4K));
}

static void walked_unmap_setup(void *pm) { walked_pages(pm, 7); }
static void walked_unmap_run(void *pm)
{
	(void)pm;
	bridge_start();
	unmap_walked(7);
	CALL(0, pmpt_map(NULL, space, 5 * P4K, 1, 9, PMPT_R | PMPT_EXT));
	bridge_stop();
}
PAGES(walked_unmap, "unmap, and map anew, where a page walker may set A and D",
      .setup = walked_unmap_setup)

/* Recovery reads each of its lines only to store over it: paths multiply, if they do not join. */
static void walked_run_setup(void *pm) { walked_pages(pm, 27); }
static void walked_run_run(void *pm)
{
	(void)pm;
	bridge_start();
	unmap_walked(27);
	bridge_stop();
}
PAGES(walked_run, "unmap four lines where a page walker may set A and D", .setup = walked_run_setup,
      .depth = 1)

static void walked_huge_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, P2M, 512, 1024, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}
static void walked_huge_run(void *pm)
{
	(void)pm;
	bridge_start();
	bridge_walker(P2M, 512);
	CALL(0, pmpt_collapse(NULL, space, P2M, PMPT_2M));
	bridge_walker(P2M, 1);
	CALL(0, pmpt_protect(NULL, space, P2M + P4K, P4K, PMPT_R | PMPT_W));
	bridge_walker(P2M, 2);
	CALL(0, pmpt_unmap(NULL, space, P2M, 2 * P4K));
	bridge_stop();
}
PAGES(walked_huge, "collapse and split where a page walker may set A and D",
      .setup = walked_huge_setup)

static int walked_tx(uint32_t flags)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, flags, &tx));
	MUST(pmpt_protect(tx, space, P4K, P4K, PMPT_R | PMPT_W));
	if (flags & PMPT_TX_BULK)
		MUST(bulk_spill(tx));
	MUST(pmpt_unmap(tx, space, 2 * P4K, P4K));
	if (flags & PMPT_TX_BULK)
		MUST(bulk_spill(tx));
	return pmpt_abort(tx);
}
static void walked_abort_run(void *pm)
{
	(void)pm;
	bridge_start();
	bridge_walker(P4K, 2);
	CALL(0, walked_tx(0));
	CALL(0, walked_tx(PMPT_TX_BULK));
	bridge_stop();
}
PAGES(walked_abort, "transactions aborted where a page walker may set A and D",
      .setup = walked_setup)

/* ---- bulk ------------------------------------------------------------------------------------------ */

static int bulk(bool commit)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_map(tx, space, P2M, 2, 20, PMPT_R | PMPT_EXT));
	MUST(bulk_spill(tx)); /* home ahead of the commit */
	MUST(pmpt_unmap(tx, space, P4K, P4K));
	MUST(pmpt_map(tx, space, 2 * P2M, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_user_set(tx, space, 1, 5));
	MUST(bulk_spill(tx));
	MUST(pmpt_protect(tx, space, P2M, P4K, PMPT_R | PMPT_W));
	return commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
static void bulk_commit_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT));
	CALL(0, bulk(true));
	CALL(0, pmpt_map(NULL, space, P4K, 1, 9, PMPT_R | PMPT_EXT));
	bridge_stop();
}
PAGES(bulk_commit, "a bulk transaction committed over a live redo line", .setup = bridge_setup)

static void bulk_abort_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT));
	CALL(0, bulk(false));
	CALL(0, pmpt_map(NULL, space, P4K, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	bridge_stop();
}
PAGES(bulk_abort, "a bulk transaction aborted, then its page mapped anew", .setup = bridge_setup)

/* ---- spaces ---------------------------------------------------------------------------------------- */

static void spaces_run(void *pm)
{
	struct pmpt_space *other;

	(void)pm;
	bridge_start();
	CALL(1, pmpt_space_create(pool, "t", &other));
	CALL(1, pmpt_map(NULL, other, SPLIT, 2, PMPT_PFN_ALLOC, PMPT_R));
	pmpt_space_close(other);
	CALL(1, pmpt_space_rename(pool, "t", "a longer name than before"));
	CALL(1, pmpt_space_delete(pool, "a longer name than before"));
	bridge_stop();
}
PAGES(spaces, "space create, rename, delete", .setup = bridge_setup)

/* The freeing of a large space takes several transactions: half a log each. */
static void delete_setup(void *pm)
{
	struct pmpt_space *other;

	bridge_format(pm, &(struct shape){ .half_lines = 5 });
	bridge_open(pm);
	MUST(pmpt_space_create(pool, "t", &other));
	for (unsigned i = 0; i < 8; i++)
		MUST(pmpt_map(NULL, other, SPLIT + i * i * P2M, 1, 7 + i * i, PMPT_R | PMPT_EXT));
	pmpt_space_close(other);
}
static void space_delete_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(1, pmpt_space_delete(pool, "t"));
	bridge_stop();
}
PAGES(space_delete, "a space deleted in several transactions, resumed by recovery",
      .setup = delete_setup)
