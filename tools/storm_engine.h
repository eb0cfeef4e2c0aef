/* SPDX-License-Identifier: BSD-3-Clause */
/* storm_engine -- durable updates whose result is known beforehand: the generator of the storm, and
 * the judge of what a killed one left behind.
 *
 * Thread t has a space "storm-t" with ENGINE_SLOTS places for a page.  Its transaction number s is a
 * function of t, s and the pages before it: 2 to 8 slots get the stamp of (t, s) as frame number;
 * every fourth also maps, unmaps, protects or moves a block of slots; user word 0 becomes s.
 * So the state after s transactions is known without a record of it.
 * VALID IF AND ONLY IF, with s in the user word: (1) s is the last acknowledged transaction or the
 * one after it, which was killed before it could say so; (2) every page is as after exactly s.
 * (1) fails where an acknowledged transaction is lost, (2) where a part of one is there or missing.
 */
#ifndef PMPT_STORM_ENGINE_H
#define PMPT_STORM_ENGINE_H

#include "libpmpt.h"

#define ENGINE_THREADS_MAX 16u
#define ENGINE_SLOTS       2048u

struct engine_page { /* flags 0: not mapped */
	uint64_t pfn;
	unsigned flags;
};
struct engine {
	pmpt_space *space;
	unsigned thread;
	uint64_t sequence;  /* the last transaction that is in page[] */
	uint64_t committed; /* what the user word said when it was opened */
	uint64_t changed;   /* pages that transactions changed */
	struct engine_page page[ENGINE_SLOTS];
};

/* Open the space of a thread; create: make it if there is none.  Returns 0 or the library's error. */
int engine_open(struct engine *engine, pmpt_pool *pool, unsigned thread, bool create);
void engine_close(struct engine *engine);
/* Bring page[] to the state after `sequence`, without the space. */
void engine_replay(struct engine *engine, uint64_t sequence);
/* The next transaction, on the space; page[] is up to it.  Returns 0: it is durable; else the
 * library's error, and page[] is spoilt. */
int engine_next(struct engine *engine);
/* acknowledged: the last of this thread, 0 if there is none.  why: out, what is wrong.
 * Returns 0 (valid), 1 (violation), or the library's error. */
int engine_verify(struct engine *engine, uint64_t acknowledged, char why[200]);

#endif
