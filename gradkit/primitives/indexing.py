"""Indexing: slices are one primitive (`slicing`), integer arrays another (`taking`), every index is made of the two.

Here an index is read: what NumPy allows becomes slices, or one entry for each axis with an array among them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from sys import _getframe
from types import EllipsisType
from typing import Any

from gradkit.callers import OURS, whose
from gradkit.config import items
from gradkit.core import Array, bind
from gradkit.core.array import is_unseen, place_of_array, wrap
from gradkit.core.namespace import publish
from gradkit.core.operands import as_array, dtype_name
from gradkit.core.values import host
from gradkit.errors import NonConcreteBooleanIndexError
from gradkit.primitives.gathering import gather, integer_scalar
from gradkit.primitives.manipulation import reshape
from gradkit.primitives.new_arrays import asarray
from gradkit.primitives.parts import may_assign, note
from gradkit.primitives.slicing import GETITEM, set_index
from gradkit.primitives.taking import replace_by_slices, take_flat
from gradkit.primitives.truth_indices import has_truth_value, is_truth_value, with_axes_for_truth_values

__all__ = ["getitem", "iterate", "note_slices"]

WHOLE = slice(None)


def note_slices(part: Array, whole: Array, index: tuple[Any, ...]) -> None:
    """Keep that an Array is a part of another one by slices."""
    note(part, whole, lambda x: bind(GETITEM, (x,), {"index": index}), lambda x, y: set_index(x, y, index=index))


def getitem(x: Array, /, index: Any) -> Array:
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
        part = bind(GETITEM, (x,), {"index": entries})
        by = whose[_getframe(1).f_globals.get("__name__", "")]
        if (by or items.on) and by is not OURS and may_assign(_getframe(1)):
            note_slices(part, x, entries)
        return part
    only = the_only_array(index, len(shape))
    if only is not None:
        positions, axis = only
        return replace_by_slices(x, positions, axis, "clip" if is_unseen(positions) else "raise")
    if len(index) == 1 and _is_mask_of(index[0], shape):
        return _chosen(x, index[0])
    if has_truth_value(index):
        return getitem(*with_axes_for_truth_values(x, [beside(part, x) for part in index]))
    if len(index) == 1 and (only_part := beside(index[0], x)) is not index[0]:
        return getitem(x, only_part)
    parts, gap = expand(x, index)
    mode = None
    for part in parts:
        if type(part) is Array:
            mode = "clip" if mode == "clip" or is_unseen(part) else "raise"
    return bind(GETITEM, (x,), {"index": tuple(parts)}) if mode is None else gather(x, parts, gap, mode)


def iterate(x: Array) -> Iterator[Array]:
    """Iterate over the parts of an array along its first axis."""
    if not x._value.shape:
        raise TypeError("iteration over a 0-d array")
    return _rows(x, may_assign(_getframe(1)))


def _rows(x: Array, are_parts: bool) -> Iterator[Array]:
    # One at a time: a part that is alive has to follow each change of the others.
    for i in range(len(x)):
        index = (i, *(WHOLE,) * (x.ndim - 1))
        part = bind(GETITEM, (x,), {"index": index})
        if are_parts:
            note_slices(part, x, index)
        yield part


def _is_mask_of(mask: Any, shape: tuple[int, ...]) -> bool:
    """Return whether an index is an Array of truth values that can be seen, one for each element of the first axes."""
    if type(mask) is not Array or dtype_name(mask) != "bool" or is_abstract(mask):
        return False
    own = mask._value.shape
    return bool(own) and own == shape[: len(own)]


def _chosen(x: Array, mask: Array) -> Array:
    """Return what a mask of the first axes picks: slices of these axes, joined to one."""
    backend, device = place_of_array(mask)
    positions = wrap(backend.from_host(host(mask).ravel().nonzero()[0], device))
    rest = x._value.shape[mask.ndim :]
    return take_flat(x if mask.ndim == 1 else reshape(x, (mask.size, *rest)), positions, 0)


def is_abstract(array: Array) -> bool:
    """Return whether an array has no values here: under `vmap`, or while a graph is captured."""
    return is_unseen(array)


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


def expand(x: Array, index: tuple[Any, ...], out_of_range: bool = False) -> tuple[list[Any], int]:
    """Return an index with one entry per axis (and None for new ones), masks turned into integer arrays, and its gap.

    The gap is where a ``...`` stands for no axes; 0 for none. To NumPy what it has on both sides is not side by side.

    With `out_of_range` an integer that is out of range is left to the mode, as an array of no axes.
    """
    parts: list[Any] = []
    masks: list[tuple[int, int, tuple[int, ...]]] = []
    used, where_rest = 0, -1
    for number, part in enumerate(index):
        if part is None:
            parts.append(None)
        elif part is Ellipsis:
            if where_rest >= 0:
                raise IndexError("an index can only have a single ellipsis ('...')")
            where_rest = len(parts)
        elif type(part) is Array and dtype_name(part).startswith(("int", "uint")):
            parts.append(part)
            used += 1
        else:
            part = beside(part, x)
            if of_mask := _mask_shape(part):
                masks.append((number, len(parts), of_mask))
            entries = _entries(part)
            used += len(entries)
            parts += entries
    shape = x.shape
    rest = len(shape) - used
    if rest < 0:
        raise IndexError(f"too many indices: x of shape {shape} has {len(shape)} axes, got {used} indices")
    if where_rest < 0:
        where_rest = len(parts)
    parts[where_rest:where_rest] = [WHOLE] * rest
    for number, position, of_mask in masks:
        position += rest if position >= where_rest else 0
        _check_mask(x, number, sum(part is not None for part in parts[:position]), of_mask)
    axis = 0
    for i, part in enumerate(parts):
        if part is None:
            continue
        size = shape[axis]
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
    return parts, 0 if rest or where_rest == len(parts) else where_rest


def _mask_shape(part: Any) -> tuple[int, ...]:
    """Return the shape of a mask; () for any other index."""
    if type(part) is Array:
        return part.shape if dtype_name(part) == "bool" else ()
    return tuple(part.shape) if "bool" in str(getattr(part, "dtype", "")) else ()


def _check_mask(x: Array, number: int, axis: int, shape: tuple[int, ...]) -> None:
    expected = x.shape[axis : axis + len(shape)]
    # A mask without elements picks nothing, whatever the axes: NumPy and JAX allow its 0 beside any size.
    if any(size not in (of_x, 0) for size, of_x in zip(shape, expected, strict=True)):
        raise IndexError(
            f"boolean index did not match shape of indexed array in index {number}: got {shape}, expected {expected}"
        )


def _entries(part: Any) -> list[Any]:
    if isinstance(part, slice):
        return [part]
    if type(part) is not Array and hasattr(part, "__index__") and getattr(part, "ndim", 0) == 0:
        return [operator.index(part)]
    if isinstance(part, str):
        raise TypeError(f"gradkit does not support string indexing; got idx={part!r}")
    array = as_array(part, "indexing")
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
    if type(index) is Array or type(index) is slice:
        return index
    if is_truth_value(index) or (hasattr(index, "__array_interface__") and index.ndim):
        return listed(index, x)
    return index


def listed(values: Any, like: Array | None = None, dtype: str | None = None) -> Array:
    """Return a list of numbers as an Array, beside `like` if that is given."""
    result: Array = asarray(values, dtype=dtype, device=None if like is None else like.device)
    return result


def _within(part: slice, size: int) -> slice:
    """Return a slice whose bounds are on the axis, which is all that the standard takes."""
    if part.start is part.stop is part.step is None:
        return WHOLE
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


publish(globals(), ("getitem",))
