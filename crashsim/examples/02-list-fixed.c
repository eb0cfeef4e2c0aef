/* A persistent list: insert() puts a node in front.  The node is durable before it is linked. */
#include <crashsim.h>

struct node {
	uint64_t key;
	uint64_t next; /* number of a node, from 1; 0: the end */
	uint64_t unused[6];
};

struct list {
	uint64_t first; /* number of a node; 0: the list is empty */
	uint64_t unused[7];
	struct node node[8];
};

static void persist(const void *word)
{
	CRASHSIM_CLWB(word);
	CRASHSIM_SFENCE();
}

static uint64_t length(const struct list *list)
{
	uint64_t n = 0;

	for (uint64_t i = list->first; i; i = list->node[i - 1].next)
		n++;
	return n;
}

static void insert(struct list *list, uint64_t key)
{
	uint64_t free = length(list);
	struct node *node = &list->node[free];

	node->key = key;
	node->next = list->first;
	persist(node);
	list->first = free + 1; /* from here on the node is in the list */
	persist(&list->first);
}

/* ---- what crashsim is to do with it ---- */

static void run(void *pm)
{
	for (unsigned key = 1; key <= 4; key++) {
		crashsim_begin(key);
		insert(pm, key);
		crashsim_returned(key);
	}
}

/* After a crash, anywhere: the list's keys are those inserted, last to first, and no insert that has
 * returned is lost. */
static void check(void *pm)
{
	const struct list *list = pm;
	uint64_t n = length(list);

	for (unsigned key = 1; key <= 4; key++) {
		if (crashsim_state(key) == CRASHSIM_RETURNED && n < key)
			crashsim_fail("insert(%u) had returned, and the list has %u keys", key,
				      (unsigned)n);
	}
	for (uint64_t i = list->first; i; i = list->node[i - 1].next, n--) {
		if (list->node[i - 1].key != n)
			crashsim_fail("node %u has key %u instead of %u", (unsigned)i,
				      (unsigned)list->node[i - 1].key, (unsigned)n);
	}
}

CRASHSIM_WORKLOAD(list, .bytes = sizeof(struct list), .run = run, .check = check)
