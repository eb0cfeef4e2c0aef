/* SPDX-License-Identifier: BSD-3-Clause */
/* judge -- every outcome of a litmus program, by brute force: a machine of explicit states, all of
 * which are visited.  Shares the parser with the engine, and no line of the model.
 *
 * MACHINE	threads, each with the instructions that it has issued and that have not taken effect
 *		(`queue`) / what is visible (`seen`) / what has reached memory (`durable`) / stores
 *		that are visible and have not reached it (`late`), oldest first.
 * STEPS	a thread issues its next instruction / one in a queue takes effect / a late store
 *		reaches memory / a page walker sets its bits.
 * CRASH	in any state: `durable` is the image.  Recovery is the same machine with one thread,
 *		begun on each image.
 *
 * What a rule of crashsim(1), MODEL, says is written at the condition that it stands for.
 */
#include "judge.h"

#include <stdlib.h>
#include <string.h>

static struct {
	const struct litmus *p;
	const struct litmus_code *code[LITMUS_THREADS]; /* of this phase */
	unsigned n_threads, phase;
	struct pool states, images; /* of this phase */
	struct litmus_set *out;
	uint64_t *steps;
} j;

/* ---- places ------------------------------------------------------------------------------------------- */

static bool share(const struct bytes *a, const struct bytes *b, unsigned size)
{
	return a->off / size <= (b->off + b->len - 1u) / size &&
	       b->off / size <= (a->off + a->len - 1u) / size;
}
static bool same_word(const struct bytes *a, const struct bytes *b) { return share(a, b, 8); }
static bool same_line(const struct bytes *a, const struct bytes *b)
{
	return share(a, b, LINE_BYTES);
}

static bool same_sector(const struct bytes *a, const struct bytes *b)
{
	return j.p->line_at[a->off / LINE_BYTES] / 8 == j.p->line_at[b->off / LINE_BYTES] / 8;
}

static bool on_line(const struct bytes *a, unsigned line) { return a->off / LINE_BYTES == line; }

static bool on_page(const struct bytes *a, unsigned line)
{
	return j.p->line_at[a->off / LINE_BYTES] / 64 == j.p->line_at[line] / 64;
}

static uint64_t get(const unsigned char *from, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = len; i-- > 0;)
		v = v << 8 | from[i];
	return v;
}

/* ---- stores on their way ---------------------------------------------------------------------------------- */

/* Must `old` have reached memory before `young` can? */
static bool reaches_first(const struct late *old, const struct late *young)
{
	bool cached = old->cached && young->cached;

	if (j.p->persist == PERSIST_PAGE && j.p->order == ORDER_PREFIX)
		return same_sector(&old->what,
				   &young->what); /* R17: a sector is written as it is */
	if (same_word(&old->what, &young->what))
		return true; /* R3; R11: the same address */
	if (!cached || j.p->order == ORDER_FREE || !same_line(&old->what, &young->what))
		return false; /* R2; R11 */
	/* R3, but not between the words of a wide store: R4 */
	return !(old->thread == young->thread && old->store == young->store);
}

static bool can_reach(const struct machine *m, unsigned at)
{
	for (unsigned i = 0; i < at; i++) {
		if (reaches_first(&m->late[i], &m->late[at]))
			return false;
	}
	return true;
}

static void reach(struct machine *m, unsigned at)
{
	const struct bytes *b = &m->late[at].what;

	memcpy(m->durable + b->off, b->is, b->len);
	memmove(&m->late[at], &m->late[at + 1], (m->n_late - at - 1) * sizeof(m->late[0]));
	m->n_late--;
}

/* A store takes effect: it is visible.  False: not before another one has reached memory. */
static bool appear(struct machine *m, unsigned thread, uint8_t store, bool cached,
		   const struct bytes *b)
{
	struct late *l = &m->late[m->n_late];

	if (m->n_late == LATE) {
		(void)fprintf(stderr, "crashsim: %s: '%s' has too many stores for the judge\n",
			      j.p->file, j.p->name);
		exit(3);
	}
	if (j.p->persist == PERSIST_PAGE)
		cached = true; /* R17: the page cache holds it, however it got there */
	*l = (struct late){
		.cached = cached, .thread = (uint8_t)thread, .store = store, .what = *b
	};
	/* R11: its thread's next drain waits for it */
	l->wanted = cached ? 0 : (uint8_t)(1u << thread);
	m->n_late++;
	if (j.p->persist == PERSIST_CACHE && cached) { /* R14: in the cache is durable */
		if (!can_reach(m, m->n_late - 1))
			return false;
		reach(m, m->n_late - 1);
	}
	memcpy(m->seen + b->off, b->is, b->len);
	return true;
}

