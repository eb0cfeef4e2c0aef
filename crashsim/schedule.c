/* SPDX-License-Identifier: BSD-3-Clause */
/* schedule -- the workload's threads, one at a time: a seed decides which, so that the same seed
 * gives the same trace.
 *
 * Each is a thread of the system, with its stack and its thread-local variables; but only the one
 * that has the token runs.  It passes the token on at accesses to the buffer, at atomics and where
 * it synchronises: at random, by a generator that options.seed starts, or because it cannot go on.
 * How often it does so is part of the seed: from at every point to one point in 32.
 *
 * Locks and the like: sync.c.  Time stands still: a sleep is a yield, a timed wait ends by its time
 * when no thread could run otherwise.
 *
 * STATES of a thread: RUNS (may) -> WAITS (for an address) -> RUNS by threads_wake(); -> DONE.
 * Nobody RUNS: a deadlock, named.
 * Interleavings are of whole accesses, in one order for all threads: the stores that a processor
 * still keeps from other processors are not modelled (crashsim(1), MODEL, R1).
 */
#include "schedule.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"
#include "edges.h"
#include "hooks.h"
#include "symbol.h"
#include "system.h"

#define THREADS_MAX 64u       /* as many as the model tells apart */
#define POINTS_MAX  50000000u /* of one execution: more is a livelock */
#define ELSEWHERE   2000u     /* accesses to other memory in a row, then another thread goes on */

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

enum state { RUNS, WAITS, DONE };

struct thread {
	_Atomic uint32_t token;
	enum state state;
	uint32_t number;
	const void *on; /* what it waits for */
	const char *what;
	uint64_t site;
	bool timed, timed_out;
	pthread_t system;
	void *(*start)(void *);
	void *arg;
};

bool threads_on;
uint64_t threads_execution;

static struct {
	struct thread *thread[THREADS_MAX];
	uint32_t n;
	struct thread *runs;
	bool on, over; /* over: the execution has failed, the first thread is to jump out */
	uint64_t random, points, elsewhere;
	unsigned rate;
} sched;

static __thread struct thread *self; /* NULL: not of the schedule */

void *system_function(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f) {
		(void)fprintf(stderr, "crashsim: no function %s in the C library\n", name);
		abort();
	}
	return f;
}

/* ---- the token ------------------------------------------------------------------------------- */

bool threads_managed(void) { return self && sched.on && sched.runs == self; }

