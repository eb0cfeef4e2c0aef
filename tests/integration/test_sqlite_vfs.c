/* SPDX-License-Identifier: BSD-3-Clause */
/* test_sqlite_vfs -- what the VFS promises beyond the same answers: readers and writers side by side, databases
 * that commit together, snapshots, large transactions.  What it refuses: test_sqlite_refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"
#include "sqlite_shim.h"
#include "sqlite_words.h"
#include "vfs.h"

/* The VFS has its blocks from here. */
static int blocks_until_none; /* 0: for ever */

void *aligned_alloc(size_t align, size_t n)
{
	void *p;

	if (blocks_until_none && --blocks_until_none == 0)
		return NULL;
	return posix_memalign(&p, align, n) ? NULL : p;
}

/* ---- locks ------------------------------------------------------------------------------------ */

static void test_readers(void **state)
{
	sqlite3 *w = open_db("d", ""), *r = open_db("d", ""), *late;

	(void)state;
	sql(w, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t(b) VALUES (1), (2)");
	sql(r, "BEGIN");
	assert_int_equal(number(r, "SELECT count(*) FROM t"), 2);
	/* a writer is not kept waiting, and the reader does not see it, whatever it does */
	sql(w, "INSERT INTO t(b) VALUES (3)");
	sql(w, "BEGIN EXCLUSIVE; INSERT INTO t(b) VALUES (4)");
	late = open_db("d", "");
	assert_int_equal(number(late, "SELECT count(*) FROM t"), 3);
	sql(w, "COMMIT; DELETE FROM t WHERE a <= 3; VACUUM");
	assert_int_equal(number(r, "SELECT count(*) FROM t"), 2);
	assert_int_equal(number(r, "SELECT sum(b) FROM t"), 3);
	assert_string_equal(text_of(r, "PRAGMA integrity_check"), "ok");
	/* it cannot write any more: what it would write is not based on what is there */
	fails(r, "INSERT INTO t(b) VALUES (5)", SQLITE_BUSY_SNAPSHOT);
	sql(r, "COMMIT; INSERT INTO t(b) VALUES (5)");
	assert_int_equal(number(w, "SELECT count(*) FROM t"), 2);
	/* one writer */
	sql(w, "BEGIN IMMEDIATE");
	fails(r, "BEGIN IMMEDIATE", SQLITE_BUSY);
	fails(r, "INSERT INTO t(b) VALUES (6)", SQLITE_BUSY);
	assert_int_equal(number(r, "SELECT count(*) FROM t"), 2);
	sql(w, "ROLLBACK");
	sql(r, "INSERT INTO t(b) VALUES (6)");
	close_db(late);
	close_db(r);
	close_db(w);
	pool_is_whole();
}

/* A cursor of the connection that writes goes on, over its own commits and those of others. */
static void test_cursor(void **state)
{
	sqlite3 *w = open_db("d", ""), *other = open_db("d", "");
	sqlite3_stmt *s;
	int n = 0;

	(void)state;
	for (int mmap = 0; mmap < 2; mmap++) {
		sql(w, mmap ? "PRAGMA mmap_size=100000000"
			    : "PRAGMA mmap_size=0; PRAGMA cache_size=2");
		sql(w, "DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS u");
		sql(w, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE u(x)");
		sql(w, FILL("100"));
		n = 0;
		assert_int_equal(sqlite3_prepare_v2(w, "SELECT a, length(b) FROM t", -1, &s, NULL),
				 0);
		while (sqlite3_step(s) == SQLITE_ROW) {
			assert_int_equal(sqlite3_column_int(s, 0), ++n);
			assert_int_equal(sqlite3_column_int(s, 1), 3000);
			if (n == 50) /* what it sees then is the state of this commit */
				sql(w, "INSERT INTO u VALUES (zeroblob(2000))");
			if (n < 50) {
				sql(w, "INSERT INTO u VALUES (zeroblob(2000))");
				continue;
			}
			sql(other, "UPDATE t SET b = zeroblob(10)");
			sql(other, "INSERT INTO u SELECT x FROM u LIMIT 20");
			if (n == 60)
				break;
		}
		/* the other has committed since: this one writes nothing more before it reads anew */
		fails(w, "INSERT INTO u VALUES (1)", SQLITE_BUSY_SNAPSHOT);
		assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
		sql(w, "INSERT INTO u VALUES (1)");
	}
	close_db(other);
	close_db(w);
	pool_is_whole();
}

static void test_exclusive(void **state)
{
	sqlite3 *a = open_db("d", ""), *b = open_db("d", "");

	(void)state;
	sql(a, "CREATE TABLE t(a)");
	assert_string_equal(text_of(a, "PRAGMA locking_mode=EXCLUSIVE"), "exclusive");
	assert_int_equal(number(a, "SELECT count(*) FROM t"), 0);
	fails(b, "INSERT INTO t VALUES (1)", SQLITE_BUSY);
	sql(a, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
	assert_int_equal(number(b, "SELECT count(*) FROM t"), 2);
	assert_string_equal(text_of(a, "PRAGMA journal_mode=WAL"), "delete");
	sql(a, "INSERT INTO t VALUES (3)");
	sql(a, "PRAGMA locking_mode=NORMAL; SELECT * FROM t");
	sql(b, "INSERT INTO t VALUES (4)");
	assert_int_equal(number(a, "SELECT count(*) FROM t"), 4);
	assert_string_equal(text_of(a, "PRAGMA journal_mode=WAL"), "delete");
	close_db(a);
	close_db(b);
	/* without locks of SQLite's: a writer is the only one all the same */
	a = open_db("d", "&nolock=1");
	b = open_db("d", "");
	sql(a, "INSERT INTO t VALUES (5)");
	sql(b, "BEGIN IMMEDIATE");
	fails(a, "INSERT INTO t VALUES (6)", SQLITE_BUSY);
	sql(b, "INSERT INTO t VALUES (7); COMMIT");
	assert_int_equal(number(b, "SELECT count(*) FROM t"), 6);
	assert_int_equal(sqlite3_close(a), SQLITE_OK);
	close_db(b);
	pool_is_whole();
}

/* ---- transactions ------------------------------------------------------------------------------ */

static uint64_t lsn_of(sqlite3 *db)
{
	return (uint64_t)number(db, "SELECT json_extract(pmpt_stat(), '$.lsn')");
}

static void *commit_there(void *db)
{
	sql(db, "INSERT INTO t(b) VALUES (2); COMMIT");
	return NULL;
}

static void *begin_there(void *db)
{
	sql(db, "PRAGMA cache_size=5; BEGIN");
	sql(db, FILL("200"));
	return NULL;
}

/* A transaction that has spilled goes from one thread to another, and its first one ends. */
static void test_threads_take_turns(void **state)
{
	sqlite3 *db = open_db("d", "");
	pthread_t thread;

	(void)state;
	sql(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	for (int commits = 0; commits < 2; commits++) {
		assert_int_equal(pthread_create(&thread, NULL, begin_there, db), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(number(db, "SELECT count(*) FROM t"), 200);
		if (commits) {
			assert_int_equal(pthread_create(&thread, NULL, commit_there, db), 0);
			assert_int_equal(pthread_join(thread, NULL), 0);
		} else {
			uint64_t lsn = lsn_of(db);

			sql(db, "ROLLBACK");
			/* what was spilled is written back, which changes nothing */
			assert_int_equal(lsn_of(db), lsn);
		}
		assert_int_equal(number(db, "SELECT count(*) FROM t"), commits ? 201 : 0);
	}
	/* without a journal, where SQLite promises nothing */
	sql(db, "PRAGMA journal_mode=OFF; BEGIN; UPDATE t SET b = zeroblob(3000); ROLLBACK");
	assert_int_equal(number(db, "SELECT count(*) FROM t WHERE b <> zeroblob(3000)"), 201);
	close_db(db);
	pool_is_whole();
}

/* More than half a lane of the log takes: the bulk lane does it, and readers go on. */
static void test_large(void **state)
{
	sqlite3 *db = open_db("d", ""), *r = open_db("d", "");

	(void)state;
	sql(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	sql(db, FILL("12000"));
	sql(r, "BEGIN");
	assert_int_equal(number(r, "SELECT sum(length(b)) FROM t"), 12000 * 3000);
	sql(db, "UPDATE t SET b = zeroblob(2500)");
	assert_int_equal(number(r, "SELECT sum(length(b)) FROM t"), 12000 * 3000);
	sql(r, "COMMIT");
	assert_int_equal(number(r, "SELECT sum(length(b)) FROM t"), 12000 * 2500);
	sql(db, "BEGIN; DELETE FROM t WHERE a > 100; ROLLBACK");
	assert_int_equal(number(r, "SELECT count(*) FROM t"), 12000);
	sql(db, "DELETE FROM t WHERE a > 100; VACUUM");
	assert_int_equal(number(r, "SELECT count(*) FROM t"), 100);
	assert_true(number(r, "SELECT json_extract(pmpt_stat(), '$.size_bytes')") < 1000000);
	assert_true(number(r, "SELECT json_extract(pmpt_stat(), '$.frames_data')") < 400);
	close_db(r);
	close_db(db);
	pool_is_whole();
}

/* ---- several databases -------------------------------------------------------------------------- */

static uint64_t commits_of(sqlite3 *db)
{
	return (uint64_t)number(db, "SELECT json_extract(pmpt_stat(), '$.commits')");
}

static void test_attached(void **state)
{
	sqlite3 *db = open_db("a", ""), *other = open_db("b", "");
	uint64_t before;

	(void)state;
	sql(db, "ATTACH 'b' AS b; ATTACH 'c' AS c");
	sql(db, "CREATE TABLE t(x); CREATE TABLE b.t(x); CREATE TABLE c.t(x)");
	before = commits_of(db);
	sql(db,
	    "BEGIN; INSERT INTO t VALUES (1); INSERT INTO b.t VALUES (1); INSERT INTO c.t VALUES (1); "
	    "COMMIT");
	assert_int_equal(commits_of(db), before + 1); /* of the three */
	sql(db, "PRAGMA cache_size=3; PRAGMA b.cache_size=3");
	sql(db, "BEGIN; INSERT INTO t VALUES (2)");
	sql(db, MANY("300") "INSERT INTO b.t SELECT randomblob(2000) FROM n");
	sql(db, "INSERT INTO c.t VALUES (2); ROLLBACK");
	assert_int_equal(
		number(db,
		       "SELECT (SELECT count(*) FROM t) * 100 + (SELECT count(*) FROM b.t) * 10 "
		       "+ (SELECT count(*) FROM c.t)"),
		111);
	/* one of them cannot: none is */
	sql(other, "BEGIN IMMEDIATE");
	sql(db, "BEGIN; INSERT INTO t VALUES (3); INSERT INTO c.t VALUES (3)");
	fails(db, "INSERT INTO b.t VALUES (3)", SQLITE_BUSY);
	sql(db, "ROLLBACK");
	sql(other, "INSERT INTO t VALUES (4); COMMIT");
	sql(db, "BEGIN; INSERT INTO t VALUES (5); INSERT INTO b.t VALUES (5); COMMIT");
	assert_int_equal(number(other, "SELECT count(*) FROM t"), 3);
	close_db(other);
	close_db(db);
	pool_is_whole();
}

/* Who reads both sees both before or both after: the second is seen as it was when the first was. */
static void test_attached_reader(void **state)
{
	sqlite3 *w = open_db("a", ""), *r = open_db("a", "");

	(void)state;
	sql(w, "ATTACH 'b' AS b; CREATE TABLE main.t(x); CREATE TABLE b.u(x); "
	       "INSERT INTO main.t VALUES (1); INSERT INTO b.u VALUES (1)");
	sql(r, "ATTACH 'b' AS b; PRAGMA mmap_size=1000000");
	for (int64_t i = 1; i < 4; i++) {
		sql(r, "BEGIN");
		assert_int_equal(number(r, "SELECT x FROM main.t"), i);
		sql(w, "BEGIN; UPDATE main.t SET x = x + 1; UPDATE b.u SET x = x + 1; COMMIT");
		assert_int_equal(number(r, "SELECT x FROM b.u"), i);
		sql(w, "ATTACH 'younger' AS c; CREATE TABLE IF NOT EXISTS c.v(x)");
		sql(r, "ATTACH 'younger' AS c");
		assert_int_equal(number(r, "SELECT count(*) FROM c.v"), 0);
		assert_int_equal(number(r, "SELECT x FROM main.t"), i);
		fails(r, "UPDATE b.u SET x = 0", SQLITE_BUSY_SNAPSHOT);
		sql(r, "COMMIT; DETACH c");
		sql(w, "DETACH c");
		assert_int_equal(number(r, "SELECT x FROM b.u"), i + 1);
	}
	/* if the first has not changed, the second is the latest, and can be written */
	sql(r, "BEGIN");
	assert_int_equal(number(r, "SELECT x FROM main.t"), 4);
	sql(w, "UPDATE b.u SET x = 7");
	assert_int_equal(number(r, "SELECT x FROM b.u"), 7);
	sql(r, "UPDATE b.u SET x = 8; UPDATE main.t SET x = 8; COMMIT");
	assert_int_equal(number(w, "SELECT main.t.x * 10 + b.u.x FROM main.t, b.u"), 88);
	close_db(r);
	close_db(w);
	pool_is_whole();
}

/* The first is synced, the second cannot be: both are rolled back, whether or not they have spilled. */
static void test_attached_fails(void **state)
{
	(void)state;
	for (int fail_at = 1; fail_at <= 3; fail_at++) {
		for (int spill = 0; spill < 2; spill++) {
			sqlite3 *db = open_db("a", "");

			sql(db, "ATTACH 'b' AS b; PRAGMA cache_size=2; PRAGMA b.cache_size=2");
			sql(db,
			    "CREATE TABLE IF NOT EXISTS t(x); CREATE TABLE IF NOT EXISTS b.t(x)");
			assert_int_equal(sqlite3_close(db), SQLITE_OK);
			db = open_db("a", ""); /* without blocks */
			sql(db, "ATTACH 'b' AS b");
			sql(db, spill ? "PRAGMA cache_size=2; PRAGMA b.cache_size=2" : "SELECT 1");
			sql(db, "BEGIN");
			blocks_until_none = spill ? fail_at : 0;
			if (exec(db, "INSERT INTO t VALUES (zeroblob(200000))") == SQLITE_OK)
				(void)exec(db, "INSERT INTO b.t VALUES (zeroblob(300000))");
			if (!spill)
				blocks_until_none = fail_at;
			if (!sqlite3_get_autocommit(db) && exec(db, "COMMIT") != SQLITE_OK &&
			    !sqlite3_get_autocommit(db))
				sql(db, "ROLLBACK");
			blocks_until_none = 0;
			assert_int_equal(number(db, "SELECT (SELECT count(*) FROM t) * 10 + "
						    "(SELECT count(*) FROM b.t)"),
					 0);
			sql(db,
			    "BEGIN; INSERT INTO t VALUES (1); INSERT INTO b.t VALUES (1); COMMIT");
			assert_int_equal(number(db, "SELECT (SELECT count(*) FROM t) * 10 + "
						    "(SELECT count(*) FROM b.t)"),
					 11);
			sql(db, "DELETE FROM t; DELETE FROM b.t");
			assert_string_equal(text_of(db, "PRAGMA b.integrity_check"), "ok");
			close_db(db);
		}
	}
	pool_is_whole();
}

/* The pools and VFSes of a transaction may differ. */
static void test_mixed(void **state)
{
	char text[URI_BYTES * 2];
	sqlite3 *db;

	(void)state;
	(void)snprintf(text, sizeof(text), "ATTACH 'file:%s/plain?vfs=unix' AS u", dir);
	db = open_db("a", "");
	sql(db, text);
	sql(db, "CREATE TABLE t(x); CREATE TABLE u.t(x); INSERT INTO t VALUES (1)");
	sql(db, "INSERT INTO u.t SELECT * FROM t; INSERT INTO t SELECT * FROM u.t");
	/* begun here, a transaction of both is refused; nothing of it happens */
	fails(db, "BEGIN; INSERT INTO t VALUES (2); INSERT INTO u.t VALUES (2); COMMIT",
	      SQLITE_ERROR);
	assert_non_null(strstr(text_of(db, "SELECT pmpt_error()"), "another VFS"));
	if (!sqlite3_get_autocommit(db))
		sql(db, "ROLLBACK");
	assert_int_equal(
		number(db, "SELECT (SELECT count(*) FROM t) * 10 + (SELECT count(*) FROM u.t)"),
		21);
	close_db(db);

	(void)snprintf(text, sizeof(text), "%s/plain", dir);
	assert_int_equal(
		sqlite3_open_v2(text, &db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
		0);
	(void)snprintf(
		text, sizeof(text),
		"ATTACH 'file:a?vfs=pmpt&pool=%s' AS a; ATTACH 'file:a?vfs=pmpt&pool=%s2' AS b",
		path, path);
	sql(db, text);
	sql(db, "CREATE TABLE b.t(x)");
	sql(db,
	    "BEGIN; INSERT INTO t VALUES (3); INSERT INTO a.t VALUES (3); INSERT INTO b.t VALUES (3); COMMIT");
	sql(db,
	    "BEGIN; INSERT INTO t VALUES (4); INSERT INTO a.t VALUES (4); INSERT INTO b.t VALUES (4); ROLLBACK");
	assert_int_equal(
		number(db,
		       "SELECT (SELECT count(*) FROM t) * 100 + (SELECT count(*) FROM a.t) * 10 "
		       "+ (SELECT count(*) FROM b.t)"),
		231);
	close_db(db);
	/* two pools, the same name in both */
	db = open_db("a", "");
	(void)snprintf(text, sizeof(text), "ATTACH 'file:a?vfs=pmpt&pool=%s2' AS b", path);
	sql(db, text);
	sql(db, "BEGIN; INSERT INTO t VALUES (5); INSERT INTO b.t VALUES (5); COMMIT");
	sql(db,
	    "PRAGMA cache_size=2; PRAGMA b.cache_size=2; BEGIN; INSERT INTO t VALUES (zeroblob(90000)); "
	    "INSERT INTO b.t VALUES (zeroblob(90000)); ROLLBACK");
	assert_int_equal(
		number(db, "SELECT (SELECT count(*) FROM t) * 10 + (SELECT count(*) FROM b.t)"),
		42);
	close_db(db);
	pool_is_whole();
}

/* ---- under another VFS --------------------------------------------------------------------------- */

static void test_shim(void **state)
{
	sqlite3_vfs shim;
	char text[URI_BYTES * 2];
	sqlite3 *db;

	(void)state;
	sqlite_shim(&shim, "shim", sqlite3_vfs_find(VFS_NAME));
	assert_int_equal(sqlite3_vfs_register(&shim, 0), SQLITE_OK);
	for (int copies = 0; copies < 2; copies++) {
		shim_copies_names = copies;
		(void)snprintf(text, sizeof(text), "file:a%d?vfs=shim&pool=%s", copies, path);
		assert_int_equal(sqlite3_open_v2(text, &db,
						 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
							 SQLITE_OPEN_URI,
						 NULL),
				 SQLITE_OK);
		(void)snprintf(text, sizeof(text), "ATTACH 'file:b%d?vfs=shim&pool=%s' AS b",
			       copies, path);
		sql(db, text);
		sql(db, "PRAGMA cache_size=2; CREATE TABLE t(a, b); CREATE TABLE b.t(a, b)");
		sql(db, "BEGIN; " FILL("50"));
		sql(db, "INSERT INTO b.t VALUES (1, 1); SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; "
			"COMMIT");
		sql(db, "BEGIN; DELETE FROM t; INSERT INTO b.t SELECT * FROM t; DELETE FROM b.t; "
			"ROLLBACK");
		assert_int_equal(number(db, "SELECT (SELECT count(*) FROM t) * 10 + "
					    "(SELECT count(*) FROM b.t)"),
				 501);
		close_db(db);
	}
	shim_copies_names = false;
	assert_int_equal(sqlite3_vfs_unregister(&shim), SQLITE_OK);
	pool_is_whole();
}

/* ---- snapshots, copies ------------------------------------------------------------------- */

static void test_snapshot(void **state)
{
	sqlite3 *db = open_db("d", ""), *old;

	(void)state;
	sql(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	sql(db, FILL("50"));
	assert_string_equal(text_of(db, "SELECT pmpt_snapshot('monday')"), "monday");
	fails(db, "SELECT pmpt_snapshot('monday')", SQLITE_IOERR);
	sql(db, "DELETE FROM t WHERE a > 3; VACUUM; INSERT INTO t(b) VALUES ('new')");
	assert_string_equal(text_of(db, "PRAGMA pmpt_snapshot(tuesday)"), "ok");
	old = open_db("d", "&snapshot=monday");
	assert_int_equal(number(old, "SELECT count(*) FROM t"), 50);
	fails(old, "DELETE FROM t", SQLITE_READONLY);
	assert_int_equal(sqlite3_db_readonly(old, "main"), 1);
	close_db(old);
	old = open_db("d@tuesday", ""); /* by its own name */
	assert_int_equal(number(old, "SELECT count(*) FROM t"), 4);
	assert_int_equal(sqlite3_db_readonly(old, "main"), 1);
	close_db(old);
	assert_int_equal(try_open("d", "&snapshot=sunday", &old), SQLITE_CANTOPEN);
	assert_int_equal(sqlite3_close(old), SQLITE_OK);
	assert_string_equal(text_of(db, "SELECT pmpt_checkpoint()"), "ok");
	old = open_db("d", ""); /* that has not read anything */
	assert_int_equal(number(old, "SELECT json_extract(pmpt_stat(), '$.size_bytes')"),
			 number(db, "SELECT page_count * page_size FROM pragma_page_count, "
				    "pragma_page_size"));
	close_db(old);
	assert_string_equal(text_of(db, "PRAGMA pmpt_checkpoint"), "ok");
	assert_int_equal(number(db, "SELECT json_extract(pmpt_stat('main'), '$.spaces')"), 3);
	fails(db, "SELECT pmpt_stat('temp')", SQLITE_ERROR);
	close_db(db);
	pool_is_whole();
}

static void test_copies(void **state)
{
	char text[URI_BYTES * 2];
	sqlite3 *plain, *db = open_db("copy", "");
	sqlite3_backup *backup;

	(void)state;
	(void)snprintf(text, sizeof(text), "%s/plain", dir);
	assert_int_equal(sqlite3_open(text, &plain), SQLITE_OK);
	sql(plain,
	    "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	sql(plain, FILL("100"));
	/* of a database in WAL mode: here it has none */
	backup = sqlite3_backup_init(db, "main", plain, "main");
	assert_non_null(backup);
	assert_int_equal(sqlite3_backup_step(backup, -1), SQLITE_DONE);
	assert_int_equal(sqlite3_backup_finish(backup), SQLITE_OK);
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 100);
	sql(db, "DELETE FROM t WHERE a > 60");
	close_db(db);
	db = open_db("copy", "");
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 60);
	assert_string_equal(text_of(db, "PRAGMA journal_mode"), "delete");
	/* VACUUM INTO, into the pool and out of it */
	sql(db, "VACUUM INTO 'second'");
	fails(db, "VACUUM INTO 'second'", SQLITE_ERROR);
	(void)snprintf(text, sizeof(text), "VACUUM INTO 'file:%s/out?vfs=unix'", dir);
	sql(db, text);
	close_db(db);
	db = open_db("second", "");
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 60);
	close_db(db);
	assert_int_equal(sqlite3_close(plain), SQLITE_OK);
	pool_is_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_TMPFS(test_readers),         ON_TMPFS(test_cursor),
		ON_TMPFS(test_exclusive),       ON_TMPFS(test_threads_take_turns),
		ON_TMPFS(test_large),           ON_TMPFS(test_attached),
		ON_TMPFS(test_attached_reader), ON_TMPFS(test_attached_fails),
		ON_TMPFS(test_mixed),           ON_TMPFS(test_shim),
		ON_TMPFS(test_snapshot),        ON_TMPFS(test_copies),
	};

	(void)unsetenv("PMPT_POOL");
	(void)setenv("PMPT_POOL_SIZE", "128M", 1);
	(void)sqlite3_initialize();
	if (vfs_register(false))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
