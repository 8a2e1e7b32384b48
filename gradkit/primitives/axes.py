"""Axes as they are given: one, several, or None for all of them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core.sizes import whole_numbers
from gradkit.errors import AxisError

__all__ = ["Axis", "axes_of", "axis_of", "normalize_axes"]

Axis = int | Sequence[int] | None


def normalize_axes(axis: Axis, ndim: int, caller: str) -> tuple[int, ...]:
    """Return the axes as sorted non-negative numbers; None stands for all of them."""
    if axis is None:
        return tuple(range(ndim))
    numbers = whole_numbers(axis)
    for number in numbers:
        if not -ndim <= number < ndim:
            raise AxisError(f"{caller}: axis {number} is out of bounds for an array of {ndim} dimensions")
    result = sorted({number % ndim for number in numbers})
    if len(result) != len(numbers):
        raise ValueError(f"{caller}: axis {axis} names an axis twice")
    return tuple(result)


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
