"""Files of weights: named arrays, written whole or not at all, read within bounds."""

from __future__ import annotations

from exprc.io.npz import load_npz, save_npz
from exprc.io.pickled import read_pickle

__all__ = ["load_npz", "read_pickle", "save_npz"]
