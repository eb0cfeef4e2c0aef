/* SPDX-License-Identifier: BSD-3-Clause */
/* rcu -- reader sections and grace periods: liburcu's bulletproof flavour (threads need not
 * register), told to ThreadSanitizer, which cannot
 * see the ordering that membarrier gives. */
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
/* Wait until every reader section that has begun has ended.  The caller is in none. */
static inline void readers_wait(void)
{
	urcu_bp_synchronize_rcu();
	rcu_grace_end();
}

#endif
