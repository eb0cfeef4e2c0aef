/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_check -- check: verify a pool without writing a byte.  Exit codes are e2fsck's bits. */
#include <signal.h>
#include <unistd.h>

#include "tool.h"

enum check_exit {
	CHECK_CLEAN = 0,
	CHECK_ERRORS = 4,
	CHECK_FAILED = 8,
	CHECK_USAGE = 16,
	CHECK_CANCELLED = 32
};

struct check {
	struct progress progress;
	json_t *list; /* NULL: print */
	uint64_t shown, limit;
};

static void on_cancel(int number)
{
	static const char text[] = "\npmpt: check cancelled\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)number;
	(void)ignored;
	_exit(CHECK_CANCELLED);
}

static void on_finding(void *ctx, const struct pmpt_finding *f)
{
	struct check *c = ctx;

	if (c->shown++ >= c->limit)
		return;
	if (c->list) {
		(void)json_array_append_new(c->list, json_pack("{s:s,s:o,s:o}", "rule", f->rule,
							       "offset", json_hex(f->offset),
							       "message", json_text(f->message)));
		return;
	}
	progress_end(&c->progress);
	printf("%s%-10s%s offset %#" PRIx64 ": %s\n", paint(RED), f->rule, paint(PLAIN), f->offset,
	       f->message);
}

static void on_progress(void *ctx, unsigned permille)
{
	struct check *c = ctx;

	progress_to(&c->progress, permille);
}

static int put_json(const char *path, const struct check *c, const struct pmpt_check *s, int rc)
{
	const struct pmpt_recovery *r = &s->recovery;

	return json_put(
		stdout,
		json_pack("{s:o,s:b,s:b,s:s,s:o,s:I,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:{s:I,s:I,s:I,s:I}"
			  "}",
			  "pool", json_text(path), "clean", !rc && !s->findings, "live", s->live,
			  "error", rc ? pmpt_strerror(rc) : "", "detail",
			  json_text(rc ? error_detail(path) : ""), "findings",
			  (json_int_t)s->findings, "list", json_incref(c->list), "spaces",
			  (json_int_t)s->spaces, "tables", (json_int_t)s->tables, "leaves",
			  (json_int_t)s->leaves, "data_frames", (json_int_t)s->data_frames,
			  "free_frames", (json_int_t)s->free_frames, "log_lines",
			  (json_int_t)s->log_lines, "recovery", "redone", (json_int_t)r->redone,
			  "undone", (json_int_t)r->undone, "torn", (json_int_t)r->torn, "words",
			  (json_int_t)r->words));
}

static void print_summary(const char *path, const struct check *c, const struct pmpt_check *s)
{
	const struct pmpt_recovery *r = &s->recovery;

	if (c->shown > c->limit)
		printf("... %s more\n", human_count(c->shown - c->limit));
	printf("%s: %s%s%s%s\n", path, paint(s->findings ? RED : GREEN),
	       s->findings ? counted(s->findings, "finding") : "clean", paint(PLAIN),
	       s->live ? " (in use by another process)" : "");
	printf("  %s, %s mapped; frames: %s tables, %s data, %s free; %s\n",
	       counted(s->spaces, "space"), counted(s->leaves, "page"), human_count(s->tables),
	       human_count(s->data_frames), human_count(s->free_frames),
	       counted(s->log_lines, "log line"));
	if (r->redone || r->undone || r->torn)
		printf("  the next open will redo %s, undo %s, drop %s torn\n",
		       counted(r->redone, "transaction"), human_count(r->undone),
		       human_count(r->torn));
}

static int run_check(const struct command *cmd, int argc, char **argv)
{
	bool json = false, quiet = false;
	uint64_t limit = 100;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    { "quiet", 'q', OPT_FLAG, &quiet, NULL, "print findings only" },
				    { "limit", 0, OPT_COUNT, &limit, "N",
				      "print at most N findings (100)" },
				    OPT_END };
	struct check c = { 0 };
	struct pmpt_check sum = { 0 };
	int rc, code = CHECK_CLEAN;

	(void)options(cmd, opts, argc, argv, 1, 1);
	c.limit = limit;
	c.list = json ? json_array() : NULL;
	(void)signal(SIGINT, on_cancel);
	(void)signal(SIGTERM, on_cancel);
	progress_start(&c.progress, "checking", "", 1000);
	rc = pmpt_check(argv[0], on_finding, on_progress, &c, &sum);
	progress_end(&c.progress);
	if (rc) {
		(void)fail(rc, "%s", argv[0]);
		code = CHECK_FAILED;
	} else if (sum.findings) {
		code = CHECK_ERRORS;
	}
	if (json && put_json(argv[0], &c, &sum, rc))
		code |= CHECK_FAILED;
	json_decref(c.list);
	if (!json && !rc && !quiet)
		print_summary(argv[0], &c, &sum);
	return output_done(stdout, "standard output") ? code | CHECK_FAILED : code;
}

const struct command command_check = {
	.name = "check",
	.synopsis = "pmpt check [--json] [--quiet] POOL",
	.brief = "verify a pool, closed or in use, without writing a byte",
	.text = "Verify every invariant that the file can show: superblock, log, tables, counts of\n"
		"frames in both directions.  What the next open would recover is recovered in private\n"
		"memory first.  It reads without libpmemobj, so damage there does no harm.\n",
	.exits = "0   clean\n"
		 "4   there are findings (nothing is ever corrected)\n"
		 "8   it could not be checked: no pool, not readable, or in use and changing\n"
		 "16  the command line is wrong\n"
		 "32  cancelled by a signal",
	.example = "pmpt check --json /dev/shm/pool | jq '.list[].rule'",
	.usage_code = CHECK_USAGE,
	.run = run_check,
};
