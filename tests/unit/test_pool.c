/* SPDX-License-Identifier: BSD-3-Clause */
/* test_pool -- the core over a region that can grow: extents taken, the nth allocation fails, a space
 * created in the middle of a delete, threads that end with open transactions, handles and new pools
 * in a forked child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "buffer_region.h"
#include "core.h"
#include "error.h"
#include "extent.h"
#include "rcu.h"
#include "replay.h"

#define P4K    ((uint64_t)4096)
#define P1G    ((uint64_t)1 << 30)
#define EXTENT ((uint64_t)4 << 20)
#define MOST   3u

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)

static const struct region_shape shape = {
	.n_lanes = 2, .half_lines = 64, .bulk_lines = 64, .n_spaces = 8, .salt = 77
};
static struct region rg;
static struct pmpt_pool *pool;
static int take_rc;

/* As obj_extent_take: an object that a failed growth left is taken again. */
static int take_extent(void *ctx, uint64_t index, uint64_t *off, uint64_t *bytes)
{
	(void)ctx;
	if (take_rc || index == MOST)
		return error_set(take_rc ? take_rc : PMPT_E_NO_FRAMES, "no extent %lu", index);
	*off = index * EXTENT;
	*bytes = EXTENT;
	atomic_store(&region_sb(&rg)->extent[index].off, *off);
	return 0;
}

static int open_pool(void)
{
	int rc = region_check(&rg);

	if (!rc)
		rc = core_open(&rg, 0, &pool);
	if (!rc)
		pool->take_extent = take_extent;
	return rc;
}

static int setup(void **state)
{
	(void)state;
	take_rc = 0;
	buffer_region_make(&rg, MOST * EXTENT, PM_CACHE_LINE);
	atomic_store(&region_sb(&rg)->extent[0].off, BUFFER_EXTENT_0);
	ok(region_format(&rg, &shape, EXTENT - BUFFER_EXTENT_0));
	ok(open_pool());
	return 0;
}

static int teardown(void **state)
{
	struct check_options o = { 0 };
	struct pmpt_check sum = { 0 };
	struct mem mem;

	(void)state;
	ok(core_close(pool, true));
	ok(mem_init(&mem));
	ok(check_region(&rg, &mem, &o, &sum));
	assert_int_equal(sum.findings, 0);
	mem_fini(&mem);
	buffer_region_free(&rg);
	return 0;
}

static struct pmpt_stats stats(void)
{
	struct pmpt_stats s;

	ok(pmpt_stats(pool, &s));
	return s;
}

/* ---- growing --------------------------------------------------------------------------------- */

static void test_grow(void **state)
{
	uint64_t free0 = stats().frames_free;

	(void)state;
	ok(pmpt_grow(pool, 0));
	assert_int_equal(stats().extents, 1);
	ok(pmpt_grow(pool, 1));
	assert_int_equal(stats().extents, 2);
	assert_true(stats().frames_free > free0 + 900);
	take_rc = -ENOSPC;
	fails(pmpt_grow(pool, 1), -ENOSPC);
	take_rc = 0;
	fails(pmpt_grow(pool, EXTENT), PMPT_E_NO_FRAMES); /* what there is has been taken */
	assert_int_equal(stats().extents, 3);
	ok(core_close(pool, true));
	ok(open_pool());
	assert_int_equal(stats().extents, 3);
}

/* What pmpt_frame_info says of every frame adds up to pmpt_stats. */
static void frames_told(pmpt_space *space)
{
	uint64_t n[4] = { 0 }, frames = 0, pages = stats().pool_bytes / P4K;
	struct pmpt_frame_info info;
	struct pmpt_mapping m;

	for (uint64_t pfn = 0; pfn < pages; pfn++) {
		int rc = pmpt_frame_info(pool, pfn, &info);

		if (rc == PMPT_E_FRAME)
			continue;
		ok(rc);
		frames++;
		n[info.kind]++;
	}
	assert_int_equal(frames, stats().frames);
	assert_int_equal(n[PMPT_FRAME_FREE], stats().frames_free + stats().frames_held);
	assert_int_equal(n[PMPT_FRAME_RESERVED], stats().frames_reserved);
	assert_int_equal(n[PMPT_FRAME_TABLE], stats().frames_table);
	assert_int_equal(n[PMPT_FRAME_DATA], stats().frames_data);
	ok(pmpt_query(space, 0, &m));
	ok(pmpt_frame_info(pool, m.pfn, &info));
	assert_int_equal(info.kind, PMPT_FRAME_DATA);
	assert_int_equal(info.count, 1);
	assert_int_equal(info.wx, 0);
	assert_false(info.aliased);
	fails(pmpt_frame_info(pool, UINT64_MAX, &info), PMPT_E_FRAME);
	fails(pmpt_frame_info(pool, UINT64_MAX >> 1, &info), PMPT_E_FRAME);
}

