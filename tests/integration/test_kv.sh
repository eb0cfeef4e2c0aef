#!/bin/sh
# The shell of examples/kv: commands, batches over several lines, killed in one, snapshots, bad input, a damaged
# page; and examples/kv has under 800 lines, as its README says.
set -u
BUILD=${BUILD:-build}
kv=$BUILD/examples/kv
dir=$(mktemp -d /dev/shm/pmpt-kv.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$dir"' EXIT
pool=$dir/pool
failed=0

# expect CODE OUTPUT COMMAND...: the exit code, and all that it prints, lines joined by |
expect() {
	want=$1 text=$2
	shift 2
	"$@" > "$dir/out" 2>&1
	got=$?
	found=$(tr '\n' '|' < "$dir/out")
	if [ $got != "$want" ]; then
		echo "exit $got, expected $want: $*: $found"
	elif [ "$found" != "$text" ]; then
		echo "'$found', expected '$text': $*"
	else
		return
	fi
	failed=$((failed + 1))
}
# the same, commands from standard input
lines() {
	want=$1 text=$2 commands=$3
	shift 3
	printf '%b' "$commands" > "$dir/in"
	expect "$want" "$text" "$@" < "$dir/in"
}

"$kv" > "$dir/out" 2>&1
[ $? = 2 ] && grep -q '^usage: kv POOL' "$dir/out" || { echo "usage"; failed=1; }
expect 0 '' "$kv" "$pool" put fox 'the quick brown'
expect 0 'the quick brown|' "$kv" "$pool" get fox
expect 1 'kv: get: no such key|' "$kv" "$pool" get wolf
expect 1 'kv: del: no such key|' "$kv" "$pool" del wolf
expect 2 'kv: no such command, or arguments: put|' "$kv" "$pool" put fox
expect 2 'kv: no such command, or arguments: fly|' "$kv" "$pool" fly
lines 0 '' 'begin\nput ant 1\nput bee 2\nput cat 3\ncommit\n' "$kv" "$pool"
expect 0 'ant	1|bee	2|cat	3|fox	the quick brown|' "$kv" "$pool" scan
expect 0 'bee	2|cat	3|' "$kv" "$pool" scan b f
expect 0 '4 keys, height 1, 1 pages|' "$kv" "$pool" check
lines 2 '4 keys, height 1, 1 pages|ant	1|kv: no such command, or arguments: commit|' 'check\n\nscan a b\ncommit\n' "$kv" "$pool"
"$kv" "$pool" help > "$dir/out"
grep -q '^usage: kv POOL' "$dir/out" || { echo "help"; failed=$((failed + 1)); }

# a batch over lines: seen in itself, then not at all, or whole
lines 0 'four|ant	1|' 'begin\nput dog four\nget dog\ndel fox\nabort\nscan a b\n' "$kv" "$pool"
expect 1 'kv: get: no such key|' "$kv" "$pool" get dog
lines 0 '' 'begin\nput dog four legs\ndel fox\ncommit\n' "$kv" "$pool"
lines 0 '' 'begin\ndel ant\n' "$kv" "$pool" # the end of the input is no commit
expect 0 'ant	1|bee	2|cat	3|dog	four legs|' "$kv" "$pool" scan

# killed in the middle of a batch: nothing of it is there
mkfifo "$dir/fifo"
"$kv" "$pool" < "$dir/fifo" > "$dir/out" &
pid=$!
exec 3> "$dir/fifo"
printf 'begin\nput eel 5\ndel ant\nget eel\n' >&3
while ! grep -q . "$dir/out"; do printf 'get eel\n' >&3; sleep 0.1; done
kill -9 $pid
exec 3>&-
wait $pid 2> /dev/null
expect 0 'ant	1|bee	2|cat	3|dog	four legs|' "$kv" "$pool" scan

expect 0 '' "$kv" "$pool" snapshot monday
expect 1 "kv: snapshot: a space 'monday' exists|" "$kv" "$pool" snapshot monday
expect 0 '' "$kv" "$pool" del bee
expect 0 '2|' "$kv" "$pool:monday" get bee
expect 1 "kv: put: 'monday' is a snapshot: fork it to change it|" "$kv" "$pool:monday" put bee 3
expect 0 '' "$kv" "$pool:other" put x y
expect 0 'x	y|' "$kv" "$pool:other" scan

# many keys, then few: their frames have gone back
{ echo begin; seq 1 20000 | sed 's/.*/put key& value &/'; echo commit; } | "$kv" "$pool"
expect 0 'value 777|' "$kv" "$pool" get key777
{ echo begin; seq 1 20000 | sed 's/.*/del key&/'; echo commit; } | "$kv" "$pool"
expect 0 '3 keys, height 3, 3 pages|' "$kv" "$pool" check
"$BUILD/pmpt" check "$pool" > "$dir/out"
grep -q ' 5 pages mapped; .* 5 data,' "$dir/out" || { echo "frames"; cat "$dir/out"; failed=$((failed + 1)); }

# limits
long=$(printf '%02030d' 0)
expect 1 'kv: put: a key of 1 bytes, a value of 2030: at most 511, together 2030|' "$kv" "$pool" put k "$long"
expect 0 '' "$kv" "$pool" put k "${long#0}"

# output that is lost is an error; a batch that nothing ends is none
expect 1 'kv: cannot write all of the output|' sh -c "'$kv' '$pool' get k > /dev/full"
{ echo begin; seq 1 500 | sed 's/.*/put key& value &/'; echo commit; } | "$kv" "$pool:long"
expect 1 'kv: cannot write all of the output|' sh -c "'$kv' '$pool:long' scan > /dev/full"
expect 0 '' "$kv" "$pool" begin

# a damaged page is named
pool=$dir/damaged
expect 0 '' "$kv" "$pool" put dog 'four legs'
at=$(grep -obUa 'four legs' "$pool" | cut -d: -f1)
printf 'x' | dd of="$pool" bs=1 seek="$at" conv=notrunc 2> /dev/null
"$kv" "$pool" check > "$dir/out" 2>&1
[ $? = 1 ] && grep -q '^page at 0x1000: sum 0x[0-9a-f]*, expected 0x[0-9a-f]*$' "$dir/out" ||
	{ echo "damage"; cat "$dir/out"; failed=$((failed + 1)); }
"$kv" "$pool" put dog 'three legs' > "$dir/out" 2>&1
[ $? = 1 ] && grep -q '^kv: put: page at 0x1000: sum 0x[0-9a-f]*, expected 0x[0-9a-f]*$' "$dir/out" ||
	{ echo "damage is written over"; cat "$dir/out"; failed=$((failed + 1)); }
"$kv" /etc/passwd scan > "$dir/out" 2>&1
[ $? = 1 ] && grep -q 'not a libpmpt pool' "$dir/out" || { echo "no pool"; failed=$((failed + 1)); }

length=$(cat "$(dirname "$0")"/../../examples/kv/*.[ch] | wc -l)
[ "$length" -lt 800 ] || { echo "examples/kv has $length lines"; failed=$((failed + 1)); }

[ $failed = 0 ] || { echo "$failed failed"; exit 1; }
