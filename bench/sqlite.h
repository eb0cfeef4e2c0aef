/* SPDX-License-Identifier: BSD-3-Clause */
/* sqlite -- what the parts of sqlite-bench share. */
#ifndef PMPT_BENCH_SQLITE_H
#define PMPT_BENCH_SQLITE_H

#include <sqlite3.h>

#include "bench.h"

struct connection {
	sqlite3 *db;
	sqlite3_stmt *insert, *update, *read, *scan, *begin, *commit;
};

/* A database under test; [0] is the VFS's, then the ordinary VFS's in its journal modes. */
struct base {
	const char *name, *mode;
	struct connection writer, reader, mapped; /* mapped: PRAGMA mmap_size */
	struct connection unrelated;              /* to another database: in another pool */
};
enum { PMPT, WAL, BASES = 5 };

struct test {
	const char *name, *what;
	char how;    /* i, u: inserts, updates, r: reads, s: scan, b: beside, p: speedtest1 */
	size_t each; /* operations of a transaction */
};

double clock_ns(void);
/* n operations in transactions of `each`. */
void do_writes(const struct connection *c, sqlite3_stmt *st, uint64_t *seed, size_t n, size_t each);
uint64_t do_reads(const struct connection *c, uint64_t *seed, size_t n, size_t each);

/* sqlite_beside.c */
void row_beside(const struct base *bases);

#endif
