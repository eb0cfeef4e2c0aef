/* SPDX-License-Identifier: BSD-3-Clause */
/* cause -- what a failure comes from.
 *
 * SHRINK	The path of a failure fixes, line by line, how much has landed; what nobody read is taken
 *		as landed.  Groups of stores are then given back, many at once, then one by one, then
 *		store by store, as long as recovery still fails in the same words (delta debugging:
 *		Zeller, Hildebrandt 2002).  Of each set a single image is left at the crash of run;
 *		crashes inside recovery are explored anew.  The path that is found is one of MODE_LAZY,
 *		whatever the mode of the first.
 * PROOF	(--persist page: an msync of the pages of the lost stores in the place of the fence.)
 *		A flush after the lost stores, a fence before the first store that survived (or before
 *		the return), or both, are put into the recording, and into recovery where it has the same
 *		sites; the crash point is explored anew.  What makes all of its failures vanish was
 *		missing.  A fence drains what its own thread has flushed [R9]: of stores by several threads
 *		the fence is tried in the thread of the lost stores, too, and the flush in the other.
 */
#include "cause.h"

#include <stdlib.h>
#include <string.h>

struct config { /* one image of a set: how much of each group has landed */
	struct model *model;
	struct image_set *set;
	uint16_t (*cut)[GROUPS]; /* by line of the set */
};

struct unit { /* a group of which something is lost */
	size_t line;
	unsigned group;
};

struct search {
	struct story *s;
	struct cause *c;
	double deadline;
	struct config config;
	struct unit *unit;
	size_t n_units;
	struct failure found; /* by the last test that failed */
	struct patch all;     /* that the last one was part of */
};

/* ---- one image ------------------------------------------------------------------------------------- */

/* Groups of the stores of run, and of page walkers. */
static bool of_run(unsigned group) { return group < PHASE_GROUPS || group >= WALKER_GROUPS; }

static void config_of(struct config *c, const struct story *s)
{
	c->model = model_new(s->t);
	model_to(c->model, s->f.crash_point);
	c->set = model_images(c->model);
	c->cut = must(calloc(c->set->n + 1, sizeof(*c->cut)));
	for (size_t i = 0; i < c->set->n; i++) {
		memcpy(c->cut[i], c->set->set[i]->hi, sizeof(c->cut[i]));
		for (size_t k = 0; k < s->n_live; k++) {
			const struct live *l = &s->live[k];

			if (l->line == c->set->set[i]->line && of_run(l->p.group) &&
			    l->hi < c->cut[i][l->p.group])
				c->cut[i][l->p.group] = l->hi;
		}
	}
}

static const uint16_t *config_guide(void *ctx, uint32_t line)
{
	const struct config *c = ctx;

	for (size_t i = 0; i < c->set->n; i++) {
		if (c->set->set[i]->line == line)
			return c->cut[i];
	}
	return NULL;
}

static void config_prepare(void *ctx, struct image_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		struct line_set *l = set->set[i];
		const uint16_t *cut = config_guide(ctx, l->line);

		for (unsigned g = 0; cut && g < GROUPS; g++)
			l->lo[g] = l->hi[g] = cut[g];
	}
}

static void keep_failure(struct failure *to, const struct failure *f)
{
	free(to->decision);
	*to = *f;
	to->decision = must(calloc(f->n_decisions + 1, sizeof(*f->decision)));
	memcpy(to->decision, f->decision, f->n_decisions * sizeof(*f->decision));
}

static const struct failure *same_words(const struct result *r, const char *what)
{
	for (size_t i = 0; i < r->n_failures; i++) {
		if (!strcmp(r->failure[i].what, what))
			return &r->failure[i];
	}
	return NULL;
}

/* Does the image still fail in the same words? */
static bool still_fails(struct search *q)
{
	struct result r = { 0 };
	const struct failure *f;
	unsigned depth = options.depth;
	enum explore_mode mode = options.mode;
	struct task task = { .w = q->s->w,
			     .t = q->s->t,
			     .point = &q->s->f.crash_point,
			     .n_points = 1,
			     .jobs = 1,
			     .max_failures = 64,
			     .deadline = q->deadline,
			     .prepare = config_prepare,
			     .ctx = &q->config };

	if (!image_holds(q->config.set, q->config.cut))
		return false;
	options.depth = q->s->f.phases;
	options.mode = MODE_LAZY;
	explore_points(&task, &r);
	options.depth = depth;
	options.mode = mode;
	q->c->tests++;
	f = same_words(&r, q->s->f.what);
	if (f)
		keep_failure(&q->found, f);
	result_free(&r);
	return f != NULL;
}

