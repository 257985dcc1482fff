"""Data sets to learn from: MNIST, and generated digits where no file and no network is at hand.

Importing this module reads and fetches nothing.
"""

from __future__ import annotations

from exprc.datasets.digits import digits
from exprc.datasets.idx import read_idx
from exprc.datasets.images import DataSet, Images, as_floats, split
from exprc.datasets.mnist import find_mnist, load_mnist

__all__ = ["DataSet", "Images", "as_floats", "digits", "find_mnist", "load_mnist", "read_idx", "split"]
