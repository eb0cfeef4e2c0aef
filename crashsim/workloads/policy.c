/* SPDX-License-Identifier: BSD-3-Clause */
/* policy -- workloads: pages of a space with the policy W^X flipped from writable to executable and back;
 * the verifier says of each image that no page of it is both, by no alias. */
#include "actors.h"
#include "pm_bridge.h"

#define FRAMES 48

#define POLICY(ident, what, start)                                                                 \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES), .run = ident##_run, \
			  .setup = start, .recover = bridge_recover, .check = bridge_check)

#define RW (PMPT_R | PMPT_W)
#define RX (PMPT_R | PMPT_X)

/* A space with the policy: two pages in a row, and one alone. */
static void policy_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ .spaces = 3 });
	bridge_alone = true;
	bridge_open(pm);
	MUST(pmpt_space_policy_set(space, PMPT_POLICY_WX));
	MUST(pmpt_map(NULL, space, P4K, 2, PMPT_PFN_ALLOC, RW | PMPT_ZERO | PMPT_TAG(1)));
	MUST(pmpt_map(NULL, space, 5 * P4K, 1, PMPT_PFN_ALLOC, RW | PMPT_ZERO | PMPT_TAG(1)));
	MUST(pmpt_checkpoint(pool));
}

static void policy_flip_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_protect(NULL, space, P4K, 2 * P4K, RX));
	CALL(0, pmpt_protect(NULL, space, P4K, 2 * P4K, RW));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_protect(NULL, space, 2 * P4K, P4K, RX));
	bridge_stop();
}
POLICY(policy_flip, "pages flipped from writable to executable and back", policy_setup)

/* Written, and published in the same transaction; what was executable is written again. */
static int publish(void)
{
	const char text[] = "code";
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_write(tx, space, P4K, text, sizeof(text)));
	MUST(pmpt_protect(tx, space, P4K, P4K, RX));
	MUST(pmpt_unmap(tx, space, 5 * P4K, P4K));
	MUST(pmpt_map(tx, space, 6 * P4K, 1, PMPT_PFN_ALLOC, RX | PMPT_ZERO));
	return pmpt_commit(tx, NULL);
}
static void policy_publish_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, publish());
	CALL(0, pmpt_protect(NULL, space, P4K, P4K, RW));
	bridge_stop();
}
POLICY(policy_publish, "a page written and published in one transaction", policy_setup)

/* A copy of a page that a fork shares is the fork's to flip. */
static void policy_fork_run(void *pm)
{
	struct pmpt_space *child = NULL;

	(void)pm;
	bridge_start();
	CALL(0, pmpt_space_fork(space, "c", 0, &child));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_fault(NULL, child, P4K, PMPT_W, NULL));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_protect(NULL, child, P4K, P4K, RX));
	CALL(0, pmpt_protect(NULL, space, P4K, P4K, RX));
	pmpt_space_close(child);
	bridge_stop();
}
POLICY(policy_fork, "a fork, its copy of a page flipped", policy_setup)

/* A page comes from a space without the policy and goes back; so its frame is tracked meanwhile. */
static void policy_move_setup(void *pm)
{
	struct pmpt_space *plain;

	policy_setup(pm);
	MUST(pmpt_space_create(pool, "n", &plain));
	MUST(pmpt_map(NULL, plain, P4K, 1, PMPT_PFN_ALLOC, RX | PMPT_ZERO | PMPT_TAG(1)));
	pmpt_space_close(plain);
	MUST(pmpt_checkpoint(pool));
}
static void policy_move_run(void *pm)
{
	struct pmpt_space *plain;

	(void)pm;
	MUST(pmpt_space_open(pool, "n", &plain));
	bridge_start();
	CALL(0, pmpt_move(NULL, plain, P4K, space, 8 * P4K, P4K));
	CALL(0, pmpt_protect(NULL, space, 8 * P4K, P4K, RW));
	CALL(0, pmpt_move(NULL, space, 8 * P4K, plain, P4K, P4K));
	CALL(0, pmpt_protect(NULL, plain, P4K, P4K, RW | PMPT_X));
	pmpt_space_close(plain);
	bridge_stop();
}
POLICY(policy_move, "a page moved to a space with the policy, flipped, and moved back",
       policy_move_setup)

/* The policy itself, then what it is for. */
static void policy_set_setup(void *pm)
{
	bridge_format(pm, &(struct shape){ .spaces = 3 });
	bridge_alone = true;
	bridge_open(pm);
	MUST(pmpt_checkpoint(pool));
}
static void policy_set_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, pmpt_space_policy_set(space, PMPT_POLICY_WX));
	CALL(0, pmpt_map(NULL, space, P4K, 1, PMPT_PFN_ALLOC, RX));
	bridge_stop();
}
POLICY(policy_set, "a space gets the policy, and a page", policy_set_setup)

