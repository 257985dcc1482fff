"""Names that users of other libraries look for, and what does the same here: for the messages about what is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from exprc.errors import nearest, no_attribute, report

_TORCH = {
    "backward": "exprc.grad(cost, wrt) makes the gradients, which are expressions",
    "bmm": "batched_dot(x, y) does that here",
    "cat": "concatenate([x, y], axis) does that here",
    "clamp": "clip(x, low, high) does that here",
    "cpu": "function(..., device=) says where something is computed",
    "cuda": "function(..., device='cuda') says where something is computed",
    "data": "a shared variable has .get_value(); .eval({x: value}) computes an expression",
    "detach": "exprc.tensor.disconnected_grad(x) does that here",
    "device": "function(..., device=) says where something is computed",
    "double": "x.astype('float64') does that here",
    "float": "x.astype('float32') does that here",
    "from_numpy": "as_tensor_variable(array) makes a constant; shared(array) a variable that keeps its value",
    "grad": "exprc.grad(cost, wrt) makes the gradients, which are expressions",
    "half": "x.astype('float16') does that here",
    "int": "x.astype('int32') does that here",
    "long": "x.astype('int64') does that here",
    "masked_fill": "where(mask, value, x) does that here",
    "mm": "dot(x, y), x.dot(y) or x @ y does that here",
    "numpy": "a shared variable has .get_value(); .eval({x: value}) computes an expression",
    "permute": "x.transpose(axes), or x.dimshuffle(axes), does that here",
    "requires_grad": "exprc.grad(cost, wrt) names what to differentiate by",
    "tensor": "as_tensor_variable(value) makes a constant, matrix('x') a variable, TensorType(dtype, shape)('x') one of any type",
    "to": "x.astype(dtype) does that here; function(..., device=) says where something is computed",
    "unsqueeze": "expand_dims(x, axis), or x[None], does that here",
    "view": "x.reshape(shape) does that here",
}
_THEANO = {
    "MRG_RandomStreams": "exprc.tensor.RandomStreams(seed) does that here",
    "Param": "exprc.In(variable, value=, name=) does that here",
    "clone_replace": "exprc.clone(expr, replace) does that here",
    "extra_ops": "its operations stand in exprc.tensor itself: T.repeat, T.cumsum, T.bincount",
    "gof": "a node has .op, .inputs and .params; exprc.debugprint and exprc.draw show graphs",
    "gradient": "exprc.grad, jacobian, hessian, Lop, Rop; T.grad_clip, T.disconnected_grad, T.zero_grad",
    "nnet": "its operations stand in exprc.tensor itself: T.softmax, T.relu, T.conv2d, T.categorical_crossentropy",
    "owner": "a node has .op, .inputs and .params",
    "printing": "exprc.pp, exprc.debugprint and exprc.draw do that here",
    "raw_random": "exprc.tensor.RandomStreams(seed) does that here",
    "shared_randomstreams": "exprc.tensor.RandomStreams(seed) does that here",
    "signal": "its operations stand in exprc.tensor itself: T.pool_2d",
    "tag": ".eval({x: value}) computes an expression on a test value; an expression keeps only its name",
    "test_value": ".eval({x: value}) computes an expression on a test value",
    "value": "a shared variable has .get_value(); .eval({x: value}) computes an expression",
}
_LAYERS = {
    "BatchNorm": "BatchNormLayer, or batch_norm(layer), does that here",
    "Conv2d": "Conv2DLayer(incoming, num_filters, filter_size) does that here",
    "Dropout": "DropoutLayer(incoming, p) does that here",
    "Linear": "DenseLayer(incoming, num_units, nonlinearity=None) does that here",
    "ReLU": "nonlinearities.rectify does that here",
    "SGD": "updates.sgd(loss, params, learning_rate) does that here",
    "Xavier": "Glorot does that here",
    "cross_entropy": "categorical_crossentropy(predictions, targets) does that here",
    "mse_loss": "squared_error(predictions, targets).mean() does that here",
    "relu": "nonlinearities.rectify does that here",
}
#: name -> what does it here.
ELSEWHERE = {**_TORCH, **_THEANO, **_LAYERS}


def instead(name: str, there: Iterable[str]) -> str:
    """Return what to use in place of a name that is not there: what does the same, or one of `there` that is spelt alike; or "".

    >>> instead("unsqueeze", ["squeeze"])
    'expand_dims(x, axis), or x[None], does that here'
    >>> instead("sofmax", ["softmax"])
    "did you mean 'softmax'?"
    """
    return ELSEWHERE.get(name) or nearest(name, there)


def missing(module: str, names: Iterable[str], others: Mapping[str, Iterable[str]] = MappingProxyType({})) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module that shows `names`; what is in one of the `others` is looked for there, too."""
    names, others = list(names), {other: set(there) for other, there in others.items()}

    def __getattr__(name: str) -> Any:
        where = next((f"it is {other}.{name}" for other, there in others.items() if name in there), "")
        fix = where or (instead(name, names) if not name.startswith("_") else "")
        raise no_attribute(report(f"{module} has no {name!r}", fix=fix), name)

    return __getattr__
