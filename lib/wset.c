/* SPDX-License-Identifier: BSD-3-Clause */
/* wset -- see wset.h.  Open addressing, linear probing; words leave in the reverse order of their
 * coming, so that a removal empties its slot. */
#include "wset.h"

#include <string.h>

#include "error.h"

#define KEEP_WORDS 65536 /* memory that a cleared set may keep */

static size_t hash(const struct wset *set, uint64_t where)
{
	return (where * 0x9e3779b97f4a7c15u >> 20) & (set->slots - 1);
}

static void slot_put(struct wset *set, size_t index)
{
	size_t at = hash(set, set->word[index].where);

	while (set->slot[at])
		at = (at + 1) & (set->slots - 1);
	set->slot[at] = (uint32_t)index + 1;
}

/* Slots for n words. */
static size_t slots_for(size_t n)
{
	size_t slots = 64;

	while (slots < 2 * n)
		slots *= 2;
	return slots;
}

/* All words into the table; there is memory for it. */
static void index_words(struct wset *set)
{
	if (2 * set->n > set->slots) {
		/* twice what is needed: few rebuilds while it grows */
		set->slots = slots_for(2 * set->n);
		set->slots = set->slots < set->slot_room ? set->slots : set->slot_room;
		set->hashed = 0;
		memset(set->slot, 0, set->slots * sizeof(*set->slot));
	}
	while (set->hashed < set->n)
		slot_put(set, set->hashed++);
}

void wset_init(struct wset *set, struct mem *mem) { *set = (struct wset){ .mem = mem }; }

void wset_fini(struct wset *set)
{
	mem_free(set->mem, set->word, set->room * sizeof(*set->word));
	mem_free(set->mem, set->slot, set->slot_room * sizeof(*set->slot));
	wset_init(set, set->mem);
}

void wset_restart(struct wset *set, size_t n)
{
	set->n = n;
	set->slots = 0;
	set->hashed = 0;
}

void wset_clear(struct wset *set)
{
	if (set->room > KEEP_WORDS)
		wset_fini(set);
	else
		wset_restart(set, 0);
}

struct wal_word *wset_find(const struct wset *set, uint64_t where)
{
	if (where > set->max || !set->n)
		return NULL;
	if (set->n <= WSET_LINEAR) {
		for (size_t i = 0; i < set->n; i++) {
			if (set->word[i].where == where)
				return &set->word[i];
		}
		return NULL;
	}
	if (set->hashed < set->n)
		index_words((struct wset *)set); /* what it holds stays as it is */
	for (size_t at = hash(set, where); set->slot[at]; at = (at + 1) & (set->slots - 1)) {
		if (set->word[set->slot[at] - 1].where == where)
			return &set->word[set->slot[at] - 1];
	}
	return NULL;
}

int wset_reserve(struct wset *set, size_t more)
{
	size_t n = set->n + more, room = set->room ? set->room : 64;

	if (n > set->room) {
		while (room < n)
			room *= 2;
		struct wal_word *word = mem_resize(set->mem, set->word, set->room * sizeof(*word),
						   room * sizeof(*word));

		if (!word)
			return error_set(-ENOMEM, "no memory for a write set of %zu words", n);
		set->word = word;
		set->room = room;
	}
	if (n > WSET_LINEAR && 2 * n > set->slot_room) {
		size_t slots = slots_for(2 * n);
		uint32_t *slot = mem_resize(set->mem, set->slot, set->slot_room * sizeof(*slot),
					    slots * sizeof(*slot));

		if (!slot)
			return error_set(-ENOMEM, "no memory for a write set of %zu words", n);
		set->slot = slot;
		set->slot_room = slots;
	}
	return 0;
}

int wset_add(struct wset *set, uint64_t where, uint64_t old, uint64_t new)
{
	int rc = set->n < set->room && (set->n < WSET_LINEAR || 2 * (set->n + 1) <= set->slot_room)
			 ? 0
			 : wset_reserve(set, 1);

	if (rc)
		return rc;
	if (!set->n || where > set->max)
		set->max = where;
	set->word[set->n++] = (struct wal_word){ where, old, new };
	return 0;
}

void wset_truncate(struct wset *set, size_t n)
{
	while (set->n > n) {
		set->n--;
		if (set->n >= set->hashed)
			continue;
		set->hashed = set->n;
		size_t at = hash(set, set->word[set->n].where);

		while (set->slot[at] != set->n + 1)
			at = (at + 1) & (set->slots - 1);
		set->slot[at] = 0;
	}
	if (set->n <= WSET_LINEAR) {
		set->slots = 0;
		set->hashed = 0;
	}
}
