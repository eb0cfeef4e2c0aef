/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_move -- see swap.h: pages out. */
#include <string.h>

#include "error.h"
#include "rcu.h"
#include "swap.h"
#include "table.h"
#include "vec.h"

#define CHANGED SWAP_CHANGED

/* ---- looking --------------------------------------------------------------------------------- */

const pm_word *swap_table(const struct pmpt_space *space, uint64_t *va, uint64_t end)
{
	while (*va < end) {
		const pm_word *table = space->root;
		unsigned level = 4;

		for (; level > 1; level--) {
			uint64_t entry = word_load(&table[level_index(*va, level)]);

			if (!entry_is_table(entry, level) || (entry & ENTRY_PFN) >= space->bytes)
				break;
			table = region_at(space->pool->rg, entry & ENTRY_PFN);
		}
		if (level == 1)
			return table;
		*va = (*va | (level_bytes(level) - 1)) + 1;
	}
	return NULL;
}

bool swap_may_out(struct pmpt_pool *pool, uint64_t entry)
{
	const pm_word *desc;
	uint64_t value;

	if (!(entry & ENTRY_P) || entry & ENTRY_EXT)
		return false;
	desc = frames_desc(&pool->frames, entry_pfn(entry));
	value = desc ? word_load(desc) : 0;
	return desc_count(value) == 1 && desc_kind(value) == DESC_DATA && !(value & DESC_ALIASED);
}

int swap_own_table(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va, struct path *p)
{
	uint64_t entry = 0, pfn;
	size_t owned = tx->n_own;
	int rc = table_look_hole(tx, space, va, 1, p, &entry);

	if (rc || p->level != 1)
		return rc ? rc : CHANGED;
	pfn = p->pfn[1];
	rc = tx_own(tx, pfn);
	if (rc || tx->n_own == owned)
		return rc;
	rc = table_look_hole(tx, space, va, 1, p, &entry);
	if (!rc && p->level == 1 && p->pfn[1] == pfn)
		return 0;
	frames_disown(&tx->pool->frames, tx->own[--tx->n_own]); /* it was unlinked before */
	return rc ? rc : CHANGED;
}

/* ---- out ------------------------------------------------------------------------------------- */

/* Copy the page while the entry is seen: until the reader section ends its frame is its own. */
static bool copy(const struct swap_page *page, char *to)
{
	uint64_t va = page->va, pfn = entry_pfn(page->entry);
	const pm_word *table;
	bool same;

	reader_begin();
	table = swap_table(page->space, &va, page->va + 1);
	same = table && !((word_load(&table[level_index(va, 1)]) ^ page->entry) & ~ENTRY_AD) &&
	       swap_may_out(page->space->pool, page->entry);
	if (same)
		memcpy(to, region_at(page->space->pool->rg, pfn << FRAME_SHIFT), FRAME_BYTES);
	reader_end();
	return same;
}

/* Reserve up to n slots in a row. */
static unsigned slots_take(struct pmpt_tx *tx, unsigned n, uint64_t *slot, int *rc)
{
	struct pmpt_pool *pool = tx->pool;
	unsigned got = 0;

	*rc = vec_reserve(&pool->mem, &tx->reserved, &tx->room_reserved, tx->n_reserved + 1,
			  sizeof(*tx->reserved));
	if (!*rc)
		got = frames_slots_take(&pool->frames, n, slot);
	if (!*rc && !got) { /* slots may be waiting */
		*rc = frames_reclaim(&pool->frames, true);
		got = *rc ? 0 : frames_slots_take(&pool->frames, n, slot);
	}
	if (got)
		tx->reserved[tx->n_reserved++] = (struct frame_run){ *slot, got };
	else if (!*rc)
		*rc = error_set(PMPT_E_SWAP, "%s: all %lu slots are in use", pool->swap.path,
				pool->swap.area.slots);
	return got;
}

/* Copy pages and write them to slots, in runs, and make all durable.  *n: out, how many have one. */
static int write_pages(struct pmpt_tx *tx, unsigned *n)
{
	struct swap *s = &tx->pool->swap;
	struct swap_room *room = s->room;
	unsigned kept = 0, done = 0;
	int rc = 0;

	for (unsigned i = 0; i < *n; i++) {
		if (!copy(&room->out[i], room->page[kept]))
			continue;
		room->out[kept] = room->out[i];
		s->generation = s->generation % DESC_GEN_MAX + 1;
		room->out[kept].generation = room->generation[kept] = (uint32_t)s->generation;
		kept++;
	}
	while (done < kept && !rc) {
		uint64_t slot = 0;
		unsigned got = slots_take(tx, kept - done, &slot, &rc);

		if (!got) {
			rc = done ? 0 : rc; /* as many as there are slots */
			break;
		}
		rc = swap_file_write(&s->file, slot - SLOT_FIRST, got, &room->generation[done],
				     room->page[done], room->slot);
		for (; got; got--, done++, slot++) {
			room->out[done].slot = slot;
			atomic_store_explicit(&s->written[slot - SLOT_FIRST],
					      room->generation[done], memory_order_release);
		}
	}
	if (!rc && done && rule_on(RULE_S1_SYNC))
		rc = swap_file_sync(&s->file); /* durability: before any line names a slot [S1] */
	*n = done;
	return rc;
}

