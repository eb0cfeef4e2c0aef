/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks -- see hooks.c; what other ways into persistent memory (libpmem, a pm layer) report by. */
#ifndef HOOKS_H
#define HOOKS_H

#include "explore.h"

extern struct trace *recording; /* in STAGE_RECORD */
extern uint64_t hook_seen;      /* accesses to the buffer that a hook announced */
extern uint32_t hook_thread;    /* number of the thread that runs */

/* For who wants call stacks; NULL: nobody.  A plain store is about to happen; an event was recorded. */
extern void (*hook_announced)(uint64_t site);
extern void (*hook_recorded)(const struct event *e);

/* Locked instructions are drains [R12].  False: the program is not to lean on it, and is explored
 * as if they were none: more images, fewer crash points. */
extern bool hook_rmw_drains;
/* Every event, before it counts; NULL: nobody asks. */
extern void (*hook_reached)(const struct event *e);

/* [addr, addr + len) lies in the buffer. */
static inline bool hook_ours(const void *addr, size_t len)
{
	uint64_t off = (uint64_t)((const unsigned char *)addr - region_base);

	return __builtin_expect(off < region_bytes && len <= region_bytes - off, 0);
}

#define OPS   256u               /* crashsim_begin() */
#define NOTES 64u                /* crashsim_note() */
void hook_marks_forget(void);    /* no operation has begun */
void hook_returned(unsigned op); /* whether it has begun or not */

void hook_settle(void);           /* a store announced before has taken place by now */
size_t hook_pending_events(void); /* so many it would add */
void hook_forget(void);           /* it is of an execution that is over */
/* Is about to be stored to by this site. */
void hook_before_store(const void *ptr, size_t len, uint64_t site);
/* Has been stored, as it stands. */
void hook_range_stored(const void *ptr, size_t len, bool streamed, uint64_t site);
/* Is about to be streamed from src (NULL: zeros), len a multiple of 8, aligned. */
void hook_streamed_value(const void *ptr, const void *src, size_t len, uint64_t site);
/* The line at ptr has been stored to by movdir64b, as it stands. */
void hook_direct_stored(const void *ptr, uint64_t site);
void hook_flush(const void *line, enum event_kind kind, uint64_t site);
void hook_fence(enum event_kind kind, uint64_t site);
void hook_loads(const void *ptr, size_t len);
/* [ptr, ptr + len) of the buffer has been written back by msync, which returned 0. */
void hook_msync(const void *ptr, size_t len, uint64_t site);

#endif
