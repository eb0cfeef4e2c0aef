/* SPDX-License-Identifier: BSD-3-Clause */
/* missing -- the flush or fence whose lack a failure comes from: PROOF of cause.c. */
#include <stdlib.h>
#include <string.h>

#include "search.h"

/* ---- what is missing ------------------------------------------------------------------------------- */

static bool is_lost(const struct happening *h)
{
	return h->fate == FATE_LOST || h->fate == FATE_TORN;
}

/* The recording with the patch; at: where event `at` has gone. */
static struct trace patched(const struct trace *t, const struct patch *p, size_t *at)
{
	struct trace to = { .bytes = t->bytes, .first = t->first };
	struct patch_pages pages = { .n = 0 };
	size_t was = *at, *end = must(malloc((t->n + 1) * sizeof(*end))); /* behind each event */

	for (size_t i = 0; i < t->n; i++) {
		const struct event *e = &t->event[i];
		struct event extra = { .off = e->off & ~(uint64_t)(LINE_BYTES - 1),
				       .len = LINE_BYTES,
				       .thread = e->thread };

		if (patch_fence(p, e, i ? e - 1 : NULL)) {
			extra.kind = EV_CLWB;
			for (size_t k = 0; k < p->n_lines; k++) {
				extra.off = p->line[k];
				trace_add(&to, extra);
			}
			extra.kind = EV_SFENCE;
			if (!p->msync)
				trace_add(&to, extra);
			extra.kind = EV_MSYNC;
			for (; p->msync && pages.n; pages.n--) {
				extra.off = pages.page[pages.n - 1];
				trace_add(&to, extra);
			}
			extra.off = e->off & ~(uint64_t)(LINE_BYTES - 1);
		}
		if (i == was)
			*at = to.n;
		trace_add(&to, *e);
		if (e->waited) /* and for what the patch puts behind that */
			to.event[to.n - 1].waited = (uint32_t)end[e->waited - 1];
		patch_page(p, e, &pages);
		if (!p->msync && patch_flush(p, e)) {
			extra.kind = EV_CLWB;
			trace_add(&to, extra);
		}
		if (patch_fence_after(p, e, i + 1 < t->n ? e + 1 : NULL)) {
			extra.kind = EV_SFENCE;
			trace_add(&to, extra);
		}
		end[i] = to.n;
	}
	free(end);
	if (was == t->n)
		*at = to.n;
	return to;
}

/* Explore crash points of the recording with the patch.  r: the caller frees. */
static void explore_patched(struct search *q, bool all, struct result *r)
{
	size_t at = q->s->f.crash_point, n = 0;
	struct trace t = patched(q->s->t, &q->c->patch, &at);
	size_t *point = must(calloc(t.n + 1, sizeof(*point)));
	struct task task = { .w = q->s->w,
			     .t = &t,
			     .point = point,
			     .jobs = options.jobs,
			     .max_failures = 64,
			     .deadline = q->deadline,
			     .patch = &q->c->patch };
	enum explore_mode mode = options.mode;

	if (all) {
		for (size_t c = 0; c <= t.n; c++) {
			if (trace_crash_point(&t, c))
				point[n++] = c;
		}
	} else {
		point[n++] = at;
	}
	task.n_points = n;
	q->c->moves = false;
	*r = (struct result){ 0 };
	options.mode = MODE_LAZY;
	explore_points(&task, r);
	options.mode = mode;
	q->c->tests++;
	for (size_t i = 0; i < r->n_failures && all; i++) {
		size_t c = r->failure[i].crash_point;

		if (c < t.n && !t.event[c].site &&
		    (t.event[c].kind == EV_SFENCE || t.event[c].kind == EV_MSYNC) &&
		    !strcmp(r->failure[i].what, q->s->f.what))
			q->c->moves = true;
	}
	free(point);
	free(t.event);
}

/* The crash point with the patch.  2: no failure; 1: not this one; 0: it is still there; -1: it took
 * too long. */
static int helps(struct search *q)
{
	struct result r;
	int how;

	explore_patched(q, false, &r);
	how = same_words(&r, q->s->f.what) ? 0 : !r.exhaustive ? -1 : r.n_failures ? 1 : 2;
	if (how > 0) {
		q->c->executions = r.executions;
		q->c->images_log10 = r.images_log10;
		q->c->others = how == 1;
	}
	result_free(&r);
	return how;
}

static size_t helps_everywhere(struct search *q)
{
	struct result r;
	size_t points;

	explore_patched(q, true, &r);
	points = r.exhaustive && !r.n_failures ? r.n_points : 0;
	result_free(&r);
	return points;
}

