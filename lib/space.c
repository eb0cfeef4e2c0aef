/* SPDX-License-Identifier: BSD-3-Clause */
/* space -- named address spaces: records in the directory, handles in DRAM.
 *
 * STATES of a record	FREE -> LIVE (create: record, PML4 and its count in one transaction) ->
 *			DELETING (one transaction: the name is gone) ->
 *			FREE (bounded transactions free what is mapped, the last one the PML4 and
 *			the record; resumed by the next call that makes or deletes a space where
 *			something was in the way, and at open, as often as it takes where tables
 *			are damaged)
 * LOCKS	pool.names for the directory and the table of handles, held over the transactions
 *		that change a record: what they say of a record stays true together.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "space.h"
#include "table.h"

struct space_record *record_at(const struct pmpt_pool *pool, uint32_t i)
{
	return (struct space_record *)region_at(pool->rg, pool->sb->directory) + i;
}

void record_name(const struct space_record *r, char name[PMPT_NAME_MAX + 1])
{
	uint64_t word[8];

	for (int i = 0; i < 8; i++)
		word[i] = word_load(&r->name[i]);
	memcpy(name, word, PMPT_NAME_MAX + 1);
	name[PMPT_NAME_MAX] = 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Length of the UTF-8 character at s, at most `left` bytes; 0: it is none, or a control
 * character. */
static size_t utf8_char(const unsigned char *s, size_t left)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80       ? 1
		   : s[0] >> 5 == 6  ? 2
		   : s[0] >> 4 == 14 ? 3
		   : s[0] >> 3 == 30 ? 4
				     : 0;
	uint32_t c;

	if (n == 0 || n > left)
		return 0;
	c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c < 0x20 ||
	    (c >= 0x7f && c < 0xa0))
		return 0;
	return n;
}

int name_check(const char *name)
{
	size_t len = name ? strnlen(name, PMPT_NAME_MAX + 1) : 0;

	if (len == 0)
		return error_set(PMPT_E_NAME, "the name of a space is empty");
	if (len > PMPT_NAME_MAX)
		return error_set(PMPT_E_NAME, "the name of a space is longer than %u bytes",
				 PMPT_NAME_MAX);
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_char((const unsigned char *)name + i, len - i);
		if (n == 0)
			return error_set(
				PMPT_E_NAME,
				"the name of a space is not UTF-8, or has a control character, at byte %zu",
				i);
	}
	return 0;
}

uint32_t record_find(const struct pmpt_pool *pool, const char *name, uint64_t flags)
{
	char other[PMPT_NAME_MAX + 1];
	uint32_t i;

	for (i = 0; i < pool->sb->n_spaces; i++) {
		if (!record_is(record_at(pool, i), flags))
			continue;
		record_name(record_at(pool, i), other);
		if (!strcmp(other, name))
			break;
	}
	return i;
}

int record_set_name(struct pmpt_tx *tx, struct space_record *r, const char *name)
{
	uint64_t word[8] = { 0 };
	int rc = 0;

	memcpy(word, name, strlen(name));
	for (int i = 0; i < 8 && !rc; i++)
		rc = tx_set_word(tx, region_off(tx->pool->rg, &r->name[i]) | WHERE_DIR, word[i]);
	return rc;
}

int record_set(struct pmpt_tx *tx, pm_word *word, uint64_t value)
{
	return tx_set_word(tx, region_off(tx->pool->rg, word) | WHERE_DIR, value);
}

/* ---- handles --------------------------------------------------------------------------------- */

/* pool.names is held.  made: memory for the handle, or NULL; used, or left to the caller, who frees
 * what is left. */
