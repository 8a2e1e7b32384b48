"""Slices whose place is computed: `lax.dynamic_slice`, `lax.dynamic_update_slice` and their forms for one axis.

Sizes are static and places are values, so these work where an index would have to be known: under `vmap` and in graphs.
A slice that would reach over an end is moved inwards.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array, General, bind
from gradkit.core.batching import at_front, composed
from gradkit.core.calls import as_array, cast, dtype_name
from gradkit.errors import ShapeError
from gradkit.primitives import elementwise as e
from gradkit.primitives.indexing import getitem, integer_scalar, listed, set_index, take_flat
from gradkit.primitives.manipulation import concat, reshape, squeeze, stack
from gradkit.primitives.positions import counted, require_integers
from gradkit.primitives.reductions import normalize_axes

__all__ = [
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
]

Starts = Sequence[Any] | Array


# On raw arrays: rows by position along one axis after another, which needs no values on the host


def _slice(xp: Any, x: Any, starts: Any, *, slice_sizes: tuple[int, ...]) -> Any:
    for axis, size in enumerate(slice_sizes):
        room = x.shape[axis] - size
        if room:
            places = xp.arange(size, dtype=starts.dtype, device=starts.device)
            x = xp.take(x, xp.clip(starts[axis : axis + 1], 0, room) + places, axis=axis)
    return x


def _update(xp: Any, x: Any, update: Any, starts: Any) -> Any:
    if not update.shape or 0 in update.shape:
        return x if update.shape else update
    inside = None
    for axis, size in enumerate(update.shape):
        room = x.shape[axis] - size
        if room:
            places = xp.arange(x.shape[axis], dtype=starts.dtype, device=starts.device)
            places = places - xp.clip(starts[axis : axis + 1], 0, room)
            here = xp.reshape((places >= 0) & (places < size), (-1,) + (1,) * (x.ndim - axis - 1))
            inside = here if inside is None else inside & here
            update = xp.take(update, xp.clip(places, 0, size - 1), axis=axis)
    return update if inside is None else xp.where(inside, update, x)


# On batches: each start of its own makes it a matter of positions


def _slice_each(x: Array, starts: Array, *, slice_sizes: tuple[int, ...]) -> Array:
    for axis, size in enumerate(slice_sizes):
        room = x.shape[axis] - size
        if room:
            places = e.clip(starts[axis : axis + 1], 0, room) + counted(size, starts)
            x = take_flat(x, places, axis)
    return x


def _update_each(x: Array, update: Array, starts: Array) -> Array:
    if not update.shape or 0 in update.shape:
        return x if update.shape else update
    inside: Array | None = None
    for axis, size in enumerate(update.shape):
        room = x.shape[axis] - size
        if room:
            places = counted(x.shape[axis], starts) - e.clip(starts[axis : axis + 1], 0, room)
            here = reshape(e.logical_and(places >= 0, places < size), (-1,) + (1,) * (x.ndim - axis - 1))
            inside = here if inside is None else e.logical_and(inside, here)
            update = take_flat(update, e.clip(places, 0, size - 1), axis)
    return update if inside is None else e.where(inside, update, x)


_slices_of_batch = composed(_slice_each)
_updates_of_batch = composed(_update_each)


def _batch_slice(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> Any:
    (x, starts), (batch, batch_of_starts) = values, axes
    if batch_of_starts is not None:
        return _slices_of_batch(primitive, values, axes, size, params)
    sizes = (size, *params["slice_sizes"])
    return bind(primitive, (at_front(x, batch, size), _with_zero(starts)), {"slice_sizes": sizes}), 0


def _batch_update(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> Any:
    if axes[2] is not None:
        return _updates_of_batch(primitive, values, axes, size, params)
    x, update = (at_front(value, axis, size) for value, axis in zip(values[:2], axes[:2], strict=True))
    return bind(primitive, (x, update, _with_zero(values[2])), params), 0


def _with_zero(starts: Any) -> Array:
    starts = as_array(starts, "dynamic_slice")
    return concat([counted(1, starts), starts])


def _zeros(xp: Any, g: Any, shape: tuple[int, ...]) -> Any:
    return xp.zeros_like(xp.pad_index(g, index=tuple(slice(0, size) for size in g.shape), shape=shape))


_dynamic_slice = General(
    "dynamic_slice",
    _slice,
    (
        lambda xp, g, _y, _x, starts, *, slice_sizes: xp.dynamic_update_slice(_zeros(xp, g, _x.shape), g, starts),
        None,
    ),
    lambda xp, tangents, _y, _x, starts, *, slice_sizes: xp.dynamic_slice(tangents[0], starts, slice_sizes=slice_sizes),
    batch=_batch_slice,
    shape=lambda x, starts, *, slice_sizes: slice_sizes,
)
_dynamic_update_slice = General(
    "dynamic_update_slice",
    _update,
    (
        lambda xp, g, _y, _x, update, starts: xp.dynamic_update_slice(g, xp.zeros_like(update), starts),
        lambda xp, g, _y, _x, _update, starts: xp.dynamic_slice(g, starts, slice_sizes=_update.shape),
        None,
    ),
    lambda xp, tangents, _y, x, update, starts: xp.dynamic_update_slice(
        xp.zeros_like(x) if tangents[0] is None else tangents[0],
        xp.zeros_like(update) if tangents[1] is None else tangents[1],
        starts,
    ),
    batch=_batch_update,
    shape=lambda x, update, starts: tuple(x.shape),
)


def _places(x: Array, starts: Starts, caller: str) -> Array | tuple[int, ...]:
    """Return where a slice begins: ints where all of them are, else one vector of integers."""
    if type(starts) is not Array and isinstance(starts, Sequence):
        if len(starts) != x.ndim:
            raise TypeError(
                f"{caller} start_indices must have one entry for each of the {x.ndim} axes of the operand, got "
                f"{len(starts)}"
            )
        if all(type(start) is int for start in starts):
            return tuple(starts)
        scalars = [_beside(start, x, caller) for start in starts]
        if any(scalar.shape for scalar in scalars):
            shapes = [scalar.shape for scalar in scalars]
            raise TypeError(f"index arguments to {caller} must be scalars, got shapes {shapes}")
        vector = stack(scalars)
    else:
        vector = require_integers(as_array(starts, caller), caller, "start_indices")
        if vector.shape != (x.ndim,):
            raise TypeError(f"{caller} start_indices must have shape ({x.ndim},), got {vector.shape}")
    if dtype_name(vector) not in ("int32", "int64"):
        vector = cast(vector, "int64" if dtype_name(vector) in ("uint32", "uint64") else "int32")
    # Negative ones count from the end.
    return e.where(vector < 0, vector + listed(list(x.shape), x, dtype_name(vector)), vector) if x.ndim else vector


def _beside(start: Any, x: Array, caller: str) -> Array:
    if type(start) is Array:
        return require_integers(start, caller, "start_indices")
    return integer_scalar(operator.index(start), x)


def _known(start: int, size: int, room: int) -> int:
    return min(max(start + size if start < 0 else start, 0), room)


def dynamic_slice(operand: Any, start_indices: Starts, slice_sizes: Sequence[int]) -> Array:
    """Return a slice of given sizes from a place that is computed.

    Parameters
    ----------
    operand : array
        What to slice.
    start_indices : sequence of int or of Arrays without axes, or an Array of shape (operand.ndim,)
        Where the slice begins along each axis. Negative ones count from the end, and one from where the slice would
        reach over the end is moved inwards.
    slice_sizes : sequence of int
        The result's shape.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> dynamic_slice(jnp.arange(5), (jnp.asarray(3),), (3,))
    Array([2, 3, 4], dtype=int32)
    """
    x = as_array(operand, "dynamic_slice")
    sizes = tuple(map(operator.index, slice_sizes))
    if len(sizes) != x.ndim or any(not 0 <= n <= size for n, size in zip(sizes, x.shape, strict=True)):
        raise TypeError(
            f"slice slice_sizes must be less than or equal to operand shape, got slice_sizes {sizes} for operand shape "
            f"{x.shape}."
        )
    starts = _places(x, start_indices, "dynamic_slice")
    if isinstance(starts, tuple):
        rooms = (size - n for size, n in zip(x.shape, sizes, strict=True))
        begins = [_known(start, size, room) for start, size, room in zip(starts, x.shape, rooms, strict=True)]
        return getitem(x, tuple(slice(begin, begin + n) for begin, n in zip(begins, sizes, strict=True)))
    return bind(_dynamic_slice, (x, starts), {"slice_sizes": sizes})


def dynamic_update_slice(operand: Any, update: Any, start_indices: Starts) -> Array:
    """Return an array with a slice replaced, at a place that is computed.

    Parameters
    ----------
    operand : array
        What to change.
    update : array
        What to put there: of the dtype and number of axes of `operand`, along none larger.
    start_indices : sequence of int or of Arrays without axes, or an Array of shape (operand.ndim,)
        Where the slice begins along each axis, as in `dynamic_slice`.
    """
    x, y = as_array(operand, "dynamic_update_slice"), as_array(update, "dynamic_update_slice")
    if x.ndim != y.ndim or any(n > size for n, size in zip(y.shape, x.shape, strict=True)):
        raise ShapeError(
            f"dynamic_update_slice update shape must be smaller than operand shape, got update shape {y.shape} for "
            f"operand shape {x.shape}."
        )
    if dtype_name(x) != dtype_name(y):
        raise TypeError(
            f"lax.dynamic_update_slice requires arguments to have the same dtypes, got {dtype_name(x)}, "
            f"{dtype_name(y)}."
        )
    starts = _places(x, start_indices, "dynamic_update_slice")
    if isinstance(starts, tuple):
        begins = [_known(start, size, size - n) for start, size, n in zip(starts, x.shape, y.shape, strict=True)]
        return set_index(x, y, index=tuple(slice(b, b + n) for b, n in zip(begins, y.shape, strict=True)))
    return bind(_dynamic_update_slice, (x, y, starts), {})


# Along one axis


def _starts(x: Array, index: Any, axis: int) -> list[Any]:
    starts: list[Any] = [0] * x.ndim
    starts[axis] = index if type(index) is Array else operator.index(index)
    return starts


def _axis(x: Array, axis: int, caller: str) -> int:
    (number,) = normalize_axes(operator.index(axis), x.ndim, caller)
    return number


def dynamic_slice_in_dim(operand: Any, start_index: Any, slice_size: int, axis: int = 0) -> Array:
    """Return `slice_size` neighbours along an axis, from a place that is computed. See `dynamic_slice`."""
    x = as_array(operand, "dynamic_slice_in_dim")
    axis = _axis(x, axis, "dynamic_slice_in_dim")
    sizes = list(x.shape)
    sizes[axis] = operator.index(slice_size)
    return dynamic_slice(x, _starts(x, start_index, axis), sizes)


def dynamic_index_in_dim(operand: Any, index: Any, axis: int = 0, keepdims: bool = True) -> Array:
    """Return what is at one position along an axis, with that axis of size 1 or, without `keepdims`, gone."""
    x = as_array(operand, "dynamic_index_in_dim")
    axis = _axis(x, axis, "dynamic_index_in_dim")
    result = dynamic_slice_in_dim(x, index, 1, axis)
    return result if keepdims else squeeze(result, axis=axis)


def dynamic_update_slice_in_dim(operand: Any, update: Any, start_index: Any, axis: int) -> Array:
    """Return an array with neighbours along an axis replaced. See `dynamic_update_slice`."""
    x = as_array(operand, "dynamic_update_slice_in_dim")
    axis = _axis(x, axis, "dynamic_update_slice_in_dim")
    return dynamic_update_slice(x, update, _starts(x, start_index, axis))


def dynamic_update_index_in_dim(operand: Any, update: Any, index: Any, axis: int) -> Array:
    """Return an array with what is at one position along an axis replaced, by `update` with or without that axis."""
    x, y = as_array(operand, "dynamic_update_index_in_dim"), as_array(update, "dynamic_update_index_in_dim")
    axis = _axis(x, axis, "dynamic_update_index_in_dim")
    if y.ndim == x.ndim - 1:
        y = reshape(y, (*y.shape[:axis], 1, *y.shape[axis:]))
    return dynamic_update_slice_in_dim(x, y, index, axis)
