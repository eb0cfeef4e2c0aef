/* SPDX-License-Identifier: BSD-3-Clause */
/* pm_bridge -- libpmpt under crashsim: its region is the workload's buffer, its pm layer reports to
 * the engine, its recovery and verifier judge each image.
 *
 * A workload is a *script* of calls by one or two *actors*, each in its *domain*: actor 0 owns the
 * addresses below SPLIT, user words 0 to 3 and the records with an even index, actor 1 the rest.  The
 * whole logical content of a domain is taken after each call.  After a crash it has to be what it was
 * after the last call that had returned, or, where one was under way, what that one made of it: so
 * each operation is atomic, and durable when it has returned.
 *
 * LAYOUT of the buffer: superblock (SB_BYTES), extent 0.  An extent begins at a multiple of 2 MiB of
 * the region; the region's first bytes, which nothing is in, are not part of the buffer.
 */
#ifndef PM_BRIDGE_H
#define PM_BRIDGE_H

#include "crashsim.h"

#include "pool.h"

#define SB_BYTES             20480u
#define BUFFER_BYTES(frames) (SB_BYTES + (frames) * (size_t)FRAME_BYTES)

#define P4K ((uint64_t)4096)
#define P2M ((uint64_t)2 << 20)
#define SPLIT \
	((uint64_t)1 << 39) /* the second entry of the PML4: the actors share that table alone */

struct shape { /* 0: 2 lanes of 2 x 8 lines, 16 bulk lines, 2 spaces, 32 frames */
	unsigned lanes, half_lines, bulk_lines, spaces, frames;
};

extern struct pmpt_pool *pool;
extern struct pmpt_space *space; /* "s", record 0 */
extern unsigned calls[2];        /* that have returned, by actor */
extern bool bridge_alone;        /* after bridge_format: all is actor 0's domain */

/* ---- setup ------------------------------------------------------------------------------------- */

/* Format the region; then open it, with space "s". */
void bridge_format(void *pm, const struct shape *shape);
void bridge_format_extent(void *pm, const struct shape *shape, uint64_t frames); /* not all of it */
void bridge_format_again(void *pm, unsigned spaces); /* over it, another salt */
void bridge_open(void *pm);
void bridge_setup(void *pm); /* both, the default shape */
struct region *bridge_region(void *pm);
extern struct mem bridge_mem; /* of recoveries and verifiers */
/* rc is 0, or the workload ends with the message of the library. */
void bridge_must(int rc, const char *what);
#define MUST(call) bridge_must(call, #call)

/* ---- run --------------------------------------------------------------------------------------- */

void bridge_rules(void); /* from here on as PMPT_RULES_OFF says, and the pm layer reports */
void bridge_start(void); /* the same, and note the content of both domains */
void bridge_begin(unsigned actor);
void bridge_returned(unsigned actor);
#define CALL(actor, call)               \
	do {                            \
		bridge_begin(actor);    \
		MUST(call);             \
		bridge_returned(actor); \
	} while (0)
/* What changes no domain: a checkpoint, frames reclaimed. */
#define ASIDE(actor, call)                         \
	do {                                       \
		crashsim_begin_again(2 + (actor)); \
		MUST(call);                        \
		crashsim_returned(2 + (actor));    \
	} while (0)
/* From here on a page walker may set A and D where these pages of "s" are mapped (--walker). */
void bridge_walker(uint64_t va, unsigned pages);
/* Close the pool as a process that ends does, without a checkpoint; not recorded. */
void bridge_stop(void);

/* The whole content of each page of the pool's frames is part of a domain, not only the first line of those
 * with tag 1.  To be set by run and check;
 * bridge_stop() takes it back. */
extern bool bridge_contents;

/* ---- recover and check ------------------------------------------------------------------------- */

void bridge_images(void);                         /* recovery begins: see IMAGES in pm_bridge.c */
void bridge_recover(void *pm);                    /* check the superblock, open, close */
void bridge_replay(void *pm);                     /* the log alone */
void bridge_check_verifier(void *pm);             /* no finding, the log's dead lines included */
void bridge_check(void *pm);                      /* the verifier, and both domains */
uint64_t bridge_domain(void *pm, unsigned actor); /* its content, as a number */

/* pm_observer is the bridge's; this is called at each event of a recorded run first (actors.c). */
extern void (*bridge_at_event)(void);

#endif
