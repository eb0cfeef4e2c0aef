/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus_parse -- read litmus programs.
 *
 * FORMAT	a file holds one program or more; `#` begins a comment; instructions end at a newline
 *		or `;`.  Each program, in this order:
 *
 *	name TEXT		begins it
 *	rules R3 R9		of crashsim(1), MODEL, that it is about
 *	source TEXT		where it was published, or which section says so
 *	layout x | y | a b	variables; `|` next line, `||` next 512-byte sector, `|||` next page.
 *				NAME:BYTES where it is not 8; aligned to its size, up to 8
 *	init x = 1, y = 2	what is there, durably; 0 otherwise
 *	switch KEY=VALUE ...	line_order=prefix|free, persist=memory|cache|cache-failed|page,
 *				walker=N
 *	recorded N		of the outcomes, how many come about where each instruction takes
 *				effect before the next one; all, where it is not given [R1]
 *	thread			one to three of them, each with its instructions
 *	crash			power fails; the instructions of recovery follow, then maybe another
 *				`crash`.  Where none is given there is one, with no recovery
 *	expect x r {		what is looked at when the last recovery is over: variables, its
 *		0 0|1		registers, `returned`; then every outcome there is, one a line.
 *	}			`1|2` stands for two of them, `-` for a register that was not set
 *
 * LOCATION	NAME, NAME+OFFSET, NAME+OFFSET:BYTES
 * VALUE	number, register, register + number; { VALUE, VALUE ... }: words of a wide store
 * INSTRUCTIONS	x = VALUE		store			r = x		load
 *		NT x = VALUE		movnt store		r = VALUE
 *		movdir64b x = { .. }				[r =] xchg x, VALUE
 *		FL x / FO x		clflush / clflushopt,	[r =] cas x, OLD, NEW
 *					clwb			[r =] xadd x, VALUE
 *		SF  MF  LF		fences			msync x		of its page
 *		returned		acknowledged: in no store buffer, waits for SF
 *		walker x BITS		from now on a page walker may set them
 *		if VALUE [== VALUE | != VALUE] { ... } [else { ... }]
 *		A name that is no variable is a register; it is lost in a crash.
 */
#include "litmus_token.h"

#include <stdlib.h>
#include <string.h>

static struct { /* the program under way */
	struct litmus *p;
	struct litmus_code *code;
	uint32_t set; /* registers of it that have been given a value */
	/* words that a walker may change, and words that threads load */
	uint16_t walker_at[LITMUS_VARS], read_at[LITMUS_CODE * LITMUS_THREADS];
	unsigned n_walkers, n_reads;
} now;

/* ---- variables --------------------------------------------------------------------------------- */

static const struct litmus_var *var_here(void)
{
	for (unsigned i = 0; i < now.p->n_vars && in.t.kind == TOKEN_NAME; i++) {
		if (is(now.p->var[i].name))
			return &now.p->var[i];
	}
	return NULL;
}

static bool keyword_here(void)
{
	static const char *const word[] = {
		"name",     "rules",  "source",    "layout",  "init", "switch", "thread",
		"crash",    "expect", "NT",        "FL",      "FO",   "SF",     "MF",
		"LF",       "msync",  "xchg",      "cas",     "xadd", "if",     "else",
		"returned", "walker", "movdir64b", "recorded"
	};

	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++) {
		if (is(word[i]))
			return true;
	}
	return false;
}

/* Line `number` of memory, and those behind it that are needed for len bytes. */
static void lines_add(uint32_t number, size_t len)
{
	for (; len > 0; len -= len < LINE_BYTES ? len : LINE_BYTES) {
		if (now.p->n_lines == LITMUS_LINES || number >= LITMUS_BYTES / LINE_BYTES)
			wrong(&in.t, "at most 16 lines in 4 pages");
		now.p->line_at[now.p->n_lines++] = number++;
	}
}

static void layout_var(size_t *end)
{
	struct litmus *p = now.p;
	struct litmus_var *v = &p->var[p->n_vars];
	size_t len = 8, align, off;

	if (in.t.kind != TOKEN_NAME || keyword_here() || var_here())
		wrong(&in.t, "the name of a new variable");
	if (p->n_vars == LITMUS_VARS)
		wrong(&in.t, "at most 16 variables");
	name_copy(v->name, sizeof(v->name), "a name of at most 15 letters");
	next();
	if (take(":")) {
		struct token t = in.t;

		len = number(1, 128, "its bytes: 1, 2, 4, or a multiple of 8 up to 128");
		if (len % 8 && len != 1 && len != 2 && len != 4)
			wrong(&t, "its bytes: 1, 2, 4, or a multiple of 8 up to 128");
	}
	align = len < 8 ? len : 8;
	off = (*end + align - 1) & ~(align - 1);
	if (off + len > p->n_lines * LINE_BYTES) {
		uint32_t after = p->n_lines ? p->line_at[p->n_lines - 1] + 1 : 0;

		if (off % LINE_BYTES)
			wrong(&in.t, "'|': the line has no room for it");
		lines_add(after, off + len - p->n_lines * LINE_BYTES);
	}
	v->at = (struct litmus_at){ (uint16_t)off, (uint8_t)len };
	p->n_vars++;
	*end = off + len;
}

