"""An index with integer arrays: its slices first, then the indexed axes are joined to one and taken from.

Then the result's axes go where NumPy puts them. So both derivatives are those of two primitives.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gradkit.core import Array, bind
from gradkit.core.array import place_of_array, wrap
from gradkit.core.batching import broadcast_sizes
from gradkit.errors import IndexShapeError, ShapeError
from gradkit.primitives.elementwise import logical_and
from gradkit.primitives.manipulation import broadcast_to, permute_dims, reshape
from gradkit.primitives.positions import bounded
from gradkit.primitives.slicing import GETITEM, sliced_shape
from gradkit.primitives.taking import fill, take_flat

__all__ = ["Indexer", "gather", "indexer_of", "integer_scalar"]

WHOLE = slice(None)


class Indexer(NamedTuple):
    """Where an index with arrays points to, in an array that has been sliced and whose indexed axes have been joined.

    Attributes
    ----------
    basic : tuple
        The slices and new axes, which are applied first; empty where there are none.
    order : tuple of int
        The order of axes that then brings the indexed ones together, in front of which there are `lead` others.
    lead : int
        How many.
    sizes : tuple of int
        The sizes of the indexed axes, which are joined to one.
    positions : Array of int
        Of any shape, along the joined axis.
    valid : Array of bool, or None
        Which of them are in range; None: all.
    """

    basic: tuple[Any, ...]
    order: tuple[int, ...]
    lead: int
    sizes: tuple[int, ...]
    positions: Array
    valid: Array | None

    def apply_slices(self, x: Array) -> Array:
        """Return `x` after the slices."""
        return bind(GETITEM, (x,), {"index": self.basic}) if self.basic else x

    def join_axes(self, whole: Array) -> Array:
        """Return the sliced array with its indexed axes as one."""
        moved = whole if self.order == tuple(range(len(self.order))) else permute_dims(whole, self.order)
        if len(self.sizes) == 1:
            return moved
        shape = moved._value.shape
        return reshape(moved, (*shape[: self.lead], math.prod(self.sizes), *shape[self.lead + len(self.sizes) :]))

    def split_axes(self, joined: Array, shape: tuple[int, ...]) -> Array:
        """Undo `join_axes`, for a sliced array of that shape."""
        moved = reshape(joined, tuple(shape[a] for a in self.order))
        back = tuple(self.order.index(a) for a in range(len(shape)))
        return moved if back == tuple(range(len(shape))) else permute_dims(moved, back)


def indexer_of(x: Array, parts: list[Any], gap: int, mode: str) -> Indexer:
    """Work out where an index points to that has one entry per axis, at least one array, and perhaps a gap."""
    # Integers beside arrays are arrays of no axes, as in NumPy: their axes are joined to those of the arrays.
    indexed: list[int] = []
    shapes: list[tuple[int, ...]] = []
    basic = list(parts)
    for i, part in enumerate(parts):
        if type(part) is Array or type(part) is int:
            indexed.append(i)
            basic[i] = WHOLE
        if type(part) is Array:
            shapes.append(part._value.shape)
    if basic.count(WHOLE) == len(basic):
        basic.clear()
    shape = sliced_shape(x._value.shape, tuple(basic))
    sizes = tuple(map(shape.__getitem__, indexed))
    common = None if shapes.count(shapes[0]) == len(shapes) else broadcast_sizes(shapes)
    positions: Any = None
    valid: Array | None = None
    room = math.prod(sizes)
    for number, size in zip(indexed, sizes, strict=True):
        along, fits = parts[number], None
        if type(along) is Array:  # a number is in range
            along, fits = bounded(along if common is None else _broadcast(along, common, shapes), size, mode, room)
        positions = along if positions is None else positions * size + along
        if fits is not None:
            valid = fits if valid is None else logical_and(valid, fits)
    # Neighbouring indexed axes are replaced where they are; separated ones come first.
    order, lead = tuple(range(len(shape))), indexed[0]
    if indexed[-1] - lead >= len(indexed) or lead < gap <= indexed[-1]:
        order, lead = (*indexed, *(i for i in order if i not in indexed)), 0
    return Indexer(tuple(basic), order, lead, sizes, positions, valid)


def _broadcast(array: Array, common: tuple[int, ...], shapes: list[tuple[int, ...]]) -> Array:
    try:
        return broadcast_to(array, common)
    except ShapeError as error:
        raise IndexShapeError(
            f"Incompatible shapes for broadcasting: an index's arrays are broadcast against each other, got "
            f"{', '.join(map(str, map(tuple, shapes)))}"
        ) from error


def gather(x: Array, parts: list[Any], gap: int, mode: str, fill_value: Any = None) -> Array:
    """Return what an index with arrays gives."""
    indexer = indexer_of(x, parts, gap, mode)
    joined = indexer.join_axes(indexer.apply_slices(x))
    positions, valid, lead = indexer.positions, indexer.valid, indexer.lead
    taken_at, shape = positions._value.shape, joined._value.shape
    is_vector = len(taken_at) == 1
    flat = positions if is_vector else reshape(positions, -1)
    taken = take_flat(joined, flat, lead)
    if valid is not None:
        taken = fill(taken, reshape(valid, -1), lead, fill_value)
    return taken if is_vector else reshape(taken, (*shape[:lead], *taken_at, *shape[lead + 1 :]))


def integer_scalar(value: int, like: Array) -> Array:
    """Return an integer as an Array of no axes, beside `like`."""
    backend, device = place_of_array(like)
    dtype = backend.raw_dtype_named("int64" if abs(value) >= 1 << 31 else "int32")
    return wrap(backend.xp.asarray(value, dtype=dtype, device=device))
