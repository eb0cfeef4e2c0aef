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
{ echo "crashsim: warning: workload 'x': words"; cat shard1; } >mixed # standard error in the same file
$c run no_flush good --json --max-failures 100 | no_seconds >one || true
status 1 $c merge shard0 mixed shard2
no_seconds out >again
cmp one again || fail "merge of what has lines of standard error in it"
echo 'crashsim: out of memory' >only
status 2 $c merge only
has err 'only: found nothing'
$c run good --json >whole
status 2 $c merge whole
has err 'whole:1: found the result of a whole run'
status 2 $c merge cases.c
has err "cases.c:1: found no JSON, expected what .crashsim run --json --shard I/N. wrote"
echo '{"a":1}' >strange
status 2 $c merge strange
has err 'strange:1: found no result of .crashsim run --json'
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
hazard vforks 'called vfork()'
hazard spawns 'called posix_spawnp()'
hazard execs 'called execlp()'
hazard systems 'called system()'
hazard pipes 'called popen()'
hazard beside 'recovery stores 8 bytes at +0x200, outside the buffer of 512 bytes (0x200), at cases.c:[0-9]* in beside_check'
hazard unseen_beside 'recovery has changed 8 bytes unseen, the first at +0x208, outside the buffer'
hazard loops 'does not end: it loops'
hazard hangs 'recovery hangs' --hang 0.2
hazard kills 'killed by SIGKILL'
status 1 $c run kills --mode rerun --json
expect "killed apart" "$(jq -c '[.failure[].what] | unique' out)" '["recovery was killed by SIGKILL: Killed"]'
for w in kills hangs; do
	id=$($c run $w --hang 0.2 --json | jq -r '.failure[0].id')
	status 1 $c replay --hang 0.2 "$id"
	[ $w = kills ] && has out "$id: recovery was killed by SIGKILL" || has out "$id: recovery hangs"
done
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
expect "what recovery printed, among the warnings" "$(jq -c '[.warnings[] | sub("[.:;,].*"; "")]' out)" \
	'["recovery printed 64 bytes"]'
for i in 0 1; do $c run prints --json --shard $i/2 >shard$i 2>err; done
status 0 $c merge shard0 shard1
[ "$(jq -r '.warnings[0]' out | cut -c1-16)" = 'recovery printed' ] || fail "merge forgets a warning: $(cat out)"
$c run unseen_word --json >out 2>err || true
expect "what changed unseen, among the warnings" "$(jq -c '[.warnings[] | test("changed unseen")]' out)" '[true,true]'
[ "$(grep -c 'changed unseen' err)" = 2 ] || fail "warned of twice: $(cat err)"

# ---- ids: each is of one failure
for w in flip no_flush many nested hangs; do
	$c run $w --json --hang 0.2 --max-failures 100 >out 2>err || true
	expect "ids of $w" "$(jq '[.failure[].id] | unique | length' out)" "$(jq .failures out)"
done
for w in many no_flush; do
	$c run $w --max-failures 100 >out 2>err || true
	sed -n 's/.* replay \([^ ]*:[^ ]*\)$/\1/p' out >ids
	[ "$(sort -u ids | wc -l)" = "$(wc -l <ids)" ] || fail "an id of $w is told twice: $(sort ids | uniq -d)"
	for id in $(head -n 8 ids); do status 1 $c replay "$id"; done
done
$c run many >out || true
has out '[0-9] more failures*, made small, came to one that is told above'

# ---- what recovery leaves behind: an execution that reads less than the one before, or than one in another process
for w in once once_early; do
	status 1 $c run $w --json
	expect "$w" "$(jq -r '.failure[0].what' out | cut -c1-33)" 'recovery is not deterministic: ru'
	status 1 $c run $w --mode eager
	has out 'recovery is not deterministic.*in another process'
done
status 1 $c run once_early --depth 1
has out 'in another process: it keeps something'
status 1 $c run once --mode rerun --json
expect "each execution apart" "$(jq -c '[.failure[].what] | unique' out)" '["uneven"]'
for w in good no_flush nested many; do
	for o in '' --no-prune '--depth 3' '--persist cache' '--line-order free'; do
		$c run $w $o --json --max-failures 1000 >out || true
		! grep -q 'not deterministic' out || fail "$w $o is deterministic"
	done
