/* SPDX-License-Identifier: BSD-3-Clause */
/* file -- an open database: reads, writes, controls. */
#include "vfs.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define MMAP_MOST 0x7fff0000 /* SQLite's default */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

bool db_file_dirty(const struct db_file *f)
{
	return f->buffer.n || f->size != f->view_size || f->low != f->view_size;
}

void db_file_discard(struct db_file *f)
{
	buffer_clear(&f->buffer);
	f->size = f->low = f->view_size;
}

/* ---- reads ------------------------------------------------------------------------------------ */

/* What is committed, as the connection sees it. */
static int read_committed(struct db_file *f, void *buf, size_t len, uint64_t at)
{
	struct pool *pool = f->db->pool;
	int rc;

	if (f->view && f->view_old) {
		rc = view_renew(f);
		if (rc)
			return rc;
	}
	if (f->view)
		rc = pmpt_read(f->view, f->db->space, at, buf, len);
	else {
		pthread_rwlock_rdlock(&pool->bulk);
		rc = pmpt_read(NULL, f->db->space, at, buf, len);
		pthread_rwlock_unlock(&pool->bulk);
	}
	return rc ? report(rc, "cannot read database", f->name) : SQLITE_OK;
}

/* The part of a block that is below the end of what is committed and not truncated. */
static int read_below(struct db_file *f, char *buf, size_t len, uint64_t at)
{
	size_t n = at >= f->low ? 0 : (size_t)least(len, f->low - at);

	memset(buf + n, 0, len - n);
	return n ? read_committed(f, buf, n, at) : SQLITE_OK;
}

/* With what this connection has written. */
static int read_overlaid(struct db_file *f, char *buf, size_t len, uint64_t at)
{
	int rc = SQLITE_OK;

	while (len && !rc) {
		uint64_t off = at % BLOCK_BYTES;
		size_t n = (size_t)least(len, BLOCK_BYTES - off);
		const struct block *b = buffer_find(&f->buffer, at - off);

		if (b)
			memcpy(buf, b->data + off, n);
		else
			rc = read_below(f, buf, n, at);
		buf += n;
		at += n;
		len -= n;
	}
	return rc;
}

static int size_now(struct db_file *f, uint64_t *size)
{
	struct pool *pool = f->db->pool;
	int rc = 0;

	if (f->view) {
		*size = f->size;
		return SQLITE_OK;
	}
	pthread_rwlock_rdlock(&pool->bulk);
	rc = pmpt_user_get(f->db->space, WORD_SIZE, size);
	pthread_rwlock_unlock(&pool->bulk);
	return rc ? report(rc, "cannot read database", f->name) : SQLITE_OK;
}

static int db_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 offset)
{
	struct db_file *f = db_of(file);
	uint64_t at = (uint64_t)offset, size;
	size_t n;
	int rc;

	if (db_dead(f))
		return report(PMPT_E_FORKED, "cannot read", f->name);
	rc = size_now(f, &size);
	if (rc)
		return rc;
	n = at >= size ? 0 : (size_t)least((uint64_t)len, size - at);
	if (n)
		rc = db_file_dirty(f) && f->view ? read_overlaid(f, buf, n, at)
						 : read_committed(f, buf, n, at);
	if (rc || n == (size_t)len)
		return rc;
	memset((char *)buf + n, 0, (size_t)len - n);
	return SQLITE_IOERR_SHORT_READ;
}

