/* SPDX-License-Identifier: BSD-3-Clause */
/* vec -- room for one more element of a growing array. */
#ifndef PMPT_VEC_H
#define PMPT_VEC_H

#include <string.h>

#include "error.h"
#include "mem.h"

/* array: address of the pointer to it; room: elements it has room for, grown by doubling to hold
 * `need` of `size` bytes.
 * Returns 0; -ENOMEM, the array as it was. */
static inline int vec_reserve(struct mem *mem, void *array, size_t *room, size_t need, size_t size)
{
	void *old, *grown;
	size_t more = *room ? *room : 16;

	if (__builtin_expect(need <= *room, 1))
		return 0;
	while (more < need)
		more *= 2;
	memcpy(&old, array, sizeof(old));
	grown = mem_resize(mem, old, *room * size, more * size);
	if (!grown)
		return error_set(-ENOMEM, "no memory for %zu elements of %zu bytes", more, size);
	memcpy(array, &grown, sizeof(grown));
	*room = more;
	return 0;
}

#endif
