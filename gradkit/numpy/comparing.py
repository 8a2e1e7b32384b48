"""Comparisons and questions about arrays: closeness, equality, the kind and shape of what is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.array import renewed
from gradkit.core.operands import as_array
from gradkit.core.promotion import is_complex, letter_of
from gradkit.numpy.arguments import promote_args, refuse_out
from gradkit.numpy.data_types import finfo
from gradkit.primitives.axes import axes_of
from gradkit.primitives.new_arrays import asarray, zeros_like

__all__ = [
    "allclose", "array_equal", "array_equiv", "isclose", "iscomplex", "iscomplexobj", "isneginf", "isposinf", "isreal",
    "isrealobj", "isscalar", "iterable", "nan_to_num", "ndim", "shape", "size",
]  # fmt: skip


def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Array:
    """Return where two arrays are equal within a tolerance: ``abs(a - b) <= atol + rtol * abs(b)``.

    Parameters
    ----------
    a, b : array or number
        Operands that broadcast.
    rtol, atol : float
        The relative tolerance, of `b`, and the absolute one.
    equal_nan : bool
        Whether NaN is close to NaN.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.isclose(jnp.asarray([1.0, 2.0]), jnp.asarray([1.0 + 1e-6, 2.1]))
    Array([ True, False], dtype=bool)
    """
    x, y = promote_args("isclose", a, b, inexact=True)
    finite = xp.isfinite(x) & xp.isfinite(y)
    gap = xp.abs(xp.where(finite, x, 0) - xp.where(finite, y, 0))
    result = (x == y) | (finite & (gap <= atol + rtol * xp.abs(xp.where(finite, y, 0))))
    return result | (xp.isnan(x) & xp.isnan(y)) if equal_nan else result


def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Array:
    """Return whether all elements of two arrays are close; see `isclose`."""
    return xp.all(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Array:
    """Return whether two arrays have the same shape and elements."""
    x, y = asarray(a1), asarray(a2)
    if x.shape != y.shape:
        return asarray(False)
    same = x == y
    if equal_nan and _has_nan(x) and _has_nan(y):
        same = same | (xp.isnan(x) & xp.isnan(y))
    return xp.all(same)


def array_equiv(a1: Any, a2: Any) -> Array:
    """Return whether two arrays have the same elements once they are broadcast."""
    x, y = asarray(a1), asarray(a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return asarray(False)
    return xp.all(x == y)


def _has_nan(x: Array) -> bool:
    return letter_of(x.dtype) in "fc"


def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Array:
    """Replace NaN and the infinities by finite numbers.

    Parameters
    ----------
    x : array
        Of any shape and dtype.
    copy : bool
        Ignored: Arrays are immutable.
    nan, posinf, neginf : number, optional
        What stands in their places. The infinities become the largest and smallest finite numbers of the dtype.
    """
    array = as_array(x, "nan_to_num")
    if letter_of(array.dtype) not in "fc":
        return renewed(array)
    if is_complex(array.dtype):
        return nan_to_num(array.real, copy, nan, posinf, neginf) + 1j * nan_to_num(
            array.imag, copy, nan, posinf, neginf
        )
    limits = finfo(array.dtype)
    largest = float(limits.max) if posinf is None else posinf
    smallest = float(limits.min) if neginf is None else neginf
    finite = xp.where(xp.isnan(array), nan, array)
    return xp.where(array == -math.inf, smallest, xp.where(array == math.inf, largest, finite))


def _infinite(x: Any, out: Any, number: float, name: str) -> Array:
    refuse_out(out, name)
    array = as_array(x, name)
    if is_complex(array.dtype):
        raise ValueError(f"{name} is not well defined for complex dtypes, got {array.dtype}")
    if letter_of(array.dtype) != "f":
        return zeros_like(array, dtype="bool")
    return array == number


def isposinf(x: Any, /, out: None = None) -> Array:
    """Return where elements are positive infinity."""
    return _infinite(x, out, math.inf, "isposinf")


def isneginf(x: Any, /, out: None = None) -> Array:
    """Return where elements are negative infinity."""
    return _infinite(x, out, -math.inf, "isneginf")


def iscomplex(x: Any) -> Array:
    """Return where elements have an imaginary part that is not 0."""
    array = as_array(x, "iscomplex")
    return xp.imag(array) != 0 if is_complex(array.dtype) else zeros_like(array, dtype="bool")


def isreal(x: Any) -> Array:
    """Return where elements have an imaginary part of 0."""
    return xp.logical_not(iscomplex(x))


def iscomplexobj(x: Any) -> bool:
    """Return whether an array or number is of a complex dtype."""
    dtype = getattr(x, "dtype", None)
    return is_complex(np.asarray(x).dtype if dtype is None else dtype)


def isrealobj(x: Any) -> bool:
    """Return whether an array or number is of a dtype that is not complex."""
    return not iscomplexobj(x)


def isscalar(element: Any) -> bool:
    """Return whether something is a number or an array of no axes."""
    return np.isscalar(element) or (hasattr(element, "dtype") and getattr(element, "shape", None) == ())


def iterable(y: Any) -> bool:
    """Return whether something can be iterated over."""
    try:
        iter(y)
    except TypeError:
        return False
    return True


def ndim(a: Any) -> int:
    """Return the number of axes."""
    return len(shape(a))


def shape(a: Any) -> tuple[int, ...]:
    """Return the sizes of the axes."""
    return tuple(a.shape) if hasattr(a, "shape") else np.shape(a)


def size(a: Any, axis: Any = None) -> int:
    """Return the number of elements along `axis`, an int or several; None: in the whole array."""
    sizes = shape(a)
    return math.prod(sizes[number] for number in axes_of(axis, len(sizes), "size"))
