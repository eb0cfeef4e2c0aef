/* SPDX-License-Identifier: BSD-3-Clause */
/* slot -- where transactions live: each thread keeps the slot that it used first, so that beginning
 * one takes no locked instruction; whose transaction it is; what happens when its thread ends. */
#include <pthread.h>

#include "error.h"
#include "pool.h"
#include "tx.h"

static __thread char this_thread; /* its address tells threads apart */

static struct pmpt_tx *tx_new(struct pmpt_pool *pool, unsigned slot)
{
	struct pmpt_tx *tx = mem_zalloc(&pool->mem, sizeof(*tx));

	if (!tx)
		return NULL;
	tx->pool = pool;
	tx->id = (uint16_t)(slot + 1);
	pm_init(&tx->pm, &pool->rg->medium);
	wset_init(&tx->words, &pool->mem);
	wset_init(&tx->deltas, &pool->mem);
	wset_init(&tx->fresh_index, &pool->mem);
	wset_init(&tx->originals, &pool->mem);
	return tx;
}

/* The slot that is bound to this thread, of the pool that it used first. */
static __thread struct {
	struct pmpt_pool *pool;
	uint64_t serial;
	struct pmpt_tx *tx;
} own_slot;
static pthread_key_t thread_end;

static void unbind(struct pmpt_pool *pool, void *tx)
{
	(void)pool;
	((struct pmpt_tx *)tx)->bound = false;
	atomic_store_explicit(&((struct pmpt_tx *)tx)->busy, 0, memory_order_release);
}

/* Find a transaction that this thread has open and keep its pool from being closed: as long as it is
 * open by itself, then by pool->ending. */
static void open_pin(struct pmpt_pool *pool, void *out)
{
	struct pmpt_tx **found = out;

	for (unsigned slot = 0; slot < TX_SLOTS && !*found && !forked(pool); slot++) {
		struct pmpt_tx *tx = atomic_load_explicit(&pool->tx[slot], memory_order_acquire);

		if (tx && atomic_load_explicit(&tx->open, memory_order_acquire) &&
		    atomic_load_explicit(&tx->thread, memory_order_relaxed) == &this_thread) {
			atomic_fetch_add(&pool->ending, 1);
			*found = tx;
		}
	}
}

/* A thread ends: what it has open, in whatever slot of whatever pool, nobody else could abort; its
 * slot is free again. */
static void thread_ended(void *unused)
{
	struct pmpt_tx *tx = NULL;

	(void)unused;
	while (pools_each(open_pin, &tx), tx) {
		struct pmpt_pool *pool = tx->pool;

		(void)pmpt_abort(tx); /* not under the list's lock: it may wait for readers */
		atomic_fetch_sub(&pool->ending, 1);
		tx = NULL;
	}
	if (own_slot.pool)
		pools_visit(own_slot.pool, own_slot.serial, unbind, own_slot.tx);
	own_slot.pool = NULL;
}

static void thread_key(void) { (void)pthread_key_create(&thread_end, thread_ended); }

/* Bind a slot to this thread. */
static void bind(struct pmpt_pool *pool, struct pmpt_tx *tx)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (pthread_once(&once, thread_key) || pthread_setspecific(thread_end, &own_slot))
		return;
	own_slot.pool = pool;
	own_slot.serial = pool->pools.serial;
	own_slot.tx = tx;
	tx->bound = true;
}

static void still_open(struct pmpt_pool *pool, void *open)
{
	(void)pool;
	*(bool *)open = true;
}

/* This thread has no slot, or its pool is closed. */
static bool slot_gone(void)
{
	bool open = false;

	if (own_slot.pool)
		pools_visit(own_slot.pool, own_slot.serial, still_open, &open);
	return !open;
}

static int slot_make(struct pmpt_pool *pool, unsigned slot, struct pmpt_tx **tx)
{
	struct pmpt_tx *none = NULL, *made = tx_new(pool, slot);

	if (!made)
		return error_set(-ENOMEM, "no memory for a transaction");
	if (!atomic_compare_exchange_strong(&pool->tx[slot], &none, made)) {
		mem_free(&pool->mem, made, sizeof(*made));
		made = none;
	}
	*tx = made;
	return 0;
}

/* Take a free slot. */
static int slot_take(struct pmpt_pool *pool, struct pmpt_tx **out)
{
	for (unsigned slot = 0; slot < TX_SLOTS; slot++) {
		struct pmpt_tx *tx = atomic_load_explicit(&pool->tx[slot], memory_order_acquire);
		uint32_t idle = 0;
		int rc = tx ? 0 : slot_make(pool, slot, &tx);

		if (rc)
			return rc;
		if (atomic_load_explicit(&tx->busy, memory_order_relaxed) ||
		    !atomic_compare_exchange_strong(&tx->busy, &idle, 1))
			continue;
		if (slot_gone())
			bind(pool, tx);
		*out = tx;
		return 0;
	}
	return error_set(PMPT_E_TX_LIMIT, "%u transactions are open", TX_SLOTS);
}

int pmpt_begin(pmpt_pool *pool, unsigned flags, pmpt_tx **out)
{
	struct pmpt_tx *tx = own_slot.tx;
	int rc = pool_writable(pool);

	if (!rc && flags & ~(unsigned)PMPT_TX_BULK)
		rc = error_set(-EINVAL, "transaction flags %#x", flags);
	if (rc)
		return rc;
	if (own_slot.pool != pool || own_slot.serial != pool->pools.serial || tx_is_open(tx)) {
		rc = slot_take(pool, &tx);
		if (rc)
			return rc;
	}
	if (flags & PMPT_TX_BULK) {
		rc = bulk_begin(&pool->wal);
		if (rc) {
			if (!tx->bound)
				atomic_store(&tx->busy, 0);
			return rc;
		}
	}
	atomic_store_explicit(&tx->thread, &this_thread, memory_order_relaxed);
	tx->bulk = flags & PMPT_TX_BULK;
	tx->spilled = false;
	/* after thread: an ending thread looks for its own in all slots */
	atomic_store_explicit(&tx->open, true, memory_order_release);
	*out = tx;
	return 0;
}

bool tx_is_mine(const struct pmpt_tx *tx)
{
	return atomic_load_explicit(&((struct pmpt_tx *)tx)->thread, memory_order_relaxed) ==
	       &this_thread;
}

int tx_check(const struct pmpt_tx *tx)
{
	if (forked(tx->pool))
		return error_set(PMPT_E_FORKED, "the transaction was begun by the parent process");
	if (!tx_is_open(tx))
		return error_set(PMPT_E_TX_STATE, "the transaction has ended");
	if (!tx_is_mine(tx))
		return error_set(PMPT_E_TX_STATE, "the transaction was begun by another thread");
	return 0;
}
