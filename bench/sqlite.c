/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite -- the VFS of examples/sqlite-vfs beside SQLite's ordinary one: the same statements, the same
 * tmpfs, in turns, synchronous=FULL.  The VFS is the shared object that applications load.
 */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "sqlite.h"

struct options options = { .dir = "/dev/shm" };
static unsigned rows = 20000; /* of the table that is read and updated */
static size_t commits = 5000, reads = 100000;
static char extension[4096 + 16];
static const char *speedtest;
static bool processor_time;

void die(const char *format, ...)
{
	va_list ap;

	fputs("sqlite-bench: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

double clock_ns(void)
{
	struct timespec ts;

	if (!processor_time)
		return now_ns();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double ns_of(struct timeval t) { return (double)t.tv_sec * 1e9 + (double)t.tv_usec * 1e3; }

/* Of programs that were run. */
static double children_ns(void)
{
	struct rusage usage;

	if (!processor_time)
		return now_ns();
	getrusage(RUSAGE_CHILDREN, &usage);
	return ns_of(usage.ru_utime) + ns_of(usage.ru_stime);
}

/* ---- databases ------------------------------------------------------------------------------------- */

static struct base bases[BASES] = {
	{ .name = "pmpt" },
	{ .name = "wal", .mode = "WAL" },
	{ .name = "memory", .mode = "MEMORY" }, /* not crash-safe */
	{ .name = "truncate", .mode = "TRUNCATE" },
	{ .name = "delete", .mode = "DELETE" },
};

static void must(sqlite3 *db, int rc, const char *what)
{
	if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
		die("%s: %s", what, sqlite3_errmsg(db));
}

static void sql(sqlite3 *db, const char *text)
{
	must(db, sqlite3_exec(db, text, NULL, NULL, NULL), text);
}

static void load_vfs(void)
{
	sqlite3 *db;
	char *message = NULL;

	must(NULL, sqlite3_open(":memory:", &db), "open");
	(void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
	if (sqlite3_load_extension(db, extension, "sqlite3_pmptvfs_init", &message))
		die("%s: %s", extension, message);
	(void)sqlite3_close(db);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *text)
{
	sqlite3_stmt *st = NULL;

	must(db, sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL), text);
	return st;
}

static void connect_to(struct connection *c, const char *uri, const char *mode)
{
	char pragma[64];

	must(NULL,
	     sqlite3_open_v2(uri, &c->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI |
				     SQLITE_OPEN_NOMUTEX,
			     NULL),
	     uri);
	(void)sqlite3_busy_timeout(c->db, 10000);
	(void)snprintf(pragma, sizeof(pragma), "PRAGMA journal_mode=%s", mode ? mode : "DELETE");
	sql(c->db, pragma);
	sql(c->db, "PRAGMA synchronous=FULL");
	sql(c->db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v BLOB);"
		   "CREATE TABLE IF NOT EXISTS added(id INTEGER PRIMARY KEY, v BLOB)");
	c->insert = prepare(c->db, "INSERT INTO added(v) VALUES (randomblob(50))");
	c->update = prepare(c->db, "UPDATE t SET v = randomblob(50) WHERE id = ?1");
	c->read = prepare(c->db, "SELECT v FROM t WHERE id = ?1");
	c->scan = prepare(c->db, "SELECT id, v FROM t");
	c->begin = prepare(c->db, "BEGIN");
	c->commit = prepare(c->db, "COMMIT");
}

/* The file of a base, and those that SQLite puts beside it, are gone afterwards. */
static const char *file_of(const char *name)
{
	static const char *const beside[] = { "-wal", "-shm", "-journal" };
	char other[64];

	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(other, sizeof(other), "%s%s", name, beside[i]);
		(void)scratch_file(other);
	}
	return scratch_file(name);
}

static void base_uri(const struct base *b, const char *name, char *uri, size_t size)
{
	const char *path = file_of(name);

	if (b->mode)
		(void)snprintf(uri, size, "file:%s", path);
	else
		(void)snprintf(uri, size, "file:bench?vfs=pmpt&poolsize=2G&pool=%s", path);
}

static void fill(struct connection *c)
{
	char text[200];

	(void)snprintf(text, sizeof(text),
		       "WITH RECURSIVE i(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM i WHERE n < "
		       "%u) INSERT OR IGNORE INTO t SELECT n, randomblob(50) FROM i",
		       rows);
	sql(c->db, text);
}

static void base_open(struct base *b)
{
	char uri[5000], name[32];

	base_uri(b, b->name, uri, sizeof(uri));
	connect_to(&b->writer, uri, b->mode);
	connect_to(&b->reader, uri, b->mode);
	connect_to(&b->mapped, uri, b->mode);
	sql(b->mapped.db, "PRAGMA mmap_size=1073741824");
	fill(&b->writer);
	(void)snprintf(name, sizeof(name), "%s-other", b->name);
	base_uri(b, name, uri, sizeof(uri));
	connect_to(&b->unrelated, uri, b->mode);
	fill(&b->unrelated);
}

static void disconnect(struct connection *c)
{
	sqlite3_stmt *st;

	while ((st = sqlite3_next_stmt(c->db, NULL)))
		(void)sqlite3_finalize(st);
	(void)sqlite3_close(c->db);
}

/* ---- statements ------------------------------------------------------------------------------------ */

static void once(const struct connection *c, sqlite3_stmt *st)
{
	must(c->db, sqlite3_step(st), sqlite3_sql(st));
	must(c->db, sqlite3_reset(st), sqlite3_sql(st));
}

void do_writes(const struct connection *c, sqlite3_stmt *st, uint64_t *seed, size_t n, size_t each)
{
	for (size_t i = 0; i < n; i += each) {
		if (each > 1)
			once(c, c->begin);
		for (size_t k = 0; k < each; k++) {
			if (sqlite3_bind_parameter_count(st))
				(void)sqlite3_bind_int64(
					st, 1, (sqlite3_int64)(random_next(seed) % rows + 1));
			once(c, st);
		}
		if (each > 1)
			once(c, c->commit);
	}
}

uint64_t do_reads(const struct connection *c, uint64_t *seed, size_t n, size_t each)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (each > 1 && i % each == 0)
			once(c, c->begin);
		(void)sqlite3_bind_int64(c->read, 1, (sqlite3_int64)(random_next(seed) % rows + 1));
		if (sqlite3_step(c->read) != SQLITE_ROW)
			die("a row is missing: %s", sqlite3_errmsg(c->db));
		sum += *(const unsigned char *)sqlite3_column_blob(c->read, 0);
		must(c->db, sqlite3_reset(c->read), "read");
		if (each > 1 && (i + 1) % each == 0)
			once(c, c->commit);
	}
	return sum;
}

