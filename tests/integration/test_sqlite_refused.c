/* SPDX-License-Identifier: BSD-3-Clause */
/* test_sqlite_refused -- the manners of SQLite's VFS when something is wrong: names, pools that are not to be had
 * or are full or damaged, processes that fork or die, readers that stay. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"
#include "sqlite_shim.h"
#include "sqlite_words.h"
#include "vfs.h"

static void test_names(void **state)
{
	static const char *const names[] = {
		"plain",
		"/an/absolute/path.db",
		"%c3%a4rger und %e2%82%ac",
		"bad%ff%c0%80utf",
		"tab%09newline%0a",
		"%27quote%22",
		"x~0123456789abcdef",
		"a-rather-long-name-of-more-than-sixty-three-bytes-that-ends-in-1",
		"a-rather-long-name-of-more-than-sixty-three-bytes-that-ends-in-2",
		"@",
		"name-journal",
		"-wal",
		"team-mj000001.db",
	};
	const unsigned n = sizeof(names) / sizeof(*names);
	char one[PMPT_NAME_MAX + 1], two[PMPT_NAME_MAX + 1], endless[5000];
	sqlite3_vfs *vfs = sqlite3_vfs_find(VFS_NAME);
	sqlite3 *db;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		char text[64];

		db = open_db(names[i], "");
		(void)snprintf(text, sizeof(text), "CREATE TABLE t AS SELECT %u AS x", i);
		sql(db, text);
		close_db(db);
	}
	for (unsigned i = 0; i < n; i++) {
		db = open_db(names[i], "");
		assert_int_equal(number(db, "SELECT x FROM t"), i);
		close_db(db);
	}
	for (unsigned i = 0; i < 4; i++) {
		static const char *const same[] = { "./plain", "a/../plain", "a/./b//.././../plain",
						    ".//plain" };

		db = open_db(same[i], "&mode=rw");
		assert_int_equal(number(db, "SELECT x FROM t"), 0);
		close_db(db);
	}
	expect_no_open("../plain", "&mode=rw", SQLITE_CANTOPEN, "no space '../plain'");
	db = open_db("/an/other/../absolute//path.db", "&mode=rw");
	assert_int_equal(number(db, "SELECT x FROM t"), 1);
	close_db(db);
	/* what looks like a super-journal's name, and is none */
	(void)setenv("PMPT_POOL", path, 1);
	assert_int_equal(vfs->xDelete(vfs, "team-mj000001.db", 0), SQLITE_OK);
	assert_int_equal(vfs->xDelete(vfs, "team-mj000001.db", 0), SQLITE_IOERR_DELETE_NOENT);
	(void)unsetenv("PMPT_POOL");
	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = 0;
	assert_int_equal(
		sqlite3_open_v2(endless, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, VFS_NAME),
		SQLITE_CANTOPEN);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	space_name("plain", NULL, one);
	assert_string_equal(one, "plain");
	space_name("bad\xff", NULL, one);
	space_name("bad\xfe", NULL, two);
	assert_string_not_equal(one, two);
	pool_is_whole();
}

