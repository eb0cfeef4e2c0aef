/* SPDX-License-Identifier: BSD-3-Clause */
/* wal -- the write-ahead log: lanes of lines, the bulk lane, LSNs, the checkpoint.
 *
 * The log knows words, not tables: a word is {where, old, new}, see layout.h.  Redo lanes are
 * wal.c, the bulk lane bulk.c, the checkpoint checkpoint.c, what happens at the next open is
 * recovery/replay.c.
 *
 * STATES of a half: open (filled from slot 0) -> full -> covered (durable checkpoint_lsn >=
 * last[half]) -> open.
 */
#ifndef PMPT_WAL_H
#define PMPT_WAL_H

#include <pthread.h>

#include "region.h"
#include "rules.h"
#include "version.h"

#define LSN_STEP ((uint64_t)1 << 32) /* lsn_limit is raised by this */
/* and when fewer than this are left: more than all lanes can draw at once */
#define LSN_SLACK ((uint64_t)1 << 26)

/* A word to log.  Callers give them sorted by `where` where they can: contiguous sequences become
 * RUN lines. */
struct wal_word {
	uint64_t where, old, new;
};

struct wal_lane { /* a redo lane; owned by one committer at a time (busy) */
	/* 0, or no LSN of the transaction in progress is below it [W4] */
	_Alignas(64) _Atomic uint64_t low;
	_Atomic uint32_t busy;
	/* its last fence failed: low stays, nothing goes home any more */
	_Atomic bool failed;
	unsigned half;     /* the open half */
	uint32_t head;     /* its next slot */
	uint64_t last[2];  /* highest LSN in each half */
	struct line *line; /* home of slot 0 */
	/* Home lines stored since the last checkpoint: a ring that only the owner fills and only
	 * the checkpointer empties.  The halves bound it. */
	uint64_t *dirty; /* line number << 8 | lines - 1 */
	uint64_t dirty_mask;
	_Atomic uint64_t dirty_head, dirty_tail;
	_Atomic uint64_t log_lines;
	struct pm pm;
};

/* the bulk lane; owned by one transaction from bulk_begin to bulk_end / bulk_abort */
struct wal_bulk {
	_Atomic uint32_t busy;
	_Atomic uint64_t log_lines;
	uint32_t head; /* next slot */
	uint64_t last; /* LSN of the line before it */
	bool from_set; /* bulk_from is durable */
	struct line *line;
	struct pm pm;
};

struct wal {
	struct region *rg;
	struct mem *mem;
	struct sb *sb;
	uint32_t crc_seed; /* of the salt */
	uint32_t n_lanes, half_lines, bulk_lines;
	struct wal_lane *lane;
	struct wal_bulk bulk;
	_Alignas(64) _Atomic uint64_t next;  /* the next LSN to draw */
	_Alignas(64) _Atomic uint64_t limit; /* durable lsn_limit */
	_Atomic uint64_t checkpoint;         /* durable checkpoint_lsn */
	_Atomic uint64_t checkpoints;
	_Alignas(64) struct versions versions; /* for read views */
	uint64_t lsn_step, lsn_slack;          /* LSN_STEP, LSN_SLACK; tests shrink them */
	pthread_mutex_t checkpointer;          /* one at a time [W4]; guards the four below */
	struct pm pm;                          /* the checkpointer's port */
	uint64_t *sort; /* home lines to flush, and as much again to sort them; grows */
	size_t sort_max;
	/* Called inside a checkpoint before its first fence: more to make durable under it (frames
	 * zeroed ahead).  May be NULL. */
	void (*prepare)(void *ctx, struct pm *pm);
	void (*prepared)(void *ctx); /* and behind that fence */
	void *prepare_ctx;
};

/* ---- wal.c: lines, lanes, redo commit -------------------------------------------------------- */

/* After recovery: LSNs go on from checkpoint_lsn + 1.  Returns 0 or -ENOMEM. */
int wal_open(struct wal *wal, struct region *rg, struct mem *mem);
void wal_close(struct wal *wal);

uint32_t wal_crc_seed(uint64_t salt);
/* as if its crc field were 0 */
uint32_t line_crc(uint32_t seed, const struct line *line, uint64_t slot_off);
/* Make a packed line valid in its slot. */
void line_seal(const struct wal *wal, struct line *line, const struct line *slot, uint64_t lsn,
	       unsigned flags, unsigned count);
/* The line in this slot is VALID (layout.h).  Reads 64 bytes, may be any. */
bool line_valid(uint32_t seed, const struct line *line, uint64_t slot_off);

/* Log lines that n words need, RUNs found as wal_commit finds them: exact for these words in
 * this order. */
