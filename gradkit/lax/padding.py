"""Padding: before, behind and between the elements."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import dtype_name
from gradkit.lax.arguments import together
from gradkit.lax.shaping import cut
from gradkit.primitives import elementwise as e
from gradkit.primitives.creation import ones_like
from gradkit.primitives.slicing import pad_index

__all__ = ["pad"]


def pad(operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Array:
    """Put a value before, behind and between the elements.

    Parameters
    ----------
    operand : array
        Of any shape.
    padding_value : number or 0-d array
        Of the dtype of `operand`.
    padding_config : sequence of (int, int, int)
        For each axis how many values come before, behind, and between two elements. Negative numbers before and behind
        take away.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> lax.pad(jnp.asarray([1.0, 2.0]), 0.0, [(1, 2, 1)])
    Array([0., 1., 0., 2., 0., 0.], dtype=float32)
    """
    array, value = together("pad", operand, padding_value)
    config = tuple(tuple(map(operator.index, part)) for part in padding_config)
    if value.ndim:
        raise ValueError(f"padding_value must be a scalar; got np.shape(padding_value)={value.shape}")
    if dtype_name(array) != dtype_name(value):
        raise TypeError(
            f"pad operand and padding_value must be same dtype: got {dtype_name(array)} and {dtype_name(value)}."
        )
    if len(config) != array.ndim:
        raise ValueError(
            f"length of padding_config must equal the number of axes of operand, got padding_config {config} for "
            f"operand shape {array.shape}"
        )
    if any(len(part) != 3 for part in config):
        raise ValueError(f"padding_config must have three numbers for each axis, got {config}")
    if any(between < 0 for _, _, between in config):
        raise ValueError(f"interior padding in padding_config must be nonnegative, got padding_config {config}")
    zero = type(padding_value) in (int, float, complex, bool) and padding_value == 0
    return padded(array, None if zero else value, config)


def padded(array: Array, value: Array | None, config: Sequence[Sequence[int]]) -> Array:
    """Pad an array, with zeros where the value is None."""
    shape = padded_shape(array.shape, config)
    if any(size < 0 for size in shape):
        raise ValueError(
            f"Dimension size after padding is not at least 0, got result shape {shape}, for padding_config {config} "
            f"and operand shape {array.shape}"
        )
    kept, slices = [], []
    for size, new, (low, _, between) in zip(array.shape, shape, config, strict=True):
        # Element i goes to position low + i * step; those that leave the result are cut off.
        step = between + 1
        first = max(0, -(low // step))
        last = max(first, min(size, (new - 1 - low) // step + 1))
        kept.append(slice(first, last) if (first, last) != (0, size) else slice(None))
        start = low + first * step
        slices.append(slice(start, start + (last - first - 1) * step + 1, step) if last > first else slice(0, 0))
    inner = cut(array, kept)
    if inner.shape == shape:
        return inner
    index = tuple(slices)
    result = pad_index(inner, index=index, shape=shape)
    if value is None:
        return result
    inside = pad_index(ones_like(inner, dtype="bool"), index=index, shape=shape)
    return e.where(inside, result, value)


def padded_shape(shape: Sequence[int], config: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the shape of an array after it has been padded; a size may come out negative."""
    return tuple(
        low + high + size + max(size - 1, 0) * between for size, (low, high, between) in zip(shape, config, strict=True)
    )
