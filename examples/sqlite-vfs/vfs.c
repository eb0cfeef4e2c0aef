/* SPDX-License-Identifier: BSD-3-Clause */
/* vfs -- the methods of the VFS, and how it gets into a program: as an extension that stays. */
#include "vfs.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT1

#define SQLITE_LEAST 3031000 /* sqlite3_filename_journal() */

sqlite3_vfs *base_vfs;

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && !strcmp(name + n - m, end);
}

/* SQLite's names for them: NAME-mjXXXXXX9XX.  A database may have "-mj" in its own. */
static bool names_super(const char *name)
{
	size_t n = strlen(name);
	const char *end = n > 12 ? name + n - 12 : "";

	return !strncmp(end, "-mj", 3) && strspn(end + 3, "0123456789ABCDEF") == 9 && end[9] == '9';
}

/* ---- methods ---------------------------------------------------------------------------------- */

/* A journal belongs to a database that is open.  The name may be a copy that a VFS over ours has made, so
 * sqlite3_database_file_object() is not for us. */
static int journal_open(const char *name, sqlite3_file *file, int flags)
{
	struct db_file *f = super_connection(name);

	if (!(flags & SQLITE_OPEN_CREATE) && !(f && f->journal.handles))
		return SQLITE_CANTOPEN;
	return memory_open(file, f ? &f->journal : NULL, NULL);
}

/* For each connection that is opened from now on. */
static int connection_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
	(void)error, (void)api;
	return sql_functions(db);
}

static void functions_for_all(void)
{
	(void)sqlite3_auto_extension((void (*)(void))connection_init);
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		    int *out_flags)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int rc;

	(void)vfs;
	/* not when SQLite starts: it would wait for itself; in time for the connection that this is for */
	(void)pthread_once(&once, functions_for_all);
	file->pMethods = NULL;
	if (out_flags)
		*out_flags = flags;
	if (name && flags & SQLITE_OPEN_MAIN_DB)
		return db_file_open(file, name, flags, out_flags);
	if (flags & SQLITE_OPEN_WAL)
		return SQLITE_CANTOPEN;
	if (name && flags & SQLITE_OPEN_MAIN_JOURNAL)
		rc = journal_open(name, file, flags);
	else if (name && flags & SQLITE_OPEN_SUPER_JOURNAL)
		rc = super_open(name, file, flags);
	else
		rc = memory_open(file, NULL, NULL);
	return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	char room[PATH_MAX];
	const char *pool;
	bool found;
	int rc = super_delete(name, &found);

	(void)vfs;
	if (found || ends_with(name, "-journal") || ends_with(name, "-wal"))
		return rc;
	if (names_super(name)) /* of a transaction that began in another VFS */
		return base_vfs->xDelete(base_vfs, name, sync);
	pool = pool_default(room);
	return pool ? database_delete(pool, name) : SQLITE_IOERR_DELETE_NOENT;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	char room[PATH_MAX];
	const char *pool;

	(void)vfs;
	if (flags == SQLITE_ACCESS_READWRITE) /* a directory: PRAGMA temp_store_directory */
		return base_vfs->xAccess(base_vfs, name, flags, out);
	if (ends_with(name, "-wal")) {
		*out = 0;
	} else if (ends_with(name, "-journal")) {
		*out = super_journal_exists(name); /* never hot [D5] */
	} else if (names_super(name)) {
		*out = super_exists(name);
		if (!*out) /* of a transaction that began in another VFS */
			return base_vfs->xAccess(base_vfs, name, flags, out);
	} else {
		pool = pool_default(room);
		*out = pool && database_exists(pool, name);
	}
	return SQLITE_OK;
}

/* The component that ends at n is dropped; false: there is none, or it is "..", too. */
static bool component_drop(const char *out, int *n)
{
	int from = *n - 1; /* of the slash behind it */

	while (from > 0 && out[from - 1] != '/')
		from--;
	if (from >= *n - 1 || !strncmp(out + from, "../", 3))
		return false;
	*n = from;
	return true;
}

