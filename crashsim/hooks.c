/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks -- what instrumented code calls: the functions that -fsanitize=thread puts before each
 * access, and those of crashsim.h that say what a compiler cannot see.
 *
 * The hook of a plain store runs before the store: its value is read back at the next event.
 * Accesses outside the buffer cost one comparison.
 * THREADS	one runs at a time (schedule.c); so nothing here is locked.
 * SOURCES: LLVM, compiler-rt/lib/tsan/rtl/tsan_interface.h and tsan_interface_atomic.h: names and
 * arguments; the sanitizer's run time is not linked.
 */
#include "hooks.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "edges.h"
#include "driver.h"
#include "outside.h"
#include "schedule.h"
#include "symbol.h"
#include "unseen.h"

/* the compiler calls these; nobody declares them */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

struct trace *recording;
uint32_t hook_thread;
uint64_t hook_seen;
void (*hook_announced)(uint64_t site);
void (*hook_recorded)(const struct event *e);
bool hook_rmw_drains = true;
void (*hook_reached)(const struct event *e);

static struct { /* a plain store that has been announced */
	uint64_t off;
	uint32_t len;
	uint64_t site;
	unsigned char was[16]; /* before it; with threads */
} pending;

/* Of what is stored to. */
static inline bool target(const void *addr, size_t len, uint64_t site)
{
	if (hook_ours(addr, len))
		return true;
	outside_store(addr, len, site);
	if (__builtin_expect(edges_on, 0))
		edges_release(addr, len);
	return false;
}

static uint64_t offset(const void *addr)
{
	return (uint64_t)((const unsigned char *)addr - region_base);
}

static void record_event(const struct event *e)
{
	if (__builtin_expect(hook_recorded != NULL, 0))
		hook_recorded(e);
	trace_add(recording, *e);
	if (edges_on && (e->kind == EV_STORE || e->kind == EV_STREAM))
		edges_release(region_base + e->off, e->len);
}

static void emit(struct event e)
{
	e.thread = hook_thread;
	if (stage == STAGE_RECORD)
		unseen_before(recording, &e);
	else if (unseen_library && stage == STAGE_RECOVER)
		unseen_recovery_before(&e);
	if (__builtin_expect(hook_reached != NULL, 0))
		hook_reached(&e);
	if (options.skip_site && e.site == options.skip_site)
		return;
	if (stage == STAGE_RECORD)
		record_event(&e);
	else if (stage == STAGE_RECOVER)
		explore_written(&e);
}

/* A store of any length, as it stands in the buffer now. */
static void emit_parts(enum event_kind kind, uint64_t off, size_t len, uint64_t site, bool atomic)
{
	static uint32_t wide; /* numbers of stores that are more than one word [R4] */
	bool parts = atomic || (kind == EV_STORE && off / 8 != (off + len - 1) / 8);

	if (parts && ++wide == 0)
		wide = 1;
	while (len) {
		uint32_t n = (uint32_t)(8 - off % 8 < len ? 8 - off % 8 : len);
		struct event e = { .kind = kind, .off = off, .len = n, .site = site };

		e.part_of = parts ? wide : 0;
		e.atomic = atomic;
		memcpy(&e.value, region_base + off, n);
		emit(e);
		off += n;
		len -= n;
	}
}

static void emit_stores(enum event_kind kind, uint64_t off, size_t len, uint64_t site)
{
	emit_parts(kind, off, len, site, false);
}

void hook_settle(void)
{
	if (!pending.len)
		return;
	uint32_t len = pending.len;

	pending.len = 0;
	emit_stores(EV_STORE, pending.off, len, pending.site);
}

size_t hook_pending_events(void)
{
	return pending.len ? (pending.off % 8 + pending.len + 7) / 8 : 0;
}

void hook_forget(void) { pending.len = 0; }

/* Another thread may go on here, unless a store has been announced that has not taken place: a copy
 * of a struct announces its store, then its load, then does both. */
static void hook_point(void)
{
	if (pending.len && (pending.len > sizeof(pending.was) ||
			    !memcmp(pending.was, region_base + pending.off, pending.len)))
		return;
	hook_settle();
	threads_point();
}

