/* SPDX-License-Identifier: BSD-3-Clause */
/* commit -- what SQLite has written becomes one transaction of libpmpt.
 *
 * COMMIT POINT	pmpt_commit() in attempt().
 * ORDER	1 the databases' last_lsn grows after it, and while their writers still have their place: so
 *		  a connection that gets it next knows whether its view had this commit [D2]
 * A block that is as it was is not written: a rollback after a spill writes the old pages, and needs
 * nothing then, not even a free frame.
 */
#include "vfs.h"

#include <sched.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define CONFLICT_TRIES 10000 /* a fork of the space, or its pages go to swap */

static uint64_t round_up(uint64_t n)
{
	return (n + BLOCK_BYTES - 1) & ~(uint64_t)(BLOCK_BYTES - 1);
}

static bool unchanged(const struct db_file *f, const struct block *b)
{
	const void *page;

	return b->at + BLOCK_BYTES <= round_up(f->low) && f->view && !f->view_old &&
	       !pmpt_page_ptr(f->view, f->db->space, b->at, &page) &&
	       !memcmp(page, b->data, BLOCK_BYTES);
}

/* From block i on: how many are written by one call, neighbours here and there. */
static size_t run_length(const struct db_file *f, size_t i)
{
	const struct block *b = &f->buffer.block[i];
	size_t n = 1;

	while (i + n < f->buffer.n && b[n].at == b[0].at + n * BLOCK_BYTES &&
	       b[n].data == b[0].data + n * BLOCK_BYTES && b[n].at < f->size &&
	       !unchanged(f, &b[n]))
		n++;
	return n;
}

/* What one connection has written. */
static int write_out(pmpt_tx *tx, struct db_file *f)
{
	pmpt_space *space = f->db->space;
	uint64_t low = round_up(f->low), end = round_up(f->view_size);
	int rc = low < end ? pmpt_unmap(tx, space, low, end - low) : 0;

	for (size_t i = 0, n; i < f->buffer.n && !rc; i += n) {
		const struct block *b = &f->buffer.block[i];

		n = 1;
		if (b->at >= f->size || unchanged(f, b))
			continue;
		n = run_length(f, i);
		rc = pmpt_write(tx, space, b->at, b->data, n * BLOCK_BYTES);
	}
	if (!rc && f->size != f->view_size)
		rc = pmpt_user_set(tx, space, WORD_SIZE, f->size);
	return rc;
}

/* All of the list that are of the pool. */
static int attempt(struct pool *pool, struct db_file *first, unsigned flags, uint64_t *lsn)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(pool->pmpt, flags, &tx);

	if (rc)
		return rc;
	for (struct db_file *f = first; f && !rc; f = f->super_next) {
		if (f->db->pool == pool)
			rc = write_out(tx, f);
	}
	if (!rc)
		rc = pmpt_commit(tx, lsn);
	if (rc && rc != PMPT_E_IO)
		(void)pmpt_abort(tx);
	return rc;
}

static int attempts(struct pool *pool, struct db_file *first, unsigned flags, uint64_t *lsn)
{
	int rc = attempt(pool, first, flags, lsn);

	for (unsigned i = 0; (rc == PMPT_E_CONFLICT || rc == PMPT_E_TX_LIMIT) && i < CONFLICT_TRIES;
	     i++) {
		sched_yield();
		rc = attempt(pool, first, flags, lsn);
	}
	return rc;
}

static void committed(struct db_file *f, uint64_t lsn)
{
	if (lsn) {
		pthread_mutex_lock(&f->db->lock);
		f->db->last_lsn = lsn; /* 1 */
		pthread_mutex_unlock(&f->db->lock);
		f->view_old = true;
	}
	f->view_size = f->size;
	db_file_discard(f);
}

static int commit_pool(struct pool *pool, struct db_file *first)
{
	uint64_t lsn = 0;
	int rc = attempts(pool, first, 0, &lsn);

	if (rc == PMPT_E_TX_TOO_LARGE) {
		pthread_rwlock_wrlock(&pool->bulk);
		atomic_fetch_add(&pool->bulk_serial, 1);
		rc = attempts(pool, first, PMPT_TX_BULK, &lsn);
		atomic_fetch_add(&pool->bulk_serial, 1);
		pthread_rwlock_unlock(&pool->bulk);
	}
	if (rc)
		return report(rc,
			      rc == PMPT_E_NO_FRAMES && connections_reading(pool, NULL) > 1
				      ? "cannot commit, while readers hold frames, in pool"
				      : "cannot commit in pool",
			      pool->path);
	for (struct db_file *f = first; f; f = f->super_next) {
		if (f->db->pool == pool)
			committed(f, lsn);
	}
	return SQLITE_OK;
}

/* [D4] */
static int counter_grow(struct db_file *f)
{
	struct block *b = buffer_find(&f->buffer, 0);
	char head[HEAD_BYTES];
	size_t i = 0;
	int rc;

	while (i < f->buffer.n &&
	       (f->buffer.block[i].at >= f->size || unchanged(f, &f->buffer.block[i])))
		i++;
	if (i == f->buffer.n || f->view_size < HEAD_BYTES || f->size < HEAD_BYTES)
		return SQLITE_OK;
	rc = pmpt_read(f->view, f->db->space, 0, head, sizeof(head));
	if (rc)
		return report(rc, "cannot commit database", f->name);
	if (b && head_is_newer(b->data, head))
		return SQLITE_OK;
	if (!b) {
		b = buffer_add(&f->buffer, 0);
		if (!b)
			return SQLITE_NOMEM;
		rc = pmpt_read(f->view, f->db->space, 0, b->data, BLOCK_BYTES);
		if (rc)
			buffer_pop(&f->buffer);
	}
	if (!rc)
		head_renew(b->data, head);
	return rc ? report(rc, "cannot commit database", f->name) : SQLITE_OK;
}

int databases_commit(struct db_file *first)
{
	int rc = SQLITE_OK;

	for (struct db_file *f = first; f && !rc; f = f->super_next) {
		/* a base for unchanged() and for write_out() */
		if (db_file_dirty(f) && f->view_old)
			rc = view_renew(f);
		if (!rc)
			rc = counter_grow(f);
		buffer_sort(&f->buffer);
	}
	for (struct db_file *f = first; f && !rc; f = f->super_next) {
		if (db_file_dirty(f))
			rc = commit_pool(f->db->pool, first);
	}
	return rc;
}