static void test_full(void **state)
{
	sqlite3 *db = open_db("d", "&poolsize=16M"), *other = open_db("e", ""),
		*third = open_db("f", "");
	sqlite3_vfs *vfs = sqlite3_vfs_find(VFS_NAME);
	int rc = SQLITE_OK, n = 0;

	(void)state;
	sql(third, "CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(200000))");
	assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_BUSY);
	close_db(third);
	sql(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA cache_size=10");
	sql(other, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	fails(db, FILL("6000"), SQLITE_FULL);
	assert_non_null(strstr(text_of(db, "SELECT pmpt_error()"), "out of frames"));
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
	sql(db, "BEGIN; INSERT INTO t(b) VALUES ('before')");
	fails(db, FILL("6000"), SQLITE_OK); /* in memory until the commit */
	fails(db, "COMMIT", SQLITE_FULL);
	if (!sqlite3_get_autocommit(db))
		sql(db, "ROLLBACK");
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
	for (; rc == SQLITE_OK && n < 10000; n++)
		rc = exec(db, FILL("10"));
	assert_int_equal(rc, SQLITE_FULL);
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 10 * (n - 1));
	assert_true(n > 100);
	/* two together */
	sql(db, "ATTACH 'e' AS e");
	sql(db, "BEGIN; INSERT INTO e.t(b) VALUES (1)");
	sql(db, FILL("100"));
	fails(db, "COMMIT", SQLITE_FULL);
	if (!sqlite3_get_autocommit(db))
		sql(db, "ROLLBACK");
	assert_int_equal(number(other, "SELECT count(*) FROM t"), 0);
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 10 * (n - 1));
	/* the way out goes by something else that can be deleted, and in small steps: what is overwritten is
	 * free after the commit */
	sql(db, "DETACH e");
	fails(db, "DELETE FROM t", SQLITE_FULL);
	assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_OK);
	assert_int_equal(vfs->xDelete(vfs, "f", 0), SQLITE_IOERR_DELETE_NOENT);
	while (number(db, "SELECT count(*) FROM t") > 10)
		sql(db, "DELETE FROM t WHERE a IN (SELECT a FROM t LIMIT 10)");
	sql(db, "VACUUM");
	sql(db, FILL("100"));
	close_db(other);
	close_db(db);
	pool_is_whole();
}

/* ---- what is refused ----------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	uint64_t zero[512] = { 0 };
	pmpt_space *space;
	pmpt_pool *pool;
	sqlite3 *db;

	(void)state;
	expect_no_open("d", "&mode=ro", SQLITE_CANTOPEN, "No such file");
	expect_no_open("d", "&mode=rw", SQLITE_CANTOPEN, "No such file");
	expect_no_open("d", "&poolsize=1", SQLITE_CANTOPEN, "bad size");
	expect_no_open("d", "&poolsize=x", SQLITE_CANTOPEN, "bad size");
	assert_int_equal(
		sqlite3_open_v2("d", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, VFS_NAME),
		SQLITE_CANTOPEN); /* no pool named, none open */
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	db = open_db("d", "");
	expect_no_open("e", "&mode=rw", SQLITE_CANTOPEN, "e");
	sql(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	close_db(db);
	db = open_db("d", "&mode=ro");
	fails(db, "INSERT INTO t(b) VALUES (1)", SQLITE_READONLY);
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 0);
	close_db(db);
	/* a space of somebody else's */
	assert_int_equal(pmpt_open(path, 0, &pool), 0);
	assert_int_equal(pmpt_space_create(pool, "alien", &space), 0);
	assert_int_equal(pmpt_write(NULL, space, 0, zero, sizeof(zero)), 0);
	pmpt_space_close(space);
	expect_no_open("d", "", SQLITE_BUSY, "pool in use");
	assert_int_equal(pmpt_close(pool), 0);
	expect_no_open("alien", "", SQLITE_NOTADB, "no database");
	/* damage, and what is no pool */
	write_at(path, 0, zero, sizeof(zero));
	expect_no_open("d", "", SQLITE_NOTADB, "not a libpmpt pool");
	assert_int_equal(truncate(path, 0), 0);
	expect_no_open("d", "", SQLITE_NOTADB, "not a libpmpt pool");
}

