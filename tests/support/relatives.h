/* SPDX-License-Identifier: BSD-3-Clause */
/* relatives -- what tests of forks begin with: a core with a space, room for a child of it, and what is
 * mapped where.  HALF_LINES: of the log, defined before. */
#ifndef TESTS_RELATIVES_H
#define TESTS_RELATIVES_H

#include <cmocka.h>

#include "core.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RW  (PMPT_R | PMPT_W)
#define RWE (RW | PMPT_EXT)

static struct core c;
static pmpt_space *child;

static int setup(void **state)
{
	(void)state;
	core_make(&c, 4096, HALF_LINES, 4096);
	child = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	pmpt_space_close(child);
	core_free(&c);
	return 0;
}

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

__attribute__((unused)) static uint64_t frame_at(pmpt_space *space, uint64_t va)
{
	struct pmpt_mapping m;

	return pmpt_query(space, va, &m) ? 0 : m.pfn + ((va - m.va) >> 12);
}

__attribute__((unused)) static unsigned flags_at(pmpt_space *space, uint64_t va)
{
	struct pmpt_mapping m;

	ok(pmpt_query(space, va, &m));
	return m.flags;
}

#endif
