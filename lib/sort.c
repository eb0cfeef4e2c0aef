/* SPDX-License-Identifier: BSD-3-Clause */
/* sort -- see sort.h.  Least significant digit first; digits in which all keys agree are
 * passed over. */
#include "sort.h"

#include <string.h>

#define DIGIT_BITS 11
#define DIGITS     (1u << DIGIT_BITS)

static void insertion_sort(uint64_t *key, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint64_t k = key[i];
		size_t j = i;

		for (; j > 0 && key[j - 1] > k; j--)
			key[j] = key[j - 1];
		key[j] = k;
	}
}

void sort_u64(uint64_t *key, uint64_t *tmp, size_t n, unsigned low)
{
	uint64_t *from = key, *to = tmp, all = 0;
	size_t start[DIGITS];

	if (n <= 48) {
		insertion_sort(key, n);
		return;
	}
	for (size_t i = 1; i < n; i++)
		all |= key[i] ^ key[0];
	for (unsigned shift = low; shift < 64 && all >> shift; shift += DIGIT_BITS) {
		size_t sum = 0;

		if (!(all >> shift & (DIGITS - 1)))
			continue;
		memset(start, 0, sizeof(start));
		for (size_t i = 0; i < n; i++)
			start[from[i] >> shift & (DIGITS - 1)]++;
		for (size_t d = 0; d < DIGITS; d++) {
			size_t count = start[d];

			start[d] = sum;
			sum += count;
		}
		for (size_t i = 0; i < n; i++)
			to[start[from[i] >> shift & (DIGITS - 1)]++] = from[i];
		uint64_t *swap = from;

		from = to;
		to = swap;
	}
	if (from != key)
		memcpy(key, from, n * sizeof(*key));
}
