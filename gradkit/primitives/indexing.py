"""Indexing: slices are one primitive, integer arrays another, and every index is made of the two.

An index with integer arrays is taken apart: its slices first, then the indexed axes are joined to one and taken from,
then the result's axes go where NumPy puts them. So both derivatives are those of two primitives.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array, Linear, bind
from gradkit.core.array import host, raw
from gradkit.core.batching import moved_to_front
from gradkit.core.calls import as_array, dtype_name, wide_integers
from gradkit.core.stand_in import STAND_INS
from gradkit.primitives.elementwise import where
from gradkit.primitives.manipulation import permute_dims, reshape
from gradkit.primitives.reductions import normalize_axes

__all__ = ["getitem", "pad_index", "scatter_add", "take"]


def _pad_index(xp: Any, g: Any, *, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    if None in index:
        # The standard has no new axes on the left of an assignment.
        kept = [part for part in index if not isinstance(part, int)]
        g = xp.reshape(g, tuple(size for size, part in zip(g.shape, kept, strict=True) if part is not None))
        index = tuple(part for part in index if part is not None)
    result = xp.zeros(shape, dtype=g.dtype, device=g.device)
    result[index] = g
    return result


def _scatter_add(xp: Any, updates: Any, indices: Any, *, axis: int, size: int) -> Any:
    # In the standard's terms a sum by index is a product with a matrix of zeros and ones.
    positions = xp.arange(size, dtype=indices.dtype, device=indices.device)
    chosen = xp.astype(positions[:, None] == indices[None, :], updates.dtype)
    rows = xp.moveaxis(updates, axis, 0)
    flat = xp.matmul(chosen, xp.reshape(rows, (rows.shape[0], math.prod(rows.shape[1:]))))
    return xp.moveaxis(xp.reshape(flat, (size, *rows.shape[1:])), 0, axis)


def _batch_getitem(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    return bind(primitive, (moved_to_front(values[0], axes[0]),), {"index": (slice(None), *params["index"])}), 0


def _batch_pad_index(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    index, shape = (slice(None), *params["index"]), (size, *params["shape"])
    return bind(primitive, (moved_to_front(values[0], axes[0]),), {"index": index, "shape": shape}), 0


def sliced_shape(shape: tuple[int, ...], index: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape of ``x[index]`` for integers, slices and None, one for each axis of `x` from the front."""
    result: list[int] = []
    axis = 0
    for part in index:
        if part is None:
            result.append(1)
            continue
        if isinstance(part, slice):
            result.append(len(range(*part.indices(shape[axis]))))
        axis += 1
    return (*result, *shape[axis:])


_getitem = Linear(
    "getitem",
    lambda xp, x, *, index: x[index],
    (lambda xp, g, x, *, index: xp.pad_index(g, index=index, shape=x.shape),),
    batch=_batch_getitem,
    shape=lambda x, *, index: sliced_shape(x.shape, index),
)
_pad_index_primitive = Linear(
    "pad_index",
    _pad_index,
    (lambda xp, g, _x, *, index, shape: g[index],),
    batch=_batch_pad_index,
    shape=lambda x, *, index, shape: shape,
)
_take = Linear(
    "take",
    lambda xp, x, indices, *, axis: xp.library.take(x, indices, axis=axis),
    (lambda xp, g, x, indices, *, axis: xp.scatter_add(g, indices, axis=axis, size=x.shape[axis]), None),
)
_scatter_add_primitive = Linear(
    "scatter_add",
    _scatter_add,
    (lambda xp, g, _updates, indices, *, axis, size: xp.take(g, indices, axis=axis), None),
)


