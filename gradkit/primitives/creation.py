"""New arrays like given ones, on their device: what rules need besides the operations."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array
from gradkit.core.array import backend_of_array, raw, wrap
from gradkit.core.calls import as_array

__all__ = ["ones_like", "zeros_like"]


def zeros_like(x: Any, /, *, dtype: Any = None) -> Array:
    """Return zeros of the shape and device of `x`, and of its dtype unless another is given."""
    return _like(x, dtype, "zeros")


def ones_like(x: Any, /, *, dtype: Any = None) -> Array:
    """Return ones of the shape and device of `x`, and of its dtype unless another is given."""
    return _like(x, dtype, "ones")


def _like(x: Any, dtype: Any, creator: str) -> Array:
    array = as_array(x, f"{creator}_like")
    backend, value = backend_of_array(array), raw(array)
    raw_dtype = value.dtype if dtype is None else backend.raw_dtype_named(_name(dtype))
    create = getattr(backend.xp, creator)
    return wrap(create(array.shape, dtype=raw_dtype, device=backend.device_of(value)))


def _name(dtype: Any) -> str:
    from array_api_compat import numpy as np

    name: str = np.dtype(dtype).name
    return name
