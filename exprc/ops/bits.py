"""Bit by bit: and, or, xor, not, and shifts, of bools and integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.forms import Formula, formula
from exprc.types import is_float, promote

#: What `exprc.tensor` shows of this family.
__all__ = ["bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift"]


def _only_integers(name: str, of_bool: str = "bool") -> Any:
    def meet(dtypes: Sequence[str]) -> tuple[Sequence[str], str]:
        dtype = promote(dtypes)
        if is_float(dtype):
            text = f"{name} takes bools and integers, not {', '.join(dtypes)}"
            raise TypeError(report(text, fix="compare first, (x > 0) & (y > 0), or cast to an integer"))
        dtype = of_bool if dtype == "bool" else dtype
        return (dtype,) * len(dtypes), dtype

    return meet


def _bits(name: str, symbol: str, reference: Any, *aliases: str) -> Formula:
    return formula(
        name, f"{{a}} {symbol} {{b}}", numpy=reference, grad=lambda g, y, a, b: (None, None), meet=_only_integers(name),
        aliases=aliases, doc=f"a {symbol} b, bit by bit; logical for bool",
    )  # fmt: skip


bitwise_and = _bits("bitwise_and", "&", np.bitwise_and, "and_")
bitwise_or = _bits("bitwise_or", "|", np.bitwise_or, "or_")
bitwise_xor = _bits("bitwise_xor", "^", np.bitwise_xor, "xor")
invert = formula(
    "invert", "{x} ^ ({T})-1", numpy=np.invert, grad=lambda g, y, x: None, meet=_only_integers("invert"),
    aliases=("bitwise_not", "bitwise_invert"), doc="every bit turned; logical not for bool",
)  # fmt: skip


def _shift(name: str, reference: Any, doc: str) -> Formula:
    return formula(
        name, f"{name}({{a}}, {{b}})", numpy=reference, grad=lambda g, y, a, b: (None, None), meet=_only_integers(name, "int64"),
        aliases=(f"bitwise_{name}",), doc=doc,
    )  # fmt: skip


left_shift = _shift("left_shift", np.left_shift, "a * 2**b, wrapped; 0 where b is negative or at least the number of bits")
right_shift = _shift(
    "right_shift", np.right_shift,
    "a // 2**b; where b is negative or at least the number of bits, what is left of the sign: 0, or -1 for a < 0",
)  # fmt: skip
