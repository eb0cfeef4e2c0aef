/* SPDX-License-Identifier: BSD-3-Clause */
/* pools -- the open pools of this process: fork() and the ends of threads have to find them. */
#ifndef PMPT_POOLS_H
#define PMPT_POOLS_H

#include <stdbool.h>
#include <stdint.h>

struct pmpt_pool;

struct pools_entry { /* in struct pmpt_pool */
	struct pmpt_pool *next;
	uint64_t serial; /* of this open; never the same twice */
};

void pools_add(struct pmpt_pool *pool);
void pools_remove(struct pmpt_pool *pool);
/* Call fn on the pool if it is still open: it cannot be closed meanwhile. */
void pools_visit(struct pmpt_pool *pool, uint64_t serial,
		 void (*fn)(struct pmpt_pool *pool, void *ctx), void *ctx);
/* Call fn on every open pool: none can be closed meanwhile. */
void pools_each(void (*fn)(struct pmpt_pool *pool, void *ctx), void *ctx);

#endif
