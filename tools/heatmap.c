/* SPDX-License-Identifier: BSD-3-Clause */
/* heatmap -- what is drawn: panels, scale, cells.  See heatmap.h. */
#include "heatmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CELLS_MAX 8192 /* of all panels: finer cannot be seen, and each has a tooltip */
#define CUT_MIN   512  /* pages */

static uint64_t gap_before(const struct stretch *s, size_t i)
{
	return s[i].page - (s[i - 1].page + s[i - 1].n);
}

static int larger(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* Gaps from this size on begin a new panel: those above half of what is mapped, the largest
 * PANELS_MAX - 1 of them. */
static int cut_size(const struct heatmap *map, const struct stretch *s, size_t n, uint64_t *cut)
{
	uint64_t *gap = n > 1 ? malloc((n - 1) * sizeof(*gap)) : NULL;

	*cut = map->pages / 2 > CUT_MIN ? map->pages / 2 : CUT_MIN;
	if (n <= 1)
		return 0;
	if (!gap)
		return -ENOMEM;
	for (size_t i = 1; i < n; i++)
		gap[i - 1] = gap_before(s, i);
	qsort(gap, n - 1, sizeof(*gap), larger);
	if (n - 1 >= PANELS_MAX && gap[PANELS_MAX - 1] >= *cut)
		*cut = gap[PANELS_MAX - 1] + 1;
	free(gap);
	return 0;
}

static void make_panels(struct heatmap *map, const struct stretch *s, size_t n, uint64_t cut,
			uint64_t span_end)
{
	if (span_end) {
		map->panel[map->n++] = (struct panel){ .first = 0, .end = span_end };
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || gap_before(s, i) >= cut)
			map->panel[map->n++] = (struct panel){ .first = s[i].page };
		map->panel[map->n - 1].end = s[i].page + s[i].n;
	}
}

/* Panels begin and end at whole cells, so that a cell is an aligned block. */
static uint64_t cells(const struct panel *p, uint64_t cell_pages)
{
	return (p->end + cell_pages - 1) / cell_pages - p->first / cell_pages;
}

static int choose_scale(struct heatmap *map, uint64_t most)
{
	uint64_t all;

	map->cell_pages = 1;
	for (;; map->cell_pages *= 2) {
		all = 0;
		for (size_t i = 0; i < map->n; i++)
			all += cells(&map->panel[i], map->cell_pages);
		if (all <= most)
			break;
	}
	for (size_t i = 0; i < map->n; i++) {
		struct panel *p = &map->panel[i];

		p->n_cells = cells(p, map->cell_pages);
		p->first -= p->first % map->cell_pages;
		while (1ull << 2 * p->order < p->n_cells)
			p->order++;
		p->cell = calloc(p->n_cells, sizeof(*p->cell));
		if (!p->cell)
			return -ENOMEM;
	}
	return 0;
}

static void fill(struct heatmap *map, const struct stretch *stretch, size_t n)
{
	struct panel *p = map->panel;

	for (size_t i = 0; i < n; i++) {
		struct stretch s = stretch[i];

		while (s.page >= p->end)
			p++;
		p->pages += s.n;
		while (s.n) {
			uint64_t at = s.page - p->first, cell = at / map->cell_pages;
			uint64_t left = map->cell_pages - at % map->cell_pages;
			uint64_t some = s.n < left ? s.n : left;

			p->cell[cell].pages[s.kind] += (uint32_t)some;
			s.page += some;
			s.n -= some;
		}
	}
}

int heatmap_build(struct heatmap *map, const struct stretch *stretch, size_t n, uint64_t span_end)
{
	uint64_t cut;
	int rc;

	for (size_t i = 0; i < n; i++) {
		map->pages += stretch[i].n;
		map->kind[stretch[i].kind].pages += stretch[i].n;
	}
	rc = cut_size(map, stretch, n, &cut);
	if (rc)
		return rc;
	make_panels(map, stretch, n, cut, span_end);
	rc = choose_scale(map, span_end ? CELLS_MAX / 2 : CELLS_MAX); /* a whole square */
	if (!rc)
		fill(map, stretch, n);
	return rc;
}

void heatmap_free(struct heatmap *map)
{
	for (size_t i = 0; i < map->n; i++)
		free(map->panel[i].cell);
}
