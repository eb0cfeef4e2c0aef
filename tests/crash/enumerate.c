/* SPDX-License-Identifier: BSD-3-Clause */
/* enumerate -- see enumerate.h. */
#include "enumerate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <cmocka.h>

#define LINES       (RUN_BYTES / LINE_BYTES)
#define MAX_DEPTH   4
#define MAX_STORES  64
#define MAX_OPTIONS 260
#define NO_LINE     UINT32_MAX

union content {
	uint64_t word[8];
	unsigned char byte[64];
};

struct pending { /* a line that is not known to be durable as it stands */
	uint32_t line;
	union content base; /* durable */
	unsigned n, lower;  /* cached stores, in order; the first `lower` are durable */
	struct {
		uint8_t word;
		uint64_t value;
	} store[MAX_STORES];
	const struct pm *flushed_by[4]; /* flush notes: port, and how many stores it saw */
	unsigned flushed[4];
	const struct pm *stream; /* port whose fence drains the streamed words */
	uint8_t streamed;        /* words streamed and not drained */
	union content streams;
	unsigned group; /* lines of one large stream share their fate; 0: none */
	unsigned n_options;
	union content option[MAX_OPTIONS];
};

struct machine { /* one run on one buffer */
	struct region rg;
	unsigned n;
	struct pending *pending[512];
};

struct history history;
struct mem test_mem;
const struct watch *watch;

static const struct program *program;
static struct outcome outcome;
static char *buffer[MAX_DEPTH];
static struct machine machine[MAX_DEPTH];
static unsigned depth;               /* machine in progress */
static uint32_t *touched, n_touched; /* lines that any run has changed */
static uint8_t *is_touched;
static uint64_t *seen, n_seen, room_seen; /* hashes of images */
static unsigned countdown;                /* events until the other actor's turn; 0: none */
static void (*other)(void);
static ucontext_t main_ctx, other_ctx;
static bool in_other, split;
static char other_stack[1 << 20];

static void crash(void);

/* ---- the machine ----------------------------------------------------------------------------- */

static struct machine *now(void) { return &machine[depth]; }

static union content *at(unsigned d, uint32_t line)
{
	return (union content *)(void *)(buffer[d] + (uint64_t)line * LINE_BYTES);
}

static struct pending *pending(uint32_t line)
{
	struct machine *m = now();
	struct pending *p;

	for (unsigned i = 0; i < m->n; i++) {
		if (m->pending[i]->line == line)
			return m->pending[i];
	}
	if (!is_touched[line]) {
		is_touched[line] = 1;
		touched[n_touched++] = line;
	}
	p = calloc(1, sizeof(*p));
	assert_non_null(p);
	assert_true(m->n < 512);
	p->line = line;
	p->base = *at(depth, line);
	m->pending[m->n++] = p;
	return p;
}

static uint32_t line_of(const void *addr)
{
	return (uint32_t)((uint64_t)((const char *)addr - buffer[depth]) / LINE_BYTES);
}

static void on_store(const struct pm_event *e)
{
	struct pending *p = pending(line_of(e->addr));

	assert_true(p->n < MAX_STORES);
	p->store[p->n].word = (uint8_t)((uintptr_t)e->addr % LINE_BYTES / 8);
	p->store[p->n++].value = e->value;
}

static void on_flush(const struct pm_event *e)
{
	struct machine *m = now();
	uint32_t first = line_of(e->addr), end = first + (uint32_t)(e->len / LINE_BYTES);

	for (unsigned i = 0; i < m->n; i++) {
		struct pending *p = m->pending[i];
		unsigned k = 0;

		if (p->line < first || p->line >= end)
			continue;
		while (k < 3 && p->flushed_by[k] && p->flushed_by[k] != e->pm)
			k++;
		p->flushed_by[k] = e->pm;
		p->flushed[k] = p->n;
	}
}

static void on_stream(const struct pm_event *e)
{
	static unsigned last_group;
	unsigned group = e->len > 4 * LINE_BYTES ? ++last_group : 0;

	for (size_t i = 0; i < e->len / LINE_BYTES; i++) {
		struct pending *p = pending(line_of((char *)e->addr + i * LINE_BYTES));

		assert_true(!p->stream || p->stream == e->pm);
		p->stream = e->pm;
		p->streamed = 0xff;
		p->group = group;
		if (e->src)
			memcpy(&p->streams, (const char *)e->src + i * LINE_BYTES, LINE_BYTES);
		else
			memset(&p->streams, 0, LINE_BYTES);
	}
}

