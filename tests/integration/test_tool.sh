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

commands="create info stat check backup space snapshot diff segment swap policy read write fault rmap walk map unmap protect dump restore import heatmap bench storm"
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
json '.[0] | .frames == .frames_reserved + .frames_table + .frames_data + .frames_free + .frames_held' \
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
expect 2 'ls, create, fork, rm or rename' $pmpt space list "$pool"
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
# demand-zero pages take no frames, there and here
expect 0 '' $pmpt space create "$pool" lazy
expect 0 '^mapped' $pmpt map --demand --prot rwu --tag 2 "$pool" lazy 0x5000 3
expect 0 '^mapped' $pmpt map --demand --2m "$pool" lazy 1G 2
expect 2 'allocated frames' $pmpt map --demand --ext --pfn 7 "$pool" lazy 0 1
json '.[0] | .demand and .count == 3 and .pieces == 1 and .prot == "rw-u"' $pmpt walk --json "$pool" lazy
expect 0 'demand-zero' $pmpt walk "$pool" lazy
expect 0 '' $pmpt dump -o "$dir/lazy" "$pool" lazy
json '.[1].frames == "demand" and .[2].size == 2097152 and (length) == 4' cat "$dir/lazy"
expect 0 'restored 1 space' $pmpt restore "$dir/other" "$dir/lazy"
expect 0 '' $pmpt dump -o "$dir/lazy.again" "$dir/other" lazy
same "$dir/lazy" "$dir/lazy.again"
expect 0 '' $pmpt heatmap -o "$dir/lazy.svg" "$pool" lazy
expect 0 '' $pmpt heatmap --frames -o "$dir/lazy.svg" "$pool"
expect 0 'clean' $pmpt check "$dir/other"
expect 0 '' $pmpt space rm "$pool" lazy
expect 0 '' $pmpt space rm "$dir/other" lazy
rm -f "$dir/lazy.svg"

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

# ---- data: read, write, fault ------------------------------------------------------------------

data=$dir/data.pool
expect 0 '' $pmpt create --size 32M "$data"
expect 0 '' $pmpt space create "$data" base
head -c 300001 /dev/urandom > "$dir/bytes"
expect 0 "^wrote 300,001 bytes at 0x10000800 of 'base', LSN [0-9]+$" $pmpt write "$data" base 0x10000800 "$dir/bytes"
$pmpt read "$data" base 0x10000800 300001 > "$dir/back"
same "$dir/bytes" "$dir/back"
expect 0 '' $pmpt read -o "$dir/back" "$data" base 0x10000800 300001
same "$dir/bytes" "$dir/back"
printf 'hello' > "$dir/in"
input=$dir/in
json '.[0] | .done == "written" and .bytes == 5 and .va == "0x1ffe" and .lsn > 0' \
	$pmpt write --json "$data" base 0x1ffe < "$dir/in"
expect 0 '^wrote 5 bytes' $pmpt write "$data" base 0x1ffe
expect 0 '^wrote 5 bytes' $pmpt write "$data" base 0x1ffe -
input=
expect 0 '^0000000000001ff8  00 00 00 00 00 00 68 65 6c 6c 6f 00 00 00 00 00  \.{6}hello\.{5}$' \
	$pmpt read --hex "$data" base 0x1ff8 40
expect 0 '^\*$' $pmpt read --hex "$data" base 0x2008 64
expect 0 '^0000000000002048$' $pmpt read --hex "$data" base 0x2008 64
json 'length == 2 and .[0].bytes == 4096 and .[1] == {"va": "0x2ffe", "bytes": 4, "hex": "00000000"}' \
	$pmpt read --json "$data" base 0x1ffe 4100
