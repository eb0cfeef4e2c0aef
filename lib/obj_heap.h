/* SPDX-License-Identifier: BSD-3-Clause */
/* obj_heap -- where libpmemobj will put the next large object, read from its heap on the medium:
 * its stores into a block of the file that does not exist and cannot be had are SIGBUS, so the
 * blocks are made before it is asked.
 *
 * FORMAT of libpmemobj, layout major 6, little-endian:
 *   0x1410	u64 heap_off; 0x1820 u64 heap_bytes: the heap ends where the pool does
 *   heap_off	heap header, 1 KiB, then zones
 *   zone	512 KiB: header, 64 bytes; a u64 per chunk {type 16, flags 16, chunks 32}; then at
 *		most 65528 chunks of 256 KiB
 * A large object is whole chunks, the first 16 bytes of them its header.  A free block's first 128
 * bytes are stored in too.
 */
#ifndef PMPT_OBJ_HEAP_H
#define PMPT_OBJ_HEAP_H

#include "region.h"

#define OBJ_HEAP_OFF   0x1410
#define OBJ_HEAP_BYTES 0x1820

#define OBJ_CHUNK_BYTES ((uint64_t)256 << 10)
#define OBJ_ZONE_META   ((uint64_t)512 << 10)
#define OBJ_ZONE_CHUNKS 65528u
/* from one zone to the next */
#define OBJ_ZONE_BYTES   (OBJ_ZONE_META + OBJ_ZONE_CHUNKS * OBJ_CHUNK_BYTES)
#define OBJ_OBJECT_BYTES 16u /* header of an object */

struct obj_place {
	uint64_t off;   /* of the object, behind its header */
	uint64_t bytes; /* to ask for */
	uint64_t end;   /* of its chunks */
};

/* The end of the pool at base, as its heap says.  Nothing of it is trusted. */
uint64_t obj_heap_end(const char *base);

/* The next extent: PMPT_EXTENT_BYTES from the first 2 MiB boundary on, in the first zone that has
 * them; else the largest free block.  libpmemobj's best fit goes the same way.  False: none has
 * `least` bytes behind a 2 MiB boundary. */
bool obj_heap_next(const char *base, uint64_t bytes, uint64_t least, struct obj_place *place);

#endif