/* ---- shrink ---------------------------------------------------------------------------------------- */

static void units_find(struct search *q)
{
	const struct config *c = &q->config;

	q->n_units = 0;
	for (size_t i = 0; i < c->set->n; i++) {
		for (unsigned g = 0; g < GROUPS; g++) {
			if (c->cut[i][g] >= c->set->set[i]->hi[g])
				continue;
			q->unit = must(realloc(q->unit, (q->n_units + 1) * sizeof(*q->unit)));
			q->unit[q->n_units++] = (struct unit){ i, g };
		}
	}
}

/* What has landed brings with it what it is tied to.  False: there is no such image. */
static bool close_line(struct config *c, size_t line)
{
	const struct line_set *l = c->set->set[line];
	uint16_t hi[GROUPS];

	memcpy(hi, l->hi, sizeof(hi));
	return ties_narrow(l, c->cut[line], hi);
}

/* Give units [at, at + n) back.  True: it fails without them, and they are dropped. */
static bool give_back(struct search *q, size_t at, size_t n)
{
	struct config *c = &q->config;
	size_t bytes = c->set->n * sizeof(*c->cut);
	uint16_t(*was)[GROUPS] = must(malloc(bytes + 1));
	bool fails = true;

	memcpy(was, c->cut, bytes);
	for (size_t i = 0; i < n; i++) {
		const struct unit *u = &q->unit[at + i];

		c->cut[u->line][u->group] = c->set->set[u->line]->hi[u->group];
		fails = close_line(c, u->line) && fails;
	}
	fails = fails && still_fails(q);
	if (fails)
		units_find(q);
	else
		memcpy(c->cut, was, bytes);
	free(was);
	return fails;
}

static bool time_is_up(const struct search *q) { return now_s() > q->deadline; }

static void shrink_groups(struct search *q)
{
	for (size_t size = q->n_units; size; size /= 2) {
		bool any = true;

		while (any && !time_is_up(q)) {
			any = false;
			for (size_t at = 0; at < q->n_units && !time_is_up(q);) {
				size_t n = q->n_units - at < size ? q->n_units - at : size;

				if (give_back(q, at, n))
					any = true;
				else
					at += n;
			}
			any = any && size == 1; /* until not one can be spared */
		}
	}
}

/* Of a group that must lose something: the fewest. */
static void shrink_stores(struct search *q)
{
	for (size_t i = 0; i < q->n_units; i++) {
		const struct unit *u = &q->unit[i];
		uint16_t *cut = &q->config.cut[u->line][u->group], was = *cut;

		*cut = (uint16_t)(q->config.set->set[u->line]->hi[u->group] - 1);
		while (*cut > was && !time_is_up(q) && !still_fails(q))
			--*cut;
		if (time_is_up(q))
			*cut = was;
	}
}

static size_t lost_stores(const struct story *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->event[i].fate == FATE_LOST || s->event[i].fate == FATE_TORN;
	return n;
}

static void shrink(struct search *q)
{
	enum explore_mode mode = options.mode;
	struct story small;

	config_of(&q->config, q->s);
	units_find(q);
	q->c->lost_was = lost_stores(q->s);
	if (!still_fails(q))
		return;
	shrink_groups(q);
	shrink_stores(q);
	if (!still_fails(q))
		return;
	options.mode = MODE_LAZY;
	story_take(&small, q->s->w, q->s->t, &q->found, config_guide, &q->config);
	options.mode = mode;
	if (small.how != REPLAY_FAILS || strcmp(small.f.what, q->s->f.what) != 0) {
		story_free(&small);
		return;
	}
	q->c->shrunk = true;
	story_free(q->s);
	*q->s = small;
}

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

static void missing(struct search *q)
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

void cause_find(struct story *s, struct cause *c, double seconds)
{
	struct search q = { .s = s, .c = c, .deadline = now_s() + seconds };

	*c = (struct cause){ .fence_at = SIZE_MAX,
			     .drained_at = SIZE_MAX,
			     .after_at = SIZE_MAX,
			     .return_at = SIZE_MAX };
	if (s->how != REPLAY_FAILS)
		return;
	if (strstr(s->f.what, "recovery hangs")) /* each test would wait as long */
		return;
	shrink(&q);
	c->nothing_lost = !lost_stores(s);
	if (c->nothing_lost)
		c->missing = MISSING_NOTHING;
	else if (!time_is_up(&q))
		missing(&q);
	free(q.config.cut);
	image_set_free(q.config.set);
	if (q.config.model)
		model_free(q.config.model);
	free(q.unit);
	free(q.found.decision);
}
