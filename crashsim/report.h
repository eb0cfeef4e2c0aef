/* SPDX-License-Identifier: BSD-3-Clause */
/* report -- a result, and a failure, for people and programs. */
#ifndef REPORT_H
#define REPORT_H

#include "worker.h"

/* The certificate: what was explored, and of what. */
void result_text(FILE *to, const struct result *r);
/* In a line, of one that a limit cut off. */
void result_cut_text(FILE *to, const struct result *r);
/* One object in a line; points: with what merge needs of each crash point. */
void result_json(FILE *to, const struct result *r, bool points);

/* A string, with its quotes. */
void json_string(FILE *to, const char *s);

struct story;
struct cause;
/* What is missing, in words. */
void cause_text(FILE *to, const struct story *s, const struct cause *c);
void story_text(FILE *to, const struct story *s, const struct cause *c);
void story_json(FILE *to, const struct story *s, const struct cause *c);
void story_svg(FILE *to, const struct story *s, const struct cause *c);

#endif
