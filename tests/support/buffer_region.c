/* SPDX-License-Identifier: BSD-3-Clause */
/* buffer_region -- see buffer_region.h. */
#include "buffer_region.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <cmocka.h>

void buffer_region_make(struct region *rg, uint64_t bytes, enum pm_backend backend)
{
	char *map = mmap(NULL, bytes + 2 * GROUP_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *base;

	assert_ptr_not_equal(map, MAP_FAILED);
	base = map + (GROUP_BYTES - (uintptr_t)map % GROUP_BYTES);
	(void)munmap(map, (size_t)(base - map) - FRAME_BYTES);
	(void)munmap(base + bytes + FRAME_BYTES,
		     (size_t)(map + bytes + 2 * GROUP_BYTES - (base + bytes + FRAME_BYTES)));
	assert_return_code(mprotect(base, bytes, PROT_READ | PROT_WRITE), 0);
	*rg = (struct region){ .base = base, .bytes = bytes, .sb_off = BUFFER_SB_OFF };
	pm_medium_init(&rg->medium, base, bytes, backend);
}

void buffer_region_format(struct region *rg, uint64_t bytes, const struct region_shape *shape)
{
	buffer_region_make(rg, bytes, PM_CACHE_LINE);
	atomic_store(&region_sb(rg)->extent[0].off, BUFFER_EXTENT_0);
	assert_int_equal(region_format(rg, shape, bytes - BUFFER_EXTENT_0), 0);
}

void buffer_region_free(struct region *rg)
{
	(void)munmap(rg->base - FRAME_BYTES, rg->bytes + 2 * FRAME_BYTES);
	rg->base = NULL;
}
