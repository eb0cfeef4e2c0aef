/* SPDX-License-Identifier: BSD-3-Clause */
/* check -- the verifier: every invariant that an image can show, found wrong or not, without one
 * byte written to it.
 *
 * RULES, the names that findings carry
 *	superblock	magic, crc, shape, reserved bytes, unused extent slots
 *	extent		headers of the extents in use
 *	space		records of the directory: state, name, root, reserved words
 *	entry		bits and targets of table entries; empty tables; a table met at two levels
 *	descriptor	kinds and zero bits; reserved frames; what a frame is used as
 *	log		live lines that recovery cannot reach, or that aim where they may not
 *	W2 W4 W5 W8	wal.h, as far as an image shows them
 *	swap		the record and the area of the swap tier
 *	WX		policy.h P1 to P3: no page of a space with the policy W^X is writable and
 *			executable; a frame's or segment's state goes with all mappings
 *	F3 F4 F6	a count is not 0 iff the frame is reachable; it is exact; no table is shared
 *			while the links to it allow writing
 * Offsets are from the start of the region; for a single file that is the file.
 *
 * Files: check.c superblock, extents and the whole; check_log.c; check_tree.c directory, tables,
 * counts; check_policy.c W^X; check_file.c pmpt_check(); check_map.c how a file or a pool set is mapped.
 */
#ifndef PMPT_CHECK_H
#define PMPT_CHECK_H

#include "swap_area.h"

struct check_options {
	void (*finding)(void *ctx, const struct pmpt_finding *f); /* may be NULL */
	void (*progress)(void *ctx, unsigned permille);           /* may be NULL */
	void *ctx;
};

/* Verify a region that recovery has brought to rest.  Any bytes may be in it.  The counts are added
 * to those in summary.
 * Returns 0 (see summary->findings); PMPT_E_NOT_POOL, _VERSION, _TRUNCATED; -ENOMEM. */
int check_region(struct region *rg, struct mem *mem, const struct check_options *o,
		 struct pmpt_check *summary);
/* Its two halves, for a region with a log to replay: superblock, extents and log as they were
 * found, and, when that found nothing and replay() has returned 0, directory, tables and counts. */
int check_region_log(struct region *rg, struct mem *mem, const struct check_options *o,
		     struct pmpt_check *summary);
int check_region_tree(struct region *rg, struct mem *mem, const struct check_options *o,
		      struct pmpt_check *summary);

/* ---- inside the verifier -------------------------------------------------------------------- */

/* What the walk knows of the 512 frames of a group. */
struct check_group {
	uint32_t refs[GROUP_FRAMES]; /* entries and records that refer to the frame, saturating */
	/* 1..4: reached as a table of this level; CHECK_AREA: of the swap area; 0: neither */
	uint8_t level[GROUP_FRAMES];
};
#define CHECK_AREA 5

struct check {
	struct region *rg;
	struct mem *mem;
	const struct check_options *o;
	struct pmpt_check *summary;
	const struct sb *sb;
	struct extents extents;
	struct check_group **group; /* by PFN / 512; NULL: nothing in it was reached */
	size_t n_groups;
	struct swap_area swap;
	uint32_t *slot_refs; /* entries that refer to each of its slots */
	unsigned permille;
};

__attribute__((format(printf, 4, 5))) void check_found(struct check *c, const char *rule,
						       uint64_t off, const char *format, ...);
void check_progress(struct check *c, unsigned permille);
/* A frame of an extent in use that tables and data may lie in. */
static inline bool check_frame_usable(const struct check *c, uint64_t pfn)
{
	const struct extent *e = extents_find(&c->extents, pfn);

	return e && pfn >= e->first + e->reserved;
}

int check_log(struct check *c);  /* superblock and extents are good */
int check_tree(struct check *c); /* and c->extents loaded */

/* check_swap.c.  Before the walk: find the area, its frames are reached.  0; -ENOMEM. */
int check_swap_begin(struct check *c);
/* A reservation of kind SWAP at off. */
void check_swap_entry(struct check *c, uint64_t off, uint64_t entry, unsigned level);
/* Is it the swap tier's record?  Then it is checked here. */
bool check_swap_record(struct check *c, uint32_t index);
void check_swap_counts(struct check *c); /* after the walk; frees what begin allocated */
uint64_t check_descriptor(const struct check *c, uint64_t pfn); /* the frame is usable */

/* check_policy.c.  What the way down to an entry says of W^X. */
struct check_wx {
	bool policy;    /* the space has it */
	bool names;     /* a segment's own tree: it maps nothing */
	bool segment;   /* the table is a segment's */
	unsigned may;   /* enum wx: what all links permit */
	unsigned state; /* of the segment's table */
};
/* The way goes on through a link of level `level`; a segment's, to a usable frame, is checked. */
struct check_wx check_wx_link(struct check *c, const struct check_wx *wx, uint64_t off,
			      uint64_t entry, unsigned level);
/* A page, there or reserved; and a frame of one, usable and not EXT. */
void check_wx_page(struct check *c, const struct check_wx *wx, uint64_t off, uint64_t entry);
void check_wx_frame(struct check *c, const struct check_wx *wx, uint64_t off, uint64_t entry,
		    uint64_t pfn);
/* The WX bits of a descriptor by themselves.  level: as check_group.level. */
bool check_wx_desc(const struct check *c, uint64_t desc, unsigned level);
/* What the walk knows of a frame of the pool.  NULL: no memory. */
struct check_group *check_group(struct check *c, uint64_t pfn);

/* ---- check_map.c ---------------------------------------------------------------------------- */

#define CHECK_PARTS_MAX 64

struct check_image {
	unsigned n_parts;
	struct {
		int fd;
		uint64_t from, bytes;
	} part[CHECK_PARTS_MAX]; /* of the file, in pages */
	uint64_t bytes;
	uint64_t file_bytes; /* the same with what is no whole page */
	char *base;          /* private, writable: what is stored there stays there */
	const char *shared;  /* the file as it is */
};

/* Open a pool file, or the parts of a pool set.
 * Returns 0; negated errno; PMPT_E_NOT_POOL, _TRUNCATED, _MEDIUM. */
int check_image_open(struct check_image *im, const char *path);
void check_image_close(struct check_image *im);
/* Does a process have it open?  If not, none can until the image is closed.  0; negated errno. */
int check_image_live(struct check_image *im, bool *live);
/* Map it afresh.  Returns 0; negated errno. */
int check_image_map(struct check_image *im);

#endif
