"""Which element of an array a nest reads at each of its positions, and how that goes through views.

An access has one entry for each axis of the array, ``(axis, start, step)``: at a position `i` along that axis of the
nest it is element ``start + step * i``; the axis is None where it is always element `start`. So reading ``x.T[::2]`` is
an access of `x`, as broadcasting is, and a view costs a nest nothing. What moves elements otherwise (a reshape that
takes an axis apart, positions that are values) has no access.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gradkit.backend.plan import Layout
from gradkit.core.graph import Equation, Variable

__all__ = [
    "FIRST", "GATHERS", "RUNNING", "SCATTERS", "VIEWS", "Access", "Sizes", "broadcast_access", "everything",
    "index_access", "indexed_shape", "operand_accesses", "read_by", "steps_of", "through", "through_index",
]  # fmt: skip

Entry = tuple[int | None, int, int]
Access = tuple[Entry, ...]
Sizes = tuple[int, ...]

FIRST: Entry = (None, 0, 0)
"""The one element of an axis of size 1, wherever the nest is."""

GATHERS = ("take", "take_along_axis")
"""What reads at positions that are values."""
SCATTERS: dict[str, str | None] = {
    "scatter_add": "add",
    "scatter_max": "maximum",
    "scatter_min": "minimum",
    "scatter_multiply": "multiply",
    "scatter_set": None,
}
"""What writes at positions that are values: how an element is combined with what is there; None puts it there."""
RUNNING: dict[str, tuple[str, float]] = {"cumprod": ("multiply", 1), "cumsum": ("add", -0.0)}
"""What has a result at each place along an axis: how that goes on, and from what. (0.0 would make a 0.0 of -0.0.)"""


def everything(shape: Sizes) -> Access:
    """Return the access of a nest over the elements of an array of that shape."""
    return tuple(FIRST if size == 1 else (axis, 0, 1) for axis, size in enumerate(shape))


def broadcast_access(shape: Sizes, access: Access) -> Access:
    """Return the access of an array of that shape which is broadcast to one that has an access."""
    lead = len(access) - len(shape)
    return tuple(FIRST if size == 1 else access[lead + axis] for axis, size in enumerate(shape))


# Views


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


def indexed_shape(index: Sequence[Any], shape: Sizes) -> Sizes:
    """Return the shape of ``array[index]``, for an array of that shape."""
    sizes: list[int] = []
    rest = iter(shape)
    for part in index:
        if part is None:
            sizes.append(1)
        else:
            size = next(rest)
            if type(part) is slice:
                sizes.append(len(range(*part.indices(size))))
    return (*sizes, *rest)


VIEWS = {"broadcast_to": _broadcast, "getitem": _indexed, "permute_dims": _permuted, "reshape": _reshaped}
"""By primitive: how its argument is read where its result is."""


# Operands


def operand_accesses(equation: Equation, access: Access) -> Iterator[tuple[Variable, Access | None]]:
    """Yield the operands of an operation that a nest reads, and how; None where positions are values."""
    if equation.primitive.name in GATHERS:
        x, indices = equation.inputs
        yield x, None
        if type(indices) is Variable:
            yield indices, index_access(equation, access)
        return
    for x in equation.inputs:
        if type(x) is Variable:
            yield x, broadcast_access(x.shape, access)


def index_access(equation: Equation, access: Access) -> Access:
    """Return how the positions of a gather are read: a vector along the axis, or an array of the result's shape."""
    if equation.primitive.name == "take":
        return (access[equation.params["axis"]],)
    return broadcast_access(equation.inputs[1].shape, access)


# Memory


def steps_of(access: Access, strides: Sizes, axes: int) -> tuple[Sizes, int]:
    """Return what an access is in memory: the strides along the axes of a nest, and the position of the first element.

    `strides` are those of the array's own axes.
    """
    found, first = [0] * axes, 0
    for (axis, start, step), stride in zip(access, strides, strict=True):
        first += start * stride
        if axis is not None:
            found[axis] += step * stride
    return tuple(found), first


def read_by(layout: Layout, access: Access, sizes: Sequence[int]) -> Layout:
    """Return the layout over the axes of a nest of an array that it reads by an access."""
    strides, first = steps_of(access, layout.strides, len(sizes))
    return Layout(layout.buffer, tuple(sizes), strides, layout.offset + first)
