/* SPDX-License-Identifier: BSD-3-Clause */
/* test_swap -- pages out and in, on and off; the clock; what is left when the file fails, is lost or
 * lies; what unmap, protect, move, replace and delete do to a page that is out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <cmocka.h>

#include "core.h"
#include "pool_file.h"
#include "swap_disk.h"
#include "table.h"

#define P4K   ((uint64_t)4096)
#define SLOTS 64
#define RW    (PMPT_R | PMPT_W)

static struct core c;
static char logged[2048];

static void to_log(void *ctx, enum pmpt_log_level level, const char *message)
{
	(void)ctx, (void)level;
	(void)snprintf(logged, sizeof(logged), "%s", message);
}

static int setup_off(void **state)
{
	(void)state;
	disk_begin();
	logged[0] = 0;
	pmpt_log_to(to_log, NULL);
	core_make(&c, 1024, 256, 256);
	return 0;
}

static int setup(void **state)
{
	(void)setup_off(state);
	OK(pmpt_swap_on(c.pool, "/swap", SLOTS * P4K));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_free(&c);
	pmpt_log_to(NULL, NULL);
	swap_io = &swap_io_posix;
	return 0;
}

/* What page i holds. */
static void fill(void *page, uint64_t i)
{
	for (unsigned k = 0; k < 512; k++)
		((uint64_t *)page)[k] = i * 1000003 + k;
}

/* Pages first .. first + n - 1 at their own addresses, filled. */
static void make_in(pmpt_space *space, uint64_t first, unsigned n)
{
	for (uint64_t i = first; i < first + n; i++) {
		uint64_t pfn;
		pmpt_tx *tx;

		OK(pmpt_begin(c.pool, 0, &tx));
		OK(pmpt_frame_alloc(tx, 1, 1, &pfn));
		fill(pmpt_frame_ptr(c.pool, pfn), i);
		OK(pmpt_flush(tx, pmpt_frame_ptr(c.pool, pfn), P4K));
		OK(pmpt_map(tx, space, i * P4K, 1, pfn, RW | PMPT_REPLACE | PMPT_TAG(3)));
		OK(pmpt_commit(tx, NULL));
	}
}
static void make(uint64_t first, unsigned n) { make_in(c.space, first, n); }

static uint64_t entry_at(const pmpt_space *space, uint64_t va)
{
	const pm_word *table = swap_table(space, &(uint64_t){ va }, va + 1);

	return table ? word_load(&table[level_index(va, 1)]) : 0;
}

/* 0: nothing is there. */
static int read_in(const pmpt_space *space, uint64_t va, void *buf)
{
	uint64_t entry = entry_at(space, va);

	if (entry & ENTRY_P) {
		memcpy(buf, pmpt_frame_ptr(c.pool, entry_pfn(entry)), P4K);
		return 1;
	}
	return entry ? swap_fetch(c.pool, entry, buf) ? -1 : 2 : 0;
}

/* where: 1 in memory, 2 out. */
static void expect_in(const pmpt_space *space, uint64_t va, uint64_t i, int where)
{
	char buf[4096], right[4096];

	fill(right, i);
	assert_int_equal(read_in(space, va, buf), where);
	assert_memory_equal(buf, right, sizeof(buf));
}
static void expect(uint64_t i, int where) { expect_in(c.space, i * P4K, i, where); }

static uint64_t used(void)
{
	struct pmpt_swap_status st;

	OK(pmpt_swap_status(c.pool, &st));
	return st.used;
}

static uint64_t out(uint64_t first, uint64_t n)
{
	uint64_t done = 99;

	OK(pmpt_swap_out(c.space, first * P4K, n * P4K, &done));
	return done;
}
static uint64_t in(uint64_t first, uint64_t n)
{
	uint64_t done = 99;

	OK(pmpt_swap_in(c.space, first * P4K, n * P4K, &done));
	return done;
}

/* ---- out and in ------------------------------------------------------------------------------ */

static void out_and_in(void **state)
{
	uint64_t data;
	unsigned long syncs = disk.syncs;
	struct pmpt_space_info info;
	struct pmpt_mapping m;

	(void)state;
	make(0, 20);
	data = core_stats(&c).frames_data;
	assert_int_equal(out(0, 20), 20);
	assert_int_equal(disk.syncs, syncs + 1); /* one for all of them */
	assert_int_equal(core_stats(&c).frames_data, data - 20);
	assert_int_equal(used(), 20);
	for (uint64_t i = 0; i < 20; i++)
		expect(i, 2);
	assert_int_equal(pmpt_lookup(c.space, 0, &data), PMPT_E_NOT_MAPPED);
	OK(pmpt_query(c.space, 0, &m));
	assert_int_equal(m.flags, RW | PMPT_TAG(3) | PMPT_OUT);
	assert_int_equal(m.pfn, 0);
	OK(pmpt_space_info(c.space, &info));
	assert_int_equal(info.out_bytes, 20 * P4K);
	assert_int_equal(info.mapped_bytes, 0);
	core_verify(&c);
	assert_int_equal(out(0, 20), 0); /* they are */
	core_reopen(&c, false);
	for (uint64_t i = 0; i < 20; i++)
		expect(i, 2);
	assert_int_equal(in(5, 5), 5);
	assert_int_equal(in(0, 20), 15);
	assert_int_equal(in(0, 20), 0);
	assert_int_equal(used(), 0);
	for (uint64_t i = 0; i < 20; i++)
		expect(i, 1);
	OK(pmpt_query(c.space, 5 * P4K, &m));
	assert_int_equal(m.flags, RW | PMPT_TAG(3));
	core_verify(&c);
}

/* More than a batch; slots are used again, with other generations. */
static void again(void **state)
{
	(void)state;
	make(0, SLOTS);
	for (unsigned round = 0; round < 5; round++) {
		assert_int_equal(out(0, SLOTS), SLOTS);
		core_verify(&c);
		assert_int_equal(in(0, SLOTS), SLOTS);
		make(round, 3);
		for (uint64_t i = 0; i < SLOTS; i++)
			expect(i, 1);
	}
}

static void slots_full(void **state)
{
	uint64_t done = 0;

	(void)state;
	make(0, SLOTS + 10);
	expect_refused(pmpt_swap_out(c.space, 0, (SLOTS + 10) * P4K, &done), PMPT_E_SWAP,
		       "all 64 slots");
	assert_int_equal(done, SLOTS);
	core_verify(&c);
	OK(pmpt_unmap(NULL, c.space, 0, 4 * P4K));
	assert_int_equal(out(0, SLOTS + 4), 4);
	assert_int_equal(used(), SLOTS);
	core_verify(&c);
}

