/* SPDX-License-Identifier: BSD-3-Clause */
/* table -- see table.h. */
#include "table.h"

#include "error.h"
#include "policy.h"
#include "rcu.h"

int va_range(uint64_t va, uint64_t len, uint64_t align, uint64_t *first)
{
	uint64_t bits = va_bits(va), half_end = bits < VA_END / 2 ? VA_END / 2 : VA_END;

	if (!va_canonical(va))
		return error_set(PMPT_E_ADDRESS, "address %#lx is not canonical", va);
	if (va % align || len % align)
		return error_set(PMPT_E_ADDRESS, "range %#lx + %#lx is not aligned to %#lx", va,
				 len, align);
	if (len == 0)
		return error_set(PMPT_E_ADDRESS, "range at %#lx is empty", va);
	if (len > half_end - bits)
		return error_set(PMPT_E_ADDRESS,
				 "range %#lx + %#lx leaves its half of the address space", va, len);
	*first = bits;
	return 0;
}

/* ---- walk ------------------------------------------------------------------------------------ */

static int link_bad(const struct pmpt_tx *tx, const struct path *p, uint64_t entry)
{
	return error_set(PMPT_E_CORRUPT,
			 "entry %#lx at offset %#lx links a table outside the pool of %#lx bytes",
			 entry,
			 (p->pfn[p->level] << FRAME_SHIFT) + 8 * (uint64_t)path_index(p, p->level),
			 tx->pool->rg->bytes);
}

/* Walk to the table of level `stop` over va, or to where an entry links no table.  into: also into a
 * segment's table.  In a reader section: what others unlink meanwhile stays a table as it was [F2].
 * Returns 0 or PMPT_E_CORRUPT. */
static int walk(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop, bool into,
		struct path *p)
{
	bool planned = tx->upper || tx->n_fresh;

	p->space = space;
	p->va = va;
	p->above = ABOVE_ALL;
	p->cow = 0;
	p->pfn[4] = space->root_pfn;
	for (p->level = 4; p->level > stop; p->level--) {
		uint64_t pfn = p->pfn[p->level], entry;
		unsigned index = path_index(p, p->level);

		if (planned)
			entry = tx_entry(tx, pfn, index);
		else
			entry = word_load((pm_word *)(void *)(space->base + (pfn << FRAME_SHIFT)) +
					  index);
		if (!entry_is_table(entry, p->level) ||
		    (entry_is_segment(entry, p->level) && !into))
			return 0;
		if (entry_pfn(entry) >= space->bytes >> FRAME_SHIFT)
			return link_bad(tx, p, entry);
		p->above = above_add(p->above, entry);
		p->cow = entry & ENTRY_COW && !p->cow ? p->level : p->cow;
		p->pfn[p->level - 1] = entry_pfn(entry);
	}
	return 0;
}

int table_look(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
	       struct path *p, uint64_t *entry)
{
	int rc;

	reader_begin();
	rc = walk(tx, space, va, stop, true, p);
	if (!rc)
		*entry = table_entry(tx, p);
	/* what it stored home is not committed: its ranges are another's to ask for later */
	if (!rc && !tx->bulk && space_slow(space))
		rc = space_hidden(space, va,
				  *entry ? va + 1 : (va | (level_bytes(p->level) - 1)) + 1);
	reader_end();
	return rc;
}

int table_look_hole(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		    struct path *p, uint64_t *entry)
{
	int rc = table_look(tx, space, va, stop, p, entry);

	return rc == PMPT_E_BUSY
		       ? error_set(PMPT_E_CONFLICT, "a bulk transaction changes %#lx", va_sign(va))
		       : rc;
}

int snapshot_met(const struct pmpt_space *space)
{
	return error_set(PMPT_E_SNAPSHOT, "'%s' is a snapshot: fork it to change it", space->name);
}

