/* SPDX-License-Identifier: BSD-3-Clause */
/* test_fuzz_open -- 500 random flips in our own parts of a real pool file (libpmemobj's metadata is
 * not ours to survive): the verifier reads it without a byte changed, a child process opens it,
 * looks around and closes it.  Success or a named error; and what the verifier finds nothing wrong
 * with, opens.  The pool was left by a killed process, so there is a log to replay.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "fuzz.h"
#include "layout.h"

#define ROUNDS     500
#define POOL_BYTES ((uint64_t)16 << 20)

static char dir[64], path[96];
static char *file, *whole, *damaged; /* the file, mapped; copies from before and after damage */
static uint64_t sb_off;

/* ---- the pool ------------------------------------------------------------------------------- */

static int make_pool(void)
{
	struct pmpt_config config = { .pool_bytes = POOL_BYTES };
	pmpt_space *a, *b;
	pmpt_pool *pool;

	if (pmpt_create(path, &config, &pool) || pmpt_space_create(pool, "a", &a) ||
	    pmpt_space_create(pool, "b", &b) ||
	    pmpt_map(NULL, a, 0, 600, PMPT_PFN_ALLOC, PMPT_R | PMPT_W) ||
	    pmpt_map(NULL, a, 0x40000000, 1, 512, PMPT_R | PMPT_EXT | PMPT_2M) ||
	    pmpt_map(NULL, b, 0x12345000, 10, 99, PMPT_R | PMPT_EXT))
		return 1;
	for (unsigned i = 0; i < 50; i++) {
		if (pmpt_map(NULL, b, 0x7f0000000000 + (uint64_t)i * 0x1000, 1, PMPT_PFN_ALLOC,
			     PMPT_R | PMPT_X))
			return 1;
	}
	return raise(SIGKILL);
}

static int setup(void **state)
{
	uint64_t root;
	pid_t child;
	int fd, status;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/pmpt-fuzz-XXXXXX",
		       access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/pool", dir);
	child = fork();
	if (child == 0)
		_exit(make_pool());
	if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) ||
	    WTERMSIG(status) != SIGKILL)
		return -1;
	fd = open(path, O_RDWR);
	file = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	whole = malloc(POOL_BYTES);
	damaged = malloc(POOL_BYTES);
	close(fd);
	if (file == MAP_FAILED || !whole || !damaged)
		return -1;
	memcpy(whole, file, POOL_BYTES);
	memcpy(&root, file + 0x1800, sizeof(root)); /* where libpmemobj keeps its root object */
	sb_off = (root + LINE_BYTES - 1) & ~(uint64_t)(LINE_BYTES - 1);
	return memcmp(file + sb_off, SB_MAGIC, sizeof(SB_MAGIC)) ? -1 : 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	(void)munmap(file, POOL_BYTES);
	free(whole);
	free(damaged);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* ---- a round -------------------------------------------------------------------------------- */

/* Superblock, directory and log, descriptors, or the tables behind them. */
static void damage(struct fuzz *f)
{
	const struct sb *sb = (const struct sb *)(const void *)(whole + sb_off);
	uint64_t first = (sb->directory >> GROUP_SHIFT) << GROUP_SHIFT,
		 log = sb->bulk + (uint64_t)sb->bulk_lines * LINE_BYTES;
	const struct {
		uint64_t off, len;
	} part[] = {
		{ sb_off, 4096 + 64 },     { sb_off + 3584, 512 },  { first, 64 },
		{ first + 4096, 8 * 900 }, { sb->directory, 1024 }, { sb->lanes, 64 * 80 },
		{ log, 64 * 4096 },
	};
	uint64_t i = fuzz_random(f, sizeof(part) / sizeof(part[0]));

	for (uint64_t n = 1 + fuzz_random(f, 3); n; n--)
		file[part[i].off + fuzz_random(f, part[i].len)] ^= (char)(1 << fuzz_random(f, 8));
}

static int count(void *ctx, const struct pmpt_mapping *m)
{
	(void)m;
	return ++*(unsigned *)ctx < 5000 ? 0 : -1;
}

static int look(pmpt_pool *pool, const char *name)
{
	static const uint64_t va[] = { 0,          0x1000,         0x257000,          0x40000000,
				       0x12345000, 0x7f0000000000, 0xffffffffff000000 };
	unsigned n = 0;
	uint64_t entry;
	pmpt_space *space;

	if (pmpt_space_open(pool, name, &space))
		return 0;
	for (size_t i = 0; i < sizeof(va) / sizeof(va[0]); i++) {
		int rc = pmpt_lookup(space, va[i], &entry);

		if (rc && rc != PMPT_E_NOT_MAPPED && rc != PMPT_E_CORRUPT)
			return 2;
	}
	(void)pmpt_walk(space, 0, 0, count, &n);
	pmpt_space_close(space);
	return 0;
}

/* In the child.  0: opened and closed; 1: refused with a named error; else wrong. */
static int use(void)
{
	pmpt_pool *pool;
	int rc = pmpt_open(path, 0, &pool);

	if (rc)
		return rc < 0 && *pmpt_errormsg() && strcmp(pmpt_strerror(rc), "unknown error") ? 1
												: 3;
	rc = look(pool, "a");
	if (!rc)
		rc = look(pool, "b");
	return pmpt_close(pool) ? 4 : rc;
}

static int use_in_child(const struct fuzz *f)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		(void)alarm(20);
		_exit(use());
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
		fail_msg("the open ends with status %#x: %s", status, fuzz_again(f));
	return WEXITSTATUS(status);
}

static void test_flips(void **state)
{
	struct fuzz f = { .target = "open" };
	unsigned refused = 0, found = 0;

	(void)state;
	while (fuzz_next(&f, ROUNDS)) {
		struct pmpt_check sum = { 0 };
		int rc, child;

		memcpy(file, whole, POOL_BYTES);
		damage(&f);
		memcpy(damaged, file, POOL_BYTES);
		rc = pmpt_check(path, NULL, NULL, NULL, &sum);
		if (rc > 0 || !strcmp(pmpt_strerror(rc), "unknown error"))
			fail_msg("the verifier returned %d: %s", rc, fuzz_again(&f));
		if (memcmp(damaged, file, POOL_BYTES) != 0)
			fail_msg("the verifier changed the file: %s", fuzz_again(&f));
		child = use_in_child(&f);
		if (!rc && !sum.findings && child)
			fail_msg("the verifier found nothing, the open refused: %s",
				 fuzz_again(&f));
		refused += child == 1;
		found += rc || sum.findings;
	}
	print_message("%u of %u refused by open, %u found by check\n", refused, ROUNDS, found);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_flips) };

	fuzz_begin(300); /* a hang, not slowness */
	return cmocka_run_group_tests(tests, setup, teardown);
}