/* Cached stores that are durable now become the base. */
static void fold(struct pending *p)
{
	for (unsigned i = 0; i < p->lower; i++)
		p->base.word[p->store[i].word] = p->store[i].value;
	memmove(p->store, p->store + p->lower, (p->n - p->lower) * sizeof(p->store[0]));
	for (unsigned k = 0; k < 4; k++)
		p->flushed[k] = p->flushed[k] > p->lower ? p->flushed[k] - p->lower : 0;
	p->n -= p->lower;
	p->lower = 0;
}

static void on_fence(const struct pm_event *e)
{
	struct machine *m = now();

	crash();
	for (unsigned i = 0; i < m->n; i++) {
		struct pending *p = m->pending[i];

		if (p->stream == e->pm) {
			/* no line is streamed and stored to between two fences */
			p->base = p->streams;
			p->stream = NULL;
			p->streamed = 0;
			p->group = 0;
		}
		for (unsigned k = 0; k < 4; k++) {
			if (p->flushed_by[k] == e->pm) {
				p->lower = p->flushed[k] > p->lower ? p->flushed[k] : p->lower;
				p->flushed_by[k] = NULL;
			}
		}
		fold(p);
		if (p->n == 0 && !p->streamed) {
			free(p);
			m->pending[i--] = m->pending[--m->n];
		}
	}
}

/* The other actor's turn has come, or, in the other actor, it is over for now. */
static void turn(void)
{
	void (*fn)(void) = other;

	if (in_other) {
		in_other = false;
		swapcontext(&other_ctx, &main_ctx);
		return;
	}
	if (split) {
		in_other = true;
		swapcontext(&main_ctx, &other_ctx);
		return;
	}
	other = NULL;
	if (fn)
		fn();
}

static void observe(void *ctx, const struct pm_event *e)
{
	(void)ctx;
	if (depth == 0 && countdown && !--countdown)
		turn();
	switch (e->kind) {
	case PM_EV_STORE:
		on_store(e);
		break;
	case PM_EV_FLUSH:
		on_flush(e);
		break;
	case PM_EV_STREAM:
		on_stream(e);
		break;
	case PM_EV_FENCE:
		on_fence(e);
		break;
	case PM_EV_STEP:
		break;
	}
}

static void machine_clear(struct machine *m)
{
	while (m->n)
		free(m->pending[--m->n]);
}

void interleave(unsigned nth, void (*fn)(void))
{
	split = false;
	countdown = nth;
	other = fn;
}

static void other_main(void)
{
	other();
	other = NULL;
	in_other = false;
	split = false;
	countdown = 0;
}

void interleave_split(unsigned j, unsigned k, void (*fn)(void))
{
	getcontext(&other_ctx);
	other_ctx.uc_stack.ss_sp = other_stack;
	other_ctx.uc_stack.ss_size = sizeof(other_stack);
	other_ctx.uc_link = &main_ctx;
	makecontext(&other_ctx, other_main, 0);
	split = true;
	other = fn;
	countdown = j;
	in_other = true;
	swapcontext(&main_ctx, &other_ctx);
	if (other)
		countdown = k;
}

void interleave_finish(void)
{
	if (!split || !other)
		return;
	countdown = 0;
	in_other = true;
	swapcontext(&main_ctx, &other_ctx);
}

/* ---- images ---------------------------------------------------------------------------------- */

static bool in_log(const struct region *rg, uint32_t line)
{
	const struct sb *sb = region_sb(rg);
	uint64_t off = (uint64_t)line * LINE_BYTES;

	return (off >= sb->lanes &&
		off < sb->lanes + 2ull * sb->n_lanes * sb->half_lines * LINE_BYTES) ||
	       (off >= sb->bulk && off < sb->bulk + (uint64_t)sb->bulk_lines * LINE_BYTES);
}

static void option_add(struct pending *p, const union content *c, bool collapse,
		       const struct region *rg)
{
	uint32_t seed = wal_crc_seed(region_sb(rg)->salt);
	bool valid = !collapse || line_valid(seed, (const struct line *)(const void *)c,
					     (uint64_t)p->line * LINE_BYTES);

	for (unsigned i = 0; i < p->n_options; i++) {
		if (!memcmp(&p->option[i], c, sizeof(*c)))
			return;
		if (!valid && !line_valid(seed, (const struct line *)(const void *)&p->option[i],
					  (uint64_t)p->line * LINE_BYTES))
			return;
	}
	assert_true(p->n_options < MAX_OPTIONS);
	p->option[p->n_options++] = *c;
}

