/* SPDX-License-Identifier: BSD-3-Clause */
/* test_space_stress -- page writers, readers in views and without, forks and their deletion, mappings
 * of a segment that come and go, and eviction, together on one pool with frames for a part of its
 * pages; meant for ThreadSanitizer as well.
 *
 * INVARIANTS	every page holds one number in all its words
 *		the numbers of the first space are always TOTAL together: in a view, in a fork
 *		so are those of the second and of the segment, in a view
 *		a view and a fork show the same for ever, whoever is deleted first
 *		a page of the segment is the same through all its mappings, in a view
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "core.h"
#include "pool_file.h"

#define P4K     ((uint64_t)4096)
#define P2M     ((uint64_t)2 << 20)
#define PAGES   96u /* of a space; the second one's last SHARED are the segment's */
#define SHARED  16u
#define BALANCE 1000u
#define TOTAL   (PAGES * BALANCE)
#define SEG_VA  (4 * P2M)
#define SEG_TWO (9 * P2M) /* where the first space maps it */
#define WRITERS 2u
#define READERS 2u
#define SECONDS 4

static struct core c;
static pmpt_space *space[2];
static _Atomic bool ending;
static _Atomic unsigned long moves, sums, stale, forks, conflicts, refused, mapped, evicted;
static char where[PLACE_BYTES], name[PLACE_BYTES + 8];

static uint64_t rnd(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % n;
}

/* Page i of a space's numbers: in tables of 16; the last ones of the second are the segment's. */
static uint64_t va_of(unsigned s, unsigned i)
{
	if (s == 1 && i >= PAGES - SHARED)
		return SEG_VA + (i - (PAGES - SHARED)) * P4K;
	return ((uint64_t)1 << 32) + (i / 16) * P2M + (i % 16) * P4K;
}

/* Another was in the way, or there is no frame at the moment. */
static bool later(int rc)
{
	if (rc == PMPT_E_CONFLICT)
		atomic_fetch_add(&conflicts, 1);
	else if (rc == PMPT_E_NO_FRAMES)
		atomic_fetch_add(&refused, 1);
	else
		pool_file_ok(rc, "a call");
	if (rc)
		sched_yield();
	return rc;
}

static int fill(pmpt_tx *tx, pmpt_space *s, uint64_t va, uint64_t number)
{
	uint64_t page[512];

	for (unsigned k = 0; k < 512; k++)
		page[k] = number;
	return pmpt_write(tx, s, va, page, sizeof(page));
}

/* ---- writers --------------------------------------------------------------------------------- */

static int transfer(pmpt_tx *tx, uint64_t *seed)
{
	unsigned s = (unsigned)rnd(seed, 2);
	uint64_t from = va_of(s, (unsigned)rnd(seed, PAGES)),
		 to = va_of(s, (unsigned)rnd(seed, PAGES)), a, b, n;
	/* the segment's pages by either mapping */
	pmpt_space *by = space[s];
	int rc = pmpt_tx_read(tx, by, from, &a, sizeof(a));

	if (!rc)
		rc = pmpt_tx_read(tx, by, to, &b, sizeof(b));
	if (rc || from == to || !a)
		return rc;
	n = 1 + rnd(seed, a);
	/* what was read is of no use once another has come between: the tables are owned then */
	rc = fill(tx, by, from, a - n);
	if (!rc)
		rc = fill(tx, by, to, b + n);
	if (!rc) {
		uint64_t again[2];

		rc = pmpt_read(NULL, by, from, &again[0], 8);
		if (!rc)
			rc = pmpt_read(NULL, by, to, &again[1], 8);
		if (!rc && (again[0] != a || again[1] != b))
			rc = PMPT_E_CONFLICT;
	}
	return rc;
}

static void *writer(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg + 1;

	while (!atomic_load(&ending)) {
		pmpt_tx *tx;
		int rc = pmpt_begin(c.pool, 0, &tx);

		pool_file_ok(rc, "begin");
		rc = transfer(tx, &seed);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		if (rc)
			(void)pmpt_abort(tx);
		if (!later(rc))
			atomic_fetch_add(&moves, 1);
	}
	return NULL;
}

/* ---- readers --------------------------------------------------------------------------------- */

