# libpmpt -- build, test, install.  `make help` lists the targets.  Everything built lands in $(BUILD).
#
# Variants (sanitizers, coverage, another compiler) are this same file with another BUILD: `make asan` is `make BUILD=build/asan SAN=address test`.

VERSION	:= 0.1.0
SONAME	:= libpmpt.so.0
BUILD	?= build
PREFIX	?= /usr/local
LIBDIR	?= $(PREFIX)/lib
MANDIR	?= $(PREFIX)/share/man
JOBS	?= $(shell nproc)
SAN	?=
T	?=

WARN	:= -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
OPT	?= -O3 -g
CFLAGS	+= -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) -fno-strict-aliasing -Iinclude -Ilib -Irecovery -MMD -MP
LDLIBS	+= -lpmemobj -lpmem -lurcu-bp -lpthread
V ?=
ifeq ($(V),)
MAKEFLAGS += --no-print-directory -s
endif
ifneq ($(SAN),)
CFLAGS	+= -fsanitize=$(SAN) $(SANFLAGS) -fno-omit-frame-pointer -fno-sanitize-recover=all -DPMPT_MEM_LIBC
LDFLAGS	+= -fsanitize=$(SAN)
endif
ifneq ($(COVERAGE),)
CFLAGS	+= --coverage -fprofile-update=atomic
LDFLAGS	+= --coverage
endif

JEMALLOC := $(firstword $(wildcard /usr/lib/$(shell $(CC) -print-multiarch)/libjemalloc_pic.a /usr/lib/x86_64-linux-gnu/libjemalloc_pic.a))

LIB_SRC	  := $(wildcard lib/*.c recovery/*.c)
TOOL_SRC  := $(wildcard tools/*.c)
BENCH_SRC := $(filter-out bench/kv.c bench/sqlite%,$(wildcard bench/*.c))
# with LMDB beside it
KV_BENCH  := $(if $(wildcard /usr/include/lmdb.h),$(BUILD)/kv-bench)
EXAMPLES  := $(patsubst %.c,$(BUILD)/%,$(wildcard examples/*.c)) $(BUILD)/examples/kv
KV_SRC	  := $(filter-out %/main.c,$(wildcard examples/kv/*.c))
SUPPORT   := $(filter-out $(wildcard tests/*/test_*.c tests/sqlite/*.c),$(wildcard tests/*/*.c))
TESTS	  := $(patsubst tests/%.c,$(BUILD)/test/%,$(wildcard tests/unit/test_*.c tests/crash/test_*.c tests/integration/test_*.c))
SCRIPTS	  := $(wildcard tests/integration/test_*.sh)

