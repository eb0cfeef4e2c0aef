#!/bin/sh
# Install what the build and the tests need and this machine lacks (Debian 12).  `setup.sh dev`: also what format, lint and coverage need; `setup.sh
# sqlite`: what SQLite's own tests need.
# Silent when nothing is missing.  Not root and no sudo without a password: prints the command and stops.
set -eu

packages="gcc g++ clang make patch binutils libc6-dev libpmem-dev libpmemobj-dev libjemalloc-dev liburcu-dev libcmocka-dev libjansson-dev liblmdb-dev libsqlite3-dev sqlite3 python3 jq mandoc pkgconf"
[ "${1-}" = dev ] && packages="$packages clang clang-format clang-tidy cppcheck libclang-rt-14-dev"
[ "${1-}" = sqlite ] && packages="$packages tcl8.6-dev dpkg-dev xz-utils zlib1g-dev"

missing=
for p in $packages; do
	case "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)" in
	*" installed") ;;
	*) missing="$missing $p" ;;
	esac
done
[ -z "$missing" ] && exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
	as_root=
elif sudo -n true 2>/dev/null; then
	as_root="sudo -n"
else
	echo "missing packages; as root run:" >&2
	echo "    apt-get update && $install" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
if ! { $as_root apt-get update && $as_root $install; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "could not install; as root run:" >&2
	echo "    apt-get update && $install" >&2
	exit 1
fi
