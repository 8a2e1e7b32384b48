"""Kernels of the JAX backend, by the primitive's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy
import jax.scipy.linalg
import numpy as np

from gradkit_jax.linear_algebra import det
from gradkit_jax.slices import getitem, pad_index, set_index
from gradkit_jax.threefry import fold_in, random_bits, random_order
from gradkit_jax.widths import dtype_named

__all__ = ["KERNELS"]


def bitcast(x: Any, *, dtype: str) -> Any:
    if x.dtype == bool:
        x = x.astype(np.uint8)
    return jax.lax.bitcast_convert_type(x, dtype_named(dtype))


def reduce_precision(x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
    return jax.lax.reduce_precision(x, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits)


def expm(x: Any) -> Any:
    # How often the result is squared depends on the values, of which JAX's function has as many branches.
    return jax.scipy.linalg.expm(x, max_squarings=64) if x.size else x


def gcd(x: Any, y: Any) -> Any:
    # As many steps as the values need. JAX's own does not end where both are the smallest number of their dtype.
    def step(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        x, y = pair
        done = y == 0
        return jax.numpy.where(done, x, y), jax.numpy.where(done, y, abs(x % jax.numpy.where(done, 1, y)))

    pair = tuple(map(abs, jax.numpy.broadcast_arrays(x, y)))
    return jax.lax.while_loop(lambda pair: (pair[1] != 0).any(), step, pair)[0]


KERNELS: Mapping[str, Callable[..., Any]] = {
    "bitcast": bitcast,
    "det": det,
    "expm": expm,
    "fold_in": fold_in,
    "gcd": gcd,
    "getitem": getitem,
    "pad_index": pad_index,
    "random_bits": random_bits,
    "random_order": random_order,
    "reduce_precision": reduce_precision,
    "set_index": set_index,
}
