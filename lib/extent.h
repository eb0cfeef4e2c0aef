/* SPDX-License-Identifier: BSD-3-Clause */
/* extent -- which frame numbers are frames: the extents in use, sorted, and where a frame's
 * descriptor lies. */
#ifndef PMPT_EXTENT_H
#define PMPT_EXTENT_H

#include "region.h"

struct extent {
	uint64_t first; /* PFN of the header frame, a multiple of GROUP_FRAMES */
	uint64_t frames;
	uint64_t reserved; /* frames from the first that are never free */
};

struct extents {
	size_t n;
	struct extent *extent; /* ascending by first */
	size_t room;
};

/* The first n extents of the superblock, their headers checked as region_check does.
 * Returns 0; PMPT_E_CORRUPT; -ENOMEM. */
int extents_load(struct extents *list, const struct region *rg, struct mem *mem, uint64_t n);
void extents_free(struct extents *list, struct mem *mem);
/* The extent of a frame, or NULL. */
const struct extent *extents_find(const struct extents *list, uint64_t pfn);

/* Frames of descriptors behind the header. */
static inline uint64_t extent_desc_frames(uint64_t frames)
{
	return (frames + FRAME_WORDS - 1) / FRAME_WORDS;
}
/* Pool offset of a frame's descriptor. */
static inline uint64_t extent_desc_off(const struct extent *e, uint64_t pfn)
{
	return ((e->first + 1) << FRAME_SHIFT) + (pfn - e->first) * sizeof(uint64_t);
}

/* The longest run of free frames that a further extent can bring. */
static inline uint64_t extent_run_max(void)
{
	uint64_t frames = (PMPT_EXTENT_BYTES - GROUP_BYTES) >> FRAME_SHIFT;

	return frames - 1 - extent_desc_frames(frames);
}

#endif
