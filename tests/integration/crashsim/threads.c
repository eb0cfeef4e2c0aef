/* SPDX-License-Identifier: BSD-3-Clause */
/* threads -- workloads of two threads, for test_crashsim.sh: operations that wait for another thread before they return, each in its own way;
 * one that does not wait; and stores that are lost in another thread than the one whose store survives. */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include <crashsim.h>

struct pool {
	uint64_t x, pad_x[7], y, pad_y[7], flag, pad[7];
};
static struct pool *pool;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t sem;
static int done;
static _Atomic int done_atomic;
static volatile int done_volatile;

enum how { JOIN, COND, LATE_LOCK, BARRIER, SEM, ATOMIC, VOLATILE, BUFFER };
static enum how how;

static void persist(const void *p)
{
	crashsim_clwb(p);
	crashsim_sfence();
}

static void *works(void *arg)
{
	pool->x = 1;
	persist(&pool->x);
	switch (how) {
	case COND:
	case LATE_LOCK:
		(void)pthread_mutex_lock(&mutex);
		done = 1;
		(void)pthread_cond_signal(&cond);
		(void)pthread_mutex_unlock(&mutex);
		break;
	case BARRIER:
		(void)pthread_barrier_wait(&barrier);
		break;
	case SEM:
		(void)sem_post(&sem);
		break;
	case ATOMIC:
		atomic_store_explicit(&done_atomic, 1, memory_order_release);
		break;
	case VOLATILE:
		done_volatile = 1;
		break;
	case BUFFER:
		((volatile struct pool *)pool)->flag = 1;
		break;
	default:
		break;
	}
	return arg;
}

static void waits(void)
{
	switch (how) {
	case COND:
		(void)pthread_mutex_lock(&mutex);
		while (!done)
			(void)pthread_cond_wait(&cond, &mutex);
		(void)pthread_mutex_unlock(&mutex);
		break;
	case LATE_LOCK:
		for (int is = 0; !is;) {
			(void)pthread_mutex_lock(&mutex);
			is = done;
			(void)pthread_mutex_unlock(&mutex);
		}
		break;
	case BARRIER:
		(void)pthread_barrier_wait(&barrier);
		break;
	case SEM:
		(void)sem_wait(&sem);
		break;
	case ATOMIC:
		while (!atomic_load_explicit(&done_atomic, memory_order_acquire))
			;
		break;
	case VOLATILE:
		while (!done_volatile)
			;
		break;
	case BUFFER:
		while (!((volatile struct pool *)pool)->flag)
			;
		break;
	default:
		break;
	}
}

static void wait_run(void *pm, enum how h)
{
	pthread_t t;

	pool = pm;
	how = h;
	done = done_volatile = 0;
	atomic_store(&done_atomic, 0);
	(void)pthread_barrier_init(&barrier, NULL, 2);
	(void)sem_init(&sem, 0, 0);
	crashsim_begin(0);
	(void)pthread_create(&t, NULL, works, NULL);
	if (h == JOIN)
		(void)pthread_join(t, NULL);
	else
		waits();
	crashsim_returned(0);
	if (h != JOIN)
		(void)pthread_join(t, NULL);
	(void)pthread_barrier_destroy(&barrier);
}

static void x_check(void *pm)
{
	if (crashsim_state(0) == CRASHSIM_RETURNED && !((struct pool *)pm)->x)
		crashsim_fail("the store has returned, and it is lost");
}
#define WAITS(name, h)                                         \
	static void name##_run(void *pm) { wait_run(pm, h); }  \
	CRASHSIM_WORKLOAD(name, .bytes = sizeof(struct pool), .run = name##_run, .check = x_check)
WAITS(wait_join, JOIN)
WAITS(wait_cond, COND)
WAITS(wait_lock, LATE_LOCK)
WAITS(wait_barrier, BARRIER)
WAITS(wait_sem, SEM)
WAITS(wait_atomic, ATOMIC)
WAITS(wait_volatile, VOLATILE)
WAITS(wait_buffer, BUFFER)

/* ---- no wait: it may return before its own clflush, whatever another thread does meanwhile [R13] ---- */

static void *beside(void *arg)
{
	pool->y = 1;
	persist(&pool->y);
	return arg;
}
static void no_wait_run(void *pm)
{
	pthread_t t;

	pool = pm;
	(void)pthread_create(&t, NULL, beside, NULL);
	crashsim_begin(0);
	((struct pool *)pm)->x = 1;
	crashsim_clflush(pm);
	crashsim_returned(0);
	(void)pthread_join(t, NULL);
}
CRASHSIM_WORKLOAD(no_wait, .bytes = sizeof(struct pool), .run = no_wait_run, .check = x_check)

/* ---- y without x, of two threads [R9] --------------------------------------------------------------- */

static int flushes;

static void *stores_x(void *arg)
{
	pool->x = 1;
	if (flushes)
		crashsim_clwb(&pool->x);
	return arg;
}
static void apart_run(void *pm, int flushed)
{
	pthread_t t;

	pool = pm;
	flushes = flushed;
	(void)pthread_create(&t, NULL, stores_x, NULL);
	(void)pthread_join(t, NULL);
	crashsim_sfence(); /* drains nothing of the other thread */
	pool->y = 1;
	persist(&pool->y);
}
static void apart_flush_run(void *pm) { apart_run(pm, 0); }
static void apart_fence_run(void *pm) { apart_run(pm, 1); }
static void order_check(void *pm)
{
	const struct pool *p = pm;

	if (p->y && !p->x)
		crashsim_fail("y without x");
}
CRASHSIM_WORKLOAD(apart_flush, .bytes = sizeof(struct pool), .run = apart_flush_run, .check = order_check)
CRASHSIM_WORKLOAD(apart_fence, .bytes = sizeof(struct pool), .run = apart_fence_run, .check = order_check)

/* Nothing helps after x: y is stored first.  A flush and a fence before it would have to be of x. */
static void *stores_y(void *arg)
{
	pool->y = 1;
	persist(&pool->y);
	return arg;
}
static void apart_order_run(void *pm)
{
	pthread_t t;

	pool = pm;
	(void)pthread_create(&t, NULL, stores_y, NULL);
	(void)pthread_join(t, NULL);
	pool->x = 1;
	persist(&pool->x);
}
CRASHSIM_WORKLOAD(apart_order, .bytes = sizeof(struct pool), .run = apart_order_run, .check = order_check)