static bool wanted(const struct machine *m, unsigned thread)
{
	for (unsigned i = 0; i < m->n_late; i++) {
		if (m->late[i].wanted >> thread & 1)
			return true;
	}
	return false;
}

/* ---- queues ------------------------------------------------------------------------------------------------ */

static bool cached_store(const struct issued *i) { return i->op == LITMUS_STORE; }
static bool past_cache(const struct issued *i)
{
	return i->op == LITMUS_STREAM || i->op == LITMUS_DIRECT;
}

/* Must `old` take effect before `young` of the same thread?  The rows of the table are the older. */
static bool ordered(const struct issued *old, const struct issued *young)
{
	if (old->op == LITMUS_SF || young->op == LITMUS_SF)
		return true; /* R7, R9, R11: fences order all of these */
	if (cached_store(old)) {
		if (cached_store(young)) /* R1; words of one wide store are not ordered, R4 */
			return old->store != young->store;
		if (past_cache(young))
			return same_word(&old->what, &young->what); /* R11 */
		if (young->op == LITMUS_FL)
			return true;                     /* R6 */
		return on_line(&old->what, young->line); /* R7 */
	}
	if (past_cache(old)) { /* R11, R5: weak, but for the same address */
		if (cached_store(young) || past_cache(young))
			return same_word(&old->what, &young->what);
		return on_line(&old->what, young->line);
	}
	if (old->op == LITMUS_FL) {
		if (past_cache(young))
			return on_line(&young->what, old->line);
		if (young->op == LITMUS_FO)
			return young->line == old->line; /* R7 */
		return true;                             /* R6 */
	}
	return false; /* R7: nothing is said of what comes behind it */
}

static void want(struct machine *m, unsigned thread, unsigned line)
{
	for (unsigned i = 0; i < m->n_late; i++) {
		if (m->late[i].cached && on_line(&m->late[i].what, line))
			m->late[i].wanted |= (uint8_t)(1u << thread);
	}
}

static bool late_on_line(const struct machine *m, unsigned line)
{
	for (unsigned i = 0; i < m->n_late; i++) {
		if (m->late[i].cached && on_line(&m->late[i].what, line))
			return true;
	}
	return false;
}

static bool late_on_page(const struct machine *m, unsigned line)
{
	for (unsigned i = 0; i < m->n_late; i++) {
		if (on_page(&m->late[i].what, line))
			return true;
	}
	return false;
}

/* Entry `at` of a queue takes effect.  False: it cannot yet. */
static bool take_effect(struct machine *m, unsigned thread, unsigned at)
{
	struct thread *t = &m->thread[thread];
	struct issued i = t->queue[at];

	for (unsigned k = 0; k < at; k++) {
		if (ordered(&t->queue[k], &i))
			return false;
	}
	switch (i.op) {
	case LITMUS_FL: /* R6: at its place; it is over when the line has reached memory */
		if (j.p->persist != PERSIST_PAGE && late_on_line(m, i.line))
			return false;
		break;
	case LITMUS_FO: /* R7: counts at the next drain */
		if (j.p->persist != PERSIST_PAGE)
			want(m, thread, i.line);
		break;
	case LITMUS_SF: /* R9, R11 */
		if (wanted(m, thread))
			return false;
		break;
	default:
		if (!appear(m, thread, i.store, cached_store(&i), &i.what))
			return false;
		break;
	}
	memmove(&t->queue[at], &t->queue[at + 1], (t->n - at - 1) * sizeof(i));
	t->n--;
	return true;
}

/* ---- instructions -------------------------------------------------------------------------------------------- */

static uint64_t value(const struct thread *t, struct litmus_expr e)
{
	return e.reg < 0 ? e.add : t->reg[e.reg] + e.add;
}

/* R4: at most an aligned word at a time.  movdir64b: the line, R5. */
static unsigned words_of(const struct thread *t, const struct litmus_ins *i, struct bytes part[])
{
	unsigned n = 0;

	for (unsigned b = 0; b < i->at.len; b++) {
		unsigned off = i->at.off + b;
		uint64_t word = value(t, i->value[b / 8]);

		if (b == 0 || (off % 8 == 0 && i->op != LITMUS_DIRECT))
			part[n++] = (struct bytes){ .off = (uint16_t)off };
		part[n - 1].is[part[n - 1].len++] = (unsigned char)(word >> b % 8 * 8);
	}
	return n;
}

