/* SPDX-License-Identifier: BSD-3-Clause */
/* obj_heap -- see obj_heap.h. */
#include "obj_heap.h"

#include <string.h>

#define HEAP_HEADER 1024u
#define ZONE_HEADER 64u
#define ZONE_MAGIC  0xc3f0a2d2u
#define CHUNK_FREE  2u

struct block {
	uint64_t off, end;
};

static uint64_t word_at(const char *base, uint64_t off)
{
	uint64_t word;

	memcpy(&word, base + off, sizeof(word));
	return word;
}

uint64_t obj_heap_end(const char *base)
{
	return word_at(base, OBJ_HEAP_OFF) + word_at(base, OBJ_HEAP_BYTES);
}

/* The object that an extent in this block would be; the largest if 1 GiB does not fit. */
static struct obj_place place_in(const struct block *b)
{
	uint64_t off = b->off + OBJ_OBJECT_BYTES;
	uint64_t most = (off + GROUP_BYTES - 1) / GROUP_BYTES * GROUP_BYTES + PMPT_EXTENT_BYTES;
	uint64_t end = most < b->end ? most : b->end;

	return (struct obj_place){ .off = off,
				   .bytes = end - off,
				   .end = b->off + (end - b->off + OBJ_CHUNK_BYTES - 1) /
							   OBJ_CHUNK_BYTES * OBJ_CHUNK_BYTES };
}

/* Bytes behind the first 2 MiB boundary. */
static uint64_t useful(const struct obj_place *p)
{
	uint64_t start = (p->off + GROUP_BYTES - 1) / GROUP_BYTES * GROUP_BYTES;

	return start < p->off + p->bytes ? p->off + p->bytes - start : 0;
}

/* The first free block at or after chunk *at; moves *at behind it. */
static bool block_next(const char *base, uint64_t zone, uint64_t chunks, uint64_t *at,
		       struct block *b)
{
	bool made = (uint32_t)word_at(base, zone) == ZONE_MAGIC;

	while (*at < chunks) {
		/* zeros where not made */
		uint64_t head = word_at(base, zone + ZONE_HEADER + *at * 8);
		uint64_t n = made ? head >> 32 : chunks, first = *at;

		if (n == 0 || n > chunks - first)
			return false; /* damaged: libpmemobj has to know what to do */
		*at += n;
		if (made && (head & 0xffff) != CHUNK_FREE)
			continue;
		b->off = zone + OBJ_ZONE_META + first * OBJ_CHUNK_BYTES;
		b->end = b->off + n * OBJ_CHUNK_BYTES;
		return true;
	}
	return false;
}

bool obj_heap_next(const char *base, uint64_t bytes, uint64_t least, struct obj_place *place)
{
	uint64_t zone = word_at(base, OBJ_HEAP_OFF) + HEAP_HEADER, largest = 0;

	for (; zone < bytes && bytes - zone >= OBJ_ZONE_META + OBJ_CHUNK_BYTES;
	     zone += OBJ_ZONE_BYTES) {
		uint64_t room = (bytes - zone - OBJ_ZONE_META) / OBJ_CHUNK_BYTES, at = 0;
		struct block b = { 0, 0 };

		while (block_next(base, zone, room < OBJ_ZONE_CHUNKS ? room : OBJ_ZONE_CHUNKS, &at,
				  &b)) {
			struct obj_place p = place_in(&b);

			if (useful(&p) < least || b.end - b.off <= largest)
				continue;
			largest = b.end - b.off;
			*place = p;
			if (useful(&p) == PMPT_EXTENT_BYTES)
				return true;
		}
	}
	return largest != 0;
}
