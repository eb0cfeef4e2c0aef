#!/bin/sh
# crashsim for other people's code: the tutorial as it is written, the examples with gcc and clang and each with its planted bug, libpmem's functions, mapped files, threads by seed, what goes unseen, ways to compile and link, and the installed tree.
set -eu
BUILD=$(cd "${BUILD:-build}" && pwd)
top=$PWD
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export PATH="$BUILD:$PATH"
unset CRASHSIM_CC CRASHSIM_CXX CRASHSIM_WARN

fail() { echo "$*"; exit 1; }
# expect CODE COMMAND...: its exit code; its output is in $tmp/out
expect() {
	want=$1
	shift
	code=0
	"$@" > "$tmp/out" 2>&1 || code=$?
	[ $code = "$want" ] || { cat "$tmp/out"; fail "$*: exit $code, expected $want"; }
}
says() { grep -q -- "$1" "$tmp/out" || { cat "$tmp/out"; fail "nothing says '$1'"; }; }
# number KEY: of the JSON in $tmp/out
number() { sed -n "s/.*\"$1\":\"*\([0-9a-f.]*\).*/\1/p" "$tmp/out"; }

# ---- the tutorial: its sources are the examples, its commands run, and print the lines with places that it shows
tutorial() {
	mkdir "$tmp/tutorial" "$tmp/block"
	cp crashsim/examples/* "$tmp/tutorial"
	rm "$tmp/tutorial/01-list.c"
	awk -v dir="$tmp/block" '
		/^```/ && !inside { inside = ++n; kind = substr($0, 4); print kind > (dir "/" n ".kind"); next }
		/^```/ { inside = 0; next }
		inside { print > (dir "/" n) }
		END { print n > (dir "/count") }' doc/crashsim-tutorial.md
	count=$(cat "$tmp/block/count")
	[ "$count" -ge 14 ] || fail "the tutorial has $count blocks"
	cd "$tmp/tutorial"
	shown=0
	i=0
	while [ $((i += 1)) -le "$count" ]; do
		block=$tmp/block/$i
		read -r kind name < "$block.kind" || :
		case $kind in
		c)
			cp "$block" "$name"
			[ ! -f "$top/crashsim/examples/$name" ] || cmp "$block" "$top/crashsim/examples/$name"
			;;
		diff) cp "$block" fix.diff ;;
		sh)
			# exit codes: those of crashsim tell of failures; a command that is not there fails
			sed 's/$/ || [ $? = 1 ] || exit 9/' "$block" > run.sh
			expect 0 sh run.sh
			cp "$tmp/out" shown.out
			;;
		text)
			# all of it but how fast it was; ids of programs with threads differ from compiler to compiler
			sed 's/; [0-9.]* s, [0-9]* executions.*//; s/ two_threads:.*//' "$block" > want.lines
			while IFS= read -r line; do
				grep -qF -- "$line" shown.out || { cat shown.out; fail "the tutorial shows '$line'"; }
				shown=$((shown + 1))
			done < want.lines
			;;
		*) fail "a block of kind '$kind'" ;;
		esac
	done
	[ $shown -ge 12 ] || fail "the tutorial shows $shown lines"
	cmp 01-list.c "$top/crashsim/examples/02-list-fixed.c"
	cd "$top"
}

