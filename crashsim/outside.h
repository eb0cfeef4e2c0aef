/* SPDX-License-Identifier: BSD-3-Clause */
/* outside -- stores beside the buffer that a workload declares; see outside.c. */
#ifndef OUTSIDE_H
#define OUTSIDE_H

#include "engine.h"

/* The buffer, zeros, at this address; what was there for the workload before is gone. */
unsigned char *outside_map(void *at, size_t bytes);
void outside_unmap(void);

/* The buffer with what lies around it; no bytes: it is of mapped files. */
extern unsigned char *outside_first;
extern size_t outside_bytes;

/* A store that is not to the buffer: within a page of it, it ends the recording or the execution. */
void outside_refuse(const void *addr, size_t len, uint64_t site);
static inline void outside_store(const void *addr, size_t len, uint64_t site)
{
	if (__builtin_expect(
		    (uint64_t)((const unsigned char *)addr - outside_first) < outside_bytes, 0))
		outside_refuse(addr, len, site);
}

/* Something has stored behind the buffer without announcing it: what and where, in words. */
bool outside_changed(char *text, size_t size);
/* As if nothing had. */
void outside_restore(void);

#endif
