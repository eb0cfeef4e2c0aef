/* SPDX-License-Identifier: BSD-3-Clause */
/* data -- what is in the pages: write and read.
 *
 * A written page goes to a frame that nothing maps yet; the entry switches in the transaction and
 * the old frame is counted down, so a crash finds the old page or the new one, whole.
 * ORDER	page streamed (S1) -> F1 of the commit [F1] -> its lines.  A reader copies inside a
 *		reader section: the frame of a page that was replaced meanwhile waits for its end [F2].
 * INVARIANT	F7 data frames are never targets of log lines
 */
#include "data.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "policy.h"
#include "rcu.h"
#include "view.h"

#define PAGE_WORDS_ALIGN 8 /* of what pm_stream reads */

static const _Alignas(4096) char zero_page[4096];

int page_fetch(struct pmpt_tx *tx, const struct pmpt_space *space, uint64_t va, uint64_t entry,
	       void *buf)
{
	(void)tx, (void)va;
	return swap_fetch(space->pool, entry, buf);
}

int page_table(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, bool full, struct path *p)
{
	for (;;) {
		int rc = table_make(tx, space, va, 1, full, p);

		if (rc == PMPT_E_SEGMENT &&
		    tx->bulk) /* its ranges hide one mapping, not the others */
			return error_set(PMPT_E_SEGMENT,
					 "%#lx is a segment's: not in a bulk transaction",
					 va_sign(va));
		if (rc == PMPT_E_SEGMENT) /* its table is there */
			return table_walk_into(tx, space, va, 1, p);
		if (rc != PMPT_E_MAPPED)
			return rc;
		rc = table_split(tx, p);
		if (rc)
			return rc;
	}
}

static int not_ours(uint64_t va, uint64_t entry)
{
	return error_set(PMPT_E_FRAME, "%#lx: frame %#lx is not the pool's (PMPT_EXT)", va_sign(va),
			 entry_pfn(entry));
}

/* Where the content of a leaf at va is, `len` bytes inside the leaf.  Returns 0; PMPT_E_FRAME;
 * PMPT_E_CORRUPT. */
static int leaf_content(const struct pmpt_space *space, uint64_t va, uint64_t entry, unsigned level,
			size_t len, const char **at)
{
	uint64_t off = (entry & ENTRY_PFN) + (va & (level_bytes(level) - 1));

	if (entry & ENTRY_EXT)
		return not_ours(va, entry);
	if (off >= space->bytes || len > space->bytes - off)
		return error_set(PMPT_E_CORRUPT, "entry %#lx maps %#lx to a frame outside the pool",
				 entry, va_sign(va));
	*at = space->base + off;
	return 0;
}

/* ---- write ----------------------------------------------------------------------------------- */

/* So many pages are streamed before their entries are set and what they leave is uncounted: that is done
 * while the last of them are on their way to memory. */
#define WRITE_RUN 8u

struct write_args {
	struct pmpt_space *space;
	uint64_t va, end;
	const char *buf; /* what goes to va */
};

/* The part of the page at p->va that is written: [*from, *to). */
static inline void page_part(const struct write_args *a, const struct path *p, size_t *from,
			     size_t *to)
{
	*from = p->va < a->va ? (size_t)(a->va - p->va) : 0;
	*to = a->end - p->va < FRAME_BYTES ? (size_t)(a->end - p->va) : FRAME_BYTES;
}

/* The links down to the owned table let a write through. */
static int links_writable(struct pmpt_tx *tx, const struct path *p)
{
	for (unsigned level = 4; level > p->level; level--) {
		uint64_t entry = tx_entry(tx, p->pfn[level], path_index(p, level));

		if (!(entry & (ENTRY_W | ENTRY_COW)))
			return error_set(PMPT_E_DENIED_WRITE,
					 "%#lx is not writable: entry %#lx at level %u",
					 va_sign(p->va), entry, level);
	}
	return 0;
}

/* The owned table of level 1 over va, which a write may change: from the cache, which knows those that the
 * space has alone and that every link above lets it write. */
static int write_table(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, bool full,
		       struct path *p)
{
	int rc = policy_judges(tx->pool) ? 1 : table_cached(tx, space, va, p);

	if (rc != 1)
		return rc;
	rc = page_table(tx, space, va, full, p);
	if (!rc)
		rc = links_writable(tx, p);
	if (!rc && !tx->bulk)
		pwc_fill(space, va_sign(va));
	return rc;
}

