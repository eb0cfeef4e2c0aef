/* SPDX-License-Identifier: BSD-3-Clause */
/* model -- what x86 may leave in persistent memory of a trace: rules R3 to R14, R16 and R17 of
 * crashsim(1), MODEL.
 *
 * A line's stores are pieces in groups.  Group 0 holds those through the cache: a prefix of them has
 * landed [R3], at least as much as a flush has captured and a drain of the same thread has made
 * count [R7, R9].  Each streamed word is a group of its own until its thread drains [R11], and so is
 * each word of a wide store [R4], and each mask of bits that a page walker may set [R16]; what they
 * have to do with each other: ties.c.  With line_order=free each word is by itself in any case.
 * persist=page: no flush counts, streamed words are taken to be in the page cache in the order of the
 * trace, and a sector is written as it is (ties.c, choose.c) [R17].
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

struct options options = { .depth = 0,
			   .jobs = 1,
			   .shards = 1,
			   .seed = 1,
			   .max_events = 20000000,
			   .max_failures = 16,
			   .hang = 20,
			   .memory = (size_t)1 << 30,
			   .max_trace = (size_t)1 << 24 };

bool out_of_memory;

char out_of_memory_for[200];

void *must_have(void *ptr, const char *function, const char *wanted)
{
	if (!ptr) {
		out_of_memory = true;
		(void)snprintf(out_of_memory_for, sizeof(out_of_memory_for), "%s() wants %s",
			       function, wanted);
		(void)fprintf(stderr, "crashsim: out of memory: %s\n", out_of_memory_for);
		exit(3);
	}
	return ptr;
}

/* ---- stores by line -------------------------------------------------------------------------- */

struct line { /* of one phase */
	struct piece *piece;
	uint32_t n, room;
	uint16_t count[PHASE_GROUPS], lo[PHASE_GROUPS];
	bool listed;
};

struct capture { /* a flush, or a streamed word, that counts at its thread's next drain */
	uint32_t line, group;
	uint16_t lo;
	bool wide; /* a word of a wide store into a cache that survives: counts when it is over */
};
struct thread {
	uint32_t part_of; /* the wide store under way, and its first event */
	uint32_t first;
	struct capture *capture;
	size_t n, room;
};

#define THREADS 64
struct stores {
	unsigned phase;
	struct line **line; /* by number */
	size_t lines;
	uint32_t *listed;
	size_t n_listed, room_listed;
	struct thread thread[THREADS];
};

struct stores *stores_new(unsigned phase, size_t bytes)
{
	struct stores *s = must(calloc(1, sizeof(*s)));

	s->phase = phase;
	s->lines = bytes / LINE_BYTES;
	s->line = must(calloc(s->lines, sizeof(*s->line)));
	return s;
}

static struct line *line_of(struct stores *s, uint32_t number)
{
	struct line *l = s->line[number];

	if (!l)
		l = s->line[number] = must(calloc(1, sizeof(*l)));
	if (!l->listed) {
		if (s->n_listed == s->room_listed) {
			s->room_listed = s->room_listed ? 2 * s->room_listed : 64;
			s->listed = must(realloc(s->listed, s->room_listed * sizeof(*s->listed)));
		}
		s->listed[s->n_listed++] = number;
		l->listed = true;
	}
	return l;
}

void stores_reset(struct stores *s)
{
	for (size_t i = 0; i < s->n_listed; i++) {
		struct line *l = s->line[s->listed[i]];

		l->n = 0;
		memset(l->count, 0, sizeof(l->count));
		memset(l->lo, 0, sizeof(l->lo));
		l->listed = false;
	}
	s->n_listed = 0;
	for (unsigned i = 0; i < THREADS; i++)
		s->thread[i].n = s->thread[i].part_of = 0;
}

void stores_free(struct stores *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->lines; i++) {
		if (s->line[i])
			free(s->line[i]->piece);
		free(s->line[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		free(s->thread[i].capture);
	free(s->line);
	free(s->listed);
	free(s);
}

static void capture(struct stores *s, uint32_t thread, struct capture c)
{
	struct thread *t = &s->thread[thread % THREADS];

	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->capture = must(realloc(t->capture, t->room * sizeof(*t->capture)));
	}
	t->capture[t->n++] = c;
}

static void raise(struct stores *s, uint32_t number, uint32_t group, uint16_t lo)
{
	struct line *l = line_of(s, number);

	if (lo > l->lo[group])
		l->lo[group] = lo;
}

static void piece_add(struct line *l, struct piece p)
{
	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 8;
		l->piece = must(realloc(l->piece, l->room * sizeof(*l->piece)));
	}
	uint32_t at = l->n++;

	for (; at > 0 && l->piece[at - 1].bits && !p.bits; at--)
		l->piece[at] = l->piece[at - 1];
	l->piece[at] = p;
}

