/* SPDX-License-Identifier: BSD-3-Clause */
/* pool -- pools with pages mapped, and the library's counters. */
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

void bench_pool_open(struct bench_pool *bp)
{
	struct pmpt_stats stats;

	memset(bp, 0, sizeof(*bp));
	check(pmpt_open(scratch_pool(), 0, &bp->pool), "open");
	check(pmpt_space_open(bp->pool, "bench", &bp->space), "space");
	check(pmpt_stats(bp->pool, &stats), "stats");
	bp->slow = stats.medium == PMPT_MEDIUM_FILE;
}

static void map_pages(struct bench_pool *bp, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i += REGION_PAGES) {
		uint64_t n = pages - i < REGION_PAGES ? pages - i : REGION_PAGES;

		check(pmpt_map(NULL, bp->space, VA_BASE + i * PMPT_PAGE_BYTES, n, PFN_BASE + i,
			       PMPT_R | PMPT_W | PMPT_U | PMPT_EXT),
		      "map");
	}
	bp->pages = pages;
}

void bench_pool_make(struct bench_pool *bp, uint64_t pages, uint64_t data_bytes)
{
	/* tables, an eighth for upper ones and frames that wait for a checkpoint; log */
	uint64_t bytes = pages * 9 + data_bytes + data_bytes / 8 + (64ull << 20);
	struct pmpt_config config = { .pool_bytes = bytes / PMPT_PAGE_BYTES * PMPT_PAGE_BYTES };
	struct pmpt_stats before, after;

	memset(bp, 0, sizeof(*bp));
	check(pmpt_create(scratch_pool(), &config, &bp->pool), "create");
	check(pmpt_stats(bp->pool, &before), "stats");
	bp->slow = before.medium == PMPT_MEDIUM_FILE;
	check(pmpt_space_create(bp->pool, "bench", &bp->space), "space");
	map_pages(bp, pages);
	check(pmpt_checkpoint(bp->pool), "checkpoint");
	check(pmpt_stats(bp->pool, &after), "stats");
	bp->table_frames = after.frames_table - before.frames_table;
}

void bench_pool_touch(const struct bench_pool *bp)
{
	struct pmpt_stats s;
	uint64_t pfn = 0;
	pmpt_tx *tx;
	char *at;

	check(pmpt_stats(bp->pool, &s), "stats");
	check(pmpt_begin(bp->pool, 0, &tx), "begin");
	check(pmpt_frame_alloc(tx, 1, 1, &pfn), "frame");
	at = pmpt_frame_ptr(bp->pool, pfn);
	/* the pool's frames are one mapping; an older kernel touches them as they are used */
	(void)madvise(at - pfn * PMPT_PAGE_BYTES, s.frames * PMPT_PAGE_BYTES, MADV_POPULATE_WRITE);
	check(pmpt_abort(tx), "abort");
}

void bench_pool_close(struct bench_pool *bp)
{
	pmpt_space_close(bp->space);
	check(pmpt_close(bp->pool), "close");
	scratch_drop_pool();
}

struct tally tally_now(const struct bench_pool *bp)
{
	struct pmpt_stats s;

	check(pmpt_stats(bp->pool, &s), "stats");
	return (struct tally){ s.lines_streamed + s.lines_flushed, s.log_lines, s.fences, s.commits,
			       s.checkpoints };
}

void tally_add(struct tally *sum, const struct tally *from, const struct bench_pool *bp)
{
	struct tally now = tally_now(bp);

	sum->lines += now.lines - from->lines;
	sum->log_lines += now.log_lines - from->log_lines;
	sum->fences += now.fences - from->fences;
	sum->commits += now.commits - from->commits;
	sum->checkpoints += now.checkpoints - from->checkpoints;
}
