/* SPDX-License-Identifier: BSD-3-Clause */
/* lock -- locks and views of a connection.
 *
 * LOCK STATES (of a connection)
 *	NONE -> SHARED		a view is opened: nothing that others commit later is seen; it may be that of
 *				another database of the connection [D6]
 *	SHARED -> RESERVED	it becomes the database's writer.  SQLITE_BUSY: another one is;
 *				SQLITE_BUSY_SNAPSHOT: others have committed since its view [D2]
 *	RESERVED -> PENDING, EXCLUSIVE	always: readers have views, nobody waits for them
 *	-> SHARED		what was not committed is forgotten, and the view is a new one if this
 *				connection has committed: nobody else can have, meanwhile
 *	-> NONE			the view is closed
 */
#include "vfs.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

/* ---- views ------------------------------------------------------------------------------------ */

static bool view_has(const struct db_file *f, const pmpt_view *view)
{
	bool has = f->view == view;

	for (size_t i = 0; i < f->n_kept && !has; i++)
		has = f->kept[i] == view;
	return has;
}

/* f does not have it any more; the last one that has it closes it. */
static void view_put(struct db_file *f, pmpt_view *view)
{
	for (struct db_file *p = f->peer; p != f; p = p->peer) {
		if (view_has(p, view))
			return;
	}
	pmpt_view_close(view);
}

void views_drop(struct db_file *f)
{
	while (f->n_kept)
		view_put(f, f->kept[--f->n_kept]);
}

/* SQLite may have pointers into it still. */
static void view_retire(struct db_file *f)
{
	pmpt_view **kept = NULL;

	if (f->view_fetched && f->fetched)
		kept = realloc(f->kept, (f->n_kept + 1) * sizeof(*kept));
	if (kept) {
		f->kept = kept;
		f->kept[f->n_kept++] = f->view;
	} else {
		view_put(f, f->view);
	}
	f->view = NULL;
	f->view_fetched = false;
}

static void view_close(struct db_file *f)
{
	if (!f->view)
		return;
	view_retire(f);
	views_drop(f);
	f->fetched = 0;
	f->view_old = false;
	atomic_store_explicit(&f->reading, false, memory_order_relaxed);
}

/* Not while a bulk transaction is under way. */
static int view_between(struct pool *pool, pmpt_view **view)
{
	for (;;) {
		uint64_t serial = atomic_load(&pool->bulk_serial);
		int rc;

		if (serial & 1)
			pthread_rwlock_rdlock(&pool->bulk); /* wait for its end */
		rc = pmpt_view_open(pool->pmpt, view);
		if (serial & 1)
			pthread_rwlock_unlock(&pool->bulk);
		if (rc || serial & 1 || atomic_load(&pool->bulk_serial) == serial)
			return rc;
		pmpt_view_close(*view);
	}
}

static int view_make(struct db_file *f, pmpt_view **view, uint64_t *size)
{
	struct pool *pool = f->db->pool;
	int rc = view_between(pool, view);

	if (rc)
		return report(rc, "cannot read in pool", pool->path);
	rc = pmpt_view_user_get(*view, f->db->space, WORD_SIZE, size);
	if (!rc)
		return SQLITE_OK;
	pmpt_view_close(*view);
	return report(rc, "cannot read database", f->name);
}

/* Others have committed in the database of a peer since its view [D4]. */
static bool peer_changed(const struct db_file *p, const pmpt_view *now)
{
	char was[HEAD_BYTES], is[HEAD_BYTES];

	return pmpt_view_lsn(p->view) != pmpt_view_lsn(now) &&
	       (pmpt_read(p->view, p->db->space, 0, was, sizeof(was)) ||
		pmpt_read(now, p->db->space, 0, is, sizeof(is)) ||
		memcmp(was, is, sizeof(was)) != 0);
}

/* [D6] The newest view of the peers shows all of them as they have it: each that came later did not differ
 * from those before, or took it.  NULL: now does, too. */
static pmpt_view *view_of_peers(const struct db_file *f, const pmpt_view *now)
{
	pmpt_view *newest = NULL;
	bool changed = false;

	for (const struct db_file *p = f->peer; p != f; p = p->peer) {
		if (!p->view || p->view_old)
			continue;
		changed |= peer_changed(p, now);
		if (!newest || pmpt_view_lsn(p->view) > pmpt_view_lsn(newest))
			newest = p->view;
	}
	return changed ? newest : NULL;
}

