"""Ranges and grids: evenly spaced numbers, and the coordinates of the points of a grid."""

from __future__ import annotations

import math
import operator
from typing import Any

from numpy import index_exp, s_

from gradkit import primitives as xp
from gradkit.backend import Device
from gradkit.core import Array
from gradkit.core.operands import as_arrays, dtype_name
from gradkit.core.promotion import dtype_named, is_inexact, letter_of
from gradkit.numpy.arguments import promote_args
from gradkit.numpy.joining import stack
from gradkit.primitives.new_arrays import arange, asarray, broadcast_arrays, full_like, zeros

__all__ = ["c_", "geomspace", "index_exp", "linspace", "logspace", "meshgrid", "mgrid", "ogrid", "r_", "s_"]


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Device | None = None,
) -> Any:
    """Return evenly spaced numbers.

    Parameters
    ----------
    start, stop : number or array
        The first and the last number; arrays that broadcast give a range for each pair. They have derivatives.
    num : int
        How many numbers.
    endpoint : bool
        Whether `stop` is one of them.
    retstep : bool
        Whether to return the step as well.
    dtype : dtype, optional
        By default the floating dtype in which `start` and `stop` meet; an integer dtype rounds down.
    axis : int
        The axis of the result along which the numbers lie.
    device : Device, optional
        Where the result should be.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.linspace(0.0, 1.0, 5)
    Array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    count = operator.index(num)
    if count < 0:
        raise ValueError(f"Number of samples, {count}, must be non-negative.")
    first, last = _bounds("linspace", start, stop, dtype, device)
    axis = axis + first.ndim + 1 if axis < 0 else axis
    parts = max(count - 1 if endpoint else count, 0)
    share = arange(parts, dtype=xp.real(first).dtype, device=first.device) / max(parts, 1)
    share = xp.reshape(share, (-1,) + (1,) * (first.ndim - axis))
    if count == 1:
        result = xp.expand_dims(first, axis=axis)
    else:
        low, high = xp.expand_dims(first, axis=axis), xp.expand_dims(last, axis=axis)
        result = low * (1 - share) + high * share
        if endpoint and count:
            result = xp.concat([result, high], axis=axis)
    step = (last - first) / parts if parts else full_like(first, math.nan)
    if dtype is not None:
        if letter_of(dtype_named(dtype)) in "iu" and is_inexact(dtype_name(result)):
            result = xp.floor(result)
        result = xp.astype(result, dtype)
    return (result, step) if retstep else result


def _bounds(caller: str, start: Any, stop: Any, dtype: Any, device: Device | None) -> list[Array]:
    """Return both ends in the dtype to compute in, broadcast."""
    ends = [_end(value, device) for value in (start, stop)]
    like = [] if dtype is None else [zeros((), dtype=dtype, device=device)]
    ends = promote_args(caller, *ends, *like, inexact=True)[:2]
    return list(broadcast_arrays(*ends))


def _end(value: Any, device: Device | None) -> Any:
    if isinstance(value, int | float | complex) and device is None:
        return value
    return asarray(value, device=device)


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Array:
    """Return `base` to the power of evenly spaced numbers; the other arguments are those of `linspace`."""
    powers = linspace(start, stop, num, endpoint, False, None, axis)
    result = xp.pow(base, powers)
    return result if dtype is None else xp.astype(result, dtype)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Array:
    """Return numbers with a constant ratio, from `start` to `stop`; the arguments are those of `linspace`.

    Of two negative numbers the numbers between are negative; complex ones lie on a spiral.
    """
    first, last = _bounds("geomspace", start, stop, dtype, None)
    sign = xp.sign(first) if first.dtype.kind == "c" else xp.where(first < 0, -1, 1)
    sign = xp.astype(sign, first.dtype)
    low, high = first / sign, last / sign
    powers = linspace(xp.log10(low), xp.log10(high), num, endpoint, False, None, axis)
    axis = axis + first.ndim + 1 if axis < 0 else axis
    result = xp.expand_dims(sign, axis=axis) * xp.pow(10.0, powers)
    # The ends exactly, which the logarithms have rounded.
    lead = (slice(None),) * axis
    ends = [xp.expand_dims(first, axis=axis)] if num else []
    if endpoint and num > 1:
        result = xp.concat([*ends, result[(*lead, slice(1, -1))], xp.expand_dims(last, axis=axis)], axis=axis)
    else:
        result = xp.concat([*ends, result[(*lead, slice(1, None))]], axis=axis)
    return result if dtype is None else xp.astype(result, dtype)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Array, ...]:
    """Return the coordinates of the points of a grid.

    Parameters
    ----------
    *xi : array, shape (n_i,)
        The coordinates along each axis.
    copy : bool
        Ignored: Arrays are immutable.
    sparse : bool
        Whether to leave the arrays as small as they broadcast from.
    indexing : {"xy", "ij"}
        Whether the first coordinate varies along the second axis, as on paper, or along the first.

    Returns
    -------
    tuple of Array
        One array for each coordinate, of shape (n_1, n_0, n_2, ...) with "xy" and (n_0, n_1, ...) with "ij".
    """
    arrays = as_arrays(xi, "meshgrid")
    if indexing not in ("xy", "ij"):
        raise ValueError(f"Valid values for indexing are 'xy' and 'ij', got {indexing}")
    if any(array.ndim > 1 for array in arrays):
        raise ValueError(f"Arguments to jax.numpy.meshgrid must be at most 1D, got shapes {[a.shape for a in arrays]}")
    positions = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        positions[:2] = 1, 0
    results = [
        xp.reshape(array, (1,) * position + (-1,) + (1,) * (len(arrays) - position - 1))
        for array, position in zip(arrays, positions, strict=True)
    ]
    return tuple(results) if sparse or not results else broadcast_arrays(*results)


# Grids and joins by index


def _range(part: slice) -> Array:
    """Return the numbers that a slice means; an imaginary step is how many, the last one included."""
    start = 0 if part.start is None else part.start
    if isinstance(part.step, complex):
        result: Array = linspace(start, part.stop, int(abs(part.step)))
        return result
    return arange(start, part.stop, 1 if part.step is None else part.step)


class Grid:
    """``mgrid[0:3, 0:1:5j]``: the coordinates of a grid's points, stacked; ``ogrid`` gives them unstacked and small."""

    def __init__(self, sparse: bool) -> None:
        self.sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return _range(key)
        ranges = promote_args("mgrid", *(_range(part) for part in key)) if key else []
        grid = meshgrid(*ranges, indexing="ij", sparse=self.sparse)
        if self.sparse:
            return grid
        return stack(grid) if grid else zeros((0,))


