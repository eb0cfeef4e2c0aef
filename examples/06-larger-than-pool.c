/* SPDX-License-Identifier: BSD-3-Clause */
/* 06-larger-than-pool -- a space of 64 MiB in a pool of 32 MiB.
 *
 * Pages that are not used go out to a swap file on an ordinary file system, and come back when they
 * are written or faulted; reading one that is out reads it in the file.  pmpt_swap_auto() has it done
 * as it becomes necessary.  Where a page is changes in a transaction: after a crash it is in memory or
 * out, never lost.
 *
 *	usage: 06-larger-than-pool POOL SWAPFILE
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpmpt.h>

#define POOL_BYTES (32ull << 20)
#define PAGES      (16u << 10) /* 64 MiB */

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

/* What page n holds: made up, and different in each page. */
static void content(uint64_t n, uint64_t *words)
{
	for (uint64_t i = 0; i < PMPT_PAGE_BYTES / 8; i++)
		words[i] = n * 0x9e3779b97f4a7c15 + i;
}

static void fill(pmpt_space *space)
{
	uint64_t words[PMPT_PAGE_BYTES / 8];

	for (uint64_t n = 0; n < PAGES; n++) {
		content(n, words);
		check(pmpt_write(NULL, space, n * PMPT_PAGE_BYTES, words, sizeof(words)), "write");
	}
}

static uint64_t verify(const pmpt_space *space)
{
	uint64_t words[PMPT_PAGE_BYTES / 8], want[PMPT_PAGE_BYTES / 8], wrong = 0;

	for (uint64_t n = 0; n < PAGES; n++) {
		check(pmpt_read(NULL, space, n * PMPT_PAGE_BYTES, words, sizeof(words)), "read");
		content(n, want);
		wrong += memcmp(words, want, sizeof(want)) != 0;
	}
	return wrong;
}

static void show(pmpt_pool *pool, const char *when)
{
	struct pmpt_swap_status swap;
	struct pmpt_stats stats;

	check(pmpt_swap_status(pool, &swap), "status");
	check(pmpt_stats(pool, &stats), "stats");
	printf("%s: %" PRIu64 " pages in memory, %" PRIu64 " out, %" PRIu64
	       " frames free; since the open %" PRIu64 " went out, %" PRIu64 " came in\n",
	       when, stats.frames_data, swap.used, stats.frames_free, swap.outs, swap.ins);
}

int main(int argc, char **argv)
{
	struct pmpt_config config = { .pool_bytes = POOL_BYTES };
	struct pmpt_mapping page;
	pmpt_space *space;
	pmpt_pool *pool;
	uint64_t wrong;

	if (argc != 3) {
		fprintf(stderr, "usage: %s POOL SWAPFILE\n", argv[0]);
		return 2;
	}
	check(pmpt_create(argv[1], &config, &pool), "create");
	check(pmpt_space_create(pool, "large", &space), "space");
	check(pmpt_swap_on(pool, argv[2], PAGES * (uint64_t)PMPT_PAGE_BYTES), "swap");

	/* Below 256 free frames pages go out until 512 are free.  Not durable: say it after each open. */
	check(pmpt_swap_auto(pool, 256, 512), "auto");
	fill(space);
	show(pool, "written");
	check(pmpt_fault(NULL, space, 0, PMPT_R, &page),
	      "fault"); /* as a kernel would, on a miss */
	printf("page 0 came in: frame %#" PRIx64 "\n", page.pfn);
	pmpt_space_close(space);
	check(pmpt_close(pool), "close");

	check(pmpt_open(argv[1], 0, &pool), "open"); /* it finds the file by itself */
	check(pmpt_space_open(pool, "large", &space), "space");
	wrong = verify(space);
	show(pool, "read after an open");
	printf("%u pages compared, %" PRIu64 " wrong\n", PAGES, wrong);
	pmpt_space_close(space);
	check(pmpt_close(pool), "close");
	return wrong != 0;
}
