/* SPDX-License-Identifier: BSD-3-Clause */
/* output -- color, numbers for people, errors, JSON values, and the progress bar. */
#include <errno.h>
#include <langinfo.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "tool.h"

#define RING_TEXT 48

static bool colors, utf8;

void output_init(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	colors = isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
	utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
}

const char *paint(enum color color)
{
	static const char *const code[] = {
		[PLAIN] = "\033[0m", [BOLD] = "\033[1m",   [DIM] = "\033[2m",
		[RED] = "\033[31m",  [GREEN] = "\033[32m", [YELLOW] = "\033[33m",
		[BLUE] = "\033[34m", [CYAN] = "\033[36m",
	};

	return colors ? code[color] : "";
}

const char *tree_branch(bool last) { return utf8 ? last ? "└─ " : "├─ " : last ? "`- " : "|- "; }

const char *tree_trunk(bool last) { return last ? "   " : utf8 ? "│  " : "|  "; }

/* ---- numbers --------------------------------------------------------------------------------- */

static char *ring(void)
{
	static _Thread_local char text[16][RING_TEXT];
	static _Thread_local unsigned next;

	return text[next++ % 16];
}

const char *human_bytes(uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	char *text = ring();
	double value = (double)bytes;
	unsigned u = 0;

	for (; value >= 1024 && u < 5; u++)
		value /= 1024;
	snprintf(text, RING_TEXT, u && value != floor(value) ? "%.1f %s" : "%.0f %s", value,
		 unit[u]);
	return text;
}

static char *grouped(uint64_t n)
{
	char digits[24], *text = ring(), *to = text;
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return text;
}

const char *human_count(uint64_t n) { return grouped(n); }

const char *counted(uint64_t n, const char *thing)
{
	char *text = grouped(n);
	size_t len = strlen(text);

	snprintf(text + len, RING_TEXT - len, " %s%s", thing, n == 1 ? "" : "s");
	return text;
}

/* ---- errors ---------------------------------------------------------------------------------- */

void put_clean(const char *text)
{
	size_t left = strlen(text);
	mbstate_t state = { 0 };

	while (left) {
		wchar_t wide;
		size_t n = mbrtowc(&wide, text, left, &state);

		if (n == 0 || n > left) { /* no character of this locale */
			memset(&state, 0, sizeof(state));
			fprintf(stderr, "\\x%02x", (unsigned char)*text);
			n = 1;
		} else if (iswcntrl((wint_t)wide)) {
			fprintf(stderr, "\\x%02x", (unsigned)wide);
		} else {
			fprintf(stderr, "%.*s", (int)n, text);
		}
		text += n;
		left -= n;
	}
}

const char *error_detail(const char *what)
{
	const char *detail = pmpt_errormsg(), *colon = strstr(detail, ": ");
	size_t n = colon ? (size_t)(colon - detail) : 0;

	if (n && !strncmp(detail, what, n) && (what[n] == '\0' || what[n] == ':'))
		return colon + 2;
	return detail;
}

/* Does the text end with ": end", or is it that? */
static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end) &&
	       (n == m || (n > m + 1 && !strncmp(text + n - m - 2, ": ", 2)));
}

static int vfail(int error, bool library, const char *format, va_list ap)
{
	const char *name = error ? pmpt_strerror(error) : "", *detail;
	char what[1024], text[2048];

	(void)vsnprintf(what, sizeof(what), format, ap);
	detail = error && library ? error_detail(what) : "";
	if (!error)
		snprintf(text, sizeof(text), "%s", what);
	else if (ends_with(detail, name))
		snprintf(text, sizeof(text), "%s: %s", what, detail);
	else
		snprintf(text, sizeof(text), "%s: %s%s%s", what, name, *detail ? ": " : "", detail);
	(void)fflush(stdout);
	fputs("pmpt: ", stderr);
	put_clean(text);
	fputc('\n', stderr);
	return error == PMPT_E_CORRUPT || error == PMPT_E_TRUNCATED ? EXIT_DAMAGED : EXIT_ERROR;
}

int fail(int error, const char *format, ...)
{
	va_list ap;
	int code;

	va_start(ap, format);
	code = vfail(error, true, format, ap);
	va_end(ap);
	return code;
}

int fail_os(int error, const char *format, ...)
{
	va_list ap;
	int code;

	va_start(ap, format);
	code = vfail(error, false, format, ap);
	va_end(ap);
	return code;
}

void warn(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vfail(0, false, format, ap);
	va_end(ap);
}

int output_done(FILE *to, const char *name)
{
	errno = 0;
	if (fflush(to) == 0 && !ferror(to))
		return EXIT_OK;
	if (errno != EPIPE)
		fprintf(stderr, "pmpt: %s: %s\n", name, errno ? strerror(errno) : "write error");
	return EXIT_ERROR;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

json_t *json_text(const char *text)
{
	json_t *value = json_string(text);
	size_t n = strlen(text);
	char *copy;

	if (value)
		return value;
	copy = malloc(n + 1);
	if (!copy)
		return NULL;
	for (size_t i = 0; i <= n; i++)
		copy[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	value = json_string(copy);
	free(copy);
	return value;
}

json_t *json_hex(uint64_t value) { return json_sprintf("0x%" PRIx64, value); }

int json_put(FILE *to, json_t *value)
{
	if (!value) {
		fputs("pmpt: no memory\n", stderr);
		return EXIT_ERROR;
	}
	if (!json_dumpf(value, to, JSON_COMPACT))
		fputc('\n', to);
	json_decref(value);
	return EXIT_OK; /* what could not be written, output_done() tells */
}

/* ---- progress -------------------------------------------------------------------------------- */

double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_start(struct progress *p, const char *what, const char *unit, uint64_t total)
{
	*p = (struct progress){ .what = what, .unit = unit, .total = total };
	p->start = isatty(STDERR_FILENO) ? now_s() : INFINITY;
}

static void progress_draw(const struct progress *p, double spent)
{
	static const char full[] = "##############################";
	double part = p->total ? fmin((double)p->done / (double)p->total, 1) : 0;
	double rate = (double)p->done / spent;
	char bar[64] = "", speed[64] = "", left[32] = "", line[256];
	struct winsize size = { 0 };
	int width, wide, filled;

	(void)ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	width = size.ws_col ? size.ws_col : 80;
	wide = width < 80 ? 10 : 30;
	filled = (int)(part * wide);
	if (p->total)
		snprintf(bar, sizeof(bar), " [%.*s%*s] %3.0f%%", filled, full, wide - filled, "",
			 part * 100);
	if (!strcmp(p->unit, "bytes"))
		snprintf(speed, sizeof(speed), "  %s/s", human_bytes((uint64_t)rate));
	else if (*p->unit)
		snprintf(speed, sizeof(speed), "  %s %s/s", human_count((uint64_t)rate), p->unit);
	if (p->total && p->done)
		snprintf(left, sizeof(left), "  %.0f s left", spent / part - spent);
	snprintf(line, sizeof(line), "%s%s%s%s", p->what, bar, speed, left);
	fprintf(stderr, "\r\033[K%.*s", width - 1, line); /* a wrapped line could not be erased */
	(void)fflush(stderr);
}

void progress_to(struct progress *p, uint64_t done)
{
	double now;

	p->done = done;
	if (isinf(p->start))
		return;
	now = now_s();
	if (now - p->start < 1 || now - p->shown < 0.1)
		return;
	p->shown = now;
	progress_draw(p, now - p->start);
}

void progress_end(struct progress *p)
{
	if (p->shown > 0)
		fputs("\r\033[K", stderr);
	p->shown = 0;
}
