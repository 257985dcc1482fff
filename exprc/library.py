"""What a library may compute in the place of a kernel: products of matrices, and convolutions, as a library knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Matrix:
    """Where the factors and the result of products lie: elements from row to row, from column to column, from product to product.

    argument : the number of the argument that it lies in. offset : bytes from there.
    """

    argument: int
    offset: int
    rows: int
    columns: int
    batch: int


@dataclass(frozen=True)
class Product:
    """What a launch computes, where a library may do it instead: `batch` products (m, k) · (k, n) of a dtype."""

    library: str
    dtype: str
    batch: int
    m: int
    n: int
    k: int
    left: Matrix
    right: Matrix
    result: Matrix


@dataclass(frozen=True)
class Tensor:
    """Where an array of four axes lies: the lengths, and elements from one to the next along each; `argument`, `offset` as in `Matrix`."""

    argument: int
    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Convolution:
    """A convolution ``y = x * w``, or one of its gradients: images x and y, filters w, which lie one after the other, in row-major order.

    computes : which of "x", "w" and "y" is the result, from the other two. pad : rows above and columns to the left, as many below and to
    the right. flipped : whether the filters are turned over, as mathematics has it. precision : "float32", or "tf32" for rounded factors.
    """

    library: str
    dtype: str
    computes: str
    x: Tensor
    w: Tensor
    y: Tensor
    pad: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    flipped: bool
    precision: str


Work: TypeAlias = Product | Convolution
