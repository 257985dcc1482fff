"""Files of weights: named arrays, written whole or not at all, read within bounds."""

from __future__ import annotations

from exprc.io.npz import load_npz, save_npz

__all__ = ["load_npz", "save_npz"]
