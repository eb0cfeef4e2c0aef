/* SPDX-License-Identifier: BSD-3-Clause */
/* frame -- free frames, frames that wait, and who owns which table; all of it DRAM.
 *
 * On the medium a frame is free iff its descriptor's count is 0.  Here a *group* (512 frames, one
 * frame of descriptors) is read when first needed, so opening costs nothing.
 *
 * STATES of a frame
 *	free -> reserved (frames_take) -> in use (a commit stores count > 0)
 *		|			-> waiting (a commit stores 0) -> free
 *		|-> free (frames_give: never used)
 *		waiting -> held (a view is open that sees its use and not its free [V3]) -> free
 * INVARIANTS	F2 a table freed at LSN x waits for a durable checkpoint_lsn >= x; any frame that
 *		   readers may have seen for a grace period
 * LOCKS	frames.lock is a leaf but for frames that it fills; taken under the checkpointer's
 *		lock, so no checkpoint may be asked for under it.
 *		A group's descriptor lock is taken in ascending order of groups, after a lane, by
 *		committers only.
 */
#ifndef PMPT_FRAME_H
#define PMPT_FRAME_H

#include "swap_area.h"
#include "wal.h"

struct group {
	pm_word *desc;                    /* of its first frame */
	uint64_t extent;                  /* first PFN of its extent */
	uint32_t n_frames;                /* fewer than GROUP_FRAMES at an extent's end */
	uint64_t free[GROUP_FRAMES / 64]; /* bit set: free and not reserved */
	uint32_t n_free;
	_Atomic uint32_t desc_lock; /* a committer changes descriptors of this group [F5] */
	/* transaction that owns the table in this frame, or 0 */
	_Atomic uint16_t owner[GROUP_FRAMES];
	/* how often this frame has become free since the pool was opened: tells one use from the next */
	_Atomic uint16_t freed[GROUP_FRAMES];
	/* no transaction at or below this LSN can have used the frame as it is used now [V3]; NULL: none
	 * was reserved here while a view was open */
	uint64_t *born;
};

struct waiting { /* frames that a transaction freed or gave back */
	struct waiting *next;
	/* of the last free, which counts for all, and of the first; 0: no line can be on them */
	uint64_t lsn, first;
	uint64_t holder; /* in `held`: LSN of the oldest view that sees all of them */
	size_t n, room;
	uint64_t frame[]; /* PFN << 1 | is a table */
};

/* The swap tier's slots, as frames: groups of pseudo-frames from SLOT_FIRST on. */
struct frames_slots {
	struct swap_area area;          /* off 0: there are none */
	_Atomic(struct group *) *group; /* by slot / 512; NULL: not read yet */
	uint64_t n_groups, cursor;
};

#define FRAMES_ZEROED 64
struct frames {
	struct region *rg;
	struct mem *mem;
	struct wal *wal;
	pthread_mutex_t reclaim; /* one reclaims; who needs frames waits for what it frees */
	pthread_mutex_t lock;
	struct extents extents;
	_Atomic(struct group *) *group; /* by PFN / 512; NULL: not read yet */
	uint64_t n_groups;
	/* groups where searches for single frames (by hint) and for runs begin */
	uint64_t cursor[16], run_cursor;
	struct waiting *waiting;
	_Atomic size_t n_waiting;
	struct waiting *held; /* what views see; to change it: both locks */
	_Atomic size_t n_held;
	uint64_t zeroed[FRAMES_ZEROED]; /* reserved frames that hold durable zeros [F1] */
	/* the first n_zeroed are durable, the next n_zeroing after the checkpoint's fence */
	unsigned n_zeroed, n_zeroing;
	bool no_zeroing;
	uint64_t n_free; /* free frames in the groups that were read */
	uint64_t n_read; /* the groups before this one have been */
	/* groups before this one have had single frames taken, and free frames in them */
	uint64_t top, n_low;
	struct frames_slots slots;
};

int frames_open(struct frames *fr, struct region *rg, struct mem *mem, struct wal *wal);
void frames_close(struct frames *fr);
/* The superblock says that one more extent is in use.  Returns 0; PMPT_E_CORRUPT; -ENOMEM. */
int frames_extent_added(struct frames *fr);

/* Reserve n contiguous frames at a multiple of align (1 or 512); hint: any number, spreads single
 * frames over groups.  Looks at free frames only: see tx_frames_take for checkpoint and growth.
 * Returns 0; PMPT_E_NO_FRAMES (message unset); -ENOMEM. */
int frames_take(struct frames *fr, unsigned hint, uint64_t n, uint64_t align, uint64_t *pfn);
/* Reserve up to n frames for single pages, in one run as long as there is one: *got of them, at least 1.
 * Returns as frames_take. */