static void layout(void)
{
	size_t end = 0;

	next();
	layout_var(&end);
	while (in.t.kind != TOKEN_LINE && in.t.kind != TOKEN_END) {
		uint32_t unit = is("|||") ? 64 : is("||") ? SECTOR_LINES : is("|") ? 1 : 0;

		if (unit) {
			next();
			end = now.p->n_lines * LINE_BYTES;
			lines_add(now.p->line_at[now.p->n_lines - 1] / unit * unit + unit, 1);
		}
		layout_var(&end);
	}
	line_end();
}

static void init(void)
{
	do {
		const struct litmus_var *v;
		uint64_t value;

		next();
		v = var_here();
		if (!v || v->at.len > 8)
			wrong(&in.t, "a variable of at most 8 bytes");
		next();
		need("=", "'='");
		value = number(0, UINT64_MAX, "a number");
		memcpy(now.p->first + v->at.off, &value, v->at.len);
	} while (is(","));
	line_end();
}

static void switches(void)
{
	next();
	do {
		if (setting("line_order=prefix"))
			now.p->order = ORDER_PREFIX;
		else if (setting("line_order=free"))
			now.p->order = ORDER_FREE;
		else if (setting("persist=memory"))
			now.p->persist = PERSIST_MEMORY;
		else if (setting("persist=cache"))
			now.p->persist = PERSIST_CACHE;
		else if (setting("persist=cache-failed"))
			now.p->persist = PERSIST_CACHE_FAILED;
		else if (setting("persist=page"))
			now.p->persist = PERSIST_PAGE;
		else if (take("walker")) {
			need("=", "'='");
			now.p->walker = (unsigned)number(0, 16, "how many stores, at most 16");
		} else {
			wrong(&in.t,
			      "line_order=prefix|free, persist=memory|cache|cache-failed|page "
			      "or walker=N");
		}
	} while (in.t.kind == TOKEN_NAME);
	line_end();
}

/* ---- instructions -------------------------------------------------------------------------------- */

static int reg_find(void)
{
	for (unsigned i = 0; i < now.code->n_regs; i++) {
		if (is(now.code->reg[i]))
			return (int)i;
	}
	return -1;
}

static int reg_make(void)
{
	int reg = reg_find();

	if (reg < 0 && now.code->n_regs == LITMUS_REGS)
		wrong(&in.t, "one of the registers before: at most 8");
	if (reg < 0) {
		reg = (int)now.code->n_regs++;
		name_copy(now.code->reg[reg], sizeof(now.code->reg[reg]),
			  "a name of at most 15 letters");
	}
	next();
	return reg;
}

static struct litmus_expr expr(void)
{
	struct litmus_expr e = { .reg = -1 };

	if (in.t.kind == TOKEN_NAME) {
		e.reg = reg_find();
		if (e.reg < 0 || !(now.set >> e.reg & 1))
			wrong(&in.t, var_here() ? "a number or a register (load the variable first)"
						: "a number, or a register that has been set");
		next();
		if (take("+"))
			e.add = number(0, UINT64_MAX, "a number");
		return e;
	}
	e.add = number(0, UINT64_MAX, "a number or a register");
	return e;
}

static struct litmus_at location(void)
{
	const struct litmus_var *v = var_here();
	uint64_t off = 0, len;

	if (!v)
		wrong(&in.t, "a variable of the layout");
	next();
	len = v->at.len < 8 ? v->at.len : 8;
	if (take("+"))
		off = number(0, v->at.len - 1u, "an offset in the variable");
	if (off + len > v->at.len)
		len = v->at.len - off;
	if (take(":"))
		len = number(1, v->at.len - off, "bytes of the variable");
	return (struct litmus_at){ (uint16_t)(v->at.off + off), (uint8_t)len };
}

/* At most a word: for a load, a locked instruction. */
static struct litmus_at small_location(void)
{
	struct token t = in.t;
	struct litmus_at at = location();

	if (at.len > 8)
		wrong(&t, "a location of at most 8 bytes");
	return at;
}

static struct litmus_ins *add(enum litmus_op op)
{
	struct litmus_ins *i = &now.code->ins[now.code->n];

	if (now.code->n == LITMUS_CODE)
		wrong(&in.t, "at most 24 instructions");
	now.code->n++;
	*i = (struct litmus_ins){ .op = op, .reg = -1 };
	return i;
}

