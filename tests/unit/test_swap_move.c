/* SPDX-License-Identifier: BSD-3-Clause */
/* test_swap_move -- a page on its way out, and who maps its frame by number between the plan and the
 * commit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "swap_disk.h"

#define P4K ((uint64_t)4096)
#define P1G ((uint64_t)1 << 30)
#define RW  (PMPT_R | PMPT_W)

#define ok(x) assert_int_equal(x, 0)

static struct core c;
static bool armed; /* the slot is durable, and no commit has come since */
static int alias;  /* what the mapping returned */

static uint64_t frame_at(uint64_t va)
{
	struct pmpt_mapping m;

	return pmpt_query(c.space, va, &m) ? 0 : m.pfn;
}

/* The first step behind the sync is the commit's, before it has locked a descriptor. */
static void observe(void *ctx, const struct pm_event *e)
{
	(void)ctx;
	if (!armed || e->kind != PM_EV_STEP)
		return;
	armed = false;
	alias = pmpt_map(NULL, c.space, P1G, 1, frame_at(0), RW);
}

static void synced(void) { armed = disk.syncs > 0; }

/* The page stays, or both would be written in place and be no more the same. */
static void test_alias_before_the_commit(void **state)
{
	uint64_t n = 0, pfn;

	(void)state;
	core_make(&c, 1536, 64, 128);
	disk_begin();
	ok(pmpt_swap_on(c.pool, "/swap", 16 * P4K));
	ok(pmpt_write(NULL, c.space, 0, "page", 5));
	ok(pmpt_map(NULL, c.space, P1G + P4K, 1, 7, RW | PMPT_EXT)); /* the tables are there */
	pfn = frame_at(0);
	disk.syncs = 0;
	disk.done = synced;
	alias = -1;
	pm_observer = observe;
	ok(pmpt_swap_out(c.space, 0, P4K, &n));
	pm_observer = NULL;
	disk.done = NULL;
	ok(alias);
	assert_int_equal(n, 0);
	assert_int_equal(frame_at(0), pfn);
	assert_int_equal(frame_at(P1G), pfn);
	core_verify(&c);
	/* alone again it goes */
	ok(pmpt_unmap(NULL, c.space, P1G, P4K));
	ok(pmpt_swap_out(c.space, 0, P4K, &n));
	assert_int_equal(n, 1);
	core_verify(&c);
	ok(pmpt_swap_off(c.pool));
	swap_io = &swap_io_posix;
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_alias_before_the_commit) };

	return cmocka_run_group_tests_name("pages on their way out", tests, NULL, NULL);
}
