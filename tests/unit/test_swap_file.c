/* SPDX-License-Identifier: BSD-3-Clause */
/* test_swap_file -- slots that validate themselves: their writes lost, kept or torn in every
 * combination of sectors; older content; the wrong place; flipped bits; calls that fail; headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "pool_file.h"
#include "swap_disk.h"

#define SLOTS 16

static char page[4096], other[4096], out[4096];
static struct swap_slot room[SLOTS];
static struct swap_file f;

static int setup(void **state)
{
	(void)state;
	disk_begin();
	f = (struct swap_file){ .path = "swap",
				.fd = -1,
				.uuid = "0123456789abcde",
				.salt = 0x5a17,
				.id = 77,
				.slots = SLOTS };
	memset(page, 'p', sizeof(page));
	memset(other, 'o', sizeof(other));
	OK(swap_file_create(&f));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	swap_file_close(&f);
	swap_io = &swap_io_posix;
	return 0;
}

static void put(uint64_t slot, uint32_t generation, const void *data)
{
	OK(swap_file_write(&f, slot, 1, &generation, data, room));
}

static void expect(uint64_t slot, uint32_t generation, const void *data)
{
	memset(out, 0, sizeof(out));
	OK(swap_file_read(&f, slot, generation, out));
	assert_memory_equal(out, data, sizeof(out));
}

static void round_trip(void **state)
{
	uint32_t generation[3] = { 1, 2, 3 };
	char pages[3][4096];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		memset(pages[i], 'a' + (int)i, sizeof(pages[i]));
	OK(swap_file_write(&f, 5, 3, generation, pages, room));
	OK(swap_file_sync(&f));
	for (unsigned i = 0; i < 3; i++)
		expect(5 + i, 1 + i, pages[i]);
	OK(swap_file_open(&(struct swap_file){ .path = "swap",
					       .fd = -1,
					       .uuid = "0123456789abcde",
					       .salt = 0x5a17,
					       .id = 77,
					       .slots = SLOTS }));
}

/* Every way in which the sectors of one slot's write can land: it is read only when all have. */
static void torn(void **state)
{
	unsigned good = 0;

	(void)state;
	put(3, 1, page);
	OK(swap_file_sync(&f));
	for (unsigned way = 0; way < 512; way++) {
		static struct swap_disk before;
		bool kept[9];

		before = disk;
		put(3, 2, other);
		assert_int_equal(disk.n_pending, 9); /* eight of the page, one of headers */
		for (unsigned i = 0; i < 9; i++)
			kept[i] = way >> i & 1;
		disk_crash(kept);
		if (way == 511) {
			expect(3, 2, other);
			good++;
		} else {
			expect_refused(swap_file_read(&f, 3, 2, out), PMPT_E_SLOT, "slot 3");
		}
		if (way == 0)
			expect(3, 1, page);
		disk = before;
	}
	assert_int_equal(good, 1);
}

/* Neighbours in the same sector of headers do not suffer, whatever lands. */
static void neighbours(void **state)
{
	(void)state;
	put(2, 1, page);
	OK(swap_file_sync(&f));
	for (unsigned way = 0; way < 512; way++) {
		static struct swap_disk before;
		bool kept[9];

		before = disk;
		put(3, 2, other);
		for (unsigned i = 0; i < 9; i++)
			kept[i] = way >> i & 1;
		disk_crash(kept);
		expect(2, 1, page);
		disk = before;
	}
}

static void stale(void **state)
{
	(void)state;
	put(3, 1, page);
	expect_refused(swap_file_read(&f, 3, 2, out), PMPT_E_SLOT, "an older page");
	expect_refused(swap_file_read(&f, 4, 0, out), PMPT_E_SLOT, "slot 4");
	expect_refused(swap_file_read(&f, SLOTS, 1, out), PMPT_E_SLOT, "slot 16 of 16");
}

/* What came to the wrong place, or is of another file, is not taken for it. */
static void misplaced(void **state)
{
	(void)state;
	put(3, 1, page);
	memcpy(disk.now + swap_file_headers(4), disk.now + swap_file_headers(3), 64);
	memcpy(disk.now + swap_file_page(&f, 4), page, sizeof(page));
	expect_refused(swap_file_read(&f, 4, 1, out), PMPT_E_SLOT, "slot 3, expected");
	f.id++;
	expect_refused(swap_file_read(&f, 3, 1, out), PMPT_E_SLOT, "id 0x4d");
	f.id--;
	f.salt++;
	expect_refused(swap_file_read(&f, 3, 1, out), PMPT_E_SLOT, "salt 0x5a17");
	f.salt--;
	expect(3, 1, page);
}

static void flipped(void **state)
{
	(void)state;
	put(3, 1, page);
	for (unsigned bit = 0; bit < 64 * 8; bit++) {
		char *at = disk.now + swap_file_headers(3) + bit / 8;

		*at = (char)(*at ^ 1 << bit % 8);
		assert_int_equal(swap_file_read(&f, 3, 1, out), PMPT_E_SLOT);
		*at = (char)(*at ^ 1 << bit % 8);
	}
	for (unsigned bit = 0; bit < 4096 * 8; bit += 7) {
		char *at = disk.now + swap_file_page(&f, 3) + bit / 8;

		*at = (char)(*at ^ 1 << bit % 8);
		expect_refused(swap_file_read(&f, 3, 1, out), PMPT_E_SLOT, "crc");
		*at = (char)(*at ^ 1 << bit % 8);
	}
	expect(3, 1, page);
}

