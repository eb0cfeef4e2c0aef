/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_restore -- restore: make the spaces of a dump, all or nothing.
 *
 * ORDER	read and check the whole dump -> create what is missing, empty -> one transaction over
 *		all spaces -> on an error delete what was created.  Killed before the commit it leaves
 *		empty spaces, and restore takes empty ones: it can be run again.
 * Pages of segments are left out, and pages that were out in the swap file are in memory: it says so.
 * Frames of the pool are new ones.  Frame numbers of the dump that touch are one *piece*, which
 * gets contiguous frames where the pool has them, so sharing and contiguity stay.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"

struct piece { /* n frames from `old` on, in the dump; `new` in the pool */
	uint64_t old, n, new;
	bool huge; /* holds a page of 2 MiB or more: old and new are equal modulo 512 */
};
struct pieces {
	struct piece *piece;
	size_t n, room;
};

struct restore {
	const struct dump *dump;
	const char *name; /* of the dump */
	pmpt_pool *pool;
	pmpt_space **space; /* by dump->space */
	bool *created;
	struct pieces wanted, got;
	const char *path; /* of the pool */
	struct progress progress;
	const char *failed_space; /* where the error came up */
	uint64_t failed_line;     /* 0: not in a line */
};

static int piece_add(struct pieces *p, struct piece piece)
{
	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : 64;
		struct piece *grown = realloc(p->piece, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->piece = grown;
		p->room = room;
	}
	p->piece[p->n++] = piece;
	return 0;
}

static int by_old(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->old > y->old) - (x->old < y->old);
}

/* The frames of the pool that the dump needs, as disjoint pieces in order. */
static int pieces_wanted(const struct dump *dump, struct pieces *p)
{
	size_t n = 0;

	for (size_t s = 0; s < dump->n; s++) {
		for (size_t i = 0; i < dump->space[s].n; i++) {
			const struct run *r = &dump->space[s].run[i].run;
			uint64_t frames = r->page_bytes / PMPT_PAGE_BYTES;
			int rc = 0;

			if (page_in_pool(r->flags) && !(r->flags & PMPT_SHARED))
				rc = piece_add(p, (struct piece){ .old = r->pfn,
								  .n = r->count * frames,
								  .huge = frames > 1 });
			if (rc)
				return rc;
		}
	}
	if (p->n)
		qsort(p->piece, p->n, sizeof(*p->piece), by_old);
	for (size_t i = 0; i < p->n; i++) {
		struct piece *last = n ? &p->piece[n - 1] : NULL, this = p->piece[i];

		if (last && this.old <= last->old + last->n) {
			uint64_t end = this.old + this.n;

			last->n = end > last->old + last->n ? end - last->old : last->n;
			last->huge |= this.huge;
		} else {
			p->piece[n++] = this;
		}
	}
	p->n = n;
	return 0;
}

/* Reserve frames for a piece, zeroed; in halves where there is no run as long. */
static int piece_reserve(struct restore *r, pmpt_tx *tx, struct piece p)
{
	uint64_t skip = p.huge ? p.old % 512 : 0, half, pfn;
	int rc = pmpt_frame_alloc(tx, p.n + skip, p.huge ? 512 : 1, &pfn);

	if (!rc) {
		size_t bytes = p.n * PMPT_PAGE_BYTES;
		void *at;

		p.new = pfn + skip;
		at = pmpt_frame_ptr(r->pool, p.new);
		memset(at, 0, bytes);
		rc = pmpt_flush(tx, at, bytes);
		return rc ? rc : piece_add(&r->got, p);
	}
	half = p.n / 2;
	if (p.huge) /* halves begin where a huge page may begin */
		half = (p.old + half) / 512 * 512 - p.old;
	if (rc != PMPT_E_NO_FRAMES || half == 0 || half >= p.n)
		return rc;
	rc = piece_reserve(r, tx, (struct piece){ .old = p.old, .n = half, .huge = p.huge });
	if (rc)
		return rc;
	return piece_reserve(
		r, tx, (struct piece){ .old = p.old + half, .n = p.n - half, .huge = p.huge });
}

