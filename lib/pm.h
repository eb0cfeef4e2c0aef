/* SPDX-License-Identifier: BSD-3-Clause */
/* pm -- the only way to persistent memory: store, flush, stream, fence; and the counters of lines
 * and fences.
 *
 * A *medium* is the memory and what makes it durable; a *port* (struct pm) is one owner's way to
 * it, used by one thread at a time: a lane, the bulk lane, the checkpointer each have one.  A drain
 * is per thread, so what a port flushed or streamed is durable only after a fence of the same port
 * by the same thread.
 *
 * BACKENDS: cache-line (clwb, clflushopt or clflush; sfence) and page (msync of the touched pages
 * at each fence).
 * Flush, fence and streaming instructions exist in pm.c alone.
 */
#ifndef PMPT_PM_H
#define PMPT_PM_H

#include "entry.h"
#include "mem.h"

enum pm_backend { PM_CACHE_LINE = 1, PM_PAGE = 2 };

struct pm_medium {
	char *base;
	uint64_t bytes;
	enum pm_backend backend;
	/* negated errno of the first msync that failed: nothing is durable from then on */
	_Atomic int failed;
};

struct pm_counters {
	_Atomic uint64_t lines_streamed;
	_Atomic uint64_t lines_flushed;
	_Atomic uint64_t fences;
};

#define PM_RANGES 16
struct pm {
	struct pm_medium *medium;
	struct pm_counters count; /* written by the owner, read by anybody */
	/* page backend: what the next fence has to msync, in pages, half open; merged where
	 * they touch */
	unsigned n_ranges;
	struct {
		uint64_t first, end;
	} range[PM_RANGES];
};

void pm_medium_init(struct pm_medium *medium, void *base, uint64_t bytes, enum pm_backend backend);
void pm_init(struct pm *pm, struct pm_medium *medium);

/* Flush the lines of [addr, addr + len): durable after this port's next fence. */
void pm_flush(struct pm *pm, const void *addr, size_t len);
/* Write n lines past the cache; dst is 64-byte aligned, src to words.  Durable after this port's next
 * fence, any words of them before it. */
void pm_stream(struct pm *pm, void *dst, const void *src, size_t n_lines);
/* Zero n lines past the cache. */
void pm_stream_zero(struct pm *pm, void *dst, size_t n_lines);
/* All that this port flushed and streamed is durable on 0.
 * Returns 0 or PMPT_E_IO (page backend only): then nothing is known. */
int pm_fence(struct pm *pm);
/* pm_flush + pm_fence. */
int pm_persist(struct pm *pm, const void *addr, size_t len);

enum pm_event_kind {
	PM_EV_STORE,
	PM_EV_FLUSH,
	PM_EV_STREAM,
	PM_EV_FENCE,
	PM_EV_STEP /* a place where another thread may run */
};
#ifdef PMPT_TEST
/* A test's machine: called before each event, which then takes place.  value: what a store will
 * leave; stream: src holds the lines (NULL: zeros). */
struct pm_event {
	enum pm_event_kind kind;
	struct pm *pm;
	void *addr;
	size_t len;
	uint64_t value;
	const void *src;
};
extern void (*pm_observer)(void *ctx, const struct pm_event *event);
extern void *pm_observer_ctx;
static inline void pm_observe(enum pm_event_kind kind, struct pm *pm, void *addr, size_t len,
			      uint64_t value, const void *src)
{
	if (pm_observer)
		pm_observer(pm_observer_ctx, &(struct pm_event){ kind, pm, addr, len, value, src });
}
#else
static inline void pm_observe(enum pm_event_kind kind, struct pm *pm, void *addr, size_t len,
			      uint64_t value, const void *src)
{
	(void)kind, (void)pm, (void)addr, (void)len, (void)value, (void)src;
}
#endif

/* A place between two steps of ours where a test may let another thread run. */
static inline void pm_step(struct pm *pm) { pm_observe(PM_EV_STEP, pm, NULL, 0, 0, NULL); }

/* Store a word.  Not durable before a flush and a fence. */
static inline void pm_store(struct pm *pm, pm_word *word, uint64_t value)
{
	pm_observe(PM_EV_STORE, pm, word, sizeof(*word), value, NULL);
	atomic_store_explicit(word, value, memory_order_release);
}

/* Store an entry, keeping A and D as entry_merge says, even against a walker that sets them
 * meanwhile.  Where the PFN changes nothing is kept, and a plain store does: a locked instruction
 * here would hold up the caller's next loads until the fence before it is through. */
static inline void pm_store_entry(struct pm *pm, pm_word *word, uint64_t value)
{
	uint64_t old = atomic_load_explicit(word, memory_order_relaxed);

	if (!entry_keeps(old, value)) {
		pm_store(pm, word, value);
		return;
	}
	pm_observe(PM_EV_STORE, pm, word, sizeof(*word), entry_merge(old, value), NULL);
	while (!atomic_compare_exchange_weak_explicit(word, &old, entry_merge(old, value),
						      memory_order_release, memory_order_relaxed))
		;
}

/* Clear A in an entry that is `old`; if it is something else by now it stays.  Not logged, durable or
 * not: as a walker may set it at any time. */
static inline void pm_clear_accessed(struct pm *pm, pm_word *word, uint64_t old)
{
	pm_observe(PM_EV_STORE, pm, word, sizeof(*word), old & ~ENTRY_A, NULL);
	(void)atomic_compare_exchange_strong_explicit(word, &old, old & ~ENTRY_A,
						      memory_order_release, memory_order_relaxed);
}

#endif
