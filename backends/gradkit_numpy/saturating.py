"""Derivatives of saturating functions: the cheap formula, and the exact one for the few elements that need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["KERNELS"]

Raw = Any

HALF = np.dtype("float16")
FAR = 800.0
"""As in `gradkit.primitives.gates`."""
CANCELLED = 2.0**-8
"""Below this 1 - y has lost more digits than float32 can spare."""


def tanh_slope(x: Raw, y: Raw) -> Raw:
    if y.dtype.kind == "c" or y.dtype is HALF:
        return _in_full(4, 2, x)
    slope = y * y
    slope = np.subtract(1, slope, slope) if type(slope) is np.ndarray else 1 - slope
    return _mended(slope, slope, 4, 2, x)


def sigmoid_slope(x: Raw, y: Raw) -> Raw:
    if y.dtype.kind == "c" or y.dtype is HALF:
        return _in_full(1, 1, x)
    rest = 1 - y
    return _mended(y * rest, rest, 1, 1, x)


def _mended(slope: Raw, difference: Raw, height: int, steepness: int, x: Raw) -> Raw:
    # argmin finds NaN first, which fails the comparison as well. It is the cheapest reduction that there is.
    if not difference.size or difference.item(difference.argmin()) >= CANCELLED:
        return slope
    if type(slope) is not np.ndarray or not slope.ndim:
        return _in_full(height, steepness, x)
    places = np.nonzero(~(difference >= CANCELLED))
    slope[places] = _in_full(height, steepness, x[places])
    return slope


def _in_full(height: int, steepness: int, x: Raw) -> Raw:
    """Return height * e / (1 + e)**2 for e = exp(-steepness * abs(x))."""
    dtype = x.dtype
    if dtype is HALF:
        x = x.astype(np.float32)
    size = np.where(x.real >= 0, x, -x) if dtype.kind == "c" else np.abs(x)
    decay = np.exp(-steepness * size)
    slope = height * decay / ((1 + decay) * (1 + decay))
    return slope.astype(HALF) if dtype is HALF else slope


def gated(x: Raw, gate: Raw) -> Raw:
    return x * gate if x.dtype.kind == "c" else np.maximum(x, x.dtype.type(-FAR)) * gate


def limited(x: Raw) -> Raw:
    return x if x.dtype.kind == "c" else np.minimum(np.maximum(x, x.dtype.type(-FAR)), x.dtype.type(FAR))


KERNELS: dict[str, Callable[..., Any]] = {
    "gated": gated,
    "limited": limited,
    "sigmoid_slope": sigmoid_slope,
    "tanh_slope": tanh_slope,
}
