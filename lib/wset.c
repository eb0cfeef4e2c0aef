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

/* Make the table large enough for n words, and put in those that are there. */
static int rehash(struct wset *set, size_t n)
{
	size_t slots = 64;

	while (slots < 2 * n)
		slots *= 2;
	if (slots > set->slot_room) {
		uint32_t *slot = mem_resize(set->mem, set->slot, set->slot_room * sizeof(*slot),
					    slots * sizeof(*slot));

		if (!slot)
			return error_set(-ENOMEM, "no memory for a write set of %zu words", n);
		set->slot = slot;
		set->slot_room = slots;
	}
	set->slots = slots;
	memset(set->slot, 0, slots * sizeof(*set->slot));
	for (size_t i = 0; i < set->n; i++)
		slot_put(set, i);
	return 0;
}

void wset_init(struct wset *set, struct mem *mem) { *set = (struct wset){ .mem = mem }; }

void wset_fini(struct wset *set)
{
	mem_free(set->mem, set->word, set->room * sizeof(*set->word));
	mem_free(set->mem, set->slot, set->slot_room * sizeof(*set->slot));
	wset_init(set, set->mem);
}

void wset_clear(struct wset *set)
{
	if (set->room > KEEP_WORDS) {
		wset_fini(set);
		return;
	}
	set->n = 0;
	set->slots = 0;
}

struct wal_word *wset_find(const struct wset *set, uint64_t where)
{
	if (set->n <= WSET_LINEAR) {
		for (size_t i = 0; i < set->n; i++) {
			if (set->word[i].where == where)
				return &set->word[i];
		}
		return NULL;
	}
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
	return n > WSET_LINEAR && 2 * n > set->slots ? rehash(set, 2 * n) : 0;
}

int wset_add(struct wset *set, uint64_t where, uint64_t old, uint64_t new)
{
	int rc = set->n < set->room && (set->n < WSET_LINEAR || 2 * (set->n + 1) <= set->slots)
			 ? 0
			 : wset_reserve(set, 1);

	if (rc)
		return rc;
	set->word[set->n++] = (struct wal_word){ where, old, new };
	if (set->slots)
		slot_put(set, set->n - 1);
	return 0;
}

void wset_truncate(struct wset *set, size_t n)
{
	while (set->n > n) {
		set->n--;
		if (!set->slots)
			continue;
		size_t at = hash(set, set->word[set->n].where);

		while (set->slot[at] != set->n + 1)
			at = (at + 1) & (set->slots - 1);
		set->slot[at] = 0;
	}
	if (set->n <= WSET_LINEAR)
		set->slots = 0;
}