/* Bits that a page walker may set from now on [R16]. */
static void walker(struct stores *s, const struct event *e, uint32_t index)
{
	struct line *l = line_of(s, (uint32_t)(e->off >> LINE_SHIFT));
	unsigned word = (unsigned)(e->off / 8 % LINE_WORDS), slot = 0;

	if (s->phase)
		return;
	for (uint32_t i = 0; i < l->n; i++) {
		if (!l->piece[i].bits || l->piece[i].word != word)
			continue;
		if (l->piece[i].value == e->value)
			return;
		slot++;
	}
	if (slot == 2) {
		(void)fprintf(
			stderr,
			"crashsim: a page walker sets more than two different masks of bits in the word "
			"at offset %#llx\n",
			(unsigned long long)e->off);
		exit(2);
	}
	piece_add(l, (struct piece){ .word = (uint8_t)word,
				     .mask = 0xff,
				     .group = (uint8_t)(WALKER_GROUPS + 2 * word + slot),
				     .bits = true,
				     .event = index,
				     .value = e->value });
}

/* By itself, or in the order of its line?  Words of a wide store are tied instead (ties.c). */
static bool stands_alone(const struct event *e)
{
	if (options.order == ORDER_FREE || options.no_r3)
		return true;
	return e->part_of || (e->kind == EV_STREAM && options.persist != PERSIST_PAGE);
}

/* What makes a piece count at once, or later. */
static void store_counts(struct stores *s, const struct event *e, uint32_t number, unsigned group)
{
	struct line *l = s->line[number];
	struct capture c = { number, group, l->count[group], false };

	if (options.persist == PERSIST_PAGE)
		return;
	if (e->kind == EV_STREAM && options.no_r11) {
		l->lo[group] = c.lo;
	} else if (e->kind == EV_STREAM) {
		capture(s, e->thread, c);
	} else if (options.persist == PERSIST_CACHE && !e->part_of) {
		l->lo[group] = c.lo;
	} else if (options.persist == PERSIST_CACHE) {
		c.wide = true;
		capture(s, e->thread, c);
	}
}

/* One store of at most 8 bytes, cut where it crosses a word. */
static void store(struct stores *s, const struct event *e, uint32_t index)
{
	for (uint32_t done = 0; done < e->len;) {
		uint64_t off = e->off + done;
		unsigned word = (unsigned)(off / 8 % LINE_WORDS), at = (unsigned)(off % 8);
		unsigned n = 8 - at < e->len - done ? 8 - at : e->len - done;
		uint32_t number = (uint32_t)(off >> LINE_SHIFT);
		struct line *l = line_of(s, number);
		unsigned group = stands_alone(e) ? 1 + word : 0;
		uint64_t value = done ? e->value >> 8 * done : e->value;

		if (n < 8)
			value &= ((uint64_t)1 << 8 * n) - 1;
		piece_add(l, (struct piece){ .word = (uint8_t)word,
					     .mask = (uint8_t)(((1u << n) - 1) << at),
					     .group = (uint8_t)(s->phase * PHASE_GROUPS + group),
					     .streamed = e->kind == EV_STREAM &&
							 options.persist != PERSIST_PAGE,
					     .atomic = e->atomic,
					     .part_of = e->part_of,
					     .rank = l->count[group]++,
					     .event = index,
					     .value = value << 8 * at });
		store_counts(s, e, number, group);
		done += n;
	}
}

/* With the next event of its thread a wide store is over: in a cache that survives, it counts
 * [R4, R14].  Returns the event that stands for e: of a wide store the first. */
static uint32_t wide_store(struct stores *s, const struct event *e, uint32_t index)
{
	struct thread *t = &s->thread[e->thread % THREADS];
	size_t kept = 0;

	if (t->part_of && t->part_of == e->part_of)
		return t->first;
	for (size_t i = 0; t->part_of && i < t->n; i++) {
		if (t->capture[i].wide)
			raise(s, t->capture[i].line, t->capture[i].group, t->capture[i].lo);
		else
			t->capture[kept++] = t->capture[i];
	}
	if (t->part_of)
		t->n = kept;
	t->part_of = e->part_of;
	t->first = index;
	return index;
}

/* Groups of which a flush of the line speaks: those of stores through the cache. */
static void flush(struct stores *s, const struct event *e, bool now)
{
	uint32_t number = (uint32_t)(e->off >> LINE_SHIFT);
	struct line *l = s->line[number];
	uint16_t lo[PHASE_GROUPS] = { 0 };

	if (!l || !l->listed)
		return;
	for (uint32_t i = 0; i < l->n; i++) {
		if (!l->piece[i].bits && !l->piece[i].streamed)
			lo[l->piece[i].group % PHASE_GROUPS] = (uint16_t)(l->piece[i].rank + 1);
	}
	for (unsigned g = 0; g < PHASE_GROUPS; g++) {
		if (lo[g] && now)
			raise(s, number, g, lo[g]);
		else if (lo[g])
			capture(s, e->thread, (struct capture){ number, g, lo[g], false });
	}
}