/* Frames run out in the middle of a transaction: it grows by itself; and when there is no more, the
 * call has no effect, and the transaction aborts whole. */
static void test_out_of_frames(void **state)
{
	struct pmpt_stats before;
	pmpt_space *s;
	pmpt_tx *tx;
	uint64_t entry;

	(void)state;
	ok(pmpt_space_create(pool, "s", &s));
	ok(pmpt_map(NULL, s, 0, 1, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_begin(pool, 0, &tx));
	ok(pmpt_map(tx, s, P1G, 1000, PMPT_PFN_ALLOC, PMPT_R)); /* more than are there */
	assert_int_equal(stats().extents, 2);
	fails(pmpt_map(tx, s, 2 * P1G, 2000, PMPT_PFN_ALLOC, PMPT_R), PMPT_E_NO_FRAMES);
	assert_int_equal(stats().extents, 3);
	ok(pmpt_unmap(tx, s, 0, P4K));
	ok(pmpt_abort(tx));
	ok(pmpt_lookup(s, 0, &entry));
	fails(pmpt_lookup(s, P1G, &entry), PMPT_E_NOT_MAPPED);
	ok(pmpt_checkpoint(pool));
	before = stats();
	assert_int_equal(before.frames_data, 1);
	frames_told(s);
	ok(pmpt_map(NULL, s, 2 * P1G, 1500, PMPT_PFN_ALLOC, PMPT_R)); /* they are free again */
	ok(pmpt_unmap(NULL, s, 2 * P1G, 1500 * P4K));
	pmpt_space_close(s);
}

/* The nth allocation of a growth fails: nothing is lost by it, the next one takes the
 * same extent. */
static void test_grow_no_memory(void **state)
{
	uint64_t room = stats().frames;
	int rc = -ENOMEM;
	long n;

	for (n = 0; rc; n++) {
		assert_true(n < 100);
		atomic_store(&mem_fail_after, n);
		rc = pmpt_grow(pool, EXTENT / 2);
		atomic_store(&mem_fail_after, -1);
		if (rc) {
			fails(rc, -ENOMEM);
			ok(pmpt_grow(pool, EXTENT / 2));
		}
		assert_int_equal(stats().extents, 2);
		assert_true(stats().frames >= room + 512);
		(void)teardown(state);
		(void)setup(state);
	}
	assert_true(n > 3);
}

/* The nth allocation of an open fails. */
static void test_open_no_memory(void **state)
{
	int rc = -ENOMEM;
	long n;

	(void)state;
	ok(pmpt_grow(pool, 1));
	ok(core_close(pool, false));
	for (n = 0; rc; n++) {
		atomic_store(&mem_fail_after, n);
		rc = open_pool();
		atomic_store(&mem_fail_after, -1);
		if (rc)
			fails(rc, -ENOMEM);
	}
	assert_true(n > 5);
	assert_int_equal(stats().extents, 2);
}

/* ---- close ----------------------------------------------------------------------------------- */

static void test_close_busy(void **state)
{
	pmpt_space *s;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_begin(pool, 0, &tx));
	fails(core_close(pool, true), PMPT_E_BUSY);
	ok(pmpt_abort(tx));
	ok(pmpt_space_create(pool, "s", &s));
	fails(core_close(pool, true), PMPT_E_BUSY);
	assert_non_null(strstr(pmpt_errormsg(), "'s'"));
	ok(pmpt_user_set(NULL, s, 0, 1)); /* still open */
	pmpt_space_close(s);
}

/* ---- a create in the middle of a delete ------------------------------------------------------ */

static sem_t go, done;
static pmpt_space *created;
static int create_rc;

static void *creates(void *unused)
{
	(void)unused;
	sem_wait(&go);
	create_rc = pmpt_space_create(pool, "new", &created);
	sem_post(&done);
	return NULL;
}

/* The record has become free at home: the other thread's turn, if it can do anything yet. */
static void record_free(void *root, const struct pm_event *event)
{
	struct timespec t;

	if (event->kind != PM_EV_STORE || event->addr != root)
		return;
	pm_observer = NULL;
	sem_post(&go);
	(void)clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 300000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	if (!sem_timedwait(&done, &t))
		sem_post(&done);
}

