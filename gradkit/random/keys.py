"""Keys: how they are made, and how others come from them.

A key is an array of two uint32 numbers. It is never changed: whatever uses randomness takes a key, the same key gives
the same numbers, and new keys are split off or folded in.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gradkit.config import config
from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name
from gradkit.primitives.elementwise import positive
from gradkit.primitives.manipulation import reshape
from gradkit.primitives.new_arrays import arange, asarray
from gradkit.primitives.random_bits import fold_in as bind_fold_in
from gradkit.random.arguments import Shape, checked_shape, one_key, some_keys

__all__ = [
    "PRNGKey", "clone", "fold_in", "key", "key_data", "key_impl", "key_of_words", "split", "words_of_seed",
    "wrap_key_data",
]  # fmt: skip

IMPLEMENTATION = "threefry2x32"
MASK = 0xFFFFFFFF


def key(seed: int, *, impl: str | None = None) -> Array:
    """Make a random key from a seed.

    Parameters
    ----------
    seed : int
        Any integer of 64 bits. Its lower 32 bits are the key, and with x64 enabled all 64, as in JAX.
    impl : {"threefry2x32"}, optional
        The generator: the only one.

    Returns
    -------
    Array of uint32, shape (2,)
        The key, on the current backend. (JAX's `key` gives the same two numbers in a dtype of its own;
        `jax.random.key_data` shows them.)

    Raises
    ------
    TypeError
        If `seed` is no integer.
    OverflowError
        If `seed` needs more than 64 bits.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.key(42)
    Array([ 0, 42], dtype=uint32)
    """
    _check_implementation(impl, "key")
    return key_of_words(*words_of_seed(seed, "key"))


def PRNGKey(seed: int, *, impl: str | None = None) -> Array:
    """Make a random key from a seed, under JAX's older name; see `key`."""
    _check_implementation(impl, "PRNGKey")
    return key_of_words(*words_of_seed(seed, "PRNGKey"))


def _check_implementation(impl: str | None, caller: str) -> None:
    if impl not in (None, IMPLEMENTATION):
        raise ValueError(f"{caller}: impl must be {IMPLEMENTATION!r}, the only generator here, got {impl!r}.")


def words_of_seed(seed: Any, caller: str) -> tuple[int, int]:
    """Return the high and the low word of the key of a seed."""
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"{caller}: seed must be an integer, got {seed!r} of type {type(seed).__name__}. "
            f"For one key per element of an array, split a key."
        ) from None
    if not -(1 << 63) <= number < 1 << 64:
        raise OverflowError(f"{caller}: seed must fit 64 bits, got {number}. Take it modulo 2**64.")
    narrow = not config.jax_enable_x64 or getattr(getattr(seed, "dtype", None), "itemsize", 8) < 8
    return (0 if narrow else number >> 32 & MASK), number & MASK


def key_of_words(high: int, low: int) -> Array:
    """Make a key of its two words, on the current backend."""
    return asarray(np.array([high, low], np.uint32))


def split(key: Array, num: Shape = 2) -> Array:
    """Split a key into several, which are independent of each other and of it.

    Parameters
    ----------
    key : key
        It should not be used for anything else.
    num : int or tuple of int
        How many keys, or the shape of an array of keys.

    Returns
    -------
    Array of uint32, shape (num, 2) or (*num, 2)
        The keys; iterate over them or unpack them.

    Raises
    ------
    TypeError
        If `key` is no key.
    ShapeError
        If `key` is an array of keys.

    Examples
    --------
    >>> import gradkit
    >>> weights_key, data_key = gradkit.random.split(gradkit.random.key(0))
    >>> data_key
    Array([ 928981903, 3453687069], dtype=uint32)
    """
    parent = one_key(key, "split")
    shape = checked_shape(num, "split")
    counters = reshape(arange(math.prod(shape), dtype="uint32", device=parent.device), shape)
    return bind_fold_in(parent, counters)


def fold_in(key: Array, data: Any) -> Array:
    """Make a key from a key and a number: the same number gives the same key, another number an independent one.

    Parameters
    ----------
    key : key
        The key.
    data : int or Array of integers, shape ()
        The number, such as that of a step or a layer, from 0 to 2**32 - 1. (Of an array's elements the lower 32 bits.)

    Returns
    -------
    Array of uint32, shape (2,)
        The new key.

    Raises
    ------
    TypeError
        If `key` is no key, or `data` no single integer.
    OverflowError
        If `data` is an int that does not fit 32 bits.

    Examples
    --------
    >>> import gradkit
    >>> gradkit.random.fold_in(gradkit.random.key(0), 7)
    Array([2716826189,  292468403], dtype=uint32)
    """
    parent = one_key(key, "fold_in")
    if isinstance(data, int):
        if not 0 <= data <= MASK:
            raise OverflowError(f"fold_in: data must fit 32 bits without sign, got {data}. Take it modulo 2**32.")
        counter = asarray(np.array(data, np.uint32), device=parent.device)
    else:
        counter = as_array(data, "fold_in")
        if not dtype_name(counter).startswith(("int", "uint")) or counter.ndim:
            raise TypeError(
                f"fold_in: data must be one integer, got {counter.dtype} of shape {counter.shape}. "
                f"For several keys, fold in each number, or use gradkit.random.split(key, num)."
            )
        counter = cast(counter, "uint32")
    return bind_fold_in(parent, counter)


def key_data(keys: Array) -> Array:
    """Return the numbers that keys are made of: the keys themselves, as a key has no dtype of its own here."""
    return some_keys(keys, "key_data")


def wrap_key_data(key_bits_array: Array, *, impl: str | None = None) -> Array:
    """Make keys of their numbers, an array of uint32 of shape (..., 2): the numbers themselves, checked."""
    _check_implementation(impl, "wrap_key_data")
    return some_keys(key_bits_array, "wrap_key_data")


def clone(key: Array) -> Array:
    """Return a copy of a key, as JAX's checks of key reuse ask for."""
    return positive(some_keys(key, "clone"))


def key_impl(keys: Array) -> str:
    """Return the name of the generator that keys are for: there is one."""
    some_keys(keys, "key_impl")
    return "threefry2x32"