static int handle_open_in(struct pmpt_pool *pool, uint32_t i, struct pmpt_space **made,
			  pmpt_space **out)
{
	struct space_record *r = record_at(pool, i);
	struct pmpt_space *space = pool->space[i];
	uint64_t root = word_load(&r->root);
	const pm_word *desc = frames_desc(&pool->frames, root >> FRAME_SHIFT);

	if (space) {
		space->refs++;
		*out = space;
		return 0;
	}
	if (!desc && frames_desc_none(&pool->frames, root >> FRAME_SHIFT) == -ENOMEM)
		return -ENOMEM;
	if (root % FRAME_BYTES || !desc || desc_kind(word_load(desc)) != DESC_TABLE ||
	    !desc_count(word_load(desc)))
		return error_set(PMPT_E_CORRUPT,
				 "space record at offset %#lx: root %#lx is no table",
				 region_off(pool->rg, r), root);
	space = *made;
	*made = NULL;
	space->pool = pool;
	space->record = r;
	space->root = region_at(pool->rg, root);
	space->root_pfn = root >> FRAME_SHIFT;
	space->base = pool->rg->base;
	space->bytes = pool->rg->bytes;
	space->refs = 1;
	space->snapshot = record_state(r) == SPACE_LIVE && word_load(&r->state) & RECORD_SNAPSHOT;
	atomic_init(&space->wx, record_state(r) == SPACE_LIVE && word_load(&r->state) & RECORD_WX);
	record_name(r, space->name);
	pool->space[i] = space;
	*out = space;
	return 0;
}

/* One that was closed, or a new one.  pool.names is held, here and where it is freed. */
static struct pmpt_space *handle_make(struct pmpt_pool *pool)
{
	struct pmpt_space *space = pool->spare;

	pool->spare = NULL;
	if (space) {
		memset(space, 0, offsetof(struct pmpt_space, pwc));
		return space;
	}
	space = mem_zalloc(&pool->mem, sizeof(*space));
	if (space)
		pwc_init(&space->pwc);
	else
		(void)error_set(-ENOMEM, "no memory for a space");
	return space;
}

/* The next to be opened gets it: its cache is large, and memory from the kernel costs as much as a fork. */
static void handle_free(struct pmpt_pool *pool, struct pmpt_space *space)
{
	if (space && !pool->spare && pwc_renew(&space->pwc))
		pool->spare = space;
	else
		mem_free(&pool->mem, space, sizeof(*space));
}

int handle_open(struct pmpt_pool *pool, uint32_t i, pmpt_space **out)
{
	struct pmpt_space *made = pool->space[i] ? NULL : handle_make(pool);
	int rc = pool->space[i] || made ? handle_open_in(pool, i, &made, out) : -ENOMEM;

	handle_free(pool, made);
	return rc;
}

void handle_close(struct pmpt_space *space)
{
	struct pmpt_pool *pool = space->pool;

	if (--space->refs)
		return;
	pool->space[space->record - record_at(pool, 0)] = NULL;
	handle_free(pool, space);
}

int pmpt_space_open(pmpt_pool *pool, const char *name, pmpt_space **space)
{
	uint32_t i;
	int rc = name_check(name);

	if (!rc)
		rc = pool_ours(pool);
	if (rc)
		return rc;
	pthread_mutex_lock(&pool->names);
	i = record_find(pool, name, 0);
	rc = i < pool->sb->n_spaces ? handle_open(pool, i, space)
				    : error_set(PMPT_E_NO_SPACE, "no space '%s'", name);
	pthread_mutex_unlock(&pool->names);
	return rc;
}

/* Give back a reference that is not the last. */
static bool close_one(struct pmpt_space *space)
{
	unsigned refs = atomic_load_explicit(&space->refs, memory_order_relaxed);

	while (refs > 1) {
		if (atomic_compare_exchange_weak(&space->refs, &refs, refs - 1))
			return true;
	}
	return false;
}

void pmpt_space_close(pmpt_space *space)
{
	struct pmpt_pool *pool;

	if (!space || forked(space->pool) || close_one(space))
		return;
	pool = space->pool;
	pthread_mutex_lock(&pool->names);
	handle_close(space);
	pthread_mutex_unlock(&pool->names);
}

