/* SPDX-License-Identifier: BSD-3-Clause */
/* cases -- small workloads with known outcomes, for test_crashsim.sh: a list that is right and one
 * that is not, faults that a fence, a flush or nothing repairs, recoveries that misbehave, and
 * workloads that are wrong themselves.
 */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <crashsim.h>

struct node {
	uint64_t value, next;
};
struct pool {
	uint64_t head;
	char pad[56];
	struct node node[8] __attribute__((aligned(64)));
};

static void flush(const void *p) { crashsim_clwb(p); }
static void fence(void) { crashsim_sfence(); }

/* ---- a return without a drain: clflush alone may still wait for its store [R13] ------------------- */

static void word_run(uint64_t *word, int drains)
{
	crashsim_begin(0);
	*word = 1;
	crashsim_clflush(word);
	if (drains)
		fence();
	crashsim_returned(0);
}
static void undrained_run(void *pm) { word_run(pm, 0); }
static void drained_run(void *pm) { word_run(pm, 1); }
static void word_check(void *pm)
{
	if (crashsim_state(0) == CRASHSIM_RETURNED && !*(uint64_t *)pm)
		crashsim_fail("the store has returned, and it is lost");
}
CRASHSIM_WORKLOAD(undrained, .bytes = 64, .run = undrained_run, .check = word_check)
CRASHSIM_WORKLOAD(drained, .bytes = 64, .run = drained_run, .check = word_check)

/* ---- a list: each node is to be durable before its link --------------------------------------------- */

enum how { GOOD, NO_FLUSH, NO_FENCE };

static void insert(struct pool *p, unsigned i, enum how how)
{
	struct node *n = &p->node[i];

	n->value = 100 + i;
	n->next = p->head;
	if (how != NO_FLUSH)
		flush(n);
	if (how == GOOD)
		fence();
	p->head = i + 1;
	flush(&p->head);
	fence();
}

static void list_run(struct pool *p, enum how how)
{
	for (unsigned i = 0; i < 3; i++) {
		crashsim_begin(i);
		insert(p, i, how);
		crashsim_returned(i);
	}
}
static void good_run(void *pm) { list_run(pm, GOOD); }
static void no_flush_run(void *pm) { list_run(pm, NO_FLUSH); }
static void no_fence_run(void *pm) { list_run(pm, NO_FENCE); }

static void list_check(void *pm)
{
	struct pool *p = pm;
	unsigned seen = 0, steps = 0;

	for (uint64_t at = p->head; at; at = p->node[at - 1].next) {
		if (at > 8 || ++steps > 8)
			crashsim_fail("a link leads nowhere");
		if (p->node[at - 1].value != 99 + at)
			crashsim_fail("node %u holds garbage", (unsigned)at);
		seen |= 1u << (at - 1);
	}
	for (unsigned i = 0; i < 3; i++) {
		if (crashsim_state(i) == CRASHSIM_RETURNED && !(seen >> i & 1))
			crashsim_fail("insert %u has returned, and it is not there", i);
	}
	crashsim_outcome(seen);
}
CRASHSIM_WORKLOAD(good, .about = "each node is durable before its link", .bytes = 1024,
		  .run = good_run, .check = list_check)
CRASHSIM_WORKLOAD(no_flush, .about = "nodes are not flushed", .bytes = 1024, .run = no_flush_run,
		  .check = list_check)
CRASHSIM_WORKLOAD(no_fence, .about = "nodes are flushed, and nothing drains that", .bytes = 1024,
		  .run = no_fence_run, .check = list_check)

/* ---- a crash inside recovery ------------------------------------------------------------------------ */

struct lines { /* each on its own */
	struct {
		uint64_t v;
		char pad[56];
	} at[8] __attribute__((aligned(64)));
};

static void nested_run(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1; /* the log: `data is to be 5` */
	flush(&l->at[0]);
	fence();
}
/* Recovery ends its log before what the log promises is durable. */
static void nested_recover(void *pm)
{
	struct lines *l = pm;

	if (l->at[0].v != 1)
		return;
	l->at[1].v = 5;
	l->at[0].v = 2; /* done */
	flush(&l->at[0]);
	fence();
}
static void nested_check(void *pm)
{
	struct lines *l = pm;

	crashsim_outcome(l->at[0].v << 8 | l->at[1].v);
	if (l->at[0].v == 2 && l->at[1].v != 5)
		crashsim_fail("the log is done, and the data is %u", (unsigned)l->at[1].v);
}
CRASHSIM_WORKLOAD(nested, .bytes = 512, .run = nested_run, .recover = nested_recover,
		  .check = nested_check)

