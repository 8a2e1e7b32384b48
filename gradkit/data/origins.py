"""Columns as differences from an origin, so that float32 holds what tells their rows apart.

Milliseconds since 1970 within one minute are one and the same number in float32. What is learned from is how a column
varies: so a number of the middle of each column is subtracted in float64 before anything is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradkit.data.files import HostArray

__all__ = ["blocks", "difference", "origin_of"]

ROWS = 65_536


def blocks(values: HostArray) -> Iterator[HostArray]:
    """Yield views of some rows after the other: what is computed of them takes little memory."""
    for start in range(0, len(values), ROWS):
        yield values[start : start + ROWS]


def origin_of(rows: HostArray) -> HostArray:
    """Return the middle value of each column of some rows, in float64.

    A median and not a mean: a row that is far off, such as a time that is 0 because nobody knew it, does not move it.

    Parameters
    ----------
    rows : numpy.ndarray, shape (n, columns)
        At least one row. Those after the first 65,536 are not looked at.

    Examples
    --------
    >>> import numpy as np
    >>> origin_of(np.asarray([[1.7e12 + 1, 5.0], [0.0, 5.0], [1.7e12 + 2, 5.0]])) - [1.7e12, 0]
    array([1., 5.])
    """
    some = rows[:ROWS]
    middle = len(some) // 2
    columns = [np.partition(some[:, i], middle)[middle] for i in range(some.shape[1])]
    return np.asarray(columns, np.float64)


def difference(values: HostArray, origin: HostArray | float) -> HostArray:
    """Return ``values - origin``, computed in float64 and rounded to float32.

    Parameters
    ----------
    values : numpy.ndarray, shape (n, columns)
        Of any real dtype.
    origin : numpy.ndarray of float64, shape (columns,), or float
        What is subtracted.

    Returns
    -------
    numpy.ndarray of float32, shape (n, columns)
        Infinite where float32 cannot hold the difference.

    Examples
    --------
    >>> import numpy as np
    >>> difference(np.asarray([[1.7e12], [1.7e12 + 250]]), 1.7e12).tolist()
    [[0.0], [250.0]]
    """
    result = np.empty(values.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        start = 0
        for block in blocks(values):
            result[start : start + len(block)] = np.subtract(block, origin, dtype=np.float64)
            start += len(block)
    return result
