/* SPDX-License-Identifier: BSD-3-Clause */
/* search -- for the cause of a failure: made small first (cause.c), then what is missing (missing.c). */
#ifndef SEARCH_H
#define SEARCH_H

#include "cause.h"

struct config { /* one image of a set: how much of each group has landed */
	struct model *model;
	struct image_set *set;
	uint16_t (*cut)[GROUPS]; /* by line of the set */
};

struct unit { /* a group of which something is lost */
	size_t line;
	unsigned group;
};

struct search {
	struct story *s;
	struct cause *c;
	double deadline;
	struct config config;
	struct unit *unit;
	size_t n_units;
	struct failure found; /* by the last test that failed */
	struct patch all;     /* that the last one was part of */
};

static inline bool time_is_up(const struct search *q) { return now_s() > q->deadline; }

/* The failure of these words, or NULL. */
const struct failure *same_words(const struct result *r, const char *what);
/* Which flush, fence or both make the failures at its crash point vanish: into q->c. */
void missing_find(struct search *q);

#endif