int space_open_at(struct pmpt_pool *pool, uint32_t i, bool wait, struct pmpt_space **space)
{
	int rc;

	if (wait)
		pthread_mutex_lock(&pool->names);
	else if (pthread_mutex_trylock(&pool->names))
		return error_set(PMPT_E_BUSY, "the directory of spaces is locked");
	rc = record_is(record_at(pool, i), 0) || record_is(record_at(pool, i), RECORD_SEGMENT)
		     ? handle_open(pool, i, space)
		     : PMPT_E_NO_SPACE;
	pthread_mutex_unlock(&pool->names);
	return rc;
}

void space_hold(struct pmpt_space *space)
{
	atomic_fetch_add_explicit(&space->refs, 1, memory_order_relaxed);
}

const char *pmpt_space_name(const pmpt_space *space) { return space->name; }
pmpt_pool *pmpt_space_pool(const pmpt_space *space) { return space->pool; }

int pmpt_space_list(pmpt_pool *pool, int (*fn)(void *ctx, const char *name), void *ctx)
{
	char name[PMPT_NAME_MAX + 1];
	int rc = pool_ours(pool);

	for (uint32_t i = 0; i < pool->sb->n_spaces && !rc; i++) {
		bool live;

		pthread_mutex_lock(&pool->names);
		live = record_is(record_at(pool, i), 0);
		record_name(record_at(pool, i), name);
		pthread_mutex_unlock(&pool->names);
		if (live)
			rc = fn(ctx, name);
	}
	return rc;
}

/* ---- create and rename ----------------------------------------------------------------------- */

static int create_call(struct pmpt_tx *tx, const void *args)
{
	const struct record_args *a = args;
	uint64_t pfn = 0;
	int rc = tx_fresh_table(tx, false, &pfn);

	if (!rc)
		rc = record_set(tx, &a->record->state, SPACE_LIVE);
	if (!rc)
		rc = record_set(tx, &a->record->root, pfn << FRAME_SHIFT);
	for (unsigned i = 0; i < PMPT_USER_WORDS && !rc; i++)
		rc = record_set(tx, &a->record->user[i], 0);
	return rc ? rc : record_set_name(tx, a->record, a->name);
}

static int record_try(struct pmpt_pool *pool, tx_fn *fn, struct record_args *a, pmpt_space **space)
{
	struct pmpt_space *made;
	uint32_t i = 0;
	int rc = 0;

	pthread_mutex_lock(&pool->names);
	made = handle_make(pool); /* first: once the space is there, nothing may fail */
	if (!made) {
		rc = -ENOMEM;
	} else if (record_find(pool, a->name, a->flags) < pool->sb->n_spaces) {
		rc = error_set(PMPT_E_EXISTS, "a %s '%s' exists", record_kind(a->flags), a->name);
	} else {
		while (i < pool->sb->n_spaces && record_state(record_at(pool, i)) != SPACE_FREE)
			i++;
		if (i == pool->sb->n_spaces)
			rc = error_set(PMPT_E_SPACES_FULL,
				       "the pool has its %u spaces and segments", i);
	}
	a->record = record_at(pool, i);
	if (!rc)
		rc = tx_run(pool, a->tx, fn, a);
	if (!rc && a->tx)
		rc = pmpt_commit(a->tx, NULL);
	if (!rc && space)
		rc = handle_open_in(pool, i, &made, space);
	handle_free(pool, made);
	pthread_mutex_unlock(&pool->names);
	return rc;
}

int record_add(struct pmpt_pool *pool, tx_fn *fn, struct record_args *a, pmpt_space **space)
{
	spaces_retry(pool);
	/* pages cannot go out while the directory is locked */
	for (unsigned tries = 0;; tries++) {
		int rc = record_try(pool, fn, a, space);

		if (rc != PMPT_E_NO_FRAMES || tries == 4 || !swap_make_room(pool, 1))
			return rc;
	}
}

int pmpt_space_create(pmpt_pool *pool, const char *name, pmpt_space **space)
{
	int rc = name_check(name);

	if (!rc)
		rc = pool_writable(pool);
	return rc ? rc
		  : record_add(pool, create_call, &(struct record_args){ .name = name }, space);
}

