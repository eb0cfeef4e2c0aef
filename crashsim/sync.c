/* SPDX-License-Identifier: BSD-3-Clause */
/* sync -- locks, conditions, barriers and sleep of the workload's threads, under the schedule of
 * schedule.c; of all other threads they are the C library's.
 *
 * Locks are taken by their `try` functions, so that who owns one is what it is without crashsim; a
 * thread that cannot have one waits by threads_wait() until it is left.  Conditions, barriers and
 * once are done here.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "edges.h"
#include "hooks.h"
#include "schedule.h"
#include "system.h"

#define BARRIERS_MAX 64u
#define ONCE_MAX     16u

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

static struct barrier {
	const pthread_barrier_t *at;
	unsigned count, arrived;
} barrier[BARRIERS_MAX];

static pthread_once_t *under_way[ONCE_MAX];
static uint64_t under_way_of; /* the execution */

/* ---- locks ----------------------------------------------------------------------------------- */

/* Take a lock by its try function. */
#define TAKE(call, lock, what, timed)                               \
	do {                                                        \
		uint64_t site = CALLER;                             \
		int rc;                                             \
                                                                    \
		threads_settle_point();                             \
		while ((rc = (call)) == EBUSY) {                    \
			if (!threads_wait(lock, what, timed, site)) \
				return ETIMEDOUT;                   \
		}                                                   \
		if (!rc)                                            \
			edges_acquire((const void *)(lock), 1);     \
		return rc;                                          \
	} while (0)

#define TRY(call, lock)                         \
	do {                                    \
		int rc;                         \
                                                \
		if (!threads_managed())         \
			return (call);          \
		threads_settle_point();         \
		rc = (call);                    \
		if (!rc)                        \
			edges_acquire(lock, 1); \
		return rc;                      \
	} while (0)

#define LEAVE(call, lock)               \
	do {                            \
		int rc;                 \
                                        \
		if (!threads_managed()) \
			return (call);  \
		hook_settle();          \
		rc = (call);            \
		threads_wake(lock);     \
		threads_point();        \
		return rc;              \
	} while (0)

int pthread_mutex_lock(pthread_mutex_t *m)
{
	/* one that would say EDEADLK to its owner says so */
	if (!threads_managed() ||
	    (m->__data.__owner == gettid() && (m->__data.__kind & 3) == PTHREAD_MUTEX_ERRORCHECK))
		return SYSTEM(pthread_mutex_lock)(m);
	TAKE(SYSTEM(pthread_mutex_trylock)(m), m, "a mutex", false);
}

int pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *until)
{
	if (!threads_managed())
		return SYSTEM(pthread_mutex_timedlock)(m, until);
	TAKE(SYSTEM(pthread_mutex_trylock)(m), m, "a mutex", true);
}

int pthread_mutex_trylock(pthread_mutex_t *m) { TRY(SYSTEM(pthread_mutex_trylock)(m), m); }

int pthread_mutex_unlock(pthread_mutex_t *m) { LEAVE(SYSTEM(pthread_mutex_unlock)(m), m); }

int pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
	if (!threads_managed())
		return SYSTEM(pthread_rwlock_rdlock)(l);
	TAKE(SYSTEM(pthread_rwlock_tryrdlock)(l), l, "a read lock", false);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
	if (!threads_managed())
		return SYSTEM(pthread_rwlock_wrlock)(l);
	TAKE(SYSTEM(pthread_rwlock_trywrlock)(l), l, "a write lock", false);
}

int pthread_rwlock_tryrdlock(pthread_rwlock_t *l) { TRY(SYSTEM(pthread_rwlock_tryrdlock)(l), l); }

int pthread_rwlock_trywrlock(pthread_rwlock_t *l) { TRY(SYSTEM(pthread_rwlock_trywrlock)(l), l); }

int pthread_rwlock_unlock(pthread_rwlock_t *l) { LEAVE(SYSTEM(pthread_rwlock_unlock)(l), l); }

int pthread_spin_lock(pthread_spinlock_t *l)
{
	if (!threads_managed())
		return SYSTEM(pthread_spin_lock)(l);
	TAKE(SYSTEM(pthread_spin_trylock)(l), (const void *)l, "a spin lock", false);
}

int pthread_spin_trylock(pthread_spinlock_t *l)
{
	TRY(SYSTEM(pthread_spin_trylock)(l), (const void *)l);
}

int pthread_spin_unlock(pthread_spinlock_t *l)
{
	LEAVE(SYSTEM(pthread_spin_unlock)(l), (const void *)l);
}

static int sem_try(sem_t *s)
{
	return SYSTEM(sem_trywait)(s) == 0 ? 0 : errno == EAGAIN ? EBUSY : errno;
}

static int sem_take(sem_t *s, bool timed) { TAKE(sem_try(s), s, "a semaphore", timed); }

int sem_wait(sem_t *s)
{
	if (!threads_managed())
		return SYSTEM(sem_wait)(s);
	errno = sem_take(s, false);
	return errno ? -1 : 0;
}

int sem_timedwait(sem_t *s, const struct timespec *until)
{
	if (!threads_managed())
		return SYSTEM(sem_timedwait)(s, until);
	errno = sem_take(s, true);
	return errno ? -1 : 0;
}

