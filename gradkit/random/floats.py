"""Random real numbers: uniform ones, and the distributions that are functions of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradkit.core import Array
from gradkit.core.calls import cast
from gradkit.numpy import abs, clip, log, log1p, maximum, sign, tan, where  # noqa: A004 - the standard's names
from gradkit.primitives.random_bits import random_bits
from gradkit.primitives.special import erf, erf_inv, fused_multiply_add, nextafter
from gradkit.random.arguments import (
    Shape,
    checked_shape,
    complex_or_floating_dtype,
    floating_dtype,
    one_key,
    operand_for,
)
from gradkit.random.keys import split

__all__ = [
    "cauchy",
    "exponential",
    "gumbel",
    "laplace",
    "logistic",
    "normal",
    "truncated_normal",
    "uniform",
]


def uniform(key: Array, shape: Shape = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0) -> Array:
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
    key = one_key(key, "uniform")
    name = floating_dtype(dtype, "uniform")
    sizes = checked_shape(shape, "uniform")
    low = operand_for(minval, "minval", "uniform", sizes)
    high = operand_for(maxval, "maxval", "uniform", sizes)
    return _uniform(key, sizes, name, low, high)


def _uniform(key: Array, shape: tuple[int, ...], dtype: str, low: Any = 0.0, high: Any = 1.0) -> Array:
    unit = _unit(key, shape, dtype)
    if type(low) is Array or type(high) is Array:
        low, high = (
            cast(bound, dtype) if type(bound) is Array else full_like(unit, bound) for bound in (low, high)
        )
        return maximum(low, fused_multiply_add(unit, high - low, low))
    low, high = np.array([low, high]).astype(dtype)
    return ...


def _unit(key: Array, shape: tuple[int, ...], dtype: str) -> Array:
    """Draw multiples of the dtype's resolution from 0 to below 1."""
    resolution = np.finfo(dtype)
    bits = random_bits(key, shape=shape, bit_width=resolution.bits)
    # The same numbers as JAX makes by writing the bits below a 1, as a mantissa, and subtracting 1.
    return cast(bits >> resolution.bits - resolution.nmant, dtype) * 2.0**-resolution.nmant
