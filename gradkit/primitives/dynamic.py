"""Slices whose position is computed: `lax.dynamic_slice`, `lax.dynamic_update_slice` and their forms for one axis.

Sizes are static, positions are values, so these work where an index would have to be known: under `vmap`, in graphs.
A slice that would reach over an end is moved inwards.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any
from typing import cast as cast_type

from gradkit.core import Array, General, bind
from gradkit.core.batching import at_front, text_on_batches
from gradkit.core.operands import as_array, as_arrays, cast, dtype_name
from gradkit.errors import ShapeError
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.indexing import getitem
from gradkit.primitives.manipulation import reshape, squeeze, stack
from gradkit.primitives.positions import require_integers
from gradkit.primitives.slicing import set_index

__all__ = [
    "dynamic_index_in_dim", "dynamic_slice", "dynamic_slice_in_dim", "dynamic_update_index_in_dim",
    "dynamic_update_slice", "dynamic_update_slice_in_dim",
]  # fmt: skip

Starts = Sequence[Any] | Array


# The arguments `starts` have an element for each axis of the parameter `axes`; along the others slices are whole.
# Rows by position along one axis after another, which needs no values on the host


def _begin(xp: Any, starts: Any, i: int, size: int, room: int) -> Any:
    """Return where a slice begins along the i-th axis, an array of one element: from the front, and inside."""
    start = starts[i : i + 1]
    return xp.minimum(xp.maximum(xp.where(start < 0, start + size, start), 0), room)


def _slice(xp: Any, x: Any, starts: Any, *, slice_sizes: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    for i, axis in enumerate(axes):
        size, room = slice_sizes[axis], x.shape[axis] - slice_sizes[axis]
        if room:
            begin = _begin(xp, starts, i, x.shape[axis], room)
            if size != 1:
                begin = begin + xp.arange(size, dtype=starts.dtype, device=xp.device_of(starts))
            x = xp.take(x, begin, axis=axis)
    return x


def _update(xp: Any, x: Any, update: Any, starts: Any, *, axes: tuple[int, ...]) -> Any:
    if not update.shape or 0 in update.shape:
        return x if update.shape else update
    inside = None
    for i, axis in enumerate(axes):
        size, room = update.shape[axis], x.shape[axis] - update.shape[axis]
        if room:
            positions = xp.arange(x.shape[axis], dtype=starts.dtype, device=xp.device_of(starts))
            positions = positions - _begin(xp, starts, i, x.shape[axis], room)
            here = positions == 0 if size == 1 else (positions >= 0) & (positions < size)
            here = xp.reshape(here, (-1,) + (1,) * (x.ndim - axis - 1))
            inside = here if inside is None else inside & here
            if size != 1:
                update = xp.take(update, xp.minimum(xp.maximum(positions, 0), size - 1), axis=axis)
    return update if inside is None else xp.where(inside, update, x)


def _batch_slice(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> Any:
    (x, starts), (batch, batch_of_starts) = values, axes
    if batch_of_starts is not None:
        return text_on_batches(primitive, values, axes, size, params)
    moved = {"slice_sizes": (size, *params["slice_sizes"]), "axes": _behind(params["axes"])}
    return bind(primitive, (at_front(x, batch, size), starts), moved), 0


def _batch_update(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> Any:
    if axes[2] is not None:
        return text_on_batches(primitive, values, axes, size, params)
    x, update = (at_front(value, axis, size) for value, axis in zip(values[:2], axes[:2], strict=True))
    return bind(primitive, (x, update, values[2]), {"axes": _behind(params["axes"])}), 0


def _behind(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _zeros(xp: Any, g: Any, shape: tuple[int, ...]) -> Any:
    return xp.zeros_like(xp.pad_index(g, index=tuple(slice(0, size) for size in g.shape), shape=shape))


_dynamic_slice = General(
    "dynamic_slice",
    _slice,
    (
        lambda xp, g, _y, _x, starts, *, slice_sizes, axes: xp.dynamic_update_slice(
            _zeros(xp, g, _x.shape), g, starts, axes=axes
        ),
        None,
    ),
    lambda xp, tangents, _y, _x, starts, **params: xp.dynamic_slice(tangents[0], starts, **params),
    batch=_batch_slice,
    shape=lambda x, starts, *, slice_sizes, axes: slice_sizes,
    shares_memory=True,
)
_dynamic_update_slice = General(
    "dynamic_update_slice",
    _update,
    (
        lambda xp, g, _y, _x, update, starts, *, axes: xp.dynamic_update_slice(
            g, xp.zeros_like(update), starts, axes=axes
        ),
        lambda xp, g, _y, _x, _update, starts, *, axes: xp.dynamic_slice(
            g, starts, slice_sizes=_update.shape, axes=axes
        ),
        None,
    ),
    lambda xp, tangents, _y, x, update, starts, *, axes: xp.dynamic_update_slice(
        xp.zeros_like(x) if tangents[0] is None else tangents[0],
        xp.zeros_like(update) if tangents[1] is None else tangents[1],
        starts,
        axes=axes,
    ),
    batch=_batch_update,
    shape=lambda x, update, starts, *, axes: tuple(x.shape),
)


# Where a slice begins


def _starts_of(x: Array, starts: Starts, caller: str) -> list[Any] | Array:
    """Return where a slice begins along each axis: ints and Arrays of no axes, or one vector of integers."""
    if type(starts) is not Array and isinstance(starts, Sequence):
        if len(starts) != x.ndim:
            raise TypeError(
                f"{caller} start_indices must have one entry for each of the {x.ndim} axes of the operand, got "
                f"{len(starts)}"
            )
        found = [_start(start, caller) for start in starts]
        shapes = [start.shape if type(start) is Array else () for start in found]
        if any(shapes):
            raise TypeError(f"index arguments to {caller} must be scalars, got shapes {shapes}")
        return found
    vector = require_integers(as_array(starts, caller), caller, "start_indices")
    if vector.shape != (x.ndim,):
        raise TypeError(f"{caller} start_indices must have shape ({x.ndim},), got {vector.shape}")
    return vector


def _start(start: Any, caller: str) -> Any:
    return require_integers(start, caller, "start_indices") if type(start) is Array else operator.index(start)


def _divide(x: Array, starts: list[Any] | Array, sizes: Sequence[int]) -> tuple[Any, tuple[int, ...], Any]:
    """Divide where a slice is into what is known and what is computed.

    Returns
    -------
    index : tuple of slice
        The known slices; whole ones along axes where it is computed.
    axes : tuple of int
        Those axes.
    vector : Array or None
        Where the slice begins along them.
    """
    rooms = [size - n for size, n in zip(x.shape, sizes, strict=True)]
    axes = tuple(a for a, room in enumerate(rooms) if room and (type(starts) is Array or type(starts[a]) is Array))
    index = []
    for axis, (n, room) in enumerate(zip(sizes, rooms, strict=True)):
        begin = _known(cast_type(int, starts[axis]), n + room, room) if room and axis not in axes else 0
        index.append(slice(begin, n + room if axis in axes else begin + n))
    if not axes:
        return tuple(index), axes, None
    if type(starts) is Array and len(axes) == x.ndim:
        vector = starts
    elif len(axes) == 1:
        vector = reshape(starts[axes[0]], (1,))
    else:
        vector = stack([starts[axis] for axis in axes])
    if dtype_name(vector) not in ("int32", "int64"):
        vector = cast(vector, "int64" if dtype_name(vector) in ("uint32", "uint64") else "int32")
    return tuple(index), axes, vector


def _known(start: int, size: int, room: int) -> int:
    return min(max(start + size if start < 0 else start, 0), room)


def dynamic_slice(operand: Any, start_indices: Starts, slice_sizes: Sequence[int]) -> Array:
    """Return a slice of given sizes from a position that is computed.

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
    index, axes, starts = _divide(x, _starts_of(x, start_indices, "dynamic_slice"), sizes)
    if not axes or not _is_whole(index, x):
        x = getitem(x, index)
    return bind(_dynamic_slice, (x, starts), {"slice_sizes": sizes, "axes": axes}) if axes else x


