/* SPDX-License-Identifier: BSD-3-Clause */
/* judge -- see judge.c; for judge_state.c alone. */
#ifndef JUDGE_H
#define JUDGE_H

#include "litmus.h"

#define QUEUE 24u
#define LATE  48u
#define BYTES (LITMUS_LINES * LINE_BYTES)

struct bytes { /* 1 to 8 of a word, or a line (movdir64b) */
	uint16_t off;
	uint8_t len;
	unsigned char is[LINE_BYTES];
};

struct issued {
	enum litmus_op op;
	uint16_t line;
	uint8_t store; /* number, to tell words of one wide store */
	struct bytes what;
};

struct late {
	bool cached; /* not past the cache */
	uint8_t thread, store;
	uint8_t wanted; /* by the next drain of these threads, a bit each [R9] */
	struct bytes what;
};

struct thread {
	unsigned pc, n;
	uint32_t set; /* registers that were set */
	uint64_t reg[LITMUS_REGS];
	struct issued queue[QUEUE];
};

struct machine {
	struct thread thread[LITMUS_THREADS];
	unsigned char seen[BYTES], durable[BYTES];
	unsigned n_late, walked, stores;
	uint32_t walkers; /* instructions that have let one loose, a bit each */
	bool returned;
	struct late late[LATE];
};

/* Things seen before, whole. */
struct pool {
	struct item {
		size_t len;
		unsigned char *data;
	} * slot;
	size_t n, slots;
};
/* False: it is there. */
bool pool_add(struct pool *p, const void *data, size_t len);
void pool_free(struct pool *p);
/* A state of these threads as bytes; what two states have in common they have in these. */
size_t machine_write(const struct litmus *p, const struct litmus_code *const *code,
		     unsigned threads, const struct machine *m, const unsigned char **data);

#endif
