/* SPDX-License-Identifier: BSD-3-Clause */
/* version -- see version.h. */
#include "version.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "rcu.h"
#include "vec.h"
#include "view.h"
#include "wal.h"

#define ROOM_MIN ((uint32_t)256)
#define ROOM_MAX ((uint32_t)1 << 30)

/* ---- tables ---------------------------------------------------------------------------------- */

static size_t table_bytes(uint32_t room)
{
	return sizeof(struct version_table) +
	       room * (sizeof(struct version) + sizeof(_Atomic uint32_t));
}

static _Atomic uint32_t *bucket(const struct version_table *t, uint64_t off)
{
	return &t->head[(off >> 3) * 0x9e3779b97f4a7c15ull >> t->shift];
}

static struct version_table *table_make(struct versions *vs, uint32_t room)
{
	struct version_table *t = mem_alloc(vs->mem, table_bytes(room));

	if (!t)
		return NULL;
	*t = (struct version_table){ .bytes = table_bytes(room),
				     .room = room,
				     .shift = 64 - (unsigned)__builtin_ctz(room),
				     .head = (_Atomic uint32_t *)(void *)&t->version[room] };
	memset((void *)t->head, 0, room * sizeof(*t->head));
	atomic_fetch_add(&vs->bytes, t->bytes);
	return t;
}

static void table_free(struct versions *vs, struct version_table *t)
{
	if (!t)
		return;
	atomic_fetch_sub(&vs->bytes, t->bytes);
	mem_free(vs->mem, t, t->bytes);
}

static void table_add(struct version_table *t, const struct version *v)
{
	_Atomic uint32_t *head = bucket(t, v->off);
	struct version *place = &t->version[t->n++];

	*place = (struct version){ v->off, v->lsn, v->old,
				   atomic_load_explicit(head, memory_order_relaxed) };
	atomic_store_explicit(head, t->n, memory_order_release);
}

/* The newest version of a word from a place in its chain on; NULL: none. */
static const struct version *chain_find(const struct version_table *t, uint32_t from, uint64_t off)
{
	for (; from; from = t->version[from - 1].next) {
		if (t->version[from - 1].off == off)
			return &t->version[from - 1];
	}
	return NULL;
}

uint64_t versions_find(const struct version_table *t, uint64_t off, uint64_t lsn, uint64_t home)
{
	uint32_t from = atomic_load_explicit(bucket(t, off), memory_order_acquire);
	const struct version *v;

	for (; (v = chain_find(t, from, off)) && v->lsn > lsn; from = v->next)
		home = v->old;
	return home;
}

/* Readers may be in it.  The table lock is held. */
static void table_retire(struct versions *vs, struct version_table *t)
{
	if (!t)
		return;
	t->retired = vs->retired;
	vs->retired = t;
	atomic_store_explicit(&vs->has_retired, true, memory_order_relaxed);
}

static struct version_table *retired_take(struct versions *vs)
{
	struct version_table *list = vs->retired;

	vs->retired = NULL;
	atomic_store_explicit(&vs->has_retired, false, memory_order_relaxed);
	return list;
}

static void tables_free(struct versions *vs, struct version_table *list)
{
	while (list) {
		struct version_table *t = list;

		list = t->retired;
		table_free(vs, t);
	}
}

void versions_reclaim(struct versions *vs)
{
	struct version_table *list;

	if (!versions_retired(vs) || reader_inside())
		return;
	pthread_mutex_lock(&vs->table_lock);
	list = retired_take(vs);
	pthread_mutex_unlock(&vs->table_lock);
	if (list)
		readers_wait(); /* no reader is left in them */
	tables_free(vs, list);
}

/* ---- views ----------------------------------------------------------------------------------- */

int views_lsns_take(struct versions *vs, struct view_lsns *views)
{
	pthread_mutex_lock(&vs->list_lock);
	views->n = vs->n_open;
	views->lsn = views->n ? mem_alloc(vs->mem, views->n * sizeof(*views->lsn)) : NULL;
	for (size_t i = 0; i < views->n && views->lsn; i++)
		views->lsn[i] = vs->open[i]->lsn;
	pthread_mutex_unlock(&vs->list_lock);
	if (!views->n || views->lsn)
		return 0;
	return error_set(-ENOMEM, "no memory to look at %zu views", views->n);
}

void views_lsns_free(struct versions *vs, struct view_lsns *views)
{
	if (views->lsn)
		mem_free(vs->mem, views->lsn, views->n * sizeof(*views->lsn));
}

uint64_t views_first_in(const struct view_lsns *views, uint64_t from, uint64_t below)
{
	size_t low = 0, high = views->n;

	while (low < high) { /* the first at or above from */
		size_t mid = (low + high) / 2;

		if (views->lsn[mid] < from)
			low = mid + 1;
		else
			high = mid;
	}
	return low < views->n && views->lsn[low] < below ? views->lsn[low] : NO_VIEW;
}

