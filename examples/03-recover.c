/* SPDX-License-Identifier: BSD-3-Clause */
/* 03-recover -- a writer is killed in the middle of its work; what does the next open find?
 *
 * The child changes two pages in each transaction and counts them in a user word.  It is killed with
 * SIGKILL, once between two steps of a transaction and once wherever it happens to be: between two
 * calls, in a commit, in a store.  Then the parent opens the pool.  That recovers it: what was
 * committed is completed, what was not is gone.
 *
 *	usage: 03-recover POOL
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpmpt.h>

#define LEFT  (1ull << 30) /* two pages, far apart: their entries are in different tables */
#define RIGHT (1ull << 40)

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, pmpt_strerror(rc), pmpt_errormsg());
	exit(1);
}

/* Transaction n maps frame n at both places, and says so; number `die` ends half-way. */
static int change(pmpt_space *space, uint64_t n, uint64_t die)
{
	const unsigned flags = PMPT_R | PMPT_EXT | PMPT_REPLACE;
	pmpt_tx *tx;
	int rc = pmpt_begin(pmpt_space_pool(space), 0, &tx);

	if (!rc)
		rc = pmpt_map(tx, space, LEFT, 1, n, flags);
	if (n == die)
		(void)raise(SIGKILL);
	if (!rc)
		rc = pmpt_map(tx, space, RIGHT, 1, n, flags);
	if (!rc)
		rc = pmpt_user_set(tx, space, 0, n);
	return rc ? rc : pmpt_commit(tx, NULL);
}

/* The child opens the pool itself: handles do not survive a fork. */
_Noreturn static void write_until_killed(const char *path, uint64_t die, int acknowledge)
{
	pmpt_space *space;
	pmpt_pool *pool;
	uint64_t n;

	check(pmpt_open(path, 0, &pool), "child: open");
	check(pmpt_space_open(pool, "pair", &space), "child: space");
	check(pmpt_user_get(space, 0, &n), "child: count");
	for (;;) {
		check(change(space, ++n, die), "child: change");
		/* From here on it must be there, whatever happens. */
		if (write(acknowledge, &n, sizeof(n)) != sizeof(n))
			exit(1);
	}
}

/* Kill the child when it has acknowledged transaction `until`, unless it dies before.  Returns the
 * last one that it acknowledged. */
static uint64_t run_and_kill(const char *path, uint64_t die, uint64_t until)
{
	uint64_t n, last = 0;
	int ends[2];
	pid_t child;

	if (pipe(ends) || (child = fork()) < 0) {
		perror("fork");
		exit(1);
	}
	if (child == 0)
		write_until_killed(path, die, ends[1]);
	(void)close(ends[1]);
	while (read(ends[0], &n, sizeof(n)) == sizeof(n)) { /* what is in the pipe still counts */
		last = n;
		if (n == until)
			(void)kill(child, SIGKILL);
	}
	(void)close(ends[0]);
	(void)waitpid(child, NULL, 0);
	return last;
}

/* Open the pool after the kill and judge it. */
static bool recovered(const char *path, uint64_t acknowledged)
{
	struct pmpt_recovery report;
	struct pmpt_mapping left, right;
	pmpt_space *space;
	pmpt_pool *pool;
	uint64_t count;

	check(pmpt_open(path, 0, &pool), "open");
	check(pmpt_recovery_report(pool, &report), "report");
	check(pmpt_space_open(pool, "pair", &space), "space");
	check(pmpt_user_get(space, 0, &count), "count");
	check(pmpt_query(space, LEFT, &left), "left");
	check(pmpt_query(space, RIGHT, &right), "right");
	pmpt_space_close(space);
	check(pmpt_close(pool), "close");

	printf("  acknowledged %" PRIu64 "; found count %" PRIu64 ", left %" PRIu64
	       ", right %" PRIu64 "\n",
	       acknowledged, count, left.pfn, right.pfn);
	printf("  recovery: %" PRIu64 " log lines read, %" PRIu64 " transactions redone, %" PRIu64
	       " torn and dropped, in %.2f ms\n",
	       report.lines_scanned, report.redone, report.torn, (double)report.recovery_ns / 1e6);
	/* All of it together, and at most one more than it could tell us. */
	return left.pfn == count && right.pfn == count && count >= acknowledged &&
	       count <= acknowledged + 1;
}

int main(int argc, char **argv)
{
	pmpt_space *space;
	pmpt_pool *pool;
	bool whole;

	if (argc != 2) {
		fprintf(stderr, "usage: %s POOL\n", argv[0]);
		return 2;
	}
	check(pmpt_create(argv[1], NULL, &pool), "create");
	check(pmpt_space_create(pool, "pair", &space), "space");
	pmpt_space_close(space);
	check(pmpt_close(pool), "close");

	printf("killed between two steps of transaction 1000:\n");
	whole = recovered(argv[1], run_and_kill(argv[1], 1000, 0));
	printf("killed somewhere:\n");
	whole = whole && recovered(argv[1], run_and_kill(argv[1], 0, 20000));
	puts(whole ? "each transaction is there whole, and every acknowledged one is there"
		   : "a transaction is lost, or a part of one is there");
	return !whole;
}
