/* SPDX-License-Identifier: BSD-3-Clause */
/* check_log -- the verifier's look at the log as it was found.
 *
 * What a crash may leave, and is no finding: stale lines of an earlier lap or an older run, which
 * are dead; in each half at most one transaction of which only some lines landed, at its end.  A
 * gap cannot be told from damage but by what is live behind it: a lane goes on only behind a fence,
 * so whatever does not belong to the transaction at the gap is a committed one that recovery will
 * not reach.
 */
#include "check.h"
#include "error.h"
#include "sort.h"
#include "swap_area.h"
#include "vec.h"
#include "wal.h"

struct log {
	struct check *c;
	uint32_t seed;
	uint64_t checkpoint, limit, bulk_from;
	uint64_t *live; /* offsets of lines that recovery applies; bit 0: of the bulk lane */
	size_t n_live, room_live;
	uint64_t *lsn; /* of every valid line, and room to sort them */
	size_t n_lsn, room_lsn;
	uint64_t *table; /* PFNs that live lines make tables, ascending */
	size_t n_tables, room_tables;
	struct extents extents; /* with those that live lines bring into use */
	struct swap_area swap;
};

/* One lane half, or the bulk lane, slot by slot. */
struct scan {
	uint64_t off; /* of slot 0 */
	uint32_t n, at;
	bool bulk, stopped, last; /* last: the transaction at the stop has its LAST line */
	uint32_t stop;            /* the slot that ends what recovery reads */
	uint64_t previous;        /* LSN of the line before, 0: none */
	uint64_t chain;           /* live lines since the last LAST, with consecutive LSNs */
	uint64_t before;          /* LSN of the line before the chain */
	uint64_t torn;            /* offset of a LAST line that misses lines; 0: none */
	uint64_t tail;            /* LSN of a live line behind the stop, less its slot */
	bool behind;              /* there is one */
	uint32_t lost; /* lines behind the stop that do not belong to the transaction at it */
};

static bool is_live(const struct log *l, const struct scan *s, uint64_t lsn)
{
	return s->bulk ? l->bulk_from && lsn >= l->bulk_from : lsn > l->checkpoint;
}

static int add(struct log *l, uint64_t **list, size_t *n, size_t *room, uint64_t value)
{
	int rc = vec_reserve(l->c->mem, list, room, 2 * *n + 2, sizeof(**list));

	if (!rc)
		(*list)[(*n)++] = value; /* NOLINT(clang-analyzer-core.NullDereference) */
	return rc;
}

/* ---- one half ------------------------------------------------------------------------------- */

/* A live line behind the stop: may it be of the one transaction that the stop tore? */
static void behind(struct scan *s, const struct line *line)
{
	uint64_t tail = line->lsn - s->at;
	bool same = !s->behind || tail == s->tail;

	/* the LSN that the stop's slot would have */
	same = same && !s->last && tail + s->stop > s->previous;
	same = same && (!s->chain || tail + s->stop == s->previous + 1);
	if (!s->bulk && (line->flags & LINE_LAST))
		same = same && line->count > s->at - s->stop;
	s->lost += !same;
	s->last |= line->flags & LINE_LAST;
	s->tail = tail;
	s->behind = true;
}

/* The live line ends a transaction: of `count` lines, with `chain` seen.  Too few: it was torn, and
 * is the last. */
static int redo_last(struct log *l, struct scan *s, const struct line *line, uint64_t off)
{
	if (line->count < 1 || line->count > s->at + 1 || line->count < s->chain) {
		check_found(l->c, "W2", off, "LAST line counts %u lines, %lu lead to it in slot %u",
			    line->count, s->chain, s->at);
	} else if (line->count > s->chain && s->before == line->lsn - s->chain) {
		check_found(l->c, "W4", region_off(l->c->rg, &l->c->sb->checkpoint_lsn),
			    "checkpoint_lsn %lu is inside the transaction that LSN %lu ends",
			    l->checkpoint, line->lsn);
	} else if (line->count > s->chain) {
		s->torn = off;
	} else {
		for (uint64_t i = s->chain; i-- > 0;) {
			int rc = add(l, &l->live, &l->n_live, &l->room_live, off - i * LINE_BYTES);

			if (rc)
				return rc;
		}
	}
	s->chain = 0;
	return 0;
}

