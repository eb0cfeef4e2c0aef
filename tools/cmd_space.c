/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_space -- space, snapshot: the address spaces of a pool by their names. */
#include <string.h>

#include "tool.h"

/* ---- lists ----------------------------------------------------------------------------------- */

struct list {
	pmpt_pool *pool;
	pmpt_view *view;
	bool snapshots; /* those alone */
	json_t *json;   /* NULL: a table on standard output */
};

static json_t *row_json(const pmpt_space *space, const struct runs *runs, uint64_t bytes,
			const struct pmpt_space_info *info)
{
	const char *name = pmpt_space_name(space);
	bool wx = pmpt_space_policy(space) & PMPT_POLICY_WX;

	return json_pack(
		"{s:o,s:I,s:I,s:I,s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "name", json_text(name),
		"pages", (json_int_t)runs->pages, "bytes", (json_int_t)bytes, "ranges",
		(json_int_t)runs->n, "snapshot", info->snapshot, "policy", wx ? "wx" : "none",
		"own_bytes", (json_int_t)info->own_bytes, "shared_bytes",
		(json_int_t)info->shared_bytes, "ext_bytes", (json_int_t)info->ext_bytes,
		"out_bytes", (json_int_t)info->out_bytes, "tables", (json_int_t)info->tables,
		"tables_shared", (json_int_t)info->tables_shared);
}

static void row_print(const pmpt_space *space, const struct runs *runs, uint64_t bytes,
		      const struct pmpt_space_info *info)
{
	bool wx = pmpt_space_policy(space) & PMPT_POLICY_WX;

	printf("%12s  %10s  %8s  %10s  %10s  %s%s%s%s%s\n", human_count(runs->pages),
	       human_bytes(bytes), human_count(runs->n), human_bytes(info->own_bytes),
	       human_bytes(info->shared_bytes), pmpt_space_name(space), paint(DIM),
	       info->snapshot ? "  (snapshot)" : "", wx ? "  (W^X)" : "", paint(PLAIN));
}

static int list_row(const struct list *list, const char *name)
{
	struct pmpt_space_info info = { 0 };
	struct runs runs = { 0 };
	pmpt_space *space;
	uint64_t bytes = 0;
	int rc = pmpt_space_open(list->pool, name, &space);

	if (rc)
		return rc;
	rc = pmpt_space_info(space, &info);
	if (!rc && (info.snapshot || !list->snapshots)) {
		rc = runs_walk(&runs, list->view, space, 0, 0, false);
		for (size_t i = 0; i < runs.n; i++)
			bytes += run_bytes(&runs.run[i]);
		if (!rc && list->json)
			(void)json_array_append_new(list->json,
						    row_json(space, &runs, bytes, &info));
		else if (!rc)
			row_print(space, &runs, bytes, &info);
	}
	pmpt_space_close(space);
	runs_free(&runs);
	return rc;
}

static int list_spaces(pmpt_pool *pool, bool snapshots, bool json)
{
	struct list list = { .pool = pool, .snapshots = snapshots };
	char **name = NULL;
	size_t n = 0;
	int code = space_names(pool, &name, &n), rc = 0;

	if (!code)
		rc = pmpt_view_open(pool, &list.view);
	if (rc)
		code = fail(rc, "list of spaces");
	list.json = json ? json_array() : NULL;
	if (!code && !json)
		printf("%s%12s  %10s  %8s  %10s  %10s  NAME%s\n", paint(BOLD), "PAGES", "SIZE",
		       "RANGES", "OWN", "SHARED", paint(PLAIN));
	for (size_t i = 0; i < n && !code; i++) {
		rc = list_row(&list, name[i]);
		if (rc)
			code = fail(rc, "'%s'", name[i]);
	}
	pmpt_view_close(list.view);
	names_free(name);
	if (json && !code)
		return json_put(stdout,
				json_pack("{s:o}", snapshots ? "snapshots" : "spaces", list.json));
	json_decref(list.json);
	return code;
}

/* ---- space ----------------------------------------------------------------------------------- */

enum space_verb { SPACE_LS, SPACE_CREATE, SPACE_FORK, SPACE_RM, SPACE_RENAME };
static const char *const space_verbs[] = { "ls", "create", "fork", "rm", "rename", NULL };

static int space_done(const char *done, const char *name, const char *to, bool json)
{
	json_t *o;

	if (!json && !strcmp(done, "snapshot")) {
		printf("took snapshot '%s' of space '%s'\n", to, name);
		return EXIT_OK;
	}
	if (!json) {
		printf("%s space '%s'%s%s%s\n", done, name, to ? " to '" : "", to ? to : "",
		       to ? "'" : "");
		return EXIT_OK;
	}
	o = json_pack("{s:s,s:o}", "done", done, "space", json_text(name));
	if (o && to)
		(void)json_object_set_new(o, "to", json_text(to));
	return json_put(stdout, o);
}

