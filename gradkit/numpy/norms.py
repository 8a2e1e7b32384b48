"""Norms of vectors and matrices, and what is read off singular values: condition numbers and ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, require_inexact
from gradkit.core.promotion import limits_of, real_part_of
from gradkit.errors import ShapeError
from gradkit.primitives import decompositions, solvers
from gradkit.primitives import elementwise as e
from gradkit.primitives.axes import axes_of, normalize_axes
from gradkit.primitives.manipulation import astype, expand_dims, moveaxis, reshape, squeeze
from gradkit.primitives.reductions import any as any_of
from gradkit.primitives.reductions import count_nonzero
from gradkit.primitives.reductions import max as max_of
from gradkit.primitives.reductions import min as min_of
from gradkit.primitives.reductions import sum as sum_of
from gradkit.primitives.roots import root_of_squares

__all__ = ["cond", "matrix_norm", "matrix_rank", "norm", "vector_norm"]

Axis = int | Sequence[int] | None


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return norms of vectors or matrices.

    Parameters
    ----------
    x : array
        Of any shape.
    ord : number or {"fro", "nuc"}, optional
        Which norm, as `vector_norm` and `matrix_norm` take it. By default the root of the sum of squares.
    axis : int or pair of int, optional
        The axis of the vectors, or those of the matrices' rows and columns. By default the whole array is one vector
        or matrix.
    keepdims : bool
        Whether the axes stay, with size 1.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.linalg.norm(jnp.asarray([3.0, 4.0]))
    Array(5., dtype=float32)
    """
    array = require_inexact(as_array(x, "norm"))
    if axis is None and ord is None:
        return _root_of_squares(array, None, keepdims)
    axes = axes_of(axis, array.ndim, "norm")
    if len(axes) == 1:
        return vector_norm(array, axis=axes[0], keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) == 2:
        return _matrix_norm(array, axes, keepdims, "fro" if ord is None else ord)
    raise ValueError(
        f"Improper number of axes for norm: axis={axes}. Pass one axis to compute a vector-norm, or two axes to "
        f"compute a matrix-norm."
    )


