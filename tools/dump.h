/* SPDX-License-Identifier: BSD-3-Clause */
/* dump -- a space, or several, as JSON lines.
 *
 * FORMAT, a line each, addresses and user words in hexadecimal strings:
 *	{"pmpt_dump":1,"version":"0.1.0","space":"NAME","user":["0x0",... 8]}	begins a space
 *	{"va":"0x..","size":4096,"count":N,"pfn":N,"frames":"ext","prot":"rw-u"}	a run of pages
 *	{"end":"NAME","pages":N}						ends it
 * size is 4096, 2 MiB or 1 GiB.  A run is contiguous in addresses and frames.  frames "alloc": the
 * pool's; their numbers tell which are shared, contents are no part of it; "demand": demand-zero, "out":
 * in the swap file, both with pfn 0; "segment": a segment's, which restore leaves out.  Where they apply:
 * "global", "pwt", "pcd": true; "tag", "pkey": 1 to 15.
 * VALID IF AND ONLY IF every line is such an object without other keys, and every space has its end
 * with the pages counted.
 */
#ifndef PMPT_DUMP_H
#define PMPT_DUMP_H

#include "tool.h"

#define DUMP_FORMAT 1

struct dump_run {
	struct run run; /* flags: as pmpt_map takes them, PMPT_EXT or not */
	uint64_t line;
};
struct dump_space {
	char *name;
	uint64_t user[PMPT_USER_WORDS];
	struct dump_run *run;
	size_t n, room;
	uint64_t pages;
	uint64_t segment_pages, out_pages; /* of these */
};
struct dump {
	struct dump_space *space;
	size_t n;
	uint64_t pages;
};

/* Read a dump.  name: of the input, for messages.  Returns an exit code, the error printed with
 * line and column. */
int dump_read(FILE *from, const char *name, struct dump *dump);
void dump_free(struct dump *dump);

#endif
