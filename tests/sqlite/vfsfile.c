/* SPDX-License-Identifier: BSD-3-Clause */
/* vfsfile -- a Tcl command for SQLite's test scripts: databases of the VFS 'pmpt' by their names, as files.
 *
 *	vfsfile exists NAME		1 or 0
 *	vfsfile size NAME		in bytes
 *	vfsfile delete NAME
 *	vfsfile read NAME AT N		at most N bytes
 *	vfsfile write NAME AT BYTES	made if it does not exist
 *	vfsfile truncate NAME SIZE
 *	vfsfile default			the name of SQLite's default VFS
 *
 * SQLite's methods of a VFS and nothing else: what a program could do.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <tcl.h>

#define PATH_ROOM 4096

struct opened {
	sqlite3_filename name;
	sqlite3_file *file;
};

static int fail(Tcl_Interp *tcl, const char *what, const char *name, int rc)
{
	Tcl_SetObjResult(tcl,
			 Tcl_ObjPrintf("vfsfile: cannot %s '%s': SQLite error %d", what, name, rc));
	return TCL_ERROR;
}

static int file_open(sqlite3_vfs *vfs, const char *path, int create, struct opened *o)
{
	int rc;

	o->name = sqlite3_create_filename(path, "", "", 0, NULL);
	o->file = calloc(1, (size_t)vfs->szOsFile);
	if (!o->name || !o->file)
		rc = SQLITE_NOMEM;
	else
		rc = vfs->xOpen(vfs, o->name, o->file,
				SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE |
					(create ? SQLITE_OPEN_CREATE : 0),
				NULL);
	if (rc) {
		free(o->file);
		sqlite3_free_filename(o->name);
	}
	return rc;
}

static void file_close(struct opened *o)
{
	o->file->pMethods->xClose(o->file);
	free(o->file);
	sqlite3_free_filename(o->name);
}

static int file_size(Tcl_Interp *tcl, sqlite3_vfs *vfs, const char *path)
{
	sqlite3_int64 size = 0;
	struct opened o;
	int rc = file_open(vfs, path, 0, &o);

	if (rc)
		return fail(tcl, "open", path, rc);
	rc = o.file->pMethods->xFileSize(o.file, &size);
	file_close(&o);
	Tcl_SetObjResult(tcl, Tcl_NewWideIntObj(size));
	return rc ? fail(tcl, "size", path, rc) : TCL_OK;
}

static int file_read(Tcl_Interp *tcl, sqlite3_vfs *vfs, const char *path, Tcl_WideInt at,
		     Tcl_WideInt n)
{
	sqlite3_int64 size = 0;
	struct opened o;
	Tcl_Obj *bytes = Tcl_NewByteArrayObj(NULL, 0);
	int rc = file_open(vfs, path, 0, &o);

	if (rc)
		return fail(tcl, "open", path, rc);
	rc = o.file->pMethods->xFileSize(o.file, &size);
	if (n > size - at)
		n = size > at ? size - at : 0;
	if (!rc && n > 0)
		rc = o.file->pMethods->xRead(o.file, Tcl_SetByteArrayLength(bytes, (int)n), (int)n,
					     at);
	file_close(&o);
	Tcl_SetObjResult(tcl, bytes);
	return rc ? fail(tcl, "read", path, rc) : TCL_OK;
}

static int file_write(Tcl_Interp *tcl, sqlite3_vfs *vfs, const char *path, Tcl_WideInt at,
		      Tcl_Obj *bytes)
{
	const unsigned char *from;
	struct opened o;
	int n, rc = file_open(vfs, path, 1, &o);

	if (rc)
		return fail(tcl, "open", path, rc);
	from = Tcl_GetByteArrayFromObj(bytes, &n);
	if (n)
		rc = o.file->pMethods->xWrite(o.file, from, n, at);
	if (!rc)
		rc = o.file->pMethods->xFileControl(o.file, SQLITE_FCNTL_SYNC, NULL);
	file_close(&o);
	return rc ? fail(tcl, "write", path, rc) : TCL_OK;
}

static int file_truncate(Tcl_Interp *tcl, sqlite3_vfs *vfs, const char *path, Tcl_WideInt size)
{
	struct opened o;
	int rc = file_open(vfs, path, 0, &o);

	if (rc)
		return fail(tcl, "open", path, rc);
	rc = o.file->pMethods->xTruncate(o.file, size);
	if (!rc)
		rc = o.file->pMethods->xFileControl(o.file, SQLITE_FCNTL_SYNC, NULL);
	file_close(&o);
	return rc ? fail(tcl, "truncate", path, rc) : TCL_OK;
}

static int vfsfile(ClientData data, Tcl_Interp *tcl, int n, Tcl_Obj *const arg[])
{
	static const char *const words[] = { "exists", "size",     "delete",  "read",
					     "write",  "truncate", "default", NULL };
	enum { EXISTS, SIZE, DELETE, READ, WRITE, TRUNCATE, DEFAULT };
	static const int wants[] = { 3, 3, 3, 5, 5, 4, 2 };
	sqlite3_vfs *vfs = sqlite3_vfs_find("pmpt");
	char path[PATH_ROOM];
	Tcl_WideInt at = 0, len = 0;
	int word, yes = 0, rc;

	(void)data;
	if (!vfs)
		return fail(tcl, "find the VFS of", "pmpt", SQLITE_NOTFOUND);
	if (n < 2 || Tcl_GetIndexFromObj(tcl, arg[1], words, "subcommand", 0, &word) ||
	    n != wants[word]) {
		Tcl_WrongNumArgs(tcl, 1, arg,
				 "exists|size|delete|read|write|truncate|default NAME ...");
		return TCL_ERROR;
	}
	if (word == DEFAULT) {
		Tcl_SetObjResult(tcl, Tcl_NewStringObj(sqlite3_vfs_find(NULL)->zName, -1));
		return TCL_OK;
	}
	rc = vfs->xFullPathname(vfs, Tcl_GetString(arg[2]), sizeof(path), path);
	if (rc)
		return fail(tcl, "name", Tcl_GetString(arg[2]), rc);
	if ((n > 3 && Tcl_GetWideIntFromObj(tcl, arg[3], &at)) ||
	    (word == READ && Tcl_GetWideIntFromObj(tcl, arg[4], &len)))
		return TCL_ERROR;
	switch (word) {
	case SIZE:
		return file_size(tcl, vfs, path);
	case READ:
		return file_read(tcl, vfs, path, at, len);
	case WRITE:
		return file_write(tcl, vfs, path, at, arg[4]);
	case TRUNCATE:
		return file_truncate(tcl, vfs, path, at);
	case DELETE:
		rc = vfs->xDelete(vfs, path, 0);
		return rc ? fail(tcl, "delete", path, rc) : TCL_OK;
	default:
		rc = vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &yes);
		Tcl_SetObjResult(tcl, Tcl_NewBooleanObj(yes));
		return rc ? fail(tcl, "look for", path, rc) : TCL_OK;
	}
}

/* A database of the pool is open as long as the process is there: the pool is not opened and closed by each
 * command between two connections. */
static int hold(sqlite3_vfs *vfs)
{
	static const char name[] =
		"\0\0\0\0held\0\0\0\0"; /* as SQLite has it, and not of its memory, which is counted */
	sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);

	return file ? vfs->xOpen(vfs, name + 4, file,
				 SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
				 NULL)
		    : SQLITE_NOMEM;
}

int Vfsfile_Init(Tcl_Interp *tcl);

int Vfsfile_Init(Tcl_Interp *tcl)
{
	sqlite3_vfs *vfs;
	int rc = sqlite3_initialize();

	vfs = sqlite3_vfs_find("pmpt");
	if (!rc)
		rc = vfs ? hold(vfs) : SQLITE_NOTFOUND;
	if (rc)
		return fail(tcl, "hold the pool by", "held", rc);
	Tcl_CreateObjCommand(tcl, "vfsfile", vfsfile, NULL, NULL);
	return TCL_OK;
}
