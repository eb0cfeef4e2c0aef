/* SPDX-License-Identifier: BSD-3-Clause */
/* test_hilbert -- the curve of the heat map: a bijection, neighbours stay neighbours,
 * known corners.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../tools/hilbert.h"

#define ORDER 8u

static void test_first_orders(void **state)
{
	static const struct hilbert two[] = { { 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 },
					      { 0, 2 }, { 0, 3 }, { 1, 3 }, { 1, 2 },
					      { 2, 2 }, { 2, 3 }, { 3, 3 }, { 3, 2 },
					      { 3, 1 }, { 2, 1 }, { 2, 0 }, { 3, 0 } };
	(void)state;
	assert_int_equal(hilbert_point(0, 0).x, 0);
	assert_int_equal(hilbert_point(0, 0).y, 0);
	for (uint64_t d = 0; d < 16; d++) {
		assert_int_equal(hilbert_point(2, d).x, two[d].x);
		assert_int_equal(hilbert_point(2, d).y, two[d].y);
	}
}

static void test_corners(void **state)
{
	(void)state;
	for (unsigned order = 1; order <= HILBERT_ORDER_MAX; order++) {
		const uint32_t last = (uint32_t)((1ull << order) - 1);
		struct hilbert end = hilbert_point(order, ((uint64_t)1 << 2 * order) - 1);

		assert_int_equal(hilbert_point(order, 0).x, 0);
		assert_int_equal(hilbert_point(order, 0).y, 0);
		assert_int_equal(end.x, last);
		assert_int_equal(end.y, 0);
		assert_int_equal(hilbert_place(order, end), ((uint64_t)1 << 2 * order) - 1);
	}
}

/* Every cell once, each step to a neighbour, and hilbert_place is the inverse. */
static void test_every_cell(void **state)
{
	(void)state;
	for (unsigned order = 1; order <= ORDER; order++) {
		const uint64_t cells = (uint64_t)1 << 2 * order;
		bool *seen = calloc(cells, sizeof(*seen));
		struct hilbert before = { 0, 0 };

		assert_non_null(seen);
		for (uint64_t d = 0; d < cells; d++) {
			struct hilbert p = hilbert_point(order, d);
			int64_t dx = (int64_t)p.x - before.x, dy = (int64_t)p.y - before.y;

			assert_true(p.x < 1u << order && p.y < 1u << order);
			assert_false(seen[(uint64_t)p.y << order | p.x]);
			seen[(uint64_t)p.y << order | p.x] = true;
			assert_int_equal(dx * dx + dy * dy, d ? 1 : 0);
			assert_int_equal(hilbert_place(order, p), d);
			before = p;
		}
		free(seen);
	}
}

/* An aligned block of 4^k places is a square of 2^k x 2^k. */
static void test_blocks_are_squares(void **state)
{
	(void)state;
	for (uint64_t block = 0; block < 64; block++) {
		struct hilbert first = hilbert_point(6, block * 64);

		for (uint64_t d = 0; d < 64; d++) {
			struct hilbert p = hilbert_point(6, block * 64 + d);

			assert_int_equal(p.x / 8, first.x / 8);
			assert_int_equal(p.y / 8, first.y / 8);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_orders),
		cmocka_unit_test(test_corners),
		cmocka_unit_test(test_every_cell),
		cmocka_unit_test(test_blocks_are_squares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
