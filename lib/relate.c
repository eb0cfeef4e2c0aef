/* SPDX-License-Identifier: BSD-3-Clause */
/* relate -- what spaces have in common: the difference of two, and how much of one is its own alone.
 *
 * Relatives share whole subtrees: where two links name one table, nothing below differs, and nothing
 * below is looked at.
 * The difference is found table by table, each in a short reader section, as in pmpt_walk; the census
 * is one section: grace periods wait for it.
 */
#include <string.h>

#include "error.h"
#include "rcu.h"
#include "space.h"
#include "table.h"
#include "view.h"

/* ---- difference ------------------------------------------------------------------------------ */

struct side { /* one of the two, in the walk down to an address */
	const struct pmpt_view *view;
	const struct pmpt_space *space;
	const pm_word *table; /* NULL: none at this level */
	uint64_t huge;        /* then: the leaf that spans it, or 0 */
	uint64_t above;
};

struct differences { /* found in one reader section */
	unsigned n;
	uint64_t next; /* first address behind them */
	unsigned level;
	struct {
		uint64_t va, entry[2], above[2];
	} at[FRAME_WORDS];
};

static uint64_t side_entry(const struct side *s, uint64_t va, unsigned level)
{
	unsigned i = level_index(va, level);

	if (s->table)
		return view_load(s->view, &s->table[i]);
	if (!s->huge)
		return 0;
	if (!(s->huge & ENTRY_P)) /* a reservation: all alike */
		return s->huge;
	return (level == 1 ? s->huge & ~ENTRY_PS : s->huge) + i * level_bytes(level);
}

static int side_down(struct side *s, uint64_t entry, unsigned level)
{
	const struct region *rg = s->space->pool->rg;

	s->huge = entry_is_page(entry, level) ? entry : 0;
	s->table = NULL;
	if (!entry_is_table(entry, level))
		return 0;
	if ((entry & ENTRY_PFN) >= rg->bytes)
		return error_set(PMPT_E_CORRUPT, "entry %#lx links a table outside the pool",
				 entry);
	s->above = above_add(s->above, entry);
	s->table = region_at(rg, entry & ENTRY_PFN);
	return 0;
}

/* The same page, or the same subtree, with the same permissions. */
static bool same(uint64_t a, uint64_t b)
{
	return !((entry_unshare(a) ^ entry_unshare(b)) & ~ENTRY_AD);
}

/* And what the links above allow: those to a segment's tables are not alike. */
static bool same_rights(const struct side s[2], const uint64_t e[2])
{
	return !e[0] || !((above_add(s[0].above, e[0]) ^ above_add(s[1].above, e[1])) &
			  (ENTRY_W | ENTRY_U | ENTRY_NX));
}

/* What differs in the tables of the lowest level over va where something does. */
static int differences_collect(const struct pmpt_view *view,
			       const struct pmpt_space *const space[2], uint64_t va,
			       struct differences *d)
{
	struct side s[2];
	uint64_t e[2];
	int rc = 0;

	for (unsigned k = 0; k < 2; k++)
		s[k] = (struct side){ view, space[k], space[k]->root, 0, ABOVE_ALL };
	d->n = 0;
	d->next = VA_END;
	for (d->level = 4;; d->level--) {
		for (unsigned k = 0; k < 2; k++)
			e[k] = side_entry(&s[k], va, d->level);
		if (same(e[0], e[1]) ||
		    !(entry_is_table(e[0], d->level) || entry_is_table(e[1], d->level)))
			break;
		for (unsigned k = 0; k < 2 && !rc; k++)
			rc = side_down(&s[k], e[k], d->level);
		if (rc)
			return rc;
	}
	for (unsigned i = level_index(va, d->level); i < FRAME_WORDS; i++) {
		for (unsigned k = 0; k < 2; k++)
			e[k] = side_entry(&s[k], va, d->level);
		if (!same(e[0], e[1]) || !same_rights(s, e)) {
			if (entry_is_table(e[0], d->level) || entry_is_table(e[1], d->level))
				break; /* further down, next time */
			d->at[d->n].va = va;
			for (unsigned k = 0; k < 2; k++) {
				d->at[d->n].entry[k] = e[k];
				d->at[d->n].above[k] = s[k].above;
			}
			d->n++;
		}
		va = (va | (level_bytes(d->level) - 1)) + 1;
	}
	d->next = va;
	return 0;
}

