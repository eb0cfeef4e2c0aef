/* SPDX-License-Identifier: BSD-3-Clause */
/* test_backup -- copies of a pool that is being changed: each opens, is sound, and is the pool of one
 * moment; and what a backup leaves behind when it fails. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pool_file.h"
#include "table.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define RE  (PMPT_R | PMPT_EXT)

static pmpt_pool *pool;
static pmpt_space *a, *b;
static char copy[PLACE_BYTES + 16];

/* ---- a pool, and all that it holds as one number --------------------------------------------- */

static void data_page(pmpt_space *space, uint64_t va, uint64_t content)
{
	uint64_t pfn = 0, *page;
	pmpt_tx *tx;

	OK(pmpt_begin(pool, 0, &tx));
	OK(pmpt_frame_alloc(tx, 1, 1, &pfn));
	page = pmpt_frame_ptr(pool, pfn);
	for (unsigned i = 0; i < 512; i++)
		page[i] = content + i;
	OK(pmpt_flush(tx, page, P4K));
	OK(pmpt_map(tx, space, va, 1, pfn, PMPT_R | PMPT_REPLACE));
	OK(pmpt_commit(tx, NULL));
}

static void make_pool(void)
{
	(void)snprintf(copy, sizeof(copy), "%s/copy", dir);
	OK(pmpt_create(path, &smallest, &pool));
	OK(pmpt_space_create(pool, "a", &a));
	OK(pmpt_space_create(pool, "b", &b));
	OK(pmpt_map(NULL, a, P2M, 700, 100, RE));
	OK(pmpt_map(NULL, b, 3 * P1G, 2, 512, RE | PMPT_2M));
	OK(pmpt_map(NULL, b, P1G, 40, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO));
	for (uint64_t i = 0; i < 20; i++)
		data_page(a, 5 * P1G + i * P4K, 1000 * i);
	OK(pmpt_user_set(NULL, b, 2, 22));
}

static void close_pool(void)
{
	pmpt_space_close(a);
	pmpt_space_close(b);
	OK(pmpt_close(pool));
}

struct sum {
	pmpt_pool *pool;
	pmpt_space *space;
	uint64_t value;
};

static void mix(struct sum *s, uint64_t by)
{
	s->value = (s->value ^ by) * 0x9e3779b97f4a7c15ull;
	s->value ^= s->value >> 29;
}

static int mix_page(void *ctx, const struct pmpt_mapping *m)
{
	struct sum *s = ctx;
	uint64_t page[512];

	mix(s, m->va);
	mix(s, m->pfn);
	mix(s, m->flags);
	if (m->flags & PMPT_EXT)
		return 0;
	OK(pmpt_read(NULL, s->space, m->va, page, sizeof(page)));
	for (unsigned i = 0; i < 512; i++)
		mix(s, page[i]);
	return 0;
}

static int mix_space(void *ctx, const char *name)
{
	struct sum *s = ctx;
	pmpt_space *space;
	uint64_t word = 0;

	mix(s, (uint64_t)name[0]);
	OK(pmpt_space_open(s->pool, name, &space));
	s->space = space;
	OK(pmpt_walk(space, 0, 0, mix_page, s));
	for (unsigned i = 0; i < PMPT_USER_WORDS; i++) {
		OK(pmpt_user_get(space, i, &word));
		mix(s, word);
	}
	pmpt_space_close(space);
	return 0;
}

static uint64_t sum_of(pmpt_pool *of)
{
	struct sum s = { of, NULL, 1 };

	OK(pmpt_space_list(of, mix_space, &s));
	return s.value;
}

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	print_error("%s at %#lx: %s\n", f->rule, f->offset, f->message);
}

