/* SPDX-License-Identifier: BSD-3-Clause */
/* test_sqlite_kill -- SIGKILL under load, and threads side by side.
 *
 * Writers move amounts between accounts of two attached databases and acknowledge each commit over a pipe;
 * now and then one rebuilds a large table, vacuums, or rolls back.  After each kill both databases are whole,
 * every acknowledged transfer is there, in both or in none, and the verifier finds nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"
#include "vfs.h"

#define ROUNDS   20
#define WRITERS  3
#define ACCOUNTS 50
#define TOTAL    (ACCOUNTS * 1000)

static sqlite3 *open_both(void)
{
	char sql[PLACE_BYTES + 128];
	sqlite3 *db;

	(void)snprintf(sql, sizeof(sql), "file:left?vfs=pmpt&pool=%s", path);
	if (sqlite3_open_v2(sql, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI,
			    NULL))
		return NULL;
	(void)sqlite3_busy_timeout(db, 20000);
	(void)snprintf(sql, sizeof(sql), "ATTACH 'file:right?vfs=pmpt&pool=%s' AS r", path);
	return sqlite3_exec(db, sql, NULL, NULL, NULL) ? NULL : db;
}

static int64_t number(sqlite3 *db, const char *query)
{
	int64_t n = -1;
	sqlite3_stmt *s;

	if (sqlite3_prepare_v2(db, query, -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return n;
}

/* Transfer n of writer t: between an account on the left and one on the right.  Both note it. */
static int transfer(sqlite3 *db, unsigned t, int64_t n)
{
	char sql[1024];
	unsigned amount = (unsigned)(n % 17), from = (unsigned)(n * 31 + t) % ACCOUNTS,
		 to = (unsigned)(n * 17 + 7 * t) % ACCOUNTS;
	int rc;

	(void)snprintf(
		sql, sizeof(sql),
		"BEGIN IMMEDIATE; UPDATE main.account SET amount = amount - %u WHERE id = %u; "
		"UPDATE r.account SET amount = amount + %u WHERE id = %u; "
		"INSERT INTO main.done VALUES (%u, %lld, zeroblob(%lld)); "
		"INSERT INTO r.done VALUES (%u, %lld, NULL); COMMIT",
		amount, from, amount, to, t, (long long)n, (long long)(n % 13) * 300, t,
		(long long)n);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc && !sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int upheaval(sqlite3 *db, int64_t n)
{
	static const char *const what[] = {
		"VACUUM",
		"PRAGMA cache_size=5; BEGIN IMMEDIATE; UPDATE main.account SET amount = 0; UPDATE r.done SET b = n; "
		"ROLLBACK; PRAGMA cache_size=100",
		"BEGIN IMMEDIATE; DELETE FROM r.big; WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM i "
		"WHERE n < 400) INSERT INTO r.big SELECT randomblob(2500) FROM i; COMMIT",
		"VACUUM r",
	};
	int rc = sqlite3_exec(db, what[n % 4], NULL, NULL, NULL);

	if (rc && !sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

struct writer {
	unsigned t;
	int fd;
	int64_t until; /* 0: for ever */
	int64_t made;
};

/* Busy is no failure: others are. */
static bool hard(int rc) { return (rc & 0xff) != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY; }

static void *writer(void *arg)
{
	struct writer *w = arg;
	sqlite3 *db = open_both();
	char last[128];

	if (!db)
		_exit(3);
	(void)snprintf(last, sizeof(last), "SELECT ifnull(max(n), 0) FROM main.done WHERE t = %u",
		       w->t);
	for (int64_t n = number(db, last) + 1; !w->until || w->made < w->until;) {
		int64_t ack[2] = { w->t, n };
		int rc = transfer(db, w->t, n);

		if (hard(rc)) {
			fprintf(stderr, "transfer: %s\n", sqlite3_errmsg(db));
			_exit(4);
		}
		if (rc)
			continue;
		if (w->fd >= 0 && write(w->fd, ack, sizeof(ack)) != sizeof(ack))
			_exit(5);
		w->made++;
		n++;
		if (n % 20 == w->t) {
			rc = upheaval(db, n / 20);
			if (hard(rc)) {
				fprintf(stderr, "upheaval %lld: %d\n", (long long)n / 20, rc);
				_exit(6);
			}
		}
	}
	(void)sqlite3_close(db);
	return NULL;
}

static void prepare(void)
{
	sqlite3 *db = open_both();
	char *error = NULL;

	assert_non_null(db);
	(void)sqlite3_exec(
		db,
		"CREATE TABLE main.account(id INTEGER PRIMARY KEY, amount INT);"
		"CREATE TABLE r.account(id INTEGER PRIMARY KEY, amount INT);"
		"CREATE TABLE main.done(t INT, n INT, b, UNIQUE(t, n));"
		"CREATE TABLE r.done(t INT, n INT, b, UNIQUE(t, n)); CREATE TABLE r.big(b);"
		"WITH RECURSIVE i(n) AS (VALUES(0) UNION ALL SELECT n + 1 FROM i WHERE n < 49) "
		"INSERT INTO main.account SELECT n, 500 FROM i;"
		"INSERT INTO r.account SELECT * FROM main.account;",
		NULL, NULL, &error);
	if (error)
		fail_msg("%s", error);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void found(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

static int ok_row(void *bad, int n, char **text, char **name)
{
	(void)n, (void)name;
	if (strcmp(text[0], "ok")) {
		print_error("integrity_check: %s\n", text[0]);
		*(bool *)bad = true;
	}
	return 0;
}

#define SUM "SELECT (SELECT sum(amount) FROM main.account) + (SELECT sum(amount) FROM r.account)"
#define APART                                                                                        \
	"SELECT count(*) FROM (SELECT t, n FROM main.done EXCEPT SELECT t, n FROM r.done UNION ALL " \
	"SELECT * FROM (SELECT t, n FROM r.done EXCEPT SELECT t, n FROM main.done))"

static void judge(const int64_t acked[WRITERS])
{
	struct pmpt_check summary;
	sqlite3 *db;
	bool bad = false;

	assert_int_equal(pmpt_check(path, found, NULL, NULL, &summary), 0);
	assert_int_equal(summary.findings, 0);
	db = open_both();
	assert_non_null(db);
	assert_int_equal(sqlite3_exec(db, "PRAGMA main.integrity_check; PRAGMA r.integrity_check",
				      ok_row, &bad, NULL),
			 SQLITE_OK);
	assert_false(bad);
	assert_int_equal(number(db, SUM), TOTAL);
	assert_int_equal(number(db, APART), 0);
	for (unsigned t = 0; t < WRITERS; t++) {
		char query[128];

		(void)snprintf(query, sizeof(query), "SELECT count(*) FROM r.done WHERE t = %u", t);
		assert_in_range(number(db, query), acked[t], acked[t] + 1);
	}
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

_Noreturn static void child(int fd)
{
	struct writer w[WRITERS];
	pthread_t thread;

	for (unsigned t = 0; t < WRITERS; t++) {
		w[t] = (struct writer){ t, fd, 0, 0 };
		if (pthread_create(&thread, NULL, writer, &w[t]))
			_exit(2);
	}
	for (;;)
		pause();
}

static void test_kill(void **state)
{
	int64_t acked[WRITERS] = { 0 }, total = 0;

	(void)state;
	prepare();
	for (unsigned round = 0; round < ROUNDS; round++) {
		int64_t ack[2];
		unsigned wanted = 5 + round * 37 % 120, got = 0;
		int fd[2], status;
		pid_t pid;

		assert_int_equal(pipe(fd), 0);
		pid = fork();
		if (pid == 0) {
			close(fd[0]);
			child(fd[1]);
		}
		close(fd[1]);
		/* to the end: what was acknowledged before the kill counts */
		while (read(fd[0], ack, sizeof(ack)) == sizeof(ack)) {
			acked[ack[0]] = ack[1];
			if (++got == wanted)
				kill(pid, SIGKILL);
		}
		close(fd[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		total += got;
		judge(acked);
	}
	print_message("%u rounds, %lld acknowledged transfers\n", ROUNDS, (long long)total);
}

/* ---- at every event ---------------------------------------------------------------------------- */

static unsigned events_left;

static void die_at_event(void *ctx, const struct pm_event *e)
{
	(void)ctx, (void)e;
	if (--events_left == 0)
		(void)raise(SIGKILL);
}

/* Transaction k: one over both databases, a vacuum, one that is rolled back after it has spilled. */
static int change(sqlite3 *db, int64_t k)
{
	char sql[512];

	(void)snprintf(sql, sizeof(sql),
		       "PRAGMA cache_size=2; BEGIN; UPDATE main.account SET amount = %lld; "
		       "INSERT INTO main.done VALUES (0, %lld, zeroblob(%lld)); "
		       "UPDATE r.account SET amount = %lld; DELETE FROM r.done WHERE n < %lld; "
		       "INSERT INTO r.done VALUES (0, %lld, NULL); COMMIT; VACUUM r; "
		       "BEGIN; UPDATE main.account SET amount = -1; DELETE FROM r.done; ROLLBACK",
		       (long long)k, (long long)k, (long long)(k % 5 * 2000), (long long)k,
		       (long long)k - 3, (long long)k);
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The number of the transaction that is there. */
static int64_t state_there(void)
{
	sqlite3 *db = open_both();
	int64_t left, right;
	bool bad = false;

	assert_non_null(db);
	assert_int_equal(sqlite3_exec(db, "PRAGMA main.integrity_check; PRAGMA r.integrity_check",
				      ok_row, &bad, NULL),
			 SQLITE_OK);
	assert_false(bad);
	left = number(db, "SELECT max(n) FROM main.done");
	right = number(db, "SELECT max(n) FROM r.done");
	assert_int_equal(left, right);
	assert_int_equal(number(db, "SELECT count(*) FROM main.done"), left);
	for (unsigned side = 0; side < 2; side++) {
		const char *table = side ? "SELECT min(amount) FROM r.account"
					 : "SELECT max(amount) FROM main.account";

		assert_int_equal(number(db, table), left ? left : 500);
	}
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return left;
}

/* Killed at each flush, stream, fence and store of the library in turn.  What of these a power failure may
 * lose besides is crashsim's to try. */
static void test_every_event(void **state)
{
	struct pmpt_check summary;
	int64_t k = 0;
	unsigned n = 0;
	int status;

	(void)state;
	prepare();
	do {
		pid_t pid = fork();
		int64_t now;

		n++;
		if (pid == 0) {
			sqlite3 *db = open_both();

			events_left = n;
			pm_observer = die_at_event;
			_exit(!db || change(db, k + 1));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		now = state_there();
		assert_true(now == k || now == k + 1);
		k = now;
	} while (WIFSIGNALED(status));
	assert_int_equal(status, 0);
	assert_int_equal(pmpt_check(path, found, NULL, NULL, &summary), 0);
	assert_int_equal(summary.findings, 0);
	assert_true(n > 50 && k > 5);
	print_message("%u events, %lld transactions\n", n, (long long)k);
}

/* ---- threads ----------------------------------------------------------------------------------- */

static atomic_bool over;

/* Whatever it sees is one state of each database: sums of one are as many as its transfers say. */
static void *reader(void *arg)
{
	sqlite3 *db = open_both();
	unsigned *reads = arg;

	if (!db)
		_exit(7);
	if (*reads)
		(void)sqlite3_exec(db, "PRAGMA mmap_size=100000000; PRAGMA r.mmap_size=100000000",
				   NULL, NULL, NULL);
	for (*reads = 0; !atomic_load(&over); ++*reads) {
		bool bad = false;
		int64_t n;

		if (sqlite3_exec(db, "BEGIN", NULL, NULL, NULL))
			_exit(8);
		n = number(
			db,
			"SELECT ifnull((SELECT sum(n % 17) FROM main.done), 0) + (SELECT sum(amount) FROM main.account)");
		if (n != TOTAL / 2 && n != -1) {
			fprintf(stderr, "the left database has %lld\n", (long long)n);
			_exit(9);
		}
		if (sqlite3_exec(db, "PRAGMA quick_check; COMMIT", ok_row, &bad, NULL) || bad) {
			fprintf(stderr, "reader: %s\n", sqlite3_errmsg(db));
			_exit(10);
		}
	}
	(void)sqlite3_close(db);
	return NULL;
}

static void test_threads(void **state)
{
	struct writer w[WRITERS];
	pthread_t write_thread[WRITERS], read_thread[2];
	unsigned reads[2] = { 0, 1 };
	int64_t made[WRITERS];

	(void)state;
	prepare();
	for (unsigned t = 0; t < WRITERS; t++) {
		w[t] = (struct writer){ t, -1, 60, 0 };
		assert_int_equal(pthread_create(&write_thread[t], NULL, writer, &w[t]), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&read_thread[i], NULL, reader, &reads[i]), 0);
	for (unsigned t = 0; t < WRITERS; t++) {
		assert_int_equal(pthread_join(write_thread[t], NULL), 0);
		made[t] = w[t].made;
	}
	atomic_store(&over, true);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(read_thread[i], NULL), 0);
	judge(made);
	print_message("%u and %u reads\n", reads[0], reads[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { ON_TMPFS(test_threads), ON_TMPFS(test_kill),
					    ON_TMPFS(test_every_event) };

	(void)setenv("PMPT_POOL_SIZE", "96M", 1);
	(void)sqlite3_initialize();
	if (vfs_register(false))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