int segment_met(uint64_t va)
{
	return error_set(PMPT_E_SEGMENT, "a segment is mapped at %#lx: whole pieces of 2 MiB of it",
			 va_sign(va & ~(GROUP_BYTES - 1)));
}

/* An owned table really is one. */
static int table_check(struct pmpt_tx *tx, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, pfn);
	uint64_t value = desc ? word_load(desc) : 0;

	if (desc && desc_kind(value) == DESC_TABLE && desc_count(value))
		return 0;
	if (!desc && frames_desc_none(&tx->pool->frames, pfn) == -ENOMEM)
		return -ENOMEM;
	return error_set(
		PMPT_E_CORRUPT,
		"frame %#lx is linked as a table, its descriptor %#lx at offset %#lx says otherwise",
		pfn, value, desc ? region_off(tx->pool->rg, desc) : 0);
}

/* Own a table that a link of an owned one names. */
static int own_child(struct pmpt_tx *tx, uint64_t entry)
{
	size_t owned = tx->n_own;
	int rc;

	if (entry_pfn(entry) >= tx->pool->rg->bytes >> FRAME_SHIFT)
		return error_set(PMPT_E_CORRUPT, "entry %#lx links a table outside the pool",
				 entry);
	rc = tx_own(tx, entry_pfn(entry));
	/* not one of its own making, which has no count yet */
	return !rc && tx->n_own > owned ? table_check(tx, entry_pfn(entry)) : rc;
}

/* The owned path ends at a COW link: what it links becomes this space's alone. */
static int unshare_link(struct pmpt_tx *tx, const struct path *p)
{
	uint64_t entry = table_entry(tx, p), copy = 0;
	int rc = own_child(tx, entry);

	if (rc)
		return rc;
	if (frame_refs(tx, entry_pfn(entry)) > 1) {
		rc = table_copy(tx, entry_pfn(entry), p->level - 1, &copy);
		if (!rc)
			rc = tx_count(tx, entry_pfn(entry), 1, DESC_TABLE, -1);
		return rc ? rc : table_set(tx, p, copy << FRAME_SHIFT | ENTRY_LINK);
	}
	return table_set(tx, p, entry_unshare(entry));
}

struct walk_how {
	unsigned stop;
	bool into;    /* segments */
	uint64_t end; /* not 0: what lies in [va, end) is to be dropped */
};

/* All that the entry at the path's COW level spans is to be dropped. */
static bool drops_whole(const struct path *p, const struct walk_how *how)
{
	uint64_t span = level_bytes(p->cow);

	return how->end && !(p->va % span) && how->end - p->va >= span;
}

/* Walk and own the table at the end; nothing is owned where a COW link is on the way: p->cow. */
static int walk_take(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		     bool into, struct path *p)
{
	for (;;) {
		int rc = walk(tx, space, va, stop, into, p);
		size_t owned = tx->n_own;
		struct path again;

		if (!rc && p->cow)
			return 0;
		if (!rc)
			rc = tx_own(tx, p->pfn[p->level]);
		if (!rc)
			rc = tx_entered(tx, space);
		if (rc || tx->n_own == owned) /* ours before: nobody else could unlink it */
			return rc;
		rc = walk(tx, space, va, stop, into, &again);
		if (!rc && again.level == p->level && again.pfn[p->level] == p->pfn[p->level] &&
		    !again.cow)
			return table_check(tx, p->pfn[p->level]);
		/* it was unlinked, linked deeper, or shared, before it was ours */
		frames_disown(&tx->pool->frames, tx->own[--tx->n_own]);
		if (rc)
			return rc;
	}
}

static int walk_section(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
			bool into, struct path *p)
{
	int rc;

	reader_begin();
	rc = walk_take(tx, space, va, stop, into, p);
	reader_end();
	return rc;
}

