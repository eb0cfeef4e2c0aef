/* SPDX-License-Identifier: BSD-3-Clause */
/* test_check_file -- pmpt_check() on files: closed, open elsewhere and quiet, open and changing, in
 * two parts, damaged, none at all; and not a byte of them changes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <cmocka.h>

#include "image.h"
#include "obj_file.h"

static char dir[64], path[96];
static struct image im;

static void put(const char *name, const void *data, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static void poke_file(uint64_t off, uint64_t value)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, &value, 8, (off_t)off), 8);
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/pmpt-check-XXXXXX",
		       access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/pool", dir);
	image_make(&im);
	memcpy(im.rg.base, OBJ_SIGNATURE, sizeof(OBJ_SIGNATURE));
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	image_free(&im);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* ---- checking ------------------------------------------------------------------------------- */

struct seen {
	unsigned n;
	char rule[16];
	uint64_t off;
	/* in progress(): what the other process does */
	uint64_t next_checkpoint; /* a checkpoint in every pass */
	int unlock;               /* it is gone: the descriptor that held the lock */
};

static void finding(void *ctx, const struct pmpt_finding *f)
{
	struct seen *s = ctx;

	s->n++;
	(void)snprintf(s->rule, sizeof(s->rule), "%s", f->rule);
	s->off = f->offset;
}

static void progress(void *ctx, unsigned permille)
{
	struct seen *s = ctx;

	if (permille < 1000)
		return;
	if (s->next_checkpoint)
		poke_file(im.rg.sb_off + offsetof(struct sb, checkpoint_lsn), s->next_checkpoint++);
	if (s->unlock)
		close(s->unlock);
	s->unlock = 0;
}

/* The file is the image as it stands; it stays so. */
static int check(struct seen *s, struct pmpt_check *sum)
{
	char *before = malloc(IMAGE_BYTES), *after = malloc(IMAGE_BYTES);
	int fd = open(path, O_RDONLY), rc;

	assert_int_equal(read(fd, before, IMAGE_BYTES), IMAGE_BYTES);
	rc = pmpt_check(path, finding, progress, s, sum);
	assert_int_equal(pread(fd, after, IMAGE_BYTES, 0), IMAGE_BYTES);
	if (!s->next_checkpoint)
		assert_memory_equal(before, after, IMAGE_BYTES);
	close(fd);
	free(before);
	free(after);
	return rc;
}

static int lock_file(void)
{
	int fd = open(path, O_RDWR);

	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	return fd;
}

static void test_closed(void **state)
{
	struct pmpt_check sum;
	struct seen s = { 0 };

	(void)state;
	put(path, im.rg.base, IMAGE_BYTES);
	assert_int_equal(check(&s, &sum), 0);
	assert_int_equal(s.n, 0);
	assert_false(sum.live);
	assert_int_equal(sum.spaces, 2);
	assert_int_equal(sum.leaves, 17);
	assert_int_equal(sum.log_lines, 10);
	assert_int_equal(sum.recovery.redone, 4);
	assert_int_equal(pmpt_check(path, NULL, NULL, NULL, NULL), 0);
}

/* What is committed and not home yet is recovered before it is judged: here the lines free a frame
 * that home leaks. */
static void test_recovers(void **state)
{
	uint64_t desc = image_desc(&im, im.next);
	const struct line_word word[2] = { { desc | WHERE_DESC, desc_make(DESC_DATA, 1), 0 } };
	struct pmpt_check sum;
	struct seen s = { 0 };

	(void)state;
	put(path, im.rg.base, IMAGE_BYTES);
	poke_file(desc, desc_make(DESC_DATA, 1));
	assert_int_equal(check(&s, &sum), 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(sum.findings, 1);
	assert_string_equal(s.rule, "F3");
	assert_int_equal(s.off, desc);

	image_poke(&im, desc, desc_make(DESC_DATA, 1));
	image_log(&im, image_line(&im, 0, 6), 20, LINE_LAST, 1, word);
	put(path, im.rg.base, IMAGE_BYTES);
	s = (struct seen){ 0 };
	assert_int_equal(check(&s, &sum), 0);
	assert_int_equal(s.n, 0);
	assert_int_equal(sum.recovery.redone, 5);
}

static void test_log_finding_ends_it(void **state)
{
	struct pmpt_check sum;
	struct seen s = { 0 };

	(void)state;
	put(path, im.rg.base, IMAGE_BYTES);
	poke_file(image_line(&im, 0, 3) + 24, 7);
	assert_int_equal(check(&s, &sum), 0);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.rule, "log");
	assert_int_equal(s.off, image_line(&im, 0, 3));
}

