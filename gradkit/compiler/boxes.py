"""What native code has to know of `Array`, to take the arrays inside without Python."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

from gradkit.backend.printers import Box
from gradkit.core.array import Array, raw, wrap

__all__ = ["box_of_arrays"]


ATTRIBUTES = "_value", "_node"


@cache
def box_of_arrays() -> Box:
    """Return where an Array has its slots, if this interpreter keeps them as it is expected to."""
    array = wrap(value := object())
    array._node = node = object()  # type: ignore[assignment]
    if sys.implementation.name != "cpython":
        return Box(Array, raw, wrap, ATTRIBUTES, None, None)
    word = ctypes.sizeof(ctypes.c_void_p)
    words = {ctypes.c_size_t.from_address(id(array) + i).value: i for i in range(2 * word, Array.__basicsize__, word)}
    return Box(Array, raw, wrap, ATTRIBUTES, words.get(id(value)), words.get(id(node)))
