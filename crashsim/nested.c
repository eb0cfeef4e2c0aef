/* SPDX-License-Identifier: BSD-3-Clause */
/* nested -- recovery's own stores, and a crash inside recovery.
 *
 * At each of recovery's drains, before it takes effect, the images of a crash are what was decided
 * until then, with recovery's own stores on top as one more phase [R15].  A set that is equal to one
 * explored before is left out; the others wait on the level until the execution is over.  An
 * execution whose decisions are still those of the one before has been at its drains already.
 */
#include "explore_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- recovery's own stores --------------------------------------------------------------------- */

static void save(uint32_t line)
{
	struct level *l = level_now();

	if (ex.written[line] == ex.execution)
		return;
	ex.written[line] = ex.execution;
	if (l->n_saved == l->room_saved) {
		l->room_saved = l->room_saved ? 2 * l->room_saved : 64;
		l->saved = must(realloc(l->saved, l->room_saved * sizeof(*l->saved)));
	}
	l->saved[l->n_saved].line = line;
	memcpy(l->saved[l->n_saved++].content, region_base + (size_t)line * LINE_BYTES, LINE_BYTES);
}

/* Before a store of recovery: the buffer as it was. */
void explore_before_write(uint64_t off, size_t len)
{
	for (uint64_t n = off >> LINE_SHIFT; n <= (off + len - 1) >> LINE_SHIFT; n++) {
		struct open *o = ex.of[n];

		if (o)
			open_touch(o);
		else
			save((uint32_t)n);
	}
}

static void mark_known(uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++, off++) {
		struct open *o = ex.of[off >> LINE_SHIFT];

		if (!o)
			continue;
		o->known |= (uint64_t)1 << off % LINE_BYTES;
		o->own |= (uint64_t)1 << off % LINE_BYTES;
		open_changed(o);
	}
}

/* ---- a crash inside recovery --------------------------------------------------------------------- */

static struct line_set *line_copy(const struct open *o)
{
	struct line_set *l = must(malloc(sizeof(*l)));

	*l = *o->set;
	if (o->touched == ex.execution) {
		memcpy(l->lo, o->lo, sizeof(l->lo));
		memcpy(l->hi, o->hi, sizeof(l->hi));
	}
	l->piece = must(malloc((o->set->n + 1) * sizeof(*l->piece)));
	memcpy(l->piece, o->set->piece, o->set->n * sizeof(*l->piece));
	return l;
}

static const struct saved *saved_of(const struct level *l, uint32_t line)
{
	for (size_t i = 0; i < l->n_saved; i++) {
		if (l->saved[i].line == line)
			return &l->saved[i];
	}
	return NULL;
}

static int by_line(const void *a, const void *b)
{
	uint32_t x = (*(struct line_set *const *)a)->line, y = (*(struct line_set *const *)b)->line;

	return x < y ? -1 : x > y;
}

static bool set_names(const struct image_set *s, uint32_t line)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->set[mid]->line == line)
			return true;
		if (s->set[mid]->line < line)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* The images of a crash now. */
static struct image_set *images_now(struct level *l)
{
	struct image_set *s = must(calloc(1, sizeof(*s)));
	const uint32_t *line;
	size_t n = stores_lines(l->stores, &line);

	s->rest = l->set->rest;
	s->walked = ex.walked;
	s->set = must(calloc(l->set->n + n + 1, sizeof(*s->set)));
	for (size_t i = 0; i < l->set->n; i++) {
		struct line_set *c = line_copy(&l->open[i]);

		stores_append(l->stores, c->line, c);
		line_set_fold(c);
		s->set[s->n++] = c;
	}
	for (size_t i = 0; i < n; i++) {
		struct line_set *c;
		const struct saved *was;

		if (set_names(l->set, line[i])) /* also those that were one: see above */
			continue;
		was = saved_of(l, line[i]);
		c = must(calloc(1, sizeof(*c)));
		c->line = line[i];
		memcpy(c->base, was ? was->content : region_base + (size_t)line[i] * LINE_BYTES,
		       LINE_BYTES);
		stores_append(l->stores, line[i], c);
		line_set_fold(c);
		s->set[s->n++] = c;
	}
	qsort(s->set, s->n, sizeof(*s->set), by_line);
	return s;
}

