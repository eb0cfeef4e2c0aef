/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pm -- lines are counted, events told, and the page backend syncs every page it was
 * told of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "buffer_region.h"
#include "error.h"

#define BYTES ((uint64_t)4 << 20)
#define PAGES (BYTES / FRAME_BYTES)

/* ---- the machine --------------------------------------------------------------------------- */

static struct region rg;
static struct pm pm;
static struct pm_event seen[8];
static unsigned n_seen;

static void observe(void *ctx, const struct pm_event *event)
{
	(void)ctx;
	if (n_seen < 8)
		seen[n_seen] = *event;
	n_seen++;
}

/* The library's msync() comes here. */
static struct {
	uint64_t first, end;
} synced[PM_RANGES + 1];
static unsigned n_synced;
static int sync_error;

int msync(void *addr, size_t len, int flags)
{
	uint64_t off = region_off(&rg, addr);

	assert_int_equal(flags, MS_SYNC);
	assert_int_equal(off % FRAME_BYTES, 0);
	assert_int_equal(len % FRAME_BYTES, 0);
	assert_true(region_has(&rg, off, len) && len > 0);
	assert_true(n_synced < sizeof(synced) / sizeof(synced[0]));
	synced[n_synced].first = off / FRAME_BYTES;
	synced[n_synced++].end = (off + len) / FRAME_BYTES;
	errno = sync_error;
	return sync_error ? -1 : 0;
}

static void begin(enum pm_backend backend)
{
	buffer_region_make(&rg, BYTES, backend);
	pm_init(&pm, &rg.medium);
	pm_observer = observe;
	n_seen = n_synced = 0;
	sync_error = 0;
}

static int setup_lines(void **state)
{
	(void)state;
	begin(PM_CACHE_LINE);
	return 0;
}

static int setup_pages(void **state)
{
	(void)state;
	begin(PM_PAGE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pm_observer = NULL;
	buffer_region_free(&rg);
	return 0;
}

static void expect_event(unsigned i, enum pm_event_kind kind, uint64_t off, size_t len)
{
	assert_true(i < n_seen);
	assert_int_equal(seen[i].kind, kind);
	assert_ptr_equal(seen[i].pm, &pm);
	assert_ptr_equal(seen[i].addr, rg.base + off);
	assert_int_equal(seen[i].len, len);
}

static void expect_synced(unsigned i, uint64_t first, uint64_t end)
{
	assert_true(i < n_synced);
	assert_int_equal(synced[i].first, first);
	assert_int_equal(synced[i].end, end);
}

/* ---- lines --------------------------------------------------------------------------------- */

/* On either backend: the lines that a range touches, whole. */
static void test_flush(void **state)
{
	static const struct {
		uint64_t off, len, line, lines;
	} c[] = {
		{ 0, 1, 0, 1 },
		{ 0, 64, 0, 1 },
		{ 0, 65, 0, 2 },
		{ 63, 1, 0, 1 },
		{ 63, 2, 0, 2 },
		{ 64, 8, 64, 1 },
		{ 60, 8, 0, 2 },
		{ 100, 200, 64, 4 },
		{ 0, 4096, 0, 64 },
		{ 1, 4096, 0, 65 },
		{ BYTES - 1, 1, BYTES - 64, 1 },
		{ 0, BYTES, 0, BYTES / 64 },
	};
	uint64_t lines = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		n_seen = 0;
		pm_flush(&pm, rg.base + c[i].off, c[i].len);
		lines += c[i].lines;
		assert_int_equal(n_seen, 1);
		expect_event(0, PM_EV_FLUSH, c[i].line, c[i].lines * LINE_BYTES);
		assert_int_equal(pm.count.lines_flushed, lines);
	}
	assert_int_equal(pm.count.lines_streamed, 0);
	assert_int_equal(pm.count.fences, 0);
}