/* Fork a space, or take a snapshot, and tell it. */
static int fork_space(pmpt_pool *pool, const char *path, const char *from, const char *to,
		      bool snapshot, bool json)
{
	pmpt_space *space;
	int rc = pmpt_space_open(pool, from, &space);

	if (rc)
		return fail(rc, "%s: '%s'", path, from);
	rc = pmpt_space_fork(space, to, snapshot ? PMPT_FORK_SNAPSHOT : 0, NULL);
	pmpt_space_close(space);
	if (rc)
		return fail(rc, "%s: '%s'", path, to);
	return space_done(snapshot ? "snapshot" : "forked", from, to, json);
}

static int space_do(pmpt_pool *pool, enum space_verb verb, char **argv, bool json)
{
	static const char *const done[] = { "listed", "created", "forked", "removed", "renamed" };
	pmpt_space *space = NULL;
	int rc = 0;

	if (verb == SPACE_CREATE)
		rc = pmpt_space_create(pool, argv[2], &space);
	else if (verb == SPACE_RM)
		rc = pmpt_space_delete(pool, argv[2]);
	else
		rc = pmpt_space_rename(pool, argv[2], argv[3]);
	if (rc)
		return fail(rc, "%s: '%s'", argv[1], argv[2]);
	if (space)
		pmpt_space_close(space);
	return space_done(done[verb], argv[2], verb == SPACE_RENAME ? argv[3] : NULL, json);
}

static int run_space(const struct command *cmd, int argc, char **argv)
{
	static const int operands[] = { 2, 3, 4, 3, 4 };
	bool json = false, snapshot = false;
	const struct opt opts[] = { { "snapshot", 0, OPT_FLAG, &snapshot, NULL,
				      "fork: a read-only one" },
				    { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 2, 4), code;
	enum space_verb verb = (enum space_verb)operand_word(cmd, space_verbs, argv[0]);
	pmpt_pool *pool;

	if (n != operands[verb])
		usage_error(cmd, "%s takes %d operands", argv[0], operands[verb] - 1);
	if (snapshot && verb != SPACE_FORK)
		usage_error(cmd, "--snapshot is for fork");
	code = open_pool(argv[1], &pool, NULL);
	if (code)
		return code;
	if (verb == SPACE_LS)
		code = list_spaces(pool, false, json);
	else if (verb == SPACE_FORK)
		code = fork_space(pool, argv[1], argv[2], argv[3], snapshot, json);
	else
		code = space_do(pool, verb, argv, json);
	return close_pool(pool, NULL, code);
}

const struct command command_space = {
	.name = "space",
	.synopsis = "pmpt space ls [--json] POOL\n"
		    "pmpt space create [--json] POOL NAME\n"
		    "pmpt space fork [--snapshot] [--json] POOL FROM NAME\n"
		    "pmpt space rm [--json] POOL NAME\n"
		    "pmpt space rename [--json] POOL FROM TO",
	.brief = "list, create, fork, remove, rename address spaces",
	.text = "Each change is atomic, and durable when the command returns.\n"
		"fork: a clone, copy on write; it copies one table, whatever is mapped.\n"
		"ls: OWN is what the space has alone, which removing it frees; SHARED is in frames that\n"
		"forks, segments or other mappings have, too.\n",
	.example = "pmpt space create /dev/shm/pool editor\n"
		   "pmpt space fork /dev/shm/pool editor draft",
	.run = run_space,
};

/* ---- snapshot -------------------------------------------------------------------------------- */

static int run_snapshot(const struct command *cmd, int argc, char **argv)
{
	static const char *const verbs[] = { "ls", "create", NULL };
	static const int operands[] = { 2, 4 };
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 2, 4), code;
	unsigned verb = operand_word(cmd, verbs, argv[0]);
	pmpt_pool *pool;

	if (n != operands[verb])
		usage_error(cmd, "%s takes %d operands", argv[0], operands[verb] - 1);
	code = open_pool(argv[1], &pool, NULL);
	if (code)
		return code;
	code = verb ? fork_space(pool, argv[1], argv[2], argv[3], true, json)
		    : list_spaces(pool, true, json);
	return close_pool(pool, NULL, code);
}

const struct command command_snapshot = {
	.name = "snapshot",
	.synopsis = "pmpt snapshot create [--json] POOL SPACE NAME\n"
		    "pmpt snapshot ls [--json] POOL",
	.brief = "take read-only snapshots of a space, list them",
	.text = "A snapshot is a fork that cannot be changed: it copies one table, and shares the rest\n"
		"until SPACE changes it.  It is a space like others for the commands that read; 'space\n"
		"fork' makes a writable one of it, 'space rm' removes it.\n",
	.example = "pmpt snapshot create /dev/shm/pool editor editor-monday",
	.run = run_snapshot,
};
