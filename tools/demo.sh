#!/bin/sh
# The main job on real input: take in the address space of a running process, storm a pool from
# several threads, kill the storm, recover, and hold it to every transaction that it acknowledged.
# Then a fork and a snapshot under kills, and a space that is larger than its pool.
# Needs a tmpfs with 64 MiB free, and nothing else.  DEMO_MS: length of a storm.
set -eu
BUILD=${BUILD:-build}
pmpt=$BUILD/pmpt
[ -x "$pmpt" ] || { echo "$pmpt is missing: make" >&2; exit 1; }
pool=$(mktemp -u /dev/shm/pmpt-demo.XXXXXX)
work=$(mktemp -d)
process=
trap 'exit 130' INT TERM
trap '[ -z "$process" ] || kill "$process" 2>/dev/null || true; rm -rf "$work" "$pool" "$pool.small"' EXIT

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
part() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }

part "1. A pool on tmpfs, emulated persistent memory"
$pmpt create --size 48M "$pool"

part "2. The address space of a running process becomes durable page tables, in one transaction"
# A Perl interpreter with 400,000 hashes: code, libraries, a heap, a stack; about 160 MiB.
mkfifo "$work/ready" "$work/hold"
perl -e 'my @rows = map { { id => $_, name => "row $_" } } 1 .. 400_000;
	open(my $ready, ">", $ARGV[0]); print $ready "ready\n"; close($ready);
	open(my $hold, "<", $ARGV[1]); <$hold>;' "$work/ready" "$work/hold" &
process=$!
read -r _ < "$work/ready"
$pmpt import --pid "$process" --space perl "$pool"
kill "$process"
process=
$pmpt walk --limit 6 "$pool" perl
pages=$($pmpt space ls --json "$pool" | jq '.spaces[0].pages')
[ "$pages" -ge 20000 ] || { echo "only $pages pages were imported" >&2; exit 1; }
$pmpt dump "$pool" perl > "$work/before"

part "3. A storm of durable changes is killed with SIGKILL, three times"
cat <<'TEXT'
A child process changes the pool from two threads, and tells its parent over a pipe of each commit
that returned.  It is killed in the middle.  The parent opens the pool, which recovers it, verifies
every invariant, and compares every page with what the acknowledged transactions must have made.
TEXT
$pmpt storm --threads 2 --rounds 3 --ms "${DEMO_MS:-1200}" "$pool"

part "4. What is there now"
$pmpt dump "$pool" perl > "$work/after"
cmp "$work/before" "$work/after"
echo "the imported space: $pages pages, each as it was before the kills"
$pmpt check "$pool"
$pmpt stat "$pool"

part "5. A picture of it"
$pmpt heatmap -o "$BUILD/demo.svg" "$pool" perl
$pmpt heatmap -o "$BUILD/demo-storm.svg" "$pool" storm-0
echo "$BUILD/demo.svg: the imported process; $BUILD/demo-storm.svg: a space after the storm"

part "6. A fork, and a snapshot that survives kills"
# Bytes of a real file as the pages of a space: this tool itself.
head -c 3M "$pmpt" > "$work/v1"
tr 'a-zA-Z' 'A-Za-z' < "$work/v1" > "$work/v2"
$pmpt space create "$pool" book
$pmpt write "$pool" book 0x10000000 "$work/v1"
$pmpt snapshot create "$pool" book monday
$pmpt space fork "$pool" book draft
echo "a note in the margin" | $pmpt write "$pool" draft 0x10100000
$pmpt diff "$pool" book draft
echo "Now 'book' is written over, all 3 MiB in one transaction, and the writer is killed in the middle:"
old=0 new=0
for delay in 0.001 0.002 0.004 0.006 0.008 0.010 0.020 0.1; do
	$pmpt write "$pool" book 0x10000000 "$work/v2" > "$work/out" 2>&1 &
	process=$!
	sleep "$delay"
	kill -KILL "$process" 2> "$work/out" || true
	wait "$process" 2> "$work/out" || true
	process=
	$pmpt read -o "$work/book" "$pool" book 0x10000000 3M
	if cmp -s "$work/book" "$work/v1"; then old=$((old + 1)); else cmp "$work/book" "$work/v2" && new=$((new + 1)); fi
	$pmpt write "$pool" book 0x10000000 "$work/v1" > "$work/out"
done
echo "8 kills: $old found the old 3 MiB, $new the new ones, none a mixture"
$pmpt read "$pool" monday 0x10000000 3M | cmp - "$work/v1"
echo "the snapshot: every byte as on monday"
$pmpt space rm "$pool" book
$pmpt space ls "$pool"
$pmpt check "$pool"

part "7. A space larger than its pool"
head -c 24M /dev/urandom > "$work/large"
split -b 2M "$work/large" "$work/piece."
$pmpt create --size 16M "$pool.small"
$pmpt space create "$pool.small" large
$pmpt swap on "$pool.small" "$work/swap" 32M
va=0x40000000
for piece in "$work"/piece.*; do
	$pmpt write "$pool.small" large $va "$piece" > "$work/out"
	va=$(printf '0x%x' $((va + 2 * 1024 * 1024)))
done
echo "24 MiB written, 2 MiB at a time; what did not fit went out:"
$pmpt swap status "$pool.small"
$pmpt read "$pool.small" large 0x40000000 24M | cmp - "$work/large"
echo "read back: 24 MiB, each byte as it was written"
$pmpt heatmap --by tier -o "$BUILD/demo-tier.svg" "$pool.small" large
$pmpt check "$pool.small"
echo "$BUILD/demo-tier.svg: what is in memory, and what is out"

part "What this shows"
cat <<'TEXT'
Every transaction that was acknowledged before a kill is there, and of none a part: commits are
atomic, and recovery completes or drops what the kill cut short.  That goes for entries, for the
bytes in the pages, for forks, and for pages on their way to the swap file.
What it does not show: flushes and power failures, for a killed process leaves all that it stored.
These are the crash enumerator's part, which explores every state that a power failure can leave:
    make crash
That the judgement can fail is a test, too: with recovery left out it finds the loss.
    make check T=storm
TEXT
