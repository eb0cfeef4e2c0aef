/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_diff -- diff: the pages in which two spaces differ. */
#include "tool.h"

enum kind { ONLY_A, ONLY_B, FRAME, ATTRIBUTES, KINDS };
static const char *const kind_name[] = { "only-a", "only-b", "frame", "attributes" };

struct diff {
	const char *a, *b; /* names */
	bool json, quiet;
	int code;
	struct difference { /* neighbours of one kind, one size, the same flags */
		uint64_t va, page_bytes, count;
		enum kind kind;
		unsigned flags[2];
	} run;
	uint64_t pages[KINDS], bytes[KINDS];
};

static enum kind kind_of(const struct pmpt_change *c)
{
	/* what says whether there is a frame, and whose */
	const unsigned where = PMPT_DEMAND | PMPT_OUT | PMPT_EXT;

	if (!c->b.level)
		return ONLY_A;
	if (!c->a.level)
		return ONLY_B;
	if (c->a.pfn != c->b.pfn || (c->a.flags ^ c->b.flags) & where)
		return FRAME;
	return ATTRIBUTES;
}

static json_t *side_json(unsigned flags, bool mapped)
{
	char prot[5];

	return mapped ? json_string(prot_text(flags, prot)) : json_null();
}

static void put_run(struct diff *d)
{
	static const enum color color[] = { RED, GREEN, YELLOW, BLUE };
	static const char sign[] = "-+~=";
	const struct difference *r = &d->run;
	uint64_t bytes = r->count * r->page_bytes;
	bool a = r->kind != ONLY_B, b = r->kind != ONLY_A;
	char prot[2][5];

	if (!r->count || d->quiet || d->code)
		return;
	if (d->json) {
		d->code = json_put(
			stdout,
			json_pack("{s:o,s:o,s:I,s:I,s:s,s:o,s:o}", "va", json_hex(r->va), "end",
				  json_hex(r->va + bytes), "size", (json_int_t)r->page_bytes,
				  "count", (json_int_t)r->count, "change", kind_name[r->kind], "a",
				  side_json(r->flags[0], a), "b", side_json(r->flags[1], b)));
		return;
	}
	printf("%s%c %016" PRIx64 "-%s%s %10s  %s", paint(color[r->kind]), sign[r->kind], r->va,
	       end_text(r->va, bytes, 16), paint(PLAIN), human_bytes(bytes),
	       page_size_name(r->page_bytes));
	if (a && b && r->flags[0] == r->flags[1])
		printf("  %s  other frames\n", prot_text(r->flags[0], prot[0]));
	else
		printf("  %s -> %s%s\n", a ? prot_text(r->flags[0], prot[0]) : "none",
		       b ? prot_text(r->flags[1], prot[1]) : "none",
		       r->kind == FRAME ? "  other frames" : "");
}

static int on_change(void *ctx, const struct pmpt_change *c)
{
	struct diff *d = ctx;
	const unsigned kept = ~(unsigned)PMPT_COW; /* who copies first is no difference */
	unsigned fa = c->a.flags & kept, fb = c->b.flags & kept;
	struct difference *r = &d->run;
	enum kind kind = kind_of(c);

	d->pages[kind]++;
	d->bytes[kind] += c->page_bytes;
	if (r->count && r->kind == kind && r->page_bytes == c->page_bytes && r->flags[0] == fa &&
	    r->flags[1] == fb && r->va + r->count * r->page_bytes == c->va && c->va) {
		r->count++;
		return 0;
	}
	put_run(d);
	*r = (struct difference){ c->va, c->page_bytes, 1, kind, { fa, fb } };
	return d->code;
}

static int put_summary(const struct diff *d)
{
	uint64_t pages = 0, bytes = 0, rest;

	for (unsigned k = 0; k < KINDS; k++) {
		pages += d->pages[k];
		bytes += d->bytes[k];
	}
	rest = pages;
	if (d->json)
		return json_put(stdout, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "differ",
						  (json_int_t)pages, "bytes", (json_int_t)bytes,
						  "only_a", (json_int_t)d->pages[ONLY_A], "only_b",
						  (json_int_t)d->pages[ONLY_B], "frame",
						  (json_int_t)d->pages[FRAME], "attributes",
						  (json_int_t)d->pages[ATTRIBUTES]));
	if (!pages) {
		printf("'%s' and '%s' are the same\n", d->a, d->b);
		return EXIT_OK;
	}
	printf("%s (%s) of '%s' and '%s' %s: ", counted(pages, "page"), human_bytes(bytes), d->a,
	       d->b, pages == 1 ? "differs" : "differ");
	for (unsigned k = 0; k < KINDS; k++) {
		if (!d->pages[k])
			continue;
		printf("%s%s ", k && pages != rest ? ", " : "", human_count(d->pages[k]));
		if (k <= ONLY_B)
			printf("only in '%s'", k == ONLY_A ? d->a : d->b);
		else
			fputs(k == FRAME ? "in other frames" : "with other attributes", stdout);
		rest -= d->pages[k];
	}
	putchar('\n');
	return EXIT_OK;
}

static int diff_spaces(pmpt_pool *pool, const char *path, struct diff *d)
{
	pmpt_space *a = NULL, *b = NULL;
	pmpt_view *view = NULL;
	int rc = pmpt_space_open(pool, d->a, &a), code = EXIT_OK;

	if (rc)
		return fail(rc, "%s: '%s'", path, d->a);
	rc = pmpt_space_open(pool, d->b, &b);
	if (rc)
		code = fail(rc, "%s: '%s'", path, d->b);
	if (!code)
		rc = pmpt_view_open(pool, &view);
	if (!code && !rc)
		rc = pmpt_diff(view, a, b, on_change, d);
	if (!code && rc && !d->code)
		code = fail(rc, "%s", path);
	if (!code) {
		put_run(d);
		code = d->code ? d->code : put_summary(d);
	}
	pmpt_view_close(view);
	pmpt_space_close(a);
	if (b)
		pmpt_space_close(b);
	return code;
}

static int run_diff(const struct command *cmd, int argc, char **argv)
{
	struct diff d = { 0 };
	const struct opt opts[] = {
		{ "quiet", 'q', OPT_FLAG, &d.quiet, NULL, "print the summary alone" },
		{ "json", 0, OPT_FLAG, &d.json, NULL,
		  "print a JSON object for each range, then one with the sums" },
		OPT_END
	};
	pmpt_pool *pool;
	int code;

	(void)options(cmd, opts, argc, argv, 3, 3);
	d.a = argv[1];
	d.b = argv[2];
	code = open_pool(argv[0], &pool, NULL);
	return code ? code : close_pool(pool, NULL, diff_spaces(pool, argv[0], &d));
}

const struct command command_diff = {
	.name = "diff",
	.synopsis = "pmpt diff [--quiet] [--json] POOL A B",
	.brief = "the pages in which two spaces differ",
	.text = "Show in which pages space B differs from space A: '-' only in A, '+' only in B, '~' in\n"
		"another frame, '=' the same frame with other permissions, tags or key; then the sums.\n"
		"Of forks of one space only what has changed is looked at, however much is mapped.\n"
		"Contents are not compared: a page that was written has another frame.\n",
	.example = "pmpt diff /dev/shm/pool editor-monday editor",
	.run = run_diff,
};