static uint64_t do_scan(const struct connection *c, size_t *n)
{
	uint64_t sum = 0;

	for (; sqlite3_step(c->scan) == SQLITE_ROW; ++*n)
		sum += *(const unsigned char *)sqlite3_column_blob(c->scan, 1);
	must(c->db, sqlite3_reset(c->scan), "scan");
	return sum;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

static const struct test tests[] = {
	{ "insert", "one-row transactions that insert", 'i', 1 },
	{ "update", "one-row transactions that update a random row", 'u', 1 },
	{ "insert100", "transactions of 100 inserts; an operation is a row", 'i', 100 },
	{ "update100", "transactions of 100 updates; an operation is a row", 'u', 100 },
	{ "read", "reads by key, each in a transaction of its own", 'r', 1 },
	{ "read100", "reads by key, 100 in a transaction", 'r', 100 },
	{ "scan", "all rows in order; an operation is a row", 's', 0 },
	{ "beside", "reads by key beside a thread that commits one-row updates", 'b', 1 },
	{ "speedtest1", "SQLite's speedtest1 --size 30; an operation is all of it", 'p', 0 },
};
static volatile uint64_t sink;

struct run {
	const struct test *test;
	struct base *base;
};

static double slice(void *ctx, unsigned round)
{
	const struct run *r = ctx;
	const struct test *t = r->test;
	const struct connection *c = &r->base->writer;
	uint64_t seed = round * 7919u + 1;
	size_t n = t->how == 'r' ? reads : commits * (t->each > 1 ? 4 : 1);
	double start = clock_ns();

	if (t->how == 'i' || t->how == 'u')
		do_writes(c, t->how == 'i' ? c->insert : c->update, &seed, n, t->each);
	else if (t->how == 'r')
		sink = do_reads(c, &seed, n, t->each);
	else
		n = 0, sink = do_scan(c, &n);
	return (clock_ns() - start) / (double)n;
}

static double slice_speedtest(void *ctx, unsigned round)
{
	const struct run *r = ctx;
	const struct base *b = r->base;
	const char *path = file_of(b->mode ? "speed" : "speed-pool");
	char command[4096 * 4];
	double start;

	(void)round;
	/* the pool stays, as the file system does; speedtest1 deletes the database in it */
	if (b->mode)
		(void)snprintf(command, sizeof(command),
			       "exec '%s' --size 30 --journal %s '%s' > /dev/null", speedtest,
			       b->mode, path);
	else
		(void)snprintf(
			command, sizeof(command),
			"LD_PRELOAD='%s.so' PMPT_POOL='%s' exec '%s' --size 30 speed > /dev/null",
			extension, path, speedtest);
	start = children_ns();
	if (system(command)) /* NOLINT(cert-env33-c): the program of the caller's */
		die("%s fails", speedtest);
	return children_ns() - start;
}

static void print_row(const struct test *t, struct contestant *c)
{
	double rate[BASES];

	for (int i = 0; i < BASES; i++)
		rate[i] = 1e9 / median(c[i].ns, ROUNDS);
	if (options.json) {
		printf("{\"name\":\"%s\",\"rows\":%u,\"ops_per_s\":%.5g", t->name, rows, rate[0]);
		for (int i = 1; i < BASES; i++)
			printf(",\"%s_ops_per_s\":%.5g,\"ratio_to_%s\":%.3f", bases[i].name,
			       rate[i], bases[i].name, ratio_to(&c[0], &c[i]));
		printf(",\"spread\":%.3f}\n", spread(c[0].ns, ROUNDS));
	} else {
		printf("%-10s", t->name);
		for (int i = 0; i < BASES; i++)
			printf(" %*.*f", i ? 10 : 11, rate[i] < 100 ? 3 : 0, rate[i]);
		printf("  %s\n%-10s %11s", t->what, "", "1 /");
		for (int i = 1; i < BASES; i++)
			printf(" %10.2f", ratio_to(&c[0], &c[i]));
		putchar('\n');
	}
	(void)fflush(stdout);
}

static void row(const struct test *t)
{
	struct contestant c[BASES];
	struct run run[BASES];

	for (int i = 0; i < BASES; i++) {
		run[i] = (struct run){ t, &bases[i] };
		c[i] = (struct contestant){ t->how == 'p' ? slice_speedtest : slice,
					    &run[i],
					    { 0 } };
	}
	alternate(c, BASES);
	print_row(t, c);
}

/* ---- a command -------------------------------------------------------------------------------------- */

static void help(void)
{
	puts("usage: sqlite-bench [OPTION...] [ROW...]\n"
	     "SQLite over libpmpt's VFS beside SQLite's ordinary VFS in four journal modes, synchronous=FULL,\n"
	     "operations a second, and how often faster the first is.\n\n"
	     "  -j          one JSON object for each row, in a line\n"
	     "  -q          shorter slices\n"
	     "  -c          processor time of the thread, on a machine that is busy otherwise\n"
	     "  -d DIR      where the pool and the databases are (default /dev/shm)\n"
	     "  -s PROGRAM  SQLite's speedtest1; without it that row is left out\n"
	     "  -h          this\n\nrows:");
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		printf("  %-11s %s\n", tests[i].name, tests[i].what);
	puts("\nMEMORY is not crash-safe.  Of `beside` the other columns are other numbers: see its line.");
}

static int parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "jqcd:s:h")) != -1) {
		switch (c) {
		case 'j':
			options.json = true;
			break;
		case 'q':
			commits = 1000, reads = 20000;
			break;
		case 'c':
			processor_time = true;
			break;
		case 'd':
			options.dir = optarg;
			break;
		case 's':
			speedtest = optarg;
			break;
		case 'h':
			help();
			exit(0);
		default:
			(void)fputs(
				"usage: sqlite-bench [-j] [-q] [-c] [-d DIR] [-s SPEEDTEST1] [ROW...]\n",
				stderr);
			exit(2);
		}
	}
	return optind;
}

