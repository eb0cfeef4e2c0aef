#!/bin/sh
# A program that was not linked with the library loads it while it runs, as an interpreter loads an extension.
set -eu
BUILD=${BUILD:-build}
lib=$(realpath "$BUILD")/libpmpt.so.0
cc=${CC:-cc}
limit=256	# bytes of static thread-local storage; the C library keeps a few hundred for all that comes after the start
tmp=$(mktemp -d)
pool=$(mktemp -u /dev/shm/libpmpt-dlopen.XXXXXX)
trap 'rm -rf "$tmp" "$pool" "$pool".*' EXIT

# the library's, and with it liburcu's, which its readers reach in the same way
tls_bytes() { readelf -lW "$1" | awk '$1 == "TLS" { print $6 }'; }
static_bytes() { total=0; for object; do total=$((total + $(tls_bytes "$object" | grep . || echo 0))); done; echo "$total"; }
fits() { [ "$(static_bytes "$@")" -le $limit ]; }
urcu=$(ldd "$lib" | awk '/liburcu-bp/ { print $3 }')
[ -n "$urcu" ] && [ "$(static_bytes "$lib")" -gt 0 ]
fits "$lib" "$urcu" || { echo "$(static_bytes "$lib" "$urcu") bytes of static thread-local storage"; exit 1; }
# the check bites
echo 'static __thread char big[300]; char *get(void); char *get(void) { return big; }' > "$tmp/big.c"
$cc -shared -fPIC -ftls-model=initial-exec -o "$tmp/big.so" "$tmp/big.c"
! fits "$tmp/big.so" || { echo "a segment above the limit fits"; exit 1; }

cat > "$tmp/load.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libpmpt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL(name, ...) ((__typeof__(&name))dlsym(lib, #name))(__VA_ARGS__)
#define CHECK(ok) \
	do { \
		if (!(ok)) { \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #ok, lib ? CALL(pmpt_errormsg) : dlerror()); \
			_exit(1); \
		} \
	} while (0)

static void *lib;
static const char *path, *name;
static pthread_barrier_t step;

/* A pool's whole life. */
static void use(const char *file)
{
	struct pmpt_space *space;
	struct pmpt_tx *tx;
	pmpt_pool *pool;

	CHECK(CALL(pmpt_create, file, NULL, &pool) == 0);
	CHECK(CALL(pmpt_space_create, pool, "s", &space) == 0);
	for (uint64_t i = 0; i < 100; i++) {
		CHECK(CALL(pmpt_begin, pool, 0, &tx) == 0);
		CHECK(CALL(pmpt_map, tx, space, i << 21, 1, 0x1000 + i, PMPT_R | PMPT_EXT) == 0);
		CHECK(CALL(pmpt_commit, tx, NULL) == 0);
	}
	CALL(pmpt_space_close, space);
	CHECK(CALL(pmpt_close, pool) == 0);
	unlink(file);
}

static void errs(const char *file)
{
	pmpt_pool *pool;

	CHECK(CALL(pmpt_open, file, 0, &pool) != 0);
}

/* A thread that was there before the library. */
static void *early(void *arg)
{
	char own[4096], missing[4096];

	snprintf(own, sizeof(own), "%s.%s", path, (const char *)arg);
	snprintf(missing, sizeof(missing), "/missing/%s", (const char *)arg);
	pthread_barrier_wait(&step); /* loaded */
	CHECK(CALL(pmpt_errormsg)[0] == 0);
	use(own);
	errs(missing);
	pthread_barrier_wait(&step); /* each has erred */
	CHECK(strstr(CALL(pmpt_errormsg), missing));
	return NULL;
}

/* A thread that loads the library. */
static void *load(void *unused)
{
	lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	CHECK(lib);
	use(path);
	errs("/missing/loader");
	CHECK(strstr(CALL(pmpt_errormsg), "/missing/loader"));
	return unused;
}

/* A thread that ends when the library is closed. */
static void *late(void *unused)
{
	char own[4096];

	snprintf(own, sizeof(own), "%s.late", path);
	use(own);
	errs("/missing/late");
	pthread_barrier_wait(&step); /* used */
	pthread_barrier_wait(&step); /* closed */
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t a, b, loader;
	int status;

	if (argc != 4)
		return 2;
	name = argv[1];
	path = argv[2];
	CHECK(!dlsym(RTLD_DEFAULT, "pmpt_create"));
	pthread_barrier_init(&step, NULL, 3);
	pthread_create(&a, NULL, early, "a");
	pthread_create(&b, NULL, early, "b");
	if (strcmp(argv[3], "thread") == 0) {
		pthread_create(&loader, NULL, load, NULL);
		pthread_join(loader, NULL);
		CHECK(CALL(pmpt_errormsg)[0] == 0);
	} else {
		load(NULL);
	}
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	pthread_join(a, NULL);
	pthread_join(b, NULL);

	pid_t child = fork(); /* a pool of the child's own */

	CHECK(child >= 0);
	if (child == 0) {
		alarm(60);
		use(path);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	use(path);

	pthread_barrier_destroy(&step);
	pthread_barrier_init(&step, NULL, 2);
	pthread_create(&a, NULL, late, NULL);
	pthread_barrier_wait(&step);
	CHECK(dlclose(lib) == 0);
	pthread_barrier_wait(&step);
	pthread_join(a, NULL);
	load(NULL); /* again */
	CHECK(dlclose(lib) == 0);
	return 0;
}
C
$cc -Iinclude -o "$tmp/load" "$tmp/load.c" -lpthread -ldl
for who in main thread; do
	"$tmp/load" "$lib" "$pool" $who
	# jemalloc's settings are not the library's
	MALLOC_CONF=background_thread:true,percpu_arena:percpu "$tmp/load" "$lib" "$pool" $who
done
