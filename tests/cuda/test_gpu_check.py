"""The command that looks at a machine with a GPU, tried on the emulator and on nothing."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import gpu_check
from exprc.errors import DeviceError
from exprc.runtime import devices


def test_a_machine_without_a_gpu_is_told_so(monkeypatch, capsys, tmp_path):
    def fail(name):
        raise DeviceError("no NVIDIA driver found\n  install it")

    monkeypatch.setattr(devices, "open_device", fail)
    assert gpu_check.main(["--report", str(tmp_path / "report")]) == 2
    assert capsys.readouterr().err == "There is nothing to check here: no NVIDIA driver found\n  install it\n"
    assert not (tmp_path / "report").exists()


@pytest.mark.emulator
def test_what_it_finds_is_printed_and_kept(monkeypatch, capsys, tmp_path):
    python = sys.executable
    checks = [
        gpu_check.python("smoke", 60),
        gpu_check.Check("wrong", (python, "-c", "print('= a number 3'); raise SystemExit(4)"), 60),
        gpu_check.Check("endless", (python, "-c", "import time; time.sleep(60)"), 1),
        gpu_check.Check("rare", ("no-such-program",), 60, "no-such-program"),
    ]
    monkeypatch.setattr(gpu_check, "PARTS", {1: checks})
    assert gpu_check.main(["--report", str(tmp_path), "--device", "cuda-emulator"]) == 1
    printed = capsys.readouterr().out
    told = json.loads((tmp_path / "report.json").read_text())["part 1"]
    assert [r["status"] for r in told] == ["ok", "FAILED (exit status 4)", "out of time (1 s)", "left out: there is no no-such-program"]
    assert told[0]["numbers"]["compile and load, ms"] > 0 and told[1]["numbers"] == {"a number": 3.0}
    assert (tmp_path / "part1.txt").read_text() in printed and "== part 1, 4 of 4: rare" in printed
