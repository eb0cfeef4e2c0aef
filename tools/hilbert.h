/* SPDX-License-Identifier: BSD-3-Clause */
/* hilbert -- Hilbert's curve: numbers that are near each other are near each other in the square.
 *
 * The curve of order k fills a square of 2^k x 2^k.  It begins top left (0, 0) and ends top right
 * (2^k - 1, 0), y grows downwards; each step goes to one of the four neighbours.
 * SOURCES: Warren, Hacker's Delight, 2nd edition, chapter 16
 */
#ifndef PMPT_HILBERT_H
#define PMPT_HILBERT_H

#include <stdint.h>

#define HILBERT_ORDER_MAX 31u

struct hilbert {
	uint32_t x, y;
};

/* One quadrant's turn, which is its own inverse. */
static inline struct hilbert hilbert_turn(struct hilbert p, uint32_t side, unsigned rx, unsigned ry)
{
	if (ry)
		return p;
	if (rx)
		p = (struct hilbert){ side - 1 - p.x, side - 1 - p.y };
	return (struct hilbert){ p.y, p.x };
}

/* Where place d, below 4^order, lies. */
static inline struct hilbert hilbert_point(unsigned order, uint64_t d)
{
	struct hilbert p = { 0, 0 };

	for (unsigned k = 0; k < order; k++, d /= 4) {
		unsigned rx = (unsigned)(d / 2 & 1), ry = (unsigned)((d ^ rx) & 1);

		p = hilbert_turn(p, 1u << k, rx, ry);
		p.x += rx << k;
		p.y += ry << k;
	}
	return p;
}

/* The place of a point. */
static inline uint64_t hilbert_place(unsigned order, struct hilbert p)
{
	uint64_t d = 0;

	for (unsigned k = order; k-- > 0;) {
		unsigned rx = p.x >> k & 1, ry = p.y >> k & 1;

		d += (uint64_t)(3 * rx ^ ry) << 2 * k;
		p.x &= (1u << k) - 1;
		p.y &= (1u << k) - 1;
		p = hilbert_turn(p, 1u << k, rx, ry);
	}
	return d;
}

#endif
