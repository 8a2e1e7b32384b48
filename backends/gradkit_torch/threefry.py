"""Threefry-2x32 for PyTorch: in int32, whose sums have the same bits, in place, block by block."""

from __future__ import annotations

import math
from typing import Any

import torch

__all__ = ["fold_in", "random_bits", "random_order"]

Raw = Any

BLOCK = 1 << 16
"""Numbers in a block on the CPU: its words stay in the processor's cache."""
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24), (13, 15, 26, 6), (17, 29, 16, 24), (13, 15, 26, 6))
PARITY = 0x1BD11BDA


def random_bits(key: Raw, *, shape: tuple[int, ...], bit_width: int) -> Raw:
    """Return random bits as unsigned integers, as `gradkit.primitives.random_bits.random_bits` defines them.

    Parameters
    ----------
    key : tensor of uint32, shape (..., 2)
        The keys.
    shape : tuple of int
        The shape of what each key gives.
    bit_width : int
        8, 16, 32 or 64.

    Returns
    -------
    tensor of unsigned integers of that width, shape (..., *shape)
    """
    keys = _words(key).reshape(-1, 2)
    size = math.prod(shape)
    rows = len(keys)
    width = size if key.device.type != "cpu" else max(1, BLOCK // max(1, rows))
    bits = torch.empty(rows, size, dtype=WIDTHS[bit_width], device=key.device)
    for start in range(0, size, width or 1):
        stop = min(start + width, size)
        counters = torch.arange(start, stop, dtype=torch.int64, device=key.device)
        high, low = _scrambled(keys[:, :1], keys[:, 1:], (counters >> 32).to(torch.int32), counters.to(torch.int32))
        part = bits[:, start:stop]
        if bit_width == 64:
            part.copy_(high)
            part <<= 32
            part |= low.to(torch.int64) & 0xFFFFFFFF
        else:
            part.copy_(high.bitwise_xor_(low))
    return bits.view(getattr(torch, f"uint{bit_width}")).reshape(key.shape[:-1] + shape)


WIDTHS = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}


def fold_in(key: Raw, data: Raw) -> Raw:
    """Return the keys that keys give for counters, as `gradkit.primitives.random_bits.fold_in` defines them.

    Parameters
    ----------
    key : tensor of uint32, shape (..., 2)
        The keys.
    data : tensor of uint32
        The counters; its shape broadcasts with the leading axes of `key`.

    Returns
    -------
    tensor of uint32
        Of the broadcast shape, with a last axis of size 2.
    """
    words, counters = _words(key), _words(data)
    high, low = _scrambled(words[..., 0], words[..., 1], torch.zeros_like(counters), counters)
    return torch.stack([high, low], -1).view(torch.uint32)


def random_order(key: Raw, *, shape: tuple[int, ...], axis: int, dtype: str) -> Raw:
    """Return independent random permutations, as `gradkit.primitives.random_bits.random_order` defines them.

    Parameters
    ----------
    key : tensor of uint32, shape (..., 2)
        The keys.
    shape : tuple of int
        The shape of what each key permutes.
    axis : int
        The axis along which it is permuted, counted from the front of `shape`.
    dtype : str
        The integer dtype of the result.

    Returns
    -------
    tensor of shape (..., *shape)
    """
    axis -= len(shape)
    size = shape[axis]
    children = torch.arange(2, dtype=torch.int32, device=key.device).view(torch.uint32)
    order = torch.arange(size, device=key.device).reshape(size, *(1,) * (-1 - axis)).expand(key.shape[:-1] + shape)
    key = key.as_subclass(torch.Tensor)
    # As often as there may be equal bits among those that are sorted by.
    for _ in range(math.ceil(3 * math.log(max(1, math.prod(shape))) / math.log(2**32 - 1))):
        keys = fold_in(key.view(torch.int32)[..., None, :].view(torch.uint32), children)
        key = keys[..., 0, :]
        bits = _words(random_bits(keys[..., 1, :], shape=shape, bit_width=32))
        ranked = torch.sort(bits ^ -(1 << 31), dim=axis, stable=True)[1]
        order = torch.take_along_dim(order, ranked, axis)
    return order.to(getattr(torch, dtype))


def _words(x: Raw) -> Raw:
    return x.as_subclass(torch.Tensor).view(torch.int32)


def _scrambled(key_high: Raw, key_low: Raw, high: Raw, low: Raw) -> tuple[Raw, Raw]:
    words = (key_high, key_low, key_high ^ key_low ^ PARITY)
    high = high + key_high
    low = low + key_low
    high, low = (x.contiguous() for x in torch.broadcast_tensors(high, low))
    if high.data_ptr() == low.data_ptr():
        low = low.clone()
    for i, rotations in enumerate(ROTATIONS):
        for rotation in rotations:
            high += low
            # The bits that come in from the right of a signed shift are the sign's: they are taken away.
            turned = low >> 32 - rotation
            turned &= (1 << rotation) - 1
            low <<= rotation
            low |= turned
            low ^= high
        high += words[(i + 1) % 3]
        low += words[(i + 2) % 3] + (i + 1)
    return high, low