/* The number of a page.  In a section without a copy, unless the page is out. */
static int read_page(const pmpt_view *view, const pmpt_space *s, uint64_t va, bool copy,
		     uint64_t *number)
{
	const void *at = NULL;
	uint64_t page[512];
	int rc = PMPT_E_NOT_MAPPED;

	pmpt_read_begin(c.pool);
	if (!copy)
		rc = pmpt_page_ptr(view, s, va, &at);
	if (!rc)
		memcpy(page, at, sizeof(page));
	pmpt_read_end(c.pool);
	if (rc == PMPT_E_NOT_MAPPED)
		rc = pmpt_read(view, s, va, page, sizeof(page));
	for (unsigned k = 1; k < 512 && !rc; k++) {
		if (page[k] != page[0] && !(view && pmpt_view_user_get(view, s, 0, &page[0])))
			fail_msg("page %#lx: word %u is %lu, the first %lu", va, k, page[k],
				 page[0]);
	}
	*number = page[0];
	return rc;
}

static int sum_of(const pmpt_view *view, unsigned s, bool copy, uint64_t *sum)
{
	int rc = 0;

	*sum = 0;
	for (unsigned i = 0; i < PAGES && !rc; i++) {
		uint64_t number = 0;

		rc = read_page(view, space[s], va_of(s, i), copy, &number);
		*sum += number;
	}
	return rc;
}

static int segment_check(const pmpt_view *view)
{
	int rc = 0;

	for (unsigned i = 0; i < SHARED && !rc; i++) {
		uint64_t a = 0, b = 0;

		rc = read_page(view, space[0], SEG_TWO + i * P4K, true, &a);
		if (!rc)
			rc = read_page(view, space[1], SEG_VA + i * P4K, true, &b);
		if (!rc && a != b)
			fail_msg("page %u of the segment is %lu and %lu", i, a, b);
	}
	return rc;
}

static void *reader(void *arg)
{
	bool copy = arg != NULL;

	while (!atomic_load(&ending)) {
		pmpt_view *view;
		uint64_t sum, one;
		int rc = 0;

		pool_file_ok(pmpt_view_open(c.pool, &view), "view");
		for (unsigned turn = 0; turn < 2 && !rc; turn++) {
			for (unsigned s = 0; s < 2 && !rc; s++) {
				rc = sum_of(view, s, copy, &sum);
				if (!rc && sum != TOTAL)
					fail_msg("space %u: %lu, expected %u", s, sum, TOTAL);
			}
			if (!rc)
				rc = segment_check(view);
		}
		pmpt_view_close(view);
		if (rc != PMPT_E_VIEW_STALE)
			pool_file_ok(rc, "a view");
		atomic_fetch_add(rc ? &stale : &sums, 1);
		pool_file_ok(read_page(NULL, space[0], va_of(0, 3), copy, &one), "a page");
	}
	return NULL;
}

/* ---- forks ----------------------------------------------------------------------------------- */

static bool fork_of(pmpt_space *s, const char *as, unsigned flags, pmpt_space **child)
{
	while (later(pmpt_space_fork(s, as, flags, child))) {
		if (atomic_load(&ending))
			return false;
	}
	atomic_fetch_add(&forks, 1);
	return true;
}

static void numbers(pmpt_space *s, uint64_t number[PAGES])
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		pool_file_ok(read_page(NULL, s, va_of(0, i), i % 2, &number[i]), "a fork's page");
		sum += number[i];
	}
	if (sum != TOTAL)
		fail_msg("a fork: %lu, expected %u", sum, TOTAL);
}

static void same_numbers(pmpt_space *s, const uint64_t number[PAGES])
{
	uint64_t again[PAGES];

	numbers(s, again);
	assert_memory_equal(number, again, sizeof(again));
}

/* A fork, a fork of it or a snapshot; the elder is changed and goes first, or last. */
static void *forker(void *arg)
{
	uint64_t seed = 77;

	(void)arg;
	while (!atomic_load(&ending)) {
		uint64_t number[PAGES];
		pmpt_space *elder, *younger;
		bool first = rnd(&seed, 2);

		if (!fork_of(space[0], "elder", 0, &elder))
			break;
		numbers(elder, number);
		if (!fork_of(elder, "younger", rnd(&seed, 2) ? PMPT_FORK_SNAPSHOT : 0, &younger)) {
			pmpt_space_close(elder);
			break;
		}
		for (unsigned i = 0; i < 8; i++)
			(void)later(fill(NULL, elder, va_of(0, (unsigned)rnd(&seed, PAGES)), 7));
		same_numbers(younger, number);
		pmpt_space_close(elder);
		if (first)
			OK(pmpt_space_delete(c.pool, "elder"));
		same_numbers(younger, number);
		pmpt_space_close(younger);
		OK(pmpt_space_delete(c.pool, "younger"));
		if (!first)
			OK(pmpt_space_delete(c.pool, "elder"));
	}
	return NULL;
}

/* ---- segments, and what there is besides ----------------------------------------------------- */

