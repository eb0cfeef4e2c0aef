/* SPDX-License-Identifier: BSD-3-Clause */
/* test_isolation -- nobody sees, and nobody builds on, what an open bulk transaction has stored home:
 * entries, user words, and what looks like a hole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;
static pmpt_tx *bulk;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 1536, 64, 128);
	ok(pmpt_map(NULL, c.space, P2M, 4, 7, RE));
	ok(pmpt_map(NULL, c.space, P1G, 2, 9, RE));
	ok(pmpt_user_set(NULL, c.space, 3, 30));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &bulk));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

/* Enough that all that came before goes home. */
static void spill(void)
{
	for (uint64_t i = 0; i < 40; i++)
		ok(pmpt_map(bulk, c.space, 4 * P1G + i * P2M, 512, 512 * i, RE));
}

static void test_user_words(void **state)
{
	uint64_t value = 0;

	(void)state;
	ok(pmpt_user_set(bulk, c.space, 3, 31));
	ok(pmpt_user_get(c.space, 3, &value));
	assert_int_equal(value, 30);
	spill();
	fails(pmpt_user_get(c.space, 3, &value), PMPT_E_BUSY);
	assert_int_equal(value, 30);
	ok(pmpt_abort(bulk));
	ok(pmpt_user_get(c.space, 3, &value));
	assert_int_equal(value, 30);
}

static void test_user_words_beside(void **state)
{
	uint64_t value = 0;

	(void)state;
	spill();
	ok(pmpt_user_get(c.space, 3, &value)); /* it changes none */
	assert_int_equal(value, 30);
	ok(pmpt_commit(bulk, NULL));
}

static void test_tx_query(void **state)
{
	struct pmpt_mapping m = { .pfn = 1 };
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(bulk, c.space, P2M, 1, 77, RE | PMPT_REPLACE));
	ok(pmpt_map(bulk, c.space, 2 * P2M, 1, 78, RE));
	spill();
	ok(pmpt_begin(c.pool, 0, &tx));
	fails(pmpt_tx_query(tx, c.space, P2M, &m), PMPT_E_BUSY);
	fails(pmpt_tx_query(tx, c.space, 2 * P2M, &m), PMPT_E_BUSY);
	assert_int_equal(m.pfn, 1);
	ok(pmpt_tx_query(tx, c.space, P1G, &m));
	assert_int_equal(m.pfn, 9);
	ok(pmpt_tx_query(bulk, c.space, P2M, &m));
	assert_int_equal(m.pfn, 77);
	ok(pmpt_abort(bulk));
	ok(pmpt_tx_query(tx, c.space, P2M, &m));
	assert_int_equal(m.pfn, 7);
	ok(pmpt_abort(tx));
}

static void test_hole(void **state)
{
	struct pmpt_mapping m;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_unmap(bulk, c.space, P2M, P2M)); /* its table goes: home shows a hole */
	spill();
	ok(pmpt_begin(c.pool, 0, &tx));
	fails(pmpt_unmap(tx, c.space, P2M, P4K), PMPT_E_CONFLICT);
	fails(pmpt_unmap(tx, c.space, 0, P1G), PMPT_E_CONFLICT);
	fails(pmpt_move(tx, c.space, P2M, c.space, 8 * P1G, P4K), PMPT_E_CONFLICT);
	fails(pmpt_move(tx, c.space, P1G + P2M, c.space, P2M, P2M), PMPT_E_CONFLICT);
	fails(pmpt_map(tx, c.space, P2M, 1, 5, RE), PMPT_E_CONFLICT);
	ok(pmpt_unmap(tx, c.space, P1G, P4K)); /* beside it */
	ok(pmpt_commit(tx, NULL));
	ok(pmpt_abort(bulk));
	ok(pmpt_query(c.space, P2M, &m));
	assert_int_equal(m.pfn, 7);
	fails(pmpt_query(c.space, P1G, &m), PMPT_E_NOT_MAPPED);
	ok(pmpt_unmap(NULL, c.space, P2M, P4K));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_user_words),
		T(test_user_words_beside),
		T(test_tx_query),
		T(test_hole),
	};

	return cmocka_run_group_tests_name("isolation", tests, NULL, NULL);
}
