/* SPDX-License-Identifier: BSD-3-Clause */
/* test_model -- thousands of random operations over several spaces beside a plain array that knows what must come out; reopened and verified between.
 * PMPT_SEED=n replays a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "core.h"

#define SPACES 3
#define PAGES  2560u /* five tables of 512, one of them far away */
#define ROUNDS 250
#define OPS    60

struct page {
	uint64_t pfn;
	unsigned flags;
}; /* pfn 0: not mapped */

static struct core c;
static pmpt_space *space[SPACES];
static struct page model[SPACES][PAGES]; /* committed */
static struct page plan[SPACES][PAGES];  /* and as the open transaction sees it */
static uint64_t user[SPACES], seed;

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static uint64_t va_of(unsigned page)
{
	return page < 2048 ? (uint64_t)page << 12
			   : ((uint64_t)1 << 40) + ((uint64_t)(page - 2048) << 12);
}

/* A range of pages inside one of the two areas. */
static unsigned range(unsigned *n)
{
	unsigned area = rnd(4) == 0, first, limit = area ? PAGES : 2048;

	first = area ? 2048 + (unsigned)rnd(512) : (unsigned)rnd(2048);
	*n = rnd(3) ? 1 + (unsigned)rnd(8) : 1 + (unsigned)rnd(700);
	if (rnd(6) == 0) {
		first &= ~511u;
		*n = 512;
	}
	if (*n > limit - first)
		*n = limit - first;
	return first;
}

static bool all_mapped(const struct page *m, unsigned first, unsigned n, bool mapped)
{
	for (unsigned i = first; i < first + n; i++) {
		if ((m[i].pfn != 0) != mapped)
			return false;
	}
	return true;
}

static unsigned random_prot(void) { return PMPT_R | (unsigned)rnd(8) << 1; }

/* The frames that an allocation gave are the model's too: they are asked for. */
static void learn(pmpt_tx *tx, unsigned s, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++) {
		struct pmpt_mapping m;

		assert_int_equal(pmpt_tx_query(tx, space[s], va_of(i), &m), 0);
		plan[s][i].pfn = m.pfn + ((va_of(i) - m.va) >> 12);
	}
}

static int op_map(pmpt_tx *tx, unsigned s)
{
	unsigned n, first = range(&n), flags = random_prot() | PMPT_TAG(rnd(16)),
		    alloc = rnd(3) == 0, replace = rnd(2) ? PMPT_REPLACE : 0;
	uint64_t pfn = (rnd(1 << 20) + 1) * 8;
	int rc, expected = !replace && !all_mapped(plan[s], first, n, false) ? PMPT_E_MAPPED : 0;

	if (alloc && n > 64)
		n = 64;
	if (alloc)
		expected = !replace && !all_mapped(plan[s], first, n, false) ? PMPT_E_MAPPED : 0;
	rc = pmpt_map(tx, space[s], va_of(first), n, alloc ? PMPT_PFN_ALLOC : pfn,
		      flags | replace | (alloc ? 0u : PMPT_EXT));
	if (rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE)
		return 0; /* as before the call */
	assert_int_equal(rc, expected);
	for (unsigned i = 0; i < n && !rc; i++)
		plan[s][first + i] = (struct page){ pfn + i, flags | (alloc ? 0u : PMPT_EXT) };
	if (!rc && alloc)
		learn(tx, s, first, n);
	return rc;
}

static int op_unmap(pmpt_tx *tx, unsigned s)
{
	unsigned n, first = range(&n);
	int rc = pmpt_unmap(tx, space[s], va_of(first), (uint64_t)n << 12);

	if (rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE)
		return 0;
	assert_int_equal(rc, 0);
	memset(&plan[s][first], 0, n * sizeof(plan[s][0]));
	return 0;
}

static int op_protect(pmpt_tx *tx, unsigned s)
{
	unsigned n, first = range(&n), prot = random_prot();
	int rc = pmpt_protect(tx, space[s], va_of(first), (uint64_t)n << 12, prot);

	if (rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE)
		return 0;
	assert_int_equal(rc, all_mapped(plan[s], first, n, true) ? 0 : PMPT_E_NOT_MAPPED);
	for (unsigned i = first; i < first + n && !rc; i++)
		plan[s][i].flags = (plan[s][i].flags & ~PMPT_PROT_MASK) | prot;
	return 0;
}

