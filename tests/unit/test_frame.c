/* SPDX-License-Identifier: BSD-3-Clause */
/* test_frame -- free frames of two extents of which one ends inside a group: every one is given out
 * once, runs and aligned runs lie where they may, what is given back comes again, what waits does
 * not; owners; and which frame numbers are frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "buffer_region.h"
#include "error.h"
#include "frame.h"
#include "replay.h"

#define BYTES    ((uint64_t)12 << 20)
#define EXTENT_1 ((uint64_t)6 << 20)
#define PAGES    (BYTES >> FRAME_SHIFT)

static const struct region_shape shape = {
	.n_lanes = 2, .half_lines = 64, .bulk_lines = 64, .n_spaces = 8, .salt = 5
};
static struct region rg;
static struct mem mem;
static struct wal wal;
static struct frames fr;
static uint8_t taken[PAGES];

static int setup(void **state)
{
	struct pmpt_recovery report;
	uint64_t frames;
	struct pm pm;

	(void)state;
	memset(taken, 0, sizeof(taken));
	buffer_region_make(&rg, BYTES, PM_CACHE_LINE);
	atomic_store(&region_sb(&rg)->extent[0].off, BUFFER_EXTENT_0);
	atomic_store(&region_sb(&rg)->extent[1].off, EXTENT_1);
	assert_int_equal(region_format(&rg, &shape, EXTENT_1 - BUFFER_EXTENT_0), 0);
	pm_init(&pm, &rg.medium);
	assert_int_equal(region_format_extent(&rg, &pm, &shape, 1, EXTENT_1,
					      BYTES - EXTENT_1 - 100 * FRAME_BYTES, &frames),
			 0);
	atomic_store(&region_sb(&rg)->n_extents, 2);
	assert_int_equal(mem_init(&mem), 0);
	assert_int_equal(replay(&rg, &mem, LSN_STEP, &report), 0);
	assert_int_equal(wal_open(&wal, &rg, &mem), 0);
	assert_int_equal(frames_open(&fr, &rg, &mem, &wal), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	frames_close(&fr);
	wal_close(&wal);
	assert_int_equal(atomic_load(&mem.bytes), 0);
	mem_fini(&mem);
	buffer_region_free(&rg);
	return 0;
}

/* Frames that may be given out: of which a descriptor says that they are free. */
static bool may_be_taken(uint64_t pfn)
{
	for (uint64_t i = 0; i < 2; i++) {
		const struct extent_head *h = region_extent(&rg, i);

		if (pfn >= h->first + h->reserved_frames && pfn < h->first + h->frames)
			return true;
	}
	return false;
}

static uint64_t all_frames(void)
{
	uint64_t n = 0;

	for (uint64_t pfn = 0; pfn < PAGES; pfn++)
		n += may_be_taken(pfn);
	return n;
}

static void note(uint64_t pfn, uint64_t n)
{
	for (; n; n--, pfn++) {
		assert_true(pfn < PAGES && may_be_taken(pfn));
		assert_int_equal(taken[pfn]++, 0);
	}
}

static void give(uint64_t pfn, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(taken[pfn + i]--, 1);
	frames_give(&fr, pfn, n);
}

/* ---- one by one, in runs ---------------------------------------------------------------------- */

static void test_singles(void **state)
{
	uint64_t pfn, n = all_frames();

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(frames_take(&fr, (unsigned)i, 1, 1, &pfn), 0);
		note(pfn, 1);
	}
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), PMPT_E_NO_FRAMES);
	give(EXTENT_1 / FRAME_BYTES + 600, 1);
	assert_int_equal(frames_take(&fr, 3, 2, 1, &pfn), PMPT_E_NO_FRAMES);
	assert_int_equal(frames_take(&fr, 3, 1, 1, &pfn), 0);
	assert_int_equal(pfn, EXTENT_1 / FRAME_BYTES + 600);
}

static void test_runs(void **state)
{
	static const uint64_t length[] = { 2, 63, 64, 65, 511, 512, 513, 900 };
	uint64_t pfn;

	(void)state;
	for (size_t i = 0; i < sizeof(length) / sizeof(length[0]); i++) {
		unsigned runs = 0;

		while (!frames_take(&fr, 0, length[i], 1, &pfn)) {
			note(pfn, length[i]);
			runs++;
		}
		if (length[i] <= 512)
			assert_true(runs >= 1); /* a whole group is free somewhere */
		for (uint64_t at = 0; at < PAGES; at++) {
			if (taken[at])
				give(at, 1);
		}
	}
}

