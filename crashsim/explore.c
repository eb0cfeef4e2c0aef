/* SPDX-License-Identifier: BSD-3-Clause */
/* explore -- see explore.h.  Enumerating every image is exponential in dirty lines; so nothing is
 * decided before recovery reads it (Gorjiara, Xu, Demsky: "Jaaru", ASPLOS 2021).
 *
 * At a read of bytes that may have come about in several ways, the options are counted, one is
 * chosen, the intervals of the groups concerned are narrowed to it, and its bytes are written into
 * the buffer just before the load.  The choices stand on a stack; recovery is run again in the same
 * process with the deepest open choice advanced, until none is open.  Only lines touched are
 * restored.
 *
 * A crash inside recovery: at each of its drains the image set is what was decided until then, with
 * recovery's own stores on top as one more phase [R15]; explored in its turn, unless an equal one
 * has been.
 */
#include "explore_state.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chance.h"
#include "hooks.h"
#include "schedule.h"
#include "unseen.h"

enum stage stage;
unsigned char *region_base;
size_t region_bytes;
void (*explore_set_seen)(const struct image_set *set, unsigned phase);

struct exploration ex;

/* ---- digests --------------------------------------------------------------------------------- */

uint64_t digest_mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t mix(uint64_t h, uint64_t v) { return digest_mix(h, v); }

static uint64_t mix_bytes(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		h = mix(h, w);
	}
	for (; len; len--)
		h = mix(h, *p++);
	return h;
}

bool digest_add(struct digests *d, uint64_t h)
{
	size_t at;

	if (2 * (d->n + 1) > d->slots) {
		struct digests old = *d;

		d->slots = old.slots ? 2 * old.slots : 1024;
		d->slot = must(calloc(d->slots, sizeof(*d->slot)));
		d->n = 0;
		for (size_t i = 0; i < old.slots; i++) {
			if (old.slot[i])
				(void)digest_add(d, old.slot[i]);
		}
		free(old.slot);
	}
	h += !h;
	for (at = h & (d->slots - 1); d->slot[at]; at = (at + 1) & (d->slots - 1)) {
		if (d->slot[at] == h)
			return false;
	}
	d->slot[at] = h;
	d->n++;
	return true;
}

static void digests_clear(struct digests *d)
{
	if (d->slot)
		memset(d->slot, 0, d->slots * sizeof(*d->slot));
	d->n = 0;
}

/* ---- options of a word ------------------------------------------------------------------------- */

struct option {
	uint64_t value;
	uint16_t lo[GROUPS], hi[GROUPS];
};

struct search { /* for the option number `want`, or how many there are */
	const struct open *o;
	unsigned word;
	uint8_t mask;
	unsigned found, want;
	bool by_value;   /* want the first with this value */
	unsigned walked; /* stores of a page walker chosen on the way */
	uint64_t value;
	struct option *out;
	bool has_last;
	struct option last; /* found, and perhaps to be joined with the next */
};

static uint64_t bytes_of(uint8_t mask)
{
	static uint64_t table[256];

	if (!table[255]) {
		for (unsigned m = 0; m < 256; m++) {
			for (unsigned i = 0; i < 8; i++)
				table[m] |= m >> i & 1 ? (uint64_t)0xff << 8 * i : 0;
		}
	}
	return table[mask];
}

/* The same bytes, and together one interval: which of the two it was, nobody can tell. */
static bool option_joined(struct option *last, uint64_t value, const uint16_t *lo,
			  const uint16_t *hi)
{
	unsigned at = GROUPS;

	if (last->value != value)
		return false;
	for (unsigned g = 0; g < GROUPS; g++) {
		if (last->lo[g] == lo[g] && last->hi[g] == hi[g])
			continue;
		if (at < GROUPS || hi[g] + 1 != last->lo[g])
			return false;
		at = g;
	}
	if (at < GROUPS)
		last->lo[at] = lo[at];
	return at < GROUPS;
}

/* The last option is whole: is it wanted? */
static bool option_whole(struct search *s)
{
	bool wanted;

	if (!s->has_last)
		return false;
	wanted = s->by_value ? s->last.value == s->value : s->found == s->want;
	if (wanted && s->out)
		*s->out = s->last;
	s->found++;
	s->has_last = false;
	return wanted && s->out;
}

static bool option_found(struct search *s, uint64_t value, const uint16_t *lo, const uint16_t *hi)
{
	if (s->has_last && option_joined(&s->last, value, lo, hi))
		return false;
	if (option_whole(s))
		return true;
	s->has_last = true;
	s->last.value = value;
	memcpy(s->last.lo, lo, sizeof(s->last.lo));
	memcpy(s->last.hi, hi, sizeof(s->last.hi));
	return false;
}

static bool search_tied(struct search *s, uint32_t i, uint8_t need, uint64_t value, uint64_t bits,
			uint16_t *lo, uint16_t *hi);

