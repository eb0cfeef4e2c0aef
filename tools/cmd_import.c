/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_import -- import: the address space of a process, as a space of external frames.
 *
 * /proc/PID/maps gives ranges and permissions, /proc/PID/pagemap a word for each page: bit 63
 * present, bits 0-54 the frame number, which the kernel shows to CAP_SYS_ADMIN only and as 0
 * otherwise.  Then, and for recorded maps, frames are numbered in order of appearance.
 * SOURCES	proc(5); Documentation/admin-guide/mm/pagemap.rst
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_PFN     ((1ull << 55) - 1)
#define NO_PID          UINT64_MAX
#define PFN_LIMIT       (1ull << 40) /* an entry holds 40 bits of frame number */

struct import {
	const char *source; /* of the maps, for messages */
	FILE *maps;
	int pagemap; /* -1: none; every page counts */
	bool all;    /* also pages that are not present */
	bool true_pfn;
	uint64_t ranges, next_pfn;
	uint64_t no_access; /* pages of ranges without r, w and x: not mapped */
	uint64_t limit;     /* refuse to import more pages */
	struct runs runs;
	struct progress progress;
	pmpt_space *space;
};

/* ---- reading --------------------------------------------------------------------------------- */

struct range {
	uint64_t from, to;
	unsigned flags; /* 0: no access */
};

/* "55d0a000-55d0c000 r-xp 00002000 fe:00 1234   /usr/bin/x" */
static bool parse_range(const char *text, struct range *r)
{
	char perm[5] = "";

	if (sscanf(text, "%" SCNx64 "-%" SCNx64 " %4s ", &r->from, &r->to, perm) != 3 ||
	    strlen(perm) != 4 || strspn(perm, "rwxps-") != 4 || r->from >= r->to ||
	    r->from % PMPT_PAGE_BYTES || r->to % PMPT_PAGE_BYTES)
		return false;
	r->flags = (perm[1] == 'w' ? PMPT_W : 0) | (perm[2] == 'x' ? PMPT_X : 0);
	if (r->flags || perm[0] == 'r')
		r->flags |= PMPT_R | PMPT_U;
	return true;
}

static int add_pages(struct import *im, uint64_t va, uint64_t n, uint64_t pfn, unsigned flags)
{
	struct run run = { .va = va,
			   .page_bytes = PMPT_PAGE_BYTES,
			   .count = n,
			   .pfn = pfn,
			   .flags = flags | PMPT_EXT };

	if (n > im->limit || im->runs.pages > im->limit - n)
		return fail(0, "%s: more than %s pages; see --limit", im->source,
			    human_count(im->limit));
	if (pfn >= PFN_LIMIT || n > PFN_LIMIT - pfn)
		return fail(0, "%s: frame %#" PRIx64 " has more than 40 bits", im->source, pfn);
	im->next_pfn += n;
	return runs_add(&im->runs, &run, true) ? fail_os(-ENOMEM, "%s", im->source) : EXIT_OK;
}

static int read_pagemap(struct import *im, const struct range *r)
{
	uint64_t word[4096];
	int code = EXIT_OK;

	for (uint64_t va = r->from; va < r->to && !code;) {
		uint64_t want = (r->to - va) / PMPT_PAGE_BYTES;
		ssize_t got = pread(im->pagemap, word, 8 * (want < 4096 ? want : 4096),
				    (off_t)(va / PMPT_PAGE_BYTES * 8));

		if (got < 0)
			return fail_os(-errno, "%s: pagemap at %#" PRIx64, im->source, va);
		if (got < 8) /* beyond what the kernel tells, as [vsyscall] is, or it has exited */
			break;
		for (size_t i = 0; i < (size_t)got / 8 && !code; i++, va += PMPT_PAGE_BYTES) {
			uint64_t pfn = word[i] & PAGEMAP_PFN;

			if (!(word[i] & PAGEMAP_PRESENT))
				continue;
			im->true_pfn |= pfn != 0;
			if (!r->flags)
				im->no_access++;
			else
				code = add_pages(im, va, 1, pfn ? pfn : im->next_pfn, r->flags);
		}
		progress_to(&im->progress, im->runs.pages);
	}
	return code;
}

