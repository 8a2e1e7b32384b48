"""Arrays as sets: what occurs in them, in which of them, and where.

The size of most results depends on the values. With ``size=`` it is fixed, so that they work under `vmap`: what is too
much is left out, and what is missing is filled up with `fill_value`.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.operands import as_array, cast
from gradkit.core.promotion import INTEGER, default_dtype, letter_of
from gradkit.core.values import host
from gradkit.numpy.arguments import promote_args
from gradkit.numpy.cumulative import cumsum
from gradkit.numpy.padding import pad
from gradkit.numpy.sorting import argsort, searchsorted, sort
from gradkit.primitives.axes import axis_of
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import arange, asarray, full, ones, zeros, zeros_like

__all__ = [
    "intersect1d", "isin", "setdiff1d", "setxor1d", "union1d", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values",
]  # fmt: skip

METHODS = ("auto", "compare_all", "binary_search", "sort")
FEW = 16
"""Up to how many elements of a set each element is compared with all of them."""


class UniqueAllResult(NamedTuple):
    """What `unique_all` returns."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCountsResult(NamedTuple):
    """What `unique_counts` returns."""

    values: Array
    counts: Array


class UniqueInverseResult(NamedTuple):
    """What `unique_inverse` returns."""

    values: Array
    inverse_indices: Array


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: Any = None,
    sorted: bool = True,
) -> Any:
    """Return the elements of an array, each once, in ascending order.

    Parameters
    ----------
    ar : array
        Of any shape.
    return_index, return_inverse, return_counts : bool
        Whether to return where each occurs first, which of them each element of `ar` is, and how often each occurs.
    axis : int, optional
        The axis whose slices are the elements; None: the numbers.
    equal_nan : bool
        Whether all NaN are one element.
    size : int, optional
        How many to return; without it the values are needed, so that it must be given under `vmap`.
    fill_value : number, optional
        What to fill up with; by default the smallest element.
    sorted : bool
        Ignored: the result is sorted.

    Returns
    -------
    Array or tuple of Array

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.unique(jnp.asarray([3, 1, 3, 2]))
    Array([1, 2, 3], dtype=int32)
    """
    array = as_array(ar, "unique")
    shape = array.shape
    array, axis = (xp.reshape(array, -1), 0) if axis is None else (array, axis_of(axis, array.ndim, "unique"))
    whole = shape if array.ndim == 1 else None
    rows = moveaxis(array, axis, 0)
    count = rows.shape[0]
    order = _order(rows)
    ordered = xp.take(rows, order, axis=0)
    new = _differs_from_the_last(ordered, equal_nan)
    if size is None:
        first = asarray(np.nonzero(host(new))[0], device=array.device)
        size, found = first.shape[0], None
    else:
        size = operator.index(size)
        if count == 0 and size and fill_value is None:
            raise ValueError(
                "jnp.unique: for zero-sized input with nonzero size argument, fill_value must be specified"
            )
        found = xp.sum(cast(new, default_dtype(INTEGER)))
        starts = _positions(new, size + 1)
        first = starts[:size]
    values = _fill(xp.take(ordered, first, axis=0), found, size, fill_value) if count or size == 0 else None
    if values is None:
        values = full((size, *rows.shape[1:]), fill_value, dtype=rows.dtype, device=rows.device)
    results = [moveaxis(values, 0, axis)]
    if return_index:
        results.append(xp.take(order, first))
    if return_inverse:
        number = cumsum(cast(new, default_dtype(INTEGER))) - 1
        inverse = xp.take(number, argsort(order))
        results.append(inverse if whole is None else xp.reshape(inverse, whole))
    if return_counts:
        last = full((min(size, 1),), count, dtype=first.dtype, device=first.device)
        if found is None:
            results.append(xp.concat([first[1:], last]) - first)
        else:
            position = arange(size, device=array.device)
            ends = xp.where(position + 1 < found, starts[1:], count)
            results.append(xp.where(position < found, ends - first, 0))
    return results[0] if len(results) == 1 else tuple(results)


