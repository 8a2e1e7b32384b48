"""Threefry-2x32 for NumPy, block by block and in place.

A random number costs a hundred operations, and each of them is little arithmetic and much memory traffic: so the
words of a block of numbers stay in the processor's cache, and no operation allocates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["fold_in", "random_bits"]

Raw = Any

BLOCK = 1 << 15
"""Numbers in a block, in three buffers of 128 KiB: smaller blocks pay for calls, larger ones leave the cache."""
SHORT = 16
"""Numbers of a key that are few, beside the calls that a row of its own takes."""
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
    keys = key.reshape(-1, 2)
    size = math.prod(shape)
    if size <= SHORT < len(keys):
        # Few numbers of each of many keys: the keys stand side by side, along which NumPy's loops run.
        bits = np.empty((size, len(keys)), f"uint{bit_width}")
        counters = np.arange(size, dtype=np.uint32)[:, None]
        width = min(len(keys), BLOCK // max(1, size))
        buffers = np.empty((3, size, width), np.uint32)
        for start in range(0, len(keys), width):
            part = bits[:, start : start + width]
            words = np.ascontiguousarray(keys[start : start + width].T)
            _fill(part, buffers[:, :, : part.shape[1]], words[0], words[1], np.uint32(0), counters)
        return np.ascontiguousarray(bits.T).reshape(key.shape[:-1] + shape)
    # One row a key: its words are columns that broadcast along the counters.
    high_word, low_word = keys[:, :1], keys[:, 1:]
    bits = np.empty((len(keys), size), f"uint{bit_width}")
    # A power of two, so that no block passes from one high word of the counter to the next.
    width = min(size, 1 << (BLOCK // max(1, len(keys))).bit_length() >> 1) or 1
    counters = np.arange(width, dtype=np.uint32)
    buffers = np.empty((3, len(keys), width), np.uint32)
    for start in range(0, size, width):
        part = bits[:, start : start + width]
        count = part.shape[1]
        low = counters[:count] + np.uint32(start & 0xFFFFFFFF)
        _fill(part, buffers[:, :, :count], high_word, low_word, np.uint32(start >> 32), low)
    return bits.reshape(key.shape[:-1] + shape)


def fold_in(key: Raw, data: Raw) -> Raw:
    """Return the key of each number under its key.

    Parameters
    ----------
    key : array of uint32, shape (..., 2)
        The keys.
    data : array of uint32
        The numbers; their shape and that of the keys broadcast.

    Returns
    -------
    array of uint32, shape (..., 2)
        Both words of the block whose counter is the number.
    """
    shape = np.broadcast(key[..., 0], data).shape
    # Written out, so that no operation broadcasts, and with the first axis innermost: keys are many, numbers often two.
    words = np.empty((*shape, 3), np.uint32, order="F")
    words[..., 0], words[..., 1], words[..., 2] = key[..., 0], key[..., 1], data
    high_word, low_word, counter = words.reshape(-1, 3, order="F").T
    size = counter.size
    keys = np.empty((size, 2), np.uint32, order="F")
    buffers = np.empty((3, min(BLOCK, size)), np.uint32)
    for start in range(0, size, BLOCK):
        block = slice(start, start + BLOCK)
        here = buffers[:, : size - start]
        keys[block, 0], keys[block, 1] = _scramble(
            here, high_word[block], low_word[block], np.uint32(0), counter[block]
        )
    return np.ascontiguousarray(keys.reshape((*shape, 2), order="F"))


def _fill(bits: Raw, buffers: Raw, high_word: Raw, low_word: Raw, high_counter: Raw, low_counter: Raw) -> None:
    """Write the bits of counters under keys, which broadcast against each other."""
    high, low = _scramble(buffers, high_word, low_word, high_counter, low_counter)
    if bits.dtype.itemsize == 8:
        bits[...] = high
        np.left_shift(bits, np.uint64(32), bits)
        np.bitwise_or(bits, low, bits)
    else:
        # Assigning to a narrower type keeps the low bits.
        bits[...] = np.bitwise_xor(high, low, high)


def _scramble(buffers: Raw, high_word: Raw, low_word: Raw, high_counter: Raw, low_counter: Raw) -> tuple[Raw, Raw]:
    """Return the scrambled words of counters under keys, which are in the buffers."""
    words = (high_word, low_word, high_word ^ low_word ^ PARITY)
    high, low, turned = buffers
    high[...] = high_word + high_counter
    np.add(low_counter, low_word, low)
    for i, shifts in enumerate(SHIFTS):
        for left, right in shifts:
            np.add(high, low, high)
            np.left_shift(low, left, turned)
            np.right_shift(low, right, low)
            np.bitwise_or(low, turned, low)
            np.bitwise_xor(low, high, low)
        np.add(high, words[(i + 1) % 3], high)
        np.add(low, words[(i + 2) % 3] + np.uint32(i + 1), low)
    return high, low
