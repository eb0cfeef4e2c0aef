/* SPDX-License-Identifier: BSD-3-Clause */
/* region -- a base address, a size, a medium, and where the superblock lies: all that the core
 * knows of what holds a pool.
 *
 * A libpmemobj pool, a raw mapping of the file and a test's buffer are all regions.  Offsets are
 * from base; base is 2 MiB aligned in use with real pools (tests: 4 KiB suffices, group arithmetic
 * is on offsets).
 */
#ifndef PMPT_REGION_H
#define PMPT_REGION_H

#include "pm.h"

struct region {
	char *base;
	uint64_t bytes;
	uint64_t sb_off;  /* of struct sb, 64-byte aligned */
	const char *path; /* of the file, for messages; the caller's; NULL: there is none */
	struct pm_medium medium;
};

static inline struct sb *region_sb(const struct region *rg)
{
	return (struct sb *)(void *)(rg->base + rg->sb_off);
}
static inline void *region_at(const struct region *rg, uint64_t off) { return rg->base + off; }
static inline uint64_t region_off(const struct region *rg, const void *ptr)
{
	return (uint64_t)((const char *)ptr - rg->base);
}
/* [off, off + len) lies in the region, without wrapping. */
static inline bool region_has(const struct region *rg, uint64_t off, uint64_t len)
{
	return off <= rg->bytes && len <= rg->bytes - off;
}

/* Shape of a pool to format; every number already chosen (pool.c chooses from pmpt_config). */
struct region_shape {
	uint32_t n_lanes, half_lines, bulk_lines, n_spaces;
	uint8_t uuid[16];
	uint64_t salt;
};

/* Frames that extent 0 needs before the first free one, header, descriptors, directory and log
 * included, if it has `frames` frames. */
uint64_t region_reserved_frames(const struct region_shape *shape, uint64_t index, uint64_t frames);

/* Format one extent over [off, off + bytes): header and reserved descriptors, all other descriptors
 * zero; durable on 0.  The blocks exist.  The extent begins at the first 2 MiB boundary at or after
 * off.  *frames: out.
 * Returns 0; PMPT_E_NO_FRAMES (too small); PMPT_E_IO. */
int region_format_extent(struct region *rg, struct pm *pm, const struct region_shape *shape,
			 uint64_t index, uint64_t off, uint64_t bytes, uint64_t *frames);

/* Format extent 0 (the object at sb->extent[0].off, of extent_bytes) and then the superblock; the
 * pool is one when the superblock's CRC is durable.  checkpoint_lsn 0, lsn_limit 1 (recovery raises
 * it at the first open), bulk_from 0, n_extents 1. */
int region_format(struct region *rg, const struct region_shape *shape, uint64_t extent_bytes);

/* Check the superblock and the headers of the n_extents in use.  Writes nothing, reads only inside
 * the region.
 * Returns 0; PMPT_E_NOT_POOL, _VERSION, _CORRUPT, _TRUNCATED, with the message. */
int region_check(const struct region *rg);
/* Check the header of one extent, in use or not yet.  head: out.  Returns 0 or PMPT_E_CORRUPT. */
int region_check_extent(const struct region *rg, uint64_t index, struct extent_head **head);
/* by sb->extent[index].off; must have been checked */
struct extent_head *region_extent(const struct region *rg, uint64_t index);

/* 0; PMPT_E_CPU: this processor has no instruction for it.  Before any CRC. */
int crc32c_check(void);
/* len any; start with ~0u, no final inversion */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