/* The three fates of a line of a large stream; cached stores before it are taken as there. */
static void group_options(struct pending *p)
{
	union content c = p->base;

	for (unsigned k = 0; k < p->n; k++)
		c.word[p->store[k].word] = p->store[k].value;
	p->option[0] = c;
	p->option[1] = p->streams;
	for (unsigned w = 0; w < 8; w++)
		c.word[w] = (w + p->line) % 3 ? c.word[w] : p->streams.word[w];
	p->option[2] = c;
	p->n_options = 3;
}

/* Every content that the line can have. */
static void options(struct pending *p, const struct region *rg)
{
	bool collapse = program->collapse && in_log(rg, p->line);
	union content c = p->base;

	p->n_options = 0;
	if (p->group) {
		group_options(p);
		return;
	}
	for (unsigned k = 0;; k++) {
		if (k >= p->lower) {
			for (unsigned mask = 0; mask < 256; mask++) {
				union content d = c;

				if (mask & ~(unsigned)p->streamed)
					continue;
				for (unsigned w = 0; w < 8; w++) {
					if (mask >> w & 1)
						d.word[w] = p->streams.word[w];
				}
				option_add(p, &d, collapse, rg);
			}
		}
		if (k == p->n)
			break;
		c.word[p->store[k].word] = p->store[k].value;
	}
}

static uint64_t image_hash(unsigned d)
{
	uint32_t a = ~0u, b = 12345;

	for (uint32_t i = 0; i < n_touched; i++) {
		a = crc32c(a, at(d, touched[i]), LINE_BYTES);
		b = crc32c(b + touched[i], at(d, touched[i]), LINE_BYTES);
	}
	return ((uint64_t)a << 32 | b) ^ (uint64_t)crc32c(d, &history, sizeof(history)) << 20;
}

/* Seen before, at this depth, with this history? */
static bool seen_before(uint64_t hash)
{
	uint64_t i;

	if (2 * n_seen >= room_seen) {
		uint64_t *old = seen, old_room = room_seen;

		room_seen = old_room ? 2 * old_room : 1 << 14;
		seen = calloc(room_seen, sizeof(*seen));
		assert_non_null(seen);
		n_seen = 0;
		for (uint64_t k = 0; k < old_room; k++) {
			if (old[k])
				seen_before(old[k]);
		}
		free(old);
	}
	hash |= 1;
	for (i = hash % room_seen; seen[i]; i = (i + 1) % room_seen) {
		if (seen[i] == hash)
			return true;
	}
	seen[i] = hash;
	n_seen++;
	return false;
}

static void violated(const char *what)
{
	if (!outcome.violation[0])
		snprintf(outcome.violation, sizeof(outcome.violation),
			 "%s: crash point %lu, image %lu, depth %u: %s", program->name,
			 outcome.crash_points, outcome.images, depth, what);
}

static uint64_t lsn_step(void) { return program->lsn_step ? program->lsn_step : 64; }

void violation(const char *what) { violated(what); }

/* Recover the image in the next buffer, crash that too, and judge. */
static void recover(void)
{
	struct history saved = history;
	struct pmpt_recovery report;
	struct machine *m;
	const char *wrong;
	int rc;

	depth++;
	m = now();
	m->rg = machine[0].rg;
	m->rg.base = buffer[depth];
	pm_medium_init(&m->rg.medium, buffer[depth], RUN_BYTES, PM_CACHE_LINE);
	outcome.recoveries++;
	rc = replay(&m->rg, &test_mem, lsn_step(), &report);
	if (rc)
		violated(pmpt_errormsg());
	wrong = rc ? NULL : program->check(&m->rg, &history);
	if (wrong)
		violated(wrong);
	if (!rc && !wrong && program->go_on && depth == 1 && !outcome.violation[0]) {
		program->go_on(&m->rg);
		crash();
	}
	machine_clear(m);
	depth--;
	history = saved;
}

/* The line whose option the ith one follows: itself, or the first of its large stream. */
static unsigned leader_of(const struct machine *m, unsigned i)
{
	for (unsigned k = 0; m->pending[i]->group && k < i; k++) {
		if (m->pending[k]->group == m->pending[i]->group)
			return k;
	}
	return i;
}

/* Does the watch want the images of this crash? */
static bool watched(const struct machine *m)
{
	double n = 1;

	for (unsigned i = 0; i < m->n; i++)
		n *= m->pending[i]->group ? (double)INFINITY : m->pending[i]->n_options;
	return watch->crash(n);
}

