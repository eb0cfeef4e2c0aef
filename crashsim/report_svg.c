/* SPDX-License-Identifier: BSD-3-Clause */
/* report_svg -- a failure as a picture: cache lines down, time across.
 *
 * A store stands in the row of its line.  A bar goes on from it as long as a crash may lose it: to
 * the fence that makes it durable, or into the crash, where it is red when it was lost and green
 * when it survived.  Behind the crash stands what recovery read.  What is missing is drawn in
 * orange, where it should be.
 */
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cause.h"
#include "command.h"
#include "svg.h"
#include "symbol.h"

#define LEFT        96
#define TOP         128
#define COLUMN      84
#define LABEL_CHARS 13u /* that fit in it, of font size 10 */
#define ROW         64
#define WIDE_LEAST  1000 /* for the legend */
#define WIDE_MAX    1600 /* for a heading */
#define ROWS_MAX    14u
#define ITEMS_MAX   44u
#define SOURCES     6u

#define RED    "#c62828"
#define GREEN  "#2e7d32"
#define BLUE   "#1565c0"
#define ORANGE "#e65100"
#define GREY   "#78909c"
#define INK    "#263238"

enum what { ITEM_EVENT, ITEM_CRASH, ITEM_READ };

struct item { /* a column */
	enum what what;
	size_t index; /* of the event, of the crash, of the reading */
};

struct picture {
	FILE *to;
	const struct story *s;
	const struct cause *c;
	uint64_t row[ROWS_MAX]; /* lines */
	size_t n_rows, n_items, left_out;
	int width;
	struct item item[ITEMS_MAX];
};

/* ---- what is in it --------------------------------------------------------------------------------- */

static bool is_store(const struct event *e) { return e->kind == EV_STORE || e->kind == EV_STREAM; }
static bool is_flush(const struct event *e) { return e->kind == EV_CLWB || e->kind == EV_CLFLUSH; }
static bool is_fence(const struct event *e)
{
	return e->kind == EV_SFENCE || e->kind == EV_MFENCE || e->kind == EV_MSYNC;
}
static bool is_lost(enum fate f) { return f == FATE_LOST || f == FATE_TORN; }

static int row_of(const struct picture *p, uint64_t off)
{
	for (size_t i = 0; i < p->n_rows; i++) {
		if (p->row[i] == off >> LINE_SHIFT)
			return (int)i;
	}
	return -1;
}

static void row_add(struct picture *p, uint64_t off)
{
	size_t i = p->n_rows;

	if (row_of(p, off) >= 0 || p->n_rows == ROWS_MAX)
		return;
	for (; i > 0 && p->row[i - 1] > off >> LINE_SHIFT; i--)
		p->row[i] = p->row[i - 1];
	p->row[i] = off >> LINE_SHIFT;
	p->n_rows++;
}

/* Lines of which something was lost or survived; then those that recovery had a choice in. */
static void rows_find(struct picture *p)
{
	const struct story *s = p->s;

	for (size_t i = 0; i < s->n; i++) {
		if (is_lost(s->event[i].fate))
			row_add(p, s->event[i].e.off);
	}
	if (p->c->fence_at != SIZE_MAX && is_store(&s->event[p->c->fence_at].e))
		row_add(p, s->event[p->c->fence_at].e.off);
	for (size_t i = 0; i < s->n_reads; i++) {
		if (s->read[i].d.options > 1)
			row_add(p, (uint64_t)s->read[i].d.line << LINE_SHIFT);
	}
	for (size_t i = 0; i < s->n; i++) {
		if (s->event[i].fate == FATE_SURVIVED)
			row_add(p, s->event[i].e.off);
	}
}

