/* SPDX-License-Identifier: BSD-3-Clause */
/* words -- the log alone: transactions over home words, each on a cache line of its own (user words
 * of space records), with no tables.
 *
 * NOTES	0..11	value of the word by the transactions that have returned
 *		16 + 8 * actor: words of the one that is committing (0: none), then each as
 *			word << 32 | value
 * A second phase, in recovery, does transactions of its own, one of them over word 0, and leaves in
 * word SEEN what the first recovery had made of word 1: a crash in it may not change that. */
#ifndef WORDS_H
#define WORDS_H

#include "pm_bridge.h"

#define WORDS      12u
#define WORD_BYTES BUFFER_BYTES(20)
#define SEEN       8u /* and 9, 10: the second phase's */

struct set {
	unsigned word;
	uint32_t value;
};
#define SETS(...) \
	(sizeof((struct set[]){ __VA_ARGS__ }) / sizeof(struct set)), (struct set[]) { __VA_ARGS__ }

extern struct wal words_wal;

void words_setup(void *pm);       /* 2 lanes of 2 x 8 lines */
void words_setup_small(void *pm); /* 1 lane of 2 x 4 */
void words_setup_lanes(void *pm); /* 2 lanes of 2 x 4 */
void words_setup_limit(void *pm); /* lsn_limit is raised by 4 */
void words_reopen(void *pm);
void words_start(void);
void words_stop(void);
/* A redo transaction in lane `hint`, if that is free. */
void redo(unsigned actor, unsigned hint, unsigned n, const struct set *set);
void redo1(unsigned actor, unsigned hint, unsigned word, uint32_t value);
void checkpoint(void);
void bulk_start(void);
void bulk_set(unsigned n, const struct set *set);
void bulk_finish(unsigned n, const struct set *set);
void bulk_undo(void);

void words_recover(void *pm);      /* replay() */
void words_recover_more(void *pm); /* and a second phase of transactions */
void words_check(void *pm);

#endif
