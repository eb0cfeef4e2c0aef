/* SPDX-License-Identifier: BSD-3-Clause */
/* tables -- programs on the public calls: two actors, each with addresses that it probes and what
 * its calls make of them. */
#ifndef TABLES_H
#define TABLES_H

#include <string.h>

#include "enumerate.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)

#define PROBES    6
#define STATES    24
#define ANY_FRAME UINT64_MAX
extern uint64_t probe[2][PROBES]; /* addresses of each actor, 0: none */
/* after each call: leaf frames, 0: not mapped; ANY_FRAME: any */
extern uint64_t state[2][STATES][PROBES];
/* not 0: what the first 8 words of the data page at PATTERN_VA hold, when it is mapped */
extern uint64_t pattern;
#define PATTERN_VA (5 * P2M)
extern struct pmpt_pool *pool;
extern struct pmpt_space *space;

const char *check_tables(struct region *rg, const struct history *h);
uint64_t image_frame(const struct region *rg, uint64_t va); /* by a walk of our own */
void core_start(struct region *rg);
void core_start_zeroed(struct region *rg); /* frames zeroed ahead take part */
void core_end(void);

/* A call of an actor that leads to the next state. */
#define CALL(actor, call, ...)                                                     \
	do {                                                                       \
		const uint64_t next[PROBES] = { __VA_ARGS__ };                     \
		memcpy(state[actor][history.step[actor] + 1], next, sizeof(next)); \
		history.open[actor] = true;                                        \
		assert_int_equal(call, 0);                                         \
		history.step[actor]++;                                             \
		history.open[actor] = false;                                       \
		returned();                                                        \
	} while (0)

#define PROGRAM(fn, what)                                         \
	static const struct program fn = { .name = what,          \
					   .half_lines = 16,      \
					   .bulk_lines = 24,      \
					   .run = fn##_run,       \
					   .check = check_tables, \
					   .collapse = true }

#endif
