/* SPDX-License-Identifier: BSD-3-Clause */
/* wide -- atomics of 16 and of 24 bytes, for test_crashsim.sh: their values are right, their stores are
 * seen, and a crash may leave one word of them without the other.
 */
#include <stdatomic.h>

#include <crashsim.h>

__extension__ typedef unsigned __int128 pair_t;
struct triple {
	uint64_t a, b, c;
};

static void must_be(int right)
{
	if (!right)
		crashsim_fail("an atomic gives a wrong value");
}

static void pair_run(void *pm)
{
	pair_t *p = pm, seen = 7;

	__atomic_store_n(p, 5, __ATOMIC_RELEASE);
	must_be(__atomic_exchange_n(p, 7, __ATOMIC_SEQ_CST) == 5);
	must_be(__atomic_compare_exchange_n(p, &seen, 8, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	must_be(!__atomic_compare_exchange_n(p, &seen, 9, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	must_be(seen == 8);
	must_be(__atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST) == 8);
	must_be(__atomic_or_fetch(p, (pair_t)1 << 64 | 32, __ATOMIC_SEQ_CST) ==
		((pair_t)1 << 64 | 41));
	CRASHSIM_CLWB(pm);
	CRASHSIM_SFENCE();
}
static void pair_check(void *pm)
{
	pair_t v = __atomic_load_n((pair_t *)pm, __ATOMIC_ACQUIRE);

	crashsim_outcome((uint64_t)v << 1 | (uint64_t)(v >> 64));
	if (v >> 64 && !((uint64_t)v & 32))
		crashsim_fail("torn");
}
CRASHSIM_WORKLOAD(pair, .bytes = 64, .run = pair_run, .check = pair_check)

static void triple_run(void *pm)
{
	_Atomic struct triple *p = pm;
	struct triple one = { 1, 2, 3 }, two = { 4, 5, 6 }, seen = one;

	atomic_store_explicit(p, one, memory_order_release);
	must_be(atomic_compare_exchange_strong(p, &seen, two));
	must_be(!atomic_compare_exchange_strong(p, &seen, one) && seen.a == 4);
	seen = atomic_exchange(p, one);
	must_be(seen.c == 6);
	CRASHSIM_CLWB(pm);
	CRASHSIM_SFENCE();
}
static void triple_check(void *pm)
{
	struct triple v = atomic_load((_Atomic struct triple *)pm);

	crashsim_outcome(v.a * 100 + v.b * 10 + v.c);
}
CRASHSIM_WORKLOAD(triple, .bytes = 64, .run = triple_run, .check = triple_check)