static bool still_wanted(const struct version_table *t, const struct version *v,
			 const struct view_lsns *w)
{
	const struct version *before = chain_find(t, v->next, v->off);

	return views_first_in(w, before ? before->lsn : 0, v->lsn) != NO_VIEW;
}

/* n of them, from the ith on, go [V4].  The list lock is held. */
static void expire_locked(struct versions *vs, size_t i, size_t n)
{
	for (size_t k = i; k < i + n; k++)
		atomic_store(&vs->open[k]->stale, true);
	if (n)
		memmove(vs->open + i, vs->open + i + n, (vs->n_open - i - n) * sizeof(*vs->open));
	vs->n_open -= n;
	vs->n_stale += n;
	atomic_fetch_sub(&vs->n_live, (uint32_t)n);
}

/* The n oldest. */
static void views_expire(struct versions *vs, size_t n)
{
	pthread_mutex_lock(&vs->list_lock);
	expire_locked(vs, 0, n < vs->n_open ? n : vs->n_open);
	pthread_mutex_unlock(&vs->list_lock);
}

void versions_expire(struct versions *vs, uint64_t lsn)
{
	size_t i = 0, n = 0;

	pthread_mutex_lock(&vs->list_lock);
	while (i < vs->n_open && vs->open[i]->lsn < lsn)
		i++;
	while (i + n < vs->n_open && vs->open[i + n]->lsn == lsn)
		n++;
	expire_locked(vs, i, n);
	pthread_mutex_unlock(&vs->list_lock);
}

/* LSN of the newest view below lsn.  False: there is none. */
static bool newest_below(struct versions *vs, uint64_t lsn, uint64_t *newest)
{
	size_t i;

	pthread_mutex_lock(&vs->list_lock);
	i = vs->n_open;
	while (i && vs->open[i - 1]->lsn >= lsn) /* they wait for who asks: there are few */
		i--;
	if (i)
		*newest = vs->open[i - 1]->lsn;
	pthread_mutex_unlock(&vs->list_lock);
	return i != 0;
}

size_t versions_views(struct versions *vs)
{
	size_t n;

	pthread_mutex_lock(&vs->list_lock);
	n = vs->n_open + vs->n_stale;
	pthread_mutex_unlock(&vs->list_lock);
	return n;
}

int versions_add(struct versions *vs, struct pmpt_view *view)
{
	int rc = vec_reserve(vs->mem, &vs->open, &vs->room_open, vs->n_open + 1, sizeof(*vs->open));

	if (!rc) {
		vs->open[vs->n_open++] = view;
		atomic_fetch_add(&vs->n_live, 1);
	}
	return rc;
}

/* With the last view all versions go, at once: only readers of a view look at them. */
static void forget_all(struct versions *vs)
{
	struct version_table *list = NULL, *t = NULL;

	if (versions_none(vs) && !versions_retired(vs))
		return;
	if (pthread_mutex_trylock(&vs->table_lock))
		return; /* who has it looks again behind it */
	pthread_mutex_lock(&vs->list_lock);
	if (!vs->n_open && !vs->n_stale) {
		t = atomic_exchange(&vs->table, NULL);
		list = retired_take(vs);
	}
	pthread_mutex_unlock(&vs->list_lock);
	pthread_mutex_unlock(&vs->table_lock);
	table_free(vs, t);
	tables_free(vs, list);
}

struct pmpt_view *versions_spare(struct versions *vs)
{
	return vs->n_spare ? vs->spare[--vs->n_spare] : NULL;
}

void versions_remove(struct versions *vs, struct pmpt_view *view)
{
	bool last, kept;

	pthread_mutex_lock(&vs->list_lock);
	if (atomic_load(&view->stale)) {
		vs->n_stale--;
	} else {
		size_t i = vs->n_open;

		while (vs->open[--i] != view)
			;
		memmove(vs->open + i, vs->open + i + 1, (vs->n_open - i - 1) * sizeof(*vs->open));
		vs->n_open--;
		atomic_fetch_sub(&vs->n_live, 1);
	}
	last = !vs->n_open && !vs->n_stale;
	kept = vs->n_spare < VIEWS_SPARE;
	if (kept)
		vs->spare[vs->n_spare++] = view;
	pthread_mutex_unlock(&vs->list_lock);
	if (!kept)
		mem_free(vs->mem, view, sizeof(*view));
	if (last)
		forget_all(vs);
}

/* ---- notes ----------------------------------------------------------------------------------- */

/* Room for n versions and as many again, or for fewer more; 0: the limit has not even room for
 * those. */
