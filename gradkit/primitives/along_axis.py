"""Elements chosen for each row on its own: `take_along_axis` and its transpose."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array, Linear, bind
from gradkit.core.batching import along_axes
from gradkit.core.namespace import publish
from gradkit.core.operands import as_array, wide_integers

__all__ = ["add_along_axis", "take_along_axis"]


def _rows(xp: Any, x: Any, axis: int) -> tuple[Any, Any]:
    moved = xp.moveaxis(x, axis, -1)
    return xp.reshape(moved, (math.prod(moved.shape[:-1]), moved.shape[-1])), moved.shape


def _add_along_axis(xp: Any, updates: Any, indices: Any, *, axis: int, size: int) -> Any:
    rows, shape = _rows(xp, updates, axis)
    positions, _ = _rows(xp, indices, axis)
    positions = xp.astype(positions, xp.int64)
    starts = xp.arange(rows.shape[0], dtype=positions.dtype, device=xp.device_of(positions)) * size
    flat = xp.scatter_add(
        xp.reshape(rows, (-1,)), xp.reshape(positions + starts[:, None], (-1,)), axis=0, size=rows.shape[0] * size
    )
    return xp.moveaxis(xp.reshape(flat, (*shape[:-1], size)), -1, axis)


take_along_axis = Linear(
    "take_along_axis",
    lambda xp, x, indices, *, axis: xp.library.take_along_axis(x, indices, axis=axis),
    (lambda xp, g, x, indices, *, axis: xp.add_along_axis(g, indices, axis=axis, size=x.shape[axis]), None),
    hands_on=False,
    batch=along_axes,
    shape=lambda x, indices, *, axis: tuple(indices.shape),
    leaf=True,
)
"""Take one element for each index, in the index's own row along an axis.

Parameters
----------
x : array
    What to take from.
indices : array of int
    Of the shape of `x` but for `axis`, none negative and all in range.
axis : int
    The axis, not negative.
"""
_add_along_axis_primitive = Linear(
    "add_along_axis",
    _add_along_axis,
    (lambda xp, g, _updates, indices, *, axis, size: xp.take_along_axis(g, indices, axis=axis), None),
    hands_on=False,
    batch=along_axes,
    shape=lambda updates, indices, *, axis, size: (*updates.shape[:axis], size, *updates.shape[axis + 1 :]),
)


def add_along_axis(updates: Any, indices: Any, /, *, axis: int, size: int) -> Array:
    """Sum elements by index in each row along an axis, which has `size` in the result: `take_along_axis` transposed."""
    updates = as_array(updates, "add_along_axis")
    positions = wide_integers(as_array(indices, "add_along_axis"))
    return bind(_add_along_axis_primitive, (updates, positions), {"axis": axis, "size": size})


publish(globals(), __all__)
