/* SPDX-License-Identifier: BSD-3-Clause */
/* pwc -- see pwc.h. */
#include "pwc.h"

#include "rcu.h"
#include "table.h"

static bool try_lock(struct pwc *c)
{
	uint32_t idle = 0;

	return !atomic_load_explicit(&c->lock, memory_order_relaxed) &&
	       atomic_compare_exchange_strong_explicit(&c->lock, &idle, 1, memory_order_acquire,
						       memory_order_relaxed);
}

static void lock(struct pwc *c)
{
	while (!try_lock(c))
		__builtin_ia32_pause();
}

static void unlock(struct pwc *c) { atomic_store_explicit(&c->lock, 0, memory_order_release); }

void pwc_init(struct pwc *c)
{
	for (uint64_t i = 0; PWC_EMPTY(i); i++) /* those further on are empty as zeros */
		atomic_init(&c->slot[i], PWC_EMPTY(i));
}

static uint64_t slot_of(uint64_t va) { return (va >> GROUP_SHIFT) % PWC_SLOTS; }

static bool is_empty(struct pwc *c, uint64_t i)
{
	return atomic_load_explicit(&c->slot[i], memory_order_relaxed) == PWC_EMPTY(i);
}

/* PFN of the table of level 1 over va, or 0.  Nobody unlinks: the lock is held, none
 * has stopped. */
static uint64_t leaf_table(const struct pmpt_space *space, uint64_t va)
{
	const pm_word *table = space->root;

	for (unsigned level = 4;; level--) {
		uint64_t entry = word_load(&table[level_index(va, level)]);

		if (!entry_is_table(entry, level) || (entry & ENTRY_PFN) >= space->bytes)
			return 0;
		if (level == 2)
			return entry_pfn(entry);
		table = (const pm_word *)(const void *)(space->base + (entry & ENTRY_PFN));
	}
}

/* A full slot is replaced by one miss in 16: more tables than slots would else cost every lookup a
 * fill.  Where a reader's section does not order (see rcu.h), slots stay empty. */
void pwc_fill(struct pmpt_space *space, uint64_t va)
{
	struct pwc *c = &space->pwc;
	uint64_t i = slot_of(va), pfn;

	if (!va_canonical(va) || !reader_try_orders() ||
	    (!is_empty(c, i) && (va >> FRAME_SHIFT) % 16))
		return;
	if (!try_lock(c))
		return;
	pfn = c->stopped ? 0 : leaf_table(space, va);
	if (pfn)
		atomic_store_explicit(&c->slot[i], va >> PWC_TAG_SHIFT << PWC_TAG_SHIFT | pfn,
				      memory_order_release);
	unlock(c);
}

static void stop(struct pwc *c, uint64_t va, uint64_t len)
{
	uint64_t n = len >> GROUP_SHIFT;

	c->stopped++;
	for (uint64_t left = n < PWC_SLOTS ? n : PWC_SLOTS; left; left--, va += GROUP_BYTES) {
		uint64_t i = slot_of(va);

		if (!is_empty(c, i))
			atomic_store_explicit(&c->slot[i], PWC_EMPTY(i), memory_order_release);
	}
}

void pwc_stop(struct pwc *c, uint64_t va, uint64_t len_bytes)
{
	lock(c);
	stop(c, va, len_bytes);
	unlock(c);
}

void pwc_go(struct pwc *c)
{
	lock(c);
	c->stopped--;
	unlock(c);
}

void pwc_end(struct pwc *c)
{
	stop(c, 0, VA_END);
	unlock(c);
}