static void note_read(struct litmus_at at)
{
	if (now.code >= now.p->thread && now.code < now.p->thread + LITMUS_THREADS)
		now.read_at[now.n_reads++] = at.off & (uint16_t)~7u;
}

/* location = value; the operation stands before it. */
static void store(enum litmus_op op)
{
	struct token t = in.t;
	struct litmus_at at = location();
	struct litmus_ins *i = add(op);

	need("=", "'='");
	i->n = 1;
	if (take("{")) {
		for (i->n = 0; i->n == 0 || take(",");) {
			if (i->n == LITMUS_WORDS)
				wrong(&in.t, "at most 8 words");
			i->value[i->n++] = expr();
		}
		need("}", "',' or '}'");
		at.len = (uint8_t)(8 * i->n);
	} else {
		i->value[0] = expr();
		if (at.len > 8)
			wrong(&t, "a location of at most 8 bytes, or { words }");
	}
	i->at = at;
	if (at.off + at.len > now.p->n_lines * LINE_BYTES)
		wrong(&t, "a variable with room for the words");
	if (op == LITMUS_DIRECT && (i->n != 8 || at.off % LINE_BYTES))
		wrong(&t, "a whole line and 8 words for movdir64b");
	if (op == LITMUS_STREAM && at.off % 4)
		wrong(&t, "a location aligned to 4 bytes");
}

static void locked(int reg)
{
	enum litmus_op op = is("xchg") ? LITMUS_XCHG : is("cas") ? LITMUS_CAS : LITMUS_XADD;
	struct litmus_ins *i = add(op);

	next();
	i->reg = reg;
	i->at = small_location();
	note_read(i->at);
	i->n = op == LITMUS_CAS ? 2 : 1;
	for (unsigned k = 0; k < i->n; k++) {
		need(",", "','");
		i->value[k] = expr();
	}
}

static void set_register(void)
{
	int reg = reg_make();

	need("=", "'='");
	if (is("xchg") || is("cas") || is("xadd")) {
		locked(reg);
	} else if (var_here()) {
		struct litmus_ins *i = add(LITMUS_LOAD);

		i->reg = reg;
		i->at = small_location();
		note_read(i->at);
	} else {
		struct litmus_ins *i = add(LITMUS_SET);

		i->reg = reg;
		i->value[0] = expr();
	}
	now.set |= 1u << reg;
}

static void instructions(bool block);

static void condition(void)
{
	struct litmus_ins *test = add(LITMUS_UNLESS), *jump;
	uint32_t set = now.set, then;

	test->value[0] = expr();
	test->equal = take("==");
	if (test->equal || take("!="))
		test->value[1] = expr();
	else
		test->value[1] = (struct litmus_expr){ .reg = -1 };
	need("{", "'==', '!=' or '{'");
	instructions(true);
	then = now.set;
	now.set = set;
	test->target = now.code->n;
	if (take("else")) {
		need("{", "'{'");
		jump = add(LITMUS_JUMP);
		test->target = now.code->n;
		instructions(true);
		jump->target = now.code->n;
		/* a register is set behind it only if both ways have done so */
		now.set &= then;
	}
}

static bool simple(void)
{
	static const struct {
		const char *word;
		enum litmus_op op;
		bool at;
	} word[] = { { "FL", LITMUS_FL, true },
		     { "FO", LITMUS_FO, true },
		     { "SF", LITMUS_SF, false },
		     { "MF", LITMUS_MF, false },
		     { "LF", LITMUS_LF, false },
		     { "msync", LITMUS_MSYNC, true },
		     { "returned", LITMUS_RETURNED, false } };

	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++) {
		struct litmus_ins *ins;

		if (!take(word[i].word))
			continue;
		ins = add(word[i].op);
		if (word[i].at)
			ins->at = location();
		return true;
	}
	return false;
}

static bool in_recovery(void)
{
	return now.code >= now.p->recovery && now.code < now.p->recovery + LITMUS_CRASHES;
}

static void walker(void)
{
	struct token t = in.t;
	struct litmus_ins *i = add(LITMUS_WALKER);

	i->at = location();
	if (i->at.len != 8 || i->at.off % 8 || now.n_walkers == LITMUS_VARS)
		wrong(&t, "an aligned word");
	i->value[0] = (struct litmus_expr){ -1, number(1, UINT64_MAX, "the bits that it may set") };
	now.walker_at[now.n_walkers++] = i->at.off;
}

