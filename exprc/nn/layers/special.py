"""Layers that apply a function."""

from __future__ import annotations

from typing import Any

from exprc.nn import nonlinearities
from exprc.nn.layers.base import Layer, read_nonlinearity

__all__ = ["NonlinearityLayer"]


class NonlinearityLayer(Layer):
    r"""Applies a function to every element, :math:`y = \varphi(x)`.

    Parameters
    ----------
    incoming : layer or tuple
    nonlinearity : callable or None
        :math:`\varphi`, from expression to expression of the same shape; None for none.
    name : str, optional

    Examples
    --------
    >>> from exprc.nn.nonlinearities import tanh
    >>> NonlinearityLayer((None, 5), tanh).output_shape
    (None, 5)
    """

    def __init__(self, incoming: Any, nonlinearity: Any = nonlinearities.rectify, **kwargs: Any) -> None:
        super().__init__(incoming, **kwargs)
        self.nonlinearity = read_nonlinearity(self, nonlinearity)

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        return self.nonlinearity(input)
