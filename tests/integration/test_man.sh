#!/bin/sh
# The manual pages: they are well formed, their synopses are the header's, every public name is in one of them, every number in them is the code's,
# every page of section 3 tells what a power failure does, and their examples compile; that of libpmpt(7) runs.
set -eu
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
cc=${CC:-cc}
tmp=$(mktemp -d)
pool=$(mktemp -u /dev/shm/libpmpt-man.XXXXXX)
trap 'rm -rf "$tmp" "$pool"' EXIT
cd doc/man
bad=0
wrong() { echo "$*"; bad=1; }

# ---- well formed.  References to other packages' pages are style messages, below -W warning: they may not be installed here.
for page in *.[1-9]; do
	mandoc -Tlint -W warning "$page" || wrong "$page: see above"
done

# ---- names: a page's own comes first; every exported function is in exactly one NAME, and no page names another
names() { sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([^ ]*\).*/\1/p' "$1"; }
for page in *.[1-9]; do
	[ "$(names "$page" | head -n 1)" = "${page%.*}" ] || wrong "$page: its NAME does not begin with ${page%.*}"
	[ "$(sed -n 's/^\.Dt //p' "$page")" = "$(echo "${page%.*}" | tr a-z A-Z) ${page##*.}" ] || wrong "$page: its title is another"
done
nm -D --defined-only "$BUILD/libpmpt.so.0" | sed -n 's/.* T \(pmpt_[a-z_]*\).*/\1/p' | sort > "$tmp/exported"
for page in *.3; do names "$page"; done | sort > "$tmp/named"
[ "$(wc -l < "$tmp/exported")" -ge 40 ] || wrong "only $(wc -l < "$tmp/exported") exported functions found"
diff -u "$tmp/exported" "$tmp/named" || wrong "exported (-) and named by pages of section 3 (+) differ"
for page in *.3; do
	grep -q '^\.Sh POWER FAILURE$' "$page" || wrong "$page: no section POWER FAILURE"
	names "$page" | sort > "$tmp/name"
	sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESC/s/^\.Fo //p' "$page" | sort > "$tmp/fo"
	diff -u "$tmp/name" "$tmp/fo" || wrong "$page: NAME (-) and SYNOPSIS (+) differ"
done

# ---- references to pages of our own
sed -n 's/^\.\(It \)\{0,1\}Xr \([a-z_-]*pmpt[a-z_-]*\) \([1-9]\).*/\2 \3/p' *.[1-9] | sort -u > "$tmp/xr"
[ -s "$tmp/xr" ] || wrong "no references found"
while read -r name section; do
	for page in *."$section"; do names "$page"; done | grep -qx -e "$name" || wrong "$name($section) is referred to, and is in no page"
done < "$tmp/xr"

# ---- identifiers: all of the header's are in pages, and pages have no others
header=../../include/libpmpt.h
sed 's|/\*.*\*/||' $header | grep -o '\bPMPT_[A-Z0-9_]*[A-Z0-9]\b' | grep -v '_MASK$\|^PMPT_API$' | sort -u > "$tmp/header"
sed 's|^\.\\".*||; s|^\.\(It \)\{0,1\}Ev .*||' *.[3-7] | grep -o '\bPMPT_[A-Z0-9_]*[A-Z0-9]\b' | grep -vE "^($(ls *.3 | sed 's/\..*//' | tr a-z A-Z | paste -sd '|'))\$" |
	grep -v '^PMPT_E$' | sort -u > "$tmp/pages"
[ "$(wc -l < "$tmp/header")" -ge 70 ] || wrong "only $(wc -l < "$tmp/header") identifiers found in the header"
diff -u "$tmp/header" "$tmp/pages" || wrong "identifiers of the header (-) and of the pages (+) differ"

# ---- numbers, as a C program that says what differs.  Rows of tables: "Dv NAME Ta VALUE" a constant, "OFFSET Ta SIZE Ta FIELD" a field, in the
# section of its structure, where rows follow each other without a gap, and "NAME Ta BIT Ta WIDTH" bits of a word.
# ---- synopses: declared once more, which the compiler takes only when they are the same.
{
	cat <<'END'
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "swap_area.h"
#include "swap_file.h"
static int bad;
static void same(const char *what, unsigned long long page, unsigned long long code)
{
	if (page != code)
		printf("%s: the page says %lld, the code %lld\n", what, (long long)page, (long long)code), bad = 1;
}
static void text(const char *what, const char *page, const char *code)
{
	if (strcmp(page, code))
		printf("%s: the page says \"%s\", the code \"%s\"\n", what, page, code), bad = 1;
}
#define LOW(m) (unsigned)__builtin_ctzll(m)
#define BITS_OF(m) (unsigned)__builtin_popcountll(m)
END
	for page in *.3; do
		sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESC/p' "$page" |
			sed -n 's/^\.Ft "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p; s/^\.Fo \(.*\)/\1(/p; s/^\.Fa "\{0,1\}\([^"]*\)"\{0,1\}$/\1,/p; s/^\.Fc/);/p' |
			tr '\n' ' ' | sed 's/, )/)/g; s/; /;\n/g; s/typedef void *$//'
	done
	echo 'int main(void) {'
	sed -n 's/^\.It Dv \([A-Z0-9_]*\) Ta \([0-9]*\) Ta.*/same("\1", \2ull, (unsigned long long)\1);/p' *.7 *.5
	sed -n 's/^\.It Dv \([A-Z0-9_]*\) Pq \\-\([0-9]*\) , Qq \(.*\)/same("\1", -\2ull, (unsigned long long)\1); text("\1", "\3", pmpt_strerror(\1));/p' pmpt_strerror.3
	awk -F ' Ta ' '
		function end() { if (type) printf "same(\"end of struct %s\", %d, %s);\n", type, at, size }
		function start(t, s, from) { end(); type = t; size = s; at = from }
		/^\.Sh SUPERBLOCK/ { start("sb", "sizeof(struct sb)", 0) }
		/^A slot of/ { start("sb_extent", "sizeof(struct sb_extent)", 0) }
		/^\.Sh EXTENT HEADER/ { start("extent_head", "sizeof(struct extent_head)", 0) }
		/^\.Sh DIRECTORY/ { start("space_record", "sizeof(struct space_record)", 0) }
		/^\.Sh SWAP AREA/ { start("swap_area_head", "sizeof(struct swap_area_head)", 0) }
		/^\.Ss The swap file/ { start("swap_head", "sizeof(struct swap_head)", 0) }
		/^\.Ss Header of a slot/ { start("swap_slot", "sizeof(struct swap_slot)", 0) }
		/^\.Sh LOG/ { start("line", "sizeof(struct line)", 0) }
		/^\.Ss Payload/ { start("line", "sizeof(struct line)", 16) }
		/^\.Sh DESCRIPTORS/ { prefix = "DESC" }
		/^\.Sh TABLES/ { prefix = "ENTRY" }
		/^\.It [0-9]+ Ta [0-9]+ Ta/ && type {
			off = substr($1, 5)
			printf "same(\"struct %s at %d\", %d, %d);\n", type, at, off, at
			at = off + $2
			if ($3 != "-")
				printf "same(\"offset of %s.%s\", %d, offsetof(struct %s, %s)); same(\"size of %s.%s\", %d, sizeof(((struct %s *)0)->%s));\n",
					type, $3, off, type, $3, type, $3, $2, type, $3
		}
		/^\.It [A-Z]+ Ta [0-9]+ Ta [0-9]+/ {
			name = prefix "_" substr($1, 5)
			printf "same(\"%s bit\", %d, LOW(%s)); same(\"%s width\", %d, BITS_OF(%s)); %s ^= %s;\n", name, $2, name, name, $3, name, prefix, name
		}
		END { end() }' libpmpt-pool.5 > "$tmp/fields"
	echo 'unsigned long long DESC = 0, ENTRY = 0;'
	cat "$tmp/fields"
	echo 'same("all bits of descriptors", DESC, ~0ull); same("all bits of entries", ENTRY, ~0ull);'
	magic() { sed -n "/^\.Sh $1/,/^\.El/s/^\.It 0 Ta 8 Ta magic Ta \(0x[0-9a-f]*\)\$/\1/p" libpmpt-pool.5; }
	echo "same(\"magic of an extent\", $(magic 'EXTENT HEADER')ull, EXTENT_MAGIC);"
	echo "same(\"magic of a swap area\", $(magic 'SWAP AREA')ull, SWAP_AREA_MAGIC);"
	echo 'return bad; }'
} > "$tmp/numbers.c"
[ "$(grep -c '^same("offset' "$tmp/fields")" -ge 50 ] || wrong "only $(grep -c '^same("offset' "$tmp/fields") fields in libpmpt-pool.5"
[ "$(grep -c 'bit"' "$tmp/fields")" -ge 21 ] || wrong "bits are missing in libpmpt-pool.5"
# every limit has its row, and every error
sed -n '/---- limits/,/---- errors/s/^#define \(PMPT_[A-Z_]*\) .*/\1/p; /---- limits/,/---- errors/s/^#define \(PMPT_[A-Z_]*\)$/\1/p' $header > "$tmp/limits"
grep -o '^	PMPT_E_[A-Z_]*' $header | tr -d '\t' > "$tmp/errors"
[ "$(wc -l < "$tmp/limits")" -ge 15 ] && [ "$(wc -l < "$tmp/errors")" -ge 31 ] || wrong "limits and errors not found in the header"
while read -r name; do
	grep -q "^\.It Dv $name Ta [0-9]" libpmpt.7 || wrong "$name has no row in libpmpt.7"
done < "$tmp/limits"
while read -r name; do
	grep -q "^\.It Dv $name Pq \\\\-[0-9]* , Qq " pmpt_strerror.3 || wrong "$name has no place in pmpt_strerror.3"
done < "$tmp/errors"

cd "$OLDPWD"
flags="-Wall -Wextra -Werror -Iinclude"
libs="-L$BUILD -lpmpt"
$cc -std=c11 $flags -Wno-unused-variable -Wno-unused-function -Ilib -o "$tmp/numbers" "$tmp/numbers.c" $libs
LD_LIBRARY_PATH=$BUILD "$tmp/numbers" || wrong "numbers differ"

# ---- examples
example() { sed -n '/^\.Sh EXAMPLES/,/^\.Sh/{/^\.Bd/,/^\.Ed/{/^\.[BE]d/!p;};}' "$1" | sed 's/\\e/\\/g'; }
n=0
for page in doc/man/*.3; do
	{ echo '#include <libpmpt.h>'; example "$page"; } > "$tmp/example.c"
	[ "$(wc -l < "$tmp/example.c")" -gt 5 ] || continue
	$cc -std=c11 $flags -c -o "$tmp/example.o" "$tmp/example.c" || wrong "$page: its example does not compile"
	n=$((n + 1))
done
[ $n -ge 8 ] || wrong "only $n pages of section 3 have examples"
example doc/man/libpmpt.7 > "$tmp/whole.c"
$cc $flags -o "$tmp/whole" "$tmp/whole.c" $libs
export LD_LIBRARY_PATH="$BUILD"
[ "$("$tmp/whole" "$pool")" = committed ] || wrong "the example of libpmpt.7 does not say that it has committed"
"$tmp/whole" "$pool" > "$tmp/second"
printf 'found: durable when this program says so\ncommitted\n' | diff -u - "$tmp/second" || wrong "it does not find what it has committed"
exit $bad