static void drain(struct stores *s, uint32_t thread)
{
	struct thread *t = &s->thread[thread % THREADS];

	for (size_t i = 0; i < t->n; i++) {
		struct capture *c = &t->capture[i];

		if (options.no_r9)
			continue;
		raise(s, c->line, c->group, c->lo);
	}
	t->n = 0;
}

static void msync_done(struct stores *s, const struct event *e)
{
	const uint64_t page = 4096; /* the kernel writes whole ones */
	uint64_t end = (e->off + e->len + page - 1) & ~(page - 1);

	for (uint64_t n = (e->off & ~(page - 1)) >> LINE_SHIFT; n < end >> LINE_SHIFT; n++) {
		struct line *l = n < s->lines ? s->line[n] : NULL;

		if (l && l->listed)
			memcpy(l->lo, l->count, sizeof(l->lo));
	}
}

void stores_play(struct stores *s, const struct event *e, uint32_t index)
{
	bool page = options.persist == PERSIST_PAGE;

	if (options.persist != PERSIST_MEMORY)
		index = wide_store(s, e, index);
	switch (e->kind) {
	case EV_STORE:
	case EV_STREAM:
		store(s, e, index);
		break;
	case EV_WALKER:
		walker(s, e, index);
		break;
	case EV_CLWB:
		if (!page)
			flush(s, e, false);
		break;
	case EV_CLFLUSH:
		if (!page)
			flush(s, e, true);
		break;
	case EV_SFENCE:
	case EV_MFENCE:
		if (!page)
			drain(s, e->thread);
		break;
	case EV_MSYNC:
		msync_done(s, e);
		break;
	default:
		break;
	}
}

size_t stores_lines(const struct stores *s, const uint32_t **line)
{
	*line = s->listed;
	return s->n_listed;
}

void stores_append(const struct stores *s, uint32_t number, struct line_set *to)
{
	const struct line *l = s->line[number];
	unsigned first = s->phase * PHASE_GROUPS;

	if (!l || !l->listed)
		return;
	to->piece = must(realloc(to->piece, (to->n + l->n + 1) * sizeof(*to->piece)));
	memcpy(to->piece + to->n, l->piece, l->n * sizeof(*to->piece));
	to->n += l->n;
	memcpy(to->lo + first, l->lo, sizeof(l->lo));
	memcpy(to->hi + first, l->count, sizeof(l->count));
	for (uint32_t i = l->n; i > 0 && l->piece[i - 1].bits; i--)
		to->hi[l->piece[i - 1].group] = 1;
}

/* ---- a trace up to a crash point --------------------------------------------------------------- */

struct versions {
	unsigned char *content;
	size_t n, room;
};

struct model {
	const struct trace *trace;
	size_t at;
	struct stores *stores;
	unsigned char *durable; /* base of lines with pieces, and all of the others */
	unsigned char *stored;  /* every store applied */
	struct versions *versions;
	uint32_t burst; /* line of the streamed words just played, or UINT32_MAX */
};

struct model *model_new(const struct trace *t)
{
	struct model *m = must(calloc(1, sizeof(*m)));

	m->trace = t;
	m->stores = stores_new(0, t->bytes);
	m->durable = must(malloc(t->bytes));
	m->stored = must(malloc(t->bytes));
	memcpy(m->durable, t->first, t->bytes);
	memcpy(m->stored, t->first, t->bytes);
	m->versions = must(calloc(t->bytes / LINE_BYTES, sizeof(*m->versions)));
	m->burst = UINT32_MAX;
	return m;
}

static void version_add(struct model *m, uint32_t line)
{
	struct versions *v = &m->versions[line];
	const unsigned char *now = m->stored + (size_t)line * LINE_BYTES;

	for (size_t i = 0; i < v->n; i++) {
		if (!memcmp(v->content + i * LINE_BYTES, now, LINE_BYTES))
			return;
	}
	if (v->n == v->room) {
		v->room = v->room ? 2 * v->room : 4;
		v->content = must(realloc(v->content, v->room * LINE_BYTES));
	}
	memcpy(v->content + v->n++ * LINE_BYTES, now, LINE_BYTES);
}

static void versions_note(struct model *m, const struct event *e)
{
	uint32_t line = (uint32_t)(e->off >> LINE_SHIFT);

	if (m->burst != UINT32_MAX && (e->kind != EV_STREAM || line != m->burst)) {
		version_add(m, m->burst);
		m->burst = UINT32_MAX;
	}
	if (e->kind == EV_STREAM)
		m->burst = line;
	if (e->kind == EV_CLWB || e->kind == EV_CLFLUSH)
		version_add(m, line);
}

