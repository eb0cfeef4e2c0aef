/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_heatmap -- heatmap: a picture of a space, or of the pool's frames. */
#include "heatmap.h"

static int draw(pmpt_pool *pool, const char *path, const char *name, enum heatmap_by by,
		struct heatmap *map)
{
	struct pmpt_stats st = { 0 };
	int rc = pmpt_stats(pool, &st);
	uint64_t cell;

	if (!rc)
		rc = heatmap_color(map, pool, name, by);
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
	static const char *const ways[] = { "prot", "owner", "sharing", "tier", NULL };
	enum heatmap_by by = BY_PROT;
	const char *by_text = NULL;
	bool frames = false, json = false;
	const struct opt opts[] = {
		{ "by", 0, OPT_TEXT, &by_text, "WHAT",
		  "colors: prot (permissions, usual), owner, sharing or tier" },
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
	if (by_text)
		by = (enum heatmap_by)operand_word(cmd, ways, by_text);
	if (frames && by_text && (by == BY_TIER || by == BY_PROT))
		usage_error(cmd, "--frames goes --by owner or sharing");
	code = open_pool(argv[0], &pool, NULL);
	if (code)
		return code;
	snprintf(title, sizeof(title), frames ? "Frames of the pool" : "Address space “%s”",
		 frames ? "" : argv[1]);
	map.title = title;
	code = draw(pool, argv[0], frames ? NULL : argv[1], by, &map);
	if (!code && (path || !json))
		code = put_svg(&map, path);
	if (!code && json)
		code = put_json(&map, path);
	heatmap_free(&map);
	return close_pool(pool, NULL, code);
}

const struct command command_heatmap = {
	.name = "heatmap",
	.synopsis = "pmpt heatmap [--by WHAT] [-o FILE] [--json] POOL SPACE\n"
		    "pmpt heatmap [--by WHAT] [-o FILE] [--json] --frames POOL",
	.brief = "draw a space, or the frames, as an SVG",
	.text = "Draw the pages of a space along a Hilbert curve, in the colors of their permissions;\n"
		"regions that lie far apart get panels of their own, at the same scale.  --frames: the\n"
		"frames of the pool that hold data, and those that are mapped more than once.  Where\n"
		"tables and the log lie is not shown; how many there are, is.  In a browser each square\n"
		"tells its address and pages under the pointer.\n"
		"--by owner: which other space has the page's frame, too; of frames, whose they are.\n"
		"--by sharing: frames of one page alone, of forks and relatives, of segments.\n"
		"--by tier: in memory, external, out in the swap file, demand-zero.\n",
	.example = "pmpt heatmap -o editor.svg /dev/shm/pool editor\n"
		   "pmpt heatmap --by owner -o owners.svg --frames /dev/shm/pool",
	.run = run_heatmap,
};
