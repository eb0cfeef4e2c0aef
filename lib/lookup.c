/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup -- readers: four atomic loads inside a reader section; no locks, no log, no fence.
 *
 * What a reader may meet: a committed, durable value (redo stores home after its fence only), or,
 * while a bulk transaction is open, a value of it that is not committed: those ranges are published
 * before they are stored (commit.c), and every reader looks there first.
 * A table that was unlinked meanwhile keeps its content for a grace period [F2].
 */

#include "error.h"
#include "rcu.h"
#include "table.h"

#define AHEAD   32   /* entries on their way: more than the line fill buffers of today's cores */
#define SECTION 1024 /* lookups of a batch in one reader section: grace periods wait for it */

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The table that an entry links, inside the mapping or not. */
static inline const pm_word *table_at(const struct pmpt_space *space, uint64_t entry)
{
	return (const pm_word *)(const void *)(space->base + (entry & ENTRY_PFN));
}

static inline bool outside(const struct pmpt_space *space, uint64_t entry)
{
	return unlikely((entry & ENTRY_PFN) >= space->bytes);
}

/* table: in which the entry over va is, at that level. */
__attribute__((cold)) static int corrupt(const struct pmpt_space *space, const pm_word *table,
					 unsigned level, uint64_t va, uint64_t entry)
{
	return error_set(
		PMPT_E_CORRUPT,
		"the walk of %#lx meets the entry %#lx at offset %#lx, which links a table outside the pool",
		va, entry, region_off(space->pool->rg, &table[level_index(va, level)]));
}

__attribute__((cold)) static int not_canonical(uint64_t va)
{
	return error_set(PMPT_E_ADDRESS, "address %#lx is not canonical", va);
}

int space_hidden(const struct pmpt_space *space, uint64_t va, uint64_t end)
{
	const struct bulk_ranges *ranges =
		atomic_load_explicit(&space->pool->bulk_ranges, memory_order_acquire);
	size_t low = 0, high = ranges ? ranges->n : 0;

	if (forked(space->pool))
		return error_set(PMPT_E_FORKED, "space '%s' was opened by the parent process",
				 space->name);
	while (low < high) { /* the first that ends behind va */
		size_t mid = (low + high) / 2;
		const struct bulk_range *r = &ranges->range[mid];

		if ((uintptr_t)r->space < (uintptr_t)space || (r->space == space && r->end <= va))
			low = mid + 1;
		else
			high = mid;
	}
	if (ranges && low < ranges->n && ranges->range[low].space == space &&
	    ranges->range[low].va < end)
		return error_set(PMPT_E_BUSY, "%#lx is being changed by a bulk transaction",
				 va_sign(va));
	return 0;
}

/* The same for one address as readers give it. */
static inline int hidden(const struct pmpt_space *space, uint64_t va)
{
	return space_hidden(space, va_bits(va), va_bits(va) + 1);
}

/* Walk to the entry that ends it: a leaf, or one that is not present.  above: out, see above_add. */
static inline int walk(const struct pmpt_space *space, uint64_t va, uint64_t *out,
		       unsigned *out_level, uint64_t *above)
{
	const pm_word *table = space->root;
	uint64_t entry;

	*above = ABOVE_ALL;
	*out_level = 1;
#pragma GCC unroll 3
	for (unsigned level = 4; level > 1; level--) {
		entry = word_load(&table[level_index(va, level)]);
		if (unlikely(!entry_is_table(entry, level))) {
			*out = entry;
			*out_level = level;
			return 0;
		}
		if (outside(space, entry))
			return corrupt(space, table, level, va, entry);
		*above = above_add(*above, entry);
		table = table_at(space, entry);
	}
	*out = word_load(&table[level_index(va, 1)]);
	return 0;
}

int space_look(const struct pmpt_space *space, uint64_t va, uint64_t *entry, unsigned *level)
{
	uint64_t rights;
	int rc = space_slow(space) ? hidden(space, va) : 0;

	return rc ? rc : walk(space, va, entry, level, &rights);
}

/* The reader section around a walk. */
static inline int read_entry(const struct pmpt_space *space, uint64_t va, uint64_t *entry,
			     unsigned *level, uint64_t *above)
{
	int rc;

	if (unlikely(!va_canonical(va)))
		return not_canonical(va);
	reader_begin();
	rc = space_slow(space) ? hidden(space, va) : 0;
	if (likely(!rc))
		rc = walk(space, va, entry, level, above);
	reader_end();
	return rc;
}

