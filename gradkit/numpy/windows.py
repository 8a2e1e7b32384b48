"""Window functions: weights that fall off towards the ends of a frame of samples."""

from __future__ import annotations

import math
import operator
from typing import Any

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.promotion import FLOATING, default_dtype
from gradkit.numpy.formulas import i0
from gradkit.primitives.new_arrays import arange, ones

__all__ = ["bartlett", "blackman", "hamming", "hanning", "kaiser"]


def _positions(M: int, caller: str) -> Array | None:
    """Return the numbers 0 to M - 1; None where the window is one weight or none."""
    try:
        count = operator.index(M)
    except TypeError as error:
        raise TypeError(f"{caller}: M must be an integer, got {M!r}") from error
    return None if count <= 1 else arange(count, dtype=default_dtype(FLOATING))


def bartlett(M: int) -> Array:
    """Return Bartlett's triangular window of `M` samples."""
    n = _positions(M, "bartlett")
    return ones(M) if n is None else 1 - xp.abs(2 * n + 1 - M) / (M - 1)


def blackman(M: int) -> Array:
    """Return Blackman's window of `M` samples: ``0.42 - 0.5 cos(2 pi t) + 0.08 cos(4 pi t)``."""
    n = _positions(M, "blackman")
    if n is None:
        return ones(M)
    return 0.42 - 0.5 * xp.cos(2 * math.pi * n / (M - 1)) + 0.08 * xp.cos(4 * math.pi * n / (M - 1))


def hamming(M: int) -> Array:
    """Return Hamming's window of `M` samples: ``0.54 - 0.46 cos(2 pi t)``."""
    n = _positions(M, "hamming")
    return ones(M) if n is None else 0.54 - 0.46 * xp.cos(2 * math.pi * n / (M - 1))


def hanning(M: int) -> Array:
    """Return von Hann's window of `M` samples: ``(1 - cos(2 pi t)) / 2``."""
    n = _positions(M, "hanning")
    return ones(M) if n is None else 0.5 * (1 - xp.cos(2 * math.pi * n / (M - 1)))


def kaiser(M: int, beta: Any) -> Array:
    """Return Kaiser's window of `M` samples: ``i0(beta sqrt(1 - t**2)) / i0(beta)`` for t from -1 to 1."""
    n = _positions(M, "kaiser")
    if n is None:
        return ones(M)
    middle = 0.5 * (M - 1)
    return i0(beta * xp.sqrt(1 - xp.square((n - middle) / middle))) / i0(beta)