json '.[0].hex == "68656c6c6f"' $pmpt read --json "$data" base 0x1ffe 5
printf '48 45\n4c4C 4f' > "$dir/in"
expect 0 '^wrote 5 bytes' $pmpt write --hex "$data" base 0x1ffe "$dir/in"
expect 0 'HELLO' $pmpt read --hex "$data" base 0x1ffe 5
for bad in 'zz' '4' '48 4 5'; do
	printf '%s' "$bad" > "$dir/in"
	expect 1 'two hexadecimal digits; nothing was changed' $pmpt write --hex "$data" base 0x1ffe "$dir/in"
done
expect 0 'HELLO' $pmpt read --hex "$data" base 0x1ffe 5
expect 0 '' $pmpt read "$data" base 0 0
expect 1 'address' $pmpt read "$data" base 0x7fffffffffff 2
expect 1 'address' $pmpt read "$data" base 0x800000000000 1
expect 1 'address' $pmpt read "$data" base 0xffffffffffffffff 2
expect 1 'address' $pmpt read "$data" base 0 0xffffffffffffffff
[ ! -s "$dir/out2" ] || : > "$dir/out2"
$pmpt read "$data" base 0x7fffffff0000 1M > "$dir/out2" 2> "$dir/jq"
[ ! -s "$dir/out2" ] || { echo "bytes before the error"; failed=$((failed + 1)); }
expect 0 '^10000000000000000$' $pmpt read --hex "$data" base 0xffffffffffffffff 1
expect 1 'no such space' $pmpt read "$data" none 0 1
expect 1 'no such space' $pmpt write "$data" none 0 "$dir/bytes"
expect 1 'No such file' $pmpt write "$data" base 0 "$dir/none"
expect 1 'Is a directory' $pmpt write "$data" base 0 "$dir"
expect 1 'address' $pmpt write "$data" base 0x7ffffffffff0 "$dir/bytes"
expect 2 'exclude each other' $pmpt read --hex --json "$data" base 0 1
expect 2 "LEN: 'x' is no number" $pmpt read "$data" base 0 x
expect 1 'this is a pool' $pmpt read -o "$data" "$data" base 0 1
expect 1 'No space left' sh -c "$pmpt read '$data' base 0 1M > /dev/full"
expect 0 '^mapped' $pmpt map --prot r "$data" base 0x900000 1
expect 0 '^mapped' $pmpt map --ext --pfn 7 "$data" base 0xa00000 1
expect 0 '^mapped' $pmpt map --demand "$data" base 0xb00000 4
expect 1 'not writable' $pmpt write "$data" base 0x900ff0 "$dir/bytes"
expect 1 "not the pool's" $pmpt read "$data" base 0xa00000 1
expect 1 "not the pool's" $pmpt write "$data" base 0xa00000 "$dir/bytes"
head -c 40M /dev/zero > "$dir/zeros"
expect 1 'out of frames' $pmpt write "$data" base 0x20000000 "$dir/zeros"
expect 0 'clean' $pmpt check "$data"
expect 1 'more|too large|less than 1 GiB' $pmpt write "$data" base 0 /dev/zero
json '.[0] | .before == "demand-zero" and .changed and .prot == "rw--"' $pmpt fault --json "$data" base 0xb01000 r
json '.[0] | .before == "there" and (.changed | not)' $pmpt fault --json "$data" base 0xb01000 w
expect 0 'as it was' $pmpt fault "$data" base 0xb01fff rw
expect 1 'not executable.* at level 1' $pmpt fault "$data" base 0xb01000 x
expect 1 'not for user mode|user' $pmpt fault "$data" base 0xb01000 u
expect 1 'not mapped' $pmpt fault "$data" base 0xc00000 r
expect 1 'canonical' $pmpt fault "$data" base 0x800000000000 r
expect 1 'no such space' $pmpt fault "$data" none 0 r
expect 2 'letters of rwxu' $pmpt fault "$data" base 0 q
expect 2 'letters of rwxu' $pmpt fault "$data" base 0 -- --

# ---- fork, snapshot, diff ------------------------------------------------------------------------

