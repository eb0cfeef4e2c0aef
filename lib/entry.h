/* SPDX-License-Identifier: BSD-3-Clause */
/* entry -- bits of x86-64 page-table entries and of frame descriptors, and how they are loaded
 * and stored.
 *
 * ENTRY	bit	width	set by		meaning
 *   P		0	1	us		present; R
 *   W		1	1	us		writable
 *   U		2	1	us		user
 *   PWT	3	1	us		write-through
 *   PCD	4	1	us		cache disable
 *   A		5	1	a walker	accessed
 *   D		6	1	a walker	dirty
 *   PS		7	1	us		leaf at level 2 and 3 (PAT at level 1:
 *						always 0 here)
 *   G		8	1	us		global
 *   COW	9	1	us		copy on write
 *   EXT	10	1	us		not a pool frame
 *   SHARED	11	1	us		segment frame
 *   PFN	12	40	us		frame number
 *   TAG	52	4	user		tags
 *   KIND	56	3	us		enum entry_kind of a not-present entry: a *reservation*;
 *						its other bits are the page's when it is present
 *   PKEY	59	4	us		protection key
 *   NX	63	1	us		not executable
 *
 * DESCRIPTOR	bit	width	meaning
 *   COUNT	0	32	entries that refer to the frame [F4]; 0: free
 *   KIND	32	8	enum desc_kind; stays TABLE in a freed table, so that older live
 *				lines on it are known as such
 *   WX	40	2	enum wx, one of them: a space with the policy W^X maps the frame so
 *			(policy.h); 0: untracked.  Of a segment's table: so do links to it
 *   ALIASED	42	1	a caller maps the frame in several places by its number
 *   GEN	43	21	of a slot: tells what its last use wrote in the file from older
 *				content; stays, with the kind, in a free slot.  Else zero
 *
 * A walker may set A and D at any time: entries are stored by entry_store() only, which keeps them
 * while the PFN stays.
 * SOURCES: Intel SDM volume 3A, 4.5.
 */
#ifndef PMPT_ENTRY_H
#define PMPT_ENTRY_H

#include "layout.h"

#define BIT_FIELD(name, low, width) name##_SHIFT = (low), name##_WIDTH = (width)
enum {
	BIT_FIELD(ENTRY_P, 0, 1),
	BIT_FIELD(ENTRY_W, 1, 1),
	BIT_FIELD(ENTRY_U, 2, 1),
	BIT_FIELD(ENTRY_PWT, 3, 1),
	BIT_FIELD(ENTRY_PCD, 4, 1),
	BIT_FIELD(ENTRY_A, 5, 1),
	BIT_FIELD(ENTRY_D, 6, 1),
	BIT_FIELD(ENTRY_PS, 7, 1),
	BIT_FIELD(ENTRY_G, 8, 1),
	BIT_FIELD(ENTRY_COW, 9, 1),
	BIT_FIELD(ENTRY_EXT, 10, 1),
	BIT_FIELD(ENTRY_SHARED, 11, 1),
	BIT_FIELD(ENTRY_PFN, 12, 40),
	BIT_FIELD(ENTRY_TAG, 52, 4),
	BIT_FIELD(ENTRY_KIND, 56, 3),
	BIT_FIELD(ENTRY_PKEY, 59, 4),
	BIT_FIELD(ENTRY_NX, 63, 1),
};
#undef BIT_FIELD

#define BITS(name)   ((~(uint64_t)0 >> (64 - name##_WIDTH)) << name##_SHIFT)
#define ENTRY_P      BITS(ENTRY_P)
#define ENTRY_W      BITS(ENTRY_W)
#define ENTRY_U      BITS(ENTRY_U)
#define ENTRY_PWT    BITS(ENTRY_PWT)
#define ENTRY_PCD    BITS(ENTRY_PCD)
#define ENTRY_A      BITS(ENTRY_A)
#define ENTRY_D      BITS(ENTRY_D)
#define ENTRY_PS     BITS(ENTRY_PS)
#define ENTRY_G      BITS(ENTRY_G)
#define ENTRY_COW    BITS(ENTRY_COW)
#define ENTRY_EXT    BITS(ENTRY_EXT)
#define ENTRY_SHARED BITS(ENTRY_SHARED)
#define ENTRY_PFN    BITS(ENTRY_PFN)
#define ENTRY_TAG    BITS(ENTRY_TAG)
#define ENTRY_KIND   BITS(ENTRY_KIND)
#define ENTRY_PKEY   BITS(ENTRY_PKEY)
#define ENTRY_NX     BITS(ENTRY_NX)
#define ENTRY_AD     (ENTRY_A | ENTRY_D)

