/* SPDX-License-Identifier: BSD-3-Clause */
/* test_view -- read views: what they show while one thread goes on writing, which frames they hold,
 * and what is refused.  Their memory is test_version.c's matter. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core.h"
#include "table.h"
#include "view.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static struct core c;
static pmpt_view *view;
static uint64_t memory; /* before the first view */

static int setup(void **state)
{
	(void)state;
	core_make(&c, 1536, 64, 128);
	ok(pmpt_map(NULL, c.space, P2M, 4, 7, RE));
	ok(pmpt_map(NULL, c.space, P1G, 2, 9, RE));
	ok(pmpt_user_set(NULL, c.space, 3, 30));
	memory = atomic_load(&c.pool->mem.bytes);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_verify(&c);
	core_free(&c);
	return 0;
}

static struct versions *vs(void) { return &c.pool->wal.versions; }

/* The frame at va, or 0: not mapped. */
static uint64_t frame_in(const pmpt_view *v, pmpt_space *space, uint64_t va)
{
	struct pmpt_mapping m = { 0 };
	uint64_t entry = 0;
	int rc = pmpt_view_lookup(v, space, va, &entry), rc2 = pmpt_view_query(v, space, va, &m);

	assert_int_equal(rc, rc2);
	if (rc == PMPT_E_NOT_MAPPED)
		return 0;
	ok(rc);
	assert_int_equal(m.entry, entry);
	return m.pfn;
}

static uint64_t word_in(const pmpt_view *v, unsigned i)
{
	uint64_t value = 0;

	ok(pmpt_view_user_get(v, c.space, i, &value));
	return value;
}

static void set(uint64_t va, uint64_t pfn)
{
	ok(pmpt_map(NULL, c.space, va, 1, pfn, RE | PMPT_REPLACE));
}

/* ---- what a view shows ----------------------------------------------------------------------- */

static void test_same_for_ever(void **state)
{
	uint64_t lsn = 0, e = 0;
	struct pmpt_mapping m;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, c.space, P2M, 1, 6, RE | PMPT_REPLACE));
	ok(pmpt_commit(tx, &lsn));
	ok(pmpt_view_open(c.pool, &view));
	assert_int_equal(pmpt_view_lsn(view), lsn);
	assert_int_equal(frame_in(view, c.space, P2M), 6);
	for (uint64_t i = 0; i < 300; i++) {
		set(P2M, 100 + i);
		ok(pmpt_user_set(NULL, c.space, 3, i));
	}
	ok(pmpt_unmap(NULL, c.space, P1G, P2M)); /* the table goes */
	ok(pmpt_map(NULL, c.space, P2M + 4 * P4K, 8, 50, RE));
	assert_int_equal(frame_in(view, c.space, P2M), 6);
	assert_int_equal(frame_in(view, c.space, P1G + P4K), 10);
	assert_int_equal(frame_in(view, c.space, P2M + 5 * P4K), 0);
	assert_int_equal(frame_in(view, c.space, 3 * P1G), 0);
	assert_int_equal(word_in(view, 3), 30);
	ok(pmpt_query(c.space, P2M, &m));
	assert_int_equal(m.pfn, 399);
	fails(pmpt_view_lookup(view, c.space, P1G << 20, &e), PMPT_E_ADDRESS);
	fails(pmpt_view_user_get(view, c.space, PMPT_USER_WORDS, &e), -EINVAL);
	pmpt_view_close(view);
	pmpt_view_close(NULL);
	assert_int_equal(versions_views(vs()), 0);
	assert_int_equal(atomic_load(&vs()->bytes), 0);
}

static void test_two_views(void **state)
{
	pmpt_view *v[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		set(P2M, 100 + i);
		set(P2M + P4K, 200 + i);
		ok(pmpt_view_open(c.pool, &v[i]));
	}
	set(P2M, 104);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(frame_in(v[i], c.space, P2M), 100 + i);
		assert_int_equal(frame_in(v[i], c.space, P2M + P4K), 200 + i);
	}
	pmpt_view_close(v[1]);
	pmpt_view_close(v[3]);
	set(P2M, 105);
	assert_int_equal(frame_in(v[0], c.space, P2M), 100);
	assert_int_equal(frame_in(v[2], c.space, P2M), 102);
	assert_int_equal(frame_in(v[2], c.space, P2M + P4K), 202);
	pmpt_view_close(v[0]);
	pmpt_view_close(v[2]);
}

