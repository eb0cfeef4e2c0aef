/* SPDX-License-Identifier: BSD-3-Clause */
/* result -- what came of crash points, together: failures in order, cut where the limit of failures
 * cuts, and the sums over the points that count.
 */
#include <math.h>
#include <stdlib.h>

#include "worker.h"

static int by_path(const void *a, const void *b)
{
	const struct failure *x = a, *y = b;
	size_t n = x->n_decisions < y->n_decisions ? x->n_decisions : y->n_decisions;

	if (x->crash_point != y->crash_point)
		return x->crash_point < y->crash_point ? -1 : 1;
	if (x->phases != y->phases)
		return x->phases < y->phases ? -1 : 1;
	for (unsigned i = 1; i < x->phases; i++) {
		if (x->crash_in[i] != y->crash_in[i])
			return x->crash_in[i] < y->crash_in[i] ? -1 : 1;
	}
	for (size_t i = 0; i < n; i++) {
		if (x->decision[i].chosen != y->decision[i].chosen)
			return x->decision[i].chosen < y->decision[i].chosen ? -1 : 1;
	}
	return x->n_decisions < y->n_decisions ? -1 : x->n_decisions > y->n_decisions;
}

void result_sort(struct result *r)
{
	qsort(r->failure, r->n_failures, sizeof(*r->failure), by_path);
}

void result_sum(struct result *r)
{
	r->executions = r->choices = r->pruned = r->nested_points = r->outcomes = r->reads = 0;
	r->outcome_digest = r->crash_points = 0;
	r->images_log10 = 0;
	for (size_t i = 0; i < r->n_points; i++) {
		const struct point_result *p = &r->point[i].r;
		double a = r->images_log10, b = p->images_log10, big = a > b ? a : b;

		r->executions += p->executions;
		r->choices += p->choices;
		r->pruned += p->pruned;
		r->nested_points += p->nested;
		r->reads += p->reads;
		r->outcomes += p->outcomes;
		r->outcome_digest += p->outcome_digest;
		r->exhaustive = r->exhaustive && p->done && !p->cut;
		/* log10 of a sum */
		r->images_log10 =
			r->crash_points++ ? big + log10(pow(10, a - big) + pow(10, b - big)) : b;
	}
}

void result_cut(struct result *r, unsigned max_failures)
{
	size_t failures = 0, n = 0;

	for (; n < r->n_points && failures < max_failures; n++)
		failures += r->point[n].r.n_failures;
	r->exhaustive = r->exhaustive && n == r->n_points;
	r->n_points = n;
	for (n = 0; n < r->n_failures && n < max_failures; n++) {
		if (!r->n_points || r->failure[n].crash_point > r->point[r->n_points - 1].event)
			break;
	}
	for (size_t i = n; i < r->n_failures; i++)
		free(r->failure[i].decision);
	r->n_failures = n;
}

void result_free(struct result *r)
{
	for (size_t i = 0; i < r->n_failures; i++)
		free(r->failure[i].decision);
	free(r->failure);
	free(r->point);
	*r = (struct result){ 0 };
}
