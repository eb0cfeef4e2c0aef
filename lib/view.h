/* SPDX-License-Identifier: BSD-3-Clause */
/* view -- what the inside of a read view looks like to those who read in one: words, walks, ranges
 * that a bulk transaction hides.
 *
 * How to read in a view: view_enter(), then in one reader section view_space(), view_hidden() where
 * addresses are read, any number of view_load(), and view_stale() at last, which also goes for bytes
 * of frames that were read in between.  Where a function takes a view, NULL is what is committed
 * now.
 */
#ifndef PMPT_VIEW_H
#define PMPT_VIEW_H

#include "pool.h"
#include "version.h"

struct pmpt_view {
	struct pmpt_pool *pool;
	uint64_t lsn; /* it sees the transactions up to here */
	/* its versions and frames are gone, or about to be */
	_Atomic bool stale;
	/* what a bulk transaction had stored home at the open, or was about to; NULL: nothing */
	struct bulk_ranges *ranges;
};

/* A word as the view sees it; home: its place in the pool.  In a reader section. */
static inline uint64_t view_load(const struct pmpt_view *view, const pm_word *home)
{
	uint64_t now = word_load(home);

	return view ? versions_get(&view->pool->wal.versions, region_off(view->pool->rg, home),
				   view->lsn, now)
		    : now;
}

/* May the view be read, and the space in it?  space: NULL, none.
 * Returns 0; PMPT_E_FORKED; PMPT_E_VIEW_STALE; -EINVAL (of two pools). */
int view_enter(const struct pmpt_view *view, const struct pmpt_space *space);
/* Last of all, behind every load: 0, or PMPT_E_VIEW_STALE: what was read may be wrong. */
int view_stale(const struct pmpt_view *view);
/* In a reader section: the space that the handle is of was there.  0; PMPT_E_NO_SPACE. */
int view_space(const struct pmpt_view *view, const struct pmpt_space *space);
/* In a reader section: is a part of [va, end), 48-bit addresses, hidden by a bulk transaction?
 * Returns 0; PMPT_E_BUSY; PMPT_E_FORKED. */
int view_hidden(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
		uint64_t end);
/* In a reader section: walk to the entry that ends the walk of va: a leaf, or one that is not
 * present, in a table of that level.  above: out, what the links above it allow, see above_add.
 * table: out, NULL: not wanted, where the table is.
 * Returns 0; PMPT_E_CORRUPT. */
int view_walk(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
	      uint64_t *entry, unsigned *level, uint64_t *above, const pm_word **table);

/* In a reader section: all of that for one canonical address.
 * Returns 0; PMPT_E_NO_SPACE, _BUSY, _CORRUPT. */
int view_entry(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
	       uint64_t *entry, unsigned *level, uint64_t *above);

/* One user less; frees the ranges with the last.  ranges may be NULL. */
void bulk_ranges_drop(struct pmpt_pool *pool, struct bulk_ranges *ranges);

#endif
