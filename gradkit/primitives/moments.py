"""Variance and standard deviation."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name, require_inexact
from gradkit.core.promotion import is_complex
from gradkit.primitives import elementwise as e
from gradkit.primitives.axes import Axis, normalize_axes
from gradkit.primitives.creation import ones_like
from gradkit.primitives.manipulation import astype
from gradkit.primitives.reductions import mean as mean_of
from gradkit.primitives.reductions import refuse_out, sum

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
    refuse_out(out, "var")
    if ddof is not None and correction is not None:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    less = next((number for number in (ddof, correction) if number is not None), 0)
    array = require_inexact(as_array(a, "var"))
    name = dtype_name(array)
    if dtype is not None:
        array = astype(array, dtype)
    if dtype_name(array) in ("float16", "bfloat16"):
        # A square of 256 is more than half precision holds.
        array = cast(array, "float32")
    axes = normalize_axes(axis, array.ndim, "var")
    center = mean_of(array, axis=axes, keepdims=True, where=where) if mean is None else mean
    distance = e.subtract(array, center)
    squares = e.real(e.multiply(distance, e.conj(distance))) if is_complex(array.dtype) else e.square(distance)
    if where is None:
        count: Any = math.prod(array.shape[a] for a in axes) - less
        total = sum(squares, axis=axes, keepdims=keepdims)
        # Nothing divided by nothing is not a number.
        result = e.divide(total, count) if count > 0 else e.multiply(total, math.nan)
    else:
        taking_part = e.logical_and(where, ones_like(array, dtype="bool"))
        count = e.subtract(cast(sum(taking_part, axis=axes, keepdims=keepdims), dtype_name(squares)), less)
        total = sum(squares, axis=axes, keepdims=keepdims, where=where)
        result = e.where(count > 0, e.divide(total, e.where(count > 0, count, 1)), math.nan)
    if dtype is None and name in ("float16", "bfloat16"):
        return cast(result, name)
    if dtype is not None and not is_complex(array.dtype):
        return astype(result, dtype)
    return result


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
    return e.sqrt(
        var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction),
    )