/* The copy is sound, opens with nothing to recover, and holds this; the pool itself is closed. */
static void check_copy(uint64_t sum)
{
	struct pmpt_check summary = { 0 };
	struct pmpt_recovery r;
	pmpt_pool *c;

	OK(pmpt_check(copy, finding, NULL, NULL, &summary));
	assert_int_equal(summary.findings, 0);
	assert_false(summary.live);
	OK(pmpt_open(copy, 0, &c));
	OK(pmpt_recovery_report(c, &r));
	assert_int_equal(r.redone + r.undone + r.torn, 0);
	if (sum)
		assert_int_equal(sum_of(c), sum);
	OK(pmpt_close(c));
	OK(pmpt_check(copy, finding, NULL, NULL, &summary));
	assert_int_equal(summary.findings, 0);
}

static void nothing_left(void)
{
	assert_int_equal(files_in(dir), 1); /* the pool */
	close_pool();
}

/* ---- copies ---------------------------------------------------------------------------------- */

static unsigned calls, last;
static pmpt_tx *bulk;

static void count(void *ctx, unsigned permille)
{
	(void)ctx;
	assert_true(permille > last && permille <= 1000);
	last = permille;
	calls++;
}

static void test_quiet(void **state)
{
	struct stat from, to;
	uint64_t sum;

	(void)state;
	need_place();
	make_pool();
	sum = sum_of(pool);
	calls = last = 0;
	OK(pmpt_backup(pool, copy, count, NULL));
	assert_true(calls > 1 && last == 1000);
	assert_int_equal(stat(path, &from) | stat(copy, &to), 0);
	assert_int_equal(from.st_size, to.st_size);
	assert_int_equal(from.st_mode, to.st_mode);
	assert_true(to.st_blocks <= from.st_blocks);
	assert_int_equal(sum_of(pool), sum);
	assert_int_equal(files_in(dir), 2);
	close_pool();
	check_copy(sum);
}

/* ---- a swap file ----------------------------------------------------------------------------- */

static char swap[PLACE_BYTES + 32], swap_copy[PLACE_BYTES + 32];

/* Pages come in, go out and are written as soon as the copy has begun. */
static void move_pages(void *ctx, unsigned permille)
{
	uint64_t n = 0;

	(void)ctx, (void)permille;
	if (calls++)
		return;
	OK(pmpt_swap_in(a, 5 * P1G, 10 * P4K, NULL));
	for (uint64_t i = 5; i < 15; i++)
		data_page(a, 5 * P1G + i * P4K, 99 * i);
	/* what the copy sees keeps its slots: more are not to be had */
	(void)pmpt_swap_out(b, P1G, 40 * P4K, &n);
	assert_in_range(n, 1, 12);
}

static void test_swap_file(void **state)
{
	struct pmpt_swap_status st;
	uint64_t sum, n = 0;
	pmpt_pool *c;

	(void)state;
	need_place();
	make_pool();
	(void)snprintf(swap, sizeof(swap), "%s/swap", dir);
	(void)snprintf(swap_copy, sizeof(swap_copy), "%s.swap", copy);
	OK(pmpt_swap_on(pool, swap, 32 * P4K));
	OK(pmpt_swap_out(a, 5 * P1G, 20 * P4K, &n));
	assert_int_equal(n, 20);
	sum = sum_of(pool);
	calls = 0;
	OK(pmpt_backup(pool, copy, move_pages, NULL));
	assert_int_equal(files_in(dir), 4);
	assert_int_not_equal(sum_of(pool), sum);
	close_pool();
	check_copy(sum);
	OK(pmpt_open(copy, 0, &c));
	OK(pmpt_swap_status(c, &st));
	assert_string_equal(st.path, swap_copy);
	assert_int_equal(st.used, 20);
	OK(pmpt_swap_off(c));
	assert_int_equal(files_in(dir), 3);
	assert_int_equal(access(swap, F_OK), 0);
	OK(pmpt_close(c));
}

static void turn_off(void *ctx, unsigned permille)
{
	(void)ctx, (void)permille;
	if (!calls++)
		OK(pmpt_swap_off(pool));
}