static void test_create_in_delete(void **state)
{
	pthread_t thread;
	pmpt_space *s;

	(void)state;
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	ok(pmpt_space_create(pool, "old", &s));
	pm_observer_ctx = (void *)&s->record->root;
	pmpt_space_close(s);
	ok(pthread_create(&thread, NULL, creates, NULL));
	pm_observer = record_free;
	ok(pmpt_space_delete(pool, "old"));
	ok(pthread_join(thread, NULL));
	assert_null(pm_observer);
	ok(create_rc);
	assert_string_equal(pmpt_space_name(created), "new");
	ok(pmpt_map(NULL, created, 0, 1, 7, PMPT_R | PMPT_EXT));
	pmpt_space_close(created);
	ok(pmpt_space_delete(pool, "new"));
}

/* ---- threads that end ------------------------------------------------------------------------ */

struct leaver {
	pmpt_space *s;
	struct core *other; /* another pool */
};

/* Three open transactions of the pool, one of which is bound to the thread, and one of
 * another pool. */
static void *leaves_open(void *arg)
{
	const struct leaver *l = arg;
	uint64_t pfn;
	pmpt_tx *tx;
	int rc = pmpt_begin(pool, 0, &tx);

	if (!rc)
		rc = pmpt_map(tx, l->s, P1G, 3, PMPT_PFN_ALLOC, PMPT_R);
	if (!rc)
		rc = pmpt_begin(pool, 0, &tx);
	if (!rc)
		rc = pmpt_user_set(tx, l->s, 0, 9);
	if (!rc)
		rc = pmpt_frame_alloc(tx, 5, 1, &pfn);
	if (!rc)
		rc = pmpt_begin(pool, PMPT_TX_BULK, &tx);
	if (!rc)
		rc = pmpt_map(tx, l->s, 512 * P1G, 3, PMPT_PFN_ALLOC, PMPT_R);
	if (!rc)
		rc = bulk_spill(tx); /* it has gone home */
	if (!rc)
		rc = pmpt_begin(l->other->pool, 0, &tx);
	if (!rc)
		rc = pmpt_map(tx, l->other->space, 0, 1, PMPT_PFN_ALLOC, PMPT_R);
	return (void *)(intptr_t)rc;
}

static void join_ok(pthread_t thread)
{
	void *rc;

	ok(pthread_join(thread, &rc));
	ok((intptr_t)rc);
}

