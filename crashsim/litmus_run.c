/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus_run -- a litmus program on the engine: every order in which its threads' stores can leave
 * their buffers becomes a trace, and each trace up to each of its events is explored.
 *
 * MACHINE	Loads take place in program order, and see the thread's own buffer [R1].  Everything
 *		else goes into the buffer and leaves it later; it waits for older entries as waits()
 *		says.  mfence, locked instructions and msync wait until the buffer is empty.
 * FEWER	Putting something into a buffer disturbs nobody: such a step is taken at once, alone.
 *		Two traces are one if each thread's drains, each line's stores and flushes and each
 *		word's stores come in the same order: then the model is in the same state.
 */
#include <stdlib.h>
#include <string.h>

#include "explore.h"
#include "litmus.h"

#define BUFFER 16u
#define PIECES (LITMUS_WORDS + 1)

struct part { /* of a store: within a word */
	uint16_t off;
	uint8_t len;
	uint64_t value;
};

struct entry {             /* of a store buffer */
	enum litmus_op op; /* STORE STREAM DIRECT FL FO SF */
	uint16_t line;     /* of a flush */
	uint16_t left;     /* parts that are still here, a bit each */
	uint8_t n;
	uint32_t part_of;
	struct part part[PIECES];
};

struct core { /* a thread */
	unsigned pc, n;
	uint64_t reg[LITMUS_REGS];
	struct entry buffer[BUFFER];
	uint64_t drains, since; /* digests: up to its last drain, and since then */
};

struct order { /* digest of what has happened to a line */
	uint64_t done, wide, word[LINE_WORDS];
	uint32_t part_of; /* of the events in `wide`, whose order does not matter */
};

struct state {
	struct core core[LITMUS_THREADS];
	struct order order[LITMUS_LINES];
	unsigned char bytes[LITMUS_LINES * LINE_BYTES];
	bool returned;
};

static struct {
	const struct litmus *p;
	struct litmus_work *work;
	struct trace trace;
	struct digests states, explored;
	bool recorded; /* each instruction takes effect at once, as in the recording of a run */
} run;

/* ---- digests --------------------------------------------------------------------------------- */

/* Of all that the model depends on. */
static uint64_t history_digest(const struct state *s)
{
	uint64_t h = digest_mix(1, s->returned);

	for (unsigned i = 0; i < run.p->n_threads; i++)
		h = digest_mix(digest_mix(h, s->core[i].drains), s->core[i].since);
	for (unsigned i = 0; i < run.p->n_lines; i++) {
		const struct order *o = &s->order[i];

		h = digest_mix(digest_mix(digest_mix(h, o->done), o->wide), o->part_of);
		for (unsigned w = 0; w < LINE_WORDS; w++)
			h = digest_mix(h, o->word[w]);
	}
	return h;
}

static uint64_t entry_digest(uint64_t h, const struct entry *e)
{
	h = digest_mix(h, (uint64_t)e->op << 40 | (uint64_t)e->line << 20 | e->left);
	for (unsigned i = 0; i < e->n; i++)
		h = digest_mix(digest_mix(h, (uint64_t)e->part[i].off << 8 | e->part[i].len),
			       e->part[i].value);
	return h;
}

static uint64_t state_digest(const struct state *s)
{
	uint64_t h = history_digest(s);

	for (unsigned i = 0; i < run.p->n_threads; i++) {
		const struct core *c = &s->core[i];

		h = digest_mix(h, (uint64_t)c->pc << 8 | c->n);
		for (unsigned k = 0; k < run.p->thread[i].n_regs; k++)
			h = digest_mix(h, c->reg[k]);
		for (unsigned k = 0; k < c->n; k++)
			h = entry_digest(h, &c->buffer[k]);
	}
	for (unsigned i = 0; i < run.p->n_lines * LINE_BYTES; i += 8) {
		uint64_t word;

		memcpy(&word, s->bytes + i, 8);
		h = digest_mix(h, word);
	}
	return h;
}

/* ---- the trace ----------------------------------------------------------------------------------- */

