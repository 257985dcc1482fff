"""Layers in which every unit sees the whole input."""

# ruff: noqa: B008 - initialisers hold no state: one instance can be everyone's default
from __future__ import annotations

import math
from typing import Any

import exprc.tensor as T
from exprc.nn import init, nonlinearities
from exprc.nn.layers.base import Layer, Shape, geometry_error, read_nonlinearity

__all__ = ["DenseLayer"]


class DenseLayer(Layer):
    r"""A fully connected layer, :math:`y = \varphi(x W + b)`.

    Parameters
    ----------
    incoming : layer or tuple
    num_units : int
    W : parameter, shape (num_inputs, num_units)
        A shared variable, an expression, an array, a number or an initialiser.
    b : parameter, shape (num_units,), or None
        As `W`; None for a layer without biases.
    nonlinearity : callable or None
        :math:`\varphi`, from expression to expression; None for none.
    num_leading_axes : int
        How many axes are kept; all further ones are flattened into the inputs.  Negative counts from the end, so -1
        applies the layer along the last axis.
    name : str, optional

    Raises
    ------
    ValueError
        If no axis is left to be the input, or if one of these has no fixed size.

    Examples
    --------
    >>> from exprc.nn.layers import InputLayer, count_params
    >>> l = DenseLayer(InputLayer((None, 1, 28, 28)), num_units=64)
    >>> l.output_shape, l.W.type.shape, count_params(l)
    ((None, 64), (784, 64), 50240)
    """

    def __init__(
        self,
        incoming: Any,
        num_units: int,
        W: Any = init.GlorotUniform(),
        b: Any = init.Constant(0.0),
        nonlinearity: Any = nonlinearities.rectify,
        num_leading_axes: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(incoming, **kwargs)
        self.nonlinearity = read_nonlinearity(self, nonlinearity)
        self.num_units = num_units
        self.num_leading_axes = num_leading_axes
        self.W = self.add_param(W, (self._count_inputs(), num_units), name="W")
        self.b = None if b is None else self.add_param(b, (num_units,), name="b", regularizable=False)

    def _count_inputs(self) -> int:
        """Return the number of inputs of a unit."""
        leading, ndim = self.num_leading_axes, len(self.input_shape)
        if not -ndim <= leading < ndim:
            raise geometry_error(
                self,
                f"num_leading_axes={leading} leaves no axis of the {ndim}-dimensional input for the dot product",
                f"give a number from {-ndim} to {ndim - 1}",
            )
        trailing = self.input_shape[leading:]
        sizes = [size for size in trailing if size is not None]
        if len(sizes) < len(trailing):
            raise geometry_error(
                self,
                f"the inputs of a unit need fixed sizes, got {self.input_shape} with num_leading_axes={leading}",
                "give the size in the shape of the InputLayer, or keep the axis with num_leading_axes",
            )
        return math.prod(sizes)

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        return (*input_shape[: self.num_leading_axes], self.num_units)

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        leading = self.num_leading_axes % input.ndim
        if input.ndim > leading + 1:
            input = input.flatten(leading + 1)
        activation = T.dot(input, self.W)
        if self.b is not None:
            activation = activation + self.b
        return self.nonlinearity(activation)