_Static_assert((ENTRY_P ^ ENTRY_W ^ ENTRY_U ^ ENTRY_PWT ^ ENTRY_PCD ^ ENTRY_A ^ ENTRY_D ^ ENTRY_PS ^
		ENTRY_G ^ ENTRY_COW ^ ENTRY_EXT ^ ENTRY_SHARED ^ ENTRY_PFN ^ ENTRY_TAG ^
		ENTRY_KIND ^ ENTRY_PKEY ^ ENTRY_NX) == ~(uint64_t)0 &&
		       ENTRY_P_WIDTH + ENTRY_W_WIDTH + ENTRY_U_WIDTH + ENTRY_PWT_WIDTH +
				       ENTRY_PCD_WIDTH + ENTRY_A_WIDTH + ENTRY_D_WIDTH +
				       ENTRY_PS_WIDTH + ENTRY_G_WIDTH + ENTRY_COW_WIDTH +
				       ENTRY_EXT_WIDTH + ENTRY_SHARED_WIDTH + ENTRY_PFN_WIDTH +
				       ENTRY_TAG_WIDTH + ENTRY_KIND_WIDTH + ENTRY_PKEY_WIDTH +
				       ENTRY_NX_WIDTH ==
			       64,
	       "the fields fill 64 bits and do not overlap");

/* A table is linked with every permission: leaves alone restrict.  A fork takes W from the links
 * above them and sets COW, and a segment's link has SHARED and the permissions of that mapping. */
#define ENTRY_LINK (ENTRY_P | ENTRY_W | ENTRY_U)

/* PERMISSION TO WRITE, of leaves and links [F6]
 *	W	what is below is this space's alone: written in place
 *	COW	it may be another's too: written after a copy
 *	neither	read-only; never in a link but a segment's
 * EXT leaves and SHARED links have no COW. */
#define ENTRY_WRITE (ENTRY_W | ENTRY_COW)

/* Kinds of a not-present entry that is not 0. */
enum entry_kind { KIND_NONE = 0, KIND_ZERO = 1, KIND_SWAP = 2, KIND_KINDS };

enum desc_kind {
	DESC_NONE = 0,
	DESC_TABLE = 1,
	DESC_DATA = 2,
	DESC_RESERVED = 3,
	DESC_SLOT = 4, /* a slot of the swap file */
	DESC_KINDS
};
#define DESC_COUNT      ((uint64_t)0xffffffff)
#define DESC_KIND_SHIFT 32
#define DESC_KIND       ((uint64_t)0xff << DESC_KIND_SHIFT)
#define DESC_WX_SHIFT   40
#define DESC_WX         ((uint64_t)3 << DESC_WX_SHIFT)
#define DESC_ALIASED    ((uint64_t)1 << 42)
#define DESC_GEN_SHIFT  43
#define DESC_GEN_MAX    ((uint64_t)0x1fffff)
#define DESC_ZERO       (~(DESC_COUNT | DESC_KIND | DESC_WX | DESC_ALIASED))

/* What a mapping permits beyond reading. */
enum wx { WX_W = 1, WX_X = 2, WX_BOTH = 3 };