def _sortable(keys: Array) -> list[Array]:
    """Return real keys to sort by, the least important first."""
    if keys.dtype.kind == "c":
        return [xp.imag(keys), xp.real(keys)]
    return [cast(keys, "uint8") if keys.dtype.kind == "b" else keys]


def _order(rows: Array) -> Array:
    """Return the order of the first axis in which rows ascend, compared by their first elements, then the next."""
    count, width = rows.shape[0], math.prod(rows.shape[1:])
    order: Array | None = None
    columns = xp.reshape(rows, (count, width))
    for column in reversed(range(width)):
        for key in _sortable(columns[:, column]):
            step = argsort(key if order is None else xp.take(key, order))
            order = step if order is None else xp.take(order, step)
    return arange(count, device=rows.device) if order is None else order


def _differs_from_the_last(ordered: Array, equal_nan: bool) -> Array:
    """Return where a row is not the one before it; the first is not."""
    later, earlier = ordered[1:], ordered[:-1]
    differs = later != earlier
    if equal_nan and letter_of(ordered.dtype) in "fc":
        differs = differs & ~(xp.isnan(later) & xp.isnan(earlier))
    differs = xp.any(differs, axis=tuple(range(1, ordered.ndim)))
    return xp.concat([ones(min(ordered.shape[0], 1), dtype="bool", device=ordered.device), differs])


def _positions(mask: Array, size: int) -> Array:
    """Return where a vector of bool is true, the first `size` of them, filled up with 0."""
    count = mask.shape[0]
    order = argsort(cast(xp.logical_not(mask), "uint8"))[:size]
    if size > count:
        order = pad(order, (0, size - count))
    position = arange(size, device=mask.device)
    return xp.where(position < xp.sum(cast(mask, default_dtype(INTEGER))), order, 0)


def _fill(values: Array, found: Array | None, size: int, fill_value: Any) -> Array:
    """Put `fill_value` behind the first `found` rows, if one is given."""
    if found is None or fill_value is None:
        return values
    position = xp.reshape(arange(size, device=values.device), (-1,) + (1,) * (values.ndim - 1))
    return xp.where(position < found, values, fill_value)


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueAllResult:
    """Return the elements, each once, where they occur first, which each element is, and how often they occur."""
    return UniqueAllResult(*unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value))


