/* SPDX-License-Identifier: BSD-3-Clause */
/* actors -- two actors in one recorded run, under every schedule of a family.
 *
 * An actor is a coroutine.  It may be stopped at each event of the pm layer: before a store, flush,
 * stream, fence or step of the library.  A schedule: the first runs `before` events, the second `part`
 * events (or to its end), the first to its end, the second the rest.  One that waits for a lock that
 * the other has lets that one go on.
 */
#ifndef ACTORS_H
#define ACTORS_H

#include <stdbool.h>

struct cast {
	void (*begin)(void *pm); /* at the start of each schedule, and at its end */
	void (*end)(void);
	void (*actor[2])(void);
	bool parts;    /* the second is stopped, too, at each of its events */
	unsigned most; /* the first is stopped at none of its events behind this one; 0: at all */
};

/* Run the pair once for each schedule, from what setup leaves. */
void actors_explore(void *pm, const struct cast *cast);

#endif
