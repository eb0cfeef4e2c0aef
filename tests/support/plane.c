/* SPDX-License-Identifier: BSD-3-Clause */
/* plane -- see plane.h. */
#include "plane.h"

#include <stdlib.h>
#include <string.h>

#define HUGE  ((unsigned)(PMPT_2M | PMPT_1G))
#define PIECE ((uint64_t)2 << 20)
#define ALL   (PMPT_R | PMPT_W | PMPT_X | PMPT_U) /* of a page of a segment */

void plane_free(struct plane *p)
{
	free(p->leaf);
	*p = (struct plane){ .segments = p->segments };
}

static void reserve(struct plane *p, size_t n)
{
	if (n <= p->room)
		return;
	p->room = 2 * n;
	p->leaf = realloc(p->leaf, p->room * sizeof(*p->leaf));
	if (!p->leaf)
		abort();
}

void plane_copy(struct plane *to, const struct plane *from)
{
	reserve(to, from->n);
	if (from->n)
		memcpy(to->leaf, from->leaf, from->n * sizeof(*to->leaf));
	to->n = from->n;
	memcpy(to->user, from->user, sizeof(to->user));
}

/* Index of the first leaf that ends above va. */
static size_t lower(const struct plane *p, uint64_t va)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (p->leaf[mid].va + leaf_bytes(p->leaf[mid].level) > va)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

const struct leaf *plane_find(const struct plane *p, uint64_t va)
{
	size_t i = lower(p, va);

	return i < p->n && p->leaf[i].va <= va ? &p->leaf[i] : NULL;
}

const struct leaf *plane_next(const struct plane *p, uint64_t va)
{
	size_t i = lower(p, va);

	return i < p->n ? &p->leaf[i] : NULL;
}

bool plane_any(const struct plane *p, uint64_t va, uint64_t len)
{
	size_t i = lower(p, va);

	return i < p->n && p->leaf[i].va < va + len;
}

/* The plane and the address in it that va means: a segment's where a piece is. */
static struct plane *resolve(const struct plane *p, uint64_t *va, const struct leaf **piece)
{
	const struct leaf *leaf = plane_find(p, *va);

	*piece = leaf && leaf->segment ? leaf : NULL;
	if (!*piece)
		return (struct plane *)(uintptr_t)p;
	*va = leaf->pfn * PIECE + (*va - leaf->va);
	return &p->segments[leaf->segment - 1];
}

bool plane_look(const struct plane *p, uint64_t va, struct leaf *out)
{
	const struct leaf *piece, *leaf;
	uint64_t at = va;
	const struct plane *where = resolve(p, &at, &piece);

	leaf = plane_find(where, at);
	if (!leaf)
		return false;
	*out = *leaf;
	out->va += va - at;
	if (piece)
		out->flags = (leaf->flags & ~PMPT_PROT_MASK) |
			     (leaf->flags & piece->flags & PMPT_PROT_MASK) | PMPT_SHARED;
	return true;
}

bool plane_has_piece(const struct plane *p, uint64_t va, uint64_t len)
{
	for (size_t i = lower(p, va); i < p->n && p->leaf[i].va < va + len; i++) {
		if (p->leaf[i].segment)
			return true;
	}
	return false;
}

/* x is inside a piece. */
static bool cuts_piece(const struct plane *p, uint64_t x)
{
	const struct leaf *leaf = plane_find(p, x);

	return leaf && leaf->segment && leaf->va != x;
}

static bool cuts_pieces(const struct plane *p, uint64_t va, uint64_t len)
{
	return cuts_piece(p, va) || cuts_piece(p, va + len);
}

/* Room for n leaves from index i on in place of `gone`. */
static void splice(struct plane *p, size_t i, size_t gone, size_t n)
{
	reserve(p, p->n + n);
	if (p->n != i + gone)
		memmove(&p->leaf[i + n], &p->leaf[i + gone], (p->n - i - gone) * sizeof(*p->leaf));
	p->n = p->n - gone + n;
}

void plane_put(struct plane *p, const struct leaf *leaf, size_t n)
{
	size_t i = lower(p, leaf->va);

	splice(p, i, 0, n);
	memcpy(&p->leaf[i], leaf, n * sizeof(*leaf));
}

