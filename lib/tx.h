/* SPDX-License-Identifier: BSD-3-Clause */
/* tx -- transactions: what is planned in DRAM, and how it is committed.
 *
 * A transaction plans in DRAM: new values of words, count deltas, fresh tables (as shadows), frames
 * reserved.  Every table that it changes, frees or makes is its own (frames_own, a try-lock) until
 * it ends, so a plan stays true until the commit: nothing is validated again.
 *
 * ORDER (redo)	fresh tables and the caller's frames -> F1 -> lane -> descriptor locks, deltas
 *		become absolute words -> wal_commit -> unlock
 * LOCKS	pool.h
 */
#ifndef PMPT_TX_H
#define PMPT_TX_H

#include "wset.h"

/* Every thread that has begun a transaction keeps a slot; the rest is for more at once in
 * a thread. */
#define TX_SLOTS (PMPT_TX_MAX + 768u)

#define TX_COUNTED_BITS 10

#define TX_IN 2 /* spaces of a transaction that are told apart */

struct pmpt_pool;
struct pmpt_space;
struct bulk_range;
struct waiting;

struct fresh { /* a table that this transaction makes */
	uint64_t pfn;
	uint64_t *shadow; /* its content, FRAME_WORDS */
	bool zeroed;      /* the frame durably holds zeros */
	bool dead;        /* dropped again */
};

struct frame_run {
	uint64_t pfn, n;
};

/* In `old` of a delta: the kind that a free frame becomes; it was in use when it was first counted,
 * and must still be the same at the commit; it was first counted up, by a number that the caller
 * gave; and how often it had been freed by then. */
#define DELTA_KIND    ((uint64_t)0xff)
#define DELTA_LIVE    ((uint64_t)1 << 8)
#define DELTA_GIVEN   ((uint64_t)1 << 9)
#define DELTA_ALIASED ((uint64_t)1 << 10) /* the descriptor becomes ALIASED */
#define DELTA_STATE   ((uint64_t)1 << 11) /* the descriptor gets another WX state */
/* To tx_count, not in `old`: an entry of an owned table keeps the frame, so that it is not GIVEN. */
#define DELTA_KEPT        ((uint64_t)1 << 12)
#define DELTA_FREED_SHIFT 16 /* 16 bits */
#define DELTA_GEN_SHIFT   32 /* of a slot that comes into use: its generation */
#define DELTA_COUNT_SHIFT 32 /* STATE: the count by which that was planned */
#define DELTA_COUNT_MAX   ((uint64_t)0x1fffff)
#define DELTA_OLD_SHIFT   53 /* 2 bits: the state when it was first counted or set */
#define DELTA_NEW_SHIFT   55 /* 2 bits: STATE: what it gets */

static inline enum desc_kind delta_kind(const struct wal_word *delta)
{
	return (enum desc_kind)(delta->old & DELTA_KIND);
}

/* An entry over va in a table of that level linked a table, and will not; level 0: the space is
 * forked. */
struct tx_cut {
	struct pmpt_space *space; /* held */
	uint64_t va;
	unsigned level;
};

enum note_kind { NOTE_WORD, NOTE_DELTA, NOTE_STATE, NOTE_SHADOW, NOTE_DEAD };
struct note { /* how to take back a change of something older than the call that changed it */
	enum note_kind kind;
	size_t index;
	uint64_t old;
};

struct tx_mark { /* a state to roll back to */
	size_t words, deltas, fresh, reserved, notes, ranges;
	uint64_t dropped;
};

struct savepoint {
	uint64_t serial;
	struct tx_mark mark;
};