/* ---- a segment --------------------------------------------------------------------------------- */

static void policy_segment_setup(void *pm)
{
	policy_setup(pm);
	MUST(pmpt_segment_create(pool, "g", P2M));
	MUST(pmpt_segment_map(NULL, space, P2M, "g", RW));
	MUST(pmpt_write(NULL, space, P2M, "code", 5));
	MUST(pmpt_checkpoint(pool));
}
static int remap(unsigned prot)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_segment_unmap(tx, space, P2M, "g"));
	MUST(pmpt_segment_map(tx, space, P2M, "g", prot));
	return pmpt_commit(tx, NULL);
}
static void policy_segment_run(void *pm)
{
	(void)pm;
	bridge_start();
	CALL(0, remap(RX));
	CALL(0, pmpt_segment_delete(pool, "g"));
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_protect(NULL, space, P2M, P2M, RW));
	bridge_stop();
}
POLICY(policy_segment, "the only mapping of a segment flipped, by its name and without",
       policy_segment_setup)

/* ---- two at once ------------------------------------------------------------------------------- */

/* A page that is read alone.  One maps its frame executable where nothing forbids it, one makes it writable:
 * who comes second is refused. */
static struct pmpt_space *plain;
static uint64_t frame;

static void policy_beside_setup(void *pm)
{
	uint64_t entry = 0;

	bridge_format(pm, &(struct shape){ .spaces = 3 });
	bridge_open(pm);
	MUST(pmpt_space_policy_set(space, PMPT_POLICY_WX));
	MUST(pmpt_map(NULL, space, P4K, 1, PMPT_PFN_ALLOC, PMPT_R));
	MUST(pmpt_lookup(space, P4K, &entry));
	frame = entry_pfn(entry);
	MUST(pmpt_space_create(pool, "n", &plain));
	MUST(pmpt_map(NULL, plain, P4K, 1, 9, PMPT_R | PMPT_EXT));
	MUST(pmpt_checkpoint(pool));
}

/* As the library tries again; the other has what it conflicts with done. */
static void beside(unsigned actor, int (*plan)(pmpt_tx *tx))
{
	pmpt_tx *tx;
	int rc;

	crashsim_begin_again(actor);
	do {
		MUST(pmpt_begin(pool, 0, &tx));
		rc = plan(tx);
		if (!rc)
			rc = pmpt_commit(tx, NULL);
		if (rc)
			MUST(pmpt_abort(tx));
	} while (rc == PMPT_E_CONFLICT);
	if (rc == PMPT_E_WX) /* the other was first */
		return;
	MUST(rc);
	crashsim_returned(actor);
}

static int flip_plan(pmpt_tx *tx) { return pmpt_protect(tx, space, P4K, P4K, RW); }
static int alias_plan(pmpt_tx *tx) { return pmpt_map(tx, plain, 2 * P4K, 1, frame, RX); }
static void policy_beside_a(void) { beside(0, flip_plan); }
static void policy_beside_b(void) { beside(1, alias_plan); }

static uint64_t leaf_at(const struct region *rg, unsigned record, uint64_t va)
{
	const struct space_record *r = region_at(rg, region_sb(rg)->directory);
	uint64_t table = word_load(&r[record].root);

	for (unsigned level = 4; level > 1; level--)
		table = word_load((pm_word *)region_at(rg, table) + level_index(va, level)) &
			ENTRY_PFN;
	return word_load((pm_word *)region_at(rg, table) + level_index(va, 1));
}

static void policy_beside_check(void *pm)
{
	struct region *rg = bridge_region(pm);
	bool flipped, aliased;

	bridge_check_verifier(pm);
	flipped = leaf_at(rg, 0, P4K) & ENTRY_W;
	aliased = leaf_at(rg, 1, 2 * P4K) != 0;
	crashsim_outcome((uint64_t)flipped << 1 | aliased);
	if (crashsim_state(0) == CRASHSIM_RETURNED && !flipped)
		crashsim_fail("the flip has returned, the page is not writable");
	if (crashsim_state(1) == CRASHSIM_RETURNED && !aliased)
		crashsim_fail("the map has returned, nothing is mapped");
}

static void policy_beside_begin(void *pm)
{
	(void)pm;
	bridge_rules();
}
static void policy_beside_end(void)
{
	pmpt_space_close(plain);
	bridge_stop();
}
static void policy_beside_run(void *pm)
{
	actors_explore(pm, &(struct cast){ .begin = policy_beside_begin,
					   .end = policy_beside_end,
					   .actor = { policy_beside_a, policy_beside_b },
					   .parts = true });
}
CRASHSIM_WORKLOAD(policy_beside,
		  .about = "a page made writable beside a map that would make it executable",
		  .bytes = BUFFER_BYTES(FRAMES), .run = policy_beside_run,
		  .setup = policy_beside_setup, .recover = bridge_recover,
		  .check = policy_beside_check)
