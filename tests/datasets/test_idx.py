"""IDX files: whatever is in them, an array or a ValueError comes out, and memory stays bounded."""

from __future__ import annotations

import gzip
import hashlib
import random
import struct
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest

from exprc.datasets import read_idx

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx(shape, content: bytes, code: int = 0x08) -> bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


class Memory:
    """Measures the most bytes that Python allocated inside a ``with`` block."""

    peak = 0

    def __enter__(self) -> Memory:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some-idx"


def refusal(file, content: bytes, **options) -> str:
    file.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_idx(file, **options)
    return str(error.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(7,), (2, 3), (0,), (2, 0, 3), (1, 1, 1, 2)])
def test_what_was_written_is_read(file, pack, dtype, shape):
    values = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    file.write_bytes(pack(idx(shape, values.tobytes(), CODES[dtype])))
    found = read_idx(file, shape=shape)
    assert np.array_equal(found, values) and found.shape == shape
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.flags.writeable


FIX = "\n  remove the file and fetch it again; it is damaged or something else"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not an IDX file\n  first bytes  none"),
        (b"\0\0\x08", "not an IDX file\n  first bytes  00 00 08"),
        (b"PNG!.....", "not an IDX file\n  first bytes  50 4e 47 21"),
        (b"\0\0\x0a\x01\0\0\0\1.", "not an IDX file\n  first bytes  00 00 0a 01"),
        (b"\0\0\x08\x00.", "not an IDX file\n  first bytes  00 00 08 00"),
        (b"\0\0\x08\xff" + bytes(2000), "not an IDX file\n  first bytes  00 00 08 ff"),
        (b"\0\0\x08\x03\0\0\0\1", "the file ends inside its header\n  axes  3"),
        (idx((2, 3), b"12345"), "the file is truncated\n  values  5 bytes, 6 claimed"),
        (idx((2, 3), b"1234567"), "the file is longer than it claims\n  values  more than 6 bytes"),
        (
            idx((2**32 - 1,) * 3, b"1"),
            "the file claims more than may be read\n  claim  79,228,162,458,924,105,385,300,197,375 bytes for "
            "(4294967295, 4294967295, 4294967295), the limit is 2,147,483,648",
        ),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_malformed_file_is_refused(file, pack, content, text):
    assert refusal(file, pack(content)) == f"{file}: {text}{FIX}"


def test_another_shape_is_refused_before_the_values_are_read(file):
    text = refusal(file, idx((60000, 28, 28), b""), shape=(10000, 28, 28))
    assert text == f"{file}: the shape is another one\n  shape  (60000, 28, 28), (10000, 28, 28) expected{FIX}"


def test_the_limit_counts_bytes_and_not_elements(file):
    file.write_bytes(idx((4,), bytes(16), 0x0C))
    assert read_idx(file, limit=16).shape == (4,)
    assert "16 bytes for (4,), the limit is 15" in refusal(file, idx((4,), bytes(16), 0x0C), limit=15)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_checksum_is_that_of_the_uncompressed_bytes(file, pack):
    content = idx((3,), b"abc")
    right, wrong = (hashlib.sha256(bytes_).hexdigest() for bytes_ in (content, idx((3,), b"abd")))
    file.write_bytes(pack(content))
    assert read_idx(file, sha256=right).tobytes() == b"abc"
    text = refusal(file, pack(content), sha256=wrong)
    assert text == f"{file}: the content is not the published one\n  sha-256   {right}\n  expected  {wrong}{FIX}"


def test_a_cut_gzip_file_is_refused(file):
    packed = gzip.compress(idx((5000,), random.Random(0).randbytes(5000)))
    text = refusal(file, packed[:-20])
    assert text.startswith(f"{file}: the compressed data is damaged\n  gzip  Compressed file ended")
    assert "the compressed data is damaged\n  gzip  CRC check failed" in refusal(file, packed[:-8] + bytes(8))


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nowhere")


def test_a_gzip_bomb_is_refused_without_unpacking_it(file):
    bomb = gzip.compress(idx((10,), bytes(1 << 26)), 9)
    with Memory() as memory:
        text = refusal(file, bomb)
    assert "longer than it claims" in text
    assert memory.peak < (1 << 20) + len(bomb), f"{memory.peak:,} bytes for a file of {len(bomb):,}"


def test_a_great_claim_takes_no_memory(file):
    with Memory() as memory:
        text = refusal(file, gzip.compress(idx((2, 1 << 30), bytes(100))))
    assert "truncated" in text and memory.peak < 1 << 20


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Content with a cut, an insertion, or one to four changed bytes."""
    place = rng.randrange(len(content))
    kind = rng.random()
    if kind < 0.2:
        return content[:place]
    if kind < 0.3:
        return content[:place] + rng.randbytes(rng.randrange(1, 9)) + content[place:]
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        reach = min(len(content), 40) if kind < 0.7 else len(content)
        changed[rng.randrange(reach)] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(changed)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("count", "measure"), [(1300, nullcontext), (100, Memory)])
def test_mutated_files_give_an_array_or_a_value_error(file, pack, count, measure):
    rng = random.Random(count)
    content = pack(idx((4, 5, 5), rng.randbytes(100)))
    valid = 0
    for _ in range(count):
        file.write_bytes(mutated(content, rng))
        with measure() as memory:
            try:
                found = read_idx(file, limit=1 << 20)
            except ValueError as error:
                assert str(error).startswith(f"{file}: ")
            else:
                valid += 1
                assert found.nbytes <= 1 << 20
        assert memory is None or memory.peak < 2 << 20
    assert 0 < valid < 0.8 * count, "some mutations hit values only; most must be noticed or harmless"