void crash_here(void)
{
	struct level *l = level_now();
	struct image_set *s;
	const struct failure *r = ex.x->replay;

	if (ex.following || !l->stores || ex.at + 1 >= ex.x->depth || (l->taken < l->changed && !r))
		return; /* the execution before has been here */
	if (r && (ex.at + 1 >= r->phases || r->crash_in[ex.at + 1] != l->events))
		return;
	if (r && ex.x->observer)
		ex.x->observer->crash(ex.x->observer->ctx, ex.at);
	s = images_now(l);
	if (!r && !options.no_prune && !digest_add(&ex.seen, set_digest(s, ex.at))) {
		ex.result->pruned++;
		image_set_free(s);
		return;
	}
	if (l->n_nested == l->room_nested) {
		l->room_nested = l->room_nested ? 2 * l->room_nested : 16;
		l->nested = must(realloc(l->nested, l->room_nested * sizeof(*l->nested)));
	}
	l->nested[l->n_nested++] = (struct nested){ s, l->events, l->taken };
}

/* ---- events of recovery ------------------------------------------------------------------------ */

/* A flush or a fence that the program lacks, as if it were there. */
static void written_patched(const struct event *e)
{
	static struct event last;
	static struct patch_pages pages;
	const struct patch *p = ex.x->patch;
	struct event extra = { .off = e->off & ~(uint64_t)(LINE_BYTES - 1),
			       .len = LINE_BYTES,
			       .thread = e->thread };

	ex.x->patch = NULL;
	if (!level_now()->events) /* another execution */
		pages.n = 0;
	if (patch_fence(p, e, &last)) {
		for (size_t i = 0; i < p->n_lines; i++)
			explore_written(&(struct event){ .kind = EV_CLWB,
							 .off = p->line[i],
							 .len = LINE_BYTES,
							 .thread = e->thread });
		extra.kind = EV_SFENCE;
		if (!p->msync)
			explore_written(&extra);
		for (; p->msync && pages.n; pages.n--)
			explore_written(&(struct event){ .kind = EV_MSYNC,
							 .off = pages.page[pages.n - 1],
							 .len = 1,
							 .thread = e->thread });
	}
	explore_written(e);
	patch_page(p, e, &pages);
	if (!p->msync && patch_flush(p, e)) {
		extra.kind = EV_CLWB;
		explore_written(&extra);
	}
	if (patch_fence_after(p, e, NULL)) {
		extra.kind = EV_SFENCE;
		explore_written(&extra);
	}
	last = *e;
	ex.x->patch = p;
}

void patch_page(const struct patch *p, const struct event *e, struct patch_pages *to)
{
	uint64_t page = e->off & ~(uint64_t)(PAGE_BYTES - 1);
	size_t k = 0;

	if (!p->msync || !patch_flush(p, e))
		return;
	while (k < to->n && to->page[k] != page)
		k++;
	if (k == to->n && k < PATCH_SITES)
		to->page[to->n++] = page;
}

bool patch_fence(const struct patch *p, const struct event *e, const struct event *last)
{
	bool store = e->kind == EV_STORE || e->kind == EV_STREAM;

	if (last && e->part_of && last->part_of == e->part_of)
		return false;
	return (store && p->fence_before && e->site == p->fence_before) ||
	       (e->kind == EV_RETURNED && p->fence_before_return);
}

bool patch_flush(const struct patch *p, const struct event *e)
{
	for (size_t i = 0; i < p->n_flush && e->kind == EV_STORE; i++) {
		if (p->flush_after[i] == e->site)
			return true;
	}
	return false;
}

bool patch_fence_after(const struct patch *p, const struct event *e, const struct event *next)
{
	if (p->fence_after_flush && patch_flush(p, e))
		return !e->part_of || (next && next->part_of != e->part_of);
	for (size_t i = 0; i < p->n_fence_after; i++) {
		if (e->kind == EV_CLWB && e->site == p->fence_after[i])
			return true;
	}
	return false;
}

void explore_written(const struct event *e)
{
	struct level *l = level_now();

	if (ex.x->patch) {
		written_patched(e);
		return;
	}
	if (++ex.events > options.max_events)
		execution_fail("recovery does not end: it loops");
	if (e->kind == EV_STORE || e->kind == EV_STREAM)
		mark_known(e->off, e->len);
	ex.stored = digest_mix(digest_mix(ex.stored, e->value),
			       (uint64_t)e->kind << 56 | (uint64_t)e->len << 48 | e->off);
	if (ex.x->observer)
		ex.x->observer->event(ex.x->observer->ctx, ex.at, e);
	bool stores = e->kind == EV_STORE || e->kind == EV_STREAM;
	bool drains = e->kind == EV_SFENCE || e->kind == EV_MFENCE || e->kind == EV_CLFLUSH ||
		      e->kind == EV_MSYNC;

	/* where the cache survives, before and behind a store too, but not inside a wide one */
	if (options.persist == PERSIST_CACHE && (stores || l->part_of))
		drains = !e->part_of || e->part_of != l->part_of;
	if (drains)
		crash_here();
	l->part_of = stores ? e->part_of : 0;
	l->unfenced = stores || (l->unfenced && !drains);
	if (l->stores)
		stores_play(l->stores, e, l->events);
	l->events++;
}
