/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite -- workloads: SQLite over the VFS of examples/sqlite-vfs.  After each crash the verifier and
 * SQLite's own integrity check find nothing, and the databases are what they were after the last
 * statement that has returned, or what the one under way makes of them: both of them.
 *
 * ORACLE	the same statements in SQLite's databases in memory, which never come near the VFS.
 * SQLITE itself is not instrumented, and need not be: what it reads of the pool and what is written there
 *	goes through the VFS and the library.  A check that fails in the midst of a call leaves behind
 *	what that call held: the VFS forgets it, as in the child of a fork().
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "pm_bridge.h"

#include "explore_state.h"
#include "hooks.h"
#include "vfs.h"

#define FRAMES     112
#define STEPS      4
#define CHECKPOINT 100 /* as an operation, after a step */

struct script {
	bool pair; /* a second database is attached: "aux" */
	unsigned half_lines;
	const char *pragmas, *before;
	const char *step[STEPS + 1]; /* each an operation */
};

static const struct script *script;  /* the one that `expected` is for */
static uint64_t expected[STEPS + 1]; /* after so many steps */
static sqlite3 *db;

/* ---- the pool of the VFS ------------------------------------------------------------------------- */

/* Instead of the calls with which the VFS opens and closes a file (crashsim.mk). */
int sqlite_pool_open(const char *path, unsigned flags, pmpt_pool **out);
int sqlite_pool_close(pmpt_pool *closed);
int sqlite_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

static void (*forget_connections)(void);

int sqlite_pool_open(const char *path, unsigned flags, pmpt_pool **out)
{
	int rc = core_open(bridge_region(region_base), flags | PMPT_OPEN_NO_GROW, &pool);

	(void)path;
	if (!rc)
		*out = pool;
	return rc;
}

int sqlite_pool_close(pmpt_pool *closed)
{
	pool = NULL;
	return core_close(closed, false);
}

int sqlite_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	forget_connections = child;
	return pthread_atfork(prepare, parent, child);
}

/* ---- statements ---------------------------------------------------------------------------------- */

__attribute__((noreturn)) static void failed(sqlite3 *c, const char *what)
{
	char *detail = report_last();

	if (stage == STAGE_RECOVER)
		crashsim_fail("%s: %s (%s)", what, sqlite3_errmsg(c), detail);
	(void)fprintf(stderr, "crashsim: %s: %s (%s)\n", what, sqlite3_errmsg(c), detail);
	exit(2);
}

static void sql(sqlite3 *c, const char *text)
{
	if (text && sqlite3_exec(c, text, NULL, NULL, NULL))
		failed(c, text);
}

static void begin_sqlite(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	(void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD); /* a check that fails leaves no mutex */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (vfs_register(false)) {
		(void)fputs("crashsim: SQLite does not take the VFS\n", stderr);
		exit(2);
	}
}

static sqlite3 *connect_to(const char *main, const char *aux, const struct script *s)
{
	sqlite3 *c = NULL;
	char attach[80];

	if (sqlite3_open_v2(main, &c, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI,
			    NULL))
		failed(c, "open");
	(void)snprintf(attach, sizeof(attach), "ATTACH '%s' AS aux", aux);
	sql(c, s->pair ? attach : NULL);
	sql(c, s->pragmas);
	return c;
}

static sqlite3 *connect_vfs(const struct script *s)
{
	return connect_to("file:left?vfs=pmpt&pool=/buffer", "file:right?vfs=pmpt&pool=/buffer", s);
}

/* ---- what a database holds ----------------------------------------------------------------------- */

static void mix(uint64_t *h, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		*h = (*h ^ p[i]) * 0x100000001b3u;
}

static sqlite3_stmt *prepare(sqlite3 *c, const char *format, const char *schema, const char *table)
{
	char text[160];
	sqlite3_stmt *st;

	(void)snprintf(text, sizeof(text), format, schema, table);
	if (sqlite3_prepare_v2(c, text, -1, &st, NULL))
		failed(c, text);
	return st;
}

