/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz -- see fuzz.h. */
#include "fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed;
static struct fuzz current; /* the round in progress */
static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM };
static struct sigaction before[sizeof(signals) / sizeof(signals[0])];

const char *fuzz_again(const struct fuzz *f)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "PMPT_FUZZ_SEED=%lu PMPT_FUZZ_ONLY=%s:%u", seed,
		       f->target, f->round);
	return text;
}

/* Say which round it was, then let it be what it would have been. */
static void on_signal(int sig)
{
	const char *again = current.target ? fuzz_again(&current) : "before the first round";

	(void)!write(STDERR_FILENO,
		     sig == SIGALRM ? "hangs: " : "crashes: ", sig == SIGALRM ? 7 : 9);
	(void)!write(STDERR_FILENO, again, strlen(again));
	(void)!write(STDERR_FILENO, "\n", 1);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &before[i], NULL);
	if (sig == SIGALRM)
		_exit(1);
}

void fuzz_begin(unsigned seconds)
{
	const char *given = getenv("PMPT_FUZZ_SEED");
	struct sigaction act = { .sa_handler = on_signal };

	seed = given ? strtoul(given, NULL, 0) : (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
	printf("PMPT_FUZZ_SEED=%lu\n", seed);
	(void)fflush(stdout);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &act, &before[i]);
	(void)alarm(seconds);
}

bool fuzz_next(struct fuzz *f, unsigned rounds)
{
	const char *only = getenv("PMPT_FUZZ_ONLY"), *colon = only ? strchr(only, ':') : NULL;

	f->round += f->begun;
	f->begun = true;
	if (colon) {
		bool ours = strlen(f->target) == (size_t)(colon - only) &&
			    !strncmp(only, f->target, (size_t)(colon - only));
		unsigned round = (unsigned)strtoul(colon + 1, NULL, 0);

		if (!ours || f->round > round)
			return false;
		f->round = round;
	}
	f->state = seed * 0x9e3779b97f4a7c15u + f->round;
	for (const char *c = f->target; *c; c++)
		f->state = f->state * 31 + (unsigned char)*c;
	current = *f;
	return f->round < rounds;
}

uint64_t fuzz_random(struct fuzz *f, uint64_t below) /* splitmix64 */
{
	uint64_t z = f->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return below ? z % below : z;
}

uint64_t fuzz_word(struct fuzz *f, uint64_t old)
{
	switch (fuzz_random(f, 8)) {
	case 0:
		return fuzz_random(f, 0);
	case 1:
		return old + ((uint64_t)1 << fuzz_random(f, 40));
	case 2:
		return fuzz_random(f, 2) ? ~(uint64_t)0 >> fuzz_random(f, 64) : 0;
	case 3:
		/* another frame of a small pool */
		return (old & 0xfff) | fuzz_random(f, 4096) << 12;
	default:
		for (uint64_t n = 1 + fuzz_random(f, 3); n; n--)
			old ^= (uint64_t)1 << fuzz_random(f, 64);
		return old;
	}
}
