"""Running sums, products and extrema along an axis, from either end: `lax.cumsum` and its relatives."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from gradkit.core import Array, General, Linear, bind
from gradkit.core.batching import along_axes, leading, same_shape
from gradkit.core.namespace import publish
from gradkit.core.operands import as_array, require_inexact
from gradkit.primitives import elementwise as e
from gradkit.primitives.axes import normalize_axes
from gradkit.primitives.manipulation import concat, reshape, stack

__all__ = ["cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "sheltered_product"]


def cut(x: Any, axis: int, part: slice) -> Any:
    """Return a slice along one axis."""
    return x[(slice(None),) * axis + (part, ...)]


def flip(x: Array, /, *, axis: int) -> Array:
    """Return an Array with the elements along an axis in the opposite order."""
    result: Array = cut(x, axis, slice(None, None, -1))
    return result


def _from_the_library(name: str) -> Callable[..., Any]:
    def forward(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
        run = getattr(xp.library, name)
        if reverse:
            backwards = run(xp.library.flip(x, axis=axis), axis=axis, dtype=x.dtype)
            return xp.library.flip(backwards, axis=axis)
        return run(x, axis=axis, dtype=x.dtype)

    return forward


def _sheltered(xp: Any, x: Any, y: Any) -> Any:
    """Return x y, which is 0 where one of them is 0 and the other has overflowed."""
    z = x * y
    nothing = (z != z) & ((x == 0) & (y == y) | (y == 0) & (x == x))
    return xp.where(nothing, xp.zeros_like(z), z)


# Parts of a product that overflow have no share in a derivative that takes them times 0. A rule of the kind of
# `multiply` would multiply first; here the cotangent is a factor like the others, in every order of derivative.
_product = General(
    "sheltered_product",
    _sheltered,
    (lambda xp, g, _z, _x, y: xp.sheltered_product(g, y), lambda xp, g, _z, x, _y: xp.sheltered_product(g, x)),
    batch=leading,
    shape=same_shape,
)


def sheltered_product(x: Any, y: Any) -> Array:
    """Multiply two arrays of one shape, as parts of a product that may overflow."""
    return bind(_product, (x, y), {})


def _pull_cumprod(xp: Any, g: Any, _y: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    """Multiply what is before each element with the sum of the cotangents, each times what is between the two.

    That sum is a linear recurrence, r[i] = g[i] + x[i + 1] r[i + 1], solved by doubling. Nothing is divided, so zeros
    do no harm, in no order of derivative.
    """
    if reverse:
        backwards = [xp.flip(array, axis=axis) for array in (g, x)]
        return xp.flip(_pull_cumprod(xp, backwards[0], None, backwards[1], axis=axis, reverse=False), axis=axis)
    size = x.shape[axis]
    if size < 2:
        return g
    total, factor = g, cut(x, axis, slice(1, None))
    step = 1
    while step < size:
        later = xp.sheltered_product(factor, cut(total, axis, slice(step, None)))
        head = cut(total, axis, slice(0, size - step)) + later
        total = xp.concat([head, cut(total, axis, slice(size - step, None))], axis=axis)
        rest = size - 2 * step
        if rest > 0:
            factor = xp.sheltered_product(
                cut(factor, axis, slice(0, rest)), cut(factor, axis, slice(step, step + rest))
            )
        step *= 2
    inclusive = xp.cumprod(x, axis=axis, reverse=False)
    before = xp.concat([xp.ones_like(cut(x, axis, slice(0, 1))), cut(inclusive, axis, slice(0, -1))], axis=axis)
    return xp.sheltered_product(before, total)


_cumsum = Linear(
    "cumsum",
    _from_the_library("cumulative_sum"),
    (lambda xp, g, _x, *, axis, reverse: xp.cumsum(g, axis=axis, reverse=not reverse),),
    batch=along_axes,
    shape=same_shape,
    leaf=True,
)
_cumprod = General(
    "cumprod", _from_the_library("cumulative_prod"), (_pull_cumprod,), batch=along_axes, shape=same_shape, leaf=True
)


def _check(x: Any, axis: int, caller: str) -> tuple[Array, int]:
    array = as_array(x, caller)
    (number,) = normalize_axes(operator.index(axis), array.ndim, caller)
    return array, number


def cumsum(x: Any, /, axis: int = 0, reverse: bool = False) -> Array:
    """Return the running sums along an axis, in the dtype of `x`; with `reverse` from the end on."""
    array, axis = _check(x, axis, "cumsum")
    return bind(_cumsum, (array,), {"axis": axis, "reverse": bool(reverse)})


def cumprod(x: Any, /, axis: int = 0, reverse: bool = False) -> Array:
    """Return the running products along an axis, in the dtype of `x`; with `reverse` from the end on."""
    array, axis = _check(x, axis, "cumprod")
    return bind(_cumprod, (array,), {"axis": axis, "reverse": bool(reverse)})


def _make_scan(name: str, combine: Callable[[Any, Any], Array], floating: bool = False) -> Callable[..., Array]:
    def scan(x: Any, /, axis: int = 0, reverse: bool = False) -> Array:
        array, axis = _check(x, axis, name)
        if floating:
            array = require_inexact(array)
        return flip(_scan(combine, flip(array, axis=axis), axis), axis=axis) if reverse else _scan(combine, array, axis)

    scan.__doc__ = f"Return the running {name[3:]} along an axis; with `reverse` from the end on."
    return scan


def _scan(combine: Callable[[Any, Any], Array], x: Array, axis: int) -> Array:
    """Combine each element with all before it, in pairs, pairs of pairs and so on: so ties are shared as in JAX."""
    size = x.shape[axis]
    if size < 2:
        return x
    odd = _scan(combine, combine(cut(x, axis, slice(0, -1, 2)), cut(x, axis, slice(1, None, 2))), axis)
    pairs = (size - 1) // 2
    even = combine(cut(odd, axis, slice(0, pairs)), cut(x, axis, slice(2, None, 2)))
    even = concat([cut(x, axis, slice(0, 1)), even], axis=axis)
    count = size // 2
    both = stack([cut(even, axis, slice(0, count)), odd], axis=axis + 1)
    joined = reshape(both, (*x.shape[:axis], 2 * count, *x.shape[axis + 1 :]))
    return joined if size == 2 * count else concat([joined, cut(even, axis, slice(count, None))], axis=axis)


cummax = _make_scan("cummax", e.maximum)
cummin = _make_scan("cummin", e.minimum)
cumlogsumexp = _make_scan("cumlogsumexp", e.logaddexp, floating=True)


publish(globals(), (*__all__, "flip"))