/* The cache has no table over va. */
__attribute__((noinline)) static int lookup_missed(const struct pmpt_space *space, uint64_t va,
						   uint64_t *out)
{
	uint64_t entry = 0, above = 0;
	unsigned level = 1;
	int rc = read_entry(space, va, &entry, &level, &above);

	if (rc)
		return rc;
	if (level == 1)
		pwc_fill((struct pmpt_space *)space, va);
	if (!entry_is_leaf(entry, level))
		return PMPT_E_NOT_MAPPED;
	*out = entry;
	return 0;
}

/* Where the entry of level 1 over va is, by the cache; false: it does not know. */
static inline bool find_entry(const struct pmpt_space *space, uint64_t va, const pm_word **at)
{
	uint64_t table;
	bool found = pwc_find(&space->pwc, va, &table);

	*at = (const pm_word *)(const void *)(space->base + table) + level_index(va, 1);
	return found;
}

int pmpt_lookup(const pmpt_space *space, uint64_t va, uint64_t *out)
{
	struct urcu_bp_reader *self = reader_try();
	const pm_word *at;
	uint64_t entry;

	if (unlikely(!self))
		return lookup_missed(space, va, out);
	if (unlikely(!find_entry(space, va, &at))) {
		reader_done(self);
		return lookup_missed(space, va, out);
	}
	entry = word_load(at);
	reader_done(self);
	if (unlikely(!(entry & ENTRY_P)))
		return PMPT_E_NOT_MAPPED;
	*out = entry;
	return 0;
}

/* No leaf maps va: why. */
__attribute__((cold)) static int not_mapped(int rc, uint64_t va, uint64_t entry)
{
	if (entry_is_demand(entry))
		return error_set(rc, "%#lx is demand-zero: no page is there yet", va);
	if (entry_is_reservation(entry))
		return error_set(rc, "%#lx is not in memory: entry %#lx", va, entry);
	return error_set(rc, "%#lx is not mapped", va);
}

/* Find the entry over va and fetch it; NULL: the cache does not know. */
static inline const pm_word *fetch(const struct pmpt_space *space, uint64_t va)
{
	const pm_word *at;

	if (unlikely(!find_entry(space, va, &at)))
		return NULL;
	__builtin_prefetch((const void *)at);
	return at;
}

static inline int take(const struct pmpt_space *space, uint64_t va, const pm_word *at,
		       uint64_t *out)
{
	uint64_t entry = 0;
	int rc = 0;

	if (likely(at != NULL))
		entry = word_load(at);
	else
		rc = lookup_missed(space, va, &entry);
	*out = entry & ENTRY_P ? entry : 0;
	return rc == PMPT_E_NOT_MAPPED ? 0 : rc;
}

/* The entry AHEAD places on is fetched before each is loaded, so that their misses overlap.  In a
 * reader section. */
static int lookup_some(const struct pmpt_space *space, const uint64_t *va, size_t n, uint64_t *out)
{
	size_t ahead = n < AHEAD ? n : AHEAD, i;
	const pm_word *at[AHEAD];
	int rc = 0;

	for (i = 0; i < ahead; i++)
		at[i] = fetch(space, va[i]);
	for (i = 0; i < n - ahead && likely(!rc); i++) {
		rc = take(space, va[i], at[i % AHEAD], &out[i]);
		at[i % AHEAD] = fetch(space, va[i + AHEAD]);
	}
	for (; i < n && likely(!rc); i++)
		rc = take(space, va[i], at[i % AHEAD], &out[i]);
	return rc;
}

int pmpt_lookup_batch(const pmpt_space *space, const uint64_t *va, size_t n, uint64_t *entry)
{
	int rc = 0;

	for (size_t done = 0; done < n && !rc; done += SECTION) {
		reader_begin();
		rc = lookup_some(space, va + done, n - done < SECTION ? n - done : SECTION,
				 entry + done);
		reader_end();
	}
	return rc;
}

int pmpt_query(const pmpt_space *space, uint64_t va, struct pmpt_mapping *mapping)
{
	uint64_t entry = 0, above = 0;
	unsigned level = 1;
	int rc = read_entry(space, va, &entry, &level, &above);

	if (rc)
		return rc;
	if (!entry_is_leaf(entry, level) && !entry_is_out(entry))
		return not_mapped(PMPT_E_NOT_MAPPED, va, entry);
	leaf_decode(entry, above, level, va, mapping);
	return 0;
}

