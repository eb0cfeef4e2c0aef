/* SPDX-License-Identifier: BSD-3-Clause */
/* obj_file -- a pool's file before libpmemobj sees it, which would fault on some and has no words
 * for others: can it hold a pool, is it one of ours, is it whole?
 *
 * FORMAT of libpmemobj, layout major 6, little-endian; the heap is in obj_heap.h:
 *   0x0000	8 bytes, OBJ_SIGNATURE with its NUL
 *   0x0fb8	64 bytes, how often its device shut down uncleanly; zeros: it begins to count anew
 *   0x1000	the layout's name, ours is SB_LAYOUT_NAME
 *   0x1800	u64 offset of the root object, a multiple of 16 inside the heap; 0: not made yet
 */
#ifndef PMPT_OBJ_FILE_H
#define PMPT_OBJ_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

#define OBJ_SIGNATURE      "PMEMOBJ"
#define OBJ_SHUTDOWN       0xfb8
#define OBJ_SHUTDOWN_BYTES 64u
#define OBJ_LAYOUT         0x1000
#define OBJ_ROOT           0x1800

/* Only a regular file or a DAX device can hold a pool.  Returns 0; PMPT_E_MEDIUM. */
int obj_kind_check(const char *path, const struct stat *st);
/* Returns 0; PMPT_E_NOT_POOL; negated errno. */
int obj_signature_check(const char *path, int fd);
/* The file that a pool begins in; all: it is all of the pool.
 * Returns 0; PMPT_E_MEDIUM, _NOT_POOL, _VERSION, _TRUNCATED, _CORRUPT; negated errno. */
int obj_file_check(const char *path, int fd, bool all);

#endif