/* Lines that are written as one: a sector of a file. */
static unsigned unit_of(unsigned line)
{
	unsigned first = line;

	if (options.persist != PERSIST_PAGE)
		return line;
	while (first > 0 &&
	       run.p->line_at[first - 1] / SECTOR_LINES == run.p->line_at[line] / SECTOR_LINES)
		first--;
	return first;
}

static void happened(struct order *o, uint64_t what, uint32_t part_of)
{
	if (!part_of || part_of != o->part_of) {
		o->done = digest_mix(o->done, o->wide);
		o->wide = 0;
	}
	o->wide += digest_mix(5, what);
	o->part_of = part_of;
}

static void note(struct state *s, const struct event *e, unsigned line)
{
	struct core *c = &s->core[e->thread];
	struct order *o = &s->order[line];
	uint64_t what = digest_mix(digest_mix(e->kind, e->off << 8 | e->len), e->value);

	switch (e->kind) {
	case EV_STREAM:
		c->since += digest_mix(3, what);
		o->word[e->off / 8 % LINE_WORDS] =
			digest_mix(o->word[e->off / 8 % LINE_WORDS], digest_mix(what, e->thread));
		if (options.persist == PERSIST_PAGE)
			happened(&s->order[unit_of(line)], what, 0);
		break;
	case EV_STORE:
		o->word[e->off / 8 % LINE_WORDS] =
			digest_mix(o->word[e->off / 8 % LINE_WORDS], what);
		happened(&s->order[unit_of(line)], what, e->part_of);
		break;
	case EV_CLWB:
		c->since += digest_mix(3, what);
		happened(o, digest_mix(what, e->thread), 0);
		break;
	case EV_CLFLUSH:
	case EV_WALKER:
		happened(o, what, 0);
		break;
	case EV_MSYNC:
		for (unsigned i = 0; i < run.p->n_lines; i++)
			happened(&s->order[i], what, 0);
		break;
	case EV_RETURNED:
		break;
	default: /* a drain */
		c->drains = digest_mix(digest_mix(c->drains, c->since), what);
		c->since = 0;
		break;
	}
}

static void event(struct state *s, unsigned thread, struct event e, uint16_t off)
{
	unsigned line = off / LINE_BYTES;

	e.thread = thread;
	e.off = (uint64_t)run.p->line_at[line] * LINE_BYTES + off % LINE_BYTES;
	trace_add(&run.trace, e);
	note(s, &e, line);
}

/* ---- stores ---------------------------------------------------------------------------------------- */

/* Cut a store at words. */
static unsigned cut(struct litmus_at at, const uint64_t *word, struct part part[PIECES])
{
	unsigned char bytes[8 * LITMUS_WORDS];
	unsigned n = 0;

	memcpy(bytes, word, sizeof(bytes));
	for (unsigned done = 0; done < at.len;) {
		unsigned off = at.off + done, room = 8 - off % 8;
		unsigned len = room < at.len - done ? room : at.len - done;

		part[n] = (struct part){ .off = (uint16_t)off, .len = (uint8_t)len };
		memcpy(&part[n++].value, bytes + done, len);
		done += len;
	}
	return n;
}

/* It becomes visible. */
static void land(struct state *s, unsigned thread, const struct entry *e, const struct part *part)
{
	bool streamed = e->op != LITMUS_STORE;

	memcpy(s->bytes + part->off, &part->value, part->len);
	/* where another thread may come between the words of a store, and what is visible survives, or
	 * reaches the disk with the rest of its sector, each word is a store */
	bool one = e->op == LITMUS_DIRECT ||
		   (!streamed && e->n > 1 &&
		    (run.p->n_threads == 1 || options.persist == PERSIST_MEMORY ||
		     options.persist == PERSIST_CACHE_FAILED));

	event(s, thread,
	      (struct event){ .kind = streamed ? EV_STREAM : EV_STORE,
			      .len = part->len,
			      .value = part->value,
			      .part_of = one ? e->part_of : 0,
			      .atomic = e->op == LITMUS_DIRECT },
	      part->off);
}

