/* SPDX-License-Identifier: BSD-3-Clause */
/* test_sort -- sort_u64 against qsort: sizes around the change of method, keys that differ in one
 * digit, in all, in none, in order and in reverse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sort.h"

#define MOST 5000

static uint64_t key[MOST + 1], tmp[MOST + 1], expected[MOST];
static uint64_t seed = 1;

static uint64_t rnd(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	return (z ^ z >> 27) * 0x94d049bb133111ebu;
}

static int compare(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* mask: the bits in which keys may differ. */
static void judge(size_t n, uint64_t mask, int order)
{
	for (size_t i = 0; i < n; i++)
		key[i] = order ? 0x123400000000u + (order > 0 ? i : n - i) : (rnd() & mask) | 0x5;
	key[n] = tmp[n] = 0xfeed; /* not touched */
	memcpy(expected, key, n * sizeof(*key));
	qsort(expected, n, sizeof(*expected), compare);
	sort_u64(key, tmp, n, 0);
	assert_memory_equal(key, expected, n * sizeof(*key));
	assert_int_equal(key[n], 0xfeed);
	assert_int_equal(tmp[n], 0xfeed);
}

static void test_sizes(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 130; n++) {
		judge(n, ~(uint64_t)0, 0);
		judge(n, 0xff, 0); /* many equal ones */
		judge(n, 0, 1);
		judge(n, 0, -1);
	}
	judge(MOST, ~(uint64_t)0, 0);
}

static void test_digits(void **state)
{
	(void)state;
	judge(1000, 0, 0); /* all the same */
	for (unsigned shift = 0; shift < 64; shift++) {
		judge(1000, (uint64_t)1 << shift, 0);
		judge(1000, (uint64_t)0x7ff << shift, 0);
		judge(1000, ~(uint64_t)0 << shift, 0);
		judge(1000, ~(uint64_t)0 >> shift, 0);
	}
}

/* Below `low` is where a key came from: equal ones stay in their order. */
static void test_low(void **state)
{
	(void)state;
	for (unsigned low = 1; low < 64; low += 5) {
		for (size_t n = 1; n <= 2000 && !(n >> low); n = 2 * n + 1) {
			for (size_t i = 0; i < n; i++)
				key[i] = rnd() % 97 << low | i;
			memcpy(expected, key, n * sizeof(*key));
			qsort(expected, n, sizeof(*expected), compare);
			sort_u64(key, tmp, n, low);
			assert_memory_equal(key, expected, n * sizeof(*key));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sizes),
					    cmocka_unit_test(test_digits),
					    cmocka_unit_test(test_low) };

	return cmocka_run_group_tests_name("sort", tests, NULL, NULL);
}
