/* SPDX-License-Identifier: BSD-3-Clause */
/* story -- all that happened on the way to a failure; see story.c. */
#ifndef STORY_H
#define STORY_H

#include "worker.h"

#define STORY_STACK   20u
#define SHOWN_IN_FULL 3u /* failures of a workload, where reports go to the terminal */

enum fate {                /* of a store, at the crashes */
	    FATE_NONE,     /* not a store */
	    FATE_DURABLE,  /* flushed and drained before the crash */
	    FATE_SURVIVED, /* need not have, and did */
	    FATE_LOST,
	    FATE_TORN,   /* part of it was lost */
	    FATE_UNREAD, /* nobody looked: either way the failure is the same */
};

struct happening {      /* an event of run or of a recovery, before the crash that ended it */
	unsigned phase; /* 0: run, 1: the first recovery ... */
	size_t index;   /* in its phase */
	struct event e;
	enum fate fate;
	uint64_t old; /* of a store of run: the bytes before it */
	unsigned n_stack;
	uint64_t stack[STORY_STACK];
};

struct reading { /* recovery read bytes that were not one */
	unsigned phase;
	size_t before; /* that many events of its phase had happened */
	struct decision d;
	uint64_t value;
	unsigned n_stack;
	uint64_t stack[STORY_STACK];
};

struct live { /* a piece of a line that was open, and what is left of its group */
	uint32_t line;
	struct piece p;
	uint16_t lo, hi;
};

struct story {
	const struct crashsim_workload *w;
	const struct trace *t;
	struct failure f;       /* its what, as it happened now */
	enum explore_mode mode; /* that its path is of */
	enum replayed how;
	struct happening *event;
	size_t n, room;
	struct reading *read;
	size_t n_reads, room_reads;
	struct live *live;
	size_t n_live;
	bool cut; /* more happened than is kept */
};

/* Take the path of f again, in a process of its own.  guide: as of struct replay_by. */
void story_take(struct story *s, const struct crashsim_workload *w, const struct trace *t,
		const struct failure *f, const uint16_t *(*guide)(void *ctx, uint32_t line),
		void *ctx);
void story_free(struct story *s);

/* The innermost frames of a stack that are the program's own, from the first that is no wrapper on, at
 * most n; returns how many. */
struct symbol;
unsigned story_frames(const uint64_t *stack, unsigned n_stack, uint64_t site,
		      const struct symbol **frame, unsigned n);

struct told { /* failures of a workload on the terminal, by their ids */
	char id[SHOWN_IN_FULL][sizeof(((struct failure *)0)->id)];
	unsigned n;
	size_t same; /* left out: two paths may have been made small to the same one */
};
/* It was; else it is now. */
bool story_told(struct told *told, const struct failure *f);
/* A failure with its cause: to the terminal, once, or to wishes.out. */
void story_tell(const struct crashsim_workload *w, const struct trace *t, const struct failure *f,
		size_t number, struct told *told);

#endif
