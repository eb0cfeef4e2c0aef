/* SPDX-License-Identifier: BSD-3-Clause */
/* driver -- a workload from its recording to its result: crash points, workers, failures. */
#ifndef DRIVER_H
#define DRIVER_H

#include "explore.h"

/* Workloads known, in the order of their names. */
size_t workloads(const struct crashsim_workload *const **list);
const struct crashsim_workload *workload_find(const char *name);

/* The buffer of a workload: mapped once, at the same address in every run. */
unsigned char *buffer_map(const struct crashsim_workload *w);
/* The recording under way cannot go on: says so, and ends the process; or only that. */
_Noreturn void record_end(void);
_Noreturn void record_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Run setup and run; the trace.  Returns 0, or says why not on stderr. */
int record(const struct crashsim_workload *w, struct trace *t);
extern double record_took; /* seconds, the last one */
/* Record twice and compare: the first difference is named.  0 or 1. */
int record_checked(const struct crashsim_workload *w, struct trace *t);

/* Crashes in a row: of the options, else of the workload. */
unsigned depth_of(const struct crashsim_workload *w);
/* Where each operation was at a crash point, and what was noted until then. */
void ops_at(const struct trace *t, size_t c, unsigned char op[256], uint64_t note[64]);

/* Explore every crash point of this shard.  t: of record(); is the caller's. */
struct progress;
struct watcher {
	double deadline; /* see struct task, worker.h */
	void (*progress)(void *ctx, const struct progress *p);
	void *ctx;
};
void run_workload(const struct crashsim_workload *w, const struct trace *t,
		  const struct watcher *by, struct result *r);
void result_free(struct result *r);

/* Of what was recorded, and of the options that ids depend on. */
uint64_t trace_digest(const struct trace *t);
/* The path of a failure in a line, and back: the format stands in failure.c.  parse: returns NULL, or
 * what is wrong with it; f->decision is the caller's to free. */
void failure_id(const struct failure *f, uint64_t digest, char *id, size_t size);
const char *failure_parse(const char *id, const struct trace *t, struct failure *f);

enum replayed { REPLAY_PASSES, REPLAY_FAILS, REPLAY_MISFIT };
/* Take one path again, in this process.  f->what and f->decision: out.  guide, ctx: may be NULL, see
 * struct explorer. */
struct replay_by {
	const struct observer *observer;
	const uint16_t *(*guide)(void *ctx, uint32_t line);
	void *ctx;
};
enum replayed path_replay(const struct crashsim_workload *w, const struct trace *t,
			  struct failure *f, const struct replay_by *by);

#endif
