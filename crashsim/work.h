/* SPDX-License-Identifier: BSD-3-Clause */
/* work -- the crash points of a task under way: what the workers and their watcher share (worker.c), and
 * who makes a result of it (gather.c). */
#ifndef WORK_H
#define WORK_H

#include <stdatomic.h>

#include "worker.h"

#define JOBS_MAX 256
#define NO_POINT SIZE_MAX
#define PRINTED  160 /* bytes of what recovery prints, kept */

struct watched {              /* what a worker does now */
	_Atomic size_t point; /* index of the crash point, NO_POINT: none */
	_Atomic uint64_t beat;
	struct failure now;
	struct decision decision[DECISIONS_MAX];
	char why[160]; /* it ends itself, and says why */
};

struct shared {
	_Atomic size_t next;
	_Atomic bool stop;
	struct watched worker[JOBS_MAX];
};

struct job { /* a worker, as its watcher sees it */
	pid_t pid;
	bool hangs;           /* and was killed for it */
	int failures, output; /* ends of pipes to read */
	uint64_t beat;
	double since;
	unsigned char *message; /* a failure that has arrived in part */
	size_t have;
};

struct found { /* a failure */
	size_t index;
	struct failure f;
};

struct fatal { /* what kills a worker */
	size_t index;
	struct killer killer;
};

struct work {
	const struct task *task;
	struct shared *sh;
	struct point_result *result; /* shared, by index */
	struct job job[JOBS_MAX];
	unsigned jobs;
	struct found *found;
	size_t n_found, room_found;
	struct fatal *fatal;
	size_t n_fatal;
	uint64_t printed; /* bytes */
	char first_printed[PRINTED];
	bool broken;
};

/* Start the workers, and look after them until all points are explored or given up. */
void watch(struct work *work);
/* A failure at the point of that index; f and its decisions d are copied. */
void found_add(struct work *work, size_t index, const struct failure *f, const struct decision *d);

#endif
