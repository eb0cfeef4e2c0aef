#!/bin/sh
# coverage.sh BUILD PERCENT: line coverage of lib/ and recovery/ after the tests ran in BUILD; fails below PERCENT.
set -eu
for gcda in "$1"/test/obj/lib/*.gcda "$1"/test/obj/recovery/*.gcda; do
	gcov -n -o "${gcda%/*}" "$gcda" 2>/dev/null
done | awk -v least="$2" '
	/^File / { file = $2; gsub(/\047/, "", file); next }
	/^Lines executed:/ && file ~ /^(lib|recovery)\/[^\/]*\.c$/ {
		split($0, part, /[:%]| of /)
		lines = part[4]; hit = part[2] * lines / 100
		printf "%6.1f %%  %5d lines  %s\n", part[2], lines, file
		all += lines; all_hit += hit; file = ""
	}
	END {
		if (!all) { print "no coverage data"; exit 1 }
		printf "%6.1f %%  %5d lines  in all, at least %d %% are expected\n", 100 * all_hit / all, all, least
		exit 100 * all_hit / all < least
	}'
