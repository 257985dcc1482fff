"""Layers that disturb their input during training."""

from __future__ import annotations

from numbers import Real
from typing import Any

import exprc.tensor as T
from exprc.expr import Expr
from exprc.nn.layers.base import Layer, geometry_error, read_axes
from exprc.nn.random import get_rng

__all__ = ["DropoutLayer", "dropout"]


class DropoutLayer(Layer):
    r"""Sets each input to zero with a given probability, and scales the others up so that the mean stays.

    Parameters
    ----------
    incoming : layer or tuple
    p : float or scalar expression
        The probability of zero.  A shared variable can be changed during training.
    rescale : bool
        Divide by :math:`1 - p` (in training only).
    shared_axes : int or tuple of int
        Axes along which all elements share their fate: ``(2, 3)`` drops whole feature maps.
    name : str, optional

    Raises
    ------
    ValueError
        If the number `p` is not in [0, 1).

    Notes
    -----
    Only `get_output` with ``deterministic=True``, as for testing, leaves the input as it is.  The seed of the mask
    comes from `exprc.nn.random.get_rng` when the layer is made; the mask is another one at each call of a function.

    References
    ----------
    .. [1] Hinton, Srivastava, Krizhevsky, Sutskever, Salakhutdinov: Improving neural networks by preventing
       co-adaptation of feature detectors, 2012, arXiv 1207.0580.
    .. [2] Srivastava et al.: Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 15 (2014),
       section 4; scaling during training is section 10.

    Examples
    --------
    >>> from exprc.nn.layers import InputLayer, get_output
    >>> l_in = InputLayer((2, 3))
    >>> l = DropoutLayer(l_in, p=0.5)
    >>> get_output(l, deterministic=True) is l_in.input_var
    True
    """

    def __init__(
        self, incoming: Any, p: Any = 0.5, rescale: bool = True, shared_axes: Any = (), **kwargs: Any
    ) -> None:
        super().__init__(incoming, **kwargs)
        if isinstance(p, Real) and not 0 <= float(p) < 1:
            fix = "p=0.5 drops half of the units; p=1 would leave nothing"
            raise geometry_error(self, f"p is the probability of zero, 0 <= p < 1, got {p}", fix)
        if not isinstance(p, (Real, Expr)):
            raise TypeError(str(geometry_error(self, f"p must be a number or a scalar expression, got {p!r}")))
        self.p = p
        self.rescale = rescale
        self.shared_axes = read_axes(self, "shared_axes", shared_axes)
        self._srng = T.RandomStreams(get_rng().randint(1, 2**31 - 1))

    def get_output_for(self, input: Any, deterministic: bool = False, **kwargs: Any) -> Any:
        """Return `input` times a random mask, or `input` itself if `deterministic`."""
        if deterministic or (isinstance(self.p, Real) and self.p == 0):
            return input
        retain = 1 - self.p
        mask = self._srng.binomial(self._mask_shape(input), n=1, p=retain, dtype=input.dtype)
        return input * mask / retain if self.rescale else input * mask

    def _mask_shape(self, input: Any) -> tuple[Any, ...]:
        """Return the shape of the mask, 1 along the shared axes; sizes unknown to the layer come from `input`."""
        shared = {axis % input.ndim for axis in self.shared_axes}
        sizes = [input.shape[axis] if size is None else size for axis, size in enumerate(self.input_shape)]
        return tuple(1 if axis in shared else size for axis, size in enumerate(sizes))


dropout = DropoutLayer
