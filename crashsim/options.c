/* SPDX-License-Identifier: BSD-3-Clause */
/* options -- the options of the command line, for all commands alike, and what goes wrong in them. */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct wishes wishes;

enum kind { FLAG, COUNT, SECONDS, BYTES, WORD, TEXT, SHARD };

struct choice {
	const char *word;
	int value;
};

struct option {
	const char *name; /* --NAME; one letter: -N */
	enum kind kind;
	const char *operand, *about;
	void *to; /* bool, unsigned, double, size_t, enum, const char * */
	const struct choice *choice;
	unsigned least;
};

static const struct choice orders[] = { { "prefix", ORDER_PREFIX }, { "free", ORDER_FREE }, { 0 } };
static const struct choice persists[] = { { "memory", PERSIST_MEMORY },
					  { "cache", PERSIST_CACHE },
					  { "cache-failed", PERSIST_CACHE_FAILED },
					  { "page", PERSIST_PAGE },
					  { 0 } };
static const struct choice modes[] = {
	{ "lazy", MODE_LAZY }, { "rerun", MODE_RERUN }, { "eager", MODE_EAGER }, { 0 }
};

static const struct option known[] = {
	{ "depth", COUNT, "N",
	  "crashes in a row, inside recovery too, 1 to 4 (default: the workload's, 2)",
	  &options.depth, NULL, 1 },
	{ "line-order", WORD, "O", "stores of one line reach memory: prefix (default), free",
	  &options.order, orders, 0 },
	{ "persist", WORD, "P", "what survives: memory (default), cache, cache-failed, page",
	  &options.persist, persists, 0 },
	{ "walker", COUNT, "N", "stores of a page walker, at most (default 0)", &options.walker,
	  NULL, 0 },
	{ "mode", WORD, "M",
	  "lazy (default), rerun: a process for each execution, eager: every image", &options.mode,
	  modes, 0 },
	{ "no-prune", FLAG, NULL, "explore equal states again", &options.no_prune, NULL, 0 },
	{ "no-checked", FLAG, NULL, "crashsim_checked() has no effect", &options.no_checked, NULL,
	  0 },
	{ "j", COUNT, "N", "workers (default 1)", &options.jobs, NULL, 1 },
	{ "shard", SHARD, "I/N", "only crash points I, I + N, I + 2N ... (I from 0)", NULL, NULL,
	  0 },
	{ "time-limit", SECONDS, "S",
	  "stop after S seconds; what is not all then, without a failure, ends with status 3",
	  &options.time_limit, NULL, 0 },
	{ "seed", COUNT, "N", "of the schedule of threads (default 1)", &options.seed, NULL, 0 },
	{ "schedules", COUNT, "N",
	  "N schedules, from --seed on, up to the first that fails (default 1)", &options.schedules,
	  NULL, 1 },
	{ "max-failures", COUNT, "N", "stop at N failures of a workload (default 16)",
	  &options.max_failures, NULL, 1 },
	{ "hang", SECONDS, "S",
	  "an execution that takes longer hangs, and a run that takes ten times as long (default 20)",
	  &options.hang, NULL, 0 },
	{ "memory", BYTES, "BYTES", "that recovery may take (default 1G)", &options.memory, NULL,
	  1 },
	{ "max-trace", BYTES, "N", "events of a recording, at most (default 16M)",
	  &options.max_trace, NULL, 1 },
	{ "perf", FLAG, NULL, "name flushes and fences that do nothing", &options.perf, NULL, 0 },
	{ "json", FLAG, NULL, "one JSON object for each workload, in a line", &wishes.json, NULL,
	  0 },
	{ "out", TEXT, "DIR", "write a report of each failure to DIR: text, JSON, SVG", &wishes.out,
	  NULL, 0 },
	{ "quiet", FLAG, NULL, "no progress, and of a workload without failures nothing",
	  &wishes.quiet, NULL, 0 },
	{ "help", FLAG, NULL, "this", &wishes.help, NULL, 0 },
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

void options_help(FILE *to)
{
	for (size_t i = 0; i < KNOWN; i++) {
		char head[64];

		(void)snprintf(head, sizeof(head), "%s%s %s", known[i].name[1] ? "--" : "-",
			       known[i].name, known[i].operand ? known[i].operand : "");
		(void)fprintf(to, "  %-18s %s\n", head, known[i].about);
	}
}

/* ---- values -------------------------------------------------------------------------------------- */

static int wrong(const struct option *o, const char *found, const char *expected)
{
	(void)fprintf(stderr, "crashsim: %s%s: found '%s', expected %s\n", o->name[1] ? "--" : "-",
		      o->name, found, expected);
	return 1;
}

static int count(const struct option *o, const char *s)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(s, &end, 10);
	if (!isdigit((unsigned char)*s) || *end || errno || n > UINT32_MAX || n < o->least)
		return wrong(o, s, o->least ? "a number, at least 1" : "a number");
	if (o->to == &options.seed)
		options.seed = n;
	else
		*(unsigned *)o->to = (unsigned)n;
	return 0;
}

static int seconds(const struct option *o, const char *s)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || *end || !(v > 0) || v > 1e9)
		return wrong(o, s, "seconds, more than 0");
	*(double *)o->to = v;
	return 0;
}

static int bytes(const struct option *o, const char *s)
{
	static const char unit[] = "kMGT";
	char *end;
	const char *u;
	size_t n;

	errno = 0;
	n = strtoul(s, &end, 10);
	u = *end ? strchr(unit, *end) : NULL;
	if (!isdigit((unsigned char)*s) || errno || (*end && (!u || end[1])) || !n ||
	    n > (size_t)1 << 50)
		return wrong(o, s, "a number, at least 1, that may end in k, M, G or T");
	*(size_t *)o->to = n << (u ? 10 * (u - unit + 1) : 0);
	return 0;
}