/* How much an event is wanted; 0: not at all. */
static unsigned wanted(const struct picture *p, size_t i, size_t first)
{
	const struct happening *h = &p->s->event[i];

	if (i == p->c->fence_at || i == p->c->drained_at || i == p->c->after_at || is_lost(h->fate))
		return 4;
	if (is_store(&h->e) && row_of(p, h->e.off) < 0)
		return 0;
	if (h->fate == FATE_SURVIVED)
		return 3;
	if (i < first && h->phase == 0)
		return h->fate == FATE_UNREAD ? 1 : 0;
	if (is_flush(&h->e))
		return row_of(p, h->e.off) < 0 ? 0 : 3;
	if (is_fence(&h->e))
		return 2;
	return is_store(&h->e) || h->e.kind == EV_RETURNED || h->e.kind == EV_BEGIN ? 2 : 0;
}

static void item_add(struct picture *p, enum what what, size_t index)
{
	if (p->n_items < ITEMS_MAX)
		p->item[p->n_items++] = (struct item){ what, index };
	else
		p->left_out++;
}

static size_t first_lost(const struct story *s)
{
	size_t i = 0;

	while (i < s->n && !is_lost(s->event[i].fate))
		i++;
	return i;
}

/* Events that are wanted so much, and readings with a choice. */
static size_t item_count(const struct picture *p, unsigned least)
{
	size_t n = p->s->f.phases, first = first_lost(p->s);

	for (size_t i = 0; i < p->s->n; i++)
		n += wanted(p, i, first) >= least;
	for (size_t i = 0; i < p->s->n_reads; i++)
		n += p->s->read[i].d.options > 1;
	return n;
}

static void items_find(struct picture *p)
{
	const struct story *s = p->s;
	size_t first = first_lost(s), read = 0, i = 0, all = item_count(p, 1);
	unsigned least = 1;

	while (least < 4 && item_count(p, least) > ITEMS_MAX)
		least++;
	for (unsigned phase = 0; phase <= s->f.phases; phase++) {
		for (;; i++) {
			size_t at = i < s->n && s->event[i].phase == phase ? s->event[i].index
									   : SIZE_MAX;

			for (; read < s->n_reads && s->read[read].phase == phase &&
			       s->read[read].before <= at;
			     read++) {
				if (s->read[read].d.options > 1)
					item_add(p, ITEM_READ, read);
			}
			if (at == SIZE_MAX)
				break;
			if (wanted(p, i, first) >= least)
				item_add(p, ITEM_EVENT, i);
		}
		if (phase < s->f.phases)
			item_add(p, ITEM_CRASH, phase);
	}
	p->left_out += all - item_count(p, least);
}

/* ---- drawing --------------------------------------------------------------------------------------- */

static int column_x(size_t item) { return LEFT + (int)item * COLUMN + COLUMN / 2; }
static int row_y(size_t row) { return TOP + (int)row * ROW + ROW / 2; }
static int bottom(const struct picture *p) { return TOP + (int)p->n_rows * ROW; }

/* Of any length; in a column, its middle at x. */
#define TEXT(p, x, y, ...)  svg_text((p)->to, x, y, SIZE_MAX, __VA_ARGS__)
#define LABEL(p, x, y, ...) svg_text((p)->to, x, y, LABEL_CHARS, __VA_ARGS__)

/* From the left edge up to the right one; per: tenths of a pixel that a character takes. */
static void line_of(struct picture *p, int y, int per, const char *style, const char *words)
{
	svg_text(p->to, 16, y, (size_t)((p->width - 32) * 10 / per), style, "%s", words);
}

/* Where a happening is in the source: the frame that the program's author looks for. */
static const char *source_of(const struct happening *h, char *words, size_t size)
{
	const struct symbol *frame[1];

	words[0] = 0;
	if (story_frames(h->stack, h->n_stack, h->e.site, frame, 1))
		(void)symbol_place(frame[0], words, size);
	return strrchr(words, '/') ? strrchr(words, '/') + 1 : words;
}

