"""An index with integer arrays: its slices first, then the indexed axes are joined to one and taken from.

Then the result's axes go where NumPy puts them. So both derivatives are those of two primitives.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gradkit.core import Array, bind
from gradkit.core.array import place_of_array, wrap
from gradkit.core.batching import broadcast_sizes
from gradkit.core.operands import wide_integers
from gradkit.errors import IndexShapeError, ShapeError
from gradkit.primitives.elementwise import logical_and
from gradkit.primitives.manipulation import broadcast_to, permute_dims, reshape
from gradkit.primitives.positions import bounded
from gradkit.primitives.slicing import GETITEM, sliced_shape
from gradkit.primitives.taking import fill, take_flat

__all__ = ["Indexer", "gather", "indexer_of", "integer_scalar"]


class Indexer(NamedTuple):
    """Where an index with arrays points to, in an array that has been sliced and whose indexed axes have been joined.

    Attributes
    ----------
    basic : tuple
        The slices and new axes, which are applied first.
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
        return x if all(part == slice(None) for part in self.basic) else bind(GETITEM, (x,), {"index": self.basic})

    def join_axes(self, whole: Array) -> Array:
        """Return the sliced array with its indexed axes as one."""
        moved = whole if self.order == tuple(range(whole.ndim)) else permute_dims(whole, self.order)
        behind = moved.shape[self.lead + len(self.sizes) :]
        return reshape(moved, (*moved.shape[: self.lead], math.prod(self.sizes), *behind))

    def split_axes(self, joined: Array, shape: tuple[int, ...]) -> Array:
        """Undo `join_axes`, for a sliced array of that shape."""
        moved = reshape(joined, tuple(shape[a] for a in self.order))
        back = tuple(self.order.index(a) for a in range(len(shape)))
        return moved if back == tuple(range(len(shape))) else permute_dims(moved, back)


def indexer_of(x: Array, parts: list[Any], mode: str) -> Indexer:
    """Work out where an index points to that has one entry per axis, and at least one array."""
    # Integers beside arrays are arrays of no axes, as in NumPy: they take part in the broadcast.
    indexed = [i for i, part in enumerate(parts) if type(part) in (Array, int)]
    basic = tuple(slice(None) if i in indexed else part for i, part in enumerate(parts))
    shape = sliced_shape(x.shape, basic)
    sizes = tuple(shape[i] for i in indexed)
    arrays = [part if type(part) is Array else integer_scalar(part, x) for part in (parts[i] for i in indexed)]
    common = broadcast_sizes([array.shape for array in arrays])
    try:
        arrays = [broadcast_to(array, common) for array in arrays]
    except ShapeError as error:
        found = ", ".join(str(array.shape) for array in arrays)
        raise IndexShapeError(
            f"Incompatible shapes for broadcasting: an index's arrays are broadcast against each other, got {found}"
        ) from error
    positions: Array | None = None
    valid: Array | None = None
    for array, size in zip(arrays, sizes, strict=True):
        along, fits = bounded(wide_integers(array, math.prod(sizes)), size, mode)
        positions = along if positions is None else positions * size + along
        if fits is not None:
            valid = fits if valid is None else logical_and(valid, fits)
    assert positions is not None
    # Neighbouring indexed axes are replaced where they are; separated ones come first.
    others = [i for i in range(len(shape)) if i not in indexed]
    adjacent = indexed == list(range(indexed[0], indexed[-1] + 1))
    lead = [i for i in others if adjacent and i < indexed[0]]
    rest = [i for i in others if i not in lead]
    return Indexer(basic, (*lead, *indexed, *rest), len(lead), sizes, positions, valid)


def gather(x: Array, parts: list[Any], mode: str, fill_value: Any = None) -> Array:
    """Return what an index with arrays gives."""
    indexer = indexer_of(x, parts, mode)
    joined = indexer.join_axes(indexer.apply_slices(x))
    flat = reshape(indexer.positions, -1)
    valid = None if indexer.valid is None else reshape(indexer.valid, -1)
    taken = fill(take_flat(joined, flat, indexer.lead), valid, indexer.lead, fill_value)
    return reshape(taken, (*joined.shape[: indexer.lead], *indexer.positions.shape, *joined.shape[indexer.lead + 1 :]))


def integer_scalar(value: int, like: Array) -> Array:
    """Return an integer as an Array of no axes, beside `like`."""
    backend, device = place_of_array(like)
    dtype = backend.raw_dtype_named("int64" if abs(value) >= 1 << 31 else "int32")
    return wrap(backend.xp.asarray(value, dtype=dtype, device=device))
