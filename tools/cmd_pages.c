/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_pages -- map, unmap, protect, walk: the pages of one space. */
#include <string.h>

#include "tool.h"

/* ---- changing -------------------------------------------------------------------------------- */

struct change {
	pmpt_space *space;
	uint64_t va, bytes;
	uint64_t count, pfn; /* map */
	unsigned flags;      /* map, protect */
};

static int do_map(void *ctx, pmpt_tx *tx)
{
	const struct change *c = ctx;

	return pmpt_map(tx, c->space, c->va, c->count, c->pfn, c->flags);
}

static int do_unmap(void *ctx, pmpt_tx *tx)
{
	const struct change *c = ctx;

	return pmpt_unmap(tx, c->space, c->va, c->bytes);
}

static int do_protect(void *ctx, pmpt_tx *tx)
{
	const struct change *c = ctx;

	return pmpt_protect(tx, c->space, c->va, c->bytes, c->flags);
}

static int change(const char *path, const char *name, struct change *c, const char *done,
		  int (*fn)(void *ctx, pmpt_tx *tx), bool json)
{
	uint64_t lsn = 0;
	pmpt_pool *pool;
	int code = open_space(path, name, &pool, &c->space), rc;

	if (code)
		return code;
	rc = in_transaction(pool, fn, c, &lsn);
	if (rc)
		code = fail(rc, "%s: '%s'", path, name);
	else if (json)
		code = json_put(stdout, json_pack("{s:s,s:o,s:o,s:I,s:I}", "done", done, "space",
						  json_text(name), "va", json_hex(c->va), "bytes",
						  (json_int_t)c->bytes, "lsn", (json_int_t)lsn));
	else
		printf("%s %#" PRIx64 "-0x%s (%s), LSN %" PRIu64 "\n", done, c->va,
		       end_text(c->va, c->bytes, 1), human_bytes(c->bytes), lsn);
	return close_pool(pool, c->space, code);
}

