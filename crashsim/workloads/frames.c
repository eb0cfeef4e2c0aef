/* SPDX-License-Identifier: BSD-3-Clause */
/* frames -- workloads: checkpoint, halves, frames zeroed ahead and reused, growth, recovery itself. */
#include "pm_bridge.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES 36

#define WORK(ident, what, frames, ...)                                                             \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(frames), .run = ident##_run, \
			  .recover = bridge_recover, .check = bridge_check, __VA_ARGS__)

/* ---- checkpoint ------------------------------------------------------------------------------------ */

static void checkpoint_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT));
	CALL(0, pmpt_map(NULL, space, P2M, 3, 20, PMPT_R | PMPT_EXT));
	CALL(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_map(NULL, space, P4K, 1, 9, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	CALL(0, pmpt_checkpoint(pool));
	bridge_stop();
}
WORK(checkpoint, "a checkpoint between transactions", FRAMES, .setup = bridge_setup)

/* No memory to sort the home lines: they are flushed one by one. */
static void checkpoint_poor_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT));
	atomic_store(&mem_fail_after, 0);
	CALL(0, pmpt_checkpoint(pool));
	atomic_store(&mem_fail_after, -1);
	CALL(0, pmpt_map(NULL, space, P4K, 1, 9, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	bridge_stop();
}
WORK(checkpoint_poor, "a checkpoint without memory to sort what it flushes", FRAMES,
     .setup = bridge_setup)

/* ---- frames zeroed ahead ------------------------------------------------------------------------- */

/* The first checkpoint zeroes a frame ahead. */
static void zeroed_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_checkpoint(pool));
}
static void zeroed_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT)); /* takes it */
	CALL(0, pmpt_checkpoint(pool));                               /* zeroes another */
	CALL(0, pmpt_map(NULL, space, P2M, 1, 9, PMPT_R | PMPT_EXT)); /* takes that */
	CALL(0, pmpt_unmap(NULL, space, P4K, P4K));
	bridge_stop();
}
WORK(zeroed, "single maps over frames zeroed ahead", 160, .setup = zeroed_setup)

/* ---- frames reused ---------------------------------------------------------------------------------- */

/* A frame filled in place, then mapped, in one transaction. */
static int map_filled(uint64_t va)
{
	pmpt_tx *tx;
	uint64_t pfn;
	pm_word *w;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_frame_alloc(tx, 1, 1, &pfn));
	w = pmpt_frame_ptr(pool, pfn);
	for (unsigned i = 0; i < 8; i++)
		atomic_store_explicit(&w[i], 0xabcd, memory_order_relaxed);
	MUST(pmpt_flush(tx, w, 64));
	MUST(pmpt_map(tx, space, va, 1, pfn, PMPT_R | PMPT_TAG(1)));
	return pmpt_commit(tx, NULL);
}

static void reuse_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, 5 * P2M + P4K, 1, 9, PMPT_R | PMPT_EXT)); /* its table stays */
}
static void reuse_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_map(NULL, space, P2M, 1, 7, PMPT_R | PMPT_EXT));
	CALL(0, pmpt_protect(NULL, space, P2M, P4K, PMPT_R | PMPT_W)); /* a line on the table */
	CALL(0, pmpt_unmap(NULL, space, P2M, P4K));
	pool->frames.n_waiting += 1 << 20; /* worth a grace period, without a checkpoint */
	MUST(frames_reclaim(&pool->frames, false));
	CALL(0, map_filled(5 * P2M));
	CALL(0, pmpt_unmap(NULL, space, 5 * P2M, P4K));
	ASIDE(0, frames_reclaim(&pool->frames, true));
	CALL(0, map_filled(5 * P2M));
	bridge_stop();
}
WORK(reuse, "a table's frame freed, then used for data", FRAMES, .setup = reuse_setup)

/* What a bulk transaction took and gives back when it is aborted. */
static void bulk_reuse_run(void *pm)
{
	pmpt_tx *tx;

	(void)pm;
	bridge_start();
	bridge_begin(0);
	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_map(tx, space, 3 * P2M, 1, 20, PMPT_R | PMPT_EXT));
	MUST(bulk_spill(tx));
	MUST(pmpt_map(tx, space, 3 * P2M + P4K, 1, 21, PMPT_R | PMPT_EXT));
	MUST(bulk_spill(tx));
	MUST(pmpt_abort(tx));
	bridge_returned(0);
	ASIDE(0, frames_reclaim(&pool->frames, true));
	CALL(0, map_filled(5 * P2M));
	bridge_stop();
}
WORK(bulk_reuse, "frames of an aborted bulk transaction used for data", FRAMES,
     .setup = reuse_setup)

/* ---- growth ---------------------------------------------------------------------------------------- */

/* A second extent, 2 MiB behind the first.  libpmemobj writes its place into the superblock. */
#define GROW_FRAMES (512 + 24)

