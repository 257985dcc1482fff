"""``python -m exprc``: its commands, and that clearing the cache removes nothing that is not ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import exprc
from exprc.__main__ import main
from exprc.runtime import cache, inventory

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(count: int = 3) -> list[Path]:
    """Programs, a blob and a failed text, as a process leaves them."""

    def write(build: Path) -> None:
        (build / "program.so").write_bytes(b"x" * 1000)
        (build / "unit0.c").write_text("int x;")

    made = [cache.build(f"{k:064x}", write).folder for k in range(count)]
    cache.put_blob("compiler", "a1", b"gcc")
    return [*made, cache.keep_failure("f" * 64, {"unit0.c": "int"})]


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


# -- the command line


def test_the_version_is_that_of_the_project(capsys):
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"exprc {version}\n" and exprc.__version__ == version


def test_help_names_the_commands(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert "doctor" in shown and "cache" in shown and "python -m exprc" in shown


@pytest.mark.parametrize("line", ["cach", "cache", "cache clear --older-than -1", "cache clear --older-than x", "doctor --xml"])
def test_a_wrong_command_line_is_told(line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2 and "usage:" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.Popen([sys.executable, "-m", "exprc", "cache", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 1) and b"Traceback" not in error


# -- cache info


def test_info_of_a_cache_that_is_not_there_makes_none(folder, capsys):
    assert main(["cache", "info"]) == 0
    assert str(folder) in capsys.readouterr().out and not folder.exists()


def test_info_tells_what_the_cache_holds(folder, capsys):
    fill()
    assert main(["cache", "info"]) == 0
    shown = capsys.readouterr().out
    for row in (r"^programs +3 +\d\.\d KiB$", r"^failed +1 ", r"^blobs +1 "):
        assert re.search(row, shown, re.M), row
    assert "last used less than a minute ago" in shown
    assert main(["cache", "info", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["programs"]["entries"] == 3 and told["programs"]["bytes"] > 3000 and told["folder"] == str(folder)


def test_info_of_a_folder_that_is_not_used(folder, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert main(["cache", "info"]) == 1 and "is a symbolic link; exprc does not use it" in capsys.readouterr().out


# -- cache clear


def test_clear_removes_every_entry_and_the_cache_still_works(folder, capsys):
    fill()
    assert main(["cache", "clear"]) == 0
    assert re.match(r"removed 5 entries, \d\.\d KiB, from ", capsys.readouterr().out)
    assert files(folder) <= {"locks/" + name for name in os.listdir(folder / "locks")} and inventory.inventory().entries == []
    assert len(fill(1)) == 2 and len(inventory.inventory().of("programs")) == 1


def test_clear_of_nothing(folder, capsys):
    assert main(["cache", "clear"]) == 0 and "removed 0 entries, 0 B" in capsys.readouterr().out and not folder.exists()


def test_only_what_is_old_is_removed(folder, capsys):
    old, *_ = fill()
    long_ago = time.time() - 10 * 86400
    os.utime(old, (long_ago, long_ago))
    assert main(["cache", "clear", "--older-than", "5"]) == 0
    assert "removed 1 entries" in capsys.readouterr().out and not old.exists() and len(inventory.inventory().of("programs")) == 2


def test_what_is_not_ours_stays_where_it_is(folder, tmp_path, capsys):
    """The folder may be a wrong one: EXPRC_CACHE=$HOME, with folders of these names in it."""
    program, *_ = fill(1)
    (program / "notes.txt").write_text("mine")
    key = "0" * 63
    mine = ["programs/thesis.tex", "programs/project/main.c", "failed/exams/1.txt", "blobs/photos/p.jpg", "blobs/notes/todo"]
    mine += ["build/out/a.o", f"programs/{key}/x"]
    for name in mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine" * 20)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "program.so").write_text("mine")
    (folder / "programs" / ("a" * 64)).symlink_to(tmp_path / "target")
    assert main(["cache", "clear"]) == 0
    assert set(mine) <= files(folder) and (program / "notes.txt").exists() and (program / "program.so").exists()
    assert (tmp_path / "target" / "program.so").read_text() == "mine" and (folder / "programs" / ("a" * 64)).is_symlink()
    assert "left alone, it is not ours" in capsys.readouterr().out


def test_a_folder_that_exprc_would_not_use_is_not_cleared(folder, tmp_path, monkeypatch, capsys):
    fill()
    before = files(folder)
    folder.chmod(0o777)
    assert main(["cache", "clear"]) == 1
    shown = capsys.readouterr().err
    assert "can be written by others" in shown and "nothing was removed" in shown and files(folder) == before
    folder.chmod(0o700)
    folder.rename(tmp_path / "real")
    folder.symlink_to(tmp_path / "real")
    assert main(["cache", "clear"]) == 1 and files(tmp_path / "real") == before
    monkeypatch.setenv("EXPRC_CACHE", "relative")
    assert main(["cache", "clear"]) == 1


def test_a_program_in_use_goes_on_working(folder):
    """Its file has no name any more, but the process keeps it."""
    import exprc.tensor as T

    x = T.scalar("x")
    f = exprc.function([x], x * 3.25)
    assert float(f(2)) == 6.5
    assert main(["cache", "clear"]) == 0 and float(f(4)) == 13
    assert float(exprc.function([x], x * 3.25)(2)) == 6.5
