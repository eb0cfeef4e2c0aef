/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_file -- a place for the pool files of one test, on tmpfs or on an ordinary file system. */
#ifndef POOL_FILE_H
#define POOL_FILE_H

#include "places.h"
#include "pool.h"

#define MIB      ((uint64_t)1 << 20)
#define OK(call) pool_file_ok(call, #call)

extern char dir[PLACE_BYTES], path[PLACE_BYTES + 8]; /* path: dir/pool */
extern enum pmpt_medium medium;                      /* that dir is on */
extern const struct pmpt_config smallest;

/* Fixtures.  A test whose place is not to be had skips itself by need_place(). */
int setup_tmpfs(void **state);
int setup_file(void **state);
int teardown_place(void **state);
void need_place(void);
#define ON_TMPFS(f)                                      \
	{                                                \
#f, f, setup_tmpfs, teardown_place, NULL \
	}
#define ON_FILE(f)                                              \
	{                                                       \
#f "_file", f, setup_file, teardown_place, NULL \
	}
#define ON_BOTH(f) ON_TMPFS(f), ON_FILE(f)

void pool_file_ok(int rc, const char *call);
/* rc is what was expected, and the message says this. */
void expect_refused(int rc, int expected, const char *says);
/* Opening is refused, out-pointer untouched. */
void expect_open(int expected, const char *says);
unsigned files_in(const char *where);
void write_at(const char *file, uint64_t off, const void *data, size_t len);

#endif
