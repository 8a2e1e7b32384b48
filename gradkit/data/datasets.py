"""Data sets that need no download: scikit-learn's handwritten digits, and two moons."""

from __future__ import annotations

import importlib
import math
import operator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gradkit import random
from gradkit.core.array import Array
from gradkit.errors import MissingDependencyError
from gradkit.numpy import asarray

__all__ = ["load_digits", "moons"]


def load_digits() -> tuple[Array, Array]:
    """Load the 1,797 handwritten digits that come with scikit-learn.

    They are the test part of the Optical Recognition of Handwritten Digits data set (Alpaydin and Kaynak, 1998, UCI
    Machine Learning Repository): images of 8 x 8 pixels.

    Returns
    -------
    x : Array of float32, shape (1797, 64)
        The pixels, from 0 to 1, row by row.
    y : Array of int32, shape (1797,)
        The digits, from 0 to 9.

    Raises
    ------
    MissingDependencyError
        If scikit-learn is not installed.

    Examples
    --------
    >>> x, y = load_digits()
    >>> x.shape, y[:5]
    ((1797, 64), Array([0, 1, 2, 3, 4], dtype=int32))
    """
    rows = _rows_of_digits()
    return asarray((rows[:, :-1] / 16).astype(np.float32)), asarray(rows[:, -1].astype(np.int32))


def _rows_of_digits() -> np.ndarray[Any, Any]:
    """Return the 64 pixels and the digit of each image: scikit-learn's file, since its import takes a second or two."""
    found = find_spec("sklearn")
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.exists():
            return np.loadtxt(path, delimiter=",")
    try:
        datasets: Any = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise MissingDependencyError(
            f"load_digits needs scikit-learn, which has the data ({error}). Install it with: "
            f"pip install 'gradkit[sklearn]'"
        ) from error
    digits = datasets.load_digits()
    return np.column_stack([digits.data, digits.target])


def moons(n: int, noise: float = 0.1, key: Array | None = None) -> tuple[Array, Array]:
    """Make two interleaving half circles of points, which no line separates.

    Parameters
    ----------
    n : int
        The number of points.
    noise : float
        The standard deviation of the normal noise that is added to each coordinate.
    key : Array, optional
        The random key; the same key gives the same points on every backend. Without it, the next one of the sequence
        of `gradkit.random.seed`.

    Returns
    -------
    x : Array of float32, shape (n, 2)
        The points, in random order.
    y : Array of int32, shape (n,)
        0 for the outer moon (the upper half of the unit circle), which has n // 2 points, and 1 for the inner one.

    Raises
    ------
    ValueError
        If `n` is less than 2, or `noise` negative.

    Examples
    --------
    >>> import gradkit
    >>> x, y = moons(100, key=gradkit.random.key(0))
    >>> x.shape, int(y.sum())
    ((100, 2), 50)
    """
    count = operator.index(n)
    if count < 2:
        raise ValueError(f"moons: n must be at least 2, one point for each moon, got {n}")
    if not 0 <= noise < math.inf:
        raise ValueError(f"moons: noise must be at least 0 and finite, got {noise}")
    order_key, noise_key = random.split(random.next_key() if key is None else key)
    outer = np.linspace(0, math.pi, count // 2)
    inner = np.linspace(0, math.pi, count - count // 2)
    points = np.concatenate(
        [
            np.stack([np.cos(outer), np.sin(outer)], axis=1),
            np.stack([1 - np.cos(inner), 0.5 - np.sin(inner)], axis=1),
        ]
    )
    labels = np.repeat(np.asarray([0, 1], np.int32), [len(outer), len(inner)])
    order = random.permutation(order_key, count)
    x = asarray(points.astype(np.float32))[order] + noise * random.normal(noise_key, (count, 2), "float32")
    return x, asarray(labels)[order]