static void hook_read(const void *addr, size_t len)
{
	if (!hook_ours(addr, len)) {
		if (threads_on)
			threads_elsewhere();
		if (__builtin_expect(edges_on, 0))
			edges_acquire(addr, len);
		return;
	}
	if (__builtin_expect(!pending.len && !threads_on, 1)) {
		if (stage == STAGE_RECOVER)
			explore_read(offset(addr), len);
		else if (edges_on)
			edges_acquire(addr, len);
		return;
	}
	/* of the load of a struct copy its store may still be to come */
	if (offset(addr) < pending.off + pending.len && pending.off < offset(addr) + len)
		hook_seen++;
	hook_settle();
	if (threads_on)
		hook_point();
	if (edges_on)
		edges_acquire(addr, len);
	if (stage == STAGE_RECOVER)
		explore_read(offset(addr), len);
}

static void hook_write(const void *addr, size_t len, uint64_t site)
{
	if (!target(addr, len, site))
		return;
	hook_seen++;
	hook_settle();
	threads_point();
	if (stage == STAGE_RECOVER)
		explore_before_write(offset(addr), len);
	if (stage == STAGE_IDLE)
		return;
	pending.off = offset(addr);
	pending.len = (uint32_t)len;
	pending.site = site;
	if (__builtin_expect(hook_announced != NULL, 0))
		hook_announced(site);
	if (threads_on && len <= sizeof(pending.was))
		memcpy(pending.was, addr, len);
}

static void hook_order(enum event_kind kind, const void *line, uint64_t site)
{
	if (line && !hook_ours(line, 1))
		return;
	hook_settle();
	threads_point();
	emit((struct event){ .kind = kind,
			     .off = line ? offset(line) & ~(uint64_t)(LINE_BYTES - 1) : 0,
			     .len = LINE_BYTES,
			     .site = site });
}

void hook_range_stored(const void *ptr, size_t len, bool streamed, uint64_t site)
{
	if (!target(ptr, len, site) || !len)
		return;
	hook_seen++;
	hook_settle();
	emit_stores(streamed ? EV_STREAM : EV_STORE, offset(ptr), len, site);
}

void hook_direct_stored(const void *ptr, uint64_t site)
{
	if (!target(ptr, LINE_BYTES, site))
		return;
	hook_seen++;
	hook_settle();
	emit_parts(EV_STREAM, offset(ptr), LINE_BYTES, site, true);
}

void hook_before_store(const void *ptr, size_t len, uint64_t site)
{
	if (!target(ptr, len, site) || !len)
		return;
	hook_seen++;
	hook_settle();
	if (stage == STAGE_RECOVER)
		explore_before_write(offset(ptr), len);
}

void hook_streamed_value(const void *ptr, const void *src, size_t len, uint64_t site)
{
	static const unsigned char zeros[LINE_BYTES];
	uint64_t off = offset(ptr);

	if (!target(ptr, len, site))
		return;
	hook_seen++;
	hook_settle();
	for (size_t i = 0; i < len; i += 8) {
		struct event e = { .kind = EV_STREAM, .off = off + i, .len = 8, .site = site };

		memcpy(&e.value, src ? (const unsigned char *)src + i : zeros, 8);
		if (stage == STAGE_RECOVER)
			explore_before_write(off + i, 8);
		emit(e);
	}
}

void hook_flush(const void *line, enum event_kind kind, uint64_t site)
{
	hook_order(kind, line, site);
}
void hook_fence(enum event_kind kind, uint64_t site) { hook_order(kind, NULL, site); }

void hook_loads(const void *ptr, size_t len) { hook_read(ptr, len); }

void hook_msync(const void *ptr, size_t len, uint64_t site)
{
	if (!hook_ours(ptr, len) || !len)
		return;
	hook_settle();
	threads_point();
	emit((struct event){
		.kind = EV_MSYNC, .off = offset(ptr), .len = (uint32_t)len, .site = site });
}

/* ---- crashsim.h -------------------------------------------------------------------------------- */

#define PLAIN(p) ((const void *)(uintptr_t)(p))

