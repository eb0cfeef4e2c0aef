/* SPDX-License-Identifier: BSD-3-Clause */
/* frame -- see frame.h. */
#include "frame.h"

#include <string.h>

#include "error.h"
#include "rcu.h"

/* ---- groups ---------------------------------------------------------------------------------- */

pm_word *frames_desc(struct frames *fr, uint64_t pfn)
{
	struct group *g = frames_group(fr, pfn);

	return g && pfn % GROUP_FRAMES < g->n_frames ? &g->desc[pfn % GROUP_FRAMES] : NULL;
}

int frames_desc_none(struct frames *fr, uint64_t pfn)
{
	bool ours;

	pthread_mutex_lock(&fr->lock);
	ours = extents_find(&fr->extents, pfn) != NULL;
	pthread_mutex_unlock(&fr->lock);
	return ours ? error_set(-ENOMEM, "no memory for the index of frame %#lx", pfn)
		    : error_set(PMPT_E_FRAME, "frame %#lx is not the pool's", pfn);
}

uint64_t frames_pfn_of_desc(struct frames *fr, uint64_t where)
{
	uint64_t off = WHERE_OFF(where), first;

	if (swap_area_has(&fr->slots.area, off, off + sizeof(pm_word)))
		return SLOT_FIRST + (off - swap_area_descs(&fr->slots.area)) / sizeof(pm_word);
	first = frames_group(fr, off >> FRAME_SHIFT)->extent;
	return first + (off - ((first + 1) << FRAME_SHIFT)) / sizeof(pm_word);
}

/* desc: of its first frame; left: frames from that one on. */
static void group_fill(struct group *g, pm_word *desc, uint64_t left)
{
	g->desc = desc;
	g->n_frames = (uint32_t)(left < GROUP_FRAMES ? left : GROUP_FRAMES);
	for (unsigned i = 0; i < g->n_frames; i++) {
		if (!desc_count(word_load(&g->desc[i]))) {
			g->free[i / 64] |= (uint64_t)1 << i % 64;
			g->n_free++;
		}
	}
}

static bool is_slot(uint64_t pfn) { return pfn >= SLOT_FIRST; }

static void group_free(struct frames *fr, struct group *g)
{
	if (g && g->born)
		mem_free(fr->mem, g->born, GROUP_FRAMES * sizeof(*g->born));
	mem_free(fr->mem, g, sizeof(*g));
}

/* Where the group of a frame or slot is noted; NULL: there is no such. */
static _Atomic(struct group *) *group_at(const struct frames *fr, uint64_t index)
{
	uint64_t slots = SLOT_FIRST / GROUP_FRAMES;

	if (index < slots)
		return index < fr->n_groups ? &fr->group[index] : NULL;
	return index - slots < fr->slots.n_groups ? &fr->slots.group[index - slots] : NULL;
}

/* The group, read from its descriptors when it was not before; fr->lock is held. */
static struct group *group_locked(struct frames *fr, uint64_t index)
{
	uint64_t first = index * GROUP_FRAMES;
	struct group *g = atomic_load_explicit(group_at(fr, index), memory_order_relaxed);
	const struct extent *e = g || is_slot(first) ? NULL : extents_find(&fr->extents, first);

	if (g || (!e && !is_slot(first)))
		return g;
	g = mem_zalloc(fr->mem, sizeof(*g));
	if (!g)
		return NULL;
	if (e) {
		g->extent = e->first;
		group_fill(g, region_at(fr->rg, extent_desc_off(e, first)),
			   e->first + e->frames - first);
		fr->n_free += g->n_free;
		fr->n_low += index < fr->top ? g->n_free : 0;
	} else {
		g->extent = SLOT_FIRST;
		group_fill(g,
			   (pm_word *)region_at(fr->rg, swap_area_descs(&fr->slots.area)) +
				   (first - SLOT_FIRST),
			   fr->slots.area.slots - (first - SLOT_FIRST));
	}
	atomic_store_explicit(group_at(fr, index), g, memory_order_release);
	return g;
}

struct group *frames_group_known(const struct frames *fr, uint64_t pfn)
{
	return atomic_load_explicit(group_at(fr, pfn / GROUP_FRAMES), memory_order_acquire);
}

