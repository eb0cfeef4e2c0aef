/* SPDX-License-Identifier: BSD-3-Clause */
/* test_segment -- shared segments: what is written through one mapping is read through all, each with
 * its permissions; forks, moves and parts; how long a segment lives; the errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RW  (PMPT_R | PMPT_W)

static struct core c;
static pmpt_space *other;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 4096, 64, 4096);
	return pmpt_space_create(c.pool, "other", &other);
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	pmpt_space_close(other);
	core_free(&c);
	return 0;
}

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static void reads(pmpt_space *space, uint64_t va, const char *text)
{
	char buf[64] = "";

	ok(pmpt_read(NULL, space, va, buf, strlen(text) + 1));
	assert_string_equal(buf, text);
}

static void writes(pmpt_space *space, uint64_t va, const char *text)
{
	ok(pmpt_write(NULL, space, va, text, strlen(text) + 1));
	reads(space, va, text);
}

static int count(void *ctx, const struct pmpt_segment *s)
{
	struct pmpt_segment *found = ctx;

	*found = *s;
	found->name = NULL;
	return !strcmp(s->name, "seg") ? 7 : 0;
}

static uint64_t mappings(void)
{
	struct pmpt_segment s = { 0 };

	fails(pmpt_segment_list(c.pool, count, &s), 7);
	return s.mappings;
}

/* ---- shared ---------------------------------------------------------------------------------- */

static void test_written_once_read_by_all(void **state)
{
	struct pmpt_mapping m;

	(void)state;
	ok(pmpt_segment_create(c.pool, "seg", 3 * P2M - 5));
	ok(pmpt_segment_map(NULL, c.space, P1G, "seg", RW));
	ok(pmpt_segment_map(NULL, other, 5 * P2M, "seg", PMPT_R | PMPT_U));
	assert_int_equal(mappings(), 2);
	reads(other, 5 * P2M, "");
	writes(c.space, P1G + P2M - 3, "over two pieces");
	reads(other, 6 * P2M - 3, "over two pieces");
	ok(pmpt_query(c.space, P1G + P2M, &m));
	assert_int_equal(m.flags, RW | PMPT_SHARED);
	ok(pmpt_query(other, 6 * P2M, &m));
	assert_int_equal(m.flags, PMPT_R | PMPT_U | PMPT_SHARED);
	ok(pmpt_access(other, 6 * P2M, PMPT_R | PMPT_U));
	fails(pmpt_access(other, 6 * P2M, PMPT_W), PMPT_E_DENIED_WRITE);
	fails(pmpt_access(c.space, P1G + P2M, PMPT_X), PMPT_E_DENIED_EXEC);
	fails(pmpt_write(NULL, other, 6 * P2M, "no", 3), PMPT_E_DENIED_WRITE);
	fails(pmpt_fault(NULL, other, 5 * P2M, PMPT_W, NULL), PMPT_E_DENIED_WRITE);
	/* permissions of one mapping are its own */
	ok(pmpt_protect(NULL, other, 5 * P2M, 3 * P2M, RW));
	writes(other, 5 * P2M + 9, "from the other side");
	reads(c.space, P1G + 9, "from the other side");
	pmpt_space_close(other);
	other = NULL;
	core_reopen(&c, false);
	reads(c.space, P1G + 9, "from the other side");
}

static int setup_one(void **state)
{
	int rc = setup(state);

	ok(pmpt_segment_create(c.pool, "seg", P2M));
	ok(pmpt_segment_map(NULL, c.space, P2M, "seg", RW));
	return rc;
}

static void test_faults_fill_with_zeros(void **state)
{
	struct pmpt_mapping m, n;

	(void)state;
	ok(pmpt_segment_map(NULL, other, 0, "seg", PMPT_R));
	fails(pmpt_query(other, P4K, &m), PMPT_E_NOT_MAPPED);
	ok(pmpt_fault(NULL, other, P4K, PMPT_R, &m));
	ok(pmpt_query(c.space, P2M + P4K, &n));
	assert_int_equal(m.pfn, n.pfn);
	ok(pmpt_fault(NULL, c.space, P2M + P4K, PMPT_W, &n));
	assert_int_equal(m.pfn, n.pfn); /* it is written in place */
	reads(other, P4K, "");
}