/* The piece in which frame `old` of the dump lies; there is one. */
static const struct piece *piece_of(const struct pieces *p, uint64_t old)
{
	size_t low = 0, high = p->n;

	while (high - low > 1) {
		size_t mid = (low + high) / 2;

		if (p->piece[mid].old <= old)
			low = mid;
		else
			high = mid;
	}
	return &p->piece[low];
}

static int map_run(const struct restore *r, pmpt_tx *tx, pmpt_space *space, struct run run)
{
	uint64_t frames = run.page_bytes / PMPT_PAGE_BYTES;
	int rc = 0;

	if (run.flags & PMPT_SHARED)
		return 0;
	if (run.flags & PMPT_OUT)
		return pmpt_map(tx, space, run.va, run.count, PMPT_PFN_ALLOC,
				(run.flags & ~(unsigned)PMPT_OUT) | PMPT_ZERO);
	if (run.flags & PMPT_EXT)
		return pmpt_map(tx, space, run.va, run.count, run.pfn, run.flags);
	if (run.flags & PMPT_DEMAND)
		return pmpt_map(tx, space, run.va, run.count, PMPT_PFN_ALLOC, run.flags);
	while (run.count && !rc) {
		const struct piece *p = piece_of(&r->got, run.pfn);
		uint64_t left = (p->old + p->n - run.pfn) / frames;
		uint64_t n = run.count < left ? run.count : left;

		rc = pmpt_map(tx, space, run.va, n, p->new + (run.pfn - p->old), run.flags);
		run.va += n * run.page_bytes;
		run.pfn += n * frames;
		run.count -= n;
	}
	return rc;
}

static int fill_space(struct restore *r, pmpt_tx *tx, size_t index, uint64_t done)
{
	const struct dump_space *s = &r->dump->space[index];
	int rc = 0;

	r->failed_space = s->name;
	for (size_t i = 0; i < s->n && !rc; i++) {
		r->failed_line = s->run[i].line;
		rc = map_run(r, tx, r->space[index], s->run[i].run);
		done += s->run[i].run.count;
		progress_to(&r->progress, done);
	}
	if (rc)
		return rc;
	r->failed_line = 0;
	for (unsigned i = 0; i < PMPT_USER_WORDS && !rc; i++) {
		if (s->user[i])
			rc = pmpt_user_set(tx, r->space[index], i, s->user[i]);
	}
	return rc;
}

static int fill(void *ctx, pmpt_tx *tx)
{
	struct restore *r = ctx;
	uint64_t done = 0;
	int rc = 0;

	r->got.n = 0;
	r->failed_line = 0;
	for (size_t i = 0; i < r->wanted.n && !rc; i++)
		rc = piece_reserve(r, tx, r->wanted.piece[i]);
	for (size_t i = 0; i < r->dump->n && !rc; i++) {
		rc = fill_space(r, tx, i, done);
		done += r->dump->space[i].pages;
	}
	return rc;
}

static int restore(struct restore *r, uint64_t *lsn)
{
	int rc = pieces_wanted(r->dump, &r->wanted), code = EXIT_OK;

	for (size_t i = 0; i < r->dump->n && !rc; i++) {
		rc = take_space(r->pool, r->dump->space[i].name, &r->space[i], &r->created[i]);
		if (rc)
			code = fail_taken(rc, r->path, r->dump->space[i].name);
	}
	if (!rc) {
		progress_start(&r->progress, "restoring", "pages", r->dump->pages);
		rc = in_transaction(r->pool, fill, r, lsn);
		progress_end(&r->progress);
		if (rc && r->failed_line)
			code = fail(rc, "%s:%" PRIu64 ": '%s'", r->name, r->failed_line,
				    r->failed_space);
		else if (rc)
			code = fail(rc, "%s", r->name);
	} else if (!code) {
		code = fail(rc, "%s", r->name);
	}
	for (size_t i = 0; i < r->dump->n; i++) {
		if (r->space[i])
			pmpt_space_close(r->space[i]);
		if (code && r->created[i])
			(void)pmpt_space_delete(r->pool, r->dump->space[i].name);
	}
	return code;
}

