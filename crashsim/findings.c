/* SPDX-License-Identifier: BSD-3-Clause */
/* findings -- flushes and fences of a recording that do nothing, by call path: a flush of a line that
 * nothing was stored to, a second flush without a store between, a fence with nothing to drain.
 *
 * PROOF	The recording is modelled without those events of the path.  Where the sets of images are
 *		the same at every crash point that is left, they do nothing for durability here; else the
 *		finding is dropped.  An mfence is never one: a locked instruction looks the same, and
 *		orders more than durability.
 */
#include "findings.h"

#include <execinfo.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "hooks.h"
#include "story.h"
#include "symbol.h"

#define THREADS 64u
#define FRAMES  4u

enum why { WHY_NOT, WHY_CLEAN, WHY_TWICE, WHY_EMPTY };

struct look { /* at a recording */
	const struct trace *t;
	unsigned char *why;  /* by event */
	unsigned char *line; /* 1: stored to since it was flushed; 2: flushed */
	bool pending[THREADS];
	uint64_t *digest;               /* by event: of the images of a crash before it */
	uint64_t (*stack)[STORY_STACK]; /* by event, of flushes and fences */
	uint64_t *path;                 /* its digest */
};

static struct look *looking;

static void on_recorded(const struct event *e)
{
	size_t i = recording->n;
	void *frame[STORY_STACK];
	int n;

	if (i >= looking->t->n ||
	    (e->kind != EV_CLWB && e->kind != EV_CLFLUSH && e->kind != EV_SFENCE))
		return;
	n = backtrace(frame, STORY_STACK);
	looking->path[i] = (uint64_t)e->kind;
	for (int k = 0; k < n; k++) {
		looking->stack[i][k] = (uint64_t)(uintptr_t)frame[k];
		looking->path[i] = digest_mix(looking->path[i], looking->stack[i][k]);
	}
}

/* Recorded once more, to have the call stacks. */
static void stacks(const struct crashsim_workload *w, struct look *l)
{
	struct trace again;

	looking = l;
	l->stack = must(calloc(l->t->n + 1, sizeof(*l->stack)));
	l->path = must(calloc(l->t->n + 1, sizeof(*l->path)));
	hook_recorded = on_recorded;
	if (record(w, &again) == 0)
		trace_free(&again);
	hook_recorded = NULL;
}

static void look_at(struct look *l, size_t i)
{
	const struct event *e = &l->t->event[i];
	unsigned char *line = &l->line[e->off >> LINE_SHIFT];
	bool *pending = &l->pending[e->thread % THREADS];

	switch (e->kind) {
	case EV_STORE:
		line[0] = 1;
		if ((e->off + e->len - 1) >> LINE_SHIFT != e->off >> LINE_SHIFT)
			line[1] = 1;
		break;
	case EV_STREAM:
		*pending = true;
		break;
	case EV_CLWB:
	case EV_CLFLUSH:
		if (*line != 1)
			l->why[i] = *line ? WHY_TWICE : WHY_CLEAN;
		*line = 2;
		*pending = *pending || e->kind == EV_CLWB;
		break;
	case EV_SFENCE:
		if (!*pending)
			l->why[i] = WHY_EMPTY;
		*pending = false;
		break;
	case EV_MFENCE:
		*pending = false;
		break;
	case EV_AGAIN:
		memset(l->line, 0, l->t->bytes / LINE_BYTES);
		memset(l->pending, 0, sizeof(l->pending));
		break;
	default:
		break;
	}
}

/* Lines of which all is decided hold every store: the open ones say it all. */
static uint64_t images_digest(struct model *m)
{
	struct image_set *s = model_images(m);
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct line_set *l = s->set[i];
		uint64_t h = digest_mix(1, l->line), word;

		for (unsigned w = 0; l->n && w < LINE_WORDS; w++) {
			memcpy(&word, l->base + 8 * w, 8);
			h = digest_mix(h, word);
		}
		for (uint32_t k = 0; k < l->n; k++) {
			const struct piece *p = &l->piece[k];
			uint16_t lo = l->lo[p->group];

			h = digest_mix(h, p->value);
			h = digest_mix(h, (uint64_t)p->streamed << 25 | (uint64_t)p->atomic << 24 |
						  (uint64_t)p->word << 16 | (uint64_t)p->mask << 8 |
						  p->group);
			h = digest_mix(h, (uint64_t)(uint16_t)(p->rank - lo) << 16 |
						  (uint16_t)(l->hi[p->group] - lo));
		}
		sum += l->n ? h * (h | 1) : 0;
	}
	image_set_free(s);
	return sum;
}

