"""Elementwise operations where NumPy, C and Theano's users expect something in particular: names, dtypes, corners, gradients, messages."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import exprc
import exprc.tensor as T
from exprc.forms import Formula
from exprc.ops import CATALOGUE, PUBLIC
from exprc.reference import evaluate
from exprc.types import DTYPES, FLOATS, INTEGERS

Array = np.ndarray[Any, Any]


def both(nodes: list[Any], values: dict[Any, Array]) -> list[tuple[Array, Array]]:
    """What one compiled function gives for all nodes, and what the interpreter gives."""
    function = exprc.function(list(values), nodes, mode="compiled", on_unused_input="ignore")
    return list(zip(function(*values.values()), evaluate(nodes, values)))


def variable(a: Array) -> Any:
    return T.TensorType(a.dtype.name, a.shape)()


def message(kind: type[Exception], function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(kind) as error:
        function(*args, **kwargs)
    return str(error.value)


# -- names ---------------------------------------------------------------------------------------------------------------

#: Names that Theano's and NumPy's users type, and the record behind each.
SPELLINGS = {
    "sgn": "sign", "sqr": "sqr", "square": "sqr", "abs_": "abs", "absolute": "abs", "inv": "inv", "reciprocal": "inv", "pow": "power",
    "int_div": "floor_div", "floor_divide": "floor_div", "true_divide": "true_div", "divide": "true_div", "remainder": "mod",
    "switch": "where", "fill": "second", "and_": "bitwise_and", "or_": "bitwise_or", "xor": "bitwise_xor", "bitwise_not": "invert",
    "equal": "eq", "not_equal": "neq", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "fix": "trunc",
    "radians": "deg2rad", "degrees": "rad2deg", "subtract": "sub", "multiply": "mul", "negative": "neg", "xlogy0": "xlogy",
    "digamma": "psi", "round_": "round", "tensor_copy": "copy", "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift",
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_other_spellings(name: str) -> None:
    assert getattr(T, name) is CATALOGUE[SPELLINGS[name]]


def test_an_alias_is_no_other_operations_name() -> None:
    taken = {name: op for op in CATALOGUE.values() for name in (op.name, *op.aliases)}
    assert [n for op in CATALOGUE.values() for n in (op.name, *op.aliases) if taken[n] is not op] == []


UFUNCS = [n for n in PUBLIC if isinstance(getattr(np, n, None), np.ufunc) and isinstance(PUBLIC[n], Formula)]


@pytest.mark.parametrize("name", UFUNCS)
def test_numpy_hands_its_ufuncs_over(name: str) -> None:
    ufunc, op = getattr(np, name), PUBLIC[name]
    for dtype in ("float32", "int64"):
        try:
            op.meeting([dtype] * ufunc.nin)
        except TypeError:
            continue  # it takes no floats
        node = ufunc(*[T.TensorType(dtype, (3,))() for _ in range(ufunc.nin)])
        assert node.op in (op, CATALOGUE["cast"])


def test_numpy_hands_over_many_functions() -> None:
    assert len(UFUNCS) > 80


# -- dtypes --------------------------------------------------------------------------------------------------------------

#: Deliberate differences from NumPy: bool counts as int64 in arithmetic, the reciprocal of an integer is a float.
OWN_DTYPES = {"inv", "reciprocal", "power", "pow"}


def numpys_dtype(ufunc: Any, dtype: str) -> str | None:
    try:
        with np.errstate(all="ignore"):
            return ufunc(*[np.ones(1, dtype)] * ufunc.nin).dtype.name  # type: ignore[no-any-return]
    except TypeError:
        return None


@pytest.mark.parametrize("name", [n for n in UFUNCS if n not in OWN_DTYPES])
def test_dtypes_are_numpys(name: str) -> None:
    """For every integer and float; where NumPy goes to a float of its choice, it is ``config.floatX`` here."""
    for dtype in (*INTEGERS, *FLOATS):
        wanted = numpys_dtype(getattr(np, name), dtype)
        if wanted is None:
            with pytest.raises(TypeError):
                PUBLIC[name](*[T.TensorType(dtype, (1,))()] * getattr(np, name).nin)
            continue
        got = PUBLIC[name](*[T.TensorType(dtype, (1,))()] * getattr(np, name).nin).dtype
        if "float" in wanted and dtype not in FLOATS:
            wanted = exprc.config.floatX
        assert got == wanted, (name, dtype)


def test_rounding_keeps_the_dtype() -> None:
    for dtype in DTYPES:
        x = T.TensorType(dtype, (3,))()
        for op in (T.floor, T.ceil, T.trunc, T.round, T.round_half_away_from_zero):
            assert op(x).dtype == dtype
        assert T.iround(x).dtype == "int64" and T.rint(x).dtype == (dtype if dtype in FLOATS else "float32")


# -- casts ---------------------------------------------------------------------------------------------------------------

WILD = [0.0, -0.0, 0.99, -0.99, 1.5, -1.5, 126.5, 127.5, 128.0, -128.9, -129.0, 255.5, 256.0, 32767.5, 32768.0, 2.0**31 - 128, 2.0**31,
        -(2.0**31), 3e9, 2.0**32, 2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1e30, -1e30, np.inf, -np.inf, np.nan]  # fmt: skip


def saturated(x: float, dtype: str) -> int:
    ends = np.iinfo(dtype)
    if np.isnan(x):
        return 0
    return int(ends.max if x >= ends.max else ends.min if x <= ends.min else int(x))


def test_floats_as_integers_are_held_in_the_range() -> None:
    with np.errstate(over="ignore"):
        cases = [(np.array(WILD).astype(d), dtype) for d in FLOATS for dtype in INTEGERS]
    xs = [variable(a) for a, _ in cases]
    found = both([T.cast(x, dtype) for x, (_, dtype) in zip(xs, cases)], dict(zip(xs, (a for a, _ in cases))))
    for (a, dtype), results in zip(cases, found):
        wanted = np.array([saturated(float(x), dtype) for x in a], dtype)
        for got in results:
            np.testing.assert_array_equal(got, wanted, f"{a.dtype} as {dtype}")


def test_everything_but_zero_is_true() -> None:
    a = np.array([0.0, -0.0, 0.25, np.nan, np.inf, 5e-324])
    x = variable(a)
    for got in both([T.cast(x, "bool")], {x: a})[0]:
        assert got.tolist() == [False, False, True, True, True, True]


# -- integers ------------------------------------------------------------------------------------------------------------


@functools.cache
def integer_results() -> dict[tuple[str, str], tuple[Array, Array, Array, Array]]:
    """Each binary operation of integers on all pairs of their ends and some more."""
    names = ["add", "sub", "mul", "floor_div", "mod", "fmod", "left_shift", "right_shift", "maximum", "fmin", "bitwise_xor"]
    made, values = {}, {}
    for dtype in INTEGERS:
        info = np.iinfo(dtype)
        few = [v for v in (info.min, info.min + 1, -7, -2, -1, 0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 100, info.max) if v >= info.min]
        pair = [g.ravel() for g in np.meshgrid(*[np.array(few, dtype)] * 2)]
        a, b = map(variable, pair)
        values |= dict(zip((a, b), pair))
        made |= {(name, dtype): (pair, PUBLIC[name](a, b)) for name in names}
    found = both([node for _, node in made.values()], values)
    return {key: (*pair, *results) for (key, (pair, _)), results in zip(made.items(), found)}


def exactly(name: str, a: int, b: int, dtype: str) -> int:
    """The same in Python's integers, wrapped to the dtype."""
    bits, signed = np.iinfo(dtype).bits, np.iinfo(dtype).min < 0
    value = {
        "add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "floor_div": lambda: a // b if b else 0,
        "mod": lambda: a % b if b else 0, "fmod": lambda: abs(a) % abs(b) * (1 if a > 0 else -1) if b else 0,
        "left_shift": lambda: a << b if 0 <= b < bits else 0, "right_shift": lambda: a >> (b if 0 <= b < bits else bits),
        "maximum": lambda: max(a, b), "fmin": lambda: min(a, b), "bitwise_xor": lambda: a ^ b,
    }[name]()  # fmt: skip
    value %= 2**bits
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_and_never_trap(dtype: str) -> None:
    for (name, d), (a, b, compiled, reference) in integer_results().items():
        if d != dtype:
            continue
        wanted = np.array([exactly(name, int(p), int(q), dtype) for p, q in zip(a, b)], dtype)
        np.testing.assert_array_equal(compiled, wanted, name)
        np.testing.assert_array_equal(reference, wanted, name)


