#!/bin/sh
# Three ways to explore, lazy, each execution in a process of its own (rerun), and image by image (eager), come to the same images, outcomes and
# verdicts on the library's workloads, as far as images are few enough to be made one by one.
#	modes.sh [quick]	of all that are small, or of the smallest
#
# IMAGES of the first crash, and of a crash inside recovery: PMPT_IMAGES (crashsim/workloads/pm_bridge.c) makes them part of the outcome.  Of
# lines that crashsim_checked() declares, the lazy way makes one mixture: there it is switched off.
set -eu
BUILD=${BUILD:-build}
crashsim=$BUILD/crashsim
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
say() {
	echo "$*"
	bad=1
}
# first: images of all first crashes of a workload, log10.  nested, rerun, apart: executions of the lazy way.
if [ "${1-}" = quick ]; then
	first=4.2 nested=3000 rerun=1000 apart=400 limit=1
else
	first=5.5 nested=60000 rerun=5000 apart=5000 limit=8
fi

# explore FILE WORKLOAD OPTION...: what came out, to FILE
explore() {
	to=$dir/$1
	shift
	code=0
	"$crashsim" run -j 2 --walker 1 --json "$@" > "$to.json" 2> "$to.err" || code=$?
	case $code in
	[01]) ;;
	3) grep -q '"exhaustive":false' "$to.json" || say "crashsim run $*: $(head -n 3 "$to.err")" ;; # cut off
	*) say "crashsim run $*: $(head -n 3 "$to.err")" ;;
	esac
	jq -c '[.outcomes, .outcome_digest, .failures > 0, .exhaustive]' "$to.json" > "$to"
}
# same WORKLOAD OPTION...: as the lazy way has it
same() {
	explore other "$@"
	# of a page walker's stores, all combinations count, however few may take place
	if grep -q 'images of a crash are too many to make one by one' "$dir/other.err"; then
		left_out="$left_out $1"
		return
	fi
	cmp -s "$dir/lazy" "$dir/other" || say "$* ${PMPT_IMAGES:+(images of crash $PMPT_IMAGES)}: found $(cat "$dir/other"), expected $(cat "$dir/lazy")"
}
# few N: the lazy way was through, in no more executions
few() { jq -e --argjson n "$1" '.exhaustive and .executions <= $n' "$dir/lazy.json" > /dev/null; }

"$crashsim" run -j 2 --walker 1 --depth 1 --json > "$dir/all" || say "crashsim run --depth 1 fails"
all=$(jq -r --argjson n "$first" 'select(.images_log10 <= $n) | .workload' "$dir/all")
left_out=
n_first=0
n_nested=0
n_rerun=0
for load in $all; do
	export PMPT_IMAGES=1
	explore lazy "$load" --depth 1
	few 1000000 || say "$load: not through"
	same "$load" --depth 1 --mode eager
	n_first=$((n_first + 1))
	if few "$rerun"; then
		same "$load" --depth 1 --mode rerun
		n_rerun=$((n_rerun + 1))
	fi

	export PMPT_IMAGES=2
	explore lazy "$load" --depth 2 --no-checked --time-limit "$limit"
	few "$nested" || continue
	same "$load" --depth 2 --no-checked --no-prune
	same "$load" --depth 2 --no-checked --mode eager
	! few "$rerun" || same "$load" --depth 2 --no-checked --mode rerun
	unset PMPT_IMAGES
	explore lazy "$load" --depth 2
	same "$load" --depth 2 --mode eager
	n_nested=$((n_nested + 1))
done
unset PMPT_IMAGES
echo "$n_first workloads image by image, $n_nested of them in recovery too, $n_rerun of them each execution apart${left_out:+; too many for eager:$left_out}"
[ "$n_first" -ge 10 ] && [ "$n_nested" -ge 6 ] && [ "$n_rerun" -ge 6 ] && [ "$(echo "$left_out" | wc -w)" -le 2 ] || say "fewer than there were"

# Without images: what each execution leaves behind makes no difference to the next, on whatever is not too long.
n=0
for load in $(jq -r --argjson n "$apart" 'select(.executions <= $n) | .workload' "$dir/all"); do
	explore lazy "$load" --time-limit "$limit"
	few "$apart" || continue
	same "$load" --mode rerun
	n=$((n + 1))
done
echo "$n workloads each execution apart"
[ "$n" -ge 20 ] || say "fewer than there were"

# Verdicts where there is a fault: the same crashes of the run fail.
fault() {
	PMPT_RULES_OFF=$1
	export PMPT_RULES_OFF
	for mode in lazy rerun eager; do
		"$crashsim" run -j 2 --json --max-failures 1000000 --mode $mode "$2" > "$dir/$mode.json" || true
		jq -c '[.failures > 0, .exhaustive, ([.failure[].crash_point] | unique)]' "$dir/$mode.json" > "$dir/$mode"
	done
	unset PMPT_RULES_OFF
	cmp -s "$dir/lazy" "$dir/rerun" && cmp -s "$dir/lazy" "$dir/eager" ||
		say "$1 $2: lazy $(cat "$dir/lazy"), rerun $(cat "$dir/rerun"), eager $(cat "$dir/eager")"
	grep -q '^\[true,true,\[.' "$dir/lazy" || say "$1 $2: found $(cat "$dir/lazy"), expected failures"
}
fault W4_PERSIST log_lanes
fault W8_ABORT_END log_abort
fault W8_COMMIT_CHECKPOINT log_bulk
fault W8_FROM_FIRST log_abort
fault W8_RECOVERY_ORDER log_bulk
fault W8_FROM_CHECK log_abort
fault CRC_SALT log_salt
fault W4_MONOTONE checkpoints
exit $bad
