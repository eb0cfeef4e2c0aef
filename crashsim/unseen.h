/* SPDX-License-Identifier: BSD-3-Clause */
/* unseen -- stores that no hook announced; see unseen.c. */
#ifndef UNSEEN_H
#define UNSEEN_H

#include "engine.h"

/* The buffer is as t->first says.  Again when the trace starts afresh. */
void unseen_begin(struct trace *t);
/* What was found, of the workload before. */
void unseen_forget(void);
/* The buffer has grown behind. */
void unseen_grown(struct trace *t);
/* Before the event goes into the trace: what a flush is about to write back and nobody announced
 * goes there first, as stores. */
void unseen_before(struct trace *t, const struct event *e);
/* The run is over: what nobody announced nor flushed; then the warnings. */
void unseen_end(struct trace *t);

/* A library stores unseen, and so it will read: in recovery everything is decided before it begins,
 * and each execution has a process of its own, because the library's own state is not known. */
extern bool unseen_library;
/* The buffer, or a line of it, is as it stands: what changes from now on is stored. */
void unseen_recovery_all(void);
void unseen_recovery_line(uint32_t line);
/* After an execution in this process: the engine is to put back what changed. */
void unseen_recovery_end(void);
void unseen_recovery_before(const struct event *e);

#endif
