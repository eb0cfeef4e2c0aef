/* SPDX-License-Identifier: BSD-3-Clause */
/* medium -- what holds a file: real persistent memory, tmpfs that stands for it, or an ordinary
 * file.  Found out by what the kernel says of the mapping, never by libpmem's environment
 * variables. */
#ifndef PMPT_MEDIUM_H
#define PMPT_MEDIUM_H

#include <stdint.h>

#include "libpmpt.h"

/* The medium of the mapping of up to `limit` bytes at base: MAP_SYNC (flag sf in smaps) or a device
 * DAX: PMEM; tmpfs by its file system's magic: EMULATED; else FILE.
 * bytes: out, how far file mappings follow each other without a gap from base on, at most limit.
 * Returns 0; PMPT_E_MEDIUM (parts on different media, no mapping); negated errno. */
int medium_of_mapping(const void *base, uint64_t limit, enum pmpt_medium *medium, uint64_t *bytes);

#endif
