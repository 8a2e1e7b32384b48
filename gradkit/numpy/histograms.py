"""Counting: histograms, and the bins that numbers fall into."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Sequence
from typing import Any

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.operands import as_array, cast, require_inexact
from gradkit.core.promotion import INTEGER, default_dtype
from gradkit.core.sharding import refuse_sharding
from gradkit.core.values import host
from gradkit.numpy.arguments import beside, promote_args
from gradkit.numpy.data_types import result_type
from gradkit.numpy.joining import stack
from gradkit.numpy.ranges import linspace
from gradkit.numpy.signals import diff
from gradkit.numpy.sorting import searchsorted
from gradkit.primitives import scatter_add
from gradkit.primitives.new_arrays import ones_like, zeros_like

__all__ = ["bincount", "digitize", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]


def bincount(
    x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None, out_sharding: None = None
) -> Array:
    """Count how often each number occurs.

    Parameters
    ----------
    x : array of int, shape (n,)
        The numbers; negative ones count as 0.
    weights : array, shape (n,), optional
        What each counts, instead of 1.
    minlength : int
        The least length of the result.
    length : int, optional
        The length of the result; numbers from there on are left out. By default it is found from the values, so that
        it must be given under `vmap`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.bincount(jnp.asarray([1, 1, 3]))
    Array([0, 2, 0, 1], dtype=int32)
    """
    refuse_sharding(out_sharding, "bincount")
    numbers = as_array(x, "bincount")
    if numbers.dtype.kind not in "biu":
        raise TypeError(f"x argument to bincount must have an integer type; got {numbers.dtype}")
    if numbers.ndim != 1:
        raise ValueError(f"only 1-dimensional input supported, got shape {numbers.shape}")
    if length is None:
        length = max(operator.index(minlength), int(host(numbers).max()) + 1 if numbers.size else 0)
    numbers = xp.clip(cast(numbers, default_dtype(INTEGER)), 0, length)
    counts = ones_like(numbers) if weights is None else as_array(weights, "bincount")
    if counts.shape != numbers.shape:
        raise ValueError(f"bincount: weights must have the shape {numbers.shape} of x, got {counts.shape}")
    return scatter_add(counts, numbers, axis=0, size=length + 1)[:length]


def digitize(x: Any, bins: Any, right: bool = False, *, method: str | None = None) -> Array:
    """Return the bin of each number.

    Parameters
    ----------
    x : array
        The numbers, of any shape.
    bins : array, shape (n,)
        The edges, in ascending or descending order.
    right : bool
        Whether a bin contains its right edge rather than its left one.
    method : str, optional
        How to search; it makes no difference to the result.
    """
    numbers, edges = promote_args("digitize", x, bins, compares=True)
    if edges.ndim != 1:
        raise ValueError(f"digitize: bins must be a 1-dimensional array; got bins={bins!r}")
    if edges.shape[0] == 0:
        return zeros_like(numbers, dtype="int32")
    side = "left" if right else "right"
    up = searchsorted(edges, numbers, side=side)
    down = edges.shape[0] - searchsorted(edges[::-1], numbers, side=side)
    return cast(xp.where(edges[-1] >= edges[0], up, down), "int32")


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Array:
    """Return the edges of the bins of a histogram; the arguments are those of `histogram`."""
    array = require_inexact(as_array(a, "histogram_bin_edges"))
    if isinstance(bins, str):
        raise NotImplementedError("string values for `bins` not implemented.")
    if _is_sequence(bins):
        given = beside(bins, array)
        if given.ndim == 1:
            return xp.astype(given, array.dtype)
    count = operator.index(bins)
    low, high = _bounds(array, range)
    flat = low == high
    edges: Array = linspace(
        xp.where(flat, low - 0.5, low), xp.where(flat, high + 0.5, high), count + 1, dtype=array.dtype
    )
    return edges


def _is_sequence(bins: Any) -> bool:
    return isinstance(bins, list | tuple) or bool(getattr(bins, "shape", ()))


def _bounds(array: Array, range: Any) -> tuple[Array, Array]:
    if range is None:
        return xp.min(array), xp.max(array)
    bounds = beside(range, array)
    if bounds.shape != (2,):
        raise ValueError(f"`range` must be either None or a sequence of two numbers, got {range}")
    bounds = xp.astype(bounds, array.dtype)
    return bounds[0], bounds[1]


def histogram(a: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None) -> Any:
    """Count how many numbers fall into each bin.

    Parameters
    ----------
    a : array
        The numbers, of any shape.
    bins : int or array
        How many bins of equal width, or their edges.
    range : pair of numbers, optional
        From where to where, by default from the smallest to the largest number.
    weights : array, optional
        Of the shape of `a`: what each number counts, instead of 1.
    density : bool, optional
        Whether to divide by the widths and the total, so that the integral is 1.

    Returns
    -------
    tuple of Array
        The counts, of a floating dtype and shape (bins,), and the edges, of shape (bins + 1,).
    """
    array, w = _weighted("histogram", a, weights)
    if w.shape != array.shape:
        raise ValueError(f"weights should have the same shape as a, got {w.shape} and {array.shape}")
    edges = histogram_bin_edges(array, bins, range)
    counts = _count([_bin(xp.reshape(array, -1), edges)], xp.reshape(w, -1), [edges])
    if density:
        counts = counts / diff(edges) / xp.sum(counts)
    return counts, edges


def _weighted(caller: str, a: Any, weights: Any) -> tuple[Array, Array]:
    if weights is None:
        array = require_inexact(as_array(a, caller))
        return array, ones_like(array)
    array, w = promote_args(caller, a, weights, inexact=True)
    return array, w


def _bin(numbers: Array, edges: Array) -> Array:
    """Return the bins of a vector of numbers, counted from 1; 0 and the last one are outside."""
    found = searchsorted(edges, numbers, side="right")
    return xp.where(numbers == edges[-1], edges.shape[0] - 1, found)


def _count(bins: Sequence[Array], weights: Array, edges: Sequence[Array]) -> Array:
    """Sum the weights by bin, and leave out what is outside of the edges."""
    sizes = [edge.shape[0] + 1 for edge in edges]
    position = bins[0]
    for number, size in zip(bins[1:], sizes[1:], strict=True):
        position = position * size + number
    counts = xp.reshape(scatter_add(weights, position, axis=0, size=math.prod(sizes)), tuple(sizes))
    return counts[(slice(1, -1),) * len(sizes)]


def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None
) -> tuple[Array, Array, Array]:
    """Count how many points (x, y) fall into each cell of a grid.

    Parameters
    ----------
    x, y : array, shape (n,)
        The points.
    bins : int, array, or a pair of them
        As in `histogram`, for both axes or for each.
    range : pair of pairs, optional
        From where to where, for each axis.
    weights : array, shape (n,), optional
        What each point counts.
    density : bool, optional
        Whether to divide by the areas and the total.
    """
    if _is_sequence(bins) and len(bins) != 2:
        bins = [bins, bins]
    sample = stack(promote_args("histogram2d", x, y), axis=1)
    counts, edges = histogramdd(sample, bins, range, weights, density)
    return counts, edges[0], edges[1]


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None
) -> tuple[Array, list[Array]]:
    """Count how many points fall into each cell of a grid in any number of dimensions.

    Parameters
    ----------
    sample : array, shape (n, dimensions)
        The points.
    bins : int, or a sequence with an int or an array for each dimension
        As in `histogram`.
    range : sequence of (pair or None), optional
        From where to where, for each dimension.
    weights : array, shape (n,), optional
        What each point counts.
    density : bool, optional
        Whether to divide by the volumes and the total.

    Returns
    -------
    tuple
        The counts, and a list of the edges in each dimension.
    """
    points = require_inexact(as_array(sample, "histogramdd"))
    if points.ndim != 2:
        raise ValueError(f"histogramdd: sample must have 2 dimensions, got shape {points.shape}")
    count, dimensions = points.shape
    w = ones_like(points[:, 0], dtype=default_dtype(INTEGER)) if weights is None else as_array(weights, "histogramdd")
    if w.shape != (count,):
        raise ValueError(f"histogramdd: should have one weight for each sample, got shape {w.shape} for {count}")
    each = list(bins) if _is_sequence(bins) else [bins] * dimensions
    ranges = [None] * dimensions if range is None else list(range)
    if len(each) != dimensions or len(ranges) != dimensions:
        raise ValueError(
            f"histogramdd: expected bins and range for {dimensions} dimensions, got {len(each)} and {len(ranges)}"
        )
    columns = [points[:, i] for i in builtins.range(dimensions)]
    edges = [histogram_bin_edges(column, b, r) for column, b, r in zip(columns, each, ranges, strict=True)]
    if weights is not None:
        w = xp.astype(w, result_type(w, points))
    counts = _count([_bin(column, edge) for column, edge in zip(columns, edges, strict=True)], w, edges)
    if density:
        counts = xp.astype(counts, points.dtype) / xp.sum(counts)
        for axis, edge in enumerate(edges):
            width = diff(edge)
            counts = counts / xp.reshape(width, (-1,) + (1,) * (dimensions - axis - 1))
    return counts, edges
