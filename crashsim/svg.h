/* SPDX-License-Identifier: BSD-3-Clause */
/* svg -- words and lines of a picture; style: attributes. */
#ifndef SVG_H
#define SVG_H

#include <stddef.h>
#include <stdio.h>

/* What is longer than so many characters is shortened, and whole where a viewer points at it. */
void svg_text(FILE *to, int x, int y, size_t most, const char *style, const char *format, ...)
	__attribute__((format(printf, 6, 7)));
void svg_line(FILE *to, int x1, int y1, int x2, int y2, const char *style);

#endif