static inline uint64_t desc_make(enum desc_kind kind, uint64_t count)
{
	return (uint64_t)kind << DESC_KIND_SHIFT | count;
}
static inline enum desc_kind desc_kind(uint64_t desc)
{
	return (enum desc_kind)((desc & DESC_KIND) >> DESC_KIND_SHIFT);
}
static inline uint64_t desc_count(uint64_t desc) { return desc & DESC_COUNT; }
static inline unsigned desc_state(uint64_t desc)
{
	return (unsigned)((desc & DESC_WX) >> DESC_WX_SHIFT);
}
static inline uint32_t desc_generation(uint64_t desc) { return (uint32_t)(desc >> DESC_GEN_SHIFT); }

/* A table level, 4 (PML4) to 1 (PT). */
static inline unsigned level_shift(unsigned level) { return FRAME_SHIFT + 9 * (level - 1); }
static inline uint64_t level_bytes(unsigned level) { return (uint64_t)1 << level_shift(level); }
static inline unsigned level_index(uint64_t va, unsigned level)
{
	return (unsigned)(va >> level_shift(level)) & 511;
}

static inline bool entry_is_leaf(uint64_t entry, unsigned level)
{
	return (entry & ENTRY_P) && (level == 1 || ((entry & ENTRY_PS) && level <= 3));
}
static inline bool entry_is_table(uint64_t entry, unsigned level)
{
	return (entry & ENTRY_P) && level > 1 && !(entry & ENTRY_PS);
}
/* Not present, and not nothing: a page that is not in memory. */
static inline bool entry_is_reservation(uint64_t entry) { return entry && !(entry & ENTRY_P); }
/* A page stands there, in memory or not. */
static inline bool entry_is_page(uint64_t entry, unsigned level)
{
	return entry_is_leaf(entry, level) || entry_is_reservation(entry);
}
static inline enum entry_kind entry_kind(uint64_t entry)
{
	return (enum entry_kind)((entry & ENTRY_KIND) >> ENTRY_KIND_SHIFT);
}
/* A link to a segment's table. */
static inline bool entry_is_segment(uint64_t entry, unsigned level)
{
	return level == 2 && entry_is_table(entry, level) && (entry & ENTRY_SHARED);
}
/* Of a page's entry or a link, by itself: COW permits writing. */
static inline unsigned entry_wx(uint64_t entry)
{
	return (entry & ENTRY_WRITE ? WX_W : 0) | (entry & ENTRY_NX ? 0 : WX_X);
}
/* The same entry when another table holds it too [F6]. */
static inline uint64_t entry_share(uint64_t entry)
{
	if ((entry & (ENTRY_P | ENTRY_W)) != (ENTRY_P | ENTRY_W) ||
	    (entry & (ENTRY_EXT | ENTRY_SHARED)))
		return entry;
	return (entry & ~ENTRY_W) | ENTRY_COW;
}
/* When nobody else can reach what is below. */
static inline uint64_t entry_unshare(uint64_t entry)
{
	return entry & ENTRY_COW ? (entry & ~ENTRY_COW) | ENTRY_W : entry;
}
/* A page that is zero until somebody writes there.  A huge one is a reservation like the others: no PS,
 * no frame. */
static inline bool entry_is_demand(uint64_t entry)
{
	return entry_is_reservation(entry) && entry_kind(entry) == KIND_ZERO;
}
/* The page is in a slot of the swap file. */
static inline bool entry_is_out(uint64_t entry)
{
	return entry_is_reservation(entry) && entry_kind(entry) == KIND_SWAP;
}
static inline uint64_t entry_pfn(uint64_t entry) { return (entry & ENTRY_PFN) >> FRAME_SHIFT; }

static inline uint64_t word_load(const pm_word *word)
{
	return atomic_load_explicit((pm_word *)word, memory_order_acquire);
}

/* A and D stay when `new` is stored over `old`: the same frame, present before and after. */
static inline bool entry_keeps(uint64_t old, uint64_t new)
{
	return (new &ENTRY_P) && !((old ^ new) & (ENTRY_PFN | ENTRY_P));
}

/* The value that storing `new` over `old` leaves in an entry. */
static inline uint64_t entry_merge(uint64_t old, uint64_t new)
{
	return entry_keeps(old, new) ? new | (old & ENTRY_AD) : new;
}

#endif
