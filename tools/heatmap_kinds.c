/* SPDX-License-Identifier: BSD-3-Clause */
/* heatmap_kinds -- which kind of page lies where: by permissions, owner, sharing, tier.
 *
 * Whose a frame is, and whose else, a census of all spaces tells: one walk through each.  Pages are first
 * collected by *who*, a number for each space and some others, and get their kinds when it is known who
 * has most: there are fewer colors than spaces.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heatmap.h"

/* Who has a page; below PMPT_SPACES_MAX: that space, in the order of the directory. */
enum who {
	WHO_SELF = PMPT_SPACES_MAX, /* the space that is drawn, alone */
	WHO_TWICE,                  /* one space alone, in several places */
	WHO_MANY,                   /* more than two spaces, or of frames more than one */
	WHO_SEGMENT,
	WHO_EXT,
	WHO_OUT,
	WHO_DEMAND,
	WHO_COUNT
};

struct collected {
	struct stretch *stretch; /* kind: who, or what add_prot says */
	size_t n, room;
	uint64_t pages[WHO_COUNT];
};

static int add(struct collected *all, uint64_t page, uint64_t n, unsigned who)
{
	struct stretch *last = all->n ? &all->stretch[all->n - 1] : NULL;

	all->pages[who] += n;
	if (last && last->page + last->n == page && last->kind == who) {
		last->n += n;
		return 0;
	}
	if (all->n == all->room) {
		size_t room = all->room ? 2 * all->room : 256;
		struct stretch *grown = realloc(all->stretch, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		all->stretch = grown;
		all->room = room;
	}
	all->stretch[all->n++] = (struct stretch){ page, n, who };
	return 0;
}

/* ---- the census ------------------------------------------------------------------------------ */

#define NOBODY 0xffffu

struct frame {
	uint16_t first, second; /* spaces, or NOBODY */
	bool third, twice, segment;
};
struct census {
	pmpt_pool *pool;
	pmpt_view *view;
	char **names;
	size_t n_names, now; /* now: the space that is walked */
	struct frame *frame;
	uint64_t n;
	struct collected all;
};

static int see(void *ctx, const struct pmpt_mapping *m)
{
	struct census *c = ctx;

	if (!page_in_pool(m->flags))
		return 0;
	for (uint64_t i = 0; i < m->page_bytes / PMPT_PAGE_BYTES && m->pfn + i < c->n; i++) {
		struct frame *f = &c->frame[m->pfn + i];

		f->segment |= (m->flags & PMPT_SHARED) != 0;
		f->twice |= f->first != NOBODY;
		if (f->first == NOBODY)
			f->first = (uint16_t)c->now;
		else if (f->first != c->now && f->second == NOBODY)
			f->second = (uint16_t)c->now;
		else if (f->first != c->now && f->second != c->now)
			f->third = true;
	}
	return 0;
}

static int take_census(struct census *c)
{
	struct pmpt_stats st;
	int rc = pmpt_stats(c->pool, &st);

	if (rc)
		return rc;
	c->n = st.pool_bytes / PMPT_PAGE_BYTES;
	c->frame = malloc(c->n * sizeof(*c->frame));
	for (uint64_t i = 0; c->frame && i < c->n; i++)
		c->frame[i] = (struct frame){ .first = NOBODY, .second = NOBODY };
	rc = c->frame ? 0 : -ENOMEM;
	for (c->now = 0; c->now < c->n_names && !rc; c->now++) {
		pmpt_space *space;

		rc = pmpt_space_open(c->pool, c->names[c->now], &space);
		if (rc)
			break;
		rc = pmpt_view_walk(c->view, space, 0, 0, see, c);
		pmpt_space_close(space);
	}
	return rc;
}

/* ---- who ------------------------------------------------------------------------------------- */

/* Whose a page of space `now` is, and whose else. */
static unsigned who_of_page(const struct census *c, const struct frame *f)
{
	if (f->segment)
		return WHO_SEGMENT;
	if (f->third)
		return WHO_MANY;
	if (f->second != NOBODY)
		return f->first == c->now ? f->second : f->first;
	return f->twice ? WHO_TWICE : WHO_SELF;
}

static int add_page(void *ctx, const struct pmpt_mapping *m)
{
	struct census *c = ctx;
	uint64_t page = m->va / PMPT_PAGE_BYTES, n = m->page_bytes / PMPT_PAGE_BYTES;
	unsigned flags = m->flags;
	int rc = 0;

	if (!page_in_pool(flags))
		return add(&c->all, page, n,
			   flags & PMPT_EXT   ? WHO_EXT
			   : flags & PMPT_OUT ? WHO_OUT
					      : WHO_DEMAND);
	if (!c->frame) /* by tier */
		return add(&c->all, page, n, WHO_SELF);
	for (uint64_t i = 0; i < n && m->pfn + i < c->n && !rc; i++)
		rc = add(&c->all, page + i, 1, who_of_page(c, &c->frame[m->pfn + i]));
	return rc;
}

/* A frame of the pool. */
static unsigned who_of_frame(const struct frame *f)
{
	return f->segment ? WHO_SEGMENT : f->second != NOBODY ? WHO_MANY : f->first;
}

/* More than one entry, and one space: a kind of its own where sharing is drawn. */
static int add_frames(struct census *c, enum heatmap_by by)
{
	int rc = 0;

	for (uint64_t i = 0; i < c->n && !rc; i++) {
		const struct frame *f = &c->frame[i];
		unsigned who = who_of_frame(f);

		if (f->first == NOBODY)
			continue;
		if (by != BY_OWNER && who < PMPT_SPACES_MAX)
			who = f->twice ? WHO_TWICE : WHO_SELF;
		rc = add(&c->all, i, 1, who);
	}
	return rc;
}

/* ---- kinds ----------------------------------------------------------------------------------- */

/* Okabe and Ito's palette: told apart by people of any color vision. */
#define SKY    "#56b4e9"
#define ORANGE "#e69f00"
#define GREENY "#009e73"
#define PURPLE "#cc3377"
#define GRAY   "#999999"
#define DEEP   "#0072b2"
#define RUST   "#d55e00"
#define LEMON  "#f0e442"

static unsigned kind_add(struct heatmap *map, const char *name, const char *color)
{
	map->kind[map->n_kinds] = (struct kind){ name, color, 0 };
	return map->n_kinds++;
}

/* A space's name cut to what a legend has room for, after a word. */
static const char *label(struct heatmap *map, const char *word, const char *name)
{
	size_t n = strlen(name), most = 20;
	char *to = map->label[map->n_kinds];

	while (most && n > most && ((unsigned char)name[most] & 0xc0) == 0x80)
		most--; /* not within a character */
	snprintf(to, sizeof(map->label[0]), "%s“%.*s%s”", word, (int)(n > most ? most : n), name,
		 n > most ? "…" : "");
	return to;
}

/* The kind of each who; the spaces that have most pages get colors of their own. */
static void kinds_by_owner(struct heatmap *map, struct census *c, const char *self,
			   unsigned kind[WHO_COUNT])
{
	static const char *const colors[] = { ORANGE, GREENY, PURPLE, LEMON };
	unsigned named = self ? 2 : 4, other;

	if (self)
		kind[WHO_SELF] = kind[WHO_TWICE] = kind_add(map, label(map, "only ", self), DEEP);
	for (unsigned k = 0; k < named; k++) {
		unsigned most = 0;

		for (unsigned s = 1; s < PMPT_SPACES_MAX; s++)
			most = c->all.pages[s] > c->all.pages[most] ? s : most;
		if (!c->all.pages[most])
			break;
		kind[most] =
			kind_add(map, label(map, self ? "also " : "", c->names[most]), colors[k]);
		c->all.pages[most] = 0;
	}
	other = kind_add(map, self ? "also another" : "another space", SKY);
	for (unsigned s = 0; s < PMPT_SPACES_MAX; s++)
		kind[s] = kind[s] == KINDS_MAX ? other : kind[s];
	kind[WHO_MANY] = kind_add(map, self ? "also several" : "several spaces", RUST);
	kind[WHO_SEGMENT] = kind_add(map, "segments", self ? PURPLE : DEEP);
	if (self) {
		kind[WHO_EXT] = kind[WHO_OUT] = kind[WHO_DEMAND] =
			kind_add(map, "no frame of the pool", GRAY);
	}
}

static void kinds_by_sharing(struct heatmap *map, bool frames, unsigned kind[WHO_COUNT])
{
	unsigned shared;

	kind[WHO_SELF] = kind_add(map, "one page's alone", DEEP);
	kind[WHO_TWICE] = kind_add(map, "twice in one space", LEMON);
	shared = kind_add(map, "shared by spaces", ORANGE);
	for (unsigned s = 0; s < PMPT_SPACES_MAX; s++)
		kind[s] = shared;
	kind[WHO_MANY] = shared;
	kind[WHO_SEGMENT] = kind_add(map, "segments", PURPLE);
	if (!frames) {
		kind[WHO_EXT] = kind_add(map, "external", SKY);
		kind[WHO_OUT] = kind[WHO_DEMAND] = kind_add(map, "without a frame", GRAY);
	}
}

static void kinds_by_tier(struct heatmap *map, unsigned kind[WHO_COUNT])
{
	kind[WHO_SELF] = kind_add(map, "in memory", DEEP);
	kind[WHO_EXT] = kind_add(map, "external", SKY);
	kind[WHO_OUT] = kind_add(map, "out, in the swap file", RUST);
	kind[WHO_DEMAND] = kind_add(map, "demand-zero", GRAY);
}

/* Of frames, without a wish. */
static void kinds_plain(struct heatmap *map, unsigned kind[WHO_COUNT])
{
	kind[WHO_SELF] = kind_add(map, "data", DEEP);
	kind[WHO_TWICE] = kind[WHO_MANY] = kind[WHO_SEGMENT] =
		kind_add(map, "data mapped more than once", ORANGE);
}

static const struct kind prot_kinds[] = {
	{ "read-only", SKY, 0 },          { "read-write", ORANGE, 0 }, { "executable", GREENY, 0 },
	{ "write + execute", PURPLE, 0 }, { "demand-zero", GRAY, 0 },
};

static int add_prot(void *ctx, const struct pmpt_mapping *m)
{
	struct census *c = ctx;
	unsigned kind = m->flags & PMPT_DEMAND
				? 4
				: (m->flags & PMPT_W ? 1 : 0) + (m->flags & PMPT_X ? 2 : 0);

	return add(&c->all, m->va / PMPT_PAGE_BYTES, m->page_bytes / PMPT_PAGE_BYTES, kind);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void give_kinds(struct heatmap *map, struct census *c, const char *self, enum heatmap_by by)
{
	unsigned kind[WHO_COUNT];

	for (unsigned w = 0; w < WHO_COUNT; w++)
		kind[w] = KINDS_MAX; /* none */
	if (by == BY_OWNER)
		kinds_by_owner(map, c, self, kind);
	else if (by == BY_SHARING)
		kinds_by_sharing(map, !self, kind);
	else if (by == BY_TIER)
		kinds_by_tier(map, kind);
	else if (!self)
		kinds_plain(map, kind);
	if (!map->n_kinds) { /* by permissions: the stretches have their kinds */
		map->n_kinds = sizeof(prot_kinds) / sizeof(prot_kinds[0]);
		memcpy(map->kind, prot_kinds, sizeof(prot_kinds));
		return;
	}
	for (size_t i = 0; i < c->all.n; i++)
		c->all.stretch[i].kind = kind[c->all.stretch[i].kind];
}

static int collect(struct census *c, const char *name, enum heatmap_by by)
{
	pmpt_space *space;
	int rc = pmpt_view_open(c->pool, &c->view);

	if (!rc && (!name || by == BY_OWNER || by == BY_SHARING))
		rc = take_census(c);
	if (rc || !name)
		return rc ? rc : add_frames(c, by);
	for (c->now = 0; c->now < c->n_names && strcmp(c->names[c->now], name) != 0;)
		c->now++;
	rc = pmpt_space_open(c->pool, name, &space);
	if (rc)
		return rc;
	rc = pmpt_view_walk(c->view, space, 0, 0, by == BY_PROT ? add_prot : add_page, c);
	pmpt_space_close(space);
	return rc;
}

int heatmap_color(struct heatmap *map, pmpt_pool *pool, const char *space, enum heatmap_by by)
{
	struct census c = { .pool = pool };
	int rc = space_names(pool, &c.names, &c.n_names) ? -EIO : 0;

	if (!rc)
		rc = collect(&c, space, by);
	pmpt_view_close(c.view);
	if (!rc) {
		map->frames = !space;
		give_kinds(map, &c, space, by);
		rc = heatmap_build(map, c.all.stretch, c.all.n, space ? 0 : c.n);
	}
	free(c.all.stretch);
	free(c.frame);
	names_free(c.names);
	return rc;
}
