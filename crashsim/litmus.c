/* SPDX-License-Identifier: BSD-3-Clause */
/* litmus -- the command `crashsim litmus`: run litmus programs on the engine and compare what it
 * finds with the exact set that each file names, and with what the judge finds.
 *
 * FORMAT	of a program: litmus_parse.c, and crashsim(1), LITMUS PROGRAMS
 * OUTPUT	a line per program: ok or FAIL, its name, how much was looked at; after FAIL a line
 *		for every outcome that is missing from, or extra in, what was found
 * EXIT		0 all as expected / 1 a difference / 2 a file that cannot be read or parsed
 */
#include "litmus.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct found { /* what one of the two makes of a program */
	struct litmus_set set;
	size_t missing, extra;
	bool agrees;
};

static struct {
	bool json, judge, recorded;
	size_t programs, failed, broken;
} cmd;

/* ---- words ----------------------------------------------------------------------------------------- */

static void json_string(const char *s)
{
	(void)putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			(void)printf("\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			(void)printf("\\u%04x", (unsigned char)*s);
		else
			(void)putchar(*s);
	}
	(void)putchar('"');
}

static void row_print(const struct litmus *p, const struct litmus_row *r)
{
	for (unsigned i = 0; i < p->n_columns; i++) {
		const char *before = i ? cmd.json ? "," : " " : "";

		if (cmd.json) {
			(void)fputs(before, stdout);
			json_string(p->column[i].name);
			(void)fputs(":", stdout);
			before = "";
		} else {
			(void)printf("%s%s=", before, p->column[i].name);
		}
		if (r->none >> i & 1)
			(void)fputs(cmd.json ? "null" : "-", stdout);
		else
			(void)printf("%llu", (unsigned long long)r->value[i]);
	}
}

/* The rows of `a` that are not in `b`. */
static void rows_print(const struct litmus *p, const char *word, const struct litmus_set *a,
		       const struct litmus_set *b)
{
	bool first = true;

	if (cmd.json)
		(void)printf(",\"%s\":[", word);
	for (size_t i = 0; i < a->n; i++) {
		if (litmus_has(b, &a->row[i]))
			continue;
		(void)fputs(cmd.json ? first ? "{" : ",{" : "        ", stdout);
		if (!cmd.json)
			(void)printf("%-16s", word);
		row_print(p, &a->row[i]);
		(void)fputs(cmd.json ? "}" : "\n", stdout);
		first = false;
	}
	if (cmd.json)
		(void)putchar(']');
}

static size_t not_in(const struct litmus_set *a, const struct litmus_set *b)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++)
		n += !litmus_has(b, &a->row[i]);
	return n;
}

/* n: how many of the expected outcomes it should have found. */
static void compare(const struct litmus *p, struct found *f, size_t n)
{
	f->missing = not_in(&p->expect, &f->set);
	f->extra = not_in(&f->set, &p->expect);
	f->agrees = f->extra == 0 && f->set.n == n;
}

/* ---- a program ----------------------------------------------------------------------------------------- */

static void say(const struct litmus *p, const struct found *engine, const struct found *judged,
		const struct litmus_work *work, uint64_t steps)
{
	bool ok = engine->agrees && judged->agrees;

	if (cmd.json) {
		(void)printf("%s{\"name\":", cmd.programs > 1 ? ",\n  " : "  ");
		json_string(p->name);
		(void)fputs(",\"file\":", stdout);
		json_string(p->file);
		(void)fputs(",\"rules\":", stdout);
		json_string(p->rules);
		(void)printf(",\"ok\":%s,\"outcomes\":%zu,\"states\":%llu,\"crashes\":%llu",
			     ok ? "true" : "false", p->expect.n, (unsigned long long)work->states,
			     (unsigned long long)work->images);
		if (cmd.judge)
			(void)printf(",\"judge_states\":%llu", (unsigned long long)steps);
	} else {
		(void)printf("%-7s %s [%s]: %zu outcomes, %llu crashes", ok ? "ok" : "FAIL",
			     p->name, p->rules, p->expect.n, (unsigned long long)work->images);
		if (cmd.judge)
			(void)printf(", judge: %llu states", (unsigned long long)steps);
		(void)putchar('\n');
	}
	if (cmd.json || !ok) {
		rows_print(p, "missing", &p->expect, &engine->set);
		rows_print(p, "extra", &engine->set, &p->expect);
	}
	if (cmd.judge && (cmd.json || !ok)) {
		rows_print(p, "judge_missing", &p->expect, &judged->set);
		rows_print(p, "judge_extra", &judged->set, &p->expect);
	}
	if (cmd.json)
		(void)putchar('}');
	(void)fflush(stdout);
}

