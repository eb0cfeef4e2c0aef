/* SPDX-License-Identifier: BSD-3-Clause */
/* pm -- see pm.h.  The instructions that make persistent memory persistent are in this file alone.
 *
 * SOURCES: Intel SDM volume 1, 11.5 and 12.10; volume 2, CLWB, CLFLUSHOPT, CLFLUSH, SFENCE,
 * MOVNTDQ.
 */
#include "pm.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"

#ifdef PMPT_TEST
void (*pm_observer)(void *ctx, const struct pm_event *event);
void *pm_observer_ctx;
#endif

/* ---- cache lines ----------------------------------------------------------------------------- */

__attribute__((target("clwb"))) static void lines_clwb(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		_mm_clwb((void *)(line + i * LINE_BYTES));
}

__attribute__((target("clflushopt"))) static void lines_clflushopt(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		_mm_clflushopt((void *)(line + i * LINE_BYTES));
}

static void lines_clflush(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		_mm_clflush(line + i * LINE_BYTES);
}

static void (*lines_flush)(const char *line, size_t n) = lines_clflush;

__attribute__((constructor)) static void choose_flush(void)
{
	unsigned a, b = 0, c, d;

	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return;
	if (b & bit_CLWB)
		lines_flush = lines_clwb;
	else if (b & bit_CLFLUSHOPT)
		lines_flush = lines_clflushopt;
}

/* Read by words: wider loads of what was just stored by words would wait for it. */
static inline void line_stream(char *dst, const char *src)
{
	const long long *word = (const long long *)(const void *)src;

	for (size_t i = 0; i < LINE_BYTES; i += 16, word += 2)
		_mm_stream_si128((__m128i *)(void *)(dst + i), _mm_set_epi64x(word[1], word[0]));
}

/* Of many lines, the widest stores that there are: a store buffer that holds whole lines drains behind what
 * the processor goes on to do. */
__attribute__((target("avx512f"))) static void lines_stream_512(char *dst, const char *src,
								size_t n)
{
	for (size_t i = 0; i < n * LINE_BYTES; i += 64)
		_mm512_stream_si512((__m512i *)(void *)(dst + i), _mm512_loadu_si512(src + i));
}

__attribute__((target("avx"))) static void lines_stream_256(char *dst, const char *src, size_t n)
{
	for (size_t i = 0; i < n * LINE_BYTES; i += 32)
		_mm256_stream_si256((__m256i *)(void *)(dst + i),
				    _mm256_loadu_si256((const __m256i_u *)(const void *)(src + i)));
}

static void lines_stream_128(char *dst, const char *src, size_t n)
{
	for (size_t i = 0; i < n * LINE_BYTES; i += LINE_BYTES)
		line_stream(dst + i, src + i);
}

static void (*lines_stream)(char *dst, const char *src, size_t n) = lines_stream_128;

__attribute__((constructor)) static void choose_stream(void)
{
	__builtin_cpu_init(); /* asks the system, too, whether it keeps those registers */
	if (__builtin_cpu_supports("avx512f"))
		lines_stream = lines_stream_512;
	else if (__builtin_cpu_supports("avx"))
		lines_stream = lines_stream_256;
}

static void lines_zero(char *dst, size_t n)
{
	for (size_t i = 0; i < n * LINE_BYTES; i += 16)
		_mm_stream_si128((__m128i *)(void *)(dst + i), _mm_setzero_si128());
}

/* ---- pages ----------------------------------------------------------------------------------- */

static int range_sync(struct pm *pm, unsigned i)
{
	char *from = pm->medium->base + pm->range[i].first * FRAME_BYTES;
	int none = 0;

	if (!msync(from, (pm->range[i].end - pm->range[i].first) * FRAME_BYTES, MS_SYNC))
		return 0;
	atomic_compare_exchange_strong(&pm->medium->failed, &none, -errno);
	return PMPT_E_IO;
}

/* The two ranges with the smallest gap become one: more pages are synced than need be, none is
 * forgotten. */
static void ranges_merge(struct pm *pm)
{
	unsigned best = 1;

	for (unsigned i = 2; i < pm->n_ranges; i++) {
		if (pm->range[i].first - pm->range[i - 1].end <
		    pm->range[best].first - pm->range[best - 1].end)
			best = i;
	}
	pm->range[best - 1].end = pm->range[best].end;
	memmove(&pm->range[best], &pm->range[best + 1],
		(pm->n_ranges - best - 1) * sizeof(pm->range[0]));
	pm->n_ranges--;
}

