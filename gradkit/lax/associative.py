"""`associative_scan`: all prefixes of an associative operation in a logarithmic number of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.core.array import Array
from gradkit.core.assignment import keeping_arguments
from gradkit.primitives import concat, getitem, reshape, stack
from gradkit.primitives.axes import normalize_axes
from gradkit.transforms.arguments import as_array, check_callable
from gradkit.tree import flatten, unflatten

__all__ = ["associative_scan"]


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """Combine the elements along an axis with all before them.

    Parameters
    ----------
    fn : callable
        An associative function of two elements (pytrees of the structure of `elems`), which works on whole arrays of
        them.
    elems : pytree of arrays
        The elements, along `axis`.
    reverse : bool
        Whether to combine from the end.
    axis : int
        The axis.

    Returns
    -------
    pytree of arrays
        Of the shapes of `elems`; the i-th element is the combination of the first i + 1.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.lax.associative_scan(jnp.add, jnp.arange(4))
    Array([0, 1, 3, 6], dtype=int32)
    """
    check_callable(fn)
    fn = keeping_arguments(fn)
    leaves, treedef = flatten(elems)
    arrays = [as_array(leaf) for leaf in leaves]
    axes = [normalize_axes(axis, array.ndim, "associative_scan")[0] for array in arrays]
    sizes = {array.shape[a] for array, a in zip(arrays, axes, strict=True)}
    if len(sizes) > 1:
        raise ValueError(
            f"Array inputs to associative_scan must have the same first dimension. (saw: {[a.shape for a in arrays]})"
        )

    def cut(values: list[Array], part: slice) -> list[Array]:
        return [getitem(v, (slice(None),) * a + (part,)) for v, a in zip(values, axes, strict=True)]

    def joined(parts: list[list[Array]]) -> list[Array]:
        return [concat(column, axis=a) for column, a in zip(zip(*parts, strict=True), axes, strict=True)]

    def combine(a: list[Array], b: list[Array]) -> list[Array]:
        return flatten(fn(unflatten(treedef, a), unflatten(treedef, b)))[0]

    def prefixes(values: list[Array]) -> list[Array]:
        size = values[0].shape[axes[0]]
        if size < 2:
            return values
        # Neighbours are combined in pairs; the prefixes of the pairs are every second result.
        last = size - size % 2
        odd = prefixes(combine(cut(values, slice(0, last, 2)), cut(values, slice(1, last, 2))))
        pairs = odd[0].shape[axes[0]]
        before = pairs if size % 2 else pairs - 1
        even = combine(cut(odd, slice(0, before)), cut(values, slice(2, size, 2))) if before else []
        first = cut(values, slice(0, 1))
        evens = joined([first, even]) if even else first
        return _interleave(evens, odd, axes)

    if not arrays:
        return elems
    step = slice(None, None, -1)
    result = cut(prefixes(cut(arrays, step)), step) if reverse else prefixes(arrays)
    return unflatten(treedef, result)


def _interleave(evens: list[Array], odds: list[Array], axes: list[int]) -> list[Array]:
    """Return arrays whose elements come from two in turn, of which the first may be longer by one."""
    result = []
    for even, odd, axis in zip(evens, odds, axes, strict=True):
        pairs = odd.shape[axis]
        here = (slice(None),) * axis
        both = stack([getitem(even, (*here, slice(0, pairs))), odd], axis=axis + 1)
        merged = reshape(both, (*both.shape[:axis], 2 * pairs, *both.shape[axis + 2 :]))
        rest = getitem(even, (*here, slice(pairs, None)))
        result.append(concat([merged, rest], axis=axis) if rest.shape[axis] else merged)
    return result
