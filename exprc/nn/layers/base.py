"""The two classes that every layer builds on, and the message that every wrong geometry gives."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from exprc.errors import nearest, report
from exprc.expr import Expr, place_of, user_line
from exprc.nn import nonlinearities, utils
from exprc.spellings import instead

__all__ = ["Layer", "MergeLayer"]

Shape = tuple[int | None, ...]

#: How many layers a message shows.
LONGEST_CHAIN = 12


class _Node:
    """What layers with one and with several inputs have in common: a name, parameters with tags, an output shape."""

    name: str | None
    params: dict[Any, set[str]]
    get_output_kwargs: list[str]
    where: str

    def _begin(self, name: str | None, unknown: Iterable[str] = ()) -> None:
        """Set the attributes that do not depend on the inputs; refuse arguments that no class of the layer takes."""
        self.name = name
        self.params = {}
        self.get_output_kwargs = []
        self.where = place_of(user_line())
        for argument in unknown:
            raise _unknown_argument(self, argument)

    @property
    def output_shape(self) -> Shape:
        """The shape of the output: an int for a known size, None for one that may vary."""
        shape = self.get_output_shape_for(self._input_shapes())
        if any(isinstance(size, Expr) for size in shape):
            raise ValueError(
                f"{label(self)}: get_output_shape_for() returned a symbolic shape, {shape}\n"
                "  a size is an int where it is fixed and None where it may vary"
            )
        return shape

    def _input_shapes(self) -> Any:
        """Return what `get_output_shape_for` takes."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its inputs are")

    def get_output_shape_for(self, input_shape: Any) -> Shape:
        """Return the shape of the output for given shapes of the input."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_output_shape_for()")

    def get_params(self, unwrap_shared: bool = True, **tags: bool) -> list[Any]:
        """List the parameters of this layer, all of them or by tag.

        Parameters
        ----------
        unwrap_shared : bool
            If true (the default), a parameter that is an expression is replaced by the shared variables in it.
        **tags : bool
            ``trainable=True`` keeps the parameters with that tag, ``trainable=False`` those without it.
            Several tags must all agree.

        Returns
        -------
        list of shared variables (or expressions)
            In the order in which they were added.
        """
        wanted = {tag for tag, value in tags.items() if value}
        unwanted = {tag for tag, value in tags.items() if not value}
        chosen = [p for p, own in self.params.items() if wanted <= own and not unwanted & own]
        return utils.collect_shared_vars(chosen) if unwrap_shared else chosen

    def add_param(self, spec: Any, shape: Sequence[int], name: str | None = None, **tags: bool) -> Any:
        """Make a parameter and register it with this layer.

        Parameters
        ----------
        spec : number, array, expression, or callable
            Its value, or how to get it; see `exprc.nn.utils.create_param`.
        shape : sequence of int
        name : str, optional
            The layer's name and a dot come before it if the layer has a name.
        **tags : bool
            Tags to set.  `trainable` and `regularizable` are set unless given as False.

        Returns
        -------
        shared variable or expression
            To be kept as an attribute and used in `get_output_for`.
        """
        if not hasattr(self, "params"):
            text = f"{type(self).__name__}: add_param() before the layer is set up"
            raise RuntimeError(report(text, fix="call super().__init__(incoming, name=name) first"))
        if name is not None and self.name is not None:
            name = f"{self.name}.{name}"
        param = utils.create_param(spec, shape, name)
        tags = {"trainable": True, "regularizable": True, **tags}
        self.params[param] = {tag for tag, value in tags.items() if value}
        return param


class Layer(_Node):
    """Base class of every layer with one input.

    Parameters
    ----------
    incoming : layer or tuple
        The layer that feeds this one, or the shape of the input: a tuple of int, None for a size that may vary.
        Anything with an attribute `output_shape` can be a layer.
    name : str, optional
        Shown in messages and put before the names of parameters.

    Attributes
    ----------
    input_layer : the incoming layer, None if a shape was given.
    input_shape, output_shape : tuple of int or None.
    params : dict from parameter to its set of tags.
    get_output_kwargs : list of str
        Keyword arguments that `get_output_for` takes without naming them (for the warning of `get_output`).

    Raises
    ------
    ValueError
        If a size of the input shape is not positive.

    Examples
    --------
    A layer of your own says what it computes and, if that differs from its input's, the shape of the result:

    >>> class Double(Layer):
    ...     def get_output_for(self, input, **kwargs):
    ...         return 2 * input
    >>> Double((None, 3)).output_shape
    (None, 3)
    """

    def __init__(self, incoming: Any, name: str | None = None, **unknown: Any) -> None:
        self._begin(name, unknown)
        self.input_layer, self.input_shape = split_incoming(incoming)
        check_sizes(self, self.input_shape, "input_shape")

    def _input_shapes(self) -> Shape:
        return self.input_shape

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        """Return the shape of the output for an input of `input_shape`.

        Parameters
        ----------
        input_shape : tuple of int or None

        Returns
        -------
        tuple of int or None
            `input_shape` itself, unless a subclass says otherwise.
        """
        return input_shape

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        """Return the output of this layer as an expression; every subclass defines it.

        Parameters
        ----------
        input : expression
        **kwargs
            What was given to `get_output`, such as ``deterministic=True``; a layer ignores what it does not know.
        """
        raise _lacks(self, "get_output_for(input, **kwargs)")


class MergeLayer(_Node):
    """Base class of every layer with several inputs.

    Parameters
    ----------
    incomings : list of layers or tuples
        As for `Layer`, in the order in which `get_output_for` receives the inputs.
    name : str, optional

    Attributes
    ----------
    input_layers, input_shapes : lists, as `Layer.input_layer` and `Layer.input_shape`.

    Raises
    ------
    ValueError
        If a size of an input shape is not positive, or if there are no inputs.

    Examples
    --------
    >>> class Product(MergeLayer):
    ...     def get_output_shape_for(self, input_shapes):
    ...         return input_shapes[0]
    ...     def get_output_for(self, inputs, **kwargs):
    ...         return inputs[0] * inputs[1]
    >>> Product([(None, 3), (None, 3)]).output_shape
    (None, 3)
    """

    def __init__(self, incomings: Iterable[Any], name: str | None = None, **unknown: Any) -> None:
        self._begin(name, unknown)
        if not isinstance(incomings, Iterable):
            text = f"{label(self)}: incomings is a list of layers, got {label(incomings)}"
            raise TypeError(report(text, [("layer", label(self), self.where)], "put the layers in a list: [first, second]"))
        pairs = [split_incoming(incoming) for incoming in incomings]
        if not pairs:
            raise ValueError(f"{label(self)}: the list of incoming layers is empty")
        self.input_layers = [layer for layer, _ in pairs]
        self.input_shapes = [shape for _, shape in pairs]
        for shape in self.input_shapes:
            check_sizes(self, shape, "input_shape")

    def _input_shapes(self) -> list[Shape]:
        return self.input_shapes

    def get_output_shape_for(self, input_shapes: list[Shape]) -> Shape:
        """Return the shape of the output for inputs of `input_shapes`; every subclass defines it."""
        raise _lacks(self, "get_output_shape_for(input_shapes)")

    def get_output_for(self, inputs: list[Any], **kwargs: Any) -> Any:
        """Return the output as an expression of the list of inputs; every subclass defines it."""
        raise _lacks(self, "get_output_for(inputs, **kwargs)")


def _unknown_argument(layer: Any, argument: str) -> TypeError:
    made_by = [vars(kind)["__init__"] for kind in type(layer).__mro__[:-1] if "__init__" in vars(kind)]
    parameters = {p.name: p for make in made_by for p in inspect.signature(make).parameters.values()}
    known = [name for name, p in parameters.items() if name != "self" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    text = f"{type(layer).__name__}() has no argument {argument!r}"
    fix = nearest(argument, known) or f"its arguments are {', '.join(known)}"
    return TypeError(report(text, [("layer", label(layer), layer.where)], fix))


def _lacks(layer: Any, method: str) -> NotImplementedError:
    text = f"{type(layer).__name__} does not define {method}"
    fix = "every class of layers needs it, to say what the layer makes of its input"
    return NotImplementedError(report(text, [("layer", label(layer), layer.where)], fix))


def split_incoming(incoming: Any) -> tuple[Any, Shape]:
    """Return the layer (None for a bare shape) and the shape that a constructor was given."""
    if isinstance(incoming, tuple):
        return None, incoming
    if not hasattr(incoming, "output_shape"):
        name = incoming.label if isinstance(incoming, Expr) else repr(incoming)
        rows = [("given", f"{name}  {incoming.type}", incoming.where)] if isinstance(incoming, Expr) else []
        text = f"incoming is a layer or a tuple (a shape), got {name} of type {type(incoming).__name__}"
        fix = "anything with an attribute output_shape can be a layer; data enter by an InputLayer"
        raise TypeError(report(text, rows, fix))
    return incoming, incoming.output_shape


def check_sizes(layer: Any, shape: Shape, which: str) -> None:
    """Raise TypeError if a known size of a shape is no int, ValueError if one is not positive."""
    if not all(size is None or isinstance(size, utils.int_types) for size in shape):
        raise TypeError(str(geometry_error(layer, f"every size must be an int or None, got {which} {shape}")))
    if any(size is not None and size <= 0 for size in shape):
        fix = "give None for a size that may vary"
        raise geometry_error(layer, f"every size must be positive or None, got {which} {shape}", fix)


def read_sizes(layer: Any, what: str, value: Any, n: int, lowest: int) -> tuple[int, ...]:
    """Return a number, or one for each of `n` axes, as a tuple; raise for what is none, or less than `lowest`."""
    try:
        sizes: tuple[int, ...] = utils.as_tuple(value, n, int)
    except (TypeError, ValueError) as error:
        text = f"{what} must be an int" + (f", or {n} of them" if n > 1 else "") + f", got {value!r}"
        raise type(error)(str(geometry_error(layer, text))) from None
    if min(sizes, default=lowest) < lowest:
        raise geometry_error(layer, f"{what} must be at least {lowest}, got {value!r}")
    return sizes


def read_axes(layer: Any, what: str, axes: Any, fix: str = "") -> tuple[int, ...]:
    """Return an axis, or several, of the input of a layer as a tuple of int, none negative."""
    ndim = len(layer.input_shape)
    entries = (axes,) if isinstance(axes, utils.int_types) else tuple(axes)
    if any(not -ndim <= axis < ndim for axis in entries):
        raise geometry_error(layer, f"{what}={axes} are out of range for a {ndim}-dimensional input", fix)
    return tuple(int(axis) % ndim for axis in entries)


def read_nonlinearity(layer: Any, nonlinearity: Any) -> Any:
    """Return what a layer applies: the identity for None; raise TypeError for what cannot be called with an expression."""
    if nonlinearity is None:
        return nonlinearities.identity
    fix = instead(str(nonlinearity), nonlinearities.__all__) or "for example exprc.nn.nonlinearities.rectify"
    return read_function(layer, "nonlinearity", nonlinearity, fix)


def read_function(layer: Any, argument: str, given: Any, fix: str) -> Any:
    """Return what a layer calls with expressions; raise TypeError, with `fix`, for what cannot be called so."""
    if callable(given) and not isinstance(given, (type, Expr)):
        return given
    if isinstance(given, type):
        what, fix = f"the class {given.__name__}", f"make one of it: {given.__name__}()"
    else:
        what = f"the expression {given.label}" if isinstance(given, Expr) else repr(given)
    text = f"{label(layer)}: {argument} must be a function of expressions, not {what}"
    raise TypeError(report(text, [("layer", label(layer), layer.where)], fix))


def geometry_error(layer: Any, what: str, fix: str = "") -> ValueError:
    """Make the error for a layer that does not fit its input: it shows the last layers that lead there, and the layer itself.

    Parameters
    ----------
    layer : the layer that is being made; its inputs are known already.
    what : what is wrong, with the sizes that disagree.
    fix : what would mend it.
    """
    chain = list(islice(_upwards(layer), LONGEST_CHAIN))[::-1]
    rows = [(label(before), str(shape), getattr(before, "where", "")) for before, shape in chain]
    rows.append((label(layer), "does not fit", getattr(layer, "where", "")))
    return ValueError(report(f"{label(layer)}: {what}", rows, fix))


def label(layer: Any) -> str:
    """Return how messages call a layer.

    >>> label(Layer((2, 3), name="first")), label(Layer((2, 3)))
    ('first (Layer)', 'Layer')
    """
    if layer is None:
        return "input"
    kind = type(layer).__name__
    name = getattr(layer, "name", None)
    return f"{name} ({kind})" if name else kind


def _upwards(layer: Any) -> Iterator[tuple[Any, Shape]]:
    """Walk from `layer` towards the input, yielding what feeds it and the shape; several inputs end the walk."""
    while hasattr(layer, "input_layer"):
        yield layer.input_layer, layer.input_shape
        layer = layer.input_layer
    if hasattr(layer, "input_layers"):
        yield from reversed(list(zip(layer.input_layers, layer.input_shapes, strict=True)))
