/* SPDX-License-Identifier: BSD-3-Clause */
/* story -- a failure's path taken again in a process of its own, and watched: every store, flush and
 * fence with its call stack, what became of each store at the crashes, and what recovery read.
 *
 * The process records the workload once more to have the stacks of run, then replays the path.  It
 * writes what it sees to a file in memory, record by record, so that nothing is lost when recovery
 * kills it.
 */
#include "story.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "hooks.h"
#include "symbol.h"

#define RECORDS_MAX 200000u /* more is not a story that anybody reads */

enum tag { REC_STACK, REC_PIECE, REC_EVENT, REC_CRASH, REC_DECIDED, REC_END };

struct rec {
	enum tag tag;
	unsigned phase;
	size_t index;
	union {
		struct event e;
		struct {
			uint32_t line;
			struct piece p;
			uint16_t lo, hi;
		} piece;
		struct {
			struct decision d;
			uint64_t value;
			uint16_t lo[GROUPS], hi[GROUPS];
		} decided;
		struct {
			char what[512];
			enum replayed how;
		} end;
	};
	unsigned n_stack;
	uint64_t stack[STORY_STACK];
};

/* ---- in the process that replays --------------------------------------------------------------- */

static struct {
	int fd;
	size_t records, events[PHASES_MAX + 2];
	bool over[PHASES_MAX + 2]; /* the crash of this phase has been */
	uint64_t announced_site;
	unsigned n_announced;
	uint64_t announced[STORY_STACK];
} out;

static void put(const struct rec *r)
{
	if (out.records++ < RECORDS_MAX || r->tag == REC_END)
		(void)!write(out.fd, r, sizeof(*r));
}

static unsigned stack_now(uint64_t *stack)
{
	void *frame[STORY_STACK + 8];
	int n = backtrace(frame, STORY_STACK + 8);
	unsigned kept = 0;

	for (int i = 0; i < n && kept < STORY_STACK; i++)
		stack[kept++] = (uint64_t)(uintptr_t)frame[i];
	return kept;
}

/* The hook of a plain store runs before it, its event comes after: the stack is that of the hook. */
static void on_announced(uint64_t site)
{
	out.announced_site = site;
	out.n_announced = stack_now(out.announced);
}

static void stack_of(const struct event *e, struct rec *r)
{
	if (e->kind == EV_STORE && e->site == out.announced_site) {
		r->n_stack = out.n_announced;
		memcpy(r->stack, out.announced, sizeof(r->stack));
	} else {
		r->n_stack = stack_now(r->stack);
	}
}

static void on_recorded(const struct event *e)
{
	struct rec r = { .tag = REC_STACK, .index = recording->n };

	stack_of(e, &r);
	put(&r);
}

static void on_level(void *ctx, unsigned phase, const struct image_set *set)
{
	(void)ctx;
	for (size_t i = 0; i < set->n; i++) {
		const struct line_set *l = set->set[i];

		for (uint32_t k = 0; k < l->n; k++) {
			unsigned g = l->piece[k].group;
			struct rec r = { .tag = REC_PIECE,
					 .phase = phase,
					 .piece = { l->line, l->piece[k], l->lo[g], l->hi[g] } };

			put(&r);
		}
	}
}

static void on_event(void *ctx, unsigned phase, const struct event *e)
{
	struct rec r = {
		.tag = REC_EVENT, .phase = phase + 1, .index = out.events[phase + 1]++, .e = *e
	};

	(void)ctx;
	if (out.over[phase + 1])
		return;
	stack_of(e, &r);
	put(&r);
}

static void on_read(void *ctx, unsigned phase, uint64_t off, size_t len)
{
	(void)ctx, (void)phase, (void)off, (void)len;
}

static void on_decided(void *ctx, unsigned phase, const struct decision *d, uint64_t value,
		       const uint16_t *lo, const uint16_t *hi)
{
	struct rec r = { .tag = REC_DECIDED,
			 .phase = phase + 1,
			 .index = out.events[phase + 1],
			 .decided = { .d = *d, .value = value } };

	(void)ctx;
	if (out.over[phase + 1])
		return;
	memcpy(r.decided.lo, lo, sizeof(r.decided.lo));
	memcpy(r.decided.hi, hi, sizeof(r.decided.hi));
	r.n_stack = stack_now(r.stack);
	put(&r);
}

static void on_crash(void *ctx, unsigned phase)
{
	struct rec r = { .tag = REC_CRASH, .phase = phase + 1, .index = out.events[phase + 1] - 1 };

	(void)ctx;
	out.over[phase + 1] = true;
	put(&r);
}

