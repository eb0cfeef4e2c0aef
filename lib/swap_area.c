/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_area -- see swap_area.h. */
#include "swap_area.h"

#include <string.h>

#include "error.h"

static uint32_t head_crc(const struct swap_area_head *head)
{
	return crc32c(~0u, head, offsetof(struct swap_area_head, crc));
}

void swap_area_seal(struct swap_area_head *head)
{
	head->magic = SWAP_AREA_MAGIC;
	head->crc = head_crc(head);
}

static bool frames_usable(const struct extents *extents, uint64_t pfn, uint64_t n)
{
	const struct extent *e = extents_find(extents, pfn);

	return e && pfn >= e->first + e->reserved && n <= e->first + e->frames - pfn;
}

static bool tail_zero(const struct swap_area_head *head)
{
	size_t used = strnlen(head->path, sizeof(head->path));
	const char *p = head->path + used, *end = (const char *)&head->reserved;

	while (p < end && !*p)
		p++;
	return used && used < sizeof(head->path) && p == end && !head->reserved;
}

int swap_area_check(const struct region *rg, const struct extents *extents, uint64_t off)
{
	const struct swap_area_head *head;

	if (off % FRAME_BYTES || !frames_usable(extents, off >> FRAME_SHIFT, 1))
		return error_set(PMPT_E_CORRUPT,
				 "the swap area at offset %#lx, expected a frame of the pool", off);
	head = region_at(rg, off);
	if (head->magic != SWAP_AREA_MAGIC || head->crc != head_crc(head))
		return error_set(
			PMPT_E_CORRUPT,
			"swap area at offset %#lx: magic %#lx, crc %#x, expected %#lx, %#x", off,
			head->magic, head->crc, (uint64_t)SWAP_AREA_MAGIC, head_crc(head));
	if (head->salt != region_sb(rg)->salt || head->off != off || !tail_zero(head))
		return error_set(
			PMPT_E_CORRUPT,
			"swap area at offset %#lx: place %#lx, expected its own, this pool's salt, a path and zeros",
			off, head->off);
	if (!head->slots || head->slots > SLOTS_MAX ||
	    !frames_usable(extents, off >> FRAME_SHIFT, swap_area_frames(head->slots)))
		return error_set(PMPT_E_CORRUPT,
				 "swap area at offset %#lx: %lu slots have no room in its extent",
				 off, head->slots);
	return 0;
}

void swap_area_find(const struct region *rg, const struct extents *extents, struct swap_area *area)
{
	const struct sb *sb = region_sb(rg);
	const struct space_record *r = region_at(rg, sb->directory);

	*area = (struct swap_area){ 0 };
	if (!(word_load(&sb->features) & SB_FEATURE_SWAP))
		return;
	for (uint32_t i = 0; i < sb->n_spaces; i++) {
		uint64_t off = word_load(&r[i].root);
		const struct swap_area_head *head;

		if (word_load(&r[i].state) != RECORD_IS_SWAP || swap_area_check(rg, extents, off))
			continue;
		head = region_at(rg, off);
		*area = (struct swap_area){ off, head->slots, i };
		return;
	}
}
