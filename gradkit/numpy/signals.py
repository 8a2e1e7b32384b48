"""Functions of sampled functions: convolution, interpolation, differences, integrals."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gradkit import primitives
from gradkit.core import Array
from gradkit.core.operands import as_array, as_operand, require_inexact
from gradkit.core.precision import check_precision
from gradkit.core.promotion import is_complex, letter_of
from gradkit.numpy.arguments import beside, in_dtype_of, promote_args
from gradkit.numpy.comparing import ndim
from gradkit.numpy.cumulative import cumsum
from gradkit.numpy.data_types import finfo
from gradkit.numpy.padding import pad
from gradkit.numpy.sorting import argsort, searchsorted
from gradkit.primitives.axes import axes_of, axis_of
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import asarray
from gradkit.primitives.sliding import sliding_product

__all__ = ["convolve", "correlate", "diff", "ediff1d", "gradient", "interp", "trapezoid", "unwrap"]


# Convolution


def convolve(a: Any, v: Any, mode: str = "full", *, precision: Any = None, preferred_element_type: Any = None) -> Array:
    """Convolve two vectors.

    Parameters
    ----------
    a : array, shape (n,)
        The one.
    v : array, shape (m,)
        The other.
    mode : {"full", "same", "valid"}
        What to return: every overlap (n + m - 1 elements), as many as the longer vector has, or complete overlaps.
    precision : optional
        Accepted; sums of products along a vector keep all bits.
    preferred_element_type : dtype, optional
        The dtype to compute in.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.convolve(jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([1.0, 10.0]))
    Array([ 1., 12., 23., 30.], dtype=float32)
    """
    check_precision(precision, "convolve")
    x, y = _vectors("convolve", a, v, preferred_element_type)
    if x.shape[0] < y.shape[0]:
        x, y = y, x
    return _slid(x, y[::-1], mode)


def correlate(
    a: Any, v: Any, mode: str = "valid", *, precision: Any = None, preferred_element_type: Any = None
) -> Array:
    """Correlate two vectors: slide the conjugate of `v` along `a`; the arguments are those of `convolve`."""
    check_precision(precision, "correlate")
    x, y = _vectors("correlate", a, v, preferred_element_type)
    y = primitives.conj(y)
    if x.shape[0] < y.shape[0]:
        return _slid(y, x, mode)[::-1]
    return _slid(x, y, mode)


def _vectors(caller: str, a: Any, v: Any, dtype: Any) -> list[Array]:
    vectors = promote_args(caller, a, v, inexact=dtype is None)
    if dtype is not None:
        vectors = [primitives.astype(vector, dtype) for vector in vectors]
    if any(vector.ndim != 1 for vector in vectors):
        raise ValueError(f"{caller}() only support 1-dimensional inputs, got {[x.shape for x in vectors]}")
    if any(vector.shape[0] == 0 for vector in vectors):
        raise ValueError(f"{caller}: inputs cannot be empty, got shapes {[x.shape for x in vectors]}")
    return vectors


def _slid(x: Array, y: Array, mode: str) -> Array:
    width = y.shape[0]
    if mode == "full":
        x = pad(x, width - 1)
    elif mode == "same":
        x = pad(x, (width // 2, width - width // 2 - 1))
    elif mode != "valid":
        raise ValueError(f"mode must be one of ['full', 'same', 'valid'], got {mode!r}")
    return sliding_product(x, y)


# Interpolation


def _listed(values: Any, like: Array | None) -> Any:
    """Return a list of numbers, or NumPy's array, as an Array beside another one; what else there is as it is."""
    if not isinstance(values, list | tuple | np.ndarray):
        return values
    return asarray(values, device=None if like is None else like.device)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Array:
    """Interpolate linearly between points.

    Parameters
    ----------
    x : array
        Where to interpolate, of any shape.
    xp : array, shape (n,)
        The points' positions, in ascending order unless `period` is given.
    fp : array, shape (n,)
        The values there.
    left, right : number or "extrapolate", optional
        The values outside of the points, by default those at the ends.
    period : number, optional
        The period of `x`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.interp(jnp.asarray([0.5, 3.0]), jnp.asarray([0.0, 1.0]), jnp.asarray([10.0, 20.0]))
    Array([15., 20.], dtype=float32)
    """
    like = next((array for array in (x, xp, fp) if type(array) is Array), None)
    x, xp, fp = (_listed(values, like) for values in (x, xp, fp))
    x_array, positions = promote_args("interp", x, xp, inexact=True)
    values = require_inexact(as_array(fp, "interp"))
    if positions.shape != values.shape or positions.ndim != 1:
        raise ValueError(
            f"xp and fp must be one-dimensional arrays of equal size, got shapes {positions.shape} and {values.shape}"
        )
    if is_complex(x_array.dtype):
        raise ValueError("jnp.interp: complex x values not supported.")
    for name, side in (("left", left), ("right", right)):
        if isinstance(side, str) and side != "extrapolate":
            raise ValueError(f"the only valid string value of `{name}` is 'extrapolate', but got: {side!r}")
    if period is not None:
        period = primitives.abs(beside(period, x_array))
        x_array, positions = x_array % period, positions % period
        order = argsort(positions)
        positions, values = primitives.take(positions, order), primitives.take(values, order)
        positions = primitives.concat([positions[-1:] - period, positions, positions[:1] + period])
        values = primitives.concat([values[-1:], values, values[:1]])
    upper = primitives.clip(searchsorted(positions, x_array, side="right"), 1, positions.shape[0] - 1)
    start, end = primitives.take(positions, upper - 1), primitives.take(positions, upper)
    low, high = primitives.take(values, upper - 1), primitives.take(values, upper)
    width = end - start
    empty = primitives.abs(width) <= float(finfo(positions.dtype).tiny)
    slope = (high - low) / primitives.where(empty, 1, width)
    result = primitives.where(empty, low, low + (x_array - start) * slope)
    if period is None:
        if not isinstance(left, str):
            result = primitives.where(x_array < positions[0], values[0] if left is None else left, result)
        if not isinstance(right, str):
            result = primitives.where(x_array > positions[-1], values[-1] if right is None else right, result)
    return result


