"""Updates by index and slices at computed positions with NumPy: a view, one assignment, or the ufunc's own `at`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["KERNELS"]

Raw = Any


def scatter_with(write: Callable[[Raw, Any, Raw], None]) -> Callable[..., Raw]:
    """Make the kernel that writes slices into a copy at their positions; those at -1 go nowhere."""

    def scatter(x: Raw, updates: Raw, indices: Raw, *, axis: int) -> Raw:
        result = x.copy()
        valid = indices >= 0
        if not valid.all():
            indices, updates = indices[valid], updates.compress(valid, axis)
        write(result, (slice(None),) * axis + (indices,), updates)
        return result

    return scatter


def assign(x: Raw, index: Any, updates: Raw) -> None:
    x[index] = updates


def last_of_equal(x: Raw) -> Raw:
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    result = np.empty(rows.shape, np.bool_)
    numbers = np.arange(rows.shape[1])
    for row, found in zip(rows, result, strict=True):
        writers = np.empty(max(int(row.max(initial=0)) + 2, 1), numbers.dtype)
        writers[row] = numbers  # -1 is the last position, which nothing else takes
        np.equal(writers[row], numbers, out=found)
    return result.reshape(x.shape)


def window(shape: tuple[int, ...], sizes: tuple[int, ...], starts: Raw, axes: tuple[int, ...]) -> tuple[slice, ...]:
    """Return where a slice of these sizes lies that begins at `starts` along `axes`, moved inwards where it must."""
    parts = [slice(None)] * len(shape)
    for axis, start in zip(axes, starts.tolist(), strict=True):
        size = shape[axis]
        begin = min(max(start + size if start < 0 else start, 0), size - sizes[axis])
        parts[axis] = slice(begin, begin + sizes[axis])
    return tuple(parts)


def dynamic_slice(x: Raw, starts: Raw, *, slice_sizes: tuple[int, ...], axes: tuple[int, ...]) -> Raw:
    return x[window(x.shape, slice_sizes, starts, axes)]


def dynamic_update_slice(x: Raw, update: Raw, starts: Raw, *, axes: tuple[int, ...]) -> Raw:
    result = x.copy()
    result[window(x.shape, update.shape, starts, axes)] = update
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "last_of_equal": last_of_equal,
    "scatter_max": scatter_with(np.maximum.at),
    "scatter_min": scatter_with(np.minimum.at),
    "scatter_multiply": scatter_with(np.multiply.at),
    "scatter_set": scatter_with(assign),
}
