/* SPDX-License-Identifier: BSD-3-Clause */
/* test_mem -- bytes outstanding are exact, blocks aligned and zeroed as said, the nth allocation
 * fails on demand, and a leak does not go by unseen. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "error.h"
#include "mem.h"

static const size_t sizes[] = { 0,   1,    8,    63,   64,    65,    100,     127,
				128, 1000, 4096, 5000, 16384, 65536, 1000000, 3u << 20 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static struct mem mem;

#ifdef PMPT_MEM_LIBC /* a sanitizer ends the program that asks for too much */
#define MEM_TOO_MUCH ((size_t)0)
#else
#define MEM_TOO_MUCH ((size_t)1 << 62)
#endif

static int setup(void **state)
{
	(void)state;
	return mem_init(&mem);
}

static int teardown(void **state)
{
	(void)state;
	mem_fail_after = -1;
	mem_fini(&mem);
	return 0;
}

static void test_outstanding(void **state)
{
	void *block[SIZES];
	uint64_t sum = 0;

	(void)state;
	assert_int_equal(mem.bytes, 0);
	for (size_t i = 0; i < SIZES; i++) {
		block[i] = mem_alloc(&mem, sizes[i]);
		assert_non_null(block[i]);
		memset(block[i], 0xa5, sizes[i]);
		sum += sizes[i];
		assert_int_equal(mem.bytes, sum);
	}
	for (size_t i = 0; i < SIZES; i++) {
		mem_free(&mem, block[i], sizes[i]);
		sum -= sizes[i];
		assert_int_equal(mem.bytes, sum);
	}
	mem_free(&mem, NULL, 12345);
	assert_int_equal(mem.bytes, 0);
}

static void test_aligned(void **state)
{
	void *block[SIZES][5];

	(void)state;
	for (size_t i = 0; i < SIZES; i++) {
		for (unsigned k = 0; k < 5; k++) {
			block[i][k] = mem_alloc(&mem, sizes[i]);
			assert_non_null(block[i][k]);
			if (sizes[i] >= 64)
				assert_int_equal((uintptr_t)block[i][k] % 64, 0);
		}
	}
	for (size_t i = 0; i < SIZES; i++) {
		for (unsigned k = 0; k < 5; k++)
			mem_free(&mem, block[i][k], sizes[i]);
	}
}

/* Also where dirty blocks were given back before. */
static void test_zeroed(void **state)
{
	(void)state;
	for (size_t i = 0; i < SIZES; i++) {
		unsigned char *block = mem_alloc(&mem, sizes[i]);

		assert_non_null(block);
		memset(block, 0xa5, sizes[i]);
		mem_free(&mem, block, sizes[i]);
		block = mem_zalloc(&mem, sizes[i]);
		assert_non_null(block);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(block[k], 0);
		mem_free(&mem, block, sizes[i]);
	}
}

static void test_resize(void **state)
{
	unsigned char *block = mem_resize(&mem, NULL, 0, 100);

	(void)state;
	assert_non_null(block);
	for (unsigned i = 0; i < 100; i++)
		block[i] = (unsigned char)i;
	block = mem_resize(&mem, block, 100, 100000);
	assert_non_null(block);
	assert_int_equal(mem.bytes, 100000);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(block[i], i);
	block = mem_resize(&mem, block, 100000, 50);
	assert_non_null(block);
	assert_int_equal(mem.bytes, 50);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(block[i], i);
	mem_fail_after = 0;
	assert_null(mem_resize(&mem, block, 50, 5000));
	assert_int_equal(mem.bytes, 50);
	assert_int_equal(block[49], 49);
	mem_free(&mem, block, 50);
}

/* Exactly the nth fails, once. */
static void test_nth_fails(void **state)
{
	void *block[6];

	(void)state;
	for (long n = 0; n < 6; n++) {
		mem_fail_after = n;
		for (long i = 0; i < 6; i++) {
			block[i] = i % 2 ? mem_alloc(&mem, 10) : mem_zalloc(&mem, 10);
			assert_int_equal(block[i] == NULL, i == n);
		}
		assert_int_equal(mem.bytes, 50);
		for (long i = 0; i < 6; i++)
			mem_free(&mem, block[i], 10);
	}
}

static void test_init_fails(void **state)
{
	struct mem other;

	(void)state;
	mem_fail_after = 0;
	assert_int_equal(mem_init(&other), -ENOMEM);
	assert_true(pmpt_errormsg()[0] != 0);
	assert_int_equal(mem_init(&other), 0);
	mem_fini(&other);
}

/* More than there can be: NULL, nothing counted. */
static void test_too_much(void **state)
{
	volatile size_t size = MEM_TOO_MUCH;

	(void)state;
	if (!size)
		skip();
	assert_null(mem_alloc(&mem, size));
	assert_int_equal(mem.bytes, 0);
}

/* Arenas are one's own: what another gives back stays counted here. */
static void test_arenas_apart(void **state)
{
	struct mem other;
	void *a = mem_alloc(&mem, 100), *b;

	(void)state;
	assert_int_equal(mem_init(&other), 0);
	b = mem_alloc(&other, 200);
	assert_int_equal(mem.bytes, 100);
	assert_int_equal(other.bytes, 200);
	mem_free(&other, b, 200);
	mem_fini(&other);
	memset(a, 1, 100);
	mem_free(&mem, a, 100);
}

static void test_leak_aborts(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		const struct rlimit none = { 0, 0 };
		struct mem other;

		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGABRT, SIG_DFL);
		if (!mem_init(&other) && mem_alloc(&other, 1))
			mem_fini(&other);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void *churn(void *arg)
{
	unsigned char *block[SIZES];

	(void)arg;
	for (unsigned round = 0; round < 200; round++) {
		for (size_t i = 0; i < SIZES; i++) {
			block[i] = mem_alloc(&mem, sizes[i] % 5000);
			if (!block[i])
				return "no memory";
			memset(block[i], (int)round, sizes[i] % 5000);
		}
		for (size_t i = 0; i < SIZES; i++)
			mem_free(&mem, block[i], sizes[i] % 5000);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t thread[4];
	void *wrong;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], &wrong), 0);
		assert_null(wrong);
	}
	assert_int_equal(mem.bytes, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_outstanding), TEST(test_aligned),      TEST(test_zeroed),
		TEST(test_resize),      TEST(test_nth_fails),    TEST(test_init_fails),
		TEST(test_too_much),    TEST(test_arenas_apart), TEST(test_leak_aborts),
		TEST(test_threads),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
