"""`pad`, in all its modes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.array import renewed
from gradkit.core.operands import as_array, cast, dtype_name, require_fit
from gradkit.core.promotion import is_inexact
from gradkit.numpy import comparing, formulas
from gradkit.numpy.arguments import in_dtype_of
from gradkit.numpy.choosing import apply_along_axis
from gradkit.numpy.products import matmul
from gradkit.numpy.rearranging import flip
from gradkit.numpy.statistics import median
from gradkit.primitives import pad_index
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import arange, asarray

__all__ = ["pad"]

Width = tuple[int, int]


def pad(array: Any, pad_width: Any, mode: str | Callable[..., Any] = "constant", **kwargs: Any) -> Array:
    """Put elements before and behind the ones of an array.

    Parameters
    ----------
    array : array
        Of any shape.
    pad_width : int, pair, or one pair for each axis, or a dict from axes to either
        How many elements to put before and behind.
    mode : str or callable
        What to put there. "constant": `constant_values`; "edge": the outermost element; "linear_ramp": a line that
        ends at `end_values`; "maximum", "mean", "median", "minimum": that of the `stat_length` outermost elements
        (by default of all); "reflect": the mirror image without the outermost element; "symmetric": with it; "wrap":
        what is at the other end; "empty": anything (here 0). A function ``f(vector, width, axis, kwargs)`` returns each
        padded vector.
    **kwargs
        `constant_values`, `end_values`, `stat_length`, each given as `pad_width` is, or `reflect_type`: "even", or
        "odd" for the point reflection in the outermost element.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.pad(jnp.asarray([1.0, 2.0, 3.0]), (1, 2), mode="reflect")
    Array([2., 1., 2., 3., 2., 1.], dtype=float32)
    """
    x = as_array(array, "pad")
    widths = _widths(pad_width, x.ndim)
    if callable(mode):
        return _pad_by_function(x, widths, mode, kwargs)
    if mode not in OPTIONS:
        raise NotImplementedError(f"Unimplemented padding mode {mode!r} for np.pad.")
    unknown = set(kwargs) - set(OPTIONS[mode])
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode {mode!r}: {sorted(unknown)}")
    if mode == "empty" or (mode == "constant" and _is_zero(kwargs.get("constant_values", 0))):
        return _pad_with_zeros(x, widths)
    if mode in ("edge", "wrap", "reflect", "symmetric"):
        return _pad_by_position(x, widths, mode, kwargs.get("reflect_type", "even"))
    if mode == "constant":
        return _pad_with_constants(x, widths, kwargs["constant_values"])
    if mode == "linear_ramp":
        return _pad_with_ramps(x, widths, kwargs.get("end_values", 0))
    return _pad_with_statistics(x, widths, mode, kwargs.get("stat_length"))


OPTIONS: dict[str, tuple[str, ...]] = {
    "constant": ("constant_values",),
    "linear_ramp": ("end_values",),
    **dict.fromkeys(("edge", "wrap", "empty"), ()),
    **dict.fromkeys(("maximum", "mean", "median", "minimum"), ("stat_length",)),
    **dict.fromkeys(("reflect", "symmetric"), ("reflect_type",)),
}


def _pairs(value: Any, ndim: int, name: str) -> list[tuple[Any, Any]]:
    """Return what is given once, as a pair, or as a pair for each axis, as the latter."""
    if comparing.ndim(value) == 0:
        return [(value, value)] * ndim
    rows = list(value)
    if all(comparing.ndim(row) == 0 for row in rows):
        if len(rows) in (1, 2):
            return [(rows[0], rows[-1])] * ndim
    elif len(rows) in (1, ndim) and all(comparing.ndim(row) == 1 and len(row) in (1, 2) for row in rows):
        pairs = [(row[0], row[-1]) for row in rows]
        return pairs * ndim if len(pairs) == 1 else pairs
    raise ValueError(f"jnp.pad: {name} with {ndim=} has unsupported shape: {value}")


def _widths(pad_width: Any, ndim: int) -> list[Width]:
    if isinstance(pad_width, dict):
        widths: list[Any] = [(0, 0)] * ndim
        for axis, width in pad_width.items():
            widths[operator.index(axis)] = _pairs(width, 1, "pad_width")[0]
    else:
        widths = _pairs(pad_width, ndim, "pad_width")
    try:
        result = [(operator.index(before), operator.index(behind)) for before, behind in widths]
    except TypeError as error:
        raise TypeError(f"`pad_width` must be of integral type, got {pad_width!r}") from error
    if any(number < 0 for width in result for number in width):
        raise ValueError(f"index can't contain negative values, got pad_width={pad_width!r}")
    return result


def _is_zero(value: Any) -> bool:
    return type(value) in (int, float, bool) and value == 0


def _pad_with_zeros(x: Array, widths: Sequence[Width]) -> Array:
    if all(width == (0, 0) for width in widths):
        return renewed(x)
    index = tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape, strict=True))
    shape = tuple(before + size + behind for (before, behind), size in zip(widths, x.shape, strict=True))
    return pad_index(x, index=index, shape=shape)


def _join(x: Array, axis: int, before: Array, behind: Array) -> Array:
    return xp.concat([part for part in (before, x, behind) if part.shape[axis]] or [x], axis=axis)


def _repeat(value: Any, x: Array, axis: int, count: int) -> Array:
    """Return `count` copies of a value, a number or of the shape of `x` but for the axis, along the axis."""
    return xp.broadcast_to(in_dtype_of(x, value, "pad"), (*x.shape[:axis], count, *x.shape[axis + 1 :]))


def _pad_with_constants(x: Array, widths: Sequence[Width], values: Any) -> Array:
    for axis, (width, pair) in enumerate(zip(widths, _pairs(values, x.ndim, "constant_values"), strict=True)):
        x = _join(x, axis, *(_repeat(value, x, axis, count) for value, count in zip(pair, width, strict=True)))
    return x


def _pad_by_position(x: Array, widths: Sequence[Width], mode: str, reflect_type: str) -> Array:
    """Pad with the array's own elements: NumPy pads the positions, and the elements are taken from there."""
    if reflect_type not in ("even", "odd"):
        raise ValueError(f"reflect_type: expected 'even' or 'odd', got {reflect_type!r}")
    for axis, width in enumerate(widths):
        size = x.shape[axis]
        if width == (0, 0):
            continue
        if size == 0:
            raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
        if reflect_type == "odd":
            x = _reflect(x, axis, np.pad(np.eye(size), (width, (0, 0)), mode=mode, reflect_type="odd"))  # type: ignore[call-overload]
        else:
            positions = np.pad(np.arange(size), width, mode=mode)  # type: ignore[call-overload]
            x = xp.take(x, asarray(positions, device=x.device), axis=axis)
    return x