static void test_swap_refused(void **state)
{
	(void)state;
	need_place();
	make_pool();
	(void)snprintf(swap, sizeof(swap), "%s.swap", copy); /* where the copy's would be */
	OK(pmpt_swap_on(pool, swap, 32 * P4K));
	assert_int_equal(pmpt_backup(pool, copy, NULL, NULL), -EEXIST);
	OK(pmpt_swap_off(pool));
	(void)snprintf(swap, sizeof(swap), "%s/swap", dir);
	OK(pmpt_swap_on(pool, swap, 32 * P4K));
	calls = 0;
	assert_int_equal(pmpt_backup(pool, copy, turn_off, NULL), PMPT_E_SWAP);
	nothing_left();
}

/* All of it is changed as soon as the copy has begun. */
static void change_all(void *ctx, unsigned permille)
{
	pmpt_space *s;

	(void)ctx, (void)permille;
	if (calls++)
		return;
	OK(pmpt_unmap(NULL, a, 0, 2 * P1G));
	OK(pmpt_map(NULL, a, P2M, 5, 4444, RE));
	for (uint64_t i = 0; i < 20; i++)
		data_page(a, 5 * P1G + i * P4K, 77777 * i);
	OK(pmpt_protect(NULL, b, 3 * P1G + P4K, P4K, PMPT_R | PMPT_W));
	OK(pmpt_user_set(NULL, b, 2, 23));
	pmpt_space_close(b);
	OK(pmpt_space_delete(pool, "b"));
	OK(pmpt_space_create(pool, "c", &s)); /* perhaps in b's record */
	OK(pmpt_map(NULL, s, 0, 1500, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO)); /* what was freed? */
	pmpt_space_close(s);
	OK(pmpt_space_create(pool, "b", &b));
	OK(pmpt_checkpoint(pool));
	OK(pmpt_begin(pool, PMPT_TX_BULK, &bulk));
	OK(pmpt_map(bulk, a, P2M, 600, 5, RE | PMPT_REPLACE));
	OK(bulk_spill(bulk));
}

static void test_changed(void **state)
{
	uint64_t sum;

	(void)state;
	need_place();
	make_pool();
	sum = sum_of(pool);
	calls = 0;
	OK(pmpt_backup(pool, copy, change_all, NULL));
	assert_true(calls > 1);
	OK(pmpt_abort(bulk));
	assert_int_not_equal(sum_of(pool), sum);
	close_pool();
	check_copy(sum);
	OK(pmpt_check(path, finding, NULL, NULL, NULL));
}

/* ---- beside writers -------------------------------------------------------------------------- */

#define ACCOUNTS 64u
#define BALANCE  100000u
static _Atomic bool ending;
static _Atomic unsigned long commits;

static void *write_on(void *arg)
{
	uint64_t x = 1 + (uintptr_t)arg, base = (20 + (uintptr_t)arg) * P1G;

	while (!atomic_load(&ending)) {
		struct pmpt_mapping from, to;
		pmpt_tx *tx;

		x = x * 6364136223846793005ull + 1442695040888963407ull;
		OK(pmpt_begin(pool, 0, &tx));
		uint64_t va = base + (x >> 40) % ACCOUNTS * P4K,
			 other = base + P2M + (x >> 50) % ACCOUNTS * P4K;

		OK(pmpt_tx_query(tx, a, va, &from));
		OK(pmpt_tx_query(tx, b, other, &to));
		OK(pmpt_map(tx, a, va, 1, from.pfn - x % 5, RE | PMPT_REPLACE));
		OK(pmpt_map(tx, b, other, 1, to.pfn + x % 5, RE | PMPT_REPLACE));
		int rc = x % 64 ? 0
				: pmpt_map(tx, a, base + P1G / 2, 50, PMPT_PFN_ALLOC,
					   PMPT_R | PMPT_REPLACE);

		if (rc == PMPT_E_NO_FRAMES) { /* the backup's view has them */
			OK(pmpt_abort(tx));
			continue;
		}
		OK(rc);
		if (x % 64 == 1)
			OK(pmpt_unmap(tx, a, base + P1G / 2, P2M));
		OK(pmpt_commit(tx, NULL));
		atomic_fetch_add(&commits, 1);
	}
	return NULL;
}

static int add(void *ctx, const struct pmpt_mapping *m)
{
	*(uint64_t *)ctx += m->flags & PMPT_EXT ? m->pfn : 0;
	return 0;
}

