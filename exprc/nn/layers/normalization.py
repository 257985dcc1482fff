"""Layers that standardise their input."""

# ruff: noqa: B008 - initialisers hold no state: one instance can be everyone's default
from __future__ import annotations

from typing import Any

import exprc
import exprc.tensor as T
from exprc.nn import init, nonlinearities
from exprc.nn.layers.base import Layer, geometry_error, read_axes
from exprc.nn.layers.special import NonlinearityLayer

__all__ = ["BatchNormLayer", "batch_norm"]


class BatchNormLayer(Layer):
    r"""Standardises its input over the batch, :math:`y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta`.

    Parameters
    ----------
    incoming : layer or tuple
    axes : 'auto', int or tuple of int
        The axes over which mean and variance are taken.  'auto': all but the second, so that every unit or feature
        map has its own.
    epsilon : float
        Keeps the division finite.
    alpha : float
        How fast the stored averages follow: ``average = (1 - alpha) * average + alpha * batch``.
    beta, gamma : parameter, shape: the sizes of all other axes; or None
        Offset and scale, to be learned; None leaves it out.
    mean, inv_std : parameter of the same shape
        The stored averages of :math:`\mu` and of :math:`1 / \sqrt{\sigma^2 + \epsilon}`; neither trainable nor
        regularizable.
    name : str, optional

    Raises
    ------
    ValueError
        If a size of the other axes is unknown.

    Notes
    -----
    In training, the statistics of the batch are used, and every call of a compiled function updates the averages.  With
    ``deterministic=True`` the averages are used and stay as they are.  ``batch_norm_use_averages`` and
    ``batch_norm_update_averages``, given to `get_output`, choose each apart.

    The updates are default updates of hidden leaves that share the memory of `mean` and `inv_std`; functions collect
    them by themselves.  Do not compute the same output twice in one function unless one of the two leaves the averages
    alone: they would be updated once, by whichever comes later.

    The nonlinearity belongs behind this layer and a bias before it has no effect: `batch_norm` rearranges a layer.

    References
    ----------
    .. [1] Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
       Shift, ICML 2015, arXiv 1502.03167, algorithms 1 and 2.

    Examples
    --------
    >>> l = BatchNormLayer((None, 16, 8, 8))
    >>> l.axes, l.gamma.type.shape
    ((0, 2, 3), (16,))
    """

    def __init__(
        self,
        incoming: Any,
        axes: Any = "auto",
        epsilon: float = 1e-4,
        alpha: Any = 0.1,
        beta: Any = init.Constant(0),
        gamma: Any = init.Constant(1),
        mean: Any = init.Constant(0),
        inv_std: Any = init.Constant(1),
        **kwargs: Any,
    ) -> None:
        super().__init__(incoming, **kwargs)
        self.axes = self._read_axes(axes)
        self.epsilon = epsilon
        self.alpha = alpha
        shape = self._statistics_shape()
        self.beta = None if beta is None else self.add_param(beta, shape, "beta", regularizable=False)
        self.gamma = None if gamma is None else self.add_param(gamma, shape, "gamma")
        self.mean = self.add_param(mean, shape, "mean", trainable=False, regularizable=False)
        self.inv_std = self.add_param(inv_std, shape, "inv_std", trainable=False, regularizable=False)

    def _read_axes(self, axes: Any) -> tuple[int, ...]:
        """Return the axes as a tuple of int, none negative."""
        if axes == "auto":
            return (0, *range(2, len(self.input_shape)))
        return read_axes(self, "axes", axes, "axes='auto' normalises over all axes but that of the channels")

    def _statistics_shape(self) -> tuple[int, ...]:
        """Return the sizes of the axes over which no mean is taken."""
        sizes = [size for axis, size in enumerate(self.input_shape) if axis not in self.axes]
        if None in sizes:
            raise geometry_error(
                self,
                f"the sizes of all axes but axes={self.axes} must be known, got {self.input_shape}",
                "give them in the shape of the InputLayer",
            )
        return tuple(size for size in sizes if size is not None)

    def get_output_for(
        self,
        input: Any,
        deterministic: bool = False,
        batch_norm_use_averages: bool | None = None,
        batch_norm_update_averages: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the standardised input.

        Parameters
        ----------
        input : expression
        deterministic : bool
            Short for ``batch_norm_use_averages=True, batch_norm_update_averages=False``.
        batch_norm_use_averages : bool, optional
            Use the stored averages instead of the statistics of the batch.
        batch_norm_update_averages : bool, optional
            Let the stored averages follow the statistics of the batch.
        """
        use = deterministic if batch_norm_use_averages is None else batch_norm_use_averages
        update = not deterministic if batch_norm_update_averages is None else batch_norm_update_averages
        batch_mean = T.mean(input, axis=self.axes)
        batch_inv_std = 1 / T.sqrt(T.var(input, axis=self.axes) + self.epsilon)
        mean, inv_std = (self.mean, self.inv_std) if use else (batch_mean, batch_inv_std)
        if update:
            mean = T.where(False, self._following(self.mean, batch_mean), mean)
            inv_std = T.where(False, self._following(self.inv_std, batch_inv_std), inv_std)
        return self._standardise(input, mean, inv_std)

    def _following(self, average: Any, batch: Any) -> Any:
        """Return a leaf on the memory of `average` whose default update moves it towards `batch`.

        A leaf of its own for every output: the default update belongs to the functions that use this output and to no
        other.  A choice that is never made puts it in the graph for `function` to find; the rewriter then removes it.
        """
        leaf = exprc.clone(average, share_inputs=False)
        leaf.default_update = (1 - self.alpha) * leaf + self.alpha * batch
        return leaf

    def _standardise(self, input: Any, mean: Any, inv_std: Any) -> Any:
        """Apply the formula, the statistics broadcast along `axes`."""
        kept = iter(range(input.ndim))
        pattern = ["x" if axis in self.axes else next(kept) for axis in range(input.ndim)]
        scale = inv_std if self.gamma is None else self.gamma * inv_std
        result = (input - mean.dimshuffle(*pattern)) * scale.dimshuffle(*pattern)
        return result if self.beta is None else result + self.beta.dimshuffle(*pattern)


def batch_norm(layer: Any, **kwargs: Any) -> Any:
    """Put batch normalisation between a layer and its nonlinearity.

    Parameters
    ----------
    layer : layer
        It is changed: its nonlinearity moves behind the normalisation, its bias `b`, which would have no effect, goes.
    **kwargs
        For `BatchNormLayer`.  Without a `name` the new layers are called after `layer`, with the suffixes ``_bn`` and
        ``_bn_nonlin``.

    Returns
    -------
    `BatchNormLayer`, or a `NonlinearityLayer` behind it if `layer` had a nonlinearity

    Examples
    --------
    >>> from exprc.nn.layers import DenseLayer, InputLayer, get_all_params
    >>> l = batch_norm(DenseLayer(InputLayer((None, 20)), 10, name="hidden"))
    >>> l.name, [p.name for p in get_all_params(l, trainable=True)]
    ('hidden_bn_nonlin', ['hidden.W', 'hidden_bn.beta', 'hidden_bn.gamma'])
    """
    nonlinearity = getattr(layer, "nonlinearity", None)
    if nonlinearity is not None:
        layer.nonlinearity = nonlinearities.identity
    if getattr(layer, "b", None) is not None:
        del layer.params[layer.b]
        layer.b = None
    own_name = getattr(layer, "name", None)
    name = kwargs.pop("name", None) or (own_name and f"{own_name}_bn")
    normalised = BatchNormLayer(layer, name=name, **kwargs)
    if nonlinearity is None:
        return normalised
    return NonlinearityLayer(normalised, nonlinearity, name=name and f"{name}_nonlin")
