#!/bin/sh
# The litmus suite: engine, judge and the files' exact sets agree in every mode; without a rule they do not; what is wrong in a file is named.
set -u
BUILD=${BUILD:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
suite=crashsim/litmus

fail() {
	echo "$*"
	failed=1
}

# agrees LABEL OPTION...: the suite passes with these
agrees() {
	label=$1
	shift
	"$BUILD/crashsim" litmus "$@" "$suite"/*.litmus > "$dir/out" 2> "$dir/err"
	code=$?
	[ $code = 0 ] && [ ! -s "$dir/err" ] && return
	fail "$label: exit $code"
	grep -v '^ok' "$dir/out" | head -n 20
	head -n 5 "$dir/err"
}
agrees "engine and judge" --judge
programs=$(grep -c '^ok' "$dir/out")
[ "$programs" -ge 48 ] || fail "$programs programs, expected at least 48"
agrees "in program order" --recorded
agrees "eager" --mode eager
agrees "re-run" --mode rerun
agrees "JSON" --json
jq -e --argjson n "$programs" '.count == $n and .failed == 0 and .broken == 0 and (.programs | length) == $n and
	([.programs[] | select(.ok and .missing == [] and .extra == [] and .outcomes > 0)] | length) == $n' "$dir/out" > /dev/null ||
	fail "the JSON is not as it should be"

# each rule has two programs at least; and so have three threads, and a crash inside recovery
for rule in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do
	n=$(grep -hE "^rules .*\bR$rule\b" "$suite"/*.litmus | wc -l)
	[ "$n" -ge 2 ] || fail "R$rule has $n programs"
done

# without a rule the engine finds more (or less), and the suite says which
for rule in R3 R9 R11; do
	"$BUILD/crashsim" litmus --off $rule "$suite"/*.litmus > "$dir/out" 2>&1
	[ $? = 1 ] || fail "without $rule the suite does not fail"
	grep -qE '^ +(extra|missing) +[a-z]' "$dir/out" || fail "without $rule: no image is named"
	grep -q "^FAIL .*[[ ]$rule[] ]" "$dir/out" || fail "without $rule no program about it fails"
done

# A program of the test's own, with $1 in the place of what matches $2.
write() {
	cat > "$dir/p.litmus" << 'END'
name a program
rules R2
source none
layout x | y
thread
	x = 1; FO x; SF
	y = 1
crash
	r = y
expect x r {
	0 0
	1 0|1
}
END
	[ $# = 0 ] || sed -i "s/$2/$1/" "$dir/p.litmus"
}

# a set that is not the one
write
"$BUILD/crashsim" litmus --judge "$dir/p.litmus" > "$dir/out" 2>&1 || { fail "the program by itself"; cat "$dir/out"; }
write '0 0|1' '^\t0 0$'
"$BUILD/crashsim" litmus --judge "$dir/p.litmus" > "$dir/out" 2>&1
[ $? = 1 ] || fail "an image too many in the file passes"
grep -q '^ *missing  *x=0 r=1$' "$dir/out" || fail "the missing image is not named"
grep -q '^ *judge_missing  *x=0 r=1$' "$dir/out" || fail "the judge's missing image is not named"
write '1 0' '1 0|1'
"$BUILD/crashsim" litmus --judge "$dir/p.litmus" > "$dir/out" 2>&1
[ $? = 1 ] || fail "an image too few in the file passes"
grep -q '^ *extra  *x=1 r=1$' "$dir/out" || fail "the extra image is not named"

# wrong LINE:COLUMN FOUND EXPECTED NEW OLD: the message for a program with OLD replaced by NEW
wrong() {
	write "$4" "$5"
	"$BUILD/crashsim" litmus "$dir/p.litmus" > "$dir/out" 2> "$dir/err"
	code=$?
	[ $code = 2 ] || fail "'$4': exit $code, expected 2"
	grep -qF "$dir/p.litmus:$1: found $2, expected $3" "$dir/err" || {
		fail "'$4': expected the message $1: found $2, expected $3"
		cat "$dir/err"
	}
}
wrong 1:1 "'title'" "'name'" 'title a program' 'name a program'
wrong 4:1 "'layout'" "'source'" '# gone' '^source none$'
wrong 4:8 "'8'" "the name of a new variable" 'layout 8 | y' 'layout x | y'
wrong 4:12 "'x'" "the name of a new variable" 'layout x | x' 'layout x | y'
wrong 4:14 "'3'" "its bytes" 'layout x | y:3' 'layout x | y'
wrong 5:8 "'line_order'" "line_order=prefix|free" 'switch line_order=random\nthread' '^thread$'
wrong 6:6 "the end of the line" "a number or a register" 'x = ; FO x; SF' 'x = 1; FO x; SF'
wrong 6:12 "'z'" "a variable of the layout" 'x = 1; FO z; SF' 'x = 1; FO x; SF'
wrong 6:13 "'q'" "a number, or a register that has been set" 'x = 1; x = q; SF' 'x = 1; FO x; SF'
wrong 7:7 "'2'" "the end of the line or ';'" 'y = 1 2' '^\ty = 1$'
wrong 7:5 "'99999999999999999999999'" "a number of at most 64 bits" 'y = 99999999999999999999999' '^\ty = 1$'
wrong 9:2 "'returned'" "an instruction of recovery" 'returned' 'r = y'
wrong 9:14 "'y'" "'==', '!=' or '{'" 'r = y; if r y = 1' 'r = y'
wrong 10:10 "'s'" "a variable, a register of the last recovery" 'expect x s {' 'expect x r {'
wrong 12:2 "'0'" "an outcome that does not stand in the rows before" '0 0' '1 0|1'
wrong 14:1 "the end of the file" "a value" '# gone' '^}$'

"$BUILD/crashsim" litmus "$dir/none.litmus" > /dev/null 2> "$dir/err"
[ $? = 2 ] || fail "a file that is not there"
grep -q 'none.litmus: No such file' "$dir/err" || fail "a file that is not there is not named"
"$BUILD/crashsim" litmus > /dev/null 2>&1
[ $? = 2 ] || fail "no file at all"
"$BUILD/crashsim" litmus --off R99 x > /dev/null 2> "$dir/err"
grep -q 'expected R3, R9 or R11' "$dir/err" || fail "an unknown rule"
: > "$dir/empty.litmus"
"$BUILD/crashsim" litmus "$dir/empty.litmus" > /dev/null 2> "$dir/err"
grep -q "empty.litmus:1:1: found the end of the file, expected 'name'" "$dir/err" || fail "an empty file"
exit $failed
