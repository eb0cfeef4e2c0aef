/* SPDX-License-Identifier: BSD-3-Clause */
/* test_stress -- writers that share frames, take each other's tables away and run out of frames,
 * beside readers, a checkpointer and bulk transactions; meant for ThreadSanitizer as well.
 *
 * Frames are few, so that those freed are soon in use again: a table as data, full of what looks
 * like links, data as a table.  No thread may meet anything but the errors of its calls, and what
 * is left in the end the verifier counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"

#define P4K     ((uint64_t)4096)
#define P2M     ((uint64_t)2 << 20)
#define WRITERS 4
#define READERS 2
#define ROUNDS  4000
#define REGIONS 6

static struct core c;
static pmpt_space *space[2];
static _Atomic bool ending;
static _Atomic int wrong; /* the first error that no call may return */
static _Atomic unsigned long commits, conflicts, no_frames, busy;

static uint64_t rnd(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % n;
}

/* An error that another thread's doings may cause. */
static int allowed(int rc)
{
	static const int fine[] = { PMPT_E_MAPPED,   PMPT_E_NOT_MAPPED,   PMPT_E_FRAME,
				    PMPT_E_ADDRESS,  PMPT_E_NOT_UNIFORM,  PMPT_E_TX_TOO_LARGE,
				    PMPT_E_TX_LIMIT, PMPT_E_DENIED_WRITE, PMPT_E_DENIED_READ };
	int none = 0;

	for (unsigned i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		if (rc == fine[i])
			return rc;
	}
	if (rc == PMPT_E_CONFLICT)
		atomic_fetch_add(&conflicts, 1);
	else if (rc == PMPT_E_NO_FRAMES)
		atomic_fetch_add(&no_frames, 1);
	else if (rc == PMPT_E_BUSY)
		atomic_fetch_add(&busy, 1);
	else if (rc)
		atomic_compare_exchange_strong(&wrong, &none, rc);
	return rc;
}

/* Regions share their upper tables by twos: 0 and 1 a PD, 2 and 3 a PDPT, 4 and 5 the PML4. */
static uint64_t random_va(uint64_t *seed)
{
	static const uint64_t base[REGIONS] = { 0,
						4 * P2M,
						(uint64_t)1 << 40,
						((uint64_t)1 << 40) + ((uint64_t)3 << 30),
						(uint64_t)5 << 40,
						(uint64_t)9 << 40 };

	return base[rnd(seed, REGIONS)] + rnd(seed, 1024) * P4K;
}

/* Fill frames in place with what a stale walker would take for links outside the pool; map them. */
static int map_filled(pmpt_tx *tx, pmpt_space *s, uint64_t va, uint64_t n)
{
	uint64_t pfn = 0;
	int rc = pmpt_frame_alloc(tx, n, 1, &pfn);

	for (uint64_t i = 0; i < n * 512 && !rc; i++)
		atomic_store_explicit((pm_word *)pmpt_frame_ptr(c.pool, pfn) + i,
				      (uint64_t)0x7fffff << 12 | ENTRY_LINK, memory_order_relaxed);
	if (!rc)
		rc = pmpt_flush(tx, pmpt_frame_ptr(c.pool, pfn), n * P4K);
	return rc ? rc : pmpt_map(tx, s, va, n, pfn, PMPT_R | PMPT_REPLACE);
}

static int change(pmpt_tx *tx, uint64_t *seed)
{
	uint64_t va = random_va(seed), to = random_va(seed),
		 n = 1 + rnd(seed, rnd(seed, 4) ? 4 : 60);
	pmpt_space *s = space[rnd(seed, 2)];
	struct pmpt_mapping m;

	switch (rnd(seed, 10)) {
	case 0:
		return pmpt_map(tx, s, va, 2 * n, PMPT_PFN_ALLOC, PMPT_R | PMPT_W);
	case 1:
		return map_filled(tx, s, va, 1 + n % 4);
	case 2: /* share what is mapped elsewhere */
		if (pmpt_query(s, to, &m) || m.flags & PMPT_EXT)
			return 0;
		return pmpt_map(tx, s, va, 1, m.pfn + ((to - m.va) >> 12), PMPT_R | PMPT_REPLACE);
	case 3:
		return pmpt_map(tx, s, va & ~(P2M - 1), 1, 1 << 18,
				PMPT_R | PMPT_EXT | PMPT_2M | PMPT_REPLACE);
	case 4:
		return pmpt_protect(tx, s, va, n * P4K, PMPT_R | PMPT_W);
	case 5:
		return pmpt_move(tx, s, va, space[rnd(seed, 2)], to, n * P4K);
	case 6:
		return pmpt_move(tx, s, va & ~(P2M - 1), s, to & ~(P2M - 1), P2M);
	case 7:
		return pmpt_collapse(tx, s, va & ~(P2M - 1), PMPT_2M);
	case 8:
		return pmpt_unmap(tx, s, va & ~(P2M - 1), 2 * P2M);
	default:
		return pmpt_unmap(tx, s, va, n * P4K);
	}
}

