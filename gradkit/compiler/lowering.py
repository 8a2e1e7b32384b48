"""What leaves are made of, for printers that write loops.

A leaf (`core.declaration`) is a call of the library: nothing is faster where operations are run one after another.
Where a printer has no better way to do it (`gradkit.backend.Printer.calls`), and writes down the operations that the
text consists of, these stand in its place, and become part of the nests around them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradkit.backend.printers import Printer
from gradkit.compiler.taking import dtypes_of
from gradkit.core.graph import Equation

__all__ = ["lowered"]

Text = Callable[..., Any]
MOST_PARTS = 64
"""Elements of a window up to which each of them is an addition in a nest."""
MOST_PLACES = 1 << 12
"""Elements along an axis up to which a nest finds the position of one; in longer vectors a library is faster."""


@dataclass(frozen=True)
class Lowering:
    """A leaf's text.

    Attributes
    ----------
    text : callable
        ``text(xp, *args, **params)``, of functions of `xp` and Python's operators alone.
    needs : mapping from str to tuple of str
        Operations without which it would be several calls instead of one, and their dtypes; ``"x"`` is the dtype of the
        leaf's arguments.
    fits : callable
        ``fits(*shapes, **params)``: whether it pays for these shapes of the arguments.
    """

    text: Text
    needs: Mapping[str, tuple[str, ...]]
    fits: Callable[..., bool] = lambda *shapes, **params: True


def lowered(printer: Printer, equation: Equation) -> Text | None:
    """Return what a leaf is made of, for a printer; None if it stays what it is."""
    name, dtypes = dtypes_of(equation)
    found = LOWERINGS.get(name)
    shapes = [getattr(x, "shape", ()) for x in equation.inputs]
    if found is None or any(0 in shape for shape in shapes) or not found.fits(*shapes, **equation.params):
        return None
    given = set(dtypes[: len(shapes)])
    if len(given) != 1:
        return None
    (dtype,) = given
    needs = {name: [dtype if x == "x" else x for x in form] for name, form in found.needs.items()}
    return found.text if all(printer.takes(name, form) for name, form in needs.items()) else None


# Triangles


def _triangle(lower: bool) -> Text:
    def text(xp: Any, x: Any, *, k: int) -> Any:
        rows, columns = x.shape[-2:]
        row = xp.arange(k, rows + k, dtype=xp.int32, device=xp.device_of(x))[:, None]
        column = xp.arange(columns, dtype=xp.int32, device=xp.device_of(x))[None, :]
        inside = xp.broadcast_to(row >= column if lower else row <= column, x.shape)
        return xp.where(inside, x, xp.zeros_like(x))

    return text


# Positions


def _position(reduction: str) -> Text:
    """Find the first element that is the extremum, or NaN, which any extremum with it is."""

    def text(xp: Any, x: Any, *, axis: int, keepdims: bool) -> Any:
        size = x.shape[axis]
        here = x == getattr(xp, reduction)(x, axis=(axis,), keepdims=True)
        if x.dtype.kind == "f":
            here = here | (x != x)
        shape = tuple(size if a == axis else 1 for a in range(x.ndim))
        positions = xp.reshape(xp.arange(size, dtype=xp.int32, device=xp.device_of(x)), shape)
        found = xp.where(here, positions, xp.full_like(positions, size))
        return xp.astype(xp.min(found, axis=(axis,), keepdims=keepdims), xp.int64)

    return text


def _is_short(x: Sequence[int], *, axis: int, keepdims: bool) -> bool:
    return x[axis] <= MOST_PLACES


def _searchsorted(xp: Any, x: Any, values: Any, *, side: str) -> Any:
    """Halve the interval for all values at once, as often as the longest search takes."""
    count = x.shape[0]
    low = xp.zeros(values.shape, dtype=xp.int64, device=xp.device_of(x))
    high = low + count
    for _ in range(count.bit_length()):
        middle = (low + high) // 2
        inside = xp.reshape(xp.take(x, xp.reshape(xp.minimum(middle, count - 1), (-1,)), axis=0), values.shape)
        before = inside < values if side == "left" else inside <= values
        if x.dtype.kind == "f":  # NaN is the largest number
            is_nan = values != values
            before = before | (is_nan & (inside == inside) if side == "left" else is_nan)
        goes_on = (low < high) & before
        high = xp.where(goes_on, high, xp.where(low < high, middle, high))
        low = xp.where(goes_on, middle + 1, low)
    return low


def _running(name: str) -> Text:
    """Turn an array about before and after: nests run from the beginning of an axis."""

    def text(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
        turned = (slice(None),) * axis + (slice(None, None, -1),)
        return getattr(xp, name)(x[turned], axis=axis, reverse=not reverse)[turned]

    return text


# Windows


def _overlap_add(
    xp: Any, g: Any, *, shape: Sequence[int], window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Any:
    count = g.shape[1:]
    if tuple(window) == tuple(strides) and all(w == 1 or d == 1 for w, d in zip(window, dilation, strict=True)):
        result = _side_by_side(xp, g, window)
    else:
        result = _overlapping(xp, g, list(zip(count, window, strides, dilation, strict=True)))
    if result.shape == tuple(shape):
        return result
    return xp.pad_index(result, index=tuple(slice(0, size) for size in result.shape), shape=tuple(shape))


def _side_by_side(xp: Any, g: Any, window: Sequence[int]) -> Any:
    """Put windows beside each other that have no element in common."""
    axes, count = len(window), g.shape[1:]
    order = [axis for pair in zip(range(axes, 2 * axes), range(axes), strict=True) for axis in pair]
    parts = xp.permute_dims(xp.reshape(g, (*window, *count)), tuple(order))
    return xp.reshape(parts, tuple(n * w for n, w in zip(count, window, strict=True)))


def _overlapping(xp: Any, g: Any, axes: Sequence[tuple[int, int, int, int]]) -> Any:
    """Add, for each element of the window, where it lies in all windows: parts of frames that hold all such places.

    `axes` has the number of windows, their size, how far one is from the next, and how far their elements are apart.
    """
    reach = [(n - 1) * stride + 1 + (w - 1) * d for n, w, stride, d in axes]
    frame = tuple(size + (w - 1) * d for size, (_, w, _, d) in zip(reach, axes, strict=True))
    places = tuple(slice((w - 1) * d, (w - 1) * d + (n - 1) * stride + 1, stride) for n, w, stride, d in axes)
    framed = xp.pad_index(g, index=(slice(None), *places), shape=(g.shape[0], *frame))
    total = None
    for k, position in enumerate(itertools.product(*(range(w) for _, w, _, _ in axes))):
        starts = [(w - 1 - p) * d for p, (_, w, _, d) in zip(position, axes, strict=True)]
        part = framed[(k, *(slice(start, start + size) for start, size in zip(starts, reach, strict=True)))]
        total = part if total is None else total + part
    return total


BINARY, CHOICE, COMPARISON, GATHER = ("x", "x", "x"), ("bool", "x", "x", "x"), ("x", "x", "bool"), ("x", "int64", "x")
LOWERINGS: Mapping[str, Lowering] = {
    "argmax": Lowering(_position("max"), {"maximum": BINARY, "equal": COMPARISON}, _is_short),
    "argmin": Lowering(_position("min"), {"minimum": BINARY, "equal": COMPARISON}, _is_short),
    "cumprod": Lowering(_running("cumprod"), {"running": ("x",)}, lambda x, *, axis, reverse: reverse),
    "cumsum": Lowering(_running("cumsum"), {"running": ("x",)}, lambda x, *, axis, reverse: reverse),
    "overlap_add": Lowering(_overlap_add, {"add": BINARY}, lambda g, *, window, **_: math.prod(window) <= MOST_PARTS),
    "searchsorted": Lowering(_searchsorted, {"less": COMPARISON, "take": GATHER}),
    "tril": Lowering(_triangle(lower=True), {"where": CHOICE}),
    "triu": Lowering(_triangle(lower=False), {"where": CHOICE}),
}
"""By primitive."""
