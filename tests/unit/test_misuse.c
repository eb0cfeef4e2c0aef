/* SPDX-License-Identifier: BSD-3-Clause */
/* test_misuse -- every call that takes a transaction, with one that has ended, with one of another
 * thread; and every call with ranges, sizes and frames that cannot be.  A named error each, nothing
 * happened, and a transaction that was open goes on.  (After fork: test_pool.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"

#define P4K  ((uint64_t)4096)
#define P2M  ((uint64_t)2 << 20)
#define P1G  ((uint64_t)1 << 30)
#define HALF ((uint64_t)1 << 47) /* where addresses cease to be canonical */
#define HIGH ((uint64_t)0xffff << 48)
#define RE   (PMPT_R | PMPT_EXT)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
	ok(pmpt_map(NULL, c.space, 0, 3, 5, RE));
	ok(pmpt_map(NULL, c.space, P2M, 512, 1024, RE));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

static int add(void *ctx, const struct pmpt_mapping *m)
{
	uint64_t *hash = ctx;

	*hash = (*hash ^ m->va ^ m->entry) * 0x9e3779b97f4a7c15u;
	return 0;
}

static uint64_t hash(void)
{
	uint64_t h = 0;

	ok(pmpt_walk(c.space, 0, 0, add, &h));
	return h;
}

/* ---- whose transaction ----------------------------------------------------------------------- */

/* Every call with this transaction returns `expected` and leaves its out-pointer. */
static int refused(pmpt_tx *tx, int expected)
{
	uint64_t pfn = 77, lsn = 77, sp = 77;
	struct pmpt_mapping m = { .va = 77 };
	void *frame = pmpt_frame_ptr(c.pool, 1000);
	const int rc[] = {
		pmpt_commit(tx, &lsn),
		pmpt_abort(tx),
		pmpt_savepoint(tx, &sp),
		pmpt_rollback_to(tx, 1),
		pmpt_map(tx, c.space, P1G, 1, 7, RE),
		pmpt_map(tx, c.space, 0, 1, 7, RE | PMPT_REPLACE), /* the straight path */
		pmpt_map(tx, c.space, P1G, 1, PMPT_PFN_ALLOC, PMPT_R),
		pmpt_unmap(tx, c.space, 0, P4K),
		pmpt_protect(tx, c.space, 0, P4K, PMPT_R | PMPT_W),
		pmpt_move(tx, c.space, 0, c.space, P1G, P4K),
		pmpt_collapse(tx, c.space, P2M, PMPT_2M),
		pmpt_user_set(tx, c.space, 0, 1),
		pmpt_frame_alloc(tx, 1, 1, &pfn),
		pmpt_flush(tx, frame, 8),
		pmpt_tx_query(tx, c.space, 0, &m),
	};

	for (unsigned i = 0; i < sizeof(rc) / sizeof(rc[0]); i++) {
		if (rc[i] != expected)
			return (int)i + 1;
	}
	return pfn == 77 && lsn == 77 && sp == 77 && m.va == 77 ? 0 : -1;
}

static void test_ended(void **state)
{
	uint64_t before = hash();
	pmpt_tx *tx, *other;

	(void)state;
	for (int commit = 0; commit < 2; commit++) {
		for (unsigned flags = 0; flags <= PMPT_TX_BULK; flags += PMPT_TX_BULK) {
			ok(pmpt_begin(c.pool, flags, &tx));
			ok(commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx));
			assert_int_equal(refused(tx, PMPT_E_TX_STATE), 0);
			assert_non_null(strstr(pmpt_errormsg(), "ended"));
		}
	}
	/* one that is not this thread's first */
	ok(pmpt_begin(c.pool, 0, &other));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_abort(tx));
	assert_int_equal(refused(tx, PMPT_E_TX_STATE), 0);
	ok(pmpt_commit(other, NULL));
	assert_int_equal(hash(), before);
}

static void *elsewhere(void *tx) { return (void *)(intptr_t)refused(tx, PMPT_E_TX_STATE); }

