/* SPDX-License-Identifier: BSD-3-Clause */
/* bench -- what the benchmarks share: options, rows of results, scratch files, alternating slices.
 *
 * A *slice* is a timed run over fixed keys.  The library and its limits take turns, slice by slice,
 * in the same process and on the same keys, so that what the machine does meanwhile meets all of
 * them; a ratio is the median of the rounds' own ratios.
 */
#ifndef PMPT_BENCH_H
#define PMPT_BENCH_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "libpmpt.h"

#define ROUNDS       5 /* slices of each contestant; one more before them is not counted */
#define VA_BASE      (1ull << 40) /* first mapped page; a level 3 table begins here */
#define PFN_BASE     (1ull << 24) /* first of the caller's frames (PMPT_EXT) */
#define REGION_PAGES 512ull       /* 4 KiB pages in 2 MiB */
#define REGION_BYTES (REGION_PAGES * PMPT_PAGE_BYTES)

struct options {
	bool json, quick, color;
	const char *dir;
	char **name; /* rows asked for; none: all */
	int n_names;
};
extern struct options options;

/* ---- main.c ---- */

bool wanted(const char *name); /* this row was asked for */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
/* Dies with the library's message when rc is an error. */
void check(int rc, const char *what);
/* One line on a terminal about what is being measured; overwritten by the next. */
__attribute__((format(printf, 1, 2))) void progress(const char *format, ...);

/* ---- scratch.c: files that are gone afterwards, also when interrupted ---- */

void scratch_open(const char *dir);
void scratch_close(void);
const char *scratch_pool(void); /* path of the pool file; it need not exist */
void scratch_drop_pool(void);
/* Path of a file of this name; it need not exist. */
const char *scratch_file(const char *name);
/* Shared mapping of a file of its own in the same directory, every block there and touched. */
void *scratch_map(uint64_t bytes);
void scratch_unmap(void *ptr, uint64_t bytes);
/* Path of a swap file, in TMPDIR or /var/tmp; it need not exist. */
const char *scratch_swap(void);
int scratch_swap_limit(uint64_t bytes); /* a file beside it, every block there */

/* ---- slices.c: time, keys, alternation ---- */

double now_ns(void);
double median(const double *value, int n);
double spread(const double *value, int n);          /* (largest - smallest) / median */
static inline uint64_t random_next(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Random pages for n operations of a slice; the same for the same seed.  Page numbers in 32 bits,
 * and taken again after KEYS_MAX: keys are not to push what they aim at out of the caches. */
#define KEYS_MAX ((size_t)1 << 20)
struct keys {
	uint32_t *page;
	size_t mask;
	size_t n;
};
struct keys keys_make(uint64_t seed, uint64_t pages, size_t n);
void keys_free(struct keys *keys);
static inline uint64_t key_va(const struct keys *keys, size_t i)
{
	return VA_BASE + (uint64_t)keys->page[i & keys->mask] * PMPT_PAGE_BYTES;
}

struct contestant {
	double (*slice)(void *ctx, unsigned round); /* runs a slice: ns per operation */
	void *ctx;
	double ns[ROUNDS]; /* out */
};
/* A round that does not count, then ROUNDS of them; the first contestant is the library. */
void alternate(struct contestant *c, int n);
/* of speeds, median over rounds */
double ratio_to(const struct contestant *library, const struct contestant *limit);

/* ---- pool.c: pools with pages mapped ---- */

struct bench_pool {
	pmpt_pool *pool;
	pmpt_space *space;
	uint64_t pages;
	uint64_t table_frames; /* that the mapping took */
	bool slow;             /* an ordinary file: a fence is an msync, slices are shorter */
};
/* Create the pool with room for the tables of `pages` pages and data_bytes of frames, and map the
 * pages: 4 KiB, EXT, contiguous frames. */
void bench_pool_make(struct bench_pool *bp, uint64_t pages, uint64_t data_bytes);
void bench_pool_open(struct bench_pool *bp); /* the file as it is */
/* Touch every page of it in this process, as the limits' memory is: on real pmem nothing is allocated at
 * a first store. */
void bench_pool_touch(const struct bench_pool *bp);
void bench_pool_close(struct bench_pool *bp); /* and delete it */

/* Counters of the library over what lies between two calls. */
struct tally {
	uint64_t lines, log_lines, fences, commits, checkpoints;
};
struct tally tally_now(const struct bench_pool *bp);
void tally_add(struct tally *sum, const struct tally *from, const struct bench_pool *bp);

/* ---- machine.c, machine.h: what the machine itself does; see there ---- */

void limits_print(void); /* --limits */

/* ---- report.c ---- */

enum unit { UNIT_RATE, UNIT_MS, UNIT_BYTES, UNIT_US };
struct row {
	const char *name;
	uint64_t pages;
	enum unit unit;
	double value;
	/* NAN: does not apply */
	double ratio_to_raw, ratio_to_skeleton, lines_per_op, fences_per_op, spread;
	char goal[160]; /* empty: none */
	bool missed;
	char extra[512]; /* further JSON members, each with a comma before it */
	char note[256];  /* printed under the row; empty: none */
};
struct row row_make(const char *name, uint64_t pages, enum unit unit, double value);
/* One more condition of the row's goal: value op bound, op '<' or '>' (both include equality),
 * '=' exactly. */
void row_goal(struct row *row, const char *what, double value, char op, double bound);
__attribute__((format(printf, 2, 3))) void row_extra(struct row *row, const char *format, ...);
__attribute__((format(printf, 2, 3))) void row_note(struct row *row, const char *format, ...);
void row_print(const struct row *row);
void report_end(void); /* how many rows missed a goal, for people */
const char *human_count(uint64_t n, char *buf, size_t len); /* 1K, 16M */

/* ---- the rows ---- */

void run_update(uint64_t pages); /* update, batch4096 */
void run_map(void);              /* map2m ... protect2m_alloc */
void run_lookup(uint64_t pages); /* lookup, lookup_chain, lookup_batch */
void run_view(uint64_t pages);   /* view_open, read_beside */
void run_recovery(uint64_t pages);
void run_footprint(uint64_t pages);
void run_data(uint64_t pages); /* page_write, page_write64, page_read */
void run_swap(void);
void run_fork(const uint64_t *pages, size_t n); /* a row each; the fewest first */
void run_cow_first(void);
void run_cow_later(void);

#endif
