"""Layers that bring several inputs together."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import exprc.tensor as T
from exprc.nn.layers.base import MergeLayer, Shape, geometry_error, read_function
from exprc.nn.utils import compatible

__all__ = [
    "ConcatLayer",
    "ElemwiseMergeLayer",
    "ElemwiseSumLayer",
    "autocrop",
    "autocrop_array_shapes",
    "concat",
]

CROPS = (None, "lower", "center", "upper")


def autocrop(inputs: Sequence[Any], cropping: Sequence[str | None] | None) -> list[Any]:
    """Crop expressions to the smallest size along each axis.

    Parameters
    ----------
    inputs : sequence of expressions
        All with the same number of axes.
    cropping : sequence of {None, 'lower', 'center', 'upper'}, or None
        For each axis what is kept: everything, the first, the middle, or the last elements.  Axes beyond the end of
        the sequence are kept; None keeps all axes.

    Returns
    -------
    list of expressions

    >>> [x.type.shape for x in autocrop([T.zeros((2, 5)), T.zeros((2, 3))], [None, 'center'])]
    [(2, 3), (2, 3)]
    """
    if cropping is None:
        return list(inputs)
    modes = _crop_modes(cropping, [x.ndim for x in inputs])
    smallest = [_smallest([x.shape[axis] for x in inputs], mode) for axis, mode in enumerate(modes)]
    return [x[tuple(_crop(x.shape[a], smallest[a], mode) for a, mode in enumerate(modes))] for x in inputs]


def autocrop_array_shapes(input_shapes: Sequence[Shape], cropping: Sequence[str | None] | None) -> list[Shape]:
    """Compute the shapes that `autocrop` gives.

    Parameters
    ----------
    input_shapes : sequence of tuple of int or None
    cropping : as for `autocrop`

    Returns
    -------
    list of tuple of int or None
        A size is None where one of the sizes to be cropped is.

    >>> autocrop_array_shapes([(2, 5), (2, 3), (2, 4)], [None, 'lower'])
    [(2, 3), (2, 3), (2, 3)]
    """
    if cropping is None:
        return list(input_shapes)
    modes = _crop_modes(cropping, [len(shape) for shape in input_shapes])
    columns = [_cropped_sizes(sizes, mode) for sizes, mode in zip(zip(*input_shapes, strict=True), modes, strict=True)]
    return list(zip(*columns, strict=True))


def _cropped_sizes(sizes: Sequence[int | None], mode: str | None) -> Sequence[int | None]:
    """Return the sizes along one axis of all inputs after cropping."""
    if mode is None:
        return sizes
    smallest = None if None in sizes else min(size for size in sizes if size is not None)
    return [smallest] * len(sizes)


def _crop_modes(cropping: Sequence[str | None], ndims: Sequence[int]) -> list[str | None]:
    """Return one mode for each axis."""
    if any(mode not in CROPS for mode in cropping):
        raise ValueError(f"cropping holds None, 'lower', 'center' or 'upper', got {list(cropping)}")
    if len(set(ndims)) > 1:
        raise ValueError(f"cropping needs inputs with the same number of axes, got {list(ndims)}")
    return (list(cropping) + [None] * ndims[0])[: ndims[0]]


def _smallest(sizes: Sequence[Any], mode: str | None) -> Any:
    """Return the smallest of the sizes, int or expression; None where nothing is cropped."""
    if mode is None:
        return None
    return min(sizes) if all(isinstance(size, int) for size in sizes) else reduce(T.minimum, sizes)


def _crop(size: Any, smallest: Any, mode: str | None) -> slice:
    """Return the slice of one axis that cropping keeps."""
    if mode is None:
        return slice(None)
    start = {"lower": 0, "center": (size - smallest) // 2, "upper": size - smallest}[mode]
    return slice(start, start + smallest)


def _common_shape(shapes: Sequence[Shape]) -> Shape:
    """Return for each axis the first known size."""
    return tuple(next((size for size in sizes if size is not None), None) for sizes in zip(*shapes, strict=True))


class ConcatLayer(MergeLayer):
    """Joins its inputs along an axis.

    Parameters
    ----------
    incomings : list of layers or tuples
        Of the same shape except along `axis`.
    axis : int
        1 joins feature maps or units.
    cropping : sequence of {None, 'lower', 'center', 'upper'}, optional
        Crop the inputs first, see `autocrop`; no cropping along `axis` itself.
    name : str, optional

    Raises
    ------
    ValueError
        If the shapes differ along another axis, or `axis` is out of range.

    References
    ----------
    .. [1] Szegedy et al.: Going Deeper with Convolutions, CVPR 2015, arXiv 1409.4842, section 4.

    Examples
    --------
    >>> ConcatLayer([(None, 16, 8, 8), (None, 32, 8, 8)]).output_shape
    (None, 48, 8, 8)
    """

    def __init__(
        self, incomings: Iterable[Any], axis: int = 1, cropping: Sequence[str | None] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(incomings, **kwargs)
        self.axis = axis
        ndim = len(self.input_shapes[0])
        if not -ndim <= axis < ndim:
            fix = f"give an axis from 0 to {ndim - 1}"
            raise geometry_error(self, f"axis {axis} is out of range for {ndim}-dimensional inputs", fix)
        # Inputs of different sizes along the axis itself are what this layer is for.
        self.cropping = None if cropping is None else _without(cropping, axis % ndim)
        _check_same(self, autocrop_array_shapes(self.input_shapes, self.cropping), axis % ndim)

    def get_output_shape_for(self, input_shapes: list[Shape]) -> Shape:
        shapes = autocrop_array_shapes(input_shapes, self.cropping)
        axis = self.axis % len(shapes[0])
        sizes = [shape[axis] for shape in shapes]
        common = _common_shape(shapes)
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        return (*common[:axis], total, *common[axis + 1 :])

    def get_output_for(self, inputs: list[Any], **kwargs: Any) -> Any:
        return T.concatenate(autocrop(inputs, self.cropping), axis=self.axis)


concat = ConcatLayer


def _without(cropping: Sequence[str | None], axis: int) -> list[str | None]:
    return [None if i == axis else mode for i, mode in enumerate(cropping)]


def _check_same(layer: MergeLayer, shapes: list[Shape], but: int | None = None) -> None:
    """Raise unless all shapes can be the same, except along the axis `but`."""
    blank = [tuple(None if i == but else size for i, size in enumerate(shape)) for shape in shapes]
    for shape in blank[1:]:
        if not all(compatible(shape, other) for other in blank):
            except_axis = "" if but is None else f" except along axis {but}"
            raise geometry_error(
                layer,
                f"the input shapes must be the same{except_axis}, got {', '.join(map(str, layer.input_shapes))}",
                "crop with cropping=, or change the layers before",
            )


class ElemwiseMergeLayer(MergeLayer):
    """Combines its inputs element by element with a function of two arguments.

    Parameters
    ----------
    incomings : list of layers or tuples
        Of the same shape.
    merge_function : callable
        From two expressions to one, such as `exprc.tensor.maximum`; applied from left to right.
    cropping : sequence of {None, 'lower', 'center', 'upper'}, optional
        Crop the inputs first, see `autocrop`.
    name : str, optional

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> ElemwiseMergeLayer([(None, 8), (None, 8)], T.maximum).output_shape
    (None, 8)
    """

    def __init__(
        self,
        incomings: Iterable[Any],
        merge_function: Callable[[Any, Any], Any],
        cropping: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(incomings, **kwargs)
        self.merge_function = read_function(self, "merge_function", merge_function, "for example exprc.tensor.maximum")
        self.cropping = cropping
        _check_same(self, autocrop_array_shapes(self.input_shapes, cropping))

    def get_output_shape_for(self, input_shapes: list[Shape]) -> Shape:
        return _common_shape(autocrop_array_shapes(input_shapes, self.cropping))

    def get_output_for(self, inputs: list[Any], **kwargs: Any) -> Any:
        return reduce(self.merge_function, autocrop(inputs, self.cropping))


class ElemwiseSumLayer(ElemwiseMergeLayer):
    r"""Adds its inputs, :math:`y = \sum_i c_i x_i`: the junction of a residual network.

    Parameters
    ----------
    incomings : list of layers or tuples
        Of the same shape.
    coeffs : number or list of numbers
        :math:`c_i`, one for all or one for each input.
    cropping, name
        As for `ElemwiseMergeLayer`.

    Raises
    ------
    ValueError
        If the shapes differ, or the number of coefficients is not the number of inputs.

    References
    ----------
    .. [1] He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385, section 3.2.

    Examples
    --------
    >>> ElemwiseSumLayer([(None, 8), (None, 8)], coeffs=0.5).output_shape
    (None, 8)
    """

    def __init__(
        self,
        incomings: Iterable[Any],
        coeffs: Any = 1,
        cropping: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(incomings, operator.add, cropping=cropping, **kwargs)
        count = len(self.input_shapes)
        self.coeffs = list(coeffs) if isinstance(coeffs, (list, tuple)) else [coeffs] * count
        if len(self.coeffs) != count:
            fix = "give one coefficient for each input, or a single number for all"
            raise geometry_error(self, f"{len(self.coeffs)} coefficients for {count} inputs", fix)

    def get_output_for(self, inputs: list[Any], **kwargs: Any) -> Any:
        # A coefficient of 1 needs no multiplication in the graph.
        terms = [x if _is_one(c) else c * x for c, x in zip(self.coeffs, inputs, strict=True)]
        return super().get_output_for(terms, **kwargs)


def _is_one(coefficient: Any) -> bool:
    return isinstance(coefficient, (int, float)) and coefficient == 1
