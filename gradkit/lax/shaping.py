"""`lax`'s functions of shape: broadcasting, reordering, cutting, joining."""

from __future__ import annotations

import builtins
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.sizes import whole_numbers
from gradkit.errors import ShapeError
from gradkit.lax.arguments import array_of, require_same_dtype, together
from gradkit.primitives import indexing, manipulation

__all__ = [
    "broadcast", "broadcast_in_dim", "broadcast_like", "broadcast_shapes", "broadcast_to_rank", "collapse",
    "concatenate", "expand_dims", "index_in_dim", "reshape", "rev", "slice", "slice_in_dim", "split", "squeeze",
    "stack", "tile", "transpose", "unstack",
]  # fmt: skip


def axis_in(axis: Any, ndim: int) -> int:
    """Return an axis as a number that is not negative."""
    number = operator.index(axis)
    if not -ndim <= number < ndim:
        raise ValueError(f"axis {number} is out of bounds for array of dimension {ndim}")
    return number % ndim


# Broadcasting


def broadcast(operand: Any, sizes: Sequence[int], *, out_sharding: None = None) -> Array:
    """Repeat an array along new axes in front, of these sizes."""
    array = array_of(operand, "broadcast")
    return manipulation.broadcast_to(array, (*map(operator.index, sizes), *array.shape))


def broadcast_in_dim(
    operand: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int], *, out_sharding: None = None
) -> Array:
    """Repeat an array along axes that it lacks, and along its axes of size 1.

    Parameters
    ----------
    operand : array
        Of any shape.
    shape : sequence of int
        The result's shape.
    broadcast_dimensions : sequence of int
        For each axis of `operand` the axis of the result that it becomes, in ascending order.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> lax.broadcast_in_dim(jnp.asarray([1.0, 2.0]), (2, 3), (0,))
    Array([[1., 1., 1.],
           [2., 2., 2.]], dtype=float32)
    """
    array = array_of(operand, "broadcast_in_dim")
    sizes, axes = tuple(map(operator.index, shape)), tuple(map(operator.index, broadcast_dimensions))
    if len(axes) != array.ndim:
        raise TypeError(
            f"broadcast_in_dim broadcast_dimensions must have length equal to operand ndim; got broadcast_dimensions "
            f"{axes} for operand ndim {array.ndim}."
        )
    if not all(0 <= a < len(sizes) for a in axes):
        raise TypeError(
            f"broadcast_in_dim broadcast_dimensions must be a subset of output dimensions, got {axes} for operand ndim "
            f"{array.ndim} and shape {sizes}."
        )
    if any(n not in (1, sizes[a]) for n, a in zip(array.shape, axes, strict=True)):
        raise TypeError(
            f"broadcast_in_dim operand dimension sizes must either be 1, or be equal to their corresponding dimensions "
            f"in the target broadcast shape; got operand of shape {array.shape}, target broadcast shape {sizes}, "
            f"broadcast_dimensions {axes}"
        )
    if any(a >= b for a, b in itertools.pairwise(axes)):
        raise TypeError(f"broadcast_in_dim broadcast_dimensions must be strictly increasing; got {axes}")
    aligned = [1] * len(sizes)
    for n, a in zip(array.shape, axes, strict=True):
        aligned[a] = n
    return manipulation.broadcast_to(manipulation.reshape(array, tuple(aligned)), sizes)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """Return the shape to which all broadcast.

    Raises
    ------
    ValueError
        If they do not broadcast.
    """
    known = list(map(whole_numbers, shapes))
    rank = max(map(len, known), default=0)
    result = []
    for sizes in zip(*((1,) * (rank - len(shape)) + shape for shape in known), strict=True):
        found = {size for size in sizes if size != 1}
        if len(found) > 1:
            raise ValueError(f"Incompatible shapes for broadcasting: shapes={[*map(tuple, known)]}")
        result.append(found.pop() if found else 1)
    return tuple(result)


def broadcast_to_rank(x: Any, rank: int) -> Array:
    """Add axes of size 1 in front, up to `rank` axes."""
    array = array_of(x, "broadcast_to_rank")
    return manipulation.reshape(array, (1,) * (rank - array.ndim) + array.shape)


def broadcast_like(arr: Any, like_arr: Any) -> Array:
    """Broadcast an array to the shape of another."""
    return manipulation.broadcast_to(array_of(arr, "broadcast_like"), array_of(like_arr, "broadcast_like").shape)


# Axes