/* A live line that recovery reads. */
static int redo_line(struct log *l, struct scan *s, const struct line *line, uint64_t off)
{
	if (s->torn || (s->chain && line->lsn != s->previous + 1)) {
		check_found(l->c, "W2", s->torn ? s->torn : off - LINE_BYTES,
			    "a transaction misses lines, LSN %lu behind it is committed",
			    line->lsn);
		s->torn = s->chain = 0;
	}
	if (!s->chain++)
		s->before = s->previous;
	return line->flags & LINE_LAST ? redo_last(l, s, line, off) : 0;
}

static int bulk_line(struct log *l, struct scan *s, const struct line *line, uint64_t off)
{
	if (s->at == 0 && line->lsn != l->bulk_from)
		check_found(l->c, "W8", off,
			    "first line of the bulk lane has LSN %lu, bulk_from is %lu", line->lsn,
			    l->bulk_from);
	if (line->flags & LINE_LAST) {
		s->stopped = s->last = true;
		s->stop = s->at + 1;
	}
	return add(l, &l->live, &l->n_live, &l->room_live, off | 1);
}

/* A valid line by itself.  False: it is not where its kind belongs. */
static bool line_sane(struct log *l, struct scan *s, const struct line *line, uint64_t off)
{
	bool sane = !(line->flags & LINE_UNDO) == !s->bulk;

	if (line->lsn >= l->limit)
		check_found(l->c, "W5", off, "line has LSN %#lx, expected below lsn_limit %#lx",
			    line->lsn, l->limit);
	if (!sane)
		check_found(l->c, "log", off, "%s line in the %s lane",
			    s->bulk ? "a redo" : "an undo", s->bulk ? "bulk" : "redo");
	else if (line->count && (s->bulk || !(line->flags & LINE_LAST)))
		check_found(l->c, "W2", off, "line counts %u lines, expected 0 in %s", line->count,
			    s->bulk ? "the bulk lane" : "a line that is not LAST");
	return sane;
}

static int slot(struct log *l, struct scan *s)
{
	uint64_t off = s->off + (uint64_t)s->at * LINE_BYTES;
	struct line line;
	bool valid;
	int rc = 0;

	memcpy(&line, region_at(l->c->rg, off), sizeof(line)); /* once: it may be changing */
	valid = line_valid(l->seed, &line, off);
	if (valid) {
		l->c->summary->log_lines++;
		rc = add(l, &l->lsn, &l->n_lsn, &l->room_lsn, line.lsn);
		valid = line_sane(l, s, &line, off);
	}
	if (!s->stopped &&
	    (!valid || line.lsn <= s->previous || (s->bulk && !is_live(l, s, line.lsn)))) {
		s->stopped = true;
		s->stop = s->at;
	}
	if (rc || !valid)
		return rc;
	if (s->stopped) {
		if (is_live(l, s, line.lsn))
			behind(s, &line);
		return 0;
	}
	if (is_live(l, s, line.lsn))
		rc = s->bulk ? bulk_line(l, s, &line, off) : redo_line(l, s, &line, off);
	s->previous = line.lsn;
	return rc;
}

static int scan(struct log *l, uint64_t off, uint32_t n, bool bulk)
{
	struct scan s = { .off = off, .n = n, .bulk = bulk };
	int rc = 0;

	for (; s.at < n && !rc; s.at++)
		rc = slot(l, &s);
	if (s.torn && s.behind)
		check_found(l->c, "W2", s.torn, "a transaction misses lines, %s",
			    "lines behind it are live");
	else if (s.lost)
		check_found(l->c, "log", off + (uint64_t)s.stop * LINE_BYTES,
			    "recovery stops at slot %u, %u live lines behind it are lost", s.stop,
			    s.lost);
	return rc;
}

/* ---- where live lines aim ------------------------------------------------------------------- */

static int each_live(struct log *l,
		     int (*fn)(struct log *l, const struct line *line, uint64_t off, bool bulk))
{
	int rc = 0;

	for (size_t i = 0; i < l->n_live && !rc; i++) {
		uint64_t off = l->live[i] & ~(uint64_t)1;
		struct line line;

		memcpy(&line, region_at(l->c->rg, off), sizeof(line));
		if (line_valid(l->seed, &line, off)) /* still, in a pool that changes */
			rc = fn(l, &line, off, l->live[i] & 1);
	}
	return rc;
}