static void instruction(void)
{
	if (take("NT"))
		store(LITMUS_STREAM);
	else if (take("movdir64b"))
		store(LITMUS_DIRECT);
	else if (is("xchg") || is("cas") || is("xadd"))
		locked(-1);
	else if (take("if"))
		condition();
	else if (is("walker") && !in_recovery())
		next(), walker();
	else if (is("returned") && in_recovery())
		wrong(&in.t, "an instruction of recovery");
	else if (simple())
		return;
	else if (var_here())
		store(LITMUS_STORE);
	else if (in.t.kind == TOKEN_NAME && !keyword_here())
		set_register();
	else
		wrong(&in.t, "an instruction");
}

static void instructions(bool block)
{
	lines();
	while (!is("}") && !is("thread") && !is("crash") && !is("expect") &&
	       in.t.kind != TOKEN_END) {
		instruction();
		line_end();
	}
	if (block)
		need("}", "an instruction or '}'");
	else if (is("}"))
		wrong(&in.t, "an instruction");
}

static void code(struct litmus_code *c)
{
	now.code = c;
	now.set = 0;
	next();
	instructions(false);
}

/* ---- what is expected ----------------------------------------------------------------------------- */

static void column(void)
{
	struct litmus *p = now.p;
	struct litmus_column *c = &p->column[p->n_columns];
	const char *from = in.t.at;

	if (p->n_columns == LITMUS_COLUMNS)
		wrong(&in.t, "at most 10 columns");
	now.code = &p->recovery[p->n_crashes - 1];
	if (is("returned")) {
		c->kind = COLUMN_RETURNED;
		next();
	} else if (in.t.kind == TOKEN_NAME && reg_find() >= 0) {
		c->kind = COLUMN_REG;
		c->reg = (unsigned)reg_find();
		next();
	} else if (var_here()) {
		c->kind = COLUMN_MEMORY;
		c->at = small_location();
	} else {
		wrong(&in.t, "a variable, a register of the last recovery, 'returned' or '{'");
	}
	(void)snprintf(c->name, sizeof(c->name), "%.*s", (int)(in.t.at - from), from);
	c->name[strcspn(c->name, " \t{\n")] = 0;
	p->n_columns++;
}

static void expect(void)
{
	next();
	while (!is("{"))
		column();
	if (!now.p->n_columns)
		wrong(&in.t, "a variable, a register of the last recovery or 'returned'");
	next();
	rows_parse(now.p);
}

/* ---- programs ------------------------------------------------------------------------------------ */

/* What a walker may change is not read in the run: the trace holds one value of every load. */
static void check_walker(void)
{
	for (unsigned i = 0; i < now.n_reads; i++) {
		for (unsigned k = 0; k < now.n_walkers; k++) {
			if (now.read_at[i] == now.walker_at[k])
				wrong(&in.t,
				      "a program whose threads do not load words of a page walker");
		}
	}
}

static void program(void)
{
	struct litmus *p = now.p;

	if (!is("name"))
		wrong(&in.t, "'name'");
	text(p->name, sizeof(p->name), "a name of at most 95 letters");
	if (!is("rules"))
		wrong(&in.t, "'rules'");
	text(p->rules, sizeof(p->rules), "the rules that it is about");
	if (!is("source"))
		wrong(&in.t, "'source'");
	text(p->source, sizeof(p->source), "where it was published");
	if (!is("layout"))
		wrong(&in.t, "'layout'");
	layout();
	if (is("init"))
		init();
	if (is("switch"))
		switches();
	if (take("recorded")) {
		p->n_recorded = (size_t)number(1, 9999, "how many outcomes");
		line_end();
	}
	if (!is("thread"))
		wrong(&in.t, "'init', 'switch', 'recorded' or 'thread'");
	while (is("thread")) {
		if (p->n_threads == LITMUS_THREADS)
			wrong(&in.t, "at most 3 threads");
		code(&p->thread[p->n_threads++]);
	}
	while (is("crash")) {
		if (p->n_crashes == LITMUS_CRASHES)
			wrong(&in.t, "at most 3 crashes");
		code(&p->recovery[p->n_crashes++]);
	}
	p->n_crashes += !p->n_crashes;
	if (!is("expect"))
		wrong(&in.t, "'thread', 'crash' or 'expect'");
	expect();
	if (!p->n_recorded)
		p->n_recorded = p->expect.n;
	check_walker();
}

int litmus_next(struct litmus_reader *r, struct litmus *p)
{
	memset(&in, 0, sizeof(in));
	memset(&now, 0, sizeof(now));
	memset(p, 0, sizeof(*p));
	in.r = r;
	now.p = p;
	p->file = r->file;
	p->walker = 1;
	if (setjmp(in.back)) {
		litmus_free(p);
		return -1;
	}
	next();
	lines();
	if (in.t.kind == TOKEN_END && r->n)
		return 0;
	program();
	/* the keyword that ended it is read again */
	r->at = in.t.at;
	r->n++;
	return 1;
}

void litmus_free(struct litmus *p)
{
	free(p->expect.row);
	p->expect = (struct litmus_set){ 0 };
}
