/* SPDX-License-Identifier: BSD-3-Clause */
/* data -- workloads: pages written, whole and in part, over spaces and savepoints; demand-zero regions;
 * faults.  What is in the pages is part of what is compared: a committed write's bytes are there. */
#include "table.h" /* before the bridge's own `space` */

#include "actors.h"
#include "pm_bridge.h"

/* 2 lanes of 2 x 8 lines, 2 spaces, 43 frames for tables and data */
#define FRAMES 48

#define RW (PMPT_R | PMPT_W)

static void data_check(void *pm)
{
	bridge_contents = true;
	bridge_check(pm);
	bridge_contents = false; /* other workloads run in this process, too */
}

#define DATA(ident, what, ...)                                                                     \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES), .run = ident##_run, \
			  .recover = bridge_recover, .check = data_check, __VA_ARGS__)

/* Eight pages, of another content for each number. */
static const char *text(size_t number)
{
	static char page[8 * P4K];

	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = (char)(number * 31 + i * 7 + (i >> 8));
	return page;
}

static void start(void)
{
	bridge_contents = true;
	bridge_start();
}

/* ---- write --------------------------------------------------------------------------------------- */

/* A page is there, with content; its tables with it. */
static void there_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_write(NULL, space, P4K, text(1), P4K));
	MUST(pmpt_checkpoint(pool));
}

static void write_page_run(void *pm)
{
	(void)pm;
	start();
	for (unsigned i = 0; i < 12; i++) /* halves are filled and restarted, frames come again */
		CALL(0, pmpt_write(NULL, space, P4K * (1 + i % 3), text(40 + i), P4K));
	bridge_stop();
}
DATA(write_page, "one page written, twelve times, absent and present", .setup = there_setup)

static void write_first_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_write(NULL, space, P2M - P4K, text(3), 3 * P4K));
	bridge_stop();
}
DATA(write_first, "the first pages of a space, with their tables", .setup = bridge_setup,
     .twice = 1)

static void write_parts_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_write(NULL, space, 2 * P4K - 100, text(4), 300)); /* present and absent */
	CALL(0, pmpt_write(NULL, space, 2 * P4K - 77, text(5), 130));
	CALL(0, pmpt_write(NULL, space, P4K + 8, text(6), 8));
	CALL(0, pmpt_write(NULL, space, P2M - 3, text(7), P4K + 6)); /* two tables */
	bridge_stop();
}
DATA(write_parts, "parts of pages, over their ends", .setup = there_setup)

static int write_both(pmpt_space *other, size_t n)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_write(tx, space, P4K + 5, text(n + 8), 2 * P4K));
	MUST(pmpt_write(tx, other, 7 * P4K, text(n + 9), P4K));
	MUST(pmpt_user_set(tx, space, 1, 4711));
	return pmpt_commit(tx, NULL);
}
static void write_spaces_setup(void *pm)
{
	struct pmpt_space *other;

	there_setup(pm);
	MUST(pmpt_space_create(pool, "t", &other));
	MUST(pmpt_write(NULL, other, 7 * P4K, text(10), P4K));
	pmpt_space_close(other);
	MUST(pmpt_checkpoint(pool));
}
static void write_spaces_run(void *pm)
{
	struct pmpt_space *other;

	(void)pm;
	MUST(pmpt_space_open(pool, "t", &other));
	start();
	CALL(0, write_both(other, 0));
	CALL(0, write_both(other, 60));
	pmpt_space_close(other);
	bridge_stop();
}
DATA(write_spaces, "pages of two spaces in one transaction", .setup = write_spaces_setup)

static int write_again(bool commit, size_t n)
{
	pmpt_tx *tx;
	uint64_t sp;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_write(tx, space, P4K, text(n + 11), P4K));
	MUST(pmpt_write(tx, space, P4K + 100, text(n + 12), 50)); /* in place */
	MUST(pmpt_savepoint(tx, &sp));
	MUST(pmpt_write(tx, space, P4K + 120, text(n + 13), 200)); /* to another frame */
	MUST(pmpt_write(tx, space, 2 * P4K, text(n + 14), 64));
	MUST(pmpt_rollback_to(tx, sp));
	MUST(pmpt_write(tx, space, P4K + 1, text(n + 15), 3));
	MUST(pmpt_write(tx, space, P4K + 2, text(n + 16), 3));
	return commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
static void write_again_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, write_again(true, 0));
	CALL(0, write_again(false, 60));
	CALL(0, write_again(true, 90));
	bridge_stop();
}
DATA(write_again, "a page written again in its transaction, rolled back, aborted",
     .setup = there_setup)

static int write_bulk(bool commit, size_t n)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_write(tx, space, P4K, text(n + 17), 3 * P4K));
	MUST(bulk_spill(tx));
	MUST(pmpt_write(tx, space, 2 * P4K + 9, text(n + 18), 40)); /* in place, behind its line */
	MUST(bulk_spill(tx));
	MUST(pmpt_write(tx, space, P4K - 5, text(n + 19), 9));
	return commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
static void write_bulk_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, write_bulk(false, 0));
	CALL(0, write_bulk(true, 60));
	bridge_stop();
}
DATA(write_bulk, "pages written in bulk transactions, aborted and committed", .setup = there_setup)

/* ---- demand-zero --------------------------------------------------------------------------------- */

