/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_dump -- dump: spaces as JSON lines, for restore.  Format: dump.h. */
#include "dump.h"

static json_t *header(const pmpt_view *view, const pmpt_space *space)
{
	json_t *user = json_array();

	for (unsigned i = 0; i < PMPT_USER_WORDS; i++) {
		uint64_t value = 0;

		(void)pmpt_view_user_get(view, space, i, &value); /* the walk has told errors */
		(void)json_array_append_new(user, json_hex(value));
	}
	return json_pack("{s:i,s:s,s:o,s:o}", "pmpt_dump", DUMP_FORMAT, "version", pmpt_version(),
			 "space", json_text(pmpt_space_name(space)), "user", user);
}

static const char *frames_text(unsigned flags)
{
	return flags & PMPT_SHARED   ? "segment"
	       : flags & PMPT_EXT    ? "ext"
	       : flags & PMPT_DEMAND ? "demand"
	       : flags & PMPT_OUT    ? "out"
				     : "alloc";
}

static json_t *line(const struct run *r)
{
	static const struct {
		unsigned flag;
		const char *key;
	} bits[] = { { PMPT_G, "global" }, { PMPT_PWT, "pwt" }, { PMPT_PCD, "pcd" } };
	char prot[5];
	json_t *o = json_pack("{s:o,s:I,s:I,s:I,s:s,s:s}", "va", json_hex(r->va), "size",
			      (json_int_t)r->page_bytes, "count", (json_int_t)r->count, "pfn",
			      (json_int_t)r->pfn, "frames", frames_text(r->flags), "prot",
			      prot_text(r->flags, prot));

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (r->flags & bits[i].flag)
			(void)json_object_set_new(o, bits[i].key, json_true());
	}
	if (PMPT_TAG_OF(r->flags))
		(void)json_object_set_new(o, "tag", json_integer(PMPT_TAG_OF(r->flags)));
	if (PMPT_PKEY_OF(r->flags))
		(void)json_object_set_new(o, "pkey", json_integer(PMPT_PKEY_OF(r->flags)));
	return o;
}

/* pages: in and out, a sum. */
static int dump_space(pmpt_pool *pool, const pmpt_view *view, const char *name, FILE *to,
		      uint64_t *pages)
{
	struct runs runs = { .ignore = PMPT_COW };
	struct progress progress;
	pmpt_space *space;
	int rc = pmpt_space_open(pool, name, &space), code;

	if (rc)
		return fail(rc, "'%s'", name);
	rc = runs_walk(&runs, view, space, 0, 0, true);
	code = rc ? fail(rc, "'%s'", name) : json_put(to, header(view, space));
	progress_start(&progress, name, "runs", runs.n);
	for (size_t i = 0; i < runs.n && !code && !ferror(to); i++) {
		code = json_put(to, line(&runs.run[i]));
		progress_to(&progress, i);
	}
	progress_end(&progress);
	if (!code)
		code = json_put(to, json_pack("{s:o,s:I}", "end", json_text(name), "pages",
					      (json_int_t)runs.pages));
	*pages += runs.pages;
	runs_free(&runs);
	pmpt_space_close(space);
	return code;
}

static int dump_to(pmpt_pool *pool, char **name, size_t n, const char *path, bool json)
{
	struct output out;
	pmpt_view *view = NULL;
	uint64_t pages = 0;
	bool file;
	int code = output_open(&out, path), rc;

	if (code)
		return code;
	rc = pmpt_view_open(pool, &view); /* all spaces at one moment */
	if (rc)
		code = fail(rc, "dump");
	for (size_t i = 0; i < n && !code; i++)
		code = dump_space(pool, view, name[i], out.to, &pages);
	pmpt_view_close(view);
	file = out.temporary !=
	       NULL; /* not a pipe or a terminal, where more text would be in the way */
	code = output_close(&out, code);
	if (code || !(json ? path != NULL : file))
		return code;
	if (json)
		return json_put(stdout,
				json_pack("{s:o,s:I,s:I}", "file", json_text(path), "spaces",
					  (json_int_t)n, "pages", (json_int_t)pages));
	printf("dumped %s, %s to %s\n", counted(n, "space"), counted(pages, "page"), path);
	return EXIT_OK;
}

static int run_dump(const struct command *cmd, int argc, char **argv)
{
	const char *path = NULL;
	bool json = false;
	const struct opt opts[] = { { "output", 'o', OPT_TEXT, &path, "FILE",
				      "write there (standard output)" },
				    { "json", 0, OPT_FLAG, &json, NULL,
				      "with -o: print a JSON object about it (a dump is JSON)" },
				    OPT_END };
	int n_given = options(cmd, opts, argc, argv, 1, 1 + PMPT_SPACES_MAX) - 1, code;
	char **all = NULL;
	pmpt_pool *pool;
	size_t n = 0;

	code = open_pool(argv[0], &pool, NULL);
	if (code)
		return code;
	if (n_given)
		code = dump_to(pool, argv + 1, (size_t)n_given, path, json);
	else
		code = space_names(pool, &all, &n);
	if (!n_given && !code)
		code = dump_to(pool, all, n, path, json);
	names_free(all);
	return close_pool(pool, NULL, code);
}

const struct command command_dump = {
	.name = "dump",
	.synopsis = "pmpt dump [-o FILE] [--json] POOL [SPACE]...",
	.brief = "write spaces as JSON lines",
	.text = "Write the named spaces, or all, as JSON lines: for each a header (format, version,\n"
		"name, user words), a line for each run of pages, and an end; all of one moment.  What\n"
		"is in the frames is no part of it ('read' and 'backup' have that).  FILE appears when\n"
		"it is whole; what was there stays until then.\n"
		"Format: pmpt(1).\n",
	.example = "pmpt dump /dev/shm/pool editor | jq -c 'select(.va)'",
	.run = run_dump,
};
