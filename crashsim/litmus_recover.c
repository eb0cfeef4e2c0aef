/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus_recover -- the recovery of a litmus program, through the hooks that instrumented code calls,
 * on every image of a crash. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "driver.h"
#include "hooks.h"
#include "litmus.h"

#define ROWS 65536u

static struct {
	const struct litmus *p;
	struct litmus_set *out;
	struct explorer x;
	bool returned; /* at the crash under exploration */
	/* Where each execution has a process of its own (--mode rerun), it leaves its row here. */
	struct rows {
		size_t n;
		struct litmus_row row[ROWS];
	} * shared;
} now;

uint64_t litmus_value(const uint64_t *reg, struct litmus_expr e)
{
	return e.add + (e.reg < 0 ? 0 : reg[e.reg]);
}

/* What a locked instruction stores.  False: nothing. */
bool litmus_locked(const struct litmus_ins *i, const uint64_t *reg, uint64_t was, uint64_t *is)
{
	uint64_t low = i->at.len < 8 ? ((uint64_t)1 << 8 * i->at.len) - 1 : UINT64_MAX;

	*is = litmus_value(reg, i->value[i->op == LITMUS_CAS]);
	if (i->op == LITMUS_XADD)
		*is += was;
	return i->op != LITMUS_CAS || was == (litmus_value(reg, i->value[0]) & low);
}

/* ---- rows --------------------------------------------------------------------------------------- */

static void row_found(const struct litmus_row *r)
{
	if (options.mode != MODE_RERUN) {
		(void)litmus_add(now.out, r);
		return;
	}
	if (now.shared->n == ROWS) {
		(void)fprintf(stderr, "crashsim: %s: '%s' is too large for --mode rerun\n",
			      now.p->file, now.p->name);
		exit(3);
	}
	now.shared->row[now.shared->n++] = *r;
}

static void rows_take(void)
{
	for (size_t i = 0; now.shared && i < now.shared->n; i++)
		(void)litmus_add(now.out, &now.shared->row[i]);
	if (now.shared)
		now.shared->n = 0;
}

/* ---- recovery, through the hooks ----------------------------------------------------------------------- */

static unsigned char *home(struct litmus_at at)
{
	return region_base + (size_t)now.p->line_at[at.off / LINE_BYTES] * LINE_BYTES +
	       at.off % LINE_BYTES;
}

static uint64_t read_here(struct litmus_at at)
{
	uint64_t value = 0;

	hook_loads(home(at), at.len);
	memcpy(&value, home(at), at.len);
	return value;
}

static void write_here(const struct litmus_ins *i, struct litmus_at at, const uint64_t *word)
{
	hook_before_store(home(at), at.len, 0);
	memcpy(home(at), word, at.len);
	if (i->op == LITMUS_DIRECT)
		hook_direct_stored(home(at), 0);
	else
		hook_range_stored(home(at), at.len, i->op == LITMUS_STREAM, 0);
}

static void recover_locked(const struct litmus_ins *i, uint64_t *reg)
{
	uint64_t was = read_here(i->at), word[LITMUS_WORDS] = { 0 };
	bool stores = litmus_locked(i, reg, was, &word[0]);

	hook_fence(EV_MFENCE, 0);
	if (stores)
		write_here(i, i->at, word);
	if (i->reg >= 0)
		reg[i->reg] = was;
}

static void recover_step(const struct litmus_ins *i, uint64_t *reg)
{
	uint64_t word[LITMUS_WORDS] = { 0 };

	switch (i->op) {
	case LITMUS_STORE:
	case LITMUS_STREAM:
	case LITMUS_DIRECT:
		for (unsigned k = 0; k < i->n; k++)
			word[k] = litmus_value(reg, i->value[k]);
		write_here(i, i->at, word);
		break;
	case LITMUS_LOAD:
		reg[i->reg] = read_here(i->at);
		break;
	case LITMUS_SET:
		reg[i->reg] = litmus_value(reg, i->value[0]);
		break;
	case LITMUS_XCHG:
	case LITMUS_CAS:
	case LITMUS_XADD:
		recover_locked(i, reg);
		break;
	case LITMUS_FL:
	case LITMUS_FO:
		hook_flush(home(i->at), i->op == LITMUS_FL ? EV_CLFLUSH : EV_CLWB, 0);
		break;
	case LITMUS_SF:
	case LITMUS_MF:
		hook_fence(i->op == LITMUS_SF ? EV_SFENCE : EV_MFENCE, 0);
		break;
	case LITMUS_MSYNC:
		explore_written(&(struct event){
			.kind = EV_MSYNC, .off = (uint64_t)(home(i->at) - region_base), .len = 1 });
		break;
	default:
		break;
	}
}

