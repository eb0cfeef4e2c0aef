/* SPDX-License-Identifier: BSD-3-Clause */
/* run -- crashsim run: record, explore, tell. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "findings.h"
#include "recording.h"
#include "report.h"
#include "story.h"

/* ---- progress on a terminal ------------------------------------------------------------------------ */

static double started, shown;

void progress_end(void)
{
	if (shown > 0)
		fputs("\r\033[K", stderr);
	shown = 0;
	started = 0;
}

void tell_progress_of(void *ctx, const struct progress *p)
{
	double now = now_s(), took;

	if (wishes.quiet || !isatty(2))
		return;
	if (started <= 0)
		started = now - 0.25;
	took = now - started;
	if (took < 1)
		return;
	shown = now;
	(void)fprintf(stderr, "\r\033[K%s: %zu of %zu crash points, %.0f executions/s",
		      (const char *)ctx, p->done, p->total, (double)p->executions / took);
	if (p->failures)
		(void)fprintf(stderr, ", %llu failures", (unsigned long long)p->failures);
	if (p->done && p->done < p->total)
		(void)fprintf(stderr, ", %.0f s left",
			      took / (double)p->done * (double)(p->total - p->done));
	(void)fflush(stderr);
}

/* ---- one workload ---------------------------------------------------------------------------------- */

static void show_failures(const struct crashsim_workload *w, const struct trace *t,
			  const struct result *r)
{
	struct told told = { .n = 0 };

	for (size_t i = 0; i < r->n_failures; i++) {
		const struct failure *f = &r->failure[i];

		if (!wishes.out && (wishes.json || i >= SHOWN_IN_FULL)) {
			if (!wishes.json && !story_told(&told, f))
				(void)printf("  %s\n      replay %s:%s\n", f->what, w->name, f->id);
			continue;
		}
		story_tell(w, t, f, i, &told);
	}
	if (told.same)
		(void)printf("  %zu more failure%s, made small, came to one that is told above\n",
			     told.same, told.same == 1 ? "" : "s");
}

static void take_warnings(struct result *r)
{
	const char *s;

	r->warning = must(calloc(WARNINGS, sizeof(*r->warning)));
	while (r->n_warnings < WARNINGS && (s = recording_warning(r->n_warnings)) != NULL)
		r->warning[r->n_warnings++] = s;
}

static void tell(const struct crashsim_workload *w, const struct trace *t, const struct result *r)
{
	if (wishes.json)
		result_json(stdout, r, options.shards > 1);
	else if (!wishes.quiet || r->n_failures || r->broken)
		result_text(stdout, r);
	else if (!r->exhaustive)
		result_cut_text(stdout, r);
	show_failures(w, t, r);
	(void)fflush(stdout);
}

static void warn_printed(const struct crashsim_workload *w, const struct result *r)
{
	char text[WARNING_BYTES];

	(void)snprintf(text, sizeof(text),
		       "recovery printed %llu bytes, which are not shown (replay shows them); the "
		       "first line: %s",
		       (unsigned long long)r->printed, r->first_printed);
	recording_warn(w, text);
}

static int run_one(const struct crashsim_workload *w, double deadline)
{
	struct watcher by = { deadline, tell_progress_of, (void *)(uintptr_t)w->name };
	struct trace t;
	struct result r;
	int rc = record_or_say(w, &t);

	if (rc)
		return rc;
	if (options.mode == MODE_EAGER && images_too_many(w, &t)) {
		trace_free(&t);
		return EXIT_NOT_RUN;
	}
	run_workload(w, &t, &by, &r);
	progress_end();
	if ((w->recover || w->check) && !r.reads && r.executions)
		recording_warn(
			w,
			"recovery and check read nothing of the buffer that is seen: is their source "
			"compiled by crashsim-cc?");
	if (r.printed)
		warn_printed(w, &r);
	take_warnings(&r);
	if (options.perf)
		findings(w, &t, &r);
	rc = r.broken        ? EXIT_NOT_RUN
	     : r.n_failures  ? EXIT_FAILURES
	     : !r.exhaustive ? EXIT_NOT_RUN
			     : EXIT_FINE;
	if (rc || wishes.json ||
	    options.schedules < 2) /* many schedules: one line for those that pass */
		tell(w, &t, &r);
	free(r.warning);
	free(r.perf);
	result_free(&r);
	trace_free(&t);
	return rc;
}

