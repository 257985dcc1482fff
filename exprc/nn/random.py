"""The one source of randomness of `exprc.nn`: initial weights and the seeds of dropout masks come from it.

>>> import numpy as np
>>> set_rng(np.random.RandomState(1234))
>>> first = get_rng().randint(1000)
>>> set_rng(np.random.RandomState(1234))
>>> get_rng().randint(1000) == first
True
>>> set_rng(np.random)
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["get_rng", "set_rng"]

_rng: Any = np.random


def get_rng() -> Any:
    """Return the generator in use.

    Returns
    -------
    numpy.random.RandomState, or the module `numpy.random` itself
        The module is the default, so that ``numpy.random.seed(0)`` makes a script repeatable.
    """
    return _rng


def set_rng(new_rng: Any) -> None:
    """Use another generator from now on.

    Parameters
    ----------
    new_rng : numpy.random.RandomState, or the module `numpy.random`
        Anything with the methods `normal`, `uniform` and `randint`.

    Raises
    ------
    TypeError
        If one of these methods is missing.  A `numpy.random.Generator` calls one of them otherwise:
        wrap its bit generator, ``numpy.random.RandomState(generator.bit_generator)``.
    """
    global _rng
    missing = [name for name in ("normal", "uniform", "randint") if not hasattr(new_rng, name)]
    if missing:
        raise TypeError(
            f"set_rng: {type(new_rng).__name__} has no method {missing[0]}\n"
            "  give a numpy.random.RandomState; for a Generator g, numpy.random.RandomState(g.bit_generator)"
        )
    _rng = new_rng
