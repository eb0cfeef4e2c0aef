/* SPDX-License-Identifier: BSD-3-Clause */
/* test_policy -- W^X: every call that would make a page of a space with the policy writable and
 * executable, by itself or by way of an alias, is refused and changes nothing; flips there and back;
 * forks, moves, segments; two transactions at once; what the verifier finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "rules.h"
#include "swap_disk.h"

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define P1G ((uint64_t)1 << 30)
#define R   PMPT_R
#define RW  (PMPT_R | PMPT_W)
#define RX  (PMPT_R | PMPT_X)
#define RWX (RW | PMPT_X)

static struct core c;
static pmpt_space *w, *v, *plain; /* two spaces with the policy, and c.space without, too */

static int setup(void **state)
{
	(void)state;
	core_make(&c, 4096, 256, 4096);
	plain = c.space;
	assert_int_equal(pmpt_space_create(c.pool, "w", &w), 0);
	assert_int_equal(pmpt_space_create(c.pool, "v", &v), 0);
	assert_int_equal(pmpt_space_policy(w), 0);
	assert_int_equal(pmpt_space_policy_set(w, PMPT_POLICY_WX), 0);
	assert_int_equal(pmpt_space_policy_set(v, PMPT_POLICY_WX), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rules_off = 0;
	core_verify(&c);
	pmpt_space_close(w);
	pmpt_space_close(v);
	core_free(&c);
	return 0;
}

#define ok(x)       assert_int_equal(x, 0)
#define fails(x, e) assert_int_equal(x, e)
#define says(text)  assert_non_null(strstr(pmpt_errormsg(), text))
/* Refused, by this reason, and all is as it was. */
#define refused(x, text)             \
	do {                         \
		fails(x, PMPT_E_WX); \
		says(text);          \
		core_verify(&c);     \
	} while (0)

static uint64_t frame_at(pmpt_space *space, uint64_t va)
{
	struct pmpt_mapping m;

	return pmpt_query(space, va, &m) ? 0 : m.pfn + ((va - m.va) >> 12);
}

static unsigned prot_at(pmpt_space *space, uint64_t va)
{
	struct pmpt_mapping m;

	ok(pmpt_query(space, va, &m));
	return m.flags & RWX;
}

static unsigned state_at(pmpt_space *space, uint64_t va)
{
	return desc_state(word_load(frames_desc(&c.pool->frames, frame_at(space, va))));
}

static void reopen(void)
{
	pmpt_space_close(w);
	pmpt_space_close(v);
	core_reopen(&c, false);
	plain = c.space;
	ok(pmpt_space_open(c.pool, "w", &w));
	ok(pmpt_space_open(c.pool, "v", &v));
}

/* ---- a space and its policy ------------------------------------------------------------------ */

static void test_policy_is_kept(void **state)
{
	pmpt_space *snap;
	pmpt_tx *tx;

	(void)state;
	assert_int_equal(pmpt_space_policy(w), PMPT_POLICY_WX);
	ok(pmpt_space_policy_set(w, PMPT_POLICY_WX));
	fails(pmpt_space_policy_set(plain, 0), -EINVAL);
	fails(pmpt_space_policy_set(plain, 6), -EINVAL);
	ok(pmpt_map(NULL, plain, 0, 1, 9, RWX | PMPT_EXT));
	fails(pmpt_space_policy_set(plain, PMPT_POLICY_WX), PMPT_E_MAPPED);
	assert_int_equal(pmpt_space_policy(plain), 0);
	ok(pmpt_protect(NULL, plain, 0, P4K, RWX));
	ok(pmpt_unmap(NULL, plain, 0, P4K));
	ok(pmpt_space_fork(plain, "snap", PMPT_FORK_SNAPSHOT, &snap));
	fails(pmpt_space_policy_set(snap, PMPT_POLICY_WX), PMPT_E_SNAPSHOT);
	pmpt_space_close(snap);
	ok(pmpt_begin(c.pool, 0, &tx)); /* what is open may map something yet */
	ok(pmpt_map(tx, plain, 0, 1, 9, RWX | PMPT_EXT));
	fails(pmpt_space_policy_set(plain, PMPT_POLICY_WX), PMPT_E_CONFLICT);
	assert_int_equal(pmpt_space_policy(plain), 0);
	ok(pmpt_abort(tx));
	reopen();
	assert_int_equal(pmpt_space_policy(w), PMPT_POLICY_WX);
	assert_int_equal(pmpt_space_policy(plain), 0);
	ok(pmpt_space_policy_set(plain, PMPT_POLICY_WX));
	refused(pmpt_map(NULL, plain, 0, 1, 9, RWX | PMPT_EXT), "writable and executable");
}

static void test_maps(void **state)
{
	pmpt_tx *tx;

	(void)state;
	refused(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, RWX), "writable and executable");
	refused(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, RWX | PMPT_2M), "writable and executable");
	refused(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, RWX | PMPT_DEMAND),
		"writable and executable");
	refused(pmpt_map(NULL, w, 0, 1, 5, RWX | PMPT_EXT), "writable and executable");
	ok(pmpt_map(NULL, w, 0, 1, 5, RW | PMPT_EXT));
	/* the straight path of an update judges, too */
	refused(pmpt_map(NULL, w, 0, 1, 6, RWX | PMPT_EXT | PMPT_REPLACE),
		"writable and executable");
	ok(pmpt_begin(c.pool, 0, &tx));
	fails(pmpt_map(tx, w, 0, 1, 6, RWX | PMPT_EXT | PMPT_REPLACE), PMPT_E_WX);
	ok(pmpt_map(tx, w, 0, 1, 6, RX | PMPT_EXT | PMPT_REPLACE));
	ok(pmpt_commit(tx, NULL));
	ok(pmpt_map(NULL, w, P4K, 2, PMPT_PFN_ALLOC, RW));
	ok(pmpt_map(NULL, w, 3 * P4K, 2, PMPT_PFN_ALLOC, RX));
	ok(pmpt_map(NULL, w, 5 * P4K, 1, PMPT_PFN_ALLOC, R));
	ok(pmpt_map(NULL, w, P2M, 1, PMPT_PFN_ALLOC, RX | PMPT_2M));
	assert_int_equal(state_at(w, 2 * P4K), WX_W);
	assert_int_equal(state_at(w, 4 * P4K), WX_X);
	assert_int_equal(state_at(w, 5 * P4K), 0);
	assert_int_equal(state_at(w, P2M + 7 * P4K), WX_X);
	/* a space without the policy goes on as ever, and nothing tracks it */
	ok(pmpt_map(NULL, plain, 0, 1, PMPT_PFN_ALLOC, RWX));
	assert_int_equal(state_at(plain, 0), 0);
}