static void change_decode(const struct differences *d, unsigned i, struct pmpt_change *change)
{
	struct pmpt_mapping *m[2] = { &change->a, &change->b };

	memset(change, 0, sizeof(*change));
	change->va = va_sign(d->at[i].va);
	change->page_bytes = level_bytes(d->level);
	for (unsigned k = 0; k < 2; k++) {
		if (entry_is_page(d->at[i].entry[k], d->level))
			leaf_decode(d->at[i].entry[k], d->at[i].above[k], d->level, d->at[i].va,
				    m[k]);
	}
}

int pmpt_diff(const pmpt_view *view, const pmpt_space *a, const pmpt_space *b,
	      int (*fn)(void *ctx, const struct pmpt_change *change), void *ctx)
{
	const struct pmpt_space *const space[2] = { a, b };
	struct differences d = { 0 };
	uint64_t va = 0;

	if (a->pool != b->pool)
		return error_set(-EINVAL, "the spaces are of two pools");
	for (unsigned k = 0; k < 2; k++) {
		int rc = view_enter(view, space[k]);

		if (rc)
			return rc;
	}
	while (va < VA_END) {
		int rc = 0;

		reader_begin();
		for (unsigned k = 0; k < 2 && !rc; k++)
			rc = view_space(view, space[k]);
		if (!rc)
			rc = differences_collect(view, space, va, &d);
		for (unsigned k = 0; k < 2 && !rc; k++)
			rc = view_hidden(view, space[k], va, d.next);
		if (!rc)
			rc = view_stale(view);
		reader_end();
		for (unsigned i = 0; i < d.n && !rc; i++) {
			struct pmpt_change change;

			change_decode(&d, i, &change);
			rc = fn(ctx, &change);
		}
		if (rc)
			return rc;
		va = d.next;
	}
	return 0;
}

/* ---- how much is its own --------------------------------------------------------------------- */

struct census {
	const struct pmpt_space *space;
	struct pmpt_space_info *info;
};

static uint64_t refs(const struct pmpt_space *space, uint64_t pfn)
{
	const pm_word *desc = frames_desc(&space->pool->frames, pfn);

	return desc ? desc_count(word_load(desc)) : 0;
}

/* own: every table above it is this space's alone. */
static void count_leaf(const struct census *c, uint64_t entry, unsigned level, bool own)
{
	struct pmpt_space_info *info = c->info;
	uint64_t bytes = level_bytes(level);

	info->mapped_bytes += bytes;
	if (entry & ENTRY_EXT) {
		info->ext_bytes += bytes;
		return;
	}
	for (uint64_t i = 0; i < bytes >> FRAME_SHIFT; i++) {
		if (own && refs(c->space, entry_pfn(entry) + i) == 1)
			info->own_bytes += FRAME_BYTES;
		else
			info->shared_bytes += FRAME_BYTES;
	}
}

static int count_table(const struct census *c, const pm_word *table, unsigned level, bool own)
{
	const struct region *rg = c->space->pool->rg;
	int rc = 0;

	c->info->tables++;
	c->info->tables_shared += !own;
	for (unsigned i = 0; i < FRAME_WORDS && !rc; i++) {
		uint64_t entry = word_load(&table[i]);

		if (entry_is_leaf(entry, level))
			count_leaf(c, entry, level, own);
		if (entry_is_out(entry))
			c->info->out_bytes += level_bytes(level);
		if (!entry_is_table(entry, level))
			continue;
		if ((entry & ENTRY_PFN) >= rg->bytes)
			return error_set(PMPT_E_CORRUPT,
					 "entry %#lx links a table outside the pool", entry);
		rc = count_table(c, region_at(rg, entry & ENTRY_PFN), level - 1,
				 own && refs(c->space, entry_pfn(entry)) == 1);
	}
	return rc;
}

int pmpt_space_info(const pmpt_space *space, struct pmpt_space_info *info)
{
	struct pmpt_space_info found = { .snapshot = space->snapshot };
	struct census c = { space, &found };
	int rc = pool_ours(space->pool);

	if (rc)
		return rc;
	reader_begin();
	rc = count_table(&c, space->root, 4, true);
	reader_end();
	if (!rc)
		*info = found;
	return rc;
}