done

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
status 1 $c replay "$($c run systems --json | jq -r '.failure[0].id')"
has out 'recovery called system()'
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

# of one image out of all of them: the path that is left is one of the lazy mode
for w in many nested; do
	status 1 $c run $w --mode eager --json --max-failures 128
	status 1 $c shrink --mode eager "$(jq -r '.failure | last | .id' out)"
	has out 'shrunk  to the fewest lost stores that still fail'
	has out 'missing   a flush of the line at '
	expect "stores of $w lost when shrunk" "$(grep -c '    LOST' out)" 1
	command=$(sed -n 's/^  replay  //p' out)
	! echo "$command" | grep -q eager || fail "the path of $w is one of the eager mode: $command"
	status 1 $command
done

# ---- a return without a drain [R13]
status 1 $c run undrained
has out 'the store has returned, and it is lost'
has out 'missing   a fence before the return of operation 0$'
has out 'nor any at the other crash points'
status 0 $c run drained

# what a thread has waited for came before its return; what it has not may still have been to come
"$BUILD"/crashsim-cc -o threads threads.c
for w in join cond lock barrier sem atomic volatile buffer; do
	status 0 ./threads run wait_$w --schedules 12 --json
done
status 1 ./threads run no_wait --schedules 12
has out 'the store has returned, and it is lost'
has out 'missing   a fence before the return of operation 0$'

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

# of two threads: a fence drains only what its own thread has flushed
status 1 ./threads run apart_flush apart_fence apart_order --out reports
x=$(grep -n 'pool->x = 1' threads.c | tail -n 2 | head -n 1 | cut -d: -f1)
cause apart_flush 'flush and fence' "missing   a flush of the line at +0x0 after threads.c:$x, and a fence behind it, by the same thread$"
cause apart_fence 'fence' "missing   a fence after the flush at threads.c:$((x + 2)), by the same thread$"
cause apart_order 'nothing' 'none was found that removes the failure, among those that were tried'
for w in apart_flush apart_fence; do
	expect "proof of $w at every crash point" "$(jq '.proof.crash_points > 1' reports/$w-0.json)" true
	has reports/$w-0.svg 'missing fence'
done

# no two labels of a picture overlap, nor goes any beyond its edge; a long one is whole where it is pointed at
status 1 $c run long_values --max-failures 1 --out reports
has reports/long_values-0.svg '<title>+8 = 0x22446688aaccef10</title>'
for f in reports/*.svg; do
	sed 's|<title>[^<]*</title>||; s|&[a-z]*;|.|g; s|\xe2\x80\xa6|.|g; s|\xe2\x86\x92|.|g' "$f" | LC_ALL=C awk -v f="$f" '
		function value(name) { match($0, name "=\"[0-9]*"); return substr($0, RSTART + length(name) + 2, RLENGTH - length(name) - 2) + 0 }
		/^<svg/ { width = value("width") }
		!/^<text/ { next }
		{
			words = $0
			gsub(/<[^>]*>/, "", words)
			long = length(words) * value("font-size") * (/monospace/ ? 0.61 : 0.56)
			x = value(" x") - (/"middle"/ ? long / 2 : 0)
			y = value(" y")
			if (x < 0 || x + long > width)
				print f ": beyond the edge: " words
			for (i = 0; i < n; i++)
				if (y == ys[i] && x < to[i] && from[i] < x + long)
					print f ": overlap: " words " and " was[i]
			ys[n] = y; from[n] = x; to[n] = x + long; was[n++] = words
		}' >overlap
	[ ! -s overlap ] || fail "$(cat overlap)"
done

# ---- places: wrappers give way to who calls them
mkdir wrap
cat >wrap/persist.h <<'END'
#include <crashsim.h>
static void put(uint64_t *to, uint64_t value)
{
	*to = value;
}
static inline void persist(const void *p)
{
	crashsim_clwb(p);
	crashsim_sfence();
}
END
cat >wrap.c <<'END'
#include "wrap/persist.h"
static void run(void *pm)
{
	uint64_t *w = pm;

	put(&w[0], 1);
	put(&w[8], 1);
	persist(&w[8]);
}
static void check(void *pm)
{
	uint64_t *w = pm;

	if (w[8] && !w[0])
		crashsim_fail("lost");
}
CRASHSIM_WORKLOAD(wrapped, .bytes = 128, .run = run, .check = check)
#ifdef WRAPPERS
__attribute__((constructor)) static void wrappers(void) { crashsim_wrappers("other.h persist.h"); }
#endif
END
"$BUILD"/crashsim-cc -o wrap1 wrap.c
"$BUILD"/crashsim-cc -DWRAPPERS -o wrap2 wrap.c
status 1 ./wrap1 run
has out 'LOST .*: wrap/persist.h:4 (put) < wrap.c:6 (run)'
has out 'missing .* after wrap/persist.h:4'
status 1 ./wrap2 run
has out 'LOST .*: wrap.c:6 (run)'
has out 'missing .* after wrap.c:6, and a fence before wrap.c:7'
has out 'before event 3 of run: sfence, at wrap.c:8 in run'
# those of the library
for fault in W1_FENCE:log_redo W4_FENCE:checkpoint F1_CONTENT:pages; do
	PMPT_RULES_OFF=${fault%:*} status 1 "$BUILD"/crashsim run --max-failures 1 "${fault#*:}"
	has out '    LOST '
	sed -n '/stores at the crash/,$s/^    [A-Za-z]* *+0x[0-9a-f]* [^:]*: \([^ ]*\).*/\1/p' out >places
	[ "$(wc -l <places)" -ge 5 ] || fail "$fault: too few places"
	! grep -v '^\(wal\|commit\|checkpoint\|replay\|check\|words\)[a-z_]*\.[ch]:[0-9]' places || fail "$fault: these are wrappers"
