"""Random bits by JAX's own Threefry, in the layout that gradkit's text states: each one program for a shape."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy
import numpy as np
from jax.extend.random import threefry2x32_p

from gradkit_jax.widths import dtype_named

__all__ = ["fold_in", "random_bits", "random_order"]

Raw = Any


def scrambled(key_high: Raw, key_low: Raw, high: Raw, low: Raw) -> tuple[Raw, Raw]:
    """Scramble the counters (`high`, `low`) under a key, all of shapes that broadcast."""
    first, second = threefry2x32_p.bind(*jax.numpy.broadcast_arrays(key_high, key_low, high, low))
    return first, second


def words_of(key: Raw, shape: tuple[int, ...]) -> tuple[Raw, Raw]:
    """Return the two words that keys give for each of the counters 0, 1, 2 ..."""
    if (size := math.prod(shape)) > 1 << 32:
        raise ValueError(f"shape {shape}: {size} random numbers of one key; the backend 'jax' has 2**32 at most")
    low = jax.lax.iota(np.uint32, size)
    return scrambled(key[..., :1], key[..., 1:], jax.numpy.zeros_like(low), low)


@functools.partial(jax.jit, static_argnames=("shape", "bit_width"))
def random_bits(key: Raw, *, shape: tuple[int, ...], bit_width: int) -> Raw:
    """Return random bits as unsigned integers."""
    high, low = words_of(key, shape)
    if bit_width == 64:
        dtype_named("uint64")
        bits = high.astype(np.uint64) << 32 | low.astype(np.uint64)
    else:
        bits = high ^ low
        bits = bits if bit_width == 32 else bits.astype(np.dtype(f"uint{bit_width}"))
    return bits.reshape(key.shape[:-1] + shape)


@functools.partial(jax.jit)
def fold_in(key: Raw, data: Raw) -> Raw:
    """Return the keys that numbers make of keys."""
    low = data[..., None]
    return jax.numpy.concatenate(scrambled(key[..., :1], key[..., 1:], jax.numpy.zeros_like(low), low), axis=-1)


@functools.partial(jax.jit, static_argnames=("shape", "axis", "dtype"))
def random_order(key: Raw, *, shape: tuple[int, ...], axis: int, dtype: str) -> Raw:
    """Return independent random permutations along an axis: positions, stably sorted by fresh bits in each round."""
    axis -= len(shape)  # counted from the end, so that a batch of keys may stand in front
    whole = key.shape[:-1] + shape
    order = jax.lax.broadcasted_iota(np.uint32, whole, len(whole) + axis)
    for _ in range(math.ceil(3 * math.log(max(1, math.prod(shape))) / math.log(2**32 - 1))):
        children = fold_in(key[..., None, :], jax.lax.iota(np.uint32, 2))
        key = children[..., 0, :]
        bits = random_bits(children[..., 1, :], shape=shape, bit_width=32)
        order = jax.lax.sort((bits, order), dimension=len(whole) + axis, is_stable=True, num_keys=1)[1]
    return order.astype(np.dtype(dtype))
