#!/bin/sh
# numbers.sh < JSON: put the measurements of `pmpt-bench --json` into README.md, between its two marks, as a table.
#     build/pmpt-bench --json | sh tools/numbers.sh
set -eu
table=$(mktemp)
trap 'rm -f "$table"' EXIT
{
	echo "Measured on $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed q), $(nproc) cores, tmpfs as emulated persistent memory, one thread:"
	echo
	echo "| row | pages | result | of the raw limit | of the skeleton | lines an operation | fences |"
	echo "|---|---|---|---|---|---|---|"
	jq -r '
		def short: if . >= 1048576 then "\(. / 1048576 | floor)M" elif . >= 1024 then "\(. / 1024 | floor)K" else "\(.)" end;
		def fixed($n): if . == null then "" else (. * pow(10; $n) | round) / pow(10; $n) | tostring end;
		"| " + ([ "`\(.name)`" + ((.log // .children // .write) as $what | if $what then ", \($what)" else "" end), (.pages | short),
			(if .ops_per_s then "\(.ops_per_s / 1e6 | fixed(2)) M/s"
			 elif .ms then "\(.ms | fixed(1)) ms" elif .us then "\(.us | fixed(1)) us" else "\(.bytes_per_page | fixed(2)) bytes" end),
			(.ratio_to_raw | fixed(2)), (.ratio_to_skeleton | fixed(2)),
			(.lines_per_op | fixed(2)), (.fences_per_op | fixed(4)) ] | join(" | ")) + " |"'
} > "$table"
awk -v table="$table" '
	/<!-- numbers:begin -->/ { print; while ((getline line < table) > 0) print line; skip = 1 }
	/<!-- numbers:end -->/ { skip = 0 }
	!skip { if (!/numbers:begin/) print }' README.md > "$table.new"
cat "$table.new" > README.md
rm -f "$table.new"
