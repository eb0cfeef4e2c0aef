/* SPDX-License-Identifier: BSD-3-Clause */
/* worker -- see worker.c: crash points explored by worker processes. */
#ifndef WORKER_H
#define WORKER_H

#include <sys/types.h>

#include "driver.h"

struct progress {
	size_t done, total, all; /* crash points */
	uint64_t executions, failures;
};

struct task {
	const struct crashsim_workload *w;
	const struct trace *t;
	const size_t *point;   /* events, ascending */
	const size_t *ordinal; /* of each among all; NULL: as they stand */
	size_t n_points;
	unsigned jobs, max_failures;
	double deadline;           /* of now_s(); 0: none */
	bool fresh;                /* compare with processes in which no recovery has run */
	const struct patch *patch; /* see struct explorer */
	/* Before a set is explored, in the worker; may be NULL. */
	void (*prepare)(void *ctx, struct image_set *set);
	/* Four times a second, in the watcher; may be NULL. */
	void (*progress)(void *ctx, const struct progress *p);
	void *ctx;
};

/* All of them; r: zeros but for what the caller knows; result_free(). */
void explore_points(const struct task *t, struct result *r);

/* Failures in the order of their paths. */
void result_sort(struct result *r);
/* Points and failures, which are in order, up to the limit of failures; then the sums. */
void result_cut(struct result *r, unsigned max_failures);
void result_sum(struct result *r);

/* MODE_EAGER: a crash point has more images than are made one by one; says so. */
bool images_too_many(const struct crashsim_workload *w, const struct trace *t);

double now_s(void);
/* What a process that ended so died of; why: its own words, or "". */
void worker_died_of(const char *why, int status, char *what, size_t size);
/* The words for one that was killed because it did not end. */
void worker_hangs(char *what, size_t size);
/* The status of a child; it is killed when it takes longer: hangs. */
int worker_wait(pid_t pid, double seconds, bool *hangs);
/* Of memory, and no core, from here on. */
void worker_limits(void);

#endif
