"""Joining arrays, and cutting them apart."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.array import renewed
from gradkit.core.operands import as_array, as_arrays, require_fit
from gradkit.core.promotion import requested_dtype
from gradkit.core.values import host
from gradkit.numpy.arguments import in_dtype_of, refuse_out
from gradkit.numpy.comparing import ndim
from gradkit.numpy.shaping import atleast_1d, atleast_2d, atleast_3d
from gradkit.primitives import manipulation
from gradkit.primitives.axes import axis_of
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import asarray
from gradkit.primitives.parts import selection

__all__ = [
    "append", "array_split", "block", "column_stack", "concatenate", "delete", "dsplit", "dstack", "hsplit", "hstack",
    "insert", "split", "stack", "vsplit", "vstack",
]  # fmt: skip


def _parts(tup: Any, caller: str, dtype: Any = None) -> list[Array]:
    """Return what is to be joined, in a dtype if that is given: several arrays, or the rows of one."""
    parts = list(tup) if isinstance(tup, Sequence) else list(as_array(tup, caller))
    if not parts:
        raise ValueError(f"{caller}: need at least one array to join, got none")
    if dtype is not None:
        require_fit(requested_dtype(dtype), parts, caller)
    return as_arrays(parts, caller)


def concatenate(arrays: Any, axis: int | None = 0, dtype: Any = None) -> Array:
    """Join arrays along an axis; None joins them flattened.

    Parameters
    ----------
    arrays : sequence of array, or array
        They have the same shape but for `axis`; of one array, its rows are joined.
    axis : int or None
        The axis.
    dtype : dtype, optional
        The dtype of the result.
    """
    return _convert(manipulation.concat(_parts(arrays, "concatenate", dtype), axis=axis), dtype)


def _convert(array: Array, dtype: Any) -> Array:
    return array if dtype is None else xp.astype(array, dtype)


def stack(arrays: Any, axis: int = 0, out: None = None, dtype: Any = None) -> Array:
    """Join arrays of one shape along a new axis at position `axis`."""
    refuse_out(out, "stack")
    return _convert(manipulation.stack(_parts(arrays, "stack", dtype), axis=axis), dtype)


def hstack(tup: Any, dtype: Any = None) -> Array:
    """Join arrays along the second axis; vectors along their only one."""
    parts = [atleast_1d(part) for part in _parts(tup, "hstack", dtype)]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1, dtype)


def vstack(tup: Any, dtype: Any = None) -> Array:
    """Join arrays along the first axis, vectors as rows."""
    return concatenate([atleast_2d(part) for part in _parts(tup, "vstack", dtype)], 0, dtype)


def dstack(tup: Any, dtype: Any = None) -> Array:
    """Join arrays along the third axis, which they get if they have none."""
    return concatenate([atleast_3d(part) for part in _parts(tup, "dstack", dtype)], 2, dtype)


def column_stack(tup: Any) -> Array:
    """Join arrays along the second axis, vectors as columns."""
    parts = _parts(tup, "column_stack")
    return concatenate([xp.reshape(part, (-1, 1)) if part.ndim < 2 else part for part in parts], 1)


def append(arr: Any, values: Any, axis: int | None = None) -> Array:
    """Join `values` to `arr` along an axis; None joins them flattened."""
    return manipulation.concat(as_arrays([arr, values], "append"), axis=axis)


def block(arrays: Any) -> Array:
    """Join nested lists of arrays: the innermost along the last axis, the next along the one before.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.block([[jnp.ones((1, 2)), jnp.zeros((1, 1))], [jnp.zeros((1, 3))]])
    Array([[1., 1., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    return _block(arrays)[0]


def _block(arrays: Any) -> tuple[Array, int]:
    if isinstance(arrays, tuple):
        raise ValueError(f"jax.numpy.block does not allow tuples, got {arrays}")
    if not isinstance(arrays, list):
        return renewed(as_array(arrays, "block")), 1
    if not arrays:
        raise ValueError("jax.numpy.block does not allow empty list arguments")
    parts = [_block(item) for item in arrays]
    depth = parts[0][1]
    if any(found != depth for _, found in parts):
        raise ValueError("Mismatched list depths in jax.numpy.block")
    rank = max(depth, *(part.ndim for part, _ in parts))
    widened = [xp.reshape(part, (1,) * (rank - part.ndim) + part.shape) for part, _ in parts]
    return manipulation.concat(widened, axis=-depth), depth + 1


# Cutting


@selection
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Cut an array into parts along an axis; those of a number of parts may differ in size by one."""
    return _cut(ary, indices_or_sections, axis, "array_split", equal=False)


@selection
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Cut an array into parts along an axis.

    Parameters
    ----------
    ary : array
        The array.
    indices_or_sections : int or sequence of int
        Into how many equal parts, or where to cut.
    axis : int
        The axis.
    """
    return _cut(ary, indices_or_sections, axis, "split", equal=True)


@selection
def hsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Cut an array into parts along the second axis, a vector along its only one."""
    array = as_array(ary, "hsplit")
    return _cut(array, indices_or_sections, 0 if array.ndim == 1 else 1, "hsplit", equal=True)


@selection
def vsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Cut an array into parts along the first axis."""
    return _cut(ary, indices_or_sections, 0, "vsplit", equal=True)


@selection
def dsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Cut an array into parts along the third axis."""
    return _cut(ary, indices_or_sections, 2, "dsplit", equal=True)


def _cut(ary: Any, indices_or_sections: Any, axis: int, caller: str, equal: bool) -> list[Array]:
    array = as_array(ary, caller)
    axis = axis_of(axis, array.ndim, caller)
    size = array.shape[axis]
    if ndim(indices_or_sections) == 0:
        count = operator.index(indices_or_sections)
        if count < 1 or (equal and size % count):
            raise ValueError(f"array split does not result in an equal division: {count} parts of {size} elements")
        width, rest = size // count, size % count
        cuts = [i * width + min(i, rest) for i in range(1, count)]
    else:
        cuts = [operator.index(cut) for cut in indices_or_sections]
    lead = (slice(None),) * axis
    starts, stops = [0, *cuts], [*cuts, size]
    return [array[(*lead, slice(start, stop))] for start, stop in zip(starts, stops, strict=True)]


# Taking out and putting in


def delete(arr: Any, obj: Any, axis: int | None = None, *, assume_unique_indices: bool = False) -> Array:
    """Leave out elements.

    Parameters
    ----------
    arr : array
        The array.
    obj : int, slice, or array of int or bool
        The positions to leave out.
    axis : int or None
        The axis; None: of the flattened array.
    assume_unique_indices : bool
        It makes no difference.
    """
    array, axis = _flat(arr, axis, "delete")
    size = array.shape[axis]
    kept = np.ones(size, dtype=bool)
    index = obj if isinstance(obj, slice | int) else np.asarray(host(obj) if isinstance(obj, Array) else obj)
    if isinstance(index, np.ndarray) and index.dtype.kind not in "biu" and index.size:
        raise ValueError(f"delete: obj must be integer or bool, got dtype {index.dtype}")
    kept[index if not isinstance(index, np.ndarray) or index.size else []] = False
    return xp.take(array, asarray(np.nonzero(kept)[0], device=array.device), axis=axis)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Array:
    """Put elements in between.

    Parameters
    ----------
    arr : array
        The array.
    obj : int, slice, or array of int
        The positions before which to put them.
    values : array or number
        The elements.
    axis : int or None
        The axis; None: of the flattened array.
    """
    array, axis = _flat(arr, axis, "insert")
    size = array.shape[axis]
    indices = (
        np.arange(*obj.indices(size))
        if isinstance(obj, slice)
        else np.asarray(host(obj) if isinstance(obj, Array) else obj)
    )
    if indices.ndim > 1:
        raise ValueError(f"jnp.insert(): obj must be a slice, a one-dimensional array, or a scalar; got {obj}")
    if indices.dtype.kind not in "iu" and indices.size:
        raise ValueError(f"jnp.insert(): index array must be integer typed; got {obj}")
    added = in_dtype_of(array, values, "insert")
    if added.ndim < array.ndim:
        added = xp.reshape(added, (1,) * (array.ndim - added.ndim) + added.shape)
    if indices.ndim == 0:
        added = moveaxis(added, 0, axis) if array.ndim > 1 else added
    if indices.size == 1:
        indices = np.full(added.shape[axis], indices.reshape(-1)[0])
    positions = np.clip(np.where(indices < 0, indices + size, indices), 0, size).astype(int)
    shape = (*array.shape[:axis], len(positions), *array.shape[axis + 1 :])
    joined = manipulation.concat([array, xp.broadcast_to(added, shape)], axis=axis)
    # Where several go to one position they keep their order, before what was there.
    order = np.argsort(np.concatenate([np.arange(size) + 0.5, positions]), kind="stable")
    return xp.take(joined, asarray(order, device=array.device), axis=axis)


def _flat(arr: Any, axis: int | None, caller: str) -> tuple[Array, int]:
    array = as_array(arr, caller)
    if axis is None:
        return xp.reshape(array, -1), 0
    return array, axis_of(axis, array.ndim, caller)
