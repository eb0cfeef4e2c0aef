/* SPDX-License-Identifier: BSD-3-Clause */
/* words -- see words.h. */
#include "words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define WORDS 12

static struct wal wals[4];
struct wal *words_wal;
static unsigned bulk_op;

static pm_word *word_home(struct region *rg, unsigned word)
{
	return &((struct space_record *)region_at(rg, region_sb(rg)->directory))[word].user[6];
}

uint64_t word_get(struct region *rg, unsigned word) { return word_load(word_home(rg, word)); }

void words_open(struct region *rg)
{
	words_wal = words_wal ? words_wal + 1 : wals;
	assert_int_equal(wal_open(words_wal, rg, &test_mem), 0);
	words_wal->lsn_step = 16;
	words_wal->lsn_slack = 2;
}

void words_close(void)
{
	wal_close(words_wal);
	words_wal = words_wal > wals ? words_wal - 1 : NULL;
}

static struct wal_word as_word(const struct set *s)
{
	pm_word *home = word_home(words_wal->rg, s->word);

	return (struct wal_word){ region_off(words_wal->rg, home) | WHERE_DIR, word_load(home),
				  s->value };
}

static unsigned op_new(void)
{
	assert_true(history.n < 16);
	history.op[history.n] = (struct operation){ .state = OP_BEGUN };
	return history.n++;
}

static void op_add(unsigned op, unsigned n, const struct set *set)
{
	struct operation *o = &history.op[op];

	for (unsigned i = 0; i < n; i++) {
		assert_true(o->n < 8);
		o->set[o->n].word = set[i].word;
		o->set[o->n++].value = set[i].value;
	}
}

static void op_commit(unsigned op)
{
	history.op[op].state = OP_COMMITTING;
	history.op[op].seq = ++history.seq;
}

void redo(unsigned hint, unsigned n, const struct set *set)
{
	struct wal_word w[8];
	struct wal_lane *lane;
	unsigned op = op_new();
	uint64_t lsn;

	op_add(op, n, set);
	for (unsigned i = 0; i < n; i++)
		w[i] = as_word(&set[i]);
	assert_int_equal(wal_lane_take(words_wal, hint, wal_lines(w, n), &lane), 0);
	op_commit(op);
	assert_int_equal(wal_commit(words_wal, lane, w, n, wal_lines(w, n), &lsn), 0);
	history.op[op].state = OP_RETURNED;
	wal_lane_give(lane);
	returned();
}

void redo1(unsigned hint, unsigned word, uint64_t value)
{
	redo(hint, 1, &(struct set){ word, value });
}

void checkpoint(void)
{
	assert_int_equal(wal_checkpoint(words_wal), 0);
	returned();
}

void bulk_start(void)
{
	assert_int_equal(bulk_begin(words_wal), 0);
	bulk_op = op_new();
}

void bulk_set(unsigned n, const struct set *set)
{
	struct wal_word w[8];

	op_add(bulk_op, n, set);
	for (unsigned i = 0; i < n; i++)
		w[i] = as_word(&set[i]);
	assert_int_equal(bulk_batch(words_wal, w, n), 0);
}

void bulk_finish(unsigned n, const struct set *set)
{
	struct wal_word w[8];
	uint64_t lsn;

	op_add(bulk_op, n, set);
	for (unsigned i = 0; i < n; i++)
		w[i] = as_word(&set[i]);
	op_commit(bulk_op);
	assert_int_equal(bulk_commit(words_wal, w, n, &lsn), 0);
	history.op[bulk_op].state = OP_RETURNED;
	bulk_end(words_wal);
	returned();
}

void bulk_undo(void)
{
	assert_int_equal(bulk_abort(words_wal), 0);
	history.op[bulk_op].state = OP_ABORTED;
	bulk_end(words_wal);
	returned();
}

/* What the words are when the operations of `in` (a bit each) happened, besides those that
 * returned. */
static void expect(const struct history *h, unsigned in, uint64_t value[WORDS])
{
	memset(value, 0, WORDS * sizeof(*value));
	for (unsigned seq = 1; seq <= h->seq; seq++) {
		for (unsigned i = 0; i < h->n; i++) {
			const struct operation *o = &h->op[i];

			if (o->seq != seq || (o->state != OP_RETURNED &&
					      !(o->state == OP_COMMITTING && in >> i & 1)))
				continue;
			for (unsigned k = 0; k < o->n; k++)
				value[o->set[k].word] = o->set[k].value;
		}
	}
}

/* Bits of the operations under way that explain the image, or ~0. */
static unsigned explain(struct region *rg, const struct history *h)
{
	uint64_t value[WORDS];

	for (unsigned in = 0; in < 1u << h->n; in++) {
		unsigned w = 0, odd = 0;

		for (unsigned i = 0; i < h->n; i++)
			odd |= (in >> i & 1) && h->op[i].state != OP_COMMITTING;
		if (odd)
			continue;
		expect(h, in, value);
		while (w < WORDS && value[w] == word_get(rg, w))
			w++;
		if (w == WORDS)
			return in;
	}
	return ~0u;
}

const char *check_words(struct region *rg, const struct history *h)
{
	static char text[200];
	uint64_t value[WORDS];
	int at = 0;

	if (explain(rg, h) != ~0u)
		return NULL;
	expect(h, 0, value);
	for (unsigned w = 0; w < WORDS && at < 160; w++) {
		if (value[w] != word_get(rg, w))
			at += snprintf(text + at, sizeof(text) - (size_t)at,
				       " word %u is %lu, was to be %lu;", w, word_get(rg, w),
				       value[w]);
	}
	return text;
}

void settle(struct region *rg)
{
	unsigned in = explain(rg, &history);

	for (unsigned i = 0; i < history.n; i++) {
		if (history.op[i].state == OP_COMMITTING)
			history.op[i].state = in >> i & 1 ? OP_RETURNED : OP_ABORTED;
		if (history.op[i].state == OP_BEGUN)
			history.op[i].state = OP_ABORTED;
	}
}
