"""Elementwise functions that are formulas of the standard's: powers, angles, parts of numbers, bits."""

from __future__ import annotations

import math
from typing import Any

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.array import renewed
from gradkit.core.operands import as_array, as_arrays, cast, dtype_name, require_inexact
from gradkit.core.promotion import FLOATING, default_dtype, is_complex, is_inexact
from gradkit.numpy.arguments import promote_args, refuse_out
from gradkit.numpy.data_types import finfo
from gradkit.primitives import numbers
from gradkit.primitives.axes import axis_of
from gradkit.primitives.elementwise import round as round_to_integer
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import arange, full, ones_like, zeros_like
from gradkit.primitives.scipy_special import bessel_i0e

__all__ = [
    "angle", "around", "bitwise_count", "cbrt", "deg2rad", "degrees", "divmod", "exp2", "fabs", "float_power", "fmax",
    "fmin", "fmod", "frexp", "gcd", "heaviside", "i0", "lcm", "ldexp", "left_shift", "logaddexp2", "mod", "modf",
    "packbits", "rad2deg", "radians", "right_shift", "rint", "round", "sinc", "spacing", "unpackbits",
]  # fmt: skip

LOG_2 = math.log(2.0)


def _inexact(x: Any, caller: str) -> Array:
    return require_inexact(as_array(x, caller))


def _real(x: Any, caller: str) -> Array:
    array = _inexact(x, caller)
    if is_complex(array.dtype):
        raise TypeError(f"{caller} does not support complex-valued inputs, got {array.dtype}")
    return array


# Powers


def exp2(x: Any, /) -> Array:
    """Return 2 to the power `x`, element by element."""
    return xp.pow(2.0, _inexact(x, "exp2"))


def cbrt(x: Any, /) -> Array:
    """Return the real cube root, element by element."""
    return numbers.cbrt(_real(x, "cbrt"))


def float_power(x: Any, y: Any, /) -> Array:
    """Return `x` to the power `y` in a floating dtype."""
    return xp.pow(*promote_args("float_power", x, y, inexact=True))


def logaddexp2(x1: Any, x2: Any, /) -> Array:
    """Return ``log2(2**x1 + 2**x2)`` without overflow."""
    x, y = promote_args("logaddexp2", x1, x2, inexact=True)
    return xp.logaddexp(x * LOG_2, y * LOG_2) / LOG_2


# Steps and waves


def heaviside(x1: Any, x2: Any, /) -> Array:
    """Return the unit step of `x1`, with the value `x2` at 0: 0 below it and 1 above it."""
    x, value = promote_args("heaviside", x1, x2, inexact=True)
    at_zero = xp.where(xp.isnan(x), x, value)
    return xp.where(x < 0, 0, xp.where(x > 0, 1, at_zero))


def sinc(x: Any, /) -> Array:
    """Return ``sin(pi x) / (pi x)``, which is 1 at 0, with its derivatives there.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.sinc(jnp.asarray([0.0, 0.5]))
    Array([1.       , 0.63661975], dtype=float32)
    """
    y = math.pi * _inexact(x, "sinc")
    # Near 0 Maclaurin's series: the quotient's derivatives lose their digits there.
    near = xp.abs(y) < 0.3
    square = xp.square(xp.where(near, y, 0))
    series = ones_like(square)
    for n in (12, 10, 8, 6, 4, 2):
        series = 1 - series * square / (n * (n + 1))
    far = xp.where(near, 1, y)
    return xp.where(near, series, xp.sin(far) / far)


def i0(x: Any) -> Array:
    """Return the modified Bessel function of the first kind, of order 0."""
    array = _real(x, "i0")
    # The slope of abs is 1 at 0, where that of i0 is 0.
    size = array * xp.sign(array)
    result: Array = xp.exp(size) * bessel_i0e(array)
    return result


# Angles


def deg2rad(x: Any, /) -> Array:
    """Convert degrees to radians."""
    return _real(x, "deg2rad") * (math.pi / 180)


def rad2deg(x: Any, /) -> Array:
    """Convert radians to degrees."""
    return _real(x, "rad2deg") * (180 / math.pi)


radians, degrees = deg2rad, rad2deg


def angle(z: Any, deg: bool = False) -> Array:
    """Return the angle of complex numbers in radians, in degrees with `deg`; 0 or pi for real ones."""
    array = _inexact(z, "angle")
    result = xp.atan2(xp.imag(array), xp.real(array))
    return rad2deg(result) if deg else result


# Extrema that leave NaN out


def fmax(x1: Any, x2: Any) -> Array:
    """Return the larger of two elements; of a number and NaN, the number."""
    x, y = promote_args("fmax", x1, x2)
    return xp.where((x > y) | _is_nan(y), x, y)


