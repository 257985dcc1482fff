"""Weights in .npz files: what is saved is loaded, by NumPy too; what is hostile is refused before it takes memory."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from exprc.io import load_npz, save_npz
from exprc.io.npy import HEADER

DTYPES = ["?", "i1", "u1", "<i2", "<i4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16", ">f4", ">i2"]
NAMES = st.text(st.characters(exclude_characters="\\", exclude_categories=("C", "Z")), min_size=1, max_size=20)
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.npz"


def refusal(file, **options) -> str:
    with pytest.raises(ValueError) as error:
        load_npz(file, **options)
    assert type(error.value) is ValueError
    return str(error.value)


class Memory:
    """Measures the most bytes that Python allocated inside a ``with`` block."""

    peak = 0

    def __enter__(self) -> Memory:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def npy(descr: str = "'<f4'", shape: str = "(2,)", values: bytes = bytes(8)) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode("latin-1")
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + values


def pack(file, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


# --- what is saved is loaded ------------------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(NAMES, ARRAYS, max_size=5))
def test_any_arrays_come_back(file, values):
    save_npz(file, values)
    loaded = load_npz(file, expected=values)
    assert list(loaded) == list(values)
    for name, array in values.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(loaded[name], array, equal_nan=array.dtype.kind in "fc")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ARRAYS, max_size=4), st.sampled_from([np.savez, np.savez_compressed]))
def test_numpy_reads_ours_and_we_read_numpys(file, values, save):
    save_npz(file, values)
    with np.load(file, allow_pickle=False) as theirs:
        assert theirs.files == [f"arr_{i}" for i in range(len(values))]
        assert all(np.array_equal(theirs[f"arr_{i}"], value, equal_nan=True) for i, value in enumerate(values))
    save(file, *values)
    ours = load_npz(file)
    assert all(np.array_equal(ours[f"arr_{i}"], value, equal_nan=True) for i, value in enumerate(values))


STRIDED = [np.arange(24.0).reshape(2, 3, 4).T, np.arange(12)[::-2], np.broadcast_to(1.5, (2, 3))]


@pytest.mark.parametrize("array", STRIDED)
def test_strided_and_fortran_arrays_come_back_contiguous(file, array):
    save_npz(file, {"a": array})
    assert np.array_equal(load_npz(file)["a"], array) and load_npz(file)["a"].flags.c_contiguous
    np.savez(file, a=np.asfortranarray(array))
    assert np.array_equal(load_npz(file)["a"], array) and load_npz(file)["a"].flags.c_contiguous


def test_loaded_arrays_can_be_written_to(file):
    save_npz(file, [np.zeros(3)])
    load_npz(file)["arr_0"][0] = 1


def test_the_order_is_that_of_expected(file):
    save_npz(file, {"b": [1.0], "a": [2.0, 3.0]})
    assert list(load_npz(file)) == ["b", "a"]
    assert list(load_npz(file, expected={"a": (2,), "b": np.zeros(1)})) == ["a", "b"]


def test_equal_values_make_equal_files(tmp_path):
    for name in "ab":
        save_npz(tmp_path / name, {"W": np.arange(6).reshape(2, 3)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_save_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    save_npz(file, {"W": np.ones(2)})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("exprc.io.npz.write_array", fail)
    with pytest.raises(OSError, match="disk full"):
        save_npz(file, {"W": np.zeros(2)})
    assert load_npz(file)["W"].tolist() == [1, 1]
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", ["", "a\\b", "a\0", "a\n", 3])
def test_a_name_that_zip_would_change_is_refused(file, name):
    with pytest.raises(ValueError) as error:
        save_npz(file, {name: np.zeros(1)})
    fix = "a name is a printable text without backslashes"
    assert str(error.value) == f"save_npz: {name!r} cannot name an array\n  {fix}"


OURS = "only files that save_npz, numpy.savez or numpy.savez_compressed wrote are read"
RECORDS = np.zeros(1, "f4,i4")


@pytest.mark.parametrize(
    ("value", "dtype"), [("text", "<U4"), ([object()], "object"), (RECORDS, "[('f0', '<f4'), ('f1', '<i4')]")]
)
def test_only_numbers_are_saved(file, value, dtype):
    with pytest.raises(TypeError) as error:
        save_npz(file, {"W": value})
    assert str(error.value) == (
        f"save_npz: W has dtype {dtype}: only numbers and booleans are written\n"
        "  write texts and settings to a JSON file beside it"
    )
    assert not file.exists()


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_all_differences_are_listed_at_once(file):
    save_npz(file, {"conv1.W": np.zeros((20, 1, 5, 5)), "fc.W": np.zeros((3, 4)), "extra": 1.0})
    expected = {"conv1.W": (20, 1, 5, 5), "conv1.b": (20,), "fc.W": np.zeros((4, 3))}
    assert refusal(file, expected=expected) == (
        f"{file}: 3 differences from what was expected\n"
        "  missing     conv1.b: (20,)\n"
        "  unexpected  extra: ()\n"
        "  shape       fc.W: (3, 4) in the file, (4, 3) expected\n"
        "  the file was written by another network, or by another version of this one"
    )


def test_what_does_not_fit_is_refused_before_it_is_read(file):
    np.savez_compressed(file, W=np.zeros(1 << 23))
    with Memory() as memory:
        text = refusal(file, expected={"W": (3,)})
    assert "(8388608,) in the file, (3,) expected" in text and memory.peak < 1 << 20


# --- what is hostile --------------------------------------------------------------------------------------------------


def test_the_limit_is_on_all_arrays_together(file):
    save_npz(file, [np.zeros(1000)] * 3)
    total = 3 * (8000 + 128)
    assert len(load_npz(file, limit=total)) == 3
    assert refusal(file, limit=total - 1) == (
        f"{file}: the arrays take {total:,} bytes, the limit is {total - 1:,}\n"
        "  give load_npz a greater limit if the file is to be trusted"
    )


def test_a_zip_bomb_takes_no_memory(file):
    pack(file, {"W.npy": npy(shape="(16777216,)", values=bytes(1 << 26))}, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 100_000
    with Memory() as memory:
        text = refusal(file, limit=1 << 26)
    assert "the limit is 67,108,864" in text and memory.peak < 1 << 20


def lie(file, member: bytes, claimed: int) -> None:
    """Write a member whose entry claims another size than it has."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W.npy", member)
        archive.infolist()[0].file_size = claimed


