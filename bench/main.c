/* SPDX-License-Identifier: BSD-3-Clause */
/* pmpt-bench -- the library beside the limits of the machine it runs on.  Page pmpt-bench(1). */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

struct options options = { .dir = "/dev/shm" };

static const struct {
	const char *name, *what;
} rows[] = {
	{ "update", "durable change of one mapped page, a transaction each, random pages" },
	{ "batch4096", "4096 changes of random pages in one transaction; an operation is a page" },
	{ "map2m",
	  "map 512 contiguous pages, given frames, a transaction each; an operation is a page" },
	{ "protect2m", "take W away from them" },
	{ "unmap2m", "unmap them" },
	{ "map2m_alloc", "the same with frames of the pool" },
	{ "protect2m_alloc", "" },
	{ "unmap2m_alloc", "" },
	{ "lookup", "pmpt_lookup of random pages, independent of each other" },
	{ "lookup_chain", "each address depends on the entry found before" },
	{ "lookup_batch", "pmpt_lookup_batch, 128 at a time" },
	{ "page_write", "pmpt_write of a random page of 4 KiB, a transaction each" },
	{ "page_write64", "pmpt_write of 64 pages in a transaction; an operation is a page" },
	{ "page_read", "pmpt_read of a random page of 4 KiB" },
	{ "fork",
	  "pmpt_space_fork; in its goal, us, fences, and us beside those of the fewest pages" },
	{ "cow_first", "first write into 2 MiB that are shared since a fork" },
	{ "cow_later", "a page still shared, where the tables no longer are" },
	{ "view_open", "open and close a read view; in its goal, ns for both" },
	{ "read_beside", "pmpt_lookup of random pages beside a thread that commits" },
	{ "recovery", "opening after a kill, without libpmemobj's part: 2000 records, a full log" },
	{ "footprint", "table frames for each mapped page, dense" },
	{ "swap", "pages out to a swap file in /var/tmp or TMPDIR, and in again" },
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

void die(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("pmpt-bench: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1); /* atexit removes the scratch directory */
}

void check(int rc, const char *what)
{
	if (rc)
		die("%s: %s: %s", what, pmpt_strerror(rc), pmpt_errormsg());
}

void progress(const char *format, ...)
{
	va_list ap;

	if (!isatty(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fflush(stderr);
}

bool wanted(const char *name)
{
	if (!options.n_names)
		return true;
	for (int i = 0; i < options.n_names; i++)
		if (!strcmp(options.name[i], name))
			return true;
	return false;
}

static bool wanted_any(const char *const *name)
{
	for (; *name; name++)
		if (wanted(*name))
			return true;
	return false;
}

static void run_all(void)
{
	static const char *const updates[] = { "update", "batch4096", NULL }, *const lookups[] = {
		"lookup", "lookup_chain", "lookup_batch", NULL
	};
	static const char *const maps[] = { "map2m",       "protect2m",       "unmap2m",
					    "map2m_alloc", "protect2m_alloc", "unmap2m_alloc",
					    NULL };
	static const uint64_t full[] = { 1 << 10, 1 << 20, 16 << 20 },
			      quick[] = { 64 << 10, 1 << 20 };
	static const char *const data[] = { "page_write", "page_write64", "page_read", NULL };
	static const char *const views[] = { "view_open", "read_beside", NULL };
	const uint64_t *pages = options.quick ? quick : full;
	size_t n = options.quick ? 2 : 3;

	for (size_t i = 0; i < n && wanted_any(updates); i++)
		run_update(pages[i]);
	if (wanted_any(maps))
		run_map();
	for (size_t i = 0; i < n && wanted_any(lookups); i++)
		run_lookup(pages[i]);
	if (wanted_any(data))
		run_data(64 << 10);
	if (wanted("fork"))
		run_fork(pages, n);
	if (wanted("cow_first"))
		run_cow_first();
	if (wanted("cow_later"))
		run_cow_later();
	if (wanted_any(views))
		run_view(1 << 20);
	for (size_t i = 0; i < n && wanted("recovery"); i++)
		run_recovery(pages[i]);
	/* not at 1K pages, where the upper tables would be half of all */
	for (size_t i = n - 2; i < n && wanted("footprint"); i++)
		run_footprint(pages[i]);
	if (wanted("swap"))
		run_swap();
}

static void usage(FILE *to)
{
	fprintf(to,
		"usage: pmpt-bench [--json] [--quick] [--dir DIR] [NAME...]\n"
		"       pmpt-bench --limits [--json] [--quick] [--dir DIR]\n"
		"       pmpt-bench --list | --help\n"
		"\n"
		"Measure libpmpt beside the limits of this machine, in turns and on the same keys: "
		"medians of %d.\n"
		"\n"
		"  --json     one JSON object a line\n"
		"  --quick    64K and 1M pages only, short slices (otherwise 1K, 1M and 16M)\n"
		"  --limits   the limits alone: what the machine does without the library\n"
		"  --dir DIR  where the pool and the limits' files go, instead of /dev/shm; they "
		"are removed\n"
		"  --list     names of the rows\n"
		"\n"
		"Columns: 'of raw' and 'of skel' are the rate divided by that of the limit (see "
		"pmpt-bench(1)); lines and fences per\n"
		"operation are counted, log and checkpoints included; spread is (largest - "
		"smallest) / median of the %d slices.\n"
		"Exit status: 0, also when a goal is missed; 1 on an error; 2 on wrong usage.\n",
		ROUNDS, ROUNDS);
}

static void list(void)
{
	for (size_t i = 0; i < N_ROWS; i++)
		printf("%-16s %s\n", rows[i].name, rows[i].what);
}

/* What was printed has arrived; what the system does with it when it is closed counts, too. */
static int output_done(void)
{
	bool failed = ferror(stdout) != 0;

	if (fclose(stdout))
		fprintf(stderr, "pmpt-bench: standard output: %s\n", strerror(errno));
	else if (failed)
		fputs("pmpt-bench: standard output: a write failed\n", stderr);
	else
		return 0;
	return 1;
}

static bool known(const char *name)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (!strcmp(rows[i].name, name))
			return true;
	fprintf(stderr, "pmpt-bench: no row '%s'; --list names them\n", name);
	return false;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "quick", no_argument, NULL, 'q' },
		{ "limits", no_argument, NULL, 'L' },
		{ "dir", required_argument, NULL, 'd' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool limits_only = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (c) {
		case 'j':
			options.json = true;
			break;
		case 'q':
			options.quick = true;
			break;
		case 'L':
			limits_only = true;
			break;
		case 'd':
			options.dir = optarg;
			break;
		case 'l':
			list();
			return output_done();
		case 'h':
			usage(stdout);
			return output_done();
		default:
			usage(stderr);
			return 2;
		}
	}
	options.name = argv + optind;
	options.n_names = argc - optind;
	for (int i = 0; i < options.n_names; i++)
		if (!known(options.name[i]))
			return 2;
	options.color = isatty(STDOUT_FILENO) && !(getenv("NO_COLOR") && *getenv("NO_COLOR"));
	scratch_open(options.dir);
	if (limits_only)
		limits_print();
	else
		run_all();
	if (!limits_only)
		report_end();
	return output_done();
}
