"""Layers that summarise neighbouring values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import exprc.tensor as T
from exprc.errors import nearest
from exprc.nn.layers.base import Layer, Shape, geometry_error, read_function, read_sizes

__all__ = ["GlobalPoolLayer", "MaxPool2DLayer", "Pool2DLayer", "pool_output_length"]

MODES = ("max", "sum", "average_inc_pad", "average_exc_pad")


def pool_output_length(
    input_length: int | None, pool_size: int, stride: int, pad: int = 0, ignore_border: bool = True
) -> int | None:
    """Compute how many windows fit along one axis.

    Parameters
    ----------
    input_length : int or None
        None if unknown.
    pool_size, stride : int
    pad : int
        Added at both ends; 0 unless `ignore_border`.
    ignore_border : bool
        True: only whole windows.  False: a last window may reach over the end.

    Returns
    -------
    int or None
        Not positive if not even one window fits; None if the input length is None.

    >>> pool_output_length(10, 3, 3), pool_output_length(10, 3, 3, ignore_border=False)
    (3, 4)
    """
    if input_length is None:
        return None
    if ignore_border:
        return (input_length + 2 * pad - pool_size) // stride + 1
    if stride >= pool_size:
        return -(-input_length // stride)  # every start inside the input
    return max(0, -(-(input_length - pool_size) // stride)) + 1


class Pool2DLayer(Layer):
    """Takes the maximum, sum or average over two-dimensional windows of every feature map.

    Parameters
    ----------
    incoming : layer or tuple
        Of shape (batch, channels, rows, columns).
    pool_size : int or pair of int
        Rows and columns of a window.
    stride : int or pair of int, optional
        From window to window; by default `pool_size`, so that the windows tile the input.
    pad : int or pair of int
        Added at every side; smaller than the window.  The padding is never a maximum.
    ignore_border : bool
        False: a last window may reach over the end of the input.  Requires ``pad=0``.
    mode : {'max', 'sum', 'average_inc_pad', 'average_exc_pad'}
        An average counts the padding as zeros or leaves it out.
    name : str, optional

    Raises
    ------
    ValueError
        If the input does not have 4 axes, the mode is unknown, the padding does not fit, or the output would be empty.

    Examples
    --------
    >>> from exprc.nn.layers import InputLayer
    >>> Pool2DLayer(InputLayer((None, 20, 24, 24)), pool_size=2, mode="average_inc_pad").output_shape
    (None, 20, 12, 12)
    """

    def __init__(
        self,
        incoming: Any,
        pool_size: Any,
        stride: Any = None,
        pad: Any = (0, 0),
        ignore_border: bool = True,
        mode: str = "max",
        **kwargs: Any,
    ) -> None:
        super().__init__(incoming, **kwargs)
        self.pool_size = read_sizes(self, "pool_size", pool_size, 2, 1)
        self.stride = self.pool_size if stride is None else read_sizes(self, "stride", stride, 2, 1)
        self.pad = read_sizes(self, "pad", pad, 2, 0)
        self.ignore_border = ignore_border
        self.mode = mode
        self._check_arguments()
        self._check_windows()

    def _check_arguments(self) -> None:
        """Raise unless axes, mode and padding fit together."""
        if len(self.input_shape) != 4:
            raise geometry_error(
                self,
                f"2D pooling takes 4 axes (batch, channels, rows, columns), got {self.input_shape}",
                "put a ReshapeLayer before it, or give the InputLayer all of these sizes",
            )
        if self.mode not in MODES:
            text = f"mode is one of {', '.join(MODES)}, got {self.mode!r}"
            raise geometry_error(self, text, nearest(str(self.mode), MODES) or "the usual ones are max and average_inc_pad")
        if any(self.pad) and not self.ignore_border:
            fix = "pad, or keep the windows that reach beyond the border, but not both"
            raise geometry_error(self, f"pad={self.pad} needs ignore_border=True", fix)
        if any(pad >= size for pad, size in zip(self.pad, self.pool_size, strict=True)):
            raise geometry_error(
                self,
                f"the padding {self.pad} must be smaller than the window {self.pool_size}",
                "some windows would hold nothing but padding: pad less, or pool wider",
            )

    def _check_windows(self) -> None:
        """Raise if not even one window fits along some axis."""
        for axis, length in enumerate(self.output_shape[2:]):
            if length is not None and length <= 0:
                raise geometry_error(
                    self,
                    f"the output would be empty: axis {axis + 2} has size {self.input_shape[axis + 2]} "
                    f"(pad {self.pad[axis]}), the window {self.pool_size[axis]}",
                    "use a smaller window, less pooling before, or ignore_border=False",
                )

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        axes = zip(input_shape[2:], self.pool_size, self.stride, self.pad, strict=True)
        return (*input_shape[:2], *(pool_output_length(*axis, self.ignore_border) for axis in axes))

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        return T.pool_2d(
            input,
            ws=self.pool_size,
            stride=self.stride,
            ignore_border=self.ignore_border,
            pad=self.pad,
            mode=self.mode,
        )


class MaxPool2DLayer(Pool2DLayer):
    """Takes the maximum over two-dimensional windows of every feature map: `Pool2DLayer` with ``mode='max'``.

    Parameters
    ----------
    incoming, pool_size, stride, pad, ignore_border, name
        As for `Pool2DLayer`.

    Examples
    --------
    >>> MaxPool2DLayer((None, 20, 24, 24), pool_size=(2, 3), stride=2).output_shape
    (None, 20, 12, 11)
    """

    def __init__(
        self,
        incoming: Any,
        pool_size: Any,
        stride: Any = None,
        pad: Any = (0, 0),
        ignore_border: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(incoming, pool_size, stride, pad, ignore_border, mode="max", **kwargs)


class GlobalPoolLayer(Layer):
    """Summarises every feature map in one number.

    Parameters
    ----------
    incoming : layer or tuple
        Of at least 3 axes: (batch, channels, then any positions).
    pool_function : callable
        Called as ``pool_function(x, axis=2)`` with `x` of shape (batch, channels, positions).
    name : str, optional

    Raises
    ------
    ValueError
        If the input has fewer than 3 axes.

    References
    ----------
    .. [1] Lin, Chen, Yan: Network In Network, ICLR 2014, arXiv 1312.4400, section 3.2.

    Examples
    --------
    >>> GlobalPoolLayer((None, 64, 8, 8)).output_shape
    (None, 64)
    """

    def __init__(self, incoming: Any, pool_function: Callable[..., Any] = T.mean, **kwargs: Any) -> None:
        super().__init__(incoming, **kwargs)
        self.pool_function = read_function(self, "pool_function", pool_function, "for example exprc.tensor.mean")
        if len(self.input_shape) < 3:
            fix = "pool before the network flattens its images"
            text = f"global pooling takes (batch, channels, positions ...), got {self.input_shape}"
            raise geometry_error(self, text, fix)

    def get_output_shape_for(self, input_shape: Shape) -> Shape:
        return input_shape[:2]

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        return self.pool_function(input.flatten(3), axis=2)
