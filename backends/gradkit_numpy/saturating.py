"""Derivatives of saturating functions: the cheap formula, and the exact one for the few elements that need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["INTO", "KERNELS"]

Raw = Any

HALF = np.dtype("float16")
FAR = 800.0
"""As in `gradkit.primitives.gates`."""
TANH_CANCELLED, SIGMOID_CANCELLED = 2.0**-13, 2.0**-9
"""Below these 1 - y**2 and 1 - y have lost too many digits of float32: up to 9e-4 of the slope of tanh, and 5e-5 of
sigmoid's. (Layers of tanh have elements near the first, so a larger bound would cost each step the exact formula.)"""
SMALL = 4096
"""Elements up to which the exact formula for all takes less time than to find those that need it."""
PLAIN = {n: n for n in (-2, -1, 1, 4)}
NUMBERS = {np.dtype(name): {n: np.asarray(n, name) for n in PLAIN} for name in ("float32", "float64")}
"""Numbers that need not be converted at each call, which takes as long as an operation on a thousand elements."""
ONES = {dtype: numbers[1] for dtype, numbers in NUMBERS.items()}

multiply, subtract = np.multiply, np.subtract


def tanh_slope(x: Raw, y: Raw) -> Raw:
    one = ONES.get(y.dtype)
    if one is None:
        return _in_full(4, 2, x)
    if not y.ndim:
        slope = 1 - y * y
        return slope if slope >= TANH_CANCELLED else _in_full(4, 2, x)
    return tanh_slope_into(x, y, np.empty_like(y))


def tanh_slope_into(x: Raw, y: Raw, slope: Raw) -> Raw:
    """Write the slope of tanh into an array of the shape and dtype of `x` and `y`: float32 or float64."""
    multiply(y, y, slope)
    subtract(ONES[y.dtype], slope, slope)
    # argmin finds NaN first, which fails the comparison as well. It is the cheapest reduction that there is.
    if slope.size and not slope.item(slope.argmin()) >= TANH_CANCELLED:
        _mend(slope, slope, TANH_CANCELLED, 4, 2, x)
    return slope


def tanh_pull(g: Raw, node: Any, saved: Sequence[Raw]) -> list[tuple[Any, Raw]]:
    y, x = saved
    one = ONES.get(y.dtype)
    if one is not None and y.ndim:
        slope = y * y
        subtract(one, slope, slope)
        if slope.size and not slope.item(slope.argmin()) >= TANH_CANCELLED:
            _mend(slope, slope, TANH_CANCELLED, 4, 2, x)
        return [(node.parents[0], multiply(slope, g, slope))]
    return [(node.parents[0], g * tanh_slope(x, y))]


def sigmoid_slope(x: Raw, y: Raw) -> Raw:
    one = ONES.get(y.dtype)
    if one is None:
        return _in_full(1, 1, x)
    rest = one - y
    if not y.ndim:
        return rest * y if rest >= SIGMOID_CANCELLED else _in_full(1, 1, x)
    slope = rest * y
    if rest.size and not rest.item(rest.argmin()) >= SIGMOID_CANCELLED:
        _mend(slope, rest, SIGMOID_CANCELLED, 1, 1, x)
    return slope


def sigmoid_slope_into(x: Raw, y: Raw, slope: Raw) -> Raw:
    """Write the slope of the logistic function into an array, as `tanh_slope_into` does."""
    subtract(ONES[y.dtype], y, slope)
    if not slope.size or slope.item(slope.argmin()) >= SIGMOID_CANCELLED:
        return multiply(slope, y, slope)
    slope[...] = sigmoid_slope(x, y)
    return slope


def _mend(slope: Raw, rest: Raw, bound: float, height: int, steepness: int, x: Raw) -> None:
    """Write the exact slope where `rest` is below a bound, or everywhere."""
    if slope.size > SMALL and slope.flags.c_contiguous:
        positions = (rest < bound).ravel().nonzero()[0]
        if len(positions) <= slope.size // 4:
            slope.ravel()[positions] = _in_full(height, steepness, x.ravel()[positions])
            return
    _in_full(height, steepness, x, slope)


def _in_full(height: int, steepness: int, x: Raw, out: Raw | None = None) -> Raw:
    """Return height * e / (1 + e)**2 for e = exp(-steepness * abs(x)), in `out` if it is given: float32 or float64."""
    dtype = x.dtype
    if dtype == HALF:
        return _in_full(height, steepness, x.astype(np.float32)).astype(HALF)
    if dtype.kind == "c":
        decay = np.exp(np.where(x.real >= 0, -x, x) * steepness)
        rest = decay + 1
        return decay * height / (rest * rest)
    numbers: Mapping[int, Any] = NUMBERS.get(dtype, PLAIN)
    decay = np.abs(x, out=out)
    decay *= numbers[-steepness]
    decay = np.exp(decay, out=out)
    rest = decay + numbers[1]
    rest *= rest
    if height != 1:
        decay *= numbers[height]
    decay /= rest
    return decay


def gated(x: Raw, gate: Raw) -> Raw:
    if type(x) in (int, float):
        x = gate.dtype.type(x)
    return x * gate if x.dtype.kind == "c" else np.maximum(x, x.dtype.type(-FAR)) * gate


def limited(x: Raw) -> Raw:
    return x if x.dtype.kind == "c" else np.minimum(np.maximum(x, x.dtype.type(-FAR)), x.dtype.type(FAR))


INTO: dict[str, Callable[..., Any]] = {"sigmoid_slope": sigmoid_slope_into, "tanh_slope": tanh_slope_into}
"""Kernels of float32 and float64 that write their result into the array that is their last argument."""

KERNELS: dict[str, Callable[..., Any]] = {
    "gated": gated,
    "limited": limited,
    "sigmoid_slope": sigmoid_slope,
    "tanh_pull": tanh_pull,
    "tanh_slope": tanh_slope,
}
