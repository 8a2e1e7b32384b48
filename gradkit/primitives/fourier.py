"""Discrete Fourier transforms: linear, so each is its own derivative, and its transpose is another of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradkit.core import Array, Linear
from gradkit.core.batching import along_axes, same_shape
from gradkit.core.namespace import publish
from gradkit.core.operands import cast, dtype_name, require_inexact
from gradkit.core.promotion import complex_of, real_part_of

__all__ = ["fftn", "ifftn", "irfft", "rfft"]


def _weigh(xp: Any, x: Any, axis: int, size: int, weight: float) -> Any:
    """Multiply those coefficients of a half spectrum that stand for two of the whole."""
    lead = (slice(None),) * axis
    last = x.shape[axis] - (size % 2 == 0 and size > 1)
    parts = [x[(*lead, slice(0, 1), ...)], weight * x[(*lead, slice(1, last), ...)], x[(*lead, slice(last, None), ...)]]
    return xp.concat([part for part in parts if part.shape[axis]], axis=axis)


def _transpose_rfft(xp: Any, g: Any, x: Any, *, axis: int) -> Any:
    size = x.shape[axis]
    return size * xp.irfft(_weigh(xp, xp.conj(g), axis, size, 0.5), axis=axis, size=size)


def _transpose_irfft(xp: Any, g: Any, _x: Any, *, axis: int, size: int) -> Any:
    return xp.conj(_weigh(xp, xp.rfft(g, axis=axis), axis, size, 2.0)) / size


def _resize(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _whole(name: str) -> Linear:
    """Return a transform of whole spectra, a symmetric matrix."""
    return Linear(
        name,
        lambda xp, x, *, axis: getattr(xp.library.fft, name)(x, axes=axis),
        (lambda xp, g, _x, *, axis: getattr(xp, name)(g, axis=axis),),
        hands_on=False,
        batch=along_axes,
        shape=same_shape,
        leaf=True,
    )


fftn, ifftn = _whole("fftn"), _whole("ifftn")
"""The Fourier transforms of complex arrays along axes, none negative, and the inverse ones."""
rfft = Linear(
    "rfft",
    lambda xp, x, *, axis: xp.library.fft.rfft(x, axis=axis),
    (_transpose_rfft,),
    hands_on=False,
    batch=along_axes,
    shape=lambda x, *, axis: _resize(x.shape, axis, x.shape[axis] // 2 + 1),
    dtype=lambda x, *, axis: complex_of(x.dtype.name),
    leaf=True,
)
"""The first half, ``n // 2 + 1`` coefficients, of the Fourier transforms of real arrays along an axis."""
irfft = Linear(
    "irfft",
    lambda xp, x, *, axis, size: xp.library.fft.irfft(x, n=size, axis=axis),
    (_transpose_irfft,),
    hands_on=False,
    batch=along_axes,
    shape=lambda x, *, axis, size: _resize(x.shape, axis, size),
    dtype=lambda x, *, axis, size: real_part_of(x.dtype.name),
    leaf=True,
)
"""The real arrays, of `size` elements along an axis, of whose transforms the first halves are given."""


def in_dtype_of(kind: str, x: Array) -> Array:
    """Return numbers in the dtype that a transform is of: complex, or real and of 32 bits at least for "rfft"."""
    array = require_inexact(x)
    if kind != "rfft":
        return cast(array, complex_of(dtype_name(array)))
    return cast(array, "float32") if dtype_name(array) == "float16" else array


def transform_along(x: Array, kind: str, axes: Sequence[int], size: int) -> Array:
    """Transform along axes: `kind` is "fft", "ifft", "rfft" or "irfft"; the real ones halve the last of the axes.

    Parameters
    ----------
    x : Array
        In the dtype that the kind is of (`in_dtype_of`).
    kind : str
        Which transform.
    axes : sequence of int
        The axes, none negative.
    size : int
        How many elements the result of "irfft" has along the last of them.
    """
    *others, last = axes
    if kind == "fft":
        return fftn(x, axis=tuple(sorted(axes)))
    if kind == "ifft":
        return ifftn(x, axis=tuple(sorted(axes)))
    if kind == "rfft":
        result = rfft(x, axis=last)
        return fftn(result, axis=tuple(sorted(others))) if others else result
    return irfft(ifftn(x, axis=tuple(sorted(others))) if others else x, axis=last, size=size)


publish(globals(), __all__)
