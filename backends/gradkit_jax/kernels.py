"""Kernels of the JAX backend, by the primitive's name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy
import jax.scipy.linalg
import numpy as np

from gradkit_jax.linear_algebra import det
from gradkit_jax.threefry import fold_in, random_bits, random_order
from gradkit_jax.widths import dtype_named

__all__ = ["KERNELS"]

Index = tuple[Any, ...]


def _static(index: Index) -> Index:
    """Return an index that hashes: before Python 3.12 slices do not."""
    return tuple((part.start, part.stop, part.step) if isinstance(part, slice) else part for part in index)


def _as_index(index: Index) -> Index:
    return tuple(slice(*part) if isinstance(part, tuple) else part for part in index)


@functools.partial(jax.jit, static_argnames=("index", "shape"))
def _padded(x: Any, index: Index, shape: tuple[int, ...]) -> Any:
    return jax.numpy.zeros(shape, x.dtype).at[_as_index(index)].set(x)


@functools.partial(jax.jit, static_argnames=("index",))
def _set(x: Any, y: Any, index: Index) -> Any:
    return x.at[_as_index(index)].set(y)


def pad_index(x: Any, *, index: Index, shape: tuple[int, ...]) -> Any:
    return _padded(x, _static(index), tuple(shape))


def set_index(x: Any, y: Any, *, index: Index) -> Any:
    return _set(x, y, _static(index))


def bitcast(x: Any, *, dtype: str) -> Any:
    if x.dtype == bool:
        x = x.astype(np.uint8)
    return jax.lax.bitcast_convert_type(x, dtype_named(dtype))


def reduce_precision(x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
    return jax.lax.reduce_precision(x, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits)


def expm(x: Any) -> Any:
    # How often the result is squared depends on the values, of which JAX's function has as many branches.
    return jax.scipy.linalg.expm(x, max_squarings=64) if x.size else x


KERNELS: Mapping[str, Callable[..., Any]] = {
    "bitcast": bitcast,
    "det": det,
    "expm": expm,
    "fold_in": fold_in,
    "pad_index": pad_index,
    "random_bits": random_bits,
    "random_order": random_order,
    "reduce_precision": reduce_precision,
    "set_index": set_index,
}
