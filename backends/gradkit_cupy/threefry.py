"""Threefry-2x32 for CuPy: one launch for all numbers of all keys, each made in registers by a thread of its own."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from gradkit_cupy.launch import launch

__all__ = ["fold_in", "random_bits"]

Raw = Any

C_TYPES = {8: "unsigned char", 16: "unsigned short", 32: "unsigned int", 64: "unsigned long long"}
"""What the kernel calls unsigned integers, by their bits."""


def random_bits(key: Raw, *, shape: tuple[int, ...], bit_width: int) -> Raw:
    """Return random bits as unsigned integers, as `gradkit.primitives.random_bits.random_bits` defines them.

    Parameters
    ----------
    key : array of uint32, shape (..., 2)
        The keys.
    shape : tuple of int
        The shape of what each key gives.
    bit_width : int
        8, 16, 32 or 64.

    Returns
    -------
    array of unsigned integers of that width, shape (..., *shape)
    """
    bits = cupy.empty(key.shape[:-1] + shape, f"uint{bit_width}")
    sizes = (np.int64(math.prod(shape)), np.int64(bits.size))
    keys = cupy.ascontiguousarray(key)
    launch("random_bits", f"random_bits<{C_TYPES[bit_width]}>", bits.size, (keys, bits, *sizes))
    return bits


def fold_in(key: Raw, data: Raw) -> Raw:
    """Return the keys that keys give for counters, as `gradkit.primitives.random_bits.fold_in` defines them.

    Parameters
    ----------
    key : array of uint32, shape (..., 2)
        The keys.
    data : array of uint32
        The counters; its shape broadcasts with the leading axes of `key`.

    Returns
    -------
    array of uint32
        Of the broadcast shape, with a last axis of size 2.
    """
    shape = np.broadcast_shapes(key.shape[:-1], data.shape)
    folded = cupy.empty((*shape, 2), np.uint32)
    counters = cupy.ascontiguousarray(cupy.broadcast_to(data, shape))
    if key.size == 2:
        keys, step = cupy.ascontiguousarray(key), 0
    else:
        keys, step = cupy.ascontiguousarray(cupy.broadcast_to(key, (*shape, 2))), 2
    launch("fold_in", "fold_in", counters.size, (keys, np.int64(step), counters, folded, np.int64(counters.size)))
    return folded