struct out_args {
	const struct swap_page *page;
	const char *copy;
};

static int out_call(struct pmpt_tx *tx, const void *args)
{
	const struct out_args *a = args;
	const struct swap_page *page = a->page;
	uint64_t pfn = entry_pfn(page->entry);
	struct path p;
	int rc = swap_own_table(tx, page->space, page->va, &p);

	if (rc)
		return rc;
	/* The entry as it was, and the content: the same frame may have been another page meanwhile,
	 * and what a walker's D bit says decides nothing that could lose data. */
	if (table_entry(tx, &p) != (page->entry & ~ENTRY_AD) ||
	    !swap_may_out(tx->pool, page->entry) ||
	    memcmp(region_at(tx->pool->rg, pfn << FRAME_SHIFT), a->copy, FRAME_BYTES) != 0)
		return CHANGED;
	/* nor may another map the frame by its number before the commit: the two would part */
	rc = tx_state(tx, pfn, DESC_DATA, 1, frame_state(tx, pfn));
	if (rc)
		return rc;
	rc = table_set(tx, &p,
		       (page->entry & ~(ENTRY_P | ENTRY_AD | ENTRY_PFN)) |
			       (uint64_t)KIND_SWAP << ENTRY_KIND_SHIFT | page->slot << FRAME_SHIFT);
	if (!rc)
		rc = tx_count(tx, page->slot, 1, DESC_SLOT, 1);
	if (!rc)
		tx_slot_generation(tx, page->slot, page->generation);
	return rc ? rc : tx_count(tx, pfn, 1, DESC_DATA, -1);
}

/* Plan the pages that have slots; those that changed, or are being changed, stay. */
static int plan_out(struct pmpt_tx *tx, unsigned n, uint64_t *planned)
{
	struct swap_room *room = tx->pool->swap.room;

	for (unsigned i = 0; i < n; i++) {
		int rc = tx_run(tx->pool, tx, out_call,
				&(struct out_args){ &room->out[i], room->page[i] });

		if (rc == PMPT_E_TX_TOO_LARGE && *planned)
			return 0;
		if (rc < 0 && rc != PMPT_E_CONFLICT)
			return rc;
		*planned += !rc;
	}
	return 0;
}

int swap_out_pages(struct pmpt_pool *pool, unsigned n, uint64_t *done)
{
	struct pmpt_tx *tx;
	uint64_t planned = 0;
	int rc = pmpt_begin(pool, 0, &tx);

	if (rc)
		return rc;
	rc = write_pages(tx, &n);
	if (!rc)
		rc = plan_out(tx, n, &planned);
	if (!rc && planned)
		rc = pmpt_commit(tx, NULL);
	if (!rc)
		*done += planned;
	atomic_fetch_add(&pool->swap.outs, rc ? 0 : planned);
	if (tx_is_open(tx))
		(void)pmpt_abort(tx);
	return rc == PMPT_E_CONFLICT ? 0 : rc;
}

/* The next pages of [*va, end) that may go out. */
static unsigned pages_find(struct pmpt_space *space, uint64_t *va, uint64_t end)
{
	struct swap_page *out = space->pool->swap.room->out;
	unsigned n = 0;

	while (n < SWAP_BATCH && *va < end) {
		const pm_word *table;

		reader_begin();
		table = swap_table(space, va, end);
		for (unsigned i = level_index(*va, 1);
		     table && i < FRAME_WORDS && *va < end && n < SWAP_BATCH;
		     i++, *va += FRAME_BYTES) {
			uint64_t entry = word_load(&table[i]);

			if (swap_may_out(space->pool, entry))
				out[n++] = (struct swap_page){ .space = space,
							       .va = *va,
							       .entry = entry };
		}
		reader_end();
		if (!table)
			break;
	}
	return n;
}

int pmpt_swap_out(pmpt_space *space, uint64_t va, uint64_t len_bytes, uint64_t *n_pages)
{
	struct pmpt_pool *pool = space->pool;
	uint64_t at = 0, done = 0, end;
	int rc = va_range(va, len_bytes, FRAME_BYTES, &at);

	if (!rc)
		rc = pool_writable(pool);
	if (rc)
		return rc;
	end = at + len_bytes;
	pthread_mutex_lock(&pool->swap.clock);
	rc = swap_usable(pool);
	while (!rc && at < end) {
		unsigned n = pages_find(space, &at, end);
		uint64_t before = done, first = n ? pool->swap.room->out[0].va : 0;

		if (!n)
			break;
		rc = swap_out_pages(pool, n, &done);
		/* fewer than there were: what is left of the batch is looked at again, once */
		if (!rc && done - before && done - before < n)
			at = first;
	}
	pthread_mutex_unlock(&pool->swap.clock);
	if (n_pages)
		*n_pages = done;
	return rc;
}
