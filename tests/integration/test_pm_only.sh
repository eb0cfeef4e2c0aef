#!/bin/sh
# Flush, fence and streaming instructions are in pm.o alone.
set -eu
BUILD=${BUILD:-build}
pattern='\<(clwb|clflush|clflushopt|sfence|movnt[a-z]*)\>'
in_pm=0
for o in "$BUILD"/obj/lib/*.o "$BUILD"/obj/recovery/*.o; do
	n=$(objdump -d --no-show-raw-insn "$o" | grep -cE "$pattern" || true)
	case "$o" in
	*/pm.o) in_pm=$n ;;
	*) [ "$n" = 0 ] || { echo "$o has $n of them:"; objdump -d "$o" | grep -E "$pattern" | head; exit 1; } ;;
	esac
done
[ "$in_pm" -ge 4 ] || { echo "pm.o has only $in_pm"; exit 1; }
