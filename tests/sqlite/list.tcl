# The files of the suite "veryquick", one a line: testfixture list.tcl TESTDIR

set argv0 [file join [lindex $argv 0] list.test]
set argv {}
source [file join [file dirname $argv0] permutations.test]
foreach f [lsort [dict get $::testspec(veryquick) -files]] {
	if {[file tail $f] eq $f} {set f [file join $::testdir $f]}
	puts [file normalize $f]
}
