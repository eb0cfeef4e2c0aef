/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_pool -- create, info, stat, space: a pool as a whole. */
#include <errno.h>
#include <string.h>

#include "tool.h"

static const char *medium_text(enum pmpt_medium medium)
{
	switch (medium) {
	case PMPT_MEDIUM_PMEM:
		return "persistent memory (DAX)";
	case PMPT_MEDIUM_EMULATED:
		return "emulated persistent memory (tmpfs)";
	case PMPT_MEDIUM_FILE:
		return "ordinary file (msync)";
	}
	return "unknown";
}

/* A pool takes its file in extents; only frames of those that it took are counted. */
static const char *grows(const struct pmpt_stats *st)
{
	return st->pool_bytes > (st->extents + 1) * PMPT_EXTENT_BYTES
		       ? " so far: more extents of 1 GiB are taken when they are needed"
		       : "";
}

/* ---- create ---------------------------------------------------------------------------------- */

static int run_create(const struct command *cmd, int argc, char **argv)
{
	uint64_t size = 0, lanes = 0, lane = 0, bulk = 0, spaces = 0;
	bool json = false;
	const struct opt opts[] = {
		{ "size", 's', OPT_COUNT, &size, "BYTES", "size of the file (64M)" },
		{ "lanes", 0, OPT_COUNT, &lanes, "N", "redo lanes of the log (8)" },
		{ "log-size", 0, OPT_COUNT, &lane, "BYTES", "bytes of one redo lane (512k)" },
		{ "bulk-size", 0, OPT_COUNT, &bulk, "BYTES", "bytes of the bulk lane (4M)" },
		{ "spaces", 0, OPT_COUNT, &spaces, "N", "size of the directory (1024)" },
		{ "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
		OPT_END
	};
	struct pmpt_config config = { 0 };
	struct pmpt_stats st;
	pmpt_pool *pool;
	int rc;

	(void)options(cmd, opts, argc, argv, 1, 1);
	if (lanes > UINT32_MAX || lane > UINT32_MAX || bulk > UINT32_MAX || spaces > UINT32_MAX)
		usage_error(cmd, "a number is too large");
	config.pool_bytes = size;
	config.lanes = (uint32_t)lanes;
	config.lane_bytes = (uint32_t)lane;
	config.bulk_bytes = (uint32_t)bulk;
	config.spaces = (uint32_t)spaces;
	rc = pmpt_create(argv[0], &config, &pool);
	if (rc)
		return fail(rc, "%s", argv[0]);
	rc = pmpt_stats(pool, &st);
	if (rc)
		return close_pool(pool, NULL, fail(rc, "%s", argv[0]));
	if (json) {
		rc = json_put(stdout,
			      json_pack("{s:o,s:I,s:s,s:I}", "pool", json_text(argv[0]), "bytes",
					(json_int_t)st.pool_bytes, "medium", medium_text(st.medium),
					"frames_free", (json_int_t)st.frames_free));
	} else {
		printf("%s: %s on %s, %s free%s\n", argv[0], human_bytes(st.pool_bytes),
		       medium_text(st.medium), human_bytes(st.frames_free * PMPT_PAGE_BYTES),
		       grows(&st));
		rc = EXIT_OK;
	}
	return close_pool(pool, NULL, rc);
}

const struct command command_create = {
	.name = "create",
	.synopsis = "pmpt create [--size BYTES] [OPTION]... POOL",
	.brief = "make a pool",
	.text = "Make a pool in a new file, or in the files of an existing pool set.  The file is\n"
		"sparse; blocks exist before anything is stored in them.\n",
	.example = "pmpt create --size 1G /dev/shm/pool",
	.run = run_create,
};

/* ---- info ------------------------------------------------------------------------------------ */

static json_t *recovery_json(const struct pmpt_recovery *r)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "lines_scanned",
			 (json_int_t)r->lines_scanned, "redone", (json_int_t)r->redone, "undone",
			 (json_int_t)r->undone, "torn", (json_int_t)r->torn, "words",
			 (json_int_t)r->words, "pages", (json_int_t)r->pages, "recovery_ns",
			 (json_int_t)r->recovery_ns, "open_ns", (json_int_t)r->open_ns);
}

