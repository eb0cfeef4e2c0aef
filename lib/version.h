/* SPDX-License-Identifier: BSD-3-Clause */
/* version -- which read views are open, and the words that they see and that home has no more; all
 * of it DRAM.
 *
 * A view sees the transactions up to its LSN.  Who changes a word while a view is open notes its old
 * value first; a view that finds a version newer than itself takes the oldest such.
 *
 * FORMAT of a table: versions in the order of their LSNs for each word, chained by a hash of the
 * word's offset, the newest first.  A table that is full is replaced by one with what is still
 * needed, twice the room; readers go on in the old one until a grace period is over.
 * INVARIANTS	V1 a transaction whose LSN is above an open view's has noted the old value before
 *		   it stores a word home (RULE_VIEW_SAVE)
 *		V2 one that is not above it is at home when the view's open returns
 *		   (RULE_VIEW_WAIT)
 *		V3 a frame put to use at or below an open view's LSN and freed above it keeps its
 *		   content (RULE_VIEW_FRAMES)
 *		V4 what V1 cannot keep for want of memory, or V3 for want of frames, makes the view
 *		   stale first: a reader looks for that last
 *		A version of LSN x, the one before it of the same word of LSN w, is needed by views
 *		from w on and below x.
 * ORDER	open: count the view (S1), then read the next LSN (S2), then wait until no lane has
 *		announced one at or below (S3).
 *		commit: announce (C1), draw (C2), lines and fence, read the count (C3), note the old
 *		values, home.  All of S1, S2, C2 and C3 are sequentially consistent.
 *		C2 before S2 in the order of `next`: S3 sees the announcement of C1 until all is
 *		home [V2].  C2 behind S2: C3 sees S1 [V1].  There is no third case, and no fence.
 * LOCKS	table > list; both leaves otherwise.  `table` is held while words are noted, `list`
 *		for a few instructions: an open waits for nobody's words.
 */
#ifndef PMPT_VERSION_H
#define PMPT_VERSION_H

#include <pthread.h>

#include "region.h"
#include "rules.h"

struct wal_word;
struct pmpt_view;

struct version {
	uint64_t off;      /* of the word */
	uint64_t lsn, old; /* until this transaction the word was old */
	uint32_t next;     /* in the chain: 1 + its index; 0: none */
};

struct version_table {
	struct version_table *retired; /* the next one that readers may still be in */
	size_t bytes;
	uint32_t n, room; /* room: a power of two */
	unsigned shift;   /* of the hash */
	_Atomic uint32_t *head;
	struct version version[];
};

#define VIEWS_SPARE 16u

struct versions {
	_Atomic uint32_t n_live;               /* as n_open: committers look here, without a lock */
	_Atomic(struct version_table *) table; /* RCU; NULL: no version at all */
	_Atomic uint64_t newest;               /* LSN of the view that was opened last */
	_Atomic bool has_retired;
	struct mem *mem;
	const struct region *rg;
	pthread_mutex_t table_lock; /* guards the tables, limit */
	struct version_table *retired;
	_Atomic uint64_t bytes; /* of all tables */
	uint64_t limit;
	pthread_mutex_t list_lock; /* guards those below */
	struct pmpt_view **open;   /* not stale, ascending by LSN */
	size_t n_open, room_open;
	size_t n_stale;                       /* and not closed yet */
	struct pmpt_view *spare[VIEWS_SPARE]; /* closed, for those that open */
	size_t n_spare;
};

void versions_open(struct versions *vs, const struct region *rg, struct mem *mem);
void versions_close(struct versions *vs);

/* Nobody has a view open, stale ones aside: a transaction drawn from now on ... see C3. */
static inline bool versions_wanted(const struct versions *vs)
{
	return __builtin_expect(atomic_load(&((struct versions *)vs)->n_live) != 0, 0);
}
/* Note what n words hold now, which a transaction is about to change; what no view needs is passed
 * over.  lsn: its last.  It has all its locks and is durable.  Views that it cannot keep whole are
 * stale when it returns [V4]. */
void versions_save(struct versions *vs, const struct wal_word *word, size_t n, uint64_t lsn);

/* What the word at off was at lsn; home: what it has been found to be, before.  In a reader
 * section. */
uint64_t versions_find(const struct version_table *t, uint64_t off, uint64_t lsn, uint64_t home);
static inline uint64_t versions_get(const struct versions *vs, uint64_t off, uint64_t lsn,
				    uint64_t home)
{
	const struct version_table *t =
		atomic_load_explicit(&((struct versions *)vs)->table, memory_order_acquire);

	return __builtin_expect(t != NULL, 1) ? versions_find(t, off, lsn, home) : home;
}
/* Every word that was loaded before this is at home as any open view sees it. */
static inline bool versions_none(const struct versions *vs)
{
	return !atomic_load_explicit(&((struct versions *)vs)->table, memory_order_acquire);
}

size_t versions_views(struct versions *vs); /* not closed yet */
/* A view is open that may be of this LSN or a later one. */
static inline bool versions_after(const struct versions *vs, uint64_t lsn)
{
	return versions_wanted(vs) && atomic_load(&((struct versions *)vs)->newest) >= lsn;
}
/* All views of this LSN become stale. */
void versions_expire(struct versions *vs, uint64_t lsn);

/* LSNs of the views that are open, ascending: what is needed for them. */
struct view_lsns {
	size_t n;
	uint64_t *lsn;
};
/* Returns 0; -ENOMEM. */
int views_lsns_take(struct versions *vs, struct view_lsns *views);
void views_lsns_free(struct versions *vs, struct view_lsns *views);
#define NO_VIEW UINT64_MAX
/* The oldest of them in [from, below); NO_VIEW: none is. */
uint64_t views_first_in(const struct view_lsns *views, uint64_t from, uint64_t below);
/* Most memory for versions, in bytes; applied at once. */
void versions_limit(struct versions *vs, uint64_t bytes);
bool versions_limited(struct versions *vs); /* views may become stale at all */
/* Free the tables that were replaced.  The caller is in no reader section, or nothing is done; he
 * holds no lane. */
void versions_reclaim(struct versions *vs);
static inline bool versions_retired(const struct versions *vs)
{
	return __builtin_expect(
		atomic_load_explicit(&((struct versions *)vs)->has_retired, memory_order_relaxed),
		0);
}

/* Under the list lock: a view more, its LSN not below any other's.  0; -ENOMEM. */
int versions_add(struct versions *vs, struct pmpt_view *view);
/* Under the list lock: memory of one that was closed; NULL: there is none. */
struct pmpt_view *versions_spare(struct versions *vs);
/* A view closes, stale or not; it is freed, or a spare. */
void versions_remove(struct versions *vs, struct pmpt_view *view);

#endif
