/* SPDX-License-Identifier: BSD-3-Clause */
/* view -- read views: all spaces as they were at one LSN, for as long as somebody wants.
 *
 * STATES	open -> stale (its versions did not fit in the limit, or its frames were needed) -> closed
 *		   |-----------------------------------------------------------------------------^
 * What a view needs is in version.h, V1 to V4.  A bulk transaction stores home what is not
 * committed: a view that opens meanwhile keeps the ranges that were published, and hides them for
 * good; one that was open before has versions of all.  bulk_serial tells whether one was under way
 * at the view's LSN.
 */
#include "view.h"

#include "error.h"
#include "rcu.h"
#include "table.h"

/* ---- open and close -------------------------------------------------------------------------- */

void bulk_ranges_drop(struct pmpt_pool *pool, struct bulk_ranges *ranges)
{
	if (ranges && atomic_fetch_sub(&ranges->users, 1) == 1)
		mem_free(&pool->mem, ranges,
			 sizeof(*ranges) + ranges->room * sizeof(ranges->range[0]));
}

static struct bulk_ranges *ranges_keep(struct pmpt_pool *pool)
{
	struct bulk_ranges *ranges;

	reader_begin(); /* who replaces them waits for a grace period before he drops his own */
	ranges = atomic_load(&pool->bulk_ranges);
	if (ranges)
		atomic_fetch_add(&ranges->users, 1);
	reader_end();
	return ranges;
}

/* The list lock is held and the view counted (S1).  No bulk transaction begins, ends or goes on
 * to other ranges between the LSN and the ranges that go with it. */
static void view_place(struct pmpt_pool *pool, struct pmpt_view *view)
{
	for (;;) {
		uint64_t serial = atomic_load(&pool->bulk_serial);

		view->lsn = atomic_load(&pool->wal.next) - 1; /* S2 */
		view->ranges = serial & 1 ? ranges_keep(pool) : NULL;
		if (atomic_load(&pool->bulk_serial) == serial)
			return;
		bulk_ranges_drop(pool, view->ranges);
	}
}

int pmpt_view_open(pmpt_pool *pool, pmpt_view **out)
{
	struct versions *vs = &pool->wal.versions;
	struct pmpt_view *view;
	int rc = pool_ours(pool);

	if (rc)
		return rc;
	pthread_mutex_lock(&vs->list_lock);
	view = versions_spare(vs);
	if (!view) { /* not under the lock: the allocator has its own */
		pthread_mutex_unlock(&vs->list_lock);
		view = mem_alloc(&pool->mem, sizeof(*view));
		if (!view)
			return error_set(-ENOMEM, "no memory for a view");
		pthread_mutex_lock(&vs->list_lock);
	}
	*view = (struct pmpt_view){ .pool = pool };
	rc = versions_add(vs, view); /* S1 */
	if (!rc) {
		view_place(pool, view);
		atomic_store_explicit(&vs->newest, view->lsn, memory_order_release);
	}
	pthread_mutex_unlock(&vs->list_lock);
	if (rc) {
		mem_free(&pool->mem, view, sizeof(*view));
		return rc;
	}
	if (rule_on(RULE_VIEW_WAIT))
		wal_settle(&pool->wal, view->lsn); /* S3 */
	*out = view;
	return 0;
}

void pmpt_view_close(pmpt_view *view)
{
	struct pmpt_pool *pool;

	if (!view || forked(view->pool))
		return;
	pool = view->pool;
	bulk_ranges_drop(pool, view->ranges);
	versions_remove(&pool->wal.versions, view);
}

uint64_t pmpt_view_lsn(const pmpt_view *view) { return view->lsn; }

int pmpt_view_limit(pmpt_pool *pool, uint64_t bytes)
{
	int rc = pool_ours(pool);

	if (!rc)
		versions_limit(&pool->wal.versions, bytes);
	return rc;
}

/* ---- for readers ----------------------------------------------------------------------------- */

static bool is_stale(const struct pmpt_view *view)
{
	return __builtin_expect(
		atomic_load_explicit(&((struct pmpt_view *)view)->stale, memory_order_acquire), 0);
}

int view_stale(const struct pmpt_view *view)
{
	return view && is_stale(view)
		       ? error_set(
				 PMPT_E_VIEW_STALE,
				 "the view of LSN %lu is stale: what changed since does not fit in "
				 "the limit for versions, or writers had no other frames",
				 view->lsn)
		       : 0;
}

