/* SPDX-License-Identifier: BSD-3-Clause */
/* atomics -- the compiler's atomics as instrumented code calls them.  A locked instruction is a drain,
 * before its own store [R12].
 *
 * Of 16 bytes they are instructions too, and what is larger takes a lock of libatomic; one thread
 * runs at a time, so a plain copy is as good.  For a crash they are words, each by itself [R4].
 * SOURCES: LLVM, compiler-rt/lib/tsan/rtl/tsan_interface_atomic.h; LLVM, docs/Atomics: the library's
 * functions.
 */
#include "hooks.h"

#include <string.h>

#include "edges.h"
#include "schedule.h"

/* the compiler calls these; nobody declares them */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

__extension__ typedef unsigned __int128 uint128_t;

/* A store follows, and hook_range_stored() of it. */
static void begin(void *a, size_t n, bool locked, bool reads, uint64_t site)
{
	bool in = hook_ours(a, n);

	if (in || threads_on)
		hook_settle();
	if (!in)
		threads_point();
	else if (reads && stage == STAGE_RECOVER)
		explore_read((uint64_t)((unsigned char *)a - region_base), n);
	if (reads && edges_on)
		edges_acquire(a, n);
	/* a drain counts for the lines flushed before it, wherever its word lies */
	if (locked && hook_rmw_drains && (in || (stage != STAGE_IDLE && region_bytes)))
		hook_fence(EV_MFENCE, site);
	hook_before_store(a, n, site);
}

static void before_load(const void *a, size_t n)
{
	if (threads_on && !hook_ours(a, n))
		threads_settle_point();
	hook_loads(a, n);
}

#define SEQ_CST 5

#define ATOMIC(bits, type)                                                                         \
	type __tsan_atomic##bits##_load(const volatile type *a, int mo)                            \
	{                                                                                          \
		(void)mo;                                                                          \
		before_load((const void *)a, sizeof(type));                                        \
		return *a;                                                                         \
	}                                                                                          \
	void __tsan_atomic##bits##_store(volatile type *a, type v, int mo)                         \
	{                                                                                          \
		begin((void *)a, sizeof(type), mo == SEQ_CST, false, CALLER);                      \
		*a = v;                                                                            \
		hook_range_stored((void *)a, sizeof(type), false, CALLER);                         \
	}                                                                                          \
	type __tsan_atomic##bits##_exchange(volatile type *a, type v, int mo)                      \
	{                                                                                          \
		begin((void *)a, sizeof(type), true, true, CALLER);                                \
		type was = *a;                                                                     \
                                                                                                   \
		(void)mo;                                                                          \
		*a = v;                                                                            \
		hook_range_stored((void *)a, sizeof(type), false, CALLER);                         \
		return was;                                                                        \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *a, type *c, type v,       \
							  int mo, int fail)                        \
	{                                                                                          \
		hook_loads(c, sizeof(type));                                                       \
		begin((void *)a, sizeof(type), true, true, CALLER);                                \
		type was = *a;                                                                     \
                                                                                                   \
		(void)mo, (void)fail;                                                              \
		if (was != *c) { /* a store like any other, where c is in the buffer */            \
			hook_before_store(c, sizeof(type), CALLER);                                \
			*c = was;                                                                  \
			hook_range_stored(c, sizeof(type), false, CALLER);                         \
			return 0;                                                                  \
		}                                                                                  \
		*a = v;                                                                            \
		hook_range_stored((void *)a, sizeof(type), false, CALLER);                         \
		return 1;                                                                          \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_weak(volatile type *a, type *c, type v, int mo, \
							int fail)                                  \
	{                                                                                          \
		return __tsan_atomic##bits##_compare_exchange_strong(a, c, v, mo, fail);           \
	}                                                                                          \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *a, type c, type v, int mo,  \
							int fail)                                  \
	{                                                                                          \
		(void)__tsan_atomic##bits##_compare_exchange_strong(a, &c, v, mo, fail);           \
		return c;                                                                          \
	}                                                                                          \
	ATOMIC_FETCH(bits, type, add, was + v)                                                     \
	ATOMIC_FETCH(bits, type, sub, was - v)                                                     \
	ATOMIC_FETCH(bits, type, and, was &v)                                                      \
	ATOMIC_FETCH(bits, type, or, was | v)                                                      \
	ATOMIC_FETCH(bits, type, xor, was ^ v)                                                     \
	ATOMIC_FETCH(bits, type, nand, ~(was & v))

#define ATOMIC_FETCH(bits, type, name, result)                                    \
	type __tsan_atomic##bits##_fetch_##name(volatile type *a, type v, int mo) \
	{                                                                         \
		begin((void *)a, sizeof(type), true, true, CALLER);               \
		type was = *a;                                                    \
                                                                                  \
		(void)mo;                                                         \
		*a = (type)(result);                                              \
		hook_range_stored((void *)a, sizeof(type), false, CALLER);        \
		return was;                                                       \
	}

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
ATOMIC(128, uint128_t)

/* ---- of any size: what clang and gcc leave to libatomic, renamed by crashsim-cc ------------------ */

static void give(void *to, const void *a, size_t n, uint64_t site)
{
	hook_before_store(to, n, site);
	memcpy(to, a, n);
	hook_range_stored(to, n, false, site);
}

void crashsim_atomic_load(size_t n, const void *a, void *to, int mo)
{
	(void)mo;
	before_load(a, n);
	give(to, a, n, CALLER);
}

void crashsim_atomic_store(size_t n, void *a, const void *from, int mo)
{
	hook_loads(from, n);
	begin(a, n, mo == SEQ_CST || n > 16, false, CALLER);
	memcpy(a, from, n);
	hook_range_stored(a, n, false, CALLER);
}

void crashsim_atomic_exchange(size_t n, void *a, const void *from, void *to, int mo)
{
	(void)mo;
	hook_loads(from, n);
	begin(a, n, true, true, CALLER);
	give(to, a, n, CALLER);
	memcpy(a, from, n);
	hook_range_stored(a, n, false, CALLER);
}

bool crashsim_atomic_compare_exchange(size_t n, void *a, void *c, const void *from, int mo,
				      int fail)
{
	(void)mo, (void)fail;
	hook_loads(c, n);
	hook_loads(from, n);
	begin(a, n, true, true, CALLER);
	if (memcmp(a, c, n) != 0) {
		give(c, a, n, CALLER);
		return false;
	}
	memcpy(a, from, n);
	hook_range_stored(a, n, false, CALLER);
	return true;
}

/* ---- fences, and what a program under -fsanitize=thread may annotate ----------------------------- */

void __tsan_atomic_thread_fence(int mo)
{
	if (mo == SEQ_CST)
		hook_fence(EV_MFENCE, CALLER);
}
void __tsan_atomic_signal_fence(int mo) { (void)mo; }
void __tsan_acquire(void *a) { (void)a; }
void __tsan_release(void *a) { (void)a; }
