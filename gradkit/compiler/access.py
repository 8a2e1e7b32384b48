"""Which element of an array a nest reads at each of its positions, and how that goes through views.

An access has one entry for each axis of the array, ``(axis, start, step)``: at a position `i` along that axis of the
nest it is element ``start + step * i``; the axis is None where it is always element `start`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradkit.backend.plan import Layout
from gradkit.core.graph import Equation

__all__ = ["Access", "broadcast_access", "everything", "read_by", "row_by_row", "through", "through_index"]

Entry = tuple[int | None, int, int]
Access = tuple[Entry, ...]
Sizes = tuple[int, ...]

FIRST: Entry = (None, 0, 0)


def everything(shape: Sizes) -> Access:
    """Return the access of a nest over the elements of an array of that shape."""
    return tuple((axis, 0, 1) for axis in range(len(shape)))


def broadcast_access(shape: Sizes, access: Access) -> Access:
    """Return the access of an array of that shape which is broadcast to one that has an access."""
    lead = len(access) - len(shape)
    return tuple(FIRST if size == 1 else access[lead + axis] for axis, size in enumerate(shape))


def through(equation: Equation, access: Access) -> Access | None:
    """Return how the argument of a view is read where its result is read by an access; None if no access says it."""
    rule = VIEWS.get(equation.primitive.name)
    return None if rule is None else rule(equation, access)


def _permuted(equation: Equation, access: Access) -> Access:
    axes = equation.params["axes"]
    return tuple(access[axes.index(axis)] for axis in range(len(axes)))


def _broadcast(equation: Equation, access: Access) -> Access:
    return broadcast_access(equation.inputs[0].shape, access)


def _reshaped(equation: Equation, access: Access) -> Access | None:
    """Axes of size 1 come and go; any other change of the shape is no access."""
    before, after = equation.inputs[0].shape, equation.outputs[0].shape
    kept = [entry for entry, size in zip(access, after, strict=True) if size != 1]
    if [size for size in before if size != 1] != [size for size in after if size != 1]:
        return None
    rest = iter(kept)
    return tuple(FIRST if size == 1 else next(rest) for size in before)


def _indexed(equation: Equation, access: Access) -> Access | None:
    return through_index(equation.params["index"], equation.inputs[0].shape, access)


def through_index(index: Sequence[Any], shape: Sizes, access: Access) -> Access | None:
    """Return how an array of that shape is read where ``array[index]`` is read by an access."""
    result: list[Entry] = []
    rest = iter(access)
    for part in index:
        if part is None:
            next(rest)
        elif type(part) is slice:
            start, _, step = part.indices(shape[len(result)])
            axis, first, stride = next(rest)
            result.append((axis, start + step * first, step * stride))
        elif type(part) is int:
            result.append((None, part % shape[len(result)], 0))
        else:
            return None
    return (*result, *rest) if len(result) <= len(shape) else None


VIEWS = {"broadcast_to": _broadcast, "getitem": _indexed, "permute_dims": _permuted, "reshape": _reshaped}


def row_by_row(shape: Sizes) -> Sizes:
    """Return the strides of an array whose elements lie row by row."""
    strides, size = [], 1
    for length in reversed(shape):
        strides.append(size)
        size *= length
    return tuple(reversed(strides))


def read_by(layout: Layout, access: Access, sizes: Sequence[int]) -> Layout:
    """Return the layout over the axes of a nest of an array that it reads by an access."""
    strides, offset = [0] * len(sizes), layout.offset
    for (axis, start, step), stride in zip(access, layout.strides, strict=True):
        offset += start * stride
        if axis is not None:
            strides[axis] += step * stride
    return Layout(layout.buffer, tuple(sizes), tuple(strides), offset)
