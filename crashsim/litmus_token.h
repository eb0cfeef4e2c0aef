/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus_token -- see litmus_token.c; for litmus_parse.c alone. */
#ifndef LITMUS_TOKEN_H
#define LITMUS_TOKEN_H

#include <setjmp.h>

#include "litmus.h"

enum token_kind { TOKEN_END, TOKEN_LINE, TOKEN_NAME, TOKEN_NUMBER, TOKEN_SIGN };

struct token {
	enum token_kind kind;
	const char *at;
	size_t len;
	unsigned line, column;
	uint64_t number;
};

/* The file under way, its next token, and where wrong() goes. */
struct tokens {
	struct litmus_reader *r;
	struct token t;
	jmp_buf back;
};
extern struct tokens in;

_Noreturn void wrong(const struct token *t, const char *expected); /* says so */
void next(void);                                                   /* token */
bool is(const char *text);   /* the next token: a name or a sign */
bool take(const char *text); /* the next token, if it is that */
void need(const char *text, const char *expected);
void lines(void); /* skip ends of lines */
void line_end(void);
uint64_t number(uint64_t least, uint64_t most, const char *expected);
/* The rest of the line as it stands; the next token is the keyword before it. */
void text(char *out, size_t size, const char *expected);
void name_copy(char *out, size_t size, const char *expected);
/* KEY=VALUE as it stands, with no blank. */
bool setting(const char *text);

/* litmus_set.c: the rows behind `expect ... {`, and its '}'. */
void rows_parse(struct litmus *p);

#endif
