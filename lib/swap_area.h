/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_area -- where the pool keeps what it knows of its swap file: frames of an extent with the
 * slots' descriptors.
 *
 * A slot is a pseudo-frame: its number, SLOT_FIRST + slot, is above that of any frame of a pool, and
 * it has a descriptor (entry.h) with kind SLOT, so that it is counted, shared and logged as frames
 * are.
 * FORMAT	frame 0		struct swap_area_head
 *		frames 1..n	descriptors, 8 bytes a slot; zero where there is no slot
 * VALID IF AND ONLY IF (1) magic and the pool's salt, (2) off is its own place, (3) the frames are
 * usable ones of one extent, (4) crc over [0, offsetof crc), (5) zeros, the path ends.
 * A space record with the state SPACE_LIVE | RECORD_SWAP names it: root its offset, user[0] slots,
 * user[1] the file's id.  Superblock: SB_FEATURE_SWAP is durable before that record is logged and
 * until after it is gone.
 * ORDER	on: head and descriptors durable [F1] -> record and counts, one transaction ->
 *		checkpoint -> only then is a slot counted.  off: no slot is counted -> checkpoint ->
 *		record free, counts down, one transaction -> checkpoint [F2].  So whenever a live
 *		line aims at a slot's descriptor, the record is durable at home and the area what it was.
 */
#ifndef PMPT_SWAP_AREA_H
#define PMPT_SWAP_AREA_H

#include "extent.h"

#define SLOT_FIRST ((uint64_t)1 << 28) /* PMPT_POOL_MAX_BYTES >> FRAME_SHIFT */
#define SLOTS_MAX  ((uint64_t)1 << 28) /* 1 TiB */
_Static_assert(SLOT_FIRST == PMPT_POOL_MAX_BYTES >> FRAME_SHIFT, "no frame has a slot's number");

#define SWAP_AREA_MAGIC 0x617065726177734full

struct swap_area_head {
	uint64_t magic, salt, off, slots;
	uint64_t id; /* of the file */
	char path[PMPT_SWAP_PATH_MAX + 1];
	uint8_t zero[4096 - 40 - PMPT_SWAP_PATH_MAX - 1 - 8];
	uint32_t reserved, crc;
};
_Static_assert(sizeof(struct swap_area_head) == 4096, "the head is a frame");

struct swap_area {
	uint64_t off; /* of the head; 0: there is none */
	uint64_t slots;
	uint32_t record; /* in the directory */
};

static inline uint64_t swap_area_frames(uint64_t slots)
{
	return 1 + (slots + FRAME_WORDS - 1) / FRAME_WORDS;
}
/* Offset of the first descriptor, and behind the last. */
static inline uint64_t swap_area_descs(const struct swap_area *a) { return a->off + FRAME_BYTES; }
static inline uint64_t swap_area_end(const struct swap_area *a)
{
	return swap_area_descs(a) + a->slots * sizeof(pm_word);
}
/* [off, end) lies among its descriptors. */
static inline bool swap_area_has(const struct swap_area *a, uint64_t off, uint64_t end)
{
	return a->off && off >= swap_area_descs(a) && off < end && end <= swap_area_end(a);
}

void swap_area_seal(struct swap_area_head *head);
/* Is it valid at this place?  Returns 0; PMPT_E_CORRUPT. */
int swap_area_check(const struct region *rg, const struct extents *extents, uint64_t off);
/* The area that the directory names; off 0: none, or none that is valid.  Reads the superblock's
 * features first: without the bit nothing else. */
void swap_area_find(const struct region *rg, const struct extents *extents, struct swap_area *area);

#endif
