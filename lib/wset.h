/* SPDX-License-Identifier: BSD-3-Clause */
/* wset -- a set of words by `where`, in the order of their coming; the last can be taken back.  A
 * transaction has two: new values of words, and count deltas of descriptors. */
#ifndef PMPT_WSET_H
#define PMPT_WSET_H

#include "wal.h"

#define WSET_LINEAR 8 /* up to here a search looks at all */

struct wset {
	struct mem *mem;
	struct wal_word *word;
	size_t n, room;
	uint64_t max; /* no word is above */
	/* hash table of index + 1, 0: empty; made when a search needs it: the first `hashed` words are in it */
	uint32_t *slot;
	size_t slots, slot_room, hashed;
};

void wset_init(struct wset *set, struct mem *mem);
void wset_fini(struct wset *set);
void wset_clear(struct wset *set); /* keeps its memory unless that grew large */
/* NULL: not there; valid until the next wset_add */
struct wal_word *wset_find(const struct wset *set, uint64_t where);
/* Add a word that is not there.  Returns 0 or -ENOMEM. */
int wset_add(struct wset *set, uint64_t where, uint64_t old, uint64_t new);
/* The same where wset_reserve has made room. */
static inline void wset_push(struct wset *set, uint64_t where, uint64_t old, uint64_t new)
{
	set->max = !set->n || where > set->max ? where : set->max;
	set->word[set->n++] = (struct wal_word){ where, old, new };
}
/* Its first n words stay, which the caller may have changed altogether. */
void wset_restart(struct wset *set, size_t n);
void wset_truncate(struct wset *set, size_t n); /* take back the words behind the first n */
/* so that the next `more` adds cannot fail.  0 or -ENOMEM */
int wset_reserve(struct wset *set, size_t more);

#endif
