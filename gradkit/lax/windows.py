"""Reductions over windows that slide: pooling."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.operands import dtype_name
from gradkit.lax.arguments import array_of, convert, in_dtype_of
from gradkit.lax.convolution import windows_of
from gradkit.lax.convolution_numbers import dilate_shape, padtype_to_pads, pairs_of
from gradkit.lax.padding import padded, padded_shape
from gradkit.lax.reductions import MONOIDS, combine_rows, reduce_max, reduce_min
from gradkit.primitives import reductions
from gradkit.primitives.along_axis import take_along_axis
from gradkit.primitives.manipulation import reshape
from gradkit.primitives.windows import windows_shape
from gradkit.tree import flatten, unflatten

__all__ = ["reduce_window", "reduce_window_shape_tuple"]

Padding = str | Sequence[tuple[int, int]]
FIRST = {reduce_max: reductions.argmax, reduce_min: reductions.argmin}


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Callable[[Any, Any], Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: Padding = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """Combine the elements of each window by a function of two values.

    Parameters
    ----------
    operand : pytree of arrays
        Of one shape, with n axes.
    init_value : pytree of numbers or 0-d arrays
        What each window starts from, and what the padding consists of.
    computation : callable
        An associative function of two values; see `reduce`. Where the extremum (`lax.max`, `lax.min`) of a window
        occurs several times, its gradient goes to the first.
    window_dimensions : sequence of n int
        The size of a window along each axis.
    window_strides : sequence of n int, optional
        How far one window is from the next; by default 1.
    padding : {"SAME", "SAME_LOWER", "VALID"} or sequence of n (int, int)
        How much comes before and behind each axis.
    base_dilation, window_dilation : sequence of n int, optional
        How far apart the elements of the array are moved, and those of a window.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> image = jnp.reshape(jnp.arange(16.0), (4, 4))
    >>> lax.reduce_window(image, -jnp.inf, lax.max, (2, 2), (2, 2))
    Array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    leaves, tree = flatten(operand)
    starts, start_tree = flatten(init_value)
    if not leaves:
        raise ValueError("reduce_window must have at least one operand.")
    if tree != start_tree:
        raise ValueError(f"Operands must have the same tree structure as init_values: {tree} vs. {start_tree}")
    arrays = [array_of(leaf, "reduce_window") for leaf in leaves]
    values = [in_dtype_of(array, start, "reduce_window") for start, array in zip(starts, arrays, strict=True)]
    rank = arrays[0].ndim
    window, strides, spread, dilation = (
        _numbers(word, numbers, arrays[0].shape)
        for word, numbers in (
            ("window_dimensions", window_dimensions),
            ("window_strides", window_strides),
            ("base_dilation", base_dilation),
            ("window_dilation", window_dilation),
        )
    )
    pads = _pads(arrays[0].shape, window, strides, padding, spread, dilation)
    config = [(low, high, d - 1) for (low, high), d in zip(pads, spread, strict=True)]
    columns = [
        windows_of(padded(array, value, config), window, strides, dilation)
        for array, value in zip(arrays, values, strict=True)
    ]
    known = MONOIDS.get(computation) if len(columns) == 1 and computation.__hash__ is not None else None
    if known in FIRST and columns[0].size:
        position = FIRST[known](columns[0], axis=0, keepdims=True)
        found = reshape(take_along_axis(columns[0], position, axis=0), columns[0].shape[1:])
        return unflatten(tree, [convert(computation(values[0], found), dtype_name(found))])
    assert columns[0].ndim == rank + 1
    return unflatten(tree, combine_rows(computation, columns, values, (0,), tree))


def _numbers(word: str, numbers: Sequence[int] | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    found = (1,) * len(shape) if numbers is None else tuple(map(operator.index, numbers))
    if len(found) != len(shape):
        raise TypeError(
            f"reduce_window got the wrong number of {word} for operand: got operand shape {shape} with {word} {found}."
        )
    if any(n <= 0 for n in found):
        raise TypeError(f"reduce_window {word} must have every element be positive, got {found}.")
    return found


def _pads(
    shape: tuple[int, ...],
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
    spread: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Sequence[tuple[int, int]]:
    if isinstance(padding, str):
        return padtype_to_pads(dilate_shape(shape, spread), dilate_shape(window, dilation), strides, padding)
    pads = pairs_of(padding, "reduce_window")
    if len(pads) != len(shape):
        raise TypeError(f"reduce_window padding must have one pair for each axis of shape {shape}, got {pads}.")
    return pads


def reduce_window_shape_tuple(
    operand_shape: Sequence[int],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Return the shape of a reduction over windows with these sizes, strides and pads."""
    one = (1,) * len(operand_shape)
    config = [(low, high, d - 1) for (low, high), d in zip(padding, base_dilation or one, strict=True)]
    shape = padded_shape(operand_shape, config)
    return windows_shape(shape, tuple(window_dimensions), tuple(window_strides), tuple(window_dilation or one))
