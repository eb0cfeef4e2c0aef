/* SPDX-License-Identifier: BSD-3-Clause */
/* test_swap_model -- a pool with frames for a quarter of the working set, and a swap file for the
 * rest, beside an oracle that knows what every page holds: random writes, reads, unmaps, faults,
 * evictions by the call, by the thread and by whoever runs out; aborted, closed and opened with and
 * without the log between; two spaces.  PMPT_SEED=n replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "core.h"
#include "pool_file.h"
#include "rcu.h"
#include "table.h"

#define P4K    ((uint64_t)4096)
#define SPACES 2
#define PAGES  1200u /* of each space, in tables of 100 */
#define FRAMES 700u  /* of the pool, tables included: about 600 for pages */
#define ROUNDS 40
#define STEPS  120

static struct core c;
static pmpt_space *space[SPACES];
struct page {
	uint32_t with, patch; /* what it was filled with, 0: not mapped; and its last word since */
};
static struct page model[SPACES][PAGES];
static struct page plan[SPACES][PAGES];
static uint32_t serial;
static uint64_t seed;
static char where[PLACE_BYTES], name[PLACE_BYTES + 8];
static struct {
	unsigned long writes, reads, from_file, faults, refused, evicted;
} count;

static uint64_t rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static uint64_t va_of(unsigned page) { return ((uint64_t)(page / 100) * 512 + page % 100) * P4K; }

static void fill(void *page, uint32_t with)
{
	for (unsigned k = 0; k < 512; k++)
		((uint64_t *)page)[k] = (uint64_t)with << 32 | k;
}

/* What is committed there now. */
static struct page read_page(unsigned s, unsigned page)
{
	uint64_t word[512], va = va_of(page), at = va, entry;
	const pm_word *table;
	size_t from = rnd(4) ? 0 : 8 * rnd(500);

	reader_begin();
	table = swap_table(space[s], &at, va + 1);
	entry = table ? word_load(&table[level_index(va, 1)]) : 0;
	reader_end();
	OK(pmpt_read(NULL, space[s], va, word, sizeof(word)));
	OK(pmpt_read(NULL, space[s], va + from, word, sizeof(word) - from)); /* not all of it */
	memmove((char *)word + from, word, sizeof(word) - from);
	if (from)
		OK(pmpt_read(NULL, space[s], va, word, from));
	count.from_file += entry && !(entry & ENTRY_P);
	count.reads++;
	for (unsigned k = 1; k < 511; k++)
		assert_int_equal(word[k], word[0] ? word[0] + k : 0);
	return (struct page){ (uint32_t)(word[0] >> 32), word[511] == (word[0] ? word[0] + 511 : 0)
								 ? 0
								 : (uint32_t)word[511] };
}

static void same_page(unsigned s, unsigned page)
{
	struct page found = read_page(s, page);

	assert_int_equal(found.with, model[s][page].with);
	assert_int_equal(found.patch, model[s][page].patch);
}

static void compare(void)
{
	for (unsigned s = 0; s < SPACES; s++) {
		for (unsigned i = 0; i < PAGES; i++)
			same_page(s, i);
	}
}

/* All of a page, by the library's write or in a frame of the caller's; or its last word. */
static int write_page(pmpt_tx *tx, unsigned s, unsigned page)
{
	uint64_t word[512], pfn = 0, value = ++serial;
	unsigned way = (unsigned)rnd(3);
	int rc;

	if (way == 0 && plan[s][page].with) {
		rc = pmpt_write(tx, space[s], va_of(page) + P4K - 8, &value, 8);
		plan[s][page].patch = rc ? plan[s][page].patch : (uint32_t)value;
		count.writes += !rc;
		return rc;
	}
	fill(word, serial);
	if (way == 1) {
		rc = pmpt_write(tx, space[s], va_of(page), word, sizeof(word));
	} else {
		rc = pmpt_frame_alloc(tx, 1, 1, &pfn);
		if (rc)
			return rc;
		memcpy(pmpt_frame_ptr(c.pool, pfn), word, sizeof(word));
		OK(pmpt_flush(tx, pmpt_frame_ptr(c.pool, pfn), P4K));
		rc = pmpt_map(tx, space[s], va_of(page), 1, pfn, PMPT_R | PMPT_W | PMPT_REPLACE);
	}
	if (!rc) {
		plan[s][page] = (struct page){ serial, 0 };
		count.writes++;
	}
	return rc;
}

