/* SPDX-License-Identifier: BSD-3-Clause */
/* enumerate -- every image that a power failure can leave of a small program, by brute force.
 *
 * MODEL	R2, R3: of each cached line any prefix of its stores since what is known durable
 *		R7, R9: a flush notes how far; the same port's next fence makes that the least
 *		R11: of streamed lines any subset of the 8-byte words until the port's fence
 *		A stream of more than 4 lines (the content of a fresh frame, which nothing
 *		refers to yet) is all there, not there, or torn in one way: each line alone would
 *		be 2^512 images that differ in nothing that is read.
 *		R15: recovery is the next program: crashed in its turn, twice, and gone on from
 * CRASH POINTS	before every fence (between two of them images only grow), at every return of an
 *		operation, and at the end.
 * It sits at the pm layer (pm_observer) and knows nothing of the log.
 */
#ifndef ENUMERATE_H
#define ENUMERATE_H

#include "pool.h"
#include "replay.h"

#define RUN_BYTES (((uint64_t)2 << 20) + ((uint64_t)160 << FRAME_SHIFT)) /* most frames: 160 */

struct operation { /* what a program has done so far, for the oracle */
	enum { OP_BEGUN, OP_COMMITTING, OP_RETURNED, OP_ABORTED } state;
	unsigned n, seq; /* words; order of the commits */
	struct {
		unsigned word;
		uint64_t value;
	} set[8];
};

struct history {
	unsigned n;
	struct operation op[16];
	unsigned seq;     /* last order given to a commit */
	unsigned step[2]; /* by actor: calls that have returned, for programs that keep states */
	bool open[2];     /* and whether one is under way */
};

struct program {
	const char *name;
	unsigned n_lanes, half_lines, bulk_lines, frames; /* 0: 2, 4, 8, 96 */
	uint64_t lsn_step;                                /* of lsn_limit; 0: 64 */
	void (*run)(struct region *rg);
	void (*go_on)(struct region *rg); /* after each recovery; may be NULL */
	/* NULL: the recovered image is one that the history allows; else what is wrong. */
	const char *(*check)(struct region *rg, const struct history *h);
	unsigned depth; /* crashes in a row inside recovery; 0: 2 */
	/* all invalid contents of a log slot are one: what a slot that does not validate holds
	 * makes no difference to recovery.  Not for programs that go on: there it may be
	 * completed. */
	bool collapse;
};

struct outcome {
	unsigned long crash_points, images, recoveries;
	char violation[256]; /* the first; "" none */
};

/* Run the program and explore every crash. */
struct outcome enumerate(const struct program *program);
/* The same, and print the numbers; fails the cmocka test on a violation. */
void holds(const struct program *program);
/* With the rule switched off a violation must be found. */
void bites(enum rule rule, const struct program *program);

/* Who wants to see the crashes of the run itself: each one, and then each of its images as it is made,
 * equal ones too.  `base` is where it lies.  They are not recovered. */
struct watch {
	/* n: how many follow, INFINITY if a large stream makes them fewer than there are.  Returns
	 * false: leave them out. */
	bool (*crash)(double n);
	void (*image)(const char *base);
};
extern const struct watch *watch; /* NULL: nobody */

extern struct history history; /* of the run in progress */
extern struct mem test_mem;

/* An operation has returned: a crash point. */
void returned(void);
/* Run fn without recording: what it does is durable. */
void unrecorded(struct region *rg, void (*fn)(struct region *rg));
/* Run fn once, at the nth event (stores, flushes, streams, fences, steps) from now: another
 * thread's turn. */
void interleave(unsigned nth, void (*fn)(void));
/* Start fn now and stop it at its jth event; after k events of the caller's it goes on to
 * its end. */
void interleave_split(unsigned j, unsigned k, void (*fn)(void));
void interleave_finish(void); /* let it run to its end now */
/* The program itself found what is wrong. */
void violation(const char *what);

#endif
