"""The cache: damage is a miss, a race builds once, a folder that is not private is not used, no fault stops work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from exprc.runtime import cache

KEY = "ab" * 32


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder."""
    path = tmp_path / "cache"
    monkeypatch.setenv("EXPRC_CACHE", str(path))
    monkeypatch.delenv("EXPRC_CACHE_BYTES", raising=False)
    return path


def write(content: bytes = b"program"):
    return lambda folder: (folder / cache.PROGRAM).write_bytes(content)


def never(folder):
    raise AssertionError("built although the cache had it")


def stand_in_used(folder, words):
    """Build twice: one warning that holds `words`, both results usable, and nothing loaded from `folder`."""
    with pytest.warns(RuntimeWarning) as said:
        first = cache.build(KEY, write())
        second = cache.build(KEY, never)
    assert len(said) == 1, [str(w.message) for w in said]
    for word in (str(folder), *words, "EXPRC_CACHE"):
        assert word in str(said[0].message)
    assert first.program.read_bytes() == b"program" and second.cached
    assert folder not in first.program.parents


# Entries


def test_a_program_is_built_once_and_found_again(folder):
    assert cache.lookup(KEY) is None
    first = cache.build(KEY, write())
    second = cache.build(KEY, never)
    assert (first.cached, second.cached) == (False, True)
    assert cache.lookup(KEY) == second
    assert second.program == folder / "programs" / KEY / "program.so"
    assert second.program.read_bytes() == b"program"


def test_everything_in_the_cache_is_private(folder):
    cache.build(KEY, write())
    cache.put_blob("plans", "a", b"1")
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() or path.parent.name in ("locks", "plans"):
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("file", ["program.so", "meta.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "empty", "link"])
def test_a_damaged_entry_is_built_again(folder, file, damage):
    path = cache.build(KEY, write()).folder / file
    content = path.read_bytes()
    if damage in ("delete", "link"):
        path.unlink()
    if damage == "link":  # even to the right content: nothing that is not a plain file is read
        (folder / "elsewhere").write_bytes(content)
        path.symlink_to(folder / "elsewhere")
    if damage in ("truncate", "flip", "empty"):
        flipped = content[:3] + bytes([content[3] ^ 1]) + content[4:]
        path.write_bytes({"truncate": content[:-2], "flip": flipped, "empty": b""}[damage])
    assert cache.lookup(KEY) is None
    assert not cache.build(KEY, write()).cached
    assert cache.lookup(KEY) is not None


@pytest.mark.parametrize("meta", ['{"format": 2, "sha256": ""}', "[]", "{}", "nonsense", "\udcff"])
def test_a_meta_file_of_another_form_is_a_miss(folder, meta):
    (cache.build(KEY, write()).folder / "meta.json").write_bytes(meta.encode("utf-8", "surrogateescape"))
    assert cache.lookup(KEY) is None


def test_an_entry_that_is_a_file_is_replaced(folder):
    (folder / "programs").mkdir(parents=True, mode=0o700)
    (folder / "programs" / KEY).write_text("in the way")
    assert cache.lookup(KEY) is None
    assert cache.build(KEY, write()).program.read_bytes() == b"program"
    assert list((folder / "build").iterdir()) == []


def test_a_builder_that_fails_leaves_nothing(folder):
    def fail(folder):
        (folder / "half").write_text("x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.build(KEY, fail)
    assert cache.lookup(KEY) is None
    assert list((folder / "build").iterdir()) == []


@pytest.mark.parametrize("key", ["", "../x", "a/b", "A", "a" * 200, ".", "ä"])
def test_a_key_cannot_leave_the_folder(folder, key):
    for use in (cache.lookup, lambda k: cache.build(k, never), lambda k: cache.get_blob("kind", k)):
        with pytest.raises(ValueError, match="cannot name an entry of the cache"):
            use(key)
    with pytest.raises(ValueError, match="cannot name an entry of the cache"):
        cache.put_blob(key, "a", b"")


def test_a_deleted_cache_folder_comes_back(folder):
    cache.build(KEY, write())
    subprocess.run(["rm", "-r", str(folder)], check=True)
    assert cache.lookup(KEY) is None
    assert not cache.build(KEY, write()).cached


# Blobs and files


def test_blobs(folder):
    assert cache.get_blob("plans", "a") is None
    cache.put_blob("plans", "a", b"first")
    cache.put_blob("plans", "a", b"second")
    cache.put_blob("others", "a", b"")
    assert (cache.get_blob("plans", "a"), cache.get_blob("others", "a")) == (b"second", b"")


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"x" + b[41:], lambda b: b[5:]])
def test_a_damaged_blob_is_a_miss(folder, damage):
    cache.put_blob("plans", "a", b"0123456789")
    path = folder / "blobs" / "plans" / "a"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get_blob("plans", "a") is None


def test_atomic_write_keeps_the_old_content_when_writing_fails(tmp_path):
    path = tmp_path / "weights"
    cache.atomic_write(path, b"old")

    def fail(file):
        file.write(b"half of the new")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        cache.atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_atomic_write_replaces_a_link_and_spares_what_it_pointed_to(tmp_path):
    (tmp_path / "target").write_bytes(b"target")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    cache.atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"target"
    assert (tmp_path / "link").read_bytes() == b"new" and not (tmp_path / "link").is_symlink()


WRITE_FOR_EVER = """
import sys
from exprc.runtime.cache import atomic_write
while True:
    for byte in (b"a", b"b"):
        atomic_write(sys.argv[1], byte * 3_000_000, durable=False)
"""


def test_a_file_is_whole_after_its_writer_was_killed(tmp_path):
    path = tmp_path / "weights"
    for wait in (0.0, 0.003, 0.011, 0.017):
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)])
        end = time.monotonic() + 10
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(wait)
        process.kill()
        process.wait()
        content = path.read_bytes()
        assert len(content) == 3_000_000 and len(set(content)) == 1


