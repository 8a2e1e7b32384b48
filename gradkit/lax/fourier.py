"""The discrete Fourier transform in `lax`'s form: over the last axes, of the kind that an argument says."""

from __future__ import annotations

import enum
import operator
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.promotion import is_complex
from gradkit.lax.arguments import array_of
from gradkit.primitives.fourier import in_dtype_of, transform_along

__all__ = ["FftType", "fft"]


class FftType(enum.IntEnum):
    """Forward or inverse, of complex numbers or of real ones."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


def fft(x: Any, fft_type: FftType | str, fft_lengths: Sequence[int]) -> Array:
    """Transform the last axes.

    Parameters
    ----------
    x : array
        Of any shape; real for `RFFT`.
    fft_type : FftType or str
        Which transform.
    fft_lengths : sequence of int
        The sizes of the last axes, for `IRFFT` those of the result.
    """
    array = array_of(x, "fft")
    if isinstance(fft_type, str):
        if fft_type not in FftType.__members__:
            raise ValueError(f"Unknown FFT type '{fft_type}'")
        kind = FftType[fft_type]
    elif isinstance(fft_type, FftType):
        kind = fft_type
    else:
        raise TypeError(f"Unknown FFT type value '{fft_type}'")
    if kind is FftType.RFFT and is_complex(array.dtype):
        raise ValueError("only real valued inputs supported for rfft")
    sizes = tuple(map(operator.index, fft_lengths))
    if not sizes:
        return array
    expected = (*sizes[:-1], sizes[-1] // 2 + 1) if kind is FftType.IRFFT else sizes
    if array.shape[-len(sizes) :] != expected:
        wanted = "the lengths of the half spectrum of fft_lengths" if kind is FftType.IRFFT else "fft_lengths"
        raise ValueError(f"{kind.name} input shape {array.shape} minor dimensions must be equal to {wanted} {sizes}")
    if any(size <= 0 for size in sizes):
        raise ValueError(f"fft: Shape should be positive, got fft_lengths={sizes}")
    word = kind.name.lower()
    return transform_along(in_dtype_of(word, array), word, range(array.ndim - len(sizes), array.ndim), sizes[-1])
