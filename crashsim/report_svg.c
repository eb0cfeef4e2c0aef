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
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cause.h"
#include "command.h"
#include "symbol.h"

#define LEFT      96
#define TOP       128
#define COLUMN    84
#define ROW       64
#define ROWS_MAX  14u
#define ITEMS_MAX 44u
#define SOURCES   6u

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

	if (i == p->c->fence_at || i == p->c->drained_at || is_lost(h->fate))
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

static void escaped(FILE *to, const char *s)
{
	for (; *s; s++) {
		if (*s == '<')
			(void)fputs("&lt;", to);
		else if (*s == '&')
			(void)fputs("&amp;", to);
		else if ((unsigned char)*s >= 0x20)
			(void)fputc(*s, to);
	}
}

static void text(struct picture *p, int x, int y, const char *style, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
static void text(struct picture *p, int x, int y, const char *style, const char *format, ...)
{
	char words[700];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	(void)fprintf(p->to, "<text x=\"%d\" y=\"%d\" %s>", x, y, style);
	escaped(p->to, words);
	(void)fputs("</text>\n", p->to);
}

static void line(struct picture *p, int x1, int y1, int x2, int y2, const char *style)
{
	(void)fprintf(p->to, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" %s/>\n", x1, y1, x2, y2,
		      style);
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
		line(p, x - 5, y - 5, x + 5, y + 5, "stroke=\"white\" stroke-width=\"3\"");
		line(p, x - 5, y + 5, x + 5, y - 5, "stroke=\"white\" stroke-width=\"3\"");
	} else if (h->fate == FATE_SURVIVED) {
		line(p, x - 5, y, x - 1, y + 5, "stroke=\"white\" stroke-width=\"3\"");
		line(p, x - 1, y + 5, x + 6, y - 5, "stroke=\"white\" stroke-width=\"3\"");
	}
	text(p, x, y - 15, SMALL, "+%u = %#" PRIx64, (unsigned)(h->e.off % LINE_BYTES), h->e.value);
	text(p, x, y + 24, SMALL, "%s", source_of(h, words, sizeof(words)));
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
		text(p, x, y - 15, SMALL_IN(BLUE), "flush");
		text(p, x, y + 24, SMALL, "%s", source_of(h, words, sizeof(words)));
	} else if (is_fence(&h->e)) {
		line(p, x, TOP - 6, x, bottom(p), "stroke=\"" BLUE "\" stroke-width=\"2\"");
		text(p, x, TOP - 24, SMALL_IN(BLUE), "fence");
		text(p, x, TOP - 12, SMALL, "%s", source_of(h, words, sizeof(words)));
	} else {
		line(p, x, TOP - 6, x, bottom(p), "stroke=\"" GREY "\" stroke-dasharray=\"1 4\"");
		text(p, x, TOP - 24, SMALL_IN(GREY), "%s %" PRIu64,
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
		text(p, x, y - 15, SMALL, "read content %u", r->d.chosen + 1);
	else
		text(p, x, y - 15, SMALL, "+%u is %#" PRIx64, 8u * r->d.word, r->value);
	text(p, x, y + 24, SMALL, "%s", source_of(&as, words, sizeof(words)));
}

static void draw_crash(struct picture *p, size_t item)
{
	int x = column_x(item);

	line(p, x, TOP - 16, x, bottom(p) + 8, "stroke=\"" RED "\" stroke-width=\"5\"");
	text(p, x, TOP - 24,
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
	text(p, x, y - 26, HALO, "missing flush");
}

static void draw_missing(struct picture *p)
{
	const struct cause *c = p->c;
	size_t at = c->fence_at == SIZE_MAX ? SIZE_MAX : item_of(p, c->fence_at);
	int x;

	if (c->missing == MISSING_UNKNOWN || c->missing == MISSING_NOTHING)
		return;
	for (size_t k = 0; k < c->patch.n_flush && !c->patch.msync; k++)
		draw_missing_flush(p, k);
	if (c->missing == MISSING_FLUSH || at == SIZE_MAX)
		return;
	x = column_x(at) - COLUMN / 2 + (c->patch.n_flush ? 16 : 0);
	line(p, x, TOP - 30, x, bottom(p),
	     "stroke=\"" ORANGE "\" stroke-width=\"2.5\" stroke-dasharray=\"6 4\"");
	text(p, x, TOP - 36, HALO, c->patch.msync ? "missing msync" : "missing fence");
}

/* ---- the frame around it --------------------------------------------------------------------------- */

static void draw_rows(struct picture *p, int width)
{
	for (size_t i = 0; i < p->n_rows; i++) {
		(void)fprintf(p->to,
			      "<rect x=\"8\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n",
			      TOP + (int)i * ROW, width - 16, ROW, i % 2 ? "#ffffff" : "#f1f4f6");
		text(p, 16, row_y(i) - 2, "font-size=\"12\" font-weight=\"bold\" fill=\"" INK "\"",
		     "+%#" PRIx64, p->row[i] << LINE_SHIFT);
		text(p, 16, row_y(i) + 12, "font-size=\"10\" fill=\"" GREY "\"", "cache line");
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
		text(p, x + 17, y, "font-size=\"11\" fill=\"" INK "\"", "%s", entry[i].words);
		x += 32 + (int)strlen(entry[i].words) * 7;
	}
	text(p, x, y, "font-size=\"11\" fill=\"" INK "\"",
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
		text(p, 16, y, "font-size=\"12\" font-weight=\"bold\" fill=\"" ORANGE "\"", "%s",
		     words);
	free(words);
	if (p->left_out)
		text(p, 16, y + 16, "font-size=\"10\" fill=\"" GREY "\"",
		     "%zu events that matter less are left out", p->left_out);
}

/* The lines of source that the picture is about. */
static int draw_sources(struct picture *p, int y)
{
	char seen[SOURCES][200], place[200], source[200];
	size_t n = 0;

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
		text(p, 16, y, "font-size=\"12\" font-family=\"monospace\" fill=\"" INK "\"",
		     "%s  %s", place, source);
		text(p, 16 + 8 * (int)(strlen(place) + strlen(source) + 3), y,
		     "font-size=\"11\" fill=\"" GREY "\"", "%s%s%s",
		     is_lost(h->fate) ? "lost" : "too early", frames > 1 ? ", called by " : "",
		     frames > 1 ? frame[1]->function : "");
		y += 18;
	}
	return y;
}

static void draw_headings(struct picture *p)
{
	size_t crash = 0;

	text(p, 16, 26, "font-size=\"17\" font-weight=\"bold\" fill=\"" INK "\"", "%s: %s",
	     p->s->w->name, p->s->f.what);
	text(p, 16, 44, "font-size=\"11\" fill=\"" GREY "\"", "%s replay%s %s:%s", command_name(),
	     options_of_path(), p->s->w->name, p->s->f.id);
	while (crash < p->n_items && p->item[crash].what != ITEM_CRASH)
		crash++;
	text(p, LEFT, 74, "font-size=\"12\" fill=\"" GREY "\"",
	     "run, in order of time \xe2\x86\x92");
	text(p, column_x(crash) + 16, 74, "font-size=\"12\" fill=\"" GREY "\"",
	     "recovery \xe2\x86\x92");
}

void story_svg(FILE *to, const struct story *s, const struct cause *c)
{
	char *body = NULL;
	size_t size;
	struct picture p = { .to = open_memstream(&body, &size), .s = s, .c = c };
	int width, height, title;

	(void)must(p.to);
	rows_find(&p);
	items_find(&p);
	title = 40 + (int)(strlen(s->f.what) + strlen(s->w->name)) * 10;
	width = LEFT + (int)p.n_items * COLUMN + 24;
	width = width < 960 ? 960 : width;
	width = width < title ? title : width;
	draw_headings(&p);
	draw_rows(&p, width);
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
		width, height, width, height, width, height, body);
	free(body);
}
