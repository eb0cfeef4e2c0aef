/* SPDX-License-Identifier: BSD-3-Clause */
/* test_api -- every call on tables, transactions and spaces as the header documents it, and its
 * errors.  (What it costs: test_golden; every misuse: test_misuse.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RW  (PMPT_R | PMPT_W)
#define RE  (PMPT_R | PMPT_EXT)

static struct core c;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 2048, 64, 128);
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

	return pmpt_query(c.space, va, &m) ? 0 : m.pfn + ((va - m.va) >> 12);
}

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

/* ---- ranges and flags ------------------------------------------------------------------------ */

static void test_addresses(void **state)
{
	static const struct {
		uint64_t va, n;
	} bad[] = {
		{ 0x800000000000, 1 },
		{ 0x7ffffffff000, 2 },
		{ 0xfffffffffffff000, 2 },
		{ 0x1001, 1 },
		{ 0, 0 },
		{ 0x1000, UINT64_MAX },
		{ 0x1000, (uint64_t)1 << 52 },
	};
	uint64_t e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fails(pmpt_map(NULL, c.space, bad[i].va, bad[i].n, 1, RE), PMPT_E_ADDRESS);
		fails(pmpt_unmap(NULL, c.space, bad[i].va, bad[i].n * P4K), PMPT_E_ADDRESS);
		fails(pmpt_protect(NULL, c.space, bad[i].va, bad[i].n * P4K, PMPT_R),
		      PMPT_E_ADDRESS);
		fails(pmpt_move(NULL, c.space, bad[i].va, c.space, P1G, bad[i].n * P4K),
		      PMPT_E_ADDRESS);
	}
	/* not aligned to the huge page */
	fails(pmpt_map(NULL, c.space, P4K, 1, 512, RE | PMPT_2M), PMPT_E_ADDRESS);
	fails(pmpt_map(NULL, c.space, P2M, 1, 511, RE | PMPT_2M), PMPT_E_FRAME);
	fails(pmpt_collapse(NULL, c.space, P4K, PMPT_2M), PMPT_E_ADDRESS);
	fails(pmpt_lookup(c.space, 0x800000000000, &e), PMPT_E_ADDRESS);
	fails(pmpt_access(c.space, 0x800000000000, PMPT_R), PMPT_E_ADDRESS);
	fails(pmpt_map(NULL, c.space, P4K, 1, 1, PMPT_W | PMPT_EXT), -EINVAL);
	fails(pmpt_map(NULL, c.space, P4K, 1, 1, RE | 1u << 31), -EINVAL);
	fails(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, RE), -EINVAL);
	fails(pmpt_map(NULL, c.space, P4K, 1, 1, RE | PMPT_ZERO), -EINVAL);
	fails(pmpt_map(NULL, c.space, P1G, 1, 0, RE | PMPT_2M | PMPT_1G), -EINVAL);
	fails(pmpt_protect(NULL, c.space, P4K, P4K, PMPT_W), -EINVAL);
	fails(pmpt_collapse(NULL, c.space, 0, 0), -EINVAL);
	/* both ends of both halves */
	ok(pmpt_map(NULL, c.space, 0x7ffffffff000, 1, 5, RE));
	ok(pmpt_map(NULL, c.space, 0xffff800000000000, 1, 6, RE));
	ok(pmpt_map(NULL, c.space, 0xfffffffffffff000, 1, 7, RE));
	assert_int_equal(frame_at(0xfffffffffffff000), 7);
	assert_int_equal(frame_at(0xffff800000000000), 6);
	assert_int_equal(frame_at(0), 0);
}

/* ---- map, protect, access -------------------------------------------------------------------- */