def test_a_member_that_claims_more_than_deflate_can_hold_is_refused(file):
    lie(file, npy(), 10**9)
    assert refusal(file).startswith(f"{file}: W claims more than the file can hold\n  claim  1,000,000,000 bytes in ")


def test_a_member_that_unpacks_to_more_than_it_claims_is_refused(file):
    lie(file, npy(values=bytes(100_000)), len(npy()))
    assert "damaged" in refusal(file)


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (b"", "reason  an array does not start with a .npy header"),
        (b"\x93NUMPY\7\0" + bytes(50), "reason  an array does not start with a .npy header"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", "reason  a .npy header of 4,294,967,295 bytes, the limit is 10,000"),
        (npy(descr="'|O'"), "a .npy header that names no array of numbers: \"{'descr': '|O'"),
        (npy(descr="'<U5'"), "a .npy header that names no array of numbers"),
        (npy(descr="[('a', '<f4')]"), "a .npy header that names no array of numbers"),
        (npy(descr="__import__('os').getpid()"), "a .npy header that names no array of numbers"),
        (npy(shape="(-1, 2)"), "a .npy header that names no array of numbers"),
        (npy(shape="(1, 2"), "a .npy header that names no array of numbers"),
        (npy(descr="'<f3'"), "reason  a .npy header with an unknown dtype: '<f3'"),
        (npy(shape="(" + "1, " * 40 + "1)"), "reason  an array of 41 axes, the limit is 32"),
        (npy(shape="(1099511627776,)"), "W.npy is not as long as its header says\n  claim  4,398,046,511,"),
        (npy(shape="(4611686018427387904, 8)"), "W.npy is not as long as its header says"),
        (npy(values=bytes(9)), "W.npy is not as long as its header says"),
        (npy(values=bytes(7)), "W.npy is not as long as its header says"),
    ],
)
def test_a_hostile_array_is_refused(file, member, text):
    pack(file, {"W.npy": member})
    with Memory() as memory:
        assert text in refusal(file)
    assert memory.peak < 1 << 20


