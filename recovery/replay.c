/* SPDX-License-Identifier: BSD-3-Clause */
/* replay -- recovery: scan the log, check every target, redo, undo, and make the log dead.
 *
 * ORDER	S1 scan and check: nothing is stored before every live line is known to aim where
 *		   it may
 *		S2 redo in LSN order, undo the open bulk transaction newest first -> flush -> F1
 *		S3 checkpoint_lsn = lsn_limit - 1, lsn_limit raised (either order) -> F2: every line
 *		   ever written in a redo lane is dead, unseen [W5]
 *		S4 bulk_from = 0 -> F3.  After S3: with checkpoint_lsn not durable, redo lines older
 *		   than a committed bulk transaction are still live and would be replayed without
 *		   it [W8]
 * INVARIANTS	W2 (what counts as committed), W3 (values are absolute: a crash anywhere in here is
 *		harmless), W5.
 * SOURCES: design.md section 8.
 */
#include "replay.h"

#include <time.h>

#include "sort.h"
#include "swap_area.h"
#include "vec.h"

/* lines of a committed transaction, in consecutive slots */
struct item {
	uint64_t lsn; /* of the first */
	const struct line *line;
	uint64_t n;
};

struct replay {
	struct region *rg;
	struct mem *mem;
	struct sb *sb;
	struct pm pm;
	uint32_t seed;
	uint64_t checkpoint, bulk_from, seen; /* seen: greatest LSN of a valid line */
	struct item *item;
	size_t n_items, room_items;
	const struct line *bulk; /* live lines of the bulk lane */
	uint64_t bulk_lines;
	bool bulk_committed;
	struct extents extents;
	struct swap_area swap;
	uint64_t *table; /* PFNs that live lines make tables, ascending; and room to sort them */
	size_t n_tables, room_tables;
	uint64_t *touched; /* home lines stored, and room to sort them */
	size_t n_touched, room_touched;
	struct pmpt_recovery *report;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- scan ------------------------------------------------------------------------------------ */

static int add_item(struct replay *r, uint64_t lsn, const struct line *line, uint64_t n)
{
	int rc = vec_reserve(r->mem, &r->item, &r->room_items, r->n_items + 1, sizeof(*r->item));

	if (!rc)
		r->item[r->n_items++] = (struct item){ lsn, line, n };
	return rc;
}

/* A chain of `chain` live lines with consecutive LSNs ends at the LAST line `at` of the half: is it
 * a transaction? [W2] */
static int half_last(struct replay *r, const struct line *half, uint64_t at, uint64_t chain)
{
	uint64_t n = half[at].count;
	bool whole = n >= 1 && n <= chain;

	if (!rule_on(RULE_W2_CONTIGUOUS))
		whole = n >= 1 && n <= at + 1;
	r->report->torn += !whole;
	return whole ? add_item(r, half[at].lsn, half + at + 1 - n, n) : 0;
}

/* Scan one half from slot 0 to the first line that does not validate or whose LSN does not grow. */
static int scan_half(struct replay *r, const struct line *half)
{
	uint64_t previous = 0, chain = 0;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < r->sb->half_lines && !rc; i++) {
		const struct line *line = half + i;

		r->report->lines_scanned++;
		if (!line_valid(r->seed, line, region_off(r->rg, line)) ||
		    (line->flags & LINE_UNDO) || line->lsn <= previous)
			break;
		if (line->lsn > r->checkpoint) { /* dead lines are stepped over, not a stop */
			bool follows = chain && line->lsn == previous + 1;

			r->report->torn += chain && !follows;
			chain = follows ? chain + 1 : 1;
			if (line->flags & LINE_LAST) {
				rc = half_last(r, half, i, chain);
				chain = 0;
			}
		}
		previous = line->lsn;
		if (previous > r->seen)
			r->seen = previous;
	}
	if (chain && !rule_on(RULE_W2_LAST) && !rc)
		return add_item(r, previous - chain + 1, half + i - chain, chain);
	r->report->torn += chain != 0;
	return rc;
}

static int scan_bulk(struct replay *r)
{
	uint64_t previous = 0;

	r->bulk = region_at(r->rg, r->sb->bulk);
	if (!r->bulk_from)
		return 0;
	for (uint32_t i = 0; i < r->sb->bulk_lines && !r->bulk_committed; i++) {
		const struct line *line = r->bulk + i;

		r->report->lines_scanned++;
		if (!line_valid(r->seed, line, region_off(r->rg, line)) ||
		    !(line->flags & LINE_UNDO) || line->lsn <= previous)
			break;
		if (line->lsn < r->bulk_from && rule_on(RULE_W8_FROM_CHECK))
			break;
		previous = line->lsn;
		if (previous > r->seen)
			r->seen = previous;
		r->bulk_lines++;
		r->bulk_committed = line->flags & LINE_LAST;
	}
	if (!r->bulk_committed)
		return 0;
	for (uint64_t i = 0; i < r->bulk_lines;
	     /* each at its own LSN: redo transactions of other words lie between its batches */
	     i++) {
		int rc = add_item(r, r->bulk[i].lsn, r->bulk + i, 1);

		if (rc)
			return rc;
	}
	return 0;
}

