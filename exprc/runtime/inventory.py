"""What the cache folder holds, and clearing it. Only what has the form of an entry is counted or removed: the folder may be a wrong one."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exprc.errors import report
from exprc.runtime import cache

_FILES = re.compile(r"program\.(so|cubin)|meta\.json|unit\d+\.(c|o|cu|cpp)")
KINDS = ("programs", "failed", "blobs")


@dataclass(frozen=True)
class Kept:
    """An entry: which kind, where, how many bytes, when it was used last (seconds since 1970)."""

    kind: str
    path: Path
    size: int
    used: float


@dataclass
class Inventory:
    """folder : that was asked for. fault : why it cannot be used, or "". entries : ours. strangers : paths in it that are not ours."""

    folder: Path
    fault: str = ""
    entries: list[Kept] = field(default_factory=list)
    strangers: list[Path] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(e.size for e in self.entries)

    def of(self, kind: str) -> list[Kept]:
        return [e for e in self.entries if e.kind == kind]


def inventory() -> Inventory:
    """Look at the cache folder without making it, or anything in it.

    >>> inventory().folder.is_absolute()
    True
    """
    made = Inventory(cache._asked())
    made.fault = _fault(made.folder)
    if made.fault or not made.folder.is_dir():
        return made
    for kind, path in _candidates(made.folder):
        if _is_ours(kind, path):
            made.entries.append(Kept(kind, path, cache._size(path), cache._used(path)))
        else:
            made.strangers.append(path)
    return made


def _fault(folder: Path) -> str:
    """Why the folder must not be used, "" where it may or is not there yet."""
    if not folder.is_absolute():
        return "is not an absolute path"
    try:
        if not os.path.lexists(folder):
            return ""
        return cache._leaf_fault(os.lstat(folder)) or cache._ancestor_fault(folder) or ""
    except OSError as error:
        return f"cannot be looked at: {error.strerror or error}"


def _candidates(folder: Path) -> Iterator[tuple[str, Path]]:
    for kind, pattern in (("programs", "programs/*"), ("failed", "failed/*"), ("blobs", "blobs/*/*")):
        for path in sorted(folder.glob(pattern)):
            if not any(p.is_symlink() for p in (path.parent, path.parent.parent)):
                yield kind, path


def _is_ours(kind: str, path: Path) -> bool:
    """Whether a path has the form of what the cache makes: the names, and nothing else inside."""
    try:
        mode = os.lstat(path).st_mode
        if kind == "blobs":
            return stat.S_ISREG(mode) and cache._NAME.fullmatch(path.name) is not None and cache.has_digest(path)
        if not stat.S_ISDIR(mode) or not cache._KEY.fullmatch(path.name):
            return False
        with os.scandir(path) as files:
            return all([_FILES.fullmatch(f.name) is not None and f.is_file(follow_symlinks=False) for f in files])
    except OSError:
        return False


def clear(older_than: float = 0.0) -> Inventory:
    """Remove the entries that were not used for `older_than` days; return what was removed.

    A process that uses a program keeps it: its file goes away when the process ends. Builds that are under way are left alone.

    Raises
    ------
    PermissionError
        where the folder is not one that exprc would use: a link, someone else's, or one that others can write.
    """
    found = inventory()
    if found.fault:
        fix = "nothing was removed; name the folder that you mean in EXPRC_CACHE"
        raise PermissionError(report(f"the cache folder {found.folder} {found.fault}", fix=fix))
    last = time.time() - older_than * 86400
    gone = [e for e in found.entries if e.used <= last and _removed(e.path)]
    return Inventory(found.folder, "", gone, found.strangers)


def _removed(path: Path) -> bool:
    lock = path.parent.parent / "locks" / path.name
    cache._remove(path)
    if lock.is_file() and not lock.is_symlink():
        cache._remove_lock(lock)
    return not os.path.lexists(path)