static bool asked_for(const struct test *t, char **names, int n)
{
	bool wanted = n == 0;

	for (int i = 0; i < n; i++)
		wanted |= !strcmp(names[i], t->name);
	return wanted && (t->how != 'p' || speedtest);
}

int main(int argc, char **argv)
{
	int first = parse(argc, argv);
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		die("/proc/self/exe: %s", strerror(errno));
	self[len] = 0;
	(void)snprintf(extension, sizeof(extension), "%s/pmpt_vfs", dirname(self));
	/* its count of what is allocated has one mutex for all threads: as SQLite advises */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	scratch_open(options.dir);
	load_vfs();
	for (int i = 0; i < BASES; i++)
		base_open(&bases[i]);
	if (!options.json)
		printf("%-10s %11s %10s %10s %10s %10s  (operations a second)\n", "row", "pmpt",
		       "WAL", "MEMORY", "TRUNCATE", "DELETE");
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (!asked_for(&tests[i], argv + first, argc - first))
			continue;
		if (tests[i].how == 'b')
			row_beside(bases);
		else
			row(&tests[i]);
	}
	for (int i = 0; i < BASES; i++) {
		disconnect(&bases[i].writer);
		disconnect(&bases[i].reader);
		disconnect(&bases[i].mapped);
		disconnect(&bases[i].unrelated);
	}
	return 0;
}
