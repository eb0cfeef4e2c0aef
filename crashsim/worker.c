/* SPDX-License-Identifier: BSD-3-Clause */
/* worker -- crash points explored by worker processes.
 *
 * Each point is explored by one worker and by itself, so that what comes out depends neither on how
 * many there are nor on how points are divided among shards.  A failure goes to the watching process
 * through a pipe.  A recovery that kills its worker (a signal, an exit, a hang) has left its
 * decisions in shared memory: it is reported, and another worker takes the same point again and
 * leaves that path out.
 *
 * LIMITS	max_failures failures end a point; the result ends with the first point, in order, up to
 *		which there are max_failures of them.  So a limit cuts at the same place in every run.
 */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct watched *me; /* in a worker */
static int me_failures;
static struct shared *me_shared;
static double me_deadline;
static unsigned me_limit;

double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- inside a worker ----------------------------------------------------------------------------- */

static void send_all(const void *data, size_t bytes)
{
	const unsigned char *p = data;

	while (bytes) {
		ssize_t n = write(me_failures, p, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(3); /* nobody watches any more */
		p += n;
		bytes -= (size_t)n;
	}
}

/* A failure on its way: its size, the point's index, the failure, its decisions. */
struct message {
	size_t bytes, index;
	struct failure f;
	struct decision decision[];
};

static bool on_failure(void *ctx, const struct failure *f)
{
	struct point_result *r = ctx;
	struct message m = { .bytes = sizeof(m) + f->n_decisions * sizeof(*f->decision),
			     .index = atomic_load(&me->point),
			     .f = *f };

	r->n_failures++;
	send_all(&m, sizeof(m));
	send_all(f->decision, f->n_decisions * sizeof(*f->decision));
	return r->n_failures < me_limit;
}

static bool on_stop(void *ctx)
{
	static unsigned calls;

	(void)ctx;
	if (atomic_load_explicit(&me_shared->stop, memory_order_relaxed))
		return true;
	return me_deadline > 0 && calls++ % 64 == 0 && now_s() > me_deadline;
}

static void on_exit_call(void)
{
	if (me && !me->why[0] && out_of_memory && stage != STAGE_RECOVER)
		(void)snprintf(me->why, sizeof(me->why),
			       "out of memory, of which --memory is %zu MiB: %.100s",
			       options.memory >> 20, out_of_memory_for);
	if (stage == STAGE_RECOVER && me && !me->why[0])
		(void)snprintf(me->why, sizeof(me->why), "%s",
			       out_of_memory ? "recovery allocates without bound: out of memory"
					     : "recovery called exit()");
}

void worker_died_of(const char *why, int status, char *what, size_t size)
{
	if (why[0])
		(void)snprintf(what, size, "%s", why);
	else if (WIFSIGNALED(status))
		(void)snprintf(what, size, "recovery was killed by SIG%s: %s",
			       sigabbrev_np(WTERMSIG(status)), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(what, size, "recovery ended the process, status %d",
			       WEXITSTATUS(status));
}

void worker_hangs(char *what, size_t size)
{
	(void)snprintf(what, size, "recovery hangs: it was killed after %g seconds", options.hang);
}

int worker_wait(pid_t pid, double seconds, bool *hangs)
{
	double until = now_s() + seconds;
	int status = 0;
	pid_t ended;

	*hangs = false;
	while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
		if (now_s() > until) {
			*hangs = true;
			(void)kill(pid, SIGKILL);
		}
		(void)usleep(500);
	}
	if (ended < 0) {
		perror("crashsim: a process for a replay");
		exit(3);
	}
	*hangs = *hangs && WIFSIGNALED(status);
	return status;
}

static void on_died(void *ctx, int status, char *what, size_t size)
{
	(void)ctx;
	worker_died_of(me->why, status, what, size);
	me->why[0] = 0;
}

static void work_on(const struct work *work, struct model *m, size_t index)
{
	const struct task *t = work->task;
	struct point_result *result = &work->result[index];
	struct killer *killer = must(calloc(work->n_fatal + 1, sizeof(*killer)));
	unsigned char op[256];
	uint64_t note[64];
	struct explorer x = { .workload = t->w,
			      .buf = region_base,
			      .bytes = t->t->bytes,
			      .model = m,
			      .crash_point = t->point[index],
			      .depth = depth_of(t->w),
			      .op = op,
			      .note = note,
			      .patch = t->patch,
			      .killer = killer,
			      .now = &me->now,
			      .failed = on_failure,
			      .ctx = result,
			      .beat = &me->beat,
			      .stop = on_stop,
			      .died = on_died };
	struct image_set *set;

	ops_at(t->t, x.crash_point, op, note);
	for (size_t i = 0; i < work->n_fatal; i++) {
		if (work->fatal[i].index == index)
			killer[x.n_killers++] = work->fatal[i].killer;
	}
	memset(result, 0, sizeof(*result));
	me->now.path = 0;
	atomic_store(&me->point, index);
	model_to(m, x.crash_point);
	set = model_images(m);
	if (t->prepare)
		t->prepare(t->ctx, set);
	explore(&x, set, result);
	image_set_free(set);
	free(killer);
	atomic_store(&me->point, NO_POINT);
}

void worker_limits(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	struct rlimit none = { 0, 0 }, limit;

	if (f && fscanf(f, "%lu", &pages) == 1) {
		limit.rlim_cur = limit.rlim_max = pages * 4096 + options.memory;
		(void)setrlimit(RLIMIT_AS, &limit);
	}
	if (f)
		(void)fclose(f);
	(void)setrlimit(RLIMIT_CORE, &none);
}

/* One worker: the point `first` again, if any, then whatever is next. */
static _Noreturn void worker(struct work *work, unsigned number, size_t first, int failures,
			     int output)
{
	struct model *m = model_new(work->task->t);
	int null = open("/dev/null", O_RDONLY);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	me = &work->sh->worker[number];
	me->now.decision = me->decision;
	me->why[0] = 0;
	me_failures = failures;
	me_shared = work->sh;
	me_deadline = work->task->deadline;
	me_limit = work->task->max_failures;
	(void)dup2(null, 0);
	(void)dup2(output, 1);
	(void)dup2(output, 2);
	worker_limits();
	(void)atexit(on_exit_call);
	for (;;) {
		size_t index = first != NO_POINT ? first : atomic_fetch_add(&work->sh->next, 1);

		first = NO_POINT;
		if (index >= work->task->n_points || atomic_load(&work->sh->stop) ||
		    (me_deadline > 0 && now_s() > me_deadline))
			break;
		work_on(work, m, index);
	}
	me = NULL;
	(void)fflush(NULL);
	_exit(0);
}

/* ---- the watcher --------------------------------------------------------------------------------- */

static void start(struct work *work, unsigned number, size_t first)
{
	struct job *j = &work->job[number];
	int failures[2], output[2];

	if (pipe2(failures, O_CLOEXEC) || pipe2(output, O_CLOEXEC)) {
		perror("crashsim: a pipe for a worker");
		exit(3);
	}
	(void)fflush(NULL);
	atomic_store(&work->sh->worker[number].point, NO_POINT);
	*j = (struct job){ .failures = failures[0], .output = output[0], .since = now_s() };
	j->pid = fork();
	if (j->pid == 0)
		worker(work, number, first, failures[1], output[1]);
	if (j->pid < 0) {
		perror("crashsim: a worker");
		exit(3);
	}
	(void)close(failures[1]);
	(void)close(output[1]);
	(void)fcntl(j->failures, F_SETFL, O_NONBLOCK);
	(void)fcntl(j->output, F_SETFL, O_NONBLOCK);
}

void found_add(struct work *work, size_t index, const struct failure *f, const struct decision *d)
{
	struct found *to;

	if (work->n_found == work->room_found) {
		work->room_found = work->room_found ? 2 * work->room_found : 16;
		work->found = must(realloc(work->found, work->room_found * sizeof(*work->found)));
	}
	to = &work->found[work->n_found++];
	to->index = index;
	to->f = *f;
	to->f.decision = must(malloc((f->n_decisions + 1) * sizeof(*d)));
	memcpy(to->f.decision, d, f->n_decisions * sizeof(*d));
}

static void found_forget(struct work *work, size_t index)
{
	size_t kept = 0;

	for (size_t i = 0; i < work->n_found; i++) {
		if (work->found[i].index == index)
			free(work->found[i].f.decision);
		else
			work->found[kept++] = work->found[i];
	}
	work->n_found = kept;
}

/* Failures that have arrived. */
static void receive(struct work *work, struct job *j)
{
	size_t room = sizeof(struct message) + DECISIONS_MAX * sizeof(struct decision);
	ssize_t n;

	if (!j->message)
		j->message = must(malloc(room));
	while ((n = read(j->failures, j->message + j->have, room - j->have)) > 0) {
		const struct message *m = (const void *)j->message;

		j->have += (size_t)n;
		while (j->have >= sizeof(*m) && j->have >= m->bytes) {
			size_t bytes = m->bytes;

			found_add(work, m->index, &m->f, m->decision);
			memmove(j->message, j->message + bytes, j->have - bytes);
			j->have -= bytes;
		}
	}
}

/* What recovery prints is counted, and its beginning kept. */
static void drain_output(struct work *work, struct job *j)
{
	char text[4096];
	ssize_t n;

	while ((n = read(j->output, text, sizeof(text))) > 0) {
		if (!work->printed)
			(void)snprintf(work->first_printed, sizeof(work->first_printed), "%.*s",
				       (int)strcspn(text, "\n") < (int)n ? (int)strcspn(text, "\n")
									 : (int)n,
				       text);
		work->printed += (uint64_t)n;
	}
}

static void finish(struct work *work, struct job *j)
{
	receive(work, j);
	drain_output(work, j);
	free(j->message);
	(void)close(j->failures);
	(void)close(j->output);
	j->message = NULL;
	j->pid = 0;
}

/* A worker has died in an execution: what of, and where. */
static bool dead(struct work *work, unsigned number, int status, const struct rusage *used)
{
	struct watched *w = &work->sh->worker[number];
	size_t index = atomic_load(&w->point);
	struct fatal *fatal;

	if (index == NO_POINT || !w->now.path) { /* no execution had begun */
		char what[200];

		worker_died_of(w->why, status, what, sizeof(what));
		(void)fprintf(stderr, "crashsim: a worker died outside recovery: %s\n", what);
		work->broken = true;
		return false;
	}
	found_forget(work, index);
	work->fatal = must(realloc(work->fatal, (work->n_fatal + 1) * sizeof(*work->fatal)));
	fatal = &work->fatal[work->n_fatal++];
	fatal->index = index;
	fatal->killer.path = w->now.path;
	if (work->job[number].hangs && !w->why[0])
		worker_hangs(fatal->killer.what, sizeof(fatal->killer.what));
	else
		worker_died_of(w->why, status, fatal->killer.what, sizeof(fatal->killer.what));
	if ((size_t)used->ru_maxrss * 1024 > options.memory / 4 * 3 && !w->why[0])
		(void)snprintf(fatal->killer.what, sizeof(fatal->killer.what),
			       "recovery allocates without bound: it died when it had %zu MiB",
			       options.memory >> 20);
	return true;
}

/* Up to the first point in order where the limit of failures is reached: how many; n: not reached. */
static size_t points_that_count(const struct work *work, bool *reached)
{
	size_t failures = 0, i = 0;

	*reached = false;
	for (; i < work->task->n_points && work->result[i].done; i++) {
		failures += work->result[i].n_failures;
		if (failures >= work->task->max_failures) {
			*reached = true;
			return i + 1;
		}
	}
	return work->task->n_points;
}

static void tell_progress(const struct work *work)
{
	struct progress p = { .total = work->task->n_points, .all = work->task->n_points };

	if (!work->task->progress)
		return;
	for (size_t i = 0; i < p.total; i++) {
		p.done += work->result[i].done;
		p.executions += work->result[i].executions;
		p.failures += work->result[i].n_failures;
	}
	work->task->progress(work->task->ctx, &p);
}

static void look_after(struct work *work, unsigned i)
{
	struct job *j = &work->job[i];
	struct watched *w = &work->sh->worker[i];
	uint64_t beat = atomic_load(&w->beat);

	receive(work, j);
	drain_output(work, j);
	if (beat != j->beat || atomic_load(&w->point) == NO_POINT) {
		j->beat = beat;
		j->since = now_s();
	} else if (now_s() - j->since > options.hang) {
		j->hangs = true;
		(void)kill(j->pid, SIGKILL);
	}
}

/* The worker's end, or nothing yet. */
static bool ended(struct work *work, unsigned i)
{
	struct job *j = &work->job[i];
	struct rusage used;
	size_t index;
	int status;

	if (wait4(j->pid, &status, WNOHANG, &used) != j->pid)
		return false;
	finish(work, j);
	index = atomic_load(&work->sh->worker[i].point);
	if ((status == 0 && index == NO_POINT) || !dead(work, i, status, &used) ||
	    atomic_load(&work->sh->stop))
		return true;
	start(work, i, index);
	return false;
}

void watch(struct work *work)
{
	unsigned alive = work->jobs;
	double told = now_s(), looked = 0;
	struct pollfd fd[2 * JOBS_MAX];

	for (unsigned i = 0; i < work->jobs; i++)
		start(work, i, NO_POINT);
	while (alive) {
		bool reached;
		nfds_t n = 0;

		for (unsigned i = 0; i < work->jobs; i++) {
			if (!work->job[i].pid)
				continue;
			fd[n++] = (struct pollfd){ .fd = work->job[i].failures, .events = POLLIN };
			fd[n++] = (struct pollfd){ .fd = work->job[i].output, .events = POLLIN };
		}
		(void)poll(fd, n, 20);
		for (unsigned i = 0; i < work->jobs; i++) {
			if (!work->job[i].pid)
				continue;
			look_after(work, i);
			alive -= ended(work, i);
		}
		if (now_s() - looked > 0.02) {
			(void)points_that_count(work, &reached);
			if (reached)
				atomic_store(&work->sh->stop, true);
			looked = now_s();
		}
		if (now_s() - told > 0.25) {
			tell_progress(work);
			told = now_s();
		}
	}
}
