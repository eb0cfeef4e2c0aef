/* SPDX-License-Identifier: BSD-3-Clause */
/* heatmap -- pages along a Hilbert curve: neighbours in the address space are neighbours in the
 * picture.
 *
 * A *panel* is a cluster of ranges that lie close together, a *cell* a square of it that stands for
 * cell_pages pages; all panels have the same scale, so areas compare.  Kinds of pages have colors;
 * a cell shows the kind that most of its pages have, the paler the fewer are mapped.
 */
#ifndef PMPT_HEATMAP_H
#define PMPT_HEATMAP_H

#include "hilbert.h"
#include "tool.h"

#define KINDS_MAX  8
#define PANELS_MAX 12

struct kind {
	const char *name, *color;
	uint64_t pages;
};
struct cell {
	uint32_t pages[KINDS_MAX];
};
struct panel {
	uint64_t first, end; /* page numbers, half open */
	uint64_t pages;      /* mapped */
	unsigned order;      /* the square has 2^order cells on a side */
	struct cell *cell;
	uint64_t n_cells;
	unsigned x, y; /* where it is drawn: set by the layout */
};
struct heatmap {
	const char *title;
	char subtitle[160];
	bool frames; /* numbers are frames, not addresses */
	uint64_t cell_pages, pages;
	struct kind kind[KINDS_MAX];
	char label[KINDS_MAX][48]; /* where a kind's name is not constant */
	unsigned n_kinds;
	struct panel panel[PANELS_MAX];
	size_t n;
};

/* Pages [page, page + n) of a kind; in ascending order. */
struct stretch {
	uint64_t page, n;
	unsigned kind;
};

/* Cut into panels, choose the scale, fill the cells.  span_end: 0, or draw [0, span_end) as one
 * panel whatever is in it.  Returns 0 or -ENOMEM. */
int heatmap_build(struct heatmap *map, const struct stretch *stretch, size_t n, uint64_t span_end);
void heatmap_svg(const struct heatmap *map, FILE *to);
void heatmap_free(struct heatmap *map);

/* ---- what is colored (heatmap_kinds.c) --------------------------------------------------------- */

enum heatmap_by { BY_PROT, BY_OWNER, BY_SHARING, BY_TIER };

/* Kinds and stretches of a space (NULL: of the pool's frames; not by tier), and build.  Returns 0 or the
 * library's error. */
int heatmap_color(struct heatmap *map, pmpt_pool *pool, const char *space, enum heatmap_by by);

#endif
