/* SPDX-License-Identifier: BSD-3-Clause */
/* replay -- crashsim replay, crashsim shrink, and the reports of failures. */
#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cause.h"
#include "report.h"
#include "symbol.h"

#define CAUSE_SECONDS 10.0 /* of `run`, for one failure */

/* ---- reports --------------------------------------------------------------------------------------- */

static void report_file(const struct story *s, const struct cause *c, size_t number,
			const char *type,
			void (*write_it)(FILE *, const struct story *, const struct cause *))
{
	char path[4200];
	FILE *to;

	(void)snprintf(path, sizeof(path), "%s/%s-%zu.%s", wishes.out, s->w->name, number, type);
	to = fopen(path, "w");
	if (to)
		write_it(to, s, c);
	if (!to || ferror(to) || fclose(to)) {
		(void)fprintf(stderr, "crashsim: %s: %s\n", path, strerror(errno));
		exit(EXIT_NOT_RUN);
	}
}

static void report_files(const struct story *s, const struct cause *c, size_t number)
{
	report_file(s, c, number, "txt", story_text);
	report_file(s, c, number, "json", story_json);
	report_file(s, c, number, "svg", story_svg);
}

bool story_told(struct told *told, const struct failure *f)
{
	for (unsigned i = 0; i < told->n; i++) {
		if (!strcmp(told->id[i], f->id)) {
			told->same++;
			return true;
		}
	}
	if (told->n < SHOWN_IN_FULL)
		(void)snprintf(told->id[told->n++], sizeof(told->id[0]), "%s", f->id);
	return false;
}

static void tell(const struct story *s, const struct cause *c, size_t number)
{
	if (wishes.out)
		report_files(s, c, number);
	if (wishes.out && !wishes.json)
		(void)printf("  %s\n    %s/%s-%zu.txt, .json, .svg\n", s->f.what, wishes.out,
			     s->w->name, number);
	else if (!wishes.json)
		story_text(stdout, s, c);
}

void story_tell(const struct crashsim_workload *w, const struct trace *t, const struct failure *f,
		size_t number, struct told *told)
{
	struct story s;
	struct cause c;

	story_take(&s, w, t, f, NULL, NULL);
	cause_find(&s, &c, CAUSE_SECONDS);
	if (wishes.out || !story_told(told, &s.f))
		tell(&s, &c, number);
	story_free(&s);
}

/* ---- the commands ---------------------------------------------------------------------------------- */

struct named { /* WORKLOAD:ID */
	const struct crashsim_workload *w;
	struct trace t;
	struct failure f;
};

static int take_operand(const char *command, int argc, char **argv, struct named *n)
{
	int operands = options_parse(command, argc, argv), rc;
	char *colon;
	const char *wrong;

	if (operands < 0)
		return EXIT_USAGE;
	colon = operands == 1 ? strchr(argv[1], ':') : NULL;
	if (!colon) {
		(void)fprintf(
			stderr,
			"crashsim: %s: found %s%s%s, expected one WORKLOAD:ID, as `run` prints it\n",
			command, operands ? "'" : "", operands ? argv[1] : "nothing",
			operands ? "'" : "");
		return EXIT_USAGE;
	}
	*colon = 0;
	n->w = workload_named(argv[1]);
	if (!n->w)
		return EXIT_USAGE;
	rc = record_or_say(n->w, &n->t);
	if (rc)
		return rc;
	wrong = failure_parse(colon + 1, &n->t, &n->f);
	if (wrong) {
		(void)fprintf(stderr, "crashsim: unknown id '%s' of workload '%s': %s\n", colon + 1,
			      n->w->name, wrong);
		return EXIT_USAGE;
	}
	return EXIT_FINE;
}

static int misfit(const struct named *n)
{
	(void)fprintf(
		stderr,
		"crashsim: id '%s' of workload '%s' does not fit: recovery does not read what it decides, or "
		"does not come to its crash\n",
		n->f.id, n->w->name);
	return EXIT_USAGE;
}

bool debugged(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	int tracer = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	}
	if (f)
		(void)fclose(f);
	return tracer != 0;
}

/* The path itself, in this process: breakpoints hold, what recovery prints is seen. */
static int replay_here(struct named *n)
{
	enum replayed how;

	how = path_replay(n->w, &n->t, &n->f, NULL);
	(void)fflush(stdout);
	if (how == REPLAY_MISFIT)
		return misfit(n);
	(void)printf("%s:%s: %s\n", n->w->name, n->f.id,
		     how == REPLAY_FAILS ? n->f.what : "recovery passes");
	return how == REPLAY_FAILS ? EXIT_FAILURES : EXIT_FINE;
}

/* A child, so that a recovery that kills its process does not keep us from telling about it. */
static int replay_in_child(struct named *n)
{
	char what[600];
	bool hangs;
	int status;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int rc = replay_here(n);

		(void)fflush(NULL);
		_exit(100 + rc);
	}
	if (pid < 0) {
		perror("crashsim: a process for the replay");
		return EXIT_NOT_RUN;
	}
	status = worker_wait(pid, options.hang, &hangs);
	if (WIFEXITED(status) && WEXITSTATUS(status) >= 100)
		return WEXITSTATUS(status) - 100;
	if (hangs)
		worker_hangs(what, sizeof(what));
	else
		worker_died_of("", status, what, sizeof(what));
	(void)printf("%s:%s: %s\n", n->w->name, n->f.id, what);
	return EXIT_FAILURES;
}

int command_replay(int argc, char **argv)
{
	struct named n;
	struct story s;
	struct cause none = { .fence_at = SIZE_MAX, .after_at = SIZE_MAX, .return_at = SIZE_MAX };
	int rc = take_operand("replay", argc, argv, &n);

	if (rc)
		return rc;
	if (debugged())
		return replay_here(&n);
	rc = replay_in_child(&n);
	if (rc != EXIT_FAILURES)
		return rc;
	story_take(&s, n.w, &n.t, &n.f, NULL, NULL);
	if (wishes.json)
		story_json(stdout, &s, &none);
	tell(&s, &none, 0);
	story_free(&s);
	return rc;
}

int command_shrink(int argc, char **argv)
{
	struct named n;
	struct story s;
	struct cause c;
	int rc = take_operand("shrink", argc, argv, &n);

	if (rc)
		return rc;
	story_take(&s, n.w, &n.t, &n.f, NULL, NULL);
	if (s.how == REPLAY_MISFIT)
		return misfit(&n);
	if (s.how == REPLAY_PASSES) {
		(void)printf("%s:%s: recovery passes\n", n.w->name, n.f.id);
		return EXIT_FINE;
	}
	cause_find(&s, &c, options.time_limit > 0 ? options.time_limit : 1e9);
	if (!c.shrunk)
		(void)fprintf(
			stderr,
			"crashsim: the failure does not come again from the image alone; it is "
			"told as it is\n");
	if (wishes.json)
		story_json(stdout, &s, &c);
	tell(&s, &c, 0);
	story_free(&s);
	return EXIT_FAILURES;
}
