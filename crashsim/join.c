/* SPDX-License-Identifier: BSD-3-Clause */
/* join -- paths of one recovery that have come together again.
 *
 * A recovery that reads a word only to store over it (a merge, a compare-and-swap) splits the
 * exploration in two for each such word, and the halves differ in nothing that is to come: 2^n paths
 * for n words.  Only the program can know that it remembers nothing of what it has read: it says so
 * by crashsim_join().  There
 *	- what was decided of a line, but only of bytes that recovery has stored to since, is forgotten:
 *	  what lies below those stores, should they not land, is open again, as it is for the union of
 *	  the paths;
 *	- a state that an execution has been in before (what is decided, the stores of this recovery, in
 *	  order, the key) is not explored again: the execution goes on to its end by first options, and
 *	  nothing of it counts.  Depth first, all that is behind the first visit has been explored.
 */
#include "explore_state.h"

#include <string.h>

static uint64_t line_state(const struct open *o)
{
	uint64_t h = digest_mix(11, o->set->line), decided = o->known & ~o->own;
	const unsigned char *home = region_base + (size_t)o->set->line * LINE_BYTES;

	h = digest_mix(h, decided);
	for (unsigned i = 0; i < LINE_BYTES; i++) {
		if (decided >> i & 1)
			h = digest_mix(h, (uint64_t)i << 8 | home[i]);
	}
	for (uint32_t i = 0; i < o->set->n; i++) {
		unsigned g = o->set->piece[i].group;

		h = digest_mix(h, (uint64_t)o->lo[g] << 16 | o->hi[g]);
	}
	return h;
}

/* Make the line as the set has it, but for stores of a page walker that it is decided to have: of them
 * there are only so many [R16], and each brings what was in the line before it.
 * Returns true if it has some. */
static bool reopen(struct open *o)
{
	bool walked = false;

	for (unsigned g = 0; g < GROUPS; g++) {
		bool stays = g >= WALKER_GROUPS && o->lo[g] > o->set->lo[g];

		walked |= stays;
		o->lo[g] = stays ? o->lo[g] : o->set->lo[g];
		o->hi[g] = o->set->hi[g];
	}
	if (walked)
		(void)ties_narrow(o->set, o->lo, o->hi);
	return walked;
}

/* The state of a line as it counts, after what may be forgotten is.  With the page backend a line is
 * narrowed by others of its sector: nothing is forgotten. */
static uint64_t settle(struct open *o)
{
	if (o->known & ~o->own || options.persist == PERSIST_PAGE)
		return line_state(o);
	return reopen(o) ? line_state(o) : 0;
}

void explore_join(uint64_t key)
{
	struct level *l = level_now();

	if (options.no_prune || options.mode != MODE_LAZY || ex.following)
		return;
	for (size_t i = 0; i < ex.n_changed; i++) {
		struct open *o = ex.changed[i];

		ex.decided -= o->state;
		o->state = settle(o);
		ex.decided += o->state;
		o->changed = false;
	}
	ex.n_changed = 0;
	if (ex.x->replay)
		return;
	key = digest_mix(digest_mix(digest_mix(digest_mix(key, l->serial), ex.stored), ex.decided),
			 ex.walked);
	/* decisions before l->changed are as before: this is the path that was here first */
	if (!digest_add(&ex.joined, key) && l->taken >= l->changed) {
		ex.result->pruned++;
		ex.following = true;
	}
}