expect 0 "^forked space 'base' to 'child'$" $pmpt space fork "$data" base child
expect 0 "^took snapshot 'snap' of space 'base'$" $pmpt snapshot create "$data" base snap
json '.[0] == {"done": "snapshot", "space": "base", "to": "snap2"}' $pmpt space fork --snapshot --json "$data" base snap2
json '.[0].snapshots | map(.name) == ["snap", "snap2"] and all(.snapshot)' $pmpt snapshot ls --json "$data"
json '.[0].spaces | map(select(.snapshot)) | length == 2' $pmpt space ls --json "$data"
expect 0 '  snap  \(snapshot\)$' $pmpt snapshot ls "$data"
expect 1 'name exists' $pmpt space fork "$data" base child
expect 1 'name exists' $pmpt snapshot create "$data" base child
expect 1 'no such space' $pmpt space fork "$data" none other
expect 1 'no such space' $pmpt snapshot create "$data" none other
expect 1 'name' $pmpt space fork "$data" base ''
expect 2 'takes 3 operands' $pmpt space fork "$data" base
expect 2 'takes 3 operands' $pmpt snapshot create "$data" base
expect 2 'is for fork' $pmpt space create --snapshot "$data" other
expect 2 'ls or create' $pmpt snapshot rm "$data" snap
expect 0 "^'base' and 'child' are the same$" $pmpt diff "$data" base child
expect 1 'read-only snapshot' $pmpt write "$data" snap 0x1ffe "$dir/in"
expect 1 'read-only snapshot' $pmpt unmap "$data" snap 0x1000 4k
printf 'child' > "$dir/in"
expect 0 '^wrote 5 bytes' $pmpt write "$data" child 0x1ffe "$dir/in"
expect 0 '' $pmpt unmap "$data" child 0x900000 4k
expect 0 '' $pmpt map "$data" child 0xd00000 3
expect 0 '' $pmpt protect "$data" child 0xb01000 4k r
expect 0 'HELLO' $pmpt read --hex "$data" snap 0x1ffe 5
expect 0 'child' $pmpt read --hex "$data" child 0x1ffe 5
expect 0 "^7 pages \(28 KiB\) of 'snap' and 'child' differ: 1 only in 'snap', 3 only in 'child', 2 in other frames, 1 with other attributes$" \
	$pmpt diff "$data" snap child
expect 0 '^~ 0000000000001000-0000000000003000 +8 KiB  4K  rw--  other frames$' $pmpt diff "$data" snap child
expect 0 '^- .*  r--- -> none$' $pmpt diff "$data" snap child
expect 0 '^\+ .*  none -> rw--$' $pmpt diff "$data" snap child
expect 0 '^= .*  rw-- -> r---$' $pmpt diff "$data" snap child
json 'length == 5 and .[-1] == {"differ": 7, "bytes": 28672, "only_a": 1, "only_b": 3, "frame": 2, "attributes": 1}' \
	$pmpt diff --json "$data" snap child
[ "$($pmpt diff --quiet "$data" snap child | wc -l)" = 1 ] || { echo "diff --quiet"; failed=$((failed + 1)); }
expect 1 "no such space" $pmpt diff "$data" base none
expect 1 "no such space" $pmpt diff "$data" none base
json '.[0].spaces | map(select(.name == "child"))[0] | .own_bytes == 20480 and .shared_bytes > 300000 and .tables_shared > 0' \
	$pmpt space ls --json "$data"
