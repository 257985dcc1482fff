"""NumPy-like expressions: variables, and every operation on them.

>>> import exprc.tensor as T
>>> x, w = T.matrix("x"), T.vector("w")
>>> y = T.tanh(T.dot(x, w)) + 1
>>> y.type
TensorType(float32, (?,))

``x == y`` is identity, so that expressions can be keys of dictionaries; ``T.eq(x, y)`` compares element by element.

The operations are those that the families of `exprc.ops` name in their ``__all__``; nothing is listed here again.
"""

from __future__ import annotations

from typing import Any

from exprc import operators as operators  # hangs the operators and methods on Expr
from exprc.errors import nearest
from exprc.expr import Constant, Expr, Input, Shared, clone
from exprc.forms import composite
from exprc.ops import families
from exprc.tensor.leaves import (
    arange,
    as_tensor_variable,
    constant,
    constructors,
    full,
    full_like,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from exprc.tensor.random import RandomStreams
from exprc.types import TensorType

#: public name -> operation. A name that Python has already (`abs`, `sum` ...) carries an underscore in its family.
OPERATIONS: dict[str, Any] = {name.rstrip("_"): getattr(family, name) for family in families for name in getattr(family, "__all__", ())}

globals().update(constructors())
globals().update(OPERATIONS)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"exprc.tensor has no {name!r}" + (f"; {hint}" if (hint := nearest(name, __all__)) else ""))


__all__ = [
    *constructors(), *OPERATIONS, "Constant", "Expr", "Input", "RandomStreams", "Shared", "TensorType", "arange", "as_tensor_variable",
    "clone", "composite", "constant", "full", "full_like", "ones", "ones_like", "zeros", "zeros_like",
]  # fmt: skip
