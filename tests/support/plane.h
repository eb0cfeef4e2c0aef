/* SPDX-License-Identifier: BSD-3-Clause */
/* plane -- the oracle of the model test: what a space maps, as a plain sorted array of leaves.
 *
 * A segment is a plane, too, at the addresses from 0 on; a space that maps it has a *piece* for each
 * 2 MiB: a leaf of level 2 that says which.
 * Each operation is the definition in libpmpt.h done the simplest way, and returns what the library
 * must return for it; a plane is unchanged on error.  Addresses have their 48 bits only.
 */
#ifndef PLANE_H
#define PLANE_H

#include "libpmpt.h"

struct leaf {
	uint64_t va, pfn;
	unsigned flags, level; /* flags as pmpt_walk gives them */
	/* what each of its 4 KiB begins and ends with, where that is known */
	bool known;
	uint64_t head, tail;
	/* a piece: number of its segment, from 1 on; pfn: which 2 MiB of it; flags: its permissions */
	unsigned segment;
};

struct plane {
	struct leaf *leaf;
	size_t n, room;
	uint64_t user[PMPT_USER_WORDS];
	struct plane *segments; /* whose pieces it has; not copied */
};

void plane_free(struct plane *p);
void plane_copy(struct plane *to, const struct plane *from);
/* The leaf over va, or NULL. */
const struct leaf *plane_find(const struct plane *p, uint64_t va);
/* The first leaf that ends above va, or NULL. */
const struct leaf *plane_next(const struct plane *p, uint64_t va);
/* The page over va as a reader sees it, through a piece, too.  False: none. */
bool plane_look(const struct plane *p, uint64_t va, struct leaf *leaf);
/* A piece lies in [va, va + len), or a part of one. */
bool plane_has_piece(const struct plane *p, uint64_t va, uint64_t len);
/* Something is mapped in [va, va + len). */
bool plane_any(const struct plane *p, uint64_t va, uint64_t len);

static inline uint64_t leaf_bytes(unsigned level) { return (uint64_t)4096 << (9 * (level - 1)); }

/* What pmpt_map would return; it is for the caller to put the leaves. */
int plane_map(struct plane *p, uint64_t va, uint64_t len, unsigned flags);
/* Put n neighbouring leaves where nothing is mapped. */
void plane_put(struct plane *p, const struct leaf *leaf, size_t n);
int plane_unmap(struct plane *p, uint64_t va, uint64_t len);
int plane_protect(struct plane *p, uint64_t va, uint64_t len, unsigned prot);
int plane_move(struct plane *from, uint64_t at, struct plane *to, uint64_t where, uint64_t len);
int plane_collapse(struct plane *p, uint64_t va, unsigned level);
/* Write to n pages of 4 KiB from va on.  For the caller to say what is in them, and where. */
int plane_write(struct plane *p, uint64_t va, uint64_t n);
/* *brought: out, a page of its own came there, zeroed. */
int plane_fault(struct plane *p, uint64_t va, unsigned access, bool *brought);
struct leaf *plane_leaf(struct plane *p, uint64_t va); /* as plane_find, through a piece */
/* The page over va is in pages of that level, and in that frame. */
void plane_place(struct plane *p, uint64_t va, unsigned level, uint64_t pfn);
/* Pieces of the first n 2 MiB of a segment from va on. */
int plane_segment_map(struct plane *p, uint64_t va, unsigned segment, unsigned n, unsigned prot);
int plane_segment_unmap(struct plane *p, uint64_t va, unsigned segment, unsigned n);

#endif
