/* SPDX-License-Identifier: BSD-3-Clause */
/* swap -- see swap.h: on, off, open, close, status. */
#include "swap.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "rcu.h"
#include "space.h"
#include "table.h"

/* ---- open and close -------------------------------------------------------------------------- */

void swap_init(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;

	s->file.fd = -1;
	pthread_mutex_init(&s->clock, NULL);
	pthread_mutex_init(&s->auto_lock, NULL);
	pthread_rwlock_init(&s->file_lock, NULL);
	pthread_mutex_init(&s->wake_lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pm_init(&s->pm, &pool->rg->medium);
}

static void memory_free(struct pmpt_pool *pool, uint64_t slots)
{
	struct swap *s = &pool->swap;

	mem_free(&pool->mem, s->room, sizeof(*s->room));
	mem_free(&pool->mem, (void *)s->written, slots * sizeof(*s->written));
	s->room = NULL;
	s->written = NULL;
}

static void forget(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;

	pthread_rwlock_wrlock(&s->file_lock);
	swap_file_close(&s->file);
	memory_free(pool, s->area.slots);
	s->area = (struct swap_area){ 0 };
	s->missing = 0;
	pthread_rwlock_unlock(&s->file_lock);
	frames_slots_clear(&pool->frames);
}

/* What the area says is in use from now on.  fd: the file, or -1: the caller is to open it. */
static int take_area(struct pmpt_pool *pool, const struct swap_area *area, int fd)
{
	const struct swap_area_head *head = region_at(pool->rg, area->off);
	struct swap *s = &pool->swap;
	int rc;

	s->room = mem_alloc(&pool->mem, sizeof(*s->room));
	s->written = mem_zalloc(&pool->mem, area->slots * sizeof(*s->written));
	rc = s->room && s->written ? frames_slots_set(&pool->frames, area)
				   : error_set(-ENOMEM, "no memory for the swap tier");
	if (rc) {
		memory_free(pool, area->slots);
		return rc;
	}
	memcpy(s->path, head->path, sizeof(s->path));
	pthread_rwlock_wrlock(&s->file_lock);
	s->file.fd = fd;
	atomic_store(&s->file.failed, 0);
	s->file.path = s->path;
	memcpy(s->file.uuid, pool->sb->uuid, sizeof(s->file.uuid));
	s->file.salt = pool->sb->salt;
	s->file.id = head->id;
	s->file.slots = head->slots;
	/* other than those of the opens before: LSNs are unique [W5], and jump at each open */
	s->generation = (uint32_t)(((atomic_load(&pool->wal.next) >> 32) * 0x9e3779b97f4a7c15u) >>
				   DESC_GEN_SHIFT);
	s->area = *area;
	pthread_rwlock_unlock(&s->file_lock);
	return 0;
}

int swap_open(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;
	struct swap_area area;
	int rc;

	if (!(word_load(&pool->sb->features) & SB_FEATURE_SWAP))
		return 0;
	swap_area_find(pool->rg, &pool->frames.extents, &area);
	if (!area.off) {
		for (uint32_t i = 0; i < pool->sb->n_spaces; i++) {
			if (word_load(&record_at(pool, i)->state) == RECORD_IS_SWAP)
				return swap_area_check(pool->rg, &pool->frames.extents,
						       word_load(&record_at(pool, i)->root));
		}
		return pool_feature_gone(pool, SB_FEATURE_SWAP); /* a crash in on or off */
	}
	rc = take_area(pool, &area, -1);
	if (rc)
		return rc;
	s->missing = swap_file_open(&s->file);
	if (!s->missing)
		return 0;
	(void)snprintf(s->why, sizeof(s->why), "%s", pmpt_errormsg());
	log_message(PMPT_LOG_ERROR, "%s%sthe swap file is lost, and the pages in it: %s",
		    pool->path ? pool->path : "", pool->path ? ": " : "", s->why);
	return 0;
}

void swap_close(struct pmpt_pool *pool)
{
	if (pool->swap.area.off)
		forget(pool);
}

void swap_fini(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;

	pthread_mutex_destroy(&s->clock);
	pthread_mutex_destroy(&s->auto_lock);
	pthread_rwlock_destroy(&s->file_lock);
	pthread_mutex_destroy(&s->wake_lock);
	pthread_cond_destroy(&s->wake);
}

int swap_usable(struct pmpt_pool *pool)
{
	const struct swap *s = &pool->swap;

	if (!s->area.off)
		return error_set(PMPT_E_SWAP, "the pool has no swap file");
	if (s->missing)
		return error_set(PMPT_E_SWAP, "%s", s->why);
	return 0;
}

/* ---- on -------------------------------------------------------------------------------------- */

struct on_args {
	struct swap_area_head *head;
	struct space_record *record;
	struct swap_area *area;
};

static int on_call(struct pmpt_tx *tx, const void *args)
{
	const struct on_args *a = args;
	uint64_t pfn = 0, n = swap_area_frames(a->head->slots);
	int rc = tx_frames_take(tx, n, 1, &pfn);

	if (rc)
		return rc;
	a->head->off = pfn << FRAME_SHIFT;
	swap_area_seal(a->head);
	pm_stream(&tx->pm, region_at(tx->pool->rg, a->head->off), a->head,
		  FRAME_BYTES / LINE_BYTES);
	pm_stream_zero(&tx->pm, region_at(tx->pool->rg, a->head->off + FRAME_BYTES),
		       (n - 1) * (FRAME_BYTES / LINE_BYTES));
	tx->unfenced = true; /* [F1] */
	rc = tx_count(tx, pfn, n, DESC_RESERVED, 1);
	if (!rc)
		rc = record_set(tx, &a->record->state, RECORD_IS_SWAP);
	if (!rc)
		rc = record_set(tx, &a->record->root, a->head->off);
	for (unsigned i = 0; i < PMPT_USER_WORDS && !rc; i++)
		rc = record_set(tx, &a->record->user[i],
				i == 0   ? a->head->slots
				: i == 1 ? a->head->id
					 : 0);
	return rc;
}

/* Area and record, durable at home. */
static int on_record(struct pmpt_pool *pool, struct swap_area_head *head, struct swap_area *area)
{
	uint32_t i = 0;
	int rc;

	pthread_mutex_lock(&pool->names);
	while (i < pool->sb->n_spaces && (word_load(&record_at(pool, i)->state) & 0xff))
		i++;
	rc = i == pool->sb->n_spaces
		     ? error_set(PMPT_E_SPACES_FULL, "the pool has its %u spaces", i)
		     : tx_run(pool, NULL, on_call,
			      &(struct on_args){ head, record_at(pool, i), area });
	pthread_mutex_unlock(&pool->names);
	*area = (struct swap_area){ head->off, head->slots, i };
	return rc ? rc : wal_checkpoint_to(&pool->wal, atomic_load(&pool->wal.next) - 1);
}

static int off_call(struct pmpt_tx *tx, const void *args)
{
	const struct swap_area *a = args;
	struct space_record *r = record_at(tx->pool, a->record);
	int rc = record_set(tx, &r->state, SPACE_FREE);

	if (!rc)
		rc = record_set(tx, &r->root, 0);
	for (unsigned i = 0; i < 2 && !rc; i++)
		rc = record_set(tx, &r->user[i], 0);
	return rc ? rc
		  : tx_count(tx, a->off >> FRAME_SHIFT, swap_area_frames(a->slots), DESC_RESERVED,
			     -1);
}

/* The record is free and the area's frames are, durably.  No slot is in use. */
static int record_free(struct pmpt_pool *pool, const struct swap_area *area)
{
	int rc;

	pthread_mutex_lock(&pool->names);
	rc = tx_run(pool, NULL, off_call, area);
	pthread_mutex_unlock(&pool->names);
	return rc ? rc : wal_checkpoint_to(&pool->wal, atomic_load(&pool->wal.next) - 1);
}

int swap_path_set(char out[PMPT_SWAP_PATH_MAX + 1], const char *path, const char *suffix)
{
	char here[PMPT_SWAP_PATH_MAX + 1] = "";
	int n;

	if (!path || !*path)
		return error_set(-EINVAL, "a path of the swap file is expected");
	if (*path != '/' && !getcwd(here, sizeof(here)))
		return error_sys(path, "getcwd");
	n = snprintf(out, PMPT_SWAP_PATH_MAX + 1, "%s%s%s%s", here, *here ? "/" : "", path, suffix);
	return n < 0 || (size_t)n > PMPT_SWAP_PATH_MAX
		       ? error_set(-ENAMETOOLONG, "the swap file's path is longer than %u bytes",
				   PMPT_SWAP_PATH_MAX)
		       : 0;
}

static int on_locked(struct pmpt_pool *pool, struct swap_area_head *head)
{
	struct swap *s = &pool->swap;
	struct swap_file file = { .path = head->path, .fd = -1 };
	struct swap_area area;
	int rc;

	if (s->area.off)
		return error_set(PMPT_E_SWAP, "the pool has the swap file %s", s->path);
	head->salt = file.salt = pool->sb->salt;
	head->id = atomic_load(&pool->wal.next); /* no two are the same: this one draws LSNs [W5] */
	memcpy(file.uuid, pool->sb->uuid, sizeof(file.uuid));
	file.id = head->id;
	file.slots = head->slots;
	rc = swap_file_create(&file);
	if (rc)
		return rc;
	rc = pool_feature(pool, SB_FEATURE_SPACES | SB_FEATURE_SWAP);
	if (!rc)
		rc = on_record(pool, head, &area);
	if (!rc) {
		rc = take_area(pool, &area, file.fd);
		if (rc && record_free(pool, &area))
			rc = PMPT_E_IO;
	}
	if (!rc)
		return 0;
	swap_file_close(&file);
	if (rc == PMPT_E_IO)
		return rc; /* whether it is on the next open will tell */
	(void)pool_feature_gone(pool, SB_FEATURE_SWAP);
	(void)swap_io->unlink(head->path);
	return rc;
}

int pmpt_swap_on(pmpt_pool *pool, const char *path, uint64_t bytes)
{
	_Alignas(LINE_BYTES) struct swap_area_head head = { .slots = bytes / FRAME_BYTES };
	int rc = pool_writable(pool);

	if (!rc && (!bytes || bytes % FRAME_BYTES || head.slots > SLOTS_MAX))
		rc = error_set(-EINVAL,
			       "swap of %lu bytes: a multiple of %lu up to 1 TiB is expected",
			       bytes, FRAME_BYTES);
	if (!rc)
		rc = swap_path_set(head.path, path, "");
	if (rc)
		return rc;
	pthread_mutex_lock(&pool->swap.clock);
	rc = on_locked(pool, &head);
	pthread_mutex_unlock(&pool->swap.clock);
	return rc;
}

/* ---- off ------------------------------------------------------------------------------------- */

static uint64_t slots_used(const struct pmpt_pool *pool)
{
	const struct swap_area *a = &pool->swap.area;
	const pm_word *desc = region_at(pool->rg, swap_area_descs(a));
	uint64_t n = 0;

	for (uint64_t i = 0; a->off && i < a->slots; i++)
		n += desc_count(word_load(&desc[i])) != 0;
	return n;
}

static int all_in(struct pmpt_pool *pool)
{
	for (uint32_t i = 0; i < pool->sb->n_spaces && slots_used(pool); i++) {
		struct pmpt_space *space;
		uint64_t done = 0;
		int rc = space_open_at(pool, i, true, &space);

		if (rc == PMPT_E_NO_SPACE)
			continue;
		if (rc)
			return rc;
		rc = swap_in_range(space, 0, VA_END, &done);
		pmpt_space_close(space);
		if (rc)
			return rc;
	}
	return 0;
}

/* A transaction that has counted a slot down is through with it, and with its group. */
static void counters_wait(struct pmpt_pool *pool)
{
	for (unsigned i = 0; i < TX_SLOTS; i++) {
		const struct pmpt_tx *tx = atomic_load(&pool->tx[i]);

		while (tx && atomic_load(&((struct pmpt_tx *)tx)->counting))
			sched_yield();
	}
}

static int off_locked(struct pmpt_pool *pool)
{
	struct swap *s = &pool->swap;
	struct swap_area area = s->area;
	bool lost = s->missing;
	int rc = s->area.off ? 0 : error_set(PMPT_E_SWAP, "the pool has no swap file");

	if (!rc)
		rc = all_in(pool);
	if (!rc && slots_used(pool))
		rc = error_set(PMPT_E_BUSY, "%lu slots of the swap file are in use",
			       slots_used(pool));
	if (rc)
		return rc;
	counters_wait(pool);
	rc = frames_reclaim(&pool->frames, true);
	if (!rc &&
	    frames_slots_pending(&pool->frames)) /* their pages are out for who reads there */
		rc = error_set(PMPT_E_BUSY, "a read view is open that sees pages in the swap file");
	if (rc)
		return rc;
	rc = wal_checkpoint_to(&pool->wal, atomic_load(&pool->wal.next) - 1);
	if (rc)
		return rc;
	rc = record_free(pool, &area);
	if (rc)
		return rc;
	forget(pool);
	if (!rc)
		rc = pool_feature_gone(pool, SB_FEATURE_SWAP);
	if (!lost)
		(void)swap_io->unlink(s->path);
	return rc;
}

int pmpt_swap_off(pmpt_pool *pool)
{
	int rc = pool_writable(pool);

	if (rc)
		return rc;
	pthread_mutex_lock(&pool->swap.clock);
	rc = off_locked(pool);
	pthread_mutex_unlock(&pool->swap.clock);
	return rc;
}

/* ---- status ---------------------------------------------------------------------------------- */

int pmpt_swap_status(pmpt_pool *pool, struct pmpt_swap_status *status)
{
	struct swap *s = &pool->swap;
	int rc = pool_ours(pool);

	if (rc)
		return rc;
	pthread_mutex_lock(&s->clock);
	*status = (struct pmpt_swap_status){ .slots = s->area.slots,
					     .used = slots_used(pool),
					     .outs = atomic_load(&s->outs),
					     .ins = atomic_load(&s->ins),
					     .low_frames = atomic_load(&s->low),
					     .high_frames = atomic_load(&s->high),
					     .missing = s->missing };
	if (s->area.off) {
		memcpy(status->path, s->path, sizeof(s->path));
		status->failed = atomic_load(&s->file.failed);
	}
	pthread_mutex_unlock(&s->clock);
	return 0;
}