expect 0 'copy-on-write' $pmpt walk "$data" child
json 'any(.cow)' $pmpt walk --json "$data" child
json '.[0] | .before == "there" and .changed' $pmpt fault --json "$data" child 0x10001000 w
json '.[0] | .snapshots == 2 and .segments == 0 and .swap == null and (.list | length) == 4' $pmpt info --json "$data"
expect 0 'spaces +4, of them 2 snapshots$' $pmpt info "$data"
expect 0 '    snap: .* own, .* shared, 4 KiB external; snapshot$' $pmpt info "$data"
# what a fork shares is dumped as it is, and restored as it was shared
expect 0 '' $pmpt dump -o "$dir/forks" "$data" base child
expect 0 '' $pmpt create --size 32M "$dir/forked"
expect 0 '^restored 2 spaces' $pmpt restore "$dir/forked" "$dir/forks"
expect 0 'clean' $pmpt check "$dir/forked"
$pmpt dump "$dir/forked" | jq -c 'if .frames == "alloc" then del(.pfn) else . end' > "$dir/forks.again"
jq -c 'if .frames == "alloc" then del(.pfn) else . end' "$dir/forks" > "$dir/forks.cut"
same "$dir/forks.cut" "$dir/forks.again"
rm -f "$dir/forked"

# ---- rmap ------------------------------------------------------------------------------------

pfn() { $pmpt walk --json --va "$2" --len 4096 "$data" "$1" | jq .pfn; }
json '.[0] | .state == "data" and (.owners | map(.space) == ["base", "snap", "snap2"]) and all(.owners[]; .va == "0x1000" and .level == 1 and .shared != "none")' \
	$pmpt rmap --json "$data" "$(pfn base 0x1000)"
expect 0 "space 'child' at 0x1000, level 1, entry 0x[0-9a-f]{16}  rw--$" $pmpt rmap "$data" "$(pfn child 0x1000)"
expect 0 "space 'base' at 0x10002000, .*  rw--  copy-on-write" $pmpt rmap "$data" "$(pfn base 0x10002000)"
json '.[0] | .state == "external" and (.owners | length) == 4' $pmpt rmap --ext --json "$data" 7
json '.[0] | .owners == []' $pmpt rmap --ext --json "$data" 8
json '.[0] == {"pfn": 0, "state": "reserved", "count": 0, "wx": "none", "aliased": false, "owners": []}' $pmpt rmap --json "$data" 0
json '.[0] == {"pfn": 8000, "state": "free", "count": 0, "wx": "none", "aliased": false, "owners": []}' $pmpt rmap --json "$data" 8000
expect 0 '^frame 0x1f40: free, no page has it$' $pmpt rmap "$data" 8000
expect 1 'outside the pool' $pmpt rmap "$data" 0x100000
expect 1 'outside the pool' $pmpt rmap "$data" 0xffffffffffffffff
expect 2 "PFN: 'x' is no number" $pmpt rmap "$data" x

# ---- segment ---------------------------------------------------------------------------------

expect 0 "^created segment 'mail'$" $pmpt segment create "$data" mail 3M
expect 1 'name exists' $pmpt segment create "$data" mail 3M
expect 1 'address|segment of 0' $pmpt segment create "$data" empty 0
expect 1 'name' $pmpt segment create "$data" '' 2M
json '.[0].segments == [{"name": "mail", "bytes": 4194304, "mappings": 0}]' $pmpt segment ls --json "$data"
expect 0 "^mapped segment 'mail' at 0x40000000 of 'base', LSN" $pmpt segment map "$data" base 1G mail
json '.[0] | .done == "mapped" and .segment == "mail" and .va == "0x80000000"' \
	$pmpt segment map --json --prot r "$data" child 2G mail