def _reflect(x: Array, axis: int, matrix: Any) -> Array:
    """Pad by the matrix whose product with a vector is the padded vector: the reflection in a point is linear."""
    rows = moveaxis(x, axis, -1)
    product = matmul(rows, xp.matrix_transpose(asarray(matrix.astype(x.dtype), device=x.device)))
    return moveaxis(product, -1, axis)


def _edge(x: Array, axis: int, start: int | None, stop: int | None) -> Array:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _pad_with_ramps(x: Array, widths: Sequence[Width], values: Any) -> Array:
    for axis, ((before, behind), (first, last)) in enumerate(
        zip(widths, _pairs(values, x.ndim, "end_values"), strict=True)
    ):
        left = _ramp(x, axis, first, _edge(x, axis, 0, 1), before)
        right = flip(_ramp(x, axis, last, _edge(x, axis, -1, None), behind), axis=axis)
        x = _join(x, axis, left, right)
    return x


def _ramp(x: Array, axis: int, start: Any, edge: Array, count: int) -> Array:
    """Return `count` numbers on the line from `start` to the edge, which is left out."""
    exact = not is_inexact(dtype_name(x))
    require_fit(dtype_name(x), start, "pad")
    target = cast(edge, "float64" if exact else dtype_name(x))
    share = arange(count, dtype=target.dtype, device=x.device) / max(count, 1)
    share = xp.reshape(share, (-1,) + (1,) * (x.ndim - axis - 1))
    line = start + share * (target - start)
    return xp.astype(xp.trunc(line) if exact else line, x.dtype)


def _pad_with_statistics(x: Array, widths: Sequence[Width], mode: str, lengths: Any) -> Array:
    statistic: Any = {"maximum": xp.max, "mean": xp.mean, "median": median, "minimum": xp.min}[mode]
    pairs = [(None, None)] * x.ndim if lengths is None else _pairs(lengths, x.ndim, "stat_length")
    for axis, (width, pair) in enumerate(zip(widths, pairs, strict=True)):
        size = x.shape[axis]
        limits = [size if length is None else min(operator.index(length), size) for length in pair]
        if any(limit < 1 for limit in limits):
            raise ValueError(f"stat_length of 0 yields no value for padding, got {lengths!r}")
        parts = []
        for part, count in zip(
            (_edge(x, axis, 0, limits[0]), _edge(x, axis, size - limits[1], None)), width, strict=True
        ):
            value = statistic(part, axis=axis, keepdims=True)
            if not is_inexact(dtype_name(x)):
                value = formulas.round(value)
            parts.append(_repeat(value, x, axis, count))
        x = _join(x, axis, *parts)
    return x


def _pad_by_function(x: Array, widths: Sequence[Width], function: Callable[..., Any], options: Any) -> Array:
    result = _pad_with_zeros(x, widths)
    for axis, width in enumerate(widths):
        result = apply_along_axis(function, axis, result, width, axis, options)
    return result
