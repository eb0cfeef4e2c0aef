/* SPDX-License-Identifier: BSD-3-Clause */
/* unseen -- a workload that test_crashsim.sh compiles without crashsim-cc. */
#include <crashsim.h>

static void run(void *pm) { *(volatile uint64_t *)pm = 1; }
CRASHSIM_WORKLOAD(unseen, .bytes = 512, .run = run)