done

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
beside() { # WORKLOAD OFFSET BYTES
	status 3 $c run "$1"
	has err "run stores 8 bytes at $2, outside the buffer of $3 bytes (0x[0-9a-f]*), at cases.c:[0-9]* in $1_run"
}
beside bad_next +0x200 512
beside bad_next_page +0x1008 4096
beside bad_before -0x8 512
beside bad_across +0xffc 4096
status 3 $c run bad_unseen_next
has err 'run has changed 8 bytes unseen, the first at +0x208, outside the buffer of 512 bytes (0x200)'
# nothing is left of a larger buffer before
status 3 $c run bad_wide bad_unseen_next --max-failures 1
has err 'outside the buffer of 512 bytes'
status 3 $c run bad_fork
has err 'run called fork(), at cases.c:[0-9]*: what another process stores is not seen'
status 3 $c run bad_system
has err 'run called system(), at cases.c'
status 3 $c run bad_exec
has err 'run called execl(), at cases.c'
status 3 $c run bad_exit_at_once
has err 'run ended its process by _exit(), at cases.c'
status 3 $c run bad_endless --hang 0.05
has err 'run does not end: it was stopped after 0.5 seconds, ten times --hang, at cases.c:[0-9]* (spin) < cases.c:[0-9]* (bad_endless_run)'
status 3 $c run bad_exit
has err 'ended its process while it was recorded'
status 3 $c run bad_large --max-trace 100k
has err 'too large for memory: more than 102400 events'
gcc -I"$here/../../crashsim" -c unseen.c
"$BUILD"/crashsim-cc -o unseen unseen.o
status 3 ./unseen
has err 'compiled by crashsim-cc'

marks() { # WORKLOAD WORDS
	status 3 $c run "$1"
	has err "workload '$1': $2, at cases.c:[0-9]* in $1_run"
}
marks bad_begin 'crashsim_begin(1): the operation has begun before, each begins once'
marks bad_open 'crashsim_begin(1): the operation has begun before, each begins once'
marks bad_return 'crashsim_returned(1): the operation has not begun'
marks bad_returns 'crashsim_returned(1): the operation has returned before'
marks bad_op 'crashsim_begin(256): there is no such operation, expected 0 to 255'
marks bad_op_returned 'crashsim_returned(300): there is no such operation, expected 0 to 255'
marks bad_more 'crashsim_begin_again(1): the operation has begun before, and has not returned'
marks bad_slot 'crashsim_note(64): there is no such slot, expected 0 to 63'
status 0 $c run marks_again
status 1 $c run bad_state
has out 'crashsim_state(256): there is no such operation, expected 0 to 255, at cases.c:[0-9]* in bad_state_check'
status 1 $c run bad_noted
has out 'crashsim_noted(64): there is no such slot, expected 0 to 63, at cases.c:[0-9]* in bad_noted_check'
cat >twins1.c <<'END'
#include <crashsim.h>
static void run(void *pm) { *(volatile uint64_t *)pm = 1; }
CRASHSIM_WORKLOAD(twin, .bytes = 64, .run = run)
END
cp twins1.c twins2.c
"$BUILD"/crashsim-cc -o twins twins1.c twins2.c
status 2 ./twins list
has err "two workloads have the name 'twin', one at twins[12].c:3"

