/* SPDX-License-Identifier: BSD-3-Clause */
/* engine -- the parts of crashsim and what they hand to each other.
 *
 *	hooks.c     instrumented accesses, and the calls of crashsim.h	-> recording.c, explore.c
 *	atomics.c   the compiler's atomics
 *	edges.c     what a thread has waited for, while it is recorded
 *	recording.c one run of the workload				-> struct trace
 *	model.c     a trace up to a crash point				-> struct image_set: per line, what may be there
 *	ahead.c     streamed words that overtake what stands before them
 *	ties.c      what the parts of an image set have to do with each other
 *	outside.c   the buffer, and stores that miss it
 *	processes.c other processes: none
 *	explore.c   an image set and a recovery				-> executions, decided by what recovery reads
 *	choose.c    the options of a word, and which one recovery gets
 *	checked.c   the same for blocks that validate themselves
 *	nested.c    recovery's own stores, a crash inside it	-> the image set of the next level
 *	digest.c    what has been explored: digests of image sets, of outcomes
 *	join.c      paths of a recovery that have come together again
 *	driver.c    workloads, recordings				-> struct trace, crash points
 *	worker.c    crash points, by worker processes			-> struct result (result.c)
 *	modes.c     every image, or each execution apart: checks of explore.c
 *	failure.c   a path as an id, and taken again
 *	story.c     a failure's path, watched				-> struct story
 *	cause.c     the fewest lost stores, the flush or fence that is missing
 *	findings.c  flushes and fences that do nothing
 *	report*.c   a result or a story as text, JSON, picture (svg.c)
 *	command.c   the command line: options.c, run.c, replay.c, merge.c
 *	litmus.c    small programs with the exact set of their images; judge.c is its independent judge
 *
 * TERMS	piece: a store, cut at 8-byte words.  group: pieces of a line of which a prefix has
 *		landed.  option: one way in which a word's bytes can have come about.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stdio.h>

#include "crashsim.h"

#define LINE_BYTES 64u
#define LINE_SHIFT 6
#define LINE_WORDS 8u
#define PAGE_BYTES 4096u /* the kernel writes whole ones */

/* ---- switches of the model ------------------------------------------------------------------- */

enum line_order { ORDER_PREFIX, ORDER_FREE };                                       /* R3 */
enum persist { PERSIST_MEMORY, PERSIST_CACHE, PERSIST_CACHE_FAILED, PERSIST_PAGE }; /* R14, R17 */
enum explore_mode { MODE_LAZY, MODE_RERUN, MODE_EAGER };

struct options {
	enum line_order order;
	enum persist persist;
	enum explore_mode mode;
	unsigned depth;               /* 0: the workload's */
	unsigned walker;              /* stores of a page walker at most, R16 */
	bool no_prune;                /* no memory of states explored before */
	bool no_checked;              /* crashsim_checked() has no effect: word by word */
	bool no_r3, no_r9, no_r11;    /* rules switched off, to show that the litmus suite bites */
	unsigned jobs, shard, shards; /* shard 0..shards-1 of the crash points */
	double time_limit;            /* seconds, 0: none */
	uint64_t seed;                /* of the schedule of threads */
	unsigned schedules;           /* that many, from seed on; 0: one */
	uint64_t max_events;          /* of one recovery: more is a loop */
	uint64_t skip_site;           /* not 0: this site has no effect (adequacy) */
	unsigned max_failures;
	double hang;      /* seconds without an execution that ends: it hangs */
	size_t memory;    /* bytes that a worker may take for recovery */
	size_t max_trace; /* events of one recording */
	bool perf;        /* look for flushes and fences that do nothing */
};
extern struct options options;

/* ptr, or the process ends: out of memory, of which function, for what */
#define must(ptr) must_have((ptr), __func__, #ptr)
void *must_have(void *ptr, const char *function, const char *wanted);
extern bool out_of_memory; /* it has */
extern char out_of_memory_for[200];

/* ---- trace ----------------------------------------------------------------------------------- */

