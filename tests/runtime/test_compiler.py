"""Finding and running the compiler: every way to fail is a CompileError that helps, and leaves no process behind."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from exprc.errors import CompileError
from exprc.runtime import cache, compiler, process
from exprc.runtime.compiler import AVX2, AVX512, SCALAR, NoCompiler, compile_shared, find_compiler, flags

TEXT = """
__attribute__((visibility("default"))) int seven(void) { return 7; }
"""
SERIAL = replace(SCALAR, openmp=False)
ANSWERS = 'case "$*" in *--version*) echo "fake gcc 1.0"; exit 0;; esac\n'
REAL = shlex.join(find_compiler().command)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of its own, and an environment that names no compiler."""
    monkeypatch.setenv("EXPRC_CACHE", str(tmp_path / "cache"))
    for name in ("EXPRC_CC", "CC", "EXPRC_CC_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Make a compiler from lines of shell and name it in EXPRC_CC."""

    def make(lines: str, answers: str = ANSWERS) -> Path:
        path = tmp_path / "bin" / "fakecc"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{answers}{lines}\n")
        path.chmod(0o755)
        monkeypatch.setenv("EXPRC_CC", str(path))
        return path

    return make


def failure(build: Path, texts=(TEXT,)) -> str:
    """The message of the CompileError; checked for the command, and for a saved source that holds the text."""
    build.mkdir(mode=0o700)
    with pytest.raises(CompileError) as caught:
        compile_shared(list(texts), SERIAL, build)
    said = str(caught.value)
    rows = dict(line.split(maxsplit=1) for line in said.splitlines()[1:3])
    assert Path(rows["source"]).read_text() in texts
    assert rows["command"].startswith(f"cd {Path(rows['source']).parent} && {os.environ['EXPRC_CC']} -O2 ")
    return said


def alive(file: Path) -> list[int]:
    """The processes of those numbered in the file that still run."""
    return [pid for pid in map(int, file.read_text().split()) if running(pid)]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(file: Path) -> bool:
    """Whether all processes numbered in the file end within a second."""
    end = time.monotonic() + 1
    while alive(file) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(file)


# Finding


def test_the_compiler_is_EXPRC_CC_then_CC_then_the_path(fake, monkeypatch):
    path = fake("")
    assert find_compiler().command == (str(path),)
    monkeypatch.setenv("CC", str(path))
    monkeypatch.setenv("EXPRC_CC", f"{REAL} -Wall '-DA=b c'")
    assert find_compiler().command == (*shlex.split(REAL), "-Wall", "-DA=b c")
    monkeypatch.delenv("EXPRC_CC")
    assert find_compiler().command == (str(path),)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert find_compiler().command == tuple(shlex.split(REAL))


@pytest.mark.parametrize("name", ["cc", "gcc", "clang"])
def test_each_usual_name_is_found_on_the_path(fake, monkeypatch, name):
    path = fake("")
    path.rename(path.parent / name)
    monkeypatch.delenv("EXPRC_CC")
    monkeypatch.setenv("PATH", str(path.parent))
    assert find_compiler().command == (str(path.parent / name),)


def test_arguments_in_EXPRC_CC_reach_the_compiler(folder, monkeypatch):
    monkeypatch.setenv("EXPRC_CC", f"{REAL} -DVALUE=7")
    assert compile_shared([TEXT.replace("7", "VALUE")], SERIAL).is_file()


def test_a_relative_compiler_works_in_any_folder(fake, monkeypatch, tmp_path):
    fake(f'exec {REAL} "$@"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EXPRC_CC", "bin/fakecc")
    assert compile_shared([TEXT], SERIAL).is_file()


def test_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompiler) as caught:
        find_compiler()
    assert isinstance(caught.value, CompileError)
    assert str(caught.value).startswith("no C compiler found: neither EXPRC_CC nor CC names one")
    assert "apt install gcc" in str(caught.value) and "xcode-select" in str(caught.value)


def test_a_compiler_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("EXPRC_CC", "no-such-compiler -O1")
    with pytest.raises(CompileError) as caught:
        find_compiler()
    assert not isinstance(caught.value, NoCompiler)
    assert str(caught.value) == (
        "EXPRC_CC names the compiler 'no-such-compiler -O1', which does not exist\n"
        "  correct EXPRC_CC, or unset it to use cc, gcc or clang"
    )


def test_a_compiler_that_cannot_be_started(fake):
    path = fake("")
    path.write_bytes(b"\x00\x01 no program at all")
    with pytest.raises(CompileError, match="the C compiler cannot be started: Exec format error"):
        find_compiler()


@pytest.mark.parametrize(
    ("lines", "words"),
    [("echo broken >&2; exit 3", ["exit status 3", "broken"]), ("kill -SEGV $$", ["SIGSEGV"]), ("sleep 60", ["0.3 s"])],
)
def test_a_compiler_that_does_not_tell_its_version(fake, monkeypatch, lines, words):
    monkeypatch.setenv("EXPRC_CC_TIMEOUT", "0.3")
    fake(lines, answers="")
    with pytest.raises(CompileError, match="did not tell its version") as caught:
        find_compiler()
    for word in [*words, "fakecc --version"]:
        assert word in str(caught.value)


def test_the_version_is_asked_once_until_the_compiler_changes(fake, tmp_path):
    asked = tmp_path / "asked"
    path = fake("", answers=f"echo x >> {asked}\n{ANSWERS}")
    told = [sys.executable, "-c", "from exprc.runtime.compiler import find_compiler as f; f(); print(f().version)"]
    for _ in range(2):
        assert subprocess.run(told, capture_output=True, text=True, check=True).stdout == "fake gcc 1.0\n"
    assert asked.read_text() == "x\n"
    path.write_text(path.read_text().replace("1.0", "1.10"))
    assert subprocess.run(told, capture_output=True, text=True, check=True).stdout == "fake gcc 1.10\n"
    assert find_compiler().version == "fake gcc 1.10"
    assert asked.read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("cc (Debian 12.2.0-14) 12.2.0\nCopyright (C) 2022 Free Software Foundation, Inc.", "gcc"),
        ("gcc (GCC) 9.4.0", "gcc"),
        ("Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu", "clang"),
        ("Apple clang version 15.0.0", "clang"),
        ("tcc version 0.9.27", "other"),
    ],
)
def test_the_family_of_a_compiler(version, kind):
    assert compiler._kind(version) == kind


