/* SPDX-License-Identifier: BSD-3-Clause */
/* leaf -- x86-64 leaves and reservations from the flags of the interface, and back. */
#include "table.h"

uint64_t leaf_prot(uint64_t entry, unsigned prot)
{
	entry &= ~(ENTRY_WRITE | ENTRY_U | ENTRY_NX);
	return entry | (prot & PMPT_W ? ENTRY_W : 0) | (prot & PMPT_U ? ENTRY_U : 0) |
	       (prot & PMPT_X ? 0 : ENTRY_NX);
}

/* A frame of the leaf is mapped by another entry, too.  That one of ALIASED frames may be a fork's, and the
 * alias long gone: in place only who has W writes those, and who maps them by their number. */
static bool leaf_shared(struct pmpt_tx *tx, uint64_t entry, unsigned level)
{
	bool shared = false;

	for (uint64_t i = 0; i < level_bytes(level) >> FRAME_SHIFT && !shared; i++)
		shared = frame_refs(tx, entry_pfn(entry) + i) > 1;
	return shared;
}

uint64_t leaf_protect(struct pmpt_tx *tx, uint64_t entry, unsigned level, unsigned prot)
{
	uint64_t write = entry & ENTRY_WRITE, leaf = leaf_prot(entry, prot);

	if (!(prot & PMPT_W) || (entry & (ENTRY_EXT | ENTRY_SHARED)))
		return leaf;
	if (!write)
		write = leaf_shared(tx, entry, level) ? ENTRY_COW : ENTRY_W;
	return (leaf & ~ENTRY_WRITE) | write;
}

uint64_t leaf_make(uint64_t pfn, unsigned flags, unsigned level)
{
	uint64_t entry = pfn << FRAME_SHIFT | ENTRY_P |
			 (uint64_t)PMPT_TAG_OF(flags) << ENTRY_TAG_SHIFT |
			 (uint64_t)PMPT_PKEY_OF(flags) << ENTRY_PKEY_SHIFT;

	entry |= (flags & PMPT_EXT ? ENTRY_EXT : 0) | (flags & PMPT_G ? ENTRY_G : 0) |
		 (flags & PMPT_PWT ? ENTRY_PWT : 0) | (flags & PMPT_PCD ? ENTRY_PCD : 0) |
		 (level > 1 ? ENTRY_PS : 0);
	return leaf_prot(entry, flags);
}

uint64_t leaf_reserve(unsigned flags)
{
	return (leaf_make(0, flags, 1) & ~ENTRY_P) | (uint64_t)KIND_ZERO << ENTRY_KIND_SHIFT;
}

void leaf_decode(uint64_t entry, uint64_t above, unsigned level, uint64_t va,
		 struct pmpt_mapping *m)
{
	uint64_t all = above_add(above, entry);
	unsigned flags = PMPT_R;

	flags |= (all & ENTRY_W ? PMPT_W : 0u) | (all & ENTRY_U ? PMPT_U : 0u) |
		 (all & ENTRY_NX ? 0u : PMPT_X) |
		 ((all & (ENTRY_W | ENTRY_COW)) == (ENTRY_W | ENTRY_COW) ? PMPT_COW : 0u) |
		 (all & ENTRY_SHARED ? PMPT_SHARED : 0u) | (entry & ENTRY_EXT ? PMPT_EXT : 0u) |
		 (entry & ENTRY_G ? PMPT_G : 0u) | (entry & ENTRY_PWT ? PMPT_PWT : 0u) |
		 (entry & ENTRY_PCD ? PMPT_PCD : 0u) | (entry_is_demand(entry) ? PMPT_DEMAND : 0u) |
		 (entry_is_out(entry) ? PMPT_OUT : 0u) |
		 (level == 2   ? PMPT_2M
		  : level == 3 ? PMPT_1G
			       : 0u) |
		 PMPT_TAG(entry >> ENTRY_TAG_SHIFT) | PMPT_PKEY(entry >> ENTRY_PKEY_SHIFT);
	*m = (struct pmpt_mapping){ .va = va_sign(va & ~(level_bytes(level) - 1)),
				    .page_bytes = level_bytes(level),
				    .pfn = flags & PMPT_OUT ? 0 : entry_pfn(entry),
				    .entry = entry,
				    .flags = flags,
				    .level = level };
}
