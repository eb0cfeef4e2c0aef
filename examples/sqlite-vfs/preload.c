/* SPDX-License-Identifier: BSD-3-Clause */
/* preload -- the way into an unmodified program: LD_PRELOAD.
 *
 * SQLite calls sqlite3_os_init() when it starts, and finds ours before its own; then databases are in the
 * pool if nothing else is said.  Not when the program brings SQLite in itself (statically linked).
 */
#include "vfs.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

/* What this file calls, without the connection that would bring us the table. */
/* clang-format off */
#define API(X) \
	X(auto_extension) X(context_db_handle) X(create_function) \
	X(file_control) X(filename_journal) X(free) X(libversion_number) X(log) X(mprintf) \
	X(result_error) X(result_error_code) X(result_text) X(stricmp) X(uri_parameter) \
	X(value_text) X(vfs_find) X(vfs_register)
/* clang-format on */

static bool api_find(void *sqlite)
{
	static sqlite3_api_routines table;
	bool all = true;

#define FIND(name)                                               \
	*(void **)&table.name = dlsym(sqlite, "sqlite3_" #name); \
	all &= table.name != NULL;
	API(FIND)
#undef FIND
	sqlite3_api = &table;
	return all;
}

/* Objects come in the order in which they were loaded. */
static int before_libc(struct dl_phdr_info *info, size_t size, void *ours)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t at = (uintptr_t)&base_vfs - info->dlpi_addr;

		if (p->p_type == PT_LOAD && at >= p->p_vaddr && at < p->p_vaddr + p->p_memsz)
			*(bool *)ours = true;
	}
	return *(bool *)ours || strstr(info->dlpi_name, "/libc.so");
}

PMPT_API int sqlite3_os_init(void);

/* SQLite calls it when it starts: its own is behind ours. */
int sqlite3_os_init(void)
{
	bool preloaded = false;
	void *sqlite;
	Dl_info from;
	int (*real)(void);
	int rc;

	if (!dladdr(__builtin_return_address(0), &from))
		return SQLITE_ERROR;
	sqlite = dlopen(from.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	*(void **)&real = sqlite ? dlsym(sqlite, "sqlite3_os_init") : NULL;
	if (!real || real == sqlite3_os_init)
		return SQLITE_ERROR;
	rc = real();
	(void)dl_iterate_phdr(before_libc, &preloaded);
	if (rc || !preloaded)
		return rc;
	if (!api_find(sqlite))
		return SQLITE_ERROR;
	return vfs_register(true);
}
