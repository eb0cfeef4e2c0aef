#!/bin/sh
# SQLite's own test program from Debian's source package, with the options of Debian's library: build.sh DIR
# In DIR: src/ the source, bin/ what to run.  Works as an ordinary user; changes nothing outside DIR.  Done once for each version.
#
# The program is a shared library with a small program before it, and SQLite's calls of its own functions go by
# the symbol table: so LD_PRELOAD brings the VFS in as it does in a program with the system's libsqlite3.
set -eu
here=$(realpath "$(dirname "$0")")
mkdir -p "$1"
dir=$(realpath "$1")
version=$(dpkg-query -W -f '${source:Version}' libsqlite3-0)
tcl=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/tcl8.6
log=$dir/build.log

fail() {
	echo "check-sqlite: $1; the end of $log:" >&2
	tail -n 20 "$log" >&2
	exit 1
}

compile() {
	rm -rf "${dir:?}/obj" "${dir:?}/bin"
	mkdir -p "$dir/obj" "$dir/bin"
	cd "$dir/obj"
	options=$(sed -n '/^export CFLAGS/,/[^\\]$/p' ../src/debian/rules | grep -o -e '-DSQLITE[A-Z0-9_=]*' | tr '\n' ' ')
	[ -n "$options" ] || { echo "no options in debian/rules"; return 1; }
	../src/configure --with-tcl="$tcl" --enable-threadsafe --enable-load-extension --enable-json --enable-fts4 --enable-fts5 \
		--disable-readline CFLAGS="-O2 -fno-strict-aliasing -fPIC $options"
	make sqlite3.c
	make testfixture LTLINK='$(TCC) -shared'
	mv testfixture ../bin/libtestfixture.so
	gcc -o ../bin/testfixture -L../bin -Wl,--no-as-needed -ltestfixture -Wl,-rpath,'$ORIGIN' -Wl,--unresolved-symbols=ignore-in-shared-libs
	echo "$version" > ../bin/version
}

if [ "${2-}" = compile ]; then	# by itself: its first error ends it
	compile
	exit 0
fi
if [ "$(cat "$dir/bin/version" 2>/dev/null)" != "$version" ]; then
	echo "check-sqlite: fetching and building SQLite $version"
	sh "$here/../../tools/sqlite_source.sh" "$dir" > /dev/null
	sh "$0" "$dir" compile > "$log" 2>&1 || fail "cannot build its test program"
fi
gcc -std=c11 -O1 -Wall -Wextra -Werror -shared -fPIC -I/usr/include/tcl8.6 -I"$dir/obj" -o "$dir/bin/vfsfile.so" "$here/vfsfile.c"