static void demand_run(void *pm)
{
	uint64_t giga = (uint64_t)1 << 30;

	(void)pm;
	start();
	CALL(0, pmpt_map(NULL, space, P4K, 6, PMPT_PFN_ALLOC, RW | PMPT_DEMAND));
	CALL(0, pmpt_map(NULL, space, giga, 1, PMPT_PFN_ALLOC, RW | PMPT_DEMAND | PMPT_2M));
	CALL(0, pmpt_protect(NULL, space, 2 * P4K, P4K, PMPT_R));
	CALL(0, pmpt_fault(NULL, space, 3 * P4K, PMPT_W, NULL));
	CALL(0, pmpt_fault(NULL, space, 2 * P4K, PMPT_R, NULL));
	CALL(0, pmpt_write(NULL, space, 5 * P4K - 8, text(20), 16));
	CALL(0, pmpt_move(NULL, space, P4K, space, 9 * P4K, 4 * P4K));
	CALL(0, pmpt_unmap(NULL, space, 5 * P4K, 5 * P4K));
	bridge_stop();
}
DATA(demand, "a demand-zero region: protected, faulted in, written, moved, unmapped",
     .setup = bridge_setup)

static void demand_huge_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_DEMAND | PMPT_2M));
	MUST(pmpt_checkpoint(pool));
}
static void demand_huge_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_fault(NULL, space, P2M + 9 * P4K, PMPT_R, NULL)); /* split */
	CALL(0, pmpt_write(NULL, space, P2M + 3 * P4K, text(21), 77));
	CALL(0, pmpt_unmap(NULL, space, P2M, P2M));
	bridge_stop();
}
DATA(demand_huge, "2 MiB of demand-zero split by a fault, written, unmapped",
     .setup = demand_huge_setup)

/* ---- copy on write ------------------------------------------------------------------------------- */

static int make_cow(struct pmpt_tx *tx, const void *args)
{
	const uint64_t *va = args;
	struct path p;

	MUST(table_walk_own(tx, space, *va, 1, &p));
	return table_set(tx, &p, (table_entry(tx, &p) & ~ENTRY_W) | ENTRY_COW);
}
static void cow_setup(void *pm)
{
	struct pmpt_mapping m;

	there_setup(pm);
	MUST(pmpt_query(space, P4K, &m));
	MUST(pmpt_map(NULL, space, 2 * P4K, 1, m.pfn, RW));
	for (uint64_t va = P4K; va <= 2 * P4K; va += P4K)
		MUST(tx_run(pool, NULL, make_cow, &va));
	MUST(pmpt_checkpoint(pool));
}
static void fault_cow_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_fault(NULL, space, P4K, PMPT_R, NULL));
	CALL(0, pmpt_fault(NULL, space, P4K, PMPT_W, NULL));     /* a copy */
	CALL(0, pmpt_fault(NULL, space, 2 * P4K, PMPT_W, NULL)); /* alone by now */
	CALL(0, pmpt_write(NULL, space, 2 * P4K - 7, text(22), 14));
	bridge_stop();
}
DATA(fault_cow, "two pages that share a frame: the first is copied, the second keeps it",
     .setup = cow_setup)

static void write_cow_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_write(NULL, space, P4K + 11, text(23), 14));
	CALL(0, pmpt_write(NULL, space, 2 * P4K + 11, text(24), 14));
	bridge_stop();
}
DATA(write_cow, "the same, written", .setup = cow_setup)

/* ---- two writers --------------------------------------------------------------------------------- */

#define PAIR(ident, what, ...)                                                        \
	static void ident##_run(void *pm)                                             \
	{                                                                             \
		actors_explore(pm, &(struct cast){ .begin = begin,                    \
						   .end = bridge_stop,                \
						   .actor = { ident##_a, ident##_b }, \
						   __VA_ARGS__ });                    \
	}                                                                             \
	DATA(ident, what, .setup = pair_setup)

static void begin(void *pm)
{
	(void)pm;
	start();
}

#define A P2M
#define B (SPLIT + P2M)

/* Their tables are there, and a page in each. */
static void pair_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_write(NULL, space, A, text(1), P4K));
	MUST(pmpt_write(NULL, space, B, text(2), P4K));
	MUST(pmpt_checkpoint(pool));
}

/* The frames of one that gives up are the other's: what was streamed there must not come behind. */
static int give_up(void)
{
	pmpt_tx *tx;
	uint64_t sp;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_savepoint(tx, &sp));
	MUST(pmpt_write(tx, space, A + P4K, text(3), P4K));
	MUST(pmpt_rollback_to(tx, sp));
	return pmpt_commit(tx, NULL);
}
static void given_back_a(void) { CALL(0, give_up()); }
static void given_back_b(void) { CALL(1, pmpt_write(NULL, space, B, text(5), 30)); }
PAIR(given_back, "a page is written in a frame that a rollback of another writer gives back")

static int abort_write(void)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_write(tx, space, A + P4K, text(4), P4K));
	return pmpt_abort(tx);
}
static void aborted_a(void) { CALL(0, abort_write()); }
static void aborted_b(void) { CALL(1, pmpt_write(NULL, space, B, text(6), 30)); }
PAIR(aborted, "a page is written in a frame that an abort of another writer gives back")

static void writes_a(void)
{
	CALL(0, pmpt_write(NULL, space, A, text(7), P4K));
	CALL(0, pmpt_write(NULL, space, A + P4K - 9, text(8), 18));
}
static void writes_b(void) { CALL(1, pmpt_write(NULL, space, B + 5, text(9), P4K)); }
PAIR(writes, "two writers of pages, each in its own")