static int page_writable(const struct path *p, uint64_t entry)
{
	if (!entry)
		return 0;
	if (entry & ENTRY_P && entry & ENTRY_EXT)
		return not_ours(p->va, entry);
	if (!(entry & (ENTRY_W | ENTRY_COW)))
		return error_set(PMPT_E_DENIED_WRITE, "%#lx is not writable: entry %#lx at level 1",
				 va_sign(p->va), entry);
	return 0;
}

/* What is in the page now, as the transaction sees it. */
static int page_content(struct pmpt_tx *tx, const struct path *p, uint64_t entry, char *page)
{
	const char *at = zero_page;
	int rc = 0;

	if (entry_is_reservation(entry) && !entry_is_demand(entry))
		return page_fetch(tx, p->space, p->va, entry, page);
	if (entry & ENTRY_P)
		rc = leaf_content(p->space, p->va, entry, 1, FRAME_BYTES, &at);
	if (!rc)
		memcpy(page, at, FRAME_BYTES);
	return rc;
}

/* Stream the page's new content to a frame. */
static int page_stream(struct pmpt_tx *tx, const struct write_args *a, const struct path *p,
		       uint64_t entry, uint64_t pfn)
{
	_Alignas(LINE_BYTES) char page[FRAME_BYTES];
	const char *src = a->buf + (p->va - a->va);
	size_t from, to;
	int rc = 0;

	page_part(a, p, &from, &to);
	if (to - from < FRAME_BYTES || (uintptr_t)src % PAGE_WORDS_ALIGN) {
		if (to - from < FRAME_BYTES)
			rc = page_content(tx, p, entry, page);
		if (rc)
			return rc;
		memcpy(page + from, src + from, to - from);
		src = page;
	}
	pm_stream(&tx->pm, region_at(tx->pool->rg, pfn << FRAME_SHIFT), src,
		  FRAME_BYTES / LINE_BYTES);
	tx->unfenced = true;
	return 0;
}

/* The address of a frame that is going to be streamed to is translated ahead, or each page would wait for
 * that.  Its last line, which is the last one to be overwritten. */
static inline void frame_prefetch(const struct pmpt_tx *tx, uint64_t pfn)
{
	__builtin_prefetch(tx->pool->rg->base + ((pfn + 1) << FRAME_SHIFT) - LINE_BYTES, 0, 0);
}

/* What the pages of the run that follows, if there is one, map now is read ahead, too; and the counts of
 * what this run's map now, that are looked at when it was streamed. */
static inline void run_prefetch(const struct pmpt_tx *tx, uint64_t table, unsigned next,
				const uint64_t *entry, unsigned n)
{
	struct frames *fr = &tx->pool->frames;

	__builtin_prefetch((const pm_word *)region_at(tx->pool->rg, table << FRAME_SHIFT) +
				   next % FRAME_WORDS,
			   0);
	for (unsigned i = 0; i<n; i += n> 1 ? n - 1 : 1) { /* the frames are neighbours, mostly */
		if (entry[i] & ENTRY_P)
			__builtin_prefetch(frames_desc(fr, entry_pfn(entry[i])), 1);
	}
}

/* n pages from p->va on go to frames from pfn on, which are counted already. */
static int run_write(struct pmpt_tx *tx, const struct write_args *a, struct path *p, uint64_t pfn,
		     unsigned n)
{
	uint64_t entry[WRITE_RUN], value[WRITE_RUN], table = p->pfn[1];
	unsigned first = path_index(p, 1);
	int rc = 0;

	tx_entries(tx, table, first, n, entry);
	if (n > 1)
		run_prefetch(tx, table, first + n, entry, n);
	for (unsigned i = 0; i < n && !rc; i++, p->va += FRAME_BYTES) {
		rc = page_writable(p, entry[i]);
		frame_prefetch(tx, pfn + i + 1);
		if (!rc)
			rc = page_stream(tx, a, p, entry[i], pfn + i);
		value[i] = entry[i] ? page_moved(entry[i], pfn + i) : page_fresh(p, pfn + i);
		if (!rc && policy_judges(tx->pool))
			rc = policy_entry(tx, p, entry[i], value[i]);
	}
	if (!rc)
		rc = tx_set_entries(tx, table, first, n, value);
	return rc ? rc : entries_count(tx, entry, n, 1, -1);
}

/* n pages from p->va on, in the owned table of level 1 where the path ends. */
static int pages_write(struct pmpt_tx *tx, const struct write_args *a, struct path *p, uint64_t n)
{
	int rc = tx_room(tx, n);

	while (n && !rc) {
		uint64_t pfn = 0, got = 0;

		rc = tx_frames_some(tx, n, &pfn, &got);
		frame_prefetch(tx, pfn);
		if (!rc)
			rc = tx_count_fresh(tx, pfn, got);
		for (uint64_t i = 0; i < got && !rc; i += WRITE_RUN)
			rc = run_write(tx, a, p, pfn + i,
				       got - i < WRITE_RUN ? (unsigned)(got - i) : WRITE_RUN);
		n -= rc ? 0 : got;
	}
	return rc;
}

