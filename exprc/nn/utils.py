"""Small functions that the layers share, useful for layers of your own."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

import exprc
import exprc.tensor as T
from exprc.errors import report
from exprc.expr import Expr, Shared, leaves, place_of, user_line

__all__ = [
    "as_expression",
    "as_tuple",
    "collect_shared_vars",
    "compute_norms",
    "create_param",
    "floatX",
    "inspect_kwargs",
    "int_types",
    "one_hot",
    "shared_empty",
    "unique",
]

int_types = (numbers.Integral, np.integer)

Item = TypeVar("Item", bound=Hashable)


def floatX(arr: Any) -> np.ndarray:
    """Return `arr` as an array of the dtype ``exprc.config.floatX``.

    >>> floatX([1, 2]).dtype == exprc.config.floatX
    True
    """
    return np.asarray(arr, dtype=exprc.config.floatX)


def shared_empty(dim: int = 2, dtype: Any = None) -> Shared:
    """Create a shared variable to be filled later with `set_value`.

    Parameters
    ----------
    dim : int
        The number of dimensions.  Every size stays free.
    dtype : NumPy dtype, default `exprc.config.floatX`

    Returns
    -------
    shared variable
        Holds a single zero, of shape ``(1,) * dim``.

    >>> data = shared_empty(2)
    >>> data.set_value(floatX([[1, 2, 3]]))
    >>> data.get_value().shape
    (1, 3)
    """
    value = np.zeros((1,) * dim, dtype=dtype or exprc.config.floatX)
    return exprc.shared(value, shape=(None,) * dim)


def as_expression(input: Any) -> Any:
    """Turn a number, a list or an array into a constant expression; expressions pass through.

    >>> as_expression([1, 2, 3]).ndim
    1
    """
    return input if isinstance(input, Expr) else T.as_tensor_variable(input)


def collect_shared_vars(expressions: Any) -> list[Shared]:
    """Find the shared variables that one or several expressions read.

    Parameters
    ----------
    expressions : expression, or iterable of expressions

    Returns
    -------
    list of shared variables
        Each one once, in the order in which the expressions, read from left to right, meet them.

    >>> w, b = exprc.shared(floatX(2), name="w"), exprc.shared(floatX(1), name="b")
    >>> [v.name for v in collect_shared_vars([w * b, b])]
    ['w', 'b']
    """
    roots = [expressions] if isinstance(expressions, Expr) else list(expressions)
    return [leaf for leaf in leaves(roots) if isinstance(leaf, Shared)]


def one_hot(x: Any, m: int | None = None) -> Any:
    """Turn class numbers into rows with a single 1.

    Parameters
    ----------
    x : vector of integers, shape (n,)
    m : int, optional
        The number of classes; by default the largest entry of `x` plus one.

    Returns
    -------
    matrix of `floatX`, shape (n, m)
        ``result[i, j]`` is 1 where ``x[i] == j``, else 0; a number outside ``[0, m)`` gives a row of zeros.

    >>> one_hot(np.array([2, 0]), m=3).eval().tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    classes = as_expression(x)
    highest: Any = T.max(classes)
    count = highest + 1 if m is None else m
    return T.cast(T.eq(classes.dimshuffle(0, "x"), T.arange(count)), exprc.config.floatX)


def unique(l: Iterable[Item]) -> list[Item]:  # noqa: E741 - the name of the argument is part of the interface
    """Drop the repeated elements of an iterable and keep the order of the first ones.

    >>> unique([2, 1, 2, 3, 1])
    [2, 1, 3]
    """
    return list(dict.fromkeys(l))


def as_tuple(x: Any, N: int, t: Any = None) -> tuple[Any, ...]:
    """Bring a value or an iterable to a tuple of a given length.

    Parameters
    ----------
    x : value or iterable
        A single value is repeated.
    N : int
        The length of the result.
    t : type or tuple of types, optional
        What every element has to be; ``int`` stands for NumPy's integers, too.

    Returns
    -------
    tuple of length `N`

    Raises
    ------
    TypeError
        If an element is no `t`.
    ValueError
        If `x` is an iterable of another length.

    >>> as_tuple(3, 2), as_tuple([1, 2], 2, int)
    ((3, 3), (1, 2))
    """
    values = tuple(x) if isinstance(x, Iterable) else (x,) * N
    kinds: Any = int_types if t is int else t
    if t is not None and not all(isinstance(v, kinds) for v in values):
        wanted = " or ".join(kind.__name__ for kind in (t if isinstance(t, tuple) else (t,)))
        raise TypeError(f"expected a single {wanted} or an iterable of {wanted}, got {x!r}")
    if len(values) != N:
        raise ValueError(f"expected a single value or an iterable of length {N}, got {x!r} of length {len(values)}")
    return values


def inspect_kwargs(func: Callable[..., Any]) -> list[str]:
    """List the arguments of a function that have a default value.

    >>> inspect_kwargs(lambda a, b=1, *, c=2, **rest: None)
    ['b', 'c']
    """
    parameters = inspect.signature(func).parameters.values()
    return [p.name for p in parameters if p.default is not p.empty]