/* Not: shared frames, frames that are not the pool's, huge pages. */
static void stays(void **state)
{
	struct pmpt_mapping m;

	(void)state;
	make(0, 2);
	OK(pmpt_query(c.space, 0, &m));
	OK(pmpt_map(NULL, c.space, 10 * P4K, 1, m.pfn, RW));
	OK(pmpt_map(NULL, c.space, 11 * P4K, 1, 5, RW | PMPT_EXT));
	OK(pmpt_map(NULL, c.space, P4K << 9, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	assert_int_equal(out(0, 1024), 1);
	expect(0, 1);
	expect(1, 2);
	core_verify(&c);
}

/* ---- what other calls do to a page that is out ----------------------------------------------- */

static void unmapped(void **state)
{
	(void)state;
	make(0, 8);
	assert_int_equal(out(0, 8), 8);
	OK(pmpt_unmap(NULL, c.space, 0, 3 * P4K));
	assert_int_equal(used(), 5);
	core_verify(&c);
	assert_int_equal(pmpt_map(NULL, c.space, 3 * P4K, 1, PMPT_PFN_ALLOC, RW), PMPT_E_MAPPED);
	make(3, 2); /* replaced */
	assert_int_equal(used(), 3);
	core_verify(&c);
	OK(pmpt_move(NULL, c.space, 5 * P4K, c.space, 600 * P4K, 3 * P4K));
	expect_in(c.space, 600 * P4K, 5, 2);
	expect_in(c.space, 602 * P4K, 7, 2);
	OK(pmpt_protect(NULL, c.space, 600 * P4K, P4K, PMPT_R));
	core_verify(&c);
	assert_int_equal(in(600, 3), 3);
	expect_in(c.space, 600 * P4K, 5, 1);
	assert_int_equal(pmpt_access(c.space, 600 * P4K, PMPT_W), PMPT_E_DENIED_WRITE);
	OK(pmpt_access(c.space, 601 * P4K, PMPT_W));
	core_verify(&c);
}

static void deleted(void **state)
{
	pmpt_space *t;

	(void)state;
	OK(pmpt_space_create(c.pool, "t", &t));
	make_in(t, 0, 10);
	OK(pmpt_swap_out(t, 0, 10 * P4K, NULL));
	assert_int_equal(used(), 10);
	pmpt_space_close(t);
	OK(pmpt_space_delete(c.pool, "t"));
	assert_int_equal(used(), 0);
	core_verify(&c);
}

/* An aborted transaction changes nothing of a page that is out; one that changes it keeps it from
 * going in or out. */
static void conflicts(void **state)
{
	uint64_t done;
	pmpt_tx *tx;

	(void)state;
	make(0, 4);
	assert_int_equal(out(0, 2), 2);
	OK(pmpt_begin(c.pool, 0, &tx));
	OK(pmpt_unmap(tx, c.space, 0, 3 * P4K));
	assert_int_equal(pmpt_swap_in(c.space, 0, P4K, &done), PMPT_E_CONFLICT);
	assert_int_equal(done, 0);
	assert_int_equal(out(0, 4), 0); /* the table is another's */
	OK(pmpt_abort(tx));
	core_verify(&c);
	expect(0, 2);
	expect(2, 1);
	assert_int_equal(out(0, 4), 2);
	core_verify(&c);
}

/* Between the copy of a page and the look before its commit, in the middle of fdatasync. */
static void (*meanwhile)(void);

static void now(void)
{
	void (*fn)(void) = meanwhile;

	if (disk.n_pending || !fn) /* a write */
		return;
	meanwhile = NULL;
	fn();
}

static void store_in_place(void)
{
	((char *)pmpt_frame_ptr(c.pool, entry_pfn(entry_at(c.space, 0))))[4000] ^= 1;
}
static void unmap_it(void) { OK(pmpt_unmap(NULL, c.space, 0, P4K)); }
static void write_it(void) { make(0, 1); }
static void share_it(void)
{
	OK(pmpt_map(NULL, c.space, 99 * P4K, 1, entry_pfn(entry_at(c.space, 0)), RW));
}
static void protect_it(void) { OK(pmpt_protect(NULL, c.space, 0, P4K, PMPT_R)); }
/* The same entry with the same frame, which has been another page in between. */
static void reuse_it(void)
{
	uint64_t entry = entry_at(c.space, 0), pfn = entry_pfn(entry), got;
	pmpt_tx *tx;

	OK(pmpt_unmap(NULL, c.space, 0, P4K));
	OK(frames_reclaim(&c.pool->frames, true));
	OK(pmpt_begin(c.pool, 0, &tx));
	do
		OK(pmpt_frame_alloc(tx, 1, 1, &got));
	while (got != pfn);
	fill(pmpt_frame_ptr(c.pool, pfn), 77);
	OK(pmpt_map(tx, c.space, 0, 1, pfn, RW | PMPT_TAG(3)));
	OK(pmpt_commit(tx, NULL));
	assert_int_equal((entry ^ entry_at(c.space, 0)) & ~ENTRY_AD, 0);
}

static void changed_meanwhile(void **state)
{
	static void (*const way[])(void) = { store_in_place, unmap_it, write_it,
					     share_it,       reuse_it, protect_it };

	uint64_t done;

	(void)state;
	disk.done = now;
	for (unsigned i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
		make(0, 2);
		meanwhile = way[i];
		for (uint64_t k = 0; k < 2; k++)
			c.pool->swap.room->out[k] = (struct swap_page){
				.space = c.space, .va = k * P4K, .entry = entry_at(c.space, k * P4K)
			};
		done = 0;
		pthread_mutex_lock(&c.pool->swap.clock);
		OK(swap_out_pages(c.pool, 2, &done));
		pthread_mutex_unlock(&c.pool->swap.clock);
		assert_int_equal(done, 1); /* the other goes */
		assert_null(meanwhile);
		assert_int_equal(entry_kind(entry_at(c.space, 0)), 0);
		expect(1, 2);
		core_verify(&c);
		OK(pmpt_unmap(NULL, c.space, 0, 100 * P4K));
	}
	disk.done = NULL;
}

/* A slot with two references stays for the second. */
static void shared_slot(void **state)
{
	struct path p;
	uint64_t entry;
	pmpt_tx *tx;

	(void)state;
	make(0, 1);
	assert_int_equal(out(0, 1), 1);
	OK(pmpt_begin(c.pool, 0, &tx));
	entry = entry_at(c.space, 0);
	OK(table_make(tx, c.space, 9 * P4K, 1, false, &p));
	OK(table_set(tx, &p, entry));
	OK(reservation_count(tx, entry, 1));
	OK(pmpt_commit(tx, NULL));
	core_verify(&c);
	assert_int_equal(used(), 1);
	assert_int_equal(in(0, 1), 1);
	expect(0, 1);
	expect_in(c.space, 9 * P4K, 0, 2);
	assert_int_equal(used(), 1);
	core_verify(&c);
	assert_int_equal(in(9, 1), 1);
	assert_int_equal(used(), 0);
	core_verify(&c);
}

/* In a transaction of the caller's, as a fault does it. */
static void in_transaction(void **state)
{
	struct path p;
	pmpt_tx *tx;

	(void)state;
	make(0, 2);
	assert_int_equal(out(0, 2), 2);
	for (int commit = 0; commit < 2; commit++) {
		OK(pmpt_begin(c.pool, 0, &tx));
		OK(table_walk_own(tx, c.space, 0, 1, &p));
		OK(swap_in_entry(tx, &p, table_entry(tx, &p)));
		OK(pmpt_protect(tx, c.space, 0, 2 * P4K, PMPT_R));
		expect(0, 2);
		OK(commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx));
		core_verify(&c);
	}
	expect(0, 1);
	expect(1, 2);
}

/* ---- on and off ------------------------------------------------------------------------------ */

static void on_and_off(void **state)
{
	struct pmpt_swap_status st;
	uint64_t reserved = core_stats(&c).frames_reserved;
	pmpt_space *t;

	(void)state;
	OK(pmpt_swap_status(c.pool, &st));
	assert_string_equal(st.path, "");
	assert_int_equal(pmpt_swap_off(c.pool), PMPT_E_SWAP);
	assert_int_equal(pmpt_evict(c.pool, 1, NULL), PMPT_E_SWAP);
	assert_int_equal(pmpt_swap_out(c.space, 0, P4K, NULL), PMPT_E_SWAP);
	OK(pmpt_swap_on(c.pool, "/swap", SLOTS * P4K));
	expect_refused(pmpt_swap_on(c.pool, "/other", SLOTS * P4K), PMPT_E_SWAP, "/swap");
	assert_int_equal(core_stats(&c).frames_reserved, reserved + 2);
	OK(pmpt_swap_status(c.pool, &st));
	assert_string_equal(st.path, "/swap");
	assert_int_equal(st.slots, SLOTS);
	core_verify(&c);
	OK(pmpt_space_create(c.pool, "t", &t));
	make_in(t, 7, 10);
	make(0, 10);
	OK(pmpt_swap_out(t, 7 * P4K, 10 * P4K, NULL));
	pmpt_space_close(t);
	assert_int_equal(out(0, 10), 10);
	core_reopen(&c, false);
	OK(pmpt_swap_off(c.pool));
	assert_int_equal(core_stats(&c).frames_reserved, reserved);
	assert_false(disk.there);
	assert_int_equal(word_load(&c.pool->sb->features) & SB_FEATURE_SWAP, 0);
	core_verify(&c);
	OK(pmpt_space_open(c.pool, "t", &t));
	for (uint64_t i = 7; i < 17; i++)
		expect_in(t, i * P4K, i, 1);
	pmpt_space_close(t);
	for (unsigned i = 0; i < 3; i++) {
		OK(pmpt_swap_on(c.pool, "/swap", (SLOTS - i) * P4K));
		assert_int_equal(out(0, 10), 10);
		core_reopen(&c, i % 2);
		assert_int_equal(in(0, 5), 5);
		OK(pmpt_swap_off(c.pool));
		core_verify(&c);
	}
	for (uint64_t i = 0; i < 10; i++)
		expect(i, 1);
}

static void on_refused(void **state)
{
	static char longest[PMPT_SWAP_PATH_MAX + 2];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	assert_int_equal(pmpt_swap_on(c.pool, NULL, P4K), -EINVAL);
	assert_int_equal(pmpt_swap_on(c.pool, "", P4K), -EINVAL);
	assert_int_equal(pmpt_swap_on(c.pool, "/swap", 0), -EINVAL);
	assert_int_equal(pmpt_swap_on(c.pool, "/swap", P4K + 1), -EINVAL);
	assert_int_equal(pmpt_swap_on(c.pool, "/swap", UINT64_MAX & ~(P4K - 1)), -EINVAL);
	assert_int_equal(pmpt_swap_on(c.pool, longest, P4K), -ENAMETOOLONG);
	expect_refused(pmpt_swap_on(c.pool, "/swap", 1000 * P4K), -ENOSPC, "allocating");
	assert_false(disk.there);
	assert_int_equal(word_load(&c.pool->sb->features) & SB_FEATURE_SWAP, 0);
	disk.fail_sync = 0;
	assert_int_equal(pmpt_swap_on(c.pool, "/swap", P4K), -EIO);
	OK(pmpt_map(NULL, c.space, 0, 900, PMPT_PFN_ALLOC, RW));
	for (uint64_t i = 2000; !pmpt_map(NULL, c.space, i * P4K, 1, PMPT_PFN_ALLOC, RW); i++)
		;
	assert_int_equal(pmpt_swap_on(c.pool, "/swap", P4K), PMPT_E_NO_FRAMES);
	assert_false(disk.there);
	assert_int_equal(word_load(&c.pool->sb->features) & SB_FEATURE_SWAP, 0);
	core_verify(&c);
}

/* Off without room for all: it stays on. */
static void off_no_room(void **state)
{
	uint64_t i = 2000;

	(void)state;
	make(0, 40);
	assert_int_equal(out(0, 40), 40);
	OK(pmpt_map(NULL, c.space, P4K * 1000, 512, PMPT_PFN_ALLOC, RW));
	for (; !pmpt_map(NULL, c.space, i * P4K, 1, PMPT_PFN_ALLOC, RW); i++)
		;
	OK(pmpt_unmap(NULL, c.space, (i - 4) * P4K, 4 * P4K));
	assert_int_equal(pmpt_swap_off(c.pool), PMPT_E_NO_FRAMES);
	core_verify(&c);
	for (uint64_t k = 0; k < 40; k++)
		expect(k, k < 40 - used() ? 1 : 2);
	OK(pmpt_unmap(NULL, c.space, P4K * 1000, P4K * 512));
	OK(pmpt_swap_off(c.pool));
	for (uint64_t k = 0; k < 40; k++)
		expect(k, 1);
	core_verify(&c);
}

/* The nth allocation fails in on, off, out and in. */
static void no_memory(void **state)
{
	int rc;

	(void)state;
	for (long n = 0;; n++) {
		mem_fail_after = n;
		rc = pmpt_swap_on(c.pool, "/swap", SLOTS * P4K);
		mem_fail_after = -1;
		core_verify(&c);
		if (!rc)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_false(disk.there);
	}
	make(0, 10);
	for (long n = 0;; n++) {
		uint64_t done;

		mem_fail_after = n;
		rc = pmpt_swap_out(c.space, 0, 10 * P4K, &done);
		mem_fail_after = -1;
		core_verify(&c);
		if (!rc && done == 10)
			break;
		assert_int_equal(rc, -ENOMEM);
	}
	for (long n = 0;; n++) {
		mem_fail_after = n;
		rc = pmpt_swap_off(c.pool);
		mem_fail_after = -1;
		core_verify(&c);
		if (!rc)
			break;
		assert_int_equal(rc, -ENOMEM);
	}
	for (uint64_t i = 0; i < 10; i++)
		expect(i, 1);
}

/* ---- the file fails, is lost, lies ----------------------------------------------------------- */

static void failed_sync(void **state)
{
	struct pmpt_swap_status st;
	uint64_t done = 5;

	(void)state;
	make(0, 20);
	assert_int_equal(out(0, 5), 5);
	disk.fail_sync = 0;
	expect_refused(pmpt_swap_out(c.space, 0, 20 * P4K, &done), PMPT_E_SWAP, "fdatasync");
	assert_int_equal(done, 0);
	expect_refused(pmpt_swap_out(c.space, 0, 20 * P4K, &done), PMPT_E_SWAP, "failed before");
	expect_refused(pmpt_evict(c.pool, 3, &done), PMPT_E_SWAP, "failed before");
	OK(pmpt_swap_status(c.pool, &st));
	assert_int_equal(st.failed, -EIO);
	assert_int_equal(st.used, 5);
	core_verify(&c);
	for (uint64_t i = 0; i < 20; i++)
		expect(i, i < 5 ? 2 : 1);
	OK(pmpt_swap_off(c.pool)); /* what is valid is read */
	for (uint64_t i = 0; i < 20; i++)
		expect(i, 1);
	OK(pmpt_swap_on(c.pool, "/swap", SLOTS * P4K)); /* another file */
	assert_int_equal(out(0, 20), 20);
	core_verify(&c);
}

static void failed_write(void **state)
{
	(void)state;
	make(0, 20);
	disk.fail_write = 1;
	disk.error = ENOSPC;
	expect_refused(pmpt_swap_out(c.space, 0, 20 * P4K, NULL), PMPT_E_SWAP, "No space");
	for (uint64_t i = 0; i < 20; i++)
		expect(i, 1);
	core_verify(&c);
}

/* One damaged slot: that page is lost and can be overwritten or unmapped; no other suffers. */
static void damaged_slot(void **state)
{
	uint64_t done = 0, slot;
	char buf[4096];

	(void)state;
	make(0, 6);
	assert_int_equal(out(0, 6), 6);
	for (unsigned i = 3; i < 5; i++) {
		slot = entry_pfn(entry_at(c.space, i * P4K)) - SLOT_FIRST;
		disk.now[swap_file_page(&c.pool->swap.file, slot) + 100] ^= 4;
	}
	expect_refused(pmpt_swap_in(c.space, 0, 6 * P4K, &done), PMPT_E_SLOT, "crc");
	assert_int_equal(done, 3);
	assert_int_equal(read_in(c.space, 3 * P4K, buf), -1);
	assert_int_equal(pmpt_swap_off(c.pool), PMPT_E_SLOT);
	expect(5, 2);
	make(3, 1);
	expect(3, 1);
	OK(pmpt_unmap(NULL, c.space, 4 * P4K, P4K));
	assert_int_equal(in(0, 6), 1);
	core_verify(&c);
	OK(pmpt_swap_off(c.pool));
}

/* An older copy of the file is in its place: what has changed since is known to be older. */
static void older_file(void **state)
{
	static struct swap_disk old;
	unsigned lost = 0;

	(void)state;
	make(0, 8);
	assert_int_equal(out(0, 8), 8);
	old = disk;
	assert_int_equal(in(2, 4), 4);
	make(2, 4);
	assert_int_equal(out(2, 4), 4);
	for (unsigned round = 0; round < 20; round++) { /* all slots, in turn */
		assert_int_equal(in(2, 4), 4);
		assert_int_equal(out(2, 4), 4);
	}
	core_reopen(&c, true);
	disk = old;
	for (uint64_t i = 0; i < 8; i++) {
		char buf[4096], right[4096];
		int where = read_in(c.space, i * P4K, buf);

		fill(right, i);
		lost += where < 0;
		assert_true(where < 0 || !memcmp(buf, right, sizeof(buf)));
		if (i < 2 || i >= 6)
			assert_int_equal(where, 2);
	}
	assert_int_equal(lost, 4);
}

/* At open the file is gone, another's, short or damaged: named; only the pages in it are lost. */
static void lost_file(void **state)
{
	static struct swap_disk good;
	struct pmpt_swap_status st;

	(void)state;
	make(0, 10);
	assert_int_equal(out(3, 4), 4);
	good = disk;
	for (unsigned way = 0; way < 4; way++) {
		disk = good;
		if (way == 0)
			disk.there = false;
		else if (way == 1)
			disk.now[20] ^= 1; /* the uuid, and so the crc */
		else if (way == 2)
			disk.bytes -= 4096;
		else
			memset(disk.now, 0, sizeof(disk.now));
		logged[0] = 0;
		core_reopen(&c, true);
		assert_non_null(strstr(logged, "/swap"));
		OK(pmpt_swap_status(c.pool, &st));
		assert_int_equal(st.missing, way ? PMPT_E_SWAP : -ENOENT);
		assert_int_equal(st.used, 4);
		for (uint64_t i = 0; i < 10; i++) {
			char buf[4096];

			if (i < 3 || i >= 7)
				expect(i, 1);
			else
				assert_int_equal(read_in(c.space, i * P4K, buf), -1);
		}
		expect_refused(pmpt_swap_in(c.space, 0, 10 * P4K, NULL), PMPT_E_SLOT, "lost");
		expect_refused(pmpt_swap_out(c.space, 0, 10 * P4K, NULL), PMPT_E_SWAP, "/swap");
		assert_int_equal(pmpt_swap_off(c.pool), PMPT_E_SLOT);
		core_verify(&c);
	}
	make(3, 2);
	OK(pmpt_unmap(NULL, c.space, 5 * P4K, P4K));
	disk = good;
	core_reopen(&c, true); /* it is back */
	expect(3, 1);
	expect(6, 2);
	disk.there = false;
	core_reopen(&c, true);
	OK(pmpt_unmap(NULL, c.space, 6 * P4K, P4K));
	OK(pmpt_swap_off(c.pool));
	core_verify(&c);
	OK(pmpt_swap_on(c.pool, "/swap", SLOTS * P4K));
	assert_int_equal(out(0, 10), 8);
}

/* ---- the clock ------------------------------------------------------------------------------- */

static void set_accessed(uint64_t va)
{
	pm_word *table = (pm_word *)swap_table(c.space, &(uint64_t){ va }, va + 1);

	(void)atomic_fetch_or(&table[level_index(va, 1)], ENTRY_A);
}

static void second_chance(void **state)
{
	uint64_t done;

	(void)state;
	make(0, 10);
	for (uint64_t i = 0; i < 10; i += 2)
		set_accessed(i * P4K);
	OK(pmpt_evict(c.pool, 5, &done));
	assert_int_equal(done, 5);
	for (uint64_t i = 0; i < 10; i++)
		expect(i, i % 2 ? 2 : 1);
	OK(pmpt_evict(c.pool, 2, &done));
	assert_int_equal(done, 2);
	OK(pmpt_evict(c.pool, 100, &done));
	assert_int_equal(done, 3);
	assert_int_equal(used(), 10);
	core_verify(&c);
	OK(pmpt_evict(c.pool, 100, &done));
	assert_int_equal(done, 0);
	assert_int_equal(in(3, 2), 2); /* they have their turn */
	OK(pmpt_evict(c.pool, 1, &done));
	core_verify(&c);
}

/* Over several spaces, open or not. */
static void all_spaces(void **state)
{
	uint64_t done;
	pmpt_space *t;

	(void)state;
	OK(pmpt_space_create(c.pool, "t", &t));
	make_in(t, 3, 10);
	make(0, 10);
	pmpt_space_close(t);
	OK(pmpt_evict(c.pool, 20, &done));
	assert_int_equal(done, 20);
	core_verify(&c);
	OK(pmpt_space_open(c.pool, "t", &t));
	for (uint64_t i = 3; i < 13; i++)
		expect_in(t, i * P4K, i, 2);
	pmpt_space_close(t);
	OK(pmpt_space_delete(c.pool, "t"));
	assert_int_equal(used(), 10);
}

/* A caller without frames evicts others' pages; not those of its own transaction's tables. */
static void caller_evicts(void **state)
{
	uint64_t i = 2000, before;

	(void)state;
	assert_int_equal(pmpt_swap_auto(c.pool, 2, 1), -EINVAL);
	assert_int_equal(pmpt_swap_auto(c.pool, 0, 1), -EINVAL);
	make(0, 40);
	OK(pmpt_map(NULL, c.space, P4K * 1000, 512, PMPT_PFN_ALLOC, RW | PMPT_EXT * 0));
	for (; !pmpt_map(NULL, c.space, i * P4K, 1, PMPT_PFN_ALLOC, RW); i++)
		;
	assert_int_equal(used(), 0);
	atomic_store(&c.pool->swap.low, 1); /* marks, and no thread */
	atomic_store(&c.pool->swap.high, 8);
	before = used();
	OK(pmpt_map(NULL, c.space, i * P4K, 1, PMPT_PFN_ALLOC, RW));
	assert_true(used() > before);
	core_verify(&c);
	for (uint64_t k = 0; k < 40; k++)
		expect(k, entry_at(c.space, k * P4K) & ENTRY_P ? 1 : 2);
}

static void thread_evicts(void **state)
{
	(void)state;
	make(0, 40);
	OK(pmpt_map(NULL, c.space, P4K * 1000, 512, PMPT_PFN_ALLOC, RW));
	OK(pmpt_swap_auto(c.pool, 1 << 20, 1 << 20)); /* never enough */
	for (unsigned tries = 0; used() < SLOTS && tries < 2000; tries++)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	assert_int_equal(used(), SLOTS);
	OK(pmpt_swap_auto(c.pool, 0, 0));
	core_verify(&c);
	assert_int_equal(in(0, 40), 40);
	for (uint64_t i = 0; i < 40; i++)
		expect(i, 1);
	OK(pmpt_swap_auto(c.pool, 1, 2));
	assert_int_equal(core_close(c.pool, false), PMPT_E_BUSY); /* and it goes on */
	assert_true(c.pool->swap.running);
}

/* ---- forks ----------------------------------------------------------------------------------- */

/* A table that relatives share is changed as it is: all see the page move, snapshots too. */
static void forked_together(void **state)
{
	pmpt_space *t, *snap;
	uint64_t tables, done;

	(void)state;
	make(0, 10);
	OK(pmpt_space_fork(c.space, "t", 0, &t));
	OK(pmpt_space_fork(c.space, "snap", PMPT_FORK_SNAPSHOT, &snap));
	tables = core_stats(&c).frames_table;
	assert_int_equal(out(0, 10), 10);
	assert_int_equal(core_stats(&c).frames_table, tables);
	assert_int_equal(used(), 10);
	for (uint64_t i = 0; i < 10; i++) {
		expect(i, 2);
		expect_in(t, i * P4K, i, 2);
		expect_in(snap, i * P4K, i, 2);
	}
	core_verify(&c);
	OK(pmpt_swap_in(snap, 2 * P4K, 3 * P4K, &done));
	assert_int_equal(done, 3);
	expect(3, 1);
	expect_in(t, 3 * P4K, 3, 1);
	assert_int_equal(core_stats(&c).frames_table, tables);
	core_verify(&c);
	OK(pmpt_swap_out(t, 0, 10 * P4K, &done));
	assert_int_equal(done, 3);
	pmpt_space_close(t);
	pmpt_space_close(snap);
	OK(pmpt_space_delete(c.pool, "t"));
	core_verify(&c);
	core_reopen(&c, false);
	assert_int_equal(used(), 10);
	assert_int_equal(in(0, 10), 10);
	core_verify(&c);
	OK(pmpt_space_delete(c.pool, "snap"));
	for (uint64_t i = 0; i < 10; i++)
		expect(i, 1);
	core_verify(&c);
}

/* A fault that reads is no change of a space: no table is copied, and a snapshot may. */
static void faulted_together(void **state)
{
	pmpt_space *t, *snap;
	struct pmpt_mapping m;
	uint64_t tables;
	pmpt_tx *tx;

	(void)state;
	make(0, 10);
	OK(pmpt_map(NULL, c.space, 20 * P4K, 4, PMPT_PFN_ALLOC, RW | PMPT_DEMAND));
	OK(pmpt_space_fork(c.space, "t", 0, &t));
	OK(pmpt_space_fork(c.space, "snap", PMPT_FORK_SNAPSHOT, &snap));
	tables = core_stats(&c).frames_table;
	assert_int_equal(out(0, 10), 10);
	OK(pmpt_fault(NULL, t, P4K, PMPT_R, &m));
	assert_int_equal(m.flags & ~(unsigned)PMPT_COW, RW | PMPT_TAG(3));
	expect(1, 1);
	OK(pmpt_fault(NULL, snap, 2 * P4K + 5, PMPT_R, &m));
	assert_true(m.pfn && !(m.flags & PMPT_OUT));
	expect(2, 1);
	OK(pmpt_fault(NULL, snap, 20 * P4K, PMPT_R, &m));
	assert_true(m.flags & PMPT_DEMAND);
	assert_int_equal(pmpt_fault(NULL, snap, 3 * P4K, PMPT_W, &m), PMPT_E_SNAPSHOT);
	assert_int_equal(pmpt_fault(NULL, snap, 20 * P4K, PMPT_W, &m), PMPT_E_SNAPSHOT);
	assert_int_equal(core_stats(&c).frames_table, tables);
	core_verify(&c);
	/* in a transaction that goes on to change what it has brought in */
	OK(pmpt_begin(c.pool, 0, &tx));
	OK(pmpt_fault(tx, t, 4 * P4K, PMPT_R, NULL));
	OK(pmpt_write(tx, t, 4 * P4K, "x", 1));
	OK(pmpt_fault(tx, t, 5 * P4K, PMPT_R, NULL));
	OK(pmpt_commit(tx, NULL));
	core_verify(&c);
	expect(4, 1);
	expect(5, 2); /* the table is t's own by then */
	expect_in(snap, 4 * P4K, 4, 1);
	expect_in(t, 5 * P4K, 5, 1);
	OK(pmpt_begin(c.pool, 0, &tx));
	OK(pmpt_fault(tx, c.space, 6 * P4K, PMPT_R, NULL));
	OK(pmpt_abort(tx));
	expect(6, 2);
	core_verify(&c);
	pmpt_space_close(t);
	pmpt_space_close(snap);
}

/* A copied table shares the slots; each side brings its own page in, and the slot stays for the other. */
static void forked_apart(void **state)
{
	pmpt_space *t;
	uint64_t done;

	(void)state;
	make(0, 10);
	assert_int_equal(out(0, 8), 8);
	OK(pmpt_space_fork(c.space, "t", 0, &t));
	make_in(t, 9, 1); /* its chain of tables is its own now */
	core_verify(&c);
	assert_int_equal(used(), 8);
	OK(pmpt_unmap(NULL, t, 0, 2 * P4K));
	assert_int_equal(used(), 8);
	core_verify(&c);
	assert_int_equal(in(2, 3), 3);
	for (uint64_t i = 2; i < 5; i++) {
		expect(i, 1);
		expect_in(t, i * P4K, i, 2);
	}
	assert_int_equal(used(), 8);
	make(2, 1);
	expect_in(t, 2 * P4K, 2, 2);
	core_verify(&c);
	OK(pmpt_swap_in(t, 0, 10 * P4K, &done));
	assert_int_equal(done, 6);
	assert_int_equal(used(), 5);
	core_verify(&c);
	assert_int_equal(out(8, 1), 0); /* the frame is both sides' */
	pmpt_space_close(t);
	core_reopen(&c, false);
	OK(pmpt_space_delete(c.pool, "t"));
	core_verify(&c);
}

static void forked_off(void **state)
{
	pmpt_space *t, *snap;
	uint64_t done;

	(void)state;
	make(0, 30);
	OK(pmpt_space_fork(c.space, "t", 0, &t));
	OK(pmpt_space_fork(t, "snap", PMPT_FORK_SNAPSHOT, &snap));
	OK(pmpt_evict(c.pool, 15, &done));
	assert_int_equal(done, 15);
	make_in(t, 3, 2);
	core_verify(&c);
	OK(pmpt_evict(c.pool, 100, &done));
	core_verify(&c);
	OK(pmpt_swap_off(c.pool));
	core_verify(&c);
	for (uint64_t i = 0; i < 30; i++) {
		expect(i, 1);
		expect_in(t, i * P4K, i, 1);
		expect_in(snap, i * P4K, i, 1);
	}
	pmpt_space_close(t);
	pmpt_space_close(snap);
	OK(pmpt_space_delete(c.pool, "t"));
	OK(pmpt_space_delete(c.pool, "snap"));
	core_verify(&c);
}

/* ---- segments, data, faults ------------------------------------------------------------------ */

#define SEG ((uint64_t)6 << 21)

/* A segment's pages go and come for all who map it, also when nobody does. */
static void segments(void **state)
{
	uint64_t done, word = 0;
	pmpt_space *t;

	(void)state;
	OK(pmpt_space_create(c.pool, "t", &t));
	OK(pmpt_segment_create(c.pool, "seg", 2 << 20));
	OK(pmpt_segment_map(NULL, c.space, SEG, "seg", RW));
	OK(pmpt_segment_map(NULL, t, 2 * SEG, "seg", PMPT_R));
	for (uint64_t i = 0; i < 10; i++)
		OK(pmpt_write(NULL, c.space, SEG + i * P4K, &i, sizeof(i)));
	OK(pmpt_swap_out(t, 2 * SEG, 5 * P4K, &done));
	assert_int_equal(done, 5);
	core_verify(&c);
	for (uint64_t i = 0; i < 10; i++) {
		OK(pmpt_read(NULL, c.space, SEG + i * P4K, &word, sizeof(word)));
		assert_int_equal(word, i);
		OK(pmpt_read(NULL, t, 2 * SEG + i * P4K, &word, sizeof(word)));
		assert_int_equal(word, i);
	}
	OK(pmpt_fault(NULL, t, 2 * SEG, PMPT_R, NULL));
	assert_true(entry_at(c.space, SEG) & ENTRY_P);
	assert_int_equal(used(), 4);
	word = 77;
	OK(pmpt_write(NULL, c.space, SEG + P4K + 8, &word, sizeof(word)));
	OK(pmpt_read(NULL, t, 2 * SEG + P4K, &word, sizeof(word)));
	assert_int_equal(word, 1);
	assert_int_equal(used(), 3);
	core_verify(&c);
	OK(pmpt_segment_unmap(NULL, c.space, SEG, "seg"));
	OK(pmpt_segment_unmap(NULL, t, 2 * SEG, "seg"));
	OK(pmpt_evict(c.pool, 100, &done));
	assert_int_equal(used(), 10);
	core_verify(&c);
	OK(pmpt_swap_off(c.pool));
	core_verify(&c);
	OK(pmpt_segment_map(NULL, t, SEG, "seg", PMPT_R));
	for (uint64_t i = 0; i < 10; i++) {
		OK(pmpt_read(NULL, t, SEG + i * P4K, &word, sizeof(word)));
		assert_int_equal(word, i);
	}
	pmpt_space_close(t);
}

/* A part of a page that is out is written; a fault brings one; a damaged one is told and overwritten. */
static void written_and_faulted(void **state)
{
	struct pmpt_mapping m;
	char buf[4096];
	uint64_t slot;
	pmpt_tx *tx;

	(void)state;
	make(0, 5);
	assert_int_equal(out(0, 5), 5);
	OK(pmpt_write(NULL, c.space, 100, "hello", 5));
	OK(pmpt_read(NULL, c.space, 0, buf, sizeof(buf)));
	assert_memory_equal(buf + 100, "hello", 5);
	assert_int_equal(((uint64_t *)(void *)buf)[20], 20);
	OK(pmpt_fault(NULL, c.space, P4K, PMPT_W, &m));
	assert_int_equal(m.flags & PMPT_PROT_MASK, RW);
	expect(1, 1);
	OK(pmpt_begin(c.pool, 0, &tx));
	OK(pmpt_write(tx, c.space, 2 * P4K, "tx", 2));
	OK(pmpt_tx_read(tx, c.space, 2 * P4K, buf, 2));
	assert_memory_equal(buf, "tx", 2);
	OK(pmpt_tx_read(tx, c.space, 3 * P4K, buf, sizeof(buf)));
	assert_int_equal(*(uint64_t *)(void *)buf, 3 * 1000003);
	OK(pmpt_abort(tx));
	expect(2, 2);
	slot = entry_pfn(entry_at(c.space, 4 * P4K)) - SLOT_FIRST;
	disk.now[swap_file_page(&c.pool->swap.file, slot)] ^= 1;
	assert_int_equal(pmpt_read(NULL, c.space, 4 * P4K, buf, 10), PMPT_E_SLOT);
	assert_int_equal(pmpt_fault(NULL, c.space, 4 * P4K, PMPT_R, NULL), PMPT_E_SLOT);
	assert_int_equal(pmpt_write(NULL, c.space, 4 * P4K, "x", 1), PMPT_E_SLOT);
	fill(buf, 4);
	OK(pmpt_write(NULL, c.space, 4 * P4K, buf, sizeof(buf))); /* all of it: nothing is read */
	expect(4, 1);
	core_verify(&c);
}

/* ---- views ----------------------------------------------------------------------------------- */

/* A view reads a page where it was, in a frame or in a slot, whatever has become of it. */
static void viewed(void **state)
{
	char buf[4096], right[4096];
	pmpt_view *view;
	uint64_t done;

	(void)state;
	make(0, 6);
	assert_int_equal(out(0, 3), 3);
	OK(pmpt_view_open(c.pool, &view));
	assert_int_equal(in(0, 2), 2);
	make(0, 1);
	OK(pmpt_write(NULL, c.space, P4K, "x", 1));
	OK(pmpt_unmap(NULL, c.space, 2 * P4K, P4K));
	assert_int_equal(out(3, 3), 3);
	OK(pmpt_write(NULL, c.space, 3 * P4K, "x", 1));
	for (unsigned round = 0; round < 70; round++) { /* no slot that it needs is used again */
		make(10, 3);
		assert_int_equal(out(10, 3), 3);
		assert_int_equal(in(10, 3), 3);
		OK(frames_reclaim(&c.pool->frames, true));
		if (used() + frames_slots_pending(&c.pool->frames) + 3 > SLOTS)
			break;
	}
	for (uint64_t i = 0; i < 6; i++) {
		fill(right, i);
		OK(pmpt_read(view, c.space, i * P4K, buf, sizeof(buf)));
		assert_memory_equal(buf, right, sizeof(buf));
	}
	core_verify(&c);
	OK(pmpt_unmap(NULL, c.space, 0, 100 * P4K));
	expect_refused(pmpt_swap_off(c.pool), PMPT_E_BUSY, "view");
	OK(pmpt_read(view, c.space, 2 * P4K, buf, sizeof(buf)));
	pmpt_view_close(view);
	OK(pmpt_swap_off(c.pool));
	OK(pmpt_swap_on(c.pool, "/swap", SLOTS * P4K));
	make(0, 6);
	OK(pmpt_evict(c.pool, 6, &done));
	assert_int_equal(done, 6);
	core_verify(&c);
}

/* ---- the verifier, and damaged pools --------------------------------------------------------- */

struct heard {
	const char *rule, *says;
	bool heard;
};

static void hear(void *ctx, const struct pmpt_finding *f)
{
	struct heard *h = ctx;

	h->heard |= !strcmp(f->rule, h->rule) && strstr(f->message, h->says);
}

/* The word is `value`: the verifier says this. */
static void finds(pm_word *word, uint64_t value, const char *rule, const char *says)
{
	struct heard h = { rule, says, false };
	struct check_options o = { .finding = hear, .ctx = &h };
	struct pmpt_check summary = { 0 };
	uint64_t was = word_load(word);
	struct mem mem;

	assert_int_equal(mem_init(&mem), 0);
	atomic_store(word, value);
	assert_int_equal(check_region_tree(&c.rg, &mem, &o, &summary), 0);
	atomic_store(word, was);
	mem_fini(&mem);
	if (!h.heard)
		fail_msg("%lu findings, none is %s: %s", summary.findings, rule, says);
}

static pm_word *desc_of(uint64_t entry) { return frames_desc(&c.pool->frames, entry_pfn(entry)); }

static void verifier_bites(void **state)
{
	pm_word *area = region_at(&c.rg, c.pool->swap.area.off), *entry, *desc;
	struct space_record *r =
		(struct space_record *)region_at(&c.rg, region_sb(&c.rg)->directory) + 1;

	(void)state;
	make(0, 4);
	assert_int_equal(out(0, 3), 3);
	OK(pmpt_checkpoint(c.pool));
	entry = (pm_word *)swap_table(c.space, &(uint64_t){ 0 }, 1);
	desc = desc_of(word_load(entry));
	finds(desc, word_load(desc) + 1, "F4", "slot 0 has count 2, expected 1");
	finds(desc, word_load(desc) & ~DESC_COUNT, "F3", "slot 0 is free");
	finds(desc + 5, desc_make(DESC_SLOT, 1), "F3", "slot 5 has count 1");
	finds(desc, word_load(desc) & ~DESC_KIND, "descriptor", "slot 0, expected kind 4");
	finds(desc + SLOTS, 1, "descriptor", "no such slot");
	finds(entry, word_load(entry) + (SLOTS << FRAME_SHIFT), "entry", "names slot 0x40");
	finds(entry, word_load(entry) & ~ENTRY_PFN, "entry", "names slot");
	finds(entry, word_load(entry) | ENTRY_A, "entry", "other bits");
	finds(entry, (word_load(entry) & ~ENTRY_KIND) | (uint64_t)7 << ENTRY_KIND_SHIFT, "entry",
	      "");
	finds(area + 40, 1, "swap", "crc");
	finds(&r->user[0], 7, "swap", "word 0");
	finds(&r->user[1], 7, "swap", "word 1");
	finds(&r->name[0], 7, "swap", "has a name");
	finds(&r->root, 0, "swap", "frame of the pool");
	finds(&r[1].state, RECORD_IS_SWAP, "swap", "a second");
	finds(&region_sb(&c.rg)->features, SB_FEATURE_SPACES, "swap", "does not say so");
	desc = desc_of(c.pool->swap.area.off);
	finds(desc, 0, "F3", "the swap area");
	finds(desc, desc_make(DESC_DATA, 1), "descriptor", "the swap area");
	core_verify(&c);
}

/* A copy of the pool in memory of its own. */
static struct region copy_make(void)
{
	struct region copy = c.rg;

	copy.base =
		mmap(NULL, copy.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(copy.base != MAP_FAILED);
	memcpy(copy.base, c.rg.base, copy.bytes);
	pm_medium_init(&copy.medium, copy.base, copy.bytes, PM_CACHE_LINE);
	return copy;
}

/* A line on a slot where no area is: refused before anything is stored. */
static void replay_refuses(void **state)
{
	struct region copy;
	struct pmpt_pool *pool;
	pm_word *area;

	(void)state;
	make(0, 4);
	assert_int_equal(out(0, 3), 3);
	copy = copy_make();
	area = region_at(&copy, c.pool->swap.area.off);
	(void)atomic_fetch_xor(area + 30, 1);
	expect_refused(core_open(&copy, PMPT_OPEN_NO_GROW, &pool), PMPT_E_CORRUPT, "class 1");
	(void)atomic_fetch_xor(area + 30, 1);
	OK(core_open(&copy, PMPT_OPEN_NO_GROW, &pool));
	OK(core_close(pool, true));
	(void)atomic_fetch_xor(area + 30, 1); /* no line, and the record names it */
	expect_refused(core_open(&copy, PMPT_OPEN_NO_GROW, &pool), PMPT_E_CORRUPT, "swap area");
	munmap(copy.base, copy.bytes);
}

/* Use it as far as it can be. */
static void use(struct pmpt_pool *pool)
{
	struct pmpt_space *space;
	uint64_t done;

	if (!pmpt_space_open(pool, "s", &space)) {
		(void)pmpt_swap_in(space, 0, 50 * P4K, &done);
		(void)pmpt_swap_out(space, 0, 50 * P4K, &done);
		(void)pmpt_unmap(NULL, space, 0, 10 * P4K);
		(void)pmpt_evict(pool, 3, &done);
		pmpt_space_close(space);
	}
	(void)pmpt_swap_off(pool);
	assert_int_equal(core_close(pool, true), 0);
}

/* Garbage where the tier looks: refused, or used as it can be, and never followed. */
static void fuzzed(void **state)
{
	static struct swap_disk good;
	uint64_t seed = 12345, refused = 0, opened = 0, place[4];

	(void)state;
	make(0, 40);
	assert_int_equal(out(0, 30), 30);
	good = disk;
	place[0] = c.pool->swap.area.off;
	place[1] = place[0] + FRAME_BYTES;
	place[2] = region_sb(&c.rg)->directory + 256;
	place[3] = region_off(&c.rg, swap_table(c.space, &(uint64_t){ 0 }, 1));
	for (unsigned round = 0; round < 400; round++) {
		struct region copy = copy_make();
		struct pmpt_pool *pool;

		disk = good;
		for (unsigned k = 0; k < 1 + round % 3; k++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			pm_word *w =
				region_at(&copy, place[seed >> 60 & 3] + (seed >> 40) % 48 * 8);

			atomic_store(w, round % 2 ? word_load(w) ^ (uint64_t)1 << (seed >> 34 & 63)
						  : seed);
		}
		if (core_open(&copy, PMPT_OPEN_NO_GROW, &pool)) {
			refused++;
		} else {
			opened++;
			use(pool);
		}
		munmap(copy.base, copy.bytes);
	}
	disk = good;
	print_message("%lu refused, %lu opened\n", refused, opened);
	assert_true(refused > 20 && opened > 100);
}

/* ---- the real thing -------------------------------------------------------------------------- */

static void real_file(void **state)
{
	char where[PLACE_BYTES], name[PLACE_BYTES + 8];
	uint64_t done;

	(void)state;
	if (!place_file(where))
		skip();
	swap_io = &swap_io_posix;
	(void)snprintf(name, sizeof(name), "%s/swap", where);
	OK(pmpt_swap_on(c.pool, name, 300 * P4K));
	make(0, 250);
	OK(pmpt_evict(c.pool, 1000, &done));
	assert_int_equal(done, 250);
	core_reopen(&c, false);
	for (uint64_t i = 0; i < 250; i++)
		expect(i, 2);
	core_verify(&c);
	OK(pmpt_swap_off(c.pool));
	for (uint64_t i = 0; i < 250; i++)
		expect(i, 1);
	assert_int_equal(files_in(where), 0);
	place_remove(where);
}

/* Disk full, unwritable, another pool's. */
static void bad_files(void **state)
{
	char where[PLACE_BYTES], name[PLACE_BYTES + 8];
	struct core other;

	(void)state;
	swap_io = &swap_io_posix;
	assert_int_equal(pmpt_swap_on(c.pool, "/nonexistent/swap", P4K), -ENOENT);
	assert_int_equal(pmpt_swap_on(c.pool, "/proc/swap", P4K), -ENOENT);
	assert_int_equal(pmpt_swap_on(c.pool, "/dev/null", P4K), -EEXIST);
	if (place_small(where, 1 << 20)) {
		(void)snprintf(name, sizeof(name), "%s/swap", where);
		expect_refused(pmpt_swap_on(c.pool, name, 2 << 20), -ENOSPC, name);
		assert_int_equal(files_in(where), 0);
		OK(pmpt_swap_on(c.pool, name, 512 << 10));
		core_make(&other, 1024, 256, 256);
		region_sb(&other.rg)->salt++;
		expect_refused(pmpt_swap_on(other.pool, name, 512 << 10), -EEXIST, name);
		region_sb(&other.rg)->salt--;
		core_free(&other);
		OK(pmpt_swap_off(c.pool));
		place_remove(where);
	}
	core_verify(&c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define OFF(f)  cmocka_unit_test_setup_teardown(f, setup_off, teardown)
	const struct CMUnitTest tests[] = {
		TEST(out_and_in),
		TEST(again),
		TEST(slots_full),
		TEST(stays),
		TEST(unmapped),
		TEST(deleted),
		TEST(conflicts),
		TEST(shared_slot),
		TEST(in_transaction),
		OFF(on_and_off),
		OFF(on_refused),
		TEST(off_no_room),
		OFF(no_memory),
		TEST(failed_sync),
		TEST(failed_write),
		TEST(damaged_slot),
		TEST(older_file),
		TEST(lost_file),
		TEST(second_chance),
		TEST(all_spaces),
		TEST(caller_evicts),
		TEST(thread_evicts),
		OFF(real_file),
		OFF(bad_files),
		TEST(verifier_bites),
		TEST(replay_refuses),
		TEST(fuzzed),
		TEST(forked_together),
		TEST(faulted_together),
		TEST(forked_apart),
		TEST(forked_off),
		TEST(changed_meanwhile),
		TEST(segments),
		TEST(viewed),
		TEST(written_and_faulted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
