/* SPDX-License-Identifier: BSD-3-Clause */
/* adequacy -- crashsim adequacy: does it matter?  Each flush, fence and streamed store of the program
 * is switched off in the model, one site at a time, and the workloads that reach it are run.
 *
 * VERDICTS	caught	an oracle fails
 *		redundant	no crash, of run or of recovery, has an image that it had not before
 *		survives	there are new images, and no oracle minds
 * What is not caught has to stand in the table with the same verdict and the argument why it may be so;
 * a site of the list that no workload reaches fails, too.
 *
 * TABLE	lines of: SITE VERDICT ARGUMENT...; '#' begins a comment; a line that begins with white space
 *		goes on with the argument.  A site whose copies have different verdicts has several.
 * SITE		file.c:function:kind#n, the nth of its kind in the function, by line.  Copies of it that
 *		the compiler has inlined are judged one by one, and have one name; one that is not reached
 *		counts with those that are.
 * LIST		--sites FILE: lines of a call's return address in the program (hexadecimal, less its load
 *		address) and flush, fence, stream or persist (flush, and a fence at the byte before), that
 *		a look at its code has found; adequacy.sh makes it.
 */
#include "command.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hooks.h"
#include "symbol.h"

#define SITES_MAX   4096u
#define LOADS_MAX   256u
#define DIGESTS_MAX ((size_t)1 << 22)

struct site {
	uint64_t pc;
	enum event_kind kind;
	char name[200];
	uint8_t reached[LOADS_MAX]; /* by workload */
};

static struct shared { /* with the workers */
	_Atomic uint64_t pc[SITES_MAX];
	_Atomic uint8_t kind[SITES_MAX], reached[SITES_MAX][LOADS_MAX];
	_Atomic uint64_t digest[2][DIGESTS_MAX]; /* of image sets: as it is, and with a site off */
	_Atomic uint64_t fresh;                  /* of the latter that are not among the former */
} * sh;

static struct site *site;
static size_t n_sites;
static size_t load;    /* the workload under way */
static unsigned which; /* digest[which] */

/* ---- what the workers find --------------------------------------------------------------------- */

static void reached(const struct event *e)
{
	size_t at = (e->site * 0x9e3779b97f4a7c15u) >> 52;
	enum event_kind kind = e->kind == EV_CLFLUSH ? EV_CLWB : e->kind;

	if (kind != EV_CLWB && kind != EV_SFENCE && kind != EV_STREAM)
		return;
	for (size_t i = 0; i < SITES_MAX; i++, at = (at + 1) % SITES_MAX) {
		uint64_t none = 0;

		if (atomic_load(&sh->pc[at]) != e->site &&
		    !atomic_compare_exchange_strong(&sh->pc[at], &none, e->site) && none != e->site)
			continue;
		atomic_store(&sh->kind[at], (uint8_t)kind);
		atomic_store(&sh->reached[at][load], 1);
		return;
	}
}

/* The undecided part of a line; 0: it has none. */
static uint64_t undecided(const struct line_set *l)
{
	uint64_t h = digest_mix(1, l->line);
	bool open = false;

	for (uint32_t i = 0; i < l->n; i++) {
		const struct piece *p = &l->piece[i];
		uint16_t lo = l->lo[p->group], hi = l->hi[p->group];

		open |= lo < hi;
		h = digest_mix(digest_mix(h, p->value),
			       (uint64_t)p->word << 48 | (uint64_t)p->mask << 40 |
				       (uint64_t)(p->group % PHASE_GROUPS) << 32 |
				       (uint64_t)(uint16_t)(p->rank - lo) << 16 |
				       (uint16_t)(hi - lo));
	}
	return open ? h : 0;
}