static void test_map_query(void **state)
{
	struct pmpt_mapping m;
	unsigned flags = PMPT_R | PMPT_W | PMPT_U | PMPT_EXT | PMPT_G | PMPT_PCD | PMPT_TAG(9) |
			 PMPT_PKEY(5);

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 3, 100, flags));
	ok(pmpt_query(c.space, 2 * P4K + 5, &m));
	assert_int_equal(m.va, 2 * P4K);
	assert_int_equal(m.pfn, 101);
	assert_int_equal(m.flags, flags);
	assert_int_equal(m.level, 1);
	assert_int_equal(m.page_bytes, P4K);
	fails(pmpt_map(NULL, c.space, 0, 2, 7, RE), PMPT_E_MAPPED);
	assert_int_equal(frame_at(0), 0); /* nothing of it happened */
	ok(pmpt_map(NULL, c.space, 0, 2, 7, RE | PMPT_REPLACE));
	assert_int_equal(frame_at(P4K), 8);
	fails(pmpt_query(c.space, P1G, &m), PMPT_E_NOT_MAPPED);
	ok(pmpt_map(NULL, c.space, P1G, 1, 1 << 18, RE | PMPT_1G));
	ok(pmpt_query(c.space, P1G + 12345 * P4K, &m));
	assert_int_equal(m.page_bytes, P1G);
	assert_int_equal(m.level, 3);
	/* a huge page is in the way */
	fails(pmpt_map(NULL, c.space, P1G + P4K, 1, 9, RE), PMPT_E_MAPPED);
	ok(pmpt_map(NULL, c.space, P1G + P4K, 1, 9, RE | PMPT_REPLACE)); /* split twice */
	assert_int_equal(frame_at(P1G + P4K), 9);
	assert_int_equal(frame_at(P1G + 2 * P4K), (1 << 18) + 2);
	assert_int_equal(frame_at(P1G + P2M), (1 << 18) + 512);
	/* the whole subtree is replaced */
	ok(pmpt_map(NULL, c.space, P1G, 1, 1 << 18, RE | PMPT_1G | PMPT_REPLACE));
	assert_int_equal(frame_at(P1G + P4K), (1 << 18) + 1);
}

static void test_access(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, 1, RE));
	ok(pmpt_access(c.space, P4K, PMPT_R));
	fails(pmpt_access(c.space, P4K, PMPT_R | PMPT_W), PMPT_E_DENIED_WRITE);
	fails(pmpt_access(c.space, P4K, PMPT_X), PMPT_E_DENIED_EXEC);
	fails(pmpt_access(c.space, P4K, PMPT_U), PMPT_E_DENIED_USER);
	fails(pmpt_access(c.space, 0, PMPT_R), PMPT_E_DENIED_READ);
	fails(pmpt_access(c.space, P4K, 0), -EINVAL);
	ok(pmpt_protect(NULL, c.space, P4K, P4K, PMPT_R | PMPT_W | PMPT_X | PMPT_U));
	ok(pmpt_access(c.space, P4K, PMPT_R | PMPT_W | PMPT_X | PMPT_U));
	/* all levels count: take W from the link above by hand, as a fork will */
	uint64_t pml4 = word_load(&c.space->root[0]);
	pm_word *pdpt = region_at(&c.rg, pml4 & ENTRY_PFN);

	atomic_store(pdpt, word_load(pdpt) & ~ENTRY_W);
	fails(pmpt_access(c.space, P4K, PMPT_W), PMPT_E_DENIED_WRITE);
	atomic_store(pdpt, word_load(pdpt) | ENTRY_W);
	fails(pmpt_protect(NULL, c.space, P4K, 2 * P4K, PMPT_R), PMPT_E_NOT_MAPPED);
	ok(pmpt_access(c.space, P4K, PMPT_W)); /* nothing of it happened */
}

/* ---- unmap, split, collapse, move: tables come and go ---------------------------------------- */

