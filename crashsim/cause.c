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
#include "search.h"

#include <stdlib.h>
#include <string.h>

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

const struct failure *same_words(const struct result *r, const char *what)
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

/* Of a group that must lose something: the fewest. */
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
		missing_find(&q);
	free(q.config.cut);
	image_set_free(q.config.set);
	if (q.config.model)
		model_free(q.config.model);
	free(q.unit);
	free(q.found.decision);
}
