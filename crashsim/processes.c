/* SPDX-License-Identifier: BSD-3-Clause */
/* processes -- fork(), exec() and the like, called by run or by recovery: refused.  What another process
 * stores to the buffer nobody sees, and a copy of this one would explore on its own.  Setup may.
 *
 * A run that ends its process by _exit() or exec() would take the command with it, and its exit status
 * would be taken for a result.
 */
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "driver.h"
#include "symbol.h"
#include "system.h"

#define ARGS_MAX 256u

#define CALLER ((uint64_t)(uintptr_t)__builtin_return_address(0))

static void refuse(const char *what, uint64_t site)
{
	char text[300], place[200];

	if (stage == STAGE_IDLE)
		return;
	if (stage == STAGE_RECOVER) {
		(void)snprintf(text, sizeof(text), "recovery called %s()", what);
		explore_fail(text);
	}
	record_refuse("run called %s(), at %s: what another process stores is not seen", what,
		      symbol_place(symbol_of(site), place, sizeof(place)));
}

pid_t fork(void)
{
	refuse("fork", CALLER);
	return SYSTEM(fork)();
}

/* A function cannot return twice from a true one. */
pid_t vfork(void)
{
	refuse("vfork", CALLER);
	return SYSTEM(fork)();
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	refuse("posix_spawn", CALLER);
	return SYSTEM(posix_spawn)(pid, path, actions, attr, argv, env);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	refuse("posix_spawnp", CALLER);
	return SYSTEM(posix_spawnp)(pid, file, actions, attr, argv, env);
}

int system(const char *command)
{
	refuse("system", CALLER);
	return SYSTEM(system)(command);
}

FILE *popen(const char *command, const char *mode)
{
	refuse("popen", CALLER);
	return SYSTEM(popen)(command, mode);
}

int daemon(int keep_directory, int keep_files)
{
	refuse("daemon", CALLER);
	return SYSTEM(daemon)(keep_directory, keep_files);
}

/* ---- this one ---------------------------------------------------------------------------------- */

int execve(const char *path, char *const argv[], char *const env[])
{
	refuse("execve", CALLER);
	return SYSTEM(execve)(path, argv, env);
}

int execv(const char *path, char *const argv[])
{
	refuse("execv", CALLER);
	return SYSTEM(execv)(path, argv);
}

int execvp(const char *file, char *const argv[])
{
	refuse("execvp", CALLER);
	return SYSTEM(execvp)(file, argv);
}

static void collect(char *to[ARGS_MAX + 1], const char *arg, va_list ap)
{
	unsigned n = 0;

	for (; arg && n < ARGS_MAX; arg = va_arg(ap, const char *))
		to[n++] = (char *)(uintptr_t)arg;
	to[n] = NULL;
}

int execl(const char *path, const char *arg, ...)
{
	char *argv[ARGS_MAX + 1];
	va_list ap;

	refuse("execl", CALLER);
	va_start(ap, arg);
	collect(argv, arg, ap);
	va_end(ap);
	return SYSTEM(execv)(path, argv);
}

int execlp(const char *file, const char *arg, ...)
{
	char *argv[ARGS_MAX + 1];
	va_list ap;

	refuse("execlp", CALLER);
	va_start(ap, arg);
	collect(argv, arg, ap);
	va_end(ap);
	return SYSTEM(execvp)(file, argv);
}

void _exit(int status)
{
	char place[200];

	if (stage == STAGE_RECORD)
		record_refuse("run ended its process by _exit(), at %s",
			      symbol_place(symbol_of(CALLER), place, sizeof(place)));
	for (;;)
		(void)syscall(SYS_exit_group, status);
}

void _Exit(int status) { _exit(status); }