/* The huge leaf at index i becomes 512 smaller ones. */
static void split(struct plane *p, size_t i)
{
	struct leaf whole = p->leaf[i];
	unsigned level = whole.level - 1;

	splice(p, i, 1, 512);
	for (unsigned k = 0; k < 512; k++)
		p->leaf[i + k] =
			(struct leaf){ .va = whole.va + k * leaf_bytes(level),
				       .pfn = whole.flags & PMPT_DEMAND
						      ? 0
						      : whole.pfn + k * (leaf_bytes(level) >> 12),
				       .flags = (whole.flags & ~HUGE) | (level == 2 ? PMPT_2M : 0u),
				       .level = level,
				       .known = whole.known,
				       .head = whole.head,
				       .tail = whole.tail };
}

/* No leaf reaches over x. */
static void cut(struct plane *p, uint64_t x)
{
	for (;;) {
		size_t i = lower(p, x);

		if (i == p->n || p->leaf[i].va >= x)
			return;
		split(p, i);
	}
}

/* Index of the first leaf at or above va, from i on. */
static size_t upto(const struct plane *p, size_t i, uint64_t va)
{
	while (i < p->n && p->leaf[i].va < va)
		i++;
	return i;
}

static void erase(struct plane *p, uint64_t va, uint64_t len)
{
	size_t first;

	cut(p, va);
	cut(p, va + len);
	first = lower(p, va);
	splice(p, first, upto(p, first, va + len) - first, 0);
}

int plane_map(struct plane *p, uint64_t va, uint64_t len, unsigned flags)
{
	if (!(flags & PMPT_REPLACE) && plane_any(p, va, len))
		return PMPT_E_MAPPED;
	if (cuts_pieces(p, va, len) || (!(flags & HUGE) && plane_has_piece(p, va, len)))
		return PMPT_E_SEGMENT;
	erase(p, va, len);
	return 0;
}

int plane_unmap(struct plane *p, uint64_t va, uint64_t len)
{
	if (cuts_pieces(p, va, len))
		return PMPT_E_SEGMENT;
	erase(p, va, len);
	return 0;
}

int plane_protect(struct plane *p, uint64_t va, uint64_t len, unsigned prot)
{
	uint64_t at = va;
	size_t i;

	for (i = lower(p, va); at < va + len; i++) {
		if (i == p->n || p->leaf[i].va > at)
			return PMPT_E_NOT_MAPPED;
		at = p->leaf[i].va + leaf_bytes(p->leaf[i].level);
	}
	if (cuts_pieces(p, va, len))
		return PMPT_E_SEGMENT;
	cut(p, va);
	cut(p, va + len);
	for (i = lower(p, va); i < p->n && p->leaf[i].va < va + len; i++)
		p->leaf[i].flags = (p->leaf[i].flags & ~PMPT_PROT_MASK) | prot;
	return 0;
}

/* A huge page is moved whole only where both of its places are aligned to it. */
static void fit(struct plane *from, uint64_t at, uint64_t where, uint64_t left, uint64_t *bytes)
{
	unsigned level = 1;

	while (level < 3 && !((at | where) % leaf_bytes(level + 1)) &&
	       left >= leaf_bytes(level + 1))
		level++;
	*bytes = leaf_bytes(level);
	for (;;) {
		size_t i = lower(from, at);

		if (i == from->n || from->leaf[i].va > at || from->leaf[i].level <= level)
			return;
		split(from, i);
	}
}

int plane_move(struct plane *from, uint64_t at, struct plane *to, uint64_t where, uint64_t len)
{
	if (from == to && at < where + len && where < at + len)
		return PMPT_E_ADDRESS;
	if (plane_any(to, where, len))
		return PMPT_E_MAPPED;
	if (cuts_pieces(from, at, len) || ((at ^ where) % PIECE && plane_has_piece(from, at, len)))
		return PMPT_E_SEGMENT;
	for (uint64_t done = 0, bytes = 0; done < len; done += bytes)
		fit(from, at + done, where + done, len - done, &bytes);

	size_t first = lower(from, at), n = upto(from, first, at + len) - first;
	struct plane moved = { 0 };

	if (!n)
		return 0;
	plane_put(&moved, &from->leaf[first], n);
	for (size_t i = 0; i < n; i++)
		moved.leaf[i].va = moved.leaf[i].va - at + where;
	splice(from, first, n, 0);
	plane_put(to, moved.leaf, n);
	plane_free(&moved);
	return 0;
}

