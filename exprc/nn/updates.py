r"""Optimisers: functions from a loss and parameters to the updates of one training step.

Each takes a scalar loss or a list of gradients, and returns a dictionary from shared variable to its new value, for the
argument `updates` of `exprc.function`.  In the formulas :math:`w` is a parameter, :math:`g` its gradient and
:math:`\eta` the learning rate, a number, a shared variable (to be changed during training) or any scalar expression.

>>> import exprc
>>> import exprc.tensor as T
>>> w = exprc.shared(np.float32(2), name="w")
>>> step = exprc.function([], [], updates=sgd(w ** 2, [w], learning_rate=0.25))
>>> _ = step()
>>> float(w.get_value())
1.0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import exprc
import exprc.tensor as T
from exprc.errors import report
from exprc.expr import Expr, Shared
from exprc.nn import utils

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "amsgrad",
    "apply_momentum",
    "apply_nesterov_momentum",
    "get_or_compute_grads",
    "momentum",
    "nesterov_momentum",
    "norm_constraint",
    "rmsprop",
    "sgd",
    "total_norm_constraint",
]

Updates = dict[Any, Any]


def get_or_compute_grads(loss_or_grads: Any, params: Sequence[Any]) -> list[Any]:
    """Return the gradients: those given, or those of the loss.

    Parameters
    ----------
    loss_or_grads : scalar expression, or list of expressions
        The loss, or one gradient for each parameter.
    params : list of shared variables

    Returns
    -------
    list of expressions

    Raises
    ------
    ValueError
        If a parameter is no shared variable, or there is none, or if the number of gradients is not that of the
        parameters.
    """
    _check_list(params)
    for param in params:
        if not isinstance(param, Shared):
            raise ValueError(
                report(
                    "params must be shared variables: only their values can be updated",
                    [("parameter", getattr(param, "label", repr(param)), getattr(param, "where", ""))],
                    "exprc.nn.utils.collect_shared_vars() finds those inside expressions",
                )
            )
    if not isinstance(loss_or_grads, (list, tuple)):
        return list(exprc.grad(loss_or_grads, list(params)))
    if len(loss_or_grads) != len(params):
        fix = "give one gradient for each parameter, in their order, or the loss itself"
        raise ValueError(report(f"got {len(loss_or_grads)} gradients for {len(params)} parameters", fix=fix))
    return list(loss_or_grads)


def _check_list(params: Any) -> None:
    """Raise ValueError unless there is a list of parameters, and something in it."""
    if isinstance(params, Expr):
        text = "params must be a list of shared variables, not one variable alone"
        raise ValueError(report(text, [("given", params.label, params.where)], f"did you mean [{params.label}]?"))
    if not params:
        fix = "exprc.nn.layers.get_all_params(layer, trainable=True) lists those of a network"
        raise ValueError(report("params is empty: there is nothing to train", fix=fix))


def _state(param: Any, what: str) -> Shared:
    """Make the shared variable that an optimiser keeps beside a parameter, zero at first."""
    zeros = np.zeros_like(param.get_value(borrow=True))
    return exprc.shared(zeros, name=param.name and f"{param.name}.{what}")


def sgd(loss_or_grads: Any, params: Sequence[Any], learning_rate: Any) -> Updates:
    r"""Stochastic gradient descent, :math:`w := w - \eta g`.

    Parameters
    ----------
    loss_or_grads : scalar expression, or list of expressions
    params : list of shared variables
    learning_rate : float or scalar expression

    Returns
    -------
    dict from shared variable to expression
    """
    grads = get_or_compute_grads(loss_or_grads, params)
    return {param: param - learning_rate * grad for param, grad in zip(params, grads, strict=True)}


def _steps_of(updates: Updates, params: Sequence[Any] | None) -> Updates:
    """Return how far the updates move each parameter."""
    return {param: updates[param] - param for param in (updates if params is None else params)}


def _steps_down(loss_or_grads: Any, params: Sequence[Any], learning_rate: Any) -> Updates:
    """Return the plain step against the gradient of each parameter."""
    grads = get_or_compute_grads(loss_or_grads, params)
    return {param: -learning_rate * grad for param, grad in zip(params, grads, strict=True)}


def _with_momentum(steps: Updates, momentum: Any) -> Updates:
    new: Updates = {}
    for param, step in steps.items():
        velocity = _state(param, "velocity")
        new[velocity] = momentum * velocity + step
        new[param] = param + new[velocity]
    return new


def _with_nesterov_momentum(steps: Updates, momentum: Any) -> Updates:
    new: Updates = {}
    for param, step in steps.items():
        velocity = _state(param, "velocity")
        new[velocity] = momentum * velocity + step
        new[param] = param + momentum * new[velocity] + step
    return new


def apply_momentum(updates: Any, params: Sequence[Any] | None = None, momentum: Any = 0.9) -> Updates:
    r"""Let the steps of other updates add up: :math:`v := \mu v + (w' - w)`, :math:`w := w + v`.

    :math:`w'` is the new value in `updates`.

    Parameters
    ----------
    updates : dict from shared variable to expression
        Left as it is.
    params : list of shared variables, optional
        To which momentum is applied; by default to all in `updates`.
    momentum : float or scalar expression
        :math:`\mu`; higher means a longer memory, usually 0.9.

    Returns
    -------
    dict from shared variable to expression

    References
    ----------
    .. [1] Polyak: Some methods of speeding up the convergence of iteration methods, USSR Computational Mathematics and
       Mathematical Physics 4 (1964).
    """
    updates = dict(updates)
    return {**updates, **_with_momentum(_steps_of(updates, params), momentum)}


def momentum(loss_or_grads: Any, params: Sequence[Any], learning_rate: Any, momentum: Any = 0.9) -> Updates:
    r"""Gradient descent with momentum: :math:`v := \mu v - \eta g`, :math:`w := w + v`.

    Parameters
    ----------
    loss_or_grads, params, learning_rate
        As for `sgd`.
    momentum : float or scalar expression
        :math:`\mu`.

    Returns
    -------
    dict from shared variable to expression

    Notes
    -----
    A constant gradient is amplified by :math:`1 / (1 - \mu)`: with higher momentum use a smaller learning rate.
    """
    # Not `apply_momentum` of `sgd`: (w - η g) - w would round away the small steps.
    return _with_momentum(_steps_down(loss_or_grads, params, learning_rate), momentum)


def apply_nesterov_momentum(updates: Any, params: Sequence[Any] | None = None, momentum: Any = 0.9) -> Updates:
    r"""Nesterov's momentum on other updates: :math:`v := \mu v + (w' - w)`, :math:`w := w' + \mu v`.

    :math:`w'` is the new value in `updates`, and the second formula takes the new :math:`v`.

    Parameters
    ----------
    updates, params, momentum
        As for `apply_momentum`.

    Returns
    -------
    dict from shared variable to expression

    Notes
    -----
    The gradient is taken at the parameters themselves, which stand where the next step begins to look ahead.

    References
    ----------
    .. [1] Nesterov: A method of solving a convex programming problem with convergence rate O(1/k²), Soviet Mathematics
       Doklady 27 (1983).
    .. [2] Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning, ICML
       2013, section 2; this form of it is in Bengio, Boulanger-Lewandowski, Pascanu: Advances in Optimizing Recurrent
       Networks, ICASSP 2013, arXiv 1212.0901, section 3.5.
    """
    updates = dict(updates)
    return {**updates, **_with_nesterov_momentum(_steps_of(updates, params), momentum)}


def nesterov_momentum(loss_or_grads: Any, params: Sequence[Any], learning_rate: Any, momentum: Any = 0.9) -> Updates:
    r"""Gradient descent with Nesterov's momentum: :math:`v := \mu v - \eta g`, :math:`w := w + \mu v - \eta g`.

    Parameters
    ----------
    loss_or_grads, params, learning_rate, momentum
        As for `momentum`.

    Returns
    -------
    dict from shared variable to expression

    Notes
    -----
    See `apply_nesterov_momentum` for the references.
    """
    return _with_nesterov_momentum(_steps_down(loss_or_grads, params, learning_rate), momentum)


def adagrad(loss_or_grads: Any, params: Sequence[Any], learning_rate: Any = 1.0, epsilon: float = 1e-6) -> Updates:
    r"""Steps divided by the root of the sum of squared gradients.

    :math:`r := r + g^2`, :math:`w := w - \eta g / \sqrt{r + \epsilon}`.

    Parameters
    ----------
    loss_or_grads, params, learning_rate
        As for `sgd`.
    epsilon : float
        Keeps the division finite.

    Returns
    -------
    dict from shared variable to expression

    References
    ----------
    .. [1] Duchi, Hazan, Singer: Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12
       (2011), section 1.1.
    """
    new: Updates = {}
    for param, grad in zip(params, get_or_compute_grads(loss_or_grads, params), strict=True):
        squares = _state(param, "squares")
        new[squares] = squares + T.sqr(grad)
        new[param] = param - learning_rate * grad / T.sqrt(new[squares] + epsilon)
    return new


def rmsprop(
    loss_or_grads: Any, params: Sequence[Any], learning_rate: Any = 1.0, rho: Any = 0.9, epsilon: float = 1e-6
) -> Updates:
    r"""Steps divided by a moving root mean square of the gradients.

    :math:`r := \rho r + (1 - \rho) g^2`, :math:`w := w - \eta g / \sqrt{r + \epsilon}`.

    Parameters
    ----------
    loss_or_grads, params, learning_rate
        As for `sgd`.
    rho : float or scalar expression
        :math:`\rho`; higher means a longer memory.
    epsilon : float
        Keeps the division finite.

    Returns
    -------
    dict from shared variable to expression

    References
    ----------
    .. [1] Tieleman, Hinton: Lecture 6.5, RMSProp, COURSERA: Neural Networks for Machine Learning (2012).
    """
    new: Updates = {}
    for param, grad in zip(params, get_or_compute_grads(loss_or_grads, params), strict=True):
        squares = _state(param, "squares")
        new[squares] = rho * squares + (1 - rho) * T.sqr(grad)
        new[param] = param - learning_rate * grad / T.sqrt(new[squares] + epsilon)
    return new


def adadelta(
    loss_or_grads: Any,
    params: Sequence[Any],
    learning_rate: Any = 1.0,
    rho: Any = 0.95,
    epsilon: float = 1e-6,
) -> Updates:
    r"""Steps as long as the last ones, in proportion to the gradient: :math:`w := w - \eta u`.

    With :math:`r := \rho r + (1 - \rho) g^2`, the step :math:`u = g \sqrt{d + \epsilon} / \sqrt{r + \epsilon}`, and
    :math:`d := \rho d + (1 - \rho) u^2` after it.

    Parameters
    ----------
    loss_or_grads, params, learning_rate
        As for `sgd`.
    rho : float or scalar expression
        :math:`\rho`; higher means a longer memory.
    epsilon : float
        Keeps the division finite, and the first steps from being 0.

    Returns
    -------
    dict from shared variable to expression

    References
    ----------
    .. [1] Zeiler: ADADELTA: An Adaptive Learning Rate Method, 2012, arXiv 1212.5701, algorithm 1.
    """
    new: Updates = {}
    for param, grad in zip(params, get_or_compute_grads(loss_or_grads, params), strict=True):
        squares, lengths = _state(param, "squares"), _state(param, "squared_steps")
        new[squares] = rho * squares + (1 - rho) * T.sqr(grad)
        step = grad * T.sqrt(lengths + epsilon) / T.sqrt(new[squares] + epsilon)
        new[lengths] = rho * lengths + (1 - rho) * T.sqr(step)
        new[param] = param - learning_rate * step
    return new


def _counted(name: str) -> tuple[Any, Any]:
    """Make the shared variable that counts the steps of an optimiser; return it and its new value."""
    steps: Any = exprc.shared(utils.floatX(0.0), name=f"{name}.steps")
    return steps, steps + 1


def adam(
    loss_or_grads: Any,
    params: Sequence[Any],
    learning_rate: Any = 0.001,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: float = 1e-8,
) -> Updates:
    r"""Adaptive moments: :math:`w := w - \eta_t m / (\sqrt{v} + \epsilon)`.

    With :math:`m := \beta_1 m + (1 - \beta_1) g`, :math:`v := \beta_2 v + (1 - \beta_2) g^2`, and in step :math:`t` the
    learning rate :math:`\eta_t = \eta \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)`, which makes up for the zeros at first.

    Parameters
    ----------
    loss_or_grads, params, learning_rate
        As for `sgd`.
    beta1, beta2 : float or scalar expression
        Memory of the first and the second moment.
    epsilon : float
        Keeps the division finite.

    Returns
    -------
    dict from shared variable to expression

    References
    ----------
    .. [1] Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015, arXiv 1412.6980; this order of the
       computation is that of the last paragraph of section 2.
    """
    def scale(new: Updates, param: Any, grad: Any) -> Any:
        return T.sqrt(_second_moment(new, param, grad, beta2))

    return _by_moments("adam", loss_or_grads, params, lambda t: _corrected(learning_rate, beta1, beta2, t), beta1, scale, epsilon)


def _corrected(learning_rate: Any, beta1: Any, beta2: Any, t: Any) -> Any:
    """The learning rate of step `t`, which makes up for moments that begin with zeros."""
    return learning_rate * T.sqrt(1 - beta2**t) / (1 - beta1**t)


def _second_moment(new: Updates, param: Any, grad: Any, beta2: Any) -> Any:
    second = _state(param, "second_moment")
    new[second] = beta2 * second + (1 - beta2) * T.sqr(grad)
    return new[second]


def _by_moments(
    name: str,
    loss_or_grads: Any,
    params: Sequence[Any],
    rate_of: Callable[[Any], Any],
    beta1: Any,
    scale: Callable[[Updates, Any, Any], Any],
    epsilon: float,
) -> Updates:
    """Step along the first moment of the gradient, over a scale: what `adam` and its kin share.

    rate_of : the learning rate of a step, by its number. scale : adds what it keeps to the updates, and returns the scale of a parameter.
    """
    grads = get_or_compute_grads(loss_or_grads, params)
    steps, t = _counted(name)
    rate = rate_of(t)
    new: Updates = {}
    for param, grad in zip(params, grads, strict=True):
        first = _state(param, "first_moment")
        new[first] = beta1 * first + (1 - beta1) * grad
        new[param] = param - rate * new[first] / (scale(new, param, grad) + epsilon)
    new[steps] = t
    return new


def adamax(
    loss_or_grads: Any,
    params: Sequence[Any],
    learning_rate: Any = 0.002,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: float = 1e-8,
) -> Updates:
    r"""Adam with the greatest gradient in place of the root mean square: :math:`w := w - \eta_t m / (u + \epsilon)`.

    With :math:`m := \beta_1 m + (1 - \beta_1) g`, :math:`u := \max(\beta_2 u, |g|)`, and in step :math:`t` the learning
    rate :math:`\eta_t = \eta / (1 - \beta_1^t)`.

    Parameters
    ----------
    loss_or_grads, params, learning_rate
        As for `sgd`.
    beta1, beta2 : float or scalar expression
        Memory of the mean, and how fast the greatest gradient is forgotten.
    epsilon : float
        Keeps the division finite.

    Returns
    -------
    dict from shared variable to expression

    References
    ----------
    .. [1] Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015, arXiv 1412.6980, section 7.1.
    """
    def scale(new: Updates, param: Any, grad: Any) -> Any:
        greatest = _state(param, "greatest")
        new[greatest] = T.maximum(beta2 * greatest, abs(grad))
        return new[greatest]

    return _by_moments("adamax", loss_or_grads, params, lambda t: learning_rate / (1 - beta1**t), beta1, scale, epsilon)


def amsgrad(
    loss_or_grads: Any,
    params: Sequence[Any],
    learning_rate: Any = 0.001,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: float = 1e-8,
) -> Updates:
    r"""Adam whose steps never grow for a second moment that shrinks: :math:`w := w - \eta_t m / (\sqrt{\hat v} + \epsilon)`.

    :math:`m`, :math:`v` and :math:`\eta_t` are those of `adam`, and :math:`\hat v := \max(\hat v, v)`.

    Parameters
    ----------
    loss_or_grads, params, learning_rate, beta1, beta2, epsilon
        As for `adam`.

    Returns
    -------
    dict from shared variable to expression

    References
    ----------
    .. [1] Reddi, Kale, Kumar: On the Convergence of Adam and Beyond, ICLR 2018, algorithm 2.
    """
    def scale(new: Updates, param: Any, grad: Any) -> Any:
        second, greatest = _second_moment(new, param, grad, beta2), _state(param, "greatest_second_moment")
        new[greatest] = T.maximum(greatest, second)
        return T.sqrt(new[greatest])

    return _by_moments("amsgrad", loss_or_grads, params, lambda t: _corrected(learning_rate, beta1, beta2, t), beta1, scale, epsilon)


def norm_constraint(
    tensor_var: Any, max_norm: Any, norm_axes: int | Sequence[int] | None = None, epsilon: float = 1e-7
) -> Any:
    """Scale down the incoming weights of every unit whose norm is too large.

    Parameters
    ----------
    tensor_var : expression
        A parameter or, more often, its new value in a dictionary of updates.
    max_norm : float or scalar expression
        The largest Euclidean norm allowed.
    norm_axes : int or sequence of int, optional
        The axes to sum over; by default the first for a matrix (dense layer), and all but the first for 3 to 5
        dimensions (convolution).
    epsilon : float
        Keeps the division finite.

    Returns
    -------
    expression of the same shape

    Raises
    ------
    ValueError
        If `tensor_var` has 0, 1 or more than 5 dimensions and `norm_axes` is not given.

    References
    ----------
    .. [1] Srivastava et al.: Dropout, JMLR 15 (2014), section 5.1.

    >>> w = T.constant([[3.0], [4.0]])
    >>> print(norm_constraint(w, 1.0).eval().round(2))
    [[0.6]
     [0.8]]
    """
    norms = T.sqrt(T.sum(T.sqr(tensor_var), axis=_constraint_axes(tensor_var, norm_axes), keepdims=True))
    return tensor_var * (T.minimum(norms, max_norm) / (epsilon + norms))


def _constraint_axes(tensor_var: Any, norm_axes: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the axes of the incoming weights of a unit."""
    if norm_axes is not None:
        return tuple(np.atleast_1d(norm_axes).tolist())
    if tensor_var.ndim == 2:
        return (0,)
    if tensor_var.ndim in (3, 4, 5):
        return tuple(range(1, tensor_var.ndim))
    raise ValueError(
        f"norm_constraint: a parameter of {tensor_var.ndim} dimensions has no usual axes of incoming weights\n"
        "  give norm_axes"
    )