void crashsim_stored(const volatile void *ptr, size_t len)
{
	hook_range_stored(PLAIN(ptr), len, false, CALLER);
}
void crashsim_streamed(const volatile void *ptr, size_t len)
{
	hook_range_stored(PLAIN(ptr), len, true, CALLER);
}
void crashsim_movdir64b(const volatile void *line) { hook_direct_stored(PLAIN(line), CALLER); }
void crashsim_loads(const volatile void *ptr, size_t len) { hook_read(PLAIN(ptr), len); }
void crashsim_clwb(const volatile void *line) { hook_order(EV_CLWB, PLAIN(line), CALLER); }
void crashsim_clflush(const volatile void *line) { hook_order(EV_CLFLUSH, PLAIN(line), CALLER); }
void crashsim_sfence(void) { hook_order(EV_SFENCE, NULL, CALLER); }
void crashsim_mfence(void) { hook_order(EV_MFENCE, NULL, CALLER); }

void crashsim_movnt(volatile void *to, const void *from, size_t len)
{
	hook_read(from, len);
	hook_before_store((void *)(uintptr_t)to, len, CALLER);
	memcpy((void *)(uintptr_t)to, from, len);
	hook_range_stored((void *)(uintptr_t)to, len, true, CALLER);
}

static unsigned char marked[OPS]; /* enum crashsim_state: of the recording under way */

void hook_marks_forget(void) { memset(marked, CRASHSIM_NOT_BEGUN, sizeof(marked)); }

