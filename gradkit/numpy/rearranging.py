"""Elements in another order or more than once: flipped, rolled, repeated; axes moved and taken apart."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.array import place_of_array, renewed, wrap
from gradkit.core.operands import as_array, wide_integers
from gradkit.core.sharding import refuse_sharding
from gradkit.core.sizes import whole_numbers
from gradkit.errors import ShapeError
from gradkit.numpy.arguments import beside
from gradkit.primitives.axes import axes_of, axis_of
from gradkit.primitives.cumulative import cumsum
from gradkit.primitives.elementwise import minimum
from gradkit.primitives.manipulation import broadcast_to, concat, reshape
from gradkit.primitives.parts import selection
from gradkit.primitives.reductions import sum
from gradkit.primitives.searching import searchsorted
from gradkit.primitives.taking import take

__all__ = ["broadcast_shapes", "flip", "repeat", "roll", "tile", "unstack"]


def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """Return the shape to which shapes broadcast.

    Raises
    ------
    ShapeError
        If they do not, which is a ValueError.

    Examples
    --------
    >>> broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    try:
        return np.broadcast_shapes(*map(whole_numbers, shapes))
    except ValueError as error:
        raise ShapeError(f"Incompatible shapes for broadcasting: shapes={list(shapes)}") from error


@selection
def flip(m: Any, axis: int | Sequence[int] | None = None) -> Array:
    """Reverse the order of the elements along axes; None: along all of them."""
    array = as_array(m, "flip")
    axes = axes_of(axis, array.ndim, "flip")
    return array[tuple(slice(None, None, -1 if a in axes else None) for a in range(array.ndim))]


@selection
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Return the slices of an array along an axis, which they lack."""
    array = as_array(x, "unstack")
    if array.ndim == 0:
        raise ValueError("unstack: x must have at least one dimension, got a 0-d array")
    axis = axis_of(axis, array.ndim, "unstack")
    return tuple(array[(*(slice(None),) * axis, i)] for i in range(array.shape[axis]))


def tile(A: Any, reps: int | Sequence[int]) -> Array:
    """Join copies of an array: ``reps[i]`` of them along axis i.

    Parameters
    ----------
    A : array
        Of any shape.
    reps : int or tuple of int
        How many copies. The shorter of it and the shape is filled up with ones in front.
    """
    array = as_array(A, "tile")
    counts = whole_numbers(reps)
    rank = max(array.ndim, len(counts))
    shape = (1,) * (rank - array.ndim) + array.shape
    counts = (1,) * (rank - len(counts)) + counts
    pairs = list(zip(counts, shape, strict=True))
    whole = broadcast_to(
        reshape(array, tuple(n for _, size in pairs for n in (1, size))), tuple(n for pair in pairs for n in pair)
    )
    return reshape(whole, tuple(count * size for count, size in pairs))


def roll(a: Any, shift: Any, axis: int | Sequence[int] | None = None) -> Array:
    """Shift the elements along axes; those that leave at the end come back at the front.

    Parameters
    ----------
    a : array
        Of any shape.
    shift : int, tuple of int, or array of int
        By how many positions. Under `vmap` it may be an array whose values differ.
    axis : int, tuple of int or None
        The axes, one for each shift; None: the flattened array.
    """
    array = as_array(a, "roll")
    if axis is None:
        return reshape(roll(reshape(array, -1), shift, 0), array.shape)
    axes = whole_numbers(axis)
    shifts = _shifts(shift)
    if len(axes) != len(shifts):
        axes, shifts = (axes * len(shifts), shifts) if len(axes) == 1 else (axes, shifts * len(axes))
    if len(axes) != len(shifts):
        raise ValueError(f"roll: got {len(shifts)} shifts and {len(axes)} axes, expected as many")
    for number, positions in zip(axes, shifts, strict=True):
        array = _roll(array, positions, axis_of(number, array.ndim, "roll"))
    return array


def _shifts(shift: Any) -> tuple[Any, ...]:
    if isinstance(shift, Sequence):
        return tuple(shift)
    if type(shift) is not Array and getattr(shift, "ndim", 0) == 1:
        return whole_numbers(shift)
    if getattr(shift, "ndim", 0):
        return tuple(unstack(reshape(shift, -1)))
    return (shift,)


def _roll(x: Array, positions: Any, axis: int) -> Array:
    size = x.shape[axis]
    if size == 0:
        return renewed(x)
    if type(positions) is Array:
        return take(x, (_counting(x, size) - wide_integers(positions, size)) % size, axis=axis)
    cut = -operator.index(positions) % size
    lead = (slice(None),) * axis
    return renewed(x) if cut == 0 else concat([x[(*lead, slice(cut, None))], x[(*lead, slice(cut))]], axis=axis)


def _counting(like: Array, size: int) -> Array:
    """Return the integers below `size`, beside another array."""
    backend, device = place_of_array(like)
    return wrap(backend.xp.arange(size, dtype=backend.xp.int64, device=device))


def repeat(
    a: Any, repeats: Any, axis: int | None = None, *, total_repeat_length: int | None = None, out_sharding: None = None
) -> Array:
    """Repeat each element.

    Parameters
    ----------
    a : array
        Of any shape.
    repeats : int or array of int
        How often: one number, or one for each position along the axis.
    axis : int, optional
        The axis; None: of the flattened array.
    total_repeat_length : int, optional
        The size of the result's axis. Without it the values of `repeats` are needed, so that an array of them cannot be
        used under `vmap`. What is missing is filled up with the last element.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.repeat(jnp.asarray([1, 2]), jnp.asarray([1, 3]))
    Array([1, 2, 2, 2], dtype=int32)
    """
    refuse_sharding(out_sharding, "repeat")
    array = as_array(a, "repeat")
    if axis is None:
        array, axis = reshape(array, -1), 0
    axis = axis_of(axis, array.ndim, "repeat")
    size = array.shape[axis]
    if total_repeat_length is None and not isinstance(repeats, Sequence) and getattr(repeats, "size", 1) == 1:
        return _each(array, int(repeats if not hasattr(repeats, "item") else repeats.item()), axis)
    counts = beside(repeats, array)
    if math.prod(counts.shape) == 1:
        counts = broadcast_to(reshape(counts, 1), (size,))
    if counts.shape != (size,):
        raise ValueError(f"repeat: repeats must be one number or {size} along axis {axis}, got shape {counts.shape}")
    total = int(sum(counts)) if total_repeat_length is None else operator.index(total_repeat_length)
    ends = cumsum(wide_integers(counts, total), axis=0)
    positions = searchsorted(ends, _counting(array, total), side="right")
    return take(array, minimum(positions, size - 1) if size else positions, axis=axis)


def _each(x: Array, count: int, axis: int) -> Array:
    if count < 0:
        raise ValueError(f"repeat: repeats must not be negative, got {count}")
    before, size, behind = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    spread = broadcast_to(reshape(x, (*before, size, 1, *behind)), (*before, size, count, *behind))
    return reshape(spread, (*before, size * count, *behind))
