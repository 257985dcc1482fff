"""Activation functions for layers: any callable from expression to expression will do."""

from __future__ import annotations

from typing import Any

import exprc.tensor as T

__all__ = [
    "LeakyRectify",
    "SELU",
    "ScaledTanH",
    "ScaledTanh",
    "elu",
    "identity",
    "leaky_rectify",
    "linear",
    "rectify",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
    "very_leaky_rectify",
]


def sigmoid(x: Any) -> Any:
    r"""Logistic function, :math:`\varphi(x) = 1 / (1 + e^{-x})`, between 0 and 1.

    >>> float(sigmoid(T.constant(0.0)).eval())
    0.5
    """
    return T.sigmoid(x)


def softmax(x: Any) -> Any:
    r"""Probabilities from scores, :math:`\varphi(x)_j = e^{x_j} / \sum_k e^{x_k}`, along the last axis.

    Parameters
    ----------
    x : expression, shape (..., classes)

    Returns
    -------
    expression of the same shape
        Positive; every row sums to 1.

    >>> softmax(T.constant([[1.0, 1.0]])).eval().tolist()
    [[0.5, 0.5]]
    """
    return T.softmax(x)


def tanh(x: Any) -> Any:
    r"""Hyperbolic tangent, :math:`\varphi(x) = \tanh(x)`, between -1 and 1.

    >>> float(tanh(T.constant(0.0)).eval())
    0.0
    """
    return T.tanh(x)


class ScaledTanH:
    r"""Hyperbolic tangent with scales, :math:`\varphi(x) = \beta \tanh(\alpha x)`.

    Parameters
    ----------
    scale_in : float
        :math:`\alpha`, the slope at the input.
    scale_out : float
        :math:`\beta`, the bound of the output.

    Notes
    -----
    With ``scale_in=2/3, scale_out=1.7159`` inputs of unit variance give outputs of about unit variance [1]_.
    Layers of the network LeNet-5 use these values.

    References
    ----------
    .. [1] LeCun, Bottou, Orr, Müller: Efficient BackProp, in Neural Networks: Tricks of the Trade (1998), section 4.4.

    >>> float(ScaledTanH(scale_in=2 / 3, scale_out=1.7159)(T.constant(0.0)).eval())
    0.0
    """

    def __init__(self, scale_in: float = 1, scale_out: float = 1) -> None:
        self.scale_in = scale_in
        self.scale_out = scale_out

    def __call__(self, x: Any) -> Any:
        return T.tanh(x * self.scale_in) * self.scale_out


ScaledTanh = ScaledTanH


def rectify(x: Any) -> Any:
    r"""Rectifier, :math:`\varphi(x) = \max(0, x)`.

    References
    ----------
    .. [1] Glorot, Bordes, Bengio: Deep Sparse Rectifier Neural Networks, AISTATS 2011.

    >>> rectify(T.constant([-1.0, 2.0])).eval().tolist()
    [0.0, 2.0]
    """
    return T.relu(x)


class LeakyRectify:
    r"""Rectifier with a small slope for negative inputs: :math:`x` if :math:`x > 0`, else :math:`\alpha x`.

    Parameters
    ----------
    leakiness : float
        :math:`\alpha`, usually between 0 (the plain rectifier) and 1 (linear).

    References
    ----------
    .. [1] Maas, Hannun, Ng: Rectifier Nonlinearities Improve Neural Network Acoustic Models, ICML 2013.

    >>> LeakyRectify(0.5)(T.constant([-1.0, 2.0])).eval().tolist()
    [-0.5, 2.0]
    """

    def __init__(self, leakiness: float = 0.01) -> None:
        self.leakiness = leakiness

    def __call__(self, x: Any) -> Any:
        return T.relu(x, self.leakiness)


leaky_rectify = LeakyRectify()
leaky_rectify.__doc__ = "`LeakyRectify` with leakiness 0.01, as in Maas et al. (2013)."

very_leaky_rectify = LeakyRectify(1 / 3)
very_leaky_rectify.__doc__ = "`LeakyRectify` with leakiness 1/3."


def elu(x: Any) -> Any:
    r"""Exponential linear unit, :math:`\varphi(x) = x` if :math:`x > 0`, else :math:`e^x - 1`.

    References
    ----------
    .. [1] Clevert, Unterthiner, Hochreiter: Fast and Accurate Deep Network Learning by Exponential Linear Units
       (ELUs), ICLR 2016, arXiv 1511.07289.

    >>> elu(T.constant([0.0, 2.0])).eval().tolist()
    [0.0, 2.0]
    """
    return T.elu(x)


class SELU:
    r"""Scaled exponential linear unit: :math:`\lambda x` if :math:`x > 0`, else :math:`\lambda \alpha (e^x - 1)`.

    Parameters
    ----------
    scale : float
        :math:`\lambda`, the slope for positive inputs.
    scale_neg : float
        :math:`\alpha`, the depth of the negative part.

    References
    ----------
    .. [1] Klambauer, Unterthiner, Mayr, Hochreiter: Self-Normalizing Neural Networks, NIPS 2017, arXiv 1706.02515.

    >>> SELU(scale=2, scale_neg=1)(T.constant([0.0, 2.0])).eval().tolist()
    [0.0, 4.0]
    """

    def __init__(self, scale: float = 1, scale_neg: float = 1) -> None:
        self.scale = scale
        self.scale_neg = scale_neg

    def __call__(self, x: Any) -> Any:
        # The exponential sees no positive input, so the branch that is not taken cannot overflow.
        return self.scale * T.where(x > 0, x, self.scale_neg * T.expm1(T.minimum(x, 0)))


# The fixed point of mean 0 and variance 1, equation (14) of the paper.
selu = SELU(scale=1.0507009873554804934193349852946, scale_neg=1.6732632423543772848170429916717)
selu.__doc__ = "`SELU` with the scales that keep mean 0 and variance 1 from layer to layer."


def softplus(x: Any) -> Any:
    r"""Smooth rectifier, :math:`\varphi(x) = \log(1 + e^x)`, without overflow.

    >>> round(float(softplus(T.constant(0.0)).eval()), 4)
    0.6931
    """
    return T.softplus(x)


def linear(x: Any) -> Any:
    r"""No activation, :math:`\varphi(x) = x`.

    >>> linear(3)
    3
    """
    return x


identity = linear
