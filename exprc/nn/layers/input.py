"""Where data enters a network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import exprc.tensor as T
from exprc.errors import report
from exprc.nn.layers.base import Layer, Shape, check_sizes, label
from exprc.nn.utils import compatible

__all__ = ["InputLayer"]


class InputLayer(Layer):
    """A layer that stands for an input variable.

    Parameters
    ----------
    shape : tuple of int or None
        The shape of the data; None for a size that may vary, usually the first, the batch size.
    input_var : expression, optional
        The variable for the data.  By default a new one of dtype `floatX` with this shape; values of float64 and
        integers are cast to it.
    name : str, optional
        The new variable is called ``name.input``, or ``input`` without a name.

    Raises
    ------
    ValueError
        If a size is not positive, or if `input_var` cannot have this shape.

    Notes
    -----
    The first axis is the batch by the convention of all layers.  Data for convolutions have the shape
    ``(batch, channels, rows, columns)``.

    Examples
    --------
    >>> l = InputLayer((None, 3, 32, 32), name="images")
    >>> l.output_shape, l.input_var.name, l.input_var.type.shape
    ((None, 3, 32, 32), 'images.input', (None, 3, 32, 32))
    """

    def __init__(self, shape: Shape, input_var: Any = None, name: str | None = None, **kwargs: Any) -> None:
        # No input_layer: an input layer is where every walk from layer to layer ends.
        self._begin(name, kwargs)
        if not isinstance(shape, Iterable):
            text = f"{label(self)}: shape must be a tuple of int or None, got {shape!r}"
            raise TypeError(report(text, [("layer", label(self), self.where)], f"did you mean (None, {shape!r})?"))
        self.shape: Shape = tuple(shape)
        check_sizes(self, self.shape, "shape")
        self.input_var = self._new_variable() if input_var is None else self._checked(input_var)

    def _input_shapes(self) -> Shape:
        return self.shape

    def _new_variable(self) -> Any:
        name = "input" if self.name is None else f"{self.name}.input"
        return T.Input(T.TensorType("floatX", self.shape), name, strict=False)

    def _checked(self, input_var: Any) -> Any:
        """Return the variable that the user gave if it can have the shape of the layer."""
        if not hasattr(input_var, "ndim") or not hasattr(input_var, "type"):
            text = f"{label(self)}: input_var must be a variable, not {type(input_var).__name__}"
            fix = "values are given to get_output(layer, inputs), or to the function that is made of its result"
            raise TypeError(report(text, [("layer", label(self), self.where)], fix))
        if input_var.ndim != len(self.shape):
            text = f"the shape {self.shape} has {len(self.shape)} dimensions, but the variable {input_var.name!r} has {input_var.ndim}"
            raise self._misfit(text, input_var)
        if not compatible(input_var.type.shape, self.shape):
            raise self._misfit(f"the variable {input_var.name!r} has shape {input_var.type.shape}, not {self.shape}", input_var)
        return input_var

    def _misfit(self, what: str, variable: Any) -> ValueError:
        rows = [("layer", label(self), self.where), ("variable", f"{variable.label}  {variable.type}", variable.where)]
        fix = "give the variable the layer's shape, or leave input_var out: the layer then makes one that fits"
        return ValueError(report(f"{label(self)}: {what}", rows, fix))