/* A pointer to a page, where that is one piece of memory and as it was committed. */
static int db_fetch(sqlite3_file *file, sqlite3_int64 offset, int len, void **out)
{
	struct db_file *f = db_of(file);
	uint64_t at = (uint64_t)offset, first = at & ~(uint64_t)(BLOCK_BYTES - 1),
		 end = at + (uint64_t)len;
	const char *page = NULL;

	*out = NULL;
	if (db_dead(f) || !f->view || end > least(f->view_size, f->low))
		return SQLITE_OK;
	if (f->view_old && view_renew(f))
		return SQLITE_OK;
	for (uint64_t va = first; va < end; va += BLOCK_BYTES) {
		const void *p;

		if (buffer_find(&f->buffer, va) || pmpt_page_ptr(f->view, f->db->space, va, &p) ||
		    (page && (const char *)p != page + (va - first)))
			return SQLITE_OK; /* SQLite reads it */
		page = page ? page : p;
	}
	*out = (char *)(uintptr_t)page + (at - first); /* SQLite does not write there */
	f->fetched++;
	f->view_fetched = true;
	return SQLITE_OK;
}

static int db_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
	struct db_file *f = db_of(file);

	(void)offset;
	if (page && f->fetched && --f->fetched == 0 && !db_dead(f)) {
		views_drop(f);
		f->view_fetched = false;
	}
	return SQLITE_OK;
}

/* ---- writes ----------------------------------------------------------------------------------- */

static int may_write(struct db_file *f)
{
	if (db_dead(f))
		return report(PMPT_E_FORKED, "cannot write", f->name);
	if (f->read_only)
		return SQLITE_READONLY;
	f->thread = pthread_self();
	if (f->super)
		super_leave(f);
	return db_implicit_lock(f);
}

static int db_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 offset)
{
	struct db_file *f = db_of(file);
	uint64_t at = (uint64_t)offset, end = at + (uint64_t)len;
	const char *from = buf;
	int rc = may_write(f);

	while (at < end && !rc) {
		uint64_t off = at % BLOCK_BYTES;
		size_t n = (size_t)least(end - at, BLOCK_BYTES - off);
		struct block *b = buffer_find(&f->buffer, at - off);

		if (!b) {
			b = buffer_add(&f->buffer, at - off);
			if (!b)
				return SQLITE_NOMEM;
			if (n < BLOCK_BYTES)
				rc = read_below(f, b->data, BLOCK_BYTES, at - off);
			if (rc)
				buffer_pop(&f->buffer);
		}
		if (!rc)
			memcpy(b->data + off, from, n);
		if (!rc && at == 0 && n >= HEAD_BYTES)
			head_without_wal(b->data);
		from += n;
		at += n;
	}
	if (!rc && end > f->size)
		f->size = end;
	return rc;
}

/* The end of a transaction's writes.  super: the super-journal's name, or NULL. */
static int sync_commit(struct db_file *f, const char *super)
{
	int rc = SQLITE_OK;

	if (db_dead(f))
		return report(PMPT_E_FORKED, "cannot write", f->name);
	f->thread = pthread_self();
	if (super && super_enlist(f, super))
		return SQLITE_OK;
	if (f->super)
		super_leave(f);
	if (db_file_dirty(f))
		rc = databases_commit(f);
	if (f->implicit) {
		(void)db_unlock(&f->base, SQLITE_LOCK_NONE);
		f->implicit = false;
	}
	return rc;
}

static int db_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct db_file *f = db_of(file);
	int rc = may_write(f);
	bool alone = !rc && !f->buffer.n && f->size == f->view_size && f->low == f->view_size;

	if (rc)
		return rc;
	for (size_t i = 0; i < f->buffer.n; i++) {
		struct block *b = &f->buffer.block[i];

		if (b->at + BLOCK_BYTES > (uint64_t)size) {
			size_t keep = b->at < (uint64_t)size ? (size_t)((uint64_t)size - b->at) : 0;

			memset(b->data + keep, 0, BLOCK_BYTES - keep);
		}
	}
	f->size = (uint64_t)size;
	f->low = least(f->low, f->size);
	/* after the commit, at the end of a transaction that made the database smaller */
	return alone ? sync_commit(f, NULL) : SQLITE_OK;
}

