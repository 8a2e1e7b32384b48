"""Windows that slide over an array, and what they add up to: what convolution and pooling are made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from gradkit.core import Linear, bind
from gradkit.core.batching import moved_to_front
from gradkit.core.namespace import bound, publish
from gradkit.core.sizes import unraveled
from gradkit.core.structured import View

__all__ = ["overlap_add", "sliding_windows", "windows_shape"]

Sizes = tuple[int, ...]


def windows_shape(shape: Sizes, window: Sizes, strides: Sizes, dilation: Sizes) -> Sizes:
    """Return how many windows fit along each axis."""
    return tuple(
        max(0, (size - (w - 1) * d - 1) // stride + 1)
        for size, w, stride, d in zip(shape, window, strides, dilation, strict=True)
    )


def _by_element(shape: Sizes, window: Sizes, strides: Sizes, dilation: Sizes) -> Iterator[tuple[slice, ...]]:
    """Give, for each element of the window, the index of that element of all windows."""
    count = windows_shape(shape, window, strides, dilation)
    for position in itertools.product(*map(range, window)):
        starts = [p * d for p, d in zip(position, dilation, strict=True)]
        yield tuple(
            slice(start, start + (n - 1) * stride + 1, stride) if n else slice(0, 0)
            for start, n, stride in zip(starts, count, strides, strict=True)
        )


def _by_window(count: Sizes, window: Sizes, strides: Sizes, dilation: Sizes) -> Iterator[tuple[slice, ...]]:
    """Give, for each window, its index; an axis that has no windows is taken whole."""
    sliding = [w != 1 or s != 1 for w, s in zip(window, strides, strict=True)]
    for position in itertools.product(*(range(n if moves else 1) for n, moves in zip(count, sliding, strict=True))):
        yield tuple(
            slice(p * stride, p * stride + (w - 1) * d + 1, d) if moves else slice(None)
            for p, stride, w, d, moves in zip(position, strides, window, dilation, sliding, strict=True)
        )


def _layout(count: Sizes, window: Sizes, strides: Sizes) -> tuple[list[int], Sizes, int]:
    """Return the axes along which windows move, the shape of one window with the axes taken whole, and the windows."""
    moving = [a for a, (w, s) in enumerate(zip(window, strides, strict=True)) if w != 1 or s != 1]
    each = tuple(window[a] if a in moving else n for a, n in enumerate(count))
    return moving, each, math.prod(count[a] for a in moving)


def _sliding_windows(xp: Any, x: Any, *, window: Sizes, strides: Sizes, dilation: Sizes) -> Any:
    count = windows_shape(x.shape, window, strides, dilation)
    elements = math.prod(window)
    moving, each, windows = _layout(count, window, strides)
    if not math.prod(count):
        return xp.zeros((elements, *count), dtype=x.dtype, device=xp.device_of(x))
    if elements <= windows:
        return xp.stack([x[index] for index in _by_element(x.shape, window, strides, dilation)], axis=0)
    # Fewer windows than elements in each: whole windows are copied.
    rows = xp.stack([x[index] for index in _by_window(count, window, strides, dilation)], axis=0)
    rows = xp.reshape(rows, (*(count[a] for a in moving), *each))
    positions = len(moving)
    order = (
        *(positions + a for a in moving),
        *(moving.index(a) if a in moving else positions + a for a in range(len(count))),
    )
    return xp.reshape(xp.permute_dims(rows, order), (elements, *count))


def _overlap_add(xp: Any, g: Any, *, shape: Sizes, window: Sizes, strides: Sizes, dilation: Sizes) -> Any:
    count = g.shape[1:]
    result = xp.zeros(shape, dtype=g.dtype, device=xp.device_of(g))
    if not math.prod(count):
        return result
    moving, each, windows = _layout(count, window, strides)
    if g.shape[0] <= windows:
        for k, index in enumerate(_by_element(shape, window, strides, dilation)):
            result = xp.backend.updated(result, index, result[index] + g[k, ...])
        return result
    positions = len(moving)
    rows = xp.reshape(g, (*(window[a] for a in moving), *count))
    order = (
        *(positions + a for a in moving),
        *(moving.index(a) if a in moving else positions + a for a in range(len(count))),
    )
    rows = xp.reshape(xp.permute_dims(rows, order), (windows, *each))
    for p, index in enumerate(_by_window(count, window, strides, dilation)):
        result = xp.backend.updated(result, index, result[index] + rows[p, ...])
    return result


def _with_batch(params: Any) -> dict[str, Any]:
    return {name: (1, *params[name]) for name in ("window", "strides", "dilation")}


def _batch_windows(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    return bind(primitive, (moved_to_front(values[0], axes[0]),), _with_batch(params)), 1


def _batch_overlap(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    front = moved_to_front(values[0], axes[0])
    second = bound().permute_dims(front, (1, 0, *range(2, front.ndim)))
    return bind(primitive, (second,), {**_with_batch(params), "shape": (size, *params["shape"])}), 0


sliding_windows = View(
    "sliding_windows",
    _sliding_windows,
    (
        lambda xp, g, x, *, window, strides, dilation: xp.overlap_add(
            g, shape=x.shape, window=window, strides=strides, dilation=dilation
        ),
    ),
    hands_on=False,
    index=lambda at, of, *, window, strides, dilation: [
        i * stride + position * d
        for i, stride, position, d in zip(at[1:], strides, unraveled(at[0], window), dilation, strict=True)
    ],
    example=((5, 3), {"window": (2, 1), "strides": (1, 2), "dilation": (2, 1)}),
    copies=True,
    batch=_batch_windows,
    shape=lambda x, *, window, strides, dilation: (
        math.prod(window),
        *windows_shape(x.shape, window, strides, dilation),
    ),
)
"""Return the elements of all windows.

Parameters
----------
x : Array
    Of n axes.
window, strides, dilation : tuple of n int
    The size of a window along each axis, how far one is from the next, and how far its elements are apart.

Returns
-------
Array, shape (k, ...)
    For each of the k elements of a window, in row-major order, that element of all windows.
"""
overlap_add = Linear(
    "overlap_add",
    _overlap_add,
    (
        lambda xp, g, _x, *, shape, window, strides, dilation: xp.sliding_windows(
            g, window=window, strides=strides, dilation=dilation
        ),
    ),
    hands_on=False,
    batch=_batch_overlap,
    shape=lambda x, *, shape, window, strides, dilation: shape,
    leaf=True,
)
"""Add the elements of all windows where they are in an array of `shape`: `sliding_windows` transposed."""


publish(globals(), __all__)
