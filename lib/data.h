/* SPDX-License-Identifier: BSD-3-Clause */
/* data -- pages as writers of their content need them: the table they are in, what is in them. */
#ifndef PMPT_DATA_H
#define PMPT_DATA_H

#include "table.h"

/* Walk to the table of level 1 over va and own it; what is missing is made, a huge page in the way is
 * split.  full: most of it will be filled.
 * Returns 0; PMPT_E_SEGMENT (in a bulk transaction); PMPT_E_CONFLICT; PMPT_E_NO_FRAMES ... */
int page_table(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, bool full,
	       struct path *p);
/* The content of a page that is out in the swap file, into buf, FRAME_BYTES.  The caller has loaded
 * the entry in the reader section that he is in, or owns its table.  tx may be NULL.
 * Returns 0; PMPT_E_SLOT. */
int page_fetch(struct pmpt_tx *tx, const struct pmpt_space *space, uint64_t va, uint64_t entry,
	       void *buf);
/* The page's entry with another frame, which nobody else has: present, and writable in place if it may be
 * written at all. */
static inline uint64_t page_moved(uint64_t entry, uint64_t pfn)
{
	uint64_t bits = entry & ~(ENTRY_PFN | ENTRY_KIND | ENTRY_COW | ENTRY_AD);

	return bits | ENTRY_P | (entry & ENTRY_COW ? ENTRY_W : 0) | pfn << FRAME_SHIFT;
}
/* The entry of a page where there was none.  In a segment the links to its table restrict. */
static inline uint64_t page_fresh(const struct path *p, uint64_t pfn)
{
	return leaf_make(
		pfn, p->above & ENTRY_SHARED ? PMPT_R | PMPT_W | PMPT_X | PMPT_U : PMPT_R | PMPT_W,
		1);
}

#endif