/* SQLite says SQLITE_FCNTL_SYNC before, and that alone with synchronous=OFF.  A VFS over ours may not hand it on. */
static int db_sync(sqlite3_file *file, int flags)
{
	struct db_file *f = db_of(file);

	(void)flags;
	return f->super || db_dead(f) || !db_file_dirty(f) ? SQLITE_OK : sync_commit(f, NULL);
}

static int db_size(sqlite3_file *file, sqlite3_int64 *size)
{
	struct db_file *f = db_of(file);
	uint64_t n = 0;
	int rc;

	if (db_dead(f))
		return report(PMPT_E_FORKED, "cannot read", f->name);
	rc = size_now(f, &n);
	*size = (sqlite3_int64)n;
	return rc;
}

/* ---- controls --------------------------------------------------------------------------------- */

/* SQLite tells one database of a connection; the pragma may be for all. */
static void set_exclusive(struct db_file *f, bool exclusive)
{
	f->exclusive = exclusive;
	pthread_mutex_lock(&registry_lock);
	for (struct db_file *other = connections; other; other = other->next) {
		if (f->sqlite && other->sqlite == f->sqlite)
			other->exclusive = exclusive;
	}
	pthread_mutex_unlock(&registry_lock);
}

/* arg: {out, name, value or NULL} */
static int pragma(struct db_file *f, char **arg)
{
	const char *value = arg[2] ? arg[2] : "";

	if (!sqlite3_stricmp(arg[1], "locking_mode") && *value) {
		set_exclusive(f, !sqlite3_stricmp(value, "exclusive"));
		return SQLITE_NOTFOUND;
	}
	/* Without it SQLite finds no shared memory and stays as it is; in the exclusive mode it would
	 * need none. */
	if (!sqlite3_stricmp(arg[1], "journal_mode") && !sqlite3_stricmp(value, "wal") &&
	    f->exclusive) {
		arg[0] = sqlite3_mprintf("delete");
		return SQLITE_OK;
	}
	return db_dead(f) ? SQLITE_NOTFOUND : sql_pragma(f, arg[1], arg[2], &arg[0]);
}

/* xFetch needs no limit; SQLite wants to hear its own.  While it has pointers, it stays. */
static void mmap_limit(struct db_file *f, sqlite3_int64 *limit)
{
	sqlite3_int64 wish = *limit;

	*limit = f->mmap_limit;
	if (wish >= 0 && !f->fetched)
		f->mmap_limit = wish < MMAP_MOST ? wish : MMAP_MOST;
}

/* The connection whose file it is.  What uses the ring is in that connection, so it needs no lock. */
static void peers_join(struct db_file *f, sqlite3 *sqlite)
{
	f->sqlite = sqlite;
	if (f->peer != f || f->shared_cache || db_dead(f))
		return;
	pthread_mutex_lock(&registry_lock);
	for (struct db_file *other = connections; other; other = other->next) {
		if (other == f || other->sqlite != sqlite || other->shared_cache ||
		    other->db->pool != f->db->pool)
			continue;
		f->peer = other->peer;
		other->peer = f;
		break;
	}
	pthread_mutex_unlock(&registry_lock);
}

static void peers_leave(struct db_file *f)
{
	struct db_file *before = f;

	while (before->peer != f)
		before = before->peer;
	before->peer = f->peer;
	f->peer = f;
}

static int db_control(sqlite3_file *file, int op, void *arg)
{
	struct db_file *f = db_of(file);

	switch (op) {
	case SQLITE_FCNTL_SYNC:
		return sync_commit(f, arg);
	case SQLITE_FCNTL_PRAGMA:
		return pragma(f, arg);
	case SQLITE_FCNTL_PDB:
		peers_join(f, *(sqlite3 **)arg);
		return SQLITE_OK;
	case SQLITE_FCNTL_LOCKSTATE:
		*(int *)arg = f->lock;
		return SQLITE_OK;
	case SQLITE_FCNTL_POWERSAFE_OVERWRITE:
		*(int *)arg = 1; /* whatever is wished */
		return SQLITE_OK;
	case SQLITE_FCNTL_HAS_MOVED:
		*(int *)arg = 0;
		return SQLITE_OK;
	case SQLITE_FCNTL_VFSNAME:
		*(char **)arg = sqlite3_mprintf("%s", VFS_NAME);
		return SQLITE_OK;
	case SQLITE_FCNTL_MMAP_SIZE:
		mmap_limit(f, arg);
		return SQLITE_OK;
	case SQLITE_FCNTL_SIZE_HINT:
	case SQLITE_FCNTL_CHUNK_SIZE: /* the pool takes its blocks by itself */
		return SQLITE_OK;
	default:
		return SQLITE_NOTFOUND;
	}
}