static int rename_call(struct pmpt_tx *tx, const void *args)
{
	const struct record_args *a = args;

	return record_set_name(tx, a->record, a->name);
}

int pmpt_space_rename(pmpt_pool *pool, const char *from, const char *to)
{
	uint32_t i;
	int rc = name_check(from);

	if (!rc)
		rc = name_check(to);
	if (!rc)
		rc = pool_writable(pool);
	if (rc)
		return rc;
	pthread_mutex_lock(&pool->names);
	i = record_find(pool, from, 0);
	if (i == pool->sb->n_spaces)
		rc = error_set(PMPT_E_NO_SPACE, "no space '%s'", from);
	else if (record_find(pool, to, 0) < pool->sb->n_spaces)
		rc = error_set(PMPT_E_EXISTS, "a space '%s' exists", to);
	if (!rc)
		rc = tx_run(pool, NULL, rename_call,
			    &(struct record_args){ .record = record_at(pool, i), .name = to });
	if (!rc && pool->space[i])
		memcpy(pool->space[i]->name, to, strlen(to) + 1);
	pthread_mutex_unlock(&pool->names);
	return rc;
}

/* ---- delete ---------------------------------------------------------------------------------- */

static int delete_call(struct pmpt_tx *tx, const void *args)
{
	const struct record_args *a = args;
	int rc = record_set(tx, &a->record->state, SPACE_DELETING);

	return rc ? rc : record_set_name(tx, a->record, "");
}

/* The space is empty: its PML4 and its record go. */
static int forget_call(struct pmpt_tx *tx, const void *args)
{
	const struct record_args *a = args;
	int rc = tx_own(tx, a->space->root_pfn);

	if (!rc)
		rc = tx_drop_table(tx, a->space->root_pfn);
	if (!rc)
		rc = record_set(tx, &a->record->state, SPACE_FREE);
	return rc ? rc : record_set(tx, &a->record->root, 0);
}

/* The first thing that is mapped at or above *va, which goes to its address; false: nothing is.
 * at, level: out, its entry, which links a table only where it is damaged. */
static bool first_mapped(const struct pmpt_space *space, uint64_t *va, const pm_word **at,
			 unsigned *level)
{
	while (*va < VA_END) {
		const pm_word *table = space->root;
		uint64_t entry;

		for (*level = 4;; --*level) {
			*at = &table[level_index(*va, *level)];
			entry = word_load(*at);
			if (!entry_is_table(entry, *level) || entry_is_segment(entry, *level) ||
			    entry_pfn(entry) >= space->pool->rg->bytes >> FRAME_SHIFT)
				break; /* damaged: the unmap will say so */
			table = region_at(space->pool->rg, entry & ENTRY_PFN);
		}
		if (entry)
			return true;
		*va = (*va | (level_bytes(*level) - 1)) + 1;
	}
	return false;
}

#define DELETE_TRIES \
	1000 /* of a call that tries a few times itself: writers in relatives own what is shared */

/* Unmap all in transactions that fit in the log, and around damage down to the one entry. */
static int unmap_all(struct pmpt_space *space, unsigned tries)
{
	uint64_t step = level_bytes(4), va = 0;
	const pm_word *at = NULL;
	unsigned level = 1;
	char where[128];

	while (first_mapped(space, &va, &at, &level)) {
		int rc;

		va &= ~(step - 1);
		rc = pmpt_unmap(NULL, space, va_sign(va), step);
		if (rc == PMPT_E_CONFLICT && --tries)
			continue;
		if (rc == PMPT_E_TX_TOO_LARGE && step > FRAME_BYTES) {
			step /= 512;
		} else if (rc == PMPT_E_FRAME || rc == PMPT_E_CORRUPT) {
			if (step > level_bytes(level)) {
				step /= 512;
				continue;
			}
			(void)snprintf(where, sizeof(where),
				       "space record at offset %#lx: entry %#lx at offset %#lx",
				       region_off(space->pool->rg, space->record), word_load(at),
				       region_off(space->pool->rg, at));
			return error_in(PMPT_E_CORRUPT, where);
		} else if (rc) {
			return rc;
		} else if (!((va + step) & (step * 512 - 1)) && step < level_bytes(4)) {
			step *= 512;
		}
	}
	return 0;
}

