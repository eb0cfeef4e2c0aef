/* SPDX-License-Identifier: BSD-3-Clause */
/* test_golden_pool -- a pool file of format 1, as a process left it that was killed with everything
 * under way: it is verified, opened, recovered and compared, and its bytes stand where format 1 says.
 * What this library writes today must be read by every later one: the file is made once and stays.
 *
 *   tests/golden/format-1.pool.gz	made by
 *	build/test/integration/test_golden_pool --make /dev/shm/format-1.pool
 *	gzip -9nc /dev/shm/format-1.pool > tests/golden/format-1.pool.gz
 *
 * In it: a space "alpha" with pages of all three sizes, shared and EXT frames, tags and a protection
 * key; a space "b\xc3\xa9ta" with user words; committed transactions that are in the log alone; a bulk
 * transaction that was open; a space whose deletion was interrupted.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"

#define GOLDEN "tests/golden/format-1.pool.gz"
#define BYTES  ((uint64_t)16 << 20)
#define P4K    ((uint64_t)4096)
#define P2M    ((uint64_t)2 << 20)
#define P1G    ((uint64_t)1 << 30)
#define HIGH   ((uint64_t)0xffff800000000000)
#define RW     (PMPT_R | PMPT_W)
#define RE     (PMPT_R | PMPT_EXT)

/* ---- made once -------------------------------------------------------------------------------- */

static void fill_alpha(pmpt_space *a)
{
	uint64_t pfn;
	pmpt_tx *tx;

	OK(pmpt_map(NULL, a, 0, 40, PMPT_PFN_ALLOC, RW | PMPT_ZERO));
	OK(pmpt_map(NULL, a, P1G, 1, (uint64_t)7 << 18, RE | PMPT_1G | PMPT_G));
	OK(pmpt_map(NULL, a, 2 * P1G, 2, (uint64_t)3 << 9,
		    RE | PMPT_2M | PMPT_U | PMPT_X | PMPT_PCD));
	OK(pmpt_map(NULL, a, HIGH, 600, 0xabcdef, RE | PMPT_TAG(9) | PMPT_PKEY(5) | PMPT_PWT));
	OK(pmpt_begin(pmpt_space_pool(a), 0, &tx)); /* a frame with contents, mapped twice */
	OK(pmpt_frame_alloc(tx, 1, 1, &pfn));
	memcpy(pmpt_frame_ptr(pmpt_space_pool(a), pfn), "golden", 7);
	OK(pmpt_flush(tx, pmpt_frame_ptr(pmpt_space_pool(a), pfn), 7));
	OK(pmpt_map(tx, a, 3 * P1G, 1, pfn, RW));
	OK(pmpt_map(tx, a, 3 * P1G + P2M, 1, pfn, PMPT_R));
	OK(pmpt_commit(tx, NULL));
}

/* Its name is gone, a part of what it maps is freed, and another part is in the log alone. */
static void kill_at_third_fence(void *ctx, const struct pm_event *event)
{
	static unsigned fences;

	(void)ctx;
	if (event->kind == PM_EV_FENCE && ++fences == 3)
		(void)raise(SIGKILL);
}

static void make_in_child(const char *file)
{
	const struct pmpt_config config = { .pool_bytes = BYTES,
					    .lanes = 2,
					    .lane_bytes = 16384,
					    .bulk_bytes = 16384,
					    .spaces = 16 };
	pmpt_space *a, *b, *gone;
	pmpt_pool *pool;
	pmpt_tx *tx;

	OK(pmpt_create(file, &config, &pool));
	OK(pmpt_space_create(pool, "alpha", &a));
	OK(pmpt_space_create(pool, "b\xc3\xa9ta", &b));
	OK(pmpt_space_create(pool, "gone", &gone));
	fill_alpha(a);
	for (uint64_t i = 0; i < 3; i++) /* an entry of the PML4 is a transaction of the deletion */
		OK(pmpt_map(NULL, gone, i * 512 * P1G, 3, PMPT_PFN_ALLOC, RW));
	pmpt_space_close(gone);
	OK(pmpt_checkpoint(pool));

	/* from here on in the log alone: words, runs, counts, a split, an unmapped table */
	OK(pmpt_protect(NULL, a, 8 * P4K, 16 * P4K, PMPT_R | PMPT_X));
	OK(pmpt_unmap(NULL, a, 4 * P4K, 2 * P4K));
	OK(pmpt_unmap(NULL, a, 2 * P1G + P2M, P4K));
	for (unsigned i = 0; i < PMPT_USER_WORDS; i++)
		OK(pmpt_user_set(NULL, b, i, 0x1111111111111111u * i));
	OK(pmpt_map(NULL, b, 5 * P2M, 512, 0x100000, RE));
	OK(pmpt_map(NULL, b, P4K, 1, 77, RE));
	OK(pmpt_map(NULL, b, P4K, 1, 78, RE | PMPT_REPLACE));
	OK(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	OK(pmpt_protect(tx, a, HIGH, 600 * P4K, RW));
	OK(pmpt_unmap(tx, b, 5 * P2M, P2M));
	OK(pmpt_map(tx, b, 9 * P1G, 1, 5, RE));
	OK(bulk_spill(tx)); /* home, and never committed */
	pm_observer = kill_at_third_fence;
	OK(pmpt_space_delete(pool, "gone"));
}

static int make(const char *file)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		make_in_child(file);
		_exit(1);
	}
	return waitpid(child, &status, 0) == child && WIFSIGNALED(status) ? 0 : 1;
}