class Joiner:
    """``r_[0:3, 7, x]``: slices, numbers and arrays joined along an axis; ``c_`` joins them as columns.

    A first entry ``"axis,ndim,position"`` says along which axis, with how many axes at least, and where those that are
    added do not go.
    """

    def __init__(self, axis: int, ndim: int, position: int) -> None:
        self.directive = axis, ndim, position

    def __getitem__(self, key: Any) -> Array:
        parts = key if isinstance(key, tuple) else (key,)
        axis, ndim, position = self.directive
        if parts and isinstance(parts[0], str):
            if parts[0] in ("r", "c"):
                raise NotImplementedError(f"r_ and c_ make no matrices, got {parts[0]!r}")
            numbers = [int(number) for number in parts[0].split(",")]
            axis, ndim, position = (*numbers, *(0, 1, -1)[len(numbers) :])[:3]
            parts = parts[1:]
        if not parts:
            raise ValueError("need at least one array to concatenate")
        arrays = [_widen(part, ndim, position) for part in parts]
        return xp.concat(arrays, axis=axis)


def _widen(part: Any, ndim: int, position: int) -> Array:
    array = _range(part) if isinstance(part, slice) else asarray(part)
    missing = ndim - array.ndim
    if missing <= 0:
        return array
    # Where the first of the array's own axes goes among all of them.
    before = min(position % (missing + 1) if position >= 0 else max(position + missing + 1, 0), missing)
    return xp.reshape(array, (*(1,) * before, *array.shape, *(1,) * (missing - before)))


mgrid = Grid(sparse=False)
ogrid = Grid(sparse=True)
r_ = Joiner(0, 1, -1)
c_ = Joiner(-1, 2, 0)
