/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_obj -- what holds a pool: libpmemobj, for the file or set, its lock, the root object
 * (superblock) and the extents.
 *
 * Facts of libpmemobj 1.12 that shape this: a pool's size is fixed at creation, and growing takes
 * further objects inside it; a sparse file is had with fallocate.at_create=0 on a file that has its
 * size already; in a sparse file on a full file system the first store to a hole is SIGBUS,
 * libpmemobj's own stores too, so blocks are made to exist before (obj_heap.h); freeing huge
 * objects is not crash-safe before 2.1.3, so extents are never freed.
 */
#ifndef PMPT_POOL_OBJ_H
#define PMPT_POOL_OBJ_H

#include <libpmemobj.h>

#include "region.h"

#define OBJ_EXTENT_MIN ((uint64_t)1 << 20) /* smaller rests of a pool are left alone */

struct obj_pool {
	PMEMobjpool *pop;
	struct region region;
	enum pmpt_medium medium;
	int fd; /* of a single file, to make blocks exist; -1 for a set: its parts are whole */
	/* files that obj_create made, to take them away again: bit per part, bit 0 of a
	 * single one */
	uint64_t made;
};

/* Create the file (path must not exist) or use the set; a region without a superblock.
 * config: pool_bytes and mode are used.  On error nothing is left behind. */
int obj_create(const char *path, const struct pmpt_config *config, struct obj_pool *obj);
/* Format the region: extent 0, superblock.  config: complete. */
int obj_format(const char *path, const struct pmpt_config *config, struct obj_pool *obj);
/* Close, and remove the files that obj_create made. */
void obj_discard(const char *path, struct obj_pool *obj);
/* Open; the superblock is checked.  Returns as pmpt_open. */
int obj_open(const char *path, struct obj_pool *obj);
void obj_close(struct obj_pool *obj);
/* The object of extent `index`, allocated unless a crash left it there, its blocks existing.
 * ctx: struct obj_pool.
 * Returns 0; PMPT_E_NO_FRAMES (the file is full); -ENOSPC (the file system is); PMPT_E_CORRUPT
 * (the superblock names what is no object). */
int obj_extent_take(void *ctx, uint64_t index, uint64_t *off, uint64_t *bytes);
/* In a child of fork(): the pool's memory becomes a private copy of the file, of a set zeros, so that the
 * parent alone has its lock.  ctx: struct obj_pool. */
void obj_in_child(void *ctx);

/* In fd, a copy of a single file: the same blocks exist, those of its first n_extents extents.
 * Returns 0; -ENOSPC ... */
int obj_blocks_copy(const struct obj_pool *obj, uint64_t n_extents, int fd);
/* The name of a new file survives a power failure: its directory is durable on 0.  Or a negated
 * errno. */
int obj_name_sync(const char *file);

#endif
