/* SPDX-License-Identifier: BSD-3-Clause */
/* schedule -- the workload's threads under a schedule that a seed decides; see schedule.c. */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

extern bool threads_on;            /* more than one thread of the workload is alive */
extern uint64_t threads_execution; /* number of the one under way */

/* Around run, and around recover with check: from here on the threads that the caller creates are
 * the schedule's.  end: lets those run to their end that were not joined. */
void threads_begin(void);
void threads_end(void);
/* A signal that came to a thread which does not run goes to the one that does.  False: it has. */
bool threads_pass_on(int sig);
/* Instead of end, when the caller has jumped out: the other threads never go on. */
void threads_abandon(void);

/* The schedule may go on with another thread.  The caller is about to access the buffer or to
 * synchronise, and what it has stored is settled. */
void threads_turn(void);
static inline void threads_point(void)
{
	if (__builtin_expect(threads_on, 0))
		threads_turn();
}
/* An access to other memory: a loop of such may wait for another thread. */
void threads_elsewhere(void);

/* The execution is over.  Returns in the thread that began it; in another, hands over to that one,
 * which goes to explore_back(), and does not return. */
void threads_leave(void);

/* ---- what sync.c is made of ------------------------------------------------------------------ */

/* The caller is a thread of the schedule, and has the token. */
bool threads_managed(void);
/* Settle what it has stored, and threads_point(). */
void threads_settle_point(void);
/* Another thread goes on, if one can.  False: the caller is none of the schedule. */
bool threads_yield(void);
/* Until threads_wake(on); or, where it is timed, until nobody else can run: returns false then.
 * what, site: for the report of a deadlock. */
bool threads_wait(const void *on, const char *what, bool timed, uint64_t site);
void threads_wake(const void *on);
void threads_wake_one(const void *on); /* of those that wait, by the seed */

#endif
