/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pwc -- lookups by the paging-structure cache see every unlinked, moved, replaced and hidden
 * table at once; addresses that share a slot, and what is no address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core.h"
#include "table.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 1536, 64, 128);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

/* Frame by pmpt_lookup, the same by pmpt_lookup_batch; 0: not mapped. */
static uint64_t look(uint64_t va)
{
	uint64_t one = 0, batch[2] = { 1, 1 };
	int rc = pmpt_lookup(c.space, va, &one);

	if (rc != PMPT_E_NOT_MAPPED)
		ok(rc);
	ok(pmpt_lookup_batch(c.space, (uint64_t[]){ va, va }, 2, batch));
	assert_int_equal(batch[0], one);
	assert_int_equal(batch[1], one);
	return one ? entry_pfn(one) : 0;
}

static bool cached(uint64_t va)
{
	uint64_t off;

	return pwc_find(&c.space->pwc, va, &off);
}

static void test_fill(void **state)
{
	(void)state;
	for (uint64_t va = 0; va < 2 * (uint64_t)PWC_SLOTS * P2M; va += P2M)
		assert_false(cached(va) || cached(va_sign(VA_END - P2M - va)));
	assert_int_equal(look(P4K), 0);
	assert_false(cached(P4K));
	ok(pmpt_map(NULL, c.space, P4K, 1, 7, RE));
	assert_int_equal(look(P4K), 7);
	assert_true(cached(P4K));
	assert_int_equal(look(P4K), 7);
	ok(pmpt_map(NULL, c.space, P4K, 1, 8, RE | PMPT_REPLACE));
	assert_int_equal(look(P4K), 8);
	assert_int_equal(look(2 * P4K), 0);
	ok(pmpt_map(NULL, c.space, 0xffffffffffe00000, 512, 512, RE)); /* the last table there is */
	assert_int_equal(look(0xfffffffffffff000), 1023);
	assert_true(cached(0xfffffffffffff000));
	assert_int_equal(look(0xffffffffffe00000), 512);
}

static void test_unlinked(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, 1, 7, RE));
	ok(pmpt_map(NULL, c.space, 2 * P2M, 1, 8, RE));
	assert_int_equal(look(P2M), 7);
	assert_int_equal(look(2 * P2M), 8);
	ok(pmpt_unmap(NULL, c.space, P2M, P2M)); /* its table goes, that of its neighbour stays */
	assert_false(cached(P2M));
	assert_true(cached(2 * P2M));
	assert_int_equal(look(P2M), 0);
	ok(pmpt_map(NULL, c.space, P2M, 1, 9, RE)); /* another table in its place */
	assert_int_equal(look(P2M), 9);
	ok(pmpt_unmap(NULL, c.space, 0, P1G)); /* the directories above go too */
	assert_int_equal(look(P2M), 0);
	assert_int_equal(look(2 * P2M), 0);
}

static void test_aborted(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, 1, 7, RE));
	assert_int_equal(look(P2M), 7);
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_unmap(tx, c.space, P2M, P2M));
	assert_int_equal(look(P2M), 7); /* isolated */
	ok(pmpt_abort(tx));
	assert_int_equal(look(P2M), 7);
	assert_true(cached(P2M));
}

static void test_moved(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, c.space, P1G, 512, 512, RE));
	assert_int_equal(look(P1G + P4K), 513);
	ok(pmpt_move(NULL, c.space, P1G, c.space, 3 * P1G, P2M)); /* the table itself */
	assert_int_equal(look(P1G + P4K), 0);
	assert_int_equal(look(3 * P1G + P4K), 513);
	ok(pmpt_move(NULL, c.space, 3 * P1G, c.space, 512 * P1G, P1G)); /* its directory */
	assert_int_equal(look(3 * P1G + P4K), 0);
	assert_int_equal(look(512 * P1G + P4K), 513);
	ok(pmpt_collapse(NULL, c.space, 512 * P1G, PMPT_2M));
	assert_false(cached(512 * P1G));
	assert_int_equal(look(512 * P1G + P4K), 512); /* the huge page's entry */
	ok(pmpt_protect(NULL, c.space, 512 * P1G + P4K, P4K, PMPT_R | PMPT_W)); /* split */
	assert_int_equal(look(512 * P1G + P4K), 513);
}

