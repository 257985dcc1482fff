"""``python -m exprc``: looking at an installation of exprc and at its cache."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import exprc
from exprc import doctor
from exprc.errors import bytes_text
from exprc.runtime import inventory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 where all is well, 1 where something is not, 2 for a wrong command line."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.command is None:
        parser.print_help()
        return 2
    try:
        status = int(asked.run(asked))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m exprc", description="exprc: expressions compiled to C.")
    parser.add_argument("--version", action="version", version=f"exprc {exprc.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands")
    examine = commands.add_parser("doctor", help="look for a compiler, OpenMP, a cache ..., and tell how to mend what is missing")
    examine.add_argument("--json", action="store_true", help="print JSON")
    examine.set_defaults(run=_doctor)
    cache = commands.add_parser("cache", help="look at the folder of compiled programs, or clear it")
    actions = cache.add_subparsers(dest="action", metavar="action", title="actions", required=True)
    info = actions.add_parser("info", help="where it is, how big, what it holds")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)
    clear = actions.add_parser("clear", help="remove compiled programs; they are built again when they are needed")
    clear.add_argument("--older-than", type=_days, default=0.0, metavar="DAYS", help="only what was not used for this many days")
    clear.set_defaults(run=_clear)
    return parser


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return days


def _doctor(asked: argparse.Namespace) -> int:
    found = doctor.examine()
    print(json.dumps(doctor.as_data(found), indent=2) if asked.json else doctor.report_text(found))
    return 0 if doctor.healthy(found) else 1


def _info(asked: argparse.Namespace) -> int:
    held = inventory.inventory()
    if asked.json:
        print(json.dumps(_info_data(held), indent=2))
        return 1 if held.fault else 0
    print(f"folder    {held.folder}")
    if held.fault:
        print(f"          it {held.fault}; exprc does not use it")
        return 1
    for kind in inventory.KINDS:
        entries = held.of(kind)
        print(f"{kind:<9} {len(entries):>6}  {bytes_text(sum(e.size for e in entries)):>10}")
    print(f"{'all':<9} {len(held.entries):>6}  {bytes_text(held.size):>10}")
    if held.entries:
        print(f"last used {_age(max(e.used for e in held.entries))} ago, the oldest {_age(min(e.used for e in held.entries))} ago")
    return 0


def _info_data(held: inventory.Inventory) -> dict[str, Any]:
    kinds = {kind: {"entries": len(held.of(kind)), "bytes": sum(e.size for e in held.of(kind))} for kind in inventory.KINDS}
    return {"folder": str(held.folder), "fault": held.fault, "bytes": held.size, **kinds}


def _age(used: float) -> str:
    """
    >>> _age(time.time() - 7300)
    '2 hours'
    """
    seconds = max(0.0, time.time() - used)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' * (count > 1)}"
    return "less than a minute"


def _clear(asked: argparse.Namespace) -> int:
    try:
        gone = inventory.clear(asked.older_than)
    except PermissionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"removed {len(gone.entries)} entries, {bytes_text(gone.size)}, from {gone.folder}")
    for path in gone.strangers[:20]:
        print(f"left alone, it is not ours: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