static uint64_t total_of(const pmpt_space *of_a, const pmpt_space *of_b)
{
	uint64_t total = 0;

	OK(pmpt_walk(of_a, 20 * P1G, 2 * P1G, add, &total));
	OK(pmpt_walk(of_b, 20 * P1G, 2 * P1G, add, &total));
	return total;
}

static uint64_t copy_total(void)
{
	struct pmpt_check summary = { 0 };
	pmpt_space *ca, *cb;
	uint64_t total = 0;
	pmpt_pool *c;

	if (pmpt_check(copy, finding, NULL, NULL, &summary) || summary.findings ||
	    pmpt_open(copy, 0, &c))
		return 0;
	if (!pmpt_space_open(c, "a", &ca) && !pmpt_space_open(c, "b", &cb)) {
		total = total_of(ca, cb);
		pmpt_space_close(ca);
		pmpt_space_close(cb);
	}
	return pmpt_close(c) ? 0 : total;
}

/* Looks at copies in a process of its own, which has not the pool open: the same pool twice in one is
 * too much for libpmemobj.  Whatever comes in is answered by the copy's total. */
static pid_t looker(int *ask, int *answer)
{
	int to[2], from[2];
	uint64_t total;
	pid_t child;

	assert_int_equal(pipe(to) | pipe(from), 0);
	child = fork();
	if (!child) {
		(void)close(to[1]);
		while (read(to[0], &total, sizeof(total)) == sizeof(total)) {
			total = copy_total();
			if (write(from[1], &total, sizeof(total)) != sizeof(total))
				break;
		}
		_exit(0);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	*ask = to[1];
	*answer = from[0];
	return child;
}

static void test_beside_writers(void **state)
{
	struct pmpt_config c = { .pool_bytes = 32 * MIB };
	pthread_t w[2];
	uint64_t total, found = 0;
	int ask, answer;
	pid_t child;

	(void)state;
	need_place();
	(void)snprintf(copy, sizeof(copy), "%s/copy", dir);
	child = looker(&ask, &answer);
	OK(pmpt_create(path, &c, &pool));
	OK(pmpt_space_create(pool, "a", &a));
	OK(pmpt_space_create(pool, "b", &b));
	for (uint64_t i = 0; i < 2 * ACCOUNTS; i++) {
		uint64_t va = (20 + i / ACCOUNTS) * P1G + i % ACCOUNTS * P4K;

		OK(pmpt_map(NULL, a, va, 1, BALANCE, RE));
		OK(pmpt_map(NULL, b, va + P2M, 1, BALANCE, RE));
	}
	total = total_of(a, b);
	atomic_store(&ending, false);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&w[i], NULL, write_on, (void *)i), 0);
	for (unsigned i = 0; i < 12; i++) {
		unsigned long before = atomic_load(&commits);

		OK(pmpt_backup(pool, copy, NULL, NULL));
		while (atomic_load(&commits) < before + 10)
			;
		assert_int_equal(write(ask, &total, sizeof(total)), sizeof(total));
		assert_int_equal(read(answer, &found, sizeof(found)), sizeof(found));
		assert_int_equal(found, total);
		assert_int_equal(unlink(copy), 0);
	}
	atomic_store(&ending, true);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(w[i], NULL), 0);
	(void)close(ask);
	(void)close(answer);
	assert_int_equal(waitpid(child, NULL, 0), child);
	print_message("%lu commits beside 12 copies\n", atomic_load(&commits));
	assert_int_equal(total_of(a, b), total);
	close_pool();
}

/* ---- refused --------------------------------------------------------------------------------- */

static void test_exists(void **state)
{
	(void)state;
	need_place();
	make_pool();
	expect_refused(pmpt_backup(pool, path, NULL, NULL), -EEXIST, "exists");
	write_at(copy, 0, "mine", 4);
	expect_refused(pmpt_backup(pool, copy, NULL, NULL), -EEXIST, "exists");
	assert_int_equal(files_in(dir), 2);
	assert_int_equal(unlink(copy), 0);
	nothing_left();
}