#define SMALL           "font-size=\"10\" text-anchor=\"middle\" fill=\"" INK "\""
#define SMALL_IN(color) "font-size=\"10\" text-anchor=\"middle\" fill=\"" color "\""

static const char *fate_color(enum fate f)
{
	return is_lost(f) ? RED : f == FATE_SURVIVED ? GREEN : GREY;
}

/* The column in which a store is durable: of the drain behind its flush, or of the crash; or that of
 * the next store to its line, whose bar goes on. */
static size_t safe_at(const struct picture *p, size_t from)
{
	const struct happening *h = &p->s->event[p->item[from].index];
	bool flushed = h->e.kind == EV_STREAM;

	for (size_t i = from + 1; i < p->n_items; i++) {
		const struct event *e;

		if (p->item[i].what == ITEM_CRASH)
			return i;
		if (p->item[i].what != ITEM_EVENT)
			continue;
		e = &p->s->event[p->item[i].index].e;
		if (is_store(e) && e->off >> LINE_SHIFT == h->e.off >> LINE_SHIFT)
			return i;
		if (is_flush(e) && e->off >> LINE_SHIFT == h->e.off >> LINE_SHIFT) {
			if (e->kind == EV_CLFLUSH)
				return i;
			flushed = flushed || e->thread == h->e.thread;
		}
		if (h->fate == FATE_DURABLE && is_fence(e) && flushed)
			return i;
	}
	return p->n_items;
}

static void draw_store(struct picture *p, size_t item)
{
	const struct happening *h = &p->s->event[p->item[item].index];
	int row = row_of(p, h->e.off), x = column_x(item), y, end;
	const char *color = fate_color(h->fate);
	char words[200];

	if (row < 0)
		return;
	y = row_y((size_t)row);
	end = column_x(safe_at(p, item));
	(void)fprintf(
		p->to,
		"<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"10\" fill=\"%s\" fill-opacity=\"0.35\"/>\n",
		x, y - 5, end > x ? end - x : 0, color);
	(void)fprintf(p->to, "<circle cx=\"%d\" cy=\"%d\" r=\"10\" fill=\"%s\"/>\n", x, y, color);
	if (is_lost(h->fate)) {
		svg_line(p->to, x - 5, y - 5, x + 5, y + 5, "stroke=\"white\" stroke-width=\"3\"");
		svg_line(p->to, x - 5, y + 5, x + 5, y - 5, "stroke=\"white\" stroke-width=\"3\"");
	} else if (h->fate == FATE_SURVIVED) {
		svg_line(p->to, x - 5, y, x - 1, y + 5, "stroke=\"white\" stroke-width=\"3\"");
		svg_line(p->to, x - 1, y + 5, x + 6, y - 5, "stroke=\"white\" stroke-width=\"3\"");
	}
	LABEL(p, x, y - 15, SMALL, "+%u = %#" PRIx64, (unsigned)(h->e.off % LINE_BYTES),
	      h->e.value);
	LABEL(p, x, y + 24, SMALL, "%s", source_of(h, words, sizeof(words)));
}

static void draw_event(struct picture *p, size_t item)
{
	const struct happening *h = &p->s->event[p->item[item].index];
	int x = column_x(item), y, row = row_of(p, h->e.off);
	char words[200];

	if (is_store(&h->e)) {
		draw_store(p, item);
	} else if (is_flush(&h->e) && row >= 0) {
		y = row_y((size_t)row);
		(void)fprintf(p->to, "<path d=\"M%d %d h20 l-10 16 z\" fill=\"" BLUE "\"/>\n",
			      x - 10, y - 8);
		LABEL(p, x, y - 15, SMALL_IN(BLUE), "flush");
		LABEL(p, x, y + 24, SMALL, "%s", source_of(h, words, sizeof(words)));
	} else if (is_fence(&h->e)) {
		svg_line(p->to, x, TOP - 6, x, bottom(p), "stroke=\"" BLUE "\" stroke-width=\"2\"");
		LABEL(p, x, TOP - 24, SMALL_IN(BLUE), "fence");
		LABEL(p, x, TOP - 12, SMALL, "%s", source_of(h, words, sizeof(words)));
	} else {
		svg_line(p->to, x, TOP - 6, x, bottom(p),
			 "stroke=\"" GREY "\" stroke-dasharray=\"1 4\"");
		LABEL(p, x, TOP - 24, SMALL_IN(GREY), "%s %" PRIu64,
		      h->e.kind == EV_BEGIN ? "begin" : "return of", h->e.value);
	}
}

