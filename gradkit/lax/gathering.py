"""`gather` and `scatter`: windows taken from, and put at, positions that arrays say."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradkit.core import Array
from gradkit.core.operands import cast, dtype_name, wide_integers
from gradkit.core.promotion import is_inexact
from gradkit.lax.arguments import array_of, together
from gradkit.primitives import elementwise as e
from gradkit.primitives import scattering
from gradkit.primitives.manipulation import broadcast_to, permute_dims, reshape, stack
from gradkit.primitives.positions import counted
from gradkit.primitives.taking import take

__all__ = [
    "GatherDimensionNumbers", "GatherScatterMode", "ScatterDimensionNumbers", "gather", "index_take", "scatter",
    "scatter_add", "scatter_apply", "scatter_max", "scatter_min", "scatter_mul", "scatter_sub",
]  # fmt: skip

Sizes = tuple[int, ...]


class GatherScatterMode(enum.Enum):
    """What happens to windows that are not wholly inside: they are moved inside; filled or left out; undefined."""

    CLIP = 0
    FILL_OR_DROP = 1
    PROMISE_IN_BOUNDS = 2

    @staticmethod
    def from_any(mode: Any) -> GatherScatterMode:
        """Return the mode of a name; None is `FILL_OR_DROP`."""
        if isinstance(mode, GatherScatterMode):
            return mode
        names = {
            None: GatherScatterMode.FILL_OR_DROP,
            "fill": GatherScatterMode.FILL_OR_DROP,
            "drop": GatherScatterMode.FILL_OR_DROP,
            "clip": GatherScatterMode.CLIP,
            "promise_in_bounds": GatherScatterMode.PROMISE_IN_BOUNDS,
        }
        if mode not in names:
            raise ValueError(f'Unknown gather mode "{mode}"')
        return names[mode]


class GatherDimensionNumbers(NamedTuple):
    """Which axes of a `gather` are which.

    Attributes
    ----------
    offset_dims : tuple of int
        The axes of the result that are those of a window, in ascending order.
    collapsed_slice_dims : tuple of int
        The axes of the operand along which a window has size 1, that the result lacks.
    start_index_map : tuple of int
        For each number of an index the axis of the operand that it is along.
    operand_batching_dims, start_indices_batching_dims : tuple of int
        Pairs of axes, of the operand and of the indices, that are a batch.
    """

    offset_dims: Sizes
    collapsed_slice_dims: Sizes
    start_index_map: Sizes
    operand_batching_dims: Sizes = ()
    start_indices_batching_dims: Sizes = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which axes of a `scatter` are which; the counterpart of `GatherDimensionNumbers`.

    Attributes
    ----------
    update_window_dims : sequence of int
        The axes of the updates that are those of a window, in ascending order.
    inserted_window_dims : sequence of int
        The axes of the operand along which a window has size 1, that the updates lack.
    scatter_dims_to_operand_dims : sequence of int
        For each number of an index the axis of the operand that it is along.
    operand_batching_dims, scatter_indices_batching_dims : sequence of int
        Pairs of axes, of the operand and of the indices, that are a batch.
    """

    update_window_dims: Sequence[int]
    inserted_window_dims: Sequence[int]
    scatter_dims_to_operand_dims: Sequence[int]
    operand_batching_dims: Sequence[int] = ()
    scatter_indices_batching_dims: Sequence[int] = ()


class Targets(NamedTuple):
    """Where the elements of windows are.

    Attributes
    ----------
    flat : Array
        Their positions in the flattened operand, of shape (batch..., window...).
    inside : Array or None
        Which windows are wholly inside, of shape (batch...).
    """

    flat: Array
    inside: Array | None


