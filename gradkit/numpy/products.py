"""Products of arrays in the main namespace: sums over pairs of axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.errors import ShapeError
from gradkit.numpy.arguments import axes_of, axis_of, promoted
from gradkit.numpy.rearranging import moveaxis
from gradkit.primitives.elementwise import conj
from gradkit.primitives.linalg import matmul
from gradkit.primitives.manipulation import permute_dims, reshape

__all__ = ["tensordot", "vecdot"]


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """Return the dot products of vectors, ``sum(conj(x1) * x2)`` along an axis.

    Parameters
    ----------
    x1, x2 : array
        Arrays that broadcast but for the axis, whose sizes are equal.
    axis : int
        The axis, counted from the end in the broadcast shape.
    """
    x, y = promoted("vecdot", x1, x2)
    if not x.ndim or not y.ndim:
        raise ValueError(f"vecdot: arguments must have at least one dimension, got shapes {x.shape} and {y.shape}")
    x, y = (moveaxis(array, axis_of(axis, array.ndim, "vecdot"), -1) for array in (x, y))
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"vecdot: vectors must have one size, got {x.shape[-1]} and {y.shape[-1]}")
    product = matmul(conj(reshape(x, (*x.shape[:-1], 1, x.shape[-1]))), reshape(y, (*y.shape, 1)))
    return reshape(product, product.shape[:-2])


def tensordot(x1: Any, x2: Any, /, axes: int | Sequence[Any] = 2) -> Array:
    """Return the sums over products of elements along pairs of axes.

    Parameters
    ----------
    x1, x2 : array
        Of any shape.
    axes : int or pair of (int or sequence of int)
        The axes of each that are summed over; a number n stands for the last n of `x1` and the first n of `x2`.

    Returns
    -------
    Array
        Its axes are those of `x1` that are left, then those of `x2`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.tensordot(jnp.ones((2, 3)), jnp.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    x, y = promoted("tensordot", x1, x2)
    if isinstance(axes, Sequence):
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
    return reshape(matmul(matrix, other), shape)
