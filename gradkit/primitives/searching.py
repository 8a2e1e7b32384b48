"""Orders, places and running sums: what random choices are made with. It has no derivative yet."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array, General, bind
from gradkit.core.calls import cast, dtype_name
from gradkit.core.node import NO_PARAMS
from gradkit.core.promotion import INTEGER, default_dtype

__all__ = ["argsort", "running_sum", "searchsorted"]

BLOCK = 16
"""The base length of XLA's ReduceWindowRewriter."""

_argsort = General("argsort", lambda xp, x, *, axis: xp.library.argsort(x, axis=axis, stable=True), (None,))
_searchsorted = General(
    "searchsorted", lambda xp, x, values, *, side: xp.library.searchsorted(x, values, side=side), (None, None)
)


def _running_sum(xp: Any, x: Any) -> Any:
    """Sum in blocks, and the blocks' sums in blocks: in the order in which XLA adds, to the last bit."""
    size = x.shape[0]
    if size <= BLOCK:
        return xp.library.cumulative_sum(x)
    filling = xp.zeros(-size % BLOCK, dtype=x.dtype, device=x.device)
    rows = xp.library.cumulative_sum(xp.reshape(xp.concat([x, filling]), (-1, BLOCK)), axis=1)
    before = _running_sum(xp, rows[:, BLOCK - 1])[:-1]
    offsets = xp.concat([xp.zeros(1, dtype=x.dtype, device=x.device), before])
    return xp.reshape(rows + offsets[:, None], (-1,))[:size]


_running_sum_primitive = General("running_sum", _running_sum, (None,))


def running_sum(x: Array, /) -> Array:
    """Return the running sums of a vector of real numbers."""
    return bind(_running_sum_primitive, (x,), NO_PARAMS)


def argsort(x: Array, /, *, axis: int = -1) -> Array:
    """Return the positions that sort `x` along an axis; equal elements keep their order.

    Parameters
    ----------
    x : Array
        Of any shape with at least one axis.
    axis : int
        The axis.

    Returns
    -------
    Array
        Of the shape of `x`, of the default integer dtype.
    """
    return _positions(bind(_argsort, (x,), {"axis": axis}))


def searchsorted(x: Array, values: Array, /, *, side: str = "left") -> Array:
    """Return where `values` would be put into the sorted array `x`.

    Parameters
    ----------
    x : Array, shape (n,)
        In ascending order.
    values : Array
        Of the dtype of `x`, of any shape.
    side : {"left", "right"}
        On which side of equal elements.

    Returns
    -------
    Array
        Of the shape of `values`, from 0 to n, of the default integer dtype.
    """
    return _positions(bind(_searchsorted, (x, values), {"side": side}))


def _positions(found: Array) -> Array:
    return found if dtype_name(found) == default_dtype(INTEGER) else cast(found, default_dtype(INTEGER))
