"""Sorting, searching, and elements chosen row by row."""

from __future__ import annotations

import math
import operator
from typing import Any

from gradkit import primitives
from gradkit.core import Array
from gradkit.core.array import is_unseen
from gradkit.core.batching import broadcast_sizes
from gradkit.core.operands import as_array, cast, cast_to_fit, dtype_name, wide_integers
from gradkit.core.promotion import is_complex
from gradkit.numpy.arguments import promote_args
from gradkit.primitives import along_axis
from gradkit.primitives import elementwise as e
from gradkit.primitives.axes import axis_of
from gradkit.primitives.in_place import change_or_refuse
from gradkit.primitives.manipulation import broadcast_to, permute_dims, reshape
from gradkit.primitives.positions import bounded, counted, gather_mode, require_integers
from gradkit.primitives.scattering import scatter_set
from gradkit.primitives.taking import fill
from gradkit.primitives.updates import as_values

__all__ = [
    "argpartition", "argsort", "lexsort", "partition", "put_along_axis", "searchsorted", "sort", "sort_complex",
    "take_along_axis",
]  # fmt: skip


def _refuse_order(kind: Any, order: Any, caller: str) -> None:
    if kind is not None:
        raise TypeError(f"'kind' argument to {caller} is not supported; use stable=True or stable=False")
    if order is not None:
        raise TypeError(f"'order' argument to {caller} is not supported")


def _flat_for_none(a: Any, axis: int | None, caller: str) -> tuple[Array, int]:
    array = as_array(a, caller)
    return (reshape(array, -1), 0) if axis is None else (array, axis)


def sort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Array:
    """Sort along an axis. NaN is the largest number.

    Parameters
    ----------
    a : array
        Of any shape with at least one axis.
    axis : int or None
        The axis; None sorts the flattened array.
    kind, order : None
        Not supported.
    stable : bool
        Ignored: equal elements are equal. The derivative goes by a stable order.
    descending : bool
        The largest first.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> jnp.sort(jnp.asarray([3.0, 1.0, 2.0]))
    Array([1., 2., 3.], dtype=float32)
    >>> gradkit.grad(lambda x: jnp.sort(x)[0])(jnp.asarray([3.0, 1.0, 2.0]))
    Array([0., 1., 0.], dtype=float32)
    """
    _refuse_order(kind, order, "sort")
    array, axis = _flat_for_none(a, axis, "sort")
    return primitives.sort(array, axis=axis, descending=descending)


def argsort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Array:
    """Return the positions that sort `a` along an axis; equal elements keep their order. See `sort`."""
    _refuse_order(kind, order, "argsort")
    array, axis = _flat_for_none(a, axis, "argsort")
    return primitives.argsort(array, axis=axis, descending=descending)


def lexsort(keys: Any, axis: int = -1) -> Array:
    """Return the positions that sort by several keys, the last of which matters most.

    Parameters
    ----------
    keys : sequence of arrays, or array
        Of one shape; of an array the first axis has the keys.
    axis : int
        The axis along which to sort.
    """
    rows = [as_array(key, "lexsort") for key in keys]
    if not rows:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    if len({row.shape for row in rows}) > 1:
        raise ValueError("all keys need to be the same shape")
    if not rows[0].ndim:
        return cast(e.where(rows[0] == rows[0], 0, 0), "int32")
    axis = axis_of(axis, rows[0].ndim, "lexsort")
    order = primitives.argsort(rows[0], axis=axis)
    for row in rows[1:]:
        finer = primitives.argsort(along_axis.take_along_axis(row, order, axis=axis), axis=axis)
        order = along_axis.take_along_axis(order, finer, axis=axis)
    return order


def _checked_kth(a: Any, kth: int, axis: int, caller: str) -> Array:
    array = as_array(a, caller)
    if is_complex(array.dtype):
        raise NotImplementedError(f"{caller}: complex numbers are not supported, got {array.dtype}")
    size = array.shape[axis_of(axis, array.ndim, caller)]
    if not -size <= operator.index(kth) < size:
        raise ValueError(f"{caller}: kth={kth} is out of bounds for an axis of size {size}")
    return array


def partition(a: Any, kth: int, axis: int = -1) -> Array:
    """Return the elements along an axis so that the one at `kth` is where sorting puts it, the smaller ones before it.

    The rest is sorted as well, so the order is another one than JAX's, which promises none.
    """
    return primitives.sort(_checked_kth(a, kth, axis, "partition"), axis=axis)


def argpartition(a: Any, kth: int, axis: int = -1) -> Array:
    """Return the positions that `partition` would take the elements from."""
    return primitives.argsort(_checked_kth(a, kth, axis, "argpartition"), axis=axis)


def sort_complex(a: Any) -> Array:
    """Sort along the last axis by the real part, then by the imaginary one; the result is complex."""
    (array,) = promote_args("sort_complex", a)
    if not is_complex(array.dtype):
        array = primitives.sort(array)
        return cast(array, "complex128" if dtype_name(array) in ("float64", "int64", "uint64") else "complex64")
    axis = array.ndim - 1
    return along_axis.take_along_axis(array, lexsort((e.imag(array), e.real(array)), axis), axis=axis)


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None, *, method: str = "scan") -> Array:
    """Return where `v` would be put into the sorted array `a`.

    Parameters
    ----------
    a : array, shape (n,)
        In ascending order, unless `sorter` is given.
    v : array
        Of any shape.
    side : {"left", "right"}
        On which side of equal elements.
    sorter : array of int, shape (n,), optional
        The positions that sort `a`.
    method : str
        Accepted; it makes no difference.

    Returns
    -------
    Array of int
        Of the shape of `v`, from 0 to n.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.searchsorted(jnp.asarray([1, 2, 2, 3]), jnp.asarray([2, 9]))
    Array([1, 4], dtype=int32)
    """
    return primitives.searchsorted(*promote_args("searchsorted", a, v, compares=True), side=side, sorter=sorter)


