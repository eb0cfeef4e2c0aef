/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite_words -- see sqlite_words.h */
#include "sqlite_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pool_file.h"
#include "vfs.h"

int try_open(const char *name, const char *more, sqlite3 **db)
{
	char uri[URI_BYTES + 256];

	(void)snprintf(uri, sizeof(uri), "file:%s?vfs=pmpt&pool=%s%s", name, path, more);
	return sqlite3_open_v2(uri, db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
}

sqlite3 *open_db(const char *name, const char *more)
{
	sqlite3 *db;

	assert_int_equal(try_open(name, more, &db), SQLITE_OK);
	(void)sqlite3_extended_result_codes(db, 1);
	return db;
}

int exec(sqlite3 *db, const char *sql) { return sqlite3_exec(db, sql, NULL, NULL, NULL); }

void sql(sqlite3 *db, const char *text)
{
	if (exec(db, text) == SQLITE_OK)
		return;
	print_error("%s: %s\n", text, sqlite3_errmsg(db));
	fail();
}

void fails(sqlite3 *db, const char *text, int code)
{
	int rc = exec(db, text);

	if (rc != code)
		print_error("%s: %d %s\n", text, rc, sqlite3_errmsg(db));
	assert_int_equal(rc, code);
}

/* The first column of the first row, in static memory. */
const char *text_of(sqlite3 *db, const char *query)
{
	static char text[4096];
	sqlite3_stmt *s;

	if (sqlite3_prepare_v2(db, query, -1, &s, NULL) != SQLITE_OK ||
	    sqlite3_step(s) != SQLITE_ROW) {
		print_error("%s: %s\n", query, sqlite3_errmsg(db));
		fail();
	}
	(void)snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(s, 0));
	assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
	return text;
}

int64_t number(sqlite3 *db, const char *query) { return atoll(text_of(db, query)); }

void close_db(sqlite3 *db)
{
	assert_string_equal(text_of(db, "PRAGMA integrity_check"), "ok");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void found(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

void pool_is_whole(void)
{
	struct pmpt_check summary;

	assert_int_equal(pmpt_check(path, found, NULL, NULL, &summary), 0);
	assert_int_equal(summary.findings, 0);
	assert_false(summary.live);
}

void expect_no_open(const char *name, const char *more, int code, const char *says)
{
	char *said;
	sqlite3 *db;

	assert_int_equal(try_open(name, more, &db), code);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	said = report_last();
	if (!strstr(said, says))
		print_error("said: %s, expected: %s\n", said, says);
	assert_non_null(strstr(said, says));
	sqlite3_free(said);
}