/* As many schedules of its threads as are wanted, up to the first that fails. */
static int run_schedules(const struct crashsim_workload *w, double deadline)
{
	uint64_t first = options.seed;
	unsigned n = options.schedules ? options.schedules : 1;
	int rc = EXIT_FINE;

	for (unsigned i = 0; i < n && rc == EXIT_FINE; i++) {
		options.seed = first + i;
		rc = run_one(w, deadline);
	}
	if (n > 1 && !wishes.json && rc == EXIT_FINE && !wishes.quiet)
		(void)printf("%s: no failure in %u schedules, seeds %llu to %llu\n", w->name, n,
			     (unsigned long long)first, (unsigned long long)options.seed);
	else if (n > 1 && !wishes.json && rc == EXIT_FAILURES)
		(void)printf("%s: the schedule is that of --seed %llu\n", w->name,
			     (unsigned long long)options.seed);
	options.seed = first;
	return rc;
}

/* ---- the command ----------------------------------------------------------------------------------- */

/* Its crashsim_main() writes a byte to the pipe that the variable names: so it is known that there is one. */
static int program_start(const char *program, char **argv)
{
	int answer[2], status;
	char number[20], byte;
	ssize_t answered;
	pid_t pid;

	if (pipe(answer)) {
		perror("crashsim: a pipe for a program");
		return EXIT_NOT_RUN;
	}
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		(void)close(answer[0]);
		(void)snprintf(number, sizeof(number), "%d", answer[1]);
		(void)setenv(COMMAND_ANSWER, number, 1);
		(void)execv(program, argv);
		(void)fprintf(stderr, "crashsim: cannot run %s: %s\n", program, strerror(errno));
		(void)!write(answer[1], "x", 1);
		_exit(EXIT_NOT_RUN);
	}
	(void)close(answer[1]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		perror("crashsim: a process for a program");
		return EXIT_NOT_RUN;
	}
	(void)fcntl(answer[0], F_SETFL, O_NONBLOCK); /* it may have left a process behind */
	answered = read(answer[0], &byte, 1);
	(void)close(answer[0]);
	if (answered != 1) {
		(void)fprintf(
			stderr,
			"crashsim: %s: nothing was explored: it never called crashsim_main().  Is it "
			"built by crashsim-cc, and does a main of its own end by `return "
			"crashsim_main(argc, argv)`?\n",
			program);
		return EXIT_NOT_RUN;
	}
	if (WIFSIGNALED(status)) {
		(void)fprintf(stderr, "crashsim: %s was killed by SIG%s\n", program,
			      sigabbrev_np(WTERMSIG(status)));
		return EXIT_NOT_RUN;
	}
	return WEXITSTATUS(status);
}

/* A program of the user's with workloads of its own: the same command line, without its name. */
static int run_program(int argc, char **argv, const char *program)
{
	char **to = must(calloc((size_t)argc + 2, sizeof(*to)));
	static char run[] = "run";
	bool named = false;
	int n = 0, rc;

	if (access(program, X_OK)) {
		(void)fprintf(stderr, "crashsim: cannot run %s: %s\n", program, strerror(errno));
		return EXIT_NOT_RUN;
	}
	to[n++] = (char *)(uintptr_t)program;
	to[n++] = run;
	for (int i = 1; i < argc; i++) {
		if (!named && !strcmp(argv[i], program))
			named = true;
		else
			to[n++] = argv[i];
	}
	rc = program_start(program, to);
	free(to);
	return rc;
}

static int worse(int a, int b)
{
	if (a == EXIT_NOT_RUN || b == EXIT_NOT_RUN)
		return EXIT_NOT_RUN;
	return a > b ? a : b;
}

int command_run(int argc, char **argv)
{
	const struct crashsim_workload *const *list;
	char **line = must(calloc((size_t)argc + 1, sizeof(*line)));
	size_t n = workloads(&list);
	double deadline;
	int operands, rc = EXIT_FINE;

	memcpy(line, argv, (size_t)argc * sizeof(*line));
	operands = options_parse("run", argc, argv);
	if (operands < 0)
		return EXIT_USAGE;
	if (operands && strchr(argv[1], '/'))
		return run_program(argc, line, argv[1]);
	free(line);
	if (wishes.out && mkdir(wishes.out, 0777) && errno != EEXIST) {
		(void)fprintf(stderr, "crashsim: --out %s: %s\n", wishes.out, strerror(errno));
		return EXIT_NOT_RUN;
	}
	if (!n) {
		fputs("crashsim: no workload: the program has no CRASHSIM_WORKLOAD\n", stderr);
		return EXIT_NOT_RUN;
	}
	deadline = options.time_limit > 0 ? now_s() + options.time_limit : 0;
	for (int i = 1; i <= operands; i++) {
		if (!workload_named(argv[i]))
			return EXIT_USAGE;
	}
	for (int i = 1; i <= operands; i++)
		rc = worse(rc, run_schedules(workload_find(argv[i]), deadline));
	for (size_t i = 0; i < n && !operands; i++)
		rc = worse(rc, run_schedules(list[i], deadline));
	if (fflush(stdout) || ferror(stdout)) {
		perror("crashsim: output");
		rc = EXIT_NOT_RUN;
	}
	return rc;
}