static void test_writes_and_faults(void **state)
{
	char text[8] = "text", buf[8];

	(void)state;
	ok(pmpt_write(NULL, w, P4K - 2, text, sizeof(text))); /* two pages that were not there */
	assert_int_equal(prot_at(w, P4K), RW);
	assert_int_equal(state_at(w, P4K), WX_W);
	ok(pmpt_map(NULL, w, P2M, 4, PMPT_PFN_ALLOC, RX | PMPT_DEMAND));
	ok(pmpt_map(NULL, w, P2M + 4 * P4K, 4, PMPT_PFN_ALLOC, RW | PMPT_DEMAND));
	refused(pmpt_protect(NULL, w, P2M, P4K, RWX), "writable and executable");
	ok(pmpt_fault(NULL, w, P2M, PMPT_X, NULL));
	ok(pmpt_fault(NULL, w, P2M + 4 * P4K, PMPT_W, NULL));
	assert_int_equal(state_at(w, P2M), WX_X);
	assert_int_equal(state_at(w, P2M + 4 * P4K), WX_W);
	ok(pmpt_write(NULL, w, P2M + 4 * P4K, text, sizeof(text)));
	assert_int_equal(state_at(w, P2M + 4 * P4K), WX_W);
	fails(pmpt_write(NULL, w, P2M, text, sizeof(text)), PMPT_E_DENIED_WRITE);
	/* publish: written, then executed */
	ok(pmpt_protect(NULL, w, P2M + 4 * P4K, P4K, RX));
	ok(pmpt_read(NULL, w, P2M + 4 * P4K, buf, sizeof(buf)));
	assert_string_equal(buf, "text");
}

/* ---- flips ----------------------------------------------------------------------------------- */

static uint64_t lines(void) { return core_stats(&c).log_lines; }