enum event_kind {
	EV_STORE,  /* addr, len <= 8, value: through the cache */
	EV_STREAM, /* addr, len <= 8, value: past the cache (movnt) */
	EV_CLWB,   /* addr of a line; clflushopt too */
	EV_CLFLUSH,
	EV_SFENCE,
	EV_MFENCE, /* or a locked instruction */
	EV_MSYNC,  /* addr, len: returned 0 */
	EV_BEGIN,  /* value: op */
	EV_RETURNED,
	EV_WALKER, /* addr of a word, value: bits that a walker may set from now on */
	EV_NOTE,   /* off: slot, value: what the check will want to know */
	EV_AGAIN,  /* the buffer is as it was at the first event, durably; no operation has begun */
};

struct event {
	enum event_kind kind;
	uint32_t thread;
	uint64_t off; /* in the buffer */
	uint32_t len;
	/* Of EV_RETURNED: so many events happened before the thread came there, whatever is still in its
	 * store buffer: it had waited for them (edges.c). */
	uint32_t waited;
	uint64_t value;
	uint64_t site; /* program counter of the caller, less the load address of its object */
	/* Not 0: the stores of this thread with this number are one wide store, its words in any order
	 * [R4]; atomic: all of them or none (movdir64b, R5). */
	uint32_t part_of;
	bool atomic;
};

struct trace {
	struct event *event;
	size_t n, room;
	unsigned char *first; /* the buffer before the first event */
	size_t bytes;
};
void trace_add(struct trace *t, struct event e);
void trace_free(struct trace *t);
/* A crash at point c comes just before event c; c == n: behind the last.  Is c one? */
bool trace_crash_point(const struct trace *t, size_t c);

/* ---- what may be there ----------------------------------------------------------------------- */

#define PHASES_MAX    4u
#define PHASE_GROUPS  (1 + LINE_WORDS) /* 0: stores through the cache; 1 + w: word w by itself */
#define WALKER_GROUPS (PHASES_MAX * PHASE_GROUPS) /* from here: two for each word, of phase 0 */
#define GROUPS        (WALKER_GROUPS + 2 * LINE_WORDS)
#define SECTOR_LINES  8u /* R17 */

/* A store, cut at words.  Of a group a prefix has landed; of a line, each group by itself. */
struct piece {
	uint8_t word, mask; /* which bytes of the word */
	uint8_t group; /* phase * PHASE_GROUPS + ...; phase 0: run, 1: the first recovery ... */
	bool bits;     /* sets the bits of value and leaves the others (a walker); stands last */
	bool streamed, atomic;
	uint32_t part_of;
	uint16_t rank;  /* in its group */
	uint32_t event; /* of its phase */
	uint64_t value; /* in its place in the word */
};

/* A line of which the content may not be one: base, then the pieces in order, of each group those
 * with rank < k, for any k with lo <= k <= hi. */
struct line_set {
	uint32_t line;
	uint32_t n;
	uint16_t lo[GROUPS], hi[GROUPS];
	unsigned char base[LINE_BYTES];
	struct piece *piece;
	bool tied; /* its groups are not independent: ties.c */
};

/* All images of one crash: the lines named, each by itself; all other lines are as in `rest`. */
struct image_set {
	size_t n, room;
	struct line_set **set; /* ascending by line */
	const unsigned char *rest;
	unsigned walked; /* stores of a page walker that have been decided [R16] */
};
/* ties.c.  The piece, in the content of its line. */
void piece_land(unsigned char base[LINE_BYTES], const struct piece *p);
/* Set l->tied. */
void line_set_tie(struct line_set *l);
/* What follows for the other groups from intervals that were narrowed.  False: there is no image. */
bool ties_narrow(const struct line_set *l, uint16_t *lo, uint16_t *hi);
/* A sector is written at one time [R17]: what a line says of it, and what that says of a line. */
void sector_time(const struct line_set *l, unsigned phase, const uint16_t *lo, const uint16_t *hi,
		 uint32_t *from, uint32_t *to);
void sector_narrow(const struct line_set *l, unsigned phase, uint32_t from, uint32_t to,
		   uint16_t *lo, uint16_t *hi);
/* cut: of each line of the set and each group, how many have landed.  Is that an image? */
bool image_holds(const struct image_set *s, uint16_t (*cut)[GROUPS]);
/* Where streamed words share a word with other stores, an upper bound. */
double image_set_log10(const struct image_set *s);
void image_set_free(struct image_set *s);