static int walk_own(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va,
		    const struct walk_how *how, struct path *p)
{
	if (space->snapshot)
		return snapshot_met(space);
	for (;;) {
		int rc = tx_enter(tx, space);
		unsigned cow;
		bool drop;

		if (!rc)
			rc = walk_section(tx, space, va, how->stop, how->into, p);
		if (rc || !p->cow)
			return rc;
		cow = p->cow;
		drop = drops_whole(p, how);
		rc = walk_section(tx, space, va, cow, false, p);
		if (rc)
			return rc;
		if (p->cow || p->level != cow || !(table_entry(tx, p) & ENTRY_COW))
			continue; /* another changed it meanwhile */
		if (drop)
			return 0;
		rc = unshare_link(tx, p); /* takes frames: in no reader section */
		if (rc)
			return rc;
	}
}

int table_walk_own(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		   struct path *p)
{
	return walk_own(tx, space, va, &(struct walk_how){ .stop = stop }, p);
}

int table_walk_into(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		    struct path *p)
{
	return walk_own(tx, space, va, &(struct walk_how){ .stop = stop, .into = true }, p);
}

int table_walk_drop(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t end,
		    unsigned stop, struct path *p)
{
	return walk_own(tx, space, va, &(struct walk_how){ .stop = stop, .end = end }, p);
}

int table_own_above(struct pmpt_tx *tx, const struct path *p, unsigned level)
{
	return tx_own(tx, p->pfn[level]);
}

int table_set(struct pmpt_tx *tx, const struct path *p, uint64_t value)
{
	uint64_t old = table_entry(tx, p);
	int rc = policy_judges(tx->pool) ? policy_entry(tx, p, old, value) : 0;

	if (rc)
		return rc;
	tx->upper |= p->level > 1;
	if (entry_is_table(old, p->level) && (old ^ value) & (ENTRY_PFN | ENTRY_P)) {
		rc = tx_cut(tx, p->space, p->va, p->level);

		if (rc)
			return rc;
	}
	return tx_set_entry(tx, p->pfn[p->level], path_index(p, p->level), value);
}

/* Own the table of level 1 over va by the cache: what a slot names once it is owned is
 * linked [pwc.h].
 * Returns 0; 1: the cache does not know; errors of tx_own. */
static int cached_own(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t *pfn)
{
	uint64_t table, again;
	size_t owned = tx->n_own;
	int rc;

	if (!pwc_find_own(&space->pwc, va_sign(va), &table))
		return 1;
	*pfn = table >> FRAME_SHIFT;
	rc = tx_enter(tx, space);
	if (!rc)
		rc = tx_own(tx, *pfn);
	if (!rc)
		rc = tx_entered(tx, space);
	if (rc || tx->n_own == owned)
		return rc;
	if (pwc_find_own(&space->pwc, va_sign(va), &again) && again == table)
		return table_check(tx, *pfn);
	frames_disown(&tx->pool->frames, tx->own[--tx->n_own]);
	return 1;
}

int table_cached(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, struct path *p)
{
	uint64_t pfn = 0;
	int rc = 1;

	if (!tx->bulk && !tx->upper && !tx->n_fresh && !space->snapshot)
		rc = cached_own(tx, space, va, &pfn);
	if (!rc)
		*p = (struct path){ .space = space,
				    .va = va,
				    .level = 1,
				    .pfn = { [1] = pfn },
				    .above = ABOVE_ALL };
	return rc;
}

