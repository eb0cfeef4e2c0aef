#!/bin/sh
# make install, then the README's example built with pkg-config's flags against what is installed, shared and static; make uninstall leaves nothing.
set -eu
BUILD=${BUILD:-build}
tmp=$(mktemp -d)
pool=$(mktemp -u /dev/shm/libpmpt-install.XXXXXX)
trap 'rm -rf "$tmp" "$pool"' EXIT
cc=${CC:-cc}

make -s install BUILD="$BUILD" PREFIX="$tmp/usr" >/dev/null
sed -n '/^```c$/,/^```$/p' README.md | sed '1d;$d' > "$tmp/example.c"
[ "$(wc -l < "$tmp/example.c")" -ge 20 ]
# without pkg-config on the machine: the .pc file's own lines
pc=$tmp/usr/lib/pkgconfig/libpmpt.pc
flag() { sed -n "s|^$1: ||p" "$pc" | sed "s|\${libdir}|$tmp/usr/lib|g; s|\${includedir}|$tmp/usr/include|g"; }
if command -v pkg-config >/dev/null; then
	export PKG_CONFIG_PATH="$tmp/usr/lib/pkgconfig"
	[ "$(pkg-config --modversion libpmpt)" = 0.1.0 ]
	flags=$(pkg-config --cflags --libs libpmpt)
else
	flags="$(flag Cflags) $(flag Libs)"
fi
$cc -Wall -Wextra -Werror -o "$tmp/example" "$tmp/example.c" $flags
LD_LIBRARY_PATH=$tmp/usr/lib "$tmp/example" "$pool" | grep -q '^committed at LSN [0-9]'
LD_LIBRARY_PATH=$tmp/usr/lib "$tmp/example" "$pool" | grep -q '^committed at LSN [0-9]'	# opens what it made
rm -f "$pool"
$cc -Wall -Wextra -Werror -o "$tmp/static" "$tmp/example.c" $(flag Cflags) "$tmp/usr/lib/libpmpt.a" -lpmemobj -lpmem -lurcu-bp $(flag Libs.private)
"$tmp/static" "$pool" | grep -q '^committed at LSN [0-9]'
make -s uninstall BUILD="$BUILD" PREFIX="$tmp/usr" >/dev/null
left=$(find "$tmp/usr" ! -type d)
[ -z "$left" ] || { echo "uninstall left: $left"; exit 1; }
