/* SPDX-License-Identifier: BSD-3-Clause */
/* test_cpu -- a processor without SSE4.2: create, open and check say so before they compute a CRC,
 * and leave everything as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"

#define SSE4_2 (1u << 8) /* as libgcc and compiler-rt number it */

/* What __builtin_cpu_supports() looks at. */
extern struct cpu_model {
	unsigned vendor, type, subtype, features[1];
} __cpu_model; /* NOLINT(bugprone-reserved-identifier) */

static unsigned events;

static void on_event(void *ctx, const struct pm_event *event)
{
	(void)ctx, (void)event;
	events++;
}

static void test_no_sse42(void **state)
{
	struct pmpt_check sum;
	pmpt_pool *pool;

	(void)state;
	need_place();
	OK(pmpt_create(path, &smallest, &pool));
	OK(pmpt_close(pool));
	write_at(path, 4096 + 100, "\xff\xff\xff\xff", 4); /* a header that an open would refuse */

	pm_observer = on_event;
	__cpu_model.features[0] &= ~SSE4_2;
	expect_open(PMPT_E_CPU, "SSE4.2");
	expect_refused(pmpt_check(path, NULL, NULL, NULL, &sum), PMPT_E_CPU, "SSE4.2");
	assert_int_equal(unlink(path), 0);
	expect_refused(pmpt_create(path, &smallest, &pool), PMPT_E_CPU, "SSE4.2");
	__cpu_model.features[0] |= SSE4_2;
	pm_observer = NULL;
	assert_int_equal(events, 0);
	assert_int_equal(files_in(dir), 0);
	OK(pmpt_create(path, &smallest, &pool));
	OK(pmpt_close(pool));
}

int main(void)
{
	const struct CMUnitTest tests[] = { ON_TMPFS(test_no_sse42) };

	__builtin_cpu_init();
	return cmocka_run_group_tests_name("cpu", tests, NULL, NULL);
}