def pad_index(x: Array, /, *, index: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
    """Return zeros of `shape` with `x` at the slices `index`: the transpose of slicing."""
    return bind(_pad_index_primitive, (x,), {"index": index, "shape": shape})


def scatter_add(updates: Any, indices: Any, /, *, axis: int, size: int) -> Array:
    """Sum slices by index: the transpose of `take`.

    Parameters
    ----------
    updates : array
        The slices, along `axis`.
    indices : array of int, shape (updates.shape[axis],)
        Where each slice goes; where several go to one place they are added.
    axis : int
        The axis.
    size : int
        The size of that axis in the result.
    """
    return bind(_scatter_add_primitive, (updates, indices), {"axis": axis, "size": size})


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Array:
    """Take slices along an axis by integer index.

    Parameters
    ----------
    x : array
        What to take from.
    indices : array of int
        Of any shape; it replaces the axis. Negative ones count from the end.
    axis : int, optional
        The axis; None takes from the flattened array.
    """
    array, positions = as_array(x, "take"), as_array(indices, "take")
    if axis is None:
        array, axis = reshape(array, -1), 0
    (axis,) = normalize_axes(axis, array.ndim, "take")
    if not dtype_name(positions).startswith(("int", "uint")):
        raise TypeError(f"take: indices must be integers, got dtype {positions.dtype}")
    flat = _from_the_front(wide_integers(reshape(positions, -1), array.shape[axis]), array.shape[axis])
    taken = bind(_take, (array, flat), {"axis": axis})
    return reshape(taken, (*array.shape[:axis], *positions.shape, *array.shape[axis + 1 :]))


def _from_the_front(positions: Array, size: int) -> Array:
    """Return indices that count from the front; those out of range are an error where they can be looked at."""
    if dtype_name(positions).startswith("uint"):
        return positions
    return where(positions < 0, positions + size, positions)


def getitem(x: Array, index: Any, /) -> Array:
    """Return ``x[index]``: integers, slices, ``...``, None, integer arrays, and a boolean mask.

    Raises
    ------
    IndexError
        For too many indices, or an integer out of range.
    TypeError
        For an index of another type.
    """
    parts = _expanded(x, index if isinstance(index, tuple) else (index,))
    if not any(type(part) is Array for part in parts):
        return bind(_getitem, (x,), {"index": tuple(parts)})
    return _getitem_with_arrays(x, parts)


def _expanded(x: Array, index: tuple[Any, ...]) -> list[Any]:
    """Return an index with one entry per axis (and None for new ones), masks turned into integer arrays."""
    parts: list[Any] = []
    for part in index:
        parts.extend(_entries(part))
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > x.ndim:
        raise IndexError(f"too many indices: x of shape {x.shape} has {x.ndim} axes, got {used} indices")
    if sum(part is Ellipsis for part in parts) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    where_rest = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[where_rest : where_rest + 1] = [slice(None)] * (x.ndim - used)
    axis = 0
    for i, part in enumerate(parts):
        if part is None:
            continue
        size = x.shape[axis]
        if type(part) is int:
            if not -size <= part < size:
                raise IndexError(f"index {part} is out of bounds for axis {axis} with size {size}")
            parts[i] = part % size
        axis += 1
    return parts


def _entries(part: Any) -> list[Any]:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return [_plain_slice(part)]
    if isinstance(part, list):
        from gradkit.numpy import asarray

        part = asarray(part)
    if isinstance(part, bool):
        raise TypeError("an index of type bool is not supported; use x[None] for True")
    if type(part) is not Array and hasattr(part, "__index__") and getattr(part, "ndim", 0) == 0:
        return [operator.index(part)]
    array = as_array(part, "indexing") if not isinstance(part, str) else _refuse(part)
    name = dtype_name(array)
    if name == "bool":
        return list(_positions_of(array))
    if not name.startswith(("int", "uint")):
        raise TypeError(f"an index array must have integer or bool dtype, got {name}")
    return [array]


def _refuse(part: str) -> Array:
    raise TypeError(f"gradkit does not support string indexing; got idx={part!r}")


def _plain_slice(part: Any) -> Any:
    if not isinstance(part, slice):
        return part
    bounds = (None if b is None else operator.index(b) for b in (part.start, part.stop, part.step))
    return slice(*bounds)


def _positions_of(mask: Array) -> Sequence[Array]:
    from gradkit.numpy import asarray

    return [asarray(positions, device=mask.device) for positions in host(mask).nonzero()]


def _getitem_with_arrays(x: Array, parts: list[Any]) -> Array:
    # Integers beside arrays are arrays of no axes, as in NumPy: they take part in the broadcast.
    from gradkit.numpy import broadcast_arrays, full

    indexed = [i for i, part in enumerate(parts) if type(part) in (Array, int)]
    basic = tuple(slice(None) if i in indexed else part for i, part in enumerate(parts))
    whole = bind(_getitem, (x,), {"index": basic}) if any(p != slice(None) for p in basic) else x
    sizes = [whole.shape[i] for i in indexed]
    example = next(part for part in parts if type(part) is Array)
    arrays = broadcast_arrays(
        *(
            part if type(part) is Array else full((), part, dtype=example.dtype, device=example.device)
            for part in (parts[i] for i in indexed)
        )
    )
    _check_range(arrays, sizes)
    arrays = [wide_integers(array, math.prod(sizes)) for array in arrays]
    positions = _from_the_front(arrays[0], sizes[0])
    for array, size in zip(arrays[1:], sizes[1:], strict=True):
        positions = positions * size + _from_the_front(array, size)
    others = [i for i in range(whole.ndim) if i not in indexed]
    # Neighbouring indexed axes are replaced in place; separated ones come first.
    adjacent = indexed == list(range(indexed[0], indexed[-1] + 1))
    lead = [i for i in others if adjacent and i < indexed[0]]
    rest = [i for i in others if i not in lead]
    order = (*lead, *indexed, *rest)
    if order != tuple(range(whole.ndim)):
        whole = permute_dims(whole, order)
    before = whole.shape[: len(lead)]
    after = whole.shape[len(lead) + len(indexed) :]
    joined = reshape(whole, (*before, math.prod(sizes), *after))
    return take(joined, positions, axis=len(before))


def _check_range(arrays: Sequence[Array], sizes: Sequence[int]) -> None:
    """Raise IndexError where an index array on the host is out of range; a device is not made to wait for it."""
    for array, size in zip(arrays, sizes, strict=True):
        if type(raw(array)) not in STAND_INS and array.device.platform == "cpu" and array.size:
            lowest, highest = host(array).min(), host(array).max()
            if lowest < -size or highest >= size:
                worst = highest if highest >= size else lowest
                raise IndexError(f"index {worst} is out of bounds for an axis of size {size}")
