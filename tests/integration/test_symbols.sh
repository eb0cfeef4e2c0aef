#!/bin/sh
# The shared library exports what the public header declares, no more and no less.
set -eu
BUILD=${BUILD:-build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

echo '#include "libpmpt.h"' | ${CC:-cc} -Iinclude -E -P - | tr '\n' ' ' | sed 's/;/;\n/g' |
	grep 'visibility("default")' | grep -o 'pmpt_[a-z0-9_]* *(' | tr -d ' (' | sort -u > "$tmp/declared"
nm -D --defined-only "$BUILD/libpmpt.so.0" | awk '$2 == "T" || $2 == "D" || $2 == "B" { sub(/@.*/, "", $3); print $3 }' | sort -u > "$tmp/exported"
nm -g --defined-only "$BUILD/libpmpt.a" | awk 'NF == 3 { print $3 }' | sort -u > "$tmp/archived"
[ "$(wc -l < "$tmp/declared")" -ge 40 ] || { echo "found only $(wc -l < "$tmp/declared") declarations"; exit 1; }
diff -u "$tmp/declared" "$tmp/exported"
diff -u "$tmp/declared" "$tmp/archived"
nm -D --with-symbol-versions "$BUILD/libpmpt.so.0" | grep -q 'pmpt_commit@@LIBPMPT_0.1'
objdump -p "$BUILD/libpmpt.so.0" | grep -q 'SONAME *libpmpt.so.0'