static void test_a_range_flips_at_once(void **state)
{
	uint64_t before, commits;

	(void)state;
	ok(pmpt_map(NULL, w, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	ok(pmpt_protect(NULL, w, P2M + P4K, P4K, R)); /* splits */
	ok(pmpt_protect(NULL, w, P2M + P4K, P4K, RW));
	commits = core_stats(&c).commits;
	before = lines();
	ok(pmpt_protect(NULL, w, P2M, P2M, RX));
	assert_int_equal(core_stats(&c).commits - commits, 1);
	assert_in_range(lines() - before, 2, 3); /* entries, and descriptors */
	assert_int_equal(prot_at(w, P2M + P4K), RX);
	assert_int_equal(state_at(w, P2M + P4K), WX_X);
	core_verify(&c);
	ok(pmpt_protect(NULL, w, P2M, P2M, RW));
	assert_int_equal(core_stats(&c).commits - commits, 2);
	assert_int_equal(state_at(w, 2 * P2M - P4K), WX_W);
	/* by way of read-only, too */
	ok(pmpt_protect(NULL, w, P2M, P2M, R));
	assert_int_equal(state_at(w, P2M), WX_W);
	ok(pmpt_protect(NULL, w, P2M, P2M, RX));
	assert_int_equal(state_at(w, P2M), WX_X);
	refused(pmpt_protect(NULL, w, P2M, P2M, RWX), "writable and executable");
	reopen();
	assert_int_equal(state_at(w, P2M), WX_X);
}

/* Spaces without the policy pay nothing, also beside those with it. */
static void test_others_log_no_states(void **state)
{
	uint64_t before;

	(void)state;
	ok(pmpt_map(NULL, plain, P2M, 512, PMPT_PFN_ALLOC, RW));
	before = lines();
	ok(pmpt_protect(NULL, plain, P2M, P2M, RX));
	assert_int_equal(lines() - before, 1);
	ok(pmpt_protect(NULL, plain, P2M, P2M, RWX));
	assert_int_equal(lines() - before, 2);
}

static void test_savepoints(void **state)
{
	uint64_t sp, before;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, w, 0, 2, PMPT_PFN_ALLOC, RW));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_protect(tx, w, 0, P4K, RX));
	ok(pmpt_savepoint(tx, &sp));
	ok(pmpt_protect(tx, w, 0, 2 * P4K, RW));
	fails(pmpt_protect(tx, w, 0, 2 * P4K, RWX), PMPT_E_WX);
	ok(pmpt_rollback_to(tx, sp));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(prot_at(w, 0), RX);
	assert_int_equal(state_at(w, 0), WX_X);
	assert_int_equal(state_at(w, P4K), WX_W);
	core_verify(&c);
	/* there and back is nothing */
	before = lines();
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_protect(tx, w, 0, P4K, RW));
	ok(pmpt_protect(tx, w, 0, P4K, RX));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(lines(), before);
	/* mapped, flipped and gone in one */
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, w, 2 * P4K, 2, PMPT_PFN_ALLOC, RW));
	ok(pmpt_protect(tx, w, 2 * P4K, 2 * P4K, RX));
	ok(pmpt_unmap(tx, w, 2 * P4K, P4K));
	ok(pmpt_unmap(tx, w, P4K, P4K));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(state_at(w, 3 * P4K), WX_X);
}

static void test_bulk(void **state)
{
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_map(NULL, w, P2M, 600, PMPT_PFN_ALLOC, RW));
	for (unsigned commit = 0; commit < 2; commit++) {
		ok(pmpt_begin(c.pool, PMPT_TX_BULK, &tx));
		ok(pmpt_protect(tx, w, P2M, 600 * P4K, RX));
		ok(bulk_spill(tx));
		fails(pmpt_map(tx, w, P1G, 1, PMPT_PFN_ALLOC, RWX), PMPT_E_WX);
		ok(pmpt_map(tx, w, P1G, 4, PMPT_PFN_ALLOC, RX));
		ok(commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx));
		core_verify(&c);
		assert_int_equal(state_at(w, P2M), commit ? WX_X : WX_W);
	}
}

/* ---- aliases --------------------------------------------------------------------------------- */

static void test_alias_in_the_same_space(void **state)
{
	uint64_t pfn;

	(void)state;
	ok(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, RW));
	pfn = frame_at(w, 0);
	refused(pmpt_map(NULL, w, P2M, 1, pfn, RX), "mapped writable elsewhere");
	ok(pmpt_map(NULL, w, P2M, 1, pfn, RW));
	ok(pmpt_map(NULL, w, 2 * P2M, 1, pfn, R));
	refused(pmpt_protect(NULL, w, 2 * P2M, P4K, RX), "mapped writable elsewhere");
	refused(pmpt_protect(NULL, w, 0, P4K, RX), "mapped writable elsewhere"); /* count 3 */
	ok(pmpt_unmap(NULL, w, P2M, P4K));
	ok(pmpt_unmap(NULL, w, 0, P4K));
	ok(pmpt_protect(NULL, w, 2 * P2M, P4K, RX)); /* its only mapping */
	assert_int_equal(state_at(w, 2 * P2M), WX_X);
	/* replaced by itself */
	ok(pmpt_map(NULL, w, 2 * P2M, 1, pfn, RW | PMPT_REPLACE));
	assert_int_equal(state_at(w, 2 * P2M), WX_W);
	/* one that goes in the same transaction does not count */
	pmpt_tx *tx;

	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_unmap(tx, w, 2 * P2M, P4K));
	ok(pmpt_map(tx, v, P2M, 1, pfn, RX));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(state_at(v, P2M), WX_X);
}