static void draw_read(struct picture *p, size_t item)
{
	const struct reading *r = &p->s->read[p->item[item].index];
	int x = column_x(item), row = row_of(p, (uint64_t)r->d.line << LINE_SHIFT), y;
	const char *color = r->d.chosen ? RED : GREEN;
	struct happening as = { .n_stack = r->n_stack };
	char words[200];

	if (row < 0)
		return;
	y = row_y((size_t)row);
	memcpy(as.stack, r->stack, sizeof(as.stack));
	(void)fprintf(p->to,
		      "<path d=\"M%d %d l12 -10 l12 10 l-12 10 z\" fill=\"white\" stroke=\"%s\" "
		      "stroke-width=\"3\"/>\n",
		      x - 12, y, color);
	if (r->d.word == LINE_WORDS)
		LABEL(p, x, y - 15, SMALL, "read content %u", r->d.chosen + 1);
	else
		LABEL(p, x, y - 15, SMALL, "+%u is %#" PRIx64, 8u * r->d.word, r->value);
	LABEL(p, x, y + 24, SMALL, "%s", source_of(&as, words, sizeof(words)));
}

static void draw_crash(struct picture *p, size_t item)
{
	int x = column_x(item);

	svg_line(p->to, x, TOP - 16, x, bottom(p) + 8, "stroke=\"" RED "\" stroke-width=\"5\"");
	TEXT(p, x, TOP - 24,
	     "font-size=\"13\" font-weight=\"bold\" text-anchor=\"middle\" fill=\"" RED "\"",
	     p->item[item].index ? "crash %zu" : "crash", p->item[item].index + 1);
}

#define HALO                                                                          \
	"font-size=\"11\" font-weight=\"bold\" text-anchor=\"middle\" fill=\"" ORANGE \
	"\" paint-order=\"stroke\" stroke=\"white\" stroke-width=\"4\""

static size_t item_of(const struct picture *p, size_t event)
{
	for (size_t i = 0; i < p->n_items; i++) {
		if (p->item[i].what == ITEM_EVENT && p->item[i].index == event)
			return i;
	}
	return SIZE_MAX;
}

/* Of a line, behind the last store to it. */
static void draw_missing_flush(struct picture *p, size_t k)
{
	const struct cause *c = p->c;
	const struct event *e = &p->s->event[c->flush_at[k]].e;
	int row = row_of(p, e->off), x, y;

	for (size_t i = k + 1; i < c->patch.n_flush; i++) {
		if (p->s->event[c->flush_at[i]].e.off >> LINE_SHIFT == e->off >> LINE_SHIFT)
			return;
	}
	if (item_of(p, c->flush_at[k]) == SIZE_MAX || row < 0)
		return;
	x = column_x(item_of(p, c->flush_at[k])) + COLUMN / 2;
	y = row_y((size_t)row);
	(void)fprintf(p->to,
		      "<path d=\"M%d %d h20 l-10 16 z\" fill=\"white\" stroke=\"" ORANGE
		      "\" stroke-width=\"2.5\" stroke-dasharray=\"4 2\"/>\n",
		      x - 10, y - 8);
	TEXT(p, x, y - 26, HALO, "missing flush");
}

