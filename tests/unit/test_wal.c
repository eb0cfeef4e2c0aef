/* SPDX-License-Identifier: BSD-3-Clause */
/* test_wal -- words to lines and back: when a RUN is found and when not, to the word; a line is valid
 * in its own slot of its own pool and nowhere else; lanes and halves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "buffer_region.h"
#include "replay.h"
#include "wal.h"

#define BYTES ((uint64_t)4 << 20)
#define TABLE ((uint64_t)3 << 20) /* words from here on are the test's */

static const struct region_shape shape = {
	.n_lanes = 2, .half_lines = 16, .bulk_lines = 64, .n_spaces = 8, .salt = 5
};
static struct region rg;
static struct mem mem;
static struct wal wal;
static struct wal_word w[600];

static int setup(void **state)
{
	struct pmpt_recovery report;

	(void)state;
	buffer_region_format(&rg, BYTES, &shape);
	assert_int_equal(mem_init(&mem), 0);
	assert_int_equal(replay(&rg, &mem, LSN_STEP, &report), 0);
	assert_int_equal(wal_open(&wal, &rg, &mem), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wal_close(&wal);
	assert_int_equal(atomic_load(&mem.bytes), 0);
	mem_fini(&mem);
	buffer_region_free(&rg);
	return 0;
}

/* ---- lines ------------------------------------------------------------------------------------ */

/* n words from `where` on, a stride apart in place, old and new. */
static void words(size_t n, uint64_t where, uint64_t step, uint64_t old, uint64_t old_stride,
		  uint64_t new, uint64_t new_stride)
{
	for (size_t i = 0; i < n; i++) {
		w[i] = (struct wal_word){ where + i * step, old + i * old_stride,
					  new + i *new_stride };
		atomic_store((pm_word *)region_at(&rg, WHERE_OFF(w[i].where)), w[i].old);
	}
}

/* Packed into so many lines, which give the same words back. */
static void packs(size_t n, size_t lines)
{
	size_t done = 0, used = 0;

	assert_int_equal(wal_lines(w, n), lines);
	while (done < n) {
		struct line line;
		size_t k = wal_pack(&line, w + done, n - done);

		assert_in_range(k, 1, n - done);
		assert_int_equal(line_words(&line), k);
		for (unsigned i = 0; i < k; i++) {
			struct wal_word back = line_word(&rg, &line, i);

			assert_int_equal(back.where, w[done + i].where);
			assert_int_equal(back.old, w[done + i].old);
			assert_int_equal(back.new, w[done + i].new);
		}
		done += k;
		used++;
	}
	assert_int_equal(used, lines);
}

static void test_words(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 9; n++) { /* scattered: two a line */
		words(n, TABLE, 24, 1, 7, 3, 11);
		packs(n, (n + 1) / 2);
	}
	words(2, TABLE, 8, 0, 0, 1, 1); /* two make no run */
	packs(2, 1);
	words(5, TABLE, 8, 0, 0, 1, 1); /* ... and no sequence */
	w[1].new = 99;
	w[3].new = 77;
	packs(5, 3);
}

static void test_runs(void **state)
{
	(void)state;
	words(3, TABLE, 8, 0, 0, 0x1003, 0x1000);
	packs(3, 1);
	words(512, TABLE, 8, 0, 0, 0x1003, 0x1000); /* a table */
	packs(512, 1);
	words(512, TABLE, 8, 0x1003, 0x1000, 0, 0);
	packs(512, 1);
	words(512, TABLE, 8, 5, (uint64_t)-3, 0x1003, (uint64_t)-0x1000); /* downwards, wrapping */
	packs(512, 1);
	words(600, TABLE + 4096 - 8 * 100, 8, 0, 0, 7, 9); /* over the end of a frame: two */
	packs(600, 2);
	words(100, TABLE, 8, 0, 0, 7, 9); /* broken in the middle */
	w[50].new ++;
	packs(100, 3);
	words(6, TABLE, 8, 0, 0, 7, 9); /* a hole: two runs of three */
	for (unsigned i = 3; i < 6; i++)
		w[i].where += 8;
	packs(6, 2);
	words(4, TABLE | WHERE_DESC, 8, 1, 0, 2, 0); /* the class is carried */
	packs(4, 1);
}

/* Scattered frames of which the same bits change: a RUN under a mask. */
static void test_masks(void **state)
{
	(void)state;
	words(512, TABLE, 8, 0, 0, 0, 0);
	for (unsigned i = 0; i < 512; i++) {
		w[i].old = (uint64_t)i * i * 0x5000 + 0x8000000000000003u;
		w[i].new = w[i].old ^ 2;
		atomic_store((pm_word *)region_at(&rg, w[i].where), w[i].old);
	}
	packs(512, 1);
	w[100].new ^= 4; /* another bit, too */
	packs(512, 3);
	w[100].new = w[100].old; /* none */
	packs(512, 3);
}

/* ---- a line is what it says, where it says ---------------------------------------------------- */

