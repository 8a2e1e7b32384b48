"""Arrays as compiled programs take them and give them back: what both printers' programs do in Python."""

from __future__ import annotations

import sys
import weakref
from collections import deque
from typing import Any

import numpy as np

__all__ = ["KEPT", "KEPT_CALLS", "Recycled", "fitting", "is_free", "new_array"]

KEPT = 256 << 20
"""Bytes of the results of one call from which on they are not kept."""
KEPT_CALLS = 2
"""How many calls' results are kept: while a loop assigns what one call gave, it holds what the call before gave."""

Raw = np.ndarray[Any, Any]


def fitting(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], is_written: bool) -> Raw:
    """Return an argument's array row by row, in memory that may be read, or written."""
    array = np.asarray(np.require(value, dtype, ("C", "A", "W") if is_written else ("C", "A")))
    if array.shape != shape:
        raise ValueError(f"a compiled program takes an array of shape {shape} here, got {array.shape}")
    # A dtype may be another object than NumPy's own, with a note of somebody's.
    return array if array.dtype is dtype else array.view(dtype)


def new_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Raw:
    """Return an array for a result, whose elements may be anything."""
    return np.empty(shape, dtype)


class Recycled:
    """Arrays of one shape and dtype for results, which are given again when nobody holds them any longer.

    New memory costs more than what is written into it: the system clears it, page by page.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._form = shape, dtype
        self._old: deque[Raw] = deque(maxlen=KEPT_CALLS)

    def __call__(self) -> Raw:
        """Return one whose elements may be anything."""
        old = self._old
        array = old.popleft() if old and is_free(old, 0) and self._is_as_it_was(old[0]) else new_array(*self._form)
        old.append(array)
        return array

    def _is_as_it_was(self, array: Raw) -> bool:
        """Return whether nobody has changed more than an array's elements."""
        return (array.shape, array.dtype) == self._form and array.flags.owndata and array.flags.carray


def is_free(listed: Any, i: int) -> bool:
    """Return whether a list alone holds its array at `i`."""
    return _references(listed[i]) == _OF_ONE and not weakref.getweakrefcount(listed[i])


_references = getattr(sys, "getrefcount", lambda _: 0)
_alone = [np.empty(0)]
_tells = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
_OF_ONE = _references(_alone[0]) if _tells else -1
