/* SPDX-License-Identifier: BSD-3-Clause */
/* ties -- sets of images: what the groups of a line have to do with each other, what has landed,
 * how many images a set stands for.
 *
 * A group is a prefix by itself.  Where pieces of different groups are ordered, a later one that has
 * landed brings the earlier ones with it:
 *	same word	whatever kind of store: a word's stores land in order [R3, R11 "same address"]
 *	wide store	its pieces, in any order, behind all stores of the line before it and before
 *			all behind it [R3, R4]
 *	movdir64b	its pieces together or not at all [R5]
 *	page walker	its bits, behind what the line had when the walker could first set them [R16]
 * Each tie says "if more than a of this group, then more than b of that one".  Intervals narrowed
 * until nothing changes are therefore exact: both their lower and their upper ends are images.
 */
#include "engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool prefix_of_line(void) { return options.order == ORDER_PREFIX && !options.no_r3; }

static unsigned phase_of(const struct piece *p) { return p->group / PHASE_GROUPS; }

/* A store through the cache that has a place in the order of its line. */
static bool in_line_order(const struct piece *p)
{
	return !p->bits && !p->streamed && prefix_of_line();
}

static bool one_store(const struct piece *a, const struct piece *b)
{
	return a->part_of && a->part_of == b->part_of && phase_of(a) == phase_of(b);
}

void line_set_tie(struct line_set *l)
{
	uint8_t cached[PHASES_MAX] = { 0 }, streamed[PHASES_MAX] = { 0 }; /* words, by phase */

	l->tied = false;
	for (uint32_t i = 0; i < l->n && !l->tied; i++) {
		const struct piece *p = &l->piece[i];
		uint8_t word = (uint8_t)(1u << p->word);

		if (p->bits) {
			l->tied = i > 0;
			continue;
		}
		if (p->atomic || (p->part_of && in_line_order(p)))
			l->tied = true;
		if (p->streamed)
			streamed[phase_of(p)] |= word;
		else
			cached[phase_of(p)] |= word;
		if (prefix_of_line() && cached[phase_of(p)] & streamed[phase_of(p)] & word)
			l->tied = true;
	}
}

struct pass { /* of the pieces seen so far in this phase: one has landed, or one has not */
	const struct piece *at;
	bool line, store; /* of the stores in the line's order: of others, of the one of `at` */
	uint8_t words;
};

static void pass_begin(struct pass *s, const struct piece *p)
{
	if (s->at && phase_of(s->at) != phase_of(p))
		*s = (struct pass){ 0 };
	if (!in_line_order(p))
		return;
	if (s->at && !one_store(s->at, p)) {
		s->line |= s->store;
		s->store = false;
	}
	s->at = p;
}

static bool pass_says(const struct pass *s, const struct piece *p)
{
	return (s->line && in_line_order(p)) || s->words >> p->word & 1;
}

static void pass_note(struct pass *s, const struct piece *p)
{
	s->words |= (uint8_t)(1u << p->word);
	if (in_line_order(p))
		s->store = true;
	else if (!s->at)
		s->at = p;
}

static bool must_land(const struct piece *p, uint16_t *lo)
{
	if (lo[p->group] > p->rank)
		return false;
	lo[p->group] = (uint16_t)(p->rank + 1);
	return true;
}

static bool cannot_land(const struct piece *p, uint16_t *hi)
{
	if (hi[p->group] <= p->rank)
		return false;
	hi[p->group] = p->rank;
	return true;
}

/* movdir64b: together or not at all. */
static bool narrow_atoms(const struct line_set *l, uint16_t *lo, uint16_t *hi)
{
	bool changed = false;

	for (uint32_t i = 0; i < l->n; i++) {
		const struct piece *p = &l->piece[i];

		for (uint32_t k = 0; k < l->n && p->atomic; k++) {
			const struct piece *q = &l->piece[k];

			if (!one_store(p, q))
				continue;
			if (lo[p->group] > p->rank)
				changed |= must_land(q, lo);
			if (hi[p->group] <= p->rank)
				changed |= cannot_land(q, hi);
		}
	}
	return changed;
}