struct group *frames_group(struct frames *fr, uint64_t pfn)
{
	uint64_t index = pfn / GROUP_FRAMES;
	_Atomic(struct group *) *at = group_at(fr, index);
	struct group *g;

	if (!at)
		return NULL;
	g = atomic_load_explicit(at, memory_order_acquire);
	if (g)
		return g;
	pthread_mutex_lock(&fr->lock);
	g = group_locked(fr, index);
	pthread_mutex_unlock(&fr->lock);
	return g;
}

int frames_own(struct frames *fr, uint64_t pfn, uint16_t id, bool *taken)
{
	struct group *g = frames_group(fr, pfn);
	uint16_t none = 0;

	*taken = false;
	if (!g)
		return frames_desc_none(fr, pfn);
	if (atomic_load_explicit(&g->owner[pfn % GROUP_FRAMES], memory_order_relaxed) == id)
		return 0;
	if (atomic_compare_exchange_strong_explicit(&g->owner[pfn % GROUP_FRAMES], &none, id,
						    memory_order_acquire, memory_order_relaxed)) {
		*taken = true;
		return 0;
	}
	return none == id ? 0 : PMPT_E_CONFLICT;
}

void frames_disown(struct frames *fr, uint64_t pfn)
{
	struct group *g = frames_group_known(fr, pfn);

	atomic_store_explicit(&g->owner[pfn % GROUP_FRAMES], 0, memory_order_release);
}

/* ---- reserve --------------------------------------------------------------------------------- */

static void bits_clear(struct group *g, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++)
		g->free[i / 64] &= ~((uint64_t)1 << i % 64);
	g->n_free -= n;
}

/* n frames of a group come to be free, or fewer than 0 not. */
static void free_count(struct frames *fr, uint64_t group, int64_t n)
{
	fr->n_free += (uint64_t)n;
	if (group < fr->top)
		fr->n_low += (uint64_t)n;
}

/* A group for single frames: it and those before it are used again before others. */
static void top_raise(struct frames *fr, uint64_t group)
{
	for (; fr->top <= group; fr->top++) {
		const struct group *g = group_locked(fr, fr->top);

		fr->n_low += g ? g->n_free : 0;
	}
}

/* Frames that were used are used again as long as half of them are free, before frames that never were:
 * those cost a fault each, and on a sparse file a block.  Half, so that there are runs of them. */
static void cursor_turn(struct frames *fr, uint64_t *cursor)
{
	const struct group *g = group_locked(fr, *cursor);

	if (*cursor + 1 >= fr->top && !(g && g->n_free) && 2 * fr->n_low >= fr->top * GROUP_FRAMES)
		*cursor = 0;
}

/* n free frames in a row inside the group: the first, or GROUP_FRAMES. */
static unsigned bits_run(const struct group *g, unsigned n)
{
	unsigned run = 0;

	if (g->n_free < n)
		return GROUP_FRAMES;
	for (unsigned i = 0; n == 1; i++) {
		if (g->free[i]) /* one of them is not 0 */
			return i * 64 + (unsigned)__builtin_ctzll(g->free[i]);
	}
	for (unsigned i = 0; i < GROUP_FRAMES; i++) {
		if (!(i % 64) && !g->free[i / 64]) {
			run = 0;
			i += 63;
			continue;
		}
		run = g->free[i / 64] >> i % 64 & 1 ? run + 1 : 0;
		if (run == n)
			return i + 1 - n;
	}
	return GROUP_FRAMES;
}

/* Whole free groups, one behind the other in one extent, for n > GROUP_FRAMES or an aligned run. */
static bool take_groups(struct frames *fr, const struct extent *e, uint64_t n, uint64_t *pfn)
{
	uint64_t need = (n + GROUP_FRAMES - 1) / GROUP_FRAMES, run = 0;

	for (uint64_t at = e->first / GROUP_FRAMES; at < (e->first + e->frames) / GROUP_FRAMES;
	     at++) {
		struct group *g = group_locked(fr, at);

		run = g && g->n_free == GROUP_FRAMES ? run + 1 : 0;
		if (run < need)
			continue;
		*pfn = (at + 1 - need) * GROUP_FRAMES;
		for (uint64_t i = 0; i < need; i++) {
			uint64_t rest = n - i * GROUP_FRAMES;

			rest = rest < GROUP_FRAMES ? rest : GROUP_FRAMES;
			bits_clear(group_locked(fr, *pfn / GROUP_FRAMES + i), 0, (unsigned)rest);
			free_count(fr, *pfn / GROUP_FRAMES + i, -(int64_t)rest);
		}
		return true;
	}
	return false;
}

