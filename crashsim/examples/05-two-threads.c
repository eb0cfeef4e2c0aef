/* A stack that two threads push to without a lock.  The bug shows in some schedules only: when the
 * exchange fails it stores the new head into node->next, behind the back of the flush above it. */
#include <crashsim.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct node {
	uint64_t key;
	uint64_t next; /* number of a node, from 1; 0: the end */
	uint64_t unused[6];
};

struct stack {
	_Atomic uint64_t head;
	uint64_t unused[7];
	struct node node[4]; /* number of a node: that of its key */
};

static void persist(const void *word)
{
	CRASHSIM_CLWB(word);
	CRASHSIM_SFENCE();
}

static void push(struct stack *stack, uint64_t key)
{
	struct node *node = &stack->node[key - 1];

	node->key = key;
	node->next = atomic_load(&stack->head);
	persist(node);
	while (!atomic_compare_exchange_strong(&stack->head, &node->next, key)) {
		/* persist(node) is missing here */
	}
	persist(&stack->head);
}

/* ---- what crashsim is to do with it ---- */

static struct stack *stack;

static void *pusher(void *arg)
{
	for (unsigned key = (unsigned)(uintptr_t)arg; key <= 4; key += 2) {
		crashsim_begin(key);
		push(stack, key);
		crashsim_returned(key);
	}
	return NULL;
}

static void run(void *pm)
{
	pthread_t thread[2];

	stack = pm;
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, pusher, (void *)(i + 1));
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}

static void check(void *pm)
{
	struct stack *s = pm;
	unsigned found[5] = { 0 }, steps = 0;

	for (uint64_t i = atomic_load(&s->head); i; i = s->node[i - 1].next) {
		if (i > 4 || ++steps > 4)
			crashsim_fail("the stack does not end");
		if (s->node[i - 1].key != i)
			crashsim_fail("node %u has key %u", (unsigned)i,
				      (unsigned)s->node[i - 1].key);
		found[i] = 1;
	}
	for (unsigned key = 1; key <= 4; key++) {
		if (crashsim_state(key) == CRASHSIM_RETURNED && !found[key])
			crashsim_fail("push(%u) had returned, and it is lost", key);
	}
}

CRASHSIM_WORKLOAD(two_threads, .bytes = sizeof(struct stack), .run = run, .check = check)
