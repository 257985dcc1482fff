"""exprc: NumPy-like expressions, their gradients, and C generated from them.

>>> import exprc
>>> import exprc.tensor as T
>>> x = T.vector("x")
>>> (T.exp(x) * 2).type
TensorType(float32, (?,))
"""

from __future__ import annotations

from exprc import device, tensor
from exprc.config import config
from exprc.derivatives import Lop, Rop, hessian, jacobian
from exprc.draw import draw
from exprc.errors import CompileError
from exprc.expr import clone
from exprc.forms import composite
from exprc.function import Function, function
from exprc.grad import grad, grad_undefined
from exprc.parameters import In, Out
from exprc.runtime.containers import shared
from exprc.runtime.threads import set_threads
from exprc.show import debugprint, pp
from exprc.spellings import missing
from exprc.tensor.random import seed
from exprc.vectorise import vectorise
from exprc.verify_grad import verify_grad

__version__ = "0.1.0"

__all__ = [
    "CompileError", "Function", "In", "Lop", "Out", "Rop", "clone", "composite", "config", "debugprint", "device", "draw", "function",
    "grad", "grad_undefined", "hessian", "jacobian", "pp", "seed", "set_threads", "shared", "tensor", "vectorise", "verify_grad",
]  # fmt: skip
#: Not by its name: type checkers would take every name for one that is there.
globals()["__getattr__"] = missing("exprc", __all__, {"exprc.tensor": tensor.__all__})
