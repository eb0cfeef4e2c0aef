/* SPDX-License-Identifier: BSD-3-Clause */
/* test_data -- pages written and read: any alignment, any mix of pages, several spaces; what is refused;
 * what a rollback and a crash leave.  Demand-zero regions under every call that changes a space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "data.h"
#include "rcu.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RW  (PMPT_R | PMPT_W)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;
static char buf[2 * P2M], back[2 * P2M];

static int setup(void **state)
{
	(void)state;
	core_make(&c, 4096, 1024, 256);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 2654435761u >> 13);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

static void assert_bytes(uint64_t va, const void *expected, size_t len)
{
	memset(back, 0x77, len);
	ok(pmpt_read(NULL, c.space, va, back, len));
	assert_memory_equal(back, expected, len);
}

static void assert_zero(uint64_t va, size_t len)
{
	static const char zero[8 * P4K];

	assert_bytes(va, zero, len);
}

static uint64_t data_frames(void) { return core_stats(&c).frames_data; }

/* ---- write and read --------------------------------------------------------------------------- */

static void test_write_read(void **state)
{
	struct pmpt_mapping m;

	(void)state;
	ok(pmpt_write(NULL, c.space, P4K, buf, P4K));
	assert_bytes(P4K, buf, P4K);
	ok(pmpt_query(c.space, P4K, &m));
	assert_int_equal(m.flags, RW); /* not executable */
	assert_int_equal(data_frames(), 1);
	uint64_t first = m.pfn;

	ok(pmpt_write(NULL, c.space, P4K, buf + 64, P4K)); /* another frame, the old one is free */
	assert_bytes(P4K, buf + 64, P4K);
	ok(pmpt_query(c.space, P4K, &m));
	assert_int_not_equal(m.pfn, first);
	assert_int_equal(data_frames(), 1);
	core_reopen(&c, false);
	assert_bytes(P4K, buf + 64, P4K);
	core_reopen(&c, true);
	assert_bytes(P4K, buf + 64, P4K);
	assert_zero(0, P4K);
	assert_zero(2 * P4K, P4K);
	assert_zero(P1G + 17, 3 * P4K);
	assert_int_equal(data_frames(), 1);
}

/* Every alignment of the ends, over absent and present pages; an oracle of bytes. */
static void test_alignments(void **state)
{
	static const size_t at[] = { 0, 1, 7, 8, 63, 64, 65, 2048, 4095, 4096, 4097, 8191 };
	static const size_t len[] = { 1, 7, 8, 64, 100, 4095, 4096, 4097, 8192, 9000, 12288 };
	static char oracle[8 * P4K];
	uint64_t base = P2M - 3 * P4K; /* over the end of a table */

	(void)state;
	memset(oracle, 0, sizeof(oracle));
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		for (size_t k = 0; k < sizeof(len) / sizeof(len[0]); k++) {
			const char *src = buf + 131 * i + k;

			ok(pmpt_write(NULL, c.space, base + at[i], src, len[k]));
			memcpy(oracle + at[i], src, len[k]);
			assert_bytes(base, oracle, sizeof(oracle));
			assert_bytes(base + at[i], oracle + at[i], len[k]);
		}
		if (i == 5)
			ok(pmpt_unmap(NULL, c.space, base, 8 * P4K)),
				memset(oracle, 0, sizeof(oracle));
	}
	core_reopen(&c, false);
	assert_bytes(base, oracle, sizeof(oracle));
}

/* More than a table's pages; frames in one run or in many. */
static void test_many_pages(void **state)
{
	uint64_t va = P2M - 2 * P4K;

	(void)state;
	ok(pmpt_write(NULL, c.space, va + 5, buf, P2M + P4K));
	assert_bytes(va + 5, buf, P2M + P4K);
	for (unsigned i = 0; i < 512; i += 2) /* every other frame is free */
		ok(pmpt_unmap(NULL, c.space, va + i * P4K, P4K));
	ok(pmpt_checkpoint(c.pool));
	ok(frames_reclaim(&c.pool->frames, true));
	ok(pmpt_write(NULL, c.space, P1G, buf, P2M));
	assert_bytes(P1G, buf, P2M);
	ok(pmpt_write(NULL, c.space, P1G + 3, buf, P2M));
	assert_bytes(P1G + 3, buf, P2M);
	assert_bytes(P1G, buf, 3);
	core_reopen(&c, false);
	assert_bytes(P1G + 3, buf, P2M);
}

