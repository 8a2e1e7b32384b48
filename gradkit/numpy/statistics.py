"""Averages, covariances and quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name, require_inexact
from gradkit.core.promotion import FLOATING, default_dtype, is_complex, is_inexact
from gradkit.core.sharding import refuse_sharding
from gradkit.numpy.arguments import beside, promote_args, refuse_out
from gradkit.numpy.cumulative import cumsum
from gradkit.numpy.products import matmul
from gradkit.numpy.sorting import argsort, sort, take_along_axis
from gradkit.primitives.axes import axes_of
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import asarray, full_like, ones_like
from gradkit.primitives.roots import root_of_squares

__all__ = [
    "amax", "amin", "average", "corrcoef", "cov", "median", "nanmedian", "nanpercentile", "nanquantile", "percentile",
    "ptp", "quantile",
]  # fmt: skip

METHODS = ("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf")


def ptp(a: Any, axis: Any = None, out: None = None, keepdims: bool = False) -> Array:
    """Return the range from the smallest to the largest element over axes (None: all)."""
    refuse_out(out, "ptp")
    array = as_array(a, "ptp")
    return xp.max(array, axis=axis, keepdims=keepdims) - xp.min(array, axis=axis, keepdims=keepdims)


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """Return the weighted mean over axes.

    Parameters
    ----------
    a : array
        Of any shape.
    axis : int, tuple of int or None
        The axes to average over; None: all.
    weights : array, optional
        Of the shape of `a`, or of the sizes of `axis`.
    returned : bool
        Whether to return the sum of the weights as well.
    keepdims : bool
        Keep the averaged axes with size 1.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.average(jnp.asarray([1.0, 2.0, 4.0]), weights=jnp.asarray([2.0, 1.0, 1.0]))
    Array(2., dtype=float32)
    """
    if weights is None:
        array = require_inexact(as_array(a, "average"))
        result = xp.mean(array, axis=axis, keepdims=keepdims)
        total = full_like(result, array.size // max(result.size, 1))
    else:
        array, w = promote_args("average", a, weights, inexact=True)
        w = _along(array, w, axis, "average")
        total = xp.sum(w, axis=axis, keepdims=keepdims)
        result = xp.sum(array * w, axis=axis, keepdims=keepdims) / total
        total = xp.broadcast_to(total, result.shape)
    return (result, total) if returned else result


def _along(array: Array, weights: Array, axis: Any, caller: str) -> Array:
    """Return weights for the axes `axis` in the shape of `array`."""
    if weights.shape == array.shape:
        return weights
    if axis is None:
        raise ValueError(f"{caller}: axis must be specified when shapes of a and weights differ")
    axes = axes_of(axis, array.ndim, caller)
    if weights.shape != tuple(array.shape[number] for number in axes):
        raise ValueError(
            f"{caller}: weights of shape {weights.shape} do not fit the axes {axes} of a, of shape {array.shape}"
        )
    order = sorted(range(len(axes)), key=axes.__getitem__)
    sizes = tuple(size if number in axes else 1 for number, size in enumerate(array.shape))
    return xp.broadcast_to(xp.reshape(xp.permute_dims(weights, tuple(order)), sizes), array.shape)


# Covariance


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    dtype: Any = None,
) -> Array:
    """Return the covariance matrix.

    Parameters
    ----------
    m : array, shape (variables, observations) or (observations,)
        The observations; the other way round without `rowvar`.
    y : array, optional
        More variables, in the same form.
    rowvar : bool
        Whether each row is a variable.
    bias : bool
        Whether to divide by the number of observations rather than by one less.
    ddof : int, optional
        What to take off that number instead.
    fweights : array of int, optional
        How often each observation was made.
    aweights : array, optional
        How important each observation is.
    dtype : dtype, optional
        The dtype to compute in.

    Returns
    -------
    Array, shape (variables, variables)
        Of no axes for one variable.
    """
    x = _observations(m, y, rowvar, dtype)
    variables, observations = x.shape
    if variables == 0:
        return xp.reshape(x, (0, 0))
    if ddof is None:
        ddof = 0 if bias else 1
    count: Any
    w = _observation_weights(x, fweights, aweights)
    if observations == 0:
        return xp.squeeze(full_like(x, math.nan, shape=(variables, variables)))
    if w is None:
        mean, count = xp.mean(x, axis=1, keepdims=True), observations - ddof
    else:
        total = xp.sum(w)
        mean = xp.sum(x * w, axis=1, keepdims=True) / total
        count = (
            total - ddof if aweights is None else total - ddof * xp.sum(w * xp.abs(as_array(aweights, "cov"))) / total
        )
    x = x - mean
    product = matmul(x, xp.conj(xp.matrix_transpose(x if w is None else x * w)))
    return xp.squeeze(product / count)


def _observations(m: Any, y: Any, rowvar: bool, dtype: Any) -> Array:
    """Return all variables, one a row."""
    given = promote_args("cov", m, *(() if y is None else (y,)), inexact=True)
    if any(array.ndim > 2 for array in given):
        raise ValueError(f"cov: m and y must have at most 2 dimensions, got {[array.shape for array in given]}")
    rows = [_variables(array, rowvar) for array in given]
    x = rows[0] if len(rows) == 1 else xp.concat(rows, axis=0)
    return x if dtype is None else xp.astype(x, dtype)


def _variables(array: Array, rowvar: bool) -> Array:
    if array.ndim < 2:
        return xp.reshape(array, (1, -1))
    return array if rowvar else xp.matrix_transpose(array)


def _observation_weights(x: Array, fweights: Any, aweights: Any) -> Array | None:
    result = None
    for name, weights in (("fweights", fweights), ("aweights", aweights)):
        if weights is None:
            continue
        array = as_array(weights, "cov")
        if array.ndim != 1:
            raise RuntimeError(f"cannot handle multidimensional {name}")
        if array.shape[0] != x.shape[1]:
            raise RuntimeError(f"incompatible numbers of samples and {name}: {x.shape[1]} and {array.shape[0]}")
        if name == "fweights" and array.dtype.kind not in "iu":
            raise TypeError(f"fweights must be integer, got {array.dtype}")
        array = xp.abs(array)
        result = array if result is None else result * array
    return None if result is None else xp.astype(result, x.dtype)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: Any = None) -> Array:
    """Return the matrix of Pearson's correlation coefficients; the arguments are those of `cov`."""
    rows = _observations(x, y, rowvar, dtype)
    if 0 in rows.shape:
        return cov(rows)
    # Each variable over its own size first, so that no square overflows.
    distance = rows - xp.mean(rows, axis=1, keepdims=True)
    size = xp.astype(root_of_squares(distance, (1,), keepdims=True), rows.dtype)
    if rows.shape[0] == 1:
        return xp.squeeze(size / size)
    unit = distance / size
    c = matmul(unit, xp.conj(xp.matrix_transpose(unit)))
    if is_complex(c.dtype):
        return xp.clip(xp.real(c), -1, 1) + 1j * xp.clip(xp.imag(c), -1, 1)
    return xp.clip(c, -1, 1)