/* From the last store of the word backwards: did it land?  need: bytes still open; value, bits:
 * what later stores gave.  Returns true when the search is over. */
static bool search(struct search *s, uint32_t i, uint8_t need, uint64_t value, uint64_t bits,
		   uint16_t *lo, uint16_t *hi)
{
	const struct piece *p = NULL;
	uint64_t rest;
	uint16_t was;

	for (; i > 0; i--) {
		p = &s->o->set->piece[i - 1];
		if (p->word == s->word &&
		    (p->bits ? bytes_of(need) & p->value & ~bits : p->mask & need) &&
		    hi[p->group] > p->rank)
			break;
	}
	if (i == 0 || !need) {
		memcpy(&rest, s->o->set->base + 8 * s->word, 8);
		value |= rest & bytes_of(need);
		return option_found(s, (value | bits) & bytes_of(s->mask), lo, hi);
	}
	uint8_t left = p->bits ? need : (uint8_t)(need & ~p->mask);
	uint64_t got = p->bits ? 0 : p->value & bytes_of(p->mask & need);
	uint64_t set = p->bits ? p->value & bytes_of(need) : 0;
	bool decided = lo[p->group] > p->rank, walks = p->bits && !decided;

	/* it may have landed: at least rank + 1 */
	if (!walks || ex.walked + s->walked < options.walker) {
		was = lo[p->group];
		if (!decided)
			lo[p->group] = (uint16_t)(p->rank + 1);
		s->walked += walks;
		bool over = search_tied(s, i - 1, left, value | got, bits | set, lo, hi);

		s->walked -= walks;
		lo[p->group] = was;
		if (over)
			return true;
	}
	if (!decided) { /* it may not */
		was = hi[p->group];
		hi[p->group] = p->rank;
		bool over = search_tied(s, i - 1, need, value, bits, lo, hi);

		hi[p->group] = was;
		if (over)
			return true;
	}
	return false;
}

/* The same, after what a choice of one group says of the others. */
static bool search_tied(struct search *s, uint32_t i, uint8_t need, uint64_t value, uint64_t bits,
			uint16_t *lo, uint16_t *hi)
{
	uint16_t low[GROUPS], high[GROUPS];

	if (!s->o->set->tied)
		return search(s, i, need, value, bits, lo, hi);
	memcpy(low, lo, sizeof(low));
	memcpy(high, hi, sizeof(high));
	return ties_narrow(s->o->set, low, high) && search(s, i, need, value, bits, low, high);
}

/* How many options; out: option number `want`. */
static unsigned options_of(const struct open *o, unsigned word, uint8_t mask, unsigned want,
			   struct option *out)
{
	struct search s = { .o = o, .word = word, .mask = mask, .want = want, .out = out };
	uint16_t lo[GROUPS], hi[GROUPS];

	memcpy(lo, o->lo, sizeof(lo));
	memcpy(hi, o->hi, sizeof(hi));
	if (!search(&s, o->set->n, mask, 0, 0, lo, hi))
		(void)option_whole(&s);
	return s.found;
}

/* The bytes can be `value`; out: how. */
static bool option_value(const struct open *o, unsigned word, uint8_t mask, uint64_t value,
			 struct option *out)
{
	struct search s = {
		.o = o, .word = word, .mask = mask, .by_value = true, .value = value, .out = out
	};
	uint16_t lo[GROUPS], hi[GROUPS];

	memcpy(lo, o->lo, sizeof(lo));
	memcpy(hi, o->hi, sizeof(hi));
	return search(&s, o->set->n, mask, 0, 0, lo, hi) || option_whole(&s);
}

/* ---- decisions ------------------------------------------------------------------------------- */

static struct level *level_now(void) { return &ex.level[ex.at]; }

static void touch(struct open *o)
{
	if (o->touched == ex.execution)
		return;
	o->touched = ex.execution;
	o->known = 0;
	o->own = 0;
	o->state = 0;
	o->changed = false;
	memcpy(o->lo, o->set->lo, sizeof(o->lo));
	memcpy(o->hi, o->set->hi, sizeof(o->hi));
}

/* For the next join. */
static void changed(struct open *o)
{
	if (o->changed)
		return;
	o->changed = true;
	ex.changed[ex.n_changed++] = o;
}

static _Noreturn void back(const char *what)
{
	(void)snprintf(ex.what, sizeof(ex.what), "%s", what);
	ex.failed = true;
	threads_leave();
	siglongjmp(ex.back, 1);
}

void explore_back(void) { siglongjmp(ex.back, 1); }

void decisions_room(struct level *l, size_t n)
{
	if (n <= l->room_stack)
		return;
	l->room_stack = n < 32 ? 64 : 2 * n;
	l->stack = must(realloc(l->stack, l->room_stack * sizeof(*l->stack)));
}

