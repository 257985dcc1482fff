"""The check against finite differences finds wrong gradients, and says where."""

from __future__ import annotations

import numpy as np
import pytest

import exprc.tensor as T
from exprc.forms import composite
from exprc.verify_grad import verify_grad


def text_of(error, function):
    with pytest.raises(error) as caught:
        function()
    return str(caught.value)


def test_verify_grad_finds_a_wrong_gradient():
    @composite
    def wrong(x):
        return x * x

    wrong.gradient(lambda g, y, x: g * x)
    text = text_of(ValueError, lambda: verify_grad(wrong, [np.array([1.5])]))
    assert text.startswith("verify_grad: argument 0, element (0,): gradient ") and "1 of 1 differ" in text


def test_verify_grad_along_directions():
    verify_grad(lambda x: T.tanh(x), [np.ones((30, 40))], directions=3)
    wrong = composite(lambda x: x * x, name="wrong")
    wrong.gradient(lambda g, y, x: g * x)
    text = text_of(ValueError, lambda: verify_grad(wrong, [np.ones((30, 40))], directions=3))
    assert "argument 0, direction 0: gradient" in text and "3 of 3 differ" in text
