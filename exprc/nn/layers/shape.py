"""Layers that give their input another shape."""

from __future__ import annotations

import math
from typing import Any

from exprc.expr import Expr
from exprc.nn.layers.base import Layer, Shape, geometry_error
from exprc.nn.utils import int_types

__all__ = ["FlattenLayer", "ReshapeLayer", "flatten", "reshape"]


class FlattenLayer(Layer):
    """Joins the last axes into one.

    Parameters
    ----------
    incoming : layer or tuple
    outdim : int
        The number of axes of the output: the first ``outdim - 1`` axes stay.
    name : str, optional

    Raises
    ------
    ValueError
        If `outdim` is not between 1 and the number of axes of the input.

    Examples
    --------
    >>> FlattenLayer((None, 50, 4, 4)).output_shape
    (None, 800)
    """

    def __init__(self, incoming: Any, outdim: int = 2, **kwargs: Any) -> None:
        super().__init__(incoming, **kwargs)
        self.outdim = outdim
        if not 1 <= outdim <= len(self.input_shape):
            text = f"outdim={outdim} must be from 1 to {len(self.input_shape)}, the input's axes"
            raise geometry_error(self, text, "outdim=2 keeps the batch and merges the rest")

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        kept, joined = input_shape[: self.outdim - 1], input_shape[self.outdim - 1 :]
        return (*kept, _product(joined))

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        return input.flatten(self.outdim)


flatten = FlattenLayer


class ReshapeLayer(Layer):
    """Gives the input another shape with the same number of elements.

    Parameters
    ----------
    incoming : layer or tuple
    shape : tuple
        For every axis of the output one of

        * ``i``, a positive int: this size;
        * ``[i]``, a list of one int: the size of axis `i` of the input;
        * ``-1`` or None, at most once: whatever is left;
        * a scalar integer expression: its value.
    name : str, optional

    Raises
    ------
    ValueError
        If `shape` has other entries, names an axis that the input does not have, or if the numbers of elements differ.

    Notes
    -----
    Reshaping reads the elements in row-major order and does not transpose: it cannot swap two axes.

    Examples
    --------
    >>> ReshapeLayer((None, 784), ([0], 1, 28, 28)).output_shape
    (None, 1, 28, 28)
    >>> ReshapeLayer((100, 20, 3), (-1, [2])).output_shape
    (2000, 3)
    """

    def __init__(self, incoming: Any, shape: tuple[Any, ...], **kwargs: Any) -> None:
        super().__init__(incoming, **kwargs)
        self.shape = tuple(-1 if entry is None else entry for entry in shape)
        for entry in self.shape:
            self._check_entry(entry)
        if sum(_is_rest(entry) for entry in self.shape) > 1:
            fix = "give all sizes but one: a number, or [k] for that of axis k of the input"
            raise geometry_error(self, f"only one axis can be left over (-1), got shape={shape}", fix)
        self._check_elements()

    def _check_entry(self, entry: Any) -> None:
        """Raise unless `entry` is one of the things that a shape can hold."""
        if isinstance(entry, list):
            axes = range(len(self.input_shape))
            if len(entry) != 1 or not isinstance(entry[0], int_types) or entry[0] not in axes:
                raise ValueError(f"ReshapeLayer: {entry} must be a list of one axis of the input, 0 to {len(axes) - 1}")
        elif isinstance(entry, int_types):
            if entry < -1 or entry == 0:
                raise ValueError(f"ReshapeLayer: a size must be positive or -1, got {entry}")
        elif not isinstance(entry, Expr):
            raise ValueError(f"ReshapeLayer: shape holds int, [int], None or scalar expressions, got {entry!r}")
        elif entry.ndim != 0:
            raise ValueError(f"ReshapeLayer: a symbolic size must be a scalar, got {entry.ndim} dimensions")

    def _check_elements(self) -> None:
        """Raise if it is known already that the numbers of elements differ."""
        have, want = self._to_share_out(self.input_shape)
        if have is None or want is None:
            return
        fits = have % want == 0 if any(map(_is_rest, self.shape)) else have == want
        if not fits:
            raise geometry_error(
                self,
                f"{self.input_shape} cannot be reshaped to {self.shape}: {have} elements do not make {want}",
                "one size may be -1: it takes what the others leave over",
            )

    def _to_share_out(self, input_shape: Shape) -> tuple[int | None, int | None]:
        """Return the elements of the input and those that the output asks for, without -1; None where unknown.

        An axis that is copied with ``[i]`` is left out on both sides, so that the rest can be compared where its size
        is unknown.
        """
        copied: set[int] = set()
        asked: list[Any] = []
        for entry in self.shape:
            if isinstance(entry, list) and entry[0] not in copied:
                copied.add(entry[0])
            elif not _is_rest(entry):
                asked.append(_size(entry, input_shape))
        left = tuple(size for axis, size in enumerate(input_shape) if axis not in copied)
        return _product(left), _product(tuple(asked))

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        have, want = self._to_share_out(input_shape)
        rest = None if have is None or want is None else have // want
        return tuple(rest if _is_rest(entry) else _size(entry, input_shape) for entry in self.shape)

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        sizes = [input.shape[entry[0]] if isinstance(entry, list) else entry for entry in self.shape]
        return input.reshape(tuple(sizes))


reshape = ReshapeLayer


def _is_rest(entry: Any) -> bool:
    return isinstance(entry, int_types) and entry == -1


def _size(entry: Any, input_shape: Shape) -> int | None:
    """Return the size that an entry of the shape stands for; None if unknown."""
    if isinstance(entry, list):
        return input_shape[entry[0]]
    return None if isinstance(entry, Expr) else entry


def _product(sizes: tuple[int | None, ...]) -> int | None:
    """Multiply sizes; None if one is unknown."""
    return None if None in sizes else math.prod(size for size in sizes if size is not None)