/* Names are as they are given, without "./", "x/../" and doubled slashes: the pool is the directory. */
static int vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int n_out, char *out)
{
	bool relative = *name != '/';
	int n = 0;

	(void)vfs;
	while (*name) {
		bool start = !n || out[n - 1] == '/';

		if (n >= n_out - 1)
			return SQLITE_CANTOPEN;
		if (start && !strncmp(name, "./", 2))
			name += 2;
		else if (start && !strncmp(name, "../", 3) && component_drop(out, &n))
			name += 3;
		else if ((n || relative) && start && name[0] == '/')
			name++;
		else
			out[n++] = *name++;
	}
	out[n] = 0;
	return SQLITE_OK;
}

static void *vfs_dl_open(sqlite3_vfs *vfs, const char *name)
{
	(void)vfs;
	return base_vfs->xDlOpen(base_vfs, name);
}

static void vfs_dl_error(sqlite3_vfs *vfs, int n, char *message)
{
	(void)vfs;
	base_vfs->xDlError(base_vfs, n, message);
}

static void (*vfs_dl_sym(sqlite3_vfs *vfs, void *handle, const char *symbol))(void)
{
	(void)vfs;
	return base_vfs->xDlSym(base_vfs, handle, symbol);
}

static void vfs_dl_close(sqlite3_vfs *vfs, void *handle)
{
	(void)vfs;
	base_vfs->xDlClose(base_vfs, handle);
}

static int vfs_randomness(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	return base_vfs->xRandomness(base_vfs, n, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return base_vfs->xSleep(base_vfs, us);
}

static int vfs_current_time(sqlite3_vfs *vfs, double *now)
{
	(void)vfs;
	return base_vfs->xCurrentTime(base_vfs, now);
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs, (void)n, (void)out;
	return 0;
}

static int vfs_current_time_64(sqlite3_vfs *vfs, sqlite3_int64 *now)
{
	(void)vfs;
	return base_vfs->xCurrentTimeInt64(base_vfs, now);
}

static sqlite3_vfs pmpt_vfs = {
	.iVersion = 2,
	.szOsFile = sizeof(struct db_file),
	.mxPathname = PATH_MAX - 16,
	.zName = VFS_NAME,
	.pAppData = (void *)sql_functions,
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full_pathname,
	.xDlOpen = vfs_dl_open,
	.xDlError = vfs_dl_error,
	.xDlSym = vfs_dl_sym,
	.xDlClose = vfs_dl_close,
	.xRandomness = vfs_randomness,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_current_time,
	.xGetLastError = vfs_last_error,
	.xCurrentTimeInt64 = vfs_current_time_64,
};

/* ---- registration ------------------------------------------------------------------------------ */

_Static_assert(sizeof(struct db_file) >= sizeof(struct memory_file), "a file of either kind fits");

int vfs_register(bool as_default)
{
	if (!base_vfs)
		base_vfs = sqlite3_vfs_find(NULL);
	if (!base_vfs)
		return SQLITE_ERROR;
	registry_init();
	return sqlite3_vfs_register(&pmpt_vfs, as_default);
}

int sqlite3_pmptvfs_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
	sqlite3_vfs *there;
	int rc = SQLITE_OK;

	SQLITE_EXTENSION_INIT2(api);
	if (sqlite3_libversion_number() < SQLITE_LEAST) {
		*error = sqlite3_mprintf("the VFS 'pmpt' needs SQLite 3.31 or later");
		return SQLITE_ERROR;
	}
	there = sqlite3_vfs_find(VFS_NAME);
	if (there && there != &pmpt_vfs) /* another copy of this file: its files are its own */
		return ((int (*)(sqlite3 *))there->pAppData)(db) == SQLITE_OK
			       ? SQLITE_OK_LOAD_PERMANENTLY
			       : SQLITE_ERROR;
	if (!there)
		rc = vfs_register(false);
	if (!rc)
		rc = sql_functions(db);
	return rc ? rc : SQLITE_OK_LOAD_PERMANENTLY;
}
