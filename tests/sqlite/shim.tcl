# Run one of SQLite's test scripts where databases are no files: testfixture shim.tcl VFSFILE.so TESTDIR SCRIPT
#
# What the scripts do with a database by its name goes to the VFS: file exists, size, delete, copy, rename; open;
# glob; hexio_read, hexio_write.  Another process cannot open the pool, so tests with several processes
# do their other half, in which the connections are of one process.

lassign $argv vfsfile_so testdir script
set argv {}
load $vfsfile_so Vfsfile

# A database, or a new file that is to become one.
proc vfs_has {name} {
	return [expr {$name ne "" && ![file_tcl exists $name] && [vfsfile exists $name]}]
}
proc vfs_name {name} {
	foreach pattern {*.db *.db[0-9] *.db-bu *.db-template} {
		if {[string match $pattern $name]} {return [expr {![file_tcl exists $name]}]}
	}
	return [vfs_has $name]
}

# One that is open cannot be deleted: it gets empty.
proc vfs_delete {name} {
	if {[catch {vfsfile delete $name}]} {vfsfile truncate $name 0}
}
proc vfs_get {name} {
	if {[vfs_has $name]} {return [vfsfile read $name 0 [vfsfile size $name]]}
	set from [open_tcl $name rb]
	set bytes [read $from]
	close $from
	return $bytes
}
proc vfs_put {name bytes} {
	if {[vfs_has $name]} {vfs_delete $name}
	vfsfile write $name 0 $bytes
}

rename file file_tcl
proc file {word args} {
	set name [lindex $args 0]
	switch -- $word {
		exists - isfile - readable - writable {
			return [expr {[file_tcl $word $name] || [vfs_has $name]}]
		}
		size {
			if {[vfs_has $name]} {return [vfsfile size $name]}
		}
		delete {
			foreach name $args {
				if {$name ni {-force --} && [vfs_has $name]} {vfs_delete $name}
			}
		}
		copy - rename {
			lassign [lrange $args end-1 end] from to
			if {[vfs_has $from] || ([file_tcl isfile $from] && [vfs_name $to])} {
				if {[lindex $args 0] ne "-force" && [vfs_has $to]} {
					error "error copying \"$from\" to \"$to\": file already exists"
				}
				vfs_put $to [vfs_get $from]
				if {$word eq "rename"} {file delete $from}
				return
			}
		}
	}
	return [uplevel 1 [list file_tcl $word {*}$args]]
}

# Only those that the common parts of the scripts look for.
rename glob glob_tcl
proc glob {args} {
	set found [uplevel 1 [list glob_tcl -nocomplain {*}$args]]
	foreach pattern $args {
		foreach name {test.db test2.db test3.db test4.db sv_test.db sv_test2.db test.db2 test.db3} {
			if {[string match $pattern $name] && $name ni $found && [vfs_has $name]} {
				lappend found $name
			}
		}
	}
	if {![llength $found] && "-nocomplain" ni $args} {error "no files matched glob pattern \"$args\""}
	return $found
}

# A channel over a database: what is written is written at once.
rename open open_tcl
proc open {name {mode r} args} {
	if {[string match |* $name] || ![vfs_name $name] || ([string match r* $mode] && ![vfs_has $name])} {
		return [uplevel 1 [list open_tcl $name $mode {*}$args]]
	}
	if {[string match w* $mode]} {vfs_put $name ""}
	set channel [chan_tcl create {read write} [list vfs_channel $name]]
	set ::vfs_at($channel) 0
	set ::vfs_of($channel) $name
	if {[string match *b* $mode]} {fconfigure $channel -translation binary}
	if {[string match a* $mode]} {seek $channel 0 end}
	return $channel
}
rename chan chan_tcl
proc chan {word args} {
	set channel [lindex $args 0]
	if {$word ne "truncate" || ![info exists ::vfs_of($channel)]} {
		return [uplevel 1 [list chan_tcl $word {*}$args]]
	}
	vfsfile truncate $::vfs_of($channel) [expr {[llength $args] > 1 ? [lindex $args 1] : [tell $channel]}]
}
proc vfs_channel {name word channel args} {
	switch -- $word {
		initialize {return {initialize finalize watch read write seek}}
		finalize {unset -nocomplain ::vfs_at($channel) ::vfs_of($channel)}
		read {
			set bytes [vfsfile read $name $::vfs_at($channel) [lindex $args 0]]
			incr ::vfs_at($channel) [string length $bytes]
			return $bytes
		}
		write {
			set bytes [lindex $args 0]
			vfsfile write $name $::vfs_at($channel) $bytes
			incr ::vfs_at($channel) [string length $bytes]
			return [string length $bytes]
		}
		seek {
			lassign $args offset base
			switch -- $base {
				current {incr offset $::vfs_at($channel)}
				end {incr offset [vfsfile size $name]}
			}
			return [set ::vfs_at($channel) $offset]
		}
	}
}

rename hexio_read hexio_read_tcl
proc hexio_read {name at n} {
	if {![vfs_has $name]} {return [hexio_read_tcl $name $at $n]}
	binary scan [vfsfile read $name $at $n] H* hex
	return [string toupper $hex]
}
rename hexio_write hexio_write_tcl
proc hexio_write {name at hex} {
	if {![vfs_has $name]} {return [hexio_write_tcl $name $at $hex]}
	set bytes [binary format H* $hex]
	vfsfile write $name $at $bytes
	return [string length $bytes]
}

# as run_test_suite veryquick does
set G(perm:name) veryquick
set G(perm:prefix) ""
set G(perm:dbconfig) ""
set G(perm:presql) ""
set G(isquick) 1
set G(valgrind) 1
set argv0 [file_tcl join $testdir [file_tcl tail $script]]
source [file_tcl join $testdir tester.tcl]
if {[vfsfile default] ne "pmpt" || ![vfs_has test.db]} {
	error "databases are in the VFS '[vfsfile default]', expected 'pmpt'"
}
source $script
