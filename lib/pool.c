/* SPDX-License-Identifier: BSD-3-Clause */
/* pool -- the core over a region: open, close, grow, statistics. */
#include "pool.h"

#include <string.h>

#include "error.h"
#include "rcu.h"
#include "replay.h"
#include "space.h"
#include "table.h"

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
char rcu_section;
#endif
#ifdef PMPT_TEST
bool test_skip_recovery;
#endif

int pool_ours(const struct pmpt_pool *pool)
{
	return forked(pool) ? error_set(PMPT_E_FORKED, "the pool was opened by the parent process")
			    : 0;
}

static int features_store(struct pmpt_pool *pool, uint64_t set, uint64_t clear)
{
	struct wal *wal = &pool->wal;
	uint64_t was;
	int rc = 0;

	pthread_mutex_lock(&wal->checkpointer); /* its port is used */
	was = word_load(&pool->sb->features);
	pm_store(&wal->pm, &pool->sb->features, (was | set) & ~clear);
	/* durability: the feature before the first line that makes use of it */
	rc = pm_persist(&wal->pm, &pool->sb->features, sizeof(pm_word));
	pthread_mutex_unlock(&wal->checkpointer);
	return rc;
}

int pool_feature(struct pmpt_pool *pool, uint64_t feature)
{
	return (word_load(&pool->sb->features) & feature) == feature
		       ? 0
		       : features_store(pool, feature, 0);
}

int pool_feature_gone(struct pmpt_pool *pool, uint64_t feature)
{
	return word_load(&pool->sb->features) & feature ? features_store(pool, 0, feature) : 0;
}

int pool_writable(struct pmpt_pool *pool)
{
	int rc = pool_ours(pool);

	if (rc)
		return rc;
	if (__builtin_expect(atomic_load_explicit(&pool->rg->medium.failed, memory_order_relaxed),
			     0))
		return error_set(PMPT_E_READ_ONLY,
				 "the pool is read-only since an msync failed: %s",
				 pmpt_strerror(atomic_load(&pool->rg->medium.failed)));
	return 0;
}

/* ---- open and close -------------------------------------------------------------------------- */

static int recover(struct pmpt_pool *pool)
{
#ifdef PMPT_TEST
	if (test_skip_recovery) {
		atomic_store(&pool->sb->checkpoint_lsn, word_load(&pool->sb->lsn_limit) - 1);
		atomic_store(&pool->sb->lsn_limit, word_load(&pool->sb->lsn_limit) + LSN_STEP);
		return 0;
	}
#endif
	return replay(pool->rg, &pool->mem, LSN_STEP, &pool->recovery);
}

static struct pmpt_pool *pool_new(const struct region *rg, unsigned flags)
{
	size_t path_bytes = rg->path ? strlen(rg->path) + 1 : 0;
	struct mem mem; /* moves into what it allocated first */
	struct pmpt_pool *pool;
	char *path;

	if (mem_init(&mem))
		return NULL;
	pool = mem_zalloc(&mem, sizeof(*pool));
	path = path_bytes ? mem_alloc(&mem, path_bytes) : NULL;
	if (!pool || (path_bytes && !path)) {
		mem_free(&mem, path, path_bytes);
		mem_free(&mem, pool, sizeof(*pool));
		mem_fini(&mem);
		return NULL;
	}
	if (path)
		pool->path = memcpy(path, rg->path, path_bytes);
	pool->mem.arena = mem.arena;
	atomic_store(&pool->mem.bytes, atomic_load(&mem.bytes));
	pool->region.base = rg->base;
	pool->region.bytes = rg->bytes;
	pool->region.sb_off = rg->sb_off;
	pm_medium_init(&pool->region.medium, rg->base, rg->bytes, rg->medium.backend);
	pool->rg = &pool->region;
	pool->sb = region_sb(rg);
	pool->flags = flags;
	pthread_mutex_init(&pool->names, NULL);
	pthread_mutex_init(&pool->grow, NULL);
	swap_init(pool);
	return pool;
}

static void pool_free(struct pmpt_pool *pool)
{
	struct mem mem;

	for (unsigned i = 0; i < TX_SLOTS; i++) {
		if (atomic_load(&pool->tx[i]))
			tx_free(atomic_load(&pool->tx[i]));
	}
	mem_free(&pool->mem, pool->spare, sizeof(*pool->spare));
	mem_free(&pool->mem, pool->space, pool->sb->n_spaces * sizeof(struct pmpt_space *));
	if (pool->ctx_bytes)
		mem_free(&pool->mem, pool->ctx, pool->ctx_bytes);
	if (pool->path)
		mem_free(&pool->mem, pool->path, strlen(pool->path) + 1);
	pthread_mutex_destroy(&pool->names);
	pthread_mutex_destroy(&pool->grow);
	swap_fini(pool);
	mem.arena = pool->mem.arena;
	atomic_init(&mem.bytes, atomic_load(&pool->mem.bytes));
	mem_free(&mem, pool, sizeof(*pool));
	mem_fini(&mem);
}

