"""Random real numbers: uniform ones, and the distributions that are functions of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.array import backend_of_array
from gradkit.core.operands import cast
from gradkit.core.promotion import dtype_named, limits_of
from gradkit.core.sharding import refuse_sharding
from gradkit.primitives.elementwise import abs, clip, log, log1p, maximum, nextafter, sign, tan, where
from gradkit.primitives.random_bits import random_bits
from gradkit.primitives.special import erf, erf_inv, fused_multiply_add
from gradkit.random.arguments import (
    Shape,
    checked_shape,
    complex_or_floating_dtype,
    drawing,
    in_dtype,
    one_key,
    operand_for,
    parameters_for,
)
from gradkit.random.keys import split

__all__ = ["cauchy", "exponential", "gumbel", "laplace", "logistic", "normal", "truncated_normal", "uniform"]


def uniform(
    key: Array, shape: Shape = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0, *, out_sharding: None = None
) -> Array:
    """Draw numbers that are uniform from `minval` to below `maxval`.

    Parameters
    ----------
    key : key
        The random key.
    shape : int or tuple of int
        The shape of the result.
    dtype : dtype, optional
        A floating dtype; by default ``float32``, or ``float64`` with x64 enabled.
    minval, maxval : number or array
        The bounds, which broadcast to `shape`. The result is differentiable in them.

    Returns
    -------
    Array
        Multiples of the dtype's resolution at 1 (2**-23 in float32), scaled to the bounds: JAX's, bit for bit. (With
        bounds that do not scale exactly, JAX's own last bit depends on whether the processor fuses multiplication and
        addition; here it is as if it does.)

    Raises
    ------
    TypeError
        If `key` is no key, or a bound neither number nor array.
    ValueError
        If `shape` has a negative size, a bound does not broadcast to it, or `dtype` is no floating dtype.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.uniform(gradkit.random.key(0), (3,))
    Array([0.947667  , 0.9785799 , 0.33229148], dtype=float32)
    """
    key, sizes, name = drawing("uniform", key, shape, dtype, out_sharding)
    low = operand_for(minval, "minval", "uniform", sizes)
    high = operand_for(maxval, "maxval", "uniform", sizes)
    return _uniform(key, sizes, name, low, high)


def _uniform(key: Array, shape: tuple[int, ...], dtype: str, low: Any = 0.0, high: Any = 1.0) -> Array:
    unit = _unit(key, shape, dtype)
    if type(low) is Array or type(high) is Array:
        low, high = in_dtype(low, dtype, key), in_dtype(high, dtype, key)
        return maximum(low, fused_multiply_add(unit, high - low, low))
    start, stop = np.array([low, high]).astype(dtype_named(dtype))
    span = stop - start
    if start == 0 and span == 1:
        return unit
    if start == 0 or math.frexp(span)[0] == 0.5:
        # One rounding whether or not it is fused.
        scaled = unit * float(span) + float(start)
    else:
        scaled = fused_multiply_add(unit, in_dtype(span, dtype, key), in_dtype(start, dtype, key))
    return maximum(scaled, float(start))


def _unit(key: Array, shape: tuple[int, ...], dtype: str) -> Array:
    """Draw multiples of the dtype's resolution from 0 to below 1."""
    limits = limits_of(dtype)
    digits: int = limits.nmant
    drawn: int = limits.bits if digits >= 8 else 8  # a byte has as many as these need, as in JAX
    if drawn == 64:
        backend_of_array(key).raw_dtype_named(dtype)  # which says so, in the dtype that was asked for, if it has none
    bits = random_bits(key, shape=shape, bit_width=drawn)
    # The same numbers as JAX makes by writing the bits below a 1, as a mantissa, and subtracting 1.
    return cast(bits >> drawn - digits, dtype) * 2.0**-digits