static void write_some(uint64_t *seed)
{
	uint64_t savepoint;
	pmpt_tx *tx;
	int rc = allowed(pmpt_begin(c.pool, rnd(seed, 20) ? 0 : PMPT_TX_BULK, &tx));

	if (rc)
		return;
	bool marked = !pmpt_savepoint(tx, &savepoint);

	for (uint64_t i = 1 + rnd(seed, 4); i > 0 && rc != PMPT_E_CONFLICT; i--)
		rc = allowed(change(tx, seed));
	if (marked && rnd(seed, 8) == 0)
		(void)allowed(pmpt_rollback_to(tx, savepoint));
	rc = rnd(seed, 8) ? allowed(pmpt_commit(tx, NULL)) : PMPT_E_CONFLICT;
	if (rc)
		(void)allowed(pmpt_abort(tx));
	else
		atomic_fetch_add(&commits, 1);
}

static void *write_all(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg + 1;

	for (unsigned i = 0; i < ROUNDS && !atomic_load(&wrong); i++) {
		write_some(&seed);
		if (rnd(&seed, 100) == 0) /* without holding anything, so that frames come back */
			(void)allowed(pmpt_unmap(NULL, space[i % 2], 0, (uint64_t)1 << 44));
		if (rnd(&seed, 50) == 0)
			(void)allowed(pmpt_user_set(NULL, space[0], 0, seed));
	}
	return NULL;
}

static int see(void *ctx, const struct pmpt_mapping *m)
{
	uint64_t *last = ctx;
	int rc = m->va < *last || m->flags & PMPT_X ? PMPT_E_CORRUPT : 0;

	*last = m->va + m->page_bytes;
	return rc;
}

static void *read_all(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg + 99;

	while (!atomic_load(&ending)) {
		pmpt_space *s = space[rnd(&seed, 2)];
		uint64_t va[40], e[40], last = 0;

		for (unsigned i = 0; i < 40; i++)
			va[i] = random_va(&seed);
		(void)allowed(pmpt_lookup_batch(s, va, 40, e));
		(void)allowed(pmpt_lookup(s, va[0], e));
		(void)allowed(pmpt_access(s, va[1], PMPT_R | PMPT_W));
		(void)allowed(pmpt_walk(s, 0, 0, see, &last));
	}
	return NULL;
}

static void *checkpoints(void *arg)
{
	(void)arg;
	while (!atomic_load(&ending)) {
		struct pmpt_stats s;

		(void)allowed(pmpt_checkpoint(c.pool));
		(void)allowed(pmpt_stats(c.pool, &s));
	}
	return NULL;
}

static void test_stress(void **state)
{
	pthread_t writer[WRITERS], reader[READERS], checkpointer;

	(void)state;
	core_make(&c, 400, 256, 1024);
	space[0] = c.space;
	assert_int_equal(pmpt_space_create(c.pool, "t", &space[1]), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writer[i], NULL, write_all, (void *)i), 0);
	for (uintptr_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&reader[i], NULL, read_all, (void *)i), 0);
	assert_int_equal(pthread_create(&checkpointer, NULL, checkpoints, NULL), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(writer[i], NULL), 0);
	atomic_store(&ending, true);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(reader[i], NULL), 0);
	assert_int_equal(pthread_join(checkpointer, NULL), 0);
	print_message("%lu commits, %lu conflicts, %lu without frames, %lu busy\n",
		      atomic_load(&commits), atomic_load(&conflicts), atomic_load(&no_frames),
		      atomic_load(&busy));
	assert_int_equal(atomic_load(&wrong), 0);
	assert_true(atomic_load(&commits) > WRITERS * ROUNDS / 20);
	core_verify(&c);
	pmpt_space_close(space[1]);
	core_reopen(&c, false);
	core_verify(&c);
	assert_int_equal(pmpt_unmap(NULL, c.space, 0, (uint64_t)1 << 47), 0);
	assert_int_equal(pmpt_space_delete(c.pool, "t"), 0);
	assert_int_equal(core_stats(&c).frames_data, 0);
	assert_int_equal(core_stats(&c).frames_table, 1);
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_stress) };

	return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}
