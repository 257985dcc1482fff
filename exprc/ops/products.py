"""Sums of products: inner, batched and Kronecker products, and einsum over any number of operands.

All of it comes down to `dot` and to products of stacks of matrices, with axes moved before and after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.expr import Expr, as_expr
from exprc.forms import cast_to, node_rows, wrap
from exprc.ops.axes import one_axis, ravel, roll, shape_padleft, stated
from exprc.ops.create import shape_of
from exprc.ops.diagonal import diagonal
from exprc.ops.formula import mul
from exprc.ops.linalg import dot, stack_product, tensordot
from exprc.ops.reduce import sum_
from exprc.ops.view import dim_of, dimshuffle, reshape
from exprc.types import promote

#: What `exprc.tensor` shows of this family (a trailing underscore is dropped there).
__all__ = ["batched_dot", "batched_tensordot", "cross", "einsum", "inner", "kron", "matrix_dot", "multi_dot", "vdot", "vecdot"]


def inner(a: Any, b: Any) -> Expr:
    """Return the sums of products over the last axes of both; the plain product if one is a scalar."""
    a, b = wrap((a, b))
    return mul(a, b) if a.ndim == 0 or b.ndim == 0 else tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)))  # type: ignore[no-any-return]


def vdot(a: Any, b: Any) -> Expr:
    """Return the sum of products of all elements of two arrays of one size."""
    return dot(ravel(a), ravel(b))


def vecdot(a: Any, b: Any, axis: int = -1) -> Expr:
    """Return the sums of products along one axis of arrays that broadcast together."""
    a, b = wrap((a, b))
    dtype = promote((a.dtype, b.dtype))
    return cast_to(sum_(mul(a, b), axis=axis), dtype)


def cross(a: Any, b: Any, axis: int = -1) -> Expr:
    """Return the cross products of vectors of three elements along an axis.

    Raises
    ------
    ValueError
        if the axis does not have three elements.
    """
    a, b = wrap((a, b))
    for x in (a, b):
        if x.type.shape[one_axis("cross", axis, x.ndim, x)] not in (3, None):
            raise ValueError(report("cross: vectors must have three elements", node_rows((a, b))))
    a, b = (stated(x, [None] * (axis % x.ndim) + [3], "cross: vectors must have three elements") for x in (a, b))
    return roll(a, -1, axis) * roll(b, -2, axis) - roll(a, -2, axis) * roll(b, -1, axis)


def multi_dot(arrays: Sequence[Any]) -> Expr:
    """Return the product of matrices, in the order that takes the fewest multiplications where their shapes are known.

    The first and the last may be vectors. Order: the dynamic programme of Cormen et al., Introduction to Algorithms, section 15.2.
    """
    inputs = list(wrap(tuple(arrays)))
    if len(inputs) < 2:
        raise ValueError("multi_dot: at least two arrays are needed")
    labels = [[k, k + 1] for k in range(len(inputs))]
    labels[0], labels[-1] = labels[0][2 - inputs[0].ndim :], labels[-1][: inputs[-1].ndim]
    ends = [label for label in (0, len(inputs)) if any(label in part for part in labels)]
    return _contracted("multi_dot", list(zip(inputs, labels)), ends)


def matrix_dot(*arrays: Any) -> Expr:
    """Return the product of matrices given one by one: Theano's name for `multi_dot`."""
    return multi_dot(arrays) if len(arrays) > 1 else as_expr(arrays[0])


def kron(a: Any, b: Any) -> Expr:
    """Return the Kronecker product: `b` once for each element of `a`, multiplied with it, put in its place.

    >>> kron([1, 2], [1, 10]).eval().tolist()
    [1, 10, 2, 20]
    """
    a, b = wrap((a, b))
    ndim = max(a.ndim, b.ndim)
    a, b = shape_padleft(a, ndim - a.ndim), shape_padleft(b, ndim - b.ndim)
    left = dimshuffle(a, tuple(e for k in range(ndim) for e in (k, "x")))
    right = dimshuffle(b, tuple(e for k in range(ndim) for e in ("x", k)))
    return reshape(left * right, tuple(m * n for m, n in zip(shape_of(a), shape_of(b))))  # type: ignore[no-any-return]


