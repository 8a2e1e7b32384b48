"""Putting slices at positions along an axis: what every update by index is made of.

`scatter_add` sums slices into zeros. The others take an array besides and give it changed: each slice replaces,
multiplies or bounds what is at its position. There a position of -1 stands for a slice that goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.core import Array, General, Linear, bind
from gradkit.core.batching import at_front, leading, same_shape
from gradkit.core.namespace import publish
from gradkit.core.operands import wide_integers
from gradkit.primitives.elementwise import where
from gradkit.primitives.manipulation import permute_dims, reshape
from gradkit.primitives.positions import counted

__all__ = [
    "batch_by_position", "last_of_equal", "scatter_add", "scatter_max", "scatter_min", "scatter_multiply",
    "scatter_set",
]  # fmt: skip


# On batches: the batch becomes part of the axis, and each element's positions count from its own part


def batch_by_position(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    """Run an operation on arrays and, as its last argument, positions along ``axis``."""
    *arrays, positions = values
    *array_axes, batch = axes
    axis = params["axis"]
    if batch is None:
        fronts = [at_front(array, array_axis, size) for array, array_axis in zip(arrays, array_axes, strict=True)]
        return bind(primitive, (*fronts, positions), {**params, "axis": axis + 1}), 0
    positions = at_front(positions, batch, size)
    span = params.get("size")
    if len(arrays) == 1 and array_axes[0] is None and span is None:
        flat, joined = reshape(positions, -1), arrays
    else:
        fronts = [at_front(array, array_axis, size) for array, array_axis in zip(arrays, array_axes, strict=True)]
        span = fronts[0].shape[axis + 1] if span is None else span
        positions = wide_integers(positions, size * span)
        moved = positions + counted(size, positions)[:, None] * span
        flat = reshape(where(positions < 0, -1, moved), -1)
        joined = [_join(front, axis) for front in fronts]
    if "size" in params:
        params = {**params, "size": size * span}
    out = bind(primitive, (*joined, flat), params)
    length = out.shape[axis] // size if size else 0
    return reshape(out, (*out.shape[:axis], size, length, *out.shape[axis + 1 :])), axis


def _join(front: Array, axis: int) -> Array:
    """Return an array whose first axis, the batch, has become the slower part of the axis behind it."""
    moved = permute_dims(front, (*range(1, axis + 1), 0, *range(axis + 1, front.ndim)))
    shape = moved.shape
    return reshape(moved, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))


# Sums


def _scatter_add(xp: Any, updates: Any, indices: Any, *, axis: int, size: int) -> Any:
    # A product with a matrix of zeros and ones would have 0 times infinity in every element.
    shape = (*updates.shape[:axis], size, *updates.shape[axis + 1 :])
    nothing = xp.zeros(shape, dtype=updates.dtype, device=xp.device_of(updates))
    return _by_sorting(lambda _xp, x, y: x + y)(xp, nothing, updates, indices, axis=axis)


scatter_add = Linear(
    "scatter_add",
    _scatter_add,
    (lambda xp, g, _updates, indices, *, axis, size: xp.take(g, indices, axis=axis), None),
    hands_on=False,
    batch=batch_by_position,
    shape=lambda updates, indices, *, axis, size: (*updates.shape[:axis], size, *updates.shape[axis + 1 :]),
)
"""Sum slices by index: the transpose of `take`.

Parameters
----------
updates : array
    The slices, along `axis`.
indices : array of int, shape (updates.shape[axis],)
    Where each slice goes, from 0 to size - 1; where several go to one position they are added.
axis : int
    The axis.
size : int
    The size of that axis in the result.