def fmin(x1: Any, x2: Any) -> Array:
    """Return the smaller of two elements; of a number and NaN, the number."""
    x, y = promote_args("fmin", x1, x2)
    return xp.where((x < y) | _is_nan(y), x, y)


def _is_nan(x: Array) -> Array:
    return xp.isnan(x) if is_inexact(dtype_name(x)) else zeros_like(x, dtype="bool")


def fabs(x: Any, /) -> Array:
    """Return absolute values in a floating dtype."""
    return xp.abs(_real(x, "fabs"))


# Division


def mod(x1: Any, x2: Any, /) -> Array:
    """Return the remainder of division, with the sign of the divisor: Python's ``%``."""
    return xp.remainder(x1, x2)


def fmod(x1: Any, x2: Any, /) -> Array:
    """Return the remainder of division, with the sign of the dividend: C's ``fmod``."""
    x, y = promote_args("fmod", x1, x2)
    if is_complex(x.dtype):
        raise TypeError(f"fmod does not support complex-valued inputs, got {x.dtype}")
    if not is_inexact(dtype_name(x)):
        y = xp.where(y == 0, 1, y)
    rest = xp.remainder(xp.abs(x), xp.abs(y))
    return xp.where(x < 0, -rest, rest)


def divmod(x1: Any, x2: Any, /) -> tuple[Array, Array]:
    """Return quotient, rounded down, and remainder of division."""
    return xp.floor_divide(x1, x2), xp.remainder(x1, x2)


def gcd(x1: Any, x2: Any) -> Array:
    """Return the greatest common divisor of integers, element by element."""
    return numbers.gcd(*_integers("gcd", x1, x2))


def lcm(x1: Any, x2: Any) -> Array:
    """Return the least common multiple of integers, element by element."""
    x, y = (xp.abs(value) for value in _integers("lcm", x1, x2))
    divisor = numbers.gcd(x, y)
    return x * xp.floor_divide(y, xp.where(divisor == 0, 1, divisor))


def _integers(caller: str, *values: Any) -> list[Array]:
    arrays = promote_args(caller, *values)
    if arrays[0].dtype.kind not in "iu":
        raise ValueError(f"Arguments to jax.numpy.{caller} must be integers, got {arrays[0].dtype}")
    return arrays


# Rounding, and the parts of a number


def round(a: Any, decimals: int = 0, out: None = None) -> Array:
    """Round to the nearest number of `decimals` digits, to even ones where two are equally near.

    Parameters
    ----------
    a : array
        Of any shape; complex numbers are rounded by parts.
    decimals : int
        The digits after the point; before it where negative.
    out : None
        Not supported.
    """
    refuse_out(out, "round")
    array = as_array(a, "round")
    if is_complex(array.dtype):
        return round(array.real, decimals) + 1j * round(array.imag, decimals)
    if not is_inexact(dtype_name(array)):
        if decimals < 0:
            raise NotImplementedError("integer np.round not implemented for decimals < 0")
        return renewed(array)
    if decimals == 0:
        return round_to_integer(array)
    factor = 10.0 ** abs(decimals)
    return round_to_integer(array * factor) / factor if decimals > 0 else round_to_integer(array / factor) * factor


around = round


def rint(x: Any, /) -> Array:
    """Round to the nearest integers, in a floating dtype."""
    array = as_array(x, "rint")
    return round(array) if is_inexact(dtype_name(array)) else cast(array, default_dtype(FLOATING))


def spacing(x: Any, /) -> Array:
    """Return the distance from each number to the next one away from 0, with its sign; NaN for what is not finite."""
    array = _real(x, "spacing")
    away = cast(xp.where(xp.signbit(array), -math.inf, math.inf), dtype_name(array))
    following = xp.nextafter(array, away)
    finite = xp.isfinite(array)
    return xp.where(finite, following - xp.where(finite, array, 0), math.nan)


def modf(x: Any, /, out: None = None) -> tuple[Array, Array]:
    """Return the fractional and the whole part, both with the sign of `x`."""
    refuse_out(out, "modf")
    array = _real(x, "modf")
    whole = xp.trunc(array)
    return array - whole, whole


def frexp(x: Any, /) -> tuple[Array, Array]:
    """Return mantissas in [0.5, 1) and int32 exponents: ``x == mantissa * 2**exponent``."""
    array = _real(x, "frexp")
    size = xp.abs(array)
    usual = xp.isfinite(array) & (array != 0)
    # Subnormal numbers have too few digits for the quotient.
    small = size < float(finfo(array.dtype).tiny)
    lift = finfo(array.dtype).nmant + 1
    scaled = xp.where(small, xp.where(small, array, 0) * 2.0**lift, array)
    safe = xp.where(usual, xp.abs(scaled), 1)
    exponent = xp.floor(xp.log2(safe)) + 1
    # The logarithm is rounded, so next to a power of 2 it can be one off.
    mantissa = _scale(safe, -exponent)
    exponent = exponent + xp.where(mantissa >= 1, 1, 0) - xp.where(mantissa < 0.5, 1, 0)
    result = xp.where(usual, _scale(scaled, -exponent), array)
    exponent = xp.where(usual, exponent - xp.where(small, lift, 0), 0)
    return result, cast(exponent, "int32")


