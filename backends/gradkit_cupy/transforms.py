"""CuPy's Fourier transforms, which there are none of: of no batches cuFFT makes no plan, and there is nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

__all__ = ["KERNELS"]

Raw = Any


def _whole(name: str) -> Callable[..., Raw]:
    function = getattr(cupy.fft, name)

    def transform(x: Raw, *, axis: tuple[int, ...]) -> Raw:
        return function(x, axes=axis) if x.size or _has_no_points(x, axis) else _empty(x, x.shape)

    return transform


def rfft(x: Raw, *, axis: int) -> Raw:
    if x.size or _has_no_points(x, (axis,)):
        return cupy.fft.rfft(x, axis=axis)
    return _empty(x, (*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1 :]))


def irfft(x: Raw, *, axis: int, size: int) -> Raw:
    if x.size or _has_no_points(x, (axis,)):
        return cupy.fft.irfft(x, n=size, axis=axis)
    return _empty(x, (*x.shape[:axis], size, *x.shape[axis + 1 :])).real


def _has_no_points(x: Raw, axes: tuple[int, ...]) -> bool:
    """Return whether there is nothing along an axis to transform, which is an error."""
    return any(x.shape[axis] == 0 for axis in axes)


def _empty(x: Raw, shape: tuple[int, ...]) -> Raw:
    return cupy.empty(shape, np.result_type(x.dtype, np.complex64))


KERNELS: dict[str, Callable[..., Any]] = {
    "fftn": _whole("fftn"),
    "ifftn": _whole("ifftn"),
    "irfft": irfft,
    "rfft": rfft,
}
"""By the primitive's name."""
