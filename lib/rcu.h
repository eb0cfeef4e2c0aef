/* SPDX-License-Identifier: BSD-3-Clause */
/* rcu -- reader sections and grace periods: liburcu's bulletproof flavour (threads need not
 * register), told to ThreadSanitizer, which cannot see the ordering that membarrier gives. */
#ifndef PMPT_RCU_H
#define PMPT_RCU_H

#define _LGPL_SOURCE /* the inline functions of at most ten lines that its licence permits */
#define URCU_INLINE_SMALL_FUNCTIONS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <urcu-bp.h>
#pragma GCC diagnostic pop

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
void __tsan_acquire(void *);
void __tsan_release(void *);
extern char rcu_section; /* stands for "a reader section has ended" */
static inline void rcu_section_end(void) { __tsan_release(&rcu_section); }
static inline void rcu_grace_end(void) { __tsan_acquire(&rcu_section); }
#else
static inline void rcu_section_end(void) {}
static inline void rcu_grace_end(void) {}
#endif

static inline void reader_begin(void) { urcu_bp_read_lock(); }
static inline void reader_end(void)
{
	rcu_section_end();
	urcu_bp_read_unlock();
}

/* The same section for a reader that makes no call inside it, and takes another way if it gets
 * NULL: the thread is not known to liburcu yet, or is in a section already.  Its end stores a
 * constant: liburcu's own begin and end count nesting in memory, and two loads that wait for the
 * store before them would bound the rate of short sections.
 * Its begin is no barrier but by membarrier; a reader may follow only pointers that nobody
 * publishes where reader_try_orders() is false. */
static inline struct urcu_bp_reader *reader_try(void)
{
	struct urcu_bp_reader *self = URCU_TLS(urcu_bp_reader);

	if (__builtin_expect(!self || self->ctr & URCU_BP_GP_CTR_NEST_MASK, 0))
		return NULL;
	_CMM_STORE_SHARED(self->ctr, _CMM_LOAD_SHARED(urcu_bp_gp.ctr));
	cmm_barrier();
	return self;
}
/* This thread is in a section. */
static inline bool reader_inside(void)
{
	struct urcu_bp_reader *self = URCU_TLS(urcu_bp_reader);

	return self && self->ctr & URCU_BP_GP_CTR_NEST_MASK;
}
static inline bool reader_try_orders(void) { return urcu_bp_has_sys_membarrier; }
static inline void reader_done(struct urcu_bp_reader *self)
{
	rcu_section_end();
	cmm_barrier();
	_CMM_STORE_SHARED(self->ctr, 0);
	cmm_barrier();
}

/* Wait until every reader section that has begun has ended.  The caller is in none. */
static inline void readers_wait(void)
{
	urcu_bp_synchronize_rcu();
	rcu_grace_end();
}

#endif
