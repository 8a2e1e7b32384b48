"""The order of complex numbers, which PyTorch does not have: by real parts, then by imaginary parts, NaN last."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["comparison", "extremum", "larger", "order", "ranks"]

Raw = Any


def comparison(name: str, x: Raw, y: Raw) -> Raw:
    """Return whether numbers are ``less``, ``greater_equal`` and so on; nothing is where one of them is NaN."""
    strict = getattr(torch, name.removesuffix("_equal"))
    x, y = (torch.as_tensor(z, device=_device(x, y)) for z in (x, y))
    parts = [(z.real, z.imag) if z.dtype.is_complex else (z, torch.zeros_like(z)) for z in (x, y)]
    (x_real, x_imag), (y_real, y_imag) = parts
    by_imaginary = getattr(torch, name)(x_imag, y_imag) & (x_real == y_real)
    return (strict(x_real, y_real) & (x_imag == x_imag) & (y_imag == y_imag)) | by_imaginary


def _device(*operands: Raw) -> Any:
    return next(operand.device for operand in operands if isinstance(operand, Tensor))


def larger(x: Raw, y: Raw, largest: bool) -> Raw:
    """Return the larger of two numbers, or the smaller one; NaN where one of them is."""
    if not isinstance(y, Tensor):
        y = torch.full((), y, dtype=x.dtype, device=x.device)
    first, second = (x, y) if largest else (y, x)
    wins = (first.real > second.real) | (first.real == second.real) & (first.imag >= second.imag)
    chosen = torch.where(wins, x, y)
    return torch.where(x != x, x, torch.where(y != y, y, chosen))


def extremum(function: Callable[..., Raw], x: Raw, axes: tuple[int, ...], keepdims: bool) -> Raw:
    """Return the largest number along axes, by ``torch.amax``, or the smallest, by ``torch.amin``."""
    worst = -math.inf if function is torch.amax else math.inf
    real = function(x.real, axes, keepdim=True)
    imag = function(torch.where(x.real == real, x.imag, worst), axes, keepdim=True)
    lost = torch.any(x != x, axes, keepdim=True)
    result = torch.where(lost, math.nan, torch.complex(real, imag))
    return result if keepdims else torch.squeeze(result, axes)


def order(x: Raw, axis: int, descending: bool) -> Raw:
    """Return the positions that sort numbers along an axis; equal ones keep their order."""
    lost = 2 * torch.isnan(x.real).to(torch.uint8) + torch.isnan(x.imag)
    found = torch.sort(x.imag, dim=axis, stable=True, descending=descending)[1]
    for key in (x.real, lost):
        by = torch.sort(torch.take_along_dim(key, found, axis), dim=axis, stable=True, descending=descending)[1]
        found = torch.take_along_dim(found, by, axis)
    return found


def ranks(x: Raw) -> Raw:
    """Return whole numbers that are in the order of the numbers of a vector: equal ones for equal numbers."""
    sorting = order(x, 0, False)
    ordered = x[sorting]
    before, after = ordered[:-1], ordered[1:]
    differs = torch.zeros(x.shape, dtype=torch.int64, device=x.device)
    parts = [(before.real, after.real), (before.imag, after.imag)]
    for a, b in parts:  # NaN is equal to NaN here
        differs[1:] |= (a != b) & ((a == a) | (b == b))
    result = torch.empty_like(differs)
    result[sorting] = torch.cumsum(differs, 0)
    return result
