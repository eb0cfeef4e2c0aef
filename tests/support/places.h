/* SPDX-License-Identifier: BSD-3-Clause */
/* places -- fresh directories for a test's files: on tmpfs, on an ordinary file system, and on a
 * small tmpfs of its own that can be filled. */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>
#include <stdint.h>

#define PLACE_BYTES 256

/* Make a directory.  False: there is none of that kind here; the reason is printed. */
bool place_tmpfs(char dir[PLACE_BYTES]);
bool place_file(char dir[PLACE_BYTES]);
/* A tmpfs of that many bytes; this process and its children alone see it. */
bool place_small(char dir[PLACE_BYTES], uint64_t bytes);
/* Remove it with all that is in it; unmounts a small one. */
void place_remove(const char *dir);
/* So many bytes can be had in it, of the file system and of memory where that is behind it.  False:
 * the reason is printed. */
bool place_has(const char *dir, uint64_t bytes);
/* Take all but `left` bytes of it by a file "ballast". */
void place_fill(const char *dir, uint64_t left);

#endif
