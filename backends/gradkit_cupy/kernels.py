"""CuPy's cheapest call for each primitive that has a better one than the namespace's function.

A call costs more on the host than on the GPU where arrays are small, and a kernel launch more than its arithmetic,
so these are methods rather than wrapped functions, and one launch rather than several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from gradkit_cupy import linear_algebra, transforms
from gradkit_cupy.division import floor_divide, remainder
from gradkit_cupy.launch import C_TYPES, launch
from gradkit_cupy.losses import label_cross_entropy, mean_label_cross_entropy, softmax_error
from gradkit_cupy.products import in_mode
from gradkit_cupy.sgd import sgd_update
from gradkit_cupy.threefry import fold_in, random_bits

__all__ = ["KERNELS"]

Raw = Any
Axis = int | tuple[int, ...] | None


def _reduction(name: str) -> Callable[..., Raw]:
    """Return a reduction as the method of that name, which is cheaper to call than the function."""

    def reduce(x: Raw, axis: Axis = None, keepdims: bool = False) -> Raw:
        # Over no axes there is nothing to reduce, and CuPy's kernels expect something.
        return x.copy() if axis == () else getattr(x, name)(axis=axis, keepdims=keepdims)

    return reduce


def matmul(x: Raw, y: Raw) -> Raw:
    return x.dot(y) if x.ndim == 2 == y.ndim else cupy.matmul(x, y)


def affine(x: Raw, w: Raw, b: Raw) -> Raw:
    # `dot` is one product of matrices whatever axes x has, where `matmul` is one for each of a batch.
    result = x.dot(w)
    result += b
    return result


def root_of_squares(x: Raw, *, axis: tuple[int, ...], keepdims: bool, divisor: float) -> Raw:
    # Always over the largest element: to ask whether squares are lost would wait for the GPU.
    sizes = cupy.abs(x)
    if x.size == 0 or axis == ():
        return cupy.sqrt(_reduction("sum")(sizes * sizes, axis, keepdims) / divisor)
    largest = sizes.max(axis=axis, keepdims=True)
    largest = cupy.where(cupy.isfinite(largest) & (largest > 0), largest, largest.dtype.type(1))
    sizes /= largest
    total = (sizes * sizes).sum(axis=axis, keepdims=True) / divisor
    root = cupy.sqrt(total) * largest
    return root if keepdims else cupy.squeeze(root, axis)


def reshape(x: Raw, shape: tuple[int, ...]) -> Raw:
    return x.reshape(shape)


def permute_dims(x: Raw, axes: tuple[int, ...]) -> Raw:
    return x.transpose(axes)


def masked(x: Raw, mask: Raw) -> Raw:
    return cupy.where(mask, x, x.dtype.type(0))


def relu(x: Raw) -> Raw:
    return cupy.maximum(x, x.dtype.type(0))


def sigmoid(x: Raw) -> Raw:
    kind = C_TYPES.get(x.dtype.name)
    if kind is None:
        return 1 / (1 + cupy.exp(-x))
    x = cupy.ascontiguousarray(x)
    y = cupy.empty(x.shape, x.dtype)
    launch("sigmoid", f"sigmoid<{kind}>", x.size, (x, y, np.int64(x.size)))
    return y


def _slope(height: int, steepness: int) -> Callable[..., Raw]:
    """Make the kernel of the derivative of tanh or sigmoid, in one launch."""

    def slope(x: Raw, y: Raw) -> Raw:
        kind = C_TYPES.get(x.dtype.name)
        if kind is None:
            size = cupy.where(x.real >= 0, x, -x)
            decay = cupy.exp(-steepness * size)
            return height * decay / ((1 + decay) * (1 + decay))
        x = cupy.ascontiguousarray(x)
        result = cupy.empty(x.shape, x.dtype)
        number = x.dtype.type
        launch("slope", f"slope<{kind}>", x.size, (x, result, number(height), number(steepness), np.int64(x.size)))
        return result

    return slope


ADDED_AS = {
    "int8": "int32",
    "int16": "int32",
    "uint8": "uint32",
    "uint16": "uint32",
    "int64": "uint64",
}
"""Integers that CUDA's atomic addition does not know, and a type in which their sums have the same low bits."""


def scatter_add(updates: Raw, indices: Raw, *, axis: int, size: int) -> Raw:
    """Add the updates into zeros. The order of additions at one index is the GPU's, so the last bits may differ."""
    shape = updates.shape[:axis] + (size,) + updates.shape[axis + 1 :]
    index = (slice(None),) * axis + (indices,)
    dtype = updates.dtype
    result = cupy.zeros(shape, ADDED_AS.get(dtype.name, dtype))
    if dtype.kind == "c":
        cupy.add.at(result.real, index, updates.real)
        cupy.add.at(result.imag, index, updates.imag)
    else:
        cupy.add.at(result, index, updates.astype(result.dtype, copy=False))
    return result.astype(dtype, copy=False)


def take(x: Raw, indices: Raw, *, axis: int) -> Raw:
    return x.take(indices, axis)


BLOCK = 16
"""The base length of XLA's ReduceWindowRewriter, in whose order `running_sum` adds."""


def running_sum(x: Raw) -> Raw:
    # The order of the general text, which adds with the library's cumulative sum: CuPy's is a scan, whose order is the
    # GPU's own.
    *batch, size = x.shape
    blocks = -(-size // BLOCK)
    rows = cupy.zeros((*batch, blocks, BLOCK), x.dtype)
    rows.reshape(*batch, blocks * BLOCK)[..., :size] = x
    for i in range(1, min(size, BLOCK)):
        rows[..., i] += rows[..., i - 1]
    if blocks > 1:
        rows[..., 1:, :] += running_sum(rows[..., :-1, BLOCK - 1])[..., None]
    return rows.reshape(*batch, blocks * BLOCK)[..., :size]


KERNELS: dict[str, Callable[..., Any]] = {
    **linear_algebra.KERNELS,
    **transforms.KERNELS,
    "sum": _reduction("sum"),
    "mean": _reduction("mean"),
    "max": _reduction("max"),
    "min": _reduction("min"),
    "matmul": matmul,
    "matmul_in_mode": in_mode(matmul),
    "affine": affine,
    "reshape": reshape,
    "root_of_squares": root_of_squares,
    "permute_dims": permute_dims,
    "masked": masked,
    "relu": relu,
    "sigmoid": sigmoid,
    "sigmoid_slope": _slope(1, 1),
    "tanh_slope": _slope(4, 2),
    "scatter_add": scatter_add,
    "take": take,
    "label_cross_entropy": label_cross_entropy,
    "mean_label_cross_entropy": mean_label_cross_entropy,
    "softmax_error": softmax_error,
    "floor_divide": floor_divide,
    "remainder": remainder,
    "running_sum": running_sum,
    "sgd_update": sgd_update,
    "random_bits": random_bits,
    "fold_in": fold_in,
}