static void test_permissions_stay(void **state)
{
	unsigned flags = PMPT_R | PMPT_W | PMPT_U | PMPT_X | PMPT_G | PMPT_TAG(5) | PMPT_PKEY(3);
	struct pmpt_mapping m;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, flags | PMPT_ZERO));
	ok(pmpt_write(NULL, c.space, P4K + 9, "abc", 3));
	ok(pmpt_query(c.space, P4K, &m));
	assert_int_equal(m.flags, flags);
	assert_bytes(P4K + 9, "abc", 4);
	assert_zero(P4K, 9);
}

static void test_huge_pages(void **state)
{
	struct pmpt_mapping m;

	(void)state;
	ok(pmpt_map(NULL, c.space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M | PMPT_ZERO));
	assert_zero(P2M + 100 * P4K + 5, P4K);
	ok(pmpt_write(NULL, c.space, P2M + 7 * P4K + 1, buf, 10));
	ok(pmpt_query(c.space, P2M + 7 * P4K, &m));
	assert_int_equal(m.level, 1);
	assert_bytes(P2M + 7 * P4K + 1, buf, 10);
	assert_zero(P2M, 7 * P4K + 1);
	assert_zero(P2M + 7 * P4K + 11, P4K);
	assert_int_equal(data_frames(), 512);
}

/* ---- transactions ------------------------------------------------------------------------------- */

static void test_tx_read(void **state)
{
	pmpt_tx *tx;
	pmpt_space *other;

	(void)state;
	ok(pmpt_space_create(c.pool, "t", &other));
	ok(pmpt_write(NULL, c.space, 0, "old", 4));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_write(tx, c.space, 2, "XYZ", 4));
	ok(pmpt_write(tx, other, P2M, buf, 2 * P4K));
	ok(pmpt_tx_read(tx, c.space, 0, back, 6));
	assert_memory_equal(back, "olXYZ", 6);
	ok(pmpt_tx_read(tx, other, P2M, back, 2 * P4K));
	assert_memory_equal(back, buf, 2 * P4K);
	assert_bytes(0, "old", 4); /* nobody else sees it */
	ok(pmpt_read(NULL, other, P2M, back, 8));
	assert_int_equal(back[0] | back[1] | back[7], 0);
	fails(pmpt_tx_read(tx, c.space, (uint64_t)1 << 47, back, 1), PMPT_E_ADDRESS);
	ok(pmpt_commit(tx, NULL));
	fails(pmpt_tx_read(tx, c.space, 0, back, 1), PMPT_E_TX_STATE);
	assert_bytes(0, "olXYZ", 6);
	ok(pmpt_read(NULL, other, P2M, back, 2 * P4K));
	assert_memory_equal(back, buf, 2 * P4K);
	pmpt_space_close(other);
}

static void test_abort(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_write(NULL, c.space, 0, buf, 3 * P4K));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_write(tx, c.space, 5, buf + 999, 6 * P4K));
	ok(pmpt_abort(tx));
	assert_bytes(0, buf, 3 * P4K);
	assert_zero(3 * P4K, 3 * P4K);
	assert_int_equal(data_frames(), 3);
}

