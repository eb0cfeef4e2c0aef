/* SPDX-License-Identifier: BSD-3-Clause */
/* crashsim -- explore every state that a power failure can leave of a program on persistent memory.
 *
 * A *workload* is a program in four functions: setup (what is durable before it begins), run (what
 * is recorded), recover (what the next start does) and check (is the outcome one that the program
 * allows?).  crashsim records run once, and then runs recover and check on every image that a crash
 * anywhere in run, or in recover itself, can leave behind, as far as they read it.
 *
 *	#include <crashsim.h>
 *	static void run(void *pm) { ... crashsim_begin(1); insert(pm, 1); crashsim_returned(1); ... }
 *	static void recover(void *pm) { ... }
 *	static void check(void *pm)
 *	{
 *		if (crashsim_state(1) == CRASHSIM_RETURNED && !found(pm, 1))
 *			crashsim_fail("insert 1 has returned, and it is not there");
 *	}
 *	CRASHSIM_WORKLOAD(insert, .bytes = 4096, .run = run, .recover = recover, .check = check)
 *
 *	crashsim-cc -O1 -o insert insert.c && ./insert
 *
 * Sources are compiled by crashsim-cc, so that each access to the buffer is seen.
 * Threads: the functions below are called by the workload's own threads, one runs at a time.
 * The model of what x86 may leave behind: crashsim(1), MODEL.
 */
#ifndef CRASHSIM_H
#define CRASHSIM_H 1

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- workloads ------------------------------------------------------------------------------- */

struct crashsim_workload {
	const char *name;
	const char *about; /* one line for `list`; may be NULL */
	/* of the buffer, a multiple of 64, at most 1 GiB; 0: the buffer is what the program maps by
	 * pmem_map_file or mmap of a file */
	size_t bytes;
	/* The buffer is zeros; what this stores is durable before run begins.  May be NULL.  Without a
	 * buffer (bytes 0) it gets NULL, run gets what setup has mapped or NULL, and recover and check
	 * get the first file mapped; a file that is mapped again lies where it was. */
	void (*setup)(void *pm);
	void (*run)(void *pm);     /* recorded */
	void (*recover)(void *pm); /* run on every image; may be NULL */
	void (*check)(
		void *pm); /* after it: crashsim_fail() if the outcome is wrong; may be NULL */
	unsigned depth;    /* crashes in a row, inside recover too; 0: 2 */
	unsigned twice;    /* not 0: recover again after check, and check again */
};