# -- batched -----------------------------------------------------------------------------------------------------------


def batched_dot(a: Any, b: Any) -> Expr:
    """Return `dot` of each pair of ``a[k]`` and ``b[k]``: products of the entries of two stacks.

    Parameters
    ----------
    a : (batch, ..., k); b : (batch, k) or (batch, ..., k, n); a vector stands for a scalar each.

    >>> import exprc.tensor as T
    >>> batched_dot(T.tensor3(shape=(8, 2, 3)), T.tensor3(shape=(8, 3, 4))).type.shape
    (8, 2, 4)
    """
    a, b = wrap((a, b))
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(report("batched_dot: the first axis of both is that of the stack; a scalar has none", node_rows((a, b))))
    if a.ndim == 1 or b.ndim == 1:
        n = max(a.ndim, b.ndim)
        a, b = (dimshuffle(x, (*range(x.ndim), *("x",) * (n - x.ndim))) for x in (a, b))
        return a * b
    return batched_tensordot(a, b, ((a.ndim - 1,), (max(b.ndim - 2, 1),)))


def batched_tensordot(a: Any, b: Any, axes: Any = 2) -> Expr:
    """Return `tensordot` of each pair of ``a[k]`` and ``b[k]``.

    Parameters
    ----------
    axes : an int n (the last n of `a` with the first n of `b` behind the stack's), or a pair of ints or lists, counted with the stack's.
    """
    a, b = wrap((a, b))
    if isinstance(axes, int):
        axes = range(a.ndim - axes, a.ndim), range(1, 1 + axes)
    over = [[one_axis("batched_tensordot", i, x.ndim, x) for i in ([part] if isinstance(part, int) else part)]
            for x, part in zip((a, b), axes)]  # fmt: skip
    if len(over[0]) != len(over[1]) or 0 in over[0] + over[1]:
        text = f"batched_tensordot: cannot pair the axes {over[0]} with {over[1]}"
        raise ValueError(report(text, node_rows((a, b)), "name as many of the left as of the right, and not axis 0"))
    left = [0, *range(1, a.ndim)]
    right = [0, *(left[over[0][over[1].index(k)]] if k in over[1] else a.ndim + k for k in range(1, b.ndim))]
    kept = [*(k for k in left if k not in over[0]), *(k for k in right if k >= a.ndim)]
    return _contracted("batched_tensordot", [(a, left), (b, right)], kept)


# -- einsum ------------------------------------------------------------------------------------------------------------

Term = tuple[Expr, list[int]]  # an operand and the labels of its axes


def einsum(subscripts: Any, *operands: Any, optimize: Any = True) -> Expr:
    """Return a sum of products by Einstein's notation: NumPy's einsum, for any number of operands.

    Parameters
    ----------
    subscripts : as ``"ij,jk->ik"``: a letter for each axis, the same for axes that go together; those that are not in the output are summed
        over. Without ``->`` the output has the letters that occur once, in alphabetical order. ``...`` stands for axes that broadcast.
        The form ``einsum(a, [0, 1], b, [1, 2], [0, 2])`` is understood, too.
    optimize : False takes operands from left to right; else, where all shapes are known, two at a time in the order that
        `numpy.einsum_path` finds.

    Raises
    ------
    ValueError
        if letters and axes do not fit, or axes of one letter differ in length.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> x, w = T.tensor3(shape=(8, 5, 3)), T.matrix(shape=(3, 2))
    >>> einsum("bij,jk->bik", x, w).type.shape
    (8, 5, 2)
    """
    if not isinstance(subscripts, str):
        if len(operands) < 1 or isinstance(operands[0], Expr):
            fix = 'as einsum("ij,jk->ik", x, y), or einsum(x, [0, 1], y, [1, 2])'
            raise TypeError(report("einsum: the first argument says which axes go together", node_rows((as_expr(subscripts),)), fix))
        subscripts, operands = _from_lists(subscripts, *operands)
    inputs = wrap(operands)
    labels, output = _parsed(subscripts, inputs)
    return _contracted("einsum", list(zip(inputs, labels)), output, optimize)