struct seen {
	unsigned n;
	uint64_t va[64], pfn[64];
};

static int see(void *ctx, const struct pmpt_mapping *m)
{
	struct seen *s = ctx;

	s->va[s->n] = m->va;
	s->pfn[s->n++] = m->pfn;
	return s->n == 64;
}

/* fn may change the space. */
static int see_and_change(void *ctx, const struct pmpt_mapping *m)
{
	set(m->va, 1000 + m->pfn);
	set(P1G + P4K, 2000 + m->pfn);
	ok(pmpt_map(NULL, c.space, 2 * P1G + m->va, 1, 3, RE));
	return see(ctx, m);
}

static void test_walk(void **state)
{
	struct seen now = { 0 }, s = { 0 };

	(void)state;
	ok(pmpt_map(NULL, c.space, 5 * P1G, 1, 1024, RE | PMPT_2M));
	ok(pmpt_walk(c.space, 0, 0, see, &now));
	assert_int_equal(now.n, 7);
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_view_walk(view, c.space, 0, 0, see_and_change, &s));
	assert_memory_equal(&s, &now, sizeof(s));
	s.n = 0;
	ok(pmpt_view_walk(view, c.space, P2M + P4K, 2 * P4K, see, &s));
	assert_int_equal(s.n, 2);
	assert_int_equal(s.pfn[1], 9);
	fails(pmpt_view_walk(view, c.space, P1G << 20, 0, see, &s), PMPT_E_ADDRESS);
	fails(pmpt_view_walk(view, c.space, 0, UINT64_MAX, see, &s), PMPT_E_ADDRESS);
	s.n = 63;
	assert_int_equal(pmpt_view_walk(view, c.space, 0, 0, see, &s), 1);
	pmpt_view_close(view);
}

/* Splits, collapses, moves: every kind of change of upper entries. */
static void test_upper_entries(void **state)
{
	struct seen now = { 0 }, s;

	(void)state;
	ok(pmpt_map(NULL, c.space, 5 * P1G, 1, 1024, RE | PMPT_2M));
	ok(pmpt_walk(c.space, 0, 0, see, &now));
	ok(pmpt_view_open(c.pool, &view));
	for (unsigned step = 0; step < 5; step++) {
		ok(step == 0   ? pmpt_protect(NULL, c.space, 5 * P1G + P4K, P4K, PMPT_R | PMPT_W)
		   : step == 1 ? pmpt_protect(NULL, c.space, 5 * P1G + P4K, P4K, PMPT_R)
		   : step == 2 ? pmpt_collapse(NULL, c.space, 5 * P1G, PMPT_2M)
		   : step == 3 ? pmpt_move(NULL, c.space, P2M, c.space, 7 * P1G, P2M)
			       : pmpt_unmap(NULL, c.space, 0, 8 * P1G));
		s = (struct seen){ 0 };
		ok(pmpt_view_walk(view, c.space, 0, 0, see, &s));
		assert_memory_equal(&s, &now, sizeof(s));
		assert_int_equal(frame_in(view, c.space, 5 * P1G + 3 * P4K), 1024);
	}
	pmpt_view_close(view);
}

static void test_spaces(void **state)
{
	pmpt_space *young, *old;
	uint64_t e = 0;

	(void)state;
	ok(pmpt_space_create(c.pool, "old", &old));
	ok(pmpt_map(NULL, old, 0, 1, 77, RE));
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_space_create(c.pool, "young", &young));
	ok(pmpt_map(NULL, young, 0, 1, 5, RE));
	fails(pmpt_view_lookup(view, young, 0, &e), PMPT_E_NO_SPACE);
	fails(pmpt_view_user_get(view, young, 0, &e), PMPT_E_NO_SPACE);
	fails(pmpt_view_walk(view, young, 0, 0, see, NULL), PMPT_E_NO_SPACE);
	ok(pmpt_space_rename(c.pool, "old", "older"));
	assert_int_equal(frame_in(view, old, 0), 77);
	pmpt_space_close(young);
	pmpt_space_close(old);
	ok(pmpt_space_delete(c.pool, "older"));
	ok(pmpt_space_delete(c.pool, "young"));
	ok(pmpt_space_create(c.pool, "older", &old)); /* the same record, not the same space */
	fails(pmpt_view_lookup(view, old, 0, &e), PMPT_E_NO_SPACE);
	pmpt_space_close(old);
	pmpt_view_close(view);
}

