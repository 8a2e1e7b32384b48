"""Random integers: bits, and numbers in a range."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.array import backend_of_array
from gradkit.core.operands import cast, dtype_name
from gradkit.core.sharding import refuse_sharding
from gradkit.primitives.elementwise import clip, where
from gradkit.primitives.manipulation import reshape
from gradkit.primitives.new_arrays import full_like
from gradkit.primitives.random_bits import random_bits
from gradkit.random.arguments import Shape, checked_shape, integer_dtype, one_key, operand_for, unsigned_dtype
from gradkit.random.keys import split

__all__ = ["bits", "randint"]


def bits(key: Array, shape: Shape = (), dtype: Any = None, *, out_sharding: None = None) -> Array:
    """Draw random bits as unsigned integers.

    Parameters
    ----------
    key : key
        The random key.
    shape : int or tuple of int
        The shape of the result.
    dtype : dtype, optional
        ``uint8``, ``uint16``, ``uint32`` or ``uint64``; by default ``uint32``, or ``uint64`` with x64 enabled.

    Returns
    -------
    Array
        Integers over the whole range of the dtype: JAX's, bit for bit.

    Raises
    ------
    TypeError
        If `key` is no key.
    ValueError
        If `shape` has a negative size, or `dtype` is not unsigned.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.bits(gradkit.random.key(0), (3,))
    Array([4070199207, 4202968722, 1427181096], dtype=uint32)
    """
    refuse_sharding(out_sharding, "bits")
    key = one_key(key, "bits")
    name = unsigned_dtype(dtype, "bits")
    return random_bits(key, shape=checked_shape(shape, "bits"), bit_width=np.dtype(name).itemsize * 8)


def randint(
    key: Array, shape: Shape, minval: Any, maxval: Any, dtype: Any = None, *, out_sharding: None = None
) -> Array:
    """Draw integers from `minval` to below `maxval`.

    Parameters
    ----------
    key : key
        The random key.
    shape : int or tuple of int
        The shape of the result.
    minval, maxval : int or array of int
        The smallest integer, and the one after the largest. Arrays broadcast to `shape`. Where `maxval` is not larger
        than `minval` the result is `minval`.
    dtype : dtype, optional
        An integer dtype; by default ``int32``, or ``int64`` with x64 enabled. Bounds beyond its range are cut to it.

    Returns
    -------
    Array
        Integers: JAX's, bit for bit. They are remainders of random bits, so some are more frequent than others, by a
        factor of at most 1 + 2**-16 for 32-bit integers of a range up to 2**16; for larger ranges see JAX's note.

    Raises
    ------
    TypeError
        If `key` is no key, or a bound neither number nor array.
    ValueError
        If `shape` has a negative size, a bound does not broadcast to it, or `dtype` is no integer dtype.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.randint(gradkit.random.key(0), (5,), 1, 7)
    Array([2, 1, 3, 2, 6], dtype=int32)
    """
    refuse_sharding(out_sharding, "randint")
    key = one_key(key, "randint")
    name = integer_dtype(dtype, "randint")
    sizes = checked_shape(shape, "randint")
    low = _whole(operand_for(minval, "minval", "randint", sizes))
    high = _whole(operand_for(maxval, "maxval", "randint", sizes))
    # At least 32 bits are drawn, and narrower integers are made of them.
    drawn = np.dtype(name if np.iinfo(name).bits >= 32 else "int32")
    start: Any
    span: Any
    multiplier: Any
    if type(low) is int and type(high) is int:
        start, span, multiplier = _range_of_ints(low, high, np.iinfo(name), drawn)
    else:
        start, span, multiplier = _range_of_arrays(low, high, np.iinfo(name), drawn)
    if drawn.itemsize == 8:
        backend_of_array(key).raw_dtype_named(name)  # which says so, in the dtype that was asked for, if it has none
    result = cast(_offset(key, sizes or (1,), span, multiplier, drawn.itemsize * 8), drawn.name) + start
    return reshape(cast(result, name), sizes)


# The numbers drawn have twice the bits of the span: higher * 2**width + lower. Their remainder is taken with
# (higher * multiplier + lower) % span, where the multiplier is 2**width % span, computed in `width` bits as the square
# of 2**(width / 2) % span. (For spans above 2**(width / 2) the square wraps to 0, here as in JAX.) All of it wraps, and
# so has at least one axis: NumPy warns of overflow in 0-d arrays.


def _offset(key: Array, shape: tuple[int, ...], span: Any, multiplier: Any, width: int) -> Array:
    higher_key, lower_key = split(key)
    offset = _remainder(random_bits(lower_key, shape=shape, bit_width=width), span, width)
    if type(multiplier) is int and multiplier == 0:
        return offset
    higher = _remainder(random_bits(higher_key, shape=shape, bit_width=width), span, width)
    return _remainder(higher * multiplier + offset, span, width)


def _remainder(x: Array, span: Any, width: int) -> Array:
    """Return ``x % span``. A span of 2**width, which is 0 in `width` bits, leaves `x` as it is."""
    if type(span) is int:
        return x if span == 1 << width else x % span
    return where(span == 0, x, x % where(span == 0, 1, span))


def _range_of_ints(low: int, high: int, limits: Any, drawn: np.dtype[Any]) -> tuple[int, int, int]:
    """Return the first number, how many there are, and the multiplier."""
    width = drawn.itemsize * 8
    start = min(max(low, limits.min), limits.max)
    span = max(min(high, limits.max + 1) - start, 1)
    half = (1 << width // 2) % span
    return start, span, half * half % (1 << width) % span


def _range_of_arrays(low: Any, high: Any, limits: Any, drawn: np.dtype[Any]) -> tuple[Any, Array, Array]:
    """Return the first number, how many there are (0 stands for 2**width), and the multiplier."""
    width = drawn.itemsize * 8
    # One past the largest number stands for the whole upper range; it may not fit the dtype.
    fits = np.iinfo(drawn).max > limits.max
    beyond = not fits and _exceeds(high, limits.max)
    start = _cut(low, limits.min, limits.max, drawn)
    stop = _cut(high, limits.min, limits.max + fits, drawn)
    some = stop > start
    span = where(some, _without_sign(stop, width) - _without_sign(start, width), 1) + cast(
        some & beyond, f"uint{width}"
    )
    half = _remainder(full_like(span, 1 << width // 2), span, width)
    return start, span, _remainder(half * half, span, width)


def _whole(bound: Any) -> Any:
    """Return a bound as an int, or as an Array of integers with at least one axis."""
    if type(bound) is not Array:
        return int(bound)
    if not dtype_name(bound).startswith(("int", "uint")):
        bound = cast(bound, integer_dtype(None, "randint"))
    return bound if bound.ndim else reshape(bound, (1,))


def _cut(bound: Any, lowest: int, highest: int, dtype: np.dtype[Any]) -> Any:
    """Limit a bound to a range, and convert it to `dtype`, which holds the range."""
    if type(bound) is int:
        return min(max(bound, lowest), highest)
    own = np.iinfo(bound.dtype)
    return cast(clip(bound, max(lowest, int(own.min)), min(highest, int(own.max))), dtype.name)


def _exceeds(bound: Any, limit: int) -> Any:
    """Return whether a bound is above a limit that its dtype may not reach."""
    return bound > limit if type(bound) is int or np.iinfo(bound.dtype).max > limit else False


def _without_sign(bound: Any, width: int) -> Any:
    """Return a bound modulo 2**width."""
    return bound % (1 << width) if type(bound) is int else cast(bound, f"uint{width}")
