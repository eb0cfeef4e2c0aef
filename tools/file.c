/* SPDX-License-Identifier: BSD-3-Clause */
/* file -- the files that commands read and write: whole files out, bounded lines in.
 *
 * ORDER of an output file: temporary file beside it -> write -> fsync -> rename over the name, the
 * point at which it exists.  What was there before stays until then, whatever goes wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

/* ---- out ------------------------------------------------------------------------------------- */

static const char *volatile to_remove; /* when a signal ends us */

static void on_signal(int number)
{
	if (to_remove)
		(void)unlink(to_remove);
	(void)signal(number, SIG_DFL);
	(void)raise(number);
}

static void watch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (signal(numbers[i], on_signal) == SIG_IGN)
			(void)signal(numbers[i], SIG_IGN);
	}
}

/* Does the file begin as a pool, or a pool set, does? */
static bool is_pool(const char *path)
{
	static const char *const magic[] = { "PMEMOBJ", "PMEMPOOLSET" };
	char first[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, first, sizeof(first) - 1);

	if (fd >= 0)
		(void)close(fd);
	for (size_t i = 0; n > 0 && i < sizeof(magic) / sizeof(magic[0]); i++) {
		if (!strncmp(first, magic[i], strlen(magic[i])))
			return true;
	}
	return false;
}

static void forget(struct output *out)
{
	to_remove = NULL;
	free(out->temporary);
	free(out->target);
}

static int open_temporary(struct output *out, mode_t mode)
{
	int fd = asprintf(&out->temporary, "%s.XXXXXX", out->target), code;

	if (fd < 0) {
		out->temporary = NULL;
		errno = ENOMEM;
	} else {
		fd = mkostemp(out->temporary, O_CLOEXEC);
	}
	if (fd >= 0) {
		to_remove = out->temporary;
		watch_signals();
		(void)fchmod(fd, mode);
		out->to = fdopen(fd, "w");
		if (out->to)
			return EXIT_OK;
		(void)close(fd);
		(void)unlink(out->temporary);
	}
	code = fail_os(-errno, "%s", out->path);
	forget(out);
	return code;
}

int output_open(struct output *out, const char *path)
{
	struct stat st;
	mode_t mask = umask(0);
	bool there;

	(void)umask(mask);
	*out = (struct output){ .to = stdout, .path = path };
	if (!path)
		return EXIT_OK;
	there = !stat(path, &st);
	if (there && !S_ISREG(st.st_mode)) {
		out->to = fopen(path, "we");
		return out->to ? EXIT_OK : fail_os(-errno, "%s", path);
	}
	if (there && is_pool(path))
		return fail(0, "%s: this is a pool; it is not overwritten", path);
	out->target = there ? realpath(path, NULL) : strdup(path); /* through links */
	if (!out->target)
		return fail_os(-errno, "%s", path);
	return open_temporary(out, there ? st.st_mode & 0777 : 0666 & ~mask);
}

int output_close(struct output *out, int code)
{
	if (!code)
		code = output_done(out->to, out->path ? out->path : "standard output");
	if (out->temporary && !code && fsync(fileno(out->to)) && errno != EINVAL)
		code = fail_os(-errno, "%s", out->path);
	if (out->path && fclose(out->to) && !code)
		code = fail_os(-errno, "%s", out->path);
	if (out->temporary && !code && rename(out->temporary, out->target))
		code = fail_os(-errno, "%s", out->path);
	if (out->temporary && code)
		(void)unlink(out->temporary);
	forget(out);
	return code;
}

/* ---- in -------------------------------------------------------------------------------------- */

int read_line(FILE *from, char text[LINE_BYTES_MAX + 1], size_t *n)
{
	size_t len = 0;
	int c;

	errno = 0;
	while ((c = getc_unlocked(from)) != EOF && c != '\n') {
		if (len == LINE_BYTES_MAX)
			return -EMSGSIZE;
		text[len++] = (char)c;
	}
	if (c == EOF && ferror(from))
		return errno ? -errno : -EIO;
	text[len] = '\0';
	*n = len;
	return c != EOF || len;
}