/* The option that a guide wants: the one whose intervals hold its cuts. */
static unsigned guided(const struct open *o, unsigned word, uint8_t mask, unsigned n)
{
	const uint16_t *k = ex.x->guide(ex.x->ctx, o->set->line);
	struct option option;

	for (unsigned i = 0; k && i < n; i++) {
		bool in = true;

		(void)options_of(o, word, mask, i, &option);
		for (uint32_t p = 0; p < o->set->n && in; p++) {
			unsigned g = o->set->piece[p].group;

			in = option.lo[g] <= k[g] && k[g] <= option.hi[g];
		}
		if (in)
			return i;
	}
	return 0;
}

/* Take the next decision from the stack, or put a new one there.  Returns the option's number. */
static unsigned decide(uint32_t line, unsigned word, uint8_t mask, unsigned n)
{
	struct level *l = level_now();
	struct decision *d;

	if (ex.following)
		return 0;
	if (l->taken == l->n_stack) {
		unsigned first = 0;
		const struct failure *r = ex.x->replay;

		decisions_room(l, l->n_stack + 1);
		if (r && ex.n_decisions - ex.guided + l->taken < r->n_decisions)
			first = r->decision[ex.n_decisions - ex.guided + l->taken].chosen;
		if (r && ex.x->guide && ex.at == 0 && word < LINE_WORDS)
			first = guided(ex.of[line], word, mask, n);
		if (first >= n) {
			ex.x->misfit = true;
			back("the id names a choice that there is not");
		}
		l->stack[l->n_stack++] = (struct decision){ line, (uint8_t)word, mask,
							    (uint16_t)first, (uint16_t)n };
		ex.result->choices++;
	}
	d = &l->stack[l->taken++];
	if (d->line != line || d->word != word || d->mask != mask || d->options != n)
		back("recovery is not deterministic: run again on the same image, it reads otherwise");
	if (ex.x->now) {
		struct failure *f = ex.x->now;

		if (ex.n_decisions + l->taken > DECISIONS_MAX)
			back("recovery reads more undecided words than crashsim keeps in one path");
		f->decision[ex.n_decisions + l->taken - 1] = *d;
		f->n_decisions = ex.n_decisions + l->taken;
	}
	ex.path = mix(ex.path, (uint64_t)d->chosen << 32 | line << 3 | word);
	if (ex.x->now)
		ex.x->now->path = ex.path;
	for (size_t i = 0; i < ex.x->n_killers; i++) {
		if (ex.x->killer[i].path == ex.path)
			back(ex.x->killer[i].what);
	}
	return d->chosen;
}

/* How many stores of a page walker the line is decided to have. */
static unsigned line_walked(const struct open *o)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < o->set->n; i++)
		n += o->set->piece[i].bits && o->lo[o->set->piece[i].group] > o->set->piece[i].rank;
	return n;
}

/* What a line that was narrowed says of the others in its sector [R17]. */
static void narrow_sector(const struct open *o)
{
	uint32_t first = o->set->line / SECTOR_LINES * SECTOR_LINES;

	for (unsigned phase = 0; phase <= ex.at; phase++) {
		uint32_t from = 0, to = UINT32_MAX;

		sector_time(o->set, phase, o->lo, o->hi, &from, &to);
		for (uint32_t line = first; line < first + SECTOR_LINES && line < ex.lines;
		     line++) {
			struct open *other = ex.of[line];

			if (!other)
				continue;
			touch(other);
			sector_narrow(other->set, phase, from, to, other->lo, other->hi);
		}
	}
}

static void give(struct open *o, unsigned word, uint8_t mask, const struct option *option)
{
	unsigned char *home = region_base + (size_t)o->set->line * LINE_BYTES + 8 * word;
	uint64_t was;

	ex.walked -= line_walked(o);
	memcpy(o->lo, option->lo, sizeof(o->lo));
	memcpy(o->hi, option->hi, sizeof(o->hi));
	ex.walked += line_walked(o);
	if (options.persist == PERSIST_PAGE && options.order == ORDER_PREFIX && !options.no_r3)
		narrow_sector(o);
	memcpy(&was, home, 8);
	was = (was & ~bytes_of(mask)) | option->value;
	memcpy(home, &was, 8);
	o->known |= (uint64_t)mask << 8 * word;
	changed(o);
}

static void tell_decided(const struct open *o, const struct decision *d, uint64_t value)
{
	const struct observer *w = ex.x->observer;

	w->decided(w->ctx, ex.at, d, value, o->lo, o->hi);
}

