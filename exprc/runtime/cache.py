"""A private folder of finished programs, addressed by their content: the same text, flags, CPU and compiler build once.

::

    <cache>/  programs/<key>/   program.so (program.cubin for a GPU), its text, meta.json with the SHA-256 of the program
              blobs/<kind>/<key>   small results of other stages, each behind its SHA-256
              failed/<key>/     the text of a program that the compiler refused
              locks/<key>       one lock a program
              build/            folders that are being filled; renamed into place when they are whole

The hash finds damage, it is no signature: whoever can write here can run code as the user. So the folder must be the
user's alone; where it is not, or cannot be written, the process works in a folder of its own and says so once.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import platformdirs

from exprc.errors import report

if sys.platform != "win32":
    import fcntl

_Result = TypeVar("_Result")

PROGRAM, CUBIN = "program.so", "program.cubin"
_FORMAT = 1
_LIMIT = 2 * 2**30
_ORPHAN_AGE = 3600.0
_OPEN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_NAME = re.compile(r"[a-z0-9_-]{1,128}")
_KEY = re.compile(r"[0-9a-f]{64}")
_BUILD = "exprc-"  # how the folders begin in which programs are built


# Writing


def atomic_write(
    path: str | os.PathLike[str], content: bytes | Callable[[IO[bytes]], object], durable: bool = True
) -> None:
    """Write a file so that at every instant it holds either its old content or all of the new.

    The content goes to a temporary file in the same folder, is flushed to the disk and renamed over `path`. The file
    can be read and written by its owner only. A symbolic link at `path` is replaced, not followed. What writers that
    were killed have left beside it goes after an hour, with the next durable write.

    Parameters
    ----------
    path : the file; its folder must exist.
    content : the bytes, or a function that writes them to the open binary file it is given.
    durable : also wait until the disk has the content and the new name, so that they outlive a power cut.

    Raises
    ------
    OSError
        Where the file cannot be written; the old content is then untouched, as it is when `content` raises.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "weights.bin"
    ...     atomic_write(file, b"first")
    ...     atomic_write(file, lambda out: out.write(b"second"))
    ...     file.read_bytes()
    b'second'
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder; make it first", str(path.parent))
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    if durable:
        _sync_folder(path.parent)
        _sweep_leftovers(path)