# Flags and keys


def test_flags():
    assert flags(AVX2) == (
        *(
            "-O2",
            "-fno-math-errno",
            "-fno-trapping-math",
            "-ffp-contract=fast",
            "-fwrapv",
            "-fvisibility=hidden",
            "-fPIC",
        ),
        *("-fno-tree-loop-distribute-patterns", "-fno-gcse-lm"),
        *("-mavx2", "-mfma", "-mf16c", "-fopenmp"),
    )
    for other in flags(replace(AVX2, compiler="clang")):  # which does not know them
        assert other not in ("-fno-tree-loop-distribute-patterns", "-fno-gcse-lm")
    assert "-mprefer-vector-width=512" in flags(AVX512)
    assert flags(SERIAL)[-1] == "-fopenmp-simd"


@pytest.mark.parametrize("target", [AVX512, AVX2, SCALAR, SERIAL])
def test_no_flag_breaks_nan_or_trusts_the_compiler_with_the_cpu(target):
    told = " ".join(flags(target))
    for word in ("fast-math", "Ofast", "unsafe", "finite", "march", "mtune", "associative", "reciprocal"):
        assert word not in told


def test_the_key_depends_on_everything_that_the_machine_code_depends_on(fake, monkeypatch):
    keys = [
        compiler.key(*told) for told in (((TEXT,), AVX2), ((TEXT, ""), AVX2), ((TEXT + " ",), AVX2), ((TEXT,), AVX512))
    ]
    keys.append(compiler.key((TEXT,), replace(AVX2, openmp=False)))
    fake("")
    keys.append(compiler.key((TEXT,), AVX2))
    fake("", answers=ANSWERS.replace("1.0", "1.1"))
    keys.append(compiler.key((TEXT,), AVX2))
    monkeypatch.setenv("EXPRC_CC", os.environ["EXPRC_CC"] + " -DA")
    keys.append(compiler.key((TEXT,), AVX2))
    assert len(set(keys)) == len(keys)
    assert compiler.key((TEXT,), AVX2) == compiler.key([TEXT], AVX2)


# Compiling


def test_one_text_and_several_texts():
    import cffi

    ffi = cffi.FFI()
    ffi.cdef("int seven(void); int eight(void);")
    assert ffi.dlopen(str(compile_shared([TEXT], SERIAL))).seven() == 7
    eight = TEXT.replace("seven", "eight").replace("{ return 7", "{ extern int seven(void); return seven() + 1")
    assert ffi.dlopen(str(compile_shared([eight, TEXT, "int unused;"], SERIAL))).eight() == 8


