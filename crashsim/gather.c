/* SPDX-License-Identifier: BSD-3-Clause */
/* gather -- explore the crash points of a task and make a result of what the workers found. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work.h"

static void *share(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return must(p == MAP_FAILED ? NULL : p);
}

/* ---- what recovery leaves behind ------------------------------------------------------------------ */

#define FRESH_POINTS 16u

static bool stop_after_first(void *ctx)
{
	return ((const struct point_result *)ctx)->executions > 0;
}

static bool failed_once(void *ctx, const struct failure *f)
{
	(void)ctx, (void)f;
	return false;
}

/* The first execution at a point, in a process of its own that has seen no other. */
static bool fresh_first(const struct work *work, struct model *m, size_t index,
			struct point_result *result)
{
	const struct task *t = work->task;
	struct watched *w = &work->sh->worker[0];
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
			      .now = &w->now,
			      .failed = failed_once,
			      .ctx = result,
			      .stop = stop_after_first };
	struct image_set *set = model_images(m);
	int status, null;
	pid_t pid;

	memset(result, 0, sizeof(*result));
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			(void)dup2(null, fd);
		worker_limits();
		(void)alarm((unsigned)options.hang + 1);
		w->now.decision = w->decision;
		ops_at(t->t, x.crash_point, op, note);
		explore(&x, set, result);
		_exit(0);
	}
	image_set_free(set);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && result->executions == 1;
}

/* Workers run one recovery after the other.  One that does nothing, or less, where its program has
 * recovered before (`if (open) return;`) passes on images that it never looks at: so some points are
 * begun again where none has run, and the first execution has to be the same. */
static void compare_fresh(struct work *work)
{
	const struct task *t = work->task;
	size_t n = t->n_points < FRESH_POINTS ? t->n_points : FRESH_POINTS;
	struct point_result *fresh;
	struct model *m;

	if (!t->fresh || !n || work->n_found || work->n_fatal || work->broken ||
	    options.mode == MODE_RERUN)
		return;
	fresh = share(sizeof(*fresh));
	m = model_new(t->t);
	for (size_t i = 0; i < n && !work->n_found; i++) {
		size_t index = n == 1 ? 0 : i * (t->n_points - 1) / (n - 1);
		struct point_result *p = &work->result[index];
		struct failure f = { .crash_point = t->point[index], .phases = 1 };

		if (t->deadline > 0 && now_s() > t->deadline)
			break;
		model_to(m, t->point[index]);
		if (!p->done || !fresh_first(work, m, index, fresh) ||
		    !memcmp(&p->first, &fresh->first, sizeof(p->first)))
			continue;
		f.crash_in[0] = f.crash_point;
		(void)snprintf(f.what, sizeof(f.what), "%s",
			       READS_OTHERWISE
			       " in another process: it keeps something from one start "
			       "to the next (--mode rerun gives each a process)");
		found_add(work, index, &f, &(struct decision){ 0 });
		p->n_failures++;
	}
	model_free(m);
	(void)munmap(fresh, sizeof(*fresh));
}

/* ---- the result ---------------------------------------------------------------------------------- */

/* A recovery that is not deterministic comes to one path twice: it is one failure. */
static void ids_once(struct result *r)
{
	size_t kept = 0, p = 0;

	for (size_t i = 0; i < r->n_failures; i++) {
		size_t k = kept;

		while (k > 0 && r->failure[k - 1].crash_point == r->failure[i].crash_point &&
		       strcmp(r->failure[k - 1].id, r->failure[i].id) != 0)
			k--;
		if (!k || r->failure[k - 1].crash_point != r->failure[i].crash_point) {
			r->failure[kept++] = r->failure[i];
			continue;
		}
		while (r->point[p].event != r->failure[i].crash_point)
			p++;
		r->point[p].r.n_failures--;
		free(r->failure[i].decision);
	}
	r->n_failures = kept;
}

static void gather(struct work *work, struct result *r)
{
	const struct task *t = work->task;

	r->exhaustive = true;
	r->broken = work->broken;
	r->point = must(calloc(t->n_points + 1, sizeof(*r->point)));
	for (size_t i = 0; i < t->n_points; i++) {
		const struct point_result *p = &work->result[i];

		r->exhaustive = r->exhaustive && p->done && !p->cut;
		if (p->done)
			r->point[r->n_points++] =
				(struct point){ t->point[i], t->ordinal ? t->ordinal[i] : i, *p };
	}
	r->failure = must(calloc(work->n_found + 1, sizeof(*r->failure)));
	for (size_t i = 0; i < work->n_found; i++) {
		if (work->result[work->found[i].index].done)
			r->failure[r->n_failures++] = work->found[i].f;
		else
			free(work->found[i].f.decision);
	}
	result_sort(r);
	for (size_t i = 0; i < r->n_failures; i++)
		failure_id(&r->failure[i], r->trace_digest, r->failure[i].id,
			   sizeof(r->failure[i].id));
	ids_once(r);
	result_cut(r, t->max_failures);
	result_sum(r);
}

void explore_points(const struct task *t, struct result *r)
{
	struct work *work = must(calloc(1, sizeof(*work)));

	work->task = t;
	work->jobs = t->jobs ? t->jobs : 1;
	if (work->jobs > JOBS_MAX)
		work->jobs = JOBS_MAX;
	if (work->jobs > t->n_points)
		work->jobs = (unsigned)t->n_points;
	work->sh = share(sizeof(*work->sh));
	work->result = share((t->n_points + 1) * sizeof(*work->result));
	r->trace_digest = trace_digest(t->t);
	watch(work);
	compare_fresh(work);
	gather(work, r);
	r->printed = work->printed;
	(void)snprintf(r->first_printed, sizeof(r->first_printed), "%s", work->first_printed);
	(void)munmap(work->result, (t->n_points + 1) * sizeof(*work->result));
	(void)munmap(work->sh, sizeof(*work->sh));
	free(work->found);
	free(work->fatal);
	free(work);
}
