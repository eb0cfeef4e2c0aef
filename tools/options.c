/* SPDX-License-Identifier: BSD-3-Clause */
/* options -- the options of a command, from one table: parsing, and the text of --help. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define HELP     'h'
#define LONG_OPT 256 /* getopt's value of the option opts[i] is LONG_OPT + i */

static const char usual_exits[] = "0   done\n"
				  "1   failed; a line on standard error tells why\n"
				  "2   the command line is wrong\n"
				  "8   the pool is damaged; 'pmpt check' tells more\n";

/* Each line of text after `indent`; the first one goes on where the cursor is. */
static void indented(FILE *to, const char *text, const char *indent)
{
	for (bool first = true; *text; first = false) {
		size_t n = strcspn(text, "\n");

		fprintf(to, "%s%.*s\n", first ? "" : indent, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void print_help(const struct command *cmd, const struct opt *opts)
{
	fputs("usage: ", stdout);
	indented(stdout, cmd->synopsis, "       ");
	printf("\n%s\n%sOptions%s\n", cmd->text, paint(BOLD), paint(PLAIN));
	for (const struct opt *o = opts; o->name; o++) {
		char left[64];
		int n = snprintf(left, sizeof(left), "%s%c%s--%s%s%s", o->letter ? "-" : "  ",
				 o->letter ? o->letter : ' ', o->letter ? ", " : " ", o->name,
				 o->arg ? " " : "", o->arg ? o->arg : "");

		printf("  %-*s ", 22, left);
		if (n > 22)
			printf("\n%25s", "");
		indented(stdout, o->what, "                         ");
	}
	printf("  %-22s this text\n", "-h, --help");
	printf("\n%sExit codes%s\n  ", paint(BOLD), paint(PLAIN));
	indented(stdout, cmd->exits ? cmd->exits : usual_exits, "  ");
	printf("\n%sExample%s\n  ", paint(BOLD), paint(PLAIN));
	indented(stdout, cmd->example, "  ");
}

_Noreturn void usage_error(const struct command *cmd, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "pmpt %s: ", cmd->name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputs("\nusage: ", stderr);
	indented(stderr, cmd->synopsis, "       ");
	fprintf(stderr, "'pmpt help %s' tells more\n", cmd->name);
	exit(cmd->usage_code ? cmd->usage_code : EXIT_USAGE);
}

bool parse_number(const char *text, uint64_t *value)
{
	static const char units[] = "kmgt";
	const char *unit;
	char *end;
	unsigned shift = 0;
	uint64_t n;

	if (!isdigit((unsigned char)*text)) /* strtoull takes signs and blanks */
		return false;
	errno = 0;
	n = strtoull(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	if (errno)
		return false;
	unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (!strcmp(end, "iB"))
			end += 2;
	}
	if (*end || n > UINT64_MAX >> shift)
		return false;
	*value = n << shift;
	return true;
}

bool parse_prot(const char *text, unsigned *prot)
{
	static const char letters[] = "rwxu";
	unsigned bits = 0;

	for (; *text; text++) {
		const char *at = strchr(letters, *text);

		if (at)
			bits |= 1u << (at - letters); /* PMPT_R, PMPT_W, .. */
		else if (*text != '-')
			return false;
	}
	if (!(bits & PMPT_R))
		return false;
	*prot = bits;
	return true;
}

uint64_t operand(const struct command *cmd, const char *name, const char *text)
{
	uint64_t value;

	if (!parse_number(text, &value))
		usage_error(cmd, "%s: '%s' is no number", name, text);
	return value;
}

unsigned operand_word(const struct command *cmd, const char *const *words, const char *text)
{
	char list[128] = "";
	size_t n = 0, len = 0;

	while (words[n]) {
		if (!strcmp(text, words[n]))
			return (unsigned)n;
		n++;
	}
	for (size_t i = 0; i < n && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
					!i           ? ""
					: i + 1 == n ? " or "
						     : ", ",
					words[i]);
	usage_error(cmd, "'%s': %s is expected", text, list);
}

static void take(const struct command *cmd, const struct opt *o, const char *text)
{
	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->value = true;
		break;
	case OPT_TEXT:
		*(const char **)o->value = text;
		break;
	case OPT_COUNT:
		if (!parse_number(text, o->value))
			usage_error(cmd, "--%s: '%s' is no number", o->name, text);
		break;
	case OPT_PROT:
		if (!parse_prot(text, o->value))
			usage_error(cmd, "--%s: '%s': letters of rwxu, r among them, are expected",
				    o->name, text);
		break;
	}
}

int options(const struct command *cmd, const struct opt *opts, int argc, char **argv, int min,
	    int max)
{
	struct option longs[OPT_MAX + 2] = { { "help", no_argument, NULL, HELP } };
	char letters[2 * OPT_MAX + 4] = ":h", *at = letters + 2;
	int c, n;

	for (int i = 0; opts[i].name; i++) {
		int has_arg = opts[i].kind == OPT_FLAG ? no_argument : required_argument;

		longs[i + 1] = (struct option){ opts[i].name, has_arg, NULL, LONG_OPT + i };
		if (opts[i].letter) {
			*at++ = opts[i].letter;
			if (has_arg == required_argument)
				*at++ = ':';
		}
	}
	optind = 1;
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct opt *o = c >= LONG_OPT ? &opts[c - LONG_OPT] : opts;

		if (c == HELP) {
			print_help(cmd, opts);
			exit(output_done(stdout, "standard output"));
		}
		if (c == ':')
			usage_error(cmd, "option '%s' needs a value", argv[optind - 1]);
		if (c == '?')
			usage_error(cmd, "unknown option '%s'", argv[optind - 1]);
		if (c < LONG_OPT) {
			while (o->letter != c)
				o++;
		}
		take(cmd, o, optarg);
	}
	n = argc - optind;
	if (n < min)
		usage_error(cmd, "an operand is missing");
	if (n > max)
		usage_error(cmd, "'%s' is one operand too many", argv[optind + max]);
	memmove(argv, argv + optind, ((size_t)n + 1) * sizeof(*argv));
	return n;
}