def test_texts_are_compiled_side_by_side_but_not_more_than_there_are_cpus(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    log = tmp_path / "log"
    fake(f'case "$*" in *" -c "*) echo + >> {log}; sleep 0.1; echo - >> {log};; esac\nexec {REAL} "$@"')
    compile_shared([f"int a{i};" for i in range(5)], SERIAL)
    marks = [1 if line == "+" else -1 for line in log.read_text().split()]
    at_once = [sum(marks[: i + 1]) for i in range(len(marks))]
    assert len(marks) == 10 and at_once[-1] == 0 and max(at_once) == 2


# Failing


def test_an_error_in_the_text(folder, monkeypatch):
    monkeypatch.setenv("EXPRC_CC", REAL)
    said = failure(folder / "build", ["int broken( {"])
    assert said.startswith("the C compiler failed: exit status 1\n")
    assert "unit0.c:1:" in said and "it said (last " in said


def test_the_command_of_the_message_shows_the_same_error_when_run_by_hand(folder, monkeypatch):
    monkeypatch.setenv("EXPRC_CC", REAL)
    said = failure(folder / "build", [TEXT, "int broken( {"])
    command = next(line.split(maxsplit=1)[1] for line in said.splitlines() if line.strip().startswith("command"))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 1 and done.stderr.splitlines()[0] in said


def test_only_the_last_20_lines_are_shown(folder, fake):
    fake("seq 1 100; echo last words >&2; exit 1")
    said = failure(folder / "build")
    assert said.splitlines()[-21:] == [
        "  it said (last 20 lines):",
        *(f"    {i}" for i in range(82, 101)),
        "    last words",
    ]


def test_a_compiler_that_says_nothing(folder, fake):
    fake("exit 2")
    assert failure(folder / "build").endswith("\n  it said nothing")


def test_a_compiler_that_crashes(folder, fake):
    fake("kill -SEGV $$")
    assert failure(folder / "build").startswith("the C compiler failed: killed by SIGSEGV")


def test_a_compiler_that_hangs_is_killed_with_its_children(folder, fake, monkeypatch):
    monkeypatch.setenv("EXPRC_CC_TIMEOUT", "1")
    fake(f"sleep 300 & echo $$ $! > {folder}/pids; echo working; wait")
    begin = time.monotonic()
    said = failure(folder / "build")
    assert time.monotonic() - begin < 5
    assert said.startswith("the C compiler failed: it did not finish in 1 s (EXPRC_CC_TIMEOUT sets the limit)")
    assert "working" in said
    assert len((folder / "pids").read_text().split()) == 2 and gone(folder / "pids")


def test_a_compiler_that_closes_its_output_and_hangs(folder, fake, monkeypatch):
    monkeypatch.setenv("EXPRC_CC_TIMEOUT", "0.5")
    fake(f"echo $$ > {folder}/pids; exec >&- 2>&-; sleep 300")
    assert "did not finish in 0.5 s" in failure(folder / "build")
    assert gone(folder / "pids")


def test_the_first_failure_stops_the_other_texts(folder, fake, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    wait = f"while ! test -s {folder}/pids; do sleep 0.02; done"
    fake(f'case "$*" in *unit1.c*) {wait}; exit 1;; esac\necho $$ >> {folder}/pids; sleep 300')
    begin = time.monotonic()
    assert "unit1.c" in failure(folder / "build", [TEXT, "int other;"])
    assert time.monotonic() - begin < 10 and gone(folder / "pids")


HANG = "from exprc.runtime.compiler import *; print('ready', flush=True); compile_shared(['int a;'], SCALAR)"


def test_an_interrupt_kills_the_compiler(folder, fake):
    fake(f"sleep 300 & echo $$ $! > {folder}/pids.new; mv {folder}/pids.new {folder}/pids; wait")
    process = subprocess.Popen([sys.executable, "-c", HANG], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not (folder / "pids").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert b"KeyboardInterrupt" in said and gone(folder / "pids")


def test_ten_megabytes_of_output_are_read_and_mostly_forgotten(folder, fake):
    import tracemalloc

    fake("echo first; yes 'a line of sixteen' | head -c 10000000; echo; echo the end; exit 1")
    tracemalloc.start()
    said = failure(folder / "build")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said.endswith("the end") and len(said) < 5000
    assert peak < 4_000_000


def test_both_ends_of_a_long_output_are_kept(folder, fake):
    fake("echo first; yes | head -c 1000000; echo last; exit 1")
    (job,) = process.run([[os.environ["EXPRC_CC"]]], folder, 10)
    assert job.said.startswith("first\n") and job.said.endswith("last\n")
    assert "bytes left out" in job.said and len(job.said) < 140_000


def test_a_line_without_end_is_cut(folder, fake):
    fake("head -c 200000 /dev/zero | tr '\\0' x; exit 1")
    assert len(failure(folder / "build")) < 2000


def test_success_without_a_program(folder, fake):
    fake("exit 0")
    assert failure(folder / "build").startswith("the C compiler failed: it reported success but wrote no program")


@pytest.mark.parametrize("garbage", ["echo garbage >", ": >", "printf '\\177ELF\\1\\1\\1' >"])
def test_a_program_that_cannot_be_loaded(folder, fake, garbage):
    fake(f"{garbage} program.so")
    assert "what it wrote cannot be loaded" in failure(folder / "build").splitlines()[0]


def test_a_missing_header_has_a_hint(folder, fake):
    fake("echo \"fatal error: 'omp.h' file not found\"; exit 1")
    assert "install libgomp (gcc) or libomp-dev (clang)" in failure(folder / "build")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_folder_is_an_OSError_so_that_another_is_tried(folder, fake, number):
    fake(f"echo 'fatal error: error writing to unit0.s: {os.strerror(number)}'; exit 1")
    with pytest.raises(OSError) as caught:
        compile_shared([TEXT], SERIAL)
    assert caught.value.errno == number


def test_a_full_cache_folder_does_not_stop_the_build(folder, fake):
    fake(f'case "$PWD" in {folder}/cache*) echo "No space left on device"; exit 1;; esac\nexec {REAL} "$@"')
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        entry = cache.build("ab", lambda build: compile_shared([TEXT], SERIAL, build))
    assert compiler.load_fault(entry.program) is None


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_limit_that_is_none(monkeypatch, text):
    monkeypatch.setenv("EXPRC_CC_TIMEOUT", text)
    with pytest.raises(ValueError, match="EXPRC_CC_TIMEOUT is '.*', which is not a number of seconds above 0"):
        compile_shared([TEXT], SERIAL)


def test_failed_texts_are_private_and_kept_once(folder, fake):
    fake("exit 1")
    for build in ("one", "two"):
        failure(folder / build)
    (kept,) = (folder / "cache" / "failed").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700 and [p.name for p in kept.iterdir()] == ["unit0.c"]


# OpenMP


def test_openmp_is_tried_once_and_the_verdict_kept(fake, tmp_path):
    log = tmp_path / "log"
    fake(f'echo x >> {log}\nexec {REAL} "$@"')
    code = "from exprc.runtime.compiler import *; print(openmp_works(SCALAR), openmp_works(SCALAR))"
    said = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert [done.stdout for done in said] == ["True True\n"] * 2
    assert log.read_text() == "x\n"


@pytest.mark.parametrize(
    "lines",
    [
        'case "$*" in *-fopenmp\\ *) echo no omp.h; exit 1;; esac',  # does not compile
        'case "$*" in *"-o probe"*) echo "#!/bin/false" > probe; chmod +x probe; exit 0;; esac',  # does not run
        'case "$*" in *"-o probe"*) echo garbage > probe; chmod +x probe; exit 0;; esac',  # is no program
        'case "$*" in *"-o probe"*) exit 0;; esac',  # is not there
    ],
)
def test_without_openmp_there_is_one_notice(fake, lines):
    fake(f'{lines}\nexec {REAL} "$@"')
    compiler._notice_serial.cache_clear()
    compiler._probe.cache_clear()
    with pytest.warns(RuntimeWarning) as said:
        assert [compiler.openmp_works(SCALAR) for _ in range(3)] == [False] * 3
    assert len(said) == 1
    assert "cannot build programs with OpenMP: compiled functions use one thread" in str(said[0].message)
    assert "libomp-dev" in str(said[0].message)
    assert compile_shared([TEXT], SERIAL).is_file()


def test_openmp_that_was_installed_later_is_found(fake, tmp_path):
    fake(f'test -e {tmp_path}/installed || case "$*" in *-fopenmp\\ *) exit 1;; esac\nexec {REAL} "$@"')
    compiler._probe.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not compiler.openmp_works(SCALAR)
    (tmp_path / "installed").touch()
    compiler._probe.cache_clear()  # as a new process
    assert compiler.openmp_works(SCALAR)
