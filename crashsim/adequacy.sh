#!/bin/sh
# Every place in the library's code where it flushes, fences or streams, by the disassembly of $BUILD/crashsim; then crashsim adequacy over them.
# More arguments go to the command.
set -eu
BUILD=${BUILD:-build}
sites=$BUILD/crashsim.d/sites
# A call's return address is what the hooks see.
objdump -d --no-show-raw-insn "$BUILD/crashsim" | awk '
	/^[0-9a-f]+ <.*>:$/ { function_name = $2 }
	was != "" && $1 ~ /^[0-9a-f]+:$/ {
		print substr($1, 1, length($1) - 1), was
		was = ""
	}
	/(call|jmp) .*<__wrap_pm_(flush|fence|persist|stream|stream_zero)>/ {
		was = $NF
		gsub(/<__wrap_pm_|_zero|>/, "", was)
	}' > "$sites"
[ "$(wc -l < "$sites")" -gt 30 ] || { echo "adequacy: $(wc -l < "$sites") sites found in $BUILD/crashsim, expected more than 30" >&2; exit 1; }
exec "$BUILD/crashsim" adequacy --sites "$sites" --table crashsim/adequacy.txt "$@"
