/* SPDX-License-Identifier: BSD-3-Clause */
/* ahead -- streamed words that overtake what stands before them in the trace.
 *
 * A trace has each store where the program has it.  But movnt and movdir64b are ordered with nothing
 * but the same address until their thread drains [R11]: at a crash just before a clflush, or before a
 * store into a cache that survives, words that are streamed behind it may be there already.
 * Looked for only up to the first event of another thread, whose doings may be what the thread
 * waited for, and up to marks of operations.
 */
#include "engine.h"

#include <stdlib.h>

static bool ends(const struct event *first, const struct event *e)
{
	switch (e->kind) {
	case EV_STORE:
	case EV_STREAM:
	case EV_CLWB:
	case EV_CLFLUSH:
	case EV_WALKER:
		return e->thread != first->thread;
	default:
		return true;
	}
}

/* e is ordered behind `old`, which has not taken place. */
static bool waits(const struct event *old, const struct event *e)
{
	switch (old->kind) {
	case EV_STORE:
		return old->off / 8 == e->off / 8;
	case EV_CLFLUSH:
		return old->off >> LINE_SHIFT == e->off >> LINE_SHIFT;
	default:
		return false;
	}
}

/* Can the streamed word at `at` be there in a crash at c?  Of movdir64b: can any word of it not? */
static bool overtakes(const struct trace *t, size_t c, size_t at)
{
	const struct event *e = &t->event[at];

	for (size_t i = c; i < at; i++) {
		if (waits(&t->event[i], e))
			return false;
	}
	return true;
}

static bool all_overtake(const struct trace *t, size_t c, size_t at)
{
	const struct event *e = &t->event[at];

	if (!e->atomic)
		return overtakes(t, c, at);
	while (at > c && t->event[at - 1].atomic && t->event[at - 1].part_of == e->part_of)
		at--;
	for (; at < t->n && t->event[at].atomic && t->event[at].part_of == e->part_of; at++) {
		if (!overtakes(t, c, at))
			return false;
	}
	return true;
}

/* The store of a locked instruction is in no buffer [R12]. */
static bool locked(const struct trace *t, size_t c)
{
	return c > 0 && c < t->n && t->event[c].kind == EV_STORE &&
	       t->event[c - 1].kind == EV_MFENCE && t->event[c - 1].thread == t->event[c].thread;
}

size_t ahead_find(const struct trace *t, size_t c, uint32_t **event)
{
	size_t n = 0, room = 0;

	*event = NULL;
	if (options.persist == PERSIST_PAGE || options.no_r11 || locked(t, c))
		return 0;
	for (size_t i = c; i < t->n && !ends(&t->event[c], &t->event[i]); i++) {
		if (t->event[i].kind != EV_STREAM || !all_overtake(t, c, i))
			continue;
		if (n == room) {
			room = room ? 2 * room : 16;
			*event = must(realloc(*event, room * sizeof(**event)));
		}
		(*event)[n++] = (uint32_t)i;
	}
	return n;
}

void ahead_append(const struct event *e, uint32_t index, struct line_set *l)
{
	unsigned word = (unsigned)(e->off / 8 % LINE_WORDS), group = 1 + word;
	unsigned at = (unsigned)(e->off % 8);

	l->piece = must(realloc(l->piece, (l->n + 1) * sizeof(*l->piece)));
	l->piece[l->n++] = (struct piece){ .word = (uint8_t)word,
					   .mask = (uint8_t)(((1u << e->len) - 1) << at),
					   .group = (uint8_t)group,
					   .streamed = true,
					   .atomic = e->atomic,
					   .part_of = e->part_of,
					   .rank = l->hi[group]++,
					   .event = index,
					   .value = e->value << 8 * at };
}
