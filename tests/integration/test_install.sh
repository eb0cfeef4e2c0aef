#!/bin/sh
# make install, which as root tells the loader; then the README's example built with pkg-config's flags against what is installed, shared and static; each function has its manual page; make uninstall leaves nothing.
set -eu
BUILD=${BUILD:-build}
tmp=$(mktemp -d)
pool=$(mktemp -u /dev/shm/libpmpt-install.XXXXXX)
trap 'rm -rf "$tmp" "$pool"' EXIT
cc=${CC:-cc}

# ldconfig and id that say what they are told to: whose directories, who we are
mkdir "$tmp/bin"
cat > "$tmp/bin/ldconfig" <<END
#!/bin/sh
if [ "\$*" = "-v -N -X" ]; then printf '/elsewhere: (from a file:1)\n%s: (from a file:2)\n\tlibc.so.6 -> libc.so.6\n' "\$LOADER_DIR"; exit; fi
echo "ldconfig\${*:+ \$*}" >> "$tmp/told"
exit 1
END
printf '#!/bin/sh\necho "$USER_ID"\n' > "$tmp/bin/id"
chmod +x "$tmp/bin/ldconfig" "$tmp/bin/id"
export PATH="$tmp/bin:$PATH" LOADER_DIR="$tmp/usr/lib" USER_ID=0
# told TIMES: the loader was told so often, without arguments, since the last time
told() {
	[ "$(grep -cx ldconfig "$tmp/told" 2>/dev/null)" = "$1" ] && [ "$(grep -c . "$tmp/told")" = "$1" ] || { echo "ldconfig: $2"; cat "$tmp/told"; exit 1; }
	: > "$tmp/told"
}
: > "$tmp/told"

make -s install BUILD="$BUILD" PREFIX="$tmp/usr" >/dev/null
told 1 "root, a directory of the loader's"
USER_ID=1000 make -s install BUILD="$BUILD" PREFIX="$tmp/usr" >/dev/null
told 0 "not root"
LOADER_DIR=/usr/lib make -s install BUILD="$BUILD" PREFIX="$tmp/usr" >/dev/null
told 0 "no directory of the loader's"
make -s install BUILD="$BUILD" DESTDIR="$tmp/stage" PREFIX="$tmp/usr" >/dev/null
told 0 "DESTDIR"
rm -r "$tmp/stage"
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
man=$tmp/usr/share/man
for page in doc/man/*.[1-9]; do
	cmp "$page" "$man/man${page##*.}/${page##*/}"
done
for name in $(nm -D --defined-only "$BUILD/libpmpt.so.0" | sed -n 's/.* T \(pmpt_[a-z_]*\).*/\1/p'); do
	[ -f "$man/man3/$name.3" ] || { echo "no manual page $name(3)"; exit 1; }
done
make -s uninstall BUILD="$BUILD" PREFIX="$tmp/usr" >/dev/null
told 1 "uninstall"
left=$(find "$tmp/usr" ! -type d)
[ -z "$left" ] || { echo "uninstall left: $left"; exit 1; }
