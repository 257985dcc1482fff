"""The MNIST hand-written digits (LeCun, Cortes, Burges): found on this machine, or fetched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
from numpy.typing import NDArray

from exprc.datasets.fetch import fetch, offline
from exprc.datasets.idx import read_idx
from exprc.datasets.images import DataSet, Images
from exprc.errors import report

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
TRAIN = 50_000  # of the 60,000 training images; the rest validates
MOST_PACKED = 16 << 20  # bytes: more than any of the four files takes


class Part(NamedTuple):
    """One published file: its name, the shape of its array, and the SHA-256 of its uncompressed bytes."""

    name: str
    shape: tuple[int, ...]
    sha256: str

    def names(self) -> list[str]:
        """The spellings that are about: of the kind of file, and compressed or not."""
        return [name + end for name in (self.name, self.name.replace("-idx", ".idx")) for end in ("", ".gz")]

    def find(self, folder: Path) -> Path | None:
        return next((folder / name for name in self.names() if (folder / name).is_file()), None)


PARTS = (
    Part(
        "train-images-idx3-ubyte",
        (60000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    Part("train-labels-idx1-ubyte", (60000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    Part(
        "t10k-images-idx3-ubyte",
        (10000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    Part("t10k-labels-idx1-ubyte", (10000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)


def load_mnist(
    folder: str | os.PathLike[str] | None = None,
    notice: Callable[[str], object] | None = None,
) -> DataSet:
    """Read MNIST: 50,000 images to train, 10,000 to validate and 10,000 to test.

    Without `folder` the files are looked for in the folder that the environment variable ``EXPRC_DATA`` names, then
    in the user's cache, and are fetched into the cache if they are in neither, unless ``EXPRC_OFFLINE=1``. In each of
    these a subfolder ``mnist`` or ``MNIST/raw`` will do. The files may be compressed with gzip or not, and
    ``.idx3-ubyte`` may stand for ``-idx3-ubyte``; their uncompressed content must be the published one.

    Parameters
    ----------
    folder : where the four files are; nowhere else is looked then.
    notice : called with one line for each file that is fetched, so that a program can say what it waits for.

    Returns
    -------
    DataSet
        ``train``, ``validation`` and ``test``, each with ``images``, uint8 (n, 28, 28), and ``labels``, uint8 (n,).

    Raises
    ------
    FileNotFoundError
        The files are nowhere to be found; the text names them and where they may be put.
    ValueError
        A file is damaged, truncated, oversized or another one.

    Examples
    --------
    >>> load_mnist().train.images.shape  # doctest: +SKIP
    (50000, 28, 28)
    """
    found = find_mnist(folder)
    if found is None:
        found = _fetched(folder, notice)
    paths = [part.find(found) for part in PARTS]
    arrays = [_read(part, path) for part, path in zip(PARTS, paths, strict=True) if path]
    images, labels, test_images, test_labels = arrays
    return DataSet(
        Images(images[:TRAIN], labels[:TRAIN]),
        Images(images[TRAIN:], labels[TRAIN:]),
        Images(test_images, test_labels),
    )


def find_mnist(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Say where `load_mnist` would find the four files without fetching them; None where it would not.

    Examples
    --------
    >>> find_mnist("an empty folder") is None
    True
    """
    return next((place for place in _places(folder) if all(part.find(place) for part in PARTS)), None)


def _read(part: Part, path: Path) -> NDArray[Any]:
    return read_idx(path, part.shape, part.sha256)


def _cache() -> Path:
    return platformdirs.user_cache_path("exprc", appauthor=False) / "data" / "mnist"


def _roots(folder: str | os.PathLike[str] | None) -> list[Path]:
    if folder is not None:
        return [Path(folder)]
    named = os.environ.get("EXPRC_DATA")
    with suppress(RuntimeError):  # a user without a home has no cache
        return [Path(named), _cache()] if named else [_cache()]
    return [Path(named)] if named else []


def _places(folder: str | os.PathLike[str] | None) -> Iterable[Path]:
    return (root / below for root in _roots(folder) for below in ("", "mnist", "MNIST/raw"))


def _fetched(folder: str | os.PathLike[str] | None, notice: Callable[[str], object] | None) -> Path:
    """Fetch what the cache lacks; a mirror that failed once is not asked again."""
    if folder is not None or offline():
        raise _missing(folder, ["a folder was given" if folder is not None else "EXPRC_OFFLINE is set"])
    try:
        _cache()
    except RuntimeError as error:
        raise _missing(folder, [str(error)]) from None
    mirrors, failures = list(MIRRORS), list[str]()
    for part in PARTS:
        while part.find(_cache()) is None:
            if not mirrors:
                raise _missing(folder, failures)
            try:
                _fetch_part(part, mirrors[0], notice)
            except (OSError, ValueError) as error:
                failures.append(f"{mirrors.pop(0)}: {error}")
    return _cache()


def _fetch_part(part: Part, mirror: str, notice: Callable[[str], object] | None) -> None:
    url = f"{mirror}{part.name}.gz"
    if notice:
        notice(f"fetching {url}")
    fetch(url, _cache() / f"{part.name}.gz", partial(_read, part), MOST_PACKED)


def _missing(folder: str | os.PathLike[str] | None, reasons: list[str]) -> FileNotFoundError:
    rows = [("file", f"{part.name} or {part.name}.gz", "") for part in PARTS]
    rows += [("looked in", str(root), "") for root in _roots(folder)]
    rows += [("not fetched", reason.splitlines()[0], "") for reason in reasons]
    fix = "put the four files into one of these folders, or name theirs in EXPRC_DATA; --data digits works without them"
    return FileNotFoundError(report("MNIST is not on this machine", rows, fix))