/* ---- check ----------------------------------------------------------------------------------- */

/* Call fn for every live line: those of committed transactions, and the open bulk transaction's. */
static int each_live(struct replay *r, int (*fn)(struct replay *r, const struct line *line))
{
	int rc = 0;

	for (size_t i = 0; i < r->n_items && !rc; i++) {
		for (uint64_t k = 0; k < r->item[i].n && !rc; k++)
			rc = fn(r, r->item[i].line + k);
	}
	for (uint64_t i = 0; i < r->bulk_lines && !r->bulk_committed && !rc; i++)
		rc = fn(r, r->bulk + i);
	return rc;
}

/* n_extents after recovery: home, or the greatest that a live line stores. */
static int max_extents(struct replay *r, const struct line *line)
{
	for (unsigned k = 0; line->kind == LINE_WORDS && k < line_words(line); k++) {
		if (WHERE_CLASS(line->word[k].where) == WHERE_SB &&
		    line->word[k].new > r->extents.n)
			r->extents.n = line->word[k].new;
	}
	return 0;
}

/* Note the frames that a live line turns into tables. */
static int note_tables(struct replay *r, const struct line *line)
{
	for (unsigned k = 0; k < line_words(line); k++) {
		uint64_t first = line->kind == LINE_RUN ? RUN_FIRST(line->run.where)
							: line->word[k].where,
			 where, new;
		const struct extent *e;
		int rc;

		if (WHERE_CLASS(first) != WHERE_DESC)
			continue;
		where = line->kind == LINE_RUN ? first + 8 * (uint64_t)k : first;
		new = line->kind == LINE_RUN
			      ? (line->run.new + k * line->run.new_stride) & line->run.mask
			      : line->word[k].new;
		e = extents_find(&r->extents, WHERE_OFF(where) >> FRAME_SHIFT);
		if (desc_kind(new) != DESC_TABLE || !e ||
		    WHERE_OFF(where) < extent_desc_off(e, e->first))
			continue;
		rc = vec_reserve(r->mem, &r->table, &r->room_tables, 2 * r->n_tables + 2,
				 sizeof(*r->table));
		if (rc)
			return rc;
		r->table[r->n_tables++] =
			e->first +
			(WHERE_OFF(where) - extent_desc_off(e, e->first)) / sizeof(uint64_t);
	}
	return 0;
}