static void *mapper(void *arg)
{
	uint64_t seed = 5, va = 20 * P2M, number;

	(void)arg;
	while (!atomic_load(&ending)) {
		pmpt_space *s = space[rnd(&seed, 2)];
		int rc;

		if (later(pmpt_segment_map(NULL, s, va, "seg", PMPT_R)))
			continue;
		atomic_fetch_add(&mapped, 1);
		pool_file_ok(read_page(NULL, s, va, rnd(&seed, 2), &number), "a page");
		rc = fill(NULL, s, va, 1); /* behind what else may be in the way */
		if (rc != PMPT_E_DENIED_WRITE && !later(rc))
			fail_msg("a read-only mapping was written");
		(void)later(pmpt_protect(NULL, s, va, P2M, PMPT_R | PMPT_X));
		while (later(pmpt_segment_unmap(NULL, s, va, "seg")))
			;
		/* and one that goes again, with what is in it */
		if (later(pmpt_segment_create(c.pool, "other", P2M)))
			continue;
		if (!later(pmpt_segment_map(NULL, s, va, "other", PMPT_R | PMPT_W))) {
			(void)later(fill(NULL, s, va + 3 * P4K, 3));
			while (later(pmpt_unmap(NULL, s, va, P2M)))
				;
		}
		OK(pmpt_segment_delete(c.pool, "other"));
	}
	return NULL;
}

static void *evictor(void *arg)
{
	uint64_t seed = 3, done = 0;

	(void)arg;
	while (!atomic_load(&ending)) {
		OK(pmpt_evict(c.pool, rnd(&seed, 40), &done));
		atomic_fetch_add(&evicted, done);
		(void)later(pmpt_swap_in(space[1], va_of(1, 0), 16 * P4K, NULL));
		OK(pmpt_checkpoint(c.pool));
		sched_yield();
	}
	return NULL;
}

/* ---- together -------------------------------------------------------------------------------- */

static void together(void **state)
{
	static void *(*const role[])(void *) = { forker, mapper, evictor };
	pthread_t thread[WRITERS + READERS + 3];
	struct pmpt_swap_status st;
	unsigned n = 0;

	(void)state;
	OK(pmpt_swap_auto(c.pool, 24, 48));
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&thread[n++], NULL, writer, (void *)i), 0);
	for (uintptr_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&thread[n++], NULL, reader, (void *)i), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[n++], NULL, role[i], NULL), 0);
	(void)nanosleep(&(struct timespec){ .tv_sec = SECONDS }, NULL);
	atomic_store(&ending, true);
	while (n)
		assert_int_equal(pthread_join(thread[--n], NULL), 0);
	OK(pmpt_swap_auto(c.pool, 0, 0));
	OK(pmpt_swap_status(c.pool, &st));
	print_message("%lu transfers, %lu views summed, %lu stale, %lu forks, %lu mappings, %lu "
		      "evicted by call, %lu pages out and %lu in; %lu conflicts, %lu without "
		      "frames\n",
		      moves, sums, stale, forks, mapped, evicted, st.outs, st.ins, conflicts,
		      refused);
	assert_true(moves > 0 && sums > 0 && forks > 0 && mapped > 0 && st.outs > 0);
	core_verify(&c);
}

/* What was never committed together is not there together after an open either. */
static void total(void)
{
	uint64_t sum;

	for (unsigned s = 0; s < 2; s++) {
		OK(sum_of(NULL, s, true, &sum));
		assert_int_equal(sum, TOTAL);
	}
}

static int setup(void **state)
{
	(void)state;
	if (!place_tmpfs(where))
		return -1;
	(void)snprintf(name, sizeof(name), "%s/swap", where);
	core_make(&c, 320, 256, 256);
	space[0] = c.space;
	OK(pmpt_space_create(c.pool, "t", &space[1]));
	OK(pmpt_swap_on(c.pool, name, 6 * PAGES * P4K));
	OK(pmpt_segment_create(c.pool, "seg", P2M));
	OK(pmpt_segment_map(NULL, space[0], SEG_TWO, "seg", PMPT_R | PMPT_W));
	OK(pmpt_segment_map(NULL, space[1], SEG_VA, "seg", PMPT_R | PMPT_W));
	for (unsigned s = 0; s < 2; s++) {
		for (unsigned i = 0; i < PAGES; i++)
			OK(fill(NULL, space[s], va_of(s, i), BALANCE));
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	total();
	pmpt_space_close(space[1]);
	core_reopen(&c, false);
	space[0] = c.space;
	OK(pmpt_space_open(c.pool, "t", &space[1]));
	total();
	core_verify(&c);
	pmpt_space_close(space[1]);
	core_free(&c);
	place_remove(where);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(together, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
