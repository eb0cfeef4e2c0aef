#!/bin/sh
# Every operation of the library that changes persistent memory, under every crash, two in a row, one or two writers: no failure, nothing left
# out, and no less explored than there was when this was written.  Then some of it in other ways, which must come to the same outcomes: without
# the memory of equal states and joins, with log lines word by word (each execution apart, and image by image: test_crashsim_modes.sh).
#	test_crashsim_workloads.sh [all]	all workloads (make crash), or those that do not take long (make check)
set -eu
BUILD=${BUILD:-build}
crashsim=$BUILD/crashsim
out=$(mktemp)
trap 'rm -f "$out"' EXIT
bad=0
say() {
	echo "$*"
	bad=1
}

# A number or a word of the line of a workload.
field() {
	sed -n "s/.*\"workload\":\"$1\",.*\"$2\":\"\{0,1\}\([^,\"]*\).*/\1/p" "$out"
}

if [ "${1-}" = all ]; then
	long=none
	page_long='limit_beside|one_lane|runs|huge'
	least='114, 18900, 180000, 1900000'
else
	long='demand|fork_(beside|both|bulk|chain|child|delete|move|parent|parts|tree)|huge|limit_beside|one_lane|policy_move|runs|sql_vacuum|swap_(beside|delete|fork)|write_spaces'
	page_long="$long|sql_.*"
	least='93, 7550, 46500, 330000'
fi
# The workloads but those that match.
but() { "$crashsim" list | awk -v long="^($1)\$" '$1 !~ long { print $1 }'; }

code=0
# shellcheck disable=SC2046
"$crashsim" run -j 2 --json $(but "$long") > "$out" || code=$?
[ "$code" = 0 ] || say "crashsim run ends with $code"
n=$(grep -c '"exhaustive":true.*"failures":0,' "$out" || true)
[ "$n" = "$(wc -l < "$out")" ] || say "$n of $(wc -l < "$out") workloads are exhaustive without a failure"
awk -F'"' -v least="$least" '{
	for (i = 2; i < NF; i += 2)
		if ($i == "crash_points" || $i == "executions" || $i == "nested_points")
			sum[$i] += substr($(i + 1), 2)
} END {
	printf "%d workloads, %d crash points, %d inside recovery, %d executions\n", NR, sum["crash_points"], sum["nested_points"], sum["executions"]
	split(least, n, ", ")
	exit !(NR >= n[1] && sum["crash_points"] >= n[2] && sum["nested_points"] >= n[3] && sum["executions"] >= n[4])
}' "$out" || say "less than there was"
was=$(mktemp)
cp "$out" "$was"

same() {
	how=$1
	shift
	for load in "$@"; do
		cp "$was" "$out"
		expected=$(field "$load" outcome_digest)
		# shellcheck disable=SC2086
		"$crashsim" run -j 2 --json $how "$load" > "$out" || true
		found=$(field "$load" outcome_digest)
		[ -n "$found" ] && [ "$found" = "$expected" ] || say "$load $how: outcomes $found, expected $expected"
		[ "$(field "$load" exhaustive)" = true ] || say "$load $how: not exhaustive"
	done
}
same --no-prune log_redo log_halves log_bulk log_abort log_jump map_one pages share same bulk_abort recovery transactions
same --no-checked log_redo log_salt log_bulk log_abort log_undo_phases
same '--mode rerun' log_redo map_one
rm -f "$was"

# Without a failure in another model: the page backend (R17), and a page walker (R16).
also() {
	code=0
	"$crashsim" run -j 2 --json "$@" > "$out" || code=$?
	[ "$code" = 0 ] && ! grep -qv '"exhaustive":true.*"failures":0,' "$out" || say "$*: ends with $code, or is not exhaustive"
}
# shellcheck disable=SC2046
also --persist page $(but "$page_long")
also --walker 1 --time-limit 100 walked walked_unmap walked_run walked_huge walked_abort
also --walker 2 walked walked_unmap walked_abort

# Executions a second of one worker, on a machine that does nothing else: far below what they are, so that a collapse fails.
rate() {
	# shellcheck disable=SC2086
	"$crashsim" run -j 1 --json ${3-} "$1" > "$out" || true
	r=$(echo "$(field "$1" executions) $(field "$1" seconds)" | awk '{ print ($2 > 0 ? int($1 / $2) : 0) }')
	echo "$1: $r executions a second"
	[ "$r" -ge "$2" ] || say "$1: expected $2 or more"
}
if [ "${1-}" = all ]; then
	rate limit_beside 25000
	rate map_next 5000
	rate map_one 3000 '--depth 4'
fi
exit $bad
