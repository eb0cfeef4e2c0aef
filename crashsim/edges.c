/* SPDX-License-Identifier: BSD-3-Clause */
/* edges -- what each thread of the workload has waited for, while its run is recorded.
 *
 * A thread that returns with its stores still in its store buffer may have returned earlier than
 * recorded [R13]; but not before what it waited for: the end of a thread that it joined, a lock that
 * was left, a word stored to that it loaded.  Of each word and lock is kept how long the recording was
 * when a thread stored to it, or left it; who loads it, or takes it, has waited for that much.
 * Own ones are no wait: a load may be served from the store buffer.
 * Words of 8 bytes: neighbours in one may give an edge too many.
 */
#include "edges.h"

#include <stdlib.h>
#include <string.h>

#include "hooks.h"

#define THREADS 64u /* schedule.c has no more */

struct word {
	uint64_t at;             /* address / 8; 0: an empty slot */
	uint32_t thread, events; /* the last one, and how much was recorded then */
	uint32_t others;         /* the same of the last one by any other thread */
};

bool edges_on;

static struct word *table; /* open addressing, slots a power of two */
static size_t slots, used;
static uint32_t waited[THREADS];

static struct word *slot_of(uint64_t at)
{
	size_t i = (size_t)(at * 0x9e3779b97f4a7c15u >> 20) & (slots - 1);

	while (table[i].at && table[i].at != at)
		i = (i + 1) & (slots - 1);
	return &table[i];
}

static void grow(void)
{
	struct word *was = table;
	size_t n = slots;

	slots = slots ? 2 * slots : 4096;
	table = must(calloc(slots, sizeof(*table)));
	for (size_t i = 0; i < n; i++) {
		if (was[i].at)
			*slot_of(was[i].at) = was[i];
	}
	free(was);
}

static uint32_t events_now(void) { return (uint32_t)(recording->n + hook_pending_events()); }

static void wait_for(uint32_t thread, uint32_t events)
{
	uint32_t *w = &waited[thread % THREADS];

	*w = events > *w ? events : *w;
}

void edges_begin(void)
{
	free(table);
	table = NULL;
	slots = used = 0;
	memset(waited, 0, sizeof(waited));
	edges_on = false;
}

void edges_create(uint32_t thread)
{
	if (stage != STAGE_RECORD)
		return;
	edges_on = true;
	edges_wake(thread);
}

void edges_wake(uint32_t thread)
{
	if (edges_on)
		wait_for(thread, events_now());
}

void edges_any(void) { edges_wake(hook_thread); }

void edges_release(const void *at, size_t len)
{
	uint64_t first = (uint64_t)(uintptr_t)at / 8, end = ((uint64_t)(uintptr_t)at + len + 7) / 8;

	for (uint64_t i = first; edges_on && i < end; i++) {
		struct word *w;

		if (2 * used >= slots)
			grow();
		w = slot_of(i);
		used += !w->at;
		if (w->at && w->thread != hook_thread)
			w->others = w->events;
		w->at = i;
		w->thread = hook_thread;
		w->events = events_now();
	}
}

void edges_acquire(const void *at, size_t len)
{
	uint64_t first = (uint64_t)(uintptr_t)at / 8, end = ((uint64_t)(uintptr_t)at + len + 7) / 8;

	for (uint64_t i = first; edges_on && used && i < end; i++) {
		const struct word *w = slot_of(i);

		if (w->at)
			wait_for(hook_thread, w->thread == hook_thread ? w->others : w->events);
	}
}

uint32_t edges_waited(uint32_t thread)
{
	uint32_t w = waited[thread % THREADS];

	return w < recording->n ? w
				: (uint32_t)recording->n; /* of a store pending, maybe left out */
}
