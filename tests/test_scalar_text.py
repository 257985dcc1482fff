"""The scalar texts of the catalogue, computed with C's rules, against the NumPy references of their records."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
import pytest

from exprc.forms import Formula, Reduce
from exprc.interpret import FUNCTIONS
from exprc.ops import CATALOGUE
from exprc.render.base import kernel_source
from exprc.scalar_text import evaluate, parse
from exprc.types import DTYPES, is_float

FORMULAS = [op for op in CATALOGUE.values() if isinstance(op, Formula)]
REDUCTIONS = [op for op in CATALOGUE.values() if isinstance(op, Reduce)]


def edges(dtype: str, small: bool = False) -> np.ndarray:
    """Values at which texts go wrong: the ends of the range, both zeros, NaN, infinities, subnormals."""
    if dtype == "bool":
        return np.array([False, True])
    if is_float(dtype):
        info = np.finfo(dtype)
        ends = [] if small else [info.max, -info.max, info.tiny, -info.smallest_subnormal]
        return np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 3, 1e-3, 87, -104, 2**31, np.inf, -np.inf, np.nan, *ends], dtype)
    info = np.iinfo(dtype)
    wanted = [info.min, info.min + 1, -100, -3, -2, -1, 0, 1, 2, 3, 7, 100, info.max - 1, info.max]
    return np.array([v for v in dict.fromkeys(wanted) if info.min <= v <= info.max], dtype)


def agree(got: np.ndarray, wanted: np.ndarray, dtype: str) -> None:
    """Integers agree exactly, floats to 4 ulp; the sign of zero counts."""
    wanted = np.asarray(wanted)
    assert np.asarray(got).dtype == dtype
    if not is_float(dtype):
        np.testing.assert_array_equal(got, wanted.astype(dtype))
        return
    np.testing.assert_allclose(got, wanted, rtol=4 * np.finfo(dtype).eps, atol=0)
    zero = wanted == 0
    np.testing.assert_array_equal(np.signbit(got)[zero], np.signbit(wanted)[zero])


def taken_by(op: Formula, dtype: str) -> tuple[list[str], str] | None:
    """The dtypes of the operands and of the result where all operands are of `dtype`; None if the record refuses it."""
    try:
        wanted, result = op.meeting([dtype] * len(op.operands))
    except TypeError:
        return None
    return list(wanted), result


ELEMENTWISE = [op for op in FORMULAS if op.samples is None and op.operands]
#: float16 is only stored, moved and cast: no other text meets it (``rewrite/half.py``).
COMPUTED = [d for d in DTYPES if d != "float16"]
CASES = [(op, d) for op in ELEMENTWISE for d in COMPUTED if taken_by(op, d)]


@pytest.mark.parametrize("op, dtype", CASES, ids=[f"{op.name}-{d}" for op, d in CASES])
def test_formula_is_its_reference(op: Formula, dtype: str) -> None:
    wanted, result = taken_by(op, dtype)
    values = [edges(d) for d in wanted]
    grid = [a.ravel() for a in np.meshgrid(*values, indexing="ij")]
    with np.errstate(all="ignore"):
        reference = op.numpy(*grid)
    text = op.text_of(wanted, result)
    agree(evaluate(text, dict(zip(op.operands, grid)), result, FUNCTIONS), reference, result)


SAMPLES = [(op, k) for op in FORMULAS if op.samples for k in range(len(op.samples()))]


@pytest.mark.parametrize("op, k", SAMPLES, ids=[f"{op.name}-{k}" for op, k in SAMPLES])
def test_formula_with_an_index_or_params_is_its_reference(op: Formula, k: int) -> None:
    args, params = op.samples()[k]
    reference = np.asarray(op.numpy(*args, **params))
    index = np.indices(reference.shape)
    places = {f"i{a}": index[a] for a in range(reference.ndim)}
    places["i"] = np.arange(reference.size).reshape(reference.shape)
    whole = {name: value for name, value in params.items() if isinstance(value, int)}
    text = op.text_of([a.dtype.name for a in args[: op.data]], reference.dtype.name)
    got = evaluate(text, {**dict(zip(op.operands, args)), **places, **whole}, reference.dtype.name, FUNCTIONS)
    agree(np.broadcast_to(got, reference.shape), reference, reference.dtype.name)


def test_every_formula_is_tested() -> None:
    tested = {op.name for op, _ in CASES} | {op.name for op, _ in SAMPLES}
    assert {op.name for op in FORMULAS} == tested


# -- reductions ------------------------------------------------------------------------------------------------------


def fold(op: Reduce, x: np.ndarray, dtype: str, rows: Sequence[int]) -> dict[str, np.ndarray]:
    """Run the accumulators over some rows of axis 0; the other axis holds separate reductions."""
    dtypes = {a.name: a.dtype or dtype for a in op.accs}
    accs = {a.name: np.broadcast_to(evaluate(a.start, {}, dtypes[a.name]), x.shape[1:]) for a in op.accs}
    for i in rows:
        values = {**accs, "x": x[i], "i": np.int64(i)}
        accs = {a.name: evaluate(a.step, values, dtypes[a.name]) for a in op.accs}
    return accs


def joined(op: Reduce, first: dict, second: dict, dtype: str) -> dict[str, np.ndarray]:
    values = {**first, **{f"{name}_": value for name, value in second.items()}}
    return {a.name: evaluate(a.combine, values, a.dtype or dtype) for a in op.accs}


def finished(op: Reduce, accs: dict, count: int, dtype: str) -> np.ndarray:
    return evaluate(op.finish, {**accs, "n": np.int64(count)}, op.meet(dtype)[1])


REDUCE_CASES = [(op, d) for op in REDUCTIONS for d in COMPUTED if op.meet(d)[0] == d]


def columns(dtype: str) -> np.ndarray:
    """All triples of edge values, as columns: every order of NaN, infinities, equal values and ends of the range."""
    values = edges(dtype, small=True)
    return np.array(list(itertools.product(values, repeat=3)), dtype).T


def close(got: np.ndarray, wanted: np.ndarray, x: np.ndarray, dtype: str) -> None:
    if not is_float(dtype):
        np.testing.assert_array_equal(got, wanted)
        return
    finite = np.where(np.isfinite(x), np.abs(x), 0).astype("float64").sum(axis=0)
    fine = np.isclose(got, wanted, rtol=1e-6, atol=0, equal_nan=True) | (np.abs(got - wanted) <= 1e-6 * finite)
    assert fine.all(), f"{x[:, ~fine][:, :3]}: {got[~fine][:3]} ≠ {wanted[~fine][:3]}"


@pytest.mark.parametrize("op, dtype", REDUCE_CASES, ids=[f"{op.name}-{d}" for op, d in REDUCE_CASES])
def test_accumulators_are_their_reference(op: Reduce, dtype: str) -> None:
    x = columns(dtype)
    with np.errstate(all="ignore"):
        wanted = np.asarray(op.numpy(x, axes=(0,)))
        result = finished(op, fold(op, x, dtype, range(len(x))), len(x), dtype)
        assert result.dtype == op.meet(dtype)[1]
        close(result, wanted, x, result.dtype.name)


@pytest.mark.parametrize("op, dtype", REDUCE_CASES, ids=[f"{op.name}-{d}" for op, d in REDUCE_CASES])
@pytest.mark.parametrize(
    "first, second", [("", "012"), ("0", "12"), ("01", "2"), ("012", ""), ("02", "1"), ("1", "02"), ("2", "01")]
)
def test_parts_joined_are_their_reference(op: Reduce, dtype: str, first: str, second: str) -> None:
    """Parts may follow one another, as blocks do, or lie between one another, as vector lanes do."""
    x = columns(dtype)
    with np.errstate(all="ignore"):
        wanted = np.asarray(op.numpy(x, axes=(0,)))
        parts = [fold(op, x, dtype, [int(i) for i in rows]) for rows in (first, second)]
        result = finished(op, joined(op, *parts, dtype), len(x), dtype)
        close(result, wanted, x, result.dtype.name)


# -- the functions of scalar.h and special.h ---------------------------------------------------------------------------------------


HEADERS = "".join(kernel_source(f"c/{name}") for name in ("scalar.h", "special.h"))
HALVES = set(re.findall(r"^SCALAR \w+ ([a-z]\w*)\(", kernel_source("c/half.h"), re.MULTILINE))
DEFINED = set(re.findall(r"^#define ([a-z]\w*)\(", HEADERS, re.MULTILINE)) | HALVES
DRAWS = set(re.findall(r"^SCALAR \w+ ([a-z]\w*)\(", kernel_source("c/philox.h"), re.MULTILINE))


def test_every_function_of_the_headers_can_be_computed() -> None:
    assert {"exp", "psi"} <= DEFINED
    assert set(FUNCTIONS) >= DEFINED


def calls(tree: object) -> set[str]:
    if not isinstance(tree, tuple):
        return set()
    own = {tree[1]} if tree[:1] == ("call",) else set()
    return own.union(*(calls(part) for part in tree))


def texts_of(op: Formula) -> list[str]:
    """Its text, or those for all pairs of dtypes."""
    return [op.c] if op.text is None else sorted({op.text_of([a], b) for a, b in itertools.product(DTYPES, DTYPES)})


TEXTS = [(op.name, text) for op in FORMULAS for text in texts_of(op)] + [
    (op.name, text) for op in REDUCTIONS for a in op.accs for text in (a.start, a.step, a.combine, op.finish)
]


@pytest.mark.parametrize("name, text", TEXTS, ids=[name for name, _ in TEXTS])
def test_every_text_calls_functions_of_the_kernels(name: str, text: str) -> None:
    assert calls(parse(text)) <= DEFINED | DRAWS


# -- C's rules -------------------------------------------------------------------------------------------------------

i8, u8, i32, u32, i64, u64, f32, f64 = (
    np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64,
)  # fmt: skip


@pytest.mark.parametrize(
    "text, values, dtype, wanted",
    [
        ("1 + 2 * 3 - 4 / 2 % 3", {}, "int32", 5),
        ("-7 / 2", {}, "int32", -3),
        ("-7 % 2", {}, "int32", -1),
        ("7 - 3 - 2", {}, "int32", 2),
        ("1 ? 2 : 0 ? 3 : 4", {}, "int32", 2),
        ("0 ? 2 : 0 ? 3 : 4", {}, "int32", 4),
        ("1 | 2 ^ 3 & 6", {}, "int32", 1),
        ("1 << 3 + 1", {}, "int32", 16),
        ("1 < 2 == 1", {}, "int32", 1),
        ("!0 + !5", {}, "int32", 1),
        ("0 || 2 && 3", {}, "int32", 1),
        ("~5", {}, "int32", -6),
        ("- -5", {}, "int32", 5),
        ("0x10 + 0xffu", {}, "int64", 271),
        ("4294967295u + 1u", {}, "int64", 0),
        ("2147483647 + 1", {}, "int64", -(2**31)),
        ("2147483648 + 1", {}, "int64", 2**31 + 1),
        ("-9223372036854775807LL - 1", {}, "int64", -(2**63)),
        ("{a} + {b}", {"a": u8(200), "b": u8(100)}, "int32", 300),
        ("{a} + {b}", {"a": u8(200), "b": u8(100)}, "uint8", 44),
        ("-{a}", {"a": u8(1)}, "uint8", 255),
        ("{a} < {b}", {"a": i32(-1), "b": u32(1)}, "bool", False),
        ("{a} < {b}", {"a": i64(-1), "b": u32(1)}, "bool", True),
        ("{a} < {b}", {"a": i8(-1), "b": u8(1)}, "bool", True),
        ("{a} * 3", {"a": u64(2**63 + 1)}, "uint64", 2**63 + 3),
        ("{a} >> 1", {"a": i32(-4)}, "int32", -2),
        ("{a} >> 1", {"a": u32(2**32 - 2)}, "uint32", 2**31 - 1),
        ("(uint32_t){a} << 31", {"a": i32(3)}, "uint32", 2**31),
        ("(float){a} / 2", {"a": i32(3)}, "float32", 1.5),
        ("(int){a} / 2", {"a": f32(3.9)}, "float64", 1),
        ("({T}){a}", {"a": f64(-3.9)}, "int8", -3),
        ("(_Bool){a} + (_Bool){a}", {"a": f32(0.25)}, "int32", 2),
        ("{a} + {b}", {"a": i64(2**24 + 1), "b": f32(0)}, "float32", 2**24),
        ("{a} * 0.1f == 0.1", {"a": f32(1)}, "bool", False),
        ("{lowest}", {}, "int8", -128),
        ("{highest}", {}, "float32", np.inf),
        ("maximum({a}, {b})", {"a": f32(np.nan), "b": f32(1)}, "float32", np.nan),
        ("power({a}, -1)", {"a": i32(-1)}, "int32", -1),
        ("power({a}, -3)", {"a": i64(2)}, "int64", 0),
        ("mod({a}, 0) + floor_divide({a}, 0)", {"a": i32(5)}, "int32", 0),
        ("fmod({a}, {b})", {"a": f32(-7), "b": f32(3)}, "float32", -1),
        ("floor({a})", {"a": i64(2**60 + 1)}, "int64", 2**60 + 1),
        ("isnan({a}) + isinf({a}) + isfinite({a})", {"a": f64(np.inf)}, "int32", 1),
        ("INFINITY + NAN", {}, "float32", np.nan),
        ("gammaln({a})", {"a": f64(0)}, "float64", np.inf),
        ("0x1p-3", {}, "float64", 0.125),
        ("1e3 + .5 + 2.", {}, "float64", 1002.5),
    ],
)
def test_the_rules_of_c(text: str, values: dict, dtype: str, wanted: object) -> None:
    got = evaluate(text, values, dtype)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.array(wanted).astype(dtype))


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 +", "no scalar C expression: a number, an operand or a call expected, the end found\n  text  1 +"),
        ("1 2", "no scalar C expression: an operator or the end expected, '2' found\n  text  1 2"),
        ("(1", "no scalar C expression: ')' expected, the end found\n  text  (1"),
        ("1 ? 2", "no scalar C expression: ':' expected, the end found\n  text  1 ? 2"),
        ("x = 3", "no scalar C expression: '= 3' cannot be read\n  text  x = 3"),
        ("a[1]", "no scalar C expression: '[1]' cannot be read\n  text  a[1]"),
        ("system(\"ls\")", "no scalar C expression: '\"ls\")' cannot be read\n  text  system(\"ls\")"),
        ("{a} + 1", "no value for a in a scalar text\n  text  {a} + 1"),
        ("INFINTY", "no value for INFINTY in a scalar text\n  text  INFINTY\n  did you mean 'INFINITY'?"),
        ("sigmoyd(1)", "sigmoyd is no function of kernels/c\n  text  sigmoyd(1)\n  did you mean 'sigmoid'?"),
        ("1 << 32", "the C operator << shifts int32 by 0 to 31 bits, not by 32"),
        ("99999999999999999999", "the literal 99999999999999999999 has no C type that holds it"),
    ],
)
def test_what_is_no_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        evaluate(text, {}, "float32")


def test_operators_for_integers_refuse_floats() -> None:
    for text in ("1.0 % 2", "1.0f & 2", "~1.0", "1.0 >> 1"):
        with pytest.raises(TypeError, match="takes integers, not float"):
            evaluate(text, {}, "int32")


def test_a_division_that_ends_a_c_program_is_an_error() -> None:
    for text, values in (("1 / {a}", {"a": i32(0)}), ("{a} % -1", {"a": i32(-(2**31))})):
        with pytest.raises(ZeroDivisionError, match="integer division in C by 0, or of the lowest integer by -1"):
            evaluate(text, values, "int32")