expect 0 ' 4 MiB +2  mail$' $pmpt segment ls "$data"
expect 1 'read-only snapshot' $pmpt segment map "$data" snap 1G mail
expect 1 'mapped' $pmpt segment map "$data" base 1G mail
expect 1 'not aligned' $pmpt segment map "$data" base 0x1000 mail
expect 1 "no segment 'none'" $pmpt segment map "$data" base 3G none
expect 1 'no such space' $pmpt segment map "$data" none 3G mail
expect 1 "no segment 'none'|no such|segment" $pmpt segment rm "$data" none
expect 2 'letters of rwxu' $pmpt segment map --prot w "$data" base 3G mail
expect 2 'takes 4 operands' $pmpt segment map "$data" base 3G
expect 2 'ls, create, rm, map or unmap' $pmpt segment list "$data"
expect 0 '' $pmpt write "$data" base 0x40201000 "$dir/in"
expect 0 'child' $pmpt read --hex "$data" child 0x80201000 5
expect 1 'not writable.*at level 2' $pmpt write "$data" child 0x80201000 "$dir/in"
expect 0 '^frame .*: data, in 3 places; count 1$' $pmpt rmap "$data" "$(pfn base 0x40201000)"
expect 0 "space 'child' at 0x80201000, .*  r---  through segment 'mail'$" $pmpt rmap "$data" "$(pfn base 0x40201000)"
expect 0 "segment 'mail' at offset 0x201000, level 1" $pmpt rmap "$data" "$(pfn base 0x40201000)"
expect 0 ' segment$' $pmpt walk "$data" child
json '.[0] | .segments == 1 and .segment_bytes == 4194304' $pmpt info --json "$data"
expect 0 '' $pmpt dump -o "$dir/seg" "$data" child
json 'any(.frames == "segment")' cat "$dir/seg"
expect 0 '' $pmpt create --size 32M "$dir/forked"
expect 0 '^left out: 1 page of segments' $pmpt restore "$dir/forked" "$dir/seg"
rm -f "$dir/forked"
expect 0 "^unmapped segment 'mail' at 0x40000000" $pmpt segment unmap "$data" base 1G mail
expect 1 "not mapped at 0x40000000" $pmpt segment unmap "$data" base 1G mail
expect 0 "^removed segment 'mail'$" $pmpt segment rm "$data" mail
expect 0 "through segment '\(its name is gone\)'" $pmpt rmap "$data" "$(pfn child 0x80201000)"
expect 0 '' $pmpt unmap "$data" child 2G 4M
expect 0 'clean' $pmpt check "$data"

# ---- policy ------------------------------------------------------------------------------------

expect 0 '' $pmpt space create "$data" jit
expect 0 '^none$' $pmpt policy "$data" jit
expect 0 '^wx$' $pmpt policy "$data" jit wx
json '.[0] == {"space": "jit", "policy": "wx"}' $pmpt policy --json "$data" jit
expect 0 '  jit  \(W\^X\)$' $pmpt space ls "$data"
json '.[0].spaces | map(select(.policy == "wx") | .name) == ["jit"]' $pmpt space ls --json "$data"
expect 0 '^mapped' $pmpt map --prot rw "$data" jit 0x1000 2
expect 1 'W\^X|writable and executable' $pmpt protect "$data" jit 0x1000 8k rwx
expect 1 'W\^X|writable and executable' $pmpt map --prot rwx "$data" jit 0x5000 1
expect 0 '^protected' $pmpt protect "$data" jit 0x1000 8k rx
expect 0 '' $pmpt space fork "$data" jit jit2
expect 0 '^wx$' $pmpt policy "$data" jit2
expect 1 'mapped' $pmpt policy "$data" base wx
expect 1 'snapshot' $pmpt policy "$data" snap wx
expect 1 'no such space' $pmpt policy "$data" none
expect 2 'wx is expected' $pmpt policy "$data" jit none
expect 0 'clean' $pmpt check "$data"
expect 0 '' $pmpt space rm "$data" jit2
# a restore into a space with the policy is refused as any map is, and changes nothing
expect 0 '' $pmpt space create "$data" strict
expect 0 '^wx$' $pmpt policy "$data" strict wx
printf '%s\n' "$head" "$page" "$end" | sed 's/"bad"/"strict"/; s/rw--/rwx-/' > "$dir/in"
expect 1 'W\^X|writable and executable' $pmpt restore "$data" "$dir/in"
json '.[0].spaces | map(select(.name == "strict"))[0].pages == 0' $pmpt space ls --json "$data"
for s in jit strict; do expect 0 '' $pmpt space rm "$data" $s; done
printf 'child' > "$dir/in"

