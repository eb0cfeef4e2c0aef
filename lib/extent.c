/* SPDX-License-Identifier: BSD-3-Clause */
/* extent -- see extent.h. */
#include "extent.h"

#include <string.h>

#include "error.h"

int extents_load(struct extents *list, const struct region *rg, struct mem *mem, uint64_t n)
{
	*list = (struct extents){ 0 };
	if (n < 1 || n > PMPT_EXTENTS_MAX)
		return error_set(PMPT_E_CORRUPT,
				 "superblock at offset %#lx: %lu extents, expected 1 to %u",
				 rg->sb_off, n, PMPT_EXTENTS_MAX);
	list->extent = mem_alloc(mem, n * sizeof(*list->extent));
	if (!list->extent)
		return error_set(-ENOMEM, "no memory for %lu extents", n);
	list->room = n;
	for (uint64_t i = 0; i < n; i++) {
		struct extent_head *head = NULL;
		int rc = region_check_extent(rg, i, &head);
		size_t at = list->n;

		if (rc) {
			extents_free(list, mem);
			return rc;
		}
		while (at > 0 && list->extent[at - 1].first > head->first)
			at--;
		memmove(&list->extent[at + 1], &list->extent[at],
			(list->n - at) * sizeof(*list->extent));
		list->extent[at] =
			(struct extent){ head->first, head->frames, head->reserved_frames };
		list->n++;
	}
	for (size_t i = 1; i < list->n; i++) {
		if (list->extent[i].first <
		    list->extent[i - 1].first + list->extent[i - 1].frames) {
			int rc = error_set(PMPT_E_CORRUPT,
					   "extent at frame %#lx overlaps the one before it",
					   list->extent[i].first);

			extents_free(list, mem);
			return rc;
		}
	}
	return 0;
}

void extents_free(struct extents *list, struct mem *mem)
{
	mem_free(mem, list->extent, list->room * sizeof(*list->extent));
	*list = (struct extents){ 0 };
}

const struct extent *extents_find(const struct extents *list, uint64_t pfn)
{
	size_t low = 0, high = list->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (list->extent[mid].first <= pfn)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0 || pfn - list->extent[low - 1].first >= list->extent[low - 1].frames)
		return NULL;
	return &list->extent[low - 1];
}
