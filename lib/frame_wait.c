/* SPDX-License-Identifier: BSD-3-Clause */
/* frame_wait -- frames that were freed, until they may be used again: a grace period of the readers, a
 * checkpoint that covers a table's free [F2], and the read views that may see them. */
#include <string.h>

#include "error.h"
#include "frame.h"
#include "rcu.h"

#define RECLAIM_AT  4096 /* waiting frames that are worth a grace period */
#define HELD_FRAMES 1024 /* in a batch that is held */

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
	joined = to && to->room - to->n >= w->n;
	if (joined) {
		memcpy(to->frame + to->n, w->frame, w->n * sizeof(w->frame[0]));
		to->n += w->n;
		to->lsn = lsn > to->lsn ? lsn : to->lsn; /* the older wait longer than they must */
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
	w->lsn = lsn;
	pthread_mutex_lock(&fr->lock);
	wait_on(fr, w);
	pthread_mutex_unlock(&fr->lock);
}

/* Free what a grace period and the checkpoint allow of one batch; what has to wait on stays
 * in it. */
static void waiting_settle(struct frames *fr, struct waiting *w)
{
	/* [F2] */
	bool covered = w->lsn <= wal_checkpointed(fr->wal) || !rule_on(RULE_F2_TABLE_WAIT);
	size_t kept = 0;

	for (size_t i = 0; i < w->n; i++) {
		if ((w->frame[i] & 1) && !covered)
			w->frame[kept++] = w->frame[i];
		else
			frames_give_locked(fr, w->frame[i] >> 1, 1);
	}
	w->n = kept;
}

/* Its frames go to a batch that is held, with room for many: eight bytes each and not their own batch
 * for ever.  False: no memory for another one. */
static bool hold_together(struct frames *fr, struct waiting *w)
{
	struct waiting *to = fr->held;

	if (w->n > HELD_FRAMES / 2)
		return false;
	if (!to || to->room < HELD_FRAMES || to->room - to->n < w->n) {
		to = frames_wait_alloc(fr, HELD_FRAMES);
		if (!to)
			return false;
		to->next = fr->held;
		fr->held = to;
	}
	memcpy(to->frame + to->n, w->frame, w->n * sizeof(w->frame[0]));
	to->n += w->n;
	to->lsn = to->lsn > w->lsn ? to->lsn : w->lsn; /* the later ones decide for all */
	waiting_free(fr, w);
	return true;
}

/* A view older than its free is open [V3]. */
static void hold(struct frames *fr, struct waiting *w)
{
	if (!fr->held || w->lsn < fr->held_lsn)
		fr->held_lsn = w->lsn;
	fr->n_held += w->n;
	if (hold_together(fr, w))
		return;
	w->next = fr->held;
	fr->held = w;
}

/* What is held and no view needs any more goes to the list. */
static void held_release(struct frames *fr, uint64_t oldest, struct waiting **list)
{
	struct waiting *held = fr->held;

	if (!held || fr->held_lsn > oldest)
		return;
	fr->held = NULL;
	fr->n_held = 0;
	while (held) {
		struct waiting *w = held, **to = w->lsn > oldest ? &fr->held : list;

		held = w->next;
		if (w->lsn > oldest) {
			fr->held_lsn = fr->held && fr->held_lsn < w->lsn ? fr->held_lsn : w->lsn;
			fr->n_held += w->n;
		}
		w->next = *to;
		*to = w;
	}
}

static int reclaim_locked(struct frames *fr, bool all)
{
	struct waiting *list = NULL;
	uint64_t oldest;
	int rc = 0;

	pthread_mutex_lock(&fr->lock);
	if (all || fr->n_waiting >= RECLAIM_AT) {
		list = fr->waiting;
		fr->waiting = NULL;
		fr->n_waiting = 0;
	}
	pthread_mutex_unlock(&fr->lock);
	/* behind the look at what waits: a view that opens later sees all that freed it [V3] */
	oldest = rule_on(RULE_VIEW_FRAMES) ? versions_oldest(&fr->wal->versions) : UINT64_MAX;
	if (all || list)
		held_release(fr, oldest, &list);
	if (!list)
		return 0;
	if (all)
		rc = wal_checkpoint(fr->wal);
	readers_wait(); /* no reader is left that found a way to them, nor one of a stale view */
	pthread_mutex_lock(&fr->lock);
	while (list) {
		struct waiting *w = list;

		list = w->next;
		if (w->lsn > oldest) {
			hold(fr, w);
			continue;
		}
		waiting_settle(fr, w);
		if (w->n)
			wait_on(fr, w);
		else
			waiting_free(fr, w);
	}
	pthread_mutex_unlock(&fr->lock);
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

void frames_wait_end(struct frames *fr)
{
	held_release(fr, UINT64_MAX, &fr->waiting);
	while (fr->waiting) {
		struct waiting *w = fr->waiting;

		fr->waiting = w->next;
		waiting_free(fr, w);
	}
}