static void sites_lost(struct search *q)
{
	struct patch *p = &q->c->patch;

	for (size_t i = 0; i < q->s->n; i++) {
		const struct happening *h = &q->s->event[i];
		size_t k = 0;

		if (!is_lost(h) || h->e.kind != EV_STORE)
			continue;
		while (k < p->n_flush && p->flush_after[k] != h->e.site)
			k++;
		if (k < p->n_flush || k == PATCH_SITES)
			continue;
		p->flush_after[k] = h->e.site;
		q->c->flush_at[k] = i;
		p->n_flush = k + 1;
	}
}

/* Events `from` to `to` are pieces of one store or copy: no fence goes between them. */
static bool one_store(const struct story *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		const struct event *a = &s->event[i].e, *b = &s->event[i + 1].e;

		if (a->part_of && a->part_of == b->part_of)
			continue;
		if (a->site != b->site || a->kind != b->kind || a->off + a->len != b->off)
			return false;
	}
	return true;
}

/* The event that the lost stores should have been durable before: the first store behind one of them
 * that survived, or the return of an operation.  SIZE_MAX: none. */
static size_t too_early(const struct story *s)
{
	size_t lost = SIZE_MAX;

	for (size_t i = 0; i < s->n; i++) {
		const struct happening *h = &s->event[i];

		if (lost == SIZE_MAX) {
			lost = is_lost(h) ? i : SIZE_MAX;
			continue;
		}
		if (h->phase == s->event[lost].phase &&
		    (h->fate == FATE_SURVIVED || h->fate == FATE_DURABLE ||
		     h->e.kind == EV_RETURNED) &&
		    !one_store(s, lost, i))
			return i;
	}
	return SIZE_MAX;
}

/* An operation under way at the crash whose return may have come before it, because its thread had
 * not drained [R13]: the event of that return.  SIZE_MAX: none. */
static size_t returns_ahead(const struct story *s)
{
	const struct trace *t = s->t;
	size_t c = s->f.crash_point;
	unsigned char op[256];
	uint64_t note[64];

	ops_at(t, c, op, note);
	for (size_t i = c; i < t->n && t->event[i].kind != EV_AGAIN; i++) {
		const struct event *e = &t->event[i];

		if (e->kind != EV_RETURNED || op[e->value % 256] != CRASHSIM_HAS_RETURNED)
			continue;
		for (size_t k = 0; k < s->n; k++) {
			const struct happening *h = &s->event[k];

			if (!h->phase && is_lost(h) && h->e.thread == e->thread)
				return i;
		}
	}
	return SIZE_MAX;
}

/* The fence that would have drained a flush of the lost stores. */
static size_t fence_between(const struct story *s, size_t end)
{
	size_t lost = 0;

	for (size_t i = 0; i < s->n && i < end; i++) {
		const struct happening *h = &s->event[i];

		if (is_lost(h))
			lost = i;
	}
	for (size_t i = lost; i < s->n && i < end; i++) {
		const struct event *e = &s->event[i].e;

		if ((e->kind == EV_SFENCE || e->kind == EV_MFENCE) &&
		    e->thread == s->event[lost].e.thread) /* [R9] */
			return i;
	}
	return SIZE_MAX;
}

/* True: nothing better is to be found.  What helps here alone is kept until something helps at every
 * crash point. */
static bool try_patch(struct search *q, enum missing what, const struct patch *all, bool flush,
		      bool fence)
{
	struct cause *c = q->c, was = *c;
	int how;

	c->patch = *all;
	if (!flush)
		c->patch.n_flush = 0;
	if (!fence) {
		c->patch.fence_before = 0;
		c->patch.fence_before_return = false;
	}
	how = helps(q);
	if (how > 0) {
		c->missing = what;
		c->everywhere = helps_everywhere(q);
		if (c->everywhere || was.missing == MISSING_UNKNOWN || (was.moves && !c->moves))
			return c->everywhere != 0;
	}
	was.tests = c->tests;
	*c = was;
	return how < 0;
}

/* A fence before the return, or before the event fence_at. */
static bool missing_before(struct search *q)
{
	struct cause *c = q->c;
	struct patch all;
	bool fence = c->fence_at != SIZE_MAX || c->return_at != SIZE_MAX;

	c->patch.fence_before = 0;
	c->patch.fence_before_return = c->return_at != SIZE_MAX;
	c->patch.msync = options.persist == PERSIST_PAGE;
	if (c->fence_at != SIZE_MAX) {
		const struct event *e = &q->s->event[c->fence_at].e;

		if (e->kind == EV_RETURNED)
			c->patch.fence_before_return = true;
		else
			c->patch.fence_before = e->site;
	}
	q->all = all = c->patch;
	if (all.msync)
		return all.n_flush && fence && try_patch(q, MISSING_MSYNC, &all, true, true);
	return (fence && try_patch(q, MISSING_FENCE, &all, false, true)) ||
	       (all.n_flush && try_patch(q, MISSING_FLUSH, &all, true, false)) ||
	       (all.n_flush && fence && try_patch(q, MISSING_BOTH, &all, true, true));
}

