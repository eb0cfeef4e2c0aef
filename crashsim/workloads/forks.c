/* SPDX-License-Identifier: BSD-3-Clause */
/* forks -- workloads: a space forked, then changed at each level of its tables, on either side;
 * snapshots; members of a tree of forks deleted; a writer beside a fork. */
#include <sched.h>

#include "actors.h"
#include "pm_bridge.h"

/* 2 lanes of 2 x 8 lines, 3 spaces, room for three sets of tables */
#define FRAMES 48

#define FORKS(ident, what, ...)                                                                    \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES), .run = ident##_run, \
			  .setup = forks_setup, .recover = bridge_recover, .check = bridge_check,  \
			  __VA_ARGS__)

#define RW (PMPT_R | PMPT_W)

/* Pages of the pool, of others, and a huge one: leaves at three levels. */
static void forks_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ .spaces = 3 });
	bridge_alone = true;
	bridge_open(pm);
	MUST(pmpt_map(NULL, space, P4K, 2, PMPT_PFN_ALLOC, RW | PMPT_ZERO | PMPT_TAG(1)));
	MUST(pmpt_map(NULL, space, 3 * P4K, 1, 7, RW | PMPT_EXT));
	MUST(pmpt_map(NULL, space, 3 * P2M, 1, 1024, RW | PMPT_EXT | PMPT_2M));
	MUST(pmpt_checkpoint(pool));
}

static struct pmpt_space *fork_of(struct pmpt_space *parent, const char *name, unsigned flags)
{
	struct pmpt_space *child = NULL;

	CALL(0, pmpt_space_fork(parent, name, flags, &child));
	return child;
}

/* Level 1 twice, the second time nothing is copied; then 2, and 4.  Checkpoints between keep the
 * states few. */
static void change(struct pmpt_space *of)
{
	CALL(0, pmpt_protect(NULL, of, P4K, P4K, PMPT_R));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_map(NULL, of, 2 * P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_REPLACE));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_unmap(NULL, of, 3 * P2M, P2M));
	CALL(0, pmpt_unmap(NULL, of, 0, SPLIT));
}

static void fork_child_run(void *pm)
{
	struct pmpt_space *child;

	(void)pm;
	bridge_start();
	child = fork_of(space, "c", 0);
	change(child);
	pmpt_space_close(child);
	bridge_stop();
}
FORKS(fork_child, "a fork, then the child changed at each level")

static void fork_parent_run(void *pm)
{
	(void)pm;
	bridge_start();
	pmpt_space_close(fork_of(space, "c", 0));
	change(space);
	bridge_stop();
}
FORKS(fork_parent, "a fork, then the parent changed at each level")

/* One transaction over both. */
static int both(struct pmpt_space *child)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_protect(tx, child, P4K, P4K, PMPT_R));
	MUST(pmpt_map(tx, space, 2 * P4K, 1, 9, RW | PMPT_EXT | PMPT_REPLACE));
	MUST(pmpt_user_set(tx, child, 0, 5));
	return pmpt_commit(tx, NULL);
}
static void fork_both_run(void *pm)
{
	struct pmpt_space *child;

	(void)pm;
	bridge_start();
	child = fork_of(space, "c", 0);
	CALL(0, both(child));
	/* each takes back what the other has copied */
	CALL(0, pmpt_protect(NULL, space, P4K, P4K, PMPT_R | PMPT_X));
	CALL(0, pmpt_protect(NULL, child, 3 * P4K, P4K, PMPT_R));
	pmpt_space_close(child);
	bridge_stop();
}
FORKS(fork_both, "a fork, then parent and child changed in one transaction")

static void fork_delete_run(void *pm)
{
	struct pmpt_space *child;

	(void)pm;
	bridge_start();
	child = fork_of(space, "c", 0);
	CALL(0, pmpt_map(NULL, child, 2 * P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_REPLACE));
	pmpt_space_close(child);
	/* what is shared goes by its counts, the rest page by page */
	CALL(0, pmpt_space_delete(pool, "c"));
	CALL(0, pmpt_protect(NULL, space, P4K, P4K, PMPT_R));
	bridge_stop();
}
FORKS(fork_delete, "a fork changed and deleted, then its parent changed")

static void fork_tree_run(void *pm)
{
	struct pmpt_space *snap, *work;

	(void)pm;
	bridge_start();
	snap = fork_of(space, "c", PMPT_FORK_SNAPSHOT);
	CALL(0, pmpt_protect(NULL, space, P4K, P4K, PMPT_R));
	ASIDE(0, pmpt_checkpoint(pool));
	work = fork_of(snap, "d", 0);
	pmpt_space_close(snap);
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_space_delete(pool, "c"));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_protect(NULL, work, P4K, P4K, PMPT_R));
	pmpt_space_close(work);
	bridge_stop();
}
FORKS(fork_tree, "a snapshot forked, and deleted before its child")