/* Pages written again and again in a transaction, with savepoints between. */
static void test_savepoints(void **state)
{
	uint64_t first, second, frames;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_write(NULL, c.space, 0, "committed", 10));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_write(tx, c.space, 0, "one", 3));
	frames = tx->n_reserved;
	for (unsigned i = 0; i < 100; i++) /* in place: no frame more */
		ok(pmpt_write(tx, c.space, 100 + i, "12", 2));
	assert_int_equal(tx->n_reserved, frames);
	ok(pmpt_savepoint(tx, &first));
	ok(pmpt_write(tx, c.space, 0, "two", 3)); /* not in place */
	ok(pmpt_write(tx, c.space, P4K, "new", 3));
	ok(pmpt_savepoint(tx, &second));
	ok(pmpt_write(tx, c.space, 0, "three", 5));
	ok(pmpt_write(tx, c.space, 1, "HREE", 4));
	ok(pmpt_tx_read(tx, c.space, 0, back, 10));
	assert_memory_equal(back, "tHREEtted", 10);
	ok(pmpt_rollback_to(tx, second));
	ok(pmpt_tx_read(tx, c.space, 0, back, 10));
	assert_memory_equal(back, "twomitted", 10);
	ok(pmpt_write(tx, c.space, 0, "four", 4));
	ok(pmpt_rollback_to(tx, first));
	ok(pmpt_tx_read(tx, c.space, 0, back, 10));
	assert_memory_equal(back, "onemitted", 10);
	ok(pmpt_tx_read(tx, c.space, P4K, back, 3));
	assert_int_equal(back[0], 0);
	ok(pmpt_write(tx, c.space, 0, "ONE", 3)); /* the savepoint lives: not in place */
	ok(pmpt_rollback_to(tx, first));
	ok(pmpt_commit(tx, NULL));
	assert_bytes(0, "onemitted", 10);
	assert_bytes(198, "112\0", 4);
	assert_int_equal(data_frames(), 1);
}

/* A call that fails half way leaves pages that it would have written in place. */
static void test_failed_call(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_write(tx, c.space, 0, "mine", 4));
	fails(pmpt_write(tx, c.space, 0, buf, 2 * P4K), PMPT_E_DENIED_WRITE);
	ok(pmpt_tx_read(tx, c.space, 0, back, 4));
	assert_memory_equal(back, "mine", 4);
	ok(pmpt_commit(tx, NULL));
	assert_bytes(0, "mine", 5);
}

