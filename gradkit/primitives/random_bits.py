"""Random bits: the block function Threefry-2x32, and the primitives that are made of it.

Threefry is a *counter-based* generator (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
3", SC 2011): it scrambles a 64-bit counter under a 64-bit key, so the n-th random number is a function of the key and
of n alone, whatever computes it and in whatever order. The layout is that of JAX's default generator
(``jax_threefry_partitionable``): element n of an array takes counter n.
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array, General, bind
from gradkit.core.batching import aligned, broadcast_sizes, leading

__all__ = ["fold_in", "random_bits", "random_order", "threefry2x32"]

Raw = Any

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
"""By how many bits the rounds of a group rotate; the groups alternate."""
GROUPS = 5
PARITY = 0x1BD11BDA
"""What the third word of the key schedule is made with, so that no key gives a schedule of zeros."""


def threefry2x32(key_high: Raw, key_low: Raw, high: Raw, low: Raw) -> tuple[Raw, Raw]:
    """Scramble the counters (`high`, `low`) under the key (`key_high`, `key_low`).

    Parameters
    ----------
    key_high, key_low, high, low : arrays of uint32
        The words, of shapes that broadcast. At least one axis each: NumPy warns of overflow in its 0-d arrays, and
        here every addition is modulo 2**32.

    Returns
    -------
    tuple of two arrays of uint32
        The scrambled words.
    """
    schedule = (key_high, key_low, key_high ^ key_low ^ PARITY)
    high = high + key_high
    low = low + key_low
    for group in range(GROUPS):
        for rotation in ROTATIONS[group % 2]:
            high = high + low
            low = (low << rotation | low >> 32 - rotation) ^ high
        high = high + schedule[(group + 1) % 3]
        low = low + (schedule[(group + 2) % 3] + (group + 1))
    return high, low


def counters(xp: Any, size: int, device: Any) -> tuple[Raw, Raw]:
    """Return the high and low words of the counters 0 ... `size` - 1, which broadcast against each other."""
    if size <= 1 << 32:
        return xp.zeros(1, dtype=xp.uint32, device=device), xp.arange(size, dtype=xp.uint32, device=device)
    counter = xp.arange(size, dtype=xp.uint64, device=device)
    return xp.astype(counter >> 32, xp.uint32), xp.astype(counter & 0xFFFFFFFF, xp.uint32)


def _random_bits(xp: Any, key: Raw, *, shape: tuple[int, ...], bit_width: int) -> Raw:
    high, low = counters(xp, math.prod(shape), xp.device_of(key))
    high, low = threefry2x32(key[..., :1], key[..., 1:], high, low)
    if bit_width == 64:
        bits = xp.astype(high, xp.uint64) << 32 | xp.astype(low, xp.uint64)
    elif bit_width == 32:
        bits = high ^ low
    else:
        bits = xp.astype((high ^ low) & (1 << bit_width) - 1, xp.uint8 if bit_width == 8 else xp.uint16)
    return xp.reshape(bits, key.shape[:-1] + shape)


def _fold_in(xp: Any, key: Raw, data: Raw) -> Raw:
    low = data[..., None]
    return xp.concat(threefry2x32(key[..., :1], key[..., 1:], xp.zeros_like(low), low), axis=-1)


def _random_order(xp: Any, key: Raw, *, shape: tuple[int, ...], axis: int, dtype: str) -> Raw:
    axis -= len(shape)  # counted from the end, so that a batch of keys may stand in front
    low_words = xp.arange(2, dtype=xp.uint32, device=xp.device_of(key))
    trailing = (1,) * (-1 - axis)
    positions = xp.reshape(xp.arange(shape[axis], dtype=xp.uint64, device=xp.device_of(key)), (shape[axis], *trailing))
    order = xp.broadcast_to(positions, key.shape[:-1] + shape)
    for _ in range(shuffling_rounds(math.prod(shape))):
        children = xp.fold_in(key[..., None, :], low_words)
        key = children[..., 0, :]
        bits = xp.random_bits(children[..., 1, :], shape=shape, bit_width=32)
        # The position stands below the random bits, so equal bits keep their order: a stable sort, by a fast one.
        ranked = xp.sort(xp.astype(bits, xp.uint64) << 32 | positions, axis=axis, descending=False) & 0xFFFFFFFF
        order = xp.take_along_axis(order, xp.astype(ranked, xp.int64), axis=axis)
    return xp.astype(order, getattr(xp, dtype))


def shuffling_rounds(size: int) -> int:
    """Return how often elements are sorted by fresh 32-bit keys until ties are improbable, as JAX counts it."""
    return math.ceil(3 * math.log(max(1, size)) / math.log(2**32 - 1))


def _shape_for_each_key(key: Any, *, shape: tuple[int, ...], **_: Any) -> tuple[int, ...]:
    return (*key.shape[:-1], *shape)


def _batch_fold_in(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Array, int]:
    (key, data), (batch_key, batch_data) = values, axes
    # How many axes each has besides the batch's, and the words'.
    rank = max(key.ndim - 1 - (batch_key is not None), data.ndim - (batch_data is not None))
    return bind(primitive, (aligned(key, batch_key, rank + 1), aligned(data, batch_data, rank)), params), 0


random_bits = General(
    "random_bits",
    _random_bits,
    (None,),
    batch=leading,
    shape=_shape_for_each_key,
    dtype=lambda _key, *, shape, bit_width: f"uint{bit_width}",
)
"""Return the random bits of the counters 0, 1, 2 ... as unsigned integers.

Parameters
----------
key : Array of uint32, shape (..., 2)
    The keys.
shape : tuple of int
    The shape of what each key gives.
bit_width : {8, 16, 32, 64}
    How many bits a number has.

Returns
-------
Array
    Of shape (..., *shape) and of the unsigned integer dtype of that width.
"""
fold_in = General(
    "fold_in",
    _fold_in,
    (None, None),
    batch=_batch_fold_in,
    shape=lambda key, data: (*broadcast_sizes([tuple(key.shape[:-1]), tuple(data.shape)]), 2),
)
"""Return the keys that keys give for counters.

Parameters
----------
key : Array of uint32, shape (..., 2)
    The keys.
data : Array of uint32
    The counters; its shape broadcasts with the leading axes of `key`.

Returns
-------
Array of uint32
    Of the broadcast shape, with a last axis of size 2.
"""
random_order = General(
    "random_order",
    _random_order,
    (None,),
    batch=leading,
    shape=_shape_for_each_key,
    dtype=lambda _key, *, shape, axis, dtype: dtype,
)
"""Return independent random permutations of the positions along an axis.

Parameters
----------
key : Array of uint32, shape (..., 2)
    The keys.
shape : tuple of int
    The shape of what each key permutes.
axis : int
    The axis along which it is permuted, counted from the front of `shape`.
dtype : str
    The integer dtype of the result.

Returns
-------
Array
    Of shape (..., *shape). Each vector along the axis has the numbers from 0 to ``shape[axis]`` - 1, in random
    order.
"""
