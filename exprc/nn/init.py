r"""Initial values for parameters.

An initialiser is a callable from a shape to an array; layers take one wherever they take a parameter.  The variance
that keeps signals alive through many layers follows from the number of inputs (`fan_in`) and outputs (`fan_out`) of
a unit, which an initialiser reads off the shape:

* ``(num_inputs, num_units)``, two dimensions, of a dense layer;
* ``(num_filters, num_channels, rows, columns, ...)`` of a convolution, where every position of the filter counts.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from exprc.errors import report
from exprc.nn.random import get_rng
from exprc.nn.utils import floatX

__all__ = [
    "Constant",
    "Glorot",
    "GlorotNormal",
    "GlorotUniform",
    "He",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "Normal",
    "Orthogonal",
    "Uniform",
]


class Initializer:
    """Base class: subclasses define `sample`.

    >>> class Ramp(Initializer):
    ...     def sample(self, shape):
    ...         return floatX(np.arange(np.prod(shape)).reshape(shape))
    >>> Ramp()((2, 2)).tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """

    def __call__(self, shape: Sequence[int]) -> np.ndarray:
        return self.sample(shape)

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        """Return an array of `floatX` of the given shape."""
        raise NotImplementedError(f"{type(self).__name__} does not define sample(shape)")


class Constant(Initializer):
    """The same value everywhere.

    Parameters
    ----------
    val : float or array that broadcasts to the shape

    >>> Constant(0.5)((2,)).tolist()
    [0.5, 0.5]
    """

    def __init__(self, val: Any = 0.0) -> None:
        if np.asarray(val).dtype.kind not in "biuf":
            raise TypeError(report(f"Constant: val is a number or an array of numbers, got {val!r}", fix="for example Constant(0.1)"))
        self.val = val

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        return floatX(np.ones(shape) * self.val)


class Normal(Initializer):
    """Samples of the normal distribution.

    Parameters
    ----------
    std : float
        Standard deviation.
    mean : float

    >>> Normal(std=0.1)((3, 4)).shape
    (3, 4)
    """

    def __init__(self, std: float = 0.01, mean: float = 0.0) -> None:
        if std < 0:
            raise ValueError(report(f"Normal: std must be at least 0, got {std}", fix="the mean comes second: Normal(0.01, mean)"))
        self.std = std
        self.mean = mean

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        return floatX(get_rng().normal(self.mean, self.std, size=tuple(shape)))


class Uniform(Initializer):
    """Samples of a uniform distribution.

    Parameters
    ----------
    range : float or pair of float
        ``(-range, range)``, or the lowest and the highest value.
    std : float, optional
        Standard deviation; if given, the range follows from it and from `mean`, and `range` is not used.
    mean : float
        Used with `std` only.

    >>> samples = Uniform((2, 3))((100,))
    >>> bool(np.all((2 <= samples) & (samples <= 3)))
    True
    """

    def __init__(self, range: Any = 0.01, std: float | None = None, mean: float = 0.0) -> None:
        if std is not None:
            # A uniform distribution of width 2a has variance a² / 3.
            self.range = (mean - np.sqrt(3) * std, mean + np.sqrt(3) * std)
        else:
            self.range = _ends(range)

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        return floatX(get_rng().uniform(low=self.range[0], high=self.range[1], size=tuple(shape)))


def _ends(range: Any) -> tuple[Any, Any]:
    """Return the lowest and the highest value that a range stands for."""
    given = tuple(range) if np.ndim(range) else (range, range)
    if len(given) == 2 and all(isinstance(end, numbers.Real) for end in given):
        low, high = given if np.ndim(range) else (-range, range)
        if low <= high:
            return low, high
    fix = "a number r, at least 0, stands for (-r, r)"
    raise ValueError(report(f"Uniform: range is a number or a pair (low, high), got {range!r}", fix=fix))


def _gain(owner: Initializer, gain: float | str) -> float:
    """Return a gain as a number."""
    if isinstance(gain, str) and gain != "relu":
        raise ValueError(f"{type(owner).__name__}: gain is a number or 'relu', got {gain!r}")
    return float(np.sqrt(2)) if gain == "relu" else float(gain)


class _Scaled(Initializer):
    """A distribution whose standard deviation is `gain` times a function of the fans."""

    def __init__(self, initializer: type[Initializer], gain: float | str = 1.0, c01b: bool = False) -> None:
        self.initializer: Any = initializer
        self.gain = _gain(self, gain)
        self.c01b = c01b

    def std(self, shape: tuple[int, ...]) -> float:
        """Return the standard deviation for a parameter of `shape`."""
        raise NotImplementedError(f"{type(self).__name__} does not define std(shape)")

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        shape = tuple(shape)
        name = type(self).__name__
        if self.c01b and len(shape) != 4:
            raise RuntimeError(f"{name}: with c01b=True the shape needs 4 dimensions, got {shape}")
        if len(shape) < 2:
            text = f"{name}: the shape needs at least 2 dimensions to have inputs and outputs, got {shape}"
            raise RuntimeError(report(text, fix="for biases and other vectors take Constant, Uniform or Normal"))
        samples: np.ndarray = self.initializer(std=self.std(shape)).sample(shape)
        return samples


class Glorot(_Scaled):
    r"""Variance that keeps activations and gradients alike, :math:`\sigma = g \sqrt{2 / (fan_{in} + fan_{out})}`.

    Parameters
    ----------
    initializer : type
        `Normal` or `Uniform`, or another type whose argument `std` is a standard deviation.
    gain : float or 'relu'
        :math:`g`; 1 for linear and sigmoid units; 'relu' is the square root of 2.
    c01b : bool
        The shape is ``(channels, rows, columns, filters)``.

    References
    ----------
    .. [1] Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010,
       section 4.2.1.

    >>> round(Glorot(Normal, gain=1.0).std((300, 100)), 4)
    0.0707
    """

    def std(self, shape: tuple[int, ...]) -> float:
        n1, n2 = (shape[0], shape[3]) if self.c01b else shape[:2]
        receptive_field = shape[1] * shape[2] if self.c01b else math.prod(shape[2:])
        return float(self.gain * np.sqrt(2.0 / ((n1 + n2) * receptive_field)))


class GlorotNormal(Glorot):
    """`Glorot` with the normal distribution.

    >>> GlorotNormal(gain='relu')((4, 5)).shape
    (4, 5)
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False) -> None:
        super().__init__(Normal, gain, c01b)


