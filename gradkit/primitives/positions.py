"""Positions along an axis: counted from the front, and what happens to those that are out of range."""

from __future__ import annotations

from typing import Any

from gradkit.backend import TRACED, Backend, backend_of
from gradkit.core import Array
from gradkit.core.array import is_unseen, place_of_array, raw, wrap
from gradkit.core.operands import cast, dtype_name, wide_integers
from gradkit.core.stand_in import STAND_INS
from gradkit.primitives.elementwise import clip, logical_and, where

__all__ = ["bounded", "counted", "from_the_front", "gather_mode", "is_visible", "require_integers"]

MODES = ("clip", "drop", "fill", "promise_in_bounds")


def counted(size: int, like: Array, dtype: str | None = None) -> Array:
    """Return 0, 1, ..., size - 1 where `like` is, in its dtype unless another is given."""
    backend, device = place_of_array(like)
    if (name := dtype or dtype_name(like)) in backend.computes_in_float32:
        return cast(counted(size, like, "float32"), name)
    return wrap(backend.xp.arange(size, dtype=backend.raw_dtype_named(dtype or dtype_name(like)), device=device))


def require_integers(array: Array, caller: str, name: str = "indices") -> Array:
    """Return an array of positions, which must be integers."""
    if not dtype_name(array).startswith(("int", "uint")):
        raise TypeError(f"{caller}: {name} must be integers, got dtype {array.dtype}")
    return array


def from_the_front(positions: Array, size: int) -> Array:
    """Return positions that count from the front: negative ones count from the end."""
    if dtype_name(positions).startswith("uint"):
        return positions
    return where(positions < 0, positions + size, positions)


def is_visible(array: Array) -> bool:
    """Return whether an array's values can be looked at: there are some, and no device has to be waited for."""
    return on_host(raw(array)) is not None


def on_host(value: Any) -> Backend | None:
    """Return the backend of a raw array whose elements can be seen, if no device has to be waited for."""
    backend = None if type(value) in STAND_INS else backend_of(value)
    if backend is None or TRACED[type(value)]:
        return None
    devices = backend.devices
    device = devices[0] if len(devices) == 1 else backend.device(value)
    return backend if device.platform == "cpu" else None


def gather_mode(mode: Any) -> str | None:
    """Return the name of a mode for positions out of range: one of JAX's words, its enumeration's members, or None."""
    if mode is None:
        return None
    word = str(getattr(mode, "name", mode)).lower()
    word = "fill" if word in ("fill_or_drop", "drop") else word
    if word not in MODES:
        raise ValueError(f'Unknown gather mode "{mode}". Expected one of {", ".join(MODES)}.')
    return word


def bounded(positions: Array, size: int, mode: str, room: int = 0) -> tuple[Array, Array | None]:
    """Return positions that are all in range.

    Parameters
    ----------
    positions : Array of int
        Negative ones count from the end.
    size : int
        The size of the axis.
    mode : {"clip", "fill", "promise_in_bounds", "raise"}
        What is done with those out of range: the nearest one is taken; they are marked; nothing; or, where they can be
        seen, IndexError (else the nearest one is taken under a transform, and on a GPU nothing is done).

    room : int
        The largest number that is computed of them, as a position on several axes that are joined to one.

    Returns
    -------
    Array, Array or None
        The positions, and which of them were in range: None for all.
    """
    positions = wide_integers(positions, max(size, room))
    value = positions._value
    while type(value) is Array:
        value = value._value
    if mode != "promise_in_bounds" and 0 not in value.shape and (backend := on_host(value)) is not None:
        values = backend.to_host(value)
        lowest, highest = int(values.min()), int(values.max())
        if lowest >= 0 and highest < size:
            return positions, None
        if lowest >= -size and highest < size:
            return from_the_front(positions, size), None
        if mode == "raise":
            worst = highest if highest >= size else lowest
            raise IndexError(f"index {worst} is out of bounds for an axis of size {size}")
    positions = from_the_front(positions, size)
    unseen = mode == "raise" and not is_unseen(positions)
    if mode == "promise_in_bounds" or unseen or not positions.size:
        return positions, None
    if mode == "fill":
        valid = logical_and(positions >= 0, positions < size)
        return where(valid, positions, 0), valid
    if size == 0:
        raise IndexError("an element cannot be taken from an axis of size 0")
    return clip(positions, 0, size - 1), None
