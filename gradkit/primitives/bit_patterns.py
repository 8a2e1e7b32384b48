"""Arrays as patterns of bits: read as another dtype, or rounded to a format with fewer of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.core import General, Linear, bind
from gradkit.core.batching import elementwise, moved_to_front, same_shape
from gradkit.core.promotion import dtype_named

__all__ = ["bitcast", "reduce_precision"]

FORMATS = {"float16": (5, 10, "int16"), "float32": (8, 23, "int32"), "float64": (11, 52, "int64")}
"""Bits of exponent and mantissa, and the integers of the same size."""


def _bitcast(xp: Any, x: Any, *, dtype: str) -> Any:
    # The standard has no such function, so the host does it, unless the backend brings a kernel.
    values = np.ascontiguousarray(xp.backend.to_host(x))
    return xp.backend.from_host(_view(values, dtype), xp.backend.device_of(x))


def _view(x: Any, dtype: str) -> Any:
    raw = dtype_named(dtype)
    old, new = x.dtype.itemsize, raw.itemsize
    if old == new:
        return x.reshape(-1).view(raw).reshape(x.shape)
    if old > new:
        return x[..., None].view(raw)
    return x.view(raw)[..., 0]


def _shape_of_bitcast(x: Any, *, dtype: str) -> tuple[int, ...]:
    old, new = x.dtype.itemsize, dtype_named(dtype).itemsize
    if old > new:
        return (*x.shape, old // new)
    return tuple(x.shape) if old == new else tuple(x.shape[:-1])


def _batch_bitcast(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    return bind(primitive, (moved_to_front(values[0], axes[0]),), params), 0


def _reduce_precision(xp: Any, x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
    return xp.backend.from_host(
        _round(np.asarray(xp.backend.to_host(x)), exponent_bits, mantissa_bits), xp.backend.device_of(x)
    )


def _round(x: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    """Round to the nearest, ties to even, on the integers that have the numbers' bits."""
    exponent, mantissa, integer = FORMATS[x.dtype.name]
    bits = np.atleast_1d(x).view(integer)
    dropped = mantissa - mantissa_bits
    if dropped > 0:
        last = (bits >> dropped) & 1
        bits = (bits + (last + (1 << (dropped - 1)) - 1)) & ~((1 << dropped) - 1)
    if exponent_bits < exponent:
        size = bits & np.iinfo(integer).max
        middle, reach = (1 << (exponent - 1)) - 1, (1 << (exponent_bits - 1)) - 1
        sign = bits & np.iinfo(integer).min
        bits = np.where(size < (middle - reach + 1) << mantissa, sign, bits)
        bits = np.where(size >= (middle + reach + 1) << mantissa, sign | (((1 << exponent) - 1) << mantissa), bits)
    rounded = bits.astype(integer).view(x.dtype).reshape(x.shape)
    return np.where(np.isnan(x), x, rounded)


bitcast = General(
    "bitcast",
    _bitcast,
    (None,),
    batch=_batch_bitcast,
    shape=_shape_of_bitcast,
    dtype=lambda x, *, dtype: dtype,
    leaf=True,
    shares_memory=True,
)
"""Read the bits of `x` as those of the dtype; see `gradkit.lax.bitcast_convert_type`."""
reduce_precision = Linear(
    "reduce_precision",
    _reduce_precision,
    (
        lambda xp, g, _x, *, exponent_bits, mantissa_bits: xp.reduce_precision(
            g, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits
        ),
    ),
    hands_on=False,
    batch=elementwise,
    shape=same_shape,
    leaf=True,
)
"""Round to a format with fewer bits; see `gradkit.lax.reduce_precision`."""
