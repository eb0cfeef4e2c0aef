/* SPDX-License-Identifier: BSD-3-Clause */
/* segments -- workloads: a segment made, mapped by two spaces, written through either, forked, unmapped,
 * its name deleted, before its last mapping and after.  What is in its pages is compared, too. */
#include "pm_bridge.h"

/* 2 lanes of 2 x 8 lines, 4 places for spaces and segments */
#define FRAMES 48

#define RW     (PMPT_R | PMPT_W)
#define AT     (4 * P2M) /* where "s" maps it */
#define AT_TWO P2M       /* and "t" */

static struct pmpt_space *other; /* "t" */

static void segments_check(void *pm)
{
	bridge_contents = true;
	bridge_check(pm);
	bridge_contents = false; /* other workloads run in this process, too */
}

#define SEGMENTS(ident, what, ...)                                                                 \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES), .run = ident##_run, \
			  .recover = bridge_recover, .check = segments_check, __VA_ARGS__)

static int write_text(struct pmpt_space *s, uint64_t va, char with, size_t len)
{
	static char text[2 * P4K];

	for (size_t i = 0; i < len; i++)
		text[i] = (char)(with + (char)(i * 5));
	return pmpt_write(NULL, s, va, text, len);
}

static void spaces_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ .spaces = 4 });
	bridge_alone = true;
	bridge_open(pm);
	MUST(pmpt_space_create(pool, "t", &other));
	MUST(pmpt_checkpoint(pool));
}

/* It is there, mapped twice, with one page. */
static void mapped_setup(void *pm)
{
	spaces_setup(pm);
	MUST(pmpt_segment_create(pool, "seg", P2M));
	MUST(pmpt_segment_map(NULL, space, AT, "seg", RW));
	MUST(pmpt_segment_map(NULL, other, AT_TWO, "seg", RW | PMPT_X));
	MUST(write_text(space, AT + P4K, 1, P4K));
	MUST(pmpt_checkpoint(pool));
}

static void start(void)
{
	bridge_contents = true;
	bridge_start();
}

static void stop(void)
{
	pmpt_space_close(other);
	other = NULL;
	bridge_stop();
}

static void segment_create_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_segment_create(pool, "seg", P2M));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_segment_map(NULL, space, AT, "seg", RW));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_segment_map(NULL, other, AT_TWO, "seg", PMPT_R));
	CALL(0, write_text(space, AT + 3 * P4K, 2, P4K));
	stop();
}
SEGMENTS(segment_create, "a segment made, mapped twice, its first page written",
	 .setup = spaces_setup)

static void segment_write_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, write_text(space, AT + P4K + 9, 3, 70));
	CALL(0, write_text(other, AT_TWO + 2 * P4K - 5, 4, 10)); /* two pages, one is new */
	CALL(0, pmpt_fault(NULL, space, AT + 5 * P4K, PMPT_R, NULL));
	CALL(0, pmpt_protect(NULL, other, AT_TWO, P2M, PMPT_R));
	CALL(0, write_text(space, AT + 5 * P4K, 5, 8));
	stop();
}
SEGMENTS(segment_write, "a segment written and faulted in through both mappings, one protected",
	 .setup = mapped_setup)

/* One transaction: what two spaces see moves to another page, and one of them looks elsewhere. */
static int together(void)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_write(tx, space, AT + P4K, "here", 5));
	MUST(pmpt_write(tx, other, AT_TWO + 4 * P4K, "there", 6));
	MUST(pmpt_move(tx, other, AT_TWO, other, 3 * P2M, P2M));
	MUST(pmpt_user_set(tx, space, 0, 4));
	return pmpt_commit(tx, NULL);
}
static void segment_tx_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, together());
	CALL(0, write_text(other, 3 * P2M + P4K, 6, P4K));
	stop();
}
SEGMENTS(segment_tx, "a segment written through two mappings and moved in one transaction",
	 .setup = mapped_setup)

static void segment_name_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_segment_unmap(NULL, other, AT_TWO, "seg"));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_segment_delete(pool, "seg")); /* the other mapping keeps it */
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, write_text(space, AT + P4K, 7, 30));
	CALL(0, pmpt_unmap(NULL, space, AT, P2M)); /* the last */
	stop();
}
SEGMENTS(segment_name, "a segment unmapped, its name deleted, then its last mapping",
	 .setup = mapped_setup)

static void segment_last_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_unmap(NULL, space, AT, P2M));
	CALL(0, pmpt_unmap(NULL, other, 0, SPLIT));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_segment_delete(pool, "seg"));
	stop();
}
SEGMENTS(segment_last, "a segment's mappings gone, then its name, and it", .setup = mapped_setup)

/* A space with the last mapping goes. */
static void segment_space_setup(void *pm)
{
	mapped_setup(pm);
	pmpt_space_close(other);
	other = NULL;
	MUST(pmpt_unmap(NULL, space, AT, P2M));
	MUST(pmpt_checkpoint(pool));
}
static void segment_space_run(void *pm)
{
	(void)pm;
	start();
	CALL(0, pmpt_segment_delete(pool, "seg"));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_space_delete(pool, "t"));
	stop();
}
SEGMENTS(segment_space, "a segment's name deleted, then the space that maps it",
	 .setup = segment_space_setup)

static void segment_fork_run(void *pm)
{
	struct pmpt_space *child;

	(void)pm;
	start();
	CALL(0, pmpt_space_fork(space, "c", 0, &child));
	CALL(0, write_text(child, AT + P4K, 8, 30)); /* in place, for all */
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_unmap(NULL, space, AT, P2M));
	CALL(0, write_text(child, AT + 2 * P4K, 9, P4K));
	pmpt_space_close(child);
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_space_delete(pool, "c"));
	stop();
}
SEGMENTS(segment_fork, "a fork shares a segment, writes it, outlives its parent's mapping",
	 .setup = mapped_setup)