def unique_counts(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueCountsResult:
    """Return the elements, each once, and how often they occur."""
    return UniqueCountsResult(*unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_inverse(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueInverseResult:
    """Return the elements, each once, and which of them each element is."""
    return UniqueInverseResult(*unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value))


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Array:
    """Return the elements, each once."""
    result: Array = unique(x, equal_nan=False, size=size, fill_value=fill_value)
    return result


# Sets


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, method: str = "auto"
) -> Array:
    """Return which elements occur in another array, or with `invert` which do not.

    Parameters
    ----------
    element : array
        Of any shape.
    test_elements : array
        What to look for, of any shape.
    assume_unique : bool
        Ignored.
    invert : bool
        Whether to return the opposite.
    method : {"auto", "compare_all", "binary_search", "sort"}
        Whether to compare with each, or to search; the result is the same.
    """
    if method not in METHODS:
        raise ValueError(f"{method=} is not implemented; options are {', '.join(METHODS)}")
    x, tests = promote_args("isin", element, test_elements, compares=True)
    tests = xp.reshape(tests, -1)
    count = tests.shape[0]
    if count == 0:
        found = zeros_like(x, dtype="bool")
    elif method == "compare_all" or count <= FEW or letter_of(x.dtype) in "cb":
        found = xp.any(xp.expand_dims(x, axis=-1) == tests, axis=-1)
    else:
        ordered = sort(tests)
        position = xp.minimum(searchsorted(ordered, x), count - 1)
        found = xp.take(ordered, position) == x
    return xp.logical_not(found) if invert else found


def _choose(values: Array, mask: Array, size: int | None, fill_value: Any) -> tuple[Array, Array]:
    """Return the values where a mask holds, and where that is."""
    if size is None:
        positions = asarray(np.nonzero(host(mask))[0], device=values.device)
        return xp.take(values, positions), positions
    size = operator.index(size)
    if values.shape[0] == 0:
        fill = 0 if fill_value is None else fill_value
        return full((size,), fill, dtype=values.dtype, device=values.device), zeros(size, dtype="int32")
    positions = _positions(mask, size)
    found = xp.sum(cast(mask, default_dtype(INTEGER)))
    return _fill(xp.take(values, positions), found, size, fill_value), positions


def _elements(array: Array, assume_unique: bool, size: int | None) -> tuple[Array, Array, Array]:
    """Return the elements once each, where they occur, and which of them are no filling."""
    count = array.shape[0]
    if assume_unique or count == 0:
        return array, arange(count, device=array.device), ones(count, dtype="bool", device=array.device)
    if size is None:
        values, index = unique(array, return_index=True)
        return values, index, ones(values.shape[0], dtype="bool", device=array.device)
    values, index, counts = unique(array, return_index=True, return_counts=True, size=count)
    return values, index, counts > 0


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Array:
    """Return what occurs in either of two arrays, each once, in ascending order."""
    x, y = promote_args("union1d", ar1, ar2)
    result: Array = unique(xp.concat([x, y], axis=None), size=size, fill_value=fill_value)
    return result


def setdiff1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Array:
    """Return what occurs in the first array and not in the second, each once, in ascending order."""
    array = xp.reshape(as_array(ar1, "setdiff1d"), -1)
    values, _, valid = _elements(array, assume_unique, size)
    fill_value = 0 if fill_value is None else fill_value
    return _choose(values, valid & isin(values, ar2, invert=True), size, fill_value)[0]


def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """Return what occurs in both of two arrays, each once, in ascending order.

    With `return_indices` the positions of the first occurrences in each follow.
    """
    x, y = (xp.reshape(array, -1) for array in promote_args("intersect1d", ar1, ar2))
    if assume_unique:
        order = _order(x)
        x_values, x_index = xp.take(x, order), order
        valid = ones(x.shape[0], dtype="bool", device=x.device)
    else:
        x_values, x_index, valid = _elements(x, False, size)
    mask = valid & isin(x_values, y)
    if size is not None and fill_value is None and x.shape[0]:
        # The smallest of them, which comes first.
        fill_value = xp.take(x_values, _positions(mask, 1))
    values, positions = _choose(x_values, mask, size, fill_value)
    if not return_indices:
        return values
    y_order = _order(y)
    x_places = xp.take(x_index, positions)
    y_places = xp.take(y_order, searchsorted(xp.take(y, y_order), xp.take(x_values, positions)))
    if size is not None:
        outside = arange(size, device=x.device) >= xp.sum(cast(mask, default_dtype(INTEGER)))
        x_places = xp.where(outside, x.shape[0], x_places)
        y_places = xp.where(outside, y.shape[0], y_places)
    return values, x_places, y_places


def setxor1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Array:
    """Return what occurs in one of two arrays and not in the other, each once, in ascending order."""
    x, y = (xp.reshape(array, -1) for array in promote_args("setxor1d", ar1, ar2))
    parts = [_elements(array, assume_unique, size) for array in (x, y)]
    values = xp.concat([values for values, _, _ in parts])
    masks = [valid & isin(values, other, invert=True) for (values, _, valid), other in zip(parts, (y, x), strict=True)]
    order = _order(values)
    values, mask = xp.take(values, order), xp.take(xp.concat(masks), order)
    if size is not None and fill_value is None and values.shape[0]:
        fill_value = xp.take(values, _positions(mask, 1))
    return _choose(values, mask, size, fill_value)[0]
