/* SPDX-License-Identifier: BSD-3-Clause */
/* actors -- see actors.h.
 *
 * One thread of the process runs both; so what blocks must not: the linker puts functions of ours
 * before pthread_mutex_lock() and sched_yield(), and before the loads by which a spinning lock is
 * watched.
 */
#include "actors.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "pm_bridge.h"

#include "hooks.h"

#define STACK_BYTES ((size_t)1 << 18)
#define SPINS       200u   /* loads of a lock that is taken, before it counts as waiting */
#define WAITS_MAX   20000u /* in a row: the actors wait for each other */

static struct {
	const struct cast *cast;
	ucontext_t main, actor[2];
	char *stack[2];
	bool on, done[2];
	unsigned now, left; /* who runs; events until it is stopped, 0: it is not */
	unsigned waits, spins;
} st;

/* ---- switching ----------------------------------------------------------------------------------- */

static void stop_running(void)
{
	unsigned me = st.now;

	hook_settle();
	(void)swapcontext(&st.actor[me], &st.main);
}

static void at_event(void)
{
	st.waits = st.spins = 0;
	if (st.on && st.left && !--st.left)
		stop_running();
}

/* The actor that runs needs something that the other has. */
static void wait_for_other(void)
{
	if (st.done[!st.now] || ++st.waits > WAITS_MAX) {
		(void)fprintf(stderr, "crashsim: actor %u waits for what nobody will give it\n",
			      st.now);
		exit(2);
	}
	stop_running();
}

static void actor_main(void)
{
	unsigned me = st.now;

	st.cast->actor[me]();
	hook_settle();
	st.done[me] = true;
	for (;;)
		(void)swapcontext(&st.actor[me], &st.main);
}

/* Let an actor run for so many events (0: to its end), whatever it waits for in between.
 * Returns false when it ended before. */
static bool let(unsigned actor, unsigned events)
{
	st.left = events;
	while (!st.done[actor]) {
		st.now = actor;
		hook_thread = actor;
		(void)swapcontext(&st.main, &st.actor[actor]);
		if (st.done[actor] || (events && !st.left))
			break;
		/* it waits: the other goes on, one event */
		unsigned left = st.left;

		st.left = 1;
		st.now = !actor;
		hook_thread = !actor;
		(void)swapcontext(&st.main, &st.actor[!actor]);
		st.left = left;
	}
	return !st.done[actor];
}

/* ---- what would block ------------------------------------------------------------------------------ */

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	if (!st.on)
		return __real_pthread_mutex_lock(mutex);
	while (pthread_mutex_trylock(mutex))
		wait_for_other();
	return 0;
}

int __real_sched_yield(void);
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
	if (!st.on)
		return __real_sched_yield();
	wait_for_other();
	return 0;
}

uint32_t __real___tsan_atomic32_load(const volatile uint32_t *a, int order);
uint32_t __wrap___tsan_atomic32_load(const volatile uint32_t *a, int order);
uint32_t __wrap___tsan_atomic32_load(const volatile uint32_t *a, int order)
{
	uint32_t value = __real___tsan_atomic32_load(a, order);

	if (st.on && value && ++st.spins > SPINS) {
		st.spins = 0;
		wait_for_other();
	}
	return value;
}

/* ---- schedules ------------------------------------------------------------------------------------- */

static void make(unsigned actor)
{
	if (!st.stack[actor])
		st.stack[actor] = malloc(STACK_BYTES);
	if (!st.stack[actor] || getcontext(&st.actor[actor]))
		exit(3);
	st.actor[actor].uc_stack.ss_sp = st.stack[actor];
	st.actor[actor].uc_stack.ss_size = STACK_BYTES;
	st.actor[actor].uc_link = NULL;
	makecontext(&st.actor[actor], actor_main, 0);
	st.done[actor] = false;
}

/* One schedule.  *first_left, *second_left: out, the actor was stopped before its end. */
static void play(void *pm, unsigned before, unsigned part, bool *first_left, bool *second_left)
{
	st.cast->begin(pm);
	make(0);
	make(1);
	st.on = true;
	bridge_at_event = at_event;
	*first_left = before == 0 || let(0, before);
	*second_left = let(1, part);
	(void)let(0, 0);
	(void)let(1, 0);
	bridge_at_event = NULL;
	st.on = false;
	hook_thread = 0;
	st.cast->end();
}

void actors_explore(void *pm, const struct cast *cast)
{
	bool first_left = true, second_left, again = false;

	st.cast = cast;
	for (unsigned before = 0; first_left && (!cast->most || before <= cast->most); before++) {
		unsigned part = 0;

		do {
			if (again)
				crashsim_again();
			again = true;
			play(pm, before, part, &first_left, &second_left);
			part++;
		} while (cast->parts && first_left && (part == 1 || second_left));
	}
}
