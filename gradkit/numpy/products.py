"""Products of arrays in the main namespace: sums over pairs of axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.errors import ShapeError
from gradkit.numpy.arguments import promote_args
from gradkit.numpy.preferred import in_preferred
from gradkit.primitives import linalg
from gradkit.primitives.axes import axes_of, axis_of
from gradkit.primitives.elementwise import conj
from gradkit.primitives.manipulation import moveaxis, permute_dims, reshape

__all__ = ["dot", "matmul", "tensordot", "vecdot"]


def matmul(
    a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None, out_sharding: None = None
) -> Array:
    """Multiply matrices; leading axes are batches and broadcast.

    Parameters
    ----------
    a : array, shape (..., n, k) or (k,)
        The left factor.
    b : array, shape (..., k, m) or (k,)
        The right factor.
    precision : object
        How exactly products of float32 are computed: see `gradkit.default_matmul_precision`.
    preferred_element_type : dtype, optional
        The dtype of the result, and of the sums where it holds what the factors hold.
    out_sharding : None
        Not supported.

    Returns
    -------
    Array, shape (..., n, m)
        Without the axis of a factor that was a vector.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> x = jnp.asarray([100, 100], dtype="int8")
    >>> jnp.matmul(x, x, preferred_element_type="int32")
    Array(20000, dtype=int32)
    """
    return in_preferred("matmul", linalg.matmul, (a, b), preferred_element_type, precision, out_sharding)


def dot(
    a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None, out_sharding: None = None
) -> Array:
    """Multiply as `numpy.dot` does: the last axis of `a` with the last but one of `b`.

    Parameters
    ----------
    a : array, shape (..., k)
        The left factor.
    b : array, shape (..., k, m) or (k,)
        The right factor.
    precision, preferred_element_type, out_sharding
        As for `matmul`.

    Returns
    -------
    Array, shape (..., ..., m)
        The axes that are left of `a`, then those of `b`. (`matmul` pairs the leading axes.) With a number it is the
        product.
    """
    return in_preferred("dot", linalg.dot, (a, b), preferred_element_type, precision, out_sharding)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """Return the dot products of vectors, ``sum(conj(x1) * x2)`` along an axis.

    Parameters
    ----------
    x1, x2 : array
        Arrays that broadcast but for the axis, whose sizes are equal.
    axis : int
        The axis, counted from the end in the broadcast shape.
    precision, preferred_element_type
        As for `matmul`.
    """
    return in_preferred("vecdot", lambda x, y: _vecdot(x, y, axis), (x1, x2), preferred_element_type, precision)


def _vecdot(x1: Any, x2: Any, axis: int) -> Array:
    x, y = promote_args("vecdot", x1, x2)
    if not x.ndim or not y.ndim:
        raise ValueError(f"vecdot: arguments must have at least one dimension, got shapes {x.shape} and {y.shape}")
    x, y = (moveaxis(array, axis_of(axis, array.ndim, "vecdot"), -1) for array in (x, y))
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"vecdot: vectors must have one size, got {x.shape[-1]} and {y.shape[-1]}")
    product = linalg.matmul(conj(reshape(x, (*x.shape[:-1], 1, x.shape[-1]))), reshape(y, (*y.shape, 1)))
    return reshape(product, product.shape[:-2])


def tensordot(
    a: Any,
    b: Any,
    axes: int | Sequence[Any] = 2,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: None = None,
) -> Array:
    """Return the sums over products of elements along pairs of axes.

    Parameters
    ----------
    a, b : array
        Of any shape.
    axes : int or pair of (int or sequence of int)
        The axes of each that are summed over; a number n stands for the last n of `a` and the first n of `b`.
    precision, preferred_element_type, out_sharding
        As for `matmul`.

    Returns
    -------
    Array
        Its axes are those of `a` that are left, then those of `b`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.tensordot(jnp.ones((2, 3)), jnp.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    return in_preferred(
        "tensordot", lambda x, y: _tensordot(x, y, axes), (a, b), preferred_element_type, precision, out_sharding
    )


def _tensordot(x1: Any, x2: Any, axes: Any) -> Array:
    x, y = promote_args("tensordot", x1, x2)
    if isinstance(axes, Sequence) or getattr(axes, "ndim", 0) > 0:
        if len(axes) != 2:
            raise TypeError(f"tensordot axes argument must be an int, or a pair, got {axes}")
        left, right = axes_of(axes[0], x.ndim, "tensordot"), axes_of(axes[1], y.ndim, "tensordot")
    else:
        count = operator.index(axes)
        if not 0 <= count <= min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: axes={count} exceeds the dimensions of shapes {x.shape} and {y.shape}")
        left, right = tuple(range(x.ndim - count, x.ndim)), tuple(range(count))
    sizes = [x.shape[a] for a in left]
    if sizes != [y.shape[a] for a in right]:
        raise ShapeError(f"tensordot: x1 {x.shape} and x2 {y.shape} have other sizes along axes {left} and {right}")
    rows = [a for a in range(x.ndim) if a not in left]
    columns = [a for a in range(y.ndim) if a not in right]
    shape = (*(x.shape[a] for a in rows), *(y.shape[a] for a in columns))
    count = math.prod(sizes)
    matrix = reshape(permute_dims(x, (*rows, *left)), (math.prod(x.shape[a] for a in rows), count))
    other = reshape(permute_dims(y, (*right, *columns)), (count, math.prod(y.shape[a] for a in columns)))
    return reshape(linalg.matmul(matrix, other), shape)