/* Into the frame that this transaction gave the page since its last savepoint: nobody will ever see
 * what it holds now.  Only where the call changes nothing else, and so cannot fail half way. */
static bool write_in_place(struct pmpt_tx *tx, const struct write_args *a, const struct path *p)
{
	_Alignas(LINE_BYTES) char lines[FRAME_BYTES];
	uint64_t entry = table_entry(tx, p);
	size_t from, to, first, end;
	char *frame;

	if ((entry & (ENTRY_P | ENTRY_W | ENTRY_EXT)) != (ENTRY_P | ENTRY_W) ||
	    !tx_private(tx, entry_pfn(entry)))
		return false;
	page_part(a, p, &from, &to);
	first = from & ~(size_t)(LINE_BYTES - 1);
	end = (to + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
	frame = region_at(tx->pool->rg, entry & ENTRY_PFN);
	memcpy(lines + first, frame + first, end - first);
	memcpy(lines + from, a->buf + (p->va + from - a->va), to - from);
	pm_stream(&tx->pm, frame + first, lines + first, (end - first) / LINE_BYTES);
	tx->unfenced = true;
	return true;
}

static int write_call(struct pmpt_tx *tx, const void *args)
{
	const struct write_args *a = args;
	uint64_t first = a->va & ~(FRAME_BYTES - 1),
		 end = (a->end + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
	int rc = tx_range(tx, a->space, first, end);

	for (uint64_t va = first; va < end && !rc;) {
		uint64_t left = FRAME_WORDS - level_index(va, 1), n = (end - va) >> FRAME_SHIFT;
		struct path p;

		n = n < left ? n : left;
		rc = write_table(tx, a->space, va, n > FRAME_WORDS / 2, &p);
		if (!rc && end - first == FRAME_BYTES && write_in_place(tx, a, &p))
			return 0;
		if (!rc)
			rc = pages_write(tx, a, &p, n);
		va += n << FRAME_SHIFT;
	}
	return rc;
}

int pmpt_write(pmpt_tx *tx, pmpt_space *space, uint64_t va, const void *buf, size_t len)
{
	struct write_args a = { .space = space, .buf = buf };
	int rc;

	table_prefetch(space, va);
	rc = va_range(va, len ? len : 1, 1, &a.va);
	if (rc || !len)
		return rc;
	a.end = a.va + len;
	return tx_run(space->pool, tx, write_call, &a);
}

/* ---- read ------------------------------------------------------------------------------------ */

#define PAGE_OUT 1 /* not in memory */

/* Copy a part of one page, whose entry was found in this reader section. */
static int part_copy(const struct pmpt_space *space, uint64_t va, uint64_t entry, unsigned level,
		     char *buf, size_t len)
{
	const char *at = zero_page;
	int rc;

	if (!(entry & ENTRY_P)) {
		memset(buf, 0, len);
		return entry && !entry_is_demand(entry) ? PAGE_OUT : 0;
	}
	rc = leaf_content(space, va, entry, level, len, &at);
	if (!rc)
		memcpy(buf, at, len);
	return rc;
}

/* The entry over va as a reader of the view sees it, without one as it is now.  In a reader section. */
static int entry_seen(const struct pmpt_view *view, const struct pmpt_space *space, uint64_t va,
		      uint64_t *entry, unsigned *level)
{
	uint64_t above;

	return view ? view_entry(view, space, va, entry, level, &above)
		    : space_look(space, va, entry, level);
}

static int read_part(const struct pmpt_view *view, struct pmpt_tx *tx,
		     const struct pmpt_space *space, uint64_t va, char *buf, size_t len)
{
	char page[FRAME_BYTES];
	uint64_t entry = 0;
	unsigned level = 1;
	struct path p;
	int rc, stale;

	reader_begin();
	if (tx) {
		rc = table_look(tx, (struct pmpt_space *)space, va_bits(va), 1, &p, &entry);
		level = p.level;
	} else {
		rc = entry_seen(view, space, va, &entry, &level);
	}
	if (!rc)
		rc = part_copy(space, va, entry, level, buf, len);
	if (rc == PAGE_OUT) { /* in the section: its slot stays what it is [swap.h, S3] */
		rc = page_fetch(tx, space, va_bits(va), entry, page);
		if (!rc)
			memcpy(buf, page + va % FRAME_BYTES, len);
	}
	stale = view_stale(view);
	reader_end();
	if (stale)
		return stale;
	if (!rc && !tx && level == 1)
		pwc_fill((struct pmpt_space *)space, va);
	return rc;
}

/* Page by page: one state of the space in a view or a transaction, not without. */
static int read_pages(const struct pmpt_view *view, struct pmpt_tx *tx,
		      const struct pmpt_space *space, uint64_t va, char *buf, size_t len)
{
	int rc = 0;

	while (len && !rc) {
		size_t n = FRAME_BYTES - va % FRAME_BYTES;

		n = n < len ? n : len;
		rc = read_part(view, tx, space, va, buf, n);
		va += n;
		buf += n;
		len -= n;
	}
	return rc;
}

#define STATE_TRIES 16

/* More than one page of one state, as it is now: in a view of its own; in another one when too much
 * was changed meanwhile. */
static int read_state(const struct pmpt_space *space, uint64_t va, char *buf, size_t len)
{
	int rc = PMPT_E_VIEW_STALE;

	for (unsigned tries = 0; rc == PMPT_E_VIEW_STALE && tries < STATE_TRIES; tries++) {
		pmpt_view *view;

		rc = pmpt_view_open(space->pool, &view);
		if (rc)
			return rc;
		rc = read_pages(view, NULL, space, va, buf, len);
		pmpt_view_close(view);
	}
	return rc;
}

/* Inside one page whose table the cache knows.  True: done. */
static inline bool read_straight(const struct pmpt_space *space, uint64_t va, void *buf, size_t len)
{
	struct urcu_bp_reader *self = reader_try();
	uint64_t table, entry, off;
	bool done = false;

	if (__builtin_expect(!self, 0))
		return false;
	if (pwc_find(&space->pwc, va, &table)) {
		entry = word_load((const pm_word *)(const void *)(space->base + table) +
				  level_index(va, 1));
		off = entry & ENTRY_PFN;
		done = (entry & (ENTRY_P | ENTRY_EXT)) == ENTRY_P && off < space->bytes;
		if (done)
			memcpy(buf, space->base + off + va % FRAME_BYTES, len);
	}
	reader_done(self);
	return done;
}

int pmpt_read(const pmpt_view *view, const pmpt_space *space, uint64_t va, void *buf, size_t len)
{
	uint64_t first;
	int rc;

	/* len 0 is not below */
	if (!view && len - 1 < FRAME_BYTES - va % FRAME_BYTES && read_straight(space, va, buf, len))
		return 0;
	rc = va_range(va, len ? len : 1, 1, &first);
	if (!rc)
		rc = view_enter(view, space);
	if (rc)
		return rc;
	return view || len <= FRAME_BYTES - va % FRAME_BYTES
		       ? read_pages(view, NULL, space, va, buf, len)
		       : read_state(space, va, buf, len);
}

int pmpt_tx_read(pmpt_tx *tx, const pmpt_space *space, uint64_t va, void *buf, size_t len)
{
	uint64_t first;
	int rc = tx_check(tx);

	if (!rc && tx->pool != space->pool)
		rc = error_set(-EINVAL, "the space and the transaction are of two pools");
	if (!rc)
		rc = va_range(va, len ? len : 1, 1, &first);
	return rc ? rc : read_pages(NULL, tx, space, va, buf, len);
}

/* ---- reading without a copy ------------------------------------------------------------------ */

void pmpt_read_begin(pmpt_pool *pool)
{
	(void)pool;
	reader_begin();
}

void pmpt_read_end(pmpt_pool *pool)
{
	(void)pool;
	reader_end();
}

int pmpt_page_ptr(const pmpt_view *view, const pmpt_space *space, uint64_t va, const void **page)
{
	uint64_t entry = 0;
	unsigned level = 1;
	const char *at = zero_page;
	int rc, stale;

	if (!va_canonical(va))
		return error_set(PMPT_E_ADDRESS, "address %#lx is not canonical", va);
	if (!view && !reader_inside())
		return error_set(-EINVAL,
				 "a pointer into a page needs a view, or pmpt_read_begin() before");
	va &= ~(FRAME_BYTES - 1);
	rc = view_enter(view, space);
	if (rc)
		return rc;
	reader_begin();
	rc = entry_seen(view, space, va, &entry, &level);
	if (!rc && entry & ENTRY_P)
		rc = leaf_content(space, va, entry, level, FRAME_BYTES, &at);
	else if (!rc && entry && !entry_is_demand(entry))
		rc = error_set(PMPT_E_NOT_MAPPED, "the page at %#lx is out in the swap file", va);
	stale = view_stale(view);
	reader_end();
	if (stale || rc)
		return stale ? stale : rc;
	*page = at;
	return 0;
}
