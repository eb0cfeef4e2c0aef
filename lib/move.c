/* SPDX-License-Identifier: BSD-3-Clause */
/* move -- calls that change the shape of a mapping and not what it maps: move and collapse.  Whole
 * subtrees are relinked where source, destination and length allow it; counts do not change.
 */
#include "error.h"
#include "policy.h"
#include "table.h"

struct move_args {
	struct pmpt_space *from_space, *to_space;
	uint64_t from, to, len;
};

/* The highest level at which an entry's span fits in both ranges. */
static unsigned move_level(uint64_t from, uint64_t to, uint64_t left)
{
	unsigned level = 1;

	while (level < 3 && !((from | to) % level_bytes(level + 1)) &&
	       left >= level_bytes(level + 1))
		level++;
	return level;
}

/* Nothing may be mapped in [va, va + bytes), the span of one entry. */
static int move_target(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned level,
		       bool make, struct path *p)
{
	uint64_t entry = 0;
	int rc = make ? table_make(tx, space, va, level, false, p)
		      : table_look_hole(tx, space, va, level, p, &entry);

	if (!rc && make)
		entry = table_entry(tx, p);
	if (!rc &&
	    (entry || p->above & ENTRY_SHARED)) /* a segment's pages that are not there, too */
		rc = error_set(PMPT_E_MAPPED, "%#lx, where pages are to be moved, is mapped",
			       va_sign(va));
	return rc;
}

/* From the end of the path on, where nothing is mapped: bytes to the end of that entry's span. */
static uint64_t hole_bytes(const struct path *p)
{
	return level_bytes(p->level) - p->va % level_bytes(p->level);
}

/* Walk to the owned entry at or above `*level` that is to move from va.  A table moves whole, but not from a
 * space to one with another policy: a fork may share it, and all who do have one policy. */
static int move_source(struct pmpt_tx *tx, const struct move_args *a, uint64_t va, unsigned *level,
		       struct path *from)
{
	for (;; --*level) {
		int rc = table_walk_own(tx, a->from_space, va, *level, from);

		if (rc || policy_of(a->from_space) == policy_of(a->to_space) ||
		    from->level != *level || !entry_is_table(table_entry(tx, from), *level) ||
		    entry_is_segment(table_entry(tx, from), *level))
			return rc;
	}
}

/* Move the span of one entry of `level`; *bytes: how much was moved, holes included. */
static int move_one(struct pmpt_tx *tx, const struct move_args *a, uint64_t done, uint64_t *bytes)
{
	unsigned level = move_level(a->from + done, a->to + done, a->len - done);
	struct path from, to;
	uint64_t entry;
	int rc = move_source(tx, a, a->from + done, &level, &from);

	/* a huge page of which this is a part */
	while (!rc && from.level > level && table_entry(tx, &from)) {
		rc = entry_is_segment(table_entry(tx, &from), from.level)
			     ? segment_met(a->from + done)
			     : table_split(tx, &from);
		if (!rc)
			rc = table_walk_own(tx, a->from_space, a->from + done, level, &from);
	}
	if (rc)
		return rc;
	*bytes = level_bytes(level);
	entry = from.level == level ? table_entry(tx, &from) : 0;
	rc = move_target(tx, a->to_space, a->to + done, level, entry != 0, &to);
	if (rc)
		return rc;
	if (!entry) {
		*bytes = hole_bytes(&from) < hole_bytes(&to) ? hole_bytes(&from) : hole_bytes(&to);
		return 0;
	}
	/* a writer below would store at the new place what it planned for the old */
	rc = table_own_below(tx, entry, level);
	if (!rc)
		rc = table_set(tx, &to, entry);
	if (!rc)
		rc = table_set(tx, &from, 0);
	return rc ? rc : table_drop_empty(tx, &from);
}

static int move_call(struct pmpt_tx *tx, const void *args)
{
	const struct move_args *a = args;
	int rc = tx_range(tx, a->from_space, a->from, a->from + a->len);

	if (!rc)
		rc = tx_range(tx, a->to_space, a->to, a->to + a->len);
	for (uint64_t done = 0, bytes = 0; done < a->len && !rc; done += bytes)
		rc = move_one(tx, a, done, &bytes);
	return rc;
}

