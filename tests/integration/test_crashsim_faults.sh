#!/bin/sh
# Faults in the library's logic, one at a time (PMPT_RULES_OFF switches a rule of lib/rules.h off, from the recorded run on): the workload
# named finds it, an unrelated one passes.  A find is exit 1 and a failure with an id that replay takes again; W9_ROOM's is a deadlock that the
# schedules run into while they are recorded.
set -eu
BUILD=${BUILD:-build}
crashsim=$BUILD/crashsim
out=$(mktemp)
trap 'rm -f "$out"' EXIT
bad=0
n=0

# rule, the workload that finds it, one that does not care
table='
W1_FENCE		log_redo		log_abort
W1_BULK_FENCE		log_bulk		log_redo
W2_LAST			log_redo		log_salt
W2_CONTIGUOUS		log_halves		log_bulk
W3_ABSOLUTE		share			two_maps
W4_LOW			checkpoint_beside	map_unmap
W4_COUNTER_FIRST	redo_in_checkpoint	log_redo
W4_FLUSH		checkpoint		user_words
W4_FENCE		checkpoint		user_words
W4_PERSIST		log_lanes		user_words
W4_MONOTONE		checkpoints		log_redo
W5_JUMP			log_jump		log_redo
W5_LIMIT_DURABLE	log_limit		log_redo
W6_DURABLE		map_next		user_words
W7_LOCKS		same			two_maps
W7_OWNER		same			two_maps
W8_ABORT_END		log_abort		log_redo
W8_UNLOCK		bulk_same		two_maps
W8_COMMIT_CHECKPOINT	log_bulk		log_redo
W8_FROM_FIRST		log_abort		log_redo
W8_RECOVERY_ORDER	log_bulk		log_redo
W8_FROM_CHECK		log_abort		log_redo
W9_ROOM			one_lane		log_redo
CRC_SALT		log_salt		log_redo
F1_CONTENT		pages			user_words
F2_TABLE_WAIT		reuse			user_words
F2_BULK_WAIT		abort_filled		user_words
F4_LOGGED		pages			user_words
F6_SHARE		fork_child		user_words
F6_FORK_WAITS		fork_beside		two_maps
F8_EXCLUDE		under			user_words
S1_SYNC			swap			user_words
S2_RESERVE		swap_again		user_words
WX_STATE		policy_beside		two_maps
'

say() {
	echo "$*"
	bad=1
}

found() {
	rule=$1
	load=$2
	code=0
	PMPT_RULES_OFF=$rule "$crashsim" run -j 2 --json --max-failures 1 "$load" > "$out" 2>&1 || code=$?
	if [ "$rule" = W9_ROOM ]; then
		{ [ "$code" = 3 ] && grep -q 'waits for what nobody will give it' "$out"; } || say "$rule: $load ends with $code, expected a deadlock"
		return
	fi
	[ "$code" = 1 ] || { say "$rule: $load ends with $code, expected a failure"; return; }
	id=$(sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' "$out" | head -n 1)
	[ -n "$id" ] || { say "$rule: $load fails without an id"; return; }
	code=0
	PMPT_RULES_OFF=$rule "$crashsim" replay "$load:${id#"$load":}" > "$out" 2>&1 || code=$?
	[ "$code" = 1 ] || say "$rule: replay $load:$id ends with $code, expected the failure again"
}

IFS='
'
for row in $table; do
	rule=$(echo "$row" | awk '{ print $1 }')
	load=$(echo "$row" | awk '{ print $2 }')
	other=$(echo "$row" | awk '{ print $3 }')
	grep -qw "RULE_$rule" lib/rules.h || say "$rule: no such rule"
	found "$rule" "$load"
	PMPT_RULES_OFF=$rule "$crashsim" run -j 2 --quiet "$other" > "$out" 2>&1 || say "$rule: $other minds, too"
	n=$((n + 1))
done
# but for those of read views, which are no matter of the medium (tests/integration/test_views.c)
for rule in $(grep -o 'RULE_[A-Z0-9_]*' lib/rules.h | grep -v 'RULES_H\|RULE_VIEW_' | sort -u); do
	echo "$table" | grep -qw "${rule#RULE_}" || say "$rule: not in the table"
done
[ "$n" -ge 15 ] || say "$n faults, expected 15 or more"
echo "$n faults"
exit $bad
