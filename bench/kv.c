/* SPDX-License-Identifier: BSD-3-Clause */
/* kv -- the key-value map of examples/kv beside LMDB: the same keys, the same tmpfs, in turns.
 *
 * Half of the keys of a set of 2 * --keys are there; puts take random ones of the set, so that about
 * half of them are new at first.  LMDB in its two durable modes: as it is, and with MDB_WRITEMAP;
 * without MDB_NOSYNC, so each of its commits ends with a sync, as each of the map's with a fence.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lmdb.h>

#include "bench.h"
#include "kv.h"

#define KEY_BYTES   16
#define VALUE_BYTES 100
#define BATCH       100

struct options options = { .dir = "/dev/shm" };
static uint64_t keys = 200000;
static size_t ops = 100000;

void die(const char *format, ...)
{
	va_list ap;

	fputs("kv-bench: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* ---- what both store --------------------------------------------------------------------------- */

static char value[VALUE_BYTES];

/* Key i; keys of neighbours are no neighbours. */
static void key_make(uint64_t i, char key[KEY_BYTES + 1])
{
	uint64_t mixed = i * 0x9e3779b97f4a7c15u;

	(void)snprintf(key, KEY_BYTES + 1, "%016" PRIx64, mixed);
}

/* Keys of a slice, made before it is timed. */
static char (*slice_key)[KEY_BYTES + 1];

static void slice_keys(unsigned round, size_t n, bool there)
{
	uint64_t state = round * 7919u + 1;

	for (size_t i = 0; i < n; i++)
		key_make(there ? random_next(&state) % (keys / 2) * 2 : random_next(&state) % keys,
			 slice_key[i]);
}

/* ---- the map ------------------------------------------------------------------------------------- */

static pmpt_pool *pool;
static pmpt_space *space;
static struct kv *map;

static void must(int rc, const char *what)
{
	if (rc)
		die("%s: %s: %s", what, pmpt_strerror(rc), kv_errormsg(rc));
}

static struct kv_slice text(const char *s, size_t len) { return (struct kv_slice){ s, len }; }

static void kv_puts(size_t n, size_t each)
{
	for (size_t i = 0; i < n; i += each) {
		must(kv_begin(map), "begin");
		for (size_t k = i; k < i + each && k < n; k++)
			must(kv_put(map, text(slice_key[k], KEY_BYTES), text(value, VALUE_BYTES)),
			     "put");
		must(kv_commit(map), "commit");
	}
}

static uint64_t kv_gets(size_t n, size_t each)
{
	uint64_t sum = 0;
	struct kv_slice v;

	for (size_t i = 0; i < n; i += each) {
		must(kv_begin(map), "view");
		for (size_t k = i; k < i + each && k < n; k++) {
			must(kv_get(map, text(slice_key[k], KEY_BYTES), &v), "get");
			sum += *(const unsigned char *)v.data;
		}
		must(kv_commit(map), "end of the view");
	}
	return sum;
}

static uint64_t kv_scan(uint64_t *found)
{
	struct kv_slice k, v;
	uint64_t sum = 0;

	must(kv_begin(map), "view");
	for (int rc = kv_seek(map, KV_STR(""), &k, &v); !rc; rc = kv_next(map, &k, &v), ++*found)
		sum += *(const unsigned char *)k.data + *(const unsigned char *)v.data;
	must(kv_commit(map), "end of the view");
	return sum;
}

/* ---- LMDB ---------------------------------------------------------------------------------------- */

struct lmdb {
	MDB_env *env;
	MDB_dbi dbi;
};
static struct lmdb plain, writemap;

static void mdb(int rc, const char *what)
{
	if (rc)
		die("LMDB: %s: %s", what, mdb_strerror(rc));
}

static void lmdb_open(struct lmdb *l, unsigned flags)
{
	char path[4200];
	MDB_txn *t;

	(void)snprintf(path, sizeof(path), "%s.mdb", scratch_pool());
	mdb(mdb_env_create(&l->env), "create");
	mdb(mdb_env_set_mapsize(l->env, (size_t)4 << 30), "mapsize");
	mdb(mdb_env_open(l->env, path, MDB_NOSUBDIR | flags, 0600), path);
	unlink(path); /* it lives on */
	strcat(path, "-lock");
	unlink(path);
	mdb(mdb_txn_begin(l->env, NULL, 0, &t), "begin");
	mdb(mdb_dbi_open(t, NULL, 0, &l->dbi), "dbi");
	mdb(mdb_txn_commit(t), "commit");
}

static void lmdb_puts(struct lmdb *l, size_t n, size_t each)
{
	MDB_txn *t;

	for (size_t i = 0; i < n; i += each) {
		mdb(mdb_txn_begin(l->env, NULL, 0, &t), "begin");
		for (size_t k = i; k < i + each && k < n; k++) {
			MDB_val key = { KEY_BYTES, slice_key[k] }, v = { VALUE_BYTES, value };

			mdb(mdb_put(t, l->dbi, &key, &v, 0), "put");
		}
		mdb(mdb_txn_commit(t), "commit");
	}
}

static uint64_t lmdb_gets(struct lmdb *l, size_t n, size_t each)
{
	uint64_t sum = 0;
	MDB_txn *t;

	mdb(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &t), "begin");
	mdb_txn_reset(t);
	for (size_t i = 0; i < n; i += each) {
		mdb(mdb_txn_renew(t), "renew");
		for (size_t k = i; k < i + each && k < n; k++) {
			MDB_val key = { KEY_BYTES, slice_key[k] }, v;

			mdb(mdb_get(t, l->dbi, &key, &v), "get");
			sum += *(const unsigned char *)v.mv_data;
		}
		mdb_txn_reset(t);
	}
	mdb_txn_abort(t);
	return sum;
}

