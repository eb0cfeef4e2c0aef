/* SPDX-License-Identifier: BSD-3-Clause */
/* judge_state -- the states that the judge has been in, each of them whole. */
#include "judge.h"

#include <stdlib.h>
#include <string.h>

/* ---- sets of anything ------------------------------------------------------------------------------ */

static uint64_t hash(const unsigned char *data, size_t len)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ data[i]) * 1099511628211u;
	return h ^ h >> 32;
}

static void pool_put(struct pool *p, struct item item)
{
	size_t at = hash(item.data, item.len) & (p->slots - 1);

	while (p->slot[at].data)
		at = (at + 1) & (p->slots - 1);
	p->slot[at] = item;
	p->n++;
}

bool pool_add(struct pool *p, const void *data, size_t len)
{
	size_t at;

	if (2 * (p->n + 1) > p->slots) {
		struct pool old = *p;

		*p = (struct pool){ .slots = old.slots ? 2 * old.slots : 1024 };
		p->slot = must(calloc(p->slots, sizeof(*p->slot)));
		for (size_t i = 0; i < old.slots; i++) {
			if (old.slot[i].data)
				pool_put(p, old.slot[i]);
		}
		free(old.slot);
	}
	for (at = hash(data, len) & (p->slots - 1); p->slot[at].data;
	     at = (at + 1) & (p->slots - 1)) {
		if (p->slot[at].len == len && !memcmp(p->slot[at].data, data, len))
			return false;
	}
	p->slot[at] = (struct item){ len, must(malloc(len)) };
	memcpy(p->slot[at].data, data, len);
	p->n++;
	return true;
}

void pool_free(struct pool *p)
{
	for (size_t i = 0; i < p->slots; i++)
		free(p->slot[i].data);
	free(p->slot);
	*p = (struct pool){ 0 };
}

/* ---- a state as bytes -------------------------------------------------------------------------------- */

struct writer {
	unsigned char data[sizeof(struct machine) + 4096];
	size_t n;
};

static void write_bytes(struct writer *w, const void *data, size_t len)
{
	memcpy(w->data + w->n, data, len);
	w->n += len;
}

static void write_small(struct writer *w, unsigned value)
{
	w->data[w->n++] = (unsigned char)value;
}

static void write_what(struct writer *w, const struct bytes *b)
{
	write_bytes(w, &b->off, sizeof(b->off));
	write_small(w, b->len);
	write_bytes(w, b->is, b->len);
}

size_t machine_write(const struct litmus *p, const struct litmus_code *const *code,
		     unsigned threads, const struct machine *m, const unsigned char **data)
{
	static struct writer writer;
	struct writer *w = &writer;
	size_t bytes = p->n_lines * LINE_BYTES;

	w->n = 0;
	for (unsigned i = 0; i < threads; i++) {
		const struct thread *t = &m->thread[i];

		write_small(w, t->pc);
		write_small(w, t->n);
		write_small(w, t->set);
		write_bytes(w, t->reg, sizeof(t->reg[0]) * code[i]->n_regs);
		for (unsigned k = 0; k < t->n; k++) {
			write_small(w, t->queue[k].op);
			write_small(w, t->queue[k].line);
			write_small(w, t->queue[k].store);
			write_what(w, &t->queue[k].what);
		}
	}
	write_bytes(w, m->seen, bytes);
	write_bytes(w, m->durable, bytes);
	write_small(w, m->walked);
	write_bytes(w, &m->walkers, sizeof(m->walkers));
	write_small(w, m->returned);
	for (unsigned k = 0; k < m->n_late; k++) {
		write_small(w, m->late[k].cached);
		write_small(w, m->late[k].thread);
		write_small(w, m->late[k].store);
		write_small(w, m->late[k].wanted);
		write_what(w, &m->late[k].what);
	}
	*data = w->data;
	return w->n;
}
