"""Neural networks from expressions: layers, and what it takes to train them.

A network is its last layer.  Every layer turns expressions into expressions and hides nothing: what
`layers.get_output` returns is an ordinary `exprc` expression, which you may differentiate, compile or build upon.

>>> from exprc import nn
>>> network = nn.layers.InputLayer((None, 1, 28, 28))
>>> network = nn.layers.Conv2DLayer(network, num_filters=20, filter_size=5)
>>> network = nn.layers.MaxPool2DLayer(network, pool_size=2)
>>> network = nn.layers.DenseLayer(network, num_units=10, nonlinearity=nn.nonlinearities.softmax)
>>> network.output_shape, nn.layers.count_params(network)
((None, 10), 29330)
"""

from __future__ import annotations

from exprc.nn import init as init
from exprc.nn import layers as layers
from exprc.nn import nonlinearities as nonlinearities
from exprc.nn import objectives as objectives
from exprc.nn import random as random
from exprc.nn import regularization as regularization
from exprc.nn import updates as updates
from exprc.nn import utils as utils
from exprc.spellings import missing

__all__ = [
    "init",
    "layers",
    "nonlinearities",
    "objectives",
    "random",
    "regularization",
    "updates",
    "utils",
]

for _module in (init, layers, nonlinearities, objectives, regularization, updates):
    setattr(_module, "__getattr__", missing(_module.__name__, _module.__all__))  # noqa: B010 (type checkers know what is there)
globals()["__getattr__"] = missing(
    "exprc.nn", __all__, {m.__name__: m.__all__ for m in (layers, updates, objectives, nonlinearities, init, regularization)}
)