/* All images of the machine in progress at this moment. */
static void crash(void)
{
	struct machine *m = now();
	unsigned digit[512] = { 0 }, leader[512], n = m->n,
		 most = program->depth ? program->depth : 2;
	unsigned k;

	if (depth >= most || outcome.violation[0])
		return;
	outcome.crash_points++;
	for (unsigned i = 0; i < n; i++) {
		options(m->pending[i], &m->rg);
		leader[i] = leader_of(m, i);
	}
	if (watch && !watched(m))
		return;
	do {
		for (uint32_t i = 0; i < n_touched; i++)
			*at(depth + 1, touched[i]) = *at(depth, touched[i]);
		for (unsigned i = 0; i < n; i++)
			*at(depth + 1, m->pending[i]->line) =
				m->pending[i]->option[digit[leader[i]]];
		if (watch) {
			watch->image(buffer[1]);
		} else if (!seen_before(image_hash(depth + 1))) {
			outcome.images++;
			recover();
		}
		for (k = 0; k < n; k++) {
			if (leader[k] != k)
				continue;
			if (++digit[k] < m->pending[k]->n_options)
				break;
			digit[k] = 0;
		}
	} while (k < n && !outcome.violation[0]);
}

void returned(void) { crash(); }

void unrecorded(struct region *rg, void (*fn)(struct region *rg))
{
	pm_observer = NULL;
	fn(rg);
	pm_observer = observe;
	machine_clear(now());
	for (unsigned d = 1; d < MAX_DEPTH; d++)
		memcpy(buffer[d], buffer[0], RUN_BYTES);
}

/* ---- a whole program ------------------------------------------------------------------------- */

static void buffers_make(void)
{
	for (unsigned d = 0; d < MAX_DEPTH; d++) {
		buffer[d] = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(buffer[d] != MAP_FAILED);
	}
	touched = calloc(LINES, sizeof(*touched));
	is_touched = calloc(LINES, 1);
	assert_true(touched && is_touched);
	n_touched = 0;
}

static void buffers_free(void)
{
	for (unsigned d = 0; d < MAX_DEPTH; d++)
		munmap(buffer[d], RUN_BYTES);
	free(touched);
	free(is_touched);
	free(seen);
	seen = NULL;
	n_seen = room_seen = 0;
}

/* Format a small region in buffer 0 and open it once; the others are copies. */
static void region_make(void)
{
	struct region *rg = &machine[0].rg;
	struct region_shape shape = { .n_lanes = program->n_lanes ? program->n_lanes : 2,
				      .half_lines = program->half_lines ? program->half_lines : 4,
				      .bulk_lines = program->bulk_lines ? program->bulk_lines : 8,
				      .n_spaces = 16,
				      .salt = 0x1234567 };
	uint64_t frames = program->frames ? program->frames : 96;
	struct pmpt_recovery report;

	*rg = (struct region){ .base = buffer[0], .bytes = RUN_BYTES, .sb_off = 4096 };
	pm_medium_init(&rg->medium, buffer[0], RUN_BYTES, PM_CACHE_LINE);
	atomic_store(&region_sb(rg)->extent[0].off, 64 << 10);
	assert_int_equal(region_format(rg, &shape,
				       ((uint64_t)2 << 20) - (64 << 10) + (frames << FRAME_SHIFT)),
			 0);
	assert_int_equal(replay(rg, &test_mem, lsn_step(), &report), 0);
	for (unsigned d = 1; d < MAX_DEPTH; d++)
		memcpy(buffer[d], buffer[0], RUN_BYTES);
}

struct outcome enumerate(const struct program *p)
{
	uint64_t off = rules_off;

	program = p;
	memset(&outcome, 0, sizeof(outcome));
	memset(&history, 0, sizeof(history));
	assert_int_equal(mem_init(&test_mem), 0);
	buffers_make();
	rules_off = off & ~((uint64_t)1 << RULE_W5_JUMP); /* the first open is not what is tested */
	region_make();
	rules_off = off;
	countdown = 0;
	other = NULL;
	split = in_other = false;
	depth = 0;
	pm_observer = observe;
	p->run(&machine[0].rg);
	crash();
	pm_observer = NULL;
	machine_clear(&machine[0]);
	buffers_free();
	mem_fini(&test_mem);
	return outcome;
}

void holds(const struct program *p)
{
	struct outcome o = enumerate(p);

	print_message("%-44s %6lu crash points %8lu images %8lu recoveries\n", p->name,
		      o.crash_points, o.images, o.recoveries);
	if (o.violation[0])
		fail_msg("%s", o.violation);
	assert_true(o.images > o.crash_points / 2);
}

void bites(enum rule rule, const struct program *p)
{
	struct outcome o;

	rules_off = (uint64_t)1 << rule;
	o = enumerate(p);
	rules_off = 0;
	if (!o.violation[0])
		fail_msg("%s: rule %d switched off and nothing found in %lu images", p->name, rule,
			 o.images);
	print_message("    caught with the rule off: %s\n", o.violation);
}
