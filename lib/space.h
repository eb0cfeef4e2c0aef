/* SPDX-License-Identifier: BSD-3-Clause */
/* space -- records of the directory, by name and by index; handles.  For those that make and change
 * spaces: space.c, fork.c, segment.c.  pool.names is held where not said otherwise. */
#ifndef PMPT_SPACE_H
#define PMPT_SPACE_H

#include "pool.h"

struct record_args {
	struct space_record *record; /* record_add fills it in */
	const char *name;
	struct pmpt_space *space;
	struct pmpt_tx *tx; /* record_add: that of the caller, which it commits; NULL: its own */
	uint64_t flags;     /* record_flag */
};

struct space_record *record_at(const struct pmpt_pool *pool, uint32_t i);
static inline enum space_state record_state(const struct space_record *r)
{
	return (enum space_state)(word_load(&r->state) & 0xff);
}
/* It is live, and of the kind that flags say. */
static inline bool record_is(const struct space_record *r, uint64_t flags)
{
	return record_state(r) == SPACE_LIVE && !((word_load(&r->state) ^ flags) & RECORD_KINDS);
}
static inline const char *record_kind(uint64_t flags)
{
	return flags & RECORD_SEGMENT ? "segment" : "space";
}
void record_name(const struct space_record *r, char name[PMPT_NAME_MAX + 1]);
/* Index of the live record of that name and kind, or n_spaces. */
uint32_t record_find(const struct pmpt_pool *pool, const char *name, uint64_t flags);
int record_set(struct pmpt_tx *tx, pm_word *word, uint64_t value);
int record_set_name(struct pmpt_tx *tx, struct space_record *r, const char *name);
int name_check(const char *name); /* 0; PMPT_E_NAME.  Needs no lock. */

/* Find a free record and run fn as a transaction that fills it in.  space: out, a handle; may be
 * NULL.  Takes pool.names.
 * Returns as fn; PMPT_E_EXISTS; PMPT_E_SPACES_FULL; -ENOMEM. */
int record_add(struct pmpt_pool *pool, tx_fn *fn, struct record_args *a, pmpt_space **space);
/* Delete the live record of that name and kind, and all that it maps.  Takes pool.names. */
int record_delete(struct pmpt_pool *pool, const char *name, uint64_t flags);
int handle_open(struct pmpt_pool *pool, uint32_t i, pmpt_space **out);
void handle_close(struct pmpt_space *space);

#endif
