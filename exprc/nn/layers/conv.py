"""Convolutional layers."""

# ruff: noqa: B008 - initialisers hold no state: one instance can be everyone's default
from __future__ import annotations

from typing import Any

import exprc.tensor as T
from exprc.errors import nearest
from exprc.nn import init, nonlinearities
from exprc.nn.layers.base import Layer, Shape, geometry_error, read_nonlinearity, read_sizes

__all__ = ["BaseConvLayer", "Conv2DLayer", "conv_output_length"]


def conv_output_length(input_length: int | None, filter_size: int, stride: int, pad: int | str = 0) -> int | None:
    """Compute how many positions a filter takes along one axis.

    Parameters
    ----------
    input_length : int or None
        None if unknown.
    filter_size, stride : int
    pad : int, 'full', 'same' or 'valid'
        Zeros added at both ends: that many; ``filter_size - 1``; half the filter, so that the length stays the same
        with stride 1; none.

    Returns
    -------
    int or None
        ``(input_length + 2 pad - filter_size) // stride + 1``; not positive if the filter does not fit; None if the
        input length is None.

    Raises
    ------
    ValueError
        If `pad` is none of the above.

    References
    ----------
    .. [1] Dumoulin, Visin: A guide to convolution arithmetic for deep learning, 2016, arXiv 1603.07285, section 2.4.

    >>> conv_output_length(28, 5, 1), conv_output_length(28, 5, 2, pad='same'), conv_output_length(None, 5, 1)
    (24, 14, None)
    """
    if input_length is None:
        return None
    words = {"valid": 0, "full": filter_size - 1, "same": filter_size // 2}
    if isinstance(pad, str) and pad not in words:
        raise ValueError(f"pad is an int, 'full', 'same' or 'valid', got {pad!r}")
    zeros = words[pad] if isinstance(pad, str) else pad
    return (input_length + 2 * zeros - filter_size) // stride + 1


class BaseConvLayer(Layer):
    r"""Base class of convolutional layers, :math:`y = \varphi(x * W + b)`; subclasses define `convolve`.

    Parameters
    ----------
    incoming : layer or tuple
        Of shape (batch, channels, then `n` spatial sizes).
    num_filters : int
    filter_size : int or tuple of `n` int
    stride : int or tuple of `n` int
    pad : int, tuple of `n` int, 'full', 'same' or 'valid'
        See `conv_output_length`.
    untie_biases : bool
        A bias for every position instead of one for every filter.
    W : parameter, shape (num_filters, channels / num_groups, then filter_size)
    b : parameter, shape (num_filters,), if untied (num_filters, then the spatial sizes of the output); or None
    nonlinearity : callable or None
    flip_filters : bool
        True: convolution in the mathematical sense; False: cross-correlation, as in most other libraries.
    num_groups : int
        Filters and channels fall into that many groups; a filter sees the channels of its own group.
    n : int, optional
        The number of spatial axes; by default all axes after the first two.
    name : str, optional

    Raises
    ------
    ValueError
        If the input does not have `n` spatial axes, or its channels are unknown, if the groups do not divide channels
        and filters, if no position is left for the filter.
    NotImplementedError
        If `pad` is 'same' and the size of the filter is even: the padding would have to differ at both ends.

    Examples
    --------
    A convolution of your own (here of 1 x 1 filters, so that it is a product) inherits everything else:

    >>> class Mix(BaseConvLayer):
    ...     def convolve(self, input, **kwargs):
    ...         return T.tensordot(input, self.W[:, :, 0], axes=((1,), (1,))).dimshuffle(0, 2, 1)
    >>> Mix((None, 3, 10), num_filters=4, filter_size=1).output_shape
    (None, 4, 10)
    """

    def __init__(
        self,
        incoming: Any,
        num_filters: int,
        filter_size: Any,
        stride: Any = 1,
        pad: Any = 0,
        untie_biases: bool = False,
        W: Any = init.GlorotUniform(),
        b: Any = init.Constant(0.0),
        nonlinearity: Any = nonlinearities.rectify,
        flip_filters: bool = True,
        num_groups: int = 1,
        n: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(incoming, **kwargs)
        self.nonlinearity = read_nonlinearity(self, nonlinearity)
        self.n = len(self.input_shape) - 2 if n is None else n
        self.num_filters = num_filters
        self.num_groups = num_groups
        self.untie_biases = untie_biases
        self.flip_filters = flip_filters
        self._check_input()
        self.filter_size = read_sizes(self, "filter_size", filter_size, self.n, 1)
        self.stride = read_sizes(self, "stride", stride, self.n, 1)
        self.pad = self._read_pad(pad)
        self._check_positions()
        self.W = self.add_param(W, self.get_W_shape(), name="W")
        self.b = None if b is None else self.add_param(b, self._bias_shape(), name="b", regularizable=False)

    def _check_input(self) -> None:
        """Raise unless number of axes, channels and groups fit together."""
        shape, groups = self.input_shape, self.num_groups
        if len(shape) != self.n + 2:
            raise geometry_error(
                self,
                f"a {self.n}D convolution takes {self.n + 2} axes (batch, channels, {self.n} spatial), got {shape}",
                "put a ReshapeLayer before it, or give the InputLayer all of these sizes",
            )
        if shape[1] is None:
            fix = "give it in the shape of the InputLayer"
            raise geometry_error(self, f"the number of channels must be known, got {shape}", fix)
        if groups <= 0 or self.num_filters % groups or shape[1] % groups:
            raise geometry_error(
                self,
                f"num_groups={groups} must divide the {shape[1]} channels and the {self.num_filters} filters",
                "num_groups=1, an ordinary convolution, always does",
            )

    def _read_pad(self, pad: Any) -> Any:
        """Return the padding as 'full', 'same' or a tuple of int."""
        if pad == "same" and any(size % 2 == 0 for size in self.filter_size):
            text = f"pad='same' needs odd filter sizes, got {self.filter_size}: an even filter has no middle"
            error = geometry_error(self, text, "use an odd size, or give pad as numbers")
            raise NotImplementedError(str(error))
        if isinstance(pad, str) and pad not in ("full", "same", "valid"):
            text = f"pad is an int, a tuple of int, 'full', 'same' or 'valid', got {pad!r}"
            raise geometry_error(self, text, nearest(pad, ("full", "same", "valid")))
        return pad if pad in ("full", "same") else read_sizes(self, "pad", 0 if pad == "valid" else pad, self.n, 0)

    def _check_positions(self) -> None:
        """Raise if there is no position for the filter along some axis."""
        for axis, length in enumerate(self.output_shape[2:]):
            if length is not None and length <= 0:
                pad = self.pad if isinstance(self.pad, str) else self.pad[axis]
                raise geometry_error(
                    self,
                    f"the output would be empty: axis {axis + 2} has size {self.input_shape[axis + 2]} (pad {pad}), "
                    f"the filter {self.filter_size[axis]}",
                    "use a smaller filter, more padding, or less pooling before",
                )

    def get_W_shape(self) -> tuple[int, ...]:
        """Return the shape of the filters, (num_filters, channels in a group, then filter_size)."""
        channels = self.input_shape[1] or 0
        return (self.num_filters, channels // self.num_groups, *self.filter_size)

    def _bias_shape(self) -> tuple[int, ...]:
        if not self.untie_biases:
            return (self.num_filters,)
        sizes = self.output_shape[2:]
        if None in sizes:
            raise geometry_error(self, f"untied biases need a fixed output size, got {self.output_shape}")
        return (self.num_filters, *(size for size in sizes if size is not None))

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        pads = (self.pad,) * self.n if isinstance(self.pad, str) else self.pad
        axes = zip(input_shape[2:], self.filter_size, self.stride, pads, strict=True)
        return (input_shape[0], self.num_filters, *(conv_output_length(*axis) for axis in axes))

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        activation = self.convolve(input, **kwargs)
        if self.b is None:
            return self.nonlinearity(activation)
        # (filters,) or (filters, rows, columns) -> (1, filters, 1, 1) or (1, filters, rows, columns)
        spatial = range(1, self.n + 1) if self.untie_biases else ("x",) * self.n
        return self.nonlinearity(activation + self.b.dimshuffle("x", 0, *spatial))

    def convolve(self, input: Any, **kwargs: Any) -> Any:
        """Return the convolution of `input` with the filters `W`, without bias and nonlinearity.

        Parameters
        ----------
        input : expression, shape (batch, channels, ...)

        Returns
        -------
        expression, shape (batch, num_filters, ...)
        """
        raise NotImplementedError(f"{type(self).__name__} does not define convolve(input, **kwargs)")


class Conv2DLayer(BaseConvLayer):
    r"""A two-dimensional convolution with bias and nonlinearity, :math:`y = \varphi(x * W + b)`.

    Parameters
    ----------
    incoming : layer or tuple
        Of shape (batch, channels, rows, columns).
    num_filters : int
    filter_size, stride : int or pair of int
    pad : int, pair of int, 'full', 'same' or 'valid'
    untie_biases : bool
    W : parameter, shape (num_filters, channels / num_groups, filter rows, filter columns)
    b : parameter, shape (num_filters,), if untied (num_filters, output rows, output columns); or None
    nonlinearity : callable or None
    flip_filters : bool
    convolution : callable
        Called as ``convolution(input, W, input_shape, W_shape, subsample=, border_mode=, filter_flip=)``.
    **kwargs
        `num_groups` and `name`; all of these are explained at `BaseConvLayer`, with the errors.

    References
    ----------
    .. [1] LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proceedings of the
       IEEE 86 (1998), section II.

    Examples
    --------
    >>> from exprc.nn.layers import InputLayer
    >>> l = Conv2DLayer(InputLayer((None, 1, 28, 28)), num_filters=20, filter_size=5)
    >>> l.output_shape, l.W.type.shape
    ((None, 20, 24, 24), (20, 1, 5, 5))
    """

    def __init__(
        self,
        incoming: Any,
        num_filters: int,
        filter_size: Any,
        stride: Any = (1, 1),
        pad: Any = 0,
        untie_biases: bool = False,
        W: Any = init.GlorotUniform(),
        b: Any = init.Constant(0.0),
        nonlinearity: Any = nonlinearities.rectify,
        flip_filters: bool = True,
        convolution: Any = T.conv2d,
        **kwargs: Any,
    ) -> None:
        own = (num_filters, filter_size, stride, pad, untie_biases, W, b, nonlinearity, flip_filters)
        super().__init__(incoming, *own, n=2, **kwargs)
        self.convolution = convolution

    def convolve(self, input: Any, **kwargs: Any) -> Any:
        groups = {} if self.num_groups == 1 else {"num_groups": self.num_groups}
        # Images of another size than the layer was made for are welcome: what is known of them comes first.
        sizes = zip(input.type.shape, self.input_shape, strict=True)
        return self.convolution(
            input,
            self.W,
            tuple(own if known is None else known for known, own in sizes),
            self.get_W_shape(),
            subsample=self.stride,
            border_mode="half" if self.pad == "same" else self.pad,
            filter_flip=self.flip_filters,
            **groups,
        )
