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
	atomic_init(&c->gen, 1);
	for (uint64_t i = 0; PWC_EMPTY(i); i++) /* those further on are empty as zeros */
		atomic_init(&c->slot[i], PWC_EMPTY(i));
}

static uint64_t slot_of(uint64_t va) { return (va >> GROUP_SHIFT) % PWC_SLOTS; }

static bool is_empty(struct pwc *c, uint64_t i)
{
	return atomic_load_explicit(&c->slot[i], memory_order_relaxed) == PWC_EMPTY(i);
}

/* PFN of the table of level 1 over va, or 0.  own: out, it is the space's alone.  Nobody unlinks: the
 * lock is held, none has stopped. */
static uint64_t leaf_table(const struct pmpt_space *space, uint64_t va, bool *own)
{
	const pm_word *table = space->root;

	*own = true;

	for (unsigned level = 4;; level--) {
		uint64_t entry = word_load(&table[level_index(va, level)]);

		if (!entry_is_table(entry, level) || (entry & ENTRY_PFN) >= space->bytes)
			return 0;
		*own &= (entry & (ENTRY_W | ENTRY_SHARED)) == ENTRY_W;
		if (level == 2)
			return entry_pfn(entry);
		table = (const pm_word *)(const void *)(space->base + (entry & ENTRY_PFN));
	}
}

static uint32_t gen_now(struct pwc *c)
{
	return atomic_load_explicit(&c->gen, memory_order_relaxed);
}

/* It holds another address's table, or one that is known to be the space's alone. */
static bool is_full(struct pwc *c, uint64_t i, uint64_t va)
{
	uint64_t w = atomic_load_explicit(&c->slot[i], memory_order_relaxed);

	return w != PWC_EMPTY(i) &&
	       ((w ^ va) >> PWC_TAG_SHIFT ||
		(w & PWC_OWN && gen_now(c) == atomic_load_explicit(&c->block[i / PWC_BLOCK],
								   memory_order_relaxed)));
}

/* The block of slot i is of the present generation. */
static void block_renew(struct pwc *c, uint64_t i)
{
	uint64_t first = i - i % PWC_BLOCK;

	if (atomic_load_explicit(&c->block[i / PWC_BLOCK], memory_order_relaxed) == gen_now(c))
		return;
	for (i = first; i < first + PWC_BLOCK; i++) {
		uint64_t w = atomic_load_explicit(&c->slot[i], memory_order_relaxed);

		if (w != PWC_EMPTY(i) && w & PWC_OWN)
			atomic_store_explicit(&c->slot[i], w & ~PWC_OWN, memory_order_release);
	}
	atomic_store_explicit(&c->block[first / PWC_BLOCK], gen_now(c), memory_order_release);
}

/* A full slot is replaced by one miss in 16: more tables than slots would else cost every lookup a
 * fill.  Where a reader's section does not order (see rcu.h), slots stay empty. */
void pwc_fill(struct pmpt_space *space, uint64_t va)
{
	struct pwc *c = &space->pwc;
	uint64_t i = slot_of(va), pfn;
	bool own = false;

	if (!va_canonical(va) || !reader_try_orders() ||
	    (is_full(c, i, va) && (va >> FRAME_SHIFT) % 16))
		return;
	if (!try_lock(c))
		return;
	pfn = c->stopped ? 0 : leaf_table(space, va, &own);
	if (pfn) {
		block_renew(c, i);
		c->blocks |= (uint64_t)1 << i / PWC_BLOCK;
		atomic_store_explicit(&c->slot[i],
				      va >> PWC_TAG_SHIFT << PWC_TAG_SHIFT | (own ? PWC_OWN : 0) |
					      pfn,
				      memory_order_release);
	}
	unlock(c);
}

/* n slots from i on, all in one block. */
static void empty(struct pwc *c, uint64_t i, uint64_t n)
{
	uint64_t block = (uint64_t)1 << i / PWC_BLOCK;

	if (!(c->blocks & block)) /* its memory may never have been touched */
		return;
	if (n == PWC_BLOCK)
		c->blocks &= ~block;
	for (; n; n--, i++) {
		if (!is_empty(c, i))
			atomic_store_explicit(&c->slot[i], PWC_EMPTY(i), memory_order_release);
	}
}

static void stop(struct pwc *c, uint64_t va, uint64_t len)
{
	uint64_t left = len >> GROUP_SHIFT, i = slot_of(va);

	c->stopped++;
	left = left < PWC_SLOTS ? left : PWC_SLOTS;
	while (left) {
		uint64_t n = PWC_BLOCK - i % PWC_BLOCK;

		n = n < left ? n : left;
		empty(c, i, n);
		left -= n;
		i = (i + n) % PWC_SLOTS;
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

void pwc_share(struct pwc *c)
{
	lock(c);
	atomic_store_explicit(&c->gen, gen_now(c) + 1, memory_order_release);
	unlock(c);
}

bool pwc_renew(struct pwc *c)
{
	if (__builtin_popcountll(c->blocks) > 4)
		return false;
	for (uint64_t i = 0; i < PWC_SLOTS; i += PWC_BLOCK)
		empty(c, i, PWC_BLOCK);
	for (unsigned i = 0; i < PWC_BLOCKS; i++)
		atomic_init(&c->block[i], 0);
	atomic_init(&c->lock, 0);
	atomic_init(&c->gen, 1);
	c->stopped = 0;
	return true;
}

void pwc_end(struct pwc *c)
{
	stop(c, 0, VA_END);
	unlock(c);
}
