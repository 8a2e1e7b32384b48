"""``x.at[index]``: updates by index that give a new array, since Arrays are immutable.

An index without arrays is a slice that is replaced. One with arrays is brought to the form that `indexing` takes from,
one axis and positions along it, updated there, and brought back.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from gradkit.core import Array
from gradkit.core.array import renewed
from gradkit.core.binding import PYTHON_NUMBERS
from gradkit.core.operands import as_array, cast, dtype_name, of_one_dtype, require_fit
from gradkit.core.promotion import KIND_OF_PYTHON, kind_of
from gradkit.errors import ShapeError
from gradkit.primitives import elementwise as e
from gradkit.primitives import scattering
from gradkit.primitives.creation import ones_like
from gradkit.primitives.gathering import gather, indexer_of
from gradkit.primitives.indexing import beside, expand, getitem, listed, plain_entries, the_only_array
from gradkit.primitives.manipulation import broadcast_to, reshape, squeeze
from gradkit.primitives.positions import bounded, gather_mode
from gradkit.primitives.slicing import pad_index, set_index, sliced_shape
from gradkit.primitives.taking import full_scalar
from gradkit.primitives.truth_indices import has_truth_value, with_axes_for_truth_values

__all__ = ["IndexUpdate", "IndexUpdateHelper", "as_values"]


class Update(NamedTuple):
    """How new values meet what is there: in a slice, and where several may meet it at once, along an axis."""

    name: str
    meet: Callable[[Array, Array], Array]
    scatter: Callable[..., Array]


def _add_along(x: Array, updates: Array, positions: Array, *, axis: int) -> Array:
    valid = positions >= 0
    mask = reshape(valid, (*valid.shape, *(1,) * (updates.ndim - axis - 1)))
    inside = e.where(valid, positions, 0)
    return x + scattering.scatter_add(e.masked(updates, mask), inside, axis=axis, size=x.shape[axis])


SET = Update("set", lambda x, y: y, scattering.scatter_set)
ADD = Update("add", e.add, _add_along)
MULTIPLY = Update("multiply", e.multiply, scattering.scatter_multiply)
MIN = Update("min", e.minimum, scattering.scatter_min)
MAX = Update("max", e.maximum, scattering.scatter_max)


class IndexUpdateHelper:
    """What ``x.at`` is: it takes an index."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> IndexUpdate:
        return IndexUpdate(self.array, index)

    def __repr__(self) -> str:
        return f"_IndexUpdateHelper({self.array!r})"


