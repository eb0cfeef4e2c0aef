/* SPDX-License-Identifier: BSD-3-Clause */
/* 04-fork -- a what-if on a space: fork it, change the fork, keep it or throw it away.
 *
 * A fork costs one table, however much is mapped: from then on both spaces share the tables and the
 * pages, and who writes first gets a page of his own.  Neither sees what the other writes.  A snapshot
 * is a fork that nobody can change.
 *
 *	usage: 04-fork POOL
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpmpt.h>

#define PAGES      2048u                             /* 8 MiB */
#define BALANCE(n) ((n) * (uint64_t)PMPT_PAGE_BYTES) /* each account has a page of its own */

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

static int64_t balance(const pmpt_space *space, uint64_t account)
{
	int64_t value;

	check(pmpt_read(NULL, space, BALANCE(account), &value, sizeof(value)), "read");
	return value;
}

/* Two pages change together, or neither. */
static void move_money(pmpt_space *space, uint64_t from, uint64_t to, int64_t amount)
{
	int64_t less = balance(space, from) - amount, more = balance(space, to) + amount;
	pmpt_tx *tx;

	check(pmpt_begin(pmpt_space_pool(space), 0, &tx), "begin");
	check(pmpt_write(tx, space, BALANCE(from), &less, sizeof(less)), "write");
	check(pmpt_write(tx, space, BALANCE(to), &more, sizeof(more)), "write");
	check(pmpt_commit(tx, NULL), "commit");
}

static void show(const char *when, const pmpt_space *space)
{
	struct pmpt_space_info info;

	check(pmpt_space_info(space, &info), "info");
	printf("%-22s %-7s account 1: %4" PRId64 ", account 2: %4" PRId64 "; %5" PRIu64
	       " KiB own, %5" PRIu64 " KiB shared\n",
	       when, pmpt_space_name(space), balance(space, 1), balance(space, 2),
	       info.own_bytes >> 10, info.shared_bytes >> 10);
}

static int on_change(void *ctx, const struct pmpt_change *change)
{
	(void)ctx;
	printf("  account %" PRIu64 " differs: frame %#" PRIx64 " and frame %#" PRIx64 "\n",
	       change->va / PMPT_PAGE_BYTES, change->a.pfn, change->b.pfn);
	return 0;
}

int main(int argc, char **argv)
{
	pmpt_space *ledger, *trial, *monday;
	int64_t hundred = 100, none = 0;
	pmpt_pool *pool;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: %s POOL\n", argv[0]);
		return 2;
	}
	check(pmpt_create(argv[1], NULL, &pool), "create");
	check(pmpt_space_create(pool, "ledger", &ledger), "space");
	for (uint64_t n = 0; n < PAGES; n++)
		check(pmpt_write(NULL, ledger, BALANCE(n), &hundred, sizeof(hundred)), "write");
	show("before the fork:", ledger);

	check(pmpt_space_fork(ledger, "trial", 0, &trial), "fork");
	check(pmpt_space_fork(ledger, "monday", PMPT_FORK_SNAPSHOT, &monday), "snapshot");
	show("after it:", trial);

	move_money(trial, 1, 2, 60);
	show("the fork has changed:", trial);
	show("", ledger);
	puts("what differs:");
	check(pmpt_diff(NULL, ledger, trial, on_change, NULL), "diff");

	rc = pmpt_write(NULL, monday, BALANCE(1), &none, sizeof(none));
	printf("a snapshot is written to: %s\n", pmpt_strerror(rc));

	/* The trial is good: it takes the ledger's place.  The snapshot still has the old state. */
	pmpt_space_close(ledger);
	pmpt_space_close(trial);
	check(pmpt_space_delete(pool, "ledger"), "delete");
	check(pmpt_space_rename(pool, "trial", "ledger"), "rename");
	check(pmpt_space_open(pool, "ledger", &ledger), "open");
	show("the trial is adopted:", ledger);
	show("", monday);
	pmpt_space_close(ledger);
	pmpt_space_close(monday);
	check(pmpt_close(pool), "close");
	return 0;
}
