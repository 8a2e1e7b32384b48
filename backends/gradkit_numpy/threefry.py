"""Threefry-2x32 for NumPy, block by block and in place.

A random number costs a hundred operations, and each of them is little arithmetic and much memory traffic: so the
words of a block of numbers stay in the processor's cache, and no operation allocates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["random_bits"]

Raw = Any

BLOCK = 1 << 15
"""Numbers in a block, in three buffers of 128 KiB: smaller blocks pay for calls, larger ones leave the cache."""
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24), (13, 15, 26, 6), (17, 29, 16, 24), (13, 15, 26, 6))
SHIFTS = [[(np.uint32(rotation), np.uint32(32 - rotation)) for rotation in group] for group in ROTATIONS]
PARITY = np.uint32(0x1BD11BDA)


def random_bits(key: Raw, *, shape: tuple[int, ...], bit_width: int) -> Raw:
    """Return random bits as unsigned integers.

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
        Element n of what a key gives is the block of counter n.
    """
    # One row a key: its words are columns that broadcast along the counters.
    keys = key.reshape(-1, 2)
    words = (keys[:, :1], keys[:, 1:], keys[:, :1] ^ keys[:, 1:] ^ PARITY)
    injections = [(words[(i + 1) % 3], words[(i + 2) % 3] + np.uint32(i + 1)) for i in range(len(SHIFTS))]

    size = math.prod(shape)
    bits = np.empty((len(keys), size), f"uint{bit_width}")
    # A power of two, so that no block passes from one high word of the counter to the next.
    width = min(size, 1 << (BLOCK // max(1, len(keys))).bit_length() >> 1) or 1
    counters = np.arange(width, dtype=np.uint32)
    buffers = np.empty((3, len(keys), width), np.uint32)
    for start in range(0, size, width):
        part = bits[:, start : start + width]
        high, low, turned = buffers[:, :, : part.shape[1]]
        high[...] = words[0] + np.uint32(start >> 32)
        np.add(counters[: part.shape[1]], words[1] + np.uint32(start & 0xFFFFFFFF), low)
        for shifts, (into_high, into_low) in zip(SHIFTS, injections, strict=True):
            for left, right in shifts:
                np.add(high, low, high)
                np.left_shift(low, left, turned)
                np.right_shift(low, right, low)
                np.bitwise_or(low, turned, low)
                np.bitwise_xor(low, high, low)
            np.add(high, into_high, high)
            np.add(low, into_low, low)
        if bit_width == 64:
            part[...] = high
            np.left_shift(part, np.uint64(32), part)
            np.bitwise_or(part, low, part)
        else:
            # Assigning to a narrower type keeps the low bits.
            part[...] = np.bitwise_xor(high, low, high)
    return bits.reshape(key.shape[:-1] + shape)