static void issue(struct machine *m, struct thread *t, const struct litmus_ins *i)
{
	struct issued q = { .op = i->op, .line = i->at.off / LINE_BYTES };
	struct bytes part[LITMUS_WORDS + 1];
	unsigned n;

	if (i->op == LITMUS_FL || i->op == LITMUS_FO || i->op == LITMUS_SF) {
		t->queue[t->n++] = q;
		return;
	}
	q.store = (uint8_t)(10 * (t->pc + 1));
	(void)m;
	n = words_of(t, i, part);
	q.line = 0;
	for (unsigned k = 0; k < n; k++) {
		q.what = part[k];
		t->queue[t->n++] = q;
	}
}

/* R1: a load sees its own thread's stores.  False: it overlaps one without lying in it, and waits. */
static bool read_word(const struct machine *m, const struct thread *t, struct litmus_at at,
		      uint64_t *out)
{
	struct bytes want = { .off = at.off, .len = at.len };

	for (unsigned k = t->n; k-- > 0;) {
		const struct issued *i = &t->queue[k];
		const struct bytes *b = &i->what;

		if (!(cached_store(i) || past_cache(i)) || !share(b, &want, 1))
			continue;
		if (at.off < b->off || at.off + at.len > b->off + b->len)
			return false;
		*out = get(b->is + (at.off - b->off), at.len);
		return true;
	}
	*out = get(m->seen + at.off, at.len);
	return true;
}

static void set_reg(struct thread *t, int reg, uint64_t v)
{
	if (reg < 0)
		return;
	t->reg[reg] = v;
	t->set |= 1u << reg;
}

/* R12: a locked instruction is a fence and a drain; then its own store is one like others. */
static bool locked(struct machine *m, unsigned thread, const struct litmus_ins *i)
{
	struct thread *t = &m->thread[thread];
	uint64_t was = get(m->seen + i->at.off, i->at.len);
	struct litmus_ins store = { .op = LITMUS_STORE, .at = i->at, .n = 1 };
	uint64_t is = value(t, i->value[i->n - 1]), old = value(t, i->value[0]);
	struct bytes part[LITMUS_WORDS + 1];

	if (t->n || wanted(m, thread))
		return false;
	if (i->at.len < 8)
		old &= ((uint64_t)1 << 8 * i->at.len) - 1;
	store.value[0] = (struct litmus_expr){ -1, i->op == LITMUS_XADD ? was + is : is };
	if (i->op != LITMUS_CAS || was == old) {
		unsigned n = words_of(t, &store, part);

		for (unsigned k = 0; k < n; k++) {
			if (!appear(m, thread, (uint8_t)(10 * (t->pc + 1)), true, &part[k]))
				return false;
		}
	}
	set_reg(t, i->reg, was);
	return true;
}

/* A thread's next instruction.  False: it has to wait. */
static bool execute(struct machine *m, unsigned thread)
{
	struct thread *t = &m->thread[thread];
	const struct litmus_ins *i = &j.code[thread]->ins[t->pc];
	uint64_t v;

	switch (i->op) {
	case LITMUS_LOAD:
		if (!read_word(m, t, i->at, &v))
			return false;
		set_reg(t, i->reg, v);
		break;
	case LITMUS_SET:
		set_reg(t, i->reg, value(t, i->value[0]));
		break;
	case LITMUS_UNLESS:
		if ((value(t, i->value[0]) == value(t, i->value[1])) == i->equal)
			break;
		t->pc = i->target;
		return true;
	case LITMUS_JUMP:
		t->pc = i->target;
		return true;
	case LITMUS_LF: /* R8: loads are in order anyway */
		break;
	case LITMUS_MF: /* R9, R12 */
		if (t->n || wanted(m, thread))
			return false;
		break;
	case LITMUS_MSYNC: /* R17: returns when the page has reached the disk */
		if (t->n || late_on_page(m, i->at.off / LINE_BYTES))
			return false;
		break;
	case LITMUS_RETURNED: /* R13: only a drain is waited for */
		for (unsigned k = 0; k < t->n; k++) {
			if (t->queue[k].op == LITMUS_SF)
				return false;
		}
		m->returned = true;
		break;
	case LITMUS_WALKER:
		m->walkers |= 1u << t->pc;
		break;
	case LITMUS_XCHG:
	case LITMUS_CAS:
	case LITMUS_XADD:
		if (!locked(m, thread, i))
			return false;
		break;
	default:
		issue(m, t, i);
		break;
	}
	t->pc++;
	return true;
}

