/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_storm -- storm: kill a process that changes a pool from several threads, and hold it to every
 * transaction that it acknowledged.  How it is judged: storm.h. */
#include <string.h>
#include <unistd.h>

#include "storm.h"
#include "tool.h"

static void on_progress(void *ctx, uint64_t acknowledged) { progress_to(ctx, acknowledged); }

/* Returns an exit code.  findings: of the verifier. */
static int check_pool(const char *path, const char *when, uint64_t *findings)
{
	struct pmpt_check sum = { 0 };
	int rc = pmpt_check(path, NULL, NULL, NULL, &sum);

	if (rc)
		return fail(rc, "%s: check %s", path, when);
	*findings += sum.findings;
	return sum.findings
		       ? fail(0, "%s: check %s: %s", path, when, counted(sum.findings, "finding"))
		       : EXIT_OK;
}

static void print_round(uint64_t number, const struct storm_round *r)
{
	double rate = (double)r->transactions / r->seconds;

	printf("round %" PRIu64 ": %s acknowledged in %.2f s (%s a second, %s touched), killed\n",
	       number, counted(r->transactions, "transaction"), r->seconds,
	       human_count((uint64_t)rate), counted(r->pages, "page"));
	printf("  recovery: %s read, %s redone, %s torn; %s in %s; %.2f ms, open %.2f ms\n",
	       counted(r->recovery.lines_scanned, "line"),
	       counted(r->recovery.redone, "transaction"), human_count(r->recovery.torn),
	       counted(r->recovery.words, "word"), counted(r->recovery.pages, "page"),
	       (double)r->recovery.recovery_ns / 1e6, (double)r->recovery.open_ns / 1e6);
	printf("  %severy acknowledged transaction is there, none half%s: %s compared",
	       paint(GREEN), paint(PLAIN), counted(r->verify_pages, "page"));
	if (r->unacknowledged)
		printf(", and %s more that the kill kept from being acknowledged",
		       human_count(r->unacknowledged));
	putchar('\n');
}

static json_t *round_json(const struct storm_round *r)
{
	return json_pack("{s:I,s:I,s:f,s:I,s:I,s:I,s:I,s:I,s:I}", "transactions",
			 (json_int_t)r->transactions, "pages", (json_int_t)r->pages, "seconds",
			 r->seconds, "unacknowledged", (json_int_t)r->unacknowledged,
			 "pages_compared", (json_int_t)r->verify_pages, "lines_scanned",
			 (json_int_t)r->recovery.lines_scanned, "redone",
			 (json_int_t)r->recovery.redone, "torn", (json_int_t)r->recovery.torn,
			 "recovery_ns", (json_int_t)r->recovery.recovery_ns);
}

/* One round; before and after: what is carried from one to the next is in round->before. */
static int one_round(const struct storm *storm, struct storm_round *round)
{
	struct storm_round fresh = { 0 };
	struct progress *progress = storm->ctx;
	uint64_t findings = 0;
	int code, rc;

	memcpy(fresh.before, round->before, sizeof(fresh.before));
	*round = fresh;
	progress_start(progress, "storm", "transactions", 0);
	rc = storm_kill(storm, round);
	progress_end(progress);
	if (rc < 0)
		return fail(rc, "%s", storm->path);
	code = rc ? EXIT_OK : check_pool(storm->path, "before recovery", &findings);
	if (!rc)
		rc = storm_verify(storm, round);
	if (rc == 1)
		return fail(0, "%s: %s", storm->path, round->why);
	if (rc)
		return fail(rc, "%s", storm->path);
	rc = check_pool(storm->path, "after recovery", &findings);
	return code ? code : rc;
}

static int run_storm(const struct command *cmd, int argc, char **argv)
{
	uint64_t threads = 2, ms = 1000, rounds = 1, seed = (uint64_t)getpid();
	bool json = false;
	const struct opt opts[] = {
		{ "threads", 0, OPT_COUNT, &threads, "N", "writing threads, 1 to 16 (2)" },
		{ "ms", 0, OPT_COUNT, &ms, "N", "kill after that many milliseconds (1000)" },
		{ "rounds", 0, OPT_COUNT, &rounds, "N", "go on after the recovery, N times (1)" },
		{ "seed", 0, OPT_COUNT, &seed, "N", "of all changes (the process number)" },
		{ "json", 0, OPT_FLAG, &json, NULL, "print a JSON object for each round" },
		OPT_END
	};
	struct storm_round round = { 0 };
	struct progress progress;
	struct storm storm;
	int code = EXIT_OK;

	(void)options(cmd, opts, argc, argv, 1, 1);
	if (!threads || threads > STORM_THREADS_MAX || !ms || ms > 1000000)
		usage_error(cmd, "--threads is 1 to 16, --ms 1 to 1000000");
	storm = (struct storm){ .path = argv[0],
				.seed = seed,
				.threads = (unsigned)threads,
				.ms = (unsigned)ms,
				.progress = on_progress,
				.ctx = &progress };
	if (!json)
		printf("storm on %s: %s, seed %" PRIu64 "\n", argv[0], counted(threads, "thread"),
		       seed);
	(void)fflush(stdout); /* or the child would have it too */
	for (uint64_t i = 1; i <= rounds && !code; i++) {
		code = one_round(&storm, &round);
		if (!code && json)
			code = json_put(stdout, round_json(&round));
		else if (!code)
			print_round(i, &round);
		(void)fflush(stdout);
	}
	return code;
}

const struct command command_storm = {
	.name = "storm",
	.synopsis = "pmpt storm [OPTION]... POOL",
	.brief = "kill a writing process and hold it to its word",
	.text = "A test aid.  A child process changes spaces 'storm-0', 'storm-1', .. from as many\n"
		"threads, and acknowledges each committed transaction over a pipe.  It is killed\n"
		"(SIGKILL).  Then the pool is verified, recovered by opening it, and verified again; each\n"
		"space must be as after exactly the transactions that were acknowledged, or one more.\n"
		"Begin with a pool without such spaces.\n",
	.example = "pmpt create --size 256M /dev/shm/pool && pmpt storm --rounds 3 /dev/shm/pool",
	.hidden = true,
	.run = run_storm,
};