static int db_sector(sqlite3_file *file)
{
	(void)file;
	return BLOCK_BYTES;
}

static int db_traits(sqlite3_file *file)
{
	(void)file;
	return SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
	       SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN;
}

static int db_close(sqlite3_file *file)
{
	struct db_file *f = db_of(file), **at = &connections;

	if (!db_dead(f)) {
		(void)db_unlock(file, SQLITE_LOCK_NONE);
		pthread_mutex_lock(&registry_lock);
		while (*at != f)
			at = &(*at)->next;
		*at = f->next;
		pthread_mutex_unlock(&registry_lock);
		database_close(f->db);
	}
	peers_leave(f);
	free(f->kept);
	buffer_free(&f->buffer);
	memory_clear(&f->journal, false);
	return SQLITE_OK;
}

static const sqlite3_io_methods db_methods = {
	.iVersion =
		3, /* no shared memory: SQLite answers a wish for WAL with the mode that there is */
	.xClose = db_close,
	.xRead = db_read,
	.xWrite = db_write,
	.xTruncate = db_truncate,
	.xSync = db_sync,
	.xFileSize = db_size,
	.xLock = db_lock,
	.xUnlock = db_unlock,
	.xCheckReservedLock = db_check_reserved,
	.xFileControl = db_control,
	.xSectorSize = db_sector,
	.xDeviceCharacteristics = db_traits,
	.xFetch = db_fetch,
	.xUnfetch = db_unfetch,
};

bool file_is_ours(const sqlite3_file *file) { return file && file->pMethods == &db_methods; }

int db_file_open(sqlite3_file *file, const char *name, int flags, int *out_flags)
{
	struct db_file *f = db_of(file);
	char room[4096];
	struct request request = {
		.pool = sqlite3_uri_parameter(name, "pool"),
		.name = name,
		.snapshot = sqlite3_uri_parameter(name, "snapshot"),
		.pool_size = sqlite3_uri_parameter(name, "poolsize"),
		.create = flags & SQLITE_OPEN_CREATE,
	};
	struct database *db;
	int rc;

	if (!request.pool || !*request.pool)
		request.pool = pool_default(room);
	if (!request.pool)
		return report_text(SQLITE_CANTOPEN,
				   "no pool: give pool=PATH in its URI, or set PMPT_POOL", name);
	if (!*name || (request.snapshot && !*request.snapshot))
		return report_text(SQLITE_CANTOPEN, "the name of a database or snapshot is empty",
				   name);
	rc = database_open(&request, &db);
	if (rc)
		return rc;
	*f = (struct db_file){ .base = { &db_methods }, .db = db, .name = name };
	f->generation = registry_generation;
	f->thread = pthread_self();
	f->peer = f;
	f->shared_cache = flags & SQLITE_OPEN_SHAREDCACHE;
	f->read_only = db->read_only || flags & SQLITE_OPEN_READONLY;
	if (out_flags)
		*out_flags = f->read_only
				     ? (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) |
					       SQLITE_OPEN_READONLY
				     : flags;
	pthread_mutex_lock(&registry_lock);
	f->next = connections;
	connections = f;
	pthread_mutex_unlock(&registry_lock);
	return SQLITE_OK;
}
