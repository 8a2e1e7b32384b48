"""Rows of an array on the disk that are read when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ChosenRows"]


class ChosenRows:
    """Some rows of a `numpy.memmap`, in an order of their own; what takes memmaps takes them in its place.

    Parameters
    ----------
    array : numpy.memmap
        What has the rows.
    numbers : numpy array of integers
        Which rows, in their order.

    Examples
    --------
    >>> chosen = ChosenRows(np.asarray([[1, 2], [3, 4], [5, 6]]), np.asarray([2, 0]))
    >>> chosen.shape, np.asarray(chosen[1:]).tolist(), chosen.take([0], axis=0).tolist()
    ((2, 2), [[1, 2]], [[5, 6]])
    """

    def __init__(self, array: np.ndarray[Any, Any], numbers: np.ndarray[Any, Any]) -> None:
        self._array = np.asarray(array)  # whose rows are plain arrays, and still read from the file when taken
        self._numbers = numbers

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the chosen rows."""
        return (len(self._numbers), *self._array.shape[1:])

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, rows: slice) -> ChosenRows:
        """Return some of them, with nothing read."""
        return ChosenRows(self._array, self._numbers[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Read them all."""
        rows: np.ndarray[Any, Any] = self._array[self._numbers]
        return rows.astype(dtype or self.dtype, copy=False)

    def take(self, indices: Any, axis: int) -> np.ndarray[Any, Any]:
        """Read those at some of their positions; `axis` is 0."""
        rows: np.ndarray[Any, Any] = self._array.take(self._numbers[indices], axis=axis)
        return rows