int pmpt_view_check(const pmpt_view *view)
{
	int rc = view_enter(view, NULL);

	atomic_thread_fence(memory_order_acquire); /* what the caller read, then the mark */
	return rc ? rc : view_stale(view);
}

int view_enter(const struct pmpt_view *view, const struct pmpt_space *space)
{
	if (!view)
		return 0;
	if (forked(view->pool))
		return error_set(PMPT_E_FORKED, "the view was opened by the parent process");
	if (space && space->pool != view->pool)
		return error_set(-EINVAL, "the space and the view are of two pools");
	return view_stale(view);
}

int view_space(const struct pmpt_view *view, const struct pmpt_space *space)
{
	if (!view)
		return 0;
	/* frames that the view sees are not used again: another space has another root */
	if ((view_load(view, &space->record->state) & 0xff) == SPACE_LIVE &&
	    view_load(view, &space->record->root) == space->root_pfn << FRAME_SHIFT)
		return 0;
	return error_set(PMPT_E_NO_SPACE, "space '%s' is younger than the view of LSN %lu",
			 space->name, view->lsn);
}

int view_hidden(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
		uint64_t end)
{
	if (!view)
		return space_slow(space) ? space_hidden(space, va, end) : 0;
	for (size_t i = 0; view->ranges && i < view->ranges->n; i++) {
		const struct bulk_range *r = &view->ranges->range[i];

		if (r->record == space->record && r->va < end && va < r->end)
			return error_set(PMPT_E_BUSY,
					 "%#lx was being changed by a bulk transaction when the "
					 "view of LSN %lu was opened",
					 va_sign(va), view->lsn);
	}
	return 0;
}

static int corrupt(const struct pmpt_space *space, const pm_word *at, uint64_t va, uint64_t entry)
{
	return error_set(
		PMPT_E_CORRUPT,
		"the walk of %#lx meets the entry %#lx at offset %#lx, which links a table outside the pool",
		va, entry, region_off(space->pool->rg, at));
}

int view_walk(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
	      uint64_t *entry, unsigned *level, uint64_t *above, const pm_word **table_out)
{
	const pm_word *table = space->root;

	*above = ABOVE_ALL;
	for (*level = 4;; --*level) {
		const pm_word *at = &table[level_index(va, *level)];

		if (table_out)
			*table_out = table;
		*entry = view_load(view, at);
		if (!entry_is_table(*entry, *level))
			return 0;
		if ((*entry & ENTRY_PFN) >= space->bytes)
			return corrupt(space, at, va, *entry);
		*above = above_add(*above, *entry);
		table = (const pm_word *)(const void *)(space->base + (*entry & ENTRY_PFN));
	}
}

int view_entry(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
	       uint64_t *entry, unsigned *level, uint64_t *above)
{
	int rc = view_space(view, space);

	if (!rc)
		rc = view_hidden(view, space, va_bits(va), va_bits(va) + 1);
	return rc ? rc : view_walk(view, space, va, entry, level, above, NULL);
}

/* ---- lookups --------------------------------------------------------------------------------- */

/* As home has it, by the paging-structure cache, where nothing has changed since the view was
 * opened. */
static bool quick(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
		  uint64_t *entry)
{
	uint64_t table;
	bool found;

	reader_begin();
	found = pwc_find(&space->pwc, va, &table);
	if (found)
		*entry = word_load((const pm_word *)(const void *)(space->base + table) +
				   level_index(va, 1));
	found = found && versions_none(&view->pool->wal.versions) && !is_stale(view);
	reader_end();
	return found;
}

/* One address, whole. */
static int read_entry(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
		      uint64_t *entry, unsigned *level, uint64_t *above)
{
	int rc, stale;

	if (!va_canonical(va))
		return error_set(PMPT_E_ADDRESS, "address %#lx is not canonical", va);
	reader_begin();
	rc = view_entry(view, space, va, entry, level, above);
	stale = view_stale(view);
	reader_end();
	return stale ? stale : rc;
}

