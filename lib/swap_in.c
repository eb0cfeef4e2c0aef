/* SPDX-License-Identifier: BSD-3-Clause */
/* swap_in -- see swap.h: pages in.
 *
 * A range comes in by batches: up to SWAP_BATCH pages of one table are a transaction, and those of them
 * that lie in a row, in the space and in the file, are read together.  Where a batch fails its pages are
 * tried one by one, so that those before the bad one are in.
 */
#include <sched.h>

#include "error.h"
#include "policy.h"
#include "rcu.h"
#include "swap.h"
#include "table.h"

#define CHANGED SWAP_CHANGED
#define TRIES   256

struct in_room {
	_Alignas(LINE_BYTES) char page[SWAP_BATCH][FRAME_BYTES];
	struct swap_slot head[SWAP_BATCH];
	uint32_t generation[SWAP_BATCH];
	unsigned n; /* of the last batch: pages */
};

/* ---- reading --------------------------------------------------------------------------------- */

/* What the slot that an entry names must have; the file lock is held. */
static int slot_generation(struct pmpt_pool *pool, uint64_t entry, uint32_t *generation)
{
	struct swap *s = &pool->swap;
	uint64_t number = entry_pfn(entry);
	const pm_word *desc =
		number >= SLOT_FIRST && s->area.off ? frames_desc(&pool->frames, number) : NULL;

	if (!desc)
		return error_set(PMPT_E_SLOT, "entry %#lx names a slot that the pool does not have",
				 entry);
	if (s->missing)
		return error_set(PMPT_E_SLOT, "slot %lu: the swap file is lost: %s",
				 number - SLOT_FIRST, s->why);
	*generation = atomic_load_explicit(&s->written[number - SLOT_FIRST], memory_order_acquire);
	if (!*generation)
		*generation = desc_generation(word_load(desc));
	return 0;
}

/* The pages of n slots in a row, from that of the first entry on. */
static int fetch(struct pmpt_pool *pool, const uint64_t *entry, unsigned n, uint32_t *generation,
		 struct swap_slot *head, void *buf)
{
	struct swap *s = &pool->swap;
	int rc = 0;

	pthread_rwlock_rdlock(&s->file_lock);
	for (unsigned i = 0; i < n && !rc; i++)
		rc = slot_generation(pool, entry[i], &generation[i]);
	if (!rc)
		rc = swap_file_read_run(&s->file, entry_pfn(entry[0]) - SLOT_FIRST, n, generation,
					buf, head);
	pthread_rwlock_unlock(&s->file_lock);
	return rc;
}

int swap_fetch(struct pmpt_pool *pool, uint64_t entry, void *buf)
{
	struct swap_slot head;
	uint32_t generation;

	return fetch(pool, &entry, 1, &generation, &head, buf);
}

/* ---- one page -------------------------------------------------------------------------------- */

/* A: it was asked for, so it has its turn before it goes again. */
static uint64_t entry_in(uint64_t entry, uint64_t pfn)
{
	return (entry & ~(ENTRY_PFN | ENTRY_KIND)) | ENTRY_P | ENTRY_A | pfn << FRAME_SHIFT;
}

int swap_in_entry(struct pmpt_tx *tx, const struct path *p, uint64_t entry)
{
	struct pmpt_pool *pool = tx->pool;
	_Alignas(LINE_BYTES) char page[4096];
	uint64_t pfn = 0;
	int rc = swap_fetch(pool, entry, page);

	if (!rc)
		rc = tx_frames_take(tx, 1, 1, &pfn);
	if (rc)
		return rc;
	pm_stream(&tx->pm, region_at(pool->rg, pfn << FRAME_SHIFT), page, FRAME_BYTES / LINE_BYTES);
	tx->unfenced = true; /* [F1] */
	rc = tx_count(tx, pfn, 1, DESC_DATA, 1);
	if (!rc)
		rc = reservation_count(tx, entry, -1);
	if (!rc)
		rc = table_set(tx, p, entry_in(entry, pfn));
	return rc;
}

int swap_in_page(struct pmpt_tx *tx, struct pmpt_space *space, uint64_t va)
{
	struct path p;
	uint64_t entry;
	int rc = swap_own_table(tx, space, va, &p);

	if (rc)
		return rc;
	entry = table_entry(tx, &p);
	return entry_is_out(entry) ? swap_in_entry(tx, &p, entry) : CHANGED;
}

struct in_args {
	struct pmpt_space *space;
	uint64_t va, end;
	struct in_room *room;
};

static int page_call(struct pmpt_tx *tx, const void *args)
{
	const struct in_args *a = args;

	return swap_in_page(tx, a->space, a->va);
}

/* The next address of [va, end) whose page is out. */
static bool next_out(const struct pmpt_space *space, uint64_t *va, uint64_t end)
{
	bool found = false;

	while (!found && *va < end) {
		const pm_word *table;

		reader_begin();
		table = swap_table(space, va, end);
		for (unsigned i = level_index(*va, 1);
		     table && i < FRAME_WORDS && *va < end && !found; i++) {
			found = entry_is_out(word_load(&table[i]));
			*va += found ? 0 : FRAME_BYTES;
		}
		reader_end();
		if (!table)
			break;
	}
	return found;
}

/* ---- a batch --------------------------------------------------------------------------------- */