def _targets(
    caller: str,
    shape: Sizes,
    indices: Array,
    sizes: Sizes,
    index_map: Sizes,
    batching: tuple[Sizes, Sizes],
    window: Sizes,
    mode: GatherScatterMode,
) -> Targets:
    """Find the elements of windows.

    `sizes` are those of a window along each axis of the operand, `window` the axes that the windows keep.
    """
    if not indices.ndim or indices.shape[-1] != len(index_map):
        raise TypeError(
            f"{caller}: the last axis of the indices must have one number for each axis in {index_map}, got indices of "
            f"shape {indices.shape}"
        )
    if not dtype_name(indices).startswith(("int", "uint")):
        raise ValueError(f"{caller}: indices must have an integer type, got {dtype_name(indices)}")
    if any(not 0 <= n <= size for n, size in zip(sizes, shape, strict=True)):
        raise TypeError(f"{caller}: windows of sizes {sizes} do not fit into an operand of shape {shape}")
    indices = wide_integers(indices, math.prod(shape))
    batch = indices.shape[:-1]
    rank = len(batch) + len(window)
    flat: Array = reshape(counted(1, indices), (1,) * rank)
    inside: Array | None = None
    for axis, size in enumerate(shape):
        stride = math.prod(shape[axis + 1 :])
        if axis in index_map:
            start = indices[..., index_map.index(axis)]
            last = size - sizes[axis]
            if mode is GatherScatterMode.FILL_OR_DROP:
                fits = e.logical_and(start >= 0, start <= last)
                inside = fits if inside is None else e.logical_and(inside, fits)
            if mode is not GatherScatterMode.PROMISE_IN_BOUNDS:
                start = e.clip(start, 0, last)
            flat = flat + reshape(start, (*batch, *(1,) * len(window))) * stride
        elif axis in batching[0]:
            where = batching[1][batching[0].index(axis)]
            flat = flat + _along(counted(size, indices), where, rank) * stride
        if axis in window:
            flat = flat + _along(counted(sizes[axis], indices), len(batch) + window.index(axis), rank) * stride
    return Targets(broadcast_to(flat, (*batch, *(sizes[a] for a in window))), inside)


def _along(positions: Array, axis: int, rank: int) -> Array:
    return reshape(positions, tuple(positions.shape[0] if a == axis else 1 for a in range(rank)))


def gather(
    operand: Any,
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: Any = None,
    fill_value: Any = None,
) -> Array:
    """Take windows from an array.

    Parameters
    ----------
    operand : array
        What to take from.
    start_indices : array of int, shape (..., k)
        Where each window begins: k numbers, along the axes ``dimension_numbers.start_index_map``.
    dimension_numbers : GatherDimensionNumbers
        Which axes are which.
    slice_sizes : sequence of int
        The size of a window along each axis of the operand.
    unique_indices, indices_are_sorted : bool
        They make no difference.
    mode : GatherScatterMode or str, optional
        What happens to windows that are not wholly inside: by default they are moved inside.
    fill_value : number, optional
        With what: by default NaN, and for integers the smallest one (unsigned: the largest).
    """
    array, indices = array_of(operand, "gather"), array_of(start_indices, "gather")
    # By default JAX promises that they are inside, and XLA moves them there.
    how = GatherScatterMode.CLIP if mode is None else GatherScatterMode.from_any(mode)
    numbers = dimension_numbers
    sizes = tuple(slice_sizes)
    if len(sizes) != array.ndim:
        raise TypeError(f"gather: slice_sizes must have one number for each axis of {array.shape}, got {sizes}")
    hidden = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    if any(sizes[a] != 1 for a in hidden):
        raise TypeError(f"gather: windows must have size 1 along collapsed and batching axes {hidden}, got {sizes}")
    window = tuple(a for a in range(array.ndim) if a not in hidden)
    if len(window) != len(numbers.offset_dims):
        raise TypeError(
            f"gather: offset_dims must have one axis for each axis of a window, {window}, got {numbers.offset_dims}"
        )
    batching = (tuple(numbers.operand_batching_dims), tuple(numbers.start_indices_batching_dims))
    targets = _targets("gather", array.shape, indices, sizes, tuple(numbers.start_index_map), batching, window, how)
    taken = reshape(take(reshape(array, -1), reshape(targets.flat, -1), axis=0), targets.flat.shape)
    batch = indices.ndim - 1
    if targets.inside is not None:
        filling = _filling(dtype_name(array)) if fill_value is None else fill_value
        mask = reshape(targets.inside, (*targets.inside.shape, *(1,) * len(window)))
        taken = e.where(mask, taken, filling)
    return permute_dims(taken, _order(batch, tuple(numbers.offset_dims)))


def _order(batch: int, offsets: Sizes) -> Sizes:
    """Return, for each axis of the result, which one of (batch..., window...) it is."""
    rest = iter(range(batch))
    return tuple(batch + offsets.index(a) if a in offsets else next(rest) for a in range(batch + len(offsets)))


def _filling(dtype: str) -> Any:
    if is_inexact(dtype):
        return math.nan
    if dtype == "bool":
        return True
    limits = np.iinfo(dtype)
    return int(limits.max if dtype.startswith("uint") else limits.min)


def _add(x: Array, updates: Array, positions: Array, *, axis: int) -> Array:
    valid = positions >= 0
    targets = e.where(valid, positions, 0)
    return x + scattering.scatter_add(e.masked(updates, valid), targets, axis=axis, size=x.shape[axis])


