/* SPDX-License-Identifier: BSD-3-Clause */
/* outside -- stores beside the buffer that a workload declares.
 *
 *	guard page | buffer | filling, to the end of the page | guard page
 *
 * A store that is announced (hooks.c) is named before it takes place.  Others are killed by the guard
 * pages, or are found by what they leave in the filling, when run or an execution is over.
 */
#include "outside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "driver.h"
#include "symbol.h"

#define FILLING 0xa5

unsigned char *outside_first;
size_t outside_bytes;

static unsigned char *filling, filled[PAGE_BYTES]; /* as it is to be */
static size_t n_filling;

void outside_unmap(void)
{
	if (outside_bytes)
		(void)munmap(outside_first, outside_bytes);
	outside_bytes = n_filling = 0;
}

unsigned char *outside_map(void *at, size_t bytes)
{
	size_t whole = (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	unsigned char *buf = at;

	outside_first = buf - PAGE_BYTES;
	outside_bytes = whole + 2 * PAGE_BYTES;
	if (mmap(outside_first, outside_bytes, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mprotect(buf, whole, PROT_READ | PROT_WRITE)) {
		(void)fprintf(stderr, "crashsim: no memory for a buffer of %zu bytes: %s\n", bytes,
			      strerror(errno));
		exit(3);
	}
	filling = buf + bytes;
	n_filling = whole - bytes;
	memset(filled, FILLING, n_filling);
	outside_restore();
	return buf;
}

void outside_restore(void)
{
	if (n_filling)
		memcpy(filling, filled, n_filling);
}

static const char *who(void)
{
	return stage == STAGE_RECOVER ? "recovery" : stage == STAGE_RECORD ? "run" : "setup";
}

void outside_refuse(const void *addr, size_t len, uint64_t site)
{
	ptrdiff_t off = (const unsigned char *)addr - region_base;
	const struct symbol *s = symbol_of(site);
	char text[512], place[200];

	if (!len)
		return;
	(void)snprintf(
		text, sizeof(text),
		"%s stores %zu byte%s at %s0x%zx, outside the buffer of %zu bytes (0x%zx), at %s%s%s",
		who(), len, len == 1 ? "" : "s", off < 0 ? "-" : "+",
		(size_t)(off < 0 ? -off : off), region_bytes, region_bytes,
		symbol_place(s, place, sizeof(place)), s->line ? " in " : "",
		s->line ? s->function : "");
	if (stage == STAGE_RECOVER)
		explore_fail(text);
	record_refuse("%s", text);
}

bool outside_changed(char *text, size_t size)
{
	size_t first = 0, n = 0;

	if (!n_filling || !memcmp(filling, filled, n_filling))
		return false;
	for (size_t i = n_filling; i-- > 0;) {
		if (filling[i] == FILLING)
			continue;
		first = i;
		n++;
	}
	(void)snprintf(
		text, size,
		"%s has changed %zu byte%s at +0x%zx, outside the buffer of %zu bytes (0x%zx), "
		"by code that is not instrumented",
		who(), n, n == 1 ? " unseen" : "s unseen, the first", region_bytes + first,
		region_bytes, region_bytes);
	return true;
}