def dynamic_update_slice(operand: Any, update: Any, start_indices: Starts) -> Array:
    """Return an array with a slice replaced, at a position that is computed.

    Parameters
    ----------
    operand : array
        What to change.
    update : array
        What to put there: of the dtype and number of axes of `operand`, along none larger.
    start_indices : sequence of int or of Arrays without axes, or an Array of shape (operand.ndim,)
        Where the slice begins along each axis, as in `dynamic_slice`.
    """
    x, y = as_arrays([operand, update], "dynamic_update_slice")
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
    index, axes, starts = _divide(x, _starts_of(x, start_indices, "dynamic_update_slice"), y.shape)
    if axes and _is_whole(index, x):
        return bind(_dynamic_update_slice, (x, y, starts), {"axes": axes})
    if axes:
        y = bind(_dynamic_update_slice, (getitem(x, index), y, starts), {"axes": axes})
    return set_index(x, y, index=index)


def _is_whole(index: tuple[slice, ...], x: Array) -> bool:
    return all(part.stop - part.start == size for part, size in zip(index, x.shape, strict=True))


# Along one axis


def _starts(x: Array, index: Any, axis: int) -> list[Any]:
    starts: list[Any] = [0] * x.ndim
    starts[axis] = index if type(index) is Array else operator.index(index)
    return starts


def _axis(x: Array, axis: int, caller: str) -> int:
    (number,) = normalize_axes(operator.index(axis), x.ndim, caller)
    return number


def dynamic_slice_in_dim(operand: Any, start_index: Any, slice_size: int, axis: int = 0) -> Array:
    """Return `slice_size` neighbours along an axis, from a position that is computed. See `dynamic_slice`."""
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
    x, y = as_arrays([operand, update], "dynamic_update_index_in_dim")
    axis = _axis(x, axis, "dynamic_update_index_in_dim")
    if y.ndim == x.ndim - 1:
        y = reshape(y, (*y.shape[:axis], 1, *y.shape[axis:]))
    return dynamic_update_slice_in_dim(x, y, index, axis)
