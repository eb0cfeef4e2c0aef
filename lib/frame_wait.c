/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_wait -- frames that were freed, until they may be used again: a grace period of the readers, a
 * checkpoint that covers a table's free [F2], and the read views that may see them. */
#include <string.h>

#include "error.h"
#include "frame.h"
#include "rcu.h"

#define RECLAIM_AT  4096 /* waiting frames that are worth a grace period */
#define HELD_FRAMES 256  /* in a batch that a view holds */

struct waiting *frames_wait_alloc(struct frames *fr, size_t room)
{
	struct waiting *w = mem_alloc(fr->mem, sizeof(*w) + room * sizeof(w->frame[0]));

	if (w)
		*w = (struct waiting){ .room = room };
	return w;
}

static void waiting_free(struct frames *fr, struct waiting *w)
{
	mem_free(fr->mem, w, sizeof(*w) + w->room * sizeof(w->frame[0]));
}

void frames_wait_free(struct frames *fr, struct waiting *w)
{
	if (w)
		waiting_free(fr, w);
}

bool frames_wait_join(struct frames *fr, struct waiting *w, uint64_t lsn)
{
	struct waiting *to;
	bool joined;

	pthread_mutex_lock(&fr->lock);
	to = fr->waiting;
	joined = to && to->room - to->n >= w->n &&
		 !versions_after(&fr->wal->versions,
				 to->first); /* it would hold what it does not see */
	if (joined) {
		memcpy(to->frame + to->n, w->frame, w->n * sizeof(w->frame[0]));
		to->n += w->n;
		to->lsn = lsn > to->lsn ? lsn : to->lsn; /* the older wait longer than they must */
		to->first = lsn < to->first ? lsn : to->first;
		fr->n_waiting += w->n;
		w->n = 0;
	}
	pthread_mutex_unlock(&fr->lock);
	return joined;
}

static void wait_on(struct frames *fr, struct waiting *w)
{
	w->next = fr->waiting;
	fr->waiting = w;
	fr->n_waiting += w->n;
}

void frames_wait(struct frames *fr, struct waiting *w, uint64_t lsn)
{
	if (!w->n) {
		waiting_free(fr, w);
		return;
	}
	w->lsn = w->first = lsn;
	pthread_mutex_lock(&fr->lock);
	wait_on(fr, w);
	pthread_mutex_unlock(&fr->lock);
}

/* ---- what views see -------------------------------------------------------------------------- */

void frames_born(struct frames *fr, uint64_t pfn, uint64_t n)
{
	/* A transaction that puts the frames to use draws this LSN or a later one, and a view that is
	 * open by now has a lower one, or draws its own later.  Where no view is open all that open
	 * later see the frames: what an earlier use left is low enough. */
	uint64_t lsn = versions_wanted(&fr->wal->versions) ? atomic_load(&fr->wal->next) : 0;

	for (; n && lsn; n--, pfn++) {
		struct group *g = frames_group_known(fr, pfn);

		if (!g->born)
			g->born = mem_zalloc(fr->mem, GROUP_FRAMES * sizeof(*g->born));
		if (g->born) /* else as if it had always been there */
			g->born[pfn % GROUP_FRAMES] = lsn;
	}
}