/* R16 */
static bool walk(struct machine *m, const struct litmus_ins *i)
{
	struct bytes b = { .off = i->at.off, .len = 8 };
	uint64_t v = get(m->seen + b.off, 8) | i->value[0].add;

	if (m->walked == j.p->walker)
		return false;
	for (unsigned k = 0; k < 8; k++)
		b.is[k] = (unsigned char)(v >> 8 * k);
	m->walked++;
	/* nobody's: no thread drains it */
	return appear(m, LITMUS_THREADS, (uint8_t)m->walked, true, &b);
}

/* ---- all states ---------------------------------------------------------------------------------------------- */

struct image { /* what a crash leaves, and what the world has been told */
	unsigned char durable[BYTES];
	bool returned;
};

static void outcome(const struct machine *m)
{
	struct litmus_row r = { .none = 0 };
	const struct thread *t = &m->thread[0];

	for (unsigned i = 0; i < j.p->n_columns; i++) {
		const struct litmus_column *c = &j.p->column[i];

		if (c->kind == COLUMN_MEMORY) {
			r.value[i] = get(m->seen + c->at.off, c->at.len);
		} else if (c->kind == COLUMN_RETURNED) {
			r.value[i] = m->returned;
		} else if (t->set >> c->reg & 1) {
			r.value[i] = t->reg[c->reg];
		} else {
			r.none |= 1u << i;
		}
	}
	(void)litmus_add(j.out, &r);
}

static void crash(const struct machine *m)
{
	struct image i;

	memset(&i, 0, sizeof(i));
	memcpy(i.durable, m->durable, sizeof(i.durable));
	i.returned = m->returned;
	(void)pool_add(&j.images, &i, sizeof(i));
}

static void visit(const struct machine *m);

static void visit_thread(const struct machine *m, unsigned thread)
{
	const struct thread *t = &m->thread[thread];
	struct machine then;

	for (unsigned k = 0; k < t->n; k++) {
		then = *m;
		if (take_effect(&then, thread, k))
			visit(&then);
	}
	if (t->pc == j.code[thread]->n || t->n + LITMUS_WORDS + 1 > QUEUE)
		return;
	then = *m;
	if (execute(&then, thread))
		visit(&then);
}

static void visit(const struct machine *m)
{
	const unsigned char *data;
	size_t len = machine_write(j.p, j.code, j.n_threads, m, &data);
	bool over = true;

	if (!pool_add(&j.states, data, len))
		return;
	++*j.steps;
	if (j.phase < j.p->n_crashes)
		crash(m);
	for (unsigned t = 0; t < j.n_threads; t++)
		over = over && m->thread[t].pc == j.code[t]->n && m->thread[t].n == 0;
	if (over && j.phase == j.p->n_crashes) {
		outcome(m);
		return;
	}
	for (unsigned t = 0; t < j.n_threads; t++)
		visit_thread(m, t);
	for (unsigned k = 0; k < m->n_late; k++) {
		struct machine then = *m;

		if (!can_reach(m, k))
			continue;
		reach(&then, k);
		visit(&then);
	}
	for (unsigned k = 0; k < LITMUS_CODE && j.phase == 0; k++) {
		for (unsigned t = 0; t < j.n_threads; t++) {
			const struct litmus_ins *i = &j.code[t]->ins[k];
			struct machine then = *m;

			if (m->walkers >> k & 1 && i->op == LITMUS_WALKER && m->thread[t].pc > k &&
			    walk(&then, i))
				visit(&then);
		}
	}
}

static void begin(const struct image *i)
{
	struct machine m;

	memset(&m, 0, sizeof(m));
	memcpy(m.seen, i->durable, sizeof(m.seen));
	memcpy(m.durable, i->durable, sizeof(m.durable));
	m.returned = i->returned;
	visit(&m);
}

void judge(const struct litmus *p, struct litmus_set *out, uint64_t *steps)
{
	struct image first;

	memset(&j, 0, sizeof(j));
	memset(&first, 0, sizeof(first));
	memcpy(first.durable, p->first, sizeof(first.durable));
	*steps = 0;
	j.p = p;
	j.out = out;
	j.steps = steps;
	(void)pool_add(&j.images, &first, sizeof(first));
	for (j.phase = 0; j.phase <= p->n_crashes; j.phase++) {
		struct pool from = j.images;

		j.images = (struct pool){ 0 };
		j.n_threads = j.phase ? 1 : p->n_threads;
		for (unsigned t = 0; t < j.n_threads; t++)
			j.code[t] = j.phase ? &p->recovery[j.phase - 1] : &p->thread[t];
		for (size_t i = 0; i < from.slots; i++) {
			if (from.slot[i].data)
				begin((const struct image *)(const void *)from.slot[i].data);
		}
		pool_free(&from);
		pool_free(&j.states);
	}
	pool_free(&j.images);
}