static int read_range(struct import *im, const struct range *r)
{
	uint64_t n = (r->to - r->from) / PMPT_PAGE_BYTES;

	im->ranges++;
	if (im->pagemap >= 0 && !im->all)
		return read_pagemap(im, r);
	if (!r->flags) {
		im->no_access += n;
		return EXIT_OK;
	}
	if (r->from >> 47 && (int64_t)r->from >> 47 != -1)
		return fail_os(PMPT_E_ADDRESS, "%s: %#" PRIx64 " is not canonical", im->source,
			       r->from);
	return add_pages(im, r->from, n, im->next_pfn, r->flags);
}

static int read_maps(struct import *im)
{
	static char text[LINE_BYTES_MAX + 1];
	int code = EXIT_OK, got = 1;
	uint64_t line;
	size_t n;

	progress_start(&im->progress, "reading", "pages", 0);
	for (line = 1; !code && (got = read_line(im->maps, text, &n)) > 0; line++) {
		struct range r;

		if (parse_range(text, &r))
			code = read_range(im, &r);
		else
			code = fail(0,
				    "%s:%" PRIu64 ": found '%.60s', expected 'FROM-TO rwxp ...' as "
				    "in /proc/PID/maps; nothing was changed",
				    im->source, line, text);
	}
	progress_end(&im->progress);
	if (got == -EMSGSIZE)
		code = fail(0,
			    "%s:%" PRIu64 ": more than %u bytes without an end of line, expected "
			    "lines as in /proc/PID/maps; nothing was changed",
			    im->source, line, LINE_BYTES_MAX);
	else if (got < 0)
		code = fail_os(got, "%s", im->source);
	if (!code && !im->runs.pages)
		code = fail(0, "%s: no pages%s", im->source,
			    im->ranges ? "" : ": a kernel thread, or it has exited");
	return code;
}

/* ---- storing --------------------------------------------------------------------------------- */

static int map_all(void *ctx, pmpt_tx *tx)
{
	struct import *im = ctx;
	uint64_t done = 0;
	int rc = 0;

	for (size_t i = 0; i < im->runs.n && !rc; i++) {
		const struct run *r = &im->runs.run[i];

		rc = pmpt_map(tx, im->space, r->va, r->count, r->pfn, r->flags);
		done += r->count;
		progress_to(&im->progress, done);
	}
	return rc;
}