int sem_trywait(sem_t *s) { TRY(SYSTEM(sem_trywait)(s), s); }

int sem_post(sem_t *s) { LEAVE(SYSTEM(sem_post)(s), s); }

/* ---- conditions, barriers, once -------------------------------------------------------------- */

static int cond_wait(pthread_cond_t *c, pthread_mutex_t *m, bool timed, uint64_t site)
{
	int rc = SYSTEM(pthread_mutex_unlock)(m);
	bool woken;

	if (rc)
		return rc;
	threads_wake(m);
	woken = threads_wait(c, "a condition", timed, site);
	while ((rc = SYSTEM(pthread_mutex_trylock)(m)) == EBUSY)
		(void)threads_wait(m, "the mutex of a condition", false, site);
	edges_acquire(m, 1);
	return rc ? rc : woken ? 0 : ETIMEDOUT;
}

int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	if (!threads_managed())
		return SYSTEM(pthread_cond_wait)(c, m);
	return cond_wait(c, m, false, CALLER);
}

int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
	if (!threads_managed())
		return SYSTEM(pthread_cond_timedwait)(c, m, until);
	return cond_wait(c, m, true, CALLER);
}

int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
			   const struct timespec *until)
{
	if (!threads_managed())
		return SYSTEM(pthread_cond_clockwait)(c, m, clock, until);
	return cond_wait(c, m, true, CALLER);
}

int pthread_cond_signal(pthread_cond_t *c)
{
	if (threads_managed()) {
		threads_wake_one(c);
		threads_settle_point();
	}
	return SYSTEM(pthread_cond_signal)(c);
}

int pthread_cond_broadcast(pthread_cond_t *c)
{
	if (threads_managed()) {
		threads_wake(c);
		threads_settle_point();
	}
	return SYSTEM(pthread_cond_broadcast)(c);
}

static struct barrier *barrier_of(const pthread_barrier_t *b)
{
	for (unsigned i = 0; i < BARRIERS_MAX; i++) {
		if (barrier[i].at == b)
			return &barrier[i];
	}
	return NULL;
}

int pthread_barrier_init(pthread_barrier_t *b, const pthread_barrierattr_t *attr, unsigned count)
{
	struct barrier *mine = barrier_of(b);

	if (!mine)
		mine = barrier_of(NULL);
	if (!mine) {
		(void)fprintf(stderr, "crashsim: more than %u barriers\n", BARRIERS_MAX);
		exit(3);
	}
	*mine = (struct barrier){ b, count, 0 };
	return SYSTEM(pthread_barrier_init)(b, attr, count);
}

int pthread_barrier_destroy(pthread_barrier_t *b)
{
	struct barrier *mine = barrier_of(b);

	if (mine)
		mine->at = NULL;
	return SYSTEM(pthread_barrier_destroy)(b);
}

int pthread_barrier_wait(pthread_barrier_t *b)
{
	struct barrier *mine = barrier_of(b);

	if (!threads_managed() || !mine)
		return SYSTEM(pthread_barrier_wait)(b);
	hook_settle();
	edges_release(b, 1);
	if (++mine->arrived == mine->count) {
		mine->arrived = 0;
		edges_acquire(b, 1);
		threads_wake(b);
		threads_settle_point();
		return PTHREAD_BARRIER_SERIAL_THREAD;
	}
	(void)threads_wait(b, "a barrier", false, CALLER);
	return 0;
}

static void nothing(void) {}

/* The system's own runs the function with its own lock held: a thread that is not given the token
 * meanwhile would wait for that lock.  So: here, and the system is told afterwards. */
int pthread_once(pthread_once_t *once, void (*function)(void))
{
	const int done = 2; /* glibc, nptl/pthread_once.c: __PTHREAD_ONCE_DONE */
	size_t i = 0;

	if (threads_managed())
		edges_acquire(once, 1);
	if (!threads_managed() || *(volatile int *)once == done)
		return SYSTEM(pthread_once)(once, function);
	if (under_way_of != threads_execution)
		memset(under_way, 0, sizeof(under_way));
	under_way_of = threads_execution;
	for (size_t k = 0; k < ONCE_MAX; k++) {
		if (under_way[k] == once) {
			while (under_way[k] == once)
				(void)threads_wait(once, "a pthread_once under way", false, CALLER);
			return 0;
		}
		if (!under_way[k])
			i = k;
	}
	under_way[i] = once;
	function();
	under_way[i] = NULL;
	threads_wake(once);
	return SYSTEM(pthread_once)(once, nothing);
}

/* ---- time ------------------------------------------------------------------------------------ */

int sched_yield(void) { return threads_yield() ? 0 : SYSTEM(sched_yield)(); }
int usleep(useconds_t us) { return threads_yield() ? 0 : SYSTEM(usleep)(us); }
unsigned sleep(unsigned s) { return threads_yield() ? 0 : SYSTEM(sleep)(s); }

int nanosleep(const struct timespec *t, struct timespec *left)
{
	return threads_yield() ? 0 : SYSTEM(nanosleep)(t, left);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
	return threads_yield() ? 0 : SYSTEM(clock_nanosleep)(clock, flags, t, left);
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return n == 0 && threads_yield() ? 0 : SYSTEM(poll)(fds, n, timeout);
}