def _align(arr: Any, indices: Any, axis: int | None, caller: str) -> tuple[Array, Array, int]:
    array, positions = as_array(arr, caller), require_integers(as_array(indices, caller), caller)
    if axis is None:
        if positions.ndim != 1:
            raise ValueError(f"{caller} indices must be 1D if axis=None, got shape {positions.shape}")
        array, axis = reshape(array, -1), 0
    if array.ndim != positions.ndim:
        raise ValueError(f"indices and arr must have the same number of dimensions; {positions.ndim} vs. {array.ndim}")
    return array, positions, axis_of(axis, array.ndim, caller)


def take_along_axis(
    arr: Any,
    indices: Any,
    axis: int | None = -1,
    mode: Any = None,
    fill_value: Any = None,
    *,
    wrap_negative_indices: bool | None = None,
) -> Array:
    """Take one element for each index, in the index's own row along an axis.

    Parameters
    ----------
    arr : array
        What to take from.
    indices : array of int
        Of as many axes as `arr`; those besides `axis` broadcast with it. Negative ones count from the end.
    axis : int or None
        The axis; None takes from the flattened array.
    mode : {"fill", "clip", "promise_in_bounds"}, optional
        What an index out of range gives, as in `take`.
    fill_value : number, optional
        What ``mode="fill"`` gives; by default NaN, the smallest integer, the largest unsigned one, or True.
    wrap_negative_indices : bool, optional
        Accepted; negative indices always count from the end.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> x = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> jnp.take_along_axis(x, jnp.asarray([[1], [0]]), axis=1)
    Array([[2.],
           [3.]], dtype=float32)
    """
    array, positions, axis = _align(arr, indices, axis, "take_along_axis")
    size = array.shape[axis]
    word = "clip" if mode == "one_hot" else gather_mode(mode)
    if word is None:
        word = "fill" if is_unseen(positions) else "raise"
    positions, valid = bounded(positions, size, word)
    shape = broadcast_sizes([(*array.shape[:axis], 1, *array.shape[axis + 1 :]), positions.shape])
    array = broadcast_to(array, (*shape[:axis], size, *shape[axis + 1 :]))
    positions = broadcast_to(positions, shape)
    taken = along_axis.take_along_axis(array, positions, axis=axis)
    if valid is None:
        return taken
    flat = fill(reshape(taken, -1), reshape(broadcast_to(valid, shape), -1), 0, fill_value)
    return reshape(flat, shape)


def put_along_axis(
    arr: Any, indices: Any, values: Any, axis: int | None, inplace: bool = True, *, mode: Any = None
) -> Array:
    """Return an array with one element replaced for each index, in the index's own row along an axis.

    Parameters
    ----------
    arr : array
        What to change.
    indices : array of int
        Of as many axes as `arr`, and of its sizes but for `axis`, or 1.
    values : array
        The new elements; they broadcast to `indices`.
    axis : int or None
        The axis; None for the flattened array.
    inplace : bool
        It has to be False, since Arrays are immutable: but in code that may assign to them, which changes `arr`.
    mode : {"drop", "clip", "promise_in_bounds"}, optional
        What an index out of range does, as in ``x.at``.
    """
    if inplace:
        return change_or_refuse(
            arr, "put_along_axis", lambda: put_along_axis(arr, indices, values, axis, inplace=False, mode=mode)
        )
    whole = as_array(arr, "put_along_axis")
    array, positions, axis = _align(whole, indices, axis, "put_along_axis")
    updates = as_values(array, values)
    if dtype_name(updates) != dtype_name(array):
        updates = cast_to_fit(updates, dtype_name(array))
    updates = broadcast_to(updates, positions.shape)
    size = array.shape[axis]
    shape = (*array.shape[:axis], positions.shape[axis], *array.shape[axis + 1 :])
    updates, positions = broadcast_to(updates, shape), broadcast_to(positions, shape)
    positions, valid = bounded(wide_integers(positions, array.size), size, gather_mode(mode) or "fill")
    if valid is not None:
        positions = e.where(valid, positions, -1)
    # As one row after another, positions count from the beginning of the first.
    order = (*(a for a in range(array.ndim) if a != axis), axis)
    back = tuple(order.index(a) for a in range(array.ndim))
    rows, updates, positions = (permute_dims(each, order) for each in (array, updates, positions))
    moved_shape = rows.shape
    number = reshape(counted(math.prod(positions.shape[:-1]), positions), (*positions.shape[:-1], 1))
    flat = reshape(e.where(positions < 0, -1, positions + number * size), -1)
    result = scatter_set(reshape(rows, -1), reshape(updates, -1), flat, axis=0)
    return reshape(permute_dims(reshape(result, moved_shape), back), whole.shape)