/* Make a workload known to the command; at file scope. */
#define CRASHSIM_WORKLOAD(ident, ...)                                                          \
	_Pragma("GCC diagnostic push") _Pragma(                                                \
		"GCC diagnostic ignored \"-Wmissing-field-initializers\"") static const struct \
		crashsim_workload crashsim_workload_##ident = { .name = #ident, __VA_ARGS__ }; \
	_Pragma("GCC diagnostic pop")                                                          \
		__attribute__((constructor)) static void crashsim_add_##ident(void)            \
	{                                                                                      \
		crashsim_add(&crashsim_workload_##ident);                                      \
	}
void crashsim_add(const struct crashsim_workload *workload);

/* ---- inside run ------------------------------------------------------------------------------ */

/* Operation `op` (0..255, each once) has begun; has returned: a crash point, and from there on its
 * effect must survive. */
void crashsim_begin(unsigned op);
void crashsim_returned(unsigned op);
/* The same, of an operation that may have returned before: it is open once more.  For a check that knows
 * by crashsim_note() which time it was. */
void crashsim_begin_again(unsigned op);
/* The check will find `value` in this slot (0..63): how far run had come at the crash. */
void crashsim_note(unsigned slot, uint64_t value);
/* Begin anew: setup is run again, unrecorded, and has to leave what it left before; no operation
 * has begun, all notes are 0.  For run to go through several schedules or variants in turn. */
void crashsim_again(void);
/* What a page walker may do at any time from now on: set these bits of the aligned word. */
void crashsim_walker(const volatile void *word, uint64_t bits);

/* ---- inside check ---------------------------------------------------------------------------- */

enum crashsim_state { CRASHSIM_NOT_BEGUN, CRASHSIM_OPEN, CRASHSIM_HAS_RETURNED };
#define CRASHSIM_RETURNED CRASHSIM_HAS_RETURNED
/* Where `op` was at the crash of run. */
enum crashsim_state crashsim_state(unsigned op);
/* What run had noted in this slot by the crash, or 0. */
uint64_t crashsim_noted(unsigned slot);
/* The outcome is wrong; does not return. */
void crashsim_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* What this image came to, for comparing explorations: a number of the workload's own making. */
void crashsim_outcome(uint64_t value);

/* ---- inside recover and check ---------------------------------------------------------------- */

/* [ptr, ptr + len) validates itself by a checksum that is about to be computed: it is explored as
 * each whole content that was ever stored there, and as one that is none of them. */
void crashsim_checked(const volatile void *ptr, size_t len);

/* What recovery does from here on depends on the buffer's contents and on `key` alone; it remembers
 * nothing else of what it has read there and stored over.  Paths that meet here are one from here on. */
void crashsim_join(uint64_t key);

/* ---- what crashsim-cc cannot see: inline assembly, vector intrinsics, other libraries ---------- */

void crashsim_stored(const volatile void *ptr,
		     size_t len); /* [ptr, ptr + len) has been stored to */
void crashsim_streamed(const volatile void *ptr,
		       size_t len);                 /* by movnt; words may land in any order */
void crashsim_movdir64b(const volatile void *line); /* the line has been stored to as a whole */
void crashsim_loads(const volatile void *ptr, size_t len); /* is about to be read */
void crashsim_clwb(const volatile void *line);             /* clwb or clflushopt */
void crashsim_clflush(const volatile void *line);
void crashsim_sfence(void);
void crashsim_mfence(void); /* or a locked instruction */
/* Stream len bytes, past the cache, and announce it. */
void crashsim_movnt(volatile void *to, const void *from, size_t len);

/* Instructions for code that is to run with and without crashsim.  Compiled by crashsim-cc they are
 * announced, and carried out as far as that means anything in its buffer; otherwise they are the
 * instructions, and this header is all that they need.  The intrinsics of <immintrin.h>
 * (_mm_clwb, _mm_sfence, _mm_stream_si64 ...) need none of this: crashsim-cc knows them. */
#ifdef CRASHSIM_CC
#define CRASHSIM_CLWB(line)       crashsim_clwb(line)
#define CRASHSIM_CLFLUSHOPT(line) crashsim_clwb(line)
#define CRASHSIM_CLFLUSH(line)    crashsim_clflush(line)
#define CRASHSIM_SFENCE()         crashsim_sfence()
#define CRASHSIM_MFENCE()         crashsim_mfence()
#define CRASHSIM_MOVNT(to, value)                                              \
	do {                                                                   \
		const uint64_t crashsim_value = (value);                       \
		crashsim_movnt((to), &crashsim_value, sizeof(crashsim_value)); \
	} while (0)
#elif defined(__x86_64__)
#define CRASHSIM_CLWB(line) \
	__asm__ volatile("clwb %0" : "+m"(*(volatile char *)(uintptr_t)(line))::"memory")
#define CRASHSIM_CLFLUSHOPT(line) \
	__asm__ volatile("clflushopt %0" : "+m"(*(volatile char *)(uintptr_t)(line))::"memory")
#define CRASHSIM_CLFLUSH(line) \
	__asm__ volatile("clflush %0" : "+m"(*(volatile char *)(uintptr_t)(line))::"memory")
#define CRASHSIM_SFENCE()         __asm__ volatile("sfence" ::: "memory")
#define CRASHSIM_MFENCE()         __asm__ volatile("mfence" ::: "memory")
#define CRASHSIM_MOVNT(to, value) /* 8 bytes, aligned */               \
	__asm__ volatile("movnti %1, %0"                               \
			 : "=m"(*(volatile uint64_t *)(uintptr_t)(to)) \
			 : "r"((uint64_t)(value))                      \
			 : "memory")
#endif

/* ---- reports --------------------------------------------------------------------------------- */

/* What these files hold, names with a space between, is wrappers of stores, flushes and fences: a report
 * names the place that calls them.  A string that stays; from main, a constructor, or setup. */
void crashsim_wrappers(const char *files);

/* ---- running --------------------------------------------------------------------------------- */

/* The command: run, list, replay, shrink, merge, litmus.  A main of the program's own calls it;
 * where there is none, crashsim-cc links one that does. */
int crashsim_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif
#endif /* CRASHSIM_H */
