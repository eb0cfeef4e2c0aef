/* SPDX-License-Identifier: BSD-3-Clause */
/* backup_swap -- the swap file of a pool's copy: the slots that a view sees, in a file of its own beside
 * the copy.
 *
 * STATES	nothing -> begun (the pool has a swap file) -> made (the file is there) -> whole (durable)
 * What a view sees of a slot stays in it while the view is open: slots are held as frames are [V3].
 */
#ifndef PMPT_BACKUP_SWAP_H
#define PMPT_BACKUP_SWAP_H

#include "pool.h"

struct backup_swap {
	struct pmpt_pool *pool;
	struct swap_area area; /* off 0: the pool has none */
	uint64_t id;
	struct swap_file file; /* the copy's */
	char path[PMPT_SWAP_PATH_MAX + 1];
	bool made;
	struct swap_room *room;
};

/* The pool's swap file, as it is when the view is opened; swap.clock is held.
 * Returns 0; PMPT_E_SWAP (it is lost); -ENAMETOOLONG; -EEXIST; -ENOMEM. */
int backup_swap_begin(struct backup_swap *b, struct pmpt_pool *pool, const char *copy);
/* Make the copy's swap file, durably.
 * Returns 0; PMPT_E_VIEW_STALE, _SLOT, _SWAP; errors of the file. */
int backup_swap_copy(struct backup_swap *b, const struct pmpt_view *view);
/* What the copy's pool says of it. */
void backup_swap_head(const struct backup_swap *b, struct swap_area_head *head);
/* Has it been the pool's all the time?  Returns 0; PMPT_E_SWAP. */
int backup_swap_still(struct backup_swap *b);
/* keep: the file stays. */
void backup_swap_end(struct backup_swap *b, bool keep);

#endif