/* A clone shares the tables of its origin: what a view sees in either is what was there. */
static void test_forks(void **state)
{
	struct seen now = { 0 }, s = { 0 };
	pmpt_space *clone;
	pmpt_view *later;
	uint64_t e;

	(void)state;
	ok(pmpt_map(NULL, c.space, 3 * P1G, 3, PMPT_PFN_ALLOC, PMPT_R | PMPT_W));
	ok(pmpt_walk(c.space, 0, 0, see, &now));
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_space_fork(c.space, "clone", 0, &clone));
	ok(pmpt_view_open(c.pool, &later));
	fails(pmpt_view_lookup(view, clone, P2M, &e), PMPT_E_NO_SPACE);
	set(P2M, 50); /* its tables are its own now */
	ok(pmpt_map(NULL, clone, P2M, 1, 60, RE | PMPT_REPLACE));
	ok(pmpt_unmap(NULL, clone, 3 * P1G, P2M));
	ok(pmpt_unmap(NULL, c.space, 3 * P1G, P2M));
	ok(frames_reclaim(&c.pool->frames, true));
	ok(pmpt_view_walk(view, c.space, 0, 0, see, &s));
	assert_memory_equal(&s, &now, sizeof(s));
	s = (struct seen){ 0 };
	ok(pmpt_view_walk(later, clone, 0, 0, see, &s));
	assert_memory_equal(&s, &now, sizeof(s));
	s = (struct seen){ 0 };
	ok(pmpt_view_walk(later, c.space, 0, 0, see, &s));
	assert_memory_equal(&s, &now, sizeof(s));
	assert_int_equal(frame_in(later, clone, P2M), 7);
	assert_true(c.pool->frames.n_held > 0); /* their pages among them */
	pmpt_view_close(view);
	pmpt_view_close(later);
	pmpt_space_close(clone);
}

/* ---- what is in the pages ---- */

static void pages_are(const pmpt_view *v, unsigned char first, unsigned char last)
{
	unsigned char buf[5 * 4096];

	ok(pmpt_read(v, c.space, 4 * P1G - 100, buf, sizeof(buf)));
	assert_int_equal(buf[0], first);
	assert_int_equal(buf[99], first);
	assert_int_equal(buf[sizeof(buf) - 1], last);
}

static void test_data(void **state)
{
	unsigned char buf[8 * 4096];
	const void *page, *again;
	pmpt_space *young;

	(void)state;
	ok(pmpt_map(NULL, c.space, 4 * P1G - 2 * P4K, 8, PMPT_PFN_ALLOC, PMPT_R | PMPT_W));
	memset(buf, 1, sizeof(buf));
	ok(pmpt_write(NULL, c.space, 4 * P1G - 2 * P4K, buf, sizeof(buf)));
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_page_ptr(view, c.space, 4 * P1G, &page));
	for (unsigned i = 2; i < 6; i++) {
		memset(buf, (int)i, sizeof(buf));
		ok(pmpt_write(NULL, c.space, 4 * P1G - 2 * P4K, buf, sizeof(buf)));
		ok(frames_reclaim(&c.pool->frames, true));
		pages_are(NULL, (unsigned char)i, (unsigned char)i);
		pages_are(view, 1, 1);
		assert_int_equal(*(const unsigned char *)page, 1);
	}
	ok(pmpt_unmap(NULL, c.space, 4 * P1G, 8 * P4K));
	pages_are(NULL, 5, 0);
	pages_are(view, 1, 1);
	ok(pmpt_page_ptr(view, c.space, 4 * P1G, &again));
	assert_ptr_equal(page, again);
	ok(pmpt_space_create(c.pool, "young", &young));
	fails(pmpt_read(view, young, 0, buf, 1), PMPT_E_NO_SPACE);
	pmpt_space_close(young);
	ok(pmpt_view_limit(c.pool, 0));
	fails(pmpt_read(view, c.space, 4 * P1G, buf, 1), PMPT_E_VIEW_STALE);
	fails(pmpt_page_ptr(view, c.space, 4 * P1G, &again), PMPT_E_VIEW_STALE);
	pages_are(NULL, 5, 0);
	pmpt_view_close(view);
}

/* ---- bulk transactions ----------------------------------------------------------------------- */

