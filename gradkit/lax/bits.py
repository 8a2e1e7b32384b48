"""`lax`'s functions of bits: counting, shifting, reading them as another dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import cast, dtype_name
from gradkit.core.promotion import dtype_named, is_complex
from gradkit.lax.arguments import (
    BITS,
    FLOAT,
    INTEGER,
    array_of,
    convert,
    named_dtype,
    remembering,
    require,
    require_same_dtype,
    require_shapes_that_fit,
    together,
)
from gradkit.primitives import bit_patterns
from gradkit.primitives import elementwise as e
from gradkit.primitives.creation import stop_gradient, zeros_like
from gradkit.primitives.new_arrays import full

__all__ = [
    "bitcast_convert_type", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "clz", "mulhi",
    "population_count", "reduce_precision", "shift_left", "shift_right_arithmetic", "shift_right_logical",
]  # fmt: skip


def _check(caller: str, accepted: tuple[str, ...], *values: Any) -> list[Array]:
    arrays = together(caller, *values)
    require(caller, arrays, (accepted,) * len(arrays))
    require_same_dtype(caller, arrays)
    require_shapes_that_fit(caller, arrays)
    return arrays


def _width(array: Array) -> int:
    return int(array.dtype.itemsize) * 8


def _unsigned(array: Array) -> Array:
    name = dtype_name(array)
    return array if name.startswith("uint") else cast(array, "u" + name)


# Logic


@remembering(e.bitwise_and)
def bitwise_and(x: Any, y: Any) -> Array:
    """Return the bits that both have, of integers or bools of one dtype."""
    return e.bitwise_and(*_check("and", BITS, x, y))


@remembering(e.bitwise_or)
def bitwise_or(x: Any, y: Any) -> Array:
    """Return the bits that either has, of integers or bools of one dtype."""
    return e.bitwise_or(*_check("or", BITS, x, y))


@remembering(e.bitwise_xor)
def bitwise_xor(x: Any, y: Any) -> Array:
    """Return the bits in which they differ, of integers or bools of one dtype."""
    return e.bitwise_xor(*_check("xor", BITS, x, y))


@remembering(e.bitwise_invert)
def bitwise_not(x: Any) -> Array:
    """Return all bits the other way round, of integers or bools."""
    return e.bitwise_invert(*_check("not", BITS, x))


# Shifts


def _shift(caller: str, shift: Callable[[Any, Any], Array], x: Any, y: Any, beyond: Callable[[Array], Array]) -> Array:
    """Shift; what is shifted by a negative number or by its whole width and more is what `beyond` says."""
    array, shifts = _check(caller, INTEGER, x, y)
    possible = e.logical_and(shifts >= 0, shifts < _width(array))
    shifted = shift(array, e.where(possible, shifts, 0))
    return e.where(possible, shifted, beyond(array))


def shift_left(x: Any, y: Any) -> Array:
    """Shift bits to the left; zeros come in."""
    return _shift("shift_left", e.bitwise_left_shift, x, y, zeros_like)


def shift_right_logical(x: Any, y: Any) -> Array:
    """Shift bits to the right; zeros come in."""

    def shift(array: Array, shifts: Array) -> Array:
        return cast(e.bitwise_right_shift(_unsigned(array), _unsigned(shifts)), dtype_name(array))

    return _shift("shift_right_logical", shift, x, y, zeros_like)


def shift_right_arithmetic(x: Any, y: Any) -> Array:
    """Shift bits to the right; copies of the sign come in."""

    def shift(array: Array, shifts: Array) -> Array:
        signed = dtype_name(array).removeprefix("u")
        return convert(e.bitwise_right_shift(convert(array, signed), convert(shifts, signed)), dtype_name(array))

    return _shift(
        "shift_right_arithmetic", shift, x, y, lambda array: shift(array, _constant(_width(array) - 1, array))
    )


# Counting


def population_count(x: Any) -> Array:
    """Return how many bits are set, in the dtype of `x`."""
    (array,) = _check("population_count", INTEGER, x)
    return cast(_count(_unsigned(array)), dtype_name(array))


def _count(bits: Array) -> Array:
    """Add neighbouring bits, pairs, fours and so on, all in parallel."""
    width = _width(bits)
    step = 1
    while step < width:
        mask = sum(((1 << step) - 1) << i for i in range(0, width, 2 * step))
        kept = e.where(bits == bits, _constant(mask, bits), bits)
        bits = e.bitwise_and(bits, kept) + e.bitwise_and(e.bitwise_right_shift(bits, _constant(step, bits)), kept)
        step *= 2
    return bits


def _constant(value: int, like: Array) -> Array:
    return full((), value, dtype=like.dtype, device=like.device)


def clz(x: Any) -> Array:
    """Return how many of the leading bits are not set, in the dtype of `x`."""
    (array,) = _check("clz", INTEGER, x)
    bits = _unsigned(array)
    step = 1
    while step < _width(bits):
        bits = e.bitwise_or(bits, e.bitwise_right_shift(bits, _constant(step, bits)))
        step *= 2
    return cast(_constant(_width(bits), bits) - _count(bits), dtype_name(array))


def mulhi(x: Any, y: Any, /) -> Array:
    """Return the upper half of the bits of the products of integers."""
    left, right = _check("mulhi", INTEGER, x, y)
    name, width = dtype_name(left), _width(left)
    if width < 64:
        wide = "uint64" if name.startswith("uint") else "int64"
        product = cast(left, wide) * cast(right, wide)
        return cast(e.bitwise_right_shift(product, _constant(width, product)), name)
    half, mask = _constant(32, _unsigned(left)), _constant((1 << 32) - 1, _unsigned(left))
    (low_x, high_x), (low_y, high_y) = (
        (e.bitwise_and(part, mask), e.bitwise_right_shift(part, half)) for part in map(_unsigned, (left, right))
    )
    middle = high_x * low_y + e.bitwise_right_shift(low_x * low_y, half)
    other = low_x * high_y + e.bitwise_and(middle, mask)
    result = cast(high_x * high_y + e.bitwise_right_shift(middle, half) + e.bitwise_right_shift(other, half), name)
    if name == "int64":
        result = result - e.where(left < 0, right, 0) - e.where(right < 0, left, 0)
    return result


# Patterns


def bitcast_convert_type(operand: Any, new_dtype: Any) -> Array:
    """Read the bits as another dtype.

    Parameters
    ----------
    operand : array
        Not of bool or complex dtype, unless that is the new dtype as well. The derivative is 0, for the same dtype too.
    new_dtype : dtype
        The dtype. A narrower one adds an axis at the end for the parts of each element; a wider one takes the last axis
        away, whose size has to be the ratio of the two.
    """
    array = array_of(operand, "bitcast_convert_type")
    old, new = array.dtype, dtype_named(named_dtype(new_dtype))
    if old == new:
        return stop_gradient(array)  # bits have no derivative, of whatever dtype they are read as
    if "bool" in (old.name, new.name) or is_complex(old) or is_complex(new):
        raise TypeError(
            f"lax.bitcast_convert_type does not support bool or complex values unless the operand and destination "
            f"types match. Got operand dtype={old}, new_dtype={new!r}. Consider using the arr.view() method instead."
        )
    if old.itemsize < new.itemsize and (not array.ndim or array.shape[-1] * old.itemsize != new.itemsize):
        raise ValueError(
            f"Attempting to convert array of shape {array.shape} from {old} of size {8 * old.itemsize} bits to {new} "
            f"of size {8 * new.itemsize}, bits but {array.shape[-1] if array.ndim else 1} * {8 * old.itemsize} != "
            f"{8 * new.itemsize}"
        )
    return bit_patterns.bitcast(array, dtype=new.name)


def reduce_precision(operand: Any, exponent_bits: int, mantissa_bits: int) -> Array:
    """Round to a floating format with fewer bits, and keep the dtype.

    Parameters
    ----------
    operand : array
        Of floating dtype.
    exponent_bits, mantissa_bits : int
        The format: (5, 10) is float16, (8, 7) is bfloat16. Numbers that are too large for it become infinite, those too
        small for a normal number 0. The derivative is rounded in the same way.
    """
    array = array_of(operand, "reduce_precision")
    require("reduce_precision", (array,), (FLOAT,))
    if exponent_bits < 1 or mantissa_bits < 0:
        raise ValueError(
            f"reduce_precision: exponent_bits must be at least 1 and mantissa_bits at least 0, got {exponent_bits} and "
            f"{mantissa_bits}"
        )
    return bit_patterns.reduce_precision(array, exponent_bits=int(exponent_bits), mantissa_bits=int(mantissa_bits))
