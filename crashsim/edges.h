/* SPDX-License-Identifier: BSD-3-Clause */
/* edges -- what each thread of the workload has waited for; see edges.c. */
#ifndef EDGES_H
#define EDGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern bool edges_on; /* a run is recorded that has had more than one thread */

void edges_begin(void); /* a run is about to be recorded, or is over */
/* The caller creates a thread. */
void edges_create(uint32_t thread);
/* What the caller has done until now happens before whatever another thread does behind its
 * edges_acquire() of the same word: one that is stored to, or a lock. */
void edges_release(const void *at, size_t len);
void edges_acquire(const void *at, size_t len);
/* The thread goes on because of what the caller has done. */
void edges_wake(uint32_t thread);
/* The caller may have waited for anything. */
void edges_any(void);
/* So many events of the recording happened before the thread came to where it is, whatever is still in
 * its store buffer. */
uint32_t edges_waited(uint32_t thread);

#endif
