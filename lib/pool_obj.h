/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_obj -- what holds a pool: libpmemobj, for the file or set, its lock, the root object
 * (superblock) and the extents.
 *
 * Facts of libpmemobj 1.12 that shape this: a pool's size is fixed at creation, and growing takes
 * further objects inside it; a sparse file is had with
 * fallocate.at_create=0 on a file that has its size already; in a sparse file an allocation
 * succeeds where the first store would be SIGBUS, so blocks are
 * made to exist before; freeing huge objects is not crash-safe before 2.1.3, so extents are never
 * freed.
 */
#ifndef PMPT_POOL_OBJ_H
#define PMPT_POOL_OBJ_H

#include <libpmemobj.h>

#include "region.h"

#define OBJ_EXTENT_MIN ((uint64_t)2 << 20) /* smaller rests of a pool are left alone */

struct obj_pool {
	PMEMobjpool *pop;
	struct region region;
	enum pmpt_medium medium;
	int fd; /* of a single file, to make blocks exist; -1 for a set: its parts are whole */
};

/* Create the file (path must not exist) or use the set, format a region in it.  config: complete
 * (pool.c).  On error a file is gone again. */
int obj_create(const char *path, const struct pmpt_config *config, struct obj_pool *obj);
/* Open; the superblock is checked.  Returns as pmpt_open. */
int obj_open(const char *path, struct obj_pool *obj);
void obj_close(struct obj_pool *obj);
/* The object of extent `index`, allocated unless a crash left it there, its blocks existing.  ctx:
 * struct obj_pool.
 * Returns 0; PMPT_E_NO_FRAMES (the file is full); -ENOSPC (the file system is). */
int obj_extent_take(void *ctx, uint64_t index, uint64_t *off, uint64_t *bytes);

#endif
