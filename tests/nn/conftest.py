"""What the tests of `exprc.nn` share: a repeatable generator, and values of expressions by the NumPy interpreter.

The layers build expressions and nothing else; that compiled code and interpreter agree is tested with the operations.
The training tests run compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import exprc
from exprc import nn


@pytest.fixture(autouse=True)
def rng() -> Iterator[np.random.RandomState]:
    """Make initial weights and dropout masks repeatable; the generator for the data of the test."""
    old = nn.random.get_rng()
    nn.random.set_rng(np.random.RandomState(42))
    yield np.random.RandomState(7)
    nn.random.set_rng(old)


@pytest.fixture
def value() -> Callable[..., Any]:
    """Return the function (expression or list, {variable: array}) -> value or values, without compiling."""

    def value(outputs: Any, given: dict[Any, Any] | None = None, **options: Any) -> Any:
        given = given or {}
        function = exprc.function(list(given), outputs, mode="reference", on_unused_input="ignore", **options)
        return function(*given.values())

    return value
