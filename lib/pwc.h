/* SPDX-License-Identifier: BSD-3-Clause */
/* pwc -- a space's paging-structure cache: where readers found tables of level 1 before, so that a
 * lookup loads one entry and not four.  DRAM, shared by all readers of the space.
 *
 * FORMAT of a slot: bits 63-29 those of the address, bit 28 OWN, bits 27-0 the table's PFN.  One word, so
 * that readers need no lock.  Bits 35-29 are also the upper ones of the slot's index: an empty slot has
 * others there, and matches no address.  All but the first slots are empty as zeros: most of a new cache
 * is memory that nobody has touched.  Only canonical addresses are put in, so that a hit also says that
 * the address is one.
 * WRITERS find a table with OWN only, in a block of the present generation: then every link above it had W
 * when the slot was filled, and no fork has come since.  The first fill of a block in a generation takes
 * OWN from its other slots before it gives the block that generation.
 * INVARIANT	a slot names a table that is linked there at home.  Who unlinks tables, or hides
 *		what they hold, empties their slots before he stores (pwc_stop), and no slot is
 *		filled before he is through (pwc_go).  A reader that loaded the slot before is in
 *		its section: the table keeps its content for a grace period [F2], and its lookup
 *		comes before the unlinking in the order of events.
 * SOURCES: Intel SDM volume 3A, 4.10.3.
 */
#ifndef PMPT_PWC_H
#define PMPT_PWC_H

#include <stdbool.h>

#include "layout.h"

#define PWC_SLOTS     32768u /* of 2 MiB each; 256 KiB of DRAM, of which the used pages exist */
#define PWC_PFN_BITS  28
#define PWC_OWN       ((uint64_t)1 << PWC_PFN_BITS)
#define PWC_TAG_SHIFT 29
#define PWC_EMPTY(i)  ((i) >> (PWC_TAG_SHIFT - GROUP_SHIFT) ? 0 : ~(uint64_t)0 << PWC_TAG_SHIFT)
#define PWC_BLOCKS    64u
#define PWC_BLOCK     (PWC_SLOTS / PWC_BLOCKS)
_Static_assert(PMPT_POOL_MAX_BYTES >> FRAME_SHIFT <= 1u << PWC_PFN_BITS, "a PFN fits");
_Static_assert(PWC_OWN >> PWC_TAG_SHIFT == 0, "OWN is no bit of the address");
_Static_assert(PWC_SLOTS > 1u << (PWC_TAG_SHIFT - GROUP_SHIFT), "the index reaches into the tag");

struct pwc {
	_Atomic uint64_t slot[PWC_SLOTS];
	_Atomic uint32_t lock;
	_Atomic uint32_t gen;               /* from 1: one more than forks */
	uint32_t stopped;                   /* so many have stopped it and not let it go on */
	uint64_t blocks;                    /* one bit each: a slot in it may be full */
	_Atomic uint32_t block[PWC_BLOCKS]; /* their generations */
};

/* Offset of the table of level 1 over va; false: the cache has none.  In a reader section. */
static inline bool pwc_find(const struct pwc *c, uint64_t va, uint64_t *off)
{
	uint64_t w =
		atomic_load_explicit((_Atomic uint64_t *)&c->slot[(va >> GROUP_SHIFT) % PWC_SLOTS],
				     memory_order_acquire);

	*off = w << (64 - PWC_PFN_BITS) >> (64 - PWC_PFN_BITS - FRAME_SHIFT);
	return __builtin_expect((w ^ va) >> PWC_TAG_SHIFT == 0, 1);
}

/* The same for who is going to change the table: only one that is the space's alone. */
static inline bool pwc_find_own(const struct pwc *c, uint64_t va, uint64_t *off)
{
	uint64_t i = (va >> GROUP_SHIFT) % PWC_SLOTS;
	/* before the slot: when it is of now, no slot has OWN from an older one any more */
	uint32_t block = atomic_load_explicit((_Atomic uint32_t *)&c->block[i / PWC_BLOCK],
					      memory_order_acquire);
	uint64_t w = atomic_load_explicit((_Atomic uint64_t *)&c->slot[i], memory_order_acquire);
	uint32_t gen = atomic_load_explicit((_Atomic uint32_t *)&c->gen, memory_order_acquire);

	*off = w << (64 - PWC_PFN_BITS) >> (64 - PWC_PFN_BITS - FRAME_SHIFT);
	return (w ^ va) >> PWC_TAG_SHIFT == 0 && w & PWC_OWN && block == gen;
}

void pwc_init(struct pwc *c); /* of zeros */
struct pmpt_space;
/* A lookup of va missed: note the table, if there is one.  Any thread. */
void pwc_fill(struct pmpt_space *space, uint64_t va);
/* Empty the slots of [va, va + len_bytes), 48-bit addresses. */
void pwc_stop(struct pwc *c, uint64_t va, uint64_t len_bytes);
void pwc_go(struct pwc *c);
/* No table is known to be the space's alone any more; while it is stopped. */
void pwc_share(struct pwc *c);
/* As new.  False: so much of it was used that a new one costs less; it is not to be used any more. */
bool pwc_renew(struct pwc *c);
/* For good, in a forked child: whoever held the lock is not there. */
void pwc_end(struct pwc *c);

#endif