static void run_program(const struct litmus *p)
{
	struct found engine = { .agrees = false }, judged = { .agrees = true };
	struct litmus_work work;
	uint64_t steps = 0;

	litmus_run(p, cmd.recorded, &engine.set, &work);
	compare(p, &engine, cmd.recorded ? p->n_recorded : p->expect.n);
	if (cmd.judge) {
		judge(p, &judged.set, &steps);
		compare(p, &judged, p->expect.n);
	}
	cmd.programs++;
	cmd.failed += !(engine.agrees && judged.agrees);
	say(p, &engine, &judged, &work, steps);
	free(engine.set.row);
	free(judged.set.row);
}

static void run_file(const char *file)
{
	static struct litmus p;
	struct litmus_reader r;
	int rc;

	if (!litmus_open(&r, file)) {
		cmd.broken++;
		return;
	}
	while ((rc = litmus_next(&r, &p)) > 0) {
		run_program(&p);
		litmus_free(&p);
	}
	cmd.broken += rc < 0;
	free(r.text);
}

/* ---- the command ------------------------------------------------------------------------------------------ */

static int usage(const char *why)
{
	if (why)
		(void)fprintf(stderr, "crashsim litmus: %s\n", why);
	(void)fputs(
		"usage: crashsim litmus [--judge] [--recorded] [--mode MODE] [--json] [--off RULE] FILE...\n"
		"  --judge     compare with the brute-force judge too\n"
		"  --recorded  each instruction takes effect before the next, as in a workload's run\n"
		"  --json      for programs\n"
		"  --mode MODE lazy, rerun or eager\n"
		"  --off RULE  without R3, R9 or R11 in the engine: the suite must fail\n",
		why ? stderr : stdout);
	return why ? 2 : 0;
}

static bool switch_off(const char *rule)
{
	bool *off = !strcmp(rule, "R3")    ? &options.no_r3
		    : !strcmp(rule, "R9")  ? &options.no_r9
		    : !strcmp(rule, "R11") ? &options.no_r11
					   : NULL;

	if (off)
		*off = true;
	return off;
}

static bool mode_named(const char *name)
{
	static const char *const mode[] = { "lazy", "rerun", "eager" };

	for (unsigned i = 0; i < 3; i++) {
		if (!strcmp(name, mode[i])) {
			options.mode = (enum explore_mode)i;
			return true;
		}
	}
	return false;
}

/* One option and its value; what is wrong with it, or NULL. */
static const char *option(int argc, char **argv, int *i)
{
	const char *name = argv[*i], *value = *i + 1 < argc ? argv[*i + 1] : "";

	if (!strcmp(name, "--json"))
		cmd.json = true;
	else if (!strcmp(name, "--judge"))
		cmd.judge = true;
	else if (!strcmp(name, "--recorded"))
		cmd.recorded = true;
	else if (!strcmp(name, "--mode") && ++*i)
		return mode_named(value) ? NULL
					 : "--mode: found no mode, expected lazy, rerun or eager";
	else if (!strcmp(name, "--off") && ++*i)
		return switch_off(value)
			       ? NULL
			       : "--off: found no rule that can be switched off, expected R3, "
				 "R9 or R11";
	else
		return "found an unknown option, expected --judge, --recorded, --mode, --off or --json";
	return NULL;
}

int litmus_main(int argc, char **argv)
{
	int i = 1;

	memset(&cmd, 0, sizeof(cmd));
	for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
		const char *wrong = NULL;

		if (!strcmp(argv[i], "--help"))
			return usage(NULL);
		wrong = option(argc, argv, &i);
		if (wrong)
			return usage(wrong);
	}
	if (i == argc)
		return usage("found no file, expected at least one");
	if (cmd.json)
		(void)fputs("{\"programs\":[\n", stdout);
	for (; i < argc; i++)
		run_file(argv[i]);
	if (cmd.json)
		(void)printf("\n],\"count\":%zu,\"failed\":%zu,\"broken\":%zu}\n", cmd.programs,
			     cmd.failed, cmd.broken);
	else
		(void)printf("%zu programs, %zu differ, %zu files not read to the end\n",
			     cmd.programs, cmd.failed, cmd.broken);
	return cmd.broken ? 2 : cmd.failed > 0;
}
