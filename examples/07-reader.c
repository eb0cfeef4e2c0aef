/* SPDX-License-Identifier: BSD-3-Clause */
/* 07-reader -- a long, consistent read beside a writer that never stops.
 *
 * The writer moves units between pages, a transaction at a time: the sum over all pages is always the
 * same.  Reading page by page meets some pages before and some after a transaction, and gets sums that
 * never were.  A read view sees all pages as they were when it was opened, and holds nobody up: no
 * lock, no log line, no fence.
 *
 *	usage: 07-reader POOL
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <libpmpt.h>

#define PAGES  512u
#define UNITS  1000
#define BESIDE 2000u /* transactions beside which to read */

static atomic_bool stop;
static atomic_ulong commits;

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

static uint64_t va_of(uint64_t page) { return page * PMPT_PAGE_BYTES; }

static int64_t units(const pmpt_view *view, const pmpt_space *space, uint64_t page)
{
	int64_t value;

	check(pmpt_read(view, space, va_of(page), &value, sizeof(value)), "read");
	return value;
}

/* One unit goes from a page to another. */
static void move_unit(pmpt_space *space, uint64_t from, uint64_t to)
{
	int64_t less = units(NULL, space, from) - 1, more = units(NULL, space, to) + 1;
	pmpt_tx *tx;

	check(pmpt_begin(pmpt_space_pool(space), 0, &tx), "begin");
	check(pmpt_write(tx, space, va_of(from), &less, sizeof(less)), "write");
	check(pmpt_write(tx, space, va_of(to), &more, sizeof(more)), "write");
	check(pmpt_commit(tx, NULL), "commit");
}

static void *writer(void *ctx)
{
	for (uint64_t n = 0; !atomic_load(&stop); n++) {
		move_unit(ctx, n * 7 % PAGES, (n * 7 + PAGES / 2) % PAGES);
		atomic_fetch_add(&commits, 1);
	}
	return NULL;
}

/* The sum over all pages, in a view or without. */
static int64_t sum(const pmpt_view *view, const pmpt_space *space)
{
	int64_t all = 0;

	for (uint64_t page = 0; page < PAGES; page++)
		all += units(view, space, page);
	return all;
}

/* Read while the writer does BESIDE transactions, and say how many sums were wrong. */
static unsigned reads(pmpt_pool *pool, const pmpt_space *space, bool in_view)
{
	unsigned long until = atomic_load(&commits) + BESIDE;
	unsigned done = 0, wrong = 0;
	uint64_t lsn = 0;

	while (atomic_load(&commits) < until) {
		pmpt_view *view = NULL;

		if (in_view) {
			check(pmpt_view_open(pool, &view), "view");
			lsn = pmpt_view_lsn(view);
		}
		wrong += sum(view, space) != (int64_t)UNITS * PAGES;
		pmpt_view_close(view);
		done++;
	}
	printf("%s %u sums beside %u transactions, %u wrong",
	       in_view ? "in a view:   " : "page by page:", done, BESIDE, wrong);
	if (in_view)
		printf("; the last as of LSN %" PRIu64, lsn);
	putchar('\n');
	return wrong;
}

int main(int argc, char **argv)
{
	int64_t some = UNITS;
	unsigned wrong;
	pmpt_space *space;
	pmpt_pool *pool;
	pthread_t thread;

	if (argc != 2) {
		fprintf(stderr, "usage: %s POOL\n", argv[0]);
		return 2;
	}
	check(pmpt_create(argv[1], NULL, &pool), "create");
	check(pmpt_space_create(pool, "units", &space), "space");
	for (uint64_t page = 0; page < PAGES; page++)
		check(pmpt_write(NULL, space, va_of(page), &some, sizeof(some)), "write");

	check(-pthread_create(&thread, NULL, writer, space), "thread");
	(void)reads(pool, space, false);
	wrong = reads(pool, space, true);
	atomic_store(&stop, true);
	(void)pthread_join(thread, NULL);
	pmpt_space_close(space);
	check(pmpt_close(pool), "close");
	return wrong != 0;
}