static uint64_t born(const struct frames *fr, uint64_t pfn)
{
	const struct group *g = frames_group_known(fr, pfn);

	return g->born ? g->born[pfn % GROUP_FRAMES] : 0;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Has it room for what waits in w and this view holds?  Not where another view lies between the frees: it
 * would seem to see them all. */
static bool holds_alike(const struct waiting *to, const struct waiting *w, uint64_t holder,
			const struct view_lsns *views)
{
	return to->holder == holder && to->n < to->room &&
	       views_first_in(views, least(to->first, w->first), most(to->lsn, w->lsn)) == NO_VIEW;
}

/* One of its frames: eight bytes, and not its own batch for ever.  False: no memory. */
static bool hold(struct frames *fr, const struct waiting *w, uint64_t frame, uint64_t holder,
		 const struct view_lsns *views)
{
	struct waiting **at = &fr->held, *to;

	while (*at && !holds_alike(*at, w, holder, views))
		at = &(*at)->next;
	to = *at;
	if (to) {
		*at = to->next;
	} else {
		to = frames_wait_alloc(fr, HELD_FRAMES);
		if (!to)
			return false;
		to->holder = holder;
		to->first = w->first;
	}
	to->next = fr->held; /* the next frame goes there, too, as a rule */
	fr->held = to;
	to->frame[to->n++] = frame;
	to->lsn = most(to->lsn, w->lsn);
	to->first = least(to->first, w->first);
	fr->n_held++;
	return true;
}

/* What is held for a view that is not open any more goes to the list. */
static void held_release(struct frames *fr, const struct view_lsns *views, struct waiting **list)
{
	struct waiting **at = &fr->held;

	pthread_mutex_lock(&fr->lock);
	while (*at) {
		struct waiting *w = *at;

		if (views_first_in(views, w->holder, w->holder + 1) == w->holder) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = *list;
		*list = w;
		fr->n_held -= w->n;
	}
	pthread_mutex_unlock(&fr->lock);
}

/* n frames in a row, free or held, in the groups of one extent.  In `free` a bit is set for each. */
static bool row_of(const uint64_t *free, const struct extent *e, uint64_t n, uint64_t align)
{
	uint64_t row = 0;

	for (uint64_t pfn = e->first; pfn < e->first + e->frames; pfn++) {
		bool starts = n > GROUP_FRAMES || align > 1 ? pfn % GROUP_FRAMES == 0
							    : true; /* see frames_take() */

		if (n <= GROUP_FRAMES && pfn % GROUP_FRAMES == 0)
			row = 0; /* inside one group */
		if (!(free[pfn / 64] >> pfn % 64 & 1))
			row = 0;
		else if (row || starts)
			row++;
		if (row == n)
			return true;
	}
	return false;
}

/* Would n in a row be had if no view held any?  Both locks are held. */
static bool row_in_views(struct frames *fr, uint64_t n, uint64_t align)
{
	size_t bytes = fr->n_groups * GROUP_FRAMES / 8;
	uint64_t *free = n > 1 ? mem_zalloc(fr->mem, bytes) : NULL;
	bool found = n == 1;

	for (uint64_t i = 0; free && i < fr->n_groups; i++) {
		const struct group *g = atomic_load(&fr->group[i]);

		if (g)
			memcpy(&free[i * GROUP_FRAMES / 64], g->free, sizeof(g->free));
	}
	for (const struct waiting *w = fr->held; free && w; w = w->next) {
		for (size_t i = 0; i < w->n; i++) {
			uint64_t pfn = w->frame[i] >> 1;

			if (pfn < SLOT_FIRST)
				free[pfn / 64] |= (uint64_t)1 << pfn % 64;
		}
	}
	for (size_t i = 0; free && i < fr->extents.n && !found; i++)
		found = row_of(free, &fr->extents.extent[i], n, align);
	mem_free(fr->mem, free, bytes);
	return found;
}

bool frames_views_expire(struct frames *fr, uint64_t n, uint64_t align)
{
	uint64_t oldest = NO_VIEW;

	if (!versions_limited(&fr->wal->versions))
		return false;
	pthread_mutex_lock(&fr->reclaim);
	pthread_mutex_lock(&fr->lock);
	for (const struct waiting *w = fr->held; w; w = w->next)
		oldest = least(oldest, w->holder);
	if (oldest != NO_VIEW && !row_in_views(fr, n, align))
		oldest = NO_VIEW;
	pthread_mutex_unlock(&fr->lock);
	pthread_mutex_unlock(&fr->reclaim);
	if (oldest == NO_VIEW)
		return false;
	versions_expire(&fr->wal->versions, oldest);
	return true;
}

/* ---- reclaim --------------------------------------------------------------------------------- */

/* Free what a grace period, the checkpoint and the views allow of one batch; what has to wait on stays
 * in it. */
static void waiting_settle(struct frames *fr, struct waiting *w, const struct view_lsns *views)
{
	/* [F2] */
	bool covered = w->lsn <= wal_checkpointed(fr->wal) || !rule_on(RULE_F2_TABLE_WAIT);
	size_t kept = 0;

	for (size_t i = 0; i < w->n; i++) {
		uint64_t pfn = w->frame[i] >> 1, holder = NO_VIEW;

		if (views->n)
			holder = views_first_in(views, born(fr, pfn), w->lsn); /* [V3] */
		if (holder != NO_VIEW && hold(fr, w, w->frame[i], holder, views))
			continue;
		if (holder != NO_VIEW || ((w->frame[i] & 1) && !covered))
			w->frame[kept++] = w->frame[i];
		else
			frames_give_locked(fr, pfn, 1);
	}
	w->n = kept;
}

static struct waiting *waiting_take(struct frames *fr, bool all)
{
	struct waiting *list = NULL;

	pthread_mutex_lock(&fr->lock);
	if (all || fr->n_waiting >= RECLAIM_AT) {
		list = fr->waiting;
		fr->waiting = NULL;
		fr->n_waiting = 0;
	}
	pthread_mutex_unlock(&fr->lock);
	return list;
}

/* Back to those that wait, each batch with what is left in it. */
static void waiting_put(struct frames *fr, struct waiting *list)
{
	while (list) {
		struct waiting *w = list;

		list = w->next;
		if (w->n)
			wait_on(fr, w);
		else
			waiting_free(fr, w);
	}
}

static int reclaim_locked(struct frames *fr, bool all)
{
	struct waiting *list = waiting_take(fr, all);
	struct view_lsns views = { 0 };
	int rc = 0;

	if (!list && !all)
		return 0;
	/* behind the look at what waits: a view that opens later sees all that freed it [V3] */
	if (rule_on(RULE_VIEW_FRAMES))
		rc = views_lsns_take(&fr->wal->versions, &views);
	if (!rc)
		held_release(fr, &views, &list);
	if (!rc && list) {
		if (all)
			rc = wal_checkpoint(fr->wal);
		readers_wait(); /* no reader is left that found a way to them, nor one of a stale view */
		pthread_mutex_lock(&fr->lock);
		for (struct waiting *w = list; w; w = w->next)
			waiting_settle(fr, w, &views);
		pthread_mutex_unlock(&fr->lock);
	}
	pthread_mutex_lock(&fr->lock);
	waiting_put(fr, list);
	pthread_mutex_unlock(&fr->lock);
	views_lsns_free(&fr->wal->versions, &views);
	return rc;
}

int frames_reclaim(struct frames *fr, bool all)
{
	int rc;

	if (!all && atomic_load_explicit(&fr->n_waiting, memory_order_relaxed) < RECLAIM_AT)
		return 0;
	pthread_mutex_lock(&fr->reclaim);
	rc = reclaim_locked(fr, all);
	pthread_mutex_unlock(&fr->reclaim);
	return rc;
}

static void list_free(struct frames *fr, struct waiting **list)
{
	while (*list) {
		struct waiting *w = *list;

		*list = w->next;
		waiting_free(fr, w);
	}
}

void frames_wait_end(struct frames *fr)
{
	list_free(fr, &fr->waiting);
	list_free(fr, &fr->held);
}
