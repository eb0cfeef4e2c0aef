/* SPDX-License-Identifier: BSD-3-Clause */
/* test_entry -- bits as the Intel SDM (volume 3A, 4.5) and our own table number them, what is a leaf
 * and what a table, what A and D survive, descriptors, levels, flags there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "entry.h"
#include "table.h"

#define BIT(n) ((uint64_t)1 << (n))

static void test_bits(void **state)
{
	(void)state;
	assert_int_equal(ENTRY_P, BIT(0));
	assert_int_equal(ENTRY_W, BIT(1));
	assert_int_equal(ENTRY_U, BIT(2));
	assert_int_equal(ENTRY_PWT, BIT(3));
	assert_int_equal(ENTRY_PCD, BIT(4));
	assert_int_equal(ENTRY_A, BIT(5));
	assert_int_equal(ENTRY_D, BIT(6));
	assert_int_equal(ENTRY_PS, BIT(7));
	assert_int_equal(ENTRY_G, BIT(8));
	assert_int_equal(ENTRY_COW, BIT(9));
	assert_int_equal(ENTRY_EXT, BIT(10));
	assert_int_equal(ENTRY_SHARED, BIT(11));
	assert_int_equal(ENTRY_PFN, 0x000ffffffffff000u);
	assert_int_equal(ENTRY_TAG, (uint64_t)15 << 52);
	assert_int_equal(ENTRY_KIND, (uint64_t)7 << 56);
	assert_int_equal(ENTRY_PKEY, (uint64_t)15 << 59);
	assert_int_equal(ENTRY_NX, BIT(63));
	assert_int_equal(DESC_COUNT, 0xffffffff);
	assert_int_equal(DESC_KIND, (uint64_t)0xff << 32);
	assert_int_equal(DESC_WX, (uint64_t)3 << 40);
	assert_int_equal(DESC_ALIASED, BIT(42));
	assert_int_equal(DESC_ZERO, ~(uint64_t)0 << 43);
	assert_int_equal(DESC_TABLE, 1);
	assert_int_equal(DESC_DATA, 2);
	assert_int_equal(DESC_RESERVED, 3);
	assert_int_equal(DESC_SLOT, 4);
}

static void test_kinds(void **state)
{
	(void)state;
	for (unsigned level = 1; level <= 4; level++) {
		assert_false(entry_is_leaf(0, level));
		assert_false(entry_is_table(0, level));
		assert_false(entry_is_leaf(~ENTRY_P, level)); /* not present */
		assert_false(entry_is_table(~(ENTRY_P | ENTRY_PS), level));
		assert_int_equal(entry_is_leaf(ENTRY_P, level), level == 1);
		assert_int_equal(entry_is_table(ENTRY_P, level), level > 1);
		assert_int_equal(entry_is_leaf(ENTRY_P | ENTRY_PS, level), level <= 3);
		assert_false(
			entry_is_table(ENTRY_P | ENTRY_PS, level)); /* PS at level 4: neither */
	}
	assert_int_equal(entry_pfn(~(uint64_t)0), 0xffffffffffu);
	assert_int_equal(desc_kind(desc_make(DESC_DATA, 7) | DESC_WX), DESC_DATA);
	assert_int_equal(desc_count(desc_make(DESC_TABLE, UINT32_MAX)), UINT32_MAX);
}

static void test_levels(void **state)
{
	static const uint64_t bytes[] = { 0, 0x1000, 0x200000, 0x40000000, 0x8000000000 };
	uint64_t va = (uint64_t)1 << 39 | (uint64_t)2 << 30 | (uint64_t)3 << 21 | 4 << 12 | 5;

	(void)state;
	for (unsigned level = 1; level <= 4; level++) {
		assert_int_equal(level_bytes(level), bytes[level]);
		assert_int_equal(level_index(va, level), 5 - level);
		assert_int_equal(level_index(~(uint64_t)0, level), 511);
	}
}

/* A and D stay while the frame does and the page is present before and after. */
static void test_merge(void **state)
{
	uint64_t ad = ENTRY_A | ENTRY_D, here = ENTRY_P | 5 << 12, there = ENTRY_P | 6 << 12;

	(void)state;
	assert_int_equal(entry_merge(here | ad, here | ENTRY_W), here | ENTRY_W | ad);
	assert_int_equal(entry_merge(here | ENTRY_A, here), here | ENTRY_A);
	assert_int_equal(entry_merge(here | ad, there), there);
	assert_int_equal(entry_merge(here | ad, 0), 0);
	assert_int_equal(entry_merge((here & ~ENTRY_P) | ad, here), here); /* a slot, not A and D */
	assert_int_equal(entry_merge((here & ~ENTRY_P) | ad, here & ~ENTRY_P), here & ~ENTRY_P);
	assert_int_equal(entry_merge(here | ad, here & ~ENTRY_P), here & ~ENTRY_P);
	assert_int_equal(entry_merge(here, here | ENTRY_D), here | ENTRY_D);
}

/* Flags of pmpt_map, through an entry and back, one by one and all together. */
static void test_flags(void **state)
{
	static const unsigned one[] = { 0,
					PMPT_W,
					PMPT_X,
					PMPT_U,
					PMPT_EXT,
					PMPT_G,
					PMPT_PWT,
					PMPT_PCD,
					PMPT_TAG(9),
					PMPT_PKEY(6),
					PMPT_TAG(15) | PMPT_PKEY(15),
					PMPT_W | PMPT_X | PMPT_U | PMPT_EXT | PMPT_G | PMPT_PWT |
						PMPT_PCD | PMPT_TAG(15) | PMPT_PKEY(15) };

	(void)state;
	for (unsigned level = 1; level <= 3; level++) {
		unsigned size = level == 2 ? PMPT_2M : level == 3 ? PMPT_1G : 0;
		uint64_t pfn = (uint64_t)5 << 18, va = (uint64_t)3 << 30;

		for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++) {
			unsigned flags = PMPT_R | one[i] | size;
			uint64_t entry = leaf_make(pfn, flags, level);
			struct pmpt_mapping m;

			assert_true(entry_is_leaf(entry, level));
			assert_int_equal(entry & (ENTRY_AD | ENTRY_COW | ENTRY_SHARED | ENTRY_KIND),
					 0);
			leaf_decode(entry, ABOVE_ALL, level, va + 0x123, &m);
			assert_int_equal(m.flags, flags);
			assert_int_equal(m.pfn, pfn);
			assert_int_equal(m.va, va);
			assert_int_equal(m.level, level);
			assert_int_equal(m.page_bytes, level_bytes(level));
			assert_int_equal(m.entry, entry);
			leaf_decode(leaf_prot(entry, PMPT_R | PMPT_X), ABOVE_ALL, level, va, &m);
			assert_int_equal(m.flags, (flags & ~(unsigned)(PMPT_W | PMPT_U)) |
							  PMPT_X); /* the rest stays */
		}
	}
}

static void test_addresses(void **state)
{
	(void)state;
	assert_int_equal(va_sign(0x7fffffffffff), 0x7fffffffffff);
	assert_int_equal(va_sign(0x800000000000), 0xffff800000000000);
	assert_int_equal(va_bits(0xffff800000000000), 0x800000000000);
	assert_true(va_canonical(0xffff800000000000) && va_canonical(0x7fffffffffff));
	assert_false(va_canonical(0x800000000000) || va_canonical(0xffff7fffffffffff));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bits),   cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_levels), cmocka_unit_test(test_merge),
		cmocka_unit_test(test_flags),  cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
