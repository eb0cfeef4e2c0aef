/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_rmap -- rmap: from a frame to the pages that have it.
 *
 * All spaces are walked, in one view.  Whose a segment's page is, by name, and the pages of segments that
 * nobody maps, the library tells nowhere: so each segment is mapped in a transaction that is aborted,
 * and looked at in there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define PIECE   (2ull << 20) /* of a segment */
#define ENTRY_W 2u           /* bit W of an x86-64 entry */

struct owner {
	const char *space; /* or NULL: a segment's own page */
	const char *segment;
	uint64_t va, entry, page_bytes; /* va: in a segment, the offset */
	unsigned level, flags;
};

struct rmap {
	pmpt_pool *pool;
	uint64_t pfn;
	bool ext;
	const char *space; /* that is walked */
	struct owner *owner;
	size_t n, room;
	char **spaces, **segments;
	size_t n_spaces, n_segments;
	const char *state;
	struct pmpt_frame_info info; /* zeros of an external one */
};

static int add(struct rmap *r, struct owner owner)
{
	if (r->n == r->room) {
		size_t room = r->room ? 2 * r->room : 16;
		struct owner *grown = realloc(r->owner, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->owner = grown;
		r->room = room;
	}
	r->owner[r->n++] = owner;
	return 0;
}

static bool has(const struct rmap *r, const struct pmpt_mapping *m)
{
	unsigned flags = m->flags;

	if (r->ext ? !(flags & PMPT_EXT) : !page_in_pool(flags))
		return false;
	return r->pfn >= m->pfn && r->pfn - m->pfn < m->page_bytes / PMPT_PAGE_BYTES;
}

static struct owner owner_of(const struct rmap *r, const struct pmpt_mapping *m)
{
	return (struct owner){ .space = r->space,
			       .va = m->va + (r->pfn - m->pfn) * PMPT_PAGE_BYTES,
			       .entry = m->entry,
			       .page_bytes = m->page_bytes,
			       .level = m->level,
			       .flags = m->flags };
}

static int on_page(void *ctx, const struct pmpt_mapping *m)
{
	struct rmap *r = ctx;

	return has(r, m) ? add(r, owner_of(r, m)) : 0;
}

/* ---- segments -------------------------------------------------------------------------------- */

struct bytes_of {
	const char *name;
	uint64_t bytes;
};

static int on_segment(void *ctx, const struct pmpt_segment *s)
{
	struct bytes_of *b = ctx;

	if (!strcmp(s->name, b->name))
		b->bytes = s->bytes;
	return 0;
}

/* The segment is mapped at va in tx: is the frame one of its pages? */
static int look_inside(struct rmap *r, pmpt_tx *tx, const pmpt_space *space, uint64_t va,
		       struct bytes_of b)
{
	for (uint64_t at = 0; at < b.bytes; at += PMPT_PAGE_BYTES) {
		struct pmpt_mapping m;
		int rc = pmpt_tx_query(tx, space, va + at, &m);

		if (rc && rc != PMPT_E_NOT_MAPPED)
			return rc;
		if (rc || !has(r, &m))
			continue;
		for (size_t i = 0; i < r->n; i++) { /* mappings of it */
			if (r->owner[i].flags & PMPT_SHARED)
				r->owner[i].segment = b.name;
		}
		return add(r, (struct owner){ .segment = b.name,
					      .va = at,
					      .entry = m.entry,
					      .page_bytes = m.page_bytes,
					      .level = m.level,
					      .flags = m.flags });
	}
	return 0;
}

/* A free place for it: behind the last page below the middle, or before the first above. */
static int last_page(void *ctx, const struct pmpt_mapping *m)
{
	*(uint64_t *)ctx = m->va + m->page_bytes;
	return 0;
}

/* Returns 0, or the library's error: PMPT_E_SNAPSHOT, another space may do. */
static int look_in_segment(struct rmap *r, pmpt_space *space, const char *name)
{
	struct bytes_of b = { .name = name };
	uint64_t end = 0;
	pmpt_tx *tx;
	int rc = pmpt_segment_list(r->pool, on_segment, &b);

	if (!rc)
		rc = pmpt_walk(space, 0, 1ull << (PMPT_VA_BITS - 1), last_page, &end);
	if (!rc)
		rc = pmpt_begin(r->pool, 0, &tx);
	if (rc)
		return rc;
	end = (end + PIECE - 1) / PIECE * PIECE;
	do { /* a segment without pages may be mapped there */
		rc = pmpt_segment_map(tx, space, end, name, PMPT_R);
		end += PIECE;
	} while (rc == PMPT_E_MAPPED);
	if (!rc)
		rc = look_inside(r, tx, space, end - PIECE, b);
	(void)pmpt_abort(tx);
	return rc;
}

static int look_in_segments(struct rmap *r)
{
	int rc = 0;

	for (size_t i = 0; i < r->n_segments && !rc; i++) {
		for (size_t s = 0; s < r->n_spaces; s++) {
			pmpt_space *space;

			rc = pmpt_space_open(r->pool, r->spaces[s], &space);
			if (rc)
				break;
			rc = look_in_segment(r, space, r->segments[i]);
			pmpt_space_close(space);
			if (rc != PMPT_E_SNAPSHOT)
				break;
		}
		if (rc == PMPT_E_SNAPSHOT || rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE)
			rc = 0; /* then without names */
	}
	return rc;
}

/* ---- the frame itself ------------------------------------------------------------------------ */

static const char *const kinds[] = {
	[PMPT_FRAME_FREE] = "free",
	[PMPT_FRAME_RESERVED] = "reserved",
	[PMPT_FRAME_TABLE] = "table",
	[PMPT_FRAME_DATA] = "data",
};

static int find_state(struct rmap *r)
{
	struct pmpt_stats st;
	int rc = pmpt_frame_info(r->pool, r->pfn, &r->info);

	r->state = kinds[r->info.kind];
	if (rc != PMPT_E_FRAME)
		return rc;
	rc = pmpt_stats(r->pool, &st); /* between extents lies what is libpmemobj's */
	r->state = r->pfn < st.pool_bytes / PMPT_PAGE_BYTES ? "reserved" : "outside";
	return rc;
}

static int find(struct rmap *r)
{
	pmpt_view *view = NULL;
	int rc = pmpt_view_open(r->pool, &view);

	for (size_t i = 0; i < r->n_spaces && !rc; i++) {
		pmpt_space *space;

		rc = pmpt_space_open(r->pool, r->spaces[i], &space);
		if (rc)
			break;
		r->space = r->spaces[i];
		rc = pmpt_view_walk(view, space, 0, 0, on_page, r);
		pmpt_space_close(space);
	}
	pmpt_view_close(view);
	if (!rc && !r->ext)
		rc = look_in_segments(r);
	r->state = "external";
	return !rc && !r->ext ? find_state(r) : rc;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Who else reaches the frame by the same entry. */
static const char *sharing(const struct owner *o)
{
	if (o->flags & PMPT_SHARED)
		return "segment";
	if (!(o->flags & PMPT_COW))
		return "none";
	return o->entry & ENTRY_W ? "table" : "page"; /* W in the leaf: a link above lacks it */
}

/* What spaces with the policy W^X may do to it. */
static const char *wx_text(unsigned wx)
{
	return wx == (PMPT_W | PMPT_X) ? "wx" : wx & PMPT_W ? "w" : wx ? "x" : "none";
}

static int put_json(const struct rmap *r)
{
	json_t *owners = json_array();
	char prot[5];

	for (size_t i = 0; i < r->n; i++) {
		const struct owner *o = &r->owner[i];

		(void)json_array_append_new(
			owners,
			json_pack("{s:o,s:o,s:o,s:I,s:I,s:o,s:o,s:s}", "space",
				  o->space ? json_text(o->space) : json_null(), "segment",
				  o->segment ? json_text(o->segment) : json_null(),
				  o->space ? "va" : "offset", json_hex(o->va), "level",
				  (json_int_t)o->level, "size", (json_int_t)o->page_bytes, "entry",
				  json_hex(o->entry), "prot",
				  o->space ? json_string(prot_text(o->flags, prot)) : json_null(),
				  "shared", sharing(o)));
	}
	return json_put(stdout, json_pack("{s:I,s:s,s:I,s:s,s:b,s:o}", "pfn", (json_int_t)r->pfn,
					  "state", r->state, "count", (json_int_t)r->info.count,
					  "wx", wx_text(r->info.wx), "aliased", r->info.aliased,
					  "owners", owners));
}

static void print_owner(const struct owner *o, bool last)
{
	const char *how = sharing(o);
	char prot[5];

	printf("%s", tree_branch(last));
	if (o->space)
		printf("space '%s' at %s%#" PRIx64 "%s", o->space, paint(CYAN), o->va,
		       paint(PLAIN));
	else
		printf("segment '%s' at offset %s%#" PRIx64 "%s", o->segment, paint(CYAN), o->va,
		       paint(PLAIN));
	printf(", level %u, entry %#018" PRIx64, o->level, o->entry);
	if (o->space)
		printf("  %s", prot_text(o->flags, prot));
	if (o->space && o->flags & PMPT_SHARED)
		printf("  through segment '%s'", o->segment ? o->segment : "(its name is gone)");
	else if (!strcmp(how, "table"))
		printf("  copy-on-write, by a table above it");
	else if (!strcmp(how, "page"))
		printf("  copy-on-write");
	putchar('\n');
}

static int put_text(const struct rmap *r)
{
	printf("%sframe %#" PRIx64 "%s: ", paint(BOLD), r->pfn, paint(PLAIN));
	if (!r->n)
		printf("%s, no page has it", !strcmp(r->state, "table") ? "a page table"
					     : !strcmp(r->state, "reserved")
						     ? "reserved for the log and the like"
						     : r->state);
	else
		printf("%s, in %s", r->state, counted(r->n, "place"));
	if (r->n && r->info.count)
		printf("; count %" PRIu32, r->info.count);
	if (r->info.wx)
		printf("; W^X: %s", wx_text(r->info.wx));
	putchar('\n');
	for (size_t i = 0; i < r->n; i++)
		print_owner(&r->owner[i], i + 1 == r->n);
	return EXIT_OK;
}

static int rmap(struct rmap *r, const char *path, bool json)
{
	int code = space_names(r->pool, &r->spaces, &r->n_spaces), rc;

	if (!code)
		code = segment_names(r->pool, &r->segments, &r->n_segments);
	if (code)
		return code;
	rc = find(r);
	if (rc)
		return fail(rc, "%s: frame %#" PRIx64, path, r->pfn);
	if (!r->n && !strcmp(r->state, "outside"))
		return fail_os(PMPT_E_FRAME, "%s: frame %#" PRIx64 " is outside the pool", path,
			       r->pfn);
	return json ? put_json(r) : put_text(r);
}

static int run_rmap(const struct command *cmd, int argc, char **argv)
{
	struct rmap r = { 0 };
	bool json = false;
	const struct opt opts[] = { { "ext", 0, OPT_FLAG, &r.ext, NULL,
				      "an external frame of that number, not the pool's" },
				    { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int code;

	(void)options(cmd, opts, argc, argv, 2, 2);
	r.pfn = operand(cmd, "PFN", argv[1]);
	code = open_pool(argv[0], &r.pool, NULL);
	if (code)
		return code;
	code = close_pool(r.pool, NULL, rmap(&r, argv[0], json));
	names_free(r.spaces);
	names_free(r.segments);
	free(r.owner);
	return code;
}

const struct command command_rmap = {
	.name = "rmap",
	.synopsis = "pmpt rmap [--ext] [--json] POOL PFN",
	.brief = "the pages that have a frame",
	.text = "Show every page that has frame PFN: space, address, level and entry; for a page of a\n"
		"segment also the segment and the offset in it.  'by a table above it': a fork has not\n"
		"copied that table yet, so its relatives reach the frame by the very same entry.\n"
		"A frame without pages is free, a page table, or reserved for the pool.\n",
	.example = "pmpt rmap /dev/shm/pool 0x2a13",
	.run = run_rmap,
};