static bool is_store(enum litmus_op op) { return op <= LITMUS_DIRECT; }
static bool is_flush(enum litmus_op op) { return op == LITMUS_FL || op == LITMUS_FO; }

static bool touches(const struct entry *e, uint16_t off, unsigned size)
{
	for (unsigned i = 0; i < e->n; i++) {
		if (e->left >> i & 1 && e->part[i].off / size == off / size)
			return true;
	}
	return false;
}

/* Does `e`, or this part of it, wait for an older entry?  A late clflushopt would only capture more;
 * so nothing but a fence waits for one to be late, and stores of its line's order come behind it. */
static bool waits(const struct entry *old, const struct entry *e, const struct part *part)
{
	if (old->op == LITMUS_SF || e->op == LITMUS_SF)
		return true;
	if (options.no_r11 && is_store(old->op) && is_store(e->op))
		return true;
	if (is_store(old->op) && is_store(e->op))
		return (old->op == LITMUS_STORE && e->op == LITMUS_STORE) ||
		       touches(old, part->off, 8);
	if (is_store(old->op) && e->op == LITMUS_FL)
		return old->op == LITMUS_STORE ||
		       touches(old, (uint16_t)(e->line * LINE_BYTES), LINE_BYTES);
	if (is_store(old->op)) /* clflushopt */
		return old->op == LITMUS_STORE &&
		       touches(old, (uint16_t)(e->line * LINE_BYTES), LINE_BYTES);
	if (old->op == LITMUS_FL && is_flush(e->op))
		return e->op == LITMUS_FL || e->line == old->line;
	if (old->op == LITMUS_FL)
		return e->op == LITMUS_STORE || part->off / LINE_BYTES == old->line;
	return e->op == LITMUS_STORE || e->op == LITMUS_FL;
}

static bool can_leave(const struct core *c, unsigned at, const struct part *part)
{
	for (unsigned i = 0; i < at; i++) {
		if (waits(&c->buffer[i], &c->buffer[at], part))
			return false;
	}
	return true;
}

/* ---- instructions ---------------------------------------------------------------------------------- */

/* Steps that nobody else can tell from later ones. */
static bool local(const struct core *c, const struct litmus_ins *i)
{
	switch (i->op) {
	case LITMUS_STORE:
	case LITMUS_STREAM:
	case LITMUS_DIRECT:
	case LITMUS_FL:
	case LITMUS_FO:
	case LITMUS_SF:
		return c->n < BUFFER;
	case LITMUS_SET:
	case LITMUS_LF:
	case LITMUS_UNLESS:
	case LITMUS_JUMP:
		return true;
	default:
		return false;
	}
}

static void put(struct core *c, unsigned thread, const struct litmus_ins *i)
{
	struct entry *e = &c->buffer[c->n++];
	uint64_t word[LITMUS_WORDS] = { 0 };

	*e = (struct entry){ .op = i->op, .part_of = 100 * thread + c->pc + 1 };
	if (is_flush(i->op))
		e->line = i->at.off / LINE_BYTES;
	if (!is_store(i->op))
		return;
	for (unsigned k = 0; k < i->n; k++)
		word[k] = litmus_value(c->reg, i->value[k]);
	e->n = (uint8_t)cut(i->at, word, e->part);
	e->left = (uint16_t)((1u << e->n) - 1);
}

static void local_step(struct core *c, unsigned thread, const struct litmus_ins *i)
{
	switch (i->op) {
	case LITMUS_SET:
		c->reg[i->reg] = litmus_value(c->reg, i->value[0]);
		break;
	case LITMUS_UNLESS:
		if ((litmus_value(c->reg, i->value[0]) == litmus_value(c->reg, i->value[1])) !=
		    i->equal) {
			c->pc = i->target;
			return;
		}
		break;
	case LITMUS_JUMP:
		c->pc = i->target;
		return;
	case LITMUS_LF:
		break;
	default:
		put(c, thread, i);
		break;
	}
	c->pc++;
}

