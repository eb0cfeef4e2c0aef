#!/bin/sh
# The command of crashsim on small workloads with known outcomes: what is found, contained, replayed, made small, joined, refused.
set -eu
BUILD=$(cd "${BUILD:-build}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$here"/crashsim/*.c "$dir"
cd "$dir"

fail() {
	echo "FAIL: $*" >&2
	exit 1
}
# expect WHAT FOUND EXPECTED
expect() { [ "$2" = "$3" ] || fail "$1: found '$2', expected '$3'"; }
# status EXPECTED COMMAND...: standard output to out, standard error to err
status() {
	want=$1
	shift
	code=0
	timeout 30 "$@" >out 2>err || code=$?
	[ "$code" = "$want" ] || fail "$*: exit $code, expected $want: $(tail -n 3 err)"
}
has() { grep -q -- "$2" "$1" || fail "no '$2' in $1: $(head -n 20 "$1")"; }
no_seconds() { sed 's/"seconds":[0-9.]*/"seconds":0/' "$@"; }

"$BUILD"/crashsim-cc -o cases cases.c
c=./cases

# ---- what is found, and that it is all
status 0 $c run good --json
expect "a list that is right" "$(jq -c '[.workload, .failures, .exhaustive, .crash_points, .depth, .threads, .stores, .fences]' out)" \
	'["good",0,true,9,2,1,9,6]'
status 0 $c run good
has out 'exhaustive for this recording'
status 1 $c run no_flush --json --max-failures 100
expect "not flushed" "$(jq .failures out)" 13
status 1 $c run nested --json
expect "crash inside recovery" "$(jq -c '[.failures, .nested_points, .failure[0].crashes, .failure[0].what]' out)" \
	'[2,2,2,"the log is done, and the data is 0"]'
status 0 $c run nested --json --depth 1
status 1 $c run order many --json
expect "two workloads" "$(jq -c .workload out | tr '\n' ' ')" '"order" "many" '

# ---- the same input gives the same output, by any number of workers
$c run no_flush --json --max-failures 5 | no_seconds >one || true
for j in 1 2 3; do
	$c run no_flush --json --max-failures 5 -j $j | no_seconds >again || true
	cmp one again || fail "-j $j gives another result"
done

# ---- shards together are one run, failures cut off or not
for max in 2 5 100; do
	$c run no_flush good --json --max-failures $max | no_seconds >one || true
	for i in 0 1 2; do
		$c run no_flush good --json --max-failures $max --shard $i/3 >shard$i || true
	done
	status 1 $c merge shard2 shard0 shard1
	no_seconds out >again
	cmp one again || fail "merge, at most $max failures"
done
status 3 $c merge shard0 shard2
has err '1 of 3 shards are missing, the first is 1'
status 2 $c merge shard0 shard0
has err 'shard 0 is there twice'
sed 's/"depth":2/"depth":3/' shard1 >other
status 2 $c merge shard0 other
has err 'its "depth" is not that of shard0'
"$BUILD"/crashsim-cc -o two "$here"/../../crashsim/examples/05-two-threads.c
./two run --json --schedules 8 | no_seconds >one || true
for i in 0 1 2; do ./two run --json --schedules 8 --shard $i/3 >two$i || true; done
status 1 ./two merge two1 two2 two0
no_seconds out >again
cmp one again || fail "merge of schedules"
echo '{"crashsim":' >broken
status 2 $c merge broken
has err 'broken:1: found no JSON'
status 3 $c merge nowhere
status 2 $c merge

# ---- three modes: the same verdicts and outcomes
for w in good nested many no_fence fails; do
	for mode in lazy eager rerun; do
		$c run $w --mode $mode --json --max-failures 1000 >$mode || true
		jq -c '[.failures > 0, .outcomes, .outcome_digest, .exhaustive, ([.failure[] | [.crash_point, .what]] | unique)]' $mode >$mode.v
	done
	cmp lazy.v eager.v || fail "$w: eager is not lazy: $(cat lazy.v eager.v)"
	cmp lazy.v rerun.v || fail "$w: rerun is not lazy: $(cat lazy.v rerun.v)"
	jq -c 'del(.mode, .seconds)' lazy >lazy.all
	jq -c 'del(.mode, .seconds)' rerun >rerun.all
	cmp lazy.all rerun.all || fail "$w: rerun counts otherwise"
done
[ "$(jq .executions eager)" -ge "$(jq .executions lazy)" ] || fail "eager makes fewer images than lazy executions"
status 3 $c run bad_wide --mode eager
has err 'more than the 10^6'
$c run many --mode eager --json >out || true
status 1 $c replay --mode eager "$(jq -r '.failure[3].id' out)"
has out 'line 3 is lost'

# ---- recoveries that misbehave: contained, told, and the rest is explored
hazard() { # WORKLOAD WORDS [OPTION...]
	w=$1
	words=$2
	shift 2
	status 1 $c run "$w" --json "$@"
	expect "$w" "$(jq -c '[.executions, .failures, .outcomes, .exhaustive]' out)" '[8,4,4,true]'
	jq -r '.failure[].what' out | grep -c -- "$words" | grep -qx 4 || fail "$w: $(jq -r '.failure[0].what' out)"
}
hazard fails uneven
hazard segv 'killed by SIGSEGV'
hazard aborts 'killed by SIGABRT'
hazard exits 'called exit()'
hazard exits_at_once 'ended the process, status 0'
hazard forks 'called fork()'
hazard loops 'does not end: it loops'
hazard hangs 'recovery hangs' --hang 0.2
hazard eats 'allocates without bound' --memory 64M
hazard segv 'killed by SIGSEGV' --mode rerun
# a path that kills is left out, and no other one that reads the same behind another crash
for w in deep_kill deep_fail; do
	status 1 $c run $w --json
	jq -c '[.executions, .failures, .outcomes, .nested_points, .outcome_digest]' out >$w
done
cmp deep_kill deep_fail || fail "killed or failed: $(cat deep_kill deep_fail)"
status 0 $c run prints --json
expect "output of recovery is no output of ours" "$(jq -c '[.executions, .failures]' out)" '[8,0]'
has err 'recovery printed 64 bytes'

# ---- replay
$c run no_flush --json >runs || true
id=$(jq -r '.failure[1].id' runs)
status 1 $c replay "$id"
has out "$id: $(jq -r '.failure[1].what' runs)"
has out 'LOST .*cases.c:[0-9]* (insert) < cases.c:[0-9]* (list_run)'
has out 'an older value: cases.c:[0-9]* (list_check)'
for i in $(seq 0 12); do
	status 1 $c replay "$(jq -r ".failure[$i].id" runs)"
	has out "$(jq -r ".failure[$i].what" runs)"
done
status 1 $c replay "$($c run segv --json | jq -r '.failure[0].id')"
has out 'killed by SIGSEGV'
status 1 $c replay "$($c run nested --json | jq -r '.failure[1].id')"
has out 'in recovery 1: cases.c'
status 2 $c replay no_flush:000000-3
has err 'another build'
status 2 $c replay --persist cache "$id"
has err 'other options'
digest=$(echo "$id" | sed 's/.*:\([0-9a-f]*\)-.*/\1/')
status 2 $c replay "no_flush:$digest-1"
has err 'event 1 is no crash point'
status 2 $c replay "no_flush:$digest-x"
has err 'no crash point follows'
status 2 $c replay "no_flush:$digest-12-zzz"
has err 'does not fit'
id=$(jq -r '.failure[0].id' runs)
zero=$(echo "$id" | sed 's/-\([0-9]*-\)/-0\1/')
for wrong in "$id-" "${id}1" "${id}zz" "$id.1" "$zero"; do
	status 2 $c replay "$wrong"
done
for wrong in "${id}a" "${id}7a" "$zero"; do # choices that recovery does not come to
	status 2 $c replay "$wrong"
	has err 'does not fit'
done
status 2 $c replay no_flush:nonsense
status 2 $c replay no_flush

# ---- shrink
$c run many --json --max-failures 128 >runs || true
all=$(jq -r '.failure | max_by(.id | length) | .id' runs)
status 1 $c shrink "$all"
has out 'shrunk  to the fewest lost stores that still fail'
expect "stores lost when shrunk" "$(grep -c '    LOST' out)" 1
has out 'LOST .*+0xc0'
status 1 $c shrink "$all" --json
small=$(jq -r .id out)
status 1 $c replay "$small"
has out 'line 3 is lost'

status 1 $c shrink "$($c run nested --json | jq -r '.failure[0].id')"
has out 'shrunk  to the fewest lost stores that still fail'
has out 'LOST .*+0x40 .*in recovery 1: cases.c'

# ---- a return without a drain [R13]
status 1 $c run undrained
has out 'the store has returned, and it is lost'
has out 'missing   a fence before the return of operation 0$'
has out 'nor any at the other crash points'
status 0 $c run drained

# ---- the cause, and its proof
status 1 $c run no_flush no_fence nested order --out reports
cause() { # WORKLOAD MISSING PATTERN
	expect "missing in $1" "$(jq -r .missing "reports/$1-0.json")" "$2"
	has "reports/$1-0.txt" "$3"
}
cause no_flush 'flush and fence' 'missing   a flush of the line at +0x40 after cases.c:[0-9]*, and a fence before cases.c:[0-9]*$'
cause no_fence 'fence' 'missing   a fence before cases.c:'
cause nested 'flush and fence' 'missing   a flush of the line at +0x40 after'
cause order 'nothing' 'nothing: it fails with every store'
status 1 $c run many --out reports
expect "a fence that moves the failure" "$(jq .proof.moves reports/many-0.json)" true
expect "proof at every crash point" "$(jq .proof.crash_points reports/no_flush-0.json)" 9
# the lines that it names are those where the source has the fault
store=$(grep -n 'n->next = p->head' cases.c | cut -d: -f1)
link=$(grep -n 'p->head = i + 1' cases.c | cut -d: -f1)
has reports/no_flush-0.txt "after cases.c:$store, and a fence before cases.c:$link"
for f in reports/*.svg; do
	has "$f" '</svg>'
	has "$f" '>crash<'
done
has reports/no_fence-0.svg 'missing fence'
has reports/no_flush-0.svg 'missing flush'

# ---- a file that is written back by msync
sed '/leave this out/d' "$here"/../../crashsim/examples/06-mmap-file.c >mapped.c
"$BUILD"/crashsim-cc -o mapped mapped.c
status 1 ./mapped run --persist page --max-failures 1
copy=$(grep -n 'copy\[next\] + 2048, text' mapped.c | cut -d: -f1)
has out "missing   an msync of the page at +0x1000 after mapped.c:$copy, before mapped.c:$((copy + 1))$"
has out 'proof     with it, none'
has out 'nor any at the other crash points'
! grep -q 'hint' out || fail "--persist page is suggested under --persist page"
status 1 ./mapped run --persist page --max-failures 1 --out reports
expect "missing msync" "$(jq -r .missing reports/mmap_file-0.json)" msync
has reports/mmap_file-0.svg 'missing msync'
status 1 ./mapped run --max-failures 1
has out 'hint .*--persist page'
status 0 $c run good
! grep -q 'hint' out || fail "--persist page is suggested where there are flushes"

# ---- flushes and fences that do nothing
status 0 $c run perf --perf --json
expect "perf" "$(jq -c '[.perf[] | [.what, .times, .of]]' out)" \
	'[["flush of a clean line",1,1],["line flushed twice without a store between",1,1],["fence with nothing to drain",1,1]]'
status 0 $c run good --perf --json
expect "nothing to find" "$(jq -c .perf out)" '[]'
status 0 $c run perf_not --perf --json
expect "a flush that only looks idle" "$(jq -c .perf out)" '[]'

# ---- workloads that are wrong
status 3 $c run bad_random
has err 'not deterministic: recorded twice, its event 1 is'
has err 'store of 8 bytes at 0x40: 0x[01], at cases.c:[0-9]* in random_run'
status 0 $c run bad_never
has err 'never fences'
status 0 $c run bad_outside --json
has err '1 stores outside marked operations, the first: store of 8 bytes at 0x0: 0x1, at cases.c'
expect "warning in the result" "$(jq '.warnings | length' out)" 1
status 3 $c run bad_behind
has err 'behind its buffer of 4096 (cases.c'
status 3 $c run bad_exit
has err 'ended its process while it was recorded'
status 3 $c run bad_large --max-trace 100k
has err 'too large for memory: more than 102400 events'
gcc -I"$here/../../crashsim" -c unseen.c
"$BUILD"/crashsim-cc -o unseen unseen.o
status 3 ./unseen
has err 'compiled by crashsim-cc'

# ---- the command line
status 0 $c list
has out '^no_flush  *nodes are not flushed'
status 2 $c run no_flash
has err "unknown workload 'no_flash', did you mean 'no_flush'"
status 2 $c rnu
has err "did you mean 'run'"
status 2 $c run --deph 2
has err "did you mean '--depth'"
status 2 $c run --depth 9
status 2 $c run --depth
status 2 $c run --shard 3/3
has err 'I from 0 to N - 1'
status 2 $c run --persist disk
has err 'expected memory, cache, cache-failed or page'
for command in run list replay shrink merge; do
	status 0 $c $command --help
	has out "usage: crashsim $command"
done
cat >time.c <<'END'
#include <crashsim.h>
static void run(void *pm)
{
	for (unsigned i = 0; i < 30; i++)
		((volatile uint64_t *)pm)[8 * i] = 1;
	crashsim_sfence();
}
static void check(void *pm)
{
	for (unsigned i = 0; i < 30; i++)
		(void)((volatile uint64_t *)pm)[8 * i];
}
CRASHSIM_WORKLOAD(endless, .bytes = 4096, .run = run, .check = check)
END
"$BUILD"/crashsim-cc -o time time.c
status 0 ./cases run ./time --json --time-limit 0.5
expect "a run that time ended" "$(jq -c '[.exhaustive, .seconds < 3]' out)" '[false,true]'
echo ok
