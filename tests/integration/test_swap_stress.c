/* SPDX-License-Identifier: BSD-3-Clause */
/* test_swap_stress -- writers, readers, faults, the eviction thread, calls of pmpt_evict and spaces
 * that come and go, together, in a pool with frames for a part of their pages.  Every page says which
 * one it is and is the same in all its words; what a writer has written last is there at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sched.h>
#include <cmocka.h>

#include "core.h"
#include "pool_file.h"

#define P4K     ((uint64_t)4096)
#define WRITERS 2u
#define PAGES   300u /* of each writer, in a space and tables of its own */
#define SECONDS 3

static struct core c;
static pmpt_space *space[WRITERS];
static _Atomic uint32_t written[WRITERS][PAGES]; /* the last that was committed, by its writer */
static _Atomic bool stop;
static _Atomic unsigned long writes, reads, from_file, faults, evicted, conflicts, refused, lives;
static char where[PLACE_BYTES], name[PLACE_BYTES + 8];

static uint64_t va_of(unsigned page) { return ((uint64_t)(page / 50) * 512 + page % 50) * P4K; }

static uint64_t word_of(unsigned w, unsigned page, uint32_t serial)
{
	return (uint64_t)(w + 1) << 60 | (uint64_t)page << 40 | serial;
}

static uint64_t rnd(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % n;
}

/* Another was in the way, or there is no frame at the moment. */
static bool later(int rc)
{
	if (rc == PMPT_E_CONFLICT)
		conflicts++;
	else if (rc == PMPT_E_NO_FRAMES)
		refused++;
	else
		pool_file_ok(rc, "a call");
	if (rc)
		sched_yield();
	return rc;
}

static int write_page(unsigned w, unsigned page, uint32_t serial)
{
	uint64_t word[512];

	for (unsigned k = 0; k < 512; k++)
		word[k] = word_of(w, page, serial);
	return pmpt_write(NULL, space[w], va_of(page), word, sizeof(word));
}

/* Bring it in, if it is there at all. */
static int fault(unsigned w, unsigned page)
{
	int rc = pmpt_fault(NULL, space[w], va_of(page), PMPT_R, NULL);

	faults += !rc;
	return rc == PMPT_E_NOT_MAPPED ? 0 : rc;
}

static void read_page(unsigned w, unsigned page)
{
	uint64_t buf[512], before = atomic_load(&written[w][page]), entry;

	OK(pmpt_read(NULL, space[w], va_of(page), buf, sizeof(buf)));
	from_file += pmpt_lookup(space[w], va_of(page), &entry) != 0 && buf[0];
	reads++;
	for (unsigned k = 0; k < 512; k++)
		assert_int_equal(buf[k], buf[0]);
	if (!buf[0]) {
		assert_int_equal(before, 0);
		return;
	}
	assert_int_equal(buf[0] & ~(uint64_t)0xffffffff, word_of(w, page, 0));
	assert_true((uint32_t)buf[0] >= before);
}

static void *writer(void *arg)
{
	unsigned w = (unsigned)(uintptr_t)arg;
	uint64_t seed = w + 7;

	for (uint32_t serial = 1; !stop;) {
		unsigned page = (unsigned)rnd(&seed, PAGES);

		if (rnd(&seed, 8) == 0) {
			(void)later(fault(w, page));
		} else if (!later(write_page(w, page, serial))) {
			atomic_store(&written[w][page], serial++);
			writes++;
		}
	}
	return NULL;
}

static void *reader(void *arg)
{
	uint64_t seed = 99 + (uint64_t)(uintptr_t)arg;

	while (!stop)
		read_page((unsigned)rnd(&seed, WRITERS), (unsigned)rnd(&seed, PAGES));
	return NULL;
}

/* Evicts by call; makes a space with pages, some out, and deletes it. */
static void *other(void *arg)
{
	uint64_t seed = 5, done = 0;

	(void)arg;
	while (!stop) {
		pmpt_space *t;

		OK(pmpt_evict(c.pool, rnd(&seed, 60), &done));
		evicted += done;
		if (later(pmpt_space_create(c.pool, "t", &t)))
			continue;
		(void)later(pmpt_map(NULL, t, 0, 20, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO));
		OK(pmpt_swap_out(t, 0, 20 * P4K, NULL));
		(void)later(pmpt_swap_in(t, 0, 5 * P4K, NULL));
		pmpt_space_close(t);
		while (later(pmpt_space_delete(c.pool, "t")))
			;
		lives++;
	}
	return NULL;
}

static void together(void **state)
{
	pthread_t thread[WRITERS + 3];
	unsigned n = 0;

	(void)state;
	OK(pmpt_swap_auto(c.pool, 24, 64));
	for (unsigned w = 0; w < WRITERS; w++)
		assert_int_equal(pthread_create(&thread[n++], NULL, writer, (void *)(uintptr_t)w),
				 0);
	for (unsigned r = 0; r < 2; r++)
		assert_int_equal(pthread_create(&thread[n++], NULL, reader, (void *)(uintptr_t)r),
				 0);
	assert_int_equal(pthread_create(&thread[n++], NULL, other, NULL), 0);
	(void)nanosleep(&(struct timespec){ .tv_sec = SECONDS }, NULL);
	atomic_store(&stop, true);
	while (n)
		assert_int_equal(pthread_join(thread[--n], NULL), 0);
	OK(pmpt_swap_auto(c.pool, 0, 0));
	print_message("%lu writes, %lu reads, %lu from the file, %lu faults, %lu evicted by call, "
		      "%lu conflicts, %lu without frames, %lu spaces came and went\n",
		      writes, reads, from_file, faults, evicted, conflicts, refused, lives);
	core_verify(&c);
	assert_true(writes > 50 && from_file > 50 && lives > 0);
	for (unsigned w = 0; w < WRITERS; w++) {
		for (unsigned i = 0; i < PAGES; i++)
			read_page(w, i);
	}
}

static int setup(void **state)
{
	(void)state;
	if (!place_tmpfs(where))
		return -1;
	(void)snprintf(name, sizeof(name), "%s/swap", where);
	core_make(&c, 320, 256, 256); /* about 200 for pages */
	space[0] = c.space;
	OK(pmpt_space_create(c.pool, "w", &space[1]));
	OK(pmpt_swap_on(c.pool, name, (WRITERS * PAGES + 100) * P4K));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pmpt_space_close(space[1]);
	core_free(&c);
	place_remove(where);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(together, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