size_t wal_lines(const struct wal_word *word, size_t n);
/* The next line's worth of words, a RUN where >= 3 words form one: fills kind and payload, returns
 * how many words it took. */
size_t wal_pack(struct line *line, const struct wal_word *word, size_t n);

/* Take a lane with room for n lines in its open half, n <= half_lines; checkpoints where it must.
 * Before the caller's commit locks [W9].
 * hint: any number, the preferred lane.
 * Returns 0; PMPT_E_TX_TOO_LARGE; PMPT_E_IO. */
int wal_lane_take(struct wal *wal, unsigned hint, size_t n, struct wal_lane **lane);
void wal_lane_give(struct wal_lane *lane);

/* Log n words as one redo transaction of n_lines = wal_lines(word, n), fence, store them home.  Its
 * fence is the commit point.
 * All locks of the words are held [W7]; n >= 1; the lane has room for n_lines.  last: out, its LSN.
 * Returns 0; PMPT_E_IO: nothing stored home, the pool is read-only from now on; whether it is
 * committed the next open will tell. */
int wal_commit(struct wal *wal, struct wal_lane *lane, const struct wal_word *word, size_t n,
	       size_t n_lines, uint64_t *last);

/* Wait until every redo transaction whose LSNs are at or below lsn is at home [V2].  Its commits wait
 * for nothing of ours. */
void wal_settle(const struct wal *wal, uint64_t lsn);

/* Old values of words that are about to be stored home, for views; between the fence and the
 * stores [V1]. */
static inline void wal_versions(struct wal *wal, const struct wal_word *word, size_t n,
				uint64_t last)
{
	if (versions_wanted(&wal->versions))
		versions_save(&wal->versions, word, n, last);
}
/* Store one word home, as its class demands (entries keep A and D). */
static inline void wal_apply(const struct region *rg, struct pm *pm, uint64_t where, uint64_t value)
{
	pm_word *home = region_at(rg, WHERE_OFF(where));

	if (WHERE_CLASS(where) == WHERE_ENTRY)
		pm_store_entry(pm, home, value);
	else
		pm_store(pm, home, value);
}
/* Words of a valid line: 0 to 2, or a RUN's count. */
static inline unsigned line_words(const struct line *line)
{
	return line->kind == LINE_RUN
		       ? RUN_COUNT(line->run.where)
		       : (line->word[0].where != 0 ? 1u : 0) + (line->word[1].where != 0 ? 1u : 0);
}
/* Its ith word; a RUN's values under its mask are combined with what is home now. */
struct wal_word line_word(const struct region *rg, const struct line *line, unsigned i);

/* ---- bulk.c ---------------------------------------------------------------------------------- */

/* Own the bulk lane.  Returns 0 or PMPT_E_TX_LIMIT (another has it). */
int bulk_begin(struct wal *wal);
size_t bulk_room(const struct wal *wal); /* lines left */
/* Log a batch, make it durable (bulk_from under the same fence), store it home.  The words' locks
 * are held and stay so until the end.
 * Returns 0; PMPT_E_TX_TOO_LARGE (does not fit; nothing happened); PMPT_E_IO. */
int bulk_batch(struct wal *wal, const struct wal_word *word, size_t n);
/* The last batch, n may be 0: with LAST; its fence is the commit point.  Then home lines durable,
 * checkpoint over it, bulk_from = 0 durable [W8].  All locks stay held until it returns.
 * Returns 0 (committed, finished); PMPT_E_IO. */
int bulk_commit(struct wal *wal, const struct wal_word *word, size_t n, uint64_t *last);
/* Old values home, newest first; flush, fence, bulk_from = 0, persist [W8].
 * Returns 0; PMPT_E_IO. */
int bulk_abort(struct wal *wal);
/* give the lane to another; after bulk_commit or bulk_abort, and after the caller's unlock */
void bulk_end(struct wal *wal);

/* ---- checkpoint.c ---------------------------------------------------------------------------- */

/* Make home lines durable and advance checkpoint_lsn as far as it may go now.
 * Returns 0; PMPT_E_IO. */
int wal_checkpoint(struct wal *wal);
/* Until durable checkpoint_lsn >= lsn.  The caller holds no announced low.
 * Returns 0; PMPT_E_IO. */
int wal_checkpoint_to(struct wal *wal, uint64_t lsn);
/* Make sure that LSNs can be drawn: raises lsn_limit, durably, when fewer than slack are left [W5].
 * Returns 0; PMPT_E_IO. */
int wal_limit_ensure(struct wal *wal);

static inline uint64_t wal_checkpointed(const struct wal *wal)
{
	return atomic_load_explicit(&wal->checkpoint, memory_order_acquire);
}

#endif
