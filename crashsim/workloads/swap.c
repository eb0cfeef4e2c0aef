/* SPDX-License-Identifier: BSD-3-Clause */
/* swap -- workloads: pages out and in, slots used again, the tier turned on and off, beside a file
 * whose writes are lost, kept or torn in sectors when the power fails.
 *
 * THE FILE	is a disk (swap_disk.h) behind the library's table of calls.  What run does to it goes into
 *	a history; how far that was is a note, so that a check knows the file of its crash: what the
 *	last sync left, and pending writes.  For each page that is out after recovery the sectors of its
 *	slot are put together in every way that the pending writes allow, and it has to be read, and to
 *	be the page, in each.
 * THE PAGES	hold what their address says, or what a later write made of it: so a check knows them
 *	wherever they are.
 */
#include "actors.h"
#include "pm_bridge.h"

#include <string.h>

#define DISK_BYTES   (6u * 4096u) /* the header, those of slots, SLOTS pages */
#define DISK_PENDING 64
#include "swap_disk.h"

#define FRAMES 44
#define SLOTS  4

#define SWAP(ident, what, ...)                                                                     \
	CRASHSIM_WORKLOAD(ident, .about = what, .bytes = BUFFER_BYTES(FRAMES), .run = ident##_run, \
			  .recover = swap_recover, .check = swap_check, __VA_ARGS__)

/* ---- the file's history ---------------------------------------------------------------------- */

#define EVENTS     4096
#define NOTE_EVENT 8
#define OP_FILE    8

/* After each call that changed it, and where a run begins; all schedules behind each other. */
static struct swap_disk history[EVENTS];
static unsigned n_events;

static void keep(void)
{
	if (++n_events == EVENTS)
		abort();
	history[n_events] = disk;
	crashsim_note(NOTE_EVENT, n_events);
}

static void event(void)
{
	keep();
	crashsim_begin_again(OP_FILE);
	crashsim_returned(OP_FILE); /* the power may fail here, too */
}

