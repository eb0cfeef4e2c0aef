/* SPDX-License-Identifier: BSD-3-Clause */
/* chance -- random numbers and the time, the same in each execution; see chance.c. */
#ifndef CHANCE_H
#define CHANCE_H

/* From the beginning. */
void chance_begin(void);
/* A file of chance for a path that names one, or -1. */
int chance_open(const char *path);

#endif