static uint64_t lmdb_scan(struct lmdb *l, uint64_t *found)
{
	uint64_t sum = 0;
	MDB_cursor *c;
	MDB_val k, v;
	MDB_txn *t;

	mdb(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &t), "begin");
	mdb(mdb_cursor_open(t, l->dbi, &c), "cursor");
	while (!mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
		sum += *(const unsigned char *)k.mv_data + *(const unsigned char *)v.mv_data;
		++*found;
	}
	mdb_cursor_close(c);
	mdb_txn_abort(t);
	return sum;
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static const struct test {
	const char *name, *what;
	char how;    /* p: puts, g: gets, s: scan */
	size_t each; /* operations of a transaction or view; 0: all */
} tests[] = {
	{ "kv_put", "one random put a batch", 'p', 1 },
	{ "kv_put100", "random puts, 100 a batch; an operation is a put", 'p', BATCH },
	{ "kv_get", "random gets, 100 a view", 'g', BATCH },
	{ "kv_get1", "random gets, each in a view of its own", 'g', 1 },
	{ "kv_scan", "all keys and values in order; an operation is a key", 's', 0 },
};
static volatile uint64_t sink;

struct run {
	const struct test *test;
	struct lmdb *lmdb; /* NULL: the map */
};

static double slice(void *ctx, unsigned round)
{
	const struct run *r = ctx;
	const struct test *t = r->test;
	uint64_t n = ops;

	slice_keys(round, ops, t->how == 'g');
	double start = now_ns();

	if (t->how == 'p' && r->lmdb)
		lmdb_puts(r->lmdb, ops, t->each);
	else if (t->how == 'p')
		kv_puts(ops, t->each);
	else if (t->how == 'g')
		sink = r->lmdb ? lmdb_gets(r->lmdb, ops, t->each) : kv_gets(ops, t->each);
	else
		n = 0, sink = r->lmdb ? lmdb_scan(r->lmdb, &n) : kv_scan(&n);
	return (now_ns() - start) / (double)n;
}

static void fill(void)
{
	for (uint64_t i = 0; i < keys;) {
		size_t n = 0;

		for (; n < ops && i < keys; n++, i += 2)
			key_make(i, slice_key[n]);
		kv_puts(n, BATCH);
		lmdb_puts(&plain, n, BATCH);
		lmdb_puts(&writemap, n, BATCH);
	}
}

static void row(const struct test *t)
{
	struct run run[] = { { t, NULL }, { t, &plain }, { t, &writemap } };
	struct contestant c[] = { { slice, &run[0], { 0 } },
				  { slice, &run[1], { 0 } },
				  { slice, &run[2], { 0 } } };
	double rate[3], best;

	alternate(c, 3);
	for (int i = 0; i < 3; i++)
		rate[i] = 1e9 / median(c[i].ns, ROUNDS);
	best = fmin(ratio_to(&c[0], &c[1]), ratio_to(&c[0], &c[2]));
	if (options.json)
		printf("{\"name\":\"%s\",\"keys\":%" PRIu64
		       ",\"ops_per_s\":%.0f,\"lmdb_ops_per_s\":%.0f,"
		       "\"lmdb_writemap_ops_per_s\":%.0f,\"ratio_to_lmdb\":%.3f,\"spread\":%.3f}\n",
		       t->name, keys, rate[0], rate[1], rate[2], best, spread(c[0].ns, ROUNDS));
	else
		printf("%-10s %12.0f %12.0f %14.0f %9.2f %7.0f%%  %s\n", t->name, rate[0], rate[1],
		       rate[2], best, 100 * spread(c[0].ns, ROUNDS), t->what);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	struct pmpt_config config = { .pool_bytes = (uint64_t)256 << 20 };
	int c;

	while ((c = getopt(argc, argv, "jqd:")) != -1) {
		if (c == 'j')
			options.json = true;
		else if (c == 'q')
			keys = 50000, ops = 20000;
		else if (c == 'd')
			options.dir = optarg;
		else
			return fputs("usage: kv-bench [-j] [-q] [-d DIR] [ROW...]\n", stderr), 2;
	}
	keys *= 2;
	slice_key = malloc(ops * sizeof(*slice_key));
	if (!slice_key)
		die("no memory");
	scratch_open(options.dir);
	must(pmpt_create(scratch_pool(), &config, &pool), "create");
	must(pmpt_space_create(pool, "map", &space), "create");
	map = kv_open(space);
	if (!map)
		die("no memory");
	lmdb_open(&plain, 0);
	lmdb_open(&writemap, MDB_WRITEMAP);
	fill();
	if (!options.json)
		printf("%-10s %12s %12s %14s %9s %8s\n", "row", "kv ops/s", "LMDB", "LMDB writemap",
		       "of best", "spread");
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		bool wanted = optind == argc;

		for (int k = optind; k < argc; k++)
			wanted |= !strcmp(argv[k], tests[i].name);
		if (wanted)
			row(&tests[i]);
	}
	mdb_env_close(plain.env);
	mdb_env_close(writemap.env);
	kv_close(map);
	pmpt_space_close(space);
	must(pmpt_close(pool), "close");
	return 0;
}
