"""Random choices: permutations, samples from arrays, and from discrete distributions."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gradkit.backend import backend_of
from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name, require_inexact
from gradkit.core.promotion import INTEGER, default_dtype, is_inexact, limits_of
from gradkit.core.sharding import refuse_sharding
from gradkit.errors import ShapeError
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.elementwise import log
from gradkit.primitives.manipulation import permute_dims, reshape
from gradkit.primitives.new_arrays import arange, asarray, zeros
from gradkit.primitives.random_bits import random_order
from gradkit.primitives.reductions import argmax
from gradkit.primitives.searching import argsort, running_sum, searchsorted
from gradkit.primitives.taking import take
from gradkit.random.arguments import Shape, checked_shape, one_key, operand_for
from gradkit.random.floats import gumbel, uniform
from gradkit.random.integers import randint

__all__ = ["bernoulli", "categorical", "choice", "permutation"]


def permutation(key: Array, x: Any, axis: int = 0, independent: bool = False, *, out_sharding: None = None) -> Array:
    """Shuffle an array along an axis, or the integers from 0 to below `x`.

    Parameters
    ----------
    key : key
        The random key.
    x : int or array
        What to shuffle.
    axis : int
        The axis along which the elements (or slices) change their places.
    independent : bool
        Whether each vector along the axis is shuffled in its own order.

    Returns
    -------
    Array
        Of the shape and dtype of `x` (for an int of shape (x,), in the default integer dtype): JAX's order, exactly.
        It is differentiable in `x`.

    Raises
    ------
    TypeError
        If `key` is no key, or `x` neither an integer nor an array with at least one axis.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.permutation(gradkit.random.key(0), 5)
    Array([0, 1, 4, 3, 2], dtype=int32)
    """
    refuse_sharding(out_sharding, "permutation")
    key = one_key(key, "permutation")
    dtype = default_dtype(INTEGER)
    array: Any = _population(x, "x", "permutation")
    if type(array) is int:
        normalize_axes(axis, 1, "permutation")
        return random_order(key, shape=(max(array, 0),), axis=0, dtype=dtype)
    (axis,) = normalize_axes(axis, array.ndim, "permutation")
    if not independent or array.ndim == 1:
        return take(array, random_order(key, shape=(array.shape[axis],), axis=0, dtype=dtype), axis=axis)
    order = random_order(key, shape=array.shape, axis=axis, dtype=dtype)
    index = [
        reshape(arange(size, dtype=dtype, device=array.device), (size,) + (1,) * (array.ndim - 1 - i))
        for i, size in enumerate(array.shape)
    ]
    index[axis] = order
    shuffled: Array = array[tuple(index)]
    return shuffled


def _population(x: Any, name: str, caller: str) -> Any:
    """Return what is drawn from: an int, which stands for the integers below it, or an Array with an axis."""
    if isinstance(x, list | tuple):
        x = asarray(x)
    if (type(x) is not Array and backend_of(x) is None) or not np.shape(x):
        try:
            return operator.index(x)
        except TypeError:
            raise TypeError(
                f"{caller}: {name} must be an integer or an array of at least one dimension, got {x!r}."
            ) from None
    return as_array(x, caller)


def choice(
    key: Array, a: Any, shape: Shape = (), replace: bool = True, p: Any = None, axis: int = 0, mode: str | None = None
) -> Array:
    """Draw elements (or slices) of an array, or integers from 0 to below `a`.

    Parameters
    ----------
    key : key
        The random key.
    a : int or array
        What to draw from.
    shape : int or tuple of int
        The shape of the result, in place of the axis of `a`.
    replace : bool
        Whether something can be drawn more than once.
    p : array of float, shape (a.shape[axis],), optional
        The probabilities. They are taken relative to their sum.
    axis : int
        The axis along which `a` holds what is drawn.
    mode : {"low", "high"}, optional
        How many bits are drawn for probabilities without replacement; see `gumbel`.

    Returns
    -------
    Array
        JAX's choice, exactly.

    Raises
    ------
    TypeError
        If `key` is no key, or `a` neither an integer nor an array.
    ValueError
        If `a` has nothing to draw from, too few elements for a draw without replacement, or `p` has another length.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.choice(gradkit.random.key(0), 10, (4,), replace=False)
    Array([0, 1, 8, 5], dtype=int32)
    """
    key = one_key(key, "choice")
    sizes = checked_shape(shape, "choice")
    population = _population(a, "a", "choice")
    if type(population) is int:
        count, kept = population, ()
    else:
        (axis,) = normalize_axes(axis, population.ndim, "choice")
        count, kept = population.shape[axis], population.shape
    draws = math.prod(sizes)
    result_shape = (*kept[:axis], *sizes, *kept[axis + 1 :])
    if draws == 0:
        return zeros(result_shape, default_dtype(INTEGER) if type(population) is int else population.dtype)
    if count <= 0:
        raise ValueError(f"choice: a must have something to choose from, got {a!r}. Give a positive integer.")
    if not replace and draws > count:
        raise ValueError(
            f"choice: cannot take a larger sample (size {draws}, shape={sizes}) than the population (size {count}) "
            f"with replace=False. Take fewer, or replace=True."
        )
    positions = _positions(key, count, sizes, replace, p, mode)
    if type(population) is int:
        return reshape(positions, sizes)
    return reshape(take(population, positions, axis=axis), result_shape)


def _positions(key: Array, count: int, shape: tuple[int, ...], replace: bool, p: Any, mode: str | None) -> Array:
    draws = math.prod(shape)
    if p is None:
        return randint(key, shape, 0, count) if replace else permutation(key, count)[:draws]
    weights = require_inexact(asarray(p) if isinstance(p, list | tuple) else as_array(p, "choice"))
    if weights.shape != (count,):
        raise ShapeError(
            f"choice: p must have one probability for each of the {count} elements, shape ({count},), got an array of "
            f"shape {weights.shape}."
        )
    if not replace:
        score = gumbel(key, (count,), weights.dtype, mode) + log(weights)
        return argsort(-score)[:draws]
    summed = running_sum(weights)
    drawn = summed[-1] * (1 - uniform(key, shape, weights.dtype))
    return searchsorted(summed, drawn)


def bernoulli(
    key: Array, p: Any = 0.5, shape: Shape | None = None, mode: str = "low", *, out_sharding: None = None
) -> Array:
    """Draw truth values that are true with probability `p`.

    Parameters
    ----------
    key : key
        The random key.
    p : float or array of float
        The probability.
    shape : int or tuple of int, optional
        The shape of the result; by default that of `p`.
    mode : {"low", "high"}
        "high" draws twice the bits, so that probabilities below 1e-7 are met in float32.

    Returns
    -------
    Array of bool
        JAX's values, exactly.

    Raises
    ------
    TypeError
        If `key` is no key, or `p` is not of floating dtype.
    ValueError
        If `p` does not broadcast to `shape`, or `mode` is another.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.bernoulli(gradkit.random.key(0), 0.5, (4,))
    Array([False, False,  True,  True], dtype=bool)
    """
    refuse_sharding(out_sharding, "bernoulli")
    key = one_key(key, "bernoulli")
    if mode not in ("low", "high"):
        raise ValueError(f"bernoulli: mode must be 'low' or 'high', got {mode!r}.")
    sizes = None if shape is None else checked_shape(shape, "bernoulli")
    probability = operand_for(p, "p", "bernoulli", sizes)
    dtype = dtype_name(probability) if type(probability) is Array else None
    if type(probability) is not float and (dtype is None or not is_inexact(dtype)):
        raise TypeError(f"bernoulli: p must be of floating dtype, got {p!r}. Write it as a float.")
    if sizes is None:
        sizes = probability.shape if type(probability) is Array else ()
    if mode == "low":
        return uniform(key, sizes, dtype) < probability
    both = uniform(key, (2, *sizes), dtype)
    digits: int = limits_of(both.dtype).nmant
    return both[1] * 2.0**-digits < probability - both[0]


def categorical(
    key: Array,
    logits: Any,
    axis: int = -1,
    shape: Shape | None = None,
    replace: bool = True,
    mode: str | None = None,
    *,
    out_sharding: None = None,
) -> Array:
    """Draw categories by their unnormalized log probabilities.

    Parameters
    ----------
    key : key
        The random key.
    logits : array
        The log probabilities along `axis`, up to a constant.
    axis : int
        The axis of the categories.
    shape : int or tuple of int, optional
        The shape of the result: what precedes the shape of `logits` without the axis is drawn for each of them. By
        default one draw each.
    replace : bool
        Whether a category can be drawn more than once by the same distribution.
    mode : {"low", "high"}, optional
        How many bits are drawn; see `gumbel`.

    Returns
    -------
    Array of int
        The categories: JAX's, but for ties within rounding.

    Raises
    ------
    TypeError
        If `key` is no key, or `logits` no array.
    ValueError
        If `shape` does not end in the shape of the distributions, or there are more draws than categories without
        replacement.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.random.categorical(gradkit.random.key(0), jnp.log(jnp.asarray([0.1, 0.2, 0.7])), shape=(5,))
    Array([1, 2, 2, 1, 2], dtype=int32)
    """
    refuse_sharding(out_sharding, "categorical")
    key = one_key(key, "categorical")
    scores = require_inexact(asarray(logits) if isinstance(logits, list | tuple) else as_array(logits, "categorical"))
    (axis,) = normalize_axes(axis, scores.ndim, "categorical")
    batch = scores.shape[:axis] + scores.shape[axis + 1 :]
    sizes = batch if shape is None else checked_shape(shape, "categorical")
    lead = len(sizes) - len(batch)
    if lead < 0 or any(size not in (1, wanted) for size, wanted in zip(batch, sizes[lead:], strict=True)):
        raise ShapeError(f"categorical: shape must end in the shape of logits without its axis, {batch}, got {sizes}.")
    if replace:
        drawn = (*sizes[: lead + axis], scores.shape[axis], *sizes[lead + axis :])
        chosen: Array = argmax(gumbel(key, drawn, scores.dtype, mode) + scores, axis=lead + axis)
        return chosen
    draws = math.prod(sizes[:lead])
    if draws > scores.shape[axis]:
        raise ValueError(
            f"categorical: {draws} draws without replacement cannot exceed the number of categories, "
            f"{scores.shape[axis]}. Take fewer, or replace=True."
        )
    noisy = scores + gumbel(key, scores.shape, scores.dtype, mode)
    order = argsort(-noisy, axis=axis)
    best = cast(order[(slice(None),) * axis + (slice(draws),)], "int32")
    return reshape(permute_dims(best, (axis, *(i for i in range(best.ndim) if i != axis))), sizes)