@pytest.mark.parametrize("members", [{"W.txt": b"hello"}, {"folder/": b""}, {"../W": npy()}])
def test_a_member_that_is_no_array_is_refused(file, members):
    pack(file, members)
    assert refusal(file) == f"{file}: member {next(iter(members))!r} is not an array\n  {OURS}"


def test_a_name_that_is_there_twice_is_refused(file):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(file, "w") as archive:
        archive.writestr("W.npy", npy())
        archive.writestr("W.npy", npy())
    assert refusal(file) == f"{file}: member 'W.npy' is there twice\n  {OURS}"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(file, compression):
    pack(file, {"W.npy": npy()}, compression)
    assert refusal(file) == f"{file}: member 'W.npy' is encrypted or compressed in an unknown way\n  {OURS}"


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all", npy()])
def test_what_is_no_archive_is_refused(file, content):
    file.write_bytes(content)
    reason = "reason  File is not a zip file\n  nothing of it was loaded; take another copy of it, or write it again"
    assert refusal(file) == f"{file}: the file is damaged, or no .npz file\n  {reason}"


def test_an_archive_of_very_many_members_is_refused(file):
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(70):
            member = zipfile.ZipInfo(f"{i}.npy")
            member.comment = bytes(65_000)
            archive.writestr(member, npy())
    with Memory() as memory:
        text = refusal(file)
    assert "the list of its members takes 4,553," in text and "the limit is 4,194,304" in text
    assert memory.peak < 1 << 20


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "nowhere")


def archive_of(save) -> bytes:
    buffer = io.BytesIO()
    save(buffer, W=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.arange(3))
    return buffer.getvalue()


def mutated(content: bytes, rng: random.Random) -> bytes:
    kind, place = rng.random(), rng.randrange(len(content))
    if kind < 0.1:
        return content[:place]
    if kind < 0.2:
        return content[:place] + rng.randbytes(rng.randrange(1, 9)) + content[place:]
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        changed[rng.randrange(len(content))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(changed)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("count", "measure"), [(1000, nullcontext), (100, Memory)])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_mutated_files_give_arrays_or_a_value_error(file, save, count, measure):
    rng = random.Random(count)
    content = archive_of(save)
    valid = 0
    for _ in range(count):
        file.write_bytes(mutated(content, rng))
        with measure() as memory:
            try:
                loaded = load_npz(file, limit=1 << 20)
            except ValueError as error:
                assert type(error) is ValueError and str(error).startswith(f"{file}: ")
            else:
                valid += 1
                assert sum(array.nbytes for array in loaded.values()) <= 1 << 20
        assert memory is None or memory.peak < 2 << 20
    assert 0 < valid < 0.8 * count, "dates and padding may change unnoticed; most else must not"


@pytest.mark.parametrize("shape", [(), (1,), (10**6,), (3, 4), (2, 0, 5), (1,) * 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_header_that_numpy_writes_is_the_one_that_is_read(shape, dtype):
    buffer = io.BytesIO()
    array = np.broadcast_to(np.zeros((), dtype), shape)
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    assert HEADER.fullmatch(buffer.getvalue()[10:].decode("latin-1"))