static void read_decided(struct open *o, unsigned word, uint8_t mask)
{
	struct option option;
	unsigned n, chosen = 0;

	touch(o);
	mask &= (uint8_t) ~(o->known >> 8 * word);
	if (!mask)
		return;
	n = options_of(o, word, mask, UINT32_MAX, NULL);
	if (n > 1)
		chosen = decide(o->set->line, word, mask, n);
	(void)options_of(o, word, mask, chosen, &option);
	give(o, word, mask, &option);
	if (ex.x->observer)
		tell_decided(o,
			     &(struct decision){ o->set->line, (uint8_t)word, mask,
						 (uint16_t)chosen, (uint16_t)n },
			     option.value);
}

__attribute__((noinline)) static void read_lines(uint64_t off, size_t len)
{
	uint64_t end = off + len;

	if (ex.x->observer)
		ex.x->observer->read(ex.x->observer->ctx, ex.at, off, len);
	while (off < end) {
		struct open *o = ex.of[off >> LINE_SHIFT];
		unsigned word = (unsigned)(off / 8 % LINE_WORDS), at = (unsigned)(off % 8);
		unsigned n = 8 - at < end - off ? 8 - at : (unsigned)(end - off);

		if (!o) {
			off = (off | (LINE_BYTES - 1)) + 1;
			continue;
		}
		read_decided(o, word, (uint8_t)(((1u << n) - 1) << at));
		off += n;
	}
}

/* Nearly all reads are of what is one, or has been decided: they cost little. */
void explore_read(uint64_t off, size_t len)
{
	const struct open *o = ex.of[off >> LINE_SHIFT];

	if (++ex.events > options.max_events)
		back("recovery does not end: it loops");
	if (len <= 8 && off % LINE_BYTES + len <= LINE_BYTES && !ex.x->observer) {
		uint64_t bytes = (((uint64_t)1 << len) - 1) << off % LINE_BYTES;

		if (!o || (o->touched == ex.execution && !(bytes & ~o->known)))
			return;
	}
	read_lines(off, len);
}

/* ---- blocks that validate themselves ----------------------------------------------------------- */

/* Can the line be `content` in bytes that are not known?  give: make it so. */
static bool line_be(struct open *o, const unsigned char *content, bool give_it)
{
	struct open was = *o;
	bool can = true;

	for (unsigned w = 0; w < LINE_WORDS && can; w++) {
		uint8_t mask = (uint8_t) ~(o->known >> 8 * w);
		struct option option;
		uint64_t value;

		if (!mask) {
			can = !memcmp(region_base + (size_t)o->set->line * LINE_BYTES + 8 * w,
				      content + 8 * w, 8);
			continue;
		}
		memcpy(&value, content + 8 * w, 8);
		can = option_value(o, w, mask, value & bytes_of(mask), &option);
		if (can && give_it) {
			give(o, w, mask, &option);
		} else if (can) { /* narrow for the words behind it */
			memcpy(o->lo, option.lo, sizeof(o->lo));
			memcpy(o->hi, option.hi, sizeof(o->hi));
		}
	}
	if (!give_it)
		*o = was;
	return can;
}

static void line_newest(const struct open *o, bool newest, unsigned char content[LINE_BYTES])
{
	memcpy(content, o->set->base, LINE_BYTES);
	for (uint32_t i = 0; i < o->set->n; i++) {
		const struct piece *p = &o->set->piece[i];
		uint16_t k = newest ? o->hi[p->group] : o->lo[p->group];
		uint64_t word;

		if (p->rank >= k)
			continue;
		memcpy(&word, content + 8 * p->word, 8);
		word = p->bits ? word | p->value
			       : (word & ~bytes_of(p->mask)) | (p->value & bytes_of(p->mask));
		memcpy(content + 8 * p->word, &word, 8);
	}
}

#define CONTENTS 64
struct contents {
	unsigned n;
	unsigned char content[CONTENTS][LINE_BYTES];
};

static void contents_add(struct contents *c, struct open *o, const unsigned char *content)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (!memcmp(c->content[i], content, LINE_BYTES))
			return;
	}
	if (c->n < CONTENTS && line_be(o, content, false))
		memcpy(c->content[c->n++], content, LINE_BYTES);
}

/* A mixture that is none of the whole contents: one word of another option.  False: there is none. */
static bool line_invalid(struct open *o, const struct contents *c, unsigned char out[LINE_BYTES])
{
	for (unsigned i = 0; i < c->n; i++) {
		for (unsigned w = 0; w < LINE_WORDS; w++) {
			uint8_t mask = (uint8_t) ~(o->known >> 8 * w);
			unsigned n = mask ? options_of(o, w, mask, UINT32_MAX, NULL) : 0;

			for (unsigned k = 0; k < n; k++) {
				struct option option;
				uint64_t word;
				unsigned j = 0;

				(void)options_of(o, w, mask, k, &option);
				memcpy(out, c->content[i], LINE_BYTES);
				memcpy(&word, out + 8 * w, 8);
				word = (word & ~bytes_of(mask)) | option.value;
				memcpy(out + 8 * w, &word, 8);
				while (j < c->n && memcmp(c->content[j], out, LINE_BYTES))
					j++;
				if (j == c->n && line_be(o, out, false))
					return true;
			}
		}
	}
	return false;
}

