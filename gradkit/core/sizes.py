"""Shapes and axes as callers give them: a whole number, or several in any sequence or array."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["raveled", "unraveled", "whole_numbers"]


def whole_numbers(value: Any) -> tuple[int, ...]:
    """Return one or several whole numbers as a tuple of ints.

    Parameters
    ----------
    value : int, sequence of int, or array of int
        An array may be of any library, with one axis or none.

    Raises
    ------
    TypeError
        If it is something else, or has numbers that are not whole.

    Examples
    --------
    >>> import numpy
    >>> whole_numbers(3), whole_numbers([2, 3]), whole_numbers(numpy.asarray([2, 3])), whole_numbers(range(2))
    ((3,), (2, 3), (2, 3), (0, 1))
    """
    if type(value) is int:
        return (value,)
    if type(value) is tuple or type(value) is list:
        return tuple(map(operator.index, value))
    if isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1:
        return tuple(map(operator.index, value))
    return (operator.index(value),)


def raveled(at: Sequence[int], shape: Sequence[int]) -> int:
    """Return the place of an element among all of an array of that shape, in row-major order.

    Examples
    --------
    >>> raveled((1, 2), (2, 3)), unraveled(5, (2, 3))
    (5, (1, 2))
    """
    position = 0
    for i, size in zip(at, shape, strict=True):
        position = position * size + i
    return position


def unraveled(position: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the position along each axis: `raveled` the other way round."""
    at = []
    for size in reversed(shape):
        position, i = divmod(position, size)
        at.append(i)
    return tuple(reversed(at))