int table_replace(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t leaf)
{
	struct path p;
	uint64_t where, old, pfn;
	int rc;

	if (tx->bulk || tx->upper || tx->n_fresh ||
	    (tx_lines_max(tx) >= tx->pool->wal.half_lines &&
	     2 * (tx->changes + 1 - tx->measured_changes) + tx->measured_lines >
		     tx->pool->wal.half_lines))
		return 1;
	rc = cached_own(tx, space, va, &pfn);
	if (rc == 1) {
		rc = table_walk_own(tx, space, va, 1, &p);
		if (rc || p.level != 1)
			return rc ? rc : 1;
		pfn = p.pfn[1];
		pwc_fill(space, va_sign(va));
	}
	if (rc)
		return rc;
	where = pfn << FRAME_SHIFT | (uint64_t)level_index(va, 1) << 3 | WHERE_ENTRY;
	old = word_load(region_at(tx->pool->rg, WHERE_OFF(where))) & ~ENTRY_AD;
	if ((old & (ENTRY_P | ENTRY_EXT)) != (ENTRY_P | ENTRY_EXT) ||
	    (tx->words.n && wset_find(&tx->words, where)))
		return 1;
	if (__builtin_expect(policy_of(space), 0) && entry_wx(leaf) == WX_BOTH)
		return policy_broken(space, va);
	tx->changes++;
	return wset_add(&tx->words, where, old, leaf);
}

int table_make(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop, bool full,
	       struct path *p)
{
	int rc = table_walk_own(tx, space, va, stop, p);

	while (!rc && p->level > stop) {
		uint64_t pfn = 0;

		if (entry_is_segment(table_entry(tx, p), p->level))
			return segment_met(va);
		if (table_entry(tx, p))
			return error_set(PMPT_E_MAPPED, "a huge page maps %#lx", va_sign(va));
		rc = tx_fresh_table(tx, full && p->level == stop + 1, &pfn);
		if (!rc)
			rc = table_set(tx, p, pfn << FRAME_SHIFT | ENTRY_LINK);
		if (!rc)
			p->pfn[--p->level] = pfn;
	}
	return rc;
}

/* ---- drop ------------------------------------------------------------------------------------ */

int reservation_count(struct pmpt_tx *tx, uint64_t entry, int delta)
{
	if (entry_kind(entry) != KIND_SWAP)
		return 0;
	if (entry_pfn(entry) < SLOT_FIRST)
		return error_set(PMPT_E_CORRUPT, "entry %#lx names no slot of the swap file",
				 entry);
	return tx_count(tx, entry_pfn(entry), 1, DESC_SLOT, delta);
}

int leaf_count(struct pmpt_tx *tx, uint64_t entry, unsigned level, int delta)
{
	if (entry_is_reservation(entry))
		return reservation_count(tx, entry, delta);
	if (!entry || entry & ENTRY_EXT)
		return 0;
	return tx_count(tx, entry_pfn(entry), level_bytes(level) >> FRAME_SHIFT, DESC_DATA, delta);
}

static const struct wal_word *delta_of(const struct pmpt_tx *tx, const pm_word *desc)
{
	return tx->deltas.n ? wset_find(&tx->deltas, region_off(tx->pool->rg, desc) | WHERE_DESC)
			    : NULL;
}

uint64_t frame_refs(const struct pmpt_tx *tx, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, pfn);
	const struct wal_word *delta = desc ? delta_of(tx, desc) : NULL;

	return (desc ? desc_count(word_load(desc)) : 0) + (delta ? delta->new : 0);
}

bool frame_counted_live(const struct pmpt_tx *tx, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, pfn);
	const struct wal_word *delta = desc ? delta_of(tx, desc) : NULL;

	return delta && delta->old & DELTA_LIVE;
}

bool frame_aliased(const struct pmpt_tx *tx, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, pfn);
	const struct wal_word *delta = desc ? delta_of(tx, desc) : NULL;

	return desc && (word_load(desc) & DESC_ALIASED || (delta && delta->old & DELTA_ALIASED));
}

unsigned frame_state(const struct pmpt_tx *tx, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, pfn);
	const struct wal_word *delta = desc ? delta_of(tx, desc) : NULL;
	uint64_t home = desc ? word_load(desc) : 0;

	if (delta && delta->old & DELTA_STATE)
		return (unsigned)(delta->old >> DELTA_NEW_SHIFT & WX_BOTH);
	if (delta) /* the one that the commit checks */
		return delta->old & DELTA_LIVE ? delta->old >> DELTA_OLD_SHIFT & WX_BOTH : 0;
	return desc_count(home) ? desc_state(home) : 0;
}

