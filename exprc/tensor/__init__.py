"""NumPy-like expressions: variables, and every operation on them.

>>> import exprc.tensor as T
>>> x, w = T.matrix("x"), T.vector("w")
>>> y = T.tanh(T.dot(x, w)) + 1
>>> y.type
TensorType(float32, (?,))

``x == y`` is identity, so that expressions can be keys of dictionaries; ``T.eq(x, y)`` compares element by element.
"""

from __future__ import annotations

from exprc import operators as operators  # hangs the operators and methods on Expr
from exprc.expr import Constant, Expr, Input, Shared, clone
from exprc.forms import composite
from exprc.ops.composite import (
    batch_normalization, batch_normalization_test, batch_normalization_train, binary_crossentropy, categorical_crossentropy, elu,
    hard_sigmoid, log_softmax, logsumexp, norm, relu, selu, sigmoid_binary_crossentropy, softmax, softmax_crossentropy, softsign, std, var,
)  # fmt: skip
from exprc.ops.conv import conv2d
from exprc.ops.formula import (
    abs_ as abs, add, bitwise_and, bitwise_or, bitwise_xor, cast, ceil, clip, cos, cosh, eq, erf, exp, exp2, expm1, eye, floor, floor_div, ge,
    gt, inv, invert, isinf, isnan, le, log, log1p, log2, log10, logical_and, logical_not, logical_or, lt, maximum, minimum, mod, mul, neg, neq,
    power, round_ as round, sigmoid, sign, sin, sinh, softplus, sqr, sqrt, sub, tanh, true_div, where,
)  # fmt: skip
from exprc.ops.index import inc_subtensor, set_subtensor, take
from exprc.ops.linalg import dot, matmul, outer, tensordot
from exprc.ops.pool import pool_2d
from exprc.ops.reduce import all_ as all, any_ as any, argmax, argmin, max_ as max, mean, min_ as min, prod, sum_ as sum
from exprc.ops.view import broadcast_to, concatenate, dimshuffle, flatten, reshape, squeeze, stack, transpose
from exprc.tensor.leaves import (
    arange, as_tensor_variable, constant, constructors, full, full_like, ones, ones_like, zeros, zeros_like,
)  # fmt: skip
from exprc.types import TensorType

globals().update(constructors())

__all__ = [
    *constructors(),
    "Constant", "Expr", "Input", "Shared", "TensorType", "abs", "add", "all", "any", "arange", "argmax", "argmin", "as_tensor_variable",
    "batch_normalization", "batch_normalization_test", "batch_normalization_train", "binary_crossentropy", "bitwise_and", "bitwise_or",
    "bitwise_xor", "broadcast_to", "cast", "categorical_crossentropy", "ceil", "clip", "clone", "composite", "concatenate", "constant", "conv2d", "cos",
    "cosh", "dimshuffle", "dot", "elu", "eq", "erf", "exp", "exp2", "expm1", "eye", "flatten", "floor", "floor_div", "full", "full_like", "ge",
    "gt", "hard_sigmoid", "inc_subtensor", "inv", "invert", "isinf", "isnan", "le", "log", "log10", "log1p", "log2", "log_softmax",
    "logical_and", "logical_not", "logical_or", "logsumexp", "lt", "matmul", "max", "maximum", "mean", "min", "minimum", "mod", "mul", "neg",
    "neq", "norm", "ones", "ones_like", "outer", "pool_2d", "power", "prod", "relu", "reshape", "round", "selu", "set_subtensor", "sigmoid",
    "sigmoid_binary_crossentropy", "sign", "sin", "sinh", "softmax", "softmax_crossentropy", "softplus", "softsign", "sqr", "sqrt", "squeeze",
    "stack", "std", "sub", "sum", "take", "tanh", "tensordot", "transpose", "true_div", "var", "where", "zeros", "zeros_like",
]  # fmt: skip
