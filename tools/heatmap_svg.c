/* SPDX-License-Identifier: BSD-3-Clause */
/* heatmap_svg -- a heatmap as an SVG: title, legend, panels.
 *
 * Over the cells of a panel lies the curve in coarse: it visits the blocks that the cells fill, with
 * a dot where addresses begin, an arrow where they end, and how far from the beginning in between.
 */
#include <stdlib.h>
#include <string.h>

#include "heatmap.h"

#define MARGIN      32u
#define GAP         36u  /* between panels */
#define LABEL       40u  /* height of a panel's two lines of text */
#define LABEL_WIDTH 300u /* a panel's column is at least as wide */
#define WIDTH       1240u
#define WIDTH_MIN   920u /* for the line below the legend */
#define HEAD        180u /* title, a row of the legend, and what is below */
#define LEGEND_ROW  22u
#define FREE_COLOR  "#eceff1"
#define INK         "#263238"
#define FAINT       "#607d8b"

static void escaped(FILE *to, const char *what)
{
	for (; *what; what++) {
		if (*what == '&')
			fputs("&amp;", to);
		else if (*what == '<')
			fputs("&lt;", to);
		else
			fputc(*what, to);
	}
}

static void text(FILE *to, double x, double y, const char *style, const char *what)
{
	fprintf(to, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, style);
	escaped(to, what);
	fputs("</text>\n", to);
}

/* "0x7f12..", or a frame number. */
static const char *place(const struct heatmap *map, uint64_t page, char out[32])
{
	if (map->frames)
		snprintf(out, 32, "frame %s", human_count(page));
	else
		snprintf(out, 32, "%#" PRIx64, page * PMPT_PAGE_BYTES);
	return out;
}

/* ---- where things go ------------------------------------------------------------------------- */

struct layout {
	unsigned cell, width, height, head;
};

/* What of the square the curve reaches. */
static void reach(const struct panel *p, const struct layout *l, unsigned *wide, unsigned *high)
{
	*wide = *high = 0;
	for (uint64_t i = 0; i < p->n_cells; i++) {
		struct hilbert at = hilbert_point(p->order, i);

		*wide = at.x + 1 > *wide ? at.x + 1 : *wide;
		*high = at.y + 1 > *high ? at.y + 1 : *high;
	}
	*wide *= l->cell;
	*high *= l->cell;
}

struct column {
	unsigned x, width, used;
};

/* Put each panel into the first column of the row that has room, else into a new one, else into a
 * new row; rows are as high as the highest panel. */