/* All images of the set, as a number: what is certain, line by line, and what is not. */
static uint64_t images_digest(const struct image_set *s)
{
	uint64_t sum = 0;
	size_t next = 0;

	for (size_t line = 0; line < region_bytes / LINE_BYTES; line++) {
		const struct line_set *l =
			next < s->n && s->set[next]->line == line ? s->set[next++] : NULL;
		uint64_t h = digest_bytes(digest_mix(2, line),
					  l ? l->base : s->rest + line * LINE_BYTES, LINE_BYTES);

		sum += digest_mix(h, l ? undecided(l) : 0);
	}
	return sum | 1;
}

static bool digests_has(unsigned w, uint64_t h, bool add)
{
	size_t at = (h * 0x9e3779b97f4a7c15u) >> 42;

	for (size_t i = 0; i < DIGESTS_MAX; i++, at = (at + 1) % DIGESTS_MAX) {
		uint64_t none = atomic_load(&sh->digest[w][at]);

		if (none == h)
			return true;
		if (none)
			continue;
		if (!add)
			return false;
		if (atomic_compare_exchange_strong(&sh->digest[w][at], &none, h) || none == h)
			return none == h;
	}
	return true;
}

static void set_seen(const struct image_set *s, unsigned phase)
{
	uint64_t h = digest_mix(images_digest(s), phase) | 1;

	if (!digests_has(which, h, true) && which == 1 && !digests_has(0, h, false))
		atomic_fetch_add(&sh->fresh, 1);
}

static void digests_forget(unsigned w)
{
	(void)madvise(sh->digest[w], sizeof(sh->digest[w]), MADV_REMOVE);
}

/* ---- sites ---------------------------------------------------------------------------------------- */

/* By file, function and line, of the innermost function where some were inlined. */
static int by_line(const void *a, const void *b)
{
	const struct site *x = a, *y = b;
	const struct symbol *s = symbol_of(x->pc), *t = symbol_of(y->pc);
	int order = strcmp(s->file, t->file);

	if (!order)
		order = strcmp(s->function, t->function);
	if (!order)
		order = s->line < t->line ? -1 : s->line > t->line;
	return order ? order : x->pc < y->pc ? -1 : x->pc > y->pc;
}

static const char *kind_name(enum event_kind kind)
{
	return kind == EV_STREAM ? "stream" : kind == EV_SFENCE ? "fence" : "flush";
}

/* What the workloads do in the place of others is no site of the program. */
static bool of_workload(const struct symbol *s)
{
	for (; s; s = s->inlined_in) {
		if (strstr(s->file, "/workloads/"))
			return true;
	}
	return false;
}

static void name_sites(void)
{
	size_t kept = 0;

	for (size_t i = 0; i < n_sites; i++) {
		if (!of_workload(symbol_of(site[i].pc)))
			site[kept++] = site[i];
	}
	n_sites = kept;
	qsort(site, n_sites, sizeof(*site), by_line);
	for (size_t i = 0; i < n_sites; i++) {
		const struct symbol *s = symbol_of(site[i].pc);
		const char *file = strrchr(s->file, '/');
		unsigned n = 1, line = 0;

		for (size_t k = 0; k < i; k++) {
			const struct symbol *o = symbol_of(site[k].pc);

			if (site[k].kind != site[i].kind || strcmp(o->file, s->file) ||
			    strcmp(o->function, s->function) || o->line == s->line ||
			    o->line == line)
				continue;
			line = o->line;
			n++;
		}
		(void)snprintf(site[i].name, sizeof(site[i].name), "%s:%s:%s#%u",
			       file ? file + 1 : s->file, s->function, kind_name(site[i].kind), n);
	}
}

static void sites_reached(void)
{
	for (size_t i = 0; i < SITES_MAX; i++) {
		struct site *s = &site[n_sites];

		if (!atomic_load(&sh->pc[i]))
			continue;
		s->pc = atomic_load(&sh->pc[i]);
		s->kind = (enum event_kind)atomic_load(&sh->kind[i]);
		for (size_t w = 0; w < LOADS_MAX; w++)
			s->reached[w] = atomic_load(&sh->reached[i][w]);
		n_sites++;
	}
}