static void check_line(uint32_t line)
{
	struct open *o = ex.of[line];
	const unsigned char *version;
	unsigned char content[LINE_BYTES], invalid[LINE_BYTES];
	struct contents c = { 0 };
	unsigned n, chosen = 0;
	bool more;

	if (!o)
		return;
	touch(o);
	if (!~o->known)
		return;
	line_newest(o, true, content);
	contents_add(&c, o, content);
	line_newest(o, false, content);
	contents_add(&c, o, content);
	size_t versions = ex.x->model ? model_versions(ex.x->model, line, &version) : 0;

	for (size_t i = 0; i < versions; i++)
		contents_add(&c, o, version + i * LINE_BYTES);
	more = line_invalid(o, &c, invalid);
	n = c.n + more;
	if (n == 0)
		return;
	if (n > 1)
		chosen = decide(line, LINE_WORDS, 0xff, n);
	(void)line_be(o, chosen < c.n ? c.content[chosen] : invalid, true);
	if (ex.x->observer)
		tell_decided(
			o,
			&(struct decision){ line, LINE_WORDS, 0xff, (uint16_t)chosen, (uint16_t)n },
			0);
}

void explore_checked(uint64_t off, size_t len)
{
	if (options.no_prune && len == 0)
		return;
	for (uint64_t line = off >> LINE_SHIFT; line < (off + len + LINE_BYTES - 1) >> LINE_SHIFT;
	     line++)
		check_line((uint32_t)line);
}

/* ---- recovery's own stores --------------------------------------------------------------------- */

static void save(uint32_t line)
{
	struct level *l = level_now();

	if (ex.written[line] == ex.execution)
		return;
	ex.written[line] = ex.execution;
	if (l->n_saved == l->room_saved) {
		l->room_saved = l->room_saved ? 2 * l->room_saved : 64;
		l->saved = must(realloc(l->saved, l->room_saved * sizeof(*l->saved)));
	}
	l->saved[l->n_saved].line = line;
	memcpy(l->saved[l->n_saved++].content, region_base + (size_t)line * LINE_BYTES, LINE_BYTES);
}

/* Before a store of recovery: the buffer as it was. */
void explore_before_write(uint64_t off, size_t len)
{
	for (uint64_t n = off >> LINE_SHIFT; n <= (off + len - 1) >> LINE_SHIFT; n++) {
		struct open *o = ex.of[n];

		if (o)
			touch(o);
		else
			save((uint32_t)n);
	}
}

static void mark_known(uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i++, off++) {
		struct open *o = ex.of[off >> LINE_SHIFT];

		if (!o)
			continue;
		o->known |= (uint64_t)1 << off % LINE_BYTES;
		o->own |= (uint64_t)1 << off % LINE_BYTES;
		changed(o);
	}
}

/* ---- a crash inside recovery --------------------------------------------------------------------- */

static struct line_set *line_copy(const struct open *o)
{
	struct line_set *l = must(malloc(sizeof(*l)));

	*l = *o->set;
	if (o->touched == ex.execution) {
		memcpy(l->lo, o->lo, sizeof(l->lo));
		memcpy(l->hi, o->hi, sizeof(l->hi));
	}
	l->piece = must(malloc((o->set->n + 1) * sizeof(*l->piece)));
	memcpy(l->piece, o->set->piece, o->set->n * sizeof(*l->piece));
	return l;
}

uint64_t set_digest(const struct image_set *s, unsigned phase)
{
	uint64_t sum = mix(mix(7, phase), s->walked);

	for (size_t i = 0; i < s->n; i++) {
		const struct line_set *l = s->set[i];
		uint64_t h = mix_bytes(mix(1, l->line), l->base, LINE_BYTES);

		for (uint32_t k = 0; k < l->n; k++) {
			const struct piece *p = &l->piece[k];
			uint16_t first = l->lo[p->group], last = l->hi[p->group];

			h = mix(h, p->value);
			h = mix(h,
				(uint64_t)p->word << 40 | (uint64_t)p->mask << 32 |
					(uint64_t)p->group << 24 | (uint64_t)p->bits << 16 |
					(uint64_t)p->streamed << 17 | (uint64_t)p->atomic << 18 |
					(uint64_t)(k && p->part_of && p->part_of == p[-1].part_of)
						<< 19);
			h = mix(h, (uint64_t)(uint16_t)(p->rank - first) << 16 |
					   (uint16_t)(last - first));
		}
		sum += h * (h | 1);
	}
	return sum;
}

static const struct saved *saved_of(const struct level *l, uint32_t line)
{
	for (size_t i = 0; i < l->n_saved; i++) {
		if (l->saved[i].line == line)
			return &l->saved[i];
	}
	return NULL;
}