static pmpt_tx *bulk_begun(void)
{
	pmpt_tx *tx;

	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_map(tx, c.space, P2M, 1, 70, RE | PMPT_REPLACE));
	ok(pmpt_map(tx, c.space, 8 * P2M, 3, 80, RE));
	ok(pmpt_user_set(tx, c.space, 3, 31));
	return tx;
}

static void bulk_old(const pmpt_view *v)
{
	assert_int_equal(frame_in(v, c.space, P2M), 7);
	assert_int_equal(frame_in(v, c.space, P2M + P4K), 8);
	assert_int_equal(frame_in(v, c.space, 8 * P2M), 0);
	assert_int_equal(word_in(v, 3), 30);
}

static void bulk_hides(const pmpt_view *v)
{
	struct pmpt_mapping m;
	uint64_t e = 1;

	fails(pmpt_view_lookup(v, c.space, P2M, &e), PMPT_E_BUSY);
	fails(pmpt_view_query(v, c.space, 8 * P2M, &m), PMPT_E_BUSY);
	fails(pmpt_view_user_get(v, c.space, 3, &e), PMPT_E_BUSY);
	fails(pmpt_view_walk(v, c.space, 0, 0, see, &(struct seen){ 0 }), PMPT_E_BUSY);
	assert_int_equal(e, 1);
	assert_int_equal(frame_in(v, c.space, P1G), 9);
}

/* Opened before anything went home; in between; afterwards. */
static void bulk_seen(bool commit)
{
	pmpt_view *before, *inside;
	pmpt_tx *tx = bulk_begun();

	ok(pmpt_view_open(c.pool, &before));
	bulk_old(before);
	ok(bulk_spill(tx));
	bulk_old(before);
	ok(pmpt_view_open(c.pool, &inside));
	bulk_hides(inside);
	ok(pmpt_map(tx, c.space, P2M, 2, 72, RE | PMPT_REPLACE)); /* the same word once more */
	ok(bulk_spill(tx));
	bulk_old(before);
	ok(commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx));
	bulk_old(before);
	bulk_hides(inside);
	set(P2M, 99);
	set(P1G, 98);
	bulk_old(before);
	bulk_hides(inside);
	ok(pmpt_view_open(c.pool, &view));
	assert_int_equal(frame_in(view, c.space, P2M), 99);
	assert_int_equal(frame_in(view, c.space, P1G), 98);
	assert_int_equal(frame_in(view, c.space, P2M + P4K), commit ? 73 : 8);
	assert_int_equal(word_in(view, 3), commit ? 31 : 30);
	pmpt_view_close(before);
	bulk_hides(inside);
	pmpt_view_close(inside);
	pmpt_view_close(view);
}

static void test_bulk_commit(void **state)
{
	(void)state;
	bulk_seen(true);
}

static void test_bulk_abort(void **state)
{
	(void)state;
	bulk_seen(false);
}

