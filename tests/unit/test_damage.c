/* SPDX-License-Identifier: BSD-3-Clause */
/* test_damage -- words of the tables that are damaged under an open pool: a named error with the
 * offset, never a store or a load outside, and nothing of the call happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "error.h"
#include "table.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;

/* Three pages in three tables below one PD, everything home. */
static int setup(void **state)
{
	(void)state;
	core_make(&c, 1024, 64, 128);
	for (uint64_t i = 0; i < 3; i++)
		ok(pmpt_map(NULL, c.space, i * P2M, 1, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_checkpoint(c.pool));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c); /* the damage was mended by the test, and there is no other */
	core_free(&c);
	return 0;
}

/* The entry of a level over va. */
static pm_word *entry_at(uint64_t va, unsigned level)
{
	uint64_t table = word_load(&c.space->record->root);

	for (unsigned l = 4; l > level; l--)
		table = word_load((pm_word *)region_at(&c.rg, table) + level_index(va, l)) &
			ENTRY_PFN;
	return (pm_word *)region_at(&c.rg, table) + level_index(va, level);
}

static int ignore(void *ctx, const struct pmpt_mapping *m)
{
	(void)ctx, (void)m;
	return 0;
}

static void all_readers(uint64_t va, int error)
{
	struct pmpt_mapping m;
	pmpt_tx *tx;
	uint64_t e;

	fails(pmpt_lookup(c.space, va, &e), error);
	fails(pmpt_lookup_batch(c.space, &va, 1, &e), error);
	fails(pmpt_query(c.space, va, &m), error);
	fails(pmpt_access(c.space, va, PMPT_R), error);
	fails(pmpt_walk(c.space, va, P2M, ignore, NULL), error);
	ok(pmpt_begin(c.pool, 0, &tx));
	fails(pmpt_tx_query(tx, c.space, va, &m), error);
	ok(pmpt_abort(tx));
}

static void all_writers(uint64_t va, int error)
{
	fails(pmpt_map(NULL, c.space, va + P4K, 1, 7, RE), error);
	fails(pmpt_map(NULL, c.space, va, 1, 7, RE | PMPT_REPLACE), error);
	fails(pmpt_unmap(NULL, c.space, va, P4K), error);
	fails(pmpt_protect(NULL, c.space, va, P4K, PMPT_R | PMPT_W), error);
	fails(pmpt_move(NULL, c.space, va, c.space, P1G, P4K), error);
}

/* Writers that take the whole table, whose link is damaged. */
static void whole_table(uint64_t va, int error)
{
	fails(pmpt_unmap(NULL, c.space, va, P2M), error);
	fails(pmpt_map(NULL, c.space, va, 1, 512, RE | PMPT_2M | PMPT_REPLACE), error);
	fails(pmpt_move(NULL, c.space, va, c.space, P1G, P2M), error);
	fails(pmpt_collapse(NULL, c.space, va, PMPT_2M), error);
}

/* The last message names this word. */
static void expect_offset(const pm_word *word)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "at offset %#lx", region_off(&c.rg, (const void *)word));
	if (!strstr(pmpt_errormsg(), text))
		fail_msg("'%s' does not say '%s'", pmpt_errormsg(), text);
}

static void test_link_outside(void **state)
{
	uint64_t e;
	uint64_t good, far = c.rg.bytes;

	(void)state;
	for (unsigned level = 2; level <= 4; level++) {
		pm_word *link = entry_at(P2M, level);

		good = word_load(link);
		atomic_store(link, far | ENTRY_LINK);
		all_readers(P2M, PMPT_E_CORRUPT);
		fails(pmpt_lookup(c.space, P2M, &e), PMPT_E_CORRUPT);
		expect_offset(link);
		fails(pmpt_walk(c.space, P2M, P2M, ignore, NULL), PMPT_E_CORRUPT);
		expect_offset(link);
		all_writers(P2M, PMPT_E_CORRUPT);
		assert_non_null(strstr(pmpt_errormsg(), "outside the pool"));
		if (level == 2)
			whole_table(P2M, PMPT_E_CORRUPT);
		fails(pmpt_unmap(NULL, c.space, 0, P1G), PMPT_E_CORRUPT);
		atomic_store(link, good);
	}
	ok(pmpt_unmap(NULL, c.space, P2M, P2M));
}

/* A link to a frame that is data, free, reserved for the pool, or before its first extent: nobody
 * stores there. */
static void test_link_to_no_table(void **state)
{
	pm_word *link = entry_at(P2M, 2);
	uint64_t good = word_load(link), data = word_load(entry_at(0, 1)) & ENTRY_PFN,
		 frames[] = { data, data + ((uint64_t)100 << FRAME_SHIFT), GROUP_BYTES, P4K };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		atomic_store(link, frames[i] | ENTRY_LINK);
		fails(pmpt_map(NULL, c.space, P2M + P4K, 1, 7, RE), PMPT_E_CORRUPT);
		whole_table(P2M, PMPT_E_CORRUPT);
	}
	atomic_store(link, good);
	ok(pmpt_unmap(NULL, c.space, P2M, P2M));
}

