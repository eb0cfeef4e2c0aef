#!/bin/sh
# The main job on real input: take in the address space of a running process, storm a pool from
# several threads, kill the storm, recover, and hold it to every transaction that it acknowledged.
# Needs a tmpfs with 48 MiB free, and nothing else.  DEMO_MS: length of a storm.
set -eu
BUILD=${BUILD:-build}
pmpt=$BUILD/pmpt
[ -x "$pmpt" ] || { echo "$pmpt is missing: make" >&2; exit 1; }
pool=$(mktemp -u /dev/shm/pmpt-demo.XXXXXX)
work=$(mktemp -d)
process=
trap 'exit 130' INT TERM
trap '[ -z "$process" ] || kill "$process" 2>/dev/null || true; rm -rf "$work" "$pool"' EXIT

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

part "What this shows"
cat <<'TEXT'
Every transaction that was acknowledged before a kill is there, and of none a part: commits are
atomic, and recovery completes or drops what the kill cut short.
What it does not show: flushes and power failures, for a killed process leaves all that it stored.
These are the crash enumerator's part, which explores every state that a power failure can leave:
    make crash
That the judgement can fail is a test, too: with recovery left out it finds the loss.
    make check T=storm
TEXT