static void test_alias_in_another_space(void **state)
{
	uint64_t pfn, other;

	(void)state;
	ok(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, RW));
	pfn = frame_at(w, 0);
	refused(pmpt_map(NULL, v, 0, 1, pfn, RX), "mapped writable elsewhere");
	refused(pmpt_map(NULL, plain, 0, 1, pfn, RX), "mapped writable elsewhere");
	refused(pmpt_map(NULL, plain, 0, 1, pfn, RWX), "mapped writable elsewhere");
	ok(pmpt_map(NULL, plain, 0, 1, pfn, RW));
	refused(pmpt_protect(NULL, plain, 0, P4K, RX), "mapped writable elsewhere");
	refused(pmpt_protect(NULL, plain, 0, P4K, RWX), "mapped writable elsewhere");
	ok(pmpt_map(NULL, v, 0, 1, pfn, RW));
	/* the state stays while there are others */
	ok(pmpt_unmap(NULL, w, 0, P4K));
	ok(pmpt_unmap(NULL, v, 0, P4K));
	assert_int_equal(state_at(plain, 0), WX_W);
	/* whose last one may do as it likes */
	ok(pmpt_protect(NULL, plain, 0, P4K, RWX));
	assert_int_equal(state_at(plain, 0), 0);
	/* what nothing tracks */
	refused(pmpt_map(NULL, w, 0, 1, pfn, RW), "without the policy");
	ok(pmpt_map(NULL, w, 0, 1, pfn, R));
	refused(pmpt_protect(NULL, w, 0, P4K, RX), "without the policy");
	ok(pmpt_unmap(NULL, plain, 0, P4K));
	ok(pmpt_protect(NULL, w, 0, P4K, RX));
	/* with the frame its state goes */
	ok(pmpt_unmap(NULL, w, 0, P4K));
	assert_int_equal(word_load(frames_desc(&c.pool->frames, pfn)), 0);
	/* 2 MiB pages: by each of their frames */
	ok(pmpt_map(NULL, w, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	other = frame_at(w, P2M + 5 * P4K);
	refused(pmpt_map(NULL, v, 0, 1, other, RX), "mapped writable elsewhere");
	ok(pmpt_map(NULL, v, 0, 1, other, RW));
	refused(pmpt_protect(NULL, w, P2M, P2M, RX), "mapped writable elsewhere");
	ok(pmpt_unmap(NULL, v, 0, P4K));
	ok(pmpt_protect(NULL, w, P2M, P2M, RX));
}

/* ---- moves and shapes ------------------------------------------------------------------------ */

static void test_moves(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, plain, 0, 3, PMPT_PFN_ALLOC, RW));
	ok(pmpt_map(NULL, plain, 3 * P4K, 1, PMPT_PFN_ALLOC, RWX));
	refused(pmpt_move(NULL, plain, 0, w, P1G, P2M), "writable and executable");
	ok(pmpt_protect(NULL, plain, 3 * P4K, P4K, RX));
	ok(pmpt_map(NULL, plain, P1G, 1, frame_at(plain, P4K), RX));
	refused(pmpt_move(NULL, plain, 0, w, P1G, P2M), "without the policy");
	ok(pmpt_unmap(NULL, plain, P1G, P4K));
	ok(pmpt_move(NULL, plain, 0, w, P1G, P2M)); /* a whole table */
	assert_int_equal(state_at(w, P1G), WX_W);
	assert_int_equal(state_at(w, P1G + 3 * P4K), WX_X);
	core_verify(&c);
	ok(pmpt_move(NULL, w, P1G, v, 0, P2M)); /* one policy: the table itself */
	refused(pmpt_map(NULL, plain, 0, 1, frame_at(v, 0), RX), "mapped writable elsewhere");
	ok(pmpt_move(NULL, v, 0, plain, 0, P2M)); /* what they were stays */
	assert_int_equal(state_at(plain, 0), WX_W);
	ok(pmpt_protect(NULL, plain, 0, P4K, RWX));
	assert_int_equal(state_at(plain, 0), 0);
	/* a huge page is not split for it; one that forks share is shared by those of one policy */
	ok(pmpt_map(NULL, plain, P1G, 1, PMPT_PFN_ALLOC, RX | PMPT_2M));
	ok(pmpt_move(NULL, plain, P1G, w, 0, P2M));
	struct pmpt_mapping m;

	ok(pmpt_query(w, 0, &m));
	assert_int_equal(m.page_bytes, P2M);
	assert_int_equal(state_at(w, P4K), WX_X);
}

