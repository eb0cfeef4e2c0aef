/* SPDX-License-Identifier: BSD-3-Clause */
/* mem -- volatile memory, all of it from jemalloc, counted per pool so that a leak shows at close.
 * Zeroed where asked.  Sizes are given back at the free.  Threads: any. */
#ifndef PMPT_MEM_H
#define PMPT_MEM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct mem {
	unsigned arena;         /* jemalloc's; 0 until mem_init */
	_Atomic uint64_t bytes; /* outstanding */
};

int mem_init(struct mem *mem);  /* 0 or -ENOMEM */
void mem_fini(struct mem *mem); /* asserts (test builds) or logs that nothing is outstanding */
/* NULL: out of memory; 64-byte aligned when size >= 64 */
void *mem_alloc(struct mem *mem, size_t size);
void *mem_zalloc(struct mem *mem, size_t size);
/* Grows or shrinks; NULL leaves the old block. */
void *mem_resize(struct mem *mem, void *ptr, size_t old_size, size_t new_size);
void mem_free(struct mem *mem, void *ptr, size_t size); /* ptr may be NULL */

#ifdef PMPT_TEST
/* the nth allocation from now fails (0: the next); negative: none */
extern _Atomic long mem_fail_after;
#endif

#endif
