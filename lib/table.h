/* SPDX-License-Identifier: BSD-3-Clause */
/* table -- the radix tree as a transaction sees it: walk, own, make, split, drop.
 *
 * Addresses inside the library have their 48 bits only: [0, 1 << 48); va_sign() makes them
 * canonical again.
 * SHARING	A fork makes two links to one table.  Who walks to a table in order to change it gives
 *		his space a chain of its own down to it (unshare), so that what he finds at the end
 *		of an owned path is his alone.  Who takes a reference from a table owns that table,
 *		and a count of 1 is stable for who owns the table of the only link: only through
 *		that could another come to be.
 * INVARIANTS	F6 a chain of W from a root meets only tables and frames of count 1
 *		F8 no line on a frame has an LSN above its free: who drops a table owns it, and so
 *		   does who changes an entry in it
 *		no table but a space's PML4 and a segment's is empty when a call ends
 */
#ifndef PMPT_TABLE_H
#define PMPT_TABLE_H

#include "pool.h"

#define VA_END  ((uint64_t)1 << PMPT_VA_BITS)
#define USER_VA VA_END /* to a bulk transaction's ranges user words lie behind the last address */

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
	uint64_t above;  /* what the links on the way allow: see above_add */
	unsigned cow;    /* level of the table with the first COW link on the way, 0: none */
};

/* Permissions of the links above an entry: W and U if all have it (COW counts as W), NX, COW or SHARED
 * if one has. */
#define ABOVE_ALL (ENTRY_W | ENTRY_U)
static inline uint64_t above_add(uint64_t above, uint64_t link)
{
	uint64_t all = (link & ENTRY_WRITE ? ENTRY_W : 0) | (link & ENTRY_U);

	uint64_t any = ENTRY_NX | ENTRY_COW | ENTRY_SHARED;

	return (above & (all | any)) | (link & any);
}

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
/* The same walk for who is going to change the table where it ends: unshare the way to it, and own
 * it.  It ends above a segment's table, too.  PMPT_E_CONFLICT, _SNAPSHOT, _NO_FRAMES ... too. */
int table_walk_own(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		   struct path *p);
/* The same into a segment's table; p->above says what its mapping allows. */
int table_walk_into(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		    struct path *p);
/* The same for who drops all of [va, end): what is shared and lies wholly in there is not copied
 * first, the walk ends above it. */
int table_walk_drop(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t end,
		    unsigned stop, struct path *p);
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
/* Copy an owned table: the copy is one reference more to all that it names, and neither it nor the
 * original may be written through any more [F6]. */
int table_copy(struct pmpt_tx *tx, uint64_t pfn, unsigned level, uint64_t *copy);
int snapshot_met(const struct pmpt_space *space); /* PMPT_E_SNAPSHOT */
/* PMPT_E_SEGMENT: a call meets a part of a segment's mapping. */
int segment_met(uint64_t va);
/* Set the entry of the table where the path ends. */
int table_set(struct pmpt_tx *tx, const struct path *p, uint64_t value);
/* Own the table of level 1 over va by the cache of those that are the space's alone: p names it and none
 * above.
 * Returns 0; 1: the cache does not know, or the plan has tables of its own; PMPT_E_CONFLICT; -ENOMEM; ... */
int table_cached(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, struct path *p);
/* The straight path of an update: a 4 KiB EXT leaf over one that is mapped already, in a redo plan
 * without tables of its own.
 * Returns 0 (done); PMPT_E_CONFLICT; -ENOMEM; 1: not that simple, nothing was done. */
int table_replace(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t leaf);
/* References to a frame, as this transaction sees them. */
uint64_t frame_refs(const struct pmpt_tx *tx, uint64_t pfn);
bool frame_aliased(const struct pmpt_tx *tx,
		   uint64_t pfn); /* mapped more than once by its number */
/* It was in use when this transaction first counted it: the commit will see to it that it still is. */
bool frame_counted_live(const struct pmpt_tx *tx, uint64_t pfn);
unsigned frame_state(const struct pmpt_tx *tx, uint64_t pfn); /* WX, as this transaction sees it */
/* Count the frames of a leaf up or down, or the slot of a reservation; EXT leaves have none. */
int leaf_count(struct pmpt_tx *tx, uint64_t entry, unsigned level, int delta);
/* What a reservation refers to: a slot of the swap file; others have nothing. */
int reservation_count(struct pmpt_tx *tx, uint64_t entry, int delta);
/* Count what an entry refers to: a table, a leaf's frames, or a slot. */
int entry_count(struct pmpt_tx *tx, uint64_t entry, unsigned level, int delta);
/* The same for n entries of a table: neighbours together.  Up: the table is owned. */
int entries_count(struct pmpt_tx *tx, const uint64_t *entry, unsigned n, unsigned level, int delta);
/* Own every table under the entry of an owned table, as far as nobody else links it.
 * 0; PMPT_E_CONFLICT. */
int table_own_below(struct pmpt_tx *tx, uint64_t entry, unsigned level);
/* What an entry of an owned table maps or links goes: leaves are uncounted, tables dropped unless
 * another links them.  The entry itself is the caller's. */
int table_drop_below(struct pmpt_tx *tx, uint64_t entry, unsigned level);
/* The path ends in an owned table: if that is empty now, drop it and clear the link to it, and so
 * on upwards. */
int table_drop_empty(struct pmpt_tx *tx, const struct path *p);
/* The entry where the owned path ends is a leaf or a reservation of level 2 or 3: make it a table of 512. */
int table_split(struct pmpt_tx *tx, const struct path *p);

/* An x86-64 leaf of a level from flags as pmpt_map takes them. */
uint64_t leaf_make(uint64_t pfn, unsigned flags, unsigned level);
/* The demand-zero reservation that becomes such a leaf; of every level. */
uint64_t leaf_reserve(unsigned flags);
uint64_t leaf_prot(uint64_t entry, unsigned prot); /* the same leaf with other permissions */
/* The same for a leaf that stands: a page that others map too gets COW and not W. */
uint64_t leaf_protect(struct pmpt_tx *tx, uint64_t entry, unsigned level, unsigned prot);
/* above: of the links above it. */
void leaf_decode(uint64_t entry, uint64_t above, unsigned level, uint64_t va,
		 struct pmpt_mapping *m);

#endif
