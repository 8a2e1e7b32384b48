"""Orders, places and running sums: what random choices are made with. It has no derivative yet."""

from __future__ import annotations

from gradkit.core import Array, General, bind
from gradkit.core.calls import cast, dtype_name
from gradkit.core.node import NO_PARAMS
from gradkit.core.promotion import INTEGER, default_dtype

__all__ = ["argsort", "cumulative_sum", "searchsorted"]

_argsort = General("argsort", lambda xp, x, *, axis: xp.library.argsort(x, axis=axis, stable=True), (None,))
_searchsorted = General(
    "searchsorted", lambda xp, x, values, *, side: xp.library.searchsorted(x, values, side=side), (None, None)
)
_cumulative_sum = General("cumulative_sum", None, (None,))


def cumulative_sum(x: Array, /) -> Array:
    """Return the running sums of a vector, added from the front."""
    return bind(_cumulative_sum, (x,), NO_PARAMS)


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