def test_the_operators_of_bits() -> None:
    k = T.ivector("k")
    a = np.array([5, -8, 1], "int32")
    for got in both([k << 2, k >> 1, 1 << abs(k), ~k, (k & 6) | (k ^ 3)], {k: a}):
        np.testing.assert_array_equal(*got)
    text = message(TypeError, T.left_shift, T.vector("x"), 1)
    assert "left_shift takes bools and integers, not float32" in text and "cast to an integer" in text


# -- rounding ------------------------------------------------------------------------------------------------------------

HALVES = np.array([-2.5, -1.5, -0.5, -0.0, 0.3, 0.49999999999999994, 0.5, 1.5, 2.5, 2.0**52 + 1, -np.inf, np.nan])


def test_modes_of_rounding() -> None:
    x = variable(HALVES)
    even, away, named, whole = both(
        [T.round(x), T.round(x, mode="half_away_from_zero"), T.round(x, "half_to_even"), T.iround(x, "half_away_from_zero")], {x: HALVES}
    )
    for k in (0, 1):
        np.testing.assert_array_equal(even[k], [-2, -2, -0.0, -0.0, 0, 0, 0, 2, 2, 2.0**52 + 1, -np.inf, np.nan])
        np.testing.assert_array_equal(away[k], [-3, -2, -1, -0.0, 0, 0, 1, 2, 3, 2.0**52 + 1, -np.inf, np.nan])
        np.testing.assert_array_equal(named[k], even[k])
        assert np.signbit(away[k][3]) and whole[k].tolist()[:9] == [-3, -2, -1, 0, 0, 0, 1, 2, 3]
    assert "round: there is no mode 'half_to_evn'" in (text := message(ValueError, T.round, x, mode="half_to_evn"))
    assert "did you mean 'half_to_even'?" in text