/* A call of crashsim.h is wrong: a recording ends, an execution fails. */
static void misused(uint64_t site, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void misused(uint64_t site, const char *format, ...)
{
	const struct symbol *s = symbol_of(site);
	char what[160], text[512], place[200];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	(void)snprintf(text, sizeof(text), "%s, at %s%s%s", what,
		       symbol_place(s, place, sizeof(place)), s->line ? " in " : "",
		       s->line ? s->function : "");
	if (stage == STAGE_RECOVER)
		explore_fail(text);
	record_refuse("%s", text);
}

static void op_known(const char *call, unsigned op, uint64_t site)
{
	if (op >= OPS)
		misused(site, "crashsim_%s(%u): there is no such operation, expected 0 to %u", call,
			op, OPS - 1);
}

static void note_known(const char *call, unsigned slot, uint64_t site)
{
	if (slot >= NOTES)
		misused(site, "crashsim_%s(%u): there is no such slot, expected 0 to %u", call,
			slot, NOTES - 1);
}

static void begin(const char *call, unsigned op, bool again, uint64_t site)
{
	hook_settle();
	if (stage != STAGE_RECORD)
		return;
	op_known(call, op, site);
	if (marked[op] == CRASHSIM_OPEN || (marked[op] == CRASHSIM_HAS_RETURNED && !again))
		misused(site, "crashsim_%s(%u): the operation has begun before, %s", call, op,
			again ? "and has not returned" : "each begins once");
	marked[op] = CRASHSIM_OPEN;
	emit((struct event){ .kind = EV_BEGIN, .value = op });
}
void crashsim_begin(unsigned op) { begin("begin", op, false, CALLER); }
void crashsim_begin_again(unsigned op) { begin("begin_again", op, true, CALLER); }

void hook_returned(unsigned op)
{
	hook_settle();
	if (stage == STAGE_RECORD)
		emit((struct event){
			.kind = EV_RETURNED, .value = op, .waited = edges_waited(hook_thread) });
}

void crashsim_returned(unsigned op)
{
	hook_settle();
	if (stage != STAGE_RECORD)
		return;
	op_known("returned", op, CALLER);
	if (marked[op] != CRASHSIM_OPEN)
		misused(CALLER, "crashsim_returned(%u): the operation has %s", op,
			marked[op] == CRASHSIM_NOT_BEGUN ? "not begun" : "returned before");
	marked[op] = CRASHSIM_HAS_RETURNED;
	emit((struct event){
		.kind = EV_RETURNED, .value = op, .waited = edges_waited(hook_thread) });
}

void crashsim_note(unsigned slot, uint64_t value)
{
	hook_settle();
	if (stage != STAGE_RECORD)
		return;
	note_known("note", slot, CALLER);
	emit((struct event){ .kind = EV_NOTE, .off = slot, .value = value });
}

uint64_t crashsim_noted(unsigned slot)
{
	note_known("noted", slot, CALLER);
	return explore_noted(slot);
}

void crashsim_walker(const volatile void *word, uint64_t bits)
{
	hook_settle();
	if (stage == STAGE_RECORD && options.walker && hook_ours(PLAIN(word), 8))
		emit((struct event){
			.kind = EV_WALKER, .off = offset(PLAIN(word)), .len = 8, .value = bits });
}

enum crashsim_state crashsim_state(unsigned op)
{
	op_known("state", op, CALLER);
	return explore_state(op);
}

void crashsim_fail(const char *format, ...)
{
	char what[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	explore_fail(what);
}

void crashsim_outcome(uint64_t value)
{
	if (stage == STAGE_RECOVER)
		explore_outcome(value);
}

void crashsim_checked(const volatile void *ptr, size_t len)
{
	if (stage != STAGE_RECOVER || !hook_ours(PLAIN(ptr), len) || options.no_checked)
		return;
	hook_settle();
	explore_checked(offset(PLAIN(ptr)), len);
}

void crashsim_join(uint64_t key)
{
	if (stage != STAGE_RECOVER)
		return;
	hook_settle();
	explore_join(key);
}

/* ---- plain accesses ---------------------------------------------------------------------------- */

#define ACCESS(n)                                                                         \
	void __tsan_read##n(void *a) { hook_read(a, n); }                                 \
	void __tsan_write##n(void *a) { hook_write(a, n, CALLER); }                       \
	void __tsan_unaligned_read##n(void *a) { hook_read(a, n); }                       \
	void __tsan_unaligned_write##n(void *a) { hook_write(a, n, CALLER); }             \
	void __tsan_volatile_read##n(void *a) { hook_read(a, n); }                        \
	void __tsan_volatile_write##n(void *a) { hook_write(a, n, CALLER); }              \
	void __tsan_unaligned_volatile_read##n(void *a) { hook_read(a, n); }              \
	void __tsan_unaligned_volatile_write##n(void *a) { hook_write(a, n, CALLER); }    \
	void __tsan_read##n##_pc(void *a, void *pc) { (void)pc, hook_read(a, n); }        \
	void __tsan_write##n##_pc(void *a, void *pc)                                      \
	{                                                                                 \
		hook_write(a, n, (uint64_t)(uintptr_t)pc);                                \
	}                                                                                 \
	void __tsan_read_write##n(void *a) { hook_read(a, n), hook_write(a, n, CALLER); } \
	void __tsan_unaligned_read_write##n(void *a) { hook_read(a, n), hook_write(a, n, CALLER); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __tsan_read_range(void *a, unsigned long n) { hook_read(a, n); }
void __tsan_write_range(void *a, unsigned long n) { hook_write(a, n, CALLER); }
void __tsan_init(void) {}
void __tsan_func_entry(void *pc) { (void)pc; }
void __tsan_func_exit(void) {}
void __tsan_vptr_read(void **a) { hook_read(a, 8); }
void __tsan_vptr_update(void **a, void *v) { (void)v, hook_write(a, 8, CALLER); }
void __tsan_ignore_thread_begin(void) {}
void __tsan_ignore_thread_end(void) {}

/* ---- memcpy and the like: crashsim-cc makes them real calls and renames them --------------------- */

void *crashsim_memcpy(void *to, const void *from, size_t n)
{
	hook_read(from, n);
	if (n == 8 && !target(to, n, CALLER)) /* a load, as far as the buffer goes */
		return memcpy(to, from, 8);
	hook_before_store(to, n, CALLER);
	memmove(to, from, n);
	hook_range_stored(to, n, false, CALLER);
	return to;
}
void *crashsim_memmove(void *to, const void *from, size_t n)
{
	hook_read(from, n);
	hook_before_store(to, n, CALLER);
	memmove(to, from, n);
	hook_range_stored(to, n, false, CALLER);
	return to;
}
void *crashsim_memset(void *to, int c, size_t n)
{
	hook_before_store(to, n, CALLER);
	memset(to, c, n);
	hook_range_stored(to, n, false, CALLER);
	return to;
}
int crashsim_memcmp(const void *a, const void *b, size_t n)
{
	hook_read(a, n);
	hook_read(b, n);
	return memcmp(a, b, n);
}
