/* SPDX-License-Identifier: BSD-3-Clause */
/* writers -- workloads: two actors at once on one pool, under every schedule that stops the first at
 * each of its steps while the second does its work, whole or in two parts. */
#include <string.h>

#include "actors.h"
#include "pm_bridge.h"

#define FRAMES 36

#define PAIR(ident, what, ...)                                                                     \
	static void ident##_run(void *pm)                                                          \
	{                                                                                          \
		actors_explore(pm, &(struct cast){ .begin = begin,                                 \
						   .end = bridge_stop,                             \
						   .actor = { ident##_a, ident##_b },              \
						   __VA_ARGS__ });                                 \
	}                                                                                          \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES), .run = ident##_run, \
			  .setup = ident##_setup, .recover = bridge_recover,                       \
			  .check = ident##_check)

static void begin(void *pm)
{
	(void)pm;
	bridge_start();
}

#define A P2M
#define B (SPLIT + P2M)

/* ---- two maps, two unmaps ------------------------------------------------------------------------- */

#define two_maps_setup bridge_setup
#define two_maps_check bridge_check
static void two_maps_a(void) { CALL(0, pmpt_map(NULL, space, A, 1, PMPT_PFN_ALLOC, PMPT_R)); }
static void two_maps_b(void) { CALL(1, pmpt_map(NULL, space, B, 1, 9, PMPT_R | PMPT_EXT)); }
PAIR(two_maps, "two maps that make tables")

/* The tables are there, and a page in each. */
static void apart_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, A, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_map(NULL, space, B, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_map(NULL, space, A + P4K, 1, 9, PMPT_R | PMPT_EXT));
	MUST(pmpt_map(NULL, space, B + P4K, 1, 9, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}
#define map_unmap_setup apart_setup
#define map_unmap_check bridge_check
static void map_unmap_a(void)
{
	CALL(0, pmpt_map(NULL, space, A + 2 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	CALL(0, pmpt_protect(NULL, space, A, P4K, PMPT_R | PMPT_W));
}
static void map_unmap_b(void) { CALL(1, pmpt_unmap(NULL, space, B, P4K)); }
PAIR(map_unmap, "a map and a protect beside an unmap, in parts", .parts = true)

/* One frame under two addresses: its count is in both transactions' plans. */
static void share_setup(void *pm)
{
	uint64_t entry = 0;

	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, A, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_lookup(space, A, &entry));
	MUST(pmpt_map(NULL, space, B, 1, entry_pfn(entry), PMPT_R));
	MUST(pmpt_map(NULL, space, A + P4K, 1, 9, PMPT_R | PMPT_EXT));
	MUST(pmpt_map(NULL, space, B + P4K, 1, 9, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}
#define share_check bridge_check
static void share_a(void) { CALL(0, pmpt_unmap(NULL, space, A, P4K)); }
static void share_b(void) { CALL(1, pmpt_unmap(NULL, space, B, P4K)); }
PAIR(share, "two unmaps of one shared frame", .parts = true)

/* ---- the checkpoint beside a writer ------------------------------------------------------------------ */

#define checkpoint_beside_setup apart_setup
#define checkpoint_beside_check bridge_check
static void checkpoint_beside_a(void)
{
	CALL(0, pmpt_map(NULL, space, A + 2 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	CALL(0, pmpt_unmap(NULL, space, A, P4K));
}
static void checkpoint_beside_b(void) { ASIDE(1, pmpt_checkpoint(pool)); }
PAIR(checkpoint_beside, "a checkpoint in the background of two transactions", .parts = true)

/* Two checkpoints, and halves that are restarted behind them. */
static void halves_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ .lanes = 1, .half_lines = 4, .bulk_lines = 8 });
	bridge_open(pm);
	MUST(pmpt_map(NULL, space, A, 1, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_map(NULL, space, B, 1, 7, PMPT_R | PMPT_EXT));
}
#define halves_beside_setup halves_setup
#define halves_beside_check bridge_check
static void halves_beside_a(void)
{
	for (unsigned i = 0; i < 6; i++)
		CALL(0, pmpt_map(NULL, space, A, 1, 10 + i, PMPT_R | PMPT_EXT | PMPT_REPLACE));
}
static void halves_beside_b(void)
{
	ASIDE(1, pmpt_checkpoint(pool));
	CALL(1, pmpt_map(NULL, space, B, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE));
}
PAIR(halves_beside, "small halves restarted beside a checkpoint and a writer in the same lane")

/* ---- bulk beside redo ---------------------------------------------------------------------------- */

static void bulk(bool commit)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_map(tx, space, 5 * P2M, 2, 20, PMPT_R | PMPT_EXT));
	bridge_begin(0);
	MUST(bulk_spill(tx));
	MUST(pmpt_unmap(tx, space, A, P4K));
	MUST(commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx));
	bridge_returned(0);
}
#define bulk_beside_setup apart_setup
#define bulk_beside_check bridge_check
static void bulk_beside_a(void) { bulk(true); }
static void bulk_beside_b(void)
{
	CALL(1, pmpt_map(NULL, space, B, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE));
}
PAIR(bulk_beside, "a bulk transaction beside a redo transaction")

#define bulk_abort_beside_setup apart_setup
#define bulk_abort_beside_check bridge_check
static void bulk_abort_beside_a(void) { bulk(false); }
#define bulk_abort_beside_b bulk_beside_b
PAIR(bulk_abort_beside, "a bulk abort beside a redo transaction")

/* What an abort gives back, taken and filled by the other at once. */
static void filled_b(void)
{
	pmpt_tx *tx;
	uint64_t pfn;
	pm_word *w;

	bridge_begin(1);
	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_frame_alloc(tx, 1, 1, &pfn));
	w = pmpt_frame_ptr(pool, pfn);
	for (unsigned i = 0; i < 8; i++)
		atomic_store_explicit(&w[i], 0xabcd, memory_order_relaxed);
	MUST(pmpt_flush(tx, w, 64));
	MUST(pmpt_map(tx, space, B + 2 * P4K, 1, pfn, PMPT_R | PMPT_TAG(1)));
	MUST(pmpt_commit(tx, NULL));
	bridge_returned(1);
}
#define abort_filled_setup apart_setup
#define abort_filled_check bridge_check
static void abort_filled_a(void)
{
	pmpt_tx *tx;

	bridge_begin(0);
	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_map(tx, space, 5 * P2M, 1, 20, PMPT_R | PMPT_EXT));
	MUST(bulk_spill(tx));
	/* a line on the fresh table */
	MUST(pmpt_map(tx, space, 5 * P2M + P4K, 1, 21, PMPT_R | PMPT_EXT));
	MUST(bulk_spill(tx));
	MUST(pmpt_abort(tx));
	bridge_returned(0);
}
#define abort_filled_b filled_b
PAIR(abort_filled, "a bulk abort beside one who takes frames and fills them")