static void test_tables(void **state)
{
	uint64_t tables = core_stats(&c).frames_table, data;

	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	data = core_stats(&c).frames_data;
	assert_int_equal(data, 512);
	ok(pmpt_unmap(NULL, c.space, P2M + 3 * P4K, 2 * P4K));
	assert_int_equal(core_stats(&c).frames_data, 510);
	fails(pmpt_collapse(NULL, c.space, P2M, PMPT_2M), PMPT_E_NOT_UNIFORM);
	fails(pmpt_collapse(NULL, c.space, 2 * P2M, PMPT_2M), PMPT_E_NOT_MAPPED);
	ok(pmpt_unmap(NULL, c.space, P2M, P2M));
	assert_int_equal(core_stats(&c).frames_data, 0);
	/* empty tables are gone, the PML4 stays */
	assert_int_equal(core_stats(&c).frames_table, tables);
	ok(pmpt_map(NULL, c.space, P2M, 512, 1024, RE));
	ok(pmpt_collapse(NULL, c.space, P2M, PMPT_2M));
	ok(pmpt_collapse(NULL, c.space, P2M, PMPT_2M)); /* it is one already */
	assert_int_equal(frame_at(P2M + P4K), 1025);
	ok(pmpt_protect(NULL, c.space, P2M + P4K, P4K, RW)); /* split */
	fails(pmpt_access(c.space, P2M, PMPT_W), PMPT_E_DENIED_WRITE);
	ok(pmpt_access(c.space, P2M + P4K, PMPT_W));
	ok(pmpt_move(NULL, c.space, P2M, c.space, P1G, P2M));
	assert_int_equal(frame_at(P2M), 0);
	assert_int_equal(frame_at(P1G + 511 * P4K), 1535);
	fails(pmpt_move(NULL, c.space, P1G, c.space, P1G + P4K, P2M), PMPT_E_ADDRESS); /* overlap */
	ok(pmpt_map(NULL, c.space, 0, 1, 3, RE));
	fails(pmpt_move(NULL, c.space, P1G, c.space, 0, P2M), PMPT_E_MAPPED);
	assert_int_equal(frame_at(P1G), 1024);
	ok(pmpt_move(NULL, c.space, P1G + P4K, c.space, 5 * P4K, 3 * P4K));
	assert_int_equal(frame_at(6 * P4K), 1026);
	ok(pmpt_map(NULL, c.space, 3 * P1G, 1, 1 << 18, RE | PMPT_1G));
	/* a part of a huge page */
	ok(pmpt_move(NULL, c.space, 3 * P1G + P2M, c.space, 7 * P1G, P2M));
	assert_int_equal(frame_at(7 * P1G), (1 << 18) + 512);
	assert_int_equal(frame_at(3 * P1G + P2M), 0);
	ok(pmpt_unmap(NULL, c.space, 0, (uint64_t)1 << 46));
	assert_int_equal(core_stats(&c).frames_table, tables);
}

static void test_shared_frames(void **state)
{
	uint64_t pfn;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_ZERO));
	pfn = frame_at(P4K);
	assert_int_equal(*(uint64_t *)pmpt_frame_ptr(c.pool, pfn), 0);
	assert_int_equal(pmpt_frame_of(c.pool, pmpt_frame_ptr(c.pool, pfn)), pfn);
	ok(pmpt_map(NULL, c.space, 9 * P4K, 1, pfn, PMPT_R)); /* count 2 */
	ok(pmpt_unmap(NULL, c.space, P4K, P4K));
	assert_int_equal(core_stats(&c).frames_data, 1);
	ok(pmpt_map(NULL, c.space, 9 * P4K, 1, pfn, PMPT_R | PMPT_REPLACE)); /* by itself */
	ok(pmpt_unmap(NULL, c.space, 9 * P4K, P4K));
	assert_int_equal(core_stats(&c).frames_data, 0);
	fails(pmpt_map(NULL, c.space, P4K, 1, pfn, PMPT_R), PMPT_E_FRAME); /* free by now */
	/* a table */
	fails(pmpt_map(NULL, c.space, P4K, 1, c.space->root_pfn, PMPT_R), PMPT_E_FRAME);
	fails(pmpt_map(NULL, c.space, P4K, 1, 512, PMPT_R), PMPT_E_FRAME);     /* reserved */
	fails(pmpt_map(NULL, c.space, P4K, 1, 1 << 20, PMPT_R), PMPT_E_FRAME); /* outside */
	assert_null(pmpt_frame_ptr(c.pool, 1 << 20));
}

/* ---- transactions ---------------------------------------------------------------------------- */

