"""Sorting by several keys, and the largest elements."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, cast
from gradkit.lax.arguments import array_of, together
from gradkit.lax.shaping import axis_in
from gradkit.primitives import elementwise as e
from gradkit.primitives import searching
from gradkit.primitives.along_axis import take_along_axis

__all__ = ["approx_max_k", "approx_min_k", "sort", "sort_key_val", "top_k"]


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """Sort along an axis.

    Parameters
    ----------
    operand : array or sequence of arrays
        Of one shape. They are all brought into the order of the first `num_keys`, of which the first counts most.
    dimension : int
        The axis.
    is_stable : bool
        Ignored: elements with equal keys always keep their order.
    num_keys : int
        How many of the arrays are keys.

    Returns
    -------
    Array or tuple of Array

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> lax.sort((jnp.asarray([1, 1, 0]), jnp.asarray([3, 2, 1])), num_keys=2)
    (Array([0, 1, 1], dtype=int32), Array([1, 2, 3], dtype=int32))
    """
    several = isinstance(operand, Sequence)
    arrays = together("sort", *operand) if several else [array_of(operand, "sort")]
    if not arrays:
        raise TypeError("Sort requires at least one operand")
    if not 1 <= num_keys <= len(arrays):
        raise ValueError(f"num_keys={num_keys} must be between 1 and len(operand)={len(arrays)}")
    if len({array.shape for array in arrays}) > 1:
        raise TypeError(f"Arguments to sort must have equal shapes, got: {' '.join(str(a.shape) for a in arrays)}")
    axis = axis_in(dimension, arrays[0].ndim)
    if len(arrays) == 1:
        result = searching.sort(arrays[0], axis=axis)
        return (result,) if several else result
    order: Array | None = None
    for key in arrays[:num_keys][::-1]:
        found = searching.argsort(key if order is None else take_along_axis(key, order, axis=axis), axis=axis)
        order = found if order is None else take_along_axis(order, found, axis=axis)
    assert order is not None
    return tuple(take_along_axis(array, order, axis=axis) for array in arrays)


def sort_key_val(keys: Any, values: Any, dimension: int = -1, is_stable: bool = True) -> tuple[Array, Array]:
    """Sort `keys` along an axis, and `values`, of the same shape, with them."""
    first, second = sort((keys, values), dimension, is_stable, 1)
    return first, second


def top_k(operand: Any, k: int, *, axis: int = -1) -> tuple[Array, Array]:
    """Return the `k` largest elements along an axis, the largest first, and their positions (int32).

    Of equal elements the first comes first; NaN is the largest number.
    """
    array = array_of(operand, "top_k")
    along, count = axis_in(axis, array.ndim), operator.index(k)
    if count < 0:
        raise ValueError(f"k argument to top_k must be nonnegative, got {count}")
    if count > array.shape[along]:
        raise ValueError(
            f"k argument to top_k must be no larger than size along axis; got k={count} with "
            f"shape={list(array.shape)} and axis={along}"
        )
    values, positions = searching.top_k(array, count, axis=along)
    return values, cast(positions, "int32") if positions.dtype.name != "int32" else positions


def approx_max_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Array, Array]:
    """Return the `k` largest elements along an axis and their positions: here always exactly."""
    return top_k(operand, k, axis=reduction_dimension)


def approx_min_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Array, Array]:
    """Return the `k` smallest elements along an axis and their positions: here always exactly."""
    values, positions = top_k(e.negative(as_array(operand, "approx_min_k")), k, axis=reduction_dimension)
    return e.negative(values), positions
