#!/usr/bin/env python3
"""Run SQLite's own test scripts with the VFS as default: run.py [-j N] [-o] DIR VFS.so [FILE ...]

DIR is what build.sh made.  Each script has a process, a directory and a pool of its own, all of an ordinary user.
The results are compared with differs.txt: a script must give all the answers that it expects, except in the cases
that are listed.  END among them: it stops before its end.
-o: the ordinary VFS instead, to see what of it fails by itself.
"""
import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT = int(os.environ.get("TEST_TIMEOUT", "200"))
LEAST_FILES, LEAST_CASES = 900, 200000  # of a run of everything: fewer is no run
DONE = re.compile(r"^(\d+) errors out of (\d+) tests", re.M)
FAILED = re.compile(r"^!Failures on these tests: (.*)$", re.M)
STARTED = re.compile(r"^(\S+)\.\.\.(?: Ok)?$", re.M)
DIFFERENT = re.compile(r"^! (\S+) expected: |^(\S+)\.\.\.\nError: ", re.M)  # of a script that does not tell in the end


def load_differs():
    """{file: (set of cases, or None: not run, reason)}"""
    differs, reasons, name = {}, set(), None
    for number, line in enumerate((HERE / "differs.txt").read_text().splitlines(), 1):
        where = f"{HERE}/differs.txt:{number}"
        if line.startswith("\t") and name and differs[name][0]:  # more cases
            differs[name][0].update(line.split())
            continue
        if line.startswith("# ") and ":" in line:
            reasons.add(line[2:].split(":")[0])
        if not line.strip() or line.startswith("#"):
            continue
        name, reason, cases = (line.split(None, 2) + [""])[:3]
        if reason not in reasons:
            sys.exit(f"{where}: reason '{reason}', expected one that is told at the top")
        if name in differs or not cases:
            sys.exit(f"{where}: '{line}', expected a file's only line: FILE REASON CASES")
        differs[name] = (None if cases == "-" else set(cases.split()), reason)
    return differs