# ---- the examples, and each with its planted bug
build() { # compiler, source, program
	CRASHSIM_CC=$1 crashsim-cc -Wall -Wextra -Werror -o "$3" "$2" > "$3.log" 2>&1 && [ ! -s "$3.log" ] || { cat "$3.log"; fail "$1: $2"; }
}
examples() { # compiler
	dir=$tmp/$1
	mkdir -p "$dir"
	cd "$dir"
	cp "$top"/crashsim/examples/* .
	for i in 03-libpmem-log.c 04-table.cpp 06-mmap-file.c; do
		sed '/leave this out/d' $i > "bad-$i"
		[ "$(($(wc -l < $i) - $(wc -l < "bad-$i")))" = 1 ] || fail "$i: no line to leave out"
	done
	sed 's|/\* persist(node) is missing here \*/|persist(node);|' 05-two-threads.c > good-05-two-threads.c
	for i in *.c *.cpp; do build "$1" $i "./${i%.*}"; done
	for i in ./01-list ./bad-03-libpmem-log ./bad-04-table; do ! $i run --max-failures 1 > $i.out 2>&1 || fail "$1: $i: no failure"; done
	grep -q '01-list.c:3[678]' 01-list.out || fail "01-list: no place"
	for i in ./02-list-fixed ./03-libpmem-log ./04-table; do $i run > $i.out 2>&1 || { cat $i.out; fail "$1: $i"; }; done
	./06-mmap-file run --persist page > 06.out 2>&1 || { cat 06.out; fail "$1: 06-mmap-file"; }
	! ./bad-06-mmap-file run --persist page > 06.out 2>&1 || fail "$1: bad-06-mmap-file: no failure"
	! ./05-two-threads run --schedules 20 > 05.out 2>&1 || fail "$1: 05-two-threads: no failure"
	./good-05-two-threads run --schedules 20 > 05.out 2>&1 || { cat 05.out; fail "$1: 05-two-threads, mended"; }
	! grep -q unseen ./*.out || fail "$1: stores of an example went unseen"
	[ -z "$(ls -- *.pool *.db 2>/dev/null)" ] || fail "a file that a workload made is still there"
	cd "$top"
}

# ---- each header of intrinsics alone and behind any other; atomics alone; a struct assignment is no order of its members
edges() { # compiler
	cd "$tmp"
	for one in emmintrin xmmintrin immintrin x86intrin; do
		for two in emmintrin xmmintrin immintrin x86intrin; do
			printf '#include <crashsim.h>\n#include <%s.h>\n#include <%s.h>\n%s\n' $one $two \
				'static void run(void *p) { *(int *)p = 1; _mm_clflush(p); _mm_sfence(); } CRASHSIM_WORKLOAD(w, .bytes = 64, .run = run)' > inc.c
			CRASHSIM_CC=$1 crashsim-cc -c -o inc.o inc.c || fail "$1: $one.h, then $two.h"
		done
	done
	cat > edge.c <<'END'
#include <crashsim.h>
#include <stdatomic.h>

struct record {
	uint64_t key, value, crc, valid;
};

static void atomic_run(void *pm)
{
	_Atomic uint64_t *word = pm;

	atomic_store_explicit(&word[0], 1, memory_order_release);
	atomic_store_explicit(&word[8], 1, memory_order_release);
	CRASHSIM_SFENCE();
}
static void atomic_check(void *pm)
{
	_Atomic uint64_t *word = pm;

	if (word[8] && !word[0])
		crashsim_fail("the second without the first");
}
CRASHSIM_WORKLOAD(atomics, .bytes = 128, .run = atomic_run, .check = atomic_check)

static void assign_run(void *pm)
{
	struct record r;

	r.key = 7;
	r.value = 8;
	r.crc = 15;
	r.valid = 1;
	*(struct record *)pm = r;
	CRASHSIM_CLWB(pm);
	CRASHSIM_SFENCE();
}
static void assign_check(void *pm)
{
	struct record *r = (struct record *)pm;

	if (r->valid && (r->key != 7 || r->value != 8 || r->crc != 15))
		crashsim_fail("torn");
}
CRASHSIM_WORKLOAD(assigned, .bytes = 64, .run = assign_run, .check = assign_check)
END
	for level in -O1 -O2; do
		CRASHSIM_CC=$1 crashsim-cc $level -o edge edge.c
		! ./edge run atomics > edge.out 2>&1 && grep -q 'second without' edge.out || { cat edge.out; fail "$1 $level: atomics alone"; }
		[ "$1" != gcc ] || ! ./edge run assigned > edge.out 2>&1 || fail "$1 $level: a torn struct assignment passes"
		! ./edge run assigned --line-order free > edge.out 2>&1 || fail "$1 $level: --line-order free finds no torn record"
	done
	cd "$top"
}

# ---- threads: the same seed gives the same trace in another process; a deadlock is named
threads() {
	cd "$tmp"
	crashsim-cc -o threads "$top/crashsim/examples/05-two-threads.c"
	traces=
	for seed in 1 2 3 4 5 6 7 8; do
		./threads run --json --seed $seed > one.json || [ $? = 1 ]
		./threads run --json --seed $seed > two.json || [ $? = 1 ]
		sed -i 's/"seconds":[0-9.]*//' one.json two.json
		cmp one.json two.json || fail "seed $seed: two runs differ"
		cp one.json out
		traces="$traces $(number trace)"
	done
	[ "$(echo "$traces" | tr ' ' '\n' | sort -u | grep -c .)" -ge 3 ] || fail "the seeds give the schedules $traces"
	cat > sync.c <<'END'
#include <crashsim.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <threads.h>
#include <unistd.h>

static pthread_rwlock_t rw;
static pthread_spinlock_t spin;
static pthread_barrier_t barrier;
static pthread_cond_t cond;
static pthread_mutex_t mutex;
static pthread_once_t once;
static sem_t sem;
static mtx_t mtx;
static int onces, serials, turn, in_lock[4];
static volatile int plain;
static uint64_t *words;

static void first(void)
{
	usleep(10);
	onces++;
}

static void alone(int lock)
{
	if (++in_lock[lock] != 1)
		abort();
	sched_yield();
	if (in_lock[lock] != 1)
		abort();
	words[lock]++;
	in_lock[lock]--;
}

static int worker(void *arg)
{
	int id = (int)(intptr_t)arg;

	pthread_once(&once, first);
	if (onces != 1)
		abort();
	serials += pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
	pthread_spin_lock(&spin);
	alone(0);
	pthread_spin_unlock(&spin);
	pthread_rwlock_wrlock(&rw);
	alone(1);
	pthread_rwlock_unlock(&rw);
	mtx_lock(&mtx);
	alone(2);
	mtx_unlock(&mtx);
	sem_wait(&sem);
	alone(3);
	sem_post(&sem);
	pthread_mutex_lock(&mutex);
	while (turn != id)
		pthread_cond_wait(&cond, &mutex);
	words[8 * (id + 1)] = (uint64_t)id + 1;
	CRASHSIM_CLWB(&words[8 * (id + 1)]);
	CRASHSIM_SFENCE();
	turn++;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	while (!plain) /* nothing to synchronise by: goes on all the same */
		;
	return id;
}

static void run(void *pm)
{
	thrd_t t[3];
	struct timespec never = { 0 };

	words = pm;
	onces = serials = turn = plain = 0;
	once = PTHREAD_ONCE_INIT;
	pthread_rwlock_init(&rw, NULL);
	pthread_spin_init(&spin, 0);
	pthread_barrier_init(&barrier, NULL, 3);
	pthread_cond_init(&cond, NULL);
	pthread_mutex_init(&mutex, NULL);
	sem_init(&sem, 0, 1);
	mtx_init(&mtx, mtx_plain);
	for (intptr_t i = 0; i < 3; i++)
		thrd_create(&t[i], worker, (void *)i);
	pthread_mutex_lock(&mutex);
	while (turn < 3)
		(void)pthread_cond_timedwait(&cond, &mutex, &never);
	pthread_mutex_unlock(&mutex);
	plain = 1;
	for (int i = 0; i < 3; i++) {
		int id;

		if (thrd_join(t[i], &id) != thrd_success || id != i)
			abort();
	}
	pthread_barrier_destroy(&barrier);
	if (serials != 1 || words[0] + words[1] + words[2] + words[3] != 12)
		abort();
}

static int recoverer(void *pm)
{
	uint64_t *w = pm;

	if (w[8] && w[16] && w[24])
		crashsim_fail("a thread of recovery fails");
	return 0;
}

static void recover(void *pm)
{
	thrd_t t;

	thrd_create(&t, recoverer, pm);
	thrd_join(t, NULL);
}

static void check(void *pm)
{
	uint64_t *w = pm;

	if ((w[24] && !w[16]) || (w[16] && !w[8]))
		crashsim_fail("a turn before its time");
}

CRASHSIM_WORKLOAD(sync, .bytes = 4096, .run = run, .check = check)
CRASHSIM_WORKLOAD(thread_fails, .bytes = 4096, .run = run, .recover = recover)
END
	crashsim-cc -Wall -Wextra -Werror -o sync sync.c
	for seed in 1 2 3 4 5 6; do
		expect 0 ./sync run --seed $seed sync
		says 'of 4 threads'
	done
	expect 1 ./sync run --json thread_fails
	says 'a thread of recovery fails'
	[ "$(number failures)" -ge 2 ] || fail "after a thread's failure exploration ends: $(cat out)"
	cat > dead.c <<'END'
#include <crashsim.h>
#include <pthread.h>

static pthread_mutex_t a, b;
static int in_recovery;

static void *other(void *pm)
{
	pthread_mutex_lock(&b);
	((volatile uint64_t *)pm)[8] = 1;
	pthread_mutex_lock(&a);
	return NULL;
}

static void both(void *pm)
{
	pthread_t t;

	pthread_mutex_init(&a, NULL);
	pthread_mutex_init(&b, NULL);
	pthread_mutex_lock(&a);
	pthread_create(&t, NULL, other, pm);
	while (!((volatile uint64_t *)pm)[8])
		sched_yield();
	pthread_mutex_lock(&b);
	pthread_join(t, NULL);
}

static void run(void *pm)
{
	*(uint64_t *)pm = 1;
	if (!in_recovery)
		both(pm);
}

static void recover(void *pm)
{
	if (*(uint64_t *)pm)
		both(pm);
}

__attribute__((constructor)) static void choose(void) { in_recovery = IN_RECOVERY; }
CRASHSIM_WORKLOAD(dead, .bytes = 128, .run = run, .recover = recover)
END
	crashsim-cc -DIN_RECOVERY=0 -include sched.h -o dead dead.c
	expect 3 ./dead run --seed 5
	says 'schedule of seed 5: deadlock: thread 0 waits for a mutex at .*dead.c:25.*, thread 1 waits for a mutex at .*dead.c:11'
	crashsim-cc -DIN_RECOVERY=1 -include sched.h -o dead dead.c
	expect 1 ./dead run
	says 'deadlock: thread 0 waits for a mutex at .*dead.c:25'
	cd "$top"
}

