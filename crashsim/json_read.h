/* SPDX-License-Identifier: BSD-3-Clause */
/* json_read -- a small reader of JSON, for what crashsim itself has written; see json_read.c. */
#ifndef JSON_READ_H
#define JSON_READ_H

#include <stdbool.h>
#include <stddef.h>

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_kind kind;
	bool truth;
	char *text; /* of a string, decoded; of a number, as it stands */
	char *key;  /* of a member of an object */
	struct json *child, *next;
};

/* The value that begins at text; rest: behind it.  NULL: wrong at *rest. */
struct json *json_parse(const char *text, const char **rest);
void json_free(struct json *j);
/* A member; NULL: there is none, or j is no object. */
const struct json *json_get(const struct json *j, const char *key);

#endif