static void recovery_print(const struct pmpt_recovery *r)
{
	printf("%slast open%s\n", paint(BOLD), paint(PLAIN));
	printf("  log          %s read, %s redone, %s undone, %s torn\n",
	       counted(r->lines_scanned, "line"), counted(r->redone, "transaction"),
	       human_count(r->undone), human_count(r->torn));
	printf("  stored       %s in %s\n", counted(r->words, "word"), counted(r->pages, "page"));
	printf("  time         %.2f ms, of it recovery %.2f ms\n", (double)r->open_ns / 1e6,
	       (double)r->recovery_ns / 1e6);
}

/* Somebody has it open: what a look at the file shows. */
static int info_live(const char *path, bool json)
{
	struct pmpt_check sum = { 0 };
	int rc = pmpt_check(path, NULL, NULL, NULL, &sum);

	if (rc)
		return fail(rc, "%s: in use by another process", path);
	if (json) {
		return json_put(stdout, json_pack("{s:o,s:b,s:I,s:I,s:I,s:I,s:I,s:I}", "pool",
						  json_text(path), "live", 1, "spaces",
						  (json_int_t)sum.spaces, "frames_table",
						  (json_int_t)sum.tables, "frames_data",
						  (json_int_t)sum.data_frames, "frames_free",
						  (json_int_t)sum.free_frames, "leaves",
						  (json_int_t)sum.leaves, "findings",
						  (json_int_t)sum.findings));
	}
	printf("%s%s%s: in use by another process; read from the file:\n", paint(BOLD), path,
	       paint(PLAIN));
	printf("  spaces       %s, %s mapped\n", human_count(sum.spaces),
	       counted(sum.leaves, "page"));
	printf("  frames       %s tables, %s data, %s free\n", human_count(sum.tables),
	       human_count(sum.data_frames), human_count(sum.free_frames));
	printf("  check        %s\n", counted(sum.findings, "finding"));
	return EXIT_OK;
}

static void info_print(const char *path, const struct pmpt_stats *st)
{
	printf("%s%s%s\n", paint(BOLD), path, paint(PLAIN));
	printf("  size         %s\n", human_bytes(st->pool_bytes));
	printf("  medium       %s\n", medium_text(st->medium));
	printf("  extents      %s taken, %s%s\n", human_count(st->extents),
	       counted(st->frames, "frame"), grows(st));
	printf("  spaces       %s\n", human_count(st->spaces));
	printf("  log          %s lanes of %s, bulk lane %s\n", human_count(st->lanes),
	       human_bytes(st->lane_lines * 64), human_bytes(st->bulk_lines * 64));
	printf("  last LSN     %s, home up to %s\n", human_count(st->lsn),
	       human_count(st->checkpoint_lsn));
}

static int run_info(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	struct pmpt_recovery rec = { 0 };
	struct pmpt_stats st = { 0 };
	pmpt_pool *pool;
	int rc, code;

	(void)options(cmd, opts, argc, argv, 1, 1);
	code = open_pool(argv[0], &pool, &rc);
	if (code)
		return rc == PMPT_E_IN_USE ? info_live(argv[0], json) : code;
	rc = pmpt_stats(pool, &st);
	if (!rc)
		rc = pmpt_recovery_report(pool, &rec);
	if (rc)
		return close_pool(pool, NULL, fail(rc, "%s", argv[0]));
	if (json) {
		code = json_put(stdout,
				json_pack("{s:o,s:b,s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}",
					  "pool", json_text(argv[0]), "live", 0, "bytes",
					  (json_int_t)st.pool_bytes, "medium",
					  medium_text(st.medium), "extents", (json_int_t)st.extents,
					  "frames", (json_int_t)st.frames, "spaces",
					  (json_int_t)st.spaces, "lanes", (json_int_t)st.lanes,
					  "lane_lines", (json_int_t)st.lane_lines, "bulk_lines",
					  (json_int_t)st.bulk_lines, "lsn", (json_int_t)st.lsn,
					  "checkpoint_lsn", (json_int_t)st.checkpoint_lsn,
					  "recovery", recovery_json(&rec)));
	} else {
		info_print(argv[0], &st);
		recovery_print(&rec);
	}
	return close_pool(pool, NULL, code);
}