static void test_stream(void **state)
{
	_Alignas(LINE_BYTES) unsigned char src[3 * LINE_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (unsigned char)(i * 7 + 1);
	memset(rg.base, 0x55, FRAME_BYTES);
	pm_stream(&pm, rg.base + 128, src, 3);
	pm_stream_zero(&pm, rg.base + 1024, 2);
	assert_int_equal(pm_fence(&pm), 0);
	assert_memory_equal(rg.base + 128, src, sizeof(src));
	assert_int_equal((unsigned char)rg.base[127], 0x55);
	assert_int_equal((unsigned char)rg.base[128 + sizeof(src)], 0x55);
	for (size_t i = 0; i < 128; i++)
		assert_int_equal(rg.base[1024 + i], 0);
	assert_int_equal((unsigned char)rg.base[1023], 0x55);
	assert_int_equal((unsigned char)rg.base[1152], 0x55);

	assert_int_equal(n_seen, 3);
	expect_event(0, PM_EV_STREAM, 128, sizeof(src));
	assert_ptr_equal(seen[0].src, src);
	expect_event(1, PM_EV_STREAM, 1024, 128);
	assert_null(seen[1].src);
	assert_int_equal(seen[2].kind, PM_EV_FENCE);
	assert_int_equal(pm.count.lines_streamed, 5);
	assert_int_equal(pm.count.lines_flushed, 0);
	assert_int_equal(pm.count.fences, 1);
}

static void test_persist(void **state)
{
	(void)state;
	assert_int_equal(pm_persist(&pm, rg.base + 8, 8), 0);
	assert_int_equal(n_seen, 2);
	expect_event(0, PM_EV_FLUSH, 0, 64);
	assert_int_equal(seen[1].kind, PM_EV_FENCE);
	assert_int_equal(pm.count.lines_flushed, 1);
	assert_int_equal(pm.count.fences, 1);
}

static void test_lines_need_no_msync(void **state)
{
	(void)state;
	sync_error = ENOSPC;
	pm_flush(&pm, rg.base, BYTES);
	assert_int_equal(pm_fence(&pm), 0);
	assert_int_equal(n_synced, 0);
}

/* ---- stores -------------------------------------------------------------------------------- */

static void test_store(void **state)
{
	pm_word *word = (pm_word *)(void *)(rg.base + 512);

	(void)state;
	pm_store(&pm, word, 77);
	assert_int_equal(atomic_load(word), 77);
	assert_int_equal(n_seen, 1);
	expect_event(0, PM_EV_STORE, 512, 8);
	assert_int_equal(seen[0].value, 77);
	assert_int_equal(pm.count.lines_flushed + pm.count.lines_streamed + pm.count.fences, 0);
}

/* A walker's A and D stay while the frame does, and go with it. */
static void test_store_entry(void **state)
{
	static const struct {
		uint64_t old, new, left;
	} c[] = {
		{ 0x5000 | ENTRY_P | ENTRY_A | ENTRY_D, 0x5000 | ENTRY_P | ENTRY_W,
		  0x5000 | ENTRY_P | ENTRY_W | ENTRY_A | ENTRY_D },
		{ 0x5000 | ENTRY_P | ENTRY_A, 0x5000 | ENTRY_P, 0x5000 | ENTRY_P | ENTRY_A },
		{ 0x5000 | ENTRY_P | ENTRY_A | ENTRY_D, 0x6000 | ENTRY_P, 0x6000 | ENTRY_P },
		{ 0x5000 | ENTRY_P | ENTRY_A | ENTRY_D, 0, 0 },
		{ 0, 0x5000 | ENTRY_P | ENTRY_W, 0x5000 | ENTRY_P | ENTRY_W },
	};
	pm_word *word = (pm_word *)(void *)rg.base;

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		n_seen = 0;
		atomic_store(word, c[i].old);
		pm_store_entry(&pm, word, c[i].new);
		assert_int_equal(atomic_load(word), c[i].left);
		assert_int_equal(n_seen, 1);
		expect_event(0, PM_EV_STORE, 0, 8);
		assert_int_equal(seen[0].value, c[i].left);
	}
}

/* ---- pages --------------------------------------------------------------------------------- */

static void test_nothing_to_sync(void **state)
{
	(void)state;
	assert_int_equal(pm_fence(&pm), 0);
	assert_int_equal(n_synced, 0);
	pm_flush(&pm, rg.base, 1);
	assert_int_equal(pm_fence(&pm), 0);
	assert_int_equal(n_synced, 1);
	assert_int_equal(pm_fence(&pm), 0);
	assert_int_equal(n_synced, 1);
	assert_int_equal(pm.count.fences, 3);
}

/* Ranges come in any order, and become one where they touch or overlap. */
static void test_ranges_merge(void **state)
{
	(void)state;
	pm_flush(&pm, rg.base + 10 * FRAME_BYTES, 8);
	pm_flush(&pm, rg.base + 2 * FRAME_BYTES + 4095, 2);   /* 2 and 3 */
	pm_stream_zero(&pm, rg.base + 20 * FRAME_BYTES, 128); /* 20 and 21 */
	pm_flush(&pm, rg.base + 11 * FRAME_BYTES, FRAME_BYTES);
	pm_flush(&pm, rg.base + 9 * FRAME_BYTES, FRAME_BYTES);
	pm_flush(&pm, rg.base + 21 * FRAME_BYTES, 8);
	assert_int_equal(pm_fence(&pm), 0);
	assert_int_equal(n_synced, 3);
	expect_synced(0, 2, 4);
	expect_synced(1, 9, 12);
	expect_synced(2, 20, 22);

	n_synced = 0;
	pm_flush(&pm, rg.base, 8);
	pm_flush(&pm, rg.base + 2 * FRAME_BYTES, 8);
	pm_flush(&pm, rg.base + 4 * FRAME_BYTES, 8);
	pm_flush(&pm, rg.base + FRAME_BYTES, 3 * FRAME_BYTES); /* the bridge */
	assert_int_equal(pm_fence(&pm), 0);
	assert_int_equal(n_synced, 1);
	expect_synced(0, 0, 5);
}

