/* SPDX-License-Identifier: BSD-3-Clause */
/* segment -- shared memory segments: named runs of pages that spaces map at different addresses, with
 * different permissions.
 *
 * A segment is a record of the directory like a space, with names of its own.  Its tables of level 1,
 * one for 2 MiB, are there from the beginning, each empty or not.  To map it is to link them at
 * level 2 of a space: SHARED, so that a fork does not copy, and with the permissions of that mapping;
 * the leaves inside permit all.  So a page of a segment has one entry, whoever maps it, and changes for
 * all at once.
 * Its tables are counted like others: they live until the name and the last mapping are gone.
 */
#include "error.h"
#include "policy.h"
#include "space.h"
#include "table.h"

/* user[] of its record */
#define USER_BYTES 0

/* The link by which a space maps a table of a segment. */
static uint64_t segment_link(uint64_t pfn, unsigned prot)
{
	return leaf_prot(pfn << FRAME_SHIFT | ENTRY_P | ENTRY_SHARED, prot);
}

/* ---- create ---------------------------------------------------------------------------------- */

/* Tables below an owned one of level 2 or higher, for n pieces of 2 MiB. */
static int tables_make(struct pmpt_tx *tx, uint64_t pfn, unsigned level, uint64_t n)
{
	uint64_t each = level_bytes(level) / GROUP_BYTES;
	int rc = 0;

	for (unsigned i = 0; n && !rc; i++) {
		uint64_t below = 0, here = n < each ? n : each;

		rc = tx_fresh_table(tx, level > 2 && here > FRAME_WORDS / 2, &below);
		if (!rc)
			rc = tx_set_entry(
				tx, pfn, i,
				level == 2 ? segment_link(below, PMPT_R | PMPT_W | PMPT_X | PMPT_U)
					   : below << FRAME_SHIFT | ENTRY_LINK);
		if (!rc && level > 2)
			rc = tables_make(tx, below, level - 1, here);
		n -= here;
	}
	return rc;
}

struct create_args {
	struct record_args record; /* first: record_add fills it in */
	uint64_t bytes;
};

static int create_call(struct pmpt_tx *tx, const void *args)
{
	const struct create_args *a = args;
	struct space_record *r = a->record.record;
	uint64_t pfn = 0;
	int rc = tx_fresh_table(tx, false, &pfn);

	if (!rc)
		rc = tables_make(tx, pfn, 4, a->bytes / GROUP_BYTES);
	if (!rc)
		rc = record_set(tx, &r->state, SPACE_LIVE | RECORD_SEGMENT);
	if (!rc)
		rc = record_set(tx, &r->root, pfn << FRAME_SHIFT);
	if (!rc)
		rc = record_set(tx, &r->user[USER_BYTES], a->bytes);
	return rc ? rc : record_set_name(tx, r, a->record.name);
}

int pmpt_segment_create(pmpt_pool *pool, const char *name, uint64_t bytes)
{
	struct create_args a = { { .name = name, .flags = RECORD_SEGMENT }, .bytes = bytes };
	int rc = name_check(name);

	if (!rc && (!bytes || bytes > VA_END / 2))
		rc = error_set(PMPT_E_ADDRESS, "a segment of %lu bytes", bytes);
	if (!rc)
		rc = pool_writable(pool);
	if (!rc)
		rc = pool_feature(pool, SB_FEATURE_SPACES);
	a.bytes = (bytes + GROUP_BYTES - 1) & ~(GROUP_BYTES - 1);
	return rc ? rc : record_add(pool, create_call, &a.record, NULL);
}

int pmpt_segment_delete(pmpt_pool *pool, const char *name)
{
	return record_delete(pool, name, RECORD_SEGMENT);
}

/* ---- map and unmap --------------------------------------------------------------------------- */

struct segment_args {
	struct pmpt_space *space, *segment;
	uint64_t va, bytes;
	unsigned prot;
};

/* Link one piece. */
static int map_piece(struct pmpt_tx *tx, const struct segment_args *a, uint64_t at)
{
	struct path from, to;
	uint64_t entry;
	int rc = table_walk_own(tx, a->segment, at, 2, &from);

	if (!rc)
		rc = table_make(tx, a->space, a->va + at, 2, false, &to);
	if (rc)
		return rc;
	entry = table_entry(tx, &from);
	if (from.level != 2 || !entry_is_segment(entry, 2))
		return error_set(PMPT_E_CORRUPT,
				 "segment '%s': entry %#lx over %#lx links no table of a segment",
				 a->segment->name, entry, at);
	if (table_entry(tx, &to))
		return error_set(PMPT_E_MAPPED, "%#lx, where a segment is to be mapped, is mapped",
				 va_sign(a->va + at));
	rc = tx_count(tx, entry_pfn(entry), 1, DESC_TABLE, 1);
	if (!rc && policy_judges(tx->pool))
		rc = policy_segment(tx, &to, 0, segment_link(entry_pfn(entry), a->prot), 1);
	return rc ? rc : table_set(tx, &to, segment_link(entry_pfn(entry), a->prot));
}

