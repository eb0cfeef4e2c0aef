/* SPDX-License-Identifier: BSD-3-Clause */
/* strings -- the C library's string functions, seen: crashsim-cc renames the calls.  (memcpy and
 * the like: hooks.c.)  A string in the buffer is read byte by byte, so that no more of it is
 * decided than the function looks at. */
#include "hooks.h"

#include <stdlib.h>
#include <string.h>

/* only renamed calls come here; nobody declares them */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

/* Bytes up to and with the end, at most max. */
static size_t seen(const char *s, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		hook_loads(s + i, 1);
		if (!s[i])
			return i + 1;
	}
	return max;
}

static void copied(char *to, const char *from, size_t n, uint64_t site)
{
	hook_before_store(to, n);
	memmove(to, from, n);
	hook_range_stored(to, n, false, site);
}

size_t crashsim_strlen(const char *s) { return seen(s, SIZE_MAX) - 1; }

size_t crashsim_strnlen(const char *s, size_t max)
{
	size_t n = seen(s, max);

	return n && !s[n - 1] ? n - 1 : n;
}

char *crashsim_strcpy(char *to, const char *from)
{
	copied(to, from, seen(from, SIZE_MAX), CALLER);
	return to;
}

char *crashsim_stpcpy(char *to, const char *from)
{
	size_t n = seen(from, SIZE_MAX);

	copied(to, from, n, CALLER);
	return to + n - 1;
}

char *crashsim_strncpy(char *to, const char *from, size_t max)
{
	size_t n = seen(from, max);

	hook_before_store(to, max);
	memmove(to, from, n);
	memset(to + n, 0, max - n);
	hook_range_stored(to, max, false, CALLER);
	return to;
}

char *crashsim_strcat(char *to, const char *from)
{
	copied(to + seen(to, SIZE_MAX) - 1, from, seen(from, SIZE_MAX), CALLER);
	return to;
}

char *crashsim_strncat(char *to, const char *from, size_t max)
{
	size_t n = seen(from, max);
	char *end = to + seen(to, SIZE_MAX) - 1;

	copied(end, from, n, CALLER);
	if (!n || from[n - 1]) {
		hook_before_store(end + n, 1);
		end[n] = 0;
		hook_range_stored(end + n, 1, false, CALLER);
	}
	return to;
}

int crashsim_strncmp(const char *a, const char *b, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		hook_loads(a + i, 1);
		hook_loads(b + i, 1);
		if (a[i] != b[i] || !a[i])
			return (unsigned char)a[i] - (unsigned char)b[i];
	}
	return 0;
}

int crashsim_strcmp(const char *a, const char *b) { return crashsim_strncmp(a, b, SIZE_MAX); }

char *crashsim_strchr(const char *s, int c)
{
	(void)seen(s, SIZE_MAX);
	return strchr(s, c);
}

char *crashsim_strrchr(const char *s, int c)
{
	(void)seen(s, SIZE_MAX);
	return strrchr(s, c);
}

char *crashsim_strdup(const char *s)
{
	(void)seen(s, SIZE_MAX);
	return strdup(s);
}

void *crashsim_memchr(const void *s, int c, size_t n)
{
	hook_loads(s, n);
	return memchr(s, c, n);
}

void *crashsim_mempcpy(void *to, const void *from, size_t n)
{
	hook_loads(from, n);
	copied(to, from, n, CALLER);
	return (char *)to + n;
}
