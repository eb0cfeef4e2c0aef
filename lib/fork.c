/* SPDX-License-Identifier: BSD-3-Clause */
/* fork -- copy-on-write clones of whole spaces.
 *
 * A fork copies one table, the PML4.  From then on parent and child share all below it, and who
 * changes something first gives himself a chain of tables of his own (table.c, unshare).
 * ORDER	space.forking says that a fork is coming (S1) -> every transaction that plans in the
 *		parent has ended (S2) -> PML4 copied, W gone from both, child's record: one
 *		transaction.
 *		Without S1 and S2 such a transaction would change tables that it took for the
 *		parent's alone.
 * INVARIANTS	F6
 */
#include <sched.h>
#include <string.h>

#include "error.h"
#include "space.h"
#include "table.h"

#define WAIT_TRIES 65536 /* yields, until the transactions in the parent have ended */

static int fork_call(struct pmpt_tx *tx, const void *args)
{
	const struct record_args *a = args;
	uint64_t copy = 0, policy = word_load(&a->space->record->state) & RECORD_WX;
	int rc = tx_own(tx, a->space->root_pfn);

	/* its cache may go on to find tables for readers, but none for writers */
	if (!rc)
		rc = tx_cut(tx, a->space, 0, 0);
	if (!rc)
		rc = table_copy(tx, a->space->root_pfn, 4, &copy);
	if (!rc)
		rc = record_set(tx, &a->record->state, SPACE_LIVE | policy | a->flags);
	if (!rc)
		rc = record_set(tx, &a->record->root, copy << FRAME_SHIFT);
	for (unsigned i = 0; i < PMPT_USER_WORDS && !rc; i++)
		rc = record_set(tx, &a->record->user[i], word_load(&a->space->record->user[i]));
	return rc ? rc : record_set_name(tx, a->record, a->name);
}

/* S2.  Those that come now are turned away by tx_entered(). */
static int wait_for_others(const struct pmpt_space *space, const struct pmpt_tx *self)
{
	struct pmpt_pool *pool = space->pool;

	for (unsigned slot = 0, tries = 0; slot < TX_SLOTS;) {
		const struct pmpt_tx *tx =
			atomic_load_explicit(&pool->tx[slot], memory_order_acquire);

		if (!tx || tx == self || !tx_is_in(tx, space)) {
			slot++;
			continue;
		}
		if (tx_is_mine(tx) || ++tries == WAIT_TRIES)
			return error_set(PMPT_E_CONFLICT,
					 "a transaction that changes space '%s' is open",
					 space->name);
		sched_yield();
	}
	return 0;
}

int pmpt_space_fork(pmpt_space *space, const char *name, unsigned flags, pmpt_space **child)
{
	struct pmpt_pool *pool = space->pool;
	struct record_args a = { .name = name, .space = space };
	uint16_t none = 0;
	int rc = name_check(name);

	if (!rc && flags & ~(unsigned)PMPT_FORK_SNAPSHOT)
		rc = error_set(-EINVAL, "fork flags %#x", flags);
	a.flags = flags & PMPT_FORK_SNAPSHOT ? RECORD_SNAPSHOT : 0;
	if (!rc)
		rc = pool_writable(pool);
	if (!rc)
		rc = pool_feature(pool, SB_FEATURE_SPACES);
	if (!rc)
		rc = pmpt_begin(pool, 0, &a.tx);
	if (rc)
		return rc;
	if (!atomic_compare_exchange_strong(&space->forking, &none, a.tx->id)) {
		(void)pmpt_abort(a.tx);
		return error_set(PMPT_E_CONFLICT, "space '%s' is being forked", space->name);
	}
	if (rule_on(RULE_F6_FORK_WAITS))
		rc = wait_for_others(space, a.tx);
	if (!rc)
		rc = record_add(pool, fork_call, &a, child);
	if (rc && tx_is_open(a.tx))
		(void)pmpt_abort(a.tx);
	atomic_store_explicit(&space->forking, 0, memory_order_release);
	return rc;
}
