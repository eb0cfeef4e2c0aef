/* SPDX-License-Identifier: BSD-3-Clause */
/* symbol -- a program counter as function, file and line; see symbol.c. */
#ifndef SYMBOL_H
#define SYMBOL_H

#include "engine.h"

struct symbol {
	uint64_t pc;
	char *function, *file;           /* "?" where they are not known */
	unsigned line;                   /* 0: not known */
	const struct symbol *inlined_in; /* the caller, where the compiler inlined this; or NULL */
};

/* Of the call that returns to pc.  Valid for ever. */
const struct symbol *symbol_of(uint64_t pc);
/* The same for many at once: one addr2line for each object. */
void symbols_load(const uint64_t *pc, size_t n);
/* "file.c:12", or "function+0x1f", or "0x4711". */
const char *symbol_place(const struct symbol *s, char *text, size_t size);
/* The source line, without the white space around it; "" when the file is not there. */
const char *symbol_source(const struct symbol *s, char *text, size_t size);
/* "store of 8 bytes at 0x40: 0x1, at file.c:12 in f" */
const char *event_text(const struct event *e, char *text, size_t size);
/* It is code of crashsim's own. */
bool symbol_is_engine(const struct symbol *s);
/* It is in a file that crashsim_wrappers() names. */
bool symbol_is_wrapper(const struct symbol *s);
/* s, or where it was inlined from wrappers, who called them. */
const struct symbol *symbol_caller(const struct symbol *s);

#endif
