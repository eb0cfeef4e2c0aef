/* SPDX-License-Identifier: BSD-3-Clause */
/* breaker -- see breaker.h. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "breaker.h"
#include "check.h"

static void on_finding(void *ctx, const struct pmpt_finding *f)
{
	struct found *found = ctx;

	if (found->n < 64) {
		(void)snprintf(found->f[found->n].rule, 16, "%s", f->rule);
		(void)snprintf(found->f[found->n].message, 256, "%s", f->message);
		found->f[found->n].off = f->offset;
	}
	found->n++;
}

static void on_progress(void *ctx, unsigned permille)
{
	struct found *found = ctx;

	assert_true(permille > found->last_progress && permille <= 1000);
	found->last_progress = permille;
}

int breaker_check(struct image *im, struct found *found, struct pmpt_check *sum)
{
	struct check_options o = { on_finding, on_progress, found };
	uint64_t before = image_hash(im);
	struct mem mem;
	int rc;

	*found = (struct found){ 0 };
	*sum = (struct pmpt_check){ 0 };
	assert_int_equal(mem_init(&mem), 0);
	rc = check_region(&im->rg, &mem, &o, sum);
	assert_int_equal(atomic_load(&mem.bytes), 0);
	mem_fini(&mem);
	assert_int_equal(sum->findings, found->n);
	assert_int_equal(image_hash(im), before);
	return rc;
}

void breaker_judge(const struct breaker *b, int rc, const struct found *found)
{
	unsigned hits = 0, others = 0;

	for (unsigned i = 0; i < found->n && i < 64; i++) {
		bool hit = !strcmp(found->f[i].rule, b->rule) && found->f[i].off == b->at;

		hits += hit;
		others += !hit && (!b->also || !strstr(b->also, found->f[i].rule));
	}
	if (rc == 0 && hits == 1 && others == 0)
		return;
	print_error("breaker '%s': expected %s at %#lx, returned %d (%s), found %u:\n", b->what,
		    b->rule, b->at, rc, pmpt_errormsg(), found->n);
	for (unsigned i = 0; i < found->n && i < 64; i++)
		print_error("\t%s at %#lx: %s\n", found->f[i].rule, found->f[i].off,
			    found->f[i].message);
	fail();
}

void breaker_run(struct image *im, const struct breaker *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pmpt_check sum;
		struct found found;
		uint64_t old[4];

		for (unsigned k = 0; k < 4 && b[i].poke[k].off; k++) {
			old[k] = atomic_load(image_word(im, b[i].poke[k].off));
			image_poke(im, b[i].poke[k].off, b[i].poke[k].value);
		}
		breaker_judge(&b[i], breaker_check(im, &found, &sum), &found);
		for (unsigned k = 4; k-- > 0;) {
			if (b[i].poke[k].off)
				image_poke(im, b[i].poke[k].off, old[k]);
		}
	}
}
