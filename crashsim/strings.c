/* SPDX-License-Identifier: BSD-3-Clause */
/* strings -- the C library's string functions, seen: crashsim-cc renames the calls.  (memcpy and
 * the like: hooks.c.)  A string in the buffer is read byte by byte, so that no more of it is
 * decided than the function looks at. */
#include "hooks.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "system.h"

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
	hook_before_store(to, n, site);
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

	hook_before_store(to, max, CALLER);
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
		hook_before_store(end + n, 1, CALLER);
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
	const unsigned char *at = s;

	for (size_t i = 0; i < n; i++) {
		hook_loads(at + i, 1);
		if (at[i] == (unsigned char)c)
			return (void *)(uintptr_t)(at + i);
	}
	return NULL;
}

void *crashsim_mempcpy(void *to, const void *from, size_t n)
{
	hook_loads(from, n);
	copied(to, from, n, CALLER);
	return (char *)to + n;
}

/* ---- a program's own function of such a name comes first ----------------------------------------- */

#define WEAK __attribute__((weak))

WEAK int crashsim_strncasecmp(const char *a, const char *b, size_t max)
{
	for (size_t i = 0; i < max; i++) {
		hook_loads(a + i, 1);
		hook_loads(b + i, 1);
		int x = tolower((unsigned char)a[i]), y = tolower((unsigned char)b[i]);

		if (x != y || !x)
			return x - y;
	}
	return 0;
}

WEAK int crashsim_strcasecmp(const char *a, const char *b)
{
	return crashsim_strncasecmp(a, b, SIZE_MAX);
}

WEAK char *crashsim_strstr(const char *s, const char *what)
{
	(void)seen(s, SIZE_MAX);
	(void)seen(what, SIZE_MAX);
	return strstr(s, what);
}

static bool digit(int c, int base)
{
	int value = isdigit(c) ? c - '0' : isalpha(c) ? tolower(c) - 'a' + 10 : 36;

	return value < (base ? base : 16) || ((base == 0 || base == 16) && (c == 'x' || c == 'X'));
}

/* Up to and with the first byte that is no part of the number.  base -1: of a floating one. */
static void number_seen(const char *s, int base)
{
	size_t i = 0;

	for (hook_loads(s, 1); isspace((unsigned char)s[i]); hook_loads(s + i, 1))
		i++;
	if (s[i] == '+' || s[i] == '-')
		hook_loads(s + ++i, 1);
	for (; s[i]; hook_loads(s + i, 1)) {
		int c = (unsigned char)s[i];

		if (base < 0 ? !isalnum(c) && !strchr("+-._()", c) : !digit(c, base))
			return;
		i++;
	}
}

/* By its name: that of C23 is another one, and not every C library has it. */
#define NUMBER(type, name, real)                                                                 \
	WEAK type crashsim_##name(const char *s, char **end, int base)                           \
	{                                                                                        \
		static type (*system_one)(const char *, char **, int);                           \
                                                                                                 \
		number_seen(s, base);                                                            \
		if (!system_one)                                                                 \
			system_one = (type(*)(const char *, char **, int))system_function(real); \
		return system_one(s, end, base);                                                 \
	}
NUMBER(long, strtol, "strtol")
NUMBER(unsigned long, strtoul, "strtoul")
NUMBER(long long, strtoll, "strtoll")
NUMBER(unsigned long long, strtoull, "strtoull")
NUMBER(long, __isoc23_strtol, "__isoc23_strtol")
NUMBER(unsigned long, __isoc23_strtoul, "__isoc23_strtoul")
NUMBER(long long, __isoc23_strtoll, "__isoc23_strtoll")
NUMBER(unsigned long long, __isoc23_strtoull, "__isoc23_strtoull")

WEAK double crashsim_strtod(const char *s, char **end)
{
	number_seen(s, -1);
	return strtod(s, end);
}

WEAK int crashsim_atoi(const char *s)
{
	number_seen(s, 10);
	return (int)strtol(s, NULL, 10);
}

WEAK long crashsim_atol(const char *s)
{
	number_seen(s, 10);
	return strtol(s, NULL, 10);
}

WEAK long long crashsim_atoll(const char *s)
{
	number_seen(s, 10);
	return strtoll(s, NULL, 10);
}

WEAK ssize_t crashsim_write(int fd, const void *from, size_t n)
{
	hook_loads(from, n);
	return write(fd, from, n);
}

WEAK size_t crashsim_fwrite(const void *from, size_t size, size_t n, FILE *to)
{
	hook_loads(from, size * n);
	return fwrite(from, size, n, to);
}

/* zlib's, by the linker's --wrap where a program is linked with -lz. */
#define SUM(name)                                                                             \
	unsigned long __real_##name(unsigned long, const unsigned char *, unsigned) WEAK;     \
	unsigned long __wrap_##name(unsigned long sum, const unsigned char *from, unsigned n) \
	{                                                                                     \
		if (from)                                                                     \
			hook_loads(from, n);                                                  \
		return __real_##name(sum, from, n);                                           \
	}
SUM(crc32)
SUM(adler32)
