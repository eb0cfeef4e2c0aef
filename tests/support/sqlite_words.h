/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite_words -- small words for tests of SQLite's VFS, over the pool of pool_file.h. */
#ifndef SQLITE_WORDS_H
#define SQLITE_WORDS_H

#include <stdint.h>
#include <sqlite3.h>

#include "places.h"

#define URI_BYTES (PLACE_BYTES + 128)

#define MANY(n) "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<" n ") "
#define FILL(n) MANY(n) "INSERT INTO t(b) SELECT randomblob(3000) FROM n"

int try_open(const char *name, const char *more, sqlite3 **db);
sqlite3 *open_db(const char *name, const char *more);
int exec(sqlite3 *db, const char *sql);
void sql(sqlite3 *db, const char *text);
void fails(sqlite3 *db, const char *text, int code);
const char *text_of(sqlite3 *db, const char *query);
int64_t number(sqlite3 *db, const char *query);
void close_db(sqlite3 *db);
void pool_is_whole(void);
void expect_no_open(const char *name, const char *more, int code, const char *says);

#endif