/* A leaf on a frame whose descriptor says that nothing maps it. */
static void test_count_missing(void **state)
{
	uint64_t pfn = entry_pfn(word_load(entry_at(P2M, 1)));
	pm_word *desc = frames_desc(&c.pool->frames, pfn);
	uint64_t good = word_load(desc);

	(void)state;
	atomic_store(desc, 0);
	fails(pmpt_unmap(NULL, c.space, P2M, P4K), PMPT_E_CORRUPT);
	atomic_store(desc, good);
	/* and a leaf on frames that the pool does not have */
	pm_word *leaf = entry_at(P2M, 1);

	good = word_load(leaf);
	atomic_store(leaf, (good & ~ENTRY_PFN) | (uint64_t)1 << 45);
	fails(pmpt_unmap(NULL, c.space, P2M, P4K), PMPT_E_FRAME);
	atomic_store(leaf, good);
	ok(pmpt_unmap(NULL, c.space, P2M, P4K));
}

static void test_root(void **state)
{
	pm_word *root = &c.space->record->root;
	uint64_t good = word_load(root), bad[] = { c.rg.bytes, GROUP_BYTES, good + 8 };
	pmpt_space *s;

	(void)state;
	pmpt_space_close(c.space);
	for (unsigned i = 0; i < 3; i++) {
		atomic_store(root, bad[i]);
		fails(pmpt_space_open(c.pool, "s", &s), PMPT_E_CORRUPT);
		fails(pmpt_space_delete(c.pool, "s"), PMPT_E_CORRUPT);
	}
	atomic_store(root, good);
	ok(pmpt_space_open(c.pool, "s", &c.space));
}

/* ---- deletes that cannot be finished --------------------------------------------------------- */

static char logged[512];
static unsigned n_logged;

static void log_one(void *ctx, enum pmpt_log_level level, const char *message)
{
	(void)ctx;
	assert_int_equal(level, PMPT_LOG_ERROR);
	n_logged++;
	(void)snprintf(logged, sizeof(logged), "%s", message);
}

/* The pool opens all the same, and the log says why, or that there is nothing to say. */
static void reopen(const char *says)
{
	n_logged = 0;
	pmpt_log_to(log_one, NULL);
	ok(core_close(c.pool, true));
	ok(core_open(&c.rg, PMPT_OPEN_NO_GROW, &c.pool));
	pmpt_log_to(NULL, NULL);
	assert_int_equal(n_logged, says != NULL);
	if (says && !strstr(logged, says))
		fail_msg("'%s' does not say '%s'", logged, says);
}

static void expect_deleted(void)
{
	reopen(NULL);
	assert_int_equal(core_stats(&c).spaces, 0);
	assert_int_equal(core_stats(&c).frames_table, 0);
	assert_int_equal(core_stats(&c).frames_data, 0);
	ok(pmpt_space_create(c.pool, "s", &c.space));
}

/* One damaged word below the space: the rest is freed as far as it comes first, the pool stays
 * usable, and when the word is mended the next open finishes. */
static void delete_damaged(pm_word *word, uint64_t bad)
{
	pm_word *record = (pm_word *)&c.space->record->state;
	uint64_t good = word_load(word);
	char says[64];
	pmpt_space *s;

	atomic_store(word, bad);
	pmpt_space_close(c.space);
	c.space = NULL;
	fails(pmpt_space_delete(c.pool, "s"), PMPT_E_CORRUPT);
	expect_offset(word);
	assert_int_equal(core_stats(&c).frames_data, 2); /* the first is gone */
	(void)snprintf(says, sizeof(says), "at offset %#lx", region_off(&c.rg, (void *)word));
	for (unsigned i = 0; i < 2; i++) {
		reopen(says);
		assert_int_equal(word_load(record), SPACE_DELETING);
		ok(pmpt_space_create(c.pool, "s", &s));
		ok(pmpt_map(NULL, s, 0, 1, PMPT_PFN_ALLOC, PMPT_R));
		pmpt_space_close(s);
		ok(pmpt_space_delete(c.pool, "s"));
	}
	atomic_store(word, good);
	expect_deleted();
}

static void test_delete_damaged(void **state)
{
	(void)state;
	delete_damaged(entry_at(P2M, 1), word_load(entry_at(P2M, 1)) | (uint64_t)1 << 45);
	(void)teardown(state);
	(void)setup(state);
	delete_damaged(entry_at(P2M, 2), c.rg.bytes | ENTRY_LINK);
}

/* What is left of a delete needs a frame and there is none: a huge page whose frames have unequal
 * counts does not fit in the log, and is split. */
static void test_delete_no_frames(void **state)
{
	struct pmpt_mapping m;
	pmpt_space *t;
	uint64_t va;

	(void)state;
	ok(pmpt_space_create(c.pool, "t", &t));
	ok(pmpt_unmap(NULL, c.space, 0, P1G));
	ok(pmpt_checkpoint(c.pool));
	ok(pmpt_map(NULL, c.space, 0, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_2M));
	ok(pmpt_query(c.space, 0, &m));
	for (uint64_t i = 0; i < 256; i++)
		ok(pmpt_map(NULL, t, i * P4K, 1, m.pfn + 2 * i, PMPT_R));
	for (va = P1G; !pmpt_map(NULL, t, va, 1, PMPT_PFN_ALLOC, PMPT_R);)
		va += P4K;
	pmpt_space_close(c.space);
	c.space = NULL;
	fails(pmpt_space_delete(c.pool, "s"), PMPT_E_NO_FRAMES);
	pmpt_space_close(t);
	for (unsigned i = 0; i < 2; i++)
		reopen("a deleted space is not freed");
	ok(pmpt_space_delete(c.pool, "t"));
	expect_deleted();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_link_outside), T(test_link_to_no_table), T(test_count_missing),
		T(test_root),         T(test_delete_damaged),   T(test_delete_no_frames),
	};

	return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
