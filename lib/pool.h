/* SPDX-License-Identifier: BSD-3-Clause */
/* pool -- the core object over a region: log, frames, spaces, transactions.  What holds the region
 * is pool_obj.c's business.
 *
 * LOCKS, in this order	swap.clock > pool.names > a table's owner (try-lock) > a lane > wal.checkpointer > a
 *			group's descriptor lock > frames.lock
 *	pool.names	the directory of spaces and the handles	(mutex)
 *	pool.grow	one extent at a time			(mutex, above a lane)
 *	versions	table_lock > list_lock, for views	(mutexes, leaves but for each other)
 */
#ifndef PMPT_POOL_H
#define PMPT_POOL_H

#include "frame.h"
#include "pools.h"
#include "pwc.h"
#include "swap.h"
#include "tx.h"

/* Ranges of the open bulk transaction that are stored home and not committed: readers get
 * PMPT_E_BUSY.  Replaced, never changed. */
struct bulk_range {
	const struct pmpt_space *space;
	uint64_t va, end;                  /* half open, 48-bit addresses */
	const struct space_record *record; /* of the space, whose handle a view may outlive */
};
struct bulk_ranges {
	_Atomic unsigned users; /* the pool, and views that it hides from */
	size_t n, room;         /* ascending by space and va, apart */
	struct bulk_range range[];
};

struct pmpt_space {
	struct pmpt_pool *pool;
	const pm_word *root; /* the PML4, constant while a handle is open */
	struct space_record *record;
	uint64_t root_pfn;
	char *base; /* the region's, and its size: what a walk needs */
	uint64_t bytes;
	/* readers must look closer: a bulk transaction is open on it, or this is a forked child */
	_Atomic bool slow;
	/* open transactions hold some; the last goes, and the first comes, under pool.names */
	_Atomic unsigned refs;
	_Atomic uint16_t owner;   /* transaction that changes the user words, or 0 */
	_Atomic uint16_t forking; /* transaction that forks it, or 0: others keep out */
	bool snapshot;            /* read-only */
	_Atomic bool wx;          /* no page of it is writable and executable (policy.h) */
	char name[PMPT_NAME_MAX + 1];
	struct pwc pwc;
};

struct pmpt_pool {
	struct region region;
	struct region *rg; /* &region */
	struct mem mem;
	struct wal wal;
	struct frames frames;
	struct sb *sb;
	_Atomic(struct bulk_ranges *) bulk_ranges; /* RCU; NULL: none */
	/* odd: from before a bulk transaction draws its first LSN until all of it is at home, or all
	 * of it taken back */
	_Atomic uint64_t bulk_serial;
	struct pools_entry pools;
	_Atomic bool forked; /* this is a child: the handle is dead */
	unsigned flags;
	char *path; /* for messages; NULL: the region has none */
	enum pmpt_medium medium;
	pthread_mutex_t names, grow;
	struct pmpt_space **space; /* by record; NULL: not open */
	struct pmpt_space *spare;  /* the memory of one that was closed, or NULL */
	_Atomic bool unfreed;      /* a delete has left a rest that a later call may free */
	_Atomic(struct pmpt_tx *) tx[TX_SLOTS];
	_Atomic unsigned ending; /* threads that end and abort what they have open */
	_Atomic uint64_t aborts, conflicts;
	struct pmpt_recovery recovery;
	struct swap swap;
	/* Take one more extent object: its offset and size.  NULL: the region cannot grow. */
	int (*take_extent)(void *ctx, uint64_t index, uint64_t *off, uint64_t *bytes);
	/* In a child of fork(): what keeps others out is the parent's alone.  NULL: nothing does. */
	void (*in_child)(void *ctx);
	void *ctx;
	size_t ctx_bytes; /* not 0: ctx is this pool's to free */
};

/* Open the core over a region whose superblock region_check() accepts: recovers it, finishes an
 * interrupted delete.  rg is copied, its path too; what it describes outlives the pool.
 * Returns as pmpt_open. */
int core_open(const struct region *rg, unsigned flags, struct pmpt_pool **pool);
/* checkpoint: false in tests that want to see the log as it stands.  As pmpt_close. */
int core_close(struct pmpt_pool *pool, bool checkpoint);
int pool_grow(struct pmpt_pool *pool); /* by one extent.  0; PMPT_E_NO_FRAMES; ... */

/* Entries or records are going to make use of what an older library does not know: the superblock
 * durably says so first.  0; PMPT_E_IO. */
int pool_feature(struct pmpt_pool *pool, uint64_t feature);
int pool_feature_gone(struct pmpt_pool *pool, uint64_t feature); /* nothing makes use of it */

static inline bool forked(const struct pmpt_pool *pool)
{
	return __builtin_expect(
		atomic_load_explicit(&((struct pmpt_pool *)pool)->forked, memory_order_relaxed), 0);
}
int pool_ours(const struct pmpt_pool *pool); /* 0; PMPT_E_FORKED */
/* 0; PMPT_E_FORKED; PMPT_E_READ_ONLY. */
int pool_writable(struct pmpt_pool *pool);

/* lookup.c.  Readers of this space must look closer.  In a reader section. */
static inline bool space_slow(const struct pmpt_space *space)
{
	return __builtin_expect(
		atomic_load_explicit(&((struct pmpt_space *)space)->slow, memory_order_acquire), 0);
}
/* It is slow: does an open bulk transaction hide a part of [va, end), 48-bit addresses?  In a reader
 * section.  Returns 0; PMPT_E_BUSY; PMPT_E_FORKED. */
int space_hidden(const struct pmpt_space *space, uint64_t va, uint64_t end);

/* The entry that ends the walk of va, which is canonical: a page, or nothing.  In a reader section.
 * Returns 0; PMPT_E_BUSY; PMPT_E_CORRUPT; PMPT_E_FORKED. */
int space_look(const struct pmpt_space *space, uint64_t va, uint64_t *entry, unsigned *level);

/* space.c */
/* Open the live space of a record.  wait: for pool.names; else it is only tried.
 * Returns 0; PMPT_E_NO_SPACE (no message); PMPT_E_BUSY; PMPT_E_CORRUPT; -ENOMEM. */
int space_open_at(struct pmpt_pool *pool, uint32_t i, bool wait, struct pmpt_space **space);
void space_hold(struct pmpt_space *space); /* one reference more; pmpt_space_close gives it back */
/* Finish deletes that were interrupted; what cannot be freed is logged and left for the next open.
 * Returns 0; PMPT_E_IO; PMPT_E_READ_ONLY. */
int spaces_resume(struct pmpt_pool *pool);
/* Take up what deletes of this process have left, if there is any; the same once more if it fails. */
void spaces_retry(struct pmpt_pool *pool);

#ifdef PMPT_TEST
extern bool test_skip_recovery; /* sabotage: core_open forgets the log */
#endif

#endif
