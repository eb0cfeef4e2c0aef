/* SPDX-License-Identifier: BSD-3-Clause */
/* test_error -- every error has a name of its own, messages are per thread, the log callback gets
 * what is logged. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "error.h"
#include "mem.h"

static void test_names(void **state)
{
	(void)state;
	for (int a = PMPT_E_NOT_POOL; a >= PMPT_E_SLOT; a--) {
		assert_string_not_equal(pmpt_strerror(a), "unknown error");
		assert_true(strlen(pmpt_strerror(a)) > 3);
		for (int b = PMPT_E_NOT_POOL; b > a; b--)
			assert_string_not_equal(pmpt_strerror(a), pmpt_strerror(b));
	}
	assert_string_equal(pmpt_strerror(0), "success");
	assert_string_equal(pmpt_strerror(-ENOENT), strerror(ENOENT));
	assert_string_equal(pmpt_strerror(-ENOSPC), strerror(ENOSPC));
}

/* Any number has a string. */
static void test_unknown(void **state)
{
	static const int unknown[] = { PMPT_E_SLOT - 1, -1000,     -999, 1, ENOENT, 1001,
				       -0x7fffffff - 1, 0x7fffffff };

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_string_equal(pmpt_strerror(unknown[i]), "unknown error");
}

static void test_message(void **state)
{
	char lengthy[1000];

	(void)state;
	assert_int_equal(error_set(-EIO, "offset %#x: found %u, expected %u", 0x40, 7u, 8u), -EIO);
	assert_string_equal(pmpt_errormsg(), "offset 0x40: found 7, expected 8");
	assert_int_equal(error_in(PMPT_E_CORRUPT, "/some/file"), PMPT_E_CORRUPT);
	assert_string_equal(pmpt_errormsg(), "/some/file: offset 0x40: found 7, expected 8");

	memset(lengthy, 'x', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = 0;
	assert_int_equal(error_set(-EIO, "%s", lengthy), -EIO);
	assert_int_equal(strlen(pmpt_errormsg()), 511);
	assert_int_equal(error_in(-EIO, lengthy), -EIO);
	assert_int_equal(strlen(pmpt_errormsg()), 511);
}

/* Bytes of a file in a message: none of them as it is that a terminal would obey. */
static void test_bytes(void **state)
{
	char hex[3 * 4 + 1], text[32], small[7];

	(void)state;
	assert_string_equal(error_hex(hex, "\x1bP\0\xff", 4), "1b 50 00 ff");
	assert_string_equal(error_hex(hex, "", 0), "");
	assert_string_equal(error_text(text, sizeof(text), "a 'b'\n\x1b\\\x7f\xc3"),
			    "a 'b'\\x0a\\x1b\\x5c\\x7f\\xc3");
	assert_string_equal(error_text(text, sizeof(text), ""), "");
	assert_string_equal(error_text(small, sizeof(small), "abcdefghij"), "abc");
	assert_string_equal(error_text(small, sizeof(small), "ab\n\n"), "ab\\x0a");
	assert_int_equal((errno = EACCES, error_sys("/some/file", "open")), -EACCES);
	assert_string_equal(pmpt_errormsg(), "/some/file: open: Permission denied");
}

static void *other_thread(void *arg)
{
	(void)arg;
	if (pmpt_errormsg()[0])
		return "the message of another thread";
	(void)error_set(-EIO, "of the thread");
	return strcmp(pmpt_errormsg(), "of the thread") ? "not its own message" : NULL;
}

static void test_message_per_thread(void **state)
{
	pthread_t thread;
	void *wrong;

	(void)state;
	(void)error_set(-EIO, "of main");
	assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, &wrong), 0);
	assert_null(wrong);
	assert_string_equal(pmpt_errormsg(), "of main");
}

/* No memory for the message: the error's name stands for it, until there is some. */
static void *poor_thread(void *arg)
{
	(void)arg;
	mem_fail_after = 0;
	(void)error_set(PMPT_E_BUSY, "who keeps it busy");
	if (strcmp(pmpt_errormsg(), pmpt_strerror(PMPT_E_BUSY)) != 0)
		return "not the error's name";
	mem_fail_after = 0;
	(void)error_in(error_set(-ENOMEM, "of what"), "/some/file");
	if (strcmp(pmpt_errormsg(), pmpt_strerror(-ENOMEM)) != 0)
		return "not the last error's name";
	(void)error_set(-EIO, "of the thread");
	return strcmp(pmpt_errormsg(), "of the thread") ? "not the message" : NULL;
}

static void test_no_memory(void **state)
{
	pthread_t thread;
	void *wrong;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, poor_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, &wrong), 0);
	assert_null(wrong);
	assert_int_equal(mem_fail_after, -1);
}

/* A destructor of another key may err after the message is gone; that message goes, too. */
static pthread_key_t other_key;

static void other_ends(void *times)
{
	(void)error_set(-EIO, "at the end");
	if (strcmp(pmpt_errormsg(), "at the end") == 0 && ++*(unsigned *)times < 2)
		(void)pthread_setspecific(other_key, times);
}

static void *ending_thread(void *times)
{
	(void)error_set(-EIO, "before the end");
	(void)pthread_setspecific(other_key, times);
	return NULL;
}

static void test_thread_end(void **state)
{
	unsigned times;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_key_create(&other_key, other_ends), 0);
	for (unsigned i = 0; i < 100; i++) {
		times = 0;
		assert_int_equal(pthread_create(&thread, NULL, ending_thread, &times), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(times, 2);
	}
	assert_int_equal(pthread_key_delete(other_key), 0);
}

static struct {
	unsigned n;
	enum pmpt_log_level level;
	char text[600];
} logged;

static void log_fn(void *ctx, enum pmpt_log_level level, const char *message)
{
	assert_ptr_equal(ctx, &logged);
	logged.n++;
	logged.level = level;
	(void)snprintf(logged.text, sizeof(logged.text), "%s", message);
}

static void test_log(void **state)
{
	(void)state;
	log_message(PMPT_LOG_ERROR, "to nobody");
	pmpt_log_to(log_fn, &logged);
	(void)error_set(-EIO, "an error is no log message");
	assert_int_equal(logged.n, 0);
	log_message(PMPT_LOG_WARNING, "%u of %s", 3u, "them");
	assert_int_equal(logged.n, 1);
	assert_int_equal(logged.level, PMPT_LOG_WARNING);
	assert_string_equal(logged.text, "3 of them");
	pmpt_log_to(NULL, NULL);
	log_message(PMPT_LOG_ERROR, "to nobody");
	assert_int_equal(logged.n, 1);
}

static void test_version(void **state)
{
	char version[32];

	(void)state;
	(void)snprintf(version, sizeof(version), "%d.%d.%d", PMPT_VERSION_MAJOR, PMPT_VERSION_MINOR,
		       PMPT_VERSION_PATCH);
	assert_string_equal(pmpt_version(), version);
	assert_string_equal(pmpt_version(), PMPT_VERSION_STRING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),      cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_message),    cmocka_unit_test(test_message_per_thread),
		cmocka_unit_test(test_bytes),      cmocka_unit_test(test_log),
		cmocka_unit_test(test_version),    cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_thread_end),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