int pmpt_move(pmpt_tx *tx, pmpt_space *from_space, uint64_t from, pmpt_space *to_space, uint64_t to,
	      uint64_t len_bytes)
{
	struct move_args a = { .from_space = from_space, .to_space = to_space, .len = len_bytes };
	int rc = va_range(from, len_bytes, FRAME_BYTES, &a.from);

	if (!rc)
		rc = va_range(to, len_bytes, FRAME_BYTES, &a.to);
	if (rc)
		return rc;
	if (from_space->pool != to_space->pool)
		return error_set(-EINVAL, "the spaces are of two pools");
	if (from_space == to_space && a.from < a.to + len_bytes && a.to < a.from + len_bytes)
		return error_set(PMPT_E_ADDRESS, "ranges %#lx and %#lx + %#lx overlap", from, to,
				 len_bytes);
	return tx_run(from_space->pool, tx, move_call, &a);
}

/* ---- collapse -------------------------------------------------------------------------------- */

struct collapse_args {
	struct pmpt_space *space;
	uint64_t va;
	unsigned level;
};

/* The 512 leaves of the owned child table are one huge page's: its entry. */
static int collapse_check(struct pmpt_tx *tx, uint64_t pfn, unsigned level, uint64_t *leaf)
{
	uint64_t first = tx_entry(tx, pfn, 0);

	for (unsigned i = 0; i < FRAME_WORDS; i++) {
		uint64_t entry = tx_entry(tx, pfn, i);

		if (!entry_is_leaf(entry, level - 1) || entry != first + i * level_bytes(level - 1))
			return error_set(
				PMPT_E_NOT_UNIFORM,
				"entry %u of the table in frame %#lx is %#lx, expected %#lx", i,
				pfn, entry, first + i * level_bytes(level - 1));
	}
	if (first & ENTRY_PFN & (level_bytes(level) - 1))
		return error_set(PMPT_E_NOT_UNIFORM,
				 "the first frame, %#lx, is not aligned to %#lx bytes",
				 entry_pfn(first), level_bytes(level));
	*leaf = first | ENTRY_PS;
	return 0;
}

static int collapse_call(struct pmpt_tx *tx, const void *args)
{
	const struct collapse_args *a = args;
	struct path p, child;
	uint64_t entry, leaf = 0;
	int rc = tx_range(tx, a->space, a->va, a->va + level_bytes(a->level));

	if (!rc)
		rc = table_walk_own(tx, a->space, a->va, a->level, &p);
	if (rc)
		return rc;
	entry = table_entry(tx, &p);
	if (p.level == a->level && entry_is_leaf(entry, p.level))
		return 0; /* it is one already */
	if (p.level != a->level || !entry_is_table(entry, p.level))
		return error_set(PMPT_E_NOT_MAPPED, "%#lx is not mapped by %lu-byte pages",
				 va_sign(a->va), level_bytes(a->level - 1));
	if (entry_is_segment(entry, p.level))
		return segment_met(a->va);
	rc = table_walk_own(tx, a->space, a->va, a->level - 1, &child); /* its table is to go */
	if (!rc)
		entry = table_entry(tx, &p);
	if (!rc)
		rc = table_own_below(tx, entry, a->level);
	if (!rc)
		rc = collapse_check(tx, entry_pfn(entry), a->level, &leaf);
	if (!rc)
		rc = tx_drop_table(tx, entry_pfn(entry));
	return rc ? rc : table_set(tx, &p, leaf);
}

int pmpt_collapse(pmpt_tx *tx, pmpt_space *space, uint64_t va, unsigned size)
{
	struct collapse_args a = { .space = space, .level = size == PMPT_1G ? 3 : 2 };
	int rc;

	if (size != PMPT_2M && size != PMPT_1G)
		return error_set(-EINVAL, "size %#x, expected PMPT_2M or PMPT_1G", size);
	rc = va_range(va, level_bytes(a.level), level_bytes(a.level), &a.va);
	return rc ? rc : tx_run(space->pool, tx, collapse_call, &a);
}