/* False: it waits until older stores that it overlaps have left. */
static bool load(const struct state *s, const struct core *c, struct litmus_at at, uint64_t *value)
{
	for (unsigned i = c->n; i-- > 0;) {
		const struct entry *e = &c->buffer[i];

		for (unsigned k = 0; k < e->n; k++) {
			const struct part *p = &e->part[k];

			if (!(e->left >> k & 1) || p->off + p->len <= at.off ||
			    at.off + at.len <= p->off)
				continue;
			if (p->off > at.off || p->off + p->len < at.off + at.len)
				return false;
			*value = 0;
			memcpy(value, (const unsigned char *)&p->value + (at.off - p->off), at.len);
			return true;
		}
	}
	*value = litmus_get(s->bytes, at);
	return true;
}

static void locked(struct state *s, unsigned thread, const struct litmus_ins *i)
{
	struct core *c = &s->core[thread];
	struct entry e = { .op = LITMUS_STORE, .part_of = 100 * thread + c->pc + 1 };
	uint64_t was = litmus_get(s->bytes, i->at), word[LITMUS_WORDS] = { 0 };
	bool stores = litmus_locked(i, c->reg, was, &word[0]);

	event(s, thread, (struct event){ .kind = EV_MFENCE }, 0);
	if (i->reg >= 0)
		c->reg[i->reg] = was;
	if (!stores)
		return;
	e.n = (uint8_t)cut(i->at, word, e.part);
	for (unsigned k = 0; k < e.n; k++)
		land(s, thread, &e, &e.part[k]);
}

static bool holds_fence(const struct core *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (c->buffer[i].op == LITMUS_SF)
			return true;
	}
	return false;
}

/* The next instruction of a thread, where it is not a local one.  False: it has to wait. */
static bool step(struct state *s, unsigned thread)
{
	const struct litmus_ins *i = &run.p->thread[thread].ins[s->core[thread].pc];
	struct core *c = &s->core[thread];
	uint64_t value;

	switch (i->op) {
	case LITMUS_LOAD:
		if (!load(s, c, i->at, &value))
			return false;
		c->reg[i->reg] = value;
		break;
	case LITMUS_RETURNED:
		if (holds_fence(c))
			return false;
		s->returned = true;
		event(s, thread, (struct event){ .kind = EV_RETURNED }, 0);
		break;
	case LITMUS_WALKER:
		event(s, thread,
		      (struct event){ .kind = EV_WALKER, .len = 8, .value = i->value[0].add },
		      i->at.off);
		break;
	case LITMUS_MF:
		if (c->n)
			return false;
		event(s, thread, (struct event){ .kind = EV_MFENCE }, 0);
		break;
	case LITMUS_MSYNC:
		if (c->n)
			return false;
		event(s, thread, (struct event){ .kind = EV_MSYNC, .len = 1 }, i->at.off);
		break;
	default:
		if (c->n || !(i->op == LITMUS_XCHG || i->op == LITMUS_CAS || i->op == LITMUS_XADD))
			return false;
		locked(s, thread, i);
		break;
	}
	c->pc++;
	return true;
}