static int map_call(struct pmpt_tx *tx, const void *args)
{
	const struct segment_args *a = args;
	int rc = tx_range(tx, a->space, a->va, a->va + a->bytes);

	for (uint64_t at = 0; at < a->bytes && !rc; at += GROUP_BYTES)
		rc = map_piece(tx, a, at);
	return rc;
}

/* Is it this piece of the segment that is mapped there? */
static int unmap_check(struct pmpt_tx *tx, const struct segment_args *a, uint64_t at)
{
	struct path from, to;
	int rc = table_walk_own(tx, a->segment, at, 2, &from);

	if (!rc)
		rc = table_walk_own(tx, a->space, a->va + at, 2, &to);
	if (rc)
		return rc;
	if (to.level != 2 || !entry_is_segment(table_entry(tx, &to), 2) ||
	    entry_pfn(table_entry(tx, &to)) != entry_pfn(table_entry(tx, &from)))
		return error_set(PMPT_E_SEGMENT, "segment '%s' is not mapped at %#lx",
				 a->segment->name, va_sign(a->va));
	rc = table_drop_below(tx, table_entry(tx, &to), 2);
	if (!rc)
		rc = table_set(tx, &to, 0);
	return rc ? rc : table_drop_empty(tx, &to);
}

static int unmap_call(struct pmpt_tx *tx, const void *args)
{
	const struct segment_args *a = args;
	int rc = tx_range(tx, a->space, a->va, a->va + a->bytes);

	for (uint64_t at = 0; at < a->bytes && !rc; at += GROUP_BYTES)
		rc = unmap_check(tx, a, at);
	return rc;
}

/* Open the segment of that name, and run fn on it. */
static int segment_run(pmpt_tx *tx, struct segment_args *a, uint64_t va, const char *name,
		       tx_fn *fn)
{
	struct pmpt_pool *pool = a->space->pool;
	uint32_t i;
	int rc = name_check(name);

	if (!rc)
		rc = pool_ours(pool);
	if (rc)
		return rc;
	pthread_mutex_lock(&pool->names);
	i = record_find(pool, name, RECORD_SEGMENT);
	rc = i < pool->sb->n_spaces ? handle_open(pool, i, &a->segment)
				    : error_set(PMPT_E_SEGMENT, "no segment '%s'", name);
	pthread_mutex_unlock(&pool->names);
	if (rc)
		return rc;
	a->bytes = word_load(&a->segment->record->user[USER_BYTES]);
	rc = va_range(va, a->bytes, GROUP_BYTES, &a->va);
	if (!rc && tx) /* its handle outlives this call */
		rc = tx_hold(tx, a->segment);
	if (!rc)
		rc = tx_run(pool, tx, fn, a);
	pmpt_space_close(a->segment);
	return rc;
}

int pmpt_segment_map(pmpt_tx *tx, pmpt_space *space, uint64_t va, const char *name, unsigned prot)
{
	struct segment_args a = { .space = space, .prot = prot };

	if (prot & ~PMPT_PROT_MASK || !(prot & PMPT_R))
		return error_set(-EINVAL,
				 "permissions %#x: PMPT_R with any of PMPT_W, PMPT_X, PMPT_U",
				 prot);
	return segment_run(tx, &a, va, name, map_call);
}

int pmpt_segment_unmap(pmpt_tx *tx, pmpt_space *space, uint64_t va, const char *name)
{
	struct segment_args a = { .space = space };

	return segment_run(tx, &a, va, name, unmap_call);
}

/* ---- list ------------------------------------------------------------------------------------ */

/* Links to its first table, but its own. */
static uint64_t mappings(const struct pmpt_pool *pool, const struct space_record *r)
{
	uint64_t entry = word_load(&r->root);
	const pm_word *desc;

	for (unsigned level = 4; level > 1; level--) {
		if (!region_has(pool->rg, entry & ENTRY_PFN, FRAME_BYTES))
			return 0;
		entry = word_load((pm_word *)region_at(pool->rg, entry & ENTRY_PFN));
	}
	desc = frames_desc((struct frames *)&pool->frames, entry_pfn(entry));
	return desc ? desc_count(word_load(desc)) - 1 : 0;
}

int pmpt_segment_list(pmpt_pool *pool, int (*fn)(void *ctx, const struct pmpt_segment *segment),
		      void *ctx)
{
	char name[PMPT_NAME_MAX + 1];
	int rc = pool_ours(pool);

	for (uint32_t i = 0; i < pool->sb->n_spaces && !rc; i++) {
		struct pmpt_segment s = { .name = name };
		const struct space_record *r = record_at(pool, i);
		bool live;

		pthread_mutex_lock(&pool->names);
		live = record_is(r, RECORD_SEGMENT);
		record_name(r, name);
		s.bytes = word_load(&r->user[USER_BYTES]);
		s.mappings = live ? mappings(pool, r) : 0;
		pthread_mutex_unlock(&pool->names);
		if (live)
			rc = fn(ctx, &s);
	}
	return rc;
}