struct pmpt_tx {
	struct pmpt_pool *pool;
	_Atomic uint32_t busy; /* the slot is taken */
	uint16_t id;           /* slot + 1 */
	bool bound; /* the slot is its thread's until that ends: no locked instruction to take it */
	_Atomic bool open;
	_Atomic bool
		counting; /* it logs counts, and names groups of frames or slots until its end */
	bool bulk, spilled;
	bool marked;                  /* mark is not all zero */
	bool unfenced;                /* this port has flushed or streamed since its last fence */
	_Atomic(const void *) thread; /* that began it */
	/* Records of the spaces in which it plans, for who forks one of them, by whatever handle; more
	 * than fit: any */
	_Atomic(const struct space_record *) in[TX_IN];
	_Atomic bool in_any;
	struct pm pm;
	struct wset words; /* old: as home, without A and D */
	/* by descriptor; old: see DELTA_KIND; new: delta, two's complement */
	struct wset deltas;
	struct wset fresh_index; /* PFN -> index in fresh */
	struct wset originals;   /* bulk: PFNs of tables that it has copied: see plan.c */
	struct fresh *fresh;
	struct frame_run *reserved;
	struct note *note;
	struct savepoint *savepoint;
	uint64_t *own;                 /* PFNs of owned tables */
	struct pmpt_space **own_space; /* spaces whose user words are owned */
	struct pmpt_space **held;      /* spaces whose handles may not go before the end */
	struct tx_cut *cut;            /* redo: where it unlinks tables */
	struct waiting *wait;          /* empty, for the frames that a commit frees; or NULL */
	struct bulk_range *range;      /* bulk: what readers may not see */
	size_t n_fresh, room_fresh, n_reserved, room_reserved, n_notes, room_notes, n_savepoints,
		room_savepoints, n_own, room_own, n_own_spaces, n_held, room_held, room_own_spaces,
		n_ranges, room_ranges, n_cuts, room_cuts;
	uint64_t serial;                               /* of the next savepoint */
	uint64_t dropped;                              /* tables dropped */
	uint64_t counted[(1 << TX_COUNTED_BITS) / 64]; /* groups that may have a delta, by a hash */
	bool upper;                                    /* the plan changes tables above level 1 */
	struct tx_mark mark; /* at the beginning of the call in progress */
	/* The plan as words to log: list[0..n_list), descriptors from list_desc on, ascending. */
	struct wal_word *list;
	size_t n_list, room_list, list_desc;
	size_t list_freed, list_used; /* of its descriptors: counted down, and up from 0 */
	size_t n_waiting;             /* bulk: its first words, which a batch has left */
	/* when list was last measured against the room */
	uint64_t changes, measured_changes, measured_lines;
	_Atomic uint64_t commits;
};

static inline bool tx_is_open(const struct pmpt_tx *tx)
{
	return atomic_load_explicit(&((struct pmpt_tx *)tx)->open, memory_order_relaxed);
}

/* The plan has more than words. */
static inline bool tx_planned(const struct pmpt_tx *tx)
{
	return (tx->deltas.n | tx->n_fresh | tx->n_reserved | tx->n_notes | tx->n_ranges |
		tx->n_cuts | tx->dropped) != 0;
}

/* A fresh table with more entries than these is streamed, not logged: a stream costs 64 lines and
 * a fence. */
#define FRESH_WORDS 24

/* So many log lines at most: every line but the last has two words or more. */
static inline size_t tx_lines_max(const struct pmpt_tx *tx)
{
	return (tx->words.n + tx->deltas.n + FRESH_WORDS * tx->n_fresh + 1) / 2;
}

/* Note how to take back a change of something older than this call.  0 or -ENOMEM. */
int tx_note(struct pmpt_tx *tx, enum note_kind kind, size_t index, uint64_t old);

typedef int tx_fn(struct pmpt_tx *tx, const void *args);
/* Run fn as one call on tx: all of it or nothing.  tx NULL: as a transaction of its own, tried
 * again on conflicts. */
int tx_run(struct pmpt_pool *pool, struct pmpt_tx *tx, tx_fn *fn, const void *args);

int tx_own(struct pmpt_tx *tx, uint64_t pfn); /* 0; PMPT_E_CONFLICT; -ENOMEM */
/* It is going to own a table in the space: said before that, and once it does, asked whether the
 * space is being forked.  Between the two the locked instruction that owns its first table is the
 * barrier that who forks has on his side, too; of further spaces it may own the table already, so there
 * the first call has one, and asks.
 * 0; PMPT_E_CONFLICT. */
int tx_enter(struct pmpt_tx *tx, const struct pmpt_space *space);
int tx_entered(struct pmpt_tx *tx, const struct pmpt_space *space); /* is it being forked? */
bool tx_is_mine(const struct pmpt_tx *tx);                          /* this thread has begun it */
/* Does an open transaction plan in the space? */
bool tx_is_in(const struct pmpt_tx *tx, const struct pmpt_space *space);
int tx_own_space(struct pmpt_tx *tx, struct pmpt_space *space);
/* The handle lives at least as long as the transaction, whatever its user closes. */
int tx_hold(struct pmpt_tx *tx, struct pmpt_space *space);
/* An entry as this transaction sees it, without A and D. */
uint64_t tx_entry(const struct pmpt_tx *tx, uint64_t pfn, unsigned index);
/* Its table is owned.  0 or -ENOMEM. */
int tx_set_entry(struct pmpt_tx *tx, uint64_t pfn, unsigned index, uint64_t value);
/* n entries of an owned table, from `first` on, and setting them. */
void tx_entries(const struct pmpt_tx *tx, uint64_t pfn, unsigned first, unsigned n,
		uint64_t *entry);
int tx_set_entries(struct pmpt_tx *tx, uint64_t pfn, unsigned first, unsigned n,
		   const uint64_t *value);
