/* SPDX-License-Identifier: BSD-3-Clause */
/* policy -- W^X: spaces in which no page is writable and executable, and the states of frames that
 * show it of aliases, too.
 *
 * A mapping *may* write (W or COW) or execute (no NX) what it and all links above it permit.  Links but a
 * segment's permit all.
 * STATE of a frame, in its descriptor: W or X, or 0, untracked.  It changes only while the frame has
 * one mapping, by who has that, in the transaction that changes the mapping; so it outlives the mapping
 * that it is from as long as there are others.  With the count it goes.
 * INVARIANTS	P1 in a space with the policy no page may write and execute
 *		P2 a frame with state W has no mapping that may execute, one with X none that may
 *		   write, in any space.  Who adds a mapping, or changes the state, has the state
 *		   and, for a change, the count checked under the descriptor's lock (RULE_WX_STATE)
 *		P3 what a space with the policy may do to a frame is the frame's state
 *		P4 tables are shared by spaces of one policy
 * A segment's table has a state, too, which links to it obey as leaves obey that of their frame; the
 * frames of its pages have the same.  It changes while the table has one link but that of the
 * segment's name, and only who comes by the name knows that there is one.
 * EXT leaves have no descriptor: P1 alone.
 */
#ifndef PMPT_POLICY_H
#define PMPT_POLICY_H

#include "table.h"

/* Does any space of the pool have the policy, or has one had it? */
static inline bool policy_judges(const struct pmpt_pool *pool)
{
	return __builtin_expect((word_load(&pool->sb->features) & SB_FEATURE_WX) != 0, 0);
}
static inline bool policy_of(const struct pmpt_space *space)
{
	return atomic_load_explicit(&((struct pmpt_space *)space)->wx, memory_order_acquire);
}

/* May the entry where the owned path ends become `value`?  What it refers to is counted; its frames
 * get their states.
 * Returns 0; PMPT_E_WX; errors of tx_state; a segment: of tx_own. */
int policy_entry(struct pmpt_tx *tx, const struct path *p, uint64_t old, uint64_t value);
/* The same for the link to a segment's table.  names: links to the table that are the segment's own,
 * as far as the caller knows. */
int policy_segment(struct pmpt_tx *tx, const struct path *p, uint64_t old, uint64_t link,
		   unsigned names);
/* PMPT_E_WX: a page would be writable and executable. */
int policy_broken(const struct pmpt_space *space, uint64_t va);

#endif