/* A run never crosses the end of an extent, nor of a group that is in use. */
static void test_aligned(void **state)
{
	uint64_t pfn, hole, groups = 0;

	(void)state;
	assert_int_equal(frames_take(&fr, 0, 1, 1, &hole), 0);
	while (!frames_take(&fr, 0, 512, 512, &pfn)) {
		assert_int_equal(pfn % 512, 0);
		note(pfn, 512);
		groups++;
	}
	assert_true(groups >= 2);
	give(pfn, 512);
	assert_int_equal(frames_take(&fr, 0, 10, 512, &pfn),
			 0); /* the rest of the group stays free */
	assert_int_equal(pfn % 512, 0);
	note(pfn, 10);
	assert_int_equal(frames_take(&fr, 0, 400, 1, &hole), 0);
	note(hole, 400);
}

/* Take and give at random, PMPT_SEED=n replays it. */
static void test_random(void **state)
{
	const char *given = getenv("PMPT_SEED");
	uint64_t seed = given ? strtoul(given, NULL, 0) : (uint64_t)(uintptr_t)rg.base >> 12;
	struct {
		uint64_t pfn, n;
	} run[400];
	size_t n = 0;
	uint64_t pfn;

	(void)state;
	print_message("replay: PMPT_SEED=%lu\n", seed);
	for (unsigned i = 0; i < 20000; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		uint64_t r = seed >> 33, len = r % 7 ? 1 : 1 + r / 7 % 700;

		if (n < 400 && r % 2 && !frames_take(&fr, (unsigned)r, len, 1, &pfn)) {
			note(pfn, len);
			run[n].pfn = pfn;
			run[n++].n = len;
		} else if (n) {
			size_t k = r / 3 % n;

			give(run[k].pfn, run[k].n);
			run[k] = run[--n];
		}
	}
	while (n--)
		give(run[n].pfn, run[n].n);
	for (n = all_frames(); n; n--)
		assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), 0); /* none is lost */
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), PMPT_E_NO_FRAMES);
}

/* ---- waiting ---------------------------------------------------------------------------------- */

/* F2: a table freed at LSN x waits for a durable checkpoint_lsn >= x, data for a grace period. */
static void test_f2_waiting(void **state)
{
	struct waiting *w = frames_wait_alloc(&fr, 2);
	uint64_t pfn, table, data;

	(void)state;
	assert_non_null(w);
	assert_int_equal(frames_take(&fr, 0, 1, 1, &table), 0);
	assert_int_equal(frames_take(&fr, 0, 1, 1, &data), 0);
	while (!frames_take(&fr, 0, 1, 1, &pfn))
		;
	frames_wait_add(w, table, true);
	frames_wait_add(w, data, false);
	atomic_fetch_add(&wal.next, 5); /* as if five LSNs had been drawn and applied */
	frames_wait(&fr, w, atomic_load(&wal.next) + 2); /* beyond them: not covered yet */
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), PMPT_E_NO_FRAMES);
	assert_int_equal(frames_reclaim(&fr, false), 0); /* not worth it yet */
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), PMPT_E_NO_FRAMES);
	assert_int_equal(frames_reclaim(&fr, true), 0);
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), 0);
	assert_int_equal(pfn, data);
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), PMPT_E_NO_FRAMES);
	atomic_fetch_add(&wal.next, 5);
	assert_int_equal(frames_reclaim(&fr, true), 0); /* its checkpoint covers the LSN now */
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), 0);
	assert_int_equal(pfn, table);
	w = frames_wait_alloc(&fr, 1);
	frames_wait(&fr, w, 9); /* of nothing: it is freed */
	assert_int_equal(atomic_load(&fr.n_waiting), 0);
}

/* ---- zeroed ahead ----------------------------------------------------------------------------- */

static void test_f1_zeroed(void **state)
{
	uint64_t pfn, n = 0;

	(void)state;
	assert_false(frames_take_zeroed(&fr, &pfn));
	memset(region_at(&rg,
			 (region_extent(&rg, 0)->first + region_extent(&rg, 0)->reserved_frames)
				 << FRAME_SHIFT),
	       0xdb, 40 * FRAME_BYTES);
	atomic_fetch_add(&wal.next, 1);
	assert_int_equal(wal_checkpoint(&wal), 0);
	while (frames_take_zeroed(&fr, &pfn)) {
		const uint64_t *word = region_at(&rg, pfn << FRAME_SHIFT);

		note(pfn, 1); /* reserved: nobody else gets it */
		for (unsigned i = 0; i < FRAME_WORDS; i++)
			assert_int_equal(word[i], 0);
		n++;
	}
	assert_in_range(n, 1, FRAMES_ZEROED);
	/* the last resort when nothing else is free */
	atomic_fetch_add(&wal.next, 1);
	assert_int_equal(wal_checkpoint(&wal), 0);
	for (uint64_t left = all_frames() - n; left; left--) {
		assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), 0);
		note(pfn, 1);
	}
	assert_int_equal(frames_take(&fr, 0, 1, 1, &pfn), PMPT_E_NO_FRAMES);
}

