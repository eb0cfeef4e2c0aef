/* SPDX-License-Identifier: BSD-3-Clause */
/* table -- the radix tree as a transaction sees it: walk, own, make, split, drop.
 *
 * Addresses inside the library have their 48 bits only: [0, 1 << 48); va_sign() makes them
 * canonical again.
 * INVARIANTS	F8 no line on a frame has an LSN above its free: who drops a table owns it, and so
 *		   does who changes an entry in it
 *		no table but a space's PML4 is empty when a call ends
 */
#ifndef PMPT_TABLE_H
#define PMPT_TABLE_H

#include "pool.h"

#define VA_END ((uint64_t)1 << PMPT_VA_BITS)

static inline uint64_t va_bits(uint64_t va) { return va & (VA_END - 1); }
static inline uint64_t va_sign(uint64_t va)
{
	return (uint64_t)((int64_t)(va << (64 - PMPT_VA_BITS)) >> (64 - PMPT_VA_BITS));
}
static inline bool va_canonical(uint64_t va) { return va_sign(va) == va; }
/* [va, va + len): canonical, in one half of the address space, aligned, not empty.  *first: its 48
 * bits; they end at *first + len.  0 or PMPT_E_ADDRESS. */
int va_range(uint64_t va, uint64_t len, uint64_t align, uint64_t *first);

struct path {
	struct pmpt_space *space;
	uint64_t va;
	unsigned level;  /* the walk ended in the table of this level */
	uint64_t pfn[5]; /* tables by level, 4 down to level */
};

static inline unsigned path_index(const struct path *p, unsigned level)
{
	return level_index(p->va, level);
}

/* Fetch the lowest entry over va ahead: the rest of the call has work to do meanwhile.
 * No more than a guess. */
static inline void table_prefetch(const struct pmpt_space *space, uint64_t va)
{
	uint64_t table;

	(void)pwc_find(&space->pwc, va, &table);
	__builtin_prefetch(space->base + table + 8 * (size_t)level_index(va, 1));
}

/* Walk to the table of level `stop` over va, or to where an entry links no table, and look at the
 * entry there; nothing is owned.  entry: out.
 * Returns 0 or PMPT_E_CORRUPT. */
int table_look(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
	       struct path *p, uint64_t *entry);
/* The same for a writer, who skips what is not mapped without owning it: PMPT_E_CONFLICT for BUSY. */
int table_look_hole(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		    struct path *p, uint64_t *entry);
/* The same walk, and own the table where it ends.  PMPT_E_CONFLICT too. */
int table_walk_own(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		   struct path *p);
/* Own the table of a level above the one where an owned path ends: its links downwards are
 * stable already. */
int table_own_above(struct pmpt_tx *tx, const struct path *p, unsigned level);
/* The same to exactly level `stop`: makes the tables that are missing; full: the last one will
 * be filled.
 * Returns 0; PMPT_E_MAPPED (a huge page is in the way); PMPT_E_CONFLICT; PMPT_E_NO_FRAMES ... */
int table_make(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop, bool full,
	       struct path *p);

static inline uint64_t table_entry(struct pmpt_tx *tx, const struct path *p)
{
	return tx_entry(tx, p->pfn[p->level], path_index(p, p->level));
}
/* Set the entry of the table where the path ends. */
int table_set(struct pmpt_tx *tx, const struct path *p, uint64_t value);
/* The straight path of an update: a 4 KiB EXT leaf over one that is mapped already, in a redo plan
 * without tables of its own.
 * Returns 0 (done); PMPT_E_CONFLICT; -ENOMEM; 1: not that simple, nothing was done. */
int table_replace(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t leaf);
/* Count the frames of a leaf up or down; EXT leaves have none. */
int leaf_count(struct pmpt_tx *tx, uint64_t entry, unsigned level, int delta);
/* Own every table under the entry of an owned table.  0; PMPT_E_CONFLICT. */
int table_own_below(struct pmpt_tx *tx, uint64_t entry, unsigned level);
/* What an entry of an owned table maps or links goes: leaves are uncounted, tables dropped.  The
 * entry itself is the caller's. */
int table_drop_below(struct pmpt_tx *tx, uint64_t entry, unsigned level);
/* The path ends in an owned table: if that is empty now, drop it and clear the link to it, and so
 * on upwards. */
int table_drop_empty(struct pmpt_tx *tx, const struct path *p);
/* The entry where the owned path ends is a leaf of level 2 or 3: make it a table of 512 leaves. */
int table_split(struct pmpt_tx *tx, const struct path *p);

/* An x86-64 leaf of a level from flags as pmpt_map takes them. */
uint64_t leaf_make(uint64_t pfn, unsigned flags, unsigned level);
uint64_t leaf_prot(uint64_t entry, unsigned prot); /* the same leaf with other permissions */
void leaf_decode(uint64_t entry, unsigned level, uint64_t va, struct pmpt_mapping *m);

#endif
