/* SPDX-License-Identifier: BSD-3-Clause */
/* explore -- run recovery on every image of a crash, deciding only what it reads. */
#ifndef EXPLORE_H
#define EXPLORE_H

#include "engine.h"

#define EAGER_LOG10_MAX 6.0    /* images of one crash, at most, in MODE_EAGER */
#define DECISIONS_MAX   65536u /* of one path, all phases */

#define READS_OTHERWISE \
	"recovery is not deterministic: run again on the same image, it reads otherwise"

/* What kills a worker outright, as it was found before: the digest of its decisions. */
struct killer {
	uint64_t path;
	char what[160];
};

/* Who wants to know what happens in an execution (of a replay: it costs time). */
struct observer {
	void (*level)(void *ctx, unsigned phase, const struct image_set *set); /* begins */
	void (*event)(void *ctx, unsigned phase, const struct event *e);       /* of recovery */
	void (*read)(void *ctx, unsigned phase, uint64_t off, size_t len);
	/* A word of the line got these bytes; lo, hi: what is left of its groups. */
	void (*decided)(void *ctx, unsigned phase, const struct decision *d, uint64_t value,
			const uint16_t *lo, const uint16_t *hi);
	void (*crash)(void *ctx, unsigned phase); /* the next event is the one it crashes before */
	void *ctx;
};

/* Flushes and fences that the program lacks: what if they were there? */
#define PATCH_SITES 16u
struct patch {
	uint64_t flush_after[PATCH_SITES]; /* clwb of what a store at this site stores to */
	size_t n_flush;
	uint64_t fence_before; /* sfence before each store at this site; 0: none */
	bool fence_before_return;
	uint64_t line[PATCH_SITES]; /* before those fences, by the same thread: clwb of these */
	size_t n_lines;
	uint64_t fence_after[PATCH_SITES]; /* sfence after each flush at these sites */
	size_t n_fence_after;
	bool fence_after_flush; /* sfence after those of flush_after */
	bool msync; /* instead: where a fence goes, an msync of the pages of flush_after's stores */
};
struct patch_pages { /* stored to since the last msync, by those stores */
	uint64_t page[PATCH_SITES];
	size_t n;
};
void patch_page(const struct patch *p, const struct event *e, struct patch_pages *to);
/* last: the event before it, or NULL; nothing goes between the pieces of a store. */
bool patch_fence(const struct patch *p, const struct event *e, const struct event *last);
bool patch_flush(const struct patch *p, const struct event *e);
/* next: the event behind it, or NULL where that is not known. */
bool patch_fence_after(const struct patch *p, const struct event *e, const struct event *next);

struct explorer {
	const struct crashsim_workload *workload;
	unsigned char *buf;
	size_t bytes;
	const struct model *model;
	size_t crash_point;
	unsigned depth;
	const unsigned char *op; /* 256 of enum crashsim_state, at the crash of run */
	const uint64_t *note;    /* 64, likewise */
	const struct killer *killer;
	size_t n_killers;
	/* Shared with the process that watches: the execution under way. */
	struct failure *now;
	/* A failure; the exploration goes on when it returns true. */
	bool (*failed)(void *ctx, const struct failure *f);
	void *ctx;
	/* Replay: decisions to take, in order; after them the first option. */
	const struct failure *replay;
	bool crash_at_end; /* of each recovery, even if its last drain came after its last store */
	bool misfit;       /* out: a decision of replay was none of the options */
	/* Replay: of a line of phase 0, how many pieces of each group have landed; NULL: by replay */
	const uint16_t *(*guide)(void *ctx, uint32_t line);
	const struct observer *observer;
	const struct patch *patch; /* of recovery; may be NULL */
	_Atomic uint64_t *beat;    /* counts executions, for who watches */
	bool (*stop)(void *ctx);   /* asked before each execution: leave the rest */
	/* MODE_RERUN: what a process that ended so died of */
	void (*died)(void *ctx, int status, char *what, size_t size);
};

void explore(struct explorer *x, const struct image_set *set, struct point_result *result);

static inline uint64_t digest_mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}
uint64_t digest_bytes(uint64_t h, const void *data, size_t len);

struct digests { /* a set of them, by open addressing */
	uint64_t *slot;
	size_t n, slots;
};
/* False: it was there. */
bool digest_add(struct digests *d, uint64_t h);
void digests_clear(struct digests *d);

/* ---- what hooks.c calls ---------------------------------------------------------------------- */

enum stage { STAGE_IDLE, STAGE_RECORD, STAGE_RECOVER };
extern enum stage stage;
extern unsigned char *region_base; /* of the buffer; accesses elsewhere are no business of ours */
extern size_t region_bytes;

/* In STAGE_RECOVER. */
void explore_read(uint64_t off, size_t len);         /* about to happen */
void explore_before_write(uint64_t off, size_t len); /* the same; explore_written() follows */
void explore_written(const struct event *e);         /* a store, flush, drain ... */
void explore_checked(uint64_t off, size_t len);
void explore_join(uint64_t key); /* join.c */
/* Each set that is explored, in the worker; NULL: nobody asks. */
extern void (*explore_set_seen)(const struct image_set *set, unsigned phase);
_Noreturn void explore_fail(const char *what);
_Noreturn void explore_back(void); /* the execution under way has failed; in its first thread */
void explore_outcome(uint64_t value);
enum crashsim_state explore_state(unsigned op);
uint64_t explore_noted(unsigned slot);
unsigned explore_phase(
	void); /* 0: in recovery from the crash of run, 1: from a crash in that ... */

#endif