static bool noted_table(const struct replay *r, uint64_t pfn)
{
	size_t low = 0, high = r->n_tables;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (r->table[mid] == pfn)
			return true;
		if (r->table[mid] < pfn)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* A frame that an entry line may name: a table, past (its descriptor keeps the kind), present, or
 * to be.  The open bulk transaction logs its counts at its end only, so its fresh tables are still
 * free frames: to undo stores in them is harmless. */
static bool table_ok(const struct replay *r, uint64_t desc_off, uint64_t pfn, bool undo)
{
	uint64_t desc = word_load(region_at(r->rg, desc_off));

	return desc_kind(desc) == DESC_TABLE || (undo && !desc_count(desc)) || noted_table(r, pfn);
}

/* May the log store `count` words from `where` on? */
static bool target_ok(const struct replay *r, uint64_t where, uint64_t count, bool undo)
{
	uint64_t off = WHERE_OFF(where), pfn = off >> FRAME_SHIFT, len = 8 * count;
	const struct extent *e = extents_find(&r->extents, pfn);

	if (where >> 52)
		return false;
	switch (WHERE_CLASS(where)) {
	case WHERE_ENTRY:
		return e && pfn >= e->first + e->reserved &&
		       off % FRAME_BYTES + len <= FRAME_BYTES &&
		       table_ok(r, extent_desc_off(e, pfn), pfn, undo);
	case WHERE_DESC:
		if (swap_area_has(&r->swap, off, off + len))
			return off % FRAME_BYTES + len <= FRAME_BYTES;
		return e && off >= extent_desc_off(e, e->first + e->reserved) &&
		       off + len <= extent_desc_off(e, e->first + e->frames) &&
		       off % FRAME_BYTES + len <= FRAME_BYTES;
	case WHERE_DIR:
		return off >= r->sb->directory &&
		       off + len <= r->sb->directory +
					    (uint64_t)r->sb->n_spaces * sizeof(struct space_record);
	case WHERE_SB:
		return count == 1 && off == region_off(r->rg, &r->sb->n_extents);
	default:
		return false;
	}
}

static int check_line(struct replay *r, const struct line *line)
{
	for (unsigned k = 0; k < (line->kind == LINE_RUN ? 1 : line_words(line)); k++) {
		bool run = line->kind == LINE_RUN;
		uint64_t where = run ? RUN_FIRST(line->run.where) : line->word[k].where;

		if (run && line->run.where >> 61)
			where = UINT64_MAX;
		if (!target_ok(r, where, run ? RUN_COUNT(line->run.where) : 1,
			       line->flags & LINE_UNDO))
			return error_set(
				PMPT_E_CORRUPT,
				"log line at offset %#lx (LSN %lu) aims at %#lx, class %u, which is no such place",
				region_off(r->rg, line), line->lsn, WHERE_OFF(where),
				WHERE_CLASS(where));
	}
	return 0;
}

static int check_targets(struct replay *r)
{
	uint64_t n;
	int rc;

	r->extents.n = word_load(&r->sb->n_extents);
	each_live(r, max_extents);
	n = r->extents.n;
	rc = extents_load(&r->extents, r->rg, r->mem, n);
	if (!rc)
		swap_area_find(r->rg, &r->extents, &r->swap);
	if (!rc)
		rc = each_live(r, note_tables);
	if (!rc && r->n_tables)
		sort_u64(r->table, r->table + r->n_tables, r->n_tables, 0);
	return rc ? rc : each_live(r, check_line);
}

/* ---- redo and undo --------------------------------------------------------------------------- */

static int note_touched(struct replay *r, const struct line *line)
{
	for (unsigned k = 0; k < line_words(line); k++) {
		uint64_t where = line->kind == LINE_RUN
					 ? RUN_FIRST(line->run.where) + 8 * (uint64_t)k
					 : line->word[k].where;
		uint64_t line_no = WHERE_OFF(where) / LINE_BYTES;
		int rc;

		r->report->words++;
		if (r->n_touched && r->touched[r->n_touched - 1] == line_no)
			continue;
		rc = vec_reserve(r->mem, &r->touched, &r->room_touched, 2 * r->n_touched + 2,
				 sizeof(*r->touched));
		if (rc)
			return rc;
		r->touched[r->n_touched++] = line_no;
	}
	return 0;
}

/* Sort the touched lines, each once, and read a word of each page in ascending order: the kernel
 * then maps neighbours at one fault. */
static void touch_pages(struct replay *r)
{
	uint64_t page = UINT64_MAX;
	size_t n = 0;

	if (r->n_touched)
		sort_u64(r->touched, r->touched + r->n_touched, r->n_touched, 0);
	for (size_t i = 0; i < r->n_touched; i++) {
		uint64_t line_no = r->touched[i];

		if (n && r->touched[n - 1] == line_no)
			continue;
		r->touched[n++] = line_no;
		if (line_no * LINE_BYTES >> FRAME_SHIFT != page) {
			page = line_no * LINE_BYTES >> FRAME_SHIFT;
			(void)word_load(region_at(r->rg, line_no * LINE_BYTES));
			r->report->pages++;
		}
	}
	r->n_touched = n;
}

static void store_line(struct replay *r, const struct line *line, bool undo)
{
	unsigned n = line_words(line);

	for (unsigned k = 0; k < n; k++) {
		struct wal_word w = line_word(r->rg, line, undo ? n - 1 - k : k);

		wal_apply(r->rg, &r->pm, w.where, undo ? w.old : w.new);
	}
}

/* Items in the order of their LSNs; LSNs are unique, so they can be sorted by key alone. */
static int sort_items(struct replay *r)
{
	uint64_t *key = mem_alloc(r->mem, 2 * r->n_items * sizeof(*key));
	struct item *sorted = mem_alloc(r->mem, r->n_items * sizeof(*sorted));
	uint64_t base = r->checkpoint, shift = 1;
	int rc = key && sorted ? 0 : error_set(-ENOMEM, "no memory for recovery");

	while ((uint64_t)1 << shift < r->n_items)
		shift++;
	for (size_t i = 0; i < r->n_items && !rc; i++) {
		/* a live line of the bulk lane may lie at or below checkpoint_lsn, never below
		 * bulk_from */
		uint64_t lsn = r->item[i].lsn -
			       (r->bulk_from && r->bulk_from < base ? r->bulk_from - 1 : base);

		if (lsn >> (64 - shift))
			rc = error_set(
				PMPT_E_CORRUPT,
				"log line at offset %#lx has LSN %#lx, far beyond checkpoint_lsn %#lx",
				region_off(r->rg, r->item[i].line), r->item[i].lsn, base);
		key[i] = lsn << shift | i;
	}
	if (!rc) {
		sort_u64(key, key + r->n_items, r->n_items, 0);
		for (size_t i = 0; i < r->n_items; i++)
			sorted[i] = r->item[key[i] & (((uint64_t)1 << shift) - 1)];
		memcpy(r->item, sorted, r->n_items * sizeof(*sorted));
	}
	mem_free(r->mem, key, 2 * r->n_items * sizeof(*key));
	mem_free(r->mem, sorted, r->n_items * sizeof(*sorted));
	return rc;
}

static int redo_undo(struct replay *r)
{
	for (size_t i = 0; i < r->n_items; i++) {
		for (uint64_t k = 0; k < r->item[i].n; k++)
			store_line(r, r->item[i].line + k, false);
		r->report->redone += !(r->item[i].line->flags & LINE_UNDO);
	}
	r->report->redone += r->bulk_committed;
	if (!r->bulk_committed) {
		for (uint64_t i = r->bulk_lines; i-- > 0;)
			store_line(r, r->bulk + i, true);
		r->report->undone += r->bulk_lines != 0;
	}
	for (size_t i = 0; i < r->n_touched; i++)
		pm_flush(&r->pm, region_at(r->rg, r->touched[i] * LINE_BYTES), LINE_BYTES);
	return pm_fence(&r->pm); /* F1 durability: homes before their lines are dead */
}

/* ---- the end of the log ---------------------------------------------------------------------- */

static int end_bulk(struct replay *r)
{
	if (!r->bulk_from)
		return 0;
	pm_store(&r->pm, &r->sb->bulk_from, 0);
	/* F3 durability: before an LSN is drawn; a stale bulk_from revives lines */
	return pm_persist(&r->pm, &r->sb->bulk_from, sizeof(pm_word));
}

static int end_log(struct replay *r, uint64_t step)
{
	uint64_t limit = word_load(&r->sb->lsn_limit);
	int rc = rule_on(RULE_W8_RECOVERY_ORDER) ? 0 : end_bulk(r);

	if (rc)
		return rc;
	pm_store(&r->pm, &r->sb->checkpoint_lsn,
		 rule_on(RULE_W5_JUMP)     ? limit - 1
		 : r->seen > r->checkpoint ? r->seen
					   : r->checkpoint);
	pm_flush(&r->pm, &r->sb->checkpoint_lsn, sizeof(pm_word));
	pm_store(&r->pm, &r->sb->lsn_limit, limit + step);
	pm_flush(&r->pm, &r->sb->lsn_limit, sizeof(pm_word));
	/* F2 durability: all lines dead before bulk_from = 0 [W8] and before an LSN is
	 * drawn [W5] */
	rc = pm_fence(&r->pm);
	return rc || !rule_on(RULE_W8_RECOVERY_ORDER) ? rc : end_bulk(r);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int run(struct replay *r, uint64_t step)
{
	const struct line *lanes = region_at(r->rg, r->sb->lanes);
	uint64_t limit = word_load(&r->sb->lsn_limit);
	int rc = 0;

	if (limit == 0 || limit >> 63 || r->checkpoint >= limit || r->bulk_from >= limit)
		return error_set(
			PMPT_E_CORRUPT,
			"superblock at offset %#lx: checkpoint_lsn %#lx, bulk_from %#lx, expected both below lsn_limit %#lx",
			r->rg->sb_off, r->checkpoint, r->bulk_from, limit);
	for (uint64_t h = 0; h < 2 * (uint64_t)r->sb->n_lanes && !rc; h++)
		rc = scan_half(r, lanes + h * r->sb->half_lines);
	if (!rc)
		rc = scan_bulk(r);
	if (!rc)
		rc = check_targets(r);
	if (!rc)
		rc = each_live(r, note_touched);
	if (!rc && r->n_items > 1)
		rc = sort_items(r);
	if (rc)
		return rc;
	touch_pages(r);
	rc = redo_undo(r);
	return rc ? rc : end_log(r, step);
}

int replay(struct region *rg, struct mem *mem, uint64_t step, struct pmpt_recovery *report)
{
	struct sb *sb = region_sb(rg);
	struct replay r = { .rg = rg,
			    .mem = mem,
			    .sb = sb,
			    .seed = wal_crc_seed(sb->salt),
			    .checkpoint = word_load(&sb->checkpoint_lsn),
			    .bulk_from = word_load(&sb->bulk_from),
			    .report = report };
	uint64_t start = now_ns();
	int rc;

	memset(report, 0, sizeof(*report));
	pm_init(&r.pm, &rg->medium);
	rc = run(&r, step);
	extents_free(&r.extents, mem);
	mem_free(mem, r.item, r.room_items * sizeof(*r.item));
	mem_free(mem, r.table, r.room_tables * sizeof(*r.table));
	mem_free(mem, r.touched, r.room_touched * sizeof(*r.touched));
	report->recovery_ns = now_ns() - start;
	return rc;
}
