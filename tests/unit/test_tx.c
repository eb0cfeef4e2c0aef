/* SPDX-License-Identifier: BSD-3-Clause */
/* test_tx -- transactions side by side: what one does to the frames and ranges of another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)
#define FAR (5 * P1G)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 1536, 64, 128);
	/* tables are there, and stay when a page beside these goes */
	ok(pmpt_map(NULL, c.space, 0, 1, 1, RE));
	ok(pmpt_map(NULL, c.space, FAR + P4K, 1, 1, RE));
	ok(pmpt_map(NULL, c.space, 9 * P1G, 1, 1, RE));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

static uint64_t frame_at(uint64_t va)
{
	struct pmpt_mapping m;

	return pmpt_query(c.space, va, &m) ? 0 : m.pfn;
}

/* A page at P4K, and a transaction that maps its frame at FAR too, not committed yet. */
static pmpt_tx *share(unsigned flags, uint64_t *pfn)
{
	pmpt_tx *tx;

	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	*pfn = frame_at(P4K);
	ok(pmpt_begin(c.pool, flags, &tx));
	ok(pmpt_map(tx, c.space, FAR, 1, *pfn, PMPT_R));
	return tx;
}

static void test_shared_frame_freed(void **state)
{
	uint64_t pfn;
	pmpt_tx *tx = share(0, &pfn);

	(void)state;
	ok(pmpt_unmap(NULL, c.space, P4K, P4K));
	fails(pmpt_commit(tx, NULL), PMPT_E_CONFLICT);
	assert_int_equal(frame_at(FAR), 0);
	ok(pmpt_abort(tx));
	assert_int_equal(core_stats(&c).frames_data, 0);
}

/* The same in a bulk transaction: readers are let in again by its abort. */
static void test_shared_frame_freed_bulk(void **state)
{
	uint64_t pfn;
	pmpt_tx *tx = share(PMPT_TX_BULK, &pfn);

	(void)state;
	ok(pmpt_unmap(NULL, c.space, P4K, P4K));
	fails(pmpt_commit(tx, NULL), PMPT_E_CONFLICT);
	ok(pmpt_abort(tx));
	uint64_t e;

	fails(pmpt_lookup(c.space, FAR, &e), PMPT_E_NOT_MAPPED);
	ok(pmpt_map(NULL, c.space, FAR, 1, 7, RE));
	assert_int_equal(frame_at(FAR), 7);
}

/* The frame is freed and becomes a table before the one that shares it commits. */
static void test_shared_frame_reused(void **state)
{
	uint64_t pfn, va = 9 * P1G + P2M, hold;
	pmpt_tx *tx, *holder;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &holder));
	tx = share(0, &pfn);
	for (uint64_t n = 512; n; n /= 2) { /* nothing else is free */
		while (!pmpt_frame_alloc(holder, n, 1, &hold))
			;
	}
	ok(pmpt_unmap(NULL, c.space, P4K, P4K));
	ok(pmpt_checkpoint(c.pool));
	while (!frame_at(va)) { /* its tables take what there is */
		ok(pmpt_map(NULL, c.space, va, 1, 1, RE));
		if (desc_kind(word_load(frames_desc(&c.pool->frames, pfn))) == DESC_TABLE)
			break;
		va += P2M;
	}
	assert_int_equal(desc_kind(word_load(frames_desc(&c.pool->frames, pfn))), DESC_TABLE);
	fails(pmpt_commit(tx, NULL), PMPT_E_CONFLICT);
	ok(pmpt_abort(tx));
	ok(pmpt_abort(holder));
}

/* ---- another commits between a plan and its locks -------------------------------------------- */

static const struct pm *committer;
static pmpt_tx *between;
static int between_rc;

static void commit_between(void *ctx, const struct pm_event *e)
{
	pmpt_tx *tx = between;

	(void)ctx;
	if (e->kind != PM_EV_STEP || e->pm != committer || !tx)
		return;
	between = NULL;
	between_rc = pmpt_commit(tx, NULL);
}

/* tx is committed; its plan is made, its locks are not taken, when `other` commits. */
static int commit_around(pmpt_tx *tx, pmpt_tx *other)
{
	int rc;

	committer = &tx->pm;
	between = other;
	between_rc = -1;
	pm_observer = commit_between;
	rc = pmpt_commit(tx, NULL);
	pm_observer = NULL;
	assert_null(between);
	ok(between_rc);
	return rc;
}

