/* SPDX-License-Identifier: BSD-3-Clause */
/* 02-bulk-load -- load many pages in one transaction, then verify the file.
 *
 * An ordinary transaction fits into half a lane of the log.  A bulk transaction takes what does not:
 * its changes go home in batches before the commit, and the log keeps what was there before.  Killed
 * or out of power at any point, the next open undoes all of it.  Until it ends, readers of what it
 * has changed get PMPT_E_BUSY, and there is one at a time: it is for loading, not for serving.
 *
 *	usage: 02-bulk-load POOL [PAGES]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpmpt.h>

#define STEP 4096u /* pages between two lines of progress */

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

/* One page of the input, here made up.  Every other address is left free, so that no two pages can
 * share a log line: the worst case. */
static int load_page(pmpt_tx *tx, pmpt_space *space, uint64_t n)
{
	pmpt_pool *pool = pmpt_space_pool(space);
	uint64_t pfn, *words;
	int rc = pmpt_frame_alloc(tx, 1, 1, &pfn);

	if (rc)
		return rc;
	words = pmpt_frame_ptr(pool, pfn);
	memset(words, 0, PMPT_PAGE_BYTES);
	words[0] = n;
	rc = pmpt_flush(tx, words, PMPT_PAGE_BYTES);
	return rc ? rc : pmpt_map(tx, space, 2 * n * PMPT_PAGE_BYTES, 1, pfn, PMPT_R | PMPT_W);
}

static int load(pmpt_space *space, uint64_t pages, uint64_t *lsn)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(pmpt_space_pool(space), PMPT_TX_BULK, &tx);

	if (rc)
		return rc;
	for (uint64_t n = 0; n < pages && !rc; n++) {
		rc = load_page(tx, space, n);
		if (!rc && (n + 1) % STEP == 0)
			printf("loaded %" PRIu64 " of %" PRIu64 " pages\n", n + 1, pages);
	}
	if (!rc)
		rc = pmpt_user_set(tx, space, 0, pages);
	if (!rc)
		rc = pmpt_commit(tx, lsn);
	if (rc) { /* say why before the next call, then nothing of the load remains */
		fprintf(stderr, "load: %s: %s\n", pmpt_strerror(rc), pmpt_errormsg());
		(void)pmpt_abort(tx);
	}
	return rc;
}

static void on_finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	printf("%s at offset %#" PRIx64 ": %s\n", f->rule, f->offset, f->message);
}

/* The verifier reads the file, not the library's memory: it works while the pool is open, too. */
static int verify(const char *path)
{
	struct pmpt_check sum;

	check(pmpt_check(path, on_finding, NULL, NULL, &sum), "check");
	printf("verified: %" PRIu64 " pages, %" PRIu64 " table frames, %" PRIu64 " findings\n",
	       sum.leaves, sum.tables, sum.findings);
	return sum.findings != 0;
}

int main(int argc, char **argv)
{
	struct pmpt_config config = { .pool_bytes = 256ull << 20 };
	uint64_t pages = argc > 2 ? strtoull(argv[2], NULL, 0) : 20000, lsn;
	pmpt_space *space;
	pmpt_pool *pool;
	int rc;

	if (argc < 2 || !pages) {
		fprintf(stderr, "usage: %s POOL [PAGES]\n", argv[0]);
		return 2;
	}
	check(pmpt_create(argv[1], &config, &pool), "create");
	check(pmpt_space_create(pool, "load", &space), "space");
	rc = load(space, pages, &lsn);
	if (!rc)
		printf("committed %" PRIu64 " pages at LSN %" PRIu64 "\n", pages, lsn);
	pmpt_space_close(space);
	check(pmpt_close(pool), "close");
	return verify(argv[1]) || rc;
}