int pmpt_view_lookup(const pmpt_view *view, const pmpt_space *space, uint64_t va, uint64_t *out)
{
	uint64_t entry = 0, above;
	unsigned level = 1;
	int rc = view_enter(view, space);

	if (rc)
		return rc;
	if (view->ranges || !quick(view, space, va, &entry)) {
		rc = read_entry(view, space, va, &entry, &level, &above);
		if (!rc && level == 1 && versions_none(&view->pool->wal.versions))
			pwc_fill((struct pmpt_space *)space, va);
	}
	if (rc)
		return rc;
	if (!entry_is_leaf(entry, level))
		return PMPT_E_NOT_MAPPED;
	*out = entry;
	return 0;
}

int pmpt_view_query(const pmpt_view *view, const pmpt_space *space, uint64_t va,
		    struct pmpt_mapping *mapping)
{
	uint64_t entry = 0, above;
	unsigned level = 1;
	int rc = view_enter(view, space);

	if (!rc)
		rc = read_entry(view, space, va, &entry, &level, &above);
	if (rc)
		return rc;
	if (!entry_is_leaf(entry, level) && !entry_is_out(entry))
		return error_set(PMPT_E_NOT_MAPPED, "%#lx is not mapped", va);
	leaf_decode(entry, above, level, va, mapping);
	return 0;
}

int pmpt_view_user_get(const pmpt_view *view, const pmpt_space *space, unsigned index,
		       uint64_t *value)
{
	uint64_t found = 0;
	int rc, stale;

	if (index >= PMPT_USER_WORDS)
		return error_set(-EINVAL, "user word %u, a space has %u", index, PMPT_USER_WORDS);
	rc = view_enter(view, space);
	if (rc)
		return rc;
	reader_begin();
	rc = view_space(view, space);
	if (!rc)
		rc = view_hidden(view, space, USER_VA, USER_VA + 1);
	if (!rc)
		found = view_load(view, &space->record->user[index]);
	stale = view_stale(view);
	reader_end();
	if (stale || rc)
		return stale ? stale : rc;
	*value = found;
	return 0;
}

/* ---- walk over a range ----------------------------------------------------------------------- */

struct leaves { /* and reservations, of one table */
	unsigned n, level;
	uint64_t above; /* of the links above them */
	struct {
		uint64_t va, entry;
	} leaf[FRAME_WORDS];
};

/* Leaves from va on, up to where another table begins; *next: out, the first address behind them. */
static int leaves_collect(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
			  uint64_t end, struct leaves *l, uint64_t *next)
{
	uint64_t entry;
	const pm_word *table;
	int rc = view_walk(view, space, va, &entry, &l->level, &l->above, &table);

	l->n = 0;
	for (unsigned i = level_index(va, l->level); i < FRAME_WORDS && va < end && !rc; i++) {
		entry = view_load(view, &table[i]);
		if (entry_is_table(entry, l->level))
			break;
		if (entry_is_page(entry, l->level)) {
			l->leaf[l->n].va = va;
			l->leaf[l->n++].entry = entry;
		}
		va = (va | (level_bytes(l->level) - 1)) + 1;
	}
	*next = va;
	return rc;
}

/* The same, whole. */
static int leaves_read(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
		       uint64_t end, struct leaves *l, uint64_t *next)
{
	int rc, stale;

	reader_begin();
	rc = view_space(view, space);
	if (!rc)
		rc = leaves_collect(view, space, va, end, l, next);
	if (!rc)
		rc = view_hidden(view, space, va, *next < end ? *next : end);
	stale = view_stale(view);
	reader_end();
	return stale ? stale : rc;
}

int pmpt_view_walk(const pmpt_view *view, const pmpt_space *space, uint64_t va, uint64_t len_bytes,
		   int (*fn)(void *ctx, const struct pmpt_mapping *m), void *ctx)
{
	uint64_t at = va_bits(va), end;
	int rc = view_enter(view, space);

	if (rc)
		return rc;
	if (!va_canonical(va) || (len_bytes && len_bytes > VA_END - at))
		return error_set(PMPT_E_ADDRESS, "range %#lx + %#lx is not canonical", va,
				 len_bytes);
	end = len_bytes ? at + len_bytes : VA_END;
	while (at < end && !rc) {
		struct leaves l;
		uint64_t next = end;

		rc = leaves_read(view, space, at, end, &l, &next);
		for (unsigned i = 0; !rc && i < l.n; i++) {
			struct pmpt_mapping m;

			leaf_decode(l.leaf[i].entry, l.above, l.level, l.leaf[i].va, &m);
			rc = fn(ctx, &m);
		}
		at = next;
	}
	return rc;
}
