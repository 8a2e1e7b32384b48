"""Indexing: slices are one primitive, integer arrays another, and every index is made of the two.

An index with integer arrays is taken apart: its slices first, then the indexed axes are joined to one and taken from,
then the result's axes go where NumPy puts them. So both derivatives are those of two primitives.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from gradkit.core import Array, Linear, bind
from gradkit.core.array import place_of_array, raw, wrap
from gradkit.core.batching import at_front, broadcast_sizes, moved_to_front
from gradkit.core.namespace import publish
from gradkit.core.operands import as_array, cast, dtype_name, wide_integers
from gradkit.core.stand_in import STAND_INS
from gradkit.core.structured import View
from gradkit.core.values import host
from gradkit.errors import NonConcreteBooleanIndexError, ShapeError
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.elementwise import logical_and, where
from gradkit.primitives.manipulation import broadcast_to, permute_dims, reshape
from gradkit.primitives.new_arrays import asarray
from gradkit.primitives.positions import bounded, require_integers
from gradkit.primitives.scattering import batch_by_position
from gradkit.primitives.truth_indices import has_truth_value, is_truth_value, with_axes_for_truth_values

__all__ = ["getitem", "pad_index", "set_index", "take"]

WHOLE = slice(None)


def _without_new_axes(xp: Any, y: Any, index: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return a value to assign, and an index that has no new axes, which the standard lacks in assignments."""
    if None not in index:
        return y, index
    kept = [part for part in index if not isinstance(part, int)]
    sizes = tuple(size for size, part in zip(y.shape, kept, strict=False) if part is not None)
    return xp.reshape(y, (*sizes, *y.shape[len(kept) :])), tuple(part for part in index if part is not None)


