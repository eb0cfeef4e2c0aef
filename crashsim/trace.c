/* SPDX-License-Identifier: BSD-3-Clause */
/* trace -- what a run did, and where in it a crash is worth exploring. */
#include "engine.h"

#include <stdlib.h>

void trace_add(struct trace *t, struct event e)
{
	if (t->n == options.max_trace) {
		(void)fprintf(
			stderr,
			"crashsim: the trace is too large for memory: more than %zu events of %zu bytes; "
			"make the workload smaller, or raise --max-trace\n",
			t->n, sizeof(struct event));
		out_of_memory = true;
		exit(3);
	}
	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 1024;
		t->event = must(realloc(t->event, t->room * sizeof(*t->event)));
	}
	t->event[t->n++] = e;
}

void trace_free(struct trace *t)
{
	free(t->event);
	free(t->first);
	*t = (struct trace){ 0 };
}

/* Images only grow between two drains; after a return the oracle asks for more. */
bool trace_crash_point(const struct trace *t, size_t c)
{
	if (c == t->n)
		return true;
	if (c > 0 && t->event[c].part_of && t->event[c].part_of == t->event[c - 1].part_of)
		return false; /* inside a wide store: behind it any of its words may be missing */
	if (c > 0 && t->event[c - 1].part_of && options.persist == PERSIST_CACHE)
		return true;
	switch (t->event[c].kind) {
	case EV_AGAIN:
	case EV_CLFLUSH:
	case EV_SFENCE:
	case EV_MFENCE:
	case EV_MSYNC:
		return true;
	case EV_STORE:
	case EV_STREAM:
		return options.persist == PERSIST_CACHE; /* a store is durable at once */
	case EV_BEGIN:
	case EV_NOTE: /* what is stored before is there without what the check is told */
		if (c > 0 &&
		    (t->event[c - 1].kind == EV_STORE || t->event[c - 1].kind == EV_STREAM))
			return true;
		/* fall through */
	default:
		return c > 0 && t->event[c - 1].kind == EV_RETURNED;
	}
}
