"""Reductions: by the operation's name, or by any function of two values; running ones; positions of extrema."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.operands import cast, dtype_name
from gradkit.core.promotion import is_inexact
from gradkit.lax import bits as b
from gradkit.lax import elementwise as le
from gradkit.lax.arguments import array_of, convert, in_dtype_of, named_dtype
from gradkit.lax.creation import full
from gradkit.primitives import cumulative, reductions
from gradkit.primitives import elementwise as e
from gradkit.primitives.manipulation import broadcast_to, concat, permute_dims, reshape
from gradkit.transforms.vectorize import vmap
from gradkit.tree import flatten, unflatten

__all__ = [
    "argmax", "argmin", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "reduce", "reduce_and", "reduce_max",
    "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "reduce_xor",
]  # fmt: skip

Axes = Sequence[int]


def checked_axes(array: Array, axes: Axes) -> tuple[int, ...]:
    """Return axes of a reduction, none negative and none twice."""
    numbers = tuple(map(operator.index, axes))
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"duplicate value in 'axes' of reduction: {numbers}")
    if not all(0 <= a < array.ndim for a in numbers):
        sizes = ",".join(map(str, array.shape))
        raise ValueError(f"reduction axes {numbers} contains out-of-bounds indices for {dtype_name(array)}[{sizes}].")
    return numbers


# By name


def reduce_sum(operand: Any, axes: Axes, *, out_sharding: None = None) -> Array:
    """Sum over axes, in the dtype of the array."""
    array = array_of(operand, "reduce_sum")
    return reductions.sum(array, axis=checked_axes(array, axes), promote_integers=False)


def reduce_prod(operand: Any, axes: Axes) -> Array:
    """Multiply over axes, in the dtype of the array."""
    array = array_of(operand, "reduce_prod")
    return reductions.prod(array, axis=checked_axes(array, axes), promote_integers=False)


def reduce_max(operand: Any, axes: Axes) -> Array:
    """Return the largest elements over axes; of none, the smallest number of the dtype."""
    return _extremum("max", operand, axes)


def reduce_min(operand: Any, axes: Axes) -> Array:
    """Return the smallest elements over axes; of none, the largest number of the dtype."""
    return _extremum("min", operand, axes)


def _extremum(name: str, operand: Any, axes: Axes) -> Array:
    array = array_of(operand, f"reduce_{name}")
    numbers = checked_axes(array, axes)
    if not numbers:
        return array
    if dtype_name(array) == "bool":
        return (reductions.any if name == "max" else reductions.all)(array, axis=numbers)
    function = reductions.max if name == "max" else reductions.min
    if math.prod(array.shape[a] for a in numbers):
        return function(array, axis=numbers)
    return function(array, axis=numbers, initial=PRIMITIVES[name].identity_of(dtype_name(array)))  # type: ignore[attr-defined]


def _logical(name: str, whole: Callable[..., Array], of_bits: Callable[..., Array], neutral: int) -> Any:
    def reduce_bits(operand: Any, axes: Axes) -> Array:
        array = array_of(operand, f"reduce_{name}")
        if is_inexact(dtype_name(array)):
            raise TypeError(f"logical reduction requires operand dtype bool or int, got {dtype_name(array)}.")
        numbers = checked_axes(array, axes)
        if dtype_name(array) == "bool":
            return whole(array, axis=numbers)
        rows, rest = _flatten(array, numbers)
        start = cast(full((), neutral, "int32"), dtype_name(array)).to_device(array.device)
        return reshape(_fold(of_bits, [rows], [start])[0], rest)

    reduce_bits.__name__ = reduce_bits.__qualname__ = f"reduce_{name}"
    reduce_bits.__doc__ = f"Combine the bits of integers, or bools, by `{name}` over axes."
    return reduce_bits


def _odd(array: Array, axis: Any) -> Array:
    return e.remainder(reductions.sum(cast(array, "int32"), axis=axis), 2) == 1


reduce_and: Callable[[Any, Axes], Array] = _logical("and", reductions.all, e.bitwise_and, -1)
reduce_or: Callable[[Any, Axes], Array] = _logical("or", reductions.any, e.bitwise_or, 0)
reduce_xor: Callable[[Any, Axes], Array] = _logical("xor", _odd, e.bitwise_xor, 0)


# By a function


MONOIDS: dict[Any, Callable[[Any, Axes], Array]] = {
    **dict.fromkeys((le.add, e.add, operator.add), reduce_sum),
    **dict.fromkeys((le.mul, e.multiply, operator.mul), reduce_prod),
    **dict.fromkeys((le.max, e.maximum), reduce_max),
    **dict.fromkeys((le.min, e.minimum), reduce_min),
    **dict.fromkeys((b.bitwise_and, e.bitwise_and, e.logical_and, operator.and_), reduce_and),
    **dict.fromkeys((b.bitwise_or, e.bitwise_or, e.logical_or, operator.or_), reduce_or),
    **dict.fromkeys((b.bitwise_xor, e.bitwise_xor, e.logical_xor, operator.xor), reduce_xor),
}
"""Functions of two values, and the reductions that they are."""


def reduce(
    operands: Any, init_values: Any, computation: Callable[[Any, Any], Any], dimensions: Axes, out_sharding: None = None
) -> Any:
    """Combine elements over axes by any function of two values.

    Parameters
    ----------
    operands : pytree of arrays
        Of one shape.
    init_values : pytree of numbers or 0-d arrays
        Of the same structure; they are combined with the elements.
    computation : callable
        An associative and commutative function of two pytrees of scalars. Those of `lax` and `gradkit.numpy` (`add`,
        `max`, ...) are recognized; any other is applied to halves, halves of halves and so on.
    dimensions : sequence of int
        The axes, none negative.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> lax.reduce(jnp.asarray([1.0, 2.0, 4.0]), 0.0, lambda x, y: x + y, (0,))
    Array(7., dtype=float32)
    """
    leaves, tree = flatten(operands)
    starts, start_tree = flatten(init_values)
    if tree != start_tree:
        raise ValueError(f"Operands must have the same tree structure as init_values: {tree} vs. {start_tree}")
    arrays = [array_of(leaf, "reduce") for leaf in leaves]
    if len({array.shape for array in arrays}) > 1:
        raise TypeError(f"reduce: operands must have one shape, got {', '.join(str(a.shape) for a in arrays)}")
    initial = [_start(start, array) for start, array in zip(starts, arrays, strict=True)]
    return unflatten(tree, combine_rows(computation, arrays, initial, dimensions, tree))


def _start(value: Any, array: Array) -> Array:
    start = in_dtype_of(array, value, "reduce")
    if start.ndim:
        raise ValueError(f"reduce found non-scalar initial value of shape {start.shape}")
    return start


def combine_rows(
    computation: Callable[[Any, Any], Any], arrays: Sequence[Array], starts: Sequence[Array], axes: Axes, tree: Any
) -> list[Array]:
    """Reduce arrays, the leaves of a pytree, together; see `reduce`."""
    numbers = checked_axes(arrays[0], axes)
    known = MONOIDS.get(computation) if len(arrays) == 1 and _hashable(computation) else None
    if known is not None:
        return [convert(computation(starts[0], known(arrays[0], numbers)), dtype_name(arrays[0]))]

    def flat(*values: Any) -> Any:
        half = len(values) // 2
        result, found = flatten(computation(unflatten(tree, values[:half]), unflatten(tree, values[half:])))
        if found != tree:
            raise TypeError(f"reduce: computation must return the structure of its arguments, {tree}, got {found}")
        return result

    rows, rests = zip(*(_flatten(array, numbers) for array in arrays), strict=True)
    results = _fold(flat, rows, starts, many=True)
    return [reshape(result, rest) for result, rest in zip(results, rests, strict=True)]


def _hashable(computation: Any) -> bool:
    return getattr(computation, "__hash__", None) is not None


def _flatten(array: Array, axes: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """Return the elements that are to be combined along the first axis of a matrix, and the shape that is left."""
    kept = tuple(a for a in range(array.ndim) if a not in axes)
    rest = tuple(array.shape[a] for a in kept)
    moved = permute_dims(array, (*sorted(axes), *kept))
    return reshape(moved, (math.prod(array.shape[a] for a in axes), math.prod(rest))), rest


def _fold(
    combine: Callable[..., Any], rows: Sequence[Array], starts: Sequence[Array], many: bool = False
) -> list[Array]:
    """Combine the rows of matrices with each other, in pairs, and with what they start from."""
    each = vmap(vmap(combine)) if many else lambda *pair: [combine(*pair)]
    rows = [concat([_spread_start(start, row), row], axis=0) for start, row in zip(starts, rows, strict=True)]
    while (size := rows[0].shape[0]) > 1:
        half = size // 2
        pairs = [*(row[: 2 * half : 2] for row in rows), *(row[1 : 2 * half : 2] for row in rows)]
        results = [convert(new, dtype_name(row)) for new, row in zip(each(*pairs), rows, strict=True)]
        rows = [
            concat([new, row[2 * half :]], axis=0) if size % 2 else new for new, row in zip(results, rows, strict=True)
        ]
    return [row[0] for row in rows]


def _spread_start(start: Array, row: Array) -> Array:
    return broadcast_to(reshape(start, (1, 1)), (1, row.shape[1]))


# Positions


def argmax(operand: Any, axis: int, index_dtype: Any) -> Array:
    """Return the positions of the largest elements along an axis, the first of equal ones; NaN is the largest."""
    return _position(reductions.argmax, operand, axis, index_dtype)


def argmin(operand: Any, axis: int, index_dtype: Any) -> Array:
    """Return the positions of the smallest elements along an axis, the first of equal ones; NaN is the smallest."""
    return _position(reductions.argmin, operand, axis, index_dtype)


def _position(find: Callable[..., Array], operand: Any, axis: int, index_dtype: Any) -> Array:
    array, number, dtype = array_of(operand, "argmax"), operator.index(axis), named_dtype(index_dtype)
    if not dtype.startswith(("int", "uint")):
        raise TypeError(f"index_dtype must be an integer type, but got {dtype}")
    if not 0 <= number < array.ndim:
        raise ValueError(f"Invalid axis {axis} for operand shape {array.shape}")
    if not array.shape[number]:
        raise ValueError(
            f"argmin and argmax require non-empty reduced dimension. operand.shape={array.shape} axis={axis}"
        )
    return convert(find(array, axis=number), dtype)


# Running


def _running(name: str, function: Callable[..., Array]) -> Callable[..., Array]:
    def run(operand: Any, axis: int = 0, reverse: bool = False) -> Array:
        array, number = array_of(operand, name), operator.index(axis)
        if dtype_name(array) == "bool":
            raise TypeError(f"{name} does not accept dtype bool. Accepted dtypes are subtypes of number.")
        if number < 0:
            raise ValueError("XLA operations do not allow negative axes")
        if number >= array.ndim:
            raise ValueError(f"axis {number} is out of bounds for array of shape {array.shape}")
        return function(array, axis=number, reverse=reverse)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"Return the running {name[3:]} along an axis, which must not be negative; with `reverse` from the end on."
    )
    return run


cumsum = _running("cumsum", cumulative.cumsum)
cumprod = _running("cumprod", cumulative.cumprod)
cummax = _running("cummax", cumulative.cummax)
cummin = _running("cummin", cumulative.cummin)
cumlogsumexp = _running("cumlogsumexp", cumulative.cumlogsumexp)
