/* SPDX-License-Identifier: BSD-3-Clause */
/* output -- color, numbers for people, errors, JSON values, and the progress bar. */
#include <errno.h>
#include <langinfo.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

int fail(int error, const char *format, ...)
{
	char detail[512];
	va_list ap;

	snprintf(detail, sizeof(detail), "%s", pmpt_errormsg());
	fflush(stdout);
	fputs("pmpt: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	if (error)
		fprintf(stderr, ": %s%s%s", pmpt_strerror(error), *detail ? ": " : "", detail);
	fputc('\n', stderr);
	return error == PMPT_E_CORRUPT || error == PMPT_E_TRUNCATED ? EXIT_DAMAGED : EXIT_ERROR;
}

void warn(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("pmpt: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int output_done(FILE *to, const char *name)
{
	if (fflush(to) == 0 && !ferror(to))
		return EXIT_OK;
	if (errno == EPIPE)
		return EXIT_ERROR;
	fprintf(stderr, "pmpt: %s: %s\n", name, strerror(errno));
	return EXIT_ERROR;
}

FILE *output_open(const char *path) { return path ? fopen(path, "we") : stdout; }

int output_close(FILE *to, const char *path, int code)
{
	struct stat st;

	if (!code)
		code = output_done(to, path ? path : "standard output");
	if (path && code && !fstat(fileno(to), &st) && S_ISREG(st.st_mode))
		(void)unlink(path);
	if (path && fclose(to) && !code)
		code = fail(-errno, "%s", path);
	return code;
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
	int rc = value ? json_dumpf(value, to, JSON_COMPACT) : -1;

	json_decref(value);
	if (!value) {
		fputs("pmpt: no memory\n", stderr);
		return EXIT_ERROR;
	}
	fputc('\n', to);
	return rc ? output_done(to, "output") : EXIT_OK;
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
	static const char full[] = "########################################";
	double part = p->total ? fmin((double)p->done / (double)p->total, 1) : 0;
	double rate = (double)p->done / spent;
	struct winsize size;
	int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) ? 80 : size.ws_col;
	int bar = width < 80 ? 10 : 30, filled = (int)(part * bar);

	fprintf(stderr, "\r\033[K%s ", p->what);
	if (p->total)
		fprintf(stderr, "[%.*s%*s] %3.0f%%  ", filled, full, bar - filled, "", part * 100);
	if (*p->unit)
		fprintf(stderr, "%s %s/s", human_count((uint64_t)rate), p->unit);
	if (p->total && p->done)
		fprintf(stderr, "  %.0f s left", spent / part - spent);
	fflush(stderr);
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
