"""Functions over whole networks; a network is its last layer, or a list of last layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from exprc.errors import outside, report
from exprc.expr import Expr
from exprc.nn import utils
from exprc.nn.layers.base import Shape, label
from exprc.nn.layers.input import InputLayer

__all__ = [
    "count_params",
    "get_all_layers",
    "get_all_param_values",
    "get_all_params",
    "get_output",
    "get_output_shape",
    "set_all_param_values",
]


def get_all_layers(layer: Any, treat_as_input: Iterable[Any] | None = None) -> list[Any]:
    """List all layers that one or several layers depend on, themselves included.

    Parameters
    ----------
    layer : layer or list of layers
    treat_as_input : iterable of layers, optional
        Layers whose inputs are of no interest.

    Returns
    -------
    list of layers
        Each one once, after everything that it depends on; in the same order whenever the network is built alike.

    Examples
    --------
    >>> from exprc.nn.layers import DenseLayer, InputLayer
    >>> l1 = InputLayer((None, 4))
    >>> l2 = DenseLayer(l1, 3)
    >>> get_all_layers(l2) == [l1, l2]
    True
    """
    stack = [(item, False) for item in reversed(_checked(layer))]
    ends = set(treat_as_input or ())
    done: set[Any] = set()
    order: list[Any] = []
    while stack:  # depth first without recursion: a network may be thousands of layers deep
        current, inputs_done = stack.pop()
        if current is None or current in done:
            continue
        if inputs_done:
            done.add(current)
            order.append(current)
            continue
        stack.append((current, True))
        before = [] if current in ends else _inputs_of(current)
        stack.extend((item, False) for item in reversed(before) if item not in done)
    return order


def _as_list(layer_or_layers: Any) -> list[Any]:
    return list(layer_or_layers) if isinstance(layer_or_layers, (list, tuple)) else [layer_or_layers]


def _checked(layer_or_layers: Any) -> list[Any]:
    """Return one or several layers as a list; raise TypeError for what is none."""
    layers = _as_list(layer_or_layers)
    for item in layers:
        if not any(hasattr(item, name) for name in ("get_output_for", "output_shape", "get_params")):
            rows = [("given", f"{item.label}  {item.type}", item.where)] if isinstance(item, Expr) else []
            fix = "has the function that builds the network no return?" if item is None else ""
            fix = "get_output() of a layer is an expression; here the layer itself is needed" if rows else fix
            what = "an expression" if rows else "None" if item is None else f"{item!r} ({type(item).__name__})"[:100]
            raise TypeError(report(f"a layer, or a list of layers, is needed, not {what}", rows, fix))
    return layers


def _inputs_of(layer: Any) -> list[Any]:
    """Return the layers that feed `layer`; None stands for a bare shape."""
    if hasattr(layer, "input_layers"):
        return list(layer.input_layers)
    return [layer.input_layer] if hasattr(layer, "input_layer") else []


def get_output(layer_or_layers: Any, inputs: Any = None, **kwargs: Any) -> Any:
    """Build the expression of the output of one or several layers.

    Parameters
    ----------
    layer_or_layers : layer or list of layers
    inputs : None, expression, array, or dict from layer to expression or array
        What to feed: by default the variables of the input layers; one expression is fed to all input layers; a dict
        says it layer by layer, and any layer, not only input layers, may be given a value.
    **kwargs
        Passed to `get_output_for` of every layer, such as ``deterministic=True`` for testing.

    Returns
    -------
    expression or list of expressions
        Exactly what `get_output_for` returned.  Layers that several outputs share are built once.

    Raises
    ------
    ValueError
        If a layer made from a bare shape gets no input.

    Warns
    -----
    UserWarning
        If no layer knows one of the keyword arguments.

    Examples
    --------
    >>> import exprc.tensor as T
    >>> from exprc.nn.layers import InputLayer, NonlinearityLayer
    >>> l = NonlinearityLayer(InputLayer((2,)), T.tanh)
    >>> get_output(l, T.zeros((2,))).eval().tolist()
    [0.0, 0.0]
    """
    given = _given_outputs(layer_or_layers, inputs)
    layers = get_all_layers(layer_or_layers, treat_as_input=given)
    outputs = dict(given)
    accepted = {"deterministic"}
    for layer in layers:
        if layer in outputs:
            continue
        if isinstance(layer, InputLayer):
            outputs[layer] = layer.input_var
            continue
        outputs[layer] = layer.get_output_for(_feed(layer, outputs, "get_output", "expression"), **kwargs)
        if outputs[layer] is None:
            rows = [("layer", label(layer), getattr(layer, "where", ""))]
            raise TypeError(report(f"{label(layer)}: get_output_for() gave None", rows, "has it no return?"))
        accepted |= _accepted_kwargs(layer)
    _warn_of_unused(set(kwargs) - accepted, accepted)
    return _pick(layer_or_layers, outputs)


def _given_outputs(layer_or_layers: Any, inputs: Any) -> dict[Any, Any]:
    """Return the layers whose output the user gives, with that as an expression."""
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        ends = [layer for layer in get_all_layers(layer_or_layers) if isinstance(layer, InputLayer)]
        inputs = dict.fromkeys(ends, inputs)
    _checked(list(inputs))
    return {layer: utils.as_expression(value) for layer, value in inputs.items()}


def _feed(layer: Any, outputs: Mapping[Any, Any], caller: str, what: str) -> Any:
    """Return what `layer` receives: one value, or a list of them for a layer with several inputs."""
    before = _inputs_of(layer)
    if not before or None in before:
        raise ValueError(
            report(
                f"{caller}(): the layer {label(layer)} was made from a bare shape and was given no input {what}",
                [("layer", label(layer), getattr(layer, "where", ""))],
                f"call {caller}() with a dictionary that maps it to an input {what}, or start with an InputLayer",
            )
        )
    values = [outputs[item] for item in before]
    return values if hasattr(layer, "input_layers") else values[0]


def _pick(layer_or_layers: Any, values: Mapping[Any, Any]) -> Any:
    """Return the values of the layers in the form in which the layers were given."""
    if isinstance(layer_or_layers, (list, tuple)):
        return [values[layer] for layer in layer_or_layers]
    return values[layer_or_layers]


def _accepted_kwargs(layer: Any) -> set[str]:
    """Return the keyword arguments that a layer knows."""
    try:
        named = utils.inspect_kwargs(layer.get_output_for)
    except (TypeError, ValueError):  # a callable without a signature
        named = []
    return {*named, *layer.get_output_kwargs}


def _warn_of_unused(unused: set[str], accepted: set[str]) -> None:
    """Warn of keyword arguments that no layer knows, with the nearest one that some layer does."""
    if not unused:
        return
    lines = []
    for name in sorted(unused):
        close = get_close_matches(name, sorted(accepted), n=1)
        lines.append(f"{name} (perhaps you meant {close[0]})" if close else name)
    warnings.warn("get_output() was called with unused kwargs:\n\t" + "\n\t".join(lines), stacklevel=outside())


def get_output_shape(layer_or_layers: Any, input_shapes: Any = None) -> Any:
    """Compute the shape of the output of one or several layers.

    Parameters
    ----------
    layer_or_layers : layer or list of layers
    input_shapes : None, tuple, or dict from layer to tuple
        What the shapes of the inputs would be: by default those of the input layers; a tuple is for all input layers.

    Returns
    -------
    tuple, or list of tuples
        Sizes are int, or None where they may vary.

    Raises
    ------
    ValueError
        If a layer made from a bare shape gets no input.

    Examples
    --------
    >>> from exprc.nn.layers import Conv2DLayer, InputLayer
    >>> l = Conv2DLayer(InputLayer((None, 3, 32, 32)), 8, 3)
    >>> get_output_shape(l), get_output_shape(l, (1, 3, 64, 64))
    ((None, 8, 30, 30), (1, 8, 62, 62))
    """
    if not input_shapes:
        shapes = {layer: layer.output_shape for layer in _checked(layer_or_layers)}
        return _pick(layer_or_layers, shapes)
    shapes = _given_shapes(layer_or_layers, input_shapes)
    for layer in get_all_layers(layer_or_layers, treat_as_input=list(shapes)):
        if layer in shapes:
            continue
        if isinstance(layer, InputLayer):
            shapes[layer] = layer.shape
        else:
            shapes[layer] = layer.get_output_shape_for(_feed(layer, shapes, "get_output_shape", "shape"))
    return _pick(layer_or_layers, shapes)


def _given_shapes(layer_or_layers: Any, input_shapes: Any) -> dict[Any, Shape]:
    """Return the layers whose output shape the user gives."""
    if isinstance(input_shapes, Mapping):
        return dict(input_shapes)
    ends = [layer for layer in get_all_layers(layer_or_layers) if isinstance(layer, InputLayer)]
    return dict.fromkeys(ends, input_shapes)


def get_all_params(layer: Any, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
    """List the parameters of one or several layers and of everything that they depend on.

    Parameters
    ----------
    layer : layer or list of layers
    unwrap_shared : bool
        Replace a parameter that is an expression by the shared variables in it.
    **tags : bool
        ``trainable=True``, ``regularizable=False`` ...; see `Layer.get_params`.

    Returns
    -------
    list of shared variables (or expressions)
        Each one once, in the order of `get_all_layers` and within a layer in the order in which they were added.  This
        is also the order of weights in files.

    Warns
    -----
    UserWarning
        If no parameter has a tag that is spelt almost like one that there is.

    Examples
    --------
    >>> from exprc.nn.layers import DenseLayer, InputLayer
    >>> l = DenseLayer(InputLayer((None, 4)), 3, name="out")
    >>> [p.name for p in get_all_params(l)], [p.name for p in get_all_params(l, regularizable=True)]
    (['out.W', 'out.b'], ['out.W'])
    """
    layers = get_all_layers(layer)
    _warn_of_misspelt(tags, layers)
    return utils.unique(p for item in layers for p in item.get_params(unwrap_shared=unwrap_shared, **tags))


def _warn_of_misspelt(tags: Iterable[str], layers: Iterable[Any]) -> None:
    """Warn of a tag that no parameter has, where it is spelt almost like one that there is."""
    params = [own for own in (getattr(item, "params", {}) for item in layers) if isinstance(own, Mapping)]
    known = {"trainable", "regularizable", *(tag for own in params for tag_set in own.values() for tag in tag_set)}
    for tag in sorted(set(tags) - known):
        close = get_close_matches(tag, sorted(known), n=1)
        if close:
            warnings.warn(f"no parameter has the tag {tag} (perhaps you meant {close[0]})", stacklevel=outside())


def count_params(layer: Any, **tags: bool) -> int:
    """Count the numbers in all parameters.

    Parameters
    ----------
    layer : layer or list of layers
    **tags : bool
        See `get_all_params`.

    Examples
    --------
    >>> from exprc.nn.layers import DenseLayer, InputLayer
    >>> count_params(DenseLayer(InputLayer((None, 4)), 3))
    15
    """
    return sum(int(np.prod(p.get_value(borrow=True).shape)) for p in get_all_params(layer, **tags))


def get_all_param_values(layer: Any, **tags: bool) -> list[np.ndarray]:
    """Return the values of all parameters, as copies, in the order of `get_all_params`.

    Parameters
    ----------
    layer : layer or list of layers
    **tags : bool
        See `get_all_params`.

    Examples
    --------
    >>> from exprc.nn.layers import DenseLayer, InputLayer
    >>> [v.shape for v in get_all_param_values(DenseLayer(InputLayer((None, 4)), 3))]
    [(4, 3), (3,)]
    """
    return [p.get_value() for p in get_all_params(layer, **tags)]


def set_all_param_values(layer: Any, values: Sequence[Any], **tags: bool) -> None:
    """Set the values of all parameters, in the order of `get_all_params`.

    Parameters
    ----------
    layer : layer or list of layers
    values : list of arrays
        As `get_all_param_values` returns them for the same network and the same tags.
    **tags : bool
        See `get_all_params`.

    Raises
    ------
    ValueError
        If the number of values or one of the shapes does not fit; nothing is changed then.
    TypeError
        If a value is no array of numbers, or of a dtype that the parameter cannot hold; nothing is changed then.

    Examples
    --------
    >>> from exprc.nn.layers import DenseLayer, InputLayer
    >>> l = DenseLayer(InputLayer((None, 2)), 1)
    >>> set_all_param_values(l, [np.ones((2, 1)), np.zeros(1)])
    >>> l.W.get_value().tolist()
    [[1.0], [1.0]]
    """
    params = get_all_params(layer, **tags)
    if isinstance(values, Mapping):
        fix = "list(values.values()), where they stand in the order of get_all_params()"
        raise TypeError(report("set_all_param_values takes a list of arrays, not a dict", fix=fix))
    if len(params) != len(values):
        rows = [("parameter", f"{p.label}  {p.type}", p.where) for p in params]
        fix = "get_all_param_values() of the same network gives as many, in this order"
        raise ValueError(report(f"mismatch: got {len(values)} values to set {len(params)} parameters", rows, fix))
    for param, value in zip(params, values, strict=True):
        own, given = param.get_value(borrow=True).shape, np.shape(value)
        if own != given:
            raise ValueError(
                report(
                    f"mismatch: the parameter {param.name!r} has shape {own}, but the value to set has shape {given}",
                    [("parameter", str(param.name), param.where)],
                    "these are the values of another network, or in another order",
                )
            )
    fitting = [param.container.fitting(value, param) for param, value in zip(params, values, strict=True)]
    for param, value in zip(params, fitting, strict=True):
        param.set_value(value)
