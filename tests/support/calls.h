/* SPDX-License-Identifier: BSD-3-Clause */
/* calls -- every call that changes or reads a space, drawn at random, with the errors that each may
 * return beside others like it. */
#ifndef CALLS_H
#define CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libpmpt.h"

#define CALLS_SEG       "shared" /* the segment that spaces map */
#define CALLS_SEG_BYTES ((uint64_t)4 << 20)

struct worker { /* a thread, and what it draws from */
	uint64_t seed;
	pmpt_pool *pool;
	bool swap;   /* the pool has a swap file */
	pmpt_tx *tx; /* NULL: each call is its own */
	bool bulk, marked;
	uint64_t savepoint;
	pmpt_space *from, *to, *either; /* two spaces, or twice one; either of them */
};

/* Bits for the errors that are expected. */
#define MAY(e) ((uint64_t)1 << (-1000 - PMPT_E_##e))
/* Who changes something may meet another one who changes it too, and the end of the pool or the log. */
#define MAY_CHANGE (MAY(CONFLICT) | MAY(NO_FRAMES) | MAY(TX_TOO_LARGE) | MAY(SNAPSHOT))
bool expected(int rc, uint64_t may);

struct call {
	const char *name;
	int (*run)(struct worker *w);
	unsigned weight;
	uint64_t may; /* fail with these */
};
#define CALLS 26
extern const struct call calls[CALLS];

uint64_t calls_rnd(uint64_t *seed, uint64_t n); /* 0..n-1 */
/* One of the calls, by their weights; its worker's spaces are set. */
const struct call *calls_any(struct worker *w);
/* Of what is in a space's own pages, where these calls write.  Returns as pmpt_read. */
int calls_hash(const pmpt_view *view, const pmpt_space *space, uint64_t *hash);

#endif