/* ---- tables that come and go -------------------------------------------------------------------- */

/* The first unmaps what its tables map, so that they go; the second makes tables. */
static void tables_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, A, 1, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}
#define tables_check bridge_check
static void tables_a(void)
{
	CALL(0, pmpt_unmap(NULL, space, A, P4K));
	CALL(0, pmpt_map(NULL, space, A, 1, 8, PMPT_R | PMPT_EXT));
}
static void tables_b(void) { CALL(1, pmpt_map(NULL, space, B, 1, 9, PMPT_R | PMPT_EXT)); }
PAIR(tables, "tables freed and made anew beside tables made")

/* ---- spaces ------------------------------------------------------------------------------------- */

#define space_beside_setup apart_setup
#define space_beside_check bridge_check
static void space_beside_a(void) { CALL(0, pmpt_unmap(NULL, space, A, P4K)); }
static void space_beside_b(void)
{
	struct pmpt_space *other;

	CALL(1, pmpt_space_create(pool, "t", &other));
	pmpt_space_close(other);
}
PAIR(space_beside, "a space created beside an unmap")

/* ---- one page, one user word: both write it -------------------------------------------------------- */

/* Notes: 8: what the page holds when a call has returned; values 7 (at first), 8, 9. */
static void same_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, A, 1, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_user_set(NULL, space, 0, 7));
	MUST(pmpt_checkpoint(pool));
}
static uint64_t same_now(void *pm)
{
	const struct space_record *r =
		region_at(bridge_region(pm), region_sb(bridge_region(pm))->directory);
	uint64_t table = word_load(&r->root);

	for (unsigned level = 4; level > 1; level--)
		table = word_load((pm_word *)region_at(bridge_region(pm), table) +
				  level_index(A, level)) &
			ENTRY_PFN;
	return entry_pfn(word_load((pm_word *)region_at(bridge_region(pm), table) +
				   level_index(A, 1)))
		       << 32 |
	       word_load(&r->user[0]);
}
static int same_call(unsigned value)
{
	pmpt_tx *tx;
	int rc;

	do {
		MUST(pmpt_begin(pool, 0, &tx));
		rc = pmpt_map(tx, space, A, 1, value, PMPT_R | PMPT_EXT | PMPT_REPLACE);
		if (!rc)
			rc = pmpt_user_set(tx, space, 0, value);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		if (rc)
			MUST(pmpt_abort(tx));
		if (rc)
			sched_yield();
	} while (rc == PMPT_E_CONFLICT);
	return rc;
}
static void same_actor(unsigned actor)
{
	crashsim_begin_again(actor);
	MUST(same_call(8 + actor));
	crashsim_note(8, same_now(pool->rg->base + (GROUP_BYTES - SB_BYTES)));
	crashsim_returned(actor);
}
static void same_a(void) { same_actor(0); }
static void same_b(void) { same_actor(1); }
static void same_check(void *pm)
{
	uint64_t now, frame, last = crashsim_noted(8);
	bool open = crashsim_state(0) == CRASHSIM_OPEN || crashsim_state(1) == CRASHSIM_OPEN;

	bridge_check_verifier(pm);
	now = same_now(pm);
	frame = now >> 32;
	crashsim_outcome(now);
	if (frame != (now & 0xffffffff))
		crashsim_fail(
			"the page maps frame %lu, the user word of the same transaction is %lu",
			frame, now & 0xffffffff);
	if (frame < 7 || frame > 9 || (frame == 8 && crashsim_state(0) == CRASHSIM_NOT_BEGUN) ||
	    (frame == 9 && crashsim_state(1) == CRASHSIM_NOT_BEGUN) || (last && frame == 7))
		crashsim_fail("the page maps frame %lu, which nobody can have left", frame);
	if (last && !open && now != last)
		crashsim_fail(
			"all calls have returned and readers have seen frame %lu, now it is %lu",
			last >> 32, frame);
}
PAIR(same, "two transactions that write the same page and the same user word", .parts = true)

