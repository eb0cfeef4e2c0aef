#!/bin/sh
# The demo runs to its end, says what it must, draws whole pictures, and leaves nothing on tmpfs.
set -u
BUILD=${BUILD:-build}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
failed=0

BUILD=$BUILD timeout 60 sh tools/demo.sh > "$out" 2>&1
code=$?
[ $code = 0 ] || { echo "the demo ended with $code"; failed=1; }

# says COUNT PATTERN: at least so many lines
says() {
	[ "$(grep -cE -e "$2" "$out")" -ge "$1" ] && return
	echo "fewer than $1 lines like '$2'"
	failed=1
}
says 1 '^imported .*[0-9]{2},?[0-9]{3} pages \([0-9.]+ MiB\)'
says 1 '[0-9]{4} transactions acknowledged|[0-9],[0-9]{3} transactions acknowledged'
says 1 'every acknowledged transaction is there, none half'
says 1 '[0-9]+ transactions? redone'
says 3 ': clean$'
says 1 "^1 page \(4 KiB\) of 'book' and 'draft' differs: "
says 1 '^8 kills: [0-9]+ found the old 3 MiB, [0-9]+ the new ones, none a mixture$'
says 1 '^the snapshot: every byte as on monday$'
says 1 '  monday  \(snapshot\)$'
says 1 '^  used    [1-9],[0-9]{3} \('
says 1 '^read back: 24 MiB, each byte as it was written$'
says 1 'make crash'
if grep -qE 'INVALID|VIOLATION|[1-9][0-9]* findings?' "$out"; then
	echo "a violation"
	failed=1
fi
if grep -q "$(printf '\033')" "$out"; then
	echo "colors, and standard output is a file"
	failed=1
fi

pictures=$(grep -oE "$BUILD/[A-Za-z0-9-]+\.svg" "$out" | sort -u)
[ -n "$pictures" ] || { echo "no picture"; failed=1; }
for picture in $pictures; do
	[ "$(tail -c 7 "$picture")" = "</svg>" ] || { echo "$picture: no whole SVG"; failed=1; }
done

path=$(grep -oE '/[^ :,]*/pmpt-demo\.[A-Za-z0-9]+' "$out" | head -n 1)
[ -n "$path" ] || { echo "it does not say where its pool is"; failed=1; }
for left in "$path"*; do
	[ ! -e "$left" ] || { echo "left behind: $left"; failed=1; }
done
[ $failed = 0 ] || cat "$out"
exit $failed
