/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite_shim -- a VFS of SQLite over another one, which hands on what it is asked for. */
#ifndef SQLITE_SHIM_H
#define SQLITE_SHIM_H

#include <stdbool.h>
#include <sqlite3.h>

/* The process dies when so many calls have come: SQLITE_FCNTL_SYNC of a database, xDelete.  0: it does not. */
extern int shim_dies_at;

/* It opens journals by copies of their names. */
extern bool shim_copies_names;

void sqlite_shim(sqlite3_vfs *shim, const char *name, sqlite3_vfs *real);

#endif