static int by_line(const void *a, const void *b)
{
	uint32_t x = (*(struct line_set *const *)a)->line, y = (*(struct line_set *const *)b)->line;

	return x < y ? -1 : x > y;
}

/* The images of a crash now. */
static struct image_set *images_now(struct level *l)
{
	struct image_set *s = must(calloc(1, sizeof(*s)));
	const uint32_t *line;
	size_t n = stores_lines(l->stores, &line);

	s->rest = l->set->rest;
	s->walked = ex.walked;
	s->set = must(calloc(l->set->n + n + 1, sizeof(*s->set)));
	for (size_t i = 0; i < l->set->n; i++) {
		struct line_set *c = line_copy(&l->open[i]);

		stores_append(l->stores, c->line, c);
		line_set_fold(c);
		s->set[s->n++] = c;
	}
	for (size_t i = 0; i < n; i++) {
		struct line_set *c;
		const struct saved *was;

		if (ex.of[line[i]])
			continue;
		was = saved_of(l, line[i]);
		c = must(calloc(1, sizeof(*c)));
		c->line = line[i];
		memcpy(c->base, was ? was->content : region_base + (size_t)line[i] * LINE_BYTES,
		       LINE_BYTES);
		stores_append(l->stores, line[i], c);
		line_set_fold(c);
		s->set[s->n++] = c;
	}
	qsort(s->set, s->n, sizeof(*s->set), by_line);
	return s;
}

static void crash_here(void)
{
	struct level *l = level_now();
	struct image_set *s;
	const struct failure *r = ex.x->replay;

	if (ex.following || !l->stores || ex.at + 1 >= ex.x->depth || (l->taken < l->changed && !r))
		return; /* the execution before has been here */
	if (r && (ex.at + 1 >= r->phases || r->crash_in[ex.at + 1] != l->events))
		return;
	if (r && ex.x->observer)
		ex.x->observer->crash(ex.x->observer->ctx, ex.at);
	s = images_now(l);
	if (!r && !options.no_prune && !digest_add(&ex.seen, set_digest(s, ex.at))) {
		ex.result->pruned++;
		image_set_free(s);
		return;
	}
	if (l->n_nested == l->room_nested) {
		l->room_nested = l->room_nested ? 2 * l->room_nested : 16;
		l->nested = must(realloc(l->nested, l->room_nested * sizeof(*l->nested)));
	}
	l->nested[l->n_nested++] = (struct nested){ s, l->events, l->taken };
}

/* A flush or a fence that the program lacks, as if it were there. */
static void written_patched(const struct event *e)
{
	static struct event last;
	const struct patch *p = ex.x->patch;
	struct event extra = { .off = e->off & ~(uint64_t)(LINE_BYTES - 1),
			       .len = LINE_BYTES,
			       .thread = e->thread };

	ex.x->patch = NULL;
	if (patch_fence(p, e, &last)) {
		extra.kind = EV_SFENCE;
		explore_written(&extra);
	}
	explore_written(e);
	if (patch_flush(p, e)) {
		extra.kind = EV_CLWB;
		explore_written(&extra);
	}
	last = *e;
	ex.x->patch = p;
}

bool patch_fence(const struct patch *p, const struct event *e, const struct event *last)
{
	bool store = e->kind == EV_STORE || e->kind == EV_STREAM;

	if (last && e->part_of && last->part_of == e->part_of)
		return false;
	return (store && p->fence_before && e->site == p->fence_before) ||
	       (e->kind == EV_RETURNED && p->fence_before_return);
}

bool patch_flush(const struct patch *p, const struct event *e)
{
	for (size_t i = 0; i < p->n_flush && e->kind == EV_STORE; i++) {
		if (p->flush_after[i] == e->site)
			return true;
	}
	return false;
}

void explore_written(const struct event *e)
{
	struct level *l = level_now();

	if (ex.x->patch) {
		written_patched(e);
		return;
	}
	if (++ex.events > options.max_events)
		back("recovery does not end: it loops");
	if (e->kind == EV_STORE || e->kind == EV_STREAM)
		mark_known(e->off, e->len);
	ex.stored = mix(mix(ex.stored, e->value),
			(uint64_t)e->kind << 56 | (uint64_t)e->len << 48 | e->off);
	if (ex.x->observer)
		ex.x->observer->event(ex.x->observer->ctx, ex.at, e);
	bool stores = e->kind == EV_STORE || e->kind == EV_STREAM;
	bool drains = e->kind == EV_SFENCE || e->kind == EV_MFENCE || e->kind == EV_CLFLUSH ||
		      e->kind == EV_MSYNC;

	/* where the cache survives, before and behind a store too, but not inside a wide one */
	if (options.persist == PERSIST_CACHE && (stores || l->part_of))
		drains = !e->part_of || e->part_of != l->part_of;
	if (drains)
		crash_here();
	l->part_of = stores ? e->part_of : 0;
	l->unfenced = stores || (l->unfenced && !drains);
	if (l->stores)
		stores_play(l->stores, e, l->events);
	l->events++;
}