def _from_lists(*given: Any) -> tuple[str, tuple[Any, ...]]:
    def letters(labels: Iterable[Any]) -> str:
        return "".join("..." if k is Ellipsis else chr(ord("A") + k + 6 * (k > 25)) for k in labels)

    pairs = len(given) // 2
    terms = ",".join(letters(given[2 * k + 1]) for k in range(pairs))
    return terms + (f"->{letters(given[-1])}" if len(given) % 2 else ""), tuple(given[2 * k] for k in range(pairs))


def _wrong(subscripts: str, what: str, operands: Sequence[Expr]) -> ValueError:
    return ValueError(report(f"einsum: {subscripts!r}: {what}", node_rows(operands)))


def _parsed(subscripts: str, operands: Sequence[Expr]) -> tuple[list[list[int]], list[int]]:
    """The labels of every operand and of the output: letters as their codes, axes of ``...`` as -1, -2 ... from the last."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise _wrong(subscripts, f"{len(terms)} terms for {len(operands)} operands", operands)
    labels = [_labels(subscripts, term, x.ndim, operands) for term, x in zip(terms, operands)]
    longest = max((sum(k < 0 for k in part) for part in labels), default=0)
    if arrow:
        output = _labels(subscripts, right, None, operands, longest)
    else:
        counts = Counter(k for part in labels for k in part if k > 0)
        output = [*range(-longest, 0), *sorted(k for k, n in counts.items() if n == 1)]
    missing = [chr(k) for k in output if not any(k in part for part in labels)]
    if missing or len(set(output)) != len(output):
        what = f"the output names {missing[0]!r}, which no operand has" if missing else "the output names a letter twice"
        raise _wrong(subscripts, what, operands)
    return labels, output


def _labels(subscripts: str, term: str, ndim: int | None, operands: Sequence[Expr], spread: int = 0) -> list[int]:
    before, dots, after = term.partition("...")
    if not all(c.isascii() and c.isalpha() for c in before + after):
        raise _wrong(subscripts, f"{term!r} may hold letters and one '...' only", operands)
    named = len(before) + len(after)
    if ndim is not None and (ndim < named or (ndim > named and not dots)):
        raise _wrong(subscripts, f"{term!r} names {named} axes of an operand of {ndim}", operands)
    more = spread if ndim is None else ndim - named
    return [*map(ord, before), *(range(-more, 0) if dots else ()), *map(ord, after)]


def _contracted(name: str, terms: list[Term], output: list[int], optimize: Any = True) -> Expr:
    """Multiply the operands, two at a time, and sum over every label as soon as nothing else needs it."""
    operands = [x for x, _ in terms]
    dtype = promote([x.dtype for x in operands])
    terms = _squeezed([_without_doubles(name, cast_to(x, dtype), labels) for x, labels in terms])
    _check_lengths(name, terms, operands)
    for pair in _path(terms, output) if optimize and len(terms) > 2 else _left_to_right(len(terms)):
        chosen = [terms[k] for k in pair]
        terms = [t for k, t in enumerate(terms) if k not in pair]
        made = chosen[0]
        for k, other in enumerate(chosen[1:]):
            rest = [*terms, *chosen[k + 2 :]]
            made = _pair(made, other, {*output, *(label for _, labels in rest for label in labels)})
        terms.append(made)
    x, labels = _summed(*terms[0], set(output))
    return dimshuffle(x, tuple(labels.index(k) for k in output))  # type: ignore[no-any-return]


def _without_doubles(name: str, x: Expr, labels: Sequence[int]) -> Term:
    """Axes of one operand with the same label become its diagonal."""
    labels = list(labels)
    while len(set(labels)) < len(labels):
        double = next(k for k in labels if labels.count(k) > 1)
        first = labels.index(double)
        second = labels.index(double, first + 1)
        x = stated(x, [None] * second + [dim_of(x, first)], f"{name}: axes of one operand that go together differ in length")
        x = diagonal(x, 0, first, second)
        labels = [k for a, k in enumerate(labels) if a not in (first, second)] + [double]
    return x, labels


def _squeezed(terms: list[Term]) -> list[Term]:
    """Drop axes of length 1 where another operand has a longer one of the same label: they broadcast."""
    longer = {k for x, labels in terms for k, d in zip(labels, x.type.shape) if d != 1}
    made = []
    for x, labels in terms:
        kept = [a for a, (k, d) in enumerate(zip(labels, x.type.shape)) if d != 1 or k not in longer]
        made.append((dimshuffle(x, tuple(kept)) if len(kept) < x.ndim else x, [labels[a] for a in kept]))
    return made


def _check_lengths(name: str, terms: list[Term], operands: Sequence[Expr]) -> None:
    found: dict[int, int] = {}
    for x, labels in terms:
        for k, d in zip(labels, x.type.shape):
            if d is not None and found.setdefault(k, d) != d:
                what = f"{chr(k)!r} " if name == "einsum" and k > 0 else ""
                raise ValueError(report(f"{name}: axes {what}that go together differ in length: {found[k]} ≠ {d}", node_rows(operands)))


def _left_to_right(n: int) -> list[tuple[int, ...]]:
    """The places of the pairs, where each product goes to the end of the list, as in `numpy.einsum_path`."""
    return [(0, 1), *((k, 0) for k in range(n - 2, 0, -1))] if n > 1 else []


def _path(terms: list[Term], output: list[int]) -> list[tuple[int, ...]]:
    """The order in which NumPy would multiply; from left to right where a length is not known."""
    lengths = {k: d for x, labels in terms for k, d in zip(labels, x.type.shape)}
    if None in lengths.values() or len(lengths) > 52:
        return _left_to_right(len(terms))
    letter = {k: chr(ord("A") + n + 6 * (n > 25)) for n, k in enumerate(lengths)}
    text = ",".join("".join(letter[k] for k in labels) for _, labels in terms) + "->" + "".join(letter[k] for k in output)
    shapes = [np.broadcast_to(np.float32(0), tuple(lengths[k] or 0 for k in labels)) for _, labels in terms]
    return [tuple(sorted(pair)) for pair in np.einsum_path(text, *shapes, optimize="greedy")[0][1:]]


def _summed(x: Expr, labels: Sequence[int], needed: set[int]) -> Term:
    """Sum over the axes that nothing needs, in the dtype of the operand."""
    gone = tuple(a for a, k in enumerate(labels) if k not in needed)
    return (cast_to(sum_(x, axis=gone), x.dtype) if gone else x), [k for k in labels if k in needed]


def _pair(left: Term, right: Term, needed: set[int]) -> Term:
    """The product of two operands, summed over the labels that only they have."""
    a, in_a = _summed(*left, needed | set(right[1]))
    b, in_b = _summed(*right, needed | set(left[1]))
    both = [k for k in in_a if k in in_b]
    batch, over = [k for k in both if k in needed], [k for k in both if k not in needed]
    free_a, free_b = ([k for k in labels if k not in both] for labels in (in_a, in_b))
    if not over:
        result = batch + free_a + free_b
        return mul(_spread(a, in_a, result), _spread(b, in_b, result)), result

    def dims(x: Expr, labels: list[int], wanted: list[int]) -> list[Any]:
        return [dim_of(x, labels.index(k)) for k in wanted]

    one = reshape(_ordered(a, in_a, batch + free_a + over), tuple(map(_product, (dims(a, in_a, w) for w in (batch, free_a, over)))))
    two = reshape(_ordered(b, in_b, batch + over + free_b), tuple(map(_product, (dims(b, in_b, w) for w in (batch, over, free_b)))))
    made = stack_product(one, two)
    return reshape(made, (*dims(a, in_a, batch + free_a), *dims(b, in_b, free_b))), batch + free_a + free_b


def _ordered(x: Expr, labels: list[int], wanted: list[int]) -> Expr:
    return x if labels == wanted else dimshuffle(x, tuple(labels.index(k) for k in wanted))


def _spread(x: Expr, labels: list[int], wanted: list[int]) -> Expr:
    return dimshuffle(x, tuple(labels.index(k) if k in labels else "x" for k in wanted))  # type: ignore[no-any-return]


def _product(dims: Sequence[Any]) -> Any:
    total: Any = 1
    for d in dims:
        total = total * d
    return total
