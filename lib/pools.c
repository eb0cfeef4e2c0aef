/* SPDX-License-Identifier: BSD-3-Clause */
/* pools -- see pools.h.  After fork() the child's handles are dead: every pool and open space is
 * marked, so that a reader needs no extra look.
 *
 * FORK		A pool's lock lasts as long as the file that has it is open or mapped in any process: in
 *		the child it is not.
 *		liburcu holds its locks over the fork and forgets, in the child, the readers that
 *		are not there any more: a pool of the child's own would else wait for them for ever.
 *		Its functions do not nest, and a program that uses liburcu's same flavour may call
 *		them too.  Two things keep the peace: the handlers are installed when the library
 *		is loaded, so that of handlers which a program installs itself the ones that run
 *		before the fork run before ours; and liburcu's block all signals, so that where all
 *		are blocked it is taken as done (libpmpt(7) says so).
 * LOCKS	liburcu's > lock, which is a leaf
 */
#include "pools.h"

#include <pthread.h>
#include <signal.h>

#include "pool.h"
#include "rcu.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pmpt_pool *first;
static uint64_t last_serial;
/* A pool has been opened in this process or those that it comes from: liburcu knows of readers. */
static _Atomic bool ever;
static bool holds_rcu; /* over a fork, by this file; under the lock */

static bool signals_blocked(void)
{
	sigset_t now;

	if (pthread_sigmask(SIG_SETMASK, NULL, &now))
		return false;
	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		bool can = sig != SIGKILL && sig != SIGSTOP && (sig < 32 || sig >= SIGRTMIN);

		if (can && sigismember(&now, sig) != 1)
			return false;
	}
	return true;
}

static void before_fork(void)
{
	/* in a reader section it would wait for a grace period that waits for this thread */
	bool rcu = atomic_load(&ever) && !signals_blocked() && !reader_inside();

	if (rcu)
		urcu_bp_before_fork();
	pthread_mutex_lock(&lock);
	holds_rcu = rcu;
}

static void in_parent(void)
{
	bool rcu = holds_rcu;

	pthread_mutex_unlock(&lock);
	if (rcu)
		urcu_bp_after_fork_parent();
}

static void in_child(void)
{
	bool rcu = holds_rcu;

	for (struct pmpt_pool *pool = first; pool; pool = pool->pools.next) {
		atomic_store(&pool->forked, true);
		for (uint32_t i = 0; pool->space && i < pool->sb->n_spaces; i++) {
			if (!pool->space[i])
				continue;
			atomic_store(&pool->space[i]->slow, true);
			pwc_end(&pool->space[i]->pwc);
		}
		swap_file_close(&pool->swap.file);
		if (pool->in_child)
			pool->in_child(pool->ctx);
	}
	pthread_mutex_unlock(&lock);
	if (rcu)
		urcu_bp_after_fork_child();
}

__attribute__((constructor)) static void watch_forks(void)
{
	(void)pthread_atfork(before_fork, in_parent, in_child);
}

void pools_add(struct pmpt_pool *pool)
{
	atomic_store(&ever, true);
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

void pools_each(void (*fn)(struct pmpt_pool *pool, void *ctx), void *ctx)
{
	pthread_mutex_lock(&lock);
	for (struct pmpt_pool *pool = first; pool; pool = pool->pools.next)
		fn(pool, ctx);
	pthread_mutex_unlock(&lock);
}
