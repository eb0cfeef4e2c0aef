/* SPDX-License-Identifier: BSD-3-Clause */
/* one_thread -- jemalloc for a library that a running program loads.
 *
 * Debian's archive has 2632 bytes of initial-exec thread-local state, and the C library keeps less
 * than that for all libraries that come after the start: dlopen would fail.  So the state is plain
 * memory here, one for all threads (untls.c), and a lock lets one thread at a time in: jemalloc
 * sees a program of one thread.  mem.c never uses its per-thread caches.
 *
 * INVARIANTS
 *  J1  Who runs jemalloc's code holds the lock, and one_offset is the way from its thread pointer
 *      to the state.  So the names below stand before jemalloc's, and before what jemalloc would
 *      be called back through: its constructor (dropped), its destructor at a thread's end, its
 *      fork handlers, its background threads.
 *  J2  An embedder's MALLOC_CONF and /etc/malloc.conf are for the embedder's own jemalloc. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include <jemalloc/jemalloc.h>

/* jemalloc's functions, as the Makefile renames them */
void *real_mallocx(size_t size, int flags);
void real_sdallocx(void *ptr, size_t size, int flags);
int real_mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size);
int real_mallctlnametomib(const char *name, size_t *mib, size_t *n);
int real_mallctlbymib(const size_t *mib, size_t n, void *old, size_t *old_size, void *new,
		      size_t new_size);

/* what jemalloc calls instead of the C library */
int one_key_create(pthread_key_t *key, void (*destroy)(void *));
int one_setspecific(pthread_key_t key, const void *value);
int one_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int one_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
char *one_getenv(const char *name);
ssize_t one_readlink(const char *path, char *buf, size_t size);

extern char je_tsd_tls[];
uintptr_t one_offset; /* je_tsd_tls, seen from the thread pointer of the lock's holder */
/* no call takes long: a thread that waits spins before it sleeps */
static pthread_mutex_t lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;

static void enter(void)
{
	uintptr_t thread;

	(void)pthread_mutex_lock(&lock);
	__asm__("mov %%fs:0, %0" : "=r"(thread));
	*(volatile uintptr_t *)&one_offset = (uintptr_t)je_tsd_tls - thread;
}

static void leave(void) { (void)pthread_mutex_unlock(&lock); }

void *mallocx(size_t size, int flags)
{
	void *ptr;

	enter();
	ptr = real_mallocx(size, flags);
	leave();
	return ptr;
}

void sdallocx(void *ptr, size_t size, int flags)
{
	enter();
	real_sdallocx(ptr, size, flags);
	leave();
}

int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size)
{
	int error;

	enter();
	error = real_mallctl(name, old, old_size, new, new_size);
	leave();
	return error;
}

int mallctlnametomib(const char *name, size_t *mib, size_t *n)
{
	int error;

	enter();
	error = real_mallctlnametomib(name, mib, n);
	leave();
	return error;
}

int mallctlbymib(const size_t *mib, size_t n, void *old, size_t *old_size, void *new,
		 size_t new_size)
{
	int error;

	enter();
	error = real_mallctlbymib(mib, n, old, old_size, new, new_size);
	leave();
	return error;
}

/* The state outlives each thread. */
int one_key_create(pthread_key_t *key, void (*destroy)(void *))
{
	(void)destroy;
	*key = 0;
	return 0;
}

int one_setspecific(pthread_key_t key, const void *value)
{
	(void)key, (void)value;
	return 0;
}

/* The lock is held over the fork: the child has jemalloc's state at rest, and its only thread is
 * the lock's holder. */
static void (*fork_prepare)(void), (*fork_parent)(void), (*fork_child)(void);

static void before_fork(void)
{
	enter();
	fork_prepare();
}

static void after_fork(void)
{
	fork_parent();
	leave();
}

static void in_child(void)
{
	fork_child();
	leave();
}

int one_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	fork_prepare = prepare;
	fork_parent = parent;
	fork_child = child;
	return pthread_atfork(before_fork, after_fork, in_child);
}

int one_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	(void)thread, (void)attr, (void)run, (void)arg;
	return EAGAIN;
}

char *one_getenv(const char *name)
{
	(void)name;
	return NULL;
}

ssize_t one_readlink(const char *path, char *buf, size_t size)
{
	(void)path, (void)buf, (void)size;
	errno = ENOENT;
	return -1;
}