static void test_bulk(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_write(NULL, c.space, 0, "before", 7));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_write(tx, c.space, 0, buf, 600 * P4K));
	ok(bulk_spill(tx));
	ok(pmpt_write(tx, c.space, 3, "in place", 8));
	fails(pmpt_read(NULL, c.space, 0, back, 1), PMPT_E_BUSY);
	ok(pmpt_tx_read(tx, c.space, 3, back, 8));
	assert_memory_equal(back, "in place", 8);
	ok(pmpt_abort(tx));
	assert_bytes(0, "before", 7);
	assert_int_equal(data_frames(), 1);
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_write(tx, c.space, 1, buf, 600 * P4K - 1));
	ok(bulk_spill(tx));
	ok(pmpt_write(tx, c.space, 3, "in place", 8));
	ok(pmpt_commit(tx, NULL));
	assert_bytes(3, "in place", 8);
	assert_bytes(11, buf + 10, 500 * P4K);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void test_bad_input(void **state)
{
	const void *page = buf;
	pmpt_tx *tx;

	(void)state;
	/* nothing is nothing, but an address is one */
	ok(pmpt_write(NULL, c.space, 3, NULL, 0));
	ok(pmpt_read(NULL, c.space, 3, NULL, 0));
	fails(pmpt_write(NULL, c.space, (uint64_t)1 << 47, NULL, 0), PMPT_E_ADDRESS);
	fails(pmpt_read(NULL, c.space, (uint64_t)1 << 47, back, 1), PMPT_E_ADDRESS);
	fails(pmpt_write(NULL, c.space, ((uint64_t)1 << 47) - 4, buf, 5), PMPT_E_ADDRESS);
	fails(pmpt_read(NULL, c.space, ((uint64_t)1 << 47) - 4, back, 5), PMPT_E_ADDRESS);
	fails(pmpt_write(NULL, c.space, UINT64_MAX - 3, buf, 5), PMPT_E_ADDRESS);
	fails(pmpt_read(NULL, c.space, UINT64_MAX - 3, back, 5), PMPT_E_ADDRESS);
	fails(pmpt_write(NULL, c.space, 0, buf, SIZE_MAX), PMPT_E_ADDRESS);
	fails(pmpt_read(NULL, c.space, 0, back, SIZE_MAX), PMPT_E_ADDRESS);
	ok(pmpt_write(NULL, c.space, ((uint64_t)1 << 47) - 4, buf, 4)); /* the ends of the halves */
	ok(pmpt_write(NULL, c.space, UINT64_MAX - 3, buf, 4));
	assert_bytes(UINT64_MAX - 3, buf, 4);
	/* a page that may not be written */
	ok(pmpt_map(NULL, c.space, P4K, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_X | PMPT_ZERO));
	fails(pmpt_write(NULL, c.space, P4K - 1, buf, 2), PMPT_E_DENIED_WRITE);
	assert_non_null(strstr(pmpt_errormsg(), "0x1000 is not writable"));
	assert_zero(0, 2 * P4K);
	ok(pmpt_map(NULL, c.space, 7 * P2M, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_DEMAND));
	fails(pmpt_write(NULL, c.space, 7 * P2M, buf, 2), PMPT_E_DENIED_WRITE);
	/* one that is not the pool's, of each size */
	ok(pmpt_map(NULL, c.space, P2M, 1, 7, RW | PMPT_EXT));
	ok(pmpt_map(NULL, c.space, 2 * P2M, 1, 512, RW | PMPT_EXT | PMPT_2M));
	for (uint64_t va = P2M; va <= 2 * P2M; va += P2M) {
		fails(pmpt_write(NULL, c.space, va + 5, buf, 2), PMPT_E_FRAME);
		fails(pmpt_read(NULL, c.space, va + 5, back, 2), PMPT_E_FRAME);
		fails(pmpt_write(NULL, c.space, va, buf, P4K), PMPT_E_FRAME);
		pmpt_read_begin(c.pool);
		fails(pmpt_page_ptr(NULL, c.space, va, &page), PMPT_E_FRAME);
		pmpt_read_end(c.pool);
	}
	assert_ptr_equal(page, buf);
	/* a transaction that is over, one of another pool */
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_abort(tx));
	fails(pmpt_write(tx, c.space, 0, buf, 1), PMPT_E_TX_STATE);
	/* a pointer outside of a section */
	fails(pmpt_page_ptr(NULL, c.space, 0, &page), -EINVAL);
	pmpt_read_begin(c.pool);
	fails(pmpt_page_ptr(NULL, c.space, (uint64_t)1 << 47, &page), PMPT_E_ADDRESS);
	pmpt_read_end(c.pool);
}

static void test_two_pools(void **state)
{
	struct core other;
	pmpt_tx *tx;

	(void)state;
	core_make(&other, 64, 8, 16);
	ok(pmpt_begin(other.pool, 0, &tx));
	fails(pmpt_write(tx, c.space, 0, buf, 1), -EINVAL);
	fails(pmpt_tx_read(tx, c.space, 0, back, 1), -EINVAL);
	fails(pmpt_fault(tx, c.space, 0, PMPT_R, NULL), -EINVAL);
	ok(pmpt_abort(tx));
	core_free(&other);
}

/* Out of frames, or of log, in the middle: the transaction is as before the call. */
static void test_no_room(void **state)
{
	uint64_t free_frames;
	pmpt_tx *tx;

	(void)state;
	free_frames = core_stats(&c).frames_free;
	char *large = calloc(1, (free_frames + 100) * P4K);

	assert_non_null(large);
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_write(tx, c.space, 0, "there", 6));
	fails(pmpt_write(tx, c.space, 3, large, (free_frames + 1) * P4K), PMPT_E_NO_FRAMES);
	ok(pmpt_tx_read(tx, c.space, 0, back, 6));
	assert_string_equal(back, "there");
	ok(pmpt_commit(tx, NULL));
	assert_bytes(0, "there", 6);
	assert_int_equal(data_frames(), 1);
	free(large);
}