/* ---- executions ------------------------------------------------------------------------------ */

void explore_fail(const char *what)
{
	if (stage != STAGE_RECOVER) {
		(void)fprintf(stderr, "crashsim: the workload fails before any crash: %s\n", what);
		exit(2);
	}
	back(what);
}

enum crashsim_state explore_state(unsigned op) { return (enum crashsim_state)ex.x->op[op % 256]; }
unsigned explore_phase(void) { return ex.at; }
uint64_t explore_noted(unsigned slot) { return ex.x->note[slot % 64]; }
void explore_outcome(uint64_t value) { ex.outcome = mix(ex.outcome, value); }

static void failure_fill(struct failure *f, const char *what)
{
	f->crash_point = ex.x->crash_point;
	f->phases = ex.at + 1;
	for (unsigned i = 0; i <= ex.at; i++)
		f->crash_in[i] = ex.level[i].crash_in;
	(void)snprintf(f->what, sizeof(f->what), "%s", what);
}

/* Decide everything: a library will read that is not instrumented. */
static void read_all(struct level *l)
{
	for (size_t i = 0; i < l->set->n; i++) {
		uint32_t line = l->set->set[i]->line;

		if (l->set->set[i]->n)
			explore_read((uint64_t)line << LINE_SHIFT, LINE_BYTES);
		unseen_recovery_line(line);
	}
	if (options.mode != MODE_RERUN || ex.x->replay)
		unseen_recovery_all();
}

bool execute(struct level *l)
{
	unsigned char *buf = ex.x->buf;

	ex.execution++;
	ex.result->executions++;
	ex.events = 0;
	ex.failed = false;
	ex.following = false;
	ex.n_changed = 0;
	ex.stored = 0;
	ex.decided = 0;
	ex.outcome = 0;
	if (ex.x->beat)
		++*ex.x->beat;
	ex.path = l->below;
	l->taken = 0;
	l->n_saved = 0;
	l->events = 0;
	l->unfenced = ex.x->crash_at_end;
	l->part_of = 0;
	ex.walked = l->set->walked;
	if (l->stores)
		stores_reset(l->stores);
	if (ex.x->now) {
		failure_fill(ex.x->now, "");
		ex.x->now->n_decisions = ex.n_decisions;
		ex.x->now->path = ex.path;
	}
	if (!sigsetjmp(ex.back, 0)) {
		for (size_t i = 0; i < ex.x->n_killers; i++) {
			if (ex.x->killer[i].path == ex.path)
				back(ex.x->killer[i].what);
		}
		threads_begin();
		chance_begin();
		stage = STAGE_RECOVER;
		if (unseen_library)
			read_all(l);
		if (ex.x->workload->recover)
			ex.x->workload->recover(buf);
		hook_settle();
		if (level_now()->unfenced)
			crash_here();
		if (ex.x->workload->check && !ex.following)
			ex.x->workload->check(buf);
		if (ex.x->workload->twice && !ex.following) {
			if (ex.x->workload->recover)
				ex.x->workload->recover(buf);
			if (ex.x->workload->check)
				ex.x->workload->check(buf);
		}
		threads_end();
		hook_settle();
	}
	if (ex.failed)
		threads_abandon();
	stage = STAGE_IDLE;
	ex.result->reads += ex.events - l->events;
	hook_forget();
	if (unseen_library && (options.mode != MODE_RERUN || ex.x->replay))
		unseen_recovery_end();
	for (size_t i = l->n_saved; i-- > 0;)
		memcpy(region_base + (size_t)l->saved[i].line * LINE_BYTES, l->saved[i].content,
		       LINE_BYTES);
	return !ex.failed || ex.following;
}

static void install(struct level *l)
{
	for (size_t i = 0; i < l->set->n; i++) {
		struct line_set *s = l->set->set[i];

		l->open[i].set = s;
		l->open[i].touched = 0;
		if (s->n)
			ex.of[s->line] = &l->open[i];
		else
			memcpy(region_base + (size_t)s->line * LINE_BYTES, s->base, LINE_BYTES);
	}
}

static void uninstall(struct level *l)
{
	for (size_t i = 0; i < l->set->n; i++) {
		uint32_t line = l->set->set[i]->line;

		ex.of[line] = NULL;
		memcpy(region_base + (size_t)line * LINE_BYTES,
		       l->set->rest + (size_t)line * LINE_BYTES, LINE_BYTES);
	}
}

static uint64_t digest_below(const struct level *l, const struct nested *n)
{
	uint64_t h = l->below;

	for (size_t i = 0; i < n->n_decisions; i++)
		h = mix(h, (uint64_t)l->stack[i].chosen << 32 | l->stack[i].line << 3 |
				   l->stack[i].word);
	return mix(h, n->crash_in);
}