/* Stores and what makes them durable, by line; of one phase. */
struct stores;
struct stores *stores_new(unsigned phase, size_t bytes);
void stores_play(struct stores *s, const struct event *e, uint32_t index);
void stores_reset(struct stores *s);
void stores_free(struct stores *s);
/* Lines that have pieces. */
size_t stores_lines(const struct stores *s, const uint32_t **line);
/* Append the pieces of a line of this phase, with lo and hi of its groups. */
void stores_append(const struct stores *s, uint32_t line, struct line_set *to);
/* What has landed for sure becomes base, what cannot land goes. */
void line_set_fold(struct line_set *l);
/* The line where of each group the first cut[group] pieces have landed. */
void line_set_content(const struct line_set *l, const uint16_t *cut, unsigned char out[LINE_BYTES]);

/* ahead.c: streamed words behind a crash at c that may be there all the same [R11]; the caller frees
 * the numbers of their events. */
size_t ahead_find(const struct trace *t, size_t c, uint32_t **event);
void ahead_append(const struct event *e, uint32_t index, struct line_set *l);

/* A trace played up to a crash point. */
struct model;
struct model *model_new(const struct trace *t);
void model_to(struct model *m, size_t c); /* not backwards */
/* The images of a crash there; the caller frees; `rest` is valid until the model goes on. */
struct image_set *model_images(struct model *m);
void model_free(struct model *m);
/* Contents that a line ever had as a whole (at the end of a burst of streamed words, at a flush):
 * n of them, 64 bytes each. */
size_t model_versions(const struct model *m, uint32_t line, const unsigned char **version);

/* ---- exploration ----------------------------------------------------------------------------- */

struct decision { /* recovery read bytes that were not one: which option it got */
	uint32_t line;
	uint8_t word, mask;
	uint16_t chosen, options;
};

struct failure {
	char id[256];       /* stable: see failure.c */
	char what[512];     /* the workload's words, or "recovery was killed by SIGSEGV" ... */
	size_t crash_point; /* of run */
	unsigned phases;    /* crashes; the last recovery failed */
	size_t crash_in[PHASES_MAX + 1]; /* event of recovery p before which it crashed */
	uint64_t path; /* digest of where it is: crash point, crashes inside, decisions */
	struct decision *decision;
	size_t n_decisions; /* of all phases, in order */
	bool by_path;       /* decisions are not known: it is the one with this path */
};

struct first { /* the first execution at a crash point: accesses, decisions */
	uint64_t events, taken, outcome;
};

struct point_result { /* of one crash point */
	uint64_t executions, choices, pruned, nested, reads;
	double images_log10;
	uint64_t outcome_digest; /* sum of the digests of distinct outcomes */
	uint64_t outcomes;
	struct first first;
	unsigned n_failures;
	bool done, cut; /* cut: not every execution took place */
};

struct point {
	size_t event;   /* the crash is just before it */
	size_t ordinal; /* among all crash points of the trace */
	struct point_result r;
};

struct perf { /* flushes or fences of one site that do nothing */
	const char *what;
	char place[300];
	size_t times, of; /* so many of so many */
	size_t points;    /* crash points whose images are the same without them */
};

struct result {
	char workload[64];
	uint64_t trace_digest; /* of the recording: ids hold for it alone */
	struct point *point;   /* those explored, ascending */
	size_t n_points;
	size_t points_in_all; /* of the trace, other shards too */
	uint64_t reads;       /* of the buffer, by recovery and check */
	bool broken;          /* the engine itself failed: not a verdict */
	uint64_t printed;     /* bytes that recovery printed, and the first line of them */
	char first_printed[160];
	bool perf_looked;
	struct perf *perf;
	size_t n_perf, n_warnings;
	const char **warning;
	uint64_t executions, choices, pruned, crash_points, nested_points;
	double images_log10; /* of all crash points together */
	double seconds;
	unsigned depth;
	bool exhaustive;   /* not cut by a limit */
	bool late;         /* cut by that of time */
	uint64_t outcomes; /* distinct values of crashsim_outcome, and their sum as a digest */
	uint64_t outcome_digest;
	size_t n_failures;
	struct failure *failure;
	size_t trace_events, trace_stores, trace_lines, trace_flushes, trace_fences, threads;
	size_t trace_msyncs; /* among the fences */
};

#endif