static int word(const struct option *o, const char *s)
{
	char expected[128] = "";

	for (const struct choice *c = o->choice; c->word; c++) {
		if (!strcmp(c->word, s)) {
			*(unsigned *)o->to = (unsigned)c->value;
			return 0;
		}
		(void)strcat(strcat(expected, c == o->choice ? ""
					      : c[1].word    ? ", "
							     : " or "),
			     c->word);
	}
	return wrong(o, s, expected);
}

static int shard(const struct option *o, const char *s)
{
	char *end;
	unsigned long i = strtoul(s, &end, 10), n = 0;

	if (end != s && *end == '/')
		n = strtoul(end + 1, &end, 10);
	if (!isdigit((unsigned char)*s) || *end || !n || i >= n || n > 1000000)
		return wrong(o, s, "I/N with I from 0 to N - 1");
	options.shard = (unsigned)i;
	options.shards = (unsigned)n;
	return 0;
}

static int value(const struct option *o, const char *s)
{
	switch (o->kind) {
	case COUNT:
		return count(o, s);
	case SECONDS:
		return seconds(o, s);
	case BYTES:
		return bytes(o, s);
	case WORD:
		return word(o, s);
	case SHARD:
		return shard(o, s);
	case TEXT:
		*(const char **)o->to = s;
		return 0;
	default:
		*(bool *)o->to = true;
		return 0;
	}
}

/* ---- the line ------------------------------------------------------------------------------------ */

static const struct option *find(const char *arg, const char **rest)
{
	size_t n;

	if (arg[1] != '-') { /* -j4, -j 4 */
		for (size_t i = 0; i < KNOWN; i++) {
			if (!known[i].name[1] && known[i].name[0] == arg[1]) {
				*rest = arg[2] ? arg + 2 : NULL;
				return &known[i];
			}
		}
		return NULL;
	}
	n = strcspn(arg + 2, "=");
	*rest = arg[2 + n] ? arg + 3 + n : NULL;
	for (size_t i = 0; i < KNOWN; i++) {
		if (strlen(known[i].name) == n && !strncmp(known[i].name, arg + 2, n))
			return &known[i];
	}
	return NULL;
}

static void unknown(const char *command, const char *arg)
{
	const char *name[KNOWN], *near;

	for (size_t i = 0; i < KNOWN; i++)
		name[i] = known[i].name;
	near = did_you_mean(arg + strspn(arg, "-"), name, KNOWN);
	(void)fprintf(
		stderr, "crashsim: unknown option '%s'%s%s%s; crashsim %s --help lists them\n", arg,
		near ? ", did you mean '--" : "", near ? near : "", near ? "'?" : "", command);
}

int options_parse(const char *command, int argc, char **argv)
{
	int operands = 0;

	for (int i = 1; i < argc; i++) {
		const struct option *o;
		const char *rest;

		/* what follows a program to run is the program's */
		if (argv[i][0] != '-' || !argv[i][1] ||
		    (operands && strchr(argv[1], '/') && !strcmp(command, "run"))) {
			argv[++operands] = argv[i];
			continue;
		}
		o = find(argv[i], &rest);
		if (!o || (o->kind == FLAG && rest)) {
			unknown(command, argv[i]);
			return -1;
		}
		if (o->kind != FLAG && !rest) {
			if (++i == argc) {
				(void)wrong(o, "the end of the line", o->operand);
				return -1;
			}
			rest = argv[i];
		}
		if (value(o, rest))
			return -1;
	}
	if (options.depth > PHASES_MAX) {
		(void)fprintf(stderr, "crashsim: --depth: found %u, expected 1 to %u\n",
			      options.depth, PHASES_MAX);
		return -1;
	}
	return operands;
}

static const char *word_of(const struct choice *c, int value)
{
	while (c->word && c->value != value)
		c++;
	return c->word;
}

const char *options_of_path(enum explore_mode mode)
{
	static char text[160];
	size_t n = 0;

	text[0] = 0;
#define ADD(...) n += (size_t)snprintf(text + n, sizeof(text) - n, __VA_ARGS__)
	if (options.order != ORDER_PREFIX)
		ADD(" --line-order %s", word_of(orders, (int)options.order));
	if (options.persist != PERSIST_MEMORY)
		ADD(" --persist %s", word_of(persists, (int)options.persist));
	if (mode == MODE_EAGER)
		ADD(" --mode eager");
	if (options.walker)
		ADD(" --walker %u", options.walker);
	if (options.no_checked)
		ADD(" --no-checked");
	if (options.seed != 1)
		ADD(" --seed %llu", (unsigned long long)options.seed);
#undef ADD
	return text;
}

/* ---- the nearest name ---------------------------------------------------------------------------- */

static unsigned distance(const char *a, const char *b)
{
	unsigned row[64], n = (unsigned)strlen(b);

	if (n >= 63)
		return UINT32_MAX;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (; *a; a++) {
		unsigned corner = row[0]++;

		for (unsigned j = 1; j <= n; j++) {
			unsigned change = corner + (*a != b[j - 1]);
			unsigned drop = row[j] + 1, add = row[j - 1] + 1;

			corner = row[j];
			row[j] = change < drop ? change : drop;
			row[j] = row[j] < add ? row[j] : add;
		}
	}
	return row[n];
}

const char *did_you_mean(const char *name, const char *const *names, size_t n)
{
	unsigned best = UINT32_MAX;
	const char *near = NULL;

	for (size_t i = 0; i < n; i++) {
		unsigned d = distance(name, names[i]);

		if (d < best) {
			best = d;
			near = names[i];
		}
	}
	return near && best <= 1 + strlen(name) / 3 ? near : NULL;
}