uint64_t tx_word(const struct pmpt_tx *tx, uint64_t where); /* any other word */
int tx_set_word(struct pmpt_tx *tx, uint64_t where, uint64_t value);
/* One reference more (+1) or less (-1) to each of n frames.  kind: enum desc_kind, what a free frame
 * becomes; DELTA_ALIASED, DELTA_KEPT.
 * 0; PMPT_E_COUNT; PMPT_E_FRAME; -ENOMEM. */
int tx_count(struct pmpt_tx *tx, uint64_t pfn, uint64_t n, uint64_t kind, int delta);
/* The same, up, for frames that this transaction has just reserved: pages, which nothing counted yet. */
int tx_count_fresh(struct pmpt_tx *tx, uint64_t pfn, uint64_t n);
/* A frame in use, or counted up by this transaction, gets another WX state, if nobody else changes its
 * count or state before the commit.  kind: DESC_DATA, or DESC_TABLE of a segment's.  refs: as
 * frame_refs() has told.
 * 0; PMPT_E_COUNT; PMPT_E_FRAME; -ENOMEM. */
int tx_state(struct pmpt_tx *tx, uint64_t pfn, enum desc_kind kind, uint64_t refs, unsigned state);
/* Room for the changes of n pages that get other frames, so that it need not grow step by step. */
int tx_room(struct pmpt_tx *tx, uint64_t n_pages);
/* A reserved slot that this transaction has counted up gets this generation, 1..DESC_GEN_MAX. */
void tx_slot_generation(struct pmpt_tx *tx, uint64_t slot, uint32_t generation);
/* Reserve frames, after a checkpoint and growth if need be.  0; PMPT_E_NO_FRAMES; ... */
int tx_frames_take(struct pmpt_tx *tx, uint64_t n, uint64_t align, uint64_t *pfn);
/* The same from what is free at once, with no message. */
int tx_frames_try(struct pmpt_tx *tx, uint64_t n, uint64_t align, uint64_t *pfn);
/* Up to n frames for single pages, in one run: *got of them, at least 1.  As tx_frames_take. */
int tx_frames_some(struct pmpt_tx *tx, uint64_t n, uint64_t *pfn, uint64_t *got);
bool tx_reserved(const struct pmpt_tx *tx, uint64_t pfn); /* reserved by this transaction */
/* This transaction's alone, mapped once, and reserved since its last savepoint: what is in it is nobody's
 * to come back to. */
bool tx_private(const struct pmpt_tx *tx, uint64_t pfn);
/* A fresh, owned, empty table.  full: most of it will be filled.  Its count is 1. */
int tx_fresh_table(struct pmpt_tx *tx, bool full, uint64_t *pfn);
/* The fresh table in this frame, or NULL. */
struct fresh *tx_fresh(const struct pmpt_tx *tx, uint64_t pfn);
/* An owned table that nothing links any more: its frame will be free. */
int tx_drop_table(struct pmpt_tx *tx, uint64_t pfn);
/* It unlinks a table over va, named by an entry in a table of this level.  0; -ENOMEM. */
int tx_cut(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, unsigned level);
/* A bulk transaction changes [va, end) of the space. */
int tx_range(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, uint64_t end);
int tx_check(const struct pmpt_tx *tx); /* 0; PMPT_E_TX_STATE; PMPT_E_FORKED; PMPT_E_READ_ONLY */
void tx_free(struct pmpt_tx *tx);       /* an idle slot's memory */
/* It has copied a table that others link, too. */
int tx_copied(struct pmpt_tx *tx, uint64_t pfn);

/* plan.c */
/* Fill the list; deltas: else but what waits, as a batch. */
int commit_plan(struct pmpt_tx *tx, bool deltas);
void plan_batched(
	struct pmpt_tx *tx); /* a batch is at home: the words that it has left stay planned */
void list_count(struct pmpt_tx *tx);          /* list_freed and list_used, of the list as it is */
size_t commit_room(const struct pmpt_tx *tx); /* lines that the log has for it */
/* The content of a fresh table goes by the log: its frame holds zeros and it is small. */
bool fresh_logged(const struct pmpt_tx *tx, const struct fresh *f);
/* A delta as an absolute word, by the count as it is now.  Returns 0; PMPT_E_CONFLICT (the frame is
 * no more what it was when it was counted, or its state was planned); PMPT_E_COUNT. */
int desc_word(struct pmpt_tx *tx, const struct wal_word *delta, struct wal_word *out);

/* commit.c */
int bulk_spill(struct pmpt_tx *tx); /* the plan but for its deltas home, as a batch */
void tx_end(struct pmpt_tx *tx);    /* unlock all, forget the plan, free the slot */

#endif