/* A failed sync or write is final: no later one succeeds; what is valid is read. */
static void failed_sync(void **state)
{
	(void)state;
	put(1, 1, page);
	OK(swap_file_sync(&f));
	put(2, 1, other);
	disk.fail_sync = 0;
	expect_refused(swap_file_sync(&f), PMPT_E_SWAP, "fdatasync: Input/output error");
	unsigned long syncs = disk.syncs, writes = disk.writes;

	expect_refused(swap_file_sync(&f), PMPT_E_SWAP, "failed before");
	expect_refused(swap_file_write(&f, 3, 1, &(uint32_t){ 1 }, page, room), PMPT_E_SWAP,
		       "failed before");
	assert_int_equal(disk.syncs, syncs);
	assert_int_equal(disk.writes, writes);
	expect(1, 1, page);
}

static void failed_write(void **state)
{
	(void)state;
	for (int nth = 0; nth < 2; nth++) { /* the pages; the headers */
		disk.fail_write = nth;
		disk.error = ENOSPC;
		expect_refused(swap_file_write(&f, 3, 1, &(uint32_t){ 1 }, page, room), PMPT_E_SWAP,
			       nth ? "writing slot headers: No space" : "writing pages: No space");
		expect_refused(swap_file_sync(&f), PMPT_E_SWAP, "failed before");
		atomic_store(&f.failed, 0);
	}
	put(3, 1, page);
	disk.fail_read = 0;
	disk.error = EIO;
	expect_refused(swap_file_read(&f, 3, 1, out), PMPT_E_SLOT, "Input/output");
	disk.bytes = swap_file_page(&f, 3) + 100; /* truncated since */
	expect_refused(swap_file_read(&f, 3, 1, out), PMPT_E_SLOT, "the file has 100 of 4096");
}

/* ---- headers --------------------------------------------------------------------------------- */

static int reopen(void)
{
	struct swap_file again = f;
	int rc = swap_file_open(&again);

	swap_file_close(&again);
	return rc;
}

static void headers(void **state)
{
	(void)state;
	OK(reopen());
	for (unsigned bit = 0; bit < SWAP_SECTOR_BYTES * 8; bit += 3) {
		disk.now[bit / 8] = (char)(disk.now[bit / 8] ^ 1 << bit % 8);
		assert_int_equal(reopen(), PMPT_E_SWAP);
		disk.now[bit / 8] = (char)(disk.now[bit / 8] ^ 1 << bit % 8);
	}
	f.salt++;
	expect_refused(reopen(), PMPT_E_SWAP, "another pool's");
	f.salt--;
	f.uuid[3]++;
	expect_refused(reopen(), PMPT_E_SWAP, "another pool's");
	f.uuid[3]--;
	f.id++;
	expect_refused(reopen(), PMPT_E_SWAP, "another swap file of this pool");
	f.id--;
	disk.bytes--;
	expect_refused(reopen(), PMPT_E_SWAP, "expected 0x12000");
	disk.bytes = 100;
	expect_refused(reopen(), PMPT_E_SWAP, "0x64 bytes");
	disk.there = false;
	expect_refused(reopen(), -ENOENT, "swap: open");
}

/* Nothing is overwritten but a swap file of the same pool. */
static void create(void **state)
{
	struct swap_file again = f;

	(void)state;
	OK(swap_file_create(&again)); /* left by a crash */
	again.salt++;
	expect_refused(swap_file_create(&again), -EEXIST, "no swap file of this pool");
	disk.there = false;
	again.slots = 1000;
	expect_refused(swap_file_create(&again), -ENOSPC, "allocating");
	assert_false(disk.there);
	again.slots = SLOTS;
	disk.fail_sync = 0;
	expect_refused(swap_file_create(&again), -EIO, "fdatasync");
	assert_false(disk.there);
	disk.fail_write = 0;
	expect_refused(swap_file_create(&again), -EIO, "writing its header");
	assert_false(disk.there);
}

/* The real thing. */
static void real(void **state)
{
	char where[PLACE_BYTES], name[PLACE_BYTES + 8];
	struct swap_file r = f, again;

	(void)state;
	if (!place_file(where))
		skip();
	swap_io = &swap_io_posix;
	(void)snprintf(name, sizeof(name), "%s/swap", where);
	r.path = name;
	OK(swap_file_create(&r));
	OK(swap_file_write(&r, 7, 1, &(uint32_t){ 9 }, page, room));
	OK(swap_file_sync(&r));
	again = r;
	expect_refused(swap_file_open(&again), PMPT_E_SWAP, "a copy of this one");
	swap_file_close(&r);
	OK(swap_file_open(&r));
	OK(swap_file_read(&r, 7, 9, out));
	assert_memory_equal(out, page, sizeof(page));
	swap_file_close(&r);
	r.path = where;
	assert_int_equal(swap_file_open(&r), -EISDIR);
	place_remove(where);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(round_trip), TEST(torn),    TEST(neighbours),   TEST(stale),
		TEST(misplaced),  TEST(flipped), TEST(failed_write), TEST(failed_sync),
		TEST(headers),    TEST(create),  TEST(real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
