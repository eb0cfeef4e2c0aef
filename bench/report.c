/* SPDX-License-Identifier: BSD-3-Clause */
/* report -- rows as aligned columns for people, or one JSON object a line. */
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

static int missed_rows, goal_rows;
static bool headed;

struct row row_make(const char *name, uint64_t pages, enum unit unit, double value)
{
	return (struct row){ .name = name,
			     .pages = pages,
			     .unit = unit,
			     .value = value,
			     .ratio_to_raw = NAN,
			     .ratio_to_skeleton = NAN,
			     .lines_per_op = NAN,
			     .fences_per_op = NAN,
			     .spread = NAN };
}

__attribute__((format(printf, 3, 0))) static void append(char *buf, size_t len, const char *format,
							 va_list ap)
{
	size_t used = strlen(buf);

	vsnprintf(buf + used, len - used, format, ap);
}

void row_extra(struct row *row, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	append(row->extra, sizeof(row->extra), format, ap);
	va_end(ap);
}

void row_note(struct row *row, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	append(row->note, sizeof(row->note), format, ap);
	va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void goal_text(struct row *row, const char *format,
							    ...)
{
	va_list ap;

	va_start(ap, format);
	append(row->goal, sizeof(row->goal), format, ap);
	va_end(ap);
}

void row_goal(struct row *row, const char *what, double value, char op, double bound)
{
	bool reached = op == '<'   ? value <= bound
		       : op == '>' ? value >= bound
				   : fabs(value - bound) < 1e-9;

	goal_text(row, "%s%s %s %.4g", row->goal[0] ? ", " : "", what,
		  op == '<'   ? "<="
		  : op == '>' ? ">="
			      : "=",
		  bound);
	if (reached)
		return;
	goal_text(row, " (is %.4g)", value);
	row->missed = true;
}

const char *human_count(uint64_t n, char *buf, size_t len)
{
	static const char *const suffix[] = { "", "K", "M", "G" };
	int i = 0;

	while (n >= 1024 && n % 1024 == 0 && i < 3) {
		n /= 1024;
		i++;
	}
	snprintf(buf, len, "%llu%s", (unsigned long long)n, suffix[i]);
	return buf;
}

void report_end(void)
{
	if (headed)
		printf("\n%d of %d rows with a goal missed it\n", missed_rows, goal_rows);
}

static void json_number(const char *name, double value, int digits)
{
	if (isnan(value))
		printf(",\"%s\":null", name);
	else
		printf(",\"%s\":%.*f", name, digits, value);
}

static void print_json(const struct row *row)
{
	static const char *const unit[] = { "ops_per_s", "ms", "bytes_per_page", "us" };

	printf("{\"name\":\"%s\",\"pages\":%llu", row->name, (unsigned long long)row->pages);
	json_number(unit[row->unit], row->value, row->unit == UNIT_RATE ? 0 : 3);
	json_number("ratio_to_raw", row->ratio_to_raw, 3);
	json_number("ratio_to_skeleton", row->ratio_to_skeleton, 3);
	json_number("lines_per_op", row->lines_per_op, 4);
	json_number("fences_per_op", row->fences_per_op, 5);
	json_number("spread", row->spread, 3);
	printf("%s", row->extra);
	if (row->goal[0])
		printf(",\"goal\":\"%s\",\"reached\":%s", row->goal,
		       row->missed ? "false" : "true");
	printf("}\n");
}

static void cell(double value, int width, int digits)
{
	if (isnan(value))
		printf(" %*s", width, "-");
	else
		printf(" %*.*f", width, digits, value);
}

static void print_human(const struct row *row)
{
	char count[32], value[32], ms[16];
	const char *on = "", *off = "";

	if (!headed)
		printf("%-15s %5s %12s %7s %7s %9s %9s %7s  %s\n", "row", "pages", "result",
		       "of raw", "of skel", "lines/op", "fences/op", "spread", "goal");
	headed = true;
	if (row->unit == UNIT_RATE)
		snprintf(value, sizeof(value), "%.2f M/s", row->value / 1e6);
	else if (row->unit == UNIT_BYTES)
		snprintf(value, sizeof(value), "%.3f B", row->value);
	else if (row->unit == UNIT_US)
		snprintf(value, sizeof(value), "%.2f us", row->value);
	else
		snprintf(value, sizeof(value), "%.2f ms", row->value);
	printf("%-15s %5s %12s", row->name, human_count(row->pages, count, sizeof(count)), value);
	cell(row->ratio_to_raw, 7, 2);
	cell(row->ratio_to_skeleton, 7, 2);
	cell(row->lines_per_op, 9, 3);
	cell(row->fences_per_op, 9, 4);
	if (isnan(row->spread))
		snprintf(ms, sizeof(ms), "-");
	else
		snprintf(ms, sizeof(ms), "%.0f%%", 100 * row->spread);
	printf(" %7s", ms);
	if (options.color) {
		on = row->missed ? "\033[31m" : "\033[32m";
		off = "\033[0m";
	}
	if (row->goal[0])
		printf("  %s%s%s  %s", on, row->missed ? "missed" : "reached", off, row->goal);
	printf("\n");
	if (row->note[0])
		printf("%-15s   %s\n", "", row->note);
}

void row_print(const struct row *row)
{
	progress("%s", "");
	missed_rows += row->missed;
	goal_rows += row->goal[0] != 0;
	if (options.json)
		print_json(row);
	else
		print_human(row);
	fflush(stdout);
}