static _Noreturn void replay_apart(const struct story *s, const struct replay_by *by)
{
	static const struct observer watch = { .level = on_level,
					       .event = on_event,
					       .read = on_read,
					       .decided = on_decided,
					       .crash = on_crash };
	struct replay_by and_watch = *by;
	struct failure f = s->f;
	struct trace again;
	struct rec end = { .tag = REC_END };
	int null = open("/dev/null", O_RDWR);
	void *warm[2];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 3; i++)
		(void)dup2(null, i);
	(void)backtrace(warm, 2); /* it loads its unwinder when it is called first */
	worker_limits();
	hook_announced = on_announced;
	if (s->t->n <= RECORDS_MAX / 2) {
		hook_recorded = on_recorded;
		(void)record(s->w, &again);
		hook_recorded = NULL;
	}
	f.decision = must(calloc(DECISIONS_MAX, sizeof(*f.decision)));
	memcpy(f.decision, s->f.decision, s->f.n_decisions * sizeof(*f.decision));
	and_watch.observer = &watch;
	end.end.how = path_replay(s->w, s->t, &f, &and_watch);
	(void)snprintf(end.end.what, sizeof(end.end.what), "%s", f.what);
	put(&end);
	_exit(0);
}

/* ---- from the records ---------------------------------------------------------------------------- */

struct building {
	struct story *s;
	size_t room_live;
	size_t first[PHASES_MAX + 2]; /* index of the first event of a phase in s->event */
};

static struct happening *happen(struct story *s, unsigned phase, size_t index,
				const struct event *e)
{
	struct happening *h;

	if (s->n == s->room) {
		s->room = s->room ? 2 * s->room : 256;
		s->event = must(realloc(s->event, s->room * sizeof(*s->event)));
	}
	h = &s->event[s->n++];
	*h = (struct happening){ .phase = phase, .index = index, .e = *e };
	if (e->kind == EV_STORE || e->kind == EV_STREAM)
		h->fate = phase ? FATE_UNREAD : FATE_DURABLE;
	return h;
}

/* The events of run before the crash, with what each store replaced. */
static void run_events(struct story *s)
{
	unsigned char *now = must(malloc(s->t->bytes + 8));

	memcpy(now, s->t->first, s->t->bytes);
	for (size_t i = 0; i < s->f.crash_point && i < s->t->n; i++) {
		const struct event *e = &s->t->event[i];
		struct happening *h = happen(s, 0, i, e);

		if (e->kind == EV_AGAIN)
			memcpy(now, s->t->first, s->t->bytes);
		if (e->kind != EV_STORE && e->kind != EV_STREAM)
			continue;
		memcpy(&h->old, now + e->off, e->len);
		memcpy(now + e->off, &e->value, e->len);
	}
	free(now);
}

static void piece_seen(struct building *b, const struct rec *r)
{
	const struct piece *p = &r->piece.p;
	struct story *s = b->s;

	for (size_t i = 0; i < s->n_live; i++) {
		struct live *l = &s->live[i];

		if (l->line == r->piece.line && l->p.event == p->event && l->p.group == p->group &&
		    l->p.word == p->word) {
			l->lo = r->piece.lo;
			l->hi = r->piece.hi;
			return;
		}
	}
	if (s->n_live == b->room_live) {
		b->room_live = b->room_live ? 2 * b->room_live : 256;
		s->live = must(realloc(s->live, b->room_live * sizeof(*s->live)));
	}
	s->live[s->n_live++] = (struct live){ r->piece.line, *p, r->piece.lo, r->piece.hi };
}

static void decision_seen(struct building *b, const struct rec *r)
{
	struct story *s = b->s;
	struct reading *to;

	for (size_t i = 0; i < s->n_live; i++) {
		struct live *l = &s->live[i];

		if (l->line != r->decided.d.line)
			continue;
		l->lo = r->decided.lo[l->p.group];
		l->hi = r->decided.hi[l->p.group];
	}
	if (s->n_reads == s->room_reads) {
		s->room_reads = s->room_reads ? 2 * s->room_reads : 64;
		s->read = must(realloc(s->read, s->room_reads * sizeof(*s->read)));
	}
	to = &s->read[s->n_reads++];
	*to = (struct reading){ .phase = r->phase,
				.before = r->index,
				.d = r->decided.d,
				.value = r->decided.value,
				.n_stack = r->n_stack };
	memcpy(to->stack, r->stack, sizeof(to->stack));
}

static void fates(struct building *b)
{
	for (size_t i = 0; i < b->s->n_live; i++) {
		const struct live *l = &b->s->live[i];
		unsigned phase = l->p.group / PHASE_GROUPS;
		size_t at = b->first[phase] + l->p.event;
		enum fate fate = l->p.rank < l->lo    ? FATE_SURVIVED
				 : l->p.rank >= l->hi ? FATE_LOST
						      : FATE_UNREAD;
		struct happening *h = &b->s->event[at];

		if (at >= b->s->n || l->p.bits || h->phase != phase)
			continue;
		if (h->fate == FATE_DURABLE || h->fate == FATE_UNREAD || h->fate == fate)
			h->fate = fate;
		else if (fate != FATE_UNREAD)
			h->fate = FATE_TORN;
	}
}

