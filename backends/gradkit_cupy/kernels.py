"""CuPy's cheapest call for each primitive that has a better one than the namespace's function.

A call costs more on the host than on the GPU where arrays are small, and a kernel launch more than its arithmetic,
so these are methods rather than wrapped functions, and one launch rather than several.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import cupy
import cupyx

__all__ = ["KERNELS"]

Raw = Any
Axis = int | tuple[int, ...] | None


def total(x: Raw, axis: Axis = None, keepdims: bool = False) -> Raw:
    return x.sum(axis, keepdims=keepdims)


def mean(x: Raw, axis: Axis = None, keepdims: bool = False) -> Raw:
    return x.mean(axis, keepdims=keepdims)


def largest(x: Raw, axis: Axis = None, keepdims: bool = False) -> Raw:
    return x.max(axis, keepdims=keepdims)


def smallest(x: Raw, axis: Axis = None, keepdims: bool = False) -> Raw:
    return x.min(axis, keepdims=keepdims)


def matmul(x: Raw, y: Raw) -> Raw:
    return x.dot(y) if x.ndim == 2 == y.ndim else cupy.matmul(x, y)


def affine(x: Raw, w: Raw, b: Raw) -> Raw:
    result = matmul(x, w)
    result += b
    return result


def reshape(x: Raw, shape: tuple[int, ...]) -> Raw:
    return x.reshape(shape)


def permute_dims(x: Raw, axes: tuple[int, ...]) -> Raw:
    return x.transpose(axes)


def masked(g: Raw, mask: Raw) -> Raw:
    return cupy.where(mask, g, g.dtype.type(0))


def relu(x: Raw) -> Raw:
    return cupy.maximum(x, x.dtype.type(0))


def scatter_add(updates: Raw, indices: Raw, *, axis: int, size: int) -> Raw:
    """Add the updates into zeros. The order of additions at one index is the GPU's, so the last bits may differ."""
    result = cupy.zeros(updates.shape[:axis] + (size,) + updates.shape[axis + 1 :], updates.dtype)
    cupyx.scatter_add(result, (slice(None),) * axis + (indices,), updates)
    return result


def take(x: Raw, indices: Raw, *, axis: int) -> Raw:
    return x.take(indices, axis)


KERNELS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "negative": operator.neg,
    "sum": total,
    "mean": mean,
    "max": largest,
    "min": smallest,
    "matmul": matmul,
    "affine": affine,
    "reshape": reshape,
    "permute_dims": permute_dims,
    "masked": masked,
    "relu": relu,
    "scatter_add": scatter_add,
    "take": take,
}
