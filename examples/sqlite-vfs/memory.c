/* SPDX-License-Identifier: BSD-3-Clause */
/* memory -- files in memory: journals, super-journals, temporary files. */
#include "vfs.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define KEEP_BYTES (1u << 20) /* of a buffer for the next time */
#define ROOM_FIRST (16u << 10)

static int memory_reserve(struct memory *m, uint64_t size)
{
	uint64_t room = m->room ? m->room : ROOM_FIRST;
	char *data;

	if (size <= m->room)
		return SQLITE_OK;
	while (room < size)
		room *= 2;
	data = realloc(m->data, room);
	if (!data)
		return SQLITE_NOMEM;
	m->data = data;
	m->room = room;
	return SQLITE_OK;
}

int memory_write(struct memory *m, const void *buf, size_t len, uint64_t at)
{
	int rc = memory_reserve(m, at + len);

	if (rc)
		return rc;
	if (at > m->size)
		memset(m->data + m->size, 0, at - m->size);
	memcpy(m->data + at, buf, len);
	if (at + len > m->size)
		m->size = at + len;
	return SQLITE_OK;
}

int memory_read(const struct memory *m, void *buf, size_t len, uint64_t at)
{
	size_t n = at >= m->size ? 0 : m->size - at < len ? (size_t)(m->size - at) : len;

	if (n)
		memcpy(buf, m->data + at, n);
	if (n == len)
		return SQLITE_OK;
	memset((char *)buf + n, 0, len - n);
	return SQLITE_IOERR_SHORT_READ;
}

void memory_clear(struct memory *m, bool keep)
{
	m->size = 0;
	if (keep && m->room <= KEEP_BYTES)
		return;
	free(m->data);
	m->data = NULL;
	m->room = 0;
}

/* ---- the methods ------------------------------------------------------------------------------ */

static struct memory_file *of(sqlite3_file *file) { return (struct memory_file *)file; }

static int mem_close(sqlite3_file *file)
{
	struct memory_file *f = of(file);

	if (atomic_fetch_sub(&f->memory->handles, 1) == 1 && !f->super)
		memory_clear(f->memory, !f->own);
	if (f->own)
		free(f->memory);
	return SQLITE_OK;
}

static int mem_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 at)
{
	return memory_read(of(file)->memory, buf, (size_t)len, (uint64_t)at);
}

static int mem_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 at)
{
	const struct memory_file *f = of(file);

	if (f->super && len && !super_child(buf))
		return report_text(
			SQLITE_ERROR,
			"a transaction that begins in a database of this VFS cannot write one "
			"of another VFS",
			buf);
	return memory_write(f->memory, buf, (size_t)len, (uint64_t)at);
}

static int mem_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct memory *m = of(file)->memory;

	if ((uint64_t)size < m->size)
		m->size = (uint64_t)size;
	return SQLITE_OK;
}

static int mem_size(sqlite3_file *file, sqlite3_int64 *size)
{
	*size = (sqlite3_int64)of(file)->memory->size;
	return SQLITE_OK;
}

static int mem_nothing(sqlite3_file *file, int arg)
{
	(void)file, (void)arg;
	return SQLITE_OK;
}

static int mem_reserved(sqlite3_file *file, int *reserved)
{
	(void)file;
	*reserved = 0;
	return SQLITE_OK;
}

static int mem_control(sqlite3_file *file, int op, void *arg)
{
	(void)file, (void)op, (void)arg;
	return SQLITE_NOTFOUND;
}

static int mem_sector(sqlite3_file *file)
{
	(void)file;
	return BLOCK_BYTES;
}

static int mem_traits(sqlite3_file *file)
{
	(void)file;
	return SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
	       SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods memory_methods = {
	.iVersion = 1,
	.xClose = mem_close,
	.xRead = mem_read,
	.xWrite = mem_write,
	.xTruncate = mem_truncate,
	.xSync = mem_nothing,
	.xFileSize = mem_size,
	.xLock = mem_nothing,
	.xUnlock = mem_nothing,
	.xCheckReservedLock = mem_reserved,
	.xFileControl = mem_control,
	.xSectorSize = mem_sector,
	.xDeviceCharacteristics = mem_traits,
};

int memory_open(sqlite3_file *file, struct memory *m, struct super *super)
{
	struct memory_file *f = of(file);
	bool own = !m;

	if (own)
		m = calloc(1, sizeof(*m));
	if (!m)
		return SQLITE_NOMEM;
	atomic_fetch_add(&m->handles, 1);
	*f = (struct memory_file){ { &memory_methods }, m, own, super };
	return SQLITE_OK;
}
