/* SPDX-License-Identifier: BSD-3-Clause */
/* recording -- see recording.c. */
#ifndef RECORDING_H
#define RECORDING_H

#include <stddef.h>

#define WARNINGS      16
#define WARNING_BYTES 700

/* Of the workload recorded last; NULL: no more. */
const char *recording_warning(size_t i);

/* One more of it, found later: said, and kept. */
struct crashsim_workload;
void recording_warn(const struct crashsim_workload *w, const char *words);

/* One that has been said. */
void recording_keep(const char *words);

#endif
