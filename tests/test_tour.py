"""docs/tour.py is true: all of its claims are asserts, and it runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

TOUR = Path(__file__).parent.parent / "docs" / "tour.py"


def test_the_tour_runs_to_its_end(capsys):
    runpy.run_path(str(TOUR), run_name="__main__")
    printed = capsys.readouterr().out
    titles = re.findall(r'^show\("([^"]+)"', TOUR.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(titles) > 10
    assert [title for title in titles if f"── {title} ─" not in printed] == []


def test_every_station_of_the_tour_claims_something():
    stations = re.split(r"^# ── \d+\. ", TOUR.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(stations) == 10
    assert [s.splitlines()[0] for s in stations if not re.search(r"^ *assert ", s, re.MULTILINE)] == []


def test_the_tour_is_short_enough_to_be_read():
    assert len(TOUR.read_text(encoding="utf-8").splitlines()) <= 250