/* 200 pages of contiguous frames from P4K on. */
static uint64_t pages_200(void)
{
	uint64_t pfn;
	pmpt_tx *tx;

	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_frame_alloc(tx, 200, 1, &pfn));
	ok(pmpt_map(tx, c.space, P4K, 200, pfn, PMPT_R));
	ok(pmpt_commit(tx, NULL));
	return pfn;
}

static uint64_t count_of(uint64_t pfn)
{
	return desc_count(word_load(frames_desc(&c.pool->frames, pfn)));
}

static void test_counts_move(void **state)
{
	uint64_t pfn = pages_200();
	pmpt_tx *tx, *other;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_begin(c.pool, 0, &other));
	ok(pmpt_map(tx, c.space, FAR + 2 * P4K, 200, pfn, PMPT_R));
	for (unsigned i = 10; i < 90; i += 20) /* no run any more */
		ok(pmpt_map(other, c.space, 9 * P1G + (10 + i) * P4K, 1, pfn + i, PMPT_R));
	ok(commit_around(tx, other));
	assert_int_equal(count_of(pfn), 2);
	assert_int_equal(count_of(pfn + 10), 3);
	assert_int_equal(count_of(pfn + 199), 2);
}

static void test_counts_move_too_large(void **state)
{
	uint64_t pfn = pages_200(), n = 0;
	pmpt_tx *tx, *other;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_begin(c.pool, 0, &other));
	ok(pmpt_map(tx, c.space, FAR + 2 * P4K, 200, pfn, PMPT_R));
	while (!pmpt_map(tx, c.space, FAR + (300 + 2 * n) * P4K, 1, n * n, RE))
		n++; /* the half is full */
	for (unsigned i = 10; i < 190; i += 20)
		ok(pmpt_map(other, c.space, 9 * P1G + (10 + i) * P4K, 1, pfn + i, PMPT_R));
	fails(commit_around(tx, other), PMPT_E_TX_TOO_LARGE);
	ok(pmpt_abort(tx));
	assert_int_equal(frame_at(FAR + 2 * P4K), 0);
	assert_int_equal(count_of(pfn), 1);
}

static void test_frame_freed_between(void **state)
{
	uint64_t pfn = pages_200();
	pmpt_tx *tx, *other;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_begin(c.pool, 0, &other));
	ok(pmpt_map(tx, c.space, FAR + 2 * P4K, 200, pfn, PMPT_R));
	ok(pmpt_unmap(other, c.space, 100 * P4K, P4K));
	fails(commit_around(tx, other), PMPT_E_CONFLICT);
	fails(pmpt_commit(tx, NULL), PMPT_E_CONFLICT); /* it will never be */
	ok(pmpt_abort(tx));
	assert_int_equal(core_stats(&c).frames_data, 199);
}

static void test_count_overflow(void **state)
{
	uint64_t pfn = pages_200(), most = UINT32_MAX;
	pm_word *desc = frames_desc(&c.pool->frames, pfn);
	pmpt_tx *tx, *other;

	(void)state;
	atomic_store(desc, desc_make(DESC_DATA, most));
	fails(pmpt_map(NULL, c.space, FAR, 1, pfn, PMPT_R), PMPT_E_COUNT);
	atomic_store(desc, desc_make(DESC_DATA, most - 1));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_begin(c.pool, 0, &other));
	ok(pmpt_map(tx, c.space, FAR, 1, pfn, PMPT_R));
	ok(pmpt_map(other, c.space, 9 * P1G + P4K, 1, pfn, PMPT_R));
	fails(commit_around(tx, other), PMPT_E_COUNT);
	ok(pmpt_abort(tx));
	assert_int_equal(count_of(pfn), most);
	ok(pmpt_checkpoint(c.pool)); /* the log has this count too */
	atomic_store(desc, desc_make(DESC_DATA, 2));
}

/* ---- how many, how large --------------------------------------------------------------------- */

static void test_most_transactions(void **state)
{
	static pmpt_tx *tx[4 * PMPT_TX_MAX + 100];
	unsigned n = 0;
	int rc;

	(void)state;
	while (!(rc = pmpt_begin(c.pool, 0, &tx[n])))
		assert_true(++n < sizeof(tx) / sizeof(tx[0]));
	fails(rc, PMPT_E_TX_LIMIT);
	assert_true(n >= PMPT_TX_MAX);
	while (n)
		ok(pmpt_abort(tx[--n]));
	ok(pmpt_map(NULL, c.space, FAR, 1, 7, RE));
}

