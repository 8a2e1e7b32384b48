"""Whose memory an Array's value has: its own, or that of something which may change it later, or read it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Hashable
from typing import Any

from gradkit.core.array import Array, owner_of, wrap
from gradkit.core.stand_in import STAND_INS, Deleted

__all__ = ["axes_in_memory", "copied", "is_lent", "place", "place_in_memory", "snapshot"]


def _holders(array: Array) -> int:
    return sys.getrefcount(array._value)


_ALONE = _holders(wrap(object()))
"""What Python counts where an Array alone holds its value."""


def is_lent(array: Array) -> bool:
    """Return whether anything but this Array holds its value, or others have the value's memory too."""
    return _holders(array) > _ALONE or owner_of(array._value).is_shared(array._value)


def copied(array: Array) -> Array:
    """Return an Array of the same value in memory of its own; one without memory as it is, as another object."""
    value = array._value
    if array._node is not None or _has_no_memory(value):
        return wrap(value, array._node)
    return wrap(owner_of(value).xp.asarray(value, copy=True))


def snapshot(array: Array) -> Array:
    """Return an Array that keeps its value whatever is assigned to `array`, or to the NumPy array that it is of.

    What a transform or the tape follows stays the object that it is.
    """
    if array._node is not None or _has_no_memory(array._value):
        return array
    if id(array._value) in _places or not (is_lent(array) and _may_change(array._value)):
        return wrap(array._value)
    return copied(array)


def place(value: Any) -> Array:
    """Return an Array of memory that is meant itself, whoever writes there: no program may have a copy in its stead."""
    _places[id(value)] = value
    return wrap(value)


_places: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def _has_no_memory(value: Any) -> bool:
    return type(value) is Array or type(value) in STAND_INS or type(value) is Deleted


def _may_change(value: Any) -> bool:
    """Return whether the memory of a raw array can be written by whoever holds it: a file's that is read cannot."""
    if owner_of(value).is_immutable:
        return False
    while type(base := getattr(value, "base", None)) is type(value):
        value = base
    return bool(getattr(getattr(value, "flags", None), "writeable", True))


def axes_in_memory(value: Any) -> tuple[int, ...] | None:
    """Return the order of axes in which a transposed array lies row by row in memory; None for any other."""
    flags, strides = getattr(value, "flags", None), getattr(value, "strides", ())
    if len(strides) < 2 or flags is None or flags.c_contiguous or 0 in value.shape:
        return None
    axes = tuple(sorted(range(len(strides)), key=lambda axis: -strides[axis]))
    following = value.dtype.itemsize
    for axis in reversed(axes):
        if strides[axis] != following:
            return None
        following *= value.shape[axis]
    return axes


def place_in_memory(value: Any) -> Hashable:
    """Return what two arrays have in common that are the same memory, as long as both are there; None if unknown."""
    facts = getattr(value, "__array_interface__", None)
    if facts is None or not value.size:
        return None
    return facts["data"], value.shape, value.strides, value.dtype
