/* SPDX-License-Identifier: BSD-3-Clause */
/* test_oom -- the nth allocation fails, for every n, in every kind of call: -ENOMEM, what is mapped
 * is as before, the verifier finds nothing, nothing leaks (a leak aborts the close), and the same
 * call succeeds when there is memory again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)
#define OUT (7 * P1G) /* where the calls map new pages */

#define ok(x) assert_int_equal(x, 0)

static struct core c;

static int add(void *ctx, const struct pmpt_mapping *m)
{
	uint64_t *hash = ctx;

	*hash = (*hash ^ m->va ^ m->entry) * 0x9e3779b97f4a7c15u;
	return 0;
}

static int add_name(void *ctx, const char *name)
{
	uint64_t *hash = ctx;

	for (; *name; name++)
		*hash = (*hash ^ (unsigned char)*name) * 0x9e3779b97f4a7c15u;
	return 0;
}

static uint64_t hash(void)
{
	uint64_t h = 0;

	ok(pmpt_walk(c.space, 0, 0, add, &h));
	ok(pmpt_space_list(c.pool, add_name, &h));
	return h + core_stats(&c).frames_data + core_stats(&c).frames_table;
}

/* ---- calls: each leaves things as they were on error ----------------------------------------- */

static int do_map(void)
{
	return pmpt_map(NULL, c.space, OUT, 700, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO);
}
static int do_scattered(void)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (rc)
		return rc;
	for (uint64_t i = 0; i < 40 && !rc; i++)
		rc = pmpt_map(tx, c.space, OUT + i * 2 * P4K, 1, i * i, RE);
	for (uint64_t i = 0; i < 3 && !rc; i++)
		rc = pmpt_map(tx, c.space, OUT + (i + 1) * P1G * 600, 1, PMPT_PFN_ALLOC, PMPT_R);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	if (rc)
		ok(pmpt_abort(tx));
	return rc;
}
static int do_share(void)
{
	struct pmpt_mapping m;

	ok(pmpt_query(c.space, 0, &m));
	return pmpt_map(NULL, c.space, OUT, 60, m.pfn, PMPT_R);
}
static int do_unmap(void) { return pmpt_unmap(NULL, c.space, 0, P1G); }
static int do_split(void) { return pmpt_protect(NULL, c.space, P1G + P4K, P2M, PMPT_R | PMPT_W); }
static int do_collapse(void) { return pmpt_collapse(NULL, c.space, 4 * P1G, PMPT_2M); }
static int do_move(void) { return pmpt_move(NULL, c.space, P4K, c.space, OUT + 2 * P4K, P2M); }
static int do_replace(void)
{
	return pmpt_map(NULL, c.space, 4 * P1G, 1, 512, RE | PMPT_2M | PMPT_REPLACE);
}
static int do_user(void) { return pmpt_user_set(NULL, c.space, 0, 5); }

static int do_savepoints(void)
{
	uint64_t one, two = 0;
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (rc)
		return rc;
	rc = pmpt_savepoint(tx, &one);
	if (!rc)
		rc = pmpt_map(tx, c.space, OUT, 20, PMPT_PFN_ALLOC, PMPT_R);
	if (!rc)
		rc = pmpt_savepoint(tx, &two);
	if (!rc)
		rc = pmpt_unmap(tx, c.space, 0, P1G);
	if (!rc)
		rc = pmpt_map(tx, c.space, OUT, 1, 7, RE | PMPT_REPLACE);
	if (two)
		ok(pmpt_rollback_to(tx, two)); /* takes no memory */
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	if (rc)
		ok(pmpt_abort(tx));
	return rc;
}

static int do_bulk(void)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, PMPT_TX_BULK, &tx);

	if (rc)
		return rc;
	rc = pmpt_unmap(tx, c.space, 0, P1G);
	if (!rc)
		rc = pmpt_map(tx, c.space, OUT, 600, 7, RE);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_map(tx, c.space, OUT + 2 * P1G, 6, PMPT_PFN_ALLOC, PMPT_R);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_move(tx, c.space, OUT, c.space, OUT + P1G, 7 * P4K);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	if (rc)
		ok(pmpt_abort(tx));
	return rc;
}

/* Frames filled in place, then mapped. */
static int do_frames(void)
{
	uint64_t pfn = 0, huge = 0;
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (rc)
		return rc;
	rc = pmpt_frame_alloc(tx, 40, 1, &pfn);
	if (!rc)
		rc = pmpt_frame_alloc(tx, 512, 512, &huge);
	if (!rc)
		rc = pmpt_flush(tx, pmpt_frame_ptr(c.pool, pfn), 40 * P4K);
	if (!rc)
		rc = pmpt_map(tx, c.space, OUT, 40, pfn, PMPT_R);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	if (rc)
		ok(pmpt_abort(tx));
	return rc;
}

static int do_demand(void)
{
	return pmpt_map(NULL, c.space, OUT, 600, PMPT_PFN_ALLOC, PMPT_R | PMPT_DEMAND);
}

/* Pages written and faulted in, of all kinds. */
static int do_write(void)
{
	static const char bytes[40 * 4096];
	pmpt_tx *tx;
	int rc = pmpt_begin(c.pool, 0, &tx);

	if (rc)
		return rc;
	rc = pmpt_protect(tx, c.space, 0, P2M, PMPT_R | PMPT_W);
	if (!rc)
		rc = pmpt_write(tx, c.space, 5, bytes, 20 * P4K);
	if (!rc)
		rc = pmpt_write(tx, c.space, 7, bytes, 20);
	if (!rc)
		rc = pmpt_write(tx, c.space, OUT, bytes, 40 * P4K);
	if (!rc)
		rc = pmpt_map(tx, c.space, OUT + P1G, 1, PMPT_PFN_ALLOC,
			      PMPT_R | PMPT_W | PMPT_DEMAND | PMPT_2M);
	if (!rc)
		rc = pmpt_fault(tx, c.space, OUT + P1G + 9 * P4K, PMPT_W, NULL);
	if (!rc)
		rc = pmpt_commit(tx, NULL);
	if (rc)
		ok(pmpt_abort(tx));
	return rc;
}