int pmpt_tx_query(pmpt_tx *tx, const pmpt_space *space, uint64_t va, struct pmpt_mapping *mapping)
{
	struct path p;
	uint64_t entry = 0;
	int rc = tx_check(tx);

	if (!rc && !va_canonical(va))
		rc = not_canonical(va);
	if (!rc && tx->pool != space->pool)
		rc = error_set(-EINVAL, "the space and the transaction are of two pools");
	if (rc)
		return rc;
	rc = table_look(tx, (struct pmpt_space *)space, va_bits(va), 1, &p, &entry);
	if (rc)
		return rc;
	if (!entry_is_leaf(entry, p.level) && !entry_is_out(entry))
		return not_mapped(PMPT_E_NOT_MAPPED, va, entry);
	leaf_decode(entry, p.above, p.level, va, mapping);
	return 0;
}

int pmpt_access(const pmpt_space *space, uint64_t va, unsigned access)
{
	uint64_t entry = 0, above = 0, all;
	unsigned level = 1;
	int rc;

	if (access & ~PMPT_PROT_MASK || !access)
		return error_set(-EINVAL, "access %#x: any of PMPT_R, PMPT_W, PMPT_X, PMPT_U",
				 access);
	rc = read_entry(space, va, &entry, &level, &above);
	if (rc)
		return rc;
	all = above_add(above, entry);
	if (!entry_is_leaf(entry, level))
		return not_mapped(PMPT_E_DENIED_READ, va, entry);
	if (access & PMPT_W && (all & (ENTRY_W | ENTRY_COW)) != ENTRY_W)
		return error_set(PMPT_E_DENIED_WRITE, "%#lx is %s", va,
				 all & ENTRY_W ? "copied on write, and was not written yet"
					       : "not writable");
	if (access & PMPT_X && all & ENTRY_NX)
		return error_set(PMPT_E_DENIED_EXEC, "%#lx is not executable", va);
	if (access & PMPT_U && !(all & ENTRY_U))
		return error_set(PMPT_E_DENIED_USER, "%#lx is not for user mode", va);
	return 0;
}

/* ---- walk over a range ----------------------------------------------------------------------- */

/* Pages of the last table over va, copied in one reader section: fn is called outside of it. */
struct leaves {
	unsigned n;
	uint64_t next;  /* first address behind them */
	uint64_t above; /* of the links above them */
	struct {
		uint64_t va, entry;
		unsigned level;
	} leaf[FRAME_WORDS];
};

static int leaves_collect(const struct pmpt_space *space, uint64_t va, uint64_t end,
			  struct leaves *l)
{
	const pm_word *table = space->root;
	unsigned level = 4;

	l->n = 0;
	l->next = end;
	l->above = ABOVE_ALL;
	for (;; level--) { /* down to the table in which va's entry links no table */
		uint64_t entry = word_load(&table[level_index(va, level)]);

		if (!entry_is_table(entry, level))
			break;
		if (outside(space, entry))
			return corrupt(space, table, level, va_sign(va), entry);
		l->above = above_add(l->above, entry);
		table = table_at(space, entry);
	}
	for (unsigned i = level_index(va, level); i < FRAME_WORDS && va < end; i++) {
		uint64_t entry = word_load(&table[i]);

		if (entry_is_table(entry, level))
			break;
		if (entry_is_page(entry, level)) {
			l->leaf[l->n].va = va;
			l->leaf[l->n].level = level;
			l->leaf[l->n++].entry = entry;
		}
		va = (va | (level_bytes(level) - 1)) + 1;
	}
	l->next = va;
	return 0;
}

int pmpt_walk(const pmpt_space *space, uint64_t va, uint64_t len_bytes,
	      int (*fn)(void *ctx, const struct pmpt_mapping *m), void *ctx)
{
	uint64_t at = va_bits(va), end;
	struct leaves l = { .n = 0 };

	if (!va_canonical(va) || (len_bytes && len_bytes > VA_END - at))
		return error_set(PMPT_E_ADDRESS, "range %#lx + %#lx is not canonical", va,
				 len_bytes);
	end = len_bytes ? at + len_bytes : VA_END;
	while (at < end) {
		int rc;

		reader_begin();
		rc = leaves_collect(space, at, end, &l);
		if (!rc && space_slow(space)) /* holes are hidden as pages are */
			rc = space_hidden(space, at, l.next < end ? l.next : end);
		reader_end();
		for (unsigned i = 0; i < l.n && !rc; i++) {
			struct pmpt_mapping m;

			leaf_decode(l.leaf[i].entry, l.above, l.leaf[i].level, l.leaf[i].va, &m);
			rc = fn(ctx, &m);
		}
		if (rc)
			return rc;
		at = l.next;
	}
	return 0;
}
