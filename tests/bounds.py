"""How far a program may be from the reference: what the records state, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from exprc.forms import Formula


def slack(op: Formula, result: Any) -> Any:
    """The bound of a formula's result, element by element: its `ulps`, of at least the magnitude `least`."""
    if op.cheap:
        return np.zeros_like(result)
    with np.errstate(over="ignore", invalid="ignore"):
        return op.ulps * np.spacing(np.maximum(np.abs(result), np.asarray(op.least, result.dtype)))
