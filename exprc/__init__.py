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
from exprc.runtime.containers import shared

__all__ = ["CompileError", "clone", "composite", "config", "shared", "tensor"]