/* n pages from p->va on, whose slots lie in a row. */
static int run_in(struct pmpt_tx *tx, struct in_room *room, const struct path *p,
		  const uint64_t *entry, unsigned n)
{
	struct pmpt_pool *pool = tx->pool;
	uint64_t value[SWAP_BATCH];
	struct path at = *p;
	int rc = fetch(pool, entry, n, room->generation, room->head, room->page);

	for (unsigned done = 0; done < n && !rc;) {
		uint64_t pfn = 0, got = 0;

		rc = tx_frames_some(tx, n - done, &pfn, &got);
		if (!rc)
			rc = tx_count_fresh(tx, pfn, got);
		for (; got && !rc; got--, done++, pfn++, at.va += FRAME_BYTES) {
			pm_stream(&tx->pm, region_at(pool->rg, pfn << FRAME_SHIFT),
				  room->page[done], FRAME_BYTES / LINE_BYTES);
			tx->unfenced = true; /* [F1] */
			value[done] = entry_in(entry[done], pfn);
			if (policy_judges(pool))
				rc = policy_entry(tx, &at, entry[done], value[done]);
		}
	}
	if (!rc)
		rc = tx_count(tx, entry_pfn(entry[0]), n, DESC_SLOT, -1);
	if (!rc)
		rc = tx_set_entries(tx, p->pfn[1], path_index(p, 1), n, value);
	return rc;
}

/* How many from the ith on are out to slots in a row; at most `most`. */
static unsigned run_of(const uint64_t *entry, unsigned i, unsigned n, unsigned most)
{
	unsigned run = 0;

	while (run < most && i + run < n && entry_is_out(entry[i + run]) &&
	       entry_pfn(entry[i + run]) == entry_pfn(entry[i]) + run)
		run++;
	return run;
}

/* The pages that are out in one table, from va on. */
static int batch_call(struct pmpt_tx *tx, const void *args)
{
	const struct in_args *a = args;
	uint64_t entry[FRAME_WORDS], left = (a->end - a->va) >> FRAME_SHIFT;
	unsigned first = level_index(a->va, 1), n = FRAME_WORDS - first, done = 0;
	struct path p;
	int rc = swap_own_table(tx, a->space, a->va, &p);

	if (rc)
		return rc;
	n = n < left ? n : (unsigned)left;
	tx_entries(tx, p.pfn[1], first, n, entry);
	for (unsigned i = 0, run; i < n && done < SWAP_BATCH && !rc; i += run ? run : 1) {
		run = run_of(entry, i, n, SWAP_BATCH - done);
		p.va = a->va + (uint64_t)i * FRAME_BYTES;
		if (run)
			rc = run_in(tx, a->room, &p, &entry[i], run);
		done += run;
	}
	a->room->n = done;
	return rc;
}

/* One transaction: pages from *va on, at most SWAP_BATCH.  *n: out, planned. */
static int in_batch(struct pmpt_tx *tx, struct in_args *a, uint64_t *n)
{
	int rc;

	*n = 0;
	if (!next_out(a->space, &a->va, a->end))
		return 0;
	rc = a->room ? tx_run(tx->pool, tx, batch_call, a) : -ENOMEM;
	if (!rc || rc == PMPT_E_CONFLICT) {
		*n = rc ? 0 : a->room->n;
		return rc;
	}
	for (; *n < SWAP_BATCH && next_out(a->space, &a->va, a->end); a->va += FRAME_BYTES) {
		rc = tx_run(tx->pool, tx, page_call, a);
		if (rc < 0)
			return rc;
		*n += !rc;
	}
	return 0;
}

int swap_in_range(struct pmpt_space *space, uint64_t va, uint64_t end, uint64_t *done)
{
	struct in_args a = { .space = space, .va = va, .end = end };
	int rc = 0, tries = 0;

	if (next_out(space, &a.va, end)) /* without: one by one */
		a.room = mem_alloc(&space->pool->mem, sizeof(*a.room));
	while (!rc && next_out(space, &a.va, end)) {
		struct pmpt_tx *tx;
		uint64_t n, from = a.va;
		int stop;

		rc = pmpt_begin(space->pool, 0, &tx);
		if (rc)
			break;
		stop = in_batch(tx, &a, &n);
		if (n)
			rc = pmpt_commit(tx, NULL);
		if (tx_is_open(tx))
			(void)pmpt_abort(tx);
		if (rc == PMPT_E_CONFLICT) {
			a.va = from; /* none of them is in */
			n = 0;
			stop = rc;
			rc = 0;
		}
		if (!rc) {
			*done += n;
			atomic_fetch_add(&space->pool->swap.ins, n);
		}
		if (!rc && stop && !(stop == PMPT_E_TX_TOO_LARGE && n)) {
			if (stop != PMPT_E_CONFLICT || tries++ >= TRIES)
				rc = stop;
			else
				sched_yield();
		}
	}
	mem_free(&space->pool->mem, a.room, sizeof(*a.room));
	return rc;
}

int pmpt_swap_in(pmpt_space *space, uint64_t va, uint64_t len_bytes, uint64_t *n_pages)
{
	uint64_t at = 0, done = 0;
	int rc = va_range(va, len_bytes, FRAME_BYTES, &at);

	if (!rc)
		rc = pool_writable(space->pool);
	if (rc)
		return rc;
	rc = swap_in_range(space, at, at + len_bytes, &done);
	if (n_pages)
		*n_pages = done;
	return rc;
}