def reshape(
    operand: Any, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None, *, out_sharding: None = None
) -> Array:
    """Give the elements another shape, after their axes have been put into the order `dimensions`."""
    array = array_of(operand, "reshape")
    sizes = tuple(map(operator.index, new_sizes))
    if any(size < 0 for size in sizes):
        raise TypeError(f"reshape new_sizes must all be positive, got {sizes}.")
    if math.prod(sizes) != math.prod(array.shape):
        raise ShapeError(f"reshape total size must be unchanged, got new_sizes {sizes} for shape {array.shape}.")
    if dimensions is not None:
        order = tuple(map(operator.index, dimensions))
        if sorted(order) != list(range(array.ndim)):
            raise TypeError(
                f"reshape dimensions must be a permutation of operand dimensions, got dimensions {order} for shape "
                f"{array.shape}."
            )
        array = manipulation.permute_dims(array, order)
    return manipulation.reshape(array, sizes)


def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Array:
    """Make the axes from `start_dimension` up to and without `stop_dimension` one."""
    array = array_of(operand, "collapse")
    lo, hi, _ = builtins.slice(start_dimension, stop_dimension).indices(array.ndim)
    if hi < lo:
        raise ValueError(f"Invalid dimension range passed to collapse: {array.shape}[{lo}:{hi}]")
    shape = array.shape
    return manipulation.reshape(array, (*shape[:lo], math.prod(shape[lo:hi]), *shape[hi:]))


def expand_dims(array: Any, dimensions: Sequence[int]) -> Array:
    """Insert axes of size 1 at these positions of the result."""
    x = array_of(array, "expand_dims")
    rank = x.ndim + len(tuple(dimensions))
    axes = {axis_in(d, rank) for d in dimensions}
    if len(axes) != rank - x.ndim:
        raise ValueError(f"repeated axis in lax.expand_dims: {tuple(dimensions)}")
    sizes = iter(x.shape)
    return manipulation.reshape(x, tuple(1 if i in axes else next(sizes) for i in range(rank)))


def squeeze(array: Any, dimensions: Sequence[int]) -> Array:
    """Remove these axes, whose sizes must be 1."""
    x = array_of(array, "squeeze")
    axes = {axis_in(d, x.ndim) for d in dimensions}
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(
            f"cannot select an axis to squeeze out which has size not equal to one, got shape={x.shape} and "
            f"dimensions={tuple(dimensions)}"
        )
    return manipulation.reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))


def transpose(operand: Any, permutation: Sequence[int]) -> Array:
    """Reorder the axes: axis i of the result is axis ``permutation[i]`` of the operand."""
    array = array_of(operand, "transpose")
    order = tuple(map(operator.index, permutation))
    if sorted(order) != list(range(array.ndim)):
        raise TypeError(
            f"transpose permutation isn't a permutation of operand dimensions, got permutation {order} for operand "
            f"shape {array.shape}."
        )
    return manipulation.permute_dims(array, order)


def rev(operand: Any, dimensions: Sequence[int]) -> Array:
    """Reverse the order of the elements along these axes."""
    array = array_of(operand, "rev")
    axes = tuple(map(operator.index, dimensions))
    if len(set(axes)) != len(axes):
        raise TypeError(f"rev dimensions must be unique, got {axes}.")
    if any(a >= array.ndim for a in axes):
        raise TypeError(
            f"rev dimensions must all be less than operand ndim, got dimensions {axes} for operand ndim {array.ndim}."
        )
    if any(a < 0 for a in axes):
        raise ValueError(f"rev dimensions must not be negative, got {axes}.")
    return cut(array, [builtins.slice(None, None, -1 if a in axes else None) for a in range(array.ndim)])


def cut(array: Array, index: Sequence[builtins.slice]) -> Array:
    """Return ``array[index]`` for one slice along each axis; the array itself where all of them are whole."""
    whole = builtins.slice(None)
    return array if all(part == whole for part in index) else indexing.getitem(array, tuple(index))


# Cutting and joining


def slice(
    operand: Any, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None
) -> Array:
    """Cut out a part.

    Parameters
    ----------
    operand : array
        Of any shape.
    start_indices, limit_indices : sequence of int
        For each axis where the part begins, and before which position it ends. None negative, none out of range.
    strides : sequence of int, optional
        For each axis how far one element is from the next.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> lax.slice(jnp.arange(6), (1,), (6,), (2,))
    Array([1, 3, 5], dtype=int32)
    """
    array = array_of(operand, "slice")
    starts, limits = tuple(map(operator.index, start_indices)), tuple(map(operator.index, limit_indices))
    steps = (1,) * array.ndim if strides is None else tuple(map(operator.index, strides))
    if not len(starts) == len(limits) == len(steps) == array.ndim:
        raise TypeError(
            f"slice start_indices, limit_indices and strides must have one number for each axis of the operand of "
            f"shape {array.shape}, got {starts}, {limits} and {steps}."
        )
    if any(limit > size for limit, size in zip(limits, array.shape, strict=True)):
        raise TypeError(
            f"slice limit_indices must be less than or equal to operand shape, got limit_indices {limits} for operand "
            f"shape {array.shape}."
        )
    if any(start < 0 for start in starts):
        raise TypeError(f"slice start_indices must have every element be nonnegative, got {starts}.")
    if any(start > limit for start, limit in zip(starts, limits, strict=True)):
        raise TypeError(
            f"slice limit_indices must be greater than or equal to start_indices, got start_indices {starts} and "
            f"limit_indices {limits}."
        )
    if any(step <= 0 for step in steps):
        raise TypeError(f"slice strides must be positive, got {steps}")
    return cut(
        array,
        [
            builtins.slice(None) if (start, limit, step) == (0, size, 1) else builtins.slice(start, limit, step)
            for start, limit, step, size in zip(starts, limits, steps, array.shape, strict=True)
        ],
    )


