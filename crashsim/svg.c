/* SPDX-License-Identifier: BSD-3-Clause */
/* svg -- words and lines of a picture. */
#include "svg.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

static void escaped(FILE *to, const char *s, size_t n)
{
	for (; n--; s++) {
		if (*s == '<')
			(void)fputs("&lt;", to);
		else if (*s == '&')
			(void)fputs("&amp;", to);
		else if ((unsigned char)*s >= 0x20)
			(void)fputc(*s, to);
	}
}

static bool within_character(const char *s) { return ((unsigned char)*s & 0xc0) == 0x80; }

/* The beginning and the end, in so many characters; a viewer shows the whole where it is pointed at. */
static void shortened(FILE *to, const char *words, size_t most)
{
	size_t len = strlen(words), head = most / 2, tail = len - (most - head - 1);

	while (head && within_character(words + head))
		head--;
	while (within_character(words + tail))
		tail++;
	(void)fputs("<title>", to);
	escaped(to, words, len);
	(void)fputs("</title>", to);
	escaped(to, words, head);
	(void)fputs("\xe2\x80\xa6", to);
	escaped(to, words + tail, len - tail);
}

void svg_text(FILE *to, int x, int y, size_t most, const char *style, const char *format, ...)
{
	char words[1200];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	(void)fprintf(to, "<text x=\"%d\" y=\"%d\" %s>", x, y, style);
	if (strlen(words) <= most)
		escaped(to, words, strlen(words));
	else
		shortened(to, words, most);
	(void)fputs("</text>\n", to);
}

void svg_line(FILE *to, int x1, int y1, int x2, int y2, const char *style)
{
	(void)fprintf(to, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" %s/>\n", x1, y1, x2, y2,
		      style);
}
