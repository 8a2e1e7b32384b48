"""`jax.numpy.fft`: discrete Fourier transforms, on any backend and differentiable.

Real input is promoted to complex where a transform is of complex numbers; integers become floating numbers first.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from gradkit.backend import Device
from gradkit.core import Array
from gradkit.core.operands import as_array
from gradkit.core.promotion import FLOATING, default_dtype, is_complex
from gradkit.numpy.rearranging import roll
from gradkit.primitives.axes import axes_of
from gradkit.primitives.elementwise import conj
from gradkit.primitives.fourier import in_dtype_of, transform_along
from gradkit.primitives.manipulation import astype, concat
from gradkit.primitives.new_arrays import arange, zeros

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

Axes = Sequence[int] | None
Shape = Sequence[int] | None


def _transform(caller: str, kind: str, a: Any, s: Shape, axes: Axes, norm: str | None) -> Array:
    """Transform along axes: `kind` is "fft", "ifft", "rfft" or "irfft"; the real ones halve the last of the axes."""
    array = as_array(a, f"jax.numpy.fft.{caller}")
    if kind == "rfft" and is_complex(array.dtype):
        raise ValueError(f"{caller}: only real valued inputs supported for rfft, got {array.dtype}")
    array = in_dtype_of(kind, array)
    if s is not None:
        s = tuple(map(operator.index, s))
        if any(size <= 0 for size in s):
            raise ValueError(f"{caller}: Shape should be positive, got s={s}")
        if axes is not None and len(s) != len(axes):
            raise ValueError(f"{caller}: Shape and axes have different lengths, got s={s} and axes={tuple(axes)}")
    if axes is None:
        axes = range(array.ndim) if s is None else range(array.ndim - len(s), array.ndim)
    numbers = axes_of(tuple(axes), array.ndim, caller)
    if not numbers:
        return array
    last = numbers[-1]
    if s is None:
        s = tuple(array.shape[n] for n in numbers)
        if kind == "irfft":
            s = (*s[:-1], 2 * (s[-1] - 1))
    for number, size in zip(numbers, s, strict=True):
        array = _resize(array, number, size // 2 + 1 if kind == "irfft" and number == last else size)
    if any(size == 0 for size in s):
        raise ValueError(f"{caller}: Invalid number of FFT data points in shape {array.shape} along axes {numbers}")
    result = transform_along(array, kind, numbers, s[-1])
    factor = _factor(caller, math.prod(s), norm)
    return result if factor == 1 else result * factor


def _resize(array: Array, axis: int, size: int) -> Array:
    """Cut an array along an axis, or fill it up with zeros."""
    present = array.shape[axis]
    if size <= present:
        return array if size == present else array[(slice(None),) * axis + (slice(0, size),)]
    shape = (*array.shape[:axis], size - present, *array.shape[axis + 1 :])
    return concat([array, zeros(shape, dtype=array.dtype, device=array.device)], axis=axis)


def _factor(caller: str, count: int, norm: str | None) -> float:
    inverse = caller.startswith("i")
    if norm is None or norm == "backward":
        return 1
    if norm == "ortho":
        return math.sqrt(count) if inverse else 1 / math.sqrt(count)
    if norm == "forward":
        return count if inverse else 1 / count
    raise ValueError(f'Invalid norm value {norm}; should be "backward","ortho" or "forward".')


def _along_one(caller: str, kind: str, a: Any, n: int | None, axis: int | None, norm: str | None) -> Array:
    if isinstance(axis, list | tuple):
        raise ValueError(
            f"jax.numpy.fft.{caller} does not support multiple axes. Please use jax.numpy.fft.{caller}n. "
            f"Got axis = {axis!r}."
        )
    return _transform(caller, kind, a, None if n is None else (n,), None if axis is None else (axis,), norm)


def _along_two(caller: str, kind: str, a: Any, s: Shape, axes: Sequence[int], norm: str | None) -> Array:
    if len(axes) != 2:
        raise ValueError(f"jax.numpy.fft.{caller} only supports 2 axes. Got axes = {axes!r}.")
    return _transform(caller, kind, a, s, axes, norm)


def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the discrete Fourier transform along an axis.

    Parameters
    ----------
    a : array
        Real input is promoted to complex.
    n : int, optional
        The length to which the axis is cut or filled up with zeros first.
    axis : int
        The axis.
    norm : {"backward", "ortho", "forward"}, optional
        Whether the inverse transform (the default), both, or this one divide, by n or its root.

    Returns
    -------
    Array
        Complex, with n coefficients along the axis.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.fft.fft(jnp.asarray([1.0, 0.0, 0.0, 0.0])).real
    Array([1., 1., 1., 1.], dtype=float32)
    """
    return _along_one("fft", "fft", a, n, axis, norm)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the inverse of `fft`, with its parameters."""
    return _along_one("ifft", "ifft", a, n, axis, norm)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the ``n // 2 + 1`` coefficients of the transform of real numbers that the others follow from.

    The parameters are those of `fft`.

    Raises
    ------
    ValueError
        If `a` is complex.
    """
    return _along_one("rfft", "rfft", a, n, axis, norm)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the inverse of `rfft`, real, with `n` elements along the axis (by default an even number)."""
    return _along_one("irfft", "irfft", a, n, axis, norm)


def fftn(a: Any, s: Shape = None, axes: Axes = None, norm: str | None = None) -> Array:
    """Return the transform along several axes (by default all), cut or filled up to the lengths `s` first."""
    return _transform("fftn", "fft", a, s, axes, norm)


def ifftn(a: Any, s: Shape = None, axes: Axes = None, norm: str | None = None) -> Array:
    """Return the inverse of `fftn`, with its parameters."""
    return _transform("ifftn", "ifft", a, s, axes, norm)


def rfftn(a: Any, s: Shape = None, axes: Axes = None, norm: str | None = None) -> Array:
    """Return the transform of real numbers along several axes; of the last axis the first half."""
    return _transform("rfftn", "rfft", a, s, axes, norm)


def irfftn(a: Any, s: Shape = None, axes: Axes = None, norm: str | None = None) -> Array:
    """Return the inverse of `rfftn`, real; `s` is the shape of the result along the axes."""
    return _transform("irfftn", "irfft", a, s, axes, norm)


def fft2(a: Any, s: Shape = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """Return `fftn` along two axes."""
    return _along_two("fft2", "fft", a, s, axes, norm)


def ifft2(a: Any, s: Shape = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """Return `ifftn` along two axes."""
    return _along_two("ifft2", "ifft", a, s, axes, norm)


def rfft2(a: Any, s: Shape = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """Return `rfftn` along two axes."""
    return _along_two("rfft2", "rfft", a, s, axes, norm)


def irfft2(a: Any, s: Shape = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Array:
    """Return `irfftn` along two axes."""
    return _along_two("irfft2", "irfft", a, s, axes, norm)


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the transform, which is real, of a signal that is Hermitian, of which the first half is given."""
    array = conj(as_array(a, "jax.numpy.fft.hfft"))
    result = _along_one("hfft", "irfft", array, n, axis, norm)
    return result * result.shape[axis]


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """Return the inverse of `hfft`: the first half of a Hermitian signal."""
    array = as_array(a, "jax.numpy.fft.ihfft")
    result = _along_one("ihfft", "rfft", array, n, axis, norm)
    return conj(result) * (1 / (array.shape[axis] if n is None else n))


def fftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Device | None = None) -> Array:
    """Return the frequencies of the coefficients of `fft`, of `n` samples that are `d` apart.

    Examples
    --------
    >>> fftfreq(4)
    Array([ 0.  ,  0.25, -0.5 , -0.25], dtype=float32)
    """
    count = _count(n, "fftfreq")
    positive = arange((count + 1) // 2, dtype=_floating(dtype), device=device)
    negative = arange(-(count // 2), 0, dtype=_floating(dtype), device=device)
    return _divide(concat([positive, negative]), d, count, dtype)


def rfftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Device | None = None) -> Array:
    """Return the frequencies of the coefficients of `rfft`, of `n` samples that are `d` apart."""
    count = _count(n, "rfftfreq")
    return _divide(arange(count // 2 + 1, dtype=_floating(dtype), device=device), d, count, dtype)


def _count(n: Any, caller: str) -> int:
    if isinstance(n, list | tuple):
        raise ValueError(f"The n argument of jax.numpy.fft.{caller} only takes an int. Got n = {list(n)}.")
    return operator.index(n)


def _floating(dtype: Any) -> Any:
    return default_dtype(FLOATING) if dtype is None or is_complex(dtype) else dtype


def _divide(numbers: Array, d: Any, n: int, dtype: Any) -> Array:
    if isinstance(d, list | tuple):
        raise ValueError(f"The d argument of jax.numpy.fft.fftfreq only takes a single value. Got d = {list(d)}.")
    result = numbers / (d * n)
    return result if dtype is None else astype(result, dtype)


def fftshift(x: Any, axes: int | Sequence[int] | None = None) -> Array:
    """Move the coefficient of frequency 0 to the middle along axes (None: all)."""
    return _shift(x, axes, "fftshift", lambda size: size // 2)


def ifftshift(x: Any, axes: int | Sequence[int] | None = None) -> Array:
    """Undo `fftshift`."""
    return _shift(x, axes, "ifftshift", lambda size: -(size // 2))


def _shift(x: Any, axes: Any, caller: str, shift: Any) -> Array:
    array = as_array(x, caller)
    numbers = axes_of(axes, array.ndim, caller)
    return roll(array, tuple(shift(array.shape[n]) for n in numbers), numbers)