static void test_too_large(void **state)
{
	struct core small;
	pmpt_tx *tx;
	int rc = 0;

	(void)state;
	core_make(&small, 1024, 8, 16);
	ok(pmpt_begin(small.pool, 0, &tx));
	for (unsigned i = 0; i < 64 && !rc; i += 2) /* apart: no runs */
		rc = pmpt_write(tx, small.space, i * i * P4K, "x", 1);
	fails(rc, PMPT_E_TX_TOO_LARGE);
	ok(pmpt_commit(tx, NULL));
	core_verify(&small);
	core_free(&small);
}

/* ---- without a copy ----------------------------------------------------------------------------- */

static void test_page_ptr(void **state)
{
	const void *page, *zero;
	struct pmpt_mapping m;

	(void)state;
	ok(pmpt_write(NULL, c.space, P4K, buf, P4K));
	ok(pmpt_map(NULL, c.space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M | PMPT_ZERO));
	ok(pmpt_map(NULL, c.space, 4 * P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M | PMPT_DEMAND));
	ok(pmpt_query(c.space, P2M, &m));
	pmpt_read_begin(c.pool);
	ok(pmpt_page_ptr(NULL, c.space, P4K + 77, &page));
	assert_memory_equal(page, buf, P4K);
	ok(pmpt_page_ptr(NULL, c.space, P2M + 3 * P4K + 1, &page));
	assert_ptr_equal(page, pmpt_frame_ptr(c.pool, m.pfn + 3));
	ok(pmpt_page_ptr(NULL, c.space, 0, &zero));
	ok(pmpt_page_ptr(NULL, c.space, 4 * P2M + 9 * P4K, &page));
	assert_ptr_equal(page, zero);
	assert_int_equal(((const char *)zero)[0] | ((const char *)zero)[4095], 0);
	pmpt_read_begin(c.pool); /* they nest */
	pmpt_read_end(c.pool);
	ok(pmpt_page_ptr(NULL, c.space, P4K, &page));
	pmpt_read_end(c.pool);
}

/* A reader keeps its page while a writer replaces it ten thousand times. */
static atomic_bool stop;

static void *writer(void *arg)
{
	static _Thread_local char page[P4K];

	(void)arg;
	for (unsigned i = 1; !atomic_load(&stop); i++) {
		memset(page, (int)(i % 251), P4K);
		ok(pmpt_write(NULL, c.space, P4K, page, P4K));
	}
	return NULL;
}

static void test_beside_a_writer(void **state)
{
	static char page[P4K];
	pthread_t thread;

	(void)state;
	memset(page, 0, P4K);
	ok(pmpt_write(NULL, c.space, P4K, page, P4K));
	atomic_store(&stop, false);
	ok(pthread_create(&thread, NULL, writer, NULL));
	for (unsigned i = 0; i < 20000; i++) {
		const char *at;

		if (i % 2) {
			ok(pmpt_read(NULL, c.space, P4K, page, P4K));
			at = page;
		} else {
			const void *p;

			pmpt_read_begin(c.pool);
			ok(pmpt_page_ptr(NULL, c.space, P4K, &p));
			at = p;
		}
		assert_memory_equal(at, at + 1, P4K - 1); /* one state of the page */
		if (i % 2 == 0)
			pmpt_read_end(c.pool);
	}
	atomic_store(&stop, true);
	ok(pthread_join(thread, NULL));
}

/* ---- demand-zero --------------------------------------------------------------------------------- */

static unsigned n_walked;
static struct pmpt_mapping walked[2048];

static int note_mapping(void *ctx, const struct pmpt_mapping *m)
{
	(void)ctx;
	assert_true(n_walked < 2048);
	walked[n_walked++] = *m;
	return 0;
}

static void walk_all(void)
{
	n_walked = 0;
	ok(pmpt_walk(c.space, 0, 0, note_mapping, NULL));
}

#define DEMAND (RW | PMPT_U | PMPT_TAG(3) | PMPT_PKEY(2) | PMPT_DEMAND)