static int fault_page(pmpt_tx *tx, unsigned s, unsigned page)
{
	int rc = pmpt_fault(tx, space[s], va_of(page), PMPT_R | (rnd(2) ? PMPT_W : 0), NULL);

	count.faults += !rc;
	if (!plan[s][page].with)
		assert_int_equal(rc, PMPT_E_NOT_MAPPED);
	return rc == PMPT_E_NOT_MAPPED ? 0 : rc;
}

static int step(pmpt_tx *tx)
{
	unsigned s = (unsigned)rnd(SPACES), page = (unsigned)rnd(PAGES);

	switch (rnd(8)) {
	case 0:
		plan[s][page] = (struct page){ 0, 0 };
		return pmpt_unmap(tx, space[s], va_of(page), P4K);
	case 1:
		return fault_page(tx, s, page);
	default:
		return write_page(tx, s, page);
	}
}

static void transaction(void)
{
	uint64_t done;
	pmpt_tx *tx;
	int rc = 0;

	memcpy(plan, model, sizeof(plan));
	OK(pmpt_begin(c.pool, 0, &tx));
	for (uint64_t n = 1 + rnd(12); n && !rc; n--)
		rc = step(tx);
	if (!rc && rnd(8))
		rc = pmpt_commit(tx, NULL);
	else
		OK(pmpt_abort(tx)), rc = rc ? rc : 1;
	if (!rc) {
		memcpy(model, plan, sizeof(plan));
	} else if (rc != 1) { /* its own tables hold what could go; the thread's work */
		assert_true(rc == PMPT_E_NO_FRAMES || rc == PMPT_E_CONFLICT);
		count.refused++;
		OK(pmpt_evict(c.pool, 64, &done));
		count.evicted += done;
	}
}

static void others(void)
{
	unsigned s = (unsigned)rnd(SPACES), page = (unsigned)rnd(PAGES);
	uint64_t done = 0;
	int rc;

	switch (rnd(30)) {
	case 0:
		OK(pmpt_evict(c.pool, rnd(100), &done));
		count.evicted += done;
		break;
	case 1:
		OK(pmpt_swap_out(space[s], va_of(page), P4K * (1 + rnd(50)), NULL));
		break;
	case 2:
		rc = pmpt_swap_in(space[s], va_of(page), P4K * (1 + rnd(50)), NULL);
		assert_true(!rc || rc == PMPT_E_NO_FRAMES || rc == PMPT_E_CONFLICT);
		break;
	default:
		same_page(s, page);
		break;
	}
}

static void reopen(bool checkpoint)
{
	pmpt_space_close(space[1]);
	core_reopen(&c, checkpoint);
	space[0] = c.space;
	OK(pmpt_space_open(c.pool, "t", &space[1]));
}

static void model_passes(void **state)
{
	const char *text = getenv("PMPT_SEED");
	struct pmpt_swap_status st;

	(void)state;
	seed = text ? strtoul(text, NULL, 0) : (uint64_t)time(NULL);
	print_message("seed %lu\n", seed);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned marks = round % 3;

		OK(pmpt_swap_auto(c.pool, marks ? 16 : 0, marks ? 64 : 0));
		for (unsigned i = 0; i < STEPS; i++) {
			transaction();
			others();
		}
		OK(pmpt_swap_auto(c.pool, 0, 0));
		core_verify(&c);
		compare();
		if (round % 4 == 3)
			reopen(round % 8 == 3);
	}
	OK(pmpt_swap_status(c.pool, &st));
	print_message("%lu pages written, %lu read, %lu of them from the file, %lu faults, "
		      "%lu transactions refused, %lu pages evicted by call; %lu out\n",
		      count.writes, count.reads, count.from_file, count.faults, count.refused,
		      count.evicted, st.used);
	assert_true(count.from_file > count.reads / 3);
	assert_true(st.used > PAGES);
	/* room again for all */
	for (unsigned i = 0; i < PAGES; i++) {
		for (unsigned s = 0; s < SPACES && i >= 200; s++) {
			OK(pmpt_unmap(NULL, space[s], va_of(i), P4K));
			model[s][i] = (struct page){ 0, 0 };
		}
	}
	OK(pmpt_swap_off(c.pool));
	compare();
	core_verify(&c);
}

static int setup(void **state)
{
	(void)state;
	if (!place_file(where))
		return -1;
	(void)snprintf(name, sizeof(name), "%s/swap", where);
	core_make(&c, FRAMES, 256, 256);
	space[0] = c.space;
	OK(pmpt_space_create(c.pool, "t", &space[1]));
	OK(pmpt_swap_on(c.pool, name, 2 * PAGES * P4K + 100 * P4K));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pmpt_space_close(space[1]);
	core_free(&c);
	place_remove(where);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(model_passes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
