/* SPDX-License-Identifier: BSD-3-Clause */
/* recording -- see recording.c. */
#ifndef RECORDING_H
#define RECORDING_H

#include <stddef.h>

#define WARNINGS      8
#define WARNING_BYTES 400

/* Of the workload recorded last; NULL: no more. */
const char *recording_warning(size_t i);

/* One more of it, found later. */
struct crashsim_workload;
void recording_warn(const struct crashsim_workload *w, const char *words);

#endif