static void test_thread_ends(void **state)
{
	struct leaver l;
	struct core other;
	pthread_t thread;
	uint64_t entry, aborts;
	pmpt_tx *mine;

	(void)state;
	core_make(&other, 1024, 64, 128);
	l.other = &other;
	ok(pmpt_space_create(pool, "s", &l.s));
	ok(pmpt_map(NULL, l.s, 0, 1, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_begin(pool, 0, &mine)); /* this one nobody else ends */
	ok(pmpt_map(mine, l.s, P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	aborts = stats().aborts;
	ok(pthread_create(&thread, NULL, leaves_open, &l));
	join_ok(thread);
	assert_int_equal(stats().aborts, aborts + 3);
	assert_int_equal(core_stats(&other).aborts, 1);
	ok(pmpt_commit(mine, NULL));
	for (unsigned i = 0; i < 2; i++)
		fails(pmpt_lookup(l.s, i ? 512 * P1G : P1G, &entry), PMPT_E_NOT_MAPPED);
	ok(pmpt_user_get(l.s, 0, &entry));
	assert_int_equal(entry, 0);
	assert_int_equal(stats().frames_data, 2);
	ok(pmpt_begin(pool, PMPT_TX_BULK, &mine));
	ok(pmpt_map(mine, l.s, 512 * P1G, 3, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_map(mine, l.s, P1G, 3, PMPT_PFN_ALLOC, PMPT_R));
	ok(pmpt_commit(mine, NULL));
	pmpt_space_close(l.s);
	core_verify(&other);
	core_free(&other);
}

/* The pool of its first transaction is closed, and open again, by the time the thread ends. */
static void *outlives(void *unused)
{
	pmpt_tx *tx;
	int rc = pmpt_begin(pool, 0, &tx);

	(void)unused;
	if (!rc)
		rc = pmpt_abort(tx);
	sem_post(&done);
	sem_wait(&go);
	if (!rc)
		rc = pmpt_begin(pool, 0, &tx);
	return (void *)(intptr_t)rc;
}

static void test_pool_closed_meanwhile(void **state)
{
	pthread_t thread;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		sem_init(&go, 0, 0);
		sem_init(&done, 0, 0);
		ok(pthread_create(&thread, NULL, outlives, NULL));
		sem_wait(&done);
		ok(core_close(pool, true));
		ok(open_pool());
		sem_post(&go);
		join_ok(thread);
	}
}

/* ---- a forked child -------------------------------------------------------------------------- */

/* A child that comes to its end within that time and says 0. */
static bool ends_well(pid_t pid, unsigned seconds)
{
	int status = 0;

	for (unsigned i = 0; i < 100 * seconds; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status == 0;
		(void)usleep(10000);
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
	return false;
}

/* Grace periods of a pool of the child's own. */
static void own_pool(void)
{
	struct core own;
	pmpt_tx *tx;

	core_make(&own, 1024, 64, 128);
	ok(pmpt_begin(own.pool, PMPT_TX_BULK, &tx));
	ok(pmpt_map(tx, own.space, 0, 10, PMPT_PFN_ALLOC, PMPT_R));
	ok(bulk_spill(tx));
	ok(pmpt_commit(tx, NULL));
	core_free(&own);
}

static void *stays_inside(void *unused)
{
	(void)unused;
	reader_begin();
	sem_post(&done);
	sem_wait(&go);
	reader_end();
	return NULL;
}

static void *waits(void *unused)
{
	(void)unused;
	sem_post(&done);
	readers_wait();
	return NULL;
}

enum way { WAY_PLAIN, WAY_CALLS, WAY_HANDLERS, WAYS };

/* A program's own handlers, installed before its first pool. */
static bool handlers_on;

static void handler_before(void)
{
	if (handlers_on)
		urcu_bp_before_fork();
}
static void handler_parent(void)
{
	if (handlers_on)
		urcu_bp_after_fork_parent();
}
static void handler_child(void)
{
	if (handlers_on)
		urcu_bp_after_fork_child();
}

/* Fork while another thread reads; the program may call liburcu's functions itself. */
static bool fork_beside_reader(enum way way)
{
	pthread_t thread;
	bool well;
	pid_t pid;

	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	handlers_on = way == WAY_HANDLERS;
	ok(pthread_create(&thread, NULL, stays_inside, NULL));
	sem_wait(&done);
	if (way == WAY_CALLS)
		urcu_bp_before_fork();
	pid = fork();
	if (way == WAY_CALLS && pid)
		urcu_bp_after_fork_parent();
	if (pid == 0) {
		if (way == WAY_CALLS)
			urcu_bp_after_fork_child();
		own_pool();
		_exit(0);
	}
	well = ends_well(pid, 10);
	sem_post(&go);
	ok(pthread_join(thread, NULL));
	readers_wait();
	return well;
}

static void test_forked_beside_reader(void **state)
{
	(void)state;
	for (enum way way = 0; way < WAYS; way++) {
		pid_t pid = fork(); /* one that hangs itself does not hang the test */

		if (pid == 0)
			_exit(fork_beside_reader(way) ? 0 : 1);
		if (!ends_well(pid, 20))
			fail_msg("a child with a pool of its own hangs, way %d", (int)way);
	}
}

/* The fork must not wait for a grace period that waits for the thread that forks. */
static void test_forked_inside(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pthread_t thread;
		bool well;

		sem_init(&done, 0, 0);
		reader_begin();
		ok(pthread_create(&thread, NULL, waits, NULL));
		sem_wait(&done);
		(void)usleep(50000);
		pid = fork();
		if (pid == 0)
			_exit(0);
		reader_end();
		well = ends_well(pid, 10);
		ok(pthread_join(thread, NULL));
		_exit(well ? 0 : 1);
	}
	assert_true(ends_well(pid, 20));
}

static int any_name(void *ctx, const char *name)
{
	(void)ctx, (void)name;
	return 0;
}
static int any_page(void *ctx, const struct pmpt_mapping *m)
{
	(void)ctx, (void)m;
	return 0;
}

/* Every call on a pool, a space, and a transaction.
 * Returns the number of the first that does not say PMPT_E_FORKED, or 0. */
static int child_calls(pmpt_space *s, pmpt_tx *tx)
{
	uint64_t e = 0, pfn = 0, va = 0, sp = 0;
	struct pmpt_recovery report;
	struct pmpt_mapping m;
	struct pmpt_stats st;
	pmpt_space *other = NULL;
	pmpt_tx *mine = NULL;
	const int rc[] = {
		pmpt_begin(pool, 0, &mine),
		pmpt_begin(pool, PMPT_TX_BULK, &mine),
		pmpt_commit(tx, NULL),
		pmpt_abort(tx),
		pmpt_savepoint(tx, &sp),
		pmpt_rollback_to(tx, sp),
		pmpt_map(tx, s, P1G, 1, 7, PMPT_R | PMPT_EXT),
		pmpt_map(NULL, s, P1G, 1, 7, PMPT_R | PMPT_EXT),
		pmpt_map(tx, s, 0, 1, 7, PMPT_R | PMPT_EXT | PMPT_REPLACE),
		pmpt_map(NULL, s, 0, 1, 7, PMPT_R | PMPT_EXT | PMPT_REPLACE),
		pmpt_unmap(tx, s, 0, P4K),
		pmpt_unmap(NULL, s, 0, P4K),
		pmpt_protect(tx, s, 0, P4K, PMPT_R),
		pmpt_protect(NULL, s, 0, P4K, PMPT_R),
		pmpt_move(tx, s, 0, s, P1G, P4K),
		pmpt_move(NULL, s, 0, s, P1G, P4K),
		pmpt_collapse(tx, s, 0, PMPT_2M),
		pmpt_collapse(NULL, s, 0, PMPT_2M),
		pmpt_user_set(tx, s, 0, 1),
		pmpt_user_set(NULL, s, 0, 1),
		pmpt_user_get(s, 0, &e),
		pmpt_frame_alloc(tx, 1, 1, &pfn),
		pmpt_flush(tx, pmpt_frame_ptr(pool, 700), 8),
		pmpt_lookup(s, 0, &e),
		pmpt_lookup_batch(s, &va, 1, &e),
		pmpt_query(s, 0, &m),
		pmpt_tx_query(tx, s, 0, &m),
		pmpt_access(s, 0, PMPT_R),
		pmpt_walk(s, 0, 0, any_page, NULL),
		pmpt_space_create(pool, "t", &other),
		pmpt_space_open(pool, "s", &other),
		pmpt_space_rename(pool, "s", "t"),
		pmpt_space_delete(pool, "s"),
		pmpt_space_list(pool, any_name, NULL),
		pmpt_checkpoint(pool),
		pmpt_grow(pool, 1),
		pmpt_stats(pool, &st),
		pmpt_recovery_report(pool, &report),
		pmpt_close(pool),
	};

	pmpt_space_close(s);
	for (unsigned i = 0; i < sizeof(rc) / sizeof(rc[0]); i++) {
		if (rc[i] != PMPT_E_FORKED)
			return (int)i + 1;
	}
	return 0;
}

static void test_forked(void **state)
{
	struct pmpt_stats before;
	pmpt_space *s;
	uint64_t entry;
	pmpt_tx *tx;
	pid_t pid;
	int status;

	(void)state;
	ok(pmpt_space_create(pool, "s", &s));
	ok(pmpt_map(NULL, s, 0, 3, 5, PMPT_R | PMPT_EXT));
	ok(pmpt_begin(pool, 0, &tx));
	ok(pmpt_map(tx, s, P1G, 1, PMPT_PFN_ALLOC, PMPT_R));
	before = stats();
	pid = fork();
	if (pid == 0)
		_exit(child_calls(s, tx));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status))
		fail_msg("call %d of the child was not refused", WEXITSTATUS(status));
	assert_int_equal(stats().log_lines, before.log_lines);
	ok(pmpt_commit(tx, NULL)); /* still good here */
	ok(pmpt_lookup(s, P1G, &entry));
	pmpt_space_close(s);
}

/* The same while another thread holds the pool's locks: the child says so at once, and
 * hangs not. */
static void test_forked_while_locked(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	pthread_mutex_lock(&pool->names);
	pthread_mutex_lock(&pool->frames.lock);
	pid = fork();
	if (pid == 0) {
		pmpt_space *s;
		struct pmpt_stats st;

		(void)alarm(20);
		_exit(pmpt_space_open(pool, "s", &s) == PMPT_E_FORKED &&
				      pmpt_space_list(pool, any_name, NULL) == PMPT_E_FORKED &&
				      pmpt_stats(pool, &st) == PMPT_E_FORKED &&
				      pmpt_grow(pool, 1) == PMPT_E_FORKED
			      ? 0
			      : 1);
	}
	pthread_mutex_unlock(&pool->frames.lock);
	pthread_mutex_unlock(&pool->names);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_grow),
		T(test_out_of_frames),
		T(test_grow_no_memory),
		T(test_open_no_memory),
		T(test_close_busy),
		T(test_create_in_delete),
		T(test_thread_ends),
		T(test_pool_closed_meanwhile),
		T(test_forked_beside_reader),
		T(test_forked_inside),
		T(test_forked),
		T(test_forked_while_locked),
	};

	(void)pthread_atfork(handler_before, handler_parent, handler_child);
	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