static void test_a_fork_goes_on_sharing(void **state)
{
	pmpt_space *fork;

	(void)state;
	writes(c.space, P2M, "before");
	writes(c.space, 0, "private");
	ok(pmpt_space_fork(c.space, "fork", 0, &fork));
	assert_int_equal(mappings(), 1); /* the tables above are shared, too */
	writes(fork, P2M, "after");
	reads(c.space, P2M, "after");
	assert_int_equal(mappings(), 2);
	writes(c.space, 0, "changed");
	reads(fork, 0, "private");
	core_verify(&c);
	pmpt_space_close(fork);
	ok(pmpt_space_delete(c.pool, "fork"));
	assert_int_equal(mappings(), 1);
	reads(c.space, P2M, "after");
}

static void test_one_transaction(void **state)
{
	char buf[8] = "";
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_segment_map(NULL, other, 0, "seg", RW));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_write(tx, c.space, P2M, "one", 4));
	ok(pmpt_tx_read(tx, other, 0, buf, 4));
	assert_string_equal(buf, "one");
	ok(pmpt_write(tx, other, 4, "two", 4));
	reads(other, 0, "");
	ok(pmpt_segment_unmap(tx, other, 0, "seg"));
	ok(pmpt_segment_map(tx, other, 4 * P2M, "seg", PMPT_R));
	ok(pmpt_commit(tx, NULL));
	reads(other, 4 * P2M, "one");
	reads(other, 4 * P2M + 4, "two");
	assert_int_equal(mappings(), 2);
}

/* What a bulk transaction stores home is not committed, and its ranges hide it where it is changed, not
 * from those who map the same segment elsewhere. */
static void test_bulk(void **state)
{
	static const char pages[2 * P4K];
	struct pmpt_mapping m;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_segment_map(NULL, other, 0, "seg", RW));
	writes(c.space, P2M, "old");
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	fails(pmpt_write(tx, c.space, P2M, "new", 4), PMPT_E_SEGMENT);
	assert_non_null(strstr(pmpt_errormsg(), "0x200000"));
	fails(pmpt_write(tx, c.space, P2M - P4K, pages, sizeof(pages)), PMPT_E_SEGMENT);
	fails(pmpt_fault(tx, c.space, P2M + P4K, PMPT_R, NULL), PMPT_E_SEGMENT);
	ok(pmpt_fault(tx, c.space, P2M, PMPT_R, &m));
	ok(pmpt_segment_unmap(tx, other, 0, "seg"));
	ok(pmpt_segment_map(tx, other, P1G, "seg", PMPT_R));
	ok(bulk_spill(tx));
	reads(c.space, P2M, "old");
	ok(pmpt_commit(tx, NULL));
	reads(other, P1G, "old");
}

/* ---- differences ----------------------------------------------------------------------------- */

static int see_change(void *ctx, const struct pmpt_change *change)
{
	*(struct pmpt_change *)ctx = *change;
	return 7;
}

/* Two mappings of a segment permit different things. */
static void test_diff(void **state)
{
	struct pmpt_change change;

	(void)state;
	writes(c.space, P2M + P4K, "here");
	ok(pmpt_segment_map(NULL, other, P2M, "seg", RW));
	ok(pmpt_diff(NULL, c.space, other, see_change, &change));
	ok(pmpt_protect(NULL, other, P2M, P2M, PMPT_R | PMPT_X));
	fails(pmpt_diff(NULL, c.space, other, see_change, &change), 7);
	assert_int_equal(change.va, P2M + P4K);
	assert_int_equal(change.a.flags, RW | PMPT_SHARED);
	assert_int_equal(change.b.flags, PMPT_R | PMPT_X | PMPT_SHARED);
	assert_int_equal(change.a.pfn, change.b.pfn);
}

