"""The arguments that all of `gradkit.random` has, checked where they come in: key, shape, dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit.backend import backend_of
from gradkit.core import Array
from gradkit.core.array import wrap
from gradkit.core.operands import as_operand, cast, dtype_name
from gradkit.core.printing import describe
from gradkit.core.promotion import FLOATING, INTEGER, default_dtype, dtype_named, letter_of
from gradkit.core.sharding import refuse_sharding
from gradkit.core.sizes import whole_numbers
from gradkit.errors import ShapeError
from gradkit.primitives.new_arrays import asarray

__all__ = [
    "Shape", "checked_shape", "complex_or_floating_dtype", "drawing", "floating_dtype", "in_dtype", "integer_dtype",
    "one_key", "operand_for", "parameters_for", "some_keys", "unsigned_dtype",
]  # fmt: skip

Shape = int | Sequence[int]

MAKE_A_KEY = "Make one with gradkit.random.key(seed), and one for each use with gradkit.random.split(key)."


def one_key(key: Any, caller: str) -> Array:
    """Return the argument `key` as an Array of uint32 of shape (2,)."""
    keys = some_keys(key, caller)
    if keys.ndim != 1:
        raise ShapeError(
            f"{caller}: key must be a single key, of shape (2,), got {describe(keys)}, an array of keys. "
            f"Take one of them: keys[{', '.join('0' * (keys.ndim - 1))}]."
        )
    return keys


def some_keys(key: Any, caller: str) -> Array:
    """Return the argument `key` as an Array of uint32 of shape (..., 2)."""
    keys = key if type(key) is Array else wrap(key) if backend_of(key) is not None else None
    if keys is None:
        raise TypeError(f"{caller}: key must be a random key, got {key!r} of type {type(key).__name__}. {MAKE_A_KEY}")
    if dtype_name(keys) != "uint32" or keys.shape[-1:] != (2,):
        raise TypeError(
            f"{caller}: key must be a random key, of dtype uint32 and shape (2,), got {describe(keys)}. {MAKE_A_KEY}"
        )
    return keys


def checked_shape(shape: Shape, caller: str) -> tuple[int, ...]:
    """Return the argument `shape` as a tuple; an integer stands for one axis."""
    try:
        sizes = whole_numbers(shape)
    except TypeError:
        raise TypeError(
            f"{caller}: shape must be an integer or a tuple of integers, got {shape!r}. "
            f"For one number leave it out, or give ()."
        ) from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"{caller}: shape must have no negative sizes, got {shape!r}. An axis may have size 0.")
    return sizes


def operand_for(
    value: Any, name: str, caller: str, shape: tuple[int, ...] | None
) -> Array | bool | int | float | complex:
    """Return a parameter of a distribution as an Array or a Python number.

    Parameters
    ----------
    value : array or number
        The parameter.
    name, caller : str
        What the parameter and the function are called, for the messages.
    shape : tuple of int or None
        The shape of the result, to which the parameter must broadcast.
    """
    try:
        operand = as_operand(value, caller)
    except TypeError:
        raise TypeError(
            f"{caller}: {name} must be a number or an array, got {value!r} of type {type(value).__name__}. "
            f"Make an array of it with gradkit.numpy.asarray."
        ) from None
    if type(operand) is Array and shape is not None and not _broadcasts(operand.shape, shape):
        raise ShapeError(
            f"{caller}: {name} must broadcast to the shape of the result, {shape}, got an array of shape "
            f"{operand.shape}. Give a number, or change shape to fit."
        )
    return operand  # type: ignore[no-any-return]


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    if len(shape) > len(target):
        return False
    return all(size in (1, wanted) for size, wanted in zip(shape[::-1], target[::-1], strict=False))


# dtypes, by name


def floating_dtype(dtype: Any, caller: str) -> str:
    """Return the argument `dtype` as a name: by default that of new floating numbers."""
    return _dtype(dtype, "f", default_dtype(FLOATING), "a floating dtype", caller)


def complex_or_floating_dtype(dtype: Any, caller: str) -> str:
    """Return the argument `dtype` as a name: by default that of new floating numbers."""
    return _dtype(dtype, "fc", default_dtype(FLOATING), "a floating or complex dtype", caller)


def integer_dtype(dtype: Any, caller: str) -> str:
    """Return the argument `dtype` as a name: by default that of new integers."""
    return _dtype(dtype, "iu", default_dtype(INTEGER), "an integer dtype", caller)


def unsigned_dtype(dtype: Any, caller: str) -> str:
    """Return the argument `dtype` as a name: by default that of new integers, without sign."""
    return _dtype(dtype, "u", "u" + default_dtype(INTEGER), "an unsigned integer dtype", caller)


def _dtype(dtype: Any, kinds: str, default: str, expected: str, caller: str) -> str:
    if dtype is None:
        return default
    try:
        found = dtype_named(dtype)
    except TypeError:
        raise TypeError(f"{caller}: dtype must be {expected}, got {dtype!r}. Leave it out for {default}.") from None
    if letter_of(found) not in kinds:
        raise ValueError(f"{caller}: dtype must be {expected}, got {found.name}. Leave it out for {default}.")
    # Python's float and int mean the default width, as in JAX.
    return default if dtype is float or dtype is int else found.name


# All of them


def drawing(caller: str, key: Any, shape: Shape, dtype: Any, out_sharding: None) -> tuple[Array, tuple[int, ...], str]:
    """Return the key, the shape of the result, and the name of its floating dtype."""
    refuse_sharding(out_sharding, caller)
    return one_key(key, caller), checked_shape(shape, caller), floating_dtype(dtype, caller)


def parameters_for(
    caller: str, key: Any, shape: Shape | None, dtype: Any, out_sharding: None, /, **parameters: Any
) -> tuple[Array, tuple[int, ...], str, list[Array]]:
    """Return the key, the shape of the result, the dtype's name, and the parameters as Arrays of that dtype."""
    refuse_sharding(out_sharding, caller)
    key = one_key(key, caller)
    name = floating_dtype(dtype, caller)
    sizes = None if shape is None else checked_shape(shape, caller)
    arrays = [in_dtype(operand_for(value, what, caller, sizes), name, key) for what, value in parameters.items()]
    if sizes is None:
        try:
            sizes = np.broadcast_shapes(*(array.shape for array in arrays))
        except ValueError as error:
            given = ", ".join(f"{what} of shape {a.shape}" for what, a in zip(parameters, arrays, strict=True))
            raise ShapeError(f"{caller}: {given} do not broadcast. Sizes must be equal or 1.") from error
    return key, sizes, name, arrays


def in_dtype(value: Any, name: str, key: Array) -> Array:
    """Return a parameter as an Array of a dtype, beside the key."""
    if type(value) is Array:
        return cast(value, name)
    return asarray(np.array(value).astype(dtype_named(name)), device=key.device)