/* n <= GROUP_FRAMES frames in a row inside one group of the extent, from group `from` on
 * and around. */
static bool take_run(struct frames *fr, const struct extent *e, uint64_t from, unsigned n,
		     uint64_t *pfn)
{
	uint64_t first = e->first / GROUP_FRAMES,
		 count = (e->frames + GROUP_FRAMES - 1) / GROUP_FRAMES;

	if (from < first || from >= first + count)
		from = first;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t at = from + i < first + count ? from + i : from + i - count;
		struct group *g = group_locked(fr, at);
		unsigned bit = g ? bits_run(g, n) : GROUP_FRAMES;

		if (bit == GROUP_FRAMES)
			continue;
		bits_clear(g, bit, n);
		free_count(fr, at, -(int64_t)n);
		*pfn = at * GROUP_FRAMES + bit;
		return true;
	}
	return false;
}

void frames_give_locked(struct frames *fr, uint64_t pfn, uint64_t n)
{
	for (; n; n--, pfn++) {
		/* it was reserved here: read before */
		struct group *g = group_locked(fr, pfn / GROUP_FRAMES);

		g->free[pfn % GROUP_FRAMES / 64] |= (uint64_t)1 << pfn % 64;
		g->n_free++;
		if (!is_slot(pfn))
			free_count(fr, pfn / GROUP_FRAMES, 1);
		/* under the lock: no other counts */
		atomic_store_explicit(&g->freed[pfn % GROUP_FRAMES],
				      (uint16_t)(frames_freed(g, pfn % GROUP_FRAMES) + 1),
				      memory_order_release);
	}
}

/* Single frames and runs inside a group; false: there is none. */
static bool take_small(struct frames *fr, uint64_t *cursor, unsigned n, uint64_t *pfn)
{
	const struct extent *here;
	bool taken;

	if (n == 1)
		cursor_turn(fr, cursor);
	here = extents_find(&fr->extents, *cursor * GROUP_FRAMES);
	taken = here && take_run(fr, here, *cursor, n, pfn);
	for (size_t i = 0; i < fr->extents.n && !taken; i++)
		taken = &fr->extents.extent[i] != here &&
			take_run(fr, &fr->extents.extent[i], 0, n, pfn);
	if (taken)
		*cursor = *pfn / GROUP_FRAMES;
	if (taken && n == 1)
		top_raise(fr, *cursor);
	return taken;
}

static bool take_zeroed(struct frames *fr, uint64_t *pfn)
{
	if (!fr->n_zeroed)
		return false;
	*pfn = fr->zeroed[--fr->n_zeroed];
	memmove(&fr->zeroed[fr->n_zeroed], &fr->zeroed[fr->n_zeroed + 1],
		fr->n_zeroing * sizeof(fr->zeroed[0]));
	return true;
}

int frames_take(struct frames *fr, unsigned hint, uint64_t n, uint64_t align, uint64_t *pfn)
{
	bool taken = false;

	pthread_mutex_lock(&fr->lock);
	if (n == 1 && align == 1) {
		taken = take_small(fr, &fr->cursor[hint % 16], 1, pfn) || take_zeroed(fr, pfn);
	} else if (n <= GROUP_FRAMES) {
		taken = take_small(fr, &fr->run_cursor, align > 1 ? GROUP_FRAMES : (unsigned)n,
				   pfn);
		if (taken && align > 1)
			frames_give_locked(fr, *pfn + n, GROUP_FRAMES - n);
	} else {
		for (size_t i = 0; i < fr->extents.n && !taken; i++)
			taken = take_groups(fr, &fr->extents.extent[i], n, pfn);
	}
	if (taken)
		frames_born(fr, *pfn, n);
	pthread_mutex_unlock(&fr->lock);
	return taken ? 0 : PMPT_E_NO_FRAMES;
}

