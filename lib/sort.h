/* SPDX-License-Identifier: BSD-3-Clause */
/* sort -- ascending radix sort of 64-bit keys; linear, no calls back. */
#ifndef PMPT_SORT_H
#define PMPT_SORT_H

#include <stddef.h>
#include <stdint.h>

/* Sort key[0..n) by their bits from `low` on; below that they ascend among equals already.  tmp: room
 * for n.  The result is in key. */
void sort_u64(uint64_t *key, uint64_t *tmp, size_t n, unsigned low);

#endif
