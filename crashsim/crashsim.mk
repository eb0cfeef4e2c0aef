# crashsim -- the crash-injection harness: a library that instrumented code links instead of the thread sanitizer's
# run time, and the command with libpmpt's own workloads.  Included by the Makefile.

CS_DIR	  := $(BUILD)/crashsim.d
CS_SRC	  := $(filter-out crashsim/main.c crashsim/pmpt.c,$(wildcard crashsim/*.c))
CS_LOADS  := $(wildcard crashsim/workloads/*.c)
CS_OBJ	  := $(CS_SRC:%.c=$(CS_DIR)/%.o)
CS_CFLAGS := $(filter-out -std=c11,$(CFLAGS)) -std=gnu11 -Icrashsim

# Code under test: each access is seen.  Builtin copies must be calls, renamed to crashsim's.
CS_INSTRUMENT := -O1 -g -fsanitize=thread -fno-omit-frame-pointer -fno-builtin-memcpy -fno-builtin-memmove -fno-builtin-memset \
	-fno-builtin-memcmp -Dmemcpy=crashsim_memcpy -Dmemmove=crashsim_memmove -Dmemset=crashsim_memset -Dmemcmp=crashsim_memcmp
# clang leaves out the load of a word that the same block stores to; recovery's loads decide.
CS_INSTRUMENT += $(if $(findstring clang,$(CC)),-mllvm -tsan-instrument-read-before-write=1)
# Volatile memory of libc: an arena is made and destroyed at each recovery.
# The engine has a function of the name replay, too.
CS_PMPT	    := -O2 -fno-optimize-sibling-calls -Dreplay=replay_log -DPMPT_TEST -DPMPT_MEM_LIBC -Itests/support -Itests/crash -Iexamples/kv
# Functions of the library that pm_bridge.c and actors.c stand before.
CS_WRAP	    := $(foreach f,pm_flush pm_stream pm_stream_zero pm_fence pm_persist msync line_valid replay_log \
	pthread_mutex_lock sched_yield __tsan_atomic32_load,-Wl,--wrap=$(f))
CS_LIB_OBJ  := $(LIB_SRC:%.c=$(CS_DIR)/seen/%.o)
# the VFS, whose pool is the workload's buffer: see workloads/sqlite.c
CS_VFS_OBJ  := $(patsubst %.c,$(CS_DIR)/seen/%.o,$(filter-out %/preload.c,$(VFS_SRC)))
CS_LOAD_OBJ := $(CS_LOADS:%.c=$(CS_DIR)/seen/%.o) $(KV_SRC:%.c=$(CS_DIR)/seen/%.o) $(CS_VFS_OBJ)

$(CS_DIR)/crashsim/%.o: crashsim/%.c
	@mkdir -p $(@D)
	$(CC) $(CS_CFLAGS) -c -o $@ $<

$(CS_DIR)/seen/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -O% -std=c11,$(CFLAGS)) -std=gnu11 -Icrashsim $(CS_INSTRUMENT) $(CS_PMPT) -c -o $@ $<

$(CS_VFS_OBJ) $(CS_DIR)/seen/crashsim/workloads/sqlite.o: CFLAGS += -DSQLITE_CORE -Iexamples/sqlite-vfs
$(CS_VFS_OBJ): CFLAGS += -Dpmpt_open=sqlite_pool_open -Dpmpt_close=sqlite_pool_close -Dpthread_atfork=sqlite_atfork

$(BUILD)/libcrashsim.a: $(CS_OBJ)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/crashsim: $(CS_DIR)/crashsim/pmpt.o $(BUILD)/libcrashsim.a $(CS_LOAD_OBJ) $(CS_LIB_OBJ) $(BUILD)/jemalloc.o
	$(CC) $(LDFLAGS) $(CS_WRAP) -o $@ $(CS_DIR)/crashsim/pmpt.o $(CS_LOAD_OBJ) $(CS_LIB_OBJ) $(BUILD)/libcrashsim.a $(BUILD)/jemalloc.o $(LDLIBS) -lsqlite3 -ldl -lm

# The model alone, for the test that compares its images with those of tests/crash/enumerate.c.
$(BUILD)/test/crash/test_against_crashsim: $(patsubst %,$(CS_DIR)/crashsim/%.o,model ties ahead trace)

# ---- for users' programs: crashsim-cc and what it needs.  Only names that a program may know stay visible in the library.
CS_LIBS	  := -lpthread -ldl -lm
CS_VISIBLE := crashsim_* __wrap_* __tsan_* pmem_* pthread_* sem_* main mmap mmap64 munmap msync fsync fdatasync open open64 openat openat64 creat \
	fork vfork posix_spawn posix_spawnp system popen daemon execve execv execvp execl execlp _exit _Exit \
	sched_yield usleep sleep nanosleep clock_nanosleep poll flock time getrandom getentropy thrd_* mtx_* cnd_* call_once
CS_SEEN	  := $(wildcard crashsim/seen/*.h)
CS_USER	  := $(CS_DIR)/libcrashsim.a $(CS_DIR)/include/crashsim.h $(BUILD)/crashsim-cc $(BUILD)/crashsim-c++
# $(call cs_cc,PREFIX,LIBDIR): the script for that place
cs_cc = sed -e 's|@PREFIX@|$(1)|g; s|@LIBDIR@|$(2)|g; s|@LIBS@|$(CS_LIBS)|g' crashsim/crashsim-cc.in

$(CS_DIR)/libcrashsim.a: $(CS_DIR)/crashsim/main.o $(CS_OBJ) crashsim/crashsim.mk
	ld -r -o $(CS_DIR)/crashsim.o $(CS_DIR)/crashsim/main.o $(CS_OBJ)
	objcopy --wildcard $(foreach s,$(CS_VISIBLE),--keep-global-symbol='$(s)') $(CS_DIR)/crashsim.o
	rm -f $@ && ar rcs $@ $(CS_DIR)/crashsim.o

$(CS_DIR)/include/crashsim.h: crashsim/crashsim.h $(CS_SEEN)
	@mkdir -p $(@D)/crashsim
	cp $(CS_SEEN) $(@D)/crashsim/
	cp crashsim/crashsim.h $@

$(BUILD)/crashsim-cc: crashsim/crashsim-cc.in crashsim/crashsim.mk $(CS_DIR)/libcrashsim.a $(CS_DIR)/include/crashsim.h
	$(call cs_cc,$(PREFIX),$(LIBDIR)) > $@ && chmod +x $@
$(BUILD)/crashsim-c++: $(BUILD)/crashsim-cc
	ln -sf crashsim-cc $@

.PHONY: install-crashsim uninstall-crashsim
all: $(BUILD)/crashsim $(CS_USER)
install: install-crashsim
uninstall: uninstall-crashsim

install-crashsim: $(CS_USER) $(BUILD)/crashsim
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/crashsim $(DESTDIR)$(LIBDIR)
	install -m 755 $(BUILD)/crashsim $(DESTDIR)$(PREFIX)/bin/
	$(call cs_cc,$(PREFIX),$(LIBDIR)) > $(DESTDIR)$(PREFIX)/bin/crashsim-cc
	chmod 755 $(DESTDIR)$(PREFIX)/bin/crashsim-cc
	ln -sf crashsim-cc $(DESTDIR)$(PREFIX)/bin/crashsim-c++
	install -m 644 crashsim/crashsim.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(CS_SEEN) $(DESTDIR)$(PREFIX)/include/crashsim/
	install -m 644 $(CS_DIR)/libcrashsim.a $(DESTDIR)$(LIBDIR)/

uninstall-crashsim:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,crashsim crashsim-cc crashsim-c++) $(DESTDIR)$(PREFIX)/include/crashsim.h \
		$(addprefix $(DESTDIR)$(PREFIX)/include/crashsim/,$(notdir $(CS_SEEN))) $(DESTDIR)$(LIBDIR)/libcrashsim.a
	-rmdir $(DESTDIR)$(PREFIX)/include/crashsim 2>/dev/null

-include $(CS_OBJ:.o=.d) $(CS_LOAD_OBJ:.o=.d) $(CS_LIB_OBJ:.o=.d)