static uint64_t draw(void) /* splitmix64 */
{
	uint64_t z = sched.random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void token_wait(struct thread *t)
{
	while (!atomic_exchange(&t->token, 0))
		(void)syscall(SYS_futex, &t->token, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void token_give(struct thread *to)
{
	sched.runs = to;
	hook_thread = to->number;
	atomic_store(&to->token, 1);
	(void)syscall(SYS_futex, &to->token, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void go_on_with(struct thread *to)
{
	struct thread *me = self;

	if (to == me)
		return;
	token_give(to);
	token_wait(me);
	if (sched.over) /* only the first thread is ever given the token then */
		explore_back();
}

/* One of those that may run, other than `but`; NULL: none. */
static struct thread *pick(const struct thread *but)
{
	struct thread *can[THREADS_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < sched.n; i++) {
		struct thread *t = sched.thread[i];

		if (t != but && t->state == RUNS)
			can[n++] = t;
	}
	return n ? can[n == 1 ? 0 : draw() % n] : NULL;
}

static uint32_t alive(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < sched.n; i++)
		n += sched.thread[i]->state != DONE;
	return n;
}

void threads_leave(void)
{
	if (!self || !sched.on || self == sched.thread[0])
		return;
	sched.over = true;
	token_give(sched.thread[0]);
	for (;;)
		(void)pause();
}

/* ---- nobody can go on ------------------------------------------------------------------------ */

static _Noreturn void failed(const char *what)
{
	if (stage == STAGE_RECOVER)
		explore_fail(what);
	record_refuse("run, schedule of seed %llu: %s", (unsigned long long)options.seed, what);
}

static _Noreturn void deadlock(void)
{
	char what[512], where[128];
	size_t n = (size_t)snprintf(what, sizeof(what), "deadlock");

	for (uint32_t i = 0; i < sched.n && n < sizeof(what); i++) {
		const struct thread *t = sched.thread[i];

		if (t->state != WAITS)
			continue;
		n += (size_t)snprintf(what + n, sizeof(what) - n, "%s thread %u waits for %s",
				      n == 8 ? ":" : ",", t->number, t->what);
		if (t->site && n < sizeof(what))
			n += (size_t)snprintf(
				what + n, sizeof(what) - n, " at %s",
				symbol_place(symbol_of(t->site), where, sizeof(where)));
	}
	failed(what);
}

/* Threads that are not the schedule's: a lock that one of them has will be free some time. */
static bool strangers(void)
{
	DIR *dir = opendir("/proc/self/task");
	uint32_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		(void)closedir(dir);
	return n > 2 + alive();
}

static struct thread *somebody(void)
{
	struct thread *t = pick(NULL);

	for (uint32_t i = 0; !t && i < sched.n; i++) {
		if (sched.thread[i]->state == WAITS && sched.thread[i]->timed) {
			t = sched.thread[i];
			t->timed_out = true;
			t->state = RUNS;
		}
	}
	return t;
}

static void wake(struct thread *t)
{
	t->state = RUNS;
	edges_wake(t->number);
}

void threads_wake(const void *on)
{
	edges_release(on, 1);
	for (uint32_t i = 0; i < sched.n; i++) {
		if (sched.thread[i]->state == WAITS && sched.thread[i]->on == on)
			wake(sched.thread[i]);
	}
}

void threads_wake_one(const void *on)
{
	struct thread *waits[THREADS_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < sched.n; i++) {
		if (sched.thread[i]->state == WAITS && sched.thread[i]->on == on)
			waits[n++] = sched.thread[i];
	}
	if (n)
		wake(waits[draw() % n]);
}

/* ---- points of the schedule ------------------------------------------------------------------ */

void threads_turn(void)
{
	struct thread *to;

	if (!threads_managed())
		return;
	sched.elsewhere = 0;
	if (++sched.points > POINTS_MAX)
		failed("the threads come to no end: a livelock, or a loop");
	if (draw() % sched.rate)
		return;
	to = pick(NULL);
	if (to)
		go_on_with(to);
}

void threads_elsewhere(void)
{
	struct thread *to;

	if (!threads_managed() || ++sched.elsewhere < ELSEWHERE)
		return;
	sched.elsewhere = 0;
	hook_settle();
	if (++sched.points > POINTS_MAX)
		failed("the threads come to no end: a livelock, or a loop");
	to = pick(self);
	if (to)
		go_on_with(to);
}

void threads_settle_point(void)
{
	if (!threads_on)
		return;
	hook_settle();
	threads_point();
}

bool threads_yield(void)
{
	struct thread *to;

	if (!threads_managed())
		return false;
	hook_settle();
	if (++sched.points > POINTS_MAX)
		failed("the threads come to no end: a livelock, or a loop");
	to = pick(self);
	if (to)
		go_on_with(to);
	edges_any(); /* what it slept for is not known */
	return true;
}

bool threads_wait(const void *on, const char *what, bool timed, uint64_t site)
{
	struct thread *me = self, *to;

	hook_settle();
	me->state = WAITS;
	me->on = on;
	me->what = what;
	me->site = site;
	me->timed = timed;
	me->timed_out = false;
	to = somebody();
	if (!to && strangers()) {
		const struct timespec t = { .tv_nsec = 1000000 };

		(void)syscall(SYS_nanosleep, &t, NULL);
		me->state = RUNS; /* it tries again */
		to = me;
	}
	if (!to)
		deadlock();
	go_on_with(to);
	return !me->timed_out;
}

/* ---- begin and end --------------------------------------------------------------------------- */

void threads_begin(void)
{
	sched.n = 1;
	if (!sched.thread[0])
		sched.thread[0] = must(calloc(1, sizeof(struct thread)));
	*sched.thread[0] = (struct thread){ .state = RUNS, .system = pthread_self() };
	sched.runs = self = sched.thread[0];
	sched.on = true;
	sched.over = false;
	sched.points = sched.elsewhere = 0;
	sched.random = options.seed;
	sched.rate = 1u << draw() % 6;
	threads_execution++;
	threads_on = false;
	hook_thread = 0;
}

bool threads_pass_on(int sig)
{
	if (!sched.on || self == sched.runs)
		return false;
	return pthread_kill(sched.runs->system, sig) == 0;
}

void threads_abandon(void)
{
	/* whoever is left keeps its record: it waits for a token that never comes */
	for (uint32_t i = 1; i < sched.n; i++) {
		if (sched.thread[i]->state == DONE)
			free(sched.thread[i]);
	}
	sched.n = 0;
	sched.on = false;
	threads_on = false;
	self = NULL;
	hook_thread = 0;
}

void threads_end(void)
{
	while (alive() > 1)
		(void)threads_wait(&sched, "the end of all others", false, 0);
	threads_abandon();
}

/* ---- create, join ---------------------------------------------------------------------------- */

static void finished(void *arg)
{
	struct thread *me = arg;

	hook_settle();
	me->state = DONE;
	threads_wake(me);
	threads_wake(&sched);
	threads_on = alive() > 1;
	struct thread *to = somebody();

	if (!to)
		deadlock();
	/* what its destructors of thread-local data lock is the system's affair */
	self = NULL;
	token_give(to);
}

static void *started(void *arg)
{
	struct thread *me = arg;
	void *result;

	self = me;
	token_wait(me);
	pthread_cleanup_push(finished, me);
	result = me->start(me->arg);
	pthread_cleanup_pop(1);
	return result;
}

int pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	struct thread *t;
	int rc;

	if (!threads_managed())
		return SYSTEM(pthread_create)(out, attr, start, arg);
	if (sched.n == THREADS_MAX)
		failed("more than 64 threads");
	hook_settle();
	t = must(calloc(1, sizeof(*t)));
	*t = (struct thread){ .state = RUNS, .number = sched.n, .start = start, .arg = arg };
	rc = SYSTEM(pthread_create)(&t->system, attr, started, t);
	if (rc) {
		free(t);
		return rc;
	}
	*out = t->system;
	edges_create(t->number);
	sched.thread[sched.n++] = t;
	threads_on = true;
	threads_point();
	return 0;
}

int pthread_join(pthread_t system, void **result)
{
	struct thread *t = NULL;

	for (uint32_t i = 1; threads_managed() && i < sched.n; i++) {
		/* a handle may be used again once its thread is joined: the last one is meant */
		if (pthread_equal(sched.thread[i]->system, system))
			t = sched.thread[i];
	}
	while (t && t->state != DONE)
		(void)threads_wait(t, "the end of a thread it joins", false, CALLER);
	if (t)
		edges_acquire(t, 1);
	return SYSTEM(pthread_join)(system, result);
}
