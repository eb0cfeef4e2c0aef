/* SPDX-License-Identifier: BSD-3-Clause */
/* plane -- see plane.h. */
#include "plane.h"

#include <stdlib.h>
#include <string.h>

#define HUGE ((unsigned)(PMPT_2M | PMPT_1G))

void plane_free(struct plane *p)
{
	free(p->leaf);
	*p = (struct plane){ 0 };
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

bool plane_any(const struct plane *p, uint64_t va, uint64_t len)
{
	size_t i = lower(p, va);

	return i < p->n && p->leaf[i].va < va + len;
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
				       .pfn = whole.pfn + k * (leaf_bytes(level) >> 12),
				       .flags = (whole.flags & ~HUGE) | (level == 2 ? PMPT_2M : 0u),
				       .level = level };
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
	erase(p, va, len);
	return 0;
}

int plane_unmap(struct plane *p, uint64_t va, uint64_t len)
{
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
	if (first.level == level)
		return 0;
	for (size_t k = 0; k < 512; k++) {
		const struct leaf *l = &p->leaf[i + k];

		if (i + k == p->n || l->va != va + k * part || l->level != level - 1 ||
		    l->flags != first.flags || l->pfn != first.pfn + k * (part >> 12))
			return PMPT_E_NOT_UNIFORM;
	}
	if (first.pfn % (size >> 12))
		return PMPT_E_NOT_UNIFORM;
	splice(p, i, 511, 0);
	first.level = level;
	first.flags = (first.flags & ~HUGE) | (level == 2 ? PMPT_2M : PMPT_1G);
	p->leaf[i] = first;
	return 0;
}
