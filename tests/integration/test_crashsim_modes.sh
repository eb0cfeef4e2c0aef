#!/bin/sh
# The ways to explore agree: on what a recovery forgets at a join, with and without the memory of joins; on the smallest of the library's
# workloads (`make crash` compares them on all that are small).
set -eu
BUILD=$(cd "${BUILD:-build}" && pwd)
export BUILD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
"$BUILD"/crashsim-cc -o "$dir/joins" tests/integration/crashsim/joins.c

images() { "$dir/joins" run "$@" --json | jq -c '[.outcomes, .outcome_digest, .failures, .exhaustive]'; }
for case in wide streamed direct 'walked --walker 1' 'walked --walker 2'; do
	for mode in '--no-prune' '--mode rerun' '--mode eager'; do
		# shellcheck disable=SC2086
		[ "$(images $case)" = "$(images $case $mode)" ] || { echo "$case: lazy $(images $case), $mode $(images $case $mode)"; bad=1; }
	done
	# shellcheck disable=SC2086
	[ "$("$dir/joins" run $case --json | jq '.pruned > 10')" = true ] || { echo "$case: paths do not join"; bad=1; }
done

sh tests/crash/modes.sh quick || bad=1
exit $bad
