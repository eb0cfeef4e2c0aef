/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite_shim -- see sqlite_shim.h. */
#include "sqlite_shim.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

int shim_dies_at;
bool shim_copies_names;

struct shim_file {
	sqlite3_file base;
	sqlite3_file *real;
};
#define REAL(f) ((struct shim_file *)(f))->real

static void step(void)
{
	if (shim_dies_at && --shim_dies_at == 0)
		(void)raise(SIGKILL);
}

static int shim_close(sqlite3_file *f) { return REAL(f)->pMethods->xClose(REAL(f)); }
static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return REAL(f)->pMethods->xRead(REAL(f), p, n, at);
}
static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	return REAL(f)->pMethods->xWrite(REAL(f), p, n, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	return REAL(f)->pMethods->xTruncate(REAL(f), n);
}
static int shim_sync(sqlite3_file *f, int n) { return REAL(f)->pMethods->xSync(REAL(f), n); }
static int shim_size(sqlite3_file *f, sqlite3_int64 *n)
{
	return REAL(f)->pMethods->xFileSize(REAL(f), n);
}
static int shim_lock(sqlite3_file *f, int n) { return REAL(f)->pMethods->xLock(REAL(f), n); }
static int shim_unlock(sqlite3_file *f, int n) { return REAL(f)->pMethods->xUnlock(REAL(f), n); }
static int shim_reserved(sqlite3_file *f, int *n)
{
	return REAL(f)->pMethods->xCheckReservedLock(REAL(f), n);
}
static int shim_control(sqlite3_file *f, int op, void *arg)
{
	int rc = REAL(f)->pMethods->xFileControl(REAL(f), op, arg);

	if (op == SQLITE_FCNTL_SYNC)
		step();
	return rc;
}
static int shim_sector(sqlite3_file *f) { return REAL(f)->pMethods->xSectorSize(REAL(f)); }
static int shim_traits(sqlite3_file *f)
{
	return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	static const sqlite3_io_methods methods = {
		.iVersion = 1,
		.xClose = shim_close,
		.xRead = shim_read,
		.xWrite = shim_write,
		.xTruncate = shim_truncate,
		.xSync = shim_sync,
		.xFileSize = shim_size,
		.xLock = shim_lock,
		.xUnlock = shim_unlock,
		.xCheckReservedLock = shim_reserved,
		.xFileControl = shim_control,
		.xSectorSize = shim_sector,
		.xDeviceCharacteristics = shim_traits,
	};
	sqlite3_vfs *real = vfs->pAppData;
	char copy[512];
	int rc;

	if (shim_copies_names && flags & SQLITE_OPEN_MAIN_JOURNAL) {
		memset(copy, 'x',
		       sizeof(copy)); /* what SQLite has before its own names is not there */
		(void)snprintf(copy + 256, 256, "%s", name);
		name = copy + 256;
	}
	REAL(f) = (sqlite3_file *)((struct shim_file *)f + 1);
	rc = real->xOpen(real, name, REAL(f), flags, out);
	f->pMethods = rc ? NULL : &methods;
	return rc;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	sqlite3_vfs *real = vfs->pAppData;
	int rc = real->xDelete(real, name, sync);

	step();
	return rc;
}

void sqlite_shim(sqlite3_vfs *shim, const char *name, sqlite3_vfs *real)
{
	*shim = *real;
	shim->zName = name;
	shim->pAppData = real;
	shim->szOsFile += (int)sizeof(struct shim_file);
	shim->xOpen = shim_open;
	shim->xDelete = shim_delete;
}