/* Where a pool cannot be, or not be had. */
static void test_places(void **state)
{
	char small[PLACE_BYTES], uri[URI_BYTES * 2];
	int status = 0;
	sqlite3 *db;
	pid_t child;

	(void)state;
	db = open_db("d", "");
	close_db(db);
	/* as a user who may not */
	assert_int_equal(chmod(path, 0), 0);
	child = fork();
	if (child == 0) {
		if (geteuid() == 0 && setuid(65534))
			_exit(1);
		expect_no_open("d", "", SQLITE_CANTOPEN, "Permission denied");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(
		sqlite3_open_v2("file:d?vfs=pmpt&pool=/dev/null/pool", &db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
		SQLITE_CANTOPEN);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	(void)snprintf(uri, sizeof(uri), "file:d?vfs=pmpt&pool=%s", dir);
	assert_int_not_equal(
		sqlite3_open_v2(uri, &db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	/* a file system that is too small */
	if (!place_small(small, 24 * MIB))
		skip();
	(void)snprintf(uri, sizeof(uri), "file:d?vfs=pmpt&pool=%s/pool&poolsize=64M", small);
	assert_int_equal(
		sqlite3_open_v2(uri, &db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
		SQLITE_FULL);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(files_in(small), 0);
	place_remove(small);
}

/* ---- damage -------------------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t random_below(uint64_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 20) % n;
}

/* What a child does with a pool that is damaged somewhere: any answer is right, but that it ends. */
_Noreturn static void use_damaged(void)
{
	sqlite3 *db;

	for (int i = 0; i < 5; i++) /* not cmocka's */
		(void)signal((int[]){ SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT }[i], SIG_DFL);
	alarm(60);
	(void)freopen("/dev/null", "w", stderr);
	if (try_open("d", "&mode=rw", &db) == SQLITE_OK) {
		(void)exec(db, "PRAGMA integrity_check; PRAGMA mmap_size=1000000");
		(void)exec(db, "SELECT sum(length(b)) FROM t");
		(void)exec(db, "UPDATE t SET b = zeroblob(2000) WHERE a < 20; VACUUM");
	}
	_exit(sqlite3_close(db) != SQLITE_OK);
}

static void test_damaged(void **state)
{
	enum { ROUNDS = 60, POOL = 16 << 20 };
	char *whole = malloc(POOL);
	unsigned refused = 0;
	uint64_t
		ours; /* from the root object on; before it is libpmemobj's, which is not ours to survive */
	FILE *file;

	(void)state;
	assert_non_null(whole);
	sqlite3 *db = open_db("d", "&poolsize=16M");

	sql(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	sql(db, FILL("300"));
	close_db(db);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fread(whole, 1, POOL, file), POOL);
	assert_int_equal(fclose(file), 0);
	memcpy(&ours, whole + 0x1800, sizeof(ours)); /* where libpmemobj has it */
	assert_in_range(ours, 1, POOL / 2);
	ours = (ours + 7) & ~7ull;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t reach = round % 2 ? 1 << 20 : POOL - ours;
		int status;
		pid_t child;

		seed = round;
		write_at(path, 0, whole, POOL);
		for (unsigned i = 0; i < 1 + round % 7 * 20; i++) {
			uint64_t garbage = random_below(UINT64_MAX >> 20);

			write_at(path, ours + random_below(reach / 8) * 8, &garbage,
				 sizeof(garbage));
		}
		child = fork();
		if (child == 0)
			use_damaged();
		assert_int_equal(waitpid(child, &status, 0), child);
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			print_error("round %u: status %#x\n", round, status);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		if (try_open("d", "&mode=rw", &db) != SQLITE_OK)
			refused++;
		(void)sqlite3_close(db);
	}
	assert_in_range(refused, 1, ROUNDS - 1);
	free(whole);
}

/* ---- a crash in the middle ------------------------------------------------------------------------ */

static void test_between_syncs(void **state)
{
	sqlite3_vfs shim;
	char text[URI_BYTES * 2];
	int64_t k = 0;
	int status, step = 0;

	(void)state;
	sqlite_shim(&shim, "shim", sqlite3_vfs_find(VFS_NAME));
	assert_int_equal(sqlite3_vfs_register(&shim, 0), SQLITE_OK);
	do {
		sqlite3 *db;
		int64_t now;
		pid_t child = fork();

		step++;
		if (child == 0) {
			db = open_db("a", "");
			(void)snprintf(text, sizeof(text),
				       "ATTACH 'b' AS b; ATTACH 'file:c?vfs=shim&pool=%s' AS c; "
				       "ATTACH 'file:d?vfs=shim&pool=%s' AS d",
				       path, path);
			sql(db, text);
			sql(db, "CREATE TABLE IF NOT EXISTS main.t(x); CREATE TABLE IF NOT EXISTS "
				"b.t(x); CREATE TABLE IF NOT EXISTS c.t(x); CREATE TABLE IF NOT "
				"EXISTS d.t(x)");
			shim_dies_at = step;
			sql(db, "BEGIN; INSERT INTO main.t VALUES (1); INSERT INTO b.t VALUES (1); "
				"INSERT INTO c.t VALUES (1); INSERT INTO d.t VALUES (1); COMMIT");
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		db = open_db("a", "");
		sql(db, "ATTACH 'b' AS b; ATTACH 'c' AS c; ATTACH 'd' AS d");
		now = number(db, "SELECT count(*) FROM main.t");
		assert_int_equal(number(db, "SELECT count(*) FROM b.t"), now);
		assert_int_equal(number(db, "SELECT count(*) FROM c.t"), now);
		assert_int_equal(number(db, "SELECT count(*) FROM d.t"), now);
		assert_in_range(now, k, k + 1);
		k = now;
		assert_string_equal(text_of(db, "PRAGMA c.integrity_check"), "ok");
		close_db(db);
	} while (WIFSIGNALED(status));
	assert_int_equal(status, 0);
	assert_true(step > 2);
	assert_int_equal(sqlite3_vfs_unregister(&shim), SQLITE_OK);
	pool_is_whole();
}

/* A child has no use of its parent's connections; one of its own is refused as any process's is. */
static void test_fork(void **state)
{
	sqlite3 *db = open_db("d", ""), *own;
	int status = 0;
	pid_t child;

	(void)state;
	sql(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); BEGIN; INSERT INTO t(b) VALUES (1)");
	child = fork();
	if (child == 0) {
		alarm(20);
		if (exec(db, "COMMIT") == SQLITE_OK)
			_exit(1);
		if (try_open("d", "", &own) != SQLITE_BUSY)
			_exit(2);
		(void)sqlite3_close(own);
		(void)sqlite3_close(db);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	sql(db, "COMMIT");
	close_db(db);
	/* when the parent has let go, the child can have it */
	child = fork();
	if (child == 0) {
		alarm(20);
		if (try_open("d", "", &own) || exec(own, "INSERT INTO t(b) VALUES (2)") ||
		    sqlite3_close(own))
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	db = open_db("d", "");
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 2);
	close_db(db);
	pool_is_whole();
}

/* Who reads for ever keeps the frames that it sees, and no others; if nothing is left beside them writers
 * are told so, and it reads on. */
static void test_reader_for_ever(void **state)
{
	sqlite3 *r = open_db("d", "&poolsize=16M"), *w = open_db("d", "");
	int rc = SQLITE_OK;

	(void)state;
	sql(w, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	sql(w, FILL("500"));
	sql(r, "BEGIN");
	assert_int_equal(number(r, "SELECT sum(length(b)) FROM t"), 1500000);
	for (int i = 0; i < 100; i++)
		sql(w, "UPDATE t SET b = randomblob(2999)");
	assert_int_equal(number(r, "SELECT sum(length(b)) FROM t"), 1500000);
	for (int i = 0; i < 100 && rc == SQLITE_OK; i++)
		rc = exec(w, FILL("100"));
	assert_int_equal(rc, SQLITE_FULL);
	assert_non_null(strstr(text_of(w, "SELECT pmpt_error()"), "while readers hold frames"));
	assert_int_equal(number(r, "SELECT sum(length(b)) FROM t"), 1500000);
	assert_int_equal(number(w, "SELECT json_extract(pmpt_stat(), '$.readers')"), 1);
	sql(r, "COMMIT");
	sql(w, "UPDATE t SET b = randomblob(1000) WHERE a <= 300");
	assert_int_equal(number(r, "SELECT sum(length(b)) FROM t WHERE a <= 300"), 300000);
	close_db(r);
	close_db(w);
	pool_is_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_TMPFS(test_names),           ON_TMPFS(test_refused),       ON_TMPFS(test_places),
		ON_TMPFS(test_damaged),         ON_TMPFS(test_between_syncs), ON_TMPFS(test_fork),
		ON_TMPFS(test_reader_for_ever), ON_TMPFS(test_full),
	};

	(void)unsetenv("PMPT_POOL");
	(void)setenv("PMPT_POOL_SIZE", "128M", 1);
	(void)sqlite3_initialize();
	if (vfs_register(false))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