/* Remember the pages of [addr, addr + len), ascending and apart. */
static void pages_note(struct pm *pm, const char *addr, size_t len)
{
	uint64_t first = (uint64_t)(addr - pm->medium->base) / FRAME_BYTES;
	uint64_t end = ((uint64_t)(addr - pm->medium->base) + len - 1) / FRAME_BYTES + 1;
	unsigned at = 0, stop;

	while (at < pm->n_ranges && pm->range[at].end < first)
		at++;
	for (stop = at; stop < pm->n_ranges && pm->range[stop].first <= end; stop++) {
		first = pm->range[stop].first < first ? pm->range[stop].first : first;
		end = pm->range[stop].end > end ? pm->range[stop].end : end;
	}
	if (stop == at && pm->n_ranges == PM_RANGES) {
		ranges_merge(pm);
		pages_note(pm, addr, len);
		return;
	}
	memmove(&pm->range[at + 1], &pm->range[stop], (pm->n_ranges - stop) * sizeof(pm->range[0]));
	pm->n_ranges += at + 1 - stop;
	pm->range[at].first = first;
	pm->range[at].end = end;
}

/* ---- the port -------------------------------------------------------------------------------- */

void pm_medium_init(struct pm_medium *medium, void *base, uint64_t bytes, enum pm_backend backend)
{
	*medium = (struct pm_medium){ .base = base, .bytes = bytes, .backend = backend };
}

void pm_init(struct pm *pm, struct pm_medium *medium) { *pm = (struct pm){ .medium = medium }; }

/* The port has one owner: no read-modify-write. */
static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

void pm_flush(struct pm *pm, const void *addr, size_t len)
{
	const char *first = (const char *)((uintptr_t)addr & ~(uintptr_t)(LINE_BYTES - 1));
	size_t n = ((uintptr_t)addr + len - (uintptr_t)first + LINE_BYTES - 1) / LINE_BYTES;

	pm_observe(PM_EV_FLUSH, pm, (void *)(uintptr_t)first, n * LINE_BYTES, 0, NULL);
	count(&pm->count.lines_flushed, n);
	if (pm->medium->backend == PM_CACHE_LINE)
		lines_flush(first, n);
	else
		pages_note(pm, first, n * LINE_BYTES);
}

void pm_stream(struct pm *pm, void *dst, const void *src, size_t n_lines)
{
	pm_observe(PM_EV_STREAM, pm, dst, n_lines * LINE_BYTES, 0, src);
	count(&pm->count.lines_streamed, n_lines);
	if (pm->medium->backend == PM_CACHE_LINE) {
		if (n_lines == 1)
			line_stream(dst, src);
		else
			lines_stream(dst, src, n_lines);
	} else {
		memcpy(dst, src, n_lines * LINE_BYTES);
		pages_note(pm, dst, n_lines * LINE_BYTES);
	}
}

void pm_stream_zero(struct pm *pm, void *dst, size_t n_lines)
{
	pm_observe(PM_EV_STREAM, pm, dst, n_lines * LINE_BYTES, 0, NULL);
	count(&pm->count.lines_streamed, n_lines);
	if (pm->medium->backend == PM_CACHE_LINE) {
		lines_zero(dst, n_lines);
	} else {
		memset(dst, 0, n_lines * LINE_BYTES);
		pages_note(pm, dst, n_lines * LINE_BYTES);
	}
}

int pm_fence(struct pm *pm)
{
	int rc = 0;

	pm_observe(PM_EV_FENCE, pm, NULL, 0, 0, NULL);
	count(&pm->count.fences, 1);
	if (pm->medium->backend == PM_CACHE_LINE) {
		_mm_sfence();
		return 0;
	}
	for (unsigned i = 0; i < pm->n_ranges && !rc; i++)
		rc = range_sync(pm, i);
	pm->n_ranges = 0;
	if (!rc && !atomic_load(&pm->medium->failed))
		return 0;
	return error_set(PMPT_E_IO, "msync: %s; the pool is read-only until it is opened again",
			 strerror(-atomic_load(&pm->medium->failed)));
}

int pm_persist(struct pm *pm, const void *addr, size_t len)
{
	pm_flush(pm, addr, len);
	return pm_fence(pm);
}
