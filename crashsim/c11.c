/* SPDX-License-Identifier: BSD-3-Clause */
/* c11 -- the threads of <threads.h>, by those of <pthread.h>: glibc's would go past schedule.c.
 *
 * glibc makes mtx_t, cnd_t and once_flag of the POSIX types, and promises that they stay so
 * (sysdeps/pthread/thrd_priv.h).
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

#include "engine.h"

struct start {
	thrd_start_t function;
	void *arg;
};

static int result(int rc)
{
	switch (rc) {
	case 0:
		return thrd_success;
	case EBUSY:
		return thrd_busy;
	case ETIMEDOUT:
		return thrd_timedout;
	case ENOMEM:
		return thrd_nomem;
	default:
		return thrd_error;
	}
}

static void *started(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	return (void *)(intptr_t)s.function(s.arg);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *arg)
{
	struct start *s = must(malloc(sizeof(*s)));
	int rc;

	*s = (struct start){ function, arg };
	rc = pthread_create(thread, NULL, started, s);
	if (rc)
		free(s);
	return result(rc == EAGAIN ? ENOMEM : rc);
}

int thrd_join(thrd_t thread, int *code)
{
	void *value = NULL;
	int rc = pthread_join(thread, &value);

	if (code)
		*code = (int)(intptr_t)value;
	return result(rc);
}

void thrd_yield(void) { (void)sched_yield(); }
int thrd_sleep(const struct timespec *t, struct timespec *left) { return nanosleep(t, left); }

#define MUTEX(m) ((pthread_mutex_t *)(void *)(m))
#define COND(c)  ((pthread_cond_t *)(void *)(c))

int mtx_lock(mtx_t *m) { return result(pthread_mutex_lock(MUTEX(m))); }
int mtx_trylock(mtx_t *m) { return result(pthread_mutex_trylock(MUTEX(m))); }
int mtx_unlock(mtx_t *m) { return result(pthread_mutex_unlock(MUTEX(m))); }
int mtx_timedlock(mtx_t *m, const struct timespec *t)
{
	return result(pthread_mutex_timedlock(MUTEX(m), t));
}

int cnd_signal(cnd_t *c) { return result(pthread_cond_signal(COND(c))); }
int cnd_broadcast(cnd_t *c) { return result(pthread_cond_broadcast(COND(c))); }
int cnd_wait(cnd_t *c, mtx_t *m) { return result(pthread_cond_wait(COND(c), MUTEX(m))); }
int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *t)
{
	return result(pthread_cond_timedwait(COND(c), MUTEX(m), t));
}

void call_once(once_flag *once, void (*function)(void))
{
	(void)pthread_once((pthread_once_t *)(void *)once, function);
}