static uint32_t room_for(const struct versions *vs, uint32_t n)
{
	uint64_t used = atomic_load(&vs->bytes);
	uint32_t room = ROOM_MIN;

	while (room < 2 * (uint64_t)n && room < ROOM_MAX)
		room *= 2;
	while (room > ROOM_MIN && used + table_bytes(room) > vs->limit)
		room /= 2;
	/* a quarter of it free at least, or it would be full again at once */
	return room - room / 4 >= n && used + table_bytes(room) <= vs->limit ? room : 0;
}

/* Move what is wanted to a table with room for more.  False: the limit, or the memory, has none. */
static bool table_renew(struct versions *vs, const struct view_lsns *w)
{
	struct version_table *old = atomic_load(&vs->table), *new;
	uint32_t n = 0, room;

	for (uint32_t i = 0; old && i < old->n; i++)
		n += still_wanted(old, &old->version[i], w);
	room = room_for(vs, n);
	new = room ? table_make(vs, room) : NULL;
	if (!new)
		return false;
	for (uint32_t i = 0; old && i < old->n; i++) {
		if (still_wanted(old, &old->version[i], w))
			table_add(new, &old->version[i]);
	}
	atomic_store_explicit(&vs->table, new, memory_order_release);
	table_retire(vs, old);
	return true;
}

/* Make room for a version more; views become stale until there is.  False: all have. */
static bool room_make(struct versions *vs)
{
	for (;;) {
		struct view_lsns w;
		bool known = !views_lsns_take(vs, &w), done = known && w.n && table_renew(vs, &w);
		size_t n = w.n;

		views_lsns_free(vs, &w);
		if (done)
			return true;
		if (!n)
			break;
		views_expire(vs, known ? 1 : n);
	}
	table_retire(vs, atomic_exchange(&vs->table, NULL));
	return false;
}

void versions_save(struct versions *vs, const struct wal_word *word, size_t n, uint64_t lsn)
{
	uint64_t newest;

	if (!rule_on(RULE_VIEW_SAVE) || !newest_below(vs, lsn, &newest))
		return;
	pthread_mutex_lock(&vs->table_lock);
	for (size_t i = 0; i < n; i++) {
		struct version_table *t = atomic_load(&vs->table);
		uint64_t off = WHERE_OFF(word[i].where);
		const struct version *before =
			t ? chain_find(t, atomic_load(bucket(t, off)), off) : NULL;

		if (before && before->lsn > newest)
			continue; /* no view between that one and this */
		if (!t || t->n == t->room) {
			if (!room_make(vs) || !newest_below(vs, lsn, &newest))
				break;
			t = atomic_load(&vs->table);
		}
		table_add(t, &(struct version){ off, lsn, word_load(region_at(vs->rg, off)), 0 });
	}
	pthread_mutex_unlock(&vs->table_lock);
	if (!versions_wanted(vs))
		forget_all(vs); /* the last view was closed meanwhile */
}

bool versions_limited(struct versions *vs)
{
	bool limited;

	pthread_mutex_lock(&vs->table_lock);
	limited = vs->limit != UINT64_MAX;
	pthread_mutex_unlock(&vs->table_lock);
	return limited;
}

void versions_limit(struct versions *vs, uint64_t bytes)
{
	pthread_mutex_lock(&vs->table_lock);
	vs->limit = bytes;
	if (!versions_none(vs) && atomic_load(&vs->bytes) > bytes)
		(void)room_make(vs);
	pthread_mutex_unlock(&vs->table_lock);
	versions_reclaim(vs);
}

/* ---- open and close -------------------------------------------------------------------------- */

void versions_open(struct versions *vs, const struct region *rg, struct mem *mem)
{
	pthread_mutexattr_t short_waits;

	vs->rg = rg;
	vs->mem = mem;
	vs->limit = PMPT_VIEW_BYTES;
	pthread_mutex_init(&vs->table_lock, NULL);
	/* who has it gives it back sooner than the kernel puts a thread to sleep */
	pthread_mutexattr_init(&short_waits);
	pthread_mutexattr_settype(&short_waits, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&vs->list_lock, &short_waits);
	pthread_mutexattr_destroy(&short_waits);
}

void versions_close(struct versions *vs)
{
	table_free(vs, atomic_exchange(&vs->table, NULL));
	tables_free(vs, retired_take(vs));
	mem_free(vs->mem, vs->open, vs->room_open * sizeof(*vs->open));
	vs->open = NULL;
	for (struct pmpt_view *view; (view = versions_spare(vs));)
		mem_free(vs->mem, view, sizeof(*view));
	pthread_mutex_destroy(&vs->table_lock);
	pthread_mutex_destroy(&vs->list_lock);
}
