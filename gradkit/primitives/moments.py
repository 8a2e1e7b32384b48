"""Variance and standard deviation."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name, require_inexact
from gradkit.core.promotion import is_complex, real_part_of
from gradkit.primitives import elementwise as e
from gradkit.primitives.axes import Axis, normalize_axes
from gradkit.primitives.creation import ones_like
from gradkit.primitives.manipulation import astype, reshape
from gradkit.primitives.reductions import mean as mean_of
from gradkit.primitives.reductions import refuse_out, sum
from gradkit.primitives.roots import root_of_squares

__all__ = ["std", "var"]


def var(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: int | float | None = None,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: int | float | None = None,
) -> Array:
    """Return the variance over axes: the mean squared distance from the mean.

    Parameters
    ----------
    a : array
        Of any shape. The variance of complex numbers is real.
    axis : int, tuple of int or None
        The axes; None: all.
    dtype : dtype, optional
        The dtype of the result.
    out : None
        Not supported: Arrays are immutable.
    ddof, correction : number, optional
        What is subtracted from the number of elements before it divides: 1 for the unbiased estimate. They are two
        names of one thing.
    keepdims : bool
        Keep the reduced axes with size 1.
    where : array of bool, optional
        Which elements take part.
    mean : array, optional
        The mean, where it is known already, with the reduced axes of size 1.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.var(jnp.asarray([1.0, 2.0, 3.0]), correction=1)
    Array(1., dtype=float32)
    """
    squares, name, axes, count = _spread("var", a, axis, dtype, out, ddof, where, mean, correction)
    squares = e.real(e.multiply(squares, e.conj(squares))) if is_complex(squares.dtype) else e.square(squares)
    total = sum(squares, axis=axes, keepdims=keepdims)
    return _in_dtype(_divide(total, count, keepdims), name)


def std(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: None = None,
    ddof: int | float | None = None,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: int | float | None = None,
) -> Array:
    """Return the standard deviation over axes, the root of `var`; see there for the parameters.

    Where all elements are equal there is no derivative: it is NaN, as in JAX.
    """
    distance, name, axes, count = _spread("std", a, axis, dtype, out, ddof, where, mean, correction)
    if type(count) is not Array and count > 0:
        return _in_dtype(root_of_squares(distance, axes, keepdims, count), name)
    root = root_of_squares(distance, axes, keepdims)
    return _in_dtype(_divide(root, e.sqrt(count) if type(count) is Array else count, keepdims), name)


def _spread(
    caller: str, a: Any, axis: Axis, dtype: Any, out: Any, ddof: Any, where: Any, mean: Any, correction: Any
) -> tuple[Array, str, tuple[int, ...], Any]:
    """Return the distances from the mean, 0 for what takes no part, the result's dtype, the axes, and the divisor.

    The divisor is a number, or, with `where`, an Array with the axes of size 1.
    """
    refuse_out(out, caller)
    if ddof is not None and correction is not None:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    less = next((number for number in (ddof, correction) if number is not None), 0)
    array = require_inexact(as_array(a, caller))
    if dtype is not None:
        array = astype(array, dtype)
    name = dtype_name(array)
    if name in ("float16", "bfloat16"):
        # A square of 256 is more than half precision holds.
        array = cast(array, "float32")
    axes = normalize_axes(axis, array.ndim, caller)
    center = mean_of(array, axis=axes, keepdims=True, where=where) if mean is None else mean
    distance = require_inexact(e.subtract(array, center))
    kept = dtype is not None or dtype_name(array) != name
    result = real_part_of(name if kept else dtype_name(distance))
    if where is None:
        return distance, result, axes, math.prod(array.shape[a] for a in axes) - less
    taking_part = e.logical_and(where, ones_like(array, dtype="bool"))
    count = cast(sum(taking_part, axis=axes, keepdims=True), real_part_of(dtype_name(distance)))
    return e.where(taking_part, distance, 0), result, axes, e.subtract(count, less)


def _divide(total: Array, count: Any, keepdims: bool) -> Array:
    """Divide by a count; nothing divided by nothing is not a number."""
    if type(count) is not Array:
        return e.divide(total, count) if count > 0 else e.multiply(total, math.nan)
    if not keepdims:
        count = reshape(count, total.shape)
    return e.where(count > 0, e.divide(total, e.where(count > 0, count, 1)), math.nan)


def _in_dtype(result: Array, name: str) -> Array:
    return result if dtype_name(result) == name else cast(result, name)
