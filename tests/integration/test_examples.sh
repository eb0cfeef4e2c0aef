#!/bin/sh
# The programs of examples/ do what they teach, refuse bad input, and build outside of this tree with
# nothing but pkg-config.
set -u
BUILD=${BUILD:-build}
dir=$(mktemp -d /dev/shm/pmpt-examples.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# expect CODE PATTERN COMMAND...: the exit code, and a line of its output or errors
expect() {
	want=$1 pattern=$2
	shift 2
	"$@" > "$dir/out" 2>&1 < /dev/null
	got=$?
	if [ $got != "$want" ]; then
		echo "exit $got, expected $want: $*"
	elif [ -n "$pattern" ] && ! grep -qE -e "$pattern" "$dir/out"; then
		echo "no line like '$pattern': $*"
	else
		return
	fi
	cat "$dir/out"
	failed=$((failed + 1))
}

one=$BUILD/examples/01-page-map
expect 2 '^usage: ' "$one"
expect 1 'open: not a libpmpt pool: ' "$one" /etc/passwd
expect 0 '^found: nothing$' "$one" "$dir/one"
expect 0 '^found: page 0 is the root: "version 1 of page 0"$' "$one" "$dir/one"
expect 0 '^now:   page 4: "version 3 of page 4"$' "$one" "$dir/one"
for _ in 4 5 6 7 8 9 10; do expect 0 '^wrote: page [0-9], LSN [0-9]+$' "$one" "$dir/one"; done
expect 0 '^now:   page 0: "version 11 of page 0"$' "$one" "$dir/one"
# the frame that version 11 replaced is free again: ten pages, ten frames
expect 0 ' 10 data,' "$BUILD/pmpt" check "$dir/one"

two=$BUILD/examples/02-bulk-load
expect 2 '^usage: ' "$two"
expect 2 '^usage: ' "$two" "$dir/two" none
expect 0 '^loaded 4096 of 20000 pages$' "$two" "$dir/two"
grep -qE '^committed 20000 pages at LSN [0-9]+$' "$dir/out" || { echo "no commit"; failed=$((failed + 1)); }
grep -qE '^verified: 20000 pages, [0-9]+ table frames, 0 findings$' "$dir/out" ||
	{ echo "not verified"; cat "$dir/out"; failed=$((failed + 1)); }
expect 1 'create: File exists' "$two" "$dir/two"
# more than the pool has: nothing of it remains
expect 1 '^load: out of frames' "$two" "$dir/full" 100000
expect 0 ' 0 pages mapped; .* 0 data,' "$BUILD/pmpt" check "$dir/full"

three=$BUILD/examples/03-recover
expect 2 '^usage: ' "$three"
expect 0 '^each transaction is there whole, and every acknowledged one is there$' "$three" "$dir/three"
grep -qE '^  acknowledged 999; found count 999, left 999, right 999$' "$dir/out" ||
	{ echo "the first kill"; cat "$dir/out"; failed=$((failed + 1)); }
[ "$(grep -cE '^  recovery: [0-9]+ log lines read, [1-9][0-9]* transactions redone' "$dir/out")" = 2 ] ||
	{ echo "the recovery reports"; cat "$dir/out"; failed=$((failed + 1)); }
expect 0 ': clean$' "$BUILD/pmpt" check "$dir/three"

# says PATTERN: a line of the last output
says() {
	grep -qE -e "$1" "$dir/out" && return
	echo "no line like '$1'"
	cat "$dir/out"
	failed=$((failed + 1))
}

four=$BUILD/examples/04-fork
expect 2 '^usage: ' "$four"
expect 0 'trial +account 1:   40, account 2:  160; +8 KiB own, +8184 KiB shared$' "$four" "$dir/four"
says 'ledger +account 1:  100, account 2:  100; +0 KiB own'
[ "$(grep -c '^  account [12] differs: ' "$dir/out")" = 2 ] || { echo "not two differences"; failed=$((failed + 1)); }
says '^a snapshot is written to: space is a read-only snapshot$'
says 'ledger +account 1:   40, account 2:  160; '
says 'monday +account 1:  100, account 2:  100; '
expect 1 'create: File exists' "$four" "$dir/four"
expect 0 ': clean$' "$BUILD/pmpt" check "$dir/four"

five=$BUILD/examples/05-tenants
expect 2 '^usage: ' "$five"
expect 0 '^segment board: 4096 KiB, mapped 2 times$' "$five" "$dir/five"
[ "$(grep -c 'reads at 0x1c0000000: "the first notice"$' "$dir/out")" = 2 ] ||
	{ echo "the notice is not read twice"; cat "$dir/out"; failed=$((failed + 1)); }
[ "$(grep -c 'reads at 0x1c0000000: ""$' "$dir/out")" = 2 ] || { echo "zeros are not read twice"; failed=$((failed + 1)); }
says '^reader writes: access denied: not writable .*at level 2'
# with its name and its last mapping the segment's pages are gone
expect 0 ' 0 pages mapped; .* 0 data,' "$BUILD/pmpt" check "$dir/five"

six=$BUILD/examples/06-larger-than-pool
expect 2 '^usage: ' "$six" "$dir/six"
expect 0 '^16384 pages compared, 0 wrong$' "$six" "$dir/six" "$dir/six.swap"
says '^written: [0-9]+ pages in memory, [1-9][0-9]{3,} out, '
says '^page 0 came in: frame 0x'
expect 0 ': clean$' "$BUILD/pmpt" check "$dir/six"
expect 1 'swap: File exists' "$six" "$dir/six.again" "$dir/six.swap"
rm -f "$dir"/six*

seven=$BUILD/examples/07-reader
expect 2 '^usage: ' "$seven"
expect 0 '^in a view: +[0-9]+ sums beside 2000 transactions, 0 wrong; ' "$seven" "$dir/seven"
says '^page by page: [0-9]+ sums beside 2000 transactions, [0-9]+ wrong$'
expect 0 ' 512 data,' "$BUILD/pmpt" check "$dir/seven"

eight=$BUILD/examples/08-publish
expect 2 '^usage: ' "$eight"
expect 0 '^version 2 is current$' "$eight" "$dir/eight"
says '^  run it before it is published: +access denied: not executable$'
says '^  run it: +allowed$'
says '^  write to the code: +access denied: not writable$'
[ "$(grep -cE '^  (make it RWX|map its frame elsewhere, writable|the same in another space): .*(W\^X|writable and executable)' "$dir/out")" = 3 ] ||
	{ echo "not three refusals"; cat "$dir/out"; failed=$((failed + 1)); }
says '^  map its frame elsewhere, read-only: +allowed$'
expect 0 ': clean$' "$BUILD/pmpt" check "$dir/eight"

# As somebody else's program: installed headers and library, and what pkg-config says.
make -s install BUILD="$BUILD" PREFIX="$dir/usr" > "$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }
export PKG_CONFIG_PATH="$dir/usr/lib/pkgconfig"
for example in examples/*.c; do
	name=$(basename "$example" .c)
	# shellcheck disable=SC2046
	expect 0 '' "${CC:-cc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -o "$dir/$name" "$example" \
		$(pkg-config --cflags --libs libpmpt)
done
LD_LIBRARY_PATH=$dir/usr/lib
export LD_LIBRARY_PATH
expect 0 '^found: page 0 is the root: "version 11 of page 0"$' "$dir/01-page-map" "$dir/one"

[ $failed = 0 ] || { echo "$failed failed"; exit 1; }