static int run_map(const struct command *cmd, int argc, char **argv)
{
	bool ext = false, alloc = false, zero = false, demand = false, replace = false, m2 = false,
	     g1 = false, global = false, json = false;
	uint64_t pfn = PMPT_PFN_ALLOC, tag = 0, pkey = 0;
	struct change c = { .flags = PMPT_R | PMPT_W };
	const struct opt opts[] = {
		{ "prot", 'p', OPT_PROT, &c.flags, "RWXU", "permissions, letters of rwxu (rw)" },
		{ "alloc", 0, OPT_FLAG, &alloc, NULL, "take free frames of the pool (default)" },
		{ "zero", 0, OPT_FLAG, &zero, NULL, "fill them with zeros" },
		{ "demand", 0, OPT_FLAG, &demand, NULL,
		  "demand-zero: a page takes a frame when it is first used" },
		{ "pfn", 0, OPT_COUNT, &pfn, "N",
		  "first frame: one mapped already, or with --ext" },
		{ "ext", 0, OPT_FLAG, &ext, NULL, "the frames are not the pool's" },
		{ "2m", 0, OPT_FLAG, &m2, NULL, "pages of 2 MiB" },
		{ "1g", 0, OPT_FLAG, &g1, NULL, "pages of 1 GiB" },
		{ "replace", 0, OPT_FLAG, &replace, NULL, "replace what is mapped there" },
		{ "global", 0, OPT_FLAG, &global, NULL, "set the global bit" },
		{ "tag", 0, OPT_COUNT, &tag, "N", "user bits, 0 to 15" },
		{ "pkey", 0, OPT_COUNT, &pkey, "N", "protection key, 0 to 15" },
		{ "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
		OPT_END
	};

	(void)options(cmd, opts, argc, argv, 4, 4);
	c.va = operand(cmd, "VA", argv[2]);
	c.count = operand(cmd, "COUNT", argv[3]);
	c.pfn = pfn;
	if (alloc && (ext || pfn != PMPT_PFN_ALLOC))
		usage_error(cmd, "--alloc goes with neither --pfn nor --ext");
	if (ext && pfn == PMPT_PFN_ALLOC)
		usage_error(cmd, "--ext needs --pfn");
	if ((zero || demand) && pfn != PMPT_PFN_ALLOC)
		usage_error(cmd, "--zero and --demand are for allocated frames");
	if (m2 && g1)
		usage_error(cmd, "--2m and --1g exclude each other");
	if (tag > 15 || pkey > 15)
		usage_error(cmd, "--tag and --pkey are 0 to 15");
	if (c.count > 1ull << 36)
		usage_error(cmd, "COUNT: an address space has 2^36 pages");
	c.flags |= (ext ? PMPT_EXT : 0) | (zero ? PMPT_ZERO : 0) | (demand ? PMPT_DEMAND : 0) |
		   (replace ? PMPT_REPLACE : 0) | (m2 ? PMPT_2M : 0) | (g1 ? PMPT_1G : 0) |
		   (global ? PMPT_G : 0) | PMPT_TAG(tag) | PMPT_PKEY(pkey);
	c.bytes = c.count << (g1 ? 30 : m2 ? 21 : 12);
	return change(argv[0], argv[1], &c, "mapped", do_map, json);
}

const struct command command_map = {
	.name = "map",
	.synopsis = "pmpt map [OPTION]... POOL SPACE VA COUNT",
	.brief = "map pages, atomically and durably",
	.text = "Map COUNT pages from address VA on, in one transaction.\n",
	.example = "pmpt map --prot rwu --zero /dev/shm/pool editor 0x10000000 512\n"
		   "pmpt map --ext --pfn 0xfd000 --2m /dev/shm/pool editor 1G 8",
	.run = run_map,
};

static int run_unmap(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	struct change c = { 0 };

	(void)options(cmd, opts, argc, argv, 4, 4);
	c.va = operand(cmd, "VA", argv[2]);
	c.bytes = operand(cmd, "LEN", argv[3]);
	return change(argv[0], argv[1], &c, "unmapped", do_unmap, json);
}

const struct command command_unmap = {
	.name = "unmap",
	.synopsis = "pmpt unmap [--json] POOL SPACE VA LEN",
	.brief = "unmap a range",
	.text = "Unmap LEN bytes from address VA on, in one transaction; holes are allowed.\n",
	.example = "pmpt unmap /dev/shm/pool editor 0x10000000 2M",
	.run = run_unmap,
};

static int run_protect(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	struct change c = { 0 };

	(void)options(cmd, opts, argc, argv, 5, 5);
	c.va = operand(cmd, "VA", argv[2]);
	c.bytes = operand(cmd, "LEN", argv[3]);
	if (!parse_prot(argv[4], &c.flags))
		usage_error(cmd, "'%s': letters of rwxu, r among them, are expected", argv[4]);
	return change(argv[0], argv[1], &c, "protected", do_protect, json);
}

const struct command command_protect = {
	.name = "protect",
	.synopsis = "pmpt protect [--json] POOL SPACE VA LEN RWXU",
	.brief = "set the permissions of a range",
	.text = "Set the permissions of LEN bytes from address VA on, in one transaction; every page\n"
		"must be mapped.  RWXU: letters of r, w, x, u; r is needed.\n",
	.example = "pmpt protect /dev/shm/pool editor 0x10000000 64k r-x",
	.run = run_protect,
};

/* ---- walk ------------------------------------------------------------------------------------ */

static json_t *run_json(const struct run *r)
{
	static const struct {
		unsigned flag;
		const char *key;
	} states[] = { { PMPT_DEMAND, "demand" },
		       { PMPT_OUT, "out" },
		       { PMPT_COW, "cow" },
		       { PMPT_SHARED, "segment" } };
	char prot[5];
	json_t *o = json_pack(
		"{s:o,s:o,s:I,s:I,s:I,s:I,s:s,s:b,s:b,s:I,s:I}", "va", json_hex(r->va), "end",
		json_hex(r->va + run_bytes(r)), "size", (json_int_t)r->page_bytes, "count",
		(json_int_t)r->count, "pfn", (json_int_t)r->pfn, "pieces", (json_int_t)r->pieces,
		"prot", prot_text(r->flags, prot), "ext", (r->flags & PMPT_EXT) != 0, "global",
		(r->flags & PMPT_G) != 0, "tag", (json_int_t)PMPT_TAG_OF(r->flags), "pkey",
		(json_int_t)PMPT_PKEY_OF(r->flags));

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (r->flags & states[i].flag)
			(void)json_object_set_new(o, states[i].key, json_true());
	}
	return o;
}

static void print_run(const struct run *r, const char *trunk, bool last)
{
	char prot[5];

	printf("%s%s%s%016" PRIx64 "-%s%s %10s  %s%s%s %s  ", trunk, tree_branch(last), paint(CYAN),
	       r->va, end_text(r->va, run_bytes(r), 16), paint(PLAIN), human_bytes(run_bytes(r)),
	       paint(r->flags & PMPT_X   ? YELLOW
		     : r->flags & PMPT_W ? GREEN
					 : PLAIN),
	       prot_text(r->flags, prot), paint(PLAIN), page_size_name(r->page_bytes));
	if (r->flags & PMPT_DEMAND)
		printf("demand-zero");
	else if (r->flags & PMPT_OUT)
		printf("out, in the swap file");
	else
		printf("%s %#" PRIx64, r->flags & PMPT_EXT ? "ext " : "pool", r->pfn);
	if (r->pieces > 1)
		printf(" in %s pieces", human_count(r->pieces));
	if (PMPT_TAG_OF(r->flags))
		printf(" tag %u", PMPT_TAG_OF(r->flags));
	if (PMPT_PKEY_OF(r->flags))
		printf(" pkey %u", PMPT_PKEY_OF(r->flags));
	printf("%s%s%s\n", r->flags & PMPT_G ? " global" : "",
	       r->flags & PMPT_COW ? " copy-on-write" : "",
	       r->flags & PMPT_SHARED ? " segment" : "");
}

