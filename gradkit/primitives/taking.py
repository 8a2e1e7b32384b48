"""Taking slices along an axis by integer arrays: one primitive, and what an index out of range gives."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array, Linear, bind
from gradkit.core.array import is_unseen, place_of_array, wrap
from gradkit.core.operands import as_array, cast, dtype_name, wide_integers
from gradkit.core.promotion import require_room_for
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.elementwise import clip, where
from gradkit.primitives.manipulation import reshape
from gradkit.primitives.positions import bounded, require_integers
from gradkit.primitives.scattering import batch_by_position
from gradkit.primitives.slicing import GETITEM

__all__ = ["take"]

WHOLE = slice(None)
TAKE_MODES = (None, "fill", "clip", "wrap")

# `take` in a text is this primitive as it stands: a vector of positions, all in range.
_take = Linear(
    "take",
    lambda xp, x, indices, *, axis: xp.library.take(x, indices, axis=axis),
    (lambda xp, g, x, indices, *, axis: xp.scatter_add(g, indices, axis=axis, size=x.shape[axis]), None),
    hands_on=False,
    batch=batch_by_position,
    shape=lambda x, indices, *, axis: (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]),
    leaf=True,
)


def take(
    a: Any,
    indices: Any,
    axis: int | None = None,
    out: None = None,
    mode: str | None = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: Any = None,
) -> Array:
    """Take slices along an axis by integer index.

    Parameters
    ----------
    a : array
        What to take from.
    indices : array of int
        Of any shape; it replaces the axis. Negative ones count from the end, but with ``mode="clip"``.
    axis : int, optional
        The axis; None takes from the flattened array.
    out : None
        Not supported: Arrays are immutable.
    mode : {"fill", "clip", "wrap"}, optional
        What an index out of range gives: `fill_value`, the nearest slice, or that at the remainder. By default it is an
        IndexError where the indices can be looked at; under `vmap` and in graphs "fill"; on a GPU it is not looked at.
    unique_indices, indices_are_sorted : bool
        Accepted; they make no difference.
    fill_value : number, optional
        By default NaN, the smallest integer, the largest unsigned integer, or True.
    """
    if out is not None:
        raise NotImplementedError("The 'out' argument to jnp.take is not supported.")
    array = a if type(a) is Array else as_array(a, "take")
    count = len(array._value.shape)
    if axis is None:
        if count != 1:
            array, count = reshape(array, -1), 1
        axis = 0
    if type(axis) is not int or not 0 <= axis < count:
        (axis,) = normalize_axes(axis, count, "take")
    if type(indices) is int and mode == "clip" and indices < 0:
        indices = 0
    if type(indices) is int and mode in TAKE_MODES and -(size := array._value.shape[axis]) <= indices < size:
        entries = [WHOLE] * count
        entries[axis] = indices % size
        return bind(GETITEM, (array,), {"index": tuple(entries)})
    positions = require_integers(indices if type(indices) is Array else as_array(indices, "take"), "take")
    if mode not in TAKE_MODES:
        if mode == "raise":
            raise NotImplementedError("The 'raise' mode to jnp.take is not supported.")
        raise ValueError(f"Invalid mode '{mode}' for np.take")
    if mode == "clip" and not dtype_name(positions).startswith("uint"):
        positions = clip(positions, 0, None)
    if mode is None:
        mode = "fill" if is_unseen(positions) else "raise"
    return replace_by_slices(array, positions, axis, mode, fill_value)


def replace_by_slices(x: Array, positions: Array, axis: int, mode: str, fill_value: Any = None) -> Array:
    """Return `x` with slices at integer positions, of any shape, instead of an axis."""
    shape, taken_at = x._value.shape, positions._value.shape
    size = shape[axis]
    is_vector = len(taken_at) == 1
    valid = None
    flat = positions if is_vector else reshape(positions, -1)
    if mode == "wrap":
        flat = wide_integers(flat, size) % max(size, 1)
    else:
        flat, valid = bounded(flat, size, mode)
    taken = take_flat(x, flat, axis)
    if valid is not None:
        taken = fill(taken, valid, axis, fill_value)
    return taken if is_vector else reshape(taken, (*shape[:axis], *taken_at, *shape[axis + 1 :]))


def take_flat(x: Array, positions: Array, axis: int) -> Array:
    """Return slices along an axis at a vector of positions that are in range."""
    if not x._value.shape[axis] and positions.shape[0]:
        raise IndexError("Cannot do a non-empty jnp.take() from an empty axis.")
    return bind(_take, (x, positions), {"axis": axis})


def fill(taken: Array, valid: Array, axis: int, fill_value: Any) -> Array:
    """Return slices along an axis with those that are not `valid` replaced by `fill_value`."""
    chosen = reshape(valid, (*valid.shape, *(1,) * (taken.ndim - axis - 1)))
    name = dtype_name(taken)
    if fill_value is None:
        fill_value = _missing(name)
    if type(fill_value) in (int, float, complex, bool):
        require_room_for(name, fill_value, "take")
        fill_value = full_scalar(fill_value, taken)
    result = where(chosen, taken, fill_value)
    return result if dtype_name(result) == name else cast(result, name)


def _missing(dtype: str) -> Any:
    """Return what stands for a missing element, as in JAX."""
    if dtype == "bool":
        return True
    if not dtype.startswith(("int", "uint")):
        return math.nan
    bits = int(dtype.lstrip("uint"))
    return 2**bits - 1 if dtype.startswith("uint") else -(2 ** (bits - 1))


def full_scalar(value: Any, like: Array) -> Array:
    """Return a number as an Array of no axes, of the dtype and at the place of `like`."""
    backend, device = place_of_array(like)
    dtype = backend.raw_dtype_named(dtype_name(like))
    return wrap(backend.xp.asarray(value, dtype=dtype, device=device))