/* With one range too many the two nearest become one. */
static void test_ranges_full(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PM_RANGES; i++)
		pm_flush(&pm, rg.base + (10 * i + (i == 5)) * FRAME_BYTES, 8);
	pm_flush(&pm, rg.base + 500 * FRAME_BYTES, 8);
	assert_int_equal(pm_fence(&pm), 0);
	assert_int_equal(n_synced, PM_RANGES);
	expect_synced(4, 40, 41);
	expect_synced(5, 51, 61); /* 51 and 60 were nearest */
	expect_synced(6, 70, 71);
	expect_synced(PM_RANGES - 1, 500, 501);
}

/* Against a plain array: whatever is flushed and streamed, each of its pages is synced. */
static void test_ranges_random(void **state)
{
	unsigned seed = 20240607;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		bool touched[PAGES] = { false };
		unsigned n = 1 + (unsigned)rand_r(&seed) % 60;

		n_synced = 0;
		while (n--) {
			uint64_t off = (uint64_t)rand_r(&seed) % (BYTES - 64);
			uint64_t len = 1 + (uint64_t)rand_r(&seed) % (3 * FRAME_BYTES);

			len = len < BYTES - off ? len : BYTES - off;
			pm_flush(&pm, rg.base + off, len);
			for (uint64_t p = off / FRAME_BYTES; p <= (off + len - 1) / FRAME_BYTES;
			     p++)
				touched[p] = true;
		}
		assert_int_equal(pm_fence(&pm), 0);
		assert_in_range(n_synced, 1, PM_RANGES);
		for (unsigned i = 0; i < n_synced; i++) {
			assert_true(i == 0 || synced[i].first > synced[i - 1].end);
			for (uint64_t p = synced[i].first; p < synced[i].end; p++)
				touched[p] = false;
		}
		for (uint64_t p = 0; p < PAGES; p++) {
			if (touched[p])
				fail_msg("round %u: page %lu was not synced", round, p);
		}
	}
}

/* The first failure stays: each later fence fails, of this port and of others. */
static void test_sync_fails(void **state)
{
	struct pm other;

	(void)state;
	pm_init(&other, &rg.medium);
	pm_flush(&pm, rg.base, 8);
	assert_int_equal(pm_fence(&pm), 0);
	sync_error = ENOSPC;
	pm_flush(&pm, rg.base, 8);
	pm_flush(&pm, rg.base + 10 * FRAME_BYTES, 8);
	assert_int_equal(pm_fence(&pm), PMPT_E_IO);
	assert_non_null(strstr(pmpt_errormsg(), strerror(ENOSPC)));
	assert_int_equal(rg.medium.failed, -ENOSPC);

	sync_error = EIO;
	pm_flush(&other, rg.base, 8);
	assert_int_equal(pm_fence(&other), PMPT_E_IO);
	assert_non_null(strstr(pmpt_errormsg(), strerror(ENOSPC)));
	assert_int_equal(rg.medium.failed, -ENOSPC);

	sync_error = 0;
	assert_int_equal(pm_persist(&other, rg.base, 8), PMPT_E_IO);
	assert_int_equal(pm_fence(&pm), PMPT_E_IO);
}

#define LINES(f) cmocka_unit_test_setup_teardown(f, setup_lines, teardown)
#define PAGED(f)                                            \
	{                                                   \
#f "_pages", f, setup_pages, teardown, NULL \
	}
int main(void)
{
	const struct CMUnitTest tests[] = {
		LINES(test_flush),
		PAGED(test_flush),
		LINES(test_stream),
		PAGED(test_stream),
		LINES(test_persist),
		PAGED(test_persist),
		LINES(test_store),
		LINES(test_store_entry),
		LINES(test_lines_need_no_msync),
		PAGED(test_nothing_to_sync),
		PAGED(test_ranges_merge),
		PAGED(test_ranges_full),
		PAGED(test_ranges_random),
		PAGED(test_sync_fails),
	};

	return cmocka_run_group_tests_name("pm", tests, NULL, NULL);
}