def test_decimals() -> None:
    a, k = np.array([1.2345, -7.875, 1e10]), np.array([15, 25, -149])
    x, n = variable(a), variable(k)
    two, tens, same = both([T.round(x, 2), T.round(n, -1), T.round(n, 3)], {x: a, n: k})
    for i in (0, 1):
        np.testing.assert_array_equal(two[i], np.round(a, 2))
        np.testing.assert_array_equal(tens[i], np.round(k, -1))
        np.testing.assert_array_equal(same[i], k)
    assert np.round(x, 2).type == T.round(x, 2).type


def test_division_rounded_up() -> None:
    for dtype in ("int64", "uint8"):
        a = np.array([0, 1, 6, 7, 200], dtype)
        x = variable(a)
        for got in both([T.ceil_intdiv(x, 3)], {x: a})[0]:
            assert got.tolist() == [0, 1, 2, 3, 67] and got.dtype == dtype
    assert "ceil_intdiv takes integers, not float32" in message(TypeError, T.ceil_intdiv, T.vector(), 3)
    x = T.matrix()
    assert T.zeros((T.ceil_intdiv(x.shape[0], 2),)).ndim == 1


# -- what is not finite ----------------------------------------------------------------------------------------------------

ODD = np.array([1.0, -0.0, np.nan, np.inf, -np.inf, 3e38])


def test_extremes_with_nan() -> None:
    x = variable(ODD)
    y = variable(flipped := ODD[::-1].copy())
    for op, reference in ((T.maximum, np.maximum), (T.fmax, np.fmax), (T.fmin, np.fmin), (T.minimum, np.minimum)):
        for got in both([op(x, y)], {x: ODD, y: flipped})[0]:
            np.testing.assert_array_equal(got, reference(ODD, flipped))


