/* SPDX-License-Identifier: BSD-3-Clause */
/* storm -- a process that changes a pool from several threads and acknowledges each committed
 * transaction over a pipe, is killed, and is held to its word.
 *
 * Thread t has a space of its own, "storm-t".  Its transaction number s is a function of the seed,
 * t, s and the pages before it: a few operations that touch 1 to some hundred pages, and user word 0,
 * which becomes s.  So the state after s transactions is known without any record of it.
 * VALID IF AND ONLY IF for each space, with s in its user word 0: (1) s is the last transaction
 * that was acknowledged, or the one after it; (2) every page is as after exactly s transactions.
 * (1) fails where an acknowledged transaction is lost, (2) where a part of one is there or missing.
 */
#ifndef PMPT_STORM_H
#define PMPT_STORM_H

#include "libpmpt.h"

#define STORM_THREADS_MAX 16
#define STORM_PAGES       4096u /* in each space */

struct storm {
	const char *path;
	uint64_t seed;
	unsigned threads;
	unsigned ms; /* the kill comes after so many; 0: the writer kills itself (a test) */
	/* A test's seam: called in the writer before its first transaction. */
	void (*in_writer)(void);
	/* Called while acknowledgements come in; may be NULL. */
	void (*progress)(void *ctx, uint64_t acknowledged);
	void *ctx;
};

struct storm_round {                                /* what the parent saw */
	uint64_t acknowledged[STORM_THREADS_MAX];   /* last of each thread */
	uint64_t before[STORM_THREADS_MAX];         /* committed when the round began */
	uint64_t transactions, pages, verify_pages; /* of this round; pages that they touched */
	uint64_t unacknowledged; /* committed, and killed before it could say so */
	double seconds;
	struct pmpt_recovery recovery;
	char why[256]; /* what is wrong, "" if nothing is */
};

/* Fork the writer, read its acknowledgements, kill it, wait for its end.  Returns 0; a negated
 * errno; 1 when the writer ended by itself with an error (in why). */
int storm_kill(const struct storm *storm, struct storm_round *round);
/* Open the pool, which recovers it, and judge it.  Returns 0 (valid); 1 (why tells); an error of
 * pmpt_open. */
int storm_verify(const struct storm *storm, struct storm_round *round);

#endif