const struct command command_info = {
	.name = "info",
	.synopsis = "pmpt info [--json] POOL",
	.brief = "what a pool is, and what opening it recovered",
	.text = "Open a pool, which recovers it, and tell its size, medium, log, and what recovery\n"
		"found.  Of a pool that another process has open, tell what its file shows.\n",
	.example = "pmpt info --json /dev/shm/pool | jq .recovery.redone",
	.run = run_info,
};

/* ---- stat ------------------------------------------------------------------------------------ */

static void stat_row(const char *name, uint64_t frames, uint64_t all, enum color color)
{
	static const char bar[] = "##############################";
	int n = all ? (int)(frames * 30 / all) : 0;

	printf("  %-9s %12s  %10s  %s%.*s%s\n", name, human_count(frames),
	       human_bytes(frames * PMPT_PAGE_BYTES), paint(color), frames && !n ? 1 : n, bar,
	       paint(PLAIN));
}

static int run_stat(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	struct pmpt_stats st = { 0 };
	pmpt_pool *pool;
	int rc, code;

	(void)options(cmd, opts, argc, argv, 1, 1);
	code = open_pool(argv[0], &pool, NULL);
	if (code)
		return code;
	rc = pmpt_stats(pool, &st);
	if (rc)
		return close_pool(pool, NULL, fail(rc, "%s", argv[0]));
	if (json) {
		code = json_put(stdout,
				json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "pool",
					  json_text(argv[0]), "bytes", (json_int_t)st.pool_bytes,
					  "frames", (json_int_t)st.frames, "frames_reserved",
					  (json_int_t)st.frames_reserved, "frames_table",
					  (json_int_t)st.frames_table, "frames_data",
					  (json_int_t)st.frames_data, "frames_free",
					  (json_int_t)st.frames_free, "spaces",
					  (json_int_t)st.spaces, "volatile_bytes",
					  (json_int_t)st.volatile_bytes));
	} else {
		printf("%s%s%s  %s of 4 KiB%s; %s\n", paint(BOLD), argv[0], paint(PLAIN),
		       counted(st.frames, "frame"), grows(&st), counted(st.spaces, "space"));
		stat_row("reserved", st.frames_reserved, st.frames, DIM);
		stat_row("tables", st.frames_table, st.frames, BLUE);
		stat_row("data", st.frames_data, st.frames, YELLOW);
		stat_row("free", st.frames_free, st.frames, GREEN);
	}
	return close_pool(pool, NULL, code);
}

const struct command command_stat = {
	.name = "stat",
	.synopsis = "pmpt stat [--json] POOL",
	.brief = "how a pool's frames are used",
	.text = "Count the frames of a pool: reserved (log, directory, descriptors), page tables,\n"
		"data, free.\n",
	.example = "pmpt stat /dev/shm/pool",
	.run = run_stat,
};

/* ---- space ----------------------------------------------------------------------------------- */

static int space_row(pmpt_pool *pool, const char *name, json_t *list)
{
	struct runs runs = { 0 };
	pmpt_space *space;
	uint64_t bytes = 0;
	int rc = pmpt_space_open(pool, name, &space);

	if (rc)
		return rc;
	rc = runs_walk(&runs, space, 0, 0, false);
	for (size_t i = 0; i < runs.n; i++)
		bytes += run_bytes(&runs.run[i]);
	if (!rc && list)
		(void)json_array_append_new(
			list, json_pack("{s:o,s:I,s:I,s:I}", "name", json_text(name), "pages",
					(json_int_t)runs.pages, "bytes", (json_int_t)bytes,
					"ranges", (json_int_t)runs.n));
	else if (!rc)
		printf("%12s  %10s  %8s  %s\n", human_count(runs.pages), human_bytes(bytes),
		       human_count(runs.n), name);
	pmpt_space_close(space);
	runs_free(&runs);
	return rc;
}