static void test_live(void **state)
{
	uint64_t desc = image_desc(&im, im.next);
	struct pmpt_check sum;
	struct seen s = { 0 };
	int fd;

	(void)state;
	put(path, im.rg.base, IMAGE_BYTES);
	fd = lock_file();
	assert_int_equal(check(&s, &sum), 0);
	assert_int_equal(s.n, 0);
	assert_true(sum.live);

	poke_file(desc, desc_make(DESC_DATA, 1));
	assert_int_equal(check(&s, &sum), 0); /* a finding that stands is told once */
	assert_int_equal(s.n, 1);
	assert_int_equal(s.off, desc);
	assert_true(sum.live);

	s = (struct seen){ .next_checkpoint = 16 };
	assert_int_equal(check(&s, &sum), PMPT_E_BUSY_CHECK);
	assert_int_equal(s.n, 0);

	put(path, im.rg.base, IMAGE_BYTES);
	poke_file(im.rg.sb_off + offsetof(struct sb, bulk_from), 5);
	s = (struct seen){ 0 };
	assert_int_equal(check(&s, &sum), PMPT_E_BUSY_CHECK);
	close(fd);
}

/* The other process dies between two passes: the second is exact, and tells. */
static void test_live_dies(void **state)
{
	uint64_t desc = image_desc(&im, im.next);
	struct pmpt_check sum;
	struct seen s = { 0 };

	(void)state;
	put(path, im.rg.base, IMAGE_BYTES);
	poke_file(desc, desc_make(DESC_DATA, 1));
	s.unlock = lock_file();
	assert_int_equal(check(&s, &sum), 0);
	assert_int_equal(s.unlock, 0);
	assert_int_equal(s.n, 1);
	assert_false(sum.live);
}

/* ---- pool sets ------------------------------------------------------------------------------ */

/* Two parts that share the image at `cut`; the second begins with a header of its own.  The first
 * has an odd byte more. */
static void test_set(void **state)
{
	const uint64_t cut = (uint64_t)5 << 20;
	char part[2][96], set[512], header[FRAME_BYTES];
	struct pmpt_check sum;
	struct seen s = { 0 };
	FILE *f;

	(void)state;
	for (int i = 0; i < 2; i++)
		(void)snprintf(part[i], sizeof(part[i]), "%s/part%d", dir, i);
	put(part[0], im.rg.base, cut + 1);
	memset(header, 0x55, sizeof(header));
	put(part[1], header, sizeof(header));
	f = fopen(part[1], "a");
	assert_int_equal(fwrite(im.rg.base + cut, 1, IMAGE_BYTES - cut, f), IMAGE_BYTES - cut);
	fclose(f);

	(void)snprintf(set, sizeof(set), "PMEMPOOLSET\n# a comment\n\n5M %s\n  7M\t%s\n", part[0],
		       part[1]);
	put(path, set, strlen(set));
	assert_int_equal(pmpt_check(path, finding, NULL, &s, &sum), 0);
	assert_int_equal(s.n, 0);
	assert_int_equal(sum.leaves, 17);

	int fd = open(part[1], O_RDWR);
	uint64_t desc = image_desc(&im, region_extent(&im.rg, 1)->first + 500),
		 leak = desc_make(DESC_DATA, 1);

	assert_int_equal(pwrite(fd, &leak, 8, (off_t)(desc - cut + FRAME_BYTES)), 8);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(pmpt_check(path, finding, NULL, &s, &sum), 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.off, desc);
	assert_true(sum.live);
	close(fd);

	(void)snprintf(set, sizeof(set), "PMEMPOOLSET\n5M %s\nREPLICA\n5M %s\n", part[0], part[1]);
	put(path, set, strlen(set));
	assert_int_equal(pmpt_check(path, NULL, NULL, NULL, &sum), PMPT_E_MEDIUM);
	(void)snprintf(set, sizeof(set), "PMEMPOOLSET\n5M relative\n");
	put(path, set, strlen(set));
	assert_int_equal(pmpt_check(path, NULL, NULL, NULL, &sum), PMPT_E_MEDIUM);
	(void)snprintf(set, sizeof(set), "PMEMPOOLSET\n5M %s/none\n", dir);
	put(path, set, strlen(set));
	assert_int_equal(pmpt_check(path, NULL, NULL, NULL, &sum), -ENOENT);
	put(path, "PMEMPOOLSET\n", 12);
	assert_int_equal(pmpt_check(path, NULL, NULL, NULL, &sum), PMPT_E_NOT_POOL);
}

/* ---- no pool -------------------------------------------------------------------------------- */