/* begin: of the run; else of one of its schedules. */
static void record_file(bool begin)
{
	n_events = begin ? 0 : n_events;
	disk.done = event;
	keep();
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* The tag says which write made it. */
static uint64_t content(uint64_t va, unsigned tag, unsigned word)
{
	return va * 0x9e3779b97f4a7c15u + tag * 1000 + word;
}

static int write_page(uint64_t va, unsigned tag)
{
	pmpt_tx *tx;
	uint64_t pfn;
	pm_word *w;

	MUST(pmpt_begin(pool, 0, &tx));
	MUST(pmpt_frame_alloc(tx, 1, 1, &pfn));
	w = pmpt_frame_ptr(pool, pfn);
	for (unsigned i = 0; i < FRAME_WORDS; i++)
		atomic_store_explicit(&w[i], content(va, tag, i), memory_order_relaxed);
	MUST(pmpt_flush(tx, w, FRAME_BYTES));
	MUST(pmpt_map(tx, space, va, 1, pfn, PMPT_R | PMPT_TAG(tag) | PMPT_REPLACE));
	return pmpt_commit(tx, NULL);
}

static void same_page(uint64_t va, uint64_t entry, const volatile uint64_t *word, const char *where)
{
	unsigned tag = (unsigned)((entry & ENTRY_TAG) >> ENTRY_TAG_SHIFT);

	for (unsigned i = 0; i < FRAME_WORDS; i += i % 8 == 7 ? 57 : 1) {
		if (word[i] != content(va, tag, i))
			crashsim_fail("%#lx, %s: word %u is %#lx, expected %#lx", va, where, i,
				      word[i], content(va, tag, i));
	}
}

/* ---- check ----------------------------------------------------------------------------------- */

__attribute__((no_sanitize_thread)) static uint64_t word_of(const struct region *rg, uint64_t off)
{
	const volatile uint64_t *word = region_at(rg, off);

	crashsim_loads((const void *)(uintptr_t)word, sizeof(*word));
	return *word;
}

/* The file is as the last sync left it, with the sectors of this slot in one of the ways. */
static void out_page(const struct region *rg, const struct swap_file *f, uint64_t va,
		     uint64_t entry, uint64_t desc_off)
{
	const struct swap_disk *then = &history[crashsim_noted(NOTE_EVENT)];
	uint64_t slot = entry_pfn(entry) - SLOT_FIRST, from = swap_file_page(f, slot);
	uint32_t generation = desc_generation(word_of(rg, desc_off + 8 * slot));
	unsigned list[64], n = 0;
	uint64_t page[FRAME_WORDS];

	for (unsigned i = 0; i < then->n_pending; i++) {
		uint64_t off = (uint64_t)then->pending[i].sector * SWAP_SECTOR_BYTES;

		if (off == (swap_file_headers(slot) & ~(uint64_t)(SWAP_SECTOR_BYTES - 1)) ||
		    (off >= from && off < from + FRAME_BYTES))
			list[n++] = i;
	}
	for (unsigned way = 0; way < 1u << n; way++) {
		memcpy(disk.now, then->durable, sizeof(disk.now));
		for (unsigned k = 0; k < n; k++) {
			const struct disk_write *w = &then->pending[list[k]];

			if (way >> k & 1)
				memcpy(disk.now + (size_t)w->sector * SWAP_SECTOR_BYTES, w->data,
				       SWAP_SECTOR_BYTES);
		}
		if (swap_file_read(f, slot, generation, page))
			crashsim_fail("%#lx is out, way %u of %u sectors: %s", va, way, n,
				      pmpt_errormsg());
		same_page(va, entry, page, "in the file");
	}
}

__attribute__((no_sanitize_thread)) static void check_pages(const struct region *rg,
							    const struct swap_file *f,
							    uint64_t record, uint64_t desc_off)
{
	uint64_t table = word_of(rg, record + 8);

	for (unsigned level = 4; level > 1; level--) {
		table = word_of(rg, (table & ENTRY_PFN) + 8 * level_index(0, level));
		if (!(table & ENTRY_P))
			return;
	}
	for (unsigned i = 0; i < 16; i++) {
		uint64_t entry = word_of(rg, (table & ENTRY_PFN) + 8 * i);
		const volatile uint64_t *word;

		if (entry & ENTRY_P) {
			word = region_at(rg, entry & ENTRY_PFN);
			crashsim_loads((const void *)(uintptr_t)word, FRAME_BYTES);
			same_page(i * P4K, entry, word, "in memory");
		} else if (entry) {
			if (!desc_off)
				crashsim_fail("%#lx is out, and there is no tier", i * P4K);
			out_page(rg, f, i * P4K, entry, desc_off);
		}
	}
}

static void swap_check(void *pm)
{
	const struct region *rg = bridge_region(pm);
	struct swap_file f = { .path = "swap", .fd = 1000, .slots = SLOTS };
	struct extents extents;
	struct swap_area area;

	bridge_check(pm);
	MUST(extents_load(&extents, rg, &bridge_mem, 1));
	swap_area_find(rg, &extents, &area);
	extents_free(&extents, &bridge_mem);
	if (area.off) {
		const struct swap_area_head *head = region_at(rg, area.off);

		f.salt = head->salt;
		f.id = head->id;
	}
	for (uint32_t i = 0; i < region_sb(rg)->n_spaces; i++) {
		uint64_t record = region_sb(rg)->directory + i * sizeof(struct space_record);

		if (word_of(rg, record) && !(word_of(rg, record) & RECORD_SWAP))
			check_pages(rg, &f, record, area.off ? swap_area_descs(&area) : 0);
	}
}

/* Recovery looks at the file's header, which was durable before the pool said that there is one. */
static void swap_recover(void *pm)
{
	const struct swap_disk *then = &history[crashsim_noted(NOTE_EVENT)];

	memcpy(disk.now, then->durable, sizeof(disk.now));
	disk.there = then->there;
	disk.bytes = then->bytes;
	disk.n_pending = 0;
	disk.done = NULL;
	bridge_recover(pm);
}

/* ---- out and in ------------------------------------------------------------------------------ */

static void setup_pages(void *pm, unsigned half_lines)
{
	disk_begin();
	bridge_format(pm, &(struct shape){ .half_lines = half_lines });
	bridge_open(pm);
	for (unsigned i = 1; i < 4; i++)
		MUST(write_page(i * P4K, 1));
}

static void swap_setup(void *pm)
{
	setup_pages(pm, 16);
	MUST(pmpt_swap_on(pool, "/swap", SLOTS * P4K));
	MUST(pmpt_checkpoint(pool));
}
static void swap_run(void *pm)
{
	(void)pm;
	record_file(true);
	bridge_start();
	CALL(0, pmpt_swap_out(space, P4K, 2 * P4K, NULL));
	CALL(0, pmpt_swap_in(space, P4K, P4K, NULL));
	CALL(0, pmpt_swap_out(space, 3 * P4K, P4K, NULL));
	CALL(0, pmpt_unmap(NULL, space, 2 * P4K, P4K));
	CALL(0, pmpt_swap_in(space, P4K, 4 * P4K, NULL));
	bridge_stop();
}
SWAP(swap, "pages out to the swap file and in, one unmapped there", .setup = swap_setup)

/* Slots used again, by other pages and by the same with another content; beside live neighbours. */
static void swap_again_setup(void *pm)
{
	swap_setup(pm);
	MUST(pmpt_swap_out(space, P4K, 3 * P4K, NULL));
	MUST(pmpt_checkpoint(pool));
}
static void swap_again_run(void *pm)
{
	(void)pm;
	record_file(true);
	bridge_start();
	CALL(0, write_page(P4K, 2)); /* over one that is out: slot 0 is free */
	ASIDE(0, frames_reclaim(&pool->frames, true));
	CALL(0, pmpt_swap_out(space, P4K, P4K, NULL));
	CALL(0, pmpt_swap_in(space, 2 * P4K, 2 * P4K, NULL)); /* slots in a row: read together */
	ASIDE(0, frames_reclaim(&pool->frames, true));
	CALL(0, write_page(5 * P4K, 3));
	CALL(0, pmpt_swap_out(space, 5 * P4K, P4K, NULL));
	CALL(0, pmpt_swap_out(space, 2 * P4K, P4K, NULL));
	bridge_stop();
}
SWAP(swap_again, "slots of the swap file used again beside others", .setup = swap_again_setup)

/* ---- on and off ------------------------------------------------------------------------------ */

static void swap_on_setup(void *pm)
{
	setup_pages(pm, 16);
	MUST(pmpt_checkpoint(pool));
}
static void swap_on_run(void *pm)
{
	(void)pm;
	record_file(true);
	bridge_start();
	CALL(1, pmpt_swap_on(pool, "/swap", SLOTS * P4K));
	CALL(0, pmpt_swap_out(space, P4K, 2 * P4K, NULL));
	bridge_stop();
}
SWAP(swap_on, "a swap tier turned on, and used", .setup = swap_on_setup)

static void swap_off_setup(void *pm)
{
	swap_setup(pm);
	MUST(pmpt_swap_out(space, P4K, P4K, NULL));
	MUST(pmpt_checkpoint(pool));
}
static void swap_off_run(void *pm)
{
	(void)pm;
	record_file(true);
	bridge_start();
	CALL(0, pmpt_swap_in(space, P4K, P4K, NULL));
	CALL(1, pmpt_swap_off(pool));
	ASIDE(0, frames_reclaim(&pool->frames, true));
	CALL(0, write_page(6 * P4K, 5)); /* in frames of the area */
	CALL(0, write_page(7 * P4K, 5));
	bridge_stop();
}
SWAP(swap_off, "a swap tier turned off, its frames used for pages", .setup = swap_off_setup)

/* ---- forks, deletion, bulk ------------------------------------------------------------------- */

static void more_setup(void *pm, unsigned half_lines, unsigned spaces)
{
	disk_begin();
	bridge_format(pm, &(struct shape){ .half_lines = half_lines, .spaces = spaces });
	bridge_alone = true;
	bridge_open(pm);
	for (unsigned i = 1; i < 4; i++)
		MUST(write_page(i * P4K, 1));
	MUST(pmpt_swap_on(pool, "/swap", SLOTS * P4K));
	MUST(pmpt_swap_out(space, P4K, 2 * P4K, NULL));
	MUST(pmpt_checkpoint(pool));
}

static void swap_fork_setup(void *pm) { more_setup(pm, 16, 3); }
static void swap_fork_run(void *pm)
{
	struct pmpt_space *child = NULL;

	(void)pm;
	record_file(true);
	bridge_start();
	CALL(0, pmpt_space_fork(space, "c", 0, &child));
	CALL(0, pmpt_swap_out(child, 3 * P4K, P4K, NULL)); /* in the table of both */
	CALL(0, pmpt_unmap(NULL, child, P4K, P4K));        /* a table of its own, slots of both */
	ASIDE(0, pmpt_checkpoint(pool));
	CALL(0, pmpt_swap_in(space, 2 * P4K, 2 * P4K, NULL));
	CALL(0, pmpt_swap_in(child, 2 * P4K, P4K, NULL));
	pmpt_space_close(child);
	bridge_stop();
}
SWAP(swap_fork, "a fork shares pages that are out, and parts with them", .setup = swap_fork_setup)

/* Reads that fault: in place, in the table that a fork and a snapshot share. */
static void swap_fault_setup(void *pm)
{
	struct pmpt_space *snap = NULL;

	more_setup(pm, 12, 3);
	MUST(pmpt_space_fork(space, "snap", PMPT_FORK_SNAPSHOT, &snap));
	pmpt_space_close(snap);
	MUST(pmpt_checkpoint(pool));
}
static void swap_fault_run(void *pm)
{
	struct pmpt_space *snap = NULL;

	(void)pm;
	MUST(pmpt_space_open(pool, "snap", &snap));
	record_file(true);
	bridge_start();
	CALL(0, pmpt_fault(NULL, snap, P4K, PMPT_R, NULL));
	CALL(0, pmpt_fault(NULL, space, 2 * P4K, PMPT_R, NULL));
	pmpt_space_close(snap);
	bridge_stop();
}
SWAP(swap_fault, "faults that read bring pages in, for a snapshot too", .setup = swap_fault_setup)

static void swap_delete_setup(void *pm)
{
	struct pmpt_space *other = NULL;

	more_setup(pm, 10, 3);
	MUST(pmpt_space_fork(space, "t", 0, &other));
	MUST(pmpt_swap_out(other, 3 * P4K, P4K, NULL));
	MUST(pmpt_protect(NULL, other, P4K, 2 * P4K, PMPT_R | PMPT_X));
	pmpt_space_close(other);
	MUST(pmpt_checkpoint(pool));
}
static void swap_delete_run(void *pm)
{
	(void)pm;
	record_file(true);
	bridge_start();
	CALL(0, pmpt_space_delete(pool, "t"));
	CALL(0, pmpt_swap_out(space, 3 * P4K, P4K, NULL));
	CALL(0, pmpt_swap_in(space, P4K, 2 * P4K, NULL));
	bridge_stop();
}
SWAP(swap_delete, "a fork with pages that are out deleted", .setup = swap_delete_setup)

static int bulk(bool commit)
{
	pmpt_tx *tx;

	MUST(pmpt_begin(pool, PMPT_TX_BULK, &tx));
	MUST(pmpt_move(tx, space, P4K, space, 10 * P4K, P4K));
	MUST(pmpt_protect(tx, space, 2 * P4K, P4K, PMPT_R | PMPT_X));
	MUST(bulk_spill(tx));
	MUST(pmpt_unmap(tx, space, 2 * P4K, P4K));
	MUST(bulk_spill(tx));
	return commit ? pmpt_commit(tx, NULL) : pmpt_abort(tx);
}
static void swap_bulk_setup(void *pm) { more_setup(pm, 16, 2); }
static void swap_bulk_run(void *pm)
{
	(void)pm;
	record_file(true);
	bridge_start();
	CALL(0, bulk(false));
	CALL(0, pmpt_swap_in(space, P4K, P4K, NULL));
	CALL(0, pmpt_swap_out(space, P4K, P4K, NULL));
	bridge_stop();
}
SWAP(swap_bulk, "pages that are out in a bulk transaction, aborted", .setup = swap_bulk_setup)

/* ---- two at once ----------------------------------------------------------------------------- */

#define B SPLIT

static void swap_beside_setup(void *pm)
{
	swap_setup(pm);
	MUST(pmpt_map(NULL, space, B, 1, PMPT_PFN_ALLOC, PMPT_R | PMPT_ZERO));
	MUST(pmpt_map(NULL, space, B + P4K, 1, 9, PMPT_R | PMPT_EXT));
	MUST(pmpt_swap_out(space, B, P4K, NULL));
	MUST(pmpt_checkpoint(pool));
}
static void swap_beside_begin(void *pm)
{
	(void)pm;
	record_file(false);
	bridge_start();
}
static void swap_beside_a(void)
{
	CALL(0, pmpt_swap_out(space, P4K, 2 * P4K, NULL));
	CALL(0, pmpt_swap_in(space, P4K, P4K, NULL));
}
static void swap_beside_b(void) { CALL(1, pmpt_unmap(NULL, space, B, P4K)); }
static void swap_beside_run(void *pm)
{
	n_events = 0;
	actors_explore(pm, &(struct cast){ .begin = swap_beside_begin,
					   .end = bridge_stop,
					   .actor = { swap_beside_a, swap_beside_b } });
}
SWAP(swap_beside, "pages out and in beside an unmap of one that is out", .setup = swap_beside_setup)