static int note_extents(struct log *l, const struct line *line, uint64_t off, bool bulk)
{
	(void)off, (void)bulk;
	for (unsigned k = 0; line->kind == LINE_WORDS && k < line_words(line); k++) {
		if (WHERE_CLASS(line->word[k].where) == WHERE_SB &&
		    line->word[k].new > l->extents.n)
			l->extents.n = line->word[k].new;
	}
	return 0;
}

static int note_table(struct log *l, uint64_t where, uint64_t new)
{
	const struct extent *e = extents_find(&l->extents, WHERE_OFF(where) >> FRAME_SHIFT);

	if (WHERE_CLASS(where) != WHERE_DESC || !e || desc_kind(new) != DESC_TABLE ||
	    WHERE_OFF(where) < extent_desc_off(e, e->first))
		return 0;
	return add(l, &l->table, &l->n_tables, &l->room_tables,
		   e->first + (WHERE_OFF(where) - extent_desc_off(e, e->first)) / sizeof(uint64_t));
}

static int note_tables(struct log *l, const struct line *line, uint64_t off, bool bulk)
{
	int rc = 0;

	(void)off, (void)bulk;
	for (unsigned k = 0; k < line_words(line) && !rc; k++) {
		if (line->kind == LINE_RUN)
			rc = note_table(l, RUN_FIRST(line->run.where) + 8 * (uint64_t)k,
					(line->run.new + k * line->run.new_stride) &
						line->run.mask);
		else
			rc = note_table(l, line->word[k].where, line->word[k].new);
	}
	return rc;
}

static bool noted(const struct log *l, uint64_t pfn)
{
	size_t low = 0, high = l->n_tables;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (l->table[mid] < pfn)
			low = mid + 1;
		else
			high = mid;
	}
	return low < l->n_tables && l->table[low] == pfn;
}

/* Entries may be stored in tables: past (the kind stays), present, or to be.  An open bulk
 * transaction logs its counts at its end: its tables are free frames as yet. */
static bool in_table(const struct log *l, const struct extent *e, uint64_t pfn, bool bulk)
{
	uint64_t desc = word_load(region_at(l->c->rg, extent_desc_off(e, pfn)));

	return desc_kind(desc) == DESC_TABLE || (bulk && !desc_count(desc)) || noted(l, pfn);
}

static bool aims_well(const struct log *l, uint64_t where, uint64_t count, bool bulk)
{
	uint64_t off = WHERE_OFF(where), pfn = off >> FRAME_SHIFT, end = off + 8 * count;
	const struct extent *e = extents_find(&l->extents, pfn);
	const struct sb *sb = l->c->sb;
	bool one_frame = pfn == (end - 1) >> FRAME_SHIFT;

	switch (WHERE_CLASS(where)) {
	case WHERE_ENTRY:
		return e && one_frame && pfn >= e->first + e->reserved && in_table(l, e, pfn, bulk);
	case WHERE_DESC:
		if (swap_area_has(&l->swap, off, end))
			return one_frame;
		return e && one_frame && off >= extent_desc_off(e, e->first + e->reserved) &&
		       end <= extent_desc_off(e, e->first + e->frames);
	case WHERE_DIR:
		return off >= sb->directory &&
		       end <= sb->directory + sb->n_spaces * sizeof(struct space_record);
	case WHERE_SB:
		return count == 1 && off == region_off(l->c->rg, &sb->n_extents);
	default:
		return false;
	}
}

/* What a wrong aim violates: F7 when it is a data frame in use. */
static const char *aim_rule(const struct log *l, uint64_t where)
{
	uint64_t pfn = WHERE_OFF(where) >> FRAME_SHIFT;
	const struct extent *e = extents_find(&l->extents, pfn);
	uint64_t desc = e ? word_load(region_at(l->c->rg, extent_desc_off(e, pfn))) : 0;

	return WHERE_CLASS(where) == WHERE_ENTRY && desc_count(desc) && desc_kind(desc) == DESC_DATA
		       ? "F7"
		       : "log";
}

static int check_aim(struct log *l, const struct line *line, uint64_t off, bool bulk)
{
	bool run = line->kind == LINE_RUN;

	for (unsigned k = 0; k < (run ? 1 : line_words(line)); k++) {
		uint64_t where = run ? RUN_FIRST(line->run.where) : line->word[k].where;
		unsigned count = run ? RUN_COUNT(line->run.where) : 1;
		uint64_t spare = run ? line->run.where >> 61 : where >> 52;

		if (spare || !aims_well(l, where, count, bulk))
			check_found(l->c, aim_rule(l, where), off,
				    "LSN %lu aims at %#lx, class %u, %u words: no such place",
				    line->lsn, WHERE_OFF(where), WHERE_CLASS(where), count);
	}
	return 0;
}

