"""PyTorch's linear algebra as the standard has it: leading axes broadcast, and what has no result is NaN.

PyTorch's functions with ``_ex`` in their names tell whether they succeeded; the others raise, for which they wait for a
GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["FUNCTIONS"]

Raw = Any


def _or_nan(result: Raw, info: Raw) -> Raw:
    failed = (info != 0)[(...,) + (None,) * (result.ndim - info.ndim)]
    return torch.where(failed, torch.full_like(result, math.nan), result)


def cholesky(x: Raw, /, *, upper: bool = False) -> Raw:
    return _or_nan(*torch.linalg.cholesky_ex(x, upper=upper))


def inv(x: Raw, /) -> Raw:
    return _or_nan(*torch.linalg.inv_ex(x))


def solve(a: Raw, b: Raw, /) -> Raw:
    is_vector = b.ndim == 1
    right = b[:, None] if is_vector else b
    batch = torch.broadcast_shapes(a.shape[:-2], right.shape[:-2])
    a = a.expand(batch + a.shape[-2:])
    right = right.expand(batch + right.shape[-2:])
    result = _or_nan(*torch.linalg.solve_ex(a, right))
    return result[..., 0] if is_vector else result


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cholesky": cholesky,
    "inv": inv,
    "solve": solve,
}
"""By the name in ``linalg``."""
