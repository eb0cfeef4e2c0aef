#!/bin/sh
# Run the test programs and scripts under $BUILD whose path holds $1 (all when empty), as many at once as there are processors.
# The last line is "N passed, N failed": single cmocka tests, and scripts.  No test run is a failure.
set -u
BUILD=${BUILD:-build}
SAN=${SAN:-}
only=${1-}
limit=${TEST_TIMEOUT:-300}
out=$BUILD/test/out
rm -rf "$out"
mkdir -p "$out"

programs=$(find "$BUILD/test/unit" "$BUILD/test/crash" "$BUILD/test/integration" -maxdepth 1 -type f -perm -u+x -name 'test_*' 2>/dev/null | sort)
scripts=
[ -n "$SAN" ] || scripts=$(find tests/integration -name 'test_*.sh' | sort)

# One test: its output, its exit code and its time go to files.
run_one='
	name=$(echo "$1" | sed "s|^$BUILD/test/||; s|^tests/||; s|/|_|g")
	case "$1" in *.sh) set -- sh "$1" ;; esac
	start=$(date +%s.%N)
	BUILD=$BUILD timeout -k 5 '"$limit"' "$@" > "'"$out"'/$name.out" 2>&1 < /dev/null
	code=$?
	end=$(date +%s.%N)
	echo "$code" > "'"$out"'/$name.code"
	secs=$(echo "$end $start" | awk "{ printf \"%.1f\", \$1 - \$2 }")
	if [ $code = 0 ]; then echo "  ok    $name (${secs}s)"; else echo "  FAIL  $name (${secs}s, exit $code)"; fi
	[ $code = 0 ] || { sed "s/^/        /" "'"$out"'/$name.out" | tail -n 60; echo "        replay: BUILD=$BUILD $*"; }
'
# a program whose source is gone is left over from an older tree
there() { case "$1" in *.sh) ;; *) [ -f "tests/${1#"$BUILD"/test/}.c" ] ;; esac; }
list=$(for t in $programs $scripts; do case "$t" in *"$only"*) ! there "$t" || echo "$t" ;; esac; done)
export BUILD
[ -n "$list" ] && printf '%s\n' "$list" | xargs -P "$(nproc)" -I{} sh -c "$run_one" _ {}

passed=0
failed=0
for code in "$out"/*.code; do
	[ -e "$code" ] || continue
	text=${code%.code}.out
	ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s)\..*/\1/p' "$text" | awk '{ n += $1 } END { print n + 0 }')
	bad=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$text" | awk '{ n += $1 } END { print n + 0 }')
	if [ "$(cat "$code")" = 0 ]; then
		case "$code" in *.sh.code) ok=1 ;; esac
		[ "$ok" -gt 0 ] || { bad=1; echo "  FAIL  ${code##*/}: ran no test"; }
	elif [ "$bad" = 0 ]; then
		bad=1
	fi
	passed=$((passed + ok))
	failed=$((failed + bad))
done
[ $((passed + failed)) -gt 0 ] || { echo "no test ran"; failed=1; }
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
