/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_policy -- policy: what a space does not allow. */
#include "tool.h"

static const char *policy_text(unsigned policy) { return policy & PMPT_POLICY_WX ? "wx" : "none"; }

static int run_policy(const struct command *cmd, int argc, char **argv)
{
	static const char *const words[] = { "wx", NULL };
	bool json = false;
	const struct opt opts[] = { { "json", 0, OPT_FLAG, &json, NULL, "print a JSON object" },
				    OPT_END };
	int n = options(cmd, opts, argc, argv, 2, 3), code, rc = 0;
	pmpt_space *space;
	pmpt_pool *pool;

	if (n == 3)
		(void)operand_word(cmd, words, argv[2]);
	code = open_space(argv[0], argv[1], &pool, &space);
	if (code)
		return code;
	if (n == 3)
		rc = pmpt_space_policy_set(space, PMPT_POLICY_WX);
	if (rc)
		code = fail(rc, "%s: '%s'", argv[0], argv[1]);
	else if (json)
		code = json_put(stdout, json_pack("{s:o,s:s}", "space", json_text(argv[1]),
						  "policy", policy_text(pmpt_space_policy(space))));
	else
		puts(policy_text(pmpt_space_policy(space)));
	return close_pool(pool, space, code);
}

const struct command command_policy = {
	.name = "policy",
	.synopsis = "pmpt policy [--json] POOL SPACE [wx]",
	.brief = "show or set what a space does not allow (W^X)",
	.text = "Print the policy of a space, none or wx; with an operand, set it before.  A space with\n"
		"wx has no page that is writable and executable, nor may its frame become that by way of\n"
		"another mapping, in whatever space: every change that would make one is refused.  Give\n"
		"it to a space in which nothing is mapped yet; forks inherit it, and it stays.\n",
	.example = "pmpt space create /dev/shm/pool jit && pmpt policy /dev/shm/pool jit wx",
	.run = run_policy,
};
