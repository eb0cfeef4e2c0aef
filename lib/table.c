/* SPDX-License-Identifier: BSD-3-Clause */
/* table -- see table.h. */
#include "table.h"

#include "error.h"
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

/* Walk to the table of level `stop` over va, or to where an entry links no table.  In a reader
 * section: what others unlink meanwhile stays a table as it was [F2].
 * Returns 0 or PMPT_E_CORRUPT. */
static int walk(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		struct path *p)
{
	bool planned = tx->upper || tx->n_fresh;

	p->space = space;
	p->va = va;
	p->pfn[4] = space->root_pfn;
	for (p->level = 4; p->level > stop; p->level--) {
		uint64_t pfn = p->pfn[p->level], entry;
		unsigned index = path_index(p, p->level);

		if (planned)
			entry = tx_entry(tx, pfn, index);
		else
			entry = word_load((pm_word *)(void *)(space->base + (pfn << FRAME_SHIFT)) +
					  index);
		if (!entry_is_table(entry, p->level))
			return 0;
		if (entry_pfn(entry) >= space->bytes >> FRAME_SHIFT)
			return link_bad(tx, p, entry);
		p->pfn[p->level - 1] = entry_pfn(entry);
	}
	return 0;
}

int table_look(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
	       struct path *p, uint64_t *entry)
{
	int rc;

	reader_begin();
	rc = walk(tx, space, va, stop, p);
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

static int walk_own(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		    struct path *p)
{
	for (;;) {
		int rc = walk(tx, space, va, stop, p);
		size_t owned = tx->n_own;
		struct path again;

		if (!rc)
			rc = tx_own(tx, p->pfn[p->level]);
		if (rc || tx->n_own == owned) /* ours before: nobody else could unlink it */
			return rc;
		rc = walk(tx, space, va, stop, &again);
		if (!rc && again.level == p->level && again.pfn[p->level] == p->pfn[p->level])
			return table_check(tx, p->pfn[p->level]);
		/* it was unlinked, or linked deeper, before it was ours */
		frames_disown(&tx->pool->frames, tx->own[--tx->n_own]);
		if (rc)
			return rc;
	}
}

int table_walk_own(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop,
		   struct path *p)
{
	int rc;

	reader_begin();
	rc = walk_own(tx, space, va, stop, p);
	reader_end();
	return rc;
}

int table_own_above(struct pmpt_tx *tx, const struct path *p, unsigned level)
{
	return tx_own(tx, p->pfn[level]);
}

int table_set(struct pmpt_tx *tx, const struct path *p, uint64_t value)
{
	tx->upper |= p->level > 1;
	if (entry_is_table(table_entry(tx, p), p->level)) {
		int rc = tx_cut(tx, p->space, p->va, p->level);

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

	if (!pwc_find(&space->pwc, va_sign(va), &table))
		return 1;
	*pfn = table >> FRAME_SHIFT;
	rc = tx_own(tx, *pfn);
	if (rc || tx->n_own == owned)
		return rc;
	if (pwc_find(&space->pwc, va_sign(va), &again) && again == table)
		return table_check(tx, *pfn);
	frames_disown(&tx->pool->frames, tx->own[--tx->n_own]);
	return 1;
}

int table_replace(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t leaf)
{
	struct path p;
	uint64_t where, old, pfn;
	int rc;

	if (tx->bulk || tx->upper || tx->n_fresh ||
	    2 * (tx->changes + 1 - tx->measured_changes) + tx->measured_lines >
		    tx->pool->wal.half_lines)
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
	tx->changes++;
	return wset_add(&tx->words, where, old, leaf);
}

int table_make(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned stop, bool full,
	       struct path *p)
{
	int rc = table_walk_own(tx, space, va, stop, p);

	while (!rc && p->level > stop) {
		uint64_t pfn = 0;

		if (table_entry(tx, p) & ENTRY_P)
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

int leaf_count(struct pmpt_tx *tx, uint64_t entry, unsigned level, int delta)
{
	if (entry & ENTRY_EXT)
		return 0;
	return tx_count(tx, entry_pfn(entry), level_bytes(level) >> FRAME_SHIFT, DESC_DATA, delta);
}

int table_own_below(struct pmpt_tx *tx, uint64_t entry, unsigned level)
{
	size_t owned = tx->n_own;
	int rc;

	if (!entry_is_table(entry, level))
		return 0;
	if (entry_pfn(entry) >= tx->pool->rg->bytes >> FRAME_SHIFT)
		return error_set(PMPT_E_CORRUPT, "entry %#lx links a table outside the pool",
				 entry);
	/* excludes writers below [F8] */
	rc = rule_on(RULE_F8_EXCLUDE) ? tx_own(tx, entry_pfn(entry)) : 0;
	if (!rc && tx->n_own > owned) /* not one of its own making, which has no count yet */
		rc = table_check(tx, entry_pfn(entry));
	for (unsigned i = 0; level > 2 && i < FRAME_WORDS && !rc; i++)
		rc = table_own_below(tx, tx_entry(tx, entry_pfn(entry), i), level - 1);
	return rc;
}

static int drop_entry(struct pmpt_tx *tx, uint64_t entry, unsigned level)
{
	uint64_t pfn = entry_pfn(entry);
	int rc = 0;

	if (entry_is_leaf(entry, level))
		return leaf_count(tx, entry, level, -1);
	if (!entry_is_table(entry, level))
		return 0;
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

int table_split(struct pmpt_tx *tx, const struct path *p)
{
	uint64_t entry = table_entry(tx, p), pfn = 0;
	unsigned level = p->level - 1;
	uint64_t leaf = level == 1 ? entry & ~ENTRY_PS : entry;
	int rc = tx_fresh_table(tx, true, &pfn);

	for (unsigned i = 0; i < FRAME_WORDS && !rc;
	     i++) /* counts stay: each frame keeps its one reference [F4] */
		rc = tx_set_entry(tx, pfn, i, leaf + i * level_bytes(level));
	return rc ? rc : table_set(tx, p, pfn << FRAME_SHIFT | ENTRY_LINK);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

uint64_t leaf_prot(uint64_t entry, unsigned prot)
{
	entry &= ~(ENTRY_W | ENTRY_U | ENTRY_NX);
	return entry | (prot & PMPT_W ? ENTRY_W : 0) | (prot & PMPT_U ? ENTRY_U : 0) |
	       (prot & PMPT_X ? 0 : ENTRY_NX);
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

void leaf_decode(uint64_t entry, unsigned level, uint64_t va, struct pmpt_mapping *m)
{
	unsigned flags = PMPT_R;

	flags |= (entry & ENTRY_W ? PMPT_W : 0u) | (entry & ENTRY_U ? PMPT_U : 0u) |
		 (entry & ENTRY_NX ? 0u : PMPT_X) | (entry & ENTRY_EXT ? PMPT_EXT : 0u) |
		 (entry & ENTRY_G ? PMPT_G : 0u) | (entry & ENTRY_PWT ? PMPT_PWT : 0u) |
		 (entry & ENTRY_PCD ? PMPT_PCD : 0u) |
		 (level == 2   ? PMPT_2M
		  : level == 3 ? PMPT_1G
			       : 0u) |
		 PMPT_TAG(entry >> ENTRY_TAG_SHIFT) | PMPT_PKEY(entry >> ENTRY_PKEY_SHIFT);
	*m = (struct pmpt_mapping){ .va = va_sign(va & ~(level_bytes(level) - 1)),
				    .page_bytes = level_bytes(level),
				    .pfn = entry_pfn(entry),
				    .entry = entry,
				    .flags = flags,
				    .level = level };
}
