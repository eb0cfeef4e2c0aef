/* Recoveries that read words only to store over them, and say so: what they forget at a join leaves no image of a crash inside them out, and
 * adds none.  The line has stores whose order is not that of single words, and bits that a page walker may set, which recovery keeps. */
#include <string.h>

#include <crashsim.h>

static void store(volatile uint64_t *w, uint64_t value) { *w = value; }

static void wide(uint64_t *w, uint64_t value)
{
	uint64_t four[4] = { value, value + 1, value + 2, value + 3 };

	memcpy(w, four, sizeof(four));
}

static void wide_run(void *pm)
{
	uint64_t *w = pm;

	crashsim_begin(0);
	store(&w[5], 1);
	wide(w, 10);
	store(&w[1], 2);
	wide(w + 4, 20);
	crashsim_sfence();
	crashsim_returned(0);
}

static void streamed_run(void *pm)
{
	uint64_t *w = pm, three[3] = { 0x80, 0x81, 0x82 };

	crashsim_begin(0);
	store(&w[0], 1);
	store(&w[2], 2);
	crashsim_movnt(&w[1], three, sizeof(three));
	store(&w[2], 3);
	store(&w[7], 4);
	crashsim_sfence();
	crashsim_returned(0);
}

static void direct_run(void *pm)
{
	uint64_t *w = pm;

	crashsim_begin(0);
	store(&w[3], 1);
	for (unsigned i = 0; i < 8; i++)
		w[i] = 0x80 + i;
	crashsim_movdir64b(w);
	store(&w[6], 2);
	crashsim_sfence();
	crashsim_returned(0);
}

static void walked_run(void *pm)
{
	uint64_t *w = pm;

	crashsim_begin(0);
	store(&w[0], 0x100);
	store(&w[4], 0x100);
	crashsim_walker(&w[0], 0x20);
	crashsim_walker(&w[4], 0x40);
	crashsim_walker(&w[5], 0x20);
	store(&w[4], 0x200);
	store(&w[5], 0x200);
	crashsim_sfence();
	crashsim_returned(0);
}

/* Word 8: it has begun, and what is in the line then is the outcome. */
static void over(void *pm)
{
	volatile uint64_t *w = pm;

	if (w[8]) {
		for (unsigned i = 0; i < 8; i++)
			crashsim_outcome(w[i]);
		return;
	}
	w[8] = 1;
	crashsim_clwb(pm + 64);
	crashsim_sfence();
	for (unsigned i = 0; i < 8; i++) {
		uint64_t was = w[7 - i];

		w[7 - i] = 1000 + i + (was & 0x60);
		crashsim_join(0);
	}
	crashsim_clwb(pm);
	crashsim_sfence();
}

#define JOINS(ident) CRASHSIM_WORKLOAD(ident, .bytes = 4096, .run = ident##_run, .recover = over)
JOINS(wide)
JOINS(streamed)
JOINS(direct)
JOINS(walked)
