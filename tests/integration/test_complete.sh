#!/bin/sh
# Nothing is without its test: each rule that can be switched off has a test in tests/crash, or of views,
# that fails without it, each error of the header is expected and each public function called somewhere, each
# source file has its test program.
set -eu
bad=0
lacks() {
	echo "$*"
	bad=1
}
tests=$(find tests -name '*.c')

# A rule: bites(RULE, ..), family(RULE, ..), switched off by hand and found, or in the table of faults.
for rule in $(grep -o 'RULE_[A-Z0-9_]*' lib/rules.h | grep -v RULES_H | sort -u); do
	grep -qE "bites\($rule,|family\($rule,|rules_off = \(uint64_t\)1 << $rule;" tests/crash/test_*.c tests/*/test_view*.c ||
		grep -q "^${rule#RULE_}	" tests/integration/test_crashsim_faults.sh ||
		lacks "$rule: no test that fails without it"
	grep -q "rule_on($rule)" lib/*.c recovery/*.c || lacks "$rule: nothing asks for it"
done

# An error: named in a test other than that of the names.
for error in $(grep -o '^	PMPT_E_[A-Z_]*' include/libpmpt.h | sort -u); do
	grep -lw "$error" $tests | grep -qv 'test_error\.c' || lacks "$error: no test provokes it"
done

for call in $(sed -n 's/^\*\/ *//; s/.*PMPT_API [a-z_ ]*[ *]\(pmpt_[a-z0-9_]*\)(.*/\1/p' include/libpmpt.h | sort -u); do
	grep -qw "$call" $tests || lacks "$call: no test calls it"
done

# lib/<file>.c -> test_<file>.c, or the test that is in its place.
for file in lib/*.c recovery/*.c; do
	name=$(basename "$file" .c)
	case $name in
	bulk) name=bulk ;;                             # tests/crash
	checkpoint) name=redo ;;                       # tests/crash: W4, W5
	commit | map | move | table | space | lookup) name=api ;; # and tests/crash/test_tables, test_model
	slot) name=pool ;;
	extent) name=frame ;;
	obj_file) name=pool_refused ;;
	pool_open) name=pool_obj ;;
	backup_swap) name=backup ;;
	pools) name=pool ;;                            # the forked child
	check_map | check_tree) name=check ;;
	check_policy) name=policy ;;
	relate) name=fork ;;
	table_copy) name=fork_huge ;; # and test_fork
	leaf) name=entry ;; # and table.h's above_add()
	tx_frames) name=tx ;;
	frame_wait) name=frame ;;
	swap_area | swap_in | swap_move | swap_evict | check_swap) name=swap ;;
	esac
	[ -n "$(find tests -name "test_$name.c")" ] || lacks "$file: no test_$name.c"
done
exit $bad