static void one_record(struct building *b, const struct rec *r)
{
	struct story *s = b->s;
	struct happening *h;

	switch (r->tag) {
	case REC_STACK:
		if (r->index < s->n && r->index < s->f.crash_point) {
			s->event[r->index].n_stack = r->n_stack;
			memcpy(s->event[r->index].stack, r->stack, sizeof(r->stack));
		}
		break;
	case REC_PIECE:
		piece_seen(b, r);
		break;
	case REC_EVENT:
		if (!r->index)
			b->first[r->phase] = s->n;
		h = happen(s, r->phase, r->index, &r->e);
		h->n_stack = r->n_stack;
		memcpy(h->stack, r->stack, sizeof(r->stack));
		break;
	case REC_CRASH: /* before the event that came last */
		if (s->n && s->event[s->n - 1].phase == r->phase)
			s->n--;
		break;
	case REC_DECIDED:
		decision_seen(b, r);
		break;
	case REC_END:
		if (r->end.what[0]) /* else it did not come again here: as it was recorded */
			(void)snprintf(s->f.what, sizeof(s->f.what), "%s", r->end.what);
		s->how = r->end.how;
		break;
	}
}

/* The path in full, as it was taken now. */
static void decisions(struct story *s)
{
	struct failure *f = &s->f;

	if (s->mode == MODE_EAGER) /* the number of the image, and nothing is decided */
		return;
	f->decision = must(realloc(f->decision, (s->n_reads + 1) * sizeof(*f->decision)));
	f->n_decisions = 0;
	for (size_t i = 0; i < s->n_reads; i++) {
		if (s->read[i].d.options > 1)
			f->decision[f->n_decisions++] = s->read[i].d;
	}
	failure_id(f, trace_digest(s->t), f->id, sizeof(f->id));
}

static void build(struct story *s, int fd)
{
	struct building b = { .s = s };
	size_t bytes = (size_t)lseek(fd, 0, SEEK_END), n = bytes / sizeof(struct rec);
	const struct rec *r = n ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;

	run_events(s);
	for (size_t i = 0; r && i < n; i++)
		one_record(&b, &r[i]);
	s->cut = n >= RECORDS_MAX;
	fates(&b);
	if (r)
		(void)munmap((void *)(uintptr_t)r, bytes);
	decisions(s);
}

void story_take(struct story *s, const struct crashsim_workload *w, const struct trace *t,
		const struct failure *f, const uint16_t *(*guide)(void *ctx, uint32_t line),
		void *ctx)
{
	struct replay_by by = { NULL, guide, ctx };
	char what[sizeof(f->what)];
	pid_t pid;
	bool hangs;
	int status;

	*s = (struct story){ .w = w, .t = t, .f = *f, .mode = options.mode, .how = REPLAY_FAILS };
	s->f.decision = must(calloc(f->n_decisions + 1, sizeof(*f->decision)));
	memcpy(s->f.decision, f->decision, f->n_decisions * sizeof(*f->decision));
	memcpy(what, f->what, sizeof(what));
	out.fd = memfd_create("story", MFD_CLOEXEC);
	(void)must(out.fd < 0 ? NULL : &out);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		replay_apart(s, &by);
	if (pid < 0) {
		perror("crashsim: a process for a replay");
		exit(3);
	}
	status = worker_wait(pid, options.hang + 2 * record_took, &hangs); /* it records, too */
	files_made_anew();
	build(s, out.fd);
	if (status) {
		if (what[0])
			memcpy(s->f.what, what, sizeof(what));
		else if (hangs)
			worker_hangs(s->f.what, sizeof(s->f.what));
		else
			worker_died_of("", status, s->f.what, sizeof(s->f.what));
	}
	(void)close(out.fd);
}

void story_free(struct story *s)
{
	free(s->f.decision);
	free(s->event);
	free(s->read);
	free(s->live);
	*s = (struct story){ 0 };
}

unsigned story_frames(const uint64_t *stack, unsigned n_stack, uint64_t site,
		      const struct symbol **frame, unsigned n)
{
	const struct symbol *wrapper = NULL;
	unsigned kept = 0;

	for (unsigned i = 0; i < n_stack && kept < n; i++) {
		for (const struct symbol *s = symbol_of(stack[i]); s && kept < n;
		     s = s->inlined_in) {
			if (symbol_is_engine(s)) {
				if (kept || wrapper) /* who called the program is no part of it */
					i = n_stack - 1;
			} else if (!kept && symbol_is_wrapper(s)) {
				wrapper = s;
			} else {
				frame[kept++] = s;
			}
		}
	}
	if (!kept && wrapper)
		frame[kept++] = wrapper;
	if (!kept && site)
		frame[kept++] = symbol_caller(symbol_of(site));
	return kept;
}
