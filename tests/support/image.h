/* SPDX-License-Identifier: BSD-3-Clause */
/* image -- a small healthy pool on a buffer, stored word by word without the library's map path:
 * two extents, two spaces with leaves of every size, one space being deleted, a log with dead and
 * live lines.  The buffer lies between pages that trap.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include "wal.h"

#define IMAGE_BYTES      ((uint64_t)12 << 20)
#define IMAGE_CHECKPOINT 10u
#define IMAGE_LIMIT      1000u
#define IMAGE_SALT       0x5a17u

struct image {
	struct region rg;
	struct sb *sb;
	struct space_record *record; /* 0: "alpha", 1: "beta", 2: being deleted, then free ones */
	uint64_t next;               /* the next frame to give out */
	/* tables of alpha by level: over address 0, and over the last 512 GiB */
	uint64_t a[5], b[5];
	uint64_t c[5];    /* of beta */
	uint64_t deleted; /* PML4 of the space being deleted */
	uint64_t data;    /* 10 data frames, mapped by a[1] 0..9 */
	uint64_t shared;  /* mapped by a[1] 10 and c[1] 0 */
	uint64_t huge;    /* 512 frames, mapped by a[2] 1 */
	uint64_t freed;   /* a freed table */
};

void image_make(struct image *im);
void image_free(struct image *im);

/* Offsets of an entry, a descriptor, a line of redo lane `lane`, half 0, one of the bulk lane. */
uint64_t image_entry(uint64_t pfn, unsigned index);
uint64_t image_desc(const struct image *im, uint64_t pfn);
uint64_t image_line(const struct image *im, unsigned lane, unsigned slot);
uint64_t image_bulk(const struct image *im, unsigned slot);

static inline pm_word *image_word(const struct image *im, uint64_t off)
{
	return region_at(&im->rg, off);
}
void image_poke(struct image *im, uint64_t off, uint64_t value);
/* Seal a line {where, old, new} x 2 into a slot. */
void image_log(struct image *im, uint64_t off, uint64_t lsn, unsigned flags, unsigned count,
	       const struct line_word word[2]);
/* The superblock's CRC again, after a change of what it covers. */
void image_seal(struct image *im);
uint64_t image_hash(const struct image *im);

#endif