/* ---- nothing repairs it by a flush: the stores are in the wrong order ------------------------------- */

static void order_run(void *pm)
{
	struct lines *l = pm;

	l->at[1].v = 1; /* the mark of what comes only now */
	flush(&l->at[1]);
	fence();
	l->at[0].v = 7;
	flush(&l->at[0]);
	fence();
}
static void order_check(void *pm)
{
	struct lines *l = pm;

	if (l->at[1].v && l->at[0].v != 7)
		crashsim_fail("marked, and not there");
}
CRASHSIM_WORKLOAD(order, .bytes = 512, .run = order_run, .check = order_check)

/* ---- many lines lost, of which one matters ---------------------------------------------------------- */

static void many_run(void *pm)
{
	struct lines *l = pm;

	for (unsigned i = 0; i < 8; i++)
		l->at[i].v = i + 1;
	fence();
}
static void many_check(void *pm)
{
	struct lines *l = pm;
	uint64_t sum = 0;

	for (unsigned i = 7; i > 0; i--)
		sum += l->at[i].v;
	crashsim_outcome(sum);
	if (l->at[0].v && !l->at[3].v)
		crashsim_fail("line 3 is lost");
}
CRASHSIM_WORKLOAD(many, .bytes = 512, .run = many_run, .check = many_check)

/* ---- recoveries that misbehave, on two of four images ----------------------------------------------- */