static void mix_rows(sqlite3 *c, uint64_t *h, const char *format, const char *schema,
		     const char *table)
{
	sqlite3_stmt *st = prepare(c, format, schema, table);
	int rc;

	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			int type = sqlite3_column_type(st, i);

			mix(h, &type, sizeof(type));
			mix(h, sqlite3_column_blob(st, i), (size_t)sqlite3_column_bytes(st, i));
		}
	}
	if (rc != SQLITE_DONE)
		failed(c, table);
	(void)sqlite3_finalize(st);
}

static uint64_t content(sqlite3 *c, const struct script *s)
{
	static const char *const schemas[] = { "main", "aux" };
	uint64_t h = 0xcbf29ce484222325u;

	for (unsigned i = 0; i < 1u + s->pair; i++) {
		sqlite3_stmt *tables =
			prepare(c, "SELECT name FROM %s.%s WHERE type = 'table' ORDER BY name",
				schemas[i], "sqlite_schema");

		mix_rows(c, &h, "SELECT type, name, sql FROM %s.%s ORDER BY name", schemas[i],
			 "sqlite_schema");
		while (sqlite3_step(tables) == SQLITE_ROW)
			mix_rows(c, &h, "SELECT rowid, * FROM %s.%s ORDER BY rowid", schemas[i],
				 (const char *)sqlite3_column_text(tables, 0));
		if (sqlite3_finalize(tables))
			failed(c, "tables");
	}
	return h;
}

static void whole(sqlite3 *c, const char *schema)
{
	sqlite3_stmt *st = prepare(c, "PRAGMA %s.%s", schema, "integrity_check");

	if (sqlite3_step(st) != SQLITE_ROW)
		failed(c, "integrity_check");
	if (strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0)
		crashsim_fail("%s: %s", schema, sqlite3_column_text(st, 0));
	(void)sqlite3_finalize(st);
}

static void expect(const struct script *s)
{
	sqlite3 *c;

	if (script == s)
		return;
	c = connect_to(":memory:", ":memory:", s);
	sql(c, s->before);
	for (unsigned n = 0; n <= STEPS; n++) {
		expected[n] = content(c, s);
		sql(c, s->step[n]);
	}
	(void)sqlite3_close(c);
	script = s;
}

/* ---- the workload --------------------------------------------------------------------------------- */

static void setup(void *pm, const struct script *s)
{
	begin_sqlite();
	bridge_format(pm, &(struct shape){ .lanes = 2,
					   .half_lines = s->half_lines,
					   .bulk_lines = 128,
					   .spaces = 3,
					   .frames = FRAMES });
	db = connect_vfs(s);
	sql(db, s->before);
	(void)content(db, s); /* its pages are in SQLite's memory, as they are later */
	if (pool)
		MUST(pmpt_checkpoint(pool));
}

static void run(const struct script *s)
{
	enum stage was;

	bridge_rules();
	for (unsigned n = 0; s->step[n]; n++) {
		crashsim_begin(n);
		sql(db, s->step[n]);
		crashsim_returned(n);
		if (n % 2 == 0) { /* keeps the states few */
			crashsim_begin(CHECKPOINT + n);
			MUST(pmpt_checkpoint(pool));
			crashsim_returned(CHECKPOINT + n);
		}
	}
	hook_settle();
	was = stage;
	stage = STAGE_IDLE;
	(void)sqlite3_close(db);
	db = NULL;
	stage = was;
}