static void test_moves_of_what_a_fork_shares(void **state)
{
	pmpt_space *child;

	(void)state;
	ok(pmpt_map(NULL, plain, 0, 3, PMPT_PFN_ALLOC, R));
	ok(pmpt_map(NULL, plain, 3 * P4K, 1, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_fork(plain, "child", 0, &child));
	refused(pmpt_move(NULL, plain, 0, w, 0, P2M), "without the policy");
	ok(pmpt_move(NULL, plain, 0, w, 0, 3 * P4K));
	core_verify(&c);
	ok(pmpt_protect(NULL, child, 0, 3 * P4K, RWX));
	refused(pmpt_protect(NULL, w, 0, P4K, RX), "without the policy");
	pmpt_space_close(child);
}

static void test_collapse_and_split(void **state)
{
	(void)state;
	ok(pmpt_map(NULL, w, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	ok(pmpt_protect(NULL, w, P2M + P4K, P4K, RX));
	core_verify(&c);
	fails(pmpt_collapse(NULL, w, P2M, PMPT_2M), PMPT_E_NOT_UNIFORM);
	ok(pmpt_protect(NULL, w, P2M, P2M, RX));
	ok(pmpt_collapse(NULL, w, P2M, PMPT_2M));
	assert_int_equal(state_at(w, P2M), WX_X);
	ok(pmpt_protect(NULL, w, P2M, P2M, RW));
	assert_int_equal(state_at(w, P2M + P4K), WX_W);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void test_forks(void **state)
{
	pmpt_space *child, *snap;

	(void)state;
	ok(pmpt_map(NULL, w, 0, 2, PMPT_PFN_ALLOC, RW));
	ok(pmpt_map(NULL, w, 2 * P4K, 2, PMPT_PFN_ALLOC, RX));
	ok(pmpt_space_fork(w, "child", 0, &child));
	ok(pmpt_space_fork(w, "snap", PMPT_FORK_SNAPSHOT, &snap));
	assert_int_equal(pmpt_space_policy(child), PMPT_POLICY_WX);
	assert_int_equal(pmpt_space_policy(snap), PMPT_POLICY_WX);
	core_verify(&c);
	refused(pmpt_map(NULL, child, P2M, 1, PMPT_PFN_ALLOC, RWX), "writable and executable");
	refused(pmpt_protect(NULL, child, 0, P4K, RX), "fault (PMPT_W) a copy first");
	refused(pmpt_protect(NULL, w, 2 * P4K, P4K, RW), "map a copy first");
	ok(pmpt_fault(NULL, child, 0, PMPT_W, NULL));
	core_verify(&c);
	ok(pmpt_protect(NULL, child, 0, P4K, RX));
	assert_int_equal(state_at(child, 0), WX_X);
	assert_int_equal(state_at(w, 0), WX_W);
	ok(pmpt_write(NULL, child, P4K, "text", 5));
	ok(pmpt_protect(NULL, child, P4K, P4K, RX));
	/* the last that has a page has its frame alone */
	pmpt_space_close(snap);
	ok(pmpt_space_delete(c.pool, "snap"));
	ok(pmpt_protect(NULL, w, 0, P4K, RX));
	refused(pmpt_protect(NULL, w, 2 * P4K, P4K, RW), "map a copy first");
	pmpt_space_close(child);
	ok(pmpt_space_delete(c.pool, "child"));
	ok(pmpt_protect(NULL, w, 0, 4 * P4K, RW));
	assert_int_equal(state_at(w, 3 * P4K), WX_W);
}

/* ---- pages that are out ---------------------------------------------------------------------- */

static void test_swapped_pages(void **state)
{
	uint64_t n = 0;

	(void)state;
	disk_begin();
	ok(pmpt_swap_on(c.pool, "/swap", 16 * P4K));
	ok(pmpt_segment_create(c.pool, "seg", P2M));
	ok(pmpt_segment_map(NULL, w, P2M, "seg", RW));
	ok(pmpt_write(NULL, w, P2M, "shared", 7));
	ok(pmpt_write(NULL, w, 0, "text", 5));
	ok(pmpt_write(NULL, w, P4K, "code", 5));
	ok(pmpt_protect(NULL, w, P4K, P4K, RX));
	ok(pmpt_swap_out(w, 0, 4 * P2M, &n));
	assert_int_equal(n, 3);
	core_verify(&c);
	refused(pmpt_protect(NULL, w, 0, P4K, RWX), "writable and executable");
	/* it has no frame, so nothing else can have that */
	ok(pmpt_protect(NULL, w, 0, P4K, RX));
	ok(pmpt_protect(NULL, w, P4K, P4K, RW));
	ok(pmpt_swap_in(w, 0, 4 * P2M, &n));
	assert_int_equal(state_at(w, 0), WX_X);
	assert_int_equal(state_at(w, P4K), WX_W);
	assert_int_equal(state_at(w, P2M), WX_W);
	core_verify(&c);
	ok(pmpt_swap_out(w, 0, P2M, &n));
	ok(pmpt_fault(NULL, w, 0, PMPT_X, NULL));
	ok(pmpt_write(NULL, w, P4K + 2, "ld", 2));
	assert_int_equal(state_at(w, 0), WX_X);
	assert_int_equal(state_at(w, P4K), WX_W);
	core_verify(&c);
	ok(pmpt_swap_off(c.pool));
	swap_io = &swap_io_posix;
}

/* A table that forks share is COW, which makes its executable pages no writable ones. */
static void test_swapped_pages_of_forks(void **state)
{
	pmpt_space *child;
	uint64_t n = 0;

	(void)state;
	disk_begin();
	ok(pmpt_swap_on(c.pool, "/swap", 16 * P4K));
	ok(pmpt_write(NULL, w, P4K, "code", 5));
	ok(pmpt_protect(NULL, w, P4K, P4K, RX));
	ok(pmpt_write(NULL, w, 2 * P4K, "text", 5));
	ok(pmpt_space_fork(w, "child", 0, &child));
	ok(pmpt_swap_out(w, 0, P2M, &n));
	assert_int_equal(n, 2);
	core_verify(&c);
	ok(pmpt_swap_in(child, 0, P2M, &n));
	assert_int_equal(n, 2);
	assert_int_equal(state_at(w, P4K), WX_X);
	assert_int_equal(state_at(child, 2 * P4K), WX_W);
	core_verify(&c);
	pmpt_space_close(child);
	ok(pmpt_swap_off(c.pool));
	swap_io = &swap_io_posix;
}

/* ---- segments -------------------------------------------------------------------------------- */

static unsigned segment_state(pmpt_space *space, uint64_t va)
{
	uint64_t table = word_load(&space->record->root);

	for (unsigned level = 4; level > 1; level--)
		table = word_load((pm_word *)region_at(c.pool->rg, table) +
				  level_index(va, level)) &
			ENTRY_PFN;
	return desc_state(word_load(frames_desc(&c.pool->frames, table >> FRAME_SHIFT)));
}

static void test_segments(void **state)
{
	uint64_t pfn;
	pmpt_tx *tx;

	(void)state;
	ok(pmpt_segment_create(c.pool, "seg", P2M));
	refused(pmpt_segment_map(NULL, w, P2M, "seg", RWX), "writable and executable");
	ok(pmpt_segment_map(NULL, plain, P2M, "seg", RWX));
	refused(pmpt_segment_map(NULL, w, P2M, "seg", RW), "without the policy");
	ok(pmpt_segment_map(NULL, w, P2M, "seg", R));
	ok(pmpt_unmap(NULL, plain, P2M, P2M));
	ok(pmpt_unmap(NULL, w, P2M, P2M));
	ok(pmpt_segment_map(NULL, w, P2M, "seg", RW));
	assert_int_equal(segment_state(w, P2M), WX_W);
	refused(pmpt_segment_map(NULL, v, P2M, "seg", RX), "otherwise");
	refused(pmpt_segment_map(NULL, plain, P2M, "seg", RX), "otherwise");
	refused(pmpt_segment_map(NULL, w, P1G, "seg", RX), "otherwise");
	ok(pmpt_segment_map(NULL, plain, P2M, "seg", RW));
	refused(pmpt_protect(NULL, plain, P2M, P2M, RWX), "otherwise");
	/* pages have the state of their segment, whoever brings them */
	ok(pmpt_write(NULL, plain, P2M, "text", 5));
	ok(pmpt_write(NULL, w, P2M + P4K, "text", 5));
	assert_int_equal(state_at(w, P2M), WX_W);
	assert_int_equal(state_at(w, P2M + P4K), WX_W);
	pfn = frame_at(w, P2M);
	refused(pmpt_map(NULL, v, 0, 1, pfn, RX), "mapped writable elsewhere");
	refused(pmpt_map(NULL, plain, 0, 1, pfn, RX), "mapped writable elsewhere");
	ok(pmpt_unmap(NULL, plain, P2M, P2M));
	refused(pmpt_protect(NULL, w, P2M, P2M, RX), "otherwise"); /* the name counts */
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_segment_unmap(tx, w, P2M, "seg"));
	ok(pmpt_segment_map(tx, w, P2M, "seg", RX));
	ok(pmpt_commit(tx, NULL));
	assert_int_equal(segment_state(w, P2M), WX_X);
	assert_int_equal(state_at(w, P2M), WX_X);
	core_verify(&c);
	/* one of its pages has an alias */
	ok(pmpt_map(NULL, plain, 0, 1, pfn, RX));
	ok(pmpt_segment_unmap(NULL, w, P2M, "seg"));
	refused(pmpt_segment_map(NULL, v, P2M, "seg", RW), "mapped executable elsewhere");
	ok(pmpt_unmap(NULL, plain, 0, P4K));
	ok(pmpt_segment_map(NULL, v, P2M, "seg", RW));
	/* without the name, protect flips the only mapping */
	ok(pmpt_segment_delete(c.pool, "seg"));
	ok(pmpt_protect(NULL, v, P2M, P2M, RX));
	assert_int_equal(state_at(v, P2M), WX_X);
	ok(pmpt_unmap(NULL, v, P2M, P2M));
	assert_int_equal(word_load(frames_desc(&c.pool->frames, pfn)), 0);
}

static void test_segments_of_forks_and_moves(void **state)
{
	pmpt_space *child;

	(void)state;
	ok(pmpt_segment_create(c.pool, "seg", P2M));
	ok(pmpt_segment_map(NULL, w, P2M, "seg", RW));
	ok(pmpt_write(NULL, w, P2M, "text", 5));
	ok(pmpt_space_fork(w, "child", 0, &child));
	ok(pmpt_segment_delete(c.pool, "seg"));
	refused(pmpt_protect(NULL, child, P2M, P2M, RX), "otherwise");
	ok(pmpt_move(NULL, child, P2M, v, 0, P2M));
	ok(pmpt_move(NULL, v, 0, plain, 0, P2M));
	refused(pmpt_protect(NULL, plain, 0, P2M, RWX), "otherwise");
	ok(pmpt_move(NULL, plain, 0, v, 0, P2M));
	ok(pmpt_unmap(NULL, w, P2M, P2M));
	ok(pmpt_protect(NULL, v, 0, P2M, RX));
	pmpt_space_close(child);
}

/* ---- two at once ----------------------------------------------------------------------------- */

/* A read-only page of w: one transaction makes it writable, the other maps its frame executable. */
static void two_at_once(bool alias_first, int first, int second)
{
	pmpt_tx *flip, *alias;
	int a, b;

	ok(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, R));
	ok(pmpt_map(NULL, plain, 0, 1, 9, R | PMPT_EXT)); /* its tables */
	ok(pmpt_begin(c.pool, 0, &flip));
	ok(pmpt_begin(c.pool, 0, &alias));
	ok(pmpt_protect(flip, w, 0, P4K, RW));
	ok(pmpt_map(alias, plain, P4K, 1, frame_at(w, 0), RX));
	a = pmpt_commit(alias_first ? alias : flip, NULL);
	b = pmpt_commit(alias_first ? flip : alias, NULL);
	fails(a, first);
	fails(b, second);
	if (b)
		ok(pmpt_abort(alias_first ? flip : alias));
}

static void test_an_alias_after_a_flip(void **state)
{
	(void)state;
	two_at_once(false, 0, PMPT_E_CONFLICT);
	refused(pmpt_map(NULL, plain, P4K, 1, frame_at(w, 0), RX), "mapped writable elsewhere");
}

static void test_a_flip_after_an_alias(void **state)
{
	(void)state;
	two_at_once(true, 0, PMPT_E_CONFLICT);
	refused(pmpt_protect(NULL, w, 0, P4K, RW), "without the policy");
}

/* Two spaces with the policy, one frame that is writable. */
static void test_two_flips_of_aliases(void **state)
{
	pmpt_tx *flip, *alias;

	(void)state;
	ok(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, RW));
	ok(pmpt_begin(c.pool, 0, &flip));
	ok(pmpt_begin(c.pool, 0, &alias));
	ok(pmpt_map(alias, v, 0, 1, frame_at(w, 0), RW));
	ok(pmpt_protect(flip, w, 0, P4K, RX));
	ok(pmpt_commit(flip, NULL));
	fails(pmpt_commit(alias, NULL), PMPT_E_CONFLICT);
	ok(pmpt_abort(alias));
	refused(pmpt_map(NULL, v, 0, 1, frame_at(w, 0), RW), "mapped executable elsewhere");
}

/* Planned before the pool knew of the policy, committed after. */
static void test_planned_before_the_policy(void **state)
{
	pmpt_space *late;
	pmpt_tx *tx;

	(void)state;
	pmpt_space_close(w);
	pmpt_space_close(v);
	core_free(&c);
	core_make(&c, 4096, 256, 4096);
	plain = c.space;
	ok(pmpt_map(NULL, plain, 0, 1, PMPT_PFN_ALLOC, RW));
	ok(pmpt_space_create(c.pool, "x", &late));
	ok(pmpt_map(NULL, late, 0, 1, 5, R | PMPT_EXT));
	ok(pmpt_begin(c.pool, 0, &tx));
	ok(pmpt_map(tx, late, P4K, 1, frame_at(plain, 0), RX));
	ok(pmpt_space_create(c.pool, "w", &w));
	ok(pmpt_space_create(c.pool, "v", &v));
	ok(pmpt_space_policy_set(w, PMPT_POLICY_WX));
	ok(pmpt_move(NULL, plain, 0, w, 0, P4K));
	fails(pmpt_commit(tx, NULL), PMPT_E_CONFLICT);
	ok(pmpt_abort(tx));
	pmpt_space_close(late);
}

static unsigned found;

static void finding(void *ctx, const struct pmpt_finding *f)
{
	(void)ctx;
	found += !strcmp(f->rule, "WX");
}

/* Findings of the rule WX as the image would be after a crash now. */
static unsigned findings(void)
{
	struct check_options o = { .finding = finding };
	struct pmpt_check summary = { 0 };
	struct mem mem;

	found = 0;
	ok(mem_init(&mem));
	ok(check_region(&c.rg, &mem, &o, &summary));
	mem_fini(&mem);
	assert_int_equal(summary.findings, found);
	return found;
}

static void test_without_the_check_under_the_lock(void **state)
{
	(void)state;
	rules_off = (uint64_t)1 << RULE_WX_STATE;
	two_at_once(false, 0, 0);
	assert_int_equal(findings(), 1);
	rules_off = 0;
	ok(pmpt_unmap(NULL, plain, P4K, P4K));
}

/* ---- the verifier ---------------------------------------------------------------------------- */

static pm_word *leaf_of(pmpt_space *space, uint64_t va, unsigned stop)
{
	uint64_t table = word_load(&space->record->root);
	unsigned level = 4;

	for (; level > stop; level--)
		table = word_load((pm_word *)region_at(c.pool->rg, table) +
				  level_index(va, level)) &
			ENTRY_PFN;
	return (pm_word *)region_at(c.pool->rg, table) + level_index(va, level);
}

/* With the word changed so, so many findings. */
static void poked(pm_word *word, uint64_t flip, unsigned n)
{
	uint64_t was = word_load(word);

	atomic_store(word, was ^ flip);
	if (findings() != n)
		fail_msg("word %#lx, flipped by %#lx: %u findings, expected %u", was, flip, found,
			 n);
	atomic_store(word, was);
}

static void test_verifier(void **state)
{
	pm_word *desc;

	(void)state;
	ok(pmpt_map(NULL, w, 0, 1, PMPT_PFN_ALLOC, RW));
	ok(pmpt_map(NULL, w, P4K, 1, PMPT_PFN_ALLOC, RX));
	ok(pmpt_map(NULL, w, 2 * P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_DEMAND));
	ok(pmpt_map(NULL, w, 3 * P4K, 1, 5, RW | PMPT_EXT));
	ok(pmpt_map(NULL, plain, 0, 1, frame_at(w, 0), RW));
	ok(pmpt_segment_create(c.pool, "seg", P2M));
	ok(pmpt_segment_map(NULL, w, P2M, "seg", RW));
	ok(pmpt_segment_map(NULL, plain, P2M, "seg", RW));
	ok(pmpt_write(NULL, w, P2M, "text", 5));
	assert_int_equal(findings(), 0);
	poked(leaf_of(w, 0, 1), ENTRY_NX, 2); /* itself, and against the state */
	poked(leaf_of(w, 0, 1), ENTRY_W | ENTRY_NX, 1);
	poked(leaf_of(w, P4K, 1), ENTRY_COW, 2);
	poked(leaf_of(w, 2 * P4K, 1), ENTRY_NX, 1);
	poked(leaf_of(w, 3 * P4K, 1), ENTRY_NX, 1);
	poked(leaf_of(plain, 0, 1), ENTRY_NX, 1);
	poked(leaf_of(plain, 0, 1), ENTRY_W, 0);
	poked(leaf_of(w, P2M, 2), ENTRY_NX, 2);
	poked(leaf_of(w, P2M, 2), ENTRY_W, 0);
	poked(leaf_of(plain, P2M, 2), ENTRY_NX, 1);
	desc = frames_desc(&c.pool->frames, frame_at(w, 0));
	poked(desc, (uint64_t)WX_W << DESC_WX_SHIFT, 1);
	poked(desc, DESC_WX, 2); /* X: both mappings are writable */
	desc = frames_desc(&c.pool->frames, frame_at(w, P2M));
	poked(desc, (uint64_t)WX_W << DESC_WX_SHIFT, 1);
	poked(&w->record->state, RECORD_WX, 0);
	poked(&plain->record->state, RECORD_WX, 0); /* all that it maps is tracked */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(policy_is_kept),
		T(maps),
		T(writes_and_faults),
		T(a_range_flips_at_once),
		T(others_log_no_states),
		T(savepoints),
		T(bulk),
		T(alias_in_the_same_space),
		T(alias_in_another_space),
		T(moves),
		T(moves_of_what_a_fork_shares),
		T(collapse_and_split),
		T(forks),
		T(swapped_pages),
		T(swapped_pages_of_forks),
		T(segments),
		T(segments_of_forks_and_moves),
		T(an_alias_after_a_flip),
		T(a_flip_after_an_alias),
		T(two_flips_of_aliases),
		T(planned_before_the_policy),
		T(without_the_check_under_the_lock),
		T(verifier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
