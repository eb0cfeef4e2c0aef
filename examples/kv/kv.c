/* SPDX-License-Identifier: BSD-3-Clause */
/* kv -- the map: its pages, transactions, the tree, its check.
 *
 * FORMAT	Little-endian.  Page number n is at address n * 4096 of the space; there is no page 0.
 *	A page is free if it is not mapped: the page table is the map of free pages.
 *	0	u64	sum of the other bytes and the number of the page
 *	8	u16	height in the tree, 1: leaf; 10 u16 n; 12 u16 heap; 14 u16 0
 *	16		u16 offsets of n cells, in the order of their keys; the cells lie from `heap` to
 *			the end, without a gap
 *	cell	u16 key_len, u16 val_len, key, value.  The value in an inner node is u64, the number of a
 *		child, whose keys are not before the cell's key and before the next cell's; the first
 *		cell's key there is not looked at.  User words of the space: enum kv_word
 * VALID IF AND ONLY IF	K1 sums are right, and K2 heights what the references to the pages ask for; K3 nodes
 *	have keys, which ascend over all nodes; K4 each page that is mapped is in the tree, once
 * ORDER	None.  A transaction changes copies of pages; kv_commit() writes them in one transaction of
 *	libpmpt.  So nothing is undone, and nothing recovered.
 */
#include "kv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE        4096u
#define HEAD        16u
#define BODY        (PAGE - HEAD)
#define CELL_HEAD   4u
#define HEIGHT_MAX  32u /* never: three splits below make one above */
#define BUCKETS     256u
#define FRAMES_LEFT 32u
#define KV_MAGIC    0x32766b2d74706d70u /* "pmpt-kv2" */

enum kv_word {
	KV_BATCH,  /* transactions committed */
	KV_FORMAT, /* KV_MAGIC; 0, with all others: an empty map */
	KV_ROOT,   /* number of the root */
	KV_HEIGHT, /* of the root; 0: no keys */
	KV_PAGES,  /* in use */
	KV_END,    /* pages from here on are free */
	KV_NEXT,   /* where the search for a free one goes on */
	KV_WORDS
};

struct node {
	uint64_t sum;
	uint16_t height, n, heap, zero;
	uint16_t slot[BODY / 2]; /* and the cells */
};
struct cell {
	struct kv_slice key, val;
};

struct copy {
	struct copy *next, *older; /* in its bucket; of all */
	uint64_t no;
	bool changed; /* is to be written; height 0: unmapped */
	struct node node;
};
struct step {
	uint64_t no;
	struct node *node;
	unsigned i; /* cell */
};
struct kv {
	pmpt_space *map;
	pmpt_view *view;
	uint64_t word[KV_WORDS];
	int spoilt;
	bool changed, grown;              /* grown: by a page */
	bool exact, placed;               /* the path leads to the key; to what was found last */
	struct kv_slice after;            /* where the next leaf begins; NULL: there is none */
	struct step path[HEIGHT_MAX + 1]; /* from the root to the leaf, 1, by height */
	struct copy *bucket[BUCKETS], *newest;
	struct copy *spare; /* memory of former transactions */
};

static _Thread_local char message[160];
static _Thread_local int message_of;

__attribute__((format(printf, 2, 3))) static int fail(int rc, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	return message_of = rc;
}

const char *kv_errormsg(int rc)
{
	return rc == -ENOENT ? "no such key" : rc == message_of ? message : pmpt_errormsg();
}

