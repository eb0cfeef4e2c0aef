/* SPDX-License-Identifier: BSD-3-Clause */
/* pools -- see pools.h.  After fork() the child's handles are dead: every pool and open space is
 * marked, so that a reader needs no extra look. */
#include "pools.h"

#include <pthread.h>

#include "pool.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pmpt_pool *first;
static uint64_t last_serial;

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void in_parent(void) { pthread_mutex_unlock(&lock); }

static void in_child(void)
{
	for (struct pmpt_pool *pool = first; pool; pool = pool->pools.next) {
		atomic_store(&pool->forked, true);
		for (uint32_t i = 0; pool->space && i < pool->sb->n_spaces; i++) {
			if (!pool->space[i])
				continue;
			atomic_store(&pool->space[i]->slow, true);
			pwc_end(&pool->space[i]->pwc);
		}
	}
	pthread_mutex_unlock(&lock);
}

static void watch_forks(void) { (void)pthread_atfork(before_fork, in_parent, in_child); }

void pools_add(struct pmpt_pool *pool)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, watch_forks);
	pthread_mutex_lock(&lock);
	pool->pools.serial = ++last_serial;
	pool->pools.next = first;
	first = pool;
	pthread_mutex_unlock(&lock);
}

void pools_remove(struct pmpt_pool *pool)
{
	pthread_mutex_lock(&lock);
	for (struct pmpt_pool **at = &first; *at; at = &(*at)->pools.next) {
		if (*at == pool) {
			*at = pool->pools.next;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

void pools_visit(struct pmpt_pool *pool, uint64_t serial,
		 void (*fn)(struct pmpt_pool *pool, void *ctx), void *ctx)
{
	pthread_mutex_lock(&lock);
	for (struct pmpt_pool *p = first; p; p = p->pools.next) {
		if (p == pool && p->pools.serial == serial)
			fn(p, ctx);
	}
	pthread_mutex_unlock(&lock);
}