/* A bulk transaction stores the page before its commit: the other has to wait for its end. */
#define bulk_same_setup same_setup
#define bulk_same_check same_check
static void bulk_same_a(void)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_map(tx, space, A, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	crashsim_begin_again(0);
	MUST(bulk_spill(tx));
	MUST(pmpt_user_set(tx, space, 0, 8));
	MUST(pmpt_commit(tx, NULL));
	crashsim_note(8, same_now(pool->rg->base + (GROUP_BYTES - SB_BYTES)));
	crashsim_returned(0);
}
#define bulk_same_b same_b
PAIR(bulk_same, "a bulk transaction and a redo transaction that write the same page")

/* The same, aborted: the page is the other's as soon as it is unlocked. */
#define abort_same_setup same_setup
#define abort_same_check same_check
static void abort_same_a(void)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_map(tx, space, A, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	MUST(pmpt_user_set(tx, space, 0, 8));
	crashsim_begin_again(2);
	MUST(bulk_spill(tx));
	MUST(pmpt_abort(tx));
	crashsim_returned(2);
}
#define abort_same_b same_b
PAIR(abort_same, "a bulk abort and a redo transaction that write the same page")

/* One lane for two: who waits for it may hold nothing that the other needs. */
static void one_lane_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ .lanes = 1, .half_lines = 4, .bulk_lines = 8 });
	bridge_open(pm);
	MUST(pmpt_map(NULL, space, A, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_map(NULL, space, B, 1, PMPT_PFN_ALLOC, PMPT_R));
}
#define one_lane_check bridge_check
static void one_lane_a(void)
{
	for (unsigned i = 1; i < 10; i++) /* some of them make room by a checkpoint */
		CALL(0, pmpt_map(NULL, space, A + i * P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
}
static void one_lane_b(void) { CALL(1, pmpt_map(NULL, space, B + P4K, 1, PMPT_PFN_ALLOC, PMPT_R)); }
PAIR(one_lane, "maps with one lane between two")

/* ---- a table freed under a writer ------------------------------------------------------------------ */

/* The first has planned a change in a table; the second unmaps all that it maps, reclaims its frame,
 * and fills and maps it, when it can. */
static void under_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, A, 1, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_map(NULL, space, B + P4K, 1, 9, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}
#define under_check bridge_check
static pmpt_tx *under_tx; /* the first's, from its plan to its end */
static void under_a(void)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_protect(tx, space, A, P4K, PMPT_R | PMPT_W));
	under_tx = tx;
	bridge_begin(0);
	MUST(pmpt_commit(tx, NULL));
	bridge_returned(0);
	under_tx = NULL;
}
static void under_b(void)
{
	pmpt_tx *tx;
	int rc;

	if (!under_tx)
		return;
	MUST(pmpt_begin(pool, 0, &tx));
	rc = pmpt_unmap(tx, space, A, P2M);
	if (rc == PMPT_E_CONFLICT) {
		MUST(pmpt_abort(tx));
		return;
	}
	MUST(rc);
	MUST(pmpt_commit(tx, NULL));
	MUST(frames_reclaim(&pool->frames, true));
	filled_b();
}
PAIR(under, "a table freed under a writer")