/* Is every crash point the same without the events of a path that do nothing?  points: out. */
static bool same_without(const struct look *l, uint64_t path, unsigned char why, size_t *points)
{
	const struct trace *t = l->t;
	struct trace without = { .bytes = t->bytes, .first = t->first };
	size_t *was = must(malloc((t->n + 1) * sizeof(*was)));
	struct model *m;
	bool same = true;

	for (size_t i = 0; i <= t->n; i++) {
		if (i < t->n && l->why[i] == why && l->path[i] == path)
			continue;
		was[without.n] = i;
		if (i < t->n)
			trace_add(&without, t->event[i]);
	}
	m = model_new(&without);
	*points = 0;
	for (size_t c = 0; c <= without.n && same; c++) {
		if (!trace_crash_point(t, was[c]))
			continue;
		model_to(m, c);
		same = images_digest(m) == l->digest[was[c]];
		++*points;
	}
	model_free(m);
	free(without.event);
	free(was);
	return same;
}

/* "cases.c:22 (flush) < cases.c:277 (perf_run)" */
static void path_text(const struct look *l, size_t i, char *text, size_t size)
{
	const struct symbol *frame[FRAMES];
	unsigned n = story_frames(l->stack[i], STORY_STACK, l->t->event[i].site, frame, FRAMES);
	size_t at = 0;
	char place[200];

	for (unsigned k = 0; k < n && at < size; k++)
		at += (size_t)snprintf(text + at, size - at, "%s%s (%s)", k ? " < " : "",
				       symbol_place(frame[k], place, sizeof(place)),
				       frame[k]->function);
}

static void finding_add(const struct look *l, size_t first, struct result *r)
{
	static const char *const what[] = { [WHY_CLEAN] = "flush of a clean line",
					    [WHY_TWICE] =
						    "line flushed twice without a store between",
					    [WHY_EMPTY] = "fence with nothing to drain" };
	struct perf p = { .what = what[l->why[first]] };
	uint64_t path = l->path[first];

	for (size_t i = 0; i < l->t->n; i++) {
		if (l->path[i] != path)
			continue;
		p.of++;
		if (l->why[i] != l->why[first])
			continue;
		p.times++;
		if (i < first) /* told already */
			return;
	}
	if (!same_without(l, path, l->why[first], &p.points))
		return;
	path_text(l, first, p.place, sizeof(p.place));
	r->perf = must(realloc(r->perf, (r->n_perf + 1) * sizeof(*r->perf)));
	r->perf[r->n_perf++] = p;
}

void findings(const struct crashsim_workload *w, const struct trace *t, struct result *r)
{
	struct look l = { .t = t };
	struct model *m;

	if (options.persist != PERSIST_MEMORY) {
		fputs("crashsim: --perf: flushes and fences count with --persist memory alone\n",
		      stderr);
		return;
	}
	stacks(w, &l);
	l.why = must(calloc(t->n + 1, 1));
	l.line = must(calloc(t->bytes / LINE_BYTES + 2, 1));
	l.digest = must(calloc(t->n + 1, sizeof(*l.digest)));
	m = model_new(t);
	for (size_t c = 0; c <= t->n; c++) {
		if (trace_crash_point(t, c)) {
			model_to(m, c);
			l.digest[c] = images_digest(m);
		}
		if (c < t->n)
			look_at(&l, c);
	}
	model_free(m);
	for (size_t i = 0; i < t->n; i++) {
		if (l.why[i])
			finding_add(&l, i, r);
	}
	r->perf_looked = true;
	free(l.why);
	free(l.line);
	free(l.digest);
	free(l.stack);
	free(l.path);
}