static void fork_move_run(void *pm)
{
	struct pmpt_space *child;

	(void)pm;
	bridge_start();
	child = fork_of(space, "c", 0);
	CALL(0, pmpt_move(NULL, child, 0, child, 5 * P2M, P2M)); /* a shared table, linked anew */
	CALL(0, pmpt_protect(NULL, child, 3 * P2M + P4K, P4K, PMPT_R)); /* splits */
	pmpt_space_close(child);
	bridge_stop();
}
FORKS(fork_move, "a fork, a shared table moved, a huge page split")

static void fork_bulk_run(void *pm)
{
	struct pmpt_space *child;
	pmpt_tx *tx;

	(void)pm;
	bridge_start();
	child = fork_of(space, "c", 0);
	for (unsigned commit = 0; commit < 2; commit++) {
		MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
		bridge_begin(0);
		MUST(pmpt_protect(tx, child, P4K, P4K, PMPT_R));
		MUST(bulk_spill(tx));
		MUST(pmpt_unmap(tx, child, 3 * P2M, P2M));
		MUST(commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx));
		bridge_returned(0);
	}
	pmpt_space_close(child);
	bridge_stop();
}
FORKS(fork_bulk, "a fork changed by bulk transactions, aborted and committed")

/* ---- more than one transaction to delete ------------------------------------------------------------ */

/* Leaves of the child's own in three tables: a half has 8 lines. */
static void fork_deep_setup(void *pm)
{
	struct pmpt_space *child;

	bridge_format(pm, &(struct shape){ .spaces = 4 });
	bridge_alone = true;
	bridge_open(pm);
	MUST(pmpt_map(NULL, space, 0, 1, 7, RW | PMPT_EXT));
	MUST(pmpt_map(NULL, space, 5 * P2M, 2, PMPT_PFN_ALLOC, RW | PMPT_ZERO));
	MUST(pmpt_space_fork(space, "c", 0, &child));
	for (unsigned i = 0; i < 3; i++)
		MUST(pmpt_map(NULL, child, i * P2M + P4K, 3, PMPT_PFN_ALLOC, RW | PMPT_ZERO));
	MUST(pmpt_protect(NULL, child, 5 * P2M, P4K, PMPT_R));
	pmpt_space_close(child);
	MUST(pmpt_checkpoint(pool));
}

static void fork_parts_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_space_delete(pool, "c"));
	bridge_stop();
}
CRASHSIM_WORKLOAD(fork_parts, .about = "a fork deleted in several transactions, resumed",
		  .bytes = BUFFER_BYTES(64), .run = fork_parts_run, .setup = fork_deep_setup,
		  .recover = bridge_recover, .check = bridge_check)

/* Forks of forks of forks; the middle goes first, then the eldest. */
static void fork_chain_run(void *pm)
{
	struct pmpt_space *two, *three;

	(void)pm;
	bridge_start();
	two = fork_of(space, "c", 0);
	CALL(0, pmpt_protect(NULL, two, P4K, P4K, PMPT_R));
	ASIDE(0, pmpt_checkpoint(pool));
	three = fork_of(two, "d", 0);
	CALL(0, pmpt_protect(NULL, three, 2 * P4K, P4K, PMPT_R));
	pmpt_space_close(two);
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_space_delete(pool, "c"));
	pmpt_space_close(three);
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_protect(NULL, space, 2 * P4K, P4K, PMPT_R));
	CALL(0, pmpt_space_delete(pool, "d"));
	bridge_stop();
}
FORKS(fork_chain, "a fork of a fork; the one between goes first, then the last")

/* ---- huge pages ------------------------------------------------------------------------------------- */

#define HUGE_FRAMES (3 * 512)

/* A fork has copied some parts of a huge page, every second one. */
static void fork_uneven_setup(void *pm)
{
	struct pmpt_space *child;

	bridge_format(pm, &(struct shape){ .half_lines = 32, .spaces = 3, .frames = HUGE_FRAMES });
	bridge_alone = true;
	bridge_open(pm);
	MUST(pmpt_map(NULL, space, P2M, 1, PMPT_PFN_ALLOC, RW | PMPT_2M));
	MUST(pmpt_space_fork(space, "c", 0, &child));
	for (unsigned i = 0; i < 12; i += 2)
		MUST(pmpt_write(NULL, child, P2M + i * P4K, "c", 1));
	pmpt_space_close(child);
	MUST(pmpt_checkpoint(pool));
}

/* The table that maps it is copied, and the page comes to be a table that is shared. */
static void fork_uneven_run(void *pm)
{
	struct pmpt_space *child;

	(void)pm;
	bridge_start();
	child = fork_of(space, "d", 0);
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_map(NULL, child, 3 * P2M, 1, 1024, RW | PMPT_EXT | PMPT_2M));
	pmpt_space_close(child);
	bridge_stop();
}
CRASHSIM_WORKLOAD(fork_uneven, .about = "a huge page that a fork has copied parts of, forked again",
		  .bytes = BUFFER_BYTES(HUGE_FRAMES), .run = fork_uneven_run,
		  .setup = fork_uneven_setup, .recover = bridge_recover, .check = bridge_check)

