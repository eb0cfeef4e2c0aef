/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus_set -- sets of outcomes, in order; and how they stand in a file. */
#include "litmus_token.h"

#include <stdlib.h>
#include <string.h>

uint64_t litmus_get(const unsigned char *bytes, struct litmus_at at)
{
	uint64_t value = 0;

	memcpy(&value, bytes + at.off, at.len);
	return value;
}

static int row_compare(const struct litmus_row *a, const struct litmus_row *b)
{
	for (unsigned i = 0; i < LITMUS_COLUMNS; i++) {
		if (a->value[i] != b->value[i])
			return a->value[i] < b->value[i] ? -1 : 1;
		if ((a->none ^ b->none) >> i & 1)
			return a->none >> i & 1 ? -1 : 1;
	}
	return 0;
}

/* Where it is, or belongs. */
static size_t row_place(const struct litmus_set *s, const struct litmus_row *r)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (row_compare(&s->row[mid], r) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool litmus_has(const struct litmus_set *s, const struct litmus_row *r)
{
	size_t at = row_place(s, r);

	return at < s->n && !row_compare(&s->row[at], r);
}

bool litmus_add(struct litmus_set *s, const struct litmus_row *r)
{
	size_t at = row_place(s, r);

	if (at < s->n && !row_compare(&s->row[at], r))
		return false;
	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 16;
		s->row = must(realloc(s->row, s->room * sizeof(*s->row)));
	}
	memmove(s->row + at + 1, s->row + at, (s->n - at) * sizeof(*s->row));
	s->row[at] = *r;
	s->n++;
	return true;
}

/* ---- rows of a file ------------------------------------------------------------ */

struct cell { /* the values that stand in one place of a row */
	unsigned n;
	uint64_t value[8];
	bool none[8];
};

static void cell(const struct litmus_column *col, struct cell *c)
{
	c->n = 0;
	do {
		if (c->n == 8)
			wrong(&in.t, "at most 8 values in one place");
		c->none[c->n] = col->kind == COLUMN_REG && is("-");
		c->value[c->n] = 0;
		if (c->none[c->n])
			next();
		else
			c->value[c->n] = number(0, UINT64_MAX, "a value");
		c->n++;
	} while (take("|"));
}

static void row(struct litmus *p)
{
	struct cell c[LITMUS_COLUMNS];
	struct token t = in.t;
	unsigned at[LITMUS_COLUMNS] = { 0 }, k = 0;

	for (unsigned i = 0; i < p->n_columns; i++)
		cell(&p->column[i], &c[i]);
	while (k < p->n_columns) {
		struct litmus_row r = { .none = 0 };

		for (unsigned i = 0; i < p->n_columns; i++) {
			r.value[i] = c[i].value[at[i]];
			r.none |= (uint32_t)c[i].none[at[i]] << i;
		}
		if (!litmus_add(&p->expect, &r))
			wrong(&t, "an outcome that does not stand in the rows before");
		for (k = 0; k < p->n_columns && ++at[k] == c[k].n; k++)
			at[k] = 0;
	}
}

void rows_parse(struct litmus *p)
{
	for (lines(); !is("}"); line_end())
		row(p);
	next();
	if (!p->expect.n)
		wrong(&in.t, "an outcome: something is left after every crash");
	line_end();
}