def _scatter(name: str, update: Callable[..., Array], text: str) -> Callable[..., Array]:
    def call(
        operand: Any,
        scatter_indices: Any,
        updates: Any,
        dimension_numbers: ScatterDimensionNumbers,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Any = None,
    ) -> Array:
        array, new = together(name, operand, updates)
        indices = array_of(scatter_indices, name)
        if dtype_name(array) != dtype_name(new):
            raise TypeError(
                f"{name}: operand and updates must have the same dtype, got {dtype_name(array)} and {dtype_name(new)}"
            )
        numbers, how = dimension_numbers, GatherScatterMode.from_any(mode)
        hidden = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
        window = tuple(a for a in range(array.ndim) if a not in hidden)
        kept = tuple(numbers.update_window_dims)
        if len(kept) != len(window) or new.ndim != len(kept) + indices.ndim - 1:
            raise TypeError(
                f"{name}: updates of shape {new.shape} do not fit an operand of shape {array.shape} and indices of "
                f"shape {indices.shape} with {numbers}"
            )
        batch = tuple(a for a in range(new.ndim) if a not in kept)
        new = permute_dims(new, (*batch, *kept))
        sizes = [1] * array.ndim
        for axis, n in zip(window, new.shape[len(batch) :], strict=True):
            sizes[axis] = n
        batching = (tuple(numbers.operand_batching_dims), tuple(numbers.scatter_indices_batching_dims))
        index_map = tuple(numbers.scatter_dims_to_operand_dims)
        targets = _targets(name, array.shape, indices, tuple(sizes), index_map, batching, window, how)
        if targets.flat.shape != new.shape:
            raise TypeError(
                f"{name}: expected updates of shape {targets.flat.shape} (batch, then window), got {new.shape}"
            )
        flat = targets.flat
        if targets.inside is not None:
            flat = e.where(reshape(targets.inside, (*targets.inside.shape, *(1,) * len(window))), flat, -1)
        changed = update(reshape(array, -1), reshape(new, -1), reshape(flat, -1), axis=0)
        return reshape(changed, array.shape)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = (
        f"Put windows into an array: {text}\n\n`dimension_numbers` say which axes are which, and `mode` what happens "
        f"to windows that are not wholly inside: by default they are left out. The other options make no difference."
    )
    return call


scatter = _scatter("scatter", scattering.scatter_set, "they replace what is there; of several the last one stays.")
scatter_add = _scatter("scatter_add", _add, "they are added to what is there.")
scatter_sub = _scatter(
    "scatter_sub", lambda x, new, targets, *, axis: _add(x, -new, targets, axis=axis), "they are subtracted."
)
scatter_mul = _scatter("scatter_mul", scattering.scatter_multiply, "they are multiplied with what is there.")
scatter_min = _scatter("scatter_min", scattering.scatter_min, "the smaller of them and of what is there stays.")
scatter_max = _scatter("scatter_max", scattering.scatter_max, "the larger of them and of what is there stays.")


def scatter_apply(
    operand: Any,
    scatter_indices: Any,
    func: Callable[[Array], Array],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Sizes = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
) -> Array:
    """Apply a function to windows of an array: once for each element, also where several windows have it.

    `update_shape` is what the shape of `scatter`'s updates would be; see there for the rest.
    """

    def update(x: Array, _: Array, targets: Array, *, axis: int) -> Array:
        present = take(x, e.clip(targets, 0, x.shape[axis] - 1), axis=axis)
        return scattering.scatter_set(x, func(present), targets, axis=axis)

    array = array_of(operand, "scatter_apply")
    updates = broadcast_to(cast(array_of(0, "scatter_apply"), dtype_name(array)), tuple(update_shape))
    return _scatter("scatter_apply", update, "")(array, scatter_indices, updates, dimension_numbers, mode=mode)


def index_take(src: Any, idxs: Sequence[Any], axes: Sequence[int]) -> Array:
    """Take slices by one vector of positions along each of the axes; the result's first axis is the positions'."""
    array = array_of(src, "index_take")
    columns = [e.remainder(array_of(i, "index_take"), array.shape[a]) for i, a in zip(idxs, axes, strict=True)]
    sizes = tuple(1 if a in axes else n for a, n in enumerate(array.shape))
    numbers = GatherDimensionNumbers(tuple(range(1, array.ndim - len(axes) + 1)), tuple(axes), tuple(axes))
    return gather(array, stack(columns, axis=1), numbers, sizes)
