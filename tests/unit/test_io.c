/* SPDX-License-Identifier: BSD-3-Clause */
/* test_io -- the nth msync fails, for every n, in every kind of change: the call says PMPT_E_IO,
 * readers see what was committed and nothing else, the pool is read-only, it closes, and what the
 * next open finds is the state before the call or the one after it, whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)
#define OUT (7 * P1G)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;
static long sync_fail_after = -1; /* so many more succeed, then all fail */

/* The library's msync() comes here. */
int msync(void *addr, size_t len, int flags)
{
	(void)addr, (void)len;
	assert_int_equal(flags, MS_SYNC);
	if (sync_fail_after < 0 || sync_fail_after-- > 0)
		return 0;
	sync_fail_after = 0;
	errno = ENOSPC;
	return -1;
}

static void reopen(enum pm_backend backend)
{
	c.rg.medium.backend = backend;
	ok(core_open(&c.rg, PMPT_OPEN_NO_GROW, &c.pool));
	ok(pmpt_space_open(c.pool, "s", &c.space));
}

static void make(void)
{
	core_make(&c, 2048, 64, 256);
	pmpt_space_close(c.space);
	ok(core_close(c.pool, true));
	reopen(PM_PAGE);
	ok(pmpt_map(NULL, c.space, 0, 600, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(NULL, c.space, P1G, 1, (uint64_t)1 << 18, RE | PMPT_1G));
	ok(pmpt_map(NULL, c.space, 4 * P1G, 512, 1024, RE));
	ok(pmpt_user_set(NULL, c.space, 0, 1));
}

/* ---- what is there --------------------------------------------------------------------------- */

static int add(void *ctx, const struct pmpt_mapping *m)
{
	uint64_t *hash = ctx;

	*hash = (*hash ^ m->va ^ (m->entry & ~ENTRY_AD)) * 0x9e3779b97f4a7c15u;
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
	uint64_t h = 1, user;

	ok(pmpt_walk(c.space, 0, 0, add, &h));
	ok(pmpt_space_list(c.pool, add_name, &h));
	ok(pmpt_user_get(c.space, 0, &user));
	return h ^ user;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int do_map(void) { return pmpt_map(NULL, c.space, OUT, 700, PMPT_PFN_ALLOC, PMPT_R); }
static int do_replace(void) { return pmpt_map(NULL, c.space, 4 * P1G, 1, 7, RE | PMPT_REPLACE); }
static int do_unmap(void) { return pmpt_unmap(NULL, c.space, 0, P1G); }
static int do_split(void) { return pmpt_protect(NULL, c.space, P1G + P4K, P2M, PMPT_R | PMPT_W); }
static int do_collapse(void) { return pmpt_collapse(NULL, c.space, 4 * P1G, PMPT_2M); }
static int do_move(void) { return pmpt_move(NULL, c.space, P4K, c.space, OUT + 2 * P4K, P2M); }
static int do_user(void) { return pmpt_user_set(NULL, c.space, 0, 5); }
static int do_rename(void) { return pmpt_space_rename(c.pool, "s", "renamed"); }
static int do_checkpoint(void) { return pmpt_checkpoint(c.pool); }

static int do_create(void)
{
	pmpt_space *s;
	int rc = pmpt_space_create(c.pool, "t", &s);

	if (!rc)
		pmpt_space_close(s);
	return rc;
}

/* Commits until the halves of the lane are full and have to wait for a checkpoint. */
static int do_halves(void)
{
	int rc = 0;

	for (uint64_t i = 0; i < 140 && !rc; i++)
		rc = pmpt_user_set(NULL, c.space, 1, i + 1);
	return rc;
}

static int bulk(bool commit)
{
	pmpt_tx *tx;
	int rc, ended;

	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	rc = pmpt_unmap(tx, c.space, 0, P1G);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_map(tx, c.space, OUT, 6, PMPT_PFN_ALLOC, PMPT_R);
	if (!rc)
		rc = bulk_spill(tx);
	if (!rc)
		rc = pmpt_protect(tx, c.space, 4 * P1G, P4K, PMPT_R | PMPT_W);
	if (!rc)
		return commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
	ended = pmpt_abort(tx);
	assert_true(ended == PMPT_E_IO || !ended); /* not durably, or there was nothing to undo */
	return rc;
}
static int do_bulk(void) { return bulk(true); }
static int do_bulk_abort(void) { return bulk(false); }

/* ---- the nth --------------------------------------------------------------------------------- */

static void expect_read_only(void)
{
	pmpt_tx *tx;

	fails(pmpt_begin(c.pool, 0, &tx), PMPT_E_READ_ONLY);
	fails(pmpt_user_set(NULL, c.space, 0, 9), PMPT_E_READ_ONLY);
	fails(pmpt_checkpoint(c.pool), PMPT_E_READ_ONLY);
	assert_non_null(strstr(pmpt_errormsg(), "msync"));
}

static int setup(void **state)
{
	(void)state;
	sync_fail_after = -1;
	return 0;
}

/* What the next open finds. */
static uint64_t recovered(void)
{
	pmpt_space_close(c.space);
	(void)core_close(c.pool, false);
	sync_fail_after = -1;
	core_verify(&c);
	reopen(PM_PAGE);
	return hash();
}

static void nth(int (*call)(void), bool changes)
{
	int rc = PMPT_E_IO;
	long n;

	for (n = 0; rc; n++) {
		uint64_t before, seen, after, found;

		assert_true(n < 400);
		make(); /* the state after the call, first */
		before = hash();
		ok(call());
		after = call == do_rename ? 0 : hash();
		core_free(&c);

		make();
		sync_fail_after = n;
		rc = call();
		seen = hash();
		if (!rc) { /* it has fewer of them */
			sync_fail_after = -1;
			core_free(&c);
			break;
		}
		fails(rc, PMPT_E_IO);
		expect_read_only();
		if (call != do_halves && changes && seen != before && seen != after)
			fail_msg("after msync %ld failed readers see what was never committed", n);
		if (call == do_rename) {
			assert_int_equal(seen, before);
		} else {
			found = recovered();
			if (call != do_halves && found != before && found != after)
				fail_msg("after msync %ld failed a part of the call is there", n);
		}
		if (call == do_rename) { /* the handle's name may be the old or the new one */
			pmpt_space_close(c.space);
			(void)core_close(c.pool, false);
			sync_fail_after = -1;
			core_verify(&c);
			ok(core_open(&c.rg, PMPT_OPEN_NO_GROW, &c.pool));
			if (pmpt_space_open(c.pool, "s", &c.space))
				ok(pmpt_space_open(c.pool, "renamed", &c.space));
		}
		core_free(&c);
	}
	assert_true(n >= 1);
}

#define NTH(f, changes)                    \
	static void test_##f(void **state) \
	{                                  \
		(void)state;               \
		nth(do_##f, changes);      \
	}

NTH(map, true)
NTH(replace, true)
NTH(unmap, true)
NTH(split, true)
NTH(collapse, true)
NTH(move, true)
NTH(user, true)
NTH(rename, true)
NTH(create, true)
NTH(checkpoint, false)
NTH(halves, true)
NTH(bulk, true)
NTH(bulk_abort, false)

/* A close whose checkpoint fails says so, and has closed; the log has it all. */
static void test_close(void **state)
{
	uint64_t before;

	(void)state;
	make();
	before = hash();
	pmpt_space_close(c.space);
	sync_fail_after = 0;
	fails(core_close(c.pool, true), PMPT_E_IO);
	sync_fail_after = -1;
	core_verify(&c);
	reopen(PM_PAGE);
	assert_int_equal(hash(), before);
	core_free(&c);
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_map),        T(test_replace),    T(test_unmap),  T(test_split),
		T(test_collapse),   T(test_move),       T(test_user),   T(test_rename),
		T(test_create),     T(test_checkpoint), T(test_halves), T(test_bulk),
		T(test_bulk_abort), T(test_close),
	};

	return cmocka_run_group_tests_name("the nth msync fails", tests, NULL, NULL);
}
