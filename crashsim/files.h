/* SPDX-License-Identifier: BSD-3-Clause */
/* files -- files that the program maps are the buffer; see files.c. */
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <stddef.h>

/* A recording begins: no file is mapped, and those that the one before made and mapped are gone.
 * on: the workload names no buffer (bytes 0). */
void files_begin(bool on);
bool files_on(void);
/* Another process has recorded once more: the files that it made have taken the place of ours. */
void files_made_anew(void);
/* Contents as they are on disk, once more. */
void files_reload(void);
/* msync or its like has written back [addr, addr + len). */
void files_synced(const void *addr, size_t len);

#endif
