/* SPDX-License-Identifier: BSD-3-Clause */
/* explore_state -- what the parts of an exploration share: explore.c, choose.c, checked.c, nested.c,
 * digest.c, join.c, modes.c; nobody else includes it. */
#ifndef EXPLORE_STATE_H
#define EXPLORE_STATE_H

#include <setjmp.h>

#include "explore.h"

struct open { /* a line of the set under exploration */
	struct line_set *set;
	uint64_t known;                  /* bytes that the buffer holds as decided or stored */
	uint64_t touched;                /* the execution that has */
	uint64_t own;                    /* bytes that this recovery has stored */
	uint64_t state;                  /* see join.c: as it was at the last join */
	bool changed;                    /* since */
	uint16_t lo[GROUPS], hi[GROUPS]; /* narrowed */
};

struct saved { /* a line that was one, and that recovery has stored to */
	uint32_t line;
	unsigned char content[LINE_BYTES];
};

struct nested {
	struct image_set *set;
	size_t crash_in; /* event of the recovery */
	size_t n_decisions;
};

struct level { /* one phase of crashes: its image set, and recovery on it */
	const struct image_set *set;
	struct open *open;
	struct decision *stack;
	size_t n_stack, room_stack;
	size_t taken;   /* of the stack in this execution */
	size_t changed; /* decisions before this one are as in the execution before */
	struct saved *saved;
	size_t n_saved, room_saved;
	struct stores *stores; /* recovery's own; NULL at the last depth */
	uint32_t events;
	bool unfenced;    /* a store of recovery is behind its last crash point */
	uint32_t part_of; /* the wide store that recovery does */
	struct nested *nested;
	size_t n_nested, room_nested;
	size_t crash_in;
	uint64_t serial; /* of this exploration of a set */
	uint64_t below;  /* digest of where it is: crashes and decisions of the phases before */
};

struct exploration {
	struct explorer *x;
	struct point_result *result;
	struct level level[PHASES_MAX + 1];
	unsigned at;       /* level in force */
	struct open **of;  /* by line: NULL where the buffer holds what is there */
	uint64_t *written; /* by line: execution that stored to it first */
	size_t lines;      /* that those two have room for */
	uint64_t execution, events;
	sigjmp_buf back;
	char what[512];
	bool failed;
	uint64_t path; /* digest of the decisions of the execution under way */
	uint64_t outcome;
	unsigned walked; /* stores of a page walker decided [R16] */
	/* of image sets explored, of outcomes, of joins */
	struct digests seen, outcomes, joined;
	/* join.c: lines changed since the last join, digests of the recovery's own events and of what is
	 * decided; this execution goes where another has been */
	struct open **changed;
	size_t n_changed;
	uint64_t stored, decided, serial;
	bool following;
	size_t n_decisions; /* of the levels below */
	size_t guided;      /* of those, taken by a guide: replay's path does not have them */
};
extern struct exploration ex;

static inline struct level *level_now(void) { return &ex.level[ex.at]; }

/* ---- digest.c -------------------------------------------------------------------------------- */

uint64_t set_digest(const struct image_set *s, unsigned phase);
/* Of the image that recovery runs on: all of it is decided, as if recovery had read it. */
uint64_t image_digest(void);

/* ---- choose.c -------------------------------------------------------------------------------- */

struct option {
	uint64_t value;
	uint16_t lo[GROUPS], hi[GROUPS];
};

/* The bytes of a word that the bits of the mask stand for, all ones. */
uint64_t bytes_of(uint8_t mask);
/* How many options; out: option number `want`. */
unsigned options_of(const struct open *o, unsigned word, uint8_t mask, unsigned want,
		    struct option *out);
/* The bytes can be `value`; out: how. */
bool option_value(const struct open *o, unsigned word, uint8_t mask, uint64_t value,
		  struct option *out);
/* The buffer gets the option's bytes, just before they are read. */
void option_give(struct open *o, unsigned word, uint8_t mask, const struct option *option);
/* Take the next decision from the stack, or put a new one there: of a word, or of a line's content
 * (word == LINE_WORDS).  Returns the option's number, of n. */
unsigned decide(uint32_t line, unsigned word, uint8_t mask, unsigned n);
void decision_tell(const struct open *o, const struct decision *d, uint64_t value);
void decisions_room(struct level *l, size_t n);
/* Before anything else of a line in an execution: all of it is open. */
void open_touch(struct open *o);
void open_changed(struct open *o); /* for the next join */

/* ---- nested.c -------------------------------------------------------------------------------- */

/* A crash before the next event of recovery: its images are to be explored. */
void crash_here(void);

/* ---- explore.c ------------------------------------------------------------------------------- */

/* One, on the level's set by its stack.  False: it has failed, ex.what says how. */
bool execute(struct level *l);
_Noreturn void execution_fail(const char *what); /* the one under way */
void path_survived(void); /* ... fails if its decisions until now have killed a worker before */
/* All executions on a set, by what recovery reads.  False: enough failures, or told to stop. */
bool explore_lazy(const struct image_set *set, size_t crash_in);

/* ---- modes.c --------------------------------------------------------------------------------- */

/* All executions on a set, as options.mode wants them. */
bool explore_level(const struct image_set *set, size_t crash_in);
/* execute() in a process of its own. */
bool execute_apart(struct level *l);

#endif