# Differences


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Array:
    """Return differences of neighbours along an axis, `n` times.

    Parameters
    ----------
    a : array
        With at least one axis.
    n : int
        How often to take differences.
    axis : int
        The axis.
    prepend, append : array or number, optional
        What to put before and behind `a` first.
    """
    array = as_array(a, "diff")
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    if array.ndim == 0:
        raise ValueError(f"diff requires input that is at least one dimensional; got {a}")
    axis = axis_of(axis, array.ndim, "diff")
    if n == 0:
        return array
    parts = []
    for part in (prepend, array, append):
        if part is not None:
            edge = part if part is array else beside(part, array)
            if edge.ndim == 0:
                edge = primitives.broadcast_to(edge, (*array.shape[:axis], 1, *array.shape[axis + 1 :]))
            parts.append(edge)
    array = parts[0] if len(parts) == 1 else primitives.concat(parts, axis=axis)
    for _ in range(operator.index(n)):
        later, earlier = _part(array, axis, 1, None), _part(array, axis, None, -1)
        array = later != earlier if letter_of(array.dtype) == "b" else later - earlier
    return array


def _part(x: Array, axis: int, start: int | None, stop: int | None) -> Array:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Array:
    """Return differences of neighbours in the flattened array, with numbers before and behind them."""
    array = primitives.reshape(as_array(ary, "ediff1d"), -1)
    ends = [
        [] if end is None else [primitives.reshape(in_dtype_of(array, end, "ediff1d"), -1)]
        for end in (to_begin, to_end)
    ]
    result = array[1:] - array[:-1]
    return primitives.concat([*ends[0], result, *ends[1]]) if ends != [[], []] else result


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int | None = None) -> Any:
    """Return the derivative of a sampled function by central differences, and one-sided ones at the ends.

    (For exact derivatives there is `gradkit.grad`.)

    Parameters
    ----------
    f : array
        The function's values, of any shape.
    *varargs : number or array, shape (n,)
        The distance of samples, or their positions: one for all axes, or one for each. By default 1.
    axis : int, tuple of int or None
        The axes; None: all.
    edge_order : None
        Not supported.

    Returns
    -------
    Array or list of Array
        One array of the shape of `f` for each axis.
    """
    if edge_order is not None:
        raise NotImplementedError("The 'edge_order' argument to jnp.gradient is not supported.")
    array, *spacing = promote_args("gradient", f, *varargs, inexact=True)
    axes = axes_of(axis, array.ndim, "gradient")
    if any(array.shape[number] < 2 for number in axes):
        raise ValueError(
            f"Shape of array too small to calculate a numerical gradient, at least 2 elements are required; got "
            f"{array.shape}"
        )
    if len(spacing) not in (0, 1, len(axes)):
        raise TypeError(f"Invalid number of spacing arguments {len(spacing)} for {axis=}")
    alone: list[Any] = spacing or [1.0]
    steps = spacing if len(spacing) == len(axes) else alone * len(axes)
    slopes = [_slope(array, step, number) for step, number in zip(steps, axes, strict=True)]
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(f: Array, h: Any, axis: int) -> Array:
    first, last = _part(f, axis, 1, 2) - _part(f, axis, 0, 1), _part(f, axis, -1, None) - _part(f, axis, -2, -1)
    below, here, above = _part(f, axis, 0, -2), _part(f, axis, 1, -1), _part(f, axis, 2, None)
    if ndim(h) == 0:
        return primitives.concat([first / h, (above - below) * 0.5 / h, last / h], axis=axis)
    if h.shape != (f.shape[axis],):
        raise ValueError(
            f"Spacing arrays must have the same length as the dimension along which the gradient is calculated: "
            f"expected {(f.shape[axis],)}, got {h.shape}"
        )
    width = primitives.reshape(diff(h), (-1,) + (1,) * (f.ndim - axis - 1))
    before, behind = width[:-1], width[1:]
    inner = (
        -behind / (before * (before + behind)) * below
        + (behind - before) / (before * behind) * here
        + before / (behind * (before + behind)) * above
    )
    return primitives.concat([first / width[:1], inner, last / width[-1:]], axis=axis)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """Integrate a sampled function along an axis by the trapezoidal rule.

    Parameters
    ----------
    y : array
        The function's values.
    x : array, optional
        Their positions: of the shape of `y`, or a vector along `axis`.
    dx : number or array
        The distance of samples, where there is no `x`.
    axis : int
        The axis.
    """
    if x is None:
        values = require_inexact(as_array(y, "trapezoid"))
        width = as_operand(dx, "trapezoid") if not isinstance(dx, list | tuple) else beside(dx, values)
        if type(width) is Array and width.ndim:
            width = primitives.reshape(width, (1,) * (values.ndim - width.ndim) + width.shape)
            width = moveaxis(width, axis, -1)
    else:
        values, positions = promote_args("trapezoid", y, x, inexact=True)
        width = diff(positions) if positions.ndim == 1 else moveaxis(diff(positions, axis=axis), axis, -1)
    values = moveaxis(values, axis, -1)
    return 0.5 * primitives.sum(width * (values[..., 1:] + values[..., :-1]), axis=-1)


def unwrap(p: Any, discont: Any = None, axis: int = -1, period: Any = 2 * math.pi) -> Array:
    """Add multiples of a period so that neighbours differ by no more than half of it.

    Parameters
    ----------
    p : array
        Angles, or other numbers with a period.
    discont : number, optional
        The least difference that is changed; half the period at least.
    axis : int
        The axis.
    period : number
        The period.
    """
    array = require_inexact(as_array(p, "unwrap")) if isinstance(period, float) else as_array(p, "unwrap")
    half = period / 2 if letter_of(array.dtype) == "f" else period // 2
    least = half if discont is None else discont
    axis = axis_of(axis, array.ndim, "unwrap")
    step = diff(array, axis=axis)
    wrapped = (step + half) % period - half
    wrapped = primitives.where((wrapped == -half) & (step > 0), half, wrapped)
    change = primitives.where(primitives.abs(step) < least, 0, wrapped - step)
    rest = _part(array, axis, 1, None) + cumsum(change, axis=axis)
    return primitives.concat([_part(array, axis, None, 1), rest], axis=axis)
