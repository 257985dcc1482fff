"""MNIST: where it is looked for, what is refused, and how it is fetched. The files here are small and self-made."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exprc.datasets import find_mnist, load_mnist, mnist

SHAPES = ((60, 28, 28), (60,), (10, 28, 28), (10,))
FIX = "put the four files into one of these folders, or name theirs in EXPRC_DATA; --data digits works without them"


def small(place: int, shape: tuple[int, ...]) -> bytes:
    """An IDX file of uint8 whose values tell the file and the position."""
    values = (np.arange(np.prod(shape)) // (784 if len(shape) == 3 else 1) + 100 * place) % 256
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values.astype(np.uint8).tobytes()


CONTENTS = {part.name: small(i, shape) for i, (part, shape) in enumerate(zip(mnist.PARTS, SHAPES, strict=True))}


@pytest.fixture(autouse=True)
def world(monkeypatch, tmp_path):
    """A small MNIST with checksums of its own, an empty cache, no network and no folder named by the user."""
    parts = [
        part._replace(shape=shape, sha256=hashlib.sha256(CONTENTS[part.name]).hexdigest())
        for part, shape in zip(mnist.PARTS, SHAPES, strict=True)
    ]
    monkeypatch.setattr(mnist, "PARTS", tuple(parts))
    monkeypatch.setattr(mnist, "TRAIN", 50)
    monkeypatch.setattr(mnist, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setenv("EXPRC_OFFLINE", "1")
    monkeypatch.delenv("EXPRC_DATA", raising=False)


def put(folder: Path, spell=lambda name: name, pack=bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / spell(name)).write_bytes(pack(content))
    return folder


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_every_spelling_is_found_and_read(tmp_path, pack, dot, end):
    folder = put(tmp_path / "a", lambda name: (name.replace("-idx", ".idx") if dot else name) + end, pack)
    assert find_mnist(folder) == folder
    train, validation, test = load_mnist(folder)
    assert [part.images.shape for part in (train, validation, test)] == [(50, 28, 28), (10, 28, 28), (10, 28, 28)]
    assert train.images.dtype == train.labels.dtype == np.uint8
    assert np.array_equal(np.concatenate([train.labels, validation.labels]), np.arange(60) + 100)
    assert np.array_equal(np.concatenate([train.images, validation.images])[:, 5, 5], np.arange(60))
    assert test.images[3, 0, 0] == 203 and test.labels[3] == (300 + 3) % 256


@pytest.mark.parametrize("below", ["mnist", "MNIST/raw"])
def test_the_usual_subfolders_are_looked_into(tmp_path, below):
    put(tmp_path / "a" / below)
    assert find_mnist(str(tmp_path / "a")) == tmp_path / "a" / below


def test_the_order_is_argument_then_environment_then_cache(tmp_path, monkeypatch):
    assert find_mnist() is None
    cache = put(tmp_path / "cache")
    assert find_mnist() == cache
    monkeypatch.setenv("EXPRC_DATA", str(put(tmp_path / "named")))
    assert find_mnist() == tmp_path / "named"
    assert find_mnist(put(tmp_path / "given")) == tmp_path / "given"


def test_a_folder_named_in_the_environment_may_hold_other_data(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRC_DATA", str(tmp_path))
    assert find_mnist() is None
    assert find_mnist() is None and put(tmp_path / "cache") == find_mnist()


def test_three_files_are_not_mnist(tmp_path):
    folder = put(tmp_path / "a")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert find_mnist(folder) is None


def test_nothing_found_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRC_DATA", str(tmp_path / "named"))
    with pytest.raises(FileNotFoundError) as error:
        load_mnist()
    assert (
        str(error.value)
        == f"""MNIST is not on this machine
  file         train-images-idx3-ubyte or train-images-idx3-ubyte.gz
  file         train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz
  file         t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz
  file         t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz
  looked in    {tmp_path / "named"}
  looked in    {tmp_path / "cache"}
  not fetched  EXPRC_OFFLINE is set
  {FIX}"""
    )


def test_a_folder_that_was_given_is_the_only_one(tmp_path, monkeypatch):
    put(tmp_path / "cache")
    monkeypatch.delenv("EXPRC_OFFLINE")
    monkeypatch.setattr(mnist, "fetch", None)
    with pytest.raises(FileNotFoundError) as error:
        load_mnist(tmp_path / "empty")
    assert f"looked in    {tmp_path / 'empty'}\n  not fetched  a folder was given\n" in str(error.value)


def test_a_file_of_the_right_form_and_another_content_is_refused(tmp_path):
    folder = put(tmp_path / "a")
    images = folder / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError) as error:
        load_mnist(folder)
    assert str(error.value).startswith(f"{images}: the content is not the published one\n  sha-256 ")


def test_a_truncated_file_is_refused(tmp_path):
    folder = put(tmp_path / "a")
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:40])
    with pytest.raises(ValueError) as error:
        load_mnist(folder)
    assert str(error.value) == (
        f"{labels}: the file is truncated\n  values  32 bytes, 60 claimed\n"
        "  remove the file and fetch it again; it is damaged or something else"
    )


class Mirrors:
    """Stands in for `fetch`: serves the files, or what a broken mirror serves."""

    def __init__(self, **broken: bytes | Exception):
        self.broken = broken
        self.asked: list[str] = []

    def __call__(self, url, path, check, limit):
        self.asked.append(url)
        content = self.broken.get("first" if url.startswith(mnist.MIRRORS[0]) else "second")
        if isinstance(content, Exception):
            raise content
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or gzip.compress(CONTENTS[path.name.removesuffix(".gz")]))
        try:
            check(path)
        except ValueError:
            path.unlink()
            raise


@pytest.fixture
def online(monkeypatch):
    def connect(**broken) -> Mirrors:
        monkeypatch.delenv("EXPRC_OFFLINE")
        mirrors = Mirrors(**broken)
        monkeypatch.setattr(mnist, "fetch", mirrors)
        return mirrors

    return connect


def test_it_is_fetched_once_and_announced(tmp_path, online):
    mirrors, said = online(), []
    assert len(load_mnist(notice=said.append).train.labels) == 50
    assert mirrors.asked == [f"{mnist.MIRRORS[0]}{name}.gz" for name in CONTENTS]
    assert said == [f"fetching {url}" for url in mirrors.asked]
    assert find_mnist() == tmp_path / "cache"
    load_mnist()
    assert len(mirrors.asked) == 4


@pytest.mark.parametrize("fault", [OSError("no route"), gzip.compress(b"a login page", mtime=0), b"a login page"])
def test_a_mirror_that_fails_is_asked_once_and_the_next_one_serves(online, fault):
    mirrors = online(first=fault)
    assert len(load_mnist().test.labels) == 10
    assert [url.startswith(mnist.MIRRORS[0]) for url in mirrors.asked] == [True, False, False, False, False]


def test_only_what_the_cache_lacks_is_fetched(tmp_path, online):
    put(tmp_path / "cache")
    (tmp_path / "cache" / "train-labels-idx1-ubyte").unlink()
    mirrors = online()
    load_mnist()
    assert [Path(url).name for url in mirrors.asked] == ["train-labels-idx1-ubyte.gz"]


def test_no_mirror_left_says_why(online):
    online(first=OSError("no route\nat all"), second=ValueError("a login page"))
    with pytest.raises(FileNotFoundError) as error:
        load_mnist()
    first, second = mnist.MIRRORS
    assert str(error.value).endswith(
        f"  not fetched  {first}: no route\n  not fetched  {second}: a login page\n  {FIX}"
    )


def test_without_a_home_there_is_no_cache_and_that_is_said(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(mnist, "_cache", homeless)
    monkeypatch.delenv("EXPRC_OFFLINE")
    assert find_mnist() is None
    with pytest.raises(FileNotFoundError) as error:
        load_mnist()
    assert "  not fetched  could not determine the home directory\n" in str(error.value)
    monkeypatch.setenv("EXPRC_DATA", str(put(tmp_path / "named")))
    assert find_mnist() == tmp_path / "named"


def test_the_mirrors_are_https():
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in mnist.MIRRORS)


def test_importing_fetches_nothing_and_opens_no_file(tmp_path):
    """With a socket and a home that cannot be used, the import still works."""
    program = "import socket\nsocket.socket.connect = None\nimport exprc.datasets\n"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    environment.pop("EXPRC_OFFLINE", None)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)
    assert not list(tmp_path.iterdir())


PUBLISHED = os.environ.get("EXPRC_DATA")


@pytest.mark.skipif(not PUBLISHED, reason="EXPRC_DATA names no folder with the published MNIST files")
def test_the_published_files_are_the_published_ones(monkeypatch):
    monkeypatch.undo()
    train, validation, test = load_mnist(PUBLISHED)
    assert [len(part.images) for part in (train, validation, test)] == [50_000, 10_000, 10_000]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9] and test.labels[:5].tolist() == [7, 2, 1, 0, 4]
