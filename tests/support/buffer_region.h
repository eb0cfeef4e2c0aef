/* SPDX-License-Identifier: BSD-3-Clause */
/* buffer_region -- a region over anonymous memory, aligned to 2 MiB as a real pool's is, with a
 * page that traps on either side. */
#ifndef BUFFER_REGION_H
#define BUFFER_REGION_H

#include "region.h"

#define BUFFER_SB_OFF   FRAME_BYTES
#define BUFFER_EXTENT_0 ((uint64_t)32 << 10) /* the object of extent 0 begins here */

/* Zeros.  Fails the test if there is no memory. */
void buffer_region_make(struct region *rg, uint64_t bytes, enum pm_backend backend);
/* The same, formatted with one extent that takes all of it. */
void buffer_region_format(struct region *rg, uint64_t bytes, const struct region_shape *shape);
void buffer_region_free(struct region *rg);

#endif
