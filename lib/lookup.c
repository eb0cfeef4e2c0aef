/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup -- readers: four atomic loads inside a reader section; no locks, no log, no fence.
 *
 * What a reader may meet: a committed, durable value (redo stores home after its fence only), or,
 * while a bulk transaction is open, a value of it that is
 * not committed: those ranges are published before they are stored (commit.c), and every reader
 * looks there first.
 * A table that was unlinked meanwhile keeps its content for a grace period [F2].
 */

#include "error.h"
#include "rcu.h"
#include "table.h"

#define BATCH 32 /* walks in flight: more than the line fill buffers of today's cores */

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

__attribute__((cold)) static int corrupt(uint64_t va, uint64_t entry)
{
	return error_set(
		PMPT_E_CORRUPT,
		"the walk of %#lx meets the entry %#lx, which links a table outside the pool", va,
		entry);
}

__attribute__((cold)) static int not_canonical(uint64_t va)
{
	return error_set(PMPT_E_ADDRESS, "address %#lx is not canonical", va);
}

static inline bool is_slow(const struct pmpt_space *space)
{
	return unlikely(
		atomic_load_explicit(&((struct pmpt_space *)space)->slow, memory_order_acquire));
}

/* Inside a reader section, space->slow is set: is this a forked child, or does an open bulk
 * transaction hide va? */
__attribute__((cold, noinline)) static int hidden(const struct pmpt_space *space, uint64_t va)
{
	const struct bulk_ranges *ranges =
		atomic_load_explicit(&space->pool->bulk_ranges, memory_order_acquire);

	if (forked(space->pool))
		return error_set(PMPT_E_FORKED, "space '%s' was opened by the parent process",
				 space->name);
	for (size_t i = 0; ranges && i < ranges->n; i++) {
		if (ranges->range[i].space == space && va_bits(va) >= ranges->range[i].va &&
		    va_bits(va) < ranges->range[i].end)
			return error_set(PMPT_E_BUSY, "%#lx is being changed by a bulk transaction",
					 va);
	}
	return 0;
}

/* Walk to the entry that ends it: a leaf, or one that is not present.  rights: out, W, U and not NX
 * of every level, and'ed. */
static inline int walk(const struct pmpt_space *space, uint64_t va, uint64_t *out,
		       unsigned *out_level, uint64_t *rights)
{
	const pm_word *table = space->root;
	uint64_t entry;

	*rights = ~(uint64_t)0;
	*out_level = 1;
#pragma GCC unroll 3
	for (unsigned level = 4; level > 1; level--) {
		entry = word_load(&table[level_index(va, level)]);
		*rights &= entry ^ ENTRY_NX;
		if (unlikely(!entry_is_table(entry, level))) {
			*out = entry;
			*out_level = level;
			return 0;
		}
		if (outside(space, entry))
			return corrupt(va, entry);
		table = table_at(space, entry);
	}
	*out = word_load(&table[level_index(va, 1)]);
	*rights &= *out ^ ENTRY_NX;
	return 0;
}

/* The reader section around a walk. */
static inline int read_entry(const struct pmpt_space *space, uint64_t va, uint64_t *entry,
			     unsigned *level, uint64_t *rights)
{
	int rc;

	if (unlikely(!va_canonical(va)))
		return not_canonical(va);
	reader_begin();
	rc = is_slow(space) ? hidden(space, va) : 0;
	if (likely(!rc))
		rc = walk(space, va, entry, level, rights);
	reader_end();
	return rc;
}

/* All that is not a plain walk to a 4 KiB leaf; looks again from the root. */
__attribute__((cold, noinline)) static int lookup_odd(const struct pmpt_space *space, uint64_t va,
						      uint64_t *out)
{
	uint64_t entry = 0, rights = 0;
	unsigned level = 1;
	int rc = read_entry(space, va, &entry, &level, &rights);

	if (rc)
		return rc;
	if (!entry_is_leaf(entry, level))
		return PMPT_E_NOT_MAPPED;
	*out = entry;
	return 0;
}

/* The address of va's entry at level 1, or NULL: not that plain. */
static inline const pm_word *walk_plain(const struct pmpt_space *space, uint64_t va)
{
	const char *base = space->base;
	uint64_t bytes = space->bytes, entry = word_load(&space->root[level_index(va, 4)]);

#pragma GCC unroll 2
	for (unsigned level = 3; level >= 2; level--) {
		if (unlikely((entry & (ENTRY_P | ENTRY_PS)) != ENTRY_P ||
			     (entry & ENTRY_PFN) >= bytes))
			return NULL;
		entry = word_load((const pm_word *)(const void *)(base + (entry & ENTRY_PFN)) +
				  level_index(va, level));
	}
	if (unlikely((entry & (ENTRY_P | ENTRY_PS)) != ENTRY_P || (entry & ENTRY_PFN) >= bytes))
		return NULL;
	return (const pm_word *)(const void *)(base + (entry & ENTRY_PFN)) + level_index(va, 1);
}

int pmpt_lookup(const pmpt_space *space, uint64_t va, uint64_t *out)
{
	const pm_word *at;
	uint64_t entry;

	reader_begin();
	at = walk_plain(space, va);
	if (unlikely(!at || !va_canonical(va) || is_slow(space))) {
		reader_end();
		return lookup_odd(space, va, out);
	}
	entry = word_load(at);
	reader_end();
	if (unlikely(!(entry & ENTRY_P)))
		return PMPT_E_NOT_MAPPED;
	*out = entry;
	return 0;
}