/* ---- of several threads ---- */

static bool threads_differ(const struct story *s)
{
	for (size_t i = 1; i < s->n; i++) {
		if (s->event[i].e.thread != s->event[0].e.thread)
			return true;
	}
	return false;
}

/* The flush of a lost store by its thread; SIZE_MAX: none. */
static size_t flush_of(const struct story *s, size_t lost)
{
	const struct happening *of = &s->event[lost];

	for (size_t i = lost + 1; i < s->n; i++) {
		const struct happening *h = &s->event[i];

		if (h->phase == of->phase && h->e.kind == EV_CLWB && h->e.site &&
		    h->e.thread == of->e.thread &&
		    h->e.off >> LINE_SHIFT == of->e.off >> LINE_SHIFT)
			return i;
	}
	return SIZE_MAX;
}

/* A fence behind the flush of each lost store.  False: one is not flushed. */
static bool fence_own(const struct story *s, struct patch *p, size_t *at)
{
	for (size_t i = 0; i < s->n; i++) {
		size_t flush, k = 0;

		if (!is_lost(&s->event[i]))
			continue;
		flush = flush_of(s, i);
		if (flush == SIZE_MAX)
			return false;
		while (k < p->n_fence_after && p->fence_after[k] != s->event[flush].e.site)
			k++;
		if (k == PATCH_SITES)
			return false;
		p->fence_after[k] = s->event[flush].e.site;
		p->n_fence_after += k == p->n_fence_after;
		*at = flush;
	}
	return p->n_fence_after != 0;
}

static void lines_lost(const struct story *s, struct patch *p)
{
	for (size_t i = 0; i < s->n; i++) {
		uint64_t line = s->event[i].e.off & ~(uint64_t)(LINE_BYTES - 1);
		size_t k = 0;

		if (!is_lost(&s->event[i]))
			continue;
		while (k < p->n_lines && p->line[k] != line)
			k++;
		if (k == PATCH_SITES)
			continue;
		p->line[k] = line;
		p->n_lines += k == p->n_lines;
	}
}

/* In the thread of the lost stores a fence, or a flush and a fence, right behind; or both in the thread
 * of what survived. */
static bool missing_apart(struct search *q)
{
	const struct patch *all = &q->all;
	struct cause *c = q->c;
	struct patch p = { .n_flush = 0 };
	size_t at = SIZE_MAX;
	bool over = false;

	if (fence_own(q->s, &p, &at))
		over = try_patch(q, MISSING_FENCE, &p, false, true);
	p = (struct patch){ .n_flush = all->n_flush, .fence_after_flush = true };
	memcpy(p.flush_after, all->flush_after, sizeof(p.flush_after));
	if (!over && p.n_flush)
		over = try_patch(q, MISSING_BOTH, &p, true, true);
	p = (struct patch){ .fence_before = all->fence_before,
			    .fence_before_return = all->fence_before_return };
	lines_lost(q->s, &p);
	if (!over && p.n_lines && (p.fence_before || p.fence_before_return))
		over = try_patch(q, MISSING_BOTH, &p, false, true);
	if (c->patch.n_fence_after)
		c->after_at = at;
	else if (c->patch.fence_after_flush)
		c->after_at = c->flush_at[c->patch.n_flush - 1];
	return over;
}

void missing_find(struct search *q)
{
	struct cause *c = q->c;
	size_t ahead = returns_ahead(q->s);
	bool over;

	c->fence_at = too_early(q->s);
	sites_lost(q);
	c->drained_at = fence_between(q->s, c->fence_at);
	if (c->fence_at == SIZE_MAX)
		c->return_at = ahead;
	over = missing_before(q);
	if (!over && c->missing == MISSING_UNKNOWN && ahead != SIZE_MAX &&
	    c->return_at == SIZE_MAX) {
		c->fence_at = SIZE_MAX;
		c->return_at = ahead;
		over = missing_before(q);
	}
	if (!over && !q->all.msync && threads_differ(q->s))
		over = missing_apart(q);
	if (!over && c->missing == MISSING_UNKNOWN)
		c->missing = MISSING_NOTHING;
}
