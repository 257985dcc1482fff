"""Penalties on parameters, to be added to a loss.

>>> from exprc.nn.layers import DenseLayer, InputLayer
>>> network = DenseLayer(InputLayer((None, 4)), 3)
>>> penalty = 1e-4 * regularize_network_params(network, l2)
>>> penalty.ndim
0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import exprc.tensor as T
from exprc.errors import report
from exprc.expr import Expr
from exprc.nn.layers import get_all_params
from exprc.nn.layers.base import label

__all__ = [
    "apply_penalty",
    "l1",
    "l2",
    "regularize_layer_params",
    "regularize_layer_params_weighted",
    "regularize_network_params",
]

#: The parameters that are penalised by default: weights, not biases.
REGULARIZABLE: Mapping[str, bool] = MappingProxyType({"regularizable": True})


def l1(x: Any) -> Any:
    r"""Sum of the magnitudes, :math:`\sum_i |x_i|`: drives weights to zero.

    >>> float(l1(T.constant([1.0, -2.0])).eval())
    3.0
    """
    return T.sum(abs(x))


def l2(x: Any) -> Any:
    r"""Sum of the squares, :math:`\sum_i x_i^2`: keeps weights small.

    >>> float(l2(T.constant([1.0, -2.0])).eval())
    5.0
    """
    return T.sum(T.sqr(x))


def apply_penalty(tensor_or_tensors: Any, penalty: Callable[..., Any], **kwargs: Any) -> Any:
    """Add up the penalties of one or several expressions.

    Parameters
    ----------
    tensor_or_tensors : expression, or iterable of expressions
    penalty : callable
        From an expression (and `kwargs`) to a scalar expression, such as `l1` or `l2`.
    **kwargs
        For `penalty`.

    Returns
    -------
    scalar expression
        0 if there is nothing to penalise.

    >>> float(apply_penalty([T.constant([1.0]), T.constant([2.0])], l2).eval())
    5.0
    """
    if not callable(penalty):
        fix = "for example exprc.nn.regularization.l2"
        raise TypeError(report(f"a penalty is a function of an expression, not {penalty!r}", fix=fix))
    if hasattr(tensor_or_tensors, "get_params"):
        fix = "regularize_layer_params(layer, penalty) penalises the parameters of a layer"
        raise TypeError(report(f"apply_penalty takes expressions, not the layer {label(tensor_or_tensors)}", fix=fix))
    if hasattr(tensor_or_tensors, "ndim"):  # one array; it could be iterated over, too
        return penalty(tensor_or_tensors, **kwargs)
    return sum(penalty(x, **kwargs) for x in tensor_or_tensors)


def regularize_layer_params(
    layer: Any, penalty: Callable[..., Any], tags: Mapping[str, bool] = REGULARIZABLE, **kwargs: Any
) -> Any:
    """Penalise the parameters of one or several layers, not of those before them.

    Parameters
    ----------
    layer : layer, or iterable of layers
    penalty : callable
        See `apply_penalty`.
    tags : dict from tag to bool
        Which parameters; see `Layer.get_params`.
    **kwargs
        For `penalty`.

    Returns
    -------
    scalar expression
    """
    if isinstance(layer, Expr):
        fix = "apply_penalty(parameter, penalty) penalises one parameter"
        raise TypeError(report("regularize_layer_params takes layers", [("given", layer.label, layer.where)], fix))
    layers: Iterable[Any] = [layer] if hasattr(layer, "get_params") else layer
    return apply_penalty([p for item in layers for p in item.get_params(**tags)], penalty, **kwargs)


def regularize_layer_params_weighted(
    layers: Mapping[Any, Any], penalty: Callable[..., Any], tags: Mapping[str, bool] = REGULARIZABLE, **kwargs: Any
) -> Any:
    """Penalise the parameters of several layers, each with its own weight.

    Parameters
    ----------
    layers : dict from layer to number or scalar expression
    penalty, tags, **kwargs
        As for `regularize_layer_params`.

    Returns
    -------
    scalar expression
    """
    if not isinstance(layers, Mapping):
        fix = "for example {hidden: 0.1, out: 0.01}"
        raise TypeError(report(f"layers must be a dict from layer to weight, not {type(layers).__name__}", fix=fix))
    return sum(weight * regularize_layer_params(layer, penalty, tags, **kwargs) for layer, weight in layers.items())


def regularize_network_params(
    layer: Any, penalty: Callable[..., Any], tags: Mapping[str, bool] = REGULARIZABLE, **kwargs: Any
) -> Any:
    """Penalise the parameters of a whole network.

    Parameters
    ----------
    layer : layer, or list of layers
        The last layer; everything before it counts.
    penalty, tags, **kwargs
        As for `regularize_layer_params`.

    Returns
    -------
    scalar expression
    """
    return apply_penalty(get_all_params(layer, **tags), penalty, **kwargs)