static void lay_out(struct heatmap *map, struct layout *l)
{
	struct column column[PANELS_MAX];
	unsigned order = 0, tall = 0, x = MARGIN, y = l->head, n = 0, wide, high;

	for (size_t i = 0; i < map->n; i++)
		order = map->panel[i].order > order ? map->panel[i].order : order;
	l->cell = order >= 7 ? 5 : order == 6 ? 8 : order == 5 ? 16 : 24;
	for (size_t i = 0; i < map->n; i++) {
		reach(&map->panel[i], l, &wide, &high);
		tall = high + LABEL > tall ? high + LABEL : tall;
	}
	l->width = WIDTH_MIN;
	for (size_t i = 0; i < map->n; i++) {
		struct panel *p = &map->panel[i];
		unsigned c = 0;

		reach(p, l, &wide, &high);
		wide = wide > LABEL_WIDTH ? wide : LABEL_WIDTH;
		high += LABEL;
		while (c < n && (column[c].used + high > tall || wide > column[c].width))
			c++;
		if (c == n && n && x + wide > WIDTH) { /* a new row */
			x = MARGIN;
			y += tall + GAP;
			c = n = 0;
		}
		if (c == n) {
			column[n++] = (struct column){ x, wide, 0 };
			x += wide + GAP;
		}
		p->x = column[c].x;
		p->y = y + column[c].used + LABEL;
		column[c].used += high + GAP / 2;
		l->width = x > l->width ? x : l->width;
		l->height = p->y + high > l->height + LABEL ? p->y + high - LABEL : l->height;
	}
	l->width += MARGIN;
	l->height += MARGIN;
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* From the color of free cells to the kind's: never so pale that a single page is lost. */
static void shade(const char *color, double part, char out[8])
{
	unsigned long full = strtoul(color + 1, NULL, 16), none = strtoul(&FREE_COLOR[1], NULL, 16);
	double weight = 0.35 + 0.65 * part;
	unsigned rgb[3];

	for (int i = 0; i < 3; i++) {
		double from = (double)(none >> (16 - 8 * i) & 255);
		double upto = (double)(full >> (16 - 8 * i) & 255);

		rgb[i] = (unsigned)(from + (upto - from) * weight + 0.5) & 255;
	}
	snprintf(out, 8, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

static void cell_svg(const struct heatmap *map, const struct panel *p, const struct layout *l,
		     uint64_t i, FILE *to)
{
	uint64_t page = p->first + i * map->cell_pages;
	const uint32_t *pages = p->cell[i].pages;
	struct hilbert point = hilbert_point(p->order, i);
	unsigned most = 0, size = l->cell > 5 ? l->cell - 1 : l->cell;
	uint64_t all = 0;
	char color[8] = FREE_COLOR, at[32];

	for (unsigned k = 0; k < map->n_kinds; k++) {
		all += pages[k];
		most = pages[k] > pages[most] ? k : most;
	}
	if (all)
		shade(map->kind[most].color, (double)all / (double)map->cell_pages, color);
	fprintf(to, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"%s\">",
		p->x + point.x * l->cell, p->y + point.y * l->cell, size, size, color);
	fprintf(to, "<title>%s", place(map, page, at));
	for (unsigned k = 0; k < map->n_kinds; k++) {
		if (!pages[k])
			continue;
		fputc('\n', to);
		escaped(to, map->kind[k].name);
		fprintf(to, ": %u of %" PRIu64 " pages", pages[k], map->cell_pages);
	}
	fprintf(to, "%s</title></rect>\n", all ? "" : map->frames ? "\nno data" : "\nnot mapped");
}

/* ---- the curve over the cells ------------------------------------------------------------------ */

#define BLOCK_MIN 64u /* pixels: a narrower block has no room for its label */

/* The panel in coarse: 4^order blocks. */
struct blocks {
	unsigned order, side; /* side: of a block, in pixels */
	uint64_t cells, n;    /* of a block; blocks that the panel reaches */
};

static struct blocks blocks(const struct panel *p, const struct layout *l, unsigned order)
{
	struct blocks b = { .order = order, .side = l->cell << (p->order - order) };

	b.cells = 1ull << 2 * (p->order - order);
	b.n = (p->n_cells + b.cells - 1) / b.cells;
	return b;
}

/* Center of block i, in pixels. */
static void center(const struct panel *p, const struct blocks *b, uint64_t i, double *x, double *y)
{
	struct hilbert at = hilbert_point(b->order, i);

	*x = p->x + (at.x + 0.5) * b->side;
	*y = p->y + (at.y + 0.5) * b->side;
}

/* A line through the blocks' centers, a dot at its beginning, an arrow head at its end. */
static void line_svg(const struct panel *p, const struct blocks *b, FILE *to)
{
	static const struct {
		const char *color, *width, *opacity;
	} strokes[] = { { "#ffffff", "4", "0.55" }, { INK, "1.5", "0.8" } };
	double x, y, before_x = 0, before_y = 0, turn;

	for (size_t s = 0; s < sizeof(strokes) / sizeof(strokes[0]); s++) {
		fprintf(to,
			"<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" opacity=\"%s\" "
			"stroke-linejoin=\"round\" points=\"",
			strokes[s].color, strokes[s].width, strokes[s].opacity);
		for (uint64_t i = 0; i < b->n; i++) {
			center(p, b, i, &x, &y);
			fprintf(to, "%.1f,%.1f ", x, y);
		}
		fputs("\"/>\n", to);
	}
	center(p, b, 0, &x, &y);
	fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" stroke=\"#ffffff\"/>\n", x, y);
	if (b->n < 2)
		return;
	center(p, b, b->n - 2, &before_x, &before_y);
	center(p, b, b->n - 1, &x, &y);
	turn = y < before_y ? 0 : x > before_x ? 90 : y > before_y ? 180 : 270;
	fprintf(to,
		"<path d=\"M0,-7 l-5.5,10 h11 z\" stroke=\"#ffffff\" "
		"transform=\"translate(%.1f,%.1f) rotate(%.0f)\"/>\n",
		x, y, turn);
}

/* "+1280 KiB": exact, in the largest unit that is. */
static const char *distance(uint64_t bytes, char out[32])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned u = 0;

	for (; u < 4 && bytes % 1024 == 0; u++)
		bytes /= 1024;
	snprintf(out, 32, "+%" PRIu64 " %s", bytes, unit[u]);
	return out;
}

/* How far from the panel's beginning each block begins. */
static void distances_svg(const struct heatmap *map, const struct panel *p, const struct blocks *b,
			  FILE *to)
{
	for (uint64_t i = 1; i < b->n; i++) {
		struct hilbert at = hilbert_point(b->order, i);
		unsigned shift = p->order - b->order;
		struct hilbert corner = { at.x << shift, at.y << shift };
		char far[32];

		if (hilbert_place(p->order, corner) >= p->n_cells)
			continue; /* nothing there to write on */
		text(to, p->x + at.x * b->side + 4.0, p->y + at.y * b->side + 13.0,
		     "font-size=\"11\" font-weight=\"bold\" stroke=\"#ffffff\" "
		     "stroke-width=\"3\" stroke-opacity=\"0.8\" paint-order=\"stroke\"",
		     distance(i * b->cells * map->cell_pages * PMPT_PAGE_BYTES, far));
	}
}

static void curve_over_cells(const struct heatmap *map, const struct panel *p,
			     const struct layout *l, FILE *to)
{
	unsigned width = l->cell << p->order, order = 0;
	struct blocks labelled, visited;

	while (order < 2 && order + 1 < p->order && width >> (order + 1) >= BLOCK_MIN)
		order++;
	if (!order)
		return;
	labelled = blocks(p, l, order);
	visited = blocks(p, l, order + 1);
	visited.n = p->n_cells / visited.cells; /* whole ones: the arrow is not to point outside */
	fputs("<g pointer-events=\"none\">\n", to);
	line_svg(p, &visited, to);
	distances_svg(map, p, &labelled, to);
	fputs("</g>\n", to);
}

/* ---- panels ------------------------------------------------------------------------------------ */

static void panel_svg(const struct heatmap *map, const struct panel *p, const struct layout *l,
		      FILE *to)
{
	char from[32], upto[32], line[128];

	snprintf(line, sizeof(line), "%s – %s", place(map, p->first, from),
		 place(map, p->end, upto));
	text(to, p->x, p->y - 22.0, "font-size=\"13\" font-weight=\"bold\"", line);
	snprintf(line, sizeof(line), "%s, %s of it %s",
		 human_bytes((p->end - p->first) * PMPT_PAGE_BYTES),
		 human_bytes(p->pages * PMPT_PAGE_BYTES), map->frames ? "data" : "mapped");
	text(to, p->x, p->y - 7.0, "font-size=\"12\" fill=\"" FAINT "\"", line);
	fputs("<g shape-rendering=\"crispEdges\">\n", to);
	for (uint64_t i = 0; i < p->n_cells; i++)
		cell_svg(map, p, l, i, to);
	fputs("</g>\n", to);
	curve_over_cells(map, p, l, to);
}

/* ---- head ------------------------------------------------------------------------------------ */

/* A small curve that shows how addresses run. */
static void curve_svg(FILE *to, double x, double y)
{
	fputs("<polyline fill=\"none\" stroke=\"" FAINT "\" stroke-width=\"1.5\" points=\"", to);
	for (uint64_t d = 0; d < 64; d++) {
		struct hilbert at = hilbert_point(3, d);

		fprintf(to, "%.1f,%.1f ", x + 5 * at.x, y + 5 * at.y);
	}
	fprintf(to,
		"\"/>\n<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"" INK "\"/>\n"
		"<path d=\"M%.1f,%.1f l-3.5,5 h7 z\" fill=\"" INK "\"/>\n",
		x, y, x + 35, y - 4);
}

struct legend {   /* where the next swatch goes */
	FILE *to; /* NULL: only find how many rows there are */
	double x, y;
};

/* Bytes of UTF-8 that begin a character. */
static size_t characters(const char *name)
{
	size_t n = 0;

	for (; *name; name++)
		n += ((unsigned char)*name & 0xc0) != 0x80;
	return n;
}

static void swatch(struct legend *l, const char *color, const char *name)
{
	double wide = 44 + 7.2 * (double)characters(name), left = MARGIN + 56;

	if (l->x > left && l->x + wide > WIDTH_MIN) {
		l->x = left;
		l->y += LEGEND_ROW;
	}
	if (l->to) {
		fprintf(l->to,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"14\" fill=\"%s\" "
			"stroke=\"#b0bec5\" stroke-width=\"0.5\"/>\n",
			l->x, l->y - 11, color);
		text(l->to, l->x + 20, l->y, "font-size=\"13\"", name);
	}
	l->x += wide;
}

/* Kinds that there are, what is empty, what pale means.  Returns the last row's place. */
static double legend(const struct heatmap *map, FILE *to)
{
	struct legend l = { to, MARGIN + 56, 98 };
	char line[160], pale[8];
	unsigned kind = 0;

	for (unsigned k = 0; k < map->n_kinds; k++) {
		if (!map->kind[k].pages)
			continue;
		snprintf(line, sizeof(line), "%s %s", map->kind[k].name,
			 human_bytes(map->kind[k].pages * PMPT_PAGE_BYTES));
		swatch(&l, map->kind[k].color, line);
	}
	while (kind + 1 < map->n_kinds && !map->kind[kind].pages)
		kind++;
	shade(map->kind[kind].color, 0.1, pale);
	swatch(&l, FREE_COLOR, map->frames ? "free, tables, log" : "not mapped");
	if (map->cell_pages > 1)
		swatch(&l, pale, map->frames ? "pale: partly data" : "pale: partly mapped");
	return l.y;
}

static void head_svg(const struct heatmap *map, FILE *to)
{
	const char *what = map->frames ? "Frames" : "Addresses";
	char line[160];
	double y;

	text(to, MARGIN, 42, "font-size=\"22\" font-weight=\"bold\"", map->title);
	text(to, MARGIN, 64, "font-size=\"13\" fill=\"" FAINT "\"", map->subtitle);
	curve_svg(to, MARGIN + 2, 86);
	y = legend(map, to);
	snprintf(line, sizeof(line),
		 "%s run along the line (a Hilbert curve) from the dot to the arrow, so neighbours "
		 "stay neighbours;",
		 what);
	text(to, MARGIN + 56, y + 23, "font-size=\"12.5\" fill=\"" FAINT "\"", line);
	text(to, MARGIN + 56, y + 40, "font-size=\"12.5\" fill=\"" FAINT "\"",
	     map->frames
		     ? "+ tells how far into the pool a block begins."
		     : "+ tells how far behind the first address a block begins.  Regions that lie "
		       "far apart are drawn apart, at one scale.");
}

void heatmap_svg(const struct heatmap *map, FILE *to)
{
	struct heatmap placed = *map;
	struct layout l = { .head = HEAD + (unsigned)legend(map, NULL) - 98 };

	lay_out(&placed, &l);
	fprintf(to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
		"viewBox=\"0 0 %u %u\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" "
		"fill=\"" INK "\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
		l.width, l.height, l.width, l.height);
	head_svg(&placed, to);
	for (size_t i = 0; i < placed.n; i++)
		panel_svg(&placed, &placed.panel[i], &l, to);
	fputs("</svg>\n", to);
}
