#!/bin/sh
# Every command of pmpt: what it does, its JSON, its exit codes, and what it says to bad input.
set -u
BUILD=${BUILD:-build}
pmpt=$BUILD/pmpt
dir=$(mktemp -d /dev/shm/pmpt-tool.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$dir"' EXIT
pool=$dir/pool
failed=0

# expect CODE PATTERN COMMAND...: the exit code, and a line of its output or errors
expect() {
	want=$1 pattern=$2
	shift 2
	"$@" > "$dir/out" 2>&1 < "${input:-/dev/null}"
	got=$?
	if [ $got != "$want" ]; then
		echo "exit $got, expected $want: $*"
	elif [ -n "$pattern" ] && ! grep -qE -e "$pattern" "$dir/out"; then
		echo "no line like '$pattern': $*"
	else
		return
	fi
	head -n 10 "$dir/out"
	failed=$((failed + 1))
}
# json FILTER COMMAND...: it prints JSON for which the filter (of all its lines) is true
json() {
	filter=$1
	shift
	"$@" > "$dir/out" 2>&1 && jq -se "$filter" "$dir/out" > "$dir/jq" 2>&1 && return
	echo "not $filter: $*"
	head -n 10 "$dir/out" "$dir/jq"
	failed=$((failed + 1))
}
same() {
	cmp "$1" "$2" || failed=$((failed + 1))
}

# holds FILE TEXT: the file is as it was
holds() {
	[ "$(cat "$1")" = "$2" ] && return
	echo "$1 was changed"
	failed=$((failed + 1))
}

# ---- help, version, usage ---------------------------------------------------------------------

commands="create info stat check space walk map unmap protect dump restore import heatmap bench storm"
expect 0 '^pmpt [0-9]+\.[0-9]+\.[0-9]+$' $pmpt --version
expect 0 '^  restore ' $pmpt help
expect 2 '^usage: pmpt COMMAND' $pmpt
expect 2 "did you mean 'check'" $pmpt chekc
expect 2 "did you mean 'restore'" $pmpt rest
expect 2 "is not a command; 'pmpt help'" $pmpt quux
expect 2 'is not a command' $pmpt help quux
for c in $commands; do
	expect 0 '^usage: pmpt' $pmpt "$c" --help
	expect 0 '^usage: pmpt' $pmpt help "$c"
	[ "$c" = bench ] && continue
	usage=2
	[ "$c" = check ] && usage=16
	expect 0 '^Exit codes$' $pmpt "$c" --help
	expect 0 '^Example$' $pmpt "$c" --help
	expect $usage 'an operand is missing' $pmpt "$c"
	expect $usage "unknown option '--bogus'" $pmpt "$c" --bogus "$pool"
done
expect 2 'one operand too many' $pmpt info a b
expect 2 "needs a value" $pmpt create "$pool" --size
expect 2 "'12q' is no number" $pmpt create --size 12q "$pool"
expect 2 "'-1' is no number" $pmpt create --size=-1 "$pool"
expect 2 "'99999999999999999999' is no number" $pmpt create --size 99999999999999999999 "$pool"
expect 2 "'17179869184T' is no number" $pmpt create --size 17179869184T "$pool"

# ---- create, info, stat, space ----------------------------------------------------------------

json '.[0].bytes == 67108864' $pmpt create --json --size 64MiB "$pool"
expect 1 'File exists' $pmpt create "$pool"
expect 1 'pool_bytes|at least|small' $pmpt create --size 1M "$dir/small"
[ ! -e "$dir/small" ] || { echo "a failed create left a file"; failed=$((failed + 1)); }
expect 1 'No such file' $pmpt info "$dir/none"
expect 1 'No such space|no such space' $pmpt walk "$pool" none
expect 0 'recovery' $pmpt info "$pool"
json '.[0] | .live == false and .recovery.undone == 0 and .lanes >= 1' $pmpt info --json "$pool"
expect 0 '^  free ' $pmpt stat "$pool"
json '.[0] | .frames == .frames_reserved + .frames_table + .frames_data + .frames_free' \
	$pmpt stat --json "$pool"
expect 0 "^created space 'one'$" $pmpt space create "$pool" one
expect 1 'exists' $pmpt space create "$pool" one
expect 1 'name' $pmpt space create "$pool" ''
json '.[0] == {"done": "created", "space": "a \"name\" \\ with é"}' \
	$pmpt space create --json "$pool" 'a "name" \ with é'
json '.[0] == {"done": "renamed", "space": "one", "to": "first"}' \
	$pmpt space rename --json "$pool" one first
json '.[0].spaces | map(.name) == ["first", "a \"name\" \\ with é"]' $pmpt space ls --json "$pool"
expect 0 ' first$' $pmpt space ls "$pool"
json '.[0].done == "removed"' $pmpt space rm --json "$pool" 'a "name" \ with é'
expect 1 'no such space' $pmpt space rm "$pool" one
expect 2 'ls, create, rm or rename' $pmpt space list "$pool"
expect 2 'takes 2 operands' $pmpt space create "$pool"

# ---- map, protect, unmap, walk ----------------------------------------------------------------

json '.[0] | .done == "mapped" and .bytes == 2097152 and .lsn > 0' \
	$pmpt map --json --zero --prot rwu "$pool" first 0x10000000 512
expect 0 '^mapped' $pmpt map --ext --pfn 0xfd000 --2m --tag 5 --pkey 3 --global "$pool" first 1G 8
expect 0 '^mapped' $pmpt map --ext --pfn 0x40000 --1g --prot r-x "$pool" first 0xffff800000000000 1
expect 1 'mapped' $pmpt map "$pool" first 0x10000000 1
expect 0 '^mapped' $pmpt map --replace "$pool" first 0x10000000 1
expect 0 '^protected' $pmpt protect "$pool" first 0x10001000 8k rx
expect 0 '^unmapped' $pmpt unmap "$pool" first 0x10002000 4k
json 'length == 1 and .[0].prot == "r-x-" and .[0].count == 1' \
	$pmpt walk --json --va 0x10001000 --len 8k "$pool" first
json 'map(.count) | add == 520' $pmpt walk --json "$pool" first
json '.[] | select(.va == "0x40000000") | .ext and .tag == 5 and .pkey == 3 and .size == 2097152' \
	$pmpt walk --json "$pool" first
expect 0 'entry 256 of the top table' $pmpt walk "$pool" first
expect 0 'and [0-9]+ more' $pmpt walk --limit 1 "$pool" first
# the last page of all: its end is 2^64
expect 0 '^mapped 0xfffffffffffff000-0x10000000000000000 ' $pmpt map "$pool" first 0xfffffffffffff000 1
expect 0 'fffffffffffff000-10000000000000000 ' $pmpt walk "$pool" first
expect 0 '^unmapped' $pmpt unmap "$pool" first 0xfffffffffffff000 4k
expect 2 '2\^36 pages' $pmpt map "$pool" first 0 18446744073709551615
expect 1 'leaves its half' $pmpt map "$pool" first 0x7ffffffff000 2
expect 1 'empty' $pmpt unmap "$pool" first 0 0
expect 1 'not aligned' $pmpt map "$pool" first 0x3 1
expect 1 'canonical' $pmpt map "$pool" first 0x800000000000 1
expect 1 'not mapped' $pmpt protect "$pool" first 0x10000000 2M rw
expect 1 'bad frame|frame' $pmpt map --pfn 1 "$pool" first 0 1
expect 2 '\-\-ext needs --pfn' $pmpt map --ext "$pool" first 0 1
expect 2 'neither --pfn nor --ext' $pmpt map --alloc --pfn 1 "$pool" first 0 1
expect 2 'exclude each other' $pmpt map --2m --1g "$pool" first 0 1
expect 2 'letters of rwxu' $pmpt map --prot wx "$pool" first 0 1
expect 2 'letters of rwxu' $pmpt protect "$pool" first 0 4k q
expect 2 '0 to 15' $pmpt map --tag 16 "$pool" first 0 1
expect 2 "VA: 'here' is no number" $pmpt map "$pool" first here 1
[ "$($pmpt walk "$pool" first | cat -v | grep -c '\^\[')" = 0 ] || { echo "colors in a pipe"; failed=$((failed + 1)); }

# ---- dump, restore ----------------------------------------------------------------------------

expect 0 '' $pmpt space create "$pool" second
expect 0 '' $pmpt map --pfn "$($pmpt walk --json "$pool" first | jq -s '.[1].pfn')" "$pool" second 0 1
expect 0 '^dumped 2 spaces, 521 pages to ' $pmpt dump -o "$dir/dump" "$pool"
json '.[0].spaces == 2 and .[0].pages == 521' $pmpt dump --json -o "$dir/dump" "$pool"
json '.[0].pmpt_dump == 1' $pmpt dump --json "$pool"
json '.[0].pmpt_dump == 1 and .[-1].end == "second"' cat "$dir/dump"
expect 0 '' $pmpt create --size 64M "$dir/other"
json '.[0].spaces == 2 and .[0].pages == 521' $pmpt restore --json "$dir/other" "$dir/dump"
# frames of the pool have other numbers: equal apart from those, and as much shared
expect 0 '' $pmpt dump -o "$dir/again" "$dir/other"
for f in dump again; do
	jq -c 'if .frames == "alloc" then del(.pfn) else . end' "$dir/$f" > "$dir/$f.cut"
done
same "$dir/dump.cut" "$dir/again.cut"
for p in "$pool" "$dir/other"; do $pmpt stat --json "$p" | jq '.frames_data'; done | sort -u > "$dir/data"
[ "$(wc -l < "$dir/data")" = 1 ] || { echo "sharing was lost"; cat "$dir/data"; failed=$((failed + 1)); }
expect 0 'clean' $pmpt check "$dir/other"
expect 1 'is not empty' $pmpt restore "$dir/other" "$dir/dump"
$pmpt dump "$dir/other" second > "$dir/second"
expect 0 'restored 1 space' $pmpt restore --as copy "$dir/other" "$dir/second"
expect 2 'a dump of one space' $pmpt restore --as copy "$dir/other" "$dir/dump"
expect 1 "no such space" $pmpt dump "$pool" none
expect 1 '^pmpt: /dev/full: No space left' $pmpt dump -o /dev/full "$pool"
# A file appears whole or not at all, and a pool is never overwritten.
echo precious > "$dir/old"
expect 1 "no such space" $pmpt dump -o "$dir/old" "$pool" none
holds "$dir/old" precious
ln -s old "$dir/link"
expect 0 '' $pmpt dump -o "$dir/link" "$pool"
same "$dir/old" "$dir/dump"
[ -L "$dir/link" ] || { echo "a link was replaced"; failed=$((failed + 1)); }
expect 1 'this is a pool; it is not overwritten' $pmpt dump -o "$pool" "$pool"
expect 1 'this is a pool; it is not overwritten' $pmpt heatmap -o "$dir/other" "$pool" first
expect 1 ': Is a directory$' $pmpt dump -o "$dir" "$pool"
expect 0 'clean' $pmpt check "$pool"
expect 1 '' sh -c "ls '$dir' | grep -E '^(old|link|pool|other)\\.'"

# Line and column, what was found and expected; nothing is changed.
$pmpt dump "$dir/other" > "$dir/before"
head='{"pmpt_dump":1,"version":"0.1.0","space":"bad","user":["0x0","0x0","0x0","0x0","0x0","0x0","0x0","0x1"]}'
page='{"va":"0x1000","size":4096,"count":2,"pfn":7,"frames":"ext","prot":"rw--"}'
end='{"end":"bad","pages":2}'
bad() { # bad PATTERN LINE...
	pattern=$1
	shift
	printf '%s\n' "$@" > "$dir/in"
	input=$dir/in
	expect 1 "$pattern" $pmpt restore "$dir/other"
	input=
}
edit() { printf '%s\n' "$page" | sed "$1"; }
expect 1 ':1:.*it is empty' $pmpt restore "$dir/other" /dev/null
expect 1 ':1:65536: no end of line' $pmpt restore "$dir/other" /dev/zero
expect 1 ':1:.*\\x7f' $pmpt restore "$dir/other" /bin/ls
expect 1 '^pmpt: .*: Is a directory$' $pmpt restore "$dir/other" "$dir"
bad ':1:1: ' ''
bad ':1:1: .*expected a header' "$page"
bad ':1:1: .*expected an object' '[]'
bad ':1:2: "pmpt_dump": found 2, expected an integer, 1 to 1' "$(echo "$head" | sed 's/:1,/:2,/')"
bad ':1:.*"user": found' "$(echo "$head" | sed 's/"0x1"/1/')"
bad ':1:.*"user": found .* 8 words' "$(echo "$head" | sed 's/"0x0",//')"
bad ':2:.*found a header' "$head" "$head"
bad ':4:.*is here twice' "$head" "$page" "$end" "$head"
bad ':2:75: ' "$head" "$page,"
bad ':2:2: "va": found 4096, expected an address' "$head" "$(edit 's/"0x1000"/4096/')"
bad ':2:16: "size": found 8192' "$head" "$(edit 's/4096/8192/')"
bad ':2:28: "count": found 0' "$head" "$(edit 's/"count":2/"count":0/')"
bad ':2:28: "count": found "2"' "$head" "$(edit 's/"count":2/"count":"2"/')"
bad ':2:28: "count": found nothing|"count": found nothing' "$head" "$(edit 's/"count":2,//')"
bad ':2:38: "pfn": found -1' "$head" "$(edit 's/"pfn":7/"pfn":-1/')"
bad ':2:38: "pfn": found 7.5' "$head" "$(edit 's/"pfn":7/"pfn":7.5/')"
bad ':2:38: "pfn": found 1099511627775' "$head" "$(edit 's/"pfn":7/"pfn":1099511627775/')"
bad ':2:46: "frames": found "pool"' "$head" "$(edit 's/"ext"/"pool"/')"
bad ':2:61: "prot": found "-w"' "$head" "$(edit 's/rw--/-w/')"
bad ':2:.*"tag": found 16' "$head" "$(edit 's/}/,"tag":16}/')"
bad ':2:.*"global": found 1, expected true or false' "$head" "$(edit 's/}/,"global":1}/')"
bad ':2:.*unknown key "zero"' "$head" "$(edit 's/}/,"zero":true}/')"
bad ':2:.*duplicate' "$head" "$(edit 's/}/,"pfn":8}/')"
bad ':2:.*not aligned' "$head" "$(edit 's/0x1000/0x1001/')"
bad ':2:.*not aligned' "$head" "$(edit 's/4096/2097152/')"
bad ':3:.*"pages": found 3, expected an integer, 2 to 2' "$head" "$page" '{"end":"bad","pages":3}'
bad ':3:.*"end": found "worse"' "$head" "$page" '{"end":"worse","pages":2}'
bad ':3:.*in the middle of space' "$head" "$page"
bad ':3: .*mapped' "$head" "$page" "$page" '{"end":"bad","pages":4}'
bad ':2: .*(canonical|bad address)' "$head" "$(edit 's/0x1000/0x800000000000/')" "$end"
bad 'frames' "$head" "$(edit 's/"ext"/"alloc"/; s/"count":2/"count":1000000/')" '{"end":"bad","pages":1000000}'
$pmpt dump "$dir/other" > "$dir/after"
same "$dir/before" "$dir/after"
expect 0 'clean' $pmpt check "$dir/other"
# the good form of all these lines; it is exact for external frames
printf '%s\n' "$head" "$page" "$end" > "$dir/in"
expect 0 'restored 1 space, 2 pages' $pmpt restore "$dir/other" "$dir/in"
$pmpt dump "$dir/other" bad > "$dir/out2"
same "$dir/in" "$dir/out2"

# ---- import, heatmap --------------------------------------------------------------------------

expect 0 '^imported' $pmpt import --pid $$ --space shell "$pool"
json '.[0].pages > 100' $pmpt import --pid $$ --json "$pool"
json '.[0].frames == "by order"' $pmpt import --pid $$ --space all --all --json "$pool"
expect 0 '^imported' $pmpt import --maps /proc/$$/maps --space maps "$pool"
input=/proc/$$/maps
expect 0 'by order|order of appearance' $pmpt import --stdin --space piped "$pool"
input=
for s in maps piped; do $pmpt dump "$pool" $s | jq -c 'select(.va)' > "$dir/$s"; done
same "$dir/maps" "$dir/piped"
expect 1 "name exists|'shell' is not empty" $pmpt import --pid $$ --space shell "$pool"
# an import that was killed leaves an empty space: it is taken
expect 0 '' $pmpt space create "$pool" early
expect 0 '^imported' $pmpt import --pid $$ --space early "$pool"
expect 1 '^pmpt: /proc/0/maps: No such file' $pmpt import --pid 0 "$pool"
expect 1 ':1: more than 65536 bytes' $pmpt import --maps /dev/zero "$pool"
expect 1 ':1: found .\\x7fELF' $pmpt import --maps /bin/ls "$pool"
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
	nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
	chmod 755 "$dir"
	chmod 600 "$pool"
	expect 1 '^pmpt: .*: open: Permission denied$' $nobody $pmpt info "$pool"
	expect 8 '^pmpt: .*: Permission denied$' $nobody $pmpt check "$pool"
	expect 1 'only its user and root may read it.: Permission denied$' \
		$nobody $pmpt import --pid $$ "$pool"
	$nobody sleep 60 &
	sleeper=$!
	while [ "$(stat -c %u /proc/$sleeper)" = 0 ]; do sleep 0.05; done
	mkdir -m 777 "$dir/open"
	expect 0 '' $nobody $pmpt create "$dir/open/pool"
	json '.[0].frames == "by order" and .[0].pages > 50' \
		$nobody $pmpt import --pid $sleeper --json "$dir/open/pool"
	kill $sleeper
fi
expect 1 'No such file' $pmpt import --pid 4194305 "$pool"
expect 1 'no pages' $pmpt import --maps /dev/null "$pool"
expect 1 'more than 10 pages' $pmpt import --pid $$ --space few --limit 10 "$pool"
expect 2 'one of --pid' $pmpt import "$pool"
expect 2 'one of --pid' $pmpt import --pid 1 --stdin "$pool"
for line in 'nonsense' '1000-1000 rw-p' '2000-1000 rw-p' '1001-2000 rw-p' '1000-2000 rwp' '1000-2000'; do
	printf '%s\n' "$line" > "$dir/in"
	expect 1 ':1: found .*expected' $pmpt import --maps "$dir/in" --space nothing "$pool"
done
printf '800000000000-800000001000 rw-p\n' > "$dir/in"
expect 1 'address' $pmpt import --maps "$dir/in" --space nothing "$pool"
printf '1000-3000 rw-p\n2000-4000 rw-p\n' > "$dir/in"
expect 1 'mapped' $pmpt import --maps "$dir/in" --space nothing "$pool"
expect 1 'no such space' $pmpt walk "$pool" nothing
# more than fits into one redo transaction: a bulk one, whole
awk 'BEGIN { for (i = 0; i < 40000; i++) printf "%x-%x r%s-p\n", (i * 3 + 1) * 4096, (i * 3 + 2) * 4096, i % 2 ? "w" : "-" }' > "$dir/in"
expect 0 'imported 40,000 pages' $pmpt import --maps "$dir/in" --space scattered "$pool"
json 'map(.count) | add == 40000' $pmpt walk --json "$pool" scattered

expect 0 '' $pmpt heatmap -o "$dir/a.svg" "$pool" shell
expect 0 '^<svg .*' head -n 1 "$dir/a.svg"
expect 0 '^</svg>$' tail -n 1 "$dir/a.svg"
expect 0 'Address space “shell”' cat "$dir/a.svg"
expect 0 '>\+[0-9]+ [KM]iB</text>' cat "$dir/a.svg"
expect 0 'Frames of the pool' $pmpt heatmap --frames "$pool"
json '.[0] | .of == "space" and .file == null and ([.pages[]] | add) == ([.regions[].used] | add)' \
	$pmpt heatmap --json "$pool" shell
json '.[0] | .of == "frames" and .file and .regions[0].from == 0 and .regions[0].used > 0' \
	$pmpt heatmap --json --frames -o "$dir/b.svg" "$pool"
expect 0 '^</svg>$' tail -n 1 "$dir/b.svg"
expect 0 'a&amp;&lt;b' sh -c "$pmpt space create '$pool' 'a&<b' && $pmpt map '$pool' 'a&<b' 0 1 && $pmpt heatmap '$pool' 'a&<b'"
expect 0 '' $pmpt space create "$pool" empty
expect 1 'maps nothing' $pmpt heatmap "$pool" empty
expect 2 'either SPACE or --frames' $pmpt heatmap "$pool"
expect 2 'either SPACE or --frames' $pmpt heatmap --frames "$pool" shell
[ "$($pmpt dump -o /dev/stdout "$pool" shell)" = "$($pmpt dump "$pool" shell)" ] ||
	{ echo "more than the dump in a pipe"; failed=$((failed + 1)); }
expect 1 'No such file|Not a directory' $pmpt heatmap -o "$dir/none/a.svg" "$pool" shell

# ---- check ------------------------------------------------------------------------------------

expect 0 'clean' $pmpt check "$pool"
json '.[0].clean and .[0].findings == 0' $pmpt check --json "$pool"
expect 8 'not a libpmpt pool: offset 0: found 72 6f 6f 74 3a .*, expected 50 4d 45 4d' $pmpt check /etc/passwd
expect 1 'not a libpmpt pool' $pmpt info /etc/passwd
expect 8 'No such file' $pmpt check "$dir/none"
for f in "$dir" /dev/null /dev/zero; do expect 8 ': no regular file$' $pmpt check "$f"; done
for f in "$dir" /dev/null /dev/zero; do expect 1 ': no regular file$' $pmpt info "$f"; done
expect 1 '^pmpt: .*: create: File exists$' $pmpt create /dev/null
head -c 1000000 "$pool" > "$dir/short"
expect 8 'truncated: 1000000 bytes' $pmpt check "$dir/short"
expect 8 'truncated: 1000000 bytes' $pmpt info "$dir/short"
printf '\033[31mno\033[m pool, and more than eight bytes\n' > "$dir/escape"
expect 1 'offset 0: found 1b 5b 33 31 6d 6e 6f 1b, expected' $pmpt info "$dir/escape"
$pmpt check --json "$dir/short" > "$dir/out" 2> "$dir/jq"
jq -e '.clean == false and .error == "pool file is truncated" and (.detail | length > 0)' "$dir/out" > "$dir/jq" ||
	{ echo "check --json of a short pool"; cat "$dir/out"; failed=$((failed + 1)); }

# ---- standard output that is closed, full, or gone ----------------------------------------------

# A closed descriptor must not become the pool's: what is printed would go into it.
for c in "info '$pool'" "stat '$pool'" "walk '$pool' shell" "dump '$pool'" "space ls '$pool'" \
	"heatmap '$pool' shell" "walk --json '$pool' shell" --version help "map --help"; do
	expect 1 'standard output: Bad file descriptor' sh -c "$pmpt $c >&-"
	expect 1 'standard output: No space left' sh -c "$pmpt $c > /dev/full"
done
expect 8 'standard output: Bad file descriptor' sh -c "$pmpt check '$pool' >&-"
expect 1 '' sh -c "$pmpt info '$pool' <&- >&- 2>&-"
expect 0 '^shell ' sh -c "$pmpt walk '$pool' shell | head -n 1"
expect 0 'clean' $pmpt check "$pool"

# ---- a terminal ---------------------------------------------------------------------------------

if script -qec true /dev/null > "$dir/out" 2>&1; then
	expect 0 '\[1m.*pool' script -qec "TERM=xterm $pmpt info '$pool'" /dev/null
	expect 1 '' sh -c "TERM=xterm NO_COLOR=1 script -qec \"$pmpt info '$pool'\" /dev/null | grep '\[1m'"
	expect 0 'storm [0-9,]+ transactions/s|storm  [0-9,]+ transactions/s' \
		script -qec "$pmpt create '$dir/tty' && $pmpt storm --ms 1500 '$dir/tty'" /dev/null
	expect 0 '' rm "$dir/tty"
else
	echo "no pseudo-terminals here: colors and the progress bar are not tested"
fi

# ---- damage --------------------------------------------------------------------------------------

# An external page becomes one of the pool's, far outside of it: found, and never followed.
expect 0 '' $pmpt space create "$pool" victim
expect 0 '' $pmpt map --ext --pfn 0xabcdef123 "$pool" victim 0x5000 1
perl -e 'open(my $f, "+<:raw", $ARGV[0]) or die; local $/; my $all = <$f>; my ($at, $n) = (0, 0);
	while (($at = index($all, "\x12\xef\xcd\xab", $at)) >= 0) {
		if ($at % 8 == 2) {
			my $entry = unpack("Q<", substr($all, $at - 2, 8));
			seek($f, $at - 2, 0); print $f pack("Q<", $entry & ~0x400); $n++;
		}
		$at++;
	}
	exit($n ? 0 : 1)' "$pool" || { echo "the entry was not found"; failed=$((failed + 1)); }
expect 4 'offset 0x.*abcdef123|finding' $pmpt check "$pool"
$pmpt check --json "$pool" > "$dir/out"
[ $? = 4 ] && jq -e '.clean == false and .findings >= 1 and (.list[0] | .rule and .offset and .message)' "$dir/out" > "$dir/jq" ||
	{ echo "check --json of a damaged pool"; cat "$dir/out"; failed=$((failed + 1)); }
expect 4 '^$' sh -c "$pmpt check --quiet --limit 0 '$pool'; code=\$?; echo; exit \$code"
# The superblock: opening says it too.
at=$(LC_ALL=C grep -aboP 'libpmpt\x00' "$dir/other" | head -n 1 | cut -d: -f1)
[ -n "$at" ] || { echo "no superblock found"; failed=$((failed + 1)); }
printf 'XXXX' | dd of="$dir/other" bs=1 seek=$((${at:-0} + 24)) conv=notrunc 2> "$dir/out"
expect 8 'corrupt|damaged' $pmpt info "$dir/other"
expect 4 '^superblock' $pmpt check "$dir/other"

# ---- a pool in use ----------------------------------------------------------------------------

# The dump opens the pool, then the pipe, and cannot end before we have read all of it.
$pmpt create --size 64M "$dir/live" > "$dir/out"
awk 'BEGIN { for (i = 0; i < 9000; i++) printf "%x-%x rw-p\n", (i * 3 + 1) * 4096, (i * 3 + 2) * 4096 }' > "$dir/in"
expect 0 'imported 9,000 pages' $pmpt import --maps "$dir/in" "$dir/live"
mkfifo "$dir/pipe"
$pmpt dump -o "$dir/pipe" "$dir/live" &
dump=$!
exec 3< "$dir/pipe"
expect 1 'in use' $pmpt stat "$dir/live"
expect 1 'in use' $pmpt map "$dir/live" maps 0 1
expect 0 'in use by another process' $pmpt info "$dir/live"
json '.[0].live and .[0].leaves == 9000' $pmpt info --json "$dir/live"
expect 0 'clean.*in use by another process' $pmpt check "$dir/live"
cat <&3 > "$dir/out2"
exec 3<&-
wait $dump || { echo "dump into a pipe"; failed=$((failed + 1)); }
expect 0 '' $pmpt stat "$dir/live"

# ---- storm, bench -----------------------------------------------------------------------------

json 'length == 2 and all(.transactions > 0 and .seconds > 0)' \
	$pmpt storm --json --ms 50 --rounds 2 --threads 3 "$dir/live"
expect 0 '' $pmpt create "$dir/new"
expect 0 'every acknowledged transaction is there, none half' $pmpt storm --ms 50 --seed 1 "$dir/new"
expect 1 'found .*expected|ended by itself|was acknowledged' $pmpt storm --ms 50 --seed 2 "$dir/new"
expect 0 'clean' $pmpt check "$dir/new"
expect 0 'update' $pmpt bench --list
for c in --list --help; do
	expect 1 '^pmpt-bench: standard output: No space left' sh -c "$pmpt-bench $c > /dev/full"
	expect 1 '^pmpt-bench: standard output: Bad file descriptor' sh -c "$pmpt-bench $c >&-"
done

[ $failed = 0 ] || { echo "$failed failed"; exit 1; }