def _sweep_leftovers(path: Path) -> None:
    """Remove temporary files for `path` so old that nobody can be writing them still."""
    oldest = time.time() - _ORPHAN_AGE
    start = f".{path.name[:64]}."
    with suppress(OSError), os.scandir(path.parent) as files:
        for file in files:
            if file.name.startswith(start) and file.name.endswith(".tmp") and _used(Path(file.path)) < oldest:
                _remove(Path(file.path))


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlive a power cut; some file systems cannot, and then the rename is all there is."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | _OPEN)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(path: Path) -> bytes | None:
    """The content of a regular file, or None where there is none; a symbolic link is not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _OPEN)
        with os.fdopen(descriptor, "rb") as file:
            return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None


# The folder


_stand_ins: dict[Path, Path] = {}  # folder that was asked for -> folder of this process alone


def _asked() -> Path:
    """The folder that the user or the platform names; this is the one place that reads ``EXPRC_CACHE``."""
    return Path(os.path.expanduser(os.environ.get("EXPRC_CACHE") or _usual()))  # Path.expanduser raises without a home


def _usual() -> str:
    try:
        return platformdirs.user_cache_dir("exprc", appauthor=False)
    except RuntimeError:  # a user without a home; the name is not absolute, and so is not used
        return "~/.cache/exprc"


def _limit() -> int:
    """How many bytes the cache may hold; this is the one place that reads ``EXPRC_CACHE_BYTES``."""
    text = os.environ.get("EXPRC_CACHE_BYTES") or str(_LIMIT)
    if not text.isdigit():
        what = f"EXPRC_CACHE_BYTES is {text!r}, which is not a number of bytes"
        raise ValueError(report(what, fix="for example 1000000000"))
    return int(text)


def _user() -> int:
    return os.geteuid() if sys.platform != "win32" else 0


def _fault(folder: Path) -> str | None:
    """Make `folder` where it is missing; the reason why it must not be used, or None where it may."""
    if not folder.is_absolute():
        return "is not an absolute path"
    try:
        if not os.path.lexists(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        return _leaf_fault(os.lstat(folder)) or _ancestor_fault(folder)
    except OSError as error:
        return f"cannot be made: {_told(error)}"


def _told(error: OSError) -> str:
    """What the system says, and of which file."""
    what = error.strerror or str(error)
    return f"{what}: {error.filename}" if isinstance(error.filename, str) else what


def _leaf_fault(found: os.stat_result) -> str | None:
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    if sys.platform != "win32" and found.st_uid != _user():
        return f"belongs to user {found.st_uid}, not to user {_user()}"
    if sys.platform != "win32" and found.st_mode & 0o022:
        return f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o}; chmod go-w mends it)"
    return None


def _ancestor_fault(folder: Path) -> str | None:
    """Whoever can write an ancestor can exchange the folder, unless it is sticky, as shared temporary folders are."""
    for ancestor in folder.resolve().parents:
        mode = os.stat(ancestor).st_mode
        if sys.platform != "win32" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"lies in {ancestor}, where anyone can exchange it"
    return None


def _stand_in(asked: Path, reason: str) -> Path:
    """The folder of this process alone that is used instead of `asked`, with one warning."""
    if asked not in _stand_ins:
        _stand_ins[asked] = private_folder()
        fix = "programs are built again in every process; name another folder in EXPRC_CACHE"
        warnings.warn(report(f"the cache folder {asked} {reason}", fix=fix), RuntimeWarning, stacklevel=2)
    return _stand_ins[asked]


def private_folder() -> Path:
    """A new folder that only this user can enter; it goes away when the process that made it ends."""
    folder, maker = Path(tempfile.mkdtemp(prefix="exprc-")), os.getpid()

    def remove() -> None:
        if os.getpid() == maker:  # a forked child leaves its parent's folder alone
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _writable() -> Path:
    asked = _asked()
    if asked in _stand_ins:
        return _stand_ins[asked]
    reason = _fault(asked)
    return asked if reason is None else _stand_in(asked, reason)


def _readable() -> list[Path]:
    """Where to look: a folder that is full or read-only is still good to read, one that is not private is not."""
    asked = _asked()
    trusted = [asked] if _fault(asked) is None else []
    return trusted + [stand_in for place, stand_in in _stand_ins.items() if place == asked]


def attempt(work: Callable[[Path], _Result]) -> _Result:
    """Call ``work(cache folder)``; where the folder is full or read-only, once more in a folder of this process.

    >>> attempt(lambda folder: folder.is_dir())
    True
    """
    folder = _writable()
    try:
        return work(folder)
    except OSError as error:
        if folder in _stand_ins.values():
            raise
        return work(_stand_in(_asked(), f"cannot be used: {_told(error)}"))


def _inside(root: Path, *names: str) -> Path:
    """The folder of these names in the cache; each level is made private, whatever the umask is."""
    folder = root
    for name in ("", *names):
        folder = folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A new folder inside the cache folder `root`, which goes away with what is still in it after the block."""
    folder = Path(tempfile.mkdtemp(prefix=_BUILD, dir=_inside(root, "build")))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settle(folder: Path, final: Path) -> None:
    """Rename a whole folder into place; what stood there (a damaged entry, a file) is moved away first."""
    if os.path.lexists(final):
        with scratch(folder.parent.parent) as grave, suppress(FileNotFoundError):
            if final.is_dir() and not final.is_symlink():
                os.chmod(final, 0o700)  # a folder that its owner may not write cannot be moved
            os.rename(final, grave / "old")
    try:
        os.rename(folder, final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # those say that another process was faster: as good
            raise


# Locks


@contextmanager
def _lock(root: Path, key: str) -> Iterator[None]:
    """Hold the lock of `key` among all threads and processes; it dies with its process, so it is never stale."""
    descriptor = _take(_inside(root, "locks") / key)
    try:
        yield
    finally:
        if sys.platform != "win32":
            with suppress(OSError):
                fcntl.flock(
                    descriptor, fcntl.LOCK_UN
                )  # closing is not enough: a child forked meanwhile shares the lock
        os.close(descriptor)


def _take(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
        try:
            _wait(descriptor)
            if _still_named(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _wait(descriptor: int) -> None:
    """Wait for the lock. On a file system without locks two processes may build the same program, and no harm."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


def _still_named(descriptor: int, path: Path) -> bool:
    """Whether the locked file is still the one at `path`: the sweep may have removed it while we waited."""
    try:
        found, mine = os.lstat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


# Programs


@dataclass(frozen=True)
class Entry:
    """A program in the cache: its folder, whether it was there before the call, and the file in it."""

    key: str
    folder: Path
    cached: bool
    name: str = PROGRAM

    @property
    def program(self) -> Path:
        return self.folder / self.name


def digest(parts: Iterable[str]) -> str:
    """SHA-256 over a sequence of texts, each with its length, so that ("ab", "c") differs from ("a", "bc").

    >>> digest(["ab", "c"]) == digest(["a", "bc"])
    False
    """
    total = hashlib.sha256()
    for part in parts:
        data = part.encode()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def lookup(key: str, name: str = PROGRAM) -> Entry | None:
    """The whole and undamaged entry of `key` with a program called `name`, or None. A broken entry is a miss.

    >>> lookup("0" * 64) is None
    True
    """
    _check_name(key)
    for root in _readable():
        folder = root / "programs" / key
        if _whole(folder, name):
            _touch(folder)
            return Entry(key, folder, True, name)
    return None


def build(key: str, builder: Callable[[Path], object], name: str = PROGRAM) -> Entry:
    """The entry of `key`, built where it is missing; of many processes and threads that ask at once, one builds.

    Parameters
    ----------
    key : lower-case hexadecimal digest of everything that the program depends on.
    builder : is called with a new folder in which it must leave the program; what else it leaves there is kept too.
    name : what the file with the program is called.

    Raises
    ------
    OSError
        Where neither the cache folder nor a temporary folder can hold the program. What `builder` raises passes
        through, except an `OSError`, which means that the folder is unfit: then it is called again with another.
    """
    _check_name(key)
    return attempt(lambda root: _build_in(root, key, builder, name))


def _build_in(root: Path, key: str, builder: Callable[[Path], object], name: str) -> Entry:
    final = _inside(root, "programs") / key
    with _lock(root, key):
        if _whole(final, name):  # another process was faster
            return Entry(key, final, True, name)
        with scratch(root) as folder:
            builder(folder)
            _write_meta(folder, name)
            _settle(folder, final)
    tidy(root, keep=final)
    return Entry(key, final, False, name)


def drop(entry: Entry) -> None:
    """Forget an entry that its reader found unusable."""
    shutil.rmtree(entry.folder, ignore_errors=True)


def keep_failure(key: str, files: dict[str, str]) -> Path:
    """Save the text of a program that did not compile, for a person to read; the folder that holds it."""

    def save(root: Path) -> Path:
        final = _inside(root, "failed") / key
        with scratch(root) as folder:
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8")
            _settle(folder, final)
        return final

    _check_name(key)
    return attempt(save)


def _write_meta(folder: Path, name: str) -> None:
    program = (folder / name).read_bytes()
    meta = {"format": _FORMAT, "sha256": hashlib.sha256(program).hexdigest()}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def _whole(folder: Path, name: str) -> bool:
    meta, program = _read(folder / "meta.json"), _read(folder / name)
    if meta is None or program is None or folder.is_symlink():
        return False
    try:
        said = json.loads(meta)
        return said["format"] == _FORMAT and said["sha256"] == hashlib.sha256(program).hexdigest()
    except (ValueError, KeyError, TypeError):
        return False


def _touch(path: Path) -> None:
    """Note the use; a read-only cache goes without."""
    with suppress(OSError):
        os.utime(path)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name an entry of the cache: only a-z, 0-9, _ and -, at most 128 of them")


# Blobs


def get_blob(kind: str, key: str) -> bytes | None:
    """The bytes that `put_blob` stored under this kind and key, or None where there are none or they are damaged.

    >>> put_blob("example", "a1", b"text")
    >>> get_blob("example", "a1")
    b'text'
    """
    _check_name(kind)
    _check_name(key)
    for root in _readable():
        path = root / "blobs" / kind / key
        stored = _read(path)
        if stored is not None and stored[:32] == hashlib.sha256(stored[32:]).digest():
            _touch(path)
            return stored[32:]
    return None


def put_blob(kind: str, key: str, content: bytes) -> None:
    """Store bytes for later processes. Where no folder can hold them nothing is stored: the cache only saves time."""
    _check_name(kind)
    _check_name(key)
    stored = hashlib.sha256(content).digest() + content
    with suppress(OSError):
        # Not durable: after a power cut the digest finds the damage, and waiting for the disk would cost milliseconds.
        attempt(lambda root: atomic_write(_inside(root, "blobs", kind) / key, stored, durable=False))


# Size


def tidy(root: Path, keep: Path | None = None) -> None:
    """Remove what killed processes left behind, and the entries used longest ago where the cache is too big."""
    _sweep(root)
    entries = sorted((_used(path), _size(path), path) for path in _entries(root))
    total, limit = sum(size for _, size, _ in entries), _limit()
    for _, size, path in entries:
        if total <= limit:
            return
        if path != keep:
            _remove(path)
            total -= size


def _entries(root: Path) -> list[Path]:
    """What the cache made, by its form: a folder that the user named may hold files of theirs."""
    programs = [path for pattern in ("programs/*", "failed/*") for path in root.glob(pattern) if _KEY.fullmatch(path.name)]
    return [*programs, *(path for path in root.glob("blobs/*/*") if _NAME.fullmatch(path.name) and has_digest(path))]


def has_digest(path: Path) -> bool:
    """Whether a file begins with the SHA-256 of its rest, as blobs do."""
    stored = _read(path) or b""
    return stored[:32] == hashlib.sha256(stored[32:]).digest()


def _sweep(root: Path) -> None:
    oldest = time.time() - _ORPHAN_AGE
    for pattern in (f"build/{_BUILD}*", "blobs/*/.*.tmp"):
        for path in root.glob(pattern):
            if _used(path) < oldest:
                _remove(path)
    for path in root.glob("locks/*"):
        if _KEY.fullmatch(path.name) and _used(path) < oldest:
            _remove_lock(path)


def _remove_lock(path: Path) -> None:
    """Remove a lock file that nobody holds."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | _OPEN)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _used(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return time.time()


def _size(path: Path) -> int:
    """Bytes of a file, or of the files directly in a folder."""
    try:
        with os.scandir(path) as files:
            return sum(file.stat(follow_symlinks=False).st_size for file in files)
    except NotADirectoryError:
        return os.lstat(path).st_size
    except OSError:
        return 0