static void test_transaction(void **state)
{
	struct pmpt_mapping m;
	uint64_t lsn1, lsn2, sp1, sp2, value, e;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, P4K, 1, 7, RE));
	fails(pmpt_lookup(c.space, P4K, &e), PMPT_E_NOT_MAPPED); /* isolated */
	ok(pmpt_tx_query(tx, c.space, P4K, &m));
	assert_int_equal(m.pfn, 7);
	ok(pmpt_savepoint(tx, &sp1));
	ok(pmpt_map(tx, c.space, P4K, 1, 8, RE | PMPT_REPLACE));
	ok(pmpt_user_set(tx, c.space, 2, 55));
	ok(pmpt_savepoint(tx, &sp2));
	ok(pmpt_unmap(tx, c.space, P4K, P4K));
	ok(pmpt_rollback_to(tx, sp2));
	ok(pmpt_tx_query(tx, c.space, P4K, &m));
	assert_int_equal(m.pfn, 8);
	ok(pmpt_rollback_to(tx, sp1));
	fails(pmpt_rollback_to(tx, sp2), -EINVAL); /* dead */
	ok(pmpt_tx_query(tx, c.space, P4K, &m));
	assert_int_equal(m.pfn, 7);
	ok(pmpt_rollback_to(tx, sp1)); /* it lives on */
	ok(pmpt_user_set(tx, c.space, 2, 66));
	ok(pmpt_commit(tx, &lsn1));
	ok(pmpt_user_get(c.space, 2, &value));
	assert_int_equal(value, 66);
	fails(pmpt_user_set(NULL, c.space, PMPT_USER_WORDS, 0), -EINVAL);
	fails(pmpt_user_get(c.space, PMPT_USER_WORDS, &value), -EINVAL);
	fails(pmpt_commit(tx, NULL), PMPT_E_TX_STATE); /* ended */
	fails(pmpt_map(tx, c.space, 0, 1, 7, RE), PMPT_E_TX_STATE);
	fails(pmpt_abort(tx), PMPT_E_TX_STATE);
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_unmap(tx, c.space, 0, P2M));
	ok(pmpt_abort(tx));
	assert_int_equal(frame_at(P4K), 7);
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_commit(tx, &lsn2));
	assert_int_equal(lsn2, 0); /* changed nothing */
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_protect(tx, c.space, P4K, P4K, RW));
	ok(pmpt_commit(tx, &lsn2));
	assert_true(lsn2 > lsn1);
	fails(pmpt_begin(c.pool, 1u << 7, &tx), -EINVAL);
}

static void *commit_elsewhere(void *tx) { return (void *)(intptr_t)pmpt_commit(tx, NULL); }

