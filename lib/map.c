/* SPDX-License-Identifier: BSD-3-Clause */
/* map -- the calls that change a space: map, unmap, protect, user words.
 *
 * Each is one all-or-nothing call of a transaction (tx_run).  A call goes over its range table by
 * table: own the table, change its entries, free it if that left it empty.
 */
#include "error.h"
#include "policy.h"
#include "rcu.h"
#include "table.h"

/* Entries of the table at `level` that [va, va + bytes) covers, from va's on. */
static unsigned chunk(uint64_t va, uint64_t bytes, unsigned level)
{
	uint64_t left = FRAME_WORDS - level_index(va, level), n = bytes >> level_shift(level);

	return (unsigned)(n < left ? n : left);
}

#define MANY 64u /* entries that are read, changed and set at once */

/* ---- map ------------------------------------------------------------------------------------- */

#define MAP_FLAGS                                                                            \
	(PMPT_PROT_MASK | PMPT_EXT | PMPT_REPLACE | PMPT_ZERO | PMPT_G | PMPT_2M | PMPT_1G | \
	 PMPT_PWT | PMPT_PCD | PMPT_DEMAND | PMPT_TAG(15) | PMPT_PKEY(15))

struct map_args {
	struct pmpt_space *space;
	uint64_t va, n, pfn;
	unsigned flags, level;
};

/* Reserved by this transaction, and not for a table. */
static bool tx_data(const struct pmpt_tx *tx, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&tx->pool->frames, pfn);
	const struct wal_word *delta =
		wset_find(&tx->deltas, region_off(tx->pool->rg, desc) | WHERE_DESC);

	return tx_reserved(tx, pfn) && !(delta && delta_kind(delta) == DESC_TABLE);
}

/* Given frames of the pool: in use as data, or reserved by this transaction. */
static int frames_given(struct pmpt_tx *tx, uint64_t pfn, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		const pm_word *desc = frames_desc(&tx->pool->frames, pfn + i);
		uint64_t value = desc ? word_load(desc) : 0;

		if (!desc)
			return frames_desc_none(&tx->pool->frames, pfn + i);
		if (desc_count(value) ? desc_kind(value) != DESC_DATA : !tx_data(tx, pfn + i))
			return error_set(
				PMPT_E_FRAME,
				"frame %#lx is %s, expected one reserved by this transaction or mapped",
				pfn + i,
				desc_kind(value) == DESC_RESERVED ? "reserved for the pool"
				: desc_count(value)               ? "a table"
								  : "free");
		if (tx_fresh(tx, pfn + i))
			return error_set(PMPT_E_FRAME, "frame %#lx is a table", pfn + i);
	}
	return 0;
}

/* Reserve up to n frames of a level in one run, at least one. */
static int frames_some(struct pmpt_tx *tx, unsigned level, unsigned n, uint64_t *pfn, unsigned *got)
{
	uint64_t frames = level_bytes(level) >> FRAME_SHIFT;
	int rc;

	for (*got = n; *got > 1; *got /= 2) {
		rc = tx_frames_try(tx, *got * frames, frames > 1 ? GROUP_FRAMES : 1, pfn);
		if (rc != PMPT_E_NO_FRAMES)
			return rc;
	}
	return tx_frames_take(tx, frames, frames > 1 ? GROUP_FRAMES : 1, pfn);
}

/* The entry that stands where a page is to be mapped. */
static int map_over(struct pmpt_tx *tx, const struct map_args *a, const struct path *p,
		    uint64_t old)
{
	if (!old)
		return 0;
	if (!(a->flags & PMPT_REPLACE))
		return error_set(PMPT_E_MAPPED, "%#lx is mapped", va_sign(p->va));
	return table_drop_below(tx, old, p->level);
}

/* One reference more to the n frames of a leaf.  Those that another entry maps are its caller's wish
 * to have under two addresses, written in place through both; but a page that a fork shares goes on
 * to be copied by who writes it. */
