"""New arrays, conversions, and what passes values on: constants, counting, dtypes, `stop_gradient`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import cast, dtype_name, require_fit
from gradkit.core.promotion import dtype_named, is_complex, require_room_for
from gradkit.lax.arguments import array_of, convert, named_dtype, sizes_of
from gradkit.primitives import elementwise as e
from gradkit.primitives import new_arrays
from gradkit.primitives.barriers import behind_barrier
from gradkit.primitives.creation import stop_gradient as cut_off
from gradkit.primitives.manipulation import broadcast_to, reshape
from gradkit.tree import map as tree_map

__all__ = [
    "broadcasted_iota", "convert_element_type", "dtype", "empty", "full", "full_like", "iota", "optimization_barrier",
    "shape_as_value", "stop_gradient", "zeros_like_array",
]  # fmt: skip


def full(shape: Sequence[int], fill_value: Any, dtype: Any = None, *, sharding: Any = None) -> Array:
    """Return an array of one value.

    Parameters
    ----------
    shape : sequence of int
        The shape.
    fill_value : number or 0-d array
        The value.
    dtype : dtype, optional
        By default that of the value.
    sharding : Device, optional
        Where the result should be.
    """
    sizes = sizes_of(shape, "full")
    value = array_of(fill_value, "full")
    if value.ndim:
        raise TypeError(f"full must be called with scalar fill_value, got fill_value.shape {value.shape}.")
    if dtype is not None:
        require_fit(named_dtype(dtype), fill_value, "full")
        value = convert(_real_for(value, named_dtype(dtype)), named_dtype(dtype))
    result = broadcast_to(value, sizes)
    return result if sharding is None else result.to_device(sharding)


def full_like(
    x: Any, fill_value: Any, dtype: Any = None, shape: Sequence[int] | None = None, sharding: Any = None
) -> Array:
    """Return an array of one value, of the shape, dtype and device of `x` unless others are given."""
    like = array_of(x, "full_like")
    require_fit(dtype_name(like) if dtype is None else named_dtype(dtype), fill_value, "full_like")
    value = array_of(fill_value, "full_like", like=like)
    return full(
        like.shape if shape is None else shape, value, like.dtype if dtype is None else dtype, sharding=sharding
    )


def zeros_like_array(x: Any) -> Array:
    """Return zeros of the shape, dtype and device of `x`."""
    return full_like(x, 0)


def empty(shape: Sequence[int], dtype: Any, *, out_sharding: None = None) -> Array:
    """Return an array whose values nobody should read: zeros."""
    return new_arrays.zeros(sizes_of(shape, "empty"), dtype=named_dtype(dtype))


def iota(dtype: Any, size: int) -> Array:
    """Return 0, 1, ..., size - 1."""
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: Any, shape: Sequence[int], dimension: int, *, out_sharding: None = None) -> Array:
    """Return an array whose elements are their positions along an axis.

    Parameters
    ----------
    dtype : dtype
        Not bool.
    shape : sequence of int
        The shape.
    dimension : int
        The axis, not negative.
    """
    name, sizes, axis = named_dtype(dtype), sizes_of(shape, "iota"), operator.index(dimension)
    if name == "bool":
        raise TypeError(
            "iota does not accept dtype bool. Accepted dtypes are subtypes of integer, floating, complexfloating."
        )
    if not 0 <= axis < len(sizes):
        raise ValueError(f"iota dimension must be between 0 and len(shape), got dimension={axis} for shape={sizes}")
    count = new_arrays.arange(sizes[axis], dtype="int32" if is_complex(dtype_named(name)) else name)
    aligned = reshape(convert(count, name), (1,) * axis + (sizes[axis],) + (1,) * (len(sizes) - axis - 1))
    return broadcast_to(aligned, sizes)


def convert_element_type(operand: Any, new_dtype: Any) -> Array:
    """Convert to another dtype; of complex numbers a real one gets the real part. 64-bit dtypes need x64.

    Examples
    --------
    >>> from gradkit import lax
    >>> lax.convert_element_type(1.5, "int32")
    Array(1, dtype=int32)
    """
    array, name = array_of(operand, "convert_element_type"), named_dtype(new_dtype)
    require_room_for(name, operand, "convert_element_type")
    return array if dtype_name(array) == name else cast(_real_for(array, name), name)


def _real_for(array: Array, name: str) -> Array:
    real = is_complex(array.dtype) and name != "bool" and not is_complex(dtype_named(name))
    return e.real(array) if real else array


def dtype(x: Any) -> Any:
    """Return the dtype of an array or number."""
    return array_of(x, "dtype").dtype


def shape_as_value(shape: Sequence[int]) -> Array:
    """Return a shape as an array of integers."""
    return new_arrays.asarray(list(map(operator.index, shape)), dtype="int32")


def stop_gradient(x: Any) -> Any:
    """Return the pytree's arrays without what they depend on: their derivative is 0, in both modes and to any order.

    Examples
    --------
    >>> import gradkit
    >>> from gradkit import lax
    >>> gradkit.grad(lambda x: x * lax.stop_gradient(x))(3.0)
    Array(3., dtype=float32)
    """

    def stopped(leaf: Any) -> Any:
        if isinstance(leaf, bool | int | float | complex):
            return leaf
        return cut_off(array_of(leaf, "stop_gradient"))

    return tree_map(stopped, x)


def optimization_barrier(operand: Any, /) -> Any:
    """Return the pytree as it is: a compiler neither moves anything across it nor merges what is on its two sides."""
    return tree_map(lambda leaf: behind_barrier(array_of(leaf, "optimization_barrier")), operand)