/* As before the first event. */
static void again(struct model *m)
{
	stores_reset(m->stores);
	memcpy(m->durable, m->trace->first, m->trace->bytes);
	memcpy(m->stored, m->trace->first, m->trace->bytes);
	for (size_t i = 0; i < m->trace->bytes / LINE_BYTES; i++)
		m->versions[i].n = 0;
	m->burst = UINT32_MAX;
}

void model_to(struct model *m, size_t c)
{
	for (; m->at < c; m->at++) {
		const struct event *e = &m->trace->event[m->at];

		if (e->kind == EV_AGAIN) {
			again(m);
			continue;
		}
		versions_note(m, e);
		stores_play(m->stores, e, (uint32_t)m->at);
		if (e->kind == EV_STORE || e->kind == EV_STREAM)
			memcpy(m->stored + e->off, &e->value, e->len);
	}
	/* a burst under way is no content of its own: the newest content of the line is tried anyway,
	 * and what this model has stopped at before must make no difference */
}

/* Fold what is durable into the base for good, so that lines stay short. */
static void settle(struct model *m)
{
	struct stores *s = m->stores;
	size_t kept = 0;

	for (size_t i = 0; i < s->n_listed; i++) {
		uint32_t number = s->listed[i];
		struct line *l = s->line[number];
		uint32_t first = 0;

		while (first < l->n && !l->piece[first].bits &&
		       l->piece[first].rank < l->lo[l->piece[first].group])
			piece_land(m->durable + (size_t)number * LINE_BYTES, &l->piece[first++]);
		memmove(l->piece, l->piece + first, (l->n - first) * sizeof(*l->piece));
		l->n -= first;
		if (l->n) {
			s->listed[kept++] = number;
			continue;
		}
		l->listed = false; /* counts go on: captures name them */
	}
	s->n_listed = kept;
}

static int by_line(const void *a, const void *b)
{
	uint32_t x = (*(struct line_set *const *)a)->line, y = (*(struct line_set *const *)b)->line;

	return x < y ? -1 : x > y;
}

/* Some of a line's pieces are not decided. */
static bool line_set_open(const struct line_set *l)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->lo[l->piece[i].group] < l->hi[l->piece[i].group])
			return true;
	}
	return false;
}

struct ahead { /* streamed words that may be there already */
	uint32_t *event;
	size_t n;
};

static struct line_set *line_images(const struct model *m, uint32_t number, const struct ahead *a)
{
	struct line_set *l = must(calloc(1, sizeof(*l)));

	l->line = number;
	memcpy(l->base, m->durable + (size_t)number * LINE_BYTES, LINE_BYTES);
	stores_append(m->stores, number, l);
	for (size_t i = 0; i < a->n; i++) {
		const struct event *e = &m->trace->event[a->event[i]];

		if (e->off >> LINE_SHIFT == number)
			ahead_append(e, a->event[i], l);
	}
	line_set_fold(l);
	if (l->n && line_set_open(l))
		return l;
	/* all of it is decided, if only together with what stands before it */
	for (uint32_t k = 0; k < l->n; k++)
		piece_land(l->base, &l->piece[k]);
	l->n = 0;
	return l;
}

static bool set_has(const struct image_set *s, uint32_t line)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->set[i]->line == line)
			return true;
	}
	return false;
}

struct image_set *model_images(struct model *m)
{
	struct image_set *s = must(calloc(1, sizeof(*s)));
	const uint32_t *line;
	struct ahead a;
	size_t n;

	settle(m);
	n = stores_lines(m->stores, &line);
	a.n = ahead_find(m->trace, m->at, &a.event);
	s->rest = m->durable;
	s->room = n + a.n;
	s->set = must(calloc(s->room + 1, sizeof(*s->set)));
	for (size_t i = 0; i < n; i++)
		s->set[s->n++] = line_images(m, line[i], &a);
	for (size_t i = 0; i < a.n; i++) {
		uint32_t number = (uint32_t)(m->trace->event[a.event[i]].off >> LINE_SHIFT);

		if (!set_has(s, number))
			s->set[s->n++] = line_images(m, number, &a);
	}
	free(a.event);
	qsort(s->set, s->n, sizeof(*s->set), by_line);
	return s;
}

size_t model_versions(const struct model *m, uint32_t line, const unsigned char **version)
{
	*version = m->versions[line].content;
	return m->versions[line].n;
}

void model_free(struct model *m)
{
	stores_free(m->stores);
	for (size_t i = 0; i < m->trace->bytes / LINE_BYTES; i++)
		free(m->versions[i].content);
	free(m->versions);
	free(m->durable);
	free(m->stored);
	free(m);
}
