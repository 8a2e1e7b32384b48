"""Reductions over axes: sums, means, extrema, logsumexp."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import INEXACT, NOTHING
from gradkit.core import Array, General, Linear, bind
from gradkit.core.batching import reduction
from gradkit.core.calls import as_array, cast, dtype_name, require_inexact
from gradkit.core.promotion import BOOL, INTEGER, default_dtype, kind_of

__all__ = ["argmax", "argmin", "logsumexp", "max", "mean", "min", "sum"]

Axis = int | Sequence[int] | None


def normalize_axes(axis: Axis, ndim: int, caller: str) -> tuple[int, ...]:
    """Return the axes as sorted non-negative numbers; None stands for all of them."""
    if axis is None:
        return tuple(range(ndim))
    numbers = [operator.index(a) for a in axis] if isinstance(axis, Sequence) else [operator.index(axis)]
    for number in numbers:
        if not -ndim <= number < ndim:
            raise ValueError(f"{caller}: axis {number} is out of bounds for an array of {ndim} dimensions")
    result = sorted({number % ndim for number in numbers})
    if len(result) != len(numbers):
        raise ValueError(f"{caller}: axis {axis} names an axis twice")
    return tuple(result)


def expand(xp: Any, reduced: Any, ndim: int, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Put back the reduced axes with size 1, so that the result broadcasts against what was reduced."""
    if keepdims or reduced.ndim == 0:
        return reduced
    # The cotangent may lack leading axes: it only has to broadcast to the result's shape.
    sizes = list((1,) * (ndim - len(axis) - reduced.ndim) + tuple(reduced.shape))
    for a in axis:
        sizes.insert(a, 1)
    return xp.reshape(reduced, tuple(sizes))