static void test_whose_transaction(void **state)
{
	pthread_t thread;
	pmpt_tx *tx, *many[3];
	void *rc;
	pid_t pid;
	int status;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, P4K, 1, 7, RE));
	ok(pthread_create(&thread, NULL, commit_elsewhere, tx));
	ok(pthread_join(thread, &rc));
	assert_int_equal((intptr_t)rc, PMPT_E_TX_STATE);
	pid = fork();
	if (pid == 0) {
		uint64_t e;
		pmpt_space *s;

		_exit(pmpt_commit(tx, NULL) == PMPT_E_FORKED &&
				      pmpt_begin(c.pool, 0, &tx) == PMPT_E_FORKED &&
				      pmpt_lookup(c.space, P4K, &e) == PMPT_E_FORKED &&
				      pmpt_lookup_batch(c.space, &(uint64_t){ P4K }, 1, &e) ==
					      PMPT_E_FORKED &&
				      pmpt_space_open(c.pool, "s", &s) == PMPT_E_FORKED &&
				      pmpt_close(c.pool) == PMPT_E_FORKED
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	ok(pmpt_commit(tx, NULL));  /* still good here */
	for (int i = 0; i < 3; i++) /* several at once in one thread */
		ok(pmpt_begin(c.pool, 0, &many[i]));
	fails(core_close(c.pool, false), PMPT_E_BUSY);
	ok(pmpt_map(many[0], c.space, P1G, 1, 1, RE));
	fails(pmpt_map(many[1], c.space, P1G + P4K, 1, 1, RE), PMPT_E_CONFLICT);
	ok(pmpt_protect(many[2], c.space, P4K, P4K, RW)); /* another table */
	fails(pmpt_protect(many[1], c.space, P4K, P4K, RW), PMPT_E_CONFLICT);
	ok(pmpt_user_set(many[0], c.space, 0, 1));
	fails(pmpt_user_set(many[1], c.space, 1, 1), PMPT_E_CONFLICT);
	for (int i = 0; i < 3; i++)
		ok(pmpt_commit(many[i], NULL));
	assert_int_equal(frame_at(P1G), 1);
}

static void test_limits(void **state)
{
	pmpt_tx *tx, *other;
	uint64_t pfn, sp;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, 1, RE));
	ok(pmpt_map(NULL, c.space, P1G + P4K, 1, 1, RE));
	ok(pmpt_begin(c.pool, 0, &tx));
	int rc = 0;
	uint64_t n = 0;

	for (; !rc && n < 256; n += !rc) /* every other page, no sequence: two words a line */
		rc = pmpt_map(tx, c.space, n * 2 * P4K, 1, 7 * n * n + 2, RE);
	fails(rc, PMPT_E_TX_TOO_LARGE); /* at the call that crosses it; the rest can be committed */
	assert_int_equal(n, 128);
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(frame_at((n - 1) * 2 * P4K), 7 * (n - 1) * (n - 1) + 2);
	assert_int_equal(frame_at(n * 2 * P4K), 0);
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	fails(pmpt_begin(c.pool, PMPT_TX_BULK, &other), PMPT_E_TX_LIMIT);
	fails(pmpt_savepoint(tx, &sp), -EINVAL);
	for (rc = 0, n = 0; !rc && n < 256; n += !rc)
		rc = pmpt_map(tx, c.space, P1G + n * 2 * P4K, 1, 7 * n * n + 2, RE);
	fails(rc, PMPT_E_TX_TOO_LARGE);
	ok(bulk_spill(tx));
	fails(pmpt_map(tx, c.space, P1G + n * 2 * P4K, 1, 3, RE), PMPT_E_TX_TOO_LARGE);
	ok(pmpt_abort(tx));
	assert_int_equal(frame_at(P1G), 0);
	/* out of frames in the middle: the call has no effect, the transaction goes on */
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, P1G * 5, 1, 7, RE));
	fails(pmpt_map(tx, c.space, P1G * 6, 4096, PMPT_PFN_ALLOC, RW), PMPT_E_NO_FRAMES);
	fails(pmpt_frame_alloc(tx, 100000, 1, &pfn), PMPT_E_NO_FRAMES);
	fails(pmpt_frame_alloc(tx, 0, 1, &pfn), -EINVAL);
	fails(pmpt_frame_alloc(NULL, 1, 1, &pfn), -EINVAL);
	fails(pmpt_flush(tx, &tx, 8), PMPT_E_FRAME);
	ok(pmpt_frame_alloc(tx, 3, 1, &pfn));
	ok(pmpt_commit(tx, NULL)); /* frames that nothing maps are free again */
	assert_int_equal(frame_at(P1G * 5), 7);
	fails(pmpt_grow(c.pool, 1), PMPT_E_NO_FRAMES);
}

static void test_bulk(void **state)
{
	struct pmpt_mapping m;
	pmpt_tx *tx;
	uint64_t e, lsn, va[2] = { P2M, P1G };

	(void)state;
	ok(pmpt_map(NULL, c.space, P1G, 1, 9, RE));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_map(tx, c.space, P2M, 600, 5000, RE));
	ok(bulk_spill(tx));
	fails(pmpt_lookup(c.space, P2M, &e), PMPT_E_BUSY);
	fails(pmpt_query(c.space, P2M + P4K, &m), PMPT_E_BUSY);
	fails(pmpt_lookup_batch(c.space, va, 2, &e), PMPT_E_BUSY);
	assert_int_equal(frame_at(P1G), 9); /* elsewhere nothing is hidden */
	fails(pmpt_map(NULL, c.space, P2M, 1, 9, RE | PMPT_REPLACE), PMPT_E_CONFLICT);
	ok(pmpt_protect(tx, c.space, P2M, 10 * P4K, RW));
	ok(pmpt_commit(tx, &lsn));
	assert_int_equal(frame_at(P2M + 599 * P4K), 5599);
	ok(pmpt_access(c.space, P2M, PMPT_W));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_unmap(tx, c.space, P2M, 300 * P4K));
	ok(bulk_spill(tx));
	ok(pmpt_map(tx, c.space, 5 * P1G, 3, PMPT_PFN_ALLOC, RW));
	ok(bulk_spill(tx));
	ok(pmpt_abort(tx));
	assert_int_equal(frame_at(P2M), 5000);
	assert_int_equal(frame_at(5 * P1G), 0);
	assert_int_equal(core_stats(&c).frames_data, 0);
	core_reopen(&c, false);
	assert_int_equal(frame_at(P2M + 599 * P4K), 5599);
}