static int open_parts(struct pmpt_pool *pool)
{
	int rc = recover(pool);

	if (rc)
		return rc;
	rc = wal_open(&pool->wal, pool->rg, &pool->mem);
	if (rc)
		return rc;
	rc = frames_open(&pool->frames, pool->rg, &pool->mem, &pool->wal);
	if (rc) {
		wal_close(&pool->wal);
		return rc;
	}
	pool->space = mem_zalloc(&pool->mem, pool->sb->n_spaces * sizeof(struct pmpt_space *));
	rc = pool->space ? swap_open(pool)
			 : error_set(-ENOMEM, "no memory for %u spaces", pool->sb->n_spaces);
	if (!rc)
		rc = spaces_resume(pool);
	if (rc) {
		swap_close(pool);
		frames_close(&pool->frames);
		wal_close(&pool->wal);
	}
	return rc;
}

int core_open(const struct region *rg, unsigned flags, struct pmpt_pool **out)
{
	struct pmpt_pool *pool;
	int rc = crc32c_check();

	if (rc)
		return rc;
	pool = pool_new(rg, flags);
	if (!pool)
		return error_set(-ENOMEM, "no memory for a pool");
	pools_add(pool);
	rc = open_parts(pool);
	if (rc) {
		pools_remove(pool);
		pool_free(pool);
		return rc;
	}
	*out = pool;
	return 0;
}

static int close_check(struct pmpt_pool *pool)
{
	for (unsigned i = 0; i < TX_SLOTS; i++) {
		struct pmpt_tx *tx = atomic_load(&pool->tx[i]);

		if (tx && atomic_load(&tx->open))
			return error_set(PMPT_E_BUSY, "a transaction is open");
	}
	if (atomic_load(&pool->ending)) /* after the look at what is open: see thread_ended() */
		return error_set(PMPT_E_BUSY, "the transaction of a thread that ends is aborted");
	for (uint32_t i = 0; i < pool->sb->n_spaces; i++) {
		if (pool->space[i])
			return error_set(PMPT_E_BUSY, "space '%s' is open", pool->space[i]->name);
	}
	if (versions_views(&pool->wal.versions))
		return error_set(PMPT_E_BUSY, "a read view is open");
	return 0;
}

int core_close(struct pmpt_pool *pool, bool checkpoint)
{
	int rc;

	swap_pause(pool);
	rc = close_check(pool);
	if (rc) {
		swap_resume(pool);
		return rc;
	}
	pools_remove(pool);
	pool->frames.no_zeroing = true;
	if (checkpoint)
		rc = wal_checkpoint(&pool->wal);
	swap_close(pool);
	frames_close(&pool->frames);
	wal_close(&pool->wal);
	pool_free(pool);
	return rc;
}

int pmpt_checkpoint(pmpt_pool *pool)
{
	int rc = pool_writable(pool);

	return rc ? rc : wal_checkpoint(&pool->wal);
}

/* ---- grow ------------------------------------------------------------------------------------ */

static int grow_call(struct pmpt_tx *tx, const void *args)
{
	(void)args;
	return tx_set_word(tx, region_off(tx->pool->rg, &tx->pool->sb->n_extents) | WHERE_SB,
			   word_load(&tx->pool->sb->n_extents) + 1);
}

/* Object, blocks, descriptors durable, then the logged word: a crash between leaves an object that
 * the next growth takes. */
static int grow_locked(struct pmpt_pool *pool)
{
	uint64_t index = word_load(&pool->sb->n_extents), off = 0, bytes = 0, frames;
	struct region_shape shape = { .salt = pool->sb->salt };
	struct pm pm;
	int rc;

	if (pool->frames.extents.n < index) /* the last growth had no memory to note its extent */
		return frames_extent_added(&pool->frames);
	if (!pool->take_extent || index == PMPT_EXTENTS_MAX)
		return error_set(PMPT_E_NO_FRAMES,
				 "the pool is full: %lu extents, no room for another", index);
	rc = pool->take_extent(pool->ctx, index, &off, &bytes);
	if (rc)
		return pool->path ? error_in(rc, pool->path) : rc;
	pm_init(&pm, &pool->rg->medium);
	rc = region_format_extent(pool->rg, &pm, &shape, index, off, bytes, &frames);
	if (!rc)
		rc = tx_run(pool, NULL, grow_call, NULL);
	return rc ? rc : frames_extent_added(&pool->frames);
}

int pool_grow(struct pmpt_pool *pool)
{
	uint64_t seen = word_load(&pool->sb->n_extents);
	int rc = 0;

	pthread_mutex_lock(&pool->grow);
	if (word_load(&pool->sb->n_extents) == seen) /* else another thread has just grown it */
		rc = grow_locked(pool);
	pthread_mutex_unlock(&pool->grow);
	return rc;
}