static int view_open(struct db_file *f)
{
	int rc = view_make(f, &f->view, &f->view_size);
	pmpt_view *older;
	uint64_t size;

	if (rc) {
		f->view = NULL;
		return rc;
	}
	older = f->writing ? NULL : view_of_peers(f, f->view); /* a writer sees all [D2] */
	if (older && !pmpt_view_user_get(older, f->db->space, WORD_SIZE, &size)) {
		pmpt_view_close(f->view);
		f->view = older;
		f->view_size = size;
	} /* else there is none, or the database is younger */
	f->size = f->low = f->view_size;
	f->view_old = f->view_fetched = false;
	atomic_store_explicit(&f->reading, true, memory_order_relaxed);
	return SQLITE_OK;
}

int view_renew(struct db_file *f)
{
	pmpt_view *view;
	uint64_t size;
	int rc = view_make(f, &view, &size);

	if (rc)
		return rc;
	view_retire(f);
	f->view = view;
	f->view_old = false;
	return SQLITE_OK;
}

/* ---- locks ------------------------------------------------------------------------------------ */

static int writer_become(struct db_file *f)
{
	struct database *db = f->db;
	int rc = SQLITE_OK;

	pthread_mutex_lock(&db->lock);
	if (db->writer && db->writer != f)
		rc = SQLITE_BUSY;
	else if (f->view && !f->view_old && db->last_lsn > pmpt_view_lsn(f->view))
		rc = SQLITE_BUSY_SNAPSHOT;
	else
		db->writer = f;
	pthread_mutex_unlock(&db->lock);
	f->writing = !rc;
	return rc;
}

static void writer_end(struct db_file *f)
{
	if (!f->writing)
		return; /* a reader takes no lock that others have */
	f->writing = false;
	pthread_mutex_lock(&f->db->lock);
	if (f->db->writer == f)
		f->db->writer = NULL;
	pthread_mutex_unlock(&f->db->lock);
}

static int shared_lock(struct db_file *f)
{
	int rc = f->exclusive && !f->read_only ? writer_become(f) : SQLITE_OK;

	if (rc)
		return rc;
	rc = view_open(f);
	if (rc)
		writer_end(f);
	else
		f->lock = SQLITE_LOCK_SHARED;
	return rc;
}

int db_lock(sqlite3_file *file, int level)
{
	struct db_file *f = db_of(file);
	int rc = SQLITE_OK;

	if (db_dead(f))
		return report(PMPT_E_FORKED, "cannot lock", f->name);
	if (f->lock >= level)
		return SQLITE_OK;
	if (f->lock == SQLITE_LOCK_NONE)
		rc = shared_lock(f);
	if (!rc && level > SQLITE_LOCK_SHARED && f->lock == SQLITE_LOCK_SHARED)
		rc = f->read_only ? SQLITE_READONLY : writer_become(f);
	f->thread = pthread_self();
	if (!rc)
		f->lock = level;
	return rc;
}

int db_unlock(sqlite3_file *file, int level)
{
	struct db_file *f = db_of(file);
	bool was_writer = f->lock > SQLITE_LOCK_SHARED;
	int rc = SQLITE_OK;

	if (f->lock <= level)
		return SQLITE_OK;
	f->lock = level;
	if (db_dead(f))
		return SQLITE_OK;
	if (f->super)
		super_leave(f);
	if (was_writer && db_file_dirty(f))
		db_file_discard(f);
	if (level == SQLITE_LOCK_NONE)
		view_close(f);
	else if (f->view_old && !f->exclusive)
		rc = view_renew(f);
	if (level == SQLITE_LOCK_NONE || (was_writer && !f->exclusive))
		writer_end(f);
	return rc;
}

int db_check_reserved(sqlite3_file *file, int *reserved)
{
	struct db_file *f = db_of(file);

	*reserved = 0;
	if (db_dead(f))
		return SQLITE_OK;
	pthread_mutex_lock(&f->db->lock);
	*reserved = f->db->writer != NULL;
	pthread_mutex_unlock(&f->db->lock);
	return SQLITE_OK;
}

int db_implicit_lock(struct db_file *f)
{
	int rc;

	if (f->lock >= SQLITE_LOCK_RESERVED)
		return SQLITE_OK;
	f->implicit = f->lock == SQLITE_LOCK_NONE;
	rc = db_lock(&f->base, SQLITE_LOCK_EXCLUSIVE);
	if (rc && f->implicit) {
		(void)db_unlock(&f->base, SQLITE_LOCK_NONE);
		f->implicit = false;
	}
	return rc;
}