def total_norm_constraint(
    tensor_vars: Sequence[Any], max_norm: Any, epsilon: float = 1e-7, return_norm: bool = False
) -> Any:
    """Scale down several expressions together if their common norm is too large.

    Parameters
    ----------
    tensor_vars : list of expressions
        Usually gradients.
    max_norm : float or scalar expression
        The largest Euclidean norm of all elements together.
    epsilon : float
        Keeps the division finite.
    return_norm : bool
        Return the norm, too.

    Returns
    -------
    list of expressions of the same shapes, or a pair of it and the norm (a scalar expression, before scaling)

    References
    ----------
    .. [1] Sutskever, Vinyals, Le: Sequence to Sequence Learning with Neural Networks, NIPS 2014, arXiv 1409.3215,
       section 3.4.
    .. [2] Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks, ICML 2013, section 3.2.

    >>> scaled, norm = total_norm_constraint([T.constant([3.0]), T.constant([4.0])], 1.0, return_norm=True)
    >>> print(norm.eval(), [round(float(s.eval()[0]), 2) for s in scaled])
    5.0 [0.6, 0.8]
    """
    if isinstance(tensor_vars, Expr):
        rows = [("given", f"{tensor_vars.label}  {tensor_vars.type}", tensor_vars.where)]
        fix = f"did you mean [{tensor_vars.label}]?"
        raise TypeError(report("total_norm_constraint takes a list of expressions", rows, fix))
    norm = T.sqrt(sum(T.sum(T.sqr(tensor)) for tensor in tensor_vars))
    multiplier = T.minimum(norm, max_norm) / (epsilon + norm)
    scaled = [tensor * multiplier for tensor in tensor_vars]
    return (scaled, norm) if return_norm else scaled