/* ---- owners and descriptors ------------------------------------------------------------------- */

static void test_owners(void **state)
{
	uint64_t pfn = region_extent(&rg, 0)->first + 20;
	bool now;

	(void)state;
	assert_int_equal(frames_own(&fr, pfn, 7, &now), 0);
	assert_true(now);
	assert_int_equal(frames_own(&fr, pfn, 7, &now), 0);
	assert_false(now); /* it was its own before */
	assert_int_equal(frames_own(&fr, pfn, 8, &now), PMPT_E_CONFLICT);
	assert_int_equal(frames_own(&fr, pfn + 1, 8, &now), 0);
	frames_disown(&fr, pfn);
	assert_int_equal(frames_own(&fr, pfn, 8, &now), 0);
	assert_true(now);
	assert_int_equal(frames_own(&fr, PAGES + 5, 8, &now), PMPT_E_FRAME);
	assert_int_equal(frames_own(&fr, 3, 8, &now), PMPT_E_FRAME); /* before the first extent */
}

static void test_descriptors(void **state)
{
	(void)state;
	for (uint64_t pfn = 0; pfn < PAGES + 10; pfn++) {
		const struct extent_head *h = NULL;
		pm_word *desc = frames_desc(&fr, pfn);

		for (uint64_t i = 0; i < 2; i++) {
			const struct extent_head *e = region_extent(&rg, i);

			if (pfn - e->first < e->frames)
				h = e;
		}
		if (!h) {
			assert_null(desc);
			assert_int_equal(frames_desc_none(&fr, pfn), PMPT_E_FRAME);
			continue;
		}
		assert_int_equal(region_off(&rg, desc),
				 ((h->first + 1) << FRAME_SHIFT) + 8 * (pfn - h->first));
		assert_int_equal(frames_pfn_of_desc(&fr, region_off(&rg, desc) | WHERE_DESC), pfn);
		assert_int_equal(desc_count(word_load(desc)), !may_be_taken(pfn));
	}
	/* no memory for the index of a group: said so, and tried again */
	frames_close(&fr);
	assert_int_equal(frames_open(&fr, &rg, &mem, &wal), 0);
	atomic_store(&mem_fail_after, 0);
	assert_null(frames_desc(&fr, region_extent(&rg, 1)->first));
	atomic_store(&mem_fail_after, -1);
	assert_int_equal(frames_desc_none(&fr, region_extent(&rg, 1)->first), -ENOMEM);
	assert_non_null(frames_desc(&fr, region_extent(&rg, 1)->first));
}

static void test_extents(void **state)
{
	struct extents list;
	const struct extent_head *head = region_extent(&rg, 1);

	(void)state;
	assert_int_equal(extents_load(&list, &rg, &mem, 2), 0);
	assert_int_equal(list.n, 2);
	for (uint64_t pfn = 0; pfn < PAGES + 10; pfn++) {
		const struct extent *e = extents_find(&list, pfn);

		if (pfn - head->first < head->frames)
			assert_ptr_equal(e, &list.extent[1]);
		else
			assert_true(!e || e == &list.extent[0]);
	}
	assert_null(extents_find(&list, UINT64_MAX));
	extents_free(&list, &mem);
	assert_null(extents_find(&list, head->first));
	assert_int_equal(extents_load(&list, &rg, &mem, 0), PMPT_E_CORRUPT);
	assert_int_equal(extents_load(&list, &rg, &mem, PMPT_EXTENTS_MAX + 1), PMPT_E_CORRUPT);
	assert_int_equal(extents_load(&list, &rg, &mem, 3), PMPT_E_CORRUPT); /* there is none */
	/* twice the same place: they overlap */
	atomic_store(&region_sb(&rg)->extent[2].off, EXTENT_1);
	assert_int_equal(extents_load(&list, &rg, &mem, 3), PMPT_E_CORRUPT);
	assert_int_equal(list.n, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_singles), T(test_runs),        T(test_aligned),
		T(test_random),  T(test_f2_waiting),  T(test_f1_zeroed),
		T(test_owners),  T(test_descriptors), T(test_extents),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