/* The last run of those from i on that lie in the same 512 GiB: one entry of the top table. */
static size_t top_group(const struct runs *runs, size_t i, uint64_t *bytes)
{
	uint64_t slot = runs->run[i].va >> 39;
	size_t end = i;

	for (*bytes = 0; end < runs->n && runs->run[end].va >> 39 == slot; end++)
		*bytes += run_bytes(&runs->run[end]);
	return end;
}

static void print_group(const struct runs *runs, size_t i, size_t end, uint64_t limit, bool last)
{
	size_t stop = end - i > limit ? i + limit : end;

	for (; i < stop; i++)
		print_run(&runs->run[i], tree_trunk(last), i + 1 == end);
	if (stop < end)
		printf("%s%s%s... and %s more%s\n", tree_trunk(last), tree_branch(true), paint(DIM),
		       human_count(end - stop), paint(PLAIN));
}

static void print_tree(const char *name, const struct runs *runs, uint64_t limit)
{
	uint64_t all = 0, bytes = 0;

	for (size_t i = 0; i < runs->n; i++)
		all += run_bytes(&runs->run[i]);
	printf("%s%s%s  %s, %s in %s\n", paint(BOLD), name, paint(PLAIN),
	       counted(runs->pages, "page"), human_bytes(all), counted(runs->n, "range"));
	for (size_t i = 0, end; i < runs->n; i = end) {
		end = top_group(runs, i, &bytes);
		printf("%s%sentry %u of the top table%s, %s in %s\n", tree_branch(end == runs->n),
		       paint(BOLD), (unsigned)(runs->run[i].va >> 39 & 511), paint(PLAIN),
		       human_bytes(bytes), counted(end - i, "range"));
		print_group(runs, i, end, limit, end == runs->n);
	}
}

static int run_walk(const struct command *cmd, int argc, char **argv)
{
	bool json = false, frames = false;
	uint64_t va = 0, len = 0, limit = UINT64_MAX;
	const struct opt opts[] = {
		{ "va", 0, OPT_COUNT, &va, "VA", "begin there" },
		{ "len", 0, OPT_COUNT, &len, "BYTES", "so far (to the end)" },
		{ "frames", 0, OPT_FLAG, &frames, NULL, "merge only where frames are contiguous" },
		{ "limit", 0, OPT_COUNT, &limit, "N", "N ranges of each entry of the top table" },
		{ "json", 0, OPT_FLAG, &json, NULL, "print a JSON object for each range" },
		OPT_END
	};
	struct runs runs = { 0 };
	pmpt_view *view = NULL;
	pmpt_space *space;
	pmpt_pool *pool;
	int code, rc;

	(void)options(cmd, opts, argc, argv, 2, 2);
	code = open_space(argv[0], argv[1], &pool, &space);
	if (code)
		return code;
	rc = pmpt_view_open(pool, &view);
	if (!rc)
		rc = runs_walk(&runs, view, space, va, len, frames);
	pmpt_view_close(view);
	if (rc)
		code = fail(rc, "%s: '%s'", argv[0], argv[1]);
	else if (!json)
		print_tree(argv[1], &runs, limit);
	for (size_t i = 0; json && !code && i < runs.n; i++)
		code = json_put(stdout, run_json(&runs.run[i]));
	runs_free(&runs);
	return close_pool(pool, space, code);
}

const struct command command_walk = {
	.name = "walk",
	.synopsis = "pmpt walk [--va VA] [--len BYTES] [OPTION]... POOL SPACE",
	.brief = "show what a space maps",
	.text = "Show the mapped ranges of a space in a tree: addresses, size, permissions (r, w, x,\n"
		"and u for user mode), page size, whether the frames are the pool's or external, and\n"
		"the first frame; whether the pages are demand-zero, out in the swap file, copied when\n"
		"they are written (after a fork), or a segment's.  Neighbours with the same attributes\n"
		"are merged.\n",
	.example = "pmpt walk --va 0x7f0000000000 --len 1G /dev/shm/pool editor",
	.run = run_walk,
};