static int given_count(struct pmpt_tx *tx, uint64_t pfn, uint64_t n, uint64_t *leaf)
{
	int rc = 0;

	for (uint64_t end = pfn + n; pfn < end && !rc; pfn++) {
		uint64_t refs;

		rc = tx_count(tx, pfn, 1, DESC_DATA, 1);
		if (rc)
			break;
		if (!frame_counted_live(tx, pfn) && !tx_data(tx, pfn)) /* since it was looked at */
			return error_set(PMPT_E_CONFLICT,
					 "frame %#lx was freed by another transaction", pfn);
		refs = frame_refs(tx, pfn) - 1;
		if (!refs)
			continue;
		if (refs > 1 && !frame_aliased(tx, pfn)) {
			*leaf = entry_share(*leaf);
			continue;
		}
		rc = pool_feature(tx->pool, SB_FEATURE_SPACES);
		if (!rc)
			rc = tx_count(tx, pfn, 1, DESC_DATA | DELTA_ALIASED, 0);
	}
	return rc;
}

static uint64_t map_leaf(const struct map_args *a, uint64_t pfn)
{
	return a->flags & PMPT_DEMAND ? leaf_reserve(a->flags) : leaf_make(pfn, a->flags, a->level);
}

/* Page by page. */
static int map_run(struct pmpt_tx *tx, const struct map_args *a, struct path *p, unsigned n,
		   uint64_t pfn)
{
	uint64_t frames = level_bytes(a->level) >> FRAME_SHIFT;
	bool given = a->pfn != PMPT_PFN_ALLOC && !(a->flags & PMPT_EXT),
	     fresh = a->pfn == PMPT_PFN_ALLOC && !(a->flags & PMPT_DEMAND);
	int rc = fresh ? tx_count(tx, pfn, n * frames, DESC_DATA, 1) : 0;

	for (unsigned i = 0; i < n && !rc; i++, pfn += frames, p->va += level_bytes(a->level)) {
		uint64_t leaf = map_leaf(a, pfn);

		if (given) /* before what is replaced is uncounted: it may be the same frame */
			rc = given_count(tx, pfn, frames, &leaf);
		if (!rc)
			rc = map_over(tx, a, p, table_entry(tx, p));
		if (!rc)
			rc = table_set(tx, p, leaf);
	}
	return rc;
}

/* The same for single pages that are not given by the numbers of frames in use, in a pool whose policy
 * needs no look at each: entries are read, set and counted many at a time. */
static int map_many(struct pmpt_tx *tx, const struct map_args *a, struct path *p, unsigned n,
		    uint64_t pfn)
{
	uint64_t entry[MANY], leaf[MANY], table = p->pfn[1];
	int rc = a->flags & (PMPT_EXT | PMPT_DEMAND) ? 0 : tx_count_fresh(tx, pfn, n);

	for (unsigned run; n && !rc; n -= run) {
		unsigned first = path_index(p, 1);

		run = n < MANY ? n : MANY;
		tx_entries(tx, table, first, run, entry);
		for (unsigned i = 0; i < run && !rc; i++, pfn++, p->va += FRAME_BYTES) {
			leaf[i] = map_leaf(a, pfn);
			if (entry[i] && !(a->flags & PMPT_REPLACE))
				rc = error_set(PMPT_E_MAPPED, "%#lx is mapped", va_sign(p->va));
		}
		if (!rc)
			rc = tx_set_entries(tx, table, first, run, leaf);
		if (!rc && a->flags & PMPT_REPLACE)
			rc = entries_count(tx, entry, run, 1, -1);
	}
	return rc;
}

/* Map n pages with frames from pfn on, in the owned table where the path ends. */
static int map_pages(struct pmpt_tx *tx, const struct map_args *a, struct path *p, unsigned n,
		     uint64_t pfn)
{
	bool given = a->pfn != PMPT_PFN_ALLOC && !(a->flags & PMPT_EXT);

	return given || a->level > 1 || policy_judges(tx->pool) ? map_run(tx, a, p, n, pfn)
								: map_many(tx, a, p, n, pfn);
}

static int map_alloc(struct pmpt_tx *tx, const struct map_args *a, struct path *p, unsigned n)
{
	int rc = 0;

	while (n && !rc) {
		uint64_t pfn = 0;
		unsigned got = 0;

		rc = frames_some(tx, a->level, n, &pfn, &got);
		if (!rc && a->flags & PMPT_ZERO) {
			pm_stream_zero(&tx->pm, region_at(tx->pool->rg, pfn << FRAME_SHIFT),
				       (got << level_shift(a->level)) / LINE_BYTES);
			tx->unfenced = true;
		}
		if (!rc)
			rc = map_pages(tx, a, p, got, pfn);
		n -= rc ? 0 : got;
	}
	return rc;
}