static int put_done(const struct dump *dump, uint64_t lsn, bool json)
{
	uint64_t segments = 0, out = 0;

	for (size_t i = 0; i < dump->n; i++) {
		segments += dump->space[i].segment_pages;
		out += dump->space[i].out_pages;
	}
	if (json)
		return json_put(stdout,
				json_pack("{s:I,s:I,s:I,s:I,s:I}", "spaces", (json_int_t)dump->n,
					  "pages", (json_int_t)(dump->pages - segments), "left_out",
					  (json_int_t)segments, "were_out", (json_int_t)out, "lsn",
					  (json_int_t)lsn));
	printf("restored %s, %s, LSN %" PRIu64 "\n", counted(dump->n, "space"),
	       counted(dump->pages - segments, "page"), lsn);
	if (segments)
		printf("left out: %s of segments; 'segment create' and 'segment map' make those\n",
		       counted(segments, "page"));
	if (out)
		printf("in memory here, zeroed as the others: %s that were in the swap file\n",
		       counted(out, "page"));
	return EXIT_OK;
}

static int restore_into(const char *path, const struct dump *dump, const char *name, bool json)
{
	struct restore r = { .dump = dump, .name = name, .path = path };
	uint64_t lsn = 0;
	int code = open_pool(path, &r.pool, NULL);

	if (code)
		return code;
	r.space = calloc(dump->n, sizeof(*r.space));
	r.created = calloc(dump->n, sizeof(*r.created));
	if (r.space && r.created)
		code = restore(&r, &lsn);
	else
		code = fail_os(-ENOMEM, "%s", name);
	if (!code)
		code = put_done(dump, lsn, json);
	free((void *)r.space);
	free(r.created);
	free(r.wanted.piece);
	free(r.got.piece);
	return close_pool(r.pool, NULL, code);
}

static int run_restore(const struct command *cmd, int argc, char **argv)
{
	const char *as = NULL;
	bool json = false;
	const struct opt opts[] = { { "as", 0, OPT_TEXT, &as, "NAME",
				      "another name, for a dump of one space" },
				    { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 1, 2), code;
	bool standard = n == 1 || !strcmp(argv[1], "-");
	const char *name = standard ? "standard input" : argv[1];
	FILE *from = standard ? stdin : fopen(argv[1], "re");
	struct dump dump = { 0 };

	if (!from)
		return fail_os(-errno, "%s", name);
	code = dump_read(from, name, &dump);
	if (!standard)
		(void)fclose(from);
	if (!code && as && dump.n == 1) {
		free(dump.space[0].name);
		dump.space[0].name = strdup(as);
		code = dump.space[0].name ? EXIT_OK : fail_os(-ENOMEM, "%s", name);
	} else if (!code && as) {
		dump_free(&dump);
		usage_error(cmd, "--as is for a dump of one space; this one has %zu", dump.n);
	}
	if (!code)
		code = restore_into(argv[0], &dump, name, json);
	dump_free(&dump);
	return code;
}

const struct command command_restore = {
	.name = "restore",
	.synopsis = "pmpt restore [--as NAME] [--json] POOL [FILE]",
	.brief = "make spaces from a dump, all or nothing",
	.text = "Read a dump (standard input without FILE) and make its spaces, in one transaction.\n"
		"A space of that name must not exist, or be empty.  Frames of the pool are new ones,\n"
		"filled with zeros; pages that shared a frame share one again.  Pages of segments are\n"
		"left out, and those that were out in a swap file are in memory: it says how many.\n",
	.example = "pmpt dump /dev/shm/pool editor | pmpt restore --as copy /dev/shm/other",
	.run = run_restore,
};