static void test_other_thread(void **state)
{
	pthread_t thread;
	uint64_t entry;
	pmpt_tx *tx;
	void *rc;

	(void)state;
	for (unsigned flags = 0; flags <= PMPT_TX_BULK; flags += PMPT_TX_BULK) {
		uint64_t before;

		ok(pmpt_begin(c.pool, flags, &tx));
		ok(pmpt_map(tx, c.space, P1G + flags * P4K, 1, 7, RE));
		before = hash();
		ok(pthread_create(&thread, NULL, elsewhere, tx));
		ok(pthread_join(thread, &rc));
		assert_int_equal((intptr_t)rc, 0);
		assert_int_equal(hash(), before);
		ok(pmpt_commit(tx, NULL)); /* its own thread may */
		ok(pmpt_lookup(c.space, P1G + flags * P4K, &entry));
	}
}

static void test_two_transactions_of_a_thread(void **state)
{
	uint64_t sp;
	pmpt_tx *a, *b, *first;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &first));
	ok(pmpt_map(first, c.space, 5 * P1G, 1, 7, RE));
	ok(pmpt_begin(c.pool, 0, &a));
	ok(pmpt_begin(c.pool, 0, &b));
	ok(pmpt_savepoint(a, &sp));
	fails(pmpt_rollback_to(b, sp), -EINVAL); /* another's savepoint */
	fails(pmpt_map(a, c.space, 5 * P1G, 1, 7, RE), PMPT_E_CONFLICT);
	ok(pmpt_abort(first));
	ok(pmpt_map(a, c.space, 5 * P1G, 1, 8, RE));
	ok(pmpt_commit(b, NULL));
	ok(pmpt_commit(a, NULL));
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void all_refused(uint64_t va, uint64_t n, int expected)
{
	uint64_t len = n * P4K;
	pmpt_tx *tx;

	ok(pmpt_begin(c.pool, 0, &tx));
	for (int own = 0; own < 2; own++) {
		pmpt_tx *t = own ? tx : NULL;

		fails(pmpt_map(t, c.space, va, n, 7, RE), expected);
		fails(pmpt_map(t, c.space, va, n, 7, RE | PMPT_REPLACE), expected);
		fails(pmpt_map(t, c.space, va, n, PMPT_PFN_ALLOC, PMPT_R), expected);
		fails(pmpt_unmap(t, c.space, va, len), expected);
		fails(pmpt_protect(t, c.space, va, len, PMPT_R), expected);
		fails(pmpt_move(t, c.space, va, c.space, P1G, len), expected);
		if (len) /* the length is at fault there, too */
			fails(pmpt_move(t, c.space, P1G, c.space, va, len), expected);
	}
	ok(pmpt_commit(tx, NULL));
}

static void test_ranges(void **state)
{
	uint64_t before = hash(), e;
	struct pmpt_mapping m;

	(void)state;
	all_refused(HALF, 1, PMPT_E_ADDRESS);              /* not canonical */
	all_refused(HIGH - P4K, 1, PMPT_E_ADDRESS);        /* a bit of 47 to 63 differs */
	all_refused(HALF - P4K, 2, PMPT_E_ADDRESS);        /* from the lower half out */
	all_refused((uint64_t)0 - P4K, 2, PMPT_E_ADDRESS); /* from the upper half, wraps */
	all_refused(P4K + 1, 1, PMPT_E_ADDRESS);           /* not aligned */
	all_refused(P4K, 0, PMPT_E_ADDRESS);               /* empty */
	all_refused(0, (HALF >> 12) + 1, PMPT_E_ADDRESS);  /* more than a half */
	fails(pmpt_map(NULL, c.space, P4K, UINT64_MAX, 7, RE), PMPT_E_ADDRESS);
	fails(pmpt_map(NULL, c.space, P4K, (uint64_t)1 << 52, 7, RE), PMPT_E_ADDRESS); /* len 0 */
	fails(pmpt_map(NULL, c.space, 0, (uint64_t)1 << 43, 0, RE | PMPT_2M), PMPT_E_ADDRESS);
	fails(pmpt_unmap(NULL, c.space, 0, 100), PMPT_E_ADDRESS);
	fails(pmpt_unmap(NULL, c.space, P4K, UINT64_MAX - 4095), PMPT_E_ADDRESS);
	fails(pmpt_lookup(c.space, HALF, &e), PMPT_E_ADDRESS);
	fails(pmpt_query(c.space, HALF, &m), PMPT_E_ADDRESS);
	fails(pmpt_access(c.space, HIGH - 1, PMPT_R), PMPT_E_ADDRESS);
	fails(pmpt_walk(c.space, HALF, P4K, add, &e), PMPT_E_ADDRESS);
	fails(pmpt_walk(c.space, (uint64_t)0 - P4K, 2 * P4K, add, &e), PMPT_E_ADDRESS);
	fails(pmpt_collapse(NULL, c.space, HALF, PMPT_2M), PMPT_E_ADDRESS);
	assert_int_equal(hash(), before);
}

