"""Positions: where elements are not zero, grids and diagonals, flat positions, and updates by them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit import primitives
from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name, require_bool
from gradkit.core.promotion import INTEGER, default_dtype
from gradkit.core.sizes import whole_numbers
from gradkit.core.values import host
from gradkit.numpy.arguments import beside
from gradkit.primitives import elementwise as e
from gradkit.primitives.in_place import change_or_refuse
from gradkit.primitives.manipulation import broadcast_to, concat, reshape, stack
from gradkit.primitives.new_arrays import arange, asarray, ones, zeros
from gradkit.primitives.positions import require_integers
from gradkit.primitives.reductions import count_nonzero
from gradkit.primitives.updates import as_values

__all__ = [
    "argwhere", "diag_indices", "diag_indices_from", "fill_diagonal", "flatnonzero", "indices", "ix_", "mask_indices",
    "nonzero", "place", "put", "ravel_multi_index", "tril_indices", "tril_indices_from", "triu_indices",
    "triu_indices_from", "unravel_index",
]  # fmt: skip


# Where elements are not zero


def nonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> tuple[Array, ...]:
    """Return the positions of the elements that are not 0, one array for each axis.

    Parameters
    ----------
    a : array
        Of any shape with at least one axis.
    size : int, optional
        How many positions to return: then it works without values, under `vmap` and in graphs.
    fill_value : int, array or tuple of them, optional
        With `size`, what stands for those that are missing: for all axes, or one for each. By default 0.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.nonzero(jnp.asarray([0.0, 2.0, 3.0]))
    (Array([1, 2], dtype=int32),)
    >>> jnp.nonzero(jnp.asarray([0.0, 2.0, 3.0]), size=3, fill_value=-1)
    (Array([ 1,  2, -1], dtype=int32),)
    """
    array = as_array(a, "nonzero")
    if not array.ndim:
        raise ValueError("Calling nonzero on 0d arrays is not allowed. Use jnp.atleast_1d(scalar).nonzero() instead.")
    integer = default_dtype(INTEGER)
    if size is None:
        found = host(array.detach()).nonzero()
        return tuple(asarray(positions, dtype=integer, device=array.device) for positions in found)
    size = operator.index(size)
    chosen = reshape(require_bool(array, "nonzero"), -1)
    # False sorts before True, so this has the positions of the true ones first, in their order.
    flat = primitives.argsort(cast(e.logical_not(chosen), "uint8"), axis=0)[:size]
    if size > flat.shape[0]:
        flat = concat([flat, zeros(size - flat.shape[0], dtype=flat.dtype, device=flat.device)])
    present = arange(size, dtype=integer, device=array.device) < count_nonzero(chosen)
    fills = fill_value if isinstance(fill_value, tuple) else (fill_value,) * array.ndim
    if len(fills) != array.ndim:
        raise ValueError(f"nonzero: fill_value must have one entry for each of {array.ndim} axes, got {fill_value}")
    positions = unravel_index(flat, array.shape)
    return tuple(
        _keep_integer(e.where(present, position, 0 if fill is None else beside(fill, position)), integer)
        for position, fill in zip(positions, fills, strict=True)
    )


def _keep_integer(array: Array, dtype: str) -> Array:
    return array if dtype_name(array) == dtype else cast(array, dtype)


def flatnonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> Array:
    """Return the positions of the elements that are not 0 in the flattened array; see `nonzero`."""
    return nonzero(reshape(as_array(a, "flatnonzero"), -1), size=size, fill_value=fill_value)[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: Any = None) -> Array:
    """Return the positions of the elements that are not 0, one row for each; see `nonzero`."""
    array = as_array(a, "argwhere")
    if not array.ndim:
        count = math.prod(nonzero(reshape(array, 1), size=size)[0].shape)
        return reshape(arange(0, device=array.device), (count, 0))
    return stack(nonzero(array, size=size, fill_value=fill_value), axis=1)


# Grids, diagonals, triangles


def ix_(*args: Any) -> tuple[Array, ...]:
    """Return index arrays that together pick the rows, columns, ... named by each of `args`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.arange(9).reshape(3, 3)[jnp.ix_(jnp.asarray([0, 2]), jnp.asarray([1]))]
    Array([[1],
           [7]], dtype=int32)
    """
    result = []
    for axis, arg in enumerate(args):
        positions = asarray(arg) if isinstance(arg, list | tuple) else as_array(arg, "ix_")
        if positions.ndim != 1:
            raise ValueError(f"Arguments to jax.numpy.ix_ must be 1-dimensional, got shape {positions.shape}")
        if dtype_name(positions) == "bool":
            (positions,) = nonzero(positions)
        if not positions.size:
            positions = cast(positions, default_dtype(INTEGER))
        result.append(reshape(positions, (*(1,) * axis, -1, *(1,) * (len(args) - axis - 1))))
    return tuple(result)


def indices(dimensions: Sequence[int], dtype: Any = None, sparse: bool = False) -> Any:
    """Return the position along each axis of every element of an array of that shape.

    Stacked, of shape ``(len(dimensions), *dimensions)``, or, if `sparse`, as a tuple of arrays that broadcast.
    """
    sizes = whole_numbers(dimensions)
    dtype = default_dtype(INTEGER) if dtype is None else dtype
    grid = tuple(
        reshape(arange(size, dtype=dtype), (*(1,) * axis, size, *(1,) * (len(sizes) - axis - 1)))
        for axis, size in enumerate(sizes)
    )
    if sparse:
        return grid
    if not grid:
        return reshape(arange(0, dtype=dtype), (0,))
    return stack([broadcast_to(positions, sizes) for positions in grid], axis=0)


def diag_indices(n: int, ndim: int = 2) -> tuple[Array, ...]:
    """Return the positions of the diagonal of an array of `ndim` axes of size `n`."""
    n, ndim = operator.index(n), operator.index(ndim)
    if n < 0 or ndim < 0:
        name, value = ("n", n) if n < 0 else ("ndim", ndim)
        raise ValueError(f"{name} argument to diag_indices must be nonnegative, got {value}")
    return (arange(n),) * ndim


def diag_indices_from(arr: Any) -> tuple[Array, ...]:
    """Return the positions of the diagonal of an array whose axes have one size."""
    array = as_array(arr, "diag_indices_from")
    if array.ndim < 2:
        raise ValueError("input array must be at least 2-d")
    if len(set(array.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    return diag_indices(array.shape[0], array.ndim)


def _triangle(n: int, k: int, m: int | None, lower: bool) -> tuple[Array, Array]:
    n, k = operator.index(n), operator.index(k)
    m = n if m is None else operator.index(m)
    pairs = [(i, range(max(min(i + k + 1, m), 0)) if lower else range(min(max(i + k, 0), m), m)) for i in range(n)]
    rows = [i for i, columns in pairs for _ in columns]
    integer = default_dtype(INTEGER)
    return asarray(rows, dtype=integer), asarray([j for _, columns in pairs for j in columns], dtype=integer)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Return the positions of the lower triangle of an array of shape (n, m), up to the diagonal `k`."""
    return _triangle(n, k, m, True)


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Return the positions of the upper triangle of an array of shape (n, m), from the diagonal `k` on."""
    return _triangle(n, k, m, False)


def _matrix_shape(arr: Any) -> tuple[int, int]:
    shape = tuple(arr.shape) if hasattr(arr, "shape") else as_array(arr, "tril_indices_from").shape
    if len(shape) != 2:
        raise ValueError("Only 2-D inputs are accepted")
    return shape[0], shape[1]


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Array, Array]:
    """Return the positions of the lower triangle of a matrix, up to the diagonal `k`."""
    n, m = _matrix_shape(arr)
    return tril_indices(n, k, m)


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Array, Array]:
    """Return the positions of the upper triangle of a matrix, from the diagonal `k` on."""
    n, m = _matrix_shape(arr)
    return triu_indices(n, k, m)


def mask_indices(
    n: int, mask_func: Callable[[Array, int], Any], k: int = 0, *, size: int | None = None
) -> tuple[Array, Array]:
    """Return the positions of an (n, n) matrix at which ``mask_func(ones, k)`` is not 0."""
    rows, columns = nonzero(mask_func(ones((n, n)), k), size=size)
    return rows, columns


# Flat and multi-dimensional positions


def unravel_index(indices: Any, shape: int | Sequence[int]) -> tuple[Array, ...]:
    """Return the position along each axis of the elements that are at `indices` in the flattened array.

    Negative ones count from the end; those out of range become the first or last element's, as in JAX.
    """
    sizes = whole_numbers(shape)
    flat = require_integers(as_array(indices, "unravel_index"), "unravel_index")
    total = math.prod(sizes)
    if not dtype_name(flat).startswith("uint"):
        flat = e.where(flat < 0, flat + total, flat)
    flat = e.clip(flat, 0, max(total - 1, 0))
    positions = []
    for size in reversed(sizes):
        positions.append(flat % max(size, 1))
        flat = flat // max(size, 1)
    return tuple(reversed(positions))


def ravel_multi_index(
    multi_index: Sequence[Any], dims: Sequence[int], mode: str = "raise", order: str = "C", *, dtype: Any = None
) -> Array:
    """Return the position in the flattened array of the elements at the positions `multi_index`, one for each axis.

    Parameters
    ----------
    multi_index : sequence of arrays of int
        The positions along each axis.
    dims : sequence of int
        The sizes of the axes.
    mode : {"raise", "wrap", "clip"}
        What a position out of range does: a ValueError, which needs values; the remainder; the nearest one.
    order : {"C", "F"}
        Whether the last axis or the first one runs fastest.
    dtype : dtype, optional
        The dtype of the result.
    """
    sizes = whole_numbers(dims)
    if len(multi_index) != len(sizes):
        raise ValueError(
            f"len(multi_index)={len(multi_index)} and len(dims)={len(sizes)} must be equal in ravel_multi_index"
        )
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"invalid mode={mode!r}. Expected 'raise', 'wrap', or 'clip'")
    if order not in ("C", "F"):
        raise ValueError(f"invalid order={order!r}. Expected 'C' or 'F'")
    arrays = [require_integers(as_array(each, "ravel_multi_index"), "ravel_multi_index") for each in multi_index]
    result: Any = None
    pairs = list(zip(arrays, sizes, strict=True))
    for array, size in pairs if order == "C" else reversed(pairs):
        if mode == "raise":
            values = host(array)
            if values.size and (values.min() < 0 or values.max() >= size):
                raise ValueError("invalid entry in coordinates array")
            position = array
        else:
            position = array % size if mode == "wrap" else e.clip(array, 0, size - 1)
        result = position if result is None else result * size + position
    return result if dtype is None else primitives.astype(result, dtype)


# Updates


def put(a: Any, ind: Any, v: Any, mode: str | None = None, *, inplace: bool = True) -> Array:
    """Return an array with the elements at `ind` of the flattened array replaced by `v`, which is repeated to fit.

    Parameters
    ----------
    a : array
        What to change.
    ind : array of int
        Positions in the flattened array.
    v : array
        The new elements.
    mode : {"wrap", "clip"}, optional
        What a position out of range does: the remainder, or the nearest one. By default negative ones count from the
        end first.
    inplace : bool
        It has to be False, since Arrays are immutable: but in code that may assign to them, which changes `a`.
    """
    if inplace:
        return change_or_refuse(a, "put", lambda: put(a, ind, v, mode, inplace=False))
    array = as_array(a, "put")
    positions = reshape(beside(ind, array), -1)
    values = reshape(as_values(array, v, "put"), -1)
    if mode not in (None, "wrap", "clip"):
        if mode == "raise":
            raise NotImplementedError("The 'raise' mode to jnp.put is not supported.")
        raise ValueError(f"mode should be one of 'wrap' or 'clip'; got mode={mode!r}")
    if not array.size or not positions.size or not values.size:
        return array
    if mode == "wrap":
        positions = positions % array.size
    elif mode == "clip":
        positions = e.clip(positions, 0, array.size - 1)
    else:
        (positions,) = unravel_index(positions, array.size)
    values = _repeat(values, positions.shape[0])
    flat = reshape(array, -1).at[positions].set(values)
    return reshape(flat, array.shape)


def _repeat(values: Array, length: int) -> Array:
    """Return a vector of that length, of `values` again and again."""
    count = -(-length // values.shape[0])
    return reshape(broadcast_to(values, (count, values.shape[0])), -1)[:length]


def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = True) -> Array:
    """Return an array with the elements where `mask` holds replaced by `vals` in turn, which are repeated to fit."""
    if inplace:
        return change_or_refuse(arr, "place", lambda: place(arr, mask, vals, inplace=False))
    array = as_array(arr, "place")
    chosen = reshape(require_bool(beside(mask, array), "place"), -1)
    values = reshape(as_values(array, vals, "place"), -1)
    if array.size != chosen.size:
        raise ValueError("place: arr and mask must be the same size")
    if not values.size:
        raise ValueError("Cannot place values from an empty array")
    if not array.size:
        return array
    number = primitives.cumsum(cast(chosen, default_dtype(INTEGER))) - 1
    taken = primitives.take(values, number % values.shape[0], axis=0)
    result = e.where(chosen, taken, reshape(array, -1))
    return reshape(_keep_integer(result, dtype_name(array)), array.shape)


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = True) -> Array:
    """Return an array with the diagonal replaced by `val`, which is repeated to fit.

    Parameters
    ----------
    a : array
        Of at least two axes; of more than two, all of one size.
    val : number or array
        The new elements.
    wrap : bool
        Not supported.
    inplace : bool
        It has to be False, since Arrays are immutable: but in code that may assign to them, which changes `a`.
    """
    if inplace:
        return change_or_refuse(a, "fill_diagonal", lambda: fill_diagonal(a, val, wrap, inplace=False))
    if wrap:
        raise NotImplementedError("wrap=True is not implemented, must be False")
    array = as_array(a, "fill_diagonal")
    if array.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if array.ndim > 2 and len(set(array.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    n = min(array.shape)
    values = as_values(array, val, "fill_diagonal")
    positions = arange(n, device=array.device)
    return array.at[(positions,) * array.ndim].set(values if not values.ndim else _repeat(reshape(values, -1), n))