int frames_take_some(struct frames *fr, unsigned hint, uint64_t n, uint64_t *pfn, uint64_t *got);
/* One reserved frame that holds durable zeros; false: there is none. */
bool frames_take_zeroed(struct frames *fr, uint64_t *pfn);
/* Back to free at once: frames that no reader can have seen and no line names. */
void frames_give(struct frames *fr, uint64_t pfn, uint64_t n);
void frames_give_locked(struct frames *fr, uint64_t pfn, uint64_t n); /* frames.lock is held */

/* Free frames; reads all groups, at the first call all descriptors. */
uint64_t frames_free(struct frames *fr);
/* Frames and slots that wait, or that views hold: they will be free without anybody's doing. */
static inline uint64_t frames_pending(const struct frames *fr)
{
	return atomic_load_explicit(&((struct frames *)fr)->n_waiting, memory_order_relaxed) +
	       atomic_load_explicit(&((struct frames *)fr)->n_held, memory_order_relaxed);
}

/* Of these the frames. */
uint64_t frames_held(struct frames *fr);

/* Slots are frames from now on.  Returns 0; -ENOMEM. */
int frames_slots_set(struct frames *fr, const struct swap_area *area);
/* And no more: none is in use or waits, no transaction under way names one. */
void frames_slots_clear(struct frames *fr);
/* Slots that wait, or that views hold. */
uint64_t frames_slots_pending(struct frames *fr);
/* Reserve up to n consecutive slots.  Returns how many, 0: none is free. */
unsigned frames_slots_take(struct frames *fr, unsigned n, uint64_t *slot);

struct waiting *frames_wait_alloc(struct frames *fr, size_t room);
static inline void frames_wait_add(struct waiting *w, uint64_t pfn, bool table)
{
	w->frame[w->n++] = pfn << 1 | table;
}
/* Hand over: they become free when F2 lets them.  n may be 0; frees w then. */
void frames_wait(struct frames *fr, struct waiting *w, uint64_t lsn);
/* The same, with those that wait already, where there is room: then w is the caller's again, empty.
 * Returns false: it stays as it is. */
bool frames_wait_join(struct frames *fr, struct waiting *w, uint64_t lsn);
void frames_wait_free(struct frames *fr, struct waiting *w); /* of no frames; w may be NULL */
void frames_wait_end(struct frames *fr); /* nobody waits any more: the pool closes */
/* n frames from pfn on have been reserved, and a view may be open: it sees nothing of what they are going
 * to be.  frames.lock is held. */
void frames_born(struct frames *fr, uint64_t pfn, uint64_t n);
/* The oldest of the views that hold frames becomes stale, if n as in frames_take() can be had that way;
 * frames_reclaim() gives back what nobody else sees.  False: nothing was done. */
bool frames_views_expire(struct frames *fr, uint64_t n, uint64_t align);
/* Free what may be freed.  all: at any price, a checkpoint and a grace period; else only when
 * enough are waiting to be worth a grace period.  The caller is in no reader section and holds
 * no lane.
 * Returns 0; PMPT_E_IO. */
int frames_reclaim(struct frames *fr, bool all);

/* A descriptor's home; NULL: no frame of the pool, or no memory. */
pm_word *frames_desc(struct frames *fr, uint64_t pfn);
/* Why it is NULL: -ENOMEM or PMPT_E_FRAME, with the message. */
int frames_desc_none(struct frames *fr, uint64_t pfn);
/* The frame that a `where` of class DESC describes; it is known to be one. */
uint64_t frames_pfn_of_desc(struct frames *fr, uint64_t where);
/* Group of a frame, read if need be.  NULL: no frame of the pool, or no memory. */
struct group *frames_group(struct frames *fr, uint64_t pfn);
/* The same of a frame that was reserved: its group has been read. */
struct group *frames_group_known(const struct frames *fr, uint64_t pfn);
/* How often frame `at` of a group has become free, modulo 1 << 16. */
static inline uint64_t frames_freed(const struct group *g, unsigned at)
{
	return atomic_load_explicit(&((struct group *)g)->freed[at], memory_order_acquire);
}

/* Own a table for transaction id.  taken: out, true when it was not owned before.
 * Returns 0 (now or before); PMPT_E_CONFLICT; PMPT_E_FRAME; -ENOMEM. */
int frames_own(struct frames *fr, uint64_t pfn, uint16_t id, bool *taken);
void frames_disown(struct frames *fr, uint64_t pfn);

static inline void group_lock(struct group *g)
{
	uint32_t idle;

	do {
		while (atomic_load_explicit(&g->desc_lock, memory_order_relaxed))
			__builtin_ia32_pause();
		idle = 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&g->desc_lock, &idle, 1, memory_order_acquire, memory_order_relaxed));
}
static inline void group_unlock(struct group *g)
{
	atomic_store_explicit(&g->desc_lock, 0, memory_order_release);
}

#endif
