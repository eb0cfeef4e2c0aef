/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz -- random numbers that can be had again: each round has its own, from seed, target and
 * round.  PMPT_FUZZ_SEED=n repeats a run; PMPT_FUZZ_ONLY=target:round one round of it. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdint.h>

struct fuzz {
	const char *target;
	unsigned round;
	bool begun;
	uint64_t state;
};

/* Announce the seed, and have a crash or a hang (seconds) name the round. */
void fuzz_begin(unsigned seconds);
/* The next round of a target, 0 first.  False: all `rounds` are done. */
bool fuzz_next(struct fuzz *f, unsigned rounds);
uint64_t fuzz_random(struct fuzz *f, uint64_t below); /* below 0: 64 bits */
/* A word with something wrong: flipped bits, a neighbour, another word's value, or noise. */
uint64_t fuzz_word(struct fuzz *f, uint64_t old);
/* How to have this round again. */
const char *fuzz_again(const struct fuzz *f);

#endif