static uint64_t pool_frames(struct pmpt_pool *pool, uint64_t *reserved)
{
	uint64_t frames = 0;

	*reserved = 0;
	pthread_mutex_lock(&pool->frames.lock);
	for (size_t i = 0; i < pool->frames.extents.n; i++) {
		frames += pool->frames.extents.extent[i].frames;
		*reserved += pool->frames.extents.extent[i].reserved;
	}
	pthread_mutex_unlock(&pool->frames.lock);
	return frames;
}

/* Bytes in frames that are not reserved. */
static uint64_t pool_room(struct pmpt_pool *pool)
{
	uint64_t reserved, frames = pool_frames(pool, &reserved);

	return (frames - reserved) << FRAME_SHIFT;
}

int pmpt_grow(pmpt_pool *pool, uint64_t bytes)
{
	int rc = pool_writable(pool);
	uint64_t begin = rc ? 0 : pool_room(pool);

	while (!rc && pool_room(pool) - begin < bytes)
		rc = pool_grow(pool);
	return rc;
}

/* ---- what an open found, and statistics ------------------------------------------------------ */

int pmpt_recovery_report(pmpt_pool *pool, struct pmpt_recovery *report)
{
	int rc = pool_ours(pool);

	if (!rc)
		*report = pool->recovery;
	return rc;
}

static void add_port(struct pmpt_stats *s, const struct pm *pm)
{
	s->lines_streamed += atomic_load_explicit(&pm->count.lines_streamed, memory_order_relaxed);
	s->lines_flushed += atomic_load_explicit(&pm->count.lines_flushed, memory_order_relaxed);
	s->fences += atomic_load_explicit(&pm->count.fences, memory_order_relaxed);
}

static void count_log(struct pmpt_pool *pool, struct pmpt_stats *s)
{
	const struct wal *wal = &pool->wal;

	for (uint32_t i = 0; i < wal->n_lanes; i++) {
		add_port(s, &wal->lane[i].pm);
		s->log_lines += atomic_load_explicit(&wal->lane[i].log_lines, memory_order_relaxed);
	}
	s->log_lines += atomic_load(&wal->bulk.log_lines);
	add_port(s, &wal->bulk.pm);
	add_port(s, &wal->pm);
	for (unsigned i = 0; i < TX_SLOTS; i++) {
		const struct pmpt_tx *tx = atomic_load(&pool->tx[i]);

		if (!tx)
			continue;
		add_port(s, &tx->pm);
		s->commits += atomic_load_explicit(&tx->commits, memory_order_relaxed);
	}
	s->aborts = atomic_load(&pool->aborts);
	s->conflicts = atomic_load(&pool->conflicts);
	s->checkpoints = atomic_load(&wal->checkpoints);
	s->lanes = wal->n_lanes;
	s->lane_lines = 2 * (uint64_t)wal->half_lines;
	s->bulk_lines = wal->bulk_lines;
	s->lsn = atomic_load(&wal->next) - 1;
	s->checkpoint_lsn = wal_checkpointed(wal);
}

static void count_frames(struct pmpt_pool *pool, struct pmpt_stats *s)
{
	for (uint64_t i = 0; i < s->extents; i++) {
		const struct extent_head *head = region_extent(pool->rg, i);
		const struct extent e = { head->first, head->frames, head->reserved_frames };
		const pm_word *desc = region_at(pool->rg, extent_desc_off(&e, e.first));

		for (uint64_t k = e.reserved; k < e.frames; k++) {
			uint64_t d = word_load(&desc[k]);

			s->frames_free += !desc_count(d);
			s->frames_table += desc_count(d) && desc_kind(d) == DESC_TABLE;
			s->frames_data += desc_count(d) && desc_kind(d) == DESC_DATA;
			s->frames_reserved += desc_count(d) && desc_kind(d) == DESC_RESERVED;
		}
	}
}

int pmpt_stats(pmpt_pool *pool, struct pmpt_stats *stats)
{
	struct pmpt_stats s = { .medium = pool->medium,
				.pool_bytes = pool->sb->pool_bytes,
				.extents = word_load(&pool->sb->n_extents) };
	int rc = pool_ours(pool); /* before its locks, which nobody may be left to unlock */

	if (rc)
		return rc;
	s.frames = pool_frames(pool, &s.frames_reserved);
	count_frames(pool, &s);
	s.frames_held = frames_held(&pool->frames);
	if (s.frames_held > s.frames_free) /* others go on */
		s.frames_held = s.frames_free;
	s.frames_free -= s.frames_held;
	for (uint32_t i = 0; i < pool->sb->n_spaces; i++)
		s.spaces += record_is(record_at(pool, i), 0);
	count_log(pool, &s);
	s.volatile_bytes = atomic_load(&pool->mem.bytes);
	*stats = s;
	return 0;
}