def _pad_index(xp: Any, g: Any, *, index: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    g, index = _without_new_axes(xp, g, index)
    result = xp.zeros(shape, dtype=g.dtype, device=g.device)
    result[index] = g
    return result


def _set_index(xp: Any, x: Any, y: Any, *, index: tuple[Any, ...]) -> Any:
    y, index = _without_new_axes(xp, y, index)
    result = xp.asarray(x, copy=True)
    result[index] = y
    return result


def _batch_getitem(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    return bind(primitive, (moved_to_front(values[0], axes[0]),), {"index": (slice(None), *params["index"])}), 0


def _batch_set_index(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    fronts = [at_front(value, axis, size) for value, axis in zip(values, axes, strict=True)]
    return bind(primitive, fronts, {"index": (slice(None), *params["index"])}), 0


def _batch_pad_index(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    index, shape = (slice(None), *params["index"]), (size, *params["shape"])
    return bind(primitive, (moved_to_front(values[0], axes[0]),), {"index": index, "shape": shape}), 0


def sliced_shape(shape: tuple[int, ...], index: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape of ``x[index]`` for integers, slices and None, one for each axis of `x` from the front."""
    result: list[int] = []
    axis = 0
    for part in index:
        if part is None:
            result.append(1)
            continue
        if isinstance(part, slice):
            result.append(len(range(*part.indices(shape[axis]))))
        axis += 1
    return (*result, *shape[axis:])


def indexed_place(at: Sequence[int], shape: tuple[int, ...], index: tuple[Any, ...]) -> list[int]:
    """Return where the element `at` of ``x[index]`` is in `x`; see `sliced_shape`."""
    entries = iter(at)
    place: list[int] = []
    for part in index:
        if isinstance(part, int):
            place.append(part)
        elif part is None:
            next(entries)
        else:
            place.append(range(*part.indices(shape[len(place)]))[next(entries)])
    return [*place, *entries]


_getitem = View(
    "getitem",
    lambda xp, x, *, index: x[index],
    (lambda xp, g, x, *, index: xp.pad_index(g, index=index, shape=x.shape),),
    index=lambda at, of, *, index: indexed_place(at, of, index),
    example=((3, 5, 2), {"index": (1, None, slice(3, None, -2), slice(None))}),
    batch=_batch_getitem,
    shape=lambda x, *, index: sliced_shape(x.shape, index),
    leaf=True,
)
_pad_index_primitive = Linear(
    "pad_index",
    _pad_index,
    (lambda xp, g, _x, *, index, shape: g[index],),
    batch=_batch_pad_index,
    shape=lambda x, *, index, shape: shape,
    leaf=True,
)
_set_index_primitive = Linear(
    "set_index",
    _set_index,
    (
        lambda xp, g, _x, _y, *, index: xp.set_index(g, xp.zeros_like(g[index]), index=index),
        lambda xp, g, _x, _y, *, index: g[index],
    ),
    batch=_batch_set_index,
    shape=lambda x, y, *, index: tuple(x.shape),
    leaf=True,
)
_set_index_primitive.jointly = True
_take = Linear(
    "take",
    lambda xp, x, indices, *, axis: xp.library.take(x, indices, axis=axis),
    (lambda xp, g, x, indices, *, axis: xp.scatter_add(g, indices, axis=axis, size=x.shape[axis]), None),
    hands_on=False,
    batch=batch_by_position,
    shape=lambda x, indices, *, axis: (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]),
    leaf=True,
)


def pad_index(x: Array, /, *, index: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
    """Return zeros of `shape` with `x` at the slices `index`: the transpose of slicing."""
    return bind(_pad_index_primitive, (x,), {"index": index, "shape": shape})


def set_index(x: Array, y: Array, /, *, index: tuple[Any, ...]) -> Array:
    """Return `x` with `y` at the slices `index`."""
    return bind(_set_index_primitive, (x, y), {"index": index})


def take(
    a: Any,
    indices: Any,
    axis: int | None = None,
    out: None = None,
    mode: str | None = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: Any = None,
) -> Array:
    """Take slices along an axis by integer index.

    Parameters
    ----------
    a : array
        What to take from.
    indices : array of int
        Of any shape; it replaces the axis. Negative ones count from the end.
    axis : int, optional
        The axis; None takes from the flattened array.
    out : None
        Not supported: Arrays are immutable.
    mode : {"fill", "clip", "wrap"}, optional
        What an index out of range gives: `fill_value`, the nearest slice, or that at the remainder. By default it is an
        IndexError where the indices can be looked at; under `vmap` and in graphs "fill"; on a GPU it is not looked at.
    unique_indices, indices_are_sorted : bool
        Accepted; they make no difference.
    fill_value : number, optional
        By default NaN, the smallest integer, the largest unsigned integer, or True.
    """
    if out is not None:
        raise NotImplementedError("The 'out' argument to jnp.take is not supported.")
    array = a if type(a) is Array else as_array(a, "take")
    count = len(array._value.shape)
    if axis is None:
        if count != 1:
            array, count = reshape(array, -1), 1
        axis = 0
    if type(axis) is not int or not 0 <= axis < count:
        (axis,) = normalize_axes(axis, count, "take")
    if type(indices) is int and mode in TAKE_MODES and -(size := array._value.shape[axis]) <= indices < size:
        entries = [WHOLE] * count
        entries[axis] = indices % size
        return bind(_getitem, (array,), {"index": tuple(entries)})
    positions = require_integers(indices if type(indices) is Array else as_array(indices, "take"), "take")
    if mode not in TAKE_MODES:
        if mode == "raise":
            raise NotImplementedError("The 'raise' mode to jnp.take is not supported.")
        raise ValueError(f"Invalid mode '{mode}' for np.take")
    if mode is None:
        mode = "fill" if type(raw(positions)) in STAND_INS else "raise"
    return replaced_by_slices(array, positions, axis, mode, fill_value)


TAKE_MODES = (None, "fill", "clip", "wrap")


def replaced_by_slices(x: Array, positions: Array, axis: int, mode: str, fill_value: Any = None) -> Array:
    """Return `x` with slices at integer positions, of any shape, in the place of an axis."""
    shape, taken_at = x._value.shape, positions._value.shape
    size = shape[axis]
    is_vector = len(taken_at) == 1
    valid = None
    flat = positions if is_vector else reshape(positions, -1)
    if mode == "wrap":
        flat = wide_integers(flat, size) % max(size, 1)
    else:
        flat, valid = bounded(flat, size, mode)
    taken = take_flat(x, flat, axis)
    if valid is not None:
        taken = fill(taken, valid, axis, fill_value)
    return taken if is_vector else reshape(taken, (*shape[:axis], *taken_at, *shape[axis + 1 :]))


def take_flat(x: Array, positions: Array, axis: int) -> Array:
    """Return slices along an axis at a vector of positions that are in range."""
    if not x._value.shape[axis] and positions.shape[0]:
        raise IndexError("Cannot do a non-empty jnp.take() from an empty axis.")
    return bind(_take, (x, positions), {"axis": axis})


def is_abstract(array: Array) -> bool:
    """Return whether an array has no values here: under `vmap`, or while a graph is captured."""
    return type(raw(array)) in STAND_INS


def fill(taken: Array, valid: Array | None, axis: int, fill_value: Any) -> Array:
    """Return slices along an axis with those that are not `valid` replaced by `fill_value`."""
    if valid is None:
        return taken
    chosen = reshape(valid, (*valid.shape, *(1,) * (taken.ndim - axis - 1)))
    name = dtype_name(taken)
    if fill_value is None:
        fill_value = _missing(name)
    if type(fill_value) in (int, float, complex, bool):
        fill_value = full_scalar(fill_value, taken)
    result = where(chosen, taken, fill_value)
    return result if dtype_name(result) == name else cast(result, name)


def _missing(dtype: str) -> Any:
    """Return what stands for a missing element, as in JAX."""
    if dtype == "bool":
        return True
    if not dtype.startswith(("int", "uint")):
        return math.nan
    bits = int(dtype.lstrip("uint"))
    return 2**bits - 1 if dtype.startswith("uint") else -(2 ** (bits - 1))


def full_scalar(value: Any, like: Array) -> Array:
    """Return a number as an Array of no axes, of the dtype and in the place of `like`."""
    backend, device = place_of_array(like)
    dtype = backend.raw_dtype_named(dtype_name(like))
    return wrap(backend.xp.asarray(value, dtype=dtype, device=device))


def getitem(x: Array, index: Any, /) -> Array:
    """Return ``x[index]``: integers, slices, ``...``, None, integer arrays, and a boolean mask.

    Raises
    ------
    IndexError
        For too many indices, or an integer out of range.
    TypeError
        For an index of another type.
    """
    index = index if isinstance(index, tuple) else (index,)
    shape = x._value.shape
    entries = plain_entries(index, shape)
    if entries is not None:
        return bind(_getitem, (x,), {"index": entries})
    only = the_only_array(index, len(shape))
    if only is not None:
        positions, axis = only
        mode = "clip" if type(raw(positions)) in STAND_INS else "raise"
        return replaced_by_slices(x, positions, axis, mode)
    if has_truth_value(index):
        return getitem(*with_axes_for_truth_values(x, [beside(part, x) for part in index]))
    parts = expand(x, index)
    if not any(type(part) is Array for part in parts):
        return bind(_getitem, (x,), {"index": tuple(parts)})
    return gather(x, parts, "clip" if any(type(p) is Array and is_abstract(p) for p in parts) else "raise")


def plain_entries(index: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...] | None:
    """Return an index of ints, slices, None and ``...`` with an entry for each axis; or None."""
    entries: list[Any] = []
    rest, ellipsis = len(shape), -1
    for part in index:
        kind = type(part)
        if kind is int or kind is slice:
            rest -= 1
        elif kind is EllipsisType and ellipsis < 0:
            ellipsis = len(entries)
        elif part is not None:
            if kind is bool or kind is Array or getattr(part, "shape", ()) != () or not _is_whole(part):
                return None
            part = operator.index(part)
            rest -= 1
        entries.append(part)
    if rest < 0:
        return None
    if ellipsis < 0:
        entries += [WHOLE] * rest
    else:
        entries[ellipsis : ellipsis + 1] = [WHOLE] * rest
    axis = 0
    for i, part in enumerate(entries):
        if part is None:
            continue
        size = shape[axis]
        axis += 1
        if type(part) is slice:
            if part.start is part.stop is part.step is None:
                entries[i] = WHOLE
            else:
                if type(part.start) not in BOUNDS or type(part.stop) not in BOUNDS or type(part.step) not in BOUNDS:
                    return None
                start, stop, step = part.indices(size)
                if not len(range(start, stop, step)):
                    entries[i] = slice(0, 0)
                else:
                    entries[i] = slice(start, None if stop < 0 else stop, step)
        elif -size <= part < size:
            entries[i] = part % size
        else:
            return None
    return tuple(entries)


def _is_whole(number: Any) -> bool:
    """Return whether it is Python's or NumPy's integer, or an array of one and no axes."""
    return isinstance(number, int) or getattr(getattr(number, "dtype", None), "kind", "") in ("i", "u")


BOUNDS = (int, type(None))


def the_only_array(index: tuple[Any, ...], ndim: int) -> tuple[Array, int] | None:
    """Return the one Array of integers among ``:`` and ``...``, and which axis it takes from; None for any other."""
    found: int | None = None
    behind: int | None = None  # how many entries there are behind the ellipsis
    for number, part in enumerate(index):
        if type(part) is Array:
            if found is not None or not dtype_name(part).startswith(("int", "uint")):
                return None
            found = number
        elif type(part) is EllipsisType and behind is None:
            behind = len(index) - number - 1
        elif type(part) is not slice or not (part.start is part.stop is part.step is None):
            return None
    if found is None or len(index) - (behind is not None) > ndim:
        return None
    axis = found if behind is None or len(index) - found > behind else ndim - (len(index) - found)
    return index[found], axis


def expand(x: Array, index: tuple[Any, ...], out_of_range: bool = False) -> list[Any]:
    """Return an index with one entry per axis (and None for new ones), masks turned into integer arrays.

    With `out_of_range` an integer that is out of range is left to the mode, as an array of no axes.
    """
    parts: list[Any] = []
    masks: list[tuple[int, int, tuple[int, ...]]] = []
    for number, part in enumerate(index):
        part = beside(part, x)
        if shape := _mask_shape(part):
            masks.append((number, len(parts), shape))
        parts.extend(_entries(part))
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > x.ndim:
        raise IndexError(f"too many indices: x of shape {x.shape} has {x.ndim} axes, got {used} indices")
    if sum(part is Ellipsis for part in parts) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    where_rest = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[where_rest : where_rest + 1] = [slice(None)] * (x.ndim - used)
    for number, place, shape in masks:
        place += x.ndim - used - 1 if place > where_rest else 0
        _check_mask(x, number, sum(part is not None for part in parts[:place]), shape)
    axis = 0
    for i, part in enumerate(parts):
        if part is None:
            continue
        size = x.shape[axis]
        if type(part) is slice:
            parts[i] = _within(part, size)
        elif type(part) is int:
            if -size <= part < size:
                parts[i] = part % size
            elif out_of_range:
                parts[i] = integer_scalar(part, x)
            else:
                raise IndexError(f"index {part} is out of bounds for axis {axis} with size {size}")
        axis += 1
    return parts


def _mask_shape(part: Any) -> tuple[int, ...]:
    """Return the shape of a mask; () for any other index."""
    return tuple(part.shape) if "bool" in str(getattr(part, "dtype", "")) else ()


def _check_mask(x: Array, number: int, axis: int, shape: tuple[int, ...]) -> None:
    expected = x.shape[axis : axis + len(shape)]
    # A mask without elements picks nothing, whatever the axes: NumPy and JAX allow its 0 beside any size.
    if any(size not in (of_x, 0) for size, of_x in zip(shape, expected, strict=True)):
        raise IndexError(
            f"boolean index did not match shape of indexed array in index {number}: got {shape}, expected {expected}"
        )


def _entries(part: Any) -> list[Any]:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return [_plain_slice(part)]
    if type(part) is not Array and hasattr(part, "__index__") and getattr(part, "ndim", 0) == 0:
        return [operator.index(part)]
    array = as_array(part, "indexing") if not isinstance(part, str) else _refuse(part)
    name = dtype_name(array)
    if name == "bool":
        return list(_positions_of(array))
    if not name.startswith(("int", "uint")):
        raise TypeError(f"an index array must have integer or bool dtype, got {name}")
    return [array]


def beside(index: Any, x: Array) -> Any:
    """Return a NumPy array, a list or a truth value as an Array beside `x`; any other index as it is."""
    if isinstance(index, list):
        return listed(index, x, None if index else "int32")
    if type(index) is not Array and is_truth_value(index):
        return listed(index, x)
    if type(index) is not Array and hasattr(index, "__array_interface__") and index.ndim:
        return listed(index, x)
    return index


def listed(values: Any, like: Array | None = None, dtype: str | None = None) -> Array:
    """Return a list of numbers as an Array, beside `like` if that is given."""
    result: Array = asarray(values, dtype=dtype, device=None if like is None else like.device)
    return result


def _refuse(part: str) -> Array:
    raise TypeError(f"gradkit does not support string indexing; got idx={part!r}")


def _plain_slice(part: Any) -> Any:
    if not isinstance(part, slice):
        return part
    bounds = (None if b is None else operator.index(b) for b in (part.start, part.stop, part.step))
    return slice(*bounds)


def _within(part: slice, size: int) -> slice:
    """Return a slice whose bounds are on the axis, which is all that the standard takes."""
    if part == WHOLE:
        return part
    start, stop, step = part.indices(size)
    if not len(range(start, stop, step)):
        return slice(0, 0)
    return slice(start, None if stop < 0 else stop, step)


def _positions_of(mask: Array) -> Sequence[Array]:
    if is_abstract(mask):
        raise NonConcreteBooleanIndexError(
            f"Array boolean indices must be concrete; got bool{list(mask.shape)}. Use jnp.where(mask, x, y), or "
            f"x.at[mask].set(number)."
        )
    return [asarray(positions, device=mask.device) for positions in host(mask).nonzero()]


def integer_scalar(value: int, like: Array) -> Array:
    """Return an integer as an Array of no axes, beside `like`."""
    backend, device = place_of_array(like)
    dtype = backend.raw_dtype_named("int64" if abs(value) >= 1 << 31 else "int32")
    return wrap(backend.xp.asarray(value, dtype=dtype, device=device))


@dataclass(frozen=True)
class Places:
    """Where an index with arrays points to, in an array that has been sliced and whose indexed axes have been joined.

    Attributes
    ----------
    basic : tuple
        The slices and new axes, which are applied first.
    order : tuple of int
        The order of axes that then brings the indexed ones together, in front of which there are `lead` others.
    lead : int
        How many.
    sizes : tuple of int
        The sizes of the indexed axes, which are joined to one.
    positions : Array of int
        Of any shape, along the joined axis.
    valid : Array of bool, or None
        Which of them are in range; None: all.
    """

    basic: tuple[Any, ...]
    order: tuple[int, ...]
    lead: int
    sizes: tuple[int, ...]
    positions: Array
    valid: Array | None

    def sliced(self, x: Array) -> Array:
        """Return `x` after the slices."""
        return x if all(part == slice(None) for part in self.basic) else bind(_getitem, (x,), {"index": self.basic})

    def joined(self, whole: Array) -> Array:
        """Return the sliced array with its indexed axes as one."""
        moved = whole if self.order == tuple(range(whole.ndim)) else permute_dims(whole, self.order)
        behind = moved.shape[self.lead + len(self.sizes) :]
        return reshape(moved, (*moved.shape[: self.lead], math.prod(self.sizes), *behind))

    def separated(self, joined: Array, shape: tuple[int, ...]) -> Array:
        """Undo `joined`, for a sliced array of that shape."""
        moved = reshape(joined, tuple(shape[a] for a in self.order))
        back = tuple(self.order.index(a) for a in range(len(shape)))
        return moved if back == tuple(range(len(shape))) else permute_dims(moved, back)


def places_of(x: Array, parts: list[Any], mode: str) -> Places:
    """Work out where an index points to that has one entry per axis, and at least one array."""
    # Integers beside arrays are arrays of no axes, as in NumPy: they take part in the broadcast.
    indexed = [i for i, part in enumerate(parts) if type(part) in (Array, int)]
    basic = tuple(slice(None) if i in indexed else part for i, part in enumerate(parts))
    shape = sliced_shape(x.shape, basic)
    sizes = tuple(shape[i] for i in indexed)
    arrays = [part if type(part) is Array else integer_scalar(part, x) for part in (parts[i] for i in indexed)]
    common = broadcast_sizes([array.shape for array in arrays])
    try:
        arrays = [broadcast_to(array, common) for array in arrays]
    except ShapeError as error:
        found = ", ".join(str(array.shape) for array in arrays)
        raise IndexError(f"index arrays must have shapes that broadcast against each other, got {found}") from error
    positions: Array | None = None
    valid: Array | None = None
    for array, size in zip(arrays, sizes, strict=True):
        place, fits = bounded(wide_integers(array, math.prod(sizes)), size, mode)
        positions = place if positions is None else positions * size + place
        if fits is not None:
            valid = fits if valid is None else logical_and(valid, fits)
    assert positions is not None
    # Neighbouring indexed axes are replaced in place; separated ones come first.
    others = [i for i in range(len(shape)) if i not in indexed]
    adjacent = indexed == list(range(indexed[0], indexed[-1] + 1))
    lead = [i for i in others if adjacent and i < indexed[0]]
    rest = [i for i in others if i not in lead]
    return Places(basic, (*lead, *indexed, *rest), len(lead), sizes, positions, valid)


def gather(x: Array, parts: list[Any], mode: str, fill_value: Any = None) -> Array:
    """Return what an index with arrays gives."""
    places = places_of(x, parts, mode)
    joined = places.joined(places.sliced(x))
    flat = reshape(places.positions, -1)
    valid = None if places.valid is None else reshape(places.valid, -1)
    taken = fill(take_flat(joined, flat, places.lead), valid, places.lead, fill_value)
    return reshape(taken, (*joined.shape[: places.lead], *places.positions.shape, *joined.shape[places.lead + 1 :]))


# `take` in a text is the primitive as it stands: a vector of positions, all in range.
publish(globals(), ("getitem", "pad_index", "set_index"))
