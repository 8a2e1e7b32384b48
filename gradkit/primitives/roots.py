"""The root of the mean, or of the sum, of squares: what norms and standard deviations are."""

from __future__ import annotations

from typing import Any

from gradkit.backend import TRACED
from gradkit.core import Array, General, bind
from gradkit.core.batching import reduction
from gradkit.core.namespace import publish
from gradkit.core.promotion import is_complex
from gradkit.core.structured import reduced_shape
from gradkit.primitives.elementwise import real_part
from gradkit.primitives.reductions import expand

__all__ = ["root_of_squares"]


def _root(xp: Any, x: Any, axis: tuple[int, ...], keepdims: bool, divisor: float) -> tuple[Any, Any]:
    total = xp.sum(xp.real(x * xp.conj(x)) if is_complex(x.dtype) else x * x, axis=axis, keepdims=keepdims)
    return total, xp.sqrt(total if divisor == 1 else total / divisor)


RANGES: dict[tuple[type, Any], tuple[float, float]] = {}
"""By type and dtype (those of two libraries are not to be compared): between which sums no square was lost."""


def _range(xp: Any, root: Any) -> tuple[float, float]:
    key = type(root), root.dtype
    found = RANGES.get(key)
    if found is None:
        info = xp.finfo(root.dtype)
        found = RANGES[key] = float(info.smallest_normal) / float(info.eps), float(info.max)
    return found


def _root_of_squares(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool, divisor: float) -> Any:
    """Square the elements as they are; again, over the largest, where their sum says that squares were lost."""
    total, root = _root(xp, x, axis, keepdims, divisor)
    low, high = _range(xp, root)
    inside = (total >= low) & (total <= high)
    # Where nobody can see whether one was lost, both are computed.
    if not TRACED[type(inside)] and (bool(inside) if inside.ndim == 0 else bool(xp.all(inside))):
        return root
    sizes = xp.abs(x)
    if 0 in sizes.shape:
        return root
    largest = xp.max(sizes, axis=axis, keepdims=True)
    usable = xp.isfinite(largest) & (largest > 0)
    largest = xp.where(usable, largest, xp.ones_like(largest))
    scaled = _root(xp, sizes / largest, axis, keepdims, divisor)[1]
    if not keepdims:
        largest, usable = xp.reshape(largest, root.shape), xp.reshape(usable, root.shape)
    return xp.where(inside | ~usable, root, scaled * largest)


def _pull(xp: Any, g: Any, y: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool, divisor: float) -> Any:
    # A quotient that is at most the root of the divisor, wherever the squares are. A root that is no number of the
    # dtype has lost the direction: the derivative is NaN, not 0.
    y = xp.where(xp.isfinite(y), y, xp.zeros_like(y) + float("nan"))
    g = expand(xp, g if divisor == 1 else g / divisor, x.ndim, axis, keepdims)
    y = expand(xp, y, x.ndim, axis, keepdims)
    if is_complex(x.dtype):
        return xp.astype(g, x.dtype) * (xp.conj(x) / xp.astype(y, x.dtype))
    return g * (x / y)


_primitive = General(
    "root_of_squares",
    _root_of_squares,
    (_pull,),
    batch=reduction,
    shape=lambda x, *, axis, keepdims, divisor: reduced_shape(x, axis=axis, keepdims=keepdims),
    dtype=lambda x, **_: real_part(x),
    leaf=True,  # it decides by values
)


def root_of_squares(x: Array, axis: tuple[int, ...], keepdims: bool = False, divisor: float = 1) -> Array:
    """Return the root of the sum of squares over axes, or of that sum over a positive number.

    Squares that overflow or underflow do no harm: the result and its derivatives are right wherever the result is a
    number of the dtype.

    Parameters
    ----------
    x : Array
        Of floating or complex numbers.
    axis : tuple of int
        The axes, sorted, none negative.
    keepdims : bool
        Keep the reduced axes with size 1.
    divisor : float
        What the sum is divided by.
    """
    return bind(_primitive, (x,), {"axis": axis, "keepdims": bool(keepdims), "divisor": divisor})


publish(globals(), __all__)