# a program that is none of ours
cat >other.c <<'END'
int main(void)
{
	return 0;
}
END
gcc -o plain other.c
"$BUILD"/crashsim-cc -o own_main other.c
for p in plain own_main; do
	status 3 $c run ./$p
	has err "./$p: nothing was explored: it never called crashsim_main()"
done
status 3 $c run ./nowhere
has err 'cannot run ./nowhere: No such file'
status 3 $c run ./other.c
has err 'cannot run ./other.c: Permission denied'
status 1 $c run ./cases no_flush good --json
expect "a program that is" "$(jq -c .workload out | tr '\n' ' ')" '"no_flush" "good" '
status 2 $c run ./cases no_such

# ---- pointers to volatile, and memory that there is not
cat >large.c <<'END'
#include <crashsim.h>
static void run(void *pm)
{
	volatile uint64_t *w = pm;

	w[0] = 1;
	CRASHSIM_CLWB(w);
	CRASHSIM_CLFLUSHOPT(w);
	CRASHSIM_CLFLUSH(w);
	CRASHSIM_MOVNT(&w[1], 1);
	crashsim_stored(w, 8);
	crashsim_loads(w, 8);
	CRASHSIM_SFENCE();
}
CRASHSIM_WORKLOAD(large, .bytes = 1 << 30, .run = run)
END
"$BUILD"/crashsim-cc -Wall -Wextra -Wcast-qual -Werror -o large large.c
gcc -I"$here/../../crashsim" -Wall -Wextra -Werror -c -o large.o large.c
status 3 sh -c 'ulimit -v 1500000; ./large run'
has err 'out of memory: record() wants malloc(t->bytes + 1)'

# ---- atomics wider than a word
for compiler in gcc clang 'clang -mcx16'; do
	CRASHSIM_CC=${compiler%% *} CRASHSIM_WARN=no "$BUILD"/crashsim-cc -w -o wide wide.c ${compiler#${compiler%% *}}
	status 1 ./wide run pair --json --max-failures 100
	expect "$compiler: 16 bytes" "$(jq -c '[.stores, .fences, .failures > 0, .failure[0].what]' out)" '[10,6,true,"torn"]'
	status 0 ./wide run triple --json
	expect "$compiler: 24 bytes" "$(jq -c '[.stores, .fences]' out)" '[9,5]'
done

# ---- an instruction that is not seen: who announces it
cat >direct.c <<'END'
void f(void *to, const void *from);
void f(void *to, const void *from) { __asm__ volatile("movdir64b (%1), %0" : : "r"(to), "r"(from) : "memory"); }
END
status 0 "$BUILD"/crashsim-cc -c -o direct.o direct.c
has err 'direct.c:2: warning: crashsim does not see this movdir64b; crashsim_movdir64b() of crashsim.h announces it'

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
status 3 ./cases run ./time --json --time-limit 0.5
expect "a run that time ended" "$(jq -c '[.exhaustive, .seconds < 3]' out)" '[false,true]'
status 3 ./time run --time-limit 0.3
has out 'NOT exhaustive: --time-limit 0.3 cut it off'
status 3 ./time run --time-limit 0.3 --quiet
expect "a line of a run that time ended" "$(wc -l <out) $(grep -c '^endless: no failure in [0-9]* of 2 crash points; NOT exhaustive: --time-limit 0.3 cut it off$' out)" '1 1'
for i in 0 1; do ./time run --json --time-limit 0.3 --shard $i/2 >late$i || true; done
status 3 ./time merge late0 late1
expect "shards that time ended" "$(jq -c .exhaustive out)" false
status 3 $c run good no_flush --time-limit 0.000001 --quiet
has out '^good: no failure in 0 of 9 crash points; NOT exhaustive: --time-limit 1e-06 cut it off'
status 1 $c run no_flush --max-failures 1
has out 'NOT exhaustive: --max-failures 1 cut it off'
echo ok