# ---- libpmem's functions: stores, flushes and fences of each
pmem() {
	cd "$tmp"
	cat > pmem.c <<'END'
#include <crashsim.h>
#include <libpmem.h>
#include <string.h>

static char from[512];
#define CASE(ident, call)                                                                   \
	static void run_##ident(void *pm)                                                   \
	{                                                                                   \
		memset(from, 1, sizeof(from));                                              \
		((uint64_t *)pm)[500] = 1; /* for crashsim to see that it sees */           \
		call;                                                                       \
	}                                                                                   \
	CRASHSIM_WORKLOAD(ident, .bytes = 4096, .run = run_##ident)

CASE(a_flush, pmem_flush((char *)pm + 60, 8))
CASE(b_persist, pmem_persist(pm, 128))
CASE(c_drain, pmem_drain())
CASE(d_small, pmem_memcpy_persist((char *)pm + 8, from, 16))
CASE(e_large, pmem_memcpy_persist(pm, from, 512))
CASE(f_unaligned, pmem_memmove_nodrain((char *)pm + 56, from, 264))
CASE(g_set, pmem_memset(pm, 3, 512, PMEM_F_MEM_TEMPORAL))
CASE(h_stream, pmem_memset(pm, 3, 64, PMEM_F_MEM_NONTEMPORAL | PMEM_F_MEM_NODRAIN))
CASE(i_noflush, pmem_memcpy(pm, from, 512, PMEM_F_MEM_NOFLUSH))
CASE(j_deep, (pmem_deep_flush(pm, 64), pmem_deep_drain(pm, 64), pmem_deep_persist(pm, 64)))
CASE(k_msync, pmem_msync((char *)pm + 100, 8))
CASE(l_elsewhere, (pmem_memcpy_persist(from + 1, from, 8), pmem_flush(from, 64)))
CASE(m_is, if (!pmem_is_pmem(pm, 64) || pmem_has_hw_drain()) crashsim_fail("not pmem"))
END
	crashsim-cc -Wall -Werror -o pmem pmem.c
	while read -r name stores lines flushes fences; do
		expect 0 ./pmem run --json "$name"
		found="$(number stores) $(number lines) $(number flushes) $(number fences)"
		[ "$found" = "$stores $lines $flushes $fences" ] || fail "$name: stores, lines, flushes, fences: $found, expected $stores $lines $flushes $fences"
	done <<'END'
a_flush 1 1 2 0
b_persist 1 1 2 1
c_drain 1 1 0 1
d_small 3 2 1 1
e_large 65 9 0 1
f_unaligned 34 6 1 0
g_set 65 9 8 1
h_stream 9 2 0 0
i_noflush 65 9 0 0
j_deep 1 1 2 2
k_msync 1 1 0 1
l_elsewhere 1 1 0 1
m_is 1 1 0 0
END
	cd "$top"
}

# ---- a library that is not instrumented: its stores are found at its flushes, its loads see whole images
library() {
	cd "$tmp"
	cat > library.c <<'END'
#include <crashsim.h>
#include <libpmemobj.h>
#include <stdio.h>
#include <stdlib.h>

struct root { uint64_t value; };

static PMEMobjpool *need(PMEMobjpool *pool)
{
	if (!pool) {
		fprintf(stderr, "%s\n", pmemobj_errormsg());
		exit(1);
	}
	return pool;
}

static void setup(void *pm)
{
	PMEMobjpool *pool = need(pmemobj_create("library.pool", "test", PMEMOBJ_MIN_POOL, 0600));

	(void)pm;
	pmemobj_root(pool, sizeof(struct root));
	pmemobj_close(pool);
}

static void run(void *pm)
{
	PMEMobjpool *pool = need(pmemobj_open("library.pool", "test"));
	PMEMoid oid = pmemobj_root(pool, sizeof(struct root));

	(void)pm;
	crashsim_begin(1);
	TX_BEGIN(pool) {
		pmemobj_tx_add_range(oid, 0, sizeof(struct root)); /* leave this out, and ... */
		((struct root *)pmemobj_direct(oid))->value = 1;
	} TX_END
	crashsim_returned(1);
	pmemobj_close(pool);
}

static void check(void *pm)
{
	PMEMobjpool *pool = need(pmemobj_open("library.pool", "test"));
	uint64_t value = ((struct root *)pmemobj_direct(pmemobj_root(pool, sizeof(struct root))))->value;

	(void)pm;
	if (value > 1 || (!value && crashsim_state(1) == CRASHSIM_RETURNED))
		crashsim_fail("the transaction is lost");
	pmemobj_close(pool);
}

CRASHSIM_WORKLOAD(library, .setup = setup, .run = run, .check = check, .depth = 1)
END
	sed '/leave this out/d' library.c > bad-library.c
	crashsim-cc -o library library.c -lpmemobj
	crashsim-cc -o bad-library bad-library.c -lpmemobj
	expect 0 sh -c './library run --json --time-limit 2 || [ $? = 3 ]' # as much as there is time for
	says 'libpmemobj.so.1 is not instrumented'
	[ "$(number executions)" -ge 20 ] || fail "libpmemobj: $(cat out)"
	expect 1 ./bad-library run --json --max-failures 1
	says 'the transaction is lost'
	[ ! -e library.pool ] || fail "library.pool is still there"
	cd "$top"
}

# ---- copies, as compilers make them: all seen, whether inlined or called
copies() {
	cd "$tmp"
	cat > copies.c <<'END'
#include <crashsim.h>
#include <string.h>

struct block { uint64_t word[10]; };
struct small { uint32_t half[2]; };
#define CASE(ident, ...)                                                                    \
	static void run_##ident(void *pm)                                                   \
	{                                                                                   \
		struct block *b = pm;                                                       \
		__VA_ARGS__;                                                                \
	}                                                                                   \
	CRASHSIM_WORKLOAD(ident, .bytes = 4096, .setup = setup, .run = run_##ident)
static struct block three = { { 3, 3, 3 } };
static void setup(void *pm) { memset(pm, 9, 1024); }

CASE(struct_in, b[1] = three)
CASE(struct_within, b[1] = b[0])
CASE(struct_small, *(struct small *)&b[1] = *(struct small *)&b[0])
CASE(struct_zero, b[1] = (struct block){ 0 })
CASE(builtin, __builtin_memcpy(b, &three, 24))
CASE(called, memcpy(b, &three, 24); memmove(b + 2, b, 16); memset(b + 4, 1, 16))
CASE(strings, strcpy((char *)b, "seven.."); strncat((char *)b, "and fifteen", 4))
CASE(loop, for (int i = 0; i < 8; i++) b->word[i] = 0)
END
	for cc in "gcc -O1" "gcc -O3" "clang -O1" "clang -O3"; do
		CRASHSIM_CC=${cc% *} crashsim-cc ${cc#* } -o copies copies.c 2> warned
		[ ! -s warned ] || { cat warned; fail "$cc: a warning"; }
		while read -r name stores; do
			expect 0 ./copies run --json "$name"
			! grep -q unseen out || { cat out; fail "$cc: $name"; }
			[ "$(number stores)" = "$stores" ] || fail "$cc: $name: $(number stores) stores, expected $stores"
		done <<'END'
struct_in 10
struct_within 10
struct_small 1
struct_zero 10
builtin 3
called 7
strings 4
loop 8
END
	done
	cd "$top"
}

# ---- loads by the C library's functions, and by zlib's: recovery finds the old bytes and the new ones
loads() { # compiler
	mkdir "$tmp/loads-$1"
	cd "$tmp/loads-$1"
	cat > loads.c <<'END'
#include <crashsim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

unsigned long crc32(unsigned long, const unsigned char *, unsigned);
unsigned long adler32(unsigned long, const unsigned char *, unsigned);

static void setup(void *pm) { memcpy(pm, " 12.5", 6); }
static void run(void *pm) { memcpy((char *)pm + 1, "7", 1); }

static uint64_t written(const char *s)
{
	FILE *f = tmpfile();
	char got = 0;

	if (write(fileno(f), s, 6) != 6 || pread(fileno(f), &got, 1, 1) != 1)
		abort();
	fclose(f);
	return (unsigned char)got;
}

static uint64_t printed(const char *s)
{
	FILE *f = tmpfile();
	char got = 0;

	if (fwrite(s, 1, 6, f) != 6 || fflush(f) || pread(fileno(f), &got, 1, 1) != 1)
		abort();
	fclose(f);
	return (unsigned char)got;
}

#define CASE(ident, ...)                                                                   \
	static void check_##ident(void *pm)                                                \
	{                                                                                  \
		const char *s = pm;                                                        \
		crashsim_outcome((uint64_t)(__VA_ARGS__));                                 \
	}                                                                                  \
	CRASHSIM_WORKLOAD(w_##ident, .bytes = 64, .setup = setup, .run = run, .check = check_##ident)

CASE(strtol, strtol(s, NULL, 10))
CASE(strtoul, strtoul(s, NULL, 0))
CASE(strtoll, strtoll(s, NULL, 10))
CASE(strtoull, strtoull(s, NULL, 16))
CASE(strtod, strtod(s, NULL) * 2)
CASE(atoi, atoi(s))
CASE(atol, atol(s))
CASE(atoll, atoll(s))
CASE(strcasecmp, !strcasecmp(s, " 72.5"))
CASE(strncasecmp, !strncasecmp(s, " 7", 2))
CASE(strstr, strstr(s, "72") != NULL)
CASE(memchr, memchr(s, '7', 4096) != NULL)
CASE(crc32, crc32(0, (const unsigned char *)s, 6))
CASE(adler32, adler32(1, (const unsigned char *)s, 6))
CASE(write, written(s))
CASE(fwrite, printed(s))
END
	for flags in "" -D_GNU_SOURCE; do
		expect 0 env CRASHSIM_CC=$1 crashsim-cc $flags -o loads loads.c -lz
		expect 0 ./loads run --json
		for name in $(sed -n 's/^CASE(\([a-z0-9]*\),.*/\1/p' loads.c); do
			grep "\"workload\":\"w_$name\"" "$tmp/out" | grep -q '"outcomes":"*2\b' || { cat "$tmp/out"; fail "$1 $flags: $name is not seen"; }
		done
	done
	# zlib as an archive; and a program's own functions of such names, which take what they want
	cat > sums.c <<'END'
unsigned long crc32(unsigned long sum, const unsigned char *s, unsigned n) { while (n--) sum = sum * 31 + *s++; return sum; }
unsigned long adler32(unsigned long sum, const unsigned char *s, unsigned n) { return crc32(sum, s, n); }
END
	gcc -c sums.c
	ar rcs libz.a sums.o
	expect 0 env CRASHSIM_CC=$1 crashsim-cc -o archive loads.c -L. -l z
	expect 0 ./archive run --json w_crc32
	says '"outcomes":"*2\b'
	cat > own.c <<'END'
#include <crashsim.h>
uint32_t crc32(const void *s);
uint32_t crc32(const void *s) { return *(const uint32_t *)s; }
int atoi(const char *s);
int atoi(const char *s) { return s[1]; }
static void run(void *pm) { *(uint32_t *)pm = 7; }
static void check(void *pm) { crashsim_outcome(crc32(pm) + (uint32_t)atoi(pm)); }
CRASHSIM_WORKLOAD(own, .bytes = 64, .run = run, .check = check)
END
	expect 0 env CRASHSIM_CC=$1 crashsim-cc -o own own.c
	expect 0 ./own run --json
	says '"outcomes":"*2\b'
	cd "$top"
}

# ---- what the instrumentation does not see, by place; and what it does
unseen() {
	cd "$tmp"
	cat > unseen.c <<'END'
#include <crashsim.h>
#include <immintrin.h>
#define ASM(text, to) __asm__ volatile(text ::"r"(to), "r"(5ull) : "memory")
static void run(void *pm)
{
	uint64_t *p = pm;

	p[0] = 1;
	ASM("clflushopt (%0)", p);
	ASM("mfence", p);
	ASM("movnti %1, (%0)", p + 8);
	ASM("xorps %%xmm0, %%xmm0\n\tmovups %%xmm0, (%0)", p + 16);
	ASM("lock addq %1, (%0)", p + 16);
	ASM("movq %1, (%0)", p + 24);
	CRASHSIM_CLWB(p + 24);
	CRASHSIM_SFENCE();
	CRASHSIM_MOVNT(p + 32, 7);
	_mm_stream_si64((long long *)p + 33, 8);
	_mm_storeu_si128((void *)(p + 34), _mm_set1_epi32(3));
	_mm_clwb(p + 34);
	_mm_sfence();
	_mm_mfence();
}
CRASHSIM_WORKLOAD(unseen, .bytes = 4096, .run = run)
END
	for cc in gcc clang; do
		CRASHSIM_CC=$cc crashsim-cc -o unseen unseen.c 2> warned
		sed -n 's/.*\(unseen.c:[0-9]*\): warning: crashsim does not see this \([^;]*\);.*/\1 \2/p' warned > warned.at
		cat > want <<'END'
unseen.c:9 clflushopt
unseen.c:10 mfence
unseen.c:11 movnti
unseen.c:12 vector store
unseen.c:13 locked instruction
END
		cmp want warned.at || { cat warned; fail "$cc: warnings"; }
		CRASHSIM_WARN=no CRASHSIM_CC=$cc crashsim-cc -o unseen unseen.c 2> warned
		[ ! -s warned ]
		expect 0 ./unseen run --json
		says 'unseen.c:15.* 1 word.* flushed here had changed unseen'
		# seen: p[0], the two streamed words, the vector's two; unseen: line 14's at its flush, three more at the end
		[ "$(number stores) $(number flushes) $(number fences)" = "8 2 3" ] || { cat out; fail "$cc: stores, flushes, fences"; }
		[ "$cc" != gcc ] || gcc -mclwb -I"$top/crashsim" -c -o plain.o -x c - <<'END'
#include <crashsim.h>
void f(void *p);
void f(void *p) { CRASHSIM_CLWB(p); CRASHSIM_CLFLUSHOPT(p); CRASHSIM_CLFLUSH(p); CRASHSIM_SFENCE(); CRASHSIM_MFENCE(); CRASHSIM_MOVNT(p, 1); }
END
	done
	[ "$(objdump -d --no-show-raw-insn plain.o | grep -cE 'clwb|clflush|sfence|mfence|movnti')" = 6 ] || fail "without crashsim-cc the macros are not the instructions"
	cd "$top"
}

# ---- compiling and linking
linking() { # its crashsim-cc
	mkdir -p "$tmp/l i n k"
	cd "$tmp/l i n k"
	cat > put.c <<'END'
#include "put.h"
#include <crashsim.h>
void put(uint64_t *word, uint64_t value) { *word = value; CRASHSIM_CLWB(word); CRASHSIM_SFENCE(); }
END
	echo '#include <stdint.h>
void put(uint64_t *word, uint64_t value);' > put.h
	cat > 'a use.c' <<'END'
#include "put.h"
#include <crashsim.h>
#include <stdio.h>
static void run(void *pm) { put(pm, VALUE); put((uint64_t *)pm + 8, VALUE); }
static void check(void *pm) { if (((uint64_t *)pm)[8] && !*(uint64_t *)pm) crashsim_fail("order"); }
CRASHSIM_WORKLOAD(use, .about = TEXT, .bytes = 128, .run = run, .check = check)
#ifdef MAIN
int main(int argc, char **argv) { return puts("a main of its own") < 0 ? 1 : crashsim_main(argc, argv); }
#endif
END
	flags="-DVALUE=3 -DTEXT=\"a\\ b\""
	expect 0 "$1" -DVALUE=3 '-DTEXT="a b"' 'a use.c' put.c
	expect 0 ./a.out run --json
	[ "$(number stores) $(number flushes)" = "2 2" ] || fail "several sources: $(cat "$tmp/out")"
	expect 0 ./a.out list
	says 'a b'
	"$1" -O2 -DMAIN -DVALUE=3 '-DTEXT="a b"' -c 'a use.c' -o use.o
	"$1" -c -MMD put.c
	grep -q 'put.h' put.d
	expect 0 "$1" use.o put.o -o 'own main'
	expect 0 './own main' run
	says 'a main of its own'
	says 'no failure'
	ar rcs libput.a put.o
	expect 0 "$1" -o archive use.o -L. -lput
	expect 0 ./archive run
	"$1" -shared -o libshared.so put.c
	"$1" -o shared use.o -L. -lshared -Wl,-rpath,.
	expect 0 ./shared run --json
	[ "$(number stores) $(number flushes)" = "2 2" ] || fail "a shared object: $(cat "$tmp/out")"
	expect 1 "$1" -static use.o put.o
	says 'shared C library'
	echo 'int x = ;' > bad.c
	expect 1 "$1" -c bad.c
	says 'bad.c:1'
	cd "$top"
}

# ---- installed, and moved as a whole
installed() {
	make -s install-crashsim BUILD="$BUILD" PREFIX="$tmp/usr" > /dev/null
	"$tmp/usr/bin/crashsim-cc" -o "$tmp/by-installed" crashsim/examples/02-list-fixed.c
	expect 0 "$tmp/by-installed" run
	expect 0 "$tmp/usr/bin/crashsim" run "$tmp/by-installed"
	mv "$tmp/usr" "$tmp/moved"
	"$tmp/moved/bin/crashsim-c++" -o "$tmp/by-moved" crashsim/examples/04-table.cpp
	expect 0 "$tmp/by-moved" run
	mv "$tmp/moved" "$tmp/usr"
	make -s uninstall-crashsim BUILD="$BUILD" PREFIX="$tmp/usr" > /dev/null
	left=$(find "$tmp/usr" ! -type d)
	[ -z "$left" ] || fail "uninstall left: $left"
}

(examples clang) &
clang=$!
(examples gcc)
tutorial
wait $clang
edges gcc
edges clang
pmem
library
copies
loads gcc
loads clang
threads
unseen
linking crashsim-cc
[ -n "${CRASHSIM_NO_INSTALL-}" ] || installed
