"""NumPy-like expressions: variables, and every operation on them.

>>> import exprc.tensor as T
>>> x, w = T.matrix("x"), T.vector("w")
>>> y = T.tanh(T.dot(x, w)) + 1
>>> y.type
TensorType(float32, (?,))

``x == y`` is identity, so that expressions can be keys of dictionaries; ``T.eq(x, y)`` compares element by element.

The operations are those that the families of `exprc.ops` name in their ``__all__``, under their aliases too; nothing is listed here again.
"""

from __future__ import annotations

import numpy as np

from exprc import dispatch as dispatch  # hangs NumPy's functions on Expr
from exprc import operators as operators  # hangs the operators and methods on it
from exprc.derivatives import Lop, Rop, hessian, jacobian
from exprc.expr import Constant, Expr, Input, Shared, clone
from exprc.forms import composite
from exprc.grad import grad
from exprc.ops import PUBLIC
from exprc.spellings import missing
from exprc.tensor.leaves import as_tensor_variable, asarray, constant, constructors, get_scalar_constant_value
from exprc.tensor.random import RandomStreams
from exprc.types import TensorType

globals().update(constructors())
globals().update(PUBLIC)

array, as_tensor = asarray, as_tensor_variable
e, inf, nan, newaxis, pi = np.e, np.inf, np.nan, None, np.pi


__all__ = [
    *constructors(), *PUBLIC, "Constant", "Expr", "Input", "Lop", "RandomStreams", "Rop", "Shared", "TensorType", "array",
    "as_tensor", "as_tensor_variable", "asarray", "clone", "composite", "constant", "e", "get_scalar_constant_value", "grad",
    "hessian", "inf", "jacobian", "nan", "newaxis", "pi",
]  # fmt: skip
__getattr__ = missing("exprc.tensor", __all__)
