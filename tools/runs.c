/* SPDX-License-Identifier: BSD-3-Clause */
/* runs -- pages of a space, merged into runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

int runs_add(struct runs *runs, const struct run *run, bool by_frame)
{
	struct run *last = runs->n ? &runs->run[runs->n - 1] : NULL;
	/* demand-zero pages, and those that are out, have none */
	uint64_t frames =
		run->flags & (PMPT_DEMAND | PMPT_OUT) ? 0 : run->page_bytes / PMPT_PAGE_BYTES;

	runs->pages += run->count;
	if (last && last->page_bytes == run->page_bytes && last->flags == run->flags &&
	    last->va + run_bytes(last) == run->va && run->va /* not round the end */) {
		if (last->next_pfn == run->pfn || !by_frame) {
			last->pieces += last->next_pfn != run->pfn;
			last->count += run->count;
			last->next_pfn = run->pfn + run->count * frames;
			return 0;
		}
	}
	if (runs->n == runs->room) {
		size_t room = runs->room ? 2 * runs->room : 64;
		struct run *grown = realloc(runs->run, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		runs->run = grown;
		runs->room = room;
	}
	last = &runs->run[runs->n++];
	*last = *run;
	last->next_pfn = run->pfn + run->count * frames;
	last->pieces = 1;
	return 0;
}

struct walk {
	struct runs *runs;
	bool by_frame;
};

static int add_page(void *ctx, const struct pmpt_mapping *m)
{
	const struct walk *w = ctx;
	struct run run = { .va = m->va,
			   .page_bytes = m->page_bytes,
			   .count = 1,
			   .pfn = m->pfn,
			   .flags = m->flags & ~w->runs->ignore };

	return runs_add(w->runs, &run, w->by_frame);
}

int runs_walk(struct runs *runs, const pmpt_view *view, const pmpt_space *space, uint64_t va,
	      uint64_t len_bytes, bool by_frame)
{
	struct walk w = { runs, by_frame };

	return pmpt_view_walk(view, space, va, len_bytes, add_page, &w);
}

void runs_free(struct runs *runs)
{
	free(runs->run);
	*runs = (struct runs){ 0 };
}

const char *end_text(uint64_t va, uint64_t bytes, int digits)
{
	static _Thread_local char text[24];

	if (va + bytes == 0 && bytes)
		snprintf(text, sizeof(text), "10000000000000000");
	else
		snprintf(text, sizeof(text), "%0*" PRIx64, digits, va + bytes);
	return text;
}

const char *prot_text(unsigned flags, char text[5])
{
	for (unsigned i = 0; i < 4; i++)
		text[i] = "-rwxu"[flags >> i & 1 ? i + 1 : 0];
	text[4] = '\0';
	return text;
}

const char *page_size_name(uint64_t page_bytes)
{
	return page_bytes >> 30 ? "1G" : page_bytes >> 21 ? "2M" : "4K";
}

/* ---- names ----------------------------------------------------------------------------------- */

struct names {
	char **name;
	size_t n;
};

static int add_name(void *ctx, const char *name)
{
	struct names *names = ctx;

	names->name[names->n] = strdup(name);
	return names->name[names->n++] ? 0 : -ENOMEM;
}

static int add_segment(void *ctx, const struct pmpt_segment *segment)
{
	return add_name(ctx, segment->name);
}

static int names_all(pmpt_pool *pool, bool segments, char ***out, size_t *n)
{
	struct names names = { .name = calloc(PMPT_SPACES_MAX + 1, sizeof(char *)) };
	int rc = names.name ? 0 : -ENOMEM;

	if (!rc)
		rc = segments ? pmpt_segment_list(pool, add_segment, &names)
			      : pmpt_space_list(pool, add_name, &names);
	if (rc) {
		names_free(names.name);
		return fail(rc, segments ? "list of segments" : "list of spaces");
	}
	*out = names.name;
	*n = names.n;
	return EXIT_OK;
}

int space_names(pmpt_pool *pool, char ***out, size_t *n) { return names_all(pool, false, out, n); }

int segment_names(pmpt_pool *pool, char ***out, size_t *n) { return names_all(pool, true, out, n); }

void names_free(char **names)
{
	for (char **at = names; at && *at; at++)
		free(*at);
	free((void *)names);
}