/* ---- spaces ---------------------------------------------------------------------------------- */

static int count_names(void *ctx, const char *name)
{
	(void)name;
	return ++*(int *)ctx == 100 ? 42 : 0;
}

static void test_spaces(void **state)
{
	static const char *const bad[] = {
		"",        "a\nb", "\x7f", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"\xe2\x82"
	};
	char longest[PMPT_NAME_MAX + 2];
	pmpt_space *s, *t;
	int n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		fails(pmpt_space_create(c.pool, bad[i], &s), PMPT_E_NAME);
	memset(longest, 'x', sizeof(longest));
	longest[PMPT_NAME_MAX + 1] = 0;
	fails(pmpt_space_create(c.pool, longest, &s), PMPT_E_NAME);
	longest[PMPT_NAME_MAX] = 0;
	ok(pmpt_space_create(c.pool, longest, &s));
	assert_string_equal(pmpt_space_name(s), longest);
	assert_ptr_equal(pmpt_space_pool(s), c.pool);
	fails(pmpt_space_create(c.pool, longest, &t), PMPT_E_EXISTS);
	ok(pmpt_space_open(c.pool, longest, &t));
	assert_ptr_equal(s, t);
	ok(pmpt_map(NULL, s, P4K, 5, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_rename(c.pool, longest, "gr\xc3\xbc\xc3\x9f"));
	assert_string_equal(pmpt_space_name(s), "gr\xc3\xbc\xc3\x9f");
	fails(pmpt_space_rename(c.pool, "nobody", "y"), PMPT_E_NO_SPACE);
	fails(pmpt_space_rename(c.pool, "s", "gr\xc3\xbc\xc3\x9f"), PMPT_E_EXISTS);
	fails(pmpt_space_open(c.pool, longest, &t), PMPT_E_NO_SPACE);
	fails(pmpt_space_delete(c.pool, "gr\xc3\xbc\xc3\x9f"), PMPT_E_BUSY);
	fails(core_close(c.pool, true), PMPT_E_BUSY);
	pmpt_space_close(s);
	pmpt_space_close(s);
	ok(pmpt_space_delete(c.pool, "gr\xc3\xbc\xc3\x9f"));
	fails(pmpt_space_delete(c.pool, "gr\xc3\xbc\xc3\x9f"), PMPT_E_NO_SPACE);
	assert_int_equal(core_stats(&c).frames_data, 0);
	for (char name[2] = "a"; name[0] < 'h'; name[0]++) {
		ok(pmpt_space_create(c.pool, name, &s));
		pmpt_space_close(s);
	}
	fails(pmpt_space_create(c.pool, "h", &s), PMPT_E_SPACES_FULL);
	ok(pmpt_space_list(c.pool, count_names, &n));
	assert_int_equal(n, 8);
	n = 99;
	assert_int_equal(pmpt_space_list(c.pool, count_names, &n), 42);
	pmpt_space_close(NULL);
}

/* ---- walk, batch ----------------------------------------------------------------------------- */

struct seen {
	unsigned n;
	uint64_t va[8];
};

static int see(void *ctx, const struct pmpt_mapping *m)
{
	struct seen *s = ctx;

	if (s->n < 8)
		s->va[s->n] = m->va;
	return ++s->n == 7 ? 77 : 0;
}

static void test_walk(void **state)
{
	struct seen s = { 0 };
	uint64_t va[40], e[40];

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 2, 1, RE));
	ok(pmpt_map(NULL, c.space, P2M, 1, 512, RE | PMPT_2M));
	ok(pmpt_map(NULL, c.space, P1G, 1, 1 << 18, RE | PMPT_1G));
	ok(pmpt_map(NULL, c.space, 0xffff800000000000, 1, 6, RE));
	ok(pmpt_walk(c.space, 0, 0, see, &s));
	assert_int_equal(s.n, 5);
	assert_int_equal(s.va[1], 2 * P4K);
	assert_int_equal(s.va[4], 0xffff800000000000);
	s.n = 0;
	ok(pmpt_walk(c.space, P2M + P4K, P1G, see, &s)); /* pages that only overlap */
	assert_int_equal(s.n, 2);
	assert_int_equal(s.va[0], P2M);
	s.n = 6;
	assert_int_equal(pmpt_walk(c.space, 0, 0, see, &s), 77);
	fails(pmpt_walk(c.space, 0x800000000000, P4K, see, &s), PMPT_E_ADDRESS);
	for (unsigned i = 0; i < 40; i++)
		va[i] = i * P4K;
	va[39] = P1G + 5 * P4K;
	ok(pmpt_lookup_batch(c.space, va, 40, e));
	assert_int_equal(e[0], 0);
	assert_int_equal(entry_pfn(e[2]), 2);
	assert_int_equal(entry_pfn(e[39]), 1 << 18);
	ok(pmpt_lookup_batch(c.space, va, 0, e));
	va[38] = 0x800000000000;
	fails(pmpt_lookup_batch(c.space, va, 40, e), PMPT_E_ADDRESS);
}