# ---- heatmaps of these -------------------------------------------------------------------------

for by in prot owner sharing tier; do
	json '.[0] | ([.pages[]] | add) == ([.regions[].used] | add)' \
		$pmpt heatmap --by $by --json -o "$dir/h.svg" "$data" child
	expect 0 '^</svg>$' tail -n 1 "$dir/h.svg"
done
json '.[0].pages | ."only “child”" == 6 and ."no frame of the pool" == 4 and ."also several" > 60' \
	$pmpt heatmap --by owner --json "$data" child
json '.[0].pages | .external == 1 and ."demand-zero" == 3' $pmpt heatmap --by tier --json "$data" child
for by in owner sharing; do
	json '.[0] | .of == "frames" and ([.pages[]] | add) == .regions[0].used' \
		$pmpt heatmap --by $by --json --frames "$data"
done
expect 2 'prot, owner, sharing or tier' $pmpt heatmap --by color "$data" child
expect 2 'owner or sharing' $pmpt heatmap --by tier --frames "$data"

# ---- swap ------------------------------------------------------------------------------------

expect 0 '^no swap file$' $pmpt swap status "$data"
json '.[0].on == false and .[0].file == null' $pmpt swap status --json "$data"
expect 1 'has no swap file' $pmpt swap off "$data"
expect 1 'swap' $pmpt swap out "$data" base
expect 1 'File exists' $pmpt swap on "$data" "$dir/bytes" 8M
expect 1 'No such file' $pmpt swap on "$data" "$dir/none/swap" 8M
expect 1 '4096|Invalid' $pmpt swap on "$data" "$dir/swap" 1000
expect 0 'room for 2,048 pages' $pmpt swap on "$data" "$dir/swap" 8M
expect 1 'has|swap' $pmpt swap on "$data" "$dir/swap2" 8M
expect 0 "^moved [1-9][0-9]* pages of 'child' out$" $pmpt swap out "$data" child
json '.[0].done == "out" and .[0].pages == 0' $pmpt swap out --json "$data" child 0x1000 8k
expect 0 'out, in the swap file' $pmpt walk "$data" child
json '.[0].on and .[0].used > 2 and .[0].missing == null' $pmpt swap status --json "$data"
json '.[0].swap.usable' $pmpt info --json "$data"
expect 0 'child' $pmpt read --hex "$data" child 0x1ffe 5
json '.[0].pages["out, in the swap file"] > 2' $pmpt heatmap --by tier --json "$data" child
expect 0 '' $pmpt dump -o "$dir/outs" "$data" child
json 'any(.frames == "out")' cat "$dir/outs"
expect 0 '' $pmpt create --size 32M "$dir/forked"
expect 0 '^in memory here, zeroed as the others: [1-9][0-9]* pages? that' $pmpt restore "$dir/forked" "$dir/outs"
expect 0 'clean' $pmpt check "$dir/forked"
rm -f "$dir/forked"
json '.[0].before == "out" and .[0].changed' $pmpt fault --json "$data" child 0x1000 r
expect 1 'not aligned' $pmpt swap in "$data" child 0 1
expect 1 'no such space' $pmpt swap in "$data" none
expect 2 'VA and LEN or neither' $pmpt swap in "$data" child 0
expect 2 'POOL, FILE and BYTES' $pmpt swap on "$data"
expect 2 'POOL alone' $pmpt swap off "$data" x
expect 2 'on, off, status, out or in' $pmpt swap add "$data"
expect 0 '^copied ' $pmpt backup "$data" "$dir/backup"
json ".[0].used > 2 and .[0].missing == null and .[0].file == \"$dir/backup.swap\"" $pmpt swap status --json "$dir/backup"
for s in base child; do $pmpt read "$data" $s 0x1000 64k > "$dir/one" && $pmpt read "$dir/backup" $s 0x1000 64k | cmp - "$dir/one"; done ||
	{ echo "a copy reads other pages"; failed=$((failed + 1)); }
