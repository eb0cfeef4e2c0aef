/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus -- small programs with the exact set of what a crash may leave: litmus_parse.c reads them,
 * litmus.c runs them on the engine, judge.c enumerates them by itself.  The format: litmus_parse.c. */
#ifndef LITMUS_H
#define LITMUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "engine.h"

#define LITMUS_THREADS 3u
#define LITMUS_CRASHES (PHASES_MAX - 1)
#define LITMUS_VARS    16u
#define LITMUS_LINES   16u /* that hold variables */
#define LITMUS_REGS    8u
#define LITMUS_CODE    24u
#define LITMUS_WORDS   8u /* of one store */
#define LITMUS_COLUMNS 10u
#define LITMUS_BYTES   (4 * 4096u) /* of the memory that they lie in */

/* Locations count from the first line that holds variables, without the gaps between lines. */
struct litmus_at {
	uint16_t off;
	uint8_t len;
};

/* reg + add; reg < 0: add alone */
struct litmus_expr {
	int reg;
	uint64_t add;
};

enum litmus_op {
	LITMUS_STORE,  /* at = value[0..]: of n words where n > 1 */
	LITMUS_STREAM, /* past the cache */
	LITMUS_DIRECT, /* movdir64b */
	LITMUS_LOAD,   /* reg = at */
	LITMUS_SET,    /* reg = value[0] */
	LITMUS_XCHG,   /* reg = at, at = value[0] */
	LITMUS_CAS,    /* reg = at, if that is value[0]: at = value[1] */
	LITMUS_XADD,   /* reg = at, at += value[0] */
	LITMUS_FL,
	LITMUS_FO,
	LITMUS_SF,
	LITMUS_MF,
	LITMUS_LF,
	LITMUS_MSYNC,    /* the page that holds at */
	LITMUS_RETURNED, /* what was asked for has been acknowledged */
	LITMUS_WALKER,   /* from now on the bits value[0].add of the word may be set */
	LITMUS_UNLESS,   /* value[0] and value[1] are equal (or not): go on, else to `target` */
	LITMUS_JUMP,
};

struct litmus_ins {
	enum litmus_op op;
	struct litmus_at at;
	int reg; /* < 0: none */
	unsigned n;
	struct litmus_expr value[LITMUS_WORDS];
	bool equal;
	unsigned target;
};

struct litmus_code {
	unsigned n, n_regs;
	struct litmus_ins ins[LITMUS_CODE];
	char reg[LITMUS_REGS][16];
};

struct litmus_var {
	char name[16];
	struct litmus_at at;
};

/* What is looked at in the end. */
struct litmus_column {
	char name[24];
	enum { COLUMN_MEMORY, COLUMN_REG, COLUMN_RETURNED } kind;
	struct litmus_at at;
	unsigned reg;
};

struct litmus_row {
	uint64_t value[LITMUS_COLUMNS];
	uint32_t none; /* bit by column: a register that was not set */
};

struct litmus_set {
	struct litmus_row *row; /* ascending */
	size_t n, room;
};
/* False: it was there. */
bool litmus_add(struct litmus_set *s, const struct litmus_row *r);
bool litmus_has(const struct litmus_set *s, const struct litmus_row *r);

struct litmus {
	const char *file;
	char name[96], source[256], rules[64];
	struct litmus_var var[LITMUS_VARS];
	unsigned n_vars, n_lines;
	uint32_t line_at[LITMUS_LINES]; /* in memory */
	unsigned char first[LITMUS_LINES * LINE_BYTES];
	enum line_order order;
	enum persist persist;
	unsigned walker;
	struct litmus_code thread[LITMUS_THREADS], recovery[LITMUS_CRASHES];
	unsigned n_threads, n_crashes; /* at least one */
	struct litmus_column column[LITMUS_COLUMNS];
	unsigned n_columns;
	struct litmus_set expect;
	size_t n_recorded; /* of them, that a recording shows */
};

/* A file of programs, under way. */
struct litmus_reader {
	const char *file;
	char *text; /* all of it; the caller frees */
	const char *at;
	unsigned line;
	const char *line_start;
	unsigned n; /* programs so far */
};
/* False: it cannot be read, which has been said on stderr. */
bool litmus_open(struct litmus_reader *r, const char *file);
/* 1: the next program.  0: there is none.  -1: it is not well-formed; where, has been said. */
int litmus_next(struct litmus_reader *r, struct litmus *p);
void litmus_free(struct litmus *p);

/* What is in `at` of memory laid out by lines; at most 8 bytes. */
uint64_t litmus_get(const unsigned char *lines, struct litmus_at at);

/* Every outcome that the engine finds.  recorded: among those of traces in which each instruction
 * takes effect before the next one of its thread, like those of a workload's run. */
struct litmus_work {
	uint64_t states, images; /* of the threads; crashes that were explored */
};
void litmus_run(const struct litmus *p, bool recorded, struct litmus_set *out,
		struct litmus_work *work);

/* litmus_recover.c: explore the images of a crash before event c; outcomes go to `out`. */
void litmus_recover_begin(const struct litmus *p, struct litmus_set *out);
void litmus_crash(const struct trace *t, size_t c);
void litmus_recover_end(void);
uint64_t litmus_value(const uint64_t *reg, struct litmus_expr e);
/* What a locked instruction stores.  False: nothing. */
bool litmus_locked(const struct litmus_ins *i, const uint64_t *reg, uint64_t was, uint64_t *is);

/* Every outcome that the rules allow, found without the engine.  steps: out. */
void judge(const struct litmus *p, struct litmus_set *out, uint64_t *steps);

/* The command `crashsim litmus`; argv[0] is its name. */
int litmus_main(int argc, char **argv);

#endif
