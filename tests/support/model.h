/* SPDX-License-Identifier: BSD-3-Clause */
/* model -- a pool beside an oracle that knows every leaf of every space and segment, and what begins
 * and ends in each page: random calls in random transactions, and what is to be seen of them.
 *
 * A *world* is a state of all of them.  Members are the spaces of the pool, each with a place here.
 */
#ifndef MODEL_H
#define MODEL_H

#include "core.h"
#include "plane.h"

#define MEMBERS  5
#define SEGMENTS 3

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)

struct world {
	struct plane member[MEMBERS], segment[SEGMENTS];
};

struct model {
	struct core core;
	pmpt_space *space[MEMBERS]; /* NULL: no such member */
	bool snapshot[MEMBERS];
	unsigned birth[MEMBERS]; /* tells one that has this place from another */
	bool segment_named[SEGMENTS];
	unsigned segment_pieces[SEGMENTS]; /* of 2 MiB, as it was created */
	bool forks;                        /* pages may be copied on write */
	bool bulk;                         /* the open transaction is one */
	bool left;                         /* a delete could not free all */
	size_t many;                       /* leaves of a member that are enough */
	struct world now;                  /* committed */
	struct world plan;                 /* as the open transaction sees it */
	struct world next;                 /* and after the call in progress, if it succeeds */
	struct world saved;                /* at the savepoint */
	unsigned long calls, refused, busy, commits, aborts;
};

extern struct model model;
extern const char *const member_name[MEMBERS], *const segment_name[SEGMENTS];
extern uint64_t seed; /* of rnd() */

static inline uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

/* seed: from PMPT_SEED or the clock; says which.  Members 0 to n - 1 are there, empty. */
void model_make(uint64_t frames, unsigned n, size_t many);
void model_end(void);
void world_copy(struct world *to, const struct world *from);
void world_free(struct world *w);
/* What no name and no space holds of the segments is gone. */
void world_settle(void);

/* One transaction of random calls: out of op[n].  each: called with it after each call. */
typedef void op_fn(pmpt_tx *tx, unsigned s);
void transaction(bool bulk, op_fn *const *op, size_t n);
unsigned random_member(void); /* that may be changed */
uint64_t random_va(uint64_t align);
uint64_t random_page(const struct plane *p); /* an address where something is, if anything */

op_fn op_map, op_unmap, op_protect, op_move, op_collapse, op_user, op_write, op_fault;
op_fn op_segment_map, op_segment_unmap, op_snapshot;

/* Everything is as committed: leaves, content, user words, frames in use. */
void model_compare(void);
/* The page over va, or the next one, through pieces, too.  False: there is none. */
bool next_page(const struct plane *p, uint64_t va, struct leaf *leaf);
/* A member of a world, as a view of it sees it, or, NULL, as it is now. */
void member_compare(const pmpt_view *view, unsigned s, const struct world *w);

#endif