/* ---- what is in the pages --------------------------------------------------------------------------- */

static void fork_data_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ .spaces = 3 });
	bridge_alone = true;
	bridge_open(pm);
	MUST(pmpt_write(NULL, space, P4K, "one page, and", 14));
	MUST(pmpt_write(NULL, space, 2 * P4K, "another", 8));
	MUST(pmpt_checkpoint(pool));
}

static void fork_data_check(void *pm)
{
	bridge_contents = true;
	bridge_check(pm);
	bridge_contents = false;
}

static int write_two(struct pmpt_space *child)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_write(tx, space, P4K + 100, "the parent's", 13));
	MUST(pmpt_write(tx, child, P4K + 100, "the child's", 12));
	return pmpt_commit(tx, NULL);
}

static void fork_data_run(void *pm)
{
	struct pmpt_space *child;

	(void)pm;
	bridge_contents = true;
	bridge_start();
	child = fork_of(space, "c", 0);
	CALL(0, write_two(child));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_fault(NULL, child, 2 * P4K, PMPT_W, NULL)); /* a copy */
	CALL(0, pmpt_fault(NULL, space, 2 * P4K, PMPT_W, NULL)); /* alone by now */
	CALL(0, pmpt_write(NULL, child, 3 * P4K - 4, "over two", 9));
	pmpt_space_close(child);
	bridge_stop();
}
CRASHSIM_WORKLOAD(fork_data, .about = "pages written in parent and child, and faulted in",
		  .bytes = BUFFER_BYTES(FRAMES), .run = fork_data_run, .setup = fork_data_setup,
		  .recover = bridge_recover, .check = fork_data_check)

/* ---- a writer beside a fork ------------------------------------------------------------------------ */

/* The page and the user word of a transaction hold one value, in the parent and in the child. */
static void fork_beside_setup(void *pm)
{
	bridge_setup(pm);
	MUST(pmpt_map(NULL, space, P2M, 1, 7, PMPT_R | PMPT_EXT));
	MUST(pmpt_user_set(NULL, space, 0, 7));
	MUST(pmpt_checkpoint(pool));
}

static void fork_beside_a(void)
{
	pmpt_tx *tx;
	int rc;

	crashsim_begin_again(0);
	do {
		MUST(pmpt_begin(pool, 0, &tx));
		rc = pmpt_map(tx, space, P2M, 1, 8, PMPT_R | PMPT_EXT | PMPT_REPLACE);
		if (!rc)
			rc = pmpt_user_set(tx, space, 0, 8);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		if (rc)
			MUST(pmpt_abort(tx));
		if (rc)
			sched_yield();
	} while (rc == PMPT_E_CONFLICT);
	MUST(rc);
	crashsim_returned(0);
}

static void fork_beside_b(void)
{
	int rc;

	crashsim_begin_again(1);
	/* both actors are one thread: of its own transactions it does not wait */
	while ((rc = pmpt_space_fork(space, "c", 0, NULL)) == PMPT_E_CONFLICT)
		sched_yield();
	MUST(rc);
	crashsim_returned(1);
}

static void fork_beside_check(void *pm)
{
	struct region *rg = bridge_region(pm);
	const struct space_record *r = region_at(rg, region_sb(rg)->directory);
	uint64_t value[2] = { 0 };

	bridge_check_verifier(pm);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t table = word_load(&r[i].root);

		if ((word_load(&r[i].state) & 0xff) != SPACE_LIVE)
			continue;
		for (unsigned level = 4; level > 1; level--)
			table = word_load((pm_word *)region_at(rg, table) +
					  level_index(P2M, level)) &
				ENTRY_PFN;
		value[i] =
			entry_pfn(word_load((pm_word *)region_at(rg, table) + level_index(P2M, 1)));
		if (value[i] != word_load(&r[i].user[0]))
			crashsim_fail("space %u maps frame %lu, its user word is %lu", i, value[i],
				      word_load(&r[i].user[0]));
	}
	crashsim_outcome(value[0] << 8 | value[1]);
	if (crashsim_state(0) == CRASHSIM_RETURNED && value[0] != 8)
		crashsim_fail("the transaction has returned, and the page maps frame %lu",
			      value[0]);
	if (crashsim_state(1) == CRASHSIM_RETURNED && !value[1])
		crashsim_fail("the fork has returned, and there is no child");
}

static void fork_beside_begin(void *pm)
{
	(void)pm;
	bridge_rules();
}

static void fork_beside_run(void *pm)
{
	actors_explore(pm, &(struct cast){ .begin = fork_beside_begin,
					   .end = bridge_stop,
					   .actor = { fork_beside_a, fork_beside_b },
					   .parts = true });
}
CRASHSIM_WORKLOAD(fork_beside, .about = "a fork beside a transaction in its parent",
		  .bytes = BUFFER_BYTES(FRAMES), .run = fork_beside_run, .setup = fork_beside_setup,
		  .recover = bridge_recover, .check = fork_beside_check)
