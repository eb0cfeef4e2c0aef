/* SPDX-License-Identifier: BSD-3-Clause */
/* words -- programs on the log alone: home words are user words of space records, each on a cache
 * line of its own. */
#ifndef WORDS_H
#define WORDS_H

#include "enumerate.h"

extern struct wal *words_wal; /* of the words_open in force: go_on opens its own inside a run */

struct set {
	unsigned word;
	uint64_t value;
};

void words_open(struct region *rg); /* wal_open; small lsn_step and slack */
void words_close(void);
uint64_t word_get(struct region *rg, unsigned word);
/* A redo transaction in lane `hint`, if that is free. */
void redo(unsigned hint, unsigned n, const struct set *set);
void redo1(unsigned hint, unsigned word, uint64_t value);
void checkpoint(void);
/* A bulk transaction: begin, batches, then commit or abort.  Only one at a time. */
void bulk_start(void);
void bulk_set(unsigned n, const struct set *set);
void bulk_finish(unsigned n, const struct set *set);
void bulk_undo(void);
/* In go_on: of what was under way at the crash the recovered image tells whether it was
 * committed. */
void settle(struct region *rg);
/* The oracle: returned transactions are there in the order of their commits, one under way wholly
 * or not at all, others not. */
const char *check_words(struct region *rg, const struct history *h);

#endif
