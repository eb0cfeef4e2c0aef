/* SPDX-License-Identifier: BSD-3-Clause */
/* core -- a pool on an anonymous buffer, for tests of what lies above the region. */
#ifndef CORE_H
#define CORE_H

#include "check.h"
#include "pool.h"

struct core {
	struct region rg;
	struct pmpt_pool *pool;
	struct pmpt_space *space; /* "s" */
	char *map;
	size_t map_bytes;
};

/* frames: of the one extent; the log is small: 2 lanes of 2 x half_lines, bulk_lines. */
void core_make(struct core *c, uint64_t frames, unsigned half_lines, unsigned bulk_lines);
void core_free(struct core *c);
/* Close and open again; checkpoint: false leaves the log to recovery. */
void core_reopen(struct core *c, bool checkpoint);
/* The verifier finds nothing (on a copy: what the next open would see). */
void core_verify(struct core *c);
struct pmpt_stats core_stats(const struct core *c);
uint64_t core_free_frames(const struct core *c); /* those that are still held, too */

#endif