# Quantiles


def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Array:
    """Return quantiles over axes; NaN where an element is NaN.

    Parameters
    ----------
    a : array
        Of real numbers, of any shape.
    q : number or array, shape (k,)
        Which quantiles, from 0 to 1.
    axis : int, tuple of int or None
        The axes to reduce; None: all.
    out : None
        Not supported.
    overwrite_input : bool
        Not supported.
    method : {"linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf"}
        What to return between two elements.
    keepdims : bool
        Keep the reduced axes with size 1.
    weights : array, optional
        For the method "inverted_cdf": of the shape of `a`, or of the sizes of `axis`.

    Returns
    -------
    Array
        The axis of `q`, if it has one, comes first.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.quantile(jnp.asarray([1.0, 2.0, 4.0, 8.0]), jnp.asarray([0.25, 0.5]))
    Array([1.75, 3.  ], dtype=float32)
    """
    _refuse_overwrite(out, overwrite_input, "quantile")
    return _quantile(a, q, axis, method, keepdims, weights, False, "quantile")


def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    out_sharding: None = None,
) -> Array:
    """Return percentiles: `quantile` with `q` from 0 to 100."""
    refuse_sharding(out_sharding, "percentile")
    _refuse_overwrite(out, overwrite_input, "percentile")
    return _quantile(a, _hundredth(q), axis, method, keepdims, weights, False, "percentile")


def median(a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False) -> Array:
    """Return the median over axes (None: all): the mean of the two in the middle for an even number."""
    _refuse_overwrite(out, overwrite_input, "median")
    return _quantile(a, 0.5, axis, "midpoint", keepdims, None, False, "median")


