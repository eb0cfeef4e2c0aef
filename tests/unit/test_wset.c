/* SPDX-License-Identifier: BSD-3-Clause */
/* test_wset -- a write set against a plain array: found or not, in order, taken back to any length,
 * on both sides of the change from search to hash table; and the nth allocation fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "wset.h"

#define MOST 3000

static struct mem mem;
static struct wset set;
static uint64_t where[MOST];
static size_t n;
static uint64_t seed;

static int setup(void **state)
{
	(void)state;
	n = 0;
	assert_int_equal(mem_init(&mem), 0);
	wset_init(&set, &mem);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wset_fini(&set);
	assert_int_equal(atomic_load(&mem.bytes), 0);
	mem_fini(&mem);
	return 0;
}

static uint64_t rnd(uint64_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static int add(uint64_t w)
{
	int rc = wset_add(&set, w, w * 3, w * 5);

	if (!rc)
		where[n++] = w;
	return rc;
}

static void judge(uint64_t absent)
{
	assert_int_equal(set.n, n);
	for (size_t i = 0; i < n; i++) {
		const struct wal_word *w = wset_find(&set, where[i]);

		assert_ptr_equal(w, &set.word[i]); /* in the order of their coming */
		assert_int_equal(w->where, where[i]);
		assert_int_equal(w->old, where[i] * 3);
		assert_int_equal(w->new, where[i] * 5);
	}
	assert_null(wset_find(&set, absent));
}

/* One at a time past WSET_LINEAR, and back: the table comes and goes. */
static void test_small(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4 * WSET_LINEAR; i++) {
		judge(8 * i + 8);
		assert_int_equal(add(8 * i + 8), 0);
	}
	while (n) {
		wset_truncate(&set, --n);
		judge(where[n]);
	}
	for (size_t i = 0; i < 2 * WSET_LINEAR; i++)
		assert_int_equal(add(16 * i), 0);
	wset_clear(&set);
	n = 0;
	judge(0);
	assert_int_equal(add(8), 0);
	judge(0);
}

/* PMPT_SEED=n replays it. */
static void test_random(void **state)
{
	const char *given = getenv("PMPT_SEED");
	struct timespec t;

	(void)state;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	seed = given ? strtoul(given, NULL, 0) : (uint64_t)t.tv_nsec;
	print_message("replay: PMPT_SEED=%lu\n", seed);
	for (unsigned round = 0; round < 60; round++) {
		size_t more = rnd(round % 5 ? 40 : MOST / 2);

		for (size_t i = 0; i < more && n < MOST; i++) {
			uint64_t w = (rnd(512) << 3 | rnd(4000) << 12) + 8; /* a table's entries */

			if (!wset_find(&set, w))
				assert_int_equal(add(w), 0);
		}
		judge(4);
		n -= n ? rnd(n) : 0;
		wset_truncate(&set, n);
		judge(4);
		if (rnd(10) == 0) {
			wset_clear(&set);
			n = 0;
		}
	}
}

static void test_no_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		atomic_store(&mem_fail_after, 0);
		if (add(8 * i + 8)) {
			assert_int_equal(n, i);
			atomic_store(&mem_fail_after, -1);
			judge(8 * i + 8); /* as it was */
			assert_int_equal(add(8 * i + 8), 0);
		}
		atomic_store(&mem_fail_after, -1);
	}
	judge(0);
	/* room that was made: the adds ask for no more */
	assert_int_equal(wset_reserve(&set, 2000), 0);
	atomic_store(&mem_fail_after, 0);
	for (size_t i = 1000; i < 3000; i++)
		assert_int_equal(add(8 * i + 8), 0);
	atomic_store(&mem_fail_after, -1);
	judge(0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { T(test_small), T(test_random), T(test_no_memory) };

	return cmocka_run_group_tests_name("wset", tests, NULL, NULL);
}