/* ---- the content ------------------------------------------------------------------------------ */

struct text {
	size_t n;
	char at[4096];
};

/* Runs of pages that go on in address and frame, one a line. */
struct run {
	struct pmpt_mapping first;
	uint64_t pages;
	struct text *text;
	bool pool_frames; /* frames of the pool lie where the allocator put them: not compared */
};

static void run_end(struct run *r)
{
	struct text *t = r->text;
	bool ext = r->first.flags & PMPT_EXT;

	if (r->pages)
		t->n += (size_t)snprintf(t->at + t->n, sizeof(t->at) - t->n, "%lx %lu*%lx %lx %x\n",
					 r->first.va, r->pages, r->first.page_bytes,
					 ext ? r->first.pfn : 0, r->first.flags);
	r->pages = 0;
}

static int run_add(void *ctx, const struct pmpt_mapping *m)
{
	struct run *r = ctx;
	uint64_t next = r->first.pfn + r->pages * (r->first.page_bytes >> 12);

	if (r->pages && m->flags == r->first.flags && m->page_bytes == r->first.page_bytes &&
	    m->va == r->first.va + r->pages * m->page_bytes &&
	    (m->pfn == next || !(m->flags & PMPT_EXT))) {
		r->pages++;
		return 0;
	}
	run_end(r);
	r->first = *m;
	r->pages = 1;
	return 0;
}

static void content(pmpt_pool *pool, const char *name, struct text *text)
{
	struct run r = { .text = text };
	pmpt_space *s;

	OK(pmpt_space_open(pool, name, &s));
	text->n += (size_t)snprintf(text->at + text->n, sizeof(text->at) - text->n, "%s:", name);
	for (unsigned i = 0; i < PMPT_USER_WORDS; i++) {
		uint64_t word;

		OK(pmpt_user_get(s, i, &word));
		text->n += (size_t)snprintf(text->at + text->n, sizeof(text->at) - text->n, " %lx",
					    word);
	}
	text->n += (size_t)snprintf(text->at + text->n, sizeof(text->at) - text->n, "\n");
	OK(pmpt_walk(s, 0, 0, run_add, &r));
	run_end(&r);
	pmpt_space_close(s);
}

/* va, pages * bytes, frame (EXT), flags as pmpt_map takes them */
static const char expected[] = "alpha: 0 0 0 0 0 0 0 0\n"
			       "0 4*1000 0 3\n"
			       "6000 2*1000 0 3\n"
			       "8000 16*1000 0 5\n"
			       "18000 16*1000 0 3\n"
			       "40000000 1*40000000 1c0000 291\n"
			       "80000000 1*200000 600 91d\n"
			       "80201000 511*1000 801 81d\n"
			       "c0000000 1*1000 0 3\n"
			       "c0200000 1*1000 0 1\n"
			       "ffff800000000000 600*1000 abcdef 59411\n"
			       "b\xc3\xa9ta: 0 1111111111111111 2222222222222222 "
			       "3333333333333333 4444444444444444 5555555555555555 "
			       "6666666666666666 7777777777777777\n"
			       "1000 1*1000 4e 11\n"
			       "a00000 512*1000 100000 11\n";

static int count_names(void *ctx, const char *name)
{
	(void)name;
	++*(unsigned *)ctx;
	return 0;
}