/* The table that is to hold the leaves of va; a huge page in the way is split when it may be
 * replaced. */
static int map_table(struct pmpt_tx *tx, const struct map_args *a, uint64_t va, bool full,
		     struct path *p)
{
	for (;;) {
		int rc = table_make(tx, a->space, va, a->level, full, p);

		if (rc != PMPT_E_MAPPED || !(a->flags & PMPT_REPLACE))
			return rc;
		rc = table_split(tx, p);
		if (rc)
			return rc;
	}
}

static int map_call(struct pmpt_tx *tx, const void *args)
{
	const struct map_args *a = args;
	uint64_t size = level_bytes(a->level), va = a->va, end = va + a->n * size, pfn = a->pfn;
	int rc = tx_range(tx, a->space, va, end);

	if (!rc && !(a->flags & PMPT_EXT) && pfn != PMPT_PFN_ALLOC)
		rc = frames_given(tx, pfn, a->n * (size >> FRAME_SHIFT));
	while (va < end && !rc) {
		unsigned n = chunk(va, end - va, a->level);
		struct path p;

		rc = map_table(tx, a, va, n > FRAME_WORDS / 2, &p);
		if (rc)
			break;
		if (a->flags & PMPT_DEMAND) {
			rc = map_pages(tx, a, &p, n, 0);
		} else if (pfn == PMPT_PFN_ALLOC) {
			rc = map_alloc(tx, a, &p, n);
		} else {
			rc = map_pages(tx, a, &p, n, pfn);
			pfn += n * (size >> FRAME_SHIFT);
		}
		va += n * size;
	}
	return rc;
}

int pmpt_map(pmpt_tx *tx, pmpt_space *space, uint64_t va, uint64_t n_pages, uint64_t pfn,
	     unsigned flags)
{
	unsigned level = flags & PMPT_1G ? 3 : flags & PMPT_2M ? 2 : 1;
	uint64_t frames = level_bytes(level) >> FRAME_SHIFT;
	struct map_args a = {
		.space = space, .n = n_pages, .pfn = pfn, .flags = flags, .level = level
	};
	int rc;

	table_prefetch(space, va);
	if (flags & ~MAP_FLAGS || !(flags & PMPT_R) || ((flags & PMPT_2M) && (flags & PMPT_1G)))
		return error_set(
			-EINVAL,
			"flags %#x: PMPT_R is needed, at most one of PMPT_2M and PMPT_1G, no unknown bits",
			flags);
	if (pfn == PMPT_PFN_ALLOC ? flags & PMPT_EXT : flags & (PMPT_ZERO | PMPT_DEMAND))
		return error_set(
			-EINVAL,
			"flags %#x: PMPT_EXT goes with given frames, PMPT_ZERO and PMPT_DEMAND with allocated ones",
			flags);
	if (n_pages > VA_END / level_bytes(level))
		return error_set(PMPT_E_ADDRESS, "%lu pages are more than the address space has",
				 n_pages);
	rc = va_range(va, n_pages * level_bytes(level), level_bytes(level), &a.va);
	if (rc)
		return rc;
	if (pfn != PMPT_PFN_ALLOC && (pfn % frames || pfn > (ENTRY_PFN >> FRAME_SHIFT) ||
				      n_pages * frames > (ENTRY_PFN >> FRAME_SHIFT) + 1 - pfn))
		return error_set(PMPT_E_FRAME,
				 "frames %#lx + %#lx: not aligned to %#lx, or beyond 40 bits", pfn,
				 n_pages * frames, frames);
	if (flags & PMPT_DEMAND)
		rc = pool_feature(space->pool, SB_FEATURE_SPACES);
	if (rc)
		return rc;
	if (tx && n_pages == 1 && level == 1 && (flags & PMPT_EXT) && (flags & PMPT_REPLACE) &&
	    tx->pool == space->pool) {
		rc = tx_check(tx);
		if (!rc)
			rc = table_replace(tx, space, a.va, leaf_make(pfn, flags, 1));
		if (rc <= 0)
			return rc;
	}
	return tx_run(space->pool, tx, map_call, &a);
}