def normal(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    r"""Draw from the standard normal distribution, :math:`\sqrt 2\, \mathrm{erf}^{-1}(u)` of a uniform u in (-1, 1).

    Parameters
    ----------
    key : key
        The random key.
    shape : int or tuple of int
        The shape of the result.
    dtype : dtype, optional
        A floating dtype, or a complex one, whose numbers have variance 1 and independent parts; by default
        ``float32``, or ``float64`` with x64 enabled.

    Returns
    -------
    Array
        JAX's numbers, to rounding.

    Raises
    ------
    TypeError
        If `key` is no key.
    ValueError
        If `shape` has a negative size, or `dtype` is no floating or complex dtype.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.normal(gradkit.random.key(0), (3,))
    Array([ 1.6226422 ,  2.0252647 , -0.43359444], dtype=float32)
    """
    refuse_sharding(out_sharding, "normal")
    key = one_key(key, "normal")
    name = complex_or_floating_dtype(dtype, "normal")
    sizes = checked_shape(shape, "normal")
    if not name.startswith("complex"):
        return _normal(key, sizes, name)
    part = "float32" if name == "complex64" else "float64"
    real, imaginary = (cast(_normal(half, sizes, part), name) for half in split(key))
    return (real + 1j * imaginary) / math.sqrt(2)


def _normal(key: Array, shape: tuple[int, ...], dtype: str) -> Array:
    one = np.ones((), dtype_named(dtype))
    lowest = np.nextafter(-one, 0 * one)
    return float(np.sqrt(2 * one)) * erf_inv(_uniform(key, shape, dtype, lowest, one))


def truncated_normal(
    key: Array, lower: Any, upper: Any, shape: Shape | None = None, dtype: Any = None, *, out_sharding: None = None
) -> Array:
    """Draw from the standard normal distribution between two bounds.

    Parameters
    ----------
    key : key
        The random key.
    lower, upper : number or array
        The bounds, which lie outside.
    shape : int or tuple of int, optional
        The shape of the result; by default that to which the bounds broadcast.
    dtype : dtype, optional
        A floating dtype; by default ``float32``, or ``float64`` with x64 enabled.

    Returns
    -------
    Array
        JAX's numbers, to rounding.

    Raises
    ------
    TypeError
        If `key` is no key, or a bound neither number nor array.
    ValueError
        If a bound does not broadcast to `shape`, or `dtype` is no floating dtype.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.truncated_normal(gradkit.random.key(0), -1.0, 1.0, (3,))
    Array([ 0.8618594,  0.9412883, -0.2910484], dtype=float32)
    """
    key, sizes, name, (low, high) = parameters_for(
        "truncated_normal", key, shape, dtype, out_sharding, lower=lower, upper=upper
    )
    root = float(np.sqrt(2 * np.ones((), dtype_named(name))))
    drawn = root * erf_inv(_uniform(key, sizes, name, erf(low / root), erf(high / root)))
    # Rounding may not put a number onto a bound.
    infinity = in_dtype(math.inf, name, key)
    return clip(drawn, nextafter(low, infinity), nextafter(high, -infinity))


def exponential(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw from the exponential distribution of rate 1, -log(1 - u) of a uniform u; arguments as for `normal`."""
    return -log1p(-_uniform(*drawing("exponential", key, shape, dtype, out_sharding)))


def gumbel(
    key: Array, shape: Shape = (), dtype: Any = None, mode: str | None = None, *, out_sharding: None = None
) -> Array:
    """Draw from the Gumbel distribution, -log(-log(u)) of a uniform u.

    Parameters
    ----------
    key, shape, dtype
        As for `normal`.
    mode : {"low", "high"}, optional
        "high" draws twice the bits, so that the far tail is drawn right (to 32 instead of 16 in float32).
    """
    checked, sizes, name = drawing("gumbel", key, shape, dtype, out_sharding)
    limits = limits_of(name)
    if mode in (None, "low"):
        return -log(-log(_uniform(checked, sizes, name, limits.tiny, 1.0)))
    if mode != "high":
        raise ValueError(f"gumbel: mode must be 'low' or 'high', got {mode!r}.")
    both = _uniform(checked, (2, *sizes), name)
    high, low = both[0], both[1]
    u = where(high >= 0.5, high, high + (2.0**-limits.nmant * low + float(limits.tiny)))
    return -log(-log1p(-u))


def laplace(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw from the Laplace distribution of scale 1; arguments as for `normal`."""
    checked, sizes, name = drawing("laplace", key, shape, dtype, out_sharding)
    u = _uniform(checked, sizes, name, -1.0 + limits_of(name).epsneg, 1.0)
    return sign(u) * log1p(-abs(u))


def logistic(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw from the logistic distribution, log(u / (1 - u)) of a uniform u; arguments as for `normal`."""
    checked, sizes, name = drawing("logistic", key, shape, dtype, out_sharding)
    u = _uniform(checked, sizes, name, limits_of(name).tiny, 1.0)
    return log(u) - log1p(-u)


def cauchy(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw from the Cauchy distribution, tan(pi (u - 1/2)) of a uniform u; arguments as for `normal`."""
    checked, sizes, name = drawing("cauchy", key, shape, dtype, out_sharding)
    return tan(math.pi * (_uniform(checked, sizes, name, limits_of(name).eps, 1.0) - 0.5))