static void draw_missing(struct picture *p)
{
	const struct cause *c = p->c;
	bool after = c->after_at != SIZE_MAX;
	size_t event = after ? c->after_at : c->fence_at;
	size_t at = event == SIZE_MAX ? SIZE_MAX : item_of(p, event);
	int x;

	if (c->missing == MISSING_UNKNOWN || c->missing == MISSING_NOTHING)
		return;
	for (size_t k = 0; k < c->patch.n_flush && !c->patch.msync; k++)
		draw_missing_flush(p, k);
	if (c->missing == MISSING_FLUSH || at == SIZE_MAX)
		return;
	x = column_x(at) + (after ? COLUMN / 2 : -COLUMN / 2) + (c->patch.n_flush ? 16 : 0);
	svg_line(p->to, x, TOP - 30, x, bottom(p),
		 "stroke=\"" ORANGE "\" stroke-width=\"2.5\" stroke-dasharray=\"6 4\"");
	TEXT(p, x, TOP - 36, HALO, c->patch.msync ? "missing msync" : "missing fence");
}

/* ---- the frame around it --------------------------------------------------------------------------- */

static void draw_rows(struct picture *p)
{
	for (size_t i = 0; i < p->n_rows; i++) {
		(void)fprintf(
			p->to, "<rect x=\"8\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n",
			TOP + (int)i * ROW, p->width - 16, ROW, i % 2 ? "#ffffff" : "#f1f4f6");
		TEXT(p, 16, row_y(i) - 2, "font-size=\"12\" font-weight=\"bold\" fill=\"" INK "\"",
		     "+%#" PRIx64, p->row[i] << LINE_SHIFT);
		TEXT(p, 16, row_y(i) + 12, "font-size=\"10\" fill=\"" GREY "\"", "cache line");
	}
}

static void draw_legend(struct picture *p, int y)
{
	static const struct {
		const char *color, *words;
	} entry[] = { { RED, "lost" },
		      { GREEN, "survived, by luck" },
		      { GREY, "durable, or either way" },
		      { BLUE, "flush, fence" },
		      { ORANGE, "missing" } };
	int x = 16;

	for (size_t i = 0; i < sizeof(entry) / sizeof(entry[0]); i++) {
		(void)fprintf(p->to, "<circle cx=\"%d\" cy=\"%d\" r=\"6\" fill=\"%s\"/>\n", x + 6,
			      y - 4, entry[i].color);
		TEXT(p, x + 17, y, "font-size=\"11\" fill=\"" INK "\"", "%s", entry[i].words);
		x += 32 + (int)strlen(entry[i].words) * 7;
	}
	TEXT(p, x, y, "font-size=\"11\" fill=\"" INK "\"",
	     "diamond: what recovery read, red where it is not the newest");
}

static void draw_cause(struct picture *p, int y)
{
	char *words = NULL;
	size_t size;
	FILE *memory = open_memstream(&words, &size);

	(void)must(memory);
	(void)fputs("missing: ", memory);
	cause_text(memory, p->s, p->c);
	(void)fclose(memory);
	if (p->c->missing != MISSING_UNKNOWN)
		line_of(p, y, 75, "font-size=\"12\" font-weight=\"bold\" fill=\"" ORANGE "\"",
			words);
	free(words);
	if (p->left_out)
		TEXT(p, 16, y + 16, "font-size=\"10\" fill=\"" GREY "\"",
		     "%zu events that matter less are left out", p->left_out);
}