/* 64 GiB apart: one slot for all. */
static void test_one_slot(void **state)
{
	const uint64_t apart = 64 * P1G;

	(void)state;
	for (uint64_t i = 0; i < 8; i++)
		ok(pmpt_map(NULL, c.space, i * apart, 32, 100 + 32 * i, RE));
	for (uint64_t round = 0; round < 32; round++) {
		for (uint64_t i = 0; i < 8; i++)
			assert_int_equal(look(i * apart + round * P4K), 100 + 32 * i + round);
	}
	ok(pmpt_unmap(NULL, c.space, 0, 4 * apart));
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(look(i * apart), i < 4 ? 0 : 100 + 32 * i);
}

static void test_no_address(void **state)
{
	uint64_t entry = 1;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 1, 7, RE));
	assert_int_equal(look(0), 7);
	for (unsigned bit = 47; bit < 64; bit++) {
		fails(pmpt_lookup(c.space, (uint64_t)1 << bit, &entry), PMPT_E_ADDRESS);
		fails(pmpt_lookup_batch(c.space, &(uint64_t){ (uint64_t)1 << bit }, 1, &entry),
		      PMPT_E_ADDRESS);
	}
}

static void test_hidden(void **state)
{
	uint64_t entry;
	pmpt_tx *tx;
	pid_t pid;
	int status;

	(void)state;
	ok(pmpt_map(NULL, c.space, 0, 1, 7, RE));
	ok(pmpt_map(NULL, c.space, P1G, 1, 8, RE));
	assert_int_equal(look(0), 7);
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	for (uint64_t i = 0; i < 40; i++) /* until a batch goes home */
		ok(pmpt_map(tx, c.space, i * P2M, 512, 512 * i, RE | PMPT_REPLACE));
	fails(pmpt_lookup(c.space, 0, &entry), PMPT_E_BUSY);
	fails(pmpt_lookup_batch(c.space, &(uint64_t){ 0 }, 1, &entry), PMPT_E_BUSY);
	assert_int_equal(look(P1G), 8);
	assert_false(cached(P1G));
	ok(pmpt_abort(tx));
	assert_int_equal(look(0), 7);
	assert_int_equal(look(P1G), 8);
	assert_true(cached(P1G));
	pid = fork();
	if (pid == 0)
		_exit(pmpt_lookup(c.space, 0, &entry) != PMPT_E_FORKED);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- one that looks while tables come and go ------------------------------------------------- */

#define FLIPS 3000
static _Atomic uint64_t least; /* a lookup that begins now sees this frame or a later one */
static _Atomic bool ending;

static void *watch(void *wrong)
{
	while (!atomic_load(&ending)) {
		uint64_t before = atomic_load(&least), entry = 0;
		int rc = pmpt_lookup(c.space, P2M, &entry);

		if (rc || entry_pfn(entry) < before)
			++*(unsigned *)wrong;
	}
	return NULL;
}

/* Each flip puts another table in the place of the first, a frame higher. */
static void test_order(void **state)
{
	unsigned wrong[2] = { 0, 0 };
	pthread_t thread[2];

	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, 1, 1, RE));
	for (int i = 0; i < 2; i++)
		ok(pthread_create(&thread[i], NULL, watch, &wrong[i]));
	for (uint64_t i = 2; i < FLIPS; i++) {
		pmpt_tx *tx;

		ok(pmpt_begin(c.pool, 0, &tx));
		ok(pmpt_unmap(tx, c.space, P2M, P2M));
		ok(pmpt_map(tx, c.space, P2M, 1, i, RE));
		ok(pmpt_commit(tx, NULL));
		atomic_store(&least, i);
	}
	atomic_store(&ending, true);
	for (int i = 0; i < 2; i++)
		ok(pthread_join(thread[i], NULL));
	assert_int_equal(wrong[0] + wrong[1], 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_fill),     T(test_unlinked),   T(test_aborted), T(test_moved),
		T(test_one_slot), T(test_no_address), T(test_hidden),  T(test_order),
	};

	return cmocka_run_group_tests_name("pwc", tests, NULL, NULL);
}