def nanmedian(
    a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Array:
    """Return the median of what is not NaN; see `median`."""
    _refuse_overwrite(out, overwrite_input, "nanmedian")
    return _quantile(a, 0.5, axis, "midpoint", keepdims, None, True, "nanmedian")


def _without_nan(name: str, position_of: Callable[[Any], Any]) -> Callable[..., Array]:
    def quantiles(
        a: Any,
        q: Any,
        axis: Any = None,
        out: None = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: bool = False,
        *,
        weights: Any = None,
    ) -> Array:
        _refuse_overwrite(out, overwrite_input, name)
        return _quantile(a, position_of(q), axis, method, keepdims, weights, True, name)

    quantiles.__name__ = quantiles.__qualname__ = name
    quantiles.__doc__ = f"Return {name[3:]}s of what is not NaN; see `{name[3:]}`."
    return quantiles


def _refuse_overwrite(out: Any, overwrite_input: bool, caller: str) -> None:
    if out is not None or overwrite_input:
        raise ValueError(f"jax.numpy.{caller} does not support overwrite_input=True or out != None")


def _hundredth(q: Any) -> Any:
    return require_inexact(q) / 100 if type(q) is Array else np.asarray(q) / 100


nanquantile = _without_nan("nanquantile", lambda q: q)
nanpercentile = _without_nan("nanpercentile", _hundredth)


def _quantile(
    a: Any, q: Any, axis: Any, method: str, keepdims: bool, weights: Any, ignore_nan: bool, caller: str
) -> Array:
    if method not in METHODS:
        raise ValueError(f"{caller}: method must be one of {', '.join(METHODS)}, got {method!r}")
    if weights is not None and method != "inverted_cdf":
        raise NotImplementedError(f"{method} doesn't support weights. Only method 'inverted_cdf' supports weights.")
    array = require_inexact(as_array(a, caller))
    if is_complex(array.dtype):
        raise ValueError(f"{caller}: quantiles of complex numbers are not defined, got {array.dtype}")
    probability = q if type(q) is Array else asarray(q, dtype=array.dtype, device=array.device)
    if probability.ndim > 1:
        raise ValueError(f"{caller}: q must have at most 1 dimension, got shape {probability.shape}")
    if not is_inexact(dtype_name(probability)):
        probability = cast(probability, default_dtype(FLOATING))
    axes = axes_of(axis, array.ndim, caller)
    rows = _rows(array, axes)
    # NaN goes to the end, behind everything that counts.
    missing = xp.isnan(rows)
    filled = xp.where(missing, math.inf, rows)
    size = rows.shape[-1]
    if size == 0:
        raise ValueError(f"{caller}: a of shape {array.shape} has no elements along axis {axes}")
    valid = xp.sum(xp.astype(~missing, "int32"), axis=-1, keepdims=True)
    count = valid if ignore_nan else size
    wanted = xp.reshape(probability, -1)
    if method == "inverted_cdf":
        w = (
            None
            if weights is None
            else _rows(_along(array, require_inexact(beside(weights, array)), axis, caller), axes)
        )
        result, bad = _by_distribution(filled, missing, w, wanted, count)
    else:
        result, bad = _between_neighbours(sort(filled, axis=-1), wanted, count, method), None
    undefined = valid == 0 if ignore_nan else valid < size
    result = xp.where(undefined if bad is None else undefined | bad, math.nan, result)
    kept = tuple(1 if number in axes else n for number, n in enumerate(array.shape)) if keepdims else rows.shape[:-1]
    result = xp.reshape(moveaxis(result, -1, 0), (*probability.shape, *kept))
    return xp.astype(result, array.dtype)


def _rows(array: Array, axes: tuple[int, ...]) -> Array:
    """Return an array with the axes `axes` joined to one, the last."""
    kept = [number for number in range(array.ndim) if number not in axes]
    moved = xp.permute_dims(array, (*kept, *axes))
    return xp.reshape(moved, (*moved.shape[: len(kept)], math.prod(moved.shape[len(kept) :])))


def _between_neighbours(ordered: Array, probability: Array, count: Any, method: str) -> Array:
    """Return quantiles along the last axis of sorted rows, of which the first `count` elements count."""
    position = probability * (count - 1)
    low, high = xp.floor(position), xp.ceil(position)
    share = position - low
    last = count - 1
    furthest = max(last, 0) if type(last) is int else xp.maximum(last, 0)
    low_value, high_value = (_pick(ordered, xp.clip(cast(edge, "int32"), 0, furthest)) for edge in (low, high))
    if method == "lower":
        return low_value
    if method == "higher":
        return high_value
    if method == "nearest":
        return xp.where(share <= 0.5, low_value, high_value)
    if method == "midpoint":
        return (low_value + high_value) * 0.5
    # Where there is nothing to interpolate, what is infinite on the other side does not matter.
    between = low_value * (1 - share) + xp.where(share == 0, 0, high_value) * share
    return xp.where(share == 0, low_value, between)


def _pick(rows: Array, positions: Array) -> Array:
    """Take from the last axis: the same positions of all rows, or each row's own."""
    if positions.ndim == 1:
        return xp.take(rows, positions, axis=-1)
    return take_along_axis(rows, positions, axis=-1)


def _by_distribution(
    rows: Array, missing: Array, weights: Array | None, probability: Array, count: Any
) -> tuple[Array, Array]:
    """Return quantiles by the inverse of the weighted distribution function, and where a weight makes no sense."""
    w = ones_like(rows) if weights is None else weights
    bad = (w < 0) | xp.isnan(w)
    w = xp.where(bad | missing, 0, w)
    order = argsort(rows, axis=-1)
    ordered, cumulated = (
        take_along_axis(rows, order, axis=-1),
        cumsum(take_along_axis(w, order, axis=-1), axis=-1),
    )
    target = cumulated[..., -1:] * probability
    below = xp.expand_dims(cumulated, axis=-2) < xp.expand_dims(target, axis=-1)
    positions = xp.sum(cast(below, "int32"), axis=-1)
    last = xp.maximum(count - 1, 0)
    return take_along_axis(ordered, xp.clip(positions, 0, last), axis=-1), xp.any(bad, axis=-1, keepdims=True)


def amax(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Array:
    """Return the largest element over axes: another name of `max`."""
    return xp.max(a, axis=axis, out=out, keepdims=keepdims, initial=initial, where=where)


def amin(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Array:
    """Return the smallest element over axes: another name of `min`."""
    return xp.min(a, axis=axis, out=out, keepdims=keepdims, initial=initial, where=where)