int entry_count(struct pmpt_tx *tx, uint64_t entry, unsigned level, int delta)
{
	if (entry_is_table(entry, level))
		return tx_count(tx, entry_pfn(entry), 1, DESC_TABLE, delta);
	return leaf_count(tx, entry, level, delta);
}

/* A leaf in a frame of the pool, or a link. */
static bool names_frames(uint64_t entry) { return (entry & (ENTRY_P | ENTRY_EXT)) == ENTRY_P; }

int entries_count(struct pmpt_tx *tx, const uint64_t *entry, unsigned n, unsigned level, int delta)
{
	uint64_t kept = delta > 0 ? DELTA_KEPT : 0;
	int rc = 0;

	for (unsigned i = 0, run; i < n && !rc; i += run) {
		bool table = entry_is_table(entry[i], level);
		uint64_t pfn = entry_pfn(entry[i]),
			 frames = table ? 1 : level_bytes(level) >> FRAME_SHIFT;

		run = 1;
		if (!names_frames(entry[i])) {
			rc = leaf_count(tx, entry[i], level, delta);
			continue;
		}
		while (i + run < n && names_frames(entry[i + run]) &&
		       entry_is_table(entry[i + run], level) == table &&
		       entry_pfn(entry[i + run]) == pfn + run * frames)
			run++;
		rc = tx_count(tx, pfn, run * frames, (table ? DESC_TABLE : DESC_DATA) | kept,
			      delta);
	}
	return rc;
}

int table_own_below(struct pmpt_tx *tx, uint64_t entry, unsigned level)
{
	int rc;

	if (!entry_is_table(entry, level))
		return 0;
	/* excludes writers below [F8] */
	rc = rule_on(RULE_F8_EXCLUDE) ? own_child(tx, entry) : 0;
	if (!rc && frame_refs(tx, entry_pfn(entry)) > 1)
		return 0; /* all below stays another's */
	for (unsigned i = 0; level > 2 && i < FRAME_WORDS && !rc; i++)
		rc = table_own_below(tx, tx_entry(tx, entry_pfn(entry), i), level - 1);
	return rc;
}

static int drop_entry(struct pmpt_tx *tx, uint64_t entry, unsigned level)
{
	uint64_t pfn = entry_pfn(entry);
	int rc = 0;

	if (entry_is_page(entry, level))
		return leaf_count(tx, entry, level, -1);
	if (!entry_is_table(entry, level))
		return 0;
	if (frame_refs(tx, pfn) > 1)
		return tx_count(tx, pfn, 1, DESC_TABLE, -1);
	for (unsigned i = 0; i < FRAME_WORDS && !rc; i++)
		rc = drop_entry(tx, tx_entry(tx, pfn, i), level - 1);
	return rc ? rc : tx_drop_table(tx, pfn);
}

int table_drop_below(struct pmpt_tx *tx, uint64_t entry, unsigned level)
{
	int rc = table_own_below(tx, entry, level);

	return rc ? rc : drop_entry(tx, entry, level);
}

static bool table_empty(const struct pmpt_tx *tx, uint64_t pfn, unsigned near)
{
	/* neighbours first: in a full table one of them ends it */
	for (unsigned i = 0; i < FRAME_WORDS; i++) {
		if (tx_entry(tx, pfn, (near + i) % FRAME_WORDS))
			return false;
	}
	return true;
}

int table_drop_empty(struct pmpt_tx *tx, const struct path *end)
{
	struct path p = *end;
	int rc = 0;

	while (!rc && p.level < 4 && table_empty(tx, p.pfn[p.level], path_index(&p, p.level))) {
		rc = tx_drop_table(tx, p.pfn[p.level]);
		p.level++;
		if (!rc)
			rc = table_own_above(tx, &p, p.level);
		if (!rc)
			rc = table_set(tx, &p, 0);
	}
	return rc;
}