/* Handles of two pools do not go together. */
static void test_two_pools(void **state)
{
	struct pmpt_mapping m;
	struct core d;
	pmpt_tx *tx;

	(void)state;
	core_make(&d, 1536, 64, 128);
	ok(pmpt_begin(c.pool, 0, &tx));
	fails(pmpt_map(tx, d.space, P4K, 1, 7, RE), -EINVAL);
	fails(pmpt_map(tx, d.space, P4K, 1, 7, RE | PMPT_REPLACE), -EINVAL);
	fails(pmpt_user_set(tx, d.space, 0, 7), -EINVAL);
	fails(pmpt_tx_query(tx, d.space, P4K, &m), -EINVAL);
	fails(pmpt_move(tx, c.space, 0, d.space, 0, P4K), -EINVAL);
	ok(pmpt_commit(tx, NULL));
	ok(pmpt_map(NULL, d.space, P4K, 1, 7, RE)); /* one thread, two pools */
	core_free(&d);
}

static void test_read_only(void **state)
{
	pmpt_space *s;
	pmpt_tx *tx;
	uint64_t e;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, FAR, 1, 7, RE));
	atomic_store(&c.pool->rg->medium.failed, -EIO);
	fails(pmpt_commit(tx, NULL), PMPT_E_READ_ONLY);
	ok(pmpt_abort(tx));
	fails(pmpt_begin(c.pool, 0, &tx), PMPT_E_READ_ONLY);
	fails(pmpt_map(NULL, c.space, FAR, 1, 7, RE), PMPT_E_READ_ONLY);
	fails(pmpt_space_create(c.pool, "t", &s), PMPT_E_READ_ONLY);
	fails(pmpt_space_rename(c.pool, "s", "t"), PMPT_E_READ_ONLY);
	fails(pmpt_space_delete(c.pool, "s"), PMPT_E_READ_ONLY);
	fails(pmpt_checkpoint(c.pool), PMPT_E_READ_ONLY);
	fails(pmpt_grow(c.pool, 1), PMPT_E_READ_ONLY);
	ok(pmpt_lookup(c.space, 0, &e));
	atomic_store(&c.pool->rg->medium.failed, 0);
}

/* Another transaction has freed frames, and has not let go of them yet. */
static void *let_go(void *arg)
{
	struct frames *fr = &c.pool->frames;

	(void)arg;
	(void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	for (uint64_t pfn = 0; pfn < c.rg.bytes >> FRAME_SHIFT; pfn++) {
		struct group *g = frames_desc(fr, pfn) ? frames_group(fr, pfn) : NULL;

		if (g && atomic_load(&g->owner[pfn % GROUP_FRAMES]) == PMPT_TX_MAX)
			frames_disown(fr, pfn);
	}
	return NULL;
}

static void test_fresh_table_still_owned(void **state)
{
	struct frames *fr = &c.pool->frames;
	pthread_t thread;
	bool taken;

	(void)state;
	for (uint64_t pfn = 0; pfn < c.rg.bytes >> FRAME_SHIFT; pfn++) {
		const pm_word *desc = frames_desc(fr, pfn);

		if (desc && !desc_count(word_load(desc)))
			ok(frames_own(fr, pfn, PMPT_TX_MAX, &taken));
	}
	assert_int_equal(pthread_create(&thread, NULL, let_go, NULL), 0);
	ok(pmpt_map(NULL, c.space, 17 * P1G, 1, 1, RE)); /* tables of its own, and no conflict */
	assert_int_equal(core_stats(&c).conflicts, 0);
	assert_int_equal(core_stats(&c).aborts, 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_shared_frame_freed),
		T(test_shared_frame_freed_bulk),
		T(test_shared_frame_reused),
		T(test_counts_move),
		T(test_counts_move_too_large),
		T(test_frame_freed_between),
		T(test_count_overflow),
		T(test_most_transactions),
		T(test_two_pools),
		T(test_fresh_table_still_owned),
		T(test_read_only),
	};

	return cmocka_run_group_tests_name("transactions side by side", tests, NULL, NULL);
}
