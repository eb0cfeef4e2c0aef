/* SPDX-License-Identifier: BSD-3-Clause */
/* core -- see core.h. */
#include "core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "replay.h"

void core_make(struct core *c, uint64_t frames, unsigned half_lines, unsigned bulk_lines)
{
	struct region_shape shape = { .n_lanes = 2,
				      .half_lines = half_lines,
				      .bulk_lines = bulk_lines,
				      .n_spaces = 8,
				      .salt = 0x5eed };

	memset(c, 0, sizeof(*c));
	c->map_bytes = (2 * GROUP_BYTES) + (frames << FRAME_SHIFT);
	c->map =
		mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(c->map != MAP_FAILED);
	c->rg.base = (char *)(((uintptr_t)c->map + GROUP_BYTES - 1) & ~(GROUP_BYTES - 1));
	c->rg.bytes = GROUP_BYTES + (frames << FRAME_SHIFT);
	if (c->rg.base + c->rg.bytes > c->map + c->map_bytes)
		c->rg.base = c->map;
	c->rg.sb_off = 4096;
	pm_medium_init(&c->rg.medium, c->rg.base, c->rg.bytes, PM_CACHE_LINE);
	atomic_store(&region_sb(&c->rg)->extent[0].off, 64 << 10);
	assert_int_equal(region_format(&c->rg, &shape, c->rg.bytes - (64 << 10)), 0);
	assert_int_equal(core_open(&c->rg, PMPT_OPEN_NO_GROW, &c->pool), 0);
	assert_int_equal(pmpt_space_create(c->pool, "s", &c->space), 0);
}

void core_free(struct core *c)
{
	if (c->space)
		pmpt_space_close(c->space);
	assert_int_equal(core_close(c->pool, true), 0);
	munmap(c->map, c->map_bytes);
}

void core_reopen(struct core *c, bool checkpoint)
{
	pmpt_space_close(c->space);
	assert_int_equal(core_close(c->pool, checkpoint), 0);
	assert_int_equal(core_open(&c->rg, PMPT_OPEN_NO_GROW, &c->pool), 0);
	assert_int_equal(pmpt_space_open(c->pool, "s", &c->space), 0);
}

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

void core_verify(struct core *c)
{
	struct check_options o = { .finding = finding };
	struct pmpt_check summary = { 0 };
	struct pmpt_recovery report;
	struct region copy = c->rg;
	struct mem mem;

	copy.base =
		mmap(NULL, copy.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(copy.base != MAP_FAILED);
	memcpy(copy.base, c->rg.base, copy.bytes);
	pm_medium_init(&copy.medium, copy.base, copy.bytes, PM_CACHE_LINE);
	assert_int_equal(mem_init(&mem), 0);
	assert_int_equal(replay(&copy, &mem, LSN_STEP, &report), 0);
	assert_int_equal(check_region(&copy, &mem, &o, &summary), 0);
	assert_int_equal(summary.findings, 0);
	mem_fini(&mem);
	munmap(copy.base, copy.bytes);
}

struct pmpt_stats core_stats(const struct core *c)
{
	struct pmpt_stats s;

	assert_int_equal(pmpt_stats(c->pool, &s), 0);
	return s;
}

uint64_t core_free_frames(const struct core *c)
{
	struct pmpt_stats s = core_stats(c);

	return s.frames_free + s.frames_held;
}
