"""Arrays from bytes, text and functions, and arrays as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy import get_printoptions, printoptions, set_printoptions

from gradkit.core import Array
from gradkit.core.operands import as_array
from gradkit.core.printing import array_repr as text_of
from gradkit.core.promotion import canonical, dtype_named
from gradkit.core.sizes import whole_numbers
from gradkit.core.values import host
from gradkit.primitives.new_arrays import arange, asarray
from gradkit.transforms.vectorize import vmap

__all__ = [
    "array_repr", "array_str", "copy", "frombuffer", "fromfile", "fromfunction", "fromiter", "fromstring",
    "get_printoptions", "printoptions", "set_printoptions",
]  # fmt: skip


def copy(a: Any, order: str | None = None) -> Array:
    """Return an Array with memory of its own."""
    return asarray(a, copy=True)


def _new(values: np.ndarray[Any, Any]) -> Array:
    return asarray(values.astype(canonical(values.dtype.name)))


def frombuffer(buffer: Any, dtype: Any = float, count: int = -1, offset: int = 0) -> Array:
    """Return the numbers in a buffer (bytes, ...), from the byte `offset` on; `count` of them, or all."""
    return _new(np.frombuffer(buffer, dtype, count, offset))


def fromstring(string: str, dtype: Any = float, count: int = -1, *, sep: str) -> Array:
    """Return the numbers in a text with separators `sep`."""
    return _new(np.fromstring(string, dtype, count, sep=sep))


def fromfile(file: Any, dtype: Any = float, count: int = -1, sep: str = "", offset: int = 0) -> Array:
    """Return the numbers in a file, as bytes, or as text with separators `sep`."""
    return _new(np.fromfile(file, dtype, count, sep, offset))


def fromiter(iter: Iterable[Any], dtype: Any = float, count: int = -1) -> Array:
    """Return the numbers that an iterable gives; `count` of them, or all."""
    return _new(np.fromiter(iter, dtype, count))


def fromfunction(function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = float, **kwargs: Any) -> Any:
    """Return an array whose elements are a function of their position.

    Parameters
    ----------
    function : callable
        ``function(i, j, ..., **kwargs)`` of as many numbers as there are axes. It runs under `vmap`.
    shape : tuple of int
        The shape.
    dtype : dtype
        The dtype of the positions.
    **kwargs
        Further arguments of the function.
    """

    def call(*positions: Array) -> Any:
        return function(*positions, **kwargs)

    mapped: Callable[..., Any] = call
    shape = whole_numbers(shape)
    rank = len(shape)
    for axis in reversed(range(rank)):
        mapped = vmap(mapped, in_axes=tuple(0 if i == axis else None for i in range(rank)))
    name = canonical(dtype_named(dtype).name)
    return mapped(*(arange(size, dtype=name) for size in shape))


def array_repr(
    arr: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """Return the text that `repr` gives, with as many digits and as long lines as asked for."""
    with np.printoptions(**_options(max_line_width, precision, suppress_small)):
        return text_of(host(as_array(arr, "array_repr")))


def array_str(
    a: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """Return the text that `str` gives, with as many digits and as long lines as asked for."""
    return np.array_str(host(as_array(a, "array_str")), max_line_width, precision, suppress_small)


def _options(max_line_width: int | None, precision: int | None, suppress_small: bool | None) -> dict[str, Any]:
    given = {"linewidth": max_line_width, "precision": precision, "suppress": suppress_small}
    return {name: value for name, value in given.items() if value is not None}