static void observe(uint64_t *reg, uint32_t set)
{
	struct litmus_row r = { .none = 0 };

	for (unsigned i = 0; i < now.p->n_columns; i++) {
		const struct litmus_column *c = &now.p->column[i];

		switch (c->kind) {
		case COLUMN_MEMORY:
			r.value[i] = read_here(c->at);
			break;
		case COLUMN_REG:
			r.none |= (uint32_t) !(set >> c->reg & 1) << i;
			r.value[i] = set >> c->reg & 1 ? reg[c->reg] : 0;
			break;
		case COLUMN_RETURNED:
			r.value[i] = now.returned;
			break;
		}
	}
	row_found(&r);
}

static void recover(void *pm)
{
	unsigned phase = explore_phase();
	const struct litmus_code *code = &now.p->recovery[phase];
	uint64_t reg[LITMUS_REGS] = { 0 };
	uint32_t set = 0;

	(void)pm;
	for (unsigned pc = 0; pc < code->n; pc++) {
		const struct litmus_ins *i = &code->ins[pc];

		if (i->op == LITMUS_JUMP)
			pc = i->target - 1;
		else if (i->op != LITMUS_UNLESS)
			recover_step(i, reg);
		else if ((litmus_value(reg, i->value[0]) == litmus_value(reg, i->value[1])) !=
			 i->equal)
			pc = i->target - 1;
		if (i->reg >= 0)
			set |= 1u << i->reg;
	}
	if (phase + 1 == now.p->n_crashes)
		observe(reg, set);
}

static const struct crashsim_workload workload = { .name = "litmus",
						   .bytes = LITMUS_BYTES,
						   .recover = recover };

/* ---- a crash ------------------------------------------------------------------------------------- */

static bool failed(void *ctx, const struct failure *f)
{
	(void)ctx;
	(void)fprintf(stderr, "crashsim: %s: litmus program '%s': %s\n", now.p->file, now.p->name,
		      f->what);
	exit(3);
}

void litmus_crash(const struct trace *t, size_t c)
{
	struct model *m = model_new(t);
	struct point_result result = { 0 };
	struct image_set *set;

	now.returned = false;
	for (size_t i = 0; i < c; i++)
		now.returned |= t->event[i].kind == EV_RETURNED;
	now.x.model = m;
	now.x.crash_point = c;
	model_to(m, c);
	set = model_images(m);
	explore(&now.x, set, &result);
	image_set_free(set);
	model_free(m);
	rows_take();
}

void litmus_recover_begin(const struct litmus *p, struct litmus_set *out)
{
	static const unsigned char op[256];
	static const uint64_t notes[64];
	static struct failure failure;

	memset(&now, 0, sizeof(now));
	failure = (struct failure){ .decision =
					    must(calloc(DECISIONS_MAX, sizeof(struct decision))) };
	now.p = p;
	now.out = out;
	now.x = (struct explorer){ .workload = &workload,
				   .buf = buffer_map(&workload),
				   .bytes = LITMUS_BYTES,
				   .depth = p->n_crashes,
				   .op = op,
				   .note = notes,
				   .now = &failure,
				   .failed = failed,
				   .crash_at_end = true };
	if (options.mode != MODE_RERUN)
		return;
	now.shared = mmap(NULL, sizeof(*now.shared), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void)must(now.shared == MAP_FAILED ? NULL : now.shared);
}

void litmus_recover_end(void)
{
	free(now.x.now->decision);
	if (now.shared)
		(void)munmap(now.shared, sizeof(*now.shared));
}