static int store(struct import *im, const char *path, const char *name, bool json)
{
	uint64_t lsn = 0;
	double start = now_s();
	pmpt_pool *pool;
	bool created;
	int code = open_pool(path, &pool, NULL), rc;

	if (code)
		return code;
	rc = take_space(pool, name, &im->space, &created);
	if (rc)
		return close_pool(pool, NULL, fail_taken(rc, path, name));
	progress_start(&im->progress, "importing", "pages", im->runs.pages);
	rc = in_transaction(pool, map_all, im, &lsn);
	progress_end(&im->progress);
	pmpt_space_close(im->space);
	if (rc) {
		code = fail(rc, "%s: '%s'", path, name);
		if (created)
			(void)pmpt_space_delete(pool, name);
	}
	code = close_pool(pool, NULL, code);
	if (code)
		return code;
	if (json)
		return json_put(
			stdout,
			json_pack("{s:o,s:I,s:I,s:I,s:s,s:I}", "space", json_text(name), "pages",
				  (json_int_t)im->runs.pages, "ranges", (json_int_t)im->ranges,
				  "no_access", (json_int_t)im->no_access, "frames",
				  im->true_pfn ? "true" : "by order", "lsn", (json_int_t)lsn));
	printf("imported %s (%s) of %s from %s into '%s', frames %s, in %.1f ms\n",
	       counted(im->runs.pages, "page"), human_bytes(im->runs.pages * PMPT_PAGE_BYTES),
	       counted(im->ranges, "range"), im->source, name,
	       im->true_pfn ? "as the kernel numbers them" : "numbered in order of appearance",
	       (now_s() - start) * 1e3);
	if (im->no_access)
		printf("left out: %s without any permission\n", counted(im->no_access, "page"));
	return EXIT_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int open_process(struct import *im, uint64_t pid, char source[32])
{
	char path[48];

	snprintf(source, 32, "process %" PRIu64, pid);
	im->source = source;
	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/maps", pid);
	im->maps = fopen(path, "re");
	if (!im->maps)
		return fail_os(-errno, "%s%s", path,
			       errno == EACCES ? " (only its user and root may read it)" : "");
	if (im->all)
		return EXIT_OK;
	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/pagemap", pid);
	im->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (im->pagemap < 0 && errno == ESRCH)
		return fail(0, "%s: no address space: a kernel thread, or it has exited", source);
	return im->pagemap < 0 ? fail_os(-errno, "%s (--all does without it)", path) : EXIT_OK;
}

static int run_import(const struct command *cmd, int argc, char **argv)
{
	struct import im = { .pagemap = -1, .limit = 1ull << 28 };
	const char *name = NULL, *file = NULL;
	char source[32], standard_name[32];
	uint64_t pid = NO_PID;
	bool in = false, json = false;
	const struct opt opts[] = {
		{ "pid", 0, OPT_COUNT, &pid, "N", "the process" },
		{ "maps", 0, OPT_TEXT, &file, "FILE", "recorded /proc/PID/maps: all of its pages" },
		{ "stdin", 0, OPT_FLAG, &in, NULL, "the same from standard input" },
		{ "space", 0, OPT_TEXT, &name, "NAME", "name of the new space (pid-N, or maps)" },
		{ "all", 0, OPT_FLAG, &im.all, NULL, "pages that are not present too, by order" },
		{ "limit", 0, OPT_COUNT, &im.limit, "N", "refuse more pages than that (256M)" },
		{ "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
		OPT_END
	};
	int code;

	(void)options(cmd, opts, argc, argv, 1, 1);
	if ((pid != NO_PID) + (file != NULL) + in != 1)
		usage_error(cmd, "one of --pid, --maps and --stdin is expected");
	if (pid != NO_PID) {
		code = open_process(&im, pid, source);
		snprintf(standard_name, sizeof(standard_name), "pid-%" PRIu64, pid);
	} else {
		im.source = file ? file : "standard input";
		im.maps = file ? fopen(file, "re") : stdin;
		code = im.maps ? EXIT_OK : fail_os(-errno, "%s", im.source);
		snprintf(standard_name, sizeof(standard_name), "maps");
	}
	if (!code)
		code = read_maps(&im);
	if (!code)
		code = store(&im, argv[0], name ? name : standard_name, json);
	if (im.maps && im.maps != stdin)
		(void)fclose(im.maps);
	if (im.pagemap >= 0)
		(void)close(im.pagemap);
	runs_free(&im.runs);
	return code;
}

const struct command command_import = {
	.name = "import",
	.synopsis = "pmpt import --pid N [--space NAME] [--all] [OPTION]... POOL\n"
		    "pmpt import --maps FILE | --stdin [--space NAME] [OPTION]... POOL",
	.brief = "copy the address space of a running process",
	.text = "Make a space of a process's present pages: its addresses, its permissions, and its\n"
		"frames as external ones, with the kernel's numbers where the kernel tells them (root),\n"
		"else numbered in order of appearance.  All in one transaction, into a new space or an\n"
		"empty one.  The process runs on meanwhile; transparent huge pages are taken as the\n"
		"4 KiB pages they consist of.\n",
	.example = "pmpt import --pid $$ --space shell /dev/shm/pool",
	.run = run_import,
};