# Many processes

RACE = """
import os, sys, time, warnings
warnings.simplefilter("error")
from exprc.runtime import cache
def builder(folder):
    with open(os.environ["LOG"], "a") as log:
        log.write("built\\n")
    end = time.monotonic() + float(os.environ["PATIENCE"])
    while open(os.environ["LOG"]).read() != "built\\n" * 2:
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    (folder / cache.PROGRAM).write_bytes(b"program")
print("ready", flush=True)
sys.stdin.readline()
assert cache.build(sys.argv[1], builder).program.read_bytes() == b"program"
"""


def race(keys, log, patience):
    """Start a process a key, let all go at the same moment, wait for them; a builder waits for a second one."""
    told = {**os.environ, "LOG": str(log), "PATIENCE": str(patience)}
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, key], env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for key in keys
    ]
    for racer in racers:
        assert racer.stdout.readline() == b"ready\n"
    for racer in racers:
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    assert [racer.wait(20) for racer in racers] == [0] * len(keys)
    for racer in racers:
        racer.stdin.close()
        racer.stdout.close()


def test_six_processes_build_a_program_once(folder, tmp_path):
    race([KEY] * 6, tmp_path / "log", patience=0.3)
    assert (tmp_path / "log").read_text() == "built\n"


def test_different_programs_do_not_wait_for_each_other(folder, tmp_path):
    begin = time.monotonic()
    race(["ab" * 32, "cd" * 32], tmp_path / "log", patience=10)
    assert (tmp_path / "log").read_text() == "built\n" * 2
    assert time.monotonic() - begin < 10  # else the first waited in vain for the second to begin