/* ---- unmap and protect ----------------------------------------------------------------------- */

struct range_args {
	struct pmpt_space *space;
	uint64_t va, end;
	unsigned prot;
};

/* Bytes of [p->va, end) in the table where the path ends. */
static uint64_t table_bytes(const struct path *p, uint64_t end)
{
	uint64_t table_end = (p->va | (level_bytes(p->level + 1) - 1)) + 1;

	return (table_end < end ? table_end : end) - p->va;
}

/* Walk to the owned table whose entries for va lie wholly in [va, end), or are not present, as high
 * up as can be; leaves that stick out are split. */
static int range_table(struct pmpt_tx *tx, const struct range_args *a, uint64_t va,
		       bool whole_tables, struct path *p)
{
	unsigned stop = 1;

	while (whole_tables && stop < 3 && !(va % level_bytes(stop + 1)) &&
	       a->end - va >= level_bytes(stop + 1))
		stop++;
	for (;;) {
		int rc = whole_tables ? table_walk_drop(tx, a->space, va, a->end, stop, p)
				      : table_walk_own(tx, a->space, va, stop, p);
		uint64_t size = level_bytes(p->level);

		if (!rc && entry_is_segment(table_entry(tx, p), p->level) &&
		    (va % size || a->end - va < size))
			return segment_met(va);
		if (rc || !entry_is_page(table_entry(tx, p), p->level) ||
		    (!(va % size) && a->end - va >= size))
			return rc;
		rc = table_split(tx, p);
		if (rc)
			return rc;
	}
}

/* Unmap the entries from p->va on that the range covers wholly. */
static int unmap_table(struct pmpt_tx *tx, const struct range_args *a, struct path *p)
{
	uint64_t size = level_bytes(p->level), end = p->va + table_bytes(p, a->end);
	struct path at = *p;
	int rc = 0;

	for (; end - at.va >= size && at.va < end && !rc; at.va += size) {
		uint64_t entry = table_entry(tx, &at);

		if (!entry)
			continue;
		rc = table_drop_below(tx, entry, at.level);
		if (!rc)
			rc = table_set(tx, &at, 0);
	}
	if (rc)
		return rc;
	rc = table_drop_empty(tx, p);
	p->va = at.va;
	return rc;
}

/* Nothing is mapped in [from, va), something at va: the first address of the largest piece in [from, end)
 * that a single entry spans and va lies in.  What is shared and goes whole needs no copy. */
static uint64_t piece_of(uint64_t from, uint64_t va, uint64_t end)
{
	for (unsigned level = 4; level > 1; level--) {
		uint64_t first = va & ~(level_bytes(level) - 1);

		if (first >= from && end - first >= level_bytes(level))
			return first;
	}
	return va;
}

static int unmap_call(struct pmpt_tx *tx, const void *args)
{
	const struct range_args *a = args;
	uint64_t va = a->va, from = va;
	int rc = tx_range(tx, a->space, va, a->end);

	while (va < a->end && !rc) {
		struct path p;
		uint64_t entry = 0;

		rc = table_look_hole(tx, a->space, va, 1, &p, &entry); /* holes need no lock */
		if (rc)
			return rc;
		if (p.level > 1 && !entry) {
			va = (va | (level_bytes(p.level) - 1)) + 1;
			continue;
		}
		va = piece_of(from, va, a->end);
		rc = range_table(tx, a, va, true, &p);
		if (rc)
			return rc;
		/* it went meanwhile */
		if (level_bytes(p.level) > a->end - va || va % level_bytes(p.level)) {
			va = (va | (level_bytes(p.level) - 1)) + 1;
			continue;
		}
		rc = unmap_table(tx, a, &p);
		va = from = p.va;
	}
	return rc;
}

int pmpt_unmap(pmpt_tx *tx, pmpt_space *space, uint64_t va, uint64_t len_bytes)
{
	struct range_args a = { .space = space };
	int rc = va_range(va, len_bytes, FRAME_BYTES, &a.va);

	if (rc)
		return rc;
	a.end = a.va + len_bytes;
	return tx_run(space->pool, tx, unmap_call, &a);
}

static int not_mapped(uint64_t va)
{
	return error_set(PMPT_E_NOT_MAPPED, "%#lx is not mapped", va_sign(va));
}

