/* SPDX-License-Identifier: BSD-3-Clause */
/* fault -- what a kernel does when an access meets no page, or one that it may not be written as it is.
 *
 * STATES of a page, by what stands in its entry
 *	demand-zero	any access -> present, a zeroed frame; of a snapshot, no write -> stays, and reads
 *			as zeros
 *	slot		a write -> present, a frame with the slot's content (page_fetch)
 *			no write -> the same in the table as it is, which relatives may share: the page
 *			moves, nothing changes (swap_in_page); so in a snapshot, too
 *	COW		a write -> W; a copy in a frame of its own, unless it has its frame alone
 *	nothing, or present and the access not allowed: an error that says what forbids it
 * ORDER	page streamed (S1) -> F1 of the commit [F1] -> the lines that map it
 */
#include "data.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "rcu.h"
#include "swap.h"

struct fault_args {
	struct pmpt_space *space;
	uint64_t va;
	unsigned access;
	struct pmpt_mapping *mapping;
};

/* ---- what the entries allow ------------------------------------------------------------------ */

static int denied(const struct fault_args *a, int rc, const char *what, uint64_t entry,
		  unsigned level)
{
	return error_set(rc, "%#lx %s: entry %#lx at level %u of space '%s'", va_sign(a->va), what,
			 entry, level, a->space->name);
}

/* One entry of the walk, a link or the page's. */
static int allows(const struct fault_args *a, uint64_t entry, unsigned level)
{
	if (a->access & PMPT_W && !(entry & (ENTRY_W | ENTRY_COW)))
		return denied(a, PMPT_E_DENIED_WRITE, "is not writable", entry, level);
	if (a->access & PMPT_X && entry & ENTRY_NX)
		return denied(a, PMPT_E_DENIED_EXEC, "is not executable", entry, level);
	if (a->access & PMPT_U && !(entry & ENTRY_U))
		return denied(a, PMPT_E_DENIED_USER, "is not for user mode", entry, level);
	return 0;
}

/* The entries from the top down to the page's, where the path ends.  *cow: out, a write copies, the page or
 * a table above it.  In a reader section, or the table is owned. */
static int path_allows(struct pmpt_tx *tx, const struct fault_args *a, const struct path *p,
		       bool *cow)
{
	int rc = 0;

	*cow = false;
	for (unsigned level = 4; level >= p->level && !rc; level--) {
		uint64_t entry = tx_entry(tx, p->pfn[level], path_index(p, level));

		if (!entry && p->above & ENTRY_SHARED)
			return 0; /* of a segment: zeros */
		if (!entry)
			return denied(a, PMPT_E_NOT_MAPPED, "is not mapped", entry, level);
		rc = allows(a, entry, level);
		*cow |= (entry & (ENTRY_W | ENTRY_COW)) == ENTRY_COW;
	}
	return rc;
}

/* ---- what is done about it ------------------------------------------------------------------- */

/* One more frame, counted, to be filled by the caller. */
static int frame_for(struct pmpt_tx *tx, uint64_t *pfn)
{
	uint64_t got;
	int rc = tx_frames_some(tx, 1, pfn, &got);

	return rc ? rc : tx_count_fresh(tx, *pfn, 1);
}

static void frame_stream(struct pmpt_tx *tx, uint64_t pfn, const void *page)
{
	void *frame = region_at(tx->pool->rg, pfn << FRAME_SHIFT);

	if (page)
		pm_stream(&tx->pm, frame, page, FRAME_BYTES / LINE_BYTES);
	else
		pm_stream_zero(&tx->pm, frame, FRAME_BYTES / LINE_BYTES);
	tx->unfenced = true;
}

/* A page that is not in memory comes there. */
static int bring(struct pmpt_tx *tx, const struct fault_args *a, const struct path *p,
		 uint64_t entry)
{
	_Alignas(LINE_BYTES) char page[FRAME_BYTES];
	bool zero = !entry || entry_is_demand(entry);
	uint64_t pfn = 0;
	int rc = zero ? 0 : page_fetch(tx, a->space, a->va, entry, page);

	if (!rc)
		rc = frame_for(tx, &pfn);
	if (rc)
		return rc;
	frame_stream(tx, pfn, zero ? NULL : page);
	rc = table_set(tx, p, entry ? page_moved(entry, pfn) : page_fresh(p, pfn));
	return rc ? rc : leaf_count(tx, entry, 1, -1);
}