/* Unmap all, then forget the space and its handle, which is the only one and is closed in any case.
 * The record is DELETING. */
static int delete_rest(struct pmpt_space *space, unsigned tries)
{
	struct pmpt_pool *pool = space->pool;
	int rc = unmap_all(space, tries);

	/* once the record is free another space may have it: by then the handle must be gone */
	pthread_mutex_lock(&pool->names);
	if (!rc)
		rc = tx_run(pool, NULL, forget_call,
			    &(struct record_args){ .record = space->record, .space = space });
	handle_close(space);
	pthread_mutex_unlock(&pool->names);
	/* whatever was in the way may go */
	if (rc == PMPT_E_CONFLICT || rc == PMPT_E_NO_FRAMES || rc == -ENOSPC || rc == -ENOMEM)
		atomic_store(&pool->unfreed, true);
	return rc;
}

/* Free what a delete has left of the space with this record, if it has; one that is open is just being
 * freed. */
static int resume(struct pmpt_pool *pool, uint32_t i, unsigned tries)
{
	struct pmpt_space *space = NULL;
	int rc = 0;

	pthread_mutex_lock(&pool->names);
	if (record_state(record_at(pool, i)) == SPACE_DELETING && !pool->space[i])
		rc = handle_open(pool, i, &space);
	pthread_mutex_unlock(&pool->names);
	return space ? delete_rest(space, tries) : rc;
}

void spaces_retry(struct pmpt_pool *pool)
{
	if (!atomic_load_explicit(&pool->unfreed, memory_order_relaxed) ||
	    !atomic_exchange(&pool->unfreed, false))
		return;
	for (uint32_t i = 0; i < pool->sb->n_spaces; i++)
		(void)resume(pool, i, 1);
}

int record_delete(struct pmpt_pool *pool, const char *name, uint64_t flags)
{
	struct pmpt_space *space = NULL;
	uint32_t i;
	int rc = name_check(name);

	if (!rc)
		rc = pool_writable(pool);
	if (rc)
		return rc;
	spaces_retry(pool);
	pthread_mutex_lock(&pool->swap.clock); /* whose handles are not the user's */
	pthread_mutex_lock(&pool->names);
	i = record_find(pool, name, flags);
	if (i == pool->sb->n_spaces)
		rc = error_set(flags ? PMPT_E_SEGMENT : PMPT_E_NO_SPACE, "no %s '%s'",
			       record_kind(flags), name);
	else if (pool->space[i])
		rc = error_set(PMPT_E_BUSY, "%s '%s' is open", record_kind(flags), name);
	if (!rc)
		rc = handle_open(pool, i, &space);
	if (!rc)
		space->snapshot = false; /* its tables may go */
	if (!rc)
		rc = tx_run(pool, NULL, delete_call,
			    &(struct record_args){ .record = space->record });
	if (rc && space)
		handle_close(space);
	pthread_mutex_unlock(&pool->names);
	pthread_mutex_unlock(&pool->swap.clock);
	return rc ? rc : delete_rest(space, DELETE_TRIES); /* nobody can open it any more */
}

int pmpt_space_delete(pmpt_pool *pool, const char *name) { return record_delete(pool, name, 0); }

int spaces_resume(struct pmpt_pool *pool)
{
	int rc = 0;

	for (uint32_t i = 0; i < pool->sb->n_spaces; i++) {
		rc = resume(pool, i, DELETE_TRIES);
		if (rc == PMPT_E_IO || rc == PMPT_E_READ_ONLY)
			return rc;
		if (rc)
			log_message(
				PMPT_LOG_ERROR,
				"%s%sa deleted space is not freed, the next open tries again: %s",
				pool->path ? pool->path : "", pool->path ? ": " : "",
				pmpt_errormsg());
	}
	return 0;
}