def ldexp(x1: Any, x2: Any, /) -> Array:
    """Return ``x1 * 2**x2`` for integers `x2`."""
    x, exponent = as_arrays([x1, x2], "ldexp")
    if is_complex(x.dtype) or exponent.dtype.kind not in "biu":
        raise ValueError(f"ldexp not supported for input types {(x.dtype, exponent.dtype)}")
    x = require_inexact(x)
    return _scale(x, cast(exponent, dtype_name(x)))


def _scale(x: Array, exponent: Array) -> Array:
    """Return x * 2**exponent, in two steps: the power alone may overflow."""
    half = xp.floor(exponent / 2)
    return x * xp.pow(2.0, half) * xp.pow(2.0, exponent - half)


# Bits


def left_shift(x: Any, y: Any, /) -> Array:
    """Shift the bits of integers to the left."""
    return xp.bitwise_left_shift(x, y)


def right_shift(x1: Any, x2: Any, /) -> Array:
    """Shift the bits of integers to the right."""
    return xp.bitwise_right_shift(x1, x2)


def bitwise_count(x: Any, /) -> Array:
    """Return how many bits of the absolute values are 1, as uint8."""
    array = xp.abs(_integers("bitwise_count", x)[0])
    positions = arange(8 * array.dtype.itemsize, dtype=array.dtype, device=array.device)
    bits = xp.bitwise_and(xp.bitwise_right_shift(xp.expand_dims(array, axis=-1), positions), 1)
    return cast(xp.sum(bits, axis=-1), "uint8")


def _positions(bitorder: str, like: Array) -> Array:
    if bitorder not in ("little", "big"):
        raise ValueError(f"bitorder: expected 'little' or 'big', got {bitorder!r}")
    positions = arange(8, dtype="uint8", device=like.device)
    return positions if bitorder == "little" else positions[::-1]


def packbits(a: Any, axis: int | None = None, bitorder: str = "big") -> Array:
    """Pack eight elements, each as a bit (0 or not), into one uint8 along an axis; None: of the flattened array."""
    array = as_array(a, "packbits")
    if array.dtype.kind not in "biu":
        raise TypeError(f"packbits: expected an input array of integer or boolean data type, got {array.dtype}")
    positions = _positions(bitorder, array)
    bits = cast(array != 0, "uint8")
    bits, axis = (xp.reshape(bits, -1), 0) if axis is None else (bits, axis_of(axis, bits.ndim, "packbits"))
    bits = moveaxis(bits, axis, -1)
    missing = -bits.shape[-1] % 8
    if missing:
        bits = _followed_by_zeros(bits, missing)
    bytes_ = xp.reshape(bits, (*bits.shape[:-1], bits.shape[-1] // 8, 8))
    packed = xp.sum(xp.bitwise_left_shift(bytes_, positions), axis=-1)
    return moveaxis(cast(packed, "uint8"), -1, axis)


def unpackbits(a: Any, axis: int | None = None, count: int | None = None, bitorder: str = "big") -> Array:
    """Unpack each uint8 into eight elements 0 or 1 along an axis; `count` cuts or fills up their number."""
    array = as_array(a, "unpackbits")
    if dtype_name(array) != "uint8":
        raise TypeError(f"unpackbits: expected an input array of unsigned byte data type, got {array.dtype}")
    positions = _positions(bitorder, array)
    array, axis = (xp.reshape(array, -1), 0) if axis is None else (array, axis_of(axis, array.ndim, "unpackbits"))
    array = moveaxis(array, axis, -1)
    bits = xp.bitwise_and(xp.bitwise_right_shift(xp.expand_dims(array, axis=-1), positions), 1)
    bits = xp.reshape(bits, (*bits.shape[:-2], 8 * array.shape[-1]))
    if count is not None and count > bits.shape[-1]:
        bits = _followed_by_zeros(bits, count - bits.shape[-1])
    return moveaxis(bits if count is None else bits[..., :count], -1, axis)


def _followed_by_zeros(bits: Array, count: int) -> Array:
    zeros = full((*bits.shape[:-1], count), 0, dtype=bits.dtype, device=bits.device)
    return xp.concat([bits, zeros], axis=-1)