static int copy(struct pmpt_tx *tx, const struct fault_args *a, const struct path *p,
		uint64_t entry)
{
	uint64_t pfn = 0, old = entry & ENTRY_PFN;
	int rc;

	if (old >= a->space->bytes)
		return error_set(PMPT_E_CORRUPT, "entry %#lx maps %#lx to a frame outside the pool",
				 entry, va_sign(a->va));
	if (frame_refs(tx, entry_pfn(entry)) == 1)
		return table_set(tx, p, page_moved(entry, entry_pfn(entry)));
	rc = frame_for(tx, &pfn);
	if (rc)
		return rc;
	frame_stream(tx, pfn, region_at(tx->pool->rg, old));
	rc = table_set(tx, p, page_moved(entry, pfn));
	return rc ? rc : leaf_count(tx, entry, 1, -1);
}

/* What stands at va is there, as the access wants it. */
static bool settled(const struct fault_args *a, const struct path *p, uint64_t entry, bool cow)
{
	bool write = a->access & PMPT_W;

	if (a->space->snapshot && !write && (!entry || entry_is_demand(entry)))
		return true; /* all that could be read there are zeros */
	return entry_is_leaf(entry, p->level) && !(cow && write);
}

static int look(struct pmpt_tx *tx, const struct fault_args *a, struct path *p, uint64_t *entry,
		bool *cow)
{
	int rc;

	reader_begin();
	rc = table_look(tx, a->space, a->va, 1, p, entry);
	if (!rc)
		rc = path_allows(tx, a, p, cow);
	reader_end();
	return rc;
}

/* It is not: own its table, see again, and do it. */
static int resolve(struct pmpt_tx *tx, const struct fault_args *a, struct path *p, uint64_t *entry)
{
	uint64_t page = a->va & ~(FRAME_BYTES - 1);
	bool cow;
	int rc = tx_range(tx, a->space, page, page + FRAME_BYTES);

	if (!rc)
		rc = page_table(tx, a->space, page, false, p);
	if (!rc)
		rc = path_allows(tx, a, p, &cow); /* another may have been here first */
	if (rc)
		return rc;
	*entry = table_entry(tx, p);
	if (!*entry || entry_is_reservation(*entry))
		rc = bring(tx, a, p, *entry);
	else if (!settled(a, p, *entry, cow))
		rc = copy(tx, a, p, *entry);
	*entry = table_entry(tx, p);
	return rc;
}

static int fault_call(struct pmpt_tx *tx, const void *args)
{
	const struct fault_args *a = args;
	struct path p;
	uint64_t entry = 0;
	bool cow = false;
	int rc = look(tx, a, &p, &entry, &cow), moved;

	/* a bulk transaction changes what it hides, and this is not hidden */
	while (!rc && !(a->access & PMPT_W) && !tx->bulk && entry_is_out(entry)) {
		moved = swap_in_page(tx, a->space, a->va & ~(FRAME_BYTES - 1));
		atomic_fetch_add(&tx->pool->swap.ins, !moved);
		rc = moved < 0 ? moved : look(tx, a, &p, &entry, &cow);
	}
	if (!rc && !settled(a, &p, entry, cow))
		rc = resolve(tx, a, &p, &entry);
	if (rc)
		return rc;
	leaf_decode(entry, p.above, p.level, a->va, a->mapping);
	a->mapping->flags |= entry ? 0 : PMPT_DEMAND; /* of a segment */
	return 0;
}

int pmpt_fault(pmpt_tx *tx, pmpt_space *space, uint64_t va, unsigned access,
	       struct pmpt_mapping *mapping)
{
	struct pmpt_mapping found;
	struct fault_args a = { space, va_bits(va), access, &found };
	int rc;

	if (access & ~PMPT_PROT_MASK || !access)
		return error_set(-EINVAL, "access %#x: any of PMPT_R, PMPT_W, PMPT_X, PMPT_U",
				 access);
	if (!va_canonical(va))
		return error_set(PMPT_E_ADDRESS, "address %#lx is not canonical", va);
	rc = tx_run(space->pool, tx, fault_call, &a);
	if (!rc && mapping)
		*mapping = found;
	return rc;
}
