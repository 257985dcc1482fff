"""exprc: NumPy-like expressions, their gradients, and C generated from them.

>>> import exprc
>>> import exprc.tensor as T
>>> x = T.vector("x")
>>> (T.exp(x) * 2).type
TensorType(float32, (?,))
"""

from __future__ import annotations

from exprc import tensor
from exprc.config import config
from exprc.errors import CompileError
from exprc.expr import clone
from exprc.forms import composite
from exprc.function import Function, function
from exprc.grad import grad, verify_grad
from exprc.runtime.containers import shared
from exprc.runtime.cpu import set_threads
from exprc.show import debugprint
from exprc.tensor.random import seed

__all__ = [
    "CompileError", "Function", "clone", "composite", "config", "debugprint", "function", "grad", "seed", "set_threads", "shared", "tensor",
    "verify_grad",
]  # fmt: skip