static void test_demand(void **state)
{
	struct pmpt_mapping m = { .va = 1 };
	uint64_t entry = 5;

	(void)state;
	ok(pmpt_map(NULL, c.space, P4K, 3, PMPT_PFN_ALLOC, DEMAND));
	assert_int_equal(data_frames(), 0);
	fails(pmpt_lookup(c.space, P4K, &entry), PMPT_E_NOT_MAPPED);
	fails(pmpt_query(c.space, P4K, &m), PMPT_E_NOT_MAPPED);
	assert_non_null(strstr(pmpt_errormsg(), "demand-zero"));
	fails(pmpt_access(c.space, P4K, PMPT_R), PMPT_E_DENIED_READ);
	assert_non_null(strstr(pmpt_errormsg(), "demand-zero"));
	assert_zero(P4K, 3 * P4K);
	assert_int_equal(data_frames(), 0);
	fails(pmpt_map(NULL, c.space, 0, 2, PMPT_PFN_ALLOC, RW), PMPT_E_MAPPED);
	walk_all();
	assert_int_equal(n_walked, 3);
	assert_int_equal(walked[2].va, 3 * P4K);
	assert_int_equal(walked[2].flags, DEMAND);
	assert_int_equal(walked[2].pfn, 0);
	ok(pmpt_write(NULL, c.space, 2 * P4K + 9, "x", 1));
	assert_int_equal(data_frames(), 1);
	ok(pmpt_query(c.space, 2 * P4K, &m));
	assert_int_equal(m.flags, DEMAND & ~(unsigned)PMPT_DEMAND);
	assert_zero(P4K, P4K + 9);
	core_reopen(&c, false);
	walk_all();
	assert_int_equal(n_walked, 3);
	/* replaced, either way */
	ok(pmpt_map(NULL, c.space, P4K, 2, PMPT_PFN_ALLOC, PMPT_R | PMPT_DEMAND | PMPT_REPLACE));
	assert_int_equal(data_frames(), 0);
	ok(pmpt_map(NULL, c.space, P4K, 2, 9, PMPT_R | PMPT_EXT | PMPT_REPLACE));
	fails(pmpt_map(NULL, c.space, P1G, 1, 9, PMPT_R | PMPT_DEMAND), -EINVAL);
	fails(pmpt_map(NULL, c.space, P1G, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_EXT | PMPT_DEMAND),
	      -EINVAL);
	ok(pmpt_unmap(NULL, c.space, 0, 8 * P4K));
	assert_int_equal(core_stats(&c).frames_table, 1);
}

/* Spans of 2 MiB and 1 GiB: no table, no frame; they split where a part is changed. */
static void test_demand_huge(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, c.space, P1G, 4, PMPT_PFN_ALLOC, DEMAND | PMPT_1G));
	ok(pmpt_map(NULL, c.space, 8 * P1G, 3, PMPT_PFN_ALLOC, DEMAND | PMPT_2M));
	assert_int_equal(core_stats(&c).frames_table, 3);
	walk_all();
	assert_int_equal(n_walked, 7);
	assert_int_equal(walked[0].flags, DEMAND | PMPT_1G);
	assert_int_equal(walked[6].flags, DEMAND | PMPT_2M);
	fails(pmpt_map(NULL, c.space, P1G + 5 * P4K, 1, 7, RW | PMPT_EXT), PMPT_E_MAPPED);
	ok(pmpt_write(NULL, c.space, P1G + 5 * P4K, "x", 1)); /* split to 4 KiB */
	walk_all();
	assert_int_equal(n_walked, 6 + 511 + 512);
	ok(pmpt_protect(NULL, c.space, 2 * P1G + P2M, P2M, PMPT_R));
	assert_zero(2 * P1G + P2M, P4K);
	fails(pmpt_write(NULL, c.space, 2 * P1G + P2M + 5, "x", 1), PMPT_E_DENIED_WRITE);
	ok(pmpt_write(NULL, c.space, 2 * P1G + 2 * P2M + 5, "x", 1));
	fails(pmpt_collapse(NULL, c.space, 8 * P1G, PMPT_2M), PMPT_E_NOT_MAPPED);
	fails(pmpt_collapse(NULL, c.space, 3 * P1G, PMPT_2M), PMPT_E_NOT_MAPPED);
	fails(pmpt_collapse(NULL, c.space, P1G, PMPT_2M), PMPT_E_NOT_UNIFORM);
	/* moved whole, and in part */
	ok(pmpt_move(NULL, c.space, 3 * P1G, c.space, 32 * P1G, P1G));
	ok(pmpt_move(NULL, c.space, 8 * P1G + P4K, c.space, 40 * P1G, P2M));
	fails(pmpt_move(NULL, c.space, 0, c.space, 32 * P1G, P4K), PMPT_E_MAPPED);
	fails(pmpt_write(NULL, c.space, 3 * P1G - 1, "xy", 2), 0);
	assert_int_equal(data_frames(), 4);
	core_reopen(&c, false);
	core_verify(&c);
	ok(pmpt_unmap(NULL, c.space, 32 * P1G + 3 * P4K, P4K));
	ok(pmpt_unmap(NULL, c.space, 0, 64 * P1G));
	assert_int_equal(data_frames(), 0);
	assert_int_equal(core_stats(&c).frames_table, 1);
}

