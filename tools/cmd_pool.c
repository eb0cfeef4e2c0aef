/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_pool -- create, info, stat: a pool as a whole. */
#include <errno.h>
#include <stdlib.h>

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

/* What is in a pool, beyond its numbers. */
struct contents {
	pmpt_pool *pool;
	struct pmpt_swap_status swap;
	struct space_entry {
		const char *name;
		struct pmpt_space_info info;
	} * space;
	char **names;
	size_t n, n_snapshots;
	uint64_t segments, segment_bytes;
};

static int count_segment(void *ctx, const struct pmpt_segment *s)
{
	struct contents *c = ctx;

	c->segments++;
	c->segment_bytes += s->bytes;
	return 0;
}

static int look_at_spaces(struct contents *c)
{
	int rc = 0;

	for (size_t i = 0; i < c->n && !rc; i++) {
		pmpt_space *space;

		rc = pmpt_space_open(c->pool, c->names[i], &space);
		if (rc)
			break;
		c->space[i].name = c->names[i];
		rc = pmpt_space_info(space, &c->space[i].info);
		c->n_snapshots += c->space[i].info.snapshot;
		pmpt_space_close(space);
	}
	return rc;
}

static int look_inside(struct contents *c, const char *path)
{
	int code = space_names(c->pool, &c->names, &c->n), rc;

	if (code)
		return code;
	c->space = calloc(c->n + 1, sizeof(*c->space));
	rc = c->space ? look_at_spaces(c) : -ENOMEM;
	if (!rc)
		rc = pmpt_segment_list(c->pool, count_segment, c);
	if (!rc)
		rc = pmpt_swap_status(c->pool, &c->swap);
	return rc ? fail(rc, "%s", path) : EXIT_OK;
}

static void contents_free(struct contents *c)
{
	free(c->space);
	names_free(c->names);
}

static json_t *contents_json(const struct contents *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n; i++) {
		const struct pmpt_space_info *info = &c->space[i].info;

		(void)json_array_append_new(
			list, json_pack("{s:o,s:b,s:I,s:I,s:I,s:I,s:I}", "name",
					json_text(c->space[i].name), "snapshot", info->snapshot,
					"mapped_bytes", (json_int_t)info->mapped_bytes, "own_bytes",
					(json_int_t)info->own_bytes, "shared_bytes",
					(json_int_t)info->shared_bytes, "ext_bytes",
					(json_int_t)info->ext_bytes, "out_bytes",
					(json_int_t)info->out_bytes));
	}
	return list;
}

static json_t *swap_json(const struct pmpt_swap_status *s)
{
	if (!*s->path)
		return json_null();
	return json_pack("{s:o,s:I,s:I,s:b}", "file", json_text(s->path), "slots",
			 (json_int_t)s->slots, "used", (json_int_t)s->used, "usable",
			 !s->missing && !s->failed);
}

#define SPACES_SHOWN 10u

static void contents_print(const struct contents *c)
{
	if (*c->swap.path)
		printf("  swap         %s of %s used of %s%s\n", human_count(c->swap.used),
		       counted(c->swap.slots, "slot"), c->swap.path,
		       c->swap.missing || c->swap.failed ? ": lost, see 'pmpt swap status'" : "");
	if (c->segments)
		printf("  segments     %s, %s\n", human_count(c->segments),
		       human_bytes(c->segment_bytes));
	printf("  spaces       %s", human_count(c->n));
	if (c->n_snapshots)
		printf(", of them %s", counted(c->n_snapshots, "snapshot"));
	putchar('\n');
	for (size_t i = 0; i < c->n && i < SPACES_SHOWN; i++) {
		const struct pmpt_space_info *info = &c->space[i].info;

		printf("    %s%s%s: %s in memory: %s own, %s shared, %s external%s\n", paint(BOLD),
		       c->space[i].name, paint(PLAIN), human_bytes(info->mapped_bytes),
		       human_bytes(info->own_bytes), human_bytes(info->shared_bytes),
		       human_bytes(info->ext_bytes), info->snapshot ? "; snapshot" : "");
		if (info->out_bytes)
			printf("      and %s out in the swap file\n", human_bytes(info->out_bytes));
	}
	if (c->n > SPACES_SHOWN)
		printf("    ... and %s more; 'pmpt space ls' shows all\n",
		       human_count(c->n - SPACES_SHOWN));
}

static void info_print(const char *path, const struct pmpt_stats *st)
{
	printf("%s%s%s\n", paint(BOLD), path, paint(PLAIN));
	printf("  size         %s\n", human_bytes(st->pool_bytes));
	printf("  medium       %s\n", medium_text(st->medium));
	printf("  extents      %s taken, %s%s\n", human_count(st->extents),
	       counted(st->frames, "frame"), grows(st));
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
	struct contents c = { 0 };
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
	c.pool = pool;
	code = look_inside(&c, argv[0]);
	if (!code && json) {
		code = json_put(
			stdout,
			json_pack("{s:o,s:b,s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:I,"
				  "s:I,s:I,s:o,s:o}",
				  "pool", json_text(argv[0]), "live", 0, "bytes",
				  (json_int_t)st.pool_bytes, "medium", medium_text(st.medium),
				  "extents", (json_int_t)st.extents, "frames",
				  (json_int_t)st.frames, "spaces", (json_int_t)st.spaces, "lanes",
				  (json_int_t)st.lanes, "lane_lines", (json_int_t)st.lane_lines,
				  "bulk_lines", (json_int_t)st.bulk_lines, "lsn",
				  (json_int_t)st.lsn, "checkpoint_lsn",
				  (json_int_t)st.checkpoint_lsn, "recovery", recovery_json(&rec),
				  "snapshots", (json_int_t)c.n_snapshots, "segments",
				  (json_int_t)c.segments, "segment_bytes",
				  (json_int_t)c.segment_bytes, "swap", swap_json(&c.swap), "list",
				  contents_json(&c)));
	} else if (!code) {
		info_print(argv[0], &st);
		contents_print(&c);
		recovery_print(&rec);
	}
	contents_free(&c);
	return close_pool(pool, NULL, code);
}

const struct command command_info = {
	.name = "info",
	.synopsis = "pmpt info [--json] POOL",
	.brief = "what a pool is, and what opening it recovered",
	.text = "Open a pool, which recovers it, and tell its size, medium, log, swap file, segments,\n"
		"how much each space has alone and shares, and what recovery found.  Of a pool that\n"
		"another process has open, tell what its file shows.\n",
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
				json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "pool",
					  json_text(argv[0]), "bytes", (json_int_t)st.pool_bytes,
					  "frames", (json_int_t)st.frames, "frames_reserved",
					  (json_int_t)st.frames_reserved, "frames_table",
					  (json_int_t)st.frames_table, "frames_data",
					  (json_int_t)st.frames_data, "frames_free",
					  (json_int_t)st.frames_free, "frames_held",
					  (json_int_t)st.frames_held, "spaces",
					  (json_int_t)st.spaces, "volatile_bytes",
					  (json_int_t)st.volatile_bytes));
	} else {
		printf("%s%s%s  %s of 4 KiB%s; %s\n", paint(BOLD), argv[0], paint(PLAIN),
		       counted(st.frames, "frame"), grows(&st), counted(st.spaces, "space"));
		stat_row("reserved", st.frames_reserved, st.frames, DIM);
		stat_row("tables", st.frames_table, st.frames, BLUE);
		stat_row("data", st.frames_data, st.frames, YELLOW);
		stat_row("free", st.frames_free, st.frames, GREEN);
		if (st.frames_held)
			stat_row("held", st.frames_held, st.frames, DIM);
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