/* The handle that the ranges name may be another by then. */
static void test_bulk_handles(void **state)
{
	pmpt_space *s;
	pmpt_tx *tx;
	uint64_t e;

	(void)state;
	ok(pmpt_space_create(c.pool, "t", &s));
	ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_map(tx, s, 0, 1, 70, RE));
	ok(bulk_spill(tx));
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_commit(tx, NULL));
	pmpt_space_close(s);
	for (unsigned i = 0; i < 4; i++) {
		ok(pmpt_space_open(c.pool, "t", &s));
		fails(pmpt_view_lookup(view, s, 0, &e), PMPT_E_BUSY);
		fails(pmpt_view_lookup(view, s, P4K, &e), PMPT_E_NOT_MAPPED);
		pmpt_space_close(s);
	}
	pmpt_view_close(view);
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* The frame that the view sees at va: mapped, unmapped, asked for again by force. */
static uint64_t frame_again(uint64_t *was)
{
	uint64_t pfn = 0;
	pmpt_tx *tx;

	ok(pmpt_map(NULL, c.space, 3 * P1G, 1, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_view_open(c.pool, &view));
	*was = frame_in(view, c.space, 3 * P1G);
	ok(pmpt_unmap(NULL, c.space, 3 * P1G, P4K));
	ok(frames_reclaim(&c.pool->frames, true));
	ok(pmpt_begin(c.pool, 0, &tx));
	for (unsigned i = 0; i < 1536 && pfn != *was; i++) {
		if (frames_free(&c.pool->frames) == 0)
			break;
		ok(pmpt_frame_alloc(tx, 1, 1, &pfn));
	}
	ok(pmpt_abort(tx));
	return pfn;
}

static void test_frames_held(void **state)
{
	uint64_t was, now;

	(void)state;
	now = frame_again(&was);
	assert_int_not_equal(now, was);
	assert_int_equal(frame_in(view, c.space, 3 * P1G), was);
	pmpt_view_close(view);
	ok(frames_reclaim(&c.pool->frames, true));
	assert_int_equal(c.pool->frames.n_held, 0);
	/* and a stale view holds nothing */
	now = frame_again(&was);
	assert_int_not_equal(now, was);
	ok(pmpt_view_limit(c.pool, 0));
	fails(pmpt_view_query(view, c.space, 3 * P1G, &(struct pmpt_mapping){ 0 }),
	      PMPT_E_VIEW_STALE);
	ok(frames_reclaim(&c.pool->frames, true));
	assert_int_equal(c.pool->frames.n_held, 0);
	pmpt_view_close(view);
}

/* Freed a few at a time, for long: what is held costs eight bytes a frame, and comes back. */
static void test_frames_many(void **state)
{
	uint64_t before, free = core_stats(&c).frames_free;

	(void)state;
	ok(pmpt_map(NULL, c.space, 3 * P1G, 700, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_view_open(c.pool, &view));
	before = atomic_load(&c.pool->mem.bytes);
	for (uint64_t i = 0; i < 700; i++) {
		ok(pmpt_unmap(NULL, c.space, 3 * P1G + i * P4K, P4K));
		if (i % 100 == 99)
			ok(frames_reclaim(&c.pool->frames, true));
	}
	assert_in_range(c.pool->frames.n_held, 700, 710);
	assert_in_range(core_stats(&c).frames_held, 700, 710);
	assert_int_equal(core_stats(&c).frames_free + core_stats(&c).frames_held, free);
	assert_in_range(atomic_load(&c.pool->mem.bytes) - atomic_load(&vs()->bytes), before,
			before + (24 << 10));
	pmpt_view_close(view);
	ok(pmpt_view_open(c.pool, &view)); /* overlaps in time, and needs none of them */
	ok(frames_reclaim(&c.pool->frames, true));
	assert_int_equal(c.pool->frames.n_held, 0);
	assert_int_equal(core_stats(&c).frames_free, free);
	pmpt_view_close(view);
}

static void write_page(uint64_t va, uint64_t i)
{
	static uint64_t page[512];

	page[0] = page[511] = i;
	ok(pmpt_write(NULL, c.space, va, page, sizeof(page)));
}

static uint64_t page_in(const pmpt_view *v, uint64_t va)
{
	uint64_t word = 0;

	ok(pmpt_read(v, c.space, va + 511 * 8, &word, sizeof(word)));
	return word;
}

/* What comes to be and goes beside a view needs no more frames than without one. */
static void test_beside_for_ever(void **state)
{
	uint64_t free;
	const void *page;

	(void)state;
	write_page(3 * P1G, 1);
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_page_ptr(view, c.space, 3 * P1G, &page));
	free = core_free_frames(&c);
	for (uint64_t i = 2; i < 20000; i++)
		write_page(3 * P1G, i);
	for (uint64_t i = 0; i < 4000; i++) { /* tables too */
		ok(pmpt_map(NULL, c.space, 5 * P1G, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_W));
		ok(pmpt_unmap(NULL, c.space, 5 * P1G, P4K));
	}
	assert_int_equal(page_in(view, 3 * P1G), 1);
	ok(pmpt_view_check(view));
	assert_int_equal(((const uint64_t *)page)[511], 1);
	ok(frames_reclaim(&c.pool->frames, true));
	assert_int_equal(c.pool->frames.n_held, 1); /* the page that it sees */
	assert_int_equal(core_free_frames(&c), free);
	pmpt_view_close(view);
}

/* Writers get frames that a view holds; it is stale before they do. */
static void test_frames_wanted(void **state)
{
	uint64_t n = core_stats(&c).frames_free * 6 / 13;
	pmpt_view *young, *same;

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		write_page(3 * P1G + i * P4K, i);
	ok(pmpt_view_open(c.pool, &view));
	ok(pmpt_view_open(c.pool, &same));
	for (uint64_t i = 0; i < n / 4; i++)
		write_page(3 * P1G + i * P4K, n + i);
	ok(pmpt_view_open(c.pool, &young));
	ok(pmpt_view_check(view));
	for (uint64_t i = 0; i < n; i++)
		write_page(3 * P1G + i * P4K, 2 * n + i);
	fails(pmpt_view_check(view), PMPT_E_VIEW_STALE);
	fails(pmpt_view_check(same), PMPT_E_VIEW_STALE);
	ok(pmpt_view_check(young)); /* two old pages of each fit in, three do not */
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(page_in(young, 3 * P1G + i * P4K), i < n / 4 ? n + i : i);
	ok(pmpt_map(NULL, c.space, 9 * P1G, n / 2, PMPT_PFN_ALLOC, PMPT_R));
	fails(pmpt_view_check(young), PMPT_E_VIEW_STALE);
	assert_non_null(strstr(pmpt_errormsg(), "no other frames"));
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(page_in(NULL, 3 * P1G + i * P4K), 2 * n + i);
	pmpt_view_close(young);
	pmpt_view_close(same);
	pmpt_view_close(view);
}

/* Who wants no view to become stale pays with writers that find no frames. */
static void test_frames_denied(void **state)
{
	uint64_t n = core_stats(&c).frames_free / 2 - 8;
	int rc = 0;

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		write_page(3 * P1G + i * P4K, i);
	ok(pmpt_view_limit(c.pool, UINT64_MAX));
	ok(pmpt_view_open(c.pool, &view));
	for (uint64_t i = 0; i < n && !rc; i++)
		rc = pmpt_write(NULL, c.space, 3 * P1G + i * P4K, "new", 3);
	for (uint64_t i = 0; i < 64 && !rc; i++)
		rc = pmpt_map(NULL, c.space, 9 * P1G + i * P4K, 1, PMPT_PFN_ALLOC, PMPT_R);
	assert_int_equal(rc, PMPT_E_NO_FRAMES);
	ok(pmpt_view_check(view));
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(page_in(view, 3 * P1G + i * P4K), i);
	ok(pmpt_view_limit(c.pool, PMPT_VIEW_BYTES));
	ok(pmpt_map(NULL, c.space, 9 * P1G + 64 * P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	fails(pmpt_view_check(view), PMPT_E_VIEW_STALE);
	pmpt_view_close(view);
}

/* Views that open and close beside one that stays: what they alone saw comes back. */
static void test_frames_overlap(void **state)
{
	pmpt_view *other[3];

	(void)state;
	write_page(3 * P1G, 0);
	ok(pmpt_view_open(c.pool, &view));
	for (uint64_t i = 0; i < 3; i++) {
		write_page(3 * P1G, 1 + i);
		ok(pmpt_view_open(c.pool, &other[i]));
	}
	write_page(3 * P1G, 4);
	write_page(3 * P1G, 5);
	ok(frames_reclaim(&c.pool->frames, true));
	assert_int_equal(c.pool->frames.n_held, 4);
	for (uint64_t i = 0; i < 3; i++) {
		uint64_t k = (i + 1) % 3;

		assert_int_equal(page_in(other[k], 3 * P1G), 1 + k);
		pmpt_view_close(other[k]);
		ok(frames_reclaim(&c.pool->frames, true));
		assert_int_equal(c.pool->frames.n_held, 3 - i);
	}
	assert_int_equal(c.pool->frames.n_held, 1);
	assert_int_equal(page_in(view, 3 * P1G), 0);
	pmpt_view_close(view);
}

static void test_frames_rule(void **state)
{
	uint64_t was, now;

	(void)state;
	rules_off = (uint64_t)1 << RULE_VIEW_FRAMES;
	now = frame_again(&was);
	assert_int_equal(now, was);
	rules_off = 0;
	pmpt_view_close(view);
}

static void test_save_rule(void **state)
{
	(void)state;
	rules_off = (uint64_t)1 << RULE_VIEW_SAVE;
	ok(pmpt_view_open(c.pool, &view));
	set(P2M, 5);
	assert_int_equal(frame_in(view, c.space, P2M), 5); /* not what it was opened on */
	rules_off = 0;
	pmpt_view_close(view);
}

/* ---- refused --------------------------------------------------------------------------------- */

static void test_close_pool(void **state)
{
	(void)state;
	ok(pmpt_view_open(c.pool, &view));
	pmpt_space_close(c.space);
	fails(core_close(c.pool, true), PMPT_E_BUSY);
	assert_non_null(strstr(pmpt_errormsg(), "view"));
	ok(pmpt_space_open(c.pool, "s", &c.space));
	assert_int_equal(frame_in(view, c.space, P2M), 7);
	pmpt_view_close(view);
}

static void test_two_pools(void **state)
{
	struct core other;
	uint64_t e;

	(void)state;
	core_make(&other, 1024, 16, 16);
	ok(pmpt_view_open(c.pool, &view));
	fails(pmpt_view_lookup(view, other.space, 0, &e), -EINVAL);
	fails(pmpt_view_walk(view, other.space, 0, 0, see, NULL), -EINVAL);
	pmpt_view_close(view);
	core_free(&other);
}

static void test_fork(void **state)
{
	uint64_t e = 0;
	int status;
	pid_t child;

	(void)state;
	ok(pmpt_view_open(c.pool, &view));
	child = fork();
	if (!child) {
		pmpt_view *v;
		bool right = pmpt_view_lookup(view, c.space, P2M, &e) == PMPT_E_FORKED &&
			     pmpt_view_user_get(view, c.space, 3, &e) == PMPT_E_FORKED &&
			     pmpt_view_walk(view, c.space, 0, 0, see, NULL) == PMPT_E_FORKED &&
			     pmpt_view_open(c.pool, &v) == PMPT_E_FORKED &&
			     pmpt_view_limit(c.pool, 0) == PMPT_E_FORKED;

		pmpt_view_close(view);
		_exit(!right);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(frame_in(view, c.space, P2M), 7);
	pmpt_view_close(view);
}

/* What a failed fence leaves announced is waited for by nobody. */
static void test_io(void **state)
{
	(void)state;
	c.pool->region.medium.backend = PM_PAGE;
	atomic_store(&c.pool->region.medium.failed, 0);
	char *base = c.pool->region.medium.base;

	c.pool->region.medium.base = base + 1; /* no page begins there: msync fails */
	fails(pmpt_map(NULL, c.space, P2M, 1, 99, RE | PMPT_REPLACE), PMPT_E_IO);
	c.pool->region.medium.base = base;
	ok(pmpt_view_open(c.pool, &view));
	assert_int_equal(frame_in(view, c.space, P2M), 7);
	pmpt_view_close(view);
	c.pool->region.medium.backend = PM_CACHE_LINE;
	atomic_store(&c.pool->region.medium.failed, 0);
	atomic_store(&c.pool->wal.lane[0].low, 0);
	atomic_store(&c.pool->wal.lane[1].low, 0);
}

/* ---- no line, no fence, no memory left ------------------------------------------------------- */

static void test_costs(void **state)
{
	struct pmpt_stats before, after;

	(void)state;
	before = core_stats(&c);
	ok(pmpt_view_open(c.pool, &view));
	(void)frame_in(view, c.space, P2M);
	pmpt_view_close(view);
	after = core_stats(&c);
	assert_int_equal(after.lines_streamed, before.lines_streamed);
	assert_int_equal(after.lines_flushed, before.lines_flushed);
	assert_int_equal(after.fences, before.fences);
	assert_int_equal(after.lsn, before.lsn);
	ok(pmpt_view_open(c.pool, &view));
	before = core_stats(&c);
	set(P2M, 3);
	after = core_stats(&c);
	assert_int_equal(after.lines_streamed, before.lines_streamed + 1);
	assert_int_equal(after.fences, before.fences + 1);
	pmpt_view_close(view);
	assert_in_range(atomic_load(&c.pool->mem.bytes), memory, memory + 256); /* the list */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_same_for_ever),
		T(test_two_views),
		T(test_walk),
		T(test_upper_entries),
		T(test_spaces),
		T(test_forks),
		T(test_data),
		T(test_bulk_commit),
		T(test_bulk_abort),
		T(test_bulk_handles),
		T(test_frames_held),
		T(test_frames_many),
		T(test_beside_for_ever),
		T(test_frames_wanted),
		T(test_frames_denied),
		T(test_frames_overlap),
		T(test_frames_rule),
		T(test_save_rule),
		T(test_close_pool),
		T(test_two_pools),
		T(test_fork),
		T(test_io),
		T(test_costs),
	};

	return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
