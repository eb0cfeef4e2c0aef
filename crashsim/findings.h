/* SPDX-License-Identifier: BSD-3-Clause */
/* findings -- flushes and fences that do nothing; see findings.c. */
#ifndef FINDINGS_H
#define FINDINGS_H

#include "engine.h"

/* r->perf: what there is, by call path.  t: as recorded of w. */
void findings(const struct crashsim_workload *w, const struct trace *t, struct result *r);

#endif