static void site_listed(uint64_t pc, enum event_kind kind)
{
	size_t i = 0;

	while (i < n_sites && site[i].pc != pc)
		i++;
	if (i == n_sites && n_sites < SITES_MAX)
		site[n_sites++] = (struct site){ .pc = pc, .kind = kind };
}

/* The list of the program's code; what of it was not reached is a site without workloads. */
static int sites_listed(const char *path)
{
	extern char __executable_start;
	FILE *in = fopen(path, "r");
	unsigned long off;
	char kind[16];

	if (!in) {
		(void)fprintf(stderr, "crashsim: %s: %s\n", path, strerror(errno));
		return EXIT_USAGE;
	}
	while (fscanf(in, "%lx %15s", &off, kind) == 2) {
		uint64_t pc = off + (uint64_t)(uintptr_t)&__executable_start;

		if (!strcmp(kind, "persist")) {
			site_listed(pc, EV_CLWB);
			site_listed(pc - 1, EV_SFENCE);
			continue;
		}
		site_listed(pc, !strcmp(kind, "flush")   ? EV_CLWB
				: !strcmp(kind, "fence") ? EV_SFENCE
							 : EV_STREAM);
	}
	(void)fclose(in);
	return EXIT_FINE;
}

/* ---- the table -------------------------------------------------------------------------------------- */

struct row {
	char site[200], verdict[16];
	bool argued, used;
};
static struct row *row;
static size_t n_rows;

static int table_load(const char *path)
{
	FILE *in = fopen(path, "r");
	char line[1024], rest[1024];
	unsigned number = 0;

	if (!in) {
		(void)fprintf(stderr, "crashsim: %s: %s\n", path, strerror(errno));
		return EXIT_USAGE;
	}
	row = must(calloc(SITES_MAX, sizeof(*row)));
	while (fgets(line, sizeof(line), in)) {
		struct row *r = &row[n_rows];

		number++;
		if (line[0] == '#' || line[0] == '\n' || line[0] == ' ' || line[0] == '\t')
			continue;
		if (n_rows == SITES_MAX - 1 ||
		    sscanf(line, "%199s %15s %1023[^\n]", r->site, r->verdict, rest) != 3 ||
		    (strcmp(r->verdict, "redundant") && strcmp(r->verdict, "survives") &&
		     strcmp(r->verdict, "unreached"))) {
			(void)fprintf(stderr,
				      "crashsim: %s:%u: expected SITE, 'redundant', 'survives' or "
				      "'unreached', and an argument\n",
				      path, number);
			(void)fclose(in);
			return EXIT_USAGE;
		}
		n_rows++;
	}
	(void)fclose(in);
	return EXIT_FINE;
}

/* Is it settled with that verdict? */
static bool settled(const char *name, const char *verdict)
{
	for (size_t i = 0; i < n_rows; i++) {
		if (strcmp(row[i].site, name) || strcmp(row[i].verdict, verdict))
			continue;
		row[i].used = true;
		return true;
	}
	return false;
}

/* ---- runs ----------------------------------------------------------------------------------------- */

static bool run_fails(const struct crashsim_workload *w)
{
	struct trace t;
	struct result r;
	bool fails;

	if (record(w, &t))
		return true;
	run_workload(w, &t, NULL, &r);
	fails = r.n_failures != 0;
	result_free(&r);
	trace_free(&t);
	return fails;
}

/* The verdict on a site. */
static const char *judge_site(const struct site *s, const struct crashsim_workload *const *w,
			      size_t n, const char **by)
{
	const char *verdict = "unreached";

	options.skip_site = s->pc;
	for (size_t i = 0; i < n && verdict[0] != 'c'; i++) {
		if (!s->reached[i])
			continue;
		if (verdict[0] == 'u')
			verdict = "redundant";
		load = i;
		/* what it has without the site */
		which = 0;
		options.skip_site = 0;
		digests_forget(0);
		digests_forget(1);
		(void)run_fails(w[i]);
		which = 1;
		options.skip_site = s->pc;
		atomic_store(&sh->fresh, 0);
		if (run_fails(w[i])) {
			*by = w[i]->name;
			verdict = "caught";
		} else if (atomic_load(&sh->fresh)) {
			*by = w[i]->name;
			verdict = "survives";
		}
	}
	options.skip_site = 0;
	return verdict;
}