static void appear(void *ctx, unsigned permille)
{
	(void)ctx, (void)permille;
	if (access(copy, F_OK))
		write_at(copy, 0, "mine", 4);
}

static void test_appears_meanwhile(void **state)
{
	struct stat st;

	(void)state;
	need_place();
	make_pool();
	expect_refused(pmpt_backup(pool, copy, appear, NULL), -EEXIST, "");
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(unlink(copy), 0);
	nothing_left();
}

static void test_no_directory(void **state)
{
	(void)state;
	need_place();
	make_pool();
	(void)snprintf(copy, sizeof(copy), "%s/none/copy", dir);
	expect_refused(pmpt_backup(pool, copy, NULL, NULL), -ENOENT, "create");
	nothing_left();
}

/* The file may not grow, at all or beyond a part of what is to be written: a full disk's stand-in. */
static void test_full(void **state)
{
	struct rlimit before, now;

	(void)state;
	need_place();
	make_pool();
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	now = before;
	now.rlim_cur = 12 * MIB;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
	int rc = pmpt_backup(pool, copy, NULL, NULL);

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(rc, -EFBIG);
	nothing_left();
}

static void test_bulk_open(void **state)
{
	(void)state;
	need_place();
	make_pool();
	OK(pmpt_begin(pool, PMPT_TX_BULK, &bulk));
	OK(pmpt_map(bulk, a, P2M, 1, 5, RE | PMPT_REPLACE));
	OK(bulk_spill(bulk));
	expect_refused(pmpt_backup(pool, copy, NULL, NULL), PMPT_E_BUSY, "bulk");
	OK(pmpt_commit(bulk, NULL));
	nothing_left();
}

static void change_page(void *ctx, unsigned permille)
{
	(void)ctx;
	OK(pmpt_map(NULL, a, P2M, 1, permille, RE | PMPT_REPLACE));
}

static void test_stale(void **state)
{
	(void)state;
	need_place();
	make_pool();
	OK(pmpt_view_limit(pool, 0));
	expect_refused(pmpt_backup(pool, copy, change_page, NULL), PMPT_E_VIEW_STALE, "stale");
	nothing_left();
}

static void test_no_memory(void **state)
{
	(void)state;
	need_place();
	make_pool();
	for (long n = 0; n < 3; n++) {
		mem_fail_after = n;
		assert_int_equal(pmpt_backup(pool, copy, NULL, NULL), -ENOMEM);
		mem_fail_after = -1;
	}
	nothing_left();
}

static void test_forked(void **state)
{
	int status;
	pid_t child;

	(void)state;
	need_place();
	make_pool();
	child = fork();
	if (!child)
		_exit(pmpt_backup(pool, copy, NULL, NULL) != PMPT_E_FORKED);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	nothing_left();
}

static void test_set(void **state)
{
	char text[3 * PLACE_BYTES];
	pmpt_pool *set;

	(void)state;
	need_place();
	(void)snprintf(copy, sizeof(copy), "%s/copy", dir);
	(void)snprintf(text, sizeof(text), "PMEMPOOLSET\n16M %s/part0\n16M %s/part1\n", dir, dir);
	write_at(path, 0, text, strlen(text));
	OK(pmpt_create(path, NULL, &set));
	expect_refused(pmpt_backup(set, copy, NULL, NULL), PMPT_E_MEDIUM, "several files");
	OK(pmpt_close(set));
	assert_int_equal(files_in(dir), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_quiet),
		ON_BOTH(test_changed),
		ON_BOTH(test_swap_file),
		ON_BOTH(test_swap_refused),
		ON_TMPFS(test_beside_writers),
		ON_TMPFS(test_exists),
		ON_TMPFS(test_appears_meanwhile),
		ON_TMPFS(test_no_directory),
		ON_TMPFS(test_full),
		ON_TMPFS(test_bulk_open),
		ON_TMPFS(test_stale),
		ON_TMPFS(test_no_memory),
		ON_TMPFS(test_forked),
		ON_TMPFS(test_set),
	};

	return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}