int kv_compare(struct kv_slice a, struct kv_slice b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* ---- a node, wherever it lies ------------------------------------------------------------------ */

/* Sums of words, and sums of these, in four lanes: no change of one word goes unseen. */
static uint64_t node_sum(const struct node *node, uint64_t no)
{
	uint64_t word[4], a[4] = { no - node->sum }, b[4] = { 0 }, sum = 0; /* itself not counted */

	for (unsigned i = 0; i < PAGE; i += sizeof(word)) {
		memcpy(word, (const char *)node + i, sizeof(word));
		for (unsigned k = 0; k < 4; k++)
			b[k] += a[k] += word[k];
	}
	for (unsigned k = 0; k < 4; k++) {
		sum = (sum ^ a[k]) * 0x9e3779b97f4a7c15u;
		sum = (sum ^ sum >> 32 ^ b[k]) * 0x9e3779b97f4a7c15u;
	}
	return sum;
}

static void node_init(struct node *node, unsigned height)
{
	memset(node, 0, sizeof(*node));
	node->height = (uint16_t)height;
	node->heap = PAGE;
}

/* Never outside the page, whatever is in it: readers meet damaged ones.  Then a cell is empty. */
static struct cell node_cell(const struct node *node, unsigned i)
{
	size_t off = i < BODY / 2 ? node->slot[i] : PAGE;
	const char *key = (const char *)node + off + CELL_HEAD;
	uint16_t len[2] = { 0 };

	if (off + CELL_HEAD <= PAGE)
		memcpy(len, key - CELL_HEAD, sizeof(len));
	if (off + CELL_HEAD + len[0] + len[1] > PAGE)
		return (struct cell){ { node, 0 }, { node, 0 } };
	return (struct cell){ { key, len[0] }, { key + len[0], len[1] } };
}

static uint64_t node_child(const struct node *node, unsigned i)
{
	struct cell c = node_cell(node, i);
	uint64_t no = 0; /* no page: it is damaged */

	if (c.val.len == sizeof(no))
		memcpy(&no, c.val.data, sizeof(no));
	return no;
}

/* The first cell that is not before the key; an inner node's first one is. */
static unsigned node_find(const struct node *node, struct kv_slice key, bool *exact)
{
	unsigned low = node->height > 1, high = node->n;

	*exact = false;
	while (low < high) {
		unsigned mid = (low + high) / 2;
		int order = kv_compare(node_cell(node, mid).key, key);

		*exact |= !order;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* False: there is no room. */
static bool node_insert(struct node *node, unsigned at, struct cell c)
{
	uint16_t len[2] = { (uint16_t)c.key.len, (uint16_t)c.val.len };
	size_t bytes = CELL_HEAD + c.key.len + c.val.len;
	char *to = (char *)node + node->heap - bytes;

	if (HEAD + 2u * (node->n + 1u) + bytes > node->heap)
		return false;
	memcpy(to, len, sizeof(len));
	memcpy(to + CELL_HEAD, c.key.data, c.key.len);
	memcpy(to + CELL_HEAD + c.key.len, c.val.data, c.val.len);
	memmove(&node->slot[at + 1], &node->slot[at], (node->n - at) * sizeof(node->slot[0]));
	node->heap = node->slot[at] = (uint16_t)(node->heap - bytes);
	node->n++;
	return true;
}

/* The cells below it in the heap move up. */
static void node_remove(struct node *node, unsigned at)
{
	struct cell c = node_cell(node, at);
	uint16_t off = node->slot[at], bytes = (uint16_t)(CELL_HEAD + c.key.len + c.val.len);

	memmove((char *)node + node->heap + bytes, (char *)node + node->heap, off - node->heap);
	node->heap = (uint16_t)(node->heap + bytes);
	node->n--;
	memmove(&node->slot[at], &node->slot[at + 1], (node->n - at) * sizeof(node->slot[0]));
	for (unsigned i = 0; i < node->n; i++)
		if (node->slot[i] < off)
			node->slot[i] = (uint16_t)(node->slot[i] + bytes);
}

/* The cells, and one more at `at`, go to node and right by halves.  No cell is larger than a half, so
 * what the left has no room for the right has.  One more at the end goes there alone: ascending keys
 * leave full nodes behind. */
static void node_split(struct node *node, struct node *right, unsigned at, struct cell more)
{
	struct node old = *node;
	bool full = false;

	node_init(node, old.height);
	node_init(right, old.height);
	for (unsigned i = 0; i <= old.n; i++) {
		struct cell c = i == at ? more : node_cell(&old, i - (i > at));

		full |= i == old.n || (at < old.n && node->heap < HEAD + BODY / 2);
		if (full || !node_insert(node, node->n, c))
			full = node_insert(right, right->n, c);
	}
}

/* ---- pages, as the transaction sees them ------------------------------------------------------- */

/* Page no: on the medium, to be read only, or, once it is to be changed, a copy; zeros: it is free.  What
 * is copied is verified: a damaged page is not to get a sum that is right. */
static int page_at(struct kv *kv, uint64_t no, bool change, struct node **node)
{
	struct copy **bucket = &kv->bucket[no % BUCKETS], *c = *bucket;
	const void *page = NULL;
	int rc = 0;

	while (c && c->no != no)
		c = c->next;
	if (!c && !change)
		rc = pmpt_page_ptr(kv->view, kv->map, no * PAGE, &page);
	*node = (struct node *)page;
	if (page || (rc && rc != PMPT_E_NOT_MAPPED)) /* that is out in the swap file: a copy, too */
		return rc;
	if (!c) {
		c = kv->spare ? kv->spare : calloc(1, sizeof(*c));
		if (!c)
			return fail(-ENOMEM, "no memory for a page");
		kv->spare = c;
		rc = pmpt_read(kv->view, kv->map, no * PAGE, &c->node, PAGE);
		if (!rc && (c->node.height || c->node.sum) && c->node.sum != node_sum(&c->node, no))
			rc = fail(PMPT_E_CORRUPT, "page at %#lx: sum %#lx, expected %#lx",
				  no * PAGE, c->node.sum, node_sum(&c->node, no));
		if (rc)
			return rc;
		kv->spare = c->older;
		c->older = kv->newest;
		c->next = *bucket;
		*bucket = kv->newest = c;
		c->no = no;
		c->changed = false;
	}
	c->changed |= change;
	kv->changed |= change;
	*node = &c->node;
	return 0;
}

/* One that is in use, says what refers to it [K2]: those behind the end are free, as page 0 is. */
static int page_get(struct kv *kv, uint64_t no, unsigned height, bool change, struct node **node)
{
	int rc = page_at(kv, no < kv->word[KV_END] ? no : 0, false, node);

	if (!rc && (*node)->height != height)
		rc = fail(PMPT_E_CORRUPT, "page at %#lx: height %u, expected %u", no * PAGE,
			  (*node)->height, height);
	return rc || !change ? rc : page_at(kv, no, true, node);
}

/* A search begins anew when half of the pages are free: so it looks at two for each that it finds. */
static int page_new(struct kv *kv, unsigned height, uint64_t *no, struct node **node)
{
	uint64_t *next = &kv->word[KV_NEXT], *end = &kv->word[KV_END];
	int rc;

	if (*next >= *end && kv->word[KV_PAGES] <= *end / 2)
		*next = 1;
	while (!(rc = page_at(kv, *next, false, node)) && (*node)->height)
		++*next;
	if (rc || (rc = page_at(kv, *next, true, node)))
		return rc;
	node_init(*node, height);
	*no = (*next)++;
	*end = *next > *end ? *next : *end;
	kv->word[KV_PAGES]++;
	kv->grown = true;
	return 0;
}

/* ---- transactions ------------------------------------------------------------------------------ */

struct kv *kv_open(pmpt_space *map)
{
	struct kv *kv = calloc(1, sizeof(*kv));

	if (kv)
		kv->map = map;
	return kv;
}

void kv_close(struct kv *kv)
{
	for (struct copy *c = kv->spare; c; c = kv->spare) {
		kv->spare = c->older;
		free(c);
	}
	free(kv);
}

int kv_begin(struct kv *kv)
{
	int rc = pmpt_view_open(pmpt_space_pool(kv->map), &kv->view);

	message_of = kv->spoilt = kv->changed = kv->grown = kv->placed = 0;
	for (unsigned i = 0; i < KV_WORDS && !rc; i++)
		rc = pmpt_view_user_get(kv->view, kv->map, i, &kv->word[i]);
	if (!rc && !kv->word[KV_FORMAT])
		kv->word[KV_FORMAT] = KV_MAGIC;
	if (!rc && (kv->word[KV_FORMAT] != KV_MAGIC || kv->word[KV_HEIGHT] > HEIGHT_MAX))
		rc = fail(PMPT_E_CORRUPT, "no map: user word %u is %#lx, expected %#lx", KV_FORMAT,
			  kv->word[KV_FORMAT], KV_MAGIC);
	if (rc)
		kv_abort(kv);
	return rc;
}

void kv_abort(struct kv *kv)
{
	for (struct copy *c = kv->newest; c; c = kv->newest) {
		kv->newest = c->older;
		kv->bucket[c->no % BUCKETS] = NULL;
		c->older = kv->spare;
		kv->spare = c;
	}
	pmpt_view_close(kv->view);
	kv->view = NULL;
}

/* Once the first word is set, no other transaction can set it until tx ends: then it tells that none has
 * since the view was opened.  Each page is written once, however often it has changed. */
static int write_all(struct kv *kv, pmpt_tx *tx)
{
	uint64_t was, pfn;
	int rc = 0;

	for (unsigned i = 0; i < KV_WORDS && !rc; i++)
		rc = pmpt_user_set(tx, kv->map, i, kv->word[i] + (i == KV_BATCH));
	if (rc || (rc = pmpt_user_get(kv->map, KV_BATCH, &was)))
		return rc;
	if (was != kv->word[KV_BATCH])
		return fail(PMPT_E_CONFLICT, "the map has changed since kv_begin()");
	for (struct copy *c = kv->newest; c && !rc; c = c->older) {
		c->node.sum = node_sum(&c->node, c->no);
		if (c->changed && c->node.height)
			rc = pmpt_write(tx, kv->map, c->no * PAGE, &c->node, PAGE);
		else if (c->changed)
			rc = pmpt_unmap(tx, kv->map, c->no * PAGE, PAGE);
	}
	/* what takes pages leaves some for what gives pages back: that writes, too */
	for (unsigned i = 0; i < FRAMES_LEFT && kv->grown && !rc; i++)
		rc = pmpt_frame_alloc(tx, 1, 1, &pfn);
	return rc;
}

int kv_commit(struct kv *kv)
{
	uint64_t word;
	int rc = kv->spoilt ? kv->spoilt
			    : pmpt_view_user_get(kv->view, kv->map, 0, &word); /* stale? */
	pmpt_tx *tx = NULL;

	pmpt_view_close(kv->view); /* the copies are all that is needed */
	kv->view = NULL;
	if (kv->changed && !rc)
		rc = pmpt_begin(pmpt_space_pool(kv->map), 0, &tx);
	if (tx && !(rc = write_all(kv, tx)))
		rc = pmpt_commit(tx, NULL); /* here it happens, all of it */
	if (tx && rc && rc != PMPT_E_IO)
		(void)pmpt_abort(tx);
	kv_abort(kv);
	return rc;
}

/* ---- the tree ---------------------------------------------------------------------------------- */

/* The path to the first pair of a leaf that is not before the key; all of the leaf may be. */
static int descend(struct kv *kv, struct kv_slice key)
{
	uint64_t no = kv->word[KV_ROOT];
	int rc = kv->spoilt;

	kv->placed = kv->exact = false;
	kv->after.data = NULL;
	for (unsigned height = (unsigned)kv->word[KV_HEIGHT]; height && !rc; height--) {
		struct step *s = &kv->path[height];

		rc = page_get(kv, no, height, false, &s->node);
		if (rc)
			return rc;
		s->no = no;
		s->i = node_find(s->node, key, &kv->exact);
		if (height == 1)
			return 0;
		s->i -= !kv->exact; /* the child that begins before the key */
		if (s->i + 1 < s->node->n)
			kv->after = node_cell(s->node, s->i + 1).key;
		no = node_child(s->node, s->i);
	}
	return rc ? rc : -ENOENT;
}

/* The pair at the path, or the first one of the next leaf, whose keys are behind those of this one. */
static int found(struct kv *kv, struct kv_slice *key, struct kv_slice *value)
{
	struct kv_slice last = KV_STR("");
	const struct step *leaf = &kv->path[1];
	struct cell c;
	int rc = 0;

	if (leaf->i >= leaf->node->n) {
		last = node_cell(leaf->node, leaf->node->n - 1u).key;
		rc = kv->after.data ? descend(kv, kv->after) : -ENOENT;
	}
	c = node_cell(leaf->node, leaf->i);
	if (!rc && (leaf->i >= leaf->node->n || (last.len && kv_compare(c.key, last) <= 0)))
		rc = fail(PMPT_E_CORRUPT, "page at %#lx: not the next keys", leaf->no * PAGE);
	kv->placed = !rc;
	*key = rc ? *key : c.key;
	*value = rc ? *value : c.val;
	return rc;
}

int kv_seek(struct kv *kv, struct kv_slice from, struct kv_slice *key, struct kv_slice *value)
{
	int rc = descend(kv, from);

	return rc ? rc : found(kv, key, value);
}

int kv_next(struct kv *kv, struct kv_slice *key, struct kv_slice *value)
{
	kv->path[1].i++;
	return kv->placed ? found(kv, key, value) : -ENOENT;
}

int kv_get(struct kv *kv, struct kv_slice key, struct kv_slice *value)
{
	int rc = descend(kv, key);

	return rc ? rc : kv->exact ? found(kv, &key, value) : -ENOENT;
}

/* A cell comes into the path's node of this height.  A full one is split, and what refers to the new one
 * on its right comes into the parent, or, with one that refers to the left, into a new root. */
static int insert(struct kv *kv, unsigned height, unsigned at, struct cell cell)
{
	uint64_t left_no = kv->path[height].no, no;
	struct node *node, *right;
	int rc = page_get(kv, left_no, height, true, &node);

	if (rc || node_insert(node, at, cell))
		return rc;
	rc = page_new(kv, height, &no, &right);
	if (rc)
		return rc;
	node_split(node, right, at, cell);
	cell = (struct cell){ node_cell(right, 0).key, { &no, sizeof(no) } };
	if (height < kv->word[KV_HEIGHT])
		return insert(kv, height + 1, kv->path[height + 1].i + 1, cell);
	rc = page_new(kv, (unsigned)++kv->word[KV_HEIGHT], &kv->word[KV_ROOT], &node);
	if (!rc && node_insert(node, 0, (struct cell){ KV_STR(""), { &left_no, sizeof(left_no) } }))
		(void)node_insert(node, 1, cell);
	return rc;
}

int kv_put(struct kv *kv, struct kv_slice key, struct kv_slice value)
{
	char own[KV_PAIR_MAX]; /* what is given may lie in the page that changes */
	struct cell cell = { { own, key.len }, { own + key.len, value.len } };
	struct step *leaf = &kv->path[1];
	int rc = kv->spoilt;

	if (!key.len || key.len > KV_KEY_MAX || value.len > KV_PAIR_MAX - key.len)
		return fail(-EINVAL, "a key of %zu bytes, a value of %zu: at most %u, together %u",
			    key.len, value.len, KV_KEY_MAX, KV_PAIR_MAX);
	memcpy(own, key.data, key.len);
	memcpy(own + key.len, value.data, value.len);
	if (!rc && !kv->word[KV_HEIGHT])
		rc = page_new(kv, (unsigned)++kv->word[KV_HEIGHT], &kv->word[KV_ROOT], &leaf->node);
	if (!rc)
		rc = descend(kv, cell.key);
	if (!rc)
		rc = page_get(kv, leaf->no, 1, true, &leaf->node);
	if (!rc && kv->exact)
		node_remove(leaf->node, leaf->i);
	return kv->spoilt = rc ? rc : insert(kv, 1, leaf->i, cell);
}

/* A cell goes from the path's node of this height, and with the last one the node. */
static int cut(struct kv *kv, unsigned height)
{
	struct step *s = &kv->path[height];
	int rc = page_get(kv, s->no, height, true, &s->node);

	if (!rc)
		node_remove(s->node, s->i);
	if (rc || s->node->n)
		return rc;
	node_init(s->node, 0); /* free: its frame goes back to the pool */
	kv->word[KV_PAGES]--;
	if (height < kv->word[KV_HEIGHT])
		return cut(kv, height + 1);
	kv->word[KV_HEIGHT] = kv->word[KV_ROOT] = 0;
	return 0;
}

int kv_delete(struct kv *kv, struct kv_slice key)
{
	int rc = descend(kv, key);

	if (rc == -ENOENT || (!rc && !kv->exact))
		return -ENOENT;
	return kv->spoilt = rc ? rc : cut(kv, 1);
}

/* ---- the check --------------------------------------------------------------------------------- */

struct check {
	struct kv *kv;
	struct kv_stat *stat;
	void (*fn)(void *ctx, uint64_t va, const char *message);
	void *ctx;
	uint8_t *seen;        /* by number */
	struct kv_slice last; /* key that was passed: a leaf may begin with its parent's */
};

/* What is below a page with a finding is not looked at. */
static int check_tree(struct check *c, uint64_t no, unsigned height)
{
	struct node *node;
	int rc = page_get(c->kv, no, height, false, &node);

	if (!rc && !c->kv->changed && node->sum != node_sum(node, no))
		rc = fail(PMPT_E_CORRUPT, "sum %#lx, expected %#lx", node->sum, node_sum(node, no));
	if (!rc && (!node->n || c->seen[no]++))
		rc = fail(PMPT_E_CORRUPT, "empty, or in the tree more than once");
	for (unsigned i = 0; !rc && i < node->n; i++) {
		struct kv_slice key = node_cell(node, i).key;

		if ((height == 1 || i) && kv_compare(key, c->last) < (height > 1 || i))
			rc = fail(PMPT_E_CORRUPT, "key %u is not behind the one before", i);
		c->last = height == 1 || i ? key : c->last;
		c->stat->keys += height == 1;
		if (height > 1 && !rc)
			rc = check_tree(c, node_child(node, i), height - 1);
	}
	if (rc != PMPT_E_CORRUPT)
		return rc;
	c->stat->findings++;
	c->fn(c->ctx, no * PAGE, kv_errormsg(rc));
	return 0;
}

int kv_check(struct kv *kv, void (*fn)(void *ctx, uint64_t va, const char *message), void *ctx,
	     struct kv_stat *stat)
{
	struct check c = { kv, stat, fn, ctx, calloc(kv->word[KV_END] + 1, 1), KV_STR("") };
	struct node *node;
	int rc = c.seen ? 0 : fail(-ENOMEM, "no memory for %lu bytes", kv->word[KV_END]);

	*stat = (struct kv_stat){ .height = kv->word[KV_HEIGHT], .pages = kv->word[KV_PAGES] };
	if (!rc && stat->height)
		rc = check_tree(&c, kv->word[KV_ROOT], (unsigned)stat->height);
	for (uint64_t no = 1; no < kv->word[KV_END] && !rc && !stat->findings; no++) {
		rc = page_at(kv, no, false, &node);
		if (!rc && node->height && !c.seen[no] && ++stat->findings)
			fn(ctx, no * PAGE, "mapped, and not in the tree");
	}
	free(c.seen);
	return rc;
}
