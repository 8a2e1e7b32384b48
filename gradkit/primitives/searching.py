"""Orders and positions: sorting, what sorts, and where values belong in it; running sums as XLA adds them."""

from __future__ import annotations

import operator
from typing import Any

from gradkit.core import Array, General, bind
from gradkit.core.batching import along_axes, at_front, leading, same_shape
from gradkit.core.namespace import publish
from gradkit.core.operands import as_array, as_arrays, cast, dtype_name
from gradkit.core.promotion import INTEGER, default_dtype, promote
from gradkit.primitives import elementwise as e
from gradkit.primitives.along_axis import take_along_axis
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.cumulative import cut
from gradkit.primitives.manipulation import reshape

__all__ = ["argsort", "running_sum", "searchsorted", "sort", "top_k"]

BLOCK = 16
"""The base length of XLA's ReduceWindowRewriter."""


def _batch_searchsorted(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    (x, v), (batch_x, batch_v) = values, axes
    if batch_x is None:
        return bind(primitive, (x, v), params), batch_v
    # Libraries search in one sorted vector. Here each element of the batch has its own: bisection, all in step.
    rows, wanted = at_front(x, batch_x, size), at_front(v, batch_v, size)
    shape = wanted.shape
    wanted = reshape(wanted, (size, wanted.size // size if size else 0))
    count = rows.shape[1]
    low = cast(e.multiply(cast(wanted == wanted, "int64"), 0), "int64")
    high = low + count
    for _ in range(count.bit_length()):
        middle = (low + high) // 2
        inside = take_along_axis(rows, e.minimum(middle, max(count - 1, 0)), axis=1)
        goes_on = e.logical_and(low < high, _precedes(inside, wanted, params["side"]))
        low, high = e.where(goes_on, middle + 1, low), e.where(goes_on, high, e.where(low < high, middle, high))
    return reshape(low, shape), 0


def _precedes(x: Array, v: Array, side: str) -> Array:
    """Return whether `x` comes before `v` in ascending order, in which NaN is the largest."""
    if side == "left":
        return e.logical_or(x < v, e.logical_and(v != v, x == x))
    return e.logical_or(x <= v, v != v)


_sort = General(
    "sort",
    lambda xp, x, *, axis, descending: xp.library.sort(x, axis=axis, descending=descending, stable=False),
    (
        lambda xp, g, _y, x, *, axis, descending: xp.add_along_axis(
            g, xp.argsort(x, axis=axis, descending=descending), axis=axis, size=x.shape[axis]
        ),
    ),
    lambda xp, tangents, _y, x, *, axis, descending: xp.take_along_axis(
        tangents[0], xp.argsort(x, axis=axis, descending=descending), axis=axis
    ),
    batch=along_axes,
    shape=same_shape,
    leaf=True,
)
_argsort = General(
    "argsort",
    lambda xp, x, *, axis, descending: xp.library.argsort(x, axis=axis, descending=descending, stable=True),
    (None,),
    batch=along_axes,
    shape=same_shape,
    dtype="int64",
    leaf=True,
)
_searchsorted = General(
    "searchsorted",
    lambda xp, x, values, *, side: xp.library.searchsorted(x, values, side=side),
    (None, None),
    batch=_batch_searchsorted,
    shape=lambda x, values, *, side: tuple(values.shape),
    dtype="int64",
    leaf=True,
)


def _running_sum(xp: Any, x: Any) -> Any:
    """Sum in blocks, and the blocks' sums in blocks: in the order in which XLA adds, to the last bit."""
    *batch, size = x.shape
    if size <= BLOCK:
        return xp.cumsum(x, axis=x.ndim - 1, reverse=False)
    filling = xp.zeros((*batch, -size % BLOCK), dtype=x.dtype, device=xp.device_of(x))
    rows = xp.reshape(xp.concat([x, filling], axis=-1), (*batch, -1, BLOCK))
    rows = xp.cumsum(rows, axis=x.ndim, reverse=False)
    before = _running_sum(xp, rows[..., BLOCK - 1])[..., :-1]
    offsets = xp.concat([xp.zeros((*batch, 1), dtype=x.dtype, device=xp.device_of(x)), before], axis=-1)
    return xp.reshape(rows + offsets[..., None], (*batch, -1))[..., :size]


running_sum = General("running_sum", _running_sum, (None,), batch=leading, shape=same_shape)
"""Return the running sums of real numbers along the last axis."""


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Sort along an axis. NaN is the largest number.

    Parameters
    ----------
    x : array
        Of any shape with at least one axis.
    axis : int
        The axis.
    descending : bool
        The largest first.
    stable : bool
        Ignored: equal elements are equal. The derivative goes by a stable order.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.sort(jnp.asarray([3.0, 1.0, 2.0]))
    Array([1., 2., 3.], dtype=float32)
    """
    array, axis = _with_axis(x, axis, "sort")
    name = dtype_name(array)
    result = bind(_sort, (_number(array),), {"axis": axis, "descending": bool(descending)})
    return result if dtype_name(result) == name else cast(result, name)


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Return the positions that sort `x` along an axis; equal elements keep their order.

    Parameters
    ----------
    x : array
        Of any shape with at least one axis.
    axis : int
        The axis.
    descending : bool
        The largest first.
    stable : bool
        Ignored: the order is always stable.

    Returns
    -------
    Array
        Of the shape of `x`, of the default integer dtype.
    """
    array, axis = _with_axis(x, axis, "argsort")
    return _positions(bind(_argsort, (_number(array),), {"axis": axis, "descending": bool(descending)}))


def _number(array: Array) -> Array:
    """Return truth values as numbers, which alone the standard sorts."""
    return cast(array, "uint8") if dtype_name(array) == "bool" else array


def _with_axis(x: Any, axis: int, caller: str) -> tuple[Array, int]:
    array = as_array(x, caller)
    (number,) = normalize_axes(operator.index(axis), array.ndim, caller)
    return array, number


def top_k(x: Any, /, k: int, *, axis: int = -1) -> tuple[Array, Array]:
    """Return the `k` largest elements along an axis, the largest first, and their positions.

    Of equal elements the first comes first.

    Raises
    ------
    ValueError
        If `k` is negative or larger than the axis.
    """
    array, axis = _with_axis(x, axis, "top_k")
    k = operator.index(k)
    if not 0 <= k <= array.shape[axis]:
        raise ValueError(
            f"top_k: k must be from 0 to the size of the axis, got k={k} for axis {axis} of x {array.shape}"
        )
    order = cut(argsort(array, axis=axis, descending=True), axis, slice(0, k))
    return take_along_axis(array, order, axis=axis), order


def searchsorted(x: Any, values: Any, /, *, side: str = "left", sorter: Any = None) -> Array:
    """Return where `values` would be put into the sorted array `x`.

    Parameters
    ----------
    x : array, shape (n,)
        In ascending order, unless `sorter` is given.
    values : array
        Of any shape.
    side : {"left", "right"}
        On which side of equal elements.
    sorter : array of int, shape (n,), optional
        The positions that sort `x`.

    Returns
    -------
    Array
        Of the shape of `values`, from 0 to n, of the default integer dtype.
    """
    array, wanted = as_arrays([x, values], "searchsorted")
    if array.ndim != 1:
        raise ValueError(f"searchsorted: the sorted array must have one dimension, got shape {array.shape}")
    if side not in ("left", "right"):
        raise ValueError(f"{side!r} is an invalid value for keyword 'side'. Expected one of ['left', 'right'].")
    if sorter is not None:
        array = take_along_axis(array, as_array(sorter, "searchsorted"), axis=0)
    if (name := dtype_name(array)) != (other := dtype_name(wanted)):
        target = promote([name, other])
        array, wanted = (a if dtype_name(a) == target else cast(a, target) for a in (array, wanted))
    return _positions(bind(_searchsorted, (array, wanted), {"side": side}))


def _positions(found: Array) -> Array:
    return found if dtype_name(found) == default_dtype(INTEGER) else cast(found, default_dtype(INTEGER))


publish(globals(), __all__)
