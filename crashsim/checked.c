/* SPDX-License-Identifier: BSD-3-Clause */
/* checked -- blocks that validate themselves: crashsim_checked().
 *
 * Recovery takes such a block if its checksum is right, and then it is one of the contents that the
 * line has ever had as a whole; or it does not, and then all mixtures are alike to it.  So a line
 * has one option for each of those contents that it can be, and one for a mixture, instead of the
 * product of its words' options.
 */
#include "explore_state.h"

#include <string.h>

/* Can the line be `content` in bytes that are not known?  give: make it so. */
static bool line_be(struct open *o, const unsigned char *content, bool give_it)
{
	struct open was = *o;
	bool can = true;

	for (unsigned w = 0; w < LINE_WORDS && can; w++) {
		uint8_t mask = (uint8_t) ~(o->known >> 8 * w);
		struct option option;
		uint64_t value;

		if (!mask) {
			can = !memcmp(region_base + (size_t)o->set->line * LINE_BYTES + 8 * w,
				      content + 8 * w, 8);
			continue;
		}
		memcpy(&value, content + 8 * w, 8);
		can = option_value(o, w, mask, value & bytes_of(mask), &option);
		if (can && give_it) {
			option_give(o, w, mask, &option);
		} else if (can) { /* narrow for the words behind it */
			memcpy(o->lo, option.lo, sizeof(o->lo));
			memcpy(o->hi, option.hi, sizeof(o->hi));
		}
	}
	if (!give_it)
		*o = was;
	return can;
}

static void line_newest(const struct open *o, bool newest, unsigned char content[LINE_BYTES])
{
	memcpy(content, o->set->base, LINE_BYTES);
	for (uint32_t i = 0; i < o->set->n; i++) {
		const struct piece *p = &o->set->piece[i];
		uint16_t k = newest ? o->hi[p->group] : o->lo[p->group];
		uint64_t word;

		if (p->rank >= k)
			continue;
		memcpy(&word, content + 8 * p->word, 8);
		word = p->bits ? word | p->value
			       : (word & ~bytes_of(p->mask)) | (p->value & bytes_of(p->mask));
		memcpy(content + 8 * p->word, &word, 8);
	}
}

#define CONTENTS 64
struct contents {
	unsigned n;
	unsigned char content[CONTENTS][LINE_BYTES];
};

static void contents_add(struct contents *c, struct open *o, const unsigned char *content)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (!memcmp(c->content[i], content, LINE_BYTES))
			return;
	}
	if (c->n < CONTENTS && line_be(o, content, false))
		memcpy(c->content[c->n++], content, LINE_BYTES);
}

/* A mixture that is none of the whole contents: one word of another option.  False: there is none. */
static bool line_invalid(struct open *o, const struct contents *c, unsigned char out[LINE_BYTES])
{
	for (unsigned i = 0; i < c->n; i++) {
		for (unsigned w = 0; w < LINE_WORDS; w++) {
			uint8_t mask = (uint8_t) ~(o->known >> 8 * w);
			unsigned n = mask ? options_of(o, w, mask, UINT32_MAX, NULL) : 0;

			for (unsigned k = 0; k < n; k++) {
				struct option option;
				uint64_t word;
				unsigned j = 0;

				(void)options_of(o, w, mask, k, &option);
				memcpy(out, c->content[i], LINE_BYTES);
				memcpy(&word, out + 8 * w, 8);
				word = (word & ~bytes_of(mask)) | option.value;
				memcpy(out + 8 * w, &word, 8);
				while (j < c->n && memcmp(c->content[j], out, LINE_BYTES))
					j++;
				if (j == c->n && line_be(o, out, false))
					return true;
			}
		}
	}
	return false;
}

static void check_line(uint32_t line)
{
	struct open *o = ex.of[line];
	const unsigned char *version;
	unsigned char content[LINE_BYTES], invalid[LINE_BYTES];
	struct contents c = { 0 };
	unsigned n, chosen = 0;
	bool more;

	if (!o)
		return;
	open_touch(o);
	if (!~o->known)
		return;
	line_newest(o, true, content);
	contents_add(&c, o, content);
	line_newest(o, false, content);
	contents_add(&c, o, content);
	size_t versions = ex.x->model ? model_versions(ex.x->model, line, &version) : 0;

	for (size_t i = 0; i < versions; i++)
		contents_add(&c, o, version + i * LINE_BYTES);
	more = line_invalid(o, &c, invalid);
	n = c.n + more;
	if (n == 0)
		return;
	if (n > 1)
		chosen = decide(line, LINE_WORDS, 0xff, n);
	(void)line_be(o, chosen < c.n ? c.content[chosen] : invalid, true);
	if (ex.x->observer)
		decision_tell(
			o,
			&(struct decision){ line, LINE_WORDS, 0xff, (uint16_t)chosen, (uint16_t)n },
			0);
}

void explore_checked(uint64_t off, size_t len)
{
	if (options.no_prune && len == 0)
		return;
	for (uint64_t line = off >> LINE_SHIFT; line < (off + len + LINE_BYTES - 1) >> LINE_SHIFT;
	     line++)
		check_line((uint32_t)line);
}
