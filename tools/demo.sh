#!/bin/sh
# The main job on real input: take in the address space of a running process, storm a pool from
# several threads, kill the storm, recover, and hold it to every transaction that it acknowledged.
# Needs a tmpfs with 600 MiB free, and nothing else.  DEMO_MS: length of a storm.
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
$pmpt create --size 512M "$pool"

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

part "3. Threads change it durably and acknowledge each commit over a pipe; SIGKILL; recovery; again"
$pmpt storm --threads 2 --rounds 3 --ms "${DEMO_MS:-1200}" "$pool"

part "4. What is there now"
$pmpt dump "$pool" perl > "$work/after"
cmp "$work/before" "$work/after"
echo "the imported space: $pages pages, each as before the kills"
$pmpt check "$pool"
$pmpt stat "$pool"

part "5. A picture of it"
$pmpt heatmap -o "$BUILD/demo.svg" "$pool" perl
$pmpt heatmap -o "$BUILD/demo-storm.svg" "$pool" storm-0
echo "$BUILD/demo.svg: the imported process; $BUILD/demo-storm.svg: a space after the storm"

part "What this shows"
cat <<'TEXT'
Every transaction that was acknowledged before the kill is there, and of none a part: commits are
atomic, and recovery completes or drops what the kill cut short.  A killed process loses nothing of
what it stored, only what it had yet to store; so this says nothing about flushes and power
failures.  Those are shown by the crash enumerator, which explores every state that a power failure
can leave: make crash.  That this judgement can fail is shown by tests/integration/test_storm.c:
with recovery left out, it does.
TEXT