def reduced_shape(x: Any, *, axis: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """Return the shape that is left when the axes `axis` are reduced."""
    if keepdims:
        return tuple(1 if a in axis else size for a, size in enumerate(x.shape))
    return tuple(size for a, size in enumerate(x.shape) if a not in axis)


def _count(shape: tuple[int, ...], axis: tuple[int, ...]) -> int:
    return math.prod(shape[a] for a in axis)


def _divided(g: Any, count: int) -> Any:
    # float16 reaches to 65504 only.
    return g / count if count < 65504 else g * (1 / count)


def _pull_extremum(xp: Any, g: Any, y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    # Ties share the gradient equally, as in JAX.
    chosen = x == expand(xp, y, x.ndim, axis, keepdims)
    ties = xp.sum(xp.astype(chosen, x.dtype), axis=axis, keepdims=True)
    return xp.astype(chosen, x.dtype) * (expand(xp, g, x.ndim, axis, keepdims) / ties)


def _pull_logsumexp(xp: Any, g: Any, y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    # Not exp(x - y), which has lost the digits that y could not hold. Where y is infinite the elements that made it so
    # have no derivative (NaN, as in JAX), and the others 0.
    y = expand(xp, y, x.ndim, axis, keepdims)
    finite = xp.isfinite(y)
    zeros = xp.zeros_like(x)
    infinite = xp.where(finite | (x != y) & ~xp.isnan(y), zeros, zeros + math.nan)
    share = xp.where(finite, xp.exp(xp.log_softmax(xp.where(finite, x, zeros), axis=axis)), infinite)
    return expand(xp, g, x.ndim, axis, keepdims) * share


def _logsumexp(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
    result = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else xp.reshape(result, tuple(n for a, n in enumerate(x.shape) if a not in axis))


_sum = Linear(
    "sum",
    None,
    (lambda xp, g, x, *, axis, keepdims: expand(xp, g, x.ndim, axis, keepdims),),
    small_cotangent=True,
    batch=reduction,
    shape=reduced_shape,
)
_mean = Linear(
    "mean",
    None,
    (lambda xp, g, x, *, axis, keepdims: expand(xp, _divided(g, _count(x.shape, axis)), x.ndim, axis, keepdims),),
    small_cotangent=True,
    aliases=False,
    batch=reduction,
    shape=reduced_shape,
)
_max = General("max", None, (_pull_extremum,), batch=reduction, shape=reduced_shape)
_min = General("min", None, (_pull_extremum,), batch=reduction, shape=reduced_shape)
_logsumexp_primitive = General("logsumexp", _logsumexp, (_pull_logsumexp,), batch=reduction, shape=reduced_shape)
_argmax = General("argmax", None, (None,))
_argmin = General("argmin", None, (None,))


def sum(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Sum over axes.

    Parameters
    ----------
    x : array
        Of any shape.
    axis : int, tuple of int or None
        The axes to sum over; None: all.
    dtype : dtype, optional
        The dtype to sum in. By default that of `x`, or the default integer dtype for bool and narrow integers.
    keepdims : bool
        Keep the summed axes with size 1.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.sum(jnp.ones((2, 3)), axis=0)
    Array([2., 2., 2.], dtype=float32)
    """
    if axis is None and dtype is None and not keepdims and type(x) is Array:
        value = x._value
        if value.dtype in INEXACT.get(type(value), NOTHING):
            return bind(_sum, (x,), _whole(value.ndim))
    array = as_array(x, "sum")
    if dtype is not None:
        from gradkit.primitives.manipulation import astype

        array = astype(array, dtype)
    elif (name := dtype_name(array)) != (wide := _accumulator(name)):
        array = cast(array, wide)
    axes = normalize_axes(axis, array.ndim, "sum")
    result = bind(_sum, (array,), {"axis": axes, "keepdims": keepdims})
    # Libraries sum integers in 64 bits of their own accord.
    name = dtype_name(array)
    return result if dtype_name(result) == name else cast(result, name)


def _accumulator(dtype: str) -> str:
    """Return the dtype that integers of `dtype` are summed in."""
    if kind_of(dtype) > INTEGER or dtype.endswith("64"):
        return dtype
    default = default_dtype(INTEGER)
    if dtype.startswith("uint"):
        return "u" + default
    return default if kind_of(dtype) == BOOL or dtype != "int64" else dtype


@functools.cache
def _whole(ndim: int) -> dict[str, Any]:
    """Return the parameters of a reduction over all axes."""
    return {"axis": tuple(range(ndim)), "keepdims": False}


def _floating_reduction(primitive: Any) -> Callable[..., Array]:
    def reduce(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
        if axis is None and not keepdims and type(x) is Array:
            value = x._value
            if value.dtype in INEXACT.get(type(value), NOTHING):
                return bind(primitive, (x,), _whole(value.ndim))
        array = require_inexact(as_array(x, primitive.name))
        return bind(
            primitive, (array,), {"axis": normalize_axes(axis, array.ndim, primitive.name), "keepdims": keepdims}
        )

    reduce.__name__ = reduce.__qualname__ = primitive.name
    return reduce


def _extremum(primitive: Any) -> Callable[..., Array]:
    def reduce(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
        array = as_array(x, primitive.name)
        axes = normalize_axes(axis, array.ndim, primitive.name)
        if _count(array.shape, axes) == 0:
            raise ValueError(
                f"{primitive.name}: x of shape {array.shape} has no elements along axis {axes}, so there is no "
                f"{primitive.name}"
            )
        return bind(primitive, (array,), {"axis": axes, "keepdims": keepdims})

    reduce.__name__ = reduce.__qualname__ = primitive.name
    reduce.__doc__ = f"Return the {primitive.name} over axes (None: all). Ties share the gradient equally."
    return reduce


def _position(primitive: Any) -> Callable[..., Array]:
    def find(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
        array = as_array(x, primitive.name)
        if axis is not None:
            (axis,) = normalize_axes(axis, array.ndim, primitive.name)
        if array.size == 0:
            raise ValueError(f"{primitive.name}: x of shape {array.shape} has no elements")
        found = bind(primitive, (array,), {"axis": axis, "keepdims": keepdims})
        return cast(found, default_dtype(INTEGER)) if dtype_name(found) != default_dtype(INTEGER) else found

    find.__name__ = find.__qualname__ = primitive.name
    find.__doc__ = f"Return the position of the {primitive.name[3:]} along an axis (None: in the flattened array)."
    return find


mean = _floating_reduction(_mean)
mean.__doc__ = "Return the arithmetic mean over axes (None: all). Integers are averaged in the default float dtype."
logsumexp = _floating_reduction(_logsumexp_primitive)
logsumexp.__doc__ = "Return log(sum(exp(x))) over axes (None: all), without overflow."
max = _extremum(_max)
min = _extremum(_min)
argmax = _position(_argmax)
argmin = _position(_argmin)