/* A walker's bits stand last, and have come about at any time since their event. */
static bool narrow_bits(const struct line_set *l, uint16_t *lo, uint16_t *hi)
{
	bool changed = false;

	for (uint32_t i = l->n; i > 0; i--) {
		const struct piece *b = &l->piece[i - 1];

		for (uint32_t k = 0; k + 1 < i && b->bits; k++) {
			const struct piece *q = &l->piece[k];

			if (q->bits || phase_of(q) || q->event >= b->event ||
			    (!in_line_order(q) && q->word != b->word))
				continue;
			if (lo[b->group] > b->rank)
				changed |= must_land(q, lo);
			if (hi[q->group] <= q->rank)
				changed |= cannot_land(b, hi);
		}
	}
	return changed;
}

bool ties_narrow(const struct line_set *l, uint16_t *lo, uint16_t *hi)
{
	for (bool changed = l->tied; changed;) {
		struct pass missing = { 0 }, landed = { 0 };

		changed = narrow_atoms(l, lo, hi);
		changed |= narrow_bits(l, lo, hi);
		for (uint32_t i = 0; i < l->n; i++) {
			const struct piece *p = &l->piece[i];

			if (p->bits)
				continue;
			pass_begin(&missing, p);
			if (pass_says(&missing, p))
				changed |= cannot_land(p, hi);
			if (hi[p->group] <= p->rank)
				pass_note(&missing, p);
		}
		for (uint32_t i = l->n; i > 0; i--) {
			const struct piece *p = &l->piece[i - 1];

			if (p->bits)
				continue;
			pass_begin(&landed, p);
			if (pass_says(&landed, p))
				changed |= must_land(p, lo);
			if (lo[p->group] > p->rank)
				pass_note(&landed, p);
		}
	}
	for (uint32_t i = 0; i < l->n; i++) {
		if (lo[l->piece[i].group] > hi[l->piece[i].group])
			return false;
	}
	return true;
}

/* ---- what has landed ------------------------------------------------------------ */

static uint64_t byte_mask(uint8_t mask)
{
	uint64_t m = 0;

	for (unsigned i = 0; i < 8; i++)
		m |= mask >> i & 1 ? (uint64_t)0xff << 8 * i : 0;
	return m;
}

void piece_land(unsigned char base[LINE_BYTES], const struct piece *p)
{
	uint64_t word, mask = byte_mask(p->mask);

	memcpy(&word, base + 8 * p->word, 8);
	word = p->bits ? word | p->value : (word & ~mask) | (p->value & mask);
	memcpy(base + 8 * p->word, &word, 8);
}

void line_set_fold(struct line_set *l)
{
	uint32_t kept = 0;
	bool front = true;

	line_set_tie(l);
	(void)ties_narrow(l, l->lo, l->hi);
	for (uint32_t i = 0; i < l->n; i++) {
		struct piece p = l->piece[i];

		if (p.rank >= l->hi[p.group])
			continue;
		if (front && p.rank < l->lo[p.group]) {
			piece_land(l->base, &p);
			continue;
		}
		front = false;
		l->piece[kept++] = p;
	}
	l->n = kept;
}

void line_set_content(const struct line_set *l, const uint16_t *cut, unsigned char out[LINE_BYTES])
{
	memcpy(out, l->base, LINE_BYTES);
	for (uint32_t i = 0; i < l->n; i++) {
		if (l->piece[i].rank < cut[l->piece[i].group])
			piece_land(out, &l->piece[i]);
	}
}

void image_set_free(struct image_set *s)
{
	for (size_t i = 0; s && i < s->n; i++) {
		free(s->set[i]->piece);
		free(s->set[i]);
	}
	if (s)
		free(s->set);
	free(s);
}

/* ---- sectors [R17] ------------------------------------------------------------------------------ */

/* The time at which the sector was written: of stores, those before event `from` had taken place, and
 * those behind event `to` had not.  Words of a wide store share an event, and any of them may have. */
void sector_time(const struct line_set *l, unsigned phase, const uint16_t *lo, const uint16_t *hi,
		 uint32_t *from, uint32_t *to)
{
	for (uint32_t i = 0; i < l->n; i++) {
		const struct piece *p = &l->piece[i];

		if (p->bits || phase_of(p) != phase)
			continue;
		if (lo[p->group] > p->rank && *from < p->event)
			*from = p->event;
		if (hi[p->group] <= p->rank && *to > p->event)
			*to = p->event;
	}
}