int plane_collapse(struct plane *p, uint64_t va, unsigned level)
{
	size_t i = lower(p, va);
	uint64_t size = leaf_bytes(level), part = leaf_bytes(level - 1);
	struct leaf first;

	if (i == p->n || p->leaf[i].va >= va + size || p->leaf[i].level > level)
		return PMPT_E_NOT_MAPPED;
	first = p->leaf[i];
	if (first.segment)
		return level == 2 ? PMPT_E_SEGMENT : PMPT_E_NOT_UNIFORM;
	if (first.level == level)
		return first.flags & PMPT_DEMAND ? PMPT_E_NOT_MAPPED : 0;
	for (size_t k = 0; k < 512; k++) {
		const struct leaf *l = &p->leaf[i + k];

		if (i + k == p->n || l->segment || l->flags & PMPT_DEMAND ||
		    l->va != va + k * part || l->level != level - 1 || l->flags != first.flags ||
		    l->pfn != first.pfn + k * (part >> 12))
			return PMPT_E_NOT_UNIFORM;
	}
	if (first.pfn % (size >> 12))
		return PMPT_E_NOT_UNIFORM;
	splice(p, i, 511, 0);
	first.level = level;
	first.known = false;
	first.flags = (first.flags & ~HUGE) | (level == 2 ? PMPT_2M : PMPT_1G);
	p->leaf[i] = first;
	return 0;
}

struct leaf *plane_leaf(struct plane *p, uint64_t va)
{
	const struct leaf *piece;
	struct plane *at = resolve(p, &va, &piece);

	return (struct leaf *)(uintptr_t)plane_find(at, va);
}

void plane_place(struct plane *p, uint64_t va, unsigned level, uint64_t pfn)
{
	const struct leaf *piece;
	struct plane *at = resolve(p, &va, &piece);
	struct leaf *leaf = (struct leaf *)(uintptr_t)plane_find(at, va);

	va &= ~(leaf_bytes(level) - 1);
	if (leaf->level > level) {
		cut(at, va);
		cut(at, va + leaf_bytes(level));
	}
	leaf = (struct leaf *)(uintptr_t)plane_find(at, va);
	leaf->pfn = pfn;
}

/* The page of 4 KiB at va is one of its own, with what was in it. */
static void own_page(struct plane *p, uint64_t va, struct leaf leaf)
{
	erase(p, va, 4096);
	leaf.va = va;
	leaf.level = 1;
	leaf.flags &= ~(HUGE | PMPT_DEMAND);
	plane_put(p, &leaf, 1);
}

int plane_write(struct plane *p, uint64_t va, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		const struct leaf *leaf = plane_find(p, va + i * 4096);

		if (leaf && leaf->flags & PMPT_EXT)
			return PMPT_E_FRAME;
		if (leaf && !(leaf->flags & PMPT_W))
			return PMPT_E_DENIED_WRITE;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = va + i * 4096;
		const struct leaf *piece, *leaf;
		struct plane *where = resolve(p, &at, &piece);

		leaf = plane_find(where, at);
		own_page(where, at,
			 leaf ? *leaf
			      : (struct leaf){ .flags = piece ? ALL : PMPT_R | PMPT_W,
					       .known = true });
	}
	return 0;
}

int plane_fault(struct plane *p, uint64_t va, unsigned access, bool *brought)
{
	const struct leaf *leaf = plane_find(p, va), *piece;
	struct plane *where;

	*brought = false;
	if (!leaf)
		return PMPT_E_NOT_MAPPED;
	if (access & ~leaf->flags & PMPT_W)
		return PMPT_E_DENIED_WRITE;
	if (access & ~leaf->flags & PMPT_X)
		return PMPT_E_DENIED_EXEC;
	if (access & ~leaf->flags & PMPT_U)
		return PMPT_E_DENIED_USER;
	va &= ~(uint64_t)4095;
	where = resolve(p, &va, &piece);
	leaf = plane_find(where, va);
	*brought = !leaf || leaf->flags & PMPT_DEMAND;
	if (*brought)
		own_page(where, va, leaf ? *leaf : (struct leaf){ .flags = ALL, .known = true });
	return 0;
}

int plane_segment_map(struct plane *p, uint64_t va, unsigned segment, unsigned n, unsigned prot)
{
	if (plane_any(p, va, n * PIECE))
		return PMPT_E_MAPPED;
	for (unsigned i = 0; i < n; i++)
		plane_put(p,
			  &(struct leaf){ .va = va + i * PIECE,
					  .pfn = i,
					  .level = 2,
					  .flags = prot | PMPT_SHARED,
					  .segment = segment },
			  1);
	return 0;
}

int plane_segment_unmap(struct plane *p, uint64_t va, unsigned segment, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct leaf *leaf = plane_find(p, va + i * PIECE);

		if (!leaf || leaf->segment != segment || leaf->pfn != i ||
		    leaf->va != va + i * PIECE)
			return PMPT_E_SEGMENT;
	}
	erase(p, va, n * PIECE);
	return 0;
}
