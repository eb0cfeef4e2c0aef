/* SPDX-License-Identifier: BSD-3-Clause */
/* head -- the header in page 1 of a database.
 *
 * SOURCES: "Database File Format" of SQLite, 1.3: at 18 and 19 the versions for writing and reading, 2 is WAL
 * mode; at 24 the change counter; at 92 the counter for which the size in the header is valid.  Big endian.
 */
#include "vfs.h"

#include <string.h>

#define MAGIC     "SQLite format 3"
#define VERSION   18
#define COUNTER   24
#define VALID_FOR 92

static uint32_t get(const char *at)
{
	const unsigned char *p = (const unsigned char *)at;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put(char *at, uint32_t n)
{
	for (int i = 3; i >= 0; i--, n >>= 8)
		at[i] = (char)n;
}

static void counter_set(char *page, uint32_t n)
{
	if (get(page + COUNTER) == get(page + VALID_FOR))
		put(page + VALID_FOR, n);
	put(page + COUNTER, n);
}

void head_without_wal(char *page)
{
	if (memcmp(page, MAGIC, sizeof(MAGIC)) || (page[VERSION] != 2 && page[VERSION + 1] != 2))
		return;
	page[VERSION] = page[VERSION + 1] = 1;
	counter_set(page, get(page + COUNTER) + 1);
}

bool head_is_newer(const char *page, const char *committed)
{
	return (int32_t)(get(page + COUNTER) - get(committed + COUNTER)) > 0;
}

void head_renew(char *page, const char *committed)
{
	if (!memcmp(page, MAGIC, sizeof(MAGIC)))
		counter_set(page, get(committed + COUNTER) + 1);
}
