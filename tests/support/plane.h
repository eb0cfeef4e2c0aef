/* SPDX-License-Identifier: BSD-3-Clause */
/* plane -- the oracle of the model test: what a space maps, as a plain sorted array of leaves.
 *
 * Each operation is the definition in libpmpt.h done the simplest way, and returns what the library
 * must return for it; a plane is unchanged on error.  Addresses have their 48 bits only.
 */
#ifndef PLANE_H
#define PLANE_H

#include "libpmpt.h"

struct leaf {
	uint64_t va, pfn;
	unsigned flags, level; /* flags as pmpt_query gives them */
};

struct plane {
	struct leaf *leaf;
	size_t n, room;
	uint64_t user[PMPT_USER_WORDS];
};

void plane_free(struct plane *p);
void plane_copy(struct plane *to, const struct plane *from);
/* The leaf over va, or NULL. */
const struct leaf *plane_find(const struct plane *p, uint64_t va);
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

#endif