def test_a_killed_builder_leaves_no_lock_and_no_entry(folder, tmp_path):
    told = {**os.environ, "LOG": str(tmp_path / "log"), "PATIENCE": "10"}
    builder = subprocess.Popen(
        [sys.executable, "-c", RACE, KEY], env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    builder.stdin.write(b"go\n")
    builder.stdin.flush()
    end = time.monotonic() + 10
    while not (tmp_path / "log").exists() and time.monotonic() < end:
        time.sleep(0.01)
    builder.kill()
    builder.communicate()
    assert len(list((folder / "build").iterdir())) == 1
    assert not cache.build(KEY, write()).cached


# Folders that must not or cannot be used


def test_a_cache_folder_that_is_a_link_is_refused(folder, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "real")
    stand_in_used(folder, ["symbolic link"])


def test_a_dangling_link_is_refused(folder, tmp_path):
    folder.symlink_to(tmp_path / "nowhere")
    stand_in_used(folder, ["symbolic link"])
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_cache_folder_that_others_can_write_is_refused(folder, mode):
    entry = cache.build(KEY, write(b"planted"))
    os.chmod(folder, mode)
    stand_in_used(folder, ["written by others", f"{mode:04o}"])
    assert entry.program.read_bytes() == b"planted"


def test_a_cache_folder_where_anyone_can_exchange_it_is_refused(folder, tmp_path):
    folder.mkdir(mode=0o700)
    os.chmod(tmp_path, 0o777)
    stand_in_used(folder, ["anyone can exchange"])


def test_a_cache_folder_of_someone_else_is_refused(folder, monkeypatch):
    cache.build(KEY, write(b"planted"))
    monkeypatch.setattr(cache, "_user", lambda: os.geteuid() + 1)
    stand_in_used(folder, [f"belongs to user {os.geteuid()}", f"not to user {os.geteuid() + 1}"])


def test_a_file_in_place_of_the_folder(folder):
    folder.write_text("a file")
    stand_in_used(folder, ["is not a folder"])
    assert folder.read_text() == "a file"


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "cache"
    monkeypatch.setenv("EXPRC_CACHE", str(path))
    stand_in_used(path, ["cannot be made", "File exists"])


def test_a_relative_folder_is_refused(monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE", "relative/cache")
    stand_in_used(Path("relative/cache"), ["is not an absolute path"])
    assert not Path("relative").exists()


def test_a_folder_that_cannot_be_written_is_still_read(folder):
    kept = cache.build("cd" * 32, write(b"kept"))
    for name in ("build", "locks"):  # files in place of folders: they stop root too, which permissions do not
        subprocess.run(["rm", "-r", str(folder / name)], check=True)
        (folder / name).write_text("")
    stand_in_used(folder, ["cannot be used"])
    assert cache.lookup("cd" * 32).program == kept.program


def test_a_full_disk_moves_the_build_elsewhere(folder):
    def builder(build):
        if folder in build.parents:
            raise OSError(28, "No space left on device")
        write()(build)

    with pytest.warns(RuntimeWarning, match="No space left on device") as said:
        assert cache.build(KEY, builder).program.read_bytes() == b"program"
        cache.put_blob("plans", "a", b"1")
    assert len(said) == 1
    assert cache.get_blob("plans", "a") == b"1"


def test_when_no_folder_can_hold_it_the_error_comes_through(folder):
    def builder(build):
        raise OSError(28, "No space left on device")

    with pytest.warns(RuntimeWarning), pytest.raises(OSError, match="No space left"):
        cache.build(KEY, builder)


def test_the_private_folder_ends_with_its_process_not_with_a_forked_child(tmp_path):
    text = """if True:
        import os, sys
        from exprc.runtime import cache
        folder = cache.private_folder()
        if os.fork() == 0:
            sys.exit()
        os.wait()
        print(folder, folder.is_dir(), oct(folder.stat().st_mode & 0o777))
    """
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=20, check=True)
    said = done.stdout.split()
    assert said[1:] == ["True", "0o700"]
    assert not Path(said[0]).exists()


# Size


def test_the_entries_used_longest_ago_go_when_the_cache_is_too_big(folder, monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE_BYTES", "3000")
    for i, age in enumerate((300, 200, 100)):
        entry = cache.build(f"{i}" * 64, write(bytes(800)))
        os.utime(entry.folder, (time.time() - age,) * 2)
    assert cache.lookup("0" * 64)  # oldest made, but used just now
    cache.build("3" * 64, write(bytes(800)))
    assert [bool(cache.lookup(f"{i}" * 64)) for i in range(4)] == [True, False, True, True]


def test_an_entry_bigger_than_the_cache_still_serves(folder, monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE_BYTES", "10")
    assert cache.build(KEY, write(bytes(500))).program.exists()


def test_a_size_that_is_no_number_is_told(folder, monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE_BYTES", "2GB")
    with pytest.raises(ValueError, match="EXPRC_CACHE_BYTES is '2GB', which is not a number of bytes"):
        cache.build(KEY, write())


def test_leftovers_older_than_an_hour_are_swept_and_younger_ones_are_not(folder):
    cache.build(KEY, write())
    cache.put_blob("plans", "a", b"1")
    old = [folder / "build" / "exprc-old", folder / "blobs" / "plans" / ".a.1.tmp", folder / "locks" / ("0" * 64)]
    new = [folder / "build" / "exprc-new", folder / "blobs" / "plans" / ".a.2.tmp", folder / "locks" / ("1" * 64)]
    for path in [*old, *new]:
        path.mkdir() if path.parent.name == "build" else path.touch()
    for path in old:
        os.utime(path, (time.time() - 4000,) * 2)
    cache.build("cd" * 32, write())
    assert [path.exists() for path in old] == [False] * 3
    assert [path.exists() for path in new] == [True] * 3


def test_a_lock_that_is_held_is_not_swept(folder):
    def builder(build):
        lock = folder / "locks" / KEY
        os.utime(lock, (time.time() - 4000,) * 2)
        cache.build("cd" * 32, write())
        assert lock.exists()
        write()(build)

    cache.build(KEY, builder)


def test_a_hit_is_quick(folder):
    cache.build(KEY, write(bytes(1_000_000)))
    begin = time.perf_counter()
    for _ in range(10):
        assert cache.lookup(KEY)
    assert (time.perf_counter() - begin) / 10 < 0.03


def test_a_hit_warns_of_nothing(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.build(KEY, write())
        cache.build(KEY, never)