static void expect_content(pmpt_pool *pool)
{
	struct text text = { 0 };
	struct pmpt_mapping m;
	unsigned names = 0;
	pmpt_space *s;

	content(pool, "alpha", &text);
	content(pool, "b\xc3\xa9ta", &text);
	assert_string_equal(text.at, expected);
	OK(pmpt_space_list(pool, count_names, &names));
	assert_int_equal(names, 2);
	OK(pmpt_space_open(pool, "alpha", &s));
	OK(pmpt_query(s, 3 * P1G, &m));
	assert_string_equal(pmpt_frame_ptr(pool, m.pfn), "golden");
	pmpt_space_close(s);
}

/* ---- read ------------------------------------------------------------------------------------- */

static void unpack(void)
{
	char command[4 * PLACE_BYTES];

	(void)snprintf(command, sizeof(command),
		       "gzip -dc " GOLDEN " | dd of='%s' bs=64k iflag=fullblock conv=sparse "
		       "status=none && truncate -s %lu '%s'",
		       path, BYTES, path);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

/* As documented of format 1: 41 pages and one frame twice, minus two. */
static void expect_clean(uint64_t spaces, struct pmpt_check *sum)
{
	OK(pmpt_check(path, finding, NULL, NULL, sum));
	assert_int_equal(sum->findings, 0);
	assert_int_equal(sum->spaces, spaces);
}

static void test_recovers(void **state)
{
	struct pmpt_recovery report;
	struct pmpt_check sum;
	struct pmpt_stats stats;
	pmpt_space *s;
	pmpt_pool *pool;

	(void)state;
	need_place();
	unpack();
	expect_clean(2, &sum);
	assert_false(sum.live);
	assert_int_equal(sum.leaves, 38 + 1 + 1 + 511 + 2 + 600 + 1 + 512 + 3);
	OK(pmpt_open(path, 0, &pool));
	OK(pmpt_recovery_report(pool, &report));
	assert_int_equal(report.redone, sum.recovery.redone);
	assert_true(report.redone >= 14);
	assert_int_equal(report.undone, 1);
	assert_int_equal(report.torn, 0);
	expect_content(pool);
	OK(pmpt_stats(pool, &stats)); /* the interrupted deletion has been finished */
	assert_int_equal(stats.frames_data, 38 + 1);
	assert_int_equal(stats.spaces, 2);
	assert_int_equal(stats.lanes, 2);
	assert_int_equal(stats.lane_lines, 256);
	assert_int_equal(stats.bulk_lines, 256);
	OK(pmpt_close(pool));
	expect_clean(2, &sum);

	/* and it goes on as a pool of today */
	OK(pmpt_open(path, 0, &pool));
	expect_content(pool);
	OK(pmpt_space_create(pool, "new", &s));
	OK(pmpt_map(NULL, s, 0, 100, PMPT_PFN_ALLOC, RW));
	OK(pmpt_unmap(NULL, s, 0, 50 * P4K));
	pmpt_space_close(s);
	OK(pmpt_close(pool));
	expect_clean(3, &sum);
}

/* ---- the bytes -------------------------------------------------------------------------------- */

static int file;

static uint64_t at(uint64_t off, unsigned bytes)
{
	uint64_t value = 0;

	assert_int_equal(pread(file, &value, bytes, (off_t)off), bytes);
	return value;
}

/* Bits of an entry of "alpha", by a walk over the file: numbers, not our names for them. */
static uint64_t entry_at(uint64_t root, uint64_t va)
{
	for (unsigned shift = 39;; shift -= 9) {
		uint64_t e = at(root + 8 * (va >> shift & 511), 8);

		if (shift == 12 || (e & 1) == 0 || (e & 0x80))
			return e;
		assert_int_equal(e & 0xfff, 7); /* P, W, U */
		root = e & 0x000ffffffffff000;
	}
}

static void superblock_bytes(uint64_t sb)
{
	uint64_t records = at(sb + 56, 8), lane = at(sb + 64, 8);
	char text[8];

	assert_int_equal(pread(file, text, 8, (off_t)sb), 8);
	assert_memory_equal(text, "libpmpt\0", 8);
	assert_int_equal(at(sb + 8, 4), 1);                 /* major */
	assert_int_equal(at(sb + 12, 4), 0);                /* compat */
	assert_int_equal(at(sb + 16, 4), 0);                /* incompat */
	assert_int_equal(at(sb + 20, 4), 0);                /* ro_compat */
	assert_int_not_equal(at(sb + 40, 8), 0);            /* salt */
	assert_in_range(at(sb + 48, 8), 15 << 20, BYTES);   /* pool_bytes */
	assert_int_equal(lane, records + 4096);             /* 16 records of 256 bytes */
	assert_int_equal(at(sb + 72, 8), lane + 2 * 16384); /* bulk lane */
	assert_int_equal(at(sb + 80, 4), 16);               /* spaces */
	assert_int_equal(at(sb + 84, 4), 2);                /* lanes */
	assert_int_equal(at(sb + 88, 4), 128);              /* lines of a half */
	assert_int_equal(at(sb + 92, 4), 256);              /* lines of the bulk lane */
	assert_int_not_equal(at(sb + 3584, 8), 0);          /* checkpoint_lsn */
	assert_true(at(sb + 3648, 8) > (uint64_t)1 << 32);  /* lsn_limit */
	assert_int_not_equal(at(sb + 3712, 8), 0);          /* bulk_from: it was open */
	assert_int_equal(at(sb + 3776, 8), 1);              /* n_extents */
}

static void extent_bytes(uint64_t sb, uint64_t first)
{
	assert_int_equal(at(first, 8), 0x746e747874706d70u); /* header: "pmptxtnt" */
	assert_int_equal(at(first + 8, 8), first >> 12);
	assert_int_equal(at(first + 32, 8), 0); /* index */
	assert_int_equal(at(first + 40, 8), at(sb + 40, 8));
	assert_int_equal(at(first + 4096, 8), (uint64_t)3 << 32 | 1); /* reserved, count 1 */
	assert_int_equal(at(sb + 56, 8), first + 4096 * (1 + (at(first + 16, 8) + 511) / 512));
}

/* "alpha": its record, its tables. */
static void space_bytes(uint64_t records, uint64_t first)
{
	uint64_t alpha = 0;
	char text[17] = "";

	for (unsigned i = 0; i < 16; i++) { /* records */
		assert_int_equal(pread(file, text, 16, (off_t)(records + 256 * i + 80)), 16);
		if ((at(records + 256 * i, 8) & 0xff) == 1 && !strcmp(text, "alpha"))
			alpha = at(records + 256 * i + 8, 8);
	}
	assert_int_not_equal(alpha, 0);
	assert_int_equal(at(first + 4096 + 8 * ((alpha - first) >> 12), 8),
			 (uint64_t)1 << 32 | 1); /* its PML4's descriptor: a table */
	assert_int_equal(entry_at(alpha, P1G), 0x80000001c0000581); /* NX G EXT PS P */
	assert_int_equal(entry_at(alpha, 2 * P1G), 0x600495);       /* EXT PS PCD U P */
	assert_int_equal(entry_at(alpha, 0) & ~(uint64_t)0x000ffffffffff000,
			 0x8000000000000003); /* NX W P */
}

static void bulk_bytes(uint64_t sb)
{
	/* the bulk lane's first line: LSN bulk_from; RUN or WORDS, flag 2 */
	assert_int_equal(at(at(sb + 72, 8), 8), at(sb + 3712, 8));
	assert_in_range(at(at(sb + 72, 8) + 8, 1), 1, 2);
	assert_int_equal(at(at(sb + 72, 8) + 9, 1), 2);
}

/* Each constant of the format, as a number. */
static void test_bytes(void **state)
{
	uint64_t sb, first;
	char text[17] = "";

	(void)state;
	need_place();
	unpack();
	file = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(pread(file, text, 8, 0), 8);
	assert_string_equal(text, "PMEMOBJ");
	assert_int_equal(pread(file, text, 10, 4096), 10);
	assert_string_equal(text, "libpmpt-1"); /* libpmemobj's layout */
	sb = (at(0x1800, 8) + 63) & ~(uint64_t)63;
	first = (at(sb + 4096 + 8, 8) + P2M - 1) & ~(P2M - 1); /* extent 0's offset */

	superblock_bytes(sb);
	extent_bytes(sb, first);
	space_bytes(at(sb + 56, 8), first);
	bulk_bytes(sb);
	(void)close(file);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { ON_BOTH(test_recovers), ON_TMPFS(test_bytes) };

	if (argc == 3 && !strcmp(argv[1], "--make"))
		return make(argv[2]);
	return cmocka_run_group_tests_name("a pool of format 1", tests, NULL, NULL);
}