def stage(directory, vfs, user):
    """What runs is where an ordinary user can reach it."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="pmpt-sqlite-"))
    top.chmod(0o755)
    for what in ("bin", "src/test", "src/ext", "src/tool"):
        shutil.copytree(directory / what, top / what, symlinks=True)
    for what in (vfs, HERE / "shim.tcl", HERE / "list.tcl"):
        shutil.copy(what, top / "bin")
    for path, _, _ in os.walk(top):
        os.chmod(path, 0o755)
    (top / "run").mkdir()
    (top / "pools").mkdir()
    if user:
        os.chown(top / "run", user.pw_uid, user.pw_gid)
        os.chown(top / "pools", user.pw_uid, user.pw_gid)
    return top


class Runner:
    def __init__(self, args, top, user):
        self.args, self.top = args, top
        self.who = {} if not user else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.vfs = top / "bin" / args.vfs.name
        self.pools = top / "pools"
        if os.access("/dev/shm", os.W_OK):
            self.pools = pathlib.Path(tempfile.mkdtemp(prefix="pmpt-sqlite-", dir="/dev/shm"))
            if user:
                os.chown(self.pools, user.pw_uid, user.pw_gid)

    def list(self):
        out = subprocess.run([self.top / "bin/testfixture", self.top / "bin/list.tcl", self.top / "src/test"],
                             cwd=self.top / "run", check=True, capture_output=True, text=True, **self.who).stdout
        return [line for line in out.splitlines() if line.endswith(".test")]

    def run(self, path):
        """-> (name, state, cases, set of failed cases, seconds, log)"""
        name = path.removeprefix(f"{self.top}/src/").removeprefix("test/")
        home = self.top / "run" / name.replace("/", "-")
        pool = self.pools / home.name
        home.mkdir()
        if self.who:
            os.chown(home, self.who["user"], self.who["group"])
        fixture = str(self.top / "bin/testfixture")
        env = dict(os.environ, HOME=str(home), TMPDIR=str(home))
        command = [fixture, path]
        if not self.args.ordinary:
            env.update(LD_PRELOAD=str(self.vfs), PMPT_POOL=str(pool), PMPT_POOL_SIZE="256M")
            command = [fixture, str(self.top / "bin/shim.tcl"), str(self.top / "bin/vfsfile.so"), f"{self.top}/src/test", path]
        begin = time.monotonic()
        with open(home / "log", "w+", errors="replace") as log:
            process = subprocess.Popen(command, cwd=home, env=env, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=subprocess.STDOUT, start_new_session=True, **self.who)
            try:
                code = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                code = None
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what it has started
            except ProcessLookupError:
                pass
            process.wait()
            log.seek(0)
            text = log.read()
        seconds = time.monotonic() - begin
        pool.unlink(missing_ok=True)
        shutil.rmtree(home)
        done, failed = DONE.findall(text), FAILED.findall(text)
        cases = set(failed[-1].split()) if failed else {a or b for a, b in DIFFERENT.findall(text)}
        if code is None:
            return name, f"no end after {TIMEOUT} s", len(STARTED.findall(text)), cases, seconds, text
        if not done and code == 0 and not STARTED.search(text):  # a script that is switched off
            return name, "", 0, cases, seconds, text
        if not done or code < 0:
            return name, f"ended early, with {code}", len(STARTED.findall(text)), cases, seconds, text
        errors, total = map(int, done[-1])
        # the run itself is counted as a case; a difference that no case has: memory or files are left
        if (code != 0) != bool(cases) or errors < len(cases):
            return name, f"ended with {code}, {errors} errors", total - 1, cases, seconds, text
        return name, "", total - 1, cases, seconds, text


def judge(result, differs):
    """-> (what is wrong, or None; what is listed and passes)"""
    name, state, _, failed, _, _ = result
    listed = (differs.get(name) or (None,))[0] or set()
    failed = failed | ({"END"} if state else set())
    new = sorted(case for case in failed if not any(fnmatch.fnmatchcase(case, pattern) for pattern in listed))
    good = sorted(pattern for pattern in listed if not fnmatch.filter(failed, pattern))
    return f"{state} {' '.join(new)}".strip() if new else None, good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-j", type=int, default=os.cpu_count())
    parser.add_argument("-o", "--ordinary", action="store_true")
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("vfs", type=pathlib.Path)
    parser.add_argument("file", nargs="*")
    args = parser.parse_args()
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    differs = {} if args.ordinary else load_differs()
    top = stage(args.dir, args.vfs, user)
    runner = Runner(args, top, user)
    logs = args.dir / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    try:
        paths = runner.list()
        names = {path.removeprefix(f"{top}/src/").removeprefix("test/"): path for path in paths}
        gone = sorted(set(differs) - set(names))
        left_out = sorted(n for n in names if differs.get(n, ("", ""))[0] is None)
        todo = [n for n in names if n not in left_out]
        if args.file:
            todo = [n for n in names if any(n == f or n == f + ".test" for f in args.file)]
        wrong, passes, results = {}, {}, []
        with concurrent.futures.ThreadPoolExecutor(args.j) as pool:
            for result in pool.map(lambda n: runner.run(names[n]), todo):
                results.append(result)
                bad, good = judge(result, differs)
                if good:
                    passes[result[0]] = good
                if bad:
                    wrong[result[0]] = bad
                    print(f"FAILED {result[0]}: {bad}", flush=True)
                if bad or args.file:
                    (logs / result[0].replace("/", "-")).write_text(result[5])
                if len(results) % 100 == 0:
                    print(f"{len(results)} of {len(todo)} files, {len(wrong)} failed", flush=True)
    finally:
        shutil.rmtree(top, ignore_errors=True)
        if runner.pools != top / "pools":
            shutil.rmtree(runner.pools, ignore_errors=True)
    return report(args, names, left_out, gone, results, wrong, passes, differs)


def report(args, names, left_out, gone, results, wrong, passes, differs):
    cases = sum(r[2] for r in results)
    failed = sum(len(r[3]) for r in results)
    nothing = [r[0] for r in results if not r[1] and r[2] == 0]
    whole = [r for r in results if not r[1] and not r[3] and r[2]]
    summary = {
        "sqlite": (args.dir / "bin/version").read_text().strip(), "vfs": "ordinary" if args.ordinary else "pmpt",
        "files_in_suite": len(names), "files_left_out": len(left_out), "files_run": len(results),
        "files_without_cases": len(nothing), "files_all_as_on_files": len(whole),
        "files_with_listed_differences": len(results) - len(whole) - len(nothing) - len(wrong),
        "files_failed": wrong, "cases_run": cases, "cases_passed": cases - failed,
        "seconds": round(sum(r[4] for r in results)),
        "reasons_of_left_out": {n: differs[n][1] for n in left_out},
        "failed_cases": {r[0]: sorted(r[3]) for r in results if r[3]},
    }
    part = "-part" if args.file else "-ordinary" if args.ordinary else ""
    (args.dir / f"result{part}.json").write_text(json.dumps(summary, indent=1) + "\n")
    for name, good in sorted(passes.items()):
        print(f"listed in differs.txt, and passes: {name}: {' '.join(good)}")
    for name in gone:
        print(f"listed in differs.txt, and not in the suite: {name}")
    print(f"SQLite {summary['sqlite']}, VFS {summary['vfs']}: {len(results)} of {len(names)} files run, "
          f"{len(whole)} give all the answers that they expect, "
          f"{summary['files_with_listed_differences']} all but those listed, {len(nothing)} have nothing to test here, "
          f"{len(left_out)} left out, {len(wrong)} failed; "
          f"{cases - failed} of {cases} cases as expected")
    if not args.file and (len(results) < LEAST_FILES or cases < LEAST_CASES):
        print(f"too little was run: expected {LEAST_FILES} files and {LEAST_CASES} cases at least", file=sys.stderr)
        return 1
    if args.file and not results:
        print("no such file in the suite", file=sys.stderr)
        return 1
    return 1 if wrong and not args.ordinary else 0


if __name__ == "__main__":
    sys.exit(main())
