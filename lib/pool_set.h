/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_set -- libpmemobj's pool set files: which files a pool consists of.
 * SOURCES: poolset(5). */
#ifndef PMPT_POOL_SET_H
#define PMPT_POOL_SET_H

#include <stdbool.h>
#include <stdint.h>

#define SET_PARTS_MAX 64u

/* 1: a text file that begins with PMEMPOOLSET; 0: not; else the negated errno of opening it. */
int set_is(const char *path);

/* Call fn for each part in order; nonzero ends it and is returned.  Our stores are not copied to
 * replicas: sets with one are refused.
 * Returns 0; PMPT_E_MEDIUM (replicas, no part, more than SET_PARTS_MAX, a line that is no part). */
int set_parts(const char *path, int (*fn)(void *ctx, unsigned i, const char *part), void *ctx);

#endif