static void test_valid(void **state)
{
	struct line line, other;
	struct line *slot = wal.lane[0].line + 3;
	uint64_t off = region_off(&rg, slot);

	(void)state;
	words(2, TABLE, 24, 1, 7, 3, 11);
	(void)wal_pack(&line, w, 2);
	line_seal(&wal, &line, slot, 77, LINE_LAST, 1);
	assert_int_equal(line.lsn, 77);
	assert_int_equal(line.flags, LINE_LAST);
	assert_int_equal(line.count, 1);
	assert_int_equal(line.kind, LINE_WORDS);
	assert_true(line_valid(wal.crc_seed, &line, off));
	assert_false(line_valid(wal.crc_seed, &line, off + LINE_BYTES));    /* another slot */
	assert_false(line_valid(wal_crc_seed(shape.salt + 1), &line, off)); /* an older pool's */
	for (unsigned bit = 0; bit < 8 * LINE_BYTES; bit++) {               /* one flip anywhere */
		other = line;
		((unsigned char *)&other)[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_false(line_valid(wal.crc_seed, &other, off));
	}
	other = line; /* valid CRC, but no such line */
	line_seal(&wal, &other, slot, 0, LINE_LAST, 1);
	assert_false(line_valid(wal.crc_seed, &other, off));
	other.kind = 3;
	line_seal(&wal, &other, slot, 77, 0, 0);
	assert_false(line_valid(wal.crc_seed, &other, off));
	other = line;
	line_seal(&wal, &other, slot, 77, 4, 0);
	assert_false(line_valid(wal.crc_seed, &other, off));
	memset(&other, 0, sizeof(other));
	assert_false(line_valid(wal.crc_seed, &other, off)); /* a zeroed log */
	memset(&other, 0xff, sizeof(other));
	assert_false(line_valid(wal.crc_seed, &other, off));
}

/* ---- lanes ------------------------------------------------------------------------------------ */

static pm_word *user(unsigned i)
{
	return &((struct space_record *)region_at(&rg, region_sb(&rg)->directory))[0].user[i];
}

static void commit(struct wal_lane *lane, uint64_t value)
{
	uint64_t lsn;

	w[0] = (struct wal_word){ region_off(&rg, user(0)) | WHERE_DIR, value - 1, value };
	assert_int_equal(wal_commit(&wal, lane, w, 1, 1, &lsn), 0);
	assert_int_equal(word_load(user(0)), value);
}

/* Halves fill, the other one opens, a checkpoint before a half is used again [W6]. */
static void test_halves(void **state)
{
	struct wal_lane *lane;
	uint64_t value = 0, begin = wal_checkpointed(&wal);

	(void)state;
	assert_int_equal(wal_lane_take(&wal, 0, 17, &lane), PMPT_E_TX_TOO_LARGE);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(wal_lane_take(&wal, 0, 1, &lane), 0);
		assert_ptr_equal(lane, &wal.lane[0]);
		assert_int_equal(lane->half, i / 16);
		commit(lane, ++value);
		wal_lane_give(lane);
	}
	assert_int_equal(wal_checkpointed(&wal), begin);
	assert_int_equal(wal_lane_take(&wal, 0, 1, &lane), 0);
	assert_int_equal(lane->half, 0);
	assert_true(wal_checkpointed(&wal) >= begin + 16);
	assert_int_equal(word_load(&region_sb(&rg)->checkpoint_lsn), wal_checkpointed(&wal));
	commit(lane, ++value);
	wal_lane_give(lane);
	/* what does not fit in the rest of a half goes into the other, whole */
	assert_int_equal(wal_lane_take(&wal, 0, 16, &lane), 0);
	assert_int_equal(lane->half, 1);
	assert_int_equal(lane->head, 0);
	wal_lane_give(lane);
}

/* A lane that another has is passed over. */
static void test_busy_lane(void **state)
{
	struct wal_lane *a, *b;

	(void)state;
	assert_int_equal(wal_lane_take(&wal, 1, 1, &a), 0);
	assert_ptr_equal(a, &wal.lane[1]);
	assert_int_equal(wal_lane_take(&wal, 1, 1, &b), 0);
	assert_ptr_equal(b, &wal.lane[0]);
	wal_lane_give(a);
	wal_lane_give(b);
}

/* The limit is raised before it is reached [W5]. */
static void test_limit(void **state)
{
	uint64_t limit = word_load(&region_sb(&rg)->lsn_limit);

	(void)state;
	assert_int_equal(wal_limit_ensure(&wal), 0);
	assert_int_equal(word_load(&region_sb(&rg)->lsn_limit), limit); /* far off */
	atomic_store(&wal.next, limit - LSN_SLACK);
	assert_int_equal(wal_limit_ensure(&wal), 0);
	assert_int_equal(word_load(&region_sb(&rg)->lsn_limit), limit + LSN_STEP);
	assert_int_equal(wal_limit_ensure(&wal), 0);
	assert_int_equal(word_load(&region_sb(&rg)->lsn_limit), limit + LSN_STEP);
}

static void test_bulk_room(void **state)
{
	(void)state;
	assert_int_equal(bulk_begin(&wal), 0);
	assert_int_equal(bulk_begin(&wal), PMPT_E_TX_LIMIT);
	assert_int_equal(bulk_room(&wal), 64);
	words(200, TABLE, 24, 1, 7, 3, 11);
	assert_int_equal(bulk_batch(&wal, w, 200), PMPT_E_TX_TOO_LARGE); /* 100 lines */
	assert_int_equal(bulk_room(&wal), 64);
	assert_int_equal(word_load(&region_sb(&rg)->bulk_from), 0); /* nothing happened */
	assert_int_equal(bulk_batch(&wal, w, 0), 0);
	assert_int_equal(bulk_abort(&wal), 0);
	bulk_end(&wal);
	assert_int_equal(bulk_begin(&wal), 0);
	bulk_end(&wal);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_words),  T(test_runs),      T(test_masks), T(test_valid),
		T(test_halves), T(test_busy_lane), T(test_limit), T(test_bulk_room),
	};

	return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