LIB_OBJ	  := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
TEST_OBJ  := $(LIB_SRC:%.c=$(BUILD)/test/obj/%.o) $(KV_SRC:%.c=$(BUILD)/test/obj/%.o) $(SUPPORT:%.c=$(BUILD)/test/obj/%.o)
TOOL_OBJ  := $(TOOL_SRC:%.c=$(BUILD)/obj/%.o)
BENCH_OBJ := $(BENCH_SRC:%.c=$(BUILD)/obj/%.o)
VFS_SRC	  := $(wildcard examples/sqlite-vfs/*.c)
VFS_OBJ	  := $(VFS_SRC:%.c=$(BUILD)/obj/%.o)
# in the tests it is linked, not loaded: so the sanitizers see it
VFS_TEST  := $(patsubst %.c,$(BUILD)/test/obj/%.o,$(filter-out %/preload.c,$(VFS_SRC)))

PRODUCTS  := $(BUILD)/$(SONAME) $(BUILD)/libpmpt.so $(BUILD)/libpmpt.a $(BUILD)/libpmpt.pc $(if $(TOOL_SRC),$(BUILD)/pmpt) \
	     $(if $(BENCH_SRC),$(BUILD)/pmpt-bench) $(EXAMPLES) $(if $(VFS_SRC),$(BUILD)/pmpt_vfs.so) $(BUILD)/sqlite-bench $(KV_BENCH)

.PHONY: all check check-sqlite demo test crash crash-adequacy asan ubsan tsan coverage bench bench-kv bench-sqlite lint format format-check install uninstall clean help setup setup-dev
.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

all: $(PRODUCTS)	## libraries, tool, benchmark, examples

# ---- the two commands that do everything on a bare machine -----------------------------------------------------------

check: setup		## install what is missing, build, run all tests (T=name: only those)
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@BUILD=$(BUILD) sh tools/run-tests.sh "$(T)"

demo: setup		## install what is missing, build, show the main job on real input
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD=$(BUILD) sh tools/demo.sh

setup:
	@sh tools/setup.sh
setup-dev:
	@sh tools/setup.sh dev

# ---- library ---------------------------------------------------------------------------------------------------------

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec -c -o $@ $<

# One optimised object of the whole library: the commit path crosses six files.  gcc alone can do it; fat objects for the test that reads their code.
ifneq ($(and $(filter-out clang%,$(notdir $(CC))),$(if $(SAN)$(COVERAGE),,yes)),)
LTO	:= -flto=1 -ffat-lto-objects
LTO_LD	 = $(CC) $(OPT) -fPIC $(LTO) -flto-partition=one -r -flinker-output=nolto-rel -o
else
LTO_LD	 = ld -r -o
endif
$(LIB_OBJ): CFLAGS += $(LTO)

$(BUILD)/core.o: $(LIB_OBJ)
	$(LTO_LD) $@ $^

# jemalloc's own names stay inside: an embedder's malloc is the embedder's.  Its thread-local state goes: see one_thread.c.
JE_OURS	 := mallocx sdallocx mallctl mallctlnametomib mallctlbymib
JE_CALLS := pthread_key_create=one_key_create pthread_setspecific=one_setspecific pthread_atfork=one_atfork pthread_create=one_create \
	    secure_getenv=one_getenv readlink=one_readlink
$(BUILD)/jemalloc/%.o: lib/jemalloc/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(OPT) $(WARN) -fPIC -MMD -MP -c -o $@ $<

$(BUILD)/jemalloc/untls: lib/jemalloc/untls.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -O1 $(WARN) -o $@ $<

$(BUILD)/jemalloc.o: $(JEMALLOC) $(BUILD)/jemalloc/untls $(BUILD)/jemalloc/one_thread.o
	ld -r -u one_offset $(JE_OURS:%=-u %) -o $@.all $(JEMALLOC)
	$(BUILD)/jemalloc/untls $@.all je_tsd_tls one_offset
	objcopy --rename-section .tdata=.data --remove-section .init_array --remove-section .rela.init_array \
		$(foreach f,$(JE_OURS),--redefine-sym $(f)=real_$(f)) $(JE_CALLS:%=--redefine-sym %) $@.all
	ld -r -o $@.one $@.all $(BUILD)/jemalloc/one_thread.o
	objcopy $(JE_OURS:%=--keep-global-symbol=%) $@.one $@
	@rm -f $@.all $@.one

$(BUILD)/libpmpt.o: $(BUILD)/core.o $(BUILD)/jemalloc.o
	ld -r -o $@.all $^
	objcopy --wildcard --keep-global-symbol='pmpt_*' $@.all $@
	@rm -f $@.all

$(BUILD)/libpmpt.a: $(BUILD)/libpmpt.o
	rm -f $@ && ar rcs $@ $<

# A key's destructor runs at a thread's end, after any dlclose: the code stays.
$(BUILD)/$(SONAME): $(BUILD)/libpmpt.o lib/libpmpt.map
	$(CC) -shared $(LDFLAGS) -Wl,-soname,$(SONAME) -Wl,-z,nodelete -Wl,--version-script=lib/libpmpt.map -Wl,--no-undefined-version -o $@ $< $(LDLIBS) -ldl -lm

$(BUILD)/libpmpt.so: $(BUILD)/$(SONAME)
	ln -sf $(SONAME) $@

$(BUILD)/libpmpt.pc: lib/libpmpt.pc.in Makefile
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' $< > $@

# ---- programs --------------------------------------------------------------------------------------------------------

$(BUILD)/pmpt: $(TOOL_OBJ) $(BUILD)/libpmpt.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -ljansson -ldl -lm

$(BUILD)/pmpt-bench: $(BENCH_OBJ) $(BUILD)/libpmpt.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -ldl -lm

$(BUILD)/obj/bench/kv.o: CFLAGS += -Iexamples/kv
$(BUILD)/kv-bench: $(patsubst %,$(BUILD)/obj/bench/%.o,kv slices scratch) $(KV_SRC:examples/%.c=$(BUILD)/examples/obj/%.o) $(BUILD)/libpmpt.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -llmdb -ldl -lm

$(BUILD)/sqlite-bench: $(patsubst %,$(BUILD)/obj/bench/%.o,sqlite sqlite_beside slices scratch) $(BUILD)/pmpt_vfs.so
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -lsqlite3 -lpthread -lm

$(BUILD)/examples/%: examples/%.c $(BUILD)/libpmpt.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/libpmpt.a $(LDLIBS) -ldl -lm

# SQLite's VFS: the library is inside; SQLite is the program's that loads it.
$(BUILD)/pmpt_vfs.so: $(VFS_OBJ) $(BUILD)/libpmpt.o examples/sqlite-vfs/pmpt_vfs.map
	$(CC) -shared $(LDFLAGS) -Wl,-z,nodelete -Wl,--version-script=examples/sqlite-vfs/pmpt_vfs.map -Wl,--no-undefined-version \
		-o $@ $(VFS_OBJ) $(BUILD)/libpmpt.o $(LDLIBS) -ldl -lm

$(BUILD)/examples/obj/%.o: examples/%.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -Ilib -Irecovery,$(CFLAGS)) -c -o $@ $<

$(BUILD)/examples/kv: $(KV_SRC:examples/%.c=$(BUILD)/examples/obj/%.o) $(BUILD)/examples/obj/kv/main.o $(BUILD)/libpmpt.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -ldl -lm

# ---- tests: the library once more, with its seams (-DPMPT_TEST) -------------------------------------------------------

$(BUILD)/test/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -DPMPT_TEST -Itests/support -Itests/crash -Iexamples/kv -c -o $@ $<

$(BUILD)/test/libpmpt_test.a: $(TEST_OBJ)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/test/%: $(BUILD)/test/obj/tests/%.o $(BUILD)/test/libpmpt_test.a $(BUILD)/jemalloc.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka -ljansson -ldl -lm

$(VFS_TEST) $(BUILD)/test/obj/tests/integration/test_sqlite%.o $(BUILD)/test/obj/tests/support/sqlite%.o: CFLAGS += -DSQLITE_CORE -Iexamples/sqlite-vfs
$(BUILD)/test/integration/test_sqlite%: $(BUILD)/test/obj/tests/integration/test_sqlite%.o $(VFS_TEST) $(BUILD)/test/libpmpt_test.a $(BUILD)/jemalloc.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka -ljansson -lsqlite3 -ldl -lm

.PHONY: tests
tests: $(TESTS)

test: tests $(if $(SAN)$(COVERAGE),,all)
	@BUILD=$(BUILD) SAN="$(SAN)$(COVERAGE)" sh tools/run-tests.sh "$(T)"

crash: setup		## libpmpt under every crash: the enumerator's programs; all workloads of crashsim, two crashes in a row, by lines and by pages; all modes agree
	@$(MAKE) --no-print-directory -j$(JOBS) tests $(BUILD)/crashsim
	@BUILD=$(BUILD) sh tools/run-tests.sh crash/
	@BUILD=$(BUILD) sh tests/integration/test_crashsim_workloads.sh all
	@$(BUILD)/crashsim run -j $(JOBS) --persist page limit_beside one_lane runs huge
	@BUILD=$(BUILD) sh tests/crash/modes.sh

crash-adequacy: setup	## switch off each flush, fence and streamed store of the library: does a workload mind?
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/crashsim
	@BUILD=$(BUILD) sh crashsim/adequacy.sh -j $(JOBS)

check-sqlite:		## SQLite's own test-suite with its VFS as default (T="select1 insert": only those)
	@sh tools/setup.sh sqlite
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/pmpt_vfs.so
	@sh tests/sqlite/build.sh $(BUILD)/sqlite
	@python3 tests/sqlite/run.py -j $(JOBS) $(BUILD)/sqlite $(BUILD)/pmpt_vfs.so $(T)

asan: setup		## all test programs under AddressSanitizer
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/asan SAN=address test
# liburcu's reader is declared with more alignment than its allocator gives it: not ours to mend.  gcc warns of paths that the checks themselves make.
ubsan: setup		## ... under UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/ubsan SAN=undefined SANFLAGS='-fno-sanitize=alignment -Wno-format-truncation' test
tsan: setup		## ... under ThreadSanitizer
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/tsan SAN=thread test

coverage: setup-dev	## line coverage of lib/ and recovery/, at least 90 %
	@find build/cov -name '*.gcda' -delete 2>/dev/null || true
	@TEST_TIMEOUT=1200 $(MAKE) --no-print-directory -j$(JOBS) BUILD=build/cov COVERAGE=1 OPT='-O1 -g' test
	@sh tools/coverage.sh build/cov 90

bench: setup		## the benchmark, all rows
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(BUILD)/pmpt-bench

bench-kv: setup		## the key-value map of examples/kv beside LMDB (ARGS="-j -q": JSON, quick)
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(BUILD)/kv-bench $(ARGS)

bench-sqlite:		## SQLite over the VFS beside its ordinary VFS; speedtest1 from Debian's source package
	@sh tools/setup.sh sqlite
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/sqlite-bench
	@src=$$(sh tools/sqlite_source.sh $(BUILD)/sqlite) && \
		$(CC) -O2 -o $(BUILD)/speedtest1 $$src/test/speedtest1.c -lsqlite3 && \
		$(BUILD)/sqlite-bench -s $(BUILD)/speedtest1

# ---- style -----------------------------------------------------------------------------------------------------------

STYLED := $(wildcard include/*.h lib/*.[ch] lib/*/*.[ch] recovery/*.[ch] tools/*.[ch] bench/*.[ch] examples/*.c examples/*/*.[ch] tests/*/*.[ch] \
			  crashsim/*.[ch] crashsim/workloads/*.[ch] crashsim/examples/*.c)

# cppcheck overlooks _Noreturn, and of an attribute it knows; crashsim/examples have the bugs that they are to show
lint: setup-dev		## cppcheck and clang-tidy, warnings are errors
	cppcheck --quiet --std=c11 --error-exitcode=1 --enable=warning,portability --inline-suppr --suppress=unknownMacro \
		-D_Noreturn='__attribute__((noreturn))' --force -j$(JOBS) -Iinclude -Ilib -Irecovery -Icrashsim -icrashsim/examples \
		lib recovery tools examples bench crashsim
	printf '%s\n' $(wildcard lib/*.c recovery/*.c) | xargs -P$(JOBS) -n4 sh -c 'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -Iinclude -Ilib -Irecovery' _

format: setup-dev	## clang-format in place
	clang-format -i $(STYLED)
format-check: setup-dev
	clang-format --dry-run -Werror $(STYLED)

# ---- install ---------------------------------------------------------------------------------------------------------

# For each name in a page's NAME section but the first, which is the page's own: a link to the page.
each_man_link = for page in doc/man/*.[1-9]; do n=$${page\#\#*.}; \
	for name in $$(sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([^ ]*\).*/\1/p' $$page | tail -n +2); do link=$(DESTDIR)$(MANDIR)/man$$n/$$name.$$n;

# The loader finds a library in one of its directories by its cache, which root can renew.  With -N -X ldconfig just lists them.
tell_loader = [ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || { PATH=$$PATH:/sbin:/usr/sbin; \
	for dir in $$(ldconfig -v -N -X 2>/dev/null | sed -n 's|^\(/[^:]*\):.*|\1|p'); do \
		if [ "$$dir" -ef "$(LIBDIR)" ]; then ldconfig || :; break; fi; done; }

install: all		## DESTDIR, PREFIX, LIBDIR, MANDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 include/libpmpt.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(BUILD)/libpmpt.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(BUILD)/$(SONAME) $(wildcard $(BUILD)/pmpt_vfs.so) $(DESTDIR)$(LIBDIR)/
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libpmpt.so
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' lib/libpmpt.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/libpmpt.pc
	install -m 755 $(wildcard $(BUILD)/pmpt $(BUILD)/pmpt-bench) $(DESTDIR)$(PREFIX)/bin/
	for page in doc/man/*.[1-9]; do install -D -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit; done
	$(each_man_link) ln -sf $${page##*/} $$link || exit; done; done
	$(tell_loader)

uninstall:		## what install put there
	rm -f $(DESTDIR)$(PREFIX)/include/libpmpt.h $(addprefix $(DESTDIR)$(LIBDIR)/,libpmpt.a libpmpt.so $(SONAME) pmpt_vfs.so pkgconfig/libpmpt.pc) \
		$(addprefix $(DESTDIR)$(PREFIX)/bin/,pmpt pmpt-bench)
	for page in doc/man/*.[1-9]; do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; done
	$(each_man_link) rm -f $$link; done; done
	$(tell_loader)

clean:			## remove $(BUILD)
	rm -rf $(BUILD)

help:			## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' Makefile | expand -t 16

include crashsim/crashsim.mk

-include $(BUILD)/jemalloc/one_thread.d $(LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(BENCH_OBJ:.o=.d) $(VFS_OBJ:.o=.d) $(VFS_TEST:.o=.d) $(TESTS:$(BUILD)/test/%=$(BUILD)/test/obj/tests/%.d) $(wildcard $(BUILD)/examples/obj/kv/*.d) $(BUILD)/obj/bench/kv.d
