#!/bin/sh
# SQLite's VFS in the programs that it is for: the sqlite3 shell and Python load it, LD_PRELOAD brings it into both unchanged; the README's first
# screen does what it shows.
set -u
BUILD=$(realpath "${BUILD:-build}")
dir=$(mktemp -d /dev/shm/pmpt-sqlite.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$dir"' EXIT
pool=$dir/pool
export PMPT_POOL_SIZE=64M
unset PMPT_POOL
failed=0
python=/usr/bin/python3 # Debian's: others may be built without extensions
ext=$BUILD/pmpt_vfs

# expect CODE PATTERN COMMAND...: the exit code, and a line of its output or errors
expect() {
	want=$1 pattern=$2
	shift 2
	timeout 60 "$@" > "$dir/out" 2>&1 < /dev/null
	got=$?
	if [ $got != "$want" ]; then
		echo "exit $got, expected $want: $*"
	elif [ -n "$pattern" ] && ! grep -qE -e "$pattern" "$dir/out"; then
		echo "no line like '$pattern': $*"
	else
		return
	fi
	cat "$dir/out"
	failed=$((failed + 1))
}
with() { LD_PRELOAD=$ext.so PMPT_POOL=$pool "$@"; }
# for timeout, which runs programs
cat > "$dir/shell" <<END
#!/bin/sh
exec sqlite3 -bail :memory: ".load $ext" "\$@"
END
cat > "$dir/with" <<END
#!/bin/sh
LD_PRELOAD=$ext.so PMPT_POOL=$pool exec "\$@"
END
chmod +x "$dir/shell" "$dir/with"

# ---- nothing but its entry points is seen
nm -D --defined-only "$ext.so" | awk '{ print $3 }' | sort > "$dir/symbols"
printf 'sqlite3_os_init\nsqlite3_pmptvfs_init\n' | diff -u - "$dir/symbols" || failed=$((failed + 1))

# ---- the shell
expect 0 '^1\|hello$' "$dir/shell" ".open file:first?vfs=pmpt&pool=$pool" "CREATE TABLE t(a INTEGER PRIMARY KEY, b)" \
	"INSERT INTO t(b) VALUES ('hello')" "SELECT * FROM t"
expect 0 '^1$' env PMPT_POOL="$pool" "$dir/shell" ".open file:first?vfs=pmpt" "SELECT count(*) FROM t"
expect 0 '^delete$' "$dir/shell" ".open file:first?vfs=pmpt&pool=$pool" "PRAGMA journal_mode=WAL"
expect 0 '^"?pmpt"?$' "$dir/shell" ".open file:first?vfs=pmpt&pool=$pool" ".vfsname main"
expect 0 'no pool: give pool=PATH' "$dir/shell" ".open file:first?vfs=pmpt" "SELECT 1"
# twice, and a copy of it
cp "$ext.so" "$dir/copy_vfs.so"
expect 0 '^2\|2$' "$dir/shell" ".load $ext" ".load $dir/copy_vfs sqlite3_pmptvfs_init" ".open file:first?vfs=pmpt&pool=$pool" \
	"INSERT INTO t(b) VALUES (2)" "SELECT * FROM t" "SELECT pmpt_stat()"
# no file of the database's name is made
[ -z "$(find . "$dir" -maxdepth 1 -name 'first*')" ] || { echo "a file of the name of the database"; failed=$((failed + 1)); }

# ---- Python
cat > "$dir/python.py" <<END
import sqlite3, sys, threading
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension("$ext")
db = sqlite3.connect("file:first?vfs=pmpt&pool=$pool", uri=True, check_same_thread=False, timeout=30)
with db:
    db.executemany("INSERT INTO t(b) VALUES (?)", [(i,) for i in range(100)])
try:
    with db:
        db.execute("DELETE FROM t")
        raise KeyError
except KeyError:
    pass
def more(n):
    own = sqlite3.connect("file:first?vfs=pmpt&pool=$pool", uri=True, timeout=30, isolation_level="IMMEDIATE")
    for i in range(20):
        with own:
            own.execute("INSERT INTO t(b) VALUES (?)", (n * 1000 + i,))
    own.close()
threads = [threading.Thread(target=more, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
copy = sqlite3.connect("file:copy?vfs=pmpt&pool=$pool", uri=True)
db.backup(copy)
print("rows", db.execute("SELECT count(*) FROM t").fetchone()[0], copy.execute("SELECT count(*) FROM t").fetchone()[0])
print(copy.execute("PRAGMA integrity_check").fetchone()[0])
END
expect 0 '^rows 182 182$' $python "$dir/python.py"

# ---- programs that know nothing of it
expect 0 '^182$' "$dir/with" sqlite3 first "SELECT count(*) FROM t"
expect 0 '^file:182$' "$dir/with" $python -c 'import sqlite3; print("file:%d" % sqlite3.connect("first").execute("SELECT count(*) FROM t").fetchone())'
expect 0 'snapshot-of-them' "$dir/with" sqlite3 first "SELECT pmpt_snapshot('snapshot-of-them')"
expect 0 '^182$' "$dir/with" sqlite3 first "DELETE FROM t" "ATTACH 'file:first?snapshot=snapshot-of-them' AS s" "SELECT count(*) FROM s.t"
expect 1 'no pool: give pool=PATH' env LD_PRELOAD="$ext.so" sqlite3 first "SELECT 1"
expect 0 '^hello$' "$dir/with" echo hello # not even SQLite
expect 0 '^1$' "$dir/with" sqlite3 -vfs unix "$dir/ordinary" "SELECT 1"
[ -z "$(find . "$dir" -maxdepth 1 -name 'first*')" ] || { echo "a file of the name of the database"; failed=$((failed + 1)); }

# ---- a program that forks, and whose child ends as programs do
cat > "$dir/fork.py" <<END
import os, sqlite3, sys
db = sqlite3.connect("forks")
db.execute("CREATE TABLE t(a)")
pid = os.fork()
if pid == 0:
    for connection in (lambda: db, lambda: sqlite3.connect("forks")):
        try:
            connection().execute("INSERT INTO t VALUES (0)")
        except sqlite3.OperationalError as e:
            print("child:", e, flush=True)
    sys.exit(3)
print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
with db:
    db.execute("INSERT INTO t VALUES (1)")
print("rows", db.execute("SELECT * FROM t").fetchall(), db.execute("PRAGMA integrity_check").fetchone()[0])
END
expect 0 "^rows \\[\\(1,\\)\\] ok$" "$dir/with" $python "$dir/fork.py"
for line in 'child: disk I/O error' 'child: database is locked' 'status 3'; do
	grep -qx "$line" "$dir/out" || { echo "no line '$line'"; cat "$dir/out"; failed=$((failed + 1)); }
done
expect 0 '^1$' "$dir/with" sqlite3 forks "SELECT count(*) FROM t"

# ---- a second process
mkfifo "$dir/in"
with sqlite3 first < "$dir/in" > "$dir/holder" 2>&1 &
exec 3> "$dir/in"
echo "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES ('held'); SELECT 'ready';" >&3
for _ in $(seq 200); do grep -q ready "$dir/holder" && break; sleep 0.05; done
expect 1 'pool in use by another process' "$dir/with" sqlite3 first "SELECT 1"
grep -q 'database is locked' "$dir/out" || { echo "not locked"; cat "$dir/out"; failed=$((failed + 1)); }
echo "COMMIT;" >&3
exec 3>&-
wait
expect 0 '^1$' "$dir/with" sqlite3 first "SELECT count(*) FROM t"
expect 0 '' "$BUILD/pmpt" space rm "$pool" first@snapshot-of-them
expect 1 "no such space" "$dir/with" sqlite3 "file:first?snapshot=snapshot-of-them" "SELECT 1"
expect 0 ': clean$' "$BUILD/pmpt" check "$pool"

# ---- the first screen of the README
sed -n '/^    \$ /s/^    \$ //p' examples/sqlite-vfs/README.md | sed "s|/dev/shm/my.pool|$dir/my.pool|g; s|build/|$BUILD/|g" > "$dir/readme.sh"
sed -n '/^```/,/^```$/d; /^    [^$]/s/^    //p' examples/sqlite-vfs/README.md > "$dir/shown"
timeout 60 sh "$dir/readme.sh" > "$dir/said" 2>&1 || { echo "the README's commands fail"; failed=$((failed + 1)); }
diff -u "$dir/shown" "$dir/said" || { echo "the README shows (-), the program says (+)"; failed=$((failed + 1)); }
sed -n '/^```python/,/^```$/p' examples/sqlite-vfs/README.md | grep -v '^```' | sed "s|/dev/shm/my.pool|$dir/my.pool|g; s|build/|$BUILD/|g" > "$dir/readme.py"
expect 0 "^\\[\\('ink', 5\\)\\]$" $python "$dir/readme.py"

[ $failed = 0 ] || { echo "$failed failed"; exit 1; }