/* ---- how long it lives ----------------------------------------------------------------------- */

static void test_lives_as_long_as_name_or_mapping(void **state)
{
	uint64_t free;

	(void)state;
	ok(pmpt_checkpoint(c.pool));
	ok(pmpt_space_rename(c.pool, "other", "another"));
	free = core_free_frames(&c);
	for (unsigned order = 0; order < 2; order++) {
		ok(pmpt_segment_create(c.pool, "seg", 2 * P2M));
		ok(pmpt_segment_map(NULL, c.space, P2M, "seg", RW));
		ok(pmpt_segment_map(NULL, other, P2M, "seg", PMPT_R));
		writes(c.space, P2M, "here");
		if (order == 0)
			ok(pmpt_segment_delete(c.pool, "seg"));
		reads(other, P2M, "here");
		if (order == 0)
			fails(pmpt_segment_unmap(NULL, other, P2M, "seg"), PMPT_E_SEGMENT);
		ok(pmpt_unmap(NULL, other, P2M, 2 * P2M));
		reads(c.space, P2M, "here");
		core_verify(&c);
		ok(pmpt_unmap(NULL, c.space, 0, P1G));
		if (order == 1)
			ok(pmpt_segment_delete(c.pool, "seg"));
		ok(pmpt_checkpoint(c.pool));
		core_verify(&c);
		assert_int_equal(core_free_frames(&c), free);
	}
	fails(pmpt_segment_delete(c.pool, "seg"), PMPT_E_SEGMENT);
}

