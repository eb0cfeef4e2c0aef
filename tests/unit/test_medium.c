/* SPDX-License-Identifier: BSD-3-Clause */
/* test_medium -- what the kernel says of a mapping decides, whatever libpmem's environment says.
 * (Real persistent memory is not to be had on a test machine; nothing here may be taken for it.) */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "medium.h"
#include "places.h"

#define BYTES ((size_t)1 << 20)

static char shm[PLACE_BYTES], disk[PLACE_BYTES];
static bool have_shm, have_disk;
static char *base; /* room for three, nothing mapped behind them */

static int setup(void **state)
{
	(void)state;
	assert_int_equal(setenv("PMEM_IS_PMEM_FORCE", "1", 1), 0);
	have_shm = place_tmpfs(shm);
	have_disk = place_file(disk);
	base = mmap(NULL, 4 * BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return base == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)munmap(base, 4 * BYTES);
	if (have_shm)
		place_remove(shm);
	if (have_disk)
		place_remove(disk);
	return 0;
}

/* A file of BYTES, mapped as the ith part. */
static void part(unsigned i, const char *dir, const char *name)
{
	char path[PLACE_BYTES + 32];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)BYTES), 0);
	assert_ptr_equal(mmap(base + i * BYTES, BYTES, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_FIXED, fd, 0),
			 base + i * BYTES);
	(void)close(fd);
}

static void expect(enum pmpt_medium medium, uint64_t limit, uint64_t bytes)
{
	enum pmpt_medium found = 0;
	uint64_t n = 0;

	assert_int_equal(medium_of_mapping(base, limit, &found, &n), 0);
	assert_int_equal(found, medium);
	assert_int_equal(n, bytes);
}

static void test_tmpfs(void **state)
{
	(void)state;
	if (!have_shm)
		skip();
	part(0, shm, "one");
	expect(PMPT_MEDIUM_EMULATED, UINT64_MAX, BYTES);
	expect(PMPT_MEDIUM_EMULATED, BYTES - 4096, BYTES - 4096);
	part(0, shm, "a name with spaces");
	expect(PMPT_MEDIUM_EMULATED, UINT64_MAX, BYTES);
}

static void test_file(void **state)
{
	(void)state;
	if (!have_disk)
		skip();
	part(0, disk, "one");
	expect(PMPT_MEDIUM_FILE, UINT64_MAX, BYTES);
}

/* Parts follow each other up to a gap or the limit; what lies behind that is another's. */
static void test_parts(void **state)
{
	(void)state;
	if (!have_shm)
		skip();
	part(0, shm, "one");
	part(2, shm, "three");
	expect(PMPT_MEDIUM_EMULATED, UINT64_MAX, BYTES);
	part(1, shm, "two");
	expect(PMPT_MEDIUM_EMULATED, UINT64_MAX, 3 * BYTES);
	expect(PMPT_MEDIUM_EMULATED, 2 * BYTES, 2 * BYTES);
	expect(PMPT_MEDIUM_EMULATED, BYTES, BYTES);
}

static void test_mixed(void **state)
{
	enum pmpt_medium medium;
	uint64_t bytes;

	(void)state;
	if (!have_shm || !have_disk)
		skip();
	part(0, shm, "one");
	part(1, disk, "two");
	assert_int_equal(medium_of_mapping(base, UINT64_MAX, &medium, &bytes), PMPT_E_MEDIUM);
	assert_non_null(strstr(pmpt_errormsg(), disk));
	expect(PMPT_MEDIUM_EMULATED, BYTES, BYTES);
}

static void test_no_file(void **state)
{
	enum pmpt_medium medium;
	uint64_t bytes;

	(void)state;
	assert_int_equal(medium_of_mapping(base, UINT64_MAX, &medium, &bytes), PMPT_E_MEDIUM);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tmpfs), TEST(test_file),    TEST(test_parts),
		TEST(test_mixed), TEST(test_no_file),
	};

	return cmocka_run_group_tests_name("medium", tests, NULL, NULL);
}