def slice_in_dim(
    operand: Any, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0
) -> Array:
    """Cut out a part along one axis, from `start_index` up to and without `limit_index`; negative ones count back."""
    array = array_of(operand, "slice_in_dim")
    axis = axis_in(axis, array.ndim)
    size = array.shape[axis]
    start = 0 if start_index is None else operator.index(start_index)
    limit = size if limit_index is None else operator.index(limit_index)
    starts, limits, steps = [0] * array.ndim, list(array.shape), [1] * array.ndim
    starts[axis] = start + size if start < 0 else start
    limits[axis] = limit + size if limit < 0 else limit
    steps[axis] = operator.index(stride)
    return slice(array, starts, limits, steps)


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Array:
    """Take one position of an axis, which is kept with size 1 unless `keepdims` is False."""
    array = array_of(operand, "index_in_dim")
    number, axis = operator.index(index), axis_in(axis, array.ndim)
    size = array.shape[axis]
    if not -size <= number < size:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {size}")
    start = number % size
    row = slice_in_dim(array, start, start + 1, 1, axis)
    return row if keepdims else squeeze(row, (axis,))


def split(operand: Any, sizes: Sequence[int], axis: int = 0) -> list[Array]:
    """Cut into parts of these sizes along an axis."""
    array = array_of(operand, "split")
    axis = axis_in(axis, array.ndim)
    if sum(sizes) != array.shape[axis]:
        raise ValueError(
            f"Sum of sizes {sum(sizes)} must be equal to dimension {axis} of the operand shape {list(array.shape)}"
        )
    parts, start = [], 0
    for size in sizes:
        parts.append(slice_in_dim(array, start, start + size, 1, axis))
        start += size
    return parts


def unstack(x: Any, axis: int = 0) -> tuple[Array, ...]:
    """Return the parts of an array along an axis, without that axis."""
    array = array_of(x, "unstack")
    return tuple(index_in_dim(array, i, axis, keepdims=False) for i in range(array.shape[axis]))


def concatenate(operands: Sequence[Any], dimension: int) -> Array:
    """Join arrays of one dtype along an axis, which must not be negative."""
    arrays = together("concatenate", *operands)
    if not arrays:
        raise ValueError("concatenate requires a non-empty sequences of arrays")
    shapes = [array.shape for array in arrays]
    shown = ", ".join(map(str, shapes))
    if len({array.ndim for array in arrays}) != 1:
        raise TypeError(f"Cannot concatenate arrays with different numbers of dimensions: got {shown}.")
    if not 0 <= dimension < arrays[0].ndim:
        raise TypeError(f"concatenate dimension out of bounds: dimension {dimension} for shapes {shown}.")
    if len({(*shape[:dimension], *shape[dimension + 1 :]) for shape in shapes}) != 1:
        raise TypeError(
            f"Cannot concatenate arrays with shapes that differ in dimensions other than the one being concatenated: "
            f"concatenating along dimension {dimension} for shapes {shown}."
        )
    require_same_dtype("concatenate", arrays)
    return manipulation.concat(arrays, axis=dimension)


def stack(operands: Sequence[Any], axis: int = 0) -> Array:
    """Join arrays of one shape and dtype along a new axis."""
    arrays = together("stack", *operands)
    if not arrays:
        raise ValueError("Must pass at least one array to stack.")
    require_same_dtype("stack", arrays)
    return manipulation.stack(arrays, axis=axis)


def tile(operand: Any, reps: Sequence[int]) -> Array:
    """Repeat an array so many times along each axis."""
    array = array_of(operand, "tile")
    counts = tuple(map(operator.index, reps))
    if len(counts) != array.ndim:
        raise TypeError(
            f"reps length must be equal to the ndim of x, got len(reps)={len(counts)} and x.ndim={array.ndim}."
        )
    pairs = tuple(zip(counts, array.shape, strict=True))
    wide = manipulation.reshape(array, tuple(n for _, size in pairs for n in (1, size)))
    repeated = manipulation.broadcast_to(wide, tuple(n for pair in pairs for n in pair))
    return manipulation.reshape(repeated, tuple(count * size for count, size in pairs))