static int do_create(void)
{
	pmpt_space *s = NULL;
	int rc = pmpt_space_create(c.pool, "t", &s);

	if (!rc)
		pmpt_space_close(s);
	else
		assert_null(s);
	return rc;
}

/* One of that name is there; it is closed. */
static void one_more(void)
{
	pmpt_space *s;

	if (pmpt_space_create(c.pool, "more", &s))
		return;
	ok(pmpt_map(NULL, s, P1G, 3, 7, RE));
	pmpt_space_close(s);
}

static int do_open(void)
{
	pmpt_space *s = NULL;
	int rc = pmpt_space_open(c.pool, "more", &s);

	if (!rc)
		pmpt_space_close(s);
	else
		assert_null(s);
	return rc;
}

static int do_rename(void) { return pmpt_space_rename(c.pool, "more", "other"); }

static int do_checkpoint(void) { return pmpt_checkpoint(c.pool); }

/* ---- the nth --------------------------------------------------------------------------------- */

/* 600 pages, a huge page of 1 GiB, 512 pages that are one huge page's. */
static void make(void)
{
	core_make(&c, 2048, 64, 256);
	ok(pmpt_map(NULL, c.space, 0, 600, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(NULL, c.space, P1G, 1, (uint64_t)1 << 18, RE | PMPT_1G));
	ok(pmpt_map(NULL, c.space, 4 * P1G, 512, 1024, RE));
}

static void nth(int (*call)(void))
{
	int rc = -ENOMEM;
	long n;

	make();
	for (n = 0; rc; n++) {
		uint64_t before;

		if (call == do_open || call == do_rename)
			one_more();
		before = hash();
		assert_true(n < 2000);
		core_reopen(&c, n % 2); /* with nothing left over from the call before */
		assert_int_equal(hash(), before);
		atomic_store(&mem_fail_after, n);
		rc = call();
		atomic_store(&mem_fail_after, -1);
		if (rc) {
			assert_int_equal(rc, -ENOMEM);
			assert_int_equal(hash(), before);
			if (n % 4 == 0)
				core_verify(&c);
		}
	}
	assert_true(n > 1 || call == do_checkpoint);
	core_verify(&c);
	core_free(&c);
}

#define NTH(f)                             \
	static void test_##f(void **state) \
	{                                  \
		(void)state;               \
		nth(do_##f);               \
	}

NTH(map)
NTH(scattered)
NTH(share)
NTH(unmap)
NTH(split)
NTH(collapse)
NTH(move)
NTH(replace)
NTH(user)
NTH(savepoints)
NTH(bulk)
NTH(frames)
NTH(demand)
NTH(write)
NTH(create)
NTH(open)
NTH(rename)
NTH(checkpoint)

/* What only reads, and what takes back, asks for no memory. */
static void test_none_needed(void **state)
{
	uint64_t entry, va[3] = { 0, P1G, 4 * P1G }, entries[3], word, h = 0;
	struct pmpt_recovery report;
	struct pmpt_mapping m;
	struct pmpt_stats stats;
	pmpt_tx *tx, *bulk;
	char page[2 * 4096];

	(void)state;
	make();
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, OUT, 20, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &bulk));
	ok(pmpt_protect(bulk, c.space, 4 * P1G, P4K, PMPT_R | PMPT_W));
	ok(bulk_spill(bulk));
	atomic_store(&mem_fail_after, 0);
	ok(pmpt_lookup(c.space, 0, &entry));
	ok(pmpt_lookup_batch(c.space, va, 2, entries));
	ok(pmpt_query(c.space, P4K, &m));
	ok(pmpt_tx_query(tx, c.space, OUT, &m));
	ok(pmpt_access(c.space, 0, PMPT_R));
	ok(pmpt_read(NULL, c.space, 0, page, 4096)); /* of more it opens a view */
	assert_int_equal(pmpt_read(NULL, c.space, 0, page, sizeof(page)), -ENOMEM);
	ok(pmpt_tx_read(tx, c.space, OUT, page, sizeof(page)));
	ok(pmpt_walk(c.space, 0, 2 * P1G, add, &h));
	ok(pmpt_user_get(c.space, 0, &word));
	ok(pmpt_space_list(c.pool, add_name, &h));
	ok(pmpt_stats(c.pool, &stats));
	ok(pmpt_recovery_report(c.pool, &report));
	ok(pmpt_abort(tx));
	ok(pmpt_abort(bulk));
	atomic_store(&mem_fail_after, -1);
	core_verify(&c);
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map),         cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_share),       cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_split),       cmocka_unit_test(test_collapse),
		cmocka_unit_test(test_move),        cmocka_unit_test(test_replace),
		cmocka_unit_test(test_user),        cmocka_unit_test(test_savepoints),
		cmocka_unit_test(test_bulk),        cmocka_unit_test(test_checkpoint),
		cmocka_unit_test(test_frames),      cmocka_unit_test(test_demand),
		cmocka_unit_test(test_write),       cmocka_unit_test(test_create),
		cmocka_unit_test(test_open),        cmocka_unit_test(test_rename),
		cmocka_unit_test(test_none_needed),
	};

	return cmocka_run_group_tests_name("the nth allocation fails", tests, NULL, NULL);
}