/* Deleting a space with reservations, splits and pages. */
static void test_demand_delete(void **state)
{
	pmpt_space *t;

	(void)state;
	ok(pmpt_space_create(c.pool, "t", &t));
	ok(pmpt_map(NULL, t, P1G, 2, PMPT_PFN_ALLOC, DEMAND | PMPT_1G));
	ok(pmpt_map(NULL, t, 0, 700, PMPT_PFN_ALLOC, DEMAND));
	ok(pmpt_write(NULL, t, P1G + 12345, buf, 3 * P4K));
	pmpt_space_close(t);
	ok(pmpt_space_delete(c.pool, "t"));
	assert_int_equal(data_frames(), 0);
	assert_int_equal(core_stats(&c).frames_table, 1);
}

/* In a view pages are what they were, at their old frames; over several pages a read has a view of its
 * own. */
static void test_views(void **state)
{
	const void *page, *again;
	pmpt_view *view;
	pmpt_space *young;

	(void)state;
	ok(pmpt_write(NULL, c.space, P4K, buf, 3 * P4K));
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_page_ptr(view, c.space, 2 * P4K, &page));
	ok(pmpt_write(NULL, c.space, 2 * P4K - 5, buf + 777, P4K));
	ok(pmpt_unmap(NULL, c.space, 3 * P4K, P4K));
	ok(pmpt_write(NULL, c.space, 9 * P4K, buf, 1));
	ok(pmpt_space_create(c.pool, "young", &young));
	for (unsigned i = 0; i < 2000; i++) /* frames that were freed are not used again */
		ok(pmpt_write(NULL, young, (i % 7) * P4K, "x", 1));
	ok(pmpt_read(view, c.space, P4K, back, 3 * P4K));
	assert_memory_equal(back, buf, 3 * P4K);
	ok(pmpt_read(view, c.space, 9 * P4K, back, 1));
	assert_int_equal(back[0], 0);
	ok(pmpt_page_ptr(view, c.space, 2 * P4K + 9, &again));
	assert_ptr_equal(again, page);
	assert_memory_equal(page, buf + P4K, P4K);
	assert_bytes(2 * P4K - 5, buf + 777, P4K);
	fails(pmpt_read(view, young, 0, back, 1), PMPT_E_NO_SPACE);
	fails(pmpt_page_ptr(view, young, 0, &page), PMPT_E_NO_SPACE);
	pmpt_view_close(view);
	pmpt_space_close(young);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(test_write_read),    test(test_alignments),
		test(test_many_pages),    test(test_permissions_stay),
		test(test_huge_pages),    test(test_tx_read),
		test(test_abort),         test(test_savepoints),
		test(test_failed_call),   test(test_bulk),
		test(test_bad_input),     test(test_two_pools),
		test(test_no_room),       test(test_too_large),
		test(test_page_ptr),      test(test_beside_a_writer),
		test(test_demand),        test(test_demand_huge),
		test(test_demand_delete), test(test_views),
	};

	return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