class IndexUpdate:
    """An array and an index; the methods give what is there, or the array with it changed.

    All of them take JAX's keywords. ``mode`` says what an index out of range does: for updates ``"drop"`` (also
    ``"fill"``, the default) leaves it out, ``"clip"`` takes the nearest element, ``"promise_in_bounds"`` does not look.
    ``indices_are_sorted`` and ``unique_indices`` make no difference.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> x = jnp.zeros(4)
    >>> x.at[1].set(5.0)
    Array([0., 5., 0., 0.], dtype=float32)
    >>> x.at[jnp.asarray([0, 0, 9])].add(1.0)
    Array([2., 0., 0., 0.], dtype=float32)
    """

    def __init__(self, array: Array, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return f"_IndexUpdateRef({self.array!r}, {self.index!r})"

    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Any = None,
        fill_value: Any = None,
    ) -> Array:
        """Return ``x[index]``. Out of range the nearest element is taken, with ``mode="fill"`` `fill_value`."""
        word = gather_mode(mode) or "clip"
        if has_truth_value(_as_tuple(self.index)):
            return getitem(self.array, self.index)
        parts, gap = expand(self.array, _as_tuple(self.index), out_of_range=True)
        if not any(type(part) is Array for part in parts):
            return getitem(self.array, self.index)
        return gather(self.array, parts, gap, word, fill_value)

    def set(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] = values``. Of several values for one element the last one is taken."""
        return _update(self.array, self.index, values, SET, mode)

    def add(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] += values``. Several values for one element are all added."""
        return _update(self.array, self.index, values, ADD, mode)

    def subtract(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] -= values``. Several values for one element are all subtracted."""
        return _update(self.array, self.index, e.negative(as_values(self.array, values)), ADD, mode)

    def multiply(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] *= values``. Several values for one element are all multiplied."""
        return _update(self.array, self.index, values, MULTIPLY, mode)

    mul = multiply

    def divide(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] /= values``. Several values for one element all divide."""
        divisors = _update(ones_like(self.array), self.index, values, MULTIPLY, mode)
        return e.divide(self.array, divisors)

    def power(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] **= values``. Several exponents for one element are multiplied."""
        exponents = _update(ones_like(self.array), self.index, values, MULTIPLY, mode)
        return e.pow(self.array, exponents)

    def min(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] = minimum(x[index], values)``."""
        return _update(self.array, self.index, values, MIN, mode)

    def max(
        self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None
    ) -> Array:
        """Return the array with ``x[index] = maximum(x[index], values)``."""
        return _update(self.array, self.index, values, MAX, mode)

    def apply(
        self,
        func: Callable[[Array], Any],
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Any = None,
    ) -> Array:
        """Return the array with ``x[index] = func(x[index])``; an element that is named twice is changed once."""
        chosen = self.get(mode="clip")
        return _update(self.array, self.index, func(chosen), SET, mode)


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def as_values(x: Array, values: Any, caller: str = "at") -> Array:
    """Return new values as an Array; a number takes the dtype of `x` where that can hold it."""
    if type(values) is not float:
        require_fit(dtype_name(x), values, caller)
    if type(values) in PYTHON_NUMBERS and kind_of(dtype_name(x)) >= KIND_OF_PYTHON[type(values)]:
        return full_scalar(values, x)
    if isinstance(values, list | tuple) or type(values) in PYTHON_NUMBERS:
        return listed(values, x)
    return as_array(beside(values, x), caller)


def _update(x: Array, index: Any, values: Any, update: Update, mode: Any) -> Array:
    """Return `x` with `values` brought to `index`, in the dtype of `x`."""
    word = gather_mode(mode) or "fill"
    y = as_values(x, values)
    dtype, given = dtype_name(x), dtype_name(y)
    if given != dtype and kind_of(given) > kind_of(dtype):
        warnings.warn(
            f"scatter inputs have incompatible types: cannot safely cast value from dtype={given} to "
            f"dtype={dtype}. In future JAX releases this will result in an error.",
            FutureWarning,
            stacklevel=3,
        )
    wide, y = (x, y) if given == dtype else of_one_dtype((x, y))
    result = _change(wide, index, y, update, word)
    return result if dtype_name(result) == dtype else cast(result, dtype)


def _change(x: Array, index: Any, y: Array, update: Update, mode: str) -> Array:
    shape = x._value.shape
    entries = plain_entries(_as_tuple(index), shape)
    if entries is not None:
        return _in_slices(x, entries, y, update)
    only = the_only_array(_as_tuple(index), len(shape))
    if only is not None:
        return _along_axis(x, *only, y, update, mode)
    index = beside(index, x)
    if type(index) is Array and index.ndim == 0 and y.ndim == x.ndim + 1 and y.shape[0] == 1:
        y = squeeze(y, axis=0)  # what such a mask picks has one axis more
    if _is_mask(x, index) and _fits(y.shape, x.shape[index.ndim :]):
        # The same for every true element: no positions are needed, so the mask may be one without values.
        mask = reshape(index, (*index.shape, *(1,) * (x.ndim - index.ndim)))
        return e.where(mask, update.meet(x, y), x)
    if has_truth_value(_as_tuple(index)):
        wide, index = with_axes_for_truth_values(x, [beside(part, x) for part in _as_tuple(index)])
        return reshape(_change(wide, index, y, update, mode), x.shape)
    parts, gap = expand(x, _as_tuple(index), out_of_range=True)
    if not any(type(part) is Array for part in parts):
        return _in_slices(x, tuple(parts), y, update)
    return _at_positions(x, parts, gap, y, update, mode)


def _is_mask(x: Array, index: Any) -> bool:
    return type(index) is Array and dtype_name(index) == "bool" and index.shape == x.shape[: index.ndim]


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    lead = len(target) - len(shape)
    return lead >= 0 and all(a in (1, b) for a, b in zip(shape, target[lead:], strict=True))


def _broadcast(y: Array, shape: tuple[int, ...]) -> Array:
    """Return new values in the shape of what they meet; as in NumPy, surplus leading axes of size 1 do no harm."""
    if y._value.shape == shape:
        return y
    surplus = y.ndim - len(shape)
    if surplus > 0 and all(size == 1 for size in y.shape[:surplus]):
        y = squeeze(y, axis=tuple(range(surplus)))
    try:
        return broadcast_to(y, shape)
    except ShapeError as error:
        raise ShapeError(
            f"Incompatible shapes for broadcasting: values of shape {y.shape} and indexed part of shape {shape}"
        ) from error


def _in_slices(x: Array, index: tuple[Any, ...], y: Array, update: Update) -> Array:
    y = _broadcast(y, sliced_shape(x._value.shape, index))
    if update is ADD:
        return x + pad_index(y, index=index, shape=x._value.shape)
    return set_index(x, y if update is SET else update.meet(getitem(x, index), y), index=index)


def _at_positions(x: Array, parts: list[Any], gap: int, y: Array, update: Update, mode: str) -> Array:
    indexer = indexer_of(x, parts, gap, mode)
    whole = indexer.apply_slices(x)
    if not math.prod(indexer.sizes):
        return renewed(x)
    joined = indexer.join_axes(whole)
    changed = _scatter(joined, indexer.positions, indexer.valid, indexer.lead, y, update, mode)
    result = indexer.split_axes(changed, whole.shape)
    return set_index(x, result, index=indexer.basic) if indexer.basic else result


def _along_axis(x: Array, positions: Array, axis: int, y: Array, update: Update, mode: str) -> Array:
    """Return `x` with `y` at positions along one axis: what most indices with an array are."""
    size = x._value.shape[axis]
    inside, valid = bounded(positions, size, mode)
    return _scatter(x, inside, valid, axis, y, update, mode) if size else renewed(x)


def _scatter(x: Array, positions: Array, valid: Array | None, axis: int, y: Array, update: Update, mode: str) -> Array:
    """Return `x` with `y` at positions along an axis, of any shape; those that are not valid are left out."""
    shape = x._value.shape
    taken_at = positions._value.shape
    if valid is not None:
        if dtype_name(positions).startswith("uint"):  # those in range fit, and what is left out is below 0
            positions = cast(positions, "int32" if shape[axis] < 2**31 else "int64")
        positions = e.where(valid, positions, -1)
    updates = _broadcast(y, (*shape[:axis], *taken_at, *shape[axis + 1 :]))
    if len(taken_at) != 1:
        positions = reshape(positions, -1)
        updates = reshape(updates, (*shape[:axis], math.prod(taken_at), *shape[axis + 1 :]))
    if update is ADD and valid is None and mode != "promise_in_bounds":
        return x + scattering.scatter_add(updates, positions, axis=axis, size=shape[axis])
    return update.scatter(x, updates, positions, axis=axis)