static int space_list(pmpt_pool *pool, bool json)
{
	json_t *list = json ? json_array() : NULL;
	char **name = NULL;
	size_t n = 0;
	int code = space_names(pool, &name, &n), rc = 0;

	if (!code && !json)
		printf("%s%12s  %10s  %8s  NAME%s\n", paint(BOLD), "PAGES", "SIZE", "RANGES",
		       paint(PLAIN));
	for (size_t i = 0; i < n && !code && !rc; i++) {
		rc = space_row(pool, name[i], list);
		if (rc)
			code = fail(rc, "'%s'", name[i]);
	}
	names_free(name);
	if (json && !code)
		return json_put(stdout, json_pack("{s:o}", "spaces", list));
	json_decref(list);
	return code;
}

enum space_verb { SPACE_LS, SPACE_CREATE, SPACE_RM, SPACE_RENAME };

static enum space_verb space_verb(const struct command *cmd, const char *word)
{
	static const char *const name[] = { "ls", "create", "rm", "rename" };

	for (unsigned v = SPACE_LS; v <= SPACE_RENAME; v++)
		if (!strcmp(word, name[v]))
			return (enum space_verb)v;
	usage_error(cmd, "'%s': ls, create, rm or rename is expected", word);
}

static int space_done(enum space_verb verb, const char *name, const char *to, bool json)
{
	static const char *const done[] = { "listed", "created", "removed", "renamed" };
	json_t *o;

	if (!json) {
		printf("%s space '%s'%s%s%s\n", done[verb], name, to ? " to '" : "", to ? to : "",
		       to ? "'" : "");
		return EXIT_OK;
	}
	o = json_pack("{s:s,s:o}", "done", done[verb], "space", json_text(name));
	if (o && to)
		(void)json_object_set_new(o, "to", json_text(to));
	return json_put(stdout, o);
}

static int run_space(const struct command *cmd, int argc, char **argv)
{
	static const int operands[] = { 2, 3, 3, 4 };
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 2, 4), rc = 0, code;
	pmpt_space *space = NULL;
	pmpt_pool *pool;
	enum space_verb verb = space_verb(cmd, argv[0]);

	if (n != operands[verb])
		usage_error(cmd, "%s takes %d operands", argv[0], operands[verb] - 1);
	code = open_pool(argv[1], &pool, NULL);
	if (code)
		return code;
	if (verb == SPACE_LS)
		code = space_list(pool, json);
	else if (verb == SPACE_CREATE)
		rc = pmpt_space_create(pool, argv[2], &space);
	else if (verb == SPACE_RM)
		rc = pmpt_space_delete(pool, argv[2]);
	else
		rc = pmpt_space_rename(pool, argv[2], argv[3]);
	if (rc)
		code = fail(rc, "%s: '%s'", argv[1], argv[2]);
	else if (verb != SPACE_LS)
		code = space_done(verb, argv[2], verb == SPACE_RENAME ? argv[3] : NULL, json);
	return close_pool(pool, space, code);
}

const struct command command_space = {
	.name = "space",
	.synopsis = "pmpt space ls [--json] POOL\n"
		    "pmpt space create [--json] POOL NAME\n"
		    "pmpt space rm [--json] POOL NAME\n"
		    "pmpt space rename [--json] POOL FROM TO",
	.brief = "list, create, remove, rename address spaces",
	.text = "Each change is atomic, and durable when the command returns.\n",
	.example = "pmpt space create /dev/shm/pool editor",
	.run = run_space,
};
