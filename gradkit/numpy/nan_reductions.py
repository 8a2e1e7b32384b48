"""Reductions that leave NaN out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name, require_bool
from gradkit.core.promotion import is_complex, is_inexact
from gradkit.numpy.arguments import refuse_out
from gradkit.numpy.cumulative import cumprod, cumsum
from gradkit.numpy.data_types import result_type
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.roots import root_of_squares

__all__ = [
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum",
    "nanvar",
]  # fmt: skip


def _counted(array: Array, where: Any) -> Array | None:
    """Return which elements count: those that are not NaN, and that `where` chooses; None: all."""
    chosen = None if where is None else xp.broadcast_to(require_bool(as_array(where, "where"), "where"), array.shape)
    if not is_inexact(dtype_name(array)):
        return chosen
    present = xp.logical_not(xp.isnan(array))
    return present if chosen is None else present & chosen


def _fill(array: Array, counted: Array | None, value: Any) -> Array:
    return array if counted is None else xp.where(counted, array, value)


def _total(name: str, what: str, reduce: Callable[..., Array], pair: Callable[..., Array], unit: int) -> Any:
    def total(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Array:
        refuse_out(out, name)
        array = as_array(a, name)
        result = reduce(_fill(array, _counted(array, where), unit), axis=axis, dtype=dtype, keepdims=keepdims)
        return result if initial is None else pair(result, initial)

    total.__name__ = total.__qualname__ = name
    total.__doc__ = (
        f"Return the {what} of what is not NaN, over axes (None: all); the arguments are those of `{name[3:]}`."
    )
    return total


nansum = _total("nansum", "sum", xp.sum, xp.add, 0)
nanprod = _total("nanprod", "product", xp.prod, xp.multiply, 1)


def nanmax(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Array:
    """Return the largest element that is not NaN, over axes (None: all); NaN where there is none.

    Parameters
    ----------
    a : array
        Of real numbers.
    axis : int, tuple of int or None
        The axes to reduce; None: all.
    out : None
        Not supported.
    keepdims : bool
        Keep the reduced axes with size 1.
    initial : number, optional
        The least result; it is needed with `where`.
    where : array of bool, optional
        Which elements to look at.
    """
    return _extremum("nanmax", xp.max, xp.maximum, -math.inf, a, axis, out, keepdims, initial, where)


def nanmin(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Array:
    """Return the smallest element that is not NaN, over axes (None: all); see `nanmax`."""
    return _extremum("nanmin", xp.min, xp.minimum, math.inf, a, axis, out, keepdims, initial, where)


def _extremum(
    name: str,
    reduce: Callable[..., Array],
    pair: Callable[..., Array],
    worst: float,
    a: Any,
    axis: Any,
    out: None,
    keepdims: bool,
    initial: Any,
    where: Any,
) -> Array:
    refuse_out(out, name)
    array = as_array(a, name)
    if where is not None and initial is None:
        raise ValueError(
            f"reduction operation {name} does not have an identity, so to use a where mask one has to specify 'initial'"
        )
    counted = _counted(array, where)
    if counted is not None:
        array = _fill(array, counted, worst if is_inexact(dtype_name(array)) else _worst_integer(array, worst))
    result = reduce(array, axis=axis, keepdims=keepdims)
    if initial is not None:
        return pair(result, initial)
    if counted is None:
        return result
    return xp.where(xp.any(counted, axis=axis, keepdims=keepdims), result, math.nan)


def _worst_integer(array: Array, worst: float) -> Any:
    if array.dtype.kind == "b":
        return worst > 0
    limits = np.iinfo(array.dtype)
    return int(limits.min if worst < 0 else limits.max)


def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False, where: Any = None
) -> Array:
    """Return the mean of what is not NaN, over axes (None: all); NaN where there is nothing."""
    refuse_out(out, "nanmean")
    array = _floating(a, dtype, "nanmean")
    count = _count(array, axis, keepdims, where)
    total = nansum(array, axis, keepdims=keepdims, where=where)
    return xp.where(count > 0, total / xp.where(count > 0, count, 1), math.nan)


def _floating(a: Any, dtype: Any, caller: str) -> Array:
    array = as_array(a, caller)
    if dtype is not None:
        array = xp.astype(array, dtype)
    return array if is_inexact(dtype_name(array)) else cast(array, result_type(array, 1.0).name)


def _count(array: Array, axis: Any, keepdims: bool, where: Any) -> Array:
    counted = _counted(array, where)
    assert counted is not None
    return xp.sum(xp.astype(counted, xp.real(array).dtype), axis=axis, keepdims=keepdims)


def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Array:
    """Return the variance of what is not NaN, over axes.

    Parameters
    ----------
    a : array
        Of any shape.
    axis : int, tuple of int or None
        The axes to reduce; None: all.
    dtype : dtype, optional
        The dtype to compute in.
    out : None
        Not supported.
    ddof : int
        What to take off the number of elements in the divisor.
    keepdims : bool
        Keep the reduced axes with size 1.
    where : array of bool, optional
        Which elements to look at.
    mean : array, optional
        The mean, where it is known, with the reduced axes.

    Returns
    -------
    Array
        NaN where no more than `ddof` elements are left.
    """
    rest, freedom = _spread("nanvar", a, axis, dtype, out, ddof, keepdims, where, mean)
    square = xp.real(rest * xp.conj(rest)) if is_complex(rest.dtype) else xp.square(rest)
    total = xp.sum(square, axis=axis, keepdims=keepdims)
    return xp.where(freedom > 0, total / xp.where(freedom > 0, freedom, 1), math.nan)


def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Array:
    """Return the standard deviation of what is not NaN, over axes; the arguments are those of `nanvar`."""
    rest, freedom = _spread("nanstd", a, axis, dtype, out, ddof, keepdims, where, mean)
    root = root_of_squares(rest, normalize_axes(axis, rest.ndim, "nanstd"), keepdims)
    return xp.where(freedom > 0, root / xp.sqrt(xp.where(freedom > 0, freedom, 1)), math.nan)


def _spread(
    caller: str, a: Any, axis: Any, dtype: Any, out: None, ddof: int, keepdims: bool, where: Any, mean: Any
) -> tuple[Array, Array]:
    """Return the distances from the mean, 0 for what does not count, and the divisor of their squares."""
    refuse_out(out, caller)
    array = _floating(a, dtype, caller)
    center = nanmean(array, axis, keepdims=True, where=where) if mean is None else mean
    counted = _counted(array, where)
    assert counted is not None
    return xp.where(counted, array - center, 0), _count(array, axis, keepdims, where) - ddof


def nanargmax(a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Array:
    """Return the position of the largest element that is not NaN; -1 where there is none."""
    return _position("nanargmax", xp.argmax, -math.inf, a, axis, out, keepdims)


def nanargmin(a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Array:
    """Return the position of the smallest element that is not NaN; -1 where there is none."""
    return _position("nanargmin", xp.argmin, math.inf, a, axis, out, keepdims)


def _position(name: str, find: Any, worst: float, a: Any, axis: Any, out: None, keepdims: bool | None) -> Array:
    refuse_out(out, name)
    array = as_array(a, name)
    counted = _counted(array, None)
    found: Array = find(_fill(array, counted, worst), axis=axis, keepdims=bool(keepdims))
    if counted is None:
        return found
    return xp.where(xp.any(counted, axis=axis, keepdims=bool(keepdims)), found, -1)


def _running(name: str, what: str, accumulate: Callable[..., Array], unit: int) -> Any:
    def running(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
        refuse_out(out, name)
        array = as_array(a, name)
        return accumulate(_fill(array, _counted(array, None), unit), axis=axis, dtype=dtype)

    running.__name__ = running.__qualname__ = name
    running.__doc__ = f"Return running {what} with NaN counted as {unit}; None: of the flattened array."
    return running


nancumsum = _running("nancumsum", "sums", cumsum, 0)
nancumprod = _running("nancumprod", "products", cumprod, 1)
