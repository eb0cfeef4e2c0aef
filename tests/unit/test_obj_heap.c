/* SPDX-License-Identifier: BSD-3-Clause */
/* test_obj_heap -- the place of the next object in heaps made by hand, and no read outside of a
 * heap of garbage.  (That libpmemobj goes there too: test_pool_grow.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "buffer_region.h"
#include "obj_heap.h"

#define BYTES ((uint64_t)8 << 20)
#define HEAP  ((uint64_t)0x2000)
#define ZONE  (HEAP + 1024)
#define FIRST (ZONE + OBJ_ZONE_META) /* chunk 0 */
#define LEAST ((uint64_t)1 << 20)
enum { FREE = 2, USED = 3, RUN = 4 };

static struct region rg;
static uint64_t chunks;

static void put(uint64_t off, uint64_t word) { memcpy(rg.base + off, &word, sizeof(word)); }
static void chunk(uint64_t at, unsigned type, uint64_t n)
{
	put(ZONE + 64 + at * 8, n << 32 | type);
}

static int setup(void **state)
{
	(void)state;
	buffer_region_make(&rg, BYTES, PM_CACHE_LINE);
	chunks = (BYTES - FIRST) / OBJ_CHUNK_BYTES;
	put(0x1410, HEAP);
	put(0x1820, BYTES - HEAP);
	put(ZONE, 0xc3f0a2d2u);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buffer_region_free(&rg);
	return 0;
}

static void expect(bool there, uint64_t at, uint64_t n)
{
	struct obj_place place = { 1, 2, 3 };

	assert_int_equal(obj_heap_next(rg.base, BYTES, LEAST, &place), there);
	if (!there)
		return;
	assert_int_equal(place.off, FIRST + at * OBJ_CHUNK_BYTES + OBJ_OBJECT_BYTES);
	assert_int_equal(place.bytes, n * OBJ_CHUNK_BYTES - OBJ_OBJECT_BYTES);
	assert_int_equal(place.end, FIRST + (at + n) * OBJ_CHUNK_BYTES);
}

static void test_blocks(void **state)
{
	(void)state;
	assert_int_equal(chunks, 29);
	assert_int_equal(obj_heap_end(rg.base), BYTES);
	chunk(0, RUN, 4);
	chunk(4, FREE, chunks - 4);
	expect(true, 4, chunks - 4);
	chunk(4, FREE, 8); /* the largest of two */
	chunk(12, USED, 7);
	chunk(19, FREE, chunks - 19);
	expect(true, 19, chunks - 19);
	chunk(19, USED, 1); /* of equal ones the first */
	chunk(20, FREE, 8);
	chunk(28, USED, 1);
	expect(true, 4, 8);
	chunk(4, USED, 8);
	expect(true, 20, 8);
	chunk(20, USED, 8);
	expect(false, 0, 0);
}

/* What is behind a 2 MiB boundary counts. */
static void test_least(void **state)
{
	struct obj_place place;

	(void)state;
	chunk(0, FREE, 8); /* ends 0x282400: 521 KiB behind a boundary */
	chunk(8, USED, chunks - 8);
	expect(false, 0, 0);
	assert_true(obj_heap_next(rg.base, BYTES, 0x82400, &place));
	assert_false(obj_heap_next(rg.base, BYTES, 0x82401, &place));
}

/* A zone that libpmemobj has not begun is one free block. */
static void test_zone_not_made(void **state)
{
	(void)state;
	put(ZONE, 0);
	expect(true, 0, chunks);
}

static void test_damaged(void **state)
{
	unsigned seed = 77;

	(void)state;
	chunk(0, FREE, 0);
	expect(false, 0, 0);
	chunk(0, FREE, chunks + 1);
	expect(false, 0, 0);
	put(0x1410, BYTES); /* no room for a zone */
	expect(false, 0, 0);
	put(0x1410, ~(uint64_t)0);
	(void)obj_heap_next(rg.base, BYTES, LEAST, &(struct obj_place){ 0 });
	for (unsigned i = 0; i < 20000; i++) {
		struct obj_place place = { 0, 0, 0 };

		put(0x1410, i % 3 ? HEAP : (uint64_t)rand_r(&seed) << (rand_r(&seed) % 40));
		put(ZONE, i % 5 ? 0xc3f0a2d2u : (uint64_t)rand_r(&seed));
		for (unsigned k = 0; k < 29; k++)
			put(ZONE + 64 + 8 * k, (uint64_t)(rand_r(&seed) % (i % 2 ? 12 : 1 << 30))
							       << 32 |
						       (unsigned)rand_r(&seed) % 5);
		if (obj_heap_next(rg.base, BYTES, LEAST, &place)) {
			assert_true(region_has(&rg, place.off, place.bytes));
			assert_true(place.end <= BYTES && place.end >= place.off + place.bytes);
			assert_true(place.bytes >= LEAST);
		}
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_blocks), TEST(test_least),
					    TEST(test_zone_not_made), TEST(test_damaged) };

	return cmocka_run_group_tests_name("obj_heap", tests, NULL, NULL);
}