/* With a space that maps it, empty as it may be. */
static void test_deleted_space(void **state)
{
	(void)state;
	ok(pmpt_segment_map(NULL, other, P1G, "seg", RW));
	pmpt_space_close(other);
	other = NULL;
	ok(pmpt_space_delete(c.pool, "other"));
	assert_int_equal(mappings(), 1);
	ok(pmpt_segment_delete(c.pool, "seg"));
	writes(c.space, P2M, "still");
	core_reopen(&c, true);
	reads(c.space, P2M, "still");
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void test_whole_pieces(void **state)
{
	char buf[8];

	(void)state;
	ok(pmpt_segment_create(c.pool, "two", 2 * P2M));
	ok(pmpt_segment_map(NULL, c.space, 4 * P2M, "two", RW));
	writes(c.space, 4 * P2M, "a");
	writes(c.space, 5 * P2M, "b");
	fails(pmpt_map(NULL, c.space, 4 * P2M, 1, PMPT_PFN_ALLOC, RW), PMPT_E_SEGMENT);
	fails(pmpt_map(NULL, c.space, 4 * P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_REPLACE),
	      PMPT_E_SEGMENT);
	fails(pmpt_unmap(NULL, c.space, 4 * P2M, P4K), PMPT_E_SEGMENT);
	fails(pmpt_unmap(NULL, c.space, 3 * P2M, P2M + P4K), PMPT_E_SEGMENT);
	fails(pmpt_protect(NULL, c.space, 4 * P2M, P4K, PMPT_R), PMPT_E_SEGMENT);
	fails(pmpt_move(NULL, c.space, 4 * P2M, other, 0, P4K), PMPT_E_SEGMENT);
	fails(pmpt_move(NULL, c.space, 4 * P2M + P4K, other, P4K, 2 * P4K), PMPT_E_SEGMENT);
	fails(pmpt_move(NULL, other, 8 * P2M, c.space, 4 * P2M + 9 * P4K, P4K), PMPT_E_MAPPED);
	fails(pmpt_collapse(NULL, c.space, 4 * P2M, PMPT_2M), PMPT_E_SEGMENT);
	assert_non_null(strstr(pmpt_errormsg(), "0x800000"));
	ok(pmpt_move(NULL, c.space, 5 * P2M, other, P1G, P2M));
	reads(other, P1G, "b");
	ok(pmpt_unmap(NULL, c.space, 4 * P2M, P2M));
	ok(pmpt_read(NULL, c.space, 4 * P2M, buf, 1));
	assert_int_equal(buf[0], 0);
	ok(pmpt_protect(NULL, other, P1G, P2M, PMPT_R));
	fails(pmpt_write(NULL, other, P1G, "c", 2), PMPT_E_DENIED_WRITE);
	ok(pmpt_map(NULL, other, P1G, 1, 512, PMPT_R | PMPT_EXT | PMPT_2M | PMPT_REPLACE));
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_errors(void **state)
{
	char name[80];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	fails(pmpt_segment_create(c.pool, name, P2M), PMPT_E_NAME);
	fails(pmpt_segment_map(NULL, c.space, P1G, name, RW), PMPT_E_NAME);
	fails(pmpt_segment_create(c.pool, "seg", P2M), PMPT_E_EXISTS);
	ok(pmpt_segment_create(c.pool, "s", P2M)); /* names of spaces are others */
	fails(pmpt_segment_create(c.pool, "", P2M), PMPT_E_NAME);
	fails(pmpt_segment_create(c.pool, "\xff", P2M), PMPT_E_NAME);
	fails(pmpt_segment_create(c.pool, "x", 0), PMPT_E_ADDRESS);
	fails(pmpt_segment_create(c.pool, "x", UINT64_MAX), PMPT_E_ADDRESS);
	fails(pmpt_segment_create(c.pool, "x", 100 * P1G), PMPT_E_NO_FRAMES);
	fails(pmpt_segment_map(NULL, c.space, P1G, "none", RW), PMPT_E_SEGMENT);
	fails(pmpt_segment_map(NULL, c.space, P1G, "seg", PMPT_W), -EINVAL);
	fails(pmpt_segment_map(NULL, c.space, P4K, "seg", RW), PMPT_E_ADDRESS);
	fails(pmpt_segment_map(NULL, c.space, P2M, "seg", RW), PMPT_E_MAPPED);
	ok(pmpt_map(NULL, c.space, P1G + 5 * P4K, 1, 1, PMPT_R | PMPT_EXT));
	fails(pmpt_segment_map(NULL, c.space, P1G, "seg", RW), PMPT_E_MAPPED);
	fails(pmpt_segment_unmap(NULL, c.space, P1G, "seg"), PMPT_E_SEGMENT);
	ok(pmpt_segment_unmap(NULL, c.space, P2M, "seg"));
	fails(pmpt_segment_unmap(NULL, c.space, P2M, "seg"), PMPT_E_SEGMENT); /* twice */
	assert_non_null(strstr(pmpt_errormsg(), "not mapped at 0x200000"));
	fails(pmpt_space_open(c.pool, "seg", &other), PMPT_E_NO_SPACE);
	fails(pmpt_space_delete(c.pool, "seg"), PMPT_E_NO_SPACE);
}

static void test_open_transaction(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_segment_map(tx, other, P1G, "seg", RW));
	fails(pmpt_segment_delete(c.pool, "seg"), PMPT_E_BUSY);
	ok(pmpt_abort(tx));
	assert_int_equal(mappings(), 1);
	ok(pmpt_segment_delete(c.pool, "seg"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_written_once_read_by_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults_fill_with_zeros, setup_one, teardown),
		cmocka_unit_test_setup_teardown(test_a_fork_goes_on_sharing, setup_one, teardown),
		cmocka_unit_test_setup_teardown(test_one_transaction, setup_one, teardown),
		cmocka_unit_test_setup_teardown(test_bulk, setup_one, teardown),
		cmocka_unit_test_setup_teardown(test_diff, setup_one, teardown),
		cmocka_unit_test_setup_teardown(test_lives_as_long_as_name_or_mapping, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_deleted_space, setup_one, teardown),
		cmocka_unit_test_setup_teardown(test_whole_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup_one, teardown),
		cmocka_unit_test_setup_teardown(test_open_transaction, setup_one, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
