"""What every image data set here is: images with labels, in three parts."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exprc.errors import report


class Images(NamedTuple):
    """Images and what they show.

    Attributes
    ----------
    images : uint8 array, (n, height, width): 0 is paper, 255 is ink.
    labels : uint8 array, (n,): the class of each.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class DataSet(NamedTuple):
    """The three parts of a data set, each of them `Images`.

    Attributes
    ----------
    train : what the weights are fitted to.
    validation : what chooses between networks and epochs.
    test : what is touched once, at the end.
    """

    train: Images
    validation: Images
    test: Images


def split(data: Images, train: int, validation: int, test: int) -> DataSet:
    """Cut images into three consecutive parts of the given counts.

    Raises
    ------
    ValueError
        There are fewer images than the counts ask for, or a count is negative.

    Examples
    --------
    >>> from exprc.datasets import digits
    >>> [len(part.labels) for part in split(digits(50), 30, 10, 10)]
    [30, 10, 10]
    """
    counts = (train, validation, test)
    if min(counts) < 0 or sum(counts) > len(data.labels):
        asked = " + ".join(map(str, counts))
        fix = "ask for fewer, or draw more with digits(n)"
        raise ValueError(report(f"split: {asked} images asked for, there are {len(data.labels)}", fix=fix))
    borders = list(accumulate(counts, initial=0))
    return DataSet(*(Images(data.images[a:b], data.labels[a:b]) for a, b in pairwise(borders)))


def as_floats(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give images the shape and range that a convolutional network takes.

    Parameters
    ----------
    images : uint8 array, (n, height, width).

    Returns
    -------
    float32 array, (n, 1, height, width)
        The same images divided by 255: 0 is paper, 1 is ink.

    Raises
    ------
    ValueError
        The array is not uint8 with three axes.

    Examples
    --------
    >>> as_floats(np.array([[[0, 255]]], np.uint8))
    array([[[[0., 1.]]]], dtype=float32)
    """
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(
            report(
                f"as_floats: takes uint8 (n, height, width), got {images.dtype} {images.shape}",
                fix="images read by exprc.datasets have that form",
            )
        )
    return np.multiply(images[:, None], np.float32(1 / 255), dtype=np.float32)
