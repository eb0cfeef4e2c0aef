/* SPDX-License-Identifier: BSD-3-Clause */
/* replay -- recovery: redo what was committed, undo the open bulk transaction (design section 8).
 * Never calls the map path.
 * VALID transaction: see wal.h, W2.
 */
#ifndef PMPT_REPLAY_H
#define PMPT_REPLAY_H

#include "wal.h"

/* Recover a region whose superblock region_check() accepted.  Checks every `where` before the
 * first store.
 * step: how far lsn_limit is raised (LSN_STEP).  Memory in proportion to the log.
 * Returns 0; PMPT_E_CORRUPT (a live line aims where it may not: nothing was stored);
 * PMPT_E_IO; -ENOMEM. */
int replay(struct region *rg, struct mem *mem, uint64_t step, struct pmpt_recovery *report);

#endif
