"""Cache folders on bad ground, from the outside: a whole process that makes and calls a function, and what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from exprc.runtime import cache

ROOT = Path(__file__).parents[2]
ROOTED = os.geteuid() == 0

PROGRAM = """
import warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import exprc, exprc.tensor as T
    x = T.vector("x", shape=(3,))
    BEFORE
    for factor in (2, 3):
        f = exprc.function([x], x * factor)
        assert f.mode == "compiled" and f([1, 2, 3]).tolist() == [factor, 2 * factor, 3 * factor]
for warning in said:
    print(warning.category.__name__, str(warning.message))
"""


@pytest.fixture
def place():
    """A folder that any user may enter, as a home is, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="exprc-place-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


#: Another user may not be able to read Python's own files, so all that is imported late is imported before.
BECOME = """
    import os, tempfile
    asked = os.environ.pop("EXPRC_CACHE", None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPRC_CACHE"] = folder
        exprc.function([x], x - 1)([1, 2, 3])
    del os.environ["EXPRC_CACHE"]
    if asked is not None:
        os.environ["EXPRC_CACHE"] = asked
    os.setgroups([]); os.setgid({user}); os.setuid({user})
"""


def run(program: str = PROGRAM, before: str = "", user: int | None = None, **environment: str | None) -> list[str]:
    """Make and call two functions in a process of their own; the lines of its warnings."""
    kept = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    kept.update({k: v for k, v in environment.items() if v is not None})
    kept = {k: v for k, v in kept.items() if environment.get(k, v) is not None and k not in ("EXPRC_CC", "CC")}
    become = BECOME.format(user=user) if user is not None else ""
    text = program.replace("BEFORE", become + before)
    done = subprocess.run([sys.executable, "-c", text], env=kept, capture_output=True, text=True, timeout=120, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def warned_once(said: list[str], *words: str) -> None:
    """There was one warning, with these words in its first line."""
    assert [line.split()[0] for line in said if not line.startswith(" ")] == ["RuntimeWarning"], said
    for word in words:
        assert word in said[0], said


@contextmanager
def mounted(folder: Path, options: str):
    """A file system of its own at `folder`."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a file system can be mounted by root alone, and not in every container")
    try:
        folder.chmod(0o700)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_folder_of_ones_own_is_used_in_silence(place):
    assert run(EXPRC_CACHE=str(place / "cache")) == []
    assert len(list((place / "cache" / "programs").iterdir())) == 2


def test_a_disk_that_is_full(place):
    with mounted(place / "disk", "size=16k") as disk:
        warned_once(run(EXPRC_CACHE=str(disk)), f"the cache folder {disk} cannot be used: No space left on device")


@pytest.mark.long
def test_a_disk_that_fills_up_while_compiling(place):
    with mounted(place / "disk", "size=300k") as disk:
        (disk / "mine").write_bytes(bytes(200_000))
        warned_once(run(EXPRC_CACHE=str(disk)), f"the cache folder {disk} cannot be used: No space left on device")


def test_a_disk_where_nothing_may_be_run(place):
    with mounted(place / "disk", "noexec") as disk:
        warned_once(run(EXPRC_CACHE=str(disk)), f"the cache folder {disk} cannot be used: ")


@pytest.mark.long
def test_a_disk_that_can_only_be_read_is_read(place):
    with mounted(place / "disk", "mode=700") as disk:
        assert run(EXPRC_CACHE=str(disk)) == []
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert run(EXPRC_CACHE=str(disk)) == [], "what is there serves, and nothing needs to be written"
        other = PROGRAM.replace("(2, 3)", "(4, 5)")
        warned_once(run(other, EXPRC_CACHE=str(disk)), f"the cache folder {disk} cannot be used: Read-only file system")


@pytest.mark.skipif(not ROOTED, reason="only root can become another user")
@pytest.mark.skipif(not os.stat(tempfile.gettempdir()).st_mode & 0o002, reason="TMPDIR is a folder that another user cannot write")
class TestAnotherUser:
    NOBODY = 54321  # a user without a name and a home

    def test_without_home(self, place):
        warned_once(run(user=self.NOBODY, HOME=None, XDG_CACHE_HOME=None, EXPRC_CACHE=None), "is not an absolute path")

    @pytest.mark.long
    def test_with_a_home_that_cannot_be_written(self, place):
        said = run(user=self.NOBODY, HOME=str(place), XDG_CACHE_HOME=None, EXPRC_CACHE=None)
        warned_once(said, f"the cache folder {place}/.cache/exprc cannot be made: Permission denied")

    def test_with_the_folder_of_someone_else(self, place):
        (place / "cache").mkdir()
        warned_once(run(user=self.NOBODY, EXPRC_CACHE=str(place / "cache")), f"belongs to user 0, not to user {self.NOBODY}")

    @pytest.mark.long
    def test_with_a_folder_that_became_read_only(self, place):
        folder = place / "cache"
        folder.mkdir(mode=0o700)
        os.chown(folder, self.NOBODY, self.NOBODY)
        assert run(user=self.NOBODY, EXPRC_CACHE=str(folder)) == []
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o500 if path.is_dir() else 0o400)
        assert run(user=self.NOBODY, EXPRC_CACHE=str(folder)) == []
        other = PROGRAM.replace("(2, 3)", "(4, 5)")
        warned_once(run(other, user=self.NOBODY, EXPRC_CACHE=str(folder)), "cannot be used: Permission denied")

    @pytest.mark.long
    @pytest.mark.parametrize("name", ["program.so", "meta.json", "."])
    def test_with_an_entry_that_cannot_be_read(self, place, name):
        folder = place / "cache"
        folder.mkdir(mode=0o700)
        os.chown(folder, self.NOBODY, self.NOBODY)
        assert run(user=self.NOBODY, EXPRC_CACHE=str(folder)) == []
        entries = list((folder / "programs").iterdir())
        for entry in entries:
            (entry / name).chmod(0)
        assert run(user=self.NOBODY, EXPRC_CACHE=str(folder)) == [], "built again, in silence"
        assert all((entry / "program.so").stat().st_mode & 0o400 for entry in entries)


@pytest.mark.parametrize("limit", [2_000, pytest.param(12_000, marks=pytest.mark.long)])
def test_a_process_that_may_write_short_files_only(place, limit):
    """The compiler cannot write its program, nor can another folder help; that is said, with what would."""
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    with pytest.raises(AssertionError) as error:
        run(before=before, EXPRC_CACHE=str(place / "cache"))
    said = str(error.value)
    assert "CompileError" in said or "OSError" in said, said
    assert "the process may not write files this big: raise ulimit -f" in said or "File too large" in said, said
    assert not list((place / "cache" / "build").iterdir())
    programs = place / "cache" / "programs"
    assert not programs.exists() or not list(programs.iterdir())


def test_a_folder_of_the_users_own_keeps_what_is_theirs(tmp_path, monkeypatch):
    """A user may name a folder that holds more than the cache: whatever is old, or too much, only what exprc made goes."""
    mine = tmp_path / "mine"
    theirs = [mine / "build" / "house", mine / "programs" / "notes.txt", mine / "locks" / "front_door", mine / "blobs" / "art" / "a"]
    for path in theirs:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text("theirs")
        os.utime(path, (0, 0))
    ours = mine / "build" / "exprc-1234"
    ours.mkdir()
    os.utime(ours, (0, 0))
    monkeypatch.setattr(cache, "_limit", lambda: 0)
    cache.tidy(mine)
    assert [path.read_text() for path in theirs] == ["theirs"] * 4
    assert not ours.exists()
