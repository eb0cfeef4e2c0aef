#!/bin/sh
# An embedder's malloc stays its own: the library brings jemalloc for itself, and shows nobody.
set -eu
BUILD=${BUILD:-build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cat > "$tmp/own.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libpmpt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char *const names[] = { "malloc", "free", "calloc", "realloc", "posix_memalign" };
	struct pmpt_stats stats;
	pmpt_pool *pool;
	Dl_info info;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!dladdr(dlsym(RTLD_DEFAULT, names[i]), &info) || !strstr(info.dli_fname, "libc.so")) {
			printf("%s comes from %s\n", names[i], info.dli_fname);
			return 1;
		}
	}
	size_t before = mallinfo2().uordblks;
	void *p = malloc(100000);

	if (mallinfo2().uordblks < before + 100000)	/* glibc's own count knows it */
		return puts("malloc is not the C library's"), 1;
	free(p);
	if (argc < 2 || pmpt_create(argv[1], NULL, &pool))
		return puts(pmpt_errormsg()), 1;
	before = mallinfo2().uordblks;
	pmpt_space *space;
	if (pmpt_space_create(pool, "s", &space) || pmpt_map(NULL, space, 0, 100000, 1, PMPT_R | PMPT_EXT) || pmpt_stats(pool, &stats))
		return puts(pmpt_errormsg()), 1;
	if (stats.volatile_bytes < 10000 || mallinfo2().uordblks > before + 4096)
		return puts("the library's memory is in the C library's heap"), 1;
	pmpt_space_close(space);
	return pmpt_close(pool);
}
C
cc=${CC:-cc}
libs="-lpmemobj -lpmem -lurcu-bp -lpthread -ldl -lm"
$cc -Iinclude -o "$tmp/static" "$tmp/own.c" "$BUILD/libpmpt.a" $libs
$cc -Iinclude -o "$tmp/shared" "$tmp/own.c" -L"$BUILD" -lpmpt -ldl
pool=$(mktemp -u /dev/shm/libpmpt-malloc.XXXXXX)
"$tmp/static" "$pool"; rm -f "$pool"
LD_LIBRARY_PATH=$BUILD "$tmp/shared" "$pool"; rm -f "$pool"
! nm -g --defined-only "$BUILD/libpmpt.a" | grep -E ' (malloc|free|calloc|mallocx|je_)' 