/* Every workload as it is: nothing fails, and these are its sites. */
static int baseline(const struct crashsim_workload *const *w, size_t n)
{
	for (load = 0; load < n; load++) {
		if (run_fails(w[load])) {
			(void)fprintf(stderr, "crashsim: workload '%s' fails with every site on\n",
				      w[load]->name);
			return EXIT_NOT_RUN;
		}
	}
	return EXIT_FINE;
}

static bool is_reached(const struct site *s, size_t n) { return memchr(s->reached, 1, n) != NULL; }

/* Not reached, but another copy of it is. */
static bool idle_copy(const struct site *s, size_t n)
{
	bool other = false;

	for (size_t i = 0; i < n_sites && !other; i++)
		other = is_reached(&site[i], n) && !strcmp(site[i].name, s->name);
	return other && !is_reached(s, n);
}

static int judge_sites(const struct crashsim_workload *const *w, size_t n)
{
	size_t count[4] = { 0 }, open = 0;

	for (size_t i = 0; i < n_sites; i++) {
		if (idle_copy(&site[i], n))
			continue;
		const char *by = "", *verdict = judge_site(&site[i], w, n, &by);
		bool caught = verdict[0] == 'c', fine = caught || settled(site[i].name, verdict);

		count[caught ? 0 : verdict[0] == 'r' ? 1 : verdict[0] == 's' ? 2 : 3]++;
		open += !fine;
		(void)printf("%-52s %-9s %s%s\n", site[i].name, verdict, by,
			     caught ? ""
			     : fine ? " (settled)"
				    : " NOT SETTLED");
		(void)fflush(stdout);
	}
	for (size_t i = 0; i < n_rows; i++) {
		if (row[i].used)
			continue;
		(void)printf("%-52s in the table, and no such verdict is asked for\n", row[i].site);
		open++;
	}
	(void)printf(
		"%zu sites: %zu caught, %zu redundant, %zu survive, %zu not reached; %zu not settled\n",
		count[0] + count[1] + count[2] + count[3], count[0], count[1], count[2], count[3],
		open);
	return open ? EXIT_FAILURES : EXIT_FINE;
}

/* Take "NAME VALUE" out of the arguments. */
static const char *take(int *argc, char **argv, const char *name)
{
	for (int i = 1; i + 1 < *argc; i++) {
		const char *value = argv[i + 1];

		if (strcmp(argv[i], name))
			continue;
		memmove(&argv[i], &argv[i + 2], (size_t)(*argc - i - 1) * sizeof(*argv));
		*argc -= 2;
		return value;
	}
	return NULL;
}

int command_adequacy(int argc, char **argv)
{
	const char *table = take(&argc, argv, "--table"), *list = take(&argc, argv, "--sites");
	const struct crashsim_workload *some[LOADS_MAX];
	const struct crashsim_workload *const *all;
	int operands = options_parse("adequacy", argc, argv), rc = EXIT_FINE;
	size_t n = workloads(&all);

	if (operands < 0)
		return EXIT_USAGE;
	for (int i = 0; i < operands; i++) {
		some[i] = workload_named(argv[1 + i]);
		if (!some[i])
			return EXIT_USAGE;
	}
	if (operands)
		all = some, n = (size_t)operands;
	if (table)
		rc = table_load(table);
	if (rc)
		return rc;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	site = must(calloc(SITES_MAX + 1, sizeof(*site)));
	if (sh == MAP_FAILED)
		return EXIT_NOT_RUN;
	options.max_failures = 1;
	hook_reached = reached;
	rc = baseline(all, n);
	hook_reached = NULL;
	sites_reached();
	if (!rc && list)
		rc = sites_listed(list);
	if (rc)
		return rc;
	name_sites();
	explore_set_seen = set_seen;
	return judge_sites(all, n);
}