class GlorotUniform(Glorot):
    """`Glorot` with the uniform distribution; the default of the weights of most layers.

    >>> bool(np.all(np.abs(GlorotUniform()((50, 100))) <= np.sqrt(6 / 150)))
    True
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False) -> None:
        super().__init__(Uniform, gain, c01b)


class He(_Scaled):
    r"""Variance that keeps activations alike, :math:`\sigma = g \sqrt{1 / fan_{in}}`.

    Parameters
    ----------
    initializer : type
        `Normal` or `Uniform`, or another type whose argument `std` is a standard deviation.
    gain : float or 'relu'
        :math:`g`; 1 for linear and sigmoid units; 'relu', the square root of 2, for rectifiers.
    c01b : bool
        The shape is ``(channels, rows, columns, filters)``.

    References
    ----------
    .. [1] He, Zhang, Ren, Sun: Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
       Classification, ICCV 2015, arXiv 1502.01852, section 2.2.

    >>> He(Normal, gain=1.0).std((400, 100)), He(Normal, gain=1.0).std((8, 4, 5, 5))
    (0.05, 0.1)
    """

    def std(self, shape: tuple[int, ...]) -> float:
        if self.c01b:
            fan_in = math.prod(shape[:3])
        else:
            fan_in = shape[0] if len(shape) == 2 else math.prod(shape[1:])
        return float(self.gain * np.sqrt(1.0 / fan_in))


class HeNormal(He):
    """`He` with the normal distribution.

    >>> HeNormal(gain='relu')((4, 5)).shape
    (4, 5)
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False) -> None:
        super().__init__(Normal, gain, c01b)


class HeUniform(He):
    """`He` with the uniform distribution.

    >>> bool(np.all(np.abs(HeUniform()((75, 4))) <= np.sqrt(3 / 75)))
    True
    """

    def __init__(self, gain: float | str = 1.0, c01b: bool = False) -> None:
        super().__init__(Uniform, gain, c01b)


class Orthogonal(Initializer):
    r"""A matrix with orthonormal rows or columns, whichever are fewer, times a gain.

    Parameters
    ----------
    gain : float or 'relu'
        1 for linear units; 'relu', the square root of 2, for rectifiers.

    Notes
    -----
    A shape of more than two dimensions is taken as the matrix ``(shape[0], product of the rest)``.

    References
    ----------
    .. [1] Saxe, McClelland, Ganguli: Exact solutions to the nonlinear dynamics of learning in deep linear neural
       networks, ICLR 2014, arXiv 1312.6120, section 3.

    >>> W = Orthogonal()((3, 5))
    >>> bool(np.allclose(W @ W.T, np.eye(3), atol=1e-5))
    True
    """

    def __init__(self, gain: float | str = 1.0) -> None:
        self.gain = _gain(self, gain)

    def sample(self, shape: Sequence[int]) -> np.ndarray:
        if len(shape) < 2:
            text = f"Orthogonal: the shape needs at least 2 dimensions, got {tuple(shape)}"
            raise RuntimeError(report(text, fix="for biases and other vectors take Constant, Uniform or Normal"))
        flat = (shape[0], math.prod(shape[1:]))
        u, _, v = np.linalg.svd(get_rng().normal(0.0, 1.0, flat), full_matrices=False)
        basis = u if u.shape == flat else v
        return floatX(self.gain * basis.reshape(tuple(shape)))