static int op_move(pmpt_tx *tx, unsigned s)
{
	unsigned n, m, first = range(&n), to = range(&m), t = (unsigned)rnd(SPACES);
	bool apart = s != t || first + n <= to || to + n <= first;
	int rc;

	if (n > m)
		n = m;
	apart = s != t || first + n <= to || to + n <= first;
	rc = pmpt_move(tx, space[s], va_of(first), space[t], va_of(to), (uint64_t)n << 12);
	if (rc == PMPT_E_NO_FRAMES || rc == PMPT_E_TX_TOO_LARGE)
		return 0;
	assert_int_equal(rc, !apart                              ? PMPT_E_ADDRESS
			     : all_mapped(plan[t], to, n, false) ? 0
								 : PMPT_E_MAPPED);
	if (!rc) {
		memcpy(&plan[t][to], &plan[s][first], n * sizeof(plan[s][0]));
		memset(&plan[s][first], 0, n * sizeof(plan[s][0]));
	}
	return 0;
}

static int op_collapse(pmpt_tx *tx, unsigned s)
{
	int rc = pmpt_collapse(tx, space[s], va_of((unsigned)rnd(5) * 512), PMPT_2M);

	if (rc && rc != PMPT_E_NOT_UNIFORM && rc != PMPT_E_NOT_MAPPED)
		assert_int_equal(rc, PMPT_E_TX_TOO_LARGE);
	return 0; /* what is mapped stays the same */
}

static void compare(void)
{
	for (unsigned s = 0; s < SPACES; s++) {
		uint64_t value;

		for (unsigned i = 0; i < PAGES; i++) {
			struct pmpt_mapping m;
			int rc = pmpt_query(space[s], va_of(i), &m);

			assert_int_equal(rc, model[s][i].pfn ? 0 : PMPT_E_NOT_MAPPED);
			if (rc)
				continue;
			assert_int_equal(m.pfn + ((va_of(i) - m.va) >> 12), model[s][i].pfn);
			assert_int_equal(m.flags & ~(unsigned)PMPT_2M, model[s][i].flags);
		}
		assert_int_equal(pmpt_user_get(space[s], 0, &value), 0);
		assert_int_equal(value, user[s]);
	}
}

static void spaces_open(bool create)
{
	static const char *const name[SPACES] = { "s", "t", "u" };

	for (unsigned s = 1; s < SPACES; s++) {
		if (create)
			assert_int_equal(pmpt_space_create(c.pool, name[s], &space[s]), 0);
		else
			assert_int_equal(pmpt_space_open(c.pool, name[s], &space[s]), 0);
	}
	space[0] = c.space;
}

static void transaction(bool bulk)
{
	static int (*const op[])(pmpt_tx *, unsigned) = { op_map,     op_map,  op_map,     op_unmap,
							  op_protect, op_move, op_collapse };
	static struct page saved[SPACES][PAGES];
	uint64_t sp = 0, new_user[SPACES];
	pmpt_tx *tx;

	assert_int_equal(pmpt_begin(c.pool, bulk ? PMPT_TX_BULK : 0, &tx), 0);
	memcpy(plan, model, sizeof(plan));
	memcpy(new_user, user, sizeof(user));
	for (unsigned i = (unsigned)rnd(10); i > 0; i--) {
		unsigned s = (unsigned)rnd(SPACES);

		(void)op[rnd(sizeof(op) / sizeof(op[0]))](tx, s);
		if (bulk && rnd(3) == 0)
			assert_int_equal(bulk_spill(tx), 0);
		if (!bulk && !sp && rnd(5) == 0) {
			assert_int_equal(pmpt_savepoint(tx, &sp), 0);
			memcpy(saved, plan, sizeof(plan));
		} else if (sp && rnd(4) == 0) {
			assert_int_equal(pmpt_rollback_to(tx, sp), 0);
			memcpy(plan, saved, sizeof(plan));
		} else if (!sp && rnd(3) == 0 && !pmpt_user_set(tx, space[s], 0, new_user[s] + 1)) {
			new_user[s]++;
		}
	}
	if (rnd(5) == 0) {
		assert_int_equal(pmpt_abort(tx), 0);
		return;
	}
	assert_int_equal(pmpt_commit(tx, NULL), 0);
	memcpy(model, plan, sizeof(model));
	memcpy(user, new_user, sizeof(user));
}

static void test_model(void **state)
{
	const char *given = getenv("PMPT_SEED");
	struct timespec t;

	(void)state;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	seed = given ? strtoul(given, NULL, 0) : (uint64_t)t.tv_nsec;
	print_message("replay: PMPT_SEED=%lu\n", seed);
	core_make(&c, 3000, 512, 2048);
	spaces_open(true);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < OPS; i++)
			transaction(rnd(6) == 0);
		compare();
		core_verify(&c);
		for (unsigned s = 1; s < SPACES; s++)
			pmpt_space_close(space[s]);
		core_reopen(&c, rnd(2));
		spaces_open(false);
		compare();
	}
	for (unsigned s = 1; s < SPACES; s++)
		pmpt_space_close(space[s]);
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