/* The lines of source that the picture is about. */
static int draw_sources(struct picture *p, int y)
{
	char seen[SOURCES][200], place[200], source[200], words[420], why[100];
	size_t n = 0, most;

	for (size_t i = 0; i < p->n_items && n < SOURCES; i++) {
		const struct happening *h = &p->s->event[p->item[i].index];
		const struct symbol *frame[2];
		bool fence = p->item[i].what == ITEM_EVENT && p->item[i].index == p->c->fence_at;
		unsigned frames;
		size_t k = 0;

		if (p->item[i].what != ITEM_EVENT || !(is_lost(h->fate) || fence))
			continue;
		frames = story_frames(h->stack, h->n_stack, h->e.site, frame, 2);
		if (!frames || !symbol_source(frame[0], source, sizeof(source))[0])
			continue;
		(void)symbol_place(frame[0], place, sizeof(place));
		while (k < n && strcmp(seen[k], place) != 0)
			k++;
		if (k < n)
			continue;
		memcpy(seen[n++], place, sizeof(place));
		(void)snprintf(words, sizeof(words), "%s  %s", place, source);
		(void)snprintf(
			why, sizeof(why), "%s%s%.60s", is_lost(h->fate) ? "lost" : "too early",
			frames > 1 ? ", called by " : "", frames > 1 ? frame[1]->function : "");
		most = (size_t)p->width / 8 - strlen(why) - 5;
		svg_text(p->to, 16, y, most,
			 "font-size=\"12\" font-family=\"monospace\" fill=\"" INK "\"", "%s",
			 words);
		TEXT(p, 16 + 8 * (int)(strlen(words) < most ? strlen(words) + 1 : most + 1), y,
		     "font-size=\"11\" fill=\"" GREY "\"", "%s", why);
		y += 18;
	}
	return y;
}

/* The heading, and the command, which is whole. */
static void draw_headings(struct picture *p, const char *heading, const char *replay)
{
	size_t crash = 0;

	line_of(p, 26, 100, "font-size=\"17\" font-weight=\"bold\" fill=\"" INK "\"", heading);
	TEXT(p, 16, 44, "font-size=\"11\" fill=\"" GREY "\"", "%s", replay);
	while (crash < p->n_items && p->item[crash].what != ITEM_CRASH)
		crash++;
	TEXT(p, LEFT, 74, "font-size=\"12\" fill=\"" GREY "\"", "run%s \xe2\x86\x92",
	     crash < 2 ? "" : ", in order of time");
	TEXT(p, column_x(crash) + 16, 74, "font-size=\"12\" fill=\"" GREY "\"",
	     "recovery \xe2\x86\x92");
}

static int at_least(int a, int b) { return a > b ? a : b; }

void story_svg(FILE *to, const struct story *s, const struct cause *c)
{
	char *body = NULL, heading[600], replay[1000];
	size_t size;
	struct picture p = { .to = open_memstream(&body, &size), .s = s, .c = c };
	int height, wide;

	(void)must(p.to);
	rows_find(&p);
	items_find(&p);
	(void)snprintf(heading, sizeof(heading), "%s: %s", s->w->name, s->f.what);
	(void)snprintf(replay, sizeof(replay), "%s replay%s %s:%s", command_name(),
		       options_of_path(s->mode), s->w->name, s->f.id);
	wide = 32 + (int)strlen(heading) * 10;
	p.width = at_least(WIDE_LEAST, LEFT + (int)p.n_items * COLUMN + 24);
	p.width = at_least(p.width, wide < WIDE_MAX ? wide : WIDE_MAX);
	p.width = at_least(p.width, 32 + (int)strlen(replay) * 7);
	draw_headings(&p, heading, replay);
	draw_rows(&p);
	for (size_t i = 0; i < p.n_items; i++) {
		if (p.item[i].what == ITEM_EVENT)
			draw_event(&p, i);
		else if (p.item[i].what == ITEM_READ)
			draw_read(&p, i);
		else
			draw_crash(&p, i);
	}
	draw_missing(&p);
	draw_cause(&p, bottom(&p) + 32);
	height = draw_sources(&p, bottom(&p) + 68) + 14;
	draw_legend(&p, height);
	height += 18;
	(void)fclose(p.to);
	(void)fprintf(
		to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
		"font-family=\"sans-serif\">\n<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n%s</svg>\n",
		p.width, height, p.width, height, p.width, height, body);
	free(body);
}
