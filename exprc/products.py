"""Products of matrices as a library knows them."""

from __future__ import annotations

from dataclasses import dataclass


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
