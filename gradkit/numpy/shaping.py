"""Shapes: axes moved, turned and added; diagonals and triangles of matrices."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from sys import _getframe
from typing import Any

import numpy as np

from gradkit import primitives as xp
from gradkit.backend import Device
from gradkit.core import Array
from gradkit.core.operands import as_array, as_arrays
from gradkit.core.sharding import refuse_sharding
from gradkit.core.sizes import whole_numbers
from gradkit.core.values import host
from gradkit.numpy.contractions import diagonal
from gradkit.numpy.rearranging import flip
from gradkit.primitives import pad_index
from gradkit.primitives.axes import axes_of, axis_of
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import arange, eye, zeros
from gradkit.primitives.parts import is_asked, note_reshaped, selection

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "diag", "diagflat", "fliplr", "flipud", "identity", "ravel", "resize",
    "rollaxis", "rot90", "swapaxes", "tri", "tril", "trim_zeros", "triu",
]  # fmt: skip


def ravel(a: Any, order: str = "C", *, out_sharding: None = None) -> Array:
    """Return the elements in one axis: row by row, or column by column with ``order="F"``."""
    refuse_sharding(out_sharding, "ravel")
    array = as_array(a, "ravel")
    if order not in ("C", "F"):
        raise ValueError(f"ravel: order must be 'C' or 'F', got {order!r}")
    result = xp.reshape(array if order == "C" else xp.permute_dims(array), -1)
    if order == "C" and is_asked(_getframe(1)):
        note_reshaped(result, array)
    return result


def _at_least(arys: Sequence[Any], caller: str, shaped: Any) -> Any:
    arrays = as_arrays(arys, caller)
    results = [xp.reshape(array, shaped(array.shape)) for array in arrays]
    if is_asked(_getframe(2)):
        for array, result in zip(arrays, results, strict=True):
            note_reshaped(result, array)
    return results[0] if len(results) == 1 else results


def atleast_1d(*arys: Any) -> Any:
    """Return arrays with one axis at least."""
    return _at_least(arys, "atleast_1d", lambda shape: shape or (1,))


def atleast_2d(*arys: Any) -> Any:
    """Return arrays with two axes at least: a vector becomes a row."""
    return _at_least(arys, "atleast_2d", lambda shape: (1,) * (2 - len(shape)) + shape)


def atleast_3d(*arys: Any) -> Any:
    """Return arrays with three axes at least: a vector of n has the shape (1, n, 1), a matrix gets a last axis."""
    return _at_least(
        arys,
        "atleast_3d",
        lambda shape: (1, *shape, *(1,) * (2 - len(shape))) if len(shape) < 2 else shape + (1,) * (3 - len(shape)),
    )


@selection
def swapaxes(a: Any, axis1: int, axis2: int) -> Array:
    """Exchange two axes."""
    array = as_array(a, "swapaxes")
    order = list(range(array.ndim))
    first, second = axis_of(axis1, array.ndim, "swapaxes"), axis_of(axis2, array.ndim, "swapaxes")
    order[first], order[second] = second, first
    return xp.permute_dims(array, tuple(order))


@selection
def rollaxis(a: Any, axis: int, start: int = 0) -> Array:
    """Move an axis to before the one at `start`."""
    array = as_array(a, "rollaxis")
    axis = axis_of(axis, array.ndim, "rollaxis")
    if not -array.ndim <= start <= array.ndim:
        raise ValueError(f"{start=} must satisfy {-array.ndim}<=start<={array.ndim}")
    start = start + array.ndim if start < 0 else start
    return moveaxis(array, axis, start - 1 if start > axis else start)


@selection
def flipud(m: Any) -> Array:
    """Reverse the first axis."""
    array = as_array(m, "flipud")
    if array.ndim < 1:
        raise ValueError(f"flipud requires an array of at least 1 dimension, got shape {array.shape}")
    return flip(array, axis=0)


@selection
def fliplr(m: Any) -> Array:
    """Reverse the second axis."""
    array = as_array(m, "fliplr")
    if array.ndim < 2:
        raise ValueError(f"fliplr requires an array of at least 2 dimensions, got shape {array.shape}")
    return flip(array, axis=1)


@selection
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """Turn an array `k` times by 90 degrees, from the first of two axes towards the second."""
    array = as_array(m, "rot90")
    if array.ndim < 2:
        raise ValueError(f"rot90 requires its first argument to have ndim at least two, got shape {array.shape}")
    first, second = axes_of(axes, array.ndim, "rot90")
    k = operator.index(k) % 4
    if k == 2:
        return flip(flip(array, axis=first), axis=second)
    if k == 1:
        return swapaxes(flip(array, axis=second), first, second)
    return array if k == 0 else flip(swapaxes(array, first, second), axis=second)


def resize(a: Any, new_shape: int | Sequence[int]) -> Array:
    """Return an array of another shape: the elements in their order, over again where there are too few."""
    flat = xp.reshape(as_array(a, "resize"), -1)
    shape = whole_numbers(new_shape)
    if any(size < 0 for size in shape):
        raise ValueError(f"all elements of `new_shape` must be non-negative, got {shape}")
    size = math.prod(shape)
    if flat.size == 0 or size == 0:
        return zeros(shape, dtype=flat.dtype, device=flat.device)
    rows = xp.broadcast_to(flat, (-(-size // flat.size), flat.size))
    return xp.reshape(xp.reshape(rows, -1)[:size], shape)


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Array:
    """Take off what is 0 at the front ("f") and the back ("b") along axes (None: all).

    The result's shape depends on the values, so that it cannot be used under `vmap`.
    """
    array = as_array(filt, "trim_zeros")
    axes = axes_of(axis, array.ndim, "trim_zeros")
    trim = trim.lower()
    values = host(array.detach()) != 0
    index = [slice(None)] * array.ndim
    for number in axes:
        present = np.nonzero(values.any(axis=tuple(i for i in range(array.ndim) if i != number)))[0]
        if not present.size:
            index[number] = slice(0, 0) if "f" in trim or "b" in trim else slice(None)
        else:
            index[number] = slice(
                int(present[0]) if "f" in trim else None, int(present[-1]) + 1 if "b" in trim else None
            )
    return array[tuple(index)]


# Diagonals and triangles


def identity(n: int, dtype: Any = None) -> Array:
    """Return the identity matrix of shape (n, n)."""
    return eye(n, dtype=dtype)


def diag(v: Any, k: int = 0) -> Array:
    """Return the matrix with the vector `v` on its k-th diagonal, or the k-th diagonal of the matrix `v`."""
    array = as_array(v, "diag")
    if array.ndim == 1:
        return diagflat(array, k)
    if array.ndim == 2:
        return diagonal(array, offset=k)
    raise ValueError(f"diag input must be 1d or 2d, got shape {array.shape}")


def diagflat(v: Any, k: int = 0) -> Array:
    """Return the matrix with the elements of `v` on its k-th diagonal."""
    flat = xp.reshape(as_array(v, "diagflat"), -1)
    k = operator.index(k)
    size = flat.shape[0] + abs(k)
    # In the flattened matrix a diagonal is every (size + 1)-th element.
    start = k if k >= 0 else -k * size
    index = slice(start, start + (flat.shape[0] - 1) * (size + 1) + 1, size + 1) if flat.shape[0] else slice(0, 0)
    return xp.reshape(pad_index(flat, index=(index,), shape=(size * size,)), (size, size))


def _below(n: int, m: int, k: int, device: Device | None = None) -> Array:
    """Return where a matrix of shape (n, m) is on or below its k-th diagonal."""
    rows, columns = arange(n, device=device), arange(m, device=device)
    return xp.expand_dims(rows + k, axis=1) >= columns


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:
    """Return a matrix of shape (N, M) with ones on and below its k-th diagonal, float32 unless a dtype is given."""
    below = _below(operator.index(N), operator.index(N if M is None else M), operator.index(k))
    return xp.astype(below, "float32" if dtype is None else dtype)


def tril(m: Any, k: int = 0) -> Array:
    """Return matrices with zeros above the k-th diagonal."""
    array = _matrix(m, "tril")
    rows, columns = array.shape[-2:]
    return xp.where(_below(rows, columns, k, array.device), array, 0)


def triu(m: Any, k: int = 0) -> Array:
    """Return matrices with zeros below the k-th diagonal."""
    array = _matrix(m, "triu")
    rows, columns = array.shape[-2:]
    return xp.where(_below(rows, columns, k - 1, array.device), 0, array)


def _matrix(m: Any, caller: str) -> Array:
    array = as_array(m, caller)
    if array.ndim < 2:
        raise ValueError(f"Argument to jax.numpy.{caller} must be at least 2D, got shape {array.shape}")
    return array
