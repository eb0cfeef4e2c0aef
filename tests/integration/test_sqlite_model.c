/* SPDX-License-Identifier: BSD-3-Clause */
/* test_sqlite_model -- the same random SQL through the VFS and through the ordinary one: each statement
 * has the same result and the same rows, and what is there in the end is the same, page counts included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"
#include "vfs.h"

#define STATEMENTS 250
#define TABLES     4
#define SQL_BYTES  512

struct side {
	sqlite3 *db;
	char main[PLACE_BYTES + 64], aux[PLACE_BYTES + 64];
	const char *vfs;
	uint64_t hash; /* of the rows of a statement */
	unsigned rows;
};

static struct side ours, theirs;
static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static int row(void *arg, int n, char **text, char **name)
{
	struct side *s = arg;

	(void)name;
	for (int i = 0; i < n; i++) {
		for (const char *c = text[i] ? text[i] : "\001null"; *c; c++)
			s->hash = (s->hash ^ (unsigned char)*c) * 0x100000001b3ull;
		s->hash = (s->hash ^ 0xff) * 0x100000001b3ull;
	}
	s->rows++;
	return 0;
}

static int run(struct side *s, const char *sql)
{
	s->hash = 0xcbf29ce484222325ull;
	s->rows = 0;
	(void)sqlite3_exec(s->db, sql, row, s, NULL);
	return sqlite3_extended_errcode(s->db);
}

static void both(const char *sql)
{
	int a = run(&ours, sql), b = run(&theirs, sql);

	if (a == b && ours.hash == theirs.hash && ours.rows == theirs.rows)
		return;
	print_error("%s\n  ours: %d, %u rows: %s\n  theirs: %d, %u rows: %s\n", sql, a, ours.rows,
		    sqlite3_errmsg(ours.db), b, theirs.rows, sqlite3_errmsg(theirs.db));
	fail();
}

static void open_side(struct side *s)
{
	char sql[SQL_BYTES];

	assert_int_equal(
		sqlite3_open_v2(s->main, &s->db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI,
				s->vfs),
		SQLITE_OK);
	(void)snprintf(sql, sizeof(sql), "ATTACH '%s' AS aux", s->aux);
	assert_int_equal(run(s, sql), SQLITE_OK);
}

static void both_open(unsigned page_bytes)
{
	char sql[SQL_BYTES];

	open_side(&ours);
	open_side(&theirs);
	(void)snprintf(sql, sizeof(sql), "PRAGMA page_size=%u; PRAGMA aux.page_size=%u", page_bytes,
		       page_bytes);
	both(sql);
}

static void both_close(void)
{
	assert_int_equal(sqlite3_close(ours.db), SQLITE_OK);
	assert_int_equal(sqlite3_close(theirs.db), SQLITE_OK);
}

static void compare_all(void)
{
	both("PRAGMA main.integrity_check");
	both("PRAGMA aux.integrity_check");
	both("SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_master");
	both("SELECT type, name, tbl_name, rootpage, sql FROM aux.sqlite_master");
	both("PRAGMA main.page_count; PRAGMA aux.page_count; PRAGMA main.freelist_count");
	both("SELECT * FROM main.noted");
	both("SELECT * FROM aux.w");
	both("SELECT * FROM main.f");
	for (unsigned t = 0; t < TABLES; t++) {
		char sql[SQL_BYTES];

		(void)snprintf(sql, sizeof(sql), "SELECT a, quote(b), c FROM %st%u ORDER BY a",
			       t % 2 ? "aux." : "main.", t);
		both(sql);
	}
}

static void insert(char *sql, const char *table)
{
	static const unsigned lengths[] = { 10, 100, 700, 5000, 40000 };

	(void)snprintf(
		sql, SQL_BYTES,
		"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < %u) "
		"INSERT %sINTO %s(a, b, c) SELECT %u + i * %u, "
		"CAST(printf('%%0*d', %u + i %% 50, i * %u) AS BLOB), i * %u %% 97 FROM n",
		1 + below(below(8) ? 20 : 400), below(3) ? "OR REPLACE " : "", table, below(2000),
		1 + below(5), lengths[below(5)] / (below(3) + 1), 1 + below(1000), 1 + below(97));
}

