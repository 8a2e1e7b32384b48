"""How numbers, arrays and names are written in a picture, and how wide the text is."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

from gradkit.backend import backend_of
from gradkit.core.promotion import is_inexact

__all__ = ["columns", "number", "printable", "range_of", "range_of_all"]

_CONTROL = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
"""Control characters, which XML does not have, and the signs that Unicode has for them."""
del _CONTROL[ord("\n")]
_CONTROL[ord("\t")] = " "
_NO_CHARACTERS = {*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF}
_REPLACEMENTS = _CONTROL | dict.fromkeys(_NO_CHARACTERS, "\ufffd")


def printable(text: str) -> str:
    r"""Return text with a visible sign for each character that XML or a font does not have; line breaks stay.

    Examples
    --------
    >>> printable("a\x00b\r\nc")
    'a␀b\nc'
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_REPLACEMENTS)


def columns(line: str) -> int:
    """Return the width of a line in a font of fixed width, in columns.

    Examples
    --------
    >>> columns("loss"), columns("損失"), columns("e\u0301")
    (4, 4, 1)
    """
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in line
    )


def number(value: complex) -> str:
    """Write a number as the lecture does, with four decimals; very large and very small ones with an exponent.

    Examples
    --------
    >>> number(0.70710678), number(-8.0), number(3), number(1.5e-7), number(True)
    ('0.7071', '-8.0000', '3', '1.500e-07', 'True')
    >>> number(-0.0)
    '0.0000'
    """
    if isinstance(value, complex):
        sign = "-" if math.copysign(1.0, value.imag) < 0 else "+"
        return f"{number(value.real)}{sign}{number(abs(value.imag))}j"
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    value += 0.0  # which takes the sign of a zero
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def range_of(value: Any) -> str:
    """Write the only element of an array, or the range of its elements; of complex ones, that of their magnitudes.

    Parameters
    ----------
    value : raw array or number
        What to describe.

    Examples
    --------
    >>> import numpy
    >>> range_of(numpy.asarray([0.5, -2.0, numpy.nan])), range_of(numpy.asarray([7])), range_of(numpy.zeros((0, 3)))
    ('-2.0000 … 0.5000, 1 nan', '7', 'empty')
    """
    backend = backend_of(value)
    if backend is None:
        return number(value)
    if math.prod(value.shape) == 1:
        return number(backend.to_host(value).item())
    name = backend.dtype_name(value)
    if name == "bool":
        count = int(backend.xp.sum(backend.xp.astype(value, backend.xp.int64)))
        return f"{count} of {math.prod(value.shape)} true"
    return "abs " * name.startswith("complex") + range_of_all([value])


def range_of_all(values: Iterable[Any]) -> str:
    """Write the range of the elements of several arrays and numbers together.

    Examples
    --------
    >>> import numpy
    >>> range_of_all([numpy.asarray([1.5, numpy.inf]), -3])
    '-3.0000 … 1.5000, 1 inf'
    """
    lowest: float = math.inf
    highest: float = -math.inf
    nans = infinite = 0
    for value in values:
        low, high, more_nans, more_infinite = _extent(value)
        lowest, highest = min(lowest, low), max(highest, high)
        nans, infinite = nans + more_nans, infinite + more_infinite
    words = []
    if lowest <= highest:
        low_text, high_text = _alike(lowest, highest)
        words.append(low_text if lowest == highest else f"{low_text} … {high_text}")
    words += [f"{count} {what}" for count, what in ((nans, "nan"), (infinite, "inf")) if count]
    return ", ".join(words) or "empty"


def _alike(low: float, high: float) -> tuple[str, str]:
    whole = isinstance(low, int) and isinstance(high, int)
    return (number(low), number(high)) if whole else (number(float(low)), number(float(high)))


def _extent(value: Any) -> tuple[float, float, int, int]:
    """Return the least and the greatest finite element, and how many are NaN and infinite."""
    backend = backend_of(value)
    if backend is None:
        if isinstance(value, complex):
            value = abs(value)
        return (value, value, 0, 0) if math.isfinite(value) else (math.inf, -math.inf, value != value, value == value)
    if 0 in value.shape:
        return math.inf, -math.inf, 0, 0
    xp = backend.xp
    if backend.dtype_name(value) == "bool":
        value = xp.astype(value, xp.int64)
    if backend.dtype_name(value).startswith("complex"):
        value = xp.abs(value)
    if not is_inexact(backend.dtype_name(value)):
        return int(xp.min(value)), int(xp.max(value)), 0, 0
    finite = xp.isfinite(value)
    count, size = int(xp.sum(xp.astype(finite, xp.int64))), math.prod(value.shape)
    if count == size:
        return float(xp.min(value)), float(xp.max(value)), 0, 0
    nans = int(xp.sum(xp.astype(xp.isnan(value), xp.int64)))
    bound = xp.asarray(math.inf, dtype=value.dtype, device=backend.device_of(value))
    low, high = xp.min(xp.where(finite, value, bound)), xp.max(xp.where(finite, value, -bound))
    return float(low), float(high), nans, size - count - nans