int frames_take_some(struct frames *fr, unsigned hint, uint64_t n, uint64_t *pfn, uint64_t *got)
{
	struct group *g;
	unsigned at;
	bool taken;

	pthread_mutex_lock(&fr->lock);
	taken = take_small(fr, &fr->cursor[hint % 16], 1, pfn);
	*got = 1;
	if (taken) {
		g = group_locked(fr, *pfn / GROUP_FRAMES);
		at = (unsigned)(*pfn % GROUP_FRAMES);
		while (*got < n && at + *got < GROUP_FRAMES &&
		       g->free[(at + *got) / 64] >> (at + *got) % 64 & 1)
			++*got;
		bits_clear(g, at + 1, (unsigned)*got - 1);
		free_count(fr, *pfn / GROUP_FRAMES, 1 - (int64_t)*got);
	} else {
		taken = take_zeroed(fr, pfn);
	}
	if (taken)
		frames_born(fr, *pfn, *got);
	pthread_mutex_unlock(&fr->lock);
	return taken ? 0 : PMPT_E_NO_FRAMES;
}

void frames_give(struct frames *fr, uint64_t pfn, uint64_t n)
{
	pthread_mutex_lock(&fr->lock);
	frames_give_locked(fr, pfn, n);
	pthread_mutex_unlock(&fr->lock);
}

uint64_t frames_free(struct frames *fr)
{
	uint64_t n;

	pthread_mutex_lock(&fr->lock);
	for (; fr->n_read < fr->n_groups; fr->n_read++)
		(void)group_locked(fr, fr->n_read);
	n = fr->n_free + fr->n_zeroed;
	pthread_mutex_unlock(&fr->lock);
	return n;
}

/* ---- slots ----------------------------------------------------------------------------------- */

int frames_slots_set(struct frames *fr, const struct swap_area *area)
{
	uint64_t n = (area->slots + GROUP_FRAMES - 1) / GROUP_FRAMES;
	_Atomic(struct group *) *group = mem_zalloc(fr->mem, n * sizeof(*group));

	if (!group)
		return error_set(-ENOMEM, "no memory for the index of %lu slots", area->slots);
	pthread_mutex_lock(&fr->lock);
	fr->slots = (struct frames_slots){ .area = *area, .group = group, .n_groups = n };
	pthread_mutex_unlock(&fr->lock);
	return 0;
}

static uint64_t count_in(const struct waiting *list, bool slots)
{
	uint64_t n = 0;

	for (; list; list = list->next) {
		for (size_t i = 0; i < list->n; i++)
			n += is_slot(list->frame[i] >> 1) == slots;
	}
	return n;
}

uint64_t frames_held(struct frames *fr)
{
	uint64_t n;

	pthread_mutex_lock(&fr->lock);
	n = count_in(fr->waiting, false) + count_in(fr->held, false);
	pthread_mutex_unlock(&fr->lock);
	return n;
}

uint64_t frames_slots_pending(struct frames *fr)
{
	uint64_t slots;

	pthread_mutex_lock(&fr->reclaim); /* it has the lists in its hands */
	pthread_mutex_lock(&fr->lock);
	slots = count_in(fr->waiting, true) + count_in(fr->held, true);
	pthread_mutex_unlock(&fr->lock);
	pthread_mutex_unlock(&fr->reclaim);
	return slots;
}

void frames_slots_clear(struct frames *fr)
{
	struct frames_slots was;

	pthread_mutex_lock(&fr->lock);
	was = fr->slots;
	fr->slots = (struct frames_slots){ .area = { 0 } };
	pthread_mutex_unlock(&fr->lock);
	for (uint64_t i = 0; i < was.n_groups; i++)
		group_free(fr, atomic_load(&was.group[i]));
	mem_free(fr->mem, was.group, was.n_groups * sizeof(*was.group));
}

/* The first run of free slots in a group, at most n. */
static unsigned slots_run(struct group *g, unsigned n, unsigned *first)
{
	unsigned i = 0, got = 0;

	while (!(g->free[i / 64] >> i % 64 & 1))
		i++;
	*first = i;
	while (got < n && i < GROUP_FRAMES && g->free[i / 64] >> i % 64 & 1)
		i++, got++;
	if (rule_on(RULE_S2_RESERVE))
		bits_clear(g, *first, got);
	return got;
}