/* ---- the nth allocation fails ---------------------------------------------------------------- */

static int everything(void)
{
	pmpt_space *s = NULL;
	pmpt_tx *tx = NULL;
	uint64_t sp;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (!rc)
		rc = pmpt_map(tx, c.space, P1G, 20, PMPT_PFN_ALLOC, RW);
	if (!rc)
		rc = pmpt_savepoint(tx, &sp);
	if (!rc)
		rc = pmpt_map(tx, c.space, 2 * P1G, 1, 1024, RE | PMPT_2M);
	if (!rc)
		rc = pmpt_protect(tx, c.space, 2 * P1G, P4K, RW);
	if (!rc)
		rc = pmpt_move(tx, c.space, P1G, c.space, 3 * P1G, 20 * P4K);
	if (!rc)
		rc = pmpt_user_set(tx, c.space, 1, 1);
	if (!rc)
		rc = pmpt_unmap(tx, c.space, 2 * P1G, P2M);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	if (rc && tx)
		(void)pmpt_abort(tx);
	if (!rc)
		rc = pmpt_unmap(NULL, c.space, 3 * P1G, 20 * P4K);
	if (!rc)
		rc = pmpt_space_create(c.pool, "oom", &s);
	if (!rc)
		pmpt_space_close(s);
	if (!rc)
		rc = pmpt_space_delete(c.pool, "oom");
	return rc;
}

static void test_oom(void **state)
{
	long n;
	int rc = -ENOMEM;

	(void)state;
	for (n = 0; rc && n < 400; n++) {
		atomic_store(&mem_fail_after, n);
		rc = everything();
		atomic_store(&mem_fail_after, -1);
		if (rc) {
			pmpt_space *s;

			assert_int_equal(rc, -ENOMEM);
			core_verify(&c);
			if (!pmpt_unmap(NULL, c.space, 3 * P1G, 20 * P4K) &&
			    !pmpt_space_open(c.pool, "oom", &s))
				pmpt_space_close(s);
			(void)pmpt_space_delete(c.pool, "oom");
		}
		core_reopen(&c, n % 2); /* what the open allocates is counted below */
	}
	assert_int_equal(rc, 0);
	assert_true(n > 5);
	pmpt_space_close(c.space);
	ok(core_close(c.pool, true));
	for (n = 0, rc = -ENOMEM; rc && n < 100; n++) {
		atomic_store(&mem_fail_after, n);
		rc = core_open(&c.rg, PMPT_OPEN_NO_GROW, &c.pool);
		atomic_store(&mem_fail_after, -1);
		assert_true(rc == 0 || rc == -ENOMEM);
	}
	assert_true(n > 5);
	ok(pmpt_space_open(c.pool, "s", &c.space));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_addresses),
		T(test_map_query),
		T(test_access),
		T(test_tables),
		T(test_shared_frames),
		T(test_transaction),
		T(test_whose_transaction),
		T(test_limits),
		T(test_bulk),
		T(test_spaces),
		T(test_walk),
		T(test_oom),
	};

	return cmocka_run_group_tests_name("the public calls", tests, NULL, NULL);
}
