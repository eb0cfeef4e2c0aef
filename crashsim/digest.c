/* SPDX-License-Identifier: BSD-3-Clause */
/* digest -- where an exploration has been: digests, sets of them, and the digest of an image set.
 *
 * What has the same digest is taken to be the same.  They are of 64 bits, and compared only within
 * the exploration of one crash point.
 */
#include "explore_state.h"

#include <stdlib.h>
#include <string.h>

uint64_t digest_bytes(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		h = digest_mix(h, w);
	}
	for (; len; len--)
		h = digest_mix(h, *p++);
	return h;
}

bool digest_add(struct digests *d, uint64_t h)
{
	size_t at;

	if (2 * (d->n + 1) > d->slots) {
		struct digests old = *d;

		d->slots = old.slots ? 2 * old.slots : 1024;
		d->slot = must(calloc(d->slots, sizeof(*d->slot)));
		d->n = 0;
		for (size_t i = 0; i < old.slots; i++) {
			if (old.slot[i])
				(void)digest_add(d, old.slot[i]);
		}
		free(old.slot);
	}
	h += !h;
	for (at = h & (d->slots - 1); d->slot[at]; at = (at + 1) & (d->slots - 1)) {
		if (d->slot[at] == h)
			return false;
	}
	d->slot[at] = h;
	d->n++;
	return true;
}

void digests_clear(struct digests *d)
{
	if (d->slot)
		memset(d->slot, 0, d->slots * sizeof(*d->slot));
	d->n = 0;
}

uint64_t set_digest(const struct image_set *s, unsigned phase)
{
	uint64_t sum = digest_mix(digest_mix(7, phase), s->walked);

	for (size_t i = 0; i < s->n; i++) {
		const struct line_set *l = s->set[i];
		uint64_t h = digest_bytes(digest_mix(1, l->line), l->base, LINE_BYTES);

		for (uint32_t k = 0; k < l->n; k++) {
			const struct piece *p = &l->piece[k];
			uint16_t first = l->lo[p->group], last = l->hi[p->group];

			h = digest_mix(h, p->value);
			h = digest_mix(
				h,
				(uint64_t)p->word << 40 | (uint64_t)p->mask << 32 |
					(uint64_t)p->group << 24 | (uint64_t)p->bits << 16 |
					(uint64_t)p->streamed << 17 | (uint64_t)p->atomic << 18 |
					(uint64_t)(k && p->part_of && p->part_of == p[-1].part_of)
						<< 19);
			h = digest_mix(h, (uint64_t)(uint16_t)(p->rank - first) << 16 |
						  (uint16_t)(last - first));
		}
		sum += h * (h | 1);
	}
	return sum;
}

uint64_t image_digest(void)
{
	const struct image_set *s = level_now()->set;
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++) {
		size_t off = (size_t)s->set[i]->line << LINE_SHIFT;

		explore_read(off, LINE_BYTES);
		if (memcmp(region_base + off, s->rest + off, LINE_BYTES))
			sum += digest_bytes(digest_mix(13, off), region_base + off, LINE_BYTES);
	}
	return sum;
}