static int check_aims(struct log *l)
{
	uint64_t n;
	int rc;

	l->extents.n = l->c->extents.n;
	(void)each_live(l, note_extents);
	n = l->extents.n;
	rc = extents_load(&l->extents, l->c->rg, l->c->mem, n);
	if (rc == PMPT_E_CORRUPT) { /* and then the aims cannot be judged */
		check_found(l->c, "extent", region_off(l->c->rg, &l->c->sb->n_extents),
			    "the log brings %lu extents into use: %s", n, pmpt_errormsg());
		return 0;
	}
	if (!rc)
		swap_area_find(l->c->rg, &l->extents, &l->swap);
	if (!rc)
		rc = each_live(l, note_tables);
	if (!rc && l->n_tables)
		sort_u64(l->table, l->table + l->n_tables, l->n_tables, 0);
	return rc ? rc : each_live(l, check_aim);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* The words that say which lines live. */
static bool check_words(struct log *l)
{
	const struct sb *sb = l->c->sb;
	uint64_t found = l->c->summary->findings;

	if (l->limit == 0 || l->limit >> 63)
		check_found(l->c, "W5", region_off(l->c->rg, &sb->lsn_limit), "lsn_limit is %#lx",
			    l->limit);
	else if (l->checkpoint >= l->limit)
		check_found(l->c, "W4", region_off(l->c->rg, &sb->checkpoint_lsn),
			    "checkpoint_lsn is %#lx, expected below lsn_limit %#lx", l->checkpoint,
			    l->limit);
	else if (l->bulk_from >= l->limit)
		check_found(l->c, "W8", region_off(l->c->rg, &sb->bulk_from),
			    "bulk_from is %#lx, expected below lsn_limit %#lx", l->bulk_from,
			    l->limit);
	return l->c->summary->findings == found;
}

/* Offset of the last valid line with this LSN. */
static uint64_t find_line(const struct log *l, uint64_t lsn)
{
	const struct sb *sb = l->c->sb;
	uint64_t redo = 2 * (uint64_t)sb->n_lanes * sb->half_lines, found = 0;

	for (uint64_t i = 0; i < redo + sb->bulk_lines; i++) {
		uint64_t off =
			i < redo ? sb->lanes + i * LINE_BYTES : sb->bulk + (i - redo) * LINE_BYTES;
		struct line line;

		memcpy(&line, region_at(l->c->rg, off), sizeof(line));
		if (line.lsn == lsn && line_valid(l->seed, &line, off))
			found = off;
	}
	return found;
}

static void check_unique(struct log *l)
{
	if (l->n_lsn)
		sort_u64(l->lsn, l->lsn + l->n_lsn, l->n_lsn, 0);
	for (size_t i = 1; i < l->n_lsn; i++) {
		if (l->lsn[i] == l->lsn[i - 1])
			check_found(l->c, "W5", find_line(l, l->lsn[i]),
				    "another line has LSN %lu too", l->lsn[i]);
	}
}

int check_log(struct check *c)
{
	const struct sb *sb = c->sb;
	struct log l = { .c = c,
			 .seed = wal_crc_seed(sb->salt),
			 .checkpoint = word_load(&sb->checkpoint_lsn),
			 .limit = word_load(&sb->lsn_limit),
			 .bulk_from = word_load(&sb->bulk_from) };
	int rc = 0;

	if (!check_words(&l))
		return 0;
	for (uint64_t h = 0; h < 2 * (uint64_t)sb->n_lanes && !rc; h++)
		rc = scan(&l, sb->lanes + h * sb->half_lines * LINE_BYTES, sb->half_lines, false);
	if (!rc)
		rc = scan(&l, sb->bulk, sb->bulk_lines, true);
	if (!rc)
		rc = check_aims(&l);
	if (!rc)
		check_unique(&l);
	extents_free(&l.extents, c->mem);
	mem_free(c->mem, l.live, l.room_live * sizeof(*l.live));
	mem_free(c->mem, l.lsn, l.room_lsn * sizeof(*l.lsn));
	mem_free(c->mem, l.table, l.room_tables * sizeof(*l.table));
	return rc;
}