void sector_narrow(const struct line_set *l, unsigned phase, uint32_t from, uint32_t to,
		   uint16_t *lo, uint16_t *hi)
{
	for (uint32_t i = 0; i < l->n; i++) {
		const struct piece *p = &l->piece[i];

		if (p->bits || phase_of(p) != phase)
			continue;
		if (p->event < from)
			(void)must_land(p, lo);
		if (p->event > to)
			(void)cannot_land(p, hi);
	}
}

/* ---- one image ---------------------------------------------------------------------------------- */

static bool sector_holds(const struct image_set *s, size_t i, uint16_t (*cut)[GROUPS])
{
	for (unsigned phase = 0; phase < PHASES_MAX; phase++) {
		uint32_t from = 0, to = UINT32_MAX;

		for (size_t k = 0; k < s->n; k++) {
			if (s->set[k]->line / SECTOR_LINES == s->set[i]->line / SECTOR_LINES)
				sector_time(s->set[k], phase, cut[k], cut[k], &from, &to);
		}
		if (from > to)
			return false;
	}
	return true;
}

bool image_holds(const struct image_set *s, uint16_t (*cut)[GROUPS])
{
	unsigned walked = s->walked;

	for (size_t i = 0; i < s->n; i++) {
		const struct line_set *l = s->set[i];
		uint16_t lo[GROUPS], hi[GROUPS];

		memcpy(lo, cut[i], sizeof(lo));
		memcpy(hi, cut[i], sizeof(hi));
		if (!ties_narrow(l, lo, hi))
			return false;
		for (uint32_t k = 0; k < l->n; k++)
			walked += l->piece[k].bits && cut[i][l->piece[k].group] > l->piece[k].rank;
		if (options.persist == PERSIST_PAGE && prefix_of_line() && !sector_holds(s, i, cut))
			return false;
	}
	return walked <= options.walker || walked == s->walked;
}

/* ---- how many ------------------------------------------------------------------------------------ */

static bool open_piece(const struct line_set *l, const struct piece *p)
{
	return p->rank >= l->lo[p->group] && p->rank < l->hi[p->group];
}

/* Of the stores in a line's order: each a place to stop at, and of the pieces of a wide one any but
 * none and all. */
static double line_states(const struct line_set *l, unsigned phase)
{
	double n = 1;

	for (uint32_t i = 0; i < l->n;) {
		const struct piece *p = &l->piece[i];
		unsigned open = 0;

		for (; i < l->n && (p == &l->piece[i] || one_store(p, &l->piece[i])); i++)
			open += phase_of(p) == phase && in_line_order(p) &&
				open_piece(l, &l->piece[i]);
		n += ldexp(1, (int)open) - 1;
	}
	return n;
}

/* log10 of the sum over i <= most of (of over i). */
static double some_of(unsigned of, unsigned most)
{
	double sum = 1, term = 1;

	for (unsigned i = 1; i <= most && i <= of; i++) {
		term = term * (of - i + 1) / i;
		sum += term;
	}
	return log10(sum);
}

/* Streamed words that share their word with other stores are counted as if they did not. */
static double line_log10(const struct line_set *l, unsigned *walkers)
{
	bool seen[GROUPS] = { 0 };
	double sum = 0;

	for (uint32_t i = 0; i < l->n; i++) {
		const struct piece *p = &l->piece[i];
		unsigned g = p->group;

		*walkers += p->bits && open_piece(l, p);
		if (p->bits || in_line_order(p) || seen[g] ||
		    (p->atomic && i && one_store(p - 1, p)))
			continue;
		seen[g] = true;
		sum += log10(1.0 + l->hi[g] - l->lo[g]);
	}
	if (options.persist == PERSIST_PAGE)
		return sum;
	for (unsigned phase = 0; phase < PHASES_MAX; phase++)
		sum += log10(line_states(l, phase));
	return sum;
}

double image_set_log10(const struct image_set *s)
{
	double sum = 0, sector[PHASES_MAX] = { 0 };
	unsigned walkers = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct line_set *l = s->set[i];
		bool last = i + 1 == s->n ||
			    s->set[i + 1]->line / SECTOR_LINES != l->line / SECTOR_LINES;

		sum += line_log10(l, &walkers);
		for (unsigned p = 0; p < PHASES_MAX && options.persist == PERSIST_PAGE; p++) {
			sector[p] += line_states(l, p) - 1;
			if (last) {
				sum += log10(1 + sector[p]);
				sector[p] = 0;
			}
		}
	}
	return sum + some_of(walkers, options.walker > s->walked ? options.walker - s->walked : 0);
}
