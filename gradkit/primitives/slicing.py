"""Slices: an index of integers, slices and new axes is one primitive, beside its transpose and the assignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradkit.core import Linear, bind
from gradkit.core.batching import at_front, moved_to_front
from gradkit.core.namespace import publish
from gradkit.core.structured import View

__all__ = ["pad_index", "set_index"]


def _without_new_axes(xp: Any, y: Any, index: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return a value to assign, and an index that has no new axes, which the standard lacks in assignments."""
    if None not in index:
        return y, index
    kept = [part for part in index if not isinstance(part, int)]
    sizes = tuple(size for size, part in zip(y.shape, kept, strict=False) if part is not None)
    return xp.reshape(y, (*sizes, *y.shape[len(kept) :])), tuple(part for part in index if part is not None)


def _pad_index(xp: Any, g: Any, *, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    g, index = _without_new_axes(xp, g, index)
    return xp.backend.updated(xp.zeros(shape, dtype=g.dtype, device=xp.device_of(g)), index, g)


def _set_index(xp: Any, x: Any, y: Any, *, index: tuple[Any, ...]) -> Any:
    y, index = _without_new_axes(xp, y, index)
    return xp.backend.updated(xp.asarray(x, copy=True), index, y)


def _batch_getitem(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    return bind(primitive, (moved_to_front(values[0], axes[0]),), {"index": (slice(None), *params["index"])}), 0


def _batch_set_index(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    fronts = [at_front(value, axis, size) for value, axis in zip(values, axes, strict=True)]
    return bind(primitive, fronts, {"index": (slice(None), *params["index"])}), 0


def _batch_pad_index(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    index, shape = (slice(None), *params["index"]), (size, *params["shape"])
    return bind(primitive, (moved_to_front(values[0], axes[0]),), {"index": index, "shape": shape}), 0


def sliced_shape(shape: tuple[int, ...], index: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape of ``x[index]`` for integers, slices and None, one for each axis of `x` from the front."""
    result: list[int] = []
    axis = 0
    for part in index:
        if part is None:
            result.append(1)
            continue
        if isinstance(part, slice):
            result.append(len(range(*part.indices(shape[axis]))))
        axis += 1
    return (*result, *shape[axis:])


def indexed_element(at: Sequence[int], shape: tuple[int, ...], index: tuple[Any, ...]) -> list[int]:
    """Return which element of `x` the element `at` of ``x[index]`` is; see `sliced_shape`."""
    entries = iter(at)
    element: list[int] = []
    for part in index:
        if isinstance(part, int):
            element.append(part)
        elif part is None:
            next(entries)
        else:
            element.append(range(*part.indices(shape[len(element)]))[next(entries)])
    return [*element, *entries]


GETITEM = View(
    "getitem",
    lambda xp, x, *, index: x[index],
    (lambda xp, g, x, *, index: xp.pad_index(g, index=index, shape=x.shape),),
    index=lambda at, of, *, index: indexed_element(at, of, index),
    example=((3, 5, 2), {"index": (1, None, slice(3, None, -2), slice(None))}),
    batch=_batch_getitem,
    shape=lambda x, *, index: sliced_shape(x.shape, index),
    leaf=True,
)
pad_index = Linear(
    "pad_index",
    _pad_index,
    (lambda xp, g, _x, *, index, shape: xp.getitem(g, index=index),),
    batch=_batch_pad_index,
    shape=lambda x, *, index, shape: shape,
    leaf=True,
)
"""Return zeros of `shape` with `x` at the slices `index`: the transpose of slicing."""
set_index = Linear(
    "set_index",
    _set_index,
    (
        lambda xp, g, _x, _y, *, index: xp.set_index(g, xp.zeros_like(xp.getitem(g, index=index)), index=index),
        lambda xp, g, _x, _y, *, index: xp.getitem(g, index=index),
    ),
    batch=_batch_set_index,
    shape=lambda x, y, *, index: tuple(x.shape),
    leaf=True,
)
"""Return `x` with `y` at the slices `index`."""
set_index.jointly = True


publish(globals(), ("pad_index", "set_index"))
