"""New arrays like given ones, on their device: what rules need besides the operations."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array
from gradkit.core.array import place_of_array, wrap
from gradkit.core.calls import as_array, dtype_name
from gradkit.core.promotion import requested_dtype

__all__ = ["ones_like", "zeros_like"]


def zeros_like(x: Any, /, *, dtype: Any = None) -> Array:
    """Return zeros of the shape and device of `x`, and of its dtype unless another is given."""
    return _like(x, dtype, "zeros")


def ones_like(x: Any, /, *, dtype: Any = None) -> Array:
    """Return ones of the shape and device of `x`, and of its dtype unless another is given."""
    return _like(x, dtype, "ones")


def _like(x: Any, dtype: Any, creator: str) -> Array:
    array = as_array(x, f"{creator}_like")
    backend, device = place_of_array(array)
    raw_dtype = backend.raw_dtype_named(dtype_name(array) if dtype is None else requested_dtype(dtype))
    return wrap(getattr(backend.xp, creator)(array.shape, dtype=raw_dtype, device=device))