def test_closeness_and_replacement_are_numpys() -> None:
    a = np.array([1.0, 1 + 1e-6, np.nan, np.inf, -np.inf, 0.0])
    b = np.array([1.0, 1.0, np.nan, np.inf, np.inf, 1e-9])
    x, y = variable(a), variable(b)
    cases: list[tuple[Any, Any]] = [
        (T.isclose(x, y), np.isclose(a, b)),
        (T.isclose(x, y, rtol=1e-9, equal_nan=True), np.isclose(a, b, rtol=1e-9, equal_nan=True)),
        (T.allclose(x, y), np.allclose(a, b)),
        (T.allclose(x[:2], y[:2]), True),
        (np.isclose(x, y), np.isclose(a, b)),
        (T.nan_to_num(x), np.nan_to_num(a)),
        (T.nan_to_num(x, nan=7.0, posinf=1.0, neginf=-1.0), np.nan_to_num(a, nan=7.0, posinf=1.0, neginf=-1.0)),
    ]
    for results, (_, wanted) in zip(both([node for node, _ in cases], {x: a, y: b}), cases):
        for got in results:
            np.testing.assert_array_equal(got, wanted)


def test_logarithms_that_are_zero_at_zero() -> None:
    a, b = np.array([0.0, 0.0, 2.0, 0.0]), np.array([0.0, np.inf, 3.0, np.nan])
    x, y = variable(a), variable(b)
    xlogx, xlogy = both([T.xlogx(x), T.xlogy(x, y)], {x: a, y: b})
    for k in (0, 1):
        np.testing.assert_allclose(xlogx[k], [0, 0, 2 * np.log(2), 0])
        np.testing.assert_allclose(xlogy[k], [0, 0, 2 * np.log(3), np.nan])


def test_second_is_broadcast_in_its_own_dtype() -> None:
    a, b = T.matrix("a"), T.ivector("b")
    made = T.fill(a, b)
    assert made.dtype == "int32" and T.fill(a, 1.5).dtype == "float32"
    value = made.eval({a: np.zeros((2, 3), "float32"), b: np.array([1, 2, 3], "int32")})
    assert value.tolist() == [[1, 2, 3], [1, 2, 3]]


def test_logaddexp_to_two_ulp() -> None:
    """Of the largest of both operands and 1: where the result is about 0, it is the difference of two such numbers."""
    rng = np.random.default_rng(3)
    for dtype, wide in (("float32", "float64"), ("float64", "longdouble")):
        a, b = (rng.normal(0, 1, 4000) * rng.choice([0.1, 1, 30, 1000], 4000) for _ in range(2))
        a, b = a.astype(dtype), b.astype(dtype)
        exact = np.logaddexp(a.astype(wide), b.astype(wide))
        x, y = variable(a), variable(b)
        (got, _) = both([T.logaddexp(x, y)], {x: a, y: b})[0]
        size = np.maximum(np.maximum(np.abs(a), np.abs(b)), 1).astype(dtype)
        assert (np.abs(got - exact) / np.spacing(size)).max() <= 2


# -- gradients -------------------------------------------------------------------------------------------------------------

STEPS = ("floor", "ceil", "trunc", "round", "rint", "sign", "round_half_away_from_zero")


@pytest.mark.parametrize("name", STEPS)
def test_the_gradient_of_steps_is_zero(name: str) -> None:
    x = T.dvector("x")
    assert exprc.grad(T.sum(PUBLIC[name](x)), x).eval({x: np.array([0.3, -1.7])}).tolist() == [0, 0]


def test_gradients_at_corners() -> None:
    x = T.dvector("x")

    def slope(y: Any, *at: float) -> list[float]:
        return exprc.grad(T.sum(y), x).eval({x: np.array(at)}).tolist()  # type: ignore[no-any-return]

    assert slope(T.maximum(x, 1.0), 0.0, 1.0, 2.0) == [0, 0.5, 1]
    assert slope(T.clip(x, 0.0, 1.0), -1.0, 0.5, 2.0) == [0, 1, 0]
    assert slope(T.j1(x), 0.0) == [0.5] and slope(T.i1(x), 0.0) == [0.5]
    assert slope(T.nan_to_num(x), np.nan, 2.0) == [0, 1]
    assert slope(T.logaddexp(x, 0.0), 800.0, -800.0) == [1, 0]


def test_what_has_no_further_derivative_says_so() -> None:
    a = T.dscalar("a")
    y = T.gammainc(a, 2.0)
    for _ in range(3):
        y = exprc.grad(y, a)
    assert "gammainc has three derivatives by its first operand, not four" in message(TypeError, exprc.grad, y, a)
    assert "the order must be between 0 and 100, not -1" in message(ValueError, T.polygamma, -1, a)