def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> Array:
    """Return norms of vectors.

    Parameters
    ----------
    x : array
        Of any shape.
    axis : int or tuple of int, optional
        Along which axes the vectors are; by default the whole array is one.
    keepdims : bool
        Whether the axes stay, with size 1.
    ord : number
        p, for the p-th root of the sum of p-th powers; inf and -inf are the largest and the least absolute value, 0 is
        the number of elements that are not 0.
    """
    array = require_inexact(as_array(x, "vector_norm"))
    if ord is None or ord == 2:
        return _root_of_squares(array, axis, keepdims)
    if isinstance(ord, str):
        raise ValueError(f"Invalid order '{ord}' for vector norm.")
    if ord == 0:
        return astype(count_nonzero(array, axis=axis, keepdims=keepdims), real_part_of(array.dtype.name))
    sizes = e.abs(array)
    if ord == math.inf:
        return max_of(sizes, axis=axis, keepdims=keepdims, initial=0)
    if ord == -math.inf:
        return min_of(sizes, axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum_of(sizes, axis=axis, keepdims=keepdims)
    return _root_of_powers(sizes, ord, axis, keepdims)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """Return norms of the matrices in the last two axes.

    Parameters
    ----------
    x : array, shape (..., m, n)
        The matrices.
    keepdims : bool
        Whether the axes stay, with size 1.
    ord : {"fro", "nuc", 1, -1, 2, -2, inf, -inf}
        "fro" is the root of the sum of squares, "nuc" the sum of the singular values; 2 and -2 are the largest and the
        least of those, 1 and -1 the largest and the least sum of absolute values of a column, inf and -inf of a row.
    """
    array = require_inexact(as_array(x, "matrix_norm"))
    if array.ndim < 2:
        raise ShapeError(f"matrix_norm: x must have at least 2 dimensions, got shape {array.shape}")
    return _matrix_norm(array, (array.ndim - 2, array.ndim - 1), keepdims, "fro" if ord is None else ord)


def _root_of_squares(array: Array, axis: Axis, keepdims: bool) -> Array:
    return root_of_squares(array, normalize_axes(axis, array.ndim, "norm"), keepdims)


def _root_of_powers(sizes: Array, order: Any, axis: Axis, keepdims: bool) -> Array:
    """Return the root of the sum of powers; those that overflow or underflow are taken over the size that decides."""
    if 0 in sizes.shape or not abs(order) < math.inf:
        return e.pow(sum_of(e.pow(sizes, order), axis=axis, keepdims=keepdims), 1.0 / order)
    decisive = (max_of if order > 0 else min_of)(sizes.detach(), axis=axis, keepdims=True)
    info = limits_of(sizes.dtype)
    reach = 0.5 / max(1.0, abs(order))
    ordinary = e.logical_and(decisive >= float(info.tiny) ** reach, decisive <= float(info.max) ** reach)
    unusable = e.logical_or(e.equal(decisive, 0), e.logical_not(e.isfinite(decisive)))
    scale = e.where(e.logical_or(ordinary, unusable), 1.0, decisive)
    root = e.pow(sum_of(e.pow(sizes / scale, order), axis=axis, keepdims=keepdims), 1.0 / order)
    return root * reshape(scale, root.shape)


def _largest(x: Array, axis: int, keepdims: bool = True) -> Array:
    return max_of(x, axis=axis, keepdims=keepdims, initial=0)


# By order: the axis that is summed over (0 for that of the rows, 1 for that of the columns), and what is taken then.
_SUMS: dict[Any, tuple[int, Callable[..., Array]]] = {
    1: (0, _largest),
    -1: (0, min_of),
    math.inf: (1, _largest),
    -math.inf: (1, min_of),
}
_OF_SINGULAR_VALUES: dict[Any, Callable[..., Array]] = {2: _largest, -2: min_of, "nuc": sum_of}


def _matrix_norm(array: Array, axes: Sequence[int], keepdims: bool, ord: Any) -> Array:
    if ord in ("f", "fro"):
        return _root_of_squares(array, axes, keepdims)
    if ord in _SUMS:
        which, reduce = _SUMS[ord]
        sums = sum_of(e.abs(array), axis=axes[which], keepdims=True)
        result = reduce(sums, axis=axes[1 - which], keepdims=True)
        return result if keepdims else squeeze(result, axis=tuple(axes))
    if ord in _OF_SINGULAR_VALUES:
        values = decompositions.svdvals(moveaxis(array, axes, (-2, -1)))
        result = _OF_SINGULAR_VALUES[ord](values, axis=-1, keepdims=False)
        return expand_dims(result, axis=tuple(sorted(axes))) if keepdims else result
    raise ValueError(f"Invalid order '{ord}' for matrix norm.")


def cond(x: Any, p: Any = None) -> Array:
    """Return condition numbers of matrices.

    Parameters
    ----------
    x : array, shape (..., m, n)
        The matrices; square ones, unless `p` is None, 2 or -2.
    p : optional
        The norm, as `matrix_norm` takes it; None is 2.
    """
    array = require_inexact(as_array(x, "cond"))
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise ValueError(f"cond: x must be matrices with elements, got shape {array.shape}")
    if p in (None, 2):
        values = decompositions.svdvals(array)
        return values[..., 0] / values[..., -1]
    if p == -2:
        values = decompositions.svdvals(array)
        result = values[..., -1] / values[..., 0]
    else:
        if array.shape[-2] != array.shape[-1]:
            raise ValueError(f"cond: for p={p!r}, x must be square, got shape {array.shape}")
        result = matrix_norm(array, ord=p) * matrix_norm(solvers.inv(array), ord=p)
    # A singular matrix makes it NaN: that is infinity, unless there was a NaN before.
    singular = e.logical_and(e.isnan(result), e.logical_not(any_of(e.isnan(array), axis=(-2, -1))))
    return e.where(singular, math.inf, result)


def matrix_rank(M: Any, rtol: Any = None, *, hermitian: bool = False, tol: Any = None) -> Array:
    """Return ranks of matrices: the number of singular values above a bound.

    Parameters
    ----------
    M : array, shape (..., m, n)
        The matrices.
    rtol : number or array, optional
        The bound. By default the largest singular value times ``max(m, n)`` times the dtype's epsilon.
    hermitian : bool
        Whether the matrices are Hermitian, so that their eigenvalues serve.
    tol : number or array, optional
        Another name of `rtol`.
    """
    if tol is not None and rtol is not None:
        raise ValueError("matrix_rank: only one of tol or rtol may be specified.")
    bound = tol if rtol is None else rtol
    array = require_inexact(as_array(M, "matrix_rank"))
    if array.ndim < 2:
        return astype(any_of(e.not_equal(array, 0)), "int32")
    values = e.abs(decompositions.eigvalsh(array)) if hermitian else decompositions.svdvals(array)
    if bound is None:
        epsilon = float(limits_of(values.dtype).eps)
        limit = max_of(values, axis=-1, keepdims=True) * (max(array.shape[-2:]) * epsilon)
        return count_nonzero(e.greater(values, limit), axis=-1)
    limit = as_array(bound, "matrix_rank")
    return count_nonzero(e.greater(values, expand_dims(limit, axis=-1)), axis=-1)
