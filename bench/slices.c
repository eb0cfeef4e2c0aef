/* SPDX-License-Identifier: BSD-3-Clause */
/* slices -- time, keys, and contestants that take turns. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(const double *value, int n)
{
	double sorted[64];

	memcpy(sorted, value, (size_t)n * sizeof(*sorted));
	qsort(sorted, (size_t)n, sizeof(*sorted), compare);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double spread(const double *value, int n)
{
	double low = value[0], high = value[0];

	for (int i = 1; i < n; i++) {
		low = value[i] < low ? value[i] : low;
		high = value[i] > high ? value[i] : high;
	}
	return (high - low) / median(value, n);
}

struct keys keys_make(uint64_t seed, uint64_t pages, size_t n)
{
	size_t count = 1;

	while (count < n && count < KEYS_MAX)
		count *= 2;

	struct keys keys = { malloc(count * sizeof(*keys.page)), count - 1, n };

	if (!keys.page)
		die("no memory for %zu keys", count);
	for (size_t i = 0; i < count; i++)
		keys.page[i] = (uint32_t)(random_next(&seed) % pages);
	return keys;
}

void keys_free(struct keys *keys) { free(keys->page); }

void alternate(struct contestant *c, int n)
{
	for (unsigned round = 0; round <= ROUNDS; round++) {
		for (int k = 0; k < n; k++) {
			/* nobody always runs behind the same neighbour */
			int i = (k + (int)round) % n;
			double ns = c[i].slice(c[i].ctx, round);

			if (round)
				c[i].ns[round - 1] = ns;
		}
	}
}

double ratio_to(const struct contestant *library, const struct contestant *limit)
{
	double ratio[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		ratio[i] = limit->ns[i] / library->ns[i];
	return median(ratio, ROUNDS);
}