static void statement(char *sql)
{
	static const char *const fixed[] = {
		"BEGIN",
		"BEGIN IMMEDIATE",
		"BEGIN EXCLUSIVE",
		"COMMIT",
		"COMMIT",
		"COMMIT",
		"ROLLBACK",
		"SAVEPOINT one",
		"SAVEPOINT two",
		"RELEASE one",
		"RELEASE two",
		"ROLLBACK TO one",
		"ROLLBACK TO two",
		"VACUUM",
		"VACUUM aux",
		"PRAGMA cache_size=5; PRAGMA aux.cache_size=3",
		"PRAGMA cache_size=200",
		"PRAGMA journal_mode=DELETE",
		"PRAGMA journal_mode=TRUNCATE",
		"PRAGMA journal_mode=PERSIST",
		"PRAGMA journal_mode=MEMORY",
		"PRAGMA synchronous=OFF",
		"PRAGMA synchronous=FULL",
		"PRAGMA locking_mode=EXCLUSIVE",
		"PRAGMA locking_mode=NORMAL",
		"PRAGMA mmap_size=0",
		"PRAGMA mmap_size=100000000",
		"PRAGMA incremental_vacuum(3)",
		"REINDEX",
		"ANALYZE",
		"PRAGMA user_version=7",
		"PRAGMA secure_delete=1",
		"PRAGMA auto_vacuum=2",
		"PRAGMA quick_check",
		"PRAGMA data_version",
		"PRAGMA foreign_keys=ON",
		"CREATE VIEW main.v AS SELECT a, c FROM t0 WHERE c > 20",
		"SELECT count(*), sum(c) FROM v",
		"CREATE TABLE main.noted(a, c)",
		"CREATE TRIGGER main.note AFTER DELETE ON t0 BEGIN INSERT INTO noted VALUES (old.a, old.c); END",
		"DROP TRIGGER main.note",
		"CREATE TEMP TABLE short AS SELECT a, b FROM main.t0",
		"UPDATE short SET b = a; SELECT count(*) FROM short",
		"DROP TABLE temp.short",
		"CREATE TABLE aux.w(k TEXT PRIMARY KEY, v REFERENCES t1(a)) WITHOUT ROWID",
		"INSERT OR REPLACE INTO w SELECT hex(b), NULL FROM main.t0 LIMIT 30",
		"SELECT length(k) FROM w ORDER BY k DESC",
		"ALTER TABLE main.t2 RENAME COLUMN c TO c",
		"ALTER TABLE main.t0 ADD COLUMN d GENERATED ALWAYS AS (a + c)",
		"CREATE VIRTUAL TABLE main.f USING fts5(x)",
		"INSERT INTO f SELECT printf('word%d other', a) FROM t0 LIMIT 50",
		"SELECT rowid FROM f('word5 OR word70')",
		"DROP TABLE main.f",
	};
	char table[16];
	unsigned t = below(TABLES);

	(void)snprintf(table, sizeof(table), "%st%u", t % 2 ? "aux." : "main.", t);
	switch (below(16)) {
	case 0:
		(void)snprintf(sql, SQL_BYTES, "CREATE TABLE %s(a INTEGER PRIMARY KEY, b, c%s)",
			       table, below(2) ? " UNIQUE ON CONFLICT REPLACE" : "");
		break;
	case 1:
		(void)snprintf(sql, SQL_BYTES,
			       below(6) ? "CREATE INDEX %si%u ON t%u(c, b)" : "DROP INDEX %si%u",
			       t % 2 ? "aux." : "main.", t, t);
		break;
	case 2:
		(void)snprintf(sql, SQL_BYTES,
			       below(4) ? "DELETE FROM %s WHERE c < %u" : "DROP TABLE %s", table,
			       below(60));
		break;
	case 3:
	case 4:
		(void)snprintf(
			sql, SQL_BYTES,
			"UPDATE %s SET b = b || CAST(c AS BLOB), c = c + 1 WHERE a %% %u = 0",
			table, 1 + below(20));
		break;
	case 5:
		(void)snprintf(sql, SQL_BYTES,
			       "SELECT a, length(b), c FROM %s WHERE c > %u ORDER BY b", table,
			       below(97));
		break;
	case 6:
		(void)snprintf(sql, SQL_BYTES,
			       "INSERT OR IGNORE INTO %s SELECT a + 5000, c, a FROM %s", table,
			       t % 2 ? "main.t0" : "aux.t1");
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		(void)snprintf(sql, SQL_BYTES, "%s", fixed[below(sizeof(fixed) / sizeof(*fixed))]);
		break;
	default:
		insert(sql, table);
	}
}

static void model(unsigned page_bytes, unsigned round)
{
	(void)snprintf(ours.main, sizeof(ours.main), "file:m%u-%u?pool=%s", page_bytes, round,
		       path);
	(void)snprintf(ours.aux, sizeof(ours.aux), "file:a%u-%u?pool=%s", page_bytes, round, path);
	(void)snprintf(theirs.main, sizeof(theirs.main), "file:%s/m%u-%u", dir, page_bytes, round);
	(void)snprintf(theirs.aux, sizeof(theirs.aux), "file:%s/a%u-%u", dir, page_bytes, round);
	ours.vfs = VFS_NAME;
	seed = page_bytes * 1000 + round;
	both_open(page_bytes);
	for (unsigned i = 0; i < STATEMENTS; i++) {
		char sql[SQL_BYTES];

		statement(sql);
		if (getenv("TRACE"))
			print_message("%s\n", sql);
		both(sql);
		if (i % 50 == 49) {
			both("PRAGMA journal_mode=DELETE");
			compare_all();
		}
		if (i % 100 == 99) {
			both_close();
			both_open(page_bytes);
		}
	}
	(void)run(&ours, "COMMIT");
	(void)run(&theirs, "COMMIT");
	compare_all();
	both_close();
	open_side(&ours);
	open_side(&theirs);
	compare_all();
	both_close();
}

static void models(unsigned page_bytes)
{
	const char *rounds = getenv("ROUNDS");
	unsigned n = rounds ? (unsigned)atoi(rounds) : 2;

	for (unsigned i = 0; i < n; i++) {
		print_message("page size %u, round %u\n", page_bytes, i);
		model(page_bytes, i);
	}
}

static void test_512(void **state) { (void)state, models(512); }
static void test_1024(void **state) { (void)state, models(1024); }
static void test_4096(void **state) { (void)state, models(4096); }
static void test_8192(void **state) { (void)state, models(8192); }
static void test_65536(void **state) { (void)state, models(65536); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_TMPFS(test_512),  ON_TMPFS(test_1024),  ON_TMPFS(test_4096),
		ON_TMPFS(test_8192), ON_TMPFS(test_65536),
	};

	(void)sqlite3_initialize();
	if (vfs_register(false))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