/* n <= BATCH walks: the upper levels first, with the last entries fetched ahead, so that their
 * misses overlap.  In a reader section. */
static int walk_batch(const struct pmpt_space *space, const uint64_t *va, size_t n, uint64_t *out)
{
	const pm_word *at[BATCH];
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		at[i] = walk_plain(space, va[i]);
		__builtin_prefetch((const void *)at[i]);
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t entry;

		if (likely(at[i] != NULL)) {
			entry = word_load(at[i]);
			out[i] = entry & ENTRY_P ? entry : 0;
			continue;
		}
		out[i] = 0;
		if (lookup_odd(space, va[i], &out[i]) == PMPT_E_CORRUPT)
			rc = PMPT_E_CORRUPT;
	}
	return rc;
}

/* How many of va[0..n) may be walked; *rc: why not all. */
static size_t batch_check(const struct pmpt_space *space, const uint64_t *va, size_t n, int *rc)
{
	uint64_t odd = 0;

	for (size_t i = 0; i < n; i++)
		odd |= va_sign(va_bits(va[i])) ^ va[i];
	if (likely(!odd && !is_slow(space)))
		return n;
	for (size_t i = 0; i < n; i++) {
		*rc = va_canonical(va[i]) ? is_slow(space) ? hidden(space, va[i]) : 0
					  : not_canonical(va[i]);
		if (*rc)
			return i;
	}
	return n;
}

int pmpt_lookup_batch(const pmpt_space *space, const uint64_t *va, size_t n, uint64_t *entry)
{
	int rc = 0;

	for (size_t done = 0; done < n && !rc; done += BATCH) {
		size_t some;
		int walked;

		reader_begin();
		some = batch_check(space, va + done, n - done < BATCH ? n - done : BATCH, &rc);
		walked = walk_batch(space, va + done, some, entry + done);
		reader_end();
		rc = rc ? rc : walked;
	}
	return rc;
}

int pmpt_query(const pmpt_space *space, uint64_t va, struct pmpt_mapping *mapping)
{
	uint64_t entry = 0, rights = 0;
	unsigned level = 1;
	int rc = read_entry(space, va, &entry, &level, &rights);

	if (rc)
		return rc;
	if (!entry_is_leaf(entry, level))
		return error_set(PMPT_E_NOT_MAPPED, "%#lx is not mapped", va);
	leaf_decode(entry, level, va, mapping);
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
	if (!entry_is_leaf(entry, p.level))
		return error_set(PMPT_E_NOT_MAPPED, "%#lx is not mapped", va);
	leaf_decode(entry, p.level, va, mapping);
	return 0;
}

int pmpt_access(const pmpt_space *space, uint64_t va, unsigned access)
{
	uint64_t entry = 0, all = 0;
	unsigned level = 1;
	int rc;

	if (access & ~PMPT_PROT_MASK || !access)
		return error_set(-EINVAL, "access %#x: any of PMPT_R, PMPT_W, PMPT_X, PMPT_U",
				 access);
	rc = read_entry(space, va, &entry, &level, &all);
	if (rc)
		return rc;
	if (!entry_is_leaf(entry, level))
		return error_set(PMPT_E_DENIED_READ, "%#lx is not mapped", va);
	if (access & PMPT_W && !(all & ENTRY_W))
		return error_set(PMPT_E_DENIED_WRITE, "%#lx is not writable", va);
	if (access & PMPT_X && !(all & ENTRY_NX))
		return error_set(PMPT_E_DENIED_EXEC, "%#lx is not executable", va);
	if (access & PMPT_U && !(all & ENTRY_U))
		return error_set(PMPT_E_DENIED_USER, "%#lx is not for user mode", va);
	return 0;
}

/* ---- walk over a range ----------------------------------------------------------------------- */

/* Leaves of the last table over va, copied in one reader section: fn is called outside of it. */
struct leaves {
	unsigned n;
	uint64_t next; /* first address behind them */
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
	for (;; level--) { /* down to the table in which va's entry links no table */
		uint64_t entry = word_load(&table[level_index(va, level)]);

		if (!entry_is_table(entry, level))
			break;
		if (outside(space, entry))
			return corrupt(va_sign(va), entry);
		table = table_at(space, entry);
	}
	for (unsigned i = level_index(va, level); i < FRAME_WORDS && va < end; i++) {
		uint64_t entry = word_load(&table[i]);

		if (entry_is_table(entry, level))
			break;
		if (entry_is_leaf(entry, level)) {
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
		int rc = 0;

		reader_begin();
		if (is_slow(space))
			rc = hidden(space, va_sign(at));
		if (!rc)
			rc = leaves_collect(space, at, end, &l);
		for (unsigned i = 0; i < l.n && !rc && is_slow(space); i++)
			rc = hidden(space, va_sign(l.leaf[i].va));
		reader_end();
		for (unsigned i = 0; i < l.n && !rc; i++) {
			struct pmpt_mapping m;

			leaf_decode(l.leaf[i].entry, l.leaf[i].level, l.leaf[i].va, &m);
			rc = fn(ctx, &m);
		}
		if (rc)
			return rc;
		at = l.next;
	}
	return 0;
}
