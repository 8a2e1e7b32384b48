"""Columns as differences from an origin, so that float32 holds what tells their rows apart.

Milliseconds since 1970 within one minute are one and the same number in float32. What is learned from is how a column
varies: so a number of the middle of each column is subtracted in float64 before anything is rounded. Whole numbers from
2**53 on (nanoseconds since 1970), which float64 would round, are subtracted exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Context, Decimal, localcontext

import numpy as np

from gradkit.data.files import HostArray

__all__ = ["FAINT", "ROUNDED", "Faintness", "Rounding", "blocks", "difference", "difference_of_texts", "origin_of"]

ROUNDED = 2**53
"""From here on a whole number in float64 may be another one that was rounded."""
EXACT = Context(prec=60)
"""For decimal numbers: enough that what is left of two equal ones after cancelling has all digits of float64."""
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
    """Return ``values - origin``, computed in float64, of integers exactly, and rounded to float32.

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
            exact = block.dtype.kind in "iu" and block.dtype.itemsize == 8
            result[start : start + len(block)] = (
                _integer_difference(block, origin) if exact else np.subtract(block, origin, dtype=np.float64)
            )
            start += len(block)
    return result


HALF = 2**32


def _integer_difference(values: HostArray, origin: HostArray | float) -> HostArray:
    """Subtract upper and lower halves: each difference is exact in float64, and their sum is rounded once."""
    upper, lower = np.divmod(values, values.dtype.type(HALF))
    of_origin = np.floor(np.divide(origin, HALF))
    return np.asarray((upper - of_origin) * HALF + (lower - (origin - of_origin * HALF)), np.float64)


def difference_of_texts(texts: Sequence[str], origin: float) -> HostArray:
    """Return numbers in decimal less `origin`, exact before they are rounded to float64.

    Examples
    --------
    >>> difference_of_texts(["1700000000000000001", "1.7e18"], 1.7e18).tolist()
    [1.0, 0.0]
    """
    with localcontext(EXACT):
        subtracted = Decimal(origin)
        return np.asarray([float(Decimal(text) - subtracted) for text in texts], np.float64)


LEAST = float(np.finfo(np.float32).tiny)
"""Below this float32 has few digits, and then none."""
FAINT = (
    f"differ by less than float32 holds, in which they are learned from ({LEAST:.2g}). Multiply the column by a power "
    f"of ten."
)


class Faintness:
    """Which columns differ between rows, but by so little that float32 holds nothing of it.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.asarray([[1.0, 1e-310], [2.0, 3e-310], [3.0, 1e-310]])
    >>> faintness = Faintness()
    >>> faintness.note(rows, 0.0, difference(rows, 0.0))
    >>> faintness.columns
    [1]
    """

    def __init__(self) -> None:
        self._held: HostArray | None = None
        self._differ: HostArray | None = None

    def note(self, values: HostArray, origin: HostArray | float, found: HostArray) -> None:
        """Look at some rows, and at what is left of them when the origin is subtracted."""
        if self._held is None or self._differ is None:
            self._held, self._differ = np.zeros((2, found.shape[1]), np.bool_)
        self._held = self._held | (np.abs(found) >= LEAST).any(axis=0)
        faint = np.flatnonzero(~self._held)
        self._differ[faint] |= (values[:, faint] != np.broadcast_to(origin, self._held.shape)[faint]).any(axis=0)

    @property
    def columns(self) -> list[int]:
        """Their positions."""
        if self._held is None or self._differ is None:
            return []
        return [int(i) for i in np.flatnonzero(self._differ & ~self._held)]


class Rounding:
    """How much of the differences between a target's numbers is lost where they become float64.

    Examples
    --------
    >>> rounding = Rounding()
    >>> rounding.note([1700000000000000001, 1700000000000000099])
    >>> rounding.shows
    True
    >>> rounding.note([1600000000000000000])
    >>> rounding.shows
    False
    """

    def __init__(self) -> None:
        self._largest = self._least = self._most = Decimal(0)
        self._noted = False

    def note(self, numbers: Sequence[str | int | float]) -> None:
        """Look at some numbers, or the texts that state them."""
        with localcontext(EXACT):
            exact = [Decimal(number) for number in numbers]
            if not exact or not all(number.is_finite() for number in exact):  # which is refused elsewhere
                return
            self._largest = max(self._largest, *(abs(number - Decimal(float(number))) for number in exact))
            ends = [*exact, self._least, self._most] if self._noted else exact
            self._least, self._most, self._noted = min(ends), max(ends), True

    @property
    def shows(self) -> bool:
        """Whether it is more than float32, in which a network computes, loses of the differences."""
        with localcontext(EXACT):
            return self._largest * 2**20 > self._most - self._least > 0

    def refusal(self, target: str) -> str:
        """Return what to say of a target whose differences are lost."""
        return (
            f"the target {target!r} goes from {self._least} to {self._most}, and float64, in which it is learned, does "
            f"not hold how these numbers differ. Subtract one of them from the column, and add it to what is predicted."
        )
