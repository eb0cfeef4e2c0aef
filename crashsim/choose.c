/* SPDX-License-Identifier: BSD-3-Clause */
/* choose -- which bytes recovery gets where there are several that it may find.
 *
 * A word's options: from its last store backwards, each piece has landed or not; what that says of
 * its group, and by ties.c of the others, narrows the intervals for the pieces before.  Two options
 * with the same bytes whose intervals together are one are one option.
 *
 * INVARIANT	an option's number depends only on the image set and the decisions before it, so that a
 *		stack of numbers is a path: it can be kept as an id, advanced, and taken again.
 */
#include "explore_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- options of a word ------------------------------------------------------------------------- */

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

uint64_t bytes_of(uint8_t mask)
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

unsigned options_of(const struct open *o, unsigned word, uint8_t mask, unsigned want,
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

bool option_value(const struct open *o, unsigned word, uint8_t mask, uint64_t value,
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

void open_touch(struct open *o)
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

void open_changed(struct open *o)
{
	if (o->changed)
		return;
	o->changed = true;
	ex.changed[ex.n_changed++] = o;
}

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

unsigned decide(uint32_t line, unsigned word, uint8_t mask, unsigned n)
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
			execution_fail("the id names a choice that there is not");
		}
		l->stack[l->n_stack++] = (struct decision){ line, (uint8_t)word, mask,
							    (uint16_t)first, (uint16_t)n };
		ex.result->choices++;
	}
	d = &l->stack[l->taken++];
	if (d->line != line || d->word != word || d->mask != mask || d->options != n)
		execution_fail(READS_OTHERWISE);
	if (ex.x->now) {
		struct failure *f = ex.x->now;

		if (ex.n_decisions + l->taken > DECISIONS_MAX)
			execution_fail(
				"recovery reads more undecided words than crashsim keeps in one path");
		f->decision[ex.n_decisions + l->taken - 1] = *d;
		f->n_decisions = ex.n_decisions + l->taken;
	}
	ex.path = digest_mix(ex.path, (uint64_t)d->chosen << 32 | line << 3 | word);
	if (ex.x->now)
		ex.x->now->path = ex.path;
	path_survived();
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
			open_touch(other);
			sector_narrow(other->set, phase, from, to, other->lo, other->hi);
		}
	}
}

void option_give(struct open *o, unsigned word, uint8_t mask, const struct option *option)
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
	open_changed(o);
}

void decision_tell(const struct open *o, const struct decision *d, uint64_t value)
{
	const struct observer *w = ex.x->observer;

	w->decided(w->ctx, ex.at, d, value, o->lo, o->hi);
}

static void read_decided(struct open *o, unsigned word, uint8_t mask)
{
	struct option option;
	unsigned n, chosen = 0;

	open_touch(o);
	mask &= (uint8_t) ~(o->known >> 8 * word);
	if (!mask)
		return;
	n = options_of(o, word, mask, UINT32_MAX, NULL);
	if (n > 1)
		chosen = decide(o->set->line, word, mask, n);
	(void)options_of(o, word, mask, chosen, &option);
	option_give(o, word, mask, &option);
	if (ex.x->observer)
		decision_tell(o,
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
		execution_fail("recovery does not end: it loops");
	if (len <= 8 && off % LINE_BYTES + len <= LINE_BYTES && !ex.x->observer) {
		uint64_t bytes = (((uint64_t)1 << len) - 1) << off % LINE_BYTES;

		if (!o || (o->touched == ex.execution && !(bytes & ~o->known)))
			return;
	}
	read_lines(off, len);
}