expect 0 'clean' $pmpt check "$dir/backup"
rm -f "$dir/backup"
expect 1 'backup.swap: exists' $pmpt backup "$data" "$dir/backup"
rm -f "$dir/backup.swap"
[ ! -e "$dir/backup" ] || { echo "a backup that was refused left a file"; failed=$((failed + 1)); }
# the file is gone: said at each open, the pages in it are lost, all others are there; and it comes back
mv "$dir/swap" "$dir/swap.away"
expect 1 'slot|lost' $pmpt read "$data" child 0x2000 4096
expect 0 'the swap file is lost' $pmpt info "$data"
expect 0 '  lost ' $pmpt swap status "$data"
json '.[-1].on' sh -c "$pmpt swap status --json '$data' 2> '$dir/jq'"
json '.[-1].missing != null' sh -c "$pmpt swap status --json '$data' 2> '$dir/jq'"
expect 0 'HELLO' $pmpt read --hex "$data" snap 0x1ffe 5
mv "$dir/swap.away" "$dir/swap"
expect 0 "^moved [1-9][0-9]* pages? of 'child' in$" $pmpt swap in "$data" child
expect 0 "^brought [0-9]+ pages back, removed swap file $dir/swap$" $pmpt swap off "$data"
[ ! -e "$dir/swap" ] || { echo "the swap file is left"; failed=$((failed + 1)); }
expect 0 'clean' $pmpt check "$data"
# more than the pool has: what does not fit goes out
expect 0 '' $pmpt swap on "$data" "$dir/swap" 64M
head -c 12M /dev/urandom > "$dir/zeros"
for va in 0x100000000 0x110000000 0x120000000; do
	expect 0 '^wrote 12,582,912 bytes' $pmpt write "$data" base $va "$dir/zeros"
done
for va in 0x100000000 0x110000000 0x120000000; do
	expect 0 '' sh -c "$pmpt read '$data' base $va 12M | cmp - '$dir/zeros'"
done
json '.[0].used > 3000' $pmpt swap status --json "$data"
expect 1 'frames' $pmpt swap off "$data"
expect 0 'clean' $pmpt check "$data"
for va in 0x100000000 0x110000000 0x120000000; do expect 0 '' $pmpt unmap "$data" base $va 12M; done
expect 0 '' $pmpt swap off "$data"

# ---- backup ------------------------------------------------------------------------------------

expect 0 "^copied .* to $dir/backup, 32 MiB, as of LSN [0-9]+$" $pmpt backup "$data" "$dir/backup"
expect 0 'clean' $pmpt check "$dir/backup"
for p in "$data" "$dir/backup"; do $pmpt dump "$p" > "$dir/out.${p##*/}"; done
same "$dir/out.data.pool" "$dir/out.backup"
expect 0 'child' $pmpt read --hex "$dir/backup" child 0x1ffe 5
expect 1 'File exists' $pmpt backup "$data" "$dir/backup"
holds "$dir/old" "$(cat "$dir/old")"
expect 1 'File exists' $pmpt backup --online "$data" "$dir/old"
expect 1 'No such file' $pmpt backup "$data" "$dir/none/backup"
expect 1 'No such file' $pmpt backup "$dir/none" "$dir/backup2"
rm "$dir/backup"
json '.[0] | .done == "copied" and .bytes == 33554432' $pmpt backup --online --json "$data" "$dir/backup"
expect 1 '' sh -c "ls '$dir' | grep -E '^backup\.'"
rm -f "$dir/backup" "$data" "$dir/zeros"

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
expect 1 'in use' $pmpt backup --online "$dir/live" "$dir/backup"
[ ! -e "$dir/backup" ] || { echo "a backup that failed left a file"; failed=$((failed + 1)); }
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