def compute_norms(array: Any, norm_axes: Sequence[int] | None = None) -> Any:
    """Compute the Euclidean norm of the incoming weights of every unit.

    Parameters
    ----------
    array : ndarray or expression
        A parameter of a layer.
    norm_axes : sequence of int, optional
        The axes to sum over.  By default none for a vector (the bias), the first for a matrix (of a dense layer),
        and all but the first for 3 to 5 dimensions (filters of a convolution).

    Returns
    -------
    array or expression
        One norm for every unit.

    Raises
    ------
    TypeError
        If `array` is neither an array nor an expression.
    ValueError
        If it has 0 or more than 5 dimensions and `norm_axes` is not given.

    >>> compute_norms(np.array([[3.0, 1.0], [4.0, 0.0]])).tolist()
    [5.0, 1.0]
    """
    if not isinstance(array, (np.ndarray, Expr)):
        raise TypeError(f"compute_norms: expected an array or an expression, got {type(array).__name__}")
    axes = tuple(norm_axes) if norm_axes is not None else _norm_axes(array.ndim)
    weights: Any = array  # NumPy's functions build nodes where this is an expression
    return np.sqrt(np.sum(np.square(weights), axis=axes)) if axes else np.abs(weights)


def _norm_axes(ndim: int) -> tuple[int, ...]:
    """Return the axes of the incoming weights in a parameter of `ndim` dimensions."""
    if ndim not in (1, 2, 3, 4, 5):
        raise ValueError(f"a parameter of {ndim} dimensions has no usual axes of incoming weights\n  give norm_axes")
    return {1: (), 2: (0,)}.get(ndim, tuple(range(1, ndim)))


def create_param(spec: Any, shape: Sequence[int], name: str | None = None) -> Expr:
    """Make a parameter from whatever the user gave.

    Parameters
    ----------
    spec : number, array, expression, or callable
        An array or a number becomes the value of a new shared variable; float64 and integers are cast to `floatX`.  An
        expression, shared or not, is used as it is.  A callable (such as an initialiser of `exprc.nn.init`) is called
        with `shape` and returns one of these.
    shape : sequence of int
        The shape that the parameter must have; all sizes positive.
    name : str, optional
        Given to the result unless it has a name already.

    Returns
    -------
    shared variable or expression

    Raises
    ------
    ValueError
        If a size in `shape` is not positive.
    RuntimeError
        If `spec` has another shape.
    TypeError
        If `spec`, or what it returned, is none of the above.

    >>> from exprc.nn import init
    >>> create_param(init.Constant(1), (2, 3), name="W").get_value().tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    shape = tuple(shape)
    if not all(isinstance(size, int_types) for size in shape):
        text = f"create_param: every size must be an int, got shape={shape} for the parameter {name!r}"
        raise TypeError(report(text, _place(name), "give a whole number of units, filters or channels"))
    if any(size <= 0 for size in shape):
        text = f"create_param: every size must be positive, got shape={shape} for the parameter {name!r}"
        raise ValueError(report(text, _place(name), "give at least one unit, filter or channel"))
    if isinstance(spec, (type, bool)):
        what, fix = f"the bool {spec}", "None leaves the parameter out"
        if isinstance(spec, type):
            what, fix = f"the class {spec.__name__}", f"make one of it: {spec.__name__}()"
        raise TypeError(report(f"create_param: the value for the parameter {name!r} is {what}", _place(name), fix))
    source = "value"
    if callable(spec) and not isinstance(spec, Expr):
        source, spec = "value that the callable returned", spec(shape)
    if isinstance(spec, (numbers.Number, np.generic)):
        spec = np.asarray(spec)
    if not isinstance(spec, (np.ndarray, Expr)):
        text = f"create_param: the {source} for the parameter {name!r} is of type {type(spec).__name__}"
        fix = "give a number, an array, an expression, or a callable that returns one of these"
        raise TypeError(report(text, _place(name), fix))
    _check_shape(spec, shape, source, name)
    param = spec if isinstance(spec, Expr) else exprc.shared(_narrowed(spec))
    param.name = param.name or name
    return param


def _narrowed(value: np.ndarray) -> np.ndarray:
    """Return a value in the dtype of parameters: NumPy makes float64 where nobody asked for it."""
    return value if value.dtype == np.float32 else floatX(value)


def _check_shape(spec: Any, shape: tuple[int, ...], source: str, name: str | None) -> None:
    """Raise unless the array or expression `spec` can have `shape`; unknown sizes of an expression may be anything."""
    given = spec.shape if isinstance(spec, np.ndarray) else spec.type.shape
    if not compatible(given, shape):
        raise RuntimeError(
            report(
                f"create_param: the {source} for the parameter {name!r} has shape {given}, it should be {shape}",
                _place(name),
                "give a value of that shape, or an initialiser, which is told the shape",
            )
        )


def _place(name: str | None) -> list[tuple[str, str, str]]:
    """The row of a parameter that cannot be made, with the user's line."""
    return [("parameter", name or "(without a name)", place_of(user_line()))]


def compatible(left: Sequence[int | None], right: Sequence[int | None]) -> bool:
    """Say whether two shapes can be the same, where `None` can be any size.

    >>> compatible((None, 3), (2, 3)), compatible((None, 3), (2, 4)), compatible((3,), (3, 1))
    (True, False, False)
    """
    return len(left) == len(right) and all(a is None or b is None or a == b for a, b in zip(left, right, strict=True))