static void check(void *pm, const struct script *s)
{
	static sqlite3 *c; /* of a check that has failed it is left over */
	unsigned returned = 0;
	uint64_t found;

	begin_sqlite();
	expect(s);
	bridge_check_verifier(pm);
	if (c) {
		(void)pthread_mutex_trylock(&registry_lock);
		forget_connections();
	}
	c = connect_vfs(s);
	whole(c, "main");
	if (s->pair)
		whole(c, "aux");
	found = content(c, s);
	while (s->step[returned] && crashsim_state(returned) == CRASHSIM_RETURNED)
		returned++;
	bool open = s->step[returned] && crashsim_state(returned) == CRASHSIM_OPEN;
	bool next = found != expected[returned] && open && found == expected[returned + 1];

	if (found != expected[returned] && !next)
		crashsim_fail("the databases are not what %u statements make of them%s", returned,
			      open ? ", nor with the one under way" : "");
	crashsim_outcome(returned + next);
	if (sqlite3_close(c))
		crashsim_fail("close: %s", sqlite3_errmsg(c));
	c = NULL;
}

#define SQL(ident, what, ...)                                                                    \
	static const struct script ident = { __VA_ARGS__ };                                      \
	static void ident##_setup(void *pm) { setup(pm, &ident); }                               \
	static void ident##_run(void *pm)                                                        \
	{                                                                                        \
		(void)pm;                                                                        \
		run(&ident);                                                                     \
	}                                                                                        \
	static void ident##_check(void *pm) { check(pm, &ident); }                               \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES),                   \
			  .setup = ident##_setup, .run = ident##_run, .recover = bridge_recover, \
			  .check = ident##_check)

#define ROWS(n) "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM i WHERE n < " #n ") "

SQL(sql_commit,
    "SQLite: a table made, rows inserted, changed and deleted, each committed by itself",
    .half_lines = 32, .pragmas = "PRAGMA page_size=1024", /* four in a block of the VFS */
    .step = { "CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
	      "INSERT INTO t VALUES (1, 'one'), (2, zeroblob(3000))",
	      "UPDATE t SET b = 'two' WHERE a = 2", "DELETE FROM t WHERE a = 1" });

SQL(sql_rollback,
    "SQLite: a transaction that the page cache spills, and its savepoint, rolled back",
    .half_lines = 32, .pragmas = "PRAGMA cache_size=2",
    .before = "CREATE TABLE t(a INTEGER PRIMARY KEY, b);" ROWS(
	    6) "INSERT INTO t SELECT n, zeroblob(3000 + n) FROM i",
    .step = {
	    "BEGIN; UPDATE t SET b = zeroblob(2500); INSERT INTO t SELECT a + 10, b FROM t; ROLLBACK",
	    "BEGIN; DELETE FROM t WHERE a = 1; SAVEPOINT s; UPDATE t SET b = zeroblob(3500); "
	    "ROLLBACK TO s; COMMIT",
	    "UPDATE t SET b = 'three' WHERE a = 3" });

SQL(sql_vacuum, "SQLite: VACUUM makes a database smaller, an insert makes it larger again",
    .half_lines = 32,
    .before = "CREATE TABLE t(a INTEGER PRIMARY KEY, b);" ROWS(
	    8) "INSERT INTO t SELECT n, zeroblob(3000 + n) FROM i; DELETE FROM t WHERE a % 4 > 0",
    .step = { "VACUUM", "INSERT INTO t VALUES (3, zeroblob(7000))" });

SQL(sql_pair, "SQLite: two attached databases, changed together in one transaction", .pair = true,
    .half_lines = 32,
    .before =
	    "CREATE TABLE main.t(a INTEGER PRIMARY KEY, b); CREATE TABLE aux.u(a INTEGER PRIMARY KEY, b);"
	    "INSERT INTO t VALUES (1, 100); INSERT INTO u VALUES (1, 100)",
    .step = {
	    "BEGIN; UPDATE t SET b = b - 10; UPDATE u SET b = b + 10; COMMIT",
	    "BEGIN; INSERT INTO u VALUES (2, zeroblob(3000)); INSERT INTO t VALUES (2, 'too'); COMMIT" });

SQL(sql_bulk, "SQLite: a transaction larger than the log's lane", .half_lines = 8,
    .before = "CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
    .step = { ROWS(12) "INSERT INTO t SELECT n, zeroblob(3000 + n) FROM i",
	      "UPDATE t SET b = 'five' WHERE a = 5" });
