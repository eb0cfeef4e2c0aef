/* SPDX-License-Identifier: BSD-3-Clause */
/* test_obj_file -- files that libpmemobj must not see: named errors, with what was found where, and
 * no byte of a file reaches a message as it is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "layout.h"
#include "obj_file.h"
#include "obj_heap.h"
#include "pool_file.h"

/* The file at path; all: as the whole of a pool. */
static void expect_file(int expected, const char *says)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0);
	expect_refused(obj_file_check(path, fd, true), expected, says);
	(void)close(fd);
	for (const char *c = pmpt_errormsg(); *c; c++)
		assert_in_range(*c, ' ', '~');
}

static void test_kind(void **state)
{
	static const char *const other[] = { "/dev/null", "/dev/zero", "/" };
	int pair[2];
	struct stat st;

	(void)state;
	need_place();
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		assert_int_equal(stat(other[i], &st), 0);
		expect_refused(obj_kind_check(other[i], &st), PMPT_E_MEDIUM, ": no regular file");
		(void)snprintf(path, sizeof(path), "%s", other[i]);
		expect_file(PMPT_E_MEDIUM, ": no regular file");
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	expect_refused(obj_file_check("socket", pair[0], true), PMPT_E_MEDIUM, "no regular file");
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void test_signature(void **state)
{
	(void)state;
	need_place();
	write_at(path, 0, "", 0);
	expect_file(PMPT_E_NOT_POOL, "offset 0: found the end of the file, expected 50 4d 45 4d");
	write_at(path, 0, "PM\x1b", 3);
	expect_file(PMPT_E_NOT_POOL, "offset 0: found 50 4d 1b, expected 50 4d 45 4d");
	write_at(path, 0, "\x1b[31m\xff\x00\n more", 13);
	expect_file(PMPT_E_NOT_POOL,
		    "offset 0: found 1b 5b 33 31 6d ff 00 0a, expected 50 4d 45 4d 4f 42 4a 00 "
		    "(\"PMEMOBJ\")");
}

#define HEAP       ((uint64_t)0x3c0000)
#define HEAP_BYTES (((uint64_t)16 << 20) - HEAP)

/* A header as libpmemobj writes it, of a pool of 16 MiB. */
static void write_header(const char *layout, uint64_t root)
{
	uint64_t heap = HEAP, heap_bytes = HEAP_BYTES;
	char name[1024] = { 0 };

	memcpy(name, layout, strlen(layout));
	write_at(path, 0, OBJ_SIGNATURE, sizeof(OBJ_SIGNATURE));
	write_at(path, OBJ_LAYOUT, name, sizeof(name));
	write_at(path, OBJ_HEAP_OFF, &heap, sizeof(heap));
	write_at(path, OBJ_HEAP_BYTES, &heap_bytes, sizeof(heap_bytes));
	write_at(path, OBJ_ROOT, &root, sizeof(root));
	assert_int_equal(truncate(path, 16 << 20), 0);
}

static void test_layout(void **state)
{
	(void)state;
	need_place();
	write_header("\x1b[31mred\\\x7f", HEAP);
	expect_file(PMPT_E_NOT_POOL,
		    "offset 0x1000: layout '\\x1b[31mred\\x5c\\x7f', expected 'libpmpt");
	write_header("libpmpt-\t", HEAP);
	expect_file(PMPT_E_VERSION, "layout 'libpmpt-\\x09'");
}

/* A root object that cannot be is damage; one that lies in what is missing is not. */
static void test_root(void **state)
{
	static const uint64_t bad[] = { 1,
					8,
					0x1000,
					HEAP - 16,
					HEAP + 0x1008,
					HEAP + HEAP_BYTES,
					(uint64_t)1 << 40,
					(uint64_t)1 << 63,
					~(uint64_t)0,
					~(uint64_t)15 };
	char says[64];

	(void)state;
	need_place();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_header(SB_LAYOUT_NAME, bad[i]);
		(void)snprintf(says, sizeof(says), "offset 0x1800: found %#lx, expected", bad[i]);
		expect_file(PMPT_E_CORRUPT, says);
	}
	write_header(SB_LAYOUT_NAME, 0);
	expect_file(PMPT_E_NOT_POOL, "not finished");
	write_header(SB_LAYOUT_NAME, HEAP + 0x1010);
	expect_file(PMPT_E_NOT_POOL, "no superblock at offset 0x3c1040");
	assert_int_equal(truncate(path, (off_t)HEAP + 12345), 0);
	write_header(SB_LAYOUT_NAME, HEAP + 0x10000);
	assert_int_equal(truncate(path, (off_t)HEAP + 12345), 0);
	expect_file(PMPT_E_TRUNCATED, ": 3944505 bytes, its superblock should be at");
	assert_int_equal(truncate(path, OBJ_HEAP_BYTES), 0);
	expect_file(PMPT_E_TRUNCATED, ": 6176 bytes are less than a pool's header");
}

int main(void)
{
	const struct CMUnitTest tests[] = { ON_TMPFS(test_kind), ON_TMPFS(test_signature),
					    ON_TMPFS(test_layout), ON_TMPFS(test_root) };

	return cmocka_run_group_tests_name("obj_file", tests, NULL, NULL);
}