/* Part k of an entry, or the whole entry, leaves the buffer.  False: it has to wait. */
static bool leave(struct state *s, unsigned thread, unsigned at, unsigned k)
{
	struct core *c = &s->core[thread];
	struct entry *e = &c->buffer[at];

	if (e->op == LITMUS_DIRECT) {
		for (unsigned i = 0; i < e->n; i++) {
			if (k > 0 || !can_leave(c, at, &e->part[i]))
				return false;
		}
		for (unsigned i = 0; i < e->n; i++)
			land(s, thread, e, &e->part[i]);
		e->left = 0;
	} else if (is_store(e->op)) {
		if (!(e->left >> k & 1) || !can_leave(c, at, &e->part[k]))
			return false;
		land(s, thread, e, &e->part[k]);
		e->left &= (uint16_t) ~(1u << k);
	} else {
		static const enum event_kind kind[] = {
			[LITMUS_FL] = EV_CLFLUSH, [LITMUS_FO] = EV_CLWB, [LITMUS_SF] = EV_SFENCE
		};

		if (k > 0 || !can_leave(c, at, NULL))
			return false;
		event(s, thread, (struct event){ .kind = kind[e->op], .len = LINE_BYTES },
		      (uint16_t)(e->line * LINE_BYTES));
	}
	if (!e->left) {
		memmove(e, e + 1, (c->n - at - 1) * sizeof(*e));
		c->n--;
	}
	return true;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void visit(const struct state *s);

static void visit_leaving(const struct state *s, unsigned thread)
{
	unsigned most = run.recorded ? 1 : BUFFER; /* entries that may leave */

	for (unsigned at = 0; at < s->core[thread].n && at < most; at++) {
		const struct entry *e = &s->core[thread].buffer[at];

		unsigned parts = is_store(e->op) ? e->n : 1;

		for (unsigned k = 0; k < parts; k++) {
			if (run.recorded && e->left & ((1u << k) - 1))
				continue;
			struct state then = *s;
			size_t n = run.trace.n;

			if (leave(&then, thread, at, k))
				visit(&then);
			run.trace.n = n;
		}
	}
}

static bool is_over(const struct state *s)
{
	for (unsigned t = 0; t < run.p->n_threads; t++) {
		if (s->core[t].n || s->core[t].pc < run.p->thread[t].n)
			return false;
	}
	return true;
}

/* A crash behind the trace as it stands; of a recording, at each of its crash points, and, where no
 * more may be missing, before a return. */
static void crashes(void)
{
	const struct trace *t = &run.trace;

	for (size_t c = run.recorded ? 0 : t->n; c <= t->n; c++) {
		bool returns = c < t->n && t->event[c].kind == EV_RETURNED;

		if (run.recorded && !returns && !trace_crash_point(t, c))
			continue;
		litmus_crash(t, c);
		run.work->images++;
	}
}

static void visit(const struct state *s)
{
	/* recordings that differ in the order of independent steps differ in their crash points */
	if (!run.recorded && !digest_add(&run.states, state_digest(s)))
		return;
	run.work->states++;
	if (run.recorded ? is_over(s) : digest_add(&run.explored, history_digest(s)))
		crashes();
	for (unsigned t = 0; t < run.p->n_threads; t++) {
		const struct core *c = &s->core[t];

		if (run.recorded && c->n)
			continue;
		if (c->pc < run.p->thread[t].n && local(c, &run.p->thread[t].ins[c->pc])) {
			struct state then = *s;

			local_step(&then.core[t], t, &run.p->thread[t].ins[c->pc]);
			visit(&then);
			return;
		}
	}
	for (unsigned t = 0; t < run.p->n_threads; t++) {
		struct state then = *s;
		size_t n = run.trace.n;

		if (s->core[t].pc < run.p->thread[t].n && !(run.recorded && s->core[t].n) &&
		    step(&then, t))
			visit(&then);
		run.trace.n = n;
		visit_leaving(s, t);
	}
}

void litmus_run(const struct litmus *p, bool recorded, struct litmus_set *out,
		struct litmus_work *work)
{
	struct options was = options;
	struct state s = { .returned = false };

	options.order = p->order;
	options.persist = p->persist;
	options.walker = p->walker;
	*work = (struct litmus_work){ 0 };
	memset(&run, 0, sizeof(run));
	run.p = p;
	run.work = work;
	run.recorded = recorded;
	run.trace.bytes = LITMUS_BYTES;
	run.trace.first = must(calloc(1, LITMUS_BYTES));
	for (unsigned i = 0; i < p->n_lines; i++)
		memcpy(run.trace.first + (size_t)p->line_at[i] * LINE_BYTES,
		       p->first + i * LINE_BYTES, LINE_BYTES);
	memcpy(s.bytes, p->first, sizeof(s.bytes));
	litmus_recover_begin(p, out);
	visit(&s);
	litmus_recover_end();
	trace_free(&run.trace);
	free(run.states.slot);
	free(run.explored.slot);
	options = was;
}
