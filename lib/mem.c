/* SPDX-License-Identifier: BSD-3-Clause */
/* mem -- see mem.h. */
#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#ifdef PMPT_TEST
_Atomic long mem_fail_after = -1;

static int fail_now(void)
{
	return atomic_load(&mem_fail_after) >= 0 && atomic_fetch_sub(&mem_fail_after, 1) == 0;
}
#else
static int fail_now(void) { return 0; }
#endif

#ifdef PMPT_MEM_LIBC /* sanitizer builds: the sanitizer's own allocator knows where a block ends */
static int arena_new(unsigned *arena)
{
	*arena = 0;
	return 0;
}
static void arena_end(unsigned arena) { (void)arena; }
static void *block_new(const struct mem *mem, size_t size, int zero)
{
	void *ptr = aligned_alloc(64, (size + 63) / 64 * 64);

	(void)mem;
	return ptr && zero ? memset(ptr, 0, size) : ptr;
}
static void block_end(const struct mem *mem, void *ptr, size_t size)
{
	(void)mem, (void)size;
	free(ptr);
}
#else
#include <jemalloc/jemalloc.h>

static int flags(const struct mem *mem, size_t size)
{
	return (int)MALLOCX_ARENA(mem->arena) | MALLOCX_TCACHE_NONE |
	       (size >= 64 ? MALLOCX_ALIGN(64) : 0);
}

static int arena_new(unsigned *arena)
{
	size_t size = sizeof(*arena);

	return mallctl("arenas.create", arena, &size, NULL, 0);
}

static void arena_end(unsigned arena)
{
	size_t mib[3], n = 3;

	if (mallctlnametomib("arena.0.destroy", mib, &n))
		return;
	mib[1] = arena;
	(void)mallctlbymib(mib, n, NULL, NULL, NULL, 0);
}

static void *block_new(const struct mem *mem, size_t size, int zero)
{
	return mallocx(size, flags(mem, size) | (zero ? MALLOCX_ZERO : 0));
}

static void block_end(const struct mem *mem, void *ptr, size_t size)
{
	sdallocx(ptr, size, flags(mem, size));
}
#endif

int mem_init(struct mem *mem)
{
	mem->arena = 0;
	atomic_init(&mem->bytes, 0);
	return fail_now() || arena_new(&mem->arena) ? error_set(-ENOMEM, "no memory for an arena")
						    : 0;
}

void mem_fini(struct mem *mem)
{
	if (atomic_load(&mem->bytes)) {
		log_message(PMPT_LOG_ERROR, "%lu bytes of volatile memory were not freed",
			    atomic_load(&mem->bytes));
#ifdef PMPT_TEST
		abort();
#endif
	}
	arena_end(mem->arena);
}

static void *alloc(struct mem *mem, size_t size, int zero)
{
	void *ptr = fail_now() ? NULL : block_new(mem, size ? size : 1, zero);

	if (ptr)
		atomic_fetch_add_explicit(&mem->bytes, size, memory_order_relaxed);
	return ptr;
}

void *mem_alloc(struct mem *mem, size_t size) { return alloc(mem, size, 0); }
void *mem_zalloc(struct mem *mem, size_t size) { return alloc(mem, size, 1); }

void mem_free(struct mem *mem, void *ptr, size_t size)
{
	if (!ptr)
		return;
	atomic_fetch_sub_explicit(&mem->bytes, size, memory_order_relaxed);
	block_end(mem, ptr, size ? size : 1);
}

void *mem_resize(struct mem *mem, void *ptr, size_t old_size, size_t new_size)
{
	void *grown = mem_alloc(mem, new_size);

	if (!grown)
		return NULL;
	if (ptr)
		memcpy(grown, ptr, old_size < new_size ? old_size : new_size);
	mem_free(mem, ptr, old_size);
	return grown;
}
