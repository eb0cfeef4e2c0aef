/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_heatmap -- heatmap: a picture of a space, or of the pool's frames. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heatmap.h"

struct stretches {
	struct stretch *stretch;
	size_t n, room;
};

static int add(struct stretches *all, uint64_t page, uint64_t n, unsigned kind)
{
	struct stretch *last = all->n ? &all->stretch[all->n - 1] : NULL;

	if (last && last->page + last->n == page && last->kind == kind) {
		last->n += n;
		return 0;
	}
	if (all->n == all->room) {
		size_t room = all->room ? 2 * all->room : 256;
		struct stretch *grown = realloc(all->stretch, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		all->stretch = grown;
		all->room = room;
	}
	all->stretch[all->n++] = (struct stretch){ page, n, kind };
	return 0;
}

/* ---- a space --------------------------------------------------------------------------------- */

/* Okabe and Ito's palette: told apart by people of any color vision. */
static const struct kind space_kinds[] = {
	{ "read-only", "#56b4e9", 0 },
	{ "read-write", "#e69f00", 0 },
	{ "executable", "#009e73", 0 },
	{ "write + execute", "#cc3377", 0 },
};

static int add_mapping(void *ctx, const struct pmpt_mapping *m)
{
	unsigned kind = (m->flags & PMPT_W ? 1 : 0) + (m->flags & PMPT_X ? 2 : 0);

	return add(ctx, m->va / PMPT_PAGE_BYTES, m->page_bytes / PMPT_PAGE_BYTES, kind);
}

static int map_space(pmpt_pool *pool, const char *name, struct heatmap *map)
{
	struct stretches all = { 0 };
	pmpt_space *space;
	int rc = pmpt_space_open(pool, name, &space);

	if (rc)
		return rc;
	rc = pmpt_walk(space, 0, 0, add_mapping, &all);
	pmpt_space_close(space);
	memcpy(map->kind, space_kinds, sizeof(space_kinds));
	map->n_kinds = 4;
	if (!rc)
		rc = heatmap_build(map, all.stretch, all.n, 0);
	free(all.stretch);
	return rc;
}

/* ---- the frames ------------------------------------------------------------------------------ */

static const struct kind frame_kinds[] = {
	{ "data", "#0072b2", 0 },
	{ "data mapped more than once", "#e69f00", 0 },
};

struct frames {
	uint8_t *seen; /* by frame: times mapped, at most 2 */
	uint64_t n;
};

static int see_frames(void *ctx, const struct pmpt_mapping *m)
{
	struct frames *f = ctx;

	if (m->flags & PMPT_EXT)
		return 0;
	for (uint64_t i = 0; i < m->page_bytes / PMPT_PAGE_BYTES && m->pfn + i < f->n; i++)
		f->seen[m->pfn + i] = f->seen[m->pfn + i] ? 2 : 1;
	return 0;
}

static int see_spaces(pmpt_pool *pool, struct frames *f)
{
	char **name = NULL;
	size_t n = 0;
	int rc = space_names(pool, &name, &n) ? -EIO : 0;

	for (size_t i = 0; i < n && !rc; i++) {
		pmpt_space *space;

		rc = pmpt_space_open(pool, name[i], &space);
		if (rc)
			break;
		rc = pmpt_walk(space, 0, 0, see_frames, f);
		pmpt_space_close(space);
	}
	names_free(name);
	return rc;
}

static int map_frames(pmpt_pool *pool, const struct pmpt_stats *st, struct heatmap *map)
{
	struct frames f = { .n = st->pool_bytes / PMPT_PAGE_BYTES };
	struct stretches all = { 0 };
	int rc;

	f.seen = calloc(f.n, 1);
	rc = f.seen ? see_spaces(pool, &f) : -ENOMEM;
	for (uint64_t i = 0; i < f.n && !rc; i++) {
		if (f.seen[i])
			rc = add(&all, i, 1, f.seen[i] - 1);
	}
	memcpy(map->kind, frame_kinds, sizeof(frame_kinds));
	map->n_kinds = 2;
	map->frames = true;
	if (!rc)
		rc = heatmap_build(map, all.stretch, all.n, f.n);
	free(all.stretch);
	free(f.seen);
	return rc;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int draw(pmpt_pool *pool, const char *path, const char *name, struct heatmap *map)
{
	struct pmpt_stats st = { 0 };
	int rc = pmpt_stats(pool, &st);
	uint64_t cell;

	if (!rc)
		rc = name ? map_space(pool, name, map) : map_frames(pool, &st, map);
	if (rc)
		return fail(rc, "%s: '%s'", path, name ? name : "frames");
	if (name && !map->n)
		return fail(0, "%s: '%s' maps nothing", path, name);
	cell = map->cell_pages * PMPT_PAGE_BYTES;
	if (name)
		snprintf(map->subtitle, sizeof(map->subtitle),
			 "%s of 4 KiB mapped: %s in %s.  One square is %s of addresses.",
			 counted(map->pages, "page"), human_bytes(map->pages * PMPT_PAGE_BYTES),
			 counted(map->n, "region"), human_bytes(cell));
	else
		snprintf(map->subtitle, sizeof(map->subtitle),
			 "%s of 4 KiB: %s data, %s tables, %s reserved, %s free.  One square is "
			 "%s of the pool.",
			 counted(st.frames, "frame"), human_count(st.frames_data),
			 human_count(st.frames_table), human_count(st.frames_reserved),
			 human_count(st.frames_free), human_bytes(cell));
	return EXIT_OK;
}

static int put_svg(const struct heatmap *map, const char *path)
{
	struct output out;
	int code = output_open(&out, path);

	if (code)
		return code;
	heatmap_svg(map, out.to);
	return output_close(&out, EXIT_OK);
}

/* The numbers of the picture. */
static int put_json(const struct heatmap *map, const char *path)
{
	json_t *kinds = json_object(), *regions = json_array();

	for (unsigned k = 0; k < map->n_kinds; k++)
		(void)json_object_set_new(kinds, map->kind[k].name,
					  json_integer((json_int_t)map->kind[k].pages));
	for (size_t i = 0; i < map->n; i++) {
		const struct panel *p = &map->panel[i];
		json_t *from = map->frames ? json_integer((json_int_t)p->first)
					   : json_hex(p->first * PMPT_PAGE_BYTES);

		(void)json_array_append_new(regions,
					    json_pack("{s:o,s:I,s:I}", "from", from, "pages",
						      (json_int_t)(p->end - p->first), "used",
						      (json_int_t)p->pages));
	}
	return json_put(stdout,
			json_pack("{s:s,s:o,s:I,s:o,s:o}", "of", map->frames ? "frames" : "space",
				  "file", path ? json_text(path) : json_null(), "square_bytes",
				  (json_int_t)(map->cell_pages * PMPT_PAGE_BYTES), "pages", kinds,
				  "regions", regions));
}

static int run_heatmap(const struct command *cmd, int argc, char **argv)
{
	const char *path = NULL;
	bool frames = false, json = false;
	const struct opt opts[] = {
		{ "output", 'o', OPT_TEXT, &path, "FILE", "write there (standard output)" },
		{ "frames", 0, OPT_FLAG, &frames, NULL, "the pool's frames, not a space" },
		{ "json", 0, OPT_FLAG, &json, NULL,
		  "print its numbers as a JSON object; a picture only with -o" },
		OPT_END
	};
	int n = options(cmd, opts, argc, argv, 1, 2), code;
	struct heatmap map = { 0 };
	char title[PMPT_NAME_MAX + 32];
	pmpt_pool *pool;

	if ((n == 2) == frames)
		usage_error(cmd, "either SPACE or --frames is expected");
	code = open_pool(argv[0], &pool, NULL);
	if (code)
		return code;
	snprintf(title, sizeof(title), frames ? "Frames of the pool" : "Address space “%s”",
		 frames ? "" : argv[1]);
	map.title = title;
	code = draw(pool, argv[0], frames ? NULL : argv[1], &map);
	if (!code && (path || !json))
		code = put_svg(&map, path);
	if (!code && json)
		code = put_json(&map, path);
	heatmap_free(&map);
	return close_pool(pool, NULL, code);
}

const struct command command_heatmap = {
	.name = "heatmap",
	.synopsis = "pmpt heatmap [-o FILE] [--json] POOL SPACE\n"
		    "pmpt heatmap [-o FILE] [--json] --frames POOL",
	.brief = "draw a space, or the frames, as an SVG",
	.text = "Draw the pages of a space along a Hilbert curve, in the colors of their permissions;\n"
		"regions that lie far apart get panels of their own, at the same scale.  --frames: the\n"
		"frames of the pool that hold data, and those that are mapped more than once.  Where\n"
		"tables and the log lie is not shown; how many there are, is.  In a browser each square\n"
		"tells its address and pages under the pointer.\n",
	.example = "pmpt heatmap -o editor.svg /dev/shm/pool editor",
	.run = run_heatmap,
};