/* Single pages from p->va to `end`, in one table, many at a time. */
static int protect_many(struct pmpt_tx *tx, const struct range_args *a, struct path *p,
			uint64_t end)
{
	uint64_t entry[MANY], table = p->pfn[1];
	int rc = 0;

	while (p->va < end && !rc) {
		unsigned first = path_index(p, 1), run = chunk(p->va, end - p->va, 1);

		run = run < MANY ? run : MANY;
		tx_entries(tx, table, first, run, entry);
		for (unsigned i = 0; i < run; i++, p->va += FRAME_BYTES) {
			if (!entry_is_page(entry[i], 1))
				return not_mapped(p->va);
			entry[i] = leaf_protect(tx, entry[i], 1, a->prot);
		}
		rc = tx_set_entries(tx, table, first, run, entry);
	}
	return rc;
}

static int protect_call(struct pmpt_tx *tx, const void *args)
{
	const struct range_args *a = args;
	uint64_t va = a->va;
	int rc = tx_range(tx, a->space, va, a->end);

	while (va < a->end && !rc) {
		struct path p;
		uint64_t end;

		rc = range_table(tx, a, va, false, &p);
		if (rc)
			return rc;
		end = va + table_bytes(&p, a->end);
		if (p.level == 1 && !policy_judges(tx->pool))
			rc = protect_many(tx, a, &p, end);
		for (; p.va < end && !rc; p.va += level_bytes(p.level)) {
			uint64_t entry = table_entry(tx, &p);

			if (p.va != va && p.level > 1 &&
			    (entry_is_table(entry, p.level) || end - p.va < level_bytes(p.level)))
				break; /* go down, or split */
			if (entry_is_segment(entry, p.level)) {
				rc = table_set(tx, &p, leaf_prot(entry, a->prot));
				continue;
			}
			if (!entry_is_page(entry, p.level))
				return not_mapped(p.va);
			rc = table_set(tx, &p, leaf_protect(tx, entry, p.level, a->prot));
		}
		va = p.va;
	}
	return rc;
}

int pmpt_protect(pmpt_tx *tx, pmpt_space *space, uint64_t va, uint64_t len_bytes, unsigned prot)
{
	struct range_args a = { .space = space, .prot = prot };
	int rc;

	table_prefetch(space, va);
	if (prot & ~PMPT_PROT_MASK || !(prot & PMPT_R))
		return error_set(-EINVAL,
				 "permissions %#x: PMPT_R with any of PMPT_W, PMPT_X, PMPT_U",
				 prot);
	rc = va_range(va, len_bytes, FRAME_BYTES, &a.va);
	if (rc)
		return rc;
	a.end = a.va + len_bytes;
	return tx_run(space->pool, tx, protect_call, &a);
}

/* ---- user words ------------------------------------------------------------------------------ */

struct user_args {
	struct pmpt_space *space;
	unsigned index;
	uint64_t value;
};

static int user_call(struct pmpt_tx *tx, const void *args)
{
	const struct user_args *a = args;
	int rc = tx_own_space(tx, a->space);

	if (!rc)
		rc = tx_range(tx, a->space, USER_VA, USER_VA + 1);
	return rc ? rc
		  : tx_set_word(tx,
				region_off(tx->pool->rg, &a->space->record->user[a->index]) |
					WHERE_DIR,
				a->value);
}

int pmpt_user_set(pmpt_tx *tx, pmpt_space *space, unsigned index, uint64_t value)
{
	struct user_args a = { space, index, value };

	if (index >= PMPT_USER_WORDS)
		return error_set(-EINVAL, "user word %u, a space has %u", index, PMPT_USER_WORDS);
	return tx_run(space->pool, tx, user_call, &a);
}

int pmpt_user_get(const pmpt_space *space, unsigned index, uint64_t *value)
{
	int rc;

	if (index >= PMPT_USER_WORDS)
		return error_set(-EINVAL, "user word %u, a space has %u", index, PMPT_USER_WORDS);
	if (forked(space->pool))
		return error_set(PMPT_E_FORKED, "space '%s' was opened by the parent process",
				 space->name);
	reader_begin();
	rc = space_slow(space) ? space_hidden(space, USER_VA, USER_VA + 1) : 0;
	if (!rc)
		*value = word_load(&space->record->user[index]);
	reader_end();
	return rc;
}
