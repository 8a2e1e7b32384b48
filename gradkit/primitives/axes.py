"""Axes as they are given: numbered from the front, or moved to other positions."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.calls import as_array
from gradkit.core.namespace import publish
from gradkit.core.sizes import whole_numbers
from gradkit.primitives.manipulation import permute_dims
from gradkit.primitives.reductions import normalize_axes

__all__ = ["axes_of", "axis_of", "moveaxis"]


def axis_of(axis: Any, ndim: int, caller: str) -> int:
    """Return one axis as a number that is not negative."""
    (number,) = normalize_axes(operator.index(axis), ndim, caller)
    return number


def axes_of(axis: Any, ndim: int, caller: str) -> tuple[int, ...]:
    """Return axes in the order in which they are given, none negative; None stands for all of them."""
    if axis is None:
        return tuple(range(ndim))
    numbers = whole_numbers(axis)
    normalize_axes(numbers, ndim, caller)
    return tuple(number % ndim for number in numbers)


def moveaxis(x: Any, /, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Move axes to other positions; the rest keep their order.

    Parameters
    ----------
    x : array
        Of any shape.
    source, destination : int or tuple of int
        Which axes, and where each goes.
    """
    array = as_array(x, "moveaxis")
    sources, destinations = axes_of(source, array.ndim, "moveaxis"), axes_of(destination, array.ndim, "moveaxis")
    if len(sources) != len(destinations):
        raise ValueError(f"moveaxis: got {len(sources)} source axes {source} and {len(destinations)} destinations")
    order = [a for a in range(array.ndim) if a not in sources]
    for to, a in sorted(zip(destinations, sources, strict=True)):
        order.insert(to, a)
    return permute_dims(array, tuple(order))


publish(globals(), ("moveaxis",))
