/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus_token -- files of litmus programs, cut into tokens.  What is not well-formed is said with
 * file, line, column, what was found and what was expected. */
#include "litmus_token.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tokens in;

/* ---- tokens ------------------------------------------------------------------------------------ */

_Noreturn void wrong(const struct token *t, const char *expected)
{
	static const char *const name[] = { "the end of the file", "the end of the line" };

	(void)fprintf(stderr, "%s:%u:%u: found ", in.r->file, t->line, t->column);
	if (t->kind == TOKEN_END || t->kind == TOKEN_LINE)
		(void)fprintf(stderr, "%s", name[t->kind]);
	else
		(void)fprintf(stderr, "'%.*s'", (int)t->len, t->at);
	(void)fprintf(stderr, ", expected %s\n", expected);
	longjmp(in.back, 1);
}

static void skip_blanks(void)
{
	while (*in.r->at == ' ' || *in.r->at == '\t' || *in.r->at == '\r')
		in.r->at++;
	if (*in.r->at == '#')
		in.r->at += strcspn(in.r->at, "\n");
}

static size_t sign_length(const char *s)
{
	static const char *const sign[] = { "|||", "||", "==", "!=" };

	for (size_t i = 0; i < sizeof(sign) / sizeof(sign[0]); i++) {
		if (!strncmp(s, sign[i], strlen(sign[i])))
			return strlen(sign[i]);
	}
	return 1;
}

/* The next token becomes in.t. */
void next(void)
{
	struct token *t = &in.t;
	char *end;

	skip_blanks();
	*t = (struct token){ .at = in.r->at, .line = in.r->line, .len = 1 };
	t->column = (unsigned)(t->at - in.r->line_start) + 1;
	if (!*t->at) {
		t->kind = TOKEN_END;
		return;
	}
	if (*t->at == '\n' || *t->at == ';') {
		t->kind = TOKEN_LINE;
		in.r->at++;
		if (*t->at == '\n') {
			in.r->line++;
			in.r->line_start = in.r->at;
		}
		return;
	}
	if (isdigit((unsigned char)*t->at)) {
		errno = 0;
		t->kind = TOKEN_NUMBER;
		t->number = strtoull(t->at, &end, 0);
		while (isalnum((unsigned char)*end) || *end == '_')
			end++, errno = EINVAL;
		t->len = (size_t)(end - t->at);
		if (errno)
			wrong(t, "a number of at most 64 bits");
	} else if (isalpha((unsigned char)*t->at) || *t->at == '_') {
		t->kind = TOKEN_NAME;
		while (isalnum((unsigned char)t->at[t->len]) || t->at[t->len] == '_')
			t->len++;
	} else {
		t->kind = TOKEN_SIGN;
		t->len = sign_length(t->at);
	}
	in.r->at = t->at + t->len;
}

bool is(const char *text)
{
	return in.t.kind >= TOKEN_NAME && in.t.len == strlen(text) &&
	       !memcmp(in.t.at, text, in.t.len);
}

bool take(const char *text)
{
	if (!is(text))
		return false;
	next();
	return true;
}

void need(const char *text, const char *expected)
{
	if (!take(text))
		wrong(&in.t, expected);
}

void lines(void)
{
	while (in.t.kind == TOKEN_LINE)
		next();
}

void line_end(void)
{
	if (in.t.kind != TOKEN_LINE && in.t.kind != TOKEN_END && !is("}"))
		wrong(&in.t, "the end of the line or ';'");
	lines();
}

uint64_t number(uint64_t least, uint64_t most, const char *expected)
{
	uint64_t n = in.t.number;

	if (in.t.kind != TOKEN_NUMBER || n < least || n > most)
		wrong(&in.t, expected);
	next();
	return n;
}

/* The rest of the line as it stands; in.t is the keyword before it. */
void text(char *out, size_t size, const char *expected)
{
	size_t len;

	skip_blanks();
	len = strcspn(in.r->at, "\n#");
	while (len && isspace((unsigned char)in.r->at[len - 1]))
		len--;
	if (!len || len >= size) {
		struct token t = { .kind = len ? TOKEN_NAME : TOKEN_LINE,
				   .at = in.r->at,
				   .len = len,
				   .line = in.r->line,
				   .column = (unsigned)(in.r->at - in.r->line_start) + 1 };

		wrong(&t, expected);
	}
	memcpy(out, in.r->at, len);
	out[len] = 0;
	in.r->at += len;
	next();
	line_end();
}

void name_copy(char *out, size_t size, const char *expected)
{
	if (in.t.kind != TOKEN_NAME || in.t.len >= size)
		wrong(&in.t, expected);
	memcpy(out, in.t.at, in.t.len);
	out[in.t.len] = 0;
}

bool setting(const char *text)
{
	size_t len = strlen(text);

	if (in.t.kind != TOKEN_NAME || strncmp(in.t.at, text, len) ||
	    !strchr(" \t\r\n;#", in.t.at[len]))
		return false;
	in.r->at = in.t.at + len;
	next();
	return true;
}

bool litmus_open(struct litmus_reader *r, const char *file)
{
	FILE *f = fopen(file, "r");
	size_t n = 0, room = 4096, got;

	*r = (struct litmus_reader){ .file = file, .line = 1 };
	if (!f) {
		(void)fprintf(stderr, "crashsim: litmus program %s: %s\n", file, strerror(errno));
		return false;
	}
	r->text = must(malloc(room + 1));
	while ((got = fread(r->text + n, 1, room - n, f)) > 0) {
		n += got;
		if (n == room)
			r->text = must(realloc(r->text, (room *= 2) + 1));
	}
	if (ferror(f)) {
		(void)fprintf(stderr, "crashsim: litmus program %s: %s\n", file, strerror(errno));
		(void)fclose(f);
		return false;
	}
	(void)fclose(f);
	r->text[n] = 0;
	r->at = r->line_start = r->text;
	return true;
}