/* Decisions up to a nested crash are part of every failure behind it. */
static bool explore_nested(struct level *l)
{
	bool go_on = true;
	size_t decisions = ex.n_decisions;

	if (!l->n_nested)
		return true;
	uninstall(l);
	for (size_t i = 0; i < l->n_nested; i++) {
		if (go_on) {
			ex.result->nested++;
			ex.n_decisions = decisions + l->nested[i].n_decisions;
			if (ex.x->guide && ex.at == 0)
				ex.guided = l->nested[i].n_decisions;
			if (ex.x->now) {
				for (size_t k = 0; k < l->nested[i].n_decisions; k++)
					ex.x->now->decision[decisions + k] = l->stack[k];
			}
			ex.level[ex.at + 1].below = digest_below(l, &l->nested[i]);
			ex.at++;
			go_on = explore_level(l->nested[i].set, l->nested[i].crash_in);
			ex.at--;
		}
		image_set_free(l->nested[i].set);
	}
	ex.n_decisions = decisions;
	l->n_nested = 0;
	install(l);
	return go_on;
}

/* The deepest open choice goes on to its next option.  False: none is open. */
static bool advance(struct level *l)
{
	l->n_stack = l->taken; /* what a failure left behind it is void */
	while (l->n_stack &&
	       l->stack[l->n_stack - 1].chosen + 1 >= l->stack[l->n_stack - 1].options)
		l->n_stack--;
	if (!l->n_stack)
		return false;
	l->stack[l->n_stack - 1].chosen++;
	l->changed = l->n_stack;
	return true;
}

static void account(bool fine)
{
	if (fine && !ex.following && digest_add(&ex.outcomes, ex.outcome + 1)) {
		ex.result->outcomes++;
		ex.result->outcome_digest += mix(3, ex.outcome);
	}
}

bool explore_lazy(const struct image_set *set, size_t crash_in)
{
	struct level *l = &ex.level[ex.at];
	bool go_on = true;

	l->set = set;
	l->crash_in = crash_in;
	l->serial = ++ex.serial;
	l->open = must(calloc(set->n + 1, sizeof(*l->open)));
	l->n_stack = 0;
	l->changed = 0;
	l->n_nested = 0;
	if (ex.at + 1 < ex.x->depth && !l->stores)
		l->stores = stores_new(ex.at + 1, ex.x->bytes);
	install(l);
	if (explore_set_seen)
		explore_set_seen(set, ex.at);
	if (ex.x->observer)
		ex.x->observer->level(ex.x->observer->ctx, ex.at, set);
	do {
		bool fine;

		if (ex.x->stop && ex.x->stop(ex.x->ctx)) {
			go_on = false;
			break;
		}
		fine = options.mode == MODE_RERUN && !ex.x->replay ? execute_apart(l) : execute(l);
		account(fine);
		if (!fine && ex.x->failed && (!ex.x->replay || ex.at + 1 == ex.x->replay->phases)) {
			failure_fill(ex.x->now, ex.what);
			go_on = ex.x->failed(ex.x->ctx, ex.x->now);
		}
		if (go_on)
			go_on = explore_nested(l);
		if (ex.x->replay)
			break;
	} while (go_on && advance(l));
	for (size_t i = 0; i < l->n_nested; i++)
		image_set_free(l->nested[i].set);
	l->n_nested = 0;
	uninstall(l);
	free(l->open);
	return go_on;
}

static void room_for(size_t lines)
{
	for (unsigned i = 0; i <= PHASES_MAX; i++) { /* of another depth or size */
		stores_free(ex.level[i].stores);
		ex.level[i].stores = NULL;
	}
	if (ex.lines == lines)
		return;
	free(ex.of);
	free(ex.written);
	free(ex.changed);
	ex.of = must(calloc(lines, sizeof(*ex.of)));
	ex.written = must(calloc(lines, sizeof(*ex.written)));
	ex.changed = must(calloc(lines, sizeof(*ex.changed)));
	ex.lines = lines;
}

void explore(struct explorer *x, const struct image_set *set, struct point_result *result)
{
	ex.x = x;
	ex.result = result;
	ex.at = 0;
	ex.n_decisions = 0;
	ex.guided = 0;
	room_for(x->bytes / LINE_BYTES);
	digests_clear(&ex.seen);
	digests_clear(&ex.outcomes);
	digests_clear(&ex.joined);
	memcpy(x->buf, set->rest, x->bytes);
	if (unseen_library)
		unseen_recovery_all();
	result->images_log10 = image_set_log10(set);
	ex.level[0].below = mix(x->crash_point, 0);
	result->cut = !explore_level(set, x->crash_point) || result->cut;
	result->done = true;
}
