/* SPDX-License-Identifier: BSD-3-Clause */
/* json_read -- see json_read.h.  Programs link crashsim without any other library, so it reads the
 * little that it needs by itself.  SOURCES: RFC 8259; of \u escapes, those below 0x80.
 */
#include "json_read.h"

#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define DEPTH_MAX 32

static const char *space(const char *s) { return s + strspn(s, " \t\r\n"); }

static struct json *value(const char *s, const char **rest, int depth);

static struct json *new_json(enum json_kind kind)
{
	struct json *j = must(calloc(1, sizeof(*j)));

	j->kind = kind;
	return j;
}

/* s stands behind the quote.  NULL: it does not end, or an escape is wrong. */
static char *string(const char *s, const char **rest)
{
	char *text = must(malloc(strlen(s) + 1)), *to = text;
	static const char from[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";

	for (; *s && *s != '"'; s++) {
		const char *e;

		if (*s != '\\') {
			*to++ = *s;
			continue;
		}
		s++;
		e = *s ? strchr(from, *s) : NULL;
		if (e) {
			*to++ = means[e - from];
		} else if (*s == 'u' && strspn(s + 1, "0123456789abcdefABCDEF") >= 4) {
			char hex[5] = { s[1], s[2], s[3], s[4], 0 };

			*to++ = (char)strtoul(hex, NULL, 16);
			s += 4;
		} else {
			break;
		}
	}
	*to = 0;
	*rest = s;
	if (*s == '"') {
		*rest = s + 1;
		return text;
	}
	free(text);
	return NULL;
}

/* Members or elements up to `end`. */
static bool members(struct json *j, const char *s, const char **rest, char end, int depth)
{
	struct json **last = &j->child;

	s = space(s);
	while (*s != end) {
		char *key = NULL;

		*rest = s;
		if (j->child) {
			if (*s != ',')
				return false;
			s = space(s + 1);
		}
		*rest = s;
		if (end == '}') {
			key = *s == '"' ? string(s + 1, &s) : NULL;
			s = space(s);
			*rest = s;
			if (!key || *s != ':') {
				free(key);
				return false;
			}
			s = space(s + 1);
		}
		*last = value(s, &s, depth);
		*rest = s;
		if (!*last) {
			free(key);
			return false;
		}
		(*last)->key = key;
		last = &(*last)->next;
		s = space(s);
	}
	*rest = s + 1;
	return true;
}

static struct json *scalar(const char *s, const char **rest)
{
	static const char *const word[] = { "null", "true", "false" };
	size_t n = strspn(s, "+-.0123456789eE");
	struct json *j;

	for (unsigned i = 0; i < 3; i++) {
		if (!strncmp(s, word[i], strlen(word[i]))) {
			*rest = s + strlen(word[i]);
			j = new_json(i ? JSON_BOOL : JSON_NULL);
			j->truth = i == 1;
			return j;
		}
	}
	*rest = s;
	if (!n)
		return NULL;
	*rest = s + n;
	j = new_json(JSON_NUMBER);
	j->text = must(strndup(s, n));
	return j;
}

static struct json *value(const char *s, const char **rest, int depth)
{
	struct json *j;

	s = space(s);
	*rest = s;
	if (depth > DEPTH_MAX)
		return NULL;
	if (*s == '"') {
		char *text = string(s + 1, rest);

		if (!text)
			return NULL;
		j = new_json(JSON_STRING);
		j->text = text;
		return j;
	}
	if (*s != '{' && *s != '[')
		return scalar(s, rest);
	j = new_json(*s == '{' ? JSON_OBJECT : JSON_ARRAY);
	if (members(j, s + 1, rest, *s == '{' ? '}' : ']', depth + 1))
		return j;
	json_free(j);
	return NULL;
}

struct json *json_parse(const char *text, const char **rest) { return value(text, rest, 0); }

void json_free(struct json *j)
{
	while (j) {
		struct json *next = j->next;

		json_free(j->child);
		free(j->text);
		free(j->key);
		free(j);
		j = next;
	}
}

const struct json *json_get(const struct json *j, const char *key)
{
	if (!j || j->kind != JSON_OBJECT)
		return NULL;
	for (j = j->child; j && strcmp(j->key, key) != 0; j = j->next)
		;
	return j;
}
