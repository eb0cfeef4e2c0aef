/* SPDX-License-Identifier: BSD-3-Clause */
/* swap -- the swap tier: pages that are in slots of a file instead of frames.
 *
 * STATES of a page	present (entry: P, frame)
 *			-> out (entry: not P, KIND_SWAP, slot): swap_out_pages()
 *			-> present: swap_in_entry()
 *	Both change what holds a page and not the page: all spaces that share the table see it move,
 *	snapshots too, and no table is copied for it.
 * ORDER (out)	slot reserved -> page copied -> slot written -> fdatasync -> one transaction: table
 *		owned, entry, count and content checked again, entry and both counts
 *		-> the frame waits as any that was freed [F2]
 *	(in)	table owned -> slot read and checked -> fresh frame streamed -> F1 -> one transaction:
 *		entry and both counts -> the slot waits for a grace period
 * INVARIANTS	S1 an entry refers to a slot only if the file durably held the page before the
 *		   entry's line was streamed
 *		S2 a slot that an entry of a live or future version refers to is not written: it is
 *		   reserved by the transaction that writes it, free in every committed state
 *		   (an aborted one leaves what it wrote: the next use has another generation)
 *		S3 who loaded an entry inside a reader section, or owns its table, may read its slot
 *		   as long as that lasts
 * LOCKS	swap.auto_lock > swap.clock > pool.names; who runs out of frames in the middle of a call only tries both.
 *		swap.file_lock is a leaf: the file stays open while it is read.
 * Files: swap.c on, off, status; swap_move.c out; swap_in.c in; swap_evict.c the clock and its thread.
 */
#ifndef PMPT_SWAP_H
#define PMPT_SWAP_H

#include <pthread.h>

#include "frame.h"
#include "swap_file.h"

#define SWAP_BATCH 64u /* pages under one fdatasync and in one transaction */

struct pmpt_pool;
struct pmpt_space;
struct pmpt_tx;
struct path;

struct swap_page { /* on its way out */
	struct pmpt_space *space;
	uint64_t va, entry; /* as it was seen */
	uint64_t slot;      /* 0: it has not got one, or is out of the race */
	uint32_t generation;
};

struct swap {
	pthread_mutex_t clock; /* who moves pages out, or turns the tier on or off */
	pthread_rwlock_t file_lock;
	struct swap_file file;
	struct swap_area area; /* off 0: there is no tier */
	char path[PMPT_SWAP_PATH_MAX + 1];
	/* why the file was not taken at open, 0: it was; and the message */
	int missing;
	char why[PMPT_SWAP_PATH_MAX + 256];
	_Atomic uint64_t outs, ins;
	uint32_t generation; /* of the last slot written; clock */
	/* by slot: what this open has written there, 0: its descriptor says it.  An entry goes home
	 * before the descriptors of its transaction, and a reader may come between */
	_Atomic uint32_t *written;
	/* clock: SWAP_BATCH each, one allocation */
	struct swap_room *room;
	struct pm pm;
	/* the hand: the next table to look at; clock */
	uint32_t hand_record;
	uint64_t hand_va;
	/* water marks, 0: none */
	_Atomic uint64_t low, high;
	pthread_mutex_t auto_lock; /* who sets them */
	pthread_t thread;
	bool running; /* there is one; auto_lock */
	pthread_mutex_t wake_lock;
	pthread_cond_t wake;
	bool stop; /* wake_lock */
};

struct swap_room {
	_Alignas(64) char page[SWAP_BATCH][4096];
	struct swap_slot slot[SWAP_BATCH];
	uint32_t generation[SWAP_BATCH];
	struct swap_page out[SWAP_BATCH];
};

/* ---- for the pool ---------------------------------------------------------------------------- */

void swap_init(struct pmpt_pool *pool);
/* After recovery, before a space is touched: what the directory says, and its file.  A file that is
 * lost, foreign, short or damaged is told to the log callback and is no error.
 * Returns 0; -ENOMEM; PMPT_E_IO; PMPT_E_CORRUPT. */
int swap_open(struct pmpt_pool *pool);
void swap_close(struct pmpt_pool *pool); /* after swap_pause(), before frames_close() */
void swap_fini(struct pmpt_pool *pool);
/* The thread ends; and goes on, if it was there. */
void swap_pause(struct pmpt_pool *pool);
void swap_resume(struct pmpt_pool *pool);

/* ---- for readers and faults ------------------------------------------------------------------ */

/* The page of a reservation of kind SWAP, without bringing it in.  entry: loaded in the caller's
 * reader section, or in a table that he owns [S3].  buf: 4096 bytes.
 * Returns 0; PMPT_E_SLOT (damaged, or the file is lost). */
int swap_fetch(struct pmpt_pool *pool, uint64_t entry, void *buf);
/* Bring the page in: the path ends in an owned table of level 1, at this entry.  The entry keeps
 * its permissions; one that other entries share the slot with has a frame of its own then.
 * Returns 0; PMPT_E_SLOT, _NO_FRAMES, _COUNT ... */
int swap_in_entry(struct pmpt_tx *tx, const struct path *p, uint64_t entry);
/* Inside a call: the same for the page at va, in the table where it is, which relatives may share.
 * Returns as above; SWAP_CHANGED: it is not out, or its table went meanwhile: nothing was done;
 * PMPT_E_CONFLICT. */
int swap_in_page(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va);
#define SWAP_CHANGED 1

/* ---- inside ---------------------------------------------------------------------------------- */

/* swap_move.c.  swap.clock is held.  Move n pages out, n <= SWAP_BATCH, that swap.room->out names;
 * those that change meanwhile stay.  *done: added to.
 * Returns 0; PMPT_E_SWAP; PMPT_E_IO ... */
int swap_out_pages(struct pmpt_pool *pool, unsigned n, uint64_t *done);
/* Own the table of level 1 over va as it is, shared or not.  Returns 0; SWAP_CHANGED: there is none;
 * PMPT_E_CONFLICT ... */
int swap_own_table(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, struct path *p);
/* swap_in.c.  Bring in what is out in [va, end), 48-bit addresses.  As pmpt_swap_in. */
int swap_in_range(struct pmpt_space *space, uint64_t va, uint64_t end, uint64_t *done);
/* Is it a page that may go out, by its entry and its frame's descriptor? */
bool swap_may_out(struct pmpt_pool *pool, uint64_t entry);
/* The table of level 1 over the first address at or above *va that has one, which goes there; NULL:
 * none below end.  In a reader section. */
const pm_word *swap_table(const struct pmpt_space *space, uint64_t *va, uint64_t end);
/* A swap file's path, which does not depend on where the process stands.  0; -EINVAL, -ENAMETOOLONG. */
int swap_path_set(char out[PMPT_SWAP_PATH_MAX + 1], const char *path, const char *suffix);
int swap_usable(struct pmpt_pool *pool); /* pages can go out: 0; PMPT_E_SWAP.  clock is held */

/* swap_evict.c: a transaction of this thread needs n frames and there are none: move others' pages
 * out, if water marks are set.  True: it is worth another try. */
bool swap_make_room(struct pmpt_pool *pool, uint64_t n);

#endif