static void refused(int expected, const char *says)
{
	struct pmpt_check sum;
	int rc = pmpt_check(path, NULL, NULL, NULL, &sum);

	if (rc != expected || !strstr(pmpt_errormsg(), says))
		fail_msg("%s: '%s', expected %s: '%s'", pmpt_strerror(rc), pmpt_errormsg(),
			 pmpt_strerror(expected), says);
	if (rc != -EINVAL) /* which file */
		assert_int_equal(strncmp(pmpt_errormsg(), path, strlen(path)), 0);
}

static void test_no_pool(void **state)
{
	char *junk = calloc(1, 1 << 20), own[sizeof(path)];
	uint64_t root = 0x300000;
	struct pmpt_check sum;

	(void)state;
	assert_int_equal(pmpt_check(NULL, NULL, NULL, NULL, &sum), -EINVAL);
	memcpy(own, path, sizeof(own));
	(void)snprintf(path, sizeof(path), "/nonexistent/pool");
	refused(-ENOENT, "No such file");
	(void)snprintf(path, sizeof(path), "/etc/passwd");
	refused(PMPT_E_NOT_POOL, "offset 0: found 72 6f 6f 74 3a "); /* root: */
	memcpy(path, dir, sizeof(dir));
	refused(PMPT_E_MEDIUM, "no regular file");
	memcpy(path, own, sizeof(own));
	put(path, "", 0);
	refused(PMPT_E_NOT_POOL, "offset 0: found the end of the file");
	put(path, junk, 1 << 20);
	refused(PMPT_E_NOT_POOL,
		"offset 0: found 00 00 00 00 00 00 00 00, expected 50 4d 45 4d 4f 42 4a 00");
	memcpy(junk, OBJ_SIGNATURE, sizeof(OBJ_SIGNATURE));
	put(path, junk, 1 << 20);
	refused(PMPT_E_NOT_POOL, "no libpmpt superblock");
	memcpy(junk + OBJ_ROOT, &root, 8); /* libpmemobj's root object would lie behind the end */
	put(path, junk, (1 << 20) - 1);
	refused(PMPT_E_TRUNCATED, ": 1048575 bytes, the superblock should be at offset 0x300000");
	put(path, junk, 100);
	refused(PMPT_E_TRUNCATED, ": 100 bytes are less");
	put(path, junk, OBJ_ROOT + 7);
	refused(PMPT_E_TRUNCATED, ": 6151 bytes are less");
	memset(junk + OBJ_ROOT, 0, 8);
	memcpy(junk + (1 << 20) - 64, SB_MAGIC, 8); /* a superblock that does not fit */
	put(path, junk, 1 << 20);
	refused(PMPT_E_NOT_POOL, "no libpmpt superblock");
	free(junk);
}

static void test_not_whole(void **state)
{
	(void)state;
	put(path, im.rg.base, IMAGE_BYTES - (1 << 20) - 1);
	refused(PMPT_E_TRUNCATED,
		": 11534335 bytes, the superblock at offset 0x1000 says 12582912");
	im.sb->major = 2;
	image_seal(&im);
	put(path, im.rg.base, IMAGE_BYTES);
	refused(PMPT_E_VERSION, "format 2");
}

/* A damaged superblock is one that the verifier can explain: a finding. */
static void test_damaged_superblock(void **state)
{
	struct pmpt_check sum;
	struct seen s = { 0 };

	(void)state;
	put(path, im.rg.base, IMAGE_BYTES);
	poke_file(im.rg.sb_off + 24, 1);
	assert_int_equal(check(&s, &sum), 0);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.rule, "superblock");
	assert_int_equal(s.off, im.rg.sb_off + offsetof(struct sb, crc));
}

static void test_memory(void **state)
{
	struct pmpt_check sum;
	int rc = -ENOMEM, fd;

	(void)state;
	put(path, im.rg.base, IMAGE_BYTES);
	poke_file(image_desc(&im, im.next), desc_make(DESC_DATA, 1));
	fd = lock_file(); /* live: findings are kept in memory too */
	for (long n = 0; rc == -ENOMEM; n++) {
		atomic_store(&mem_fail_after, n);
		rc = pmpt_check(path, NULL, NULL, NULL, &sum);
		atomic_store(&mem_fail_after, -1);
		assert_true(rc == 0 || rc == -ENOMEM);
	}
	assert_int_equal(sum.findings, 1);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_closed),  TEST(test_recovers),  TEST(test_log_finding_ends_it),
		TEST(test_live),    TEST(test_live_dies), TEST(test_set),
		TEST(test_no_pool), TEST(test_not_whole), TEST(test_damaged_superblock),
		TEST(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