/* Huge pages: address and frame are multiples of the page. */
static void test_huge_unaligned(void **state)
{
	uint64_t before = hash(), g = (uint64_t)1 << 18;

	(void)state;
	fails(pmpt_map(NULL, c.space, P1G + P4K, 1, 512, RE | PMPT_2M), PMPT_E_ADDRESS);
	fails(pmpt_map(NULL, c.space, P1G, 1, 513, RE | PMPT_2M), PMPT_E_FRAME);
	fails(pmpt_map(NULL, c.space, P1G + P2M, 1, g, RE | PMPT_1G), PMPT_E_ADDRESS);
	fails(pmpt_map(NULL, c.space, P1G, 1, g + 512, RE | PMPT_1G), PMPT_E_FRAME);
	fails(pmpt_map(NULL, c.space, P1G, 1, 1, RE | PMPT_1G), PMPT_E_FRAME);
	/* the second is beyond what an entry holds */
	fails(pmpt_map(NULL, c.space, P1G, 2, ((uint64_t)1 << 40) - g, RE | PMPT_1G), PMPT_E_FRAME);
	fails(pmpt_map(NULL, c.space, P1G, 1, (uint64_t)1 << 40, RE), PMPT_E_FRAME);
	fails(pmpt_collapse(NULL, c.space, P2M + P4K, PMPT_2M), PMPT_E_ADDRESS);
	fails(pmpt_collapse(NULL, c.space, P2M, PMPT_1G), PMPT_E_ADDRESS);
	assert_int_equal(hash(), before);
	ok(pmpt_map(NULL, c.space, P1G, 1, g, RE | PMPT_1G));
}

/* A mapping over a mapping of any size, from below and from above. */
static void test_over_a_mapping(void **state)
{
	uint64_t before;

	(void)state;
	ok(pmpt_map(NULL, c.space, 2 * P1G, 1, (uint64_t)1 << 18, RE | PMPT_1G));
	ok(pmpt_map(NULL, c.space, P1G, 1, 512, RE | PMPT_2M));
	before = hash();
	fails(pmpt_map(NULL, c.space, 2 * P4K, 1, 9, RE), PMPT_E_MAPPED);
	fails(pmpt_map(NULL, c.space, 2 * P4K, 9, 9, RE), PMPT_E_MAPPED);       /* its first page */
	fails(pmpt_map(NULL, c.space, P2M - 4 * P4K, 5, 9, RE), PMPT_E_MAPPED); /* its last */
	fails(pmpt_map(NULL, c.space, 0, 1, 512, RE | PMPT_2M), PMPT_E_MAPPED);
	fails(pmpt_map(NULL, c.space, 0, 1, 0, RE | PMPT_1G), PMPT_E_MAPPED);
	fails(pmpt_map(NULL, c.space, P1G + 5 * P4K, 1, 9, RE), PMPT_E_MAPPED);
	fails(pmpt_map(NULL, c.space, 2 * P1G + P2M, 1, 512, RE | PMPT_2M), PMPT_E_MAPPED);
	fails(pmpt_map(NULL, c.space, 2 * P1G + 7 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R), PMPT_E_MAPPED);
	fails(pmpt_move(NULL, c.space, 0, c.space, P1G + P4K, P4K), PMPT_E_MAPPED);
	assert_int_equal(hash(), before);
	assert_int_equal(core_stats(&c).frames_data, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_ended),  T(test_other_thread),   T(test_two_transactions_of_a_thread),
		T(test_ranges), T(test_huge_unaligned), T(test_over_a_mapping),
	};

	return cmocka_run_group_tests_name("misuse", tests, NULL, NULL);
}