static int take_extent(void *ctx, uint64_t index, uint64_t *off, uint64_t *bytes)
{
	struct region *rg = ctx;
	pm_word *home = &region_sb(rg)->extent[index].off;
	struct pm pm;

	*off = GROUP_BYTES + 24 * FRAME_BYTES;
	*bytes = rg->bytes - *off;
	pm_init(&pm, &rg->medium);
	if (!word_load(home)) {
		pm_store(&pm, home, *off);
		return pm_persist(&pm, home, sizeof(*home));
	}
	return 0;
}
static void grow_setup(void *pm)
{
	bridge_format_extent(pm, &(struct shape){ 0 }, 24);
	bridge_open(pm);
	pool->flags = 0;
	pool->take_extent = take_extent;
	pool->ctx = bridge_region(pm);
	/* rubbish where the descriptors will be */
	memset(region_at(pool->rg, 2 * GROUP_BYTES), 0xdb, 4 * FRAME_BYTES);
}
static void grow_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_grow(pool, P4K));
	CALL(0, pmpt_map(NULL, space, P2M, 20, PMPT_PFN_ALLOC, PMPT_R));
	bridge_stop();
}
WORK(grow, "a further extent, and frames from it", GROW_FRAMES, .setup = grow_setup)

/* ---- recovery itself ------------------------------------------------------------------------------- */

/* A log with live redo lines and an open bulk transaction.  Its stores have landed, those of the redo
 * lines have not.  That image is what recovery, here the program under test, begins with. */
static uint64_t recovered[2]; /* what has to come out */

/* Words as in `before` where no transaction but the bulk one has changed them. */
static void unland(char *pm, const char *before, const char *after)
{
	const struct sb *sb = region_sb(bridge_region(pm));
	size_t log = SB_BYTES + (sb->lanes - GROUP_BYTES), log_end = log + 2 * FRAME_BYTES;

	for (size_t i = SB_BYTES; i < BUFFER_BYTES(FRAMES); i++) {
		if ((i < log || i >= log_end) && pm[i] == after[i])
			pm[i] = before[i];
	}
}
static void recovery_setup(void *pm)
{
	char *before = malloc(BUFFER_BYTES(FRAMES)), *after = malloc(BUFFER_BYTES(FRAMES));
	pmpt_tx *tx;

	if (!before || !after)
		exit(3);
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, P4K, 1, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
	memcpy(before, pm, BUFFER_BYTES(FRAMES));
	MUST(pmpt_map(NULL, space, 2 * P4K, 3, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_protect(NULL, space, P4K, P4K, PMPT_R | PMPT_W));
	MUST(pmpt_user_set(NULL, space, 0, 17));
	memcpy(after, pm, BUFFER_BYTES(FRAMES));
	for (unsigned a = 0; a < 2; a++)
		recovered[a] = bridge_domain(pm, a);
	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_unmap(tx, space, 2 * P4K, P4K));
	MUST(pmpt_user_set(tx, space, 1, 5));
	MUST(bulk_spill(tx));
	unland(pm, before, after);
	memcpy(after, pm, BUFFER_BYTES(FRAMES));
	MUST(pmpt_abort(tx));
	bridge_stop();
	memcpy(pm, after, BUFFER_BYTES(FRAMES));
	free(before);
	free(after);
}
static void recovery_run(void *pm)
{
	bridge_rules();
	for (unsigned a = 0; a < 2; a++)
		crashsim_note(2 * a, recovered[a]);
	crashsim_begin_again(0);
	bridge_recover(pm);
	crashsim_returned(0);
}
WORK(recovery, "recovery of redo lines and an open bulk transaction, crashed three times", FRAMES,
     .setup = recovery_setup, .depth = 3)

/* ---- format ---------------------------------------------------------------------------------------- */

/* What a crash leaves of it is no pool, or a whole one. */
static bool is_pool;

static void format_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ 0 });
	/* whatever was here */
	memset(pm, 0, SB_BYTES);
	memset((char *)pm + SB_BYTES, 0xdb, BUFFER_BYTES(FRAMES) - SB_BYTES);
	atomic_store(&region_sb(bridge_region(pm))->extent[0].off, FRAME_BYTES);
}
static void format_run(void *pm)
{
	bridge_rules();
	crashsim_begin_again(0);
	bridge_format_again(pm, 2);
	crashsim_returned(0);
}
static void format_recover(void *pm)
{
	const struct sb *sb = region_sb(bridge_region(pm));

	/* the crc is over all of it: lines that hold something validate themselves by it */
	crashsim_checked(sb, 2 * LINE_BYTES);
	crashsim_checked((const char *)sb + offsetof(struct sb, crc) / LINE_BYTES * LINE_BYTES,
			 LINE_BYTES);
	is_pool = region_check(bridge_region(pm)) == 0;
	if (is_pool)
		bridge_recover(pm);
}
static void format_check(void *pm)
{
	crashsim_outcome(is_pool);
	if (is_pool)
		bridge_check_verifier(pm);
	else if (crashsim_state(0) == CRASHSIM_RETURNED)
		crashsim_fail("the format has returned, and there is no pool: %s", pmpt_errormsg());
}
CRASHSIM_WORKLOAD(format, .about = "a pool formatted over whatever was there",
		  .bytes = BUFFER_BYTES(FRAMES), .setup = format_setup, .run = format_run,
		  .recover = format_recover, .check = format_check)
