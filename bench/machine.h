/* SPDX-License-Identifier: BSD-3-Clause */
/* machine -- what the machine itself does: the work below the library's, with nothing of the
 * library in it.
 *
 * Same keys, same shape of tables, same kind of memory as the pool (a shared mapping of a file on
 * the same medium, touched before).
 *   line      one 64-byte line streamed into a ring of a lane's size, one fence
 *   skeleton  walk 4 levels, stream a line, fence, store home; each half ring: flush the touched
 *             home lines, fence, persist a word.  No locks, no CRC, no transaction
 *   unlogged  walk, store, flush; one fence per 4096
 *   stream64  64 lines streamed (a page table), one fence
 *   flush64   512 entries changed in place, 64 lines flushed, one fence
 *   flat      an array of entries, indexed by page number
 *   walk      4 loads by the address's four indexes, each present bit tested
 * The tables lie on the shared mapping too: in anonymous memory they could have larger pages and
 * fewer TLB misses than any pool on tmpfs.
 */
#ifndef PMPT_BENCH_MACHINE_H
#define PMPT_BENCH_MACHINE_H

#include "bench.h"

#define RING_LINES  (PMPT_LANE_DEFAULT_BYTES / 64)
#define HALF_LINES  (RING_LINES / 2)
#define BATCH_PAGES 4096u

struct limits {
	uint64_t pages;
	struct keys keys;
	size_t regions; /* for the 2 MiB slices */
	char *map;      /* everything below lies in it */
	uint64_t map_bytes;
	char *tables;              /* frame 0 is the top table; entries hold offsets from here */
	uint64_t first_leaf_table; /* offset; leaf tables are consecutive */
	uint64_t *flat;
	char *ring;
	uint64_t *word; /* the skeleton's checkpoint word */
	uint64_t head;  /* lines written to the ring */
	uint64_t *touched[HALF_LINES];
};

/* Build tables, ring and array for pages densely mapped from VA_BASE. */
void limits_make(struct limits *l, uint64_t pages, struct keys keys);
void limits_free(struct limits *l);

/* Slices, as struct contestant has them; ctx is a struct limits. */
double slice_line(void *ctx, unsigned round);
double slice_skeleton(void *ctx, unsigned round);
double slice_unlogged(void *ctx, unsigned round);
double slice_stream64(void *ctx, unsigned round); /* these two: ns per page */
double slice_flush64(void *ctx, unsigned round);
double slice_flat(void *ctx, unsigned round);
double slice_walk(void *ctx, unsigned round);
double slice_flat_chain(void *ctx, unsigned round);
double slice_walk_chain(void *ctx, unsigned round);

/* Results go here, so that no load is left out. */
extern volatile uint64_t limits_sink;

/* 0, but the processor does not know it before x is there: makes the next address depend on the
 * last entry. */
static inline uint64_t zero_after(uint64_t x)
{
	__asm__ volatile("andq $0, %0" : "+r"(x) : : "cc");
	return x;
}

/* The frame that the i-th operation of a round maps: another one each time. */
static inline uint64_t new_pfn(unsigned round, size_t n, size_t i)
{
	return PFN_BASE + (((uint64_t)round * n + i + 1) & 0xfffffff);
}

#endif