static void pair_run(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1;
	l->at[1].v = 1;
	fence();
}
static int uneven(void *pm)
{
	struct lines *l = pm;

	crashsim_outcome(l->at[0].v << 1 | l->at[1].v);
	return l->at[0].v != l->at[1].v;
}
#define PAIR(ident, ...)                    \
	static void ident##_check(void *pm) \
	{                                   \
		if (uneven(pm))             \
			__VA_ARGS__;        \
	}                                   \
	CRASHSIM_WORKLOAD(ident, .bytes = 512, .run = pair_run, .check = ident##_check)

static volatile uint64_t elsewhere;

static void eat(void)
{
	for (;;) {
		char *p = malloc(1 << 20);

		for (size_t i = 0; i < 1 << 20; i += 4096)
			p[i] = 1;
		elsewhere = (uint64_t)(uintptr_t)p;
	}
}
static void loop(void *pm)
{
	for (volatile uint64_t *w = pm; w[0] != w[8];)
		;
}
static void spin(void)
{
	for (;;)
		elsewhere++;
}
static void forks(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
}
static void vforks(void)
{
	if (vfork() == 0)
		_exit(0);
}
static void spawns(void)
{
	static char name[] = "true";
	static char *args[] = { name, NULL };
	pid_t pid;

	(void)posix_spawnp(&pid, name, NULL, NULL, args, NULL);
}
/* A store that no hook announces. */
static void unseen_store(void *to) { __asm__ volatile("movq $7, (%0)" : : "r"(to) : "memory"); }
PAIR(segv, *(volatile int *)8 = 1)
PAIR(exits, exit(0))
PAIR(exits_at_once, _exit(0))
PAIR(aborts, abort())
PAIR(loops, loop(pm))
PAIR(hangs, spin())
PAIR(forks, forks())
PAIR(vforks, vforks())
PAIR(spawns, spawns())
PAIR(execs, (void)execlp("true", "true", (char *)NULL))
PAIR(systems, elsewhere = (uint64_t)system("true"))
PAIR(pipes, (void)popen("true", "r"))
PAIR(beside, ((volatile uint64_t *)pm)[64] = 1)
PAIR(unseen_beside, unseen_store((char *)pm + 520))
PAIR(eats, eat())
PAIR(prints, printf("recovery says %d\n", 1))
PAIR(fails, crashsim_fail("uneven"))

/* Killed in one nested crash of four that read the same bytes. */
static void deep_run(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1;
	l->at[1].v = 1;
	fence();
}
static void deep_store(volatile uint64_t *w)
{
	elsewhere = w[0] + w[8];
	w[16] = 1;
	fence();
}
static int deep_bad(void *pm)
{
	struct lines *l = pm;

	crashsim_outcome(l->at[0].v << 2 | l->at[1].v << 1 | l->at[2].v);
	return !l->at[2].v && l->at[0].v && !l->at[1].v;
}
static void deep_kill_check(void *pm)
{
	if (deep_bad(pm))
		abort();
}
static void deep_fail_check(void *pm)
{
	if (deep_bad(pm))
		crashsim_fail("deep");
}
static void deep_mark_recover(void *pm)
{
	volatile uint64_t *w = pm;

	if (w[24]) /* the second recovery looks only */
		return;
	w[24] = 1;
	flush((void *)(uintptr_t)&w[24]);
	fence();
	deep_store(w);
}
CRASHSIM_WORKLOAD(deep_kill, .bytes = 512, .run = deep_run, .recover = deep_mark_recover,
		  .check = deep_kill_check)
CRASHSIM_WORKLOAD(deep_fail, .bytes = 512, .run = deep_run, .recover = deep_mark_recover,
		  .check = deep_fail_check)

/* ---- workloads that are wrong ------------------------------------------------------------------------ */

static uint64_t calls;
static void random_run(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1;
	l->at[1].v = calls++;
	fence();
}
CRASHSIM_WORKLOAD(bad_random, .bytes = 512, .run = random_run)

static void never_run(void *pm) { ((struct lines *)pm)->at[0].v = 1; }
CRASHSIM_WORKLOAD(bad_never, .bytes = 512, .run = never_run)

static void outside_run(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1;
	crashsim_begin(1);
	l->at[1].v = 1;
	fence();
	crashsim_returned(1);
}
CRASHSIM_WORKLOAD(bad_outside, .bytes = 512, .run = outside_run)

static void behind_run(void *pm) { ((volatile uint64_t *)pm)[512 * 8] = 1; }
CRASHSIM_WORKLOAD(bad_behind, .bytes = 4096, .run = behind_run)

/* Stores beside the buffer, seen and unseen; the buffer ends with its page, or within it. */
#define BESIDE(ident, n, ...)                     \
	static void ident##_run(void *pm)         \
	{                                         \
		((volatile uint64_t *)pm)[0] = 1; \
		fence();                          \
		__VA_ARGS__;                      \
	}                                         \
	CRASHSIM_WORKLOAD(ident, .bytes = n, .run = ident##_run)
BESIDE(bad_next, 512, ((volatile uint64_t *)pm)[64] = 1)
BESIDE(bad_next_page, 4096, ((volatile uint64_t *)pm)[513] = 1)
BESIDE(bad_before, 512, ((volatile uint64_t *)pm)[-1] = 1)
BESIDE(bad_across, 4096, memset((char *)pm + 4092, 1, 8))
BESIDE(bad_unseen_next, 512, unseen_store((char *)pm + 520))

BESIDE(bad_fork, 512, forks())
BESIDE(bad_system, 512, elsewhere = (uint64_t)system("true"))
BESIDE(bad_exec, 512, (void)execl("/bin/true", "true", (char *)NULL))
BESIDE(bad_exit_at_once, 512, _exit(0))
BESIDE(bad_endless, 512, spin())

static void exit_run(void *pm)
{
	((struct lines *)pm)->at[0].v = 1;
	exit(0);
}
CRASHSIM_WORKLOAD(bad_exit, .bytes = 512, .run = exit_run)

static void large_run(void *pm)
{
	for (;;)
		++*(volatile uint64_t *)pm;
}
CRASHSIM_WORKLOAD(bad_large, .bytes = 512, .run = large_run)

static void wide_run(void *pm)
{
	uint64_t *w = pm;

	for (unsigned i = 0; i < 64 * 8; i += 8)
		w[i] = 1;
	fence();
}
CRASHSIM_WORKLOAD(bad_wide, .about = "2^64 images", .bytes = 4096, .run = wide_run)

/* ---- flushes and fences that do nothing ------------------------------------------------------------- */

static void perf_run(void *pm)
{
	struct lines *l = pm;

	flush(&l->at[3]); /* clean */
	l->at[0].v = 1;
	flush(&l->at[0]);
	flush(&l->at[0]); /* twice */
	fence();
	fence(); /* empty */
	l->at[1].v = 1;
	flush(&l->at[1]);
	fence();
}
CRASHSIM_WORKLOAD(perf, .bytes = 512, .run = perf_run)

/* The second flush is no second one: it takes effect at once, the first at the fence. */
static void perf_not_run(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1;
	flush(&l->at[0]);
	crashsim_clflush(&l->at[0]);
	l->at[1].v = 1;
	fence();
}
CRASHSIM_WORKLOAD(perf_not, .bytes = 512, .run = perf_not_run)

/* ---- values that a column of a picture is too narrow for ---------------------------------------------- */

static void long_run(void *pm)
{
	uint64_t *w = pm;

	for (unsigned i = 0; i < 8; i++)
		w[i] = 0x1122334455667788u * (i + 1);
	w[8] = 1;
	flush(&w[8]);
	fence();
}
static void long_check(void *pm)
{
	uint64_t *w = pm;

	for (unsigned i = 0; w[8] && i < 8; i++) {
		if (!w[i])
			crashsim_fail(
				"the mark is there, and of the words that were stored before it one is "
				"not, which is number %u, and this sentence is longer than a picture",
				i);
	}
}
CRASHSIM_WORKLOAD(long_values, .bytes = 512, .run = long_run, .check = long_check)

/* ---- a recovery that keeps something from one start to the next ------------------------------------ */

static void once_run(void *pm)
{
	struct lines *l = pm;

	crashsim_begin(0);
	l->at[0].v = 1;
	l->at[1].v = 1;
	fence();
	crashsim_returned(0);
}
static int opened, opened_late;
static void once_recover(void *pm)
{
	if (!opened++ && uneven(pm))
		crashsim_fail("uneven");
}
/* Begins where the crash is that leaves one image only: no execution of its worker ever reads. */
static void early_recover(void *pm)
{
	if (!opened_late++)
		(void)uneven(pm);
}
static void early_run(void *pm)
{
	struct lines *l = pm;

	fence();
	l->at[0].v = 1;
	l->at[1].v = 1;
	fence();
}
CRASHSIM_WORKLOAD(once, .bytes = 512, .run = once_run, .recover = once_recover)
CRASHSIM_WORKLOAD(once_early, .bytes = 512, .run = early_run, .recover = early_recover)

/* ---- marks that are wrong -------------------------------------------------------------------------- */

static void store_1(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1;
	flush(&l->at[0].v);
	fence();
}
#define MARKS(ident, ...)                \
	static void ident##_run(void *pm) \
	{                                 \
		store_1(pm);              \
		__VA_ARGS__;              \
	}                                 \
	CRASHSIM_WORKLOAD(ident, .bytes = 512, .run = ident##_run, .check = word_check)
MARKS(bad_begin, crashsim_begin(1), crashsim_returned(1), crashsim_begin(1))
MARKS(bad_open, crashsim_begin(1), crashsim_begin(1))
MARKS(bad_return, crashsim_returned(1))
MARKS(bad_returns, crashsim_begin(1), crashsim_returned(1), crashsim_returned(1))
MARKS(bad_op, crashsim_begin(256))
MARKS(bad_op_returned, crashsim_returned(300))
MARKS(bad_more, crashsim_begin_again(1), crashsim_begin_again(1))
MARKS(bad_slot, crashsim_note(64, 1))
MARKS(marks_again, crashsim_begin(255), crashsim_returned(255), crashsim_note(63, 1), crashsim_again(),
      store_1(pm), crashsim_begin(255), crashsim_returned(255), crashsim_begin_again(255),
      crashsim_returned(255))
static void bad_state_check(void *pm)
{
	(void)pm;
	elsewhere = crashsim_state(256);
}
static void bad_noted_check(void *pm)
{
	(void)pm;
	elsewhere = crashsim_noted(64);
}
CRASHSIM_WORKLOAD(bad_state, .bytes = 512, .run = store_1, .check = bad_state_check)
CRASHSIM_WORKLOAD(bad_noted, .bytes = 512, .run = store_1, .check = bad_noted_check)

/* ---- more that recoveries do ------------------------------------------------------------------------ */

PAIR(kills, (void)kill(getpid(), SIGKILL))

/* Another order at every start. */
static void flip_check(void *pm)
{
	struct lines *l = pm;
	static unsigned n;
	unsigned first = n++ % 2;

	if (l->at[first].v != l->at[1 - first].v)
		elsewhere++;
}
CRASHSIM_WORKLOAD(flip, .bytes = 512, .run = pair_run, .check = flip_check)

static void unseen_word_run(void *pm)
{
	struct lines *l = pm;

	l->at[0].v = 1;
	unseen_store(&l->at[1].v);
	flush(&l->at[1].v);
	fence();
	unseen_store(&l->at[2].v);
}
CRASHSIM_WORKLOAD(unseen_word, .bytes = 512, .run = unseen_word_run, .check = flip_check)
