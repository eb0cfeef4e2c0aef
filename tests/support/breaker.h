/* SPDX-License-Identifier: BSD-3-Clause */
/* breaker -- break a healthy image, and have the verifier name exactly what is broken. */
#ifndef BREAKER_H
#define BREAKER_H

#include "image.h"

struct found {
	unsigned n;
	struct {
		char rule[16], message[256];
		uint64_t off;
	} f[64];
	unsigned last_progress;
};

struct breaker {
	const char *what;
	struct {
		uint64_t off, value;
	} poke[4];
	const char *rule; /* what must be found, once */
	uint64_t at;
	/* rules of what comes with it: "F3" for a subtree that nothing links any more */
	const char *also;
};

/* check_region() on the image, which stays as it is; progress only goes up. */
int breaker_check(struct image *im, struct found *found, struct pmpt_check *sum);
/* Fail unless rc and findings are what the breaker expects. */
void breaker_judge(const struct breaker *b, int rc, const struct found *found);
/* Poke, check, judge and mend, one by one. */
void breaker_run(struct image *im, const struct breaker *b, size_t n);
#define RUN(im, b) breaker_run(im, b, sizeof(b) / sizeof((b)[0]))

#endif
