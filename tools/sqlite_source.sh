#!/bin/sh
# SQLite's source, of the version that this machine has, from Debian's source package: sqlite_source.sh DIR
# Prints DIR/src, where it is.  Works as an ordinary user; changes nothing outside DIR.  Done once for each version.
set -eu
mkdir -p "$1"
dir=$(realpath "$1")
version=$(dpkg-query -W -f '${source:Version}' libsqlite3-0)

# Source lines from those that the machine has, in directories of our own.
fetch() {
	rm -rf "$dir/apt" "$dir/src"
	mkdir -p "$dir/apt/sources" "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
	for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$list" ] && sed -nE 's/^deb(-src)?[[:space:]]/deb-src /p' "$list"
	done | sort -u > "$dir/apt/sources/derived.list"
	for list in /etc/apt/sources.list.d/*.sources; do
		[ -f "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" > "$dir/apt/sources/${list##*/}"
	done
	set -- -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$dir/apt/sources" -o "Dir::State=$dir/apt" \
		-o "Dir::State::Lists=$dir/apt/lists" -o "Dir::Cache=$dir/apt/cache" -o "APT::Sandbox::User=$(id -un)"
	apt-get "$@" update || :	# another source may be out of reach: what matters is the next line
	cd "$dir/apt"
	apt-get "$@" source --download-only "sqlite3=$version"
	dpkg-source -x sqlite3_*.dsc "$dir/src"
	echo "$version" > "$dir/src/debian-version"
}

if [ "${2-}" = fetch ]; then	# by itself: its first error ends it
	fetch
elif [ "$(cat "$dir/src/debian-version" 2>/dev/null)" != "$version" ]; then
	sh "$0" "$dir" fetch > "$dir/fetch.log" 2>&1 || {
		echo "no source package sqlite3=$version; the end of $dir/fetch.log:" >&2
		tail -n 10 "$dir/fetch.log" >&2
		exit 1
	}
fi
echo "$dir/src"
