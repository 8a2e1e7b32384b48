"""Truth values in an index: ``x[True]``, ``x[mask]`` with a mask of no axes.

NumPy's rule is that of any mask: it stands for as many axes as it has. One of no axes stands for none, and picks the
whole or nothing. That is a mask of one element along an axis of size 1 that the array is given for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import dtype_name
from gradkit.primitives.manipulation import reshape

__all__ = ["has_truth_value", "is_truth_value", "with_axes_for_truth_values"]

PLAIN = frozenset({int, slice, type(None), type(Ellipsis)})


def is_truth_value(part: Any) -> bool:
    """Return whether a part of an index is a truth value, or a mask of no axes."""
    if type(part) in PLAIN:
        return False
    if type(part) is Array:
        return not part._value.shape and dtype_name(part) == "bool"
    return isinstance(part, bool) or (getattr(part, "ndim", None) == 0 and "bool" in str(getattr(part, "dtype", "")))


def has_truth_value(index: Sequence[Any]) -> bool:
    """Return whether an index has a truth value, or a mask of no axes."""
    return any(map(is_truth_value, index))


def with_axes_for_truth_values(x: Array, index: Sequence[Any]) -> tuple[Array, tuple[Any, ...]]:
    """Return an array with an axis of size 1 for each truth value, and an index with masks of one element in place.

    The truth values are Arrays already.
    """
    sizes = list(x.shape)
    rest = x.ndim - sum(map(_axes_of, index))
    new: list[Any] = []
    axis = 0
    for part in index:
        if is_truth_value(part):
            new.append(reshape(part, 1))
            sizes.insert(axis, 1)
            axis += 1
        else:
            new.append(part)
            axis += rest if part is Ellipsis else _axes_of(part)
    return reshape(x, tuple(sizes)), tuple(new)


def _axes_of(part: Any) -> int:
    """Return how many axes a part of an index stands for."""
    if part is None or part is Ellipsis or is_truth_value(part):
        return 0
    return len(part.shape) if "bool" in str(getattr(part, "dtype", "")) else 1