unsigned frames_slots_take(struct frames *fr, unsigned n, uint64_t *slot)
{
	struct frames_slots *s = &fr->slots;
	unsigned got = 0, first = 0;

	pthread_mutex_lock(&fr->lock);
	for (uint64_t i = 0; i < s->n_groups && !got; i++) {
		uint64_t at = SLOT_FIRST / GROUP_FRAMES + (s->cursor + i) % s->n_groups;
		struct group *g = group_locked(fr, at);

		if (!g || !g->n_free)
			continue;
		got = slots_run(g, n, &first);
		*slot = at * GROUP_FRAMES + first;
		frames_born(fr, *slot, got);
		s->cursor = (s->cursor + i) % s->n_groups;
	}
	pthread_mutex_unlock(&fr->lock);
	return got;
}

/* ---- frames zeroed ahead --------------------------------------------------------------------- */

bool frames_take_zeroed(struct frames *fr, uint64_t *pfn)
{
	pthread_mutex_lock(&fr->lock);
	bool taken = take_zeroed(fr, pfn);

	if (taken)
		frames_born(fr, *pfn, 1);
	pthread_mutex_unlock(&fr->lock);
	return taken;
}

/* Inside a checkpoint, before its fence: zero more frames. */
static void zero_ahead(void *ctx, struct pm *pm)
{
	struct frames *fr = ctx;
	uint64_t frames = 0, pfn;

	pthread_mutex_lock(&fr->lock);
	for (size_t i = 0; i < fr->extents.n; i++)
		frames += fr->extents.extent[i].frames;
	/* a small pool needs its frames for other things */
	uint64_t most = frames / 128 < FRAMES_ZEROED ? frames / 128 : FRAMES_ZEROED;

	while (!fr->no_zeroing && fr->n_zeroed + fr->n_zeroing < most &&
	       take_small(fr, &fr->cursor[0], 1, &pfn)) {
		fr->zeroed[fr->n_zeroed + fr->n_zeroing++] = pfn;
		pm_stream_zero(pm, region_at(fr->rg, pfn << FRAME_SHIFT), FRAME_BYTES / LINE_BYTES);
	}
	pthread_mutex_unlock(&fr->lock);
}

/* Behind that fence. */
static void zeroed_ahead(void *ctx)
{
	struct frames *fr = ctx;

	pthread_mutex_lock(&fr->lock);
	fr->n_zeroed += fr->n_zeroing;
	fr->n_zeroing = 0;
	pthread_mutex_unlock(&fr->lock);
}

/* ---- open and close -------------------------------------------------------------------------- */

int frames_open(struct frames *fr, struct region *rg, struct mem *mem, struct wal *wal)
{
	int rc;

	memset(fr, 0, sizeof(*fr));
	fr->rg = rg;
	fr->mem = mem;
	fr->wal = wal;
	pthread_mutex_init(&fr->lock, NULL);
	pthread_mutex_init(&fr->reclaim, NULL);
	rc = extents_load(&fr->extents, rg, mem, word_load(&region_sb(rg)->n_extents));
	if (rc)
		return rc;
	fr->n_groups = (rg->bytes + GROUP_BYTES - 1) / GROUP_BYTES;
	fr->group = mem_zalloc(mem, fr->n_groups * sizeof(*fr->group));
	if (!fr->group) {
		extents_free(&fr->extents, mem);
		return error_set(-ENOMEM, "no memory for the frame index");
	}
	wal->prepare = zero_ahead;
	wal->prepared = zeroed_ahead;
	wal->prepare_ctx = fr;
	return 0;
}

void frames_close(struct frames *fr)
{
	fr->wal->prepare = NULL;
	fr->wal->prepared = NULL;
	frames_wait_end(fr);
	for (uint64_t i = 0; i < fr->n_groups; i++)
		group_free(fr, atomic_load(&fr->group[i]));
	mem_free(fr->mem, fr->group, fr->n_groups * sizeof(*fr->group));
	frames_slots_clear(fr);
	extents_free(&fr->extents, fr->mem);
	pthread_mutex_destroy(&fr->lock);
	pthread_mutex_destroy(&fr->reclaim);
}

int frames_extent_added(struct frames *fr)
{
	struct extents more;
	int rc = extents_load(&more, fr->rg, fr->mem, word_load(&region_sb(fr->rg)->n_extents));

	if (rc)
		return rc;
	pthread_mutex_lock(&fr->lock);
	extents_free(&fr->extents, fr->mem);
	fr->extents = more;
	fr->n_read = 0;
	pthread_mutex_unlock(&fr->lock);
	return 0;
}
