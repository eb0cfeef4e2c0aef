/* SPDX-License-Identifier: BSD-3-Clause */
/* buffer -- blocks that a connection has written and not yet committed. */
#include "vfs.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BLOCKS 64u
#define FEW_BLOCKS   8u /* are searched one by one */

static size_t hash(uint64_t at, size_t n_slots)
{
	return (size_t)((at / BLOCK_BYTES * 0x9e3779b97f4a7c15ull) >> 20) & (n_slots - 1);
}

static void slot_fill(struct buffer *b, size_t i)
{
	size_t s = hash(b->block[i].at, b->n_slots);

	while (b->slot[s])
		s = (s + 1) & (b->n_slots - 1);
	b->slot[s] = (uint32_t)(i + 1);
}

static void slots_fill(struct buffer *b)
{
	memset(b->slot, 0, b->n_slots * sizeof(*b->slot));
	for (size_t i = 0; i < b->n; i++)
		slot_fill(b, i);
}

/* At most half of the slots are used. */
static bool slots_reserve(struct buffer *b, size_t n)
{
	size_t n_slots = b->n_slots ? b->n_slots : 4 * FEW_BLOCKS;
	uint32_t *slot;

	if (n <= FEW_BLOCKS || 2 * n <= b->n_slots)
		return true;
	while (n_slots < 2 * n)
		n_slots *= 2;
	slot = realloc(b->slot, n_slots * sizeof(*slot));
	if (!slot)
		return false;
	b->slot = slot;
	b->n_slots = n_slots;
	slots_fill(b);
	return true;
}

struct block *buffer_find(const struct buffer *b, uint64_t at)
{
	if (b->n <= FEW_BLOCKS) {
		for (size_t i = 0; i < b->n; i++) {
			if (b->block[i].at == at)
				return &b->block[i];
		}
		return NULL;
	}
	for (size_t s = hash(at, b->n_slots); b->slot[s]; s = (s + 1) & (b->n_slots - 1)) {
		if (b->block[b->slot[s] - 1].at == at)
			return &b->block[b->slot[s] - 1];
	}
	return NULL;
}

static bool room_reserve(struct buffer *b, size_t n)
{
	size_t room = b->room ? b->room : CHUNK_BLOCKS;
	struct block *block;
	char **chunk;

	while (room < n)
		room *= 2;
	if (room != b->room) {
		block = realloc(b->block, room * sizeof(*block));
		if (!block)
			return false;
		b->block = block;
		b->room = room;
	}
	if (n <= b->n_chunks * CHUNK_BLOCKS)
		return true;
	chunk = realloc(b->chunk, (b->n_chunks + 1) * sizeof(*chunk));
	if (!chunk)
		return false;
	b->chunk = chunk;
	b->chunk[b->n_chunks] = aligned_alloc(BLOCK_BYTES, CHUNK_BLOCKS * BLOCK_BYTES);
	if (!b->chunk[b->n_chunks])
		return false;
	b->n_chunks++;
	return true;
}

struct block *buffer_add(struct buffer *b, uint64_t at)
{
	size_t i = b->n;

	if (!room_reserve(b, i + 1) || !slots_reserve(b, i + 1))
		return NULL;
	b->block[i] =
		(struct block){ at, b->chunk[i / CHUNK_BLOCKS] + i % CHUNK_BLOCKS * BLOCK_BYTES };
	b->n++;
	if (b->n == FEW_BLOCKS + 1)
		slots_fill(b);
	else if (b->n > FEW_BLOCKS)
		slot_fill(b, i);
	return &b->block[i];
}

void buffer_pop(struct buffer *b)
{
	b->n--;
	if (b->n > FEW_BLOCKS)
		slots_fill(b);
}

static int by_address(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

void buffer_sort(struct buffer *b)
{
	bool sorted = true;

	for (size_t i = 1; i < b->n && sorted; i++)
		sorted = b->block[i - 1].at < b->block[i].at;
	if (sorted)
		return;
	qsort(b->block, b->n, sizeof(*b->block), by_address);
	if (b->n > FEW_BLOCKS)
		slots_fill(b);
}

void buffer_clear(struct buffer *b)
{
	while (b->n_chunks > 1)
		free(b->chunk[--b->n_chunks]);
	if (b->room > CHUNK_BLOCKS) {
		free(b->block);
		free(b->slot);
		b->block = NULL;
		b->slot = NULL;
		b->room = b->n_slots = 0;
	}
	b->n = 0;
}

void buffer_free(struct buffer *b)
{
	while (b->n_chunks)
		free(b->chunk[--b->n_chunks]);
	free(b->chunk);
	free(b->block);
	free(b->slot);
	*b = (struct buffer){ 0 };
}