"""


# The other updates, in the standard's terms: what goes to one position is brought together by sorting


def _cut(x: Any, axis: int, start: int | None, stop: int | None) -> Any:
    return x[(slice(None),) * axis + (slice(start, stop), ...)]


def _along(mask: Any, axis: int, ndim: int) -> Any:
    """Return a mask over positions so that it broadcasts to slices."""
    return mask[(slice(None), *(None,) * (ndim - axis - 1))]


def _segment_scan(xp: Any, combine: Callable[[Any, Any], Any], x: Any, keys: Any, axis: int) -> Any:
    """Combine each slice with those before it that have the same key; equal keys are neighbours."""
    size = keys.shape[0]
    step = 1
    while step < size:
        same = _along(keys[step:] == keys[: size - step], axis, x.ndim)
        tail = _cut(x, axis, step, None)
        tail = xp.where(same, combine(_cut(x, axis, None, size - step), tail), tail)
        x = xp.concat([_cut(x, axis, None, step), tail], axis=axis)
        step *= 2
    return x


def _by_sorting(combine: Callable[..., Any] | None) -> Callable[..., Any]:
    def scatter(xp: Any, x: Any, updates: Any, indices: Any, *, axis: int) -> Any:
        if not indices.shape[0] or not x.shape[axis]:
            return x
        order = xp.argsort(indices, axis=0, descending=False)
        keys = xp.take(indices, order, axis=0)
        updates = xp.take(updates, order, axis=axis)
        if combine is not None:
            updates = _segment_scan(xp, lambda a, b: combine(xp, a, b), updates, keys, axis)
        positions = xp.arange(x.shape[axis], dtype=keys.dtype, device=xp.device_of(keys))
        last = xp.searchsorted(keys, positions, side="right") - 1
        last = xp.where(last < 0, xp.zeros_like(last), last)
        found = _along(xp.take(keys, last, axis=0) == positions, axis, x.ndim)
        arriving = xp.take(updates, last, axis=axis)
        return xp.where(found, arriving if combine is None else combine(xp, x, arriving), x)

    return scatter


def _valid(xp: Any, indices: Any) -> tuple[Any, Any]:
    """Return which slices go somewhere, and positions that are in range for all."""
    valid = indices >= 0
    return valid, xp.where(valid, indices, xp.zeros_like(indices))


def _shape_of_first(x: Any, _updates: Any, _indices: Any, *, axis: int) -> tuple[int, ...]:
    return tuple(x.shape)


def _scatter(name: str, combine: Callable[..., Any] | None, rules: Any, forward_rule: Any = None) -> General:
    return General(
        name,
        _by_sorting(combine),
        (*rules, None),
        forward_rule,
        batch=batch_by_position,
        shape=_shape_of_first,
    )


def _pull_set(xp: Any, g: Any, _y: Any, _x: Any, _updates: Any, indices: Any, *, axis: int) -> Any:
    _, positions = _valid(xp, indices)
    return xp.scatter_set(g, xp.zeros_like(xp.take(g, positions, axis=axis)), indices, axis=axis)


def _pull_set_updates(xp: Any, g: Any, _y: Any, _x: Any, _updates: Any, indices: Any, *, axis: int) -> Any:
    # Where several slices went to one position the last one is there: the others have no derivative.
    valid, positions = _valid(xp, indices)
    return xp.masked(xp.take(g, positions, axis=axis), _along(valid & xp.last_of_equal(indices), axis, g.ndim))


def _push_set(xp: Any, tangents: Any, _y: Any, x: Any, updates: Any, indices: Any, *, axis: int) -> Any:
    into, arriving, _ = tangents
    into = xp.zeros_like(x) if into is None else into
    return xp.scatter_set(into, xp.zeros_like(updates) if arriving is None else arriving, indices, axis=axis)


def _others(xp: Any, updates: Any, indices: Any, axis: int) -> Any:
    """Return for each slice the product of the other slices that go to the same position; nothing is divided."""
    if indices.shape[0] < 2:
        return xp.ones_like(updates)
    order = xp.argsort(indices, axis=0, descending=False)
    keys = xp.take(indices, order, axis=0)
    rows = xp.take(updates, order, axis=axis)
    after = _before(xp, xp.flip(rows, axis=axis), xp.flip(keys, axis=0), axis)
    product = _before(xp, rows, keys, axis) * xp.flip(after, axis=axis)
    return xp.take(product, xp.argsort(order, axis=0, descending=False), axis=axis)


def _before(xp: Any, x: Any, keys: Any, axis: int) -> Any:
    first = xp.ones_like(_cut(x, axis, 0, 1))
    earlier = _cut(x, axis, None, -1)
    earlier = xp.where(_along(keys[1:] == keys[:-1], axis, x.ndim), earlier, xp.ones_like(earlier))
    shifted = xp.concat([first, earlier], axis=axis)
    return _segment_scan(xp, lambda a, b: a * b, shifted, keys, axis)


def _pull_multiply_updates(xp: Any, g: Any, _y: Any, x: Any, updates: Any, indices: Any, *, axis: int) -> Any:
    valid, positions = _valid(xp, indices)
    share = xp.take(g * x, positions, axis=axis) * _others(xp, updates, indices, axis)
    return xp.masked(share, _along(valid, axis, g.ndim))


def _choose(xp: Any, g: Any, y: Any, x: Any, updates: Any, indices: Any, axis: int) -> tuple[Any, Any, Any, Any]:
    """Return where the extremum came from `x` and from the slices, the share of each of them, and the positions."""
    valid, positions = _valid(xp, indices)
    from_x = xp.astype(x == y, y.dtype)
    from_updates = (updates == xp.take(y, positions, axis=axis)) & _along(valid, axis, g.ndim)
    count = from_x + xp.scatter_add(xp.astype(from_updates, y.dtype), positions, axis=axis, size=x.shape[axis])
    return from_x, from_updates, g / count, positions


def _pull_extremum(xp: Any, g: Any, y: Any, x: Any, updates: Any, indices: Any, *, axis: int) -> Any:
    from_x, _, share, _ = _choose(xp, g, y, x, updates, indices, axis)
    return share * from_x


def _pull_extremum_updates(xp: Any, g: Any, y: Any, x: Any, updates: Any, indices: Any, *, axis: int) -> Any:
    _, from_updates, share, positions = _choose(xp, g, y, x, updates, indices, axis)
    return xp.masked(xp.take(share, positions, axis=axis), from_updates)


scatter_set = _scatter("scatter_set", None, (_pull_set, _pull_set_updates), _push_set)
scatter_multiply = _scatter(
    "scatter_multiply",
    lambda xp, x, y: x * y,
    (
        lambda xp, g, _y, _x, updates, indices, *, axis: xp.scatter_multiply(g, updates, indices, axis=axis),
        _pull_multiply_updates,
    ),
)
scatter_min = _scatter("scatter_min", lambda xp, x, y: xp.minimum(x, y), (_pull_extremum, _pull_extremum_updates))
scatter_max = _scatter("scatter_max", lambda xp, x, y: xp.maximum(x, y), (_pull_extremum, _pull_extremum_updates))
"""Each, called as ``scatter_set(x, updates, indices, axis=axis)``, returns `x` with slices along an axis replaced by
those of `updates` (the last of several for one position wins), multiplied by them, or the smaller or larger of both.
`indices` has the position of each slice, or -1 for one that goes nowhere."""


def _last_of_equal(xp: Any, x: Any) -> Any:
    last = x.ndim - 1
    if x.shape[last] < 2:
        return xp.ones_like(x, dtype=xp.bool)
    order = xp.argsort(x, axis=last, descending=False)
    ranked = xp.take_along_axis(x, order, axis=last)
    ends = xp.concat([ranked[..., 1:] != ranked[..., :-1], xp.ones_like(ranked[..., :1], dtype=xp.bool)], axis=last)
    return xp.take_along_axis(ends, xp.argsort(order, axis=last, descending=False), axis=last)


last_of_equal = General("last_of_equal", _last_of_equal, (None,), batch=leading, shape=same_shape, dtype="bool")
"""Return where the last of each group of equal numbers is, along the last axis."""


publish(globals(), __all__)
