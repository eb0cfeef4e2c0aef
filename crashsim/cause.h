/* SPDX-License-Identifier: BSD-3-Clause */
/* cause -- the smallest set of lost stores that fails, and the flush or fence that is missing; see
 * cause.c. */
#ifndef CAUSE_H
#define CAUSE_H

#include "story.h"

enum missing {
	MISSING_UNKNOWN, /* not looked for, or cut off */
	MISSING_FENCE,
	MISSING_FLUSH,
	MISSING_BOTH,
	MISSING_NOTHING, /* none that was tried helps: the order or the content of stores may be wrong */
	MISSING_MSYNC,
};

struct cause {
	bool shrunk; /* the story is of the smallest set */
	bool nothing_lost;
	size_t lost_was; /* stores, before it was made small */
	size_t tests;
	enum missing missing;
	struct patch patch;
	/* Of the patch, in the story: a lost store by each site; what the fence goes before; the fence
	 * that was there already, SIZE_MAX: none. */
	size_t flush_at[PATCH_SITES], fence_at, drained_at;
	/* Of the patch, in the story: the fence goes after this flush or lost store, in its thread;
	 * SIZE_MAX: not so. */
	size_t after_at;
	/* The fence goes before this return, an event of the recording behind the crash; SIZE_MAX: not so */
	size_t return_at;
	/* The proof: the crash point explored with the patch. */
	uint64_t executions;
	double images_log10;
	bool others; /* this failure is gone, others are not */
	bool moves;  /* it comes back at a fence that was put in: the order of stores is wrong */
	size_t everywhere; /* not 0: so many crash points, all that there are, without a failure */
};

/* Of the failure of s; s becomes the story of the smallest set.  seconds: to look at most. */
void cause_find(struct story *s, struct cause *c, double seconds);

#endif
